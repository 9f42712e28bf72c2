"""Long short-term memory."""

from typing import NamedTuple

from numbarnn.kernels.scalar import sigmoid, tanh


class LSTM(NamedTuple):
    """LSTM with a forget gate, as in torch, cuDNN and Keras.

    ::

        i, f, o = sigmoid(W x_t + b + R h_{t-1} + b')      input, forget and output gate
        g       = tanh(W x_t + b + R h_{t-1} + b')         candidate
        c_t     = f c_{t-1} + i g                          carry
        h_t     = o tanh(c_t)

    References
    ----------
    S. Hochreiter, J. Schmidhuber, "Long short-term memory", Neural Computation 9 (1997) 1735-1780; F. A. Gers, J.
    Schmidhuber, F. Cummins, "Learning to forget", Neural Computation 12 (2000) 2451-2471 (the forget gate).
    """

    gates = ("i", "f", "g", "o")
    planes = ("i", "f", "g", "o")
    input_planes = {"i": "i", "f": "f", "g": "g", "o": "o"}
    recurrent_planes = {"i": "i", "f": "f", "g": "g", "o": "o"}
    states = ("h", "c")
    saved = ("i", "f", "g", "o")
    units = ()

    @staticmethod
    def forward(cell, planes, states, units):
        i, f, g, o = sigmoid(planes[0]), sigmoid(planes[1]), tanh(planes[2]), sigmoid(planes[3])
        c = f * states[1] + i * g
        return (o * tanh(c), c), (i, f, g, o)

    @staticmethod
    def backward(cell, saved, states, units, after, gradients):
        i, f, g, o = saved
        dh, dc = gradients
        one = type(dh)(1)
        squashed = tanh(after[1])
        dc = dc + dh * o * (one - squashed * squashed)
        di = dc * g * i * (one - i)
        df = dc * states[1] * f * (one - f)
        dg = dc * i * (one - g * g)
        do = dh * squashed * o * (one - o)
        return (di, df, dg, do), (type(dh)(0), dc * f), ()
