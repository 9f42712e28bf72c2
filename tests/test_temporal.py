"""`TemporalClassifier`: label sequences at unknown positions, forms of input, errors that leave nothing half-trained."""

import pickle

import numpy as np
import pandas as pd
import pytest
from conftest import assert_close, assert_same_bits
from hypothesis import given
from hypothesis import strategies as st

from numbarnn import TemporalClassifier, metrics
from numbarnn.data import WordFeatures
from numbarnn.decoding import beam_search, collapse
from numbarnn.errors import DivergedError, ShapeError, TokenError
from numbarnn.optim import EMA, StepDecay
from numbarnn.sklearn_api import NotFittedError

FEW = {"epochs": 2, "learning_rate": 0.01, "hidden_size": 4, "random_state": 0, "n_threads": 1}
NAMES = ("ten", ("a", "tuple"), 3)


def task(samples=40, seed=0):
    """Pulses of three kinds at unknown steps; the string of their names."""
    generator = np.random.default_rng(seed)
    x, strings = [], []
    for _ in range(samples):
        string = generator.integers(0, 3, generator.integers(0, 4))
        part = 0.1 * generator.standard_normal((7 * len(string) + int(generator.integers(1, 6)), 3))
        for k, label in enumerate(string):
            at = 7 * k + generator.integers(0, 3)
            part[at : at + generator.integers(1, 4), label] += 1
        x.append(part)
        strings.append([NAMES[label] for label in string])
    return x, strings


def fitted(x=None, y=None, **options):
    if x is None:
        x, y = task()
    return TemporalClassifier(**FEW | options).fit(x, y)


@pytest.fixture(scope="module")
def learned():
    x, y = task(200)
    return TemporalClassifier(hidden_size=12, epochs=30, random_state=0, n_threads=1, learning_rate=0.02).fit(x, y)


def test_learns_strings_of_any_hashable_labels(learned):
    x, y = task(60, seed=1)
    assert set(learned.classes_.tolist()) == set(NAMES)
    assert learned.score(x, y) > 0.97
    found = learned.predict(x)
    assert sum(a == b for a, b in zip(found, y, strict=True)) > 54
    assert [] in found
    errors = metrics.label_errors(y, found)
    assert learned.score(x, y) == 1 - errors.rate
    assert learned.n_iter_ == len(learned.history_) == 30


def test_probabilities_decoding_and_alignment(learned):
    x, y = task(12, seed=2)
    shares = learned.predict_proba(x)
    assert [len(rows) for rows in shares] == [len(part) for part in x]
    for rows, string in zip(shares, learned.predict(x), strict=True):
        assert_close(rows.sum(axis=1), np.ones(len(rows)), 1e-12)
        assert [learned.classes_[k - 1] for k in collapse(rows.argmax(axis=1))] == string
    best = learned.decode(x, beam_width=8, n_best=3)
    for rows, hypotheses in zip(shares, best, strict=True):
        (direct,) = beam_search(np.log(rows)[None], beam_width=8, n_best=3)
        assert [tuple(learned.classes_[k - 1] for k in h.labels) for h in direct] == [h.labels for h in hypotheses]
        assert_close([h.log_probability for h in hypotheses], [h.log_probability for h in direct], 1e-9)
    assert sum(list(hypotheses[0].labels) == string for hypotheses, string in zip(best, y, strict=True)) >= 10
    for part, string, alignment, positions in zip(x, y, learned.align(x, y), learned.occupancy(x, y), strict=True):
        assert [learned.classes_[k - 1] for k in collapse(alignment.path)] == string
        assert positions.shape == (len(part), 2 * len(string) + 1)
        for k, name in enumerate(string):  # a label is where its pulse is
            assert 7 * k - 3 <= alignment.first[k] <= 7 * k + 7
            assert NAMES.index(name) == part[max(0, 7 * k) : 7 * k + 6].max(axis=0).argmax()


