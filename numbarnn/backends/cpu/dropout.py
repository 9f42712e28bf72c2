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
        mask = drop(call, Rows(np.ones((layout.samples, y.shape[1]), call.dtype), x.size), layout.last(), rate, stream)
        given = x.values.reshape(-1), y.reshape(-1), mask.values.reshape(-1)
        call.over_samples(
            layout,
            layout.running * x.size,
            lambda lo, hi: mask_rows(*given, y.shape[1], x.size, layout.active, layout.samples, lo, hi),
        )
        return Rows(y, x.size)
    call.over_samples(
        layout,
        layout.running * x.size * 20,
        lambda lo, hi: dropout(
            x.values.reshape(-1), y.reshape(-1), y.shape[1], x.size, layout.indices, layout.active, float(rate), call.seed,
            call.step, stream, lo, hi,
        ),
    )  # fmt: skip
    return Rows(y, x.size)
