"""Optimizers, gradient clipping and learning-rate schedules; lr in formulas is the learning rate.

An optimizer is a frozen record of hyper-parameters. It has no state: `arrays` says how many arrays of the size of the
parameters it needs, and `update` changes parameters and arrays in place.
"""

import bisect
import dataclasses
import functools
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import NamedTuple

import numpy as np

from numbarnn import parallel
from numbarnn.checks import check_flat, check_integer, check_real
from numbarnn.errors import ShapeError
from numbarnn.kernels.cpu import optim as kernels

# Cost of a step for one weight in multiply-adds: 2 ns where a core does 40 a ns.
COST = 80.0


OPTIMIZERS: dict[str, type["Optimizer"]] = {}


class StepRecord(NamedTuple):
    """What an optimizer step was like.

    Attributes
    ----------
    loss, norm, clipped : float
        Of its batch; norm of the gradient before and after clipping.
    ok : bool
        Whether loss, gradient and new weights were finite; else nothing was changed.
    ratio : float or None
        Norm of the update / norm of the weights, where it was measured.
    """

    loss: float
    norm: float
    clipped: float
    ok: bool
    ratio: float | None


def optimizer(cls: type["Optimizer"]) -> type["Optimizer"]:
    """Enter an optimizer class into `OPTIMIZERS` by its class name in lower case.

    Parameters
    ----------
    cls : type
        A frozen dataclass derived from `Optimizer`.

    Returns
    -------
    type
        The class, so that this is a decorator.
    """
    OPTIMIZERS[cls.__name__.lower()] = cls
    return cls


@dataclass(frozen=True)
class Optimizer:
    """Base of the optimizers.

    Attributes
    ----------
    learning_rate : float
        Before the schedule's factor.

    Raises
    ------
    TypeError
        If a hyper-parameter is not a finite number, or a flag not True or False.
    ValueError
        If a hyper-parameter is negative, or a decay is not below 1.
    """

    learning_rate: float

    arrays = 0
    kernel = ""  # the name of the function of `numbarnn.kernels.cpu.optim`, and of that for CUDA

    def __post_init__(self):
        for f in fields(self):
            value = getattr(self, f.name)
            if f.name == "betas":
                object.__setattr__(self, "betas", _betas(type(self).__name__, value))
                continue
            if isinstance(f.default, bool):
                if not isinstance(value, bool):
                    raise TypeError(f"{type(self).__name__}: {f.name} must be True or False, got {value!r}")
                continue
            if isinstance(value, bool) or not isinstance(value, (int, float, np.number)) or not math.isfinite(value):
                raise TypeError(f"{type(self).__name__}: {f.name} must be a finite number, got {value!r}")
            if value < 0:
                raise ValueError(f"{type(self).__name__}: {f.name} must not be negative, got {value!r}")
        for name in ("momentum", "alpha"):
            if getattr(self, name, 0) >= 1:
                raise ValueError(f"{type(self).__name__}: {name} must be below 1, got {getattr(self, name)!r}")

    def start(self, size: int, dtype) -> list[np.ndarray]:
        """Return the arrays as they are before the first step.

        Parameters
        ----------
        size : int
            Number of weights.
        dtype : numpy.dtype

        Returns
        -------
        list of (size,) arrays
        """
        return [np.zeros(size, dtype) for _ in range(self.arrays)]

    def update(self, weights, gradient, arrays, step: int, learning_rate: float, n_threads: int = 1) -> None:
        """Change `weights` and `arrays` in place by one step.

        Parameters
        ----------
        weights, gradient : (n,) arrays of one float dtype
            C-contiguous.
        arrays : list of (n,) arrays
            From `start`.
        step : int
            1 for the first step.
        learning_rate : float
            Of this step.
        n_threads : int, optional
            None: as many as there are processors. Results do not depend on it.

        Raises
        ------
        ShapeError, TypeError, ValueError
            If sizes or dtypes differ, an array is not C-contiguous or read-only, or a value is out of range; nothing is changed
            then.
        """
        check_flat(weights, "weights")
        check_flat(gradient, "gradient", weights, writable=False)
        if len(arrays) != self.arrays:
            raise ShapeError(
                f"arrays of {type(self).__name__} must be {self.arrays}, as start returns them, got {len(arrays)}"
            )
        for number, array in enumerate(arrays):
            check_flat(array, f"arrays[{number}]", weights)
        step, learning_rate = check_integer(step, "step", 1), check_real(learning_rate, "learning_rate")
        with np.errstate(over="ignore"):  # a rate beyond float32 makes infinite weights, which the caller finds
            coefficients = np.array(self.coefficients(step, learning_rate), np.float64).astype(weights.dtype)
        cuts = parallel.shares(weights.size, weights.size * COST, parallel.check_threads(n_threads))
        kernel = functools.partial(getattr(kernels, self.kernel), weights, gradient, *arrays, coefficients)
        parallel.run([functools.partial(kernel, *cut) for cut in cuts])

    def coefficients(self, step: int, learning_rate: float) -> tuple:
        """Return the coefficients of a step in the order in which the kernel takes them.

        Parameters
        ----------
        step : int
            1 for the first step.
        learning_rate : float

        Raises
        ------
        NotImplementedError
            Of the base class.
        """
        raise NotImplementedError

    def config(self) -> dict:
        """Return the name and the hyper-parameters as JSON values."""
        return {"type": type(self).__name__.lower(), **asdict(self)}


