"""Products of matrices on a device against NumPy: every layout, whether or not its quads can be read in 16 bytes."""

import cuda_device  # noqa: F401 - before Numba
import numpy as np
import pytest
from conftest import assert_close, normal

from numbarnn.kernels.cuda import matmul
from numbarnn.kernels.cuda.memory import Arena, upload

TOLERANCE = {"float32": 1e-5, "float64": 1e-12}
TILE, DEPTH, SPAN = matmul.TILE, matmul.DEPTH, matmul.SPAN


def placed(matrix, layout, offset, gap):
    """Return a buffer that begins with NaN, the part that holds a matrix, and its strides; NaN stands between the lines."""
    lines = matrix if layout == "rows" else matrix.T
    row = lines.shape[1] + gap
    whole = np.full((lines.shape[0], row), np.nan, matrix.dtype)
    whole[:, : lines.shape[1]] = lines
    buffer = upload(np.concatenate([np.full(offset, np.nan, matrix.dtype), whole.ravel()]))
    return buffer, buffer.part(offset), (row, 1) if layout == "rows" else (1, row)


def compare(shape, layouts, offset=0, gap=0, mode="", dtype="float64"):
    """Compare a product with NumPy's; return the `wide` of both factors and of the result."""
    rows, columns, inner = shape
    a, b, c = (
        normal(s, *sizes, dtype=dtype) for s, sizes in enumerate(((rows, inner), (inner, columns), (rows, columns)))
    )
    bias = normal(4, columns, dtype=dtype)
    _, left, a_strides = placed(a, layouts[0], offset, gap)
    _, right, b_strides = placed(b, layouts[1], offset, gap)
    whole, result, (c_row, _) = placed(c, "rows", offset, gap)
    before = whole.get()
    matmul.product(
        Arena(), left, a_strides, right, b_strides, result, c_row, shape, bias=upload(bias) if mode == "bias" else None,
        add=mode == "add",
    )  # fmt: skip
    expected = before.copy()
    inside = expected[offset:].reshape(rows, c_row)[:, :columns]
    inside[...] = a @ b + (bias if mode == "bias" else c if mode == "add" else 0)
    found = whole.get()
    assert np.isnan(found[np.isnan(before)]).all()
    assert_close(found[~np.isnan(before)], expected[~np.isnan(before)], TOLERANCE[dtype])
    operands = (
        (left, a_strides, (rows, inner)),
        (right, b_strides, (inner, columns)),
        (result, (c_row, 1), (rows, columns)),
    )
    return [matmul._wide(*operand) for operand in operands]


LAYOUTS = [(a, b) for a in ("rows", "columns") for b in ("rows", "columns")]


@pytest.mark.parametrize("mode", ["", "bias", "add"])
@pytest.mark.parametrize("layouts", LAYOUTS, ids="-".join)
def test_quads_and_single_values_give_the_same_product(layouts, mode):
    assert compare((TILE + 4, TILE - 4, DEPTH + 4), layouts, mode=mode) == [True] * 3
    assert compare((TILE + 4, TILE - 4, DEPTH + 4), layouts, offset=4, gap=4, mode=mode) == [True] * 3
    # A pointer between quads, lines at any distance, sides of any length.
    assert compare((TILE + 4, TILE - 4, DEPTH + 4), layouts, offset=1, mode=mode) == [False] * 3
    assert compare((TILE + 4, TILE - 4, DEPTH + 4), layouts, gap=1, mode=mode) == [False] * 3
    assert compare((TILE + 1, TILE - 1, DEPTH + 2), layouts, mode=mode) == [False] * 3


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", [(1, 1, 1), (4, 1, 0), (2, 4, 3), (4, 8, 8), (TILE, 3, 4)])
def test_small_products(shape, dtype):
    for layouts in LAYOUTS:
        compare(shape, layouts, dtype=dtype)


@pytest.mark.parametrize("mode", ["", "add"])
@pytest.mark.parametrize("inner", [5 * SPAN, 5 * SPAN + 3])
def test_parts_of_the_inner_side(inner, mode):
    """A long sum is cut where quads begin."""
    assert matmul._parts(1, inner) > 1
    compare((4, 4, inner), ("columns", "rows"), mode=mode)
    compare((4, 4, inner), ("rows", "columns"), mode=mode)


def test_matrices_without_neighbours_are_read_value_by_value():
    a, b = normal(1, 3, 8), normal(2, 4, 4)
    left, right, result = upload(a), upload(b), upload(np.zeros((3, 4)))
    matmul.product(Arena(), left, (8, 2), right, (4, 1), result, 4, (3, 4, 4))
    assert_close(result.get().reshape(3, 4), a[:, ::2] @ b, TOLERANCE["float64"])
    assert not matmul._wide(left, (8, 2), (3, 4))
