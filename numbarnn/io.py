"""Model files: safetensors with a description in their metadata. Nothing that is loaded is executed.

A file holds the parameters by name and, under the key ``numbarnn``, two lines: a JSON description of what they belong to, and a
hash of that line and of all arrays, without which nothing is loaded. Files are replaced as a whole (`numbarnn.core.replacing`): a
full disk or a killed process leaves the old one as it was.
"""

import contextlib
import hashlib
import importlib
import json
import os
import pathlib
import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from numbarnn.checks import brief, check_file, check_flag
from numbarnn.core.replacing import replace
from numbarnn.errors import ModelFileError
from numbarnn.words import suggesting

# Files of format 1 have no second line: a hash of the arrays alone stands in their description.
FORMAT = 2

# What NumPy knows of the types of safetensors.
_DTYPES = frozenset("BOOL U8 I8 U16 I16 U32 I32 U64 I64 F16 F32 F64".split())


def write(path: str | os.PathLike, kind: str, description: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> None:
    """Write arrays and a description to a file.

    Parameters
    ----------
    path : path-like
        Replaced if it exists.
    kind : str
        What the file contains, for example "model".
    description : mapping
        JSON values; NumPy scalars are allowed.
    arrays : mapping of str to array

    Raises
    ------
    OSError
        If the file cannot be written; the existing file is left as it was.
    """
    from safetensors.numpy import save

    arrays = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    text = json.dumps({"format": FORMAT, "kind": kind, **description}, default=_plain)
    # One entry, since safetensors writes several in any order.
    replace(path, save(arrays, metadata={"numbarnn": f"{text}\n{_hash(text, arrays)}"}))


METADATA_LIMIT = 1 << 20  # bytes of JSON: what describes a model, not its data


def check_metadata(metadata) -> dict[str, Any]:
    """Return what a user stores beside a model as a file stores it: names to JSON values, tuples as lists.

    Parameters
    ----------
    metadata : mapping of str to values of JSON, or None
        NumPy scalars are allowed.

    Raises
    ------
    TypeError, ValueError
        If a name is not a str, a value is not one of JSON, or all are longer than a mebibyte of JSON.
    """
    if metadata is None:
        return {}
    if not isinstance(metadata, Mapping):
        raise TypeError(f"metadata must be a dict of names to values of JSON, got {brief(metadata)}")
    found = {}
    for name, value in metadata.items():
        if not isinstance(name, str):
            raise TypeError(f"metadata must have names of type str, got {brief(name)}")
        try:
            found[name] = json.loads(json.dumps(value, default=_plain, allow_nan=False))
        except (TypeError, ValueError, RecursionError):
            raise TypeError(
                f"metadata[{name!r}] must be values of JSON: str, finite numbers, True, False, None, and lists and dicts of them, "
                f"got {brief(value)}"
            ) from None
    size = len(json.dumps(found).encode("utf-8", "surrogatepass"))
    if size > METADATA_LIMIT:
        raise ValueError(
            f"metadata must be at most {METADATA_LIMIT:,} bytes of JSON, got {size:,}; keep data in files of their own"
        )
    return found


def _plain(value):
    """Return the Python value of a NumPy scalar, which JSON cannot encode."""
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"a file cannot store {value!r}")


# Reading


def read(path: str | os.PathLike, kind: str | None = None) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Return (description, arrays) of a file that `write` wrote.

    Parameters
    ----------
    path : path-like
    kind : str, optional
        What the file must contain.

    Raises
    ------
    FileNotFoundError, IsADirectoryError
        If there is none, or a folder of that name.
    ModelFileError
        If it is not such a file, is damaged, comes from a later version of the format, or contains something else.
    """
    check_file(path, what="model file")
    path = pathlib.Path(path)
    if not path.is_file():  # a pipe, which would be waited for
        raise FileNotFoundError(f"path: {str(path)!r} is not a regular file")
    text, checksum, arrays = _content(path)
    try:
        description = json.loads(text)
        version, found = description["format"], description["kind"]
        if not (type(version) is int and type(found) is str):
            raise TypeError
    except (KeyError, RecursionError, TypeError, ValueError):
        raise _not_ours(path) from None
    if not 1 <= version <= FORMAT:
        raise ModelFileError(
            f"{str(path)!r} has format {version!s:.9}, this version of numbarnn reads {FORMAT} and earlier; update numbarnn"
        )
    if version == 1:
        if description.pop("sha256", None) != _checksum(arrays):
            raise _damaged(path, found)
        with understood(f"{found} {str(path)!r}"):
            description = _renamed(description)
    elif checksum != _hash(text, arrays):
        raise _damaged(path, found)
    if kind not in (None, found):
        raise ModelFileError(f"{str(path)!r} contains a {found}, not a {kind}; numbarnn.load loads any kind")
    return description, arrays


def _content(path) -> tuple[str, str, dict[str, np.ndarray]]:
    """Return (text of the description, hash or "", arrays) of a file."""
    from safetensors import SafetensorError, safe_open

    with open(path, "rb"):  # the system's error where it may not be read
        pass
    try:
        with safe_open(path, framework="np") as file:
            metadata = (file.metadata() or {}).get("numbarnn")
            names = list(file.keys())
            # Others' arrays may be of types that NumPy does not know.
            if metadata is None or any(file.get_slice(name).get_dtype() not in _DTYPES for name in names):
                raise _not_ours(path)
            text, _, checksum = metadata.partition("\n")
            return text, checksum, {name: file.get_tensor(name) for name in names}
    except ModelFileError:
        raise
    except (SafetensorError, ArithmeticError, LookupError, TypeError, ValueError) as error:
        raise ModelFileError(f"{str(path)!r} is not a model file, or is cut off or damaged: {error}") from None


def _not_ours(path):
    return ModelFileError(f"{str(path)!r} is a safetensors file, but not one of numbarnn")


def _damaged(path, kind):
    return ModelFileError(f"{str(path)!r} is damaged: the checksum of its {kind} does not match")


def _hash(text: str, arrays) -> str:
    """Return a hash of a description's text and of all arrays with their names, dtypes and shapes."""
    digest = hashlib.sha256(text.encode())
    for name in sorted(arrays):
        array = arrays[name]
        digest.update(f"\n{json.dumps([name, array.dtype.str, array.shape])}\n".encode())
        digest.update(array.data if array.size else b"")
    return digest.hexdigest()


