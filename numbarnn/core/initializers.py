"""Initial weights by name.

A scheme says how the four kinds of weights of a recurrent layer, and a dense layer's, are drawn:

==================  =====================================================  =============================================
name                weights                                                biases
==================  =====================================================  =============================================
``"keras"``         input: Glorot uniform; recurrent: orthogonal           zero
``"torch"``         uniform(-k, k), k = 1 / sqrt(hidden_size), or          uniform(-k, k)
                    1 / sqrt(in_features) in a dense layer
``"orthogonal"``    input and recurrent: orthogonal, gate by gate          zero
``uniform(a)``      uniform(-a, a)                                         uniform(-a, a)
==================  =====================================================  =============================================

Glorot uniform is uniform(-a, a) with a = sqrt(6 / (fan_in + fan_out)) (Glorot & Bengio 2010, eq. 16), fan_out
counting all gates, as Keras does; orthogonal matrices come from the QR decomposition of a normal one, signs made
uniform (Saxe et al. 2014). Diagonal (per-unit) weights (IndRNN's u) are uniform(0, 1), as in IndRNN's paper, except under
``uniform(a)``; peepholes are drawn like biases.
"""

import re
from dataclasses import dataclass

import numpy as np

from numbarnn.checks import brief


def uniform(low: float, high: float):
    """Return an initialiser uniform in [low, high)."""
    return lambda generator, shape: generator.uniform(low, high, shape)


def zeros(generator, shape):
    """Initialise with zeros."""
    return np.zeros(shape)


def glorot_uniform(generator, shape):
    """Initialise a (rows, columns) matrix by Glorot & Bengio 2010, eq. 16."""
    limit = np.sqrt(6.0 / (shape[0] + shape[1]))
    return generator.uniform(-limit, limit, shape)


def orthogonal(generator, shape):
    """Initialise a (rows, columns) matrix with orthonormal rows or columns, whichever are fewer."""
    rows, columns = shape
    normal = generator.standard_normal((max(rows, columns), min(rows, columns)))
    q, r = np.linalg.qr(normal)
    q *= np.sign(np.where(np.diag(r) == 0, 1.0, np.diag(r)))
    return q if rows >= columns else q.T


def by_gate(init, gates: int):
    """Return an initialiser that draws the row blocks of a matrix one by one."""

    def blocks(generator, shape):
        rows = shape[0] // gates
        return np.concatenate([init(generator, (rows, *shape[1:])) for _ in range(gates)])

    return blocks


@dataclass(frozen=True)
class Scheme:
    """Initialisers for each kind of weight."""

    input: object
    recurrent: object
    bias: object
    unit: object


def scheme(name: str, fan: int, gates: int = 1) -> Scheme:
    """Return the scheme of a name: "keras", "torch", "orthogonal" or "uniform(a)".

    Parameters
    ----------
    name : str
    fan : int
        hidden_size of a recurrent layer, in_features of a dense one; only "torch" uses it.
    gates : int
        Row blocks of a recurrent layer's matrices.

    Raises
    ------
    ValueError
        If the name is none of the four.
    """
    zero_to_one, given = uniform(0.0, 1.0), name
    name = name if isinstance(name, str) else ""  # an array has no truth value
    if name == "keras":
        return Scheme(glorot_uniform, orthogonal, zeros, zero_to_one)
    if name == "torch":
        limit = 1.0 / np.sqrt(max(fan, 1))
        return Scheme(uniform(-limit, limit), uniform(-limit, limit), uniform(-limit, limit), zero_to_one)
    if name == "orthogonal":
        return Scheme(by_gate(orthogonal, gates), by_gate(orthogonal, gates), zeros, zero_to_one)
    match = re.fullmatch(r"uniform\(\s*([0-9.eE+-]+)\s*\)", name)
    try:
        limit = float(match.group(1))
        if not 0 <= limit < np.inf:
            raise ValueError
    except (AttributeError, ValueError):
        raise ValueError(
            f"init must be 'keras', 'torch', 'orthogonal' or 'uniform(a)' with a finite number a >= 0, got {brief(given)}"
        ) from None
    return Scheme(*[uniform(-limit, limit)] * 4)
