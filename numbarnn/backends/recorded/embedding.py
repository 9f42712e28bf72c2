"""A row of a table for every token."""

from numbarnn.backends.recorded.batch import WEIGHTS, Call, Rows, own
from numbarnn.kernels.cpu import tokens
from numbarnn.kernels.cpu.memory import padded


def prepare(call: Call, layer, params, prefix: str, signal, old=None):
    """Return the offset of the table in the parameters."""
    return params.offsets[f"{prefix}weight"]


def forward(call: Call, layer, weights, x: Rows, layout, state, number: int):
    """Write down how the rows of the table are gathered."""
    size, rows = layer.features, layout.flat()
    width = padded(size, call.dtype)
    table = own(WEIGHTS, call.parameters, call.dtype, readonly=True).part(weights, layer.size * size)
    y = call.zeros((x.values.shape[0], width))
    call.run(
        tokens.gather, table, size, x.values, rows.active, rows.samples, y.flat(), width, size, 0, rows.samples
    )  # fmt: skip
    return Rows(y, size), layout, (), x


def backward(call: Call, layer, weights, tape, dy: Rows, layout, dfinal, gradient, need_dx: bool, number: int):
    """Write down how the gradients of the rows are added to those of their tokens."""
    rows, size = layout.flat(), layer.features
    call.fill(gradient.part(weights, layer.size * size), 0.0)
    given = dy.values.flat(), dy.values.shape[1], size, rows.active, rows.samples, (0, rows.running), gradient, weights
    call.run(tokens.embedding_gradient, tape.values, *given, 0, size)
    return None, ()
