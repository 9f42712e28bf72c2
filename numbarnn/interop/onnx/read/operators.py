"""The operators that are read: from the name of an operator to what reads its nodes.

A reader is a function (state, node) that returns the value of the node's output, or a list of those of its outputs, and raises
ValueError, with what stands in the way, where the node is not that of a chain of layers.
"""

from collections.abc import Callable

from numbarnn.interop.onnx.read import axes, layers, lengths, pooling, recurrent, selection, sizes, tokens

OPERATORS: dict[str, Callable] = {
    "RNN": recurrent.recurrent,
    "LSTM": recurrent.recurrent,
    "GRU": recurrent.recurrent,
    "MatMul": layers.matmul,
    "Gemm": layers.gemm,
    "Add": layers.add,
    "Tanh": layers.activation,
    "Relu": layers.activation,
    "Sigmoid": layers.activation,
    "Softmax": layers.softmax,
    "LogSoftmax": layers.softmax,
    "OneHot": tokens.one_hot,
    "ReduceMean": pooling.mean_or_max,
    "ReduceMax": pooling.mean_or_max,
    "ReduceSum": pooling.reduce_sum,
    "Transpose": axes.transpose,
    "Reshape": axes.reshape,
    "Flatten": axes.flatten,
    "Squeeze": axes.squeeze,
    "Unsqueeze": axes.unsqueeze,
    "Concat": axes.concat,
    "Gather": selection.gather,
    "Slice": selection.cut,
    "Split": selection.split,
    "Shape": sizes.shape,
    "Constant": sizes.constant,
    "ConstantOfShape": sizes.constant_of_shape,
    "Expand": sizes.expand,
    "Sub": sizes.sub,
    "Identity": sizes.identity,
    "Dropout": sizes.dropout,
    "Cast": sizes.cast,
    "Range": lengths.steps,
    "Mul": lengths.mul,
    "Div": lengths.div,
    "Where": lengths.where,
    "GatherElements": lengths.last_valid,
}
# Those that may stand between an input of initial states and the node that takes them.
PASS_STATES = ("Slice", "Identity")