def _checksum(arrays):
    """Return the hash of format 1."""
    digest = hashlib.sha256()
    for name in sorted(arrays):
        array = arrays[name]
        digest.update(f"{name} {array.dtype.str} {array.shape}".encode())
        digest.update(array.data if array.size else b"")
    return digest.hexdigest()


@contextlib.contextmanager
def understood(what: str):
    """Let a block make something of a file's description, and raise ModelFileError for whatever it raises of what it reads."""
    try:
        yield
    except ModelFileError:
        raise
    except (
        ArithmeticError,
        AttributeError,
        LookupError,
        NotImplementedError,
        RecursionError,
        TypeError,
        ValueError,
    ) as error:
        raise ModelFileError(f"the file's description of the {what} cannot be understood: {error!r:.1000}") from None


# Options that have other names in files of earlier versions.
_NAMES = {
    "epsilon": "eps", "hold": "fix", "initial_accumulator": "initial_accumulator_value", "stopping": "patience",
    "validation_fraction": "validation",
}  # fmt: skip


def _renamed(value):
    """Return a description with the current names of options."""
    if isinstance(value, list):
        return [_renamed(part) for part in value]
    if not isinstance(value, dict):
        return value
    found = {_NAMES.get(key, re.sub("^hold_", "fix_", key)): _renamed(part) for key, part in value.items()}
    if {"beta1", "beta2"} <= found.keys():
        found["betas"] = [found.pop("beta1"), found.pop("beta2")]
    return found


# Kind named in a file -> module and name of the class that restores the object, imported when such a file is loaded.
_CLASSES = {
    "model": ("numbarnn.model", "Model"),
    "language_model": ("numbarnn.language.model", "LanguageModel"),
    "charlm": ("numbarnn.language.characters", "CharLM"),
    "forecaster": ("numbarnn.forecasting.forecaster", "Forecaster"),
    "sequence_regressor": ("numbarnn.estimators", "SequenceRegressor"),
    "sequence_classifier": ("numbarnn.estimators", "SequenceClassifier"),
    "segment_classifier": ("numbarnn.estimators", "SegmentClassifier"),
    "temporal_classifier": ("numbarnn.estimators", "TemporalClassifier"),
    "ensemble": ("numbarnn.many.ensemble", "Ensemble"),
    "groups": ("numbarnn.many.group_by", "GroupBy"),
}


@suggesting
def load(path: str | os.PathLike[str], device: str = "cpu", *, warm: bool = False) -> Any:
    """Return what a `save` method wrote to a file: a model, language model, forecaster, estimator of sequences, or many of these.

    Nothing in the file is executed: it is a safetensors file with a description in JSON.

    Parameters
    ----------
    path : path-like
    device : {"cpu", "cuda"}
        Device of the loaded model; files do not depend on the device that wrote them.
    warm : bool
        Whether to compile or load at once what predictions need (`numbarnn.warmup`), so that the first one is as fast as the
        others: for services.

    Returns
    -------
    Model, LanguageModel, CharLM, Forecaster, SequenceRegressor, SequenceClassifier, SegmentClassifier, TemporalClassifier, Ensemble
    or GroupBy
        As the file names it.

    Raises
    ------
    DeviceError
        If the device cannot be used.
    FileNotFoundError, IsADirectoryError
        If there is no such file, or a folder of that name.
    ModelFileError
        If it is not a model file, is damaged, comes from a later version, or needs a cell that is not registered.

    Examples
    --------
    >>> import numbarnn as nr
    >>> nr.Model([nr.LSTM(4), nr.Dense(2)], input_size=3).save("model.safetensors")
    >>> model = nr.load("model.safetensors")
    >>> model.input_size
    3
    """
    check_flag("load", "warm", warm)
    description, arrays = read(path)
    kind = description["kind"]
    if kind not in _CLASSES:
        raise ModelFileError(f"{os.fspath(path)!r} contains a {kind!r}, which this version of numbarnn does not know")
    module, name = _CLASSES[kind]
    loaded = getattr(importlib.import_module(module), name).from_description(description, arrays, device)
    if warm:
        importlib.import_module("numbarnn.training.warmup").warmup(loaded, train=False)
    return loaded
