"""Several labels a sample or a step: indicators, as scikit-learn's classifiers of several labels take them.

Forms of y, for n samples and K labels:

* (n, K) array or DataFrame of 0 and 1 (or booleans), or a list of n such rows; the columns of a DataFrame are the labels, else the
  labels are 0 to K - 1. scipy's sparse matrices, too;
* a list of n sets of labels, empty ones too.

Of steps: (n, time steps, K) array, a list of n arrays or DataFrames (time steps, K), a list of n lists of sets, or, of concatenated
samples, one array or DataFrame (steps of all samples, K). Steps with a missing indicator do not count.
"""

from dataclasses import dataclass

import numpy as np

from numbarnn.checks import brief, refuse_mask
from numbarnn.core.arrays import as_numeric
from numbarnn.core.frames import as_pandas, is_pandas
from numbarnn.core.ragged import Ragged
from numbarnn.errors import ShapeError
from numbarnn.estimators.labels import Classes, check_labels


@dataclass(frozen=True, eq=False)
class Indicators:
    """Labels of samples or steps: which of several each of them has.

    Attributes
    ----------
    rows : (n, K) float array, or list of sets
        Of all samples, or of all steps; NaN where it is missing.
    names : list or None
        Labels of the columns, where they have names.
    lengths : (samples,) array or None
        Steps of each sample.
    """

    rows: np.ndarray | list
    names: list | None = None
    lengths: np.ndarray | None = None

    def classes(self) -> Classes:
        """Return the labels."""
        if self.names is not None:
            return Classes.listed(check_labels(list(self.names), "columns of y"))
        if isinstance(self.rows, list):
            return Classes.of(check_labels([label for row in self.rows for label in row]))
        return Classes.listed(list(range(self.rows.shape[1])))

    def encode(self, classes: Classes) -> np.ndarray:
        """Return the indicators (n, K) of classes; raise ValueError where they are of others."""
        if isinstance(self.rows, list):
            found = np.zeros((len(self.rows), len(classes)))
            counts = [len(row) for row in self.rows]
            codes = classes.encode(check_labels([label for row in self.rows for label in row]))
            found[np.repeat(np.arange(len(self.rows)), counts), codes] = 1
            return found
        if self.names is not None and list(self.names) != classes.listing:
            raise ValueError(f"y has columns {self.names}, the model knows {classes.listing}, in this order")
        if self.rows.shape[1] != len(classes):
            raise ValueError(
                f"y has {self.rows.shape[1]} columns, the model knows {len(classes)} labels: one column for each"
            )
        return self.rows

    def of_lengths(self, classes: Classes, lengths: np.ndarray) -> np.ndarray:
        """Return the indicators of the steps of samples of some lengths, which may be padded to one of at least the longest."""
        rows, own = self.encode(classes), self.lengths
        if len(set(own.tolist())) == 1 and own[0] >= lengths.max():
            parts = zip(Ragged.of(rows, own), lengths, strict=True)
            return np.concatenate([part[:length] for part, length in parts])
        wrong = np.flatnonzero(own != lengths)
        if wrong.size:
            sample = wrong[0]
            raise ValueError(
                f"y[{sample}] has labels of {own[sample]} steps, sample {sample} of X has {lengths[sample]}"
            )
        return rows


def of_samples(y) -> Indicators | None:
    """Return y as indicators of samples, or None where it is not of a form of them."""
    y = _plain(y)
    if is_pandas(y) == "frame":
        return Indicators(_checked(y, "y"), list(y.columns)) if y.shape[1] > 1 else None
    if isinstance(y, np.ndarray):
        return Indicators(_checked(y, "y")) if y.ndim == 2 and y.shape[1] > 1 else None
    if not isinstance(y, (list, tuple)) or not len(y):
        return None
    if any(isinstance(row, set) for row in y):
        return Indicators(_sets(y, "y"))
    if (
        all(isinstance(row, (list, np.ndarray)) and np.ndim(row) == 1 for row in y)
        and len({len(row) for row in y}) == 1
    ):
        return of_samples(np.array(y))
    return None


