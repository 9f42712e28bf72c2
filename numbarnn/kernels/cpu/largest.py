"""The largest of some values, compared as integers.

The order in which integers are compared LLVM may choose, that of floats it may not, because of NaN and of zeros with signs.
"""

import llvmlite.ir as ir
import numpy as np
from numba.core import types
from numba.extending import intrinsic

from numbarnn.kernels.scalar import inlined


@intrinsic
def _key(typingctx, x):
    """Return an integer that is larger where x is: its bits, those of negative values inverted."""

    def codegen(context, builder, signature, args):
        kind = context.get_value_type(signature.return_type)
        bits = builder.bitcast(args[0], kind)
        sign = builder.ashr(bits, kind(kind.width - 1))
        return builder.xor(bits, builder.lshr(sign, kind(1)))

    return (types.int32 if x == types.float32 else types.int64)(x), codegen


@intrinsic
def _of_key(typingctx, key):
    """Return the value of a `_key`."""

    def codegen(context, builder, signature, args):
        kind = args[0].type
        sign = builder.ashr(args[0], kind(kind.width - 1))
        bits = builder.xor(args[0], builder.lshr(sign, kind(1)))
        return builder.bitcast(bits, ir.FloatType() if kind.width == 32 else ir.DoubleType())

    return (types.float32 if key == types.int32 else types.float64)(key), codegen


@inlined
def largest(values, at, count):
    """Return the largest of values[at : at + count]: of integers, whose order of comparison LLVM may choose (floats: 5x slower)."""
    best = _key(values[at])
    for j in range(np.uintp(at + 1), np.uintp(at + count)):  # unsigned, or the loop does not vectorise
        best = max(best, _key(values[j]))
    return _of_key(best)
