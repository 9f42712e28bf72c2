"""Prediction intervals: distributions as curves of scores, and their calibration by forecasts whose truth is known.

What is forecast of a value is a curve: value as a function of a score, which rises. Of a forecast that is one number, the score is
the error, and the curve ``value = forecast + score``; of a distribution it is the standard normal quantile z of the level, and the
curve is linear between knots and beyond them. Scores of validation windows say how likely scores are, whatever the loss.
"""

from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from numbarnn.checks import brief, check_levels, check_real

# Levels of the knots of a distribution that has none of its own.
LEVELS = (0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99)
# Windows whose scores are stored, and scores in all beyond which they are fewer.
MOST_WINDOWS, MOST_SCORES = 2000, 2**22


def normal_scores(levels) -> np.ndarray:
    """Return the standard normal quantiles of levels in (0, 1)."""
    return np.array([NormalDist().inv_cdf(level) for level in levels])


def values_at(knots, scores, at) -> np.ndarray:
    """Return the values of curves at scores.

    Parameters
    ----------
    knots : (..., K) array
        Values of a curve, which do not fall.
    scores : (K,) array
        Where it has them; of K = 1, the curve has slope 1.
    at : array that broadcasts to (..., n)

    Returns
    -------
    (..., n) array
    """
    at = np.broadcast_to(at, (*knots.shape[:-1], np.shape(at)[-1]))
    if len(scores) == 1:
        return knots + (at - scores[0])
    left = np.searchsorted(scores[1:-1], at, side="right")
    low, high = (np.take_along_axis(knots, left + k, axis=-1) for k in (0, 1))
    return low + (at - scores[left]) / (scores[left + 1] - scores[left]) * (high - low)


def scores_of(knots, scores, values) -> np.ndarray:
    """Return the scores at which curves have values; `knots` and `scores` as in `values_at`, values (...)."""
    values = values[..., None]
    if len(scores) == 1:
        return (values - knots)[..., 0] + scores[0]
    # Knots may coincide, as those of counts do: the curve is then as steep as numbers can tell.
    least = np.finfo(float).eps * (np.abs(knots).max(axis=-1, keepdims=True) + 1.0)
    left = (values >= knots[..., 1:-1]).sum(axis=-1, keepdims=True)
    low, high = (np.take_along_axis(knots, left + k, axis=-1) for k in (0, 1))
    share = (values - low) / np.maximum(high - low, least)
    return (scores[left] + share * (scores[left + 1] - scores[left]))[..., 0]


@dataclass(frozen=True, eq=False)
class Calibration:
    """Scores of forecasts whose truth is known, for every row ahead and target.

    Attributes
    ----------
    scores : (windows, horizon, targets) array
        Sorted by windows.

    References
    ----------
    J. Lei, M. G'Sell, A. Rinaldo, R. Tibshirani, L. Wasserman, "Distribution-free predictive inference for regression", Journal of
    the American Statistical Association 113 (2018), algorithm 2 (one-sided, at both ends). Y. Romano, E. Patterson, E. Candes,
    "Conformalized quantile regression", NeurIPS 2019.
    """

    scores: np.ndarray

    @classmethod
    def of(cls, scores) -> "Calibration":
        """Return the calibration by scores in any order."""
        return cls(np.sort(scores, axis=0))

    def at(self, levels) -> np.ndarray:
        """Return the scores of levels in (0, 1) for every row ahead and target, (horizon, targets, levels).

        Of n scores, level p >= 1/2 is number ceil(p (n + 1)), and below 1/2 number floor(p (n + 1)): a new score lies beyond it
        with a probability of at most 1 - p, or p, if it is exchangeable with the n.

        Raises
        ------
        ValueError
            If there are too few scores for a level.
        """
        return np.moveaxis(self.scores[self._ranks(np.asarray(levels))], 0, -1)

    def levels(self) -> np.ndarray:
        """Return levels of equal distances that can be calibrated, 19 at most: what the whole of a distribution is scored by."""
        return (
            np.arange(1, 20) / 20
            if len(self.scores) >= 19
            else np.arange(1, len(self.scores) + 1) / (len(self.scores) + 1)
        )

    def _ranks(self, levels):
        n = len(self.scores)
        exact = levels * (n + 1)
        ranks = np.where(levels < 0.5, np.floor(exact + 1e-9), np.ceil(exact - 1e-9)).astype(np.int64)
        wrong = levels[(ranks < 1) | (ranks > n)]
        if wrong.size:
            raise ValueError(
                f"the quantile {wrong[0]:g} cannot be calibrated by {n} validation windows; give fit a larger validation part, or "
                "ask for a narrower interval"
            )
        return ranks - 1


def bounds_of(level) -> tuple[float, float]:
    """Return the levels of the lower and the upper bound of a central interval; raise unless its level is in (0, 1)."""
    level = check_real(level, "level")
    if not 0 < level < 1:
        raise ValueError(f"level must be in (0, 1), such as 0.9, got {level}")
    return (1 - level) / 2, (1 + level) / 2


