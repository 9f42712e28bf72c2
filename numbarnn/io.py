"""Model files: safetensors with a description in their metadata. Nothing that is loaded is executed.

A file holds the parameters by name and, under the key ``numbarnn``, a JSON description of what they belong to, with a
checksum. It is written beside its destination and renamed, so a full disk or a killed process leaves the old file as it was.
"""

import contextlib
import hashlib
import importlib
import json
import os
import pathlib
import re
import stat
import uuid
from collections.abc import Mapping
from typing import Any

import numpy as np

from numbarnn.errors import ModelFileError

FORMAT = 1


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
    about = {"format": FORMAT, "kind": kind, "sha256": _checksum(arrays), **description}
    replace(path, save(arrays, metadata={"numbarnn": json.dumps(about, default=_plain)}))


def _plain(value):
    """Return the Python value of a NumPy scalar, which JSON cannot encode."""
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"a file cannot store {value!r}")


def replace(path: str | os.PathLike, content: bytes) -> None:
    """Write a file beside its destination, bring it to the disk, and rename it.

    A new file has the permissions that the umask leaves; an existing one keeps its own, and its owner where the system allows.
    """
    path = pathlib.Path(path)
    temporary = path.parent / f".{path.name}.{uuid.uuid4().hex[:8]}.tmp"
    try:
        before = path.stat()
    except FileNotFoundError:
        before = None
    # Open to nobody until it has the permissions of the file that it replaces.
    mode = 0o666 if before is None else 0o600
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), mode)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        if before is not None:
            for owner in ((-1, before.st_gid), (before.st_uid, -1)):
                with contextlib.suppress(OSError, AttributeError):  # not permitted, or not available on this system
                    os.chown(temporary, *owner)
            os.chmod(temporary, stat.S_IMODE(before.st_mode))
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise


def remove_leftovers(path: str | os.PathLike) -> None:
    """Remove the unfinished files of processes that were killed while they wrote to a path."""
    path = pathlib.Path(path)
    with contextlib.suppress(OSError):
        for other in path.parent.iterdir():
            if re.fullmatch(rf"\.{re.escape(path.name)}\.\w+\.tmp", other.name):
                other.unlink()


def read(path: str | os.PathLike, kind: str | None = None) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Return (description, arrays) of a file that `write` wrote.

    Parameters
    ----------
    path : path-like
    kind : str, optional
        What the file must contain.

    Raises
    ------
    FileNotFoundError
        If there is none.
    ModelFileError
        If it is not such a file, is damaged, comes from a later version of the format, or holds something else.
    """
    from safetensors import SafetensorError, safe_open

    path = pathlib.Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"there is no model file {str(path)!r}")
    try:
        with safe_open(path, framework="np") as file:
            about = (file.metadata() or {}).get("numbarnn")
            if about is None:  # its arrays may be of types that NumPy does not know
                raise ModelFileError(f"{str(path)!r} is a safetensors file, but not one of numbarnn")
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
    except SafetensorError as error:
        raise ModelFileError(f"{str(path)!r} is not a model file, or is cut off or damaged: {error}") from None
    try:
        description = json.loads(about)
        version, found, checksum = description["format"], str(description["kind"]), description["sha256"]
    except (TypeError, ValueError, KeyError):
        raise ModelFileError(f"{str(path)!r} is a safetensors file, but not one of numbarnn") from None
    if version != FORMAT:
        raise ModelFileError(
            f"{str(path)!r} has format {version!r}, this version of numbarnn reads {FORMAT}; update numbarnn"
        )
    if checksum != _checksum(arrays):
        raise ModelFileError(f"{str(path)!r} is damaged: the checksum of its {found} does not match")
    if kind not in (None, found):
        raise ModelFileError(f"{str(path)!r} holds a {found}, not a {kind}; numbarnn.load loads any kind")
    return _renamed(description), arrays


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


def _checksum(arrays):
    digest = hashlib.sha256()
    for name in sorted(arrays):
        array = arrays[name]
        digest.update(f"{name} {array.dtype.str} {array.shape}".encode())
        digest.update(array.data if array.size else b"")
    return digest.hexdigest()


# Kind named in a file -> module and name of the class that restores the object, imported when such a file is loaded.
_CLASSES = {
    "model": ("numbarnn.model", "Model"),
    "language_model": ("numbarnn.language.model", "LanguageModel"),
    "charlm": ("numbarnn.language.model", "CharLM"),
    "forecaster": ("numbarnn.forecasting.forecaster", "Forecaster"),
    "sequence_regressor": ("numbarnn.estimators.sequence", "SequenceRegressor"),
    "sequence_classifier": ("numbarnn.estimators.classification", "SequenceClassifier"),
    "segment_classifier": ("numbarnn.estimators.classification", "SegmentClassifier"),
    "temporal_classifier": ("numbarnn.estimators.temporal", "TemporalClassifier"),
}


def load(path: str | os.PathLike, device: str = "cpu"):
    """Return what a `save` method wrote to a file: a model, language model, forecaster, or estimator of sequences.

    Nothing in the file is executed: it is a safetensors file with a description in JSON.

    Parameters
    ----------
    path : path-like
    device : {"cpu", "cuda"}
        Device of the loaded model; files do not depend on the device that wrote them.

    Returns
    -------
    Model, LanguageModel, CharLM, Forecaster, SequenceRegressor, SequenceClassifier, SegmentClassifier or TemporalClassifier
        As the file names it.

    Raises
    ------
    DeviceError
        If the device cannot be used.
    FileNotFoundError
        If there is no such file.
    ModelFileError
        If it is not a model file, is damaged, or comes from a later version.
    ValueError
        If it needs a cell that is not registered.

    Examples
    --------
    >>> model.save("model.safetensors")
    >>> model = numbarnn.load("model.safetensors")
    """
    description, arrays = read(path)
    kind = str(description["kind"])
    if kind not in _CLASSES:
        raise ModelFileError(f"{os.fspath(path)!r} holds a {kind!r}, which this version of numbarnn does not know")
    module, name = _CLASSES[kind]
    return getattr(importlib.import_module(module), name).from_description(description, arrays, device)
