"""`SegmentClassifier`: labels of steps, of segments and of samples; each task a special case of the next."""

import pickle

import numpy as np
import pandas as pd
import pytest
from conftest import assert_close, assert_same_bits

from numbarnn import SegmentClassifier, SequenceClassifier, metrics
from numbarnn.data import Ragged, WordFeatures
from numbarnn.errors import ShapeError
from numbarnn.losses.segments import check_segments

FEW = {"epochs": 3, "learning_rate": 0.01, "hidden_size": 4, "random_state": 0, "n_threads": 1}


def task(samples=60, seed=0):
    """Samples of 3 to 8 steps of two features; is the sum so far positive?"""
    generator = np.random.default_rng(seed)
    x = [generator.normal(size=(length, 2)) for length in generator.integers(3, 9, samples)]
    return x, [np.where(sample.cumsum(axis=0)[:, 0] > 0, "up", "down").tolist() for sample in x]


def segment_task(samples=60, seed=0):
    """Segments of 1 to 4 steps with gaps; which of two features is larger on the average of the segment?"""
    generator = np.random.default_rng(seed)
    x, segments, y = [], [], []
    for _ in range(samples):
        pairs, at = [], 0
        for _ in range(generator.integers(1, 4)):
            at += generator.integers(0, 2)
            pairs.append((at, at + generator.integers(1, 5)))
            at = pairs[-1][1]
        x.append(generator.normal(size=(at + generator.integers(0, 2), 2)))
        segments.append(pairs)
        y.append([bool(x[-1][a:b, 0].mean() > x[-1][a:b, 1].mean()) for a, b in pairs])
    return x, segments, y


def fitted(x, y, segments=None, **options):
    return SegmentClassifier(**FEW | options).fit(x, y, segments=segments)


def test_learns_steps():
    x, y = task(200)
    net = SegmentClassifier("gru", 16, epochs=20, random_state=0).fit(x, y)
    assert net.score(x, y) > 0.95
    found = net.predict(x)
    assert [len(labels) for labels in found] == [len(sample) for sample in x]
    assert net.score(x, y) == metrics.accuracy(y, found)
    probabilities, logarithms = net.predict_proba(x), net.predict_log_proba(x)
    for sample, labels, p, log in zip(x, found, probabilities, logarithms, strict=True):
        assert p.shape == (len(sample), 2)
        assert_close(p.sum(axis=1), np.ones(len(sample)), 1e-12)
        assert_close(np.exp(log), p, 1e-12)
        assert (net.classes_[p.argmax(axis=1)] == labels).all()


def test_learns_segments():
    x, segments, y = segment_task(300)
    net = SegmentClassifier("gru", 16, bidirectional=True, epochs=30, random_state=0).fit(x, y, segments=segments)
    assert net.score(x, y, segments=segments) > 0.93
    assert [len(labels) for labels in net.predict(x, segments=segments)] == [len(pairs) for pairs in segments]
    numbers = []
    for sample, pairs in zip(x, segments, strict=True):
        own = np.full(len(sample), -1)
        for k, (a, b) in enumerate(pairs):
            own[a:b] = k
        numbers.append(own)
    for one, other in zip(net.predict_proba(x, segments=numbers), net.predict_proba(x, segments=segments), strict=True):
        assert_same_bits(one, other)
    with pytest.raises(ValueError, match="was fitted to segments; pass segments="):
        net.predict(x)


@pytest.mark.parametrize("bidirectional", [False, True], ids=["forward", "bidirectional"])
@pytest.mark.parametrize("weight", [None, "balanced"])
def test_a_sequence_is_one_segment(bidirectional, weight):
    """One segment over all of each sample is what a sequence classifier with a mean over the steps does, in training too."""
    x, _ = task()
    y = ["left" if sample[:, 0].mean() > 0.2 else "right" for sample in x]
    options = FEW | {"dtype": "float64", "bidirectional": bidirectional, "class_weight": weight}
    sequence = SequenceClassifier(pooling="mean", linear=None, **options).fit(x, y, np.arange(60.0))
    by_segments = SegmentClassifier(**options).fit(
        x, [[label] for label in y], np.arange(60.0), segments=[[(0, len(sample))] for sample in x]
    )
    by_samples = SegmentClassifier(**options).fit(x, y, np.arange(60.0))
    expected = sequence.predict_proba(x)
    found = by_segments.predict_proba(x, segments=[[0] * len(sample) for sample in x])
    assert_close(np.concatenate(found), expected, 1e-9)
    assert_same_bits(by_samples.predict_proba(x), np.concatenate(found))
    assert (by_samples.predict(x) == sequence.predict(x)).all()
    assert by_samples.score(x, y) == sequence.score(x, y)


