"""Models written as C99: built without a warning, and compared with the models."""

import ctypes
import shutil
import subprocess
from typing import NamedTuple

import numpy as np
import pytest
from conftest import DTYPES

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
    Pool,
    Recurrent,
    cells,
)
from numbarnn.cells import register, sigmoid, tanh
from numbarnn.frozen.c_source import c_header, c_interface, c_source, write_c
from numbarnn.frozen.interface import ABI, BAD_ARGUMENT, BAD_CODE, BAD_LENGTH, BAD_OPTION, BAD_TOKEN, OK
from numbarnn.language.sampler import Sampler

GCC = shutil.which("gcc")
pytestmark = pytest.mark.skipif(GCC is None, reason="gcc is not installed")
FLAGS = "-std=c99 -Wall -Wextra -Werror -pedantic -Wconversion -ffp-contract=off -O1".split()
TOLERANCE = {"float32": 1e-6, "float64": 1e-13}


@register
class PoweredCell(NamedTuple):
    """A cell with what cells of users may have: statements, conditions, powers, loops, functions of NumPy."""

    rounds: int = 2
    slope: float = 0.25

    gates = ("g", "double")
    preactivations = ("g", "double")
    from_input = {"g": "g", "double": "double"}
    from_hidden = {"double": "double"}
    states = ("h", "m")
    saved = ()
    diagonal = ("u",)

    @staticmethod
    def forward(cell, preactivations, states, diagonal):
        g, x = preactivations
        g = sigmoid(g)
        scale = type(x)(cell.slope)
        total = type(x)(0)
        for k in range(cell.rounds):
            total += tanh(x) ** 3 / type(x)(k + 1)
        if x < 0 and not g > 0.75:
            total *= scale
        m = max(min(states[1], total), -np.abs(x)) + diagonal[0] * states[0]
        return (g * tanh(total) + (1 - g) * np.exp(-m * m), m), ()

    @staticmethod
    def backward(cell, saved, states, diagonal, after, gradients):
        zero = type(after[0])(0)
        return (zero, zero), (zero, zero), (zero,)


def tokens_of(model):
    return model.signals[0].tokens


def draw(model, seed=0, scale=1.5):
    """Return a model with weights that make a difference, biases included."""
    rng = np.random.default_rng(seed)
    for name, values in model.params.items():
        width = values.shape[-1] if values.ndim > 1 else 4
        model.params.load({**model.params, name: rng.normal(size=values.shape) * scale / np.sqrt(width)})
    return model


def batch(model, samples=3, steps=11, seed=1):
    rng, signal = np.random.default_rng(seed), model.signals[0]
    if signal.tokens:
        bag = (signal.bag,) if signal.bag else ()
        return rng.integers(-1 if bag else 0, signal.size, (samples, steps, *bag))
    return rng.normal(size=(samples, steps, signal.size)).astype(model.dtype)


def address(array):
    return None if array is None else array.ctypes.data_as(ctypes.c_void_p)


