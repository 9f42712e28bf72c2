"""Tables of one series or of many: the forms in which they come, and their rows one after another.

Many series come as a DataFrame or Series with a MultiIndex (series, time), as a long table with columns of series and times (`id`,
`time`), as a wide table with a column for each series, or as a dict or a list of tables, one for each series. Windows never cross
from one into the next.
"""

import dataclasses
from collections.abc import Hashable, Mapping

import numpy as np

from numbarnn.checks import brief
from numbarnn.core.frames import as_pandas, is_pandas, package_of
from numbarnn.data import tables
from numbarnn.errors import ShapeError


@dataclasses.dataclass(frozen=True, eq=False)
class Levels:
    """What the values of every series are shifted and divided by before anything else is done with them.

    Attributes
    ----------
    keys : list or None
        Of the series; None: one series, or all at one scale.
    center, scale : (series, columns) arrays
    apart : (columns,) booleans
        Columns that have one scale for all series.
    """

    keys: list | None
    center: np.ndarray
    scale: np.ndarray
    apart: np.ndarray

    @classmethod
    def none(cls, columns: int) -> "Levels":
        """Return the levels that leave values as they are."""
        return cls(None, np.zeros((1, columns)), np.ones((1, columns)), np.ones(columns, bool))

    @classmethod
    def of(cls, keys, parts, apart) -> "Levels":
        """Return mean and standard deviation of the training rows of every series."""
        center, scale = (np.array(values) for values in zip(*(_level(part, apart) for part in parts), strict=True))
        return cls(keys, center, scale, apart)

    def including(self, key, values) -> "Levels":
        """Return the levels with those of a series that was not there in training."""
        if self.keys is None or key in self.keys:
            return self
        center, scale = _level(values, self.apart)
        return Levels([*self.keys, key], np.vstack([self.center, center]), np.vstack([self.scale, scale]), self.apart)

    def at(self, key, values) -> tuple[np.ndarray, np.ndarray]:
        """Return center and scale of a series; of one that was not there in training, those of the rows given."""
        if self.keys is None:
            return self.center[0], self.scale[0]
        if key in self.keys:
            row = self.keys.index(key)
            return self.center[row], self.scale[row]
        return _level(values, self.apart)


