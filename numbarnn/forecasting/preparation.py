"""Preparation of tables for a net: checks, changes, scales, columns known ahead, features."""

import dataclasses

import numpy as np

from numbarnn.checks import brief
from numbarnn.core.arrays import in_dtype
from numbarnn.core.frames import is_pandas
from numbarnn.data import tables
from numbarnn.data.calendar import calendar_features
from numbarnn.data.clock import Clock
from numbarnn.data.scaling import SequenceScaler
from numbarnn.errors import ShapeError
from numbarnn.forecasting.encoding import Encoding
from numbarnn.forecasting.frames import as_frame, place_of
from numbarnn.forecasting.series import Levels, Panel, split_series

BLOCK = 2**14  # rows that are scaled together
# The forms of many series, for messages.
FORMS = "a MultiIndex (series, time), a long table with id=, a wide one with wide=True, a dict or a list of tables"


@dataclasses.dataclass(frozen=True, eq=False)
class Preparation:
    """The way of tables to the features of a net.

    Attributes
    ----------
    lookback, step, difference, relative, recenter, calendar, missing, dtype : settings of the `numbarnn.Forecaster`
    reach : int
        Rows after a window's newest up to which columns are known ahead: those up to the last that the net forecasts.
    encoding : Encoding
        From the columns of data to those that all else is made of.
    targets : list
        Columns to forecast.
    clock : Clock
        The times of the rows of `fit`.
    scaler : SequenceScaler
    levels : Levels
    many : bool
        Whether `fit` had many series.
    form : (id, time, wide)
        Of many series.
    """

    lookback: int
    step: int
    difference: int | None
    relative: int | None
    recenter: bool
    calendar: tuple
    missing: str
    dtype: str
    reach: int
    encoding: Encoding
    targets: list
    clock: Clock
    scaler: SequenceScaler
    levels: Levels
    many: bool = False
    form: tuple = (None, None, False)

    @classmethod
    def of(cls, settings, encoding, targets, clock, scaler, levels, many=False) -> "Preparation":
        """Return the preparation for the settings of a forecaster."""
        own = ("lookback", "step", "difference", "relative", "recenter", "calendar", "missing", "dtype")
        reach = 1 if settings.recursive else settings.delay + settings.horizon - 1
        values = [getattr(settings, name) for name in own]
        form = settings.id, settings.time, settings.wide
        return cls(*values, reach, encoding, targets, clock, scaler, levels, many, form)

    @property
    def names(self) -> list:
        """Names of the encoded columns."""
        return self.encoding.names

    @property
    def lag(self) -> int:
        """Rows at the beginning of a table that have no changes."""
        return self.difference or 0

    @property
    def season(self) -> int:
        """Rows of the season that targets are compared with; 0: none."""
        return self.difference or self.relative or int(self.recenter)

    @property
    def columns(self) -> list[int]:
        """Indices of the columns to forecast."""
        return [self.encoding.numbers.index(name) for name in self.targets]

    @property
    def window_rows(self) -> np.ndarray:
        """The rows of a window, counted from its newest."""
        steps = (self.lookback - 1) // self.step + 1
        return np.arange(-(steps - 1) * self.step, 1, self.step)

    @property
    def need(self) -> int:
        """Rows that a forecast looks at; of irregular ones also the time of the row before."""
        return self.rows + (not self.clock.regular)

    @property
    def rows(self) -> int:
        """Rows whose values a forecast looks at."""
        return max(-int(self.window_rows[0]) + 1 + self.lag, self.season)

    def frame(self, data, name="data"):
        """Return data that came after `fit` as a frame of the fitted columns, its times in the zone of those of `fit`."""
        frame = self.encoding.frame(data, name)
        return frame.set_axis(self.clock.aligned(frame.index, name))

    def check_rows(self, index, name="data"):
        """Raise ValueError unless rows follow each other as those of `fit` did."""
        tables.check_order(index, name)
        self.clock.check(index, name)

    def series(self, data, name="data", whole=()) -> tuple[list | None, list]:
        """Return keys and tables of data in a form that `fit` takes; `whole` as in `split_series`."""
        key_column, time_column, wide = self.form
        keys, found = split_series(data, key_column, time_column, name, wide=wide, whole=whole)
        if self.many and keys is None:
            raise ValueError(f"{name} must be of many series, as the data passed to fit: {FORMS}")
        if not self.many and keys is not None:
            raise ValueError(f"{name} has {len(keys)} series; the forecaster was fitted to one: pass one at a time")
        return keys, found

    def rows_of(self, table, where, key) -> tuple:
        """Return values, filled where asked, numbers as measured, and times of a series that came after `fit`."""
        frame = self.frame(table, where)
        self.check_rows(frame.index, where)
        return *self.encoding.rows(frame, self.clock, where, key), frame.index

    def panel(self, data, name="data") -> Panel:
        """Return the rows of data that came after `fit`."""
        keys, found = self.series(data, name)
        parts = []
        for key, table in zip(keys or [None], found, strict=True):
            where = place_of(name, key)
            parts.append(self.rows_of(table, where, key))
        # Series that were not there in training: a forecast must not see later rows, not even in its scale.
        return Panel.of(keys, parts, self.levels, [part[0][: self.need] for part in parts], self.encoding.fill)

    def inputs(self, features, ends) -> np.ndarray:
        """Return what the net sees of the windows that end at rows of a table, of its `features`."""
        return self.recentered(features[ends[:, None] - self.lag + self.window_rows])

    def recentered(self, x) -> np.ndarray:
        """Return windows (windows, rows, features), in place: the targets' values less those of the newest row where asked."""
        if self.recenter:
            x[:, :, self.columns] -= x[:, -1:, self.columns]
        return x

    @property
    def known_columns(self) -> list[int]:
        """Indices of the encoded columns that are known ahead."""
        return self.encoding.known

    @property
    def shifts(self) -> list[int]:
        """How many rows later columns known ahead are seen beside a window's own rows: as often as all up to `reach` takes."""
        return list(range(self.reach, 0, -self.lookback)) if self.known_columns else []

    @property
    def width(self) -> int:
        """Features that the net sees."""
        return self.encoding.width + 2 * len(self.calendar) + len(self.known_columns) * len(self.shifts)

    @property
    def unscaled(self) -> np.ndarray:
        """Whether encoded columns have one scale for all series: static ones, and all that are not numbers."""
        own = self.encoding
        static = [own.numbers.index(name) for name in own.static if name in own.numbers]
        return own.unscaled | np.isin(np.arange(own.width), static)

    def known_rows(self, index, raw) -> np.ndarray:
        """Return what is known of rows whatever is measured, (rows, known): calendar features, and columns known ahead."""
        known, columns = self.calendar_rows(index), self.known_columns
        return np.concatenate([known, raw[:, columns]], axis=1) if columns else known

    def futures(self, future, keys) -> dict:
        """Return the tables of columns known ahead by series."""
        if not self.many or future is None or not self.encoding.future:
            return dict.fromkeys(keys, future)
        names, found = self.series(future, "future")
        given = dict(zip(names, found, strict=True))
        missing = [key for key in keys if key not in given]
        if missing:
            raise ValueError(f"future lacks the series {brief(missing)}")
        return given

    def ahead(self, future, values, index, count):
        """Return the index of `count` rows after those given, and these rows encoded, NaN where nothing is known of them.

        `future` is the table of what is known ahead; of irregular rows it has the times.
        """
        own, clock = self.encoding, self.clock
        times = clock.after(index, count)
        frame = self._future_frame(future, times, index)
        if frame is not None and not clock.regular:
            times = frame.index
        return times, own.ahead(frame, times, count, clock, (values, index))

    def _future_frame(self, future, ahead, index):
        """Return the columns known ahead of the rows `ahead` (an index); raise unless they are given where they are needed."""
        import pandas as pd

        names, clock = list(self.encoding.future), self.clock
        if not names:
            if future is not None:
                raise ValueError(
                    "future was given, but no columns are known ahead: name them, Forecaster(future=[...])"
                )
            return None
        wanted = ", ".join(map(repr, names))
        if future is None:
            raise ValueError(
                f"future must have the columns known ahead, {wanted}, of the {len(ahead)} rows after the data"
            )
        indexed, categories = is_pandas(future) is not None, self.encoding.categories
        if categories and not indexed and np.shape(future)[1:] == (len(names),):
            future = pd.DataFrame(future, columns=names)
        frame = as_frame(future, "future", categories)
        if not indexed and frame.shape[1] == len(names):
            frame.columns = names
        missing = [name for name in names if name not in frame.columns]
        if missing:
            raise ValueError(f"future lacks columns {missing}; known ahead are {wanted}")
        frame = frame[names].iloc[: len(ahead)]
        if not (indexed or clock.regular):
            raise ValueError("future must have an index: the times of rows ahead are not known otherwise")
        if indexed:
            frame = frame.set_axis(clock.aligned(frame.index, "future"))
        if len(frame) < len(ahead):
            last = f", up to that of {ahead[-1]}" if clock.regular else ""
            raise ShapeError(f"future has {len(frame)} rows, a forecast needs {len(ahead)}{last}")
        if not clock.regular:
            self.check_after(index, frame.index, "future")
            self.check_rows(frame.index, "future")
            return frame
        if indexed and not (frame.index == ahead).all():
            row = int(np.flatnonzero(frame.index != ahead)[0])
            raise ValueError(
                f"future must have the rows after the data; row {row} is {frame.index[row]}, not {ahead[row]}"
            )
        return frame.set_axis(ahead)

    def check_after(self, index, later, name):
        """Raise ValueError unless irregular rows begin after those of an index."""
        if later[0] <= index[-1]:
            raise ValueError(f"{name} must begin after the last row, that of {index[-1]}; row 0 is {later[0]}")

    def calendar_rows(self, index) -> np.ndarray:
        """Return the calendar features of times."""
        if len(self.calendar) == 0:
            return np.zeros((len(index), 0))
        return calendar_features(index, self.calendar).to_numpy()

    def changes(self, raw) -> np.ndarray:
        """Return rows (..., rows, columns) with the targets' changes over the lag, that many rows fewer."""
        values = np.array(raw[..., self.lag :, :])
        if self.lag:
            values[..., self.columns] -= raw[..., : -self.lag, :][..., self.columns]
        return values

    def features(self, raw, known) -> np.ndarray:
        """Return what the net sees of rows (..., rows, columns), `lag` rows fewer.

        `known` has the `known_rows` of these, and of as many after them as there are. Of rows further ahead it sees 0: windows that
        end there are not forecast from.
        """
        rows, columns = raw.shape[-2], self.known_columns
        own, calendar = raw.shape[-1], known.shape[-1] - len(columns)
        at = [own + calendar + k * len(columns) for k in range(len(self.shifts) + 1)]
        features = np.zeros((*raw.shape[:-2], rows - self.lag, at[-1]), self.dtype)
        for first in range(self.lag, rows, BLOCK):
            last = min(first + BLOCK, rows)
            values = self.changes(raw[..., first - self.lag : last, :])
            values -= self.scaler.center_
            values /= self.scaler.scale_
            features[..., first - self.lag : last - self.lag, :own] = in_dtype(values, self.dtype)
        features[..., own : at[0]] = in_dtype(known[..., self.lag : rows, :calendar], self.dtype)
        if columns:
            ahead = (known[..., calendar:] - self.scaler.center_[columns]) / self.scaler.scale_[columns]
            for shift, column in zip(self.shifts, at, strict=False):
                later = ahead[..., self.lag + shift : rows + shift, :]
                features[..., : later.shape[-2], column : column + len(columns)] = in_dtype(later, self.dtype)
        wrong = np.isinf(features)
        if wrong.any():
            column = np.argwhere(wrong)[0, -1]
            beyond = column - len(self.names) - calendar
            name = self.names[column if beyond < 0 else columns[beyond % len(columns)]]
            raise ValueError(
                f"data has values too large for {np.dtype(self.dtype)} when scaled by the training part, the first in column "
                f"{name!r}"
            )
        return features
