"""The cache on disk of kernels for CUDA: the rules of `numbarnn.kernels.cache` for numba-cuda's machine code.

Entries lie in a folder ``cuda`` of their own. Not imported in the simulator, which compiles nothing.
"""

import types

import numba_cuda
from numba.cuda.dispatcher import CUDACache, CUDACacheImpl

from numbarnn.kernels.cache import PackageLocator, StampedCache


class _Impl(PackageLocator, CUDACacheImpl):
    pass


class KernelCache(StampedCache, CUDACache):
    """The cache of one kernel for one type of values."""

    folder = "cuda"
    _impl_class = _Impl

    def __init__(self, py_func):
        super().__init__(py_func)
        self._launch_config_key, self._launch_config_sensitive_flag = None, False

    def _index_key(self, sig, codegen):
        # What numba-cuda pickles of a closure differs from process to process when that holds functions.
        return sig, codegen.magic_tuple(), (numba_cuda.__version__, *_parameters(self._py_func))

    def _variant(self):
        return _parameters(self._py_func)

    def mark_launch_config_sensitive(self):
        """Say that code which depends on blocks and threads cannot be kept; no kernel's here does."""
        return False


def _parameters(function):
    """Return what tells the functions of one maker apart: values that they close over, of functions the names and theirs."""
    found = []
    for cell in function.__closure__ or ():
        value = getattr(cell.cell_contents, "py_func", cell.cell_contents)
        if isinstance(value, types.FunctionType):
            found.append((value.__module__, value.__qualname__, *_parameters(value)))
        else:
            found.append(repr(value))
    return tuple(found)
