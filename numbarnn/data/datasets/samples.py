"""Samples of a task, and the generator that they are drawn with."""

from typing import NamedTuple

import numpy as np

from numbarnn.checks import brief


class Samples(NamedTuple):
    """Samples of a task.

    Attributes
    ----------
    x : (samples, time steps, features) float64, or (samples, time steps) int32 tokens
    y : targets
    lengths : (samples,) int64, or None where all are as long
    """

    x: np.ndarray
    y: np.ndarray
    lengths: np.ndarray | None


def generator_of(seed, **integers):
    """Return a generator; raise ValueError unless the seed and every (value, least) is an integer of at least that."""
    for name, (value, least) in {"seed": (seed, 0), **integers}.items():
        if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < least:
            raise ValueError(f"{name} must be an integer >= {least}, got {brief(value)}")
    return np.random.default_rng(seed)
