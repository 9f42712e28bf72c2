"""Steps of the optimizers over the flat parameters; `first` and `last` bound the values of one thread.

Hyper-parameters come in the dtype of the parameters. g is the gradient, w the weights; the equations are those of
torch.
"""

import math

import numpy as np

from numbarnn.kernels.compile import jit
from numbarnn.kernels.scalar import unordered


@jit
def sgd(weights, gradient, velocity, rate, momentum, decay, nesterov, first, last):
    """SGD: g += decay w;  v = momentum v + g;  w -= rate v, or with `nesterov` w -= rate (g + momentum v)."""
    for i in range(first, last):
        g = gradient[i] + decay * weights[i]
        v = momentum * velocity[i] + g
        velocity[i] = v
        weights[i] -= rate * (g + momentum * v if nesterov else v)


@jit
def rmsprop(weights, gradient, square, rate, alpha, rest, epsilon, decay, first, last):
    """RMSprop: g += decay w;  s = alpha s + rest g^2;  w -= rate g / (sqrt(s) + epsilon), with rest = 1 - alpha.

    With alpha = rest = 1 this is Adagrad.
    """
    for i in range(first, last):
        g = gradient[i] + decay * weights[i]
        s = alpha * square[i] + rest * g * g
        square[i] = s
        weights[i] -= rate * g / (math.sqrt(s) + epsilon)


@jit
def adam(weights, gradient, mean, square, keep, l2, beta1, rest1, beta2, rest2, step, root, epsilon, first, last):
    """Adam and AdamW: w *= keep;  g += l2 w;  m = b1 m + r1 g;  s = b2 s + r2 g^2;  w -= step m / (sqrt(s) / root + epsilon).

    With r = 1 - b, ``step = rate / (1 - b1^t)`` and ``root = sqrt(1 - b2^t)`` correct the bias of the moments at step t.
    """
    for i in range(first, last):
        w = weights[i] * keep
        g = gradient[i] + l2 * w
        m = beta1 * mean[i] + rest1 * g
        s = beta2 * square[i] + rest2 * g * g
        mean[i] = m
        square[i] = s
        weights[i] = w - step * m / (math.sqrt(s) / root + epsilon)


@jit
def blend(values, others, keep, add, first, last):
    """Set values = keep values + add others: an average that moves, or a weighted sum of gradients that grows."""
    for i in range(first, last):
        values[i] = keep * values[i] + add * others[i]


@jit
def sum_of_squares(values):
    """Return the sum of the squares in float64."""
    return _sum_of_squares(values)


@unordered
def _sum_of_squares(values):
    total = 0.0
    for i in range(values.size):
        value = np.float64(values[i])
        total += value * value
    return total


@jit
def scale(values, factor):
    """Multiply all values by `factor`."""
    for i in range(values.size):
        values[i] *= factor


@jit
def clamp(values, limit):
    """Limit all values to [-limit, limit]; NaN stays NaN."""
    for i in range(values.size):
        values[i] = min(max(values[i], -limit), limit)
