"""One-hot vectors, which are never made: the next layer gathers columns of its weights instead."""

from numbarnn.backends.recorded.batch import Call, Rows


def prepare(call: Call, layer, params, prefix: str, signal, old=None):
    """Return None: there are no weights."""


def forward(call: Call, layer, weights, x: Rows, layout, state, number: int):
    """Return the tokens as they are."""
    return x, layout, (), None


def backward(call: Call, layer, weights, tape, dy: Rows, layout, dfinal, gradient, need_dx: bool, number: int):
    """Do nothing: tokens have no gradient."""
    return None, ()
