"""The scalar functions of float32 over their whole domain, against float64; special values; their NumPy forms."""

import numba
import numpy as np
import pytest
from conftest import DTYPES

from numbarnn.kernels import scalar

EPS = np.finfo(np.float32).eps
# Every 61st float32 number of an interval, and its ends: about a tenth of a million, in a few milliseconds.
FUNCTIONS = {
    # name: (lowest, highest, largest absolute error, largest relative error where it is smaller)
    "tanh": (-12.0, 12.0, 3.2e-7, None),
    "sigmoid": (-30.0, 30.0, 1.7e-7, None),
    "exp": (-87.0, 0.0, None, 4e-7),
    "log1p": (0.0, 1.0, None, 3e-7),
}


@numba.njit
def run_tanh(x, y):
    for i in range(x.size):
        y[i] = scalar.tanh(x[i])


@numba.njit
def run_sigmoid(x, y):
    for i in range(x.size):
        y[i] = scalar.sigmoid(x[i])


@numba.njit
def run_exp(x, y):
    for i in range(x.size):
        y[i] = scalar.exp(x[i])


@numba.njit
def run_log1p(x, y):
    for i in range(x.size):
        y[i] = scalar.log1p(x[i])


@numba.njit
def run_fma(x, y, z, result):
    for i in range(x.size):
        result[i] = scalar.fma(x[i], y[i], z[i])


@numba.njit
def run_total(values, at, count):
    return scalar.total(values, at, count)


RUN = {"tanh": run_tanh, "sigmoid": run_sigmoid, "exp": run_exp, "log1p": run_log1p}
EXACT = {"tanh": np.tanh, "sigmoid": lambda x: 1 / (1 + np.exp(-x)), "exp": np.exp, "log1p": np.log1p}


def compiled(name, x):
    y = np.full_like(x, np.nan)
    RUN[name](x, y)
    return y


def numbers(low, high):
    """Return float32 numbers of an interval by their bits, so that small ones come as often as large ones."""
    positive = np.arange(1, np.float32(max(high, -low)).view(np.int32), 61 * 61, dtype=np.int32).view(np.float32)
    both = np.concatenate([-positive[::-1], np.float32([low, -0.0, 0.0, high]), positive])
    return np.concatenate([both[(both >= low) & (both <= high)], np.linspace(low, high, 100_001, dtype=np.float32)])


@pytest.mark.parametrize("name", FUNCTIONS)
def test_whole_interval(name):
    low, high, absolute, relative = FUNCTIONS[name]
    x = numbers(low, high)
    found, exact = compiled(name, x).astype(np.float64), EXACT[name](x.astype(np.float64))
    assert np.ptp(exact) > 0.5
    if absolute is not None:
        assert np.abs(found - exact).max() <= absolute
    else:
        assert (np.abs(found - exact) <= relative * np.abs(exact) + np.finfo(np.float32).tiny).all()


@pytest.mark.parametrize("name", ["tanh", "sigmoid"])
def test_bounds_and_symmetry(name):
    x = numbers(0.0, 200.0)
    up, down = compiled(name, x), compiled(name, -x)
    lowest = -1.0 if name == "tanh" else 0.0
    assert up.max() <= 1.0
    assert down.min() >= lowest
    assert np.abs((up + down) - (0.0 if name == "tanh" else 1.0)).max() <= EPS


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_nan_stays_nan(name, dtype):
    assert np.isnan(compiled(name, np.full(40, np.nan, dtype))).all()


@pytest.mark.parametrize("dtype", DTYPES)
def test_infinity(dtype):
    infinite = np.array([-np.inf, np.inf], dtype)
    assert np.allclose(compiled("tanh", infinite), [-1, 1], atol=2.4e-7, rtol=0)
    assert np.allclose(compiled("sigmoid", infinite), [0, 1], atol=2.4e-7, rtol=0)
    assert compiled("exp", infinite[:1]) == 0


@pytest.mark.parametrize("name", FUNCTIONS)
def test_double_precision(name):
    low, high, *_ = FUNCTIONS[name]
    x = np.linspace(low, high, 10_001)
    exact = EXACT[name](x)
    assert (np.abs(compiled(name, x) - exact) <= 4e-16 * np.maximum(1.0, np.abs(exact))).all()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_called_from_python(name, dtype):
    value = np.dtype(dtype).type(-0.75 if name != "log1p" else 0.75)
    found = getattr(scalar, name)(value)
    assert found.dtype == dtype
    assert abs(found - EXACT[name](np.float64(value))) <= 2 * np.finfo(dtype).eps


@pytest.mark.parametrize("name", FUNCTIONS)
def test_vector_body_and_scalar_tail_agree(name):
    low, high, *_ = FUNCTIONS[name]
    x = np.random.default_rng(0).uniform(low, high, 4000).astype(np.float32)
    whole = compiled(name, x)
    alone = np.concatenate([compiled(name, x[i : i + 1]) for i in range(x.size)])
    assert whole.tobytes() == alone.tobytes()


@pytest.mark.parametrize("dtype", DTYPES)
def test_fma_is_within_one_rounding(dtype):
    x, y, z = np.random.default_rng(1).standard_normal((3, 1000)).astype(dtype)
    found = np.full_like(x, np.nan)
    run_fma(x, y, z, found)
    exact = x.astype(np.longdouble) * y + z
    assert (np.abs(found - exact) <= np.finfo(dtype).eps * (np.abs(x * y) + np.abs(z))).all()


@pytest.mark.parametrize("dtype", DTYPES)
def test_total(dtype):
    values = np.full(130, np.nan, dtype)
    values[7:107] = np.arange(1, 101)
    assert run_total(values, 7, 100) == 5050
    assert run_total(values, 7, 0) == 0
