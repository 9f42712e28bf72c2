"""An activation, of a layer of its own or of a dense layer."""

from numbarnn.backends.recorded.batch import Call, Rows
from numbarnn.kernels.activation import ACTIVATIONS
from numbarnn.kernels.cpu import activation as kernels


def prepare(call: Call, layer, params, prefix: str, signal, old=None):
    """Return None: there are no weights."""


def forward(call: Call, layer, weights, x: Rows, layout, state, number: int):
    """Return (output, its layout, final states, tape)."""
    y = activate(call, layer.activation, x, layout)
    return y, layout, (), y


def backward(call: Call, layer, weights, tape, dy: Rows, layout, dfinal, gradient, need_dx: bool, number: int):
    """Write down the way back; return (gradient of x or None, of the initial states)."""
    return (gradient_below(call, layer.activation, tape, dy, layout) if need_dx else None), ()


def activate(call: Call, activation: str, x: Rows, layout) -> Rows:
    """Return y = f(x)."""
    rows, y = layout.flat(), call.empty(x.values.shape)
    call.run(
        kernels.activate_rows, ACTIVATIONS[activation], x.values.flat(), y.flat(), y.shape[1], x.size, rows.active,
        rows.samples, 0, rows.samples,
    )  # fmt: skip
    return Rows(y, x.size)


def gradient_below(call: Call, activation: str, y: Rows, dy: Rows, layout) -> Rows:
    """Return the gradient of x from that of y = f(x)."""
    rows, dx = layout.flat(), call.empty(dy.values.shape)
    call.run(
        kernels.slope_rows, ACTIVATIONS[activation], y.values.flat(), dy.values.flat(), dx.flat(), dx.shape[1], y.size,
        rows.active, rows.samples, 0, rows.samples,
    )  # fmt: skip
    return Rows(dx, dy.size)
