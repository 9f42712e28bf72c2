"""Files of forecasters: what `Forecaster.save` wrote is checked as `Forecaster.fit` checks its arguments."""

import dataclasses

import numpy as np

from numbarnn import io
from numbarnn.backends.device import check_device
from numbarnn.checks import brief, check_choice, check_flag, check_integer, check_real, check_seed
from numbarnn.data.calendar import CALENDAR, calendar_features, check_holidays
from numbarnn.data.clock import UNITS, Clock
from numbarnn.data.scaling import METHODS, SequenceScaler
from numbarnn.forecasting.categories import LEVELS
from numbarnn.forecasting.encoding import Encoding, names_series
from numbarnn.forecasting.evaluation import Evaluation
from numbarnn.forecasting.frames import names_of
from numbarnn.forecasting.intervals import MOST_WINDOWS, Calibration
from numbarnn.forecasting.linear import Ridge
from numbarnn.forecasting.net import Forecast
from numbarnn.forecasting.preparation import Preparation
from numbarnn.forecasting.series import Levels
from numbarnn.forecasting.settings import check_ahead, check_comparison, check_inputs, check_settings
from numbarnn.forecasting.targets import Targets
from numbarnn.layers.kinds import recurrent
from numbarnn.losses import NegativeBinomial, make_loss
from numbarnn.losses.base import loss_config, loss_from_config
from numbarnn.model import Model
from numbarnn.optim import optimizer_with
from numbarnn.training.callbacks import early_stopping

# What says what the targets are compared with.
COMPARISON = ("difference", "relative", "recenter")


def describe(forecaster) -> tuple[dict, dict]:
    """Return the description and the arrays of a fitted forecaster's file.

    Raises
    ------
    TypeError
        If a name of a column or series, or a loss, cannot be held by a file.
    """
    left_out = ("optimizer", "schedule", "average", "n_threads", "device")
    settings = {name: value for name, value in forecaster.get_params().items() if name not in left_out}
    for name, value in settings.items():
        settings[name] = value.item() if isinstance(value, np.generic) else value
    linear, own, clock = forecaster._forecast.linear, forecaster._preparation, forecaster._preparation.clock
    encoding = own.encoding
    for name in ("future", "static", "categories"):
        settings[name] = names_out(names_of(settings[name], name))
    settings["holidays"] = check_holidays(settings["holidays"])
    for name in ("id", "time"):
        settings[name] = None if settings[name] is None else names_out([settings[name]])[0]
    settings["calendar"] = [forecaster.calendar] if isinstance(forecaster.calendar, str) else list(forecaster.calendar)
    settings["dtype"] = forecaster.model_.dtype.name
    settings["loss"] = loss_config(make_loss(forecaster.loss))
    loss = loss_config(forecaster.loss_)
    if loss is None:
        raise TypeError(f"a file can hold the losses of numbarnn.losses.LOSSES, got {forecaster.loss!r}")
    unit = None
    if clock.kind == "times":  # the finest, in which those of all series can be told
        unit = max((index.unit for _, index in forecaster._tails.values()), key=list(UNITS).index)

    def times(indexes):
        return np.concatenate([clock.to_integers(index if unit is None else index.as_unit(unit)) for index in indexes])

    about = {
        "settings": settings,
        "features": names_out(forecaster.feature_names_),
        "targets": names_out(forecaster.target_names_),
        "mase": forecaster._evaluation.errors,
        "aim": [forecaster._targets.delay, forecaster._targets.horizon, forecaster._targets.columns],
        "season": forecaster._evaluation.season,
        "clock": dataclasses.asdict(forecaster._preparation.clock),
        "unit": unit,
        "series": None if not own.many else names_out(forecaster._tails, "series"),
        "rows": [len(tail) for tail, _ in forecaster._tails.values()],
        "encoding": {
            "categories": list(encoding.categories.values()),
            "series": None if encoding.series is None else names_out(encoding.series, "series"),
            "masked": names_out(encoding.masked),
            "usual": encoding.usual,
        },
        "levels": None if own.levels.keys is None else names_out(own.levels.keys, "series"),
        "loss": loss,
        "comparison": {key: getattr(forecaster, f"{key}_") for key in COMPARISON},
        "linear": None if linear is None else "shared" if linear.shared else "all",
        "model": forecaster.model_.description(),
        "others": [model.description() for model in forecaster._forecast.models[1:]],
    }
    arrays = {
        f"model{number or ''}.{name}": values
        for number, model in enumerate(forecaster._forecast.models)
        for name, values in model.params.for_file().items()
    }
    arrays |= {
        "scaler.center": forecaster.scaler_.center_,
        "scaler.scale": forecaster.scaler_.scale_,
        "target.center": forecaster._targets.center,
        "target.scale": forecaster._targets.scale,
        "tail": np.concatenate([tail for tail, _ in forecaster._tails.values()]),
        "tail.times": times(index for _, index in forecaster._tails.values()),
    }
    if any(len(rows[0]) > len(forecaster._tails[key][0]) for key, rows in forecaster._seen.items()):
        seen = list(zip(*(forecaster._seen[key] for key in forecaster._tails), strict=True))
        about["seen"] = [len(index) for index in seen[1]]
        arrays |= {"seen": np.concatenate(seen[0]), "seen.measured": np.concatenate(seen[2])}
        arrays["seen.times"] = times(seen[1])
    if np.isfinite(forecaster._deviation).all():  # a file from before they were kept has none
        arrays["deviation"] = forecaster._deviation
    if encoding.fill is not None:
        arrays["fill"] = encoding.fill
    if own.levels.keys is not None:
        arrays |= {"levels.center": own.levels.center, "levels.scale": own.levels.scale}
    if forecaster._calibration is not None:
        arrays["calibration"] = forecaster._calibration.scores
    if linear is not None:
        arrays |= {f"linear.{name}": getattr(linear, name) for name in ("weights", "x_mean", "y_mean")}
        arrays |= {"net.scale": forecaster._forecast.scale, "net.share": forecaster._forecast.share}
    return about, arrays


