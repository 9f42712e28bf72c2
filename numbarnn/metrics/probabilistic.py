"""Metrics of probabilistic forecasts: quantiles, samples, normal distributions and intervals, each by one value to be made small.

Arrays are in the units of the target. Quantiles and samples of a target lie along the last axis, as the losses of distributions
return them. All values must be finite: drop unknown ones in all arguments alike.
"""

import math
from typing import Any

import numpy as np

from numbarnn.checks import check_levels, check_real
from numbarnn.errors import ShapeError
from numbarnn.metrics.forecasts import as_finite


def _like(values, name, truth, *last, of="truth"):
    """Return values as float64; raise ShapeError unless they have the shape of the truth, and a last axis of a length."""
    found = as_finite(values, name)
    if found.ndim - len(last) > truth.ndim:
        raise ShapeError(
            f"{of} must have shape {found.shape[: found.ndim - len(last)]}, as {name} has, got {truth.shape}"
        )
    if found.shape != (*truth.shape, *last):
        raise ShapeError(f"{name} must have shape {(*truth.shape, *last)}, got {found.shape}")
    return found


def _truth(truth):
    truth = as_finite(truth, "truth")
    if truth.size == 0:
        raise ShapeError(f"truth must have at least one value, got shape {truth.shape}")
    return truth


def _pinball(truth, predicted_quantiles, quantiles):
    """Return the pinball loss of every value and level, and the levels."""
    truth, levels = _truth(truth), np.array(check_levels(quantiles, "quantiles"))
    if levels.size == 0:
        raise ValueError("quantiles must have at least one level")
    d = truth[..., None] - _like(predicted_quantiles, "predicted_quantiles", truth, levels.size)
    return np.maximum(levels * d, (levels - 1) * d), levels


def pinball_loss(truth: Any, predicted_quantiles: Any, quantiles: Any) -> float:
    """Return the mean over values and levels l of max(l (y - q), (l - 1) (y - q)), the pinball or quantile loss.

    Parameters
    ----------
    truth : (...) array
    predicted_quantiles : (..., levels) array
    quantiles : sequence of float
        Levels of the quantiles, in (0, 1).

    Returns
    -------
    float
        At 0.5 alone, half the mean absolute error.

    Raises
    ------
    ShapeError
        If the shapes differ, or there are no values.
    TypeError
        If an argument is not real and numeric, or has masked values.
    ValueError
        If a value is NaN or infinite, or a level is not in (0, 1).

    References
    ----------
    R. Koenker, G. Bassett, "Regression quantiles", Econometrica 46 (1978), 33-50.

    Examples
    --------
    >>> round(pinball_loss([1.0, 2.0], [[0.0, 2.0], [1.0, 4.0]], [0.1, 0.5]), 10)
    0.425
    """
    return float(_pinball(truth, predicted_quantiles, quantiles)[0].mean())


def crps_from_quantiles(truth: Any, predicted_quantiles: Any, quantiles: Any) -> float:
    """Return the mean continuous ranked probability score, as twice the integral of the pinball loss over all levels.

    A level stands for those nearer to it than to its neighbours; the outermost for all up to 0 and 1. With many levels this comes
    near to the integral; with few it is a score of these quantiles.

    Parameters
    ----------
    truth : (...) array
    predicted_quantiles : (..., levels) array
    quantiles : sequence of float
        Levels of the quantiles, in (0, 1), strictly increasing.

    Returns
    -------
    float
        In the units of the target.

    Raises
    ------
    ShapeError, TypeError, ValueError
        As of `pinball_loss`; ValueError also if the levels do not increase.

    References
    ----------
    F. Laio, S. Tamea, "Verification tools for probabilistic forecasts of continuous hydrological variables", Hydrology and Earth
    System Sciences 11 (2007), 1267-1277.

    Examples
    --------
    >>> crps_from_quantiles([1.0], [[0.0, 2.0]], [0.25, 0.75])
    0.5
    """
    losses, levels = _pinball(truth, predicted_quantiles, quantiles)
    if (np.diff(levels) <= 0).any():
        raise ValueError(f"quantiles must be strictly increasing, got {levels.tolist()}")
    edges = np.concatenate([[0.0], 0.5 * (levels[1:] + levels[:-1]), [1.0]])
    return float(2 * (losses @ np.diff(edges)).mean())


def crps_from_samples(truth: Any, samples: Any) -> float:
    """Return the mean continuous ranked probability score ``E |X - y| - E |X - X'| / 2`` of the distribution that samples are.

    X and X' are independent draws from the samples. It is the score of their own distribution function, a little more than that
    of the distribution which they were drawn from: by ``E |X - X'| / (2 n)`` for n samples.

    Parameters
    ----------
    truth : (...) array
    samples : (..., n) array

    Returns
    -------
    float
        In the units of the target; of one sample the mean absolute error.

    Raises
    ------
    ShapeError, TypeError, ValueError
        As of `pinball_loss`.

    References
    ----------
    T. Gneiting, A. E. Raftery, "Strictly proper scoring rules, prediction, and estimation", Journal of the American Statistical
    Association 102 (2007), 359-378, equation 21, with the sign of a loss.

    Examples
    --------
    >>> crps_from_samples([1.0], [[0.0, 2.0]])
    0.5
    """
    truth, samples = _truth(truth), as_finite(samples, "samples")
    count = samples.shape[-1] if samples.ndim else 0
    if count == 0:
        raise ShapeError(f"samples must have at least one value along the last axis, got shape {samples.shape}")
    samples = _like(samples, "samples", truth, count)
    # Half of the mean |x_i - x_j| over all pairs: in order, sample i is above i of the others and below the rest.
    shares = (2 * np.arange(count) + 1 - count) / count**2
    spread = np.sort(samples, axis=-1) @ shares
    return float((np.abs(samples - truth[..., None]).mean(axis=-1) - spread).mean())


