"""Measures of forecasts. All take numbers in the units of the target and return one number."""

import numpy as np

from numbarnn.errors import ShapeError


def _pair(truth, forecast):
    truth, forecast = np.asarray(truth, np.float64), np.asarray(forecast, np.float64)
    if truth.shape != forecast.shape or truth.size == 0:
        raise ShapeError(f"truth and forecast must have one shape and values, got {truth.shape} and {forecast.shape}")
    return truth, forecast


def mae(truth, forecast) -> float:
    """Return the mean absolute error, mean |y - f|."""
    truth, forecast = _pair(truth, forecast)
    return float(np.abs(truth - forecast).mean())


def rmse(truth, forecast) -> float:
    """Return the root of the mean squared error, sqrt(mean (y - f)^2)."""
    truth, forecast = _pair(truth, forecast)
    return float(np.sqrt(np.square(truth - forecast).mean()))


def naive_scale(series, season: int = 1) -> float:
    """Return mean |y_t - y_{t - season}| of a training series, the denominator of `mase`; NaN where it is too short."""
    series = np.asarray(series, np.float64)
    changes = np.abs(series[season:] - series[:-season])
    changes = changes[np.isfinite(changes)]
    return float(changes.mean()) if changes.size else float("nan")


def mase(truth, forecast, scale: float) -> float:
    """Return the mean absolute scaled error, MAE / scale (Hyndman & Koehler 2006).

    Parameters
    ----------
    truth, forecast : arrays of one shape
    scale : float
        `naive_scale` of the series that was trained on.
    """
    if not scale > 0:
        return float("nan")
    return mae(truth, forecast) / scale


def r2(truth, forecast, sample_weight=None) -> float:
    """Return the coefficient of determination, 1 - sum w (y - f)^2 / sum w (y - mean y)^2, averaged over the targets.

    A constant target that is met exactly has 1, any other 0, as in scikit-learn.
    """
    truth, forecast = _pair(truth, forecast)
    truth, forecast = truth.reshape(len(truth), -1), forecast.reshape(len(truth), -1)
    weight = np.ones(len(truth)) if sample_weight is None else np.asarray(sample_weight, np.float64)
    mean = np.average(truth, axis=0, weights=weight)
    rest = weight @ np.square(truth - forecast)
    total = weight @ np.square(truth - mean)
    scores = np.where(rest == 0, 1.0, 0.0)
    varying = total > 0
    scores[varying] = 1 - rest[varying] / total[varying]
    return float(scores.mean())
