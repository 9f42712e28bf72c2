"""Pooling over the steps of each sample, on a device."""

import numpy as np

from numbarnn.backends.cuda.batch import Call, Layout, Rows
from numbarnn.core.signal import Signal
from numbarnn.kernels.cuda import pooling
from numbarnn.kernels.cuda.groups import SpacedRows

KINDS = {"mean": pooling.MEAN, "max": pooling.MAX, "last": pooling.LAST}


def prepare(call: Call, layer, params, prefix: str, signal: Signal, old=None):
    """Return None: there are no weights."""


def forward(call: Call, layer, weights, x: Rows, layout: Layout, state, number: int):
    """Return (output, its layout, final states, tape)."""
    y = call.empty(layout.samples * x.size)
    indices = call.empty(layout.samples * x.size if layer.kind == "max" else 0, np.int64)
    steps = pooling.all_steps(x.values, x.size, layout.sequences)
    pooling.pool(steps, x.size, KINDS[layer.kind], SpacedRows(y, x.size), indices)
    return Rows(y, x.size, layout.samples), layout.last(), None, indices


def backward(call: Call, layer, weights, tape, dy: Rows, layout: Layout, dfinal, gradient, need_dx: bool, number: int):
    """Write the gradients of the parameters; return (gradient of x or None, of the initial states)."""
    if not need_dx:
        return None, None
    dx = call.empty(layout.rows * dy.size)
    steps = pooling.all_steps(dx, dy.size, layout.sequences)
    pooling.spread(SpacedRows(dy.values, dy.size), layout.steps, steps, dy.size, KINDS[layer.kind], tape)
    return Rows(dx, dy.size, layout.rows), None
