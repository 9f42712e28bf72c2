"""The activations of ONNX' recurrent operators, with their alpha and beta, of values that may be clipped before.

Chosen by codes, as `numbarnn.kernels.activation` chooses those of plain cells, so that they do not multiply compiled code. There
are too many for a loop of each, so cells with them are slower than those whose activations are fixed.
"""

from numbarnn.kernels.scalar import clip as limited
from numbarnn.kernels.scalar import exp, inlined, log1p, sigmoid, tanh

SIGMOID, TANH, RELU, AFFINE, LEAKY_RELU, THRESHOLDED_RELU, SCALED_TANH, HARD_SIGMOID, ELU, SOFTSIGN, SOFTPLUS = range(
    11
)


@inlined
def curve(kind, alpha, beta, clip, x):
    """Return f(x) of x limited to [-clip, clip]; 0: not limited."""
    zero, one, a, b, limit = type(x)(0), type(x)(1), type(x)(alpha), type(x)(beta), type(x)(clip)
    # NaN is neither below nor above a limit, so it passes, here and in what follows.
    x = limited(x, limit) if limit > zero else x
    if kind == SIGMOID:
        return sigmoid(x)
    if kind == TANH:
        return tanh(x)
    if kind == SCALED_TANH:
        return a * tanh(b * x)
    if kind == AFFINE:
        return a * x + b
    if kind == HARD_SIGMOID:
        y = a * x + b
        return zero if y < zero else one if y > one else y
    if kind == SOFTSIGN:
        return x / (one + abs(x))
    if kind == SOFTPLUS:
        return max(x, zero) + log1p(exp(-abs(x)))
    if kind == ELU:
        return a * (exp(min(x, zero)) - one) if x < zero else x
    if kind == THRESHOLDED_RELU:
        return zero if x <= a else x
    return (a * x if kind == LEAKY_RELU else zero) if x < zero else x


@inlined
def curve_slope(kind, alpha, beta, clip, x):
    """Return the derivative of `curve`: 0 where x is limited."""
    zero, one, a, b, limit = type(x)(0), type(x)(1), type(x)(alpha), type(x)(beta), type(x)(clip)
    if limit > zero and abs(x) > limit:
        return zero
    if kind == SIGMOID:
        y = sigmoid(x)
        return y * (one - y)
    if kind == TANH:
        y = tanh(x)
        return one - y * y
    if kind == SCALED_TANH:
        y = tanh(b * x)
        return a * b * (one - y * y)
    if kind == AFFINE:
        return a
    if kind == HARD_SIGMOID:
        y = a * x + b
        return a if y > zero and y < one else zero
    if kind == SOFTSIGN:
        y = one / (one + abs(x))
        return y * y
    if kind == SOFTPLUS:
        return sigmoid(x)
    if kind == ELU:
        return a * exp(min(x, zero)) if x < zero else one
    if kind == THRESHOLDED_RELU:
        return one if x > a else zero
    below = a if kind == LEAKY_RELU else zero
    return one if x > zero else below
