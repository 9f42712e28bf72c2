"""Losses on CUDA against the naive equations, and sums of long arrays."""

import dataclasses
import functools
import math

import cuda_device
import naive
import numpy as np
import pytest
from conftest import DTYPES, assert_close, assert_same_bits, normal

from numbarnn.kernels.cuda import losses as kernels
from numbarnn.kernels.cuda import reduce
from numbarnn.kernels.cuda.memory import Arena, upload
from numbarnn.losses import LOSSES, BinaryCrossEntropy, Huber, NegativeBinomial, PointwiseLoss, Quantile

TOLERANCE = {"float32": 1e-5, "float64": 1e-12}
ROWS, SCALE = 5, 0.3
# One thread a row, some threads a row, threads without a column, a whole block a row.
WIDTHS = [1, 3, reduce.WIDE, reduce.WIDE + 3, *([65, 1500] if cuda_device.REAL else [])]
every_dtype = pytest.mark.parametrize("dtype", DTYPES)
every_width = pytest.mark.parametrize("columns", WIDTHS)
weighted = pytest.mark.parametrize("weights", [None, np.array([0.5, 0, 1, 3, 0])], ids=["ones", "weights"])
POISON = 77.0  # in the padding


def evaluate(kernel, outputs, targets, weights, *options):
    """Return (losses, gradient) of a kernel for outputs whose rows lie apart."""
    rows, columns = outputs.shape
    padded = np.full((rows, columns + 2), POISON, outputs.dtype)
    padded[:, :columns] = outputs
    losses, gradient = (upload(np.full(shape, POISON, outputs.dtype)) for shape in (rows, padded.shape))
    weights = None if weights is None else upload(weights.astype(outputs.dtype))
    looked = kernels.LossRows(upload(padded), gradient, columns + 2, columns, losses, rows)
    kernel(looked, upload(targets), weights, SCALE, *options)
    gradient = gradient.get().reshape(padded.shape)
    assert (gradient[:, columns:] == POISON).all()
    return losses.get(), gradient[:, :columns]


def pointwise(loss):
    """Return the kernel of a loss with a term, with the arguments of `kernels.softmax_cross_entropy`."""
    return functools.partial(kernels.pointwise, loss.record)


def check(name, found, outputs, targets, weights, dtype, **options):
    """Compare with the naive equation, row by row."""
    weights = np.ones(len(outputs)) if weights is None else weights
    for r, weight in enumerate(weights):
        if weight == 0:
            assert found[0][r] == 0
            assert not found[1][r].any()
            continue
        value, gradient = naive.LOSSES[name](
            np.float64(outputs[r : r + 1, None]), targets[r : r + 1, None], "sum", sample_weight=weights[r : r + 1], **options
        )  # fmt: skip
        assert abs(found[0][r] - value) <= TOLERANCE[dtype] * max(abs(value), 1), f"loss of row {r}"
        # A gradient that vanishes is the difference of what does not: its scale is the weight's, if not its own.
        bound = max(weight, np.abs(gradient).max())
        assert np.abs(found[1][r] - SCALE * gradient[0, 0]).max() <= TOLERANCE[dtype] * SCALE * bound, f"row {r}"


def spoil(outputs, targets, weights, target):
    """Put what must not be looked at in rows of weight 0."""
    if weights is not None:
        outputs[weights == 0] = np.nan
        targets[weights == 0] = target


@every_dtype
@every_width
@weighted
@pytest.mark.parametrize(("smoothing", "by_class"), [(0.0, False), (0.2, False), (0.2, True)])
def test_softmax_cross_entropy(dtype, columns, weights, smoothing, by_class):
    generator = np.random.default_rng(columns)
    logits = 3 * normal(columns, ROWS, columns, dtype=dtype)
    targets = generator.integers(0, columns, ROWS).astype(np.int32)
    spoil(logits, targets, weights, -1)
    class_weights = generator.uniform(0.2, 2, columns).astype(dtype) if by_class else None
    found = evaluate(
        kernels.softmax_cross_entropy, logits, targets, weights, None if class_weights is None else upload(class_weights), smoothing
    )  # fmt: skip
    check(
        "softmax_cross_entropy", found, logits, targets, weights, dtype, class_weight=class_weights, smoothing=smoothing
    )


@every_dtype
@every_width
@weighted
def test_soft_cross_entropy(dtype, columns, weights):
    generator = np.random.default_rng(columns)
    logits = 3 * normal(columns, ROWS, columns, dtype=dtype)
    targets = (generator.random((ROWS, columns)) * (generator.random((ROWS, columns)) < 0.7)).astype(dtype)
    spoil(logits, targets, weights, np.nan)
    found = evaluate(kernels.soft_cross_entropy, logits, targets, weights)
    check("softmax_cross_entropy", found, logits, targets, weights, dtype)


def test_target_of_weight_zero_has_no_loss():
    logits, targets = normal(0, 3, 4), np.array([1, 0, 1], np.int32)
    class_weights = upload(np.array([1.0, 0.0, 2.0, 1.0]))
    losses, gradient = evaluate(kernels.softmax_cross_entropy, logits, targets, None, class_weights)
    assert (losses == 0).tolist() == [True, False, True]
    assert gradient.any(axis=1).tolist() == [False, True, False]


