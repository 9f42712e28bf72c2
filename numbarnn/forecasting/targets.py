"""Targets of a net: rows ahead of a window, less those they are compared with, scaled; windows and their batches."""

import dataclasses

import numpy as np

from numbarnn.data.batches import Batch
from numbarnn.data.windowing import make_windows
from numbarnn.data.windows import Windows
from numbarnn.errors import ShapeError
from numbarnn.forecasting import baselines
from numbarnn.forecasting.preparation import Preparation

CHUNK = 1024  # windows that are gathered together


@dataclasses.dataclass(eq=False)
class Targets:
    """What a net learns to forecast: rows ahead of a window, less those they are compared with, scaled.

    Attributes
    ----------
    preparation : Preparation
    delay, horizon : int
    columns : list of int
        Indices of the columns.
    deviation : (columns,) array
        Standard deviation of the columns on the training part, 1 where it is 0.
    counts : bool
        Whether targets are counts, learned as they are.
    center, scale : (horizon * columns,) arrays
    """

    preparation: Preparation
    delay: int
    horizon: int
    columns: list
    deviation: np.ndarray
    counts: bool = False
    center: np.ndarray | float = 0.0
    scale: np.ndarray | float = 1.0

    @property
    def indicators(self) -> list:
        """Of each column, the index of the one that says whether it was missing, None without one; empty where none has one."""
        own = self.preparation.encoding
        found = dict(zip(own.masked, own.columns_of("missing"), strict=True))
        indices = [found.get(own.numbers[column]) for column in self.columns]
        return indices if any(index is not None for index in indices) else []

    def windows(self, panel, features) -> Windows:
        """Return the windows of all series, of which all values are known."""
        own, raw = self.preparation, panel.values
        target = panel.scaled_truth(self.columns)[own.lag :]
        policy = "error" if own.missing == "error" else "drop"
        windows = make_windows(
            features, own.lookback, self.delay, target=target, step=own.step, horizon=self.horizon, missing=policy
        )
        if panel.keys is not None or not own.clock.regular:
            first, stop = panel.starts[:-1] + own.need - 1, panel.starts[1:] - self.delay - self.horizon + 1
            windows = between(windows, first - own.lag, stop - own.lag)
            if not len(windows):
                raise ShapeError(
                    f"no series has rows for a window: with lookback {own.lookback}, delay {self.delay} and horizon "
                    f"{self.horizon} one needs {own.need + self.delay + self.horizon - 1}"
                )
        if policy == "error" or not own.season:
            return windows
        # What the targets are compared with may be missing where no row of the window is: a window steps over rows, and changes
        # are taken over more rows than it has.
        rows = baselines.seasonal_rows(np.asarray(windows.ends) + own.lag, self.delay, self.horizon, own.season)
        known = np.isfinite(raw[:, own.columns]).all(axis=1)[rows].all(axis=1)
        if known.all():
            return windows
        if not known.any():
            raise ValueError(
                "of every window, a value is missing that the targets are compared with; clean the data first"
            )
        return dataclasses.replace(windows[known], dropped=windows.dropped + int(np.count_nonzero(~known)))

    def measured(self, panel, ends) -> np.ndarray:
        """Return what was measured after windows, (windows, horizon, columns), in the units of the data."""
        rows = np.asarray(ends)[:, None] + self.delay + np.arange(self.horizon)
        return panel.truth[rows][:, :, self.columns]

    def base(self, raw, ends) -> np.ndarray:
        """Return what is subtracted from the targets of windows before they are scaled, (windows, horizon, columns)."""
        base, own = np.zeros((len(ends), self.horizon, len(self.columns))), self.preparation
        if own.season:
            changing = [k for k, column in enumerate(self.columns) if column in own.columns]
            rows = baselines.seasonal_rows(ends, self.delay, self.horizon, own.season)
            base[:, :, changing] = raw[:, [self.columns[k] for k in changing]][rows]
        return base

    def decode(self, outputs, raw, ends) -> np.ndarray:
        """Return forecasts (windows, horizon, columns) for the outputs of a net."""
        values = (outputs * self.scale + self.center).reshape(len(outputs), self.horizon, len(self.columns))
        return values + self.base(raw, ends)

    def fit(self, source):
        """Set center and scale by training windows."""
        if self.counts:
            self.center, self.scale = np.zeros((2, self.horizon * len(self.columns)))
            self.scale += 1.0
            return
        samples = source.some()
        parts = [source.changes(samples[first : first + CHUNK]) for first in range(0, len(samples), CHUNK)]
        changes = np.concatenate(parts)
        scale = changes.std(axis=(0, 1))
        self.center = np.tile(changes.mean(axis=(0, 1)), self.horizon)
        self.scale = np.tile(np.where(scale > 0, scale, 1.0), self.horizon)


def between(windows, firsts, stops) -> Windows:
    """Return the windows that end in one of several spans of rows, each from a first row up to one before its stop, in order."""
    ends = windows.ends
    if isinstance(ends, range):  # windows are one row apart
        spans = np.clip([firsts, stops], ends.start, ends.stop)
    else:
        spans = np.searchsorted(
            ends, np.array([firsts, stops], ends.dtype)
        )  # of another type, all ends would be converted
    counts = np.maximum(spans[1] - spans[0], 0)
    found, at = np.empty(counts.sum(), np.int32 if len(windows.table) < 2**31 else np.int64), 0
    for first, count in zip(spans[0], counts, strict=True):
        rows = slice(first, first + count)
        found[at : at + count] = np.arange(rows.start, rows.stop) if isinstance(ends, range) else ends[rows]
        at += count
    return dataclasses.replace(windows, ends=found)


@dataclasses.dataclass(eq=False)
class Source:
    """Batches of windows of a table with targets as a net learns them."""

    targets: Targets
    raw: np.ndarray
    windows: Windows
    batch_size: int = CHUNK

    unit = "samples"

    @property
    def items(self):
        return len(self.windows)

    def __len__(self):
        return -(-self.items // self.batch_size)

    def some(self, most=100_000) -> np.ndarray:
        """Return the samples, or evenly spaced ones of more than `most`."""
        return np.unique(np.linspace(0, self.items - 1, min(self.items, most)).astype(np.int64))

    def chunks(self, samples):
        """Yield x and y of samples, some at a time."""
        for first in range(0, len(samples), CHUNK):
            yield self.gather(samples[first : first + CHUNK])

    def changes(self, samples):
        """Return targets less their base, (samples, horizon, columns), in their own units."""
        ends = self.windows.chosen_ends(samples) + self.targets.preparation.lag
        base = self.targets.base(self.raw, ends)
        return self.windows.gather_y(samples).reshape(base.shape) - base

    def gather(self, samples):
        """Return x, and y as a net learns it, (samples, horizon * columns)."""
        x, _ = self.windows.gather(samples)
        return self.targets.preparation.recentered(x), (
            self.changes(samples).reshape(len(samples), -1) - self.targets.center
        ) / self.targets.scale

    def batches(self, generator):
        """Yield one epoch."""
        order = np.arange(self.items, dtype=np.int32 if self.items < 2**31 else np.int64)
        generator.shuffle(order)
        for first in range(0, self.items, self.batch_size):
            yield Batch(*self.gather(order[first : first + self.batch_size]))
