"""Connectionist temporal classification: a block of threads for each label sequence, another for each row of logits.

The equations are those of `numbarnn.kernels.cpu.ctc`, and so are the values of the trellis: pairs m 2^e of a mantissa in [1, 2)
and an integer exponent, zero the pair (0, FLOOR). Nothing underflows, and a step rounds as in floating point. Emissions here are
probabilities, so that the products of them are those of alignments.

A sequence of L labels has states for the blanks k = 0..L and the labels k = 0..L - 1, in two rows of `width` values. Threads stride
over k, so a sequence may be of any length; one barrier parts a step from the next.
"""

import math
from typing import NamedTuple

import numpy as np
from numba import cuda

from numbarnn.kernels.cuda.groups import SpacedRows
from numbarnn.kernels.cuda.launch import SIMULATED, THREADS, Integers32, Values, device, kernel, types
from numbarnn.kernels.cuda.reduce import add_up, find_largest
from numbarnn.kernels.scalar import fma

# Exponent of zero, and the lowest of all: sums of a few of them stay integers of 32 bits.
FLOOR = -(2**29)
# Logits this far below the largest count as that: their exponents stay integers that float32 holds.
LOWEST = -700_000.0
LANES = 2 if SIMULATED else 32  # threads of a row of logits
LN2, LOG2E = math.log(2.0), 1.0 / math.log(2.0)
# ln 2 in two parts: n times the first rounds nowhere for n as large as they come, or is fused with the sum.
LN2_HIGH, LN2_LOW = 0.693359375, math.log(2.0) - 0.693359375


class LabelSequences(NamedTuple):
    """The label sequences of a batch, one a sample.

    Attributes
    ----------
    lengths : (samples,) steps of each sample
    labels : all labels, one sequence after the other
    starts : (samples + 1,) where the labels of each sample begin
    following, leading : where each label occurs next in its sequence, or -1, and whether it is the first of its kind there
    scales : (samples,) factors of the gradients; a sample of scale 0 is not looked at
    blank : class of the blank
    samples : N
    width : of a row of states: the longest sequence, and one
    """

    lengths: Integers32
    labels: Integers32
    starts: Integers32
    following: Integers32
    leading: Integers32
    scales: Values
    blank: int
    samples: int
    width: int


class RowSums(NamedTuple):
    """What the softmax of a row of logits is made from.

    Attributes
    ----------
    tops : (rows,) the largest logit
    wholes : (rows,) the sum of exp(logit - largest)
    """

    tops: Values
    wholes: Values


class Pairs(NamedTuple):
    """Values m 2^e.

    Attributes
    ----------
    mantissas, exponents : m and e
    """

    mantissas: Values
    exponents: Integers32


@device
def normal(m, power):
    """Return the pair of m 2^power for m in [1/4, 16), or 0; a mantissa that is NaN stays."""
    kind = type(m)
    if m == kind(0):
        return m, FLOOR
    if m >= kind(4):
        m *= kind(0.25)
        power += 2
    if m >= kind(2):
        m *= kind(0.5)
        power += 1
    if m < kind(0.5):
        m *= kind(4)
        power -= 2
    if m < kind(1):
        m *= kind(2)
        power -= 1
    return m, max(power, FLOOR)


@device
def plus(m, power, other, other_power):
    """Return the sum of two pairs, as a pair whose mantissa is not below that of the larger."""
    if power >= other_power:
        return m + math.ldexp(other, int(other_power - power)), power
    return math.ldexp(m, int(power - other_power)) + other, other_power


