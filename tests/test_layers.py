"""Layers, their parameters and initial weights, and the geometry of a batch."""

import inspect
import json
from concurrent.futures import ThreadPoolExecutor

import naive
import numpy as np
import pytest
from conftest import (
    DTYPES,
    RECORDS,
    TOLERANCE,
    assert_close,
    assert_same_bits,
    check_gradients,
    flatten,
    naive_options,
    normal,
    random_state,
)
from hypothesis import given
from hypothesis import strategies as st

from numbarnn import (
    GRU,
    LSTM,
    RNN,
    Activation,
    Dense,
    Dropout,
    Embedding,
    EmbeddingBag,
    IndRNN,
    MinGRU,
    MinLSTM,
    Model,
    OneHot,
    Pool,
    Recurrent,
    Trainer,
    cells,
)
from numbarnn.backends.cpu.batch import Call, from_rows, to_rows
from numbarnn.core import initializers
from numbarnn.core.layout import Layout
from numbarnn.core.params import Params, ParamSpec
from numbarnn.core.signal import Signal
from numbarnn.errors import ShapeError
from numbarnn.kernels.cpu.layout import to_time_major
from numbarnn.kernels.cpu.losses import pointwise
from numbarnn.layers import LAYERS
from numbarnn.layers.kinds import recurrent

every_dtype = pytest.mark.parametrize("dtype", DTYPES)
every_cell = pytest.mark.parametrize("record", RECORDS.values(), ids=RECORDS)
RAGGED = [4, 0, 3, 6]


def make(*layers, dtype="float64", **options):
    return Model(layers, dtype=dtype, n_threads=1, **options)


def weights(model, prefix):
    """Return the parameters of one layer in float64, named without the layer."""
    return {k.removeprefix(f"{prefix}."): np.float64(v) for k, v in model.params.items() if k.startswith(f"{prefix}.")}


# Dense


@every_dtype
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("lengths", [None, RAGGED], ids=["full", "ragged"])
@pytest.mark.parametrize("size", [1, 16, 37])
def test_dense(dtype, bias, lengths, size):
    model = make(Dense(size, bias=bias, init="torch"), input_size=21, dtype=dtype)
    x = normal(0, 4, 6, 21, dtype=dtype)
    outputs, state = model.forward(x, lengths=lengths)
    expected = naive.dense(np.float64(x), **weights(model, "dense"))
    if lengths:
        expected[np.arange(6) >= np.array(lengths)[:, None]] = 0
    assert state == ()
    assert_close(outputs, expected, TOLERANCE[dtype])


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("lengths", [None, RAGGED], ids=["full", "ragged"])
def test_dense_gradients(bias, lengths):
    check_gradients(make(Dense(3, bias=bias, init="torch"), input_size=4), normal(0, 4, 6, 4), lengths=lengths)


every_activation = pytest.mark.parametrize("activation", naive.ACTIVATIONS)


def activated(activation):
    """Return a net with an activation in `Dense`, and the same by a layer of its own."""
    inside = [Dense(5, activation=activation, init="torch"), Dense(2, init="torch", activation=activation)]
    beside = [Dense(5, init="torch"), Activation(activation), Dense(2, init="torch"), Activation(activation)]
    return [make(*layers, input_size=3) for layers in (inside, beside)]


@every_activation
@pytest.mark.parametrize("lengths", [None, RAGGED], ids=["full", "ragged"])
def test_activations(activation, lengths):
    x = normal(0, 4, 6, 3)
    for model in activated(activation):
        expected, f = x, naive.ACTIVATIONS[activation]
        for name in ("dense", "dense_2"):
            expected = f(naive.dense(expected, **weights(model, name)))
        if lengths:
            expected[np.arange(6) >= np.array(lengths)[:, None]] = 0
        assert_close(model.forward(x, lengths=lengths)[0], expected, TOLERANCE["float64"])
        check_gradients(model, x, lengths=lengths)
    inside, beside = activated(activation)
    assert_same_bits(inside.params.flat, beside.params.flat)
    assert_same_bits(inside.forward(x, lengths=lengths)[0], beside.forward(x, lengths=lengths)[0])


@every_activation
def test_activations_in_float32(activation, pieces):
    x = normal(0, 4, 6, 3, dtype="float32")
    nets = [make(Dense(37, activation=activation), Activation(activation), input_size=3, dtype="float32") for _ in "12"]
    expected = naive.ACTIVATIONS[activation](
        naive.ACTIVATIONS[activation](naive.dense(np.float64(x), **weights(nets[0], "dense")))
    )
    assert_close(nets[0].forward(x)[0], expected, TOLERANCE["float32"])
    nets[1].n_threads = 3
    (one, _, pull), (three, _, pull_three) = (net.vjp(x) for net in nets)
    assert max(pieces) == 3
    assert_same_bits(three, one)
    assert_same_bits(pull_three(one).x, pull(one).x)


def test_names_of_activations():
    assert Dense(3, activation="sigmoid") == Dense(3, activation="logistic")
    assert RNN(3, activation="sigmoid").config()["activation"] == Activation("sigmoid").activation == "logistic"
    for cls in (RNN, IndRNN, Dense):
        with pytest.raises(ValueError, match=rf"{cls.__name__}: activation must be 'tanh', 'relu', .*, got 'gelu'"):
            cls(3, activation="gelu")
    with pytest.raises(ValueError, match=r"Activation: activation must be 'tanh', .*, got None"):
        Activation(None)
    with pytest.raises(ShapeError, match="Activation needs features"):
        make(OneHot(3), Activation("tanh"))


# Tokens


