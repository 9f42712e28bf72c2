"""A model's functions for callers that know addresses and sizes only: what the C functions of `numbarnn.frozen` call.

Every argument is a number, but for the last two, whose types alone matter: those of a model's packed records and of its values.
Each function returns OK or an error number, allocates nothing and raises nothing; before an error is returned, nothing is written.
An address need not be a multiple of more than the size of an element.

``model`` is the address of six int64: address and size of the program, of the values and of the array of records
(`numbarnn.network.walk.Walk`).
"""

import numpy as np

from numbarnn.kernels.compile import bare
from numbarnn.kernels.cpu.denormals import FLUSH, apart, exchange
from numbarnn.kernels.cpu.losses import sigmoid, softmax
from numbarnn.kernels.cpu.matmul import ONE, ZERO
from numbarnn.kernels.cpu.sampling import Options, Stream, go_on
from numbarnn.kernels.cpu.step import (
    BAG,
    BUFFER_ROW,
    FIRST,
    INPUT,
    INPUTS,
    OPERATIONS,
    OUTPUT,
    OUTPUTS,
    SAMPLE,
    STATE,
    add_bag,
    array_at,
    array_of,
    operate,
)
from numbarnn.kernels.cpu.walk import sequence_of, walk
from numbarnn.kernels.records import unpack_records
from numbarnn.kernels.scalar import inlined

# What the functions return: done; a null pointer or a negative size; a token outside the vocabulary; a length outside 0 ... t; an
# option of sampling outside its range.
OK, BAD_ARGUMENT, BAD_TOKEN, BAD_LENGTH, BAD_OPTION = range(5)
# Bytes of the state's room for sampling before the scratch memory of choices: the number of choices so far.
LINE = 64


@bare
def step_at(model, x, state, y, cells, dtype):
    """Run one step of one sequence.

    x : address of (features,) values or (bag,) int64 tokens; of a model that reads one token a step, the token
    state : address of the state, in and out; y : address of the (outputs,) values, out
    """
    apart()
    program, values = array_at(model, ZERO, np.int64), array_at(model, 2, dtype)
    bag, single = program[BAG], program[BAG] == 0 and program[INPUT] < 0
    if state == 0 or y == 0 or (x == 0 and not single):
        return BAD_ARGUMENT
    token = ZERO
    if single:
        if x < 0 or x >= program[INPUTS]:
            return BAD_TOKEN
        token = x
    elif bag > 0 and not _known(array_of(x, bag, np.int64), ZERO, bag, -1, program[INPUTS]):
        return BAD_TOKEN
    own, out = array_of(state, program[STATE], dtype), array_of(y, program[OUTPUTS], dtype)
    before = exchange(FLUSH)
    if bag > 0:
        add_bag(array_of(x, bag, np.int64), ZERO, program, values, own, program[INPUT])
    elif not single:
        features = array_of(x, program[INPUTS], dtype)
        for j in range(features.size):
            own[program[INPUT] + j] = features[j]
    operate(unpack_records(array_at(model, 4, cells)), program, np.intp(FIRST), program[OPERATIONS], values, token, own)
    exchange(before)
    for j in range(out.size):
        out[j] = own[program[OUTPUT] + j]
    return OK


