"""Forecasts that a net has to beat. All get the same windows as the net.

The targets of a window that ends at row e are rows e + delay + k, k = 0, ..., horizon - 1. Results have shape (windows, horizon,
targets).
"""

import numpy as np

# The penalties that `Ridge` chooses from, times the number of windows.
PENALTIES = np.logspace(-6, 2, 17)
# Windows that `Ridge` learns from at most: evenly spaced ones, so that 1,700 inputs take seconds.
MOST_WINDOWS = 25_000
BLOCK = 2048


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


def moving_mean(series: np.ndarray, ends: np.ndarray, delay: int, horizon: int, rows: int) -> np.ndarray:
    """Return the mean of the last `rows` rows, those without NaN, for every row ahead."""
    known = np.isfinite(series)
    sums, counts = np.zeros((2, len(series) + 1, series.shape[1]))
    np.cumsum(np.where(known, series, 0), axis=0, out=sums[1:])
    np.cumsum(known, axis=0, out=counts[1:])
    after = np.asarray(ends) + 1
    means = (sums[after] - sums[after - rows]) / (counts[after] - counts[after - rows])
    return np.repeat(means[:, None], horizon, axis=1)


class Ridge:
    """Linear regression of the targets on all values of a window, with a penalty on the squared weights.

    The penalty is the one of `PENALTIES` with the least squared error on validation windows. Inputs and targets are centred, so
    the intercept bears no penalty. Of more than `MOST_WINDOWS` training windows, evenly spaced ones are taken.

    Attributes
    ----------
    weights : (inputs, targets) array
    penalty : float
    """

    def __init__(self, train, validation=None):
        """Learn from sources: ``len(source.windows)`` samples, of which ``source.gather(samples)`` gives x and y."""
        count = len(train.windows)
        chosen = np.unique(np.linspace(0, count - 1, min(count, MOST_WINDOWS)).astype(np.int64))
        x, y = _gathered(train, chosen[:1])
        sums = [np.zeros(x.shape[1]), np.zeros(y.shape[1])]
        products = [np.zeros((x.shape[1], x.shape[1])), np.zeros((x.shape[1], y.shape[1]))]
        for first in range(0, len(chosen), BLOCK):
            x, y = _gathered(train, chosen[first : first + BLOCK])
            sums[0] += x.sum(axis=0)
            sums[1] += y.sum(axis=0)
            products[0] += x.T @ x
            products[1] += x.T @ y
        n = len(chosen)
        self.x_mean, self.y_mean = sums[0] / n, sums[1] / n
        values, vectors = np.linalg.eigh(products[0] / n - np.outer(self.x_mean, self.x_mean))
        values = np.maximum(values, 0)
        aims = vectors.T @ (products[1] / n - np.outer(self.x_mean, self.y_mean))
        best = None
        for penalty in PENALTIES:
            self.weights, self.penalty = vectors @ (aims / (values + penalty)[:, None]), float(penalty)
            error = 0.0 if validation is None else self._error(validation)
            if best is None or error < best[0]:
                best = (error, self.weights, self.penalty)
            if validation is None and penalty >= 1e-2:
                break  # nothing to choose by: a hundredth of a standardised input's variance
        if validation is not None:
            _, self.weights, self.penalty = best

    def predict(self, x: np.ndarray) -> np.ndarray:
        """Return (windows, targets) for windows (windows, rows, features)."""
        return (x.reshape(len(x), -1) - self.x_mean) @ self.weights + self.y_mean

    def _error(self, source):
        total = 0.0
        for first in range(0, len(source.windows), BLOCK):
            x, y = source.gather(np.arange(first, min(first + BLOCK, len(source.windows))))
            total += np.square(self.predict(x) - y).sum()
        return total


def _gathered(source, samples):
    x, y = source.gather(samples)
    return x.reshape(len(x), -1).astype(np.float64), y.astype(np.float64)
