"""Scalar functions of the cells: plain Python on Python or NumPy numbers, inlined machine code inside a kernel.

float32 has its own hyperbolic tangent: one division, no call, so a loop over the hidden units vectorises (with the C
library's, a whole training step takes two to four times as long). float64 calls the C library.
"""

import math

import llvmlite.ir as ir
import numpy as np
from numba.core import types
from numba.extending import intrinsic, overload, register_jitable

from numbarnn.kernels.linked import INLINE
from numbarnn.kernels.prebuilt import chosen

# What `inlined` has seen: CUDA's half of Numba must be told of each (`numbarnn.kernels.cuda.typing`).
INLINED = []


def inlined(function):
    """Mark a helper of cells: the function stays callable from Python, and inside a kernel LLVM inlines it always."""
    INLINED.append(function)
    return register_jitable(**INLINE)(function)


def _fuses(context):
    """Return whether the level that runs, else Numba's target, fuses multiply and add (or ``llvm.fma`` is a library call)."""
    level = chosen().level
    if level is not None:
        return level.fused
    triple, _, features = context.codegen().magic_tuple()
    return triple.startswith(("aarch64", "arm64")) or "+fma" in features.split(",")


@intrinsic
def _fma(typingctx, x, y, z):
    """Return x * y + z: rounded once where Numba's target fuses."""

    def codegen(context, builder, signature, args):
        return builder.fma(*args) if _fuses(context) else builder.fadd(builder.fmul(args[0], args[1]), args[2])

    return x(x, x, x), codegen


def fma(x, y, z):
    """Return x * y + z for three numbers of one type; inside a kernel fused where the processor can."""
    return x * y + z


@overload(fma, jit_options=INLINE)
def _overload_fma(x, y, z):
    return lambda x, y, z: _fma(x, y, z)


# tanh and the logistic function rest on exp(-y) = 2^n (1 + e), n = round(-y / ln 2), r = y + n ln 2, e = -r + r^2 q(r), q a minimax
# fit of our own for each, of relative errors 3.5e-7 and 1.1e-7. ln 2 is split in two so that n * ln 2 is exact (Cody & Waite).
#
# No step of the two turns an order round, and no rounding does, so they are monotonic: 1 - 2^n - 2^n e grows with y,
# 1 + 2^n + 2^n e falls. tests/test_scalar.py goes through all numbers.
_Q2, _Q3, _Q4, _Q5 = (
    np.float32(q) for q in (0.4999923030909106, -0.1666711538925662, 0.041890331598725454, -0.008312501266012805)
)
_LOG2E, _LN2 = np.float32(1.4426950408889634), np.float32(0.6931471805599453)
_LN2_HIGH, _LN2_LOW = np.float32(0.693359375), np.float32(-2.12194440e-4)
# What is added to -y / ln 2 to round it: the last bits of the sum are then n + 127, the bits of the exponent of 2^n.
_ROUND = np.float32(1.5 * 2**23 + 127)
_ZERO, _HALF, _ONE, _TWO = (np.float32(value) for value in (0, 0.5, 1, 2))
# The same of y = 2 |x| with r / 2 in place of r, e / 2 in place of e, and 2^(n + 1) in place of 2^n.
_P2, _P3, _P4, _P5 = (
    np.float32(2**k * p)
    for k, p in enumerate((0.4999955950420784, -0.1666758318292376, 0.041859294722759885, -0.008272610553179082), 1)
)
_ROUND_TWICE = np.float32(1.5 * 2**23 + 128)
# tanh x is 1 from x = 9.01 on, the logistic function from 17.33 on; below _LOW it is less than the smallest normal number.
_TANH_LIMIT, _HIGH, _LOW = np.float32(20.0), np.float32(80.0), np.float32(-87.33654)


def tanh(x):
    """Return the hyperbolic tangent of x, in kernels to 7e-7 of it in float32.

    Parameters
    ----------
    x : float

    Returns
    -------
    float
        Of the type of x, in [-1, 1].
    """
    return np.tanh(x)


def sigmoid(x):
    """Return the logistic function 1 / (1 + exp(-x)): to 8e-16 of it in float64, and in kernels to 5e-7 of it in float32.

    What is smaller than the normal numbers, below x = -87.3 in float32 and -708.4 in float64, may be zero.

    Parameters
    ----------
    x : float

    Returns
    -------
    float
        Of the type of x, in [0, 1].
    """
    one = type(x)(1)
    with np.errstate(over="ignore"):  # to infinity, whose reciprocal is the limit
        return one / (one + np.exp(-x))


