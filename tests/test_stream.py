"""Single steps: streams, `Model.step`, and steps inside compiled code of the user's own."""

import os
import pickle
import sys
from typing import NamedTuple

import numba
import numpy as np
import pytest
from conftest import DTYPES, RECORDS, assert_same_bits, flatten, normal
from numba.core.errors import TypingError
from processes import copy_package, run_python

import numbarnn
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
    Model,
    OneHot,
    Recurrent,
)
from numbarnn.errors import ShapeError, TokenError

T, C, V = 9, 5, 7
# Every kind of layer that has a step, and stacks whose widths are not whole panels.
STACKS = {
    "dense": lambda: Model([Dense(3, init="torch")], input_size=C),
    "activations": lambda: Model(
        [
            Activation("tanh"),
            Dense(20, activation="logistic"),
            LSTM(6),
            Activation("relu"),
            Dense(7, activation="tanh"),
            Dense(2, activation="identity"),
        ],
        input_size=C,
    ),
    "lstm-dense": lambda: Model([LSTM(20, num_layers=2, init="torch"), Dense(3)], input_size=C),
    "mixed": lambda: Model([LSTM(6), GRU(33), RNN(4), Dense(3), IndRNN(5), Dense(2)], input_size=C, seed=2),
    "last": lambda: Model([GRU(8), GRU(6, return_sequences=False), Dense(3)], input_size=C),
    "dropout": lambda: Model([LSTM(6, num_layers=2, dropout=0.5), Dropout(0.5), Dense(2)], input_size=C),
    "no-bias": lambda: Model([LSTM(6, bias=False), Dense(2, bias=False)], input_size=C),
    "long": lambda: Model([GRU(300), Dense(3)], input_size=290),  # blocks of k
    "double": lambda: Model([LSTM(20), Dense(3)], input_size=C, dtype="float64"),
    "onehot": lambda: Model([OneHot(V), GRU(6, num_layers=2), Dense(V)]),
    "onehot-dense": lambda: Model([OneHot(V), Dense(4), LSTM(6)]),
    "onehot-activated": lambda: Model([OneHot(V), Dense(20, activation="tanh"), Dense(3)], dtype="float64"),
    "embedding": lambda: Model([Embedding(V, 3), LSTM(6), Dense(V)]),
    "embedding-alone": lambda: Model([Embedding(V, 3)]),
    "bag": lambda: Model([EmbeddingBag(V, 19, bag=3), LSTM(6), Dense(V)]),
    "bag-alone": lambda: Model([EmbeddingBag(V, 3, bag=2)], dtype="float64"),
}


def sequence(model, steps=T):
    """Return one sequence that the model reads: (steps, features), (steps,) tokens, or (steps, bag) of them."""
    if model.signals[0].bag:
        return np.random.default_rng(0).integers(-1, model.signals[0].size, (steps, model.signals[0].bag))
    if model.signals[0].tokens:
        return np.random.default_rng(0).integers(0, model.signals[0].size, steps)
    return normal(1, steps, model.signals[0].size, dtype=model.dtype)


def prefixes(model, x):
    """Return the outputs of forward at every step, those of the prefixes where it gives the last alone."""
    if model.signals[-1].sequence:
        return model.forward(x[None])[0][0]
    return np.array([model.forward(x[None, : t + 1])[0][0] for t in range(len(x))])


