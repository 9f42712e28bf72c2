"""Metrics of forecasts, which take values in the units of the target and return one value.

Forecasts, their truth and all weights must be finite: drop unknown values in truth and forecast alike.
"""

import math
from typing import Any

import numpy as np

from numbarnn.checks import brief, check_finite, check_integer, refuse_mask
from numbarnn.core.arrays import as_numeric
from numbarnn.errors import ShapeError

ADVICE = "leave out unknown values, in all arguments alike"


def as_finite(data, name):
    """Return values as float64; refuse any that are not numeric, masked, NaN or infinite."""
    refuse_mask(data, name, ADVICE)
    values = np.asarray(as_numeric(data, name), np.float64)
    check_finite(values, name, ADVICE)
    return values


def _pair(truth, forecast):
    truth, forecast = as_finite(truth, "truth"), as_finite(forecast, "forecast")
    if truth.shape != forecast.shape or truth.size == 0:
        if truth.size == 0:
            raise ShapeError(f"truth must have at least one value, got shape {truth.shape}")
        if truth.ndim < forecast.ndim:
            raise ShapeError(f"truth must have the shape of forecast, {forecast.shape}, got {truth.shape}")
        raise ShapeError(f"forecast must have the shape of truth, {truth.shape}, got {forecast.shape}")
    return truth, forecast


def mae(truth: Any, forecast: Any) -> float:
    """Return the mean absolute error, ``mean |y - f|``.

    Parameters
    ----------
    truth, forecast : arrays of one shape

    Returns
    -------
    float

    Raises
    ------
    ShapeError
        If the shapes differ, or there are no values.
    TypeError
        If an argument is not real and numeric, or has masked values.
    ValueError
        If a value is NaN or infinite, with the argument, the count and the first index.

    Examples
    --------
    >>> mae([1.0, 2.0], [1.0, 4.0])
    1.0
    """
    truth, forecast = _pair(truth, forecast)
    return float(np.abs(truth - forecast).mean())


def rmse(truth: Any, forecast: Any) -> float:
    """Return the root of the mean squared error, sqrt(mean (y - f)^2), over all values.

    Of several targets, scikit-learn averages the roots of each instead: ``root_mean_squared_error``.

    Parameters
    ----------
    truth, forecast : arrays of one shape

    Returns
    -------
    float

    Raises
    ------
    ShapeError, TypeError, ValueError
        As of `mae`.

    Examples
    --------
    >>> rmse([1.0, 2.0], [1.0, 4.0])
    1.4142135623730951
    """
    truth, forecast = _pair(truth, forecast)
    return float(np.sqrt(np.square(truth - forecast).mean()))


def naive_scale(series: Any, season: int = 1) -> float:
    """Return ``mean |y_t - y_{t - season}|`` of a training series, the denominator of `mase`; NaN where it is too short.

    Parameters
    ----------
    series : (rows,) or (rows, targets) array
    season : int
        Rows of a season; 1: changes from row to row.

    Returns
    -------
    float

    Raises
    ------
    ShapeError, TypeError, ValueError
        If `series` has no rows to count or is not finite, as in `mae`, or `season` is not a positive integer.

    Examples
    --------
    >>> naive_scale([1.0, 2.0, 4.0])
    1.5
    """
    check_integer(season, "season", 1, math.inf)
    series = as_finite(series, "series")
    if series.ndim == 0:
        raise ShapeError("series must have an axis of rows, got a single value")
    changes = np.abs(series[season:] - series[:-season])
    return float(changes.mean()) if changes.size else float("nan")


def mase(truth: Any, forecast: Any, scale: float) -> float:
    """Return the mean absolute scaled error, MAE / scale (Hyndman & Koehler 2006).

    Parameters
    ----------
    truth, forecast : arrays of one shape
    scale : float
        `naive_scale` of the series that was trained on. Where it is 0 (a constant series) or NaN (one that is too short) the error
        has no scale and is NaN.

    Returns
    -------
    float

    Raises
    ------
    ShapeError, TypeError, ValueError
        As in `mae`; ValueError also if `scale` is negative or infinite.

    References
    ----------
    R. J. Hyndman, A. B. Koehler, "Another look at measures of forecast accuracy", International Journal of Forecasting 22 (2006),
    679-688.

    Examples
    --------
    >>> mase([1.0, 2.0], [1.0, 4.0], naive_scale([1.0, 2.0, 4.0]))
    0.6666666666666666
    """
    error = mae(truth, forecast)
    number = as_numeric(scale, "scale")
    if number.ndim or number < 0 or np.isinf(number):
        raise ValueError(f"scale must be one finite number >= 0, got {brief(scale)}")
    return error / float(scale) if scale > 0 else float("nan")


def r2(truth: Any, forecast: Any, sample_weight: Any = None) -> float:
    """Return the coefficient of determination, 1 - sum w (y - f)^2 / sum w (y - mean y)^2, averaged over the targets.

    A constant target that is predicted exactly has 1, any other 0, as in scikit-learn.

    Parameters
    ----------
    truth, forecast : (n,) or (n, targets) arrays of one shape
    sample_weight : (n,) array, optional

    Returns
    -------
    float

    Raises
    ------
    ShapeError, TypeError, ValueError
        As in `mae`, also for the weights; ValueError if a weight is negative or all are 0.

    Examples
    --------
    >>> r2([1.0, 2.0, 3.0], [1.0, 2.0, 2.0])
    0.5
    """
    truth, forecast = _pair(truth, forecast)
    if truth.ndim == 0:
        raise ShapeError("truth and forecast must have an axis of samples, got single values")
    truth, forecast = truth.reshape(len(truth), -1), forecast.reshape(len(truth), -1)
    weight = np.ones(len(truth)) if sample_weight is None else as_weights(sample_weight)
    if weight.shape != (len(truth),):
        raise ShapeError(f"sample_weight must have shape ({len(truth)},), one for each sample, got {weight.shape}")
    if weight.sum() == 0:
        raise ValueError("sample_weight is 0 for every sample; one must be positive")
    mean = np.average(truth, axis=0, weights=weight)
    rest = weight @ np.square(truth - forecast)
    total = weight @ np.square(truth - mean)
    scores = np.where(rest == 0, 1.0, 0.0)
    varying = total > 0
    scores[varying] = 1 - rest[varying] / total[varying]
    return float(scores.mean())


def as_weights(sample_weight):
    """Return weights as float64; refuse what `as_finite` refuses, and negative weights."""
    weight = as_finite(sample_weight, "sample_weight")
    if weight.size and weight.min() < 0:
        first = ", ".join(map(str, np.argwhere(weight < 0)[0]))
        raise ValueError(f"sample_weight must not be negative, sample_weight[{first}] is {weight[weight < 0][0]}")
    return weight
