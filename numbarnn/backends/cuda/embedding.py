"""A row of a table for every token, or the sum of those of a bag, on a device."""

from numbarnn.backends.cuda.batch import Call, Layout, Rows
from numbarnn.core.signal import Signal
from numbarnn.kernels.cuda import tokens


def prepare(call: Call, layer, params, prefix: str, signal: Signal, old=None):
    """Return what passes need to know of the weights."""
    flat = params.flat
    return (flat, params.offsets[f"{prefix}weight"]) if old is None else old


def forward(call: Call, layer, weights, x: Rows, layout: Layout, state, number: int):
    """Return (output, its layout, final states, tape)."""
    y = call.empty(x.count * layer.features)
    table, rows = weights[0].part(weights[1], layer.size * layer.features), (x.count, *layout.ended)
    if x.bag:
        tokens.gather_bags(table, layer.features, x.values, x.bag, y, layer.features, *rows)
    else:
        tokens.gather(table, layer.features, x.values, y, layer.features, *rows)
    return Rows(y, layer.features, x.count), layout, None, x


def backward(call: Call, layer, weights, tape, dy: Rows, layout: Layout, dfinal, gradient, need_dx: bool, number: int):
    """Write the gradients of the parameters; return (gradient of x or None, of the initial states)."""
    columns = layer.features
    strides, x = (columns, 1), tape
    if x.bag:
        tokens.bag_gradient(
            x.values, x.bag, layer.size, dy.values, columns, columns, x.count, gradient, weights[1], *strides
        )
    else:
        tokens.token_gradient(
            x.values, layer.size, dy.values, columns, columns, x.count, gradient, weights[1], *strides
        )
    return None, None
