"""The forward pass of a whole model over sequences in one call, for code that outlives Python: see `numbarnn.frozen`.

A *walk* runs one sample after the other. The layers between two points where all steps must be known (a run from the last step to
the first, pooling) are one *stage*: the operations of a step (`numbarnn.kernels.cpu.step`), from which a stage takes a row for
every step of the sample, in either direction. Stages hand rows over in two buffers that take turns. So the order of sums is that of
the layers' own passes, results are equal to the bit, and a state is that of a step.

Nothing is allocated: state, buffers and all else that changes lie in `work`.

``program`` goes on after the operations of a step with the stages: the fields of `Stage`, then its operations.
"""

from typing import NamedTuple

from numbarnn.kernels.compile import bare
from numbarnn.kernels.cpu.denormals import FLUSH, apart, exchange
from numbarnn.kernels.cpu.matmul import ONE, ZERO, copy
from numbarnn.kernels.cpu.step import (
    BAG,
    BUFFER_ROW,
    INPUT,
    OUTPUTS,
    STAGES,
    STAGES_AT,
    STATE,
    add_bag,
    operate,
)
from numbarnn.kernels.records import unpack_records
from numbarnn.kernels.scalar import inlined

# What a stage makes of its rows: each is a row of the target, or they are one.
EACH, MEAN, MAX, LAST = range(4)
# Where rows lie: the model's input or outputs, or one of two buffers.
OUTSIDE, ONE_BUFFER, OTHER_BUFFER = range(3)
# How rows enter their target: in place of what is there, added to zero, added to what is there.
SET, SET_SUM, ADD = range(3)


class Stage(NamedTuple):
    """One stage; offsets count elements of `work`, where the state comes first.

    Attributes
    ----------
    length : integers of the stage, those of its operations included
    kind : EACH, MEAN, MAX or LAST; of LAST, the row of the last step in the order of the run
    single : whether there is one row a sample instead of one a step
    backwards : whether the run begins with the last step
    source, x_at, inputs : where rows come from; where the operations expect them, and their length; 0: there are none to be copied
    y_at, outputs : where the operations leave their result, and its length
    pooled_at : where one row is made of all; of EACH, y_at
    target, column, merge : where rows go to, from which column on, and how (SET, SET_SUM, ADD)
    operations : their number
    """

    length: int
    kind: int
    single: int
    backwards: int
    source: int
    x_at: int
    inputs: int
    y_at: int
    outputs: int
    pooled_at: int
    target: int
    column: int
    merge: int
    operations: int


(
    _LENGTH, _KIND, _SINGLE, _BACKWARDS, _SOURCE, _X_AT, _INPUTS, _Y_AT, _OUTPUTS, _POOLED_AT, _TARGET, _COLUMN, _MERGE, _COUNT,
) = range(len(Stage._fields))  # fmt: skip
OPERATIONS_AT = len(Stage._fields)


@bare
def walk(cells, program, values, x, tokens, lengths, h0, h1, y, work, samples, steps):
    """Run some sequences through all layers.

    cells    records of the model's cells, as in `step.StepWeights`; program, values : as `numbarnn.network.walk` makes them
    x, tokens  in: (samples * steps * features,) values, or int64 tokens, as many as a step takes; the other one is empty
    lengths  (samples,) int64, in: valid steps of each sample; empty: all
    h0, h1   (samples * state,) before, in, and after, out; empty: zeros, and not wanted. They may be one array
    y        out: (samples * steps * outputs,), zero past a length, or (samples * outputs,) of a model with one output a sample
    work     scratch; what it contains before does not matter
    """
    apart()
    before = exchange(FLUSH)
    records = unpack_records(cells)
    size = program[STATE]
    for n in range(samples):
        if h0.size > 0:
            copy(h0, n * size, work, ZERO, size)
        else:
            for j in range(size):
                work[j] = 0
        length = lengths[n] if lengths.size > 0 else steps
        at = program[STAGES_AT]
        for _ in range(program[STAGES]):
            _run(records, program, at, values, x, tokens, y, work, n, steps, length)
            at += program[at + _LENGTH]
        if sequence_of(program):
            for j in range((n * steps + length) * program[OUTPUTS], (n + 1) * steps * program[OUTPUTS]):
                y[j] = 0
        if h1.size > 0:
            copy(work, ZERO, h1, n * size, size)
    exchange(before)


