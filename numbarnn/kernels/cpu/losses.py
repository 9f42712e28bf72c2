"""Losses with their gradients, in one pass over the rows."""

from numbarnn.kernels import equations
from numbarnn.kernels.compile import jit
from numbarnn.kernels.element import load
from numbarnn.kernels.equations import loss_term
from numbarnn.kernels.scalar import exp, inlined, total


@inlined
def _largest(values, at, count):
    top = values[at]
    for i in range(at + 1, at + count):
        top = max(top, values[i])
    return top


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
        top = _largest(logits, at, classes)
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
        gap, each = top - logits[at + targets[r]], weight * smoothing / classes
        losses[r] = equations.softmax_cross_entropy(whole_weight, own, each, whole, gap, below)
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
def soft_cross_entropy(logits, row, classes, targets, weights, scale, losses, dlogits, first, last):
    """Set losses[r] = w_r sum_c q_c (-log p_c), p = softmax(logits[r]), and the gradient of ``scale * losses`` in `dlogits`.

    As `softmax_cross_entropy`, with the q of all classes as targets, (rows, classes) as 1-D in the dtype of the logits.
    """
    zero = logits.dtype.type(0)
    for r in range(first, last):
        at, target = r * row, r * classes
        weight = weights[r] if weights.size > 0 else 1.0
        if weight == 0.0:
            losses[r] = 0.0
            _clear(dlogits, at, row)
            continue
        top = _largest(logits, at, classes)
        # Sums in loops of their own, as in `softmax_cross_entropy`. A logit of -inf costs nothing where q is zero.
        for j in range(classes):
            q = targets[target + j]
            dlogits[at + j] = q * (top - logits[at + j]) if q > zero else zero
        below = total(dlogits, at, classes)
        for j in range(classes):
            dlogits[at + j] = exp(logits[at + j] - top)
        whole, share = total(dlogits, at, classes), weight * total(targets, target, classes)
        losses[r] = equations.softmax_cross_entropy(share, 0.0, weight, whole, 0.0, below)
        factor, own = dlogits.dtype.type(scale * share / whole), dlogits.dtype.type(scale * weight)
        for j in range(classes):
            dlogits[at + j] = factor * dlogits[at + j] - own * targets[target + j]
        _clear(dlogits, at + classes, row - classes)


@jit
def softmax(logits, row, classes, probabilities, first, last):
    """Set probabilities[r] = softmax(logits[r]) for rows of `classes` columns; `row` is the stride of the logits."""
    for r in range(first, last):
        at, to = r * row, r * classes
        top = _largest(logits, at, classes)
        for j in range(classes):
            probabilities[to + j] = exp(logits[at + j] - top)
        factor = logits.dtype.type(1) / total(probabilities, to, classes)
        for j in range(classes):
            probabilities[to + j] *= factor


@jit
def sigmoid(logits, probabilities, first, last):
    """Set probabilities[i] = 1 / (1 + exp(-logits[i])), without overflow."""
    zero, one = logits.dtype.type(0), logits.dtype.type(1)
    for i in range(first, last):
        e = exp(-abs(logits[i]))
        probabilities[i] = (e if logits[i] < zero else one) / (one + e)


@jit
def pointwise(term, outputs, row, columns, targets, options, weights, scale, losses, doutputs, first, last):
    """Set losses[r] = w_r mean_j l(y[r, j], t[r, j]) and the gradient of ``scale * losses`` in `doutputs`, l being a loss term.

    term     record of `numbarnn.kernels.equations.term_record`
    outputs, doutputs, weights, losses : as in `softmax_cross_entropy`; targets : (rows, columns) as 1-D, in
    options  (options of the term, columns) as 1-D in the dtype of the outputs, in: what the term takes beside y and t
    """
    for r in range(first, last):
        start, target = r * row, r * columns
        weight = weights[r] if weights.size > 0 else 1.0
        if weight == 0.0:
            losses[r] = 0.0
            _clear(doutputs, start, row)
            continue
        for j in range(columns):
            own = load(term, "options", options, 0, columns, j)
            doutputs[start + j] = loss_term(term, outputs[start + j], targets[target + j], own)[0]
        losses[r] = weight * total(doutputs, start, columns) / columns
        factor = outputs.dtype.type(scale * weight / columns)
        for j in range(columns):
            own = load(term, "options", options, 0, columns, j)
            doutputs[start + j] = factor * loss_term(term, outputs[start + j], targets[target + j], own)[1]
        _clear(doutputs, start + columns, row - columns)
