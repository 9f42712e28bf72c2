"""A dense layer."""

from dataclasses import dataclass

import numpy as np

from numbarnn.backends.cpu.activation import activate, gradient_below
from numbarnn.backends.cpu.batch import Call, Rows
from numbarnn.backends.cpu.segments import over_blocks, sum_memory, sum_of
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
    dtype, lanes, gates = call.dtype, panel_width(call.dtype), len(offsets)
    width = padded(d.outputs, dtype)
    panels = gates * width // lanes
    high = padded(left.columns, dtype) + padded(right.columns, dtype)
    own = sum_of(call)
    sums = sum_memory(call, own, panels * (high + kernels.CHAINS) * lanes)
    result = checked(kernels.WeightGradient(gradient, offsets, sums), dtype, (gradient.size,), (gates, 4), sums.shape)
    kernel = entry_point(kernels.weight_gradient, dtype)

    def take(t, n):
        row = t * layout.samples + n
        return _operand_rows(left, row), _operand_rows(right, row), _block_rows(d, gates, width, t, n)

    def run(taken, active, samples, rows):
        x, h, dz = (left, right, d) if taken is None else (_taken(left, taken[0]), _taken(right, taken[1]), None)
        dz = dz or kernels.Blocks(taken[2].reshape(-1), 0, width, 0, gates * width, d.outputs)
        x, h, dz = (checked(group, dtype, (group.values.size,)) for group in (x, h, dz))
        call.over(
            panels,
            (rows.last - rows.first) * gates * width * (left.columns + right.columns + 8),
            lambda a, b, scratch: kernel(call.table, x, h, dz, active, samples, rows, scratch, result, a, b),
            scratch=(high + 2 * lanes) * kernels.SPAN,
        )

    over_blocks(call, layout, own, take, run)


def token_gradient(call: Call, layout: Layout, x: Rows, d, columns: int, gradient, offsets) -> None:
    """Write the gradient of W_ih under tokens; `columns`: of all gates, with their padding."""
    dtype, lanes, gates, offsets = call.dtype, panel_width(call.dtype), len(offsets), offsets.copy()
    kernel, width = entry_point(tokens.token_gradient, dtype), columns // len(offsets)

    def take(t, n):
        return x.values[t * layout.samples + n], _block_rows(d, gates, width, t, n)

    def run(taken, active, samples, rows):
        chosen, dz = (x.values, d) if taken is None else (taken[0], None)
        dz = dz or kernels.Blocks(taken[1].reshape(-1), 0, width, 0, columns, d.outputs)
        dz = checked(dz, dtype, (dz.values.size,))
        call.over(
            columns // lanes,
            (rows.last - rows.first) * columns * 14.0,  # additions that wait for memory
            lambda a, b, scratch: kernel(chosen, x.size, dz, active, samples, rows, scratch, gradient, offsets, a, b),
            scratch=x.size * lanes,
        )

    over_blocks(call, layout, sum_of(call), take, run)


def _operand_rows(operand, row):
    """Return copies of rows of an operand."""
    if operand.columns == 0:
        return np.zeros((len(row), 0), operand.values.dtype)
    values = operand.values[operand.at :]
    return values[: values.size // operand.row * operand.row].reshape(-1, operand.row)[row]


def _taken(operand, rows):
    """Return the operand of some rows of it."""
    return operand._replace(values=rows.reshape(-1), at=0, row=rows.shape[1])


def _block_rows(d, gates, width, t, n):
    """Return copies of rows of gradients of pre-activations, (rows, gates, width)."""
    size = d.values.itemsize
    strides = d.step * size, d.row * size, d.block * size, size
    shape = int(t.max(initial=0)) + 1, int(n.max(initial=0)) + 1, gates, width
    return np.lib.stride_tricks.as_strided(d.values[d.at :], shape, strides)[t, n]
