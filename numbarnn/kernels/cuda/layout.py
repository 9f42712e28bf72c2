"""Rows and arrays as they are: filled, copied, moved between the caller's order and that of the batch."""

from numba import cuda

from numbarnn.kernels.cuda.launch import SIMULATED, THREADS, WARP, blocks_for, kernel

MOST_ROWS = 2 if SIMULATED else 65535  # blocks along y


def grid_of(rows: int, columns: int) -> tuple:
    """Return (blocks, threads) for loops over rows by ``blockIdx.y`` and over columns by ``cuda.grid(1)``: no division."""
    threads = min(THREADS, -(-columns // WARP) * WARP)
    return (-(-columns // threads), min(rows, MOST_ROWS)), threads


@kernel("x n r")
def fill_values(real):
    """Make the kernel that sets all values to one."""

    def fill_values(values, count, number):
        for i in range(cuda.grid(1), count, cuda.gridsize(1)):
            values[i] = number

    return fill_values


def fill(values, number: float) -> None:
    """Set all values of a buffer to one."""
    if values.size:
        fill_values(blocks_for(values.size), THREADS, values, values.size, number)


@kernel("x x n n n n")
def fill_rows(real):
    """Make the kernel that sets columns of all rows to the same values."""

    def fill_rows(entries, values, row, rows, columns, given):
        """Set values[r * row + j] to entries[j], or to zero without."""
        for r in range(cuda.blockIdx.y, rows, cuda.gridDim.y):
            for j in range(cuda.grid(1), columns, cuda.gridsize(1)):
                values[r * row + j] = entries[j] if given else real(0)

    return fill_rows


@kernel("l x n n n")
def clear_rows(real):
    """Make the kernel that clears the rows past the end of each sample."""

    def clear_rows(lengths, values, steps, samples, columns):
        """Set rows (t, n) with t >= lengths[n] to zero."""
        for n in range(cuda.blockIdx.y, samples, cuda.gridDim.y):
            for t in range(lengths[n], steps):
                for j in range(cuda.grid(1), columns, cuda.gridsize(1)):
                    values[(t * samples + n) * columns + j] = real(0)

    return clear_rows


@kernel("x l x n n n n n")
def move_rows(real):
    """Make the kernel that moves one row a sample between the caller's order and that of the batch."""

    def move_rows(theirs, order, values, row, samples, columns, back, add):
        """Set values[n * row + j] to theirs[order[n] * columns + j], or with `back` the other way round; add if `add`."""
        for n in range(cuda.blockIdx.y, samples, cuda.gridDim.y):
            for j in range(cuda.grid(1), columns, cuda.gridsize(1)):
                there = order[n] * columns + j
                if not back:
                    values[n * row + j] = values[n * row + j] + theirs[there] if add else theirs[there]
                elif add:
                    theirs[there] += values[n * row + j]
                else:
                    theirs[there] = values[n * row + j]

    return move_rows


@kernel("x l l x n n n")
def to_time_major(real):
    """Make the kernel that lays out a batch by rows."""

    def to_time_major(x, order, lengths, rows, steps, samples, columns):
        """Set rows (t, n) from x[order[n], t], zero past the lengths."""
        for r in range(cuda.blockIdx.y, steps * samples, cuda.gridDim.y):
            t = r // samples
            n = r - t * samples
            for j in range(cuda.grid(1), columns, cuda.gridsize(1)):
                inside = t < lengths[n]
                rows[r * columns + j] = x[(order[n] * steps + t) * columns + j] if inside else real(0)

    return to_time_major


@kernel("x x n")
def times_values(real):
    """Make the kernel that weighs values."""

    def times_values(values, weights, count):
        """Multiply values by weights; a weight of zero makes zero of anything."""
        for i in range(cuda.grid(1), count, cuda.gridsize(1)):
            values[i] = values[i] * weights[i] if weights[i] != real(0) else real(0)

    return times_values


def times(values, weights) -> None:
    """Multiply the values of a buffer by those of another; a weight of zero makes zero of anything."""
    times_values(blocks_for(values.size), THREADS, values, weights, values.size)
