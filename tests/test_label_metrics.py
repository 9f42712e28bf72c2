"""Measures of labels, against scikit-learn's, over ragged data."""

import itertools

import numpy as np
import pandas as pd
import pytest

from numbarnn import metrics
from numbarnn.errors import ShapeError


def labels(seed, samples=30, kinds="abcd"):
    generator = np.random.default_rng(seed)
    lengths = np.random.default_rng(9).integers(1, 7, samples)
    return [generator.choice(list(kinds), length).tolist() for length in lengths]


TRUTH, PREDICTED = labels(0), labels(1, kinds="abce")
FLAT_TRUTH, FLAT_PREDICTED = (list(itertools.chain(*sample)) for sample in (TRUTH, PREDICTED))
WEIGHT = [np.random.default_rng(2).random(len(sample)) for sample in TRUTH]


@pytest.mark.parametrize("weight", [None, WEIGHT], ids=["plain", "weighted"])
def test_equal_to_scikit_learn(weight):
    theirs = pytest.importorskip("sklearn.metrics")
    flat = None if weight is None else np.concatenate(weight)
    expected = theirs.accuracy_score(FLAT_TRUTH, FLAT_PREDICTED, sample_weight=flat)
    assert metrics.accuracy(TRUTH, PREDICTED, weight) == pytest.approx(expected, rel=1e-14)
    table = metrics.confusion(TRUTH, PREDICTED, sample_weight=weight)
    assert list(table.index) == list(table.columns) == list("abcde")
    expected = theirs.confusion_matrix(FLAT_TRUTH, FLAT_PREDICTED, sample_weight=flat)
    assert np.allclose(table.to_numpy(), expected, rtol=1e-14)
    assert (table.to_numpy().dtype.kind == "i") == (weight is None)
    for chosen in (None, ["e", "a"]):
        found = metrics.f1(TRUTH, PREDICTED, chosen, weight)
        expected = theirs.precision_recall_fscore_support(
            FLAT_TRUTH, FLAT_PREDICTED, labels=chosen, sample_weight=flat, zero_division=0
        )
        assert np.allclose(found.to_numpy().T, expected, rtol=1e-14)
    macro = theirs.f1_score(FLAT_TRUTH, FLAT_PREDICTED, average="macro", sample_weight=flat, zero_division=0)
    assert metrics.f1(TRUTH, PREDICTED, sample_weight=weight)["F1"].mean() == pytest.approx(macro, rel=1e-14)
    some = theirs.confusion_matrix(FLAT_TRUTH, FLAT_PREDICTED, labels=["b", "a"], sample_weight=flat)
    assert np.allclose(metrics.confusion(TRUTH, PREDICTED, ["b", "a"], weight).to_numpy(), some, rtol=1e-14)


def test_by_hand():
    truth, predicted = [["a", "b"], ["a"]], [["a", "a"], ["a"]]
    assert metrics.accuracy(truth, predicted) == pytest.approx(2 / 3)
    assert metrics.accuracy(truth, predicted, [1.0, 0.0]) == 0.5  # of samples
    found = metrics.f1(truth, predicted)
    assert found.loc["a"].tolist() == [pytest.approx(2 / 3), 1, pytest.approx(0.8), 2]
    assert found.loc["b"].tolist() == [0, 0, 0, 1]
    assert metrics.f1(truth, predicted, ["z"]).loc["z"].tolist() == [0, 0, 0, 0]


def test_what_does_not_count():
    assert metrics.accuracy([[1, None], [np.nan, 2]], [[1, 1], [1, 1]]) == 0.5
    assert metrics.accuracy([[1, -1], [2]], [[1, 1], [2]], ignore=-1) == 1
    table = metrics.confusion([1, -1, 2], [1, 7, 1], ignore=-1)
    assert table.to_numpy().tolist() == [[1, 0], [1, 0]]


@pytest.mark.parametrize("form", [list, np.array, pd.Series], ids=["list", "array", "series"])
def test_forms_of_labels(form):
    assert metrics.accuracy(form([1, 2, 2]), form([1, 2, 3])) == pytest.approx(2 / 3)
    assert metrics.accuracy(form(["x", "y"]), form(["x", "x"])) == 0.5


def test_rows_of_an_array_are_samples():
    assert metrics.accuracy(np.array([[1, 2], [3, 4]]), [[1, 2], [3, 3]]) == 0.75


def test_labels_of_any_kind():
    truth = [("a", 1), 2, None, "b"]
    assert metrics.accuracy(truth, [("a", 1), 2, 5, "c"]) == pytest.approx(2 / 3)
    table = metrics.confusion(truth, [("a", 1), 2, 5, "c"])
    assert [table.iloc[i, i] for i in range(len(table))].count(1) == 2


