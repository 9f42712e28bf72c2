"""Activations of ONNX' recurrent operators other than the usual ones, and clip: equations, gradients, files, ONNX Runtime."""

import pickle

import numpy as np
import pytest
from conftest import assert_close, assert_same_bits, check_gradients, normal
from processes import run_python

from numbarnn import GRU, LSTM, RNN, Model, Recurrent, cells
from numbarnn.cells import CELLS, contract, register
from numbarnn.errors import InteropError
from numbarnn.interop import from_onnx, to_onnx

onnx = pytest.importorskip("onnx", reason="onnx is not installed, which reads and writes graphs")

C, H, N, T = 3, 4, 2, 5
GATES = {"RNN": 1, "GRU": 3, "LSTM": 4}
CLOSE = {"float32": 2e-6, "float64": 1e-12}


@pytest.fixture(autouse=True)
def _registry():
    """Leave the registry as it is for tests that go through all of it."""
    before = set(CELLS)
    yield
    for name in CELLS.keys() - before:
        del CELLS[name]


def logistic(x):
    return 1 / (1 + np.exp(-x))


def rounded(value):
    """Return a number as an attribute has it, in float32."""
    return float(np.float32(value))


# ONNX' equations, as (x, alpha, beta) -> y.
CURVES = {
    "Sigmoid": lambda x, a, b: logistic(x),
    "Tanh": lambda x, a, b: np.tanh(x),
    "Relu": lambda x, a, b: np.maximum(x, 0),
    "Affine": lambda x, a, b: a * x + b,
    "LeakyRelu": lambda x, a, b: np.where(x < 0, a * x, x),
    "ThresholdedRelu": lambda x, a, b: np.where(x > a, x, 0),
    "ScaledTanh": lambda x, a, b: a * np.tanh(b * x),
    "HardSigmoid": lambda x, a, b: np.clip(a * x + b, 0, 1),
    "Elu": lambda x, a, b: np.where(x < 0, a * (np.exp(x) - 1), x),
    "Softsign": lambda x, a, b: x / (1 + np.abs(x)),
    "Softplus": lambda x, a, b: np.log(1 + np.exp(x)),
}
# Name: operator, attributes, (name, alpha, beta) of each activation, clip.
ALPHA, BETA = "activation_alpha", "activation_beta"
CASES = {
    **{
        f"RNN {name}": (
            "RNN", {"activations": [name]} | ({ALPHA: [a]} if a else {}) | ({BETA: [b]} if b else {}), [(name, a, b)], 0,
        )
        for name, a, b in (
            ("Affine", 0.7, 0.3), ("LeakyRelu", 0.2, 0), ("ThresholdedRelu", 0.3, 0), ("ScaledTanh", 1.5, 0.6), ("Elu", 0.8, 0),
            ("HardSigmoid", 0.3, 0.4), ("Softsign", 0, 0), ("Softplus", 0, 0),
        )
    },
    "RNN clip": ("RNN", {"clip": 0.4}, [("Tanh", 0, 0)], 0.4),
    "RNN defaults": ("RNN", {"activations": ["HardSigmoid"]}, [("HardSigmoid", 0.2, 0.5)], 0),
    "GRU": (
        "GRU", {"activations": ["HardSigmoid", "Softsign"], ALPHA: [0.3], BETA: [0.4], "clip": 0.9},
        [("HardSigmoid", 0.3, 0.4), ("Softsign", 0, 0)], 0.9,
    ),
    "GRU after": (
        "GRU", {"activations": ["Sigmoid", "LeakyRelu"], "linear_before_reset": 1, "clip": 0.5},
        [("Sigmoid", 0, 0), ("LeakyRelu", 0.01, 0)], 0.5,
    ),
    "LSTM clip": ("LSTM", {"clip": 0.5}, [("Sigmoid", 0, 0), ("Tanh", 0, 0), ("Tanh", 0, 0)], 0.5),
    "LSTM": (
        "LSTM", {"activations": ["HardSigmoid", "Elu", "ScaledTanh"], ALPHA: [0.3, 0.9, 1.2], BETA: [0.4, 0.8]},
        [("HardSigmoid", 0.3, 0.4), ("Elu", 0.9, 0), ("ScaledTanh", 1.2, 0.8)], 0,
    ),
    "LSTM peepholes": (
        "LSTM", {"activations": ["Sigmoid", "Softsign", "Softplus"], "clip": 0.8, "P": True},
        [("Sigmoid", 0, 0), ("Softsign", 0, 0), ("Softplus", 0, 0)], 0.8,
    ),
    "LSTM coupled": (
        "LSTM", {"activations": ["HardSigmoid", "Tanh", "Relu"], "input_forget": 1},
        [("HardSigmoid", 0.2, 0.5), ("Tanh", 0, 0), ("Relu", 0, 0)], 0,
    ),
}  # fmt: skip


