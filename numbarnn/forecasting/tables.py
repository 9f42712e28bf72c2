"""Tables on their way to a forecaster's net and its answers on their way back: checks, changes, scales, windows, batches."""

import dataclasses

import numpy as np

from numbarnn.data import tables
from numbarnn.data.batches import Batch
from numbarnn.data.scaling import calendar_features
from numbarnn.data.windows import Windows, cut_rows, make_windows
from numbarnn.forecasting import baselines
from numbarnn.sklearn_api import Parameters, not_fitted

CHUNK = 1024


class ForecastTables(Parameters):
    """What a `numbarnn.Forecaster` does to tables; its settings and what it has learnt of them are the forecaster's attributes."""

    def _check_settings(self):
        for name in ("difference", "relative", "season"):
            value = getattr(self, name)
            if value is None or (name == "season" and value == "auto"):
                continue
            if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 1:
                raise ValueError(f"{name} must be a positive integer or None, got {value!r}")
        size = self.batch_size
        if isinstance(size, bool) or not isinstance(size, (int, np.integer)) or size < 1:
            raise ValueError(f"batch_size must be a positive integer, got {size!r}")
        if self.difference is not None and self.relative is not None:
            raise ValueError("give difference or relative, not both: both say what the targets are compared with")
        if self.relative is not None and self.relative > self.lookback:
            raise ValueError(f"relative must be at most lookback ({self.lookback}), got {self.relative}")
        if self.missing not in ("error", "drop", "ffill"):
            raise ValueError(f"missing must be 'error', 'drop' or 'ffill', got {self.missing!r}")
        if isinstance(self.delay, (int, np.integer)) and self.delay < 1:
            raise ValueError(f"delay must be an integer of at least 1, got {self.delay!r}")

    def _target_names(self, target):
        names = self.feature_names_
        if target is None:
            return list(names)
        wanted = list(target) if isinstance(target, (list, tuple)) else [target]
        for name in wanted:
            if name not in names:
                raise KeyError(f"target {name!r} is no column of data; it has {', '.join(map(repr, names[:12]))}")
        if not wanted:
            raise ValueError("target must name at least one column, got an empty list")
        return wanted

    @property
    def _lag(self):
        """Rows at the beginning of a table that have no changes."""
        return self.difference or 0

    @property
    def _aim_lag(self):
        """Rows of the season that targets are compared with; 0: none."""
        return self.difference or self.relative or 0

    def _numbers(self, frame):
        """Return the columns as float64 rows, filled where asked; raise where values are missing and must not be."""
        table = tables.as_table(frame)
        bad = tables.bad_rows(table, "data")
        if bad is not None and self.missing == "error":
            tables.refuse_missing(table, bad, "data", "pass missing='drop' or 'ffill', or mend them before")
        raw = np.array(table.values, np.float64, order="C")
        return tables.forward_filled(raw) if bad is not None and self.missing == "ffill" else raw

    def _calendar(self, index):
        if not self.calendar:
            return np.zeros((len(index), 0))
        return calendar_features(index, self.calendar).to_numpy()

    def _changes(self, raw):
        """Return rows (..., rows, columns) with the targets' changes over the lag, that many rows fewer."""
        lag = self._lag
        values = np.array(raw[..., lag:, :])
        if lag:
            values[..., self._places] -= raw[..., :-lag, :][..., self._places]
        return values

    def _features(self, raw, calendar):
        """Return what the net sees of rows (..., rows, columns), `_lag` rows fewer."""
        scaled = (self._changes(raw) - self.scaler_.center_) / self.scaler_.scale_
        return np.concatenate([scaled, calendar[..., self._lag :, :]], axis=-1).astype(self.dtype)

    def _windows(self, frame, raw, features, delay, horizon, names) -> Windows:
        lag = self._lag
        goal = frame[names].to_numpy(np.float64)[lag:]
        policy = "error" if self.missing == "error" else "drop"
        windows = make_windows(
            features, self.lookback, delay, target=goal, step=self.step, horizon=horizon, missing=policy
        )
        if policy == "error" or not self._aim_lag:
            return windows
        # What the targets are compared with may be missing where no row of the window is: a window steps over rows, and changes
        # are taken over more rows than it has.
        rows = baselines.seasonal_rows(np.asarray(windows.ends) + lag, delay, horizon, self._aim_lag)
        known = np.isfinite(raw[:, self._places]).all(axis=1)[rows].all(axis=1)
        if known.all():
            return windows
        if not known.any():
            raise ValueError("of every window, a value is missing that the targets are compared with; mend them before")
        return dataclasses.replace(windows[known], dropped=windows.dropped + int(np.count_nonzero(~known)))

    def _split(self, windows, cuts, straddle):
        return windows.split(rows=[cut - self._lag for cut in cuts], straddle=straddle)

    def _base(self, raw, ends, delay, horizon, places):
        """Return what is subtracted from the targets of windows before they are scaled, (windows, horizon, targets)."""
        base = np.zeros((len(ends), horizon, len(places)))
        if self._aim_lag:
            changing = [k for k, place in enumerate(places) if place in self._places]
            rows = baselines.seasonal_rows(ends, delay, horizon, self._aim_lag)
            base[:, :, changing] = raw[:, [places[k] for k in changing]][rows]
        return base

    def _fit_target_scale(self, source):
        """Set center and scale of the net's outputs from training windows."""
        parts = []
        windows = source.windows
        numbers = np.unique(np.linspace(0, len(windows) - 1, min(len(windows), 100_000)).astype(np.int64))
        for first in range(0, len(numbers), CHUNK):
            parts.append(source.changes(numbers[first : first + CHUNK]))
        changes = np.concatenate(parts)
        scale = changes.std(axis=(0, 1))
        steps = changes.shape[1]
        self._center = np.tile(changes.mean(axis=(0, 1)), steps)
        self._scale = np.tile(np.where(scale > 0, scale, 1.0), steps)

    def _window_rows(self):
        steps = (self.lookback - 1) // self.step + 1
        return np.arange(-(steps - 1) * self.step, 1, self.step)

    @property
    def _need(self):
        """Rows that a forecast looks at."""
        return max(-int(self._window_rows()[0]) + 1 + self._lag, self._aim_lag)

    def _fitted(self):
        if not hasattr(self, "model_"):
            raise not_fitted(self)

    def _columns(self, frame):
        names = self.feature_names_
        if list(frame.columns) != names:
            missing = [name for name in names if name not in frame.columns]
            if missing:
                raise ValueError(f"data lacks columns {missing}; the forecaster was fitted to {names}")
            frame = frame[names]
        return frame

    def _new(self, data, name="data"):
        """Return data that came after `fit` as a frame of the fitted columns, its times in the zone of those of `fit`."""
        frame = self._columns(as_frame(data, name))
        return frame.set_axis(self._clock.aligned(frame.index, name))

    def _check_rows(self, index, name="data"):
        """Raise ValueError unless rows follow each other as those of `fit` did."""
        tables.check_times(index, name)
        self._clock.check(index, name)