def restore(cls, description, arrays, device="cpu"):
    """Return the forecaster of a description and arrays, on a device.

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
            setattr(forecaster, name, tuple(_names_in(list(getattr(forecaster, name)), name, 0)))
        for name in ("id", "time"):
            if isinstance(getattr(forecaster, name), list):
                setattr(forecaster, name, tuple(getattr(forecaster, name)))
        loss = make_loss(loss_from_config(description.get("loss", {"type": "mse"})))
        comparison = description.get("comparison", {key: getattr(forecaster, key) for key in COMPARISON})
        check_comparison(forecaster, **comparison)
        names, targets = (_names_in(description[what], what) for what in ("features", "targets"))
        encoding = _encoding(forecaster, description.get("encoding", {}), arrays, names, targets)
        width = encoding.width
        tails, clock = _tails(forecaster, description, arrays, width)
        levels = _levels(description, arrays, width)
        models = [
            Model.from_description(about, _under(arrays, f"model{number or ''}."), device)
            for number, about in enumerate([description["model"], *description.get("others", [])])
        ]
        scaler = SequenceScaler(forecaster.scaling)
        scaler.center_, scaler.scale_ = _scales(arrays, "scaler", width)
        scaler.n_features_in_ = width
        own = Preparation.of(forecaster, encoding, targets, clock, scaler, levels, None not in tails)
        levels = dataclasses.replace(levels, apart=own.unscaled) if levels.keys is not None else levels
        own = dataclasses.replace(own, levels=levels, **comparison)
        for tail, _ in tails.values():
            if len(tail) > own.need or (len(tail) < own.need and not own.many):
                raise ValueError(f"the last {len(tail)} rows, where a forecast looks at {own.need}")
        deviation = _deviation(arrays, width)
        direct = Targets(own, forecaster.delay, forecaster.horizon, own.columns, deviation[own.columns])
        aim = (
            [1, 1, list(encoding.columns_of("numbers"))]
            if forecaster.recursive
            else [direct.delay, direct.horizon, direct.columns]
        )
        if description["aim"] != aim:
            raise ValueError(f"a net that forecasts {description['aim']}, where the settings say {aim}")
        scales = _scales(arrays, "target", aim[1] * len(aim[2]))
        for model in models:
            _check_model(forecaster, model, own.width, loss.size(len(scales[0])))
        counts = isinstance(loss, NegativeBinomial)
        learned = Targets(own, *aim, deviation[aim[2]], counts, *scales)
        forecast = Forecast(models, loss)
        if description.get("linear") is not None:
            forecast.linear = _linear(description["linear"], arrays, learned, own.width)
            forecast.scale, forecast.share = (
                _factors(arrays, f"net.{name}", len(scales[0])) for name in ("scale", "share")
            )
        calibration = _calibration(arrays, forecaster.horizon, len(targets))
        seen = _seen(forecaster, description, arrays, tails, clock, encoding, own.need + MOST_WINDOWS)
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
    forecaster.model_, forecaster.scaler_ = models[0], scaler
    forecaster.feature_names_, forecaster.target_names_ = names, targets
    for key, value in comparison.items():
        setattr(forecaster, f"{key}_", value)
    forecaster._preparation, forecaster._targets, forecaster._forecast = own, learned, forecast
    forecaster._deviation, forecaster._calibration, forecaster.loss_ = deviation, calibration, loss
    linear = {} if forecaster.recursive or forecast.linear is None else {description["linear"]: forecast.linear}
    forecaster._evaluation = Evaluation(direct if forecaster.recursive else learned, errors, season, linear=linear)
    forecaster._tails, forecaster._seen = tails, seen
    return forecaster


def _check_settings(forecaster):
    """Raise TypeError or ValueError for settings that `fit` would refuse."""
    for name, least in (("lookback", 1), ("delay", 1), ("horizon", 1), ("step", 1), ("epochs", 0)):
        if name != "epochs" or forecaster.epochs is not None:
            check_integer(getattr(forecaster, name), name, least)
    check_flag("Forecaster", "recursive", forecaster.recursive)
    check_settings(forecaster)
    options = ("num_layers", "dropout", "recurrent_dropout")
    recurrent(forecaster.cell, forecaster.hidden_size, **{name: getattr(forecaster, name) for name in options})
    optimizer_with("adam", forecaster.learning_rate)
    early_stopping(forecaster.patience)
    if forecaster.clip_norm is not None:
        check_real(forecaster.clip_norm, "clip_norm", 0.0)
    check_seed(forecaster.seed)
    calendar = forecaster.calendar
    if not isinstance(calendar, (list, tuple)) or not set(calendar) <= set(CALENDAR):
        raise ValueError(f"calendar must be names among {', '.join(CALENDAR)}, got {brief(calendar)}")
    if forecaster.scaling not in METHODS:
        raise ValueError(f"scaling must be one of {', '.join(METHODS)}, got {brief(forecaster.scaling)}")


def names_out(names, what="column") -> list:
    """Return names of columns as JSON values, those of several levels as lists.

    Raises
    ------
    TypeError
        If one is not a string or an integer, nor a tuple of these.
    """
    found = []
    for name in names:
        levels = name if type(name) is tuple else (name,)
        parts = [part.item() if isinstance(part, np.integer) else part for part in levels]
        if not all(type(part) in (str, int) for part in parts):
            raise TypeError(
                f"a file can hold {what} names that are strings or integers, or tuples of these, got {brief(name)}; rename it "
                "before fit"
            )
        found.append(parts if type(name) is tuple else parts[0])
    return found


def _names_in(values, what, least=1) -> list:
    """Return the names of columns of JSON values; raise ValueError unless they are what `names_out` returns, and differ."""
    if values == [] and not least:
        return []
    known = isinstance(values, list) and values
    names = [tuple(name) if isinstance(name, list) else name for name in values] if known else []
    parts = [part for name in names for part in (name if type(name) is tuple else (name,))]
    if () in names or not all(type(part) in (str, int) for part in parts) or len(set(names)) != len(names) or not names:
        raise ValueError(f"{what} must be different names of columns, got {brief(values)}")
    return names


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


def _under(arrays, prefix):
    """Return the arrays whose names begin with a prefix, by the rest of the name."""
    return {name[len(prefix) :]: values for name, values in arrays.items() if name.startswith(prefix)}


def _finite(arrays, name, shape):
    """Return a finite float64 array of a shape."""
    array = arrays[name]
    if array.dtype != np.float64 or array.shape != shape or not np.isfinite(array).all():
        raise ValueError(f"{name} must be finite, float64 and have shape {shape}, got {array.dtype} {array.shape}")
    return array


def _deviation(arrays, size):
    """Return the standard deviations of all columns; NaN where a file is from before they were kept."""
    if "deviation" not in arrays:
        return np.full(size, np.nan)
    deviation = _finite(arrays, "deviation", (size,))
    if not (deviation > 0).all():
        raise ValueError("deviation must be positive")
    return deviation


def _factors(arrays, name, size):
    """Return what the outputs of a net are multiplied by."""
    factors = _finite(arrays, name, (size,))
    if not (factors >= 0).all():
        raise ValueError(f"{name} must not be negative")
    return factors


def _calibration(arrays, horizon, targets):
    """Return the calibration of intervals; None where a file has none."""
    if "calibration" not in arrays:
        return None
    scores = _finite(arrays, "calibration", (*arrays["calibration"].shape[:1], horizon, targets))
    if not len(scores) or (np.diff(scores, axis=0) < 0).any():
        raise ValueError("calibration must have sorted scores")
    return Calibration(scores)


def _linear(kind, arrays, targets, features):
    """Return the linear path of a forecaster."""
    check_choice(kind, "linear", ("all", "shared"))
    shared = kind == "shared"
    rows, outputs = len(targets.preparation.window_rows), targets.horizon if shared else len(targets.center)
    inputs = rows * (2 if targets.indicators else 1) if shared else rows * features
    weights, x_mean, y_mean = (
        _finite(arrays, f"linear.{name}", shape)
        for name, shape in (("weights", (inputs, outputs)), ("x_mean", (inputs,)), ("y_mean", (outputs,)))
    )
    return Ridge(targets, shared, weights, x_mean, y_mean)


def _scales(arrays, name, size):
    """Return center and scale of an array's columns."""
    center, scale = arrays[f"{name}.center"], arrays[f"{name}.scale"]
    for array in (center, scale):
        if array.dtype != np.float64 or array.shape != (size,) or not np.isfinite(array).all():
            raise ValueError(f"{name} must have {size} finite centers and scales, got {array.dtype} {array.shape}")
    if not (scale > 0).all():
        raise ValueError(f"{name} must have positive scales")
    return center, scale


