"""Steps to one vector a sample: means, maxima, sums, and one index along the steps."""

from dataclasses import replace

from numbarnn.errors import ShapeError
from numbarnn.interop.onnx.read.node import from_first
from numbarnn.interop.onnx.values import Output
from numbarnn.layers import Pool, Recurrent

KINDS = {"ReduceMean": "mean", "ReduceMax": "max"}


def mean_or_max(state, node):
    """Append a layer that pools over all steps."""
    kind = KINDS[node.kind]
    value, _ = state.features(node.inputs[0])
    axis = _reduced_axis(node, value)
    masked = value.masked == "low" and kind == "max"
    return without_steps(state, node, kind, value, axis, keep=bool(node.get("keepdims", 1)), masked=masked)


def reduce_sum(state, node):
    """Sum the directions of a layer, the vectors of a bag, or the valid steps, which a mean divides later."""
    value = node.inputs[0]
    axis = _reduced_axis(node, value)
    if node.get("keepdims", 1):
        raise ShapeError("it keeps the axis that it sums")
    axes = value.axes[:axis] + value.axes[axis + 1 :]
    tags = state.tags(value.axes[axis])
    if tags == ["directions"] and value.direction is None and value.version == state.version and not value.cell:
        layer = state.chain.layers[-1]
        if isinstance(layer, Recurrent) and layer.bidirectional and value.masked is None:
            state.change(-1, merge="sum")
            return replace(value, axes=axes, version=state.version)
    if value.masked == "bag" and axis == 2:
        return replace(value, axes=axes, masked=None)
    if tags == ["steps"] and value.masked == "zero" and axis == 0:
        value, _ = state.features(value)
        state.add(Pool("mean"))
        return Output(axes, state.version, masked="sum")
    raise ShapeError("it sums something other than the directions of a layer")


def _reduced_axis(node, value) -> int:
    """Return the one axis that a node reduces."""
    axes = node.axes()
    if not isinstance(value, Output) or axes is None or len(axes) != 1:
        raise ShapeError("it reduces something other than one axis of the output of a layer")
    (axis,) = from_first(axes, len(value.axes))
    return axis


def without_steps(state, node, kind, value, axis, keep, masked=False) -> Output:
    """Return the value of one vector a sample, with the layer that makes it appended."""
    if state.tags(value.axes[axis]) != ["steps"]:
        raise ShapeError("it takes one index or a mean along another axis than the steps")
    if not masked:
        state.pooled.append(node.where)
    last = state.chain.layers[-1]
    if kind == "last" and isinstance(last, Recurrent) and last.causal:
        state.change(-1, return_sequences=False)
    else:
        state.add(Pool(kind))
    return Output(value.with_one_index(axis, keep).axes, state.version)