def crps_gaussian(truth: Any, mean: Any, scale: Any) -> float:
    """Return the mean continuous ranked probability score of normal distributions, s (z (2 F(z) - 1) + 2 f(z) - 1 / sqrt(pi)).

    z = (y - m) / s, f and F are the density and distribution function of the standard normal distribution.

    Parameters
    ----------
    truth, mean : arrays of one shape
    scale : array of that shape
        Standard deviations, positive.

    Returns
    -------
    float
        In the units of the target.

    Raises
    ------
    ShapeError, TypeError, ValueError
        As of `pinball_loss`; ValueError also if a scale is not positive.

    References
    ----------
    T. Gneiting, A. E. Raftery (2007), section 4.2, with the sign of a loss.

    Examples
    --------
    >>> round(crps_gaussian([0.0], [0.0], [1.0]), 6)
    0.233695
    """
    truth = _truth(truth)
    mean, scale = _like(mean, "mean", truth), _like(scale, "scale", truth)
    if scale.min() <= 0:
        raise ValueError(f"scale must be positive, got {scale.min()}")
    z = (truth - mean) / scale
    # 2 F(z) - 1
    sure = np.array([math.erf(value) for value in (z / math.sqrt(2)).flat]).reshape(z.shape)
    density = np.exp(-0.5 * z * z) / math.sqrt(2 * math.pi)
    return float((scale * (z * sure + 2 * density - 1 / math.sqrt(math.pi))).mean())


def _interval(lower, upper, truth=None):
    """Return the ends of intervals; raise ValueError where one ends before it begins."""
    lower = as_finite(lower, "lower") if truth is None else _like(lower, "lower", truth)
    if lower.size == 0:
        raise ShapeError(f"lower must have at least one value, got shape {lower.shape}")
    upper = _like(upper, "upper", lower, of="lower")
    crossed = np.argwhere(lower > upper)
    if len(crossed):
        first = tuple(crossed[0])
        index = ", ".join(map(str, first))
        raise ValueError(
            f"upper must not be below lower, but upper[{index}] is {upper[first]} and lower[{index}] {lower[first]}"
        )
    return lower, upper


def interval_coverage(truth: Any, lower: Any, upper: Any) -> float:
    """Return the share of values that lie in their intervals, ends included.

    Parameters
    ----------
    truth, lower, upper : arrays of one shape

    Returns
    -------
    float
        In [0, 1]; of calibrated intervals their nominal coverage.

    Raises
    ------
    ShapeError, TypeError, ValueError
        As of `pinball_loss`; ValueError also if an upper end is below its lower end.

    Examples
    --------
    >>> interval_coverage([1.0, 2.0], [0.0, 3.0], [1.0, 4.0])
    0.5
    """
    truth = _truth(truth)
    lower, upper = _interval(lower, upper, truth)
    return float(((lower <= truth) & (truth <= upper)).mean())


def interval_width(lower: Any, upper: Any) -> float:
    """Return the mean width of intervals, their sharpness.

    Parameters
    ----------
    lower, upper : arrays of one shape

    Returns
    -------
    float

    Raises
    ------
    ShapeError, TypeError, ValueError
        As of `interval_coverage`.

    Examples
    --------
    >>> interval_width([0.0, 3.0], [1.0, 5.0])
    1.5
    """
    lower, upper = _interval(lower, upper)
    return float((upper - lower).mean())


def interval_score(truth: Any, lower: Any, upper: Any, alpha: float) -> float:
    """Return the mean of (u - l) + 2 / alpha (l - y) where y < l, + 2 / alpha (y - u) where y > u: R. L. Winkler's score (1972).

    Parameters
    ----------
    truth, lower, upper : arrays of one shape
    alpha : float
        1 - the nominal coverage, in (0, 1): 0.1 for intervals between the quantiles 0.05 and 0.95.

    Returns
    -------
    float
        In the units of the target.

    Raises
    ------
    ShapeError, TypeError, ValueError
        As of `interval_coverage`; ValueError also if `alpha` is not in (0, 1).

    References
    ----------
    T. Gneiting, A. E. Raftery (2007), equation 43.

    Examples
    --------
    >>> interval_score([1.0, 2.0], [0.0, 3.0], [1.0, 4.0], 0.5)
    3.0
    """
    if not 0 < check_real(alpha, "alpha") < 1:
        raise ValueError(f"alpha must be in (0, 1), got {alpha}")
    truth = _truth(truth)
    lower, upper = _interval(lower, upper, truth)
    outside = np.maximum(lower - truth, 0) + np.maximum(truth - upper, 0)
    return float((upper - lower + 2 / alpha * outside).mean())