def _encoding(forecaster, about, arrays, names, targets) -> Encoding:
    """Return the encoding of a file; raise an error unless it is one that `Encoding.of` makes."""
    levels, series, masked, usual = (about.get(key, other) for key, other in (
        ("categories", []), ("series", None), ("masked", []), ("usual", None)
    ))  # fmt: skip
    for name in ("future", "categories"):
        check_inputs(name, getattr(forecaster, name), names, targets)
    if not isinstance(levels, list) or len(levels) != len(forecaster.categories):
        raise ValueError(f"the levels of {len(forecaster.categories)} categories are {brief(levels)}")
    for own in levels:
        kinds = {type(level) for level in own} if isinstance(own, list) else set()
        if len(kinds) != 1 or not kinds <= set(LEVELS) or len(set(own)) != len(own):
            raise ValueError(f"levels must be different strings, integers or booleans, got {brief(own)}")
    if series is not None:
        series = _names_in(series, "series")
    keys = [None] if series is None else series
    own = [name for name in forecaster.static if names_series(forecaster, name, names, keys)]
    if (series is None) == bool(own):
        raise ValueError(f"static {forecaster.static} and the series {brief(series)}")
    static = tuple(name for name in forecaster.static if name not in own)
    check_inputs("static", static, names, targets)
    masked = _names_in(masked, "columns with missing values", 0)
    if not set(masked) <= set(names) or (masked and forecaster.missing != "mask"):
        raise ValueError(f"missing={forecaster.missing!r} and missing values of {brief(masked)}")
    if (usual is None) != (forecaster.irregular == "error"):
        raise ValueError(f"irregular={forecaster.irregular!r} and an elapsed time of {brief(usual)}")
    if usual is not None and check_real(usual, "the elapsed time", 0.0) == 0:
        raise ValueError("the elapsed time must be positive")
    found = Encoding(
        names, dict(zip(forecaster.categories, levels, strict=True)), forecaster.missing, forecaster.handle_unknown == "ignore",
        series, check_holidays(forecaster.holidays), masked, usual, forecaster.future, static,
    )  # fmt: skip
    check_ahead(forecaster, found)
    if forecaster.missing != "mask":
        return found
    return dataclasses.replace(found, fill=_finite(arrays, "fill", (found.width,)))


