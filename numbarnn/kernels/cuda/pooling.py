"""Pooling: one row for the steps of each sample; rows of steps stand at ``(t * samples + n) * row``."""

from numba import cuda

from numbarnn.kernels.cuda.launch import THREADS, kernel
from numbarnn.kernels.cuda.rows import row_blocks, shift_for, step_blocks

MEAN, MAX, LAST = 0, 1, 2  # codes of the kinds


@kernel("x n n l n n x n l n")
def pool_steps(real):
    """Make the kernel of `pool`."""

    def pool_steps(x, x_row, samples, lengths, columns, kind, y, y_row, places, shift):
        """Set a number of y: a thread for each."""
        lanes = 1 << shift
        n = cuda.blockIdx.x * (THREADS >> shift) + (cuda.threadIdx.x >> shift)
        j = cuda.blockIdx.y * lanes + (cuda.threadIdx.x & (lanes - 1))
        if n < samples and j < columns:
            count, step = lengths[n], samples * x_row
            source = n * x_row + j
            result = real(0)
            if kind == MEAN:
                for t in range(count):
                    result += x[source + t * step]
                if count > 0:
                    result *= real(1) / real(count)
            elif kind == MAX:
                place = 0
                if count > 0:
                    result = x[source]
                for t in range(1, count):
                    value = x[source + t * step]
                    if value > result or (value != value and result == result):
                        result = value
                        place = t
                places[n * columns + j] = place
            elif count > 0:
                result = x[source + (count - 1) * step]
            y[n * y_row + j] = result

    return pool_steps


@kernel("x n n n l n n l x n n")
def spread_steps(real):
    """Make the kernel of `spread`."""

    def spread_steps(dy, dy_row, steps, samples, lengths, columns, kind, places, dx, dx_row, shift):
        """Set all rows of dx, ``2**shift`` threads each."""
        lanes = 1 << shift
        lane = cuda.threadIdx.x & (lanes - 1)
        n = cuda.blockIdx.x * (THREADS >> shift) + (cuda.threadIdx.x >> shift)
        if n < samples:
            count = lengths[n]
            share = real(1) / real(count) if kind == MEAN and count > 0 else real(1)
            for t in range(cuda.blockIdx.y, steps, cuda.gridDim.y):
                goal = (t * samples + n) * dx_row
                for j in range(lane, columns, lanes):
                    got = t < count
                    if kind == MAX:
                        got = got and t == places[n * columns + j]
                    elif kind == LAST:
                        got = t == count - 1
                    dx[goal + j] = dy[n * dy_row + j] * share if got else real(0)

    return spread_steps


def pool(x, x_row, samples, lengths, columns, kind, y, y_row, places=None):
    """Set y[n, :columns] to the mean, maximum or last of the steps of sample n; zeros where it has none.

    Parameters
    ----------
    x, y : Buffer
        Row (t, n) of x at ``(t * samples + n) * x_row``, row n of y at ``n * y_row``.
    lengths : Buffer
        (samples,) int64.
    places : Buffer or None
        (samples, columns) int64, of MAX alone: the step of each maximum, the first of several (NaN is above all numbers).
    """
    shift = shift_for(columns)
    blocks = row_blocks(samples, shift), -(-columns // (1 << shift))
    pool_steps(blocks, THREADS, x, x_row, samples, lengths, columns, kind, y, y_row, places, shift)


def spread(dy, dy_row, steps, samples, lengths, columns, kind, places, dx, dx_row):
    """Set the gradient dx of all rows (t, n) from that of the pooled ones; the arguments are those of `pool`."""
    shift = shift_for(columns)
    blocks = step_blocks(steps, samples, shift)
    spread_steps(blocks, THREADS, dy, dy_row, steps, samples, lengths, columns, kind, places, dx, dx_row, shift)
