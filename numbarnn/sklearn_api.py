"""scikit-learn's contract of parameters, for classes that must work where scikit-learn is not installed."""

import copy
import functools
import inspect
import sys
from collections.abc import Callable
from typing import Any

from numbarnn.words import Suggesting, did_you_mean


class NotFittedError(ValueError, AttributeError):
    """A method was called that needs `fit` before."""


def not_fitted(owner) -> NotFittedError:
    """Return the error of an object that is not fitted; where scikit-learn is loaded, it is also one of scikit-learn's."""
    error, theirs = NotFittedError, sys.modules.get("sklearn.exceptions")
    if theirs is not None:
        error = type("NotFittedError", (NotFittedError, theirs.NotFittedError), {"__module__": __name__})
    return error(f"this {type(owner).__name__} is not fitted yet; call fit first")


def clone(estimator: Any, **changed: Any) -> Any:
    """Return a new estimator that is not fitted, with copies of the parameters of another but for those that are changed."""
    return type(estimator)(**copy.deepcopy(estimator.get_params(deep=False)) | changed)


class OfClassifiers:
    """A method that objects of regressors do not have, as scikit-learn asks; a decorator.

    Objects say by `_is_regressor` what they are.
    """

    def __init__(self, method: Callable[..., Any]):
        functools.update_wrapper(self, method)
        self._method = method

    def __get__(self, owner: Any, kind: Any = None) -> Any:
        if owner is not None and owner._is_regressor():
            raise AttributeError(
                f"{self._method.__name__} needs a classifier, the estimator of this {type(owner).__name__} is a "
                f"{type(owner.estimator).__name__}"
            )
        return self._method.__get__(owner, kind)


class Parameters(Suggesting):
    """`get_params`, `set_params` and a repr, from the names of the constructor's arguments.

    scikit-learn's ``clone``, ``Pipeline`` and searches need no more of a class than this and the methods they call.
    """

    @classmethod
    def _parameter_names(cls):
        signature = inspect.signature(cls.__init__)
        return [name for name in signature.parameters if name != "self"]

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return the constructor's arguments by name; those of estimators among them too if `deep`, as "argument__name"."""
        found = {name: getattr(self, name) for name in self._parameter_names()}
        if deep:
            for name, value in list(found.items()):
                if hasattr(value, "get_params") and not isinstance(value, type):
                    found |= {f"{name}__{inner}": own for inner, own in value.get_params().items()}
        return found

    def set_params(self, **params: Any) -> "Parameters":
        """Set arguments of the constructor by name, and return the object."""
        names = self._parameter_names()
        # Parameters of an estimator after the estimator, which may be new.
        for name, value in sorted(params.items(), key=lambda item: "__" in item[0]):
            outer, _, inner = name.partition("__")
            if inner and hasattr(getattr(self, outer, None), "set_params"):
                getattr(self, outer).set_params(**{inner: value})
                continue
            if name not in names:
                raise ValueError(
                    f"{type(self).__name__} has no parameter {name!r}; it has {', '.join(names)}{did_you_mean(name, names)}"
                )
            setattr(self, name, value)
        return self

    def __sklearn_tags__(self):
        from sklearn.utils import InputTags, Tags, TargetTags

        inputs = InputTags(three_d_array=True, allow_nan=True)
        return Tags(estimator_type=None, target_tags=TargetTags(required=False), input_tags=inputs)

    def __repr__(self) -> str:
        defaults = inspect.signature(type(self).__init__).parameters
        shown = [
            f"{name}={getattr(self, name)!r}"
            for name in self._parameter_names()
            if getattr(self, name) is not defaults[name].default and getattr(self, name) != defaults[name].default
        ]
        return f"{type(self).__name__}({', '.join(shown)})"