def test_forms_of_input_agree():
    x, y = task(10)
    whole = fitted(x, y)
    weights, counts = whole.model_.params.flat, np.array([len(part) for part in x])
    longest = counts.max()
    padded, tails = np.full((10, longest, 3), 7.0), np.full((10, longest, 3), np.nan)
    for part, junk, tail in zip(x, padded, tails, strict=True):
        junk[: len(part)] = tail[: len(part)] = part
    flat = np.concatenate(x)
    offsets = np.concatenate([[0], np.cumsum(counts)])
    for data, options in (
        (padded, {"lengths": counts}),
        (tails, {}),
        (flat, {"offsets": offsets}),
        (flat, {"lengths": counts}),
    ):
        other = TemporalClassifier(**FEW).fit(data, y, **options)
        assert_same_bits(other.model_.params.flat, weights)
        assert other.predict(data, **options) == whole.predict(x)
        for rows, want in zip(other.predict_proba(data, **options), whole.predict_proba(x), strict=True):
            assert_same_bits(rows, want)


def test_forms_of_labels_agree():
    x, _ = task(3)
    x = [np.concatenate([part, part]) for part in x]
    want = fitted(x, ["ab", "", "b"])
    assert want.classes_.tolist() == ["a", "b"]
    arrays = [np.array(["a", "b"]), np.array([], str), ("b",)]
    padded, flat, counts = np.array([["a", "b"], ["?", "?"], ["b", "?"]]), np.array(["a", "b", "b"]), [2, 0, 1]
    for y, options in (
        ([["a", "b"], [], ["b"]], {}),
        (arrays, {}),
        (padded, {"y_lengths": counts}),
        (flat, {"y_lengths": counts}),
    ):
        other = TemporalClassifier(**FEW).fit(x, y, **options)
        assert_same_bits(other.model_.params.flat, want.model_.params.flat)
        assert other.score(x, y, **options) == want.score(x, ["ab", "", "b"])
    numbers = fitted(x, [np.array([4, 2]), [], [np.int64(2)]])
    assert numbers.classes_.tolist() == [2, 4]
    assert {type(label) for string in numbers.predict(x) for label in string} <= {int}


def written(samples=200, seed=0):
    """Words of pairs of equal letters, and the capital of each pair; "cc" says nothing."""
    generator = np.random.default_rng(seed)
    strings = [generator.integers(0, 3, generator.integers(1, 6)) for _ in range(samples)]
    words = ["".join("abc"[k] * 2 for k in string) for string in strings]
    return words, ["".join("AB"[k] for k in string if k < 2) for string in strings]


def test_strings_words_and_tokens():
    words, y = written()
    options = {
        "hidden_size": 12,
        "epochs": 30,
        "learning_rate": 0.01,
        "random_state": 0,
        "n_threads": 1,
        "embedding_size": 8,
    }
    net = TemporalClassifier(**options).fit(words, y)
    assert net.score(*written(50, 1)) > 0.95
    expected = net.predict_proba(words)
    assert [type(layer).__name__ for layer in net.model_.layers] == ["EmbeddingBag", "LSTM", "Dense"]
    assert not hasattr(net, "n_features_in_")
    lists, arrays = [list(word) for word in words], [np.array(list(word)) for word in words]
    for form in (lists, arrays, np.array(words), np.array(words, object)):
        for one, other in zip(net.predict_proba(form), expected, strict=True):
            assert_same_bits(one, other)
    flat, counts = np.array(list("".join(words))), [len(word) for word in words]
    for spread in ({"lengths": counts}, {"offsets": np.append(0, np.cumsum(counts))}):
        assert net.predict(flat, **spread) == net.predict(words)
    # What was not seen in training says nothing, as in the other two classifiers; no letters, no labels.
    assert net.predict(["zz", "", "aaz"])[1] == []
    assert_same_bits(net.predict_proba(["z"])[0], net.predict_proba([["never seen"]])[0])
    (alignment,) = net.align(["aabb"], ["AB"])
    assert alignment.last[0] < alignment.first[1]

    longer = [[f"w{letter}ing" for letter in word] for word in words]
    suffixes = TemporalClassifier(**options | {"tokens": WordFeatures(prefix=2, min_count=2)}).fit(longer, y)
    assert suffixes.score(longer, y) > 0.95
    assert suffixes.predict([["wandering", "waiting"]]) == suffixes.predict([["waving", "walking"]])

    tokens = [np.array(["abc".index(letter) for letter in word]) for word in words]
    numbers = TemporalClassifier(**options | {"tokens": 3}).fit(tokens, y)
    assert numbers.score(tokens, y) > 0.95
    assert [type(layer).__name__ for layer in numbers.model_.layers] == ["Embedding", "LSTM", "Dense"]
    flat = np.concatenate(tokens)
    assert numbers.predict(flat, lengths=counts) == numbers.predict(tokens)
    assert numbers.predict([tokens[0][:0], tokens[0]])[0] == []


