"""The independently recurrent net: diagonal recurrent weights, so each unit sees only its own previous value."""

from typing import NamedTuple

from numbarnn.kernels.activation import activate, slope


class IndRNN(NamedTuple):
    """h_t = f(W x_t + b + u * h_{t-1}), u a vector of diagonal (per-unit) weights.

    Parameters
    ----------
    activation : int
        Code of f in `numbarnn.kernels.activation.ACTIVATIONS`; the paper's is relu.

    References
    ----------
    S. Li, W. Li, C. Cook, C. Zhu, Y. Gao, "Independently recurrent neural network (IndRNN)", CVPR 2018, eq. 3.
    """

    activation: int = 1

    gates = ("h",)
    preactivations = ("h",)
    from_input = {"h": "h"}
    from_hidden = {}
    states = ("h",)
    saved = ()
    diagonal = ("u",)

    @staticmethod
    def forward(cell, preactivations, states, diagonal):
        (z,) = preactivations
        (h,) = states
        (u,) = diagonal
        return (activate(cell.activation, z + u * h),), ()

    @staticmethod
    def backward(cell, saved, states, diagonal, after, gradients):
        (h,) = states
        (u,) = diagonal
        (dh,) = gradients
        dz = dh * slope(cell.activation, after[0])
        return (dz,), (dz * u,), (dz * h,)
