"""Averages over steps: of gradients, so that many batches make one optimizer step, and of weights."""

from dataclasses import dataclass

import numpy as np


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
