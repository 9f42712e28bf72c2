"""Quality of forecasts: backtests, and baselines on the same windows."""

from collections.abc import Callable, Hashable
from dataclasses import dataclass

import numpy as np

from numbarnn import metrics
from numbarnn.checks import brief, check_choice
from numbarnn.forecasting import baselines
from numbarnn.forecasting.tables import CHUNK, PARTS, Source, Targets


@dataclass(eq=False)
class Evaluation:
    """Forecasts of windows where the truth is known.

    The methods, which `numbarnn.Forecaster` documents, take a function of (rows, calendar features, ends of windows) that returns
    forecasts (windows, horizon, targets).

    Attributes
    ----------
    targets : Targets
        As a net learns them that gives the whole horizon at once.
    errors : list of float
        Mean absolute error of "the same as the row before" on the training part, of each target.
    season : int or None
        Rows of a season.
    raw, index, parts
        Rows and times of the data of `fit`, and its windows by part; None after loading.
    ridge : Ridge or None
        Fitted when it is first needed.
    """

    targets: Targets
    errors: list
    season: int | None
    raw: np.ndarray | None = None
    index: object = None
    parts: dict | None = None
    ridge: baselines.Ridge | None = None

    def backtest(self, forecast: Callable, data, part):
        """Return forecasts and truth of every window of a part."""
        import pandas as pd

        targets, own = self.targets, self.targets.preparation
        truths = [f"{name} truth" for name in own.targets]
        taken = {"origin", "ahead", *truths}
        collide = [name for name in own.targets if name in taken]
        if collide:
            raise ValueError(
                f"the target {collide[0]!r} has the name of another column of the result, {', '.join(sorted(taken))}; rename it "
                f"before fit, such as data.rename(columns={{{collide[0]!r}: 'value'}})"
            )
        raw, index, ends, truth = self._case(data, part)
        values = forecast(raw, own.calendar_rows(index), ends)
        ahead = np.tile(targets.delay + np.arange(targets.horizon), len(ends))
        origin = np.repeat(ends, targets.horizon)
        frame = pd.DataFrame({"origin": index[origin], "ahead": ahead}, index=index[origin + ahead])
        for k, name in enumerate(own.targets):
            frame[name] = values[:, :, k].reshape(-1)
            frame[truths[k]] = truth[:, :, k].reshape(-1)
        return frame

    def evaluate(self, forecast: Callable, data, part):
        """Return MAE, RMSE and MASE of the net and of the baselines."""
        import pandas as pd

        names = self.targets.preparation.targets
        raw, index, ends, truth = self._case(data, part)
        rows = {}
        for name, values in self._rivals(forecast, raw, index, ends).items():
            for k, target in enumerate(names):
                y, f = truth[:, :, k], values[:, :, k]
                rows[target, name] = (metrics.mae(y, f), metrics.rmse(y, f), metrics.mase(y, f, self.errors[k]))
        frame = pd.DataFrame.from_dict(rows, orient="index", columns=["MAE", "RMSE", "MASE"])
        frame.index = pd.MultiIndex.from_tuples(rows, names=["target", "forecast"])
        frame = frame.sort_index(level=0, sort_remaining=False)
        return frame.droplevel("target") if len(names) == 1 else frame

    def errors_by_horizon(self, forecast: Callable, data, part, target):
        """Return the MAE of the net and of the baselines for each number of rows ahead."""
        import pandas as pd

        targets = self.targets
        raw, index, ends, truth = self._case(data, part)
        k, known = 0, targets.preparation.targets
        if target is not None:
            if not isinstance(target, Hashable) or target not in known:
                raise KeyError(
                    f"target must be one of the targets of fit, {', '.join(map(repr, known))}, got {brief(target)}"
                )
            k = known.index(target)
        columns = {
            name: np.abs(values[:, :, k] - truth[:, :, k]).mean(axis=0)
            for name, values in self._rivals(forecast, raw, index, ends).items()
        }
        ahead = pd.RangeIndex(targets.delay, targets.delay + targets.horizon, name="rows ahead")
        return pd.DataFrame(columns, index=ahead)

    def _case(self, data, part):
        """Return rows, index, ends of windows and the truth, (windows, horizon, targets)."""
        targets, own = self.targets, self.targets.preparation
        check_choice(part, "part", PARTS)
        if data is None:
            if self.parts is None:
                raise ValueError("a forecaster that was loaded has no data; pass some")
            if part not in self.parts:
                raise ValueError(f"part must be one that the split made, {', '.join(self.parts)}, got {brief(part)}")
            windows, raw, index = self.parts[part], self.raw, self.index
        else:
            frame = own.frame(data)
            own.check_rows(frame.index)
            raw, index = own.values(frame), frame.index
            windows = targets.windows(frame, raw, own.features(raw, own.calendar_rows(index)))
        truth = windows.y.reshape(len(windows), targets.horizon, len(own.targets))
        return raw, index, np.asarray(windows.ends) + own.lag, truth

    def _rivals(self, forecast, raw, index, ends) -> dict[str, np.ndarray]:
        """Return the forecasts of the net and of every baseline, (windows, horizon, targets) each."""
        own, (delay, horizon) = self.targets.preparation, (self.targets.delay, self.targets.horizon)
        series = raw[:, self.targets.columns]
        found = {"net": forecast(raw, own.calendar_rows(index), ends)}
        found["last value"] = baselines.last_value(series, ends, delay, horizon)
        if self.season is not None:
            rows = baselines.seasonal_rows(ends, delay, horizon, self.season)
            # Windows at the very beginning, or with a gap that a window steps over, have no such row.
            if rows.min() >= 0 and np.isfinite(series[rows]).all():
                found[f"seasonal ({self.season})"] = series[rows]
        found["moving mean"] = baselines.moving_mean(
            series, ends, delay, horizon, min(own.lookback, int(ends.min()) + 1)
        )
        if self.ridge is None and self.parts is not None:
            train, validation = (
                name in self.parts and Source(self.targets, self.raw, self.parts[name])
                for name in ("train", "validation")
            )
            self.ridge = baselines.Ridge(train, validation or None)
        if self.ridge is not None:
            features = own.features(raw, own.calendar_rows(index))
            parts = [
                self.ridge.predict(features[some[:, None] - own.lag + own.window_rows])
                for some in np.array_split(ends, -(-len(ends) // CHUNK))
            ]
            found["ridge"] = self.targets.decode(np.concatenate(parts), raw, ends)
        return found
