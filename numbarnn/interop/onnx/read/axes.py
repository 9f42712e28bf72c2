"""Nodes that move, join, divide, add and take away axes, and change nothing else."""

from dataclasses import replace

import numpy as np

from numbarnn.errors import ShapeError
from numbarnn.interop.onnx.read.node import from_first, integers, sizes
from numbarnn.interop.onnx.values import Constant, Factor, Output, Sizes, States, Zeros, size_of


def transpose(state, node):
    """Return a value with its axes in another order."""
    (value,) = node.inputs
    if isinstance(value, Zeros):
        return value
    if isinstance(value, Constant):
        return state.fold(np.transpose(value.array, node.get("perm")))
    return value.transposed(node.get("perm") or range(len(value.axes))[::-1])


def reshape(state, node):
    """Return a value in another shape."""
    value, shape = node.inputs
    if isinstance(value, Zeros):
        return value
    if isinstance(value, Sizes):
        return Sizes(value.items, scalar=False)
    if isinstance(value, Constant):
        wanted = [value.array.shape[k] if size == 0 else size for k, size in enumerate(integers(shape))]
        return state.fold(value.array.reshape(wanted))
    wanted = sizes(shape)
    if node.get("allowzero", 0) and 0 in wanted:
        raise ShapeError("it makes an axis without entries")
    return value.reshaped(wanted)


def flatten(state, node):
    """Return a value with two axes."""
    (value,) = node.inputs
    axis, axes = node.get("axis", 1), value.axes
    return replace(value, axes=tuple(sum(part, ()) for part in (axes[:axis], axes[axis:])))


def squeeze(state, node):
    """Return a value without axes of size 1."""
    value, axes = node.inputs[0], node.axes()
    if isinstance(value, Zeros):
        return value
    if isinstance(value, Sizes):
        return Sizes(value.items, scalar=True)
    if isinstance(value, Constant):
        return state.fold(np.squeeze(value.array, None if axes is None else tuple(axes)))
    if axes is None:
        if any(isinstance(size_of(axis), str) for axis in value.axes):
            raise ShapeError("which axes it takes away depends on the batch")
        axes = [k for k, axis in enumerate(value.axes) if size_of(axis) == 1]
    return value.without(from_first(axes, len(value.axes)))


def unsqueeze(state, node):
    """Return a value with more axes, of size 1."""
    value, axes = node.inputs[0], node.get("axes") or integers(node.inputs[1])
    if isinstance(value, Zeros):
        return value
    if isinstance(value, Sizes):
        return Sizes(value.items, scalar=False)
    if isinstance(value, Constant):
        return state.fold(np.expand_dims(value.array, tuple(axes)))
    found = list(value.axes)
    for axis in sorted(from_first(axes, len(found) + len(axes))):
        found.insert(axis, ())
    return replace(value, axes=tuple(found))


def concat(state, node):
    """Join constants, sizes, final states, or the two directions of a layer."""
    values, axis = node.inputs, node.get("axis", 0)
    if all(isinstance(value, Zeros) for value in values):
        return Zeros()
    if all(isinstance(value, Constant) for value in values):
        state.afford(sum(value.array.nbytes for value in values))
        return state.fold(np.concatenate([value.array for value in values], axis=axis))
    if all(isinstance(value, (Constant, Sizes)) for value in values):
        return Sizes(sum((tuple(sizes(value)) for value in values), ()))
    parts = [part for value in values for part in (value.parts if isinstance(value, States) else (value,))]
    if not all(isinstance(part, Output) for part in parts):
        raise ShapeError("it joins the outputs of several layers")
    if all(part.final is not None and part.direction is None for part in parts) and axis == 0:
        return States(tuple(parts))
    return _joined(parts, axis)


def _joined(parts, axis) -> Output:
    """Return both directions of a value, which were taken apart."""
    first = parts[0]
    same = [replace(part, direction=0) == first for part in parts]
    (axis,) = from_first([axis], len(first.axes))
    if [part.direction for part in parts] != [0, 1] or not all(same) or axis != len(first.axes) - 1:
        raise ShapeError("it joins something other than the two directions of a layer, the forward one first")
    features = (Factor("directions", 2), *first.axes[-1])
    return replace(first, axes=(*first.axes[:-1], features), direction=None)
