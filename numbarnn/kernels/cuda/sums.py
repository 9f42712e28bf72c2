"""Sums of long arrays in two launches, in an order that the count alone decides."""

from numba import cuda

from numbarnn.kernels.cuda.launch import SIMULATED, THREADS, kernel
from numbarnn.kernels.cuda.rows import add_up

# Numbers that a block adds at least, and parts of a sum at most: one block adds those.
PART, MOST_PARTS = (16, 8) if SIMULATED else (2048, 1024)
VALUES, SQUARED_DIFFERENCES, SQUARES = 0, 1, 2  # what is summed


@kernel("x x n n n x")
def sum_parts(real):
    """Make the kernel of the sums of parts of an array."""

    def sum_parts(values, others, count, part, what, sums):
        """Set sums[y * X + x] to a sum over the x-th `part` numbers of `count`, for the blocks (x, y) of (X, Y).

        ``what + y`` says of which: the values, ``(others - values)**2``, or the squares of the values.
        """
        partial = cuda.shared.array(THREADS, real)
        thread = cuda.threadIdx.x
        own = what + cuda.blockIdx.y
        total = real(0)
        for i in range(cuda.blockIdx.x * part + thread, min(count, (cuda.blockIdx.x + 1) * part), THREADS):
            value = values[i]
            if own == SQUARED_DIFFERENCES:
                value -= others[i]
            total += value if own == VALUES else value * value
        partial[thread] = total
        add_up(partial, thread, thread, THREADS)
        if thread == 0:
            sums[cuda.blockIdx.y * cuda.gridDim.x + cuda.blockIdx.x] = partial[0]

    return sum_parts


def summed(arena, what, values, count, others=None, sums=1):
    """Return a buffer with the sum of what `what` says, and with those of what the next codes say if `sums` is above 1."""
    parts = max(1, min(MOST_PARTS, -(-count // PART)))
    part = -(-count // parts)
    partial = arena.empty(parts * sums, values.dtype)
    sum_parts((parts, sums), THREADS, values, others, count, part, what, partial)
    if parts == 1:
        return partial
    result = arena.empty(sums, values.dtype)
    sum_parts((sums, 1), THREADS, partial, None, parts * sums, parts, VALUES, result)
    return result
