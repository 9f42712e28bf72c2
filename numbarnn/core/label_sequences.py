"""Label sequences of a batch: the forms that users may pass, and the two that the package uses.

Inside the package they are an array (samples, longest) whose rows are padded with -1, so that a source of batches may pick rows,
or one flat array with the number of labels of each sample.
"""

from typing import NamedTuple

import numpy as np

from numbarnn.checks import as_int64, brief, refuse_mask
from numbarnn.core.arrays import as_array
from numbarnn.errors import ShapeError, TokenError

PADDING = -1


class Labels(NamedTuple):
    """Label sequences, concatenated.

    Attributes
    ----------
    flat : (sum of counts,) int64
    counts : (samples,) int64
    """

    flat: np.ndarray
    counts: np.ndarray

    @property
    def starts(self) -> np.ndarray:
        """Offset of each sequence, and the end of the last, (samples + 1,)."""
        return np.concatenate([np.zeros(1, np.int64), np.cumsum(self.counts)])

    @property
    def repeats(self) -> np.ndarray:
        """Number of labels of each sequence that equal the one before them, (samples,)."""
        starts = self.starts
        same = np.zeros(len(self.flat) + 1, np.int64)
        same[2:] = self.flat[1:] == self.flat[:-1]
        same[starts[starts < len(self.flat)] + 1] = 0  # the first of a sequence follows nothing
        running = np.cumsum(same)
        return running[starts[1:]] - running[starts[:-1]]

    def take(self, order: np.ndarray) -> "Labels":
        """Return the sequences of some samples, in that order."""
        counts, starts = self.counts[order], self.starts
        ends = np.cumsum(counts)
        indices = np.arange(ends[-1] if len(ends) else 0) + np.repeat(starts[order] - (ends - counts), counts)
        return Labels(self.flat[indices], counts)

    def padded(self) -> np.ndarray:
        """Return an array (samples, longest), each row padded with -1; at least one column."""
        longest = max(1, int(self.counts.max(initial=0)))
        array = np.full((len(self.counts), longest), PADDING, np.int64)
        array[np.arange(longest) < self.counts[:, None]] = self.flat
        return array

    def rows(self) -> list[np.ndarray]:
        """Return one array for each sample."""
        return np.split(self.flat, np.cumsum(self.counts)[:-1]) if len(self.counts) else []


def as_labels(target, samples: int | None = None, name: str = "target") -> Labels:
    """Return the label sequences of an argument.

    Parameters
    ----------
    target : array, list or tuple
        * an integer array (samples, longest), each row padded with negative values;
        * a list of sequences of integers, one for each sample, of any lengths;
        * a tuple (labels, lengths): labels (samples, longest), padded with anything, or (sum of lengths,),
          the sequences concatenated, and lengths (samples,).
    samples : int, optional
        What the number of sequences must be.
    name : str
        Of the argument, for messages.

    Raises
    ------
    ShapeError, TypeError, ValueError
        If the form is none of these, or the number of samples or a length is wrong.
    """
    refuse_mask(target, name, "a sequence is as long as its labels are many: pad with -1")
    if isinstance(target, tuple) and len(target) == 2:
        labels = _with_lengths(*target, name)
    elif isinstance(target, np.ndarray) and target.dtype != object:
        labels = _padded(target, name)
    elif isinstance(target, (list, tuple, np.ndarray)):
        labels = _listed(target, name)
    else:
        raise TypeError(
            f"{name} must be an array (samples, longest) padded with -1, a list of label sequences, or a tuple (labels, "
            f"lengths), got {type(target).__name__}"
        )
    if samples is not None and len(labels.counts) != samples:
        raise ShapeError(f"{name} must have one label sequence for each of {samples} samples, got {len(labels.counts)}")
    return labels


def _integers(array, name):
    if array.size and array.dtype.kind not in "iu":
        raise TypeError(f"{name} must be integer labels, got dtype {array.dtype}")
    return as_int64(array, name)


def _padded(array, name):
    if array.ndim != 2:
        raise ShapeError(
            f"{name} must have shape (samples, longest), padded with -1, got {array.shape}; concatenated labels need their "
            "lengths: (labels, lengths)"
        )
    array = _integers(array, name)
    valid = array >= 0
    counts = valid.sum(axis=1)
    gaps = valid != (np.arange(array.shape[1]) < counts[:, None])
    if gaps.any():
        row, column = np.argwhere(gaps)[0]
        raise ValueError(f"{name}[{row}, {column}] is negative, which ends a label sequence, but labels follow")
    return Labels(array[valid], counts.astype(np.int64))