@every_dtype
@pytest.mark.parametrize("lengths", [None, RAGGED], ids=["full", "ragged"])
def test_embedding(dtype, lengths):
    model = make(Embedding(7, 19), dtype=dtype)
    x = np.random.default_rng(0).integers(0, 7, (4, 6))
    expected = naive.embedding(x, model.params["embedding.weight"])
    if lengths:
        padding = np.arange(6) >= np.array(lengths)[:, None]
        expected[padding], x[padding] = 0, -99  # padding may be anything
    assert_same_bits(model.forward(x, lengths=lengths)[0], expected)


@pytest.mark.parametrize("lengths", [None, RAGGED], ids=["full", "ragged"])
def test_embedding_gradients(lengths):
    # Seven tokens in 24 steps: most stand more than once, and their gradients add up.
    model = make(Embedding(7, 3), Dense(2, init="torch"))
    check_gradients(model, np.random.default_rng(0).integers(0, 7, (4, 6)), lengths=lengths)


def test_tokens_not_seen_have_no_gradient(poisoned):
    model = make(Embedding(7, 3))
    outputs, _, pullback = model.vjp([[1, 4, 1]])
    pullback(np.ones_like(outputs))
    poisoned()
    gradient = pullback(np.ones_like(outputs)).params["embedding.weight"]
    assert np.array_equal(gradient.sum(axis=1), [0, 6, 0, 0, 3, 0, 0])


def compare_with_one_hot(layer, dtype, lengths):
    """A layer after `OneHot` does what it does to explicit one-hot vectors."""
    size = 6
    implicit, explicit = (
        make(OneHot(size), layer, dtype=dtype, seed=3),
        make(layer, input_size=size, dtype=dtype, seed=3),
    )
    x = np.random.default_rng(1).integers(0, size, (4, 6))
    vectors = naive.one_hot(x, size, dtype)
    if lengths:
        x[np.arange(6) >= np.array(lengths)[:, None]] = 10**6
    state = random_state(explicit, 4)
    outputs, final, pullback = implicit.vjp(x, state, lengths)
    expected, expected_final, expected_pullback = explicit.vjp(vectors, state, lengths)
    assert_close(outputs, expected, TOLERANCE[dtype])
    for array, e in zip(flatten(final), flatten(expected_final), strict=True):
        assert_close(array, e, TOLERANCE[dtype])
    doutputs = normal(2, *outputs.shape, dtype=dtype)
    gradients, expected_gradients = pullback(doutputs, state), expected_pullback(doutputs, state)
    assert gradients.x is None
    for name, array in gradients.params.items():
        assert_close(array, expected_gradients.params[name], 5 * TOLERANCE[dtype], name)
    for array, e in zip(flatten(gradients.state), flatten(expected_gradients.state), strict=True):
        assert_close(array, e, 5 * TOLERANCE[dtype])


@every_cell
@every_dtype
@pytest.mark.parametrize("lengths", [None, RAGGED], ids=["full", "ragged"])
@pytest.mark.parametrize("bias", [True, "single", False])
def test_tokens_into_recurrent(record, dtype, lengths, bias):
    layer = Recurrent(18, 2, bidirectional=True, cell=record, init="torch", bias=bias)
    compare_with_one_hot(layer, dtype, lengths)


@every_dtype
@pytest.mark.parametrize("lengths", [None, RAGGED], ids=["full", "ragged"])
@pytest.mark.parametrize("bias", [True, False])
def test_tokens_into_dense(dtype, lengths, bias):
    compare_with_one_hot(Dense(18, bias=bias, init="torch"), dtype, lengths)


@every_cell
def test_token_gradients(record):
    model = make(OneHot(4), Recurrent(3, bidirectional=True, cell=record, init="torch"))
    check_gradients(model, np.array([[1, 3, 0], [2, 2, 1]]), lengths=[3, 2])


@pytest.mark.parametrize("kind", [np.int8, np.uint8, np.int32, np.uint64])
def test_kinds_of_integers(kind):
    model = make(OneHot(5), RNN(3))
    x = [[1, 4], [0, 2]]
    assert_same_bits(model.forward(np.array(x, kind))[0], model.forward(x)[0])


@pytest.mark.parametrize("kind", ["float16", "float32", "float64", "int8", "uint16", "int64", "bool"])
def test_kinds_of_numbers(kind):
    model = make(RNN(3), input_size=2)
    x = np.array([[[1, 0], [0, 1], [1, 1]]])
    assert_same_bits(model.forward(x.astype(kind))[0], model.forward(np.float64(x))[0])


def test_any_memory_order():
    model, x = make(RNN(3), input_size=2), normal(0, 3, 5, 2)
    expected = model.forward(x)[0]
    for view in (np.asfortranarray(x), x[::-1][::-1], np.repeat(x, 2, axis=1)[:, ::2], x.tolist()):
        assert_same_bits(model.forward(view)[0], expected)


# Two directions as a sum


