"""Backtests in which the forecaster is trained again on the way: the rows of every training, and its forecasts."""

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np

from numbarnn import workers
from numbarnn.checks import check_choice
from numbarnn.errors import RefitError
from numbarnn.forecasting import fitting
from numbarnn.forecasting.frames import PARTS
from numbarnn.forecasting.series import Panel
from numbarnn.training.progress import counted


@dataclass(frozen=True, eq=False)
class Refit:
    """One of the trainings of a backtest.

    Attributes
    ----------
    rows : list of slice
        Rows of each series that are trained on: up to the origin of the first forecast.
    cuts : list of list of int
        First rows of the parts of each series after the first, counted from the first of these rows; the last part has no rows.
    last : list of int
        Rows of each series up to which the truth is needed.
    origins : list of (first, last)
        Origins of each series whose windows are forecast: rows, `last` not among them.
    """

    rows: list[slice]
    cuts: list[list[int]]
    last: list[int]
    origins: list[tuple[int, int]]

    def of(self, series: list[int]) -> "Refit":
        """Return the training of some of the series."""
        return Refit(*([part[s] for s in series] for part in (self.rows, self.cuts, self.last, self.origins)))


def refits_of(panel: Panel, ends, cuts, every: int, sliding: bool, reach: int) -> list[Refit]:
    """Return the trainings of a backtest.

    Parameters
    ----------
    panel, ends : the rows of all series, and the newest rows of the windows
    cuts : list of list of int
        First rows of the parts after the first, of every series in `fit`.
    every : int
        Origins of a series after which the forecaster is trained again.
    sliding : bool
    reach : int
        Rows from an origin to the last that is forecast.
    """
    which, starts = panel.series_of(ends), panel.starts
    own = [ends[which == series] - starts[series] for series in range(len(starts) - 1)]
    counts = [-(-int(rows[-1] + 1 - rows[0]) // every) if len(rows) else 0 for rows in own]
    found = []
    for number in range(max(counts)):
        rows, parts, last, origins = [], [], [], []
        for series, some in enumerate(own):
            total = int(starts[series + 1] - starts[series])
            # A series without windows is trained on up to where its last part begins, as in `fit`.
            first = int(some[0]) if len(some) else cuts[series][-1] - 1
            origin = min(first + number * every, total - 1)
            begin = max(0, origin - first) if sliding else 0
            size = origin + 1 - begin
            rows.append(slice(begin, origin + 1))
            cut = cuts[series]
            parts.append([size * cut[0] // cut[1], size] if len(cut) == 2 and cut[1] else [size] * len(cut))
            stop = min(origin + every, total)
            last.append(min(stop + reach, total))
            origins.append((origin, stop) if number < counts[series] else (0, 0))
        found.append(Refit(rows, parts, last, origins))
    return found


@dataclass(frozen=True, eq=False)
class _Trainings:
    """What all trainings of a backtest share; a call with a `Refit` trains, and returns the forecasts as a `backtests.Block`.

    Attributes
    ----------
    settings : Forecaster
    targets, keys, frames, clock, straddle
        As `fitting.fit_frames` takes them.
    starts : list of int
        First row of each series within the rows of all.
    ends : (windows,) integers
        Newest rows of the windows to be forecast.
    part : str
    curves : bool
    """

    settings: Any
    targets: list
    keys: list | None
    frames: list
    clock: Any
    straddle: Any
    starts: np.ndarray
    ends: np.ndarray
    part: str
    curves: bool

    def __call__(self, plan: Refit):
        keys, frames = self.keys, self.frames
        trained = [frame.iloc[rows] for frame, rows in zip(frames, plan.rows, strict=True)]
        names = PARTS[: len(plan.cuts[0])]
        own = fitting.fit_frames(
            self.settings, self.targets, keys, trained, self.clock, plan.cuts, names, self.straddle, (), 0
        )
        if own.interrupted:
            raise KeyboardInterrupt
        first = np.array([rows.start for rows in plan.rows])

        def within(of, newest):
            """Return which windows of the rows around the origins are those to forecast."""
            which = of.series_of(newest)
            origins = newest - of.starts[which] + first[which]
            low, high = np.array(plan.origins)[which].T
            return (origins >= low) & (origins < high) & np.isin(origins + self.starts[which], self.ends)

        rows = [frame.iloc[rows.start : last] for frame, rows, last in zip(frames, plan.rows, plan.last, strict=True)]
        rows = rows[0] if keys is None else dict(zip(keys, rows, strict=True))
        predictor = own.predictor(self.settings)
        return own.evaluation.block(predictor, rows, self.part, own.calibration, curves=self.curves, within=within)


def _trained(trainings, plan):
    """Return the forecasts of a training; what a worker calls."""
    return trainings(plan)


def refitted(forecaster, part, curves, every, sliding, verbose, to_frame, client=None):
    """Return the frame of the forecasts of a part by forecasters that are trained on the way.

    Parameters
    ----------
    forecaster : Forecaster
        Fitted to data, and not loaded.
    part : {"validation", "test"}
    curves : bool
        Whether forecasts need their curves.
    every : int
        Origins after which the forecaster is trained again.
    sliding : bool
        Whether the rows that are trained on stay as many.
    verbose : int
    to_frame : callable
        Makes the frame of a list of `backtests.Block`.
    client : distributed.Client or None
        Whose workers train.

    Raises
    ------
    RefitError
        If a training or its forecasts fail; it has the frame of those before.
    KeyboardInterrupt
        After Ctrl-C in the first; later the result has the forecasts of those before.
    """
    state = forecaster._state
    check_choice(part, "part", PARTS[1:])
    given, cuts, straddle = state.given
    keys, frames, clock = fitting.aligned(forecaster, given)
    panel, ends, blocks = state.evaluation.panel, state.evaluation.ends(part), []
    plans = refits_of(panel, ends, cuts, every, sliding, forecaster.delay + forecaster.horizon - 1)
    # A series that begins after the last cut and has no window is never trained on.
    used = [s for s, cut in enumerate(cuts) if cut[-1] or (panel.series_of(ends) == s).any()]
    keys, frames = keys and [keys[s] for s in used], [frames[s] for s in used]
    plans, starts = [plan.of(used) for plan in plans], panel.starts[:-1][used]
    own = {"time": None, "wide": False} | ({} if client is None else {"n_threads": 1})
    settings = type(forecaster)(**forecaster.get_params() | own)
    trainings = _Trainings(
        settings, forecaster.target_names_, keys, frames, clock, straddle, starts, ends, part, curves
    )
    results = map(trainings, plans) if client is None else workers.results(client, _trained, plans, trainings)
    for number, plan in enumerate(counted(plans, verbose, "refit"), 1):
        try:
            blocks.append(next(results))
        except KeyboardInterrupt:
            if not blocks:
                raise
            warnings.warn(
                f"the backtest was interrupted after {len(blocks)} of {len(plans)} refits; the result has their forecasts",
                stacklevel=3,
            )
            break
        except Exception as error:
            origin = max(frame.index[rows.stop - 1] for frame, rows in zip(frames, plan.rows, strict=True))
            where = f"refit {number} of {len(plans)}, on the rows up to {origin}: {error}"
            done = "; the attribute finished of this error has the forecasts of the refits before" if blocks else ""
            raise RefitError(where + done, to_frame(blocks) if blocks else None) from error
    return to_frame(blocks)
