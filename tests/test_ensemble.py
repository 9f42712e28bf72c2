"""Ensembles and a net for each group: bits of nets that are fitted alone, forms, files, errors, Ctrl-C."""

import pickle
import signal

import numpy as np
import pandas as pd
import pytest
from conftest import assert_close, assert_same_bits

import numbarnn as nr
from numbarnn import (
    RNN,
    Dense,
    Ensemble,
    Forecaster,
    GroupBy,
    Model,
    SegmentClassifier,
    SequenceClassifier,
    SequenceRegressor,
    TemporalClassifier,
    Trainer,
    io,
    metrics,
)
from numbarnn.data import ArraySource
from numbarnn.errors import DivergedError, ModelFileError, ShapeError
from numbarnn.estimators.share import HALF
from numbarnn.optim import SGD
from numbarnn.sklearn_api import NotFittedError, Parameters, clone
from numbarnn.training import rounds
from numbarnn.training.fitting import Fitting

FEW = {"cell": "rnn", "epochs": 2, "hidden_size": 3, "random_state": 0, "n_threads": 1}
GENERATOR = np.random.default_rng(0)
X = GENERATOR.normal(size=(40, 5, 2))
VALUES = X[:, :, 0].mean(axis=1) + 0.1 * GENERATOR.normal(size=40)
LABELS = np.where(VALUES > 0.2, "high", np.where(VALUES < -0.2, "low", "middle"))
SEVERAL = (X[:, :, :].mean(axis=1) > 0).astype(int)
STEPS = [["up" if value > 0 else "down" for value in sample[:, 0]] for sample in X]
GROUPS = np.array(["b", "a", "c"])[np.arange(40) % 3]
ROWS = {key: np.flatnonzero(key == GROUPS) for key in "abc"}

KINDS = {
    "values": (SequenceRegressor(**FEW), VALUES),
    "values without a path": (SequenceRegressor(**FEW, linear=None), VALUES),
    "labels": (SequenceClassifier(**FEW), LABELS),
    "several labels": (SequenceClassifier(**FEW), SEVERAL),
    "patience": (SequenceClassifier(**FEW, patience=1, validation=0.25), LABELS),
    "steps": (SegmentClassifier(**FEW), STEPS),
}
KEPT = {}


def fitted(name):
    if name not in KEPT:
        estimator, y = KINDS[name]
        KEPT[name] = Ensemble(estimator, 3, random_state=4).fit(X, y)
    return KEPT[name]


def assert_same_net(one, other):
    assert_same_bits(one.model_.params.flat, other.model_.params.flat)
    assert one.history_["loss"] == other.history_["loss"]
    share = [None if net.linear_ is None else net.linear_.share for net in (one, other)]
    assert share[0] == share[1]


# Ensembles


@pytest.mark.parametrize("name", KINDS)
def test_members_are_the_nets_of_their_seeds(name):
    estimator, y = KINDS[name]
    ensemble = fitted(name)
    seeds = [member.random_state for member in ensemble.estimators_]
    assert len(set(seeds)) == len(ensemble.estimators_) == 3
    assert not hasattr(estimator, "model_")
    for member in ensemble.estimators_[1:]:
        assert_same_net(member, clone(estimator, random_state=member.random_state).fit(X, y))


def test_the_first_nets_of_more_are_the_same():
    one, more = (Ensemble(KINDS["values without a path"][0], n, random_state=4).fit(X, VALUES) for n in (1, 2))
    assert_same_net(one.estimators_[0], more.estimators_[0])
    assert_same_net(one.estimators_[0], fitted("values without a path").estimators_[0])


def test_seeds():
    def seeds_of(random_state, inner=0):
        estimator = SequenceRegressor(**FEW | {"epochs": 0, "random_state": inner}, linear=None)
        return [
            net.random_state for net in Ensemble(estimator, 2, random_state=random_state).fit(X, VALUES).estimators_
        ]

    assert seeds_of(3) == seeds_of(3, 1) == seeds_of(None, 3)
    assert not set(seeds_of(0)) & set(seeds_of(1))
    assert seeds_of(None, None) != seeds_of(None, None)
    assert seeds_of(np.random.default_rng(5)) == seeds_of(None, np.random.default_rng(5))


def test_means_and_spread_of_values():
    ensemble = fitted("values")
    each = np.array([net.predict(X) for net in ensemble.estimators_])
    mean, spread = ensemble.predict(X, return_std=True)
    assert_close(mean, each.sum(axis=0) / 3, 1e-12)
    assert_close(spread, np.sqrt(((each - mean) ** 2).sum(axis=0) / 3), 1e-12)
    assert_same_bits(ensemble.predict(X), mean)
    assert_close(ensemble.score(X, VALUES), metrics.r2(VALUES, mean), 1e-12)
    assert not hasattr(ensemble, "predict_proba")  # as scikit-learn's checks ask
    with pytest.raises(AttributeError, match=r"votes needs a classifier, .* of this Ensemble is a SequenceRegressor"):
        ensemble.votes(X)


