"""CTC on CUDA against all alignments, and against the CPU."""

import itertools

import cuda_device
import naive
import numpy as np
import pytest
from conftest import DTYPES, assert_close, assert_same_bits, normal

from numbarnn.backends.cpu.batch import Call, Rows
from numbarnn.backends.cpu.losses import ctc as loss_and_gradient
from numbarnn.core.label_sequences import as_labels
from numbarnn.core.layout import Layout
from numbarnn.kernels.cpu.memory import padded
from numbarnn.kernels.cuda import ctc as kernels
from numbarnn.kernels.cuda.groups import SpacedRows
from numbarnn.kernels.cuda.memory import Arena, Staging, upload

TOLERANCE = {"float32": 1e-5, "float64": 1e-12}
STRINGS = [[2, 2], [3, 1, 3], [], [1, 2], [1, 1, 1], [2], []]
LENGTHS = [5, 4, 4, 4, 4, 2, 0]  # the fifth is too short for its string
SCALES = np.array([1.0, 0.5, 2.0, 0.0, 1.5, 0.25, 3.0])
POISON = 77.0
every_dtype = pytest.mark.parametrize("dtype", DTYPES)


def evaluate(logits, strings, lengths, blank=0, scales=None, zero=False):
    """Return (losses, gradient) for logits (T, N, V), whose rows lie apart on the device."""
    steps, samples, classes = logits.shape
    labels = as_labels([list(string) for string in strings])
    scales = np.ones(samples) if scales is None else scales
    apart = np.full((steps * samples, classes + 1), POISON, logits.dtype)
    apart[:, :classes] = logits.reshape(-1, classes)
    losses, gradient = (upload(np.full(shape, POISON, logits.dtype)) for shape in (samples, apart.shape))
    staging, arena = Staging(), Arena()
    sequences = kernels.stage(staging, np.array(lengths), labels, blank, scales, logits.dtype)
    staging.send(arena)
    kernels.ctc(arena, SpacedRows(upload(apart), classes + 1), steps, classes, sequences, zero, losses, gradient)
    gradient = gradient.get().reshape(steps, samples, classes + 1)
    assert (gradient[..., classes] == POISON).all()
    return losses.get(), gradient[..., :classes]


def on_the_cpu(logits, strings, lengths, blank=0, scales=None, zero=False):
    """Return what the CPU's kernel finds in the same logits."""
    steps, samples, classes = logits.shape
    call = Call(logits.dtype, 1)
    rows = Rows(call.zeros((steps * samples, padded(classes, call.dtype))), classes)
    rows.values[:, :classes] = logits.reshape(-1, classes)
    scales = np.ones(samples) if scales is None else scales
    labels = as_labels([list(string) for string in strings])
    losses, gradient = loss_and_gradient(
        call, rows, labels, Layout.make(steps, samples, np.array(lengths)), blank, scales, zero
    )
    return losses, gradient[:, :classes].reshape(logits.shape)


@pytest.mark.parametrize(("dtype", "blank"), [("float32", 0), ("float64", 3)])
def test_against_all_alignments(dtype, blank):
    logits = 2 * normal(blank, max(LENGTHS), len(LENGTHS), 4, dtype=dtype)
    others = [c for c in range(4) if c != blank]
    strings = [[others[c - 1] for c in string] for string in STRINGS]
    losses, gradient = evaluate(logits, strings, LENGTHS, blank, SCALES)
    for n, (string, steps, scale) in enumerate(zip(strings, LENGTHS, SCALES, strict=True)):
        assert not gradient[steps:, n].any()
        if steps < len(string) + sum(a == b for a, b in itertools.pairwise(string)):
            assert losses[n] == np.inf
            assert not gradient[:, n].any()
        elif scale == 0 or steps == 0:
            assert losses[n] == 0
            assert not gradient[:, n].any()
        else:
            loss, slope = naive.ctc(np.float64(logits[:steps, n]), string, blank)
            assert abs(losses[n] - loss) <= TOLERANCE[dtype] * loss
            assert_close(gradient[:steps, n], scale * slope, TOLERANCE[dtype])
    assert evaluate(logits, strings, LENGTHS, blank, SCALES, zero=True)[0][4] == 0


# (T, N, V, L): more labels than threads; more classes than threads; long, where float32 would underflow.
SIZES = [(7, 2, 3, 3), (5, 1, 7, 2)] + [(400, 5, 40, 150), (2000, 3, 5, 600), (90, 130, 300, 20)] * cuda_device.REAL


@every_dtype
@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("spread", [1.0, 60.0] if cuda_device.REAL else [6.0])
def test_against_the_cpu(dtype, size, spread):
    steps, samples, classes, longest = size
    generator = np.random.default_rng(steps)
    logits = (spread * generator.standard_normal((steps, samples, classes))).astype(dtype)
    counts = [longest, *generator.integers(0, longest + 1, samples - 1)]
    strings = [list(generator.integers(1, classes, count)) for count in counts]
    lengths = np.sort(generator.integers(2 * longest, steps + 1, samples))[::-1]
    losses, gradient = evaluate(logits, strings, lengths)
    expected, slope = on_the_cpu(logits, strings, lengths)
    assert expected.min() > 0
    assert_close(losses, expected, TOLERANCE[dtype])
    assert_close(gradient, slope, TOLERANCE[dtype])


@every_dtype
def test_numbers_that_would_underflow(dtype):
    """Alignments of probability e^-4000, where half of them are that unlikely and labels must share what there is."""
    logits = normal(1, 4, 1, 3, dtype=dtype)
    logits[..., 0] += 1000
    losses, gradient = evaluate(logits, [[1, 2, 1, 2]], [4])
    expected, slope = on_the_cpu(logits, [[1, 2, 1, 2]], [4])
    assert expected[0] > 3900
    assert_close(losses, expected, TOLERANCE[dtype])
    assert_close(gradient, slope, TOLERANCE[dtype])


@every_dtype
def test_infinite_and_missing_numbers(dtype):
    logits = normal(2, 3, 3, 3, dtype=dtype)
    logits[:, 0, 1] = -np.inf  # without its label the first has no alignment, the second has one less
    logits[0, 1, 2] = -np.inf
    logits[1, 2, 0] = np.nan
    losses, gradient = evaluate(logits, [[1], [2], [1]], [3, 3, 3])
    expected, slope = on_the_cpu(logits, [[1], [2], [1]], [3, 3, 3])
    assert losses[0] == expected[0] == np.inf
    assert not gradient[:, 0].any()
    assert np.isnan(losses[2])
    assert np.isnan(expected[2])
    assert_close(losses[1:2], expected[1:2], TOLERANCE[dtype])
    assert_close(gradient[:, 1], slope[:, 1], TOLERANCE[dtype])


def test_repeats_have_equal_bits():
    logits = normal(3, 6, 2, 3, dtype="float32")
    first = evaluate(logits, [[1, 2, 1], [1, 1]], [6, 4])
    for _ in range(200 if cuda_device.REAL else 1):
        for found, expected in zip(evaluate(logits, [[1, 2, 1], [1, 1]], [6, 4]), first, strict=True):
            assert_same_bits(found, expected)


def test_chains():
    following, leading = kernels.chains(np.array([1, 2, 1, 1, 1, 2, 2]), np.array([0, 4, 4, 7]))
    assert following.tolist() == [2, -1, 3, -1, -1, 6, -1]
    assert leading.tolist() == [1, 1, 0, 0, 1, 1, 0]
