"""Losses with their gradients, in one pass over the rows."""

import math

from numbarnn.kernels.compile import jit
from numbarnn.kernels.scalar import exp, inlined, log1p, total, total_of_squares, unordered


@inlined
def _clear(values, at, count):
    for i in range(at, at + count):
        values[i] = values.dtype.type(0)


@jit
def softmax_cross_entropy(
    logits, row, classes, targets, weights, scale, losses, dlogits, class_weights, smoothing, first, last
):
    """Set losses[r] = w_r sum_c q_c (-log p_c), p = softmax(logits[r]), and the gradient of ``scale * losses`` in `dlogits`.

    q_c = (1 - smoothing) v_c [c = target_r] + smoothing v_c / classes with the class weights v, and the gradient is
    scale w_r (p_c sum(q) - q_c). Rows whose weights are all 0 are not looked at: loss and gradient are zero. Softmax is shifted
    by the largest logit, so nothing overflows.

    logits   in, 1-D: row r at ``r * row``, `classes` columns; dlogits : out, another array, likewise; padding becomes zero
    targets  (rows,) in; weights : (rows,) float64, in, or empty for ones; losses : (rows,) float64, out
    class_weights : (classes,) float64, in, or empty for ones
    """
    zero = logits.dtype.type(0)
    spread = smoothing
    if class_weights.size > 0:
        spread *= total(class_weights, 0, classes) / classes
    for r in range(first, last):
        at = r * row
        weight = weights[r] if weights.size > 0 else 1.0
        own = whole_weight = 0.0
        if weight != 0.0:
            own = weight * (1.0 - smoothing)
            if class_weights.size > 0:
                own *= class_weights[targets[r]]
            whole_weight = own + weight * spread
        if whole_weight == 0.0:
            losses[r] = 0.0
            _clear(dlogits, at, row)
            continue
        goal = logits[at + targets[r]]
        top = logits[at]
        for j in range(1, classes):
            top = max(top, logits[at + j])
        # A sum beside stores would get two bodies, by whether the arrays may overlap, that round differently
        # (tests/test_losses_optim.py moves the arrays about); so sums stand in loops of their own, over one array.
        below = zero
        if smoothing > 0.0:
            for j in range(classes):
                dlogits[at + j] = top - logits[at + j]
                if class_weights.size > 0:
                    dlogits[at + j] *= dlogits.dtype.type(class_weights[j])
            below = total(dlogits, at, classes)
        for j in range(classes):
            dlogits[at + j] = exp(logits[at + j] - top)
        whole = total(dlogits, at, classes)
        losses[r] = whole_weight * math.log(whole) + own * (top - goal) + weight * smoothing / classes * below
        factor = dlogits.dtype.type(scale * whole_weight / whole)
        for j in range(classes):
            dlogits[at + j] *= factor
        if smoothing > 0.0:
            for j in range(classes):
                share = class_weights[j] if class_weights.size > 0 else 1.0
                dlogits[at + j] -= dlogits.dtype.type(scale * weight * smoothing / classes * share)
        dlogits[at + targets[r]] -= dlogits.dtype.type(scale * own)
        _clear(dlogits, at + classes, row - classes)


@jit
def softmax(logits, row, classes, probabilities, first, last):
    """Set probabilities[r] = softmax(logits[r]) for rows of `classes` columns; `row` is the stride of the logits."""
    for r in range(first, last):
        at, to = r * row, r * classes
        top = logits[at]
        for j in range(1, classes):
            top = max(top, logits[at + j])
        for j in range(classes):
            probabilities[to + j] = exp(logits[at + j] - top)
        factor = logits.dtype.type(1) / total(probabilities, to, classes)
        for j in range(classes):
            probabilities[to + j] *= factor


@jit
def sigmoid(logits, probabilities, first, last):
    """Set probabilities[i] = 1 / (1 + exp(-logits[i])), without overflow: the s(y) of `binary_cross_entropy`."""
    zero, one = logits.dtype.type(0), logits.dtype.type(1)
    for i in range(first, last):
        e = exp(-abs(logits[i]))
        probabilities[i] = (e if logits[i] < zero else one) / (one + e)


SQUARED, ABSOLUTE, HUBER = 0, 1, 2  # codes of the errors of `regression`


