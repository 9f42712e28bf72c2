"""Models to ONNX files."""

import os

from numbarnn.checks import check_flag, check_integer
from numbarnn.core.replacing import replace
from numbarnn.interop.refusal import check_model, package, refuse_if
from numbarnn.model import Model

OPSETS = (17, 22)  # the latest that has been compared with the engines


def to_onnx(
    model: Model, path: str | os.PathLike, *, opset: int = 17, states: bool = True, lengths: bool = True
) -> None:
    """Write a model to an ONNX file.

    Parameters
    ----------
    model : Model
    path : path-like
    opset : int
        Version of the operators, 17 to 22.
    states : bool
        Whether initial states are inputs, which may be left out, and final states outputs: ``lstm.h`` and ``lstm.c`` of shape
        (num_layers * directions, samples, hidden_size).
    lengths : bool
        Whether there is an input ``lengths``, the valid steps of each sample (int32), which may be left out of a call only where
        the runtime allows it; without lengths all steps are valid.

    Notes
    -----
    The graph has the input ``x`` (samples, time steps, features), or int64 tokens (samples, time steps), and the output ``y`` of
    `Model.forward`: of classifiers, logits. Samples and time steps are of any number. The axes of the recurrent operators are in
    the order that all runtimes know (``layout=0``). Dropout does not act. A gate that is fixed gets weights of 0 and a bias that
    gives its value. IndRNN becomes an RNN with a diagonal matrix.

    Raises
    ------
    InteropError
        If a layer has no counterpart in ONNX, such as a cell of your own; `reasons` lists all of them.
    ModuleNotFoundError
        If onnx is not installed.
    OSError
        If the file cannot be written; the existing file is left as it was.

    Examples
    --------
    >>> to_onnx(model, "tagger.onnx")  # doctest: +SKIP
    >>> session = onnxruntime.InferenceSession("tagger.onnx")  # doctest: +SKIP
    """
    check_model(model)
    check_integer(opset, "opset", *OPSETS)
    check_flag("to_onnx", "states", states)
    check_flag("to_onnx", "lengths", lengths)
    onnx = package("onnx", "to_onnx", "'numbarnn[onnx]'")
    from numbarnn.interop.onnx.write.graph import proto_of, reasons_against

    refuse_if(reasons_against(model), "ONNX")
    proto = proto_of(model, opset, states, lengths)
    onnx.checker.check_model(proto, full_check=True)
    replace(path, proto.SerializeToString())
