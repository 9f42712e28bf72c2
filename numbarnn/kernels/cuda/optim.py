"""Optimizer steps over the flat parameters, and the check of a step, which the device itself makes.

Whether a step may change anything, and how much its gradient is scaled, stays on the device: `check_step` writes it to a status
of four values, [factor, ok, norm, spare], that later kernels read. A training loop sets it to ``[1, 1, 0, 0]`` and asks for it when
it reads losses.

The updates are those of `numbarnn.kernels.equations`.
"""

import math
from typing import NamedTuple

from numba import cuda

from numbarnn.kernels import equations, scalar
from numbarnn.kernels.cuda.launch import THREADS, blocks_for, kernel
from numbarnn.kernels.cuda.reduce import SQUARED_DIFFERENCES, SQUARES, summed


@kernel("x x n x x r")
def set_status(real):
    """Make the kernel of `check_step`."""

    def set_status(status, log, slot, loss, squares, limit):
        """Set the status, and write a line of the log; one thread."""
        value = loss[0]
        norm = real(math.sqrt(squares[0]))
        factor = real(1)
        if limit > real(0):
            factor = min(factor, limit / (norm + real(1e-6)))
        if not (math.isfinite(value) and math.isfinite(norm)):
            factor = real(1)
            status[1] = real(0)
        status[0] = factor
        status[2] = norm
        log[3 * slot] = value
        log[3 * slot + 1] = norm
        log[3 * slot + 2] = status[1]

    return set_status


@kernel("x n x r")
def clip_gradient(real):
    """Make the kernel of `clip`."""

    def clip_gradient(gradient, count, status, limit):
        """Scale the gradient by the status's factor, and limit its values to [-limit, limit] if limit > 0."""
        factor = status[0]
        if status[1] != real(0):
            for i in range(cuda.grid(1), count, cuda.gridsize(1)):
                g = gradient[i] * factor
                if limit > real(0):
                    g = scalar.clip(g, limit)
                gradient[i] = g

    return clip_gradient


class SgdOptions(NamedTuple):
    """Coefficients of `numbarnn.kernels.equations.sgd`.

    Attributes
    ----------
    rate, momentum, decay, nesterov : as there
    """

    rate: float
    momentum: float
    decay: float
    nesterov: bool


class RmspropOptions(NamedTuple):
    """Coefficients of `numbarnn.kernels.equations.rmsprop`.

    Attributes
    ----------
    rate, alpha, rest, epsilon, decay : as there
    """

    rate: float
    alpha: float
    rest: float
    epsilon: float
    decay: float


class AdamOptions(NamedTuple):
    """Coefficients of `numbarnn.kernels.equations.adam`.

    Attributes
    ----------
    keep, l2, beta1, rest1, beta2, rest2, step, root, epsilon : as there
    """

    keep: float
    l2: float
    beta1: float
    rest1: float
    beta2: float
    rest2: float
    step: float
    root: float
    epsilon: float


@kernel("x x x", SgdOptions, "n x")
def step_sgd(real):
    """Make the kernel of `sgd`."""

    def step_sgd(weights, gradient, velocity, options, count, status):
        """Change weights and velocity, where the status is ok."""
        rate, momentum, decay, nesterov = options
        if status[1] != real(0):
            for i in range(cuda.grid(1), count, cuda.gridsize(1)):
                weights[i], velocity[i] = equations.sgd(
                    weights[i], gradient[i], velocity[i], rate, momentum, decay, nesterov
                )

    return step_sgd


@kernel("x x x", RmspropOptions, "n x")
def step_rmsprop(real):
    """Make the kernel of `rmsprop`."""

    def step_rmsprop(weights, gradient, square, options, count, status):
        """Change weights and the mean of squares, where the status is ok."""
        rate, alpha, rest, epsilon, decay = options
        if status[1] != real(0):
            for i in range(cuda.grid(1), count, cuda.gridsize(1)):
                weights[i], square[i] = equations.rmsprop(
                    weights[i], gradient[i], square[i], rate, alpha, rest, epsilon, decay
                )

    return step_rmsprop


@kernel("x x x x", AdamOptions, "n x")
def step_adam(real):
    """Make the kernel of `adam`."""

    def step_adam(weights, gradient, mean, square, options, count, status):
        """Change weights and moments, where the status is ok."""
        keep, l2, beta1, rest1, beta2, rest2, step, root, epsilon = options
        if status[1] != real(0):
            for i in range(cuda.grid(1), count, cuda.gridsize(1)):
                weights[i], mean[i], square[i] = equations.adam(
                    weights[i],
                    gradient[i],
                    mean[i],
                    square[i],
                    keep,
                    l2,
                    beta1,
                    rest1,
                    beta2,
                    rest2,
                    step,
                    root,
                    epsilon,
                )

    return step_adam


