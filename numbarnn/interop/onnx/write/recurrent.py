"""What stacks of recurrent layers become: a node for each level, with its states."""

import math

import numpy as np

from numbarnn.cells.contract import has_inner
from numbarnn.interop.gates import ONNX, OURS, PEEPHOLES, reordered
from numbarnn.interop.onnx.activations import attributes_of
from numbarnn.interop.onnx.write.layers import ACTIVATIONS
from numbarnn.layers import IndRNN, Recurrent

# The operators of cells with other names than theirs; "Onnx" before the name does not count.
KINDS = {"IndRNN": "RNN", "PeepholeLSTM": "LSTM", "ResetBeforeGRU": "GRU"}
GATES = {"input": "i", "forget": "f", "candidate": "g", "output": "o", "reset": "r", "update": "z"}
# A pre-activation at which a gate is 0 or 1, to the last bit of float32, and of a candidate.
CLOSED = 50.0


def recurrent(writer, name, layer, y, signal):
    """Write the levels of a stack; return the outputs of all steps, or at the end."""
    directions = layer.directions
    starts = _starts(writer, name, layer)
    ends = [[] for _ in layer.state_names]
    runs = layer.runs(signal)
    for level in range(layer.num_layers):
        of_level = runs[level * directions : (level + 1) * directions]
        initial = [_of_level(writer, start, layer, level) for start in starts]
        y, finals = _level(writer, name, layer, y, of_level, initial)
        for end, start, final in zip(ends, initial, finals, strict=True):
            end.append(_final(writer, start, final))
        if level + 1 < layer.num_layers or layer.return_sequences:
            y = _joined(writer, y, layer)
    if writer.states:
        for state, end in zip(layer.state_names, ends, strict=True):
            writer.node("Concat", *end, output=f"{name}.{state}_out", axis=0)
            writer.output(f"{name}.{state}_out", _state_shape(layer))
    return y if layer.return_sequences else _at_end(writer, ends[0][-1], layer)


def _state_shape(layer) -> list:
    return [layer.num_layers * layer.directions, "samples", layer.hidden_size]


def _starts(writer, name, layer) -> list[str]:
    """Return the initial states of a layer, (num_layers * directions, samples, H)."""
    if not writer.states:
        return [""] * len(layer.state_names)
    names = [f"{name}.{state}" for state in layer.state_names]
    for given in names:
        writer.input(given, writer.dtype, _state_shape(layer))
    return names


def _of_level(writer, start, layer, level):
    """Return the initial state of a level."""
    if not start or layer.num_layers == 1:
        return start
    first = level * layer.directions
    return writer.node("Slice", start, writer.whole(first), writer.whole(first + layer.directions), writer.whole(0))


def _final(writer, start, final):
    """Return a final state: of a sample without steps, its initial one."""
    if not writer.lengths:
        return final
    return writer.node("Where", writer.some(), final, start or writer.number(0))


def _joined(writer, y, layer):
    """Return outputs (steps, samples, features) of (steps, directions, samples, H)."""
    if layer.directions == 1:
        return writer.node("Squeeze", y, writer.whole(1))
    if layer.merge == "sum":
        return writer.node("ReduceSum", y, writer.whole(1), keepdims=0)
    both = writer.node("Transpose", y, perm=[0, 2, 1, 3])
    return writer.node("Reshape", both, writer.whole(0, 0, 2 * layer.hidden_size))


def _at_end(writer, last, layer):
    """Return the outputs at the end, (samples, features), of the final states of the last level; zero without steps."""
    if layer.directions == 1:
        last = writer.node("Squeeze", last, writer.whole(0))
    elif layer.merge == "sum":
        last = writer.node("ReduceSum", last, writer.whole(0), keepdims=0)
    else:
        both = writer.node("Transpose", last, perm=[1, 0, 2])
        last = writer.node("Reshape", both, writer.whole(0, 2 * layer.hidden_size))
    return writer.zero_of_empty(last) if writer.lengths else last


def _level(writer, name, layer, y, runs, initial):
    """Append the node of a level; return its outputs and final states."""
    cell = type(layer.cell).__name__.removeprefix("Onnx")
    kind = KINDS.get(cell, cell)
    arrays = [_arrays(writer.model, name, layer, kind, run.suffix) for run in runs]
    base = f"{name}{runs[0].suffix.removesuffix('_reverse')}"
    stacked = {part: np.stack([found[part] for found in arrays]) for part in arrays[0]}
    names = {part: writer.constant(array, f"{base}.{part}") for part, array in stacked.items()}
    inputs = [y, names["W"], names["R"], names.get("B", ""), writer.lengths, *initial, names.get("P", "")]
    outputs = [f"{base}.Y", *(f"{base}.Y_{state}" for state in layer.state_names)]
    writer.nodes_of(kind, inputs, outputs, base, **_attributes(layer, kind, len(runs)))
    return outputs[0], outputs[1:]


def _attributes(layer, kind, directions) -> dict:
    """Return the attributes of a node."""
    direction = "bidirectional" if directions == 2 else "reverse" if layer.reverse else "forward"
    found = {"hidden_size": layer.hidden_size, "direction": direction}
    if type(layer) is Recurrent:
        found |= attributes_of(layer.cell, kind, directions)
    elif kind == "RNN":
        found["activations"] = [ACTIVATIONS[layer.activation]] * directions
        if layer.activation == "identity":
            found |= {"activation_alpha": [1.0] * directions, "activation_beta": [0.0] * directions}
    if kind == "GRU":
        found["linear_before_reset"] = int(not has_inner(layer.cell))
    if kind == "LSTM" and layer.cell.coupled:
        found["input_forget"] = 1
    return found


def _arrays(model, name, layer, kind, suffix) -> dict:
    """Return W, R, B and P of one direction of a level."""
    params, hidden = model.params, layer.hidden_size
    part = {
        key: np.array(params[f"{name}.{key}{suffix}"])
        for key in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        if f"{name}.{key}{suffix}" in params
    }
    rows = len(part["weight_ih"])
    part.setdefault("weight_hh", np.zeros((rows, hidden), model.dtype))
    if isinstance(layer, IndRNN):
        np.fill_diagonal(part["weight_hh"], params[f"{name}.weight_u{suffix}"])
    fixed = getattr(layer, "fix", None) or {}
    if layer.bias or fixed:
        part.setdefault("bias_ih", np.zeros(rows, model.dtype))
        part.setdefault("bias_hh", np.zeros(rows, model.dtype))
    peepholes = [np.array(params[f"{name}.weight_{key}{suffix}"]) for key in PEEPHOLES if key in layer.cell.diagonal]
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
