"""What the settings of estimators that choose losses and optimizers may be."""

import dataclasses

import numpy as np

from numbarnn.checks import brief, check_seed
from numbarnn.losses import (
    BinaryCrossEntropy,
    DistributionLoss,
    Loss,
    NegativeBinomial,
    PointwiseLoss,
    Quantile,
    SoftmaxCrossEntropy,
    make_loss,
)
from numbarnn.optim import Optimizer, optimizer_with
from numbarnn.training.defaults import default_rate

# Steps that do not count, in targets of the softmax cross-entropy.
IGNORED = -100


def optimizer_of(estimator) -> Optimizer:
    """Return the optimizer that an estimator's settings ask for.

    Raises
    ------
    TypeError, ValueError
        If they do not, or say the learning rate twice.
    """
    optimizer, rate = estimator.optimizer, estimator.learning_rate
    if isinstance(optimizer, Optimizer) and rate is not None:
        raise ValueError(
            f"learning_rate must be None where optimizer is an object, which has a learning rate of its own "
            f"({optimizer.learning_rate}), got {brief(rate)}; set it in one of the two"
        )
    return optimizer_with(optimizer, default_rate(optimizer, rate))


def seed_of(random_state) -> int:
    """Return a seed for an argument `random_state`, as scikit-learn reads it; raise ValueError where it is none."""
    if random_state is None:
        return int(np.random.default_rng().integers(2**31))
    if isinstance(random_state, np.random.RandomState):
        return int(random_state.randint(2**31 - 1))
    if isinstance(random_state, np.random.Generator):
        return int(random_state.integers(2**31))
    try:
        return check_seed(random_state)
    except ValueError:
        raise ValueError(
            f"random_state must be an integer >= 0, a RandomState, a Generator or None, got {brief(random_state)}"
        ) from None


def _found(loss) -> Loss | None:
    """Return a loss by name or as given, None where it is neither."""
    try:
        return make_loss(loss)
    except ValueError:
        return None


def loss_of_values(loss) -> PointwiseLoss:
    """Return the loss that an argument `loss` of a regressor names; raise ValueError unless it is one of values."""
    found = _found(loss)
    if not isinstance(found, PointwiseLoss) or found.output_activation is not None:
        raise ValueError(
            "loss must be one of values, such as 'mse', 'mae', 'huber', 'quantile', 'gaussian' or 'negative_binomial', got "
            f"{brief(loss)}"
        )
    return found


def fitted_loss(loss: PointwiseLoss, target: np.ndarray) -> PointwiseLoss:
    """Return a loss for the targets (samples, targets) of training: one of counts that has no scale takes their means."""
    if not (isinstance(loss, NegativeBinomial) and loss.scale == 1.0):
        return loss
    means = target.mean(axis=0)
    return dataclasses.replace(loss, scale=tuple(np.where(means > 0, means, 1.0).tolist()))


def predicted_values(loss: PointwiseLoss, outputs: np.ndarray) -> np.ndarray:
    """Return the one value of each target that a regressor predicts: of quantiles the median, else the mean."""
    if isinstance(loss, Quantile):
        return loss.quantiles(outputs, (0.5,))[..., 0]
    return loss.mean(outputs) if isinstance(loss, DistributionLoss) else outputs


def loss_of_labels(loss, many: bool | None = None) -> Loss:
    """Return the loss that an argument `loss` of a classifier names.

    Parameters
    ----------
    loss : str or Loss
    many : bool, optional
        Whether samples or steps may have several labels; None: this is not known yet.

    Raises
    ------
    ValueError
        If it is not a loss of labels, or one of the other kind of labels.
    """
    if isinstance(loss, str) and loss == "auto":
        return BinaryCrossEntropy() if many else SoftmaxCrossEntropy()
    found = _found(loss)
    if not isinstance(found, (SoftmaxCrossEntropy, BinaryCrossEntropy)):
        raise ValueError(
            "loss must be 'auto', 'softmax_cross_entropy' (one label), 'binary_cross_entropy' (several labels) or such an object, "
            f"got {brief(loss)}"
        )
    if many and not isinstance(found, BinaryCrossEntropy):
        raise ValueError(f"loss must be 'auto' or 'binary_cross_entropy' where y has several labels, got {brief(loss)}")
    if many is False and not isinstance(found, SoftmaxCrossEntropy):
        raise ValueError(
            f"loss must be 'auto' or 'softmax_cross_entropy' where y has one label, got {brief(loss)}; several labels are a matrix "
            "of 0 and 1"
        )
    if isinstance(found, SoftmaxCrossEntropy) and found.ignore_index != IGNORED:
        raise ValueError(
            f"loss must not have an ignore_index, got {brief(loss)}: y has labels, of which None and NaN do not count"
        )
    return found


def weighted(loss, weights):
    """Return a loss of labels with the weights that `class_weight` makes, or as it is.

    Parameters
    ----------
    loss : SoftmaxCrossEntropy or BinaryCrossEntropy
    weights : dict of tuples by the names of the loss's options, or None

    Raises
    ------
    ValueError
        If the loss has such weights already.
    """
    if weights is None:
        return loss
    given = [name for name in weights if getattr(loss, name) is not None]
    if given:
        raise ValueError(f"class_weight must be None where the loss has {given[0]}, got both; set one of them")
    return dataclasses.replace(loss, **weights)