def test_samples_of_no_steps():
    x, y = task(10)
    x, y = [*x, np.zeros((0, 3))], [*y, []]
    classifier = TemporalClassifier(**FEW | {"batch_size": 1}).fit(x, y)
    assert classifier.predict(x)[-1] == classifier.predict(x[-1:])[0] == []
    assert classifier.predict_proba(x)[-1].shape == (0, 4)
    assert classifier.decode(x[-1:])[0][0] == ((), 0.0)
    padded, counts = np.full((11, max(map(len, x)), 3), 7.0), [len(part) for part in x]
    for row, part in zip(padded, x, strict=True):
        row[: len(part)] = part
    assert classifier.predict(padded, lengths=counts) == classifier.predict(x)
    with pytest.raises(ShapeError, match="sample 10: 0 steps for 1 labels"):
        classifier.fit(x, [*y[:-1], ["ten"]])


def test_schedules_and_averages():
    x, y = task(20)
    plain = fitted(x, y)
    slower = fitted(x, y, schedule=StepDecay(1, 0.5), epochs=2)
    assert slower.history_["learning_rate"] == [0.01, 0.005]
    assert not np.array_equal(slower.model_.params.flat, plain.model_.params.flat)
    averaged = fitted(x, y, average=0.5)
    assert not np.array_equal(averaged.model_.params.flat, plain.model_.params.flat)
    assert_same_bits(fitted(x, y, average=EMA(0.5, final=False)).model_.params.flat, plain.model_.params.flat)
    assert_same_bits(fitted(x, y, average=0.0).model_.params.flat, plain.model_.params.flat)


def test_same_bits_for_any_number_of_threads(pieces):
    x, y = task(12)
    one, three = fitted(x, y), fitted(x, y, n_threads=3)
    assert max(pieces) == 3
    assert_same_bits(three.model_.params.flat, one.model_.params.flat)


def test_training_goes_on():
    x, y = task()
    at_once, twice = fitted(x, y, epochs=4), fitted(x, y, warm_start=True)
    twice.fit(x, y)
    assert_same_bits(twice.model_.params.flat, at_once.model_.params.flat)
    parts = TemporalClassifier(**FEW)
    for _ in range(4):
        parts.partial_fit(x, y, classes=NAMES)
    assert_same_bits(parts.model_.params.flat, at_once.model_.params.flat)
    assert len(parts.history_) == 4
    stopped = fitted(x, y, epochs=60, patience=1, learning_rate=1.0)
    assert stopped.n_iter_ < 60
    assert "val_loss" in stopped.history_[0]
    held = TemporalClassifier(**FEW | {"patience": 5}).fit(x, y, validation=task(8, seed=4))
    assert "val_loss" in held.history_[0]
    other, strings = task(8, seed=4)
    spread = np.concatenate(other), strings, {"lengths": [len(part) for part in other]}
    again = TemporalClassifier(**FEW | {"patience": 5}).fit(x, y, validation=spread)
    assert again.history_["val_loss"] == held.history_["val_loss"]


def test_pickles_and_clones():
    x, y = task(10)
    classifier = fitted(x, y)
    copy = pickle.loads(pickle.dumps(classifier))
    assert copy.predict(x) == classifier.predict(x)
    copy.partial_fit(x, y)
    classifier.partial_fit(x, y)
    assert_same_bits(copy.model_.params.flat, classifier.model_.params.flat)
    sklearn = pytest.importorskip("sklearn.base")
    assert sklearn.clone(classifier).get_params() == classifier.get_params()


def test_scikit_learns_searches():
    selection = pytest.importorskip("sklearn.model_selection")
    x, y = task(12)
    search = selection.GridSearchCV(TemporalClassifier(**FEW), {"hidden_size": [2, 3]}, cv=2).fit(x, y)
    assert search.best_params_["hidden_size"] in (2, 3)