@every_dtype
def test_logits_of_any_size(dtype):
    logits = np.array([[1e4, 0, -1e4], [3e37, 3e37, -3e37], [-1e30, -1e30, -1e30]], dtype)
    losses, gradient = evaluate(kernels.softmax_cross_entropy, logits, np.array([0, 1, 2], np.int32), None)
    assert_close(losses, [0, math.log(2), math.log(3)], TOLERANCE[dtype])
    assert_close(gradient[1], [SCALE / 2, -SCALE / 2, 0], TOLERANCE[dtype])
    poisoned = np.array([[0, np.nan, 1], [0, 1, 2]], dtype)
    losses, gradient = evaluate(kernels.softmax_cross_entropy, poisoned, np.array([0, 1], np.int32), None)
    assert np.isnan(losses).tolist() == [True, False]
    assert np.isnan(gradient).all(axis=1).tolist() == [True, False]


@every_dtype
@every_width
def test_softmax(dtype, columns):
    logits = 3 * normal(1, ROWS, columns, dtype=dtype)
    padded = np.full((ROWS, columns + 1), np.nan, dtype)
    padded[:, :columns] = logits
    found = upload(np.full(ROWS * columns, POISON, dtype))
    kernels.softmax(upload(padded), columns + 1, columns, found, ROWS)
    assert_close(found.get().reshape(ROWS, columns), naive.softmax(np.float64(logits)), TOLERANCE[dtype])


@every_dtype
@every_width
@weighted
@pytest.mark.parametrize(
    "loss",
    [
        *(loss() for loss in LOSSES.values() if issubclass(loss, PointwiseLoss)),
        Huber(0.7),
        BinaryCrossEntropy(3.0),
        Quantile((0.3,)),
        NegativeBinomial(20.0),
    ],
    ids=repr,
)
def test_losses_with_a_term(dtype, columns, weights, loss):
    outputs = 4 * normal(2, ROWS, columns * loss.outputs_per_target, dtype=dtype)
    targets = normal(3, ROWS, columns, dtype=dtype)
    targets[2, 0] = outputs[2, 0]  # where an absolute error has no slope
    if isinstance(loss, NegativeBinomial):
        targets = np.random.default_rng(columns).poisson(3, targets.shape).astype(dtype)
    if loss.output_activation == "sigmoid":
        targets = np.random.default_rng(columns).random((ROWS, columns)).astype(dtype)
        targets[3] = targets[3] > 0.5
    spoil(outputs, targets, weights, np.nan)
    options = loss.options(outputs.shape[1], dtype)
    found = evaluate(pointwise(loss), outputs, targets, weights, upload(options) if options.size else None)
    given = {field.name: getattr(loss, field.name) for field in dataclasses.fields(loss)}
    given = {name: value for name, value in given.items() if value is not None}
    check(loss.name, found, outputs, targets, weights, dtype, **given)


@every_dtype
@every_width
def test_an_option_for_each_feature(dtype, columns):
    generator = np.random.default_rng(columns)
    outputs, targets = 4 * normal(4, ROWS, columns, dtype=dtype), generator.random((ROWS, columns)).astype(dtype)
    pos_weights = generator.uniform(0.2, 3, columns).astype(dtype)
    found = evaluate(
        pointwise(BinaryCrossEntropy()),
        outputs,
        targets,
        None,
        upload(np.concatenate([pos_weights, np.ones(columns, dtype)])),
    )
    check("binary_cross_entropy", found, outputs, targets, None, dtype, pos_weight=pos_weights)


@every_dtype
@pytest.mark.parametrize("size", [20.0, 80.0, 1e3, 1e30])
def test_binary_logits_of_any_size(dtype, size):
    logits = np.array([[size], [size], [-size], [-size]], dtype)
    targets = np.array([[1], [0], [1], [0]], dtype)
    ones = upload(np.ones(2, dtype))
    losses, gradient = evaluate(pointwise(BinaryCrossEntropy()), logits, targets, None, ones)
    tiny = np.finfo(dtype).tiny * 2  # smaller ones may be zero
    for loss, slope, signed in zip(losses, gradient[:, 0], np.float64([-size, size, size, -size]), strict=True):
        expected = np.logaddexp(0, signed)
        assert abs(loss - expected) <= TOLERANCE[dtype] * expected + tiny
        expected = SCALE * np.exp(-np.logaddexp(0, -signed))
        assert abs(abs(slope) - expected) <= TOLERANCE[dtype] * expected + tiny


@every_dtype
@pytest.mark.parametrize("count", [0, 1, reduce.PART, reduce.PART + 1, 3 * reduce.PART * reduce.MOST_PARTS // 2 + 5])
def test_total(dtype, count):
    values, arena = normal(5, count + 3, dtype=dtype), Arena()
    buffer = upload(values)
    found = kernels.total(arena, buffer, count).get()
    assert found.shape == (1,)
    assert abs(found[0] - math.fsum(values[:count])) <= TOLERANCE[dtype] * max(np.abs(values[:count]).sum(), 1)
    for _ in range(3):
        assert_same_bits(kernels.total(arena, buffer, count).get(), found)
