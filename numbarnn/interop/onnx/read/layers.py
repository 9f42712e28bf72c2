"""Products, biases, activations and softmax to layers."""

from dataclasses import replace

import numpy as np

from numbarnn.errors import ShapeError
from numbarnn.interop.onnx.read.node import weights
from numbarnn.interop.onnx.read.sizes import arithmetic
from numbarnn.interop.onnx.values import Constant, Sizes
from numbarnn.layers import Activation, Dense

ACTIVATIONS = {"Tanh": "tanh", "Relu": "relu", "Sigmoid": "logistic"}


def matmul(state, node):
    """Append a dense layer."""
    x, weight = node.inputs
    value, size = state.features(x)
    return _dense(state, value, size, weights(weight, "the matrix").T)


def gemm(state, node):
    """Append a dense layer, with its bias."""
    x, weight, bias = [*node.inputs, None][:3]
    if node.get("alpha", 1.0) != 1.0 or node.get("beta", 1.0) != 1.0 or node.get("transA", 0):
        raise ValueError("alpha and beta must be 1, and transA 0")
    value, size = state.features(x)
    array = weights(weight, "B")
    return _dense(state, value, size, array if node.get("transB", 0) else array.T, bias)


def _dense(state, value, size, weight, bias=None):
    if weight.ndim != 2 or weight.shape[1] != size:
        raise ShapeError(f"its matrix for {size} features has the shape {weight.T.shape}")
    arrays = {"weight": weight}
    if bias is not None:
        arrays["bias"] = np.broadcast_to(weights(bias, "C"), (1, len(weight)))[0]
    state.add(Dense(len(weight), bias is not None), **arrays)
    return state.after(value, len(weight))


def add(state, node):
    """Give the dense layer before its bias, or add sizes."""
    if all(isinstance(value, (Constant, Sizes)) for value in node.inputs):
        return arithmetic(state, np.add, node.inputs)
    value, bias = node.inputs if isinstance(node.inputs[1], Constant) else node.inputs[::-1]
    value, size = state.features(value)
    array = weights(bias, "what is added")
    last = state.chain.layers[-1] if state.chain.layers else None
    if not isinstance(last, Dense) or last.bias or array.size != size or array.shape[-1:] != (size,):
        raise ShapeError("it adds something other than the bias of a product")
    state.change(-1, bias=True)
    state.chain.arrays[-1]["bias"] = array.reshape(size)
    return state.after(value)


def activation(state, node):
    """Append an activation."""
    value, _ = state.features(node.inputs[0])
    state.add(Activation(ACTIVATIONS[node.kind]))
    return state.after(value)


def softmax(state, node):
    """Note that the outputs are logits, and that the graph ends."""
    value, _ = state.features(node.inputs[0])
    axis = node.get("axis", -1 if state.opset >= 13 else 1)
    if axis not in (-1, len(value.axes) - 1):
        raise ShapeError("it works along another axis than the features")
    if node.outputs[0] not in state.results:
        raise ValueError("it is not the last node: probabilities are made of the outputs alone")
    return replace(value, ended=True)
