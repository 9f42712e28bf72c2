"""From rows and a fitted net to forecasts in the units of the targets: all at once, row after row, and as draws."""

import dataclasses

import numpy as np

from numbarnn.errors import ShapeError
from numbarnn.forecasting.frames import place_of
from numbarnn.forecasting.intervals import LEVELS, Calibration, Interval, normal_scores, of_equal_length, scores_of
from numbarnn.forecasting.net import Forecast
from numbarnn.forecasting.paths import Paths
from numbarnn.forecasting.preparation import Preparation
from numbarnn.forecasting.series import Panel, index_of
from numbarnn.forecasting.targets import CHUNK, Targets
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
        return self.outcome(raw, known, ends, curves=False).values

    def curves(self, raw, known, ends) -> np.ndarray:
        """Return the curves of forecasts (windows, horizon, targets, knots); see `numbarnn.forecasting.intervals`."""
        if self._drawn:
            return self._curves_of_draws(raw, known, ends)
        return self.outcome(raw, known, ends).curves

    def outcome(self, raw, known, ends, curves: bool = True) -> "Outcome":
        """Return forecasts, and their curves if asked; the nets run once, but for those curves that are drawn."""
        squares = np.zeros(2)
        if self.recursive:
            values, features = [], self.preparation.features(raw, known)
            for some in self._some(ends):
                path, (linear, net) = self._paths.walk(raw, features, known, some, np.arange(len(some)))
                values.append(self._asked(path))
                squares += np.square(linear).sum(), np.square(net).sum()
            values = np.concatenate(values)
            found = (
                None if not curves else self._curves_of_draws(raw, known, ends) if self._drawn else values[..., None]
            )
        else:
            values, found = [], []
            for run, some in self._runs(raw, known, ends):
                linear, net = self.forecast.parts(*run)
                values.append(self.targets.decode(linear + net, raw, some))
                squares += np.square(linear).sum(), np.square(net).sum()
                if curves:
                    knots = self.forecast.knots(*run)
                    knots = [self.targets.decode(knots[..., k], raw, some) for k in range(knots.shape[-1])]
                    found.append(np.stack(knots, axis=-1))
            values, found = np.concatenate(values), np.concatenate(found) if curves else None
        share = None
        if self.forecast.linear is not None:
            share = float(squares[0] / squares.sum()) if squares.any() else 1.0
        return Outcome(values, found, share)

    @property
    def scores(self) -> np.ndarray:
        """Scores of the knots of `curves`."""
        return normal_scores(LEVELS) if self._drawn else self.forecast.scores

    def draws(self, raw, known, ends, count: int, generator: np.random.Generator) -> np.ndarray:
        """Return draws (windows, count, horizon, targets) of what comes, under a loss of distributions.

        A recursive forecaster draws whole paths, each row from the rows before it; of another, rows ahead are drawn independently.
        """
        return self._draws(raw, self.preparation.features(raw, known), known, ends, count, generator)

    def _draws(self, raw, features, known, ends, count, generator):
        many, values = np.repeat(np.arange(len(ends)), count), []
        for of in self._some(many):
            windows = ends[of[0] : of[-1] + 1]
            of = of - of[0]
            if self.recursive:
                values.append(self._asked(self._paths.walk(raw, features, known, windows, of, generator)[0]))
                continue
            outputs, linear = self.forecast.run(self.preparation.inputs(features, windows), self.n_threads)
            which = generator.integers(len(outputs), size=len(of))
            drawn = self.forecast.draw(np.stack(outputs)[which, of], None if linear is None else linear[of], generator)
            values.append(self.targets.decode(drawn, raw, windows[of]))
        return np.concatenate(values).reshape(len(ends), count, self.horizon, -1)

    @property
    def _drawn(self):
        """Whether curves are the quantiles of paths."""
        return self.recursive and isinstance(self.forecast.loss, DistributionLoss)

    @property
    def _paths(self):
        return Paths(self.preparation, self.targets, self.forecast, self.delay + self.horizon - 1, self.n_threads)

    def _asked(self, path):
        """Return the rows and columns of paths that are asked for."""
        return path[:, self.delay - 1 :, self.preparation.columns]

    def _curves_of_draws(self, raw, known, ends):
        generator, parts, some = np.random.default_rng(self.seed), [], CHUNK // PATHS
        features = self.preparation.features(raw, known)
        for first in range(0, len(ends), some):
            paths = self._draws(raw, features, known, ends[first : first + some], PATHS, generator)
            parts.append(np.moveaxis(np.quantile(paths, LEVELS, axis=1), 0, -1))
        return np.concatenate(parts)

    def _some(self, values):
        return (values[first : first + CHUNK] for first in range(0, len(values), CHUNK))

    def _runs(self, raw, known, ends):
        """Yield what linear path and nets make of windows, and their ends, some at a time."""
        features = self.preparation.features(raw, known)
        for some in self._some(ends):
            yield self.forecast.run(self.preparation.inputs(features, some), self.n_threads), some


