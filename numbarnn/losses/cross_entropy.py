"""Softmax cross-entropy: one class of many."""

from dataclasses import dataclass

import numpy as np

from numbarnn.checks import LARGEST, brief, check_integer, check_real
from numbarnn.core.arrays import as_array
from numbarnn.core.layout import Layout
from numbarnn.errors import ShapeError, TokenError
from numbarnn.losses.base import Loss, as_weights, loss


@loss("softmax_cross_entropy")
@dataclass(frozen=True)
class SoftmaxCrossEntropy(Loss):
    """E = -sum_c q_c log softmax(logits)_c, in nats; without smoothing and class weights -log softmax(logits)[target].

    q_c = (1 - label_smoothing) v_c [c = target] + label_smoothing v_c / C, with C classes of weights v; the mean divides by the
    summed v of the targets: `torch.nn.CrossEntropyLoss`. A batch whose targets all are to be ignored has the loss 0 (torch: NaN).

    Targets are integers, (samples, time steps) for a sequence or (samples,) for one output a sample.

    Parameters
    ----------
    class_weight : sequence of float, optional
        Weight v of each class.
    ignore_index : int
        A target that does not count, as in torch.
    label_smoothing : float
        Share of the target that is spread over all classes, in [0, 1].

    Raises
    ------
    TypeError, ValueError
        If an option is of the wrong type or out of range.

    References
    ----------
    C. Szegedy et al., "Rethinking the Inception architecture for computer vision", CVPR 2016, section 7.
    """

    class_weight: tuple[float, ...] | None = None
    ignore_index: int = -100
    label_smoothing: float = 0.0

    def __post_init__(self):
        check_integer(self.ignore_index, "ignore_index", -LARGEST)
        if self.class_weight is not None:
            object.__setattr__(self, "class_weight", as_weights("class_weight", self.class_weight))
        if not 0 <= check_real(self.label_smoothing, "label_smoothing") <= 1:
            raise ValueError(f"label_smoothing must be in [0, 1], got {brief(self.label_smoothing)}")

    def targets(self, target, size: int, layout: Layout, dtype) -> np.ndarray:
        target = as_array(target, "target")
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
        wrong = ((rows < 0) | (rows >= size)) & (rows != self.ignore_index)
        if running is not None:
            wrong &= running
        if wrong.any():
            values = np.unique(rows[wrong])
            raise TokenError(
                f"target holds {', '.join(map(str, values[:5]))}{' ...' if len(values) > 5 else ''}; the model has "
                f"{size} classes, 0 to {size - 1} (use {self.ignore_index} for positions that do not count)"
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
        own = np.array(self.class_weight, np.float64)[rows[counted]]
        return float((own * weights[counted]).sum() if weights.size else own.sum())

    def prepare(self, size: int, count: int, target, layout: Layout, dtype, reduction, sample_weight):
        if self.class_weight is not None and len(self.class_weight) != size:
            raise ShapeError(f"class_weight must name {size} classes, got {len(self.class_weight)}")
        return super().prepare(size, count, target, layout, dtype, reduction, sample_weight)
