"""What a pass through a model carries on a device: `numbarnn.backends.cpu.batch` for buffers."""

from dataclasses import dataclass, field, replace

import numpy as np

from numbarnn.core.layout import Layout
from numbarnn.kernels.cuda import layout as kernels
from numbarnn.kernels.cuda.memory import Arena, Buffer


@dataclass(frozen=True)
class Rows:
    """Activations of a batch: a row for every (step, sample), without padding.

    Attributes
    ----------
    values : Buffer
        (rows, size) numbers, or (rows,) or (rows, bag) int32 tokens.
    size : int
        Columns, or the size of the vocabulary.
    count : int
        Rows.
    tokens : bool
    bag : int
        Tokens a row; 0: one, without an axis of its own.
    """

    values: Buffer
    size: int
    count: int
    tokens: bool = False
    bag: int = 0


@dataclass(frozen=True)
class Geometry:
    """A `Layout` with its arrays on the device: lengths, the caller's index of each sample, and samples running at each step."""

    host: Layout
    lengths: Buffer
    order: Buffer
    active: Buffer

    @classmethod
    def make(cls, layout: Layout, arena: Arena) -> "Geometry":
        """Return the geometry of a host's layout, with memory of an arena."""
        whole = np.concatenate([layout.lengths, layout.places, layout.active]).astype(np.int64)
        buffer, n = arena.empty(whole.size, np.int64).set(whole), layout.samples  # one copy, not three
        return cls(layout, buffer.part(0, n), buffer.part(n, n), buffer.part(2 * n, layout.steps))

    def last(self, arena: Arena) -> "Geometry":
        """Return the geometry of one row a sample."""
        return replace(Geometry.make(self.host.last(), arena), order=self.order)

    @property
    def steps(self) -> int:
        """Time steps."""
        return self.host.steps

    @property
    def samples(self) -> int:
        """Samples."""
        return self.host.samples

    @property
    def full(self) -> bool:
        """Whether every sample runs through all steps."""
        return self.host.full

    @property
    def ended(self) -> tuple:
        """(active, samples) where rows of ended samples are to become zero, else (None, 0)."""
        return (None, 0) if self.full else (self.active, self.samples)

    @property
    def rows(self) -> int:
        """Rows, those past the lengths included."""
        return self.steps * self.samples


@dataclass
class Call:
    """One pass through a model; see `numbarnn.backends.cpu.batch.Call`."""

    dtype: np.dtype
    keep: bool = False
    training: bool = False
    seed: int = 0
    step: int = 0
    arena: Arena = field(default_factory=Arena)

    def empty(self, size: int, dtype=None) -> Buffer:
        """Return an uninitialised buffer from the arena."""
        return self.arena.empty(size, self.dtype if dtype is None else dtype)

    def zeros(self, size: int) -> Buffer:
        """Return a buffer of zeros from the arena."""
        buffer = self.empty(size)
        kernels.fill(buffer, 0.0)
        return buffer
