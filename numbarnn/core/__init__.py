"""Signals, batch geometry, parameters, initial weights, ragged arrays and label sequences; no kernels."""
