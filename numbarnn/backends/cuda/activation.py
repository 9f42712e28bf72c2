"""An activation, of a layer of its own or of a dense layer, on a device."""

from numbarnn.backends.cuda.batch import Call, Layout, Rows
from numbarnn.core.signal import Signal
from numbarnn.kernels.activation import ACTIVATIONS
from numbarnn.kernels.cuda import activation as kernels
from numbarnn.kernels.cuda import layout as moves
from numbarnn.kernels.cuda.launch import THREADS, blocks_for
from numbarnn.kernels.cuda.layout import grid_of


def prepare(call: Call, layer, params, prefix: str, signal: Signal, old=None):
    """Return None: there are no weights."""


def forward(call: Call, layer, weights, x: Rows, layout: Layout, state, number: int):
    """Return (output, its layout, final states, tape)."""
    y = activate(call, layer.activation, x, layout)
    return y, layout, None, y


def backward(call: Call, layer, weights, tape, dy: Rows, layout: Layout, dfinal, gradient, need_dx: bool, number: int):
    """Write the gradients of the parameters; return (gradient of x or None, of the initial states)."""
    return (gradient_below(call, layer.activation, tape, dy, layout) if need_dx else None), None


def activate(call: Call, activation: str, x: Rows, layout: Layout) -> Rows:
    """Return y = f(x)."""
    count = x.values.size
    y = call.empty(count)
    kernels.activate_values(blocks_for(count), THREADS, ACTIVATIONS[activation], x.values, y, count)
    if not layout.full:  # f(0) may not be zero
        moves.clear_rows(*grid_of(layout.samples, x.size), layout.lengths, y, layout.steps, layout.samples, x.size)
    return Rows(y, x.size, x.count)


def gradient_below(call: Call, activation: str, y: Rows, dy: Rows, layout: Layout) -> Rows:
    """Return the gradient of x from that of y = f(x)."""
    count = y.values.size
    dx = call.empty(count)
    kernels.slope_values(blocks_for(count), THREADS, ACTIVATIONS[activation], y.values, dy.values, dx, count)
    return Rows(dx, dy.size, dy.count)
