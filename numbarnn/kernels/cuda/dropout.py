"""Dropout with the masks of `numbarnn.kernels.cpu.dropout`, bit for bit, computed again where they are needed."""

from typing import NamedTuple

from numba import cuda
from numba.types import uint64

from numbarnn.kernels.cuda.groups import Sequences, SpacedRows
from numbarnn.kernels.cuda.launch import THREADS, Unsigned, kernel
from numbarnn.kernels.cuda.reduce import shift_for, step_blocks
from numbarnn.kernels.random import philox

_LOW = 0xFFFFFFFF


class MaskCounter(NamedTuple):
    """What a mask is computed from, beside the position of a value.

    Attributes
    ----------
    threshold : 32 random bits below it drop a value
    word : of the counter: what tells the streams of one step apart
    key_0, key_1 : of the generator: seed and step
    scale : of the values that stay
    varies : whether every step has a mask of its own, instead of the first step's
    """

    threshold: Unsigned
    word: Unsigned
    key_0: Unsigned
    key_1: Unsigned
    scale: float
    varies: bool


@kernel(SpacedRows, SpacedRows, "n", Sequences, MaskCounter, "n")
def drop_rows(real):
    """Make the kernel of `dropout`."""

    def drop_rows(x, y, columns, batch, mask, shift):
        """Set y[t, n] = x[t, n] times its mask, zeros past the running samples; a thread has the four columns of a counter."""
        x_values, x_row, _ = x
        y_values, y_row, _ = y
        order, _, active, samples, steps = batch
        threshold, word, key_0, key_1, scale, varies = mask
        zero = real(0)
        lanes = 1 << shift
        lane = cuda.threadIdx.x & (lanes - 1)
        n = cuda.blockIdx.x * (THREADS >> shift) + (cuda.threadIdx.x >> shift)
        if n < samples:
            own = uint64(order[n])
            for t in range(cuda.blockIdx.y, steps, cuda.gridDim.y):
                own_step = uint64(t if varies else 0)
                src, dst = (t * samples + n) * x_row, (t * samples + n) * y_row
                if n < active[t]:
                    for j in range(4 * lane, columns, 4 * lanes):
                        a, b, c, d = philox(uint64(j >> 2), own_step, own, word, key_0, key_1)
                        y_values[dst + j] = x_values[src + j] * (scale if a >= threshold else zero)
                        if j + 1 < columns:
                            y_values[dst + j + 1] = x_values[src + j + 1] * (scale if b >= threshold else zero)
                        if j + 2 < columns:
                            y_values[dst + j + 2] = x_values[src + j + 2] * (scale if c >= threshold else zero)
                        if j + 3 < columns:
                            y_values[dst + j + 3] = x_values[src + j + 3] * (scale if d >= threshold else zero)
                else:
                    for j in range(lane, columns, lanes):
                        y_values[dst + j] = zero

    return drop_rows


def dropout(x, y, columns, batch, rate, seed, step, stream, same_over_time=False):
    """Set y[t, n, j] = x[t, n, j] m / (1 - rate), m = 0 with probability `rate`; rows of samples that have ended become zero.

    The same call on the gradient of y gives the gradient of x. m depends on (seed, step, stream, the caller's sample, t, j) alone,
    and with `same_over_time` it is that of t = 0 at all steps.

    Parameters
    ----------
    x, y : SpacedRows
        Row (t, n) is row ``t * samples + n``; may be one.
    batch : Sequences
    """
    shift = shift_for(-(-columns // 4))
    threshold, word = int(rate * 4294967296.0), stream ^ (seed >> 32)
    mask = MaskCounter(threshold, word, seed & _LOW, step & _LOW, 1.0 / (1.0 - rate), not same_over_time)
    drop_rows(step_blocks(batch.steps, batch.samples, shift), THREADS, x, y, columns, batch, mask, shift)
