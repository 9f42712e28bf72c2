"""Products of matrices, and sums of columns: all weights meet their inputs here.

A matrix is a pointer with the distances of its rows and of its columns, so that transposes cost nothing: x W^T, dz W and
dz^T x are one kernel.
"""

from typing import NamedTuple

from numba import cuda

from numbarnn.kernels.cuda.launch import SIMULATED, THREADS, Values, blocks_for, device, kernel
from numbarnn.kernels.cuda.quads import ALIGNMENT, load4, pointer_of, store4

# Rows and columns of C that a block makes, and of them that a thread makes; and the depth of the slices of A and B.
TILE, EACH, DEPTH = (8, 4, 4) if SIMULATED else (64, 4, 16)
SIDE = TILE // EACH
BLOCK = SIDE * SIDE
LOADS = TILE * DEPTH // (4 * BLOCK)  # quads of a slice that a thread reads
WIDTH = TILE + 4  # of a row of a slice in shared memory: of quads, but not a multiple of the banks
SLICE = DEPTH * WIDTH
# Rows that are summed together before sums are added to each other: the depth of a part of `split_product` is a multiple of it.
SPAN = 8 if SIMULATED else 256


class StridedMatrix(NamedTuple):
    """A factor of a product.

    Attributes
    ----------
    values : entry (m, k) at ``m * row + k * column``
    row, column : distances
    wide : whether four adjacent values from a multiple of four on lie at a multiple of 16 bytes, all in the matrix or none
    """

    values: Values
    row: int
    column: int
    wide: bool


class ProductParts(NamedTuple):
    """The result of a product, or its parts along the inner side.

    Attributes
    ----------
    values : entry (m, n) of part p at ``p * part + m * row + n``
    row, part : distances
    wide : as in `StridedMatrix`
    """

    values: Values
    row: int
    part: int
    wide: bool


