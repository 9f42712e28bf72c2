"""Passes through layers, losses, optimizer steps and sampling in the host's memory, by the kernels of `numbarnn.kernels.cpu`."""

from numbarnn.backends.cpu import (
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
