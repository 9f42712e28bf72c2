"""Optimizers; lr in formulas is the learning rate.

An optimizer is a frozen record of hyper-parameters. It has no state: `arrays` says how many arrays of the size of the
parameters it needs, and `update` changes parameters and arrays in place.
"""

import dataclasses
import functools
import math
from dataclasses import asdict, dataclass, fields
from typing import Any, NamedTuple, TypeVar

import numpy as np

from numbarnn import parallel
from numbarnn.checks import brief, check_flag, check_flat, check_integer, check_real
from numbarnn.errors import ShapeError
from numbarnn.kernels.cpu import optim as kernels
from numbarnn.words import Suggesting, did_you_mean

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


_O = TypeVar("_O", bound="Optimizer")


def optimizer(cls: type[_O]) -> type[_O]:
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
class Optimizer(Suggesting):
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
                    raise TypeError(f"{type(self).__name__}: {f.name} must be True or False, got {brief(value)}")
                continue
            if isinstance(value, bool) or not isinstance(value, (int, float, np.number)) or not math.isfinite(value):
                raise TypeError(f"{type(self).__name__}: {f.name} must be a finite number, got {brief(value)}")
            if value < 0:
                raise ValueError(f"{type(self).__name__}: {f.name} must not be negative, got {brief(value)}")
        for name in ("momentum", "alpha"):
            if getattr(self, name, 0) >= 1:
                raise ValueError(f"{type(self).__name__}: {name} must be below 1, got {brief(getattr(self, name))}")

    def start(self, size: int, dtype: Any) -> list[np.ndarray]:
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

    def update(
        self, weights: Any, gradient: Any, arrays: Any, step: int, learning_rate: float, n_threads: int = 1
    ) -> None:
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

    def coefficients(self, step: int, learning_rate: float) -> tuple[Any, ...]:
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

    def config(self) -> dict[str, Any]:
        """Return the name and the hyper-parameters as JSON values."""
        return {"type": type(self).__name__.lower(), **asdict(self)}


def _betas(owner, value):
    """Return an option `betas` as a tuple of two floats."""
    if not isinstance(value, (tuple, list)) or len(value) != 2:
        raise TypeError(f"{owner}: betas must be two numbers, such as (0.9, 0.999), got {brief(value)}")
    betas = tuple(check_real(beta, f"{owner}: betas[{i}]") for i, beta in enumerate(value))
    if not all(0 <= beta < 1 for beta in betas):
        raise ValueError(f"{owner}: betas must lie in [0, 1), got {brief(value)}")
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
        check_flag("SGD", "nesterov", self.nesterov)
        if self.nesterov and self.momentum == 0:
            raise ValueError("SGD: nesterov=True needs a momentum above 0, for example 0.9")

    def coefficients(self, step: Any, learning_rate: Any) -> Any:
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

    def coefficients(self, step: Any, learning_rate: Any) -> Any:
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

    def start(self, size: Any, dtype: Any) -> Any:
        return [np.full(size, self.initial_accumulator_value, dtype)]

    def coefficients(self, step: Any, learning_rate: Any) -> Any:
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

    def coefficients(self, step: Any, learning_rate: Any) -> Any:
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
    """Adam with decoupled weight decay, as `torch.optim.AdamW`: ``w *= 1 - lr weight_decay``, then Adam's step.

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

    def coefficients(self, step: Any, learning_rate: Any) -> Any:
        return self._coefficients(step, learning_rate, 0.0, self.weight_decay)


def make_optimizer(optimizer: Any) -> Optimizer:
    """Return an optimizer for an argument: an optimizer, or a name of `OPTIMIZERS` with its default hyper-parameters.

    Parameters
    ----------
    optimizer : Optimizer or str
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
    if isinstance(optimizer, Optimizer):
        return optimizer
    if isinstance(optimizer, str) and optimizer.lower() in OPTIMIZERS:
        return OPTIMIZERS[optimizer.lower()]()
    hint = did_you_mean(optimizer, OPTIMIZERS)
    raise ValueError(
        f"optimizer must be one of {', '.join(OPTIMIZERS)} or an optimizer object, got {brief(optimizer)}{hint}"
    )


def optimizer_with(optimizer: Any, learning_rate: Any) -> Optimizer:
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
