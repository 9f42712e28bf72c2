"""Losses with their gradients, and what makes probabilities of outputs."""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from numbarnn import parallel
from numbarnn.backends.cpu.batch import Call, Rows, feature_rows, from_rows
from numbarnn.backends.device import arithmetic_of
from numbarnn.core import alignments
from numbarnn.core.label_sequences import Labels, as_labels
from numbarnn.core.layout import Layout
from numbarnn.core.softmax import log_softmax
from numbarnn.errors import ShapeError
from numbarnn.kernels.cpu import ctc as trellis
from numbarnn.kernels.cpu import losses as kernels
from numbarnn.kernels.cpu import pooling
from numbarnn.kernels.cpu.simd import target as cpu_target
from numbarnn.kernels.groups import checked, entry_point

# What a value of the outputs costs in multiply-adds: 4 ns where a core does 40 a ns.
COST = 150.0
# Multiply-adds that a class costs at a step, and a label.
CLASS, LABEL = 12.0, 60.0
# A CTC loss above this may have met the lowest exponent of `numbarnn.kernels.scalar.split_exp`.
BEYOND = 600_000.0


def value_and_gradient(call: Call, loss, outputs: Rows, target, layout: Layout, reduction="mean", sample_weight=None):
    """Return (loss, gradient of the outputs as `Rows`, weight of all rows); under "none" the losses of all rows, or samples.

    Parameters
    ----------
    loss : numbarnn.losses.Loss
    outputs : Rows
        Logits or predictions; left as they are.
    target : array
        See the loss.
    reduction : {"mean", "sum", "none"}
        "mean": the weighted mean over the valid rows; "sum": the weighted sum (the lecture's E = sum over t of E_t); "none": the
        weighted losses themselves, with the gradient of their sum.
    sample_weight : (samples,) or (samples, time steps) array, optional
        Weight of every sample or step; 0 masks it.

    Raises
    ------
    ShapeError, TokenError, TypeError, ValueError
        If target, reduction or weights have the wrong shape, dtype or value.
    """
    return prepare(call, loss, outputs.size, target, layout, reduction, sample_weight)(outputs)


def prepare(call: Call, loss, size: int, target, layout: Layout, reduction="mean", sample_weight=None):
    """Check targets and weights; return ``run(outputs)``, which does the rest of `value_and_gradient`.

    Parameters
    ----------
    size : int
        Features of the outputs.
    layout : Layout
        Geometry of the outputs.

    The other parameters are those of `value_and_gradient`.
    """
    found = arithmetic_of(loss, LOSSES)
    if found is None:
        raise TypeError(
            f"{type(loss).__name__} has no arithmetic: derive it from a loss of numbarnn.losses, or give it a method "
            "value_and_gradient(outputs, target) or a term (see numbarnn.losses.PointwiseLoss)"
        )
    own = {"value_and_gradient": _own, "term": _pointwise}.get(found) or LOSSES[found]
    return own(call, loss, size, target, layout, reduction, sample_weight)


def by_rows(loss) -> bool:
    """Return whether a loss is made row by row, so that its `prepare` returns a `LossByRows`."""
    return arithmetic_of(loss, LOSSES) in ("term", "SoftmaxCrossEntropy")


def _by_rows(call, loss, size, target, layout, reduction, sample_weight, kernel):
    """Prepare ``kernel(outputs, row, columns, targets, weights, scale, losses, gradient, first, last)`` over all rows of a loss."""
    count = layout.samples * layout.steps
    targets, weights, total, scale = loss.prepare(size, count, target, layout, call.dtype, reduction, sample_weight)
    return LossByRows(call, kernel, size, count, targets, weights, total, scale, reduction)


