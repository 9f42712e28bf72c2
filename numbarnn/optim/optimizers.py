"""Optimizers; lr in formulas is the learning rate.

An optimizer is a frozen record of hyper-parameters. It has no state: `arrays` says how many arrays of the size of the
parameters it needs, and `update` changes parameters and arrays in place.
"""

import dataclasses
import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from numbarnn.checks import brief, check_flag
from numbarnn.optim.base import OPTIMIZERS, Optimizer, optimizer
from numbarnn.words import did_you_mean


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
        Whether s - m^2, an estimate of the variance, is used instead of s, with m = alpha m + (1 - alpha) g. On the CPU.

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
        Whether the largest mean of squares so far is used instead of the last (S. J. Reddi, S. Kale, S. Kumar, ICLR 2018). On the
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
