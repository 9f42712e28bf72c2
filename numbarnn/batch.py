"""What a pass through a model carries: the geometry of a batch, its rows, and how the work is done.

Samples are sorted by falling length and laid out time-major here and nowhere else; kernels, layers and losses see rows.
"""

import functools
import itertools
import math
from dataclasses import dataclass, field

import numpy as np

from numbarnn import parallel
from numbarnn.kernels.cpu.simd import panel_width, tile_table

ALIGNMENT = 64  # bytes of a cache line: a panel's row then lies in one line (AVX2) instead of two


def empty(shape, dtype) -> np.ndarray:
    """Return an uninitialised C-contiguous array that begins on a cache line."""
    dtype = np.dtype(dtype)
    count = math.prod(shape)
    raw = np.empty(count * dtype.itemsize + ALIGNMENT, np.uint8)
    start = -raw.ctypes.data % ALIGNMENT
    return raw[start : start + count * dtype.itemsize].view(dtype).reshape(shape)


def zeros(shape, dtype) -> np.ndarray:
    """Return `empty` filled with zeros."""
    array = empty(shape, dtype)
    array[...] = 0
    return array


def _block(size: int) -> tuple[np.ndarray, int]:
    """Return at least `size` bytes, and where the first cache line among them begins."""
    block = np.empty(size + ALIGNMENT, np.uint8)
    return block, -block.ctypes.data % ALIGNMENT


class Arena:
    """Memory that is handed out piece by piece and taken back all at once.

    Fresh memory costs a page fault every 4 KiB, 3.6 us on a virtual machine: a sixth of a training step of a 2 x 128
    LSTM (76 ms against 64 ms with memory that was used before). A trainer therefore
    keeps one arena, and models share a stock of them. What is taken from one lives until its next `reset`.
    """

    PATIENCE = 64  # resets between two looks at whether much less memory would do

    def __init__(self):
        self.block, self.start = _block(0)
        self.used = self.peak = self.resets = 0

    def reset(self) -> None:
        """Take everything back, and get one block as large as all that was handed out."""
        self.peak = max(self.peak, self.used)
        self.resets += 1
        if self.start + self.used > self.block.size:
            self.block, self.start = _block(0)  # the old memory goes before the new comes
            self.block, self.start = _block(self.used)
        elif self.resets % self.PATIENCE == 0:
            if self.peak < self.block.size // 2:
                self.block, self.start = _block(self.peak)
            self.peak = 0
        self.used = 0

    def empty(self, shape, dtype) -> np.ndarray:
        """Return an uninitialised C-contiguous array that begins on a cache line."""
        at = self.start + self.used
        self.used += -(-math.prod(shape) * dtype.itemsize // ALIGNMENT) * ALIGNMENT
        if self.start + self.used > self.block.size:
            return empty(shape, dtype)
        return np.ndarray(shape, dtype, self.block, at)


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
    bag : int
        Tokens a step along an axis of their own; 0: one token a step, without such an axis.
    """

    size: int
    tokens: bool = False
    sequence: bool = True
    bag: int = 0

    def __str__(self) -> str:
        axes = ("samples, time steps" if self.sequence else "samples") + (f", {self.bag}" if self.bag else "")
        return f"({axes}) tokens below {self.size}" if self.tokens else f"({axes}, {self.size})"


@dataclass(frozen=True)
class Rows:
    """Activations of a batch: a row for every (step, sample).

    Attributes
    ----------
    values : (rows, padded size) float array, or (rows,) or (rows, bag) int32 tokens
    size : int
        Columns that count, or the size of the vocabulary.
    sample_major : bool
        Whether the rows of a sample follow each other, as in the caller's arrays, instead of those of a step.
    """

    values: np.ndarray
    size: int
    sample_major: bool = False

    def strides(self, layout: "Layout") -> tuple[int, int]:
        """Return the distances between the rows of two steps, and of two samples."""
        width = self.values.shape[1]
        return (width, layout.steps * width) if self.sample_major else (layout.samples * width, width)

    @property
    def tokens(self) -> bool:
        """Whether the rows are tokens."""
        return self.values.dtype.kind == "i"


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
    def places(self) -> np.ndarray:
        """`order`, also where nothing was sorted."""
        # Not a cached property: before Python 3.12 it has a lock, which a forked child may inherit shut.
        return np.arange(self.samples) if self.order is None else self.order

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
        return [(lo, hi) for lo, hi in itertools.pairwise(edges) if hi > lo]

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
    direct : bool
        Whether rows may be the caller's own arrays, sample-major: in passes that keep nothing and return outputs.
    last : int
        Place of the model's last layer, whose output a direct pass returns.
    seed, step : int
        Key of the dropout masks.
    arena : Arena
        Memory for everything that the pass needs and does not return.
    """

    dtype: np.dtype
    n_threads: int = 1
    keep: bool = False
    training: bool = False
    direct: bool = False
    last: int = -1
    seed: int = 0
    step: int = 0
    arena: Arena = field(default_factory=Arena)
    table: np.ndarray = field(init=False)

    def __post_init__(self):
        self.table = tile_table(self.dtype)

    def empty(self, shape) -> np.ndarray:
        """Return an uninitialised array from the arena."""
        return self.arena.empty(shape, self.dtype)

    def zeros(self, shape) -> np.ndarray:
        """Return an array of zeros from the arena."""
        array = self.arena.empty(shape, self.dtype)
        array[...] = 0
        return array

    def over(self, count: int, operations: float, job, scratch: int = 0) -> None:
        """Run ``job(first, last)`` over range(count) in as many threads as the operations are worth.

        With `scratch` it is ``job(first, last, array)``, an uninitialised array of so many numbers for each thread.
        """
        pieces = parallel.shares(count, operations, self.n_threads)
        own = [(self.empty((scratch,)),) if scratch else () for _ in pieces]
        self.run([functools.partial(job, *piece, *array) for piece, array in zip(pieces, own, strict=True)])

    def over_samples(self, layout: Layout, operations: float, job) -> None:
        """Run ``job(lo, hi)`` over the samples of a layout, cut by work."""
        pieces = max(1, min(self.n_threads, int(operations // parallel.GRAIN)))
        self.run([functools.partial(job, *piece) for piece in layout.cut(pieces)])

    def run(self, jobs) -> None:
        """Run all jobs, and return when they are done."""
        parallel.run(jobs)
