"""Windows of a time series: from a table to samples (lookback, delay, step, stride, horizon), without copies.

Translations from other programs, with m rows in a window (`tests/test_windows.py` proves them):

* the generator of Chollet, *Deep Learning with Python*, 1st edition, section 6.3, ``generator(data, lookback, delay, ...,
  step)``: sample i holds rows i - lookback, i - lookback + step, ... below i and its target is row i + delay, counted from
  the row *after* the window. That is ``make_windows(data, lookback, delay + lookback - (m - 1) * step, step=step)`` with
  m = ceil(lookback / step): the delay is ``delay + step`` where step divides lookback, ``delay + 1`` for step 1;
* Keras' ``timeseries_dataset_from_array(data[:-d], targets[d:], sequence_length=m, sampling_rate=s, sequence_stride=k)``:
  sample i holds rows i k, i k + s, ..., i k + (m - 1) s and its target is row i k + d, counted from the window's
  *first* row. That is ``make_windows(data, (m - 1) * s + 1, d - (m - 1) * s, step=s, stride=k)``. With the 2nd
  edition's d = s (m + 24 - 1) the delay is 24 s: 24 hours after the newest row.
"""

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided

from numbarnn.checks import COUNTED, brief, check_choice, check_flag, check_integer, check_real, to_array, to_list
from numbarnn.core.frames import as_pandas, is_pandas
from numbarnn.core.html import html_table
from numbarnn.data import tables
from numbarnn.data.batches import Batch
from numbarnn.errors import ShapeError
from numbarnn.words import suggesting

MISSING = ("error", "drop", "ffill")  # what is done about missing values


@suggesting
def make_windows(
    data: Any,
    lookback: int,
    delay: int = 1,
    *,
    target: Any = None,
    step: int = 1,
    stride: int = 1,
    horizon: int = 1,
    missing: str = "error",
    irregular: str = "error",
) -> "Windows":
    r"""Cut a table into windows and the targets of each.

    With L = lookback, D = delay and m = (L - 1) // step + 1, sample i ends at row

    .. math:: e_i = i \cdot stride + L - 1

    its input is rows e - (m - 1) step, ..., e - step, e (the newest row is always seen), and its targets are rows
    e + D, ..., e + D + horizon - 1. There are as many samples as have all their rows in the table:
    (rows - L - D - horizon + 1) // stride + 1.

    Parameters
    ----------
    data : (rows,) or (rows, columns) array-like, Series or DataFrame
        Values of one series in order of time, all columns being features. A DatetimeIndex, PeriodIndex or TimedeltaIndex must be
        regular, a numeric index must rise or fall. Of a table of several series make windows for each: ``for key, part in
        table.groupby(level=0): make_windows(part.droplevel(0), ...)``.
    lookback : int
        Rows L from the oldest to the newest that a window spans.
    delay : int
        Rows D from the newest row of a window to its first target; 1: the next row; 0: the newest row of the window, which is
        seen, for targets that are not among the features.
    target : name, list of names, array, Series or DataFrame, optional
        What to predict: a column or columns of the data by name (of an array: by index), or separate values, a
        row for every row of the data. None: all columns.
    step : int
        Rows between two rows of a window.
    stride : int
        Rows between two windows.
    horizon : int
        Rows that are predicted from each window.
    missing : {"error", "drop", "ffill"}
        Treatment of NaN. "error": refuse it, with count and first position. "drop": leave out the windows that touch
        one. "ffill": inputs take the last value known before; windows with a missing target, or with rows before the
        first known value, are left out. (The "mask" of `numbarnn.Forecaster` needs a training part, which windows have not.)
    irregular : {"error", "ignore"}
        Treatment of times that are not evenly spaced, and of row numbers that change direction or repeat. "error": raise, naming
        the first such row. "ignore": count rows.

    Returns
    -------
    Windows
        Lazy: X is a view of the data.

    Raises
    ------
    ShapeError
        If the table is too short for one window, or target values have another number of rows.
    KeyError
        If a target column does not exist.
    TypeError, ValueError
        For arguments of a wrong dtype or value, for missing and infinite values, for irregular times, and for a MultiIndex.

    Examples
    --------
    >>> w = make_windows([10, 20, 30, 40, 50, 60, 70, 80, 90], lookback=3, delay=2)
    >>> w.X.shape
    (5, 3, 1)
    >>> w.X[0, :, 0].tolist(), int(w.y[0])
    ([10, 20, 30], 50)
    """
    options = {"lookback": lookback, "delay": delay, "step": step, "stride": stride, "horizon": horizon}
    options = {name: check_integer(value, name, int(name != "delay"), COUNTED) for name, value in options.items()}
    check_choice(missing, "missing", MISSING)
    check_choice(irregular, "irregular", ("error", "ignore"))
    table, target = tables.as_table(data), as_pandas(target, "target")
    tables.check_one_series(table.index)
    targets = _targets(table, target)
    ends = _ends(len(table), **options)
    if irregular == "error":
        tables.check_times(table.index)
    values, dropped = table.values, 0
    bad = tables.bad_rows(table, "data")
    own = isinstance(target, np.ndarray) or is_pandas(target)
    bad_targets = tables.bad_rows(targets, "target") if own or bad is not None else None
    if bad is not None or bad_targets is not None:
        if missing == "error":
            advice = "pass missing='drop' or 'ffill', or clean the data first"
            shown = (table, bad, "data") if bad is not None else (targets, bad_targets, "target")
            tables.refuse_missing(*shown, advice)
        if (
            missing == "ffill" and bad is not None
        ):  # the targets stay those of the data: a filled target would be made up
            values = tables.forward_filled(values)
            bad = np.isnan(values).any(axis=1)
        before = len(ends)
        ends = _untouched(ends, bad, bad_targets, **options)
        dropped = before - len(ends)
        if len(ends) == 0:
            raise ValueError(
                f"every one of {before} windows touches a missing value; clean the data first, or use missing='ffill'"
            )
    return Windows(
        values,
        targets.values[:, 0] if targets.flat else targets.values,
        ends,
        **options,
        index=table.index,
        feature_names=table.names,
        target_names=targets.names,
        dropped=dropped,
    )


