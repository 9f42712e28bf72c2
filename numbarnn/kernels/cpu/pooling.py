"""Pooling: one row for a run of rows at equal distances, such as the steps of a sample or of a segment of it.

Where indices are unsigned, loops would not vectorise otherwise (as in `numbarnn.kernels.cpu.losses`).
"""

import numpy as np

from numbarnn.kernels.compile import jit

MEAN, MAX, LAST = 0, 1, 2  # codes of the kinds


@jit
def pool(x, starts, step, counts, columns, kind, y, y_row, winners, lo, hi):
    """Set y[i, :columns] to the mean, maximum or last of the rows of run i for lo <= i < hi, and the padding to zero.

    x : 1-D, row k of run i at ``starts[i] + k * step``; counts : rows of each run, a run of none gives zeros; y : 1-D, row i at
    ``i * y_row``; winners : (runs * columns,) int64, out, of MAX: the row of each maximum, the first of several (NaN
    is above all numbers); of the other kinds empty.
    """
    for i in range(lo, hi):
        dst, count = i * y_row, counts[i]
        for j in range(y_row):
            y[dst + j] = 0
        if count == 0:
            continue
        if kind == MEAN:
            for k in range(count):
                source = starts[i] + k * step
                for j in range(columns):
                    y[np.uintp(dst + j)] += x[np.uintp(source + j)]
            share = y.dtype.type(1) / y.dtype.type(count)
            for j in range(columns):
                y[dst + j] *= share
        elif kind == MAX:
            for j in range(columns):
                y[dst + j] = x[starts[i] + j]
                winners[i * columns + j] = 0
            for k in range(1, count):
                source = starts[i] + k * step
                for j in range(columns):
                    value, best = x[source + j], y[dst + j]
                    if value > best or (value != value and best == best):
                        y[dst + j] = value
                        winners[i * columns + j] = k
        else:
            source = starts[i] + (count - 1) * step
            for j in range(columns):
                y[dst + j] = x[source + j]


@jit
def spread(dy, dy_row, starts, step, counts, columns, kind, winners, dx, lo, hi):
    """Set the gradient of the rows of run i from that of its pooled row, for lo <= i < hi; dx holds zeros, and runs share no row.

    The arguments are those of `pool`, with dx instead of x.
    """
    for i in range(lo, hi):
        source, count = i * dy_row, counts[i]
        if count == 0:
            continue
        if kind == MEAN:
            share = dx.dtype.type(1) / dx.dtype.type(count)
            for k in range(count):
                dst = starts[i] + k * step
                for j in range(columns):
                    dx[np.uintp(dst + j)] = dy[np.uintp(source + j)] * share
        elif kind == MAX:
            for j in range(columns):
                dx[starts[i] + winners[i * columns + j] * step + j] = dy[source + j]
        else:
            dst = starts[i] + (count - 1) * step
            for j in range(columns):
                dx[dst + j] = dy[source + j]
