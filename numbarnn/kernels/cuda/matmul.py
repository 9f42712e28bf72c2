"""Products of matrices, and sums of columns: all weights meet their inputs here.

A matrix is a pointer with the distances of its rows and of its columns, so that transposes cost nothing: x W^T, dz W and
dz^T x are one kernel.
"""

from typing import NamedTuple

from numba import cuda

from numbarnn.kernels.cuda.launch import SIMULATED, THREADS, Values, blocks_for, kernel

# Rows and columns of C that a block makes, and of them that a thread makes; and the depth of the slices of A and B.
TILE, EACH, DEPTH = (8, 4, 3) if SIMULATED else (64, 4, 16)
SIDE = TILE // EACH
BLOCK = SIDE * SIDE
LOADS = -(-TILE * DEPTH // BLOCK)
WIDTH = TILE + 1  # of a row of a slice in shared memory: not a multiple of the banks
# Rows that are summed together before sums are added to each other: the depth of a part of `split_product` is a multiple of it.
SPAN = 6 if SIMULATED else 256


class StridedMatrix(NamedTuple):
    """A factor of a product.

    Attributes
    ----------
    values : entry (m, k) at ``m * row + k * column``
    row, column : distances
    """

    values: Values
    row: int
    column: int


class ProductParts(NamedTuple):
    """The result of a product, or its parts along the inner side.

    Attributes
    ----------
    values : entry (m, n) of part p at ``p * part + m * row + n``
    row, part : distances
    """

    values: Values
    row: int
    part: int


@kernel(
    "x", StridedMatrix, StridedMatrix, ProductParts, "n n n n n", **({} if SIMULATED else {"launch_bounds": (BLOCK, 2)})
)
def multiply(real):
    """Make the kernel of C = A B + bias, C += A B, or the parts of C along the inner side."""

    def multiply(bias, a, b, c, rows, columns, inner, depth, mode):
        """Set C[m, n], or add to it, sum over k of A[m, k] B[k, n].

        Block (x, y, z) makes a tile of C from k in [z * depth, (z + 1) * depth) alone, and writes it to part z.

        bias : (columns,); mode : 0: C = A B, 1: C = A B + bias, 2: C = C + A B
        """
        a_values, a_row, a_column = a
        b_values, b_row, b_column = b
        c_values, c_row, c_part = c
        left = cuda.shared.array((DEPTH, WIDTH), real)
        right = cuda.shared.array((DEPTH, WIDTH), real)
        sums = cuda.local.array((EACH, EACH), real)
        own_a = cuda.local.array(EACH, real)
        own_b = cuda.local.array(EACH, real)
        thread = cuda.threadIdx.x
        top, first = cuda.blockIdx.x * TILE, cuda.blockIdx.y * TILE
        down, across = thread // SIDE, thread % SIDE
        for i in range(EACH):
            for j in range(EACH):
                sums[i, j] = real(0)
        start = cuda.blockIdx.z * depth
        stop = min(inner, start + depth)
        for k0 in range(start, stop, DEPTH):
            for load in range(LOADS):
                item = load * BLOCK + thread
                if item < TILE * DEPTH:
                    # Neighbouring threads read neighbouring values, whichever side those lie on.
                    k, m = (item % DEPTH, item // DEPTH) if a_column == 1 else (item // TILE, item % TILE)
                    inside = top + m < rows and k0 + k < stop
                    left[k, m] = a_values[(top + m) * a_row + (k0 + k) * a_column] if inside else real(0)
                    k, n = (item % DEPTH, item // DEPTH) if b_row == 1 else (item // TILE, item % TILE)
                    inside = first + n < columns and k0 + k < stop
                    right[k, n] = b_values[(k0 + k) * b_row + (first + n) * b_column] if inside else real(0)
            cuda.syncthreads()
            for k in range(DEPTH):
                for i in range(EACH):
                    own_a[i] = left[k, down + i * SIDE]
                    own_b[i] = right[k, across + i * SIDE]
                for i in range(EACH):
                    for j in range(EACH):
                        sums[i, j] += own_a[i] * own_b[j]
            cuda.syncthreads()
        dst = cuda.blockIdx.z * c_part
        for i in range(EACH):
            for j in range(EACH):
                m, n = top + down + i * SIDE, first + across + j * SIDE
                if m < rows and n < columns:
                    before = real(0)
                    if mode == 1:
                        before = bias[n]
                    elif mode == 2:
                        before = c_values[dst + m * c_row + n]
                    c_values[dst + m * c_row + n] = before + sums[i, j]

    return multiply


@kernel("x n n n x n n")
def add_parts(real):
    """Make the kernel that adds the parts of a sum."""

    def add_parts(parts, count, size, columns, c, c_row, add):
        """Set C[m, n] to the sum of its parts in their order, or add it to C if `add`; part p begins at ``p * size``."""
        for i in range(cuda.grid(1), size, cuda.gridsize(1)):
            dst = (i // columns) * c_row + i % columns
            total = c[dst] if add else real(0)
            for p in range(count):
                total += parts[p * size + i]
            c[dst] = total

    return add_parts


@kernel("x n n n n x")
def sum_columns(real):
    """Make the kernel of the sums of columns, in parts."""

    def sum_columns(values, row, rows, columns, part, sums):
        """Set sums[p, n] to the sum of values[m * row + n] over the p-th `part` rows; blocks (x, p), a thread a column."""
        n = cuda.grid(1)
        p = cuda.blockIdx.y
        if n < columns:
            total = real(0)
            for m in range(p * part, min(rows, (p + 1) * part)):
                total += values[m * row + n]
            sums[p * columns + n] = total

    return sum_columns


def product(arena, a, a_strides, b, b_strides, c, c_row, shape, bias=None, add=False):
    """Set C = A B, or A B + bias, or with `add` C + A B.

    Parameters
    ----------
    arena : Arena
        For parts of sums.
    a, b, c : Buffer
    a_strides, b_strides : (int, int)
        Distances of rows and of columns.
    c_row : int
        Distance of the rows of C.
    shape : (rows, columns, inner)
    """
    rows, columns, inner = shape
    if rows == 0 or columns == 0:
        return
    blocks = (-(-rows // TILE), -(-columns // TILE))
    parts = _parts(blocks[0] * blocks[1], inner)
    mode = 2 if add else 1 if bias is not None else 0
    left, right = StridedMatrix(a, *a_strides), StridedMatrix(b, *b_strides)
    if parts == 1 or mode == 1:
        multiply(blocks, BLOCK, bias, left, right, ProductParts(c, c_row, 0), rows, columns, inner, max(inner, 1), mode)
        return
    depth = -(-inner // (parts * SPAN)) * SPAN
    parts = -(-inner // depth)
    sums = arena.empty(parts * rows * columns, c.dtype)
    apart = ProductParts(sums, columns, rows * columns)
    multiply((*blocks, parts), BLOCK, None, left, right, apart, rows, columns, inner, depth, 0)
    add_parts(blocks_for(rows * columns), THREADS, sums, parts, rows * columns, columns, c, c_row, int(add))


def _parts(blocks, inner):
    """Return into how many parts the inner side is cut, so that a product of few blocks has work for a whole card."""
    # The same on every card, so that sums have one order; 256 blocks are two for each multiprocessor of the largest.
    return max(1, min(256 // blocks, inner // (2 * SPAN), 32))


def column_sums(arena, values, row, rows, columns, result=None):
    """Return a buffer with the sums of columns: `result`, or a new one."""
    parts = max(1, min(64, -(-rows // SPAN)))
    part = -(-rows // parts)
    sums = result if result is not None and parts == 1 else arena.empty(parts * columns, values.dtype)
    threads = min(THREADS, 64)
    sum_columns((-(-columns // threads), parts), threads, values, row, rows, columns, part, sums)
    if parts == 1:
        return sums
    total = arena.empty(columns, values.dtype) if result is None else result
    add_parts(blocks_for(columns), THREADS, sums, parts, columns, columns, total, columns, 0)
    return total
