"""The equations of optimizers and losses, once for all devices: plain Python on scalars of one type, inlined into their loops.

A function here takes and returns scalars and knows no array. Kernels of both targets loop over arrays around it (`optim`, `losses`
of `numbarnn.kernels.cpu` and `numbarnn.kernels.cuda`), as the time loops do around the functions of a cell.
"""

import collections
import functools
import inspect
import itertools
import math

from numba.extending import overload

from numbarnn.kernels.element import record_class
from numbarnn.kernels.linked import INLINE
from numbarnn.kernels.scalar import clip, exp, inlined, log1p, sigmoid

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


# Losses: the term of the outputs y that a target t has, and options -> (loss, its slopes d loss / d y)

TERMS = {}
_numbers = itertools.count()


def term_record(function, outputs=None):
    """Return the record by whose type the kernels of both devices select a loss term, as they select a cell's functions.

    Parameters
    ----------
    function : callable
        ``function(y, t, *options) -> (loss, slope)``, on scalars; with `outputs` y and slope are tuples of so many scalars.
    outputs : int, optional
        Outputs for each target. One parameter ``*name`` stands for that many options.

    Returns
    -------
    tuple
        Empty, of a class of its own with the attributes `term`, the function for tuples, `outputs`, a name for each entry of
        these, and `options`, names of its further parameters.
    """
    function = getattr(function, "py_func", function)
    if not hasattr(function, "record"):
        options = []
        for name, parameter in list(inspect.signature(function).parameters.items())[2:]:
            options += [name] * (outputs if parameter.kind == inspect.Parameter.VAR_POSITIONAL else 1)
        body = {
            "__slots__": (),
            "__module__": function.__module__,
            # By this name a file of compiled code finds the class again.
            "__qualname__": f"{function.__qualname__}.record_class",
            "term": staticmethod(inlined(_of_one(function) if outputs is None else function)),
            "outputs": tuple(f"y{k}" for k in range(outputs or 1)),
            "options": tuple(options),
        }
        # Numba's dispatcher tells classes of tuples apart by their names alone.
        name = function.__name__ if function.__module__ == __name__ else f"term{next(_numbers)}"
        function.record_class = type(name, (collections.namedtuple("Term", ()),), body)
        function.record = function.record_class()
    return function.record


def _of_one(function):
    """Return the term for tuples of one output."""
    function = inlined(function)

    def term(y, t, *options):
        loss, slope = function(y[0], t, *options)
        return loss, (slope,)

    return term


def loss_term(term, y, t, options):
    """Call the function of a record of `term_record` for a tuple of outputs: (loss, tuple of slopes)."""
    return term.term(y, t, *options)


@overload(loss_term, jit_options=INLINE)
def _loss_term(term, y, t, options):
    function = record_class(term).term
    return lambda term, y, t, options: function(y, t, *options)


def _term(outputs=None):
    """Return a decorator that enters a function into `TERMS`, the records of the package's losses."""

    def enter(function):
        TERMS[function.__name__] = term_record(function, outputs)
        return function

    return enter


@_term()
def squared(y, t):
    """Squared error: (y - t)^2."""
    d = y - t
    return d * d, d + d


@_term()
def absolute(y, t):
    """Absolute error: ``|y - t|``, with slope 0 where they are equal."""
    d, zero, one = y - t, type(y)(0), type(y)(1)
    # What is neither above nor below zero is zero, or NaN.
    return abs(d), one if d > zero else -one if d < zero else d


@_term()
def huber(y, t, delta):
    """Huber's error: ``d^2 / 2`` where ``|d| <= delta``, else ``delta (|d| - delta / 2)``, with d = y - t.

    P. J. Huber, Annals of Mathematical Statistics 35 (1964).
    """
    d = y - t
    slope = clip(d, delta)
    # Both cases in one formula: branches that errors of all sizes take by turns cost more than the rest.
    return slope * (d - type(y)(0.5) * slope), slope


