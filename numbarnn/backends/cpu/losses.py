"""Losses with their gradients, and what makes probabilities of outputs."""

import functools

import numpy as np

from numbarnn import parallel
from numbarnn.backends.cpu.batch import Call, Rows, feature_rows, from_rows
from numbarnn.core.label_sequences import Labels, as_labels
from numbarnn.core.layout import Layout
from numbarnn.errors import ShapeError
from numbarnn.kernels.cpu import ctc as trellis
from numbarnn.kernels.cpu import losses as kernels
from numbarnn.kernels.cpu import pooling
from numbarnn.kernels.cpu.simd import target as cpu_target

# What a value of the outputs costs in multiply-adds: 4 ns where a core does 40 a ns.
COST = 150.0
# Multiply-adds that a class costs at a step, and a label.
CLASS, LABEL = 12.0, 60.0


def value_and_gradient(call: Call, loss, outputs: Rows, target, layout: Layout, reduction="mean", sample_weight=None):
    """Return (loss, gradient of the outputs as `Rows`, weight of all rows).

    Parameters
    ----------
    loss : numbarnn.losses.Loss
    outputs : Rows
        Logits or predictions; left as they are.
    target : array
        See the loss.
    reduction : {"mean", "sum"}
        "mean": the weighted mean over the valid rows; "sum": the weighted sum (the lecture's E = sum over t of E_t).
    sample_weight : (samples,) or (samples, time steps) array, optional
        Weight of every sample or step; 0 masks it.

    Raises
    ------
    ShapeError, TokenError, TypeError, ValueError
        If target, reduction or weights have the wrong shape, dtype or value.
    """
    if loss.value_and_gradient is not None:
        return _own(call, loss, outputs, target, layout, reduction, sample_weight)
    for cls in type(loss).__mro__:
        if cls.__name__ in LOSSES:
            return LOSSES[cls.__name__](call, loss, outputs, target, layout, reduction, sample_weight)
    raise TypeError(
        f"{type(loss).__name__} has no arithmetic: derive it from a loss of numbarnn.losses, or give it a method "
        "value_and_gradient(outputs, target)"
    )


def _by_rows(kernel):
    """Return the function of a loss that ``kernel(loss, dtype, size)`` computes by rows: it returns (kernel, options behind)."""

    def run(call, loss, outputs, target, layout, reduction, sample_weight):
        count = outputs.count
        rows, weights, total, scale = loss.prepare(
            outputs.size, count, target, layout, call.dtype, reduction, sample_weight
        )
        values, gradient = np.empty(count), call.empty(outputs.values.shape)
        function, options = kernel(loss, call.dtype.type, outputs.size)
        logits, row, size, dlogits = (
            outputs.values.reshape(-1),
            outputs.values.shape[1],
            outputs.size,
            gradient.reshape(-1),
        )
        call.over(
            count,
            count * size * COST,
            lambda lo, hi: function(logits, row, size, rows, weights, scale, values, dlogits, *options, lo, hi),
        )
        return float(values.sum()) * scale, Rows(gradient, size), total

    return run


def _cross_entropy(loss, real, size):
    weights = np.array(() if loss.class_weight is None else loss.class_weight, np.float64)
    return kernels.softmax_cross_entropy, (weights, float(loss.label_smoothing))


def _squared(loss, real, size):
    return kernels.regression, (kernels.SQUARED, real(0))


def _absolute(loss, real, size):
    return kernels.regression, (kernels.ABSOLUTE, real(0))


def _huber(loss, real, size):
    return kernels.regression, (kernels.HUBER, real(loss.delta))


def _binary(loss, real, size):
    weights = np.zeros(0, real) if loss.pos_weight is None else np.array(np.broadcast_to(loss.pos_weight, size), real)
    return kernels.binary_cross_entropy, (weights,)


def _ctc(call, loss, outputs, target, layout, reduction, sample_weight):
    labels = as_labels(target, layout.samples)
    scales, total = loss.scales(labels, outputs.size, layout, reduction, sample_weight)
    losses, gradient = ctc(call, outputs, labels, layout, loss.blank, scales, loss.infeasible == "zero")
    counted = scales > 0
    return float((losses[counted] * scales[counted]).sum()), Rows(gradient, outputs.size), total


