"""Models written as C99: built without a warning, and compared with the models."""

import ctypes
import math
import shutil
import subprocess
from typing import NamedTuple

import numba
import numpy as np
import pytest
from conftest import DTYPES
from numba.extending import register_jitable

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
from numbarnn.cells import contract, sigmoid, tanh
from numbarnn.frozen.c_source import c_header, c_interface, c_source, write_c
from numbarnn.frozen.interface import ABI, BAD_ARGUMENT, BAD_CODE, BAD_LENGTH, BAD_OPTION, BAD_TOKEN, OK
from numbarnn.language.sampler import Sampler

GCC = shutil.which("gcc")
pytestmark = pytest.mark.skipif(GCC is None, reason="gcc is not installed")
FLAGS = "-std=c99 -Wall -Wextra -Werror -pedantic -Wconversion -ffp-contract=off -O1".split()
TOLERANCE = {"float32": 1e-6, "float64": 1e-13}


@numba.njit
def bounded(x, low, high):
    if x < low:
        return low
    if x > high:
        return high
    return x


@register_jitable
def mixed(share, pair):
    """Called with a tuple; the constants are doubles."""
    a, b = pair
    return a if share >= 0.75 or a > b else share * a + (1.0 - share) * b


class PoweredCell(NamedTuple):
    """A cell with what cells of users may have: statements, conditions, powers, loops, functions of their own and NumPy's."""

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
        elif -1 < x < 1:
            total = total + scale
        m = max(min(states[1], total), -np.abs(x)) + diagonal[0] * states[0]
        m = bounded(m, -scale * 8, type(x)(3))
        return (mixed(g, (tanh(total), np.exp(-m * m) + math.sqrt(m * m + 1) * 0.125)), m), ()

    @staticmethod
    def backward(cell, saved, states, diagonal, after, gradients):
        zero = type(after[0])(0)
        return (zero, zero), (zero, zero), (zero,)


# Those of the package, and one that the registry has no longer than a test takes, since other tests go through it.
CELLS = [cell for cell in cells.CELLS.values() if cell.__module__.startswith("numbarnn.")] + [PoweredCell]


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
        found.restype = {"about": ctypes.c_char_p}.get(
            function, ctypes.c_size_t if "bytes" in function else ctypes.c_int
        )
        return found(*arguments)

    def zeros(self, samples=1):
        return np.zeros((samples, self.state_bytes), np.uint8)

    def work(self, samples, steps):
        size = self("workspace_bytes", samples, steps)
        return np.full(size + 64, 0xFF, np.uint8), size

    def forward(self, x, lengths=None, h0=None):
        """Return (outputs, states); memory begins as NaN, and what lies after the scratch memory stays."""
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
        code = self(
            "sample", seed, temperature, top_k, top_p, address(prime), prime.size, address(out), count, address(state)
        )
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
@pytest.mark.parametrize("cell", CELLS)
def test_cells(cell, dtype, tmp_path, monkeypatch):
    monkeypatch.setitem(cells.CELLS, cell.__name__, cell)
    contract.check(cell)
    model = draw(Model([Recurrent(6, 2, cell=cell()), Dense(3)], input_size=4, dtype=dtype))
    compare(Library(model, tmp_path))


@pytest.mark.parametrize("name", MODELS)
def test_models(name, tmp_path):
    for dtype in DTYPES if name in ("stack", "mean", "bag") else DTYPES[:1]:
        compare(Library(draw(MODELS[name](dtype=dtype)), tmp_path / np.dtype(dtype).name))


@pytest.fixture(scope="module")
def sampler(tmp_path_factory):
    model = draw(Model([Embedding(40, 6), GRU(8, 2), Dense(40)]), scale=3)
    return Library(model, tmp_path_factory.mktemp("sampler"))


OPTIONS = [
    (1.0, None, None),
    (0.0, None, None),
    (0.7, 5, None),
    (1.3, None, 0.6),
    (1.0, 12, 0.8),
    (2.0, 40, 0.999),
    (1.0, 1, None),
]