def check_quantiles(quantiles, name: str = "quantiles") -> tuple[float, ...]:
    """Return one level or several as a tuple; raise unless they are numbers in (0, 1)."""
    one = isinstance(quantiles, (int, float, np.number))
    found = check_levels([quantiles] if one else quantiles, name)
    if not found:
        raise ValueError(f"{name} must have at least one number in (0, 1)")
    return found


@dataclass(frozen=True)
class Interval:
    """What central intervals are asked for.

    Attributes
    ----------
    level : float
        In (0, 1).
    step : float or None
        By which the level of a window's interval follows the hits and misses of the windows before; None: it stays.
    calibrated : bool
        False: as a loss of distributions says itself.
    """

    level: float
    step: float | None = None
    calibrated: bool = True

    @classmethod
    def of(cls, level, adaptive=None, calibrated: bool = True) -> "Interval":
        """Return the intervals that a user asks for; raise TypeError or ValueError unless level and step can be used."""
        bounds_of(level)
        if adaptive is not None and check_real(adaptive, "adaptive", 0.0) >= 1:
            raise ValueError(f"adaptive must be in [0, 1), such as 0.01, got {brief(adaptive)}")
        return cls(float(level), adaptive, calibrated)

    @property
    def levels(self) -> tuple[float, float]:
        """Levels of the lower and the upper bound."""
        return bounds_of(self.level)

    def scores(self, pieces, delay: int) -> list[np.ndarray]:
        """Return the scores of bounds, (windows, horizon, targets, ..., 2), of pieces (calibration, scores) of windows.

        Scores are (windows, horizon, targets), or have an axis of series that have as many windows. Windows and pieces are in
        order of time; the level goes on from piece to piece.

        Raises
        ------
        ValueError
            If a calibration has too few scores for the level.
        """
        if not self.calibrated:
            return [np.broadcast_to(normal_scores(self.levels), (*scores.shape, 2)) for _, scores in pieces]
        fixed = [
            np.broadcast_to(np.expand_dims(known.at(self.levels), tuple(range(2, scores.ndim - 1))), (*scores.shape, 2))
            for known, scores in pieces
        ]
        if self.step is None:
            return fixed
        each = [known for known, scores in pieces for _ in range(len(scores))]
        found = adaptive_scores(each, np.concatenate([scores for _, scores in pieces]), delay, self.level, self.step)
        return np.split(found, np.cumsum([len(scores) for _, scores in pieces])[:-1])


def of_equal_length(counts):
    """Yield the series, as an array, that have the same numbers of windows; `counts` (pieces, series)."""
    _, which = np.unique(counts, axis=1, return_inverse=True)
    which = which.reshape(-1)
    for kind in range(which.max(initial=-1) + 1):
        yield np.flatnonzero(which == kind)


def adaptive_scores(calibrations, scores, delay: int, level: float, step: float) -> np.ndarray:
    """Return the scores of the bounds of intervals whose level follows their hits, (windows, horizon, targets, ..., 2).

    The level 1 - a of a window's interval is that of the window before, and a moves by step ((1 - level) - miss) for every
    forecast whose truth has become known: that of `ahead` rows before. Where a leaves (0, 1), the bounds are those of the
    outermost scores.

    Parameters
    ----------
    calibrations : list of Calibration
        Of each window.
    scores : (windows, horizon, targets, ...) array
        Of the windows, in order of time, one a row; an axis after these is one of series. Where the truth is not known, NaN, a
        stays.
    delay : int
        Rows from a window's newest to the first that is forecast.
    step : float

    References
    ----------
    I. Gibbs, E. Candes, "Adaptive conformal inference under distribution shift", NeurIPS 2021, equation 2.
    """
    alpha = np.full(scores.shape[1:], 1 - level)
    bounds = np.empty((*scores.shape, 2))
    rows = np.arange(scores.shape[1])
    ahead = delay + rows
    for window, calibration in enumerate(calibrations):
        n = len(calibration.scores)
        known = calibration.scores.reshape(*calibration.scores.shape, *(1,) * (scores.ndim - 3))
        for side, share in ((0, alpha / 2), (1, 1 - alpha / 2)):
            ranks = np.floor(share * (n + 1)) if side == 0 else np.ceil(share * (n + 1))
            ranks = np.clip(ranks, 1, n).astype(np.int64) - 1
            bounds[window, ..., side] = np.take_along_axis(known, ranks[None], axis=0)[0]
        before = window + 1 - ahead  # the windows whose forecasts end with the next row
        told = before >= 0
        past = scores[before[told], rows[told]]
        lower, upper = np.moveaxis(bounds[before[told], rows[told]], -1, 0)
        miss = (past < lower) | (past > upper)
        moved = np.clip(alpha[told] + step * ((1 - level) - miss), 0.0, 1.0)
        alpha[told] = np.where(np.isnan(past), alpha[told], moved)
    return bounds