class Library:
    """A model, compiled."""

    def __init__(self, model, folder, name="net", compiler=GCC, flags=FLAGS):
        self.model, self.name, self.interface = model, name, c_interface(model, name)
        folder.mkdir(exist_ok=True)
        (folder / f"{name}.c").write_text(c_source(model, name), encoding="utf-8")
        out = folder / f"{name}.so"
        command = [compiler, *flags, "-fPIC", "-shared", f"{name}.c", "-o", str(out), "-lm"]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr[:3000]
        self.library = ctypes.CDLL(str(out))
        pointer, long, double = ctypes.c_void_p, ctypes.c_int64, ctypes.c_double
        first = long if self.interface.tokens and not self.interface.bag else pointer
        self.types = {
            "abi": [],
            "about": [],
            "check": [pointer],
            "state_bytes": [],
            "workspace_bytes": [long, long],
            "forward": [pointer, long, long, pointer, pointer, pointer, pointer, pointer],
            "step": [first, pointer, pointer],
            "probabilities": [pointer, long, pointer],
            "sample": [ctypes.c_uint64, double, long, double, pointer, long, pointer, long, pointer],
        }
        self.state_bytes, self.input = self("state_bytes"), np.int64 if self.interface.tokens else model.dtype

    def __call__(self, function, *arguments):
        found = getattr(self.library, f"{self.name}_{function}")
        found.argtypes = self.types[function]
        found.restype = {"about": ctypes.c_char_p}.get(function, ctypes.c_size_t if "bytes" in function else ctypes.c_int)
        return found(*arguments)

    def zeros(self, samples=1):
        return np.zeros((samples, self.state_bytes), np.uint8)

    def work(self, samples, steps):
        size = self("workspace_bytes", samples, steps)
        return np.full(size + 64, 0xFF, np.uint8), size

    def forward(self, x, lengths=None, h0=None):
        """Return (outputs, states); memory begins as NaN, and what lies behind the scratch memory stays."""
        x = np.ascontiguousarray(x, self.input)
        samples, steps = x.shape[:2]
        sequence = (steps,) if self.interface.sequence else ()
        y = np.full((samples, *sequence, self.interface.outputs), np.nan, self.model.dtype)
        lengths = None if lengths is None else np.array(lengths, np.int64)
        h1, (work, size) = np.full((samples, self.state_bytes), 0xFF, np.uint8), self.work(samples, steps)
        arguments = address(x), samples, steps, address(lengths), address(h0), address(h1), address(y), address(work)
        assert self("forward", *arguments) == OK
        assert (work[size:] == 0xFF).all()
        return y, h1

    def step(self, x, state):
        y = np.full(self.interface.outputs, np.nan, self.model.dtype)
        one = int(x) if np.ndim(x) == 0 else address(np.ascontiguousarray(x, self.input))
        assert self("step", one, address(state), address(y)) == OK
        return y

    def sample(self, seed, temperature, top_k, top_p, prime, count, state):
        out, prime = np.full(count, -9, np.int64), np.array(prime, np.int64)
        code = self("sample", seed, temperature, top_k, top_p, address(prime), prime.size, address(out), count, address(state))
        return code, out


def close(found, expected, dtype):
    assert found.shape == expected.shape
    scale = np.abs(expected).max()
    assert np.isfinite(scale)
    assert scale > 1e-3
    assert np.abs(found - expected).max() <= TOLERANCE[np.dtype(dtype).name] * max(scale, 1)


