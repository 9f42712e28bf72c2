"""Scaling of series."""

from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np

from numbarnn.checks import brief, check_choice, check_real, counted, to_list
from numbarnn.core.arrays import as_numeric
from numbarnn.core.axes import channels_first_hint
from numbarnn.core.frames import as_pandas, in_form, is_pandas, package_of
from numbarnn.data import tables
from numbarnn.data.transformer import Transformer, names_of
from numbarnn.errors import ShapeError

METHODS = ("standard", "minmax", "robust")


class SequenceScaler(Transformer):
    """Shift and scale every feature by statistics of the data of `fit`: x' = (x - center) / scale.

    ==========  =====================================  =================================================
    method      center                                 scale
    ==========  =====================================  =================================================
    standard    mean                                   standard deviation (of the population, as NumPy)
    minmax      such that min and max go to            (max - min) / (high - low)
                `feature_range` = (low, high)
    robust      median                                 third quartile minus first quartile
    ==========  =====================================  =================================================

    A feature that does not vary has scale 1. Data come as a table (rows, features) - array, DataFrame, or Series - as samples
    (samples, time steps, features), or as a list of arrays (time steps, features) or (time steps,) of different lengths; the
    result has the form of the data. NaN, such as the padding of shorter samples, is not counted and stays NaN.

    One scale holds for all rows and samples: scaling every series by its own mean, as is usual before clustering, would
    hide the level that is to be forecast. Fit it to the training part alone.

    Parameters
    ----------
    method : {"standard", "minmax", "robust"}
    feature_range : (low, high)
        Of "minmax".

    Attributes
    ----------
    center_, scale_ : (features,) float64 arrays
    n_features_in_ : int
    feature_names_in_ : array of str
        Of a table whose column names are str.

    Examples
    --------
    >>> scaler = SequenceScaler("minmax").fit(np.array([[1.0], [3.0]]))
    >>> scaled = scaler.transform(np.array([[2.0], [5.0]]))
    >>> scaled.ravel().tolist()
    [0.5, 2.0]
    >>> scaler.inverse_transform(scaled).ravel().tolist()
    [2.0, 5.0]
    """

    _preserved = ("float64", "float32")

    def __init__(self, method: str = "standard", feature_range: Sequence[float] = (0.0, 1.0)):
        self.method = method
        self.feature_range = feature_range

    def fit(self, X: Any, y: Any = None) -> "SequenceScaler":
        """Learn center and scale of every feature.

        Parameters
        ----------
        X : table, samples or list of arrays
            See the class; NaN is not counted.
        y : ignored
            As scikit-learn's transformers take one.

        Raises
        ------
        ShapeError, TypeError, ValueError
            If the data have the wrong shape or dtype or infinite values, or a feature has no values.
        """
        check_choice(self.method, "method", METHODS)
        if self.method == "minmax":
            bounds = to_list(self.feature_range, "feature_range", "two numbers")
            if len(bounds) != 2 or not check_real(bounds[0], "feature_range[0]") < check_real(
                bounds[1], "feature_range[1]"
            ):
                raise ValueError(f"feature_range must be (low, high) with low < high, got {brief(self.feature_range)}")
        X = as_pandas(X, "X")
        rows = _rows(X)
        if np.isinf(rows).any():
            count = np.count_nonzero(np.isinf(rows))
            raise ValueError(f"X has {counted(count, 'infinite value')}; clean the data first")
        empty = np.isnan(rows).all(axis=0)
        if empty.any():
            raise ValueError(f"feature {np.flatnonzero(empty)[0]} of X has no values but NaN")
        with np.errstate(over="ignore", invalid="ignore"):  # found here
            center, scale = self._statistics(rows)
        wide = ~(np.isfinite(center) & np.isfinite(scale))
        if wide.any():
            raise ValueError(
                f"feature {np.flatnonzero(wide)[0]} of X has values too large to be scaled; divide them by a constant"
            )
        scale[scale == 0] = 1
        self.center_, self.scale_ = center, scale
        self._learn_columns(as_pandas(X[0], "X[0]") if _is_list(X) else X, rows.shape[1])
        return self

    def _statistics(self, rows):
        """Return center and scale, 0 of features that do not vary."""
        if self.method == "standard":
            center, scale = np.nanmean(rows, axis=0), np.nanstd(rows, axis=0)
            scale[np.nanmax(rows, axis=0) == np.nanmin(rows, axis=0)] = 0  # rounding would leave a little
        elif self.method == "robust":
            first, center, third = np.nanquantile(rows, [0.25, 0.5, 0.75], axis=0)
            scale = third - first
        else:
            low, high = map(float, self.feature_range)
            smallest = np.nanmin(rows, axis=0)
            scale = (np.nanmax(rows, axis=0) - smallest) / (high - low)
            scale[scale == 0] = 1
            center = smallest - low * scale
        return center, scale

    def transform(self, X: Any) -> Any:
        """Return scaled data in the form they came in.

        Parameters
        ----------
        X : table, samples or list of arrays
            See the class; the features of `fit`.

        Returns
        -------
        as X
            float32 where X is, else float64.

        Raises
        ------
        NotFittedError
            If `fit` was not called.
        ShapeError, TypeError, ValueError
            If X has the wrong shape or dtype, or other columns than in `fit`.
        """
        return self._map(X, lambda x, center, scale: (x - center) / scale, self._in_form)

    def inverse_transform(self, X: Any, columns: Sequence[Any] | None = None) -> Any:
        """Return data in their own units.

        Parameters
        ----------
        X : as in `transform`
        columns : sequence of int or str, optional
            The features of X, where it does not have all of them (forecasts of the targets only).

        Returns
        -------
        as X

        Raises
        ------
        NotFittedError
            If `fit` was not called.
        KeyError, ShapeError, TypeError, ValueError
            If a column is unknown, or X has the wrong shape or dtype.
        """
        return self._map(X, lambda x, center, scale: x * scale + center, in_form, columns)

    def _map(self, X, function, form, columns=None):
        self._fitted()
        center, scale = self.center_, self.scale_
        if columns is not None:
            indices = [self._index_of(column) for column in to_list(columns, "columns", "features")]
            center, scale = center[indices], scale[indices]

        def mapped(data, name):
            data = as_pandas(data, name)
            if columns is None:
                self._check_columns(data, name)
            array = as_numeric(data, name)
            flat = array.ndim == 1 and (name != "X" or is_pandas(data) == "series")
            rows = array[:, None] if flat else array
            if rows.ndim not in (2, 3) or rows.shape[-1] != len(center):
                hint = channels_first_hint(array.shape, len(center), name)
                raise ShapeError(
                    f"{name} must have {len(center)} features in its last axis, got shape {array.shape}{hint}"
                )
            dtype = array.dtype if array.dtype == np.float32 else np.float64
            values = function(rows, center, scale).astype(dtype)
            return values[:, 0] if flat else values

        if not _is_list(X):
            return form(mapped(X, "X"), X)
        return [form(mapped(x, f"X[{i}]"), x) for i, x in enumerate(X)]

    def _index_of(self, column):
        known = list(getattr(self, "feature_names_in_", ()))
        if isinstance(column, Hashable) and column in known:
            return known.index(column)
        if isinstance(column, (int, np.integer)) and 0 <= column < self.n_features_in_:
            return int(column)
        raise KeyError(f"columns must be features that this scaler was fitted to, got {brief(column)}")


