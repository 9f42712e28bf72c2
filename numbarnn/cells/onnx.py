"""Cells of ONNX' operators RNN, LSTM and GRU with any of their activations, and with pre-activations that are clipped.

The module registers them, and is imported where a model names one (`numbarnn.cells.contract.OPTIONAL`). A net with the usual
activations has the usual cells, which are faster. Options of all:

f, g, h : int
    Codes of the activations in `numbarnn.cells.curves`: f of the gates, g of the candidate, h of the carry (of an RNN, f alone).
f_alpha, f_beta, g_alpha, ... : float
    Their alpha and beta, where they have such.
clip : float
    What pre-activations are limited to, [-clip, clip]; the carry is not, as in ONNX Runtime and OpenVINO. 0: no limit.
coupled : int
    1: the forget gate of an LSTM is 1 - i (``input_forget``).

Equations and gates are those of the cells without ``Onnx`` in their names; with the default options results are equal to theirs.

References
----------
ONNX operators RNN-22, LSTM-22 and GRU-22, https://onnx.ai/onnx/operators/.
"""

from typing import NamedTuple

from numbarnn.cells.contract import register
from numbarnn.cells.curves import SIGMOID, SOFTPLUS, TANH, curve, curve_slope
from numbarnn.kernels.scalar import inlined


@inlined
def gate(cell, x):
    """Return a gate of its pre-activation."""
    return curve(cell.f, cell.f_alpha, cell.f_beta, cell.clip, x)


@inlined
def gate_slope(cell, x):
    """Return the derivative of `gate`."""
    return curve_slope(cell.f, cell.f_alpha, cell.f_beta, cell.clip, x)


@inlined
def candidate(cell, x):
    """Return the candidate of its pre-activation."""
    return curve(cell.g, cell.g_alpha, cell.g_beta, cell.clip, x)


@inlined
def candidate_slope(cell, x):
    """Return the derivative of `candidate`."""
    return curve_slope(cell.g, cell.g_alpha, cell.g_beta, cell.clip, x)


def check_options(cell):
    """Raise ValueError where an option of a cell is none of those that it can have; `numbarnn.cells.contract.typed` calls it."""
    name = type(cell).__name__
    for function in sorted({"f", "g", "h"} & set(cell._fields)):
        code = getattr(cell, function)
        if not 0 <= code <= SOFTPLUS:
            raise ValueError(
                f"option {function} of {name} must be the code of an activation, 0 to {SOFTPLUS}, got {code}"
            )
    if cell.clip < 0:
        raise ValueError(f"option clip of {name} must be positive, or 0 for no limit, got {cell.clip}")
    if getattr(cell, "coupled", 0) not in (0, 1):
        raise ValueError(f"option coupled of {name} must be 0 or 1, got {cell.coupled}")


@register
class OnnxRNN(NamedTuple):
    """`numbarnn.cells.RNN` with any activation, and clipped."""

    f: int = TANH
    f_alpha: float = 0.0
    f_beta: float = 0.0
    clip: float = 0.0

    gates = ("h",)
    preactivations = ("h",)
    from_input = {"h": "h"}
    from_hidden = {"h": "h"}
    states = ("h",)
    saved = ("z",)
    diagonal = ()
    check_options = check_options

    @staticmethod
    def forward(cell, preactivations, states, diagonal):
        return (gate(cell, preactivations[0]),), (preactivations[0],)

    @staticmethod
    def backward(cell, saved, states, diagonal, after, gradients):
        (dh,) = gradients
        return (dh * gate_slope(cell, saved[0]),), (type(dh)(0),), ()


@inlined
def carried(cell, i, f, before, g):
    """Return the carry of an LSTM; f is that of its pre-activation, which a coupled cell does not heed."""
    f = type(i)(1) - i if cell.coupled else f
    return f * before + i * g


@inlined
def before_output(cell, i_x, f_x, g_x, before, dc):
    """Return the gradients of the pre-activations of i, f and g, and of the carry before, from that of the carry."""
    i, g = gate(cell, i_x), candidate(cell, g_x)
    zero, one = type(dc)(0), type(dc)(1)
    f = one - i if cell.coupled else gate(cell, f_x)
    di = dc * (g - before if cell.coupled else g) * gate_slope(cell, i_x)
    df = zero if cell.coupled else dc * before * gate_slope(cell, f_x)
    return di, df, dc * i * candidate_slope(cell, g_x), dc * f


@register
class OnnxLSTM(NamedTuple):
    """`numbarnn.cells.LSTM` with any activations, and clipped."""

    f: int = SIGMOID
    f_alpha: float = 0.0
    f_beta: float = 0.0
    g: int = TANH
    g_alpha: float = 0.0
    g_beta: float = 0.0
    h: int = TANH
    h_alpha: float = 0.0
    h_beta: float = 0.0
    clip: float = 0.0
    coupled: int = 0

    gates = ("i", "f", "g", "o")
    preactivations = ("i", "f", "g", "o")
    from_input = {"i": "i", "f": "f", "g": "g", "o": "o"}
    from_hidden = {"i": "i", "f": "f", "g": "g", "o": "o"}
    states = ("h", "c")
    saved = ("i", "f", "g", "o")
    diagonal = ()
    check_options = check_options

    @staticmethod
    def forward(cell, preactivations, states, diagonal):
        i, f, g, o = preactivations
        c = carried(cell, gate(cell, i), gate(cell, f), states[1], candidate(cell, g))
        h = gate(cell, o) * curve(cell.h, cell.h_alpha, cell.h_beta, 0.0, c)
        return (h, c), (i, f, g, o)

    @staticmethod
    def backward(cell, saved, states, diagonal, after, gradients):
        i, f, g, o = saved
        dh, dc = gradients
        c = after[1]
        do = dh * curve(cell.h, cell.h_alpha, cell.h_beta, 0.0, c) * gate_slope(cell, o)
        dc = dc + dh * gate(cell, o) * curve_slope(cell.h, cell.h_alpha, cell.h_beta, 0.0, c)
        di, df, dg, dbefore = before_output(cell, i, f, g, states[1], dc)
        return (di, df, dg, do), (type(dh)(0), dbefore), ()


