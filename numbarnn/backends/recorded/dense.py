"""A dense layer."""

from dataclasses import replace

import numpy as np

from numbarnn.backends.recorded.activation import activate, gradient_below
from numbarnn.backends.recorded.batch import WEIGHTS, Call, Rows, own
from numbarnn.kernels.cpu import matmul, tokens
from numbarnn.kernels.cpu import weight_gradient as kernels
from numbarnn.kernels.cpu.memory import padded
from numbarnn.kernels.cpu.simd import panel_width


def prepare(call: Call, layer, params, prefix: str, signal, old=None):
    """Return (offsets, packed weights, bias, weights packed for the way back)."""
    dtype, inputs, lanes = call.dtype, signal.size, panel_width(call.dtype)
    flat, width = own(WEIGHTS, params.size, dtype, readonly=True), padded(layer.size, dtype)
    bias_at = params.offsets[f"{prefix}bias"] if layer.bias else -1
    offsets = np.array([[params.offsets[f"{prefix}weight"], -1, bias_at, -1]], np.int64)
    products = 0 if signal.tokens else inputs
    used = np.array([[-1, -1, bias_at, -1]], np.int64) if signal.tokens else offsets
    forward, bias = call.empty((products * width,)), call.empty((width,))
    call.run(matmul.pack_forward, flat, used, layer.size, products, 0, forward, bias, 0, width // lanes)
    if signal.tokens:
        rows = call.empty((inputs, width))
        call.run(tokens.pack_tokens, flat, offsets, layer.size, inputs, bias, rows, 0, inputs)
        return offsets, replace(rows.flat(), readonly=True), bias, None
    back = call.empty((padded(inputs, dtype) * layer.size,))
    call.run(matmul.pack_backward, flat, offsets, 0, layer.size, inputs, back, 0, padded(inputs, dtype) // lanes)
    return offsets, forward, bias, back


def forward(call: Call, layer, weights, x: Rows, layout, state, number: int):
    """Return (output, its layout, final states, tape)."""
    _, packed, bias, _ = weights
    y = Rows(call.empty((x.values.shape[0], padded(layer.size, call.dtype))), layer.size)
    rows, width = layout.flat(), y.values.shape[1]
    if x.tokens:
        given = packed, width, x.values, rows.active, rows.samples, y.values.flat(), width, width
        call.run(tokens.gather, *given, 0, rows.samples)
    else:
        _affine(call, x, packed, bias, y, rows)
    if layer.activation is not None:
        y = activate(call, layer.activation, y, layout)
    return y, layout, (), (x, y)


def backward(call: Call, layer, weights, tape, dy: Rows, layout, dfinal, gradient, need_dx: bool, number: int):
    """Write down the gradients of the parameters; return (gradient of x or None, of the initial states)."""
    (x, y), rows, (offsets, _, _, back) = tape, layout.flat(), weights
    if layer.activation is not None:
        dy = gradient_below(call, layer.activation, y, dy, layout)
    width = padded(layer.size, call.dtype)
    d = kernels.Blocks(dy.values.flat(), 0, 0, rows.samples * width, width, layer.size)
    if x.tokens:
        token_gradient(call, rows, x, d, width, gradient, offsets)
        offsets = offsets.copy()
        offsets[:, 0] = -1
        left = kernels.Operand(np.zeros(0, call.dtype), 0, 0, 0, (0, 1))
    else:
        left = kernels.Operand(x.values.flat(), 0, x.values.shape[1], x.size, (0, 1))
    right = kernels.Operand(np.zeros(0, call.dtype), 0, 0, 0, (0, 0))
    weight_gradient(call, rows, left, right, d, gradient, offsets)
    if x.tokens or not need_dx:
        return None, ()
    dx = Rows(call.empty((x.values.shape[0], padded(x.size, call.dtype))), x.size)
    _affine(call, Rows(dy.values, layer.size), back, np.zeros(dx.values.shape[1], call.dtype), dx, rows)
    return dx, ()


def _affine(call, x, packed, bias, y, rows):
    call.run(
        matmul.affine, call.table, x.values.flat(), x.values.shape[1], x.size, packed, bias, y.values.flat(),
        y.values.shape[1], rows.active, rows.samples, 0, rows.samples,
    )  # fmt: skip


def weight_gradient(call: Call, layout, left, right, d, gradient, offsets) -> None:
    """Write down the gradients of the weights of one or two products and of their biases."""
    dtype, lanes, gates = call.dtype, panel_width(call.dtype), len(offsets)
    panels = gates * padded(d.outputs, dtype) // lanes
    high = padded(left.columns, dtype) + padded(right.columns, dtype)
    sums = call.empty((panels * (high + kernels.CHAINS) * lanes,))
    gathered = call.empty(((high + 2 * lanes) * kernels.SPAN,))
    rows = kernels.RowRange(0, layout.running, True, True)
    call.run(
        kernels.weight_gradient, call.table, left, right, d, layout.active, layout.samples, rows, gathered,
        kernels.WeightGradient(gradient, offsets, sums), 0, panels,
    )  # fmt: skip


def token_gradient(call: Call, layout, x: Rows, d, columns: int, gradient, offsets) -> None:
    """Write down the gradient of W_ih under tokens; `columns`: of all gates, with their padding."""
    lanes, rows = panel_width(call.dtype), kernels.RowRange(0, layout.running, True, True)
    sums, offsets = call.empty((x.size * lanes,)), offsets.copy()
    call.run(
        tokens.token_gradient, x.values, x.size, d, layout.active, layout.samples, rows, sums, gradient, offsets, 0,
        columns // lanes,
    )  # fmt: skip
