"""Losses with their gradients, in one pass over the rows.

Indices of inner loops are unsigned: of one that may be negative Numba asks at every access whether it counts from the end, and then
no loop vectorises (softmax over 1000 classes: 1.6 ns a class instead of 0.26).
"""

import math

import numpy as np

from numbarnn.kernels import equations
from numbarnn.kernels.compile import jit
from numbarnn.kernels.cpu.largest import largest
from numbarnn.kernels.cpu.sums import total
from numbarnn.kernels.element import count_of, load, scaled, store
from numbarnn.kernels.equations import loss_term
from numbarnn.kernels.scalar import exp, inlined

# Values of the outputs that one loop over rows side by side takes; they stay in the first-level cache for the next.
TOGETHER = 1024


@inlined
def _clear(values, at, count):
    for i in range(np.uintp(at), np.uintp(at + count)):
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
        begin, end = np.uintp(at), np.uintp(at + classes)
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
        top = largest(logits, at, classes)
        # A sum beside stores would get two bodies, by whether the arrays may overlap, that round differently
        # (tests/test_losses_optim.py moves the arrays about); so sums stand in loops of their own, over one array.
        below = zero
        if smoothing > 0.0:
            for i in range(begin, end):
                dlogits[i] = top - logits[i]
            if class_weights.size > 0:
                for j in range(classes):
                    dlogits[at + j] *= dlogits.dtype.type(class_weights[j])
            below = total(dlogits, at, classes)
        for i in range(begin, end):
            dlogits[i] = exp(logits[i] - top)
        whole = total(dlogits, at, classes)
        gap, each = top - logits[at + targets[r]], weight * smoothing / classes
        losses[r] = equations.softmax_cross_entropy(whole_weight, own, each, whole, gap, below)
        factor = dlogits.dtype.type(scale * whole_weight / whole)
        for i in range(begin, end):
            dlogits[i] *= factor
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
        begin, end = np.uintp(at), np.uintp(at + classes)
        weight = weights[r] if weights.size > 0 else 1.0
        if weight == 0.0:
            losses[r] = 0.0
            _clear(dlogits, at, row)
            continue
        top = largest(logits, at, classes)
        # Sums in loops of their own, as in `softmax_cross_entropy`. A logit of -inf costs nothing where q is zero.
        for j in range(classes):
            q = targets[target + j]
            dlogits[at + j] = q * (top - logits[at + j]) if q > zero else zero
        below = total(dlogits, at, classes)
        for i in range(begin, end):
            dlogits[i] = exp(logits[i] - top)
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
        top = largest(logits, at, classes)
        for j in range(classes):
            probabilities[np.uintp(to + j)] = exp(logits[np.uintp(at + j)] - top)
        factor = logits.dtype.type(1) / total(probabilities, to, classes)
        for i in range(np.uintp(to), np.uintp(to + classes)):
            probabilities[i] *= factor


@jit
def sigmoid(logits, probabilities, first, last):
    """Set probabilities[i] = 1 / (1 + exp(-logits[i])), without overflow."""
    zero, one = logits.dtype.type(0), logits.dtype.type(1)
    for i in range(np.uintp(first), np.uintp(last)):
        e = exp(-abs(logits[i]))
        probabilities[i] = (e if logits[i] < zero else one) / (one + e)


