"""Classifiers of sequences: scikit-learn's contract, forms of input and of labels, training, and what is refused."""

import datetime
import enum
import os
import pickle

import numpy as np
import pandas as pd
import pytest
from conftest import assert_close, assert_same_bits
from processes import run_python

from numbarnn import LSTM, Dense, Model, SegmentClassifier, SequenceClassifier, SequenceRegressor
from numbarnn.data import Ragged, WordFeatures
from numbarnn.errors import DivergedError
from numbarnn.estimators.labels import Classes

FEW = {"epochs": 3, "learning_rate": 0.01, "hidden_size": 4, "random_state": 0, "n_threads": 1, "linear": None}

# What scikit-learn's own checks may find, and why.
EXPECTED = {
    "check_sample_weight_equivalence_on_dense_data": "training goes batch by batch in random order, so a sample of weight "
    "two is not two samples (as for scikit-learn's own SGDClassifier and MLPClassifier)",
}


def task(samples=60, features=2, seed=0, kinds=("no", "yes")):
    """Samples of 3 to 8 steps; is the sum of all numbers positive?"""
    generator = np.random.default_rng(seed)
    x = [generator.normal(size=(length, features)) for length in generator.integers(3, 9, samples)]
    return x, [kinds[int(sample.sum() > 0)] for sample in x]


def fitted(x, y, **options):
    return SequenceClassifier(**FEW | options).fit(x, y)


@pytest.mark.parametrize("kind", [SequenceClassifier, SegmentClassifier])
def test_scikit_learns_checks(kind):
    checks = pytest.importorskip("sklearn.utils.estimator_checks")
    results = checks.check_estimator(
        kind(epochs=50, learning_rate=0.01, random_state=0, n_threads=1), expected_failed_checks=EXPECTED, on_skip=None
    )
    assert sum(result["status"] == "passed" for result in results) > 50
    assert {result["check_name"] for result in results if result["status"] == "xfail"} <= set(EXPECTED)


@pytest.mark.parametrize("pooling", ["last", "mean", "max"])
def test_learns(pooling):
    x, y = task(300)
    net = SequenceClassifier("gru", 16, pooling=pooling, epochs=30, random_state=0).fit(x, y)
    assert net.score(x, y) > 0.93
    assert net.classes_.tolist() == ["no", "yes"]
    assert (net.predict(x) == np.array(y)).mean() == net.score(x, y)
    probabilities = net.predict_proba(x)
    assert probabilities.shape == (300, 2)
    assert_close(probabilities.sum(axis=1), np.ones(300), 1e-12)
    assert_close(np.exp(net.predict_log_proba(x)), probabilities, 1e-12)
    assert (net.classes_[probabilities.argmax(axis=1)] == net.predict(x)).all()
    assert len(net.history_) == net.n_iter_ == 30


def test_settings_reach_the_net():
    x, y = task(20)
    net = fitted(x, y, cell="indrnn", num_layers=2, bidirectional=True, dropout=0.2, input_dropout=0.1, pooling="max")
    assert [type(layer).__name__ for layer in net.model_.layers] == ["Dropout", "IndRNN", "Pool", "Dropout", "Dense"]
    recurrent = net.model_.layers[1]
    assert (recurrent.num_layers, recurrent.bidirectional, recurrent.dropout) == (2, True, 0.2)
    tokens = fitted([np.array([1, 2]), np.array([3])], [0, 1], tokens=5, embedding_size=3)
    assert [type(layer).__name__ for layer in tokens.model_.layers] == ["Embedding", "LSTM", "Dense"]
    assert tokens.model_.layers[0].features == 3


# Forms of input


