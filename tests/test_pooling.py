"""Pooling layers, bags of tokens, and the cross-entropy of segments."""

import naive
import numpy as np
import pytest
from conftest import DTYPES, TOLERANCE, assert_close, assert_same_bits, check_gradients, normal

from numbarnn import LSTM, RNN, Dense, Dropout, EmbeddingBag, Model, Pool
from numbarnn.backends.cpu.batch import Call, feature_rows, from_rows
from numbarnn.backends.cpu.losses import value_and_gradient
from numbarnn.core.layout import Layout
from numbarnn.data import Ragged
from numbarnn.errors import ShapeError, TokenError
from numbarnn.layers.pool import KINDS
from numbarnn.losses import SegmentCrossEntropy, SoftmaxCrossEntropy
from numbarnn.losses.segments import check_segments, pool_segments, segment_codes
from numbarnn.optim import Adam

every_dtype = pytest.mark.parametrize("dtype", DTYPES)
every_kind = pytest.mark.parametrize("kind", KINDS)
ragged = pytest.mark.parametrize("lengths", [None, [4, 0, 3, 6]], ids=["full", "ragged"])


def make(*layers, dtype="float64", **options):
    return Model(layers, dtype=dtype, n_threads=1, **options)


@every_kind
@every_dtype
@ragged
@pytest.mark.parametrize("size", [1, 16, 37])
def test_pool(kind, dtype, lengths, size):
    x = normal(0, 4, 6, size, dtype=dtype)
    model = make(Pool(kind), Dense(3, init="torch"), input_size=size, dtype=dtype)
    parameters = {name.removeprefix("dense."): np.float64(v) for name, v in model.params.items()}
    pooled = naive.pool(np.float64(x), kind, lengths or [6] * 4)
    assert_close(model.forward(x, lengths=lengths)[0], naive.dense(pooled, **parameters), TOLERANCE[dtype])
    # The last layer, and rows in the order of samples as well as of steps.
    alone = make(LSTM(size), Pool(kind), input_size=size, dtype=dtype)
    steps = make(LSTM(size), input_size=size, dtype=dtype).forward(x, lengths=lengths)[0]
    assert_close(
        alone.forward(x, lengths=lengths)[0], naive.pool(np.float64(steps), kind, lengths or [6] * 4), TOLERANCE[dtype]
    )


@every_kind
@ragged
def test_pool_gradients(kind, lengths):
    check_gradients(
        make(LSTM(3, bidirectional=True), Pool(kind), Dense(2), input_size=2), normal(1, 4, 6, 2), lengths=lengths
    )


def test_the_first_of_equal_maxima_has_the_gradient():
    model = make(Pool("max"), input_size=1)
    x = np.array([[[1.0], [3.0], [3.0], [2.0]]])
    outputs, _, pullback = model.vjp(x)
    assert outputs == [[3.0]]
    assert pullback([[5.0]]).x[0, :, 0].tolist() == [0, 5, 0, 0]


@every_kind
def test_pooled_nan_spreads_to_its_sample_alone(kind):
    x = normal(0, 3, 5, 2)
    x[1, 4, 0] = np.nan
    found = make(Pool(kind), input_size=2).forward(x)[0]
    assert np.isnan(found).tolist() == [[False, False], [True, False], [False, False]]


@every_kind
@ragged
def test_pooling_does_not_depend_on_threads(kind, lengths, pieces):
    found = []
    for n_threads in (1, 3):
        model = Model([EmbeddingBag(9, 17, bag=2), Pool(kind), Dense(3)], dtype="float32", n_threads=n_threads)
        x = np.random.default_rng(0).integers(-1, 9, (4, 6, 2))
        pieces.clear()
        outputs, _, pullback = model.vjp(x, lengths=lengths)
        found.append([outputs, *pullback(np.ones_like(outputs)).params.values()])
        assert max(pieces) >= min(n_threads, 2)
    for one, several in zip(*found, strict=True):
        assert_same_bits(one, several)


# Bags of tokens


@every_dtype
@ragged
def test_embedding_bag(dtype, lengths):
    model = make(EmbeddingBag(7, 19, bag=3), dtype=dtype)
    x = np.random.default_rng(0).integers(-1, 7, (4, 6, 3))
    assert (x == -1).any()
    expected = naive.embedding_bag(x, np.float64(model.params["embeddingbag.weight"]))
    if lengths:
        padding = np.arange(6) >= np.array(lengths)[:, None]
        expected[padding], x[padding] = 0, 99  # padding may be anything
    assert_close(model.forward(x, lengths=lengths)[0], expected, TOLERANCE[dtype])