@device
def quad_of(item, deep):
    """Return (line, k) of a quad of a slice; lines are rows of A or columns of B, and quads lie along k if `deep`, else across."""
    if deep:
        return item // (DEPTH // 4), item % (DEPTH // 4) * 4
    return item % (TILE // 4) * 4, item // (TILE // 4)


@device
def read_quad(zero, values, at, distance, wide, inside):
    """Return four values, `distance` apart, of which the first `inside` are the matrix's and the rest zero."""
    if wide:
        return load4(values, at) if inside > 0 else (zero, zero, zero, zero)
    return (
        values[at] if inside > 0 else zero,
        values[at + distance] if inside > 1 else zero,
        values[at + 2 * distance] if inside > 2 else zero,
        values[at + 3 * distance] if inside > 3 else zero,
    )


@device
def store_quad(part, item, deep, ahead, n):
    """Store quad n of those that were read where the products read it."""
    line, k = quad_of(item, deep)
    at = k * WIDTH + line
    if deep:
        for i in range(4):
            part[at + i * WIDTH] = ahead[n, i]
    else:
        store4(part, at, (ahead[n, 0], ahead[n, 1], ahead[n, 2], ahead[n, 3]))


def _multiply(real):
    """Make the kernel of C = A B + bias, C += A B, or the parts of C along the inner side."""

    def multiply(bias, a, b, c, rows, columns, inner, depth, mode):
        """Set C (rows, columns) to A B plus the bias (mode 1), plus C (mode 2), or nothing (mode 0).

        Block z sums over k of ``range(z * depth, (z + 1) * depth)``; `depth` is a multiple of four where there are several.
        """
        a_values, a_row, a_column, a_wide = a
        b_values, b_row, b_column, b_wide = b
        c_values, c_row, c_part, c_wide = c
        zero = real(0)
        left = pointer_of(cuda.shared.array(SLICE, real, ALIGNMENT))
        right = pointer_of(cuda.shared.array(SLICE, real, ALIGNMENT))
        sums = cuda.local.array((EACH, EACH), real)
        next_a = cuda.local.array((LOADS, 4), real)
        next_b = cuda.local.array((LOADS, 4), real)
        own_a = cuda.local.array(EACH, real)
        own_b = cuda.local.array(EACH, real)
        thread = cuda.threadIdx.x
        top, first = cuda.blockIdx.x * TILE, cuda.blockIdx.y * TILE
        down, across = thread // SIDE * EACH, thread % SIDE * EACH
        for i in range(EACH):
            for j in range(EACH):
                sums[i, j] = zero
        start = cuda.blockIdx.z * depth
        stop = min(inner, start + depth)
        # Neighbouring threads read neighbouring values, whichever side those lie on.
        a_deep, b_deep = a_column == 1, b_row == 1
        k0 = start - DEPTH
        while k0 < stop:
            # The next slices come while these are multiplied.
            for n in range(LOADS):
                line, k = quad_of(n * BLOCK + thread, a_deep)
                line += top
                k += k0 + DEPTH
                inside = (stop - k if a_deep else rows - line) if line < rows and k < stop else 0
                next_a[n, 0], next_a[n, 1], next_a[n, 2], next_a[n, 3] = read_quad(
                    zero, a_values, line * a_row + k * a_column, a_column if a_deep else a_row, a_wide, inside
                )
                line, k = quad_of(n * BLOCK + thread, b_deep)
                line += first
                k += k0 + DEPTH
                inside = (stop - k if b_deep else columns - line) if line < columns and k < stop else 0
                next_b[n, 0], next_b[n, 1], next_b[n, 2], next_b[n, 3] = read_quad(
                    zero, b_values, line * b_column + k * b_row, b_row if b_deep else b_column, b_wide, inside
                )
            if k0 >= start:
                k = 0
                while k < SLICE:
                    own_a[0], own_a[1], own_a[2], own_a[3] = load4(left, k + down)
                    own_b[0], own_b[1], own_b[2], own_b[3] = load4(right, k + across)
                    for i in range(EACH):
                        for j in range(EACH):
                            sums[i, j] += own_a[i] * own_b[j]
                    k += WIDTH
            cuda.syncthreads()
            for n in range(LOADS):
                store_quad(left, n * BLOCK + thread, a_deep, next_a, n)
                store_quad(right, n * BLOCK + thread, b_deep, next_b, n)
            cuda.syncthreads()
            k0 += DEPTH
        n = first + across
        inside = columns - n
        for i in range(EACH):
            m = top + down + i
            if m < rows and inside > 0:
                at = cuda.blockIdx.z * c_part + m * c_row + n
                before = (zero, zero, zero, zero)
                if mode == 1:
                    before = read_quad(zero, bias, n, 1, False, inside)
                elif mode == 2:
                    before = read_quad(zero, c_values, at, 1, c_wide, inside)
                total = (before[0] + sums[i, 0], before[1] + sums[i, 1], before[2] + sums[i, 2], before[3] + sums[i, 3])
                if c_wide:
                    store4(c_values, at, total)
                else:
                    own_b[0], own_b[1], own_b[2], own_b[3] = total
                    for j in range(EACH):
                        if j < inside:
                            c_values[at + j] = own_b[j]

    return multiply


# By the bytes of a value; three and two blocks of a multiprocessor leave each other the registers that one needs
# (tests/test_cuda_compile.py finds that nothing is spilled).
multiply = {
    size: kernel(
        "x", StridedMatrix, StridedMatrix, ProductParts, "n n n n n", dtypes=(dtype,),
        **({} if SIMULATED else {"launch_bounds": (BLOCK, blocks)}),
    )(_multiply)
    for size, dtype, blocks in ((4, "float32", 3), (8, "float64", 2))
}  # fmt: skip
multiply[4].name, multiply[8].name = "multiply", "multiply_double"


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
    left = StridedMatrix(a, *a_strides, _wide(a, a_strides, (rows, inner)))
    right = StridedMatrix(b, *b_strides, _wide(b, b_strides, (inner, columns)))
    if parts == 1 or mode == 1:
        whole = ProductParts(c, c_row, 0, _wide(c, (c_row, 1), (rows, columns)))
        multiply[c.dtype.itemsize](blocks, BLOCK, bias, left, right, whole, rows, columns, inner, max(inner, 1), mode)
        return
    depth = -(-inner // (parts * SPAN)) * SPAN
    parts = -(-inner // depth)
    sums = arena.empty(parts * rows * columns, c.dtype)
    apart = ProductParts(sums, columns, rows * columns, _wide(sums, (columns, 1), (rows, columns)))
    multiply[c.dtype.itemsize]((*blocks, parts), BLOCK, None, left, right, apart, rows, columns, inner, depth, 0)
    add_parts(blocks_for(rows * columns), THREADS, sums, parts, rows * columns, columns, c, c_row, int(add))


def _wide(values, strides, shape):
    """Return whether quads along the side whose values are adjacent can be read and written in 16 bytes."""
    (row, column), (rows, columns) = strides, shape
    distance, side = (row, columns) if column == 1 else (column, rows)
    return (column == 1 or row == 1) and (distance | side) % 4 == 0 and values.pointer % 16 == 0


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
