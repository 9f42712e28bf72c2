"""Layers: immutable descriptions from which a `numbarnn.Model` is made."""

from numbarnn.layers.base import LAYERS, Layer
from numbarnn.layers.dense import Dense
from numbarnn.layers.dropout import Dropout
from numbarnn.layers.embedding import Embedding, OneHot
from numbarnn.layers.kinds import GRU, LSTM, RNN, IndRNN
from numbarnn.layers.recurrent import Recurrent

__all__ = ["GRU", "LAYERS", "LSTM", "RNN", "Dense", "Dropout", "Embedding", "IndRNN", "Layer", "OneHot", "Recurrent"]
