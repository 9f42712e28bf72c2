"""What all losses have: names, checks, weights, reduction."""

import inspect
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, TypeVar

import numpy as np

from numbarnn.checks import brief, check_choice, check_integer, check_real, to_array, to_list
from numbarnn.core.arrays import as_array, as_numeric
from numbarnn.core.layout import Layout
from numbarnn.errors import ShapeError
from numbarnn.kernels.equations import term_record
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

    def __init_subclass__(cls, **options):
        super().__init_subclass__(**options)
        if vars(cls).get("term") is not None and not issubclass(cls, PointwiseLoss):
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


@dataclass(frozen=True)
class PointwiseLoss(Loss):
    """Base of the losses that are a mean over the features of a *term*: a scalar function of an output and its target.

    Targets are numbers in the shape of the outputs, (samples, time steps, features) for a sequence or (samples, features) for one
    output a sample; the axis of features may be left out where there is one.

    ``term(y, t, *options) -> (loss, slope)`` takes an output and its target, and returns the loss and its derivative by the output.
    It is plain Python on scalars, with the functions of `math`, and is compiled into the loops of every device. What it takes
    beside the two are options of the loss by name, each a number or one for each feature. All scalars have the model's dtype; a
    constant such as 0.5 is float64, which a GPU is slow with, and ``type(y)(0.5)`` is not. Terms of your own are compiled anew in
    every process.

    Examples
    --------
    The loss of expectiles (W. K. Newey, J. L. Powell, "Asymmetric least squares estimation and testing", Econometrica 55 (1987)),
    here of one a feature; under ``@nr.losses.loss("expectile")`` it would have a name by which `fit` and files of models know it.

    >>> from dataclasses import dataclass
    >>> import numpy as np
    >>> import numbarnn as nr
    >>> @dataclass(frozen=True)
    ... class Expectile(nr.losses.PointwiseLoss):
    ...     q: float | tuple[float, ...] = 0.5
    ...
    ...     @staticmethod
    ...     def term(y, t, q):
    ...         d = y - t
    ...         weight = q if y < t else type(y)(1) - q
    ...         return weight * d * d, (weight + weight) * d
    >>> model = nr.Model([nr.RNN(8), nr.Dense(3)], input_size=1, seed=0)
    >>> x = np.random.default_rng(0).standard_normal((64, 10, 1))
    >>> y = np.repeat(x, 3, axis=2)
    >>> history = model.fit(x, y, epochs=2, loss=Expectile((0.1, 0.5, 0.9)), verbose=0)
    >>> history["loss"][1] < history["loss"][0]
    True
    """

    output_activation = None
    _tuples = False  # whether the outputs of a target come as a tuple

    def __init_subclass__(cls, **options):
        super().__init_subclass__(**options)
        term = vars(cls).get("term")
        if term is None or isinstance(term, property):  # made for the options of an object
            return
        if not isinstance(term, staticmethod):
            raise TypeError(f"{cls.__name__}.term must be a staticmethod: term(y, t, *options) -> (loss, slope)")
        kinds = [parameter.kind for parameter in inspect.signature(term.__func__).parameters.values()]
        if len(kinds) < 2 or any(kind != inspect.Parameter.POSITIONAL_OR_KEYWORD for kind in kinds):
            raise TypeError(
                f"{cls.__name__}.term must take an output, its target, and options of the loss by name, got "
                f"term{inspect.signature(term.__func__)}"
            )
        function = getattr(term.__func__, "py_func", term.__func__)
        y, *others = (np.float64(0.25 + 0.125 * number) for number in range(len(kinds)))
        with np.errstate(all="ignore"):  # the numbers are any
            found = function((y,) * cls.outputs_per_target if cls._tuples else y, *others)
        pair = found if isinstance(found, tuple) and len(found) == 2 else (found, ())
        slopes = pair[1:] if not cls._tuples else pair[1] if isinstance(pair[1], tuple) else ()
        if len(slopes) != cls.outputs_per_target or any(np.ndim(value) for value in (pair[0], *slopes)):
            form = (
                f"slopes), a scalar and a tuple of {cls.outputs_per_target}" if cls._tuples else "slope), two scalars"
            )
            raise TypeError(f"{cls.__name__}.term must return (loss, {form}, got {brief(found)}")

    @property
    def record(self):
        """Record by whose type kernels select the term: see `numbarnn.kernels.equations.term_record`."""
        return term_record(self.term, self.outputs_per_target if self._tuples else None)

    def size(self, targets: int) -> int:
        """Return how many outputs a model needs.

        Parameters
        ----------
        targets : int
            Features of the target.

        Returns
        -------
        int
        """
        return check_integer(targets, "targets", 1) * self.outputs_per_target

    def option(self, name: str) -> Any:
        """Return an option of the term.

        Parameters
        ----------
        name : str
            Of the term's parameter.

        Returns
        -------
        float or array
            A number, or one for each feature.

        Raises
        ------
        TypeError
            If the loss has no such option.
        """
        if not hasattr(self, name):
            raise TypeError(
                f"{type(self).__name__}.term takes {name!r}, which is not an option of the loss: make it a field of the dataclass"
            )
        return getattr(self, name)

    def options(self, size: int, dtype: Any) -> np.ndarray:
        """Return the options of the term for every feature of the target.

        Parameters
        ----------
        size : int
            Features of the outputs.
        dtype : numpy.dtype

        Returns
        -------
        array
            (options, features of the target), flat.

        Raises
        ------
        ShapeError, TypeError
            If an option is neither a number nor one for each feature.
        """
        count, rows = self.count_targets(size), []
        for name, parameter in list(inspect.signature(self.term).parameters.items())[2:]:
            if parameter.kind == parameter.VAR_POSITIONAL:  # one for each output, of all features
                rows += self.option(name)
                continue
            given = to_array(self.option(name), name)
            if given.dtype.kind not in "fiub":
                raise TypeError(f"{name} of {self.name} must be a number, or one for each feature, got {brief(given)}")
            if given.shape not in ((), (1,), (count,)):
                raise ShapeError(
                    f"{name} of {self.name} must be a number, or one for each of {count} features, got shape {given.shape}"
                )
            rows.append(given)
        values = np.empty((len(rows), count), dtype)
        for row, given in zip(values, rows, strict=True):
            row[...] = given
        return values.reshape(-1)

    def count_targets(self, size: int) -> int:
        """Return how many features the target of a model has.

        Parameters
        ----------
        size : int
            Features of the outputs.

        Returns
        -------
        int

        Raises
        ------
        ShapeError
            If the outputs are not those of whole targets.
        """
        if size % self.outputs_per_target:
            raise ShapeError(f"the model has {size} output{'s' * (size > 1)}; {self._hint}")
        return size // self.outputs_per_target

    @property
    def _hint(self):
        """What to do about outputs and targets that do not fit."""
        each = self.outputs_per_target
        return f"loss {self.name!r} needs {each} outputs a target: make the last layer Dense({each} * targets)"

    def check(self, source: Any, signal: Any) -> None:
        self.count_targets(signal.size)

    def targets(self, target: Any, size: int, layout: Layout, dtype: Any) -> np.ndarray:
        target = as_array(target, "target")
        if target.dtype.kind not in "fiub":
            raise TypeError(f"target of {self.name} must be numbers, got dtype {target.dtype}")
        shape = (layout.samples, layout.steps, self.count_targets(size))
        short = [shape]
        if layout.steps == 1:
            short.append((shape[0], shape[2]))
        if shape[2] == 1:
            short += [s[:-1] for s in tuple(short)]
        if target.shape not in short:
            hint = f"; {self._hint}" if self._tuples else steps_hint(target.shape, layout, shape[2])
            raise ShapeError(
                f"target must have shape {' or '.join(map(str, reversed(short)))}, got {target.shape}{hint}"
            )
        rows = layout.sort(target.reshape(shape)).transpose(1, 0, 2)
        # A read-only or unaligned array would be another type, and compile the kernel once more; it is copied.
        return np.require(rows, dtype, ["C", "W", "A"]).reshape(-1)


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
