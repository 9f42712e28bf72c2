"""A row of a table for every token, or the sum of those of a bag."""

from numbarnn.backends.cpu.batch import Call, Rows
from numbarnn.backends.cpu.segments import over_blocks, sum_of
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
    dy_row = dy.values.shape[1]

    def take(t, n):
        row = t * rows.samples + n
        return tape.values[row], dy.values[row]

    def run(taken, active, samples, part):
        if part.begins:
            gradient[first : first + layer.size * size] = 0
        values, dvalues = (array.reshape(-1) for array in taken or (tape.values, dy.values))
        given = dvalues, dy_row, size, active, samples, (part.first, part.last), gradient, first
        if bag:
            kernel, given = tokens.bag_gradient, (values, bag, *given)
        else:
            kernel, given = tokens.embedding_gradient, (values, *given)
        call.over(size, (part.last - part.first) * size * max(bag, 1), lambda a, b: kernel(*given, a, b))

    over_blocks(call, rows, sum_of(call), take, run)
    return None, ()
