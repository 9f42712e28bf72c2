"""Loading a file of any kind."""

import importlib
import os

from numbarnn import io
from numbarnn.errors import ModelFileError
from numbarnn.forecasting import Forecaster
from numbarnn.language import CharLM, LanguageModel
from numbarnn.model import Model

KINDS = {"model": Model} | {kind.KIND: kind for kind in (LanguageModel, CharLM)} | {"forecaster": Forecaster}

# Imported when a file of theirs is loaded: estimators import scikit-learn where it is installed.
LATER = {
    "sequence_regressor": ("numbarnn.estimators", "SequenceRegressor"),
    "sequence_classifier": ("numbarnn.classification", "SequenceClassifier"),
    "segment_classifier": ("numbarnn.classification", "SegmentClassifier"),
    "temporal_classifier": ("numbarnn.temporal", "TemporalClassifier"),
}


def load(path: str | os.PathLike, device: str = "cpu"):
    """Return what a `save` method wrote to a file: a model, language model, forecaster, or estimator of sequences.

    Nothing in the file is executed: it is a safetensors file with a description in JSON.

    Parameters
    ----------
    path : path-like
    device : {"cpu", "cuda"}
        Where the model is to be; files know nothing of where it was.

    Raises
    ------
    DeviceError
        If the device cannot be used.
    FileNotFoundError
        If there is no such file.
    ModelFileError
        If it is no model file, is damaged, or comes from a later version.
    ValueError
        If it needs a cell that is not registered.
    """
    description, arrays = io.read(path)
    kind = str(description["kind"])
    if kind in LATER:
        module, name = LATER[kind]
        return getattr(importlib.import_module(module), name).from_description(description, arrays, device)
    if kind not in KINDS:
        raise ModelFileError(f"{os.fspath(path)!r} holds a {kind!r}, which this version of numbarnn does not know")
    return KINDS[kind].from_description(description, arrays, device)
