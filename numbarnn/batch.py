"""What a pass through a model carries: the geometry of a batch, its rows, and how the work is done.

Samples are sorted by falling length and laid out time-major here and nowhere else; kernels, layers and losses see rows.
"""

from dataclasses import dataclass, field

import numpy as np

from numbarnn import parallel
from numbarnn.kernels.cpu.simd import panel_width, tile_table

ALIGNMENT = 64  # bytes of a cache line: a panel's row then lies in one line (AVX2) instead of two


def empty(shape, dtype) -> np.ndarray:
    """Return an uninitialised C-contiguous array that begins on a cache line."""
    dtype = np.dtype(dtype)
    count = int(np.prod(shape))
    raw = np.empty(count * dtype.itemsize + ALIGNMENT, np.uint8)
    start = -raw.ctypes.data % ALIGNMENT
    return raw[start : start + count * dtype.itemsize].view(dtype).reshape(shape)


def zeros(shape, dtype) -> np.ndarray:
    """Return `empty` filled with zeros."""
    array = empty(shape, dtype)
    array[...] = 0
    return array


def padded(size: int, dtype) -> int:
    """Return `size` rounded up to whole panels."""
    width = panel_width(dtype)
    return -(-size // width) * width


@dataclass(frozen=True)
class Signal:
    """What passes between two layers, known before any data.

    Attributes
    ----------
    size : int
        Features of a step, or the size of the vocabulary.
    tokens : bool
        Whether each step is an integer below `size` instead of `size` numbers.
    sequence : bool
        Whether there is one value a step, or one a sample.
    """

    size: int
    tokens: bool = False
    sequence: bool = True

    def __str__(self) -> str:
        axes = "samples, time steps" if self.sequence else "samples"
        return f"({axes}) tokens below {self.size}" if self.tokens else f"({axes}, {self.size})"


@dataclass(frozen=True)
class Rows:
    """Activations of a batch: a row for every (step, sample).

    Attributes
    ----------
    values : (rows, padded size) float array, or (rows,) int32 tokens
    size : int
        Columns that count, or the size of the vocabulary.
    """

    values: np.ndarray
    size: int

    @property
    def tokens(self) -> bool:
        """Whether the rows are tokens."""
        return self.values.ndim == 1


@dataclass(frozen=True)
class Layout:
    """Geometry of a batch: samples sorted by falling length, one row for every (step, sample).

    Attributes
    ----------
    steps, samples : int
    lengths : (samples,) int64, falling
    active : (steps,) int64
        Samples running at each step.
    order : (samples,) int64 or None
        ``order[i]`` is the caller's index of sorted sample i; None where nothing was sorted.
    """

    steps: int
    samples: int
    lengths: np.ndarray
    active: np.ndarray
    order: np.ndarray | None = None

    @classmethod
    def make(cls, steps: int, samples: int, lengths: np.ndarray | None = None) -> "Layout":
        """Return the geometry of `samples` samples of `steps` steps or of the given lengths."""
        if lengths is None or (lengths.size and lengths.min() == steps):
            full = np.full(samples, steps, np.int64)
            return cls(steps, samples, full, np.full(steps, samples, np.int64))
        order = np.argsort(-lengths, kind="stable")
        lengths = np.ascontiguousarray(lengths[order], np.int64)
        # Samples longer than t: lengths fall, so count those beyond t from the back.
        active = samples - np.searchsorted(lengths[::-1], np.arange(steps), side="right")
        return cls(steps, samples, lengths, active.astype(np.int64), order)

    @property
    def full(self) -> bool:
        """Whether every sample runs through all steps."""
        return self.order is None

    @property
    def running(self) -> int:
        """Number of rows that exist: the sum of the lengths."""
        return int(self.lengths.sum())

    def last(self) -> "Layout":
        """Return the geometry of one row a sample."""
        ones = np.ones(self.samples, np.int64)
        return Layout(1, self.samples, ones, np.full(1, self.samples, np.int64), self.order)

    def flat(self) -> "Layout":
        """Return a geometry with the same rows for work that knows no steps: one step of all rows where none is missing."""
        if not self.full:
            return self
        rows = self.steps * self.samples
        return Layout(1, rows, np.ones(rows, np.int64), np.full(1, rows, np.int64))

    def cut(self, pieces: int) -> list[tuple[int, int]]:
        """Cut the samples into at most `pieces` runs of about equal work."""
        pieces = min(pieces, self.samples)
        if pieces <= 1:
            return [(0, self.samples)]
        done = np.cumsum(self.lengths + 1)
        edges = [0, *(int(np.searchsorted(done, done[-1] * i / pieces)) for i in range(1, pieces)), self.samples]
        return [(lo, hi) for lo, hi in zip(edges, edges[1:], strict=False) if hi > lo]

    def sort(self, array: np.ndarray, axis: int = 0) -> np.ndarray:
        """Return an array by sample in sorted order."""
        return array if self.order is None else np.take(array, self.order, axis)

    def unsort(self, array: np.ndarray, axis: int = 0) -> np.ndarray:
        """Return an array by sorted sample in the caller's order."""
        if self.order is None:
            return array
        result = np.empty_like(array)
        result[(slice(None),) * axis + (self.order,)] = array
        return result


@dataclass
class Call:
    """One pass through a model: how, and the numbers that randomness is keyed by.

    Attributes
    ----------
    dtype : numpy.dtype
    n_threads : int
    keep : bool
        Whether a backward pass follows, so that tapes are kept.
    training : bool
        Whether dropout acts.
    seed, step : int
        Key of the dropout masks.
    """

    dtype: np.dtype
    n_threads: int = 1
    keep: bool = False
    training: bool = False
    seed: int = 0
    step: int = 0
    table: np.ndarray = field(init=False)

    def __post_init__(self):
        self.table = tile_table(self.dtype)

    def over(self, count: int, operations: float, job) -> None:
        """Run ``job(first, last)`` over range(count) in as many threads as the operations are worth."""
        self.run([(lambda lo=lo, hi=hi: job(lo, hi)) for lo, hi in parallel.shares(count, operations, self.n_threads)])

    def over_samples(self, layout: Layout, operations: float, job) -> None:
        """Run ``job(lo, hi)`` over the samples of a layout, cut by work."""
        pieces = max(1, min(self.n_threads, int(operations // parallel.GRAIN)))
        self.run([(lambda lo=lo, hi=hi: job(lo, hi)) for lo, hi in layout.cut(pieces)])

    def run(self, jobs) -> None:
        """Run all jobs, and return when they are done."""
        parallel.run(jobs)