def test_forms_of_numbers_agree():
    x, y = task()
    net = fitted(x, y)
    expected = net.predict_proba(x)
    lengths = np.array([len(sample) for sample in x])
    padded = np.full((60, 8, 2), 7.0)
    for row, sample in zip(padded, x, strict=True):
        row[: len(sample)] = sample
    together, offsets = np.concatenate(x), np.append(0, np.cumsum(lengths))
    tails = np.where((np.arange(8) < lengths[:, None])[:, :, None], padded, np.nan)
    forms = [
        ((padded,), {"lengths": lengths}),
        ((np.where(np.isnan(tails), np.inf, padded),), {"lengths": lengths}),
        ((padded.tolist(),), {"lengths": lengths.tolist()}),
        ((tails,), {}),
        ((together,), {"offsets": offsets}),
        ((pd.DataFrame(together),), {"offsets": offsets}),
        ((Ragged(together, offsets),), {}),
        ((tuple(x),), {}),
    ]
    for form, options in forms:
        assert_same_bits(net.predict_proba(*form, **options), expected)
        assert (net.predict(*form, **options) == net.predict(x)).all()
        assert net.score(*form, y, **options) == net.score(x, y)
        other = SequenceClassifier(**FEW).fit(*form, y, **options)
        assert_same_bits(other.predict_proba(x), expected)
    assert_close(net.predict_proba(x[:1]), expected[:1], 1e-6)
    one = [sample[:, 0] for sample in x]
    assert_same_bits(fitted(one, y).predict(one), fitted([sample[:, None] for sample in one], y).predict(one))


def test_tokens_and_strings():
    generator = np.random.default_rng(0)
    tokens = [generator.integers(0, 4, length) for length in generator.integers(2, 7, 80)]
    y = [sample[0] for sample in tokens]
    net = fitted(tokens, y, tokens=4, epochs=30, hidden_size=8, bidirectional=True)
    assert net.score(tokens, y) > 0.9
    together, offsets = np.concatenate(tokens), np.append(0, np.cumsum([len(sample) for sample in tokens]))
    assert (net.predict(together, offsets=offsets) == net.predict(tokens)).all()
    words = [[f"w{token}" for token in sample] for sample in tokens]
    letters = ["".join("abcd"[token] for token in sample) for sample in tokens]
    for form in (words, letters, pd.Series(letters), np.array(letters), np.array(letters, object)):
        net = fitted(form, y, epochs=30, hidden_size=8, bidirectional=True)
        assert net.score(form, y) > 0.9
    assert fitted(words, y).predict([["never", "seen"]]).shape == (1,)
    flat = np.array([word for sample in words for word in sample])
    assert_same_bits(fitted(words, y).predict_proba(flat, offsets=offsets), fitted(words, y).predict_proba(words))


def test_features_of_words():
    features = WordFeatures(prefix=2, suffix=2, shape=True, lower=True)
    assert features.of("Ab") == ((0, "Ab"), (1, "ab"), (2, "a"), (3, "ab"), (4, "b"), (5, "ab"), (6, "Xx"))
    assert features.of("x9")[-1] == (6, "x9")
    assert features.of("I")[3] is None
    assert features.bag == 7
    table = WordFeatures(suffix=1, min_count=2).learn(["aa", "ba", "c", "c"])
    assert table.known == ((0, "c"), (1, "a"), (1, "c"))
    assert table.encode(["aa", "c", "za", "zz"]).tolist() == [[-1, 1], [0, 2], [-1, 1], [-1, -1]]
    with pytest.raises(ValueError, match="prefix must be an integer >= 0, got -1"):
        WordFeatures(prefix=-1)
    with pytest.raises(ValueError, match="words have no feature that occurs 3 times"):
        WordFeatures(min_count=3).learn(["a", "b"])
    # A new word is known by its ending.
    y = ["verb", "noun"] * 20
    x = [[f"w{i}ing"] if i % 2 == 0 else [f"w{i}ness"] for i in range(40)]
    net = fitted(x, y, tokens=WordFeatures(suffix=3, min_count=2), epochs=20)
    assert net.predict([["running"], ["kindness"]]).tolist() == ["verb", "noun"]


# Labels


class Mood(enum.Enum):
    GOOD = 1
    BAD = 2