def _betas(owner, value):
    """Return an option `betas` as a tuple of two floats."""
    if not isinstance(value, (tuple, list)) or len(value) != 2:
        raise TypeError(f"{owner}: betas must be two numbers, such as (0.9, 0.999), got {value!r}")
    betas = tuple(check_real(beta, f"{owner}: betas[{i}]") for i, beta in enumerate(value))
    if not all(0 <= beta < 1 for beta in betas):
        raise ValueError(f"{owner}: betas must lie in [0, 1), got {value!r}")
    return betas


@optimizer
@dataclass(frozen=True)
class SGD(Optimizer):
    """Stochastic gradient descent with momentum, as `torch.optim.SGD`: v = momentum v + g; w -= lr v.

    With Nesterov's momentum w -= lr (g + momentum v): the gradient as if taken where the momentum leads.

    Parameters
    ----------
    learning_rate, momentum, weight_decay : float
        weight_decay adds weight_decay * w to the gradient.
    nesterov : bool
        Needs a momentum.

    Raises
    ------
    TypeError, ValueError
        As `Optimizer`; ValueError if `nesterov` has no momentum.

    References
    ----------
    I. Sutskever, J. Martens, G. Dahl, G. Hinton, "On the importance of initialization and momentum in deep learning", ICML 2013,
    section 2 (the form of Y. Nesterov's method that torch has).

    Examples
    --------
    >>> weights, gradient, sgd = np.array([1.0]), np.array([0.5]), SGD(momentum=0.9)
    >>> arrays = sgd.start(1, weights.dtype)
    >>> for step in (1, 2):
    ...     sgd.update(weights, gradient, arrays, step, learning_rate=0.1)
    >>> weights.round(4).tolist()  # v = 0.5, then 0.95
    [0.855]
    """

    learning_rate: float = 0.01
    momentum: float = 0.0
    weight_decay: float = 0.0
    nesterov: bool = False

    arrays, kernel = 1, "sgd"

    def __post_init__(self):
        super().__post_init__()
        if self.nesterov and self.momentum == 0:
            raise ValueError("SGD: nesterov=True needs a momentum above 0, for example 0.9")

    def coefficients(self, step, learning_rate):
        return learning_rate, self.momentum, self.weight_decay, self.nesterov


