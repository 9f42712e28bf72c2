"""Parameters of recurrent layers in other packages: the order of gates, and the names of directions."""

import numpy as np

# Ours, which are torch's.
OURS = {"RNN": ("h",), "LSTM": ("i", "f", "g", "o"), "GRU": ("r", "z", "n")}
ONNX = {"RNN": ("h",), "LSTM": ("i", "o", "f", "g"), "GRU": ("z", "r", "n")}
KERAS = {"RNN": ("h",), "LSTM": ("i", "f", "g", "o"), "GRU": ("z", "r", "n")}
# Peepholes are vectors of their own here, and one vector in ONNX.
PEEPHOLES = ("ci", "co", "cf")


def suffixes(bidirectional: bool, reverse: bool, level: int = 0) -> tuple[str, ...]:
    """Return the ends of the names of the parameters of a level, one for each direction."""
    forward, backward = f"_l{level}", f"_l{level}_reverse"
    return (forward, backward) if bidirectional else (backward,) if reverse else (forward,)


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