@pytest.mark.parametrize("name", ["labels", "several labels"])
def test_votes_and_probabilities(name):
    ensemble, y = fitted(name), KINDS[name][1]
    each = np.array([net.predict_proba(X) for net in ensemble.estimators_])
    found = ensemble.predict_proba(X)
    assert_close(found, each.sum(axis=0) / 3, 1e-12)
    if name == "labels":
        assert_close(found.sum(axis=1), np.ones(40), 1e-12)
        chosen = np.eye(3)[each.argmax(axis=2)]
        assert ensemble.predict(X).tolist() == ensemble.classes_[found.argmax(axis=1)].tolist()
        assert ensemble.score(X, y) == np.mean(ensemble.predict(X) == y)
        weight = np.arange(40.0)
        assert_close(ensemble.score(X, y, weight), np.average(ensemble.predict(X) == y, weights=weight), 1e-12)
    else:
        chosen = each > 0.5
        assert_same_bits(ensemble.predict(X), (found > 0.5).astype(np.int64))
        assert ensemble.score(X, y) == np.mean((ensemble.predict(X) == y).all(axis=1))
    assert_close(ensemble.votes(X), chosen.mean(axis=0), 1e-12)
    with pytest.raises(TypeError, match="return_std needs an ensemble of regressors"):
        ensemble.predict(X, return_std=True)


def test_steps():
    ensemble = fitted("steps")
    found, labels = ensemble.predict_proba(X), ensemble.predict(X)
    for sample in (0, 7):
        each = np.array([net.predict_proba(X)[sample] for net in ensemble.estimators_])
        assert_close(found[sample], each.mean(axis=0), 1e-12)
        assert labels[sample].tolist() == ensemble.classes_[found[sample].argmax(axis=1)].tolist()
        assert ensemble.votes(X)[sample].shape == (5, 2)
    assert_close(ensemble.score(X, STEPS), metrics.accuracy(STEPS, labels), 1e-12)
    flat, offsets = X.reshape(-1, 2), np.arange(0, 201, 5)
    assert_close(ensemble.predict_proba(flat, offsets=offsets), np.concatenate(found), 1e-6)
    one = Ensemble(SegmentClassifier(**FEW), 2).fit(X, [[0, 1]] * 40, segments=[[(0, 2), (2, 5)]] * 40)
    assert [part.shape for part in one.predict_proba(X[:2], segments=[[(0, 1)], [(0, 1), (3, 4)]])] == [(1, 2), (2, 2)]


def test_files(tmp_path):
    for name in KINDS:
        ensemble = fitted(name)
        ensemble.save(tmp_path / "net")
        for loaded in (nr.load(tmp_path / "net"), Ensemble.load(tmp_path / "net")):
            assert type(loaded) is Ensemble
            assert (loaded.n, loaded.random_state, loaded.seed_) == (3, 4, 4)
            assert loaded.estimator.get_params() == ensemble.estimator.get_params() | {"n_threads": None}
            for one, other in zip(ensemble.predict(X), loaded.predict(X), strict=True):
                assert_same_bits(np.asarray(one), np.asarray(other))
        description, arrays = io.read(tmp_path / "net")
        changes = [
            {"version": 2}, {"of": "forecaster"}, {"of": "ensemble"}, {"members": []}, {"members": description["members"][:1]},
            {"members": {}}, {"members": description["members"] * 2}, {"n": 2}, {"n": "3"}, {"seed": None},
            {"random_states": [None]}, {"random_states": [-1, None]},
        ]  # fmt: skip
        for change in changes:
            io.write(tmp_path / "wrong", "ensemble", description | change, arrays)
            with pytest.raises(ModelFileError):
                nr.load(tmp_path / "wrong")
    other = fitted("labels")._description()[0]["members"][0]
    mixed = [*fitted("several labels")._description()[0]["members"][:2], other]
    io.write(tmp_path / "wrong", "ensemble", description | {"of": "sequence_classifier", "members": mixed}, arrays)
    with pytest.raises(ModelFileError):
        nr.load(tmp_path / "wrong")
    assert len(nr.warmup(nr.load(tmp_path / "net"), train=False)) == 1


def test_scikit_learns_contract():
    ensemble = fitted("labels")
    copy = pickle.loads(pickle.dumps(ensemble))
    assert copy.predict(X).tolist() == ensemble.predict(X).tolist()
    base, selection = pytest.importorskip("sklearn.base"), pytest.importorskip("sklearn.model_selection")
    again = base.clone(ensemble)
    assert not hasattr(again, "estimators_")
    assert (again.n, again.get_params()["estimator__hidden_size"]) == (3, 3)
    again.set_params(estimator__hidden_size=2, n=2)
    assert (again.estimator.hidden_size, ensemble.estimator.hidden_size, again.n) == (2, 3, 2)
    assert base.is_classifier(ensemble)
    assert base.is_regressor(fitted("values"))
    scores = selection.cross_val_score(again, X, LABELS, cv=2, error_score="raise")
    assert len(scores) == 2
    search = selection.GridSearchCV(
        Ensemble(SequenceRegressor(**FEW, linear=None), 2), {"estimator__epochs": [0, 30]}, cv=2, error_score="raise"
    )
    assert search.fit(X, VALUES).best_params_ == {"estimator__epochs": 30}


