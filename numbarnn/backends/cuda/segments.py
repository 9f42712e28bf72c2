"""Passes by segments (`numbarnn.network.segments`) are the CPU's: here a batch is gone through in one piece."""

AVAILABLE = False
