"""The speed limit of the processor at this moment: multiply-adds in registers, with no memory in sight."""

import time
from typing import NamedTuple

import llvmlite.ir as ir
import numba
from numba.core import cgutils, types
from numba.extending import intrinsic

from numbarnn.kernels.cpu.simd import target

CHAINS = 12  # independent sums, enough to hide the latency of a multiply-add


@intrinsic
def _loop(typingctx, count):
    def codegen(context, builder, signature, args):
        size, fused = target()
        lanes = size // 4
        vector, index = ir.VectorType(ir.FloatType(), lanes), ir.IntType(64)
        fma = cgutils.get_or_insert_function(
            builder.module, ir.FunctionType(vector, [vector] * 3), f"llvm.fma.v{lanes}f32"
        )
        undefined = ir.Constant(vector, ir.Undefined)
        small = builder.fmul(builder.sitofp(args[0], ir.FloatType()), ir.Constant(ir.FloatType(), 1e-30))
        first = builder.insert_element(undefined, small, ir.IntType(32)(0))
        x = builder.shuffle_vector(first, undefined, ir.Constant(ir.VectorType(ir.IntType(32), lanes), [0] * lanes))
        before, loop, done = builder.block, builder.append_basic_block("loop"), builder.append_basic_block("done")
        builder.branch(loop)
        builder.position_at_end(loop)
        left = builder.phi(index)
        left.add_incoming(args[0], before)
        sums = [builder.phi(vector) for _ in range(CHAINS)]
        new = []
        for total in sums:
            total.add_incoming(x, before)
            new.append(builder.call(fma, [total, x, x]) if fused else builder.fadd(builder.fmul(total, x), x))
        rest = builder.sub(left, index(1))
        left.add_incoming(rest, loop)
        for total, value in zip(sums, new, strict=True):
            total.add_incoming(value, loop)
        builder.cbranch(builder.icmp_signed(">", rest, index(0)), loop, done)
        builder.position_at_end(done)
        result = new[0]
        for value in new[1:]:
            result = builder.fadd(result, value)
        return builder.extract_element(result, ir.IntType(32)(0))

    return types.float32(types.int64), codegen


@numba.njit(nogil=True)
def _run(count):
    return _loop(count)


class Limit(NamedTuple):
    """A measurement: float32 GFLOP/s of all threads together, and the part of its time that these threads had a processor."""

    gflops: float
    share: float


def limit(n_threads: int, seconds: float = 0.02) -> Limit:
    """Measure multiply-adds in registers, in about `seconds` on a processor of 4 GHz that makes one a cycle.

    A share well below 1 says that other processes want the processors, also where it has been so all the time and no better figure
    is known.
    """
    from numbarnn import parallel

    lanes = target()[0] // 4
    _run(1)
    count = int(seconds * 4e9 / CHAINS)
    started, used = time.perf_counter(), time.process_time()
    parallel.run([lambda: _run(count)] * n_threads)
    wall, used = time.perf_counter() - started, time.process_time() - used
    return Limit(n_threads * count * CHAINS * lanes * 2 / wall / 1e9, used / wall / n_threads)
