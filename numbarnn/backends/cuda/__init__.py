"""Passes through layers, losses and sampling on memory that stays on a CUDA device, by the kernels of `numbarnn.kernels.cuda`."""