@register
class OnnxPeepholeLSTM(NamedTuple):
    """`numbarnn.cells.PeepholeLSTM` with any activations, and clipped; peepholes are clipped with the pre-activations."""

    f: int = SIGMOID
    f_alpha: float = 0.0
    f_beta: float = 0.0
    g: int = TANH
    g_alpha: float = 0.0
    g_beta: float = 0.0
    h: int = TANH
    h_alpha: float = 0.0
    h_beta: float = 0.0
    clip: float = 0.0
    coupled: int = 0

    gates = ("i", "f", "g", "o")
    preactivations = ("i", "f", "g", "o")
    from_input = {"i": "i", "f": "f", "g": "g", "o": "o"}
    from_hidden = {"i": "i", "f": "f", "g": "g", "o": "o"}
    states = ("h", "c")
    saved = ("i", "f", "g", "o")
    diagonal = ("ci", "cf", "co")
    diagonal_init = "bias"
    check_options = check_options

    @staticmethod
    def forward(cell, preactivations, states, diagonal):
        before = states[1]
        i, f, g = preactivations[0] + diagonal[0] * before, preactivations[1] + diagonal[1] * before, preactivations[2]
        c = carried(cell, gate(cell, i), gate(cell, f), before, candidate(cell, g))
        o = preactivations[3] + diagonal[2] * c
        h = gate(cell, o) * curve(cell.h, cell.h_alpha, cell.h_beta, 0.0, c)
        return (h, c), (i, f, g, o)

    @staticmethod
    def backward(cell, saved, states, diagonal, after, gradients):
        i, f, g, o = saved
        dh, dc = gradients
        before, c = states[1], after[1]
        do = dh * curve(cell.h, cell.h_alpha, cell.h_beta, 0.0, c) * gate_slope(cell, o)
        dc = dc + dh * gate(cell, o) * curve_slope(cell.h, cell.h_alpha, cell.h_beta, 0.0, c) + do * diagonal[2]
        di, df, dg, dbefore = before_output(cell, i, f, g, before, dc)
        dbefore = dbefore + di * diagonal[0] + df * diagonal[1]
        return (di, df, dg, do), (type(dh)(0), dbefore), (di * before, df * before, do * c)


@register
class OnnxGRU(NamedTuple):
    """`numbarnn.cells.GRU` with any activations, and clipped."""

    f: int = SIGMOID
    f_alpha: float = 0.0
    f_beta: float = 0.0
    g: int = TANH
    g_alpha: float = 0.0
    g_beta: float = 0.0
    clip: float = 0.0

    gates = ("r", "z", "n")
    preactivations = ("n_x", "r", "z", "n_h")
    from_input = {"n_x": "n", "r": "r", "z": "z"}
    from_hidden = {"r": "r", "z": "z", "n_h": "n"}
    states = ("h",)
    saved = ("r", "z", "n", "n_h")
    diagonal = ()
    check_options = check_options

    @staticmethod
    def forward(cell, preactivations, states, diagonal):
        n_x, r, z, n_h = preactivations
        (h,) = states
        n_x = n_x + gate(cell, r) * n_h
        n = candidate(cell, n_x)
        return (n + gate(cell, z) * (h - n),), (r, z, n_x, n_h)

    @staticmethod
    def backward(cell, saved, states, diagonal, after, gradients):
        r_x, z_x, n_x, n_h = saved
        (h,) = states
        (dh,) = gradients
        r, z, n = gate(cell, r_x), gate(cell, z_x), candidate(cell, n_x)
        dn = dh * (type(h)(1) - z) * candidate_slope(cell, n_x)
        dr = dn * n_h * gate_slope(cell, r_x)
        dz = dh * (h - n) * gate_slope(cell, z_x)
        return (dn, dr, dz, dn * r), (dh * z,), ()


@register
class OnnxResetBeforeGRU(NamedTuple):
    """`numbarnn.cells.ResetBeforeGRU` with any activations, and clipped."""

    f: int = SIGMOID
    f_alpha: float = 0.0
    f_beta: float = 0.0
    g: int = TANH
    g_alpha: float = 0.0
    g_beta: float = 0.0
    clip: float = 0.0

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
    check_options = check_options

    @staticmethod
    def inner_forward(cell, preactivations, states, diagonal):
        return (gate(cell, preactivations[0]) * states[0],), (preactivations[0],)

    @staticmethod
    def forward(cell, preactivations, states, diagonal):
        n = candidate(cell, preactivations[2])
        return (n + gate(cell, preactivations[1]) * (states[0] - n),), (preactivations[1], preactivations[2])

    @staticmethod
    def backward(cell, saved, states, diagonal, after, gradients):
        z_x, n_x = saved
        (h,) = states
        (dh,) = gradients
        z, n = gate(cell, z_x), candidate(cell, n_x)
        dz = dh * (h - n) * gate_slope(cell, z_x)
        dn = dh * (type(h)(1) - z) * candidate_slope(cell, n_x)
        return (type(h)(0), dz, dn), (dh * z,), ()

    @staticmethod
    def inner_backward(cell, inner_saved, states, diagonal, dinner):
        (r_x,) = inner_saved
        (h,) = states
        (drh,) = dinner
        zero = type(h)(0)
        return (drh * h * gate_slope(cell, r_x), zero, zero), (drh * gate(cell, r_x),), ()
