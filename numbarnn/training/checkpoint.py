"""Checkpoints: a file from which a run that was stopped, or killed, goes on as if it had not been.

One safetensors file contains all that training depends on: weights, the optimizer's arrays, carried states, counters, the position
in the data, sums of the epoch, history, best weights. Random numbers have no state of their own: order and dropout depend on the
seed and the counters. The file is written beside the old one and renamed, so a process may be killed at any point.
"""

import dataclasses
import datetime
import json
import math
import os
import pathlib
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from numbarnn import __about__, io
from numbarnn.checks import brief, check_integer, check_real
from numbarnn.core import seeds
from numbarnn.data.prefetch import Prefetch
from numbarnn.errors import CheckpointError, ModelFileError, ShapeError
from numbarnn.training.history import History, StepStatistics

_UNITS = {"s": 1.0, "min": 60.0, "h": 3600.0}


@dataclass
class Run:
    """Where a call of `Trainer.fit` stands, beside the trainer's own state.

    Attributes
    ----------
    begin : int
        The trainer's epoch when the run began.
    history : History
    best : (float, int) or None
        Best monitored value, and the index of its record.
    best_weights : array or None
    pieces : int
        Batches of this epoch done, or chunks of them under `tbptt`.
    items : int
        Samples or characters of the whole run.
    total, weight, batch_total, batch_weight : float
        Sums of the loss and its weight in this epoch, and in a batch begun.
    rate, seconds : float
        Learning rate at the beginning of the epoch; its duration so far.
    seen : int
        Checksum of the batches of this epoch, where the source has no fingerprint.
    """

    begin: int
    history: History
    best: tuple[float, int] | None = None
    best_weights: np.ndarray | None = None
    pieces: int = 0
    items: int = 0
    total: float = 0.0
    weight: float = 0.0
    batch_total: float = 0.0
    batch_weight: float = 0.0
    rate: float = 0.0
    seconds: float = 0.0
    seen: int = 0

    _known = 0.0

    def begin_epoch(self) -> None:
        """Count from zero again."""
        self.pieces = self.seen = 0
        self.total = self.weight = self.batch_total = self.batch_weight = self.rate = self.seconds = 0.0

    def add(self, loss: float, weight: float) -> None:
        """Count a batch, or a chunk of one."""
        self.pieces += 1
        self.count(loss, weight)
        self.batch_total += loss * weight
        self.batch_weight += weight

    def count(self, loss: float, weight: float) -> None:
        """Add the loss of batches or chunks that `add` has counted already."""
        self.total += loss * weight
        self.weight += weight

    def end_batch(self, items: int) -> float:
        """Return the mean loss of the batch whose last chunk was counted."""
        # On a device losses are read back some steps later: until then the last one known is returned.
        if self.batch_weight:
            self._known = self.batch_total / self.batch_weight
        loss = self._known
        self.items += items
        self.batch_total = self.batch_weight = 0.0
        return loss

    def values(self) -> dict[str, Any]:
        """Return everything but the weights, as JSON values."""
        values = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        del values["best_weights"]
        values["history"] = {"records": _plain(self.history.records), "stopped": self.history.stopped}
        return values

    @classmethod
    def of(cls, values: Mapping[str, Any], best_weights: np.ndarray | None) -> "Run":
        """Return the run of `values`; raise KeyError, TypeError or ValueError unless they are those of one."""
        best = values["best"]
        if best is not None:
            value, index = best
            best = value + 0.0, index  # infinite or NaN, as losses may be
        history = History.of(values["history"]["records"], values["history"]["stopped"], best and best[1])
        history.best = None  # as while training goes on
        counts = {name: check_integer(values[name], name, 0) for name in ("begin", "pieces", "items", "seen")}
        names = ("total", "weight", "batch_total", "batch_weight", "rate", "seconds")
        sums = {name: check_real(values[name], name) for name in names}
        return cls(history=history, best=best, best_weights=best_weights, **counts, **sums)


