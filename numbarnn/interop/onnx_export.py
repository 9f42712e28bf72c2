"""Models to ONNX graphs."""

import math
import os

import numpy as np

from numbarnn import __about__, io
from numbarnn.checks import brief, check_flag, check_integer
from numbarnn.errors import InteropError
from numbarnn.interop.gates import ONNX, OURS, PEEPHOLES, reordered
from numbarnn.layers import (
    GRU,
    LSTM,
    RNN,
    Activation,
    Dense,
    Dropout,
    Embedding,
    EmbeddingBag,
    IndRNN,
    OneHot,
    Pool,
    Recurrent,
)
from numbarnn.model import Model

OPSETS = (17, 22)  # the latest that has been compared with the engines
ACTIVATIONS = {"tanh": "Tanh", "relu": "Relu", "logistic": "Sigmoid", "identity": "Affine"}
GATES = {"input": "i", "forget": "f", "candidate": "g", "output": "o", "reset": "r", "update": "z"}
# The version of the file format that opset 17 came with: older runtimes refuse files of a later one.
IR_VERSION = 8
# A pre-activation at which a gate is 0 or 1, to the last bit of float32, and of a candidate.
CLOSED = 50.0


def to_onnx(
    model: Model, path: str | os.PathLike, *, opset: int = 17, states: bool = True, lengths: bool = True
) -> None:
    """Write a model to an ONNX file.

    Parameters
    ----------
    model : Model
    path : path-like
    opset : int
        Version of the operators, 17 to 22.
    states : bool
        Whether initial states are inputs, which may be left out, and final states outputs: ``lstm.h`` and ``lstm.c`` of shape
        (num_layers * directions, samples, hidden_size).
    lengths : bool
        Whether there is an input ``lengths``, the valid steps of each sample (int32), which may be left out of a call only where
        the runtime allows it; without lengths all steps are valid.

    Notes
    -----
    The graph has the input ``x`` (samples, time steps, features), or int64 tokens (samples, time steps), and the output ``y`` of
    `Model.forward`: of classifiers, logits. Samples and time steps are of any number. The axes of the recurrent operators are in
    the order that all runtimes know (``layout=0``). Dropout does not act. A gate that is fixed gets weights of 0 and a bias that
    gives its value. IndRNN becomes an RNN with a diagonal matrix.

    Raises
    ------
    InteropError
        If a layer has no counterpart in ONNX, such as a cell of your own; `reasons` lists all of them.
    ModuleNotFoundError
        If onnx is not installed.
    OSError
        If the file cannot be written; the existing file is left as it was.

    Examples
    --------
    >>> to_onnx(model, "tagger.onnx")  # doctest: +SKIP
    >>> session = onnxruntime.InferenceSession("tagger.onnx")  # doctest: +SKIP
    """
    if not isinstance(model, Model):
        raise TypeError(f"model must be a numbarnn.Model, got {brief(model)}")
    check_integer(opset, "opset", *OPSETS)
    check_flag("to_onnx", "states", states)
    check_flag("to_onnx", "lengths", lengths)
    try:
        import onnx
    except ModuleNotFoundError:
        raise ModuleNotFoundError("to_onnx needs onnx: pip install 'numbarnn[onnx]'") from None
    reasons = [
        f"{name} ({type(layer).__name__}) has no counterpart in ONNX"
        for name, layer in zip(model.names, model.layers, strict=True)
        if not _is_known(layer)
    ]
    if reasons:
        raise InteropError("the model cannot be converted to ONNX:", reasons)
    proto = _Writer(model, opset, states, lengths).proto()
    onnx.checker.check_model(proto, full_check=True)
    io.replace(path, proto.SerializeToString())


def _is_known(layer):
    """Return whether a layer has a counterpart."""
    if isinstance(layer, Recurrent):
        return type(layer) in (RNN, LSTM, GRU, IndRNN)
    return type(layer) in (Dense, Embedding, EmbeddingBag, OneHot, Activation, Dropout, Pool)


