"""Tensors as NumPy arrays."""

import numpy as np

from numbarnn.errors import InteropError


def array_of(tensor) -> np.ndarray:
    """Return a tensor or an array as a NumPy array."""
    if "bfloat16" in (kind := str(getattr(tensor, "dtype", ""))) or "float8" in kind:
        raise InteropError(
            "the torch model cannot be converted:", [f"it has parameters of {kind}; convert it with .float()"]
        )
    try:
        return tensor.detach().cpu().numpy() if hasattr(tensor, "detach") else np.asarray(tensor)
    except (NotImplementedError, RuntimeError, TypeError, ValueError) as error:  # of meta, lazy and sparse tensors
        raise InteropError(
            "the torch model cannot be converted:", [f"it has parameters without an array ({said(error)})"]
        ) from error


def said(error) -> str:
    """Return an error in one line."""
    return f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
