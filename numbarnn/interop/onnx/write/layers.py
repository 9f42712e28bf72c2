"""What layers without states become: a function (writer, name, layer, y, signal) -> y for each."""

import numpy as np

from numbarnn.errors import InteropError

ACTIVATIONS = {"tanh": "Tanh", "relu": "Relu", "logistic": "Sigmoid", "identity": "Affine"}


def one_hot(writer, name, layer, y, signal):
    """Write one-hot vectors."""
    values = writer.constant(np.array([0, 1], writer.model.dtype))
    return writer.node("OneHot", y, writer.constant(np.int64(layer.size)), values)


def embedding(writer, name, layer, y, signal):
    """Write rows of a table."""
    return writer.node("Gather", writer.constant(writer.model.params[f"{name}.weight"], f"{name}.weight"), y)


def embedding_bag(writer, name, layer, y, signal):
    """Write sums of rows of a table, over the tokens that are not negative."""
    known = writer.node("GreaterOrEqual", y, writer.constant(np.int64(0)))
    rows = embedding(writer, name, layer, writer.node("Max", y, writer.constant(np.int64(0))), signal)
    known = writer.node("Unsqueeze", writer.node("Cast", known, to=writer.dtype), writer.whole(3))
    return writer.node("ReduceSum", writer.node("Mul", rows, known), writer.whole(2), keepdims=0)


def dense(writer, name, layer, y, signal):
    """Write a product, a bias and an activation."""
    if signal.tokens:
        raise InteropError("the model cannot be converted to ONNX:", [f"{name} (Dense) reads tokens"])
    params = writer.model.params
    y = writer.node("MatMul", y, writer.constant(params[f"{name}.weight"].T, f"{name}.weight"))
    y = writer.node("Add", y, writer.constant(params[f"{name}.bias"], f"{name}.bias")) if layer.bias else y
    return activation(writer, name, layer, y, signal)


def activation(writer, name, layer, y, signal):
    """Write an activation, unless it is the identity."""
    kind = layer.activation
    return y if kind in (None, "identity") else writer.node(ACTIVATIONS[kind], y)


def dropout(writer, name, layer, y, signal):
    """Write nothing: it acts in training alone."""
    return y


def pool(writer, name, layer, y, signal):
    """Write one vector a sample of its valid steps, zero where there are none."""
    if not writer.lengths:
        if layer.kind == "last":
            return writer.node("Gather", y, writer.constant(np.int64(-1)), axis=0)
        return _reduced(writer, "ReduceMean" if layer.kind == "mean" else "ReduceMax", y)
    if layer.kind == "mean":
        total = writer.node("ReduceSum", writer.node("Mul", y, writer.valid()), writer.whole(0), keepdims=0)
        count = writer.node("Cast", writer.node("Max", writer.lengths, writer.constant(np.int32(1))), to=writer.dtype)
        return writer.node("Div", total, writer.node("Unsqueeze", count, writer.whole(1)))
    if layer.kind == "max":
        known = writer.node("Greater", writer.valid(), writer.number(0))
        low = writer.node("Where", known, y, writer.number(-np.inf))
        return writer.zero_of_empty(_reduced(writer, "ReduceMax", low))
    before = writer.node("Sub", writer.node("Cast", writer.lengths, to=writer.integers), writer.constant(np.int64(1)))
    last = writer.node("Unsqueeze", writer.node("Max", before, writer.constant(np.int64(0))), writer.whole(0, 2))
    width = writer.node("Expand", last, writer.whole(1, 1, signal.size))
    return writer.zero_of_empty(
        writer.node("Squeeze", writer.node("GatherElements", y, width, axis=0), writer.whole(0))
    )


def _reduced(writer, kind, y):
    """Return a mean or maximum over the steps; its axes became an input in opset 18."""
    if writer.opset >= 18:
        return writer.node(kind, y, writer.whole(0), keepdims=0)
    return writer.node(kind, y, axes=[0], keepdims=0)
