"""The gated recurrent unit, with the reset gate after the recurrent product."""

from typing import NamedTuple

from numbarnn.cells.gate import FREE, candidate, candidate_slope, gate, gate_slope


class GRU(NamedTuple):
    """GRU as in torch, cuDNN and Keras' default (``reset_after=True``).

    ::

        r, z = sigmoid(W x_t + b + R h_{t-1} + b')              reset and update gate
        n    = tanh(W x_t + b_n + r (R h_{t-1} + b'_n))         candidate
        h_t  = (1 - z) n + z h_{t-1}

    The paper applies the reset before the product, `numbarnn.cells.ResetBeforeGRU`, and its z has the opposite sense
    in some libraries.

    Parameters
    ----------
    fix_r, fix_z, fix_n : float
        A value at which r, z or n is fixed (clamped), whatever its pre-activation; its weights get a gradient of exactly zero.
        `numbarnn.cells.gate.FREE`: not fixed.

    References
    ----------
    K. Cho et al., "Learning phrase representations using RNN encoder-decoder", EMNLP 2014 (eq. 5-8, reset before the
    product).
    """

    fix_r: float = FREE
    fix_z: float = FREE
    fix_n: float = FREE

    gates = ("r", "z", "n")
    preactivations = ("n_x", "r", "z", "n_h")
    from_input = {"n_x": "n", "r": "r", "z": "z"}
    from_hidden = {"r": "r", "z": "z", "n_h": "n"}
    states = ("h",)
    saved = ("r", "z", "n", "n_h")
    diagonal = ()

    @staticmethod
    def forward(cell, preactivations, states, diagonal):
        n_x, r, z, n_h = preactivations
        (h,) = states
        r, z = gate(cell.fix_r, r), gate(cell.fix_z, z)
        n = candidate(cell.fix_n, n_x + r * n_h)
        return (n + z * (h - n),), (r, z, n, n_h)

    @staticmethod
    def backward(cell, saved, states, diagonal, after, gradients):
        r, z, n, n_h = saved
        (h,) = states
        (dh,) = gradients
        one = type(h)(1)
        dn = dh * (one - z) * candidate_slope(cell.fix_n, n)
        dr = dn * n_h * gate_slope(cell.fix_r, r)
        dz = dh * (h - n) * gate_slope(cell.fix_z, z)
        return (dn, dr, dz, dn * r), (dh * z,), ()
