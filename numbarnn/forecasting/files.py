"""Files of forecasters: what `Forecaster.save` wrote is checked as `Forecaster.fit` checks its arguments."""

import dataclasses
from typing import Any

import numpy as np

from numbarnn import io
from numbarnn.backends.device import check_device
from numbarnn.checks import brief, check_flag, check_integer, check_real, check_seed
from numbarnn.data.calendar import CALENDAR, calendar_features, check_holidays
from numbarnn.data.scaling import METHODS, SequenceScaler
from numbarnn.forecasting.evaluation import Evaluation
from numbarnn.forecasting.fitted import Fitted
from numbarnn.forecasting.frames import names_of
from numbarnn.forecasting.intervals import MOST_WINDOWS
from numbarnn.forecasting.net import Forecast
from numbarnn.forecasting.preparation import Preparation
from numbarnn.forecasting.rows import SeenRows
from numbarnn.forecasting.settings import check_comparison, check_settings
from numbarnn.forecasting.stored import (
    calibration_of,
    deviation_of,
    encoding_of,
    factors_of,
    names_in,
    names_out,
    ridge_of,
    scales_of,
    series_levels_of,
    under,
)
from numbarnn.forecasting.stored_rows import recent_of, rows_out, tails_of
from numbarnn.forecasting.targets import Targets
from numbarnn.losses import NegativeBinomial, make_loss
from numbarnn.losses.base import loss_config, loss_from_config
from numbarnn.model import Model
from numbarnn.optim import optimizer_with

# Settings of what the targets are compared with.
COMPARISON = ("difference", "relative", "recenter")


def describe(forecaster, state: Fitted) -> tuple[dict, dict]:
    """Return the description and the arrays of the file of a forecaster and what it learned.

    Raises
    ------
    TypeError
        If a name of a column or series, or a loss, cannot be stored in a file.
    """
    left_out = ("optimizer", "schedule", "average", "n_threads", "memory_limit", "device")
    settings = {name: value for name, value in forecaster.get_params().items() if name not in left_out}
    for name, value in settings.items():
        settings[name] = value.item() if isinstance(value, np.generic) else value
    own, targets, forecast = state.preparation, state.targets, state.forecast
    encoding, linear = own.encoding, forecast.linear
    for name in ("future", "static", "categories"):
        settings[name] = names_out(names_of(settings[name], name))
    settings["holidays"] = check_holidays(settings["holidays"])
    for name in ("id", "time"):
        settings[name] = None if settings[name] is None else names_out([settings[name]])[0]
    settings["calendar"] = [forecaster.calendar] if isinstance(forecaster.calendar, str) else list(forecaster.calendar)
    settings["dtype"] = forecast.models[0].dtype.name
    settings["loss"] = loss_config(make_loss(forecaster.loss))
    loss = loss_config(forecast.loss)
    if loss is None:
        raise TypeError(f"a file can store the losses of numbarnn.losses.LOSSES, got {forecaster.loss!r}")
    about_rows, arrays_of_rows = rows_out(state.rows, own.clock)
    about = {
        "settings": settings,
        "features": names_out(encoding.columns),
        "targets": names_out(own.targets),
        "mase": state.evaluation.errors,
        "aim": [targets.delay, targets.horizon, targets.columns],
        "season": state.evaluation.season,
        "clock": dataclasses.asdict(own.clock),
        "series": None if not own.many else names_out(state.rows.tails, "series"),
        **about_rows,
        "encoding": {
            "categories": list(encoding.categories.values()),
            "series": None if encoding.series is None else names_out(encoding.series, "series"),
            "masked": names_out(encoding.masked),
            "usual": encoding.usual,
        },
        "levels": None if own.levels.keys is None else names_out(own.levels.keys, "series"),
        "loss": loss,
        "comparison": {key: getattr(own, key) for key in COMPARISON},
        "linear": None if linear is None else "shared" if linear.shared else "all",
        "model": forecast.models[0].description(),
        "others": [model.description() for model in forecast.models[1:]],
    }
    arrays = {
        f"model{number or ''}.{name}": values
        for number, model in enumerate(forecast.models)
        for name, values in model.params.for_file().items()
    }
    arrays |= {
        "scaler.center": own.scaler.center_,
        "scaler.scale": own.scaler.scale_,
        "target.center": targets.center,
        "target.scale": targets.scale,
        **arrays_of_rows,
    }
    if np.isfinite(state.deviation).all():  # a file from before they were stored has none
        arrays["deviation"] = state.deviation
    if encoding.fill is not None:
        arrays["fill"] = encoding.fill
    if own.levels.keys is not None:
        arrays |= {"levels.center": own.levels.center, "levels.scale": own.levels.scale}
    if state.calibration is not None:
        arrays["calibration"] = state.calibration.scores
    if linear is not None:
        arrays |= {f"linear.{name}": getattr(linear, name) for name in ("weights", "x_mean", "y_mean")}
        arrays |= {"net.scale": forecast.scale, "net.share": forecast.share}
    return about, arrays


