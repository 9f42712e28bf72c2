"""ONNX files to models."""

import os

from numbarnn.checks import brief, check_file
from numbarnn.errors import InteropError
from numbarnn.interop.onnx.read.graph import model_of
from numbarnn.interop.refusal import package
from numbarnn.model import Model


def from_onnx(source) -> Model:
    """Return the model of an ONNX graph that is a chain of layers.

    Nodes RNN, LSTM and GRU become recurrent layers; MatMul, Gemm and Add dense ones; Gather of a matrix' rows and OneHot layers
    for tokens; Tanh, Relu and Sigmoid activations; a mean, maximum or the last step of all steps a `Pool`, or
    ``return_sequences=False``. What moves axes (Transpose, Reshape, Squeeze, Unsqueeze, Gather, Slice, Concat ...) and computes
    sizes is followed without running it, as the exporters of torch write it.

    Parameters
    ----------
    source : path-like, bytes or onnx.ModelProto
        Weights in a file of their own, as torch writes them, are read from the folder of a path.

    Returns
    -------
    Model
        It reads (samples, time steps, features) or tokens (samples, time steps), in whichever order the graph has these axes;
        lengths (``sequence_lens``) and states, where the graph has them as inputs, are arguments of `Model.forward`. A last Softmax
        becomes `Model.predict_proba`.

    Raises
    ------
    InteropError
        If the graph has a node that numbarnn does not compute, or is not a chain; `reasons` name the nodes.
    FileNotFoundError, IsADirectoryError
        If there is no such file, or a folder of that name.
    ModuleNotFoundError
        If onnx is not installed.

    Examples
    --------
    >>> model = from_onnx("tagger.onnx")  # doctest: +SKIP
    >>> outputs, state = model.forward(x)  # doctest: +SKIP
    """
    is_path = isinstance(source, (str, os.PathLike))
    folder = os.path.dirname(os.path.abspath(os.fspath(source))) if is_path else None
    return model_of(_read(source), folder)


def _read(source):
    """Return the ModelProto of a source."""
    content, what = source, "source"
    if isinstance(source, (str, os.PathLike)):
        check_file(source, "source")
        with open(source, "rb") as file:
            content = file.read()
        what = repr(os.fspath(source))
    onnx = package("onnx", "from_onnx", "'numbarnn[onnx]'")
    if isinstance(source, onnx.ModelProto):
        return source
    if not isinstance(content, (bytes, bytearray, memoryview)):
        raise TypeError(f"source must be a path, bytes or onnx.ModelProto, got {brief(source)}")
    proto = onnx.ModelProto()
    try:
        proto.ParseFromString(bytes(content))
    except Exception as error:  # of protobuf, whose module depends on its version
        raise InteropError(f"{what} cannot be converted:", [f"it is not an ONNX file ({error})"]) from None
    return proto
