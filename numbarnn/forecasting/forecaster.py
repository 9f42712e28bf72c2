"""Forecasts of time series: windows, scaling, a recurrent net, honest baselines, times and files in one object."""

import os
from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from numbarnn import io
from numbarnn.checks import brief, check_choice, check_flag, check_integer, check_seed
from numbarnn.core.html import html_parameters
from numbarnn.forecasting import files, fitting
from numbarnn.forecasting.backtests import backtest, check_names
from numbarnn.forecasting.durations import row_length
from numbarnn.forecasting.fitted import Fitted
from numbarnn.forecasting.intervals import MOST_WINDOWS, Interval, check_quantiles, values_at
from numbarnn.forecasting.prediction import Newest, Predictor
from numbarnn.forecasting.refits import refitted
from numbarnn.forecasting.stream import ForecastStream
from numbarnn.losses import DistributionLoss, Loss
from numbarnn.optim import EMA, Optimizer, Schedule
from numbarnn.sklearn_api import Parameters, not_fitted
from numbarnn.training.progress import check_verbose
from numbarnn.training.rounds import Rounds
from numbarnn.workers import check_client

if TYPE_CHECKING:
    import pandas as pd


@dataclass(eq=False, repr=False)
class Forecaster(Parameters):
    """Recurrent net that forecasts columns of a table of rows in order of time.

    From the rows e - (m - 1) step, ..., e - step, e with m = (lookback - 1) // step + 1 it forecasts rows e + delay, ...,
    e + delay + horizon - 1 (`numbarnn.data.make_windows`). Inputs and targets are scaled by the training part; forecasts come in
    the units of the targets.

    The outputs are ``linear(x) + share * net(x)``: a ridge regression on the window, and a recurrent net that learns what it
    leaves. What the targets are compared with, the regression's penalty, the epoch of the net and its share are chosen by the
    validation part, so that a net that finds nothing beyond the regression adds nothing; `evaluate` says what each is worth.

    Parameters
    ----------
    lookback, delay, horizon, step : int
    cell : str
        "lstm", "gru", "rnn", "indrnn", "mingru", "minlstm", or another recurrent layer or registered cell.
    hidden_size, num_layers : int
    dropout, recurrent_dropout : float
    loss : str or Loss
        "mse", "mae", "huber"; or a loss of distributions: "gaussian", "quantile", "negative_binomial" (counts).
    recursive : bool
        False: the net gives all rows of the horizon at once. True: it learns to give the next row, all columns of it, and is
        fed its own forecasts up to the last row asked for, going on from the state that it is in after the window (Salinas et al.
        2020); the linear path sees its window slide along. With `recenter` or `step` > 1 the net reads a whole window for every
        row.
    difference : int, optional
        Lag s: the net sees the targets' changes over s rows instead of their values, and learns the change since the newest known
        row that is a multiple of s rows before the one to be forecast. For series with a trend (1) or a season and a trend (its
        length).
    relative : int, optional
        Lag s, at most `lookback`: the net sees the values, and learns the targets' change as with `difference`.
    recenter : bool
        The net sees the targets' values less those of the window's newest row, and learns the change since that row; for series
        whose level wanders (the NLinear of Zeng et al. 2023).
    change : "auto" or None
        Where none of the three above is given: "auto" compares the targets with nothing, with the newest row in both ways, and with
        the season before in both ways, and takes the way in which a ridge regression has the least squared error on the validation
        part (without one, on the newest fifth of the training windows). None: the values themselves. A recursive forecaster with
        a loss of distributions does not try `recenter`, with which its paths take `lookback` times as long.
    linear : {"auto", "all", "shared"} or None
        The linear path: from all values of the window, from each target's own past alone by weights that all targets share, or the
        better of the two on the validation part. None: the net alone.
    season : int, "auto" or None
        Rows of a season, for the seasonal baseline and for `change`. "auto": a day of rows more often than daily, 7 of daily ones,
        12 of monthly ones, and so on; None: there is no season.
    calendar : sequence of str
        Calendar features that the net sees beside the columns: "hour", "dayofweek", "dayofyear", "month".
    holidays : list of dates, or mapping of names to lists of dates
        Inputs that are 1 in rows on these dates and else 0, seen up to the last row that is forecast. Dates are those of the zone
        of the data of `fit`; see `numbarnn.data.calendar_features`.
    future : sequence of names
        Columns that are known ahead, such as planned prices: the net sees them up to the last row that it forecasts, and `predict`
        takes them for the rows ahead. None is a target.
    static : sequence of names
        Columns that do not change within a series, such as its size: with many series at their own scales, these have one.
        "series" (of long tables also `id`) is the series itself as a category.
    categories : sequence of names
        Columns of categories: strings, integers or booleans. Each level of the training part is an input that is 0 or 1. None is a
        target; they may be named in `future` and `static` too.
    handle_unknown : {"error", "ignore"}
        Treatment of levels and series, as categories, that the training part did not have. "error": refuse them. "ignore": all
        inputs of the category are 0.
    id, time : name, optional
        Columns of a long table: of the series, and of the times. `time` may also be that of another table.
    wide : bool
        Whether the columns of a table are series of one variable, which is called "value". Where values are missing at the
        beginning or the end of a column, its series is shorter. In `update` these are rows of the series too, unless `missing` is
        "error".
    scale : {"series", "all"}
        Of many series: "series": values are shifted and divided by mean and standard deviation of their series' training part,
        those of a series that was not there by its rows given, in backtests by those of its first window; "all": all series have
        one scale.
    scaling : {"standard", "minmax", "robust"}
    missing : {"error", "drop", "ffill", "mask"}
        As in `make_windows`; "ffill" fills the inputs with the last value before. "mask" does so too, fills in the mean of the
        column over the training part (of many series at their own scales, that of the scaled values) where nothing was before, and
        adds an input for every column with a missing value in the training part: 1 where the value was missing, else 0. Other
        columns are filled in the same way, without such an input. Values that a recursive forecast is fed count as known. Windows
        whose targets are missing are neither learned from nor evaluated.
    irregular : {"error", "elapsed"}
        Treatment of times that are not evenly spaced. "error": refuse them. "elapsed": `lookback`, `delay`, `horizon` and `step`
        count rows, and the time since the row before is an input: the logarithm of its ratio to the median of the training part,
        for gaps differ by orders of magnitude. Times must rise. A forecast looks at one row more, for the time of the first. The
        times of rows ahead are not known, so forecasts are numbered by rows ahead; where `future` names columns they are those of
        the table given to `predict`, and elapsed times are seen up to the last row that is forecast.
    optimizer : str or Optimizer
    learning_rate : float, optional
        None: 0.003 for "adam" and "adamw", for all others the optimizer's own.
    epochs : int, optional
        None: as many as make 3,000 optimizer steps, at most 200.
    batch_size : int
    patience : int, optional
        Epochs without a better loss on the validation part after which training ends with the best weights. None: an eighth of the
        epochs, at least 5, where `epochs` is None; else training takes all epochs, and the weights are those of the best.
    clip_norm : float, optional
    memory_limit : int or str, optional
        Bytes that activations may take in training, or a str such as "300 MB", as in `numbarnn.Model.fit`.
    schedule : Schedule, optional
        Factor of the learning rate over time.
    average : EMA or float, optional
        Exponential moving average of the weights, as in `numbarnn.Model.fit`.
    ensemble : int
        Nets, trained from the seeds seed, seed + 1, ..., whose mean output is taken.
    dtype : {"float32", "float64"}
    seed : int
    n_threads : int, optional
    device : {"cpu", "cuda"}
        As in `numbarnn.Model`.

    Attributes
    ----------
    model_ : Model
        The net; of an ensemble, the first.
    history_ : History
        Of that net.
    target_names_, feature_names_ : list
    scaler_ : SequenceScaler
        Of the inputs, calendar features excepted.
    difference_, relative_, recenter_ : int or None, int or None, bool
        What the targets are compared with.

    References
    ----------
    A. Zeng, M. Chen, L. Zhang, Q. Xu, "Are Transformers effective for time series forecasting?", AAAI 2023. D. Salinas,
    V. Flunkert, J. Gasthaus, T. Januschowski, "DeepAR: Probabilistic forecasting with autoregressive recurrent networks",
    International Journal of Forecasting 36 (2020).

    Examples
    --------
    >>> from numbarnn.data.datasets import weather
    >>> frame = weather(800)
    >>> forecaster = Forecaster(lookback=48, horizon=24, hidden_size=8, epochs=1)
    >>> forecaster = forecaster.fit(frame[:-24], target="temperature", split=(0.5, 0.25, 0.25), verbose=0)
    >>> errors = forecaster.evaluate()  # the net, and what it has to beat
    >>> "net" in errors.index
    True
    >>> forecaster.predict().shape  # the 24 hours after the last row
    (24, 1)
    >>> forecaster.update(frame[-24:]).predict().index[0] > frame.index[-1]
    True
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
    loss: str | Loss = "mse"
    difference: int | None = None
    relative: int | None = None
    recenter: bool = False
    change: str | None = "auto"
    linear: str | None = "auto"
    season: int | str | None = "auto"
    calendar: Sequence[str] = ()
    holidays: Any = ()
    future: Sequence[Any] = ()
    static: Sequence[Any] = ()
    categories: Sequence[Any] = ()
    handle_unknown: str = "error"
    id: Any = None
    time: Any = None
    wide: bool = False
    scale: str = "series"
    scaling: str = "standard"
    missing: str = "error"
    irregular: str = "error"
    optimizer: str | Optimizer = "adam"
    learning_rate: float | None = None
    epochs: int | None = None
    batch_size: int = 64
    patience: int | None = None
    clip_norm: float | None = 1.0
    memory_limit: int | str | None = None
    schedule: Schedule | None = None
    average: EMA | float | None = None
    ensemble: int = 1
    dtype: str = "float32"
    seed: int = 0
    n_threads: int | None = None
    device: str = "cpu"

    _repr_html_ = html_parameters

    # Training

    def fit(
        self,
        data: Any,
        target: Any = None,
        *,
        split: Any = (0.7, 0.15, 0.15),
        straddle: str = "drop",
        callbacks: Any = (),
        verbose: int = 1,
    ) -> "Forecaster":
        """Train on the first part of a table, make choices by the second, keep the last for `evaluate`.

        Parameters
        ----------
        data : DataFrame, Series or array, or many of them
            Rows of one series in order of time; every column is an input. A DatetimeIndex or PeriodIndex must be regular, unless
            `irregular` says otherwise. Times with a time zone keep it: calendar features, forecasts and files are in that zone,
            whichever later data come in.

            Many series, for one net: a MultiIndex (series, time); a long table with the columns `id` and `time`; with `wide` a
            table whose columns are the series; a dict or a list of tables. They may differ in length and beginning; windows never
            cross from one into the next. Results then have the index (series, time).
        target : name or list of names, optional
            Columns to forecast; None: all. The name of one of several levels is a tuple.
        split : sequence
            Fractions of training, validation and test part, or of training and test part; or the first rows (int) or times of the
            parts after the first. Every one of many series is split so; parts of short ones may have no windows.
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
        return self._take(fitting.fit(self, data, target, split, straddle, callbacks, verbose))

    def _fit_rounds(
        self, data, target=None, *, split=(0.7, 0.15, 0.15), straddle="drop", callbacks=(), verbose=1
    ) -> Rounds:
        """Fit in rounds, in which nets of other forecasters can be trained as well."""
        return self._take((yield from fitting.fit_rounds(self, data, target, split, straddle, callbacks, verbose)))

    def _take(self, state: Fitted) -> "Forecaster":
        """Be what was learned."""
        self._state, own = state, state.preparation
        self.feature_names_, self.target_names_, self.scaler_ = own.encoding.columns, own.targets, own.scaler
        self.difference_, self.relative_, self.recenter_ = own.difference, own.relative, own.recenter
        self.model_, self.loss_ = state.forecast.models[0], state.forecast.loss
        if state.history is not None:
            self.history_ = state.history
        return self

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "model_")

    def _fitted(self) -> Fitted:
        if not hasattr(self, "_state"):
            raise not_fitted(self)
        return self._state

    def _predictor(self) -> Predictor:
        return self._fitted().predictor(self)

    # Forecasts

    def predict(
        self,
        data: Any = None,
        *,
        future: Any = None,
        quantiles: Any = None,
        samples: int | None = None,
        seed: int | None = None,
    ) -> "pd.DataFrame":
        """Forecast the rows after the end of the data.

        Parameters
        ----------
        data : DataFrame, Series or array, optional
            Rows up to now with the columns that were fitted, at least the last `lookback` (and `difference`; of irregular rows one
            more). Times may be in another time zone than those of `fit`. None: the rows seen last in `fit` and `update`.
        future : DataFrame, Series or array, optional
            Of a forecaster with columns known ahead: these columns for the rows after the data, delay + horizon - 1 or more.
        quantiles : float or sequence of float, optional
            Levels in (0, 1): return these quantiles of what comes, calibrated as those of `predict_interval`.
        samples : int, optional
            Return that many draws of what comes, under a loss of distributions: whole paths of a recursive forecaster, else
            independent draws of every row.
        seed : int, optional
            Of the draws; None: other ones at every call.

        Returns
        -------
        pandas.DataFrame
            The targets, `horizon` rows, indexed by the times that are forecast, in the time zone of the data of `fit`; of irregular
            rows whose times are not known, by the number of rows ahead. With `quantiles` or `samples`, a column for each target and
            level or draw.

        Raises
        ------
        NotFittedError
            If `fit` was not called.
        ShapeError
            If there are too few rows.
        TypeError
            If a column has values that are not numbers, or the loss has no distribution to draw `samples` from.
        ValueError
            If columns are missing; if the last rows have missing values; if rows do not follow each other as those of `fit` did; if
            one has times with a time zone and the other without; if there was no validation part to calibrate quantiles by.
        """
        if quantiles is not None and samples is not None:
            raise ValueError("give quantiles or samples, not both")
        if samples is not None:
            check_integer(samples, "samples", 1)
            generator = np.random.default_rng(None if seed is None else check_seed(seed))
            if not isinstance(self._fitted().forecast.loss, DistributionLoss):
                raise TypeError(
                    f"samples needs a loss of distributions, such as 'gaussian'; that of this forecaster is {self.loss!r}"
                )
            newest = self._newest(data, future)
            draws = self._predictor().draws(*newest.case, samples, generator)
            return newest.frame(np.moveaxis(draws, 1, -1), self.target_names_, "sample", range(samples))
        if quantiles is not None:
            levels = check_quantiles(quantiles)
            newest = self._newest(data, future)
            return newest.frame(self._quantiles(*newest.case, levels), self.target_names_, "quantile", levels)
        newest = self._newest(data, future)
        return newest.frame(self._predictor().ahead(*newest.case), self.target_names_)

    def _newest(self, data, future, before: int = 0) -> Newest:
        return self._fitted().newest(self, data, future, before)

    def _quantiles(self, raw, known, ends, levels):
        """Return calibrated quantiles (windows, horizon, targets, levels)."""
        predictor, at = self._predictor(), self._fitted().checked_calibration().at(levels)
        return values_at(predictor.curves(raw, known, ends), predictor.scores, at)

    def predict_interval(
        self, level: float = 0.9, data: Any = None, *, future: Any = None, adaptive: float | None = None
    ) -> "pd.DataFrame":
        """Forecast the rows after the end of the data, with the interval in which each value lies with a probability.

        Intervals are calibrated by the forecasts of the validation part (split conformal prediction): if later errors are like
        those there, a new value lies in its interval with at least the probability `level`, whatever the loss. Under a loss of
        distributions they widen and narrow with the window; else they have one width for each row ahead.

        Parameters
        ----------
        level : float
            In (0, 1).
        data, future : DataFrame, Series or array, optional
            As in `predict`.
        adaptive : float, optional
            Let the level follow hits and misses by this step, such as 0.01, as `backtest` does: those of the rows of `update`, from
            1 - a = level after `fit` on; of `data`, those of its own rows. For every row ahead and target, and for every series. At
            most 2,000 rows count. Any level and step can be asked for at any time; it takes as long as a backtest of these rows.

        Returns
        -------
        pandas.DataFrame
            As that of `predict`, with columns (target, "lower"), (target, "forecast") and (target, "upper").

        Raises
        ------
        NotFittedError, ShapeError, TypeError
            As in `predict`.
        ValueError
            As in `predict`; if there was no validation part, or it has too few windows for the level.

        References
        ----------
        J. Lei et al., "Distribution-free predictive inference for regression", Journal of the American Statistical Association 113
        (2018). Y. Romano, E. Patterson, E. Candes, "Conformalized quantile regression", NeurIPS 2019. I. Gibbs, E. Candes,
        "Adaptive conformal inference under distribution shift", NeurIPS 2021, equation 2.
        """
        interval = Interval.of(level, adaptive)
        newest = self._newest(data, future, 0 if adaptive is None else MOST_WINDOWS)
        calibration, predictor = self._fitted().checked_calibration(), self._predictor()
        at = calibration.at(interval.levels)
        at = at if adaptive is None else newest.scores(predictor, calibration, interval)
        outcome = predictor.outcome(*newest.case)
        bounds = values_at(outcome.curves, predictor.scores, at)
        values = np.stack([bounds[..., 0], outcome.values, bounds[..., 1]], axis=-1)
        frame = newest.frame(values, self.target_names_, "bound", ("lower", "forecast", "upper"))
        frame.attrs["level"] = level  # for plots
        return frame

    def predict_baselines(self, data: Any = None, *, future: Any = None, baselines: Any = None) -> Any:
        """Return what the baselines of `evaluate` forecast after the end of the data, to be seen beside `predict`.

        Parameters
        ----------
        data, future : DataFrame, Series or array, optional
            As in `predict`.
        baselines : dict of callables, optional
            As in `evaluate`.

        Returns
        -------
        pandas.DataFrame
            As that of `predict`, with a column for each target and baseline. The seasonal one is there where the rows given, or
            else the last `lookback` and those of `update`, have a season.

        Raises
        ------
        NotFittedError, ShapeError, TypeError, ValueError
            As in `predict` and `evaluate`.
        """
        state = self._fitted()
        _check_baselines(baselines)
        # The seasonal baseline may look at more rows than the net.
        newest = self._newest(data, future, max(0, (state.evaluation.season or 0) - state.preparation.need))
        found = state.evaluation.rivals_ahead(newest, baselines)
        return newest.frame(np.stack(list(found.values()), axis=-1), self.target_names_, "baseline", list(found))

    def update(self, new_rows: Any) -> "Forecaster":
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
        state = self._fitted()
        state.take(*state.updated(new_rows))
        return self

    def stream(self, series: Any = None) -> ForecastStream:
        """Return a stream that takes rows after those seen last, one by one, and forecasts after each.

        Parameters
        ----------
        series : hashable, optional
            Which one of many.

        Returns
        -------
        ForecastStream

        Raises
        ------
        NotFittedError
            If `fit` was not called.
        ValueError
            If the last rows have missing values.
        """
        return ForecastStream(self._predictor(), self._fitted().rows, series)

    # Quality

    def backtest(
        self,
        data: Any = None,
        part: str = "test",
        *,
        level: float | None = None,
        adaptive: float | None = None,
        refit: int | None = None,
        window: str = "expanding",
        client: Any = None,
        verbose: int = 1,
    ) -> "pd.DataFrame":
        """Forecast from every window of a part, where the truth is known.

        Parameters
        ----------
        data : DataFrame, Series or array, optional
            Other rows with the columns that were fitted; all their windows. None: a part of the data of `fit`. Times may be in
            another time zone; results come in the zone of the data of `fit`.
        part : {"train", "validation", "test"}
        level : float, optional
            In (0, 1): add the bounds of intervals of this level, as `predict_interval` makes them.
        adaptive : float, optional
            Let the level of a window's intervals follow the hits and misses of the windows before, by this step for each, such as
            0.01, where errors are not what they were on the validation part (Gibbs & Candes 2021): for every row ahead and target,
            a moves by step ((1 - level) - miss), and the interval has the level 1 - a.
        refit : int, optional
            Train anew at the first window of the part, and again every that many rows, on the rows up to the newest of the
            window, as in use; None: forecast with this one. Every one of many series goes up to the newest row of its own window.
            The rows are cut into a training and a validation part in the proportion of `fit`; all choices (change, linear path,
            epoch, share) and the calibration are made anew. The data must be as they were in `fit`. This forecaster stays as it
            is. Where the training part of a refit, which may be smaller than that of `fit`, lacks a level of a category or all
            values of a column, the backtest stops with an error that names the refit.
        window : {"expanding", "sliding"}
            Rows that are trained on: all up to there, or the newest of these, as many as the first training has.
        client : distributed.Client, optional
            Of Dask (extra ``dask``): its workers do the refits, with one thread each and results equal to the bit;
            the data is sent to them once.
        verbose : int
            1: show how many refits are done; 0: nothing. After Ctrl-C the result has the forecasts of the refits that are done.

        Returns
        -------
        pandas.DataFrame
            A row for every window and row ahead: index the time that is forecast; columns ``origin`` (time of the window's newest
            row), ``ahead`` (rows from there), and for every target the forecast and ``<target> truth``; with `level` also
            ``<target> lower`` and ``<target> upper``.

        Raises
        ------
        NotFittedError
            If `fit` was not called.
        RefitError
            If a refit fails; its attribute `finished` is the frame of the refits before.
        TypeError, ValueError
            If an argument has the wrong type or value; if a target has the name of another column; if there was no validation part
            to calibrate intervals by; if `refit` is given with other rows than those of `fit`.

        References
        ----------
        I. Gibbs, E. Candes, "Adaptive conformal inference under distribution shift", NeurIPS 2021, equation 2.
        """
        state = self._fitted()
        if level is None and adaptive is not None:
            raise ValueError("adaptive needs level, that of the intervals")
        interval = None if level is None else Interval.of(level, adaptive)
        check_choice(window, "window", ("expanding", "sliding"))
        verbose = check_verbose(verbose)
        client = None if client is None else check_client(client)
        check_names(self.target_names_, level is not None)
        calibration = None if level is None else state.checked_calibration()

        def to_frame(blocks):
            frame = backtest(blocks, interval)
            frame.attrs["row"] = row_length(state.preparation.clock)  # for plots, as the level
            if level is not None:
                frame.attrs["level"] = level
            return frame

        if refit is None and window != "expanding":
            raise ValueError(f"window {window!r} needs refit, the rows after which the forecaster is trained again")
        if refit is None and client is not None:
            raise ValueError("client needs refit: without it there is one forecaster, whose forecasts are made at once")
        if refit is None:
            predictor = self._predictor()
            return to_frame([state.evaluation.block(predictor, data, part, calibration, curves=level is not None)])
        check_integer(refit, "refit", 1)
        if data is not None or state.given is None:
            raise ValueError(
                "refit trains on the data of fit: leave data out, and of a forecaster that was loaded call fit first"
            )
        return refitted(self, part, level is not None, refit, window == "sliding", verbose, to_frame, client)

    def evaluate_intervals(
        self,
        levels: Any = (0.8, 0.95),
        data: Any = None,
        part: str = "test",
        *,
        adaptive: float | None = None,
        calibrated: bool = True,
    ) -> "pd.DataFrame":
        """Count how often intervals contain the truth, and how wide they are.

        Parameters
        ----------
        levels : float or sequence of float
            In (0, 1).
        data, part : as in `backtest`
        adaptive : float, optional
            As in `backtest`.
        calibrated : bool
            False: the intervals that the loss of distributions says itself.

        Returns
        -------
        pandas.DataFrame
            A row for each target and level: "coverage", the share of the truth in the intervals; "width", the mean width, "interval
            score", its mean (the width, and 2 / (1 - level) times what the truth is beyond), and "pinball", the mean pinball loss
            of the two bounds, in the units of the target; "CRPS", the continuous ranked probability score of the whole calibrated
            distribution, the same for all levels.

        Raises
        ------
        TypeError
            If `calibrated` is False and the loss has no distribution.
        ValueError
            As in `predict_interval`.

        References
        ----------
        T. Gneiting, A. E. Raftery, "Strictly proper scoring rules, prediction, and estimation", Journal of the American Statistical
        Association 102 (2007), equations 20 and 43.
        """
        state = self._fitted()
        check_flag("evaluate_intervals", "calibrated", calibrated)
        levels = check_quantiles(levels, "levels")
        if not calibrated and not isinstance(self.loss_, DistributionLoss):
            raise TypeError(f"the loss {self.loss!r} has no distribution: only calibrated intervals can be made")
        asked = [Interval.of(level, adaptive, calibrated) for level in levels]
        calibration = state.checked_calibration() if calibrated else None
        return state.evaluation.intervals(self._predictor(), data, part, asked, calibration)

    def evaluate(
        self,
        data: Any = None,
        part: str = "test",
        *,
        baselines: Any = None,
        per_target: bool = True,
        level: float | None = None,
    ) -> "pd.DataFrame":
        """Compare the net with forecasts that anybody can make, all on the same windows.

        ===============  ==========================================================================================
        last value       the newest value of the window
        seasonal (P)     the newest known value a whole number of seasons of P rows before
        drift            the line through the oldest and the newest value of the window
        moving mean      the mean of the last `lookback` rows
        ridge            linear regression on all values of the window, its penalty chosen on the validation part
        ridge, own past  the same on the target's own values alone, by weights that all targets share
        ===============  ==========================================================================================

        The regressions see what the net sees, and forecast the same changes.

        Parameters
        ----------
        data : DataFrame, Series or array, optional
            Other rows, as in `backtest`; None: a part of the data of `fit`.
        part : {"train", "validation", "test"}
        baselines : dict of callables, optional
            Baselines of your own by name: ``f(past, ahead)`` takes the values of windows (windows, rows, columns) in the units of
            the data and the rows ahead (horizon,), and returns forecasts (windows, horizon, targets).
        per_target : bool
            False: means over the targets, of the columns that can be compared.
        level : float, optional
            In (0, 1): add what `evaluate_intervals` says of intervals of this level: coverage, width, interval score, pinball loss
            and CRPS. Those of a baseline are calibrated by its own errors on the validation part, as those of the forecaster are;
            of a forecaster that was loaded they are not known.

        Returns
        -------
        pandas.DataFrame
            MAE and RMSE in the units of the target; MASE: the MAE over that of "the same as the row before" on the training part;
            "MAE/sd" and "MSE/var" of targets divided by their standard deviation on the training part, as papers give them. One row
            for the net and each baseline; of several targets, one for each target and forecast. ``attrs["verdict"]`` says in words
            whether the forecaster is worth it, and what its linear path makes of it.
        """
        state = self._fitted()
        check_flag("evaluate", "per_target", per_target)
        _check_baselines(baselines)
        interval = None if level is None else Interval.of(level)
        calibration = None if level is None else state.checked_calibration()
        return state.evaluation.evaluate(self._predictor(), data, part, baselines, per_target, interval, calibration)

    def score(self, data: Any = None, part: str = "test") -> float:
        """Return the coefficient of determination of the forecasts, R^2 = 1 - sum (y - f)^2 / sum (y - mean)^2.

        Parameters
        ----------
        data, part : as in `evaluate`

        Returns
        -------
        float
            The mean over the targets; all windows and rows ahead count alike. 1 is the best, 0 what the mean of the truth has.
        """
        return self._fitted().evaluation.score(self._predictor(), data, part)

    def errors_by_horizon(self, data: Any = None, part: str = "test", target: Any = None) -> "pd.DataFrame":
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
        return self._fitted().evaluation.errors_by_horizon(self._predictor(), data, part, target)

    # Files

    def save(self, path: str | os.PathLike[str]) -> None:
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
            If a column's name is neither a string nor an integer, nor a tuple of these, as the names of several levels are.
        OSError
            If the file cannot be written; the existing file is left as it was.
        """
        io.write(path, "forecaster", *files.describe(self, self._fitted()))

    @classmethod
    def load(cls, path: str | os.PathLike[str], device: str = "cpu") -> "Forecaster":
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
    def from_description(cls, description: dict[str, Any], arrays: Any, device: str = "cpu") -> "Forecaster":
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
        forecaster, state = files.restore(cls, description, arrays, device)
        return forecaster._take(state)


def _check_baselines(baselines):
    """Raise TypeError unless baselines are a dict, or None."""
    if baselines is not None and not isinstance(baselines, dict):
        raise TypeError(f"baselines must be a dict of functions by name, got {brief(baselines)}")
