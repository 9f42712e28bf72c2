"""What all losses have: names, checks, weights, reduction."""

import json
import math
from dataclasses import asdict, dataclass

import numpy as np

from numbarnn.core.layout import Layout
from numbarnn.errors import ShapeError

LOSSES: dict[str, type["Loss"]] = {}


def loss(name: str):
    """Return a decorator that enters a loss class into `LOSSES`, and names it."""

    def enter(cls):
        LOSSES[name], cls.name = cls, name
        return cls

    return enter


@dataclass(frozen=True)
class Loss:
    """Base of the losses: a description, with the checks of targets and weights; the backends have the arithmetic.

    A loss of your own is a frozen dataclass under `loss`, a decorator that names it. Derived from one of this package without
    arithmetic of its own, it is computed as that one, on every device. Else it has a method

    ``value_and_gradient(outputs, target) -> (losses, gradient)``

    that takes the outputs (samples, time steps, features) and the target as given, and returns the loss of every step (samples,
    time steps) with its gradient with respect to the outputs. Lengths, weights and the reduction are seen to; it runs on the CPU.

    Attributes
    ----------
    name : str
    by_step : bool
        Whether the loss is a sum over steps, so that a sequence may be cut into chunks.
    output_activation : str or None
        What makes probabilities of the outputs, which are logits: "softmax" (one class of many) or "sigmoid" (each output a
        question of its own). None: the outputs are values.
    """

    name = "loss"
    by_step = True
    output_activation = "softmax"
    value_and_gradient = None

    def targets(self, target, size: int, layout: Layout, dtype) -> np.ndarray:
        """Check a target for outputs of `size` features and return it by rows, as kernels want it; nothing by itself."""
        return np.zeros(0)

    def check(self, source, signal) -> None:
        """Raise before training begins where targets do not fit that only the whole of the data shows.

        Parameters
        ----------
        source : numbarnn.data.ArraySource
        signal : Signal
            What the model gives.
        """

    def weights(self, rows: np.ndarray, layout: Layout, sample_weight) -> np.ndarray:
        """Return the weight of every row as float64; empty where all are one."""
        if layout.full and sample_weight is None:
            return np.zeros(0)
        running = (np.arange(layout.samples) < layout.active[:, None]).astype(np.float64)
        if sample_weight is not None:
            weight = np.asarray(sample_weight, np.float64)
            shape = (layout.samples, layout.steps)
            if weight.shape not in (shape[:1], shape):
                raise ShapeError(f"sample_weight must have shape {shape[:1]} or {shape}, got {weight.shape}")
            if not np.isfinite(weight).all() or weight.min(initial=0.0) < 0:
                raise ValueError("sample_weight must be finite and not negative")
            weight = layout.sort(weight)
            running *= weight.T if weight.ndim == 2 else weight
        return running.reshape(-1)

    def total(self, rows: np.ndarray, weights: np.ndarray, count: int) -> float:
        """Return what the mean divides by: the summed weights of `count` rows."""
        return float(weights.sum()) if weights.size else float(count)

    def prepare(self, size: int, count: int, target, layout: Layout, dtype, reduction, sample_weight):
        """Check targets and weights of `count` rows; return (targets, weights, their total, what losses are multiplied by)."""
        check_reduction(reduction)
        rows = self.targets(target, size, layout, dtype)
        weights = self.weights(rows, layout, sample_weight)
        total = self.total(rows, weights, count)
        return rows, weights, total, 1.0 if reduction == "sum" else 1.0 / total if total > 0 else 0.0


def check_reduction(reduction) -> None:
    """Raise ValueError unless a reduction is one of the two."""
    if reduction not in ("mean", "sum"):
        raise ValueError(f"reduction must be 'mean' or 'sum', got {reduction!r}")


def as_number(name, value):
    """Return an option as it is; raise TypeError unless it is a number."""
    if isinstance(value, bool) or not isinstance(value, (int, float, np.number)):
        raise TypeError(f"{name} must be a number, got {value!r}")
    return value


def as_weights(name, values):
    """Return a sequence as a tuple of floats; raise unless they are finite numbers, none negative."""
    numbers = tuple(float(as_number(name, value)) for value in values)
    if not all(math.isfinite(number) and number >= 0 for number in numbers):
        raise ValueError(f"{name} must be finite and not negative, got {values!r}")
    return numbers


def loss_config(loss: Loss | None) -> dict | None:
    """Return name and options of a loss of `LOSSES` as JSON values; None of one that a file cannot hold."""
    if loss is None or LOSSES.get(loss.name) is not type(loss):
        return None
    try:
        return json.loads(json.dumps({"type": loss.name, **asdict(loss)}, default=np.generic.item))
    except TypeError:  # options that JSON does not know
        return None


def loss_from_config(config) -> Loss | None:
    """Return the loss of a `loss_config`, None where none of that name is registered.

    Raises
    ------
    KeyError, TypeError, ValueError
        If it is no such thing.
    """
    if config is None:
        return None
    options = dict(config)
    name = options.pop("type")
    return LOSSES[name](**options) if name in LOSSES else None


def make_loss(value) -> Loss:
    """Return a loss for an argument: a loss, or a name of `LOSSES`."""
    if isinstance(value, Loss):
        return value
    if isinstance(value, str) and value in LOSSES:
        return LOSSES[value]()
    raise ValueError(f"loss must be one of {', '.join(LOSSES)} or a loss object, got {value!r}")
