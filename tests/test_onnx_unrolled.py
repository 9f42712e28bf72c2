"""Plain RNNs unrolled into a node for each operation of each step, in the form that torch's exporter gives them.

Tests with the exporter itself are in test_onnx_of_torch.py, where its packages are installed.
"""

import tracemalloc

import numpy as np
import pytest
from conftest import assert_close, normal

from numbarnn import RNN
from numbarnn.errors import InteropError
from numbarnn.interop import from_onnx

onnx = pytest.importorskip("onnx", reason="onnx is not installed, which reads graphs")

C, H, N, T = 3, 4, 2, 3


class Graph:
    """Gathers nodes as the exporter writes them."""

    def __init__(self):
        self.nodes, self.constants, self.shapes, self.count = [], {}, [], 0
        self.node("Transpose", "x", output="steps", perm=[1, 0, 2])
        batch = self.node("Shape", "x", start=0, end=1)
        shape = self.node("Concat", self.whole(1), batch, self.whole(H), axis=0)
        self.zeros = self.node("Expand", self.constant(np.float32(0)), shape)

    def node(self, kind, *inputs, output=None, **attributes):
        self.count += 1
        output = output or f"v{self.count}"
        self.nodes.append(onnx.helper.make_node(kind, inputs, [output], **attributes))
        return output

    def constant(self, array):
        name = f"c{len(self.constants)}"
        self.constants[name] = np.asarray(array)
        return name

    def whole(self, *values):
        return self.constant(np.array(values, np.int64))

    def linear(self, value, weight, bias):
        value = self.node("MatMul", value, weight)
        return self.node("Add", value, bias) if bias else value

    def loop(self, x, size, seed, bias=True, reverse=False, steps=range(T), kind="Tanh", zeros=None, other=None):
        """Write a loop; return the h of its steps, and its arrays."""
        arrays = [normal(seed + k, *shape, dtype="float32") for k, shape in enumerate([(size, H), (H, H), (H,), (H,)])]
        w, r, b, c = (self.constant(array) for array in arrays)
        before = self.linear(x, w, b if bias else None)
        if reverse:
            before = self.node("Slice", before, self.whole(-1), self.whole(-(2**63)), self.whole(0), self.whole(-1))
        h, outputs = self.node("Unsqueeze", zeros or self.zeros_of_layer(), self.whole(0)), []
        for t in steps:
            part = self.node("Slice", before, self.whole(t), self.whole(t + 1), self.whole(0))
            part = self.node("Squeeze", part, self.whole(0))
            weight = other if other and t == 1 else r
            h = self.node(kind, self.node("Add", self.linear(h, weight, c if bias else None), part))
            self.shapes.append(onnx.helper.make_tensor_value_info(h, 1, [1, "n", H]))
            outputs.append(h)
        return outputs, arrays

    def zeros_of_layer(self):
        return self.node(
            "Squeeze", self.node("Slice", self.zeros, self.whole(0), self.whole(1), self.whole(0)), self.whole(0)
        )

    def proto(self, y, steps=T, more=()):
        inputs = [onnx.helper.make_tensor_value_info("x", 1, ["n", steps, C]), *more]
        graph = onnx.helper.make_graph(
            self.nodes, "net", inputs, [onnx.helper.make_tensor_value_info(y, 1, None)],
            [onnx.numpy_helper.from_array(array, name) for name, array in self.constants.items()], value_info=self.shapes,
        )  # fmt: skip
        return onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 20)], ir_version=10)


def reference(proto, x):
    from onnx.reference import ReferenceEvaluator

    return ReferenceEvaluator(proto).run(None, {"x": x})[0]


@pytest.mark.parametrize(("bias", "kind"), [(True, "Tanh"), (False, "Relu")])
@pytest.mark.parametrize("after", ["all", "final"])
def test_one_direction(bias, kind, after):
    graph = Graph()
    first, arrays = graph.loop("steps", C, 0, bias=bias, kind=kind)
    second, _ = graph.loop(graph.node("Concat", *first, axis=0), H, 9, bias=bias, kind=kind)
    if after == "all":
        y = graph.node("Transpose", graph.node("Concat", *second, axis=0), perm=[1, 0, 2])
    else:
        y = graph.node("Squeeze", second[-1], graph.whole(0))
    proto, x = graph.proto(y), normal(20, N, T, C, dtype="float32")
    model = from_onnx(proto)
    assert model.layers == (
        RNN(H, activation=kind.lower(), bias=bias),
        RNN(H, activation=kind.lower(), bias=bias, return_sequences=after == "all"),
    )
    assert np.array_equal(model.params["rnn.weight_ih_l0"], arrays[0].T)
    assert np.array_equal(model.params["rnn.weight_hh_l0"], arrays[1].T)
    assert_close(model.forward(x)[0], reference(proto, x), 2e-6)


