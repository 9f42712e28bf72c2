"""ONNX graphs to models: a chain of layers, followed node by node."""

import os
from dataclasses import replace

import numpy as np

from numbarnn.checks import brief
from numbarnn.errors import InteropError, ShapeError
from numbarnn.interop.chain import Chain
from numbarnn.interop.gates import ONNX, OURS, PEEPHOLES, reordered
from numbarnn.interop.onnx_values import Constant, Derived, Factor, Input, Output, Sizes, States, Zeros, size_of
from numbarnn.layers import GRU, LSTM, RNN, Activation, Dense, Embedding, EmbeddingBag, OneHot, Pool, Recurrent
from numbarnn.model import Model

KINDS = {"RNN": RNN, "LSTM": LSTM, "GRU": GRU}
GATE_ACTIVATIONS = {"LSTM": ["Sigmoid", "Tanh", "Tanh"], "GRU": ["Sigmoid", "Tanh"]}
RNN_ACTIVATIONS = {"Tanh": "tanh", "Relu": "relu", "Sigmoid": "logistic", "Affine": "identity"}
ACTIVATIONS = {"Tanh": "tanh", "Relu": "relu", "Sigmoid": "logistic"}
SUFFIXES = {"forward": ("_l0",), "reverse": ("_l0_reverse",), "bidirectional": ("_l0", "_l0_reverse")}
ORDER = "samples", "steps"
# Operators between an input of initial states and a node.
CUTTING = ("Slice", "Identity")
FEATURES = ("directions", "features")
# Bytes that folding constants may make, for every byte of the file, and besides.
FOLDED, SPARE = 2, 2**20
# Operators that make masks and indices of lengths and tokens, and what `to_onnx` makes of them: whether a sample has steps, which
# steps are valid, how many, the last of them; which tokens of a bag there are, and their rows.
DERIVING = ("Cast", "Expand", "Greater", "GreaterOrEqual", "Less", "Max", "Sub", "Unsqueeze")
SOME = "unsqueeze(greater({lengths},0),1)"
VALID = "unsqueeze(cast(less(unsqueeze(range(0,{steps},1),1),cast({lengths}))),2)"
KNOWN = f"greater({VALID},0)"
COUNT = "unsqueeze(cast(max({lengths},1)),1)"
LAST = "expand(unsqueeze(max(sub(cast({lengths}),1),0),[0,2]),[1,1,{size}])"
BAG, BAG_ROWS = "unsqueeze(cast(greaterorequal({tokens},0)),3)", "max({tokens},0)"
# The oldest operators that are read: those before broadcast as NumPy does not.
OLDEST = 7


def from_onnx(source) -> Model:
    """Return the model of an ONNX graph that is a chain of layers.

    Nodes RNN, LSTM and GRU become recurrent layers; MatMul, Gemm and Add dense ones; Gather of a matrix' rows and OneHot layers
    for tokens; Tanh, Relu and Sigmoid activations; a mean, maximum or the last step of all steps a `Pool`, or
    ``return_sequences=False``. What moves axes (Transpose, Reshape, Squeeze, Unsqueeze, Gather, Slice, Concat ...) and computes
    sizes is followed without running it, as the exporters of torch write it.

    Parameters
    ----------
    source : path-like, bytes or onnx.ModelProto
        Weights in a file of their own, as torch writes them, are read from the folder of a path.

    Returns
    -------
    Model
        It reads (samples, time steps, features) or tokens (samples, time steps), in whichever order the graph has these axes;
        lengths (``sequence_lens``) and states, where the graph has them as inputs, are arguments of `Model.forward`. A last Softmax
        becomes `Model.predict_proba`.

    Raises
    ------
    InteropError
        If the graph has a node that numbarnn does not compute, or is not a chain; `reasons` name the nodes.
    FileNotFoundError
        If there is no such file.
    ModuleNotFoundError
        If onnx is not installed.

    Examples
    --------
    >>> model = from_onnx("tagger.onnx")  # doctest: +SKIP
    >>> outputs, state = model.forward(x)  # doctest: +SKIP
    """
    folder = os.path.dirname(os.path.abspath(os.fspath(source))) if isinstance(source, (str, os.PathLike)) else None
    reader = _Reader(_read(source), folder)
    reader.read()
    return reader.model()


def _read(source):
    """Return the ModelProto of a source."""
    content, what = source, "source"
    if isinstance(source, (str, os.PathLike)):
        with open(source, "rb") as file:
            content = file.read()
        what = repr(os.fspath(source))
    try:
        import onnx
    except ModuleNotFoundError:
        raise ModuleNotFoundError("from_onnx needs onnx: pip install 'numbarnn[onnx]'") from None
    if isinstance(source, onnx.ModelProto):
        return source
    if not isinstance(content, (bytes, bytearray, memoryview)):
        raise TypeError(f"source must be a path, bytes or onnx.ModelProto, got {brief(source)}")
    proto = onnx.ModelProto()
    try:
        proto.ParseFromString(bytes(content))
    except Exception as error:  # of protobuf, whose module depends on its version
        raise InteropError(f"{what} cannot be converted:", [f"it is not an ONNX file ({error})"]) from None
    return proto


