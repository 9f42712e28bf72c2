"""numbarnn: recurrent nets (RNN, LSTM, GRU, IndRNN and custom cells) compiled by Numba, with no deep-learning framework."""

import importlib

from numbarnn.__about__ import __version__
from numbarnn.forecasting.forecaster import Forecaster
from numbarnn.io import load
from numbarnn.kernels.cpu.step import step
from numbarnn.language.model import CharLM, LanguageModel
from numbarnn.layers import GRU, LSTM, RNN, Dense, Dropout, Embedding, EmbeddingBag, IndRNN, OneHot, Pool, Recurrent
from numbarnn.model import Model
from numbarnn.network.stream import step_function
from numbarnn.training.trainer import Trainer

__all__ = [
    "GRU",
    "LSTM",
    "RNN",
    "CharLM",
    "Dense",
    "Dropout",
    "Embedding",
    "EmbeddingBag",
    "Forecaster",
    "IndRNN",
    "LanguageModel",
    "Model",
    "OneHot",
    "Pool",
    "Recurrent",
    "SegmentClassifier",
    "SequenceClassifier",
    "SequenceRegressor",
    "TemporalClassifier",
    "Trainer",
    "__version__",
    "load",
    "step",
    "step_function",
]

# Imported when they are first asked for: estimators import scikit-learn where it is installed.
_LATER = {
    "SegmentClassifier": "numbarnn.estimators",
    "SequenceClassifier": "numbarnn.estimators",
    "SequenceRegressor": "numbarnn.estimators",
    "TemporalClassifier": "numbarnn.estimators",
}


def __getattr__(name):
    if name in _LATER:
        return getattr(importlib.import_module(_LATER[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