@optimizer
@dataclass(frozen=True)
class RMSprop(Optimizer):
    """RMSprop, as `torch.optim.RMSprop`: s = alpha s + (1 - alpha) g^2; w -= lr g / (sqrt(s) + eps).

    Parameters
    ----------
    learning_rate, alpha, eps, weight_decay : float
    centered : bool
        Whether s - m^2, an estimate of the variance, stands in place of s, with m = alpha m + (1 - alpha) g. On the CPU.

    References
    ----------
    T. Tieleman, G. Hinton, "Lecture 6.5 - RMSprop", Coursera: Neural Networks for Machine Learning (2012).
    """

    learning_rate: float = 0.002
    alpha: float = 0.95
    eps: float = 1e-8
    weight_decay: float = 0.0
    centered: bool = False

    arrays = property(lambda self: 2 if self.centered else 1)
    kernel = property(lambda self: "centered_rmsprop" if self.centered else "rmsprop")

    def coefficients(self, step, learning_rate):
        return learning_rate, self.alpha, 1.0 - self.alpha, self.eps, self.weight_decay


@optimizer
@dataclass(frozen=True)
class Adagrad(Optimizer):
    """Adagrad, as `torch.optim.Adagrad`: s += g^2; w -= lr / (1 + (step - 1) lr_decay) g / (sqrt(s) + eps).

    Parameters
    ----------
    learning_rate, lr_decay, weight_decay, eps : float
    initial_accumulator_value : float
        s before the first step.

    References
    ----------
    J. Duchi, E. Hazan, Y. Singer, "Adaptive subgradient methods for online learning and stochastic optimization", JMLR 12 (2011),
    2121-2159.
    """

    learning_rate: float = 0.01
    lr_decay: float = 0.0
    weight_decay: float = 0.0
    initial_accumulator_value: float = 0.0
    eps: float = 1e-10

    arrays, kernel = 1, "rmsprop"

    def start(self, size, dtype):
        return [np.full(size, self.initial_accumulator_value, dtype)]

    def coefficients(self, step, learning_rate):
        return learning_rate / (1.0 + (step - 1) * self.lr_decay), 1.0, 1.0, self.eps, self.weight_decay


@optimizer
@dataclass(frozen=True)
class Adam(Optimizer):
    """Adam, as `torch.optim.Adam`; weight_decay adds weight_decay * w to the gradient (for the decoupled form see `AdamW`).

    Parameters
    ----------
    learning_rate, eps, weight_decay : float
    betas : (float, float)
        Decay of the means of the gradient and of its square, each in [0, 1).
    amsgrad : bool
        Whether the largest mean of squares so far stands in place of the last (S. J. Reddi, S. Kale, S. Kumar, ICLR 2018). On the
        CPU.

    References
    ----------
    D. P. Kingma, J. Ba, "Adam: a method for stochastic optimization", ICLR 2015, algorithm 1.

    Examples
    --------
    >>> weights, gradient, adam = np.array([1.0]), np.array([0.5]), Adam()
    >>> adam.update(weights, gradient, adam.start(1, weights.dtype), step=1, learning_rate=0.1)
    >>> weights.round(4).tolist()  # the first step is of the length of the rate
    [0.9]
    """

    learning_rate: float = 0.001
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    weight_decay: float = 0.0
    amsgrad: bool = False

    arrays = property(lambda self: 3 if self.amsgrad else 2)
    kernel = property(lambda self: "amsgrad" if self.amsgrad else "adam")

    def coefficients(self, step, learning_rate):
        return self._coefficients(step, learning_rate, self.weight_decay, 0.0)

    def _coefficients(self, step, learning_rate, l2, decay):
        beta1, beta2 = self.betas
        return (
            1.0 - learning_rate * decay, l2, beta1, 1.0 - beta1, beta2, 1.0 - beta2,
            learning_rate / (1.0 - beta1**step), math.sqrt(1.0 - beta2**step), self.eps,
        )  # fmt: skip


