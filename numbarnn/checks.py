"""Checks of arguments that have nothing to do with nets: each names the argument, what was expected, and what was given."""

import contextlib
import math
import os
import re
from collections.abc import Iterable, Iterator, Mapping

import numpy as np

from numbarnn.errors import ShapeError, TokenError
from numbarnn.words import did_you_mean

LARGEST = 2**62  # of integers, so that int64 holds their sums
COUNTED = 2**31 - 1  # of things that are kept in memory
BLOCK = 1 << 22  # bytes that work on a whole array takes at a time: it may be a file that memory does not hold

FLOATS = (np.dtype(np.float32), np.dtype(np.float64))


def brief(value) -> str:
    """Return a value in one short line, for messages: as Python writes it, or its type and shape where that is long."""
    if not hasattr(value, "shape") or value.shape == ():
        text = repr(value)
        if len(text) <= 60 and "\n" not in text:
            return text
    kind = type(value).__name__
    if hasattr(value, "shape"):
        return f"{kind} of shape {value.shape}"
    text = repr(value)[:50].splitlines()[0]
    return f"{text}..." if kind in text else f"{kind} {text}..."


def counted(count: int, noun: str, plural: str | None = None) -> str:
    """Return a number of things in words: "1 missing value", "3 missing values"; the plural is that of English without one."""
    return f"{count} {noun}" if count == 1 else f"{count} {plural or noun + 's'}"


def check_flat(array, name: str, like: np.ndarray | None = None, writable: bool = True) -> np.ndarray:
    """Return a flat array as compiled code takes it; it is never copied, since it may be changed in place.

    Parameters
    ----------
    array : (n,) array of float32 or float64
    name : str
        Of the argument, for messages.
    like : (n,) array, optional
        Array of the size and dtype that are required.
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


def check_output(out, shape: tuple[int, ...], dtype: np.dtype) -> None:
    """Raise ShapeError, TypeError or ValueError unless outputs of that shape can be written to `out`; `dtype` is the model's."""
    if not isinstance(out, np.ndarray) or out.shape != shape:
        got = out.shape if isinstance(out, np.ndarray) else type(out)
        raise ShapeError(f"out must be a NumPy array of shape {shape}, got {got}")
    if out.dtype.kind not in "fc":  # NumPy would write text, cut off to its length, into an array of strings
        raise TypeError(f"out must have a floating-point dtype, such as the model's {dtype}, got dtype {out.dtype}")
    if not out.flags.writeable:
        raise ValueError("out must be writable, got a read-only array")


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
        raise TypeError(f"{name} must be a number, got {brief(value)}")
    if not math.isfinite(value) or value < least:
        bound = "" if least == -math.inf else f" and >= {least:g}"
        raise ValueError(f"{name} must be finite{bound}, got {brief(value)}")
    return float(value)


def check_integer(value, name: str, least: int, most: float = LARGEST) -> int:
    """Return an integer of [least, most] as an int; raise TypeError or ValueError unless it is one."""
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, np.integer)):
        raise TypeError(f"{name} must be an integer, got {brief(value)}")
    if value < least:
        raise ValueError(f"{name} must be an integer >= {least}, got {value}")
    if value > most:
        raise ValueError(f"{name} must be an integer from {least} to {most}, got {value}")
    return int(value)


_UNITS = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4}
_SIZE = 'a number of bytes, or a str of a number and a unit (B, kB, MB, GB, TB, KiB, MiB, GiB or TiB) such as "300 MB"'


def check_bytes(value, name: str) -> int:
    """Return a size in bytes: a positive integer, or a str such as "300 MB" (10**6 bytes each) or "1.5 GiB" (2**30).

    Raises
    ------
    TypeError
        If it is neither.
    ValueError
        If it is not positive, or not written so.
    """
    if not isinstance(value, str):
        if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, np.integer)):
            raise TypeError(f"{name} must be {_SIZE}, got {brief(value)}")
        return check_integer(value, name, 1)
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([kmgt]?)(i?)b\s*", value.lower())
    if found is None or (found[3] and not found[2]):
        raise ValueError(f"{name} must be {_SIZE}, got {brief(value)}")
    return check_integer(int(float(found[1]) * (1024 if found[3] else 1000) ** _UNITS[found[2]]), name, 1)


