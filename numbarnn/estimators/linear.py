"""The linear path of estimators: a ridge regression on summaries of a sequence, whose outputs are averaged with those of the net.

The summaries of a feature are its mean, standard deviation, last value, minimum and maximum over the valid steps. Penalties, and
how sharp the probabilities are, are chosen by the errors on samples that are left out one by one, which have a closed form (PRESS:
Allen 1974, "The relationship between variable selection and data augmentation and a method for prediction").
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from numbarnn.core.ragged import Ragged
from numbarnn.core.softmax import log_softmax
from numbarnn.estimators.samples import BLOCK

# Summaries of a feature.
SUMMARIES = 5
# Ridge penalties, in variances of a standardised summary; and factors of the regression of indicators that make logits of it.
PENALTIES, SHARPNESS = np.logspace(-5, 2, 15), np.geomspace(1, 64, 19)
# Samples and summaries of sets that have a linear path: of larger ones nothing is known, and a second net costs more.
LEAST_SAMPLES, MOST_SAMPLES, MOST_SUMMARIES = 10, 2000, 2048
# The share of what is unknown (variance of values, entropy of labels) that the path must explain of n samples: 0.05 + 7 / n.
# It is that of the best of many candidates, and so above 0 for mere noise, the more the fewer samples there are; by simulation of
# 10 to 80 samples and 5 to 100 summaries, at most 4 % of sets of noise explain more, 6 % where the classes are uneven.
LEAST_EXPLAINED, BY_CHANCE = 0.05, 7.0
# The smallest penalty by which that share is measured: with less and about as many summaries as samples it varies too much.
STEADY = 0.01
# How far beyond their range in training summaries go on to count, in widths of that range: a line that goes on for ever is not
# what was learned, and a summary that hardly varied has a steep one.
MARGIN = 0.5
# What varies less than this is constant: of the spread of its feature, and of the feature's size, which rounding alone makes vary.
FLAT, ROUNDING = 1e-6, 1e-9


@dataclass(frozen=True, eq=False, repr=False)
class LinearPath:
    """A regression on summaries, and its share in the outputs of an estimator.

    Attributes
    ----------
    center, scale : (summaries,) arrays
    weight : (summaries, outputs) array
    bias : (outputs,) array
    share : float
        Of the outputs; the rest is the net's.
    low, high : (summaries,) arrays, optional
        Limits: a summary beyond them counts as if it were there.
    """

    center: np.ndarray
    scale: np.ndarray
    weight: np.ndarray
    bias: np.ndarray
    share: float = 1.0
    low: np.ndarray | None = None
    high: np.ndarray | None = None

    def __repr__(self) -> str:
        return f"<LinearPath of {len(self.center)} summaries, share {self.share}>"

    def outputs(self, rows: np.ndarray) -> np.ndarray:
        """Return the outputs (n, outputs) of summaries (n, summaries)."""
        if self.low is not None:
            rows = np.clip(rows, self.low, self.high)
        return (rows - self.center) / self.scale @ self.weight + self.bias

    def mixed(self, outputs: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """Return outputs of the net (n, outputs) averaged with those of the path."""
        return (1 - self.share) * outputs + self.share * self.outputs(rows)


def summaries(x: np.ndarray | Ragged) -> np.ndarray:
    """Return the summaries (samples, 5 features), float64, of samples of one length or of several; each has a step."""
    if not isinstance(x, Ragged):
        x = Ragged(x.reshape(-1, x.shape[2]), np.arange(len(x) + 1) * x.shape[1])
    found, first = np.empty((len(x), SUMMARIES * x.values.shape[1])), 0
    while first < len(x):
        end = max(first + 1, int(np.searchsorted(x.offsets, x.offsets[first] + BLOCK, "right")) - 1)
        own, lengths = slice(x.offsets[first], x.offsets[end]), x.lengths[first:end]
        values, starts = x.values[own].astype(np.float64), x.offsets[first:end] - x.offsets[first]
        mean = np.add.reduceat(values, starts) / lengths[:, None]
        squares = np.add.reduceat(np.square(values - np.repeat(mean, lengths, axis=0)), starts)
        low, high = np.minimum.reduceat(values, starts), np.maximum.reduceat(values, starts)
        parts = [mean, np.sqrt(squares / lengths[:, None]), values[starts + lengths - 1], low, high]
        found[first:end] = np.concatenate(parts, axis=1)
        first = end
    return found


class RunningSummaries:
    """The summaries of a sequence whose steps come one by one."""

    def __init__(self):
        self.steps = 0

    def add(self, row: np.ndarray) -> np.ndarray:
        """Take a step (features,), and return the summaries (1, 5 features) up to there."""
        row = row.astype(np.float64)
        if self.steps == 0:
            self.mean, self.squares, self.low, self.high = np.zeros_like(row), np.zeros_like(row), row, row
        self.steps += 1
        before = row - self.mean
        self.mean = self.mean + before / self.steps
        self.squares = self.squares + before * (row - self.mean)
        self.low, self.high = np.minimum(self.low, row), np.maximum(self.high, row)
        return np.concatenate([self.mean, np.sqrt(self.squares / self.steps), row, self.low, self.high])[None]


def is_small(samples: int, features: int) -> bool:
    """Return whether a set is small enough for a linear path, and has samples to learn it from."""
    return LEAST_SAMPLES <= samples <= MOST_SAMPLES and SUMMARIES * features <= MOST_SUMMARIES


def explains(explained: float, weight: np.ndarray) -> bool:
    """Return whether a path explains more of samples with these weights (n,) than one of noise would.

    n is the number of samples of one weight that say as much (Kish 1965, "Survey Sampling").
    """
    return explained > LEAST_EXPLAINED + BY_CHANCE * float(weight @ weight) / float(weight.sum()) ** 2


def fit_values(rows: np.ndarray, target: np.ndarray, weight: np.ndarray | None) -> tuple[LinearPath, float]:
    """Return the regression of values (n, targets) on summaries, and the share of their variance that it explains.

    That share is of samples that are left out.
    """
    weight = _weights(weight, len(rows))
    variance = weight @ np.square(target - weight @ target)
    found = [
        (float(np.sum(weight @ np.square(target - left_out))), path)
        for path, left_out in _regressions(rows, target, weight)
    ]
    return _best(found, float(variance.sum()))


def fit_labels(
    rows: np.ndarray, target: np.ndarray, weight: np.ndarray | None, several: bool
) -> tuple[LinearPath, float]:
    """Return the path whose outputs are logits, and the share of the labels' entropy that it explains.

    Parameters
    ----------
    rows : (n, summaries) array
    target : (n, classes) array
        Indicators: of the one class, or of several labels.
    weight : (n,) array, optional
    several : bool
    """
    weight = _weights(weight, len(rows))
    shares = np.clip(weight @ target, 1e-12, 1 - 1e-12)
    entropy = -np.sum(shares * np.log(shares) + (several * (1 - shares) * np.log(1 - shares)))
    middle = 0.5 if several else 0.0
    found = []
    for path, left_out in _regressions(rows, target, weight):
        best = None
        for sharpness in SHARPNESS:
            logits = sharpness * (left_out - middle)
            loss = float(weight @ label_losses(logits, target, several))
            if best is None or loss < best[0]:
                best = loss, sharpness
        loss, sharpness = best
        bias = sharpness * (path.bias - middle)
        found.append((loss, replace(path, weight=sharpness * path.weight, bias=bias)))
    return _best(found, float(entropy) if entropy > 1e-6 else 0.0)


def label_losses(logits: np.ndarray, target: np.ndarray, several: bool) -> np.ndarray:
    """Return the cross-entropy (n,) of logits (n, classes) and indicators: of the one class, or of several labels."""
    losses = np.logaddexp(0, np.where(target > 0, -logits, logits)) if several else -target * log_softmax(logits)
    return losses.sum(axis=1)


def _best(found, unknown):
    """Return the best of (error, path) of every penalty, and the share of what is unknown that is explained."""
    _, path = min(found, key=lambda pair: pair[0])
    steady = min(error for (error, _), penalty in zip(found, PENALTIES, strict=True) if penalty >= STEADY)
    return path, 1 - steady / unknown if unknown else 0.0


def _weights(weight, samples):
    """Return weights of samples that sum to 1."""
    return np.full(samples, 1 / samples) if weight is None else weight / weight.sum()


def _regressions(rows, target, weight) -> Iterator[tuple[LinearPath, np.ndarray]]:
    """Yield the ridge regression of every penalty, and its values for each sample without having seen it."""
    center = weight @ rows
    scale = _scales(center, np.sqrt(weight @ np.square(rows - center)))
    low, high = rows.min(axis=0), rows.max(axis=0)
    margin = MARGIN * (high - low)
    limits = {"low": low - margin, "high": high + margin}
    inputs, bias = (rows - center) / scale, weight @ target
    values, vectors = np.linalg.eigh(inputs.T @ (weight[:, None] * inputs))
    values, turned = np.maximum(values, 0), inputs @ vectors
    aims = turned.T @ (weight[:, None] * (target - bias))
    for penalty in PENALTIES:
        inverse = 1 / (values + penalty)
        residual = target - bias - turned @ (inverse[:, None] * aims)
        leverage = weight * (1 + np.square(turned) @ inverse)
        left_out = (
            target - residual / np.maximum(1 - leverage, 1e-12)[:, None]
        )  # both near 0 where all is learned by heart
        yield LinearPath(center, scale, vectors @ (inverse[:, None] * aims), bias, **limits), left_out


def _scales(center, spread):
    """Return what summaries are divided by: their standard deviations, 1 of those that are constant beside their feature."""
    mean, deviation, *_ = np.abs(center).reshape(SUMMARIES, -1)
    own = np.maximum(spread.reshape(SUMMARIES, -1).max(axis=0), deviation)
    least = np.maximum(FLAT * own, ROUNDING * mean)
    return np.where(spread > np.tile(least, SUMMARIES), spread, 1.0)
