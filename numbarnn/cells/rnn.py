"""The plain recurrent net of Elman (1990)."""

from typing import NamedTuple

from numbarnn.kernels.activation import activate, slope


class RNN(NamedTuple):
    """h_t = f(W_ih x_t + b_ih + W_hh h_{t-1} + b_hh).

    Parameters
    ----------
    activation : int
        Code of f in `numbarnn.kernels.activation.ACTIVATIONS`.

    References
    ----------
    J. L. Elman, "Finding structure in time", Cognitive Science 14 (1990) 179-211.
    """

    activation: int = 0

    gates = ("h",)
    preactivations = ("h",)
    from_input = {"h": "h"}
    from_hidden = {"h": "h"}
    states = ("h",)
    saved = ()
    diagonal = ()

    @staticmethod
    def forward(cell, preactivations, states, diagonal):
        (z,) = preactivations
        return (activate(cell.activation, z),), ()

    @staticmethod
    def backward(cell, saved, states, diagonal, after, gradients):
        (h,) = after
        (dh,) = gradients
        return (dh * slope(cell.activation, h),), (type(h)(0),), ()
