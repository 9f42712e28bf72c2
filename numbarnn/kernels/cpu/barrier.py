"""A barrier in compiled code, for threads that run one kernel together: none goes on before all have come.

Its words are those of one call, each on a cache line of its own: how often a party has come; whether one never will, because it
raised before its kernel began or never started; how many threads of the pool are done. Waiting parties read the second too, so
whoever sets it frees the others.

A party spins for about 20 us, longer than a step takes, and then gives its processor away between two looks: where there are fewer
processors than parties, or their quota is used up, the one that is waited for must run.
"""

import ctypes
import os
from typing import NamedTuple

import llvmlite.binding
import llvmlite.ir as ir
import numpy as np
from numba.core import cgutils, types
from numba.extending import intrinsic

from numbarnn.kernels.compile import jit
from numbarnn.kernels.cpu.memory import ALIGNMENT, zeros
from numbarnn.kernels.groups import Integers1

LINE = ALIGNMENT // 8
# Where the words lie.
ARRIVALS, ABORT, DONE, WORDS = 0, LINE, 2 * LINE, 3 * LINE
SPINS = 500
# Spins that a thread of the pool needs, once it has said that it is done, to let others run Python.
RELEASE = 50

_GIVE_WAY = "numbarnn_give_way"
_SYSTEM = ctypes.CDLL(None).sched_yield if os.name == "posix" else ctypes.windll.kernel32.SwitchToThread
llvmlite.binding.add_symbol(_GIVE_WAY, ctypes.cast(_SYSTEM, ctypes.c_void_p).value)


class Team(NamedTuple):
    """The threads that run one kernel together.

    Attributes
    ----------
    words : of `new_words`
    parties : their number
    """

    words: Integers1
    parties: int


def new_words() -> np.ndarray:
    """Return the words of a barrier for one call."""
    return zeros((WORDS,), np.int64)


def abort(words: np.ndarray) -> None:
    """Free the parties that wait; what they have computed is worth nothing then."""
    words[ABORT] = 1


def report_done(words: np.ndarray) -> None:
    """Say that a thread of the pool is done; called with Python's lock."""
    words[DONE] += 1


def _pointer(context, builder, kind, array, index):
    return builder.gep(context.make_array(kind)(context, builder, array).data, [index])


@intrinsic
def fetch_add(typingctx, words, index, value):
    """Add to a word and return what it was; all that this thread wrote before is seen by who reads the sum."""

    def codegen(context, builder, signature, args):
        return builder.atomic_rmw("add", _pointer(context, builder, signature.args[0], *args[:2]), args[2], "acq_rel")

    return types.int64(words, types.intp, types.int64), codegen


@intrinsic
def _read(typingctx, words, index):
    """Read a word, and after it all that was written before it."""

    def codegen(context, builder, signature, args):
        return builder.load_atomic(_pointer(context, builder, signature.args[0], *args), "acquire", 8)

    return types.int64(words, types.intp), codegen


@intrinsic
def _pause(typingctx):
    """Tell the processor that this is a spin, where it has a word for that."""

    def codegen(context, builder, signature, args):
        name = context.codegen().magic_tuple()[0].partition("-")[0]
        if name in ("x86_64", "amd64"):
            kind = ir.FunctionType(ir.VoidType(), [])
            builder.call(cgutils.get_or_insert_function(builder.module, kind, "llvm.x86.sse2.pause"), [])
        return context.get_dummy_value()

    return types.void(), codegen


@intrinsic
def _give_way(typingctx):
    """Let another thread run on this processor."""

    def codegen(context, builder, signature, args):
        kind = ir.FunctionType(ir.IntType(32), [])
        builder.call(cgutils.get_or_insert_function(builder.module, kind, _GIVE_WAY), [])
        return context.get_dummy_value()

    return types.void(), codegen


@jit
def meet(words, arrivals):
    """Come to the barrier, and wait until parties have come `arrivals` times in all; return False if one never will."""
    fetch_add(words, ARRIVALS, 1)
    spins = 0
    while _read(words, ARRIVALS) < arrivals:
        if _read(words, ABORT) != 0:
            return False
        if spins < SPINS:
            _pause()
            spins += 1
        else:
            _give_way()
    return True


@jit
def leave(words, parties):
    """Let the other parties end first, if that is soon.

    Two threads that end at once both want Python's lock, and one of them sleeps: LSTM(128), 100 steps, 191 us instead of 170.
    """
    spins = 0
    while _read(words, DONE) < parties - 1 and spins < SPINS:
        _pause()
        spins += 1
    if parties > 1:
        for _ in range(RELEASE):
            _pause()