def test_a_step_is_a_segment_of_one_step():
    x, y = task()
    options = {"dtype": "float64"}
    every = [[(t, t + 1) for t in range(len(sample))] for sample in x]
    steps, segments = fitted(x, y, **options), fitted(x, y, every, **options)
    for one, other in zip(steps.predict_proba(x), segments.predict_proba(x, segments=every), strict=True):
        assert_close(other, one, 1e-9)


def test_forms_agree():
    x, y = task()
    net = fitted(x, y)
    expected = np.concatenate(net.predict_proba(x))
    lengths = np.array([len(sample) for sample in x])
    offsets = np.append(0, np.cumsum(lengths))
    padded, labels = np.zeros((60, 8, 2)), np.full((60, 8), "anything", dtype=object)
    for row, names, sample, own in zip(padded, labels, x, y, strict=True):
        row[: len(sample)], names[: len(sample)] = sample, own
    flat = [label for sample in y for label in sample]
    forms = [
        (x, [np.array(labels) for labels in y], {}),
        (x, [pd.Series(labels) for labels in y], {}),
        (padded, labels, {"lengths": lengths}),
        (np.concatenate(x), flat, {"offsets": offsets}),
        (np.concatenate(x), np.array(flat), {"offsets": offsets}),
        (np.concatenate(x), y, {"offsets": offsets}),
        (Ragged.of(np.concatenate(x), lengths), Ragged.of(np.array(flat), lengths), {}),
    ]
    for data, answers, options in forms:
        found = net.predict_proba(data, **options)
        assert_same_bits(found if "offsets" in options else np.concatenate(found), expected)
        other = SegmentClassifier(**FEW).fit(data, answers, **options)
        assert_same_bits(np.concatenate(other.predict_proba(x)), expected)
        if not isinstance(answers, Ragged):
            assert net.score(data, answers, **options) == net.score(x, y)
    assert net.predict(np.concatenate(x), offsets=offsets).shape == (len(flat),)
    whole = np.random.default_rng(0).normal(size=(10, 4, 2))
    assert fitted(whole, (whole[:, :, 0] > 0).astype(int)).predict(whole)[0].shape == (4,)


def test_what_does_not_count_teaches_nothing():
    x, y = task()
    none = [[None if t % 3 == 0 else label for t, label in enumerate(labels)] for labels in y]
    marked = [["?" if label is None else label for label in labels] for labels in none]
    nan = [[np.nan if label is None else label for label in labels] for labels in none]
    weight = [[float(label is not None) for label in labels] for labels in none]
    a, b, c = fitted(x, none), fitted(x, marked, ignore="?"), fitted(x, nan)
    assert list(a.classes_) == list(b.classes_) == ["down", "up"]
    d = SegmentClassifier(**FEW).fit(x, y, weight)
    expected = np.concatenate(a.predict_proba(x))
    for other in (b, c, d):
        assert_same_bits(np.concatenate(other.predict_proba(x)), expected)
    assert a.score(x, none) == b.score(x, marked) == metrics.accuracy(none, a.predict(x))
    x, segments, y = segment_task()
    ignored = [[*labels[:-1], None] for labels in y]
    kept = fitted(x, [labels[:-1] for labels in y], [pairs[:-1] for pairs in segments])
    same = fitted(x, ignored, segments)
    assert_same_bits(kept.model_.params.flat, same.model_.params.flat)
    assert same.score(x, ignored, segments=segments) == metrics.accuracy(ignored, same.predict(x, segments=segments))


def test_a_mask_says_which_steps_are_scored():
    x, y = task()
    mask = [np.arange(len(sample)) % 3 > 0 for sample in x]
    none = [[label if own else None for label, own in zip(*pair, strict=True)] for pair in zip(y, mask, strict=True)]
    marked = [
        [label if own else "other" for label, own in zip(*pair, strict=True)] for pair in zip(y, mask, strict=True)
    ]
    held = (x[:9], none[:9])
    expected = SegmentClassifier(class_weight="balanced", **FEW).fit(x, none, validation=held)
    score = expected.score(x, none)
    lengths, offsets = [len(sample) for sample in x], np.append(0, np.cumsum([len(sample) for sample in x]))
    padded, labels, wide = np.zeros((60, 8, 2)), np.full((60, 8), "other", dtype=object), np.ones((60, 8), bool)
    for i, length in enumerate(lengths):
        padded[i, :length], labels[i, :length], wide[i, :length] = x[i], marked[i], mask[i]
    flat = np.concatenate(x), [label for sample in marked for label in sample], np.concatenate(mask)
    forms = [
        (x, marked, mask, {}),
        (x, marked, [list(map(float, own)) for own in mask], {}),
        (x, marked, Ragged.of(np.concatenate(mask), lengths), {}),
        (padded, labels, wide, {"lengths": lengths}),
        (padded, labels, pd.DataFrame(wide), {"lengths": lengths}),
        (*flat, {"offsets": offsets}),
    ]
    for data, answers, weight, options in forms:
        net = SegmentClassifier(class_weight="balanced", **FEW)
        validation = (x[:9], marked[:9], {"sample_weight": mask[:9]})
        net.fit(data, answers, weight, validation=validation, **options)
        assert list(net.classes_) == ["down", "up"]
        assert net._loss == expected._loss
        assert_same_bits(net.model_.params.flat, expected.model_.params.flat)
        assert net.history_["val_loss"] == expected.history_["val_loss"]
        assert net.score(data, answers, weight, **options) == score
    with pytest.raises(
        ValueError, match=r"one for each step of each sample: X\[0\] has \d steps, sample_weight\[0\] 1"
    ):
        fit(x, y, [own[:1] for own in mask])
    with pytest.raises(ValueError, match="not zero for all steps"):
        fit(x, y, [own & False for own in mask])