X, Y = task(6)
SHORT = [part[:4] for part in X]


def nan_inside():
    x = [part.copy() for part in X]
    x[2][1, 0] = np.nan
    return x


REFUSED = [
    ("nan", lambda c: c.fit(nan_inside(), Y), ValueError, "Input X contains NaN"),
    ("count", lambda c: c.fit(X, Y[:-1]), ShapeError, "y has 5 label sequences, X has 6 samples"),
    ("none", lambda c: c.fit(X, None), ValueError, "y must be a list of label sequences"),
    ("one string", lambda c: c.fit(X, "abcdef"), TypeError, "got one string"),
    ("one label", lambda c: c.fit(X, [1, 2, 3, 4, 5, 6]), TypeError, r"y\[0\] must be a sequence of labels, got 1"),
    (
        "missing label",
        lambda c: c.fit(X, [[], [None], [], [], [], []]),
        ValueError,
        r"y\[1\] contains NaN, infinity or None",
    ),
    ("nan label", lambda c: c.fit(X, [[], [np.nan], [], [], [], []]), ValueError, r"y\[1\] contains NaN"),
    (
        "unhashable",
        lambda c: c.fit(X, [[], [[1]], [], [], [], []]),
        TypeError,
        r"y\[1\] must have hashable labels, got list",
    ),
    ("fraction", lambda c: c.fit(X, [[], [0.5], [], [], [], []]), ValueError, r"y\[1\] has 1 values such as 0.5"),
    ("no labels", lambda c: c.fit(X, [[]] * 6), ValueError, "at least one class, it has none"),
    (
        "short",
        lambda c: c.fit(SHORT, [[1, 1, 1]] + [[1]] * 5),
        ShapeError,
        "1 of 6 samples have too few steps.*sample 0: 4",
    ),
    ("features", lambda c: c.fit([*X[:-1], np.zeros((9, 2))], Y), ValueError, r"X\[5\] must be numbers of shape"),
    ("ragged lists", lambda c: c.fit([part.tolist() for part in X], Y), ValueError, "list of NumPy arrays"),
    (
        "sum of lengths",
        lambda c: c.fit(np.zeros((50, 3)), Y, lengths=[8] * 6),
        ShapeError,
        "lengths add up to 48 for 6 samples, X has 50 rows",
    ),
    ("long lengths", lambda c: c.fit(np.zeros((6, 5, 3)), Y, lengths=[8] * 6), ValueError, r"lengths\[0\] is 8"),
    (
        "offsets",
        lambda c: c.fit(np.zeros((50, 3)), Y, offsets=[0, 9, 8, 20, 30, 40, 50]),
        ValueError,
        r"offsets must rise, offsets\[1\] is 9",
    ),
    (
        "offsets end",
        lambda c: c.fit(np.zeros((50, 3)), Y, offsets=[0, 9, 18, 20, 30, 40, 49]),
        ValueError,
        "from 0 to 49",
    ),
    ("both", lambda c: c.fit(X, Y, lengths=[1], offsets=[0, 1]), ValueError, "pass one of them"),
    (
        "y_lengths",
        lambda c: c.fit(X, np.arange(9), y_lengths=[1] * 6),
        ShapeError,
        "y has 9 labels, y_lengths add up to 6",
    ),
    ("y_lengths 2", lambda c: c.fit(X, np.ones((6, 2)), y_lengths=[3] * 6), ShapeError, "6 lengths up to 3"),
    ("infeasible", lambda c: c.set_params(infeasible="no").fit(X, Y), ValueError, "infeasible must be"),
    ("cell", lambda c: c.set_params(cell="no").fit(X, Y), ValueError, "cell must be"),
    ("tokens", lambda c: c.set_params(tokens=2).fit([np.array([0, 2])], ["a"]), TokenError, r"X\[0\]\[1\] is 2"),
    ("no tokens", lambda c: c.set_params(tokens=2).fit(X, Y), ValueError, r"X\[0\] must be integer tokens of shape"),
    ("words", lambda c: c.fit([["a", 3]], ["a"]), ValueError, r"X\[0\] must be strings, got 3"),
    ("features of numbers", lambda c: c.set_params(tokens=WordFeatures()).fit(X, Y), ValueError, "needs strings"),
    ("short words", lambda c: c.fit(["aa", "a"], ["x", "xy"]), ShapeError, "sample 1: 1 steps for 2 labels"),
    (
        "options of validation",
        lambda c: c.fit(X, Y, validation=(X, Y, {"segments": 1})),
        ValueError,
        "keys among lengths, offsets",
    ),
    ("step weights", lambda c: c.fit(X, Y, [[1.0] * len(x) for x in X]), ValueError, "one value for each sample"),
    (
        "schedule",
        lambda c: c.set_params(schedule=0.9).fit(X, Y),
        TypeError,
        "schedule must be a numbarnn.optim.Schedule",
    ),
    (
        "average",
        lambda c: c.set_params(average=2.0).fit(X, Y),
        ValueError,
        "average must be None, an EMA",
    ),
    (
        "validation",
        lambda c: c.fit(X, Y, validation=(X, [["new"]] * 6)),
        ValueError,
        "labels of classes that the model does not know: 'new'",
    ),
]


