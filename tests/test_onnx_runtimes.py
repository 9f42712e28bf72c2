"""Models to ONNX: the same outputs in ONNX Runtime, OpenVINO and ONNX' reference evaluator, and the same model when read back."""

import numpy as np
import pytest
from conftest import normal

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
)
from numbarnn.interop import from_onnx, to_onnx

onnx = pytest.importorskip("onnx", reason="onnx is not installed; it is the other side of every conversion here")

C, H, N, T = 4, 5, 3, 6
LENGTHS = np.array([6, 2, 0])
CLOSE = {"atol": 2e-6, "rtol": 2e-6}


def filled(layers, input_size=None):
    """Return a model whose weights, biases too, are random."""
    model = Model(layers, input_size)
    model.set_flat(0.5 * normal(3, model.params.size))
    return model


def batch(model):
    signal = model.signals[0]
    if not signal.tokens:
        return normal(0, N, T, signal.size, dtype="float32")
    shape = (N, T, signal.bag) if signal.bag else (N, T)
    return (np.arange(np.prod(shape)).reshape(shape) % (signal.size + bool(signal.bag))) - bool(signal.bag)


def states_of(model):
    return tuple(
        tuple(normal(k, *layer.state_shape(N), dtype="float32") for k, _ in enumerate(layer.state_names))
        for layer in model.recurrent_layers
    )


CELLS = {
    "lstm": (LSTM, {}), "peepholes": (LSTM, {"peepholes": True}), "coupled": (LSTM, {"coupled": True}),
    "fixed": (LSTM, {"fix": {"forget": 1.0, "output": 0.3, "candidate": -0.5}}), "gru": (GRU, {}),
    "gru before": (GRU, {"reset_after": False}), "gru fixed": (GRU, {"fix": {"reset": 1.0, "update": 0.0}}), "rnn": (RNN, {}),
    "relu": (RNN, {"activation": "relu"}), "identity": (RNN, {"activation": "identity"}), "indrnn": (IndRNN, {}),
}  # fmt: skip
SHAPES = {
    "one": {}, "two both": {"num_layers": 2, "bidirectional": True, "bias": "single"},
    "sum last": {"num_layers": 2, "bidirectional": True, "merge": "sum", "return_sequences": False, "bias": False},
    "reverse last": {"reverse": True, "return_sequences": False},
}  # fmt: skip
STACKS = {f"{cell}, {shape}": [CELLS[cell][0](H, **CELLS[cell][1], **SHAPES[shape]), Dense(3)] for cell, shape in zip(
    [*CELLS, "lstm", "gru", "lstm"], [*SHAPES] * 4, strict=False)}  # fmt: skip
STACKS |= {
    f"pool {kind}": [GRU(H), Dropout(0.5), Pool(kind), Dense(3, activation="relu")] for kind in ("mean", "max", "last")
}
STACKS |= {
    "one-hot": [OneHot(9), LSTM(H), Activation("tanh"), Dense(9, bias=False)],
    "embedding": [Embedding(9, 3), GRU(H, return_sequences=False), Dense(2)],
    "bag": [EmbeddingBag(9, 3, 2), GRU(H), Dense(2)],
}


def run(path, x, lengths, states):
    runtime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed, which runs the graph")
    session = runtime.InferenceSession(path, providers=["CPUExecutionProvider"])
    given = {"x": x} | states
    if lengths is not None:
        given["lengths"] = lengths.astype(np.int32)
    return dict(zip([result.name for result in session.get_outputs()], session.run(None, given), strict=True))


@pytest.mark.parametrize("name", STACKS)
def test_export(tmp_path, name):
    layers = STACKS[name]
    model = filled(layers, None if "Hot" in repr(layers[0]) or "Embedding" in repr(layers[0]) else C)
    x, state, path = batch(model), states_of(model), tmp_path / "model.onnx"
    to_onnx(model, path)
    names = [name for name, layer in zip(model.names, model.layers, strict=True) if layer.state_names]
    given = {
        f"{name}.{letter}": array
        for name, layer, arrays in zip(names, model.recurrent_layers, state, strict=True)
        for letter, array in zip(layer.state_names, arrays, strict=True)
    }
    found, (y, ends) = run(path, x, LENGTHS, given), model.forward(x, state, LENGTHS)
    np.testing.assert_allclose(found["y"], y, **CLOSE)
    for layer_name, layer, arrays in zip(names, model.recurrent_layers, ends, strict=True):
        for letter, array in zip(layer.state_names, arrays, strict=True):
            np.testing.assert_allclose(found[f"{layer_name}.{letter}_out"], array, **CLOSE)
    np.testing.assert_allclose(
        from_onnx(path).forward(x, None, LENGTHS)[0], model.forward(x, None, LENGTHS)[0], **CLOSE
    )
    to_onnx(model, path, opset=21, states=False, lengths=False)
    np.testing.assert_allclose(run(path, x, None, {})["y"], model.forward(x)[0], **CLOSE)
    np.testing.assert_allclose(from_onnx(path.read_bytes()).forward(x)[0], model.forward(x)[0], **CLOSE)


def test_reference_and_openvino(tmp_path):
    model, path = filled(STACKS["lstm, one"], C), tmp_path / "model.onnx"
    to_onnx(model, path, lengths=False, states=False)
    x = batch(model)
    reference = onnx.reference.ReferenceEvaluator(str(path))
    np.testing.assert_allclose(reference.run(None, {"x": x})[0], model.forward(x)[0], **CLOSE)
    openvino = pytest.importorskip("openvino", reason="openvino is not installed")
    compiled = openvino.Core().compile_model(str(path), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    for rows in (x, x[:1, :2]):
        np.testing.assert_allclose(compiled({"x": rows})[0], model.forward(rows)[0], **CLOSE)


def test_states_are_carried(tmp_path):
    model, path = filled([LSTM(H), Dense(3)], C), tmp_path / "model.onnx"
    to_onnx(model, path, lengths=False)
    x, state, found = batch(model), {f"lstm.{name}": np.zeros((1, N, H), np.float32) for name in "hc"}, []
    for t in range(T):
        result = run(path, x[:, t : t + 1], None, state)
        found.append(result["y"][:, 0])
        state = {f"lstm.{name}": result[f"lstm.{name}_out"] for name in "hc"}
    np.testing.assert_allclose(np.stack(found, 1), model.forward(x)[0], **CLOSE)
