"""ONNX graphs to models and back: ONNX' own cases, the graphs of torch's exporters, and ours in ONNX Runtime."""

import importlib
import warnings

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
    Recurrent,
    cells,
)
from numbarnn.errors import InteropError
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


# ONNX' own cases

COUNTS = {"RNN": 6, "GRU": 6, "LSTM": 6}


@pytest.mark.parametrize("kind", COUNTS)
def test_node_cases(kind):
    node_cases = pytest.importorskip("onnx.backend.test.case.node", reason="this onnx has no test cases")
    importlib.import_module(f"{node_cases.__name__}.{kind.lower()}")
    cases = [case for case in node_cases._NodeTestCases if case.model.graph.node[0].op_type == kind]
    assert len(cases) >= COUNTS[kind]
    for case in cases:
        proto = onnx.ModelProto()
        proto.CopyFrom(case.model)
        (node,) = proto.graph.node
        attributes = {attribute.name: onnx.helper.get_attribute_value(attribute) for attribute in node.attribute}
        for arrays, expected in case.data_sets:
            given = dict(zip([one.name for one in proto.graph.input], arrays, strict=True))
            del proto.graph.initializer[:]
            proto.graph.initializer.extend(
                onnx.numpy_helper.from_array(given[name], name) for name in ("W", "R", "B", "P") if name in given
            )
            model = from_onnx(proto)
            first = bool(attributes.get("layout", 0))
            x = given["X"] if first else given["X"].swapaxes(0, 1)
            states = [given[name] for name in ("initial_h", "initial_c") if name in given]
            states = tuple(state.swapaxes(0, 1) if first else state for state in states)
            y, (final,) = model.forward(x, (states,) if states else None, given.get("sequence_lens"))
            names = [result.name for result in proto.graph.output]
            found = {
                f"Y_{state}": end.swapaxes(0, 1) if first else end for state, end in zip("hc", final, strict=False)
            }
            if "Y" in names:
                y = y.reshape(*y.shape[:2], -1, attributes["hidden_size"])
                found["Y"] = y if first else y.transpose(1, 2, 0, 3)
            for name, array in zip(names, expected, strict=True):
                np.testing.assert_allclose(found[name], array, case.rtol, case.atol, err_msg=case.name)


# torch's exporters

KINDS = {
    "RNN-1-all": ("RNN", 1, False), "GRU-2-bidirectional-last": ("GRU", 2, True), "LSTM-2-bidirectional-all": ("LSTM", 2, True),
    "LSTM-1-last": ("LSTM", 1, False), "LSTM-2-bidirectional-final": ("LSTM", 2, True), "GRU-1-mean": ("GRU", 1, False),
    "GRU-1-final": ("GRU", 1, False), "RNN-2-tokens": ("RNN", 2, False),
}  # fmt: skip


DYNAMO = ("RNN-1-all", "GRU-2-bidirectional-last", "LSTM-2-bidirectional-all", "LSTM-1-last")
EXPORTS = [*((name, False) for name in KINDS), *((name, True) for name in DYNAMO)]


@pytest.mark.parametrize(("name", "dynamo"), EXPORTS, ids=[f"{name}{'-dynamo' * dynamo}" for name, dynamo in EXPORTS])
def test_exports_of_torch(tmp_path, name, dynamo):
    torch = pytest.importorskip("torch", reason="torch is not installed, which exports")
    if dynamo:
        pytest.importorskip("onnxscript", reason="torch's exporter needs onnxscript")
    nn, (kind, layers, bidirectional) = torch.nn, KINDS[name]

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.words = nn.Embedding(9, C) if name.endswith("tokens") else nn.Identity()
            self.rnn = getattr(nn, kind)(C, H, layers, bidirectional=bidirectional, batch_first=True)
            self.out = nn.Linear(H * (1 + bidirectional), 3)

        def forward(self, x):
            y, h = self.rnn(self.words(x))
            h = h[0] if isinstance(h, tuple) else h
            if name.endswith("final"):
                y = torch.cat([h[-2], h[-1]], -1) if bidirectional else h[-1]
            return torch.sigmoid(
                self.out(
                    {"last": lambda: y[:, -1], "mean": lambda: y.mean(1)}.get(name.rpartition("-")[2], lambda: y)()
                )
            )

    torch.manual_seed(1)
    net = Net().eval()
    x = torch.arange(N * T).reshape(N, T) % 9 if name.endswith("tokens") else torch.randn(N, T, C)
    path = tmp_path / "net.onnx"
    more = {"input_names": ["x"]}
    if dynamo:
        more |= {"dynamic_shapes": ({0: torch.export.Dim("batch", min=2)},), "verbose": False}
    else:
        more |= {"dynamic_axes": {"x": {0: "batch", 1: "time"}}, "opset_version": 17}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(net, (x,), path, dynamo=dynamo, **more)
    model = from_onnx(path)
    with torch.no_grad():
        np.testing.assert_allclose(model.forward(x.numpy())[0], net(x).numpy(), **CLOSE)
    theirs = {
        array.tobytes()
        for array in map(np.ascontiguousarray, (net.out.weight.detach().numpy(), net.out.bias.detach().numpy()))
    }
    assert theirs <= {np.ascontiguousarray(array).tobytes() for array in model.params.values()}  # to the bit


# Ours, in ONNX Runtime and back

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


# Refusals


