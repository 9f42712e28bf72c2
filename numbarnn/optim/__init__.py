"""Optimizers, learning-rate schedules, gradient clipping and averages of weights."""

from numbarnn.optim.averages import EMA, blend, make_average
from numbarnn.optim.base import OPTIMIZERS, Optimizer, optimizer
from numbarnn.optim.gradients import clip_by_norm, clip_by_value, norm
from numbarnn.optim.optimizers import SGD, Adagrad, Adam, AdamW, RMSprop, StepRecord, make_optimizer, optimizer_with
from numbarnn.optim.schedules import (
    SCHEDULES,
    Cosine,
    ExponentialDecay,
    MultiStep,
    OneCycle,
    ReduceOnPlateau,
    Schedule,
    StepDecay,
    WarmUp,
    schedule,
)
from numbarnn.words import module_attributes

__all__ = [
    "EMA",
    "OPTIMIZERS",
    "SCHEDULES",
    "SGD",
    "Adagrad",
    "Adam",
    "AdamW",
    "Cosine",
    "ExponentialDecay",
    "MultiStep",
    "OneCycle",
    "Optimizer",
    "RMSprop",
    "ReduceOnPlateau",
    "Schedule",
    "StepDecay",
    "StepRecord",
    "WarmUp",
    "blend",
    "clip_by_norm",
    "clip_by_value",
    "make_average",
    "make_optimizer",
    "norm",
    "optimizer",
    "optimizer_with",
    "schedule",
]

__getattr__ = module_attributes(__name__, __all__)