@kernel(SpacedRows, "n", LabelSequences, RowSums, Pairs)
def emit(real):
    """Make the kernel of the softmax, and what of it the labels read."""

    def emit(logits, classes, sequences, sums, emitted):
        """Set the sums of row r, and the emissions of its labels, then of the blank."""
        values, row, _ = logits
        lengths, labels, starts, _, _, scales, blank, samples, width = sequences
        tops, wholes = sums
        mantissas, exponents = emitted
        found = cuda.shared.array(LANES, real)
        lane = cuda.threadIdx.x
        r = cuda.blockIdx.x
        n = r % samples
        if r // samples < lengths[n] and scales[n] != real(0):
            at = r * row
            top = values[at]
            for j in range(lane, classes, LANES):
                top = max(top, values[at + j])
            found[lane] = top
            find_largest(found, lane, lane, LANES)
            top = found[0]
            cuda.syncthreads()
            whole = real(0)
            for j in range(lane, classes, LANES):
                whole += math.exp(values[at + j] - top)
            found[lane] = whole
            add_up(found, lane, lane, LANES)
            whole = found[0]
            if lane == 0:
                tops[r] = top
                wholes[r] = whole
            under = 0
            while whole >= real(2):
                whole *= real(0.5)
                under += 1
            first, count = starts[n], starts[n + 1] - starts[n]
            for k in range(lane, count + 1, LANES):
                x = values[at + (labels[first + k] if k < count else blank)] - top
                m, power = real(0), 0
                if x != -real(math.inf):
                    x = max(x, real(LOWEST)) if x == x else x
                    # Rounded, as x <= 0; by 32 bits, since 64 would go through float64.
                    whole_power = types.int32(fma(x, real(LOG2E), -real(0.5))) if x == x else types.int32(0)
                    power, n_ln2 = whole_power, real(whole_power)
                    m = math.exp(fma(n_ln2, -real(LN2_LOW), fma(n_ln2, -real(LN2_HIGH), x))) / whole
                m, power = normal(m, power - under)
                mantissas[r * width + k] = m
                exponents[r * width + k] = power

    return emit


@kernel(LabelSequences, "n", Pairs, Pairs, Pairs, "x")
def advance(real):
    """Make the kernel of the forward pass and the losses."""

    def advance(sequences, zero, emissions, states, probabilities, losses):
        """Set the states of sequence n before every step and after the last, its probability and its loss.

        Slot t of the states begins at ``(t * samples + n) * 2 * width``; `zero`: the loss where nothing aligns is 0, not infinite.
        """
        lengths, labels, starts, _, _, scales, _, samples, width = sequences
        emitted, emitted_powers = emissions
        mantissas, exponents = states
        ends, peaks = probabilities
        n = cuda.blockIdx.x
        thread, threads = cuda.threadIdx.x, cuda.blockDim.x
        first, count, steps = starts[n], starts[n + 1] - starts[n], lengths[n]
        looked = scales[n] != real(0)
        if looked:
            at = n * 2 * width
            for k in range(thread, count + 1, threads):
                mantissas[at + k], exponents[at + k] = real(1) if k == 0 else real(0), 0 if k == 0 else FLOOR
                mantissas[at + width + k], exponents[at + width + k] = real(0), FLOOR
        cuda.syncthreads()
        for t in range(steps if looked else 0):
            at, dst = (t * samples + n) * 2 * width, ((t + 1) * samples + n) * 2 * width
            given = (t * samples + n) * width
            for k in range(thread, count + 1, threads):
                b, b_power = mantissas[at + k], exponents[at + k]
                both, both_power = b, b_power
                if k > 0:
                    both, both_power = plus(b, b_power, mantissas[at + width + k - 1], exponents[at + width + k - 1])
                m, power = normal(both * emitted[given + count], both_power + emitted_powers[given + count])
                mantissas[dst + k], exponents[dst + k] = m, power
                if k < count:
                    if k > 0 and labels[first + k] != labels[first + k - 1]:
                        b, b_power = both, both_power
                    m, power = plus(b, b_power, mantissas[at + width + k], exponents[at + width + k])
                    m, power = normal(m * emitted[given + k], power + emitted_powers[given + k])
                    mantissas[dst + width + k], exponents[dst + width + k] = m, power
            cuda.syncthreads()
        if thread == 0:
            loss, end, peak = real(0), real(0), 0
            if looked:
                # The alignments end in the last blank or the last label.
                at = (steps * samples + n) * 2 * width + count
                end, peak = mantissas[at], exponents[at]
                if count > 0:
                    end, peak = plus(end, peak, mantissas[at + width - 1], exponents[at + width - 1])
                if end == real(0):
                    loss = real(0) if zero else real(math.inf)
                else:
                    # Where the probability is close to 1 its logarithm must not be the difference of two that are not close to 0.
                    loss = (
                        -math.log(math.ldexp(end, int(peak)))
                        if peak > -100
                        else -(math.log(end) + real(peak) * real(LN2))
                    )
                    if loss < real(0):
                        loss = real(0)  # by rounding; NaN stays
            losses[n], ends[n], peaks[n] = loss, end, peak

    return advance