class _Reader:
    """Follows a graph from node to node; each operator is a method of its name."""

    def __init__(self, proto, folder=None):
        self.graph, self.chain, self.folder = proto.graph, Chain("ONNX graph"), folder
        self.values: dict[str, object] = {"": None}
        self.known = {}  # what the axes of the input are, as a recurrent node tells
        self.version = 0  # rises with every layer, and every change of one: older values are then of another chain
        opsets = [entry.version for entry in proto.opset_import if entry.domain in ("", "ai.onnx")]
        self.opset = opsets[0] if opsets else 1
        self.budget = FOLDED * proto.ByteSize() + SPARE
        self.lengths = None  # the name of the input, once a node has told
        self.node_lengths: set[str | None] = set()  # of every recurrent node
        self.masked = False
        self.used_states: dict[str, int] = {}  # rows of inputs of states that nodes have taken
        self.pooled_nodes: list[str] = []

    # The graph

    def read(self):
        from onnx import numpy_helper

        self.to_array = numpy_helper.to_array
        if self.opset < OLDEST:
            self.chain.reasons.append(f"its operators are of version {self.opset}; save it with {OLDEST} or later")
        graph = self.graph
        tensors = {tensor.name: tensor for tensor in graph.initializer}
        if graph.sparse_initializer:
            self.chain.reasons.append("it has sparse initializers")
        self.chain.refuse_if_reasons()
        for name, tensor in tensors.items():
            self.values[name] = Constant(self._array(tensor, f"initializer {name!r}"))
        for given in graph.input:
            if given.name not in tensors:
                self.values[given.name] = self._input(given)
        self.chain.refuse_if_reasons()
        for node in graph.node:
            where = f"node {node.name or (node.output[0] if node.output else '')!r} ({node.op_type})"
            operator = getattr(self, f"op_{node.op_type.lower()}", None)
            given = [self.values.get(name) for name in node.input]
            if node.op_type in DERIVING and any(map(self._is_deriving, given)):
                operator = self._derived
            if operator is None or not node.op_type.isalnum() or node.domain not in ("", "ai.onnx"):
                self.chain.reasons.append(f"{where} has no counterpart in numbarnn")
                break  # what comes after it would be without a value
            unknown = [name for name in node.input if name not in self.values]
            if unknown:
                self.chain.reasons.append(f"{where} takes {unknown[0]!r}, which no node before it gives")
                break
            try:
                attributes = {attribute.name: self._attribute(attribute) for attribute in node.attribute}
                found = operator(node, given, attributes)
            except AttributeError:  # of a value of another kind
                self.chain.reasons.append(f"{where}: it takes something other than what it takes in a chain of layers")
                break
            except (ArithmeticError, IndexError, KeyError, TypeError, ValueError) as error:
                self.chain.reasons.append(f"{where}: {error}")
                break
            found = found if isinstance(found, list) else [found]
            self.values.update(zip(node.output, found, strict=False))
            self.values[""] = None

    def model(self) -> Model:
        """Return the model; raise InteropError for what stands in the way."""
        self.chain.refuse_if_reasons()
        outputs = [(result.name, self.values.get(result.name)) for result in self.graph.output]
        values = [(name, value) for name, value in outputs if isinstance(value, Output) and not value.cell]
        main = [(name, value) for name, value in values if value.final is None] or values[:1]
        if len(main) != 1:
            names = ", ".join(repr(name) for name, _ in main or outputs)
            self.chain.reasons.append(
                f"the graph must have one output of a layer besides final states, it has {names or 'none'}"
            )
        else:
            try:
                value = self._newest(replace(main[0][1], ended=False))
                tags = [[factor.tag for factor in axis] for axis in value.axes]
                within = [tag for axis in tags[:-1] for tag in axis]
                if not tags or not _is_features(tags[-1]) or "features" in within:
                    raise ShapeError("its features are not along the last axis, those of the forward direction first")
            except ValueError as error:
                self.chain.reasons.append(f"output {main[0][0]!r}: {error}")
        if len(self.node_lengths) > 1 or (self.masked and None in self.node_lengths):
            self.chain.reasons.append("some nodes have lengths and some do not; numbarnn has the same for all")
        if (self.masked or self.lengths is not None) and self.pooled_nodes:
            self.chain.reasons.append(
                f"{self.pooled_nodes[0]} takes steps of the padding too, though the recurrent nodes have lengths"
            )
        self.chain.refuse_if_reasons()
        return self.chain.model()

    def _array(self, tensor, where):
        """Return the array of a tensor, which may be in a file beside that of the graph."""
        from onnx import external_data_helper as external

        try:
            if external.uses_external_data(tensor):
                if self.folder is None:
                    raise ValueError("it is in another file: pass the path of the graph, or save it as one file")
                external.load_external_data_for_tensor(tensor, self.folder)  # no path out of the folder
            return self.to_array(tensor)
        except Exception as error:  # whatever a damaged tensor makes onnx and NumPy raise
            raise InteropError("the ONNX graph cannot be converted:", [f"{where}: {error}"]) from None

    def _attribute(self, attribute):
        """Return the value of an attribute."""
        kind = attribute.type
        if kind == 4:
            return self._array(attribute.t, f"attribute {attribute.name!r}")
        found = {
            1: lambda: attribute.f, 2: lambda: attribute.i, 3: lambda: attribute.s.decode("utf-8", "replace"),
            6: lambda: list(attribute.floats), 7: lambda: list(attribute.ints),
            8: lambda: [text.decode("utf-8", "replace") for text in attribute.strings],
        }  # fmt: skip
        return found[kind]() if kind in found else None

    def _input(self, given):
        """Return the value of an input: tokens or features with two or three axes, or something beside the sequence."""
        kind = given.type.tensor_type
        dims = [dim.dim_value if dim.HasField("dim_value") else None for dim in kind.shape.dim]
        integers, floats = kind.elem_type in (6, 7), kind.elem_type in (1, 11)
        if integers and len(dims) in (2, 3):
            axes = tuple((Factor(f"axis{k}", size or f"{given.name}{k}"),) for k, size in enumerate(dims))
            return Output(axes, 0, tokens=given.name)
        if floats and len(dims) == 3 and not self._is_state(given.name):
            axes = [(Factor(f"axis{k}", dims[k] or f"{given.name}{k}"),) for k in range(2)]
            return Output((*axes, (Factor("features", dims[2] or f"{given.name}2"),)), 0)
        return Input(given.name)

    def _is_state(self, name):
        """Return whether an input is an initial state of a node, or part of one."""
        names = {name}
        for node in self.graph.node:
            if node.op_type in KINDS and names & set(node.input[5:7]):
                return True
            if node.op_type in CUTTING and names & set(node.input[:1]):
                names.update(node.output)
        return False

    # Values

    def _newest(self, value) -> Output:
        """Return a value that the chain goes on with; raise unless it is that of the newest layer."""
        if not isinstance(value, Output):
            raise ShapeError("it takes something other than the output of the layer before")
        if value.version != self.version:
            raise ShapeError(
                "it takes the output of an earlier layer: numbarnn has chains of layers, without skips or branches"
            )
        if value.ended:
            raise ShapeError("it goes on after a softmax: probabilities are made of the outputs alone")
        if value.cell:
            raise ShapeError("it goes on with the cell state c of an LSTM; layers give h")
        if value.direction is not None:
            raise ShapeError("it takes one of two directions; numbarnn goes on with both")
        if value.final is not None:
            self._change(value.final, return_sequences=False)
            value = replace(value, final=None, version=self.version)
        return value

    def _add(self, layer, **arrays):
        """Append a layer."""
        self.chain.add(layer, **arrays)
        self.version += 1

    def _change(self, index, **options):
        """Change the options of a layer: values made before are then of another chain."""
        self.chain.layers[index] = replace(self.chain.layers[index], **options)
        self.version += 1

    def _features(self, value) -> tuple[Output, int | str]:
        """Return the newest value and its features, which are along the last axis."""
        value = self._newest(value)
        if value.tokens:
            raise ShapeError("it takes integers; numbarnn reads tokens by Embedding or OneHot")
        if value.masked in ("rows", "bag", "sum"):
            raise ShapeError("it takes a sum that is not complete")
        last = value.axes[-1]
        tags = [factor.tag for factor in last]
        if not _is_features(tags):
            raise ShapeError("it works along another axis than the features")
        if any(factor.tag in FEATURES and factor.size != 1 for axis in value.axes[:-1] for factor in axis):
            raise ShapeError("features are along two axes, such as directions that are not joined")
        return value, size_of(last)

    def _after(self, value, size=None) -> Output:
        """Return the value that the layer just appended gives."""
        axes = value.axes if size is None else (*value.axes[:-1], (Factor("features", size),))
        return Output(axes, self.version)

    def _fold(self, array) -> Constant:
        """Return a constant made of constants; raise if a file would fill the memory with them."""
        self._afford(array.nbytes)
        self.budget -= array.nbytes
        return Constant(array)

    def _afford(self, count):
        """Raise if so many bytes are more than constants may have."""
        if count > self.budget:
            raise ShapeError("its constants are more than the file has")

    # Layers

    def op_rnn(self, node, inputs, attributes):
        return self._recurrent("RNN", node, inputs, attributes)

    def op_lstm(self, node, inputs, attributes):
        return self._recurrent("LSTM", node, inputs, attributes)

    def op_gru(self, node, inputs, attributes):
        return self._recurrent("GRU", node, inputs, attributes)

    def _recurrent(self, kind, node, inputs, attributes):
        x, w, r, b, lengths, *states = [*inputs, *[None] * (8 - len(inputs))]
        value, _ = self._features(x)
        direction = attributes.get("direction", "forward")
        if direction not in SUFFIXES:
            raise ValueError(f"direction {direction!r} is not one of {', '.join(SUFFIXES)}")
        suffixes = SUFFIXES[direction]
        hidden, layout = attributes.get("hidden_size"), attributes.get("layout", 0)
        gates = len(OURS[kind])
        arrays = {name: self._weights(value, name) for name, value in (("W", w), ("R", r)) if value is not None}
        hidden = arrays["R"].shape[-1] if hidden is None else hidden
        if not (isinstance(hidden, int) and 1 <= hidden <= 2**24):
            raise ValueError(f"hidden_size {brief(hidden)} is not a number of units")
        options = {
            "bidirectional": direction == "bidirectional",
            "reverse": direction == "reverse",
            "bias": b is not None,
        }
        options |= self._options(kind, attributes, len(suffixes))
        shapes = {
            "W": (len(suffixes), gates * hidden, arrays["W"].shape[-1]),
            "R": (len(suffixes), gates * hidden, hidden),
        }
        if b is not None:
            arrays["B"], shapes["B"] = self._weights(b, "B"), (len(suffixes), 2 * gates * hidden)
        peepholes = states[2] if kind == "LSTM" else None
        if peepholes is not None:
            arrays["P"], shapes["P"] = self._weights(peepholes, "P"), (len(suffixes), 3 * hidden)
            options["peepholes"] = True
        for name, shape in shapes.items():
            if arrays[name].shape != shape:
                raise ShapeError(f"{name} has the shape {arrays[name].shape}, expected {shape}")
        order = ("samples", "steps") if layout else ("steps", "samples")
        self._bind(value, order)
        self._check_states(states[:2], lengths, len(suffixes))
        values = {}
        for d, suffix in enumerate(suffixes):
            parts = [("weight_ih", arrays["W"][d]), ("weight_hh", arrays["R"][d])]
            if b is not None:
                parts += zip(("bias_ih", "bias_hh"), np.split(arrays["B"][d], 2), strict=True)
            values |= {name + suffix: reordered(kind, array, ONNX, OURS) for name, array in parts}
            if peepholes is not None:
                blocks = zip(PEEPHOLES, np.split(arrays["P"][d], 3), strict=True)
                values |= {f"weight_{name}{suffix}": array for name, array in blocks}
        self._add(KINDS[kind](hidden, **options), **values)
        batch, units = dict(zip(order, value.axes, strict=False)), (Factor("features", hidden),)
        directions = (Factor("directions", len(suffixes)),)
        if layout:
            whole, end = (batch["samples"], batch["steps"], directions, units), (batch["samples"], directions, units)
        else:
            whole, end = (batch["steps"], directions, batch["samples"], units), (directions, batch["samples"], units)
        final = Output(end, self.version, final=len(self.chain.layers) - 1)
        return [Output(whole, self.version), final, States((replace(final, cell=True),))]

    def _options(self, kind, attributes, directions):
        """Return the options of a layer by the attributes of its node."""
        found = {}
        if attributes.get("clip"):
            raise ValueError(f"clip={attributes['clip']:g} limits the pre-activations, which numbarnn does not")
        names = attributes.get("activations")
        if kind == "RNN":
            names = names or ["Tanh"] * directions
            if len(set(names)) != 1 or names[0] not in RNN_ACTIVATIONS:
                raise ValueError(
                    f"activations {names} are not one of {', '.join(RNN_ACTIVATIONS)}, the same in all directions"
                )
            slope, shift = (set(attributes.get(f"activation_{name}", ())) for name in ("alpha", "beta"))
            if names[0] == "Affine" and (slope != {1.0} or shift != {0.0}):
                raise ValueError("activations Affine are known with alpha 1 and beta 0 alone")
            found["activation"] = RNN_ACTIVATIONS[names[0]]
        elif names and names != GATE_ACTIVATIONS[kind] * directions:
            raise ValueError(f"activations {names} are not {', '.join(GATE_ACTIVATIONS[kind])}")
        if kind == "GRU":
            found["reset_after"] = bool(attributes.get("linear_before_reset", 0))
        if kind == "LSTM" and attributes.get("input_forget", 0):
            found["coupled"] = True
        return found

    def _weights(self, value, name):
        """Return the array of an input that must be constant."""
        if not isinstance(value, Constant) or value.array.dtype.kind != "f":
            raise ShapeError(f"{name} is not a constant array of numbers")
        return value.array

    def _bind(self, value, order):
        """Learn which axes of the input are samples and steps; raise if a node before said otherwise."""
        for axis, tag in zip(value.axes[:2], order, strict=True):
            if len(value.axes) != 3 or len(axis) > 1:
                raise ShapeError("its input does not have three axes: steps, samples and features")
            for factor in axis:
                before = self.known.get(factor.tag, factor.tag)
                if before in ORDER and before != tag:
                    raise ShapeError(f"it reads along {before} as along {tag}")
                if before not in ORDER:
                    self.known[before] = tag

    def _check_states(self, states, lengths, directions):
        """Raise unless initial states are zeros or inputs, taken once and in order, and lengths are an input as it is."""
        for state in states:
            zeros = isinstance(state, Zeros) or (isinstance(state, Constant) and not state.array.any())
            if state is None or zeros:
                continue
            if not isinstance(state, Input):
                raise ValueError("its initial state is neither zero nor an input of the graph")
            first, last = state.rows or (0, directions)
            if last - first != directions or first < self.used_states.get(state.name, 0):
                raise ValueError(
                    f"it takes rows of the states {state.name!r} that a node before has taken, or too many"
                )
            self.used_states[state.name] = last
        cast = [name for name in self.values if lengths == Derived(f"cast({name})")]  # to int32
        name = cast[0] if cast else getattr(lengths, "name", None)
        if lengths is not None and (name is None or getattr(lengths, "rows", None)):
            raise ValueError("sequence_lens is not an input of the graph as it is")
        self.node_lengths.add(name)
        self.lengths = self.lengths or name

    def op_matmul(self, node, inputs, attributes):
        x, weight = inputs
        value, size = self._features(x)
        return self._dense(value, size, self._weights(weight, "the matrix").T)

    def op_gemm(self, node, inputs, attributes):
        x, weight, bias = [*inputs, None][:3]
        if attributes.get("alpha", 1.0) != 1.0 or attributes.get("beta", 1.0) != 1.0 or attributes.get("transA", 0):
            raise ValueError("alpha and beta must be 1, and transA 0")
        value, size = self._features(x)
        array = self._weights(weight, "B")
        return self._dense(value, size, array if attributes.get("transB", 0) else array.T, bias)

    def _dense(self, value, size, weight, bias=None):
        """Append a dense layer."""
        if weight.ndim != 2 or weight.shape[1] != size:
            raise ShapeError(f"its matrix for {size} features has the shape {weight.T.shape}")
        arrays = {"weight": weight}
        if bias is not None:
            arrays["bias"] = np.broadcast_to(self._weights(bias, "C"), (1, len(weight)))[0]
        self._add(Dense(len(weight), bias is not None), **arrays)
        return self._after(value, len(weight))

    def op_div(self, node, inputs, attributes):
        value, count = inputs
        if isinstance(value, Output) and value.masked == "sum" and self._is(count, COUNT):
            return replace(value, masked=None)
        raise ShapeError("it divides by something other than the lengths")

    def op_where(self, node, inputs, attributes):
        condition, value, other = inputs
        parts = value.parts if isinstance(value, States) else (value,)
        if all(isinstance(part, Output) and self._tag(part, -2) == "samples" for part in parts):
            # What samples without steps have is as `Model.forward` has it: zeros, and initial states.
            zeros = isinstance(other, (Zeros, Input)) or (isinstance(other, Constant) and not other.array.any())
            if zeros and self._is(condition, SOME):
                return value
        low = isinstance(other, Constant) and np.all(other.array == -np.inf)
        if low and isinstance(value, Output) and self._is(condition, KNOWN, steps=size_of(value.axes[0])):
            return replace(value, masked="low")
        raise ShapeError("it chooses by something other than the lengths")

    def _tag(self, value, axis) -> str | None:
        """Return what an axis of a value is, unless it is several things."""
        tags = [self.known.get(factor.tag, factor.tag) for factor in value.axes[axis]] if len(value.axes) > 1 else []
        return tags[0] if len(tags) == 1 else None

    def _is(self, value, pattern, **sizes) -> bool:
        """Return whether a value is what `to_onnx` makes of lengths, those of the recurrent nodes."""
        names = (
            [self.lengths]
            if self.lengths
            else [name for name, given in self.values.items() if isinstance(given, Input)]
        )
        for name in names:
            if value == Derived(pattern.format(lengths=name, **sizes)):
                self.lengths, self.masked = name, True
                return True
        return False

    def op_gatherelements(self, node, inputs, attributes):
        value, index = inputs
        value, size = self._features(value)
        if not self._is(index, LAST, size=size) or attributes.get("axis", 0) != 0 or self._tag(value, 0) != "steps":
            raise ShapeError("it takes elements by something other than the last valid step")
        self._add(Pool("last"))
        return Output(((), *value.axes[1:]), self.version)

    def op_reducesum(self, node, inputs, attributes):
        value = inputs[0]
        (axis,) = self._reduced_axes(inputs, attributes, value)
        if attributes.get("keepdims", 1):
            raise ShapeError("it keeps the axis that it sums")
        axes = value.axes[:axis] + value.axes[axis + 1 :]
        tags = [self.known.get(factor.tag, factor.tag) for factor in value.axes[axis]]
        if tags == ["directions"] and value.direction is None and value.version == self.version and not value.cell:
            layer = self.chain.layers[-1]
            if isinstance(layer, Recurrent) and layer.bidirectional and value.masked is None:
                self._change(-1, merge="sum")
                return replace(value, axes=axes, version=self.version)
        if value.masked == "bag" and axis == 2:
            return replace(value, axes=axes, masked=None)
        if tags == ["steps"] and value.masked == "zero" and axis == 0:
            value, _ = self._features(value)
            self._add(Pool("mean"))
            return Output(axes, self.version, masked="sum")
        raise ShapeError("it sums something other than the directions of a layer")

    def op_range(self, node, inputs, attributes):
        return Derived(f"range({','.join(map(self._expression, inputs))})")

    def _derived(self, node, inputs, attributes):
        """Return an expression of lengths or tokens."""
        axes = next((value.axes for value in inputs if isinstance(value, (Output, Derived))), ())
        return Derived(f"{node.op_type.lower()}({','.join(map(self._expression, inputs))})", axes)

    @staticmethod
    def _is_deriving(value):
        """Return whether a value is made of lengths or of tokens."""
        return isinstance(value, (Derived, Input)) or (
            isinstance(value, Output) and value.tokens is not None and len(value.axes) == 3
        )

    @staticmethod
    def _expression(value) -> str:
        """Return a value in the expressions of `Derived`."""
        if isinstance(value, Derived):
            return value.expression
        if isinstance(value, Input):
            return value.name if value.rows is None else f"{value.name}[{value.rows}]"
        if isinstance(value, Output):
            if value.tokens is None:
                raise ShapeError("it computes with the outputs of layers as no layer does")
            return value.tokens
        items = value.array.reshape(-1)[:8].tolist() if isinstance(value, Constant) else list(value.items)
        items = [item if isinstance(item, str) else f"{item:g}" for item in items]
        return f"[{','.join(items)}]" if len(items) > 1 else "".join(items)

    def op_add(self, node, inputs, attributes):
        if all(isinstance(value, (Constant, Sizes)) for value in inputs):
            return self._arithmetic(np.add, inputs)
        value, bias = inputs if isinstance(inputs[1], Constant) else inputs[::-1]
        value, size = self._features(value)
        array = self._weights(bias, "what is added")
        last = self.chain.layers[-1] if self.chain.layers else None
        if not isinstance(last, Dense) or last.bias or array.size != size or array.shape[-1:] != (size,):
            raise ShapeError("it adds something other than the bias of a product")
        self._change(-1, bias=True)
        self.chain.arrays[-1]["bias"] = array.reshape(size)
        return replace(value, version=self.version)

    def op_tanh(self, node, inputs, attributes):
        return self._activation(node, inputs)

    op_relu = op_sigmoid = op_tanh

    def _activation(self, node, inputs):
        value, _ = self._features(inputs[0])
        self._add(Activation(ACTIVATIONS[node.op_type]))
        return self._after(value)

    def op_softmax(self, node, inputs, attributes):
        value, _ = self._features(inputs[0])
        axis = attributes.get("axis", -1 if self.opset >= 13 else 1)
        if axis not in (-1, len(value.axes) - 1):
            raise ShapeError("it works along another axis than the features")
        if node.output[0] not in {result.name for result in self.graph.output}:
            raise ValueError("it is not the last node: probabilities are made of the outputs alone")
        return replace(value, ended=True)

    op_logsoftmax = op_softmax

    def op_reducemean(self, node, inputs, attributes):
        return self._pool("mean", node, inputs, attributes)

    def op_reducemax(self, node, inputs, attributes):
        return self._pool("max", node, inputs, attributes)

    def _pool(self, kind, node, inputs, attributes):
        """Append a layer that pools over all steps."""
        value, _ = self._features(inputs[0])
        (axis,) = self._reduced_axes(inputs, attributes, value)
        masked = value.masked == "low" and kind == "max"
        return self._without_steps(kind, node, value, axis, keep=bool(attributes.get("keepdims", 1)), masked=masked)

    def _reduced_axes(self, inputs, attributes, value):
        """Return the one axis that a node reduces."""
        axes = attributes.get("axes") or self._optional(inputs, 1)
        if not isinstance(value, Output) or axes is None or len(axes) != 1:
            raise ShapeError("it reduces something other than one axis of the output of a layer")
        return self._axes(axes, len(value.axes))

    def _without_steps(self, kind, node, value, axis, keep, masked=False):
        """Return the value of one vector a sample."""
        tags = [self.known.get(factor.tag, factor.tag) for factor in value.axes[axis]]
        if tags != ["steps"]:
            raise ShapeError("it takes one index or a mean along another axis than the steps")
        if not masked:
            self.pooled_nodes.append(f"node {node.name or node.output[0]!r} ({node.op_type})")
        last = self.chain.layers[-1]
        if kind == "last" and isinstance(last, Recurrent) and last.causal:
            self._change(-1, return_sequences=False)
        else:
            self._add(Pool(kind))
        axes = list(value.axes)
        axes[axis : axis + 1] = [()] if keep else []
        return Output(tuple(axes), self.version)

    def op_onehot(self, node, inputs, attributes):
        tokens, depth, values = inputs
        tokens = self._tokens(tokens)
        (size,) = self._integers(depth)
        if (
            attributes.get("axis", -1) not in (-1, 2)
            or not isinstance(values, Constant)
            or list(values.array) != [0, 1]
        ):
            raise ValueError("it is known with the values 0 and 1 along the last axis alone")
        self._add(OneHot(size))
        return Output((*tokens.axes, (Factor("features", size),)), self.version)

    def _tokens(self, value):
        """Return the input of tokens, one a step."""
        if not isinstance(value, Output) or not value.tokens or value.version != self.version or len(value.axes) != 2:
            raise ShapeError("its indices are not the input of the graph")
        return value

    # Axes

    def op_transpose(self, node, inputs, attributes):
        (value,) = inputs
        if isinstance(value, Zeros):
            return value
        if isinstance(value, Constant):
            return self._fold(np.transpose(value.array, attributes.get("perm")))
        return value.transposed(attributes.get("perm") or range(len(value.axes))[::-1])

    def op_reshape(self, node, inputs, attributes):
        value, shape = inputs
        if isinstance(value, Zeros):
            return value
        if isinstance(value, Sizes):
            return Sizes(value.items, scalar=False)
        if isinstance(value, Constant):
            wanted = self._integers(shape)
            wanted = [value.array.shape[k] if size == 0 else size for k, size in enumerate(wanted)]
            return self._fold(value.array.reshape(wanted))
        wanted = self._sizes(shape)
        if attributes.get("allowzero", 0) and 0 in wanted:
            raise ShapeError("it makes an axis without entries")
        return value.reshaped(wanted)

    def op_flatten(self, node, inputs, attributes):
        (value,) = inputs
        axis = attributes.get("axis", 1)
        axes = value.axes
        return replace(value, axes=tuple(sum(part, ()) for part in (axes[:axis], axes[axis:])))

    def op_squeeze(self, node, inputs, attributes):
        value = inputs[0]
        axes = attributes.get("axes") or self._optional(inputs, 1)
        if isinstance(value, Zeros):
            return value
        if isinstance(value, Sizes):
            return Sizes(value.items, scalar=True)
        if isinstance(value, Constant):
            return self._fold(np.squeeze(value.array, None if axes is None else tuple(axes)))
        if axes is None:
            if any(isinstance(size_of(axis), str) for axis in value.axes):
                raise ShapeError("which axes it takes away depends on the batch")
            axes = [k for k, axis in enumerate(value.axes) if size_of(axis) == 1]
        return value.without(self._axes(axes, len(value.axes)))

    def op_unsqueeze(self, node, inputs, attributes):
        value = inputs[0]
        axes = attributes.get("axes") or self._integers(inputs[1])
        if isinstance(value, Zeros):
            return value
        if isinstance(value, Sizes):
            return Sizes(value.items, scalar=False)
        if isinstance(value, Constant):
            return self._fold(np.expand_dims(value.array, tuple(axes)))
        found = list(value.axes)
        for axis in sorted(self._axes(axes, len(found) + len(axes))):
            found.insert(axis, ())
        return replace(value, axes=tuple(found))

    def op_gather(self, node, inputs, attributes):
        value, index = inputs
        axis = attributes.get("axis", 0)
        if isinstance(value, Zeros):
            return value
        if isinstance(index, Output):
            return self._embedding(value, index, axis)
        bags = [given.tokens for given in self.values.values() if isinstance(given, Output) and given.tokens]
        if bags and index == Derived(BAG_ROWS.format(tokens=bags[0])):
            return replace(self._bag(value, index, axis), tokens=bags[0])
        picked = self._integers(index)
        if isinstance(value, Sizes):
            return Sizes(tuple(value.items[k] for k in picked), scalar=index.array.ndim == 0)
        if isinstance(value, Constant):
            self._afford(value.array.nbytes // max(value.array.shape[axis], 1) * len(picked))
            return self._fold(np.take(value.array, index.array, axis=axis))
        if index.array.ndim > 1 or len(picked) != 1:
            raise ShapeError("it takes several indices of an axis")
        if isinstance(value, States):
            if axis != 0:
                raise ShapeError("it takes samples of final states")
            return self._of_states(value, picked[0], keep=index.array.ndim == 1)
        return self._picked(node, value, axis, picked[0], keep=index.array.ndim == 1)

    def _embedding(self, table, tokens, axis):
        """Append a layer of vectors for tokens."""
        tokens, array = self._tokens(tokens), self._weights(table, "the table")
        if array.ndim != 2 or axis != 0:
            raise ShapeError("it takes something other than rows of a matrix")
        self._add(Embedding(*array.shape), weight=array)
        return Output((*tokens.axes, (Factor("features", array.shape[1]),)), self.version)

    def _bag(self, table, tokens, axis):
        """Append a layer of sums of vectors for tokens; what is not a token is left out later (`op_mul`)."""
        array = self._weights(table, "the table")
        bag = size_of(tokens.axes[2])
        if array.ndim != 2 or axis != 0 or not isinstance(bag, int) or self.chain.layers:
            raise ShapeError("it takes something other than rows of a matrix")
        self._add(EmbeddingBag(*array.shape, bag), weight=array)
        return Output((*tokens.axes, (Factor("features", array.shape[1]),)), 1, masked="rows")

    def _picked(self, node, value, axis, index, keep):
        """Return one index along an axis of a value."""
        (axis,) = self._axes([axis], len(value.axes))
        tags = [factor.tag for factor in value.axes[axis]]
        size = size_of(value.axes[axis])
        if tags == ["directions"]:
            if not -size <= index < size:
                raise ShapeError(f"it takes direction {index} of {size}")
            axes = list(value.axes)
            axes[axis : axis + 1] = [()] if keep else []
            return replace(value, axes=tuple(axes), direction=index % size if size > 1 else None)
        if index != -1 and index != (size - 1 if isinstance(size, int) else None):
            raise ShapeError(
                f"it takes index {index} of an axis, as an unrolled loop does; numbarnn knows the last step, and recurrent nodes"
            )
        if value.direction is not None:
            raise ShapeError("it takes the last step of one of two directions")
        return self._without_steps("last", node, self._features(value)[0], axis, keep)

    def _of_states(self, value, index, keep):
        """Return one of the final states along the first axis."""
        rows = [(part, direction) for part in value.parts for direction in range(size_of(part.axes[0]))]
        part, direction = rows[index]
        two = size_of(part.axes[0]) > 1
        return replace(part, axes=(*([()] if keep else []), *part.axes[1:]), direction=direction if two else None)

    def op_slice(self, node, inputs, attributes):
        value = inputs[0]
        if isinstance(value, Zeros):
            return value
        if len(inputs) > 1:
            starts, ends = self._integers(inputs[1]), self._integers(inputs[2])
            axes = self._integers(inputs[3]) if len(inputs) > 3 and inputs[3] is not None else range(len(starts))
            steps = self._integers(inputs[4]) if len(inputs) > 4 and inputs[4] is not None else [1] * len(starts)
        else:
            starts, ends = attributes["starts"], attributes["ends"]
            axes, steps = attributes.get("axes") or range(len(starts)), [1] * len(starts)
        cuts = {axis: slice(*cut) for axis, *cut in zip(axes, starts, ends, steps, strict=True)}
        if isinstance(value, Input):
            (cut,) = cuts.values()
            if list(cuts) != [0] or value.rows or not 0 <= cut.start < cut.stop < 2**31 or cut.step != 1:
                raise ShapeError("it takes something other than the states of a layer")
            return Input(value.name, (cut.start, cut.stop))
        if isinstance(value, Sizes):
            return Sizes(value.items[cuts[0]])
        if isinstance(value, Constant):
            whole = [slice(None)] * value.array.ndim
            for axis, cut in cuts.items():
                whole[axis] = cut
            return self._fold(value.array[tuple(whole)])
        if len(cuts) != 1:
            raise ShapeError("it cuts several axes")
        ((axis, cut),) = cuts.items()
        if isinstance(value, States):
            rows = range(sum(size_of(part.axes[0]) for part in value.parts))[cut]
            if axis == 0 and len(rows) == 1:
                return self._of_states(value, rows[0], keep=True)
            raise ShapeError("it takes several final states")
        (axis,) = self._axes([axis], len(value.axes))
        size = size_of(value.axes[axis])
        if isinstance(size, int):
            rows = range(size)[cut]
            if rows == range(size):
                return value
            if len(rows) == 1:
                return self._picked(node, value, axis, rows[0], keep=True)
        elif cut == slice(-1, cut.stop, 1) and cut.stop > 2**31 - 2:
            return self._picked(node, value, axis, -1, keep=True)
        raise ShapeError("it cuts an axis to several indices")

    def op_split(self, node, inputs, attributes):
        value = inputs[0]
        count = len(node.output)
        if isinstance(value, Zeros):
            return [value] * count
        if isinstance(value, Constant):
            sizes = attributes.get("split") or (self._integers(inputs[1]) if len(inputs) > 1 else None)
            cuts = count if sizes is None else np.cumsum(sizes)[:-1]
            return [self._fold(part) for part in np.split(value.array, cuts, axis=attributes.get("axis", 0))]
        (axis,) = self._axes([attributes.get("axis", 0)], len(value.axes))
        sizes = attributes.get("split") or self._optional(inputs, 1) or [1] * count
        if count != size_of(value.axes[axis]) or set(sizes) != {1}:
            raise ShapeError("it divides an axis into parts of more than one index")
        return [self._picked(node, value, axis, k, keep=True) for k in range(count)]

    def op_concat(self, node, inputs, attributes):
        axis = attributes.get("axis", 0)
        if all(isinstance(value, Zeros) for value in inputs):
            return Zeros()
        if all(isinstance(value, Constant) for value in inputs):
            self._afford(sum(value.array.nbytes for value in inputs))
            return self._fold(np.concatenate([value.array for value in inputs], axis=axis))
        if all(isinstance(value, (Constant, Sizes)) for value in inputs):
            return Sizes(sum((tuple(self._sizes(value)) for value in inputs), ()))
        finals = [part for value in inputs for part in (value.parts if isinstance(value, States) else (value,))]
        if not all(isinstance(part, Output) for part in finals):
            raise ShapeError("it joins the outputs of several layers")
        if all(part.final is not None and part.direction is None for part in finals) and axis == 0:
            return States(tuple(finals))
        return self._joined(finals, axis)

    def _joined(self, parts, axis):
        """Return both directions of a value, which were taken apart."""
        first = parts[0]
        same = [replace(part, direction=0) == first for part in parts]
        (axis,) = self._axes([axis], len(first.axes))
        if [part.direction for part in parts] != [0, 1] or not all(same) or axis != len(first.axes) - 1:
            raise ShapeError("it joins something other than the two directions of a layer, the forward one first")
        features = (Factor("directions", 2), *first.axes[-1])
        return replace(first, axes=(*first.axes[:-1], features), direction=None)

    # Sizes, and what changes nothing

    def op_shape(self, node, inputs, attributes):
        (value,) = inputs
        if isinstance(value, Constant):
            items = tuple(value.array.shape)
        elif isinstance(value, Output):
            items = tuple(size_of(axis) for axis in value.axes)
        else:
            raise ShapeError("it takes the shape of something other than the sequence")
        return Sizes(items[attributes.get("start", 0) : attributes.get("end", len(items))])

    def op_constant(self, node, inputs, attributes):
        for name in ("value", "value_float", "value_floats", "value_int", "value_ints"):
            if name in attributes:
                kinds = {
                    "value_float": np.float32,
                    "value_floats": np.float32,
                    "value_int": np.int64,
                    "value_ints": np.int64,
                }
                return Constant(np.asarray(attributes[name], kinds.get(name)))
        raise ValueError("it has no value of numbers")

    def op_constantofshape(self, node, inputs, attributes):
        if np.any(attributes.get("value", 0)):
            raise ValueError("it fills an array with something other than 0")
        return Zeros()

    def op_expand(self, node, inputs, attributes):
        value = inputs[0]
        if isinstance(value, Zeros) or (isinstance(value, Constant) and not value.array.any()):
            return Zeros()
        raise ValueError("it repeats something other than zeros")

    def op_mul(self, node, inputs, attributes):
        value, mask = inputs
        if isinstance(value, Output) and isinstance(mask, Derived):
            if value.masked == "rows" and mask == Derived(BAG.format(tokens=value.tokens)):
                return replace(value, masked="bag", tokens=None)
            steps = len(value.axes) == 3 and value.masked is None and self._tag(value, 1) == "samples"
            if steps and self._is(mask, VALID, steps=size_of(value.axes[0])):
                return replace(value, masked="zero")
        return self._arithmetic(np.multiply, inputs)

    def op_sub(self, node, inputs, attributes):
        return self._arithmetic(np.subtract, inputs)

    def _arithmetic(self, function, inputs):
        """Return sums and products of constants, sizes among them."""
        if all(isinstance(value, Constant) for value in inputs):
            arrays = [value.array for value in inputs]
            self._afford(int(np.prod(np.broadcast_shapes(*(array.shape for array in arrays)))) * arrays[0].itemsize)
            return self._fold(function(*arrays))
        if not all(isinstance(value, (Constant, Sizes)) for value in inputs):
            raise ShapeError("it computes with the outputs of layers as no layer does")
        numbers = [self._sizes(value) for value in inputs]
        if not all(isinstance(size, int) for items in numbers for size in items):
            raise ShapeError("it computes with sizes of the batch")
        found = function(*(np.array(items, np.int64) for items in numbers))
        return Sizes(tuple(map(int, found)), scalar=all(getattr(value, "scalar", False) for value in inputs))

    def op_identity(self, node, inputs, attributes):
        return inputs[0]

    def op_dropout(self, node, inputs, attributes):
        training = inputs[2] if len(inputs) > 2 else None
        if training is not None and not (isinstance(training, Constant) and not training.array.any()):
            raise ValueError("it acts in use too (training_mode)")
        return inputs[0]

    def op_cast(self, node, inputs, attributes):
        value = inputs[0]
        if not isinstance(value, Constant):
            if isinstance(value, Output) and attributes.get("to") not in ((6, 7) if value.tokens else (1, 11)):
                raise ValueError("it changes the dtype of a sequence")
            return value
        kinds = {1: np.float32, 6: np.int32, 7: np.int64, 9: np.bool_, 11: np.float64}
        return self._fold(value.array.astype(kinds[attributes.get("to")]))

    def _integers(self, value) -> list[int]:
        """Return the integers of a constant or of known sizes."""
        if isinstance(value, Sizes):
            if not all(isinstance(size, int) for size in value.items):
                raise ShapeError("it depends on the sizes of the batch")
            return list(value.items)
        if not isinstance(value, Constant) or value.array.dtype.kind not in "iu" or value.array.size > 64:
            raise ShapeError("its axes, indices or sizes are not constant integers")
        return [int(size) for size in value.array.reshape(-1)]

    def _optional(self, inputs, index) -> list[int] | None:
        """Return the integers of an input, if there is one."""
        return self._integers(inputs[index]) if len(inputs) > index and inputs[index] is not None else None

    def _sizes(self, value) -> list:
        """Return sizes, those of the batch by name."""
        return list(value.items) if isinstance(value, Sizes) else self._integers(value)

    @staticmethod
    def _axes(axes, count) -> list[int]:
        """Return axes counted from the first; raise ShapeError if there is none such."""
        wrong = [axis for axis in axes if not -count <= axis < count]
        if wrong:
            raise ShapeError(f"it has an axis {wrong[0]} of {count}")
        return [axis % count for axis in axes]


def _is_features(tags) -> bool:
    """Return whether factors of an axis are features, those of the forward direction first."""
    return tags in (["features"], ["directions"], ["directions", "features"])
