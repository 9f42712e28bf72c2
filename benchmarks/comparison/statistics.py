"""Intervals of ratios: bootstrap of medians, and geometric means of them."""

import functools
from typing import NamedTuple

import numpy as np

LEAST = 6  # values of which the smallest and the largest enclose the median in 95 % of all cases: 1 - 2 / 2^6
DRAWS = 4000


class Interval(NamedTuple):
    """An estimate and the bounds of its 95 % interval."""

    middle: float
    low: float
    high: float

    @property
    def verdict(self) -> str:
        """Whether numbarnn is "ahead" or "behind", where the interval excludes 1, or "even"; "" without an interval."""
        if not self.low <= self.high:
            return ""
        return "ahead" if self.low > 1 else "behind" if self.high < 1 else "even"


NONE = Interval(np.nan, np.nan, np.nan)


@functools.cache
def _drawn(count, draws, seed):
    """Return the indices of draws with replacement; the same for all rows with as many values."""
    return np.random.default_rng(seed).integers(0, count, (draws, count))


def medians(values, draws: int = DRAWS, seed: int = 0) -> np.ndarray:
    """Return the medians of samples that are drawn from values with replacement, as many as there are values."""
    values = np.asarray(values, float)
    drawn, half = np.sort(values[_drawn(len(values), draws, seed)], axis=1), len(values) // 2
    return drawn[:, half] if len(values) % 2 else (drawn[:, half - 1] + drawn[:, half]) / 2


def _interval(middle, draws):
    low, high = np.quantile(draws, (0.025, 0.975))
    return Interval(float(middle), float(low), float(high))


def median_interval(values) -> Interval:
    """Return the median of values and its bootstrap interval; `NONE` of fewer than `LEAST` values.

    B. Efron, "Bootstrap methods: another look at the jackknife", Annals of Statistics 7 (1979), 1-26 (percentile method).
    """
    if len(values) < LEAST:
        return NONE
    return _interval(np.median(values), medians(values))


def geometric_mean_interval(groups) -> Interval:
    """Return the geometric mean of the medians of groups of positive values, and its bootstrap interval.

    Each group is drawn from by itself, so the interval is that of these cases, not of cases in general.
    """
    groups = [group for group in groups if len(group) >= LEAST]
    if not groups:
        return NONE
    draws = np.mean([np.log(medians(group, seed=number)) for number, group in enumerate(groups)], axis=0)
    middle = np.exp(np.mean([np.log(np.median(group)) for group in groups]))
    return _interval(middle, np.exp(draws))
