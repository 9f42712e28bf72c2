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
    "tanh": (-12.0, 12.0, None, 7e-7),
    "sigmoid": (-87.3365, 30.0, None, 5e-7),
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
    if name == "tanh":
        assert up.tobytes() == (-down).tobytes()
    else:
        assert np.abs(up.astype(np.float64) + down - 1).max() <= EPS


@pytest.mark.parametrize(("name", "low", "high"), [("tanh", -9.011, 9.011), ("sigmoid", -87.337, 17.329)])
def test_limits(name, low, high):
    below = np.linspace(low, low - 300, 10_001, dtype=np.float32)
    above = np.linspace(high, high + 300, 10_001, dtype=np.float32)
    assert np.unique(compiled(name, below)).tolist() == [-1.0 if name == "tanh" else 0.0]
    assert np.unique(compiled(name, above)).tolist() == [1.0]
    x = numbers(low, high)
    found = compiled(name, x)
    assert np.isin(np.abs(found[np.abs(found) < np.finfo(np.float32).tiny]), np.append(np.abs(x), 0)).all()


def neighbours(name):
    """Return runs of all float32 numbers around those at which the reduction of the exponent changes, and elsewhere."""
    steps = (np.arange(130) + 0.5) * np.log(2) / (2 if name == "tanh" else 1)
    middle = np.concatenate([steps, numbers(0.0, 100.0)[::101]]).astype(np.float32)
    bits = np.unique(middle.view(np.int32)[:, None] + np.arange(-200, 200))
    positive = bits[bits >= 0].astype(np.int32).view(np.float32)
    return np.concatenate([-positive[::-1], positive])


@pytest.mark.parametrize("name", ["tanh", "sigmoid"])
def test_monotonic(name):
    found = compiled(name, neighbours(name))
    assert (np.diff(found) >= 0).all()
    assert found[0] < found[-1]


@numba.njit
def walk(x, up, down, odd):
    """Return whether two functions of x and -x are monotonic, and the largest deviation of their sum from 0, or 1."""
    ordered, worst = True, 0.0
    for i in range(x.size):
        ordered &= i == 0 or (up[i] >= up[i - 1] and down[i] <= down[i - 1])
        worst = max(worst, abs(np.float64(up[i]) + np.float64(down[i]) - (0.0 if odd else 1.0)))
    return ordered, worst


@pytest.mark.parametrize("name", ["tanh", "sigmoid"])
def test_all_numbers(name, exhaustive):
    """Every float32 number up to 100, of both signs: order, symmetry, limits; the errors of every 101st."""
    end, chunk, relative = int(np.float32(100).view(np.int32)), 2**22, FUNCTIONS[name][3]
    for first in range(0, end, chunk):
        positive = np.arange(first, first + chunk + 1, dtype=np.int32).view(np.float32)  # the last begins the next
        up, down = compiled(name, positive), compiled(name, -positive)
        ordered, worst = walk(positive, up, down, name == "tanh")
        assert ordered, positive[0]
        assert worst <= (0 if name == "tanh" else EPS), positive[0]
        for found, x in ((up[::101], positive[::101]), (down[::101], -positive[::101])):
            true = EXACT[name](x.astype(np.float64))
            small = np.abs(true) < np.finfo(np.float32).tiny
            assert (np.abs(found - true) <= relative * np.abs(true))[~small].all(), positive[0]
            limit = np.abs(true) >= 1 - 2.0**-25
            assert (found[limit] == np.sign(true[limit])).all()
            assert name == "tanh" or not found[small].any()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_nan_stays_nan(name, dtype):
    assert np.isnan(compiled(name, np.full(40, np.nan, dtype))).all()


@pytest.mark.parametrize("dtype", DTYPES)
def test_infinity(dtype):
    infinite = np.array([-np.inf, np.inf], dtype)
    assert compiled("tanh", infinite).tolist() == [-1, 1]
    assert compiled("sigmoid", infinite).tolist() == [0, 1]
    assert compiled("exp", infinite[:1]) == 0


@pytest.mark.parametrize("name", FUNCTIONS)
def test_double_precision(name):
    low, high, *_ = FUNCTIONS[name]
    x = np.linspace(low, high, 10_001)
    exact = EXACT[name](x)
    assert (np.abs(compiled(name, x) - exact) <= 4e-16 * np.maximum(1.0, np.abs(exact))).all()


def longer_logistic(x):
    """Return the logistic function of float64 numbers in a longer type."""
    return 1 / (1 + np.exp(-x.astype(np.longdouble)))


@pytest.mark.parametrize("form", ["compiled", "python"])
def test_logistic_of_float64(form):
    if np.finfo(np.longdouble).eps > 1e-18:
        pytest.skip("long double is float64 here")
    x = np.concatenate(
        [np.linspace(-708.3, 0, 20_001), -np.geomspace(1e-300, 700, 20_001)[::-1], np.linspace(0, 800, 5001)]
    )
    x = x[:: 1 if form == "compiled" else 50]
    found = compiled("sigmoid", x) if form == "compiled" else np.array([scalar.sigmoid(value) for value in x])
    exact = longer_logistic(x)
    assert (np.abs(found - exact) <= 8e-16 * exact).all()


def test_logistic_of_float64_is_monotonic_and_symmetric():
    middle = np.concatenate([np.linspace(-710, 40, 2001), -np.geomspace(1e-17, 700, 501), np.geomspace(1e-17, 40, 501)])
    steps = middle[:, None] + np.spacing(middle)[:, None] * np.arange(-100, 101)
    found = compiled("sigmoid", steps.reshape(-1)).reshape(steps.shape)
    assert (np.diff(found, axis=1) * np.sign(np.diff(steps, axis=1)) >= 0).all()
    assert (np.diff(compiled("sigmoid", np.sort(middle))) >= 0).all()
    x = np.abs(steps.reshape(-1))
    assert np.abs(compiled("sigmoid", x) + compiled("sigmoid", -x) - 1).max() <= np.finfo(np.float64).eps
    limits = np.array([-np.inf, -1e300, -746.0, 37.0, 1e300, np.inf])
    assert compiled("sigmoid", limits).tolist() == [0, 0, 0, 1, 1, 1]
    assert [scalar.sigmoid(value) for value in limits] == [0, 0, 0, 1, 1, 1]  # and warns of nothing


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
