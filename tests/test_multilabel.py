"""Several labels a sample or a step: indicators in every form, losses, weights, files."""

import pickle

import naive
import numpy as np
import pandas as pd
import pytest
from conftest import assert_close, assert_same_bits

import numbarnn
from numbarnn import SegmentClassifier, SequenceClassifier, losses
from numbarnn.data import Ragged
from numbarnn.errors import ShapeError

FEW = {"epochs": 2, "hidden_size": 3, "random_state": 0, "n_threads": 1}


def task(samples=40, seed=0):
    """Samples of 3 to 6 steps of three features; which of their sums are positive, at the end and at every step?"""
    generator = np.random.default_rng(seed)
    x = [generator.normal(size=(length, 3)) for length in generator.integers(3, 7, samples)]
    steps = [(sample.cumsum(axis=0) > 0).astype(int) for sample in x]
    return x, np.array([own[-1] for own in steps]), steps


X, Y, STEPS = task()
LENGTHS = np.array([len(sample) for sample in X])
NAMES = np.array(["a", "b", "c"])
PADDED, MARKS = np.zeros((40, 6, 3)), np.zeros((40, 6, 3), int)
for _row, _own, _x, _y in zip(PADDED, MARKS, X, STEPS, strict=True):
    _row[: len(_x)], _own[: len(_x)] = _x, _y


def fit(y, sample_weight=None, **options):
    return SequenceClassifier(**FEW | options).fit(X, y, sample_weight)


def fit_steps(y, sample_weight=None, x=X, **options):
    return SegmentClassifier(**FEW | options).fit(x, y, sample_weight)


def sets(indicators):
    return [set(NAMES[row == 1].tolist()) for row in indicators]


def test_learns_samples():
    x, y, _ = task(300)
    net = SequenceClassifier("gru", 16, epochs=30, learning_rate=0.01, random_state=0).fit(x, y)
    found, probabilities = net.predict(x), net.predict_proba(x)
    assert found.dtype == np.int64
    assert found.shape == probabilities.shape == y.shape
    assert (found == y).mean() > 0.93
    assert ((probabilities > 0.5) == found).all()
    assert net.score(x, y) == (found == y).all(axis=1).mean() > 0.8
    assert net.classes_.tolist() == [0, 1, 2]
    assert_close(np.exp(net.predict_log_proba(x)), probabilities, 1e-12)
    assert probabilities.sum(axis=1).min() < 0.9  # they are questions of their own
    weight = np.arange(300) < 50
    assert net.score(x, y, weight) == net.score(x[:50], y[:50])


def test_learns_steps():
    x, _, y = task(200)
    net = SegmentClassifier("gru", 16, epochs=20, learning_rate=0.01, random_state=0).fit(x, y)
    found = net.predict(x)
    assert [own.shape for own in found] == [own.shape for own in y]
    assert (np.concatenate(found) == np.concatenate(y)).mean() > 0.93
    assert net.score(x, y) == (np.concatenate(found) == np.concatenate(y)).all(axis=1).mean()
    for own, p, log in zip(found, net.predict_proba(x), net.predict_log_proba(x), strict=True):
        assert ((p > 0.5) == own).all()
        assert_close(np.exp(log), p, 1e-12)


@pytest.mark.parametrize("weight", [None, "balanced", {1: 3.0}], ids=str)
def test_the_loss_is_the_binary_cross_entropy(weight):
    """The loss of the held-out samples, by what the net says of them."""
    net = SequenceClassifier(**FEW, class_weight=weight, dtype="float64", linear=None).fit(
        X[:30], Y[:30], validation=(X[30:], Y[30:])
    )
    p = net.predict_proba(X[30:])
    logits = np.log(p / (1 - p))
    options = {}
    if weight == "balanced":
        positive = Y[:30].sum(axis=0)
        options = {"pos_weight": (30 - positive) / positive, "weight": 30 / (2 * (30 - positive))}
    elif weight:
        options = {"pos_weight": np.array([1.0, 3.0, 1.0])}
    expected, _ = naive.binary_cross_entropy(logits[:, None], Y[30:, None], **options)
    assert_close(net.history_["val_loss"][-1], expected, 1e-9)


