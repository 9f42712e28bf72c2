"""What torch does not have: Keras' GRU with the reset before the product, ONNX' LSTM with peepholes; same weights, same numbers.

Weights are moved by the *names* of the gates; each side's order is written down once.
"""

import importlib.util

import numpy as np
import pytest
from conftest import assert_close, normal
from processes import run_python

from numbarnn import GRU, LSTM, Model

C, H, N, T = 5, 21, 4, 9
LENGTHS = [9, 3, 7, 1]
TOLERANCE = {"float32": (2e-6, 1e-5), "float64": (1e-12, 1e-11)}  # outputs and states, gradients
OURS = {"GRU": ("r", "z", "n"), "LSTM": ("i", "f", "g", "o")}
# Our names, in the order of the other side: Keras' GRU is z, r, h; ONNX' GRU z, r, h, its LSTM i, o, f, c, its peepholes i, o, f.
THEIRS = {"GRU": ("z", "r", "n"), "LSTM": ("i", "o", "f", "g")}
PEEPHOLES = ("ci", "co", "cf")
every_dtype = pytest.mark.parametrize("dtype", TOLERANCE)


def in_their_order(kind, array):
    """Return the row blocks of a parameter in the order of the other side."""
    blocks = dict(zip(OURS[kind], np.split(array, len(OURS[kind])), strict=True))
    return np.concatenate([blocks[gate] for gate in THEIRS[kind]])


def model_of(layer, dtype):
    return Model([layer], input_size=C, dtype=dtype, seed=3, n_threads=1)


def parameters(model):
    return {name.partition(".")[2]: values for name, values in model.params.items()}


# Keras, in a process of its own: its back-end is chosen where it is imported

KERAS = """
import sys
import numpy as np
import keras
import torch

torch.set_num_threads(1)
given = dict(np.load(sys.argv[1]))
results = {}
for reset_after in (False, True):
    take = lambda name: given[f"{reset_after}-{name}"]
    units = take("recurrent").shape[0]
    layer = keras.layers.GRU(units, reset_after=reset_after, return_sequences=True, return_state=True)
    x = torch.tensor(take("x"), requires_grad=True)
    start = torch.tensor(take("start"), requires_grad=True)
    layer.build(tuple(x.shape))
    layer.set_weights([take("kernel"), take("recurrent"), take("bias")])
    for masked in (False, True):
        x.grad = start.grad = None
        for weight in layer.weights:
            weight.value.grad = None
        mask = torch.tensor(np.arange(x.shape[1]) < given["lengths"][:, None]) if masked else None
        y, end = layer(x, initial_state=start, mask=mask)
        dy = torch.tensor(take("dy")) * (1 if mask is None else mask[:, :, None])
        torch.autograd.backward([y, end], [dy, torch.tensor(take("dend"))])
        found = {"y": y, "end": end, "dx": x.grad, "dstart": start.grad}
        found |= {w.name: w.value.grad for w in layer.weights}
        results |= {f"{reset_after}-{masked}-{name}": value.detach().numpy() for name, value in found.items()}
np.savez(sys.argv[2], **results)
"""


def keras_weights(model, reset_after):
    """Return (kernel, recurrent kernel, bias) of Keras' GRU."""
    w = {name: in_their_order("GRU", values) for name, values in parameters(model).items()}
    bias = np.stack([w["bias_ih_l0"], w["bias_hh_l0"]]) if reset_after else w["bias_ih_l0"]
    return w["weight_ih_l0"].T, w["weight_hh_l0"].T, bias


def gru(reset_after):
    # Keras has one bias where the reset comes before the product: two would be one.
    return model_of(GRU(H, reset_after=reset_after, bias=reset_after or "single", init="torch"), "float32")


def keras_arrays():
    return {
        "x": normal(0, N, T, C, dtype="float32"),
        "start": 0.5 * normal(1, N, H, dtype="float32"),
        "dy": normal(2, N, T, H, dtype="float32"),
        "dend": normal(3, N, H, dtype="float32"),
    }


@pytest.fixture(scope="module")
def keras_results(tmp_path_factory):
    for name in ("keras", "torch"):
        if importlib.util.find_spec(name) is None:
            pytest.skip(f"{name} is not installed; Keras, running on torch, is the other side of the comparison")
    folder, given = tmp_path_factory.mktemp("keras"), {"lengths": np.array(LENGTHS)}
    for reset_after in (False, True):
        weights = zip(("kernel", "recurrent", "bias"), keras_weights(gru(reset_after), reset_after), strict=True)
        given |= {f"{reset_after}-{name}": array for name, array in (*weights, *keras_arrays().items())}
    np.savez(folder / "given.npz", **given)
    files = folder / "given.npz", folder / "found.npz"
    run_python(KERAS, *files, cwd=folder, KERAS_BACKEND="torch", KERAS_HOME=folder / "home")
    return dict(np.load(files[1]))


