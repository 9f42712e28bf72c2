"""Scaling, differencing and calendar features of series."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from numbarnn.checks import counted
from numbarnn.core.arrays import as_numeric
from numbarnn.data import tables
from numbarnn.errors import ShapeError
from numbarnn.sklearn_api import Parameters, not_fitted

METHODS = ("standard", "minmax", "robust")


class SequenceScaler(Parameters):
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
        Of a DataFrame whose column names are str.

    Examples
    --------
    >>> scaler = SequenceScaler("minmax").fit(np.array([[1.0], [3.0]]))
    >>> scaled = scaler.transform(np.array([[2.0], [5.0]]))
    >>> scaled.ravel().tolist()
    [0.5, 2.0]
    >>> scaler.inverse_transform(scaled).ravel().tolist()
    [2.0, 5.0]
    """

    def __init__(self, method: str = "standard", feature_range: Sequence[float] = (0.0, 1.0)):
        self.method = method
        self.feature_range = feature_range

    def fit(self, X, y=None) -> "SequenceScaler":
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
        if self.method not in METHODS:
            raise ValueError(f"method must be one of {', '.join(METHODS)}, got {self.method!r}")
        rows, names = _rows(X)
        if np.isinf(rows).any():
            count = np.count_nonzero(np.isinf(rows))
            raise ValueError(f"X has {counted(count, 'infinite value')}; clean the data first")
        empty = np.isnan(rows).all(axis=0)
        if empty.any():
            raise ValueError(f"feature {np.flatnonzero(empty)[0]} of X has no values but NaN")
        if self.method == "standard":
            center, scale = np.nanmean(rows, axis=0), np.nanstd(rows, axis=0)
            scale[np.nanmax(rows, axis=0) == np.nanmin(rows, axis=0)] = 0  # rounding would leave a little
        elif self.method == "robust":
            first, center, third = np.nanquantile(rows, [0.25, 0.5, 0.75], axis=0)
            scale = third - first
        else:
            low, high = map(float, self.feature_range)
            if not low < high:
                raise ValueError(f"feature_range must be (low, high) with low < high, got {self.feature_range!r}")
            smallest = np.nanmin(rows, axis=0)
            scale = (np.nanmax(rows, axis=0) - smallest) / (high - low)
            scale[scale == 0] = 1
            center = smallest - low * scale
        scale[scale == 0] = 1
        self.center_, self.scale_ = center, scale
        self.n_features_in_ = rows.shape[1]
        self.__dict__.pop("feature_names_in_", None)
        if names is not None:
            self.feature_names_in_ = names
        return self

    def transform(self, X):
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
        return self._map(X, lambda x, center, scale: (x - center) / scale)

    def fit_transform(self, X, y=None):
        """Fit to data and return them scaled.

        Parameters
        ----------
        X : as in `fit`
        y : ignored

        Returns
        -------
        as X
            Scaled, as `transform` returns it.
        """
        return self.fit(X).transform(X)

    def inverse_transform(self, X, columns: Sequence | None = None):
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
        return self._map(X, lambda x, center, scale: x * scale + center, columns)

    def get_feature_names_out(self, input_features=None) -> np.ndarray:
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
        if not hasattr(self, "scale_"):
            raise not_fitted(self)

    def _map(self, X, function, columns=None):
        self._fitted()
        center, scale = self.center_, self.scale_
        known = getattr(self, "feature_names_in_", None)
        if columns is not None:
            indices = []
            for column in columns:
                if isinstance(column, str):
                    if known is None or column not in known:
                        raise KeyError(f"{column!r} is not a feature that this scaler was fitted to")
                    column = list(known).index(column)
                indices.append(column)
            center, scale = center[indices], scale[indices]
        elif tables.is_pandas(X) == "frame" and known is not None and list(X.columns) != list(known):
            raise ValueError(f"X has columns {list(X.columns)}, the scaler was fitted to {list(known)}, in this order")

        def mapped(array, wanted=(2, 3)):
            if array.ndim not in wanted or array.shape[-1] != len(center):
                raise ShapeError(f"X must have {len(center)} features in its last axis, got shape {array.shape}")
            dtype = array.dtype if array.dtype == np.float32 else np.float64
            return function(array, center, scale).astype(dtype)

        kind = tables.is_pandas(X)
        if _is_list(X):
            parts = [as_numeric(x, f"X[{i}]") for i, x in enumerate(X)]
            return [mapped(x) if x.ndim == 2 else mapped(x[:, None])[:, 0] for x in parts]
        rows = as_numeric(X, "X")
        if kind == "frame":
            return type(X)(mapped(rows), index=X.index, columns=X.columns)
        if kind == "series":
            return type(X)(mapped(rows[:, None])[:, 0], index=X.index, name=X.name)
        return mapped(rows)

    def __sklearn_tags__(self):
        from sklearn.utils import Tags, TargetTags, TransformerTags
        from sklearn.utils._tags import InputTags

        inputs = InputTags(three_d_array=True, allow_nan=True)
        tags = Tags(estimator_type=None, target_tags=TargetTags(required=False), input_tags=inputs)
        tags.transformer_tags = TransformerTags(preserves_dtype=["float64", "float32"])
        return tags

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "scale_")


