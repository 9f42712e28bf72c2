"""Parts of samples or rows by group, and predictions of the parts put together again."""

import contextlib
from collections.abc import Callable, Collection, Hashable, Iterator, Mapping, Set
from dataclasses import dataclass
from typing import Any

import numpy as np

from numbarnn.checks import brief, counted, to_list
from numbarnn.core.frames import as_pandas, is_pandas
from numbarnn.errors import ShapeError
from numbarnn.metrics.labels import missing, sorted_labels

SHOWN = 5  # groups that a message names
BY_SAMPLE = (
    "y",
    "sample_weight",
    "lengths",
    "y_lengths",
    "segments",
)  # arguments of estimators that have an entry for each sample
# Of those that could not be divided among groups: what is passed instead.
INSTEAD = {
    "offsets": "a list of samples as X",
    "validation": "a fraction, in the constructor of the estimator",
}


@dataclass(frozen=True, eq=False)
class Parts:
    """Samples, or rows of a table, by group.

    Attributes
    ----------
    data : array, list or DataFrame
        Of all, without the columns of the groups.
    rows : dict of key to array
        Indices of the samples of each group, in order; the keys are sorted.
    """

    data: Any
    rows: dict[Hashable, np.ndarray]

    @classmethod
    def of(cls, data: Any, by: Any, groups: Any, name: str) -> "Parts":
        """Return the parts of an argument of some name: by columns, or by the groups of the samples.

        Raises
        ------
        KeyError
            If there is no such column.
        ShapeError
            If there is not one group for each sample, or there are no samples.
        TypeError
            If data have no columns, or a group cannot be hashed.
        ValueError
            If both or none of `by` and `groups` are given, or a group is missing.
        """
        data = as_pandas(data, name)
        if (by is None) == (groups is None):
            state = "are both None" if by is None else "are both given"
            raise ValueError(
                f"the groups of {name} must be given once, by and groups {state}: name a column of a table, GroupBy(estimator, "
                "by='sensor'), or pass groups=, one for each sample"
            )
        if by is not None:
            keys, data = _of_columns(data, by, name)
        else:
            groups = as_pandas(groups, "groups")
            keys = to_list(_plain(groups), "groups", "keys, one for each sample")
            if not hasattr(data, "__len__") or isinstance(data, (str, bytes, Mapping, Set)):
                raise TypeError(f"{name} must be a list of sequences or an array, got {brief(data)}")
            if len(keys) != len(data):
                raise ShapeError(
                    f"groups has {len(keys)} keys, {name} has {len(data)} samples: there must be one for each"
                )
        if not keys:
            raise ShapeError(f"{name} has no samples; there must be at least one, of some group")
        rows: dict[Hashable, list[int]] = {}
        for row, key in enumerate(keys):
            if not isinstance(key, Hashable):
                raise TypeError(f"groups must be hashable, such as str or int, got {brief(key)} at {row}")
            if _missing(key):
                raise ValueError(f"the group of sample {row} is missing; leave the sample out, or name its group")
            rows.setdefault(key, []).append(row)
        return cls(data, {key: np.array(rows[key]) for key in sorted_labels(set(rows))})

    def __len__(self) -> int:
        return sum(map(len, self.rows.values()))

    def of_group(self, key: Hashable) -> Any:
        """Return the samples of a group."""
        return taken(self.data, self.rows[key], "X", len(self))

    def options(self, options: Mapping[str, Any], key: Hashable) -> dict[str, Any]:
        """Return arguments that have an entry for each sample for those of a group; others as they are."""
        rows, count = self.rows[key], len(self)
        return {
            name: taken(value, rows, name, count) if name in BY_SAMPLE else value for name, value in options.items()
        }

    def joined(self, function: Callable[[Hashable], Any]) -> Any:
        """Return what a function returns for the samples of each group, arrays or lists, in the order of all samples."""
        found = {key: function(key) for key in self.rows}
        first = next(iter(found.values()))
        if isinstance(first, tuple):
            return tuple(self.joined(lambda key, part=part: found[key][part]) for part in range(len(first)))
        if isinstance(first, list):
            whole: Any = [None] * len(self)
            for key, values in found.items():
                for row, value in zip(self.rows[key], values, strict=True):
                    whole[row] = value
            return whole
        kinds = {values.dtype.kind for values in found.values()}
        dtype = np.result_type(*found.values()) if len(kinds) == 1 else object  # the labels of each group as they are
        whole = np.empty((len(self), *first.shape[1:]), dtype)
        for key, values in found.items():
            whole[self.rows[key]] = values
        return whole


