"""Activations, element by element, of rows and of single steps.

Indices are unsigned, or no loop vectorises (as in `numbarnn.kernels.cpu.losses`).
"""

import numpy as np

from numbarnn.kernels.activation import activate, slope
from numbarnn.kernels.compile import jit


@jit
def activate_columns(code, x, x_at, y, y_at, columns):
    """Set y[y_at + j] = f(x[x_at + j]) for j < columns."""
    for j in range(columns):
        y[np.uintp(y_at + j)] = activate(code, x[np.uintp(x_at + j)])


@jit
def activate_rows(code, x, y, row, columns, active, batch, lo, hi):
    """Set y[t, n, j] = f(x[t, n, j]) for the running rows with lo <= n < hi.

    x, y : 1-D, row (t, n) at ``(t * batch + n) * row``; two arrays, or the loop does not vectorise.
    """
    for t in range(active.size):
        for n in range(lo, min(active[t], hi)):
            at = (t * batch + n) * row
            activate_columns(code, x, at, y, at, columns)


@jit
def slope_rows(code, y, dy, dx, row, columns, active, batch, lo, hi):
    """Set dx[t, n, j] = dy[t, n, j] f'(x), in terms of y = f(x), for the running rows with lo <= n < hi; rows as above."""
    for t in range(active.size):
        for n in range(lo, min(active[t], hi)):
            at = (t * batch + n) * row
            for j in range(np.uintp(at), np.uintp(at + columns)):
                dx[j] = dy[j] * slope(code, y[j])
