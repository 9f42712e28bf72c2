"""The four activations of the plain recurrent cells, chosen by a code so that they do not multiply compiled code.

tanh and the logistic function are one formula, ``a tanh(b x) + c``; relu and the identity cost a comparison each.
"""

from numbarnn.kernels.scalar import inlined, tanh

ACTIVATIONS = {"tanh": 0, "relu": 1, "logistic": 2, "identity": 3}


@inlined
def activate(code, x):
    """Return f(x) for one of `ACTIVATIONS`."""
    half, zero, one = type(x)(0.5), type(x)(0), type(x)(1)
    scale = half if code == 2 else one
    curved = scale * tanh(scale * x) + (half if code == 2 else zero)
    # NaN is not below zero, so it passes.
    straight = x if code == 3 else (zero if x < zero else x)
    return straight if code == 1 or code == 3 else curved


@inlined
def slope(code, y):
    """Return f'(x), written in terms of y = f(x)."""
    zero, one = type(y)(0), type(y)(1)
    curved = y * (one - y) if code == 2 else one - y * y
    straight = one if code == 3 or y > zero else zero
    return straight if code == 1 or code == 3 else curved
