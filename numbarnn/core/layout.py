"""Geometry of a batch: samples sorted by length, the steps at which each runs."""

import itertools
from dataclasses import dataclass, field

import numpy as np


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
    full : bool
        Whether every sample runs through all steps.
    running : int
        Number of rows that exist: the sum of the lengths.
    """

    steps: int
    samples: int
    lengths: np.ndarray
    active: np.ndarray
    order: np.ndarray | None = None
    full: bool = field(init=False)
    running: int = field(init=False)
    _flat: "Layout | None" = field(default=None, init=False, repr=False)

    def __post_init__(self):
        object.__setattr__(self, "full", self.order is None)
        # A sum takes longer than all else here, and most batches need none: where nothing was sorted, all are as long.
        running = self.steps * self.samples if self.full else int(self.lengths.sum())
        object.__setattr__(self, "running", running)

    @classmethod
    def make(cls, steps: int, samples: int, lengths: np.ndarray | None = None) -> "Layout":
        """Return the geometry of `samples` samples of `steps` steps or of the given lengths."""
        if lengths is None or (lengths.size and lengths.min() == steps):
            # `np.full` is slower than this: 0.6 us each, of the 25 that a call takes around its kernels.
            full, active = np.empty(samples, np.int64), np.empty(steps, np.int64)
            full.fill(steps)
            active.fill(samples)
            return cls(steps, samples, full, active)
        order = np.argsort(-lengths, kind="stable")
        lengths = np.ascontiguousarray(lengths[order], np.int64)
        # Samples longer than t: lengths fall, so count those beyond t from the back.
        active = samples - np.searchsorted(lengths[::-1], np.arange(steps), side="right")
        return cls(steps, samples, lengths, active.astype(np.int64), order)

    @property
    def begun(self) -> int:
        """Number of samples with a step at all, which come first."""
        return int(np.count_nonzero(self.lengths))

    @property
    def indices(self) -> np.ndarray:
        """The caller's indices of the sorted samples: `order`, or 0 to samples - 1 where nothing was sorted."""
        # Not a cached property: before Python 3.12 it has a lock, which a forked child may inherit shut.
        return np.arange(self.samples) if self.order is None else self.order

    def last(self) -> "Layout":
        """Return the geometry of one row per sample."""
        ones = np.ones(self.samples, np.int64)
        return Layout(1, self.samples, ones, np.full(1, self.samples, np.int64), self.order)

    def part(self, first: int, last: int) -> "Layout":
        """Return the geometry of the steps [first, last), with the samples in the same order."""
        lengths = np.clip(self.lengths - first, 0, last - first)
        return Layout(last - first, self.samples, lengths, self.active[first:last], self.order)

    def flat(self) -> "Layout":
        """Return a geometry with the same rows for work that ignores steps: one step of all rows where none is missing."""
        if not self.full:
            return self
        if self._flat is None:
            rows = self.steps * self.samples
            flat = Layout(1, rows, np.ones(rows, np.int64), np.full(1, rows, np.int64))
            object.__setattr__(self, "_flat", flat)
        return self._flat

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
