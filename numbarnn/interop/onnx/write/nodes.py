"""The nodes of a graph that is written: operators, constants and what they compute of the lengths."""

import numpy as np
from onnx import TensorProto, helper, numpy_helper


class Writer:
    """Gathers the nodes of a graph; values are names. Sequences are (steps, samples, features) inside.

    Parameters
    ----------
    model : Model
    opset : int
    states : bool
        Whether initial states are inputs and final ones outputs.
    lengths : bool
        Whether lengths are an input.

    Attributes
    ----------
    dtype, integers, int32 : int
        Element types of the model's values, of tokens and sizes, and of lengths.
    nodes, initializers, inputs, outputs : list
        Of the graph.
    lengths : str
        The name of the lengths; empty where there are none.
    """

    def __init__(self, model, opset: int, states: bool, lengths: bool):
        self.model, self.opset, self.states = model, opset, states
        self.dtype = TensorProto.FLOAT if model.dtype == np.float32 else TensorProto.DOUBLE
        self.integers, self.int32 = TensorProto.INT64, TensorProto.INT32
        self.nodes, self.initializers, self.inputs, self.outputs = [], [], [], []
        self.lengths = "lengths" if lengths else ""
        self._count = 0
        self._valid = self._some = None

    def node(self, kind: str, *inputs: str, output: str | None = None, **attributes) -> str:
        """Append a node, and return the name of its output."""
        self._count += 1
        output = output or f"v{self._count}"
        self.nodes.append(helper.make_node(kind, inputs, [output], name=f"{kind}_{self._count}", **attributes))
        return output

    def nodes_of(self, kind: str, inputs: list[str], outputs: list[str], name: str, **attributes) -> None:
        """Append a node with a name and outputs of its own; inputs at the end that are left out are so by being absent."""
        while not inputs[-1]:
            inputs = inputs[:-1]
        self.nodes.append(helper.make_node(kind, inputs, outputs, name=name, **attributes))

    def constant(self, array, name: str | None = None) -> str:
        """Append an array, and return its name."""
        self._count += 1
        name = name or f"c{self._count}"
        self.initializers.append(numpy_helper.from_array(np.array(array, order="C"), name))
        return name

    def whole(self, *values: int) -> str:
        """Return a vector of integers."""
        return self.constant(np.array(values, np.int64))

    def number(self, value: float) -> str:
        """Return a number of the model's dtype."""
        return self.constant(np.array(value, self.model.dtype))

    def input(self, name: str, dtype: int, shape: list) -> None:
        """Append an input of the graph."""
        self.inputs.append(helper.make_tensor_value_info(name, dtype, shape))

    def output(self, name: str, shape: list) -> None:
        """Append an output of the graph."""
        self.outputs.append(helper.make_tensor_value_info(name, self.dtype, shape))

    def valid(self) -> str:
        """Return 1 at valid steps and 0 past them, (steps, samples, 1)."""
        if self._valid is None:
            shape = self.node("Shape", "x")
            steps = self.node("Squeeze", self.node("Slice", shape, self.whole(1), self.whole(2)))
            steps = self.node("Range", self.constant(np.int64(0)), steps, self.constant(np.int64(1)))
            lengths = self.node("Cast", self.lengths, to=self.integers)
            below = self.node("Less", self.node("Unsqueeze", steps, self.whole(1)), lengths)
            self._valid = self.node("Unsqueeze", self.node("Cast", below, to=self.dtype), self.whole(2))
        return self._valid

    def some(self) -> str:
        """Return whether samples have steps, (samples, 1)."""
        if self._some is None:
            found = self.node("Greater", self.lengths, self.constant(np.int32(0)))
            self._some = self.node("Unsqueeze", found, self.whole(1))
        return self._some

    def zero_of_empty(self, y: str) -> str:
        """Return values of samples, 0 of those without steps."""
        return self.node("Where", self.some(), y, self.number(0))
