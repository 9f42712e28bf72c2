"""From rows and a fitted net to forecasts in the units of the targets: all at once, row after row, and as draws."""

import dataclasses

import numpy as np

from numbarnn.errors import ShapeError
from numbarnn.forecasting.intervals import LEVELS, normal_scores
from numbarnn.forecasting.net import Forecast
from numbarnn.forecasting.series import Panel, index_of
from numbarnn.forecasting.tables import CHUNK, Preparation, Targets
from numbarnn.losses import DistributionLoss

# Paths of a recursive forecast whose quantiles are its distribution.
PATHS = 100


@dataclasses.dataclass(eq=False)
class Predictor:
    """Forecasts of windows of a table.

    Methods take `raw`, values of rows (rows, columns); `known`, the `Preparation.known_rows` of these and of those ahead of them;
    `ends`, the newest rows of windows.

    Attributes
    ----------
    preparation : Preparation
    targets : Targets
        As the net learns them: of a recursive forecaster all columns of the next row.
    forecast : Forecast
    delay, horizon : int
    recursive : bool
    seed : int
        Of the draws that quantiles of recursive forecasts are made of.
    n_threads : int or None
    """

    preparation: Preparation
    targets: Targets
    forecast: Forecast
    delay: int
    horizon: int
    recursive: bool
    seed: int
    n_threads: int | None

    def ahead(self, raw, known, ends) -> np.ndarray:
        """Return forecasts (windows, horizon, targets)."""
        if self.recursive:
            parts = [
                self._path(raw, known, ends[first : first + CHUNK], lambda x: self.forecast(x, self.n_threads))
                for first in range(0, len(ends), CHUNK)
            ]
            return np.concatenate(parts)
        return np.concatenate(
            [self.targets.decode(self.forecast(*x), raw, some) for x, some in self._x(raw, known, ends)]
        )

    @property
    def scores(self) -> np.ndarray:
        """Scores of the knots of `curves`."""
        drawn = self.recursive and isinstance(self.forecast.loss, DistributionLoss)
        return normal_scores(LEVELS) if drawn else self.forecast.scores

    def curves(self, raw, known, ends) -> np.ndarray:
        """Return the curves of forecasts (windows, horizon, targets, knots); see `numbarnn.forecasting.intervals`."""
        if not isinstance(self.forecast.loss, DistributionLoss):
            return self.ahead(raw, known, ends)[..., None]
        if self.recursive:
            generator, parts = np.random.default_rng(self.seed), []
            for first in range(0, len(ends), 8):
                paths = self.draws(raw, known, ends[first : first + 8], PATHS, generator)
                parts.append(np.moveaxis(np.quantile(paths, LEVELS, axis=1), 0, -1))
            return np.concatenate(parts)
        parts = []
        for x, some in self._x(raw, known, ends):
            knots = self.forecast.knots(*x)
            parts.append(
                np.stack([self.targets.decode(knots[..., k], raw, some) for k in range(knots.shape[-1])], axis=-1)
            )
        return np.concatenate(parts)

    def draws(self, raw, known, ends, count: int, generator: np.random.Generator) -> np.ndarray:
        """Return draws (windows, count, horizon, targets) of what comes, under a loss of distributions.

        A recursive forecaster draws whole paths, each row from the rows before it; of another, rows ahead are drawn independently.
        """
        many = np.repeat(ends, count)

        def draw(x):
            return self.forecast.draw(x, generator, self.n_threads)

        if self.recursive:
            values = [self._path(raw, known, many[first : first + CHUNK], draw) for first in range(0, len(many), CHUNK)]
        else:
            values = [self.targets.decode(draw(x[0]), raw, some) for x, some in self._x(raw, known, many)]
        return np.concatenate(values).reshape(len(ends), count, self.horizon, -1)

    def _x(self, raw, known, ends):
        """Yield the arguments of `Forecast` for windows, and their ends, some at a time."""
        own = self.preparation
        features = own.features(raw, known)
        for first in range(0, len(ends), CHUNK):
            some = ends[first : first + CHUNK]
            yield (own.inputs(features, some), self.n_threads), some

    def _path(self, raw, known, ends, outputs_of):
        """Forecast row after row; `path` holds what was measured, then what was forecast."""
        own, targets = self.preparation, self.targets
        need, ahead = own.need, self.delay + self.horizon - 1
        rows = ends[:, None] + np.arange(1 - need, 1)
        path = np.zeros((len(ends), need + ahead, raw.shape[1]))
        path[:, :need] = raw[rows]
        known = known[ends[:, None] + np.arange(1 - need, ahead + 1)]
        calendar, constant = known.shape[-1] - len(own.known_columns), own.encoding.constant
        path[:, need:, constant] = path[:, need - 1 : need, constant]
        for t in range(ahead):
            seen = slice(t, t + need)
            x = own.features(path[:, seen], known[:, t : t + need + own.reach])[:, need - own.lag - 1 + own.window_rows]
            values = outputs_of(own.recentered(x)) * targets.scale + targets.center
            if own.season:
                values[:, own.columns] += path[:, need + t - own.season][:, own.columns]
            path[:, need + t, targets.columns] = values
            path[:, need + t, own.known_columns] = known[:, need + t, calendar:]
        return path[:, need + self.delay - 1 :, own.columns]

    def linear_share(self, raw, known, ends) -> float | None:
        """Return the share that the linear path has in the outputs of windows, by their squares; None without one."""
        if self.forecast.linear is None:
            return None
        sums = np.zeros(2)
        for x, _ in self._x(raw, known, ends):
            linear, net = self.forecast.parts(*x)
            sums += np.square(linear).sum(), np.square(net).sum()
        return float(sums[0] / sums.sum()) if sums.any() else 1.0


