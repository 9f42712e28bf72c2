"""What all optimizers have: hyper-parameters and their checks, the registry, and the update on the CPU."""

import functools
import math
from dataclasses import asdict, dataclass, fields
from typing import Any, TypeVar

import numpy as np

from numbarnn import parallel
from numbarnn.checks import brief, check_flat, check_integer, check_real
from numbarnn.errors import ShapeError
from numbarnn.kernels.cpu import optim as kernels
from numbarnn.words import Suggesting

# Cost of a step for one weight in multiply-adds: 2 ns where a core does 40 a ns.
COST = 80.0


OPTIMIZERS: dict[str, type["Optimizer"]] = {}
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
        coefficients = self.coefficients_in(weights.dtype, step, learning_rate)
        cuts = parallel.shares(weights.size, weights.size * COST, parallel.check_threads(n_threads))
        kernel = functools.partial(getattr(kernels, self.kernel), weights, gradient, *arrays, coefficients)
        parallel.run([functools.partial(kernel, *cut) for cut in cuts])

    def coefficients_in(self, dtype: Any, step: int, learning_rate: float) -> np.ndarray:
        """Return the coefficients of a step as the kernel takes them.

        Parameters
        ----------
        dtype : numpy.dtype
            Of the weights.
        step, learning_rate
            As of `coefficients`.

        Returns
        -------
        array
        """
        with np.errstate(over="ignore"):  # a rate beyond float32 makes infinite weights, which the caller finds
            return np.array(self.coefficients(step, learning_rate), np.float64).astype(dtype)

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
