"""Losses on a device: targets and weights are checked by the losses themselves, on the host."""

import numpy as np

from numbarnn.backends.cuda.batch import Call, Layout, Rows
from numbarnn.core.label_sequences import as_labels
from numbarnn.kernels.cuda import ctc as trellis
from numbarnn.kernels.cuda import layout as moves
from numbarnn.kernels.cuda import losses as kernels
from numbarnn.kernels.cuda import optim


def value_and_gradient(call: Call, loss, outputs: Rows, target, layout: Layout, reduction="mean", sample_weight=None):
    """Return (loss as a buffer of one, gradient of the outputs, weight of all rows), as `Loss.value_and_gradient` does."""
    if loss.value_and_gradient is None:
        for cls in type(loss).__mro__:
            if cls.__name__ in LOSSES:
                return LOSSES[cls.__name__](call, loss, outputs, target, layout, reduction, sample_weight)
    raise TypeError(
        f'the loss {loss.name} ({type(loss).__name__}) has no kernel for CUDA; use device="cpu", or one of {", ".join(LOSSES)} or '
        "a class derived from them without a value_and_gradient of its own"
    )


def _by_rows(kernel):
    """Return the function of a loss that ``kernel(call, loss, arguments)`` computes by rows."""

    def run(call, loss, outputs, target, layout, reduction, sample_weight):
        rows, weights, total, scale = loss.prepare(
            outputs.size, outputs.count, target, layout.host, call.dtype, reduction, sample_weight
        )
        targets = call.empty(rows.size, rows.dtype).set(rows)
        weights = call.empty(weights.size).set(weights) if weights.size else None
        values, gradient = call.empty(outputs.count), call.empty(outputs.values.size)
        arguments = outputs.values, outputs.size, outputs.size, targets, weights, scale, values, gradient, outputs.count
        kernel(call, loss, arguments)
        value = kernels.total(call.arena, values, outputs.count)
        optim.scale(value, 1, scale)
        return value, Rows(gradient, outputs.size, outputs.count), total

    return run


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


def _ctc(call, loss, outputs, target, layout, reduction, sample_weight):
    layout = layout.host
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


# By class name.
LOSSES = {
    "SoftmaxCrossEntropy": _by_rows(_cross_entropy), "MeanSquaredError": _by_rows(_regression(kernels.SQUARED)),
    "MeanAbsoluteError": _by_rows(_regression(kernels.ABSOLUTE)), "Huber": _by_rows(_regression(kernels.HUBER)),
    "BinaryCrossEntropy": _by_rows(_binary), "CTC": _ctc,
}  # fmt: skip