def test_a_mask_of_segments():
    x, segments, y = segment_task()
    mask = [np.ones(len(sample), bool) for sample in x]
    for own, pairs in zip(mask, segments, strict=True):
        own[pairs[-1][0]] = False
    ignored, other = ([[*labels[:-1], last] for labels in y] for last in (None, "other"))
    expected = fitted(x, ignored, segments)
    net = SegmentClassifier(**FEW).fit(x, other, mask, segments=segments)
    assert_same_bits(net.model_.params.flat, expected.model_.params.flat)
    assert net.score(x, other, mask, segments=segments) == expected.score(x, ignored, segments=segments)


def test_tags_words():
    nouns, verbs = ["cat", "dog", "bird"], ["walked", "slept", "jumped", "talked"]
    generator = np.random.default_rng(0)
    x = [["the", str(generator.choice(nouns)), str(generator.choice(verbs))] for _ in range(60)]
    y = [["DET", "NOUN", "VERB"]] * 60
    net = fitted(x, y, epochs=30, bidirectional=True, tokens=WordFeatures(suffix=2, min_count=2))
    assert net.score(x, y) == 1
    assert net.predict([["the", "cat", "barked"]])[0].tolist() == ["DET", "NOUN", "VERB"]
    again = pickle.loads(pickle.dumps(net))
    assert_same_bits(np.concatenate(again.predict_proba(x)), np.concatenate(net.predict_proba(x)))


def test_training_goes_on():
    x, segments, y = segment_task()
    parts = SegmentClassifier(**FEW)
    for _ in range(3):
        parts.partial_fit(x, y, segments=segments)
    whole = fitted(x, y, segments)
    assert_same_bits(parts.model_.params.flat, whole.model_.params.flat)
    warm = SegmentClassifier(**FEW | {"epochs": 1, "warm_start": True})
    for _ in range(3):
        warm.fit(x, y, segments=segments)
    assert_same_bits(warm.model_.params.flat, whole.model_.params.flat)
    stopped = fitted(x, y, segments, epochs=200, patience=2, learning_rate=0.1)
    assert stopped.history_.stopped == "early stopping"
    given = SegmentClassifier(**FEW).fit(x, y, segments=segments, validation=(x[:9], y[:9], {"segments": segments[:9]}))
    assert "val_loss" in given.history_[0]


def test_results_do_not_depend_on_threads(pieces):
    x, segments, y = segment_task(30)
    one, three = (fitted(x, y, segments, hidden_size=24, dropout=0.2, n_threads=n) for n in (1, 3))
    assert_same_bits(one.model_.params.flat, three.model_.params.flat)
    assert max(pieces) == 3


def test_searches():
    selection = pytest.importorskip("sklearn.model_selection")
    x, y = task()
    search = selection.GridSearchCV(
        SegmentClassifier(**FEW | {"epochs": 10}),
        {"hidden_size": [2, 8]},
        cv=selection.KFold(3),  # a number would make scikit-learn look for the class of each sample
        n_jobs=2,
        error_score="raise",
    )
    assert search.fit(x, y).best_score_ > 0.6
    assert len(search.predict(x)) == 60


X, Y = task(20)
SX, SEGMENTS, SY = segment_task(20)


def fit(*arguments, settings=None, **options):
    return SegmentClassifier(**FEW | (settings or {})).fit(*arguments, **options)