@kernel(LabelSequences, Pairs, Pairs, Pairs, Pairs)
def occupy(real):
    """Make the kernel of the backward pass."""

    def occupy(sequences, emissions, states, probabilities, backward_states):
        """Turn the mantissas of the states after each step into the probabilities that the alignment is there.

        backward_states : of a step and of the next; those of sequence n at ``n * 2 * width`` and `samples` sequences later.
        """
        lengths, labels, starts, _, _, scales, _, samples, width = sequences
        emitted, emitted_powers = emissions
        mantissas, exponents = states
        ends, peaks = probabilities
        backward, backward_powers = backward_states
        n = cuda.blockIdx.x
        thread, threads = cuda.threadIdx.x, cuda.blockDim.x
        first, count, steps = starts[n], starts[n + 1] - starts[n], lengths[n]
        end, peak = ends[n], peaks[n]
        looked = scales[n] != real(0) and end != real(0)
        if looked:
            at = n * 2 * width
            for k in range(thread, count + 1, threads):
                own = k == count
                backward[at + k], backward_powers[at + k] = real(1) if own else real(0), 0 if own else FLOOR
                own = k == count - 1
                backward[at + width + k], backward_powers[at + width + k] = (
                    real(1) if own else real(0),
                    0 if own else FLOOR,
                )
        cuda.syncthreads()
        done = steps if looked else 0
        for back in range(done):
            t = steps - 1 - back
            at, dst = ((back % 2) * samples + n) * 2 * width, ((1 - back % 2) * samples + n) * 2 * width
            ahead, given = ((t + 1) * samples + n) * 2 * width, (t * samples + n) * width
            for k in range(thread, count + 1, threads):
                b, b_power = backward[at + k], backward_powers[at + k]
                l, l_power = backward[at + width + k], backward_powers[at + width + k]  # noqa: E741 - a label's state
                mantissas[ahead + k] = math.ldexp(
                    b * mantissas[ahead + k] / end, int(b_power + exponents[ahead + k] - peak)
                )
                b, b_power = b * emitted[given + count], b_power + emitted_powers[given + count]
                if k < count:
                    label = ahead + width + k
                    mantissas[label] = math.ldexp(l * mantissas[label] / end, int(l_power + exponents[label] - peak))
                    l, l_power = l * emitted[given + k], l_power + emitted_powers[given + k]  # noqa: E741
                    b, b_power = plus(b, b_power, l, l_power)
                    after, after_power = backward[at + k + 1], backward_powers[at + k + 1]
                    after, after_power = after * emitted[given + count], after_power + emitted_powers[given + count]
                    l, l_power = plus(l, l_power, after, after_power)  # noqa: E741
                    if k + 1 < count and labels[first + k] != labels[first + k + 1]:
                        after, after_power = backward[at + width + k + 1], backward_powers[at + width + k + 1]
                        after, after_power = after * emitted[given + k + 1], after_power + emitted_powers[given + k + 1]
                        l, l_power = plus(l, l_power, after, after_power)  # noqa: E741
                    backward[dst + width + k], backward_powers[dst + width + k] = normal(l, l_power)
                backward[dst + k], backward_powers[dst + k] = normal(b, b_power)
            cuda.syncthreads()

    return occupy


