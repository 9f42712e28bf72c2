"""Defaults of training where the user says nothing: one set of them for models, trainers, estimators and forecasters.

Language models have those of char-rnn instead, which `numbarnn.LanguageModel` documents.
"""

import math

import numpy as np

from numbarnn.checks import brief
from numbarnn.optim import EMA, make_average

# Optimizer steps that training takes, the epochs that it takes at most for them, and the learning rate of Adam. Where every
# time step has a target, an epoch has that many times more of them, and nets learn them by heart sooner. Chosen by the studies
# `benchmarks/label_defaults.py` and `benchmarks/forecast_defaults.py`.
UPDATES, MOST_EPOCHS, MOST_EPOCHS_OF_STEPS, RATE = 3000, 200, 50, 3e-3
# The average of the weights that estimators end with, of trainings that are long enough for it to forget where they began
# (`benchmarks/label_grid.py`: "average .98").
DECAY, LEAST_STEPS = 0.98, 250
# Far more than any training takes; a number beyond is a typing error, and training would not end.
LIMIT = 10**9


def check_epochs(epochs) -> None:
    """Raise TypeError or ValueError unless an argument is a number of epochs, or None."""
    whole = isinstance(epochs, (int, np.integer)) and not isinstance(epochs, bool)
    if epochs is not None and not (whole and 0 <= epochs <= LIMIT):
        error = ValueError if whole else TypeError
        raise error(f"epochs must be a number of epochs, 0 to {LIMIT:,}, or None, got {brief(epochs)}")


def epochs_of(source, accumulate: int, each_step: bool) -> int:
    """Return how many epochs of a source training takes where nothing is said."""
    try:
        count = len(source)
    except TypeError:  # also of what hands on the length of another source
        raise ValueError(
            f"epochs must be given with a source that does not say how many batches an epoch has, got {brief(source)}; pass "
            "epochs=10, say, or give it a __len__"
        ) from None
    return default_epochs(max(1, math.ceil(count / accumulate)), each_step)


def default_epochs(updates: int, each_step: bool = False) -> int:
    """Return how many epochs of some optimizer steps training takes, by whether every time step has a target of its own."""
    return min(MOST_EPOCHS_OF_STEPS if each_step else MOST_EPOCHS, math.ceil(UPDATES / updates))


def default_rate(optimizer, learning_rate: float | None) -> float | None:
    """Return the learning rate for arguments `optimizer` and `learning_rate`; None: the optimizer's own."""
    adam = isinstance(optimizer, str) and optimizer.lower() in ("adam", "adamw")  # whose steps are those of Adam
    return RATE if adam and learning_rate is None else learning_rate


def default_average(average, steps: int) -> EMA | None:
    """Return the average for an argument `average` of estimators, which may be "auto", and a number of optimizer steps.

    Raises
    ------
    TypeError, ValueError
        If it is not an average.
    """
    if isinstance(average, str):
        if average != "auto":
            raise ValueError(f"average must be 'auto', None, an EMA or its decay in [0, 1), got {brief(average)}")
        return EMA(DECAY) if steps >= LEAST_STEPS else None
    return make_average(average)
