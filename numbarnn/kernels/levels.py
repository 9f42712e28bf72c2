"""Levels of processors: what machine code is made for, where it is to run on more than the processor at hand.

The levels of x86-64 are those of its psABI (System V ABI, AMD64 supplement, section 3.1.1), by the names that compilers know;
each includes the ones before it. Numba knows one processor a process, so code for a level is made in a child process whose
environment has `environment` of it. Which level this process runs is chosen by `numbarnn.kernels.prebuilt`.
"""

import functools
import os
import sys
from typing import NamedTuple


class Level(NamedTuple):
    """One level.

    Attributes
    ----------
    name : str
        What compilers call it, and ``NUMBA_CPU_NAME`` takes.
    features : tuple of str
        Of LLVM, all that code for it may use, those of the levels below included.
    vector : int
        Bytes of a vector register.
    fused : bool
        Whether it multiplies and adds in one operation. The bits of results are the same on all levels that do.
    """

    name: str
    features: tuple[str, ...]
    vector: int
    fused: bool


_V2 = ("cx16", "sahf", "popcnt", "sse3", "sse4.1", "sse4.2", "ssse3")
_V3 = (*_V2, "avx", "avx2", "bmi", "bmi2", "f16c", "fma", "lzcnt", "movbe", "xsave")
_V4 = (*_V3, "avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl")

# From the least to the highest.
LEVELS = {
    level.name: level
    for level in (
        Level("x86-64-v2", _V2, 16, False),
        Level("x86-64-v3", _V3, 32, True),
        Level("x86-64-v4", _V4, 64, True),
    )
}


def features_of(level: Level) -> str:
    """Return the features of a level as LLVM takes them."""
    return ",".join(f"+{name}" for name in level.features)


def environment(level: Level) -> dict[str, str]:
    """Return the environment variables of a process in which Numba compiles for a level."""
    # Native is what Numba compiles for, which is the level.
    return {"NUMBA_CPU_NAME": level.name, "NUMBA_CPU_FEATURES": features_of(level), "NUMBARNN_LEVEL": "native"}


def import_path() -> list[str]:
    """Return the folders that this process imports from, for a child in whatever folder that is started in."""
    return [os.fspath(entry) or os.getcwd() for entry in sys.path if isinstance(entry, (str, os.PathLike))]


@functools.cache
def host_features() -> frozenset[str]:
    """Return the features of the processor at hand, by LLVM's names; empty where LLVM cannot tell."""
    import llvmlite.binding as llvm

    try:
        return frozenset(name for name, has in llvm.get_host_cpu_features().items() if has)
    except RuntimeError:
        return frozenset()


def runs_here(level: Level) -> bool:
    """Return whether the processor at hand has all that code for a level may use."""
    return host_features() >= set(level.features)
