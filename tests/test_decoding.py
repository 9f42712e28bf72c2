"""Decoding of CTC's outputs against exhaustive search over all alignments."""

import math

import naive
import numpy as np
import pytest
from conftest import assert_close, normal
from hypothesis import given
from hypothesis import strategies as st

from numbarnn.decoding import align, beam_search, best_path, collapse, occupancy
from numbarnn.errors import ShapeError, TokenError

LENGTHS = [6, 4, 0, 5]


def batch(seed=0, classes=3):
    return 2 * normal(seed, len(LENGTHS), max(LENGTHS), classes)


def test_collapse():
    assert collapse([0, 1, 1, 0, 1, 2, 2, 0]).tolist() == [1, 1, 2]
    assert collapse([2, 2, 1], blank=2).tolist() == [1]
    assert collapse([]).tolist() == []


def test_best_path():
    logits = batch()
    for n, string in enumerate(best_path(logits, LENGTHS)):
        assert string.tolist() == collapse(logits[n, : LENGTHS[n]].argmax(axis=1)).tolist()


@given(st.integers(0, 200), st.integers(1, 6), st.integers(2, 3), st.integers(0, 2))
def test_wide_beam_is_exhaustive(seed, steps, classes, blank):
    blank = min(blank, classes - 1)
    logits = normal(seed, 1, steps, classes)
    every = naive.label_sequences(logits[0], blank)
    (found,) = beam_search(logits, beam_width=len(every), n_best=len(every), blank=blank, n_threads=1)
    assert len(found) == len(every)
    assert {hypothesis.labels for hypothesis in found} == set(every)
    for hypothesis in found:
        assert hypothesis.log_probability == pytest.approx(math.log(every[hypothesis.labels][0]), abs=1e-12)
    scores = [hypothesis.log_probability for hypothesis in found]
    assert scores == sorted(scores, reverse=True)


def test_narrow_beam():
    """A narrow beam finds the best string of most cases, and never says more than its probability."""
    hits = 0
    for seed in range(40):
        logits = normal(seed, 1, 6, 3)
        every = naive.label_sequences(logits[0])
        (found,) = beam_search(logits, beam_width=4, n_best=4, n_threads=1)
        assert len({hypothesis.labels for hypothesis in found}) == 4
        for hypothesis in found:
            assert hypothesis.log_probability <= math.log(every[hypothesis.labels][0]) + 1e-12
        hits += found[0].labels == max(every, key=lambda string: every[string][0])
    assert hits >= 32


def test_prefix_search_beats_the_best_path():
    """The most probable alignment is all blank; the most probable string is not."""
    logits = np.log(np.array([[[0.6, 0.4], [0.6, 0.4]]]))
    assert best_path(logits)[0].tolist() == []
    (found,) = beam_search(logits)
    assert found[0].labels == (1,)
    assert math.exp(found[0].log_probability) == pytest.approx(0.64)


def test_beam_of_lengths_and_threads(pieces):
    logits = batch(3)
    one = beam_search(logits, LENGTHS, beam_width=6, n_best=3, n_threads=1)
    assert beam_search(logits, LENGTHS, beam_width=6, n_best=3, n_threads=3) == one
    assert max(pieces) == 3
    assert one[2] == [((), 0.0)]
    logits[np.arange(6) >= np.array(LENGTHS)[:, None]] = np.nan
    assert beam_search(logits, LENGTHS, beam_width=6, n_best=3) == one
    for n in (0, 1, 3):
        assert one[n] == beam_search(logits[n : n + 1, : LENGTHS[n]], beam_width=6, n_best=3)[0]


def test_strings_of_probability_zero_are_not_given():
    logits = np.full((1, 3, 3), -np.inf)
    logits[0, :, 1] = 0.0
    (found,) = beam_search(logits, n_best=5)
    assert found == [((1,), 0.0)]


@given(st.integers(0, 200), st.lists(st.integers(1, 2), max_size=3))
def test_alignment_and_occupancy(seed, string):
    logits = normal(seed, 1, 6, 3)
    _, paths = naive.label_sequences(logits[0])[tuple(string)]
    (found,) = align(logits, [string])
    best, probability = max(paths, key=lambda path: path[1])
    assert found.path.tolist() == list(best)
    assert found.log_probability == pytest.approx(math.log(probability), abs=1e-12)
    assert collapse(found.path).tolist() == string
    for k, label in enumerate(string):
        assert set(found.path[found.first[k] : found.last[k] + 1]) == {label}
    (shares,) = occupancy(logits, [string])
    assert shares.shape == (6, 2 * len(string) + 1)
    assert_close(shares.sum(axis=1), np.ones(6), 1e-12)
    by_class = np.zeros((6, 3))
    for state, symbol in enumerate([0, *(symbol for label in string for symbol in (label, 0))]):
        by_class[:, symbol] += shares[:, state]
    assert_close(by_class, naive.softmax(logits[0]) - naive.ctc(logits[0], string)[1], 1e-10)


def test_alignments_of_a_batch():
    logits, strings = batch(5), [[1, 1], [2], [], [1, 2, 1]]
    together, shares = align(logits, strings, LENGTHS), occupancy(logits, strings, LENGTHS)
    for n in (0, 1, 3):
        (alone,) = align(logits[n : n + 1, : LENGTHS[n]], [strings[n]])
        assert alone.path.tolist() == together[n].path.tolist()
        assert alone.log_probability == together[n].log_probability
        assert_close(occupancy(logits[n : n + 1, : LENGTHS[n]], [strings[n]])[0], shares[n], 1e-12)
    assert together[2].path.size == 0
    assert shares[2].shape == (0, 1)


def test_what_is_refused():
    logits = batch()
    for call, error, message in (
        (lambda: best_path(logits[0]), ShapeError, r"\(samples, time steps, classes\), got \(6, 3\)"),
        (lambda: best_path(logits.astype(str)), TypeError, "logits must be numeric"),
        (lambda: best_path(logits, [7, 1, 1, 1]), ValueError, r"lengths\[0\] is 7"),
        (lambda: best_path(logits, blank=3), ValueError, "blank is class 3; logits have 3 classes"),
        (
            lambda: beam_search(np.where(logits > 3, np.nan, logits * np.nan)),
            ValueError,
            r"NaN or inf.* first at \[0, 0, 0\]",
        ),
        (lambda: beam_search(np.full((1, 2, 3), -np.inf)), ValueError, "-inf for all classes"),
        (lambda: beam_search(logits, beam_width=0), ValueError, "beam_width must be an integer >= 1"),
        (lambda: beam_search(logits, beam_width=2, n_best=3), ValueError, "n_best is 3, but a beam of 2"),
        (lambda: align(logits, [[1]] * 3), ShapeError, "labels must have one label sequence for each of 4"),
        (lambda: align(logits, [[1], [0], [], []]), TokenError, "labels has label 0 in sample 1; 0 is the blank"),
        (lambda: occupancy(logits, [[1], [], [1], []], LENGTHS), ShapeError, "sample 2: 0 steps for 1 labels"),
    ):
        with pytest.raises(error, match=message):
            call()
    logits[1, :, 2] = -np.inf
    for function in (align, occupancy):
        with pytest.raises(ValueError, match="sample 1 has probability zero"):
            function(logits, [[1], [2], [1], []])
