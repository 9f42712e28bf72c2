"""Regression losses: squared error and its kin."""

from dataclasses import dataclass

from numbarnn.checks import brief, check_real
from numbarnn.kernels import equations
from numbarnn.losses.base import loss
from numbarnn.losses.pointwise import PointwiseLoss


@loss("mse")
@dataclass(frozen=True)
class MeanSquaredError(PointwiseLoss):
    """E = mean over the features of (y - target)^2; its mean over all steps is that of `torch.nn.MSELoss`.

    The "sum" adds the means of the steps, where torch's adds all features.

    Targets are numbers, (samples, time steps, features) for a sequence or (samples, features) for one output a
    sample; the axis of features may be left out where there is one.
    """

    term = staticmethod(equations.squared)


@loss("mae")
@dataclass(frozen=True)
class MeanAbsoluteError(PointwiseLoss):
    """E = mean over the features of ``|y - target|``, with gradient 0 where they are equal: `torch.nn.L1Loss`.

    Targets and "sum" as in `MeanSquaredError`.
    """

    term = staticmethod(equations.absolute)


@loss("huber")
@dataclass(frozen=True)
class Huber(PointwiseLoss):
    """E = mean over the features of ``d^2 / 2`` where ``|d| <= delta``, else ``delta (|d| - delta / 2)``, with d = y - target.

    `torch.nn.HuberLoss`: quadratic near zero, and errors beyond `delta` pull no harder than those at it. Targets and "sum" as in
    `MeanSquaredError`.

    Parameters
    ----------
    delta : float
        Positive.

    Raises
    ------
    TypeError, ValueError
        If `delta` is not a positive finite number.

    References
    ----------
    P. J. Huber, "Robust estimation of a location parameter", Annals of Mathematical Statistics 35 (1964), 73-101.
    """

    delta: float = 1.0

    term = staticmethod(equations.huber)

    def __post_init__(self):
        if check_real(self.delta, "delta") <= 0:
            raise ValueError(f"delta must be positive and finite, got {brief(self.delta)}")
