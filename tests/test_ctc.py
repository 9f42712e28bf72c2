"""CTC: loss and gradient against all alignments, torch and central differences; forms of targets; what is refused."""

import itertools
import math

import naive
import numpy as np
import pytest
from conftest import DTYPES, GRADIENT_TOLERANCE, assert_close, assert_same_bits, normal
from hypothesis import given
from hypothesis import strategies as st

from numbarnn import LSTM, RNN, Dense, Model, Trainer
from numbarnn.backends.cpu.batch import Call, to_rows
from numbarnn.backends.cpu.losses import value_and_gradient
from numbarnn.core.label_sequences import Labels, as_labels
from numbarnn.core.signal import Signal
from numbarnn.data import ArraySource
from numbarnn.errors import DivergedError, ShapeError, TokenError
from numbarnn.losses import CTC, LOSSES, SoftmaxCrossEntropy
from numbarnn.optim import Adam

every_dtype = pytest.mark.parametrize("dtype", DTYPES)
TOLERANCE = {"float32": 2e-6, "float64": 1e-10}
STRINGS = [[1, 2], [2, 2], [], [3], [1, 1, 2], []]
LENGTHS = [5, 3, 4, 1, 5, 0]


def evaluate(loss, outputs, target, lengths=None, reduction="mean", sample_weight=None, n_threads=1):
    """Return (value, gradient in the shape of the outputs, total weight)."""
    call = Call(outputs.dtype, n_threads)
    rows, layout = to_rows(call, outputs, Signal(outputs.shape[2]), lengths)
    value, gradient, total = value_and_gradient(call, loss, rows, target, layout, reduction, sample_weight)
    by_step = gradient.values.reshape(layout.steps, layout.samples, -1)
    assert not by_step[:, :, outputs.shape[2] :].any()  # padded columns
    return value, layout.unsort(by_step[:, :, : outputs.shape[2]].transpose(1, 0, 2)), total


def expected(outputs, strings, lengths, reduction="mean", weights=None, blank=0):
    """Return loss and gradient of a batch by going through all alignments."""
    value, gradient = 0.0, np.zeros(outputs.shape)
    weights = np.ones(len(strings)) if weights is None else weights
    for n, (string, steps, weight) in enumerate(zip(strings, lengths, weights, strict=True)):
        if weight == 0:
            continue
        scale = weight if reduction == "sum" else weight / max(len(string), 1) / np.sum(weights)
        one, slope = (0.0, 0.0) if steps == 0 else naive.ctc(np.float64(outputs[n, :steps]), string, blank)
        value += scale * one
        gradient[n, :steps] = scale * slope
    return value, gradient


def batch(seed=0, dtype="float64", classes=4):
    return 2 * normal(seed, len(STRINGS), max(LENGTHS), classes, dtype=dtype)


def test_every_loss_is_tested():
    assert [name for name, cls in LOSSES.items() if not cls.by_step] == ["ctc"]


@every_dtype
@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("weights", [None, [0.5, 2.0, 0.0, 1.0, 3.0, 0.25]], ids=["unweighted", "weighted"])
def test_against_all_alignments(dtype, reduction, weights):
    outputs = batch(dtype=dtype)
    value, gradient, total = evaluate(CTC(), outputs, STRINGS, LENGTHS, reduction, weights)
    want, slope = expected(outputs, STRINGS, LENGTHS, reduction, weights)
    assert_close(value, want, TOLERANCE[dtype])
    assert_close(gradient, slope, TOLERANCE[dtype])
    assert total == (len(STRINGS) if weights is None else sum(weights))


@every_dtype
@pytest.mark.parametrize("size", [1e3, 1e5, 5e5, 1e6, 1e7, 1e10, 1e20])
def test_logits_of_any_size(dtype, size):
    logits = np.array([[[size, -size, 0], [-size, size, 0], [size, -size, 0], [size, size, 0]]], dtype)
    string, terms, occupied = [1, 2], [], []
    log_p = naive.log_softmax(np.float64(logits[0]))
    for path in itertools.product(range(3), repeat=4):
        if [c for c, _ in itertools.groupby(path) if c] == string:
            terms.append(sum(log_p[t, c] for t, c in enumerate(path)))
            occupied.append(np.eye(3)[list(path)])
    share = np.exp(np.array(terms) - max(terms))
    want = -max(terms) - math.log(share.sum())
    value, gradient, _ = evaluate(CTC(), logits, [string], [4], "sum")
    assert value == pytest.approx(want, rel=1e-6 if dtype == "float32" else 1e-12)
    slope = np.exp(log_p) - np.tensordot(share / share.sum(), np.array(occupied), 1)
    if size < 1e8:  # beyond that the rounding of a sum decides between alignments
        assert_close(gradient[0], slope, 1e-5 if dtype == "float32" else max(1e-9, 1e-15 * size))
    # Beside a sample of ordinary size, whose numbers do not change.
    both = np.concatenate([logits, np.ones((1, 4, 3), dtype)])
    other, slopes, _ = evaluate(CTC(), both, [string, [1]], [4, 3], "sum")
    alone = evaluate(CTC(), both[1:], [[1]], [3], "sum")
    assert other == pytest.approx(want + alone[0], rel=1e-6)
    assert_same_bits(slopes[1], alone[1][0])