def test_scikit_learns_checks():
    checks = pytest.importorskip("sklearn.utils.estimator_checks")
    few = SequenceRegressor("rnn", epochs=50, learning_rate=0.01, n_threads=1, linear=None)
    expected = {"check_sample_weight_equivalence_on_dense_data": "as of the estimator (test_estimators.py)"}
    results = checks.check_estimator(Ensemble(few, 2, random_state=0), expected_failed_checks=expected, on_skip=None)
    assert sum(result["status"] == "passed" for result in results) > 40
    assert {result["check_name"] for result in results if result["status"] == "xfail"} <= set(expected)


def test_nested_parameters_without_scikit_learn():
    class Inner(Parameters):
        def __init__(self, size=3):
            self.size = size

    class Outer(Parameters):
        def __init__(self, estimator, n=2):
            self.estimator, self.n = estimator, n

    outer = Outer(Inner(4))
    assert outer.get_params() == {"estimator": outer.estimator, "n": 2, "estimator__size": 4}
    assert outer.get_params(deep=False) == {"estimator": outer.estimator, "n": 2}
    assert outer.set_params(estimator__size=5, n=1).estimator.size == 5
    new = Inner()
    assert outer.set_params(estimator__size=6, estimator=new).estimator is new
    assert new.size == 6
    for name in ("size", "estimator__sizes", "n__size"):
        with pytest.raises(ValueError, match="has no parameter"):
            outer.set_params(**{name: 1})


def test_refused():
    few = SequenceRegressor(**FEW, linear=None)
    cases = [
        (lambda: Ensemble(few, 0).fit(X, VALUES), ValueError, "n must be an integer >= 1, got 0"),
        (lambda: Ensemble(SequenceRegressor, 2).fit(X, VALUES), TypeError, "got the class SequenceRegressor"),
        (lambda: Ensemble(Forecaster(3), 2).fit(X, VALUES), TypeError, r"Forecaster has ensembles .*ensemble=10"),
        (lambda: Ensemble(TemporalClassifier(), 2).fit(X, STEPS), TypeError, "at different steps"),
        (lambda: Ensemble(few, 2).fit(X, VALUES[:3]), ValueError, "y has 3 targets, X has 40 samples"),
        (lambda: Ensemble(few, 2).fit(X, VALUES, length=3), TypeError, "unexpected argument 'length'"),
        (lambda: Ensemble(few, 2).predict(X), NotFittedError, "this Ensemble is not fitted yet"),
        (lambda: Ensemble(few, 2).save("a"), NotFittedError, "this Ensemble is not fitted yet"),
        (lambda: Ensemble(clone(few, warm_start=True), 2).fit(X, VALUES), ValueError, "warm_start .* must be False"),
        (lambda: Ensemble(few, 2, random_state="a").fit(X, VALUES), ValueError, "random_state must be an integer"),
        (lambda: Ensemble(few, n_estimators=3), TypeError, "did you mean n?"),
    ]
    for call, error, message in cases:
        with pytest.raises(error, match=message):
            call()
    assert repr(Ensemble(SequenceRegressor("gru"), 3)) == "Ensemble(estimator=SequenceRegressor(cell='gru'), n=3)"


def test_a_net_that_diverges_is_named(monkeypatch):
    ensemble = Ensemble(SequenceRegressor(**FEW, linear=None), 2, random_state=0).fit(X, VALUES)
    before, train = ensemble.estimators_, rounds.train
    monkeypatch.setattr(rounds, "train", lambda trainings: [*train(trainings[:1]), DivergedError("the loss is nan")])
    with pytest.raises(DivergedError, match=r"net 1 of the ensemble, random_state=\d+: the loss is nan"):
        ensemble.fit(X, VALUES)
    assert ensemble.estimators_ is before


# Groups


def test_groups_are_the_nets_of_their_samples():
    for name in ("values", "labels", "steps"):
        estimator, y = KINDS[name]
        nets = GroupBy(estimator).fit(X, y, groups=GROUPS)
        found = nets.predict(X, groups=GROUPS)
        assert list(nets.estimators_) == ["a", "b", "c"]
        for key, rows in ROWS.items():
            alone = clone(estimator).fit(X[rows], [y[row] for row in rows])
            assert_same_net(nets.estimators_[key], alone)
            for row, expected in zip(rows, alone.predict(X[rows]), strict=True):
                assert np.array_equal(found[row], expected)