def ctc(call: Call, outputs: Rows, labels: Labels, layout: Layout, blank: int, scales, zero: bool):
    """Return the losses (samples,) in sorted order and the gradient of ``sum scales * losses`` as an array like the outputs.

    Parameters
    ----------
    labels : Labels
        In the caller's order, checked.
    scales : (samples,) float64
        In sorted order; samples of scale 0 are not looked at.
    zero : bool
        Whether a sample without any alignment has loss 0 instead of infinity.
    """
    labels = labels if layout.order is None else labels.take(layout.order)
    lanes = cpu_target()[0] // call.dtype.itemsize
    gradient, losses = call.empty(outputs.values.shape), np.empty(layout.samples)
    flat, starts = labels.flat.astype(np.int32), labels.starts
    work = layout.lengths * (outputs.size * CLASS + (labels.counts + lanes) * LABEL)
    pieces = layout.cut(max(1, min(call.n_threads, int(work.sum() // parallel.GRAIN))))
    needed = trellis.scratch_of(layout.lengths, labels.counts, lanes)
    jobs = []
    for first, last in pieces:
        scratch = call.empty((2, int(needed[first:last].max())))
        jobs.append(
            functools.partial(
                trellis.ctc, outputs.values.reshape(-1), outputs.values.shape[1], layout.samples, outputs.size,
                layout.lengths, flat, starts, blank, scales, zero, losses, gradient.reshape(-1), scratch[0],
                scratch[1].view(f"i{call.dtype.itemsize}"), first, last,
            )
        )  # fmt: skip
    parallel.run(jobs)
    return losses, gradient


def _segments(call, loss, outputs, target, layout, reduction, sample_weight):
    (samples, steps), counts, classes, weight = loss.segments(target, layout, sample_weight)
    gradient = Rows(call.zeros(outputs.values.shape), outputs.size)
    if not counts.size:
        return 0.0, gradient, 0.0
    step, sample = outputs.strides(layout)
    starts = samples * sample + steps * step
    row, size = outputs.values.shape[1], outputs.size
    pooled, none, work = call.empty((len(counts), row)), np.zeros(0, np.int64), float(counts.sum() * size)
    logits, means = outputs.values.reshape(-1), pooled.reshape(-1)
    call.over(
        len(counts),
        work,
        lambda lo, hi: pooling.pool(logits, starts, step, counts, size, pooling.MEAN, means, row, none, lo, hi),
    )
    value, dpooled, total = value_and_gradient(
        call, loss.pooled, Rows(pooled, size), classes, Layout.make(1, len(counts)), reduction, weight
    )
    dmeans, dlogits = dpooled.values.reshape(-1), gradient.values.reshape(-1)
    call.over(
        len(counts),
        work,
        lambda lo, hi: pooling.spread(dmeans, row, starts, step, counts, size, pooling.MEAN, none, dlogits, lo, hi),
    )
    return value, gradient, total


def _own(call, loss, outputs, target, layout, reduction, sample_weight):
    """Run a loss whose arithmetic is a method of its own, on arrays as the caller has them."""
    _, weights, total, scale = loss.prepare(
        outputs.size, outputs.count, target, layout, call.dtype, reduction, sample_weight
    )
    logits = from_rows(call, outputs, layout)
    values, gradient = (np.asarray(array, np.float64) for array in loss.value_and_gradient(logits, target))
    if values.shape != logits.shape[:2] or gradient.shape != logits.shape:
        raise ShapeError(
            f"{type(loss).__name__}.value_and_gradient must return losses {logits.shape[:2]} and gradients {logits.shape}, got "
            f"{values.shape} and {gradient.shape}"
        )
    weights = (weights if weights.size else np.ones(outputs.count)).reshape(layout.steps, layout.samples).T
    weights = layout.unsort(weights) * scale
    counted = weights > 0
    value = float((values[counted] * weights[counted]).sum())
    gradient = np.where(counted[:, :, None], gradient * weights[:, :, None], 0.0).astype(call.dtype)
    return value, feature_rows(call, gradient, layout), total


# By class name.
LOSSES = {
    "SoftmaxCrossEntropy": _by_rows(_cross_entropy), "MeanSquaredError": _by_rows(_squared),
    "MeanAbsoluteError": _by_rows(_absolute), "Huber": _by_rows(_huber), "BinaryCrossEntropy": _by_rows(_binary),
    "CTC": _ctc, "SegmentCrossEntropy": _segments,
}  # fmt: skip


def probabilities(outputs: np.ndarray, activation: str) -> np.ndarray:
    """Return the "softmax" over the last axis of the host's outputs, or the "sigmoid" of each."""
    result, classes = np.empty_like(outputs), outputs.shape[-1]
    if activation == "sigmoid":
        kernels.sigmoid(outputs.reshape(-1), result.reshape(-1), 0, outputs.size)
    else:
        kernels.softmax(outputs.reshape(-1), classes, classes, result.reshape(-1), 0, outputs.size // classes)
    return result