class Checkpoint:
    """The file of a run: when it is written, and whether it is this run's.

    Parameters
    ----------
    path : path-like
    settings : dict
        What the result of the run depends on, as `describe` returns it; a file with others is refused.
    every : int, str or timedelta
        Optimizer steps, or a time such as "30s", "5min", "1h", between two files.

    Raises
    ------
    ValueError
        If `every` is none of these.
    """

    def __init__(self, path: str | os.PathLike, settings: Mapping[str, Any], every: Any = "5min"):
        self.path, self.settings = pathlib.Path(path), dict(settings)
        self.steps, self.interval = _every(every)
        self.written: tuple[int, float] | None = None

    def due(self, step: int) -> bool:
        """Return whether it is time for a file."""
        if self.written is None:
            return True
        return step - self.written[0] >= self.steps or time.monotonic() - self.written[1] >= self.interval

    def found(self, resume) -> bool:
        """Return whether a run goes on from the file, for the argument `resume`: True, False or "auto".

        Raises
        ------
        FileExistsError
            If there is a file that a new run would overwrite.
        FileNotFoundError
            If there is none to go on from.
        """
        if resume not in (True, False, "auto"):
            raise ValueError(f"resume must be True, False or 'auto', got {brief(resume)}")
        there = self.path.is_file()
        if there and resume is False:
            raise FileExistsError(
                f"{str(self.path)!r} exists already: go on from it with resume=True (or resume='auto', which starts anew where "
                "there is none), or delete it, or pass another path"
            )
        if not there and resume is True:
            raise FileNotFoundError(
                f"there is no checkpoint {str(self.path)!r} to resume from; resume='auto' starts anew then"
            )
        return there

    def write(self, step: int, values: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> None:
        """Replace the file.

        Raises
        ------
        OSError
            If it cannot be written; the old one stays.
        """
        about = {"version": __about__.__version__, "settings": self.settings, **values}
        try:
            io.write(self.path, "checkpoint", about, arrays)
        except OSError as error:
            before = after = ""
            if self.written is not None:
                before = f"; the checkpoint of step {self.written[0]} is still there"
                after = ", then go on with resume=True"
            raise OSError(
                error.errno,
                f"the checkpoint of step {step} could not be written ({error.strerror or error}){before}. The model is as of "
                f"step {step}. Make room, or give a path in a folder that can be written to{after}",
                str(self.path),
            ) from error
        self.written = step, time.monotonic()

    def read(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """Return (values, arrays) of the file.

        Raises
        ------
        CheckpointError
            If the file's settings are others; the message names them all.
        FileNotFoundError, ModelFileError
            If there is no file, or it is not a checkpoint or is damaged.
        """
        about, arrays = io.read(self.path)
        if about["kind"] != "checkpoint":
            raise ModelFileError(f"{str(self.path)!r} contains a {about['kind']}, not a checkpoint")
        if not isinstance(about.get("settings"), dict):
            raise ModelFileError(f"{str(self.path)!r} cannot be understood: it has no settings")
        saved, now = about["settings"], _plain(self.settings)
        if "data" in now and "run" not in about:
            raise CheckpointError(
                f"{str(self.path)!r} was written by Trainer.save: Trainer.restore reads it, fit cannot resume it"
            )
        with io.understood("checkpoint"):
            lines = [line for name in now for line in differences(saved.get(name), now[name], name)]
        if lines:
            raise CheckpointError(
                f"{str(self.path)!r} is the checkpoint of another run:\n  "
                + "\n  ".join(lines)
                + "\nUse what it was made with, "
                "or delete it or pass another path to start anew"
            )
        return about, arrays


# The trainer as a file stores it


def settings_of(trainer, sources: Mapping[str, Any] | None = None, patience=None) -> dict[str, Any]:
    """Return what the results of a trainer, and of a run with the given sources, depend on, as JSON values.

    Raises
    ------
    ValueError
        If a source cannot be read twice.
    """
    model = trainer.model
    layers = [{"type": type(layer).__name__, **layer.config()} for layer in model.layers]
    settings = {"model": {"layers": layers, "input_size": model.signals[0].size, "dtype": model.dtype.name}}
    names = ("loss", "optimizer", "schedule", "clip_norm", "clip_value", "tbptt", "accumulate", "seed")
    settings |= {name: getattr(trainer, name) for name in names}
    settings["average"] = trainer.ema
    if sources is not None:
        settings |= {"patience": patience, "random_streams": seeds.VERSION}
        for name, given in sources.items():
            source = given.source if isinstance(given, Prefetch) else given  # whose batches are the same
            if hasattr(source, "__next__"):
                raise ValueError(
                    f"{name} is an iterator, which can be read only once, so a run on it cannot be resumed; pass an "
                    "object that gives the batches of an epoch again: a list, arrays, or a class with batches(generator)"
                )
            known = source.fingerprint() if hasattr(source, "fingerprint") else {}
            settings[name] = None if source is None else {"type": type(source).__name__, **known}
    return describe(settings)


def state_of(trainer) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Return a trainer's counters and arrays; `set_state` takes them."""
    pending = trainer.pending
    values = {"epoch": trainer.epoch, "step": trainer.step, "passes": trainer.passes}
    values["pending"] = {"count": pending.count, "loss": pending.loss, "weight": pending.weight}
    values["measures"] = dataclasses.asdict(trainer.statistics)
    arrays = {f"model.{name}": array for name, array in trainer.model.params.for_file().items()}
    arrays |= {f"optimizer.{index}": array for index, array in enumerate(trainer.arrays)}
    if trainer.average is not None:
        arrays["average"] = trainer.average
    if pending.count:
        arrays["gradient"] = pending.gradient
    for index, entry in enumerate(trainer.ranks.joined(trainer.state) or ()):
        arrays |= {f"state.{index}.{s}": array for s, array in enumerate(entry)}
    return {"trainer": values}, arrays


def set_state(trainer, values: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> None:
    """Set a trainer and its model from `state_of`, all of it or, where something is missing or has a wrong shape, nothing.

    Raises
    ------
    ModelFileError
        If something is missing or has another shape.
    """
    model = trainer.model
    with io.understood("checkpoint"):
        counts, pending = values["trainer"], values["trainer"]["pending"]
        epoch, step, passes = (check_integer(counts[name], name, 0) for name in ("epoch", "step", "passes"))
        count, measures = check_integer(pending["count"], "count", 0), counts["measures"]
        loss, weight = check_real(pending["loss"], "loss"), check_real(pending["weight"], "weight", 0.0)
        statistics = StepStatistics(
            **{
                f.name: check_integer(measures[f.name], f.name, 0)
                if f.type is int
                else check_real(measures[f.name], f.name)
                for f in dataclasses.fields(StepStatistics)
            }
        )
        moments = [_taken(trainer, arrays, f"optimizer.{index}") for index in range(len(trainer.arrays))]
        average = _taken(trainer, arrays, "average") if "average" in arrays else None
        gradient = _taken(trainer, arrays, "gradient") if count else None
        state = None
        if "state.0.0" in arrays:
            samples = check_integer(arrays["state.0.0"].shape[1], "samples of the states", 1)
            state = tuple(
                tuple(
                    _taken(trainer, arrays, f"state.{index}.{s}", layer.state_shape(samples))
                    for s in range(len(layer.state_names))
                )
                for index, layer in enumerate(model.recurrent_layers)
            )
        model.params.load({name: arrays[f"model.{name}"] for name in model.params})
    model.loss = trainer.loss
    trainer.epoch, trainer.step, trainer.passes = epoch, step, passes
    trainer.arrays, trainer.average, trainer.state = moments, average, trainer.ranks.own(state)
    trainer.pending.count, trainer.pending.loss, trainer.pending.weight = count, loss, weight
    trainer.pending.gradient = gradient
    trainer.statistics = statistics


def run_of(trainer, values: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> Run:
    """Return the run of a file.

    Raises
    ------
    ModelFileError
        If something is missing or has another shape.
    """
    with io.understood("checkpoint"):
        best = None if values["run"]["best"] is None else _taken(trainer, arrays, "best")
        run = Run.of(values["run"], best)
        if values["trainer"]["epoch"] - run.begin != len(run.history):
            raise ValueError(
                f"{len(run.history)} records of the epochs from {run.begin} to {values['trainer']['epoch']}"
            )
        return run


def _taken(trainer, arrays, name, shape=None):
    """Return an array of a file as compiled code needs it: of the model's dtype and the expected shape, writable."""
    model = trainer.model
    array = np.array(arrays[name], order="C")
    shape = model.params.flat.shape if shape is None else shape
    if array.shape != shape or array.dtype != model.dtype:
        raise ShapeError(f"{name}: expected {model.dtype.name} {shape}, got {array.dtype.name} {array.shape}")
    # Moments may overflow; weights, which a run keeps finite, are set as they are.
    if np.isnan(array).any() or (name in ("average", "best") and np.isinf(array).any()):
        raise ValueError(f"{name} has NaN or infinite values")
    return array


# Settings


def describe(value) -> Any:
    """Return a record of options as JSON values: a dataclass by its type and fields, other objects by their type."""
    if dataclasses.is_dataclass(value):
        options = {f.name: describe(getattr(value, f.name)) for f in dataclasses.fields(value)}
        return {"type": type(value).__name__, **options}
    if isinstance(value, (tuple, list)):
        return [describe(entry) for entry in value]
    if isinstance(value, Mapping):
        return {str(name): describe(entry) for name, entry in value.items()}
    if isinstance(value, np.generic):
        return value.item()
    return value if value is None or isinstance(value, (bool, int, float, str)) else type(value).__name__


def differences(saved, now, name: str) -> list[str]:
    """Return a line for every option in which two descriptions differ."""
    if isinstance(saved, dict) and isinstance(now, dict) and saved.get("type") == now.get("type"):
        keys = {**saved, **now}
        return [line for key in keys for line in differences(saved.get(key), now.get(key), f"{name}.{key}")]
    if isinstance(saved, list) and isinstance(now, list) and len(saved) == len(now):
        pairs = zip(saved, now, strict=True)
        return [line for index, pair in enumerate(pairs) for line in differences(*pair, f"{name}[{index}]")]
    return [] if saved == now else [f"{name}: {_short(saved)} in the checkpoint, {_short(now)} now"]


def _short(value):
    if isinstance(value, dict):
        return ", ".join(f"{key}={_short(entry)}" for key, entry in value.items())
    return str(value)


def _plain(value):
    """Return values as JSON would bring them back; other objects as strings."""
    return json.loads(json.dumps(value, default=lambda v: v.item() if isinstance(v, np.generic) else str(v)))


def _every(every):
    """Return (steps, seconds), one of them infinite."""
    if isinstance(every, (int, np.integer)) and not isinstance(every, bool) and every > 0:
        return int(every), math.inf
    if isinstance(every, datetime.timedelta) and every.total_seconds() > 0:
        return math.inf, every.total_seconds()
    found = re.fullmatch(r"(\d+(?:\.\d+)?) ?(s|min|h)", every) if isinstance(every, str) else None
    if found and float(found[1]) > 0:
        return math.inf, float(found[1]) * _UNITS[found[2]]
    raise ValueError(
        f"checkpoint_every must be a number of optimizer steps or a time such as '30s', '5min' or '1h', got {brief(every)}"
    )
