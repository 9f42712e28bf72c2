"""Losses: value and gradient with respect to a model's outputs, in one pass.

A loss is a frozen record; `LOSSES` finds it by name. All take *logits* where probabilities are meant: the softmax is
part of the loss. Rows past a sample's length never count.
"""

import functools
import json
import math
from dataclasses import asdict, dataclass

import numpy as np

from numbarnn import ctc
from numbarnn.batch import Call, Layout, Rows
from numbarnn.errors import ShapeError, TokenError
from numbarnn.kernels.cpu import losses as kernels
from numbarnn.label_strings import as_labels

# What a number of the outputs costs in multiply-adds: 4 ns where a core does 40 a ns.
COST = 150.0

LOSSES: dict[str, type["Loss"]] = {}


def loss(name: str):
    """Return a decorator that enters a loss class into `LOSSES`, and names it."""

    def enter(cls):
        LOSSES[name], cls.name = cls, name
        return cls

    return enter


@dataclass(frozen=True)
class Loss:
    """Base of the losses. ``_kernel`` takes (outputs, row, columns, targets, weights, scale, values, gradient, first, last).

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

    def targets(self, target, outputs: Rows, layout: Layout, dtype) -> np.ndarray:
        """Check a target and return it by rows, as the kernel wants it."""
        raise NotImplementedError

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

    def prepare(self, outputs: Rows, count: int, target, layout: Layout, dtype, reduction, sample_weight):
        """Check targets and weights of `count` rows; return (targets, weights, their total, what losses are multiplied by)."""
        check_reduction(reduction)
        rows = self.targets(target, outputs, layout, dtype)
        weights = self.weights(rows, layout, sample_weight)
        total = self.total(rows, weights, count)
        return rows, weights, total, 1.0 if reduction == "sum" else 1.0 / total if total > 0 else 0.0

    def value_and_gradient(
        self, call: Call, outputs: Rows, target, layout: Layout, reduction="mean", sample_weight=None
    ):
        """Return (loss, gradient of the outputs as `Rows`, weight of all rows).

        Parameters
        ----------
        outputs : Rows
            Logits or predictions; left as they are.
        target : array
            See the loss.
        reduction : {"mean", "sum"}
            "mean": the weighted mean over the valid rows; "sum": the weighted sum (the lecture's E = sum over t of
            E_t).
        sample_weight : (samples,) or (samples, time steps) array, optional
            Weight of every sample or step; 0 masks it.

        Raises
        ------
        ShapeError, TokenError, ValueError
            If target, reduction or weights do not fit.
        """
        count = len(outputs.values)
        rows, weights, total, scale = self.prepare(outputs, count, target, layout, call.dtype, reduction, sample_weight)
        values, gradient = np.empty(count), call.empty(outputs.values.shape)
        call.over(
            count,
            count * outputs.size * COST,
            lambda lo, hi: self._kernel(
                outputs.values.reshape(-1), outputs.values.shape[1], outputs.size, rows, weights, scale, values,
                gradient.reshape(-1), lo, hi,
            ),
        )  # fmt: skip
        return float(values.sum()) * scale, Rows(gradient, outputs.size), total


@loss("softmax_cross_entropy")
@dataclass(frozen=True)
class SoftmaxCrossEntropy(Loss):
    """E = -sum_c q_c log softmax(logits)_c, in nats; without smoothing and class weights -log softmax(logits)[target].

    q_c = (1 - label_smoothing) v_c [c = target] + label_smoothing v_c / C, with C classes of weights v; the mean divides by the
    summed v of the targets: `torch.nn.CrossEntropyLoss`.

    Targets are integers, (samples, time steps) for a sequence or (samples,) for one output a sample.

    Parameters
    ----------
    class_weight : sequence of float, optional
        Weight v of each class.
    ignore_index : int
        A target that does not count, as in torch.
    label_smoothing : float
        Share of the target that is spread over all classes, in [0, 1].

    References
    ----------
    C. Szegedy et al., "Rethinking the Inception architecture for computer vision", CVPR 2016, section 7.
    """

    class_weight: tuple[float, ...] | None = None
    ignore_index: int = -100
    label_smoothing: float = 0.0

    def __post_init__(self):
        if isinstance(self.ignore_index, bool) or not isinstance(self.ignore_index, (int, np.integer)):
            raise TypeError(f"ignore_index must be an integer, got {self.ignore_index!r}")
        if self.class_weight is not None:
            object.__setattr__(self, "class_weight", _not_negative("class_weight", self.class_weight))
        if not 0 <= _number("label_smoothing", self.label_smoothing) <= 1:
            raise ValueError(f"label_smoothing must be in [0, 1], got {self.label_smoothing!r}")

    @functools.cached_property
    def _class_weights(self):
        return np.array(() if self.class_weight is None else self.class_weight, np.float64)

    def _kernel(self, *arguments):
        *arrays, first, last = arguments
        kernels.softmax_cross_entropy(*arrays, self._class_weights, float(self.label_smoothing), first, last)

    def targets(self, target, outputs: Rows, layout: Layout, dtype) -> np.ndarray:
        target = np.asarray(target)
        shape = (layout.samples, layout.steps)
        if target.shape == shape[:1] and layout.steps == 1:
            target = target[:, None]
        if target.shape != shape:
            expected = f"{shape[:1]}" if layout.steps == 1 else f"{shape}: (samples, time steps)"
            raise ShapeError(f"target must have shape {expected}, got {target.shape}")
        if target.dtype.kind not in "iu":
            raise TypeError(f"target of softmax_cross_entropy must be integer class numbers, got dtype {target.dtype}")
        rows = np.ascontiguousarray(layout.sort(target).T).reshape(-1)
        running = None if layout.full else (np.arange(layout.samples) < layout.active[:, None]).reshape(-1)
        wrong = ((rows < 0) | (rows >= outputs.size)) & (rows != self.ignore_index)
        if running is not None:
            wrong &= running
        if wrong.any():
            values = np.unique(rows[wrong])
            raise TokenError(
                f"target holds {', '.join(map(str, values[:5]))}{' ...' if len(values) > 5 else ''}; the model has "
                f"{outputs.size} classes, 0 to {outputs.size - 1} (use {self.ignore_index} for positions that do not count)"
            )
        return np.where(rows == self.ignore_index, -1, rows).astype(np.int32)

    def weights(self, rows: np.ndarray, layout: Layout, sample_weight) -> np.ndarray:
        weights = super().weights(rows, layout, sample_weight)
        ignored = rows == -1
        if ignored.any():
            weights = weights if weights.size else np.ones(len(rows))
            weights[ignored] = 0.0
        return weights

    def total(self, rows: np.ndarray, weights: np.ndarray, count: int) -> float:
        if self.class_weight is None:
            return super().total(rows, weights, count)
        counted = weights > 0 if weights.size else slice(None)
        own = self._class_weights[rows[counted]]
        return float((own * weights[counted]).sum() if weights.size else own.sum())

    def prepare(self, outputs: Rows, count: int, target, layout: Layout, dtype, reduction, sample_weight):
        if self.class_weight is not None and len(self.class_weight) != outputs.size:
            raise ShapeError(f"class_weight must name {outputs.size} classes, got {len(self.class_weight)}")
        return super().prepare(outputs, count, target, layout, dtype, reduction, sample_weight)


@dataclass(frozen=True)
class _OfNumbers(Loss):
    """Base of the losses whose targets are numbers in the shape of the outputs."""

    output_activation = None

    def targets(self, target, outputs: Rows, layout: Layout, dtype) -> np.ndarray:
        target = np.asarray(target)
        if target.dtype.kind not in "fiub":
            raise TypeError(f"target of {self.name} must be numbers, got dtype {target.dtype}")
        shape = (layout.samples, layout.steps, outputs.size)
        short = [shape]
        if layout.steps == 1:
            short.append((shape[0], shape[2]))
        if outputs.size == 1:
            short += [s[:-1] for s in tuple(short)]
        if target.shape not in short:
            raise ShapeError(f"target must have shape {' or '.join(map(str, reversed(short)))}, got {target.shape}")
        rows = layout.sort(target.reshape(shape)).transpose(1, 0, 2)
        # A read-only or unaligned array would be another type, and compile the kernel once more; it is copied.
        return np.require(rows, dtype, ["C", "W", "A"]).reshape(-1)


@loss("mse")
@dataclass(frozen=True)
class MeanSquaredError(_OfNumbers):
    """E = mean over the features of (y - target)^2, as `torch.nn.MSELoss`.

    Targets are numbers, (samples, time steps, features) for a sequence or (samples, features) for one output a
    sample; the axis of features may be left out where there is one.
    """

    def _kernel(self, *arguments):
        _regression(kernels.SQUARED, 0.0, arguments)


@loss("mae")
@dataclass(frozen=True)
class MeanAbsoluteError(_OfNumbers):
    """E = mean over the features of |y - target|, with gradient 0 where they are equal: `torch.nn.L1Loss`.

    Targets as in `MeanSquaredError`.
    """

    def _kernel(self, *arguments):
        _regression(kernels.ABSOLUTE, 0.0, arguments)


@loss("huber")
@dataclass(frozen=True)
class Huber(_OfNumbers):
    """E = mean over the features of d^2 / 2 where |d| <= delta, else delta (|d| - delta / 2), with d = y - target.

    `torch.nn.HuberLoss`: quadratic near zero, and errors beyond `delta` pull no harder than those at it. Targets as in
    `MeanSquaredError`.

    Parameters
    ----------
    delta : float
        Positive.

    References
    ----------
    P. J. Huber, "Robust estimation of a location parameter", Annals of Mathematical Statistics 35 (1964), 73-101.
    """

    delta: float = 1.0

    def __post_init__(self):
        if not 0 < _number("delta", self.delta) < math.inf:
            raise ValueError(f"delta must be positive and finite, got {self.delta!r}")

    def _kernel(self, *arguments):
        _regression(kernels.HUBER, self.delta, arguments)


def _regression(kind, delta, arguments):
    outputs, *arrays, first, last = arguments
    kernels.regression(outputs, *arrays, kind, outputs.dtype.type(delta), first, last)


@loss("binary_cross_entropy")
@dataclass(frozen=True)
class BinaryCrossEntropy(_OfNumbers):
    """E = mean over the features of -p t log s(y) - (1 - t) log(1 - s(y)), s(y) = 1 / (1 + exp(-y)), t = target.

    The outputs y are logits, of any size: `torch.nn.BCEWithLogitsLoss`. Each feature is a question of its own (several labels
    may be true at once); for one class of many see `SoftmaxCrossEntropy`. Targets are numbers of [0, 1] or booleans in the
    shapes of `MeanSquaredError`.

    Parameters
    ----------
    pos_weight : float or sequence of float, optional
        Weight p of the positive targets, one for all features or one for each; above 1 it favours recall.
    """

    pos_weight: float | tuple[float, ...] | None = None

    output_activation = "sigmoid"

    def __post_init__(self):
        if self.pos_weight is not None:
            one = np.ndim(self.pos_weight) == 0
            weights = _not_negative("pos_weight", (self.pos_weight,) if one else self.pos_weight)
            object.__setattr__(self, "pos_weight", weights[0] if one else weights)

    def targets(self, target, outputs: Rows, layout: Layout, dtype) -> np.ndarray:
        if isinstance(self.pos_weight, tuple) and len(self.pos_weight) != outputs.size:
            raise ShapeError(
                f"pos_weight must have one entry for each of {outputs.size} features, got {len(self.pos_weight)}"
            )
        rows = super().targets(target, outputs, layout, dtype)
        wrong = ~((rows >= 0) & (rows <= 1)).reshape(layout.steps, layout.samples, outputs.size)
        if not layout.full:
            wrong &= (np.arange(layout.samples) < layout.active[:, None])[:, :, None]
        if wrong.any():
            value = rows.reshape(wrong.shape)[wrong][0]
            raise ValueError(
                f"target of binary_cross_entropy must lie in [0, 1]; {np.count_nonzero(wrong)} values do not, the first is {value}"
            )
        return rows

    def _kernel(self, outputs, row, columns, *arguments):
        *arrays, first, last = arguments
        weights = np.zeros(0, outputs.dtype)
        if self.pos_weight is not None:
            weights = np.array(np.broadcast_to(self.pos_weight, columns), outputs.dtype)
        kernels.binary_cross_entropy(outputs, row, columns, *arrays, weights, first, last)


@loss("ctc")
@dataclass(frozen=True)
class CTC(Loss):
    """E = -log sum over alignments of prod_t softmax(logits_t)[symbol at t]: label strings whose places are unknown.

    An alignment gives every step a label or the blank; equal labels that follow each other merge, then blanks vanish, and the label
    string is left. The sum over all of them is taken forward and backward through L + 1 blanks and L labels; the gradient with
    respect to the logits is softmax minus the probability that the alignment is at the class.

    Targets are label strings, in one of the forms of `numbarnn.label_strings.as_labels`: an integer array (samples, longest)
    filled up with -1, a list of sequences, or a tuple (labels, lengths). Empty strings are legal, and so are samples of length 0.

    "mean" is torch's: the mean over the samples of the loss divided by max(labels, 1); "sum" adds the losses. Weights are one a
    sample.

    Parameters
    ----------
    blank : int
        Class of the blank, which no label string holds.
    infeasible : {"error", "zero"}
        A sample with fewer steps than labels plus adjacent repeats has no alignment. "error": a ShapeError lists such samples.
        "zero": their loss and gradient are zero, and they count in the mean (torch's `zero_infinity`).

    Notes
    -----
    Probabilities are kept as a mantissa and an integer exponent each (`numbarnn.kernels.cpu.trellis`): nothing underflows, zero is
    zero, and errors are those of one rounding a step. Logits more than 700,000 below the largest of their step count as so much.
    Where logits of -inf leave no alignment, the loss is infinite (0 under "zero") and the gradient zero.

    A sample is one thread's; scratch memory is O(T L) a thread.

    References
    ----------
    A. Graves, S. Fernandez, F. Gomez, J. Schmidhuber, "Connectionist temporal classification: labelling unsegmented sequence data
    with recurrent neural networks", ICML 2006.
    """

    blank: int = 0
    infeasible: str = "error"

    by_step = False
    _advice = "Give them more steps, leave them out, or use CTC(infeasible='zero')"

    def __post_init__(self):
        object.__setattr__(self, "blank", ctc.check_blank(self.blank))
        if self.infeasible not in ("error", "zero"):
            raise ValueError(f"infeasible must be 'error' or 'zero', got {self.infeasible!r}")

    def check(self, source, signal):
        labels = as_labels(source.y, len(source.x), "y")
        ctc.check_labels(labels, signal.size, self.blank, "y")
        if self.infeasible == "error" and signal.sequence:
            steps = source.x.shape[1]
            lengths = np.full(len(source.x), steps) if source.lengths is None else source.lengths
            counted = source.sample_weight > 0 if np.ndim(source.sample_weight) == 1 else True
            ctc.check_lengths(labels, lengths, self._advice, counted)

    def value_and_gradient(
        self, call: Call, outputs: Rows, target, layout: Layout, reduction="mean", sample_weight=None
    ):
        labels = as_labels(target, layout.samples)
        scales, total = self.scales(labels, outputs.size, layout, reduction, sample_weight)
        losses, gradient = ctc.loss_and_gradient(
            call, outputs, labels, layout, self.blank, scales, self.infeasible == "zero"
        )
        counted = scales > 0
        return float((losses[counted] * scales[counted]).sum()), Rows(gradient, outputs.size), total

    def scales(self, labels, classes: int, layout: Layout, reduction, sample_weight):
        """Check a batch; return (what the loss of each sorted sample is multiplied by, total weight)."""
        check_reduction(reduction)
        ctc.check_labels(labels, classes, self.blank)
        weights = np.ones(layout.samples)
        if sample_weight is not None:
            weights = np.asarray(sample_weight, np.float64)
            if weights.shape != (layout.samples,):
                raise ShapeError(f"sample_weight of ctc must have shape ({layout.samples},), got {weights.shape}")
            if not np.isfinite(weights).all() or weights.min() < 0:
                raise ValueError("sample_weight must be finite and not negative")
        lengths = layout.unsort(layout.lengths)
        if self.infeasible == "error":
            ctc.check_lengths(labels, lengths, self._advice, weights > 0)
        total = float(weights.sum())
        scales = np.where(ctc.too_short(labels, lengths), 0.0, weights)
        if reduction == "mean" and total > 0:
            scales = scales / np.maximum(labels.counts, 1) / total
        return np.ascontiguousarray(layout.sort(scales)), total


def check_reduction(reduction) -> None:
    """Raise ValueError unless a reduction is one of the two."""
    if reduction not in ("mean", "sum"):
        raise ValueError(f"reduction must be 'mean' or 'sum', got {reduction!r}")


def _number(name, value):
    """Return an option as it is; raise TypeError unless it is a number."""
    if isinstance(value, bool) or not isinstance(value, (int, float, np.number)):
        raise TypeError(f"{name} must be a number, got {value!r}")
    return value


def _not_negative(name, values):
    """Return a sequence as a tuple of floats; raise unless they are finite numbers, none negative."""
    numbers = tuple(float(_number(name, value)) for value in values)
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
