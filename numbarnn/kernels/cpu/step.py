"""One time step of a whole model for one sample: what streams run, and what users call from their own compiled code.

All weights lie in one array, all values that change in another, and a small *program* of integers says which layers
there are and where their values lie: so a call takes few arguments, allocates nothing, and a stack of any depth is the
same compiled code. Only the types of the cells select code.

The operations of a step and their order are those of the layers' forward pass, so the results are equal to the bit.
Adjacent pre-activations of a cell that take the same operands are one product here: a tile of one row is fast if it is wide.

``program``, int64::

    [0, HEADER)       addresses of the tiles (`simd.tile_table`)
    [HEADER, FIRST)   header: numbers at OPERATIONS ... STATES below
    [FIRST, ...)      operations, in a row, in the order of the fields of `Gather`, `Affine`, `Activate` or `Cell`; then, of a
                      program that is walked over sequences too, its stages (`numbarnn.kernels.cpu.walk`)

Offsets (``..._at``) count elements of the weights (what is read only) or of the state (the rest).
"""

from typing import NamedTuple

import numpy as np
from numba.core import types
from numba.core.errors import TypingError
from numba.extending import intrinsic, overload
from numba.np.arrayobj import populate_array

from numbarnn.kernels.cache import stamp
from numbarnn.kernels.compile import jit
from numbarnn.kernels.cpu.activation import activate_columns
from numbarnn.kernels.cpu.denormals import FLUSH, apart, exchange
from numbarnn.kernels.cpu.matmul import NO_PRODUCT, ONE, ZERO, Extent, Factor, Location, Panels, multiply
from numbarnn.kernels.cpu.simd import INDEX, panel_of, panel_width, tile_table
from numbarnn.kernels.element import cell_forward, cell_inner_forward, load, record_class, store
from numbarnn.kernels.records import renewed, unpack_records
from numbarnn.kernels.scalar import inlined

HEADER, FIRST = 64, 81
# Number of operations; size of the input (or of the vocabulary) and its offset; the same of the output; sizes of the state, of the
# weights' values and of the program itself; columns of a panel, which differ by dtype. Where the input is a bag of tokens, whose
# vectors are added up at INPUT: how many they are (else 0), where their table begins, and the length of its rows. Of a program
# that is walked over sequences: number of stages, where they begin, the distance of two rows of a buffer, and where the state has
# room for sampling (else 0). A program of steps alone has zeros there. The length of what a sequence takes from one step to the
# next, the states of its layers, which come first in the state.
(
    OPERATIONS, INPUTS, INPUT, OUTPUTS, OUTPUT, STATE, VALUES, LENGTH, PANEL, BAG, BAG_TABLE, BAG_ROW, STAGES, STAGES_AT,
    BUFFER_ROW, SAMPLE, STATES,
) = range(HEADER, FIRST)  # fmt: skip
GATHER, AFFINE, CELL, ACTIVATE = range(4)


class Gather(NamedTuple):
    """y = table[token]."""

    table_at: int
    row: int
    y_at: int


class Affine(NamedTuple):
    """y = x B + bias."""

    x_at: int
    inputs: int
    panels_at: int
    bias_at: int
    y_at: int
    panels: int


class Activate(NamedTuple):
    """y = f(x), element by element."""

    activation: int
    x_at: int
    y_at: int
    columns: int


class Cell(NamedTuple):
    """One step of one recurrent layer.

    ``cell`` is the index of its record among the model's; ``token_row`` the distance between the rows of two tokens at
    ``bias_at``, 0 without tokens. After the fields comes a `SecondProduct`, then ``groups`` times four integers: the first of some
    adjacent pre-activations, how many, and how many values of x and of h enter them.
    """

    cell: int
    x_at: int
    inputs: int
    h_at: int
    recurrents: int
    width: int
    panels_at: int
    bias_at: int
    token_row: int
    diagonal_at: int
    z_at: int
    groups: int


class SecondProduct(NamedTuple):
    """The second recurrent product of a cell: of the inner value at a scratch offset, into adjacent pre-activations."""

    inner_at: int
    first: int
    count: int


# Where the second product of a `Cell` begins, and where its groups do.
SECOND = len(Cell._fields)
GROUPS = SECOND + len(SecondProduct._fields)


class StepWeights(NamedTuple):
    """What `step` reads, made by `numbarnn.step_function`; nothing in it changes.

    Attributes
    ----------
    cells : structured array
        The records of the model's cells, each once, and the stamp of this package's sources and their compiler; see
        `numbarnn.kernels.records`.
    program : int64 array
        Which layers there are, and where their values lie.
    values : float array
        All weights.
    """

    cells: np.ndarray
    program: np.ndarray
    values: np.ndarray

    def __reduce__(self):
        made_for = self.values.dtype.str, panel_width(self.values.dtype), stamp()
        return _revived, (tuple(self), made_for)


