"""The compiled walk over sequences, and the entries of frozen models: equal to `Model.forward` to the bit, and to single steps."""

import inspect
import os
import pathlib
import re
import sys
from dataclasses import dataclass
from typing import NamedTuple

import numba
import numpy as np
import pytest
from conftest import DTYPES, RECORDS, assert_same_bits, flatten, normal, random_state
from processes import run_python

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
    LanguageModel,
    Model,
    OneHot,
    Pool,
    Recurrent,
    cells,
)
from numbarnn.cells.contract import CELLS
from numbarnn.frozen import interface
from numbarnn.kernels.cpu import entries
from numbarnn.kernels.cpu.denormals import KEEP, mode
from numbarnn.kernels.cpu.walk import walk
from numbarnn.kernels.scalar import tanh
from numbarnn.layers.base import Layer
from numbarnn.network.walk import make_walk

N, T, C, V = 4, 7, 5, 9
LENGTHS = np.array([T, 0, 3, 1])

# One cell for most of them: the compiled code differs by the cells alone.
MODELS = {
    "stack": lambda: Model([GRU(20, 3), Dense(3, activation="tanh")], C),
    "long": lambda: Model([GRU(150), Dense(3)], input_size=270),  # blocks of k
    "last": lambda: Model([GRU(6), GRU(5, 2, return_sequences=False), Dense(3), Activation("relu")], C),
    "last-alone": lambda: Model([GRU(5, return_sequences=False)], C),
    "reverse": lambda: Model([GRU(5, 2, reverse=True), Dense(2)], C),
    "reverse-last": lambda: Model([GRU(5, 2, reverse=True, return_sequences=False)], C),
    "both": lambda: Model([GRU(20, 3, bidirectional=True), Dense(2)], C),
    "both-alone": lambda: Model([GRU(5, bidirectional=True)], C),
    "both-last": lambda: Model([Dropout(0.5), GRU(5, 2, bidirectional=True, return_sequences=False), Dense(2)], C),
    "sum": lambda: Model([GRU(5, 2, bidirectional=True, merge="sum"), GRU(4), Dense(2)], C),
    "sum-last": lambda: Model([GRU(5, 2, bidirectional=True, merge="sum", return_sequences=False)], C),
    "after-both": lambda: Model([Dense(4), GRU(5, bidirectional=True), GRU(6, 2, reverse=True), Activation("tanh")], C),
    "mean": lambda: Model([GRU(20), Pool("mean"), Dense(3)], C),
    "max": lambda: Model([GRU(5, bidirectional=True), Dense(17), Pool("max")], C),
    "pool-last": lambda: Model([GRU(5, reverse=True), Pool("last"), Activation("logistic")], C),
    "onehot": lambda: Model([OneHot(V), GRU(5, 2), Dropout(0.5), Dense(V)]),
    "onehot-both": lambda: Model([OneHot(V), GRU(5, bidirectional=True), Dense(V)]),
    "embedding": lambda: Model([Embedding(V, 3), GRU(5, 2), Dense(V)]),
    "embedding-both": lambda: Model([Embedding(V, 19), GRU(5, bidirectional=True), Dense(V)]),
    "bag": lambda: Model([EmbeddingBag(V, 19, bag=3), GRU(5, 2), Dense(3)]),
    "bag-both": lambda: Model([EmbeddingBag(V, 3, bag=2), GRU(5, 2, bidirectional=True)]),
    "double": lambda: Model([GRU(20, 2, bidirectional=True, bias="single"), Dense(3, bias=False)], C, "float64"),
    # without a recurrent layer
    "dense": lambda: Model([Dense(18), Activation("tanh"), Dense(2, activation="relu")], C),
    "pool": lambda: Model([Pool("max"), Dense(2)], C),
    "bag-mean": lambda: Model([EmbeddingBag(V, 3, bag=2), Pool("mean")]),
    "onehot-dense": lambda: Model([OneHot(V), Dense(4, activation="tanh")]),
    "nothing": lambda: Model([Dropout(0.5)], C),
}


def batch(model, samples=N, steps=T):
    """Return sequences that the model reads."""
    signal = model.signals[0]
    if signal.tokens:
        bag = (signal.bag,) if signal.bag else ()
        return np.random.default_rng(1).integers(-1 if bag else 0, signal.size, (samples, steps, *bag))
    return normal(1, samples, steps, signal.size, dtype=model.dtype)


