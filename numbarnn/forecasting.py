"""Forecasts of time series: windows, scaling, a recurrent net, honest baselines, times and files in one object."""

import dataclasses
import os
from typing import Any

import numpy as np

from numbarnn import baselines, io, metrics
from numbarnn.contract import Parameters, not_fitted
from numbarnn.data import tables
from numbarnn.data.batches import Batch
from numbarnn.data.clock import Clock
from numbarnn.data.scaling import SequenceScaler, calendar_features
from numbarnn.data.windows import Windows, cut_rows, make_windows
from numbarnn.errors import ModelFileError, ShapeError
from numbarnn.history import History
from numbarnn.model import Model
from numbarnn.network import check_seed
from numbarnn.recipes import last_step_model, optimizer_with
from numbarnn.trainer import Trainer

CHUNK = 1024


class Forecaster(Parameters):
    """Recurrent net that forecasts columns of a table of rows at regular times.

    From the rows e - (m - 1) step, ..., e - step, e with m = (lookback - 1) // step + 1 it forecasts rows e + delay, ...,
    e + delay + horizon - 1 (`numbarnn.data.make_windows`). Inputs and targets are scaled by the training part; forecasts come in
    the units of the targets.

    Parameters
    ----------
    lookback, delay, horizon, step : int
    cell : str
        "lstm", "gru", "rnn", "indrnn", or another recurrent layer or registered cell.
    hidden_size, num_layers : int
    dropout, recurrent_dropout : float
    recursive : bool
        False: the net gives all rows of the horizon at once. True: it learns to give the next row, all columns of it, and is
        fed its own answers up to the last row asked for.
    difference : int, optional
        Lag s: the net sees the targets' changes over s rows instead of their values, and learns the change since the newest known
        row that is a multiple of s rows before the one to be forecast. For series with a trend (1) or a season and a trend (its
        length).
    relative : int, optional
        Lag s, at most `lookback`: the net sees the values, and learns the targets' change as with `difference`.
    season : int, "auto" or None
        Rows of a season, for the seasonal baseline. "auto": a day of rows more often than daily, 7 of daily ones, 12 of
        monthly ones, and so on; None: no such baseline.
    calendar : sequence of str
        Calendar features that the net sees beside the columns: "hour", "dayofweek", "dayofyear", "month".
    scaling : {"standard", "minmax", "robust"}
    missing : {"error", "drop", "ffill"}
        As in `make_windows`; "ffill" fills the inputs.
    optimizer : str or Optimizer
    learning_rate : float or None
        Instead of the optimizer's own.
    epochs, batch_size : int
    patience : int, optional
        Epochs without a better loss on the validation part after which training ends with the best weights. None: all epochs, and
        the weights of the best.
    clip_norm : float, optional
    dtype : {"float32", "float64"}
    seed : int
    n_threads : int, optional

    Attributes
    ----------
    model_ : Model
    history_ : History
    target_names_, feature_names_ : list
    scaler_ : SequenceScaler
        Of the inputs, calendar features excepted.

    Examples
    --------
    >>> forecaster = Forecaster(lookback=120, delay=24, epochs=5)
    >>> forecaster.fit(frame, target="temperature", split=(0.5, 0.25, 0.25))
    >>> forecaster.evaluate()  # the net, and what it has to beat
    >>> forecaster.predict()  # 24 hours after the last row
    >>> forecaster.update(new_rows).predict()
    """

    def __init__(
        self,
        lookback: int,
        delay: int = 1,
        horizon: int = 1,
        step: int = 1,
        cell: str = "lstm",
        hidden_size: int = 32,
        num_layers: int = 1,
        *,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        recursive: bool = False,
        difference: int | None = None,
        relative: int | None = None,
        season: int | str | None = "auto",
        calendar=(),
        scaling: str = "standard",
        missing: str = "error",
        optimizer: Any = "adam",
        learning_rate: float | None = None,
        epochs: int = 20,
        batch_size: int = 64,
        patience: int | None = None,
        clip_norm: float | None = 1.0,
        dtype: str = "float32",
        seed: int = 0,
        n_threads: int | None = None,
    ):
        self.lookback, self.delay, self.horizon, self.step = lookback, delay, horizon, step
        self.cell, self.hidden_size, self.num_layers = cell, hidden_size, num_layers
        self.dropout, self.recurrent_dropout = dropout, recurrent_dropout
        self.recursive, self.difference, self.relative = recursive, difference, relative
        self.season, self.calendar = season, calendar
        self.scaling, self.missing = scaling, missing
        self.optimizer, self.learning_rate, self.epochs = optimizer, learning_rate, epochs
        self.batch_size, self.patience, self.clip_norm = batch_size, patience, clip_norm
        self.dtype, self.seed, self.n_threads = dtype, seed, n_threads

    # Training

    def fit(
        self, data, target=None, *, split=(0.7, 0.15, 0.15), straddle: str = "drop", callbacks=(), verbose: int = 1
    ):
        """Train on the first part of a table, choose the best epoch by the second, keep the last for `evaluate`.

        Parameters
        ----------
        data : DataFrame, Series or array
            Rows in order of time; every column is an input. A DatetimeIndex or PeriodIndex must be regular.
        target : name or list of names, optional
            Columns to forecast; None: all.
        split : sequence
            Fractions of training, validation and test part, or of training and test part; or the first rows (int) or times of the
            parts after the first.
        straddle : {"drop", "keep"}
            Whether windows of a part may begin in the part before (`Windows.split`).
        callbacks : iterable of Callback
        verbose : int

        Returns
        -------
        Forecaster
            Itself; `history_` has the records.

        Raises
        ------
        ShapeError, KeyError, TypeError, ValueError
            If data or settings do not fit, with the place of missing values and irregular times.
        """
        self._check_settings()
        frame = _frame(data)
        tables.check_times(frame.index)
        self.feature_names_ = list(frame.columns)
        self.target_names_ = self._target_names(target)
        self._places = [self.feature_names_.index(name) for name in self.target_names_]
        self._clock = Clock.of(frame.index)
        raw = self._numbers(frame)
        cuts = _cuts(split, frame.index)
        self._center = self._scale = None
        if self._lag >= cuts[0]:
            raise ShapeError(
                f"difference is {self._lag}; the training part has {cuts[0]} rows, and needs more than that"
            )
        self.scaler_ = SequenceScaler(self.scaling).fit(self._changes(raw[: cuts[0]]))
        features = self._features(raw, self._calendar(frame.index))
        asked = self._windows(frame, raw, features, self.delay, self.horizon, self.target_names_)
        self._raw, self._index = raw, frame.index
        self._parts = dict(zip(_part_names(cuts), self._split(asked, cuts, straddle), strict=True))
        learnt = dict(self._parts)
        if self.recursive:
            next_row = self._windows(frame, raw, features, 1, 1, self.feature_names_)
            learnt = dict(zip(_part_names(cuts), self._split(next_row, cuts, straddle), strict=True))
        # What the net learns: delay, horizon, and the places of the columns.
        everything = list(range(len(self.feature_names_)))
        self._aim = (1, 1, everything) if self.recursive else (self.delay, self.horizon, self._places)
        sources = {name: _Source(self, part) for name, part in learnt.items()}
        self._fit_target_scale(sources["train"])
        self.model_ = last_step_model(
            features.shape[1],
            len(self._center),
            self.cell,
            self.hidden_size,
            num_layers=self.num_layers,
            dropout=self.dropout,
            recurrent_dropout=self.recurrent_dropout,
            seed=check_seed(self.seed),
            dtype=self.dtype,
            n_threads=self.n_threads,
        )
        trainer = Trainer(
            self.model_,
            "mse",
            optimizer_with(self.optimizer, self.learning_rate),
            clip_norm=self.clip_norm,
            seed=self.seed,
        )
        validation = sources.get("validation")
        if validation is None and self.patience is not None:
            raise ValueError("patience needs a validation part: give split three parts")
        patience = max(1, self.epochs) if self.patience is None else self.patience
        self.history_: History = trainer.fit(
            sources["train"],
            self.epochs,
            validation=validation,
            stopping=None if validation is None else patience,
            callbacks=callbacks,
            verbose=verbose,
        )
        self._ridge = None
        self._mase = [metrics.naive_scale(raw[: cuts[0], place], 1) for place in self._places]
        self._season = self._clock.season() if self.season == "auto" else self.season
        self._remember(raw, frame.index)
        return self

    def _check_settings(self):
        for name in ("difference", "relative", "season"):
            value = getattr(self, name)
            if value is None or (name == "season" and value == "auto"):
                continue
            if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 1:
                raise ValueError(f"{name} must be a positive integer or None, got {value!r}")
        size = self.batch_size
        if isinstance(size, bool) or not isinstance(size, (int, np.integer)) or size < 1:
            raise ValueError(f"batch_size must be a positive integer, got {size!r}")
        if self.difference is not None and self.relative is not None:
            raise ValueError("give difference or relative, not both: both say what the targets are compared with")
        if self.relative is not None and self.relative > self.lookback:
            raise ValueError(f"relative must be at most lookback ({self.lookback}), got {self.relative}")
        if self.missing not in ("error", "drop", "ffill"):
            raise ValueError(f"missing must be 'error', 'drop' or 'ffill', got {self.missing!r}")
        if isinstance(self.delay, (int, np.integer)) and self.delay < 1:
            raise ValueError(f"delay must be an integer of at least 1, got {self.delay!r}")

    def _target_names(self, target):
        names = self.feature_names_
        if target is None:
            return list(names)
        wanted = list(target) if isinstance(target, (list, tuple)) else [target]
        for name in wanted:
            if name not in names:
                raise KeyError(f"target {name!r} is no column of data; it has {', '.join(map(repr, names[:12]))}")
        if not wanted:
            raise ValueError("target must name at least one column, got an empty list")
        return wanted

    # Data on their way to the net

    @property
    def _lag(self):
        """Rows at the beginning of a table that have no changes."""
        return self.difference or 0

    @property
    def _aim_lag(self):
        """Rows of the season that targets are compared with; 0: none."""
        return self.difference or self.relative or 0

    def _numbers(self, frame):
        """Return the columns as float64 rows, filled where asked; raise where values are missing and must not be."""
        table = tables.as_table(frame)
        bad = tables.bad_rows(table, "data")
        if bad is not None and self.missing == "error":
            tables.refuse_missing(table, bad, "data", "pass missing='drop' or 'ffill', or mend them before")
        raw = np.array(table.values, np.float64, order="C")
        return tables.forward_filled(raw) if bad is not None and self.missing == "ffill" else raw

    def _calendar(self, index):
        if not self.calendar:
            return np.zeros((len(index), 0))
        return calendar_features(index, self.calendar).to_numpy()

    def _changes(self, raw):
        """Return rows (..., rows, columns) with the targets' changes over the lag, that many rows fewer."""
        lag = self._lag
        values = np.array(raw[..., lag:, :])
        if lag:
            values[..., self._places] -= raw[..., :-lag, :][..., self._places]
        return values

    def _features(self, raw, calendar):
        """Return what the net sees of rows (..., rows, columns), `_lag` rows fewer."""
        scaled = (self._changes(raw) - self.scaler_.center_) / self.scaler_.scale_
        return np.concatenate([scaled, calendar[..., self._lag :, :]], axis=-1).astype(self.dtype)

    def _windows(self, frame, raw, features, delay, horizon, names) -> Windows:
        lag = self._lag
        goal = frame[names].to_numpy(np.float64, na_value=np.nan)[lag:]
        policy = "error" if self.missing == "error" else "drop"
        windows = make_windows(
            features, self.lookback, delay, target=goal, step=self.step, horizon=horizon, missing=policy
        )
        if policy == "error" or not self._aim_lag:
            return windows
        # What the targets are compared with may be missing where no row of the window is: a window steps over rows, and changes
        # are taken over more rows than it has.
        rows = baselines.seasonal_rows(np.asarray(windows.ends) + lag, delay, horizon, self._aim_lag)
        known = np.isfinite(raw[:, self._places]).all(axis=1)[rows].all(axis=1)
        if known.all():
            return windows
        if not known.any():
            raise ValueError("of every window, a value is missing that the targets are compared with; mend them before")
        return dataclasses.replace(windows[known], dropped=windows.dropped + int(np.count_nonzero(~known)))

    def _split(self, windows, cuts, straddle):
        return windows.split(rows=[cut - self._lag for cut in cuts], straddle=straddle)

    def _base(self, raw, ends, delay, horizon, places):
        """Return what is subtracted from the targets of windows before they are scaled, (windows, horizon, targets)."""
        base = np.zeros((len(ends), horizon, len(places)))
        if self._aim_lag:
            changing = [k for k, place in enumerate(places) if place in self._places]
            rows = baselines.seasonal_rows(ends, delay, horizon, self._aim_lag)
            base[:, :, changing] = raw[:, [places[k] for k in changing]][rows]
        return base

    def _fit_target_scale(self, source):
        """Set center and scale of the net's outputs from training windows."""
        parts = []
        windows = source.windows
        numbers = np.unique(np.linspace(0, len(windows) - 1, min(len(windows), 100_000)).astype(np.int64))
        for first in range(0, len(numbers), CHUNK):
            parts.append(source.changes(numbers[first : first + CHUNK]))
        changes = np.concatenate(parts)
        scale = changes.std(axis=(0, 1))
        steps = changes.shape[1]
        self._center = np.tile(changes.mean(axis=(0, 1)), steps)
        self._scale = np.tile(np.where(scale > 0, scale, 1.0), steps)

    # Forecasts

    def _run(self, x) -> np.ndarray:
        return self.model_.forward(x, n_threads=self.n_threads)[0].astype(np.float64)

    def _decode(self, outputs, raw, ends):
        delay, horizon, places = self._aim
        values = (outputs * self._scale + self._center).reshape(len(outputs), horizon, len(places))
        return values + self._base(raw, ends, delay, horizon, places)

    def _forecast(self, raw, calendar, ends) -> np.ndarray:
        """Return forecasts (windows, horizon, targets) for windows that end at rows of `raw`.

        `calendar` has rows for what comes after `raw`, too.
        """
        features = None if self.recursive else self._features(raw, calendar[: len(raw)])
        parts = [
            self._forecast_recursive(raw, calendar, ends[first : first + CHUNK])
            if self.recursive
            else self._forecast_direct(features, raw, ends[first : first + CHUNK])
            for first in range(0, len(ends), CHUNK)
        ]
        return np.concatenate(parts)

    def _window_rows(self):
        steps = (self.lookback - 1) // self.step + 1
        return np.arange(-(steps - 1) * self.step, 1, self.step)

    def _forecast_direct(self, features, raw, ends):
        x = features[ends[:, None] - self._lag + self._window_rows()]
        return self._decode(self._run(x), raw, ends)

    def _forecast_recursive(self, raw, calendar, ends):
        """Forecast row after row; `path` holds what was measured, then what was forecast."""
        need, ahead = self._need, self.delay + self.horizon - 1
        rows = ends[:, None] + np.arange(1 - need, 1)
        path = np.zeros((len(ends), need + ahead, raw.shape[1]))
        path[:, :need] = raw[rows]
        hours = calendar[ends[:, None] + np.arange(1 - need, ahead + 1)]
        for t in range(ahead):
            seen = slice(t, t + need)
            x = self._features(path[:, seen], hours[:, seen])[:, need - self._lag - 1 + self._window_rows()]
            values = self._run(x) * self._scale + self._center
            if self._aim_lag:
                values[:, self._places] += path[:, need + t - self._aim_lag][:, self._places]
            path[:, need + t] = values
        return path[:, need + self.delay - 1 :, self._places]

    @property
    def _need(self):
        """Rows that a forecast looks at."""
        return max(-int(self._window_rows()[0]) + 1 + self._lag, self._aim_lag)

    def _remember(self, raw, index):
        self._tail, self._tail_index = raw[-self._need :].copy(), index[-self._need :]

    def _fitted(self):
        if not hasattr(self, "model_"):
            raise not_fitted(self)

    def predict(self, data=None):
        """Forecast the rows after the end of the data.

        Parameters
        ----------
        data : DataFrame, Series or array, optional
            Rows up to now with the columns that were fitted, at least the last `lookback` (and `difference`). None: the rows seen
            last in `fit` and `update`.

        Returns
        -------
        pandas.DataFrame
            The targets, `horizon` rows, indexed by the times that are forecast.
        """
        import pandas as pd

        self._fitted()
        raw, index = (self._tail, self._tail_index) if data is None else self._new(data)
        if len(raw) < self._need:
            raise ShapeError(f"data has {len(raw)} rows; a forecast looks at the last {self._need}")
        raw, index = raw[-self._need :], index[-self._need :]
        if np.isnan(raw).any():
            raise ValueError(
                "the last rows miss values, so there is nothing to forecast from; mend them, or missing='ffill'"
            )
        ahead = self._clock.after(index, self.delay + self.horizon - 1)
        calendar = self._calendar(index.append(ahead))
        values = self._forecast(raw, calendar, np.array([len(raw) - 1]))[0]
        return pd.DataFrame(values, index=ahead[self.delay - 1 :], columns=self.target_names_)

    def update(self, new_rows) -> "Forecaster":
        """Take in new rows, so that `predict` forecasts what comes after them; the net stays as it is.

        Parameters
        ----------
        new_rows : DataFrame, Series or array
            The rows after those seen last, one or more.

        Raises
        ------
        ValueError
            If the first of them is not the next one in time.
        """
        self._fitted()
        frame = self._columns(_frame(new_rows))
        if isinstance(new_rows, np.ndarray):
            frame.index = self._clock.after(self._tail_index, len(frame))
        expected = self._clock.after(self._tail_index, 1)[0]
        if frame.index[0] != expected:
            raise ValueError(f"the new rows begin at {frame.index[0]}; the next row is that of {expected}")
        index = self._tail_index.append(frame.index)
        tables.check_times(index, "new_rows after the rows before")
        self._clock.check(index, "new_rows after the rows before")
        import pandas as pd

        before = pd.DataFrame(self._tail, index=self._tail_index, columns=self.feature_names_)
        self._remember(self._numbers(pd.concat([before, frame])), index)
        return self

    def _columns(self, frame):
        names = self.feature_names_
        if list(frame.columns) != names:
            missing = [name for name in names if name not in frame.columns]
            if missing:
                raise ValueError(f"data lacks columns {missing}; the forecaster was fitted to {names}")
            frame = frame[names]
        return frame

    def _new(self, data):
        frame = self._columns(_frame(data))
        tables.check_times(frame.index)
        self._clock.check(frame.index)
        return self._numbers(frame), frame.index

    def backtest(self, data=None, part: str = "test"):
        """Forecast from every window of a part, where the truth is known.

        Parameters
        ----------
        data : DataFrame, Series or array, optional
            Other rows with the columns that were fitted; all their windows. None: a part of the data of `fit`.
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
            frame = self._columns(_frame(data))
            raw, index = self._new(frame)
            features = self._features(raw, self._calendar(index))
            windows = self._windows(frame, raw, features, self.delay, self.horizon, self.target_names_)
        truth = windows.y.reshape(len(windows), self.horizon, len(self.target_names_))
        return raw, index, np.asarray(windows.ends) + self._lag, truth

    # Evaluation

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
                _Source(direct, self._parts["train"]), None if validation is None else _Source(direct, validation)
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
            Other rows; None: a part of the data of `fit`.
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

    # Files

    def save(self, path: str | os.PathLike) -> None:
        """Write net, scales, settings and the rows that the next forecast looks at to a safetensors file.

        The data of `fit` are not saved, so `evaluate` of a loaded forecaster needs some, and has no ridge regression.
        """
        self._fitted()
        settings = {name: value for name, value in self.get_params().items() if name not in ("optimizer", "n_threads")}
        for name, value in settings.items():
            settings[name] = value.item() if isinstance(value, np.generic) else value
        settings["calendar"] = list(self.calendar)
        for name in self.feature_names_:
            if not isinstance(name, (str, int)):
                raise TypeError(f"a file can hold column names that are strings or integers, got {name!r}")
        about = {
            "settings": settings,
            "features": self.feature_names_,
            "targets": self.target_names_,
            "mase": self._mase,
            "aim": list(self._aim),
            "season": self._season,
            "clock": dataclasses.asdict(self._clock),
            "model": self.model_.description(),
        }
        arrays = {f"model.{name}": values for name, values in self.model_.params.items()}
        arrays |= {
            "scaler.center": self.scaler_.center_,
            "scaler.scale": self.scaler_.scale_,
            "target.center": self._center,
            "target.scale": self._scale,
            "tail": self._tail,
            "tail.times": self._clock.numbers(self._tail_index),
        }
        io.write(path, "forecaster", about, arrays)

    @classmethod
    def load(cls, path: str | os.PathLike) -> "Forecaster":
        """Return the forecaster of a file that `save` wrote.

        Raises
        ------
        FileNotFoundError, ModelFileError
            If there is no file, or it holds something else or is damaged.
        """
        description, arrays = io.read(path)
        if description["kind"] != "forecaster":
            raise ModelFileError(f"{os.fspath(path)!r} holds a {description['kind']}; numbarnn.load loads any kind")
        return cls.from_description(description, arrays)

    @classmethod
    def from_description(cls, description: dict[str, Any], arrays) -> "Forecaster":
        """Return the forecaster of a file's description and arrays."""
        try:
            forecaster = cls(**description["settings"])
            parameters = {name[6:]: values for name, values in arrays.items() if name.startswith("model.")}
            forecaster.model_ = Model.from_description(description["model"], parameters)
            forecaster.feature_names_, forecaster.target_names_ = description["features"], description["targets"]
            forecaster._places = [forecaster.feature_names_.index(name) for name in forecaster.target_names_]
            forecaster._mase = description["mase"]
            forecaster._aim, forecaster._season = tuple(description["aim"]), description["season"]
            forecaster._clock = Clock(**description["clock"])
            forecaster.scaler_ = SequenceScaler(forecaster.scaling)
            forecaster.scaler_.center_, forecaster.scaler_.scale_ = arrays["scaler.center"], arrays["scaler.scale"]
            forecaster.scaler_.n_features_in_ = len(forecaster.feature_names_)
            forecaster._center, forecaster._scale = arrays["target.center"], arrays["target.scale"]
            forecaster._tail = arrays["tail"]
            forecaster._tail_index = forecaster._clock.index(arrays["tail.times"])
        except (KeyError, TypeError, ValueError) as error:
            raise ModelFileError(f"the file's description of the forecaster cannot be understood: {error!r}") from None
        forecaster._ridge = None
        return forecaster


