"""Long short-term memory with peepholes: gates that see the carry."""

from typing import NamedTuple

from numbarnn.cells.gate import FREE, candidate, candidate_slope, gate, gate_slope
from numbarnn.cells.lstm import forget_gate, input_and_forget_slopes
from numbarnn.kernels.scalar import tanh


class PeepholeLSTM(NamedTuple):
    """LSTM with peepholes from the carry to the gates, as in ONNX: i and f see it before the step, o after it.

    ::

        i, f = sigmoid(W x_t + b + R h_{t-1} + b' + p c_{t-1})      input and forget gate
        g    = tanh(W x_t + b + R h_{t-1} + b')                     candidate
        c_t  = f c_{t-1} + i g                                      carry
        o    = sigmoid(W x_t + b + R h_{t-1} + b' + p c_t)          output gate
        h_t  = o tanh(c_t)

    A peephole is diagonal: p has one weight for each unit, ``ci``, ``cf`` and ``co`` for the three gates.

    Parameters
    ----------
    coupled, fix_i, fix_f, fix_g, fix_o
        As in `numbarnn.cells.LSTM`.

    References
    ----------
    F. A. Gers, J. Schmidhuber, "Recurrent nets that time and count", IJCNN 2000; F. A. Gers, N. N. Schraudolph, J.
    Schmidhuber, "Learning precise timing with LSTM recurrent networks", Journal of Machine Learning Research 3 (2002)
    115-143.
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
    diagonal = ("ci", "cf", "co")
    diagonal_init = "bias"

    @staticmethod
    def forward(cell, preactivations, states, diagonal):
        before = states[1]
        i, g = gate(cell.fix_i, preactivations[0] + diagonal[0] * before), candidate(cell.fix_g, preactivations[2])
        f = forget_gate(cell, i, preactivations[1] + diagonal[1] * before)
        c = f * before + i * g
        o = gate(cell.fix_o, preactivations[3] + diagonal[2] * c)
        return (o * tanh(c), c), (i, f, g, o)

    @staticmethod
    def backward(cell, saved, states, diagonal, after, gradients):
        i, f, g, o = saved
        dh, dc = gradients
        before, c = states[1], after[1]
        one = type(dh)(1)
        squashed = tanh(c)
        do = dh * squashed * gate_slope(cell.fix_o, o)
        dc = dc + dh * o * (one - squashed * squashed) + do * diagonal[2]
        di, df = input_and_forget_slopes(cell, i, f, g, before, dc)
        dg = dc * i * candidate_slope(cell.fix_g, g)
        dbefore = dc * f + di * diagonal[0] + df * diagonal[1]
        return (di, df, dg, do), (type(dh)(0), dbefore), (di * before, df * before, do * c)