def _revived(arrays, made_for):
    """Return weights that were pickled, with the addresses of this process."""
    dtype, *made_by = made_for
    if made_by != [panel_width(dtype), stamp()]:
        raise RuntimeError(
            "these step weights were packed for another processor, or by another version of numbarnn or Numba, or with other "
            "settings of Numba; pickle the model instead, and call numbarnn.step_function where the weights are used"
        )
    cells, program, values = arrays
    table, program = tile_table(dtype), program.copy()  # which joblib may have mapped read-only
    program[: table.size] = table
    return StepWeights(renewed(cells), program, values)


@jit
def step(weights, x, state, y):
    """Run one time step, from compiled code or from Python.

    Parameters
    ----------
    weights : StepWeights
        From `numbarnn.step_function`.
    x : (features,) array, an integer, or a (bag,) array of integers
        Input of the step; of a model that reads tokens, the token, and of one that begins with `EmbeddingBag`, its tokens.
    state : (size,) array
        State before the step, replaced by that after it, and scratch memory; C-contiguous, of the model's dtype. Each
        thread needs its own.
    y : (outputs,) array
        Receives the output of the step; float32 or float64.

    Raises
    ------
    numba.TypingError
        While compiling, if an array has the wrong dtype or number of axes, or is not contiguous.
    ValueError
        If an array has the wrong size, or a token is not in the vocabulary; the state is as before then.

    Examples
    --------
    >>> import numpy as np
    >>> import numbarnn as nr
    >>> model = nr.Model([nr.GRU(4), nr.Dense(2)], input_size=3)
    >>> _, weights, state = nr.step_function(model)
    >>> y = np.zeros(2, np.float32)
    >>> nr.step(weights, np.ones(3, np.float32), state, y)
    >>> np.array_equal(y, model.forward(np.ones((1, 1, 3)))[0][0, 0])
    True
    """
    apart()
    state = _checked(weights, x, state, y)
    program = weights.program
    check_whole(weights, state)
    if state.size != program[STATE]:
        raise ValueError("state has the wrong size: use a copy of the one that step_function returns")
    if y.size != program[OUTPUTS]:
        raise ValueError("y has the wrong size: it must have one element for each output of the model")
    _advance(weights.cells, program, weights.values, x, state, y)


@inlined
def check_whole(weights, state):
    """Raise ValueError unless the arrays of weights belong together and to the dtype of a state."""
    program = weights.program
    if (
        program.size < FIRST
        or program.size != program[LENGTH]
        or weights.values.size != program[VALUES]
        or panel_of(state) != program[PANEL]
        or weights.cells.size != 1
    ):
        raise ValueError("weights have arrays of the wrong size or dtype: use them as step_function returns them")


@jit
def stream_step(cells, handle, x, y):
    """Run the step of a stream, from Python: `step` with as few arguments to unpack as possible (0.18 us less).

    handle : address of (address, size) of the program, of the weights and of the state; their owner keeps them alive.
    """
    program = array_at(handle, 0, np.int64)
    values, state = array_at(handle, 2, y.dtype), array_at(handle, 4, y.dtype)
    _advance(cells, program, values, x, state, y)


@intrinsic
def array_at(typingctx, handle, index, dtype):
    """Return the 1-D array whose address and size are the integers `index` and `index` + 1 of those at the address `handle`."""
    kind = types.Array(dtype.dtype, 1, "C")

    def codegen(context, builder, signature, args):
        numbers = builder.gep(builder.inttoptr(args[0], INDEX.as_pointer()), [args[1]])
        address, size = builder.load(numbers), builder.load(builder.gep(numbers, [INDEX(1)]))
        return _array(context, builder, kind, address, size)

    return kind(types.intp, types.intp, dtype), codegen


@intrinsic
def array_of(typingctx, address, size, dtype):
    """Return the 1-D array of an address and a size."""
    kind = types.Array(dtype.dtype, 1, "C")

    def codegen(context, builder, signature, args):
        return _array(context, builder, kind, args[0], args[1])

    return kind(types.intp, types.intp, dtype), codegen


def _array(context, builder, kind, address, size):
    array, item = context.make_array(kind)(context, builder), context.get_data_type(kind.dtype)
    width = context.get_constant(types.intp, context.get_abi_sizeof(item))
    populate_array(
        array,
        data=builder.inttoptr(address, item.as_pointer()),
        shape=[size],
        strides=[width],
        itemsize=width,
        meminfo=None,
    )
    return array._getvalue()