def test_groups_of_a_table():
    """A column of the groups, rows in any order, and a part of the groups."""
    estimator = SequenceRegressor(**FEW, linear=None)
    frame = pd.DataFrame(X[:, :, 0], columns=list("vwxyz"), index=np.arange(40)[::-1]).assign(sensor=GROUPS)
    nets = GroupBy(estimator, "sensor").fit(frame, pd.Series(VALUES))
    other = GroupBy(estimator).fit(X[:, :, 0], VALUES, groups=GROUPS)
    expected = other.predict(X[:, :, 0], groups=GROUPS)
    assert_same_bits(nets.predict(frame), expected)
    order = np.random.default_rng(1).permutation(40)[:15]
    assert_close(nets.predict(frame.iloc[order]), expected[order], 1e-6)
    some = frame[frame["sensor"] == "b"]
    assert_close(nets.predict(some), expected[GROUPS == "b"], 1e-6)
    assert_close(nets.score(frame, VALUES), metrics.r2(VALUES, expected), 1e-12)
    assert list(nets.scores(frame, VALUES)) == ["a", "b", "c"]
    two = frame.assign(site=1)
    pairs = GroupBy(estimator, ["site", "sensor"]).fit(two, VALUES)
    assert list(pairs.estimators_) == [(1, "a"), (1, "b"), (1, "c")]
    assert_same_bits(pairs.predict(two), expected)
    polars = pytest.importorskip("polars")
    pytest.importorskip("narwhals")
    assert_same_bits(nets.predict(polars.DataFrame({name: frame[name].to_list() for name in frame})), expected)


def test_groups_have_classes_of_their_own(tmp_path):
    y = np.where(GROUPS == "a", LABELS, np.where(LABELS == "low", "low", "none"))
    nets = GroupBy(SequenceClassifier(**FEW, linear=None)).fit(X, y, groups=GROUPS)
    assert nets.classes_.tolist() == ["high", "low", "middle", "none"]
    found = nets.predict_proba(X, groups=GROUPS)
    assert_close(found.sum(axis=1), np.ones(40), 1e-6)
    assert_same_bits(found[ROWS["b"]][:, [1, 3]], nets.estimators_["b"].predict_proba(X[ROWS["b"]]))
    assert not found[ROWS["b"]][:, [0, 2]].any()
    predicted = nets.predict(X, groups=GROUPS)
    assert_close(nets.score(X, y, groups=GROUPS), np.mean(predicted == y), 1e-12)
    nets.save(tmp_path / "nets")
    loaded = nr.load(tmp_path / "nets")
    assert loaded.predict(X, groups=GROUPS).tolist() == predicted.tolist()
    copy = pickle.loads(pickle.dumps(nets))
    assert copy.predict(X, groups=GROUPS).tolist() == predicted.tolist()
    mixed = [1 if group == "a" else "x" if group == "b" else True for group in GROUPS]
    labels = GroupBy(SequenceClassifier(**FEW, linear=None)).fit(X, mixed, groups=GROUPS).predict(X, groups=GROUPS)
    assert labels.tolist() == mixed


def test_ensembles_of_groups(tmp_path):
    estimator = Ensemble(SequenceRegressor(**FEW, linear=None), 2, random_state=1)
    nets = GroupBy(estimator).fit(list(X), VALUES, groups=GROUPS, sample_weight=np.ones(40))
    mean, spread = nets.predict(X, groups=GROUPS, return_std=True)
    alone = clone(estimator).fit(X[ROWS["c"]], VALUES[ROWS["c"]], sample_weight=np.ones(13))
    expected = alone.predict(X[ROWS["c"]], return_std=True)
    assert_same_bits(mean[ROWS["c"]], expected[0])
    assert_same_bits(spread[ROWS["c"]], expected[1])
    nets.save(tmp_path / "nets")
    assert_same_bits(nr.load(tmp_path / "nets").predict(X, groups=GROUPS), mean)


def test_sequences_of_labels_by_group():
    y = [["x", "y"] if group == "a" else ["z"] for group in GROUPS]
    nets = GroupBy(TemporalClassifier(**FEW)).fit(X, y, groups=GROUPS)
    assert nets.classes_.tolist() == ["x", "y", "z"]
    found = nets.predict_proba(X, groups=GROUPS)
    alone = nets.estimators_["b"].predict_proba(X[ROWS["b"]])
    assert found[0].shape == (5, 4)
    assert_same_bits(found[0][:, [0, 3]], alone[0])
    assert len(nets.predict(X, groups=GROUPS)) == 40


