"""One-hot vectors, which are never made: the next layer gathers columns of its weights instead."""

from numbarnn.backends.cuda.batch import Call, Layout, Rows
from numbarnn.core.signal import Signal


def prepare(call: Call, layer, params, prefix: str, signal: Signal, old=None):
    """Return None: there are no weights."""


def forward(call: Call, layer, weights, x: Rows, layout: Layout, state, number: int):
    """Return the tokens as they are."""
    return x, layout, None, None


def backward(call: Call, layer, weights, tape, dy: Rows, layout: Layout, dfinal, gradient, need_dx: bool, number: int):
    """Do nothing: tokens have no gradient."""
    return None, None
