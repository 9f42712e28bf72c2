"""Metrics of labels.

Labels are hashable values: one for each sample, or one for each step as a list of sequences of any lengths (which scikit-learn's
metrics do not take); all steps count alike. Steps whose true label is None, NaN, pandas' NA or `ignore` do not count.
"""

import sys
from collections.abc import Hashable
from typing import Any, NamedTuple

import numpy as np

from numbarnn.checks import brief, refuse_mask, to_list
from numbarnn.core.arrays import as_numeric
from numbarnn.core.frames import as_pandas, is_pandas
from numbarnn.errors import ShapeError
from numbarnn.metrics.forecasts import as_weights


def accuracy(truth: Any, predicted: Any, sample_weight: Any = None, *, ignore: Any = None) -> float:
    """Return the share of labels that are right, weighted by `sample_weight`.

    Parameters
    ----------
    truth, predicted : (n,) labels, (n, time steps) array, or list of sequences of labels
    sample_weight : array or list, optional
        In the form of the labels, or one a sample; None: 1.
    ignore : label, optional
        True label of steps that do not count.

    Returns
    -------
    float

    Raises
    ------
    ShapeError
        If the two differ in number or length.
    TypeError
        If weights are not real and numeric, or an argument has masked values.
    ValueError
        If nothing counts, or a weight is NaN, infinite or negative.

    Examples
    --------
    >>> accuracy([["a", "b"], ["c"]], [["a", "a"], ["c"]])
    0.6666666666666666
    """
    truth, predicted, weight = _labels(truth, predicted, sample_weight, ignore)
    if weight is not None and weight.sum() == 0:
        raise ValueError("sample_weight is 0 for every label that counts; one must be positive")
    right = np.fromiter((a == b for a, b in zip(truth, predicted, strict=True)), bool, len(truth))
    return float(np.average(right, weights=weight))


def confusion(truth: Any, predicted: Any, labels: Any = None, sample_weight: Any = None, *, ignore: Any = None) -> Any:
    """Return how often each true label (rows) was predicted as each label (columns).

    Parameters
    ----------
    truth, predicted, sample_weight, ignore : as in `accuracy`
    labels : sequence, optional
        Labels of rows and columns, others are left out; None: all labels, sorted where they can be.

    Returns
    -------
    pandas.DataFrame
        Integers, or sums of weights.

    Raises
    ------
    ShapeError, TypeError, ValueError
        As in `accuracy`; weights may all be 0.

    Examples
    --------
    >>> confusion(["a", "b", "b"], ["a", "a", "b"]).to_numpy().tolist()
    [[1, 0], [1, 1]]
    """
    import pandas as pd

    truth, predicted, weight = _labels(truth, predicted, sample_weight, ignore)
    labels = sorted_labels({*truth, *predicted}) if labels is None else _chosen(labels)
    index_of = {label: row for row, label in enumerate(labels)}
    table = np.zeros((len(labels), len(labels)), np.int64 if weight is None else np.float64)
    rows, columns = (np.array([index_of.get(label, -1) for label in found], np.int64) for found in (truth, predicted))
    known = (rows >= 0) & (columns >= 0)
    np.add.at(table, (rows[known], columns[known]), 1 if weight is None else weight[known])
    index = pd.Index(labels, dtype=object, tupleize_cols=False)
    return pd.DataFrame(table, index=index.rename("true"), columns=index.rename("predicted"))


def f1(truth: Any, predicted: Any, labels: Any = None, sample_weight: Any = None, *, ignore: Any = None) -> Any:
    """Return precision TP / (TP + FP), recall TP / (TP + FN) and their harmonic mean F1 of every label.

    Parameters are those of `confusion`. What would be 0 / 0 is 0.

    Returns
    -------
    pandas.DataFrame
        A row for every label; columns precision, recall, F1 and support, the number (or weight) of true labels. The mean of the F1
        column is scikit-learn's macro average.

    Raises
    ------
    ShapeError, TypeError, ValueError
        As of `confusion`.

    Examples
    --------
    >>> f1(["a", "b", "b"], ["a", "a", "b"]).round(2).loc["a"].tolist()
    [0.5, 1.0, 0.67, 1.0]
    """
    import pandas as pd

    truth, predicted, weight = _labels(truth, predicted, sample_weight, ignore)
    chosen = () if labels is None else _chosen(labels)
    table = confusion(truth, predicted, sorted_labels({*truth, *predicted, *chosen}), weight)
    right, given, support = np.diag(table), table.sum(axis=0).to_numpy(), table.sum(axis=1).to_numpy()

    def share(part, whole):
        return np.divide(part, whole, out=np.zeros(len(part)), where=whole > 0)

    found = {
        "precision": share(right, given),
        "recall": share(right, support),
        "F1": share(2.0 * right, given + support),
        "support": support,
    }
    frame = pd.DataFrame(found, index=table.index.rename("label"))
    return frame if labels is None else frame.loc[chosen]


