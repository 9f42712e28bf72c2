"""Losses: value and gradient with respect to a model's outputs, in one pass.

A loss is a frozen record; `LOSSES` finds it by name. All take *logits* where probabilities are meant: the softmax is
part of the loss. Rows past a sample's length never count.
"""

from dataclasses import dataclass

import numpy as np

from numbarnn.batch import Call, Layout, Rows
from numbarnn.errors import ShapeError, TokenError
from numbarnn.kernels.cpu import losses as kernels

LOSSES: dict[str, type["Loss"]] = {}


def loss(name: str):
    """Return a decorator that enters a loss class into `LOSSES`."""

    def enter(cls):
        LOSSES[name] = cls
        return cls

    return enter


@dataclass(frozen=True)
class Loss:
    """Base of the losses."""

    def targets(self, target, outputs: Rows, layout: Layout, dtype) -> np.ndarray:
        """Check a target and return it by rows, as the kernel wants it."""
        raise NotImplementedError

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
        if reduction not in ("mean", "sum"):
            raise ValueError(f"reduction must be 'mean' or 'sum', got {reduction!r}")
        rows = self.targets(target, outputs, layout, call.dtype)
        weights = self.weights(rows, layout, sample_weight)
        count = len(outputs.values)
        total = float(weights.sum()) if weights.size else float(count)
        scale = 1.0 if reduction == "sum" else 1.0 / total if total > 0 else 0.0
        values, gradient = np.empty(count), call.empty(outputs.values.shape)
        call.over(
            count,
            count * outputs.size * 12.0,
            lambda lo, hi: self._kernel(
                outputs.values.reshape(-1), outputs.values.shape[1], outputs.size, rows, weights, scale, values,
                gradient.reshape(-1), lo, hi,
            ),
        )  # fmt: skip
        return float(values.sum()) * scale, Rows(gradient, outputs.size), total


@loss("softmax_cross_entropy")
@dataclass(frozen=True)
class SoftmaxCrossEntropy(Loss):
    """E = -log softmax(logits)[target], in nats.

    Targets are integers, (samples, time steps) for a sequence or (samples,) for one output a sample.

    Parameters
    ----------
    class_weight : sequence of float, optional
        Weight of each class; the mean divides by the summed weights, as torch does.
    ignore_index : int
        A target that does not count, as in torch.
    """

    class_weight: tuple[float, ...] | None = None
    ignore_index: int = -100

    _kernel = staticmethod(kernels.softmax_cross_entropy)

    def __post_init__(self):
        if isinstance(self.ignore_index, bool) or not isinstance(self.ignore_index, (int, np.integer)):
            raise TypeError(f"ignore_index must be an integer, got {self.ignore_index!r}")
        if self.class_weight is not None:
            weights = tuple(float(w) for w in self.class_weight)
            if not all(np.isfinite(w) and w >= 0 for w in weights):
                raise ValueError(f"class_weight must be finite and not negative, got {self.class_weight!r}")
            object.__setattr__(self, "class_weight", weights)

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
        if self.class_weight is None and not ignored.any():
            return weights
        if weights.size == 0:
            weights = np.ones(len(rows))
        weights[ignored] = 0.0
        counted = weights > 0
        if self.class_weight is not None:
            weights[counted] *= np.asarray(self.class_weight)[rows[counted]]
        return weights

    def value_and_gradient(
        self, call: Call, outputs: Rows, target, layout: Layout, reduction="mean", sample_weight=None
    ):
        if self.class_weight is not None and len(self.class_weight) != outputs.size:
            raise ShapeError(f"class_weight must name {outputs.size} classes, got {len(self.class_weight)}")
        return super().value_and_gradient(call, outputs, target, layout, reduction, sample_weight)


@loss("mse")
@dataclass(frozen=True)
class MeanSquaredError(Loss):
    """E = mean over the features of (y - target)^2.

    Targets are numbers, (samples, time steps, features) for a sequence or (samples, features) for one output a
    sample; the axis of features may be left out where there is one.
    """

    _kernel = staticmethod(kernels.mean_squared_error)

    def targets(self, target, outputs: Rows, layout: Layout, dtype) -> np.ndarray:
        target = np.asarray(target)
        if target.dtype.kind not in "fiub":
            raise TypeError(f"target of mse must be numbers, got dtype {target.dtype}")
        shape = (layout.samples, layout.steps, outputs.size)
        short = [shape]
        if layout.steps == 1:
            short.append((shape[0], shape[2]))
        if outputs.size == 1:
            short += [s[:-1] for s in tuple(short)]
        if target.shape not in short:
            raise ShapeError(f"target must have shape {' or '.join(map(str, reversed(short)))}, got {target.shape}")
        rows = layout.sort(target.reshape(shape)).transpose(1, 0, 2)
        return np.ascontiguousarray(rows, dtype).reshape(-1)


def make_loss(value) -> Loss:
    """Return a loss for an argument: a loss, or a name of `LOSSES`."""
    if isinstance(value, Loss):
        return value
    if isinstance(value, str) and value in LOSSES:
        return LOSSES[value]()
    raise ValueError(f"loss must be one of {', '.join(LOSSES)} or a loss object, got {value!r}")