@pytest.mark.parametrize("record", [RECORDS["LSTM"], RECORDS["ResetBeforeGRU"]], ids=["LSTM", "ResetBeforeGRU"])
@every_dtype
@pytest.mark.parametrize("lengths", [None, RAGGED], ids=["full", "ragged"])
def test_sum_of_directions(record, dtype, lengths):
    options = {
        "num_layers": 2,
        "bidirectional": True,
        "cell": record,
        "init": "torch",
        "forget_bias": None,
        "merge": "sum",
    }
    x, start = normal(0, 4, 6, 2, dtype=dtype), None
    for last in (False, True):
        model = make(Recurrent(5, return_sequences=not last, **options), input_size=2, dtype=dtype)
        start = random_state(model, 4)
        expected, final = naive.stack(
            type(record).__name__, np.float64(x), weights(model, "recurrent"), 5, 2, True,
            tuple(np.float64(s) for s in start[0]), lengths, "sum", **naive_options(record),
        )  # fmt: skip
        if last:
            expected = final[0][-2:].sum(axis=0)
            expected[np.array(lengths or [6] * 4) == 0] = 0
        outputs, ends = model.forward(x, start, lengths)
        assert_close(outputs, expected, TOLERANCE[dtype])
        assert_same_bits(model.vjp(x, start, lengths)[0], outputs)
        for array, e in zip(ends[0], final, strict=True):
            assert_close(array, e, TOLERANCE[dtype])


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("lengths", [None, [3, 0, 2]], ids=["full", "ragged"])
def test_gradients_of_sums(last, lengths):
    layer = LSTM(3, 2, bidirectional=True, merge="sum", return_sequences=not last, init="torch")
    check_gradients(make(layer, Dense(2, init="torch"), input_size=2), normal(0, 3, 3, 2), lengths=lengths)


def test_merge_is_of_two_directions():
    assert make(GRU(3, 2, bidirectional=True, merge="sum"), input_size=2).params["gru.weight_ih_l1"].shape == (9, 3)
    with pytest.raises(ValueError, match=r"GRU: merge must be 'concat' or 'sum', got 'mul'"):
        GRU(3, bidirectional=True, merge="mul")
    with pytest.raises(ValueError, match=r"LSTM: merge must be 'concat' without bidirectional=True, got 'sum'"):
        LSTM(3, merge="sum")


# return_sequences=False


@every_cell
@every_dtype
@pytest.mark.parametrize("bidirectional", [False, True], ids=["forward", "bidirectional"])
@pytest.mark.parametrize("lengths", [None, RAGGED], ids=["full", "ragged"])
def test_last_output(record, dtype, bidirectional, lengths):
    options = {"num_layers": 2, "bidirectional": bidirectional, "cell": record, "init": "torch"}
    model = make(Recurrent(10, return_sequences=False, **options), Dense(3, init="torch"), input_size=2, dtype=dtype)
    x, state = normal(0, 4, 6, 2, dtype=dtype), random_state(model, 4)
    outputs, _ = model.forward(x, state, lengths)
    start = tuple(np.float64(s) for s in state[0])
    _, final = naive.stack(
        type(record).__name__, np.float64(x), weights(model, "recurrent"), 10, 2, bidirectional, start, lengths,
        **naive_options(record),
    )  # fmt: skip
    last = np.concatenate(final[0][-2 if bidirectional else -1 :], axis=-1)
    last[np.array(lengths or [6] * 4) == 0] = 0
    assert_close(outputs, naive.dense(last, **weights(model, "dense")), TOLERANCE[dtype])


@pytest.mark.parametrize("bidirectional", [False, True], ids=["forward", "bidirectional"])
def test_last_output_is_that_of_the_last_valid_step(bidirectional):
    options = {"bidirectional": bidirectional, "init": "torch"}
    whole, last = make(LSTM(4, **options), input_size=2), make(LSTM(4, return_sequences=False, **options), input_size=2)
    x, state = normal(0, 4, 6, 2), random_state(whole, 4)
    sequences, _ = whole.forward(x, state, RAGGED)
    outputs, _ = last.forward(x, state, RAGGED)
    assert outputs.shape == (4, 8 if bidirectional else 4)
    for n, length in enumerate(RAGGED):
        assert_same_bits(outputs[n, :4], sequences[n, length - 1, :4] if length else np.zeros(4))
        if bidirectional:
            assert_same_bits(outputs[n, 4:], sequences[n, 0, 4:] if length else np.zeros(4))


@pytest.mark.parametrize("layers", [[LSTM(3, return_sequences=False)], [LSTM(3), Pool("last")]], ids=["layer", "pool"])
def test_what_has_no_step_has_no_last_output(layers):
    model = make(*layers, input_size=2)
    x, state = normal(0, 3, 4, 2), random_state(model, 3)
    for lengths in ([2, 0, 4], [0, 0, 0]):
        outputs, final, pullback = model.vjp(x, state, lengths)
        without = np.array(lengths) == 0
        assert not outputs[without].any()
        assert outputs[~without].all()
        assert not model.predict_proba(x, state, lengths)[without].std(axis=1).any()
        gradients = pullback(np.ones_like(outputs), final)
        for start, end, dstart in zip(state[0], final[0], gradients.state[0], strict=True):
            assert_same_bits(end[:, without], start[:, without])
            assert_same_bits(dstart[:, without], end[:, without])  # which are the gradients that were given


# reverse=True


@every_cell
@every_dtype
@pytest.mark.parametrize("lengths", [None, RAGGED], ids=["full", "ragged"])
def test_reverse_is_half_of_bidirectional(record, dtype, lengths):
    for options in ({}, {"return_sequences": False}):
        both = make(Recurrent(5, bidirectional=True, cell=record, **options), input_size=2, dtype=dtype)
        back = make(Recurrent(5, reverse=True, cell=record, **options), input_size=2, dtype=dtype)
        back.load_state_dict({name: both.params[name] for name in back.params})
        x, state = normal(0, 4, 6, 2, dtype=dtype), random_state(both, 4)
        start = (tuple(array[1:] for array in state[0]),)
        outputs, final, pullback = both.vjp(x, state, lengths)
        found, ends, pull = back.vjp(x, start, lengths)
        assert_same_bits(found, outputs[..., 5:])
        assert_same_bits(back.forward(x, start, lengths)[0], found)
        for end, expected in zip(ends[0], final[0], strict=True):
            assert_same_bits(end, expected[1:])
        doutputs = normal(1, *outputs.shape, dtype=dtype)
        doutputs[..., :5] = 0
        expected, gradients = pullback(doutputs), pull(doutputs[..., 5:])
        for name, array in gradients.params.items():
            assert_close(array, expected.params[name], TOLERANCE[dtype], name)
        assert_close(gradients.x, expected.x, TOLERANCE[dtype])


