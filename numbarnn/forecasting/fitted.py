"""The state of a fitted forecaster: preparation of rows, forecast, evaluation, calibration, and the rows seen last."""

import dataclasses

import numpy as np

from numbarnn.forecasting.evaluation import Evaluation
from numbarnn.forecasting.frames import place_of
from numbarnn.forecasting.intervals import Calibration
from numbarnn.forecasting.net import Forecast
from numbarnn.forecasting.prediction import Newest, Predictor
from numbarnn.forecasting.preparation import Preparation
from numbarnn.forecasting.rows import SeenRows
from numbarnn.forecasting.series import Levels
from numbarnn.forecasting.targets import Targets
from numbarnn.training.history import History


@dataclasses.dataclass(eq=False)
class Fitted:
    """All that a forecaster learned, by `fitting.fit` or from a file.

    Attributes
    ----------
    preparation : Preparation
    targets : Targets
        As the net learns them: of a recursive forecaster all columns of the next row.
    forecast : Forecast
    evaluation : Evaluation
        Its targets are the whole horizon at once.
    deviation : (columns,) array
        Standard deviations on the training part.
    rows : SeenRows
    calibration : Calibration or None
        None: there was no validation part.
    history : History or None
        Of the first net; None of a forecaster that was loaded.
    interrupted : bool
        Whether the training of the last net was.
    given : (data, cuts, straddle) or None
        What it was fitted to, for backtests with refits.
    """

    preparation: Preparation
    targets: Targets
    forecast: Forecast
    evaluation: Evaluation
    deviation: np.ndarray
    rows: SeenRows
    calibration: Calibration | None = None
    history: History | None = None
    interrupted: bool = False
    given: tuple | None = None

    def predictor(self, settings) -> Predictor:
        """Return what forecasts of prepared rows, by the settings of a forecaster."""
        return Predictor(
            self.preparation, self.targets, self.forecast, settings.delay, settings.horizon, settings.recursive, settings.seed,
            settings.n_threads,
        )  # fmt: skip

    def newest(self, settings, data, future, before: int = 0) -> Newest:
        """Return the newest windows of all series of data, or of the rows seen last, and how many windows before are looked at."""
        own = self.preparation
        if data is None:
            rows = self.rows.recent if before else self.rows.tails
        else:
            keys, found = own.series(data)
            rows = {}
            for key, table in zip(keys or [None], found, strict=True):
                values, truth, index = own.rows_of(table, place_of("data", key), key)
                rows[key] = values, index, truth
        return Newest.of(own, rows, future, settings.delay, settings.horizon, before)

    def updated(self, new_rows) -> tuple[SeenRows, Levels]:
        """Return what `take` takes in of the rows after those seen last; nothing changes."""
        return self.rows.updated(self.preparation, new_rows)

    def take(self, rows: SeenRows, levels: Levels) -> None:
        """Set the rows seen last, and the levels of their series."""
        self.rows = rows
        self.preparation = dataclasses.replace(self.preparation, levels=levels)
        self.targets.preparation = self.evaluation.targets.preparation = self.preparation

    def checked_calibration(self) -> Calibration:
        """Return the calibration of intervals; raise ValueError if there is none."""
        if self.calibration is None:
            raise ValueError("intervals need a validation part to be calibrated by: give split three parts")
        return self.calibration