@pytest.mark.parametrize(("temperature", "top_k", "top_p"), OPTIONS)
def test_samples(sampler, temperature, top_k, top_p):
    model, none, prime = sampler.model, np.zeros(0, np.int32), np.array([3, 39, 0], np.int32)
    seeds = [0, 7, 2**40 + 3]
    options = temperature, top_k, top_p, none, none, seeds
    expected = Sampler(model, model.backend.sampling.pack(model), prime, *options).take_all(60)
    for seed, tokens in zip(seeds, expected, strict=True):
        code, found = sampler.sample(seed, temperature, top_k or 0, top_p or 1.0, prime, 60, sampler.zeros())
        assert code == OK
        assert found.tolist() == tokens.tolist()
    assert temperature == 0 or top_k == 1 or len({tuple(tokens) for tokens in expected}) == len(seeds)


def test_samples_go_on(sampler):
    """Without a prime, the last outputs count, whatever function they came from."""
    prime, state = [3, 39, 0], sampler.zeros()
    whole = sampler.sample(5, 1.0, 0, 1.0, prime, 1, state)[1]
    again = sampler.zeros()
    for token in prime[:2]:
        sampler.step(token, again)
    assert sampler.sample(5, 1.0, 0, 1.0, prime[2:], 1, again)[1] == whole
    _, states = sampler.forward(np.array([[*prime, 1]]), [3])
    assert sampler.sample(5, 1.0, 0, 1.0, [], 1, states)[1] == whole
    # The state counts what was sampled, so pieces are those of the whole.
    whole, pieces = sampler.sample(5, 1.0, 0, 1.0, prime, 30, sampler.zeros())[1], sampler.zeros()
    found = [sampler.sample(5, 1.0, 0, 1.0, read, 10, pieces)[1] for read in (prime, [], [])]
    assert np.concatenate(found).tolist() == whole.tolist()
    assert sampler.sample(5, 1.0, 0, 1.0, [4], 0, state)[0] == OK


def test_errors(sampler, tmp_path):
    bad = {
        BAD_ARGUMENT: [{"state": None}, {"out": None}, {"prime": None}, {"np": -1}, {"n": -1}],
        BAD_TOKEN: [{"prime": np.array([1, 40])}, {"prime": np.array([-1, 4])}],
        BAD_OPTION: [{"temperature": -0.1}, {"temperature": np.nan}, {"temperature": np.inf}, {"k": -1}, {"p": 0.0}, {"p": 1.1},
                     {"p": np.nan}],
    }  # fmt: skip
    state, out = sampler.zeros(), np.zeros(4, np.int64)
    right = {
        "seed": 0,
        "temperature": 1.0,
        "k": 0,
        "p": 1.0,
        "prime": np.array([1, 2]),
        "np": 2,
        "out": out,
        "n": 4,
        "state": state,
    }
    for code, changes in bad.items():
        for change in changes:
            arguments = [address(v) if isinstance(v, np.ndarray) else v for v in (right | change).values()]
            assert sampler("sample", *arguments) == code
    assert sampler("step", 40, address(state), address(np.zeros(40, np.float32))) == BAD_TOKEN
    assert sampler("step", -1, address(state), address(np.zeros(40, np.float32))) == BAD_TOKEN
    assert not state.any()
    assert not out.any()
    check_forward_errors(sampler, np.array([[1, 2, 40], [0, 0, 0]]))
    library = Library(draw(MODELS["bag, both ways"]()), tmp_path)
    x = np.zeros((2, 3, 3), np.int64)
    x[0, 2, 1] = -2
    check_forward_errors(library, x)
    assert library("check", None) == BAD_ARGUMENT
    assert library("probabilities", None, 1, None) == library("probabilities", None, -1, None) == BAD_ARGUMENT
    assert library("probabilities", None, 0, None) == OK
    assert library("workspace_bytes", -1, 3) == library("workspace_bytes", 1, -3) == 0
    assert library("workspace_bytes", 1, 2**62) == 2 ** (8 * ctypes.sizeof(ctypes.c_size_t)) - 1


