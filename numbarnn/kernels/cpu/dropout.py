"""Dropout with masks that are computed again where they are needed, never stored."""

import numpy as np

from numbarnn.kernels.compile import jit
from numbarnn.kernels.random import philox


@jit
def dropout(x, y, row, columns, sample_of, active, rate, seed, step, stream, first, samples):
    """Set y[t, n, j] = x[t, n, j] m / (1 - rate), m = 0 with probability `rate`, for running rows with lo <= n < hi.

    The same call on the gradient of y gives the gradient of x. m depends on (seed, step, stream, the caller's sample,
    first + t, j) alone.

    first : time step of t = 0 in its sequence; samples : (lo, hi)
    x, y : 1-D, row (t, n) at ``(t * N + n) * row``, may be one array; sample_of : (N,) the caller's index of sample n.
    """
    lo, hi = samples
    key_0, key_1 = np.uint64(seed) & np.uint64(0xFFFFFFFF), np.uint64(step) & np.uint64(0xFFFFFFFF)
    high = np.uint64(seed) >> np.uint64(32)
    threshold = np.uint64(rate * 4294967296.0)
    scale = y.dtype.type(1.0 / (1.0 - rate))
    zero = y.dtype.type(0)
    for t in range(active.size):
        for n in range(lo, min(active[t], hi)):
            at = (t * sample_of.size + n) * row
            for block in range((columns + 3) // 4):
                bits = philox(
                    np.uint64(block),
                    np.uint64(first + t),
                    np.uint64(sample_of[n]),
                    np.uint64(stream) ^ high,
                    key_0,
                    key_1,
                )
                for k in range(4):
                    j = 4 * block + k
                    if j < columns:
                        y[at + j] = x[at + j] * (scale if bits[k] >= threshold else zero)


@jit
def mask_rows(x, y, mask, row, columns, active, batch, lo, hi):
    """Set y[t, n, j] = x[t, n, j] mask[n, j] for running rows with lo <= n < hi.

    x, y : 1-D, row (t, n) at ``(t * batch + n) * row``; mask : 1-D, row n at ``n * row``.
    """
    for t in range(active.size):
        for n in range(lo, min(active[t], hi)):
            at, factor = (t * batch + n) * row, n * row
            for j in range(columns):
                y[at + j] = x[at + j] * mask[factor + j]