@optimizer
@dataclass(frozen=True)
class AdamW(Adam):
    """Adam with decoupled weight decay, as `torch.optim.AdamW`: w *= 1 - lr weight_decay, then Adam's step.

    Parameters
    ----------
    learning_rate, eps, weight_decay : float
    betas : (float, float)
        Decay of the means of the gradient and of its square, each in [0, 1).
    amsgrad : bool
        As of `Adam`.

    References
    ----------
    I. Loshchilov, F. Hutter, "Decoupled weight decay regularization", ICLR 2019, algorithm 2.
    """

    weight_decay: float = 0.01

    def coefficients(self, step, learning_rate):
        return self._coefficients(step, learning_rate, 0.0, self.weight_decay)


def make_optimizer(value) -> Optimizer:
    """Return an optimizer for an argument: an optimizer, or a name of `OPTIMIZERS` with its default hyper-parameters.

    Parameters
    ----------
    value : Optimizer or str
        Case does not count in a name.

    Returns
    -------
    Optimizer

    Raises
    ------
    ValueError
        If it is neither.

    Examples
    --------
    >>> make_optimizer("sgd").learning_rate
    0.01
    """
    if isinstance(value, Optimizer):
        return value
    if isinstance(value, str) and value.lower() in OPTIMIZERS:
        return OPTIMIZERS[value.lower()]()
    raise ValueError(f"optimizer must be one of {', '.join(OPTIMIZERS)} or an optimizer object, got {value!r}")


def norm(gradient: np.ndarray) -> float:
    """Return the Euclidean norm of a flat gradient, summed in float64.

    Parameters
    ----------
    gradient : (n,) array of float32 or float64

    Returns
    -------
    float

    Raises
    ------
    ShapeError, TypeError, ValueError
        If it is not a flat, C-contiguous array of float32 or float64.

    Examples
    --------
    >>> norm(np.array([3.0, 4.0]))
    5.0
    """
    check_flat(gradient, "gradient", writable=False)
    return math.sqrt(kernels.sum_of_squares(gradient))


def clip_by_norm(gradient: np.ndarray, limit: float, length: float | None = None) -> None:
    """Scale a gradient in place to a norm of at most `limit`, as `torch.nn.utils.clip_grad_norm_`.

    A gradient with NaN stays as it is (torch makes all of it NaN); a step of `Trainer` refuses it.

    Parameters
    ----------
    gradient : (n,) array
    limit : float
    length : float, optional
        The norm, if it is known already.

    Raises
    ------
    ShapeError, TypeError, ValueError
        If the gradient is not a flat, C-contiguous, writable array of float32 or float64, or `limit` is not a number >= 0.

    References
    ----------
    R. Pascanu, T. Mikolov, Y. Bengio, "On the difficulty of training recurrent neural networks", ICML 2013, algorithm 1.

    Examples
    --------
    >>> gradient = np.array([3.0, 4.0])
    >>> clip_by_norm(gradient, 1.0)
    >>> gradient.round(3).tolist()
    [0.6, 0.8]
    """
    check_flat(gradient, "gradient")
    limit = check_real(limit, "limit", 0.0)
    length = norm(gradient) if length is None else check_real(length, "length", 0.0)
    factor = limit / (length + 1e-6)
    if factor < 1.0:
        kernels.scale(gradient, gradient.dtype.type(factor))


def clip_by_value(gradient: np.ndarray, limit: float) -> None:
    """Limit every entry of a gradient in place to [-limit, limit], as `torch.nn.utils.clip_grad_value_`; NaN stays NaN.

    Parameters
    ----------
    gradient : (n,) array of float32 or float64
    limit : float

    Raises
    ------
    ShapeError, TypeError, ValueError
        As `clip_by_norm`.

    Examples
    --------
    >>> gradient = np.array([0.5, -3.0])
    >>> clip_by_value(gradient, 1.0)
    >>> gradient.tolist()
    [0.5, -1.0]
    """
    check_flat(gradient, "gradient")
    limit = check_real(limit, "limit", 0.0)
    kernels.clamp(gradient, gradient.dtype.type(limit))


SCHEDULES: dict[str, type["Schedule"]] = {}


