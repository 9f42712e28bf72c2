"""Checks of arguments that have nothing to do with nets: each says what it expected of which argument, and what came."""

import math

import numpy as np

from numbarnn.errors import ShapeError

FLOATS = (np.dtype(np.float32), np.dtype(np.float64))


def check_flat(array, name: str, like: np.ndarray | None = None, writable: bool = True) -> np.ndarray:
    """Return a flat array as compiled code takes it; it is never copied, for it may be changed in place.

    Parameters
    ----------
    array : (n,) array of float32 or float64
    name : str
        Of the argument, for messages.
    like : (n,) array, optional
        What size and dtype must be those of.
    writable : bool
        Whether the array is going to be changed.

    Raises
    ------
    TypeError
        If it is not a NumPy array of float32 or float64, or its dtype is not that of `like`.
    ShapeError
        If it does not have one axis, or not the size of `like`.
    ValueError
        If it is not C-contiguous, or must be writable and is not.
    """
    if not isinstance(array, np.ndarray) or array.dtype not in FLOATS or not array.dtype.isnative:
        got = f"an array of {array.dtype}" if isinstance(array, np.ndarray) else type(array).__name__
        raise TypeError(f"{name} must be a NumPy array of float32 or float64, got {got}")
    if array.ndim != 1:
        raise ShapeError(f"{name} must be flat, an array of shape (n,), got shape {array.shape}")
    if like is not None and array.dtype != like.dtype:
        raise TypeError(f"{name} must have dtype {like.dtype}, got {array.dtype}; convert it with astype({like.dtype})")
    if like is not None and array.size != like.size:
        raise ShapeError(f"{name} must have shape {like.shape}, got {array.shape}")
    flags = array.flags
    if not (flags.c_contiguous and flags.aligned):
        raise ValueError(
            f"{name} must be C-contiguous, got strides {array.strides}; pass numpy.ascontiguousarray of it"
        )
    if writable and not flags.writeable:
        raise ValueError(f"{name} is changed in place, but is read-only; pass a copy of it")
    return array


def check_real(value, name: str, least: float = -math.inf) -> float:
    """Return a finite number as a float.

    Raises
    ------
    TypeError
        If it is not a number.
    ValueError
        If it is NaN, infinite or smaller than `least`.
    """
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, float, np.integer, np.floating)):
        raise TypeError(f"{name} must be a number, got {value!r}")
    if not math.isfinite(value) or value < least:
        bound = "" if least == -math.inf else f" and >= {least:g}"
        raise ValueError(f"{name} must be finite{bound}, got {value!r}")
    return float(value)


def check_integer(value, name: str, least: int) -> int:
    """Return an integer of at least `least` as an int; raise TypeError or ValueError unless it is one."""
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, np.integer)):
        raise TypeError(f"{name} must be an integer, got {value!r}")
    if value < least:
        raise ValueError(f"{name} must be an integer >= {least}, got {value!r}")
    return int(value)
