"""numbarnn: recurrent nets (RNN, LSTM, GRU, IndRNN, minGRU, minLSTM, custom cells) compiled by Numba, no deep-learning framework.

Names and modules are imported when they are first asked for, so that ``import numbarnn`` costs nothing that is not used.
"""

import importlib
from typing import TYPE_CHECKING

from numbarnn.__about__ import __version__

if TYPE_CHECKING:
    from numbarnn import cells as cells
    from numbarnn import data as data
    from numbarnn import decoding as decoding
    from numbarnn import diagnostics as diagnostics
    from numbarnn import errors as errors
    from numbarnn import interop as interop
    from numbarnn import language as language
    from numbarnn import layers as layers
    from numbarnn import losses as losses
    from numbarnn import metrics as metrics
    from numbarnn import optim as optim
    from numbarnn import plots as plots
    from numbarnn.estimators import SegmentClassifier, SequenceClassifier, SequenceRegressor, TemporalClassifier
    from numbarnn.forecasting import Forecaster
    from numbarnn.frozen import freeze
    from numbarnn.io import load
    from numbarnn.kernels.cpu.step import step
    from numbarnn.kernels.cpu.streams import step_many
    from numbarnn.language import CharLM, LanguageModel
    from numbarnn.layers import (
        GRU,
        LSTM,
        RNN,
        Activation,
        Dense,
        Dropout,
        Embedding,
        EmbeddingBag,
        IndRNN,
        MinGRU,
        MinLSTM,
        OneHot,
        Pool,
        Recurrent,
    )
    from numbarnn.many import fit_many, predict_many
    from numbarnn.many.ensemble import Ensemble
    from numbarnn.many.group_by import GroupBy
    from numbarnn.model import Model
    from numbarnn.network.stream import step_function
    from numbarnn.network.streams import streams_function
    from numbarnn.training.trainer import Trainer
    from numbarnn.training.warmup import warmup

# Where the public names are; a test compares the table with the imports above, which type checkers and editors read.
_HOMES = {
    "numbarnn.estimators": ("SegmentClassifier", "SequenceClassifier", "SequenceRegressor", "TemporalClassifier"),
    "numbarnn.forecasting": ("Forecaster",),
    "numbarnn.frozen": ("freeze",),
    "numbarnn.io": ("load",),
    "numbarnn.kernels.cpu.step": ("step",),
    "numbarnn.kernels.cpu.streams": ("step_many",),
    "numbarnn.language": ("CharLM", "LanguageModel"),
    "numbarnn.layers": (
        "GRU", "LSTM", "RNN", "Activation", "Dense", "Dropout", "Embedding", "EmbeddingBag", "IndRNN", "MinGRU", "MinLSTM",
        "OneHot", "Pool", "Recurrent",
    ),
    "numbarnn.many": ("fit_many", "predict_many"),
    "numbarnn.many.ensemble": ("Ensemble",),
    "numbarnn.many.group_by": ("GroupBy",),
    "numbarnn.model": ("Model",),
    "numbarnn.network.stream": ("step_function",),
    "numbarnn.network.streams": ("streams_function",),
    "numbarnn.training.trainer": ("Trainer",),
    "numbarnn.training.warmup": ("warmup",),
}  # fmt: skip
_HOME = {name: module for module, names in _HOMES.items() for name in names}

__all__ = [
    "GRU",
    "LSTM",
    "RNN",
    "Activation",
    "CharLM",
    "Dense",
    "Dropout",
    "Embedding",
    "EmbeddingBag",
    "Ensemble",
    "Forecaster",
    "GroupBy",
    "IndRNN",
    "LanguageModel",
    "MinGRU",
    "MinLSTM",
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
    "fit_many",
    "freeze",
    "load",
    "predict_many",
    "step",
    "step_function",
    "step_many",
    "streams_function",
    "warmup",
]

_MODULES = frozenset({
    "backends", "cells", "checks", "cli", "core", "data", "decoding", "diagnostics", "errors", "estimators", "forecasting",
    "frozen", "inputs", "interop", "io", "kernels", "language", "layers", "losses", "many", "metrics", "model", "network", "optim",
    "parallel", "plots", "sklearn_api", "training", "words", "workers",
})  # fmt: skip
# Those whose names are public; what the others contain may change.
_PUBLIC = frozenset({
    "cells", "data", "decoding", "diagnostics", "errors", "interop", "language", "layers", "losses", "metrics", "optim", "plots",
})  # fmt: skip


if not TYPE_CHECKING:  # which would take every name for one of the package

    def __getattr__(name):
        if name not in _HOME and name not in _MODULES:
            from numbarnn.words import no_attribute

            raise no_attribute(f"module {__name__!r}", name, __dir__())
        from numbarnn.kernels.interrupts import DeferredInterrupt

        with DeferredInterrupt():  # Ctrl-C would leave modules behind, its own and others', that are imported half
            module = importlib.import_module(_HOME.get(name, f"numbarnn.{name}"))
        value = getattr(module, name) if name in _HOME else module
        globals()[name] = value  # asked for once
        return value


def __dir__():
    return sorted({*__all__, *_PUBLIC})
