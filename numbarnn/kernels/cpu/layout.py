"""The one place where samples first becomes time first, and back.

NumPy assigns a transposed array row by row through its general iterator, 280 ns a row; here it is a copy.
"""

from numbarnn.kernels.compile import jit

# Samples that are copied side by side, so that pages of memory on either side are not visited for one row.
TOGETHER = 16


@jit
def to_time_major(x, samples, steps, columns, order, rows, width):
    """Set rows[t, i, :columns] = x[order[i], t] and the padding to zero.

    x : (samples * steps * columns,), in; order : (samples,), in; rows : (steps * samples * width,), out.
    """
    for first in range(0, samples, TOGETHER):
        for t in range(steps):
            for i in range(first, min(first + TOGETHER, samples)):
                source, goal = (order[i] * steps + t) * columns, (t * samples + i) * width
                for j in range(columns):
                    rows[goal + j] = x[source + j]
                for j in range(columns, width):
                    rows[goal + j] = 0


@jit
def to_sample_major(rows, width, samples, steps, columns, order, lengths, x):
    """Set x[order[i], t] = rows[t, i, :columns], zero from step lengths[i] on; the inverse of `to_time_major`."""
    for first in range(0, samples, TOGETHER):
        for t in range(steps):
            for i in range(first, min(first + TOGETHER, samples)):
                source, goal = (t * samples + i) * width, (order[i] * steps + t) * columns
                if t < lengths[i]:
                    for j in range(columns):
                        x[goal + j] = rows[source + j]
                else:
                    for j in range(columns):
                        x[goal + j] = 0
