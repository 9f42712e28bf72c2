"""Learning-rate schedules: frozen records of a factor of the learning rate over time."""

import bisect
import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from numbarnn.checks import brief, check_integer, check_real
from numbarnn.words import Suggesting

SCHEDULES: dict[str, type["Schedule"]] = {}
_S = TypeVar("_S", bound="Schedule")


def schedule(cls: type[_S]) -> type[_S]:
    """Enter a schedule class into `SCHEDULES` by its class name in lower case.

    Parameters
    ----------
    cls : type
        A frozen dataclass derived from `Schedule`.

    Returns
    -------
    type
        The class, so that this is a decorator.
    """
    SCHEDULES[cls.__name__.lower()] = cls
    return cls


@schedule
@dataclass(frozen=True)
class Schedule(Suggesting):
    """The constant schedule, and base of the others: `factor` multiplies the optimizer's learning rate.

    Attributes
    ----------
    monitor : str or None
        Entry of the history that it depends on.
    """

    monitor = None

    def factor(self, epoch: int, step: int) -> float:
        """Return the factor for a step.

        Parameters
        ----------
        epoch, step : int
            Epochs and optimizer steps done before; both 0 at the first step.

        Returns
        -------
        float
        """
        return 1.0

    def given(self, records: Sequence[Mapping[str, float]]) -> "Schedule":
        """Return the schedule of the next epoch, given the records of a history so far: itself, unless it depends on them.

        Parameters
        ----------
        records : sequence of dict
            One for each epoch of this `fit`.

        Returns
        -------
        Schedule
        """
        return self


