"""Fits of estimators inside of another estimator."""

import inspect
from typing import Any

from numbarnn.checks import brief
from numbarnn.training.rounds import Rounds
from numbarnn.words import check_arguments


def check_kind(owner: Any, kinds: tuple[type, ...], advice: str = "") -> None:
    """Raise TypeError unless the `estimator` of an owner is of one of some classes."""
    if not isinstance(owner.estimator, kinds):
        *first, last = [kind.__name__ for kind in kinds]
        given = f"the class {owner.estimator.__name__}" if inspect.isclass(owner.estimator) else brief(owner.estimator)
        raise TypeError(
            f"{type(owner).__name__}: estimator must be a {', '.join(first)} or {last}, got {given}{advice}"
        )


def fit_rounds(owner: str, estimator: Any, X: Any, y: Any, sample_weight: Any, options: dict[str, Any]) -> Rounds:
    """Return the fit of an estimator, in rounds; raise TypeError for options that its `fit` does not have."""
    fit = type(estimator).fit
    parameters = inspect.signature(fit).parameters
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()):
        return estimator._fit_rounds(X, y, sample_weight, **options)
    check_arguments(fit, f"{owner}.fit", options)
    own = dict.fromkeys(name for name in parameters if name not in ("self", "X", "y", "sample_weight"))
    return estimator._fit_rounds(X, y, sample_weight, **own | options)
