"""Gradients of the weights of products, for layers of every kind."""

from numbarnn.backends.cpu.batch import Call, Rows
from numbarnn.core.layout import Layout
from numbarnn.kernels.cpu import matmul, tokens
from numbarnn.kernels.cpu.memory import padded
from numbarnn.kernels.cpu.simd import panel_width
from numbarnn.kernels.groups import checked, entry_point


def weight_gradient(call: Call, layout: Layout, left, right, d, gradient, offsets) -> None:
    """Write the gradients of the weights of one or two products and of their biases.

    left, right : `matmul.Operand`, x and h; d : `matmul.Blocks`; offsets : (G, 4) of the weights in `gradient`.
    """
    dtype, lanes = call.dtype, panel_width(call.dtype)
    width = padded(d.outputs, dtype)
    panels = len(offsets) * width // lanes
    rows = padded(left.columns, dtype) + padded(right.columns, dtype)
    sums = call.empty((panels * (rows + matmul.CHAINS) * lanes,))
    left, right, d = (checked(group, dtype, (group.values.size,)) for group in (left, right, d))
    result = checked(
        matmul.WeightGradient(gradient, offsets, sums), dtype, (gradient.size,), (len(offsets), 4), sums.shape
    )
    kernel = entry_point(matmul.weight_gradient, dtype)
    call.over(
        panels,
        layout.running * len(offsets) * width * (left.columns + right.columns + 8),
        lambda a, b, scratch: kernel(call.table, left, right, d, layout.active, layout.samples, scratch, result, a, b),
        scratch=(rows + 2 * lanes) * matmul.SPAN,
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