def test_reverse_stack():
    model = make(LSTM(3, 2, reverse=True), input_size=2)
    x, state = normal(0, 3, 5, 2), random_state(model, 3)
    flipped = make(LSTM(3, 2), input_size=2)
    flipped.load_state_dict({name.removesuffix("_reverse"): values for name, values in model.state_dict().items()})
    assert_same_bits(model.forward(x, state)[0], flipped.forward(x[:, ::-1], state)[0][:, ::-1])
    check_gradients(model, x, state, [5, 0, 2])
    assert model.copy().layers == model.layers


def test_reverse_is_refused_where_steps_come_one_by_one():
    model = make(LSTM(3, reverse=True), Dense(2), input_size=2)
    with pytest.raises(ValueError, match="is reverse: it reads the sequence from its end"):
        model.stream()
    with pytest.raises(ValueError, match="reverse=True"):
        Trainer(model, tbptt=2)
    with pytest.raises(ValueError, match="LSTM: reverse must be False with bidirectional=True"):
        LSTM(3, bidirectional=True, reverse=True)


@every_cell
@pytest.mark.parametrize("bidirectional", [False, True], ids=["forward", "bidirectional"])
@pytest.mark.parametrize("lengths", [None, [3, 0, 2]], ids=["full", "ragged"])
def test_gradients_of_last_output(record, bidirectional, lengths):
    layer = Recurrent(3, bidirectional=bidirectional, return_sequences=False, cell=record, init="torch")
    check_gradients(make(layer, Dense(2, init="torch"), input_size=2, seed=4), normal(6, 3, 3, 2), lengths=lengths)


# Several layers


def test_layers_above_each_other():
    model = make(
        Embedding(4, 2), LSTM(2, bidirectional=True), Dropout(0.5), GRU(2, 2), RNN(3, return_sequences=False), Dense(2)
    )
    x, lengths = np.random.default_rng(0).integers(0, 4, (3, 4)), [4, 0, 3]
    state = random_state(model, 3)
    outputs, final = model.forward(x, state, lengths)
    y, ends = naive.embedding(x, np.float64(model.params["embedding.weight"])), []
    recurrent = (("LSTM", 2, 1, True), ("GRU", 2, 2, False), ("RNN", 3, 1, False))
    for (name, hidden, depth, both), start in zip(recurrent, state, strict=True):
        y, end = naive.stack(name, y, weights(model, name.lower()), hidden, depth, both, start, lengths)
        ends.append(end)
    last = np.where(np.array(lengths)[:, None] > 0, ends[-1][0][0], 0)
    assert_close(outputs, naive.dense(last, **weights(model, "dense")), TOLERANCE["float64"])
    for array, expected in zip(flatten(final), flatten(ends), strict=True):
        assert_close(array, expected, TOLERANCE["float64"])
    check_gradients(model, x, state, lengths)


def test_dense_layers_below_and_between():
    model = make(Dense(3, init="torch"), IndRNN(3, init="torch"), Dense(4), GRU(2), input_size=2)
    check_gradients(model, normal(0, 3, 4, 2), lengths=[4, 1, 2])


@every_dtype
@pytest.mark.parametrize("lengths", [None, [5, 2, 0, 5, 4, 1, 3]], ids=["full", "ragged"])
@pytest.mark.parametrize("first", [Embedding(40, 33), OneHot(40)], ids=["embedding", "onehot"])
def test_threads(dtype, lengths, first, pieces):
    x, target = np.random.default_rng(0).integers(0, 40, (7, 5)), np.random.default_rng(1).integers(0, 50, (7, 5))
    results = []
    for n_threads in (1, 2, 3, 5):
        model = Model([first, LSTM(33, 2, bidirectional=True), Dense(50)], dtype=dtype, n_threads=n_threads)
        pieces.clear()
        loss, gradients = model.loss_and_grad(x, target, lengths=lengths)
        assert max(pieces) >= min(n_threads, 4)
        results.append([np.float64(loss), *gradients.values(), model.predict_proba(x, lengths=lengths)])
    for other in results[1:]:
        for array, expected in zip(other, results[0], strict=True):
            assert_same_bits(array, expected)


def test_threads_of_a_call_come_before_the_models(pieces):
    model = Model([RNN(40)], input_size=3, n_threads=1)
    x = normal(0, 7, 5, 3)
    model.forward(x, n_threads=3)
    assert max(pieces) == 3
    pieces.clear()
    model.forward(x)
    assert max(pieces) == 1


def test_many_callers_at_once(pieces):
    model = Model([LSTM(20, 2), Dense(4)], input_size=3, n_threads=2)
    batches = [normal(seed, 5, 8, 3) for seed in range(24)]
    expected = [model.forward(x)[0] for x in batches]
    with ThreadPoolExecutor(4) as pool:
        for found, e in zip(pool.map(lambda x: model.forward(x)[0], batches), expected, strict=True):
            assert_same_bits(found, e)


