"""Losses with their gradients: some threads share a row, as many as its columns are worth.

The equations are those of `numbarnn.kernels.equations`, in the type of the outputs throughout; columns past those that are named
stay as they are.
"""

import math
from typing import NamedTuple

from numba import cuda

from numbarnn.kernels import equations
from numbarnn.kernels.cuda.element import count_of, load, scaled, store
from numbarnn.kernels.cuda.launch import THREADS, Values, device, kernel
from numbarnn.kernels.cuda.reduce import VALUES, add_up, find_largest, row_blocks, shift_for, summed
from numbarnn.kernels.equations import loss_term


class LossRows(NamedTuple):
    """The outputs that a loss looks at, and what it makes of them.

    Attributes
    ----------
    outputs, gradient : row r at ``r * row``, `columns` values; two different arrays
    row, columns : distance and length of rows
    losses : (count,)
    count : rows
    """

    outputs: Values
    gradient: Values
    row: int
    columns: int
    losses: Values
    count: int


class OptionalWeights(NamedTuple):
    """Weights of rows or of classes.

    Attributes
    ----------
    values : one for each
    given : whether there are any; else all are one
    """

    values: Values
    given: bool


@device
def _largest(logits, at, count, tops, thread, lane, lanes, zero):
    """Return the largest of a row of logits to each of its `lanes` threads, 0 of none; `tops` is shared, one of each thread."""
    top = logits[at] if count > 0 else zero
    for j in range(lane, count, lanes):
        top = max(top, logits[at + j])
    tops[thread] = top
    find_largest(tops, thread, lane, lanes)
    return tops[thread - lane]


@kernel(LossRows, "i", OptionalWeights, "r", OptionalWeights, "r n")
def cross_entropy_rows(real):
    """Make the kernel of `softmax_cross_entropy`."""

    def cross_entropy_rows(outputs, targets, weights, scale, class_weights, smoothing, shift):
        """Set losses and gradients of all rows, ``2**shift`` threads each."""
        logits, dlogits, row, classes, losses, rows = outputs
        row_weights, weighted = weights
        class_values, by_class = class_weights
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
            weight = row_weights[r] if weighted else one
        # A row that does not count is not looked at: its target and its logits may be anything.
        looked = classes if weight != zero else 0

        top = _largest(logits, at, looked, tops, thread, lane, lanes, zero)

        whole, below, share = zero, zero, zero
        for j in range(lane, looked, lanes):
            value = logits[at + j]
            whole += math.exp(value - top)
            if smoothing > zero:
                v = class_values[j] if by_class else one
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
                own *= class_values[target]
            each, whole_weight = zero, own
            if smoothing > zero:
                each = weight * smoothing / real(classes)
                whole_weight += each * shares[first]
            counts = looked > 0 and whole_weight != zero
            if lane == 0:
                loss = zero
                if counts:
                    gap, below = top - logits[at + target], belows[first] if smoothing > zero else zero
                    loss = equations.softmax_cross_entropy(whole_weight, own, each, wholes[first], gap, below)
                losses[r] = loss
            factor = scale * whole_weight / wholes[first] if counts else zero
            for j in range(lane, classes, lanes):
                d = zero
                if counts:
                    d = math.exp(logits[at + j] - top) * factor
                    if smoothing > zero:
                        d -= scale * each * (class_values[j] if by_class else one)
                    if j == target:
                        d -= scale * own
                dlogits[at + j] = d

    return cross_entropy_rows


@kernel(LossRows, "x", OptionalWeights, "r n")
def soft_cross_entropy_rows(real):
    """Make the kernel of `soft_cross_entropy`."""

    def soft_cross_entropy_rows(outputs, targets, weights, scale, shift):
        """Set losses and gradients of all rows, ``2**shift`` threads each."""
        logits, dlogits, row, classes, losses, rows = outputs
        row_weights, weighted = weights
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
        at, target = r * row, r * classes
        weight = zero
        if r < rows:
            weight = row_weights[r] if weighted else one
        looked = classes if weight != zero else 0

        top = _largest(logits, at, looked, tops, thread, lane, lanes, zero)

        whole, below, share = zero, zero, zero
        for j in range(lane, looked, lanes):
            value, q = logits[at + j], targets[target + j]
            whole += math.exp(value - top)
            below += q * (top - value) if q > zero else zero
            share += q
        wholes[thread] = whole
        belows[thread] = below
        shares[thread] = share
        add_up(wholes, thread, lane, lanes)
        add_up(belows, thread, lane, lanes)
        add_up(shares, thread, lane, lanes)

        if r < rows:
            share = weight * shares[first]
            if lane == 0:
                loss = zero
                if looked > 0:
                    loss = equations.softmax_cross_entropy(share, zero, weight, wholes[first], zero, belows[first])
                losses[r] = loss
            factor = scale * share / wholes[first] if looked > 0 else zero
            for j in range(lane, classes, lanes):
                d = zero
                if looked > 0:
                    d = math.exp(logits[at + j] - top) * factor - scale * weight * targets[target + j]
                dlogits[at + j] = d

    return soft_cross_entropy_rows


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
        at, dst = r * row, r * classes
        looked = classes if r < rows else 0
        top = _largest(logits, at, looked, tops, thread, lane, lanes, real(0))
        whole = real(0)
        for j in range(lane, looked, lanes):
            whole += math.exp(logits[at + j] - top)
        wholes[thread] = whole
        add_up(wholes, thread, lane, lanes)
        factor = real(1) / wholes[first] if looked > 0 else real(0)
        for j in range(lane, looked, lanes):
            probabilities[dst + j] = math.exp(logits[at + j] - top) * factor

    return softmax_rows


