"""How functions that kernels inline are compiled: as code to link, neither optimised nor made machine code of by itself.

Numba compiles every function that a kernel calls as if it were run alone: two runs of LLVM's optimiser and one of its code
generator, whose results nobody uses where the function is inlined. Of what LSTM's first training step waits for, with 60 such
functions, that was a seventh.
"""

import warnings
from typing import Any

import numba
from numba.core.codegen import JITCodeLibrary
from numba.core.compiler import Compiler

# What `_LinkedLibrary` replaces, calls or sets: private to Numba, whose next version may have others (0.61.2 has these).
NAMES = (
    "_optimize_final_module", "_finalize_final_module", "_finalize_dynamic_globals", "_verify_declare_only_symbols", "_finalized",
    "codegen",
)  # fmt: skip


class _Nowhere:
    """In place of the engine that runs code: there is nothing to tell it of a function that it does not have."""

    @staticmethod
    def set_env(name, environment):
        pass


class _LinkedLibrary(JITCodeLibrary):
    """The LLVM module of one function, for others to link."""

    codegen = _Nowhere

    def _optimize_final_module(self):
        pass  # the kernel that it is inlined into is optimised as a whole

    def _finalize_final_module(self):
        self._finalize_dynamic_globals()
        self._verify_declare_only_symbols()
        self._finalized = True


class _LinkedCompiler(Compiler):
    """Numba's compiler, writing to a `_LinkedLibrary`."""

    def compile_extra(self, func):
        self.state.library = _LinkedLibrary(self.state.targetctx.codegen(), func.__qualname__)
        return super().compile_extra(func)


def options(library: type) -> dict[str, Any]:
    """Return the options of functions that are inlined, where Numba's libraries are of a class."""
    missing = [name for name in NAMES if not hasattr(library, name)]
    if missing:
        warnings.warn(
            f"Numba {numba.__version__} has no {', '.join(missing)}, which numbarnn.kernels.linked rests on: kernels take longer "
            "to compile, and are the same",
            RuntimeWarning,
            stacklevel=2,
        )
        return {"forceinline": True}
    return {"forceinline": True, "pipeline_class": _LinkedCompiler}


# Options of `numba.extending.overload` for what LLVM inlines always. For the CPU only: libraries of numba-cuda are none of Numba's,
# make PTX of a kernel as a whole anyway, and are told of inlined functions by `numbarnn.kernels.cuda.typing`.
INLINE = options(JITCodeLibrary)