@every_dtype
def test_predict_proba(dtype):
    model = make(RNN(4), Dense(5, init="uniform(3)"), input_size=2, dtype=dtype)
    x = normal(0, 4, 6, 2, dtype=dtype)
    outputs, _ = model.forward(x, lengths=RAGGED)
    expected = naive.softmax(np.float64(outputs))
    expected[np.arange(6) >= np.array(RAGGED)[:, None]] = 0
    assert_close(model.predict_proba(x, lengths=RAGGED), expected, TOLERANCE[dtype])
    last = make(RNN(4, return_sequences=False), Dense(5), input_size=2, dtype=dtype)
    outputs, _ = last.forward(x, lengths=RAGGED)
    assert_close(last.predict_proba(x, lengths=RAGGED), naive.softmax(np.float64(outputs)), TOLERANCE[dtype])


@every_dtype
@pytest.mark.parametrize(
    "layer",
    [
        Dense(5),
        Dense(5, activation="logistic"),
        Activation("logistic"),
        RNN(5),
        LSTM(5, 2, bidirectional=True),
        GRU(5, 2, bidirectional=True, merge="sum"),
        GRU(5, bidirectional=True),
        IndRNN(5),
        Dropout(0.5),
    ],
    ids=["dense", "activated", "activation", "rnn", "lstm", "sum", "gru", "indrnn", "dropout"],
)
def test_rows_past_the_length_are_zero(layer, dtype, poisoned):
    """Also inside, between the layers: what stands there must not be what memory or an initial state held."""
    model, x = make(layer, input_size=3, dtype=dtype), normal(0, 4, 6, 3, dtype=dtype)
    state = random_state(model, 4)
    model.forward(x)  # compiles, which must not happen in poisoned memory
    poisoned()
    call = Call(model.dtype, training=True)
    rows, layout = to_rows(call, x, model.signals[0], RAGGED)
    ((passes, weights),) = model.host_passes(call)
    start = state[0] if state else None
    out, layout, _, _ = passes.forward(call, layer, weights, rows, layout, start, 0)
    by_step = out.values.reshape(6, 4, -1)[:, :, : out.size]
    padding = np.arange(6)[:, None] >= layout.lengths
    assert padding.any()
    assert not by_step[padding].any()
    assert by_step[~padding].any()


# One sample, or one step, of as many units as whole panels have: what is handed out, or taken in, could be a view.
narrow = pytest.mark.parametrize(("samples", "steps"), [(1, 4), (4, 1), (1, 1)])
stacks = pytest.mark.parametrize(
    "layers",
    [
        [Dense(16)],
        [LSTM(16)],
        [GRU(16, return_sequences=False)],
        [Dropout(0.5)],
        [Activation("tanh")],
        [LSTM(16), Dense(16, activation="relu")],
    ],
    ids=["dense", "recurrent", "last", "dropout", "activation", "stack"],
)


@narrow
@stacks
@every_dtype
def test_results_may_be_overwritten(layers, samples, steps, dtype):
    model, x = make(*layers, input_size=16, dtype=dtype), normal(0, samples, steps, 16, dtype=dtype)
    kept = x.copy()
    outputs, final, pullback = model.vjp(x)
    first = pullback(np.ones_like(outputs))
    for array in (outputs, *flatten(final)):
        array[...] = 5
    assert_same_bits(x, kept)
    again = pullback(np.ones_like(outputs))
    assert_same_bits(again.x, first.x)
    for name, array in again.params.items():
        assert_same_bits(array, first.params[name], name)


@narrow
@stacks
@every_dtype
def test_results_stay_as_they_are(layers, samples, steps, dtype):
    """Later calls, which use the same memory inside, leave the results of earlier ones alone."""
    model = make(*layers, input_size=16, dtype=dtype)
    results = []
    for seed in range(6):
        x = normal(seed, samples, steps, 16, dtype=dtype)
        outputs, final = model.forward(x)
        y, state = model.step(x[:, 0])
        outputs_too, final_too, pullback = model.vjp(x)
        gradients = pullback(outputs)
        for array in (outputs, *flatten(final), y, *flatten(state), outputs_too, *flatten(final_too), gradients.x):
            results.append((array, array.copy()))
    for array, expected in results:
        assert_same_bits(array, expected)


@narrow
@pytest.mark.parametrize("first", [OneHot(5), Embedding(5, 16), Dense(5)], ids=["onehot", "embedding", "dense"])
def test_x_may_change_after_the_forward_pass(first, samples, steps):
    tokens = not isinstance(first, Dense)
    model = make(first, LSTM(16), input_size=None if tokens else 16)
    x = (
        np.random.default_rng(0).integers(0, 5, (samples, steps)).astype(np.int32)
        if tokens
        else normal(0, samples, steps, 16)
    )
    state, lengths = random_state(model, samples), np.full(samples, steps)
    outputs, _, pullback = model.vjp(x, state, lengths)
    expected = pullback(np.ones_like(outputs)).params
    for array in (x, lengths, *flatten(state)):
        array[...] = 1
    for name, array in pullback(np.ones_like(outputs)).params.items():
        assert_same_bits(array, expected[name], name)


# Descriptions

EXAMPLES = {
    "RNN": RNN(3, activation="logistic", bias="single"),
    "LSTM": LSTM(4, 2, bidirectional=True, dropout=0.1, recurrent_dropout=0.2, forget_bias=None, name="memory"),
    "GRU": GRU(4, return_sequences=False, init="orthogonal"),
    "GRU-sum": GRU(4, bidirectional=True, merge="sum"),
    "LSTM-options": LSTM(4, peepholes=True, coupled=True, fix={"input": 0.25}),
    "GRU-options": GRU(4, reset_after=False, fix={"r": 1}),
    "IndRNN": IndRNN(3, activation="tanh", bias=False),
    "MinGRU": MinGRU(3, 2, bias="single"),
    "MinLSTM": MinLSTM(3, bidirectional=True, forget_bias=2.0),
    "Recurrent": Recurrent(3, cell=cells.RNN(activation=3)),
    "Activation": Activation("relu", name="f"),
    "Dense": Dense(5, bias=False, init="uniform(0.5)"),
    "Dense-options": Dense(5, activation="tanh"),
    "Dropout": Dropout(0.25),
    "Dropout-options": Dropout(0.25, same_over_time=True),
    "Embedding": Embedding(9, 4, init="torch"),
    "OneHot": OneHot(9, name="letters"),
    "EmbeddingBag": EmbeddingBag(9, 4, bag=3, name="words"),
    "Pool": Pool("max"),
}


