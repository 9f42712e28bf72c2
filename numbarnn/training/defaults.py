"""Defaults of training where the user says nothing: one set of them for models, trainers, estimators and forecasters.

Language models have those of char-rnn instead, which `numbarnn.LanguageModel` documents.
"""

import math

# Optimizer steps that training takes, the epochs that it takes at most for them, and the learning rate of Adam. Where every
# time step has a target, an epoch has that many times more of them, and nets learn them by heart sooner. Chosen by the studies
# `benchmarks/label_defaults.py` and `benchmarks/forecast_defaults.py`.
UPDATES, MOST_EPOCHS, MOST_EPOCHS_OF_STEPS, RATE = 3000, 200, 50, 3e-3


def default_epochs(updates: int, each_step: bool = False) -> int:
    """Return how many epochs of some optimizer steps training takes, by whether every time step has a target of its own."""
    return min(MOST_EPOCHS_OF_STEPS if each_step else MOST_EPOCHS, math.ceil(UPDATES / updates))


def default_rate(optimizer, learning_rate: float | None) -> float | None:
    """Return the learning rate for arguments `optimizer` and `learning_rate`; None: the optimizer's own."""
    adam = isinstance(optimizer, str) and optimizer.lower() in ("adam", "adamw")  # whose steps are those of Adam
    return RATE if adam and learning_rate is None else learning_rate
