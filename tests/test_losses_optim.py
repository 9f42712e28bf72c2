"""Losses, optimizers, clipping and schedules against the naive equations; the registries are the lists of tests."""

import itertools
import math
import re

import naive
import numpy as np
import pytest
from conftest import DTYPES, GRADIENT_TOLERANCE, assert_close, assert_same_bits, normal

from numbarnn import RNN, Dense, Model
from numbarnn.backends.cpu.batch import Call, to_rows
from numbarnn.backends.cpu.losses import value_and_gradient
from numbarnn.backends.cpu.optim import Pending
from numbarnn.core.signal import Signal
from numbarnn.errors import ShapeError, TokenError
from numbarnn.kernels.cpu import losses as kernels
from numbarnn.kernels.cpu.memory import padded
from numbarnn.losses import (
    LOSSES,
    BinaryCrossEntropy,
    Huber,
    MeanAbsoluteError,
    MeanSquaredError,
    SegmentCrossEntropy,
    SoftmaxCrossEntropy,
    make_loss,
)
from numbarnn.optim import (
    EMA,
    OPTIMIZERS,
    SCHEDULES,
    SGD,
    Adagrad,
    Adam,
    AdamW,
    Cosine,
    ExponentialDecay,
    MultiStep,
    OneCycle,
    ReduceOnPlateau,
    RMSprop,
    Schedule,
    StepDecay,
    WarmUp,
    blend,
    clip_by_norm,
    clip_by_value,
    make_optimizer,
    norm,
)

every_dtype = pytest.mark.parametrize("dtype", DTYPES)
BY_STEP = [name for name, cls in LOSSES.items() if cls.by_step]  # tests/test_ctc.py has the others
every_loss = pytest.mark.parametrize("name", BY_STEP)
every_optimizer = pytest.mark.parametrize("name", OPTIMIZERS)
TOLERANCE = {"float32": 2e-6, "float64": 1e-13}
N, T, SIZE = 5, 6, 4
RAGGED = [6, 0, 3, 1, 6]


def evaluate(loss, outputs, target, lengths=None, reduction="mean", sample_weight=None, n_threads=1):
    """Return (value, gradient in the shape of the outputs, total weight)."""
    call = Call(outputs.dtype, n_threads)
    rows, layout = to_rows(call, outputs, Signal(outputs.shape[2]), lengths)
    value, gradient, total = value_and_gradient(call, loss, rows, target, layout, reduction, sample_weight)
    by_step = gradient.values.reshape(layout.steps, layout.samples, -1)
    assert not by_step[:, :, outputs.shape[2] :].any()  # padded columns
    return value, layout.unsort(by_step[:, :, : outputs.shape[2]].transpose(1, 0, 2)), total


def columns(name, size=SIZE):
    """Return the outputs that a loss needs for a target of a size."""
    return size * LOSSES[name]().outputs_per_target


def example(name, dtype="float64", seed=0, size=SIZE):
    """Return (outputs, target) for a loss."""
    outputs = 2 * normal(seed, N, T, columns(name, size), dtype=dtype)
    generator, kind = np.random.default_rng(seed), LOSSES[name].output_activation
    if kind == "softmax":
        return outputs, generator.integers(0, size, (N, T))
    if kind == "sigmoid":
        return outputs, generator.random((N, T, size)).astype(dtype)
    if name == "negative_binomial":
        return outputs, generator.poisson(3, (N, T, size)).astype(dtype)
    return outputs, normal(seed + 1, N, T, size, dtype=dtype)


def weights_of(shape, seed=3):
    """Return weights of which some are zero."""
    generator = np.random.default_rng(seed)
    return generator.uniform(0.1, 2.0, shape) * (generator.random(shape) < 0.7)


# Losses


@every_loss
@every_dtype
@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("lengths", [None, RAGGED], ids=["full", "ragged"])
@pytest.mark.parametrize("weight", [None, weights_of(N), weights_of((N, T))], ids=["unweighted", "samples", "steps"])
def test_value_and_gradient(name, dtype, reduction, lengths, weight):
    assert name in naive.LOSSES, f"tests/naive.py has no equation for the loss {name!r}"
    outputs, target = example(name, dtype)
    value, gradient, total = evaluate(make_loss(name), outputs, target, lengths, reduction, weight)
    options = {"lengths": lengths, "sample_weight": weight}
    expected, expected_gradient = naive.LOSSES[name](np.float64(outputs), target, reduction, **options)
    assert_close(value, expected, TOLERANCE[dtype])
    assert_close(gradient, expected_gradient, TOLERANCE[dtype])
    assert_close(total, naive.row_weights((N, T), lengths, weight).sum(), 1e-15)


# Losses with options, and those of the naive equations.
OPTIONS = [
    ("softmax_cross_entropy", {"label_smoothing": 0.1}, {"smoothing": 0.1}),
    ("softmax_cross_entropy", {"label_smoothing": 1.0}, {"smoothing": 1.0}),
    (
        "softmax_cross_entropy",
        {"label_smoothing": 0.3, "class_weight": (0.5, 0.0, 2.0, 1.25), "ignore_index": 1},
        {"smoothing": 0.3, "class_weight": (0.5, 0.0, 2.0, 1.25), "ignore_index": 1},
    ),
    ("huber", {"delta": 0.3}, {"delta": 0.3}),
    ("huber", {"delta": 2.5}, {"delta": 2.5}),
    ("binary_cross_entropy", {"pos_weight": 3.0}, {"pos_weight": 3.0}),
    ("binary_cross_entropy", {"pos_weight": (0.5, 0.0, 2.0, 7.0)}, {"pos_weight": np.array([0.5, 0.0, 2.0, 7.0])}),
    (
        "binary_cross_entropy",
        {"pos_weight": 0.5, "weight": (0.5, 0.0, 2.0, 7.0)},
        {"pos_weight": 0.5, "weight": np.array([0.5, 0.0, 2.0, 7.0])},
    ),
    ("gaussian", {"floor": 0.5}, {"floor": 0.5}),
    ("negative_binomial", {"scale": (0.5, 1.0, 7.0, 50.0)}, {"scale": np.array([0.5, 1.0, 7.0, 50.0])}),
]


