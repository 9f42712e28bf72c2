"""Kernels and biases of Keras layers as parameters, and back: their order, their axes and the order of gates."""

import numpy as np

from numbarnn.interop.gates import KERAS, OURS, reordered
from numbarnn.layers import GRU


def counted(arrays, count):
    """Return arrays; raise ValueError if there are more or fewer, as with LoRA."""
    if len(arrays) != count:
        raise ValueError(f"it has {len(arrays)} arrays of weights; {count} are known")
    return arrays


def ours(kind, arrays, use_bias, reset_after) -> dict:
    """Return kernel, recurrent kernel and bias of Keras as our parameters."""
    kernel, recurrent, *bias = counted(arrays, 2 + bool(use_bias))
    found = {"weight_ih": kernel.T, "weight_hh": recurrent.T}
    if bias:
        if bias[0].ndim != (2 if kind == "GRU" and reset_after else 1):
            raise ValueError(f"its bias has the shape {bias[0].shape}, as that of a GRU with the other reset_after")
        found |= zip(("bias_ih", "bias_hh"), np.atleast_2d(bias[0]), strict=False)
    return {name: reordered(kind, array, KERAS, OURS) for name, array in found.items()}


def theirs(layer, params, suffix):
    """Return kernel, recurrent kernel and bias of Keras."""
    kind = type(layer).__name__
    found = {
        key: reordered(kind, params[key + suffix], OURS, KERAS)
        for key in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        if key + suffix in params
    }
    arrays = [found["weight_ih"].T, found["weight_hh"].T]
    if not layer.bias:
        return arrays
    second = found.get("bias_hh", np.zeros_like(found["bias_ih"]))
    two = isinstance(layer, GRU) and layer.reset_after
    return [*arrays, np.stack([found["bias_ih"], second]) if two else found["bias_ih"] + second]
