"""One time step of many sequences: what `numbarnn.network.streams` runs, and what users call from compiled code of their own.

The program is that of single steps (`numbarnn.kernels.cpu.step`); here each of its operations runs for a *block* of rows before the
next one does, so that products have tiles of many rows, and all that a block reads and writes stays near. Where an operation has
some values at an offset of the state of one step, a block has a matrix of them in its scratch memory, at that offset times its
rows: one for every input, output, pre-activation and state, with rows of whole panels. So no second layout is described.

From step to step the states of a sequence are stored, side by side, in a row of `states`. A block copies those of a layer to its
scratch memory before the step and back after it: some cache lines for each row, wherever it is.

The operations of an element and their order are those of a single step, so results are equal to the bit.
"""

from typing import NamedTuple

import numpy as np
from numba.core import types
from numba.core.errors import TypingError
from numba.extending import overload

from numbarnn.kernels.compile import bare, jit
from numbarnn.kernels.cpu.activation import activate_columns
from numbarnn.kernels.cpu.denormals import FLUSH, apart, exchange
from numbarnn.kernels.cpu.matmul import NO_PRODUCT, ONE, ZERO, Extent, Factor, Location, Panels, copy, multiply
from numbarnn.kernels.cpu.simd import copy_row, panel_of
from numbarnn.kernels.cpu.step import (
    ACTIVATE,
    AFFINE,
    BAG,
    BAG_ROW,
    CELL,
    FIRST,
    FLOATS,
    GROUPS,
    INPUT,
    INPUTS,
    OPERATIONS,
    OUTPUT,
    OUTPUTS,
    SECOND,
    STATE,
    STATES,
    add_bag,
    check_whole,
    is_numeric,
    weights_dtype,
)
from numbarnn.kernels.element import (
    cell_forward,
    cell_inner_forward,
    count_of,
    has_second_product,
    load,
    store,
)
from numbarnn.kernels.records import unpack_records
from numbarnn.kernels.scalar import inlined

# Bytes that a block takes, if that leaves it LEAST rows and not more than MOST; both fill the tiles of every target.
NEAR, LEAST, MOST = 2**16, 24, 120


class Block(NamedTuple):
    """Some rows that go through the layers together.

    Attributes
    ----------
    first, rows : number of the first, and how many
    x_row : distance of two rows of the input of an operation
    """

    first: int
    rows: int
    x_row: int