@pytest.mark.parametrize("reset_after", [False, True])
@pytest.mark.parametrize("masked", [False, True], ids=["full", "masked"])
def test_keras_gru(keras_results, reset_after, masked):
    # In float32 alone: Keras' loop over the steps rounds to it whatever the dtype of the layer.
    def theirs(name):
        return keras_results[f"{reset_after}-{masked}-{name}"]

    model, given, lengths = gru(reset_after), keras_arrays(), LENGTHS if masked else None
    valid = np.arange(T) < np.array(LENGTHS if masked else [T] * N)[:, None]
    outputs, final, pullback = model.vjp(given["x"], ((given["start"][None],),), lengths)
    gradients = pullback(given["dy"], ((given["dend"][None],),))
    close, close_gradient = TOLERANCE["float32"]
    # Past the end Keras repeats the last output.
    assert_close(outputs[valid], theirs("y")[valid], close, "outputs")
    assert_close(final[0][0][0], theirs("end"), close, "final state")
    assert_close(gradients.x, theirs("dx"), close_gradient, "gradient of x")
    assert_close(gradients.state[0][0][0], theirs("dstart"), close_gradient, "gradient of the initial state")
    w = {name.partition(".")[2]: in_their_order("GRU", values) for name, values in gradients.params.items()}
    assert_close(w["weight_ih_l0"].T, theirs("kernel"), close_gradient, "kernel")
    assert_close(w["weight_hh_l0"].T, theirs("recurrent_kernel"), close_gradient, "recurrent kernel")
    bias = np.stack([w["bias_ih_l0"], w["bias_hh_l0"]]) if reset_after else w["bias_ih_l0"]
    assert_close(bias, theirs("bias"), close_gradient, "bias")


# ONNX


def onnx_outputs(kind, model, x, states, **attributes):
    """Return Y (samples, T, directions * H) and the final states, each (directions, samples, H), of ONNX' reference."""
    onnx = pytest.importorskip("onnx", reason="onnx is not installed; its reference evaluator is the other side")
    from onnx import helper
    from onnx.reference import ReferenceEvaluator

    w = parameters(model)
    suffixes = ["_l0", "_l0_reverse"][: states[0].shape[0]]

    def stacked(*names):
        return np.stack([np.concatenate([in_their_order(kind, w[n + s]) for n in names]) for s in suffixes])

    feeds = {
        "X": x.swapaxes(0, 1),
        "W": stacked("weight_ih"),
        "R": stacked("weight_hh"),
        "B": stacked("bias_ih", "bias_hh"),
        "initial_h": states[0],
    }
    names = ["X", "W", "R", "B", "", "initial_h"]
    results = ["Y", "Y_h"]
    if kind == "LSTM":
        feeds["initial_c"] = states[1]
        names, results = [*names, "initial_c"], [*results, "Y_c"]
        if model.layers[0].peepholes:
            feeds["P"] = np.stack([np.concatenate([w[f"weight_{gate}{s}"] for gate in PEEPHOLES]) for s in suffixes])
            names.append("P")
    direction = "bidirectional" if len(suffixes) == 2 else "forward"
    node = helper.make_node(kind, names, results, hidden_size=H, direction=direction, **attributes)
    element = helper.np_dtype_to_tensor_dtype(x.dtype)
    graph = helper.make_graph(
        [node],
        "net",
        [helper.make_tensor_value_info(name, element, array.shape) for name, array in feeds.items()],
        [helper.make_tensor_value_info(name, element, None) for name in results],
    )
    opset = helper.make_opsetid("", 22)
    evaluator = ReferenceEvaluator(helper.make_model(graph, opset_imports=[opset], ir_version=onnx.IR_VERSION))
    y, *ends = evaluator.run(None, feeds)
    return y.transpose(2, 0, 1, 3).reshape(N, T, -1), ends


@every_dtype
@pytest.mark.parametrize("bidirectional", [False, True], ids=["forward", "bidirectional"])
@pytest.mark.parametrize(
    ("kind", "make", "attributes"),
    [
        ("LSTM", lambda **options: LSTM(H, **options), {}),
        ("LSTM", lambda **options: LSTM(H, peepholes=True, **options), {}),
        ("GRU", lambda **options: GRU(H, **options), {"linear_before_reset": 1}),
        ("GRU", lambda **options: GRU(H, reset_after=False, **options), {"linear_before_reset": 0}),
    ],
    ids=["LSTM", "LSTM-peepholes", "GRU-after", "GRU-before"],
)
def test_onnx(kind, make, attributes, bidirectional, dtype):
    # Its reference knows neither lengths nor input_forget.
    model = model_of(make(bidirectional=bidirectional, init="uniform(0.5)"), dtype)
    x, directions = normal(0, N, T, C, dtype=dtype), 2 if bidirectional else 1
    states = tuple(0.5 * normal(1 + s, directions, N, H, dtype=dtype) for s in range(2 if kind == "LSTM" else 1))
    expected, ends = onnx_outputs(kind, model, x, states, **attributes)
    outputs, final = model.forward(x, (states,))
    assert_close(outputs, expected, TOLERANCE[dtype][0], "outputs")
    for array, end in zip(final[0], ends, strict=True):
        assert_close(array, end, TOLERANCE[dtype][0], "final state")
