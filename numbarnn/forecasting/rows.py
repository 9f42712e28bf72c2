"""Rows that a forecaster saw last: what the next forecast looks at, and what adaptive levels follow."""

import dataclasses
from collections.abc import Hashable

import numpy as np

from numbarnn.checks import brief
from numbarnn.core.frames import is_pandas
from numbarnn.errors import ShapeError
from numbarnn.forecasting.frames import as_frame, place_of
from numbarnn.forecasting.intervals import MOST_WINDOWS
from numbarnn.forecasting.preparation import Preparation
from numbarnn.forecasting.series import Levels


@dataclasses.dataclass(frozen=True, eq=False)
class SeenRows:
    """The rows seen last of every series, encoded and filled, in the units of the data; None is the key of a single series.

    Attributes
    ----------
    tails : dict of (values, times)
        As many rows as a forecast looks at, fewer of a short series.
    recent : dict of (values, times, numbers as measured)
        Rows of the tails and those of `updated`, up to as many as adaptive levels follow.
    """

    tails: dict
    recent: dict

    @classmethod
    def of(cls, own: Preparation, keys, parts) -> "SeenRows":
        """Return the last rows of series (values, numbers as measured, times)."""
        tails = {
            key: (values[-own.need :].copy(), index[-own.need :])
            for key, (values, _, index) in zip(keys, parts, strict=True)
        }
        numbers = len(own.encoding.numbers)
        return cls(tails, {key: (values, index, values[:, :numbers]) for key, (values, index) in tails.items()})

    def updated(self, own: Preparation, data) -> tuple["SeenRows", Levels]:
        """Return the last rows after new ones, and the levels with those of new series."""
        # A value that is missing now is a row of a series that goes on.
        keys, found = own.series(data, "new_rows", () if own.missing == "error" else tuple(self.tails))
        tails, recent, levels = dict(self.tails), dict(self.recent), own.levels
        _, time, wide = own.form
        numbered = wide and time is None and is_pandas(data) is None
        for key, table in zip(keys or [None], found, strict=True):
            where = place_of("new_rows", key)
            rows = self._continued(own, table, where, key, numbered)
            raw, index, _ = rows
            levels = levels.including(key, raw)
            first = len(tails[key][0]) if key in tails else 0  # rows of `raw` that were there before
            recent[key] = _newest(recent.get(key), rows, first, own.need + MOST_WINDOWS)
            tails[key] = raw[-own.need :].copy(), index[-own.need :]
        return SeenRows(tails, recent), levels

    def _continued(self, own, table, where, key, numbered):
        """Return values, filled where asked, times and numbers as measured of the tail, if there is one, and new rows.

        `numbered`: the index of the new ones counts rows from the first after the tail.
        """
        if key not in self.tails:
            values, truth, index = own.rows_of(table, where, key)
            return values, index, truth
        encoding, clock = own.encoding, own.clock
        before = tail, index = self.tails[key]
        if numbered or is_pandas(table) is None:  # rows without an index follow those before
            if not clock.regular:
                raise TypeError(f"{where} must have an index: the times of irregular rows; pass a DataFrame")
            table = as_frame(table, where, encoding.categories)
            table.index = clock.after(index, len(table) + table.index[0])[table.index[0] :]
        frame = own.frame(table, where)
        what = where if own.many else "the new rows"
        if not clock.regular:
            own.check_after(index, frame.index, what)
        elif frame.index[0] != (expected := clock.after(index, 1)[0]):
            raise ValueError(f"{what} begin at {frame.index[0]}; the next row is that of {expected}")
        both = index.append(frame.index)
        own.check_rows(both, f"{where} after the rows before")
        values, truth = encoding.rows(frame, clock, where, key, before)
        return np.concatenate([tail, values]), both, np.concatenate([tail[:, : truth.shape[1]], truth])

    def tail(self, own: Preparation, series):
        """Return the rows of a series that its next forecast looks at; raise an error where there is nothing to forecast from."""
        if not isinstance(series, Hashable) or series not in self.tails:
            raise KeyError(f"series must be one of {brief(list(self.tails))}, got {brief(series)}")
        values, index = self.tails[series]
        if own.encoding.fill is None and np.isnan(values[-own.rows :]).any():
            raise ValueError("the last rows have missing values: update with rows that have none")
        if len(values) < own.need:
            raise ShapeError(f"series {series!r} has too few rows: a forecast looks at the last {own.need}")
        return values, index


def _newest(before, rows, first, most):
    """Return the newest `most` rows (values, times, numbers as measured) of those before and `rows` from `first` on."""
    values, index, measured = (part[first:] for part in rows)
    if before is not None:
        values, measured = (np.concatenate([before[k], part]) for k, part in ((0, values), (2, measured)))
        index = before[1].append(index)
    return values[-most:].copy(), index[-most:], measured[-most:].copy()
