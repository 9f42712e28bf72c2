"""Fields of a forecaster's file, each checked before it is used."""

import dataclasses

import numpy as np

from numbarnn.checks import brief, check_choice, check_real
from numbarnn.data.calendar import check_holidays
from numbarnn.forecasting.categories import LEVELS
from numbarnn.forecasting.encoding import Encoding, names_series
from numbarnn.forecasting.intervals import Calibration
from numbarnn.forecasting.linear import Ridge
from numbarnn.forecasting.series import Levels
from numbarnn.forecasting.settings import check_ahead, check_inputs


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
                f"a file can store {what} names that are strings or integers, or tuples of these, got {brief(name)}; rename it "
                "before fit"
            )
        found.append(parts if type(name) is tuple else parts[0])
    return found


def names_in(values, what, least=1) -> list:
    """Return the names of columns of JSON values; raise ValueError unless they are what `names_out` returns, and differ."""
    if values == [] and not least:
        return []
    known = isinstance(values, list) and values
    names = [tuple(name) if isinstance(name, list) else name for name in values] if known else []
    parts = [part for name in names for part in (name if type(name) is tuple else (name,))]
    if () in names or not all(type(part) in (str, int) for part in parts) or len(set(names)) != len(names) or not names:
        raise ValueError(f"{what} must be different names of columns, got {brief(values)}")
    return names


def under(arrays, prefix):
    """Return the arrays whose names begin with a prefix, by the rest of the name."""
    return {name[len(prefix) :]: values for name, values in arrays.items() if name.startswith(prefix)}


def finite(arrays, name, shape):
    """Return a finite float64 array of a shape."""
    array = arrays[name]
    if array.dtype != np.float64 or array.shape != shape or not np.isfinite(array).all():
        raise ValueError(f"{name} must be finite, float64 and have shape {shape}, got {array.dtype} {array.shape}")
    return array


def deviation_of(arrays, size):
    """Return the standard deviations of all columns; NaN where a file is from before they were stored."""
    if "deviation" not in arrays:
        return np.full(size, np.nan)
    deviation = finite(arrays, "deviation", (size,))
    if not (deviation > 0).all():
        raise ValueError("deviation must be positive")
    return deviation


def factors_of(arrays, name, size):
    """Return what the outputs of a net are multiplied by."""
    factors = finite(arrays, name, (size,))
    if not (factors >= 0).all():
        raise ValueError(f"{name} must not be negative")
    return factors


def calibration_of(arrays, horizon, targets):
    """Return the calibration of intervals; None where a file has none."""
    if "calibration" not in arrays:
        return None
    scores = finite(arrays, "calibration", (*arrays["calibration"].shape[:1], horizon, targets))
    if not len(scores) or (np.diff(scores, axis=0) < 0).any():
        raise ValueError("calibration must have sorted scores")
    return Calibration(scores)


def ridge_of(kind, arrays, targets, features):
    """Return the linear path of a forecaster."""
    check_choice(kind, "linear", ("all", "shared"))
    shared = kind == "shared"
    rows, outputs = len(targets.preparation.window_rows), targets.horizon if shared else len(targets.center)
    inputs = rows * (2 if targets.indicators else 1) if shared else rows * features
    weights, x_mean, y_mean = (
        finite(arrays, f"linear.{name}", shape)
        for name, shape in (("weights", (inputs, outputs)), ("x_mean", (inputs,)), ("y_mean", (outputs,)))
    )
    return Ridge(targets, shared, weights, x_mean, y_mean)


def scales_of(arrays, name, size):
    """Return center and scale of an array's columns."""
    center, scale = arrays[f"{name}.center"], arrays[f"{name}.scale"]
    for array in (center, scale):
        if array.dtype != np.float64 or array.shape != (size,) or not np.isfinite(array).all():
            raise ValueError(f"{name} must have {size} finite centers and scales, got {array.dtype} {array.shape}")
    if not (scale > 0).all():
        raise ValueError(f"{name} must have positive scales")
    return center, scale


def encoding_of(forecaster, about, arrays, names, targets) -> Encoding:
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
        series = names_in(series, "series")
    keys = [None] if series is None else series
    own = [name for name in forecaster.static if names_series(forecaster, name, names, keys)]
    if (series is None) == bool(own):
        raise ValueError(f"static {forecaster.static} and the series {brief(series)}")
    static = tuple(name for name in forecaster.static if name not in own)
    check_inputs("static", static, names, targets)
    masked = names_in(masked, "columns with missing values", 0)
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
    return dataclasses.replace(found, fill=finite(arrays, "fill", (found.width,)))


def series_levels_of(description, arrays, width):
    """Return the levels of a forecaster of many series."""
    keys = description.get("levels")
    if keys is None:
        return Levels.none(width)
    keys = names_in(keys, "levels")
    center, scale = (finite(arrays, f"levels.{name}", (len(keys), width)) for name in ("center", "scale"))
    if not (scale > 0).all():
        raise ValueError("levels must have positive scales")
    return Levels(keys, center, scale, np.zeros(width, bool))
