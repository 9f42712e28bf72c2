"""Dropout between layers, on a device."""

from numbarnn.backends.cuda.batch import Call, Layout, Rows
from numbarnn.core.signal import Signal
from numbarnn.kernels.cuda import dropout as dropouts
from numbarnn.kernels.cuda.groups import SpacedRows


def prepare(call: Call, layer, params, prefix: str, signal: Signal, old=None):
    """Return None: there are no weights."""


def forward(call: Call, layer, weights, x: Rows, layout: Layout, state, number: int):
    """Return (output, its layout, final states, tape)."""
    return _dropped(call, layer, x, layout, number), layout, None, None


def backward(call: Call, layer, weights, tape, dy: Rows, layout: Layout, dfinal, gradient, need_dx: bool, number: int):
    """Write the gradients of the parameters; return (gradient of x or None, of the initial states)."""
    return (_dropped(call, layer, dy, layout, number) if need_dx else None), None


def _dropped(call, layer, x, layout, number):
    if not (call.training and layer.rate):
        return x
    return drop(call, x, layout, layer.rate, number << 8, layer.same_over_time)


def drop(call: Call, x: Rows, layout: Layout, rate: float, stream: int, same_over_time: bool = False) -> Rows:
    """Return x after dropout with the mask of (call.seed, call.step, stream), the CPU's, of every step or of the first for all."""
    y = call.empty(x.values.size)
    before, after = SpacedRows(x.values, x.size), SpacedRows(y, x.size)
    dropouts.dropout(before, after, x.size, layout.sequences, rate, call.seed, call.step, stream, same_over_time)
    return Rows(y, x.size, x.count)