def packed(own, state, samples):
    """Return the states of a batch as the walk reads them; None stays None."""
    array = np.zeros((samples, own.plan.size), own.dtype)
    for n, row in enumerate(array):
        own.plan.write(row, [[values[:, n : n + 1] for values in entry] for entry in state])
    return array.reshape(-1)


def unpacked(own, array, samples):
    """Return states of the walk in the form of `Model.forward`."""
    entries = [own.plan.read(row) for row in array.reshape(samples, -1)]
    return tuple(
        tuple(np.concatenate(parts, axis=1) for parts in zip(*own_entries, strict=True))
        for own_entries in zip(*entries, strict=True)
    )


def outputs_of(own, samples, steps):
    """Return memory for outputs, with values that no model gives."""
    shape = (samples, steps) if own.sequence else (samples,)
    return np.full((*shape, own.plan.outputs), np.nan, own.dtype)


def walked(own, x, lengths=None, h0=None):
    """Return outputs and packed states of the kernel."""
    samples, steps = x.shape[:2]
    y, h1 = outputs_of(own, samples, steps), np.full(samples * own.plan.size, np.nan, own.dtype)
    values, tokens, nothing = np.zeros(0, own.dtype), np.zeros(0, np.int64), np.zeros(0, own.dtype)
    if own.plan.tokens:
        tokens = x.astype(np.int64).reshape(-1)
    else:
        values = x.reshape(-1).copy()
    work = np.full(own.work_size(samples, steps), np.nan, own.dtype)
    lengths = np.zeros(0, np.int64) if lengths is None else lengths
    h0 = nothing if h0 is None else h0
    walk(own.cells, own.program, own.values, values, tokens, lengths, h0, h1, y.reshape(-1), work, samples, steps)
    return y, h1


def check(model, x=None):
    """Compare outputs and states with those of `forward`: all steps, lengths, initial states, two halves one after the other."""
    own, x = make_walk(model), batch(model) if x is None else x
    samples = len(x)
    start = random_state(model, samples)
    for lengths in (None, LENGTHS[:samples]):
        for state in (None, start):
            y, h1 = walked(own, x, lengths, None if state is None else packed(own, state, samples))
            outputs, final = model.forward(x, state, lengths)
            assert_same_bits(y, outputs, "outputs")
            for found, expected in zip(flatten(unpacked(own, h1, samples)), flatten(final), strict=True):
                assert_same_bits(found, expected, "states")
    half = x.shape[1] // 2
    _, middle = walked(own, x[:, :half])
    y, _ = walked(own, x[:, half:], None, middle)
    _, state = model.forward(x[:, :half])
    assert_same_bits(y, model.forward(x[:, half:], state)[0], "the second half")


@pytest.mark.parametrize("name", MODELS)
def test_every_layer_walks_as_forward(name):
    check(MODELS[name]())


@pytest.mark.parametrize(
    ("cell", "dtype"), [*((cell, "float32") for cell in CELLS), ("LSTM", "float64"), ("ResetBeforeGRU", "float64")]
)
def test_every_cell_walks_as_forward(cell, dtype):
    """Its variants differ by values, not by code."""
    for name, record in RECORDS.items():
        if type(record).__name__ == cell:
            check(Model([Recurrent(20, 2, cell=record, init="torch", forget_bias=None)], C, dtype, seed=len(name)))
    record = CELLS[cell]()
    check(Model([Recurrent(6, 3, bidirectional=True, cell=record), Dense(2)], C, dtype))


def test_cells_of_several_kinds():
    check(Model([LSTM(6), GRU(5, bidirectional=True), RNN(4, reverse=True), IndRNN(5), Dense(2)], C))


def test_a_maximum_is_that_of_pool():
    """NaN is above all numbers, and the first of several equal ones stays."""
    x = np.array([[[np.nan, 1, -0.0], [2, np.nan, 0.0], [3, 2, -1]], [[-np.inf, 3, 0.0], [np.inf, 2, -0.0], [0, 1, 0]]])
    model = Model([Pool("max")], 3, "float64")
    y, _ = walked(make_walk(model), x)
    assert_same_bits(y, model.forward(x)[0])


