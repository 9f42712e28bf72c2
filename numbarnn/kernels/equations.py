"""The equations of optimizers and losses, once for all devices: plain Python on scalars of one type, inlined into their loops.

A function here takes and returns scalars and knows no array. Kernels of both targets loop over arrays around it (`optim`, `losses`
of `numbarnn.kernels.cpu` and `numbarnn.kernels.cuda`), as the time loops do around the functions of a cell.
"""

import collections
import inspect
import itertools
import math

from numba.extending import overload

from numbarnn.kernels.element import record_class
from numbarnn.kernels.scalar import clip, exp, inlined, log1p

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
def centered_rmsprop(w, g, s, m, rate, alpha, rest, eps, decay):
    """RMSprop by the variance: s as in `rmsprop`, m = alpha m + rest g;  w -= rate g / (sqrt(s - m^2) + eps). Return (w, s, m).

    A. Graves, "Generating sequences with recurrent neural networks" (2013), equations 38 to 41.
    """
    g = g + decay * w
    s = alpha * s + rest * g * g
    m = alpha * m + rest * g
    return w - rate * g / (math.sqrt(max(s - m * m, type(w)(0))) + eps), s, m


@inlined
def _moments(w, g, m, s, keep, l2, beta1, rest1, beta2, rest2):
    w = w * keep
    g = g + l2 * w
    return w, beta1 * m + rest1 * g, beta2 * s + rest2 * g * g


@inlined
def adam(w, g, m, s, keep, l2, beta1, rest1, beta2, rest2, step, root, eps):
    """Adam: w *= keep;  g += l2 w;  m = b1 m + r1 g;  s = b2 s + r2 g^2;  w -= step m / (sqrt(s) / root + eps). Return (w, m, s).

    D. P. Kingma, J. Ba, ICLR 2015, algorithm 1: with r = 1 - b, ``step = rate / (1 - b1^t)`` and ``root = sqrt(1 - b2^t)`` correct
    the bias of the moments at step t, and keep = 1. AdamW (I. Loshchilov, F. Hutter, ICLR 2019, algorithm 2) has l2 = 0 and
    keep = 1 - rate decay.
    """
    w, m, s = _moments(w, g, m, s, keep, l2, beta1, rest1, beta2, rest2)
    return w - step * m / (math.sqrt(s) / root + eps), m, s


@inlined
def amsgrad(w, g, m, s, top, keep, l2, beta1, rest1, beta2, rest2, step, root, eps):
    """AMSGrad: `adam` with the largest s so far, top, in place of s. Return (w, m, s, top).

    S. J. Reddi, S. Kale, S. Kumar, "On the convergence of Adam and beyond", ICLR 2018, algorithm 2, with its bias corrected.
    """
    w, m, s = _moments(w, g, m, s, keep, l2, beta1, rest1, beta2, rest2)
    top = max(top, s)
    return w - step * m / (math.sqrt(top) / root + eps), m, s, top


# Losses: the term of one output y with target t, and options -> (loss, its slope d loss / d y)

TERMS = {}
_numbers = itertools.count()


def term_record(function):
    """Return the record by whose type the kernels of both devices select a loss term, as they select a cell's functions.

    Parameters
    ----------
    function : callable
        ``function(y, t, *options) -> (loss, slope)``, on scalars.

    Returns
    -------
    tuple
        Empty, of a class of its own with the attributes `term`, the function, and `options`, names of its further parameters.
    """
    function = getattr(function, "py_func", function)
    if not hasattr(function, "record"):
        body = {
            "__slots__": (),
            "__module__": function.__module__,
            # By this name a file of compiled code finds the class again.
            "__qualname__": f"{function.__qualname__}.record_class",
            "term": staticmethod(inlined(function)),
            "options": tuple(inspect.signature(function).parameters)[2:],
        }
        # Numba's dispatcher tells classes of tuples apart by their names alone.
        name = function.__name__ if function.__module__ == __name__ else f"term{next(_numbers)}"
        function.record_class = type(name, (collections.namedtuple("Term", ()),), body)
        function.record = function.record_class()
    return function.record


def loss_term(term, y, t, options):
    """Call the function of a record of `term_record`."""
    return term.term(y, t, *options)


@overload(loss_term, jit_options={"forceinline": True})
def _loss_term(term, y, t, options):
    function = record_class(term).term
    return lambda term, y, t, options: function(y, t, *options)


def _term(function):
    """Enter a function into `TERMS`, the terms of the package's losses."""
    TERMS[function.__name__] = function
    term_record(function)
    return function


@_term
def squared(y, t):
    """Squared error: (y - t)^2."""
    d = y - t
    return d * d, d + d


@_term
def absolute(y, t):
    """Absolute error: |y - t|, with slope 0 where they are equal."""
    d, zero, one = y - t, type(y)(0), type(y)(1)
    # What is neither above nor below zero is zero, or NaN.
    return abs(d), one if d > zero else -one if d < zero else d


@_term
def huber(y, t, delta):
    """Huber's error: d^2 / 2 where |d| <= delta, else delta (|d| - delta / 2), with d = y - t.

    P. J. Huber, Annals of Mathematical Statistics 35 (1964).
    """
    d = y - t
    slope = clip(d, delta)
    # Both cases in one formula: branches that errors of all sizes take by turns cost more than the rest.
    return slope * (d - type(y)(0.5) * slope), slope


@_term
def binary_cross_entropy(y, t, pos_weight, weight):
    """Binary cross-entropy: -w (p t log s(y) + (1 - t) log(1 - s(y))), s the logistic function, p = pos_weight, w = weight.

    With e = exp(-|y|), -log s(y) = log(1 + e) + max(-y, 0): nothing overflows or cancels.
    """
    zero, one = type(y)(0), type(y)(1)
    on, off = t * pos_weight * weight, (one - t) * weight
    e = exp(-abs(y))
    rest = log1p(e)
    # A weight of zero makes nothing of an infinite logit.
    loss = (off * (rest + max(y, zero)) if off > zero else zero) + (on * (rest + max(-y, zero)) if on > zero else zero)
    high = one / (one + e)
    low = e * high
    return loss, off * (low if y < zero else high) - on * (high if y < zero else low)


@inlined
def softmax_cross_entropy(weight, own, each, total, gap, below):
    """Softmax cross-entropy: -sum_c q_c log p_c, p = softmax(logits), of sums over a row of logits.

    Parameters
    ----------
    weight : float
        sum_c q_c; the gradient is ``weight p_c - q_c``.
    own, each : float
        q_c = own [c = target] + each v_c, with the class weights v.
    total : float
        sum_c exp(logit_c - top), top being the largest logit: nothing overflows.
    gap, below : float
        top - logit_target, and sum_c v_c (top - logit_c).
    """
    return weight * math.log(total) + own * gap + each * below