def check_forward_errors(library, x):
    """x : the last step of the first sample has a wrong token."""
    y, (work, _) = np.zeros(2 * 3 * 40, np.float32), library.work(2, 3)
    right = {"x": x, "n": 2, "t": 3, "lengths": None, "h0": None, "h1": None, "y": y, "work": work}
    expected = [
        ({}, BAD_TOKEN),
        ({"lengths": np.array([2, 3])}, OK),  # what lies past a length may be anything
        ({"lengths": np.array([2, 4])}, BAD_LENGTH),
        ({"lengths": np.array([-1, 3])}, BAD_LENGTH),
        *(({name: None}, BAD_ARGUMENT) for name in ("x", "y", "work")),
        ({"n": -1}, BAD_ARGUMENT),
        ({"t": -1}, BAD_ARGUMENT),
        ({"n": 0, "x": None, "y": None}, OK),
        ({"t": 0, "x": None}, OK),
    ]
    for change, code in expected:
        arguments = [address(v) if isinstance(v, np.ndarray) else v for v in (right | change).values()]
        assert library("forward", *arguments) == code, change


def test_check_sees_other_weights(tmp_path):
    model = draw(MODELS["mean"]())
    text = c_source(model)
    first = next(line for line in text.split("\n") if line.startswith("    0x") or line.startswith("    -0x"))
    (tmp_path / "model.c").write_text(text.replace(first, f"    0x1p+1F,{first.partition(',')[2]}", 1))
    subprocess.run(
        [GCC, *FLAGS, "-fPIC", "-shared", "model.c", "-o", "model.so"], cwd=tmp_path, check=True, timeout=120
    )
    library = ctypes.CDLL(str(tmp_path / "model.so"))
    assert library.model_check(np.zeros(10**5, np.uint8).ctypes.data_as(ctypes.c_void_p)) == BAD_CODE


@pytest.mark.parametrize("activation", ["tanh", "logistic"])
def test_curves(activation, tmp_path):
    """The curves of float32 over their range, with special values."""
    library = Library(Model([Activation(activation)], input_size=1), tmp_path)
    x = np.concatenate(
        [np.linspace(-100, 100, 200_001), np.logspace(-30, 30, 2001), [np.inf, -np.inf, np.nan, 0.0, -0.0]]
    )
    x = np.float32(x).reshape(1, -1, 1)
    with np.errstate(over="ignore"):
        exact = np.tanh(np.float64(x)) if activation == "tanh" else 1 / (1 + np.exp(-np.float64(x)))
    found = library.forward(x)[0]
    normal = np.abs(exact) > 1.2e-38
    assert (np.abs(found - exact)[normal] <= 7e-7 * np.abs(exact)[normal]).all()
    assert np.isnan(found[0, -3, 0])
    assert np.isnan(found).sum() == 1
    assert "#include <math.h>" not in c_source(library.model) or activation == "tanh"


def test_weights_to_the_bit(tmp_path):
    """A model that returns its weights: W 1 has one product a sum."""
    for dtype in DTYPES:
        model = Model([Dense(500, bias=False)], input_size=1, dtype=dtype)
        info, rng = np.finfo(dtype), np.random.default_rng(0)
        values = np.ldexp(rng.normal(size=500), rng.integers(info.minexp, info.maxexp - 6, 500))
        values[:4] = info.max / 16, info.tiny, -info.smallest_subnormal, -0.0
        model.load_state_dict({"weight": values.astype(dtype).reshape(500, 1)})
        text = c_source(model)
        block = text[text.index("dense_weight[500] = {") :]
        constants = block[block.index("{") + 1 : block.index("}")].replace("F", "").replace("\n", "").split(",")
        found = np.array([float.fromhex(constant.strip()) for constant in constants]).astype(dtype)
        assert found.tobytes() == model.params["dense.weight"].tobytes()


