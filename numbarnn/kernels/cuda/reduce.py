"""Reductions: the threads of a block over shared memory, rows among those threads, and sums of long arrays in two launches.

The order of a sum follows from the count alone.
"""

from numba import cuda

from numbarnn.kernels.cuda.launch import SIMULATED, THREADS, device, kernel, running

# Threads of a row at most, and the columns beyond which a whole block works on one row.
GROUP, WIDE = (2, 6) if SIMULATED else (32, 1024)
MOST_STEPS = 2 if SIMULATED else 65535  # that a grid has side by side
# Values that a block adds at least, and parts of a sum at most: one block adds those.
PART, MOST_PARTS = (16, 8) if SIMULATED else (2048, 1024)
VALUES, SQUARED_DIFFERENCES, SQUARES = 0, 1, 2  # what is summed


def shift_for(columns: int) -> int:
    """Return s so that 2**s neighbouring threads of a block of `THREADS` share a row of that many columns."""
    return (min(columns, GROUP if columns <= WIDE else THREADS) - 1).bit_length()


def row_blocks(rows: int, shift: int) -> int:
    """Return the blocks of `THREADS` that give every row its ``2**shift`` threads."""
    return -(-rows // (THREADS >> shift))


def step_blocks(steps: int, samples: int, shift: int) -> tuple[int, int]:
    """Return the grid (x, y) for samples among blocks x and steps ``range(y, steps, Y)``: no thread divides a row into both."""
    return row_blocks(samples, shift), min(steps, MOST_STEPS)


@device
def add_up(sums, thread, lane, lanes):
    """Set the first of every `lanes` neighbouring values to their sum, added as a tree; all threads of a block must call.

    sums : shared, a value for every thread; lane : of the thread within its group, whose size `lanes` is a power of two.
    """
    half = lanes >> 1
    while half > 0:
        running.syncthreads()
        if lane < half:
            sums[thread] += sums[thread + half]
        half >>= 1
    running.syncthreads()


@device
def find_largest(values, thread, lane, lanes):
    """Set the first of every `lanes` neighbouring values to the largest of them; otherwise `add_up`."""
    half = lanes >> 1
    while half > 0:
        running.syncthreads()
        if lane < half:
            values[thread] = max(values[thread], values[thread + half])
        half >>= 1
    running.syncthreads()


@kernel("x x n n n x")
def sum_parts(real):
    """Make the kernel of the sums of parts of an array."""

    def sum_parts(values, others, count, part, what, sums):
        """Set sums[y * X + x] to a sum over the x-th `part` values of `count`, for the blocks (x, y) of (X, Y).

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
