"""Nodes RNN, LSTM and GRU to recurrent layers."""

import numpy as np

from numbarnn.checks import brief
from numbarnn.errors import ShapeError
from numbarnn.interop.gates import ONNX, OURS, PEEPHOLES, reordered, suffixes
from numbarnn.interop.onnx.activations import PLAIN, activations_of, cell_of
from numbarnn.interop.onnx.read.node import weights
from numbarnn.interop.onnx.values import Derived, Factor, Input, Output, States, is_zero, size_of
from numbarnn.layers import GRU, LSTM, RNN, Recurrent

DIRECTIONS = ("forward", "reverse", "bidirectional")


def recurrent(state, node):
    """Append the layer of a node, and return its outputs: all steps, the final h, and c."""
    x, w, r, b, lengths, *starts = [*node.inputs, *[None] * (8 - len(node.inputs))]
    direction, layout = node.get("direction", "forward"), node.get("layout", 0)
    if direction not in DIRECTIONS:
        raise ValueError(f"direction {direction!r} is not one of {', '.join(DIRECTIONS)}")
    value, _ = state.features(x)
    bidirectional, reverse = direction == "bidirectional", direction == "reverse"
    ends = suffixes(bidirectional, reverse)
    lacking = [name for name, given in (("X", x), ("W", w), ("R", r)) if given is None]
    if lacking:
        raise ValueError(f"it has no input {lacking[0]}")
    arrays = {"W": weights(w, "W"), "R": weights(r, "R")}
    hidden = arrays["R"].shape[-1] if node.get("hidden_size") is None else node.get("hidden_size")
    if not (isinstance(hidden, int) and 1 <= hidden <= 2**24):
        raise ValueError(f"hidden_size {brief(hidden)} is not a number of units")
    if b is not None:
        arrays["B"] = weights(b, "B")
    if node.kind == "LSTM" and starts[2] is not None:
        arrays["P"] = weights(starts[2], "P")
    _check_shapes(node.kind, arrays, len(ends), hidden)
    order = ("samples", "steps") if layout else ("steps", "samples")
    state.bind(value, order)
    batch = dict(zip(order, value.axes, strict=False))
    if node.get("steps") not in (None, size_of(batch["steps"])):
        raise ShapeError(f"it has {node.get('steps')} steps, and its input {size_of(batch['steps'])}")
    _check_starts(state, starts[:2], len(ends))
    _note_lengths(state, lengths)
    options = {"bidirectional": bidirectional, "reverse": reverse, "bias": b is not None}
    state.add(_layer(node, hidden, len(ends), "P" in arrays, options), **_parameters(node.kind, arrays, ends))
    return _outputs(state, batch, hidden, len(ends), layout)


def _layer(node, hidden, directions, peepholes, options):
    """Return the layer of a node: with a cell of its own where the usual ones do not have its activations, or clip."""
    activations = activations_of(node, directions)
    cell = cell_of(node, activations, peepholes)
    if cell is not None:
        return Recurrent(hidden, cell=cell, **options)
    if node.kind == "LSTM":
        return LSTM(hidden, coupled=bool(node.get("input_forget", 0)), peepholes=peepholes, **options)
    if node.kind == "GRU":
        return GRU(hidden, reset_after=bool(node.get("linear_before_reset", 0)), **options)
    return RNN(hidden, activation=PLAIN[activations[0]], **options)


def _check_shapes(kind, arrays, directions, hidden) -> None:
    """Raise ShapeError unless W, R, B and P fit together."""
    rows = len(OURS[kind]) * hidden
    shapes = {"W": (rows, arrays["W"].shape[-1]), "R": (rows, hidden), "B": (2 * rows,), "P": (3 * hidden,)}
    for name, array in arrays.items():
        if array.shape != (directions, *shapes[name]):
            raise ShapeError(f"{name} has the shape {array.shape}, expected {(directions, *shapes[name])}")


def _check_starts(state, starts, directions) -> None:
    """Raise unless initial states are zeros or inputs, whose rows are taken once and in order."""
    for start in starts:
        if start is None or is_zero(start):
            continue
        if not isinstance(start, Input):
            raise ValueError("its initial state is neither zero nor an input of the graph")
        first, last = start.rows or (0, directions)
        if last - first != directions or first < state.used_states.get(start.name, 0):
            raise ValueError(f"it takes rows of the states {start.name!r} that a node before has taken, or too many")
        state.used_states[start.name] = last


def _note_lengths(state, lengths) -> None:
    """Note the input of lengths; raise unless it is one as it is."""
    cast = [name for name in state.values if lengths == Derived(f"cast({name})")]  # to int32
    name = cast[0] if cast else getattr(lengths, "name", None)
    if lengths is not None and (name is None or getattr(lengths, "rows", None)):
        raise ValueError("sequence_lens is not an input of the graph as it is")
    state.node_lengths.add(name)
    state.lengths = state.lengths or name


def _parameters(kind, arrays, ends) -> dict:
    """Return the parameters of a layer, by their names."""
    values = {}
    for d, suffix in enumerate(ends):
        parts = [("weight_ih", arrays["W"][d]), ("weight_hh", arrays["R"][d])]
        if "B" in arrays:
            parts += zip(("bias_ih", "bias_hh"), np.split(arrays["B"][d], 2), strict=True)
        values |= {name + suffix: reordered(kind, array, ONNX, OURS) for name, array in parts}
        if "P" in arrays:
            blocks = zip(PEEPHOLES, np.split(arrays["P"][d], 3), strict=True)
            values |= {f"weight_{name}{suffix}": array for name, array in blocks}
    return values


def _outputs(state, batch, hidden, directions, layout) -> list:
    """Return the outputs of all steps, the final h, and c."""
    units, both = (Factor("features", hidden),), (Factor("directions", directions),)
    if layout:
        whole, end = (batch["samples"], batch["steps"], both, units), (batch["samples"], both, units)
    else:
        whole, end = (batch["steps"], both, batch["samples"], units), (both, batch["samples"], units)
    final = Output(end, state.version, final=len(state.chain.layers) - 1)
    cell = Output(end, state.version, final=len(state.chain.layers) - 1, cell=True)
    return [Output(whole, state.version), final, States((cell,))]