def _listed(sequences, name):
    rows = []
    for sample, sequence in enumerate(sequences):
        refuse_mask(sequence, f"{name}[{sample}]", "leave them out")
        row = as_array(sequence, f"{name}[{sample}]")
        if row.ndim != 1:
            raise ShapeError(f"{name}[{sample}] must be a sequence of labels, got shape {row.shape}")
        row = _integers(row, f"{name}[{sample}]")
        if row.size and row.min() < 0:
            raise ValueError(f"{name}[{sample}] has the negative label {row.min()}")
        rows.append(row)
    flat = np.concatenate(rows) if rows else np.zeros(0, np.int64)
    return Labels(flat, np.array([len(row) for row in rows], np.int64))


def _with_lengths(labels, lengths, name):
    counts = np.asarray(lengths)
    if counts.ndim != 1 or counts.dtype.kind not in "iu":
        raise TypeError(
            f"{name} is a tuple (labels, lengths); lengths must be integers, one for each sample, got {counts.dtype} {counts.shape}"
        )
    counts = counts.astype(np.int64)
    if counts.min(initial=0) < 0:
        raise ValueError(f"{name}: the label lengths must not be negative, got {counts.min()}")
    array = _integers(np.asarray(labels), name)
    if array.ndim == 2:
        if len(array) != len(counts):
            raise ShapeError(f"{name} has labels of {len(array)} samples and lengths of {len(counts)}")
        if counts.max(initial=0) > array.shape[1]:
            raise ValueError(f"{name} has a label length of {counts.max()}, but {array.shape[1]} columns of labels")
        flat = array[np.arange(array.shape[1]) < counts[:, None]]
    elif array.ndim == 1:
        if counts.sum() != len(array):
            raise ShapeError(f"{name} has {len(array)} labels, but lengths that add up to {counts.sum()}")
        flat = array
    else:
        raise ShapeError(f"{name} must have labels (samples, longest) or (sum of lengths,), got {array.shape}")
    if flat.size and flat.min() < 0:
        raise ValueError(f"{name} has the negative label {flat.min()}")
    return Labels(flat, counts)


def check_blank(blank) -> int:
    """Return the index of the blank as an int; raise TypeError or ValueError unless it is an integer >= 0."""
    if isinstance(blank, bool) or not isinstance(blank, (int, np.integer)):
        raise TypeError(f"blank must be an integer, got {brief(blank)}")
    if blank < 0:
        raise ValueError(f"blank must be the index of a class, >= 0, got {blank}")
    return int(blank)


def check_labels(labels: Labels, classes: int, blank: int, name: str = "target") -> None:
    """Raise TokenError or ValueError unless all labels are classes and none is the blank."""
    if blank >= classes:
        raise ValueError(f"blank is class {blank}; the model has {classes} classes, 0 to {classes - 1}")
    for wrong, what in (
        ((labels.flat < 0) | (labels.flat >= classes), f"the model has {classes} classes, 0 to {classes - 1}"),
        (labels.flat == blank, f"{blank} is the blank, which no label sequence may contain"),
    ):
        if wrong.any():
            at = int(wrong.argmax())
            sample = int(np.searchsorted(labels.starts, at, side="right")) - 1
            raise TokenError(f"{name} has label {labels.flat[at]} in sample {sample}; {what}")


def too_short(labels: Labels, lengths: np.ndarray) -> np.ndarray:
    """Return which samples have fewer steps than their label sequence needs: one per label, and one between two equal labels."""
    return lengths < labels.counts + labels.repeats


def check_lengths(labels: Labels, lengths: np.ndarray, advice: str, counted=True) -> None:
    """Raise ShapeError, naming the samples, where a label sequence needs more steps than there are."""
    rows = np.flatnonzero(too_short(labels, lengths) & counted)
    if rows.size == 0:
        return
    shown = []
    for n in rows[:5]:
        repeats = f" with {labels.repeats[n]} repeats" if labels.repeats[n] else ""
        shown.append(f"sample {n}: {lengths[n]} steps for {labels.counts[n]} labels{repeats}")
    raise ShapeError(
        f"{rows.size} of {len(lengths)} samples have too few steps for their labels (one for each, and a blank between two "
        f"equal ones): {'; '.join(shown)}{'; ...' if rows.size > 5 else ''}. {advice}"
    )