def schedule(cls: type["Schedule"]) -> type["Schedule"]:
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
class Schedule:
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


def _check_positive(owner, name):
    value = getattr(owner, name)
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 1:
        raise ValueError(f"{type(owner).__name__}: {name} must be a positive integer, got {value!r}")


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
    ValueError
        If `every` is not a positive integer.

    Examples
    --------
    >>> [StepDecay(2, 0.5).factor(epoch, 0) for epoch in range(5)]
    [1.0, 1.0, 0.5, 0.5, 0.25]
    """

    every: int
    gamma: float = 0.1

    def __post_init__(self):
        _check_positive(self, "every")

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
                f"MultiStep: milestones must be a sequence of epochs, such as [10, 20], got {self.milestones!r}"
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

    Examples
    --------
    >>> [ExponentialDecay(0.5, after=2).factor(epoch, 0) for epoch in range(4)]
    [1.0, 1.0, 0.5, 0.25]
    """

    gamma: float
    after: int = 1

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
    ValueError
        If `steps` is not a positive integer.

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
        _check_positive(self, "steps")

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
        _check_positive(self, "steps")
        if not 0 <= check_real(self.pct_start, "OneCycle: pct_start") <= 1:
            raise ValueError(f"OneCycle: pct_start must be in [0, 1], got {self.pct_start!r}")
        for name in ("div_factor", "final_div_factor"):
            if check_real(getattr(self, name), f"OneCycle: {name}") <= 0:
                raise ValueError(f"OneCycle: {name} must be positive, got {getattr(self, name)!r}")

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
                raise ValueError(f"ReduceOnPlateau: {name} is out of range, got {value!r}")
        for name in ("patience", "cooldown"):
            check_integer(getattr(self, name), f"ReduceOnPlateau: {name}", 0)
        if not isinstance(self.monitor, str):
            raise TypeError(f"ReduceOnPlateau: monitor must be a name such as 'val_loss', got {self.monitor!r}")

    def given(self, records):
        factor, best, bad, cooling = 1.0, math.inf, 0, 0
        for record in records:
            if self.monitor not in record:
                raise ValueError(
                    f"ReduceOnPlateau: monitor must be an entry of the history, {', '.join(record)}, got {self.monitor!r}"
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
    ValueError
        If `steps` is not a positive integer.

    Examples
    --------
    >>> [WarmUp(4).factor(0, step) for step in range(5)]
    [0.25, 0.5, 0.75, 1.0, 1.0]
    """

    steps: int
    then: Schedule = Schedule()

    def __post_init__(self):
        _check_positive(self, "steps")

    def factor(self, epoch: int, step: int) -> float:
        return min((step + 1) / self.steps, 1.0) * self.then.factor(epoch, step)

    def given(self, records):
        return dataclasses.replace(self, then=self.then.given(records))

    @property
    def monitor(self):
        return self.then.monitor


def optimizer_with(optimizer, learning_rate) -> Optimizer:
    """Return an optimizer by name or as given, with another learning rate unless that is None.

    Parameters
    ----------
    optimizer : Optimizer or str
        As for `make_optimizer`, whose errors this raises.
    learning_rate : float or None

    Returns
    -------
    Optimizer
    """
    optimizer = make_optimizer(optimizer)
    return optimizer if learning_rate is None else dataclasses.replace(optimizer, learning_rate=learning_rate)


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
            raise ValueError(f"EMA: decay must be a number in [0, 1), got {self.decay!r}")
        if not isinstance(self.final, bool):
            raise TypeError(f"EMA: final must be True or False, got {self.final!r}")


def make_average(value) -> EMA | None:
    """Return the average for an argument.

    Parameters
    ----------
    value : EMA, float or None
        An average, its decay, or none.

    Returns
    -------
    EMA or None

    Raises
    ------
    TypeError, ValueError
        If it is neither.
    """
    value = value.item() if isinstance(value, np.generic) else value
    return value if value is None or isinstance(value, EMA) else EMA(value)