@ragged
def test_embedding_bag_gradients(lengths):
    model = make(EmbeddingBag(5, 3, bag=2), LSTM(2), Dense(2, init="torch"))
    check_gradients(model, np.random.default_rng(0).integers(-1, 5, (4, 6, 2)), lengths=lengths)


def test_embedding_bag_of_torch():
    torch = pytest.importorskip("torch")
    model, x = make(EmbeddingBag(7, 5, bag=3)), np.random.default_rng(0).integers(0, 7, (2, 4, 3))
    bag = torch.nn.EmbeddingBag(7, 5, mode="sum", dtype=torch.float64)
    model.load_state_dict({"weight": bag.weight.detach().numpy()})
    expected = bag(torch.tensor(x.reshape(-1, 3))).detach().numpy().reshape(2, 4, 5)
    assert_close(model.forward(x)[0], expected, 1e-12)


def test_bags_train_step_and_are_saved(tmp_path):
    model = make(EmbeddingBag(6, 4, bag=2), Dropout(0.1), LSTM(5), Dense(2), dtype="float32")
    x = np.random.default_rng(0).integers(0, 6, (60, 5, 2))
    history = model.fit(x, (x == 0).any(axis=2).astype(int), epochs=40, optimizer=Adam(0.03), verbose=0)
    assert history[-1]["loss"] < 0.3 < 0.6 < history[0]["loss"]
    model.save(tmp_path / "m.safetensors")
    assert_same_bits(Model.load(tmp_path / "m.safetensors").forward(x)[0], model.forward(x)[0])
    _, state = model.step(x[:2, 0])
    again, _ = model.step(x[:2, 1], state)
    assert_close(again, model.forward(x[:2, :2])[0][:, 1], 1e-6)
    _, state = model.step(x[:1, 0])
    assert_close(model.step(x[:1, 1], state)[0], again[:1], 1e-6)
    stream = model.stream()
    for x_t, expected in zip(x[0], model.forward(x[:1])[0][0], strict=True):
        assert_same_bits(stream.step(x_t), expected)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: Pool("median"), ValueError, "kind must be 'mean', 'max' or 'last', got 'median'"),
        (lambda: make(LSTM(2, return_sequences=False), Pool(), input_size=1), ShapeError, "Pool needs a sequence of features"),
        (lambda: EmbeddingBag(3, 2, bag=0), ValueError, r"bag must be in \[1, "),
        (lambda: make(EmbeddingBag(3, 2, bag=2)).forward(np.zeros((2, 3), int)), ShapeError, r"\(samples, time steps, 2\)"),
        (lambda: make(EmbeddingBag(3, 2, bag=2)).forward(np.full((2, 3, 2), -2)), TokenError, r"x\[0, 0, 0\] is -2; .*-1 for none"),
        (lambda: make(EmbeddingBag(3, 2, bag=2)).forward(np.full((2, 3, 2), 3)), TokenError, "3 tokens, 0 to 2"),
        (lambda: make(EmbeddingBag(3, 2, bag=2)).step([0, 1]), ShapeError, r"x_t must have shape \(samples, 2\)"),
        (lambda: make(EmbeddingBag(3, 2, bag=2)).step([[0, 3]]), TokenError, "3 tokens, 0 to 2"),
        (lambda: make(EmbeddingBag(3, 2, bag=2)).stream().step([0, -2]), TokenError, r"x_t\[1\] is -2; .*-1 for none"),
        (lambda: make(EmbeddingBag(3, 2, bag=2)).stream().step([0]), ShapeError, r"x_t must have shape \(2,\), the tokens"),
        (lambda: make(EmbeddingBag(3, 2, bag=2)).stream().step([[0, 1]]), ShapeError, r"take x_t\[0\]"),
        (lambda: make(EmbeddingBag(3, 2, bag=2)).stream().step([0.0, 1.0]), TypeError, "x_t must be integer tokens"),
        (lambda: make(LSTM(2), Pool(), input_size=1).step([[1.0]]), TypeError, "Pool.* has no step"),
        (lambda: make(LSTM(2), Pool(), input_size=1).step([[1.0], [2.0]]), TypeError, "Pool.* has no step"),
    ],
)  # fmt: skip
def test_refused(call, error, message):
    with pytest.raises(error, match=message):
        call()