def test_keys(tmp_path):
    estimator = SequenceRegressor(**FEW | {"epochs": 0}, linear=None)
    for keys in ([1, 2], [(1, "a"), (2, "b")], [True, False], np.array([3, 4], np.int32)):
        groups = [keys[row % 2] for row in range(40)]
        nets = GroupBy(estimator).fit(X, VALUES, groups=groups)
        nets.save(tmp_path / "nets")
        loaded = nr.load(tmp_path / "nets")
        assert list(loaded.estimators_) == list(nets.estimators_) == sorted(keys)
        assert_same_bits(loaded.predict(X, groups=groups), nets.predict(X, groups=groups))
    dates = GroupBy(estimator).fit(X, VALUES, groups=pd.to_datetime(["2020-01-01", "2020-01-02"] * 20))
    with pytest.raises(TypeError, match="the group Timestamp"):
        dates.save(tmp_path / "dates")
    description, arrays = io.read(tmp_path / "nets")
    for number in ("-1", "01", "\u0661", " 1"):  # of the last net, if read as an integer
        renamed = {
            name.replace("1.", f"{number}.", 1) if name.startswith("1.") else name: array
            for name, array in arrays.items()
        }
        io.write(tmp_path / "wrong", "groups", description, renamed)
        with pytest.raises(ModelFileError, match="is of no net"):
            nr.load(tmp_path / "wrong")
    for change in ({"keys": [3]}, {"keys": [3, 3]}, {"keys": [3, None]}, {"keys": None}, {"by": 3}, {"of": "groups"}):
        io.write(tmp_path / "wrong", "groups", description | change, arrays)
        with pytest.raises(ModelFileError):
            nr.load(tmp_path / "wrong")


def test_keys_of_dates():
    estimator = SequenceRegressor(**FEW | {"epochs": 0}, linear=None)
    dates = np.array(["2020-01-01", "2020-01-02"] * 20, "datetime64[ns]")
    frame = pd.DataFrame(X[:, :, 0]).assign(day=dates)
    nets = GroupBy(estimator, "day").fit(frame, VALUES)
    for unit in ("ns", "s", "D"):
        found = GroupBy(estimator).fit(X[:, :, :1], VALUES, groups=dates.astype(f"datetime64[{unit}]"))
        assert list(found.estimators_) == list(nets.estimators_) == list(pd.to_datetime(dates[:2]))
        assert_same_bits(found.predict(X[:, :, :1], groups=dates), nets.predict(frame))


def test_arguments_that_do_not_go_by_sample():
    estimator = SequenceRegressor(**FEW | {"epochs": 1}, loss="gaussian", linear=None)
    nets = GroupBy(estimator).fit(X, VALUES, groups=GROUPS)
    for rows in (slice(12), slice(2)):  # of two samples, each has not one of the two quantiles
        found = nets.predict(X[rows], quantiles=[0.1, 0.9], groups=GROUPS[rows])
        for row, (x, key) in enumerate(zip(X[rows], GROUPS[rows], strict=True)):
            assert_same_bits(found[row], nets.estimators_[key].predict(x[None], quantiles=[0.1, 0.9])[0])


def test_weights_of_steps_in_scores():
    lists = [sample[: 3 + row % 3] for row, sample in enumerate(X)]
    labels = [own[: len(x)] for own, x in zip(STEPS, lists, strict=True)]
    weights = [np.arange(1.0, len(x) + 1) for x in lists]
    nets = GroupBy(SegmentClassifier(**FEW)).fit(lists, labels, weights, groups=GROUPS)
    found = nets.scores(lists, labels, weights, groups=GROUPS)
    counts = [len(ROWS[key]) for key in found]
    assert_close(
        nets.score(lists, labels, weights, groups=GROUPS), np.average(list(found.values()), weights=counts), 1e-12
    )


UNKNOWN = "X has 27 samples of groups that have no net: 'new', 'old'; those with one are 'a', 'b', 'c'. Fit again with samples"