def _is_list(data):
    """Return whether data are a list of series, as against a table written as a list of rows."""
    return isinstance(data, (list, tuple)) and len(data) > 0 and all(isinstance(item, np.ndarray) for item in data)


def _rows(data):
    """Return all rows of data as float64 (rows, features), and the names of their columns or None."""
    names = None
    if tables.is_pandas(data):
        table = tables.as_table(data, "X")
        rows = table.values
        if not table.flat and all(isinstance(name, str) for name in table.names):
            names = np.array(table.names, object)
    elif _is_list(data):
        parts = [as_numeric(x, f"X[{i}]") for i, x in enumerate(data)]
        parts = [x[:, None] if x.ndim == 1 else x for x in parts]
        if any(x.ndim != 2 or x.shape[1] != parts[0].shape[1] for x in parts):
            raise ShapeError(
                f"X must be arrays (time steps, features) of the same features, got {[x.shape for x in data][:5]}"
            )
        rows = np.concatenate(parts)
    else:
        rows = as_numeric(data, "X")
        if rows.ndim not in (2, 3):
            raise ShapeError(f"X must have shape (rows, features) or (samples, time steps, features), got {rows.shape}")
        rows = rows.reshape(-1, rows.shape[-1])
    if 0 in rows.shape:
        raise ShapeError(f"X must have at least one row and one feature, got shape {rows.shape}")
    return np.asarray(rows, np.float64), names


class Differences(Parameters):
    """Differences d_t = x_t - x_{t - lag} of a table, and back.

    Parameters
    ----------
    lag : int
        1: changes from row to row; the length of a season: changes from season to season.

    Notes
    -----
    `transform` returns `lag` rows fewer than it gets. `fit` stores the last `lag` rows, so that
    ``inverse_transform(d)`` continues the fitted data; ``inverse_transform(d, before)`` continues other rows.
    Tables with a MultiIndex are refused: take differences of one series at a time.

    Examples
    --------
    >>> differences = Differences()
    >>> d = differences.fit_transform(np.array([1.0, 3.0, 6.0]))
    >>> d.tolist()
    [2.0, 3.0]
    >>> differences.inverse_transform(np.array([1.0, 1.0])).tolist()
    [7.0, 8.0]
    """

    def __init__(self, lag: int = 1):
        self.lag = lag

    def fit(self, X, y=None) -> "Differences":
        """Check the lag and store the last rows.

        Parameters
        ----------
        X : (rows,) or (rows, features) array, Series or DataFrame
        y : ignored
            As scikit-learn's transformers take one.

        Raises
        ------
        ShapeError, TypeError, ValueError
            If `lag` is not a positive integer, or X has the wrong shape or dtype, or no more rows than `lag`.
        """
        if isinstance(self.lag, bool) or not isinstance(self.lag, (int, np.integer)) or self.lag < 1:
            raise ValueError(f"lag must be a positive integer, got {self.lag!r}")
        rows = _column_rows(X)
        if len(rows) <= self.lag:
            raise ShapeError(f"X has {len(rows)} rows; differences at lag {self.lag} need more")
        self.last_ = rows[-self.lag :].copy()
        self.n_features_in_ = rows.shape[1] if rows.ndim == 2 else 1
        return self

    def transform(self, X):
        """Return the differences d_t = x_t - x_{t - lag}.

        Parameters
        ----------
        X : (rows,) or (rows, features) array, Series or DataFrame

        Returns
        -------
        as X
            `lag` rows fewer, float64; of a DataFrame or Series with the later of the two times.

        Raises
        ------
        NotFittedError
            If `fit` was not called.
        ShapeError, TypeError, ValueError
            If X has the wrong shape or dtype, or no more rows than `lag`.
        """
        if not hasattr(self, "last_"):
            raise not_fitted(self)
        rows = _column_rows(X)
        if len(rows) <= self.lag:
            raise ShapeError(f"X has {len(rows)} rows; differences at lag {self.lag} need more")
        changes = rows[self.lag :] - rows[: -self.lag]
        kind = tables.is_pandas(X)
        if kind == "frame":
            return type(X)(changes, index=X.index[self.lag :], columns=X.columns)
        if kind == "series":
            return type(X)(changes, index=X.index[self.lag :], name=X.name)
        return changes

    def fit_transform(self, X, y=None):
        """Fit to data and return their differences.

        Parameters
        ----------
        X : as in `fit`
        y : ignored

        Returns
        -------
        as X
            As `transform` returns it.
        """
        return self.fit(X).transform(X)

    def inverse_transform(self, X, before: Any = None):
        """Return values from differences: x_t = x_{t - lag} + d_t.

        Parameters
        ----------
        X : (rows, features) or (rows,)
            Differences.
        before : (lag, features) or (lag,), optional
            The rows before the first; None: the last rows that were fitted.

        Returns
        -------
        as X
            float64.

        Raises
        ------
        NotFittedError
            If `fit` was not called.
        ShapeError, TypeError
            If X or `before` has the wrong shape or dtype.
        """
        if not hasattr(self, "last_"):
            raise not_fitted(self)
        changes = _column_rows(X)
        start = self.last_ if before is None else np.asarray(as_numeric(before, "before"), np.float64)
        if start.shape != (self.lag, *changes.shape[1:]):
            raise ShapeError(f"before must have shape {(self.lag, *changes.shape[1:])}, got {start.shape}")
        values = np.concatenate([start, changes])
        for season in range(self.lag):
            np.cumsum(values[season :: self.lag], axis=0, out=values[season :: self.lag])
        kind, values = tables.is_pandas(X), values[self.lag :]
        if kind == "frame":
            return type(X)(values, index=X.index, columns=X.columns)
        return type(X)(values, index=X.index, name=X.name) if kind == "series" else values