def test_every_layer_has_an_example():
    assert not set(LAYERS) - {type(layer).__name__ for layer in EXAMPLES.values()}


@pytest.mark.parametrize("name", EXAMPLES)
def test_config_makes_the_layer_again(name):
    layer = EXAMPLES[name]
    assert type(layer) is LAYERS[name.partition("-")[0]]
    assert type(layer).from_config(json.loads(json.dumps(layer.config()))) == layer


def test_layers_cannot_be_changed():
    for layer in EXAMPLES.values():
        with pytest.raises(AttributeError):
            layer.name = "other"


@pytest.mark.parametrize("cls", [LSTM, GRU, RNN, IndRNN, MinGRU, MinLSTM, Recurrent])
def test_projections_are_refused_by_name(cls):
    with pytest.raises(
        TypeError, match=rf"{cls.__name__}: proj_size must be left out, got 2: .*put Dense\(n, bias=False\)"
    ):
        cls(4, proj_size=2)
    with pytest.raises(TypeError, match="proj_size"):
        recurrent("lstm", 4, proj_size=0)
    assert list(inspect.signature(cls).parameters)[:2] == ["hidden_size", "num_layers"]


def test_names_and_shapes_of_parameters():
    model = make(
        LSTM(4, 2, bidirectional=True),
        LSTM(3, bias="single"),
        IndRNN(5),
        GRU(2, bias=False, name="top"),
        Dense(7),
        input_size=6,
    )
    expected = {}
    for level, inputs in ((0, 6), (1, 8)):
        for suffix in (f"l{level}", f"l{level}_reverse"):
            expected |= {f"lstm.weight_ih_{suffix}": (16, inputs), f"lstm.weight_hh_{suffix}": (16, 4)}
            expected |= {f"lstm.bias_ih_{suffix}": (16,), f"lstm.bias_hh_{suffix}": (16,)}
    expected |= {"lstm_2.weight_ih_l0": (12, 8), "lstm_2.weight_hh_l0": (12, 3), "lstm_2.bias_ih_l0": (12,)}
    expected |= {"indrnn.weight_ih_l0": (5, 3), "indrnn.bias_ih_l0": (5,), "indrnn.weight_u_l0": (5,)}
    expected |= {"top.weight_ih_l0": (6, 5), "top.weight_hh_l0": (6, 2)}
    expected |= {"dense.weight": (7, 2), "dense.bias": (7,)}
    assert {name: array.shape for name, array in model.params.items()} == expected
    assert list(model.params) == list(expected)
    assert model.params.flat.size == sum(np.prod(shape) for shape in expected.values())
    assert model.names == ("lstm", "lstm_2", "indrnn", "top", "dense")


def test_summary():
    model = make(Embedding(10, 4), GRU(3, bidirectional=True, return_sequences=False, name="reader"), Dense(2))
    lines = model.summary().splitlines()
    counts = {"embedding": 40, "reader": 2 * 9 * (4 + 3 + 2), "dense": 14}
    assert len(lines) == 7
    for line, (name, count) in zip(lines[2:5], counts.items(), strict=True):
        assert line.split()[0] == name
        assert line.split()[-1] == str(count)
    assert "(samples, time steps, 4)" in lines[2]
    assert "(samples, 6)" in lines[3]
    assert lines[-1].startswith("total")
    assert lines[-1].split()[-1] == str(sum(counts.values())) == str(model.params.flat.size)
    assert len({len(line) for line in lines}) == 1


# Initial weights


@pytest.mark.parametrize("shape", [(5, 5), (9, 4), (4, 9), (1, 6), (6, 1)])
def test_orthogonal(shape):
    matrix = initializers.orthogonal(np.random.default_rng(0), shape)
    assert matrix.shape == shape
    gram = matrix @ matrix.T if shape[0] <= shape[1] else matrix.T @ matrix
    assert_close(gram, np.eye(min(shape)), 1e-14)


def test_orthogonal_has_no_preferred_sign():
    # A plain QR decomposition has: its diagonal comes out mostly negative. The standard error of the mean is 0.03.
    generator = np.random.default_rng(0)
    corners = np.array([initializers.orthogonal(generator, (3, 3))[0, 0] for _ in range(400)])
    assert abs(corners.mean()) < 0.12
    assert corners.std() > 0.4


def test_orthogonal_gate_by_gate():
    model = make(LSTM(5, init="orthogonal"), input_size=3)
    for gate in range(4):
        h = model.params["lstm.weight_hh_l0"][5 * gate : 5 * gate + 5]
        x = model.params["lstm.weight_ih_l0"][5 * gate : 5 * gate + 5]
        assert_close(h @ h.T, np.eye(5), 1e-14)
        assert_close(x.T @ x, np.eye(3), 1e-14)