@pytest.mark.parametrize(("name", "options", "expected"), OPTIONS, ids=str)
@every_dtype
@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("lengths", [None, RAGGED], ids=["full", "ragged"])
@pytest.mark.parametrize("weight", [None, weights_of((N, T))], ids=["unweighted", "steps"])
def test_options(name, options, expected, dtype, reduction, lengths, weight, pieces):
    outputs, target = example(name, dtype)
    loss = LOSSES[name](**options)
    value, gradient, _ = evaluate(loss, outputs, target, lengths, reduction, weight)
    want = naive.LOSSES[name](np.float64(outputs), target, reduction, lengths=lengths, sample_weight=weight, **expected)
    assert_close(value, want[0], TOLERANCE[dtype])
    assert_close(gradient, want[1], TOLERANCE[dtype])
    again, shared, _ = evaluate(loss, outputs, target, lengths, reduction, weight, n_threads=3)
    assert max(pieces) == 3
    assert again == value
    assert_same_bits(shared, gradient)


@pytest.mark.parametrize(("name", "options", "_"), OPTIONS, ids=str)
def test_gradient_with_options_by_central_differences(name, options, _):
    loss, (outputs, target) = LOSSES[name](**options), example(name)
    gradient = evaluate(loss, outputs, target, RAGGED)[1]
    expected = naive.central_differences(lambda outputs: evaluate(loss, outputs, target, RAGGED)[0], outputs)
    assert_close(gradient, expected, GRADIENT_TOLERANCE)


def test_defaults_are_special_cases():
    outputs, target = example("softmax_cross_entropy")
    equal = evaluate(SoftmaxCrossEntropy((1.0,) * SIZE), outputs, target, RAGGED)
    plain = evaluate(SoftmaxCrossEntropy(), outputs, target, RAGGED)
    assert_same_bits(equal[1], plain[1])
    outputs, target = example("huber")
    far = evaluate(Huber(1e3), outputs, target, RAGGED)
    assert_close(far[0], evaluate(MeanSquaredError(), outputs, target, RAGGED)[0] / 2, 1e-15)
    near = evaluate(Huber(1e-9), outputs, target, RAGGED)
    assert_close(near[0] / 1e-9, evaluate(MeanAbsoluteError(), outputs, target, RAGGED)[0], 1e-8)


@every_dtype
@pytest.mark.parametrize("size", [0.0, 1e-8, 3.0, 20.0, 80.0, 88.0, 1e3, 1e30, np.inf])
def test_extreme_logits_of_binary_cross_entropy(dtype, size):
    logits = np.array([[[size, size, -size, -size]]], dtype)
    target = np.array([[[1, 0, 1, 0]]])
    if np.isinf(size):  # certain and right: no loss; the wrong ones are infinite
        value, gradient, _ = evaluate(BinaryCrossEntropy(), logits[..., [0, 3]], target[..., [0, 3]])
        assert value == 0.0
        assert not gradient.any()
        assert evaluate(BinaryCrossEntropy(), logits, target)[0] == np.inf
        return
    for column in range(4):  # each by itself: a small one must not hide beside a large one
        value, gradient, _ = evaluate(
            BinaryCrossEntropy(), logits[..., column:][..., :1], target[..., column:][..., :1]
        )
        exact = np.float64(logits[0, 0, column])
        signed = -exact if target[0, 0, column] else exact
        small = np.finfo(dtype).tiny * 2
        assert abs(value - np.logaddexp(0, signed)) <= TOLERANCE[dtype] * np.logaddexp(0, signed) + small
        slope = np.exp(-np.logaddexp(0, -signed))
        assert abs(abs(float(gradient[0, 0, 0])) - slope) <= TOLERANCE[dtype] * slope + small


@pytest.mark.parametrize("value", [-0.01, 1.01, np.nan, 2])
def test_targets_of_binary_cross_entropy_are_probabilities(value):
    outputs, target = example("binary_cross_entropy")
    target[1, 2, 3] = value
    with pytest.raises(ValueError, match=r"must lie in \[0, 1\]; 1 values do not, the first is"):
        evaluate(BinaryCrossEntropy(), outputs, target)
    padding = [6, 2, 6, 6, 6]
    evaluate(BinaryCrossEntropy(), outputs, target, padding)


def test_targets_of_binary_cross_entropy_may_be_booleans():
    outputs, target = example("binary_cross_entropy")
    expected = evaluate(BinaryCrossEntropy(), outputs, (target > 0.5).astype(float))
    assert evaluate(BinaryCrossEntropy(), outputs, target > 0.5)[0] == expected[0]


@every_dtype
def test_error_of_zero_has_gradient_zero(dtype):
    outputs, target = example("mae", dtype)
    target[0, 0] = outputs[0, 0]
    for loss in (MeanAbsoluteError(), Huber()):
        gradient = evaluate(loss, outputs, target)[1]
        assert not gradient[0, 0].any()
        assert gradient[1].all()


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: Huber(0), ValueError, "delta must be positive"),
        (lambda: Huber("1"), TypeError, "delta must be a number"),
        (lambda: SoftmaxCrossEntropy(label_smoothing=1.5), ValueError, "label_smoothing"),
        (lambda: SoftmaxCrossEntropy(label_smoothing=None), TypeError, "label_smoothing"),
        (lambda: SoftmaxCrossEntropy((1, -1)), ValueError, "class_weight"),
        (lambda: BinaryCrossEntropy(-1), ValueError, "pos_weight"),
        (lambda: BinaryCrossEntropy((1, np.nan)), ValueError, "pos_weight"),
        (lambda: BinaryCrossEntropy(("a",)), TypeError, "pos_weight"),
        (
            lambda: evaluate(BinaryCrossEntropy((1, 2)), *example("binary_cross_entropy")),
            ShapeError,
            "each of 4 features",
        ),
        (lambda: SGD(nesterov=True), ValueError, "momentum"),
        (lambda: SGD(momentum=0.9, nesterov=1), TypeError, "nesterov must be True or False"),
        (lambda: Adagrad(initial_accumulator_value=-1), ValueError, "initial_accumulator_value"),
        (lambda: EMA(1.0), ValueError, "decay"),
        (lambda: EMA("0.9"), ValueError, "decay"),
        (lambda: EMA(final=1), TypeError, "final"),
    ],
)
def test_bad_options(make, error, message):
    with pytest.raises(error, match=message):
        make()


@every_loss
@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_gradient_by_central_differences(name, reduction):
    outputs, target = example(name)
    weight = weights_of((N, T))

    def value(outputs):
        return evaluate(make_loss(name), outputs, target, RAGGED, reduction, weight)[0]

    gradient = evaluate(make_loss(name), outputs, target, RAGGED, reduction, weight)[1]
    assert_close(gradient, naive.central_differences(value, outputs), GRADIENT_TOLERANCE)