def _column_rows(data):
    """Return the rows of one series as float64 (rows,) or (rows, features)."""
    if tables.is_pandas(data):
        tables.check_one_series(data.index, "X")
    rows = as_numeric(data, "X")
    if rows.ndim not in (1, 2):
        raise ShapeError(f"X must have shape (rows,) or (rows, features), got {rows.shape}")
    return np.asarray(rows, np.float64)


CALENDAR = ("hour", "dayofweek", "dayofyear", "month")


def calendar_features(index, features: Sequence[str] = ("hour", "dayofyear")):
    """Return the time of day, week or year as sine and cosine, in the time zone of the index if it has one.

    Parameters
    ----------
    index : DatetimeIndex, PeriodIndex, or a Series or DataFrame that has one
    features : sequence of {"hour", "dayofweek", "dayofyear", "month"}
        Cycles: "hour" of a day (minutes count), "dayofweek" of a week from Monday, "dayofyear" of a year from
        1 January, "month" of a year in twelve steps.

    Returns
    -------
    pandas.DataFrame
        Columns ``hour_sin``, ``hour_cos`` and so on: sin and cos of 2 pi times the share of the cycle that has passed.

    Raises
    ------
    TypeError, ValueError
        If the index has no times, or a feature is none of the four.

    Examples
    --------
    >>> import pandas as pd
    >>> times = pd.date_range("2024-01-01 06:00", periods=2, freq="12h")
    >>> calendar_features(times, ["hour"])["hour_sin"].round(3).tolist()
    [1.0, -1.0]
    """
    import pandas as pd

    index = index.index if isinstance(index, (pd.Series, pd.DataFrame)) else index
    if isinstance(index, pd.PeriodIndex):
        times = index.to_timestamp()
    elif isinstance(index, pd.DatetimeIndex):
        times = index
    else:
        raise TypeError(f"calendar features need a DatetimeIndex or PeriodIndex, got {type(index).__name__}")
    features = (features,) if isinstance(features, str) else tuple(features)
    unknown = [name for name in features if name not in CALENDAR]
    if unknown:
        raise ValueError(f"features must be among {', '.join(CALENDAR)}, got {unknown[0]!r}")
    day = (times.hour * 3600 + times.minute * 60 + times.second).to_numpy() / 86400
    columns = {}
    for name in features:
        if name == "hour":
            turn = day
        elif name == "dayofweek":
            turn = (times.day_of_week.to_numpy() + day) / 7
        elif name == "dayofyear":
            turn = (times.day_of_year.to_numpy() - 1 + day) / np.where(times.is_leap_year, 366, 365)
        else:
            turn = (times.month.to_numpy() - 1) / 12
        columns[f"{name}_sin"] = np.sin(2 * np.pi * turn)
        columns[f"{name}_cos"] = np.cos(2 * np.pi * turn)
    return pd.DataFrame(columns, index=index)
