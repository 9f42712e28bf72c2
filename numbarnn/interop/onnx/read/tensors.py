"""Tensors and attributes of a file as arrays and numbers."""

import numpy as np

from numbarnn.errors import InteropError

TENSOR = 4  # the kind of an attribute


def array_of(tensor, where: str, folder: str | None) -> np.ndarray:
    """Return the array of a tensor, which may be in a file beside that of the graph.

    Parameters
    ----------
    tensor : onnx.TensorProto
    where : str
        The tensor, in messages.
    folder : str or None
        That of the graph; None: it has no file.
    """
    from onnx import external_data_helper as external
    from onnx import numpy_helper

    try:
        if external.uses_external_data(tensor):
            if folder is None:
                raise ValueError("it is in another file: pass the path of the graph, or save it as one file")
            external.load_external_data_for_tensor(tensor, folder)  # no path out of the folder
        return numpy_helper.to_array(tensor)
    except Exception as error:  # whatever a damaged tensor makes onnx and NumPy raise
        raise InteropError("the ONNX graph cannot be converted:", [f"{where}: {error}"]) from None


def attribute_of(attribute, folder: str | None):
    """Return the value of an attribute; None of kinds that no layer has, such as graphs."""
    kind = attribute.type
    if kind == TENSOR:
        return array_of(attribute.t, f"attribute {attribute.name!r}", folder)
    found = {
        1: lambda: attribute.f, 2: lambda: attribute.i, 3: lambda: attribute.s.decode("utf-8", "replace"),
        6: lambda: list(attribute.floats), 7: lambda: list(attribute.ints),
        8: lambda: [text.decode("utf-8", "replace") for text in attribute.strings],
    }  # fmt: skip
    return found[kind]() if kind in found else None
