"""Forms of X, which `numbarnn.estimators` lists: from what users have to checked samples."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from numbarnn.checks import brief, check_lengths, refuse_mask
from numbarnn.core.arrays import as_array, as_numeric
from numbarnn.core.axes import channels_first_hint
from numbarnn.core.frames import as_pandas, is_pandas
from numbarnn.core.ragged import Ragged
from numbarnn.data import tables
from numbarnn.errors import ShapeError
from numbarnn.estimators.samples import Samples


@dataclass(frozen=True, eq=False)
class Numbers:
    """Samples of numbers as they came.

    Attributes
    ----------
    data : array, or list of (time steps, features) arrays
        (samples, time steps) or (samples, time steps, features).
    names : array of str or None
        Of the columns, where they have names.
    """

    data: np.ndarray | list[np.ndarray]
    names: np.ndarray | None

    @classmethod
    def of(cls, X, owner: str, empty: bool = False) -> "Numbers":
        """Return what X has, for an estimator of a name; samples may have no time steps if `empty`.

        Raises
        ------
        TypeError, ValueError
            If X is not of a form of numbers, or has no samples or features.
        """
        if hasattr(X, "tocsr") or hasattr(X, "todense"):
            raise TypeError(f"{owner} does not take sparse data; pass X.toarray()")
        X = _unboxed(as_pandas(X, "X"))
        if is_pandas(X) == "series":
            raise ValueError(
                "X is a Series: one column without samples. Reshape your data: X.to_frame() has one time step a sample"
            )
        names = _column_names(X)
        if isinstance(X, (list, tuple)) and X and all(is_pandas(item) == "frame" for item in X):
            names = _column_names(X[0])
            for index, item in enumerate(X):
                if list(item.columns) != list(X[0].columns):
                    raise ValueError(f"X[{index}] has columns {list(item.columns)}, X[0] has {list(X[0].columns)}")
            X = [as_numeric(item, f"X[{index}]") for index, item in enumerate(X)]
        listed = (
            isinstance(X, (list, tuple)) and X and all(isinstance(item, np.ndarray) and item.ndim > 0 for item in X)
        )
        found = cls(_listed(X, empty) if listed else as_values(X), names)
        shape = found.shape
        if shape[0] == 0:
            raise ValueError(f"Found array with 0 sample(s) (shape={shape}) while a minimum of 1 is required.")
        if 0 in (shape[2:] if listed else shape[1:]):
            raise ValueError(
                f"Found array with 0 feature(s) (shape={shape}) while a minimum of 1 is required by {owner}."
            )
        return found

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the array; of a list its length and the shape of the first sample."""
        return (len(self.data), *self.data[0].shape) if isinstance(self.data, list) else self.data.shape

    @property
    def flat(self) -> bool:
        """Whether every column is a time step."""
        return len(self.shape) == 2

    def samples(self) -> Samples:
        """Return the samples; where an array has samples that end in NaN, they are of different lengths."""
        if isinstance(self.data, list):
            return Samples.of(self.data, [len(part) for part in self.data])
        array = self.data[:, :, None] if self.flat else self.data
        lengths, (samples, steps, features) = _tails(array), array.shape
        if lengths is None:
            return Samples.of([array.reshape(-1, features)], np.full(samples, steps), steps)
        return Samples.of([array[np.arange(steps) < lengths[:, None]]], lengths)


def as_values(data, name="X", allow=(2, 3)) -> np.ndarray:
    """Return data as an array of numbers with two or three axes."""
    data = as_pandas(data, name)
    if is_pandas(data):
        data = tables.as_table(data, name)
        array = data.values[:, 0] if data.flat else data.values
    else:
        refuse_mask(data, name)
        try:
            array = as_array(data, name)
        except ValueError:
            raise ValueError(
                f"{name} is a list of rows of different lengths; sequences of different lengths are a list of NumPy arrays"
            ) from None
    if array.dtype.kind == "c":
        raise ValueError(f"Complex data not supported: {name} has dtype {array.dtype}")
    if array.dtype.kind == "O":
        if "pandas" in sys.modules:
            array = np.where(sys.modules["pandas"].isna(array), np.nan, array)
        try:
            array = array.astype(np.float64)
        except (TypeError, ValueError) as error:
            raise type(error)(f"{name} must be numbers; argument must be a string or a number: {error}") from None
    if array.dtype.kind not in "fiub":
        raise ValueError(f"{name} must be numbers, got dtype {array.dtype}")
    if array.ndim not in allow:
        if name == "X":
            raise ValueError(
                f"Expected 2D array (samples, time steps) or 3D array (samples, time steps, features), got shape {array.shape}. "
                "Reshape your data, X.reshape(-1, 1) if it has a single feature or X.reshape(1, -1) for a single sample"
            )
        raise ValueError(
            f"y should be a 1d array, or 2d for several targets, got an array of shape {array.shape} instead."
        )
    return array


def _listed(items, empty):
    """Return a list of sequences as arrays (time steps, features)."""
    for index, item in enumerate(items):
        refuse_mask(item, f"X[{index}]")
    parts = [item[:, None] if item.ndim == 1 else item for item in items]
    features = parts[0].shape[-1]
    for index, part in enumerate(parts):
        if part.ndim != 2 or part.shape[1] != features or part.dtype.kind not in "fiub":
            hint = channels_first_hint(items[index].shape, len(parts[0]))
            raise ValueError(
                f"X[{index}] must be numbers of shape (time steps, {features}) as X[0], got {part.dtype} {items[index].shape}{hint}"
            )
        if len(part) == 0 and not empty:
            raise ValueError(f"X[{index}] has no time steps")
    return parts