@pytest.mark.parametrize(
    "kinds",
    [(0, 1), (3, -5), (True, False), (1.0, 2.0), ("no", "yes"), (("a", 1), ("b", 2)), (Mood.GOOD, Mood.BAD), (1, "one"),
     (frozenset({1}), frozenset()), (datetime.date(2020, 1, 1), datetime.date(2021, 1, 1)), (b"x", b"y")],
    ids=str,
)  # fmt: skip
def test_labels_of_any_kind(kinds):
    x, y = task(40, kinds=kinds)
    net = fitted(x, y, epochs=40, class_weight={kinds[0]: 1.5})
    assert set(net.classes_) == set(kinds)
    found = net.predict(x)
    assert found.shape == (40,)
    assert np.mean([a == b for a, b in zip(found, y, strict=True)]) == net.score(x, y) > 0.8
    assert (pickle.loads(pickle.dumps(net)).predict(x) == found).all()


def test_one_class():
    x, _ = task(10)
    assert fitted(x, ["a"] * 10).predict(x).tolist() == ["a"] * 10


def test_class_weights():
    x, y = task(200)
    y = ["rare" if i % 10 == 0 else label for i, label in enumerate(y)]
    plain, heavy = (fitted(x, y, class_weight=weight, epochs=10) for weight in (None, {"rare": 10}))
    assert (heavy.predict(x) == "rare").sum() > (plain.predict(x) == "rare").sum()
    balanced = fitted(x, y, class_weight="balanced", epochs=5)
    counts = [y.count(label) for label in balanced.classes_]
    by_hand = {label: 200 / (3 * count) for label, count in zip(balanced.classes_, counts, strict=True)}
    assert_same_bits(fitted(x, y, class_weight=by_hand, epochs=5).predict_proba(x), balanced.predict_proba(x))
    assert (fitted(x, y, class_weight={"no": 0, "yes": 0}, epochs=30).predict(x) == "rare").all()


# Training


def test_sample_weight_decides():
    x, y = task(80)
    weight = np.arange(80) < 40
    other = [label if i < 40 else "no" for i, label in enumerate(y)]
    a, b = (SequenceClassifier(**FEW).fit(x, labels, sample_weight=weight) for labels in (y, other))
    assert_same_bits(a.predict_proba(x), b.predict_proba(x))
    assert a.score(x, y, weight) == a.score(x[:40], y[:40])


def test_early_stopping_holds_out_of_every_class():
    x, y = task(100)
    order = np.argsort(y, kind="stable")  # one class after the other, as many files are
    x, y = [x[i] for i in order], [y[i] for i in order]
    net = fitted(x, y, epochs=300, patience=3, learning_rate=0.05)
    assert net.history_.stopped == "early stopping"
    kept, held = net._held_out(100, np.array([label == "yes" for label in y]))
    assert len(held) == 10
    assert not set(kept) & set(held)
    assert abs(sum(y[i] == "yes" for i in held) / 10 - y.count("yes") / 100) < 0.11
    given = SequenceClassifier(**FEW | {"patience": 1}).fit(x, y, validation=(x[:10], y[:10]))
    assert "val_loss" in given.history_[0]
    padded = np.zeros((1, 9, 2))
    options = {"lengths": [len(x[0])]}
    padded[0, : len(x[0])] = x[0]
    a = SequenceClassifier(**FEW).fit(x, y, validation=(x[:1], y[:1]))
    b = SequenceClassifier(**FEW).fit(x, y, validation=(padded, y[:1], options))
    assert a.history_["val_loss"] == b.history_["val_loss"]


def test_warm_start_and_partial_fit_go_on():
    x, y = task()
    whole = fitted(x, y, epochs=4)
    warm = SequenceClassifier(**FEW | {"epochs": 2, "warm_start": True}).fit(x, y)
    assert_same_bits(warm.fit(x, y).predict_proba(x), whole.predict_proba(x))
    parts = SequenceClassifier(**FEW)
    for _ in range(4):
        parts.partial_fit(x, y, classes=["yes", "no"])
    assert_same_bits(parts.predict_proba(x), whole.predict_proba(x))
    assert parts.history_["epoch"] == [1, 2, 3, 4]
    more = SequenceClassifier(**FEW).partial_fit(x, y, classes=["maybe", "no", "yes"])
    assert more.predict_proba(x).shape == (60, 3)