class Decaying(NamedTuple):
    """A cell of the user's own, with an option, two states and a diagonal weight."""

    rate: float = 0.25

    gates = ("a",)
    preactivations = ("a",)
    from_input = {"a": "a"}
    from_hidden = {"a": "a"}
    states = ("h", "m")
    saved = ("a",)
    diagonal = ("u",)

    @staticmethod
    def forward(cell, preactivations, states, diagonal):
        h, m = states
        rate, a = type(h)(cell.rate), tanh(preactivations[0])
        return (h + rate * (a - h) + diagonal[0] * m, rate * m + a), (a,)

    @staticmethod
    def backward(cell, saved, states, diagonal, after, gradients):
        (a,), (dh, dm) = saved, gradients
        rate, one = type(dh)(cell.rate), type(dh)(1)
        da = dh * rate + dm
        return (da * (one - a * a),), (dh * (one - rate), dh * diagonal[0] + dm * rate), (dh * states[1],)


def test_a_cell_of_the_users_own(monkeypatch):
    monkeypatch.setitem(CELLS, "Decaying", Decaying)
    cells.register(Decaying)
    check(Model([Recurrent(6, 2, bidirectional=True, cell=Decaying(0.5)), Dense(2)], C))


@dataclass(frozen=True, repr=False)
class Doubled(Layer):
    """A layer that the walk does not know."""

    def output(self, signal):
        return signal


def test_unknown_layers_are_refused(monkeypatch):
    model = Model([Activation("tanh")], C)
    monkeypatch.setattr(model, "layers", (Doubled(),))
    monkeypatch.setattr(model, "host_passes", lambda call: [(None, None)])
    with pytest.raises(TypeError, match=r"Doubled\(\)"):
        make_walk(model)


class Memory:
    """Arrays at addresses that are not multiples of more than their elements, with guard zones around them."""

    GUARD = 8

    def __init__(self):
        self.arrays = []

    def place(self, array, multiple=1):
        """Return the address of a copy of an array, a multiple of few bytes, and the copy."""
        if array is None:
            return 0, None
        array = np.ascontiguousarray(array)
        zone = np.full(array.size + 2 * self.GUARD + 32, 77, array.dtype)
        skipped = (-zone.ctypes.data % 64 + max(multiple, array.itemsize)) // array.itemsize
        copy = zone[skipped + self.GUARD :][: array.size].reshape(array.shape)
        copy[...] = array
        self.arrays.append((zone, skipped + self.GUARD, array.size, array.copy()))
        return copy.ctypes.data, copy

    def check(self, written=True):
        """Check the guard zones; of what must not have been written, all."""
        for zone, at, size, before in self.arrays:
            assert (zone[:at] == 77).all()
            assert (zone[at + size :] == 77).all()
            if not written:
                assert_same_bits(zone[at : at + size].reshape(before.shape), before)
        self.arrays.clear()


class Entries:
    """A model by addresses, as C sees it."""

    def __init__(self, model):
        self.walk = make_walk(model)
        parts = self.walk.program, self.walk.values, self.walk.cells
        self.handle = np.array([value for part in parts for value in (part.ctypes.data, part.size)], np.int64)
        self.memory, self.kinds = Memory(), (self.walk.cells.dtype, model.dtype)

    def forward(self, x, lengths=None, h0=None, h1=True, samples=None, steps=None, missing=None, refused=False):
        """Return outputs and states of `forward_at`; of what it refuses the error, nothing is written."""
        samples, steps = samples or x.shape[0], steps or x.shape[1]
        y = outputs_of(self.walk, *x.shape[:2])
        work = np.full(self.walk.work_size(*x.shape[:2]), np.nan, y.dtype)
        end = np.full(len(x) * self.walk.plan.size, np.nan, y.dtype) if h1 else None
        x = x.astype(np.int64 if self.walk.plan.tokens else y.dtype)
        given = {"x": x, "lengths": lengths, "h0": h0, "h1": end, "y": y, "work": work}
        placed = {name: self.memory.place(array) for name, array in given.items()}
        at = {name: 0 if name == missing else address for name, (address, _) in placed.items()}
        found = entries.forward_at(
            self.handle.ctypes.data, at["x"], samples, steps, at["lengths"], at["h0"], at["h1"], at["y"], at["work"], *self.kinds
        )  # fmt: skip
        if self.ended(found, refused):
            return found
        return placed["y"][1], placed["h1"][1]

    def ended(self, found, refused):
        """Return whether a call was refused, and check the memory, in which nothing is written then."""
        assert (found != entries.OK) == refused
        self.memory.check(written=not refused)
        return refused

    def step(self, x, state, missing=None, refused=False):
        """Return the outputs of `step_at`, the state is replaced; of what it refuses the error, nothing is written."""
        y = np.full(self.walk.plan.outputs, np.nan, self.walk.dtype)
        one = self.walk.plan.tokens and not self.walk.plan.bag
        given = {
            "x": None if one else np.array(x, np.int64 if self.walk.plan.tokens else y.dtype),
            "state": state,
            "y": y,
        }
        placed = {name: self.memory.place(array) for name, array in given.items()}
        at = {name: 0 if name == missing else address for name, (address, _) in placed.items()}
        token = int(x) if one else at["x"]
        found = entries.step_at(self.handle.ctypes.data, token, at["state"], at["y"], *self.kinds)
        if self.ended(found, refused):
            return found
        state[...] = placed["state"][1]
        return placed["y"][1]

    def sample(self, state, seed, temperature, top_k, top_p, prime, count, missing=None, refused=False):
        """Return the tokens of `sample_at`, the state is replaced; of what it refuses the error, nothing is written."""
        given = {"prime": prime, "out": np.full(count, -5), "state": state}
        placed = {name: self.memory.place(array, 8) for name, array in given.items()}
        at = {name: 0 if name == missing else address for name, (address, _) in placed.items()}
        found = entries.sample_at(
            self.handle.ctypes.data, seed, temperature, top_k, top_p, at["prime"], 0 if prime is None else len(prime), at["out"],
            count, at["state"], *self.kinds,
        )  # fmt: skip
        if self.ended(found, refused):
            return found
        state[...] = placed["state"][1]
        return placed["out"][1]


