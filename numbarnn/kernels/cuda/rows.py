"""Rows shared among the threads of a block: how many a row gets, and what they find together."""

from numbarnn.kernels.cuda.launch import SIMULATED, THREADS, device, running

# Threads of a row at most, and the columns beyond which a whole block works on one row.
GROUP, WIDE = (2, 6) if SIMULATED else (32, 1024)
MOST_STEPS = 2 if SIMULATED else 65535  # that a grid has side by side


def shift_for(columns: int) -> int:
    """Return s so that 2**s neighbouring threads of a block of `THREADS` share a row of so many columns."""
    return (min(columns, GROUP if columns <= WIDE else THREADS) - 1).bit_length()


def row_blocks(rows: int, shift: int) -> int:
    """Return the blocks of `THREADS` that give every row its ``2**shift`` threads."""
    return -(-rows // (THREADS >> shift))


def step_blocks(steps: int, samples: int, shift: int) -> tuple[int, int]:
    """Return the grid (x, y) for samples among blocks x and steps ``range(y, steps, Y)``: no thread divides a row into both."""
    return row_blocks(samples, shift), min(steps, MOST_STEPS)


@device
def add_up(sums, thread, lane, lanes):
    """Set the first of every `lanes` neighbouring numbers to their sum, added as a tree; all threads of a block must call.

    sums : shared, a number for every thread; lane : of the thread within its group, whose size `lanes` is a power of two.
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
    """Set the first of every `lanes` neighbouring numbers to the largest of them; otherwise `add_up`."""
    half = lanes >> 1
    while half > 0:
        running.syncthreads()
        if lane < half:
            values[thread] = max(values[thread], values[thread + half])
        half >>= 1
    running.syncthreads()
