"""Declaration, compilation, cache and launch of kernels.

A kernel is made by a function of the type of its values, and declared with the kinds of its arguments::

    @kernel("x x n r")
    def scale(real):
        def scale(values, result, count, factor):
            for i in range(cuda.grid(1), count, cuda.gridsize(1)):
                result[i] = factor * values[i]

        return scale

    scale(blocks_for(count), THREADS, values, result, count, 2.0)

====  ============================================================================================================
kind  argument
====  ============================================================================================================
x     pointer to values of the kernel's type (`numbarnn.kernels.cuda.memory.Buffer`, or None for one that is not read)
i     pointer to int32
l     pointer to int64
n     integer (int64)
q     unsigned integer (uint64)
r     a value of the kernel's type
c     record of a cell or of a loss term; its type selects the functions
====  ============================================================================================================

A kernel with many arguments takes them in groups, each a `typing.NamedTuple` whose docstring describes the fields and whose
annotations say what they are: `Values` (x), `Integers32` (i), `Integers64` (l), `Unsigned` (q), int or bool (n), float (r). The
class stands among the kinds, ``@kernel("c", Example, "x n")``, and the kernel unpacks the group in its first lines. Numba makes
an argument of the machine's of every field, so a group costs a kernel nothing.

Blocks are a number or a tuple of up to three, threads a number. ``dynamic`` is the count of values of the kernel's type in the
block's dynamic shared memory, ``cuda.shared.array(0, real)``.

With ``NUMBA_ENABLE_CUDASIM=1`` the kernels run in Numba's simulator: in Python, a thread of the host for each of the device's,
with small blocks, so that tests of small nets take seconds.
"""

import ctypes
import functools
import itertools
import struct
import sys
import threading
from typing import Annotated, get_args, get_type_hints

import numpy as np
from numba import cuda

from numbarnn.kernels.compile import own_record, uninterrupted
from numbarnn.kernels.cuda.driver import SIMULATED, check, enter, faults_of
from numbarnn.kernels.cuda.memory import Buffer

if SIMULATED:
    from numba import types
else:
    from cuda.bindings import driver
    from numba.cuda import types  # numba-cuda's own
# Threads of a block where the kernel leaves the choice.
THREADS = 4 if SIMULATED else 256
# What the threads of a block are a multiple of.
WARP = 4 if SIMULATED else 32
MOST_BLOCKS = 2 if SIMULATED else 4096
REAL = {np.dtype(np.float32): types.float32, np.dtype(np.float64): types.float64}

# Fields of groups that are pointers, None for one that is not read, and an unsigned integer.
Values, Integers32, Integers64 = (Annotated[Buffer | None, kind] for kind in "xil")
Unsigned = Annotated[int, "q"]
_SCALARS = {int: "n", bool: "n", float: "r"}


def _kinds_of(kind) -> tuple[str, ...]:
    """Return the kinds of the fields of a group's class; of another kind itself."""
    if isinstance(kind, str):
        return (kind,)
    hints = get_type_hints(kind, include_extras=True)
    return tuple(_SCALARS[hint] if hint in _SCALARS else get_args(hint)[1] for hint in map(hints.get, kind._fields))