def arrays_of(kind, peepholes, dtype, directions=1):
    """Return W, R, B and P."""
    rows = GATES[kind] * H
    shapes = {"W": (rows, C), "R": (rows, H), "B": (2 * rows,)} | ({"P": (3 * H,)} if peepholes else {})
    return {name: 0.7 * normal(k, directions, *shape, dtype=dtype) for k, (name, shape) in enumerate(shapes.items())}


def proto_of(kind, attributes, arrays, dtype="float64", directions=1):
    """Return the graph of one node, with states as inputs and outputs."""
    helper, element = onnx.helper, onnx.helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    states = ["h0", "c0"] if kind == "LSTM" else ["h0"]
    inputs = ["X", "W", "R", "B", "", *states, *(["P"] if "P" in arrays else [])]
    outputs = ["Y", "Y_h", *(["Y_c"] if kind == "LSTM" else [])]
    more = {name: value for name, value in attributes.items() if name != "P"}
    node = helper.make_node(kind, inputs, outputs, hidden_size=H, **more)
    graph = helper.make_graph(
        [node], "net",
        [helper.make_tensor_value_info("X", element, ["t", "n", C])]
        + [helper.make_tensor_value_info(name, element, [directions, "n", H]) for name in states],
        [helper.make_tensor_value_info("Y", element, ["t", directions, "n", H])],
        [onnx.numpy_helper.from_array(array, name) for name, array in arrays.items()],
    )  # fmt: skip
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def expected_of(kind, attributes, arrays, curves, clip, x, states):
    """Return the outputs of all steps by ONNX' equations; x is (steps, samples, features)."""
    w, r, b = (arrays[name][0] for name in "WRB")
    alphas, clip = [(name, *map(rounded, values)) for name, *values in curves], rounded(clip)
    curves = [lambda x, name=name, a=a, b=b: CURVES[name](x, a, b) for name, a, b in alphas]
    limited = [lambda x, curve=curve: curve(np.clip(x, -clip, clip) if clip else x) for curve in curves]
    rows = len(w)
    h, outputs = states[0], []
    for x_t in x:
        from_x, from_h = x_t @ w.T + b[:rows], h @ r.T + b[rows:]
        if kind == "RNN":
            h = limited[0](from_x + from_h)
        elif kind == "GRU":
            (zx, rx, nx), (zh, rh, nh) = np.split(from_x, 3, -1), np.split(from_h, 3, -1)
            z, reset = limited[0](zx + zh), limited[0](rx + rh)
            if not attributes.get("linear_before_reset"):
                nh = (reset * h) @ r[2 * H :].T + b[rows + 2 * H :]
                n = limited[1](nx + nh)
            else:
                n = limited[1](nx + reset * nh)
            h = (1 - z) * n + z * h
        else:
            i, o, f, g = np.split(from_x + from_h, 4, -1)
            pi, po, pf = np.split(arrays["P"][0], 3) if "P" in arrays else (0, 0, 0)
            c = states[1]
            i, f, g = limited[0](i + pi * c), limited[0](f + pf * c), limited[1](g)
            f = 1 - i if attributes.get("input_forget") else f
            c = f * c + i * g
            h = limited[0](o + po * c) * curves[2](c)
            states = (h, c)
        outputs.append(h)
    return np.stack(outputs)


@pytest.mark.parametrize("name", CASES)
def test_equations_and_gradients(name):
    kind, attributes, curves, clip = CASES[name]
    arrays = arrays_of(kind, "P" in attributes, "float64")
    model = from_onnx(proto_of(kind, attributes, arrays))
    assert type(model.layers[0]) is Recurrent
    x = normal(5, T, N, C)
    states = tuple(normal(6 + k, N, H) for k in range(len(model.layers[0].state_names)))
    expected = expected_of(kind, attributes, arrays, curves, clip, x, states)
    found, _ = model.forward(x.swapaxes(0, 1), (tuple(state[None] for state in states),))
    assert_close(found, expected.swapaxes(0, 1), CLOSE["float64"])
    check_gradients(model, x.swapaxes(0, 1)[:, :3], lengths=[3, 2])


@pytest.mark.parametrize("name", CASES)
def test_runtime_and_back(tmp_path, name):
    kind, attributes, _, _ = CASES[name]
    runtime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed, which runs the graph")
    arrays = arrays_of(kind, "P" in attributes, "float32")
    proto = proto_of(kind, attributes, arrays, "float32")
    model, x = from_onnx(proto), normal(5, T, N, C, dtype="float32")
    names = model.layers[0].state_names
    states = {f"{state}0": normal(6 + k, 1, N, H, dtype="float32") for k, state in enumerate(names)}
    found, _ = model.forward(x.swapaxes(0, 1), (tuple(states.values()),))
    session = runtime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    (theirs,) = session.run(["Y"], {"X": x} | states)
    assert_close(found, theirs[:, 0].swapaxes(0, 1), CLOSE["float32"])
    to_onnx(model, tmp_path / "again.onnx", lengths=False, states=False)
    again = from_onnx(tmp_path / "again.onnx")
    assert again.layers[0].cell == model.layers[0].cell
    assert_same_bits(again.params.flat, model.params.flat)
    session = runtime.InferenceSession(tmp_path / "again.onnx", providers=["CPUExecutionProvider"])
    assert_close(session.run(["y"], {"x": x.swapaxes(0, 1)})[0], model.forward(x.swapaxes(0, 1))[0], CLOSE["float32"])


