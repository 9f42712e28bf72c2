"""Denormal numbers as zero: the processor's mode, kept as it was for everybody else.

Numbers below 1.2e-38 (float32) or 2.2e-308 (float64) are *denormal*. Saturated gates, states that decay and moments of
an optimizer whose gradient has ended run into them, and many processors compute with them 10 to 100 times slower. Both
x86 (MXCSR: FTZ, DAZ) and ARM (FPCR: FZ) can take them as zero, in operands and in results. The mode belongs to a thread, so
results are the same for any number of threads only if each sets it, and it must not leak into the caller's own
arithmetic: it is set on entry and restored on exit, and all other bits of the register stay as they are.

There are two entries: `numbarnn.parallel.run` exchanges the mode around the jobs of the thread that calls it (its own
workers are always in it), and `numbarnn.kernels.cpu.step.step`, which runs inside the user's compiled code, does so
itself. Nested entries change nothing.
"""

import functools

import llvmlite.ir as ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from numbarnn.kernels.compile import jit
from numbarnn.kernels.groups import entry_point

FTZ_DAZ = 0x8000 | 0x0040  # bits of MXCSR: results, operands
FZ = 1 << 24  # bit of FPCR: both
FLUSH, KEEP = 0x7FFFFFFF, -1

_WORD, _LONG, _NOTHING, _BYTES = ir.IntType(32), ir.IntType(64), ir.VoidType(), ir.IntType(8).as_pointer()


def bits_of(triple: str) -> int:
    """Return the bits of the control register that mean "denormals are zero"; 0: unknown processor, nothing is set."""
    name = triple.partition("-")[0]
    return FTZ_DAZ if name in ("x86_64", "amd64") else FZ if name in ("aarch64", "arm64") else 0


def _read(builder, bits):
    if bits == FZ:
        return builder.call(_function(builder, "llvm.aarch64.get.fpcr", _LONG), [])
    word = cgutils.alloca_once(builder, _WORD)
    builder.call(_function(builder, "llvm.x86.sse.stmxcsr", _NOTHING, _BYTES), [builder.bitcast(word, _BYTES)])
    return builder.zext(builder.load(word), _LONG)


def _write(builder, bits, value):
    if bits == FZ:
        builder.call(_function(builder, "llvm.aarch64.set.fpcr", _NOTHING, _LONG), [value])
        return
    word = cgutils.alloca_once(builder, _WORD)
    builder.store(builder.trunc(value, _WORD), word)
    builder.call(_function(builder, "llvm.x86.sse.ldmxcsr", _NOTHING, _BYTES), [builder.bitcast(word, _BYTES)])


def _function(builder, name, result, *arguments):
    return cgutils.get_or_insert_function(builder.module, ir.FunctionType(result, arguments), name)


def write_exchange(builder, bits, new):
    """Emit the code of `exchange` for a processor's bits; return the mode before."""
    if not bits:
        return _LONG(0)
    register = _read(builder, bits)
    before, wanted = builder.and_(register, _LONG(bits)), builder.and_(new, _LONG(bits))
    keep = builder.icmp_signed("<", new, _LONG(0))
    with builder.if_then(builder.not_(builder.or_(keep, builder.icmp_unsigned("==", before, wanted)))):
        _write(builder, bits, builder.or_(builder.and_(register, _LONG(~bits & 0xFFFFFFFF)), wanted))
    return before


@intrinsic
def exchange(typingctx, new):
    """Set the mode of this thread, FLUSH or what an earlier call returned (KEEP: leave it), and return the mode before."""

    def codegen(context, builder, signature, args):
        return write_exchange(builder, bits_of(context.codegen().magic_tuple()[0]), args[0])

    return types.int64(types.int64), codegen


@intrinsic
def apart(typingctx):
    """Keep the function that calls this out of its callers, so that none of their arithmetic moves into the mode."""

    def codegen(context, builder, signature, args):
        builder.function.attributes.add("noinline")
        return context.get_dummy_value()

    return types.void(), codegen


@jit
def mode(new: int):
    """Call `exchange`, from Python."""
    return exchange(new)


@functools.cache
def mode_entry():
    """Return `mode` without Numba's dispatcher, which passes call three times each; compiled at the first call."""
    return entry_point(mode, None)
