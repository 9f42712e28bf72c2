"""How kernels are compiled: one decorator, one cache (`numbarnn.kernels.cache`)."""

import functools

import numba

from numbarnn.kernels.cache import PACKAGE, KernelCache
from numbarnn.kernels.interrupts import DeferredInterrupt

COMPILING = "Ctrl-C was heard: a kernel is being compiled or loaded, which ends in a moment"


def jit(function):
    """Compile `function` for the CPU: no GIL, NumPy's division, the package's cache, no fast-math flags.

    Without flags an operation rounds in one way, wherever it stands: in the vector body of a loop or in its scalar tail. That
    equality to the bit for any number of threads rests on (under "contract" LLVM fused one or the other product of f c + i g:
    83 of 360 values of an LSTM differed). Speed that needs a flag is asked for by name: `numbarnn.kernels.scalar.fma`, `total`.
    """
    dispatcher = _dispatcher(function)
    dispatcher._cache = KernelCache(function)
    return dispatcher


@functools.cache
def uncached_twin(dispatcher):
    """Return a second dispatcher of the same kernel that never touches the disk.

    A record type defined outside the package would be pickled by reference beside the kernel's code, and no process that
    cannot import it could read that.
    """
    return _dispatcher(dispatcher.py_func)


def _dispatcher(function):
    dispatcher = numba.njit(nogil=True, error_model="numpy")(function)
    if numba.config.DISABLE_JIT:  # Python's function, of which `numbarnn doctor` says why nothing works
        return dispatcher
    # An exception in the middle of LLVM's work leaves its memory half freed: a double free was seen.
    dispatcher.compile = uninterrupted(dispatcher.compile)
    return dispatcher


def uninterrupted(build):
    """Return a function that compiles or loads a kernel, with Ctrl-C put off until it is done."""

    @functools.wraps(build)
    def compile_or_load(*arguments):
        with DeferredInterrupt(COMPILING):
            return build(*arguments)

    return compile_or_load


def kernel_for(dispatcher, record):
    """Return `dispatcher`, or its uncached twin when the type of `record` is not the package's own."""
    return dispatcher if own_record(record) else uncached_twin(dispatcher)


def own_record(record):
    """Return whether the type of a record is the package's own."""
    return type(record).__module__.partition(".")[0] == PACKAGE.name
