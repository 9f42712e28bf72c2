"""A graph, node by node, to the model of its chain of layers."""

from dataclasses import replace

from numbarnn.errors import ShapeError
from numbarnn.interop.onnx.activations import FUNCTIONS
from numbarnn.interop.onnx.read.lengths import derived, is_derived
from numbarnn.interop.onnx.read.node import Node
from numbarnn.interop.onnx.read.operators import OPERATORS, PASS_STATES
from numbarnn.interop.onnx.read.state import State, is_features
from numbarnn.interop.onnx.read.tensors import Tensors
from numbarnn.interop.onnx.read.unrolled import rolled
from numbarnn.interop.onnx.values import Constant, Factor, Input, Output
from numbarnn.model import Model

# The oldest operators that are read: those before broadcast as NumPy does not.
OLDEST = 7
INTEGERS, FLOATS = (6, 7), (1, 11)  # element types of inputs


def model_of(proto, folder: str | None = None) -> Model:
    """Return the model of a ModelProto; raise InteropError for what stands in the way.

    Parameters
    ----------
    proto : onnx.ModelProto
    folder : str or None
        That of the file, in which weights may have files of their own.
    """
    graph = proto.graph
    opsets = [entry.version for entry in proto.opset_import if entry.domain in ("", "ai.onnx")]
    opset = opsets[0] if opsets else 1
    tensors = Tensors(folder)
    state = State({result.name for result in graph.output}, opset, proto.ByteSize(), tensors)
    reasons = state.chain.reasons
    if opset < OLDEST:
        reasons.append(f"its operators are of version {opset}; save it with {OLDEST} or later")
    if graph.sparse_initializer:
        reasons.append("it has sparse initializers")
    state.chain.refuse_if_reasons()
    state.values |= _given(graph, tensors)
    try:
        nodes = rolled(graph, state)
    except ShapeError as error:
        reasons.append(f"its loops: {error}")
        nodes = []
    for node in nodes:
        if not _read(state, node):
            break  # what comes after it would be without a value
    state.chain.refuse_if_reasons()
    reasons += _reasons_of_output(state, graph)
    reasons += _reasons_of_lengths(state)
    return state.chain.model()


def _given(graph, tensors) -> dict:
    """Return the values that there are before any node."""
    given = {tensor.name: tensor for tensor in graph.initializer}
    values = {name: Constant(tensors.array_of(tensor, f"initializer {name!r}")) for name, tensor in given.items()}
    return values | {value.name: _input(graph, value) for value in graph.input if value.name not in given}


def _input(graph, given):
    """Return the value of an input: tokens or features with two or three axes, or something beside the sequence."""
    kind = given.type.tensor_type
    dims = [dim.dim_value if dim.HasField("dim_value") else None for dim in kind.shape.dim]
    if kind.elem_type in INTEGERS and len(dims) in (2, 3):
        axes = tuple((Factor(f"axis{k}", size or f"{given.name}{k}"),) for k, size in enumerate(dims))
        return Output(axes, 0, tokens=given.name)
    if kind.elem_type in FLOATS and len(dims) == 3 and not _is_state(graph, given.name):
        axes = [(Factor(f"axis{k}", dims[k] or f"{given.name}{k}"),) for k in range(2)]
        return Output((*axes, (Factor("features", dims[2] or f"{given.name}2"),)), 0)
    return Input(given.name)


def _is_state(graph, name) -> bool:
    """Return whether an input is an initial state of a node, or part of one."""
    names = {name}
    for node in graph.node:
        if node.op_type in FUNCTIONS and names & set(node.input[5:7]):
            return True
        if node.op_type in PASS_STATES and names & set(node.input[:1]):
            names.update(node.output)
    return False


def _read(state, proto) -> bool:
    """Read a node, and enter its outputs; return False, with the reason noted, where it cannot be."""
    where = f"node {proto.name or (proto.output[0] if proto.output else '')!r} ({proto.op_type})"
    inputs = [state.values.get(name) for name in proto.input]
    unknown = [name for name in proto.input if name not in state.values]
    operator = derived if is_derived(proto.op_type, inputs) else OPERATORS.get(proto.op_type)
    try:
        if operator is None or proto.domain not in ("", "ai.onnx"):
            raise ValueError("it has no counterpart in numbarnn")
        if unknown:
            raise ValueError(f"it takes {unknown[0]!r}, which no node before it gives")
        attributes = {attribute.name: state.tensors.attribute_of(attribute) for attribute in proto.attribute}
        found = operator(state, Node(proto.op_type, where, inputs, list(proto.output), attributes))
    except AttributeError:  # of a value of another kind
        state.chain.reasons.append(f"{where}: it takes something other than what it takes in a chain of layers")
        return False
    except (ArithmeticError, IndexError, KeyError, TypeError, ValueError) as error:
        state.chain.reasons.append(f"{where}: {error}")
        return False
    state.values.update(zip(proto.output, found if isinstance(found, list) else [found], strict=False))
    state.values[""] = None
    return True


def _reasons_of_output(state, graph) -> list[str]:
    """Return why the outputs of a graph are not those of a model."""
    outputs = [(result.name, state.values.get(result.name)) for result in graph.output]
    values = [(name, value) for name, value in outputs if isinstance(value, Output) and not value.cell]
    main = [(name, value) for name, value in values if value.final is None] or values[:1]
    if len(main) != 1:
        names = ", ".join(repr(name) for name, _ in main or outputs)
        return [f"the graph must have one output of a layer besides final states, it has {names or 'none'}"]
    ((name, value),) = main
    try:
        value = state.newest(replace(value, ended=False))
        within = [factor.tag for axis in value.axes[:-1] for factor in axis]
        if not value.axes or not is_features(value.axes[-1]) or "features" in within:
            raise ShapeError("its features are not along the last axis, those of the forward direction first")
    except ValueError as error:
        return [f"output {name!r}: {error}"]
    return []


def _reasons_of_lengths(state) -> list[str]:
    """Return where nodes differ in what they know of the lengths."""
    reasons = []
    if len(state.node_lengths) > 1 or (state.masked and None in state.node_lengths):
        reasons.append("some nodes have lengths and some do not; numbarnn has the same for all")
    if (state.masked or state.lengths is not None) and state.pooled:
        reasons.append(f"{state.pooled[0]} takes steps of the padding too, though the recurrent nodes have lengths")
    return reasons