def test_weights_of_labels():
    plain, heavy = fit(Y, epochs=10), fit(Y, class_weight={0: 30}, epochs=10, learning_rate=0.02)
    more = (heavy.predict_proba(X) - plain.predict_proba(X)).mean(axis=0)
    assert more[0] > max(0.25, more[1:].max() + 0.05)
    assert plain._loss == losses.BinaryCrossEntropy()
    assert heavy._loss == losses.BinaryCrossEntropy(pos_weight=(30.0, 1.0, 1.0))
    given = fit(Y, loss=losses.BinaryCrossEntropy(pos_weight=(30.0, 1.0, 1.0)), epochs=10, learning_rate=0.02)
    assert_same_bits(given.predict_proba(X), heavy.predict_proba(X))
    one = fit(np.column_stack([Y[:, :1], np.zeros(40), np.ones(40)]), class_weight="balanced")  # no division by zero
    assert np.isfinite(one.predict_proba(X)).all()


def test_forms_of_samples_agree():
    expected = fit(Y).predict_proba(X)
    sparse = pytest.importorskip("scipy.sparse")
    forms = [Y.astype(bool), Y.astype(float), Y.tolist(), list(Y), sparse.csr_matrix(Y)]
    for form in forms:
        net = fit(form)
        assert_same_bits(net.predict_proba(X), expected)
        assert net.score(X, form) == fit(Y).score(X, Y)
    for form in (
        pd.DataFrame(Y, columns=NAMES),
        sets(Y),
        pd.Series(sets(Y)),
        [frozenset(row) if row else row for row in sets(Y)],
    ):
        net = fit(form)
        assert net.classes_.tolist() == NAMES.tolist()
        assert_same_bits(net.predict_proba(X), expected)
        assert net.score(X, form) == net.score(X, Y) == net.score(X, sets(Y))
    one_column = SequenceClassifier(**FEW).fit(X, Y[:, 0])
    assert one_column.predict_proba(X).shape == (40, 2)  # one label, of two classes


def test_forms_of_steps_agree():
    net = fit_steps(STEPS)
    expected, score = np.concatenate(net.predict_proba(X)), net.score(X, STEPS)
    frames = [pd.DataFrame(own, columns=NAMES) for own in STEPS]
    listed = [sets(own) for own in STEPS]
    for form in ([own.astype(bool) for own in STEPS], frames, listed):
        other = fit_steps(form)
        assert_same_bits(np.concatenate(other.predict_proba(X)), expected)
        assert other.score(X, form) == score
    assert fit_steps(frames).classes_.tolist() == fit_steps(listed).classes_.tolist() == NAMES.tolist()
    padded = SegmentClassifier(**FEW).fit(PADDED, MARKS, lengths=LENGTHS)
    assert_same_bits(np.concatenate(padded.predict_proba(PADDED, lengths=LENGTHS)), expected)
    assert padded.score(PADDED, MARKS, lengths=LENGTHS) == score
    flat, offsets = np.concatenate(X), np.append(0, np.cumsum(LENGTHS))
    for form in (np.concatenate(STEPS), pd.DataFrame(np.concatenate(STEPS)), STEPS):
        other = SegmentClassifier(**FEW).fit(flat, form, offsets=offsets)
        assert_same_bits(other.predict_proba(flat, offsets=offsets), expected)
        assert other.score(flat, form, offsets=offsets) == score
    assert_same_bits(np.concatenate(fit_steps(Ragged.of(np.concatenate(STEPS), LENGTHS)).predict_proba(X)), expected)
    assert_same_bits(net.predict_proba(flat, offsets=offsets), expected)
    assert net.predict(flat, offsets=offsets).shape == (len(flat), 3)


