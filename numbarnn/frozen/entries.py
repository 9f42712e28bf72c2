"""The functions of a frozen model as kernels that take addresses and sizes alone; the weights and the program are the library's.

Each returns 0 or one of the error numbers of `numbarnn.frozen.interface`. Nothing here is called from Python: a child process compiles
the functions for one level of processors (`numbarnn.frozen.child`).
"""

from collections.abc import Callable
from dataclasses import dataclass

import llvmlite.binding as llvm
import llvmlite.ir as ir
import numpy as np
from numba import njit
from numba.core import cgutils, types
from numba.extending import intrinsic
from numba.np.arrayobj import populate_array

from numbarnn.frozen.interface import BAD_ARGUMENT, BAD_CODE, BAD_LENGTH, BAD_TOKEN, OK, Interface
from numbarnn.kernels.cpu.step import BAG_ROW, BAG_TABLE, INPUT, OUTPUT, operate

# Names of the constants inside the library.
VALUES, PROGRAM, CHECK_X, CHECK_Y = "numbarnn.values", "numbarnn.program", "numbarnn.check.x", "numbarnn.check.y"
# The step without checks, and the function for whole sequences, which other functions call.
ADVANCE, FORWARD = "numbarnn.advance", "numbarnn.forward"
# Steps of the sequence by which N_check compares, and how far code may be off that does not fuse multiplications and additions.
CHECK_STEPS = 8
TOLERANCE = {"float32": 1e-6, "float64": 1e-12}


# As `numbarnn.kernels.compile.jit`, but on no disk: what is compiled contains the model's sizes and the user's cells.
jit = njit(nogil=True, error_model="numpy", no_cpython_wrapper=True, no_cfunc_wrapper=True)


@dataclass(frozen=True)
class Frozen:
    """What code is made from, besides the level of processors.

    Attributes
    ----------
    interface : Interface
    records : tuple
        Of the model's cells, each once, in the order of their indices in the program.
    program : (n,) int64 array
        As `numbarnn.network.program` makes it; the addresses of the tiles do not count.
    values : int
        Number of weights.
    state : int
        Values of a state.
    exact : bool
        Whether the outputs to compare with were computed with fused operations.
    """

    interface: Interface
    records: tuple
    program: np.ndarray
    values: int
    state: int
    exact: bool


