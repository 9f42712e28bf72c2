"""Gates that may be fixed (clamped) at a constant: options with numeric values, so that they do not multiply compiled code.

Comparisons are made in the dtype of the values, so that a kernel of float32 has no instruction of float64. What depends on the
options alone does not change inside a driver's loop, and ``1 f(x) + 0`` is f(x) to the bit, for one instruction.
"""

from numbarnn.kernels.scalar import fma, inlined, sigmoid, tanh

# The value of an option ``fix_...`` that leaves the gate free: one that neither a gate nor a candidate can take.
FREE = 2.0


@inlined
def _or_fixed(fix, y):
    zero, fixed = type(y)(0), type(y)(fix)
    free = fixed == type(y)(FREE)
    return fma(type(y)(1) if free else zero, y, zero if free else fixed)


@inlined
def gate(fix, x):
    """Return the logistic function of x, or the value at which the gate is fixed."""
    return _or_fixed(fix, sigmoid(x))


@inlined
def gate_slope(fix, y):
    """Return the derivative of `gate`, written in terms of its value y: y (1 - y), or exactly 0."""
    fixed = type(y)(fix)
    top = type(y)(1) if fixed == type(y)(FREE) else fixed
    return y * (top - y)


@inlined
def candidate(fix, x):
    """Return tanh x, or the value at which the candidate is fixed."""
    return _or_fixed(fix, tanh(x))


@inlined
def candidate_slope(fix, y):
    """Return the derivative of `candidate`, written in terms of its value y: 1 - y^2, or exactly 0."""
    fixed = type(y)(fix)
    top = type(y)(1) if fixed == type(y)(FREE) else fixed * fixed
    return top - y * y
