"""What transformers of series have in common: columns that `fit` saw, and results in the form of the data or of `set_output`."""

import sys
from typing import Any

import numpy as np

from numbarnn.checks import check_choice
from numbarnn.core.frames import in_form, is_pandas
from numbarnn.sklearn_api import Parameters, not_fitted

OUTPUTS = ("default", "pandas", "polars")


class Transformer(Parameters):
    """What transformers of tables share: what they know of the columns, and the form of results.

    Attributes
    ----------
    n_features_in_ : int
    feature_names_in_ : array of str
        Of a table whose column names are str.
    """

    _preserved = ("float64",)  # dtypes of X that results have too

    def fit_transform(self, X: Any, y: Any = None) -> Any:
        """Fit to data and return them transformed.

        Parameters
        ----------
        X : as in `fit`
        y : ignored
            As scikit-learn's transformers take one.

        Returns
        -------
        as X
            As `transform` returns it.
        """
        return self.fit(X).transform(X)

    def set_output(self, *, transform: str | None = None) -> "Transformer":
        """Set the form of what `transform` returns, as scikit-learn's transformers do.

        Parameters
        ----------
        transform : {"default", "pandas", "polars"} or None
            "default": the form of X; else a DataFrame with the names of `get_feature_names_out`. None: as before.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If it is none of these.
        """
        if transform is not None:
            check_choice(transform, "transform", OUTPUTS)
            self._sklearn_output_config = {"transform": transform}  # which scikit-learn's clone copies
        return self

    def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:
        """Return the names of the features, as scikit-learn asks for them.

        Parameters
        ----------
        input_features : array-like of str, optional
            Names to return instead of those of `fit`.

        Returns
        -------
        (features,) array of str
            Names of the columns of `fit`, or x0, x1, ...

        Raises
        ------
        NotFittedError
            If `fit` was not called.
        """
        self._fitted()
        if input_features is not None:
            return np.asarray(input_features, object)
        return getattr(self, "feature_names_in_", np.array([f"x{i}" for i in range(self.n_features_in_)], object))

    def _fitted(self):
        if not hasattr(self, "n_features_in_"):
            raise not_fitted(self)

    def _learn_columns(self, X, count):
        self.n_features_in_ = count
        self.__dict__.pop("feature_names_in_", None)
        names = names_of(X)
        if names is not None:
            self.feature_names_in_ = np.array(names, object)

    def _check_columns(self, X, name="X"):
        """Raise ValueError where X is a table with other column names than in `fit`, or in another order."""
        known, names = getattr(self, "feature_names_in_", None), names_of(X)
        if known is not None and names is not None and names != list(known):
            raise ValueError(
                f"{name} has columns {names}, this {type(self).__name__} was fitted to {list(known)}, in this order"
            )

    def _in_form(self, values, X, rows=slice(None)):
        """Return values in the form of some rows of X, or in the one that `set_output` or scikit-learn's configuration asks for."""
        own = kind = self.__dict__.get("_sklearn_output_config", {}).get("transform")
        if own is None and "sklearn" in sys.modules:
            kind = sys.modules["sklearn"].get_config().get("transform_output")
        if kind in (None, "default") or (own is None and values.ndim > 2):
            return in_form(values, X, rows)
        if values.ndim > 2:
            raise ValueError(
                f"X has samples of several time steps, which are not a table: they have no transform output {kind!r}"
            )
        import pandas as pd

        index = X.index[rows] if is_pandas(X) else None
        frame = pd.DataFrame(values.reshape(len(values), -1), index, self.get_feature_names_out())
        if kind == "pandas":
            return frame
        import narwhals as nw

        return nw.from_numpy(frame.to_numpy(), list(frame.columns), backend=kind).to_native()

    def __sklearn_tags__(self):
        from sklearn.utils import TransformerTags

        tags = super().__sklearn_tags__()
        tags.transformer_tags = TransformerTags(preserves_dtype=list(self._preserved))
        return tags

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "n_features_in_")


def names_of(data):
    """Return the column names of a DataFrame where they are all str, else None."""
    if is_pandas(data) != "frame" or not all(isinstance(name, str) for name in data.columns):
        return None
    return list(data.columns)