@dataclass(frozen=True)
class LossByRows:
    """A loss of rows that do not depend on each other, of a batch as a whole (a call) or of some rows at a time (`part`)."""

    call: Call
    kernel: Callable
    size: int
    count: int
    targets: np.ndarray
    weights: np.ndarray
    total: float
    scale: float
    reduction: str

    def __call__(self, outputs):
        losses = np.empty(self.count)
        gradient = self.part(self.call, outputs, 0, losses)
        return self.value(losses), gradient, self.total

    def part(self, call: Call, outputs: Rows, first: int, losses: np.ndarray) -> Rows:
        """Return the gradient of the outputs of rows from `first` on, and set the losses of these rows."""
        rows, row = outputs.values.shape
        each, last = self.targets.size // self.count, first + rows
        targets, weights, own = self.targets[first * each : last * each], self.weights[first:last], losses[first:last]
        values, gradient = outputs.values.reshape(-1), call.empty(outputs.values.shape)
        doutputs = gradient.reshape(-1)
        call.over(
            rows,
            rows * self.size * COST,
            lambda lo, hi: self.kernel(values, row, self.size, targets, weights, self.scale, own, doutputs, lo, hi),
        )
        return Rows(gradient, self.size)

    def value(self, losses: np.ndarray) -> Any:
        """Return the loss of the batch, given those of all rows."""
        return losses if self.reduction == "none" else float(losses.sum()) * self.scale


def _pointwise(call, loss, size, *arguments):
    """Prepare a loss that is the mean of a term over the features of the target."""
    record, options = loss.record, loss.options(size, call.dtype)

    def kernel(values, row, columns, targets, *arguments):
        kernels.pointwise(record, values, row, columns, targets, options, *arguments)

    return _by_rows(call, loss, size, *arguments, kernel)


def _cross_entropy(call, loss, *arguments):
    weights = np.array(() if loss.class_weight is None else loss.class_weight, np.float64)

    def kernel(*arguments):
        if arguments[3].dtype.kind == "f":  # the targets
            kernels.soft_cross_entropy(*arguments)
            return
        *arguments, first, last = arguments
        kernels.softmax_cross_entropy(*arguments, weights, float(loss.label_smoothing), first, last)

    return _by_rows(call, loss, *arguments, kernel)


def _ctc(call, loss, size, target, layout, reduction, sample_weight):
    labels = as_labels(target, layout.samples)
    scales, total = loss.scales(labels, size, layout, reduction, sample_weight)

    def run(outputs):
        losses, gradient = ctc(call, outputs, labels, layout, loss.blank, scales, loss.infeasible == "zero")
        # A loss that is infinite counts where its scale is not zero.
        values = np.multiply(losses, scales, out=np.zeros(layout.samples), where=scales > 0)
        return values if reduction == "none" else float(values.sum()), Rows(gradient, size), total

    return run


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
    values, row = outputs.values.reshape(-1), outputs.values.shape[1]
    logits = checked(trellis.Logits(values, row, outputs.size), call.dtype, values.shape)
    targets = trellis.LabelRows(layout.lengths, flat, starts, blank)
    targets = checked(targets, call.dtype, (layout.samples,), flat.shape, (layout.samples + 1,))
    kernel, jobs = entry_point(trellis.ctc, call.dtype), []
    for first, last in pieces:
        size = int(needed[first:last].max())
        own = call.empty((2, size))
        scratch = trellis.Scratch(own[0], own[1].view(f"i{call.dtype.itemsize}"))
        scratch = checked(scratch, call.dtype, (size,), (size,))
        jobs.append(
            functools.partial(kernel, logits, targets, scales, zero, losses, gradient.reshape(-1), scratch, first, last)
        )
    parallel.run(jobs)
    beyond = np.flatnonzero((losses > BEYOND) & (losses < np.inf))
    if beyond.size:
        losses[beyond], slopes = _by_logarithms(
            values.reshape(layout.steps, layout.samples, row)[:, beyond, : outputs.size], labels.take(beyond),
            layout.lengths[beyond], blank,
        )  # fmt: skip
        gradient.reshape(layout.steps, layout.samples, row)[:, beyond, : outputs.size] = slopes * scales[beyond, None]
    return losses, gradient


def _by_logarithms(logits, labels, lengths, blank):
    """Return the CTC losses of logits (steps, samples, classes), slowly but of any range, and their gradient like the logits."""
    logits = np.asarray(logits, np.float64).swapaxes(0, 1)
    symbols = alignments.symbols_of(labels, blank)
    with np.errstate(over="ignore", invalid="ignore"):
        logs, skip = alignments.states_of(logits, symbols)
        found = alignments.posteriors(logs, skip, labels.counts, lengths)
        gradient = np.exp(log_softmax(logits))
    for sample, (log_p, shares) in enumerate(found):
        gradient[sample, lengths[sample] :] = 0
        if log_p == -np.inf:
            gradient[sample] = 0
            continue
        steps, states = shares.shape
        np.subtract.at(gradient[sample, :steps], (slice(None), symbols[sample, :states]), shares)
    return -np.array([log_p for log_p, _ in found]), gradient.swapaxes(0, 1)