@inlined
def _advance(cells, program, values, x, state, y):
    token = _take(x, program, values, state)
    records = unpack_records(cells)
    before = exchange(FLUSH)
    operate(records, program, np.intp(FIRST), program[OPERATIONS], values, token, state)
    exchange(before)
    for j in range(y.size):
        y[j] = state[program[OUTPUT] + j]


@inlined
def operate(records, program, at, count, values, token, state):
    """Run `count` operations of a program, from `at` on, for a token, or for the input that lies in the state."""
    for _ in range(count):
        kind = program[at]
        at += 1
        if kind == CELL:
            _cell(records, program[at], program, at, values, state, token)
            at += GROUPS + 4 * program[at + SECOND - 1]
        elif kind == AFFINE:
            multiply(
                program, Extent(ONE, program[at + 5]), values, Location(program[at + 3], ZERO),
                state, Factor(program[at], ZERO, program[at + 1], ONE, ZERO), state, NO_PRODUCT,
                values, Panels(program[at + 2], program[at + 1] * panel_of(state)), state, Location(program[at + 4], ZERO),
            )  # fmt: skip
            at += 6
        elif kind == ACTIVATE:
            activate_columns(program[at], state, program[at + 1], state, program[at + 2], program[at + 3])
            at += 4
        else:
            source, row, dst = program[at], program[at + 1], program[at + 2]
            for j in range(row):
                state[dst + j] = values[source + token * row + j]
            at += 3


def _checked(weights, x, state, y):
    """Return the state; refuse, while compiling, arrays that `step` would misread.

    What follows takes the result, so that Numba cannot come to it before it has come here.
    """


@overload(_checked)
def _checked_types(weights, x, state, y):
    dtype = weights_dtype(weights)
    if not (isinstance(y, types.Array) and y.ndim == 1 and y.mutable and y.dtype in FLOATS):
        raise TypingError(f"y must be a writable (outputs,) array of float32 or float64, got {y}")
    if state != types.Array(dtype, 1, "C") and state != types.Array(dtype, 1, "C", aligned=False):
        raise TypingError(f"state must be a writable, C-contiguous (size,) array of {dtype}, got {state}")
    if not isinstance(x, types.Integer) and not (isinstance(x, types.Array) and x.ndim == 1 and is_numeric(x.dtype)):
        raise TypingError(
            "x must be a (features,) array of float32, float64, integers or booleans, or for a model that reads tokens an integer "
            f"or a (bag,) array of integers, got {x}"
        )
    return lambda weights, x, state, y: state


def weights_dtype(weights):
    """Return the type of the values of `StepWeights`' type; raise TypingError if its arrays would be misread."""
    _, program, values = weights.types
    dtype = values.dtype
    if not (_flat(program) and program.dtype == types.int64 and _flat(values) and isinstance(dtype, types.Float)):
        raise TypingError(
            f"weights have arrays of the wrong dtype or layout: use them as step_function returns them, got {weights}"
        )
    return dtype


FLOATS = types.float32, types.float64


def is_numeric(dtype):
    """Return whether a Numba type is that of float32, float64, integers or booleans."""
    return dtype in FLOATS or isinstance(dtype, (types.Integer, types.Boolean))


def _flat(kind):
    return isinstance(kind, types.Array) and kind.ndim == 1 and kind.layout == "C"


def _take(x, program, values, state):
    """Copy the input into the state and return 0, or return the token."""


@overload(_take)
def _take_any(x, program, values, state):
    if isinstance(x, types.Integer):

        def take(x, program, values, state):
            if program[BAG] > 0:
                raise ValueError("x is an integer, but the model reads bags of tokens: arrays of integers")
            if program[INPUT] >= 0:
                raise ValueError("x is an integer, but the model reads arrays of features")
            if x < 0 or x >= program[INPUTS]:
                raise ValueError("the token x is not in the model's vocabulary")
            return np.intp(x)
    else:

        def take(x, program, values, state):
            if program[BAG] > 0:
                _take_bag(x, program, values, state)
                return np.intp(0)
            if program[INPUT] < 0:
                raise ValueError("x is an array, but the model reads tokens: integers")
            if x.size != program[INPUTS]:
                raise ValueError("x has the wrong size: it must have one element for each feature")
            for j in range(x.size):
                state[program[INPUT] + j] = x[j]
            return np.intp(0)

    return take


def _take_bag(x, program, values, state):
    """Write the sum of the vectors of a bag's tokens to the state, in the order of `tokens.gather_bags`."""


