"""Samples of a time series as views of its table: inputs, targets, times, parts and batches."""

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided

from numbarnn.checks import brief, check_choice, check_integer, to_array
from numbarnn.core.html import html_table
from numbarnn.data.batches import Batch
from numbarnn.data.cuts import cut_rows
from numbarnn.data.orders import block_size, check_shuffle, orders
from numbarnn.errors import ShapeError


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
        rising = self.ends.step > 0 if isinstance(self.ends, range) else np.all(np.diff(self.ends) > 0)
        if len(self) > 1 and not rising:
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
        return y.reshape(len(ends), math.prod(y.shape[1:]))

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

    def source(self, batch_size: int = 32, *, shuffle: bool | str = True, block: int | None = None) -> "WindowSource":
        """Return a source of batches for `Model.fit` that gathers each from the table when it is needed.

        Parameters
        ----------
        batch_size : int
        shuffle : bool or "blocks"
            True: all samples in random order, which takes eight bytes of memory for each. False: in the order of time. "blocks": in
            blocks of `block` consecutive samples, as `numbarnn.data.ArraySource` does it, for a table that is memory-mapped.
        block : int, optional
            Samples of a block of "blocks"; None: as many as are about 4 MiB of the table.

        Returns
        -------
        WindowSource

        Raises
        ------
        TypeError, ValueError, ShapeError
            If an argument has the wrong type or value, or there are no windows.
        """
        return WindowSource(self, batch_size, shuffle, block)

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
    shuffle: bool | str = True
    block: int | None = None

    unit = "samples"

    def __post_init__(self):
        check_integer(self.batch_size, "batch_size", 1, math.inf)
        shuffle = check_shuffle("source", self.shuffle)
        width = self.windows.table[:1].nbytes * self.windows.stride
        object.__setattr__(self, "block", block_size(self.block, shuffle, width))
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
        for samples in orders(self.items, self.batch_size, self.shuffle, self.block, generator):
            yield Batch(*self.windows.gather(samples))
