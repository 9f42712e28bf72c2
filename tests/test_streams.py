"""Many sequences advanced together: `Model.streams`, and `step_many` inside compiled code of the user's own."""

import contextlib
import copy
import heapq
import os
import pickle
import signal
import threading
from types import SimpleNamespace

import numba
import numpy as np
import pytest
from conftest import RECORDS, assert_same_bits, flatten, normal
from hypothesis import given
from hypothesis import strategies as st
from numba.core.errors import TypingError
from processes import run_python

import numbarnn
from numbarnn import GRU, LSTM, Activation, Dense, Dropout, Embedding, EmbeddingBag, Model, OneHot, Recurrent
from numbarnn.checks import check_tokens
from numbarnn.errors import ShapeError, TokenError

T, C, V = 3, 5, 7
N = 131  # at least two blocks of every net, of 66 and 65 rows: `MOST` of numbarnn/kernels/cpu/streams.py is 120
STACKS = {
    "dense": lambda: Model([Activation("tanh"), Dense(20, activation="logistic"), Dense(3)], input_size=C),
    "activations": lambda: Model(
        [Dense(20, activation="tanh"), LSTM(6), Activation("relu"), Dense(2, activation="identity")], input_size=C
    ),
    "two-cells": lambda: Model([LSTM(6, 2), Dropout(0.5), GRU(33), Dense(3)], input_size=C, seed=2),
    "last": lambda: Model([LSTM(8), LSTM(6, return_sequences=False), Dense(3)], input_size=C),
    "long": lambda: Model([LSTM(300), Dense(3)], input_size=290),  # blocks of k
    "double": lambda: Model([LSTM(20), Dense(3)], input_size=C, dtype="float64"),
    "onehot": lambda: Model([OneHot(V), LSTM(6, num_layers=2), Dense(V)]),
    "onehot-dense": lambda: Model([OneHot(V), Dense(4, activation="tanh"), LSTM(6)]),
    "embedding": lambda: Model([Embedding(V, 3), LSTM(6), Dense(V)]),
    "bag": lambda: Model([EmbeddingBag(V, 19, bag=3), LSTM(6), Dense(V)]),
}


def inputs(model, rows, steps=T, seed=0):
    """Return what some rows read: (steps, rows, features), (steps, rows) tokens, or (steps, rows, bag) of them."""
    signal, generator = model.signals[0], np.random.default_rng(seed)
    if signal.bag:
        return generator.integers(-1, signal.size, (steps, rows, signal.bag))
    if signal.tokens:
        return generator.integers(0, signal.size, (steps, rows))
    return normal(seed, steps, rows, signal.size, dtype=model.dtype)


def alone(model, x):
    """Return the outputs and last states of single streams, one for each row of x."""
    outputs = np.zeros((*x.shape[:2], model.signals[-1].size), model.dtype)
    states = []
    for row in range(x.shape[1]):
        stream = model.stream()
        for t in range(len(x)):
            stream.step(x[t, row], out=outputs[t, row])
        states.append(stream.snapshot())
    return outputs, states


def together(model, x, rows=None, **options):
    """Return the outputs of streams, stepped in an order of their own, and the streams."""
    streams = model.streams(2 * x.shape[1], **options)
    opened = streams.open(2 * x.shape[1])
    rows = np.random.default_rng(1).permutation(opened)[: x.shape[1]] if rows is None else rows
    return np.array([streams.step(x_t, rows) for x_t in x]), streams, rows


def check(model):
    x = inputs(model, N)
    expected, states = alone(model, x)
    found, streams, rows = together(model, x)
    assert_same_bits(found, expected)
    for row, state in zip(rows, states, strict=True):
        for one, other in zip(flatten(streams.snapshot(row)), flatten(state), strict=True):
            assert_same_bits(one, other)
    others = np.setdiff1d(streams.rows, rows)
    assert not any(np.any(array) for array in flatten(streams.snapshot(others)))


@pytest.mark.parametrize("name", RECORDS)
def test_every_cell_steps_as_a_stream(name):
    check(Model([Recurrent(20, 2, cell=RECORDS[name], init="torch", forget_bias=None)], input_size=C))


@pytest.mark.parametrize("name", STACKS)
def test_every_stack_steps_as_a_stream(name):
    check(STACKS[name]())