@intrinsic
def _remainder(typingctx, n, y, period, high, low):
    """Return y + n period; where the target does not fuse, of a period in two parts of which n times the first is exact."""

    def codegen(context, builder, signature, args):
        n, y, period, high, low = args
        if _fuses(context):
            return builder.fma(n, period, y)
        return builder.fadd(builder.fmul(n, low), builder.fadd(builder.fmul(n, high), y))

    return y(n, y, period, high, low), codegen


def remainder(n, y, period, high, low):
    """Return y + n period."""
    return y + n * period


@overload(remainder, jit_options=INLINE)
def _overload_remainder(n, y, period, high, low):
    return lambda n, y, period, high, low: _remainder(n, y, period, high, low)


@intrinsic
def _exponent(typingctx, x):
    """Return the float32 whose exponent is the last eight bits of a float32 x: 2.0 ** (those bits - 127)."""

    def codegen(context, builder, signature, args):
        word = builder.bitcast(args[0], ir.IntType(32))
        return builder.bitcast(builder.shl(word, ir.IntType(32)(23)), ir.FloatType())

    return types.float32(types.float32), codegen


@intrinsic
def _with_sign(typingctx, x, y):
    """Return a float32 x >= 0 with the sign of y, by its bits: LLVM does not know that x has none, and would clear it."""

    def codegen(context, builder, signature, args):
        x, y = (builder.bitcast(value, ir.IntType(32)) for value in args)
        sign = builder.and_(y, ir.IntType(32)(0x80000000))
        return builder.bitcast(builder.or_(x, sign), ir.FloatType())

    return types.float32(types.float32, types.float32), codegen


def exponent(x):
    """Return 2 ** (k - 127) as float32, k being the last eight bits of a float32 x."""
    return ((np.float32(x).view(np.int32) & 0xFF) << 23).astype(np.int32).view(np.float32)


def with_sign(x, y):
    """Return x >= 0 with the sign of y."""
    return np.copysign(x, y)


def quotient(x, y):
    """Return x / y."""
    return x / y


@overload(exponent, jit_options=INLINE)
def _overload_exponent(x):
    return lambda x: _exponent(x)


@overload(with_sign, jit_options=INLINE)
def _overload_with_sign(x, y):
    return lambda x, y: _with_sign(x, y)


@overload(quotient, jit_options=INLINE)
def _overload_quotient(x, y):
    return lambda x, y: x / y


def tanh32(x):
    """Return tanh(x) = (1 - z) / (1 + z) with the sign of x, z = exp(-2 |x|), for a float32 x."""
    y = abs(x)
    y = _TANH_LIMIT if y > _TANH_LIMIT else y  # NaN is not above, so it passes
    shifted = fma(y, -_TWO * _LOG2E, _ROUND_TWICE)
    n, twice = shifted - _ROUND_TWICE, exponent(shifted)
    r = remainder(n, y, _HALF * _LN2, _HALF * _LN2_HIGH, _HALF * _LN2_LOW)
    square = r * r
    e = fma(fma(fma(_P5, r, _P4), square, fma(_P3, r, _P2)), square, -r)
    z = quotient(fma(-twice, e, fma(-_HALF, twice, _ONE)), fma(twice, e, fma(_HALF, twice, _ONE)))
    return with_sign(z, x)


def sigmoid32(x):
    """Return 1 / (1 + exp(-x)) for a float32 x."""
    y = _LOW if x < _LOW else _HIGH if x > _HIGH else x
    shifted = fma(y, -_LOG2E, _ROUND)
    n, power = shifted - _ROUND, exponent(shifted)
    r = remainder(n, y, _LN2, _LN2_HIGH, _LN2_LOW)
    square = r * r
    e = fma(fma(fma(_Q5, r, _Q4), square, fma(_Q3, r, _Q2)), square, -r)
    return _ZERO if x < _LOW else quotient(_ONE, fma(power, e, _ONE + power))


def sigmoid64(x):
    """Return 1 / (1 + exp(-x)) for a float64 x: no step turns an order round, and infinities give the limits."""
    return 1.0 / (1.0 + math.exp(-x))


@overload(tanh, jit_options=INLINE)
def _tanh(x):
    return tanh32 if x == types.float32 else lambda x: math.tanh(x)


@overload(sigmoid, jit_options=INLINE)
def _sigmoid(x):
    return sigmoid32 if x == types.float32 else sigmoid64


def clip(x, limit):
    """Return x limited to [-limit, limit]; NaN stays NaN."""
    return min(max(x, -limit), limit)