def of_steps(y, offsets=None) -> Indicators | None:
    """Return y as indicators of the steps of samples, or None where it is not of a form of them.

    offsets : of concatenated samples, whose indicators may be concatenated too.
    """
    y = _plain(y)
    if offsets is not None and getattr(y, "ndim", 0) == 2 and len(y) == offsets[-1] != len(offsets) - 1:
        names = list(y.columns) if is_pandas(y) == "frame" else None
        return Indicators(_checked(y, "y"), names, np.diff(offsets))
    if isinstance(y, Ragged) or (isinstance(y, np.ndarray) and y.ndim == 3):
        y = list(y)
    if not isinstance(y, (list, tuple)) or not len(y):
        return None
    if any(isinstance(sample, (list, tuple)) and any(isinstance(row, set) for row in sample) for sample in y):
        rows = [row for index, sample in enumerate(y) for row in _sets(sample, f"y[{index}]")]
        return Indicators(rows, lengths=np.array([len(sample) for sample in y]))
    y = [_plain(sample) for sample in y]
    if not all((is_pandas(sample) == "frame" or isinstance(sample, np.ndarray)) and sample.ndim == 2 for sample in y):
        return None
    names = None
    if any(is_pandas(sample) == "frame" for sample in y):
        names = list(y[0].columns) if is_pandas(y[0]) == "frame" else None
        for index, sample in enumerate(y):
            own = list(sample.columns) if is_pandas(sample) == "frame" else None
            if own != names:
                raise ValueError(f"y[{index}] has columns {own}, y[0] has {names}; they must be the same")
    parts = [_checked(sample, f"y[{index}]") for index, sample in enumerate(y)]
    for index, part in enumerate(parts):
        if part.shape[1] != parts[0].shape[1]:
            raise ShapeError(f"y[{index}] has {part.shape[1]} labels a step, y[0] has {parts[0].shape[1]}")
    return Indicators(np.concatenate(parts), names, np.array([len(part) for part in parts]))


def subset_accuracy(truth: np.ndarray, predicted: np.ndarray, weight) -> float:
    """Return the share of rows of indicators of which every one is right, weighted."""
    if weight is not None and weight.sum() == 0:
        raise ValueError("sample_weight is 0 for everything that counts; one must be positive")
    return float(np.average((truth == predicted).all(axis=1), weights=weight))


def balanced(indicators: np.ndarray) -> dict[str, tuple[float, ...]]:
    """Return the options of `BinaryCrossEntropy` by which both answers of every question have the same weight."""
    positive = indicators.sum(axis=0)
    negative = len(indicators) - positive
    weight = len(indicators) / (2 * np.maximum(negative, 1))
    return {
        "pos_weight": tuple((np.maximum(negative, 1) / np.maximum(positive, 1)).tolist()),
        "weight": tuple(weight.tolist()),
    }


def steps_that_count(indicators: np.ndarray, ignore) -> np.ndarray:
    """Return which rows of indicators have neither a missing value nor the one to ignore."""
    found = ~np.isnan(indicators).any(axis=1)
    if isinstance(ignore, (int, float)) and not isinstance(ignore, bool):
        found &= ~(indicators == ignore).any(axis=1)
    return found


def check_answers(indicators: np.ndarray) -> np.ndarray:
    """Return indicators; raise ValueError unless all are 0 or 1."""
    wrong = ~((indicators == 0) | (indicators == 1))
    if wrong.any():
        raise ValueError(
            f"y should be a 1d array of one label for each sample or step, or indicators, 0 and 1 for each label; got an array of "
            f"shape {indicators.shape} with values such as {indicators[wrong][0]:g}"
        )
    return indicators


def _plain(y):
    """Return y as a table, an array, or a list where it is one of sets."""
    if hasattr(y, "tocsr"):
        return y.toarray()
    y = as_pandas(y, "y")
    if is_pandas(y) == "frame" or isinstance(y, (list, tuple, Ragged, np.ma.MaskedArray)):
        return y
    if hasattr(y, "__array__"):
        y = np.asarray(y)
        return list(y) if y.dtype == object and y.ndim == 1 else y
    return y


def _checked(rows, name):
    """Return indicators as float64; raise TypeError unless they are numeric."""
    refuse_mask(rows, name)
    try:
        return np.asarray(as_numeric(rows, name), np.float64)
    except TypeError:
        raise TypeError(
            f"{name} should be a 1d array of one label for each sample or step, or indicators, 0 and 1 for each label; got "
            f"{brief(rows)}"
        ) from None


def _sets(rows, name):
    for index, row in enumerate(rows):
        if not isinstance(row, (set, frozenset)):
            raise TypeError(f"{name}[{index}] must be a set of labels, as others are, got {brief(row)}")
    return list(rows)