@kernel("c", LossRows, "x x", OptionalWeights, "r n")
def pointwise_rows(real):
    """Make the kernel of `pointwise`."""

    def pointwise_rows(term, outputs, targets, options, weights, scale, shift):
        """Set losses and gradients of all rows, ``2**shift`` threads each."""
        values, doutputs, row, columns, losses, rows = outputs
        row_weights, weighted = weights
        sums = cuda.shared.array(THREADS, real)
        zero, one = real(0), real(1)
        lanes = 1 << shift
        thread = cuda.threadIdx.x
        lane = thread & (lanes - 1)
        each = count_of(term, "outputs")
        count = columns // each
        r = cuda.blockIdx.x * (THREADS >> shift) + (thread >> shift)
        start, target = r * row, r * count
        weight = zero
        if r < rows:
            weight = row_weights[r] if weighted else one
        share = weight / real(count)
        factor = scale * share
        total = zero
        for j in range(lane, count if r < rows else 0, lanes):
            at = start + j * each
            if weight != zero:
                own = load(term, "options", options, j, count)
                loss, slopes = loss_term(term, load(term, "outputs", values, at, 1), targets[target + j], own)
                total += real(loss)
                store(term, "outputs", doutputs, at, 1, scaled(factor, slopes))
            else:
                for k in range(at, at + each):
                    doutputs[k] = zero
        sums[thread] = total
        add_up(sums, thread, lane, lanes)
        if lane == 0 and r < rows:
            losses[r] = share * sums[thread]

    return pointwise_rows


def softmax_cross_entropy(outputs, targets, weights, scale, class_weights=None, smoothing=0.0):
    """Set losses[r] = w_r sum_c q_c (-log p_c), p = softmax(logits[r]), and the gradient of ``scale * losses``.

    q_c = (1 - smoothing) v_c [c = target_r] + smoothing v_c / classes with the class weights v. Loss and gradient of rows whose
    weights are all 0 are zero, whatever their logits and targets.

    Parameters
    ----------
    outputs : LossRows
    targets : Buffer
        (rows,) int32; -1 where the weight is 0.
    weights : Buffer or None
        (rows,); None for ones.
    class_weights : Buffer or None
        (classes,); None for ones.
    """
    shift = shift_for(outputs.columns)
    cross_entropy_rows(
        row_blocks(outputs.count, shift), THREADS, outputs, targets, OptionalWeights(weights, weights is not None), scale,
        OptionalWeights(class_weights, class_weights is not None), smoothing, shift,
    )  # fmt: skip


def soft_cross_entropy(outputs, targets, weights, scale):
    """Set losses[r] = w_r sum_c q_c (-log p_c), p = softmax(logits[r]), and the gradient of ``scale * losses``.

    Parameters
    ----------
    targets : Buffer
        (rows, columns) in the type of the outputs: q of every class.

    The other arguments are those of `softmax_cross_entropy`.
    """
    shift = shift_for(outputs.columns)
    soft_cross_entropy_rows(
        row_blocks(outputs.count, shift),
        THREADS,
        outputs,
        targets,
        OptionalWeights(weights, weights is not None),
        scale,
        shift,
    )


def softmax(logits, row, classes, probabilities, rows):
    """Set probabilities[r] = softmax(logits[r]), rows of `classes` values; `row` is the distance of the rows of logits."""
    shift = shift_for(classes)
    softmax_rows(row_blocks(rows, shift), THREADS, logits, row, classes, probabilities, rows, shift)


def pointwise(term, outputs, targets, weights, scale, options=None):
    """Set losses[r] = w_r mean_j l(y[r, j], t[r, j]) and the gradient of ``scale * losses``, l being a loss term.

    Parameters
    ----------
    term : tuple
        Record of `numbarnn.kernels.equations.term_record`.
    targets : Buffer
        (rows, columns / K) in the type of the outputs, K being the outputs of the term: target j has those from column j K on.
    options : Buffer or None
        (options of the term, columns / K): what it takes beside outputs and target; None where that is nothing.

    The other arguments are those of `softmax_cross_entropy`.
    """
    shift = shift_for(outputs.columns)
    pointwise_rows(
        row_blocks(outputs.count, shift), THREADS, term, outputs, targets, options,
        OptionalWeights(weights, weights is not None), scale, shift,
    )  # fmt: skip


def total(arena, values, count):
    """Return a buffer with the sum of `count` values."""
    return summed(arena, VALUES, values, count)
