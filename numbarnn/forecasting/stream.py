"""Forecasts row by row, as rows are measured."""

import copy
from typing import Any

import numpy as np

from numbarnn.checks import brief, to_array
from numbarnn.core.arrays import as_numeric
from numbarnn.errors import ShapeError
from numbarnn.forecasting.prediction import Newest


class ForecastStream:
    """Takes rows in the units of the data one by one, and forecasts after each.

    Made by `numbarnn.Forecaster.stream`; the forecaster itself stays as it is. Scales, changes and calendar features are the
    forecaster's, so that rows come as they are measured.

    Attributes
    ----------
    time
        Time or number of the newest row.
    """

    def __init__(self, forecaster: Any, series: Any = None):
        self._forecaster, self._series = copy.copy(forecaster), series
        self._predictor = forecaster._predictor()
        self._raw, self._index = forecaster._tails[series]

    @property
    def time(self) -> Any:
        return self._index[-1]

    def step(self, row: Any, future: Any = None) -> np.ndarray:
        """Take the next row, and forecast the rows after it.

        Parameters
        ----------
        row : array-like or mapping
            Values of all columns that were fitted: in their order, or by name (a dict or a Series).
        future : DataFrame, Series or array, optional
            As in `numbarnn.Forecaster.predict`.

        Returns
        -------
        (horizon, targets) array
            In the units of the targets.

        Raises
        ------
        ShapeError, TypeError, ValueError
            If the row has another number of values, columns are missing, or values are missing or no numbers. The stream is then as
            it was before.
        """
        own, forecaster = self._predictor.preparation, self._forecaster
        values = self._values(row)
        raw = np.concatenate([self._raw[1:], values[None]])
        index = self._index[1:].append(own.clock.after(self._index[-1:], 1))
        newest = Newest.of(own, {self._series: (raw, index)}, future, forecaster.delay, forecaster.horizon)
        found = newest.panel.units(self._predictor.ahead(*newest.case), newest.case[2], newest.columns)[0]
        self._raw, self._index = raw, index
        return found

    def _values(self, row):
        """Return a row as float64 values, in the order of the columns."""
        names = self._predictor.preparation.names
        if hasattr(row, "keys"):
            missing = [name for name in names if name not in row]
            if missing:
                raise ValueError(f"row lacks {missing}; the forecaster was fitted to {names}")
            row = [row[name] for name in names]
        values = np.asarray(as_numeric(to_array(row, "row"), "row"), np.float64)
        if values.shape != (len(names),):
            raise ShapeError(f"row must have {len(names)} values, those of {brief(names)}, got shape {values.shape}")
        if self._forecaster.missing == "ffill":
            values = np.where(np.isnan(values), self._raw[-1], values)
        if not np.isfinite(values).all():
            name = names[int(np.flatnonzero(~np.isfinite(values))[0])]
            raise ValueError(
                f"row must be finite; {name!r} is not. Train a Forecaster with missing='ffill' to go on without it"
            )
        return values
