"""Optimizers, clipping and the check of steps on CUDA, against the naive equations and the CPU."""

import math

import naive
import numpy as np
import pytest
from conftest import DTYPES, assert_close, assert_same_bits, normal

from numbarnn.kernels.cpu import optim as cpu
from numbarnn.kernels.cuda import optim as kernels
from numbarnn.kernels.cuda.memory import Arena, upload
from numbarnn.optim import OPTIMIZERS, SGD, Adagrad, Adam, AdamW, RMSprop, base

TOLERANCE = {"float32": 1e-5, "float64": 1e-12}
COUNT = 37
every_dtype = pytest.mark.parametrize("dtype", DTYPES)


def status_of(dtype, factor=1.0, ok=1.0):
    return upload(np.array([factor, ok, 0, 0], dtype))


class Device:
    """The kernels of CUDA behind the arguments of the CPU's, so that the optimizers find the former."""

    def __init__(self, status):
        self.status = status

    def __getattr__(self, name):
        def run(weights, gradient, *arguments):
            *arrays, options, first, last = arguments
            host = [weights, gradient, *arrays]
            buffers = [upload(array) for array in host]
            getattr(kernels, name)(*buffers, options.tolist(), last - first, self.status)
            for array, buffer in zip(host, buffers, strict=True):
                array[...] = buffer.get()

        return run


STEPS = [
    SGD(0.1), SGD(0.1, 0.9), SGD(0.1, 0.9, 0.01, nesterov=True), RMSprop(0.01), RMSprop(0.02, 0.9, 1e-6, 0.1),
    Adagrad(0.1, 0.2, 0.05), Adam(0.01), Adam(0.02, (0.8, 0.95), 1e-6, 0.1), AdamW(0.01, weight_decay=0.2),
]  # fmt: skip


def test_all_optimizers_are_tested():
    assert {type(step) for step in STEPS} == set(OPTIMIZERS.values())


@every_dtype
@pytest.mark.parametrize("optimizer", STEPS, ids=repr)
def test_steps(optimizer, dtype, monkeypatch):
    monkeypatch.setattr(base, "kernels", Device(status_of(dtype)))
    options = optimizer.config()
    name = options.pop("type")
    options.pop("initial_accumulator_value", None)
    weights = normal(0, COUNT, dtype=dtype)
    arrays = optimizer.start(COUNT, dtype)
    expected, state = weights.astype("float64"), tuple(array.astype("float64") for array in arrays)
    for step in (1, 2, 3):
        gradient = normal(step, COUNT, dtype=dtype)
        optimizer.update(weights, gradient, arrays, step, optimizer.learning_rate)
        expected, state = naive.OPTIMIZERS[name][0](expected, np.float64(gradient), state, step, **options)
    assert_close(weights, expected, TOLERANCE[dtype])
    for array, one in zip(arrays, state, strict=True):
        assert_close(array, one, TOLERANCE[dtype])


@pytest.mark.parametrize("optimizer", [SGD(momentum=0.9), RMSprop(), Adam()], ids=repr)
def test_nothing_changes_after_a_step_that_is_not_ok(optimizer, monkeypatch):
    monkeypatch.setattr(base, "kernels", Device(status_of("float32", ok=0)))
    weights, gradient, arrays = (
        normal(0, COUNT, dtype="float32"), np.full(COUNT, np.nan, "float32"), optimizer.start(COUNT, "float32"),
    )  # fmt: skip
    before = [weights.copy(), *(array.copy() for array in arrays)]
    optimizer.update(weights, gradient, arrays, 1, 0.1)
    for array, one in zip([weights, *arrays], before, strict=True):
        assert_same_bits(array, one)


@every_dtype
def test_sums_of_squares(dtype):
    arena, old, new = Arena(), normal(0, 300, dtype=dtype), normal(1, 300, dtype=dtype)
    for count in (0, 1, 37, 300):
        found = kernels.sum_of_squares(arena, upload(old), count).get()
        assert found.shape == (1,)
        assert abs(found[0] - cpu.sum_of_squares(old[:count])) <= TOLERANCE[dtype] * max(found[0], 1)
        found = kernels.difference_norms(arena, upload(old), upload(new), count).get()
        difference = np.float64(new[:count]) - old[:count]
        expected = [(difference**2).sum(), (np.float64(old[:count]) ** 2).sum()]
        assert np.abs(found - expected).max() <= TOLERANCE[dtype] * max(found.max(), 1)


def check_step(status, loss, squares, limit, slot=0):
    """Check a step, and return (status, line of the log)."""
    dtype = status.dtype
    log = upload(np.zeros(6, dtype))
    kernels.check_step(status, log, slot, upload(np.array([loss], dtype)), upload(np.array([squares], dtype)), limit)
    return status.get(), log.get().reshape(2, 3)[slot]


