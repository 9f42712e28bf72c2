"""Differences of series, and back."""

from typing import Any

import numpy as np

from numbarnn.checks import check_integer
from numbarnn.core.arrays import as_numeric
from numbarnn.core.frames import as_pandas, in_form, is_pandas
from numbarnn.data import tables
from numbarnn.data.transformer import Transformer
from numbarnn.errors import ShapeError


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

    def fit(self, X: Any, y: Any = None) -> "Differences":
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

    def transform(self, X: Any) -> Any:
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

    def inverse_transform(self, X: Any, before: Any = None) -> Any:
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