REFUSED = {
    "no labels": (lambda: fit(X, None), ValueError, "requires y to be passed"),
    "labels of too few samples": (lambda: fit(X, Y[:5]), ValueError, "y has labels of 5 samples, X has 20"),
    "labels of all steps without offsets": (lambda: fit(X, [label for labels in Y for label in labels]), ValueError,
        r"y has \d+ labels, X has 20 samples: pass a list with the labels of each sample"),
    "labels of too few steps": (lambda: fit(X, [*Y[:-1], Y[-1][:-1]]), ValueError,
        r"y\[19\] has \d labels, sample 19 of X has \d steps"),
    "labels of too few segments": (lambda: fit(SX, [*SY[:-1], []], segments=SEGMENTS), ValueError,
        r"y\[19\] has 0 labels, sample 19 of X has \d segments"),
    "segments of too few samples": (lambda: fit(SX, SY, segments=SEGMENTS[:3]), ShapeError,
        "one entry for each of 20 samples, got 3"),
    "segments beyond": (lambda: fit(SX, SY, segments=[[(0, 99)], *SEGMENTS[1:]]), ValueError, r"segments\[0\] must be in order"),
    "one label for segments": (lambda: fit(SX, [1] * 20, segments=SEGMENTS), ValueError, "y must be a list of sequences of labels"),
    "none counts": (lambda: fit(X, [[None] * len(labels) for labels in Y]), ValueError, "no label that counts"),
    "fractions": (lambda: fit(X, [[0.5] * len(labels) for labels in Y]), ValueError, "Unknown label type: continuous"),
    "unhashable": (lambda: fit([X[0]], [[[1]] * len(X[0])]), TypeError, "y must have hashable labels, got list at 0"),
    "other kind of labels": (lambda: fit(X, Y).partial_fit(X, ["up"] * 20), ValueError,
        "fitted to labels of steps, y has labels of samples"),
    "unknown classes": (lambda: fit(X, Y).partial_fit(X, [["x"] * len(s) for s in X]), ValueError,
        "does not know: 'x'; it knows 'down', 'up'"),
    "step weights": (lambda: fit(X, Y, [[1.0]] * 20), ValueError, "one value a sample, or one for each step"),
    "step weights of samples": (lambda: fit(X, ["up", "down"] * 10, [[1.0] * len(s) for s in X]), ValueError,
        "one value for each sample, since y has"),
    "negative weights": (lambda: fit(X, Y, [[-1.0] * len(s) for s in X]), ValueError, "sample_weight must be finite, not negative"),
    "offsets of the wrong sum": (lambda: fit(np.concatenate(X), Y, offsets=[0, 4]), ValueError, "offsets must run from 0 to"),
    "nan": (lambda: fit([np.full((3, 1), np.inf)], [[0, 1, 0]]), ValueError, "Input X contains infinity"),
    "not fitted": (lambda: SegmentClassifier().predict(X), ValueError, "not fitted yet"),
    "score of other lengths": (lambda: fit(X, Y).score(X, [labels[:1] for labels in Y]), ShapeError, "has 8 labels"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name):
    call, error, message = REFUSED[name]
    with pytest.raises(error, match=message):
        call()


@pytest.mark.parametrize(
    "clothed",
    [
        lambda labels: pd.Series(labels, dtype="string"),
        lambda labels: pd.Series(labels),
        lambda labels: np.array(labels, object),
        lambda labels: [pd.NA if label is None else label for label in labels],
        lambda labels: np.ma.masked_equal(np.array([label or "none" for label in labels]), "none"),
    ],
    ids=["string", "series", "objects", "NA", "mask"],
)
def test_labels_that_are_missing_in_other_clothes_do_not_count(clothed):
    labels = [[None, *sample[1:]] for sample in Y]
    net, expected = fit(X, list(map(clothed, labels))), fit(X, labels)
    assert net.classes_.tolist() == ["down", "up"]
    assert_same_bits(net.model_.params.flat, expected.model_.params.flat)
    assert net.score(X, list(map(clothed, labels))) == expected.score(X, labels)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint64, "Int64"])
def test_segments_of_any_integers(dtype):
    """Differences of unsigned integers are never negative."""
    lengths = np.array([4])
    make = (
        (lambda pairs: pd.DataFrame(pairs, dtype=dtype)) if dtype == "Int64" else (lambda pairs: np.array(pairs, dtype))
    )
    assert check_segments([make([[0, 2], [2, 4]])], lengths).values.tolist() == [[0, 2], [2, 4]]
    with pytest.raises(ValueError, match=r"segments\[0\] must be in order, not overlap"):
        check_segments([make([[0, 3], [2, 4]])], lengths)


def test_segments_that_are_missing_are_refused():
    lengths = np.array([3])
    for segments in ([pd.array([0, 0, None], dtype="Int64")], [[0, 0, None]], [np.ma.masked_equal([0, 0, 5], 5)]):
        with pytest.raises(TypeError, match=r"segments\[0\] .*-1"):
            check_segments(segments, lengths)
    with pytest.raises(ValueError, match=r"segments\[0\] has the value 18446744073709551615"):
        check_segments([np.array([0, 0, 2**64 - 1], np.uint64)], lengths)
    with pytest.raises(TypeError, match="segments must be a list"):
        check_segments(3, lengths)
