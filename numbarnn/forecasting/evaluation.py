"""How good a forecaster is: its forecasts where the truth is known, beside those that anybody can make."""

import numpy as np

from numbarnn import metrics
from numbarnn.forecasting import baselines
from numbarnn.forecasting.tables import CHUNK, ForecastTables, Source


class EvaluatedForecasts(ForecastTables):
    """Backtests and comparisons of a `numbarnn.Forecaster`, which has the method `_forecast`."""

    def backtest(self, data=None, part: str = "test"):
        """Forecast from every window of a part, where the truth is known.

        Parameters
        ----------
        data : DataFrame, Series or array, optional
            Other rows with the columns that were fitted; all their windows. None: a part of the data of `fit`. Times may be in
            another time zone; results come in the zone of the data of `fit`.
        part : {"train", "validation", "test"}

        Returns
        -------
        pandas.DataFrame
            A row for every window and row ahead: index the time that is forecast; columns ``origin`` (time of the window's newest
            row), ``ahead`` (rows from there), and for every target the forecast and ``<target> truth``.
        """
        import pandas as pd

        raw, index, ends, truth = self._case(data, part)
        values = self._forecast(raw, self._calendar(index), ends)
        ahead = np.tile(self.delay + np.arange(self.horizon), len(ends))
        origin = np.repeat(ends, self.horizon)
        frame = pd.DataFrame({"origin": index[origin], "ahead": ahead}, index=index[origin + ahead])
        for k, name in enumerate(self.target_names_):
            frame[name] = values[:, :, k].reshape(-1)
            frame[f"{name} truth"] = truth[:, :, k].reshape(-1)
        return frame

    def _case(self, data, part):
        """Return rows, index, ends of windows and the truth, (windows, horizon, targets)."""
        self._fitted()
        if data is None:
            if not hasattr(self, "_parts"):
                raise ValueError("a forecaster that was loaded has no data; pass some")
            if part not in self._parts:
                raise ValueError(f"part must be one of {', '.join(self._parts)}, got {part!r}")
            windows, raw, index = self._parts[part], self._raw, self._index
        else:
            frame = self._new(data)
            self._check_rows(frame.index)
            raw, index = self._numbers(frame), frame.index
            features = self._features(raw, self._calendar(index))
            windows = self._windows(frame, raw, features, self.delay, self.horizon, self.target_names_)
        truth = windows.y.reshape(len(windows), self.horizon, len(self.target_names_))
        return raw, index, np.asarray(windows.ends) + self._lag, truth

    def _rivals(self, raw, index, ends) -> dict[str, np.ndarray]:
        """Return the forecasts of the net and of every baseline, (windows, horizon, targets) each."""
        series = raw[:, self._places]
        found = {"net": self._forecast(raw, self._calendar(index), ends)}
        found["last value"] = baselines.last_value(series, ends, self.delay, self.horizon)
        season = self._season
        if season is not None:
            rows = baselines.seasonal_rows(ends, self.delay, self.horizon, season)
            # Windows at the very beginning, or with a gap that a window steps over, have no such row.
            if rows.min() >= 0 and np.isfinite(series[rows]).all():
                found[f"seasonal ({season})"] = series[rows]
        found["moving mean"] = baselines.moving_mean(
            series, ends, self.delay, self.horizon, min(self.lookback, int(ends.min()) + 1)
        )
        ridge = self._ridge_baseline()
        if ridge is not None:
            found["ridge"] = self._of_ridge(ridge, raw, index, ends)
        return found

    def _ridge_baseline(self):
        """Return the ridge regression on the training windows, learnt when it is first needed; None without data.

        It gives the whole horizon at once, also where the net is recursive.
        """
        if self._ridge is None and hasattr(self, "_parts"):
            direct = _Direct(self)
            validation = self._parts.get("validation")
            self._ridge = baselines.Ridge(
                Source(direct, self._parts["train"]), None if validation is None else Source(direct, validation)
            )
        return self._ridge

    def _of_ridge(self, ridge, raw, index, ends):
        features = self._features(raw, self._calendar(index))
        base = self._base(raw, ends, self.delay, self.horizon, self._places)
        parts = [
            ridge.predict(features[some[:, None] - self._lag + self._window_rows()])
            for some in np.array_split(ends, -(-len(ends) // CHUNK))
        ]
        return np.concatenate(parts).reshape(base.shape) + base

    def evaluate(self, data=None, part: str = "test"):
        """Compare the net with forecasts that anybody can make, all on the same windows.

        ==============  ==========================================================================================
        last value      the newest value of the window
        seasonal (P)    the newest known value a whole number of seasons of P rows before
        moving mean     the mean of the last `lookback` rows
        ridge           linear regression on all numbers of the window, its penalty chosen on the validation part
        ==============  ==========================================================================================

        Parameters
        ----------
        data : DataFrame, Series or array, optional
            Other rows, as in `backtest`; None: a part of the data of `fit`.
        part : {"train", "validation", "test"}

        Returns
        -------
        pandas.DataFrame
            MAE and RMSE in the units of the target, and MASE: the MAE over that of "the same as the row before" on the training
            part. One row for the net and each baseline; of several targets, one for each target and forecast.
        """
        import pandas as pd

        raw, index, ends, truth = self._case(data, part)
        rows = {}
        for name, values in self._rivals(raw, index, ends).items():
            for k, target in enumerate(self.target_names_):
                y, f = truth[:, :, k], values[:, :, k]
                rows[target, name] = (metrics.mae(y, f), metrics.rmse(y, f), metrics.mase(y, f, self._mase[k]))
        frame = pd.DataFrame.from_dict(rows, orient="index", columns=["MAE", "RMSE", "MASE"])
        frame.index = pd.MultiIndex.from_tuples(rows, names=["target", "forecast"])
        frame = frame.sort_index(level=0, sort_remaining=False)
        return frame.droplevel("target") if len(self.target_names_) == 1 else frame

    def errors_by_horizon(self, data=None, part: str = "test", target=None):
        """Return the MAE of the net and every baseline for each number of rows ahead.

        Parameters
        ----------
        data, part : as in `evaluate`
        target : name, optional
            Of several targets; None: the first.

        Returns
        -------
        pandas.DataFrame
            Index: rows ahead of the window's newest row; a column for each forecast.
        """
        import pandas as pd

        raw, index, ends, truth = self._case(data, part)
        k = 0 if target is None else self.target_names_.index(target)
        columns = {
            name: np.abs(values[:, :, k] - truth[:, :, k]).mean(axis=0)
            for name, values in self._rivals(raw, index, ends).items()
        }
        return pd.DataFrame(columns, index=pd.RangeIndex(self.delay, self.delay + self.horizon, name="rows ahead"))


class _Direct:
    """A forecaster's windows as a direct net would learn them, for the ridge regression."""

    def __init__(self, forecaster):
        self._raw, self._lag, self._base = forecaster._raw, forecaster._lag, forecaster._base
        self._aim = (forecaster.delay, forecaster.horizon, forecaster._places)
        self._center, self._scale = 0.0, 1.0
