"""Gates that may be held at a constant: which, and where, are numbers, so that they do not multiply compiled code.

Comparisons are made in the type of the numbers, so that a kernel of float32 has no instruction of float64. What depends on the
options alone does not change inside a driver's loop, so holding costs a free gate nothing: the
logistic function is ``scale * tanh(x / 2) + shift`` anyhow.
"""

from numbarnn.kernels.scalar import fma, inlined, tanh

# The value of an option ``hold_...`` that leaves the gate free: a number that neither a gate nor a candidate can take.
FREE = 2.0


@inlined
def gate(hold, x):
    """Return the logistic function of x, or the number at which the gate is held."""
    half, zero, held = type(x)(0.5), type(x)(0), type(x)(hold)
    free = held == type(x)(FREE)
    scale = half if free else zero
    shift = half if free else held
    return fma(scale, tanh(half * x), shift)


@inlined
def gate_slope(hold, y):
    """Return the derivative of `gate`, written in terms of its value y: y (1 - y), or exactly 0."""
    held = type(y)(hold)
    top = type(y)(1) if held == type(y)(FREE) else held
    return y * (top - y)


@inlined
def candidate(hold, x):
    """Return tanh x, or the number at which the candidate is held."""
    zero, held = type(x)(0), type(x)(hold)
    free = held == type(x)(FREE)
    scale = type(x)(1) if free else zero
    shift = zero if free else held
    return fma(scale, tanh(x), shift)


@inlined
def candidate_slope(hold, y):
    """Return the derivative of `candidate`, written in terms of its value y: 1 - y^2, or exactly 0."""
    held = type(y)(hold)
    top = type(y)(1) if held == type(y)(FREE) else held * held
    return top - y * y
