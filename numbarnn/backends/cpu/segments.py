"""What the gradients of a batch are carried in where a pass goes through its steps by segments (`numbarnn.network.segments`)."""

from dataclasses import dataclass, field

import numpy as np

from numbarnn.core.layout import Layout
from numbarnn.kernels.cpu.memory import empty, zeros
from numbarnn.kernels.cpu.weight_gradient import SPAN, RowRange

AVAILABLE = True


@dataclass
class Sum:
    """A gradient that is summed over the segments of a batch, the last of them first.

    Attributes
    ----------
    memory : array or None
        What it is summed in.
    begun : bool
        Whether there is something in it.
    pending : tuple of arrays or None
        The first rows of the segment before, fewer than SPAN, whose block begins in a segment that is yet to come.
    """

    memory: np.ndarray | None = None
    begun: bool = False
    pending: tuple | None = None


@dataclass
class Segment:
    """The segment that a pass is at.

    Attributes
    ----------
    first_step, first_row : int
        Steps, and running rows, of the batch before the segment.
    """

    first_step: int = 0
    first_row: int = 0
    _sums: list = field(default_factory=list)
    _next: int = 0

    def enter(self, first_step: int, first_row: int) -> None:
        """Go to a segment; every one asks for the same sums in the same order."""
        self.first_step, self.first_row, self._next = first_step, first_row, 0

    def sum(self) -> Sum:
        """Return the next sum."""
        if self._next == len(self._sums):
            self._sums.append(Sum())
        self._next += 1
        return self._sums[self._next - 1]


def sum_of(call) -> Sum:
    """Return the sum that a gradient is made in: one that goes on where the pass goes by segments."""
    return Sum() if call.segment is None else call.segment.sum()


def sum_memory(call, own: Sum, size: int) -> np.ndarray:
    """Return the uninitialised memory that a sum is made in."""
    if call.segment is None:
        return call.vector(size)
    if own.memory is None:
        own.memory = empty((size,), call.dtype)
    return own.memory


def running_sum(call, shape) -> np.ndarray:
    """Return an array of zeros, or what the segment before left in it."""
    if call.segment is None:
        return call.zeros(shape)
    own = call.segment.sum()
    if own.memory is None:
        own.memory = zeros(shape, call.dtype)
    return own.memory


def over_blocks(call, layout: Layout, own: Sum, take, run) -> None:
    """Sum over all running rows in blocks of SPAN rows of the batch, from the last block to the first.

    Parameters
    ----------
    take : callable
        ``take(t, n)`` returns a tuple of arrays with copies of those rows along their first axis.
    run : callable
        ``run(taken, active, samples, rows)`` sums over `rows`, a `RowRange`, of the arrays of `take`, or of the segment's (None).
    """
    if call.segment is None:
        run(None, layout.active, layout.samples, RowRange(0, layout.running, True, True))
        return
    before, count, pending = call.segment.first_row, layout.running, own.pending
    head = -before % SPAN  # rows whose block begins in an earlier segment
    if before > 0 and head >= count:
        if count > 0:
            taken = take(*_positions(layout, 0, count))
            own.pending = taken if pending is None else _joined(taken, pending)
        return
    tail = 0 if pending is None else (before + count) % SPAN
    if pending is not None:
        block = _joined(take(*_positions(layout, count - tail, count)), pending)
        size = len(block[0])
        used = call.arena.used
        run(block, np.full(1, size, np.int64), size, RowRange(0, size, not own.begun, False))
        call.arena.used = used  # its scratch is free again
        own.begun, own.pending = True, None
        block = pending = None  # before others are copied
    run(None, layout.active, layout.samples, RowRange(head, count - tail, not own.begun, call.segment.first_step == 0))
    own.begun = True
    own.pending = take(*_positions(layout, 0, head)) if head else None


def _positions(layout, first, last):
    """Return the (t, n) of some running rows."""
    rows = np.arange(first, last)
    if layout.full:
        return np.divmod(rows, layout.samples)
    ends = np.cumsum(layout.active)
    t = np.searchsorted(ends, rows, side="right")
    return t, rows - (ends[t] - layout.active[t])


def _joined(*parts):
    return tuple(np.concatenate(arrays) for arrays in zip(*parts, strict=True))