@jit
def pointwise(term, outputs, row, columns, targets, options, weights, scale, losses, doutputs, first, last):
    """Set losses[r] = w_r mean_j l(y[r, j], t[r, j]) and the gradient of ``scale * losses`` in `doutputs`, l being a loss term.

    term     record of `numbarnn.kernels.equations.term_record`: target j has its `outputs`, K of them from column j K on
    outputs, doutputs, weights, losses : as in `softmax_cross_entropy`; targets : (rows, columns / K) as 1-D, in
    options  (options of the term, columns / K) as 1-D in the dtype of the outputs, in: what the term takes beside y and t
    """
    each, given = count_of(term, "outputs"), count_of(term, "options")
    count = columns // each
    # Rows side by side that share everything are one long loop: short ones spent their time in asking whether arrays overlap
    # (41 ns a row of 32 columns instead of 6).
    most = max(1, TOGETHER // columns) if row == columns and given == 0 and weights.size == 0 else 1
    r = first
    while r < last:
        start, target = r * row, r * count
        weight = weights[r] if weights.size > 0 else 1.0
        if weight == 0.0:
            losses[r] = 0.0
            _clear(doutputs, start, row)
            r += 1
            continue
        rows = min(most, last - r)
        for j in range(rows * count):
            y, own = load(term, "outputs", outputs, start, 1, j * each), load(term, "options", options, 0, count, j)
            doutputs[np.uintp(start + j)] = loss_term(term, y, targets[np.uintp(target + j)], own)[0]
        for i in range(rows):
            losses[r + i] = weight * total(doutputs, start + i * count, count) / count
        factor = outputs.dtype.type(scale * weight / count)
        for j in range(rows * count):
            y, own = load(term, "outputs", outputs, start, 1, j * each), load(term, "options", options, 0, count, j)
            slopes = loss_term(term, y, targets[np.uintp(target + j)], own)[1]
            store(term, "outputs", doutputs, start, 1, j * each, scaled(factor, slopes))
        _clear(doutputs, start + columns, row - columns)
        r += rows


@inlined
def _fraction(a, b, x):
    """Return the continued fraction of the incomplete beta function I_x(a, b).

    By the method of Lentz; W. H. Press et al., "Numerical Recipes", 3rd edition, section 6.4. It takes O(sqrt(max(a, b))) terms.
    """
    tiny = 1e-300
    c, d = 1.0, 1.0 - (a + b) * x / (a + 1.0)
    d = 1.0 / (d if abs(d) > tiny else tiny)
    found = d
    for m in range(1, 1_000_000):
        change = 1.0
        for term in (
            m * (b - m) * x / ((a + 2.0 * m - 1.0) * (a + 2.0 * m)),
            -(a + m) * (a + b + m) * x / ((a + 2.0 * m) * (a + 2.0 * m + 1.0)),
        ):
            d, c = 1.0 + term * d, 1.0 + term / c
            d, c = 1.0 / (d if abs(d) > tiny else tiny), c if abs(c) > tiny else tiny
            change = d * c
            found *= change
        if abs(change - 1.0) < 1e-15:
            break
    return found


@inlined
def _count_distribution(count, mean, alpha):
    """Return P(z <= count) = I_p(r, count + 1) of the negative binomial distribution, p = 1 / (1 + alpha mean), r = 1 / alpha."""
    a, b, spread = 1.0 / alpha, count + 1.0, 1.0 + alpha * mean
    p, rest = 1.0 / spread, alpha * mean / spread
    # p^r (1 - p)^(count + 1) / B(r, count + 1)
    front = math.exp(equations.log_count_probability(count, mean, math.log(mean), alpha)) * rest * (a + count)
    if p < (a + 1.0) / (a + b + 2.0):
        return front * _fraction(a, b, p) / a
    return 1.0 - front * _fraction(b, a, rest) / b


@jit
def count_quantiles(means, alphas, levels, quantiles):
    """Set quantiles[i, j] to the smallest count whose negative binomial distribution function is at least levels[j].

    means, alphas : (n,) float64, in: the variance is mean + alpha mean^2. Below 1e-8 / sqrt(1 + mean) alpha counts as that: the
        variance, and P, which `_fraction` loses digits of the smaller alpha is, are off by a share of 1e-8 sqrt(mean)
    levels : float64, in; quantiles : (n, levels) as 1-D float64, out
    """
    for i in range(means.size):
        mean = means[i]
        alpha = max(alphas[i], 1e-8 / math.sqrt(1.0 + mean))
        for j in range(levels.size):
            low, high = -1.0, 0.0
            if mean > 1e-300:
                while _count_distribution(high, mean, alpha) < levels[j]:
                    low, high = high, 2.0 * high + np.ceil(mean)
            middle = np.floor(0.5 * (low + high))
            while low < middle < high:
                if _count_distribution(middle, mean, alpha) < levels[j]:
                    low = middle
                else:
                    high = middle
                middle = np.floor(0.5 * (low + high))
            quantiles[i * levels.size + j] = high