def spread(values, limit):
    """Whether values look uniform in [-limit, limit): inside, near both ends, and of the right variance."""
    if np.abs(values).max() > limit or values.max() < 0.9 * limit or values.min() > -0.9 * limit:
        return False
    # 1 / sqrt(3), within four standard errors.
    return abs(values.std() / limit - 3**-0.5) < 1.04 / np.sqrt(values.size)


def test_scheme_keras():
    model = make(LSTM(24), Dense(30), input_size=20)
    assert spread(model.params["lstm.weight_ih_l0"], np.sqrt(6 / (20 + 4 * 24)))
    assert spread(model.params["dense.weight"], np.sqrt(6 / (24 + 30)))
    h = model.params["lstm.weight_hh_l0"]
    assert_close(h.T @ h, np.eye(24), 1e-13)
    assert not model.params["dense.bias"].any()
    assert np.array_equal(model.params["lstm.bias_ih_l0"], np.repeat([0.0, 1.0, 0.0, 0.0], 24))
    assert not model.params["lstm.bias_hh_l0"].any()


def test_scheme_torch():
    model = make(LSTM(60, 2, init="torch", forget_bias=None), Dense(300, init="torch"), input_size=20)
    for name, values in model.params.items():
        # In a recurrent layer hidden_size counts, whatever the inputs; in a dense one its inputs.
        assert spread(values, 60**-0.5), name


def test_scheme_uniform():
    model = make(
        IndRNN(500, init="uniform(0.08)"),
        GRU(20, init="uniform( 8e-2 )"),
        Dense(300, init="uniform(.08)"),
        input_size=3,
    )
    for name, values in model.params.items():
        if values.size >= 100:
            assert spread(values, 0.08), name
        assert np.abs(values).max() <= 0.08


def test_scheme_of_unit_weights_and_embeddings():
    units = make(IndRNN(500), input_size=3).params["indrnn.weight_u_l0"]
    assert units.min() >= 0
    assert units.max() <= 1
    assert abs(units.mean() - 0.5) < 0.06
    vectors = make(Embedding(100, 50)).params["embedding.weight"]
    assert abs(vectors.mean()) < 0.06
    assert abs(vectors.std() - 1) < 0.05


@pytest.mark.parametrize("init", ["keras", "torch", "orthogonal", "uniform(0.1)"])
@pytest.mark.parametrize("bias", [True, "single"])
def test_forget_bias(init, bias):
    model = make(LSTM(5, 2, bidirectional=True, init=init, forget_bias=2.5, bias=bias), input_size=3)
    for name, values in model.params.items():
        if "bias" in name:
            expected = 2.5 if "bias_ih" in name else 0.0
            assert np.array_equal(values[5:10], np.full(5, expected)), name
            others = np.delete(values, np.s_[5:10])
            assert others.any() == (init in ("torch", "uniform(0.1)")), name


def test_seeds():
    first, same, other = (make(LSTM(5, 2), Dense(3), input_size=4, seed=seed) for seed in (7, 7, 8))
    assert_same_bits(first.params.flat, same.params.flat)
    assert not np.array_equal(first.params.flat, other.params.flat)
    assert not np.array_equal(first.params["lstm.weight_hh_l0"], first.params["lstm.weight_hh_l1"])
    narrow = make(LSTM(5, 2), Dense(3), input_size=4, seed=7, dtype="float32")
    assert_same_bits(narrow.params.flat, first.params.flat.astype(np.float32))


# Parameters


def test_views_are_read_only():
    model = make(LSTM(3), Dense(2), input_size=2)
    for array in (model.params.flat, *model.params.values()):
        with pytest.raises(ValueError, match="read-only"):
            array[...] = 0
    for array in model.state_dict().values():
        array[...] = 99  # a copy
    assert model.params.flat.max() < 99


def test_version_rises_with_every_write():
    params = Params([ParamSpec("a", (2, 3), None), ParamSpec("b", (4,), None)], np.float32)
    assert params.version == 0
    with params.writing() as flat:
        flat[6:] = 1
    assert params.version == 1
    assert params["b"].sum() == 4
    with pytest.raises(ZeroDivisionError), params.writing() as flat:
        flat[0] = 1 // 0
    assert params.version == 2  # something may have been written
    params.load({"a": np.ones((2, 3)), "b": np.zeros(4)})
    assert params.version == 3


def test_packed_weights_are_never_stale():
    model, x = make(LSTM(3), Dense(2), input_size=2), normal(0, 2, 3, 2)
    before, _, _ = model.vjp(x)
    model.set_flat(model.params.flat * 0.5)
    fresh = make(LSTM(3), Dense(2), input_size=2)
    fresh.load_state_dict(model.state_dict())
    assert not np.array_equal(model.forward(x)[0], before)
    assert_same_bits(model.forward(x)[0], fresh.forward(x)[0])
    assert_same_bits(model.vjp(x)[0], fresh.vjp(x)[0])


def test_pullback_keeps_the_weights_of_its_forward_pass():
    model, x = make(Embedding(4, 3), LSTM(3), Dense(2)), [[1, 2, 3]]
    outputs, _, pullback = model.vjp(x)
    expected = pullback(np.ones_like(outputs)).params
    model.set_flat(np.zeros_like(model.params.flat))
    for name, array in pullback(np.ones_like(outputs)).params.items():
        assert_same_bits(array, expected[name], name)