@contextlib.contextmanager
def in_group(key: Hashable) -> Iterator[None]:
    """Let errors of a block name a group."""
    try:
        yield
    except Exception as error:
        if error.args and isinstance(error.args[0], str):
            error.args = (f"group {key!r}: {error.args[0]}", *error.args[1:])
        raise


def check_options(options: Mapping[str, Any]) -> None:
    """Raise ValueError for arguments that cannot be divided among groups."""
    for name, instead in INSTEAD.items():
        if options.get(name) is not None:
            raise ValueError(f"GroupBy takes no {name}; pass {instead}")


def check_known(counts: Mapping[Hashable, int], known: Collection[Hashable], name: str) -> None:
    """Raise ValueError, which names them, where there are groups without an estimator, of some numbers of samples or rows."""
    unknown = [key for key in counts if key not in known]
    if unknown:
        raise ValueError(
            f"{name} has {counted(sum(counts[key] for key in unknown), 'sample')} of groups that have no net: {named(unknown)}; "
            f"those with one are {named(list(known))}. Fit again with samples of the new groups, or leave them out"
        )


def named(keys: list) -> str:
    """Return some of the groups in words."""
    shown = ", ".join(map(repr, keys[:SHOWN]))
    return f"{shown} and {len(keys) - SHOWN} more" if len(keys) > SHOWN else shown


def taken(values: Any, rows: np.ndarray, name: str, samples: int) -> Any:
    """Return the entries of some samples of what has one for each; None and numbers as they are."""
    values = as_pandas(values, name)
    if values is None or isinstance(values, (str, bytes, int, float, np.generic)) or getattr(values, "ndim", 1) == 0:
        return values
    if not hasattr(values, "__len__") or isinstance(values, (Mapping, Set)):
        raise TypeError(f"{name} must be a list or array with an entry for each sample, got {brief(values)}")
    if len(values) != samples:
        raise ShapeError(f"{name} has {len(values)} entries, X has {samples} samples: there must be one for each")
    if is_pandas(values):
        return values.iloc[rows]
    if isinstance(values, np.ndarray):
        return values[rows]
    values = list(values)
    return [values[row] for row in rows]


def weights_of(values: Any, samples: int) -> np.ndarray:
    """Return the weight of each sample of a `sample_weight`: 1 where there is none, or it has weights of steps."""
    first = taken(values, np.array([0]), "sample_weight", samples)
    if values is None or np.ndim(np.asarray(first).tolist()) != 1:
        return np.ones(samples)
    return np.asarray(as_pandas(values, "sample_weight"))


def _plain(groups):
    """Return keys of an array as a list, dates as Timestamps, as those of a column are."""
    if isinstance(groups, np.ndarray) and groups.ndim == 1 and groups.dtype.kind in "mM":
        import pandas as pd

        return pd.Index(groups).tolist()
    return groups.tolist() if hasattr(groups, "tolist") else groups


def _missing(key):
    """Return whether a key is missing, as NaT of NumPy is too, or is a tuple in which some part is."""
    return any(map(_missing, key)) if isinstance(key, tuple) else missing(key) or bool(key != key)


def _of_columns(data, by, name):
    """Return the groups of rows in a column, or columns, of a table, or in a level of its index, and the table without them."""
    if is_pandas(data) != "frame":
        raise TypeError(f"by={by!r} is a column of a DataFrame, {name} is {brief(data)}; pass groups= with by=None")
    listed = isinstance(by, list)
    names = by if listed else [by]
    if not names:
        raise ValueError("by must name at least one column, got an empty list")
    for column in names:
        if not isinstance(column, Hashable):
            raise TypeError(f"by must be a column of {name}, or a list of columns, got {brief(by)}")
    keys, levels = [], []
    for column in names:
        if column in data.columns:
            if data[column].ndim != 1:
                raise ValueError(
                    f"by: {column!r} names several columns of {name}; name one by all its levels, or rename those of equal names"
                )
            keys.append(data[column].tolist())
        elif column is not None and column in data.index.names:
            keys.append(data.index.get_level_values(column).tolist())
            levels.append(column)
        else:
            known = ", ".join(map(repr, data.columns[:12])) + (", ..." if len(data.columns) > 12 else "")
            raise KeyError(f"by: {column!r} is not a column of {name}, which has {known}")
    rest = data.drop(columns=[column for column in names if column not in levels])
    for level in levels:
        rest = rest.droplevel(level) if rest.index.nlevels > 1 else rest.reset_index(drop=True)
    return (list(zip(*keys, strict=True)) if listed else keys[0]), rest
