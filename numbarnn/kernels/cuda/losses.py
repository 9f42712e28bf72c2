"""Losses with their gradients: some threads share a row, as many as its columns are worth.

The equations are those of `numbarnn.kernels.cpu.losses`, in the type of the outputs throughout; columns past those that are
named stay as they are.
"""

import math

from numba import cuda

from numbarnn.kernels.cuda.launch import THREADS, kernel
from numbarnn.kernels.cuda.rows import add_up, find_largest, row_blocks, shift_for
from numbarnn.kernels.cuda.sums import VALUES, summed

SQUARED, ABSOLUTE, HUBER = 0, 1, 2  # codes of the errors of `regression`
_BINARY = 3  # that of `binary_cross_entropy`


@kernel("x n n i x n r x x n x n r n")
def cross_entropy_rows(real):
    """Make the kernel of `softmax_cross_entropy`."""

    def cross_entropy_rows(
        logits, row, classes, targets, weights, weighted, scale, losses, dlogits, rows, class_weights, by_class, smoothing, shift,
    ):  # fmt: skip
        """Set losses and gradients of all rows, ``2**shift`` threads each; `weighted`, `by_class`: whether there are weights."""
        tops = cuda.shared.array(THREADS, real)
        wholes = cuda.shared.array(THREADS, real)
        belows = cuda.shared.array(THREADS, real)
        shares = cuda.shared.array(THREADS, real)
        zero, one = real(0), real(1)
        lanes = 1 << shift
        thread = cuda.threadIdx.x
        lane = thread & (lanes - 1)
        first = thread - lane
        r = cuda.blockIdx.x * (THREADS >> shift) + (thread >> shift)
        at = r * row
        weight = zero
        if r < rows:
            weight = weights[r] if weighted else one
        # A row that does not count is not looked at: its target and its logits may be anything.
        looked = classes if weight != zero else 0

        top = logits[at] if looked > 0 else zero
        for j in range(lane, looked, lanes):
            top = max(top, logits[at + j])
        tops[thread] = top
        find_largest(tops, thread, lane, lanes)
        top = tops[first]

        whole, below, share = zero, zero, zero
        for j in range(lane, looked, lanes):
            value = logits[at + j]
            whole += math.exp(value - top)
            if smoothing > zero:
                v = class_weights[j] if by_class else one
                below += v * (top - value)
                share += v
        wholes[thread] = whole
        add_up(wholes, thread, lane, lanes)
        if smoothing > zero:
            belows[thread] = below
            shares[thread] = share
            add_up(belows, thread, lane, lanes)
            add_up(shares, thread, lane, lanes)

        if r < rows:
            target = targets[r] if looked > 0 else 0
            own = weight * (one - smoothing)
            if by_class and looked > 0:
                own *= class_weights[target]
            each, whole_weight = zero, own
            if smoothing > zero:
                each = weight * smoothing / real(classes)
                whole_weight += each * shares[first]
            counts = looked > 0 and whole_weight != zero
            if lane == 0:
                loss = zero
                if counts:
                    loss = whole_weight * math.log(wholes[first]) + own * (top - logits[at + target])
                    if smoothing > zero:
                        loss += each * belows[first]
                losses[r] = loss
            factor = scale * whole_weight / wholes[first] if counts else zero
            for j in range(lane, classes, lanes):
                d = zero
                if counts:
                    d = math.exp(logits[at + j] - top) * factor
                    if smoothing > zero:
                        d -= scale * each * (class_weights[j] if by_class else one)
                    if j == target:
                        d -= scale * own
                dlogits[at + j] = d

    return cross_entropy_rows


@kernel("x n n x n n")
def softmax_rows(real):
    """Make the kernel of `softmax`."""

    def softmax_rows(logits, row, classes, probabilities, rows, shift):
        """Set probabilities[r] = softmax(logits[r]), ``2**shift`` threads a row."""
        tops = cuda.shared.array(THREADS, real)
        wholes = cuda.shared.array(THREADS, real)
        lanes = 1 << shift
        thread = cuda.threadIdx.x
        lane = thread & (lanes - 1)
        first = thread - lane
        r = cuda.blockIdx.x * (THREADS >> shift) + (thread >> shift)
        at, to = r * row, r * classes
        looked = classes if r < rows else 0
        top = logits[at] if looked > 0 else real(0)
        for j in range(lane, looked, lanes):
            top = max(top, logits[at + j])
        tops[thread] = top
        find_largest(tops, thread, lane, lanes)
        top = tops[first]
        whole = real(0)
        for j in range(lane, looked, lanes):
            whole += math.exp(logits[at + j] - top)
        wholes[thread] = whole
        add_up(wholes, thread, lane, lanes)
        factor = real(1) / wholes[first] if looked > 0 else real(0)
        for j in range(lane, looked, lanes):
            probabilities[to + j] = math.exp(logits[at + j] - top) * factor

    return softmax_rows