def _segments(call, loss, size, target, layout, reduction, sample_weight):
    (samples, steps), counts, classes, weight = loss.segments(target, layout, sample_weight)
    if not counts.size:
        value = np.zeros(layout.samples * layout.steps) if reduction == "none" else 0.0
        return lambda outputs: (value, Rows(call.zeros(outputs.values.shape), size), 0.0)
    pooled = prepare(call, loss.pooled, size, classes, Layout.make(1, len(counts)), reduction, weight)
    none, work = np.zeros(0, np.int64), float(counts.sum() * size)

    def run(outputs):
        step, sample = outputs.strides(layout)
        starts, row = samples * sample + steps * step, outputs.values.shape[1]
        gradient, means = call.zeros(outputs.values.shape), call.empty((len(counts), row))
        logits, flat = outputs.values.reshape(-1), means.reshape(-1)
        call.over(
            len(counts),
            work,
            lambda lo, hi: pooling.pool(logits, starts, step, counts, size, pooling.MEAN, flat, row, none, lo, hi),
        )
        value, dpooled, total = pooled(Rows(means, size))
        dmeans, dlogits = dpooled.values.reshape(-1), gradient.reshape(-1)
        call.over(
            len(counts),
            work,
            lambda lo, hi: pooling.spread(dmeans, row, starts, step, counts, size, pooling.MEAN, none, dlogits, lo, hi),
        )
        if reduction == "none":
            losses = np.zeros(outputs.count)
            losses[steps * layout.samples + samples] = value  # at the first step of each segment
            value = losses
        return value, Rows(gradient, size), total

    return run


def _own(call, loss, size, target, layout, reduction, sample_weight):
    """Prepare a loss whose arithmetic is a method of its own, on arrays as the caller has them."""
    count = layout.samples * layout.steps
    _, weights, total, scale = loss.prepare(size, count, target, layout, call.dtype, reduction, sample_weight)
    weights = (weights if weights.size else np.ones(count)).reshape(layout.steps, layout.samples).T
    weights = layout.unsort(weights) * scale

    def run(outputs):
        logits = from_rows(call, outputs, layout)
        values, gradient = _checked(loss, loss.value_and_gradient(logits, target), logits.shape)
        counted = weights > 0
        if reduction == "none":
            value = layout.sort(np.where(counted, values, 0.0) * weights).T.reshape(-1)
        else:
            value = float((values[counted] * weights[counted]).sum())
        gradient = np.where(counted[:, :, None], gradient * weights[:, :, None], 0.0).astype(call.dtype)
        return value, feature_rows(call, gradient, layout), total

    return run


def _checked(loss, found, shape):
    """Return (losses, gradient), what a loss's own arithmetic returned, as arrays; raise unless they have the shapes of outputs."""
    name = f"{type(loss).__name__}.value_and_gradient"
    if not (isinstance(found, tuple) and len(found) == 2):
        raise TypeError(f"{name} must return (losses, gradient), got {type(found).__name__}")
    values, gradient = (np.asarray(array, np.float64) for array in found)
    if values.shape != shape[:2] or gradient.shape != shape:
        raise ShapeError(
            f"{name} must return losses {shape[:2]} and gradients {shape}, got {values.shape} and {gradient.shape}"
        )
    return values, gradient


# By class name: the losses that have neither a term nor a value_and_gradient.
LOSSES = {"SoftmaxCrossEntropy": _cross_entropy, "CTC": _ctc, "SegmentCrossEntropy": _segments}


def probabilities(outputs: np.ndarray, activation: str) -> np.ndarray:
    """Return the "softmax" over the last axis of the host's outputs, or the "sigmoid" of each."""
    result, classes = np.empty_like(outputs), outputs.shape[-1]
    if activation == "sigmoid":
        kernels.sigmoid(outputs.reshape(-1), result.reshape(-1), 0, outputs.size)
    else:
        kernels.softmax(outputs.reshape(-1), classes, classes, result.reshape(-1), 0, outputs.size // classes)
    return result