def recurrent(record, dtype="float32", levels=2):
    return Model([Recurrent(20, levels, cell=record, init="torch", forget_bias=None)], input_size=C, dtype=dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", RECORDS)
def test_every_cell_streams_as_forward(name, dtype):
    model = recurrent(RECORDS[name], dtype)
    x = sequence(model)
    outputs, final = model.forward(x[None])
    stream = model.stream()
    assert_same_bits(np.array([stream.step(x_t).copy() for x_t in x]), outputs[0])
    for found, expected in zip(flatten(stream.snapshot()), flatten(final), strict=True):
        assert_same_bits(found, expected)


@pytest.mark.parametrize("name", STACKS)
def test_every_stack_streams_as_forward(name):
    model = STACKS[name]()
    x = sequence(model)
    stream = model.stream()
    assert_same_bits(np.array([stream.step(x_t).copy() for x_t in x]), prefixes(model, x))


@pytest.mark.parametrize("name", STACKS)
def test_model_step_is_forward(name):
    model = STACKS[name]()
    x, state = sequence(model), None
    expected = prefixes(model, x)
    for t, x_t in enumerate(x):
        y, state = model.step(x_t[None], state)
        assert_same_bits(y[0], expected[t])
    for found, wanted in zip(flatten(state), flatten(model.forward(x[None])[1]), strict=True):
        assert_same_bits(found, wanted)


def test_steps_do_not_touch_the_state_that_was_given():
    model = STACKS["lstm-dense"]()
    x = sequence(model)
    _, state = model.step(x[:1])
    before = [array.copy() for array in flatten(state)]
    first, second = (model.step(x[1:2], state)[0] for _ in range(2))
    assert_same_bits(first, second)
    for array, copy in zip(flatten(state), before, strict=True):
        assert_same_bits(array, copy)


def test_snapshots_and_states_of_forward_are_the_same_thing():
    model = STACKS["mixed"]()
    x = sequence(model)
    expected = prefixes(model, x)
    stream = model.stream()
    for x_t in x[:4]:
        stream.step(x_t)
    middle = stream.snapshot()
    assert_same_bits(model.forward(x[None, 4:], middle)[0][0], expected[4:])
    for x_t in x[4:]:
        last = stream.step(x_t).copy()
    stream.restore(middle)
    assert_same_bits(stream.step(x[4]), expected[4])
    stream.restore(model.forward(x[None, :-1])[1])
    assert_same_bits(stream.step(x[-1]), last)
    stream.reset()
    assert_same_bits(stream.step(x[0]), expected[0])


def test_streams_of_one_model_are_apart():
    model = STACKS["lstm-dense"]()
    x = sequence(model)
    one, other = model.stream(), model.stream()
    one.step(x[0])
    assert_same_bits(other.step(x[0]), prefixes(model, x)[0])
    assert one._now[3][0] is other._now[3][0]  # but share the weights


def test_a_stream_follows_the_parameters():
    model = STACKS["lstm-dense"]()
    x = sequence(model)
    stream = model.stream()
    stream.step(x[0])
    _, state = model.forward(x[None, :1])
    model.set_flat(model.params.flat * 0.5)
    assert_same_bits(stream.step(x[1]), model.forward(x[None, 1:2], state)[0][0, 0])


def test_what_a_stream_reads_and_writes():
    model = Model([LSTM(4), Dense(3)], input_size=1)
    x = sequence(model)
    expected = prefixes(model, x)
    frozen = x[0].copy()
    frozen.flags.writeable = False
    strided = np.zeros((1, 3), np.float32)[:, ::3].T[0]
    strided[...] = x[0]
    wide = model.stream()
    for given in (x[0], x[0].astype(">f4"), frozen, strided, x[0].tolist(), float(x[0, 0]), x[0, 0], np.array(x[0, 0])):
        wide.reset()
        assert_same_bits(wide.step(given), expected[0])
    stream = model.stream()
    first = stream.step(x[0])
    assert stream.step(x[1]) is first  # its own memory, written over
    out = np.zeros(3)
    assert stream.step(x[2], out=out) is out
    assert_same_bits(out.astype(np.float32), expected[2])
    assert "stream" in repr(stream)


@pytest.mark.parametrize(
    ("name", "x_t", "error", "message"),
    [
        ("mixed", np.zeros(4), ShapeError, r"shape \(5,\), one value per feature, got \(4,\)"),
        ("mixed", np.zeros((1, 5), np.float32), ShapeError, r"got \(1, 5\); take x_t\[0\]"),
        ("mixed", 1.0, ShapeError, r"got \(\)"),
        ("mixed", np.array(["a"] * 5), TypeError, "must be numeric"),
        ("onehot", 1.0, TypeError, "integer token"),
        ("onehot", np.zeros(1, int), ShapeError, r"one token, got an array of shape \(1,\); take x_t\[0\]"),
        ("onehot", V, TokenError, "x_t is 7; the vocabulary has 7 tokens"),
        ("onehot", -1, TokenError, "x_t is -1"),
    ],
)
def test_what_a_stream_refuses(name, x_t, error, message):
    model = STACKS[name]()
    stream = model.stream()
    with pytest.raises(error, match=message):
        stream.step(x_t)
    x = sequence(model)
    assert_same_bits(stream.step(x[0]), prefixes(model, x[:1])[0])


def test_bad_out_and_state():
    stream = STACKS["mixed"]().stream()
    for out in (np.zeros(3), [0.0, 0.0]):
        with pytest.raises(ShapeError, match=r"out must be a NumPy array of shape \(2,\)"):
            stream.step(np.zeros(C), out=out)
    with pytest.raises(ShapeError, match="state must be a tuple"):
        stream.restore(())
    with pytest.raises(ShapeError, match=r"state\[0\], h"):
        stream.restore(STACKS["mixed"]().initial_state(2))


def test_what_has_no_step_says_so():
    model = Model([LSTM(4, bidirectional=True), Dense(2)], input_size=C)
    for make in (model.stream, lambda: numbarnn.step_function(model)):
        with pytest.raises(ValueError, match="bidirectional: it reads the sequence from its end"):
            make()
    x = sequence(model)
    assert_same_bits(model.step(x[:1])[0], model.forward(x[None, :1])[0][:, 0])


def test_nan_spreads():
    assert np.isnan(STACKS["mixed"]().stream().step(np.full(C, np.nan))).all()


def test_a_stream_allocates_nothing():
    model = STACKS["mixed"]()
    stream, x = model.stream(), sequence(model)
    stream.step(x[0])
    x_t = x[0]
    before = sys.getallocatedblocks()
    for _ in range(2000):
        stream.step(x_t)
    assert sys.getallocatedblocks() - before < 50


# Inside the user's compiled code


@numba.njit
def run_through(weights, x, state, y):
    for t in range(len(x)):
        numbarnn.step(weights, x[t], state, y[t])


@numba.njit(parallel=True)
def run_many(weights, x, states, y):
    for n in numba.prange(len(x)):
        for t in range(x.shape[1]):
            numbarnn.step(weights, x[n, t], states[n], y[n, t])


@pytest.mark.parametrize("name", STACKS)
def test_compiled_code_steps_as_forward(name):
    model = STACKS[name]()
    x = sequence(model)
    step, weights, state = numbarnn.step_function(model)
    assert step is numbarnn.step
    y = np.zeros((T, model.signals[-1].size), model.dtype)
    run_through(weights, x, state, y)
    assert_same_bits(y, prefixes(model, x))


def test_compiled_code_goes_on_from_a_state():
    model = STACKS["lstm-dense"]()
    x = sequence(model)
    _, middle = model.forward(x[None, :4])
    _, weights, state = numbarnn.step_function(model, middle)
    y = np.zeros((T - 4, 3))  # another dtype is converted
    run_through(weights, x[4:].astype(np.float64), state, y)
    assert_same_bits(y.astype(np.float32), prefixes(model, x)[4:])


def test_compiled_code_in_parallel():
    model = STACKS["lstm-dense"]()
    x = normal(3, 16, T, C, dtype="float32")
    _, weights, state = numbarnn.step_function(model)
    y = np.zeros((16, T, 3), np.float32)
    run_many(weights, x, np.tile(state, (16, 1)), y)
    assert_same_bits(y, model.forward(x)[0])


def test_compiled_code_is_told_what_is_wrong():
    model, letters = STACKS["lstm-dense"](), STACKS["onehot"]()
    _, weights, state = numbarnn.step_function(model)
    x, y = np.zeros((1, C), np.float32), np.zeros((1, 3), np.float32)
    with pytest.raises(ValueError, match="x has the wrong size"):
        run_through(weights, x[:, :2], state, y)
    with pytest.raises(ValueError, match="state has the wrong size"):
        run_through(weights, x, state[:-1], y)
    with pytest.raises(ValueError, match="y has the wrong size"):
        run_through(weights, x, state, y[:, :2])
    with pytest.raises(ValueError, match="x is an integer, but the model reads arrays"):
        run_through(weights, np.zeros(1, int), state, y)
    for wrong in (
        np.zeros((1, 1, 3), np.float32),
        np.zeros((1, 3), int),
        np.zeros((1, 3), bool),
        np.zeros((1, 3), complex),
    ):
        with pytest.raises(TypingError, match="y must be a writable"):
            run_through(weights, x, state, wrong)
    with pytest.raises(TypingError, match="y must be a writable"):
        numbarnn.step(weights, x[0], state, np.zeros((1, 3), np.float32))  # what Model.step returns
    others = {
        "int32": {"program": weights.program.astype(np.int32)},
        "strided": {"values": np.repeat(weights.values, 2)[::2]},
        "matrix": {"values": weights.values[None]},
    }
    for changes in others.values():
        with pytest.raises(TypingError, match="weights have arrays of the wrong dtype or layout"):
            run_through(weights._replace(**changes), x, state, y)
    wide = weights._replace(values=weights.values.astype(np.float64))
    with pytest.raises(ValueError, match="weights have arrays of the wrong size or dtype"):
        run_through(wide, x, state.astype(np.float64), y)
    with pytest.raises(ValueError, match="weights have arrays of the wrong size or dtype"):
        run_through(weights._replace(cells=weights.cells[:0]), x, state, y)
    for field, part in (("values", slice(-1)), ("values", slice(0)), ("program", slice(-1)), ("program", slice(9))):
        with pytest.raises(ValueError, match="weights have arrays of the wrong size"):
            run_through(weights._replace(**{field: getattr(weights, field)[part]}), x, state, y)
    with pytest.raises(TypingError, match="state must be a writable, C-contiguous"):
        run_through(weights, x, state.astype(np.float64), y)
    with pytest.raises(TypingError, match="x must be a"):
        run_through(weights, x[None], state, y)
    _, weights, state = numbarnn.step_function(letters)
    y = np.zeros((1, V), np.float32)
    for token in (-1, V):
        with pytest.raises(ValueError, match="not in the model's vocabulary"):
            run_through(weights, np.array([token]), state, y)
    with pytest.raises(ValueError, match="x is an array, but the model reads tokens"):
        run_through(weights, x, state, y)
    _, weights, state = numbarnn.step_function(STACKS["bag"]())
    for bag in ([0, -2, 1], [0, V, 1]):
        with pytest.raises(ValueError, match="a token of x is not in the model's vocabulary"):
            run_through(weights, np.array([bag]), state, y)
    with pytest.raises(ValueError, match="one token for each of the model's bag"):
        run_through(weights, np.zeros((1, 2), int), state, y)
    with pytest.raises(ValueError, match="numbers that are not integers, but the model reads bags"):
        run_through(weights, x, state, y)
    with pytest.raises(ValueError, match="x is an integer, but the model reads bags"):
        run_through(weights, np.zeros(1, int), state, y)


USER = """
import numba, numpy as np, numbarnn as nr
from numbarnn import step
from numbarnn.kernels import cache

@numba.njit(cache=True)
def simulate(weights, x, state, y):
    for t in range(len(x)):
        step(weights, x[t], state, y[t])

def main():
    compiled = []
    cache.on_compile.append(compiled.append)
    model = nr.Model([nr.LSTM(6), nr.GRU(5), nr.Dense(3)], input_size=2)
    _, weights, state = nr.step_function(model)
    x, y = np.random.default_rng(0).normal(size=(4, 2)), np.zeros((4, 3), np.float32)
    simulate(weights, x, state, y)
    print(sum(simulate.stats.cache_hits.values()), len(compiled), repr(y.tolist()))
"""


def test_functions_of_the_user_are_cached_until_the_package_changes(tmp_path):
    package = copy_package(tmp_path / "package")
    (tmp_path / "user.py").write_text(USER)
    options = {"cwd": tmp_path, "cache": tmp_path / "cache", "path": package}

    def run():
        hits, compiled, y = run_python("import user; user.main()", **options).stdout.split(" ", 2)
        return int(hits), int(compiled), y

    hits, compiled, first = run()
    assert hits == 0
    assert compiled > 0
    assert run() == (1, 0, first)
    cell = package / "numbarnn" / "cells" / "lstm.py"
    text = cell.read_text()
    assert "c = f * states[1] + i * g" in text
    cell.write_text(text.replace("c = f * states[1] + i * g", "c = f * states[1] - i * g"))
    hits, compiled, changed = run()
    assert hits == 0
    assert changed != first


def test_steps_in_compiled_code_allocate_nothing(tmp_path):
    code = """
import numba, numpy as np, numbarnn as nr
from numba.core.runtime import rtsys
@numba.njit
def loop(weights, x, state, y, n):
    for _ in range(n):
        nr.step(weights, x, state, y)
@numba.njit
def allocating(weights, x, state, y, n):
    for _ in range(n):
        y[:] = np.full(len(y), x[0])
model = nr.Model([nr.LSTM(6), nr.Dense(3)], input_size=2)
_, weights, state = nr.step_function(model)
x, y = np.zeros(2, np.float32), np.zeros(3, np.float32)
for function in (loop, allocating):
    function(weights, x, state, y, 1)
    for n in (1, 1000):
        before = rtsys.get_allocation_stats().alloc
        function(weights, x, state, y, n)
        print(rtsys.get_allocation_stats().alloc - before)
"""
    done = run_python(code, cwd=tmp_path, cache=os.environ.get("NUMBA_CACHE_DIR"), NUMBA_NRT_STATS=1)
    one, many, allocated_one, allocated_many = map(int, done.stdout.split())
    assert many == one
    assert allocated_many == allocated_one + 999  # so allocations are counted at all


class Leaky(NamedTuple):
    """A cell that the package does not know."""

    rate: float = 0.5
    gates = ("a",)
    preactivations = ("a",)
    from_input = {"a": "a"}
    from_hidden = {"a": "a"}
    states = ("h",)
    saved = ()
    diagonal = ()

    @staticmethod
    def forward(cell, preactivations, states, diagonal):
        rate = type(preactivations[0])(cell.rate)
        return (states[0] + rate * (preactivations[0] - states[0]),), ()

    @staticmethod
    def backward(cell, saved, states, diagonal, after, gradients):
        one, rate = type(after[0])(1), type(after[0])(cell.rate)
        return (gradients[0] * rate,), (gradients[0] * (one - rate),), ()


def test_a_cell_of_the_users_own_is_kept_out_of_the_package_cache(monkeypatch):
    from numbarnn import cells
    from numbarnn.kernels import cache

    monkeypatch.setitem(cells.CELLS, "Leaky", Leaky)
    model = Model([Recurrent(6, cell=Leaky(0.25)), LSTM(4)], input_size=C)
    saved = []
    monkeypatch.setattr(cache, "write_entry", lambda path, target, pickled: saved.append(pickled))
    x = sequence(model)
    stream = model.stream()
    assert_same_bits(np.array([stream.step(x_t).copy() for x_t in x]), prefixes(model, x))
    _, weights, state = numbarnn.step_function(model)
    y = np.zeros((T, 4), np.float32)
    run_through(weights, x, state, y)
    assert_same_bits(y, prefixes(model, x))
    assert not [pickled for pickled in saved if b"Leaky" in pickled]


FRESH = """
import pickle, sys
import numpy as np
import numbarnn
weights, state, x, expected = pickle.loads(bytes.fromhex(sys.stdin.read()))
weights.program.flags.writeable = False
y = np.zeros(3, np.float32)
numbarnn.step(weights, x, state, y)
assert (y == expected).all()
weights = pickle.loads(pickle.dumps(weights))
numbarnn.step(weights, x, state, y)
print("done")
"""


def test_weights_are_unpickled_where_nothing_was_packed(tmp_path):
    """In a worker of joblib's, whose classes of cells are not loaded yet and whose arrays may be mapped read-only."""
    model = Model([GRU(6), Dense(3)], input_size=2)
    _, weights, state = numbarnn.step_function(model)
    x, before = np.ones(2, np.float32), state.copy()
    expected = np.zeros(3, np.float32)
    numbarnn.step(weights, x, state, expected)
    given = pickle.dumps((weights, before, x, expected)).hex()
    code = FRESH.replace("sys.stdin.read()", repr(given))
    assert run_python(code, cwd=tmp_path, cache=tmp_path / "cache").stdout == "done\n"


def test_a_bad_out_leaves_the_state():
    stream, x_t = Model([LSTM(3)], input_size=2).stream(), normal(0, 2).astype(np.float32)
    fixed = np.zeros(3, np.float32)
    fixed.flags.writeable = False
    cases = (
        (np.zeros(4, np.float32), ShapeError, r"shape \(3,\)"),
        (
            np.zeros(3, int),
            TypeError,
            "out must have a floating-point dtype, such as the model's float32, got dtype int64",
        ),
        (np.zeros(3, "U3"), TypeError, "out must have a floating-point dtype, .* got dtype <U3"),
        (np.zeros(3, object), TypeError, "out must have a floating-point dtype, .* got dtype object"),
        (fixed, ValueError, "out must be writable"),
    )
    for out, error, message in cases:
        with pytest.raises(error, match=message):
            stream.step(x_t, out=out)
        assert not np.any(stream.snapshot()[0][0])
    wide = np.zeros(3)
    assert_same_bits(stream.step(x_t, out=wide).astype(np.float32), stream._y)
