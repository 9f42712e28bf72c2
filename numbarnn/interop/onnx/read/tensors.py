"""Tensors and attributes of a file as arrays and numbers."""

import os

import numpy as np

from numbarnn.errors import InteropError

TENSOR = 4  # the kind of an attribute


class Tensors:
    """Reads the arrays of a graph, which may be in files beside it; of such a file, no more than it has.

    Parameters
    ----------
    folder : str or None
        That of the graph; None: it has no file.

    Attributes
    ----------
    loaded : int
        Bytes that have been read from other files.
    """

    def __init__(self, folder: str | None):
        self.folder, self.loaded = folder, 0
        self._left: dict[str, int] = {}

    def array_of(self, tensor, where: str) -> np.ndarray:
        """Return the array of a TensorProto, which is called `where` in messages."""
        from onnx import external_data_helper as external
        from onnx import numpy_helper

        try:
            if external.uses_external_data(tensor):
                if self.folder is None:
                    raise ValueError("it is in another file: pass the path of the graph, or save it as one file")
                self._take(external.ExternalDataInfo(tensor))
                external.load_external_data_for_tensor(tensor, self.folder)  # no path out of the folder
            return numpy_helper.to_array(tensor)
        except Exception as error:  # whatever a damaged tensor makes onnx and NumPy raise
            raise InteropError("the ONNX graph cannot be converted:", [f"{where}: {error}"]) from None

    def _take(self, info) -> None:
        """Count the bytes of an array; raise ValueError if arrays together have more than their file."""
        if info.location not in self._left:
            self._left[info.location] = os.path.getsize(os.path.join(self.folder, info.location))
        size = info.length or self._left[info.location]
        self._left[info.location] -= size
        self.loaded += size
        if self._left[info.location] < 0:
            raise ValueError(f"it and the arrays before it are larger than the file {info.location!r}")

    def attribute_of(self, attribute):
        """Return the value of an attribute; None of kinds that no layer has, such as graphs."""
        kind = attribute.type
        if kind == TENSOR:
            return self.array_of(attribute.t, f"attribute {attribute.name!r}")
        found = {
            1: lambda: attribute.f, 2: lambda: attribute.i, 3: lambda: attribute.s.decode("utf-8", "replace"),
            6: lambda: list(attribute.floats), 7: lambda: list(attribute.ints),
            8: lambda: [text.decode("utf-8", "replace") for text in attribute.strings],
        }  # fmt: skip
        return found[kind]() if kind in found else None