class Source:
    """Batches of windows with targets as the net learns them: changes where asked, scaled."""

    unit = "samples"

    def __init__(self, owner, windows):
        self.owner, self.windows = owner, windows
        self.items = len(windows)

    def __len__(self):
        return -(-self.items // self.owner.batch_size)

    def changes(self, numbers):
        """Return targets less their base, (samples, horizon, targets), in their own units."""
        owner, windows = self.owner, self.windows
        delay, horizon, places = owner._aim
        y = windows.gather_y(numbers).reshape(len(numbers), horizon, len(places))
        return y - owner._base(owner._raw, windows.chosen_ends(numbers) + owner._lag, delay, horizon, places)

    def gather(self, numbers):
        """Return x, and y as the net learns it, (samples, horizon * targets)."""
        x, _ = self.windows.gather(numbers)
        y = (self.changes(numbers).reshape(len(numbers), -1) - self.owner._center) / self.owner._scale
        return x, y

    def batches(self, generator):
        order, size = generator.permutation(self.items), self.owner.batch_size
        for first in range(0, self.items, size):
            yield Batch(*self.gather(order[first : first + size]))


def as_frame(data, name="data"):
    """Return the rows of one series as a DataFrame of numbers of one type, missing ones NaN, the columns of an array numbered."""
    import pandas as pd

    table = tables.as_table(data, name)
    tables.check_one_series(table.index, name)
    columns = data.columns if tables.is_pandas(data) == "frame" else list(table.names)
    return pd.DataFrame(table.values, index=table.index, columns=columns)


def cuts_of(split, index):
    """Return the first rows of the parts after the first."""
    if isinstance(split, str) or not np.iterable(split):
        raise TypeError(f"split must be a sequence, such as the fractions (0.7, 0.15, 0.15), got {split!r}")
    split = list(split)
    if split and all(isinstance(part, float) for part in split):
        cuts = cut_rows(len(index), index, fractions=split)
    elif all(isinstance(part, (int, np.integer)) for part in split):
        cuts = cut_rows(len(index), index, rows=split)
    else:
        cuts = cut_rows(len(index), index, dates=split)
    if len(cuts) not in (1, 2):
        raise ValueError(f"split must make two or three parts (training, validation, test), got {split}")
    return cuts


def part_names(cuts):
    """Return the names of the parts."""
    return ("train", "validation", "test") if len(cuts) == 2 else ("train", "test")