@pytest.mark.parametrize(
    ("call", "error", "message"), [case[1:] for case in REFUSED], ids=[case[0] for case in REFUSED]
)
def test_bad_input_leaves_nothing_half_trained(call, error, message):
    fresh = TemporalClassifier(**FEW)
    with pytest.raises(error, match=message):
        call(fresh)
    assert not [name for name in vars(fresh) if name.endswith("_")]
    with pytest.raises(NotFittedError):
        fresh.predict(X)


def test_a_fitted_estimator_stays_as_it_was():
    classifier = fitted(X, Y)
    before, weights = dict(vars(classifier)), classifier.model_.params.flat.copy()
    for call, error, message in (
        (lambda: classifier.fit(nan_inside(), Y), ValueError, "NaN"),
        (
            lambda: classifier.partial_fit(X, [["new"]] * 6),
            ValueError,
            "labels of classes that the model does not know: 'new'; it knows",
        ),
        (lambda: classifier.predict(nan_inside()), ValueError, "NaN"),
        (lambda: classifier.predict(["ab"]), ValueError, "was fitted to numbers, X has strings"),
        (lambda: classifier.predict([part[:, :2] for part in X]), ValueError, "X has 2 features"),
        (
            lambda: classifier.score(X, Y[:-1]),
            ShapeError,
            "predicted must have a label sequence for each of y, 5, got 6",
        ),
        (lambda: classifier.align(X, Y[:-1]), ShapeError, "y has 5 label sequences, X has 6 samples"),
        (
            lambda: classifier.align([X[0], X[1][:2]], [[], ["ten", "ten"]]),
            ShapeError,
            "1 of 2 samples have .* sample 1: 2 steps for 2",
        ),
        (lambda: classifier.align(X, [["new"]] * 6), ValueError, "does not know: 'new'; it knows"),
        (lambda: classifier.decode(X, beam_width=2, n_best=3), ValueError, "n_best is 3"),
    ):
        with pytest.raises(error, match=message):
            call()
    assert vars(classifier) == before
    assert_same_bits(classifier.model_.params.flat, weights)


def test_training_that_diverges_leaves_the_weights():
    classifier = fitted(X, Y, warm_start=True)
    weights = classifier.model_.params.flat.copy()
    classifier.set_params(learning_rate=1e30, clip_norm=None, optimizer="sgd", epochs=20)
    with pytest.raises(DivergedError), np.errstate(all="ignore"):
        classifier.fit([1e30 * part for part in X], Y)
    assert_same_bits(classifier.model_.params.flat, weights)


def test_infeasible_samples_without_effect():
    strings = [["a"] * 3, *(["a"] for _ in range(5))]
    both = TemporalClassifier(**FEW | {"infeasible": "zero"}, scale=None).fit(SHORT, strings)
    weighted = TemporalClassifier(**FEW, scale=None).fit(SHORT, [["a"]] * 6, [0, 1, 1, 1, 1, 1])
    # The mean counts the sample without effect, which Adam does not notice but for its epsilon.
    assert_close(both.model_.params.flat, weighted.model_.params.flat, 1e-2)


# Label errors