@every_loss
@every_dtype
@pytest.mark.parametrize("size", [1, 4, 33, 70])
def test_threads(name, dtype, size, pieces):
    outputs, target = example(name, dtype, size=size)
    expected = evaluate(make_loss(name), outputs, target, RAGGED)
    for n_threads in (2, 3, 5):
        value, gradient, _ = evaluate(make_loss(name), outputs, target, RAGGED, n_threads=n_threads)
        assert max(pieces) == n_threads
        assert value == expected[0]
        assert_same_bits(gradient, expected[1])


@pytest.mark.parametrize(
    ("loss", "soft"),
    [
        *((make_loss(name), False) for name in BY_STEP),
        (SoftmaxCrossEntropy(label_smoothing=0.1), False),
        (SoftmaxCrossEntropy(), True),
    ],
    ids=str,
)
@every_dtype
@pytest.mark.parametrize("size", [17, 33, 70])
def test_result_does_not_depend_on_where_the_arrays_lie(loss, soft, dtype, size):
    name = loss.name
    # Compiled loops ask at run time whether arrays may overlap, and take another body then: its sums must be the same.
    size *= loss.outputs_per_target
    rows, row = 30, padded(size, dtype)
    outputs = np.zeros((rows, row), dtype)
    given = soft_example(dtype, size) if soft else example(name, dtype, size=size // loss.outputs_per_target)
    outputs[:, :size], target = (array.reshape(rows, *array.shape[2:]) for array in given)
    target = target.astype(np.int32) if target.dtype.kind == "i" else target
    arrays = [outputs.reshape(-1), target.reshape(-1), np.full(rows, np.nan), np.full(rows * row, np.nan, dtype)]
    results = set()

    def run(outputs, row, columns, targets, *arguments):
        if soft:
            kernels.soft_cross_entropy(outputs, row, columns, targets, *arguments)
        elif name == "softmax_cross_entropy":
            *arguments, first, last = arguments
            given = outputs, row, columns, targets, *arguments, np.zeros(0), loss.label_smoothing, first, last
            kernels.softmax_cross_entropy(*given)
        else:
            options = loss.options(columns, outputs.dtype)
            kernels.pointwise(loss.record, outputs, row, columns, targets, options, *arguments)

    for order in itertools.permutations(range(4)):
        for gap in (0, 64, 1024, 8192):
            arena, at, placed = np.zeros(200_000, np.uint8), 64, {}
            for i in order:
                placed[i] = arena[at : at + arrays[i].nbytes].view(arrays[i].dtype)
                placed[i][...] = arrays[i]
                at += -(-arrays[i].nbytes // 64) * 64 + gap
            values, goal, losses, gradient = (placed[i] for i in range(4))
            run(values, row, size, goal, np.zeros(0), 0.3, losses, gradient, 0, rows)
            results.add(losses.tobytes() + gradient.tobytes())
    assert len(results) == 1


@every_loss
def test_rows_that_do_not_count_may_hold_anything(name):
    outputs, target = example(name)
    padding = np.arange(T) >= np.array(RAGGED)[:, None]
    expected = evaluate(make_loss(name), outputs, target, RAGGED)
    outputs[padding] = np.nan
    target[padding] = -999 if target.dtype.kind == "i" else np.nan
    value, gradient, total = evaluate(make_loss(name), outputs, target, RAGGED)
    assert (value, total) == (expected[0], expected[2])
    assert_same_bits(gradient, expected[1])
    assert not gradient[padding].any()


@every_loss
def test_nothing_counts(name):
    outputs, target = example(name)
    for lengths, weight in ((np.zeros(N, int), None), (None, np.zeros(N))):
        value, gradient, total = evaluate(make_loss(name), outputs, target, lengths, sample_weight=weight)
        assert (value, total) == (0.0, 0.0)
        assert not gradient.any()


@every_loss
def test_through_a_model(name):
    """`Model.loss_and_grad` is the loss of the model's outputs, and its gradient that of the parameters."""
    model = Model([RNN(3, init="torch"), Dense(columns(name))], input_size=2, dtype="float64", n_threads=1)
    x, (_, target) = normal(9, N, T, 2), example(name)
    weight, start = weights_of(N), model.params.flat.copy()

    def value(flat, reduction="sum"):
        model.set_flat(flat)
        outputs, _ = model.forward(x, lengths=RAGGED)
        return naive.LOSSES[name](outputs, target, reduction, lengths=RAGGED, sample_weight=weight)[0]

    for reduction in ("mean", "sum"):
        found, gradients = model.loss_and_grad(x, target, name, RAGGED, reduction=reduction, sample_weight=weight)
        assert_close(found, value(start, reduction), 1e-13)
        expected = naive.central_differences(lambda flat, reduction=reduction: value(flat, reduction), start)
        model.set_flat(start)
        for key, array in model.params.views(expected).items():
            assert_close(gradients[key], array, GRADIENT_TOLERANCE, key)


@pytest.mark.parametrize("name", [*LOSSES, "segment_cross_entropy"])
def test_losses_of_steps(name):
    loss = SegmentCrossEntropy() if name == "segment_cross_entropy" else LOSSES[name]()
    dense = Dense(SIZE * loss.outputs_per_target)
    model = Model([RNN(3, bidirectional=True), dense], input_size=2, dtype="float64", n_threads=1)
    x, weight = normal(9, N, T, 2), np.arange(1.0, N + 1)
    target = {
        "ctc": [[1], [], [2, 1], [1]] * N,
        "segment_cross_entropy": np.tile([3, -1, 1, 0, 3, 2, -1, 1][:T], (N, 1)),
    }
    target = target[name][:N] if name in target else example(name)[1]
    common = {"lengths": RAGGED, "sample_weight": weight}
    losses, gradients = model.loss_and_grad(x, target, loss, reduction="none", **common)
    value, expected = model.loss_and_grad(x, target, loss, reduction="sum", **common)
    assert losses.shape == ((N,) if name == "ctc" else (N, T))
    assert losses.sum() == pytest.approx(value, rel=1e-13)
    for key, gradient in gradients.items():
        assert_same_bits(gradient, expected[key])
    for n, length in enumerate(RAGGED):  # each by itself
        assert name == "ctc" or not losses[n, length:].any()
        alone = model.loss_and_grad(x[n : n + 1], target[n : n + 1], loss, [length], reduction="sum")[0]
        assert losses[n].sum() == pytest.approx(weight[n] * alone, rel=1e-13)
    last = Model([RNN(3, return_sequences=False), dense], input_size=2, dtype="float64", n_threads=1)
    if loss.by_step:
        assert last.loss_and_grad(x, np.asarray(target)[:, 0], loss, RAGGED, reduction="none")[0].shape == (N,)


@every_loss
def test_one_output_a_sample(name):
    model = Model([RNN(3, return_sequences=False), Dense(columns(name))], input_size=2, dtype="float64", n_threads=1)
    x, (_, target) = normal(9, N, T, 2), example(name)
    value, _ = model.loss_and_grad(x, target[:, 0], name, RAGGED)
    outputs, _ = model.forward(x, lengths=RAGGED)
    # A sample of length zero has an output too: what the dense layer makes of zeros.
    assert_close(value, naive.LOSSES[name](outputs[:, None], target[:, :1])[0], 1e-13)


def test_targets_without_the_axis_of_one_feature():
    outputs, target = normal(0, N, T, 1), normal(1, N, T, 1)
    expected = evaluate(MeanSquaredError(), outputs, target)[0]
    assert evaluate(MeanSquaredError(), outputs, target[:, :, 0])[0] == expected
    last = evaluate(MeanSquaredError(), outputs[:, :1], target[:, :1])[0]
    for short in (target[:, 0], target[:, 0, 0]):
        assert evaluate(MeanSquaredError(), outputs[:, :1], short)[0] == last


@every_dtype
@pytest.mark.parametrize("size", [1e3, 1e4, 1e30])
def test_extreme_logits(dtype, size):
    logits = np.array([[[size, -size, 0.0], [-size, size, 0.0], [0.0, 0.0, 0.0], [size, size, size]]], dtype)
    for target in ([[0, 1, 2, 0]], [[1, 0, 0, 2]]):
        target = np.array(target)
        value, gradient, _ = evaluate(SoftmaxCrossEntropy(), logits, target)
        expected, expected_gradient = naive.softmax_cross_entropy(np.float64(logits), target)
        assert np.isfinite(value)
        assert np.isfinite(gradient).all()
        assert_close(value, expected, TOLERANCE[dtype])
        assert_close(gradient, expected_gradient, TOLERANCE[dtype])


@every_dtype
def test_confident_and_right(dtype):
    # log(1 + rest) with a rest far below the rounding of 1 + rest: the loss is zero or tiny, never negative.
    for gap in (5.0, 15.0, 30.0, 200.0):
        logits = np.zeros((1, 1, 3), dtype)
        logits[..., 1] = gap
        value = evaluate(SoftmaxCrossEntropy(), logits, np.array([[1]]))[0]
        assert value >= 0
        assert abs(value - math.log1p(2 * math.exp(-gap))) < 4 * np.finfo(dtype).eps


@every_dtype
def test_logits_of_minus_infinity_have_probability_zero(dtype):
    logits = np.array([[[0.0, -np.inf, 1.0]]], dtype)
    value, gradient, _ = evaluate(SoftmaxCrossEntropy(), logits, np.array([[0]]))
    expected = math.log(1 + math.e)
    assert_close(value, expected, TOLERANCE[dtype])
    assert gradient[0, 0, 1] == 0
    assert_close(gradient.sum(), 0.0, 1e-6 if dtype == "float32" else 1e-15)


@every_loss
@every_dtype
def test_nan_spreads(name, dtype):
    for column in range(columns(name)):
        outputs, target = example(name, dtype)
        outputs[2, 3, column] = np.nan
        value, gradient, _ = evaluate(make_loss(name), outputs, target)
        assert np.isnan(value)
        assert np.isnan(gradient[2, 3, column])
        assert np.isfinite(np.delete(gradient.reshape(-1, columns(name)), 2 * T + 3, axis=0)).all()


@every_dtype
@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("ignore_index", [-100, -1, 2, 99, 2**40])
@pytest.mark.parametrize("weighted", [False, True], ids=["unweighted", "weighted"])
def test_ignored_targets_and_class_weights(dtype, reduction, ignore_index, weighted):
    outputs, target = example("softmax_cross_entropy", dtype)
    target[np.random.default_rng(5).random((N, T)) < 0.4] = ignore_index
    weight = (0.5, 0.0, 2.0, 1.25) if weighted else None
    loss = SoftmaxCrossEntropy(weight, ignore_index)
    value, gradient, _ = evaluate(loss, outputs, target, RAGGED, reduction)
    expected, expected_gradient = naive.softmax_cross_entropy(
        np.float64(outputs), target, reduction, weight, ignore_index, RAGGED
    )
    assert_close(value, expected, TOLERANCE[dtype])
    assert_close(gradient, expected_gradient, TOLERANCE[dtype])
    assert not gradient[target == ignore_index].any()


def test_class_weights_and_sample_weights_multiply():
    outputs, target = example("softmax_cross_entropy")
    weight, classes = weights_of((N, T)), (0.5, 0.25, 2.0, 1.25)
    value, gradient, _ = evaluate(SoftmaxCrossEntropy(classes), outputs, target, sample_weight=weight)
    expected = naive.softmax_cross_entropy(outputs, target, class_weight=classes, sample_weight=weight)
    assert_close(value, expected[0], 1e-13)
    assert_close(gradient, expected[1], 1e-13)


def test_a_target_that_is_no_class_is_refused_even_where_its_weight_is_zero():
    outputs, target = example("softmax_cross_entropy")
    target[0, 0] = SIZE
    with pytest.raises(TokenError, match="target has 4; the model has 4 classes, 0 to 3"):
        evaluate(SoftmaxCrossEntropy(), outputs, target, sample_weight=np.array([0, 1, 1, 1, 1]))


# Soft targets


def soft_example(dtype="float64", size=SIZE, seed=0):
    """Return (outputs, probabilities), some of them zero."""
    generator = np.random.default_rng(seed)
    shares = generator.random((N, T, size)) * (generator.random((N, T, size)) < 0.7)
    shares[..., 0] += 0.1
    return 2 * normal(seed, N, T, size, dtype=dtype), (shares / shares.sum(axis=-1, keepdims=True)).astype(dtype)


SOFT = [{}, {"label_smoothing": 0.1}, {"label_smoothing": 0.3, "class_weight": (0.5, 0.0, 2.0, 1.25)}]


@pytest.mark.parametrize("options", SOFT, ids=str)
@every_dtype
@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("lengths", [None, RAGGED], ids=["full", "ragged"])
@pytest.mark.parametrize("weight", [None, weights_of(N), weights_of((N, T))], ids=["unweighted", "samples", "steps"])
def test_soft_targets(options, dtype, reduction, lengths, weight, pieces):
    outputs, target = soft_example(dtype)
    running = naive.row_weights((N, T), lengths, weight)
    target[running == 0], outputs[running == 0] = np.nan, np.nan
    loss = SoftmaxCrossEntropy(**options)
    value, gradient, total = evaluate(loss, outputs, target, lengths, reduction, weight)
    expected = {"smoothing": options.get("label_smoothing", 0.0), "class_weight": options.get("class_weight")}
    want = naive.softmax_cross_entropy(
        np.nan_to_num(np.float64(outputs)), target, reduction, lengths=lengths, sample_weight=weight, **expected
    )
    assert_close(value, want[0], TOLERANCE[dtype])
    assert_close(gradient, want[1], TOLERANCE[dtype])
    assert_close(total, running.sum(), 1e-15)
    again, shared, _ = evaluate(loss, outputs, target, lengths, reduction, weight, n_threads=3)
    assert max(pieces) == 3
    assert again == value
    assert_same_bits(shared, gradient)


@every_dtype
def test_a_soft_target_of_one_class_is_its_number(dtype):
    outputs, codes = example("softmax_cross_entropy", dtype)
    outputs[0, 0, codes[0, 0] - 1] = -np.inf
    for options in SOFT[:2] if dtype == "float64" else SOFT[:1]:
        if options:
            outputs[0, 0] = 1.0  # smoothing gives every class a share, and infinity for that
        found = evaluate(SoftmaxCrossEntropy(**options), outputs, naive.one_hot(codes, SIZE, dtype), RAGGED)
        expected = evaluate(SoftmaxCrossEntropy(**options), outputs, codes, RAGGED)
        assert_close(found[0], expected[0], TOLERANCE[dtype])
        assert_close(found[1], expected[1], TOLERANCE[dtype])


@pytest.mark.parametrize("options", SOFT, ids=str)
def test_gradient_of_soft_targets_by_central_differences(options):
    loss, (outputs, target) = SoftmaxCrossEntropy(**options), soft_example()
    gradient = evaluate(loss, outputs, target, RAGGED)[1]
    expected = naive.central_differences(lambda outputs: evaluate(loss, outputs, target, RAGGED)[0], outputs)
    assert_close(gradient, expected, GRADIENT_TOLERANCE)


def test_soft_targets_through_a_model():
    x, (_, target), weight = normal(9, N, T, 2), soft_example(), weights_of((N, T))
    model = Model([RNN(3), Dense(SIZE)], input_size=2, dtype="float64", n_threads=1)
    losses, _ = model.loss_and_grad(x, target, lengths=RAGGED, sample_weight=weight, reduction="none")
    assert losses.shape == (N, T)
    outputs, _ = model.forward(x, lengths=RAGGED)
    want = naive.softmax_cross_entropy(outputs, target, "sum", lengths=RAGGED, sample_weight=weight)[0]
    assert_close(losses.sum(), want, 1e-13)
    history = model.fit(
        x, target, lengths=RAGGED, sample_weight=weight, epochs=3, tbptt=4, validation=(x, target), verbose=0
    )
    assert history["loss"][-1] < history["loss"][0]
    assert model.predict(x).shape == (N, T)
    last = Model([RNN(3, return_sequences=False), Dense(SIZE)], input_size=2, dtype="float64", n_threads=1)
    outputs, _ = last.forward(x)
    value, _ = last.loss_and_grad(x, target[:, 0])
    assert_close(value, naive.softmax_cross_entropy(outputs[:, None], target[:, :1])[0], 1e-13)
    last.fit(x, target[:, 0], epochs=1, verbose=0)


def test_soft_targets_that_are_not_distributions_are_refused():
    outputs, target = soft_example()
    model = Model([RNN(3), Dense(SIZE)], input_size=2, dtype="float64", n_threads=1)
    x, wrong = normal(9, N, T, 2), target.copy()
    wrong[3, 0] = [0.5, 0.25, 0.5, 0.25]
    message = r"\[3, 0\] must be probabilities of 4 classes, .* but they sum to 1.5; 1 of 30 steps are wrong"
    with pytest.raises(ValueError, match="target" + message):
        evaluate(SoftmaxCrossEntropy(), outputs, wrong, RAGGED)
    with pytest.raises(ValueError, match="y" + message):  # the index in the caller's order, before training
        model.fit(x, wrong, batch_size=2, verbose=0)
    evaluate(SoftmaxCrossEntropy(), outputs, wrong, sample_weight=np.array([1, 1, 1, 0, 1]))
    for values, message in (
        ([1.5, -0.5, 0, 0], "they have -0.5"),
        ([np.nan, 0, 0, 1], "they have nan"),
        ([np.inf, 0, 0, 0], "they sum to inf"),
        (target[3, 0] * (1 + 1e-7), "they sum to 1;"),
    ):
        wrong[3, 0] = values
        with pytest.raises(ValueError, match=message):
            evaluate(SoftmaxCrossEntropy(), outputs, wrong, RAGGED)
    evaluate(SoftmaxCrossEntropy(), outputs, np.float32(wrong), RAGGED)  # of float32 near enough to 1
    for loss, given, error, message in (
        (SoftmaxCrossEntropy(), target[:, :, :3], ShapeError, r"target must have shape \(5, 6, 4\), got \(5, 6, 3\)"),
        (
            SoftmaxCrossEntropy(),
            target[:, :, 0],
            TypeError,
            r"class numbers, got .*; .* are floats of shape \(5, 6, 4\)",
        ),
        (
            SoftmaxCrossEntropy(),
            np.int64(target),
            ShapeError,
            r"got \(5, 6, 4\); probabilities of the classes must be floats",
        ),
        (SoftmaxCrossEntropy(ignore_index=0), target, ValueError, "ignore_index is 0, but target has probabilities"),
    ):
        with pytest.raises(error, match=message):
            evaluate(loss, outputs, given)


# Optimizers

VARIANTS = {
    "sgd": [
        {},
        {"momentum": 0.9},
        {"momentum": 0.5, "weight_decay": 0.1},
        {"momentum": 0.9, "nesterov": True},
        {"momentum": 0.5, "weight_decay": 0.1, "nesterov": True},
    ],
    "adagrad": [{}, {"lr_decay": 0.3, "weight_decay": 0.1, "eps": 0.1}, {"initial_accumulator_value": 0.5}],
    "rmsprop": [
        {},
        {"alpha": 0.5, "eps": 0.1, "weight_decay": 0.1},
        {"alpha": 0.5, "eps": 0.1, "weight_decay": 0.1, "centered": True},
    ],
    "adam": [
        {},
        {"betas": (0.5, 0.9), "eps": 0.1, "weight_decay": 0.1},
        {"betas": (0.0, 0.999)},
        {"betas": (0.5, 0.5), "amsgrad": True},
    ],
    "adamw": [
        {},
        {"betas": (0.5, 0.9), "eps": 0.1, "weight_decay": 0.3},
        {"betas": (0.5, 0.5), "weight_decay": 0.3, "amsgrad": True},
    ],
}


def naive_state(name, size, initial_accumulator_value=0.0, amsgrad=False, centered=False):
    arrays = naive.OPTIMIZERS[name][1] + amsgrad + centered
    return tuple(np.full(size, initial_accumulator_value) for _ in range(arrays))


@every_optimizer
@every_dtype
def test_optimizer_equations(name, dtype):
    assert name in naive.OPTIMIZERS, f"tests/naive.py has no equation for the optimizer {name!r}"
    assert name in VARIANTS, f"add hyper-parameters of {name} to VARIANTS"
    for options in VARIANTS[name]:
        optimizer = OPTIMIZERS[name](learning_rate=0.1, **options)
        start = (0.1 * normal(0, 60)).astype(dtype)
        weights, arrays = start.copy(), optimizer.start(60, start.dtype)
        assert len(arrays) == optimizer.arrays
        begin = {k: v for k, v in options.items() if k in ("initial_accumulator_value", "amsgrad", "centered")}
        expected, state = np.float64(start), naive_state(name, 60, **begin)
        options = {k: v for k, v in options.items() if k != "initial_accumulator_value"}
        for step in range(1, 8):
            gradient = normal(step, 60, dtype=dtype)
            rate = 0.1 / step  # as a schedule gives it
            optimizer.update(weights, gradient, arrays, step, rate)
            expected, state = naive.OPTIMIZERS[name][0](expected, np.float64(gradient), state, step, rate, **options)
            # What the steps have added: an error of a step would hide beside the weights.
            moved = np.float64(weights) - start
            assert_close(moved, expected - start, 2e-6 if dtype == "float32" else 1e-13, f"{options}, step {step}")
            for array, e in zip(arrays, state, strict=True):
                assert_close(array, e, 2e-6 if dtype == "float32" else 1e-13, f"{options}, moment at step {step}")


@every_optimizer
@every_dtype
def test_optimizer_threads(name, dtype, pieces):
    optimizer = OPTIMIZERS[name]()
    results = []
    for n_threads in (1, 2, 3, 5):
        weights, gradient = normal(0, 61, dtype=dtype), normal(1, 61, dtype=dtype)
        arrays = optimizer.start(61, weights.dtype)
        pieces.clear()
        for step in (1, 2):
            optimizer.update(weights, gradient, arrays, step, 0.1, n_threads)
        assert pieces == [n_threads] * 2
        results.append([weights, *arrays])
    for other in results[1:]:
        for array, expected in zip(other, results[0], strict=True):
            assert_same_bits(array, expected)


@every_optimizer
@every_dtype
def test_optimizer_finds_the_bottom_of_a_parabola(name, dtype):
    # w^T A w / 2 with curvatures from 1 to 10 along random directions, minimum at `goal`.
    generator = np.random.default_rng(0)
    q, _ = np.linalg.qr(generator.standard_normal((6, 6)))
    a, goal = q @ np.diag(np.linspace(1, 10, 6)) @ q.T, generator.standard_normal(6)
    options = {"adamw": {"weight_decay": 0.0}, "adagrad": {"learning_rate": 1.0}}.get(name, {})
    optimizer = OPTIMIZERS[name](**{"learning_rate": 0.05, **options})
    weights, arrays = np.zeros(6, dtype), optimizer.start(6, dtype)
    schedule = Cosine(400)
    for step in range(400):
        gradient = (a @ (weights - goal)).astype(dtype)
        optimizer.update(weights, gradient, arrays, step + 1, optimizer.learning_rate * schedule.factor(0, step))
    assert_close(weights, goal, 1e-3)


@pytest.mark.parametrize(
    "optimizer",
    [
        SGD(2e-4, 0.95),
        SGD(2e-4, 0.95, nesterov=True),
        RMSprop(0.02),
        Adagrad(0.5),
        Adam(0.02),
        AdamW(0.02, weight_decay=0.0),
    ],
    ids=repr,
)
def test_optimizer_follows_rosenbrocks_valley(optimizer):
    # (1 - x)^2 + 100 (y - x^2)^2, with a curved valley from (-1, 1) to its minimum at (1, 1).
    weights, arrays, schedule = np.array([-1.0, 1.0]), optimizer.start(2, np.float64), Cosine(6000)
    for step in range(6000):
        x, y = weights
        gradient = np.array([2 * (x - 1) - 400 * x * (y - x * x), 200 * (y - x * x)])
        optimizer.update(weights, gradient, arrays, step + 1, optimizer.learning_rate * schedule.factor(0, step))
    assert np.abs(weights - 1).max() < 0.1  # from a distance of 2


@every_optimizer
def test_optimizers_by_name_and_config(name):
    optimizer = make_optimizer(name)
    assert optimizer == OPTIMIZERS[name]() == make_optimizer(name.upper()) == make_optimizer(optimizer)
    config = optimizer.config()
    assert OPTIMIZERS[config.pop("type")](**config) == optimizer


@every_loss
def test_losses_by_name(name):
    assert make_loss(name) == LOSSES[name]() == make_loss(LOSSES[name]())


def test_decays_differ():
    """Adam's weight decay passes through the moments, AdamW's does not."""
    results = []
    for optimizer in (Adam(0.1, weight_decay=0.5), AdamW(0.1, weight_decay=0.5)):
        weights, arrays = np.ones(3), [np.zeros(3), np.zeros(3)]
        optimizer.update(weights, np.zeros(3), arrays, 1, 0.1)
        results.append(weights[0])
    assert abs(results[0] - 0.9) < 1e-7
    assert abs(results[1] - 0.95) < 1e-15


def test_defaults():
    assert SGD() == SGD(0.01, 0.0, 0.0, False)
    assert Adagrad() == Adagrad(0.01, 0.0, 0.0, 0.0, 1e-10)
    assert RMSprop() == RMSprop(0.002, 0.95, 1e-8, 0.0)
    assert Adam() == Adam(0.001, (0.9, 0.999), 1e-8, 0.0)
    assert AdamW() == AdamW(0.001, (0.9, 0.999), 1e-8, 0.01)


# Averages


@every_dtype
def test_blend(dtype, pieces):
    values, others = normal(0, 61, dtype=dtype), normal(1, 61, dtype=dtype)
    expected = 0.9 * np.float64(values) + 0.3 * np.float64(others)
    results = []
    for n_threads in (1, 3):
        result = values.copy()
        blend(result, others, 0.9, 0.3, n_threads)
        results.append(result)
    assert max(pieces) == 3
    assert_close(results[0], expected, 1e-6 if dtype == "float32" else 1e-15)
    assert_same_bits(results[1], results[0])


@every_dtype
def test_accumulator_is_a_weighted_mean(dtype):
    gradients, losses, weights = normal(0, 3, 20, dtype=dtype), [0.5, 2.0, 1.0], [4.0, 0.0, 12.0]
    pending = Pending()
    for _ in range(2):  # the second time over what the first has left
        for loss, gradient, weight in zip(losses, gradients, weights, strict=True):
            pending.add(loss, gradient, weight)
        assert pending.count == 3
        loss, gradient = pending.take()
        assert pending.count == 0
        assert loss == pytest.approx((0.5 * 4 + 1.0 * 12) / 16)
        assert_close(gradient, np.average(np.float64(gradients), axis=0, weights=weights), TOLERANCE[dtype])
    pending.add(3.0, gradients[0], 0.0)
    loss, gradient = pending.take()
    assert loss == 0.0
    assert not gradient.any()


# Clipping


@every_dtype
@pytest.mark.parametrize("limit", [0.1, 3.0, 1e6])
def test_clipping(dtype, limit):
    gradient = normal(0, 301, dtype=dtype)
    assert_close(norm(gradient), np.linalg.norm(np.float64(gradient)), 1e-13)
    by_norm, by_value = gradient.copy(), gradient.copy()
    clip_by_norm(by_norm, limit)
    clip_by_value(by_value, limit)
    assert_close(by_norm, naive.clip_by_norm(np.float64(gradient), limit), 2e-7 if dtype == "float32" else 1e-15)
    assert_same_bits(by_value, naive.clip_by_value(gradient, np.dtype(dtype).type(limit)))
    known = gradient.copy()
    clip_by_norm(known, limit, norm(gradient))
    assert_same_bits(known, by_norm)


@every_dtype
def test_clipping_of_nothing_changes_nothing(dtype):
    gradient = normal(0, 20, dtype=dtype)
    for clip in (clip_by_norm, clip_by_value):
        kept = gradient.copy()
        clip(kept, 1e6)
        assert_same_bits(kept, gradient)
    zero = np.zeros(5, dtype)
    clip_by_norm(zero, 1.0)
    assert not zero.any()


@every_dtype
def test_clipping_by_value_keeps_nan(dtype):
    gradient = np.array([np.nan, np.inf, -np.inf, 0.5, np.nan] * 5, dtype)
    clip_by_value(gradient, 1.0)
    assert np.array_equal(gradient, [np.nan, 1.0, -1.0, 0.5, np.nan] * 5, equal_nan=True)


@every_dtype
def test_norm_of_large_and_small_numbers(dtype):
    # The squares of these overflow or vanish in float32; the sum is taken in float64.
    assert_close(norm(np.array([3e20, 4e20], dtype)), 5e20, 1e-6)
    assert_close(norm(np.array([3e-30, 4e-30], dtype)), 5e-30, 1e-6)


# What compiled code would read or write past the end of an array

COUNT = 20
READ_ONLY = np.ones(COUNT)
READ_ONLY.flags.writeable = False
BAD_ARRAYS = {
    "short": (np.ones(COUNT - 1), ShapeError, r"must have shape \(20,\), got \(19,\)"),
    "long": (np.ones(COUNT + 1), ShapeError, r"must have shape \(20,\), got \(21,\)"),
    "matrix": (np.ones((4, 5)), ShapeError, r"must be flat.*got shape \(4, 5\)"),
    "float32": (np.ones(COUNT, np.float32), TypeError, "must have dtype float64, got float32"),
    "integers": (np.ones(COUNT, int), TypeError, "float32 or float64, got an array of int64"),
    "half": (np.ones(COUNT, np.float16), TypeError, "float32 or float64, got an array of float16"),
    "bytes": (np.ones(COUNT, ">f8"), TypeError, "float32 or float64, got an array of >f8"),
    "list": ([1.0] * COUNT, TypeError, "float32 or float64, got list"),
    "none": (None, TypeError, "float32 or float64, got NoneType"),
    "strided": (np.ones(2 * COUNT)[::2], ValueError, r"must be C-contiguous, got strides \(16,\)"),
    "reversed": (np.ones(COUNT)[::-1], ValueError, r"must be C-contiguous, got strides \(-8,\)"),
    "read-only": (READ_ONLY, ValueError, "is changed in place, but is read-only"),
}


@pytest.mark.parametrize("case", BAD_ARRAYS)
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_updates_of_arrays_that_differ_are_refused(name, case):
    bad, error, message = BAD_ARRAYS[case]
    optimizer = OPTIMIZERS[name]()
    arrays = optimizer.start(COUNT, np.float64)
    for index in range(1 if case in ("short", "long", "float32") else 0, 2 + optimizer.arrays):
        if index == 1 and case == "read-only":
            continue  # a gradient is only read
        given = [np.ones(COUNT), np.ones(COUNT), *(array.copy() for array in arrays)]
        given[index] = bad
        before = [np.array(array) for array in given]
        named = ("weights", "gradient", "arrays[0]", "arrays[1]")[index]
        with pytest.raises(error, match=re.escape(named) + ".*" + message):
            optimizer.update(given[0], given[1], given[2:], 1, 0.1)
        for array, old in zip(given, before, strict=True):
            assert_same_bits(np.array(array), old)
    with pytest.raises(
        ShapeError, match=f"must be {optimizer.arrays}, as start returns them, got {optimizer.arrays + 1}"
    ):
        optimizer.update(np.ones(COUNT), np.ones(COUNT), [*arrays, np.ones(COUNT)], 1, 0.1)


@pytest.mark.parametrize(
    ("step", "rate", "message"),
    [
        (0, 0.1, "step must be an integer >= 1"),
        (1.0, 0.1, "step must be an integer, got 1.0"),
        (1, math.nan, "learning_rate must be finite"),
    ],
)
def test_numbers_of_an_update(step, rate, message):
    with pytest.raises((ValueError, TypeError), match=message):
        Adam().update(np.ones(3), np.ones(3), Adam().start(3, float), step, rate)


@pytest.mark.parametrize("case", BAD_ARRAYS)
def test_averages_and_limits_of_arrays_that_differ_are_refused(case):
    bad, error, message = BAD_ARRAYS[case]
    if case != "read-only":
        with pytest.raises(error, match="others .*" + message):
            blend(np.ones(COUNT), bad, 0.5, 0.5)
    if case in ("short", "long", "float32"):  # right where nothing else says the size
        return
    with pytest.raises(error, match="values .*" + message):
        blend(bad, np.ones(COUNT), 0.5, 0.5)
    for clip in (clip_by_norm, clip_by_value):
        with pytest.raises(error, match="gradient .*" + message):
            clip(bad, 1.0)
    if case != "read-only":
        with pytest.raises(error, match="gradient .*" + message):
            norm(bad)


@pytest.mark.parametrize("limit", [math.nan, math.inf, -1.0, "1", None, True])
def test_limits_are_numbers(limit):
    for clip in (clip_by_norm, clip_by_value):
        with pytest.raises((ValueError, TypeError), match="limit must be"):
            clip(np.ones(3), limit)


# Schedules


def one_cycle(step):
    """0.05 to 1 from step 0 to 10, to 0.001 at step 40."""
    start, end, share = (0.05, 1.0, step / 10) if step <= 10 else (1.0, 0.001, min(step - 10, 30) / 30)
    return end + (start - end) * (1 + math.cos(math.pi * share)) / 2


CLOSED_FORMS = {
    "schedule": (Schedule(), lambda epoch, step: 1.0),
    "stepdecay": (StepDecay(3, 0.5), lambda epoch, step: {0: 1.0, 1: 0.5, 2: 0.25, 3: 0.125}[epoch // 3]),
    # char-rnn multiplies by 0.97 at the end of the tenth epoch and of every later one; epoch counts those done.
    "exponentialdecay": (ExponentialDecay(0.97, 10), lambda epoch, step: math.prod(0.97 for e in range(10, epoch + 1))),
    "cosine": (
        Cosine(40, 0.1),
        lambda epoch, step: 0.1 if step >= 40 else 0.1 + 0.9 * (1 + math.cos(math.pi * step / 40)) / 2,
    ),
    "multistep": (MultiStep([7, 2, 7], 0.5), lambda epoch, step: 1.0 if epoch < 2 else 0.5 if epoch < 7 else 0.125),
    "onecycle": (
        OneCycle(41, pct_start=11 / 41, div_factor=20, final_div_factor=50),
        lambda epoch, step: one_cycle(step),
    ),
    "reduceonplateau": (ReduceOnPlateau(), lambda epoch, step: 1.0),  # before it has seen a loss
    "warmup": (
        WarmUp(4, StepDecay(2, 0.1)),
        lambda epoch, step: min(1.0, (step + 1) / 4) * 0.1 ** (epoch // 2),
    ),
}


@pytest.mark.parametrize("name", SCHEDULES)
def test_schedules(name):
    assert name in CLOSED_FORMS, f"add the closed form of {name} to CLOSED_FORMS"
    schedule, expected = CLOSED_FORMS[name]
    assert type(schedule) is SCHEDULES[name]
    for epoch in range(12):
        for step in range(10 * epoch, 10 * epoch + 10):
            assert abs(schedule.factor(epoch, step) - expected(epoch, step)) < 1e-15, (epoch, step)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: MultiStep(3), TypeError, r"MultiStep: milestones must be a sequence of epochs"),
        (lambda: MultiStep([1, -2]), ValueError, r"MultiStep: milestones\[1\] must be an integer >= 0"),
        (lambda: OneCycle(0), ValueError, "OneCycle: steps must be an integer >= 1"),
        (lambda: OneCycle(9, 1.5), ValueError, r"OneCycle: pct_start must be in \[0, 1\], got 1.5"),
        (lambda: OneCycle(9, div_factor=0), ValueError, "OneCycle: div_factor must be positive"),
        (lambda: ReduceOnPlateau(1.0), ValueError, "ReduceOnPlateau: gamma is out of range, got 1.0"),
        (lambda: ReduceOnPlateau(patience=-1), ValueError, "ReduceOnPlateau: patience must be an integer >= 0"),
        (lambda: ReduceOnPlateau(monitor=1), TypeError, "ReduceOnPlateau: monitor must be a name"),
        (lambda: ReduceOnPlateau(monitor="x").given([{"loss": 1.0}]), ValueError, "must be an entry of the history, loss, got 'x'"),
    ],
)  # fmt: skip
def test_bad_options_of_schedules(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_schedules_at_their_corners():
    assert OneCycle(1).factor(0, 0) == pytest.approx(1 / 25e4)
    assert OneCycle(5, 0.2).factor(0, 0) == 1.0
    assert OneCycle(5, 1.0).factor(0, 4) == OneCycle(5, 1.0).factor(0, 9) == 1.0
    assert Cosine(10).factor(0, 0) == 1.0
    assert abs(Cosine(10).factor(0, 5) - 0.5) < 1e-15
    assert Cosine(10).factor(0, 10) == Cosine(10).factor(9, 999) == 0.0
    assert WarmUp(5).factor(0, 0) == 0.2
    assert WarmUp(5).factor(0, 4) == WarmUp(5).factor(0, 100) == 1.0
    assert ExponentialDecay(0.5).factor(0, 0) == 1.0
    assert ExponentialDecay(0.5).factor(1, 0) == 0.5
    assert StepDecay(2).factor(1, 0) == 1.0
    assert StepDecay(2).factor(2, 0) == 0.1