@overload(_take_bag)
def _take_bag_of_integers(x, program, values, state):
    if not isinstance(x.dtype, types.Integer):

        def take(x, program, values, state):
            raise ValueError("x is an array of numbers that are not integers, but the model reads bags of tokens")
    else:

        def take(x, program, values, state):
            if x.size != program[BAG]:
                raise ValueError(
                    "x has the wrong size: it must have one token for each of the model's bag, -1 for none"
                )
            for k in range(x.size):
                token = np.intp(x[k])
                if token < -1 or token >= program[INPUTS]:
                    raise ValueError("a token of x is not in the model's vocabulary")
            add_bag(x, ZERO, program, values, state, program[INPUT])

    return take


@inlined
def add_bag(x, at, program, values, state, dst):
    """Set ``state[dst:]`` to the sum of the vectors of the tokens of one bag, x[at:]; -1: none."""
    row = program[BAG_ROW]
    for j in range(row):
        state[dst + j] = 0
    for k in range(program[BAG]):
        token = np.intp(x[at + k])
        if token >= 0:
            source = program[BAG_TABLE] + token * row
            for j in range(row):
                state[dst + j] += values[source + j]


# The functions below see the cells' types; each pair of a stand-in and its overload is inlined into the kernel.


def _cell(cells, number, program, at, weights, state, token):
    """Run one layer of the cell `number` of a tuple of records."""


@overload(_cell)
def _chosen(cells, number, program, at, weights, state, token):
    if len(cells) == 0:
        return lambda cells, number, program, at, weights, state, token: None
    if len(cells) == 1:

        def run(cells, number, program, at, weights, state, token):
            _layer(cells[0], program, at, weights, state, token)
    else:

        def run(cells, number, program, at, weights, state, token):
            if number == 0:
                _layer(cells[0], program, at, weights, state, token)
            else:
                _cell(cells[1:], number - 1, program, at, weights, state, token)

    return run


def _layer(cell, program, at, weights, state, token):
    """Run one step of one recurrent layer."""


@overload(_layer)
def _one_layer(cell, program, at, weights, state, token):
    def run(cell, program, at, weights, state, token):
        w = panel_of(state)
        x_at, inputs, h_at, recurrents = program[at + 1], program[at + 2], program[at + 3], program[at + 4]
        width, panels_at, bias_at = program[at + 5], program[at + 6], program[at + 7]
        diagonal_at, z_at, groups = program[at + 9], program[at + 10], program[at + SECOND - 1]
        length = inputs + recurrents
        bias_at += token * program[at + 8]
        for i in range(groups):
            group = at + GROUPS + 4 * i
            gate, count, x_length, h_length = (
                program[group],
                program[group + 1],
                program[group + 2],
                program[group + 3],
            )
            multiply(
                program, Extent(ONE, count * width // w), weights, Location(bias_at + gate * width, ZERO),
                state, Factor(x_at, ZERO, x_length, ONE, ZERO), state, Factor(h_at, ZERO, h_length, ONE, ZERO),
                weights, Panels(panels_at + gate * width * length + (inputs - x_length) * w, length * w),
                state, Location(z_at + gate * width, ZERO),
            )  # fmt: skip
        _second(cell, program, at, weights, state)
        for e in range(width):
            gates = load(cell, "preactivations", state, z_at, width, e)
            previous = load(cell, "states", state, h_at, width, e)
            own = load(cell, "diagonal", weights, diagonal_at, width, e)
            following, _ = cell_forward(cell, gates, previous, own)
            store(cell, "states", state, h_at, width, e, following)

    return run


def _second(cell, program, at, weights, state):
    """Make the inner value of a cell with a second product, and add its product to the pre-activations it enters."""


@overload(_second)
def _second_product(cell, program, at, weights, state):
    if not getattr(record_class(cell), "inner", ()):
        return lambda cell, program, at, weights, state: None

    def run(cell, program, at, weights, state):
        w = panel_of(state)
        inputs, h_at, recurrents, width, panels_at = (
            program[at + 2], program[at + 3], program[at + 4], program[at + 5], program[at + 6],
        )  # fmt: skip
        diagonal_at, z_at = program[at + 9], program[at + 10]
        inner_at, gate, count = program[at + SECOND], program[at + SECOND + 1], program[at + SECOND + 2]
        length = inputs + recurrents
        for e in range(width):
            gates = load(cell, "preactivations", state, z_at, width, e)
            previous = load(cell, "states", state, h_at, width, e)
            own = load(cell, "diagonal", weights, diagonal_at, width, e)
            values, _ = cell_inner_forward(cell, gates, previous, own)
            store(cell, "inner", state, inner_at, width, e, values)
        multiply(
            program, Extent(ONE, count * width // w), state, Location(z_at + gate * width, ZERO),
            state, Factor(inner_at, ZERO, recurrents, ONE, ZERO), state, NO_PRODUCT,
            weights, Panels(panels_at + gate * width * length + inputs * w, length * w),
            state, Location(z_at + gate * width, ZERO),
        )  # fmt: skip

    return run
