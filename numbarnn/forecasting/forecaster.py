"""Forecasts of time series: windows, scaling, a recurrent net, honest baselines, times and files in one object."""

import dataclasses
import os
from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from typing import Any

import numpy as np

from numbarnn import io, metrics
from numbarnn.checks import brief, check_choice, check_dtype, check_flag, check_integer, check_seed, naming
from numbarnn.core.frames import is_pandas
from numbarnn.data import tables
from numbarnn.data.calendar import check_features
from numbarnn.data.clock import Clock
from numbarnn.data.scaling import METHODS, SequenceScaler
from numbarnn.data.windows import MISSING
from numbarnn.errors import ShapeError
from numbarnn.forecasting import files
from numbarnn.forecasting.evaluation import Evaluation
from numbarnn.forecasting.tables import CHUNK, Preparation, Source, Targets, as_frame, cuts_of, part_names
from numbarnn.model import last_step_model
from numbarnn.optim import Optimizer, optimizer_with
from numbarnn.sklearn_api import Parameters, not_fitted
from numbarnn.training.history import History
from numbarnn.training.trainer import Trainer

# Rows ahead of the newest whose times are made one by one; a file must not ask for more than memory has.
FARTHEST = 2**20


@dataclass(eq=False, repr=False)
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
        fed its own forecasts up to the last row asked for.
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
    device : {"cpu", "cuda"}
        As in `numbarnn.Model`.

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

    lookback: int
    delay: int = 1
    horizon: int = 1
    _: KW_ONLY
    step: int = 1
    cell: str = "lstm"
    hidden_size: int = 32
    num_layers: int = 1
    dropout: float = 0.0
    recurrent_dropout: float = 0.0
    recursive: bool = False
    difference: int | None = None
    relative: int | None = None
    season: int | str | None = "auto"
    calendar: Sequence[str] = ()
    scaling: str = "standard"
    missing: str = "error"
    optimizer: str | Optimizer = "adam"
    learning_rate: float | None = None
    epochs: int = 20
    batch_size: int = 64
    patience: int | None = None
    clip_norm: float | None = 1.0
    dtype: str = "float32"
    seed: int = 0
    n_threads: int | None = None
    device: str = "cpu"

    # Training

    def fit(
        self, data, target=None, *, split=(0.7, 0.15, 0.15), straddle: str = "drop", callbacks=(), verbose: int = 1
    ):
        """Train on the first part of a table, choose the best epoch by the second, keep the last for `evaluate`.

        Parameters
        ----------
        data : DataFrame, Series or array
            Rows of one series in order of time; every column is an input. A DatetimeIndex or PeriodIndex must be regular. Times
            with a time zone keep it: calendar features, forecasts and files are in that zone, whichever later data come in.
        target : name or list of names, optional
            Columns to forecast; None: all. The name of one of several levels is a tuple.
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
            If data or settings have the wrong shape, type or value, naming the row of missing values and irregular times.
        """
        self._check_settings()
        frame = as_frame(data)
        tables.check_times(frame.index, otherwise="number the rows: data.reset_index(drop=True)")
        names = self.feature_names_ = list(frame.columns)
        chosen = range(len(names)) if target is None else tables.chosen_columns(target, names)[0]
        self.target_names_ = [names[column] for column in chosen]
        clock = Clock.of(frame.index)
        frame = frame.set_axis(clock.aligned(frame.index))  # the zone as later data and files have it
        self.scaler_ = SequenceScaler(self.scaling)
        own = self._preparation = Preparation.of(self, self.feature_names_, self.target_names_, clock, self.scaler_)
        raw = own.values(frame)
        cuts = cuts_of(split, frame.index)
        if own.lag >= cuts[0]:
            raise ShapeError(f"difference is {own.lag}; the training part has {cuts[0]} rows, and needs more than that")
        self.scaler_.fit(own.changes(raw[: cuts[0]]))
        features = own.features(raw, own.calendar_rows(frame.index))

        def parts_of(targets):
            rows = [cut - own.lag for cut in cuts]
            parts = targets.windows(frame, raw, features).split(rows=rows, straddle=straddle)
            return dict(zip(part_names(cuts), parts, strict=True))

        direct = Targets(own, self.delay, self.horizon, own.columns)
        parts = parts_of(direct)
        self._targets = Targets(own, 1, 1, list(range(raw.shape[1]))) if self.recursive else dataclasses.replace(direct)
        sources = {
            name: Source(self._targets, raw, windows, self.batch_size)
            for name, windows in (parts_of(self._targets) if self.recursive else parts).items()
        }
        self._targets.fit(sources["train"])
        self.model_ = last_step_model(
            features.shape[1],
            len(self._targets.center),
            self.cell,
            self.hidden_size,
            num_layers=self.num_layers,
            dropout=self.dropout,
            recurrent_dropout=self.recurrent_dropout,
            seed=check_seed(self.seed),
            dtype=self.dtype,
            n_threads=self.n_threads,
            device=self.device,
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
            patience=None if validation is None else patience,
            callbacks=callbacks,
            verbose=verbose,
        )
        errors = [_naive_error(raw[: cuts[0], column]) for column in own.columns]
        season = clock.season() if self.season == "auto" else self.season
        self._evaluation = Evaluation(direct, errors, season, raw, frame.index, parts)
        self._remember(raw, frame.index)
        return self

    def _check_settings(self):
        check_flag("Forecaster", "recursive", self.recursive)
        for name in ("difference", "relative", "season"):
            value = getattr(self, name)
            if name == "season" and isinstance(value, str):
                check_choice(value, "season", ("auto",))
            elif value is not None:
                check_integer(value, name, 1)
        for name in ("lookback", "delay", "horizon", "step", "batch_size"):
            check_integer(getattr(self, name), name, 1)
        check_dtype(self.dtype)
        check_choice(self.scaling, "scaling", METHODS)
        with naming("calendar", "features"):
            check_features(self.calendar)
        if self.difference is not None and self.relative is not None:
            raise ValueError("give difference or relative, not both: both say what the targets are compared with")
        if self.relative is not None and self.relative > self.lookback:
            raise ValueError(f"relative must be at most lookback ({self.lookback}), got {self.relative}")
        check_choice(self.missing, "missing", MISSING)
        if self.delay + self.horizon > FARTHEST:
            raise ValueError(f"delay + horizon must be at most {FARTHEST:,} rows, got {self.delay + self.horizon:,}")

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "model_")

    def _fitted(self):
        if not hasattr(self, "model_"):
            raise not_fitted(self)

    # Forecasts

    def _run(self, x) -> np.ndarray:
        return self.model_.forward(x, n_threads=self.n_threads)[0].astype(np.float64)

    def _forecast(self, raw, calendar, ends) -> np.ndarray:
        """Return forecasts (windows, horizon, targets) for windows that end at rows of `raw`.

        `calendar` has rows for what comes after `raw`, too.
        """
        if self.recursive:
            parts = [
                self._forecast_recursive(raw, calendar, ends[first : first + CHUNK])
                for first in range(0, len(ends), CHUNK)
            ]
            return np.concatenate(parts)
        own = self._preparation
        features, parts = own.features(raw, calendar[: len(raw)]), []
        for first in range(0, len(ends), CHUNK):
            some = ends[first : first + CHUNK]
            x = features[some[:, None] - own.lag + own.window_rows]
            parts.append(self._targets.decode(self._run(x), raw, some))
        return np.concatenate(parts)

    def _forecast_recursive(self, raw, calendar, ends):
        """Forecast row after row; `path` holds what was measured, then what was forecast."""
        own, targets = self._preparation, self._targets
        need, ahead = own.need, self.delay + self.horizon - 1
        rows = ends[:, None] + np.arange(1 - need, 1)
        path = np.zeros((len(ends), need + ahead, raw.shape[1]))
        path[:, :need] = raw[rows]
        hours = calendar[ends[:, None] + np.arange(1 - need, ahead + 1)]
        for t in range(ahead):
            seen = slice(t, t + need)
            x = own.features(path[:, seen], hours[:, seen])[:, need - own.lag - 1 + own.window_rows]
            values = self._run(x) * targets.scale + targets.center
            if own.season:
                values[:, own.columns] += path[:, need + t - own.season][:, own.columns]
            path[:, need + t] = values
        return path[:, need + self.delay - 1 :, own.columns]

    def _remember(self, raw, index):
        need = self._preparation.need
        self._tail, self._tail_index = raw[-need:].copy(), index[-need:]

    def predict(self, data=None):
        """Forecast the rows after the end of the data.

        Parameters
        ----------
        data : DataFrame, Series or array, optional
            Rows up to now with the columns that were fitted, at least the last `lookback` (and `difference`). Times may be in
            another time zone than those of `fit`. None: the rows seen last in `fit` and `update`.

        Returns
        -------
        pandas.DataFrame
            The targets, `horizon` rows, indexed by the times that are forecast, in the time zone of the data of `fit`.

        Raises
        ------
        NotFittedError
            If `fit` was not called.
        ShapeError
            If there are too few rows.
        TypeError
            If a column has values that are not numbers.
        ValueError
            If columns are missing; if the last rows have missing values; if rows do not follow each other as those of `fit` did; if
            one has times with a time zone and the other without.
        """
        import pandas as pd

        self._fitted()
        own = self._preparation
        if data is None:
            raw, index = self._tail, self._tail_index
        else:
            frame = own.frame(data)
            own.check_rows(frame.index)
            raw, index = own.values(frame), frame.index
        if len(raw) < own.need:
            raise ShapeError(f"data has {len(raw)} rows; a forecast looks at the last {own.need}")
        raw, index = raw[-own.need :], index[-own.need :]
        if np.isnan(raw).any():
            raise ValueError(
                "the last rows have missing values, so there is nothing to forecast from; fill them, or train a Forecaster "
                "with missing='ffill'"
            )
        ahead = own.clock.after(index, self.delay + self.horizon - 1)
        calendar = own.calendar_rows(index.append(ahead))
        values = self._forecast(raw, calendar, np.array([len(raw) - 1]))[0]
        return pd.DataFrame(values, index=ahead[self.delay - 1 :], columns=self.target_names_)

    def update(self, new_rows) -> "Forecaster":
        """Take in new rows, so that `predict` forecasts what comes after them; the net stays as it is.

        Parameters
        ----------
        new_rows : DataFrame, Series or array
            The rows after those seen last, one or more, as in `predict`.

        Raises
        ------
        NotFittedError
            If `fit` was not called.
        ShapeError, TypeError
            As in `fit`.
        ValueError
            If the first of them is not the next one in time; else as in `predict`.
        """
        import pandas as pd

        self._fitted()
        own = self._preparation
        if is_pandas(new_rows) is None:  # rows without an index follow those before
            new_rows = as_frame(new_rows, "new_rows")
            new_rows.index = own.clock.after(self._tail_index, len(new_rows))
        frame = own.frame(new_rows, "new_rows")
        expected = own.clock.after(self._tail_index, 1)[0]
        if frame.index[0] != expected:
            raise ValueError(f"the new rows begin at {frame.index[0]}; the next row is that of {expected}")
        before = pd.DataFrame(self._tail, index=self._tail_index, columns=self.feature_names_)
        both = pd.concat([before, frame])
        own.check_rows(both.index, "new_rows after the rows before")
        self._remember(own.values(both), both.index)
        return self

    # Quality

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
        self._fitted()
        return self._evaluation.backtest(self._forecast, data, part)

    def evaluate(self, data=None, part: str = "test"):
        """Compare the net with forecasts that anybody can make, all on the same windows.

        ==============  ==========================================================================================
        last value      the newest value of the window
        seasonal (P)    the newest known value a whole number of seasons of P rows before
        moving mean     the mean of the last `lookback` rows
        ridge           linear regression on all values of the window, its penalty chosen on the validation part
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
        self._fitted()
        return self._evaluation.evaluate(self._forecast, data, part)

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
        self._fitted()
        return self._evaluation.errors_by_horizon(self._forecast, data, part, target)

    # Files

    def save(self, path: str | os.PathLike) -> None:
        """Write net, scales, settings and the rows that the next forecast looks at to a safetensors file.

        The data of `fit` are not saved, so `evaluate` of a loaded forecaster needs some, and has no ridge regression.

        Parameters
        ----------
        path : path-like

        Raises
        ------
        NotFittedError
            If `fit` was not called.
        TypeError
            If a column's name is neither a string nor an integer.
        OSError
            If the file cannot be written; the existing file is left as it was.
        """
        self._fitted()
        left_out = ("optimizer", "n_threads", "device")
        settings = {name: value for name, value in self.get_params().items() if name not in left_out}
        for name, value in settings.items():
            settings[name] = value.item() if isinstance(value, np.generic) else value
        settings["calendar"] = [self.calendar] if isinstance(self.calendar, str) else list(self.calendar)
        settings["dtype"] = self.model_.dtype.name
        for name in self.feature_names_:
            if not isinstance(name, (str, int)):
                raise TypeError(f"a file can hold column names that are strings or integers, got {brief(name)}")
        about = {
            "settings": settings,
            "features": self.feature_names_,
            "targets": self.target_names_,
            "mase": self._evaluation.errors,
            "aim": [self._targets.delay, self._targets.horizon, self._targets.columns],
            "season": self._evaluation.season,
            "clock": dataclasses.asdict(self._preparation.clock),
            "unit": getattr(self._tail_index, "unit", None),
            "model": self.model_.description(),
        }
        arrays = {f"model.{name}": values for name, values in self.model_.params.for_file().items()}
        arrays |= {
            "scaler.center": self.scaler_.center_,
            "scaler.scale": self.scaler_.scale_,
            "target.center": self._targets.center,
            "target.scale": self._targets.scale,
            "tail": self._tail,
            "tail.times": self._preparation.clock.to_integers(self._tail_index),
        }
        io.write(path, "forecaster", about, arrays)

    @classmethod
    def load(cls, path: str | os.PathLike, device: str = "cpu") -> "Forecaster":
        """Return the forecaster of a file that `save` wrote, on a device.

        Parameters
        ----------
        path : path-like
        device : {"cpu", "cuda"}

        Returns
        -------
        Forecaster

        Raises
        ------
        FileNotFoundError, ModelFileError
            If there is no file, or it contains something else or is damaged.
        """
        return cls.from_description(*io.read(path, "forecaster"), device)

    @classmethod
    def from_description(cls, description: dict[str, Any], arrays, device: str = "cpu") -> "Forecaster":
        """Return the forecaster of a file's description and arrays, on a device.

        Parameters
        ----------
        description : dict
            Metadata of a file that `save` wrote.
        arrays : mapping of str to array
            Parameters, scales and the last rows, by name.
        device : {"cpu", "cuda"}

        Returns
        -------
        Forecaster

        Raises
        ------
        ModelFileError
            If the description cannot be understood, or the arrays do not match it.
        DeviceError
            If the device cannot be used.
        """
        return files.restore(cls, description, arrays, device)


def _naive_error(series):
    """Return `metrics.naive_scale` of a series whose missing values are NaN: over the rows of which both are known."""
    before, after = series[:-1], series[1:]
    known = np.isfinite(before) & np.isfinite(after)
    return metrics.mae(after[known], before[known]) if known.any() else float("nan")
