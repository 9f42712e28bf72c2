"""The activations of plain recurrent cells and of layers, chosen by a code so that they do not multiply compiled code.

The code does not change inside a driver's loop, so LLVM makes a loop for each curve; relu and the identity cost a comparison each.
"""

from numbarnn.kernels.scalar import inlined, sigmoid, tanh

ACTIVATIONS = {"tanh": 0, "relu": 1, "logistic": 2, "identity": 3}


@inlined
def activate(code, x):
    """Return f(x) for one of `ACTIVATIONS`."""
    zero = type(x)(0)
    curved = sigmoid(x) if code == 2 else tanh(x)
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
