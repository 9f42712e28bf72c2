"""Binary cross-entropy: several questions at once, each answered by a logit."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from numbarnn.checks import check_real, to_array
from numbarnn.core.layout import Layout
from numbarnn.errors import ShapeError
from numbarnn.kernels import equations
from numbarnn.losses.base import as_weights, loss
from numbarnn.losses.pointwise import PointwiseLoss


@loss("binary_cross_entropy")
@dataclass(frozen=True)
class BinaryCrossEntropy(PointwiseLoss):
    """E = mean over the features of -w (p t log s(y) + (1 - t) log(1 - s(y))), s(y) = 1 / (1 + exp(-y)), t = target.

    The outputs y are logits, of any size: `torch.nn.BCEWithLogitsLoss`. Each feature is a question of its own (several labels
    may be true at once); for one class of many see `SoftmaxCrossEntropy`. Targets are numbers of [0, 1] or booleans in the
    shapes of `MeanSquaredError`, whose "sum" is that of this loss too.

    Parameters
    ----------
    pos_weight : float or sequence of float, optional
        Weight p of the positive targets, one for all features or one for each; above 1 it favours recall.
    weight : float or sequence of float, optional
        Weight w of the questions, one for all features or one for each; the mean does not divide by it, as in torch. Weights of
        samples and steps are the `sample_weight` of `Model.fit`, which the mean divides by.

    Raises
    ------
    TypeError, ValueError
        If a weight is not a number, negative or not finite.
    """

    pos_weight: float | tuple[float, ...] | None = None
    weight: float | tuple[float, ...] | None = None

    output_activation = "sigmoid"
    term = staticmethod(equations.binary_cross_entropy)

    def __post_init__(self):
        for name in ("pos_weight", "weight"):
            given = getattr(self, name)
            if given is not None:
                one = to_array(given, name).ndim == 0
                object.__setattr__(self, name, check_real(given, name, 0.0) if one else as_weights(name, given))

    def option(self, name: str) -> Any:
        value = getattr(self, name)
        return 1.0 if value is None else value

    def targets(self, target: Any, size: int, layout: Layout, dtype: Any) -> np.ndarray:
        for name in ("pos_weight", "weight"):
            given = getattr(self, name)
            if isinstance(given, tuple) and len(given) != size:
                raise ShapeError(f"{name} must have one entry for each of {size} features, got {len(given)}")
        rows = super().targets(target, size, layout, dtype)
        wrong = ~((rows >= 0) & (rows <= 1)).reshape(layout.steps, layout.samples, size)
        if not layout.full:
            wrong &= (np.arange(layout.samples) < layout.active[:, None])[:, :, None]
        if wrong.any():
            value = rows.reshape(wrong.shape)[wrong][0]
            raise ValueError(
                f"target of binary_cross_entropy must lie in [0, 1]; {np.count_nonzero(wrong)} values do not, the first is {value}"
            )
        return rows
