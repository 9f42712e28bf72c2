"""Kernels one by one, for pytest-benchmark: ``pytest benchmarks/test_kernels.py`` (``--benchmark-compare`` against a run before).

One thread, float32, compiled before the clock starts. Extra info holds GFLOP/s where products dominate.
"""

import numpy as np
import pytest

import numbarnn
from numbarnn.backends.cpu.batch import Call, Rows, to_rows
from numbarnn.backends.cpu.losses import value_and_gradient
from numbarnn.cells import CELLS
from numbarnn.kernels.cpu.matmul import NO_PRODUCT, Extent, Factor, Location, Panels, multiply
from numbarnn.kernels.cpu.memory import Arena, padded
from numbarnn.kernels.cpu.simd import panel_width, tile_table
from numbarnn.losses import LOSSES
from numbarnn.optim import OPTIMIZERS, make_optimizer

SIZES = {"small": (14, 32, 128, 30), "large": (64, 256, 64, 20), "one sample": (64, 128, 1, 100)}  # C, H, N, T
DTYPE = np.dtype(np.float32)


def normal(*shape):
    """Return standard normal numbers."""
    return np.random.default_rng(0).standard_normal(shape).astype(DTYPE)


@pytest.mark.parametrize("rows", [1, 25, 100])
def test_multiply(benchmark, rows):
    inner, width = 256, 256
    a, b = normal(rows, inner).reshape(-1), normal(inner * width)
    bias, c = np.zeros(width, DTYPE), np.empty(rows * width, DTYPE)
    w, table = panel_width(DTYPE), tile_table(DTYPE)

    def run():
        multiply(
            table, Extent(rows, width // w), bias, Location(0, 0), a, Factor(0, inner, inner, 1, 0), a, NO_PRODUCT,
            b, Panels(0, inner * w), c, Location(0, width),
        )  # fmt: skip

    run()
    benchmark(run)
    unpacked = b.reshape(width // w, inner, w).transpose(1, 0, 2).reshape(inner, width)
    np.testing.assert_allclose(c.reshape(rows, width), a.reshape(rows, inner) @ unpacked, rtol=1e-4, atol=1e-3)
    benchmark.extra_info["GFLOP/s"] = 2e-9 * rows * inner * width / benchmark.stats.stats.median


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("which", ["forward", "forward + BPTT"])
def test_recurrent(benchmark, cell, size, which):
    inputs, hidden, samples, steps = SIZES[size]
    model = numbarnn.Model([numbarnn.Recurrent(hidden, cell=CELLS[cell]())], inputs, n_threads=1)
    x, dy = normal(samples, steps, inputs), normal(steps * samples, padded(hidden, DTYPE))
    gradient, arena = np.empty(model.params.flat.size, DTYPE), Arena()

    def back():
        arena.reset()
        call = Call(DTYPE, keep=True, arena=arena)
        rows, layout = to_rows(call, x, model.signals[0], None)
        weights = model._weights(call)
        *_, tape = model._forward(call, weights, rows, layout, None)
        model._backward(call, weights, tape, Rows(dy, hidden), gradient, need_dx=True)

    run = (lambda: model.forward(x)) if which == "forward" else back
    run()
    benchmark(run)
    assert which == "forward" or (np.isfinite(gradient).all() and gradient.any())


@pytest.mark.parametrize("name", LOSSES)
def test_loss(benchmark, name):
    classes, samples, steps = 65, 50, 50
    model = numbarnn.Model([numbarnn.Dense(classes)], 8, n_threads=1)
    call, loss = Call(DTYPE), LOSSES[name]()
    outputs, layout = to_rows(call, normal(samples, steps, 8), model.signals[0], None)
    outputs, layout, _, _ = model._forward(call, model._weights(call), outputs, layout, None)
    labels = np.random.default_rng(0).integers(0, classes, (samples, steps))
    numbers = np.random.default_rng(0).random((samples, steps, classes)).astype(DTYPE)
    for target in (labels, numbers):  # integers are the targets of some losses, numbers those of others
        try:
            value_and_gradient(call, loss, outputs, target, layout)
        except (TypeError, ValueError):
            continue
        value, gradient, _ = benchmark(lambda target=target: value_and_gradient(call, loss, outputs, target, layout))
        assert value > 0
        assert gradient.values.any()
        return
    pytest.skip(f"{name} takes other targets")


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_optimizer(benchmark, name):
    optimizer, size = make_optimizer(name), 200_000
    weights, gradient = normal(size), normal(size)
    arrays = [np.zeros(size, DTYPE) for _ in range(optimizer.arrays)]
    before = weights.copy()
    benchmark(lambda: optimizer.update(weights, gradient, arrays, 1, 1e-3, 1))
    assert np.isfinite(weights).all()
    assert (weights != before).any()


@pytest.mark.parametrize("options", [{}, {"temperature": 0}, {"top_k": 10}, {"top_p": 0.9}], ids=str)
def test_sampling(benchmark, options):
    lm = numbarnn.CharLM().fit("".join(map(chr, range(32, 97))) * 80, 0, verbose=0)
    lm.sample(10, **options)
    assert len(benchmark(lambda: lm.sample(500, **options))) == 500
    benchmark.extra_info["characters/s"] = 500 / benchmark.stats.stats.median


@pytest.mark.parametrize("hidden", [32, 128, 512])
def test_stream(benchmark, hidden):
    stream = numbarnn.Model([numbarnn.LSTM(hidden)], 16).stream()
    x = normal(16)
    stream.step(x)
    y = benchmark(stream.step, x)
    assert y.shape == (hidden,)
    assert np.isfinite(y).all()
