"""Pooling over the steps of each sample."""

import numpy as np

from numbarnn.backends.cpu.batch import Call, Rows
from numbarnn.core.layout import Layout
from numbarnn.core.signal import Signal
from numbarnn.kernels.cpu import pooling
from numbarnn.kernels.cpu.memory import padded

KINDS = {"mean": pooling.MEAN, "max": pooling.MAX, "last": pooling.LAST}


def prepare(call: Call, layer, params, prefix: str, signal: Signal, old=None):
    """Return None: there are no weights."""


def forward(call: Call, layer, weights, x: Rows, layout: Layout, state, number: int):
    """Return (output, its layout, final states, tape)."""
    y = call.empty((layout.samples, padded(x.size, call.dtype)))
    winners = np.empty(layout.samples * x.size if layer.kind == "max" else 0, np.int64)
    step, sample = x.strides(layout)
    starts = np.arange(layout.samples) * sample
    call.over_samples(
        layout,
        layout.running * x.size,
        lambda lo, hi: pooling.pool(
            x.values.reshape(-1), starts, step, layout.lengths, x.size, KINDS[layer.kind], y.reshape(-1), y.shape[1],
            winners, lo, hi,
        ),
    )  # fmt: skip
    return Rows(y, x.size), layout.last(), (), winners


def backward(call: Call, layer, weights, tape, dy: Rows, layout: Layout, dfinal, gradient, need_dx: bool, number: int):
    """Write the gradients of the parameters; return (gradient of x or None, of the initial states)."""
    if not need_dx:
        return None, ()
    dx = Rows(call.zeros((layout.steps * layout.samples, padded(dy.size, call.dtype))), dy.size)
    step, sample = dx.strides(layout)
    starts = np.arange(layout.samples) * sample
    call.over_samples(
        layout,
        layout.running * dy.size,
        lambda lo, hi: pooling.spread(
            dy.values.reshape(-1), dy.values.shape[1], starts, step, layout.lengths, dy.size, KINDS[layer.kind], tape,
            dx.values.reshape(-1), lo, hi,
        ),
    )  # fmt: skip
    return dx, ()