@_term()
def binary_cross_entropy(y, t, pos_weight, weight):
    """Binary cross-entropy: -w (p t log s(y) + (1 - t) log(1 - s(y))), s the logistic function, p = pos_weight, w = weight.

    With ``e = exp(-|y|)``, ``-log s(y) = log(1 + e) + max(-y, 0)``: nothing overflows or cancels.
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


# Losses of distributions: several outputs for each target

_HALF_LOG_2PI = 0.5 * math.log(2 * math.pi)


@inlined
def softplus(x):
    """Return log(1 + exp(x)) of any x."""
    return log1p(exp(-abs(x))) + max(x, type(x)(0))


@inlined
def _pinball(q, t, level, share):
    """Return share max(level (t - q), (level - 1) (t - q)) and its slope in q, 0 where they are equal."""
    d, zero, one = q - t, type(q)(0), type(q)(1)
    slope = share * (one - level) if d > zero else -share * level if d < zero else d
    return slope * d, slope


@functools.cache
def _quantiles_above(count):
    """Return the term of so many quantiles above one: (that one, y, t, levels, share) -> (loss, slope of it in that one, slopes).

    A loop over tuples would need their lengths; each length has a function, made of the next shorter one's.
    """
    if count == 0:
        return inlined(lambda below, y, t, levels, share: (type(t)(0), type(t)(0), ()))
    rest = _quantiles_above(count - 1)

    @inlined
    def above(below, y, t, levels, share):
        q = below + softplus(y[0])
        loss, slope = _pinball(q, t, levels[0], share)
        others, shift, slopes = rest(q, y[1:], t, levels[1:], share)
        shift = slope + shift
        return loss + others, shift, (shift * sigmoid(y[0]),) + slopes

    return above


@functools.cache
def quantile(count):
    """Return the term of so many quantiles: the mean of their pinball losses, with increments of softplus, which never cross.

    q_1 = y_1, q_k = q_(k-1) + log(1 + exp(y_k));  mean over k of max(l_k (t - q_k), (l_k - 1) (t - q_k)), with the levels l.

    R. Koenker, G. Bassett, "Regression quantiles", Econometrica 46 (1978).
    """
    above = _quantiles_above(count - 1)

    def term(y, t, *levels):
        share = type(t)(1 / count)
        loss, slope = _pinball(y[0], t, levels[0], share)
        others, shift, slopes = above(y[0], y[1:], t, levels[1:], share)
        return loss + others, (slope + shift,) + slopes

    term.__name__ = term.__qualname__ = f"quantile_{count}"
    return term


def __getattr__(name):
    """Return a term of `quantile` by its name: a file of compiled code finds its class again."""
    stem, _, count = name.partition("_")
    if stem == "quantile" and count.isdecimal():
        return quantile(int(count))
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


_term(3)(quantile(3))


@_term(2)
def gaussian(y, t, floor):
    """Negative log-likelihood of a normal distribution: log(2 pi) / 2 + log s + ((t - m) / s)^2 / 2.

    m = y_1 and s = log(1 + exp(y_2)) + floor. D. A. Nix, A. S. Weigend, ICNN 1994, with s^2 as its variance.
    """
    mean, raw = y
    one, half = type(t)(1), type(t)(0.5)
    scale = softplus(raw) + floor
    z = (t - mean) / scale
    loss = type(t)(_HALF_LOG_2PI) + math.log(scale) + half * z * z
    return loss, (-z / scale, sigmoid(raw) * (one - z * z) / scale)


@inlined
def stirling_error(x):
    """Return lgamma(x) - ((x - 1/2) log x - x + log(2 pi) / 2) for x > 0: what is lost in no difference of large values."""
    real = type(x)
    if x < real(8):
        return math.lgamma(x) - (x - real(0.5)) * math.log(x) + x - real(_HALF_LOG_2PI)
    q = real(1) / (x * x)
    p = real(1 / 1188) - q * (real(691 / 360360) - q * real(1 / 156))
    p = real(1 / 12) - q * (real(1 / 360) - q * (real(1 / 1260) - q * (real(1 / 1680) - q * p)))
    return p / x


@inlined
def stirling_slope(x):
    """Return the derivative of `stirling_error`, digamma(x) - log x + 1 / (2 x), for x > 0.

    The asymptotic series at x + n >= 8 and digamma(x) = digamma(x + n) - sum_(i < n) 1 / (x + i): M. Abramowitz, I. A. Stegun,
    "Handbook of Mathematical Functions" (1964), 6.3.18 and 6.3.6.
    """
    real = type(x)
    one, half, start, total = real(1), real(0.5), x, real(0)
    for _ in range(8):
        if x < real(8):
            total += one / x
            x += one
    q = one / (x * x)
    p = real(1 / 132) - q * (real(691 / 32760) - q * real(1 / 12))
    p = real(1 / 12) - q * (real(1 / 120) - q * (real(1 / 252) - q * (real(1 / 240) - q * p)))
    return half / start - half / x + math.log(x / start) - total - q * p


@inlined
def _log1p_curvature(u, log):
    """Return (log(1 + u) - u) / u^2, given log(1 + u); near zero by its series in s = u / (2 + u)."""
    real = type(u)
    if abs(u) >= real(0.2):
        return (log - u) / (u * u)
    w = real(1) / (real(2) + u)
    s = u * w
    q = s * s
    p = real(1 / 9) + q * (real(1 / 11) + q * (real(1 / 13) + q * (real(1 / 15) + q * real(1 / 17))))
    p = real(1 / 3) + q * (real(1 / 5) + q * (real(1 / 7) + q * p))
    return w * (real(2) * s * w * p - real(1))


@inlined
def _count_ratio(count, mean, alpha):
    """Return d = (z - m) / (1 + a m) and log((1 + a z) / (1 + a m)) = log(1 + a d) for a count z."""
    real = type(mean)
    spread = real(1) + alpha * mean
    d = (count - mean) / spread
    u = alpha * d
    return d, math.log1p(u) if abs(u) < real(0.5) else math.log((real(1) + alpha * count) / spread)


@inlined
def log_count_probability(count, mean, log_mean, alpha):
    """Return the logarithm of the negative binomial probability of a count z with mean m and variance m + a m^2.

    log G(z + r) - log G(z + 1) - log G(r) - r log(1 + a m) + z log(a m / (1 + a m)), r = 1 / a, G the gamma function. Its terms
    are large and nearly cancel (in float32 the first and third are off by 0.08 at z = 5, r = 1e6), so G is written by Stirling's
    formula and its error S:

        r log(1 + a d) + z log(1 - d / z) - log(2 pi z (1 + a z)) / 2 + S(z + r) - S(r) - S(z),  d = (z - m) / (1 + a m),

    as C. Loader, "Fast and accurate computation of binomial probabilities" (2000), writes the binomial's.
    """
    real = type(mean)
    half, one = real(0.5), real(1)
    r = one / alpha
    d, log = _count_ratio(count, mean, alpha)
    found = r * log
    if count > real(0):
        own = math.log1p(-d / count) if d < half * count else log_mean - math.log(count) + log
        found += count * own - half * math.log(real(2 * math.pi) * count * (one + alpha * count))
        found += stirling_error(count + r) - stirling_error(r) - stirling_error(count)
    return found


@_term(2)
def negative_binomial(y, t, scale):
    """Negative log-likelihood of a count, with m and a of `log_count_probability` by outputs and the scale c.

    m = c log(1 + exp(y_1)) and a = log(1 + exp(y_2)) / sqrt(c).
    D. Salinas, V. Flunkert, J. Gasthaus, T. Januschowski, International Journal of Forecasting 36 (2020), section 3.1 and, of the
    scale, 3.3.
    """
    real = type(t)
    raw_mean, raw_alpha = y
    one, root = real(1), math.sqrt(scale)
    soft = softplus(raw_mean)
    # There softplus(x) is exp(x) to the last bit: its logarithm is x, and does not end where the exponential underflows.
    tiny = raw_mean < real(-37)
    mean, log_mean = scale * soft, math.log(scale) + (raw_mean if tiny else math.log(soft))
    # Below it nothing changes, and 1 / alpha^2 is still finite.
    least = real(1e-15)
    alpha = softplus(raw_alpha) / root
    alpha = least if alpha < least else alpha
    d, log = _count_ratio(t, mean, alpha)
    r = one / alpha
    # d loss / d alpha: digamma(z + r) - digamma(r) and what it nearly cancels with, in terms that stay.
    bend = d * d * _log1p_curvature(alpha * d, log) + real(0.5) * t / (one + alpha * t)
    bend += r * r * (stirling_slope(t + r) - stirling_slope(r))
    slopes = -d * (one if tiny else sigmoid(raw_mean) / soft), bend * sigmoid(raw_alpha) / root
    return -log_count_probability(t, mean, log_mean, alpha), slopes


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
