"""The decorator that compiles kernels; their cache is `numbarnn.kernels.cache`."""

import functools

import numba
from numba.core import types

from numbarnn.kernels import prebuilt
from numbarnn.kernels.cache import PACKAGE, KernelCache
from numbarnn.kernels.interrupts import DeferredInterrupt
from numbarnn.kernels.records import holds_own

if numba.config.DISABLE_JIT:
    raise ImportError(
        "numbarnn computes with compiled kernels alone, but Numba's compiler is off: unset NUMBA_DISABLE_JIT"
    )

COMPILING = "Ctrl-C was heard: a kernel is being compiled or loaded, which ends in a moment"


def jit(function):
    """Compile `function` for the CPU: no GIL, NumPy's division, the package's cache, no fast-math flags.

    Without flags an operation rounds in one way, wherever it stands: in the vector body of a loop or in its scalar tail. That
    equality to the bit for any number of threads rests on (under "contract" LLVM fused one or the other product of f c + i g:
    83 of 360 values of an LSTM differed). Speed that needs a flag is asked for by name: `numbarnn.kernels.scalar.fma`.
    """
    return _compiled(function)


def bare(function):
    """Compile `function` as `jit` does, without counts of references: it may make arrays of addresses, and must allocate none.

    Nothing in its code then needs Numba's runtime. (Counts that are never taken cost a call each: 124 of them in `walk`.)
    """
    return _compiled(function, _nrt=False)


def _compiled(function, **options):
    # Nothing takes a kernel as a C function: it is called by Python, by other kernels, or by its address as they call it.
    dispatcher = numba.njit(nogil=True, error_model="numpy", no_cfunc_wrapper=True, **options)(function)
    # An exception in the middle of LLVM's work leaves its memory half freed: a double free was seen.
    dispatcher.compile = uninterrupted(dispatcher.compile)
    dispatcher._cache = _Cache(function)
    return dispatcher


class _Cache(KernelCache):
    """The cache of a kernel, which looks into folders of prebuilt ones first and leaves no trace of a cell of the user's own.

    A record type defined outside the package would be pickled by reference beside the kernel's code, and no process that
    cannot import it could read that.
    """

    def _index_key(self, sig, codegen):
        sig, _, code = super()._index_key(sig, codegen)
        return sig, prebuilt.kernel_target(), code

    def _candidates(self, sig, codegen):
        indexed, _, code = self._index_key(sig, codegen)
        for folder in prebuilt.chosen().folders:
            yield folder, (indexed, prebuilt.made_for(), code)
        yield from super()._candidates(sig, codegen)

    def load_overload(self, sig, target_context):
        """Return what is on disk for a signature, or None."""
        return None if foreign(sig) else super().load_overload(sig, target_context)

    def save_overload(self, sig, data):
        """Write what was compiled."""
        if not foreign(sig):
            super().save_overload(sig, data)


def foreign(signature) -> bool:
    """Return whether a class from outside the package is anywhere in the types of a signature: of a record, or in a group."""
    return any(map(_foreign, signature))


def _foreign(kind):
    if isinstance(kind, types.BaseNamedTuple) and not _own(kind.instance_class):
        return True
    return holds_own(kind) or any(map(_foreign, getattr(kind, "types", ())))


def uninterrupted(build):
    """Return a function that compiles or loads a kernel, with Ctrl-C put off until it is done."""

    @functools.wraps(build)
    def compile_or_load(*arguments):
        with DeferredInterrupt(COMPILING):
            return build(*arguments)

    return compile_or_load


def own_record(record):
    """Return whether the type of a record is the package's own."""
    return _own(type(record))


def _own(record_class):
    return record_class.__module__.partition(".")[0] == PACKAGE.name