def graph(nodes, *constants, inputs=(("x", 1, ["n", "t", C]),), outputs=("y",), opset=17):
    helper = onnx.helper
    return helper.make_model(
        helper.make_graph(
            [
                helper.make_node(
                    kind, ins.replace("\0", "").split(" ") if ins else [], outs.split(), name=f"node{k}", **more
                )
                for k, (kind, ins, outs, more) in enumerate(nodes)
            ],
            "g",
            [helper.make_tensor_value_info(*one) for one in inputs],
            [helper.make_tensor_value_info(name, 1, None) for name in outputs],
            [onnx.numpy_helper.from_array(array, f"c{k}") for k, array in enumerate(constants)],
        ),
        opset_imports=[helper.make_opsetid("", opset)],
    )


WEIGHT = np.ones((C, C), np.float32)
W, R = np.ones((1, 4 * H, C), np.float32), np.ones((1, 4 * H, H), np.float32)
TURN = ("Transpose", "x", "a", {"perm": [1, 0, 2]})
REFUSED = {
    "unknown": (graph([("LayerNormalization", "x c0", "y", {})], WEIGHT[0]), r"LayerNormalization\): it has no counterpart"),
    "loop": (graph([("Loop", "x", "y", {})]), "no counterpart"),
    "skip": (graph([("MatMul", "x c0", "a", {}), ("Add", "a x", "y", {})], WEIGHT), "'node1'"),
    "branch": (graph([("MatMul", "x c0", "a", {}), ("MatMul", "x c0", "y", {})], WEIGHT), "output of an earlier layer"),
    "shape": (graph([TURN, ("LSTM", "a c0 c1", "y", {"hidden_size": H})], W, W), "R has the shape"),
    "samples along steps": (
        graph([("LSTM", "x c0 c1", "a", {"hidden_size": H}), ("Squeeze", "a c2", "b", {}),
               ("LSTM", "b c3 c1", "y", {"hidden_size": H, "layout": 1})], W, R, np.array([1]), R),
        "reads along",
    ),
    "softmax within": (graph([("Softmax", "x", "a", {}), ("MatMul", "a c0", "y", {})], WEIGHT), "not the last node"),
    "two outputs": (graph([("MatMul", "x c0", "y", {}), ("Tanh", "y", "z", {})], WEIGHT, outputs=("y", "z")), "one output"),
    "nothing": (graph([("Identity", "x", "y", {})]), "no layers"),
    "half": (graph([("MatMul", "x c0", "y", {})], WEIGHT.astype(np.float16)), "float16"),
    "cell state": (
        graph([TURN, ("LSTM", "a c0 c1", "Y h c", {"hidden_size": H}), ("Gather", "c c2", "s", {}), ("MatMul", "s c3", "y", {})],
              W, R, np.array(0), np.ones((H, 2), np.float32)),
        "cell state c",
    ),
    "flip": (
        graph([("Slice", "x c0 c1 c2 c3", "a", {}), ("MatMul", "a c4", "y", {})],
              np.array([-1]), np.array([-(2**31)]), np.array([2]), np.array([-1]), WEIGHT),
        "several indices",
    ),
    "lengths of one": (
        graph([TURN, ("LSTM", "a c0 c1 \0 lens", "b", {"hidden_size": H}), ("Squeeze", "b c2", "d", {}),
               ("LSTM", "d c3 c1", "e", {"hidden_size": H}), ("Squeeze", "e c2", "y", {})],
              W, R, np.array([1]), R, inputs=(("x", 1, ["n", "t", C]), ("lens", 6, ["n"]))),
        "some nodes have lengths",
    ),
    "states twice": (
        graph([TURN, ("LSTM", "a c0 c1 \0 \0 h0 h0", "b", {"hidden_size": H}), ("Squeeze", "b c2", "y", {})],
              W, R, np.array([1]), inputs=(("x", 1, ["n", "t", C]), ("h0", 1, [1, "n", H]))),
        "that a node before has taken",
    ),
    "bias beside": (graph([("MatMul", "x c0", "y", {}), ("Add", "y c1", "z", {})], WEIGHT, WEIGHT[0]), "earlier layer"),
    "old softmax": (graph([("MatMul", "x c0", "a", {}), ("Softmax", "a", "y", {})], WEIGHT, opset=11), "another axis"),
    "old operators": (graph([("MatMul", "x c0", "y", {})], WEIGHT, opset=6), "version 6"),
    "dropout in use": (
        graph([("Dropout", "x c0 c1", "a", {}), ("MatMul", "a c2", "y", {})], np.float32(0.5), np.array(True), WEIGHT),
        "acts in use",
    ),
    "bomb": (
        graph([("Concat", " ".join([one] * 300), "a", {"axis": 0}) for one in ("c0", "a", "a", "a")], WEIGHT),
        "more than the file",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_refusals(name):
    proto, words = REFUSED[name]
    with pytest.raises(InteropError, match=words) as error:
        from_onnx(proto.SerializeToString())
    assert error.value.reasons


def test_sources(tmp_path):
    with pytest.raises(TypeError, match="source must be"):
        from_onnx(3)
    with pytest.raises(FileNotFoundError):
        from_onnx(tmp_path / "none.onnx")
    (tmp_path / "text.onnx").write_text("no graph")
    with pytest.raises(InteropError, match="not an ONNX file"):
        from_onnx(tmp_path / "text.onnx")
    model = Model([Recurrent(H, cell=cells.RNN()), Dense(2)], C)
    with pytest.raises(InteropError, match=r"recurrent \(Recurrent\) has no counterpart"):
        to_onnx(model, tmp_path / "own.onnx")
    with pytest.raises(ValueError, match="opset must be"):
        to_onnx(model, tmp_path / "own.onnx", opset=3)
    assert not (tmp_path / "own.onnx").exists()