@inlined
def sequence_of(program):
    """Return whether there is an output for every step, not one for a sample."""
    at = program[STAGES_AT]
    for _ in range(program[STAGES] - 1):
        at += program[at + _LENGTH]
    return program[at + _SINGLE] == 0 and program[at + _KIND] == EACH


@inlined
def _run(records, program, at, values, x, tokens, y, work, n, steps, length):
    """Run one stage of one sample."""
    kind, y_at, pooled_at = program[at + _KIND], program[at + _Y_AT], program[at + _POOLED_AT]
    outputs, target = program[at + _OUTPUTS], program[at + _TARGET]
    count = ONE if program[at + _SINGLE] else length
    row = program[BUFFER_ROW]
    if kind != EACH:
        for j in range(outputs):
            work[pooled_at + j] = 0
    # Rows of the target, in `y` or in `work`: first, and the distance of two.
    dst, distance = _place(program, target, steps) + program[at + _COLUMN], row
    if target == OUTSIDE:
        distance = program[OUTPUTS]
        dst = n * (ONE if program[at + _SINGLE] or kind != EACH else steps) * distance + program[at + _COLUMN]
    for i in range(count):
        t = count - 1 - i if program[at + _BACKWARDS] else i
        token = _take(program, at, values, x, tokens, work, n * steps + t, t, steps)
        operate(records, program, at + OPERATIONS_AT, program[at + _COUNT], values, token, work)
        if kind == EACH:
            _put(program, at, work, y_at, y, dst + t * distance)
        elif kind != LAST or i == count - 1:
            _pool(kind, i, work, y_at, pooled_at, outputs)
    if kind == MEAN and count > 0:
        share = work.dtype.type(1) / work.dtype.type(count)
        for j in range(outputs):
            work[pooled_at + j] *= share
    if kind != EACH:
        _put(program, at, work, pooled_at, y, dst)


@inlined
def _place(program, buffer, steps):
    """Return where the rows of a buffer begin in `work`."""
    return program[STATE] + (buffer - 1) * max(steps, ONE) * program[BUFFER_ROW]


@inlined
def _take(program, at, values, x, tokens, work, number, t, steps):
    """Bring row t of a stage, `number` of the input, to where the operations expect it; return the token, or 0."""
    source, x_at, inputs = program[at + _SOURCE], program[at + _X_AT], program[at + _INPUTS]
    token = ZERO
    if source != OUTSIDE:
        copy(work, _place(program, source, steps) + t * program[BUFFER_ROW], work, x_at, inputs)
    elif program[BAG] > 0:
        add_bag(tokens, number * program[BAG], program, values, work, program[INPUT])
    elif program[INPUT] < 0:
        token = tokens[number]
    else:
        copy(x, number * inputs, work, x_at, inputs)
    return token


@inlined
def _put(program, at, work, source, y, dst):
    """Write a row to the target of a stage."""
    if program[at + _TARGET] == OUTSIDE:
        _merge(program[at + _MERGE], work, source, y, dst, program[at + _OUTPUTS])
    else:
        _merge(program[at + _MERGE], work, source, work, dst, program[at + _OUTPUTS])


@inlined
def _merge(merge, work, source, out, dst, columns):
    if merge == SET:
        copy(work, source, out, dst, columns)
    else:
        for j in range(columns):
            before = out[dst + j] if merge == ADD else work.dtype.type(0)
            out[dst + j] = before + work[source + j]


@inlined
def _pool(kind, k, work, y_at, pooled_at, columns):
    """Take row k into what is made of all rows, as `numbarnn.kernels.cpu.pooling.pool` does."""
    if kind == MEAN:
        for j in range(columns):
            work[pooled_at + j] += work[y_at + j]
    elif kind == LAST or k == 0:
        copy(work, y_at, work, pooled_at, columns)
    else:
        for j in range(columns):
            value, best = work[y_at + j], work[pooled_at + j]
            if value > best or (value != value and best == best):
                work[pooled_at + j] = value