def test_copies_are_independent():
    model = make(RNN(3), input_size=2, seed=4)
    twin = model.copy()
    assert_same_bits(twin.params.flat, model.params.flat)
    twin.set_flat(np.zeros_like(twin.params.flat))
    assert model.params.flat.any()


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda d: d.pop("lstm.bias_hh_l0"), KeyError, "missing .*lstm.bias_hh_l0"),
        (lambda d: d.update({"lstm.weight_hh_l1": 1}), KeyError, "unknown .*lstm.weight_hh_l1"),
        (
            lambda d: d.update({"lstm.weight_hr_l0": 1}),
            KeyError,
            "lstm.weight_hr_l0 is of an LSTM with proj_size, .*Dense",
        ),
        (lambda d: d.update({"dense.bias": np.zeros(3)}), ShapeError, r"dense.bias: expected shape \(2,\), got \(3,\)"),
        (lambda d: d.update({"dense.bias": np.array([1, np.nan])}), ValueError, "dense.bias: 1 value not finite"),
        (lambda d: d.update({"dense.bias": np.array([1, -np.inf])}), ValueError, "dense.bias: 1 value not finite"),
        (lambda d: d.update({"dense.bias": np.array(["a", "b"])}), ValueError, "dense.bias: expected a numeric array"),
        (lambda d: d.update({"dense.bias": np.array([1, 2j])}), ValueError, "dense.bias: expected a numeric array"),
        # Finite in float64, infinite in the model's float32.
        (lambda d: d.update({"dense.bias": np.array([1.0, 1e300])}), ValueError, "dense.bias"),
    ],
)
@pytest.mark.filterwarnings("ignore:overflow encountered in cast:RuntimeWarning")
def test_load_changes_all_or_nothing(change, error, message):
    model = make(LSTM(3), Dense(2), input_size=2, dtype="float32")
    values = {name: np.float64(array) + 1 for name, array in model.params.items()}
    change(values)
    before, version = model.params.flat.copy(), model.params.version
    with pytest.raises(error, match=message):
        model.load_state_dict(values)
    assert_same_bits(model.params.flat, before)
    assert model.params.version == version


def test_load_without_the_layers_name():
    model = make(Dropout(0.1), GRU(3), input_size=2)
    values = {name.partition(".")[2]: array + 1 for name, array in model.state_dict().items()}
    assert model.load_state_dict(values) is model
    assert_same_bits(model.params["gru.weight_ih_l0"], values["weight_ih_l0"])


# Geometry

lengths_and_steps = st.integers(1, 9).flatmap(
    lambda steps: st.tuples(st.just(steps), st.lists(st.integers(0, steps), min_size=1, max_size=12))
)


@given(lengths_and_steps)
def test_layout(given_lengths):
    steps, lengths = given_lengths
    layout = Layout.make(steps, len(lengths), np.array(lengths))
    assert layout.lengths.tolist() == sorted(lengths, reverse=True)
    assert layout.active.tolist() == [sum(length > t for length in lengths) for t in range(steps)]
    assert layout.running == sum(lengths)
    assert layout.full == (min(lengths) == steps)
    values = np.arange(len(lengths) * 2).reshape(-1, 2)
    assert np.array_equal(layout.unsort(layout.sort(values)), values)
    assert np.array_equal(layout.unsort(layout.sort(values.T, axis=1), axis=1), values.T)
    assert layout.sort(np.array(lengths)).tolist() == layout.lengths.tolist()
    assert layout.last().running == len(lengths)
    assert layout.flat().running == layout.running


@given(lengths_and_steps, st.integers(1, 15))
def test_cuts_cover_all_samples_once(given_lengths, pieces):
    steps, lengths = given_lengths
    cuts = Layout.make(steps, len(lengths), np.array(lengths)).cut(pieces)
    assert 1 <= len(cuts) <= pieces
    assert [n for lo, hi in cuts for n in range(lo, hi)] == list(range(len(lengths)))
    assert all(lo < hi for lo, hi in cuts)


@given(lengths_and_steps, st.integers(1, 20), st.sampled_from(DTYPES))
def test_rows_and_back(given_lengths, size, dtype):
    steps, lengths = given_lengths
    x = normal(steps, len(lengths), steps, size, dtype=dtype)
    rows, layout = to_rows(Call(np.dtype(dtype)), x, Signal(size), lengths)
    by_step = rows.values.reshape(steps, len(lengths), -1)
    assert by_step.ctypes.data % 64 == 0
    for i, n in enumerate(range(len(lengths)) if layout.order is None else layout.order):
        assert_same_bits(by_step[: layout.lengths[i], i, :size], x[n, : lengths[n]])
    assert np.isfinite(by_step).all()
    expected = x.copy()
    expected[np.arange(steps) >= np.array(lengths)[:, None]] = 0
    assert_same_bits(from_rows(Call(np.dtype(dtype)), rows, layout), expected)


def test_arrays_that_come_in_compile_nothing_more():
    """Read-only and unaligned arrays are types of their own to Numba, and would compile the kernels once more."""
    model = Model([LSTM(3, return_sequences=False), Dense(2)], input_size=2)
    good = [normal(0, 4, 5, 2).astype(np.float32), normal(1, 4, 2).astype(np.float32)]

    def run(x, target):
        outputs, _, pullback = model.vjp(x)
        loss, gradients = model.loss_and_grad(x, target, "mse")
        return [model.forward(x)[0], outputs, pullback(target).x, np.array(loss), *gradients.values()]

    def unaligned(array):
        other = np.ndarray(array.shape, array.dtype, bytearray(array.nbytes + 1), 1)
        other[...] = array
        return other

    def read_only(array):
        array = array.copy()
        array.flags.writeable = False
        return array

    expected = run(*good)
    kernels = (to_time_major, pointwise)
    known = [len(kernel.signatures) for kernel in kernels]
    for change in (unaligned, read_only):
        for one, other in zip(run(*map(change, good)), expected, strict=True):
            assert_same_bits(one, other)
    assert [len(kernel.signatures) for kernel in kernels] == known