def test_groups_refused():
    few = SequenceRegressor(**FEW | {"epochs": 0}, linear=None)
    frame = pd.DataFrame(X[:, :, 0], columns=list("vwxyz")).assign(sensor=GROUPS)
    nets = GroupBy(few, "sensor").fit(frame, VALUES)
    arrays = GroupBy(few).fit(X, VALUES, groups=GROUPS)
    twice = pd.concat([frame, frame["sensor"]], axis=1)
    levels = frame.set_axis(pd.MultiIndex.from_tuples([(name, 0) for name in "vwxyz"] + [("sensor", 1)]), axis=1)
    levels["sensor", 2] = 0.0
    holes = np.where(np.arange(40) == 4, None, GROUPS)
    cases = [
        (lambda: nets.predict(frame.replace({"a": "new", "b": "old"})), ValueError, UNKNOWN),
        (lambda: GroupBy(few).fit(X, VALUES), ValueError, "by and groups are both None"),
        (lambda: nets.predict(frame, groups=GROUPS), ValueError, "by and groups are both given"),
        (lambda: GroupBy(few, "pump").fit(frame, VALUES), KeyError, "by: 'pump' is not a column of X, which has 'v', 'w'"),
        (lambda: GroupBy(few, []).fit(frame, VALUES), ValueError, "by must name at least one column"),
        (lambda: GroupBy(few, "sensor").fit(X, VALUES), TypeError, "pass groups="),
        (lambda: GroupBy(few).fit(X, VALUES, groups=GROUPS[:3]), ShapeError, "groups has 3 keys, X has 40 samples"),
        (lambda: GroupBy(few).fit(X, VALUES[:3], groups=GROUPS), ShapeError, "y has 3 entries, X has 40 samples"),
        (lambda: GroupBy(few).fit(X, VALUES, groups=holes), ValueError, "the group of sample 4 is missing"),
        (lambda: GroupBy(few).fit(X, VALUES, groups=[[1]] * 40), TypeError, "groups must be hashable"),
        (lambda: GroupBy(few).fit(X, np.where(GROUPS == "b", np.nan, 1), groups=GROUPS), ValueError, "group 'b': y has 14 NaN"),
        (lambda: GroupBy(few).fit(X, VALUES, groups=GROUPS, length=3), TypeError, "unexpected argument 'length'"),
        (lambda: GroupBy(SegmentClassifier()).fit(X, STEPS, groups=GROUPS, offsets=[0]), ValueError, "takes no offsets; pass a"),
        (lambda: GroupBy(3).fit(X, VALUES, groups=GROUPS), TypeError, "estimator must be a SequenceRegressor, .*, got 3"),
        (lambda: GroupBy(few).fit(X[:0], VALUES[:0], groups=[]), ShapeError, "X has no samples; there must be at least one"),
        (lambda: arrays.predict(X[:0], groups=[]), ShapeError, "X has no samples"),
        (lambda: nets.predict(frame[:0]), ShapeError, "X has no samples"),
        (lambda: arrays.predict(X, groups=GROUPS, offsets=range(41)), ValueError, "takes no offsets; pass a list"),
        (lambda: arrays.scores(X, VALUES, groups=GROUPS, offsets=range(41)), ValueError, "takes no offsets; pass a list"),
        (lambda: GroupBy(few).fit(X, dict(enumerate(VALUES)), groups=GROUPS), TypeError, "y must be a list or array"),
        (lambda: GroupBy(few).fit(X, set(VALUES), groups=GROUPS), TypeError, "y must be a list or array"),
        (lambda: GroupBy(few).fit(dict(enumerate(X)).keys(), VALUES, groups=GROUPS), TypeError, "X must be a list of sequences"),
        (lambda: GroupBy(few).fit(X, VALUES, groups=[("a", ("b", None))] * 40), ValueError, "the group of sample 0 is missing"),
        (lambda: GroupBy(few).fit(X, VALUES, groups=[np.datetime64("NaT")] * 40), ValueError, "of sample 0 is missing"),
        (lambda: GroupBy(few, "sensor").fit(twice, VALUES), ValueError, "'sensor' names several columns of X"),
        (lambda: GroupBy(few, "sensor").fit(levels, VALUES), ValueError, "'sensor' names several columns of X"),
        (lambda: GroupBy(few).predict(X, groups=GROUPS), NotFittedError, "this GroupBy is not fitted yet"),
        (lambda: nets.predict_proba(frame), AttributeError, "predict_proba needs a classifier"),
        (lambda: nets.update(frame), TypeError, "update needs a Forecaster"),
    ]  # fmt: skip
    for call, error, message in cases:
        with pytest.raises(error, match=message):
            call()


def test_scikit_learns_contract_of_groups():
    base, selection = pytest.importorskip("sklearn.base"), pytest.importorskip("sklearn.model_selection")
    frame = pd.DataFrame(X[:, :, 0], columns=list("vwxyz")).assign(sensor=GROUPS)
    nets = base.clone(GroupBy(SequenceClassifier(**FEW, linear=None), "sensor"))
    assert base.is_classifier(nets)
    scores = selection.cross_val_score(nets, frame, LABELS, cv=2, error_score="raise")
    assert len(scores) == 2


# Forecasters


def series(rows=90):
    t = np.arange(rows)
    noise = np.random.default_rng(3).normal(0, 0.1, (2, rows))
    times = pd.date_range("2024-01-01", periods=rows, freq="h")
    return {key: pd.DataFrame({"load": level + np.sin(t / 4) + noise[k]}, index=times)
            for k, (key, level) in enumerate({"south": -50, "north": 9}.items())}  # fmt: skip


FORECAST = {"lookback": 6, "horizon": 2, "cell": "rnn", "hidden_size": 2, "epochs": 1, "n_threads": 1}
SPLIT = {"split": (0.6, 0.2, 0.2), "verbose": 0}


