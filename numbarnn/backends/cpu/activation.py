"""An activation, of a layer of its own or of a dense layer."""

from numbarnn.backends.cpu.batch import Call, Rows
from numbarnn.core.layout import Layout
from numbarnn.core.signal import Signal
from numbarnn.kernels.activation import ACTIVATIONS
from numbarnn.kernels.cpu import activation as kernels

# What the activation of a value costs in multiply-adds, about.
COST = 12.0


def prepare(call: Call, layer, params, prefix: str, signal: Signal, old=None):
    """Return None: there are no weights."""


def forward(call: Call, layer, weights, x: Rows, layout: Layout, state, number: int):
    """Return (output, its layout, final states, tape)."""
    y = activate(call, layer.activation, x, layout)
    return y, layout, (), y if call.keep else None


def backward(call: Call, layer, weights, tape, dy: Rows, layout: Layout, dfinal, gradient, need_dx: bool, number: int):
    """Write the gradients of the parameters; return (gradient of x or None, of the initial states)."""
    return (gradient_below(call, layer.activation, tape, dy, layout) if need_dx else None), ()


def activate(call: Call, activation: str, x: Rows, layout: Layout) -> Rows:
    """Return y = f(x)."""
    rows, shape = layout.flat(), x.values.shape
    y = call.empty(shape) if layout.full else call.zeros(shape)
    given = x.values.reshape(-1), y.reshape(-1)
    call.over_samples(
        rows,
        rows.running * x.size * COST,
        lambda lo, hi: kernels.activate_rows(
            ACTIVATIONS[activation], *given, shape[1], x.size, rows.active, rows.samples, lo, hi
        ),
    )
    return Rows(y, x.size, x.sample_major)


def gradient_below(call: Call, activation: str, y: Rows, dy: Rows, layout: Layout) -> Rows:
    """Return the gradient of x from that of y = f(x)."""
    rows, shape = layout.flat(), dy.values.shape
    dx = call.empty(shape) if layout.full else call.zeros(shape)
    given = y.values.reshape(-1), dy.values.reshape(-1), dx.reshape(-1)
    call.over_samples(
        rows,
        rows.running * y.size,
        lambda lo, hi: kernels.slope_rows(
            ACTIVATIONS[activation], *given, shape[1], y.size, rows.active, rows.samples, lo, hi
        ),
    )
    return Rows(dx, dy.size)
