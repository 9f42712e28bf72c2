"""Sums in the order that they promise, which no processor changes."""

import numba
import numpy as np
import pytest
from conftest import DTYPES

from numbarnn.kernels.cpu import optim, sums


@numba.njit
def run_total(values, at, count):
    return sums.total(values, at, count)


def in_lanes(values, lanes):
    """Return the sum of values by lanes, of the lanes by halves, then with the rest."""
    whole = len(values) // lanes * lanes
    partial = np.zeros(lanes, values.dtype)
    for row in values[:whole].reshape(-1, lanes):
        partial += row
    while len(partial) > 1:
        partial = partial[: len(partial) // 2] + partial[len(partial) // 2 :]
    total = partial[0]
    for value in values[whole:]:
        total += value
    return total


@pytest.mark.parametrize("count", [0, 1, 7, 8, 15, 16, 17, 100, 1000])
@pytest.mark.parametrize("dtype", DTYPES)
def test_order(dtype, count):
    values = np.random.default_rng(0).normal(size=count).astype(dtype)
    padded = np.full(count + 12, np.nan, dtype)  # nothing beside them is read
    padded[7 : 7 + count] = values
    assert run_total(padded, 7, count) == in_lanes(values, 64 // values.itemsize)
    squares = values.astype(np.float64) ** 2
    assert optim.sum_of_squares(values) == in_lanes(squares, sums.WIDE)


def test_squares_of_float32_do_not_overflow():
    assert optim.sum_of_squares(np.full(70, 1e30, np.float32)) == pytest.approx(70e60, rel=1e-6)
