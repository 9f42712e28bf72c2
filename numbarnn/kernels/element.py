"""From a record to the scalar functions that are inlined into a time loop: the only clever file of the package.

A cell is an immutable record (a NamedTuple) with two scalar functions, `forward` and `backward`. A driver is one loop
that must call them for every element, at the speed of hand-written code, and be cached on disk. Of the ways to hand a
function to a compiled loop only one is cached by Numba in the next process: let the record's *type* select the
function (a closure factory or a jitted function passed as an argument compiles again in every process, and leaks an
object file).

So drivers call the stand-ins `cell_forward`, `cell_backward` and their inner kin. `numba.extending.overload` is given the record's
type and answers with the record's own function, compiled with the driver's fast-math flags and always inlined by
LLVM, so the loop vectorises (a test counts packed divisions). Inlined by Numba (``inline="always"``) it runs as fast,
but LSTM's forward driver takes 5.9 s to compile instead of 2.0 s.

The scalar functions take and return *tuples of scalars* and never see an array. `load` and `store` move those tuples:
they turn (array, offset, stride, element) into a tuple with one scalar a block, whose length follows from the
record's type (``len(cell.preactivations)`` and so on), as straight-line loads without bounds or sign checks.
"""

from numba.core import types
from numba.extending import intrinsic, overload

from numbarnn.kernels.linked import INLINE


def record_class(record_type):
    """Return the Python class of a record's Numba type, or None for any other type."""
    return record_type.instance_class if isinstance(record_type, types.BaseNamedTuple) else None


def has_second_product(record_type):
    """Return whether a record's Numba type is that of a cell with a second recurrent product."""
    return bool(getattr(record_class(record_type), "inner", ()))


def cell_forward(cell, preactivations, states, diagonal):
    """Call ``cell.forward``: (preactivations, previous states, unit weights) -> (next states, saved)."""
    return type(cell).forward(cell, preactivations, states, diagonal)


def cell_backward(cell, saved, states, diagonal, after, gradients):
    """Call ``cell.backward``: its docstring is the contract in `numbarnn.cells`."""
    return type(cell).backward(cell, saved, states, diagonal, after, gradients)


def cell_inner_forward(cell, preactivations, states, diagonal):
    """Call ``cell.inner_forward``: (preactivations, previous states, unit weights) -> (inner, saved)."""
    return type(cell).inner_forward(cell, preactivations, states, diagonal)


def cell_inner_backward(cell, inner_saved, states, diagonal, dinner):
    """Call ``cell.inner_backward``: its docstring is the contract in `numbarnn.cells`."""
    return type(cell).inner_backward(cell, inner_saved, states, diagonal, dinner)


@overload(cell_forward, jit_options=INLINE)
def _cell_forward(cell, preactivations, states, diagonal):
    return getattr(record_class(cell), "forward", None)


@overload(cell_backward, jit_options=INLINE)
def _cell_backward(cell, saved, states, diagonal, after, gradients):
    return getattr(record_class(cell), "backward", None)


@overload(cell_inner_forward, jit_options=INLINE)
def _cell_inner_forward(cell, preactivations, states, diagonal):
    return getattr(record_class(cell), "inner_forward", None)


@overload(cell_inner_backward, jit_options=INLINE)
def _cell_inner_backward(cell, inner_saved, states, diagonal, dinner):
    return getattr(record_class(cell), "inner_backward", None)


def _length(cell, role):
    return len(getattr(record_class(cell), role.literal_value))


def _address(context, builder, array_type, array, at, stride, element, index):
    """Return the pointer to ``array.flat[at + index * stride + element]``."""
    data = context.make_array(array_type)(context, builder, array).data
    first = builder.add(at, builder.mul(stride, context.get_constant(types.intp, index)))
    return builder.gep(builder.gep(data, [first]), [element])


def count_of(record, role):
    """Return how many outputs ... (`role`) a record has."""
    return len(getattr(record, role))


@overload(count_of, prefer_literal=True, jit_options=INLINE)
def _count_of(record, role):
    count = _length(record, role)
    return lambda record, role: count


@intrinsic(prefer_literal=True)
def load(typingctx, cell, role, array, at, stride, element):
    """Return the tuple of ``array.flat[at + i * stride + element]`` for the record's `role`: its preactivations, states ..."""
    if not isinstance(role, types.StringLiteral):
        return None
    count = _length(cell, role)
    result = types.UniTuple(array.dtype, count)

    def codegen(context, builder, signature, args):
        values = [
            builder.load(_address(context, builder, signature.args[2], args[2], *args[3:], index))
            for index in range(count)
        ]
        return context.make_tuple(builder, signature.return_type, values)

    return result(cell, role, array, types.intp, types.intp, types.intp), codegen


@intrinsic(prefer_literal=True)
def store(typingctx, cell, role, array, at, stride, element, values):
    """Store a tuple as `load` would read it; every value takes the array's dtype."""
    if not isinstance(role, types.StringLiteral):
        return None
    count = _length(cell, role)
    if len(values) != count:
        raise TypeError(
            f"{record_class(cell).__name__} declares {count} {role.literal_value}, its function returns {len(values)}"
        )

    def codegen(context, builder, signature, args):
        for index in range(count):
            value = builder.extract_value(args[6], index) if count else None
            value = context.cast(builder, value, signature.args[6][index], array.dtype)
            builder.store(value, _address(context, builder, signature.args[2], args[2], *args[3:6], index))
        return context.get_dummy_value()

    return types.void(cell, role, array, types.intp, types.intp, types.intp, values), codegen


def added(values, terms):
    """Return the sums of two tuples, entry by entry."""
    return tuple(value + term for value, term in zip(values, terms, strict=True))


@overload(added, jit_options=INLINE)
def _added(values, terms):
    if len(values) == 0:
        return lambda values, terms: values
    if len(values) == 1:
        return lambda values, terms: (values[0] + terms[0],)
    return lambda values, terms: (values[0] + terms[0],) + added(values[1:], terms[1:])


def scaled(factor, values):
    """Return a tuple's entries times a factor."""
    return tuple(factor * value for value in values)


@overload(scaled, jit_options=INLINE)
def _scaled(factor, values):
    if len(values) == 0:
        return lambda factor, values: values
    if len(values) == 1:
        return lambda factor, values: (factor * values[0],)
    return lambda factor, values: (factor * values[0],) + scaled(factor, values[1:])