# Segments


SEGMENTS = [[(0, 2), (2, 3), (4, 6)], [], [(1, 3)], [(0, 6)]]
LABELS = [2, 0, 1, -1, 2]
WEIGHT = np.array([0.5, 1, 2, 3])


def naive_segments(outputs, lengths, class_weight, sample_weight, reduction):
    """The cross-entropy of mean logits, and its gradient by the chain rule."""
    runs = [(n, a, b) for n, pairs in enumerate(SEGMENTS) for a, b in pairs]
    means = np.stack([outputs[n, a:b].mean(axis=0) for n, a, b in runs])
    weight = np.ones(len(runs)) if sample_weight is None else np.array([sample_weight[n] for n, _, _ in runs])
    value, d = naive.softmax_cross_entropy(
        means[:, None], np.array(LABELS)[:, None], reduction, class_weight, -1, sample_weight=weight[:, None]
    )
    gradient = np.zeros_like(outputs)
    for (n, a, b), row in zip(runs, d[:, 0], strict=True):
        gradient[n, a:b] += row / (b - a)
    return value, gradient


@every_dtype
@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("class_weight", [None, (1.0, 2.0, 0.5)], ids=["plain", "weighted"])
@pytest.mark.parametrize("weight", [None, WEIGHT], ids=["all", "weights"])
def test_segment_cross_entropy(dtype, reduction, class_weight, weight, pieces):
    lengths = np.array([6, 2, 4, 6])
    outputs = normal(3, 4, 6, 3, dtype=dtype)
    pairs = Ragged.of(np.array([pair for sample in SEGMENTS for pair in sample]), list(map(len, SEGMENTS)))
    codes = segment_codes(pairs, np.array(LABELS), lengths).padded(np.arange(4), 9)
    expected, dexpected = naive_segments(np.float64(outputs), lengths, class_weight, weight, reduction)
    found = []
    for n_threads in (1, 3):
        call, layout = Call(np.dtype(dtype), n_threads), Layout.make(6, 4, lengths)
        value, gradient, _ = value_and_gradient(
            call,
            SegmentCrossEntropy(class_weight),
            feature_rows(call, outputs, layout),
            codes,
            layout,
            reduction,
            weight,
        )
        found.append(from_rows(call, gradient, layout))
        assert value == pytest.approx(expected, rel=1e-5 if dtype == "float32" else 1e-12)
        assert_close(found[-1], dexpected, TOLERANCE[dtype])
    assert_same_bits(*found)
    assert max(pieces) == 3


def test_segments_of_one_step_are_labelled_steps():
    outputs, target = normal(0, 2, 5, 4), np.random.default_rng(1).integers(0, 4, (2, 5))
    call, layout = Call(np.dtype("float64")), Layout.make(5, 2)
    rows = feature_rows(call, outputs, layout)
    one = value_and_gradient(call, SoftmaxCrossEntropy(), rows, target, layout)
    other = value_and_gradient(call, SegmentCrossEntropy(), rows, 2 * target + 1, layout)
    assert one[0] == pytest.approx(other[0], rel=1e-14)
    assert_close(other[1].values, one[1].values, 1e-14)
    nothing = value_and_gradient(call, SegmentCrossEntropy(), rows, np.full((2, 5), -1), layout)
    assert (nothing[0], nothing[2]) == (0, 0)
    assert not nothing[1].values.any()


