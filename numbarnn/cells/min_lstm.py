"""The minimal LSTM: gates and candidate see the input alone, and there is no carry beside the output."""

from typing import NamedTuple

from numbarnn.kernels.scalar import clip, sigmoid

# Pre-activations of gates are limited to [-LIMIT, LIMIT]. Below, in float32, both gates could be zero, and f / (f + i) NaN.
LIMIT = 80


class MinLSTM(NamedTuple):
    """minLSTM, an LSTM whose gates do not see h_{t-1}, and add up to 1.

    ::

        i, f   = sigmoid(W x_t + b)                    input and forget gate
        g      = W_g x_t + b_g                         candidate
        i', f' = i / (f + i), f / (f + i)
        h_t    = f' h_{t-1} + i' g

    The one state is h. Pre-activations of i and f count as those of the interval [-80, 80].

    References
    ----------
    L. Feng, F. Tung, M. O. Ahmed, Y. Bengio, H. Hajimirsadeghi, "Were RNNs all we needed?", arXiv:2410.01201 (2024), section
    3.2 (minLSTM).
    """

    gates = ("i", "f", "g")
    preactivations = ("i", "f", "g")
    from_input = {"i": "i", "f": "f", "g": "g"}
    from_hidden = {}
    states = ("h",)
    saved = ("i", "f", "g")
    diagonal = ()

    @staticmethod
    def forward(cell, preactivations, states, diagonal):
        i, f, g = preactivations
        (h,) = states
        limit = type(h)(LIMIT)
        i, f = sigmoid(clip(i, limit)), sigmoid(clip(f, limit))
        return ((f * h + i * g) / (f + i),), (i, f, g)

    @staticmethod
    def backward(cell, saved, states, diagonal, after, gradients):
        i, f, g = saved
        (h,) = states
        (dh,) = gradients
        one = type(h)(1)
        share = one / (f + i)
        keep, take = f * share, i * share
        # They add up to 1: what one of them gains, the other one loses.
        turn = dh * (h - g) * keep * take
        return (-turn * (one - i), turn * (one - f), dh * take), (dh * keep,), ()