def restore(cls, description, arrays, device="cpu") -> tuple[Any, Fitted]:
    """Return the forecaster of a description and arrays, on a device, and what it learned.

    Raises
    ------
    ModelFileError
        If the description cannot be understood, or the arrays do not match it.
    """
    check_device(device)
    with io.understood("forecaster"):
        # Files from before there was a choice hold nets without a linear path, compared as the settings say.
        before = {} if "comparison" in description else {"change": None, "linear": None}
        settings = before | description["settings"]
        if "loss" in settings:
            settings["loss"] = make_loss(loss_from_config(settings["loss"]))
        forecaster = cls(**settings, device=device)
        _check_settings(forecaster)
        forecaster.calendar = tuple(forecaster.calendar)
        for name in ("future", "static", "categories"):
            setattr(forecaster, name, tuple(names_in(list(getattr(forecaster, name)), name, 0)))
        for name in ("id", "time"):
            if isinstance(getattr(forecaster, name), list):
                setattr(forecaster, name, tuple(getattr(forecaster, name)))
        loss = make_loss(loss_from_config(description.get("loss", {"type": "mse"})))
        comparison = description.get("comparison", {key: getattr(forecaster, key) for key in COMPARISON})
        check_comparison(forecaster, **comparison)
        names, targets = (names_in(description[what], what) for what in ("features", "targets"))
        encoding = encoding_of(forecaster, description.get("encoding", {}), arrays, names, targets)
        width = encoding.width
        tails, clock = tails_of(forecaster, description, arrays, width)
        levels = series_levels_of(description, arrays, width)
        models = [
            Model.from_description(about, under(arrays, f"model{number or ''}."), device)
            for number, about in enumerate([description["model"], *description.get("others", [])])
        ]
        scaler = SequenceScaler(forecaster.scaling)
        scaler.center_, scaler.scale_ = scales_of(arrays, "scaler", width)
        scaler.n_features_in_ = width
        own = Preparation.of(forecaster, encoding, targets, clock, scaler, levels, None not in tails)
        levels = dataclasses.replace(levels, apart=own.unscaled) if levels.keys is not None else levels
        own = dataclasses.replace(own, levels=levels, **comparison)
        for tail, _ in tails.values():
            if len(tail) > own.need or (len(tail) < own.need and not own.many):
                raise ValueError(f"the last {len(tail)} rows, where a forecast looks at {own.need}")
        deviation = deviation_of(arrays, width)
        direct = Targets(own, forecaster.delay, forecaster.horizon, own.columns, deviation[own.columns])
        aim = (
            [1, 1, list(encoding.columns_of("numbers"))]
            if forecaster.recursive
            else [direct.delay, direct.horizon, direct.columns]
        )
        if description["aim"] != aim:
            raise ValueError(f"a net that forecasts {description['aim']}, where the settings say {aim}")
        scales = scales_of(arrays, "target", aim[1] * len(aim[2]))
        for model in models:
            _check_model(forecaster, model, own.width, loss.size(len(scales[0])))
        counts = isinstance(loss, NegativeBinomial)
        learned = Targets(own, *aim, deviation[aim[2]], counts, *scales)
        forecast = Forecast(models, loss)
        if description.get("linear") is not None:
            forecast.linear = ridge_of(description["linear"], arrays, learned, own.width)
            forecast.scale, forecast.share = (
                factors_of(arrays, f"net.{name}", len(scales[0])) for name in ("scale", "share")
            )
        calibration = calibration_of(arrays, forecaster.horizon, len(targets))
        recent = recent_of(forecaster, description, arrays, tails, clock, encoding, own.need + MOST_WINDOWS)
        # Times that cannot be forecast show here.
        for _, index in tails.values():
            ahead = clock.after(index, forecaster.delay + forecaster.horizon - 1)
            index = index.append(ahead) if clock.regular else index
            own.calendar_rows(index)
            if encoding.holidays:
                calendar_features(index, (), encoding.holidays)
        errors, season = description["mase"], description["season"]
        if len(errors) != len(targets) or not all(type(error) is float and not error < 0 for error in errors):
            raise ValueError(f"errors of {len(targets)} targets that are {errors}")
        if season is not None:
            check_integer(season, "season", 1)
    linear = {} if forecaster.recursive or forecast.linear is None else {description["linear"]: forecast.linear}
    evaluation = Evaluation(direct if forecaster.recursive else learned, errors, season, linear=linear)
    return forecaster, Fitted(own, learned, forecast, evaluation, deviation, SeenRows(tails, recent), calibration)


def _check_settings(forecaster):
    """Raise TypeError or ValueError for settings that `fit` would refuse."""
    for name, least in (("lookback", 1), ("delay", 1), ("horizon", 1), ("step", 1), ("epochs", 0)):
        if name != "epochs" or forecaster.epochs is not None:
            check_integer(getattr(forecaster, name), name, least)
    check_flag("Forecaster", "recursive", forecaster.recursive)
    check_settings(forecaster)
    optimizer_with("adam", forecaster.learning_rate)
    if forecaster.clip_norm is not None:
        check_real(forecaster.clip_norm, "clip_norm", 0.0)
    check_seed(forecaster.seed)
    calendar = forecaster.calendar
    if not isinstance(calendar, (list, tuple)) or not set(calendar) <= set(CALENDAR):
        raise ValueError(f"calendar must be names among {', '.join(CALENDAR)}, got {brief(calendar)}")
    if forecaster.scaling not in METHODS:
        raise ValueError(f"scaling must be one of {', '.join(METHODS)}, got {brief(forecaster.scaling)}")


def _check_model(forecaster, model, features, outputs):
    """Raise ValueError unless a net reads what the forecaster prepares, and gives what it scales."""
    expected = features, outputs
    first, last = model.signals[0], model.signals[-1]
    if first.tokens or last.sequence or (first.size, last.size) != expected:
        raise ValueError(
            f"a model from {first} to {last}, where {expected[0]} features and {expected[1]} outputs are expected"
        )
    if forecaster.dtype != model.dtype.name:
        raise ValueError(f"dtype {forecaster.dtype!r} and a model of {model.dtype}")