def _targets(table, target) -> tables.Table:
    """Return the targets as a table with the rows of `table`."""
    if target is None:
        return table
    if isinstance(target, np.ndarray) or is_pandas(target):
        own = tables.as_table(target, "target")
        tables.check_one_series(own.index, "target")
        if len(own) != len(table):
            raise ShapeError(f"target has {len(own)} rows, data has {len(table)}; they must have a row for every time")
        if own.index is not None and table.index is not None and not own.index.equals(table.index):
            raise ValueError("target and data have different indexes; align them first: target.reindex(data.index)")
        return own
    columns, listed = tables.chosen_columns(target, table.names)
    values = table.values[:, columns[0] : columns[0] + 1] if len(columns) == 1 else table.values[:, columns]
    return tables.Table(values, tuple(table.names[column] for column in columns), table.index, flat=not listed)


def _ends(rows, *, lookback, delay, step, stride, horizon) -> range:
    """Return the newest rows of all windows."""
    past = rows - delay - horizon + 1
    if past < lookback:
        raise ShapeError(
            f"data has {rows} rows; lookback {lookback}, delay {delay} and horizon {horizon} need at least "
            f"{lookback + delay + horizon - 1}"
        )
    return range(lookback - 1, past, stride)


def _untouched(ends, bad, bad_targets, *, lookback, delay, step, stride, horizon):
    """Return the ends of the windows none of whose rows is bad."""
    newest = np.arange(ends.start, ends.stop, ends.step)
    good = np.ones(len(newest), bool)
    if bad is not None:
        width = (lookback - 1) // step + 1
        good &= _counts(bad, width, step)[newest] == 0
    if bad_targets is not None:
        good &= _counts(bad_targets, horizon, 1)[newest + delay + horizon - 1] == 0
    return ends if good.all() else newest[good]