def test_steps_that_do_not_count():
    mask = [np.arange(len(own)) % 3 > 0 for own in STEPS]
    missing = [np.where(counts[:, None], own, np.nan) for own, counts in zip(STEPS, mask, strict=True)]
    marked = [np.where(counts[:, None], own, -1) for own, counts in zip(STEPS, mask, strict=True)]
    expected = fit_steps(STEPS, mask, class_weight="balanced")
    for net, y in (
        (fit_steps(missing, class_weight="balanced"), missing),
        (fit_steps(marked, class_weight="balanced", ignore=-1), marked),
    ):
        assert net._loss == expected._loss
        assert_same_bits(net.model_.params.flat, expected.model_.params.flat)
        assert net.score(X, y) == expected.score(X, STEPS, mask)
    weighted = fit_steps(missing, np.arange(1.0, 41))
    by_hand = [weight * own for weight, own in zip(np.arange(1.0, 41), mask, strict=True)]
    assert_same_bits(weighted.model_.params.flat, fit_steps(STEPS, by_hand).model_.params.flat)


def test_sample_weight_decides():
    weight = np.arange(40) < 20
    other = np.where(weight[:, None], Y, 1 - Y)
    assert_same_bits(fit(Y, weight).predict_proba(X), fit(other, weight).predict_proba(X))


def test_training_goes_on():
    parts = SequenceClassifier(**FEW)
    for _ in range(2):
        parts.partial_fit(X, Y, classes=[0, 1, 2])
    assert_same_bits(parts.predict_proba(X), fit(Y, linear=None).predict_proba(X))
    named = SequenceClassifier(**FEW).partial_fit(X, sets(Y), classes=[*NAMES, "d"])
    assert named.predict_proba(X).shape == (40, 4)
    with pytest.raises(ValueError, match="1 labels of classes that the model does not know: 'e'"):
        named.partial_fit(X, [{"e"}, *sets(Y)[1:]])
    with pytest.raises(ValueError, match="fitted to several labels a sample or step, y has one label"):
        parts.partial_fit(X, Y[:, 0])
    with pytest.raises(ValueError, match="fitted to one label a sample or step, y has several labels"):
        fit(Y[:, 0]).partial_fit(X, Y)
    stopped = fit(Y, epochs=200, patience=1, learning_rate=0.2)
    assert stopped.history_.stopped == "early stopping"


@pytest.mark.parametrize("device", ["cpu"])
def test_files_pickles_and_threads(device, tmp_path, pieces):
    frame = pd.DataFrame(Y, columns=NAMES)
    for net, read in (
        (fit(frame, class_weight="balanced"), np.asarray),
        (fit_steps(STEPS, class_weight={1: 2}), np.concatenate),
    ):
        net.save(tmp_path / "net")
        for copy in (numbarnn.load(tmp_path / "net", device), pickle.loads(pickle.dumps(net))):
            assert_same_bits(read(copy.predict_proba(X)), read(net.predict_proba(X)))
            assert copy.classes_.tolist() == net.classes_.tolist()
            assert copy._loss == net._loss
            assert copy.score(X, Y if read is np.asarray else STEPS) == net.score(X, Y if read is np.asarray else STEPS)
    one, three = (fit(Y, hidden_size=24, n_threads=n) for n in (1, 3))
    assert_same_bits(one.predict_proba(X), three.predict_proba(X))
    assert max(pieces) == 3


def test_streams():
    net, tagger = fit(Y, bidirectional=False), fit_steps(STEPS, bidirectional=False)
    stream, steps = net.stream(), tagger.stream()
    for count, row in enumerate(X[0], 1):
        assert stream.step(row).tolist() == net.predict([X[0][:count]])[0].tolist()
        assert steps.step(row).tolist() == tagger.predict([X[0]])[0][count - 1].tolist()
    assert_close(stream.probabilities, net.predict_proba(X[:1])[0], 1e-12)


