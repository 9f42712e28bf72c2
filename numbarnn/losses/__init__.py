"""Losses: value and gradient with respect to a model's outputs, in one pass.

A loss is a frozen record; `LOSSES` finds it by name. All take *logits* where probabilities are meant: the softmax is
part of the loss. Rows past a sample's length never count.
"""

from numbarnn.losses.base import LOSSES, Loss, loss, make_loss
from numbarnn.losses.binary import BinaryCrossEntropy
from numbarnn.losses.cross_entropy import SoftmaxCrossEntropy
from numbarnn.losses.ctc import CTC
from numbarnn.losses.distribution_loss import DistributionLoss
from numbarnn.losses.distributions import Gaussian, NegativeBinomial, Quantile
from numbarnn.losses.pointwise import PointwiseLoss
from numbarnn.losses.regression import Huber, MeanAbsoluteError, MeanSquaredError
from numbarnn.losses.segments import SegmentCrossEntropy
from numbarnn.words import module_attributes

__all__ = [
    "CTC",
    "LOSSES",
    "BinaryCrossEntropy",
    "DistributionLoss",
    "Gaussian",
    "Huber",
    "Loss",
    "MeanAbsoluteError",
    "MeanSquaredError",
    "NegativeBinomial",
    "PointwiseLoss",
    "Quantile",
    "SegmentCrossEntropy",
    "SoftmaxCrossEntropy",
    "loss",
    "make_loss",
]

__getattr__ = module_attributes(__name__, __all__)
