"""Losses on a device: targets and weights are checked by the losses themselves, on the host."""

import numpy as np

from numbarnn.backends.cuda.batch import Call, Layout, Rows
from numbarnn.backends.device import arithmetic_of
from numbarnn.core.label_sequences import as_labels
from numbarnn.core.layout import Layout as HostLayout
from numbarnn.kernels.cuda import ctc as trellis
from numbarnn.kernels.cuda import layout as moves
from numbarnn.kernels.cuda import losses as kernels
from numbarnn.kernels.cuda import optim, pooling
from numbarnn.kernels.cuda.groups import SpacedRows


def value_and_gradient(call: Call, loss, outputs: Rows, target, layout: Layout, reduction="mean", sample_weight=None):
    """Return (loss as a buffer of one, gradient of the outputs, weight of all rows); see `numbarnn.backends.cpu.losses`."""
    found = arithmetic_of(loss, LOSSES)
    if found is None or found == "value_and_gradient":
        raise TypeError(
            f'the loss {loss.name} ({type(loss).__name__}) has no kernel for CUDA; use device="cpu", give it a term (see '
            f"numbarnn.losses.PointwiseLoss), or derive it from a loss of numbarnn.losses without a value_and_gradient of its own"
        )
    run = _pointwise if found == "term" else LOSSES[found]
    return run(call, loss, outputs, target, layout, reduction, sample_weight)


def _by_rows(call, loss, outputs, target, layout, reduction, sample_weight, kernel):
    """Run ``kernel(outputs, targets, weights, scale)`` for a loss."""
    rows, weights, total, scale = loss.prepare(
        outputs.size, outputs.count, target, layout.host, call.dtype, reduction, sample_weight
    )
    targets = call.empty(rows.size, rows.dtype).set(rows)
    weights = call.empty(weights.size).set(weights) if weights.size else None
    losses, gradient = call.empty(outputs.count), call.empty(outputs.values.size)
    looked = kernels.LossRows(outputs.values, gradient, outputs.size, outputs.size, losses, outputs.count)
    kernel(looked, targets, weights, scale)
    if reduction == "none":
        return losses, Rows(gradient, outputs.size, outputs.count), total
    value = kernels.total(call.arena, losses, outputs.count)
    optim.scale(value, 1, scale)
    return value, Rows(gradient, outputs.size, outputs.count), total


def _pointwise(call, loss, outputs, target, layout, reduction, sample_weight):
    """Run a loss that is the mean of a term over the features of the target."""
    record, options = loss.record, loss.options(outputs.size, call.dtype)
    own = call.empty(options.size).set(options) if options.size else None

    def kernel(*arguments):
        kernels.pointwise(record, *arguments, options=own)

    return _by_rows(call, loss, outputs, target, layout, reduction, sample_weight, kernel)


def _cross_entropy(call, loss, outputs, target, layout, reduction, sample_weight):
    weights = loss.class_weight
    own = None if weights is None else call.empty(len(weights)).set(np.array(weights))

    def kernel(outputs, targets, *arguments):
        if targets.dtype.kind == "f":
            kernels.soft_cross_entropy(outputs, targets, *arguments)
            return
        kernels.softmax_cross_entropy(
            outputs, targets, *arguments, class_weights=own, smoothing=float(loss.label_smoothing)
        )

    return _by_rows(call, loss, outputs, target, layout, reduction, sample_weight, kernel)


def _ctc(call, loss, outputs, target, layout, reduction, sample_weight):
    layout = layout.host
    labels = as_labels(target, layout.samples)
    scales, total = loss.scales(labels, outputs.size, layout, reduction, sample_weight)
    labels = labels if layout.order is None else labels.take(layout.order)
    values, gradient = call.empty(layout.samples), call.empty(outputs.values.size)
    trellis.ctc(
        call.arena, SpacedRows(outputs.values, outputs.size), layout.steps, outputs.size, layout.lengths, labels, loss.blank,
        scales, loss.infeasible == "zero", values, gradient,
    )  # fmt: skip
    moves.times(values, call.empty(layout.samples).set(scales))
    if reduction == "none":
        return values, Rows(gradient, outputs.size, outputs.count), total
    value = kernels.total(call.arena, values, layout.samples)
    return value, Rows(gradient, outputs.size, outputs.count), total


def _segments(call, loss, outputs, target, layout, reduction, sample_weight):
    if reduction == "none":
        raise ValueError(f'reduction="none" of {type(loss).__name__} has no kernel for CUDA; use device="cpu"')
    (samples, steps), counts, classes, weight = loss.segments(target, layout.host, sample_weight)
    gradient, size, count = call.zeros(outputs.values.size), outputs.size, len(counts)
    if not count:
        return call.zeros(1), Rows(gradient, size, outputs.count), 0.0
    starts = call.empty(count, np.int64).set((steps * layout.samples + samples) * size)
    lengths = call.empty(count, np.int64).set(counts)
    runs = pooling.RowRuns(outputs.values, size, layout.samples * size, starts, True, lengths, count)
    pooled = call.empty(count * size)
    pooling.pool(runs, size, pooling.MEAN, SpacedRows(pooled, size))
    value, dpooled, total = value_and_gradient(
        call, loss.pooled, Rows(pooled, size, count), classes, Layout.make(HostLayout.make(1, count), call.arena), reduction, weight
    )  # fmt: skip
    runs = runs._replace(values=gradient)
    pooling.spread(SpacedRows(dpooled.values, size), int(counts.max()), runs, size, pooling.MEAN)
    return value, Rows(gradient, size, outputs.count), total


# By class name: the losses that have neither a term nor a value_and_gradient.
LOSSES = {"SoftmaxCrossEntropy": _cross_entropy, "CTC": _ctc, "SegmentCrossEntropy": _segments}
