"""Measures of forecasts. All take numbers in the units of the target and return one number."""

from typing import NamedTuple

import numpy as np

from numbarnn.errors import ShapeError


def _pair(truth, forecast):
    truth, forecast = np.asarray(truth, np.float64), np.asarray(forecast, np.float64)
    if truth.shape != forecast.shape or truth.size == 0:
        raise ShapeError(f"truth and forecast must have one shape and values, got {truth.shape} and {forecast.shape}")
    return truth, forecast


def mae(truth, forecast) -> float:
    """Return the mean absolute error, mean |y - f|."""
    truth, forecast = _pair(truth, forecast)
    return float(np.abs(truth - forecast).mean())


def rmse(truth, forecast) -> float:
    """Return the root of the mean squared error, sqrt(mean (y - f)^2)."""
    truth, forecast = _pair(truth, forecast)
    return float(np.sqrt(np.square(truth - forecast).mean()))


def naive_scale(series, season: int = 1) -> float:
    """Return mean |y_t - y_{t - season}| of a training series, the denominator of `mase`; NaN where it is too short."""
    series = np.asarray(series, np.float64)
    changes = np.abs(series[season:] - series[:-season])
    changes = changes[np.isfinite(changes)]
    return float(changes.mean()) if changes.size else float("nan")


def mase(truth, forecast, scale: float) -> float:
    """Return the mean absolute scaled error, MAE / scale (Hyndman & Koehler 2006).

    Parameters
    ----------
    truth, forecast : arrays of one shape
    scale : float
        `naive_scale` of the series that was trained on.
    """
    if not scale > 0:
        return float("nan")
    return mae(truth, forecast) / scale


def r2(truth, forecast, sample_weight=None) -> float:
    """Return the coefficient of determination, 1 - sum w (y - f)^2 / sum w (y - mean y)^2, averaged over the targets.

    A constant target that is met exactly has 1, any other 0, as in scikit-learn.
    """
    truth, forecast = _pair(truth, forecast)
    truth, forecast = truth.reshape(len(truth), -1), forecast.reshape(len(truth), -1)
    weight = np.ones(len(truth)) if sample_weight is None else np.asarray(sample_weight, np.float64)
    mean = np.average(truth, axis=0, weights=weight)
    rest = weight @ np.square(truth - forecast)
    total = weight @ np.square(truth - mean)
    scores = np.where(rest == 0, 1.0, 0.0)
    varying = total > 0
    scores[varying] = 1 - rest[varying] / total[varying]
    return float(scores.mean())


class LabelErrors(NamedTuple):
    """What turns true label strings into others, summed over samples.

    Attributes
    ----------
    substitutions, insertions, deletions : int
        Of a shortest list of edits; an insertion is a label too many.
    labels : int
        True labels.
    wrong, sequences : int
        Samples whose string is not exactly right, and all samples.
    """

    substitutions: int
    insertions: int
    deletions: int
    labels: int
    wrong: int
    sequences: int

    @property
    def edits(self) -> int:
        """The edit distance, summed over samples."""
        return self.substitutions + self.insertions + self.deletions

    @property
    def rate(self) -> float:
        """Label error rate: edits / true labels; above 1 where more is written than is true, NaN without any true label."""
        return self.edits / self.labels if self.labels else float("nan")

    @property
    def sequence_error(self) -> float:
        """Share of samples whose string is not exactly right."""
        return self.wrong / self.sequences


def label_errors(truth, predicted) -> LabelErrors:
    """Compare label strings: substitutions, insertions and deletions of shortest edits (Levenshtein 1966), and what follows.

    Parameters
    ----------
    truth, predicted : lists of sequences of labels
        Of two strings of edits of equal length the one with more substitutions is counted.

    Raises
    ------
    ShapeError
        If the numbers of strings differ, or there are none.
    """
    truth, predicted = [list(string) for string in truth], [list(string) for string in predicted]
    if len(truth) != len(predicted) or not truth:
        raise ShapeError(
            f"truth and predicted must have a string for each sample, got {len(truth)} and {len(predicted)}"
        )
    edits = [_edits(*pair) for pair in zip(truth, predicted, strict=True)]
    return LabelErrors(
        *(sum(column) for column in zip(*edits, strict=True)),
        sum(map(len, truth)),
        sum(any(row) for row in edits),
        len(truth),
    )


def label_error_rate(truth, predicted) -> float:
    """Return the edits that turn `predicted` strings into `truth`, divided by the number of true labels."""
    return label_errors(truth, predicted).rate


def sequence_error(truth, predicted) -> float:
    """Return the share of strings that are not exactly right."""
    return label_errors(truth, predicted).sequence_error


def _edits(truth, found):
    """Return (substitutions, insertions, deletions) of a shortest way from one string to another."""
    # (edits, insertions + deletions, insertions, deletions): of two shortest ways the one with more substitutions.
    row = [(j, j, j, 0) for j in range(len(found) + 1)]
    for i, label in enumerate(truth, 1):
        before, row = row, [(i, i, 0, i)]
        for j, other in enumerate(found, 1):
            cost, gaps, inserted, deleted = before[j - 1]
            same = (cost + (label != other), gaps, inserted, deleted)
            cost, gaps, inserted, deleted = row[j - 1]
            more = (cost + 1, gaps + 1, inserted + 1, deleted)
            cost, gaps, inserted, deleted = before[j]
            row.append(min(same, more, (cost + 1, gaps + 1, inserted, deleted + 1)))
    cost, gaps, inserted, deleted = row[-1]
    return cost - gaps, inserted, deleted
