"""From the columns of a table to the values that forecasts are made of: categories, holidays, what is missing, elapsed time."""

import dataclasses
import functools
import itertools

import numpy as np

from numbarnn.checks import brief, counted
from numbarnn.data import tables
from numbarnn.data.calendar import calendar_features, check_holidays
from numbarnn.data.clock import Clock
from numbarnn.forecasting.categories import SERIES, levels_of, one_hot
from numbarnn.forecasting.frames import as_frame, names_of

KINDS = ("numbers", "categories", "series", "holidays", "missing", "elapsed")


@dataclasses.dataclass(frozen=True, eq=False)
class Encoding:
    """Encoded columns, by kind one after another.

    ==========  ========================================================================================================
    numbers     columns of the data that are not categories, in their order: what can be forecast
    categories  0 and 1 for every level
    series      0 and 1 for every series of the training part, where the series is a category
    holidays    0 and 1 for every name
    missing     0 and 1 for every column that has a missing value in the training part: whether it was filled
    elapsed     log of the time since the row before over its median in the training part; 0 where there is no row before
    ==========  ========================================================================================================

    Attributes
    ----------
    columns : list
        Of the data.
    categories : dict
        Levels by column.
    missing : {"error", "drop", "ffill", "mask"}
    ignore : bool
        Whether levels that the training part did not have are all 0; else they are refused.
    series : list or None
        Keys of series; None: the series is not a category.
    holidays : dict
        Dates by name.
    masked : list
        Columns of the data that have an indicator of missing values.
    usual : float or None
        The median elapsed time; None: it is not an input.
    future, static : tuple
        Columns that are known ahead, and that do not change.
    fill : (encoded columns,) array or None
        With missing="mask", what is filled in where nothing was before, scaled as the values of series are: their means over the
        training part.
    """

    columns: list
    categories: dict = dataclasses.field(default_factory=dict)
    missing: str = "error"
    ignore: bool = False
    series: list | None = None
    holidays: dict = dataclasses.field(default_factory=dict)
    masked: list = dataclasses.field(default_factory=list)
    usual: float | None = None
    future: tuple = ()
    static: tuple = ()
    fill: np.ndarray | None = None

    @classmethod
    def of(cls, settings, columns, parts, keys, clock: Clock) -> "Encoding":
        """Return the encoding for the settings of a forecaster that the training parts of series (frames) say."""
        future, static = (names_of(getattr(settings, name), name) for name in ("future", "static"))
        own = [name for name in static if names_series(settings, name, columns, keys)]
        trained = [part for part in parts if len(part)]
        levels = {
            name: levels_of([part[name] for part in trained], name)
            for name in names_of(settings.categories, "categories")
        }
        masked, usual = [], None
        if settings.missing == "mask":
            masked = [name for name in columns if any(part[name].isna().any() for part in trained)]
            for name in masked:
                if all(part[name].isna().all() for part in trained):
                    raise ValueError(f"column {name!r} of data has no value in the training part; leave it out")
        if settings.irregular == "elapsed":
            steps = np.concatenate([clock.elapsed(part.index) for part in trained])
            if not len(steps):
                raise ValueError("irregular='elapsed' needs two rows or more in the training part")
            usual = float(np.median(steps))
        return cls(
            columns, levels, settings.missing, settings.handle_unknown == "ignore",
            [key for key, part in zip(keys, parts, strict=True) if len(part)] if own else None,
            check_holidays(settings.holidays), masked, usual, future, tuple(name for name in static if name not in own),
        )  # fmt: skip

    # Where encoded columns are

    @functools.cached_property
    def numbers(self) -> list:
        """Columns of the data that are not categories."""
        return [name for name in self.columns if name not in self.categories]

    @functools.cached_property
    def names(self) -> list:
        """Names of the encoded columns, for messages; those of `numbers` come first and are the data's."""
        names = self.numbers + [f"{name}={level}" for name, levels in self.categories.items() for level in levels]
        names += [f"{SERIES}={key}" for key in self.series or ()] + list(self.holidays)
        return names + [f"{name} missing" for name in self.masked] + ["elapsed"] * (self.usual is not None)

    def columns_of(self, kind: str) -> range:
        """Return the indices of the encoded columns of a kind."""
        sizes = [
            len(self.columns) - len(self.categories), sum(map(len, self.categories.values())), len(self.series or ()),
            len(self.holidays), len(self.masked), int(self.usual is not None),
        ]  # fmt: skip
        number = KINDS.index(kind)
        first = sum(sizes[:number])
        return range(first, first + sizes[number])

    def values_of(self, column) -> list[int]:
        """Return the indices of the encoded columns that have the values of a column of the data."""
        if column not in self.categories:
            return [self.numbers.index(column)]
        before = itertools.takewhile(lambda name: name != column, self.categories)
        first = self.columns_of("categories").start + sum(len(self.categories[name]) for name in before)
        return list(range(first, first + len(self.categories[column])))

    @functools.cached_property
    def width(self) -> int:
        """Encoded columns."""
        return self.columns_of("elapsed").stop

    @functools.cached_property
    def plain(self) -> bool:
        """Whether there are numbers alone."""
        return self.width == len(self.columns) and not self.categories

    @functools.cached_property
    def unscaled(self) -> np.ndarray:
        """Whether encoded columns (width,) are as they are: all but numbers, which are neither scaled nor forecast."""
        return np.arange(self.width) >= self.columns_of("numbers").stop

    @functools.cached_property
    def known(self) -> list[int]:
        """Indices of the encoded columns that are known ahead."""
        found = [index for name in self.future for index in self.values_of(name)] + list(self.columns_of("holidays"))
        found += [
            index for index, name in zip(self.columns_of("missing"), self.masked, strict=True) if name in self.future
        ]
        # Where a table has what is known of rows ahead, it has their times.
        return found + list(self.columns_of("elapsed") if self.future else ())

    @functools.cached_property
    def constant(self) -> list[int]:
        """Indices of the encoded columns that do not change within a series."""
        found = [index for name in self.static for index in self.values_of(name)]
        return found + list(self.columns_of("series"))

    # Rows

    def frame(self, data, name="data"):
        """Return data as a frame of the columns that were fitted."""
        frame = as_frame(data, name, self.categories)
        if list(frame.columns) != self.columns:
            missing = [column for column in self.columns if column not in frame.columns]
            if missing:
                raise ValueError(f"{name} lacks columns {missing}; the forecaster was fitted to {self.columns}")
            frame = frame[self.columns]
        return frame

    def rows(self, frame, clock, name="data", key=None, before=None) -> tuple[np.ndarray, np.ndarray]:
        """Return encoded rows, filled where asked, and their numbers as measured.

        Parameters
        ----------
        frame : DataFrame
            As `frame` returns it.
        clock : Clock
        name : str
            Of the argument, for messages.
        key : hashable
            Of the series.
        before : (values, index), optional
            Encoded rows before the first.

        Raises
        ------
        TypeError, ValueError
            If values are missing and must not be, or are levels that the training part did not have.
        """
        truth = _numbers(frame[self.numbers] if self.categories else frame, name)
        parts = [truth, *(self._one_hot(frame[column], column, name) for column in self.categories)]
        if self.missing == "error":
            self._refuse_missing(parts, frame.index, name)
        if not self.plain:
            parts += [self._series(key, len(frame), name), self._holidays(frame.index), self._missing(parts)]
            parts += [] if self.usual is None else [self._elapsed(frame.index, clock, before)]
        values = truth if len(parts) == 1 else np.concatenate(parts, axis=1)
        if self.missing in ("ffill", "mask") and np.isnan(values).any():
            values = _filled(values, before)
        return values, truth

    def ahead(self, frame, times, count, clock, before, name="future") -> np.ndarray:
        """Return encoded rows ahead, of which all is NaN that is not known.

        Parameters
        ----------
        frame : DataFrame or None
            The columns known ahead.
        times : pandas.Index or None
            Of the rows; None: not known.
        count : int
            Rows.
        clock, before, name : as in `rows`
        """
        values = np.full((count, self.width), np.nan)
        for column in self.future:
            block = (
                self._one_hot(frame[column], column, name)
                if column in self.categories
                else _numbers(frame[[column]], name)
            )
            at = self.values_of(column)
            if column in self.masked:
                values[:, self.columns_of("missing")[self.masked.index(column)]] = np.isnan(block[:, 0])
            if np.isnan(block).any():
                if self.missing != "mask":
                    row = int(np.flatnonzero(np.isnan(block).any(axis=1))[0])
                    raise ValueError(f"{name} must be finite; row {row} ({times[row]}), column {column!r} is not")
                block = _filled(block, (before[0][:, at], before[1]))
            values[:, at] = block
        if self.holidays:
            values[:, self.columns_of("holidays")] = self._holidays(times)
        if self.usual is not None and self.future:
            values[:, self.columns_of("elapsed")] = self._elapsed(times, clock, before)
        return values

    def _one_hot(self, values, column, name):
        return one_hot(values, self.categories[column], column, name, self.ignore)

    def _series(self, key, count, name):
        """Return 0 and 1 for the series of rows."""
        block = np.zeros((count, len(self.series or ())))
        if self.series is not None:
            if key in self.series:
                block[:, self.series.index(key)] = 1
            elif not self.ignore:
                raise ValueError(
                    f"{name} is a series that the training part did not have: it had {brief(self.series)}; "
                    "handle_unknown='ignore' makes 0 of every series"
                )
        return block

    def _holidays(self, index):
        if not self.holidays:
            return np.zeros((len(index), 0))
        return calendar_features(index, (), self.holidays).to_numpy()

    def _missing(self, parts):
        """Return 0 and 1 for the values of numbers and categories that are missing."""
        numbers, categories = parts[0], dict(zip(self.categories, parts[1:], strict=True))
        found = [
            np.isnan(categories[name][:, 0] if name in categories else numbers[:, self.numbers.index(name)])
            for name in self.masked
        ]
        return np.array(found, np.float64).reshape(len(found), len(numbers)).T

    def _elapsed(self, index, clock, before):
        """Return the log of elapsed times over the usual one, (rows, 1)."""
        index = index if before is None else before[1][-1:].append(index)
        steps = np.log(clock.elapsed(index) / self.usual)
        return (np.concatenate([[0.0], steps]) if before is None else steps)[:, None]

    def _refuse_missing(self, parts, index, name):
        """Raise ValueError where values are missing."""
        advice = "set missing='drop', 'ffill' or 'mask', or clean the data"
        bad = np.isnan(parts[0]).any(axis=1)
        if bad.any():
            tables.refuse_missing(tables.Table(parts[0], tuple(self.numbers), index, False), bad, name, advice)
        for column, block in zip(self.categories, parts[1:], strict=True):
            rows = np.flatnonzero(np.isnan(block[:, 0]))
            if len(rows):
                raise ValueError(
                    f"{name} has {counted(len(rows), 'missing value')}, the first at row {rows[0]} ({index[rows[0]]}), column "
                    f"{column!r}; {advice}"
                )


def names_series(settings, name, columns, keys) -> bool:
    """Return whether an entry of `static` names the series themselves, which no column of a series does."""
    return keys != [None] and name not in columns and name in (SERIES, settings.id)


def _numbers(frame, name):
    """Return the columns of a frame as float64 rows; raise ValueError where one is infinite."""
    tables.bad_rows(tables.as_table(frame), name)
    return np.ascontiguousarray(frame.to_numpy(np.float64))


def _filled(values, before):
    """Return values, each missing one the last known before, where there is one."""
    if before is None:
        return tables.forward_filled(values)
    return tables.forward_filled(np.vstack([before[0][-1:], values]))[1:]