@kernel(SpacedRows, "n", LabelSequences, RowSums, "x x x")
def differ(real):
    """Make the kernel of the gradient."""

    def differ(logits, classes, sequences, sums, occupied, ends, dlogits):
        """Set row r of the gradient to the scale times softmax less occupancy; the rows past a length to zero.

        A label that a sequence repeats is summed by the thread of its first occurrence, in order.
        """
        values, row, _ = logits
        lengths, labels, starts, following, leading, scales, blank, samples, width = sequences
        tops, wholes = sums
        in_blanks = cuda.shared.array(LANES, real)
        in_all = cuda.shared.array(LANES, real)
        lane = cuda.threadIdx.x
        r = cuda.blockIdx.x
        n = r % samples
        at = r * row
        scale = scales[n]
        if r // samples >= lengths[n] or scale == real(0) or ends[n] == real(0):
            for j in range(lane, classes, LANES):
                dlogits[at + j] = real(0)
        else:
            first, count = starts[n], starts[n + 1] - starts[n]
            states = (r + samples) * 2 * width
            blanks, all_states = real(0), real(0)
            for k in range(lane, count + 1, LANES):
                blanks += occupied[states + k]
                if k < count:
                    all_states += occupied[states + width + k]
            in_blanks[lane] = blanks
            in_all[lane] = blanks + all_states
            add_up(in_blanks, lane, lane, LANES)
            add_up(in_all, lane, lane, LANES)
            # The occupancies of a step sum to 1; what rounding left of that goes.
            share, factor, top = scale / in_all[0], scale / wholes[r], tops[r]
            for j in range(lane, classes, LANES):
                dlogits[at + j] = math.exp(values[at + j] - top) * factor
            cuda.syncthreads()
            if lane == 0:
                dlogits[at + blank] -= share * in_blanks[0]
            for k in range(lane, count, LANES):
                if leading[first + k]:
                    total, next_one = real(0), first + k
                    while next_one >= 0:
                        total += occupied[states + width + next_one - first]
                        next_one = following[next_one]
                    dlogits[at + labels[first + k]] -= share * total

    return differ


def stage(staging, lengths, labels, blank: int, scales, dtype) -> LabelSequences:
    """Return label sequences, to be sent with what else `staging` has.

    Parameters
    ----------
    staging : Staging
    lengths : (samples,) integers
    labels : numbarnn.core.label_sequences.Labels
    blank : int
    scales : (samples,) values
    dtype : numpy.dtype
        Of the scales on the device.
    """
    starts, flat = labels.starts, labels.flat
    integers = [staging.add(values, np.int32) for values in (lengths, flat, starts, *chains(flat, starts))]
    return LabelSequences(
        *integers, staging.add(scales, dtype), blank, len(lengths), int(np.diff(starts).max(initial=0)) + 1
    )


def ctc(arena, logits, steps: int, classes: int, sequences: LabelSequences, zero: bool, losses, dlogits) -> None:
    """Set the losses of label sequences, and the gradient of ``sum scales * losses``; see `numbarnn.kernels.cpu.ctc.ctc`.

    Parameters
    ----------
    arena : Arena
    logits : SpacedRows
        Step t of sample i is row ``t * samples + i``.
    losses : Buffer
        (samples,), out.
    dlogits : Buffer
        Out, with rows as those of the logits; columns past the classes are left as they are.
    """
    samples, width, dtype = sequences.samples, sequences.width, losses.dtype
    rows = steps * samples
    sums = RowSums(arena.empty(rows, dtype), arena.empty(rows, dtype))
    emitted, states, backward, probabilities = (
        Pairs(arena.empty(size, dtype), arena.empty(size, np.int32))
        for size in (rows * width, (rows + samples) * 2 * width, 2 * samples * 2 * width, samples)
    )
    threads = min(THREADS, width if SIMULATED else -(-width // 32) * 32)
    emit(rows, LANES, logits, classes, sequences, sums, emitted)
    advance(samples, threads, sequences, int(zero), emitted, states, probabilities, losses)
    occupy(samples, threads, sequences, emitted, states, probabilities, backward)
    differ(rows, LANES, logits, classes, sequences, sums, states.mantissas, probabilities.mantissas, dlogits)


def chains(labels, starts):
    """Return where each label occurs next in its sequence, -1 for the last time, and whether it occurs for the first time."""
    following, leading = np.full(len(labels), -1, np.int32), np.ones(len(labels), np.int32)
    order = np.lexsort((labels, np.repeat(np.arange(len(starts) - 1), np.diff(starts))))
    strings = np.searchsorted(starts, order, side="right")
    same = np.flatnonzero((labels[order[1:]] == labels[order[:-1]]) & (strings[1:] == strings[:-1]))
    following[order[same]] = order[same + 1]
    leading[order[same + 1]] = 0
    return following, leading