@kernel("x n n x x n r x x n n r x n n")
def number_rows(real):
    """Make the kernel of `regression` and `binary_cross_entropy`."""

    def number_rows(
        outputs, row, columns, targets, weights, weighted, scale, losses, doutputs, rows, kind, delta, pos_weights, positive,
        shift,
    ):  # fmt: skip
        """Set losses and gradients of all rows, ``2**shift`` threads each; `weighted`, `positive`: whether there are weights."""
        sums = cuda.shared.array(THREADS, real)
        zero, one, half = real(0), real(1), real(0.5)
        lanes = 1 << shift
        thread = cuda.threadIdx.x
        lane = thread & (lanes - 1)
        r = cuda.blockIdx.x * (THREADS >> shift) + (thread >> shift)
        at, to = r * row, r * columns
        weight = zero
        if r < rows:
            weight = weights[r] if weighted else one
        share = weight / real(columns)
        factor = scale * share
        total = zero
        for j in range(lane, columns if r < rows else 0, lanes):
            slope = zero
            if weight != zero:
                y, goal = outputs[at + j], targets[to + j]
                d = y - goal
                size = abs(d)
                if kind == SQUARED:
                    total += d * d
                    slope = d + d
                elif kind == ABSOLUTE:
                    total += size
                    # What is left is zero, or NaN.
                    slope = one if d > zero else -one if d < zero else d
                elif kind == HUBER:
                    total += half * size * size if size <= delta else delta * (size - half * delta)
                    slope = delta if d > delta else -delta if d < -delta else d
                else:
                    on, off = goal, one - goal
                    if positive:
                        on *= pos_weights[j]
                    e = math.exp(-abs(y))
                    rest = math.log1p(e)
                    # A weight of zero makes nothing of an infinite logit.
                    if off > zero:
                        total += off * (rest + max(y, zero))
                    if on > zero:
                        total += on * (rest + max(-y, zero))
                    high = one / (one + e)
                    low = e * high
                    slope = off * (low if y < zero else high) - on * (high if y < zero else low)
            doutputs[at + j] = factor * slope
        sums[thread] = total
        add_up(sums, thread, lane, lanes)
        if lane == 0 and r < rows:
            losses[r] = share * sums[thread]

    return number_rows


def softmax_cross_entropy(
    logits, row, classes, targets, weights, scale, losses, dlogits, rows, class_weights=None, smoothing=0.0
):
    """Set losses[r] = w_r sum_c q_c (-log p_c), p = softmax(logits[r]), and the gradient of ``scale * losses`` in `dlogits`.

    q_c = (1 - smoothing) v_c [c = target_r] + smoothing v_c / classes with the class weights v. Loss and gradient of rows whose
    weights are all 0 are zero, whatever their logits and targets.

    Parameters
    ----------
    logits, dlogits : Buffer
        Row r at ``r * row``; two different ones.
    targets : Buffer
        (rows,) int32; -1 where the weight is 0.
    weights : Buffer or None
        (rows,); None for ones.
    losses : Buffer
        (rows,)
    class_weights : Buffer or None
        (classes,); None for ones.
    """
    shift = shift_for(classes)
    cross_entropy_rows(
        row_blocks(rows, shift), THREADS, logits, row, classes, targets, weights, int(weights is not None), scale, losses, dlogits,
        rows, class_weights, int(class_weights is not None), smoothing, shift,
    )  # fmt: skip


def softmax(logits, row, classes, probabilities, rows):
    """Set probabilities[r] = softmax(logits[r]), rows of `classes` numbers; `row` is the distance of the rows of logits."""
    shift = shift_for(classes)
    softmax_rows(row_blocks(rows, shift), THREADS, logits, row, classes, probabilities, rows, shift)


def regression(outputs, row, columns, targets, weights, scale, losses, doutputs, rows, kind, delta):
    """Set losses[r] = w_r mean_j e(y[r, j] - t[r, j]) and the gradient of ``scale * losses`` in `doutputs`.

    e(d) is d^2 (SQUARED), |d| (ABSOLUTE), or d^2 / 2 for |d| <= delta and delta (|d| - delta / 2) beyond (HUBER); targets are
    (rows, columns) in the type of the outputs, the other arguments those of `softmax_cross_entropy`.
    """
    shift = shift_for(columns)
    number_rows(
        row_blocks(rows, shift), THREADS, outputs, row, columns, targets, weights, int(weights is not None), scale, losses,
        doutputs, rows, kind, delta, None, 0, shift,
    )  # fmt: skip


def binary_cross_entropy(logits, row, columns, targets, weights, scale, losses, dlogits, rows, pos_weights=None):
    """Set losses[r] = w_r mean_j (-p_j t log s(y) - (1 - t) log(1 - s(y))) and the gradient of ``scale * losses``.

    s is the logistic function, y and t are logits[r, j] and targets[r, j], p the (columns,) `pos_weights`, None for ones; the other
    arguments are those of `regression`.
    """
    shift = shift_for(columns)
    number_rows(
        row_blocks(rows, shift), THREADS, logits, row, columns, targets, weights, int(weights is not None), scale, losses, dlogits,
        rows, _BINARY, 0.0, pos_weights, int(pos_weights is not None), shift,
    )  # fmt: skip


def total(arena, values, count):
    """Return a buffer with the sum of `count` values."""
    return summed(arena, VALUES, values, count)