@pytest.mark.parametrize(
    ("codes", "message"),
    [
        ([[3, 2, -1, 1, 0], [0, 0, 0, 0, 0]], r"target\[1, 0\] is 0: a segment of class 0 goes on, but none has begun"),
        ([[3, 2, -1, 2, -1], [1, 0, 0, 0, 0]], r"target\[0, 3\] is 2: a segment of class 1 goes on"),
        ([[3, 2, 0, -1, -1], [1, 0, 0, 0, 0]], r"target\[0, 2\] is 0: a segment of class 0 goes on"),
        ([[3, 2, 3, -2, -1], [1, 0, 0, 0, 0]], r"target\[0, 3\] is -2: not a code"),
        # What one sample begins does not go on in the next, and a step past the end begins nothing.
        ([[-1, -1, -1, -1, 1], [0, 0, 0, 0, 0]], r"target\[1, 0\] is 0"),
    ],
)
@pytest.mark.parametrize("kind", [np.int64, np.int8])
def test_steps_of_a_segment_without_a_beginning_are_refused(codes, message, kind):
    """They would count for a segment elsewhere, of which the kernels would read and write more steps than there are."""
    model = Model([RNN(4), Dense(3)], input_size=2)
    x, target = normal(0, 2, 5, 2), np.array(codes, kind)
    with pytest.raises(ValueError, match=message):
        model.loss_and_grad(x, target, SegmentCrossEntropy())
    weights = model.params.flat.copy()
    for seed in range(3):  # the index in the data, whatever the order of the batches
        with pytest.raises(ValueError, match=message.replace("target", "y")):
            model.fit(x, target, loss=SegmentCrossEntropy(), epochs=1, batch_size=1, seed=seed, verbose=0)
        good = [[3, 2, -1, 1, 0], [1, 0, 0, 0, 0]]
        with pytest.raises(ValueError, match=message.replace("target", "y")):
            model.fit(x, np.array(good), loss=SegmentCrossEntropy(), validation=(x, target), epochs=1, verbose=0)
    assert (model.params.flat == weights).all()
    # Past the end of a sample anything may stand.
    lengths = [2, 4] if target[0, 2] == -1 else [2, 5]
    if target[1, 0] > 0:
        value, _ = model.loss_and_grad(x, target, SegmentCrossEntropy(), lengths)
        assert np.isfinite(value)


def test_targets_of_segments_are_integers_of_every_step():
    model, x = Model([RNN(4), Dense(3)], input_size=2), normal(0, 2, 5, 2)
    with pytest.raises(TypeError, match="target must be integers, got dtype float64"):
        model.loss_and_grad(x, np.ones((2, 5)), SegmentCrossEntropy())
    with pytest.raises(ShapeError, match=r"target must have shape \(2, 5\).*got \(2, 4\)"):
        model.loss_and_grad(x, np.ones((2, 4), int), SegmentCrossEntropy())
    with pytest.raises(TokenError, match="the model has 3 classes"):
        model.loss_and_grad(x, np.full((2, 5), 7), SegmentCrossEntropy())
    with pytest.raises(TokenError, match=r"y\[1, 2\] is 7: a segment of class 3; the model has 3 classes, 0 to 2"):
        model.fit(x, np.array([[1] * 5, [1, 1, 7, 6, 1]]), loss=SegmentCrossEntropy(), verbose=0)
    with pytest.raises(ValueError, match="segment_cross_entropy is that of a whole sequence"):
        model.fit(x, np.ones((2, 5), int), loss=SegmentCrossEntropy(), tbptt=2, verbose=0)


def test_forms_of_segments():
    lengths = np.array([5, 3])
    pairs = check_segments([[(0, 2), (3, 5)], [(0, 3)]], lengths)
    numbers = check_segments([[0, 0, -1, 1, 1], [0, 0, 0]], lengths)
    assert numbers.values.tolist() == pairs.values.tolist() == [[0, 2], [3, 5], [0, 3]]
    assert numbers.offsets.tolist() == [0, 2, 3]
    assert check_segments([[], [-1, -1, 0]], lengths).values.tolist() == [[2, 3]]
    logits = normal(0, 8, 2)
    expected = [logits[0:2].mean(axis=0), logits[3:5].mean(axis=0), logits[5:8].mean(axis=0)]
    assert_close(pool_segments(Ragged.of(logits, lengths), pairs), np.stack(expected), 1e-14)


@pytest.mark.parametrize(
    ("segments", "error", "message"),
    [
        ([[(0, 2)]], ShapeError, "one entry for each of 2 samples, got 1"),
        ([[(0, 2)], [(0, 4)]], ValueError, r"segments\[1\] must .* lie within 3 steps"),
        ([[(0, 2), (1, 3)], []], ValueError, r"segments\[0\] must be in order, not overlap"),
        ([[(2, 2)], []], ValueError, "at least one step each"),
        ([[0, 0, 1], []], ShapeError, r"segments\[0\] has 3 numbers for 5 steps"),
        ([[0, 0, 1, 0, 0], []], ValueError, "each in one piece"),
        ([[1, 1, 1, 2, 2], []], ValueError, "must number the segments 0, 1, 2"),
        ([[(0.5, 2)], []], TypeError, r"segments\[0\] must be integers"),
    ],
)
def test_refused_segments(segments, error, message):
    with pytest.raises(error, match=message):
        check_segments(segments, np.array([5, 3]))