@pytest.mark.parametrize(
    ("truth", "predicted", "weight", "error", "message"),
    [
        ([1, 2], [1], None, ShapeError, "predicted has 1 labels, truth 2"),
        ([[1, 2], [3]], [[1], [2, 3]], None, ShapeError, r"predicted\[0\] has 1 labels, truth\[0\] 2"),
        ([[1, 2]], [1, 2], None, ShapeError, "same form"),
        ([[1], [2]], [[1, 2]], None, ShapeError, "predicted has 1 sequences, truth 2"),
        ([1, 2], [1, 2], [1], ShapeError, "sample_weight must have one entry for each of 2"),
        (
            [1, 2],
            [1, 2],
            [1, np.nan],
            ValueError,
            r"sample_weight has 1 NaN or infinite value, the first at \[1\]",
        ),
        (
            [1, 2],
            [1, 2],
            [np.inf, 1],
            ValueError,
            r"sample_weight has 1 NaN or infinite value, the first at \[0\]",
        ),
        ([1, 2], [1, 2], [1, -1], ValueError, r"sample_weight must not be negative, sample_weight\[1\] is -1.0"),
        (
            [1, 2],
            [1, 2],
            pd.Series([1, None], dtype="Float64"),
            ValueError,
            "sample_weight has 1 NaN",
        ),
        (
            [1, 2],
            [1, 2],
            np.ma.masked_equal([1, 2], 2),
            TypeError,
            "sample_weight is a masked array with 1 masked value",
        ),
        (
            [[1], [2]],
            [[1], [2]],
            [[1], np.ma.masked_equal([2], 2)],
            TypeError,
            "sample_weight is a masked array with 1 masked value",
        ),
        ([1, 2], [1, 2], [1, 1j], TypeError, "sample_weight must be numeric, got dtype complex128"),
        ([1, 2], [1, 2], ["1", "2"], TypeError, "sample_weight must be numeric, got dtype <U1"),
        ([1, 2], [1, 2], np.array([1, 2], "m8[s]"), TypeError, "sample_weight must be numeric, got"),
        (
            np.ma.masked_equal([1, 2], 2),
            [1, 2],
            None,
            TypeError,
            "truth is a masked array with 1 masked value; fill",
        ),
        ([1, 2], np.ma.masked_equal([1, 2], 2), None, TypeError, "predicted is a masked array with 1 masked value"),
        ([None], [1], None, ValueError, "no true labels besides"),
        ([], [], None, ShapeError, "truth must have at least one label"),
    ],
)
def test_refused(truth, predicted, weight, error, message):
    for measure in (metrics.accuracy, metrics.confusion, metrics.f1):
        with pytest.raises(error, match=message):
            measure(truth, predicted, sample_weight=weight)


def test_weights_that_count_are_not_all_zero():
    with pytest.raises(ValueError, match="sample_weight is 0 for every label that counts"):
        metrics.accuracy([1, 2, None], [1, 1, 1], [0, 0, 1])
    assert metrics.accuracy([1, 2, None], [1, 1, 1], [0, 3, 0]) == 0
    assert metrics.confusion([1, 2], [1, 1], sample_weight=[0, 0]).to_numpy().tolist() == [[0, 0], [0, 0]]
    weights = pd.Series([True, False], dtype="boolean")
    assert metrics.accuracy([1, 2], [1, 1], weights) == 1


@pytest.mark.parametrize("missing", [None, np.nan, pd.NA, pd.NaT], ids=str)
def test_missing_labels_in_any_clothing(missing):
    """They do not count where they are true, and are wrong where they are predicted."""
    assert metrics.accuracy(["a", missing, "b"], ["a", "b", missing]) == 0.5
    assert metrics.accuracy([["a", missing], ["b"]], [["a", "b"], ["b"]]) == 1
    assert metrics.f1(["a", missing], ["a", "b"]).index.tolist() == ["a"]
    assert metrics.confusion(["a", "b"], ["a", missing]).to_numpy().sum() == 2
    assert metrics.label_errors([["a", "b"]], [["a", missing]]).substitutions == 1


@pytest.mark.parametrize("dtype", ["string", "Int64", "boolean", "category", "object"])
def test_missing_labels_of_pandas(dtype):
    values = {"Int64": [1, None, 0], "boolean": [True, None, False]}.get(dtype, ["a", None, "b"])
    truth = pd.Series(values, dtype=dtype)
    assert metrics.accuracy(truth, [values[0]] * 3) == 0.5
    assert metrics.accuracy([truth, truth], [[values[0]] * 3] * 2) == 0.5


def test_label_sequences_are_sequences():
    assert metrics.label_error_rate(["ab", ("c",)], [["a", "b"], pd.Series(["c"])]) == 0
    for wrong, message in (
        ([1, 2], r"truth\[0\] must be a sequence of labels, got 1"),
        (3, "truth must be a list"),
        ("ab", "truth must"),
    ):
        with pytest.raises(TypeError, match=message):
            metrics.label_errors(wrong, [["a"], ["b"]])
    with pytest.raises(TypeError, match=r"predicted\[0\] is a masked array with 1 masked value"):
        metrics.label_errors([[1, 2]], [np.ma.masked_equal([1, 2], 2)])