def test_results_do_not_depend_on_threads(pieces):
    x, y = task(30)
    words = [[f"w{n}" for n in range(len(sample))] for sample in x]
    for data, options in ((x, {"pooling": "mean", "dropout": 0.3}), (words, {"tokens": WordFeatures(suffix=1)})):
        one, three = (fitted(data, y, hidden_size=24, n_threads=n, **options) for n in (1, 3))
        assert_same_bits(one.predict_proba(data), three.predict_proba(data))
    assert max(pieces) == 3


def test_pickles_and_goes_on(tmp_path):
    x, y = task()
    joblib = pytest.importorskip("joblib")
    net = fitted(x, y, warm_start=True, class_weight="balanced")
    joblib.dump(net, tmp_path / "n.joblib")
    copies = [pickle.loads(pickle.dumps(net)), joblib.load(tmp_path / "n.joblib")]
    expected = net.predict_proba(x)
    goes_on = net.fit(x, y).predict_proba(x)
    for copy in copies:
        assert_same_bits(copy.predict_proba(x), expected)
        assert_same_bits(copy.fit(x, y).predict_proba(x), goes_on)


def test_pipelines_and_searches():
    base = pytest.importorskip("sklearn.base")
    selection = pytest.importorskip("sklearn.model_selection")
    pipeline = pytest.importorskip("sklearn.pipeline")
    from numbarnn.data import SequenceScaler

    x, y = task(60)
    pipe = pipeline.make_pipeline(SequenceScaler(), SequenceClassifier(**FEW | {"epochs": 10}))
    grid = {"sequenceclassifier__pooling": ["last", "mean"]}
    search = selection.GridSearchCV(base.clone(pipe), grid, n_jobs=2, cv=3, error_score="raise").fit(x, y)
    assert search.best_score_ > 0.6
    assert search.predict(x).shape == (60,)
    words = [["a", "b"] if label == "yes" else ["b"] for label in y]
    kinds = {"tokens": [None, WordFeatures(prefix=1)]}
    search = selection.GridSearchCV(SequenceClassifier(**FEW | {"epochs": 10}), kinds, cv=3, error_score="raise")
    assert search.fit(words, y).best_score_ > 0.9


# What is refused

X, Y = task(20)
HOLES = [np.where(np.arange(len(sample))[:, None] == 1, np.nan, sample) for sample in X]
PADDED = np.zeros((20, 8, 2))
FITTED = {}


def net():
    if not FITTED:
        FITTED["net"] = fitted(X, Y)
        FITTED["words"] = fitted([["a", "b"], ["c"]], [0, 1])
    return FITTED["net"]


def fit(*arguments, settings=None, **options):
    return SequenceClassifier(**FEW | (settings or {})).fit(*arguments, **options)


