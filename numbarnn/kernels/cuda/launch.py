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

Blocks are a number or a tuple of up to three, threads a number. ``dynamic`` is the count of values of the kernel's type in the
block's dynamic shared memory, ``cuda.shared.array(0, real)``.

With ``NUMBA_ENABLE_CUDASIM=1`` the kernels run in Numba's simulator: in Python, a thread of the host for each of the device's,
with small blocks, so that tests of small nets take seconds.
"""

import ctypes
import functools
import sys

import numpy as np
from numba import config, cuda

from numbarnn.kernels.compile import own_record, uninterrupted

SIMULATED = bool(config.ENABLE_CUDASIM)
if SIMULATED:
    from numba import types
else:
    from cuda.core import LaunchConfig
    from cuda.core import launch as core_launch
    from numba.cuda import types  # numba-cuda's own
    from numba.cuda.cudadrv.driver import _to_core_stream
# Threads of a block where the kernel leaves the choice.
THREADS = 4 if SIMULATED else 256
# What the threads of a block are a multiple of.
WARP = 4 if SIMULATED else 32
MOST_BLOCKS = 2 if SIMULATED else 4096
REAL = {np.dtype(np.float32): types.float32, np.dtype(np.float64): types.float64}


class Kernel:
    """A kernel for every type of values and every record, compiled when it is first launched."""

    def __init__(self, make, kinds: str, dtypes=("float32", "float64"), **options):
        self.make, self.kinds, self.dtypes, self.options = make, tuple(kinds.split()), dtypes, options
        self.name = getattr(make, "__name__", "kernel")
        self.__doc__ = make.__doc__
        self._compiled = {}

    def __repr__(self):
        return f"<CUDA kernel {self.name}({' '.join(self.kinds)})>"

    @functools.cache  # noqa: B019 - kernels live as long as the process
    def dispatcher(self, real, cached=True):
        """Return Numba's dispatcher for a type of values, `types.float32` or `types.float64`; `cached`: with a cache on disk."""
        function = self.make(real)
        if SIMULATED:
            return cuda.jit(function)
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
        return tuple(known[kind] for kind in self.kinds)

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
        dtype = next(a.dtype for a, kind in zip(arguments, self.kinds, strict=True) if kind == "x" and a is not None)
        if SIMULATED:
            self._simulate(dtype, blocks, threads, arguments, dynamic)
            return
        record = next((a for a, kind in zip(arguments, self.kinds, strict=True) if kind == "c"), None)
        key = dtype, type(record)
        found = self._compiled.get(key)
        if found is None:
            found = self._compiled[key] = self.load(REAL[dtype], record)._codelibrary.get_cufunc().kernel
        real, values = _REAL_ARGUMENT[dtype], []
        for kind, argument in zip(self.kinds, arguments, strict=True):
            if kind in "xil":
                values.append(0 if argument is None else argument.pointer)
            elif kind == "n":
                values.append(ctypes.c_int64(argument))
            elif kind == "r":
                values.append(real(argument))
            elif kind == "q":
                values.append(ctypes.c_uint64(argument))
            else:
                values += [real(v) if isinstance(v, float) else ctypes.c_int64(v) for v in argument]
        _launch(found, (*map(int, blocks), 1, 1)[:3], int(threads), int(dynamic * dtype.itemsize), values)

    def _simulate(self, dtype, blocks, threads, arguments, dynamic):
        values = []
        for kind, argument in zip(self.kinds, arguments, strict=True):
            if kind in "xil":
                argument = np.empty(0, dtype) if argument is None else argument.values
            elif kind == "r":
                argument = dtype.type(argument)
            elif kind == "q":
                argument = np.uint64(argument)
            elif kind == "n":
                argument = int(argument)
            values.append(argument)
        interval = sys.getswitchinterval()
        # The simulator polls its threads, and with Python's 5 ms it waits for itself: 1.1 s instead of 0.16 s for two passes.
        sys.setswitchinterval(1e-4)
        try:
            self.dispatcher(REAL[dtype])[blocks, threads, 0, dynamic * dtype.itemsize](*values)
        finally:
            sys.setswitchinterval(interval)


_REAL_ARGUMENT = {np.dtype(np.float32): ctypes.c_float, np.dtype(np.float64): ctypes.c_double}


@functools.lru_cache(maxsize=4096)
def _configuration(grid, threads, nbytes):
    return LaunchConfig(grid=grid, block=(threads, 1, 1), shmem_size=nbytes)


@functools.cache
def _default_stream():
    return _to_core_stream(0)


def _launch(compiled, grid, threads, nbytes, values):
    """Launch a compiled kernel into the default stream, as numba-cuda's dispatcher does but for its conversion of arguments.

    That looks up the type of every argument again (published figures: 30 us for 16 arrays, 15 us for 16 numbers).
    """
    core_launch(_default_stream(), _configuration(grid, threads, nbytes), compiled, *values)


def kernel(kinds: str, **options):
    """Return a decorator that makes a `Kernel` of a function of the type of values.

    Options are `dtypes`, the names of the types that it is for, and those of ``cuda.jit``.
    """
    return lambda make: Kernel(make, kinds, **options)


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
