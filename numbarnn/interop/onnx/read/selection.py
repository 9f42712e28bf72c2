"""Nodes that take a part of a value: Gather, Slice and Split, of constants, sizes, states, directions, and of the last step."""

from dataclasses import replace

import numpy as np

from numbarnn.errors import ShapeError
from numbarnn.interop.onnx.read.node import from_first, integers
from numbarnn.interop.onnx.read.pooling import without_steps
from numbarnn.interop.onnx.read.tokens import bag_tokens, embedding, embedding_bag
from numbarnn.interop.onnx.values import Constant, Input, Output, Sizes, States, Zeros, size_of


def gather(state, node):
    """Take rows of a table for tokens, or one index of an axis."""
    value, index = node.inputs
    axis = node.get("axis", 0)
    if isinstance(value, Zeros):
        return value
    if isinstance(index, Output):
        return embedding(state, value, index, axis)
    tokens = bag_tokens(state, index)
    if tokens is not None:
        return embedding_bag(state, value, index, axis, tokens)
    picked = integers(index)
    if isinstance(value, Sizes):
        return Sizes(tuple(value.items[k] for k in picked), scalar=index.array.ndim == 0)
    if isinstance(value, Constant):
        state.afford(value.array.nbytes // max(value.array.shape[axis], 1) * len(picked))
        return state.fold(np.take(value.array, index.array, axis=axis))
    if index.array.ndim > 1 or len(picked) != 1:
        raise ShapeError("it takes several indices of an axis")
    if isinstance(value, States):
        if axis != 0:
            raise ShapeError("it takes samples of final states")
        return _final_state(value, picked[0], keep=index.array.ndim == 1)
    return _at_index(state, node, value, axis, picked[0], keep=index.array.ndim == 1)


def cut(state, node):
    """Take a range of an axis (Slice)."""
    value, cuts = node.inputs[0], _cuts(node) if not isinstance(node.inputs[0], Zeros) else {}
    if isinstance(value, Zeros):
        return value
    if isinstance(value, Input):
        (rows,) = cuts.values()
        if list(cuts) != [0] or value.rows or not 0 <= rows.start < rows.stop < 2**31 or rows.step != 1:
            raise ShapeError("it takes something other than the states of a layer")
        return Input(value.name, (rows.start, rows.stop))
    if isinstance(value, Sizes):
        return Sizes(value.items[cuts[0]])
    if isinstance(value, Constant):
        whole = [slice(None)] * value.array.ndim
        for axis, part in cuts.items():
            whole[axis] = part
        return state.fold(value.array[tuple(whole)])
    if len(cuts) != 1:
        raise ShapeError("it cuts several axes")
    ((axis, part),) = cuts.items()
    if isinstance(value, States):
        rows = range(sum(size_of(one.axes[0]) for one in value.parts))[part]
        if axis == 0 and len(rows) == 1:
            return _final_state(value, rows[0], keep=True)
        raise ShapeError("it takes several final states")
    (axis,) = from_first([axis], len(value.axes))
    size = size_of(value.axes[axis])
    if isinstance(size, int):
        rows = range(size)[part]
        if rows == range(size):
            return value
        if len(rows) == 1:
            return _at_index(state, node, value, axis, rows[0], keep=True)
    elif part == slice(-1, part.stop, 1) and part.stop > 2**31 - 2:
        return _at_index(state, node, value, axis, -1, keep=True)
    raise ShapeError("it cuts an axis to several indices")


def _cuts(node) -> dict[int, slice]:
    """Return the ranges of a Slice by axis: inputs, or attributes before opset 10."""
    if len(node.inputs) > 1:
        starts, ends = integers(node.inputs[1]), integers(node.inputs[2])
        axes, steps = node.optional(3), node.optional(4)
    else:
        starts, ends, axes, steps = node.attributes["starts"], node.attributes["ends"], node.get("axes") or None, None
    axes = range(len(starts)) if axes is None else axes
    steps = [1] * len(starts) if steps is None else steps
    return {axis: slice(*part) for axis, *part in zip(axes, starts, ends, steps, strict=True)}


def split(state, node):
    """Divide constants, or an axis into its indices."""
    value, count, axis = node.inputs[0], len(node.outputs), node.get("axis", 0)
    if isinstance(value, Zeros):
        return [value] * count
    parts = node.get("split") or node.optional(1)
    if isinstance(value, Constant):
        cuts = count if parts is None else np.cumsum(parts)[:-1]
        return [state.fold(part) for part in np.split(value.array, cuts, axis=axis)]
    (axis,) = from_first([axis], len(value.axes))
    if count != size_of(value.axes[axis]) or set(parts or [1]) != {1}:
        raise ShapeError("it divides an axis into parts of more than one index")
    return [_at_index(state, node, value, axis, k, keep=True) for k in range(count)]


def _at_index(state, node, value, axis, index, keep) -> Output:
    """Return one index along an axis of a value: a direction, or the last step."""
    (axis,) = from_first([axis], len(value.axes))
    size = size_of(value.axes[axis])
    if not value.axes[axis] and index in (-1, 0):
        return value.with_one_index(axis, keep)
    if [factor.tag for factor in value.axes[axis]] == ["directions"]:
        if not -size <= index < size:
            raise ShapeError(f"it takes direction {index} of {size}")
        return replace(value.with_one_index(axis, keep), direction=index % size if size > 1 else None)
    if index != -1 and index != (size - 1 if isinstance(size, int) else None):
        raise ShapeError(
            f"it takes index {index} of an axis, as an unrolled loop does; numbarnn knows the last step, and recurrent nodes"
        )
    if value.direction is not None:
        raise ShapeError("it takes the last step of one of two directions")
    return without_steps(state, node, "last", state.features(value)[0], axis, keep)


def _final_state(value, index, keep) -> Output:
    """Return one of the final states along the first axis."""
    rows = [(part, direction) for part in value.parts for direction in range(size_of(part.axes[0]))]
    part, direction = rows[index]
    return replace(part.with_one_index(0, keep), direction=direction if size_of(part.axes[0]) > 1 else None)