PROGRAM = r"""
#include <stdio.h>
#include <stdlib.h>
#include "net.h"
#include "net.h"
#include "other.h"

int main(void)
{
    enum { STEPS = 4 };
    const float x[2 * STEPS * 4] = {1, 2, 3, 4, 5, 6, 7, 8};
    const int64_t lengths[2] = {STEPS, 2};
    float y[2 * 3];
    void *work = malloc(net_workspace_bytes(2, STEPS)), *states = malloc(2 * net_state_bytes());
    void *checked = malloc(other_workspace_bytes(1, 8)), *state = calloc(1, other_state_bytes());
    int64_t out[5], prime[1] = {0};
    int code = net_forward(x, 2, STEPS, lengths, NULL, states, y, work);
    code |= net_forward(x, 2, STEPS, lengths, states, states, y, work);
    code |= net_probabilities(y, 2, y);
    code |= other_check(checked);
    code |= other_sample(1, 1.0, 3, 0.9, prime, 1, out, 5, state);
    printf("%d %.9g %.9g %d\n", code, (double)y[0], (double)y[5], (int)out[4]);
    free(work);
    free(states);
    free(checked);
    free(state);
    return code;
}
"""


def test_program(tmp_path):
    """Two models in one program, which is watched for wrong addresses and undefined behaviour where gcc can."""
    net, other = draw(MODELS["last of both"]()), draw(MODELS["one hot"]())
    write_c(net, tmp_path / "net.c", "net")
    write_c(other, str(tmp_path / "other.c"), "other")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["net.c", "net.h", "other.c", "other.h"]
    assert (tmp_path / "net.h").read_text() in (tmp_path / "net.c").read_text()
    (tmp_path / "main.c").write_text(PROGRAM)
    command = [GCC, *FLAGS, "main.c", "net.c", "other.c", "-o", "main", "-lm"]
    watch = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
    if subprocess.run([*command, *watch], cwd=tmp_path, capture_output=True, timeout=120).returncode != 0:
        subprocess.run(command, cwd=tmp_path, check=True, timeout=120)
    done = subprocess.run([tmp_path / "main"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    x = np.zeros((2, 4, 4), np.float32)
    x.flat[:8] = range(1, 9)
    _, state = net.forward(x, lengths=[4, 2])
    p = net.predict_proba(x, state, [4, 2])
    none, packed = np.zeros(0, np.int32), other.backend.sampling.pack(other)
    tokens = Sampler(other, packed, np.zeros(1, np.int32), 1.0, 3, 0.9, none, none, [1])
    code, *values, token = done.stdout.split()
    assert code == "0"
    assert np.allclose([float(v) for v in values], [p[0, 0], p[1, 2]], rtol=0, atol=1e-6)
    assert int(token) == tokens.take(5)[4]


BUILDS = ["gcc -O0", "gcc -Os", "gcc -O3 -fno-trapping-math", "clang -O3", "musl-gcc -O2"]


@pytest.mark.parametrize("build", BUILDS)
def test_other_builds(build, tmp_path):
    """No warning by other compilers, or with other optimisation, which decides what gcc sees."""
    compiler, *flags = build.split()
    path = shutil.which(compiler)
    if path is None:
        pytest.skip(f"{compiler} is not installed")
    for number, name in enumerate(("stack", "both ways", "bag, both ways", "embedding")):
        dtype = DTYPES[number % 2]
        write_c(draw(MODELS[name](dtype=dtype)), tmp_path / "net.c", "net")
        command = [path, *FLAGS, *flags, "-c", "net.c"]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
        assert (done.returncode, done.stderr) == (0, "")


def test_vector_code(tmp_path):
    """As gcc makes it for this processor, with and without fused multiply-adds."""
    for flags in (["-ffp-contract=off"], ["-ffp-contract=fast"]):
        own = [*FLAGS, "-O3", "-march=native", "-fno-trapping-math", *flags]
        compare(Library(draw(MODELS["stack"]()), tmp_path / flags[0], flags=own))


def test_needs_nothing(tmp_path):
    """Of float32, the file calls nothing but the C library's copying of memory."""
    nm = shutil.which("nm")
    if nm is None:
        pytest.skip("nm is not installed")
    for dtype, allowed in (("float32", set()), ("float64", {"exp", "tanh"})):
        write_c(draw(MODELS["embedding"](dtype=dtype)), tmp_path / "net.c")
        subprocess.run([GCC, *FLAGS, "-c", "net.c"], cwd=tmp_path, check=True, timeout=120)
        lines = subprocess.run([nm, "net.o"], cwd=tmp_path, capture_output=True, text=True, check=True).stdout.split(
            "\n"
        )
        symbols = [line.split()[-2:] for line in lines if line]
        undefined = {name for kind, name in symbols if kind == "U"} - {"_GLOBAL_OFFSET_TABLE_", "__stack_chk_fail"}
        assert undefined <= allowed | {"memcpy", "memset"}
        # Neither initialised nor zeroed data that is not constant; tables of constants may need relocation.
        assert not [name for kind, name in symbols if kind in "DdBbC" and "data.rel.ro" not in name]


def test_header():
    interface = c_interface(MODELS["stack"](), "net")
    assert "Denormal numbers count as zero" in interface.header()
    assert "count as zero;" not in c_header(interface)
    assert c_header(interface).count(";") <= interface.header().count(";")


def test_names(tmp_path):
    """Names of layers that are not identifiers of C, keywords, names of the file's own, or equal but for what C lacks."""
    names = ["float", "exp", "2 a", "2-a", "add", "memcpy", "advance", "größe", "lstm_cell", "*/ x; /*"]
    layers = [Dense(3, name=name, activation="tanh") for name in names[:2]]
    layers += [*(GRU(3, name=name) for name in names[2:-1]), LSTM(2, name=names[-1])]
    compare(Library(draw(Model(layers, input_size=4)), tmp_path, "net"))
    for name in ("1net", "int", "net-1", "", "_net", None):
        with pytest.raises(ValueError, match="name must be an identifier"):
            c_source(Model(layers, input_size=4), name)


class Refused(NamedTuple):
    """A cell with something that is not a scalar function."""

    gates = ("h",)
    preactivations = ("h",)
    from_input = {"h": "h"}
    from_hidden = {"h": "h"}
    states = ("h",)
    saved = ()
    diagonal = ()

    @staticmethod
    def forward(cell, preactivations, states, diagonal):
        values = preactivations
        while values[0] > 4:
            values = (values[0] / 2,)
        return values, ()

    @staticmethod
    def backward(cell, saved, states, diagonal, after, gradients):
        return gradients, gradients, ()


def test_refusals(tmp_path, monkeypatch):
    monkeypatch.setitem(cells.CELLS, "Refused", Refused)
    model = Model([Recurrent(3, cell=Refused())], input_size=2)
    with pytest.raises(
        TypeError, match=r"Refused.forward cannot be written in C: it has a statement of the kind While \(line \d+ of"
    ):
        c_source(model)
    with pytest.raises(TypeError, match=r"model must be a numbarnn\.Model"):
        c_source(model.params)
    with pytest.raises(ValueError, match=r"path must end with .c"):
        write_c(MODELS["stack"](), tmp_path / "net.h")
    model = MODELS["stack"]()
    with model.params.writing() as values:
        values[3] = np.nan
    with pytest.raises(ValueError, match=r"parameter lstm.weight_ih_l0 must be finite"):
        c_source(model)
    assert not list(tmp_path.iterdir())
