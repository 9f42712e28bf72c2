"""What all losses have: names, checks, weights, reduction."""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, TypeVar

import numpy as np

from numbarnn.checks import brief, check_choice, check_real, to_list
from numbarnn.core.arrays import as_numeric
from numbarnn.core.layout import Layout
from numbarnn.errors import ShapeError
from numbarnn.words import Suggesting, did_you_mean

LOSSES: dict[str, type["Loss"]] = {}
_L = TypeVar("_L", bound="Loss")


def loss(name: str) -> Callable[[type[_L]], type[_L]]:
    """Return a decorator that enters a loss class into `LOSSES`, and names it.

    Parameters
    ----------
    name : str
        By which `Model.fit` and saved models find the loss.

    Returns
    -------
    callable
        ``decorator(cls) -> cls``
    """

    def enter(cls: type[_L]) -> type[_L]:
        LOSSES[name], cls.name = cls, name
        return cls

    return enter


@dataclass(frozen=True)
class Loss(Suggesting):
    """Base of the losses: a description, with the checks of targets and weights; the backends have the arithmetic.

    A loss of your own is a frozen dataclass under `loss`, a decorator that names it. Lengths, weights and the reduction are seen
    to; of its arithmetic there are three kinds, and the nearest base class that has one decides:

    * derived from a loss of this package, without arithmetic of its own, it is computed as that one, on every device;
    * a mean over the features of a function of one output and its target has that function as its `term`, which is compiled for
      every device: see `PointwiseLoss`, and `DistributionLoss` for targets that have several outputs each;
    * anything else has a method ``value_and_gradient(outputs, target) -> (losses, gradient)`` in NumPy, which runs on the CPU. It
      takes the outputs (samples, time steps, features) and the target as given, and returns the loss of every step (samples, time
      steps) with its gradient with respect to the outputs.

    Attributes
    ----------
    name : str
    by_step : bool
        Whether the loss is a sum over steps, so that a sequence may be cut into chunks.
    per_sample : bool
        Whether there is one loss a sample, not one a step.
    outputs_per_target : int
        Outputs that the model has for each feature of the target: 1 but for distributions.
    output_activation : str or None
        What makes probabilities of the outputs, which are logits: "softmax" (one class of many) or "sigmoid" (each output a
        question of its own). None: the outputs are values.
    """

    name = "loss"
    by_step = True
    per_sample = False
    outputs_per_target = 1
    output_activation = "softmax"
    value_and_gradient = term = None
    _has_term = False  # True of `PointwiseLoss` and all that derive from it

    def __init_subclass__(cls, **options):
        super().__init_subclass__(**options)
        if vars(cls).get("term") is not None and not cls._has_term:
            raise TypeError(f"{cls.__name__} has a term: derive it from numbarnn.losses.PointwiseLoss")

    def targets(self, target: Any, size: int, layout: Layout, dtype: Any) -> np.ndarray:
        """Check a target and return it by rows, as kernels want it; nothing by itself.

        Parameters
        ----------
        target : array-like
        size : int
            Features of the outputs.
        layout : Layout
            Geometry of the batch.
        dtype : numpy.dtype
            Of the outputs.

        Returns
        -------
        array
            Flat, in the order of the rows.
        """
        return np.zeros(0)

    def check(self, source: Any, signal: Any) -> None:
        """Raise before training begins where targets have a wrong shape or value that only the whole of the data shows.

        Parameters
        ----------
        source : numbarnn.data.ArraySource
        signal : Signal
            What the model gives.
        """

    def weights(self, rows: np.ndarray, layout: Layout, sample_weight: Any) -> np.ndarray:
        """Return the weight of every row; empty where all are one.

        Parameters
        ----------
        rows : array
            Of `targets`.
        layout : Layout
        sample_weight : (samples,) or (samples, time steps) array, optional

        Returns
        -------
        (rows,) float64 array

        Raises
        ------
        ShapeError, ValueError
            If the weights have another shape, are negative or not finite.
        """
        if layout.full and sample_weight is None:
            return np.zeros(0)
        running = (np.arange(layout.samples) < layout.active[:, None]).astype(np.float64)
        if sample_weight is not None:
            weight = np.asarray(as_numeric(sample_weight, "sample_weight"), np.float64)
            shape = (layout.samples, layout.steps)
            if weight.shape not in (shape[:1], shape):
                raise ShapeError(f"sample_weight must have shape {shape[:1]} or {shape}, got {weight.shape}")
            if not np.isfinite(weight).all() or weight.min(initial=0.0) < 0:
                raise ValueError("sample_weight must be finite and not negative")
            weight = layout.sort(weight)
            running *= weight.T if weight.ndim == 2 else weight
        return running.reshape(-1)

    def total(self, rows: np.ndarray, weights: np.ndarray, count: int) -> float:
        """Return what the mean divides by: the summed weights of all rows.

        Parameters
        ----------
        rows, weights : arrays
            Of `targets` and `weights`.
        count : int
            Rows.

        Returns
        -------
        float
        """
        return float(weights.sum()) if weights.size else float(count)

    def prepare(
        self, size: int, count: int, target: Any, layout: Layout, dtype: Any, reduction: Any, sample_weight: Any
    ) -> Any:
        """Check the targets and weights of a batch.

        Parameters
        ----------
        size, count : int
            Features of the outputs, and rows.
        target : array-like
        layout : Layout
        dtype : numpy.dtype
        reduction : {"mean", "sum", "none"}
        sample_weight : array or None

        Returns
        -------
        targets, weights : arrays
            By rows.
        total, scale : float
            What the mean divides by, and what losses are multiplied by.

        Raises
        ------
        ShapeError, TokenError, TypeError, ValueError
            If an argument has the wrong shape, dtype or value.
        """
        check_reduction(reduction)
        rows = self.targets(target, size, layout, dtype)
        weights = self.weights(rows, layout, sample_weight)
        total = self.total(rows, weights, count)
        return rows, weights, total, 1.0 if reduction != "mean" else 1.0 / total if total > 0 else 0.0