def check_choice(value, name: str, choices, *, none: bool = False) -> None:
    """Raise ValueError unless a value is one of some strings, or with `none` None."""
    if (none and value is None) or (isinstance(value, str) and value in choices):
        return
    *first, last = [*map(repr, choices), *(["None"] if none else [])]
    raise ValueError(
        f"{name} must be {', '.join(first) + ' or ' if first else ''}{last}, got {brief(value)}{did_you_mean(value, choices)}"
    )


def check_dtype(dtype, name: str = "dtype") -> np.dtype:
    """Return the dtype of a model; raise ValueError unless it is float32 or float64, by name, type or dtype."""
    if isinstance(dtype, (str, type, np.dtype)):
        with contextlib.suppress(TypeError):
            found = np.dtype(dtype)
            if found in FLOATS and found.isnative:
                return found
    raise ValueError(f"{name} must be float32 or float64, got {brief(dtype)}")


def to_list(values, name: str, of: str) -> list:
    """Return the items of a list, array, Series or other sequence as a list; raise TypeError for a str and what has no order."""
    unordered = isinstance(values, (str, bytes, set, frozenset, Mapping))
    if unordered or not isinstance(values, Iterable) or getattr(values, "ndim", 1) != 1:
        raise TypeError(f"{name} must be a list of {of}, got {brief(values)}")
    return list(values)


def check_levels(levels, name: str) -> tuple[float, ...]:
    """Return levels of quantiles as a tuple of floats; raise TypeError or ValueError unless all are numbers in (0, 1)."""
    found = to_list(levels, name, "numbers in (0, 1)")
    values = tuple(check_real(level, f"{name}[{index}]") for index, level in enumerate(found))
    for index, level in enumerate(values):
        if not 0 < level < 1:
            raise ValueError(f"{name}[{index}] must be in (0, 1), got {brief(level)}")
    return values


def to_array(data, name: str) -> np.ndarray:
    """Return data as the array that NumPy makes of them; raise ShapeError for lists of unequal lengths."""
    try:
        return np.asarray(data)
    except ValueError:
        raise ShapeError(f"{name} must be an array, or rows of one length, got {brief(data)}") from None


def check_path(path, name: str = "path") -> None:
    """Raise TypeError unless an argument is a path."""
    if not isinstance(path, (str, os.PathLike)):
        raise TypeError(f"{name} must be a path, a str or an os.PathLike, got {brief(path)}")
    if "\0" in os.fspath(path):
        raise ValueError(f"{name} must not have NUL characters, got {brief(path)}")


def check_file(path, name: str = "path", what: str = "file") -> None:
    """Raise FileNotFoundError or IsADirectoryError, which name the argument, unless a path is that of a file."""
    check_path(path, name)
    if os.path.isdir(path):
        raise IsADirectoryError(f"{name}: {os.fspath(path)!r} is a folder, not a file")
    if not os.path.exists(path):
        raise FileNotFoundError(f"{name}: there is no {what} {os.fspath(path)!r}")


@contextlib.contextmanager
def naming(argument: str, inner: str):
    """Let errors name an argument of the caller where they name `inner`, that of the function called in the block."""
    try:
        yield
    except (TypeError, ValueError) as error:
        error.args = (re.sub(rf"\b{inner}\b", argument, str(error), count=1), *error.args[1:])
        raise


def check_seed(seed) -> int:
    """Return a seed as an int; raise ValueError unless it is one of 0 to 2**63 - 1."""
    if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)) or not 0 <= seed < 2**63:
        raise ValueError(f"seed must be an integer from 0 to 2**63 - 1, got {brief(seed)}")
    return int(seed)