@inlined
def block_rows(size):
    """Return the most rows of a block, given the bytes of the state of a single step."""
    return max(LEAST, min(MOST, NEAR // size // LEAST * LEAST))


@bare
def advance(weights, x, rows, states, y, scratch, first, last):
    """Run one time step of the sequences rows[first:last].

    weights : StepWeights; x : (rows, features) values, (rows,) or (rows, bag) tokens, which are not checked
    rows : (rows,) which sequences, each once; y : (rows, outputs), out
    states : 1-D, in and out: those of sequence n begin at ``n * program[STATES]``
    scratch : `block_rows` times the state of a single step
    """
    _advance(weights.cells, weights.program, weights.values, x, rows, states, y, scratch, first, last)


@inlined
def _advance(cells, program, values, x, rows, states, y, scratch, first, last):
    records = unpack_records(cells)
    most = block_rows(program[STATE] * scratch.itemsize)
    blocks = (last - first + most - 1) // most
    for b in range(blocks):
        lo = first + b * (last - first) // blocks
        count = first + (b + 1) * (last - first) // blocks - lo
        width = _whole_panels(program[BAG_ROW] if program[BAG] > 0 else program[INPUTS], scratch)
        _take(x, program, values, scratch, Block(lo, count, width))
        width = _operate(records, program, values, x, rows, states, scratch, Block(lo, count, width))
        at = program[OUTPUT] * count
        for r in range(count):
            for j in range(program[OUTPUTS]):
                y[np.uintp(lo + r), np.uintp(j)] = scratch[np.uintp(at + r * width + j)]


@inlined
def _whole_panels(columns, like):
    w = panel_of(like)
    return (columns + w - 1) // w * w


@inlined
def _operate(records, program, values, x, rows, states, scratch, block):
    """Run all operations for a block; return the distance of two rows of the last one's output."""
    lo, count, width = block
    at = np.intp(FIRST)
    for _ in range(program[OPERATIONS]):
        kind = program[at]
        at += 1
        if kind == CELL:
            _cell(records, program[at], program, at, values, x, rows, states, scratch, Block(lo, count, width))
            width = program[at + 5]
            at += GROUPS + 4 * program[at + SECOND - 1]
        elif kind == AFFINE:
            inputs, panels = program[at + 1], program[at + 5]
            y_row = panels * panel_of(scratch)
            multiply(
                program, Extent(count, panels), values, Location(program[at + 3], ZERO),
                scratch, Factor(program[at] * count, width, inputs, ONE, ZERO), scratch, NO_PRODUCT,
                values, Panels(program[at + 2], inputs * panel_of(scratch)),
                scratch, Location(program[at + 4] * count, y_row),
            )  # fmt: skip
            width = y_row
            at += 6
        elif kind == ACTIVATE:
            # Rows are as long before as after, so they are one; what fills up their panels is read by nobody.
            activate_columns(
                program[at], scratch, program[at + 1] * count, scratch, program[at + 2] * count, count * width
            )
            at += 4
        else:
            source, columns, dst = program[at], program[at + 1], program[at + 2] * count
            width = _whole_panels(columns, scratch)
            for r in range(count):
                copy(values, source + _token(x, lo + r) * columns, scratch, dst + r * width, columns)
            at += 3
    return width


@inlined
def _copy_panels(a, at, b, dst, width):
    """Copy part of a row that is whole panels; `copy` is called, which takes as long as the copying itself."""
    for j in range(0, width, panel_of(a)):
        copy_row(a, at + j, b, dst + j)


def _token(x, row):
    """Return the token of a row; 0 of an input that is none."""


@overload(_token, jit_options={"forceinline": True})
def _token_of(x, row):
    if x.ndim == 1:
        return lambda x, row: np.intp(x[row])
    return lambda x, row: ZERO


def _take(x, program, values, scratch, block):
    """Copy the input of a block, unless it is tokens of which each is one row."""


@overload(_take, jit_options={"forceinline": True})
def _take_any(x, program, values, scratch, block):
    def tokens(x, program, values, scratch, block):
        return None

    def features(x, program, values, scratch, block):
        _take_features(x, program, scratch, block)

    def bags_or_features(x, program, values, scratch, block):
        lo, count, row = block
        if program[BAG] > 0:
            for r in range(count):
                add_bag(x[lo + r], ZERO, program, values, scratch, program[INPUT] * count + r * row)
        else:
            _take_features(x, program, scratch, block)

    if x.ndim == 1:
        return tokens
    return bags_or_features if isinstance(x.dtype, types.Integer) else features


@inlined
def _take_features(x, program, scratch, block):
    lo, count, row = block
    at = program[INPUT] * count
    for r in range(count):
        for j in range(program[INPUTS]):
            scratch[np.uintp(at + r * row + j)] = x[np.uintp(lo + r), np.uintp(j)]


# The functions below see the cells' types; each pair of a stand-in and its overload is inlined into the kernel.


def _cell(cells, number, program, at, values, x, rows, states, scratch, block):
    """Run one layer of the cell `number` of a tuple of records."""


@overload(_cell)
def _chosen(cells, number, program, at, values, x, rows, states, scratch, block):
    if len(cells) == 0:
        return lambda cells, number, program, at, values, x, rows, states, scratch, block: None
    if len(cells) == 1:

        def run(cells, number, program, at, values, x, rows, states, scratch, block):
            _layer(cells[0], program, at, values, x, rows, states, scratch, block)
    else:

        def run(cells, number, program, at, values, x, rows, states, scratch, block):
            if number == 0:
                _layer(cells[0], program, at, values, x, rows, states, scratch, block)
            else:
                _cell(cells[1:], number - 1, program, at, values, x, rows, states, scratch, block)

    return run


def _layer(cell, program, at, values, x, rows, states, scratch, block):
    """Run one step of one recurrent layer for a block."""


@overload(_layer)
def _one_layer(cell, program, at, values, x, rows, states, scratch, block):
    def run(cell, program, at, values, x, rows, states, scratch, block):
        lo, count, x_row = block
        w = panel_of(scratch)
        x_at, inputs, h_at, recurrents = program[at + 1], program[at + 2], program[at + 3], program[at + 4]
        width, panels_at, bias_at, token_row = program[at + 5], program[at + 6], program[at + 7], program[at + 8]
        diagonal_at, groups = program[at + 9], program[at + SECOND - 1]
        length, matrix = inputs + recurrents, count * width
        h, z = h_at * count, program[at + 10] * count
        for r in range(count):
            source = rows[lo + r] * program[STATES] + h_at
            for s in range(count_of(cell, "states")):
                _copy_panels(states, source + s * width, scratch, h + s * matrix + r * width, width)
        for r in range(count if token_row > 0 else ZERO):
            source = bias_at + _token(x, lo + r) * token_row
            for g in range(count_of(cell, "preactivations")):
                _copy_panels(values, source + g * width, scratch, z + g * matrix + r * width, width)
        for i in range(groups):
            group = at + GROUPS + 4 * i
            x_length, h_length = program[group + 2], program[group + 3]
            for gate in range(program[group], program[group] + program[group + 1]):
                x_factor = Factor(x_at * count, x_row, x_length, ONE, ZERO)
                h_factor = Factor(h, width, h_length, ONE, ZERO)
                packed = Panels(panels_at + gate * width * length + (inputs - x_length) * w, length * w)
                result = Location(z + gate * matrix, width)
                if token_row > 0:
                    multiply(
                        program, Extent(count, width // w), scratch, result,
                        scratch, x_factor, scratch, h_factor, values, packed, scratch, result,
                    )  # fmt: skip
                else:
                    multiply(
                        program, Extent(count, width // w), values, Location(bias_at + gate * width, ZERO),
                        scratch, x_factor, scratch, h_factor, values, packed, scratch, result,
                    )  # fmt: skip
        _second(cell, program, at, values, scratch, count)
        # One loop over all rows, where no weights of units have to be met again in each.
        one = count_of(cell, "diagonal") == 0
        for r in range(ONE if one else count):
            for e in range(matrix if one else width):
                gates = load(cell, "preactivations", scratch, z + r * width, matrix, e)
                previous = load(cell, "states", scratch, h + r * width, matrix, e)
                own = load(cell, "diagonal", values, diagonal_at, width, e)
                following, _ = cell_forward(cell, gates, previous, own)
                store(cell, "states", scratch, h + r * width, matrix, e, following)
        for r in range(count):
            dst = rows[lo + r] * program[STATES] + h_at
            for s in range(count_of(cell, "states")):
                _copy_panels(scratch, h + s * matrix + r * width, states, dst + s * width, width)

    return run


def _second(cell, program, at, values, scratch, count):
    """Make the inner values of a cell with a second product, and add its product to the pre-activations it enters."""


@overload(_second)
def _second_product(cell, program, at, values, scratch, count):
    if not has_second_product(cell):
        return lambda cell, program, at, values, scratch, count: None

    def run(cell, program, at, values, scratch, count):
        w = panel_of(scratch)
        inputs, recurrents, width, panels_at = program[at + 2], program[at + 4], program[at + 5], program[at + 6]
        diagonal_at, first = program[at + 9], program[at + SECOND + 1]
        length, matrix = inputs + recurrents, count * width
        h, z, inner = program[at + 3] * count, program[at + 10] * count, program[at + SECOND] * count
        one = count_of(cell, "diagonal") == 0
        for r in range(ONE if one else count):
            for e in range(matrix if one else width):
                gates = load(cell, "preactivations", scratch, z + r * width, matrix, e)
                previous = load(cell, "states", scratch, h + r * width, matrix, e)
                own = load(cell, "diagonal", values, diagonal_at, width, e)
                made, _ = cell_inner_forward(cell, gates, previous, own)
                store(cell, "inner", scratch, inner + r * width, matrix, e, made)
        for gate in range(first, first + program[at + SECOND + 2]):
            result = Location(z + gate * matrix, width)
            multiply(
                program, Extent(count, width // w), scratch, result,
                scratch, Factor(inner, width, recurrents, ONE, ZERO), scratch, NO_PRODUCT,
                values, Panels(panels_at + gate * width * length + inputs * w, length * w), scratch, result,
            )  # fmt: skip

    return run


# Rows, and the step for compiled code


@jit
def first_refused(rows, count, closed, seen):
    """Return the position of the first of some rows that is not in [0, count), is closed or came before; -1: there is none.

    closed : (count,) which rows are, or empty: none
    seen : (count + 63) // 64 zeros, int64; scratch
    """
    for i in range(rows.size):
        row = np.intp(rows[i])
        if row < 0 or row >= count or (closed.size > 0 and closed[row]):
            return i
        word, bit = row >> 6, np.int64(1) << (row & 63)
        if seen[word] & bit:
            return i
        seen[word] |= bit
    return np.intp(-1)


@jit
def step_many(weights, x, rows, states, y):
    """Run one time step of some of many sequences, from compiled code or from Python.

    Parameters
    ----------
    weights : StepWeights
        From `numbarnn.streams_function`.
    x : (rows, features) array, or a (rows,) or (rows, bag) array of integers
        Input of the step; of a model that reads tokens, the tokens, and of one that begins with `EmbeddingBag`, those of its bags.
    rows : (rows,) array of integers
        Which sequences take the step, each once, in any order.
    states : (n, size) array
        State of every sequence, of which those of `rows` are replaced; C-contiguous, of the model's dtype.
        They must share no memory with x, rows or y.
    y : (rows, outputs) array
        Receives the outputs of the step, block by block; float32 or float64. It must share no memory with x, rows or states.

    Raises
    ------
    numba.TypingError
        While compiling, if an array has the wrong dtype or number of axes, or is not contiguous.
    ValueError
        If an array has the wrong size, a row is not one of `states` or comes twice, or a token is not in the vocabulary; the
        states are as before then.

    Examples
    --------
    >>> import numpy as np
    >>> import numbarnn as nr
    >>> model = nr.Model([nr.GRU(4), nr.Dense(2)], input_size=3)
    >>> _, weights, states = nr.streams_function(model, 100)
    >>> x, y = np.ones((2, 3), np.float32), np.zeros((2, 2), np.float32)
    >>> nr.step_many(weights, x, np.array([7, 40]), states, y)
    >>> np.array_equal(y, model.forward(x[:, None])[0][:, 0])
    True
    """
    apart()
    states = _checked(weights, x, rows, states, y)
    program = weights.program
    check_whole(weights, states)
    if states.shape[1] != program[STATES]:
        raise ValueError("states have rows of the wrong size: use the array that streams_function returns, or a copy")
    _check_input(x, program)
    if rows.size != x.shape[0]:
        raise ValueError("rows has the wrong size: it must have one element for each row of x")
    if y.shape[0] != x.shape[0] or y.shape[1] != program[OUTPUTS]:
        raise ValueError(
            "y has the wrong shape: it must have a row for each row of x, and a column for each output of the model"
        )
    count = states.shape[0]
    if first_refused(rows, count, np.zeros(0, np.int64), np.zeros((count + 63) // 64, np.int64)) >= 0:
        raise ValueError("an element of rows is not the number of a row of states, or comes twice")
    size, w = program[STATE], panel_of(states)
    room = np.empty(min(block_rows(size * states.itemsize), rows.size) * size + w, states.dtype)
    start = -(room.ctypes.data // states.itemsize) % w  # a cache line begins there
    before = exchange(FLUSH)
    _advance(
        weights.cells, program, weights.values, x, rows, states.reshape(-1), y, room[start:], np.intp(0), rows.size
    )
    exchange(before)


def _checked(weights, x, rows, states, y):
    """Return the states; refuse, while compiling, arrays that `step_many` would misread."""


@overload(_checked)
def _checked_types(weights, x, rows, states, y):
    dtype = weights_dtype(weights)
    if not (isinstance(y, types.Array) and y.ndim == 2 and y.mutable and y.dtype in FLOATS):
        raise TypingError(f"y must be a writable (rows, outputs) array of float32 or float64, got {y}")
    if states != types.Array(dtype, 2, "C") and states != types.Array(dtype, 2, "C", aligned=False):
        raise TypingError(f"states must be a writable, C-contiguous (n, size) array of {dtype}, got {states}")
    if not (isinstance(rows, types.Array) and rows.ndim == 1 and isinstance(rows.dtype, types.Integer)):
        raise TypingError(f"rows must be a (rows,) array of integers, got {rows}")
    tokens = isinstance(x, types.Array) and x.ndim == 1 and isinstance(x.dtype, types.Integer)
    if not tokens and not (isinstance(x, types.Array) and x.ndim == 2 and is_numeric(x.dtype)):
        raise TypingError(
            "x must be a (rows, features) array of float32, float64, integers or booleans, or for a model that reads tokens a "
            f"(rows,) or (rows, bag) array of integers, got {x}"
        )
    return lambda weights, x, rows, states, y: states


def _check_input(x, program):
    """Raise ValueError unless an input has the shape that the model reads, and tokens that it knows."""


@overload(_check_input)
def _check_any_input(x, program):
    if x.ndim == 1:

        def check(x, program):
            if program[INPUT] >= 0:
                raise ValueError("x is an array of tokens, but the model reads rows of features, or bags of tokens")
            for i in range(x.size):
                if x[i] < 0 or x[i] >= program[INPUTS]:
                    raise ValueError("a token of x is not in the model's vocabulary")
    else:
        integers = isinstance(x.dtype, types.Integer)

        def check(x, program):
            if program[INPUT] < 0:
                raise ValueError("x has rows, but the model reads tokens: an array of integers, one for each row")
            if x.shape[1] != (program[BAG] if program[BAG] > 0 else program[INPUTS]):
                raise ValueError("x has rows of the wrong size: one element for each feature, or token of a bag")
            if program[BAG] > 0:
                if not integers:
                    raise ValueError("x has numbers that are not integers, but the model reads bags of tokens")
                for i in range(x.shape[0]):
                    for k in range(x.shape[1]):
                        if x[i, k] < -1 or x[i, k] >= program[INPUTS]:
                            raise ValueError("a token of x is not in the model's vocabulary")

    return check