def test_a_cell_without_states_of_tokens_alone():
    model = Model([Embedding(V, 3)])
    x = inputs(model, N)
    found, streams, _ = together(model, x)
    assert_same_bits(found, alone(model, x)[0])
    assert streams.nbytes_per_stream == 0
    assert streams.snapshot([0, 1]) == ()


def net(**options):
    return Model([LSTM(5, init="torch", forget_bias=None), Dense(3)], input_size=C, **options)


ACTIONS = st.tuples(st.sampled_from(["open", "close", "step", "all", "keep", "return", "reset"]), st.integers(0, 2**31))


@given(st.lists(ACTIONS, max_size=30))
def test_any_history_is_that_of_single_streams(history):
    model = net(n_threads=1)
    streams, single, kept = model.streams(6), {}, {}
    for action, seed in history:
        generator = np.random.default_rng(seed)
        chosen = generator.permutation(sorted(single))[: generator.integers(0, len(single) + 1)]
        if action == "open" and len(single) < 6:
            row = streams.open()
            assert row == min(set(range(6)) - set(single))
            single[row] = model.stream()
        elif action == "open":
            with pytest.raises(RuntimeError, match="0 of 6 streams are free"):
                streams.open()
        elif action == "close":
            streams.close(chosen)
            for row in chosen:
                del single[row]
        elif action in ("step", "all"):
            rows = sorted(single) if action == "all" else chosen
            x = generator.standard_normal((len(rows), C)).astype(np.float32)
            found = streams.step(x) if action == "all" else streams.step(x, rows)
            for row, x_t, y_t in zip(rows, x, found, strict=True):
                assert_same_bits(y_t, single[row].step(x_t))
        elif action == "keep":
            kept |= {int(row): streams.snapshot(row) for row in chosen}
        elif action == "return":
            for row in set(chosen.tolist()) & set(kept):
                streams.restore(row, kept[row])
                single[row].restore(kept[row])
        else:
            streams.reset(chosen)
            for row in chosen:
                single[row].reset()
        assert len(streams) == len(single)
        assert streams.rows.tolist() == sorted(single)
    for row, stream in single.items():
        for one, other in zip(flatten(streams.snapshot(row)), flatten(stream.snapshot()), strict=True):
            assert_same_bits(one, other)


# Rows, states, parameters


def test_rows_are_opened_and_closed():
    streams = net().streams(4)
    assert (len(streams), streams.capacity, streams.nbytes_per_stream) == (0, 4, 2 * 16 * 4)
    assert streams.open(3).tolist() == [0, 1, 2]
    with pytest.raises(RuntimeError, match="count is 2, but 1 of 4 streams are free; close some"):
        streams.open(2)
    streams.step(np.ones((3, C)))
    streams.close([2, 0])
    assert streams.rows.tolist() == [1]
    assert streams.open() == 0
    assert not np.any(streams.snapshot(0)[0][0])  # nothing is left of the one before
    assert np.all(streams.snapshot(1)[0][0])
    assert streams.open(2).tolist() == [2, 3]
    assert "4 of 4 streams of Model" in repr(streams)
    streams.close(streams.rows)
    assert streams.step(np.zeros((0, C))).shape == (0, 3)
    assert streams.step(np.zeros((0, C)), []).shape == (0, 3)


def test_states_come_from_forward_and_go_to_it():
    model = Model([LSTM(5, 2), GRU(4), Dense(3)], input_size=C)
    x = inputs(model, 6, 8).swapaxes(0, 1)
    whole, _ = model.forward(x)
    _, past = model.forward(x[:, :5])
    streams = model.streams(9)
    rows = streams.open(9)[[8, 1, 3, 2, 0, 5]]
    streams.restore(rows, past)
    for one, other in zip(flatten(streams.snapshot(rows)), flatten(past), strict=True):
        assert_same_bits(one, other)
    assert_same_bits(streams.step(x[:, 5], rows), whole[:, 5])
    assert_same_bits(model.forward(x[:, 6:], streams.snapshot(rows))[0], whole[:, 6:])
    streams.reset(rows[:2])
    assert_same_bits(streams.step(x[:2, 0], rows[:2]), whole[:2, 0])
    streams.reset()
    assert_same_bits(streams.step(x[[4, 1, 3, 2, 0, 0, 0, 0, 0], 0], None)[:3], whole[[4, 1, 3], 0])
    streams.restore(rows, None)
    assert not any(np.any(array) for array in flatten(streams.snapshot(rows)))