@bare
def forward_at(model, x, samples, steps, lengths, h0, h1, y, work, cells, dtype):
    """Run some sequences.

    x : address of samples x steps x (features) values, or of int64 tokens, as many as a step takes
    lengths : address of (samples,) int64, or 0: all steps are valid
    h0, h1 : addresses of the states before and after, one of a sequence after the other; 0: zeros, and not wanted
    y : address of the outputs; work : of scratch memory (`numbarnn.network.walk.Walk.work_size`)
    """
    program = array_at(model, ZERO, np.int64)
    bag, tokens = program[BAG], program[BAG] > 0 or program[INPUT] < 0
    each = max(bag, 1) if tokens else program[INPUTS]
    sequence = sequence_of(program)
    rows = samples * (steps if sequence else 1)
    if samples < 0 or steps < 0 or work == 0 or (x == 0 and samples * steps > 0) or (y == 0 and rows > 0):
        return BAD_ARGUMENT
    valid = array_of(lengths, samples if lengths != 0 else ZERO, np.int64)
    for n in range(valid.size):
        if valid[n] < 0 or valid[n] > steps:
            return BAD_LENGTH
    read = array_of(x, samples * steps * each if tokens else ZERO, np.int64)
    if tokens:
        for n in range(samples):
            length = valid[n] if valid.size > 0 else steps
            if not _known(read, n * steps * each, length * each, -1 if bag > 0 else 0, program[INPUTS]):
                return BAD_TOKEN
    size = program[STATE]
    walk(
        array_at(model, 4, cells), program, array_at(model, 2, dtype),
        array_of(x, ZERO if tokens else samples * steps * each, dtype), read, valid,
        array_of(h0, samples * size if h0 != 0 else ZERO, dtype), array_of(h1, samples * size if h1 != 0 else ZERO, dtype),
        array_of(y, rows * program[OUTPUTS], dtype),
        array_of(work, size + 2 * max(steps, 1) * program[BUFFER_ROW], dtype), samples, steps,
    )  # fmt: skip
    return OK


@bare
def sample_at(model, seed, temperature, top_k, top_p, prime, read, out, count, state, cells, dtype):
    """Read the tokens of a prime, then sample tokens.

    Choices are those of `numbarnn.LanguageModel.sample`; the state counts them, so a sample may be taken in pieces.

    seed : 64 bits, of the choices
    temperature, top_k, top_p : as in `sampling.Options`: 0 takes the likeliest; 0 and 1.0 leave all tokens
    prime, read : address of the tokens to read, and their number; none: the next token follows from the last outputs in the state
    out, count : address of the tokens that are sampled, int64, and their number
    state : address of the state, in and out; a multiple of 8
    """
    apart()
    program = array_at(model, ZERO, np.int64)
    size = program[INPUTS]
    if (
        program[SAMPLE] == 0
        or state == 0
        or read < 0
        or count < 0
        or (prime == 0 and read > 0)
        or (out == 0 and count > 0)
    ):
        return BAD_ARGUMENT
    # Of NaN no comparison holds.
    if not (temperature >= 0.0 and temperature < np.inf and top_k >= 0 and top_p > 0.0 and top_p <= 1.0):
        return BAD_OPTION
    given = array_of(prime, read, np.int64)
    if not _known(given, ZERO, read, 0, size):
        return BAD_TOKEN
    own = array_of(state, program[STATE], dtype)
    room = state + program[SAMPLE] * own.itemsize
    chosen, likely = array_of(room, ONE, np.int64), array_of(room + LINE, size, np.int64)
    none = array_of(ZERO, ZERO, np.int64)
    logits = array_of(state + program[OUTPUT] * own.itemsize, size, dtype)
    stream = Stream(program, array_at(model, 2, dtype), own, logits, likely)
    options = Options(temperature, min(top_k, size), top_p, seed, none, none)
    before = exchange(FLUSH)
    records = unpack_records(array_at(model, 4, cells))
    go_on(records, stream, options, given, array_of(out, count, np.int64), ZERO, chosen[0])
    exchange(before)
    chosen[0] += count
    return OK


@bare
def probabilities_at(outputs, rows, probabilities, columns, single, dtype):
    """Set probabilities from outputs: the softmax of each row, or of `single` ones the logistic function of each.

    outputs, probabilities : addresses of (rows, columns) values; may be the same
    """
    if rows < 0 or (rows > 0 and (outputs == 0 or probabilities == 0)):
        return BAD_ARGUMENT
    logits, result = array_of(outputs, rows * columns, dtype), array_of(probabilities, rows * columns, dtype)
    # In the caller's mode of denormal numbers, as in `Model.predict_proba`.
    if single != 0:
        sigmoid(logits, result, ZERO, rows * columns)
    else:
        softmax(logits, columns, columns, result, ZERO, rows)
    return OK


@inlined
def _known(tokens, at, count, least, size):
    """Return whether all of some tokens are in the vocabulary."""
    known = True
    for i in range(at, at + count):
        known = known and least <= tokens[i] and tokens[i] < size
    return known