class _Direct:
    """A forecaster's windows as a direct net would learn them, for the ridge regression."""

    def __init__(self, forecaster):
        self._raw, self._lag, self._base = forecaster._raw, forecaster._lag, forecaster._base
        self._aim = (forecaster.delay, forecaster.horizon, forecaster._places)
        self._center, self._scale = 0.0, 1.0


class _Source:
    """Batches of windows with targets as the net learns them: changes where asked, scaled."""

    unit = "samples"

    def __init__(self, owner, windows):
        self.owner, self.windows = owner, windows
        self.items = len(windows)

    def __len__(self):
        return -(-self.items // self.owner.batch_size)

    def changes(self, numbers):
        """Return targets less their base, (samples, horizon, targets), in their own units."""
        owner, windows = self.owner, self.windows
        delay, horizon, places = owner._aim
        y = windows.gather_y(numbers).reshape(len(numbers), horizon, len(places))
        return y - owner._base(owner._raw, windows.chosen_ends(numbers) + owner._lag, delay, horizon, places)

    def gather(self, numbers):
        """Return x, and y as the net learns it, (samples, horizon * targets)."""
        x, _ = self.windows.gather(numbers)
        y = (self.changes(numbers).reshape(len(numbers), -1) - self.owner._center) / self.owner._scale
        return x, y

    def batches(self, generator):
        order, size = generator.permutation(self.items), self.owner.batch_size
        for first in range(0, self.items, size):
            yield Batch(*self.gather(order[first : first + size]))


def _frame(data):
    """Return data as a DataFrame of numbers, the columns of an array numbered."""
    import pandas as pd

    table = tables.as_table(data)
    if tables.is_pandas(data) == "frame":
        return data
    if tables.is_pandas(data) == "series":
        return data.to_frame(table.names[0])
    return pd.DataFrame(table.values, columns=list(table.names))


def _cuts(split, index):
    """Return the first rows of the parts after the first."""
    if isinstance(split, str) or not np.iterable(split):
        raise TypeError(f"split must be a sequence, such as the fractions (0.7, 0.15, 0.15), got {split!r}")
    split = list(split)
    if split and all(isinstance(part, float) for part in split):
        cuts = cut_rows(len(index), index, fractions=split)
    elif all(isinstance(part, (int, np.integer)) for part in split):
        cuts = cut_rows(len(index), index, rows=split)
    else:
        cuts = cut_rows(len(index), index, dates=split)
    if len(cuts) not in (1, 2):
        raise ValueError(f"split must make two or three parts (training, validation, test), got {split}")
    return cuts


def _part_names(cuts):
    return ("train", "validation", "test") if len(cuts) == 2 else ("train", "test")
