"""The equations of optimizers, once for all devices: plain Python on scalars of one type, inlined into each device's loops.

A function here takes and returns scalars and knows no array. Kernels of both targets loop over arrays around it
(`numbarnn.kernels.cpu.optim`, `numbarnn.kernels.cuda.optim`), as the time loops do around the functions of a cell.
"""

import math

from numbarnn.kernels.scalar import inlined

# Optimizers: weight w and gradient g of one parameter -> its new weight, and its new arrays


@inlined
def sgd(w, g, v, rate, momentum, decay, nesterov):
    """SGD: g += decay w;  v = momentum v + g;  w -= rate v, or with `nesterov` w -= rate (g + momentum v). Return (w, v).

    I. Sutskever, J. Martens, G. Dahl, G. Hinton, ICML 2013, section 2, as torch writes it.
    """
    g = g + decay * w
    v = momentum * v + g
    return w - rate * (g + momentum * v if nesterov else v), v


@inlined
def rmsprop(w, g, s, rate, alpha, rest, eps, decay):
    """RMSprop: g += decay w;  s = alpha s + rest g^2;  w -= rate g / (sqrt(s) + eps), with rest = 1 - alpha. Return (w, s).

    T. Tieleman, G. Hinton, lecture 6.5 (2012). With alpha = rest = 1 Adagrad: J. Duchi, E. Hazan, Y. Singer, JMLR 12 (2011), with
    diagonal matrices.
    """
    g = g + decay * w
    s = alpha * s + rest * g * g
    return w - rate * g / (math.sqrt(s) + eps), s


@inlined
def adam(w, g, m, s, keep, l2, beta1, rest1, beta2, rest2, step, root, eps):
    """Adam: w *= keep;  g += l2 w;  m = b1 m + r1 g;  s = b2 s + r2 g^2;  w -= step m / (sqrt(s) / root + eps). Return (w, m, s).

    D. P. Kingma, J. Ba, ICLR 2015, algorithm 1: with r = 1 - b, ``step = rate / (1 - b1^t)`` and ``root = sqrt(1 - b2^t)`` correct
    the bias of the moments at step t, and keep = 1. AdamW (I. Loshchilov, F. Hutter, ICLR 2019, algorithm 2) has l2 = 0 and
    keep = 1 - rate decay.
    """
    w = w * keep
    g = g + l2 * w
    m = beta1 * m + rest1 * g
    s = beta2 * s + rest2 * g * g
    return w - step * m / (math.sqrt(s) / root + eps), m, s
