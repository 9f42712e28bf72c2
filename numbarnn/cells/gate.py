"""Gates that may be held at a constant: which, and where, are numbers, so that they do not multiply compiled code.

What depends on the options alone does not change inside a driver's loop, so holding costs a free gate nothing: the
logistic function is ``scale * tanh(x / 2) + shift`` anyhow.
"""

from numbarnn.kernels.scalar import fma, inlined, tanh

# The value of an option ``hold_...`` that leaves the gate free: a number that neither a gate nor a candidate can take.
FREE = 2.0


@inlined
def gate(hold, x):
    """Return the logistic function of x, or the number at which the gate is held."""
    half, zero = type(x)(0.5), type(x)(0)
    scale = half if hold == FREE else zero
    shift = half if hold == FREE else type(x)(hold)
    return fma(scale, tanh(half * x), shift)


@inlined
def gate_slope(hold, y):
    """Return the derivative of `gate`, written in terms of its value y: y (1 - y), or exactly 0."""
    top = type(y)(1) if hold == FREE else type(y)(hold)
    return y * (top - y)


@inlined
def candidate(hold, x):
    """Return tanh x, or the number at which the candidate is held."""
    scale = type(x)(1) if hold == FREE else type(x)(0)
    shift = type(x)(0) if hold == FREE else type(x)(hold)
    return fma(scale, tanh(x), shift)


@inlined
def candidate_slope(hold, y):
    """Return the derivative of `candidate`, written in terms of its value y: 1 - y^2, or exactly 0."""
    held = type(y)(hold)
    top = type(y)(1) if hold == FREE else held * held
    return top - y * y