def _unboxed(X):
    """Return an array or Series of arrays as a list of them, other data as they are."""
    boxed = isinstance(X, np.ndarray) and X.ndim == 1 and X.dtype == object
    if (boxed or is_pandas(X) == "series") and len(X) and all(isinstance(item, np.ndarray) and item.ndim for item in X):
        return list(X)
    if isinstance(X, (list, tuple)):
        return [as_pandas(item, f"X[{i}]") for i, item in enumerate(X)]
    return X


def _column_names(X):
    """Return the names of a DataFrame's columns where they are str, None for other data; raise TypeError where only some are."""
    if is_pandas(X) != "frame":
        return None
    names = np.asarray(X.columns, object)
    strings = [isinstance(name, str) for name in names]
    if any(strings) and not all(strings):
        raise TypeError("Feature names are only supported if all input features have string names")
    return names if all(strings) else None


def _tails(array):
    """Return the lengths of samples that NaN pads; None where nothing is padded."""
    if array.dtype.kind != "f" or not np.isnan(array[:, -1]).all(axis=-1).any():
        return None
    there = ~np.isnan(array).all(axis=2)
    lengths = np.where(there.any(axis=1), array.shape[1] - there[:, ::-1].argmax(axis=1), 0)
    if lengths.min() == 0:
        sample = int(lengths.argmin())
        raise ValueError(f"Input X contains NaN: sample {sample} has nothing but NaN; leave it out")
    return lengths


def names_message(known: list, names: list) -> str:
    """Return scikit-learn's words for columns that differ."""
    lines = ["The feature names should match those that were passed during fit."]
    unexpected, missing = sorted(set(names) - set(known)), sorted(set(known) - set(names))
    for title, which in (
        ("Feature names unseen at fit time:", unexpected),
        ("Feature names seen at fit time, yet now missing:", missing),
    ):
        if which:
            lines += [title, *(f"- {name}" for name in which[:5]), *(["- ..."] if len(which) > 5 else [])]
    if not unexpected and not missing:
        lines.append("Feature names must be in the same order as they were in fit.")
    return "\n".join(lines) + "\n"


def separate(X, lengths, offsets):
    """Return X as a list of samples where they are padded or concatenated, else as it is."""
    if not _is_data(X):
        raise TypeError(f"X must be a list of sequences or an array, got {brief(X)}")
    if lengths is not None and offsets is not None:
        raise ValueError("lengths go with padded samples, offsets with concatenated samples; pass one of them")
    if isinstance(X, Ragged):
        return list(X)
    X = as_pandas(X, "X")
    if is_pandas(X) is not None and first_string(X) is None and (lengths is not None or offsets is not None):
        X = as_numeric(X, "X")
    if isinstance(X, (list, tuple)) and len(X) and not all(hasattr(sample, "__len__") for sample in X):
        bad = next(index for index, sample in enumerate(X) if not hasattr(sample, "__len__"))
        raise TypeError(f"X[{bad}] must be a sequence of time steps, got {brief(X[bad])}")
    lengths = None if lengths is None else as_array(lengths, "lengths")
    if lengths is not None and _concatenated(X, lengths):
        counts = lengths
        if counts.ndim != 1 or counts.dtype.kind not in "iu" or (counts < 0).any():
            raise TypeError(f"lengths must be integers, one a sample and none negative, got {brief(lengths)}")
        if counts.sum() != len(X):
            raise ShapeError(
                f"lengths add up to {counts.sum()} for {len(counts)} samples, X has {len(X)} rows: they must add up to the rows"
            )
        offsets, lengths = np.concatenate([[0], np.cumsum(counts)]), None
    if offsets is not None:
        steps = np.asarray(X) if first_string(X) is not None else as_array(X, "X")
        return list(Ragged(steps, as_array(offsets, "offsets")))
    if lengths is not None:
        longest = max((len(sample) for sample in X), default=0)
        lengths = check_lengths(lengths, len(X), longest)
        for sample, length in enumerate(lengths):
            if length > len(X[sample]):
                raise ValueError(f"lengths[{sample}] is {length}; X[{sample}] has {len(X[sample])} steps")
        samples = X if first_string(X) is not None else [as_array(sample, f"X[{i}]") for i, sample in enumerate(X)]
        return [sample[:length] for sample, length in zip(samples, lengths, strict=True)]
    if is_pandas(X) == "series" and first_string(X) is not None:
        return list(X)
    return X


def _is_data(X):
    """Return whether something has samples; sparse matrices have, and are refused by name."""
    if hasattr(X, "tocsr"):
        return True
    return not isinstance(X, (str, bytes, Mapping, set)) and (hasattr(X, "__len__") or hasattr(X, "__array__"))


def _concatenated(X, lengths):
    """Return whether an array with lengths has the steps of all samples, since its rows cannot be the samples."""
    if not isinstance(X, np.ndarray) or X.ndim not in (1, 2):
        return False
    return len(X) != lengths.size or (X.ndim == 1 and X.dtype.kind in "iufb")


def first_string(X) -> str | None:
    """Return the first string of samples, or None where the first value found is not one."""
    if is_pandas(X) == "frame" or hasattr(X, "tocsr") or not hasattr(X, "__iter__"):
        return None
    if isinstance(X, np.ndarray) and X.ndim == 0:
        return None
    for sample in X:
        if isinstance(sample, str):
            return sample
        if not isinstance(sample, (list, tuple, np.ndarray)) or (isinstance(sample, np.ndarray) and sample.ndim == 0):
            return None
        if len(sample):
            return sample[0] if isinstance(sample[0], str) else None
    return None
