"""Loops over time that an exporter has unrolled, to the nodes RNN that they are.

torch's exporter writes plain recurrent layers so: a product with the input, and its bias, of all steps; then for each step a slice
of it, a product with the h before, its bias, a sum and an activation; at the end the h of all steps, joined. How many steps there
are is a property of such a graph, which the node RNN is given along (``steps``) to be compared with the input. The model takes any
number.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from numbarnn.errors import ShapeError
from numbarnn.interop.onnx.values import Constant

ACTIVATIONS = ("Tanh", "Relu", "Sigmoid")
ALL = -(2**31)  # an end of a slice from the last index to the first is at or below this


@dataclass
class Step:
    """One step: output = activation(source[index] + (hidden @ weight + bias))."""

    output: str
    activation: str
    source: str
    index: int
    hidden: str
    weight: str
    bias: str


@dataclass
class Loop:
    """All steps of a loop, in their order.

    Attributes
    ----------
    steps : list of Step
    x, weight, bias : str
        The input of all steps, and the parameters that it is projected with.
    reverse : bool
    joined : str
        The h of all steps, in the order of the input; empty where only the last one is used.
    """

    steps: list[Step]
    x: str
    weight: str
    bias: str
    reverse: bool
    joined: str


def rolled(graph, state) -> list:
    """Return the nodes of a graph with its unrolled loops as nodes RNN.

    Parameters
    ----------
    graph : onnx.GraphProto
    state : State
        Before any node is read; the values of the new nodes are entered.
    """
    reader = _Graph(graph, state.values)
    loops = list(reader.loops())
    if not loops:
        return list(graph.node)
    new, joined = {}, {loop.joined: loop for loop in loops if loop.joined}
    for node in graph.node:  # both directions of a layer
        pair = [joined.get(name) for name in node.input]
        if node.op_type == "Concat" and len(pair) == 2 and all(pair) and reader.attribute(node, "axis") in (2, -1):
            forward, backward = pair
            alike = forward.x == backward.x and len(forward.steps) == len(backward.steps)
            if alike and (forward.reverse, backward.reverse) == (False, True):
                new[node.output[0]] = _both(forward, backward, node.output[0], state)
                loops = [loop for loop in loops if loop not in pair]
    for loop in loops:
        new[loop.steps[-1].output] = _one(loop, state)
    return _needed(graph, new, {loop.joined for loop in loops})


class _Graph:
    """Looks for steps in a graph."""

    def __init__(self, graph, values):
        self.graph, self.values = graph, values
        self.made = {name: node for node in graph.node for name in node.output}
        self.shapes = {value.name: value.type.tensor_type.shape.dim for value in graph.value_info}

    def loops(self) -> Iterator[Loop]:
        """Yield the loops."""
        steps = [step for node in self.graph.node if (step := self.step(node))]
        by_hidden = {step.hidden: step for step in steps}
        joined = {}
        for node in self.graph.node:
            if node.op_type == "Concat" and node.output and self.attribute(node, "axis") == 0:
                joined[tuple(node.input)] = node.output[0]
        for step in steps:
            if step.index != 0:
                continue
            found = [step]
            while (after := by_hidden.get(found[-1].output)) and self.goes_on(found[-1], after):
                found.append(after)
            source, reverse = self.flipped(step.source)
            x, weight, bias = self.product(source)
            outputs = tuple(one.output for one in found)
            if x and len(found) > 1 and self.has_shape(outputs[-1]):
                yield Loop(found, x, weight, bias, reverse, joined.get(outputs[::-1] if reverse else outputs, ""))

    def step(self, node) -> Step | None:
        """Return the step that ends with a node."""
        if node.op_type not in ACTIVATIONS or len(node.output) != 1:
            return None
        for part, other in self.terms(node.input[0] if node.input else ""):
            source, index = self.at_index(part)
            hidden, weight, bias = self.product(other)
            if source and hidden:
                return Step(node.output[0], node.op_type, source, index, hidden, weight, bias)
        return None

    def goes_on(self, step, after) -> bool:
        """Return whether a step comes after another of the same loop."""
        same = all(getattr(step, name) == getattr(after, name) for name in ("activation", "source", "weight", "bias"))
        return same and after.index == step.index + 1

    def terms(self, name) -> list[tuple[str, str]]:
        """Return the two terms of a sum, in both orders."""
        node = self.made.get(name)
        if node is None or node.op_type != "Add" or len(node.input) != 2:
            return []
        first, second = node.input
        return [(first, second), (second, first)]

    def product(self, name) -> tuple[str, str, str]:
        """Return value, matrix and bias ("": none) of a product with a constant matrix; empty names where it is none."""
        for value, bias in [*self.terms(name), (name, "")]:
            node = self.made.get(value)
            is_product = node is not None and node.op_type == "MatMul" and len(node.input) == 2
            if is_product and self.dimensions(node.input[1]) == 2 and (not bias or self.dimensions(bias) == 1):
                return node.input[0], node.input[1], bias
        return "", "", ""

    def at_index(self, name) -> tuple[str, int]:
        """Return the value of which another is one step, along the first axis, and which."""
        node = self.made.get(name)
        if node is None or node.op_type != "Squeeze" or len(node.input) != 2 or self.integer(node.input[1]) != 0:
            return "", 0
        source, start, end, step = self.slice_of(node.input[0])
        return (source, start) if start is not None and step == 1 and end == start + 1 else ("", 0)

    def flipped(self, name) -> tuple[str, bool]:
        """Return the value of which another is the reverse along the first axis, and whether it is."""
        source, start, end, step = self.slice_of(name)
        backwards = source and (start, step) == (-1, -1) and end <= ALL
        return (source, True) if backwards else (name, False)

    def slice_of(self, name) -> tuple:
        """Return what is cut along the first axis, and start, end and step; an empty name where it is none."""
        node = self.made.get(name)
        if node is None or node.op_type != "Slice" or len(node.input) not in (4, 5):
            return "", None, None, None
        start, end, axis, *step = [self.integer(given) for given in node.input[1:]]
        step = step[0] if step else 1
        whole = axis == 0 and None not in (start, end, step)
        return (node.input[0], start, end, step) if whole else ("", None, None, None)

    def integer(self, name) -> int | None:
        """Return the integer of a constant."""
        array = getattr(self.values.get(name), "array", None)
        return int(array.reshape(-1)[0]) if array is not None and array.size == 1 and array.dtype.kind == "i" else None

    def dimensions(self, name) -> int | None:
        """Return the number of axes of a constant of numbers."""
        array = getattr(self.values.get(name), "array", None)
        return array.ndim if array is not None and array.dtype.kind == "f" else None

    def has_shape(self, name) -> bool:
        """Return whether the graph says that an h is of the shape (1, samples, H)."""
        shape = self.shapes.get(name, ())
        return len(shape) == 3 and shape[0].dim_value == 1

    @staticmethod
    def attribute(node, name) -> int | None:
        """Return an integer attribute."""
        return next((attribute.i for attribute in node.attribute if attribute.name == name), None)


def _one(loop, state) -> list:
    """Return the nodes of one direction."""
    from onnx import helper

    last = loop.steps[-1].output
    every = f"{last}/Y"
    nodes = [_node(last, [loop], loop.steps[0].hidden, [every, last], "reverse" if loop.reverse else "forward", state)]
    return nodes + ([helper.make_node("Squeeze", [every], [loop.joined], axes=[1])] if loop.joined else [])


def _both(forward, backward, joined, state) -> list:
    """Return the nodes of both directions."""
    from onnx import helper

    every, turned, shape, start = (f"{joined}/{part}" for part in ("Y", "turned", "shape", "start"))
    starts = [loop.steps[0].hidden for loop in (forward, backward)]
    state.values[shape] = Constant(np.array([0, 0, -1]))
    return [
        helper.make_node("Concat", starts, [start], axis=0),
        _node(joined, [forward, backward], start, [every], "bidirectional", state),
        helper.make_node("Transpose", [every], [turned], perm=[0, 2, 1, 3]),
        helper.make_node("Reshape", [turned, shape], [joined]),
    ]


def _node(name, loops, start, outputs, direction, state):
    """Return the node RNN of the loops of all directions, which begin with h of a name, and enter its weights."""
    from onnx import helper

    def array(key):
        return state.values[key].array

    parts = {"W": [array(loop.weight).T for loop in loops], "R": [array(loop.steps[0].weight).T for loop in loops]}
    hidden, dtype = len(parts["W"][0]), parts["W"][0].dtype
    for key, arrays in parts.items():
        shapes = sorted({part.shape for part in arrays})
        if len(shapes) > 1 or shapes[0][0] != hidden:
            raise ShapeError(f"{name!r} has {key} of the shapes {shapes}, expected one of {hidden} rows")
    biases = [key for loop in loops for key in (loop.bias, loop.steps[0].bias)]
    if any(biases):
        lengths = sorted({len(array(key)) for key in biases if key} | {hidden})
        if len(lengths) > 1:
            raise ShapeError(f"{name!r} has biases of the lengths {lengths}, expected {hidden}")
        state.afford(len(biases) * hidden * dtype.itemsize)  # before they are made
        whole = np.concatenate([array(key) if key else np.zeros(hidden, dtype) for key in biases])
        state.values[f"{name}/B"] = state.fold(whole.reshape(len(loops), 2 * hidden))
    for key, arrays in parts.items():
        if len(arrays) > 1:
            state.afford(sum(part.nbytes for part in arrays))
            state.values[f"{name}/{key}"] = state.fold(np.stack(arrays))
        else:
            state.values[f"{name}/{key}"] = Constant(arrays[0][None])
    inputs = [loops[0].x, f"{name}/W", f"{name}/R", f"{name}/B" if any(biases) else ""]
    activations = [loop.steps[0].activation for loop in loops]
    inputs += ["", start]
    return helper.make_node(
        "RNN", inputs, outputs, name=f"loop {name}", direction=direction, activations=activations,
        steps=len(loops[0].steps),
    )  # fmt: skip


def _needed(graph, new, joined) -> list:
    """Return the nodes of a graph in order, with new ones for some outputs, without the joins that these make and unused nodes."""
    nodes = []
    for node in graph.node:
        name = node.output[0] if node.output else ""
        nodes += new.get(name, [] if name and name in joined else [node])
    needed, kept = {result.name for result in graph.output}, []
    for node in reversed(nodes):
        if needed & set(node.output):
            needed |= set(node.input)
            kept.append(node)
    return kept[::-1]