REFUSED = {
    "not fitted": (lambda: SequenceClassifier().predict(X), "not fitted yet; call fit first"),
    "no labels": (lambda: fit(X, None), "requires y to be passed"),
    "labels missing": (lambda: fit(X, Y[:5]), "y has 5 labels, X has 20 samples"),
    "label none": (lambda: fit(X, [None, *Y[1:]]), "y contains NaN, infinity or None, the first at 0"),
    "label nan": (lambda: fit(X, [1.0] * 19 + [np.nan]), "y contains NaN, infinity or None, the first at 19"),
    "label infinite": (lambda: fit(X, [np.inf] * 20), "y contains NaN, infinity"),
    "label fraction": (lambda: fit(X, [0.5] * 20), "Unknown label type: continuous. y has 20 values such as 0.5"),
    "labels of two axes": (lambda: fit(X, np.full((20, 2), 3)), r"y should be a 1d array .* shape \(20, 2\) with values such as 3"),
    "nan within": (lambda: fit(HOLES, Y), r"Input X contains NaN: X\[0\] has 2 NaN or infinite values, the first at \[1, 0\]"),
    "nan at predict": (lambda: net().predict(HOLES), "Input X contains NaN"),
    "features": (lambda: net().predict([sample[:, :1] for sample in X]), "X has 1 features, .* expecting 2 features"),
    "features of one": (lambda: fit([X[0], X[1][:, :1]], Y[:2]), r"X\[1\] must be numbers"),
    "an empty sample": (lambda: fit([X[0], X[1][:0]], Y[:2]), r"X\[1\] has no time steps"),
    "both lengths and offsets": (lambda: fit(PADDED, Y, lengths=[1], offsets=[0]), "pass one of them"),
    "lengths of the wrong number": (lambda: fit(PADDED, Y, lengths=[3] * 19), r"lengths must have shape \(20,\)"),
    "lengths beyond": (lambda: fit(PADDED, Y, lengths=[9] * 20), r"lengths\[0\] is 9; x has 8 time steps"),
    "a length beyond its sample": (lambda: fit(X, Y, lengths=[8] * 20), r"lengths\[\d\] is 8; X\[\d\] has \d steps"),
    "length zero": (lambda: fit(PADDED, Y, lengths=[0] * 20), r"X\[0\] has no time steps"),
    "offsets of the wrong sum": (lambda: fit(np.concatenate(X), Y, offsets=[0, 3, 9]), "run from 0 to the number of steps"),
    "offsets that fall": (lambda: fit(np.zeros((9, 2)), Y, offsets=[0, 5, 3, 9]), r"offsets must rise, offsets\[1\] is 5"),
    "offsets no integers": (lambda: fit(np.zeros((9, 2)), Y, offsets=[0.0, 9.0]), "offsets must be integers"),
    "pooling": (lambda: fit(X, Y, settings={"pooling": "median"}), "pooling must be 'mean', 'max' or 'last', got 'median'"),
    "cell": (lambda: fit(X, Y, settings={"cell": "lstmm"}), "cell must be"),
    "unknown weight": (lambda: fit(X, Y, settings={"class_weight": {"maybe": 1}}), "class_weight has .* 'maybe'; it knows 'no'"),
    "negative weight": (lambda: fit(X, Y, settings={"class_weight": {"no": -1}}), "class_weight of 'no' must be a finite"),
    "kind of weight": (lambda: fit(X, Y, settings={"class_weight": "even"}), "class_weight must be None, 'balanced' or a dict"),
    "unknown classes": (lambda: fit(X, Y).partial_fit(X, ["maybe"] * 20),
        "20 labels of classes that the model does not know: 'maybe'"),
    "unknown classes of validation": (lambda: fit(X, Y, validation=(X, ["maybe"] * 20)),
        "does not know: 'maybe'; it knows 'no', 'yes'"),
    "classes that are not all": (lambda: SequenceClassifier().partial_fit(X, Y, classes=["no"]),
        "does not know: 'yes'; it knows 'no'"),
    "validation": (lambda: fit(X, Y, validation=0.1), r"validation must be \(X, y\)"),
    "sample weight": (lambda: fit(X, Y, sample_weight=[1.0]), r"sample_weight must have shape \(20,\)"),
    "token out of range": (lambda: fit([np.array([0, 7])], [0], settings={"tokens": 5}),
        r"X\[0\]\[1\] is 7; the vocabulary has 5 tokens"),
    "tokens that are not integers": (lambda: fit(X, Y, settings={"tokens": 5}), r"X\[0\] must be integer tokens"),
    "tokens that are not a number": (lambda: fit(X, Y, settings={"tokens": "many"}), "tokens must be None, a positive number"),
    "features of words of numbers": (lambda: fit(X, Y, settings={"tokens": WordFeatures()}), "needs strings"),
    "strings for tokens": (lambda: fit(["ab"], [0], settings={"tokens": 5}), "X has strings, so tokens must be"),
    "strings at predict": (lambda: net().predict(["ab"]), "was fitted to numbers, X has strings"),
    "numbers at predict": (lambda: (net(), FITTED["words"].predict(X)), "was fitted to strings, X has numbers"),
    "no string among strings": (lambda: fit([["a", 3]], [0]), r"X\[0\] must be strings, at least one, got 3"),
    "an empty sentence": (lambda: fit([["a"], []], [0, 1]), r"X\[1\] must be strings, at least one, got nothing"),
    "validation fraction": (lambda: fit(X, Y, settings={"patience": 1, "validation": 1.0}), r"must be a fraction in \(0, 1\)"),
    "nothing to train on": (lambda: fit(X[:1], Y[:1], settings={"patience": 1}), "leaves none of 1 samples"),
    "beyond float32": (lambda: fit([np.full((3, 1), 1e300)], [0], settings={"scale": None}),
        "X in float32 has 3 NaN or infinite values"),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore:overflow encountered in cast:RuntimeWarning")
@pytest.mark.parametrize("name", REFUSED)
def test_refused(name):
    call, message = REFUSED[name]
    with pytest.raises((ValueError, TypeError), match=message):
        call()


def test_what_is_refused_changes_nothing():
    net = fitted(X, Y, warm_start=False)
    before, expected = dict(net.__dict__), net.predict_proba(X)
    with pytest.raises(ValueError, match="NaN"):
        net.fit(HOLES, Y)
    with pytest.raises(ValueError, match="y has 5 labels, X has 20 samples"):
        net.fit([sample[:, :1] for sample in X], Y[:5])
    with pytest.raises(ValueError, match="does not know"):
        net.partial_fit(X, ["maybe"] * 20)
    assert net.__dict__ == before
    assert_same_bits(net.predict_proba(X), expected)
    new = SequenceClassifier()
    with pytest.raises(ValueError, match="y contains NaN"):
        new.fit(X, [None] * 20)
    assert new.__dict__.keys() == new.get_params().keys()


def test_training_that_diverges_leaves_the_weights():
    net = fitted(X, Y, warm_start=True)
    expected = net.predict_proba(X)
    net.set_params(learning_rate=1e30, clip_norm=None, optimizer="sgd", epochs=20)
    with pytest.raises(DivergedError), np.errstate(all="ignore"):
        net.fit([1e30 * sample for sample in X], Y)
    assert_same_bits(net.predict_proba(X), expected)


def test_labels_that_the_model_does_not_know_are_wrong():
    net = fitted(X, Y)
    assert net.score(X, ["maybe"] * 20) == 0


WITHOUT = """
import sys
import numbarnn
assert not {"sklearn", "pandas", "matplotlib"} & set(sys.modules), sorted(sys.modules)
sys.modules["sklearn"] = None
from numbarnn import SegmentClassifier, SequenceClassifier
x = [[c for c in word] for word in ("abba", "baab", "aba", "bb", "ab", "ba")] * 10
first = [word[0] for word in x]
net = SequenceClassifier("rnn", 4, epochs=20, random_state=0, bidirectional=True).fit(x, first)
tagger = SegmentClassifier("rnn", 4, epochs=20, random_state=0).fit(x, x)
print(net, net.score(x, first), tagger.score(x, x), "sklearn" in sys.modules and sys.modules["sklearn"])
"""


def test_without_scikit_learn(tmp_path):
    shown = run_python(WITHOUT, cwd=tmp_path, cache=os.environ.get("NUMBA_CACHE_DIR", tmp_path)).stdout
    assert shown.startswith("SequenceClassifier(cell='rnn', hidden_size=4, epochs=20, random_state=0) 1.0 1.0")


def test_weights_of_classes_that_a_fold_lacks():
    """As in scikit-learn: a class more is not an error where every class there is has a weight."""
    weight = {"no": 1, "yes": 2, "maybe": 5}
    net, expected = (
        fit(X, Y, settings={"class_weight": weight}),
        fit(X, Y, settings={"class_weight": {"no": 1, "yes": 2}}),
    )
    assert_same_bits(net.model_.params.flat, expected.model_.params.flat)
    with pytest.raises(ValueError, match=r"class_weight has 1 labels of classes .* 'maybe'; it knows 'no', 'yes'"):
        fit(X, Y, settings={"class_weight": {"no": 1, "maybe": 2}})
    with pytest.raises(ValueError, match="class_weight of 'maybe' must be a finite number"):
        fit(X, Y, settings={"class_weight": weight | {"maybe": -1}})


@pytest.mark.parametrize(
    "labels", [[2**63, 2**63 + 1], [-1, 2**63], [-1, 2**64 - 1, 2**64], [0.0, 2**53 + 1], ["a", "a\x00"]], ids=str
)
def test_labels_are_not_rounded(labels):
    classes = Classes.of(labels)
    assert sorted(classes.listing, key=str) == sorted(labels, key=str)
    assert sorted(classes.encode(labels)) == list(range(len(labels)))


@pytest.mark.parametrize("kind", [SequenceClassifier, SequenceRegressor])
def test_values_beyond_float32_are_refused(kind):
    x, y = np.random.default_rng(0).normal(size=(6, 5, 2)), [0, 1] * 3
    net, large = kind("lstm", 4, epochs=0, random_state=0).fit(x, y), x.copy()
    large[1, 2, 0] = 1e39
    plain = kind("lstm", 4, epochs=0, scale=None)
    for data in (large, list(large), np.where(np.arange(5)[:, None] < 4, large, np.nan), pd.Series(list(large))):
        with pytest.raises(
            ValueError, match=r"X, scaled as in fit, in float32 has 1 NaN .* at \[.* far beyond the data"
        ):
            net.predict(data)
        with pytest.raises(
            ValueError, match=r"X in float32 has 1 NaN or infinite value, the first at \[.*scale='stand"
        ):
            plain.fit(data, y)
        assert kind("lstm", 4, epochs=0).fit(data, y).predict(data).shape == (6,)  # scaled, it is a number of float32
    assert kind("lstm", 4, epochs=0, dtype=np.float64).fit(large, y).dtype is np.float64
    with pytest.raises(ValueError, match=r"x\[1, 2, 0\] is infinite in the model's float32"):
        Model([LSTM(4, return_sequences=False), Dense(2)], input_size=2).fit(large, y, epochs=0, verbose=0)


def test_samples_in_an_array_of_objects():
    boxed = np.empty(len(X), object)
    boxed[:] = X
    expected = fit(X, Y).predict_proba(X)
    for data in (boxed, pd.Series(X), [pd.DataFrame(sample) for sample in X]):
        assert np.array_equal(fit(data, Y).predict_proba(data), expected)


def test_a_frame_of_tokens():
    tokens = np.random.default_rng(0).integers(0, 3, (6, 4))
    nets = [fit(data, [0, 1] * 3, settings={"tokens": 3}) for data in (tokens, pd.DataFrame(tokens))]
    assert_same_bits(*(net.model_.params.flat for net in nets))


def test_masks_are_seen_in_every_form():
    masked = np.ma.masked_greater(np.ones((4, 2)) + np.eye(4, 2), 1.5)
    for data, options in (
        ([masked] * 2, {"lengths": [4, 4]}),
        (np.ma.concatenate([masked] * 2), {"offsets": [0, 4, 8]}),
    ):
        with pytest.raises((TypeError, ValueError), match=r"mask|contains NaN"):
            fit(data, [0, 1], **options)
    assert_same_bits(
        *(fit([x] * 2, [0, 1], lengths=[1, 1]).model_.params.flat for x in (masked[::-1], np.ones((4, 2))))
    )


def test_a_dtype_given_as_a_type_is_saved(tmp_path):
    net = fit(X, Y, settings={"dtype": np.float32})
    net.save(tmp_path / "net")
    assert SequenceClassifier.load(tmp_path / "net").dtype == "float32"


def test_settings_that_are_no_flags():
    with pytest.raises(TypeError, match="warm_start must be True or False, got 'no'"):
        fit(X, Y, settings={"warm_start": "no"})
    for validation in (0, 1, True, "x", None):
        for kind in (SequenceClassifier, SequenceRegressor):
            with pytest.raises(ValueError, match=r"validation must be a fraction in \(0, 1\)"):
                kind(epochs=0, patience=1, validation=validation).fit(np.zeros((4, 2, 1)), [0, 1, 0, 1])