@intrinsic
def view(typingctx, address, size, dtype):
    """Return the 1-D array of `size` elements at an address."""
    kind = types.Array(dtype.dtype, 1, "C")

    def codegen(context, builder, signature, args):
        array, scalar = context.make_array(kind)(context, builder), context.get_data_type(kind.dtype)
        width = context.get_constant(types.intp, kind.dtype.bitwidth // 8)
        data = builder.inttoptr(args[0], scalar.as_pointer())
        populate_array(array, data=data, shape=[args[1]], strides=[width], itemsize=width, meminfo=None)
        return array._getvalue()

    return kind(types.intp, types.intp, dtype), codegen


def address_of(name: str) -> Callable:
    """Return a function of kernels that returns the address of the library's constant of a name."""

    @intrinsic
    def read(typingctx):
        def codegen(context, builder, signature, args):
            found = builder.module.globals.get(name)
            if found is None:
                # The code is not run here, but Numba makes it ready to be, for which the name must be something's.
                llvm.add_symbol(name, id(name))
                found = cgutils.add_global_variable(builder.module, ir.IntType(8), name)
            return builder.ptrtoint(found, context.get_value_type(types.intp))

        return types.intp(), codegen

    return read


def external(name: str, arguments: int) -> types.ExternalFunction:
    """Return another function of the library, of integers, for kernels to call: compiled once, however many call it."""
    llvm.add_symbol(name, id(name))  # as above
    return types.ExternalFunction(name, types.int64(*[types.int64] * arguments))


def make_entries(frozen: Frozen, fused: bool) -> dict[str, tuple[Callable, tuple]]:
    """Return the kernels and the types of their arguments, by the name after ``NAME_`` in C.

    Parameters
    ----------
    frozen : Frozen
    fused : bool
        Whether the level that is compiled for fuses multiplications and additions.
    """
    interface, records, size = frozen.interface, frozen.records, frozen.state
    inputs, outputs, bag, sequence = interface.inputs, interface.outputs, interface.bag, interface.sequence
    tokens, scalar = interface.tokens, np.dtype(interface.dtype).type
    element = np.int64 if tokens else scalar
    # Values of a step, and the least of a token.
    width, least = (max(bag, 1), -1 if bag else 0) if tokens else (inputs, 0)
    row_bytes, state_bytes = width * np.dtype(element).itemsize, size * np.dtype(scalar).itemsize
    program_at, values_at, check_x, check_y = map(address_of, (PROGRAM, VALUES, CHECK_X, CHECK_Y))
    output_at = int(frozen.program[OUTPUT])
    program_size, values_size = frozen.program.size, frozen.values
    work_bytes = state_bytes + CHECK_STEPS * outputs * np.dtype(scalar).itemsize
    tolerance = 0.0 if fused and frozen.exact else TOLERANCE[interface.dtype]

    if not tokens:

        @jit
        def read(x_at, own, weights, state):
            x, dst = view(x_at, width, element), own[INPUT]
            for j in range(width):
                state[dst + j] = x[j]
    else:

        @jit
        def read(x_at, own, weights, state):
            """Write the sum of the vectors of a bag's tokens to the state, in the order of `tokens.gather_bags`."""
            x, dst, row = view(x_at, width, element), own[INPUT], own[BAG_ROW]
            for j in range(row):
                state[dst + j] = 0
            for k in range(width):
                if x[k] >= 0:
                    source = own[BAG_TABLE] + x[k] * row
                    for j in range(row):
                        state[dst + j] += weights[source + j]

    def advance(token, x_at, state_at):
        own, weights = view(program_at(), program_size, np.int64), view(values_at(), values_size, scalar)
        state = view(state_at, size, scalar)
        if x_at != 0:
            read(x_at, own, weights, state)
        operate(records, own, weights, token, state)
        return OK

    advance_by_address = external(ADVANCE, 3)

    @jit
    def write(state, y, at):
        """Write the outputs of the last step to an offset of y."""
        for j in range(outputs):
            y[at + j] = state[output_at + j]

    if not tokens:

        @jit
        def valid(x_at, count):
            return True
    else:

        @jit
        def valid(x_at, count):
            """Return whether all tokens at an address are in the vocabulary."""
            x = view(x_at, count, element)
            for k in range(count):
                if x[k] < least or x[k] >= inputs:
                    return False
            return True

    if tokens and not bag:

        @jit
        def advance_at(x_at, state_at):
            return advance_by_address(view(x_at, 1, element)[0], 0, state_at)

        def step(token, state_at, y_at):
            if state_at == 0 or y_at == 0:
                return BAD_ARGUMENT
            if token < 0 or token >= inputs:
                return BAD_TOKEN
            advance_by_address(token, 0, state_at)
            write(view(state_at, size, scalar), view(y_at, outputs, scalar), 0)
            return OK
    else:

        @jit
        def advance_at(x_at, state_at):
            return advance_by_address(0, x_at, state_at)

        def step(x_at, state_at, y_at):
            if x_at == 0 or state_at == 0 or y_at == 0:
                return BAD_ARGUMENT
            if not valid(x_at, width):
                return BAD_TOKEN
            advance_at(x_at, state_at)
            write(view(state_at, size, scalar), view(y_at, outputs, scalar), 0)
            return OK

    @jit
    def copy(source, dst):
        """Copy a state from an address, NULL: zeros, to another."""
        state = view(dst, size, scalar)
        if source == 0:
            for j in range(size):
                state[j] = 0
        elif source != dst:
            start = view(source, size, scalar)
            for j in range(size):
                state[j] = start[j]

    def forward(x_at, n, t, lengths_at, h0_at, h1_at, y_at, work_at):
        if n < 0 or t < 0 or work_at == 0 or ((x_at == 0 or y_at == 0) and n > 0 and t > 0):
            return BAD_ARGUMENT
        lengths = view(lengths_at, n if lengths_at != 0 else 0, np.int64)
        for length in lengths:
            if length < 0 or length > t:
                return BAD_LENGTH
        if not valid(x_at, n * t * width):
            return BAD_TOKEN
        state, steps = view(work_at, size, scalar), t if sequence else 1
        y = view(y_at, n * steps * outputs, scalar)
        for i in range(n):
            length = t if lengths_at == 0 else lengths[i]
            copy(h0_at + i * state_bytes if h0_at != 0 else 0, work_at)
            for s in range(length):
                advance_at(x_at + (i * t + s) * row_bytes, work_at)
                if sequence:
                    write(state, y, (i * t + s) * outputs)
            if not sequence:
                write(state, y, i * outputs)
            else:
                for j in range((i * t + length) * outputs, (i + 1) * t * outputs):
                    y[j] = 0
            if h1_at != 0:
                copy(work_at, h1_at + i * state_bytes)
        return OK

    run = external(FORWARD, 8)

    def check(work_at):
        if work_at == 0:
            return BAD_ARGUMENT
        y_at = work_at + state_bytes
        code = run(check_x(), 1, CHECK_STEPS, 0, 0, 0, y_at, work_at)
        if code != OK:
            return code
        expected = view(check_y(), CHECK_STEPS * outputs, scalar)
        y = view(y_at, expected.size, scalar)
        for j in range(expected.size):
            error, most = abs(y[j] - expected[j]), tolerance * max(abs(expected[j]), 1.0)
            if not error <= most and (y[j] == y[j] or expected[j] == expected[j]):
                return BAD_CODE
        return OK

    def workspace_bytes(n, t):
        return work_bytes

    address = (types.int64,)
    found = {
        ADVANCE: (advance, 3 * address),
        FORWARD: (forward, 8 * address),
        "check": (check, address),
        "workspace_bytes": (workspace_bytes, 2 * address),
    }
    if interface.step:
        found["step"] = step, 3 * address
    return found