def sorted_labels(labels) -> list:
    """Return a set of labels in order; labels that cannot be compared are ordered by type and repr."""
    try:
        return sorted(labels)
    except TypeError:
        return sorted(labels, key=lambda label: (type(label).__name__, repr(label)))


def missing(label) -> bool:
    """Return whether a label is None, NaN, or pandas' NA or NaT, which stand for "does not count"."""
    if label is None or (isinstance(label, (float, np.floating)) and label != label):
        return True
    pd = sys.modules.get("pandas")
    return pd is not None and (label is pd.NA or label is pd.NaT)


def flat_labels(labels, name: str = "labels") -> tuple[list, np.ndarray | None]:
    """Return labels as one list, and the lengths of their sequences; None where there is one label for each sample.

    What is `missing` is None or NaN, which can be compared.
    """
    labels = as_pandas(labels, name)
    refuse_mask(labels, name, "fill them with None or with the label that `ignore` names")
    if hasattr(labels, "__array__"):  # of pandas and torch, too
        labels = np.asarray(labels)
    if isinstance(labels, np.ndarray) and labels.ndim == 2:
        return _plain(labels.reshape(-1)), np.full(len(labels), labels.shape[1])
    if isinstance(labels, np.ndarray) and labels.dtype.kind != "O":
        if labels.ndim != 1:
            raise ShapeError(f"{name} must have one axis or two, got shape {labels.shape}")
        return labels.tolist(), None
    items = to_list(labels, name, "labels")
    if not items or not all(_is_sequence(item) for item in items):
        return _plain(items), None
    parts = [flat_labels(item, name)[0] for item in items]
    return [label for part in parts for label in part], np.array([len(part) for part in parts], np.int64)


def _chosen(labels) -> list:
    """Return the labels of an argument `labels` as a list; raise TypeError unless all can be hashed."""
    found = _plain(to_list(as_pandas(labels, "labels"), "labels", "labels"))
    for index, label in enumerate(found):
        if not isinstance(label, Hashable):
            raise TypeError(f"labels[{index}] must be a label, which can be hashed, got {brief(label)}")
    return found


def _plain(labels) -> list:
    """Return labels as values of Python; pandas' NA, which cannot be compared, as None."""
    items = (item.item() if isinstance(item, np.generic) else item for item in labels)
    return [None if missing(item) and not isinstance(item, float) else item for item in items]


def _is_sequence(item):
    """Return whether an item is a sequence of labels; a tuple or a str is a single label."""
    return isinstance(item, list) or (hasattr(item, "__array__") and np.ndim(item) > 0)


def _labels(truth, predicted, sample_weight, ignore):
    """Return flat lists of the labels that count, and their weights or None."""
    (truth, lengths), (predicted, others) = flat_labels(truth, "truth"), flat_labels(predicted, "predicted")
    if not truth:
        raise ShapeError("truth must have at least one label, it has none")
    ragged = lengths is not None and others is not None
    if not ragged and (len(truth) != len(predicted) or lengths is not others):
        raise ShapeError(f"predicted has {len(predicted)} labels, truth {len(truth)}; both must have the same form")
    if ragged and not np.array_equal(lengths, others):
        if len(lengths) != len(others):
            raise ShapeError(f"predicted has {len(others)} sequences, truth {len(lengths)}")
        sample = int(np.flatnonzero(lengths != others)[0])
        raise ShapeError(f"predicted[{sample}] has {others[sample]} labels, truth[{sample}] {lengths[sample]}")
    if ignore is not None and not isinstance(ignore, Hashable):
        raise TypeError(f"ignore must be a label, which can be hashed, got {brief(ignore)}")
    weight = None
    if sample_weight is not None:
        if is_pandas(sample_weight):
            sample_weight = as_numeric(sample_weight, "sample_weight")
        weight, own = flat_labels(sample_weight, "sample_weight")
        weight = as_weights(weight)
        if own is None and lengths is not None and len(weight) == len(lengths):
            weight = np.repeat(weight, lengths)
        if len(weight) != len(truth) or (own is not None and not np.array_equal(own, lengths)):
            raise ShapeError(f"sample_weight must have one entry for each of {len(truth)} labels, got {len(weight)}")
    counts = [i for i, label in enumerate(truth) if not (missing(label) or (ignore is not None and label == ignore))]
    if not counts:
        raise ValueError("there are no true labels besides None, NaN and `ignore`")
    if len(counts) < len(truth):
        truth, predicted = [truth[i] for i in counts], [predicted[i] for i in counts]
        weight = None if weight is None else weight[counts]
    return truth, predicted, weight


