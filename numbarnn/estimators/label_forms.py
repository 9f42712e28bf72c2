"""Forms of y: one label a sample, labels of every step or segment, label sequences."""

import warnings
from dataclasses import dataclass

import numpy as np

from numbarnn.checks import brief, refuse_mask, to_array, to_list
from numbarnn.core.arrays import as_array
from numbarnn.core.frames import as_pandas, is_pandas
from numbarnn.core.ragged import Ragged
from numbarnn.errors import ShapeError
from numbarnn.estimators.labels import check_labels
from numbarnn.estimators.scikit import DataConversionWarning
from numbarnn.metrics.labels import flat_labels

# What has a label of its own.
ANSWERS = ("steps", "segments", "samples")


def column(y) -> list:
    """Return one label a sample as a list; a column is taken for its rows, with scikit-learn's warning."""
    y = plain(y)
    if not isinstance(y, np.ndarray):
        y = list(y)
        if not any(isinstance(label, (list, np.ndarray)) and np.ndim(label) for label in y):
            return flat_labels(y)[0]
        y = to_array(y, "y")
    if y.ndim == 2 and y.shape[1] == 1:
        warnings.warn(
            "A column-vector y was passed when a 1d array was expected. Please change the shape of y to (n_samples,)",
            DataConversionWarning,
            stacklevel=6,
        )
        y = y[:, 0]
    if y.ndim != 1:
        raise ValueError(
            f"y should be a 1d array of one label for each sample, got an array of shape {y.shape} instead."
        )
    return y.tolist()


def flat(y, x, given_offsets: bool) -> tuple[list, np.ndarray | None]:
    """Return labels of all steps (or segments) in one list and how many each sample has; None where each has one label."""
    y = plain(y)
    if given_offsets and not isinstance(y, Ragged) and len(y) == x.offsets[-1] and flat_first(y):
        return column(y), x.lengths
    if isinstance(y, Ragged):
        y = list(y)
    longest = int(x.lengths.max())
    if isinstance(y, np.ndarray) and y.ndim == 2 and not (y.shape[1] == 1 and longest > 1):
        if len(y) == len(x) and y.shape[1] >= longest:
            y = [row[:length] for row, length in zip(y, x.lengths, strict=True)]
        else:
            y = list(y)
    if not isinstance(y, np.ndarray):
        y = list(y)
        if y and all(isinstance(item, (list, tuple)) or (hasattr(item, "__array__") and np.ndim(item)) for item in y):
            labels = [label for index, item in enumerate(y) for label in listed(item, index)]
            return labels, np.array([len(item) for item in y], np.int64)
    return column(y), None


def plain(y):
    """Return labels as an array where they come as one, or in a table; lists as they are."""
    y = as_pandas(y, "y")
    refuse_mask(y, "y")
    if hasattr(y, "__array__"):  # of pandas and torch, too
        y = np.asarray(y)
        if y.ndim == 0:
            raise TypeError(f"y must be a list of labels, got {brief(y)}")
        return y
    return y if isinstance(y, Ragged) else to_list(y, "y", "labels")


def listed(labels, sample: int) -> list:
    """Return the labels of a sample as a list, masked ones as None."""
    if not isinstance(labels, (list, tuple)) and np.ndim(labels) == 0:
        raise TypeError(f"y[{sample}] must be a sequence of labels, got {brief(labels)}")
    return labels.tolist() if hasattr(labels, "tolist") else list(labels)


def flat_first(y) -> bool:
    """Return whether the first entry of y is a label, not a sequence of labels."""
    return len(y) > 0 and np.ndim(y[0]) == 0


def as_predicted(y, predicted: list, offsets) -> list[list]:
    """Return labels of steps or segments as a list for each sample, as they were predicted.

    offsets : of concatenated samples, whose labels may be concatenated too.
    """
    if offsets is not None and (len(y) != len(predicted) or flat_first(y)):
        y = list(Ragged(np.fromiter(y, object, len(y)), offsets))
    if len(y) != len(predicted):
        raise ShapeError(f"y has labels of {len(y)} samples, X has {len(predicted)}")
    if isinstance(y, np.ndarray) and y.ndim == 2:
        y = [row[: len(labels)] for row, labels in zip(y, predicted, strict=True)]
    return [listed(labels, index) for index, labels in enumerate(y)]


