"""Norms of flat gradients, and their clipping."""

import math

import numpy as np

from numbarnn.checks import check_flat, check_real
from numbarnn.kernels.cpu import optim as kernels


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
