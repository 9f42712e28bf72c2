"""Files of fitted estimators: a description of JSON values, and arrays. Nothing that is read is executed.

Settings are the arguments of the constructor. Records among them (optimizers, schedules, averages, features of words) stand as
their kind and their fields, and only registered kinds are made again.
"""

import dataclasses
from collections.abc import Mapping

import numpy as np

from numbarnn import io
from numbarnn.backends.device import check_device
from numbarnn.checks import brief, check_choice, check_flag, check_integer, check_number, check_seed
from numbarnn.data.scaling import METHODS
from numbarnn.data.words import WordFeatures
from numbarnn.errors import ModelFileError
from numbarnn.estimators.linear import SUMMARIES, LinearPath
from numbarnn.estimators.scaling import SCALES, scaler_of
from numbarnn.estimators.settings import optimizer_of
from numbarnn.losses import LOSSES
from numbarnn.model import Model
from numbarnn.optim import EMA, OPTIMIZERS, SCHEDULES, make_optimizer
from numbarnn.training.defaults import default_average
from numbarnn.training.history import History

# 1: without scales, with a loss for each kind of estimator, and learning rates beside optimizers; 2: without linear paths.
VERSION = 3

# Arrays of a linear path, and those that files of before lack.
LINEAR, LIMITS = ("center", "scale", "weight", "bias"), ("low", "high")
# Arguments that are a matter of the machine.
LEFT_OUT = ("n_threads", "memory_limit", "device")


def records() -> dict[str, type]:
    """Return the kinds of settings that are records, by name."""
    losses = {kind.__name__.lower(): kind for kind in LOSSES.values()}
    return {**OPTIMIZERS, **SCHEDULES, **losses, "ema": EMA, "wordfeatures": WordFeatures}


def label_out(label, name: str = "label"):
    """Return a label as JSON values, a tuple as a list.

    Raises
    ------
    TypeError
        If it is not a string, number, True or False, nor a tuple of these.
    """
    label = label.item() if isinstance(label, np.generic) else label
    if type(label) is tuple:
        return [label_out(part, name) for part in label]
    if label is not None and type(label) not in (str, int, float, bool):
        raise TypeError(
            f"a file can store labels that are strings, numbers, True and False, and tuples of these, got the {name} {label!r} of "
            f"type {type(label).__name__}; train on such a name of it"
        )
    return label


def label_in(value):
    """Return the label of JSON values."""
    if isinstance(value, list):
        return tuple(label_in(part) for part in value)
    if isinstance(value, dict):
        raise TypeError(f"a label {value!r}")
    return value


def describe(estimator) -> tuple[dict, dict[str, np.ndarray]]:
    """Return (description, arrays) of a fitted estimator."""
    _check_settings(estimator)
    about, arrays = estimator._file_state()
    names, scaler = getattr(estimator, "feature_names_in_", None), estimator.scaler_
    history, trainer = estimator.history_, estimator.trainer_
    about |= {
        "version": VERSION,
        "settings": _settings(estimator),
        "seed": int(estimator.seed_),
        "epochs": int(estimator.n_iter_),
        "passes": 0 if trainer is None else trainer.passes,
        "features": getattr(estimator, "n_features_in_", None),
        "flat": getattr(estimator, "_flat", None),
        "names": None if names is None else list(names),
        "scaled": None if scaler is None else scaler.method,
        "history": {"records": history.records, "stopped": history.stopped, "best": history.best},
        "model": estimator.model_.description(),
    }
    if scaler is not None:
        arrays = arrays | {"inputs.center": scaler.center_, "inputs.scale": scaler.scale_}
    if estimator.linear_ is not None:
        about["linear"] = estimator.linear_.share
        parts = {f"linear.{name}": getattr(estimator.linear_, name) for name in LINEAR + LIMITS}
        arrays = arrays | {name: array for name, array in parts.items() if array is not None}
    return about, arrays | {f"model.{name}": values for name, values in estimator.model_.params.for_file().items()}


