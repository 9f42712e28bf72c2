"""Optimizer steps over the flat parameters; `first` and `last` bound the values of one thread.

Hyper-parameters come in one array of the dtype of the parameters, in the order of the updates of `numbarnn.kernels.equations`.

Indices are unsigned: of one that may be negative Numba asks at every access whether it counts from the end, and then no loop
vectorises (Adam: 2.4 ns a weight instead of 0.18).
"""

import numpy as np

from numbarnn.kernels import equations
from numbarnn.kernels.compile import jit
from numbarnn.kernels.cpu import sums
from numbarnn.kernels.scalar import clip


@jit
def sgd(weights, gradient, velocity, options, first, last):
    """Update weights and velocity by `numbarnn.kernels.equations.sgd`."""
    rate, momentum, decay, nesterov = options[0], options[1], options[2], options[3] != 0
    for i in range(np.uintp(first), np.uintp(last)):
        weights[i], velocity[i] = equations.sgd(weights[i], gradient[i], velocity[i], rate, momentum, decay, nesterov)


@jit
def rmsprop(weights, gradient, square, options, first, last):
    """Update weights and the mean of squares by `numbarnn.kernels.equations.rmsprop`."""
    rate, alpha, rest, epsilon, decay = options[0], options[1], options[2], options[3], options[4]
    for i in range(np.uintp(first), np.uintp(last)):
        weights[i], square[i] = equations.rmsprop(weights[i], gradient[i], square[i], rate, alpha, rest, epsilon, decay)


@jit
def centered_rmsprop(weights, gradient, square, mean, options, first, last):
    """Update weights and moments by `numbarnn.kernels.equations.centered_rmsprop`."""
    rate, alpha, rest, epsilon, decay = options[0], options[1], options[2], options[3], options[4]
    for i in range(np.uintp(first), np.uintp(last)):
        weights[i], square[i], mean[i] = equations.centered_rmsprop(
            weights[i], gradient[i], square[i], mean[i], rate, alpha, rest, epsilon, decay
        )


@jit
def adam(weights, gradient, mean, square, options, first, last):
    """Update weights and moments by `numbarnn.kernels.equations.adam`."""
    keep, l2, beta1, rest1, beta2, rest2 = options[0], options[1], options[2], options[3], options[4], options[5]
    step, root, epsilon = options[6], options[7], options[8]
    for i in range(np.uintp(first), np.uintp(last)):
        weights[i], mean[i], square[i] = equations.adam(
            weights[i], gradient[i], mean[i], square[i], keep, l2, beta1, rest1, beta2, rest2, step, root, epsilon
        )


@jit
def amsgrad(weights, gradient, mean, square, largest, options, first, last):
    """Update weights and moments by `numbarnn.kernels.equations.amsgrad`."""
    keep, l2, beta1, rest1, beta2, rest2 = options[0], options[1], options[2], options[3], options[4], options[5]
    step, root, epsilon = options[6], options[7], options[8]
    for i in range(np.uintp(first), np.uintp(last)):
        weights[i], mean[i], square[i], largest[i] = equations.amsgrad(
            weights[i], gradient[i], mean[i], square[i], largest[i],
            keep, l2, beta1, rest1, beta2, rest2, step, root, epsilon,
        )  # fmt: skip


@jit
def blend(values, others, keep, add, first, last):
    """Set values = keep values + add others: an average that moves, or a weighted sum of gradients that grows."""
    for i in range(np.uintp(first), np.uintp(last)):
        values[i] = keep * values[i] + add * others[i]


@jit
def sum_of_squares(values):
    """Return the sum of the squares in float64."""
    return sums.sum_of_squares(values)


@jit
def scale(values, factor):
    """Multiply all values by `factor`."""
    for i in range(values.size):
        values[i] *= factor


@jit
def clamp(values, limit):
    """Limit all values to [-limit, limit]; NaN stays NaN."""
    for i in range(values.size):
        values[i] = clip(values[i], limit)
