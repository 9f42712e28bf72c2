"""A row of a table for every token, or the sum of those of a bag."""

from numbarnn.backends.cpu.batch import Call, Rows
from numbarnn.core.layout import Layout
from numbarnn.core.signal import Signal
from numbarnn.kernels.cpu import tokens
from numbarnn.kernels.cpu.memory import padded


def prepare(call: Call, layer, params, prefix: str, signal: Signal, old=None):
    """Return the table, which are the parameters themselves, and its offset in them."""
    return params[f"{prefix}weight"].reshape(-1), params.offsets[f"{prefix}weight"]


def forward(call: Call, layer, weights, x: Rows, layout: Layout, state, number: int):
    """Gather the rows of the table."""
    table, size, width, bag = weights[0], layer.features, padded(layer.features, call.dtype), x.bag
    y = call.zeros((len(x.values), width))
    rows, y_flat = layout.flat(), y.reshape(-1)
    if bag:
        call.over_samples(
            rows,
            rows.running * width * bag,
            lambda lo, hi: tokens.gather_bags(
                table, size, x.values.reshape(-1), bag, rows.active, rows.samples, y_flat, width, size, lo, hi
            ),
        )
    else:
        call.over_samples(
            rows,
            rows.running * width,
            lambda lo, hi: tokens.gather(table, size, x.values, rows.active, rows.samples, y_flat, width, size, lo, hi),
        )
    return Rows(y, size), layout, (), x if call.keep else None


def backward(call: Call, layer, weights, tape, dy: Rows, layout: Layout, dfinal, gradient, need_dx: bool, number: int):
    """Add the gradients of the rows to those of their tokens."""
    first, rows, size, bag = weights[1], layout.flat(), layer.features, tape.bag
    gradient[first : first + layer.size * size] = 0
    values, dy_flat, dy_row = tape.values.reshape(-1), dy.values.reshape(-1), dy.values.shape[1]
    if bag:
        call.over(
            size,
            rows.running * size * bag,
            lambda a, b: tokens.bag_gradient(
                values, bag, dy_flat, dy_row, size, rows.active, rows.samples, gradient, first, a, b
            ),
        )
    else:
        call.over(
            size,
            rows.running * size,
            lambda a, b: tokens.embedding_gradient(
                values, dy_flat, dy_row, size, rows.active, rows.samples, gradient, first, a, b
            ),
        )
    return None, ()
