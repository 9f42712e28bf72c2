"""Softmax cross-entropy: one class of many."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from numbarnn.checks import LARGEST, brief, check_integer, check_real, counted, row_blocks
from numbarnn.core.arrays import as_array
from numbarnn.core.layout import Layout
from numbarnn.errors import ShapeError, TokenError
from numbarnn.losses.base import Loss, as_weights, loss, steps_hint


@loss("softmax_cross_entropy")
@dataclass(frozen=True)
class SoftmaxCrossEntropy(Loss):
    """E = -sum_c q_c log softmax(logits)_c, in nats; without smoothing and class weights -log softmax(logits)[target].

    q_c = v_c ((1 - label_smoothing) t_c + label_smoothing / C), with C classes of weights v: `torch.nn.CrossEntropyLoss`. The
    dtype of the targets says what they are:

    * integers are classes, (samples, time steps) for a sequence or (samples,) for one output a sample: t_c = [c = target], and the
      mean divides by the summed v of the targets. A batch whose targets all are to be ignored has the loss 0 (torch: NaN).
    * floats are probabilities of the classes (soft targets), (samples, time steps, C) or (samples, C): t_c = target[c], and the
      mean divides by the number of steps, whatever v. They must be finite, not negative, and sum to 1 up to the square root of
      their dtype's machine epsilon (torch checks none of this). Steps of weight 0 need not be distributions; no `ignore_index`.

    Parameters
    ----------
    class_weight : sequence of float, optional
        Weight v of each class.
    ignore_index : int
        An integer target that does not count, as in torch.
    label_smoothing : float
        Share of the target that is spread over all classes, in [0, 1].

    Raises
    ------
    TypeError, ValueError
        If an option is of the wrong type or out of range.

    References
    ----------
    C. Szegedy et al., "Rethinking the Inception architecture for computer vision", CVPR 2016, section 7. G. Hinton, O. Vinyals,
    J. Dean, "Distilling the knowledge in a neural network", 2015: soft targets.

    Examples
    --------
    A net learns the distributions of another, its teacher.

    >>> import numpy as np
    >>> import numbarnn as nr
    >>> x = np.random.default_rng(0).standard_normal((8, 10, 2))
    >>> teacher, student = (nr.Model([nr.RNN(size), nr.Dense(3)], input_size=2, seed=size) for size in (16, 4))
    >>> history = student.fit(x, teacher.predict_proba(x), epochs=5, verbose=0)
    >>> history["loss"][-1] < history["loss"][0]
    True
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

    def targets(self, target: Any, size: int, layout: Layout, dtype: Any) -> np.ndarray:
        target = as_array(target, "target")
        if target.dtype.kind == "f" and target.shape in _shapes(layout, size):
            rows = layout.sort(target.reshape(layout.samples, layout.steps, size)).swapaxes(0, 1)
            return np.require(rows, dtype, ["C", "W", "A"]).reshape(-1)
        shape = (layout.samples, layout.steps)
        if target.shape == shape[:1] and layout.steps == 1:
            target = target[:, None]
        if target.shape != shape:
            codes = f"{shape[:1]}" if layout.steps == 1 else f"{shape}: (samples, time steps)"
            expected = " or ".join(map(str, _shapes(layout, size))) if target.dtype.kind == "f" else codes
            hint = steps_hint(target.shape, layout)
            if target.dtype.kind in "iub" and target.shape in _shapes(layout, size):
                one_hot = (np.sort(target, axis=-1)[..., :-1] == 0).all() and (target.max(axis=-1) == 1).all()
                hint = (
                    "; these are one-hot: pass the classes, y.argmax(axis=-1)"
                    if one_hot
                    else "; probabilities of the classes must be floats: target.astype(float)"
                )
            raise ShapeError(f"target must have shape {expected}, got {target.shape}{hint}")
        if target.dtype.kind not in "iu":
            raise TypeError(
                f"target of softmax_cross_entropy must be integer class numbers, got dtype {target.dtype}; probabilities of the "
                f"classes are floats of shape {_shapes(layout, size)[0]}"
            )
        rows = np.ascontiguousarray(layout.sort(target).T).reshape(-1)
        running = None if layout.full else (np.arange(layout.samples) < layout.active[:, None]).reshape(-1)
        wrong = self._unknown(rows, size)
        if running is not None:
            wrong &= running
        if wrong.any():
            values = np.unique(rows[wrong])
            raise TokenError(
                f"target has {', '.join(map(str, values[:5]))}{' ...' if len(values) > 5 else ''}; the model has "
                f"{size} classes, 0 to {size - 1} (use {self.ignore_index} for positions that do not count){_one_class(size)}"
            )
        return np.where(rows == self.ignore_index, -1, rows).astype(np.int32)

    def weights(self, rows: np.ndarray, layout: Layout, sample_weight: Any) -> np.ndarray:
        weights = super().weights(rows, layout, sample_weight)
        if rows.dtype.kind == "f":
            return weights
        ignored = rows == -1
        if ignored.any():
            weights = weights if weights.size else np.ones(len(rows))
            weights[ignored] = 0.0
        return weights

    def total(self, rows: np.ndarray, weights: np.ndarray, count: int) -> float:
        if self.class_weight is None or rows.dtype.kind == "f":
            return super().total(rows, weights, count)
        counted = weights > 0 if weights.size else slice(None)
        own = np.array(self.class_weight, np.float64)[rows[counted]]
        return float((own * weights[counted]).sum() if weights.size else own.sum())

    def prepare(
        self, size: int, count: int, target: Any, layout: Layout, dtype: Any, reduction: Any, sample_weight: Any
    ) -> Any:
        self._check_class_weight(size)
        rows, weights, total, scale = super().prepare(size, count, target, layout, dtype, reduction, sample_weight)
        if rows.dtype.kind == "f":
            self._check_probabilities(target, size, layout, weights, "target")
            rows = self._smoothed(rows.reshape(count, size), weights).reshape(-1)
        return rows, weights, total, scale

    def _check_class_weight(self, size):
        """Raise ShapeError unless there is a weight for each class, or none at all."""
        if self.class_weight is not None and len(self.class_weight) != size:
            raise ShapeError(f"class_weight must name {size} classes, got {len(self.class_weight)}")

    def _smoothed(self, rows, weights):
        """Return q of all rows; of those of weight 0, which may be anything, zeros."""
        if weights.size:
            rows[weights == 0] = 0
        if self.label_smoothing:
            share = float(self.label_smoothing)
            rows = (1 - share) * rows + share / rows.shape[1]
        if self.class_weight is not None:
            rows = rows * np.array(self.class_weight, rows.dtype)
        return rows

    def _check_probabilities(self, target, size, layout, weights, name):
        """Raise ValueError unless soft targets, in the caller's order, are distributions wherever they count."""
        if self.ignore_index >= 0:
            raise ValueError(
                f"ignore_index is {self.ignore_index}, but {name} has probabilities, not integers; leave ignore_index out, and "
                "give steps that do not count a sample_weight of 0"
            )
        target = as_array(target, name).reshape(layout.samples, layout.steps, size)
        right = np.empty(target.shape[:2], bool)
        for first, block in row_blocks(target):
            with np.errstate(invalid="ignore", over="ignore"):  # infinities
                sums = block.sum(axis=2, dtype=np.float64)
                near = np.abs(sums - 1) <= np.sqrt(np.finfo(target.dtype).eps)
                right[first : first + len(block)] = near & (block >= 0).all(axis=2)
        if weights.size:
            right |= layout.unsort(weights.reshape(layout.steps, layout.samples).T) == 0
        if not right.all():
            sample, step = np.argwhere(~right)[0]
            values = target[sample, step]
            index = f"{sample}, {step}" if layout.steps > 1 else f"{sample}"
            with np.errstate(invalid="ignore", over="ignore"):
                total = values.sum(dtype=np.float64)
            found = f"sum to {total:.6g}" if (values >= 0).all() else f"have {values[~(values >= 0)][0]}"
            raise ValueError(
                f"{name}[{index}] must be probabilities of {size} classes, finite, not negative and of sum 1, but they {found}; "
                f"{np.count_nonzero(~right)} of {right.size} steps are wrong (divide by the sums, or give steps that do not count "
                "a sample_weight of 0)"
            )

    def check(self, source: Any, signal: Any) -> Any:
        lengths = source.lengths if signal.sequence else None
        layout = Layout.make(source.x.shape[1] if signal.sequence else 1, len(source.x), lengths)
        if source.y.dtype.kind == "f" and source.y.shape in _shapes(layout, signal.size):
            weights = self.weights(source.y, layout, source.sample_weight)
            self._check_probabilities(source.y, signal.size, layout, weights, "y")
        if source.y.dtype.kind in "iu" and source.y.size == layout.samples * layout.steps:
            self._check_classes(source.y.reshape(layout.samples, layout.steps), signal.size, lengths)

    def _unknown(self, classes, size):
        """Return which classes are none of the model's and not to be ignored."""
        return ((classes < 0) | (classes >= size)) & (classes != self.ignore_index)

    def _check_classes(self, y, size, lengths):
        """Raise TokenError where a class that counts is none of the model's, naming the first in the caller's order."""
        count, found = 0, None
        for first, block in row_blocks(y):
            wrong = self._unknown(block, size)
            if lengths is not None:
                wrong &= np.arange(y.shape[1]) < lengths[first : first + len(block), None]
            if found is None and wrong.any():
                found = np.argwhere(wrong)[0] + (first, 0)
            count += np.count_nonzero(wrong)
        if count:
            sample, step = found
            index = f"{sample}, {step}" if y.shape[1] > 1 else f"{sample}"
            raise TokenError(
                f"y[{index}] is {y[sample, step]}; the model has {size} classes, 0 to {size - 1} (use {self.ignore_index} for "
                f"positions that do not count); {counted(count, 'target')} wrong{_one_class(size)}"
            )


def _one_class(size):
    """Return what to do where a model of one output has targets of several classes."""
    return "; for yes and no use loss='binary_cross_entropy', or Dense(2) as the last layer" if size == 1 else ""


def _shapes(layout, size):
    """Return the shapes that probabilities may have."""
    whole = (layout.samples, layout.steps, size)
    return (whole[::2], whole) if layout.steps == 1 else (whole,)