@given(st.data())
def test_any_small_case(data):
    steps, classes = data.draw(st.integers(1, 6)), data.draw(st.integers(2, 3))
    blank = data.draw(st.integers(0, classes - 1))
    others = [c for c in range(classes) if c != blank]
    string = data.draw(st.lists(st.sampled_from(others), max_size=steps))
    outputs = data.draw(st.sampled_from([0.0, 1.0, 30.0])) * normal(data.draw(st.integers(0, 99)), 1, steps, classes)
    labels = as_labels([string])
    if steps < labels.counts[0] + labels.repeats[0]:
        with pytest.raises(ShapeError, match="1 of 1 samples have too few steps"):
            evaluate(CTC(blank), outputs, [string])
        return
    value, gradient, _ = evaluate(CTC(blank), outputs, [string], reduction="sum")
    want, slope = naive.ctc(outputs[0], string, blank)
    assert abs(value - want) <= 1e-10 * max(1.0, want)
    assert np.abs(gradient[0] - slope).max() <= 1e-10


@pytest.mark.parametrize("blank", [0, 2, 3])
def test_any_class_is_the_blank(blank):
    outputs = batch(1)
    others = [c for c in range(4) if c != blank]
    strings = [[others[c - 1] for c in string] for string in STRINGS]
    value, gradient, _ = evaluate(CTC(blank), outputs, strings, LENGTHS)
    want, slope = expected(outputs, strings, LENGTHS, blank=blank)
    assert_close(value, want, 1e-10)
    assert_close(gradient, slope, 1e-10)


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_gradient_by_central_differences(reduction):
    outputs, weights = batch(2), [1.0, 0.5, 2.0, 1.0, 1.0, 1.0]

    def value(outputs):
        return evaluate(CTC(), outputs, STRINGS, LENGTHS, reduction, weights)[0]

    gradient = evaluate(CTC(), outputs, STRINGS, LENGTHS, reduction, weights)[1]
    assert_close(gradient, naive.central_differences(value, outputs), GRADIENT_TOLERANCE)


# T, N, V, L: more labels than a vector holds; long, where float32 would underflow; few classes.
CASES = [(60, 5, 40, 20), (400, 3, 11, 70), (150, 4, 3, 33), (90, 2, 300, 5)]


