"""Passes, a loss and an optimizer step written down as a program of kernel calls (`numbarnn.kernels.cpu.calls`), not run.

The modules have the names, functions and order of calls of `numbarnn.backends.cpu`, for full batches: no lengths, no states, no
segments. What that backend does with NumPy is a kernel of `numbarnn.kernels.cpu.whole_steps` here. A test compares bits.
"""

from numbarnn.backends.recorded import activation, batch, dense, dropout, embedding, losses, one_hot, optim, recurrent

LAYERS = {
    "Activation": activation, "Dense": dense, "Dropout": dropout, "Embedding": embedding, "OneHot": one_hot,
    "Recurrent": recurrent,
}  # fmt: skip

__all__ = ["LAYERS", "batch", "losses", "optim"]
