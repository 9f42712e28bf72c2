"""Files of fitted estimators: a description of JSON values, and arrays. Nothing that is read is executed.

Settings are the arguments of the constructor. Records among them (optimizers, schedules, averages, features of words) stand as
their kind and their fields, and only registered kinds are made again.
"""

import dataclasses
from collections.abc import Mapping

import numpy as np

from numbarnn.data.words import WordFeatures
from numbarnn.errors import ModelFileError
from numbarnn.model import Model
from numbarnn.optim import EMA, OPTIMIZERS, SCHEDULES
from numbarnn.training.history import History
from numbarnn.training.trainer import Trainer

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
        If they are those of a later version, or contradict each other.
    ValueError
        If the model needs a cell that is not registered.
    """
    version = description.get("version")
    if version != VERSION:
        raise ModelFileError(
            f"the file's {cls.KIND} has version {version!r}, this version of numbarnn reads {VERSION}; update numbarnn"
        )
    parameters = {name[6:]: values for name, values in arrays.items() if name.startswith("model.")}
    try:
        estimator = cls(**{name: _setting_in(name, value) for name, value in description["settings"].items()})
        model = description["model"]
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise _not_understood(cls, error) from None
    estimator.device = device
    estimator.model_ = Model.from_description(model, parameters, device)
    try:
        _set_common(estimator, description)
        estimator._set_file_state(description, arrays)
        trainer = Trainer(estimator.model_, estimator._loss, estimator.optimizer)
        trainer.epoch, trainer.passes = estimator.n_iter_, int(description["passes"])
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise _not_understood(cls, error) from None
    estimator.trainer_ = trainer
    return estimator


def _set_common(estimator, description):
    history = History()
    history.records = [dict(record) for record in description["history"]["records"]]
    history.stopped, history.best = str(description["history"]["stopped"]), description["history"]["best"]
    estimator.history_, estimator.seed_ = history, int(description["seed"])
    estimator.n_iter_ = int(description["epochs"])
    features, signal = description["features"], estimator.model_.signals[0]
    if signal.tokens != (features is None):
        raise ValueError(f"features {features!r} and a model of {signal}")
    if features is None:
        return
    estimator.n_features_in_, estimator._flat = int(features), bool(description["flat"])
    if signal.size != (1 if estimator._flat else features):
        raise ValueError(f"{features} features and a model of {signal}")
    if description["names"] is not None:
        names = [str(name) for name in description["names"]]
        if len(names) != features:
            raise ValueError(f"{len(names)} names of {features} features")
        estimator.feature_names_in_ = np.array(names, object)


def _not_understood(cls, error):
    return ModelFileError(f"the file's description of the {cls.KIND} cannot be understood: {error!r}")


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