def moments(values, overwrite=False) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and standard deviation of columns of rows, missing ones left out; the latter 1 where it is 0 or unknown."""
    known = np.isfinite(values)
    count = np.maximum(known.sum(axis=0), 1)
    with np.errstate(over="ignore", invalid="ignore"):  # values too large are refused later, by name
        mean = (values if known.all() else np.where(known, values, 0.0)).sum(axis=0) / count
        squares = np.subtract(values, mean, out=values if overwrite else None)
        squares[~known] = 0.0
        deviation = np.sqrt(np.square(squares, out=squares).sum(axis=0) / count)
    return mean, np.where(deviation > 0, deviation, 1.0)


def filled(values, fill) -> np.ndarray:
    """Return rows (rows, columns) in which a missing value is that of its column in `fill`."""
    return np.where(np.isnan(values), fill, values)


def _level(values, apart):
    """Return center and scale of a series."""
    mean, deviation = moments(values)
    return np.where(apart, 0.0, mean), np.where(apart, 1.0, deviation)


@dataclasses.dataclass(frozen=True, eq=False)
class Panel:
    """Rows of all series, one series after another.

    Attributes
    ----------
    keys : list or None
        None: one series without a name.
    indexes : list of pandas.Index
        Times or numbers of the rows of every series; those of many series are often one object.
    values : (rows, encoded columns) array
        Filled where asked, shifted and scaled by the levels.
    truth : (rows, numbers) array
        Columns that can be forecast, as measured, in the units of the data.
    starts : (series + 1,) integers
        First rows.
    center, scale : (series, columns) arrays
    """

    keys: list | None
    indexes: list
    values: np.ndarray
    truth: np.ndarray
    starts: np.ndarray
    center: np.ndarray
    scale: np.ndarray

    @classmethod
    def of(cls, keys, parts, levels: Levels, given=None, fill=None) -> "Panel":
        """Return the panel of parts (values, truth, index), in the units of the data.

        `given`: all rows of each series, by which those that were not there in training are scaled; None: those of the parts.
        `fill`: what is filled in where values are missing, scaled as they are (columns,); None: they stay missing.
        """
        starts = np.cumsum([0, *(len(part[0]) for part in parts)])
        given = [part[0] for part in parts] if given is None else given
        found = [levels.at(key, rows) for key, rows in zip(keys or [None], given, strict=True)]
        center, scale = (np.array(level) for level in zip(*found, strict=True))
        truth = np.concatenate([part[1] for part in parts])  # a copy: the data are the caller's
        if all(part[0] is part[1] for part in parts) and not center.any() and (scale == 1).all():
            return cls(keys, [part[2] for part in parts], truth, truth, starts, center, scale)
        values = np.empty((starts[-1], parts[0][0].shape[1]))
        for (part, _, _), c, s, first, stop in zip(parts, center, scale, starts, starts[1:], strict=False):
            rows = np.subtract(part, c, out=values[first:stop])
            rows /= s
        if fill is not None:
            values = filled(values, fill)
        return cls(keys, [part[2] for part in parts], values, truth, starts, center, scale)

    @property
    def index(self):
        """Times or numbers of all rows."""
        return self.indexes[0] if len(self.indexes) == 1 else self.indexes[0].append(self.indexes[1:])

    def series_of(self, rows) -> np.ndarray:
        """Return which series rows belong to."""
        return np.searchsorted(self.starts, rows, side="right") - 1

    def scaled_truth(self, columns) -> np.ndarray:
        """Return columns of what was measured, shifted and scaled as the values are; these where none is missing."""
        if not np.isnan(self.truth).any():
            together = columns == list(range(columns[0], columns[-1] + 1))
            return self.values[:, columns[0] : columns[-1] + 1] if together else self.values[:, columns]
        counts = np.diff(self.starts)
        center, scale = (np.repeat(level[:, columns], counts, axis=0) for level in (self.center, self.scale))
        return (self.truth[:, columns] - center) / scale

    def units(self, values, ends, columns) -> np.ndarray:
        """Return values (windows, horizon, columns, ...) of windows that end at rows in the units of the data."""
        which = self.series_of(ends)
        shape = (len(ends), 1, len(columns)) + (1,) * (values.ndim - 3)
        return values * self.scale[which][:, columns].reshape(shape) + self.center[which][:, columns].reshape(shape)

    def scaled(self, values, ends, columns) -> np.ndarray:
        """Return values in the units of the data as `units` takes them."""
        which = self.series_of(ends)
        return (values - self.center[which][:, None, columns]) / self.scale[which][:, None, columns]

    def groups(self, ends) -> list[np.ndarray]:
        """Return the windows of every series, as indices, in order."""
        if self.keys is None:
            return [np.arange(len(ends))]
        which = self.series_of(ends)
        return [found for series in range(len(self.starts) - 1) if (found := np.flatnonzero(which == series)).size]


def index_of(keys, which, times):
    """Return the index of results: times, or the series and times of many."""
    import pandas as pd

    if keys is None:
        return times
    codes, levels = pd.factorize(times)
    return pd.MultiIndex(
        levels=[keys, levels], codes=[which, codes], names=["series", times.name], verify_integrity=False
    )


def split_series(data, key_column, time_column, name="data", *, wide=False, whole=()):
    """Return (keys, tables) of data of many series, or (None, [data]) of one.

    Parameters
    ----------
    data : table, array, Mapping of tables, or list of tables
    key_column, time_column : name or None
        Of a long table.
    wide : bool
        Whether the columns of a table are series.
    whole : sequence of keys
        Columns of a wide table whose series has all rows, whatever is missing at the beginning and the end.

    Raises
    ------
    KeyError, TypeError, ValueError
        If columns are missing, or a form is not known.
    """
    for argument, column in (("id", key_column), ("time", time_column)):
        if not isinstance(column, Hashable):
            raise TypeError(f"{argument} must be the name of a column, got {brief(column)}")
    if wide:
        return _wide(data, time_column, name, whole)
    if isinstance(data, Mapping) and not data:
        raise ShapeError(f"{name} has no series")
    if isinstance(data, Mapping) or (isinstance(data, (list, tuple)) and data and all(map(_is_table, data))):
        keys, found = zip(*data.items(), strict=True) if isinstance(data, Mapping) else (range(len(data)), data)
        if time_column is not None:
            found = [
                _timed(as_pandas(table, f"{name}[{key!r}]"), time_column, name)
                for key, table in zip(keys, found, strict=True)
            ]
        names = {table.name if is_pandas(table) == "series" else None for table in found}
        if len(names) > 1:  # columns of a wide table: one variable of many series
            found = [table.rename("value") if is_pandas(table) == "series" else table for table in found]
        return _named(list(keys), name), list(found)
    given, data = data, as_pandas(data, name)
    kind = is_pandas(data)
    if key_column is not None:
        if kind != "frame":
            raise TypeError(
                f"id is {brief(key_column)}, and {name} no DataFrame that could have such a column: {brief(data)}"
            )
        return _long(data, key_column, time_column, name)
    data = _timed(data, time_column, name)
    if kind is None or not hasattr(data.index, "levels"):
        return None, [given if time_column is None else data]  # tables of other packages number their rows anew
    if data.index.nlevels != 2:
        tables.check_one_series(data.index, name)
    return _indexed(data, name)


def _indexed(data, name):
    """Return the series of a table with a MultiIndex, in the order in which they begin."""
    import pandas as pd

    codes = data.index.codes[0]
    if (codes < 0).any():
        raise ValueError(f"{name} has no series (level 0 of the index) in row {int(np.flatnonzero(codes < 0)[0])}")
    data, groups = _groups(data, codes)
    keys, levels = data.index.levels
    times, known, found = None, None, []
    for _, first, stop in groups:
        own = data.index.codes[1][first:stop]
        if (own < 0).any():
            times = data.index[first:stop].droplevel(0)
        elif times is None or not np.array_equal(own, known):  # series of the same times share them
            times = levels.take(own).rename(data.index.names[1])
            if isinstance(times, pd.DatetimeIndex):
                times.freq = None
        known = own
        found.append(data.iloc[first:stop].set_axis(times))
    return _named([keys[code] for code, _, _ in groups], name), found


def _groups(data, codes):
    """Return a table with the rows of every series together, and (code, first row, row after the last) of each, as they begin."""
    firsts = np.append(0, np.flatnonzero(np.diff(codes)) + 1)
    if len(np.unique(codes[firsts])) < len(firsts):
        _, first, codes_of = np.unique(codes, return_index=True, return_inverse=True)
        order = np.argsort(first[codes_of], kind="stable")
        data, codes = data.iloc[order], codes[order]
        firsts = np.append(0, np.flatnonzero(np.diff(codes)) + 1)
    return data, list(zip(codes[firsts], firsts, [*firsts[1:], len(codes)], strict=True))


def _is_table(table):
    return (
        is_pandas(table) is not None
        or package_of(type(table)) is not None
        or (isinstance(table, np.ndarray) and table.ndim == 2)
    )


def _long(data, key_column, time_column, name):
    """Return the series of a long table, in the order in which they begin."""
    if key_column not in data.columns:
        raise KeyError(
            f"id {brief(key_column)} is not a column of {name}, which has {', '.join(map(repr, data.columns[:12]))}"
        )
    if data[key_column].isna().any():
        row = int(np.flatnonzero(data[key_column].isna())[0])
        raise ValueError(f"{name} has no series (id {key_column!r}) in row {row}")
    import pandas as pd

    data = _timed(data, time_column, name)
    codes, keys = pd.factorize(data[key_column])
    data, groups = _groups(data.drop(columns=key_column), codes)
    return _named([keys[code] for code, _, _ in groups], name), [data.iloc[first:stop] for _, first, stop in groups]


def _wide(data, time_column, name, whole=()):
    """Return the columns of a table as series of one variable."""
    import pandas as pd

    if isinstance(data, Mapping) or (isinstance(data, (list, tuple)) and any(map(_is_table, data))):
        raise TypeError(f"{name} must be one table, as wide=True says, got {brief(data)}; leave wide out")
    data = _timed(as_pandas(data, name), time_column, name)
    if is_pandas(data) is None:
        data = pd.DataFrame(tables.as_table(data, name).values)
    elif is_pandas(data) == "series":
        raise TypeError(f"{name} must be a DataFrame whose columns are series, as wide=True says, got a Series")
    tables.check_one_series(data.index, name)
    if not data.columns.is_unique:
        twice = data.columns[data.columns.duplicated()][0]
        raise ShapeError(f"{name} has several columns {twice!r}; give every column a name of its own")
    found, whole = [], set(whole)
    for key, column in data.items():
        if key in whole:
            found.append(column.rename("value"))
            continue
        known = np.flatnonzero(column.notna())
        if not len(known):
            raise ShapeError(f"column {key!r} of {name} has no value: the series has no rows; leave it out")
        found.append(column.iloc[known[0] : known[-1] + 1].rename("value"))
    return _named(list(data.columns), name), found


def _timed(data, time_column, name):
    """Return a table with the column of times as its index."""
    if time_column is None or getattr(getattr(data, "index", None), "name", None) == time_column:
        return data
    if is_pandas(data) != "frame":
        raise TypeError(
            f"time is {brief(time_column)}, and {name} no DataFrame that could have such a column: {brief(data)}"
        )
    if time_column in data.columns:
        import pandas as pd

        times = data[time_column]
        if times.dtype == object or isinstance(times.dtype, pd.StringDtype):
            raise TypeError(
                f"time: the column {time_column!r} of {name} has text; pandas.to_datetime makes times of it"
            )
        return data.set_index(time_column)
    if time_column in data.index.names:
        return data
    raise KeyError(
        f"time {brief(time_column)} is not a column of {name}, which has {', '.join(map(repr, data.columns[:12]))}"
    )


def _named(keys, name):
    if not keys:
        raise ShapeError(f"{name} has no series")
    return [key.item() if isinstance(key, np.generic) else key for key in keys]
