"""Backtests: forecasts of windows whose truth is known as one frame, of one forecaster or of refits on the way."""

import itertools
from dataclasses import dataclass

import numpy as np

from numbarnn.forecasting.intervals import Calibration, Interval, of_equal_length, values_at
from numbarnn.forecasting.prediction import Outcome
from numbarnn.forecasting.series import Panel, index_of
from numbarnn.forecasting.targets import Targets


@dataclass(frozen=True, eq=False)
class Block:
    """Forecasts of windows by one forecaster, and what came.

    Attributes
    ----------
    targets : Targets
        The whole horizon at once.
    panel : Panel
    ends : (windows,) integers
    outcome : Outcome
    knots : (knots,) array
        Scores of the knots of its curves.
    scores : (windows, horizon, targets) array or None
        Of the truth; None where there are no curves.
    calibration : Calibration or None
    """

    targets: Targets
    panel: Panel
    ends: np.ndarray
    outcome: Outcome
    knots: np.ndarray | None = None
    scores: np.ndarray | None = None
    calibration: Calibration | None = None

    def units(self, values) -> np.ndarray:
        """Return values (windows, horizon, targets, ...) in the units of the data."""
        return self.panel.units(values, self.ends, self.targets.columns)

    def at(self, scores) -> np.ndarray:
        """Return the values of the curves at scores that broadcast to (windows, horizon, targets, n), in the units of the data."""
        return self.units(values_at(self.outcome.curves, self.knots, scores))

    @property
    def truth(self) -> np.ndarray:
        """What was measured, (windows, horizon, targets), in the units of the data."""
        return self.targets.measured(self.panel, self.ends)

    def frame(self, bounds=None):
        """Return a row for every window and row ahead; `bounds` (windows, horizon, targets, 2) or None."""
        import pandas as pd

        targets, panel = self.targets, self.panel
        extra = _columns(targets.preparation.targets, bounds is not None)
        columns = [self.units(self.outcome.values), self.truth]
        columns += [] if bounds is None else list(np.moveaxis(bounds, -1, 0))
        ahead = np.tile(targets.delay + np.arange(targets.horizon), len(self.ends))
        origin = np.repeat(self.ends, targets.horizon)
        times = index_of(panel.keys, panel.series_of(origin), panel.index[origin + ahead])
        found = {"origin": panel.index[origin], "ahead": ahead}
        for k, target in enumerate(targets.preparation.targets):
            for name, values in zip([target, *extra[target]], columns, strict=True):
                found[name] = values[:, :, k].reshape(-1)
        return pd.DataFrame(found, index=times)


def bounds_of_blocks(blocks: list[Block], interval: Interval) -> list[np.ndarray]:
    """Return the bounds of intervals, (windows, horizon, targets, 2) of every block, in the units of the data.

    The windows of a series are in order of time from block to block.
    """
    delay = blocks[0].targets.delay
    if interval.step is None:  # of every window by itself
        scores = interval.scores([(block.calibration, block.scores) for block in blocks], delay)
        return [block.at(at) for block, at in zip(blocks, scores, strict=True)]
    scores = [np.empty((*block.scores.shape, 2)) for block in blocks]
    number = np.arange(len(blocks[0].panel.starts))
    edges = np.array([np.searchsorted(block.panel.series_of(block.ends), number) for block in blocks])
    counts = np.diff(edges)
    for series in of_equal_length(counts):
        rows = [
            edge[series] + np.arange(count)[:, None] for edge, count in zip(edges, counts[:, series[0]], strict=True)
        ]
        pieces = [
            (block.calibration, np.moveaxis(block.scores[some], 1, -1))
            for block, some in zip(blocks, rows, strict=True)
        ]
        for out, some, values in zip(scores, rows, interval.scores(pieces, delay), strict=True):
            out[some] = np.moveaxis(values, -2, 1)
    return [block.at(at) for block, at in zip(blocks, scores, strict=True)]


def backtest(blocks: list[Block], interval: Interval | None):
    """Return the frame of a backtest, its windows in order of series and time."""
    import pandas as pd

    bounds = [None] * len(blocks) if interval is None else bounds_of_blocks(blocks, interval)
    frames = [block.frame(found) for block, found in zip(blocks, bounds, strict=True)]
    if len(frames) == 1:
        return frames[0]
    which = [np.repeat(block.panel.series_of(block.ends), block.targets.horizon) for block in blocks]
    return pd.concat(frames).iloc[np.argsort(np.concatenate(which), kind="stable")]


def check_names(targets, with_bounds: bool) -> None:
    """Raise ValueError if a target has the name of another column of the frame."""
    taken = {"origin", "ahead", *itertools.chain(*_columns(targets, with_bounds).values())}
    collide = [name for name in targets if name in taken]
    if collide:
        raise ValueError(
            f"the target {collide[0]!r} has the name of another column of the result, {', '.join(sorted(taken))}; rename it "
            f"before fit, such as data.rename(columns={{{collide[0]!r}: 'value'}})"
        )


def _columns(targets, with_bounds):
    """Return the names of the columns beside each target's forecasts."""
    sides = ("truth", "lower", "upper") if with_bounds else ("truth",)
    return {name: [f"{name} {side}" for side in sides] for name in targets}
