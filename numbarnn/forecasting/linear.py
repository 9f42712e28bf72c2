"""Linear regression of what is ahead on the values of a window: the linear path of a forecaster, and a baseline."""

import numpy as np

# The penalties that `Ridge` chooses from, times the number of windows; the last leaves nothing but the mean of the targets.
PENALTIES = np.append(np.logspace(-6, 2, 17), np.inf)
# Without validation windows there is nothing to choose by: a hundredth of a standardised input's variance.
UNCHOSEN = 1e-2
# Windows that `Ridge` learns from at most: evenly spaced ones, so that 1,700 inputs take seconds.
MOST_WINDOWS = 25_000
# Inputs of a regression on all values, and its weights, up to which a forecaster tries one unasked.
MOST_INPUTS, MOST_WEIGHTS = 2048, 2**22


class Ridge:
    """Linear regression of the targets on the values of a window, with a penalty on the squared weights.

    The penalty is the one of `PENALTIES` with the least squared error on validation windows. Inputs and targets are centred, so
    the intercept bears no penalty. Of more than `MOST_WINDOWS` windows, evenly spaced ones are taken.

    Attributes
    ----------
    shared : bool
        False: every target is forecast from all values of the window. True: from its own past alone, by weights that all targets
        share, and where values were missing.
    weights : (inputs, outputs) array
        Shared weights: (rows of the window, horizon), twice the rows with indicators of missing values.
    x_mean, y_mean : (inputs,), (outputs,) arrays
    penalty : float
    error : float
        Mean squared error on the validation windows, in the variances of the targets on the training part; NaN without them.
    """

    def __init__(self, targets, shared, weights, x_mean, y_mean, penalty=float("nan"), error=float("nan")):
        """Keep a regression that was fitted for the `numbarnn.forecasting.targets.Targets`."""
        self.targets, self.shared, self.weights, self.x_mean, self.y_mean = targets, shared, weights, x_mean, y_mean
        self.penalty, self.error = penalty, error

    @classmethod
    def fit(cls, train, validation=None, *, shared: bool = False) -> "Ridge":
        """Return the regression of `numbarnn.forecasting.targets.Source`s."""
        found = cls(train.targets, shared, None, None, None)
        x_mean, y_mean, xx, xy, _ = found._moments(train)
        values, vectors = np.linalg.eigh(xx - np.outer(x_mean, x_mean))
        values = np.maximum(values, 0)
        aims = vectors.T @ (xy - np.outer(x_mean, y_mean))
        found.x_mean, found.y_mean = x_mean, y_mean
        if validation is None:
            found.penalty = UNCHOSEN
            found.weights = vectors @ (aims / (values + UNCHOSEN)[:, None])
            return found
        # The error of every penalty from the moments about the training part's means: the windows are gathered once.
        x, y, xx, xy, yy = found._moments(validation)
        xx = xx - np.outer(x, x_mean) - np.outer(x_mean, x) + np.outer(x_mean, x_mean)
        xy = xy - np.outer(x, y_mean) - np.outer(x_mean, y) + np.outer(x_mean, y_mean)
        yy = yy - 2 * y * y_mean + y_mean**2
        xx, xy = vectors.T @ xx @ vectors, vectors.T @ xy
        shares = found._shares()
        for penalty in PENALTIES:
            weights = aims / (values + penalty)[:, None]
            errors = np.einsum("io,io->o", weights, xx @ weights - 2 * xy) + yy
            error = float((errors * shares).mean())
            if not error >= found.error:
                found.penalty, found.error, found.weights = float(penalty), error, weights
        found.weights = vectors @ found.weights
        return found

    def predict(self, x: np.ndarray) -> np.ndarray:
        """Return the targets (windows, outputs) as a net learns them, for windows (windows, rows, features)."""
        y = (self._inputs(x) - self.x_mean) @ self.weights + self.y_mean
        if not self.shared:
            return y
        targets = self.targets
        y = y.reshape(len(x), -1, targets.horizon).transpose(0, 2, 1) * targets.deviation
        return (y.reshape(len(x), -1) - targets.center) / targets.scale

    def _inputs(self, x):
        """Return a row for every window, or with shared weights for every window and target, in the target's deviations."""
        if self.shared:
            targets = self.targets
            ratio = targets.preparation.scaler.scale_[targets.columns] / targets.deviation
            past = x[:, :, targets.columns] * ratio
            if targets.indicators:
                missing = np.zeros_like(past)
                for k, index in enumerate(targets.indicators):
                    if index is not None:
                        missing[:, :, k] = x[:, :, index]
                past = np.concatenate([past, missing], axis=1)
            x = past.transpose(0, 2, 1).reshape(-1, past.shape[1])
        return x.reshape(len(x), -1).astype(np.float64)

    def _outputs(self, y):
        if not self.shared:
            return y
        targets = self.targets
        y = (y * targets.scale + targets.center).reshape(len(y), targets.horizon, -1) / targets.deviation
        return y.transpose(0, 2, 1).reshape(-1, targets.horizon)

    def _shares(self):
        """Return the factor that makes a share of the target's variance of each output's squared error."""
        targets = self.targets
        return 1.0 if self.shared else (targets.scale / np.tile(targets.deviation, targets.horizon)) ** 2

    def _moments(self, source):
        """Return means of inputs and outputs, and mean products of inputs, of both, and of each output with itself."""
        sums, n = None, 0
        for x, y in source.chunks(source.some(MOST_WINDOWS)):
            x, y = self._inputs(x), self._outputs(y)
            parts = [x.sum(axis=0), y.sum(axis=0), x.T @ x, x.T @ y, np.square(y).sum(axis=0)]
            sums = parts if sums is None else [total.__iadd__(part) for total, part in zip(sums, parts, strict=True)]
            n += len(x)
        return tuple(total / n for total in sums)