def test_searches_and_scikit_learns_metrics():
    selection = pytest.importorskip("sklearn.model_selection")
    metrics = pytest.importorskip("sklearn.metrics")
    search = selection.GridSearchCV(SequenceClassifier(**FEW), {"hidden_size": [2, 3]}, cv=2, error_score="raise").fit(
        X, Y
    )
    assert metrics.accuracy_score(Y, search.predict(X)) == search.score(X, Y)
    assert 0 <= metrics.f1_score(Y, search.predict(X), average="macro", zero_division=0) <= 1


REFUSED = {
    "values": (lambda: fit(np.full((40, 2), 2)), ValueError, r"indicators, 0 and 1 for each label; got .* of shape \(40, 2\)"),
    "missing": (lambda: fit(np.full((40, 2), np.nan)), ValueError, "with values such as nan"),
    "strings": (lambda: fit(np.full((40, 2), "a")), TypeError, "y should be a 1d array"),
    "too few": (lambda: fit(Y[:5]), ValueError, "y has 5 labels, X has 40 samples"),
    "not all sets": (lambda: fit([*sets(Y)[:-1], "a"]), TypeError, r"y\[39\] must be a set of labels"),
    "missing labels": (lambda: fit([{None}, *sets(Y)[1:]]), ValueError, "y contains NaN, infinity or None"),
    "loss": (lambda: fit(Y, loss="softmax_cross_entropy"), ValueError,
        "loss must be 'auto' or 'binary_cross_entropy' where y has several labels"),
    "weights twice": (lambda: fit(Y, class_weight={0: 2}, loss=losses.BinaryCrossEntropy(pos_weight=2)), ValueError,
        "class_weight must be None where the loss has pos_weight"),
    "unknown weights": (lambda: fit(Y, class_weight={7: 2}), ValueError, "class_weight has .* 7; it knows 0, 1, 2"),
    "classes": (lambda: SequenceClassifier(**FEW).partial_fit(X, Y, classes=[0, 1]), ValueError,
        "y has 3 columns, the model knows 2 labels"),
    "columns": (lambda: fit(pd.DataFrame(Y, columns=NAMES)).score(X, pd.DataFrame(Y, columns=NAMES[::-1])), ValueError,
        r"y has columns \['c', 'b', 'a'\], the model knows \['a', 'b', 'c'\]"),
    "score of one label": (lambda: fit(Y).score(X, Y[:, 0]), ValueError, r"y must be indicators \(samples, 3\), as in fit"),
    "score of too few": (lambda: fit(Y).score(X, Y[:5]), ShapeError, "y has labels of 5 samples, X has 40"),
    "score of one label a step": (lambda: fit_steps(STEPS).score(X, [list("ab")] * 40), ValueError, "y must be indicators of"),
    "segments": (lambda: SegmentClassifier(**FEW).fit(X, STEPS, segments=[[(0, 1)]] * 40), ValueError, "leave segments out"),
    "segments at predict": (lambda: fit_steps(STEPS).predict(X, segments=[[(0, 1)]] * 40), ValueError, "segments have one label"),
    "steps of a sample": (lambda: fit_steps([*STEPS[:-1], STEPS[-1][1:]]), ValueError, r"y\[39\] has labels of \d steps, sam"),
    "too few of steps": (lambda: fit_steps(STEPS[:3]), ValueError, "y has labels of 3 samples, X has 40"),
    "labels a step": (lambda: fit_steps([*STEPS[:-1], STEPS[-1][:, :2]]), ShapeError, r"y\[39\] has 2 labels a step, y\[0\] has 3"),
    "values of steps": (lambda: fit_steps([own + 1 for own in STEPS]), ValueError, "with values such as 2"),
    "nothing counts": (lambda: fit_steps([own * np.nan for own in STEPS]), ValueError, "y has no label that counts"),
    "columns of frames": (lambda: fit_steps([pd.DataFrame(own, columns=NAMES[:: 1 - 2 * (k == 3)]) for k, own in enumerate(STEPS)]),
        ValueError, r"y\[3\] has columns"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name):
    call, error, message = REFUSED[name]
    with pytest.raises(error, match=message):
        call()