def _counts(bad, width, step):
    """Return for every row r how many of the rows r, r - step, ..., r - (width - 1) step are bad."""
    padded = np.zeros((-(-len(bad) // step) + width, step), np.int64)
    padded[width:].reshape(-1)[: len(bad)] = bad
    running = padded.cumsum(axis=0)
    return (running[width:] - running[:-width]).reshape(-1)[: len(bad)]


def cut_rows(rows_in_all: int, index, *, fractions=None, rows=None, dates=None, empty=False) -> list[int]:
    """Return the first row of each part after the first; arguments and errors are those of `Windows.split`.

    `empty`: whether parts may have no rows, as one series of many may end before the others.
    """
    if sum(cut is not None for cut in (fractions, rows, dates)) != 1:
        raise ValueError("give one of fractions, rows and dates")
    if fractions is not None:
        fractions = to_list(fractions, "fractions", "numbers")
        shares = [check_real(fraction, f"fractions[{k}]") for k, fraction in enumerate(fractions)]
        if not shares or not (min(shares) > 0 and abs(sum(shares) - 1) <= 1e-9):  # NaN is neither
            raise ValueError(f"fractions must be positive and add up to 1, got {brief(fractions)}")
        cuts = [int(rows_in_all * sum(shares[:k]) + 1e-9) for k in range(1, len(shares))]
    elif rows is not None:
        cuts = [check_integer(row, f"rows[{k}]", 0) for k, row in enumerate(to_list(rows, "rows", "row numbers"))]
    else:
        import pandas as pd

        dates = to_list(dates, "dates", "times")
        if isinstance(index, pd.PeriodIndex):
            cuts = [int(index.searchsorted(_as_time(pd.Period, date, k, index.freq))) for k, date in enumerate(dates)]
        elif isinstance(index, pd.DatetimeIndex):
            cuts = [int(index.searchsorted(_time_in(index.tz, date, k))) for k, date in enumerate(dates)]
        else:
            raise ValueError(
                "dates takes times only of data with a DatetimeIndex or PeriodIndex; cut by rows or fractions"
            )
    cuts = [min(cut, rows_in_all) for cut in cuts] if empty else cuts
    edges = [0, *cuts, rows_in_all]
    if any(a > b if empty else a >= b for a, b in itertools.pairwise(edges)):
        what = "fractions" if fractions is not None else "rows" if rows is not None else "dates"
        raise ValueError(
            f"{what} must make parts that have rows and are in order; they would begin at rows {edges[:-1]} of {rows_in_all}"
        )
    return cuts


def _as_time(kind, date, position, *options):
    """Return an entry of `dates` as a Timestamp or Period; raise ValueError unless it is one time."""
    import pandas as pd

    try:
        # A number would be nanoseconds since 1970.
        time = None if isinstance(date, (bool, int, float, np.number, np.bool_)) else kind(date, *options)
    except (TypeError, ValueError, OverflowError):
        time = None
    if time is None or time is pd.NaT:
        raise ValueError(f"dates[{position}] must be a time, such as '2024-12-31' or a datetime, got {brief(date)}")
    return time


def _time_in(zone, date, position):
    """Return a date as a time that can be compared with times in a zone, or None; one without a zone is in that zone."""
    import pandas as pd

    time = _as_time(pd.Timestamp, date, position)
    if zone is None and time.tzinfo is not None:
        raise ValueError(
            f"dates[{position}] is {time}, in the zone {time.tzinfo}; the data have times without a zone (naive): give it without "
            "a zone, as they are"
        )
    return time.tz_localize(zone) if zone is not None and time.tzinfo is None else time


@dataclass(frozen=True, eq=False)
class Windows:
    """Samples of a time series, made by `make_windows`; nothing is copied before it is accessed.

    ``len`` is the number of samples; a slice, array of integers or mask selects samples; an integer gives one pair (x, y).
    ``for train, test in TimeSeriesSplit().split(windows)`` works, and so do scikit-learn's functions that take
    ``windows.X`` (or the windows themselves, which are array-like) and ``windows.y``.

    It is a source of batches: ``model.fit(windows, loss="mse")``, or ``windows.source(batch_size=256)``.

    Attributes
    ----------
    table : (rows, features) array
    target : (rows,) or (rows, targets) array
    ends : range or (samples,) integers
        The newest row of every sample.
    lookback, delay, step, stride, horizon : int
    index : pandas.Index or None
    feature_names, target_names : tuple
    dropped : int
        Samples left out because they touched a missing value.
    """

    table: np.ndarray
    target: np.ndarray
    ends: Any
    lookback: int
    delay: int
    step: int
    stride: int
    horizon: int
    index: Any
    feature_names: tuple[Any, ...]
    target_names: tuple[Any, ...]
    dropped: int = 0
    _shared: dict = field(default_factory=dict, repr=False)  # shared by all parts of the windows of one table

    unit = "samples"

    # Geometry of a sample

    @property
    def steps(self) -> int:
        """Rows m of a window."""
        return (self.lookback - 1) // self.step + 1

    @property
    def reach(self) -> int:
        """Rows from the oldest row of a window to its newest."""
        return (self.steps - 1) * self.step

    @property
    def X(self) -> np.ndarray:  # noqa: N802 (scikit-learn's name)
        """Inputs (samples, m, features): a read-only view where the samples are evenly spaced, else a copy."""
        return self._cut(self.table, -self.reach, self.steps, self.step)

    @property
    def y(self) -> np.ndarray:
        """Targets (samples,), (samples, targets), (samples, horizon) or (samples, horizon, targets)."""
        y = self._cut(self.target, self.delay, self.horizon, 1)
        return y[:, 0] if self.horizon == 1 else y

    @property
    def x_rows(self) -> np.ndarray:
        """Row numbers (samples, m) of the inputs."""
        return self._cut(np.arange(len(self.table)), -self.reach, self.steps, self.step)

    @property
    def y_rows(self) -> np.ndarray:
        """Row numbers (samples, horizon) of the targets."""
        return self._cut(np.arange(len(self.table)), self.delay, self.horizon, 1)

    @property
    def x_times(self) -> np.ndarray:
        """Index values (samples, m) of the inputs."""
        return self._cut(self._times(), -self.reach, self.steps, self.step)

    @property
    def y_times(self) -> np.ndarray:
        """Index values (samples, horizon) of the targets."""
        return self._cut(self._times(), self.delay, self.horizon, 1)

    def _times(self):
        if self.index is None:
            raise AttributeError("the data had no index, so the windows have no times; x_rows and y_rows count rows")
        return self.index.to_numpy()

    def _cut(self, array, first, count, step):
        """Return array[end + first + k * step] for all ends and k < count."""
        if not isinstance(self.ends, range):
            return array[self.ends[:, None] + np.arange(first, first + count * step, step)]
        inner = array.strides[0]
        shape = (len(self.ends), count, *array.shape[1:])
        if len(self.ends) == 0:
            return np.empty(shape, array.dtype)
        oldest, newest = sorted((self.ends[0], self.ends[-1]))
        oldest, newest = oldest + first, newest + first + (count - 1) * step
        if oldest < 0 or newest >= len(array):  # not made by make_windows: a view would leave the memory
            raise ShapeError(
                f"windows reach from row {oldest} to row {newest}, the table has rows 0 to {len(array) - 1}"
            )
        strides = (inner * self.ends.step, inner * step, *array.strides[1:])
        return as_strided(array[self.ends.start + first :], shape, strides, writeable=False)

    # Array-like

    def __len__(self) -> int:
        return len(self.ends)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Shape of X."""
        return len(self.ends), self.steps, self.table.shape[1]

    ndim = 3

    @property
    def dtype(self) -> np.dtype:
        """Data type of X."""
        return self.table.dtype

    def __array__(self, dtype=None, copy=None) -> np.ndarray:
        values = np.asarray(self.X, dtype)
        return values.copy() if copy else values

    def __getitem__(self, which: Any) -> Any:
        if isinstance(which, tuple) and len(which) == 2 and which[1] is Ellipsis:  # as scikit-learn indexes
            which = which[0]
        if isinstance(which, (int, np.integer)) and not isinstance(which, bool):
            if not -len(self) <= which < len(self):
                raise IndexError(f"sample {which} of {len(self)}")
            one = self[which:][:1]
            return one.X[0], one.y[0]
        if isinstance(which, slice):
            return replace(self, ends=self.ends[which])
        which = np.asarray(which)
        if which.ndim != 1 or which.dtype.kind not in "iub":
            raise TypeError(
                f"samples are chosen by an integer, a slice, an array of integers or a mask, got {brief(which)}"
            )
        ends = np.arange(self.ends.start, self.ends.stop, self.ends.step) if isinstance(self.ends, range) else self.ends
        return replace(self, ends=ends[which])

    def __iter__(self) -> Any:
        return (self[i] for i in range(len(self)))

    def __repr__(self) -> str:
        shapes = f"X {self.shape}, y {(len(self),) + self.y.shape[1:]}"
        settings = ", ".join(
            f"{name}={getattr(self, name)}" for name in ("lookback", "delay", "step", "stride", "horizon")
        )
        return f"<Windows {shapes}; {settings}>"

    def _repr_html_(self) -> str:
        names = ("lookback", "delay", "horizon", "step", "stride", "dropped")
        rows = [("X", self.shape), ("y", (len(self), *self.y.shape[1:]))]
        rows += [
            ("features", ", ".join(map(str, self.feature_names))),
            ("targets", ", ".join(map(str, self.target_names))),
        ]
        return html_table("Windows", ("", "value"), [*rows, *((name, getattr(self, name)) for name in names)])

    # Splits

    def split(
        self,
        fractions: Sequence[float] | None = None,
        *,
        rows: Sequence[int] | None = None,
        dates: Sequence[Any] | None = None,
        straddle: str = "drop",
    ) -> tuple["Windows", ...]:
        """Return the windows of consecutive parts of the table, oldest first.

        Parameters
        ----------
        fractions : sequence of float
            Share of the table's rows in each part, adding up to 1: ``train, validation, test = w.split((0.5, 0.25, 0.25))``.
            A part's first row is the number of rows times the sum of the fractions before it, rounded down.
        rows : sequence of int
            First row of each part after the first.
        dates : sequence of timestamps or str
            First time of each part after the first; in the time zone of the data where they name none.
        straddle : {"drop", "keep"}
            "drop": a part has the windows all of whose rows, the `lookback` rows up to the newest and the targets, lie in it.
            "keep": a part has the windows all of whose targets lie in it, so that inputs may begin in the part before, as
            they do in use; no target is in two parts, and no target of one part is an input of a part before it. Windows
            whose targets lie in two parts are left out either way.

        Returns
        -------
        tuple of Windows
            One for each part.

        Raises
        ------
        ValueError
            If not exactly one way of cutting is given, cuts are not in order, or a part is left without windows.
        """
        if len(self) > 1 and np.any(np.diff(self.ends) <= 0):
            raise ValueError("the windows are not in order of time; split before choosing or shuffling samples")
        check_choice(straddle, "straddle", ("drop", "keep"))
        total = len(self.table)
        edges = [0, *cut_rows(total, self.index, fractions=fractions, rows=rows, dates=dates), total]
        parts = []
        for first, last in itertools.pairwise(edges):
            oldest = first + self.lookback - 1 if straddle == "drop" else 0
            part = self._between(max(oldest, first - self.delay), last - self.delay - self.horizon + 1)
            if len(part) == 0:
                need = (self.lookback - 1 if straddle == "drop" else 0) + self.delay + self.horizon
                keep = ", or pass straddle='keep'" if straddle == "drop" and first else ""
                raise ValueError(
                    f"no window fits into rows {first} to {last - 1}: with straddle={straddle!r} one needs {need} rows "
                    f"there, all of them without missing values. Make that part larger, or lookback, delay or horizon smaller{keep}"
                )
            parts.append(part)
        return tuple(parts)

    def _between(self, low, high):
        """Return the windows with low <= end < high."""
        if isinstance(self.ends, range):
            near = [max(0, -(-(edge - self.ends.start) // self.ends.step)) for edge in (low, high)]
        else:
            near = np.searchsorted(self.ends, [low, high])
        return self[int(near[0]) : int(near[1])]

    # Batches

    def gather(self, samples: Any) -> tuple[np.ndarray, np.ndarray]:
        """Return copies of x and y of some samples.

        Parameters
        ----------
        samples : (n,) integers
            Indices; negative ones count from the end.

        Returns
        -------
        x : (n, m, features) array
        y : (n, values) array
            Targets as losses take them: all values of a sample in a row.

        Raises
        ------
        TypeError, IndexError
            If `samples` is not an array of integers, or one of them is out of range.
        """
        ends, rows = self.chosen_ends(samples), self._rows()
        row, column = rows.strides
        # The windows that begin at each row: to index these is 2 to 3 times as fast as to index rows.
        shape = (max(0, len(rows) - self.reach), self.steps, rows.shape[1])
        windows = as_strided(rows, shape, (row, row * self.step, column), writeable=False)
        return windows[ends - self.reach], self._targets(ends)

    def gather_y(self, samples: Any) -> np.ndarray:
        """Return y of `gather` alone.

        Parameters
        ----------
        samples : (n,) integers
            Indices; negative ones count from the end.

        Returns
        -------
        (n, values) array

        Raises
        ------
        TypeError, IndexError
            If `samples` is not an array of integers, or one of them is out of range.
        """
        return self._targets(self.chosen_ends(samples))

    def _targets(self, ends):
        y = self.target[ends[:, None] + np.arange(self.delay, self.delay + self.horizon)]
        return y.reshape(len(ends), -1)

    def chosen_ends(self, samples: Any) -> np.ndarray:
        """Return the newest rows of some samples.

        Parameters
        ----------
        samples : (n,) integers
            Indices; negative ones count from the end.

        Returns
        -------
        (n,) int64
            Row numbers in the table.

        Raises
        ------
        TypeError, IndexError
            If `samples` is not an array of integers, or one of them is out of range.
        """
        indices, count = to_array(samples, "samples"), len(self)
        if indices.ndim != 1 or indices.dtype.kind not in "iu":
            raise TypeError(f"samples must be given by an array of their indices, got {brief(samples)}")
        if indices.size and not -count <= indices.min() <= indices.max() < count:
            wrong = indices[(indices < -count) | (indices >= count)][0]
            raise IndexError(f"samples must be indices of {count} windows, got {wrong}")
        indices = np.where(indices < 0, indices + count, indices).astype(np.int64)
        if isinstance(self.ends, range):
            return self.ends.start + self.ends.step * indices
        return self.ends[indices].astype(np.int64, copy=False)

    def _rows(self):
        """Return the table with contiguous rows, copied once (the columns of pandas are contiguous)."""
        if "rows" not in self._shared:
            self._shared["rows"] = np.ascontiguousarray(self.table)
        return self._shared["rows"]

    def source(self, batch_size: int = 32, *, shuffle: bool = True) -> "WindowSource":
        """Return a source of batches for `Model.fit` that gathers each from the table when it is needed.

        Parameters
        ----------
        batch_size : int
        shuffle : bool
            Whether every epoch has its own order of samples.

        Returns
        -------
        WindowSource

        Raises
        ------
        ValueError, ShapeError
            If `batch_size` is not a positive integer, or there are no windows.
        """
        return WindowSource(self, batch_size, shuffle)

    @property
    def items(self) -> int:
        """Samples an epoch."""
        return len(self)

    def batches(self, generator: np.random.Generator) -> Iterator[Batch]:
        """Yield one epoch of batches of 32 in a new order; `source` has the settings.

        Parameters
        ----------
        generator : numpy.random.Generator
            Draws the order of the samples.

        Returns
        -------
        iterator of Batch
        """
        return self.source().batches(generator)


@dataclass(frozen=True, eq=False)
class WindowSource:
    """Batches of the samples of `Windows`."""

    windows: Windows
    batch_size: int = 32
    shuffle: bool = True

    unit = "samples"

    def __post_init__(self):
        check_integer(self.batch_size, "batch_size", 1, math.inf)
        check_flag("source", "shuffle", self.shuffle)
        if len(self.windows) == 0:
            raise ShapeError("there are no windows to make batches of")

    @property
    def items(self) -> int:
        """Samples an epoch."""
        return len(self.windows)

    def __len__(self) -> int:
        return -(-self.items // self.batch_size)

    def batches(self, generator: np.random.Generator) -> Iterator[Batch]:
        """Yield one epoch."""
        order = generator.permutation(self.items) if self.shuffle else np.arange(self.items)
        for first in range(0, self.items, self.batch_size):
            yield Batch(*self.windows.gather(order[first : first + self.batch_size]))