def test_error_numbers_are_those_of_the_interface():
    for name in ("OK", "BAD_ARGUMENT", "BAD_TOKEN", "BAD_LENGTH", "BAD_OPTION"):
        assert getattr(entries, name) == getattr(interface, name)


@pytest.mark.parametrize("name", ["stack", "last", "both-last", "sum", "bag", "onehot", "max"])
def test_forward_by_addresses(name):
    """Of the addresses none is a multiple of more than an element."""
    model = MODELS[name]()
    own, x = Entries(model), batch(model)
    start = random_state(model, N)
    for lengths in (None, LENGTHS):
        outputs, final = model.forward(x, start, lengths)
        y, h1 = own.forward(x, lengths, packed(own.walk, start, N))
        assert_same_bits(y, outputs)
        for found, expected in zip(flatten(unpacked(own.walk, h1, N)), flatten(final), strict=True):
            assert_same_bits(found, expected)
        assert_same_bits(own.forward(x, lengths, h1=False)[0], model.forward(x, lengths=lengths)[0])


@pytest.mark.parametrize("name", ["stack", "last", "last-alone", "bag", "onehot", "embedding", "long"])
def test_steps_by_addresses(name):
    """A state goes from steps to sequences and back."""
    model = MODELS[name]()
    own, x, size = Entries(model), batch(model), make_walk(model).plan.size
    state, stream = np.zeros(size, model.dtype), model.stream()
    for x_t in x[0, :3]:
        y = own.step(x_t, state)
        assert_same_bits(y, stream.step(x_t))
    y, state = own.forward(x[:1, 3:5], None, state)
    assert_same_bits(y[0, -1] if y.ndim == 3 else y[0], [stream.step(x_t).copy() for x_t in x[0, 3:5]][-1])
    for x_t in x[0, 5:]:
        assert_same_bits(own.step(x_t, state), stream.step(x_t))
    for found, expected in zip(flatten(own.walk.plan.read(state)), flatten(stream.snapshot()), strict=True):
        assert_same_bits(found, expected)


def test_a_library_shares_one_array_of_weights():
    for name in ("stack", "last", "bag", "embedding"):
        model = MODELS[name]()
        assert_same_bits(make_walk(model).values, model.step_plan().weights.values)


def test_errors_are_numbers_and_nothing_is_written():
    model = MODELS["stack"]()
    own, x = Entries(model), batch(model)
    for name in ("x", "y", "work"):
        assert own.forward(x, missing=name, refused=True) == entries.BAD_ARGUMENT
    assert own.forward(x, samples=-1, refused=True) == entries.BAD_ARGUMENT
    assert own.forward(x, steps=-1, refused=True) == entries.BAD_ARGUMENT
    for lengths in ([T, 0, -1, 2], [T, 0, 1, T + 1]):
        assert own.forward(x, np.array(lengths), refused=True) == entries.BAD_LENGTH
    state = np.zeros(own.walk.plan.size, model.dtype)
    for name in ("x", "state", "y"):
        assert own.step(x[0, 0], state, missing=name, refused=True) == entries.BAD_ARGUMENT


