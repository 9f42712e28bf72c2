"""Connectionist temporal classification: the loss of label sequences whose alignment is unknown, with its gradient."""

import math
from typing import NamedTuple

import numpy as np

from numbarnn.kernels.compile import jit
from numbarnn.kernels.cpu.largest import largest
from numbarnn.kernels.cpu.simd import lanes_of
from numbarnn.kernels.cpu.sums import total
from numbarnn.kernels.cpu.trellis import FLOOR, backward_states, forward_states, occupy_states, weigh_states
from numbarnn.kernels.groups import Doubles1, Exponents1, Floats1, Integers1, Tokens1
from numbarnn.kernels.scalar import exp, inlined, split_exp

_LN2 = math.log(2.0)


@inlined
def width_of(labels, lanes):
    """Return the values in a row of states for that many labels: whole vectors, with two values after the last blank."""
    return -(-(labels + 2) // lanes) * lanes


def scratch_of(steps, labels, lanes):
    """Return the mantissas, and the exponents, that `ctc` needs as scratch for one sample."""
    width = width_of(labels, lanes)
    return (3 * steps + 9) * width + steps + 2 * lanes


@inlined
def _clear(values, at, count):
    for j in range(np.uintp(at), np.uintp(at + count)):
        values[j] = values.dtype.type(0)


@inlined
def _zeros(mantissas, exponents, at, count):
    for j in range(at, at + count):
        mantissas[j] = mantissas.dtype.type(0)
        exponents[j] = FLOOR


@inlined
def _one(mantissas, exponents, at):
    mantissas[at] = mantissas.dtype.type(1)
    exponents[at] = 0


@inlined
def _emissions(logits, at, top, labels, first, count, width, mantissas, exponents, dst):
    """Set emission k, dst <= dst + k < width, to exp(logits of label k - top), zero after the last label."""
    for k in range(count):
        mantissas[dst + k] = logits[at + labels[first + k]] - top
    for k in range(count, width):
        mantissas[dst + k] = mantissas.dtype.type(-np.inf)
    for k in range(np.uintp(dst), np.uintp(dst + width)):  # unsigned, or the loop does not vectorise
        mantissas[k], exponents[k] = split_exp(mantissas[k])


@inlined
def _skips(labels, first, count, exponents, at, width):
    """Set integers to 1 where label k may follow label k - 1 without a blank between them, else to 0."""
    for k in range(width):
        exponents[at + k] = 1 if 0 < k < count and labels[first + k] != labels[first + k - 1] else 0


class Logits(NamedTuple):
    """What the loss is a function of.

    Attributes
    ----------
    values : 1-D: step t of sample i at ``(t * samples + i) * row``
    row : distance
    classes : columns
    """

    values: Floats1
    row: int
    classes: int


class LabelRows(NamedTuple):
    """The label sequences of a batch.

    Attributes
    ----------
    lengths : (samples,) steps of each sample
    labels : one sequence after the other
    starts : (samples + 1,) where each begins
    blank : class of the blank, which is not a label
    """

    lengths: Integers1
    labels: Tokens1
    starts: Integers1
    blank: int


class Scratch(NamedTuple):
    """Scratch of one thread: `scratch_of` values each.

    Attributes
    ----------
    mantissas, exponents : of numbers of unlimited range (`numbarnn.kernels.cpu.trellis`)
    """

    mantissas: Floats1
    exponents: Exponents1


@jit
def ctc(
    logits: Logits, targets: LabelRows, scales: Doubles1, zero: bool, losses: Doubles1, dlogits: Floats1, scratch: Scratch,
    first: int, last: int,
):  # fmt: skip
    """Set losses[i] = -log p(labels of sample i | logits), and the gradient of ``sum scales * losses`` in `dlogits`.

    p is the sum over all alignments of the product of softmax(logits[t]) at their symbols (Graves et al. 2006, equations 3 and 6
    to 15); the gradient is scales[i] (softmax - occupancy), where the occupancy of a class is the probability that the alignment
    is there. Softmax is shifted by the largest logit and its denominators are kept apart: they cancel from the occupancy. A
    sample whose scale is 0 is not looked at: loss and gradient are zero. Where logits of -inf leave no alignment, the loss is
    infinite, or 0 if `zero`, and the gradient is zero.

    scales, losses : (samples,), in, out; dlogits : out, like the logits, another array; its padding becomes zero
    """
    values, row, classes = logits
    lengths, labels, starts, blank = targets
    mantissas, exponents = scratch
    samples = lengths.size
    lanes = lanes_of(mantissas)
    steps_of_all = values.size // (row * samples)
    kind = mantissas.dtype.type
    for i in range(first, last):
        steps, begin, count = lengths[i], starts[i], starts[i + 1] - starts[i]
        for t in range(0 if scales[i] == 0.0 else steps, steps_of_all):
            _clear(dlogits, (t * samples + i) * row, row)
        losses[i] = 0.0
        if scales[i] == 0.0:
            continue
        width = width_of(count, lanes)
        blanks = (steps + 1) * 2 * width
        emissions = blanks + steps
        states = emissions + steps * width
        weighed, shares, skips = states + 2 * width, states + 4 * width + lanes, states + 4 * width + lanes
        _zeros(mantissas, exponents, 0, 2 * width)
        _one(mantissas, exponents, 0)
        _skips(labels, begin, count, exponents, skips, width + lanes)
        # Forward; the exponents of `shares` are free for the skips, as shares are plain floats.
        logs, product = 0.0, 1.0
        for t in range(steps):
            at = (t * samples + i) * row
            top = largest(values, at, classes)
            begun, ended = np.uintp(at), np.uintp(at + classes)
            for j in range(begun, ended):
                dlogits[j] = exp(values[j] - top)
            whole = total(dlogits, at, classes)
            factor = dlogits.dtype.type(scales[i] / whole)
            for j in range(begun, ended):
                dlogits[j] *= factor
            _clear(dlogits, at + classes, row - classes)
            product *= whole
            if product > 1e200:
                logs += math.log(product)
                product = 1.0
            emission = emissions + t * width
            _emissions(values, at, top, labels, begin, count, width, mantissas, exponents, emission)
            mantissas[blanks + t], exponents[blanks + t] = split_exp(values[at + blank] - top)
            source = t * 2 * width
            for k in range(0, width, lanes):
                forward_states(mantissas, exponents, source, source + 2 * width, width, emission, blanks + t, skips, k)
        # The alignments end in the last blank or the last label.
        end = steps * 2 * width + count
        peak, whole = exponents[end], float(mantissas[end])
        if count > 0:
            other = end + width - 1
            if exponents[other] > peak:
                whole = whole * 2.0 ** max(peak - exponents[other], -1100) + mantissas[other]
                peak = exponents[other]
            else:
                whole += mantissas[other] * 2.0 ** max(exponents[other] - peak, -1100)
        if whole == 0.0:
            losses[i] = (0.0 if zero else math.inf) + 0.0 * product  # NaN stays
            for t in range(steps):
                _clear(dlogits, (t * samples + i) * row, row)
            continue
        value = logs + math.log(product) - math.log(whole) - peak * _LN2
        losses[i] = 0.0 if value < 0.0 else value  # by rounding; NaN stays
        # Backward.
        factor = kind(1.0 / whole)
        _zeros(mantissas, exponents, states, 2 * width)
        _zeros(mantissas, exponents, weighed + 2 * width, lanes)
        _one(mantissas, exponents, states + count)
        if count > 0:
            _one(mantissas, exponents, states + width + count - 1)
        for t in range(steps - 1, -1, -1):
            at = (t * samples + i) * row
            for k in range(0, 2 * width, lanes):
                occupy_states(mantissas, exponents, (t + 1) * 2 * width, states, shares, factor, peak, k)
            in_blanks, in_labels = total(mantissas, shares, count + 1), total(mantissas, shares + width, count)
            share = dlogits.dtype.type(scales[i] / (in_blanks + in_labels))
            dlogits[at + blank] -= share * in_blanks
            for k in range(count):
                dlogits[at + labels[begin + k]] -= share * mantissas[shares + width + k]
            if t > 0:
                for k in range(0, width, lanes):
                    weigh_states(mantissas, exponents, states, weighed, width, emissions + t * width, blanks + t, k)
                for k in range(0, width, lanes):
                    backward_states(mantissas, exponents, weighed, states, width, skips, k)
