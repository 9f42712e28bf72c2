"""Launches on CUDA: groups of arguments, and what a launch refuses."""

import ctypes
import importlib
import pkgutil
import sys
from typing import NamedTuple

import cuda_device
import numpy as np
import pytest
from conftest import DTYPES

import numbarnn.kernels.cuda as package
from numbarnn.kernels.cuda import persistent
from numbarnn.kernels.cuda.groups import SpacedRows
from numbarnn.kernels.cuda.launch import Integers64, Kernel, LaunchArguments, Unsigned, Values, kernel
from numbarnn.kernels.cuda.memory import Staging, upload


class Everything(NamedTuple):
    """A field of every kind."""

    values: Values
    absent: Values
    offsets: Integers64
    count: int
    flag: bool
    factor: float
    seed: Unsigned


def _echo(real):
    def echo(rows, everything, result):
        row_values, row, given = rows
        values, absent, offsets, count, flag, factor, seed = everything
        result[0] = row_values[row]
        result[1] = absent[0] if given else values[offsets[1]]
        result[2] = real(count)
        result[3] = real(2) if flag else real(3)
        result[4] = factor
        result[5] = real(seed)

    return echo


echo = kernel(SpacedRows, Everything, "x")(_echo)


@pytest.mark.skipif(cuda_device.REAL, reason="the cache on disk would hold a class of this file")
@pytest.mark.parametrize("dtype", DTYPES)
def test_groups_arrive_field_by_field(dtype):
    values, offsets = upload(np.array([1.0, 2.0, 5.0], dtype)), upload(np.array([0, 2], np.int64))
    result = upload(np.zeros(6, dtype))
    echo(1, 1, SpacedRows(values, 1, False), Everything(values, None, offsets, 7, True, 0.5, 2**33), result)
    assert result.get().tolist() == [2, 5, 7, 2, 0.5, 2**33]


@pytest.mark.parametrize(("dtype", "real"), [("float32", ctypes.c_float), ("float64", ctypes.c_double)])
def test_a_card_gets_the_fields_in_their_order(dtype, real):
    """What the driver reads at a launch on a card: addresses of numbers and of values."""
    values = upload(np.zeros(9, dtype)).part(2)
    flat = echo._flattened((SpacedRows(values, 1, False), Everything(values, None, values, -7, True, 0.5, 2**63), None))
    there = LaunchArguments("echo", echo._formats(values.dtype, None))
    there.set(flat)
    addresses = (ctypes.c_void_p * len(flat)).from_address(there.address)
    kinds = [real if value == 0.5 else ctypes.c_int64 if value == -7 else ctypes.c_uint64 for value in flat]
    found = [kind.from_address(address).value for kind, address in zip(kinds, addresses, strict=True)]
    assert found == [values.pointer, 1, 0, values.pointer, 0, values.pointer, -7, 1, 0.5, 2**63, 0]
    there.set([value if value != 0.5 else 1e300 for value in flat])
    assert real.from_address(addresses[8]).value == (np.inf if dtype == "float32" else 1e300)
    with pytest.raises(TypeError, match="kernel echo got an argument of another kind"):
        there.set([0.5, *flat[1:]])
    with pytest.raises(TypeError, match="kernel echo"):
        there.set([Staging().add(np.zeros(1)), *flat[1:]])  # not sent


def test_a_launch_refuses_other_groups():
    values = upload(np.zeros(3))
    with pytest.raises(TypeError, match="echo takes a SpacedRows, got"):
        echo(1, 1, (values, 1, True), None, values)
    with pytest.raises(TypeError, match="takes 3 arguments, got 2"):
        echo(1, 1, SpacedRows(values, 1), values)
    assert repr(echo) == "<CUDA kernel _echo(SpacedRows Everything x)>"


def kernels():
    """Return all kernels of the package."""
    modules = [importlib.import_module(f"{package.__name__}.{m.name}") for m in pkgutil.iter_modules(package.__path__)
               if m.name not in ("cache", "typing")]  # fmt: skip
    found = set()
    for module in modules:
        for value in vars(module).values():
            for entry in value.values() if isinstance(value, dict) else (value,):
                found |= {entry} if isinstance(entry, Kernel) else set()
    return found


def groups():
    """Return the groups of their arguments."""
    found = {kind for kernel in kernels() for kind in kernel.kinds if not isinstance(kind, str)}
    return sorted(found, key=lambda group: group.__name__)


def test_profiles_show_every_kernel_by_a_name_of_its_own():
    names = [kernel.name for kernel in kernels()]
    assert len(names) == len(set(names))
    assert {"multiply", *(f"persistent_forward_{resident}" for resident in persistent.RESIDENT)} <= set(names)


@pytest.mark.parametrize("group", groups(), ids=lambda group: group.__name__)
def test_groups_have_few_fields_all_of_which_are_described(group):
    assert len(group._fields) <= 12
    words = set(group.__doc__.replace(",", " ").split())
    assert set(group._fields) <= words
    assert "Attributes\n" in group.__doc__
    assert vars(sys.modules[group.__module__])[group.__name__] is group