def test_a_forecaster_for_each_series(tmp_path):
    tables = series()
    long = pd.concat(tables, names=["sensor", "time"])
    nets = GroupBy(Forecaster(**FORECAST), "sensor").fit(long, "load", **SPLIT)
    found = nets.predict()
    assert found.index.names == ["sensor", "time"]
    assert list(found.loc["north"].index) == list(pd.date_range(tables["north"].index[-1], periods=3, freq="h")[1:])
    for key, table in tables.items():
        alone = Forecaster(**FORECAST).fit(table, "load", **SPLIT)
        assert_same_bits(nets.estimators_[key].model_.params.flat, alone.model_.params.flat)
        assert_same_bits(found.loc[key].to_numpy(), alone.predict().to_numpy())
        assert nets.scores()[key] == alone.score()
    assert_close(nets.score(), np.mean(list(nets.scores().values())), 1e-12)
    rows = long.reset_index(level="sensor").sort_index()
    for one in (
        GroupBy(Forecaster(**FORECAST), "sensor").fit(rows, target="load", **SPLIT),
        GroupBy(Forecaster(**FORECAST)).fit(tables, **SPLIT),
    ):
        assert_same_bits(one.predict().to_numpy(), found.to_numpy())
    nets.save(tmp_path / "nets")
    loaded = nr.load(tmp_path / "nets")
    assert loaded.predict().equals(found)
    some = long.loc[["south"]]
    assert nets.predict(some).equals(found.loc[["south"]])
    later = some.iloc[-1:].rename(index=lambda time: time + pd.Timedelta("1h"), level="time")
    assert loaded.update(later).predict().loc["south"].index[0] == found.loc["south"].index[1]
    assert loaded.predict().loc["north"].equals(found.loc["north"])
    cases = [
        (lambda: nets.predict(pd.concat({"west": tables["north"]}, names=["sensor", "time"])), ValueError, "no net: 'west'"),
        (lambda: GroupBy(Forecaster(**FORECAST)).fit(long, "load"), TypeError, "must be a dict of tables where by is None"),
        (lambda: GroupBy(Forecaster(**FORECAST, id="a"), "sensor").fit(long, "load"), ValueError, "id=None and wide=False"),
        (lambda: GroupBy(Forecaster(**FORECAST), "sensor").fit(long, "loads", **SPLIT), KeyError, "group 'north': target 'loads'"),
        (lambda: nets.fit(long, "load", groups=[1]), TypeError, "takes neither sample_weight nor groups"),
        (lambda: nets.predict(groups=[1]), TypeError, "takes neither sample_weight nor groups"),
        (lambda: nets.score(long, sample_weight=[1]), TypeError, "takes neither sample_weight nor groups"),
        (lambda: nets.scores(groups=[1]), TypeError, "takes neither sample_weight nor groups"),
        (lambda: nets.scores(long, [1]), TypeError, "takes y in fit alone"),
        (lambda: nets.scores(long.assign(load="high")), (TypeError, ValueError), "group 'north': "),
        (lambda: nets.fit(long, "load", validation=0.2), TypeError, r"GroupBy.fit\(\) got an unexpected argument 'validation'"),
        (lambda: nets.fit(long, "load", target="load"), TypeError, "takes the target once"),
        (lambda: nets.fit(long[:0], target="load"), ShapeError, "X has no samples"),
    ]  # fmt: skip
    for call, error, message in cases:
        with pytest.raises(error, match=message):
            call()
    before = nets.predict()
    both = pd.concat([long.loc[[key]].iloc[-1:] for key in tables])
    both = both.rename(index=lambda time: time + pd.Timedelta("1h"), level="time")
    for wrong in tables:  # whichever comes first
        late = both.rename(index=lambda time: time + pd.Timedelta("9h"), level="time")
        rows = pd.concat([(late if key == wrong else both).loc[[key]] for key in tables])
        with pytest.raises(ValueError, match=f"group '{wrong}': "):
            nets.update(rows)
        assert nets.predict().equals(before)
    assert not nets.update(both).predict().equals(before)


# Ctrl-C


def interrupting(monkeypatch, outcomes):
    """Let `rounds.train` end as where Ctrl-C came: nets of which `outcomes` has no True were not begun."""
    train = rounds.train

    def interrupted(trainings):
        found = train(trainings)
        for number, begun in enumerate(outcomes):
            if begun:
                found[number].stopped = "interrupted"
            else:
                found[number] = None
        return found

    monkeypatch.setattr(rounds, "train", interrupted)


def test_interrupted_nets_stay(monkeypatch):
    estimator = SequenceRegressor(**FEW)
    interrupting(monkeypatch, [True, True, False])
    with pytest.warns(UserWarning, match="before that of 1 of 3 nets began; the ensemble has the others") as caught:
        ensemble = Ensemble(estimator, 3, random_state=4).fit(X, VALUES)
    assert [warning.filename for warning in caught] == [__file__]
    assert [net.history_.stopped for net in ensemble.estimators_] == ["interrupted"] * 2
    for net, other in zip(ensemble.estimators_, fitted("values").estimators_, strict=False):
        assert_same_bits(net.model_.params.flat, other.model_.params.flat)
        assert net.linear_ is None
    with pytest.warns(UserWarning, match="before that of 1 of 3 groups began, which have no net: 'c'"):
        nets = GroupBy(estimator).fit(X, VALUES, groups=GROUPS)
    assert list(nets.estimators_) == ["a", "b"]