def _tails(forecaster, description, arrays, width):
    """Return the last rows of every series and their index, by key, and the clock."""
    keys, clock = description.get("series"), Clock(**description["clock"])
    if keys is None:
        return {None: _tail(forecaster, description, arrays["tail"], arrays["tail.times"], clock, width)}, clock
    keys, counts = _names_in(keys, "series"), description["rows"]
    if len(counts) != len(keys) or not all(type(count) is int and count > 0 for count in counts):
        raise ValueError(f"{len(keys)} series of {brief(counts)} rows")
    stops = np.cumsum(counts)
    if stops[-1] != len(arrays["tail"]) or stops[-1] != len(arrays["tail.times"]):
        raise ValueError(f"series of {stops[-1]} rows in all, and {len(arrays['tail'])} rows")
    found = {}
    for key, stop, count in zip(keys, stops, counts, strict=True):
        rows = slice(stop - count, stop)
        found[key] = _tail(forecaster, description, arrays["tail"][rows], arrays["tail.times"][rows], clock, width, 1)
    return found, clock


def _seen(forecaster, description, arrays, tails, clock, encoding, most):
    """Return the rows that adaptive levels follow, by series; those of the tails where a file has no others."""
    numbers = len(encoding.numbers)
    if "seen" not in description:
        return {key: (values, index, values[:, :numbers]) for key, (values, index) in tails.items()}
    counts, found, first = description["seen"], {}, 0
    total = len(arrays["seen"])
    if (
        not isinstance(counts, list)
        or len(counts) != len(tails)
        or not all(type(count) is int and 0 < count <= most for count in counts)
        or {len(arrays[f"seen{part}"]) for part in ("", ".times", ".measured")} != {sum(counts)}
    ):
        raise ValueError(f"{len(tails)} series with {brief(counts)} of {total} rows since fit")
    for (key, (tail, end)), count in zip(tails.items(), counts, strict=True):
        rows = slice(first, first + count)
        times = arrays["seen.times"][rows]
        values, index = _tail(forecaster, description, arrays["seen"][rows], times, clock, encoding.width, 1)
        measured = arrays["seen.measured"][rows]
        if measured.dtype != np.float64 or measured.shape != (count, numbers) or np.isinf(measured).any():
            raise ValueError(f"measured rows since fit of {measured.dtype} {measured.shape}")
        if not (np.array_equal(values[-len(tail) :], tail, equal_nan=True) and index[-len(end) :].equals(end)):
            raise ValueError("rows since fit that do not end with the last rows")
        found[key], first = (values, index, measured), first + count
    return found