@pytest.mark.parametrize("name", ["onehot", "bag"])
def test_tokens_outside_are_errors_and_nothing_is_written(name):
    model = MODELS[name]()
    own, x = Entries(model), batch(model)
    state = np.zeros(own.walk.plan.size, model.dtype)
    for token in (V, -2 if name == "bag" else -1):
        wrong = x.copy()
        wrong.reshape(N, -1)[3, -1] = token
        assert own.forward(wrong, refused=True) == entries.BAD_TOKEN
        assert own.step(wrong[3, -1], state, refused=True) == entries.BAD_TOKEN
        # Padding may have any value.
        assert_same_bits(own.forward(wrong, LENGTHS)[0], model.forward(x, lengths=LENGTHS)[0])


def test_no_sequences_and_no_steps():
    model = MODELS["both-last"]()
    own, x = Entries(model), batch(model)
    own.forward(x[:0])
    y, _ = own.forward(x[:2, :0])
    assert_same_bits(y, model.forward(x[:2], lengths=[0, 0])[0])


@pytest.fixture(scope="module")
def language():
    return LanguageModel("gru", 9, 2).fit("the cat sat on the mat. " * 9, 1, verbose=0)


@pytest.mark.parametrize(
    ("temperature", "top_k", "top_p"), [(1.0, 0, 1.0), (0.7, 3, 1.0), (1.3, 99, 0.8), (0.0, 0, 1.0)]
)
def test_samples_by_addresses(language, temperature, top_k, top_p):
    """In pieces, and after a prime that was read step by step."""
    own, prime = Entries(language.model), language.vocabulary.encode("the ").astype(np.int64)
    expected = language.sample(30, "the ", temperature, top_k or None, top_p, seed=7)
    options = 7, temperature, top_k, top_p
    state = own.walk.plan.new_state()
    found = [
        own.sample(state, *options, prime, 0),
        own.sample(state, *options, None, 11),
        own.sample(state, *options, None, 19),
    ]
    assert language.vocabulary.decode(np.concatenate(found)) == expected
    state = own.walk.plan.new_state()
    for token in prime:
        own.step(token, state)
    assert language.vocabulary.decode(own.sample(state, *options, None, 30)) == expected
    _, state = own.forward(prime[None])
    assert language.vocabulary.decode(own.sample(state, *options, None, 30)) == expected


def test_options_of_sampling_outside_their_range(language):
    own, size = Entries(language.model), language.model.signals[0].size
    state, prime = own.walk.plan.new_state(), np.array([0])
    for options in (
        (-0.1, 0, 1.0),
        (np.nan, 0, 1.0),
        (np.inf, 0, 1.0),
        (1.0, -1, 1.0),
        (1.0, 0, 0.0),
        (1.0, 0, 1.1),
        (1.0, 0, np.nan),
    ):
        assert own.sample(state, 0, *options, prime, 3, refused=True) == entries.BAD_OPTION
    for token in (-1, size):
        assert own.sample(state, 0, 1.0, 0, 1.0, np.array([0, token]), 3, refused=True) == entries.BAD_TOKEN
    for name in ("prime", "out", "state"):
        assert own.sample(state, 0, 1.0, 0, 1.0, prime, 3, missing=name, refused=True) == entries.BAD_ARGUMENT


def test_a_model_that_cannot_read_its_outputs_does_not_sample():
    model = Model([Embedding(V, 3), GRU(5, 2), Dense(V + 1)])
    own = Entries(model)
    assert not own.walk.sample
    state = own.walk.plan.new_state()
    assert own.sample(state, 0, 1.0, 0, 1.0, np.array([0]), 3, refused=True) == entries.BAD_ARGUMENT


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
def test_probabilities_by_addresses(activation, dtype):
    memory, model, rows = Memory(), Model([Dense(2)], C), 5
    for columns in (1, 3, 40):
        y = 30 * normal(columns, rows, columns, dtype=dtype)
        (at, same), (to, p) = memory.place(y), memory.place(np.zeros_like(y))
        for dst in (to, at):
            assert entries.probabilities_at(at, rows, dst, columns, int(activation == "sigmoid"), y.dtype) == entries.OK
        expected = model.probabilities_of(y, None, activation)
        assert_same_bits(p, expected)
        assert_same_bits(same, expected)
        memory.check()
    for given in ((0, rows, 1, C), (1, rows, 0, C), (1, -1, 1, C)):
        assert entries.probabilities_at(*given, 0, np.dtype(dtype)) == entries.BAD_ARGUMENT


