"""Pooling: one row for a run of rows at equal distances: the steps of a sample, or of a segment of one."""

from numba import cuda

from numbarnn.kernels.cuda.launch import THREADS, kernel
from numbarnn.kernels.cuda.reduce import row_blocks, shift_for, step_blocks

MEAN, MAX, LAST = 0, 1, 2  # codes of the kinds


@kernel("x n l n n n l n n x n l n")
def pool_steps(real):
    """Make the kernel of `pool`."""

    def pool_steps(x, x_row, starts, listed, step, samples, lengths, columns, kind, y, y_row, indices, shift):
        """Set a value of y: a thread for each."""
        lanes = 1 << shift
        n = cuda.blockIdx.x * (THREADS >> shift) + (cuda.threadIdx.x >> shift)
        j = cuda.blockIdx.y * lanes + (cuda.threadIdx.x & (lanes - 1))
        if n < samples and j < columns:
            count = lengths[n]
            src = (starts[n] if listed else n * x_row) + j
            result = real(0)
            if kind == MEAN:
                for t in range(count):
                    result += x[src + t * step]
                if count > 0:
                    result *= real(1) / real(count)
            elif kind == MAX:
                index = 0
                if count > 0:
                    result = x[src]
                for t in range(1, count):
                    value = x[src + t * step]
                    if value > result or (value != value and result == result):
                        result = value
                        index = t
                indices[n * columns + j] = index
            elif count > 0:
                result = x[src + (count - 1) * step]
            y[n * y_row + j] = result

    return pool_steps


@kernel("x n n l n n n l n n l x n n")
def spread_steps(real):
    """Make the kernel of `spread`."""

    def spread_steps(
        dy, dy_row, steps, starts, listed, step, samples, lengths, columns, kind, indices, dx, dx_row, shift
    ):
        """Set all rows of dx, or where runs are listed theirs alone, ``2**shift`` threads each."""
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
                    dx[dst + j] = dy[n * dy_row + j] * share if got else real(0)

    return spread_steps


def pool(x, x_row, samples, lengths, columns, kind, y, y_row, indices=None, starts=None, step=None):
    """Set y[n, :columns] to the mean, maximum or last of the rows of run n; zeros where it has none.

    Parameters
    ----------
    x, y : Buffer
        Row t of run n of x at ``starts[n] + t * step``, row n of y at ``n * y_row``.
    lengths : Buffer
        (samples,) int64: rows of each run.
    starts : Buffer or None
        (samples,) int64; None: the runs are the samples, with row t at ``(t * samples + n) * x_row``.
    indices : Buffer or None
        (samples, columns) int64, of MAX alone: the step of each maximum, the first of several (NaN is above all values).
    """
    shift = shift_for(columns)
    blocks = row_blocks(samples, shift), -(-columns // (1 << shift))
    step = samples * x_row if starts is None else step
    pool_steps(
        blocks, THREADS, x, x_row, starts, int(starts is not None), step, samples, lengths, columns, kind, y, y_row, indices, shift
    )  # fmt: skip


def spread(dy, dy_row, steps, samples, lengths, columns, kind, indices, dx, dx_row, starts=None, step=None):
    """Set the gradient dx of all rows, or with `starts` of those of the runs, from that of the pooled ones.

    `steps` is the largest of the lengths, or more; the other arguments are those of `pool`.
    """
    shift = shift_for(columns)
    blocks = step_blocks(steps, samples, shift)
    step = samples * dx_row if starts is None else step
    spread_steps(
        blocks, THREADS, dy, dy_row, steps, starts, int(starts is not None), step, samples, lengths, columns, kind, indices, dx,
        dx_row, shift,
    )  # fmt: skip