@every_dtype
@pytest.mark.parametrize("size", CASES, ids=str)
@pytest.mark.parametrize("spread", [1.0, 12.0])
def test_against_torch(dtype, size, spread):
    torch = pytest.importorskip("torch")
    steps, samples, classes, longest = size
    generator = np.random.default_rng(0)
    outputs = (spread * generator.standard_normal((samples, steps, classes))).astype(dtype)
    counts = generator.integers(0, longest // 2, samples)
    counts[0] = longest
    strings = generator.integers(1, classes, (samples, longest))
    lengths = generator.integers(2 * longest, steps + 1, samples)
    x = torch.tensor(np.float64(outputs), requires_grad=True)
    for reduction in ("mean", "sum"):
        x.grad = None
        arguments = (x.log_softmax(2).transpose(0, 1), *map(torch.tensor, (strings, lengths, counts)))
        loss = torch.nn.functional.ctc_loss(*arguments, reduction=reduction)
        loss.backward()
        value, gradient, _ = evaluate(CTC(), outputs, (strings, counts), lengths, reduction)
        assert_close(value, loss.item(), TOLERANCE[dtype])
        assert_close(gradient, x.grad.numpy(), TOLERANCE[dtype])


def test_a_label_a_step_is_the_cross_entropy():
    """With as many labels as steps and no repeats there is one alignment: framewise classification."""
    outputs = normal(0, 3, 8, 5)
    labels = np.array([[1, 2, 3, 4, 1, 2, 1, 3], [4, 3, 4, 3, 4, 3, 4, 3], [2, 1, 2, 1, 3, 4, 2, 4]])
    found = evaluate(CTC(), outputs, labels, reduction="sum")
    framewise = evaluate(SoftmaxCrossEntropy(), outputs, labels, reduction="sum")
    assert_close(found[0], framewise[0], 1e-14)
    assert_close(found[1], framewise[1], 1e-13)
    assert_close(evaluate(CTC(), outputs, labels)[0], evaluate(SoftmaxCrossEntropy(), outputs, labels)[0], 1e-14)


@every_dtype
def test_threads(dtype, pieces):
    generator = np.random.default_rng(3)
    outputs = generator.standard_normal((9, 40, 20)).astype(dtype)
    strings, counts = generator.integers(1, 20, (9, 18)), generator.integers(0, 19, 9)
    lengths = generator.integers(36, 41, 9)
    want = evaluate(CTC(), outputs, (strings, counts), lengths)
    for n_threads in (2, 3, 5):
        value, gradient, _ = evaluate(CTC(), outputs, (strings, counts), lengths, n_threads=n_threads)
        assert max(pieces) == n_threads
        assert value == want[0]
        assert_same_bits(gradient, want[1])


def test_memory():
    """A thousand classes, two thousand steps: logits, their gradient, and O(T L) a thread."""
    steps, samples, classes, longest = 2000, 3, 1000, 50
    outputs = np.zeros((samples, steps, classes), np.float32)
    call = Call(outputs.dtype, 1)
    rows, layout = to_rows(call, outputs, Signal(classes), None)
    before = call.arena.used
    value_and_gradient(call, CTC(), rows, np.ones((samples, longest), int), layout)
    assert call.arena.used - before < rows.values.nbytes + 8 * steps * 4 * (longest + 32)


@every_dtype
def test_scratch_memory_may_hold_anything(dtype, poisoned):
    outputs = batch(4, dtype)
    want = evaluate(CTC(), outputs, STRINGS, LENGTHS)
    poisoned()
    value, gradient, _ = evaluate(CTC(), outputs, STRINGS, LENGTHS)
    assert value == want[0]
    assert_same_bits(gradient, want[1])


@every_dtype
def test_padding_may_hold_anything(dtype):
    outputs = batch(5, dtype)
    want = evaluate(CTC(), outputs, STRINGS, LENGTHS)
    padding = np.arange(outputs.shape[1]) >= np.array(LENGTHS)[:, None]
    outputs[padding] = np.nan
    value, gradient, _ = evaluate(CTC(), outputs, STRINGS, LENGTHS)
    assert value == want[0]
    assert_same_bits(gradient, want[1])
    assert not gradient[padding].any()


@every_dtype
def test_nothing_underflows(dtype):
    """A net that is sure of something else: every alignment has a probability far below the smallest number."""
    outputs = np.zeros((1, 300, 4), dtype)
    outputs[..., 3] = 100.0
    value, gradient, _ = evaluate(CTC(), outputs, [[1, 2] * 40], reduction="sum")
    assert_close(value, 300 * 100 - math.log(math.comb(300 + 80, 160)), 1e-6)  # each label and blank may last
    assert np.isfinite(gradient).all()
    assert_close(gradient[..., 3], np.ones((1, 300)), 1e-6)
    far = np.array([[[0.0, -1e4, -2e4], [0.0, -1e4, -3e4]]], dtype)
    assert_close(evaluate(CTC(), far, [[2]], reduction="sum")[0], 2e4, 1e-6)


@every_dtype
@pytest.mark.parametrize("gap", [5.0, 15.0, 30.0, 200.0])
def test_confident_and_right(dtype, gap):
    outputs = np.zeros((1, 3, 4), dtype)
    for t, c in enumerate((1, 0, 2)):
        outputs[0, t, c] = gap
    value = evaluate(CTC(), outputs, [[1, 2]], reduction="sum")[0]
    assert value >= 0
    assert abs(value - naive.ctc(np.float64(outputs[0]), [1, 2])[0]) < 8 * np.finfo(dtype).eps


@every_dtype
def test_logits_of_minus_infinity(dtype):
    outputs = batch(6, dtype)
    outputs[0, 1, 1] = outputs[2, :, 1:] = -np.inf
    want, slope = expected(outputs, STRINGS, LENGTHS)
    value, gradient, _ = evaluate(CTC(), outputs, STRINGS, LENGTHS)
    assert_close(value, want, TOLERANCE[dtype])
    assert_close(gradient, slope, TOLERANCE[dtype])
    outputs[0, :, 1] = -np.inf  # no alignment is left
    value, gradient, _ = evaluate(CTC(), outputs, STRINGS, LENGTHS)
    assert value == np.inf
    assert not gradient[0].any()
    value, gradient, _ = evaluate(CTC(infeasible="zero"), outputs, STRINGS, LENGTHS)
    assert_close(value, expected(outputs, STRINGS, LENGTHS, weights=[0, 1, 1, 1, 1, 1])[0] * 5 / 6, TOLERANCE[dtype])


@every_dtype
def test_nan_spreads(dtype):
    outputs = batch(7, dtype)
    outputs[4, 2, 3] = np.nan
    value, gradient, _ = evaluate(CTC(), outputs, STRINGS, LENGTHS)
    assert np.isnan(value)
    assert np.isnan(gradient[4, 2]).all()
    assert np.isfinite(np.delete(gradient, 4, axis=0)).all()


# Samples without an alignment


def test_infeasible_samples_are_listed():
    outputs = normal(0, 4, 3, 4)
    strings = [[1, 2, 3], [1, 1, 2], [1, 2, 1, 2], [1]]
    with pytest.raises(
        ShapeError, match=r"2 of 4 samples .* sample 1: 3 steps for 3 labels with 1 repeats; sample 2: 3 steps for 4"
    ):
        evaluate(CTC(), outputs, strings)
    with pytest.raises(ShapeError, match=r"sample 3: 0 steps for 1 labels"):
        evaluate(CTC(), outputs, [[], [], [], [1]], [3, 3, 3, 0])
    # Samples that do not count are not looked at.
    evaluate(CTC(), outputs, strings, sample_weight=[1, 0, 0, 1])


@every_dtype
def test_infeasible_samples_as_zero(dtype):
    torch = pytest.importorskip("torch")
    outputs = normal(1, 4, 3, 4, dtype=dtype)
    strings, counts = np.array([[1, 2, 3, 3], [1, 1, 2, 1], [1, 2, 1, 2], [1, 1, 1, 1]]), np.array([3, 3, 4, 1])
    x = torch.tensor(np.float64(outputs), requires_grad=True)
    arguments = (torch.tensor(strings), torch.full((4,), 3), torch.tensor(counts))
    loss = torch.nn.functional.ctc_loss(x.log_softmax(2).transpose(0, 1), *arguments, zero_infinity=True)
    loss.backward()
    value, gradient, total = evaluate(CTC(infeasible="zero"), outputs, (strings, counts))
    assert_close(value, loss.item(), TOLERANCE[dtype])
    assert_close(gradient, x.grad.numpy(), TOLERANCE[dtype])
    assert not gradient[1:3].any()
    assert total == 4


@every_dtype
def test_infeasible_samples_as_infinity(dtype):
    outputs, strings = normal(1, 4, 3, 4, dtype=dtype), [[1, 2, 3], [1, 1, 2], [1, 2, 1, 2], [1]]
    for lengths in ([3, 3, 3, 3], [3, 3, 3, 0]):
        value, gradient, _ = evaluate(CTC(infeasible="inf"), outputs, strings, lengths, "sum")
        assert value == math.inf
        assert not gradient[1:3].any()
        feasible = evaluate(CTC(infeasible="zero"), outputs, strings, lengths, "sum")
        assert_same_bits(gradient, feasible[1])
    # Training would have no way on.
    with pytest.raises(ShapeError, match="too few steps for their labels"):
        Model([Dense(4)], 4).fit(outputs, strings, loss=CTC(infeasible="inf"), verbose=0)


def test_nothing_counts():
    outputs = batch()
    value, gradient, total = evaluate(CTC(), outputs, STRINGS, LENGTHS, sample_weight=np.zeros(6))
    assert (value, total) == (0.0, 0.0)
    assert not gradient.any()
    value, gradient, total = evaluate(CTC(), outputs, [[]] * 6, np.zeros(6, int))
    assert (value, total) == (0.0, 6.0)
    assert not gradient.any()


# Forms of targets


def test_forms_of_targets():
    outputs = batch(8)
    want = evaluate(CTC(), outputs, STRINGS, LENGTHS)
    counts = np.array([len(string) for string in STRINGS])
    padded = as_labels(STRINGS).padded()
    assert padded.tolist() == [[1, 2, -1], [2, 2, -1], [-1] * 3, [3, -1, -1], [1, 1, 2], [-1] * 3]
    flat = np.concatenate([np.array(string, int) for string in STRINGS])
    anything = np.where(padded < 0, 99, padded)
    ragged = np.array([np.array(string, int) for string in STRINGS], dtype=object)
    for target in (
        padded,
        (anything, counts),
        (flat, counts),
        [tuple(s) for s in STRINGS],
        ragged,
        padded.astype(np.int8),
    ):
        value, gradient, _ = evaluate(CTC(), outputs, target, LENGTHS)
        assert value == want[0]
        assert_same_bits(gradient, want[1])


@given(st.lists(st.lists(st.integers(0, 2), max_size=4), min_size=1, max_size=6), st.randoms())
def test_label_sequences(strings, random):
    labels = as_labels(strings)
    assert labels.repeats.tolist() == [sum(a == b for a, b in itertools.pairwise(s)) for s in strings]
    assert [row.tolist() for row in labels.rows()] == strings
    order = list(range(len(strings)))
    random.shuffle(order)
    assert [row.tolist() for row in labels.take(np.array(order)).rows()] == [strings[i] for i in order]
    again = as_labels(labels.padded())
    assert isinstance(again, Labels)
    assert_same_bits(again.flat, labels.flat)
    assert_same_bits(again.counts, labels.counts)


REFUSED = [
    (3, TypeError, "target must be an array"),
    (np.zeros(6, int), ShapeError, r"padded with -1, got \(6,\); concatenated labels need"),
    (np.zeros((6, 2)), TypeError, "integer labels, got dtype float64"),
    ([[1.5], [], [], [], [], []], TypeError, r"target\[0\] must be integer"),
    ([[1], [[2]], [], [], [], []], ShapeError, r"target\[1\] must be a sequence of labels"),
    ([[1], [-2], [], [], [], []], ValueError, r"target\[1\] has the negative label -2"),
    ([[1]] * 5, ShapeError, "one label sequence for each of 6 samples, got 5"),
    (
        np.array([[-1, 1]] * 6),
        ValueError,
        r"target\[0, 0\] is negative, which ends a label sequence, but labels follow",
    ),
    ((np.ones(5, int), np.ones(6, int)), ShapeError, "5 labels, but lengths that add up to 6"),
    ((np.ones((6, 2), int), np.full(6, 3)), ValueError, "a label length of 3, but 2 columns"),
    ((np.ones((5, 2), int), np.ones(6, int)), ShapeError, "labels of 5 samples and lengths of 6"),
    ((np.ones(6, int), np.ones(6)), TypeError, "lengths must be integers"),
    ((np.ones(6, int), np.array([7, -1, 0, 0, 0, 0])), ValueError, "must not be negative"),
    ([[1], [4], [], [], [], []], TokenError, "has label 4 in sample 1; the model has 4 classes, 0 to 3"),
    ([[1], [], [], [2, 0], [], []], TokenError, "has label 0 in sample 3; 0 is the blank"),
]


@pytest.mark.parametrize(("target", "error", "message"), REFUSED, ids=str)
def test_bad_targets(target, error, message):
    with pytest.raises(error, match=message):
        evaluate(CTC(), batch(), target)


def test_bad_options():
    for options, error, message in (
        ({"blank": -1}, ValueError, "blank must be the index of a class"),
        ({"blank": 1.0}, TypeError, "blank must be an integer"),
        ({"infeasible": "nan"}, ValueError, "infeasible must be 'error', 'zero' or 'inf'"),
    ):
        with pytest.raises(error, match=message):
            CTC(**options)
    with pytest.raises(ValueError, match="blank is class 7; the model has 4 classes"):
        evaluate(CTC(7), batch(), STRINGS)
    with pytest.raises(ShapeError, match=r"sample_weight of ctc must have shape \(6,\)"):
        evaluate(CTC(), batch(), STRINGS, sample_weight=np.ones((6, 5)))
    with pytest.raises(ValueError, match="reduction"):
        evaluate(CTC(), batch(), STRINGS, reduction="median")


# Through a model


def task(samples=80, seed=0):
    """Pulses of three kinds at unknown steps; the string of their kinds."""
    generator = np.random.default_rng(seed)
    x, strings, lengths = 0.1 * generator.standard_normal((samples, 24, 3)), [], []
    for n in range(samples):
        string = generator.integers(0, 3, generator.integers(0, 4))
        for k, label in enumerate(string):
            at = 7 * k + generator.integers(0, 3)
            x[n, at : at + generator.integers(1, 4), label] += 1
        strings.append((string + 1).tolist())
        lengths.append(int(generator.integers(7 * len(string) + 1, 25)))
    return x, strings, np.array(lengths)


def test_through_a_model():
    model = Model([RNN(3, init="torch"), Dense(4)], input_size=2, dtype="float64", n_threads=1)
    x, start = normal(9, 6, 5, 2), model.params.flat.copy()

    def value(flat):
        model.set_flat(flat)
        return expected(model.forward(x, lengths=LENGTHS)[0], STRINGS, LENGTHS)[0]

    found, gradients = model.loss_and_grad(x, STRINGS, "ctc", LENGTHS)
    assert_close(found, value(start), 1e-12)
    slopes = naive.central_differences(value, start)
    model.set_flat(start)
    for key, array in model.params.views(slopes).items():
        assert_close(gradients[key], array, GRADIENT_TOLERANCE, key)


@pytest.mark.parametrize("form", ["list", "tuple", "padded"])
def test_fit(form):
    x, strings, lengths = task()
    counts = np.array([len(string) for string in strings])
    flat = np.concatenate([np.array(string, int) for string in strings])
    y = {"list": strings, "tuple": (flat, counts), "padded": as_labels(strings).padded()}[form]
    model = Model([LSTM(8), Dense(4)], input_size=3, seed=1, n_threads=1)
    history = model.fit(x, y, loss="ctc", lengths=lengths, epochs=3, validation=0.25, verbose=0)
    assert np.isfinite(history[-1]["val_loss"])
    twin = Model([LSTM(8), Dense(4)], input_size=3, seed=1, n_threads=1)
    twin.fit(x, strings, loss="ctc", lengths=lengths, epochs=3, validation=0.25, verbose=0)
    assert_same_bits(model.params.flat, twin.params.flat)


def test_learns():
    x, strings, lengths = task(200)
    model = Model([LSTM(12, bidirectional=True), Dense(4)], input_size=3, seed=1, n_threads=1)
    history = model.fit(
        x, strings, loss="ctc", lengths=lengths, epochs=30, optimizer=Adam(0.02), clip_norm=1.0, verbose=0
    )
    assert history[-1]["loss"] < 0.1 * history[0]["loss"]


def test_accumulated_batches_are_one_batch():
    x, strings, lengths = task(16)
    whole, parts = (Model([LSTM(4), Dense(4)], input_size=3, dtype="float64", seed=1, n_threads=1) for _ in range(2))
    for model, options in ((whole, {"batch_size": 16}), (parts, {"batch_size": 5, "accumulate": 4})):
        source = ArraySource(x, strings, lengths=lengths, shuffle=False, batch_size=options["batch_size"])
        Trainer(model, "ctc", "sgd", accumulate=options.get("accumulate", 1)).fit(source, 1, verbose=0)
    assert_close(parts.params.flat, whole.params.flat, 1e-12)


def test_what_training_refuses():
    x, strings, lengths = task(8)
    model = Model([LSTM(4), Dense(4)], input_size=3, n_threads=1)
    with pytest.raises(ValueError, match="the loss ctc is that of a whole sequence"):
        model.fit(x, strings, loss="ctc", lengths=lengths, tbptt=4, verbose=0)
    with pytest.raises(ShapeError, match="y must have one entry for each of 8 samples"):
        model.fit(x, strings[:-1], loss="ctc", lengths=lengths, verbose=0)
    # Before the first step, with the sample's own number, wherever its batch would be.
    before = model.params.flat.copy()
    for wrong, error, message in (
        ([1, 2, 3] * 9, ShapeError, f"1 of 8 samples have too few steps.*sample 5: {lengths[5]} steps for 27 labels"),
        ([4], TokenError, "y has label 4 in sample 5"),
    ):
        y = [*strings[:5], wrong, *strings[6:]]
        with pytest.raises(error, match=message):
            model.fit(x, y, loss="ctc", lengths=lengths, batch_size=2, verbose=0)
    assert_same_bits(model.params.flat, before)
    broken = Model([LSTM(4), Dense(4)], input_size=3, n_threads=1)
    with broken.params.writing() as flat:
        flat[...] = np.inf
    with pytest.raises(DivergedError), np.errstate(invalid="ignore"):
        broken.fit(x, strings, loss="ctc", lengths=lengths, epochs=1, verbose=0)
