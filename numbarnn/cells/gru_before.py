"""The gated recurrent unit of the paper: the reset gate before the recurrent product, so a cell with a second recurrent product."""

from typing import NamedTuple

from numbarnn.cells.gate import FREE, candidate, candidate_slope, gate, gate_slope


class ResetBeforeGRU(NamedTuple):
    """GRU as in the paper, Keras' ``reset_after=False`` and ONNX' ``linear_before_reset=0``.

    ::

        r, z = sigmoid(W x_t + b + R h_{t-1} + b')              reset and update gate
        n    = tanh(W x_t + b + R (r h_{t-1}) + b')             candidate
        h_t  = (1 - z) n + z h_{t-1}

    The paper has no biases.

    Parameters
    ----------
    fix_r, fix_z, fix_n : float
        As in `numbarnn.cells.GRU`.

    References
    ----------
    K. Cho et al., "Learning phrase representations using RNN encoder-decoder", EMNLP 2014 (eq. 5-8).
    """

    fix_r: float = FREE
    fix_z: float = FREE
    fix_n: float = FREE

    gates = ("r", "z", "n")
    preactivations = ("r", "z", "n")
    from_input = {"r": "r", "z": "z", "n": "n"}
    from_hidden = {"r": "r", "z": "z"}
    from_inner = {"n": "n"}
    states = ("h",)
    inner = ("rh",)
    inner_saved = ("r",)
    saved = ("z", "n")
    diagonal = ()

    @staticmethod
    def inner_forward(cell, preactivations, states, diagonal):
        r = gate(cell.fix_r, preactivations[0])
        return (r * states[0],), (r,)

    @staticmethod
    def forward(cell, preactivations, states, diagonal):
        (h,) = states
        z, n = gate(cell.fix_z, preactivations[1]), candidate(cell.fix_n, preactivations[2])
        return (n + z * (h - n),), (z, n)

    @staticmethod
    def backward(cell, saved, states, diagonal, after, gradients):
        z, n = saved
        (h,) = states
        (dh,) = gradients
        zero, one = type(h)(0), type(h)(1)
        dz = dh * (h - n) * gate_slope(cell.fix_z, z)
        dn = dh * (one - z) * candidate_slope(cell.fix_n, n)
        return (zero, dz, dn), (dh * z,), ()

    @staticmethod
    def inner_backward(cell, inner_saved, states, diagonal, dinner):
        (r,) = inner_saved
        (h,) = states
        (drh,) = dinner
        zero = type(h)(0)
        return (drh * h * gate_slope(cell.fix_r, r), zero, zero), (drh * r,), ()
