"""Passes through layers, losses and sampling in the host's memory, by the kernels of `numbarnn.kernels.cpu`."""
