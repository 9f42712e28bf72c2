"""Long short-term memory."""

from typing import NamedTuple

from numbarnn.cells.gate import FREE, candidate, candidate_slope, gate, gate_slope
from numbarnn.kernels.scalar import fma, inlined, tanh


@inlined
def forget_gate(cell, i, x):
    """Return f: the gate of pre-activation x (or its fixed value), or 1 - i where the gates are coupled."""
    fix = type(x)(cell.fix_f) if cell.coupled == 0 else type(x)(1)
    return fma(type(x)(-cell.coupled), i, gate(fix, x))


@inlined
def input_and_forget_slopes(cell, i, f, g, c, dc):
    """Return the gradients of the pre-activations of i and f from that of the carry f c + i g."""
    coupled = type(c)(cell.coupled)
    alone = type(c)(1) - coupled
    return dc * fma(-coupled, c, g) * gate_slope(cell.fix_i, i), alone * dc * c * gate_slope(cell.fix_f, f)


class LSTM(NamedTuple):
    """LSTM with a forget gate, as in torch, cuDNN and Keras.

    ::

        i, f, o = sigmoid(W x_t + b + R h_{t-1} + b')      input, forget and output gate
        g       = tanh(W x_t + b + R h_{t-1} + b')         candidate
        c_t     = f c_{t-1} + i g                          carry
        h_t     = o tanh(c_t)

    Parameters
    ----------
    coupled : int
        1: f = 1 - i, which the forget gate's weights do not enter (``input_forget`` of ONNX); 0: as above.
    fix_i, fix_f, fix_g, fix_o : float
        A value at which i, f, g or o is fixed (clamped), whatever its pre-activation; its weights get a gradient of exactly
        zero. `numbarnn.cells.gate.FREE`: not fixed. f of a coupled cell is always 1 - i.

    References
    ----------
    S. Hochreiter, J. Schmidhuber, "Long short-term memory", Neural Computation 9 (1997) 1735-1780; F. A. Gers, J.
    Schmidhuber, F. Cummins, "Learning to forget", Neural Computation 12 (2000) 2451-2471 (the forget gate); K. Greff,
    R. K. Srivastava, J. Koutnik, B. R. Steunebrink, J. Schmidhuber, "LSTM: a search space odyssey", IEEE Transactions on
    Neural Networks and Learning Systems 28 (2017) 2222-2232 (coupled gates).
    """

    coupled: int = 0
    fix_i: float = FREE
    fix_f: float = FREE
    fix_g: float = FREE
    fix_o: float = FREE

    gates = ("i", "f", "g", "o")
    preactivations = ("i", "f", "g", "o")
    from_input = {"i": "i", "f": "f", "g": "g", "o": "o"}
    from_hidden = {"i": "i", "f": "f", "g": "g", "o": "o"}
    states = ("h", "c")
    saved = ("i", "f", "g", "o")
    diagonal = ()

    @staticmethod
    def forward(cell, preactivations, states, diagonal):
        i, g, o = (
            gate(cell.fix_i, preactivations[0]),
            candidate(cell.fix_g, preactivations[2]),
            gate(cell.fix_o, preactivations[3]),
        )
        f = forget_gate(cell, i, preactivations[1])
        c = f * states[1] + i * g
        return (o * tanh(c), c), (i, f, g, o)

    @staticmethod
    def backward(cell, saved, states, diagonal, after, gradients):
        i, f, g, o = saved
        dh, dc = gradients
        one = type(dh)(1)
        squashed = tanh(after[1])
        dc = dc + dh * o * (one - squashed * squashed)
        di, df = input_and_forget_slopes(cell, i, f, g, states[1], dc)
        dg = dc * i * candidate_slope(cell.fix_g, g)
        do = dh * squashed * gate_slope(cell.fix_o, o)
        return (di, df, dg, do), (type(dh)(0), dc * f), ()