@dataclasses.dataclass(frozen=True, eq=False)
class Outcome:
    """What a forecaster makes of windows.

    Attributes
    ----------
    values : (windows, horizon, targets) array
        Forecasts.
    curves : (windows, horizon, targets, knots) array or None
        See `numbarnn.forecasting.intervals`.
    linear_share : float or None
        The share that the linear path has in the outputs, by their squares, of a recursive forecaster those of the first row; None
        without one.
    """

    values: np.ndarray
    curves: np.ndarray | None
    linear_share: float | None


@dataclasses.dataclass(frozen=True, eq=False)
class Newest:
    """The newest windows of all series, and the times that are forecast from them.

    Attributes
    ----------
    panel : Panel
        The rows that windows need, and empty ones ahead.
    case : (raw, known, ends)
        As `Predictor` takes them.
    before : (windows,) integers
        The newest rows of the windows before, as far as they have no missing values.
    times : list of pandas.Index
    columns : list of int
        Of the targets.
    """

    panel: Panel
    case: tuple
    before: np.ndarray
    times: list
    columns: list

    @classmethod
    def of(cls, own: Preparation, rows: dict, future, delay: int, horizon: int, before: int = 0) -> "Newest":
        """Return the newest windows of rows: values, in the units of the data, and times of series by key.

        `before`: how many windows before the newest are looked at too; what was measured, where it is not the values, is the third
        of a series' rows then.
        """
        ahead_rows = delay + horizon - 1
        futures = own.futures(future, rows)
        parts, times, given = [], [], []
        for key, (values, index, *measured) in rows.items():
            if len(values) < own.need:
                raise ShapeError(
                    f"{place_of('data', key)} has {len(values)} rows; a forecast looks at the last {own.need}"
                )
            given.append(values)
            last = own.need + before
            values, index = values[-last:], index[-last:]
            truth = measured[0][-last:] if measured else values[:, : len(own.encoding.numbers)]
            if own.encoding.fill is None and np.isnan(values[-own.rows :]).any():
                where = place_of("the last rows", key)
                raise ValueError(
                    f"{where} have missing values, so there is nothing to forecast from; fill them, or train a Forecaster "
                    "with missing='ffill' or 'mask'"
                )
            ahead, empty = own.ahead(futures[key], values, index, ahead_rows)
            # Of irregular rows whose times are not known, nothing but the order is: what a calendar says of them is not seen.
            hidden = not (own.clock.regular or own.encoding.future)
            later = index[-1:].repeat(ahead_rows) if hidden else ahead
            unknown = np.full((ahead_rows, truth.shape[1]), np.nan)
            parts.append((np.concatenate([values, empty]), np.concatenate([truth, unknown]), index.append(later)))
            times.append(ahead[delay - 1 :])
        panel = Panel.of(list(rows) if own.many else None, parts, own.levels, given, own.encoding.fill)
        ends = panel.starts[1:] - 1 - ahead_rows
        known, earlier = own.known_rows(panel.index, panel.values), np.zeros(0, np.int64)
        if before:
            earlier = [np.arange(first + own.need - 1, end) for first, end in zip(panel.starts, ends, strict=False)]
            earlier = np.concatenate(earlier)
            missing = np.concatenate([[0], np.cumsum(~np.isfinite(panel.values).all(axis=1))])
            planned = np.concatenate([[0], np.cumsum(~np.isfinite(known).all(axis=1))])
            whole = missing[earlier + 1] == missing[earlier - own.rows + 1]
            earlier = earlier[whole & (planned[earlier + ahead_rows + 1] == planned[earlier + 1])]
        return cls(panel, (panel.values, known, ends), earlier, times, own.columns)

    def scores(self, predictor: Predictor, calibration: Calibration, interval: Interval) -> np.ndarray:
        """Return the scores of the bounds of intervals, (series, horizon, targets, 2), after the hits of the windows before."""
        raw, known, newest = self.case
        before, scores = self.before, np.empty((0, predictor.horizon, len(self.columns)))
        rows = before[:, None] + predictor.delay + np.arange(predictor.horizon)
        truth = self.panel.scaled_truth(self.columns)[rows]
        # As in backtests, windows of which a target is missing do not count; rows ahead are not known yet.
        later = rows > newest[self.panel.series_of(before)][:, None]
        whole = (np.isfinite(truth) | later[..., None]).all(axis=(1, 2))
        before, truth = before[whole], truth[whole]
        if len(before):
            scores = scores_of(predictor.curves(raw, known, before), predictor.scores, truth)
        edges = np.searchsorted(self.panel.series_of(before), np.arange(len(newest) + 1))
        found, counts = np.empty((len(newest), *scores.shape[1:], 2)), np.diff(edges)
        for series in of_equal_length(counts[None]):
            rows = edges[series] + np.arange(counts[series[0]])[:, None]
            piece = np.moveaxis(scores[rows], 1, -1)
            piece = np.concatenate([piece, np.full((1, *piece.shape[1:]), np.nan)])  # the newest window
            found[series] = np.moveaxis(interval.scores([(calibration, piece)], predictor.delay)[0][-1], -2, 0)
        return found

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
