"""scikit-learn's bases where it is installed, and what stands in for them; none of it is needed."""

from numbarnn.core.html import html_parameters
from numbarnn.sklearn_api import Parameters

try:
    from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
    from sklearn.exceptions import DataConversionWarning
except ImportError:
    DataConversionWarning = UserWarning

    class BaseEstimator(Parameters):
        """Stands in for scikit-learn's base of this name."""

        _repr_html_ = html_parameters

    class RegressorMixin:
        """Stands in for scikit-learn's mixin of this name."""

    class ClassifierMixin:
        """Stands in for scikit-learn's mixin of this name."""


__all__ = ["BaseEstimator", "ClassifierMixin", "DataConversionWarning", "RegressorMixin"]
