"""A dense layer on a device."""

import numpy as np

from numbarnn.backends.cuda.activation import activate, gradient_below
from numbarnn.backends.cuda.batch import Call, Layout, Rows
from numbarnn.core.signal import Signal
from numbarnn.kernels.cuda import layout as moves
from numbarnn.kernels.cuda import tokens
from numbarnn.kernels.cuda.layout import grid_of
from numbarnn.kernels.cuda.matmul import column_sums, product
from numbarnn.kernels.cuda.memory import upload


def prepare(call: Call, layer, params, prefix: str, signal: Signal, old=None):
    """Return what passes need to know of the weights."""
    flat = params.flat
    if old is not None:
        return old
    offset = params.offsets[f"{prefix}weight"]
    return flat, offset, params.offsets[f"{prefix}bias"] if layer.bias else None, upload(np.array([offset], np.int64))


def forward(call: Call, layer, weights, x: Rows, layout: Layout, state, number: int):
    """Return (output, its layout, final states, tape)."""
    flat, weight, bias, offsets = weights
    y = call.empty(x.count * layer.size)
    biases = call.zeros(layer.size) if bias is None else flat.part(bias, layer.size)
    if x.tokens:
        table = call.empty(x.size * layer.size)
        tokens.pack_tokens(flat, offsets, layer.size, x.size, biases, table)
        tokens.gather(table, layer.size, x.values, y, layer.size, x.count, *layout.ended)
    else:
        shape = x.count, layer.size, x.size
        product(call.arena, x.values, (x.size, 1), flat.part(weight), (1, x.size), y, layer.size, shape, bias=biases)
        if not layout.full:
            moves.clear_rows(
                *grid_of(layout.samples, layer.size),
                layout.lengths,
                y,
                layout.steps,
                layout.samples,
                layer.size,
            )
    y = Rows(y, layer.size, x.count)
    if layer.activation is not None:
        y = activate(call, layer.activation, y, layout)
    return y, layout, None, (x, y)


def backward(call: Call, layer, weights, tape, dy: Rows, layout: Layout, dfinal, gradient, need_dx: bool, number: int):
    """Write the gradients of the parameters; return (gradient of x or None, of the initial states)."""
    (flat, weight, bias, _), (x, y) = weights, tape
    if layer.activation is not None:
        dy = gradient_below(call, layer.activation, y, dy, layout)
    if x.tokens:
        tokens.token_gradient(x.values, x.size, dy.values, layer.size, layer.size, x.count, gradient, weight, 1, x.size)
    else:
        product(
            call.arena, dy.values, (1, layer.size), x.values, (x.size, 1), gradient.part(weight), x.size,
            (layer.size, x.size, x.count),
        )  # fmt: skip
    if bias is not None:
        column_sums(call.arena, dy.values, layer.size, x.count, layer.size, result=gradient.part(bias, layer.size))
    if not need_dx or x.tokens:
        return None, None
    dx = call.empty(x.count * x.size)
    product(
        call.arena,
        dy.values,
        (layer.size, 1),
        flat.part(weight),
        (x.size, 1),
        dx,
        x.size,
        (x.count, x.size, layer.size),
    )
    return Rows(dx, x.size, x.count), None
