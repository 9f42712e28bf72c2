"""The minimal gated recurrent unit: gate and candidate see the input alone, so a step has no recurrent product."""

from typing import NamedTuple

from numbarnn.kernels.scalar import sigmoid


class MinGRU(NamedTuple):
    """minGRU, a GRU whose gate and candidate do not see h_{t-1}.

    ::

        z   = sigmoid(W_z x_t + b_z)          update gate
        n   = W_n x_t + b_n                   candidate
        h_t = (1 - z) h_{t-1} + z n

    z has the sense of the paper: it is the share of what is new, the opposite of the z of `numbarnn.cells.GRU`.

    References
    ----------
    L. Feng, F. Tung, M. O. Ahmed, Y. Bengio, H. Hajimirsadeghi, "Were RNNs all we needed?", arXiv:2410.01201 (2024), section
    3.1 (minGRU).
    """

    gates = ("z", "n")
    preactivations = ("z", "n")
    from_input = {"z": "z", "n": "n"}
    from_hidden = {}
    states = ("h",)
    saved = ("z", "n")
    diagonal = ()

    @staticmethod
    def forward(cell, preactivations, states, diagonal):
        z, n = preactivations
        (h,) = states
        z = sigmoid(z)
        return (h + z * (n - h),), (z, n)

    @staticmethod
    def backward(cell, saved, states, diagonal, after, gradients):
        z, n = saved
        (h,) = states
        (dh,) = gradients
        one = type(h)(1)
        dn = dh * z
        return (dn * (n - h) * (one - z), dn), (dh - dn,), ()