def test_streams_follow_the_parameters():
    model, x = net(), inputs(net(), 4)
    streams, stream = model.streams(4), model.stream()
    streams.open(4)
    streams.step(x[0])
    stream.step(x[0, 2])
    model.set_flat(model.params.flat * 0.5)
    assert_same_bits(streams.step(x[1])[2], stream.step(x[1, 2]))


def test_copies_go_on_by_themselves():
    model, x = net(), inputs(net(), 3)
    streams = model.streams(5)
    streams.open(4)
    streams.close(1)
    streams.step(x[0])
    twins = copy.copy(streams), copy.deepcopy(streams), pickle.loads(pickle.dumps(streams))
    expected = streams.step(x[1])
    for twin in twins:
        assert twin.rows.tolist() == [0, 2, 3]
        assert_same_bits(twin.step(x[1]), expected)
        assert twin.open() == 1
    assert twins[0].model is model


def test_threads_change_nothing():
    model = Model([LSTM(32), Dense(2)], input_size=C)
    x = normal(0, 2, 3001, C, dtype="float32")
    expected, _ = model.forward(x.swapaxes(0, 1))
    for n_threads in (1, 2, 3):
        found, _, _ = together(model, x, n_threads=n_threads)
        assert_same_bits(found.swapaxes(0, 1), expected)


