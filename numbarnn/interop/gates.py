"""The order of gates in arrays of other packages, by name: blocks of rows of weights and biases."""

import numpy as np

# Ours, which are torch's.
OURS = {"RNN": ("h",), "LSTM": ("i", "f", "g", "o"), "GRU": ("r", "z", "n")}
ONNX = {"RNN": ("h",), "LSTM": ("i", "o", "f", "g"), "GRU": ("z", "r", "n")}
KERAS = {"RNN": ("h",), "LSTM": ("i", "f", "g", "o"), "GRU": ("z", "r", "n")}
# Peepholes are vectors of their own here, and one vector in ONNX.
PEEPHOLES = ("ci", "co", "cf")


def reordered(kind: str, array: np.ndarray, before, after) -> np.ndarray:
    """Return the blocks of rows of an array in another order of gates.

    Parameters
    ----------
    kind : {"RNN", "LSTM", "GRU"}
    array : (gates * H, ...) array
    before, after : dict
        `OURS`, `ONNX` or `KERAS`.

    Returns
    -------
    array
    """
    blocks = dict(zip(before[kind], np.split(array, len(before[kind])), strict=True))
    return np.concatenate([blocks[gate] for gate in after[kind]])