class LabelErrors(NamedTuple):
    """Edits that turn predicted label sequences into the true ones, summed over samples.

    Attributes
    ----------
    substitutions, insertions, deletions : int
        Of a shortest list of edits; an insertion is a predicted label too many.
    labels : int
        True labels.
    wrong, sequences : int
        Samples whose label sequence is not exactly right, and all samples.
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
        """Label error rate: edits / true labels; above 1 where there are more edits than true labels, NaN without true labels."""
        return self.edits / self.labels if self.labels else float("nan")

    @property
    def sequence_error(self) -> float:
        """Share of samples whose label sequence is not exactly right."""
        return self.wrong / self.sequences


def label_errors(truth: Any, predicted: Any) -> LabelErrors:
    """Compare label sequences: substitutions, insertions and deletions of shortest edits (Levenshtein 1966), and rates of them.

    Parameters
    ----------
    truth, predicted : lists of sequences of labels
        Of two shortest lists of edits the one with more substitutions is counted.

    Returns
    -------
    LabelErrors

    Raises
    ------
    ShapeError
        If the numbers of sequences differ, or there are none.

    References
    ----------
    V. I. Levenshtein, "Binary codes capable of correcting deletions, insertions and reversals", Soviet Physics Doklady 10 (1966),
    707-710.

    Examples
    --------
    >>> errors = label_errors([["a", "b", "c"]], [["a", "c", "c", "d"]])
    >>> errors.substitutions, errors.insertions, errors.deletions, errors.rate
    (1, 1, 0, 0.6666666666666666)
    """
    truth, predicted = _sequences(truth, "truth"), _sequences(predicted, "predicted")
    if not truth:
        raise ShapeError("truth must have at least one label sequence, it has none")
    if len(truth) != len(predicted):
        raise ShapeError(f"predicted must have a label sequence for each of truth, {len(truth)}, got {len(predicted)}")
    edits = [_edits(*pair) for pair in zip(truth, predicted, strict=True)]
    return LabelErrors(
        *(sum(column) for column in zip(*edits, strict=True)),
        sum(map(len, truth)),
        sum(any(row) for row in edits),
        len(truth),
    )


def _sequences(labels, name):
    """Return label sequences as lists; the labels of a str are its characters."""
    labels, found = as_pandas(labels, name), []
    if isinstance(labels, str) or not hasattr(labels, "__iter__"):
        raise TypeError(f"{name} must be a list of label sequences, one a sample, got {brief(labels)}")
    for index, sequence in enumerate(labels):
        if not hasattr(sequence, "__len__") or getattr(sequence, "ndim", 1) == 0:
            raise TypeError(
                f"{name}[{index}] must be a sequence of labels, got {brief(sequence)}; of one label make a list of it"
            )
        refuse_mask(sequence, f"{name}[{index}]", "leave them out")
        found.append(_plain(sequence))
    return found


def label_error_rate(truth: Any, predicted: Any) -> float:
    """Return the edits that turn `predicted` sequences into `truth`, divided by the number of true labels.

    Parameters
    ----------
    truth, predicted : lists of sequences of labels

    Returns
    -------
    float

    Raises
    ------
    ShapeError
        As in `label_errors`.

    Examples
    --------
    >>> label_error_rate([["a", "b"]], [["a"]])
    0.5
    """
    return label_errors(truth, predicted).rate


def sequence_error(truth: Any, predicted: Any) -> float:
    """Return the share of label sequences that are not exactly right.

    Parameters
    ----------
    truth, predicted : lists of sequences of labels

    Returns
    -------
    float

    Raises
    ------
    ShapeError
        As in `label_errors`.

    Examples
    --------
    >>> sequence_error([["a", "b"], ["c"]], [["a"], ["c"]])
    0.5
    """
    return label_errors(truth, predicted).sequence_error


def _edits(truth, found):
    """Return (substitutions, insertions, deletions) of shortest edits from one sequence to another."""
    # (edits, insertions + deletions, insertions, deletions): of two shortest lists of edits the one with more substitutions.
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
