"""numbarnn: recurrent nets (RNN, LSTM, GRU and their kin) compiled by Numba, with no deep-learning framework."""

from numbarnn.__about__ import __version__
from numbarnn.kernels.cpu.step import step
from numbarnn.language import CharLM, LanguageModel
from numbarnn.layers import GRU, LSTM, RNN, Dense, Dropout, Embedding, IndRNN, OneHot, Recurrent
from numbarnn.loading import load
from numbarnn.model import Model
from numbarnn.stream import step_function
from numbarnn.trainer import Trainer

__all__ = [
    "GRU",
    "LSTM",
    "RNN",
    "CharLM",
    "Dense",
    "Dropout",
    "Embedding",
    "IndRNN",
    "LanguageModel",
    "Model",
    "OneHot",
    "Recurrent",
    "Trainer",
    "__version__",
    "load",
    "step",
    "step_function",
]
