"""Overloads for CUDA of the functions that both targets share: numba-cuda has registries of its own.

Not imported in the simulator, which runs the functions as they are.
"""

import math

from numba.cuda import libdevice, types
from numba.cuda.extending import overload, register_jitable

from numbarnn.kernels import element as shared
from numbarnn.kernels import equations, scalar
from numbarnn.kernels.cuda import element

_told = 0


def tell_inlined():
    """Tell Numba of the helpers of cells that were defined since the last call."""
    global _told
    for function in scalar.INLINED[_told:]:
        register_jitable(forceinline=True)(function)
    _told = len(scalar.INLINED)


def _class(record):
    return record.instance_class if isinstance(record, types.BaseNamedTuple) else None


@overload(scalar.fma, jit_options={"forceinline": True})
def _fma(x, y, z):
    return lambda x, y, z: x * y + z  # NVVM fuses


@overload(scalar.remainder, jit_options={"forceinline": True})
def _remainder(n, y, period, high, low):
    return lambda n, y, period, high, low: n * period + y  # NVVM fuses


@overload(scalar.exponent, jit_options={"forceinline": True})
def _exponent(x):
    return lambda x: libdevice.int_as_float(types.int32(libdevice.float_as_int(x) << 23))


@overload(scalar.with_sign, jit_options={"forceinline": True})
def _with_sign(x, y):
    return lambda x, y: libdevice.copysignf(x, y)


@overload(scalar.quotient, jit_options={"forceinline": True})
def _quotient(x, y):
    # 2 ulp, and exact where a function is at its limit; the exact quotient is a call.
    return lambda x, y: x if y == type(y)(1) else libdevice.fast_fdividef(x, y)


@overload(scalar.tanh, jit_options={"forceinline": True})
def _tanh(x):
    return scalar.tanh32 if x == types.float32 else lambda x: math.tanh(x)


@overload(scalar.sigmoid, jit_options={"forceinline": True})
def _sigmoid(x):
    return scalar.sigmoid32 if x == types.float32 else scalar.sigmoid64


@overload(scalar.clip, jit_options={"forceinline": True})
def _clip(x, limit):
    return lambda x, limit: (
        limit if x > limit else -limit if x < -limit else x
    )  # the minimum of NaN and a number is the number


@overload(scalar.exp, jit_options={"forceinline": True})
def _exp(x):
    return lambda x: math.exp(x)


@overload(scalar.log1p, jit_options={"forceinline": True})
def _log1p(x):
    return lambda x: math.log1p(x)


def _of_record(stand_in, name):
    """Let a stand-in call the record's own function of a name."""
    arguments = stand_in.__code__.co_varnames[: stand_in.__code__.co_argcount]
    scope = {"_class": _class}
    exec(f"def choose({', '.join(arguments)}):\n    return getattr(_class(cell), {name!r}, None)", scope)
    overload(stand_in, jit_options={"forceinline": True})(scope["choose"])


for _stand_in in (shared.cell_forward, shared.cell_backward, shared.cell_inner_forward, shared.cell_inner_backward):
    _of_record(_stand_in, _stand_in.__name__.removeprefix("cell_"))


@overload(equations.loss_term, jit_options={"forceinline": True})
def _loss_term(term, y, t, options):
    function = _class(term).term
    return lambda term, y, t, options: function(y, t, *options)


@overload(shared.added, jit_options={"forceinline": True})
def _added(values, terms):
    if len(values) == 0:
        return lambda values, terms: values
    if len(values) == 1:
        return lambda values, terms: (values[0] + terms[0],)
    return lambda values, terms: (values[0] + terms[0],) + shared.added(values[1:], terms[1:])


@overload(shared.scaled, jit_options={"forceinline": True})
def _scaled(factor, values):
    if len(values) == 0:
        return lambda factor, values: values
    if len(values) == 1:
        return lambda factor, values: (factor * values[0],)
    return lambda factor, values: (factor * values[0],) + shared.scaled(factor, values[1:])


def _count(cell, role):
    return len(getattr(_class(cell), role.literal_value))


@overload(shared.count_of, prefer_literal=True, jit_options={"forceinline": True})
def _count_of(record, role):
    count = _count(record, role)
    return lambda record, role: count


@overload(element.load, prefer_literal=True, jit_options={"forceinline": True})
def _load(cell, role, values, at, stride):
    return _written(_count(cell, role))[0]


@overload(element.store, prefer_literal=True, jit_options={"forceinline": True})
def _store(cell, role, values, at, stride, entries):
    count = _count(cell, role)
    if len(entries) != count:
        raise TypeError(
            f"{_class(cell).__name__} declares {count} {role.literal_value}, its function returns {len(entries)}"
        )
    return _written(count)[1]


def _written(count):
    """Return `load` and `store` for tuples of a length, written out: a tuple has no length that a loop could run through."""
    entries = "".join(f"values[at + {i} * stride], " for i in range(count))
    stores = "".join(f"\n    values[at + {i} * stride] = entries[{i}]" for i in range(count)) or "\n    pass"
    scope = {}
    exec(f"def load(cell, role, values, at, stride):\n    return ({entries})", scope)
    exec(f"def store(cell, role, values, at, stride, entries):{stores}", scope)
    return scope["load"], scope["store"]
