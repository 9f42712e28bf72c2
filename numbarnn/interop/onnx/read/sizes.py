"""Sizes and constants: what a graph computes of its shapes and of arrays in the file, and what changes nothing."""

import numpy as np

from numbarnn.errors import ShapeError
from numbarnn.interop.onnx.read.node import sizes
from numbarnn.interop.onnx.values import Constant, Output, Sizes, Zeros, is_zero, size_of

DTYPES = {1: np.float32, 6: np.int32, 7: np.int64, 9: np.bool_, 11: np.float64}
VALUES = {
    "value": None, "value_float": np.float32, "value_floats": np.float32, "value_int": np.int64, "value_ints": np.int64,
}  # fmt: skip


def shape(state, node):
    """Return the sizes of a value."""
    (value,) = node.inputs
    if isinstance(value, Constant):
        items = tuple(value.array.shape)
    elif isinstance(value, Output):
        items = tuple(size_of(axis) for axis in value.axes)
    else:
        raise ShapeError("it takes the shape of something other than the sequence")
    return Sizes(items[node.get("start", 0) : node.get("end", len(items))])


def constant(state, node):
    """Return an array in a node."""
    for name, dtype in VALUES.items():
        if name in node.attributes:
            return Constant(np.asarray(node.attributes[name], dtype))
    raise ValueError("it has no value of numbers")


def constant_of_shape(state, node):
    """Return zeros."""
    if np.any(node.get("value", 0)):
        raise ValueError("it fills an array with something other than 0")
    return Zeros()


def expand(state, node):
    """Return zeros."""
    if is_zero(node.inputs[0]):
        return Zeros()
    raise ValueError("it repeats something other than zeros")


def sub(state, node):
    """Return a difference of sizes."""
    return arithmetic(state, np.subtract, node.inputs)


def arithmetic(state, function, inputs):
    """Return sums, differences and products of constants, sizes among them."""
    if all(isinstance(value, Constant) for value in inputs):
        arrays = [value.array for value in inputs]
        state.afford(int(np.prod(np.broadcast_shapes(*(array.shape for array in arrays)))) * arrays[0].itemsize)
        return state.fold(function(*arrays))
    if not all(isinstance(value, (Constant, Sizes)) for value in inputs):
        raise ShapeError("it computes with the outputs of layers as no layer does")
    numbers = [sizes(value) for value in inputs]
    if not all(isinstance(size, int) for items in numbers for size in items):
        raise ShapeError("it computes with sizes of the batch")
    found = function(*(np.array(items, np.int64) for items in numbers))
    return Sizes(tuple(map(int, found)), scalar=all(getattr(value, "scalar", False) for value in inputs))


def identity(state, node):
    """Return the value as it is."""
    return node.inputs[0]


def dropout(state, node):
    """Return the value as it is, unless values are dropped in use too."""
    training = node.inputs[2] if len(node.inputs) > 2 else None
    if training is not None and not (isinstance(training, Constant) and not training.array.any()):
        raise ValueError("it acts in use too (training_mode)")
    return node.inputs[0]


def cast(state, node):
    """Return a constant in another dtype; sequences stay of theirs."""
    (value,) = node.inputs
    dtype = node.get("to")
    if isinstance(value, Constant):
        return state.fold(value.array.astype(DTYPES[dtype]))
    if isinstance(value, Output) and dtype not in ((6, 7) if value.tokens else (1, 11)):
        raise ValueError("it changes the dtype of a sequence")
    return value