def restore(cls, description, arrays, device="cpu"):
    """Return the estimator of a class from a description and arrays, on a device.

    Raises
    ------
    ModelFileError
        If they are those of a later version, contradict each other, or need a cell that is not registered.
    """
    version = description.get("version")
    if version not in range(1, VERSION + 1):
        raise ModelFileError(
            f"the file's {cls.KIND} has version {version!r}, this version of numbarnn reads 1 to {VERSION}; update numbarnn"
        )
    parameters = {name[6:]: values for name, values in arrays.items() if name.startswith("model.")}
    check_device(device)
    with io.understood(cls.KIND):
        if version == 1:
            description = _of_version_2(description)
        if version < 3 and "linear" in {field.name for field in dataclasses.fields(cls)}:
            description = description | {"settings": description["settings"] | {"linear": None}}
        estimator = cls(**{name: setting_in(name, value) for name, value in description["settings"].items()})
        estimator.device = device
        _check_settings(estimator)
        model = Model.from_description(description["model"], parameters, device)
        if estimator.dtype != model.dtype.name:
            raise ValueError(f"dtype {estimator.dtype!r} and a model of {model.dtype}")
        estimator.model_, estimator.trainer_ = model, None
        _set_common(estimator, description)
        _set_scaler(estimator, description, arrays)
        _set_linear(estimator, description, arrays)
        estimator._set_file_state(description, arrays)
        trainer = estimator._trainer()
        trainer.epoch, trainer.passes = estimator.n_iter_, check_integer(description["passes"], "passes", 0)
    return estimator


def _of_version_2(description):
    """Return the description of a file of version 1 as version 2 wrote it."""
    settings = dict(description["settings"])
    if isinstance(settings["optimizer"], dict) and settings["learning_rate"] is not None:
        settings["optimizer"] = settings["optimizer"] | {"learning_rate": settings["learning_rate"]}
        settings["learning_rate"] = None
    elif settings["learning_rate"] is None:
        settings["learning_rate"] = make_optimizer(settings["optimizer"]).learning_rate
    loss = "mse"
    if "weights" in description:
        loss = {"record": "softmaxcrossentropy", "class_weight": description["weights"]}
    return description | {"settings": settings | {"scale": None}, "scaled": None, "loss": loss, "several": False}


def _check_settings(estimator):
    """Raise TypeError or ValueError for a setting that `fit` would refuse."""
    owner = type(estimator).__name__
    for name, least in (("epochs", 0), ("batch_size", 1), ("patience", 1), ("embedding_size", 1)):
        value = getattr(estimator, name, None)
        if not (value is None and name in ("epochs", "patience", "embedding_size")):
            check_integer(value, name, least)
    for name in ("warm_start", "bidirectional"):
        check_flag(owner, name, getattr(estimator, name))
    check_number(owner, "validation", estimator.validation, 0, 1, include_high=False)
    check_number(owner, "input_dropout", getattr(estimator, "input_dropout", 0), 0, 1, include_high=False)
    estimator._recurrent()
    optimizer_of(estimator)
    check_choice(estimator.scale, "scale", SCALES, none=True)
    check_choice(getattr(estimator, "linear", None), "linear", ("auto",), none=True)
    default_average(estimator.average, 0)
    if isinstance(estimator.random_state, int):
        check_seed(estimator.random_state)
    weights, tokens = getattr(estimator, "class_weight", None), getattr(estimator, "tokens", None)
    if not (weights is None or weights == "balanced" or isinstance(weights, Mapping)):
        raise ValueError(f"class_weight must be None, 'balanced' or a dict of label -> weight, got {brief(weights)}")
    if not (tokens is None or isinstance(tokens, WordFeatures)):
        check_integer(tokens, "tokens", 1)


def _set_common(estimator, description):
    history = description["history"]
    estimator.history_ = History.of(history["records"], history["stopped"], history["best"])
    estimator.seed_ = check_seed(description["seed"])
    estimator.n_iter_ = check_integer(description["epochs"], "epochs", 0)
    features, signal = description["features"], estimator.model_.signals[0]
    if signal.tokens != (features is None):
        raise ValueError(f"features {features!r} and a model of {signal}")
    if features is None:
        return
    check_flag("the file", "flat", description["flat"])
    estimator.n_features_in_, estimator._flat = check_integer(features, "features", 1), description["flat"]
    if signal.size != (1 if estimator._flat else features):
        raise ValueError(f"{features} features and a model of {signal}")
    if description["names"] is not None:
        names = list(description["names"])
        if len(names) != features or not all(isinstance(name, str) for name in names):
            raise ValueError(f"{len(names)} names of {features} features")
        estimator.feature_names_in_ = np.array(names, object)