def check_each(own: np.ndarray, samples: int) -> None:
    """Raise ValueError unless there are labels for each sample."""
    if len(own) != samples:
        raise ValueError(f"y has labels of {len(own)} samples, X has {samples}: there must be some for each")


@dataclass(frozen=True, eq=False)
class Answers:
    """One label for each step, segment or sample.

    Attributes
    ----------
    labels : list
        Of all samples.
    own : (samples,) array
        How many each sample has.
    pairs : Ragged or None
        The segments; None: labels are those of steps.
    kind : str
        Of `ANSWERS`.
    """

    labels: list
    own: np.ndarray
    pairs: Ragged | None
    kind: str

    @classmethod
    def of(cls, y, x, pairs: Ragged | None, concatenated: bool) -> "Answers":
        """Return what y has for samples x, and the segments that they have or None."""
        labels, own = flat(y, x, concatenated)
        if pairs is not None:
            if own is None:
                raise ValueError("y must be a list of sequences of labels, one for each segment")
            return cls(labels, own, pairs, "segments")
        if own is None:
            return cls(labels, np.ones(len(x), np.int64), whole(x.lengths), "samples")
        return cls(labels, own, None, "steps")

    def check(self, x) -> None:
        """Raise ValueError unless there are as many labels as samples x have steps or segments."""
        if self.kind == "samples" and len(self.labels) != len(x):
            raise ValueError(
                f"y has {len(self.labels)} labels, X has {len(x)} samples: pass a list with the labels of each sample, one label "
                "for each sample, or offsets= with the labels of all steps"
            )
        check_each(self.own, len(x))
        counts, what = (x.lengths, "steps") if self.pairs is None else (self.pairs.lengths, "segments")
        wrong = np.flatnonzero(self.own != counts)
        if wrong.size:
            sample = wrong[0]
            raise ValueError(
                f"y[{sample}] has {self.own[sample]} labels, sample {sample} of X has {counts[sample]} {what}"
            )


def whole(lengths: np.ndarray) -> Ragged:
    """Return one segment over all of each sample."""
    return Ragged.of(np.stack([np.zeros_like(lengths), lengths], axis=1), np.ones_like(lengths))


def label_lists(y, y_lengths) -> list[list]:
    """Return label sequences as lists of hashable labels."""
    if y is None or not hasattr(y, "__iter__"):
        raise ValueError(f"y must be a list of label sequences, one a sample, got {brief(y)}")
    y = as_pandas(y, "y")
    refuse_mask(y, "y")
    y = y.to_numpy() if is_pandas(y) == "frame" else y
    if y_lengths is not None:
        counts, array = as_array(y_lengths, "y_lengths"), np.asarray(y)
        if counts.ndim != 1 or counts.dtype.kind not in "iu" or (counts < 0).any():
            raise TypeError(f"y_lengths must be integers, one a sample and none negative, got {brief(y_lengths)}")
        if array.ndim == 1:
            if counts.sum() != len(array):
                raise ShapeError(f"y has {len(array)} labels, y_lengths add up to {counts.sum()}")
            y = np.split(array, np.cumsum(counts)[:-1])
        elif array.ndim == 2 and len(array) == len(counts) and counts.max(initial=0) <= array.shape[1]:
            y = [row[:count] for row, count in zip(array, counts, strict=True)]
        else:
            raise ShapeError(
                f"y with y_lengths must be (samples, longest) or (all labels,), got {array.shape} with {len(counts)} lengths up to "
                f"{counts.max(initial=0)}"
            )
    elif isinstance(y, (str, bytes)):
        raise TypeError("y must be a list of label sequences, one a sample, got one string")
    sequences = []
    for index, sequence in enumerate(y):
        array = hasattr(sequence, "__array__") and not isinstance(sequence, str) and np.ndim(sequence) > 0
        if not array and not isinstance(sequence, (str, list, tuple)):
            raise TypeError(
                f"y[{index}] must be a sequence of labels, got {brief(sequence)}; a sequence of one label is a list of one label"
            )
        refuse_mask(sequence, f"y[{index}]")
        labels = [label.item() if isinstance(label, np.generic) else label for label in sequence]
        sequences.append(check_labels(labels, f"y[{index}]"))
    return sequences


def one_each(sequences, samples):
    """Raise ShapeError unless there is a label sequence for each sample."""
    if len(sequences) != samples:
        raise ShapeError(f"y has {len(sequences)} label sequences, X has {samples} samples: there must be one for each")
