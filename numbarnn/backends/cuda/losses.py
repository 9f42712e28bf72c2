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
    run = prepare(call, loss, outputs.size, target, layout.host, reduction, sample_weight)
    call.send()
    return run(outputs)


def prepare(call: Call, loss, size: int, target, layout: HostLayout, reduction="mean", sample_weight=None):
    """Check and stage targets and weights; return ``run(outputs)``, which does the rest of `value_and_gradient`."""
    found = arithmetic_of(loss, LOSSES)
    if found is None or found == "value_and_gradient":
        raise TypeError(
            f'the loss {loss.name} ({type(loss).__name__}) has no kernel for CUDA; use device="cpu", give it a term (see '
            f"numbarnn.losses.PointwiseLoss), or derive it from a loss of numbarnn.losses without a value_and_gradient of its own"
        )
    own = _pointwise if found == "term" else LOSSES[found]
    return own(call, loss, size, target, layout, reduction, sample_weight)


def _by_rows(call, loss, size, target, layout, reduction, sample_weight, kernel):
    """Prepare ``kernel(outputs, targets, weights, scale)`` for a loss."""
    count = layout.samples * layout.steps
    rows, weights, total, scale = loss.prepare(size, count, target, layout, call.dtype, reduction, sample_weight)
    targets, weights = call.stage(rows), _staged(call, weights)

    def run(outputs):
        losses, gradient = call.empty(count), call.empty(outputs.values.size)
        looked = kernels.LossRows(outputs.values, gradient, size, size, losses, count)
        kernel(looked, targets, weights, scale)
        if reduction == "none":
            return losses, Rows(gradient, size, count), total
        value = kernels.total(call.arena, losses, count)
        optim.scale(value, 1, scale)
        return value, Rows(gradient, size, count), total

    return run


def _staged(call, values):
    """Stage values in the pass's dtype, None where there are none."""
    return call.stage(values, call.dtype) if values is not None and values.size else None


def _pointwise(call, loss, size, *arguments):
    """Prepare a loss that is the mean of a term over the features of the target."""
    record, own = loss.record, _staged(call, loss.options(size, call.dtype))

    def kernel(*arguments):
        kernels.pointwise(record, *arguments, options=own)

    return _by_rows(call, loss, size, *arguments, kernel)


def _cross_entropy(call, loss, *arguments):
    own = _staged(call, None if loss.class_weight is None else np.array(loss.class_weight))

    def kernel(outputs, targets, *arguments):
        if targets.dtype.kind == "f":
            kernels.soft_cross_entropy(outputs, targets, *arguments)
            return
        kernels.softmax_cross_entropy(
            outputs, targets, *arguments, class_weights=own, smoothing=float(loss.label_smoothing)
        )

    return _by_rows(call, loss, *arguments, kernel)


def _ctc(call, loss, size, target, layout, reduction, sample_weight):
    labels = as_labels(target, layout.samples)
    scales, total = loss.scales(labels, size, layout, reduction, sample_weight)
    labels = labels if layout.order is None else labels.take(layout.order)
    sequences = trellis.stage(call.staging, layout.lengths, labels, loss.blank, scales, call.dtype)

    def run(outputs):
        values, gradient = call.empty(layout.samples), call.empty(outputs.values.size)
        logits = SpacedRows(outputs.values, size)
        trellis.ctc(call.arena, logits, layout.steps, size, sequences, loss.infeasible == "zero", values, gradient)
        moves.times(values, sequences.scales)
        if reduction != "none":
            values = kernels.total(call.arena, values, layout.samples)
        return values, Rows(gradient, size, outputs.count), total

    return run


def _segments(call, loss, size, target, layout, reduction, sample_weight):
    if reduction == "none":
        raise ValueError(f'reduction="none" of {type(loss).__name__} has no kernel for CUDA; use device="cpu"')
    (samples, steps), counts, classes, weight = loss.segments(target, layout, sample_weight)
    count = len(counts)
    if not count:
        return lambda outputs: (call.zeros(1), Rows(call.zeros(outputs.values.size), size, outputs.count), 0.0)
    starts = call.stage((steps * layout.samples + samples) * size, np.int64)
    lengths, longest = call.stage(counts, np.int64), int(counts.max())
    pooled = prepare(call, loss.pooled, size, classes, HostLayout.make(1, count), reduction, weight)

    def run(outputs):
        gradient, means = call.zeros(outputs.values.size), call.empty(count * size)
        runs = pooling.RowRuns(outputs.values, size, layout.samples * size, starts, True, lengths, count)
        pooling.pool(runs, size, pooling.MEAN, SpacedRows(means, size))
        value, dmeans, total = pooled(Rows(means, size, count))
        runs = runs._replace(values=gradient)
        pooling.spread(SpacedRows(dmeans.values, size), longest, runs, size, pooling.MEAN)
        return value, Rows(gradient, size, outputs.count), total

    return run


# By class name: the losses that have neither a term nor a value_and_gradient.
LOSSES = {"SoftmaxCrossEntropy": _cross_entropy, "CTC": _ctc, "SegmentCrossEntropy": _segments}
