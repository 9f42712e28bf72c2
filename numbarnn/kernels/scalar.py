"""Scalar functions of the cells: plain Python on Python or NumPy numbers, inlined machine code inside a kernel.

float32 has its own hyperbolic tangent: one division, no call, so a loop over the hidden units vectorises (with the C
library's, a whole training step takes two to four times as long). float64 calls the C library.
"""

import math

import llvmlite.ir as ir
import numpy as np
from numba.core import types
from numba.extending import intrinsic, overload, register_jitable

# A sum may be taken in any order, as many terms at a time as a vector holds; nothing else may. Inlined: as a function of its own it
# would be compiled twice, for itself and with its caller, and a process that loads the caller from disk would take the other order
# (tests/test_cache.py).
unordered = register_jitable(fastmath={"reassoc", "nsz"}, forceinline=True)
# What `inlined` has seen: CUDA's half of Numba must be told of each (`numbarnn.kernels.cuda.typing`).
INLINED = []


def inlined(function):
    """Mark a helper of cells: the function stays callable from Python, and inside a kernel LLVM inlines it always."""
    INLINED.append(function)
    return register_jitable(forceinline=True)(function)


@intrinsic
def _fma(typingctx, x, y, z):
    """Return x * y + z: rounded once where Numba's target fuses (elsewhere ``llvm.fma`` would be a library call)."""

    def codegen(context, builder, signature, args):
        triple, _, features = context.codegen().magic_tuple()
        fused = triple.startswith(("aarch64", "arm64")) or "+fma" in features.split(",")
        return builder.fma(*args) if fused else builder.fadd(builder.fmul(args[0], args[1]), args[2])

    return x(x, x, x), codegen


def fma(x, y, z):
    """Return x * y + z for three numbers of one type; inside a kernel fused where the processor can."""
    return x * y + z


@overload(fma, jit_options={"forceinline": True})
def _overload_fma(x, y, z):
    return lambda x, y, z: _fma(x, y, z)


@unordered
def total(values, at, count):
    """Return the sum of values[at : at + count]."""
    result = values.dtype.type(0)
    for i in range(at, at + count):
        result += values[i]
    return result


# tanh x = x p(x^2) / q(x^2) on [-8, 8], a minimax fit of our own: 6.4e-9 relative in exact arithmetic, 3.2e-7
# absolute when evaluated in float32 (tests/test_scalar.py walks through the interval). Beyond 8, tanh rounds to 1
# within 2.3e-7.
_P = tuple(
    np.float32(p)
    for p in (
        0.9999999935839151,
        0.1344449864893419,
        0.0035715987585644726,
        2.1894671908304064e-05,
        1.5230428019580333e-08,
    )
)
_Q = tuple(
    np.float32(q)
    for q in (1.0, 0.46777825972609627, 0.026164445881645848, 0.0003411293123104957, 8.522451551304644e-07)
)
_P0, _P1, _P2, _P3, _P4 = _P
_Q0, _Q1, _Q2, _Q3, _Q4 = _Q
_LIMIT = np.float32(8.0)
_HALF = np.float32(0.5)


def tanh(x):
    """Return the hyperbolic tangent of x, in kernels to 3e-7 in float32.

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
    """Return the logistic function 1 / (1 + exp(-x)), in kernels to 3e-7 in float32.

    Parameters
    ----------
    x : float

    Returns
    -------
    float
        Of the type of x, in [0, 1].
    """
    half = type(x)(0.5)
    return half * np.tanh(half * x) + half


def _tanh32(x):
    x = min(max(x, -_LIMIT), _LIMIT)
    u = x * x
    p = fma(fma(fma(fma(_P4, u, _P3), u, _P2), u, _P1), u, _P0)
    q = fma(fma(fma(fma(_Q4, u, _Q3), u, _Q2), u, _Q1), u, _Q0)
    return x * p / q


@overload(tanh, jit_options={"forceinline": True})
def _tanh(x):
    if x == types.float32:
        return _tanh32
    return lambda x: math.tanh(x)


@overload(sigmoid, jit_options={"forceinline": True})
def _sigmoid(x):
    if x == types.float32:
        return lambda x: fma(_HALF, tanh(_HALF * x), _HALF)
    return lambda x: 0.5 * math.tanh(0.5 * x) + 0.5


def clip(x, limit):
    """Return x limited to [-limit, limit]; NaN stays NaN."""
    return min(max(x, -limit), limit)


@overload(clip, jit_options={"forceinline": True})
def _clip(x, limit):
    return lambda x, limit: min(max(x, -limit), limit)  # two instructions, no branch; CUDA's minimum loses NaN


# exp x = 2^n exp(r), n = round(x / ln 2), |r| <= ln 2 / 2; exp r by its series to the
# seventh power: 3e-7 relative in all.
# ln 2 is split in two so that n * ln 2 is exact (Cody & Waite).
_LOG2E, _LN2_HIGH, _LN2_LOW = np.float32(1.4426950408889634), np.float32(0.693359375), np.float32(-2.12194440e-4)
_EXP_LIMIT = np.float32(87.0)
_ZERO, _ONE = np.float32(0.0), np.float32(1.0)
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


@overload(exp, jit_options={"forceinline": True})
def _exp(x):
    if x == types.float32:
        return _exp32
    return lambda x: math.exp(x)


# log(1 + x) = 2 artanh(s), s = x / (2 + x) <= 1/3, by its series to the thirteenth power: 2e-7 relative in all.
_TWO = np.float32(2.0)
_A3, _A5, _A7, _A9, _A11, _A13 = (np.float32(1.0 / n) for n in range(3, 14, 2))


def log1p(x):
    """Return log(1 + x) for 0 <= x <= 1."""
    return np.log1p(x)


def _log1p32(x):
    s = x / (_TWO + x)
    q = s * s
    p = fma(fma(fma(fma(fma(_A13, q, _A11), q, _A9), q, _A7), q, _A5), q, _A3)
    return _TWO * fma(s * q, p, s)


@overload(log1p, jit_options={"forceinline": True})
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


@overload(split_exp, jit_options={"forceinline": True})
def _split_exp(x):
    return _split_exp32 if x == types.float32 else _split_exp64
