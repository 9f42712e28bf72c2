"""Averages over steps: of gradients, so that many batches make one optimizer step, and of weights."""

import functools
from dataclasses import dataclass

import numpy as np

from numbarnn import parallel
from numbarnn.checks import check_flat, check_real
from numbarnn.kernels.cpu import optim as kernels


@dataclass(frozen=True)
class EMA:
    """Exponential moving average a of the weights w: a = w after the first step, then a = decay a + (1 - decay) w.

    The average forgets a step after about 1 / (1 - decay) others, and is steadier than the weights it follows. `Trainer` validates
    with it, and training ends with it in the model, unless `final` says otherwise: `torch.optim.swa_utils.AveragedModel` with
    ``get_ema_multi_avg_fn``.

    Parameters
    ----------
    decay : float
        In [0, 1).
    final : bool
        Whether training ends with the average in the model, or with the weights that the optimizer changed.

    References
    ----------
    B. Polyak, A. Juditsky, "Acceleration of stochastic approximation by averaging", SIAM Journal on Control and Optimization 30
    (1992), 838-855, of averages in general.
    """

    decay: float = 0.999
    final: bool = True

    def __post_init__(self):
        if isinstance(self.decay, bool) or not isinstance(self.decay, (int, float)) or not 0 <= self.decay < 1:
            raise ValueError(f"EMA: decay must be a number in [0, 1), got {self.decay!r}")
        if not isinstance(self.final, bool):
            raise TypeError(f"EMA: final must be True or False, got {self.final!r}")


def make_average(value) -> EMA | None:
    """Return the average for an argument: None, an `EMA`, or its decay."""
    value = value.item() if isinstance(value, np.generic) else value
    return value if value is None or isinstance(value, EMA) else EMA(value)


def blend(values: np.ndarray, others: np.ndarray, keep: float, add: float, n_threads: int = 1) -> None:
    """Set values = keep values + add others, for flat arrays of one dtype.

    Raises
    ------
    ShapeError, TypeError, ValueError
        If sizes or dtypes differ, an array is not C-contiguous or `values` read-only, or a factor is not a finite number.
    """
    check_flat(values, "values")
    check_flat(others, "others", values, writable=False)
    keep, add, n_threads = check_real(keep, "keep"), check_real(add, "add"), parallel.check_threads(n_threads)
    factors = values.dtype.type(keep), values.dtype.type(add)
    cuts = parallel.shares(values.size, values.size * 2.0, n_threads)
    parallel.run([functools.partial(kernels.blend, values, others, *factors, *cut) for cut in cuts])


class Accumulator:
    """Losses and gradients of several batches, which become those of the one batch that they are parts of.

    Attributes
    ----------
    count : int
        Batches added.
    loss, weight : float
        Sums of the loss times its weight, and of the weight.
    gradient : array or None
        Sum of the gradients times their weights.
    """

    def __init__(self):
        self.gradient = None
        self.clear()

    def clear(self) -> None:
        """Forget what was added."""
        self.count, self.loss, self.weight = 0, 0.0, 0.0

    def add(self, loss: float, gradient: np.ndarray, weight: float, n_threads: int = 1) -> None:
        """Add a batch by its mean loss, the gradient of that, and the weight that the mean was divided by."""
        if self.gradient is None:
            self.gradient = np.zeros_like(gradient)
        if self.count == 0:
            self.gradient[...] = 0
        blend(self.gradient, gradient, 1.0, weight, n_threads)
        self.count += 1
        self.loss += loss * weight
        self.weight += weight

    def take(self, n_threads: int = 1) -> tuple[float, np.ndarray]:
        """Return the mean loss of all that was added, and its gradient, which the next `add` overwrites; forget them."""
        part = 1.0 / self.weight if self.weight else 0.0
        blend(self.gradient, self.gradient, part, 0.0, n_threads)
        loss = self.loss * part
        self.clear()
        return loss, self.gradient