def _is_list(data):
    """Return whether data are a list of series, as against a table written as a list of rows."""
    return isinstance(data, (list, tuple)) and len(data) > 0 and all(map(_is_series, data))


def _is_series(item):
    return isinstance(item, np.ndarray) or is_pandas(item) is not None or package_of(type(item)) is not None


def _rows(data):
    """Return all rows of data as float64 (rows, features)."""
    if is_pandas(data):
        rows = tables.as_table(data, "X").values
    elif _is_list(data):
        parts = [as_numeric(x, f"X[{i}]") for i, x in enumerate(data)]
        parts = [x[:, None] if x.ndim == 1 else x for x in parts]
        if any(x.ndim != 2 or x.shape[1] != parts[0].shape[1] for x in parts):
            shapes = [x.shape for x in parts]
            hint = channels_first_hint(next((x for x in shapes if x[1:] != shapes[0][1:]), ()), shapes[0][0])
            raise ShapeError(f"X must be arrays (time steps, features) of the same features, got {shapes[:5]}{hint}")
        names = [names_of(as_pandas(x, f"X[{i}]")) for i, x in enumerate(data)]
        wrong = [i for i, own in enumerate(names) if own != names[0]]
        if wrong:
            raise ValueError(f"X[{wrong[0]}] has columns {names[wrong[0]]}, X[0] has {names[0]}; they must be the same")
        rows = np.concatenate(parts)
    else:
        rows = as_numeric(data, "X")
        if rows.ndim not in (2, 3):
            raise ShapeError(f"X must have shape (rows, features) or (samples, time steps, features), got {rows.shape}")
    if 0 in rows.shape:
        raise ShapeError(f"X must have at least one row and one feature, got shape {rows.shape}")
    return np.asarray(rows.reshape(-1, rows.shape[-1]), np.float64)