class Kernel:
    """A kernel for every type of values and every record, compiled when it is first launched.

    Attributes
    ----------
    make : callable
        Makes the kernel of a type of values.
    kinds : tuple
        What the arguments are: letters and classes of groups.
    dtypes : tuple of str
        What it is for.
    options : dict
        Those of ``cuda.jit``.
    """

    def __init__(self, make, *kinds, dtypes=("float32", "float64"), **options):
        self.make, self.dtypes, self.options = make, dtypes, options
        self.kinds = tuple(itertools.chain(*(kind.split() if isinstance(kind, str) else (kind,) for kind in kinds)))
        self._fields = [_kinds_of(kind) for kind in self.kinds]
        # Which arguments stand for several: classes of groups, "c"; None for one value.
        self._groups = [None if isinstance(kind, str) and kind != "c" else kind for kind in self.kinds]
        self._record = self.kinds.index("c") if "c" in self.kinds else None
        # Where values of the kernel's type are: (argument, field).
        self._reals = [(n, f) for n, kinds in enumerate(self._fields) for f, kind in enumerate(kinds) if kind == "x"]
        self.name = getattr(make, "__name__", "kernel")
        self.__doc__ = make.__doc__
        self._compiled = {}

    def __repr__(self):
        return f"<CUDA kernel {self.name}({' '.join(getattr(kind, '__name__', kind) for kind in self.kinds)})>"

    @functools.cache  # noqa: B019 - kernels live as long as the process
    def dispatcher(self, real, cached=True):
        """Return Numba's dispatcher for a type of values, `types.float32` or `types.float64`; `cached`: with a cache on disk."""
        function = self.make(real)
        if SIMULATED:
            return cuda.jit(function)
        # What profilers show: the kernel's own name, not that of its maker's inner function, which others have too.
        function.__name__ = function.__qualname__ = self.name
        from numbarnn.kernels.cuda import cache

        dispatcher = cuda.jit(**self.options)(function)
        if cached:
            dispatcher._cache = cache.KernelCache(function)
        return dispatcher

    def signature(self, real, record=None) -> tuple:
        """Return Numba's types of the arguments, for a record where there is one."""
        known = {
            "x": types.CPointer(real), "i": types.CPointer(types.int32), "l": types.CPointer(types.int64), "n": types.int64,
            "q": types.uint64, "r": real,
        }  # fmt: skip
        if record is not None:
            # Options that are real numbers take the kernel's type.
            options = [real if isinstance(value, float) else types.int64 for value in record]
            known["c"] = types.BaseTuple.from_types(options, type(record))
        return tuple(
            known[kind] if isinstance(kind, str) else types.BaseTuple.from_types([known[f] for f in fields], kind)
            for kind, fields in zip(self.kinds, self._fields, strict=True)
        )

    def load(self, real, record=None):
        """Return the compiled kernel, from the disk where it is there."""
        from numbarnn.kernels.cuda import typing

        typing.tell_inlined()
        # A class from elsewhere would be part of the index on disk, and break it where that cannot be imported.
        cached = record is None or own_record(record)
        return uninterrupted(self.dispatcher(real, cached).compile)(self.signature(real, record))

    def __call__(self, blocks, threads: int, *arguments, dynamic: int = 0) -> None:
        """Launch the kernel; nothing waits for it."""
        if len(arguments) != len(self.kinds):
            raise TypeError(f"{self.name} takes {len(self.kinds)} arguments, got {len(arguments)}")
        blocks = blocks if isinstance(blocks, tuple) else (blocks,)
        if 0 in blocks:
            return
        flat = self._flattened(arguments)
        dtype = self._dtype_of(arguments)
        if SIMULATED:
            self._simulate(dtype, blocks, threads, arguments, dynamic)
            return
        record = None if self._record is None else arguments[self._record]
        key = dtype, record.__class__
        enter()
        found = self._compiled.get(key)
        if found is None:
            with faults_of(f"loading of kernel {self.name}"):
                loaded = self.load(REAL[dtype], record)._codelibrary.get_cufunc()
            function = driver.CUfunction(int(loaded.handle))
            found = loaded, function, LaunchArguments(self.name, self._formats(dtype, record))
            self._compiled[key] = found
        _, function, there = found
        grid, nbytes = (*blocks, 1, 1)[:3], dynamic * dtype.itemsize
        with there.lock:  # the driver copies the arguments before it returns
            there.set(flat)
            result = driver.cuLaunchKernel(function, *grid, threads, 1, 1, nbytes, DEFAULT_STREAM, there.address, 0)
        check(result, "kernel ", self.name)

    def _flattened(self, arguments):
        """Return the arguments with the fields of groups and records in place of these."""
        flat = []
        for group, argument in zip(self._groups, arguments, strict=True):
            if group is None:
                flat.append(argument)
            elif argument.__class__ is group or group == "c":
                flat += argument
            else:
                raise TypeError(f"{self.name} takes a {group.__name__}, got {argument!r}")
        return flat

    def _dtype_of(self, arguments):
        """Return the dtype of the first values among the arguments."""
        for n, field in self._reals:
            buffer = arguments[n] if self.kinds[n] == "x" else arguments[n][field]
            if buffer is not None:
                return buffer.dtype
        raise TypeError(f"{self.name} got no values")

    def _formats(self, dtype, record):
        """Return the formats of the flattened arguments as `LaunchArguments` takes them."""
        known = {"x": "Q", "i": "Q", "l": "Q", "q": "Q", "n": "q", "r": _REAL_FORMAT[dtype]}
        options = [known["r" if isinstance(value, float) else "n"] for value in record or ()]
        return [f for kinds in self._fields for f in (options if kinds == ("c",) else map(known.get, kinds))]

    def _simulate(self, dtype, blocks, threads, arguments, dynamic):
        values = []
        for kind, fields, argument in zip(self.kinds, self._fields, arguments, strict=True):
            if isinstance(kind, str):
                values.append(_simulated(kind, argument, dtype))
            else:
                values.append(kind(*(_simulated(*field, dtype) for field in zip(fields, argument, strict=True))))
        interval = sys.getswitchinterval()
        # The simulator polls its threads, and with Python's 5 ms it waits for itself: 1.1 s instead of 0.16 s for two passes.
        sys.setswitchinterval(1e-4)
        try:
            self.dispatcher(REAL[dtype])[blocks, threads, 0, dynamic * dtype.itemsize](*values)
        finally:
            sys.setswitchinterval(interval)


