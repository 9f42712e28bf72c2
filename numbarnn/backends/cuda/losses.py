"""Losses on a device: targets and weights are checked by the losses themselves, on the host."""

import numpy as np

from numbarnn.backends.cpu.batch import Rows as HostRows
from numbarnn.backends.cuda.batch import Call, Geometry, Rows
from numbarnn.core.label_sequences import as_labels
from numbarnn.kernels.cuda import ctc as trellis
from numbarnn.kernels.cuda import layout as moves
from numbarnn.kernels.cuda import losses as kernels
from numbarnn.kernels.cuda import optim
from numbarnn.losses.ctc import CTC


def value_and_gradient(
    call: Call, loss, outputs: Rows, target, geometry: Geometry, reduction="mean", sample_weight=None
):
    """Return (loss as a buffer of one, gradient of the outputs, weight of all rows), as `Loss.value_and_gradient` does."""
    if isinstance(loss, CTC):
        return _ctc(call, loss, outputs, target, geometry, reduction, sample_weight)
    # What the checks look at of the outputs: their size.
    shape = HostRows(np.empty((0, outputs.size), call.dtype), outputs.size)
    rows, weights, total, scale = loss.prepare(
        shape, outputs.count, target, geometry.host, call.dtype, reduction, sample_weight
    )
    targets = call.empty(rows.size, rows.dtype).set(rows)
    weights = call.empty(weights.size).set(weights) if weights.size else None
    values, gradient = call.empty(outputs.count), call.empty(outputs.values.size)
    arguments = outputs.values, outputs.size, outputs.size, targets, weights, scale, values, gradient, outputs.count
    _KERNELS[loss.name](call, loss, arguments)
    value = kernels.total(call.arena, values, outputs.count)
    optim.scale(value, 1, scale)
    return value, Rows(gradient, outputs.size, outputs.count), total


def _cross_entropy(call, loss, arguments):
    weights = loss.class_weight
    own = None if weights is None else call.empty(len(weights)).set(np.array(weights))
    kernels.softmax_cross_entropy(*arguments, class_weights=own, smoothing=float(loss.label_smoothing))


def _regression(kind):
    return lambda call, loss, arguments: kernels.regression(*arguments, kind, getattr(loss, "delta", 0.0))


def _binary(call, loss, arguments):
    columns, weights = arguments[2], loss.pos_weight
    own = None if weights is None else call.empty(columns).set(np.array(np.broadcast_to(weights, columns)))
    kernels.binary_cross_entropy(*arguments, pos_weights=own)


_KERNELS = {
    "softmax_cross_entropy": _cross_entropy,
    "mse": _regression(kernels.SQUARED),
    "mae": _regression(kernels.ABSOLUTE),
    "huber": _regression(kernels.HUBER),
    "binary_cross_entropy": _binary,
}


def _ctc(call, loss, outputs, target, geometry, reduction, sample_weight):
    layout = geometry.host
    labels = as_labels(target, layout.samples)
    scales, total = loss.scales(labels, outputs.size, layout, reduction, sample_weight)
    labels = labels if layout.order is None else labels.take(layout.order)
    values, gradient = call.empty(layout.samples), call.empty(outputs.values.size)
    trellis.ctc(
        call.arena, outputs.values, outputs.size, layout.samples, layout.steps, outputs.size, layout.lengths, labels.flat,
        labels.starts, loss.blank, scales, loss.infeasible == "zero", values, gradient,
    )  # fmt: skip
    moves.times(values, call.empty(layout.samples).set(scales))
    value = kernels.total(call.arena, values, layout.samples)
    return value, Rows(gradient, outputs.size, outputs.count), total