@kernel("x x n x x x n")
def undo_step(real):
    """Make the kernel of `undo`."""

    def undo_step(weights, old, count, squares, status, log, slot):
        """Bring the old weights back, and say so in the status and the log, where the sum of squares is not finite."""
        if not math.isfinite(squares[0]):
            first = cuda.grid(1)
            for i in range(first, count, cuda.gridsize(1)):
                weights[i] = old[i]
            if first == 0:
                status[1] = real(0)
                log[3 * slot + 2] = real(0)

    return undo_step


@kernel("x x r r n x n")
def combine(real):
    """Make the kernel of `blend`, `scale` and `add`."""

    def combine(values, others, keep, more, count, status, checked):
        """Set values = keep values + more others, where the status is ok if `checked`; without others if more = 0."""
        ok = status[1] != real(0) if checked else True
        if ok:
            for i in range(cuda.grid(1), count, cuda.gridsize(1)):
                value = keep * values[i]
                if more != real(0):
                    value += more * others[i]
                values[i] = value

    return combine


def sum_of_squares(arena, values, count):
    """Return a buffer with the sum of the squares of `count` values, in their type."""
    return summed(arena, SQUARES, values, count)


def difference_norms(arena, old, new, count):
    """Return a buffer with |new - old|^2 and |old|^2."""
    return summed(arena, SQUARED_DIFFERENCES, old, count, new, sums=2)


def check_step(status, log, slot, loss, squares, limit):
    """Check a step: set the status, and log[slot] = (loss, norm, ok).

    norm is the root of `squares`; ok, once 0, stays so, and becomes 0 where loss or norm is not finite (in float32 a norm above
    1.8e19 is not); factor = min(1, limit / (norm + 1e-6)), that of `torch.nn.utils.clip_grad_norm_`, or 1 if limit <= 0.

    Parameters
    ----------
    status : Buffer
        (4,): factor, ok, norm and a spare value.
    log : Buffer
        (slots, 3)
    loss, squares : Buffer
        (1,)
    """
    set_status(1, 1, status, log, slot, loss, squares, limit)


def clip(gradient, count, status, limit_value):
    """Multiply a gradient by the status's factor, then limit its values to [-limit_value, limit_value] if that is above 0.

    NaN stays NaN; nothing happens where the status is not ok.
    """
    clip_gradient(blocks_for(count), THREADS, gradient, count, status, limit_value)


def sgd(weights, gradient, velocity, options, count, status):
    """Update weights and velocity by `numbarnn.kernels.equations.sgd`, where the status is ok; `options`: those of `SgdOptions`."""
    *rates, nesterov = options
    options = SgdOptions(*rates, bool(nesterov))
    step_sgd(blocks_for(count), THREADS, weights, gradient, velocity, options, count, status)


def rmsprop(weights, gradient, square, options, count, status):
    """Update weights and the mean of squares by `numbarnn.kernels.equations.rmsprop`; otherwise `sgd`."""
    step_rmsprop(blocks_for(count), THREADS, weights, gradient, square, RmspropOptions(*options), count, status)


def adam(weights, gradient, mean, square, options, count, status):
    """Update weights and moments by `numbarnn.kernels.equations.adam`; otherwise `sgd`."""
    step_adam(blocks_for(count), THREADS, weights, gradient, mean, square, AdamOptions(*options), count, status)


def undo(weights, old, count, squares, status, log, slot):
    """Bring back the weights of before a step, and make the status not ok, where `squares`, a sum over the new ones, is not finite.

    The step that is undone is the one of log[slot]; its norm stands there already.
    """
    undo_step(blocks_for(count), THREADS, weights, old, count, squares, status, log, slot)


def blend(values, others, keep, add, count, status=None):
    """Set values = keep values + add others: an average that moves, or a weighted sum of gradients that grows."""
    combine(blocks_for(count), THREADS, values, others, keep, add, count, status, int(status is not None))


def scale(values, count, factor):
    """Multiply all values by `factor`."""
    combine(blocks_for(count), THREADS, values, None, factor, 0.0, count, None, 0)


def add(values, others, count):
    """Add others to the values."""
    combine(blocks_for(count), THREADS, values, others, 1.0, 1.0, count, None, 0)
