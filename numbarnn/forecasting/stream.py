"""Forecasts row by row, as rows are measured."""

from typing import Any

import numpy as np

from numbarnn.checks import brief, to_array
from numbarnn.core.arrays import as_numeric
from numbarnn.errors import ShapeError
from numbarnn.forecasting.prediction import Newest, Predictor
from numbarnn.forecasting.rows import SeenRows


class ForecastStream:
    """Takes rows in the units of the data one by one, and forecasts after each.

    Made by `numbarnn.Forecaster.stream`; the forecaster itself stays as it is. Scales, changes and calendar features are the
    forecaster's, so that rows come as they are measured.

    Attributes
    ----------
    time
        Time or number of the newest row.
    """

    def __init__(self, predictor: Predictor, rows: SeenRows, series: Any = None):
        self._predictor, self._series = predictor, series
        self._raw, self._index = rows.tail(predictor.preparation, series)

    @property
    def time(self) -> Any:
        return self._index[-1]

    def step(self, row: Any, future: Any = None, *, time: Any = None) -> np.ndarray:
        """Take the next row, and forecast the rows after it.

        Parameters
        ----------
        row : array-like or mapping
            Values of all columns that were fitted: in their order, or by name (a dict or a Series).
        future : DataFrame, Series or array, optional
            As in `numbarnn.Forecaster.predict`.
        time : time, period or number, optional
            Of the row, where rows are irregular (``irregular="elapsed"``); regular rows have the next one.

        Returns
        -------
        (horizon, targets) array
            In the units of the targets.

        Raises
        ------
        ShapeError, TypeError, ValueError
            If the row has another number of values, columns are missing, or values are missing or not numeric. The stream is then
            as it was before.
        """
        predictor, own = self._predictor, self._predictor.preparation
        after = self._after(time)
        raw = np.concatenate([self._raw[1:], self._values(row, after)[None]])
        index = self._index[1:].append(after)
        newest = Newest.of(own, {self._series: (raw, index)}, future, predictor.delay, predictor.horizon)
        found = newest.panel.units(predictor.ahead(*newest.case), newest.case[2], newest.columns)[0]
        self._raw, self._index = raw, index
        return found

    def _after(self, time):
        """Return the index of the next row."""
        clock = self._predictor.preparation.clock
        if not clock.regular:
            return clock.next(self._index, time)
        if time is not None:
            raise ValueError("time was given, but rows are regular: the next one has the next time; leave it out")
        return clock.after(self._index[-1:], 1)

    def _values(self, row, index):
        """Return a row encoded."""
        own = self._predictor.preparation
        names = own.encoding.columns
        if hasattr(row, "keys"):
            missing = [name for name in names if name not in row]
            if missing:
                raise ValueError(f"row lacks {missing}; the forecaster was fitted to {names}")
            row = [row[name] for name in names]
        if not own.encoding.plain:
            return self._encoded(row, index)
        values = np.asarray(as_numeric(to_array(row, "row"), "row"), np.float64)
        if values.shape != (len(names),):
            raise ShapeError(f"row must have {len(names)} values, those of {brief(names)}, got shape {values.shape}")
        if own.missing in ("ffill", "mask"):
            values = np.where(np.isnan(values), self._raw[-1], values)
        self._check_finite(values)
        return values

    def _encoded(self, row, index):
        """Return a row of which there is more than its numbers."""
        import pandas as pd

        own, count = self._predictor.preparation, len(self._predictor.preparation.encoding.columns)
        shape = to_array(row, "row").shape
        if shape != (count,):
            raise ShapeError(f"row must have {count} values, those of {brief(own.encoding.columns)}, got shape {shape}")
        frame = pd.DataFrame([list(row)], index=index, columns=own.encoding.columns)
        frame = own.encoding.frame(frame.infer_objects(), "row")
        self._check_finite(frame[own.encoding.numbers].to_numpy(np.float64)[0])
        return own.encoding.rows(frame, own.clock, "row", self._series, (self._raw, self._index))[0][0]

    def _check_finite(self, values):
        """Raise ValueError where a number is infinite, or missing and not filled."""
        own = self._predictor.preparation
        wrong = ~np.isfinite(values) if own.missing not in ("ffill", "mask") else np.isinf(values)
        if wrong.any():
            name = own.encoding.numbers[int(np.flatnonzero(wrong)[0])]
            raise ValueError(
                f"row must be finite; {name!r} is not. Train a Forecaster with missing='ffill' or 'mask' to go on without it"
            )
