"""Quality of forecasts and their intervals, beside baselines on the same windows."""

from collections.abc import Hashable
from dataclasses import dataclass, field

import numpy as np

from numbarnn import metrics
from numbarnn.checks import brief, check_choice
from numbarnn.errors import ShapeError
from numbarnn.forecasting import baselines
from numbarnn.forecasting.backtests import Block, bounds_of_blocks
from numbarnn.forecasting.durations import row_length
from numbarnn.forecasting.frames import PARTS
from numbarnn.forecasting.intervals import MOST_SCORES, MOST_WINDOWS, Calibration, Interval, normal_scores, scores_of
from numbarnn.forecasting.linear import Ridge
from numbarnn.forecasting.prediction import Outcome
from numbarnn.forecasting.series import Panel
from numbarnn.forecasting.targets import CHUNK, Source, Targets

# The names of the regressions among the baselines.
LINEAR = {"all": "ridge", "shared": "ridge, own past"}
TIE = 0.02  # errors that differ by less are as good as each other
COLUMNS = ["MAE", "RMSE", "MASE", "MAE/sd", "MSE/var"]
INTERVALS = ["coverage", "width", "interval score", "pinball", "CRPS"]


@dataclass(eq=False)
class Evaluation:
    """Forecasts of windows where the truth is known.

    The methods, which `numbarnn.Forecaster` documents, take the `numbarnn.forecasting.prediction.Predictor` that forecasts.

    Attributes
    ----------
    targets : Targets
        As a net learns them that gives the whole horizon at once.
    errors : list of float
        Mean absolute error of "the same as the row before" on the training part, of each target; of many series, of scaled values.
    season : int or None
        Rows of a season.
    panel, parts
        Rows of the data of `fit`, and its windows by part; None after loading.
    linear : dict of Ridge
        By "all" (the baseline "ridge") and "shared" ("ridge, own past"); the first is fitted when it is first needed.
    """

    targets: Targets
    errors: list
    season: int | None
    panel: Panel | None = None
    parts: dict | None = None
    linear: dict = field(default_factory=dict)

    def block(self, predictor, data, part, calibration=None, curves: bool = True, within=None) -> Block:
        """Return the forecasts of windows, with their curves if asked; `within` says which windows, by their newest rows."""
        panel, case, truth = self._case(data, part)
        if within is not None:
            some = within(panel, case[2])
            case, truth = (*case[:2], case[2][some]), truth[some]
        outcome = predictor.outcome(*case, curves=curves)
        scores = scores_of(outcome.curves, predictor.scores, truth) if curves else None
        return Block(self.targets, panel, case[2], outcome, predictor.scores, scores, calibration)

    def ends(self, part) -> np.ndarray:
        """Return the newest rows of the windows of a part of the data of `fit`."""
        return self._case(None, part)[1][2]

    def calibration(self, predictor) -> Calibration:
        """Return the calibration by the validation part."""
        _, (raw, known, ends), truth = self._case(None, "validation")
        some = _some(truth)
        curves = predictor.curves(raw, known, ends[some])
        return Calibration.of(scores_of(curves, predictor.scores, truth[some]))

    def intervals(self, predictor, data, part, asked: list[Interval], calibration):
        """Return what is to be known of intervals: `asked` for, `calibration` of the whole or None."""
        import pandas as pd

        own, rows = self.targets.preparation, {}
        block = self.block(predictor, data, part, calibration)
        every = np.arange(1, 20) / 20 if calibration is None else calibration.levels()
        quantiles = block.at(normal_scores(every) if calibration is None else calibration.at(every))
        truth = block.truth
        for interval in asked:
            bounds = bounds_of_blocks([block], interval)[0]
            for k, target in enumerate(own.targets):
                rows[target, interval.level] = _quality(interval, truth, bounds, quantiles, every, k)
        frame = pd.DataFrame.from_dict(rows, orient="index", columns=INTERVALS)
        frame.index = pd.MultiIndex.from_tuples(rows, names=["target", "level"])
        frame = frame.sort_index(level=0, sort_remaining=False)
        frame = frame.droplevel("target") if len(own.targets) == 1 else frame
        # For plots: how many windows there are that have no row ahead in common.
        frame.attrs["windows"] = max(1, len(block.ends) // (self.targets.delay + self.targets.horizon - 1))
        return frame

    def evaluate(self, predictor, data, part, own_baselines, per_target: bool, interval=None, calibration=None):
        """Return errors of the net and of the baselines, of each target or their means over the targets.

        With an `interval`, what is to be known of intervals too: those of the net by `calibration`, those of a baseline by its own
        errors on the validation part.
        """
        import pandas as pd

        own = self.targets.preparation
        names = own.targets
        panel, case, truth = self._case(data, part)
        ends, rows, columns = case[2], {}, self.targets.columns
        measured = self.targets.measured(panel, ends)
        outcome = predictor.outcome(*case, curves=interval is not None)
        rivals = {"net": outcome.values} | self._rivals(panel, case, own_baselines)
        spread = {} if interval is None else self._rival_calibrations(own_baselines)
        for name, values in rivals.items():
            units = panel.units(values, ends, columns)
            found = None
            if name == "net" and interval is not None:
                scores = scores_of(outcome.curves, predictor.scores, truth)
                found = Block(self.targets, panel, ends, outcome, predictor.scores, scores, calibration)
            elif name in spread:
                point = Outcome(values, values[..., None], None)
                found = Block(self.targets, panel, ends, point, np.zeros(1), truth - values, spread[name])
            if found is not None:
                bounds, every = bounds_of_blocks([found], interval)[0], found.calibration.levels()
                quantiles = found.at(found.calibration.at(every))
            for k, target in enumerate(names):
                y, f, deviation = truth[:, :, k], values[:, :, k], self.targets.deviation[k]
                mase = metrics.mase(y, f, self.errors[k])
                scaled = metrics.mae(y, f) / deviation, (metrics.rmse(y, f) / deviation) ** 2
                y, f = measured[:, :, k], units[:, :, k]
                rows[target, name] = (metrics.mae(y, f), metrics.rmse(y, f), mase, *scaled)
                if interval is not None:
                    nothing = (np.nan,) * len(INTERVALS)
                    rows[target, name] += (
                        nothing if found is None else _quality(interval, measured, bounds, quantiles, every, k)
                    )
        titles = COLUMNS + (INTERVALS if interval is not None else [])
        frame = pd.DataFrame.from_dict(rows, orient="index", columns=titles)
        frame.index = pd.MultiIndex.from_tuples(rows, names=["target", "forecast"])
        frame = frame.sort_index(level=0, sort_remaining=False)
        comparable = COLUMNS[2:] + (INTERVALS[:1] if interval is not None else [])
        means = frame[comparable].groupby(level="forecast", sort=False).mean()
        found = frame if per_target else means
        found = found.droplevel("target") if per_target and len(names) == 1 else found
        found.attrs["verdict"] = verdict(means["MAE/sd"], outcome.linear_share)
        return found

    def _rival_calibrations(self, own_baselines) -> dict[str, Calibration]:
        """Return the calibrations of the baselines by the validation part; none of a forecaster that was loaded."""
        if self.parts is None:
            return {}
        panel, (raw, known, ends), truth = self._case(None, "validation")
        some = _some(truth)
        found = self._rivals(panel, (raw, known, ends[some]), own_baselines)
        return {name: Calibration.of(truth[some] - values) for name, values in found.items()}

    def score(self, predictor, data, part) -> float:
        """Return the coefficient of determination, the mean over the targets."""
        panel, case, _ = self._case(data, part)
        ends, columns = case[2], self.targets.columns
        found = panel.units(predictor.ahead(*case), ends, columns)
        truth = self.targets.measured(panel, ends)
        return metrics.r2(truth.reshape(-1, len(columns)), found.reshape(-1, len(columns)))

    def errors_by_horizon(self, predictor, data, part, target):
        """Return the MAE of the net and of the baselines for each number of rows ahead."""
        import pandas as pd

        targets = self.targets
        panel, case, truth = self._case(data, part)
        k, known = 0, targets.preparation.targets
        if target is not None:
            if not isinstance(target, Hashable) or target not in known:
                raise KeyError(
                    f"target must be one of the targets of fit, {', '.join(map(repr, known))}, got {brief(target)}"
                )
            k = known.index(target)
        at = panel.scale[panel.series_of(case[2]), targets.columns[k]][:, None]
        columns = {
            name: (np.abs(values[:, :, k] - truth[:, :, k]) * at).mean(axis=0)
            for name, values in ({"net": predictor.ahead(*case)} | self._rivals(panel, case)).items()
        }
        ahead = pd.RangeIndex(targets.delay, targets.delay + targets.horizon, name="rows ahead")
        found = pd.DataFrame(columns, index=ahead)
        found.attrs["row"] = row_length(targets.preparation.clock)  # for plots, as the target
        found.attrs["target"] = known[k]
        return found

    def rivals_ahead(self, newest, own_baselines) -> dict[str, np.ndarray]:
        """Return what baselines forecast from the newest windows, (series, horizon, targets) each, scaled as the panel."""
        return self._rivals(newest.panel, newest.case, own_baselines)

    def _case(self, data, part):
        """Return a panel, its windows as a predictor takes them, and the truth (windows, horizon, targets), scaled as it is."""
        targets, own = self.targets, self.targets.preparation
        check_choice(part, "part", PARTS)
        if data is None:
            if self.parts is None:
                raise ValueError("a forecaster that was loaded has no data; pass some")
            if part not in self.parts:
                raise ValueError(f"part must be one that the split made, {', '.join(self.parts)}, got {brief(part)}")
            windows, panel = self.parts[part], self.panel
            known = own.known_rows(panel.index, panel.values)
        else:
            panel = own.panel(data)
            known = own.known_rows(panel.index, panel.values)
            windows = targets.windows(panel, own.features(panel.values, known))
        truth = windows.y.reshape(len(windows), targets.horizon, len(own.targets))
        return panel, (panel.values, known, np.asarray(windows.ends) + own.lag), truth

    def _rivals(self, panel, case, own_baselines=None) -> dict[str, np.ndarray]:
        """Return the forecasts of every baseline, (windows, horizon, targets) each, scaled as the panel."""
        own, (delay, horizon) = self.targets.preparation, (self.targets.delay, self.targets.horizon)
        raw, known, ends = case
        series, first = raw[:, self.targets.columns], panel.starts[panel.series_of(ends)]
        found = {"last value": baselines.last_value(series, ends, delay, horizon)}
        if self.season is not None:
            rows = baselines.seasonal_rows(ends, delay, horizon, self.season)
            # Windows at the very beginning, or with a gap that a window steps over, have no such row.
            if (rows >= first[:, None]).all() and np.isfinite(series[rows]).all():
                found[f"seasonal ({self.season})"] = series[rows]
        found["drift"] = baselines.drift(series, ends, delay, horizon, 1 - int(own.window_rows[0]))
        known_rows = min(own.lookback, int((ends - first).min()) + 1)
        found["moving mean"] = baselines.moving_mean(series, ends, delay, horizon, known_rows)
        if "all" not in self.linear and self.parts is not None:
            train, validation = (
                name in self.parts and Source(self.targets, self.panel.values, self.parts[name])
                for name in ("train", "validation")
            )
            self.linear["all"] = Ridge.fit(train, validation or None)
        features = own.features(raw, known)
        for kind, ridge in self.linear.items():
            parts = [ridge.predict(own.inputs(features, some)) for some in np.array_split(ends, -(-len(ends) // CHUNK))]
            found[LINEAR[kind]] = self.targets.decode(np.concatenate(parts), raw, ends)
        for name, function in (own_baselines or {}).items():
            found[name] = self._own(name, function, panel, ends)
        return found

    def _own(self, name, function, panel, ends):
        """Return the forecasts of a baseline of the caller's."""
        own, targets = self.targets.preparation, self.targets
        if not callable(function):
            raise TypeError(f"baselines must be functions by name, got {brief(function)} for {name!r}")
        shape, parts = (targets.horizon, len(targets.columns)), []
        for some in np.array_split(ends, -(-len(ends) // CHUNK)):
            past = panel.values[some[:, None] + own.window_rows][:, :, : panel.truth.shape[1]]
            past = panel.units(past, some, list(range(past.shape[2])))
            values = np.asarray(function(past, targets.delay + np.arange(targets.horizon)), np.float64)
            if values.shape != (len(some), *shape):
                raise ShapeError(
                    f"baselines: {name!r} must return (windows, horizon, targets) = {(len(some), *shape)}, got {values.shape}"
                )
            parts.append(panel.scaled(values, some, targets.columns))
        return np.concatenate(parts)


def _some(truth) -> np.ndarray:
    """Return evenly spaced windows for a calibration, as many as are worth it."""
    most = max(200, min(MOST_WINDOWS, MOST_SCORES // truth[0].size))
    return np.unique(np.linspace(0, len(truth) - 1, min(len(truth), most)).astype(np.int64))


def _quality(interval, truth, bounds, quantiles, levels, k) -> tuple[float, ...]:
    """Return `INTERVALS` of a target."""
    y, lower, upper = truth[..., k], bounds[..., k, 0], bounds[..., k, 1]
    return (
        metrics.interval_coverage(y, lower, upper),
        metrics.interval_width(lower, upper),
        metrics.interval_score(y, lower, upper, 1 - interval.level),
        metrics.pinball_loss(y, bounds[:, :, k], interval.levels),
        metrics.crps_from_quantiles(y, quantiles[:, :, k], levels),
    )


def verdict(errors, linear: float | None = None) -> str:
    """Return in words how the forecaster does beside the best baseline, by an error of every forecast.

    `linear` is the share that the linear path has in it.
    """
    best = errors.drop("net").idxmin()
    net, other = errors["net"], errors[best]
    change = (net - other) / other if other > 0 else float(net > 0)
    figures = f"MAE {net:.3g} standard deviations, that of {best} {other:.3g}"
    if change < -TIE:
        said = f"The forecaster is {-change:.0%} better than the best baseline: {figures}."
    elif change <= TIE:
        said = f"The forecaster is as good as the best baseline, which is simpler: {figures}."
    else:
        advice = "more rows, a longer lookback, calendar features, or the baseline itself"
        said = f"The forecaster is {change:.0%} worse than the best baseline: {figures}. Try {advice}."
    if linear is None:
        return said
    nothing = ", the recurrent net nothing" if linear > 1 - 1e-9 else ""
    return f"{said} Its linear path makes {linear:.1%} of the forecasts{nothing}."
