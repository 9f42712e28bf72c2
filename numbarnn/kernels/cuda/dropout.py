"""Dropout with the masks of `numbarnn.kernels.cpu.dropout`, bit for bit, computed again where they are needed."""

from numba import cuda
from numba.types import uint64

from numbarnn.kernels.cuda.launch import THREADS, kernel
from numbarnn.kernels.cuda.reduce import shift_for, step_blocks
from numbarnn.kernels.random import philox

_LOW = 0xFFFFFFFF


@kernel("x n x n n l n n l q q q q r n")
def drop_rows(real):
    """Make the kernel of `dropout`."""

    def drop_rows(
        x, x_row, y, y_row, columns, rows_of, steps, samples, active, threshold, word, key_0, key_1, scale, shift
    ):
        """Set y[t, n] = x[t, n] times its mask, zeros past the running samples; a thread has the four columns of a counter."""
        zero = real(0)
        lanes = 1 << shift
        lane = cuda.threadIdx.x & (lanes - 1)
        n = cuda.blockIdx.x * (THREADS >> shift) + (cuda.threadIdx.x >> shift)
        if n < samples:
            own = uint64(rows_of[n])
            for t in range(cuda.blockIdx.y, steps, cuda.gridDim.y):
                src, dst = (t * samples + n) * x_row, (t * samples + n) * y_row
                if n < active[t]:
                    for j in range(4 * lane, columns, 4 * lanes):
                        a, b, c, d = philox(uint64(j >> 2), uint64(t), own, word, key_0, key_1)
                        y[dst + j] = x[src + j] * (scale if a >= threshold else zero)
                        if j + 1 < columns:
                            y[dst + j + 1] = x[src + j + 1] * (scale if b >= threshold else zero)
                        if j + 2 < columns:
                            y[dst + j + 2] = x[src + j + 2] * (scale if c >= threshold else zero)
                        if j + 3 < columns:
                            y[dst + j + 3] = x[src + j + 3] * (scale if d >= threshold else zero)
                else:
                    for j in range(lane, columns, lanes):
                        y[dst + j] = zero

    return drop_rows


def dropout(x, x_row, y, y_row, columns, rows_of, steps, samples, active, rate, seed, step, stream):
    """Set y[t, n, j] = x[t, n, j] m / (1 - rate), m = 0 with probability `rate`; rows of samples that have ended become zero.

    The same call on the gradient of y gives the gradient of x. m depends on (seed, step, stream, the caller's sample, t, j) alone.

    Parameters
    ----------
    x, y : Buffer
        Row (t, n) at ``(t * samples + n) * row``; may be one.
    rows_of : Buffer
        (samples,) int64, the caller's index of sample n.
    active : Buffer
        (steps,) int64, samples that run at each step.
    """
    shift = shift_for(-(-columns // 4))
    drop_rows(
        step_blocks(steps, samples, shift), THREADS, x, x_row, y, y_row, columns, rows_of, steps, samples, active,
        int(rate * 4294967296.0), stream ^ (seed >> 32), seed & _LOW, step & _LOW, 1.0 / (1.0 - rate), shift,
    )  # fmt: skip