class LaunchArguments:
    """Memory from which the driver takes the arguments of a kernel's launches: 8 bytes for each, and their addresses.

    One call packs all values: a launch of 15 arguments takes its host 4.4 us, on a stand-in for the driver, and 9.7 us where each
    is made a ctypes object.

    Parameters
    ----------
    name : str
        The kernel's.
    formats : list of str
        Those of `struct`, of 8 bytes each.

    Attributes
    ----------
    address : int
        Where the addresses of the arguments are.
    lock : threading.Lock
        To be held from `set` to the end of the launch.
    """

    def __init__(self, name: str, formats):
        self.name, self.lock = name, threading.Lock()
        self.values = (ctypes.c_uint64 * len(formats))()
        first = ctypes.addressof(self.values)
        self._addresses = (ctypes.c_void_p * len(formats))(*range(first, first + ctypes.sizeof(self.values), 8))
        self.address = ctypes.addressof(self._addresses)
        self._pack = struct.Struct("=" + "".join(formats)).pack_into

    def set(self, values) -> None:
        """Set the arguments: numbers, and for pointers `Buffer` or None."""
        packed = [v.pointer if v.__class__ is Buffer else 0 if v is None else v for v in values]
        try:
            self._pack(self.values, 0, *packed)
        except OverflowError:  # numbers beyond float32, which are infinite there
            self._pack(self.values, 0, *(ctypes.c_float(v).value if isinstance(v, float) else v for v in packed))
        except struct.error as error:
            raise TypeError(f"kernel {self.name} got an argument of another kind: {error}") from None


def _simulated(kind, value, dtype):
    """Return an argument as the simulator's kernels take it."""
    if kind in "xil":
        return np.empty(0, dtype) if value is None else value.values
    return {"r": dtype.type, "q": np.uint64, "n": int, "c": lambda record: record}[kind](value)


_REAL_FORMAT = {np.dtype(np.float32): "f4x", np.dtype(np.float64): "d"}
DEFAULT_STREAM = None if SIMULATED else driver.CUstream(0)


def kernel(*kinds, **options):
    """Return a decorator that makes a `Kernel` of a function of the type of values.

    Kinds are strings of letters and classes of groups, in the order of the arguments. Options are `dtypes`, the names of the types
    that it is for, and those of ``cuda.jit``.
    """
    return lambda make: Kernel(make, *kinds, **options)


def device(function):
    """Mark a function that kernels call; in the simulator it is called as it is."""
    return function if SIMULATED else cuda.jit(device=True)(function)


class _Running:
    """``numba.cuda`` as the simulator's running kernel sees it, for functions outside the kernel's own module."""

    def __getattr__(self, name):
        from numba.cuda.simulator import kernel as simulator

        return getattr(simulator._get_kernel_context(), name)


# For functions of kernels that stand in a module of their own and use barriers or shared memory.
running = _Running() if SIMULATED else cuda


def blocks_for(count: int, threads: int = THREADS) -> int:
    """Return the blocks for a loop ``for i in range(cuda.grid(1), count, cuda.gridsize(1))``."""
    return min(-(-count // threads), MOST_BLOCKS)