@schedule
@dataclass(frozen=True)
class StepDecay(Schedule):
    """gamma ** (epoch // every): a step down every few epochs, as `torch.optim.lr_scheduler.StepLR`.

    Parameters
    ----------
    every : int
        Epochs from one step down to the next.
    gamma : float

    Raises
    ------
    TypeError, ValueError
        If `every` is not a positive integer, or `gamma` not a finite number.

    Examples
    --------
    >>> [StepDecay(2, 0.5).factor(epoch, 0) for epoch in range(5)]
    [1.0, 1.0, 0.5, 0.5, 0.25]
    """

    every: int
    gamma: float = 0.1

    def __post_init__(self):
        check_integer(self.every, "StepDecay: every", 1)
        check_real(self.gamma, "StepDecay: gamma")

    def factor(self, epoch: int, step: int) -> float:
        return self.gamma ** (epoch // self.every)


@schedule
@dataclass(frozen=True)
class MultiStep(Schedule):
    """gamma ** (milestones passed): a step down at certain epochs, as `torch.optim.lr_scheduler.MultiStepLR`.

    Parameters
    ----------
    milestones : sequence of int
        Epochs, counted from 0, that begin at a lower rate; one that comes twice counts twice.
    gamma : float

    Raises
    ------
    TypeError, ValueError
        If `milestones` are not integers >= 0, or `gamma` not a number.

    Examples
    --------
    >>> [MultiStep([1, 3], 0.5).factor(epoch, 0) for epoch in range(5)]
    [1.0, 0.5, 0.5, 0.25, 0.25]
    """

    milestones: tuple[int, ...]
    gamma: float = 0.1

    def __post_init__(self):
        if not isinstance(self.milestones, (tuple, list, np.ndarray)):
            raise TypeError(
                f"MultiStep: milestones must be a sequence of epochs, such as [10, 20], got {brief(self.milestones)}"
            )
        epochs = [check_integer(epoch, f"MultiStep: milestones[{i}]", 0) for i, epoch in enumerate(self.milestones)]
        object.__setattr__(self, "milestones", tuple(sorted(epochs)))
        check_real(self.gamma, "MultiStep: gamma")

    def factor(self, epoch: int, step: int) -> float:
        return self.gamma ** bisect.bisect_right(self.milestones, epoch)


@schedule
@dataclass(frozen=True)
class ExponentialDecay(Schedule):
    """gamma ** max(0, epoch + 1 - after): a step down after every epoch from the `after`-th on (char-rnn: 0.97, 10).

    Parameters
    ----------
    gamma : float
    after : int
        Epochs at the full rate.

    Raises
    ------
    TypeError, ValueError
        If `gamma` is not a finite number, or `after` not an integer >= 0.

    Examples
    --------
    >>> [ExponentialDecay(0.5, after=2).factor(epoch, 0) for epoch in range(4)]
    [1.0, 1.0, 0.5, 0.25]
    """

    gamma: float
    after: int = 1

    def __post_init__(self):
        check_real(self.gamma, "ExponentialDecay: gamma")
        check_integer(self.after, "ExponentialDecay: after", 0)

    def factor(self, epoch: int, step: int) -> float:
        return self.gamma ** max(0, epoch + 1 - self.after)


@schedule
@dataclass(frozen=True)
class Cosine(Schedule):
    """From 1 down to `low` along half a cosine in `steps` optimizer steps, then `low` (Loshchilov & Hutter 2017, eq. 5).

    low + (1 - low) (1 + cos(pi step / steps)) / 2, without restarts.

    Parameters
    ----------
    steps : int
        Optimizer steps, not epochs.
    low : float

    Raises
    ------
    TypeError, ValueError
        If `steps` is not a positive integer, or `low` not a finite number.

    References
    ----------
    I. Loshchilov, F. Hutter, "SGDR: stochastic gradient descent with warm restarts", ICLR 2017, equation 5.

    Examples
    --------
    >>> [round(Cosine(4).factor(0, step), 3) for step in range(6)]
    [1.0, 0.854, 0.5, 0.146, 0.0, 0.0]
    """

    steps: int
    low: float = 0.0

    def __post_init__(self):
        check_integer(self.steps, "Cosine: steps", 1)
        check_real(self.low, "Cosine: low")

    def factor(self, epoch: int, step: int) -> float:
        return self.low + (1.0 - self.low) * 0.5 * (1.0 + math.cos(math.pi * min(step / self.steps, 1.0)))


@schedule
@dataclass(frozen=True)
class OneCycle(Schedule):
    """From 1 / div_factor up to 1 and down to 1 / (div_factor final_div_factor), along half a cosine each, in `steps` steps.

    `torch.optim.lr_scheduler.OneCycleLR` without its cycle of the momentum; the optimizer's learning rate is the largest.

    Parameters
    ----------
    steps : int
        Optimizer steps of the whole cycle, not epochs; the rate stays where it ends.
    pct_start : float
        Share of the steps that rise, in [0, 1].
    div_factor, final_div_factor : float
        Positive.

    Raises
    ------
    TypeError, ValueError
        If an option is of the wrong type or out of range.

    References
    ----------
    L. N. Smith, N. Topin, "Super-convergence: very fast training of neural networks using large learning rates" (2018).

    Examples
    --------
    >>> [round(OneCycle(5, 0.6).factor(0, step), 3) for step in range(6)]
    [0.04, 0.52, 1.0, 0.5, 0.0, 0.0]
    """

    steps: int
    pct_start: float = 0.3
    div_factor: float = 25.0
    final_div_factor: float = 1e4

    def __post_init__(self):
        check_integer(self.steps, "OneCycle: steps", 1)
        if not 0 <= check_real(self.pct_start, "OneCycle: pct_start") <= 1:
            raise ValueError(f"OneCycle: pct_start must be in [0, 1], got {brief(self.pct_start)}")
        for name in ("div_factor", "final_div_factor"):
            if check_real(getattr(self, name), f"OneCycle: {name}") <= 0:
                raise ValueError(f"OneCycle: {name} must be positive, got {brief(getattr(self, name))}")

    def factor(self, epoch: int, step: int) -> float:
        step, last = min(step, self.steps - 1), self.steps - 1
        top, start = self.pct_start * self.steps - 1.0, 1.0 / self.div_factor
        if step <= top:
            return _half_cosine(start, 1.0, step / top if top > 0 else 1.0)
        return _half_cosine(1.0, start / self.final_div_factor, (step - top) / (last - top))


def _half_cosine(start, end, share):
    return end + (start - end) / 2.0 * (math.cos(math.pi * share) + 1.0)


@schedule
@dataclass(frozen=True)
class ReduceOnPlateau(Schedule):
    """gamma ** (times that a loss stopped getting better): `torch.optim.lr_scheduler.ReduceLROnPlateau` with mode "min".

    A value is better if it is below (1 - threshold) times the best. After more than `patience` epochs without a better one the rate
    falls, and for `cooldown` epochs none is counted. Epochs are those of one `fit`, also of one that was resumed.

    Parameters
    ----------
    gamma : float
        In (0, 1).
    patience, cooldown : int
        Epochs.
    threshold : float
        In [0, 1).
    low : float
        Least factor.
    monitor : str
        Entry of the history, such as "val_loss", which needs validation data, or "loss".

    Raises
    ------
    TypeError, ValueError
        If an option is of the wrong type or out of range.

    Examples
    --------
    >>> losses = [{"val_loss": loss} for loss in (3.0, 2.0, 2.5, 2.4)]
    >>> ReduceOnPlateau(0.5, patience=1).given(losses).factor(4, 0)
    0.5
    """

    gamma: float = 0.1
    patience: int = 10
    threshold: float = 1e-4
    cooldown: int = 0
    low: float = 0.0
    monitor: str = "val_loss"

    def __post_init__(self):
        for name, least, below in (("gamma", 0, 1), ("threshold", 0, 1), ("low", 0, math.inf)):
            value = check_real(getattr(self, name), f"ReduceOnPlateau: {name}")
            if not least <= value < below or (name == "gamma" and value == 0):
                raise ValueError(f"ReduceOnPlateau: {name} is out of range, got {brief(value)}")
        for name in ("patience", "cooldown"):
            check_integer(getattr(self, name), f"ReduceOnPlateau: {name}", 0)
        if not isinstance(self.monitor, str):
            raise TypeError(f"ReduceOnPlateau: monitor must be a name such as 'val_loss', got {brief(self.monitor)}")

    def given(self, records: Any) -> Any:
        factor, best, bad, cooling = 1.0, math.inf, 0, 0
        for record in records:
            if self.monitor not in record:
                raise ValueError(
                    f"ReduceOnPlateau: monitor must be an entry of the history, {', '.join(record)}, got {brief(self.monitor)}"
                )
            value = record[self.monitor]
            if value < best * (1.0 - self.threshold):
                best, bad = value, 0
            else:
                bad += 1
            if cooling > 0:
                cooling, bad = cooling - 1, 0
            if bad > self.patience:
                factor, cooling, bad = max(factor * self.gamma, self.low), self.cooldown, 0
        return _Constant(factor)


@dataclass(frozen=True)
class _Constant(Schedule):
    value: float

    def factor(self, epoch: int, step: int) -> float:
        return self.value


@schedule
@dataclass(frozen=True)
class WarmUp(Schedule):
    """From 1 / steps up to 1 in `steps` optimizer steps, times another schedule, which counts from the start.

    Parameters
    ----------
    steps : int
        Optimizer steps, not epochs.
    then : Schedule

    Raises
    ------
    TypeError, ValueError
        If `steps` is not a positive integer, or `then` not a schedule.

    Examples
    --------
    >>> [WarmUp(4).factor(0, step) for step in range(5)]
    [0.25, 0.5, 0.75, 1.0, 1.0]
    """

    steps: int
    then: Schedule = Schedule()

    def __post_init__(self):
        check_integer(self.steps, "WarmUp: steps", 1)
        if not isinstance(self.then, Schedule):
            raise TypeError(f"WarmUp: then must be a numbarnn.optim.Schedule, got {brief(self.then)}")

    def factor(self, epoch: int, step: int) -> float:
        return min((step + 1) / self.steps, 1.0) * self.then.factor(epoch, step)

    def given(self, records: Any) -> Any:
        return dataclasses.replace(self, then=self.then.given(records))

    @property
    def monitor(self) -> Any:
        return self.then.monitor