def test_denormal_numbers_are_zero_inside_alone():
    model = MODELS["stack"]()
    own, x = Entries(model), np.full((2, 3, C), np.float32(1e-39))
    start = tuple(tuple(np.full_like(array, 1e-39) for array in entry) for entry in model.initial_state(2))
    y, _ = own.forward(x, None, packed(own.walk, start, 2))
    assert mode(KEEP) == 0
    assert_same_bits(y, model.forward(x, start)[0])
    assert_same_bits(y, model.forward(np.zeros_like(x))[0])
    assert_same_bits(own.step(x[0, 0], packed(own.walk, start, 2)[: own.walk.plan.size]), y[0, 0])
    assert mode(KEEP) == 0


def test_vectors_of_bags_are_added_where_denormal_numbers_are_zero():
    """Two of them would make a normal number."""
    model = Model([EmbeddingBag(5, 3, bag=2), Dense(2)], seed=0)
    for name, values in model.params.items():
        model.params.load({**model.params, name: np.full_like(values, 0.8e-38 if "bag" in name else "weight" in name)})
    own, x = Entries(model), np.ones((1, 1, 2), int)
    y, _ = own.forward(x)
    assert not y.any()
    assert_same_bits(own.step(x[0, 0], np.zeros(own.walk.plan.size, np.float32)), y[0, 0])
    assert mode(KEEP) == 0


CALLED = re.compile(r'@"?([\w.$]+)"?\(')
OUTSIDE = {"exp", "tanh", "log", "floor"}


@pytest.mark.parametrize("name", ["step_at", "forward_at", "sample_at", "probabilities_at"])
def test_entries_need_neither_python_nor_numba(name):
    """But for the wrappers that Numba puts around it, their code calls LLVM's intrinsics and the C library's functions alone."""
    kinds = [
        numba.types.DType(numba.from_dtype(part))
        for part in (make_walk(MODELS["double"]()).cells.dtype, np.dtype("f8"))
    ]
    kinds = kinds[1:] if name == "probabilities_at" else kinds
    function = getattr(entries, name).py_func
    arguments = list(inspect.signature(function).parameters)[: -len(kinds)]
    real = {"temperature", "top_p"}
    given = [numba.types.float64 if argument in real else numba.types.int64 for argument in arguments]
    fresh = numba.njit(nogil=True, error_model="numpy", _nrt=False)(function)
    fresh.compile((*given, *kinds))
    inside, found, defined = "", set(), set()
    for line in fresh.inspect_llvm(fresh.signatures[0]).splitlines():
        if line.startswith("define"):
            inside = CALLED.search(line).group(1)
            defined.add(inside)
        elif " call " in line and not inside.startswith(("_ZN7cpython", "cfunc.")):
            found.update(own for own in CALLED.findall(line) if not own.startswith("llvm."))
    assert defined
    assert found - defined <= OUTSIDE


GUARDED = """
import numpy as np
import sys
import test_walk
from guarded import patch
from numbarnn.kernels.cpu import memory
side, names = sys.argv[1], sys.argv[2:]
walks = [(name, test_walk.MODELS[name]()) for name in names]
copied = patch(side)
for name, model in walks:
    own, x = test_walk.make_walk(model), copied(test_walk.batch(model))
    samples, steps = x.shape[:2]
    none, tokens = np.zeros(0, own.dtype), np.zeros(0, np.int64)
    values = none if own.plan.tokens else x.reshape(-1)
    tokens = x.reshape(-1) if own.plan.tokens else tokens
    y = copied(test_walk.outputs_of(own, samples, steps).reshape(-1))
    h0, h1 = (copied(np.zeros(samples * own.plan.size, own.dtype)) for _ in range(2))
    work = copied(np.zeros(own.work_size(samples, steps), own.dtype))
    arrays = copied(own.program), copied(own.values)
    test_walk.walk(own.cells, *arrays, values, tokens, copied(test_walk.LENGTHS), h0, h1, y, work, samples, steps)
print("done")
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs mprotect")
@pytest.mark.parametrize("side", ["after", "before"])
def test_no_walk_leaves_its_arrays(tmp_path, side):
    tests = pathlib.Path(__file__).parent
    names = "stack", "last", "both", "sum-last", "after-both", "mean", "onehot-both", "embedding", "bag-both"
    cache = os.environ.get("NUMBA_CACHE_DIR")
    done = run_python(
        GUARDED, side, *names, cwd=tmp_path, path=f"{tests.parent}{os.pathsep}{tests}", cache=cache, check=False
    )
    assert (done.returncode, done.stdout) == (0, "done\n"), done.stderr
