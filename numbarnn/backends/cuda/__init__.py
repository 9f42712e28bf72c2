"""Passes through layers, losses, optimizer steps and sampling on a CUDA device, by the kernels of `numbarnn.kernels.cuda`.

Parameters, optimizer arrays and losses stay on the device until somebody looks.
"""

from numbarnn.backends.cuda import (
    activation,
    batch,
    dense,
    dropout,
    embedding,
    losses,
    one_hot,
    optim,
    pool,
    recurrent,
    sampling,
    segments,
)

LAYERS = {
    "Activation": activation, "Dense": dense, "Dropout": dropout, "Embedding": embedding, "EmbeddingBag": embedding,
    "OneHot": one_hot, "Pool": pool, "Recurrent": recurrent,
}  # fmt: skip

__all__ = ["LAYERS", "batch", "losses", "optim", "sampling", "segments"]
