"""Models to Keras models and files."""

import os
import tempfile

from numbarnn.checks import brief
from numbarnn.core.replacing import replace
from numbarnn.interop.keras.write import reasons_against, sequential
from numbarnn.interop.refusal import check_model, package, refuse_if
from numbarnn.model import Model


def to_keras(model: Model, path: str | os.PathLike | None = None):
    """Return the Keras model of a model, and write it to a ``.keras`` file where a path is given.

    Parameters
    ----------
    model : Model
        Of RNN, LSTM and GRU layers, Dense, Embedding, OneHot, Activation, Dropout and Pool ("mean", "max").
    path : path-like, optional

    Returns
    -------
    keras.Sequential
        Where an LSTM or RNN has two biases, Keras' one is their sum, rounded. One-hot vectors are rows of an identity matrix.

    Raises
    ------
    InteropError
        If a layer has no counterpart in Keras; `reasons` lists all of them.
    ModuleNotFoundError
        If Keras, or the package it computes with, is not installed.

    Examples
    --------
    >>> to_keras(Model([LSTM(32), Dense(3)], 5), "tagger.keras").summary()  # doctest: +SKIP
    """
    check_model(model)
    if path is not None and not os.fspath(path).endswith(".keras"):
        raise ValueError(f"path must end in .keras, got {brief(os.fspath(path))}")
    keras = package("keras", "to_keras", "'numbarnn[keras]'")
    refuse_if(reasons_against(model), "Keras")
    result = sequential(keras, model)
    if path is not None:
        with tempfile.TemporaryDirectory() as folder:
            file = os.path.join(folder, "model.keras")
            result.save(file)
            with open(file, "rb") as written:
                replace(path, written.read())
    return result