def _levels(description, arrays, width):
    """Return the levels of a forecaster of many series."""
    keys = description.get("levels")
    if keys is None:
        return Levels.none(width)
    keys = _names_in(keys, "levels")
    center, scale = (_finite(arrays, f"levels.{name}", (len(keys), width)) for name in ("center", "scale"))
    if not (scale > 0).all():
        raise ValueError("levels must have positive scales")
    return Levels(keys, center, scale, np.zeros(width, bool))


def _tail(forecaster, description, tail, times, clock, width, least=None):
    """Return the last rows of a series and their index."""
    if tail.dtype != np.float64 or tail.ndim != 2 or tail.shape[1] != width or np.isinf(tail).any():
        raise ValueError(
            f"the last rows must be finite, float64 and have {width} columns, got {tail.dtype} {tail.shape}"
        )
    if forecaster.missing == "error" and np.isnan(tail).any():
        raise ValueError("the last rows have missing values, which missing='error' excludes")
    if times.dtype != np.int64 or times.shape != tail.shape[:1]:
        raise ValueError(f"{len(tail)} rows with times {times.dtype} {times.shape}")
    # Before rows are counted one by one.
    if least is None and (forecaster.lookback - 1) // forecaster.step * forecaster.step >= len(tail):
        raise ValueError(f"the last {len(tail)} rows for lookback={forecaster.lookback} in steps of {forecaster.step}")
    _check_clock(clock, forecaster.irregular == "error")
    try:
        index = clock.from_integers(times, description.get("unit", "ns"))
    except OSError as error:  # the name of a folder of time zones
        raise ValueError(f"the time zone {clock.zone!r}: {error}") from None
    if index.hasnans or not index.is_unique or not (index.is_monotonic_increasing or index.is_monotonic_decreasing):
        raise ValueError("the times of the last rows are not in order")
    return tail, index


def _check_clock(clock, regular):
    """Raise TypeError or ValueError unless a clock is one that `Clock.of` makes."""
    import pandas as pd

    if type(clock.name) not in (type(None), str, int):
        raise TypeError(f"the name of the index must be a string or an integer, got {brief(clock.name)}")
    if clock.regular is not regular:
        raise ValueError(
            f"a clock of {'regular' if clock.regular is True else 'irregular'} rows, got {brief(clock.regular)}"
        )
    if not regular and clock.kind in ("times", "numbers"):
        if clock.every is not None:
            raise ValueError(f"irregular rows at the frequency {brief(clock.every)}")
        _check_zone(clock)
        return
    if clock.kind == "numbers":
        if abs(check_integer(clock.every, "the step of the index", -(2**40))) > 2**40 or clock.every == 0:
            raise ValueError(f"the index rises by {clock.every}")
        return
    if clock.kind not in ("times", "periods") or not isinstance(clock.every, str):
        raise ValueError(f"an index of {clock.kind!r} at the frequency {clock.every!r}")
    if clock.kind == "times" and pd.tseries.frequencies.to_offset(clock.every).n < 1:
        raise ValueError(f"the frequency {clock.every!r} does not go forward")
    _check_zone(clock)


def _check_zone(clock):
    # pandas reads any file after "dateutil/".
    if clock.zone is not None and (not isinstance(clock.zone, str) or clock.zone.startswith("dateutil/")):
        raise ValueError(f"no time zone is {clock.zone!r}")