def test_threads_step_rows_of_their_own_at_once():
    model = Model([LSTM(32), Dense(2)], input_size=C, n_threads=2)
    x = normal(0, 4, 2000, C, dtype="float32")
    expected, _ = model.forward(x.swapaxes(0, 1))
    streams, found = model.streams(2000), np.zeros((4, 2000, 2), np.float32)
    rows = np.random.default_rng(0).permutation(streams.open(2000))

    def run(part):
        for t in range(len(x)):
            found[t, part] = streams.step(x[t, part], rows[part])

    threads = [threading.Thread(target=run, args=(slice(i, None, 4),)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert_same_bits(found.swapaxes(0, 1), expected)


def test_two_threads_close_a_row_once(monkeypatch):
    streams, both, wrong = net().streams(3), threading.Barrier(2), []
    streams.open(2)
    checked = numbarnn.network.streams.Streams._checked_rows

    def meet(self, *given, **options):
        found = checked(self, *given, **options)
        with contextlib.suppress(threading.BrokenBarrierError):  # one waits until the other has closed
            both.wait(0.2)
        return found

    def close():
        try:
            streams.close(1)
        except ValueError as error:
            wrong.append(str(error))

    monkeypatch.setattr(numbarnn.network.streams.Streams, "_checked_rows", meet)
    threads = [threading.Thread(target=close) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(wrong) == 1
    assert "not open" in wrong[0]
    assert len(streams) == 1
    assert streams.open(2).tolist() == [1, 2]


@pytest.mark.parametrize("name", ["heappop", "heappush"])
def test_an_interrupt_leaves_every_row_open_or_free(monkeypatch, name):
    streams, handler = net().streams(4), signal.signal(signal.SIGINT, signal.default_int_handler)
    streams.open(2)

    def interrupted(*given):
        found = getattr(heapq, name)(*given)
        signal.raise_signal(signal.SIGINT)
        return found

    usual = {"heappop": heapq.heappop, "heappush": heapq.heappush}
    monkeypatch.setattr(numbarnn.network.streams, "heapq", SimpleNamespace(**(usual | {name: interrupted})))
    try:
        with pytest.raises(KeyboardInterrupt):
            streams.open(2) if name == "heappop" else streams.close([0, 1])
    finally:
        signal.signal(signal.SIGINT, handler)
    monkeypatch.undo()
    assert len(streams) == len(streams.rows)
    streams.close(streams.rows)
    assert streams.open(4).tolist() == [0, 1, 2, 3]


def test_nan_stays_in_its_row():
    model = Model([LSTM(6), GRU(4), Dense(3)], input_size=C)
    x = inputs(model, N)
    expected, _, _ = together(model, x)
    x[0, 4, 1] = np.nan
    found, streams, rows = together(model, x)
    assert np.isnan(found[:, 4]).all()
    assert_same_bits(np.delete(found, 4, axis=1), np.delete(expected, 4, axis=1))
    streams.reset(rows[4])
    assert np.isfinite(streams.step(x[1], rows)).all()


def test_denormal_numbers_are_the_callers_own():
    model, x = net(), inputs(net(), 4)
    streams = model.streams(4)
    streams.open(4)
    _, weights, states = numbarnn.streams_function(model, 4)
    small = np.full(3, 1e-39, np.float32)
    for run in (
        lambda: streams.step(x[0]),
        lambda: numbarnn.step_many(weights, x[0], np.arange(4), states, x[1, :, :3]),
    ):
        run()
        assert (small * np.float32(0.5)).all()


# Arguments


def test_what_a_step_reads_and_writes():
    model = Model([LSTM(4), Dense(1)], input_size=1)
    x = inputs(model, N)
    streams = model.streams(N)
    streams.open(N)
    expected = streams.step(x[0])
    wide = np.zeros((N, 3), np.float32)
    wide[:, 1:2] = x[0]
    frozen = x[0].copy()
    frozen.flags.writeable = False
    for value in (wide[:, 1:2], wide[:, 1], x[0].astype(">f4"), frozen, x[0].tolist(), x[0, :, 0].tolist()):
        streams.reset()
        assert_same_bits(streams.step(value), expected)
    x_t = x[0].copy()
    for out in (np.zeros((N, 1), np.float32), np.zeros((N, 1)), wide[:, :1], x_t):
        streams.reset()
        assert streams.step(x_t, out=out) is out
        assert_same_bits(out.astype(np.float32), expected)
    memory = np.zeros((N + 1, 1), np.float32)
    memory[1:] = x[0]
    streams.reset()
    streams.step(memory[1:], out=memory[:-1])  # each output where the input before was
    assert_same_bits(memory[:-1], expected)
    for rows in (np.arange(N, dtype=np.uint64), list(range(N)), np.arange(2 * N, dtype=np.int16)[::2] // 2):
        streams.reset()
        assert_same_bits(streams.step(x[0], rows), expected)


@pytest.mark.parametrize("name", ["onehot", "bag"])
def test_tokens_that_another_thread_refills_are_those_that_were_checked(monkeypatch, name):
    model = STACKS[name]()
    tokens = np.ascontiguousarray(inputs(model, 2)[0])
    given = tokens.copy()
    expected = alone(model, given[None])[0][0]

    def refill(array, *options, **more):
        check_tokens(array, *options, **more)
        tokens[...] = (given + 1) % V

    for module in (numbarnn.network.streams, numbarnn.network.stream):
        monkeypatch.setattr(module, "check_tokens", refill)
    streams = model.streams(2)
    streams.open(2)
    assert_same_bits(streams.step(tokens), expected)
    tokens[...] = given
    assert_same_bits(model.stream().step(tokens[0]), expected[0])


def test_rows_and_inputs_at_odd_addresses_and_outputs_in_place_of_rows(monkeypatch):
    model = STACKS["double"]()
    x = inputs(model, 2)[0]
    expected, aligned = alone(model, x[None])[0][0], []
    run = numbarnn.network.streams.Streams._run

    def noting(self, plan, enter, x, index, y):
        aligned.append(x.flags.aligned and index.flags.aligned)
        run(self, plan, enter, x, index, y)

    monkeypatch.setattr(numbarnn.network.streams.Streams, "_run", noting)
    streams = model.streams(9)
    streams.open(9)
    odd = [np.frombuffer(b"." + array.tobytes(), array.dtype, offset=1) for array in (x, np.array([7, 3]))]
    assert not any(array.flags.aligned for array in odd)
    assert_same_bits(streams.step(odd[0].reshape(x.shape), odd[1]), expected)
    assert_same_bits(model.stream().step(odd[0].reshape(x.shape)[0]), expected[0])
    assert aligned == [True]
    streams.reset()
    memory = np.repeat([[7], [3]], 3, axis=1)
    assert_same_bits(streams.step(x, memory[:, 0], out=memory.view(np.float64)), expected)
    assert not np.any(streams.snapshot([0, 1, 2, 4, 5, 6, 8])[0][0])
    assert np.all(streams.snapshot([3, 7])[0][0])


X2 = np.zeros((2, C))
BAD_STEPS = {
    "twice": (X2, [3, 3], None, ValueError, r"rows\[1\] is 3, as rows\[0\]; a row takes one step"),
    "closed": (X2, [0, 1], None, ValueError, r"rows\[1\] is 1, which is not open"),
    "above": (X2, [0, 5], None, ValueError, r"rows\[1\] is 5; there are 5 streams, 0 to 4"),
    "below": (X2, [-1, 0], None, ValueError, r"rows\[0\] is -1; there are 5 streams"),
    "huge": (X2, np.array([2**63, 0], np.uint64), None, ValueError, "rows has the value"),
    "mask": (X2, [True, True, False, True, False], None, TypeError, "rows must be integers.*flatnonzero"),
    "floats": (X2, [0.0, 3.0], None, TypeError, "rows must be integers"),
    "one": (np.zeros(C), 3, None, ShapeError, r"rows must have shape \(k,\), an array; for one row pass \[row\]"),
    "matrix": (X2, [[0, 3]], None, ShapeError, r"rows must have shape \(k,\), got shape \(1, 2\)"),
    "too few": (
        X2[:1],
        [0, 3],
        None,
        ShapeError,
        r"x must have shape \(2, 5\), one value per feature for each of 2 rows",
    ),
    "all": (X2, None, None, ShapeError, r"x must have shape \(3, 5\), one value per feature for each of 3 open rows"),
    "columns": (np.zeros((2, 4)), [0, 3], None, ShapeError, r"got \(2, 4\)"),
    "text": (np.array([["a"] * C] * 2), [0, 3], None, TypeError, "x must be numeric, got dtype"),
    "out shape": (X2, [0, 3], np.zeros((2, 4)), ShapeError, r"out must be a NumPy array of shape \(2, 3\)"),
    "out dtype": (X2, [0, 3], np.zeros((2, 3), int), TypeError, "out must have a floating-point dtype"),
    "out fixed": (X2, [0, 3], np.broadcast_to(np.zeros(3), (2, 3)), ValueError, "out must be writable"),
}


@pytest.mark.parametrize("name", BAD_STEPS)
def test_what_a_step_refuses(name):
    x, rows, out, error, message = BAD_STEPS[name]
    streams = net().streams(5)
    streams.open(4)
    streams.close([1])
    streams.step(np.ones((3, C)))
    before = streams.snapshot([0, 2, 3])
    with pytest.raises(error, match=message):
        streams.step(x, rows, out)
    for one, other in zip(flatten(streams.snapshot([0, 2, 3])), flatten(before), strict=True):
        assert_same_bits(one, other)


def test_tokens_are_checked():
    streams = STACKS["onehot"]().streams(3)
    streams.open(2)
    for token in (-1, V):
        with pytest.raises(TokenError, match=rf"x\[1\] is {token}; the vocabulary has 7 tokens"):
            streams.step([0, token])
    with pytest.raises(TypeError, match="x must be integer tokens, got dtype float64"):
        streams.step([0.0, 1.0])
    with pytest.raises(ShapeError, match=r"x must have shape \(2,\), one token for each of 2 open rows"):
        streams.step([[0, 1]])
    bags = STACKS["bag"]().streams(1)
    bags.open()
    with pytest.raises(TokenError, match=r"x\[0, 2\] is -2"):
        bags.step([[0, 1, -2]])
    with pytest.raises(ShapeError, match=r"x must have shape \(1, 3\), the tokens of a bag"):
        bags.step([[0, 1]])


def test_bad_rows_and_states():
    model = net()
    for n, error in ((0, ValueError), (2**40, ValueError), (1.5, TypeError), (True, TypeError)):
        with pytest.raises(error, match="n must be an integer"):
            model.streams(n)
    streams = model.streams(4)
    streams.open(2)
    for call in (streams.close, streams.snapshot, streams.reset, lambda rows: streams.restore(rows, None)):
        with pytest.raises(ValueError, match=r"rows\[0\] is 3, which is not open"):
            call(3)
        with pytest.raises(ValueError, match=r"rows\[2\] is 0, as rows\[0\]"):
            call([0, 1, 0])
    assert len(streams) == 2
    with pytest.raises(ShapeError, match=r"state\[0\], h: expected .* = \(1, 2, 5\), got \(1, 1, 5\)"):
        streams.restore([0, 1], streams.snapshot(0))
    backwards = Model([LSTM(4, bidirectional=True), Dense(2)], input_size=C)
    for make in (lambda: backwards.streams(3), lambda: numbarnn.streams_function(backwards, 3)):
        with pytest.raises(ValueError, match="bidirectional: it reads the sequence from its end"):
            make()


# Inside the user's compiled code


@numba.njit
def run_through(weights, x, rows, states, y):
    for t in range(len(x)):
        numbarnn.step_many(weights, x[t], rows, states, y[t])


@pytest.mark.parametrize("name", ["last", "onehot", "bag"])
def test_compiled_code_steps_as_streams(name):
    model = STACKS[name]()
    x = inputs(model, N)
    expected, streams, rows = together(model, x)
    step_many, weights, states = numbarnn.streams_function(model, 2 * N)
    assert step_many is numbarnn.step_many
    assert states.nbytes == 2 * N * streams.nbytes_per_stream
    y = np.zeros_like(expected)
    run_through(weights, x, rows, states, y)
    assert_same_bits(y, expected)


def test_compiled_code_is_told_what_is_wrong():
    _, weights, states = numbarnn.streams_function(STACKS["last"](), 4)
    x, y, rows = np.ones((2, C), np.float32), np.zeros((2, 3), np.float32), np.array([3, 1])
    refused = [
        ("x has rows of the wrong size", {"x": x[:, :4].copy()}),
        ("rows has the wrong size", {"rows": rows[:1]}),
        ("y has the wrong shape", {"y": y[:1]}),
        ("y has the wrong shape", {"y": y[:, :2].copy()}),
        ("states have rows of the wrong size", {"states": states[:, :-1].copy()}),
        ("weights have arrays of the wrong size", {"weights": weights._replace(values=weights.values[:-1])}),
        *(("an element of rows is not", {"rows": np.array(wrong)}) for wrong in ([0, 4], [-1, 0], [2, 2])),
    ]
    given = {"weights": weights, "x": x, "rows": rows, "states": states, "y": y}
    for message, wrong in refused:
        with pytest.raises(ValueError, match=message):
            numbarnn.step_many(*(given | wrong).values())
    assert not states.any()
    for message, wrong in [
        ("states must be a writable, C-contiguous", {"states": states[:, ::2]}),
        ("states must be a writable, C-contiguous", {"states": states.astype(np.float64)}),
        ("y must be a writable", {"y": y[0]}),
        ("rows must be a", {"rows": rows.astype(np.float64)}),
        ("x must be a", {"x": x[0]}),
    ]:
        with pytest.raises(TypingError, match=message):
            numbarnn.step_many(*(given | wrong).values())
    for name, x, message in (
        ("onehot", [0, V], "not in the model's vocabulary"),
        ("onehot", [-1, 0], "not in the model's vocabulary"),
        ("bag", [[0, 1, -2]] * 2, "not in the model's vocabulary"),
        ("bag", [[0, 1]] * 2, "x has rows of the wrong size"),
        ("bag", [0, 1], "x is an array of tokens, but the model reads rows"),
        ("onehot", [[0, 1]] * 2, "x has rows, but the model reads tokens"),
    ):
        _, weights, states = numbarnn.streams_function(STACKS[name](), 4)
        with pytest.raises(ValueError, match=message):
            numbarnn.step_many(weights, np.array(x), rows, states, np.zeros((2, V), np.float32))
    with pytest.raises(TypeError, match=r"model must be a numbarnn.Model, got 3"):
        numbarnn.streams_function(3, 4)


USER = """
import numba, numpy as np, numbarnn as nr
from numbarnn import step_many

@numba.njit(cache=True)
def simulate(weights, x, rows, states, y):
    step_many(weights, x, rows, states, y)

def main():
    model = nr.Model([nr.LSTM(8), nr.LSTM(6, return_sequences=False), nr.Dense(3)], input_size=5)
    _, weights, states = nr.streams_function(model, 9)
    y = np.zeros((9, 3), np.float32)
    simulate(weights, np.ones((9, 5), np.float32), np.arange(9), states, y)
    print(sum(simulate.stats.cache_hits.values()), repr(y.tolist()))
"""


def test_functions_of_the_user_are_cached(tmp_path):
    (tmp_path / "user.py").write_text(USER)

    def run():
        code = "import user; user.main()"
        hits, y = run_python(code, cwd=tmp_path, cache=os.environ.get("NUMBA_CACHE_DIR")).stdout.split(" ", 1)
        return int(hits), y

    hits, first = run()
    assert hits == 0
    assert run() == (1, first)
