"""Files of forecasters: what `Forecaster.save` wrote is checked as `Forecaster.fit` checks its arguments."""

import numpy as np

from numbarnn import io
from numbarnn.backends.device import check_device
from numbarnn.checks import brief, check_flag, check_integer, check_real, check_seed
from numbarnn.data.calendar import CALENDAR
from numbarnn.data.clock import Clock
from numbarnn.data.scaling import METHODS, SequenceScaler
from numbarnn.forecasting.evaluation import Evaluation
from numbarnn.forecasting.tables import Preparation, Targets
from numbarnn.layers.kinds import recurrent
from numbarnn.model import Model
from numbarnn.optim import optimizer_with
from numbarnn.training.callbacks import early_stopping


def restore(cls, description, arrays, device="cpu"):
    """Return the forecaster of a description and arrays, on a device.

    Raises
    ------
    ModelFileError
        If the description cannot be understood, or the arrays do not match it.
    """
    check_device(device)
    with io.understood("forecaster"):
        forecaster = cls(**description["settings"], device=device)
        _check_settings(forecaster)
        forecaster.calendar = tuple(forecaster.calendar)
        names, targets = description["features"], description["targets"]
        _check_names(names, "features")
        _check_names(targets, "targets")
        tail, index, clock = _tail(forecaster, description, arrays, names)
        parameters = {name[6:]: values for name, values in arrays.items() if name.startswith("model.")}
        model = Model.from_description(description["model"], parameters, device)
        scaler = SequenceScaler(forecaster.scaling)
        scaler.center_, scaler.scale_ = _scales(arrays, "scaler", len(names))
        scaler.n_features_in_ = len(names)
        own = Preparation.of(forecaster, names, targets, clock, scaler)
        if own.need != len(tail):
            raise ValueError(f"the last {len(tail)} rows, where a forecast looks at {own.need}")
        direct = Targets(own, forecaster.delay, forecaster.horizon, own.columns)
        aim = (
            [1, 1, list(range(len(names)))] if forecaster.recursive else [direct.delay, direct.horizon, direct.columns]
        )
        if description["aim"] != aim:
            raise ValueError(f"a net that forecasts {description['aim']}, where the settings say {aim}")
        scales = _scales(arrays, "target", aim[1] * len(aim[2]))
        _check_model(forecaster, model, len(names), len(scales[0]))
        # Times that cannot be forecast show here.
        own.calendar_rows(index.append(clock.after(index, forecaster.delay + forecaster.horizon - 1)))
        errors, season = description["mase"], description["season"]
        if len(errors) != len(targets) or not all(type(error) is float and not error < 0 for error in errors):
            raise ValueError(f"errors of {len(targets)} targets that are {errors}")
        if season is not None:
            check_integer(season, "season", 1)
    forecaster.model_, forecaster.scaler_ = model, scaler
    forecaster.feature_names_, forecaster.target_names_ = names, targets
    forecaster._preparation, forecaster._targets = own, Targets(own, *aim, *scales)
    forecaster._evaluation = Evaluation(direct, errors, season)
    forecaster._tail, forecaster._tail_index = tail, index
    return forecaster


def _check_settings(forecaster):
    """Raise TypeError or ValueError for settings that `fit` would refuse."""
    for name, least in (("lookback", 1), ("delay", 1), ("horizon", 1), ("step", 1), ("epochs", 0)):
        check_integer(getattr(forecaster, name), name, least)
    check_flag("Forecaster", "recursive", forecaster.recursive)
    forecaster._check_settings()
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


def _check_names(names, what):
    known = isinstance(names, list) and all(type(name) in (str, int) for name in names)
    if not known or not names or len(set(names)) != len(names):
        raise ValueError(f"{what} must be different names of columns, got {brief(names)}")


def _check_model(forecaster, model, features, outputs):
    """Raise ValueError unless a net reads what the forecaster prepares, and gives what it scales."""
    expected = features + 2 * len(forecaster.calendar), outputs
    first, last = model.signals[0], model.signals[-1]
    if first.tokens or last.sequence or (first.size, last.size) != expected:
        raise ValueError(
            f"a model from {first} to {last}, where {expected[0]} features and {expected[1]} outputs are expected"
        )
    if forecaster.dtype != model.dtype.name:
        raise ValueError(f"dtype {forecaster.dtype!r} and a model of {model.dtype}")


def _scales(arrays, name, size):
    """Return center and scale of an array's columns."""
    center, scale = arrays[f"{name}.center"], arrays[f"{name}.scale"]
    for array in (center, scale):
        if array.dtype != np.float64 or array.shape != (size,) or not np.isfinite(array).all():
            raise ValueError(f"{name} must have {size} finite centers and scales, got {array.dtype} {array.shape}")
    if not (scale > 0).all():
        raise ValueError(f"{name} must have positive scales")
    return center, scale


def _tail(forecaster, description, arrays, names):
    """Return the last rows, their index and its clock."""
    tail, times, clock = arrays["tail"], arrays["tail.times"], Clock(**description["clock"])
    if tail.dtype != np.float64 or tail.ndim != 2 or tail.shape[1] != len(names) or np.isinf(tail).any():
        raise ValueError(
            f"the last rows must be finite, float64 and have {len(names)} columns, got {tail.dtype} {tail.shape}"
        )
    if forecaster.missing == "error" and np.isnan(tail).any():
        raise ValueError("the last rows have missing values, which missing='error' excludes")
    if times.dtype != np.int64 or times.shape != tail.shape[:1]:
        raise ValueError(f"{len(tail)} rows with times {times.dtype} {times.shape}")
    # Before rows are counted one by one.
    if (forecaster.lookback - 1) // forecaster.step * forecaster.step >= len(tail):
        raise ValueError(f"the last {len(tail)} rows for lookback={forecaster.lookback} in steps of {forecaster.step}")
    _check_clock(clock)
    try:
        index = clock.from_integers(times, description.get("unit", "ns"))
    except OSError as error:  # the name of a folder of time zones
        raise ValueError(f"the time zone {clock.zone!r}: {error}") from None
    if index.hasnans or not index.is_unique or not (index.is_monotonic_increasing or index.is_monotonic_decreasing):
        raise ValueError("the times of the last rows are not in order")
    return tail, index, clock


def _check_clock(clock):
    """Raise TypeError or ValueError unless a clock is one that `Clock.of` makes."""
    import pandas as pd

    if type(clock.name) not in (type(None), str, int):
        raise TypeError(f"the name of the index must be a string or an integer, got {brief(clock.name)}")
    if clock.kind == "numbers":
        if abs(check_integer(clock.every, "the step of the index", -(2**40))) > 2**40 or clock.every == 0:
            raise ValueError(f"the index rises by {clock.every}")
        return
    if clock.kind not in ("times", "periods") or not isinstance(clock.every, str):
        raise ValueError(f"an index of {clock.kind!r} at the frequency {clock.every!r}")
    if clock.kind == "times" and pd.tseries.frequencies.to_offset(clock.every).n < 1:
        raise ValueError(f"the frequency {clock.every!r} does not go forward")
    # pandas reads any file after "dateutil/".
    if clock.zone is not None and (not isinstance(clock.zone, str) or clock.zone.startswith("dateutil/")):
        raise ValueError(f"no time zone is {clock.zone!r}")