@unordered
def _total_of_sizes(errors, at, count):
    result = errors.dtype.type(0)
    for i in range(at, at + count):
        result += abs(errors[i])
    return result


@unordered
def _total_of_huber(errors, at, count, delta):
    half = errors.dtype.type(0.5)
    result = errors.dtype.type(0)
    for i in range(at, at + count):
        size = abs(errors[i])
        result += half * size * size if size <= delta else delta * (size - half * delta)
    return result


@jit
def regression(outputs, row, columns, targets, weights, scale, losses, doutputs, kind, delta, first, last):
    """Set losses[r] = w_r mean_j e(y[r, j] - t[r, j]) and the gradient of ``scale * losses`` in `doutputs`.

    e(d) is d^2 (SQUARED), |d| (ABSOLUTE), or d^2 / 2 for |d| <= delta and delta (|d| - delta / 2) beyond (HUBER).

    outputs, doutputs, weights, losses : as in `softmax_cross_entropy`; targets : (rows, columns) as 1-D, in; delta : in their dtype
    """
    zero, one = outputs.dtype.type(0), outputs.dtype.type(1)
    for r in range(first, last):
        at = r * row
        weight = weights[r] if weights.size > 0 else 1.0
        if weight == 0.0:
            losses[r] = 0.0
            _clear(doutputs, at, row)
            continue
        for j in range(columns):
            doutputs[at + j] = outputs[at + j] - targets[r * columns + j]
        slope = scale * weight / columns
        if kind == SQUARED:
            losses[r] = weight * total_of_squares(doutputs, at, columns) / columns
            slope *= 2.0
        elif kind == ABSOLUTE:
            losses[r] = weight * _total_of_sizes(doutputs, at, columns) / columns
            for j in range(columns):
                d = doutputs[at + j]
                # What is left is zero, or NaN.
                doutputs[at + j] = one if d > zero else -one if d < zero else d
        else:
            losses[r] = weight * _total_of_huber(doutputs, at, columns, delta) / columns
            for j in range(columns):
                d = doutputs[at + j]
                doutputs[at + j] = delta if d > delta else -delta if d < -delta else d
        factor = outputs.dtype.type(slope)
        for j in range(columns):
            doutputs[at + j] *= factor
        _clear(doutputs, at + columns, row - columns)


@jit
def binary_cross_entropy(logits, row, columns, targets, weights, scale, losses, dlogits, pos_weights, first, last):
    """Set losses[r] = w_r mean_j (-p_j t log s(y) - (1 - t) log(1 - s(y))) and the gradient of ``scale * losses``.

    s is the logistic function, y and t are logits[r, j] and targets[r, j]. With e = exp(-|y|), -log s(y) = log(1 + e) +
    max(-y, 0): nothing overflows or cancels.

    logits, dlogits, weights, losses : as in `softmax_cross_entropy`; targets : (rows, columns) as 1-D in [0, 1], in
    pos_weights : (columns,) p in the dtype of the logits, in, or empty for ones
    """
    zero, one = logits.dtype.type(0), logits.dtype.type(1)
    for r in range(first, last):
        at = r * row
        weight = weights[r] if weights.size > 0 else 1.0
        if weight == 0.0:
            losses[r] = 0.0
            _clear(dlogits, at, row)
            continue
        for j in range(columns):
            y = logits[at + j]
            on = targets[r * columns + j]
            off = one - on
            if pos_weights.size > 0:
                on *= pos_weights[j]
            rest = log1p(exp(-abs(y)))
            # A weight of zero makes nothing of an infinite logit.
            dlogits[at + j] = (off * (rest + max(y, zero)) if off > zero else zero) + (
                on * (rest + max(-y, zero)) if on > zero else zero
            )
        losses[r] = weight * total(dlogits, at, columns) / columns
        factor = logits.dtype.type(scale * weight / columns)
        for j in range(columns):
            y = logits[at + j]
            on = targets[r * columns + j]
            off = one - on
            if pos_weights.size > 0:
                on *= pos_weights[j]
            e = exp(-abs(y))
            high = one / (one + e)
            low = e * high
            dlogits[at + j] = factor * (off * (low if y < zero else high) - on * (high if y < zero else low))
        _clear(dlogits, at + columns, row - columns)
