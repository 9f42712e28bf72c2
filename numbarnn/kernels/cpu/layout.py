"""Batches from samples first to time first, and back; nothing else transposes one.

NumPy assigns a transposed array row by row through its general iterator, 280 ns a row; here it is a copy.
"""

from numbarnn.kernels.compile import jit
from numbarnn.kernels.cpu.matmul import copy
from numbarnn.kernels.cpu.simd import copy_row, panel_of

# Samples that are copied side by side, so that pages of memory on either side are not visited for one row.
TOGETHER = 16


@jit
def to_time_major(x, samples, steps, columns, order, rows, width, lo, hi):
    """Set rows[t, i, :columns] = x[order[i], t] and the padding to any values of x or zero, for lo <= i < hi.

    x : (samples * steps * columns,), in; order : (samples,), in; rows : (steps * samples * width,), out.
    """
    w = panel_of(rows)
    for first in range(lo, hi, TOGETHER):
        for t in range(steps):
            for i in range(first, min(first + TOGETHER, hi)):
                source, dst = (order[i] * steps + t) * columns, (t * samples + i) * width
                if source + width <= x.size:
                    # Whole panels, with what follows in x as padding: 2 ns instead of 18 for a row of 14 values.
                    for j in range(0, width, w):
                        copy_row(x, source + j, rows, dst + j)
                    continue
                copy(x, source, rows, dst, columns)
                for j in range(columns, width):
                    rows[dst + j] = 0


@jit
def to_sample_major(rows, width, samples, steps, columns, order, lengths, x, lo, hi):
    """Set x[order[i], t] = rows[t, i, :columns], zero from step lengths[i] on; the inverse of `to_time_major`."""
    for first in range(lo, hi, TOGETHER):
        for t in range(steps):
            for i in range(first, min(first + TOGETHER, hi)):
                source, dst = (t * samples + i) * width, (order[i] * steps + t) * columns
                if t < lengths[i]:
                    copy(rows, source, x, dst, columns)
                else:
                    for j in range(columns):
                        x[dst + j] = 0
