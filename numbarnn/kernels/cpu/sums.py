"""Sums in an order that no processor changes.

LLVM may vectorise a sum only where it may reorder it, and then the vectors of the processor decide how: a softmax on AVX2
differed from one on AVX-512 (tests/test_bits.py). Here the partial sums are as many on every target, and LLVM deals them to the
registers that there are.
"""

import llvmlite.ir as ir
import numpy as np
from numba.core import cgutils, types
from numba.extending import intrinsic

from numbarnn.kernels.cpu.simd import INDEX, scalar_type
from numbarnn.kernels.scalar import inlined

LINE = 64  # bytes of the partial sums of `total`
WIDE = 32  # partial sums of `sum_of_squares`, which runs over all parameters: enough to hide the latency of an addition


@inlined
def total(values, at, count):
    """Return the sum of values[at : at + count]: of each lane of a cache line, then of the lanes by halves, then with the rest."""
    result, done = _lanes(values, at, count)
    for i in range(at + done, at + count):
        result += values[i]
    return result


@inlined
def sum_of_squares(values):
    """Return the sum of the squares of an array in float64, in the order of `total`, with `WIDE` lanes."""
    result, done = _squares(values, values.size)
    for i in range(done, values.size):
        value = np.float64(values[i])
        result += value * value
    return result


@intrinsic
def _lanes(typingctx, values, at, count):
    """Return the sum of whole lines, and how many values they are."""

    def codegen(context, builder, signature, args):
        data = builder.gep(context.make_array(values)(context, builder, args[0]).data, [args[1]])
        lanes = LINE * 8 // values.dtype.bitwidth
        sums = _sum(context, builder, signature, data, args[2], lanes, lambda vector: vector)
        return context.make_tuple(builder, signature.return_type, sums)

    return types.Tuple((values.dtype, types.intp))(values, types.intp, types.intp), codegen


@intrinsic
def _squares(typingctx, values, count):
    """Return the sum of the squares of whole blocks of `WIDE` values, and how many values they are."""

    def codegen(context, builder, signature, args):
        data = context.make_array(values)(context, builder, args[0]).data

        def squares(vector):
            if values.dtype == types.float32:
                vector = builder.fpext(vector, ir.VectorType(ir.DoubleType(), WIDE))
            return builder.fmul(vector, vector)

        sums = _sum(context, builder, signature, data, args[1], WIDE, squares)
        return context.make_tuple(builder, signature.return_type, sums)

    return types.Tuple((types.float64, types.intp))(values, types.intp), codegen


def _sum(context, builder, signature, data, count, lanes, of):
    """Emit the sum of what `of` makes of whole blocks of values; return it, and how many values they are."""
    size = signature.args[0].dtype.bitwidth // 8
    block = ir.VectorType(scalar_type(signature.args[0].dtype), lanes).as_pointer()
    vector = ir.VectorType(scalar_type(signature.return_type[0]), lanes)
    partial = cgutils.alloca_once_value(builder, ir.Constant(vector, [0.0] * lanes))
    done = builder.and_(count, INDEX(-lanes))
    with cgutils.for_range_slice(builder, INDEX(0), done, INDEX(lanes)) as (index, _):
        values = builder.load(builder.bitcast(builder.gep(data, [index]), block), align=size)
        builder.store(builder.fadd(builder.load(partial), of(values)), partial)
    sums = builder.load(partial)
    while lanes > 1:
        lanes //= 2
        low, high = (
            builder.shuffle_vector(sums, sums, ir.Constant(ir.VectorType(ir.IntType(32), lanes), list(half)))
            for half in (range(lanes), range(lanes, 2 * lanes))
        )
        sums = builder.fadd(low, high)
    return builder.extract_element(sums, ir.IntType(32)(0)), done