def check_number(owner, name, value, low, high, *, kind=float, include_high=True):
    """Raise TypeError or ValueError unless an option is a number of [low, high]."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer) if kind is int else (int, float, np.number)):
        raise TypeError(f"{owner}: {name} must be {'an integer' if kind is int else 'a number'}, got {brief(value)}")
    if not (low <= value <= high if include_high else low <= value < high):
        closing = "]" if include_high else ")"
        raise ValueError(f"{owner}: {name} must be in [{low}, {high}{closing}, got {brief(value)}")


def check_flag(owner, name, value):
    """Raise TypeError unless an option is True or False."""
    if not isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{owner}: {name} must be True or False, got {brief(value)}")


def check_lengths(lengths, samples: int, steps: int) -> np.ndarray | None:
    """Return lengths as int64 (samples,), or None.

    Raises
    ------
    ShapeError
        If there is not one for each sample.
    TypeError
        If they are not integers.
    ValueError
        If one is negative or greater than `steps`.
    """
    if lengths is None:
        return None
    refuse_mask(lengths, "lengths", "every sample has a length")
    array = to_array(lengths, "lengths")
    if array.shape != (samples,):
        raise ShapeError(f"lengths must have shape ({samples},), one for each sample, got {array.shape}")
    if array.dtype.kind not in "iu":
        raise TypeError(f"lengths must be integers, got dtype {array.dtype}")
    wrong = np.flatnonzero((array < 0) | (array > steps))  # before the cast, for which uint64 may be too large
    if wrong.size:
        raise ValueError(f"lengths[{wrong[0]}] is {array[wrong[0]]}; x has {steps} time steps")
    return array.astype(np.int64)


def check_tokens(array: np.ndarray, size: int, name: str = "x", least: int = 0) -> None:
    """Raise TokenError unless all values lie in [least, size)."""
    if array.size == 0:
        return
    low, high = array.min(), array.max()
    if low < least or high >= size:
        wrong = np.argwhere((array < least) | (array >= size))[0]
        index = ", ".join(map(str, wrong))
        hint = " (-1 for none)" if least < 0 else ""
        raise TokenError(
            f"{name}[{index}] is {array[tuple(wrong)]}; the vocabulary has {size} tokens, 0 to {size - 1}{hint}"
        )


def as_int64(array: np.ndarray, name: str) -> np.ndarray:
    """Return integers as int64; raise ValueError for those of uint64 that the cast would make negative."""
    if array.dtype == np.uint64 and array.max(initial=0) >= 2**63:
        raise ValueError(f"{name} has the value {array.max()}, beyond the integers of int64")
    return array.astype(np.int64)


def row_blocks(array: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """Yield an array as blocks of rows of about `BLOCK` bytes, each with the index of its first row; one without axes whole."""
    if array.ndim == 0:
        yield 0, array
        return
    rows = max(1, BLOCK // max(1, array[:1].nbytes))
    for first in range(0, len(array), rows):
        yield first, array[first : first + rows]


def past_lengths(shape: tuple[int, ...], lengths: np.ndarray) -> np.ndarray:
    """Return where an array (samples, time steps, ...) is padding, in a form that broadcasts to its shape."""
    past = np.arange(shape[1]) >= lengths[:, None]
    return past.reshape(past.shape + (1,) * (len(shape) - 2))


def not_finite(array: np.ndarray, lengths: np.ndarray | None = None) -> tuple[int, tuple[int, ...] | None]:
    """Return how many values are NaN or infinite, padding apart, and the index of the first of them."""
    count, found = 0, None
    if array.dtype.kind != "f":
        return count, found
    for first, block in row_blocks(array):
        finite = np.isfinite(block)
        if finite.all():
            continue
        if lengths is not None:
            finite |= past_lengths(block.shape, lengths[first : first + len(block)])
        wrong = np.count_nonzero(~finite)
        if wrong and found is None:
            found = tuple(np.argwhere(~finite)[0].tolist())
            found = (found[0] + first, *found[1:]) if found else found
        count += wrong
    return count, found


def check_finite(
    array: np.ndarray,
    name: str,
    advice: str = "fill or drop them before fitting",
    lengths: np.ndarray | None = None,
) -> None:
    """Raise ValueError with the count and the first index of the values that are NaN or infinite, those past `lengths` apart."""
    count, index = not_finite(array, lengths)
    if count:
        index = ", ".join(map(str, index))
        raise ValueError(f"{name} has {counted(count, 'NaN or infinite value')}, the first at [{index}]; {advice}")


def refuse_mask(data, name: str, advice: str | None = None) -> None:
    """Raise TypeError for a masked array with masked values: what lies under the mask would be taken for data."""
    if isinstance(data, np.ma.MaskedArray) and np.ma.is_masked(data):
        advice = advice or f"fill them ({name}.filled), and exclude them by lengths or sample_weight"
        raise TypeError(f"{name} is a masked array with {counted(np.ma.count_masked(data), 'masked value')}; {advice}")
