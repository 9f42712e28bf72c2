"""Keras models and files to models."""

import json
import os

import numpy as np

from numbarnn.checks import brief, check_file, to_list
from numbarnn.interop.keras.files import model_of_file, model_of_weights
from numbarnn.interop.keras.read import model_of
from numbarnn.model import Model


def from_keras(source, *, layers=None) -> Model:
    """Return the model of a Keras 3 model, ``.keras`` file or ``.weights.h5`` file.

    Known are SimpleRNN, LSTM, GRU (both ``reset_after``), Bidirectional, Embedding, Dense, TimeDistributed(Dense), Activation,
    Dropout, SpatialDropout1D, Masking, GlobalAveragePooling1D and GlobalMaxPooling1D, in a Sequential or in a functional model that
    is a chain.

    Parameters
    ----------
    source : keras.Model or path-like
        Files are read by h5py alone: Keras need not be installed, and nothing in a file is run.
    layers : sequence of Layer, optional
        Of a ``.weights.h5`` file, which has no description: the layers of the model. Of recurrent layers with two biases the second
        one is 0.

    Returns
    -------
    Model
        A mask of Keras is `lengths` here: where ``mask_zero`` or Masking pads samples at their end, pass
        ``lengths=(x != 0).sum(axis=1)``. Outputs past them are 0. A last softmax becomes `Model.predict_proba`.

    Raises
    ------
    InteropError
        If something cannot be computed by a numbarnn model; `reasons` lists all of it.
    FileNotFoundError, IsADirectoryError
        If there is no such file, or a folder of that name.
    ModuleNotFoundError
        If h5py is not installed, and the source is a file.

    Examples
    --------
    >>> model = from_keras("tagger.keras")  # doctest: +SKIP
    >>> model = from_keras("tagger.weights.h5", layers=[LSTM(32), Dense(3)])  # doctest: +SKIP
    """
    if isinstance(source, (str, os.PathLike)):
        path = os.fspath(source)
        if path.endswith((".h5", ".hdf5")):
            if layers is None:
                raise ValueError("layers must be given with a file of weights alone: layers=[LSTM(32), Dense(3)]")
            check_file(path, "source")
            return model_of_weights(path, to_list(layers, "layers", "layers"))
        if layers is not None:
            raise ValueError("layers must be left out with a .keras file, which says what its layers are")
        check_file(path, "source")
        return model_of_file(path)
    if layers is not None:
        raise ValueError("layers must be left out with a model, which says what its layers are")
    if not hasattr(source, "to_json") or not hasattr(source, "get_layer"):
        raise TypeError(f"source must be a Keras model or the path of a file, got {brief(source)}")

    def weights(name: str, *inner: str) -> list[np.ndarray]:
        layer = source.get_layer(name)
        for attribute in inner:
            layer = getattr(layer, attribute)
        return [np.asarray(array) for array in layer.get_weights()]

    return model_of(json.loads(source.to_json()), weights)
