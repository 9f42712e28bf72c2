"""Loading a file of any kind."""

import os

from numbarnn import io
from numbarnn.charlm import CharLM
from numbarnn.errors import ModelFileError
from numbarnn.forecasting import Forecaster
from numbarnn.model import Model

KINDS = {"model": Model, "charlm": CharLM, "forecaster": Forecaster}


def load(path: str | os.PathLike):
    """Return the model of a file that a `save` method wrote: a `Model`, a `CharLM` or a `Forecaster`.

    Nothing in the file is executed: it is a safetensors file with a description in JSON.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ModelFileError
        If it is no model file, is damaged, or comes from a later version.
    ValueError
        If it needs a cell that is not registered.
    """
    description, arrays = io.read(path)
    kind = description["kind"]
    if kind not in KINDS:
        raise ModelFileError(f"{os.fspath(path)!r} holds a {kind!r}, which this version of numbarnn does not know")
    return KINDS[kind].from_description(description, arrays)