def distance(a, b):
    """Return the edit distance by the recursion of its definition."""
    if not a or not b:
        return len(a) + len(b)
    return min(distance(a[1:], b) + 1, distance(a, b[1:]) + 1, distance(a[1:], b[1:]) + (a[0] != b[0]))


@given(st.lists(st.integers(0, 2), max_size=5), st.lists(st.integers(0, 2), max_size=5))
def test_edits(truth, found):
    errors = metrics.label_errors([truth], [found])
    assert errors.edits == distance(truth, found)
    assert errors.insertions - errors.deletions == len(found) - len(truth)
    turned = metrics.label_errors([found], [truth])
    assert (turned.insertions, turned.deletions) == (errors.deletions, errors.insertions)
    assert errors.wrong == (truth != found)


def test_label_errors():
    truth, found = ["kitten", "abc", "", ["x", 1]], ["sitting", "abc", "q", ["x"]]
    errors = metrics.label_errors(truth, found)
    assert errors == (2, 2, 1, 11, 3, 4)
    assert errors.rate == metrics.label_error_rate(truth, found) == 5 / 11
    assert errors.sequence_error == metrics.sequence_error(truth, found) == 3 / 4
    assert np.isnan(metrics.label_error_rate([""], ["a"]))
    for bad in ((["a"], []), ([], [])):
        with pytest.raises(ShapeError, match=r"(predicted|truth) must have"):
            metrics.label_errors(*bad)


def test_plot(learned, tmp_path):
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("Agg")
    from numbarnn.plots import plot_alignment

    x, y = task(12, seed=2)
    longest = max(range(12), key=lambda n: len(y[n]))
    shares, (alignment,) = learned.predict_proba([x[longest]])[0], learned.align([x[longest]], [y[longest]])
    names = ["-", *map(str, learned.classes_)]
    ax = plot_alignment(shares, alignment, names)
    assert [text.get_text() for text in ax.texts] == list(map(str, y[longest]))
    assert len(ax.lines) >= 2
    ax.figure.savefig(tmp_path / "alignment.png")
    with pytest.raises(ShapeError, match="labels must name 4 classes"):
        plot_alignment(shares, alignment, names[:2], ax=ax)
    with pytest.raises(ShapeError, match="the alignment has"):
        plot_alignment(shares[:-1], alignment, ax=ax)
    matplotlib.pyplot.close("all")


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (np.array([1, 2]), r"y\[0\] must be a sequence of labels, got (np.int64\()?1.*a list of one label"),
        (pd.Series([1, 2]), r"y\[0\] must be a sequence of labels, got 1"),
        (3, "y must be a list of label sequences, one a sample, got 3"),
        ([[1, pd.NA], [1]], r"Input y\[0\] contains NaN, infinity or None, the first at 1"),
        ([pd.Series([1, None], dtype="Int64"), [1]], r"Input y\[0\] contains NaN, infinity or None, the first at 1"),
        ([np.ma.masked_equal([1, 2], 2), [1]], r"y\[0\] is a masked array with 1 masked value"),
        (np.ma.masked_equal([[1, 2], [1, 1]], 2), "y is a masked array with 1 masked value"),
    ],
    ids=str,
)
def test_labels_that_are_no_sequences(y, message):
    x = np.zeros((2, 4, 1))
    for call in (
        lambda: TemporalClassifier(hidden_size=2, epochs=0).fit(x, y),
        lambda: fitted_to_nothing().score(x, y),
    ):
        with pytest.raises((TypeError, ValueError), match=message):
            call()


def fitted_to_nothing():
    return TemporalClassifier(hidden_size=2, epochs=0, random_state=0).fit(np.zeros((2, 4, 1)), [[1], [2, 1]])


def test_labels_in_other_containers():
    x = np.zeros((2, 4, 1))
    for y in (
        np.array([[1, 2], [2, 1]]),
        pd.DataFrame([[1, 2], [2, 1]]),
        pd.Series([[1, 2], (2, 1)]),
        np.array([[1, 2], [2, 1]], object),
    ):
        assert TemporalClassifier(hidden_size=2, epochs=0).fit(x, y).classes_.tolist() == [1, 2]
    words = TemporalClassifier(hidden_size=2, epochs=0).fit(x, np.array(["ab", "c"]))
    assert words.classes_.tolist() == ["a", "b", "c"]