def steps_hint(shape: tuple[int, ...], layout: Layout, features: int = 1) -> str:
    """Return what to do where targets of samples came for outputs of every step, or the other way round; "" elsewhere."""
    own = (layout.samples, features) if features > 1 else (layout.samples,)
    if layout.steps > 1 and shape in (own, (layout.samples, 1)):
        return (
            "; for one target a sequence the model must give one output: return_sequences=False in the last recurrent layer, or "
            "Pool() after it"
        )
    if layout.steps == 1 and len(shape) in (2, 3) and shape[0] == layout.samples and shape[1] != features:
        return (
            "; for a target of every step the model must give outputs of every step: return_sequences=True, and no Pool"
        )
    return ""


def check_reduction(reduction) -> None:
    """Raise ValueError unless a reduction is one of the three."""
    check_choice(reduction, "reduction", ("mean", "sum", "none"))


def as_weights(name, values):
    """Return a sequence as a tuple of floats; raise unless they are finite numbers, none negative."""
    found = to_list(values, name, "numbers, one a class")
    return tuple(check_real(value, f"{name}[{index}]", 0.0) for index, value in enumerate(found))


def loss_config(loss: Loss | None) -> dict | None:
    """Return name and options of a loss of `LOSSES` as JSON values; None of one that a file cannot store."""
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
        If it is not one.
    """
    if config is None:
        return None
    options = dict(config)
    name = options.pop("type")
    return LOSSES[name](**options) if name in LOSSES else None


def make_loss(loss: Any) -> Loss:
    """Return a loss for an argument.

    Parameters
    ----------
    loss : str or Loss
        A name of `LOSSES`, or a loss.

    Returns
    -------
    Loss

    Raises
    ------
    ValueError
        If it is neither.
    """
    if isinstance(loss, Loss):
        return loss
    if isinstance(loss, str) and loss in LOSSES:
        return LOSSES[loss]()
    raise ValueError(
        f"loss must be one of {', '.join(LOSSES)} or a loss object, got {brief(loss)}{did_you_mean(loss, LOSSES)}"
    )
