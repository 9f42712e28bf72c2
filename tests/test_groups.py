"""Groups of kernels' arguments: what entry points are given, and what is refused before they are called."""

from typing import NamedTuple

import numba
import numpy as np
import pytest
from numba.core import types

from numbarnn import LSTM, Model
from numbarnn.kernels.cpu import recurrent
from numbarnn.kernels.groups import Floats1, Floats2, Integers1, Range, Tokens1, checked, entry_point, type_of

F32, F64 = np.dtype(np.float32), np.dtype(np.float64)


class Example(NamedTuple):
    """Arrays of every kind."""

    values: Floats2
    count: int
    offsets: Integers1
    tokens: Tokens1
    span: Range
    flag: bool


def example(**changes):
    fields = Example(np.zeros((2, 3), F32), 4, np.zeros(5, np.int64), np.zeros(2, np.int32), (0, 1), True)
    return fields._replace(**changes)


SHAPES = (2, 3), (5,), (2,)


@pytest.mark.parametrize("dtype", [F32, F64])
def test_types_are_those_of_the_values(dtype):
    group = example(values=np.zeros((2, 3), dtype))
    assert type_of(Example, dtype) == numba.typeof(group)
    assert type_of(Floats1, dtype) == types.Array(numba.from_dtype(dtype), 1, "C")


def test_a_group_that_fits_is_returned():
    group = example()
    assert checked(group, F32, *SHAPES) is group


class Sub(np.ndarray):
    """An array that is one to an entry point, too."""


def read_only(array):
    array.flags.writeable = False
    return array


WRONG = {
    "dtype": {"values": np.zeros((2, 3), F64)},
    "byte order": {"values": np.zeros((2, 3), ">f4")},
    "axes": {"values": np.zeros(6, F32)},
    "size": {"values": np.zeros((2, 2), F32)},
    "order": {"values": np.zeros((3, 2), F32).T},
    "strides": {"values": np.zeros((2, 6), F32)[:, ::2]},
    "read-only": {"values": read_only(np.zeros((2, 3), F32))},
    "unaligned": {"values": np.zeros(25, np.int8)[1:].view(F32).reshape(2, 3)},
    "integers": {"offsets": np.zeros(5, np.int32)},
    "tokens": {"tokens": np.zeros(2, np.int64)},
    "fewer": {"tokens": np.zeros(1, np.int32)},
}


@pytest.mark.parametrize("name", WRONG)
def test_what_an_entry_point_would_misread_is_refused(name):
    field = next(iter(WRONG[name]))
    with pytest.raises(ValueError, match=f"^Example.{field} must be a writable, C-contiguous array of shape"):
        checked(example(**WRONG[name]), F32, *SHAPES)


def test_entry_points_are_made_once():
    model = Model([LSTM(3)], input_size=2)
    model.forward(np.zeros((1, 2, 2), np.float32))
    cell = model.layers[0].cell
    found = entry_point(recurrent.forward, F32, cell)
    assert entry_point(recurrent.forward, np.dtype("float32"), type(cell)()) is found
    assert entry_point(recurrent.forward, F64, cell) is not found


def test_groups_have_few_fields_and_kernels_few_arguments():
    for group in vars(recurrent).values():
        if isinstance(group, type) and issubclass(group, tuple) and group is not NamedTuple:
            assert len(group._fields) <= 12
            assert all(name in group.__doc__ for name in group._fields), group
    for kernel in (recurrent.forward, recurrent.backward):
        assert kernel.py_func.__code__.co_argcount <= 12
