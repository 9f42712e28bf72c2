"""Scaling, differencing and calendar features of series."""

import sys
from collections.abc import Sequence
from typing import Any

import numpy as np

from numbarnn.checks import check_integer, counted
from numbarnn.core.arrays import as_numeric
from numbarnn.core.axes import channels_first_hint
from numbarnn.core.frames import as_pandas, in_form, is_pandas, package_of
from numbarnn.data import tables
from numbarnn.errors import ShapeError
from numbarnn.sklearn_api import Parameters, not_fitted

METHODS = ("standard", "minmax", "robust")
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

    def fit_transform(self, X, y=None):
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

    def set_output(self, *, transform: str | None = None):
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
            if transform not in OUTPUTS:
                raise ValueError(f"transform must be one of {', '.join(OUTPUTS)} or None, got {transform!r}")
            self._sklearn_output_config = {"transform": transform}  # which scikit-learn's clone copies
        return self

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
        if not hasattr(self, "n_features_in_"):
            raise not_fitted(self)

    def _learn_columns(self, X, count):
        self.n_features_in_ = count
        self.__dict__.pop("feature_names_in_", None)
        names = _names(X)
        if names is not None:
            self.feature_names_in_ = np.array(names, object)

    def _check_columns(self, X, name="X"):
        """Raise ValueError where X is a table with other column names than in `fit`, or in another order."""
        known, names = getattr(self, "feature_names_in_", None), _names(X)
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
                f"X holds samples of several time steps, which are no table: they have no transform output {kind!r}"
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
            if not low < high:
                raise ValueError(f"feature_range must be (low, high) with low < high, got {self.feature_range!r}")
            smallest = np.nanmin(rows, axis=0)
            scale = (np.nanmax(rows, axis=0) - smallest) / (high - low)
            scale[scale == 0] = 1
            center = smallest - low * scale
        return center, scale

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
        return self._map(X, lambda x, center, scale: (x - center) / scale, self._in_form)

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
        return self._map(X, lambda x, center, scale: x * scale + center, in_form, columns)

    def _map(self, X, function, form, columns=None):
        self._fitted()
        center, scale = self.center_, self.scale_
        if columns is not None:
            indices = [self._index_of(column) for column in columns]
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
        if column in known:
            return known.index(column)
        if isinstance(column, (int, np.integer)) and 0 <= column < self.n_features_in_:
            return int(column)
        raise KeyError(f"{column!r} is not a feature that this scaler was fitted to")


def _is_list(data):
    """Return whether data are a list of series, as against a table written as a list of rows."""
    return isinstance(data, (list, tuple)) and len(data) > 0 and all(map(_is_series, data))


def _is_series(item):
    return isinstance(item, np.ndarray) or is_pandas(item) is not None or package_of(type(item)) is not None


def _names(data):
    """Return the column names of a DataFrame where they are all str, else None."""
    if is_pandas(data) != "frame" or not all(isinstance(name, str) for name in data.columns):
        return None
    return list(data.columns)


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
        names = [_names(as_pandas(x, f"X[{i}]")) for i, x in enumerate(data)]
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


class Differences(Transformer):
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
        check_integer(self.lag, "lag", 1)
        X = as_pandas(X, "X")
        rows = _column_rows(X)
        if len(rows) <= self.lag:
            raise ShapeError(f"X has {len(rows)} rows; differences at lag {self.lag} need more")
        self.last_ = rows[-self.lag :].copy()
        self._learn_columns(X, rows.shape[1] if rows.ndim == 2 else 1)
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
        rows = self._columns_of_fit(X)
        if len(rows) <= self.lag:
            raise ShapeError(f"X has {len(rows)} rows; differences at lag {self.lag} need more")
        return self._in_form(rows[self.lag :] - rows[: -self.lag], X, slice(self.lag, None))

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
        changes = self._columns_of_fit(X)
        start = self.last_ if before is None else np.asarray(as_numeric(before, "before"), np.float64)
        if start.shape != (self.lag, *changes.shape[1:]):
            raise ShapeError(f"before must have shape {(self.lag, *changes.shape[1:])}, got {start.shape}")
        values = np.concatenate([start, changes])
        for season in range(self.lag):
            np.cumsum(values[season :: self.lag], axis=0, out=values[season :: self.lag])
        return in_form(values[self.lag :], X)

    def _columns_of_fit(self, X):
        """Return the rows of X; raise unless it has the columns of `fit`."""
        self._fitted()
        X = as_pandas(X, "X")
        self._check_columns(X)
        rows = _column_rows(X)
        count = rows.shape[1] if rows.ndim == 2 else 1
        if count != self.n_features_in_:
            raise ShapeError(f"X has {count} features, this Differences was fitted to {self.n_features_in_}")
        return rows


def _column_rows(data):
    """Return the rows of one series as float64 (rows,) or (rows, features)."""
    if is_pandas(data):
        tables.check_one_series(data.index, "X")
    rows = as_numeric(data, "X")
    if rows.ndim not in (1, 2) or 0 in rows.shape:
        raise ShapeError(f"X must have shape (rows,) or (rows, features), none of them 0, got {rows.shape}")
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
