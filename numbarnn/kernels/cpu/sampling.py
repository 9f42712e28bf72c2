"""Softmax, choice and loop of a language model that reads its own samples; a step is that of streams (`step.operate`)."""

from typing import NamedTuple

import numpy as np

from numbarnn.kernels.compile import jit
from numbarnn.kernels.cpu.step import FIRST, OPERATIONS, OUTPUT, operate
from numbarnn.kernels.groups import Floats1, Integers1, Tokens1
from numbarnn.kernels.random import philox
from numbarnn.kernels.records import unpack_records
from numbarnn.kernels.scalar import exp, inlined


class Options(NamedTuple):
    """How a token is chosen.

    Attributes
    ----------
    temperature : divides the logits; 0 takes the largest
    top_k, top_p : 0 and 1.0 leave all tokens; else the k likeliest, then the fewest of those that have probability p
    seed : of the choices
    stop : tokens that end a sample; none: nothing does
    never : tokens that are not chosen
    """

    temperature: float
    top_k: int
    top_p: float
    seed: int
    stop: Tokens1
    never: Tokens1


class Stream(NamedTuple):
    """One stream of tokens.

    Attributes
    ----------
    program, values : as in `step.StepWeights`
    state : in and out: as in `step.step`
    logits : in and out: (V,) of the next token; where nothing is read before it, they stem from the call before
    likely : scratch (V,)
    """

    program: Integers1
    values: Floats1
    state: Floats1
    logits: Floats1
    likely: Integers1


@jit
def generate(cells, stream: Stream, options: Options, prime: Tokens1, out: Tokens1, written: int, position: int):
    """Read the tokens of `prime`, then sample into `out[written:]` until it is full or ends with `options.stop`.

    Returns how far `out` is filled.

    cells : records of the model's cells, as in `step.StepWeights`; choice number `position` + i depends on the seed and that
    number alone.
    """
    return go_on(unpack_records(cells), stream, options, prime, out, written, position)


@inlined
def go_on(records, stream, options, prime, out, written, position):
    """Do as `generate`, which see."""
    program, values, state, logits, likely = stream
    temperature, top_k, top_p, seed, stop, never = options
    output, first = program[OUTPUT], written
    for i in range(prime.size + out.size - first):
        if i < prime.size:
            token = prime[i]
        else:
            for k in range(never.size):
                logits[never[k]] = -np.inf
            token = _choose(logits, logits.size, likely, temperature, top_k, top_p, seed, position + written)
            out[written] = token
            written += 1
            if stop.size > 0 and written >= stop.size:
                same = True
                for k in range(stop.size):
                    same = same and out[written - stop.size + k] == stop[k]
                if same:
                    return written
        operate(records, program, np.intp(FIRST), program[OPERATIONS], values, np.intp(token), state)
        for j in range(logits.size):
            logits[j] = state[output + j]
    return written


@jit
def _choose(logits, classes, likely, temperature, top_k, top_p, seed, number):
    """Return a token drawn from softmax(logits / temperature), restricted to the likeliest."""
    best = 0
    for j in range(1, classes):
        if logits[j] > logits[best]:
            best = j
    if temperature == 0.0:
        return best
    bits = philox(
        np.uint64(number) & np.uint64(0xFFFFFFFF), np.uint64(number) >> np.uint64(32), np.uint64(0), np.uint64(0),
        np.uint64(seed) & np.uint64(0xFFFFFFFF), np.uint64(seed) >> np.uint64(32),
    )  # fmt: skip
    uniform = (float(bits[0]) * 2097152.0 + float(bits[1] >> np.uint64(11))) * (1.0 / 9007199254740992.0)
    scale = logits.dtype.type(min(1.0 / temperature, 1e30))
    top = logits[best]
    if top_k == 0 and top_p >= 1.0:
        total = 0.0
        for j in range(classes):
            total += exp((logits[j] - top) * scale)
        rest = uniform * total
        for j in range(classes):
            rest -= exp((logits[j] - top) * scale)
            if rest < 0.0:
                return j
        return best

    # A heap gives the tokens from the likeliest on; only as many are taken from it as may be chosen.
    total = 0.0
    for j in range(classes):
        likely[j] = j
        total += exp((logits[j] - top) * scale)
    for root in range(classes // 2 - 1, -1, -1):
        _sink(likely, logits, root, classes)
    size = classes
    most = top_k if top_k > 0 else classes
    if 0 < top_k < classes:
        total = 0.0
        for _ in range(most):
            total += exp((logits[likely[0]] - top) * scale)
            size -= 1
            likely[0], likely[size] = likely[size], likely[0]
            _sink(likely, logits, 0, size)
        first = size
    else:
        first = classes
    # The tokens taken lie after the heap, the likeliest last.
    share = 0.0
    count = 0
    while count < most and count < classes and (count == 0 or share < top_p * total):
        if classes - 1 - count < first:
            size -= 1
            likely[0], likely[size] = likely[size], likely[0]
            _sink(likely, logits, 0, size)
        share += exp((logits[likely[classes - 1 - count]] - top) * scale)
        count += 1
    rest = uniform * share
    for i in range(count):
        token = likely[classes - 1 - i]
        rest -= exp((logits[token] - top) * scale)
        if rest < 0.0:
            return token
    return likely[classes - 1]


@jit
def _sink(heap, values, root, size):
    """Let an entry sink until the heap's parents are no smaller than their children; equal values: the smaller index first."""
    while 2 * root + 1 < size:
        child = 2 * root + 1
        if child + 1 < size and _before(values, heap[child + 1], heap[child]):
            child += 1
        if not _before(values, heap[child], heap[root]):
            return
        heap[root], heap[child] = heap[child], heap[root]
        root = child


@jit
def _before(values, a, b):
    return values[a] > values[b] or (values[a] == values[b] and a < b)
