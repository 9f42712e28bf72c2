"""A dense layer."""

from dataclasses import dataclass

import numpy as np

from numbarnn.backends.cpu.activation import activate, gradient_below
from numbarnn.backends.cpu.batch import Call, Rows
from numbarnn.core.layout import Layout
from numbarnn.core.signal import Signal
from numbarnn.kernels.cpu import matmul, tokens
from numbarnn.kernels.cpu import weight_gradient as kernels
from numbarnn.kernels.cpu.memory import empty, padded
from numbarnn.kernels.cpu.simd import panel_width
from numbarnn.kernels.groups import checked, entry_point


@dataclass
class Weights:
    """The weights as the kernels read them."""

    offsets: np.ndarray
    forward: np.ndarray
    bias: np.ndarray
    token_rows: np.ndarray
    backward: np.ndarray


def prepare(call: Call, layer, params, prefix: str, signal: Signal, old=None) -> Weights:
    """Return the weights as the kernels read them."""
    dtype, flat, inputs = call.dtype, params.flat, signal.size
    width = padded(layer.size, dtype)
    bias_at = params.offsets[f"{prefix}bias"] if layer.bias else -1
    offsets = np.array([[params.offsets[f"{prefix}weight"], -1, bias_at, -1]], np.int64)
    products = 0 if signal.tokens else inputs
    forward = old.forward if old else empty((products * width,), dtype)
    bias = old.bias if old else empty((width,), dtype)
    own = np.array([[-1, -1, bias_at, -1]], np.int64) if signal.tokens else offsets
    lanes = panel_width(dtype)
    call.over(
        width // lanes,
        forward.size,
        lambda a, b: matmul.pack_forward(flat, own, layer.size, products, 0, forward, bias, a, b),
    )
    token_rows = back = np.zeros(0, dtype)
    if signal.tokens:
        rows = empty((inputs, width), dtype)
        tokens.pack_tokens(flat, offsets, layer.size, inputs, bias, rows, 0, inputs)
        token_rows = rows.reshape(-1)
        token_rows.flags.writeable = (
            False  # as an embedding's, which are the parameters themselves: one compiled kernel
        )
    elif call.keep:
        back = old.backward if old else empty((padded(inputs, dtype) * layer.size,), dtype)
        call.over(
            padded(inputs, dtype) // lanes,
            back.size,
            lambda a, b: matmul.pack_backward(flat, offsets, 0, layer.size, inputs, back, a, b),
        )
    return Weights(offsets, forward, bias, token_rows, back)


def forward(call: Call, layer, weights, x: Rows, layout: Layout, state, number: int):
    """Return (output, its layout, final states, tape)."""
    width = padded(layer.size, call.dtype)
    shape = (len(x.values), width)
    y = call.empty(shape) if layout.full else call.zeros(shape)
    rows = layout.flat()
    if x.tokens:
        call.over_samples(
            rows,
            rows.running * width,
            lambda lo, hi: tokens.gather(
                weights.token_rows, width, x.values, rows.active, rows.samples, y.reshape(-1), width, width, lo, hi
            ),
        )
    else:
        _affine(call, x, weights.forward, weights.bias, y, rows)
    y = Rows(y, layer.size, x.sample_major)
    if layer.activation is not None:
        y = activate(call, layer.activation, y, layout)
    return y, layout, (), (x, y) if call.keep else None


def backward(call: Call, layer, weights, tape, dy: Rows, layout: Layout, dfinal, gradient, need_dx: bool, number: int):
    """Write the gradients of the parameters; return (gradient of x or None, of the initial states)."""
    dtype, (x, y), rows = call.dtype, tape, layout.flat()
    if layer.activation is not None:
        dy = gradient_below(call, layer.activation, y, dy, layout)
    width, offsets = padded(layer.size, dtype), weights.offsets
    d = kernels.Blocks(dy.values.reshape(-1), 0, 0, rows.samples * width, width, layer.size)
    none = np.zeros(0, dtype)
    if x.tokens:
        token_gradient(call, rows, x, d, width, gradient, offsets)
        offsets = offsets.copy()
        offsets[:, 0] = -1
        left = kernels.Operand(none, 0, 0, 0, (0, 1))
    else:
        left = kernels.Operand(x.values.reshape(-1), 0, x.values.shape[1], x.size, (0, 1))
    weight_gradient(call, rows, left, kernels.Operand(none, 0, 0, 0, (0, 0)), d, gradient, offsets)
    if x.tokens or not need_dx:
        return None, ()
    shape = (len(x.values), padded(x.size, dtype))
    dx = call.empty(shape) if layout.full else call.zeros(shape)
    _affine(call, Rows(dy.values, layer.size), weights.backward, np.zeros(shape[1], dtype), dx, rows)
    return Rows(dx, x.size), ()


def _affine(call, x, packed, bias, y, rows):
    call.over_samples(
        rows,
        rows.running * packed.size,
        lambda lo, hi: matmul.affine(
            call.table, x.values.reshape(-1), x.values.shape[1], x.size, packed, bias, y.reshape(-1), y.shape[1],
            rows.active, rows.samples, lo, hi,
        ),
    )  # fmt: skip


# Gradients of the weights of products, for layers of every kind


def weight_gradient(call: Call, layout: Layout, left, right, d, gradient, offsets) -> None:
    """Write the gradients of the weights of one or two products and of their biases.

    left, right : `kernels.Operand`, x and h; d : `kernels.Blocks`; offsets : (G, 4) of the weights in `gradient`.
    """
    dtype, lanes = call.dtype, panel_width(call.dtype)
    width = padded(d.outputs, dtype)
    panels = len(offsets) * width // lanes
    rows = padded(left.columns, dtype) + padded(right.columns, dtype)
    sums = call.empty((panels * (rows + kernels.CHAINS) * lanes,))
    left, right, d = (checked(group, dtype, (group.values.size,)) for group in (left, right, d))
    result = checked(
        kernels.WeightGradient(gradient, offsets, sums), dtype, (gradient.size,), (len(offsets), 4), sums.shape
    )
    kernel = entry_point(kernels.weight_gradient, dtype)
    call.over(
        panels,
        layout.running * len(offsets) * width * (left.columns + right.columns + 8),
        lambda a, b, scratch: kernel(call.table, left, right, d, layout.active, layout.samples, scratch, result, a, b),
        scratch=(rows + 2 * lanes) * kernels.SPAN,
    )


def token_gradient(call: Call, layout: Layout, x: Rows, d, columns: int, gradient, offsets) -> None:
    """Write the gradient of W_ih under tokens; `columns`: of all gates, with their padding."""
    dtype, lanes, offsets = call.dtype, panel_width(call.dtype), offsets.copy()
    group, kernel = checked(d, dtype, (d.values.size,)), entry_point(tokens.token_gradient, dtype)
    call.over(
        columns // lanes,
        layout.running * columns * 14.0,  # additions that wait for memory
        lambda a, b, scratch: kernel(
            x.values, x.size, group, layout.active, layout.samples, scratch, gradient, offsets, a, b
        ),
        scratch=x.size * lanes,
    )