@pytest.mark.parametrize("dtype", CLOSE)
@pytest.mark.parametrize(
    ("name", "layer"),
    [
        ("OnnxRNN", RNN(H)), ("OnnxLSTM", LSTM(H)), ("OnnxLSTM", LSTM(H, coupled=True)),
        ("OnnxPeepholeLSTM", LSTM(H, peepholes=True)), ("OnnxGRU", GRU(H)), ("OnnxResetBeforeGRU", GRU(H, reset_after=False)),
    ],
    ids=["RNN", "LSTM", "coupled", "peepholes", "GRU", "GRU before"],
)  # fmt: skip
def test_defaults_are_the_usual_cells(name, layer, dtype):
    options = {"coupled": 1} if getattr(layer, "coupled", False) else {}
    cell = contract.cell_record({"type": name, **options})
    usual = Model([layer], C, dtype=dtype, seed=1, n_threads=1)
    own = Model([Recurrent(H, cell=cell)], C, dtype=dtype, n_threads=1)
    own.set_flat(usual.params.flat)
    x, dy = normal(0, N, T, C, dtype=dtype), normal(1, N, T, H, dtype=dtype)
    (y, _, pullback), (own_y, _, own_pullback) = usual.vjp(x), own.vjp(x)
    assert_same_bits(own_y, y)
    gradients, own_gradients = pullback(dy), own_pullback(dy)
    assert_close(own_gradients.x, gradients.x, 10 * np.finfo(dtype).eps)
    for (key, found), expected in zip(own_gradients.params.items(), gradients.params.values(), strict=True):
        assert_close(found, expected, 10 * np.finfo(dtype).eps, key)


def test_files_load_in_a_new_process(tmp_path):
    kind, attributes, _, _ = CASES["GRU"]
    model = from_onnx(proto_of(kind, attributes, arrays_of(kind, False, "float64")))
    model.save(tmp_path / "net.nn")
    code = "import sys, numbarnn; print(numbarnn.load(sys.argv[1]).layers[0].cell)"
    done = run_python(code, tmp_path / "net.nn", cwd=tmp_path)
    assert done.stdout.strip() == repr(model.layers[0].cell)


def test_cells_are_known_where_they_are_unpickled(tmp_path):
    cell = contract.cell_record({"type": "OnnxLSTM", "clip": 2.0})
    (tmp_path / "cell").write_bytes(pickle.dumps(cell))
    code = (
        "import pickle; cell = pickle.load(open('cell', 'rb')); "
        "from numbarnn.cells import CELLS; print(CELLS[type(cell).__name__] is type(cell))"
    )
    assert run_python(code, cwd=tmp_path).stdout.strip() == "True"


def test_names_are_those_of_the_package():
    own = type("OnnxLSTM", (cells.LSTM,), {"__module__": __name__})
    with pytest.raises(
        ValueError, match=r"'OnnxLSTM' is that of a cell of numbarnn\.cells\.onnx; give this class another name"
    ):
        register(own)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"g": 11}, "option g of OnnxLSTM must be the code of an activation, 0 to 10, got 11"),
        ({"f": -1}, "option f of OnnxLSTM must be the code of an activation, 0 to 10, got -1"),
        ({"clip": -3.0}, r"option clip of OnnxLSTM must be positive, or 0 for no limit, got -3\.0"),
        ({"coupled": 7}, "option coupled of OnnxLSTM must be 0 or 1, got 7"),
    ],
)
def test_options_that_a_cell_cannot_have(options, words):
    with pytest.raises(ValueError, match=words):
        Recurrent(H, cell=contract.cell_record({"type": "OnnxLSTM", **options}))


@pytest.mark.parametrize(
    ("attributes", "words"),
    [
        ({"activations": ["Gelu"]}, "the activation Gelu is not one of"),
        ({"activations": ["Affine"]}, "Affine has no activation_alpha"),
        ({"activations": ["Tanh"], "activation_alpha": [0.5]}, "more values of activation_alpha"),
        ({"activations": ["Tanh", "Relu"]}, "it has 2 activations"),
        ({"activations": ["Tanh", "Relu"], "direction": "bidirectional"}, "not the same in both directions"),
        ({"activations": ["Elu"], "activation_alpha": [float("nan")]}, "finite number"),
    ],
)
def test_refusals(attributes, words):
    directions = 2 if "direction" in attributes else 1
    with pytest.raises(InteropError, match=words):
        from_onnx(proto_of("RNN", attributes, arrays_of("RNN", False, "float64", directions), directions=directions))
