"""Pooling: one row for a run of rows at equal distances: the steps of a sample, or of a segment of one."""

from typing import NamedTuple

from numba import cuda

from numbarnn.kernels.cuda.groups import SpacedRows
from numbarnn.kernels.cuda.launch import THREADS, Integers64, Values, kernel
from numbarnn.kernels.cuda.reduce import row_blocks, shift_for, step_blocks

MEAN, MAX, LAST = 0, 1, 2  # codes of the kinds


class RowRuns(NamedTuple):
    """The runs of rows that are pooled, or the gradient of them.

    Attributes
    ----------
    values : row t of run n at ``starts[n] + t * step`` where runs are listed, else at ``n * row + t * step``
    row, step : distances
    starts : (count,) offsets, where `listed`
    listed : whether runs are anywhere, not the steps of all samples
    lengths : (count,) rows of each run
    count : runs
    """

    values: Values
    row: int
    step: int
    starts: Integers64
    listed: bool
    lengths: Integers64
    count: int


@kernel(RowRuns, "n n", SpacedRows, "l n")
def pool_steps(real):
    """Make the kernel of `pool`."""

    def pool_steps(x, columns, kind, y, indices, shift):
        """Set a value of y: a thread for each."""
        x_values, x_row, step, starts, listed, lengths, samples = x
        y_values, y_row, _ = y
        lanes = 1 << shift
        n = cuda.blockIdx.x * (THREADS >> shift) + (cuda.threadIdx.x >> shift)
        j = cuda.blockIdx.y * lanes + (cuda.threadIdx.x & (lanes - 1))
        if n < samples and j < columns:
            count = lengths[n]
            src = (starts[n] if listed else n * x_row) + j
            result = real(0)
            if kind == MEAN:
                for t in range(count):
                    result += x_values[src + t * step]
                if count > 0:
                    result *= real(1) / real(count)
            elif kind == MAX:
                index = 0
                if count > 0:
                    result = x_values[src]
                for t in range(1, count):
                    value = x_values[src + t * step]
                    if value > result or (value != value and result == result):
                        result = value
                        index = t
                indices[n * columns + j] = index
            elif count > 0:
                result = x_values[src + (count - 1) * step]
            y_values[n * y_row + j] = result

    return pool_steps


@kernel(SpacedRows, "n", RowRuns, "n n l n")
def spread_steps(real):
    """Make the kernel of `spread`."""

    def spread_steps(dy, steps, dx, columns, kind, indices, shift):
        """Set all rows of dx, or where runs are listed theirs alone, ``2**shift`` threads each."""
        dy_values, dy_row, _ = dy
        dx_values, dx_row, step, starts, listed, lengths, samples = dx
        lanes = 1 << shift
        lane = cuda.threadIdx.x & (lanes - 1)
        n = cuda.blockIdx.x * (THREADS >> shift) + (cuda.threadIdx.x >> shift)
        if n < samples:
            count = lengths[n]
            share = real(1) / real(count) if kind == MEAN and count > 0 else real(1)
            for t in range(cuda.blockIdx.y, count if listed else steps, cuda.gridDim.y):
                dst = (starts[n] if listed else n * dx_row) + t * step
                for j in range(lane, columns, lanes):
                    got = t < count
                    if kind == MAX:
                        got = got and t == indices[n * columns + j]
                    elif kind == LAST:
                        got = t == count - 1
                    dx_values[dst + j] = dy_values[n * dy_row + j] * share if got else real(0)

    return spread_steps


def all_steps(values, row, batch):
    """Return the `RowRuns` of the samples of a batch (`Sequences`), with step t of sample n in row ``t * samples + n``."""
    return RowRuns(values, row, batch.samples * row, None, False, batch.lengths, batch.samples)


def pool(x, columns, kind, y, indices=None):
    """Set y[n, :columns] to the mean, maximum or last of the rows of run n; zeros where it has none.

    Parameters
    ----------
    x : RowRuns
    y : SpacedRows
    indices : Buffer or None
        (runs, columns) int64, of MAX alone: the step of each maximum, the first of several (NaN is above all values).
    """
    shift = shift_for(columns)
    blocks = row_blocks(x.count, shift), -(-columns // (1 << shift))
    pool_steps(blocks, THREADS, x, columns, kind, y, indices, shift)


def spread(dy, steps, dx, columns, kind, indices=None):
    """Set the gradient dx (`RowRuns`) of all rows, or of listed runs those of the runs, from that of the pooled ones.

    `steps` is the largest of the lengths, or more; the other arguments are those of `pool`.
    """
    shift = shift_for(columns)
    spread_steps(step_blocks(steps, dx.count, shift), THREADS, dy, steps, dx, columns, kind, indices, shift)
