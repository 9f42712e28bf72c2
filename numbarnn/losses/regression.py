"""Regression losses: squared error and its kin."""

import math
from dataclasses import dataclass

import numpy as np

from numbarnn.core.layout import Layout
from numbarnn.errors import ShapeError
from numbarnn.losses.base import Loss, as_number, loss


@dataclass(frozen=True)
class RegressionLoss(Loss):
    """Base of the losses whose targets are numbers in the shape of the outputs."""

    output_activation = None

    def targets(self, target, size: int, layout: Layout, dtype) -> np.ndarray:
        target = np.asarray(target)
        if target.dtype.kind not in "fiub":
            raise TypeError(f"target of {self.name} must be numbers, got dtype {target.dtype}")
        shape = (layout.samples, layout.steps, size)
        short = [shape]
        if layout.steps == 1:
            short.append((shape[0], shape[2]))
        if size == 1:
            short += [s[:-1] for s in tuple(short)]
        if target.shape not in short:
            raise ShapeError(f"target must have shape {' or '.join(map(str, reversed(short)))}, got {target.shape}")
        rows = layout.sort(target.reshape(shape)).transpose(1, 0, 2)
        # A read-only or unaligned array would be another type, and compile the kernel once more; it is copied.
        return np.require(rows, dtype, ["C", "W", "A"]).reshape(-1)


@loss("mse")
@dataclass(frozen=True)
class MeanSquaredError(RegressionLoss):
    """E = mean over the features of (y - target)^2, as `torch.nn.MSELoss`.

    Targets are numbers, (samples, time steps, features) for a sequence or (samples, features) for one output a
    sample; the axis of features may be left out where there is one.
    """


@loss("mae")
@dataclass(frozen=True)
class MeanAbsoluteError(RegressionLoss):
    """E = mean over the features of |y - target|, with gradient 0 where they are equal: `torch.nn.L1Loss`.

    Targets as in `MeanSquaredError`.
    """


@loss("huber")
@dataclass(frozen=True)
class Huber(RegressionLoss):
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
        if not 0 < as_number("delta", self.delta) < math.inf:
            raise ValueError(f"delta must be positive and finite, got {self.delta!r}")