@every_dtype
def test_check_step(dtype):
    found, line = check_step(status_of(dtype), 1.5, 25.0, 0.0, slot=1)
    assert found[:3].tolist() == [1, 1, 5]
    assert line.tolist() == [1.5, 5, 1]
    found, _ = check_step(status_of(dtype), 1.5, 25.0, 8.0)
    assert found[:3].tolist() == [1, 1, 5]
    found, _ = check_step(status_of(dtype), 1.5, 25.0, 2.0)
    assert_close(found[0], 2.0 / (5 + 1e-6), TOLERANCE[dtype])
    found, _ = check_step(status_of(dtype), 1.5, 0.0, 2.0)
    assert found[:3].tolist() == [1, 1, 0]


@every_dtype
@pytest.mark.parametrize("limit", [0.0, 2.0])
@pytest.mark.parametrize(
    ("loss", "squares"), [(math.nan, 4.0), (math.inf, 4.0), (1.0, math.nan), (1.0, math.inf), (math.nan, math.inf)]
)
def test_check_stops_at_what_is_not_finite(dtype, loss, squares, limit):
    status = status_of(dtype)
    found, line = check_step(status, loss, squares, limit)
    assert found[:2].tolist() == [1, 0]
    np.testing.assert_array_equal(line, [loss, math.sqrt(squares), 0])
    _, line = check_step(status, 1.0, 4.0, limit)  # and for good
    assert line.tolist() == [1, 2, 0]
    assert status.get()[1] == 0


@every_dtype
@pytest.mark.parametrize("squares", [3.0, math.inf, math.nan])
def test_undo(dtype, squares):
    old, new = normal(0, COUNT, dtype=dtype), normal(1, COUNT, dtype=dtype)
    weights, status, log = upload(new), status_of(dtype), upload(np.ones(6, dtype))
    kernels.undo(weights, upload(old), COUNT, upload(np.array([squares], dtype)), status, log, 1)
    finite = math.isfinite(squares)
    assert_same_bits(weights.get(), new if finite else old)
    assert status.get()[:2].tolist() == [1, finite]
    assert log.get().tolist() == [1, 1, 1, 1, 1, finite]


@every_dtype
@pytest.mark.parametrize("limit", [0.0, 0.3])
def test_clip(dtype, limit):
    gradient = normal(0, COUNT, dtype=dtype)
    gradient[[3, 5]] = np.nan, 0.0
    buffer = upload(gradient)
    kernels.clip(buffer, COUNT, status_of(dtype, 0.5, ok=0), limit)
    assert_same_bits(buffer.get(), gradient)
    kernels.clip(buffer, COUNT, status_of(dtype, 0.5), limit)
    expected = np.clip(0.5 * gradient, -limit, limit) if limit else 0.5 * gradient
    assert np.isnan(buffer.get()[3])
    np.testing.assert_array_equal(buffer.get(), expected.astype(dtype))


@every_dtype
def test_clip_by_norm(dtype):
    gradient, arena, status = normal(0, COUNT, dtype=dtype), Arena(), status_of(dtype)
    buffer, zero = upload(gradient), upload(np.zeros(3, dtype))
    kernels.check_step(status, zero, 0, zero.part(0, 1), kernels.sum_of_squares(arena, buffer, COUNT), 1.5)
    kernels.clip(buffer, COUNT, status, 0.0)
    assert_close(buffer.get(), naive.clip_by_norm(np.float64(gradient), 1.5), TOLERANCE[dtype])


@every_dtype
def test_blend_scale_and_add(dtype):
    values, others = normal(0, COUNT, dtype=dtype), normal(1, COUNT, dtype=dtype)
    one, two = upload(values), upload(others)
    kernels.blend(one, two, 0.9, 0.1, COUNT)
    assert_close(one.get(), 0.9 * np.float64(values) + 0.1 * np.float64(others), TOLERANCE[dtype])
    before = one.get()
    kernels.blend(one, two, 0.9, 0.1, COUNT, status_of(dtype, ok=0))
    assert_same_bits(one.get(), before)
    kernels.blend(one, two, 0.0, 1.0, COUNT, status_of(dtype))
    assert_same_bits(one.get(), others)
    kernels.scale(one, COUNT - 1, 0.5)
    assert_same_bits(one.get()[:-1], others[:-1] * one.dtype.type(0.5))
    assert one.get()[-1] == others[-1]
    kernels.add(one, two, COUNT)
    assert_close(one.get()[:-1], 1.5 * others[:-1], TOLERANCE[dtype])
