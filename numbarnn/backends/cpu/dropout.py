"""Dropout between layers."""

import numpy as np

from numbarnn.backends.cpu.batch import Call, Rows
from numbarnn.core.layout import Layout
from numbarnn.core.signal import Signal
from numbarnn.kernels.cpu.dropout import dropout, mask_rows


def prepare(call: Call, layer, params, prefix: str, signal: Signal, old=None):
    """Return None: there are no weights."""


def forward(call: Call, layer, weights, x: Rows, layout: Layout, state, number: int):
    """Return (output, its layout, final states, tape)."""
    return _apply(call, layer, x, layout, number), layout, (), None


def backward(call: Call, layer, weights, tape, dy: Rows, layout: Layout, dfinal, gradient, need_dx: bool, number: int):
    """Write the gradients of the parameters; return (gradient of x or None, of the initial states)."""
    return (_apply(call, layer, dy, layout, number) if need_dx else None), ()


def _apply(call, layer, x, layout, number):
    if not (call.training and layer.rate):
        return x
    return drop(call, x, layout, layer.rate, number << 8, layer.same_over_time)


def drop(call: Call, x: Rows, layout: Layout, rate: float, stream: int, same_over_time: bool = False) -> Rows:
    """Return x after dropout with the mask of (call.seed, call.step, stream), of every step or of the first for all."""
    y = call.zeros(x.values.shape)
    if same_over_time:
        mask = first_mask(call, x.size, y.shape[1], layout, rate, stream)
        given = x.values.reshape(-1), y.reshape(-1), mask.reshape(-1)
        call.over_samples(
            layout,
            layout.running * x.size,
            lambda lo, hi: mask_rows(*given, y.shape[1], x.size, layout.active, layout.samples, lo, hi),
        )
        return Rows(y, x.size)
    _drop_rows(call, x.values, y, x.size, layout, rate, stream, 0 if call.segment is None else call.segment.first_step)
    return Rows(y, x.size)


def first_mask(call: Call, size: int, row: int, layout: Layout, rate: float, stream: int) -> np.ndarray:
    """Return the mask of the first step of each sequence, (samples, row) with `size` columns in use."""
    shape = layout.samples, row
    mask = call.zeros(shape)
    _drop_rows(call, np.ones(shape, call.dtype), mask, size, layout.last(), rate, stream, 0)
    return mask


def _drop_rows(call, x, y, size, layout, rate, stream, first):
    values = x.reshape(-1), y.reshape(-1)
    call.over_samples(
        layout,
        layout.running * size * 20,
        lambda lo, hi: dropout(
            *values, y.shape[1], size, layout.indices, layout.active, float(rate), call.seed, call.step, stream, first,
            (lo, hi),
        ),
    )  # fmt: skip
