"""Files of fitted estimators: a description of JSON values, and arrays. Nothing that is read is executed.

Settings are the arguments of the constructor. Records among them (optimizers, schedules, averages, features of words) stand as
their kind and their fields, and only registered kinds are made again.
"""

import dataclasses
from collections.abc import Mapping

import numpy as np

from numbarnn import io
from numbarnn.backends.device import check_device
from numbarnn.checks import brief, check_flag, check_integer, check_number, check_seed
from numbarnn.data.words import WordFeatures
from numbarnn.errors import ModelFileError
from numbarnn.model import Model
from numbarnn.optim import EMA, OPTIMIZERS, SCHEDULES, make_average, optimizer_with
from numbarnn.training.history import History

VERSION = 1

# Arguments that are a matter of the machine.
LEFT_OUT = ("n_threads", "device")

RECORDS = {**OPTIMIZERS, **SCHEDULES, "ema": EMA, "wordfeatures": WordFeatures}


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
            f"a file can hold labels that are strings, numbers, True and False, and tuples of these, got the {name} {label!r} of "
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
    names = getattr(estimator, "feature_names_in_", None)
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
        "history": {"records": history.records, "stopped": history.stopped, "best": history.best},
        "model": estimator.model_.description(),
    }
    return about, arrays | {f"model.{name}": values for name, values in estimator.model_.params.for_file().items()}


def restore(cls, description, arrays, device="cpu"):
    """Return the estimator of a class from a description and arrays, on a device.

    Raises
    ------
    ModelFileError
        If they are those of a later version, contradict each other, or need a cell that is not registered.
    """
    version = description.get("version")
    if version != VERSION:
        raise ModelFileError(
            f"the file's {cls.KIND} has version {version!r}, this version of numbarnn reads {VERSION}; update numbarnn"
        )
    parameters = {name[6:]: values for name, values in arrays.items() if name.startswith("model.")}
    check_device(device)
    with io.understood(cls.KIND):
        estimator = cls(**{name: _setting_in(name, value) for name, value in description["settings"].items()})
        estimator.device = device
        _check_settings(estimator)
        model = Model.from_description(description["model"], parameters, device)
        if estimator.dtype != model.dtype.name:
            raise ValueError(f"dtype {estimator.dtype!r} and a model of {model.dtype}")
        estimator.model_, estimator.trainer_ = model, None
        _set_common(estimator, description)
        estimator._set_file_state(description, arrays)
        trainer = estimator._trainer()
        trainer.epoch, trainer.passes = estimator.n_iter_, check_integer(description["passes"], "passes", 0)
    return estimator


def _check_settings(estimator):
    """Raise TypeError or ValueError for a setting that `fit` would refuse."""
    owner = type(estimator).__name__
    for name, least in (("epochs", 0), ("batch_size", 1), ("patience", 1), ("embedding_size", 1)):
        value = getattr(estimator, name, None)
        if not (value is None and name in ("patience", "embedding_size")):
            check_integer(value, name, least)
    for name in ("warm_start", "bidirectional"):
        check_flag(owner, name, getattr(estimator, name))
    check_number(owner, "validation", estimator.validation, 0, 1, include_high=False)
    check_number(owner, "input_dropout", getattr(estimator, "input_dropout", 0), 0, 1, include_high=False)
    estimator._recurrent()
    optimizer_with(estimator.optimizer, estimator.learning_rate)
    make_average(estimator.average)
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


# Settings


def _settings(estimator):
    """Return the arguments of the constructor as JSON values."""
    found = {}
    for name, value in estimator.get_params(deep=False).items():
        if name in LEFT_OUT:
            continue
        if name == "random_state" and isinstance(value, (np.random.RandomState, np.random.Generator)):
            value = estimator.seed_
        found[name] = _setting_out(name, value)
    return found


def _setting_out(name, value):
    value = value.item() if isinstance(value, np.generic) else value
    if name == "dtype":  # which may be a type
        return np.dtype(value).name
    if name == "ignore":
        return label_out(value, "label to ignore")
    if isinstance(value, Mapping):
        return {"pairs": [[label_out(label), float(weight)] for label, weight in value.items()]}
    if dataclasses.is_dataclass(value):
        kind = type(value).__name__.lower()
        if RECORDS.get(kind) is not type(value):
            raise TypeError(f"a file cannot hold {name}={value!r}: {type(value).__name__} is not registered")
        inner = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
        return {"record": kind, **{key: _setting_out(name, part) for key, part in inner.items()}}
    if isinstance(value, tuple):
        return [_setting_out(name, part) for part in value]
    if value is not None and not isinstance(value, (str, int, float, bool)):
        raise TypeError(f"a file cannot hold {name}={value!r}")
    return value


def _setting_in(name, value):
    if name == "ignore":
        return label_in(value)
    if not isinstance(value, dict):
        return value
    if "pairs" in value:
        return {label_in(label): weight for label, weight in value["pairs"]}
    fields = {key: _setting_in(key, part) for key, part in value.items() if key != "record"}
    return RECORDS[value["record"]](**fields)
