"""A model, layer by layer, to the graph of its nodes."""

from collections.abc import Iterator

from onnx import ModelProto, helper

from numbarnn import __about__
from numbarnn.cells.contract import OPTIONAL
from numbarnn.interop.onnx.write import layers
from numbarnn.interop.onnx.write.nodes import Writer
from numbarnn.interop.onnx.write.recurrent import recurrent
from numbarnn.interop.refusal import named_layers
from numbarnn.layers import (
    GRU,
    LSTM,
    RNN,
    Activation,
    Dense,
    Dropout,
    Embedding,
    EmbeddingBag,
    IndRNN,
    OneHot,
    Pool,
    Recurrent,
)

# What writes each layer; a class derived from one of these, such as a user's own, is another layer.
LAYERS = {
    RNN: recurrent, LSTM: recurrent, GRU: recurrent, IndRNN: recurrent, Recurrent: recurrent, Dense: layers.dense,
    Embedding: layers.embedding, EmbeddingBag: layers.embedding_bag, OneHot: layers.one_hot, Activation: layers.activation,
    Dropout: layers.dropout, Pool: layers.pool,
}  # fmt: skip
# The version of the file format that opset 17 came with: older runtimes refuse files of a later one.
IR_VERSION = 8


def reasons_against(model) -> Iterator[str]:
    """Yield what of a model ONNX has no counterpart of."""
    for where, layer in named_layers(model):
        if type(layer) not in LAYERS or (type(layer) is Recurrent and not _is_of_onnx(type(layer.cell))):
            yield f"{where} has no counterpart in ONNX"


def _is_of_onnx(cell_class) -> bool:
    return OPTIONAL.get(cell_class.__name__) == cell_class.__module__


def proto_of(model, opset: int, states: bool, lengths: bool) -> ModelProto:
    """Return the ModelProto of a model; arguments as of `to_onnx`."""
    writer = Writer(model, opset, states, lengths)
    first, last = model.signals[0], model.signals[-1]
    if first.tokens:
        axes = 3 if first.bag else 2
        writer.input("x", writer.integers, ["samples", "steps", first.bag][:axes])
    else:
        axes = 3
        writer.input("x", writer.dtype, ["samples", "steps", first.size])
    if writer.lengths:
        writer.input(writer.lengths, writer.int32, ["samples"])
    y = writer.node("Transpose", "x", perm=[1, 0, 2][:axes])
    for name, layer, signal in zip(model.names, model.layers, model.signals, strict=False):
        y = LAYERS[type(layer)](writer, name, layer, y, signal)
    if last.sequence:
        y = writer.node("Mul", y, writer.valid()) if writer.lengths else y
        y = writer.node("Transpose", y, perm=[1, 0, 2])
    writer.node("Identity", y, output="y")
    writer.output("y", ["samples", *(["steps"] if last.sequence else []), last.size])
    outputs = [writer.outputs[-1], *writer.outputs[:-1]]
    graph = helper.make_graph(writer.nodes, "numbarnn", writer.inputs, outputs, writer.initializers)
    return helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=IR_VERSION, producer_name="numbarnn",
        producer_version=__about__.__version__,
    )  # fmt: skip
