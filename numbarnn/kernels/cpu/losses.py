"""Losses with their gradients, in one pass over the rows."""

import math

from numbarnn.kernels.compile import jit
from numbarnn.kernels.scalar import exp, total, total_of_squares


@jit
def softmax_cross_entropy(logits, row, classes, targets, weights, scale, losses, dlogits, first, last):
    """Set losses[r] = -w_r log softmax(logits[r])[target_r] and dlogits[r] = scale w_r (softmax(logits[r]) - onehot(target_r)).

    Rows of weight 0 are not looked at: loss and gradient are zero. Softmax is shifted by the largest logit, so
    nothing overflows.

    logits   in, 1-D: row r at ``r * row``, `classes` columns; dlogits : out, likewise, may be the same array; padding becomes zero
    targets  (rows,) in; weights : (rows,) float64, in, or empty for ones; losses : (rows,) float64, out
    """
    zero = logits.dtype.type(0)
    for r in range(first, last):
        at = r * row
        weight = weights[r] if weights.size > 0 else 1.0
        if weight == 0.0:
            losses[r] = 0.0
            for j in range(row):
                dlogits[at + j] = zero
            continue
        goal = logits[at + targets[r]]
        top = logits[at]
        for j in range(1, classes):
            top = max(top, logits[at + j])
        # A sum beside stores would get two bodies, by whether the arrays may overlap, that round differently
        # (tests/test_losses_optim.py moves the arrays about); so sums stand in loops of their own, over one array.
        for j in range(classes):
            dlogits[at + j] = exp(logits[at + j] - top)
        whole = total(dlogits, at, classes)
        losses[r] = weight * (math.log(whole) + (top - goal))
        factor = dlogits.dtype.type(scale * weight / whole)
        for j in range(classes):
            dlogits[at + j] *= factor
        dlogits[at + targets[r]] -= dlogits.dtype.type(scale * weight)
        for j in range(classes, row):
            dlogits[at + j] = zero


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
def mean_squared_error(outputs, row, columns, targets, weights, scale, losses, doutputs, first, last):
    """Set losses[r] = w_r mean_j (y[r, j] - t[r, j])^2 and the gradient of ``scale * losses`` in `doutputs`.

    outputs, doutputs, weights, losses : as in `softmax_cross_entropy`; targets : (rows, columns) as 1-D, in.
    """
    zero = outputs.dtype.type(0)
    for r in range(first, last):
        at = r * row
        weight = weights[r] if weights.size > 0 else 1.0
        if weight == 0.0:
            losses[r] = 0.0
            for j in range(row):
                doutputs[at + j] = zero
            continue
        factor = outputs.dtype.type(2.0 * scale * weight / columns)
        for j in range(columns):
            doutputs[at + j] = outputs[at + j] - targets[r * columns + j]
        losses[r] = weight * total_of_squares(doutputs, at, columns) / columns
        for j in range(columns):
            doutputs[at + j] *= factor
        for j in range(columns, row):
            doutputs[at + j] = zero