def test_both_directions():
    graph = Graph()
    forward, _ = graph.loop("steps", C, 0)
    forward = graph.node("Concat", *forward, axis=0)
    backward, _ = graph.loop("steps", C, 9, reverse=True)
    backward = graph.node("Concat", *backward[::-1], axis=0)
    y = graph.node("Transpose", graph.node("Concat", forward, backward, axis=2), perm=[1, 0, 2])
    proto, x = graph.proto(y), normal(20, N, T, C, dtype="float32")
    model = from_onnx(proto)
    assert model.layers == (RNN(H, bidirectional=True),)
    assert_close(model.forward(x)[0], reference(proto, x), 2e-6)


@pytest.mark.parametrize("what", ["cut", "order", "start", "weights", "join"])
def test_other_loops_are_refused(what):
    graph, more, options = Graph(), [], {}
    if what == "order":
        options["steps"] = (0, 2, 1)
    if what == "start":
        more, options["zeros"] = [onnx.helper.make_tensor_value_info("h0", 1, ["n", H])], "h0"
    if what == "weights":
        options["other"] = graph.constant(normal(30, H, H, dtype="float32"))
    outputs, _ = graph.loop("steps", C, 0, **options)
    outputs = outputs[::-1] if what == "join" else outputs
    y = graph.node("Transpose", graph.node("Concat", *outputs, axis=0), perm=[1, 0, 2])
    with pytest.raises(InteropError, match=r"has 3 steps, and its input 5" if what == "cut" else "node"):
        from_onnx(graph.proto(y, steps=5 if what == "cut" else T, more=more))


def test_parameters_that_do_not_fit():
    graph = Graph()
    first = len(graph.constants)
    outputs, _ = graph.loop("steps", C, 0)
    graph.constants[f"c{first + 3}"] = np.zeros(H + 1, np.float32)
    y = graph.node("Transpose", graph.node("Concat", *outputs, axis=0), perm=[1, 0, 2])
    with pytest.raises(InteropError, match=rf"its loops: .* has biases of the lengths \[{H}, {H + 1}\], expected {H}"):
        from_onnx(graph.proto(y))


def test_directions_of_different_sizes():
    graph = Graph()
    forward = graph.node("Concat", *graph.loop("steps", C, 0)[0], axis=0)
    first = len(graph.constants)
    backward = graph.node("Concat", *graph.loop("steps", C, 9, reverse=True)[0][::-1], axis=0)
    graph.constants[f"c{first}"] = np.zeros((C, H + 1), np.float32)
    y = graph.node("Transpose", graph.node("Concat", forward, backward, axis=2), perm=[1, 0, 2])
    with pytest.raises(InteropError, match=rf"has W of the shapes \[\({H}, {C}\), \({H + 1}, {C}\)\]"):
        from_onnx(graph.proto(y))


def test_many_loops_that_share_a_bias_do_not_fill_the_memory():
    """Nodes of a kilobyte would otherwise make biases of two megabytes each."""
    graph, size, count = Graph(), 2**18, 200
    w, r, bias = (graph.constant(np.zeros(shape, np.float32)) for shape in ((C, size), (1, size), size))
    before = graph.linear("steps", w, bias)
    parts = [
        graph.node("Squeeze", graph.node("Slice", before, *map(graph.whole, (t, t + 1, 0))), graph.whole(0))
        for t in range(2)
    ]
    start = graph.node("Unsqueeze", graph.zeros_of_layer(), graph.whole(0))
    for _ in range(count):
        h = start
        for part in parts:
            h = graph.node("Tanh", graph.node("Add", graph.linear(h, r, bias), part))
            graph.shapes.append(onnx.helper.make_tensor_value_info(h, 1, [1, "n", H]))
    proto = graph.proto(h)
    tracemalloc.start()
    try:
        with pytest.raises(InteropError, match="its constants are more than the file has"):
            from_onnx(proto)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 6 * proto.ByteSize() < count * 2 * 4 * size / 2
