"""Models of other packages, from and to: torch, ONNX, Keras.

A conversion is exact or it is refused: `numbarnn.errors.InteropError` lists everything that stands in the way. The other package is
imported by the function that needs it (extras ``torch``, ``onnx`` and ``keras``).
"""

from numbarnn.errors import InteropError
from numbarnn.interop.keras.load import from_keras
from numbarnn.interop.keras.save import to_keras
from numbarnn.interop.onnx.load import from_onnx
from numbarnn.interop.onnx.save import to_onnx
from numbarnn.interop.torch.load import from_torch
from numbarnn.interop.torch.save import to_torch

__all__ = ["InteropError", "from_keras", "from_onnx", "from_torch", "to_keras", "to_onnx", "to_torch"]