@dataclasses.dataclass(frozen=True, eq=False)
class Newest:
    """The newest windows of all series, and the times that are forecast from them.

    Attributes
    ----------
    panel : Panel
        The rows that windows need, and empty ones ahead.
    case : (raw, known, ends)
        As `Predictor` takes them.
    times : list of pandas.Index
    columns : list of int
        Of the targets.
    """

    panel: Panel
    case: tuple
    times: list
    columns: list

    @classmethod
    def of(cls, own: Preparation, rows: dict, future, delay: int, horizon: int) -> "Newest":
        """Return the newest windows of rows: values, in the units of the data, and times of series by key."""
        ahead_rows = delay + horizon - 1
        futures = own.futures(future, rows)
        parts, times, given = [], [], []
        for key, (values, index) in rows.items():
            where = "data has" if key is None else f"data of {key!r} has"
            if len(values) < own.need:
                raise ShapeError(f"{where} {len(values)} rows; a forecast looks at the last {own.need}")
            given.append(values)
            values, index = values[-own.need :], index[-own.need :]
            if own.encoding.fill is None and np.isnan(values).any():
                where = "the last rows" if key is None else f"the last rows of {key!r}"
                raise ValueError(
                    f"{where} have missing values, so there is nothing to forecast from; fill them, or train a Forecaster "
                    "with missing='ffill' or 'mask'"
                )
            ahead, empty = own.ahead(futures[key], values, index, ahead_rows)
            values = np.concatenate([values, empty])
            # Of irregular rows whose times are not known, nothing but the order is: what a calendar says of them is not seen.
            unknown = not (own.clock.regular or own.encoding.future)
            parts.append((values, values, index.append(index[-1:].repeat(ahead_rows) if unknown else ahead)))
            times.append(ahead[delay - 1 :])
        panel = Panel.of(list(rows) if own.many else None, parts, own.levels, given, own.encoding.fill)
        ends = panel.starts[:-1] + own.need - 1
        return cls(panel, (panel.values, own.known_rows(panel.index, panel.values), ends), times, own.columns)

    def frame(self, values, targets, name=None, labels=()):
        """Return values (series, horizon, targets), or (series, horizon, targets, labels), as a frame in the units of the data."""
        import pandas as pd

        columns = targets
        if name is not None:
            pairs = [(target, label) for target in targets for label in labels]
            columns = pd.MultiIndex.from_tuples(pairs, names=["target", name])
        values = self.panel.units(values, self.case[2], self.columns)
        which = np.repeat(np.arange(len(self.times)), values.shape[1])
        times = self.times[0] if len(self.times) == 1 else self.times[0].append(self.times[1:])
        return pd.DataFrame(
            values.reshape(len(times), -1), index=index_of(self.panel.keys, which, times), columns=columns
        )
