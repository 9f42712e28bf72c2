"""Indices of tokens to layers: one-hot vectors, rows of a table, and sums of them."""

from numbarnn.errors import ShapeError
from numbarnn.interop.onnx.read.lengths import BAG_ROWS
from numbarnn.interop.onnx.read.node import integers, weights
from numbarnn.interop.onnx.values import Constant, Derived, Factor, Output, size_of
from numbarnn.layers import Embedding, EmbeddingBag, OneHot


def one_hot(state, node):
    """Append a layer of one-hot vectors."""
    given, depth, values = node.inputs
    tokens = _tokens(state, given)
    (size,) = integers(depth)
    if node.get("axis", -1) not in (-1, 2) or not isinstance(values, Constant) or list(values.array) != [0, 1]:
        raise ValueError("it is known with the values 0 and 1 along the last axis alone")
    state.add(OneHot(size))
    return Output((*tokens.axes, (Factor("features", size),)), state.version)


def embedding(state, table, given, axis) -> Output:
    """Append a layer of vectors for tokens."""
    tokens, array = _tokens(state, given), weights(table, "the table")
    if array.ndim != 2 or axis != 0:
        raise ShapeError("it takes something other than rows of a matrix")
    state.add(Embedding(*array.shape), weight=array)
    return Output((*tokens.axes, (Factor("features", array.shape[1]),)), state.version)


def bag_tokens(state, index) -> str | None:
    """Return the input of which an index is the tokens of a bag, what is none among them replaced by 0."""
    for value in state.values.values():
        if isinstance(value, Output) and value.tokens:
            return value.tokens if index == Derived(BAG_ROWS.format(tokens=value.tokens)) else None
    return None


def embedding_bag(state, table, index, axis, tokens) -> Output:
    """Append a layer of sums of vectors for tokens; what is not a token is left out by the product with a mask."""
    array = weights(table, "the table")
    bag = size_of(index.axes[2])
    if array.ndim != 2 or axis != 0 or not isinstance(bag, int) or state.chain.layers:
        raise ShapeError("it takes something other than rows of a matrix")
    state.add(EmbeddingBag(*array.shape, bag), weight=array)
    return Output((*index.axes, (Factor("features", array.shape[1]),)), state.version, tokens=tokens, masked="rows")


def _tokens(state, value) -> Output:
    """Return the input of tokens, one a step."""
    if not isinstance(value, Output) or not value.tokens or value.version != state.version or len(value.axes) != 2:
        raise ShapeError("its indices are not the input of the graph")
    return value