def compare(library):
    """Compare all passes of a library with those of its model."""
    model, dtype = library.model, library.model.dtype
    assert library("abi") == ABI
    assert library("about").decode() == library.interface.about()
    assert library.state_bytes % 64 == 0
    work, _ = library.work(1, 8)
    assert library("check", address(work)) == OK
    x, lengths = batch(model), [11, 0, 4]
    close(library.forward(x)[0], model.forward(x)[0], dtype)
    found, state = library.forward(x, lengths)
    expected, ends = model.forward(x, lengths=lengths)
    close(found, expected, dtype)
    later = batch(model, steps=5, seed=2)
    close(library.forward(later, h0=state)[0], model.forward(later, ends)[0], dtype)
    y = model.forward(x)[0]
    if library.interface.activation is not None:
        p = np.full_like(y, np.nan)
        assert library("probabilities", address(y), y.size // y.shape[-1], address(p)) == OK
        close(p, model.probabilities_of(y.copy(), None, library.interface.activation), dtype)
        assert library("probabilities", address(y), y.size // y.shape[-1], address(y)) == OK
        assert np.array_equal(p, y)
    if library.interface.step:
        compare_steps(library, x, lengths)


def compare_steps(library, x, lengths):
    """A step is one of `forward`, to the bit."""
    outputs, ends = library.forward(x, lengths)
    for sample, length in enumerate(lengths):
        state = library.zeros()
        for t in range(length):
            y = library.step(x[sample, t], state)
            assert not library.interface.sequence or np.array_equal(y, outputs[sample, t])
        if length and not library.interface.sequence:
            assert np.array_equal(y, outputs[sample])
        again = x[sample : sample + 1, :3]
        assert np.array_equal(library.forward(again, h0=state)[0], library.forward(again, h0=ends[sample])[0])


MODELS = {
    "stack": lambda **o: Model([LSTM(6, num_layers=2, dropout=0.5), Dense(3)], input_size=4, **o),
    "coupled": lambda **o: Model([LSTM(6, coupled=True, fix={"output": 0.75}), Dropout(0.5), Dense(3)], input_size=4, **o),
    "peepholes": lambda **o: Model([LSTM(6, peepholes=True, bias=False)], input_size=4, **o),
    "fixed": lambda **o: Model([GRU(6, fix={"reset": 1.0}, bias="single"), Dense(3, bias=False)], input_size=4, **o),
    "both ways": lambda **o: Model([GRU(5, 2, bidirectional=True, reset_after=False), Dense(3)], input_size=4, **o),
    "sum": lambda **o: Model([LSTM(5, 2, bidirectional=True, merge="sum"), Dense(3)], input_size=4, **o),
    "reverse": lambda **o: Model([RNN(5, reverse=True, activation="logistic"), Dense(3)], input_size=4, **o),
    "last": lambda **o: Model([LSTM(5, return_sequences=False), Dense(3, activation="tanh")], input_size=4, **o),
    "last of both": lambda **o: Model([GRU(5, bidirectional=True, return_sequences=False), Dense(3)], input_size=4, **o),
    "sum of ends": lambda **o: Model(
        [GRU(5, bidirectional=True, merge="sum", return_sequences=False), Activation("tanh")], input_size=4, **o
    ),
    "mean": lambda **o: Model([GRU(5), Pool("mean"), Dense(3)], input_size=4, **o),
    "max": lambda **o: Model([IndRNN(5), Activation("relu"), Pool("max"), Dense(3)], input_size=4, **o),
    "last step": lambda **o: Model([Activation("logistic"), Pool("last"), Dense(3)], input_size=4, **o),
    "activations": lambda **o: Model([Activation("tanh"), RNN(5, activation="identity"), Activation("relu"), Activation("logistic"),
                                      Dense(4, activation="relu"), Dense(3)], input_size=4, **o),
    "one hot": lambda **o: Model([OneHot(9), LSTM(5, 2), Dense(9)], **o),
    "one hot, both ways": lambda **o: Model([OneHot(9), GRU(5, bidirectional=True), Dense(3)], **o),
    "one hot, dense": lambda **o: Model([OneHot(9), Dense(4, activation="tanh"), GRU(5)], **o),
    "embedding": lambda **o: Model([Embedding(9, 4), Activation("tanh"), GRU(5), Dense(9)], **o),
    "embedding, pooled": lambda **o: Model([Embedding(9, 4), Pool("mean")], **o),
    "bag": lambda **o: Model([EmbeddingBag(9, 4, bag=3), GRU(5), Dense(3)], **o),
    "bag, both ways": lambda **o: Model([EmbeddingBag(9, 4, bag=3), GRU(5, bidirectional=True), Pool("max")], **o),
    "long sums": lambda **o: Model([GRU(300, reset_after=False), Dense(2)], input_size=330, **o),
}  # fmt: skip


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", [name for name in cells.CELLS if not cells.CELLS[name].__module__.startswith("tests")])
def test_cells(name, dtype, tmp_path):
    if cells.CELLS[name].__module__.partition(".")[0] not in ("numbarnn", __name__):
        pytest.skip("a cell of another test")
    model = draw(Model([Recurrent(6, 2, cell=cells.CELLS[name]()), Dense(3)], input_size=4, dtype=dtype))
    compare(Library(model, tmp_path))


@pytest.mark.parametrize("name", MODELS)
def test_models(name, tmp_path):
    for dtype in DTYPES if name in ("stack", "mean", "bag") else DTYPES[:1]:
        compare(Library(draw(MODELS[name](dtype=dtype)), tmp_path / np.dtype(dtype).name))