def _set_scaler(estimator, description, arrays):
    """Set the scales of the inputs; raise unless they are those of the model's features."""
    method, estimator.scaler_ = description["scaled"], None
    if method is None:
        return
    check_choice(method, "scaled", METHODS)
    if estimator.model_.signals[0].tokens:
        raise ValueError("scales of tokens")
    center, scale = (arrays[f"inputs.{name}"] for name in ("center", "scale"))
    for array in (center, scale):
        if array.dtype != np.float64 or array.shape != (estimator.model_.signals[0].size,):
            raise ValueError(f"scales of {array.shape} features and a model of {estimator.model_.signals[0]}")
    if not (np.isfinite(center).all() and np.isfinite(scale).all() and (scale > 0).all()):
        raise ValueError("scales that are not finite and positive")
    estimator.scaler_ = scaler_of(method, center, scale)


def _set_linear(estimator, description, arrays):
    """Set the linear path; raise unless it is one from the model's features to its outputs."""
    share, first, last = description.get("linear"), estimator.model_.signals[0], estimator.model_.signals[-1]
    if share is None:
        return
    if not hasattr(estimator, "linear") or first.tokens or last.sequence:
        raise ValueError(f"a linear path beside a model from {first} to {last}")
    check_number("the file", "linear", share, 0, 1)
    limits = [arrays[f"linear.{name}"] for name in LIMITS] if {"linear.low", "linear.high"} & set(arrays) else []
    path = LinearPath(*(arrays[f"linear.{name}"] for name in LINEAR), share, *limits)
    rows = SUMMARIES * first.size
    shapes = ((rows,), (rows,), (rows, last.size), (last.size,))
    parts = [path.center, path.scale, path.weight, path.bias, *limits]
    for array, shape in zip(parts, shapes + ((rows,),) * len(limits), strict=True):
        if array.dtype != np.float64 or array.shape != shape or not np.isfinite(array).all():
            raise ValueError(f"a linear path of {array.dtype} {array.shape}, expected {shape}")
    if not (path.scale > 0).all():
        raise ValueError("scales of a linear path that are not positive")
    if limits and (path.low > path.high).any():
        raise ValueError("limits of a linear path of which the lower is above the upper one")
    estimator.linear_ = path


# Settings


def _settings(estimator):
    """Return the arguments of the constructor as JSON values."""
    found = {}
    for name, value in estimator.get_params(deep=False).items():
        if name in LEFT_OUT:
            continue
        if name == "random_state" and isinstance(value, (np.random.RandomState, np.random.Generator)):
            value = estimator.seed_
        found[name] = setting_out(name, value)
    return found


def setting_out(name, value):
    """Return a setting as JSON values; raise TypeError for what a file cannot store."""
    value = value.item() if isinstance(value, np.generic) else value
    if name == "dtype":  # which may be a type
        return np.dtype(value).name
    if name == "ignore":
        return label_out(value, "label to ignore")
    if isinstance(value, Mapping):
        return {"pairs": [[label_out(label), float(weight)] for label, weight in value.items()]}
    if dataclasses.is_dataclass(value):
        kind = type(value).__name__.lower()
        if records().get(kind) is not type(value):
            raise TypeError(f"a file cannot store {name}={value!r}: {type(value).__name__} is not registered")
        inner = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
        return {"record": kind, **{key: setting_out(name, part) for key, part in inner.items()}}
    if isinstance(value, tuple):
        return [setting_out(name, part) for part in value]
    if value is not None and not isinstance(value, (str, int, float, bool)):
        raise TypeError(f"a file cannot store {name}={value!r}")
    return value


def setting_in(name, value):
    """Return the setting of JSON values."""
    if name == "ignore":
        return label_in(value)
    if not isinstance(value, dict):
        return value
    if "pairs" in value:
        return {label_in(label): weight for label, weight in value["pairs"]}
    fields = {key: setting_in(key, part) for key, part in value.items() if key != "record"}
    return records()[value["record"]](**fields)