class _Writer:
    """Makes the nodes of a graph; values are names. Sequences are (steps, samples, features) inside."""

    def __init__(self, model, opset, states, lengths):
        from onnx import TensorProto, helper, numpy_helper

        self.helper, self.from_array = helper, numpy_helper.from_array
        self.model, self.opset, self.states = model, opset, states
        self.dtype = TensorProto.FLOAT if model.dtype == np.float32 else TensorProto.DOUBLE
        self.integers, self.int32 = TensorProto.INT64, TensorProto.INT32
        self.nodes, self.initializers, self.inputs, self.outputs = [], [], [], []
        self.count = 0
        self.lengths = "lengths" if lengths else ""

    def proto(self):
        """Return the ModelProto."""
        helper, model = self.helper, self.model
        signal = model.signals[0]
        if signal.tokens:
            shape = ["samples", "steps", *([signal.bag] if signal.bag else [])]
            self.inputs.append(helper.make_tensor_value_info("x", self.integers, shape))
        else:
            self.inputs.append(helper.make_tensor_value_info("x", self.dtype, ["samples", "steps", signal.size]))
        if self.lengths:
            self.inputs.append(helper.make_tensor_value_info("lengths", self.int32, ["samples"]))
        y = self.node("Transpose", "x", perm=[1, 0, *range(2, 3 if not signal.tokens or signal.bag else 2)])
        for name, layer, before in zip(model.names, model.layers, model.signals, strict=False):
            y = getattr(self, f"_{self._kind(layer)}")(name, layer, y, before)
        last = model.signals[-1]
        if last.sequence:
            y = self.node("Mul", y, self.valid()) if self.lengths else y
            y = self.node("Transpose", y, perm=[1, 0, 2])
        self.node("Identity", y, output="y")
        shape = ["samples", *(["steps"] if last.sequence else []), last.size]
        self.outputs.insert(0, helper.make_tensor_value_info("y", self.dtype, shape))
        graph = helper.make_graph(self.nodes, "numbarnn", self.inputs, self.outputs, self.initializers)
        return helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", self.opset)], ir_version=IR_VERSION, producer_name="numbarnn",
            producer_version=__about__.__version__,
        )  # fmt: skip

    @staticmethod
    def _kind(layer):
        return "recurrent" if isinstance(layer, Recurrent) else type(layer).__name__.lower()

    # Nodes

    def node(self, kind, *inputs, output=None, **attributes):
        """Append a node, and return the name of its output."""
        self.count += 1
        output = output or f"v{self.count}"
        self.nodes.append(self.helper.make_node(kind, inputs, [output], name=f"{kind}_{self.count}", **attributes))
        return output

    def constant(self, array, name=None):
        """Append an array, and return its name."""
        self.count += 1
        name = name or f"c{self.count}"
        self.initializers.append(self.from_array(np.array(array, order="C"), name))
        return name

    def whole(self, *values):
        """Return a vector of integers."""
        return self.constant(np.array(values, np.int64))

    def number(self, value):
        """Return a number of the model's dtype."""
        return self.constant(np.array(value, self.model.dtype))

    def valid(self):
        """Return 1 at valid steps and 0 past them, (steps, samples, 1)."""
        if not hasattr(self, "_valid"):
            shape = self.node("Shape", "x")
            steps = self.node("Squeeze", self.node("Slice", shape, self.whole(1), self.whole(2)))
            steps = self.node("Range", self.constant(np.int64(0)), steps, self.constant(np.int64(1)))
            lengths = self.node("Cast", "lengths", to=self.integers)
            below = self.node("Less", self.node("Unsqueeze", steps, self.whole(1)), lengths)
            self._valid = self.node("Unsqueeze", self.node("Cast", below, to=self.dtype), self.whole(2))
        return self._valid

    def some(self):
        """Return whether samples have steps, (samples, 1)."""
        if not hasattr(self, "_some"):
            found = self.node("Greater", self.lengths, self.constant(np.int32(0)))
            self._some = self.node("Unsqueeze", found, self.whole(1))
        return self._some

    # Layers

    def _onehot(self, name, layer, y, before):
        values = self.constant(np.array([0, 1], self.model.dtype))
        return self.node("OneHot", y, self.constant(np.int64(layer.size)), values)

    def _embedding(self, name, layer, y, before):
        return self.node("Gather", self.constant(self.model.params[f"{name}.weight"], f"{name}.weight"), y)

    def _embeddingbag(self, name, layer, y, before):
        known = self.node("GreaterOrEqual", y, self.constant(np.int64(0)))
        rows = self._embedding(name, layer, self.node("Max", y, self.constant(np.int64(0))), before)
        known = self.node("Unsqueeze", self.node("Cast", known, to=self.dtype), self.whole(3))
        return self.node("ReduceSum", self.node("Mul", rows, known), self.whole(2), keepdims=0)

    def _dense(self, name, layer, y, before):
        if before.tokens:
            raise InteropError("the model cannot be converted to ONNX:", [f"{name} (Dense) reads tokens"])
        params = self.model.params
        y = self.node("MatMul", y, self.constant(params[f"{name}.weight"].T, f"{name}.weight"))
        y = self.node("Add", y, self.constant(params[f"{name}.bias"], f"{name}.bias")) if layer.bias else y
        return self._activated(y, layer.activation)

    def _activation(self, name, layer, y, before):
        return self._activated(y, layer.activation)

    def _activated(self, y, activation):
        return y if activation in (None, "identity") else self.node(ACTIVATIONS[activation], y)

    def _dropout(self, name, layer, y, before):
        return y

    def _pool(self, name, layer, y, before):
        """Return one vector a sample of its valid steps, zero where there are none."""
        if layer.kind == "last":
            if not self.lengths:
                return self.node("Gather", y, self.constant(np.int64(-1)), axis=0)
            at = self.node("Max", self.node("Sub", self.node("Cast", self.lengths, to=self.integers), self.constant(np.int64(1))),
                           self.constant(np.int64(0)))  # fmt: skip
            at = self.node("Unsqueeze", at, self.whole(0, 2))
            width = self.node("Expand", at, self.whole(1, 1, before.size))
            return self._where_some(self.node("Squeeze", self.node("GatherElements", y, width, axis=0), self.whole(0)))
        if layer.kind == "mean":
            if not self.lengths:
                return self._reduced("ReduceMean", y)
            total = self.node("ReduceSum", self.node("Mul", y, self.valid()), self.whole(0), keepdims=0)
            count = self.node("Cast", self.node("Max", self.lengths, self.constant(np.int32(1))), to=self.dtype)
            return self.node("Div", total, self.node("Unsqueeze", count, self.whole(1)))
        if not self.lengths:
            return self._reduced("ReduceMax", y)
        known = self.node("Greater", self.valid(), self.number(0))
        return self._where_some(self._reduced("ReduceMax", self.node("Where", known, y, self.number(-np.inf))))

    def _reduced(self, kind, y):
        """Return a mean or maximum over the steps; its axes became an input in opset 18."""
        if self.opset >= 18:
            return self.node(kind, y, self.whole(0), keepdims=0)
        return self.node(kind, y, axes=[0], keepdims=0)

    def _where_some(self, y):
        return self.node("Where", self.some(), y, self.number(0))

    def _recurrent(self, name, layer, y, before):
        """Return the outputs of a stack, a node for each of its levels."""
        directions, hidden = layer.directions, layer.hidden_size
        starts = self._starts(name, layer)
        ends = [[] for _ in layer.state_names]
        runs = layer.runs(before)
        for level in range(layer.num_layers):
            of_level = runs[level * directions : (level + 1) * directions]
            initial = [self._level(start, layer, level) for start in starts]
            y, finals = self._node(name, layer, y, of_level, initial)
            finals = [self._kept(start, final) for start, final in zip(initial, finals, strict=True)]
            for end, final in zip(ends, finals, strict=True):
                end.append(final)
            if level + 1 < layer.num_layers or layer.return_sequences:
                y = self._joined(y, layer)
        if self.states:
            for state, end in zip(layer.state_names, ends, strict=True):
                self.node("Concat", *end, output=f"{name}.{state}_out", axis=0)
                shape = [layer.num_layers * directions, "samples", hidden]
                self.outputs.append(self.helper.make_tensor_value_info(f"{name}.{state}_out", self.dtype, shape))
        if layer.return_sequences:
            return y
        last = ends[0][-1]
        if directions == 1:
            last = self.node("Squeeze", last, self.whole(0))
        elif layer.merge == "sum":
            last = self.node("ReduceSum", last, self.whole(0), keepdims=0)
        else:
            last = self.node("Reshape", self.node("Transpose", last, perm=[1, 0, 2]), self.whole(0, 2 * hidden))
        return self._where_some(last) if self.lengths else last

    def _starts(self, name, layer):
        """Return the initial states of a layer, (num_layers * directions, samples, H)."""
        if not self.states:
            return [""] * len(layer.state_names)
        shape = [layer.num_layers * layer.directions, "samples", layer.hidden_size]
        names = [f"{name}.{state}" for state in layer.state_names]
        self.inputs += [self.helper.make_tensor_value_info(given, self.dtype, shape) for given in names]
        return names

    def _level(self, start, layer, level):
        """Return the initial state of a level."""
        if not start or layer.num_layers == 1:
            return start
        first = level * layer.directions
        return self.node("Slice", start, self.whole(first), self.whole(first + layer.directions), self.whole(0))

    def _kept(self, start, final):
        """Return a final state: of a sample without steps, its initial one."""
        if not self.lengths:
            return final
        return self.node("Where", self.some(), final, start or self.number(0))

    def _joined(self, y, layer):
        """Return outputs (steps, samples, features) of (steps, directions, samples, H)."""
        if layer.directions == 1:
            return self.node("Squeeze", y, self.whole(1))
        if layer.merge == "sum":
            return self.node("ReduceSum", y, self.whole(1), keepdims=0)
        return self.node(
            "Reshape", self.node("Transpose", y, perm=[0, 2, 1, 3]), self.whole(0, 0, 2 * layer.hidden_size)
        )

    def _node(self, name, layer, y, runs, initial):
        """Append the node of a level; return its outputs and final states."""
        kind = {IndRNN: "RNN"}.get(type(layer), type(layer).__name__)
        arrays = [self._arrays(name, layer, kind, run.suffix) for run in runs]
        directions = len(runs)
        attributes = {
            "hidden_size": layer.hidden_size,
            "direction": "bidirectional" if directions == 2 else "reverse" if layer.reverse else "forward",
        }
        if kind == "RNN":
            attributes["activations"] = [ACTIVATIONS[layer.activation]] * directions
            if layer.activation == "identity":
                attributes |= {"activation_alpha": [1.0] * directions, "activation_beta": [0.0] * directions}
        if kind == "GRU":
            attributes["linear_before_reset"] = int(layer.reset_after)
        if kind == "LSTM" and layer.coupled:
            attributes["input_forget"] = 1
        base = f"{name}{runs[0].suffix.removesuffix('_reverse')}"
        stacked = {part: np.stack([found[part] for found in arrays]) for part in arrays[0]}
        names = {part: self.constant(array, f"{base}.{part}") for part, array in stacked.items()}
        inputs = [y, names["W"], names["R"], names.get("B", ""), self.lengths, *initial]
        if "P" in names:
            inputs.append(names["P"])
        while not inputs[-1]:
            inputs.pop()
        outputs = [f"{base}.Y", *(f"{base}.Y_{state}" for state in layer.state_names)]
        self.nodes.append(self.helper.make_node(kind, inputs, outputs, name=base, **attributes))
        return outputs[0], outputs[1:]

    def _arrays(self, name, layer, kind, suffix):
        """Return W, R, B and P of one direction of a level."""
        params, hidden = self.model.params, layer.hidden_size
        part = {
            key: np.array(params[f"{name}.{key}{suffix}"])
            for key in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
            if f"{name}.{key}{suffix}" in params
        }
        rows = len(part["weight_ih"])
        part.setdefault("weight_hh", np.zeros((rows, hidden), self.model.dtype))
        if isinstance(layer, IndRNN):
            np.fill_diagonal(part["weight_hh"], params[f"{name}.weight_u{suffix}"])
        fixed = getattr(layer, "fix", None) or {}
        if layer.bias or fixed:
            part.setdefault("bias_ih", np.zeros(rows, self.model.dtype))
            part.setdefault("bias_hh", np.zeros(rows, self.model.dtype))
        peepholes = [
            np.array(params[f"{name}.weight_{key}{suffix}"]) for key in PEEPHOLES if getattr(layer, "peepholes", False)
        ]
        for gate, value in fixed.items():
            letter = "n" if kind == "GRU" and gate == "candidate" else GATES[gate]
            row = OURS[kind].index(letter) * hidden
            for array in part.values():
                array[row : row + hidden] = 0
            part["bias_ih"][row : row + hidden] = _preactivation(gate, value)
            if peepholes and f"c{letter}" in PEEPHOLES:
                peepholes[PEEPHOLES.index(f"c{letter}")][:] = 0
        found = {key: reordered(kind, array, OURS, ONNX) for key, array in part.items()}
        arrays = {"W": found["weight_ih"], "R": found["weight_hh"]}
        if "bias_ih" in found:
            arrays["B"] = np.concatenate([found["bias_ih"], found["bias_hh"]])
        if peepholes:
            arrays["P"] = np.concatenate(peepholes)
        return arrays


def _preactivation(gate, value):
    """Return the pre-activation that gives a gate its value."""
    if gate == "candidate":
        return float(np.clip(math.atanh(value), -CLOSED, CLOSED)) if abs(value) < 1 else math.copysign(CLOSED, value)
    if value in (0, 1):
        return CLOSED if value else -CLOSED
    return math.log(value / (1 - value))
