"""Forecasts that a net has to beat. All get the same windows as the net.

The targets of a window that ends at row e are rows e + delay + k, k = 0, ..., horizon - 1. Results have shape (windows, horizon,
targets).
"""

import numpy as np


def last_value(series: np.ndarray, ends: np.ndarray, delay: int, horizon: int) -> np.ndarray:
    """Return the newest value of the window for every row ahead.

    Parameters
    ----------
    series : (rows, targets) array
    ends : (windows,) integers
    """
    return np.repeat(series[ends][:, None], horizon, axis=1)


def seasonal_rows(ends: np.ndarray, delay: int, horizon: int, season: int) -> np.ndarray:
    """Return the newest known rows of the same season (windows, horizon): as many whole seasons before the target as it takes."""
    ahead = delay + np.arange(horizon)
    return np.asarray(ends)[:, None] + ahead - season * -(-ahead // season)


def drift(series: np.ndarray, ends: np.ndarray, delay: int, horizon: int, rows: int) -> np.ndarray:
    """Return the line through the first and the newest of the last `rows` rows."""
    ends = np.asarray(ends)
    slope = (series[ends] - series[ends - rows + 1]) / max(rows - 1, 1)
    return series[ends][:, None] + (delay + np.arange(horizon))[:, None] * slope[:, None]


def moving_mean(series: np.ndarray, ends: np.ndarray, delay: int, horizon: int, rows: int) -> np.ndarray:
    """Return the mean of the last `rows` rows, those without NaN, for every row ahead."""
    known = np.isfinite(series)
    sums, counts = np.zeros((2, len(series) + 1, series.shape[1]))
    np.cumsum(np.where(known, series, 0), axis=0, out=sums[1:])
    np.cumsum(known, axis=0, out=counts[1:])
    after = np.asarray(ends) + 1
    means = (sums[after] - sums[after - rows]) / (counts[after] - counts[after - rows])
    return np.repeat(means[:, None], horizon, axis=1)
