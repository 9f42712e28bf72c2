"""Weighted sums of flat arrays, and the moving average of the weights of a training run."""

import functools
from dataclasses import dataclass
from typing import Any

import numpy as np

from numbarnn import parallel
from numbarnn.checks import brief, check_flag, check_flat, check_real
from numbarnn.kernels.cpu import optim as kernels
from numbarnn.words import Suggesting


def blend(values: np.ndarray, others: np.ndarray, keep: float, add: float, n_threads: int = 1) -> None:
    """Set values = keep values + add others, for flat arrays of one dtype.

    Parameters
    ----------
    values, others : (n,) arrays
        C-contiguous; `values` is changed.
    keep, add : float
    n_threads : int

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


@dataclass(frozen=True)
class EMA(Suggesting):
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

    Raises
    ------
    TypeError, ValueError
        If `decay` is not a number in [0, 1), or `final` not a flag.

    References
    ----------
    B. Polyak, A. Juditsky, "Acceleration of stochastic approximation by averaging", SIAM Journal on Control and Optimization 30
    (1992), 838-855, of averages in general.
    """

    decay: float = 0.999
    final: bool = True

    def __post_init__(self):
        if isinstance(self.decay, bool) or not isinstance(self.decay, (int, float)) or not 0 <= self.decay < 1:
            raise ValueError(f"EMA: decay must be a number in [0, 1), got {brief(self.decay)}")
        check_flag("EMA", "final", self.final)


def make_average(average: Any) -> EMA | None:
    """Return the average for an argument.

    Parameters
    ----------
    average : EMA, float or None
        An average, its decay, or none.

    Returns
    -------
    EMA or None

    Raises
    ------
    TypeError, ValueError
        If it is neither.
    """
    if average is None or isinstance(average, EMA):
        return average
    try:
        return EMA(check_real(average, "average"))
    except (TypeError, ValueError) as error:
        raise type(error)(f"average must be None, an EMA or its decay in [0, 1), got {brief(average)}") from None
