"""Layers: immutable descriptions from which a `numbarnn.Model` is made."""

from numbarnn.layers.activation import Activation
from numbarnn.layers.base import LAYERS, Layer
from numbarnn.layers.dense import Dense
from numbarnn.layers.dropout import Dropout
from numbarnn.layers.embedding import Embedding, EmbeddingBag, OneHot
from numbarnn.layers.kinds import GRU, LSTM, RNN, IndRNN, MinGRU, MinLSTM
from numbarnn.layers.pool import Pool
from numbarnn.layers.recurrent import Recurrent
from numbarnn.words import module_attributes

__all__ = [
    "GRU",
    "LAYERS",
    "LSTM",
    "RNN",
    "Activation",
    "Dense",
    "Dropout",
    "Embedding",
    "EmbeddingBag",
    "IndRNN",
    "Layer",
    "MinGRU",
    "MinLSTM",
    "OneHot",
    "Pool",
    "Recurrent",
]

__getattr__ = module_attributes(__name__, __all__)
