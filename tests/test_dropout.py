"""Dropout: random bits, masks, and the same mask in both passes."""

import naive
import numba
import numpy as np
import pytest
from conftest import DTYPES, GRADIENT_TOLERANCE, assert_close, assert_same_bits, naive_run, normal, recurrent_model

from numbarnn import GRU, LSTM, RNN, Dense, Dropout, Model, Recurrent, inputs
from numbarnn.backends.cpu import dropout
from numbarnn.backends.cpu.batch import Call, Rows, from_rows, to_rows
from numbarnn.backends.cpu.dropout import drop
from numbarnn.cells import CELLS
from numbarnn.core.layout import Layout
from numbarnn.core.signal import Signal
from numbarnn.kernels.cpu.memory import padded
from numbarnn.kernels.random import philox
from numbarnn.losses import MeanSquaredError

every_dtype = pytest.mark.parametrize("dtype", DTYPES)
RECURRENT = {name: cell() for name, cell in CELLS.items() if cell.from_hidden}
BIG_SEED = 2**62 + 12345

# Known answers of the authors' own implementation (Random123, kat_vectors, philox4x32-10).
VECTORS = [
    ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    ((2**32 - 1,) * 4, (2**32 - 1,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
    (
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
        (0xA4093822, 0x299F31D0),
        (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
    ),
]


@numba.njit
def compiled_philox(c0, c1, c2, c3, k0, k1):
    return philox(c0, c1, c2, c3, k0, k1)


@pytest.mark.parametrize(("counter", "key", "expected"), VECTORS)
def test_known_answers(counter, key, expected):
    assert naive.philox(counter, key) == expected
    words = [np.uint64(word) for word in (*counter, *key)]
    assert tuple(map(int, philox(*words))) == expected
    assert tuple(map(int, compiled_philox(*words))) == expected


def dropped(x, rate, lengths=None, *, seed=0, step=0, stream=0, n_threads=1, same_over_time=False):
    """Return (samples, steps, features) after dropout."""
    call = Call(x.dtype, n_threads, training=True, seed=seed, step=step)
    rows, layout = to_rows(call, x, Signal(x.shape[2]), lengths)
    return from_rows(call, drop(call, rows, layout, rate, stream, same_over_time), layout)


@every_dtype
@pytest.mark.parametrize(
    ("seed", "step", "stream"), [(0, 0, 0), (7, 3, 300), (BIG_SEED, 2**31, 129), (2**63 - 1, 1, 5)]
)
@pytest.mark.parametrize("rate", [0.1, 0.5, 0.99])
def test_masks_are_philox(dtype, seed, step, stream, rate):
    x = normal(0, 3, 4, 6, dtype=dtype)
    factors = naive.dropout_factors(3, 4, 6, rate, seed, step, stream)
    assert_close(dropped(x, rate, seed=seed, step=step, stream=stream), x * factors, 2 * np.finfo(dtype).eps)


@every_dtype
def test_one_mask_for_all_steps_of_a_sample(dtype):
    x = normal(0, 3, 4, 6, dtype=dtype)
    key = {"seed": BIG_SEED, "step": 2, "stream": 300}
    factors = naive.dropout_factors(3, 1, 6, 0.5, **key)
    found = dropped(x, 0.5, same_over_time=True, **key)
    assert_close(found, x * factors, 2 * np.finfo(dtype).eps)
    assert_same_bits(found[:, 0], dropped(x, 0.5, **key)[:, 0])
    assert len(np.unique(factors, axis=0)) == 3  # samples differ


@every_dtype
@pytest.mark.parametrize("rate", [0.05, 0.3, 0.8])
def test_statistics(dtype, rate):
    y = dropped(np.ones((50, 40, 101), dtype), rate, seed=1)
    kept = y != 0
    assert np.unique(y[kept]).tolist() == [np.dtype(dtype).type(1 / (1 - rate))]
    error = 5 * np.sqrt(rate * (1 - rate))
    assert abs(kept.mean() - (1 - rate)) < error / np.sqrt(kept.size)
    for axes in ((0, 1), (0, 2), (1, 2)):  # no unit, step or sample is favoured
        means = kept.mean(axis=axes)
        assert np.abs(means - (1 - rate)).max() < error / np.sqrt(kept.size / means.size)
    # Neighbours know nothing of each other.
    centred = kept - kept.mean()
    for a, b in ((centred[1:], centred[:-1]), (centred[:, 1:], centred[:, :-1]), (centred[..., 1:], centred[..., :-1])):
        assert abs((a * b).mean()) < 5 * rate * (1 - rate) / np.sqrt(a.size)


def test_every_part_of_the_key_matters():
    x = np.ones((4, 5, 30))
    masks = [
        dropped(x, 0.5),
        dropped(x, 0.5, seed=1),
        dropped(x, 0.5, seed=2**33),
        dropped(x, 0.5, step=1),
        dropped(x, 0.5, stream=1),
    ]
    for i, first in enumerate(masks):
        for second in masks[:i]:
            assert 0.4 < (first == second).mean() < 0.6


@every_dtype
@pytest.mark.parametrize("same", [False, True], ids=["each step", "same over time"])
def test_masks_do_not_depend_on_sorting_threads_and_padding(dtype, same, pieces):
    x, lengths = normal(0, 7, 5, 18, dtype=dtype), [2, 5, 0, 4, 5, 1, 3]
    expected = dropped(x, 0.4, seed=3, same_over_time=same)
    past = np.arange(5) >= np.array(lengths)[:, None]
    expected[past] = 0
    x[past] = np.nan
    for n_threads in (1, 2, 3, 5):
        options = {"seed": 3, "n_threads": n_threads, "same_over_time": same}
        assert_same_bits(dropped(x, 0.4, lengths, **options), expected)
        longer = np.concatenate([x, np.full((7, 3, 18), np.nan, dtype)], axis=1)
        assert_same_bits(dropped(longer, 0.4, lengths, **options)[:, :5], expected)
    assert max(pieces) >= 4


def test_layer_acts_in_training_only():
    layer, dtype = Dropout(0.5), np.dtype("float64")
    rows, layout = to_rows(Call(dtype), normal(0, 3, 4, 6), Signal(6), None)
    for call in (Call(dtype), Call(dtype, keep=True, seed=3)):
        assert dropout.forward(call, layer, None, rows, layout, None, 0)[0] is rows
    call = Call(dtype, training=True)
    found = dropout.forward(call, layer, None, rows, layout, None, 2)[0]
    x = from_rows(Call(dtype), rows, layout)
    assert_close(from_rows(Call(dtype), found, layout), x * naive.dropout_factors(3, 4, 6, 0.5, 0, 0, 2 << 8), 1e-15)
    assert dropout.forward(call, Dropout(0.0), None, rows, layout, None, 0)[0] is rows
    model = Model([LSTM(3, 2, dropout=0.5, recurrent_dropout=0.5), Dropout(0.5)], input_size=2)
    plain = Model([LSTM(3, 2)], input_size=2)
    plain.load_state_dict(model.state_dict())
    x = normal(0, 2, 4, 2)
    assert_same_bits(model.forward(x)[0], plain.forward(x)[0])
    assert_same_bits(model.vjp(x)[0], plain.vjp(x)[0])


# Recurrent dropout


def train_forward(model, x, lengths=None, **key):
    """Return outputs and final states of a model of one layer with dropout acting."""
    (layer,) = model.layers
    call = Call(model.dtype, training=True, **key)
    rows, layout = to_rows(call, x, model.signals[0], lengths)
    ((passes, weights),) = model.host_passes(call)
    out, layout, final, _ = passes.forward(call, layer, weights, rows, layout, None, 0)
    return from_rows(call, out, layout), final


def counting_model(dtype="float64", **options):
    """Return the net h_t = x_t + h_{t-1}, unit by unit."""
    model = Model([RNN(6, activation="identity", bias=False, **options)], input_size=6, dtype=dtype, n_threads=1)
    return model.load_state_dict({name: np.eye(6) for name in model.params})


@every_dtype
def test_one_mask_at_all_steps(dtype):
    # A dropped unit always forgets, h_t = 1; one that is kept doubles what it has, h_t = 2 h_{t-1} + 1 = 2^(t+1) - 1.
    outputs, (final,) = train_forward(counting_model(dtype, recurrent_dropout=0.5), np.ones((40, 5, 6), dtype), seed=3)
    kept = outputs[:, 1] == 3
    assert 0.35 < kept.mean() < 0.65
    assert np.array_equal(outputs, np.where(kept[:, None], np.array([1, 3, 7, 15, 31])[:, None], 1))
    assert np.array_equal(final[0], outputs[:, -1])


def test_masks_of_chunks_layers_and_directions_differ():
    model = counting_model(recurrent_dropout=0.5)
    x = np.ones((40, 2, 6))

    def kept(**key):
        return train_forward(model, x, **key)[0][:, 1] == 3

    assert np.array_equal(kept(seed=3, step=0), kept(seed=3, step=0))
    assert 0.3 < (kept(seed=3, step=0) == kept(seed=3, step=1)).mean() < 0.7
    both = Model([RNN(6, activation="identity", bias=False, bidirectional=True, recurrent_dropout=0.5)], 6, "float64")
    both.load_state_dict({name: np.eye(6) for name in both.params})
    outputs, _ = train_forward(both, x, seed=3)
    assert 0.3 < ((outputs[:, 1, :6] == 3) == (outputs[:, 0, 6:] == 3)).mean() < 0.7


def test_recurrent_masks_do_not_depend_on_sorting():
    model, x = counting_model(recurrent_dropout=0.5), np.ones((30, 5, 6))
    expected, _ = train_forward(model, x, seed=3)
    lengths = np.random.default_rng(0).integers(0, 6, 30)
    expected[np.arange(5) >= lengths[:, None]] = 0
    outputs, _ = train_forward(model, x, lengths, seed=3)
    assert_same_bits(outputs, expected)


def test_dropout_inside_a_stack():
    # Between the layers, not after the last: outputs of the first are dropped, those of the second are whole.
    model = Model(
        [RNN(6, 2, activation="identity", bias=False, dropout=0.5)], input_size=6, dtype="float64", n_threads=1
    )
    flat = {name: np.eye(6) * ("ih" in name) for name in model.params}
    model.load_state_dict(flat)
    outputs, _ = train_forward(model, np.ones((20, 5, 6)), seed=3)
    assert np.array_equal(outputs, naive.dropout_factors(20, 5, 6, 0.5, 3, 0, 1))


# Both passes


def loss_of(model, call, x, target, lengths):
    """Return (loss, flat gradient)."""
    checked = inputs.check(x, model.signals[0], lengths)
    gradient = np.empty(model.params.flat.size, model.dtype)
    value, _, _ = model.differentiate(call, *checked, target, MeanSquaredError(), None, gradient)
    return value, gradient


@pytest.mark.parametrize("record", RECURRENT.values(), ids=RECURRENT)
def test_recurrent_masks_in_the_equations(record):
    # One mask a sample is a factor on the columns of its recurrent matrix, whatever they are multiplied with.
    model = recurrent_model(record, 3, 6, recurrent_dropout=0.4)
    x, lengths = normal(0, 4, 5, 3), [5, 3, 0, 4]
    outputs, final = train_forward(model, x, lengths, seed=BIG_SEED, step=2)
    factors = naive.dropout_factors(4, 1, 6, 0.4, BIG_SEED, 2, 128)[:, 0]
    for n in range(4):
        masked = model.copy()
        masked.load_state_dict(
            {name: w * factors[n] if "weight_hh" in name else w for name, w in model.state_dict().items()}
        )
        expected, ends = naive_run(masked, x[n : n + 1], lengths=lengths[n : n + 1])
        assert_close(outputs[n], expected[0], 1e-12)
        for array, end in zip(final, ends, strict=True):
            assert_close(array[:, n], end[:, 0], 1e-12)


@pytest.mark.parametrize("record", RECURRENT.values(), ids=RECURRENT)
@pytest.mark.parametrize("lengths", [None, [3, 0, 2]], ids=["full", "ragged"])
def test_gradients(record, lengths):
    options = {"bidirectional": True, "dropout": 0.3, "recurrent_dropout": 0.4, "cell": record, "init": "torch"}
    model = Model(
        [Dense(2), Dropout(0.2, same_over_time=True), Recurrent(2, 2, **options), Dropout(0.3), Dense(1)],
        2,
        "float64",
        n_threads=1,
    )
    x, target, start = normal(0, 3, 3, 2), normal(1, 3, 3, 1), model.params.flat.copy()
    key = {"training": True, "seed": BIG_SEED, "step": 5}
    _, gradient = loss_of(model, Call(model.dtype, keep=True, **key), x, target, lengths)
    without = loss_of(model, Call(model.dtype, keep=True), x, target, lengths)[1]
    assert not np.allclose(gradient, without, rtol=0.1)  # the masks make a difference
    checked = inputs.check(x, model.signals[0], lengths)

    def value(flat):
        model.set_flat(flat)
        return model.evaluate_rows(Call(model.dtype, **key), *checked, target, MeanSquaredError(), None)[0]

    expected = model.params.views(naive.central_differences(value, start))
    for name, array in model.params.views(gradient).items():
        assert_close(array, expected[name], GRADIENT_TOLERANCE, name)


@every_dtype
@pytest.mark.parametrize("reset_after", [True, False], ids=["after", "before"])
@pytest.mark.parametrize("lengths", [None, [2, 5, 0, 4, 5, 1, 3]], ids=["full", "ragged"])
def test_training_does_not_depend_on_threads(dtype, lengths, reset_after, pieces):
    options = {"bidirectional": True, "dropout": 0.3, "recurrent_dropout": 0.4, "reset_after": reset_after}
    model = Model(
        [Dropout(0.1, same_over_time=True), GRU(33, 2, **options), Dropout(0.3), Dense(5)], input_size=4, dtype=dtype
    )
    x, target = normal(0, 7, 5, 4, dtype=dtype), normal(1, 7, 5, 5, dtype=dtype)
    results = []
    for n_threads in (1, 2, 3, 5):
        pieces.clear()
        call = Call(model.dtype, n_threads, training=True, keep=True, seed=9, step=2)
        value, gradient = loss_of(model, call, x, target, lengths)
        assert max(pieces) >= min(n_threads, 4)
        results.append((value, gradient))
    for value, gradient in results[1:]:
        assert value == results[0][0]
        assert_same_bits(gradient, results[0][1])


def test_no_uninitialised_memory(poisoned):
    model = Model(
        [Dropout(0.1, same_over_time=True), LSTM(5, 2, dropout=0.3, recurrent_dropout=0.4), Dense(5)],
        input_size=4,
        n_threads=1,
    )
    x, target = normal(0, 3, 5, 4), normal(1, 3, 5, 5)
    call = Call(model.dtype, training=True, keep=True)
    value, gradient = loss_of(model, call, x, target, [5, 0, 2])
    poisoned()
    again, gradient_again = loss_of(model.copy(), call, x, target, [5, 0, 2])
    assert again == value
    assert_same_bits(gradient_again, gradient)


def test_padded_columns_and_rows_stay_zero():
    call = Call(np.dtype("float32"), training=True)
    width = padded(5, "float32")
    rows = Rows(np.ones((4 * 3, width), np.float32), 5)
    y = drop(call, rows, Layout.make(4, 3, np.array([1, 4, 0])), 0.5, 0).values
    assert not y[:, 5:].any()
    assert not y.reshape(4, 3, width)[1:, 1:].any()
    assert y.any()
