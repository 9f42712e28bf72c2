"""Defaults of training where the user says nothing, shared by what trains on samples (`benchmarks/label_defaults.py`)."""

import math

# Optimizer steps that training takes, the epochs that it takes at most for them, and the learning rate of Adam.
UPDATES, MOST_EPOCHS, RATE = 3000, 200, 3e-3


def default_epochs(batches: int) -> int:
    """Return how many epochs of some batches training takes."""
    return min(MOST_EPOCHS, math.ceil(UPDATES / batches))


def default_rate(optimizer, learning_rate: float | None) -> float | None:
    """Return the learning rate for arguments `optimizer` and `learning_rate`; None: the optimizer's own."""
    adam = isinstance(optimizer, str) and optimizer.lower() == "adam"
    return RATE if adam and learning_rate is None else learning_rate