def test_interrupted_before_a_net_began(monkeypatch):
    before = Ensemble(SequenceRegressor(**FEW), 3, random_state=4).fit(X, VALUES)
    nets = before.estimators_
    interrupting(monkeypatch, [False] * 3)
    with pytest.raises(KeyboardInterrupt):
        before.fit(X, VALUES)
    assert before.estimators_ is nets


def signalled(monkeypatch, number):
    """Let Ctrl-C come where an epoch of a net begins, counted from 1."""
    begin, begun = Fitting.begin_epoch, []

    def interrupted(fitting):
        begun.append(fitting)
        if len(begun) == number:
            signal.raise_signal(signal.SIGINT)
        return begin(fitting)

    monkeypatch.setattr(Fitting, "begin_epoch", interrupted)


def test_ctrl_c_while_nets_train(monkeypatch):
    """In the second of three epochs, of one step each: all nets stay, as of a whole step."""
    estimator = SequenceRegressor(**FEW | {"epochs": 3, "batch_size": 40})
    signalled(monkeypatch, 4)
    with pytest.warns(UserWarning, match=r"^training was interrupted after steps? \d.* of 3 nets; they") as caught:
        ensemble = Ensemble(estimator, 3, random_state=4).fit(X, VALUES)
    assert [warning.filename for warning in caught] == [__file__]
    for net in ensemble.estimators_:
        assert net.history_.stopped == "interrupted"
        assert net.linear_ is None
        assert 1 <= net.trainer_.step <= 2
        alone = clone(estimator, random_state=net.random_state, epochs=net.trainer_.step, linear=None).fit(X, VALUES)
        assert_same_bits(net.model_.params.flat, alone.model_.params.flat)


def test_ctrl_c_while_folds_train(monkeypatch):
    """The nets are trained whole, and the share of the linear path is a half."""
    signalled(monkeypatch, 3 * 2 + 5)
    with pytest.warns(UserWarning, match="^the choice of the share of the linear path was interrupted") as caught:
        ensemble = Ensemble(SequenceRegressor(**FEW), 3, random_state=4).fit(X, VALUES)
    assert {warning.filename for warning in caught} == {__file__}
    for net, other in zip(ensemble.estimators_, fitted("values").estimators_, strict=True):
        assert_same_bits(net.model_.params.flat, other.model_.params.flat)
        assert net.linear_.share == HALF
        assert net.history_.stopped == "interrupted"


def test_folds_whose_nets_diverge_are_left_out(monkeypatch):
    """As by an estimator alone; the nets of the other folds go on."""
    fit, counts = rounds.fit_trainers, []

    def failing(trainers, *arguments, needed, **options):
        found = fit(trainers, *arguments, needed=needed, **options)
        counts.append((len(trainers), needed))
        return [found[0], DivergedError("the loss is nan"), *found[2:]]

    estimator = SequenceRegressor(**FEW | {"epochs": 30})
    monkeypatch.setattr(rounds, "fit_trainers", failing)
    (net,) = Ensemble(estimator, 1, random_state=4).fit(X, VALUES).estimators_
    assert counts == [(4, [False] * 4)]
    train, folds = SequenceRegressor._train_silently, iter(range(4))

    def diverging(net, *arguments):
        if next(folds) == 1:
            raise DivergedError("the loss is nan")
        return train(net, *arguments)

    monkeypatch.setattr(SequenceRegressor, "_train_silently", diverging)
    assert_same_net(net, clone(estimator, random_state=net.random_state).fit(X, VALUES))


def test_an_error_of_one_net_is_what_becomes_of_it():
    layers = [RNN(3, return_sequences=False), Dense(1)]
    y = VALUES.astype(np.float32)
    sources = ArraySource(X, y), ArraySource(X, np.where(y == y[3], np.nan, y))
    trainers = [Trainer(Model(layers, input_size=2, seed=seed), "mse") for seed in (0, 1)]
    found = rounds.train([rounds.Training(trainer, own, 1) for trainer, own in zip(trainers, sources, strict=True)])
    assert found[0] is None
    assert isinstance(found[1], ValueError)
    assert str(found[1]).startswith("y has 1 NaN")
    assert "net[" not in str(found[1])
    found = rounds.train(
        [
            rounds.Training(trainer, sources[0], 3, needed=index == 0)
            for index, trainer in enumerate([trainers[0], Trainer(trainers[1].model, "mse", SGD(1e30))])
        ]
    )
    assert found[0].stopped == "epochs"
    assert isinstance(found[1], DivergedError)
