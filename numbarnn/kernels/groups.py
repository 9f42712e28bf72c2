"""Groups of kernels' arguments: NamedTuples of arrays and scalars, their Numba types, and entry points that take them.

A kernel with many arguments takes them in groups, each a `typing.NamedTuple` whose docstring describes the fields and whose
annotations say what they are: one of the kinds below, int, float, bool or `Range`. Inside a kernel a group costs nothing. Through
Numba's dispatcher a call with groups takes 39-55 us, for it looks at the type of every field; so such kernels are called by
their compiled entry point (3.6 us), whose types follow from the annotations and the dtype of the pass.

An entry point reads any array as if it had the type that was compiled for. So whoever calls one makes groups with `checked`.
"""

import functools
import inspect
import weakref
from typing import Annotated, get_args, get_origin, get_type_hints

import numba
import numpy as np
from numba.core import types

# Arrays of one to four axes in the dtype of the pass; integers; tokens.
Floats1, Floats2, Floats3, Floats4 = (Annotated[np.ndarray, None, axes] for axes in (1, 2, 3, 4))
Integers1, Integers2 = (Annotated[np.ndarray, np.dtype(np.int64), axes] for axes in (1, 2))
Tokens1, Tokens3 = (Annotated[np.ndarray, np.dtype(np.int32), axes] for axes in (1, 3))
# Sums in float64, whatever the dtype of the pass; integers as wide as that.
Doubles1 = Annotated[np.ndarray, np.dtype(np.float64), 1]
Exponents1 = Annotated[np.ndarray, lambda dtype: np.dtype(f"i{np.dtype(dtype).itemsize}"), 1]
# (first, last) of some adjacent things.
Range = tuple[int, int]

_SCALARS = {int: types.int64, float: types.float64, bool: types.boolean, Range: types.UniTuple(types.int64, 2)}


def type_of(kind, dtype) -> types.Type:
    """Return the Numba type of an annotation: a kind of array, a scalar's, or a group's class."""
    if get_origin(kind) is Annotated:
        _, own, axes = get_args(kind)
        return types.Array(numba.from_dtype(dtype if own is None else own(dtype) if callable(own) else own), axes, "C")
    if kind in _SCALARS:
        return _SCALARS[kind]
    hints = get_type_hints(kind, include_extras=True)
    return types.BaseTuple.from_types([type_of(hints[name], dtype) for name in kind._fields], kind)


_entry_points = weakref.WeakKeyDictionary()  # by the class of a record: a notebook defines classes again and again


def entry_point(kernel, dtype, record=None):
    """Return the compiled kernel for a dtype and the type of its first argument if that is a record, or an array of records.

    It is called as the kernel is, with positional arguments. They must be those of the annotations of the kernel's parameters:
    nothing looks at their types.
    """
    known = _entry_points.get(record.__class__)
    if known is None:
        known = _entry_points[record.__class__] = {}
    # The types of a record's options follow from its class where a layer made it; not where a test did.
    if record is None:
        key = kernel, dtype
    elif record.__class__ is np.ndarray:
        key = kernel, dtype, record.dtype
    else:
        key = kernel, dtype, *map(type, record)
    found = known.get(key)
    if found is None:
        first = () if record is None else (numba.typeof(record),)
        found = known[key] = kernel.compile((*first, *argument_types(kernel, dtype)[len(first) :]))
    return found


def argument_types(kernel, dtype) -> tuple[types.Type | None, ...]:
    """Return the Numba types of a kernel's parameters for a dtype; None: it has no annotation, as a record."""
    hints = get_type_hints(kernel.py_func, include_extras=True)
    names = inspect.signature(kernel.py_func).parameters
    return tuple(type_of(hints[name], np.dtype(dtype)) if name in hints else None for name in names)


@functools.cache
def _arrays(group_class):
    """Return (index, name, dtype, a function of the pass's or None, axes) of the fields of a group that are arrays."""
    hints = get_type_hints(group_class, include_extras=True)
    kinds = [(index, name, hints[name]) for index, name in enumerate(group_class._fields)]
    return [(index, name, *get_args(kind)[1:]) for index, name, kind in kinds if get_origin(kind) is Annotated]


def checked(group, dtype, *shapes):
    """Return a group that an entry point may take.

    Parameters
    ----------
    group : NamedTuple
    dtype : numpy.dtype
        Of the pass.
    *shapes : tuple of int
        Of the arrays among the fields, in their order.

    Raises
    ------
    ValueError
        If a field is not an array of its dtype and of that shape, C-contiguous, aligned and writable.
    """
    for (index, name, own, _), shape in zip(_arrays(group.__class__), shapes, strict=True):
        array = group[index]
        expected = dtype if own is None else own(dtype) if callable(own) else own
        if array.shape != shape or (array.dtype is not expected and array.dtype != expected) or not array.flags.carray:
            raise ValueError(
                f"{group.__class__.__name__}.{name} must be a writable, C-contiguous array of shape {shape} and dtype "
                f"{expected}, got {array.dtype} with shape {array.shape} and flags {array.flags}"
            )
    return group