@overload(clip, jit_options=INLINE)
def _clip(x, limit):
    return lambda x, limit: min(max(x, -limit), limit)  # two instructions, no branch; CUDA's minimum loses NaN


# exp x = 2^n exp(r), n = round(x / ln 2), |r| <= ln 2 / 2; exp r by its series to the
# seventh power: 3e-7 relative in all.
_EXP_LIMIT = np.float32(87.0)
_E2, _E3, _E4, _E5, _E6, _E7 = (np.float32(1.0 / math.factorial(n)) for n in range(2, 8))


def exp(x):
    """Return exp(x) for x <= 0; in float32, what lies below -87 (1.6e-38) is zero."""
    return np.exp(x)


@intrinsic
def _power_of_two(typingctx, n):
    """Return 2.0 ** n as float32 for an int32 -126 <= n <= 127, by its bits."""

    def codegen(context, builder, signature, args):
        bits = builder.shl(builder.add(args[0], ir.IntType(32)(127)), ir.IntType(32)(23))
        return builder.bitcast(bits, ir.FloatType())

    return types.float32(types.int32), codegen


@inlined
def _halved(x):
    """Return exp(r) and n of x = n ln 2 + r for a float32 x."""
    n = np.floor(fma(x, _LOG2E, _HALF))
    r = fma(n, -_LN2_LOW, fma(n, -_LN2_HIGH, x))
    p = fma(fma(fma(fma(fma(_E7, r, _E6), r, _E5), r, _E4), r, _E3), r, _E2)
    return fma(p, r * r, r) + _ONE, n


def _exp32(x):
    p, n = _halved(max(x, -_EXP_LIMIT))
    # The conversion of NaN to an integer is undefined; p is NaN then, whatever the power.
    power = _power_of_two(np.int32(n if n < _HALF else _ONE))
    return _ZERO if x < -_EXP_LIMIT else p * power


@overload(exp, jit_options=INLINE)
def _exp(x):
    if x == types.float32:
        return _exp32
    return lambda x: math.exp(x)


# log(1 + x) = 2 artanh(s), s = x / (2 + x) <= 1/3, by its series to the thirteenth power: 2e-7 relative in all.
_A3, _A5, _A7, _A9, _A11, _A13 = (np.float32(1.0 / n) for n in range(3, 14, 2))


def log1p(x):
    """Return log(1 + x) for 0 <= x <= 1."""
    return np.log1p(x)


def _log1p32(x):
    s = x / (_TWO + x)
    q = s * s
    p = fma(fma(fma(fma(fma(_A13, q, _A11), q, _A9), q, _A7), q, _A5), q, _A3)
    return _TWO * fma(s * q, p, s)


@overload(log1p, jit_options=INLINE)
def _log1p(x):
    if x == types.float32:
        return _log1p32
    return lambda x: math.log1p(x)


# Of x = n ln 2 + r in float64: n times the first part is exact for |n| < 2^20 (Cody & Waite).
_LOG2E64, _LN2_HIGH64, _LN2_LOW64 = 1.4426950408889634, 6.93147180369123816490e-01, 1.90821492927058770002e-10
# The lowest exponent of `split_exp`, and where it is reached.
_LOWEST, _LOWEST64 = np.float32(-700_000.0), -700_000.0
_INFINITY = np.float32(np.inf)


def split_exp(x):
    """Return (m, n) with exp(x) = m 2^n and 0.7 < m < 1.5 for x <= 0; what lies below -700,000 counts as that, -inf has m = 0."""
    x = max(float(x), _LOWEST64) if x > -np.inf else -np.inf
    if x == -np.inf:
        return 0.0, 0
    n = math.floor(x * _LOG2E64 + 0.5)
    return math.exp(x - n * _LN2_HIGH64 - n * _LN2_LOW64), n


def _split_exp32(x):
    p, n = _halved(max(x, _LOWEST))
    # The conversion of NaN to an integer is undefined; p is NaN then.
    return (_ZERO if x == -_INFINITY else p), np.int32(n if n < _ONE else _ZERO)


def _split_exp64(x):
    clipped = max(x, _LOWEST64)
    n = np.floor(clipped * _LOG2E64 + 0.5)
    p = math.exp(clipped - n * _LN2_HIGH64 - n * _LN2_LOW64)
    return (0.0 if x == -np.inf else p), np.int64(n if n < 1.0 else 0.0)


@overload(split_exp, jit_options=INLINE)
def _split_exp(x):
    return _split_exp32 if x == types.float32 else _split_exp64
