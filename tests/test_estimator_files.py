"""Files of estimators: what is loaded predicts the same bits; files that are damaged, made up or too new are refused."""

import copy
import json
import struct

import numpy as np
import pandas as pd
import pytest
from conftest import assert_same_bits

import numbarnn
from numbarnn import SegmentClassifier, SequenceClassifier, SequenceRegressor, TemporalClassifier, io
from numbarnn.data import WordFeatures
from numbarnn.errors import ModelFileError
from numbarnn.optim import EMA, AdamW, Cosine, ExponentialDecay, WarmUp
from numbarnn.sklearn_api import NotFittedError

FEW = {"epochs": 2, "hidden_size": 4, "random_state": 0, "n_threads": 1}
GENERATOR = np.random.default_rng(0)
X = [GENERATOR.normal(size=(length, 2)) for length in GENERATOR.integers(4, 9, 20)]
WORDS = [[f"w{abs(int(4 * step))}ing" for step in sample[:, 0]] for sample in X]
TOKENS = [GENERATOR.integers(0, 5, len(sample)) for sample in X]
FLAT = GENERATOR.normal(size=(20, 6))
FRAME = pd.DataFrame(FLAT, columns=[f"t{k}" for k in range(6)])
Y = [("no", "yes")[k % 2] for k in range(20)]
STEPS = [["up" if value > 0 else None for value in sample[:, 0]] for sample in X]
SEGMENTS = [[(0, 2), (3, 4)] for _ in X]
PAIRS = [[1, 2] if k % 2 else [2, 3] for k in range(20)]
FEATURES = WordFeatures(prefix=1, suffix=2, shape=True, lower=True, min_count=2)

# What was fitted, the options with which it predicts, and the methods to compare.
PROBABILITIES = ("predict_proba", "predict_log_proba")
FITTED = {
    "regressor": (lambda: SequenceRegressor(**FEW).fit(X, np.arange(20.0)), X, {}, ("predict",)),
    "regressor of targets": (
        lambda: SequenceRegressor(**FEW, dtype="float64").fit(FLAT, np.ones((20, 2))), FLAT, {}, ("predict",)),
    "sequences": (lambda: SequenceClassifier(**FEW).fit(X, Y), X, {}, PROBABILITIES),
    "sequences of words": (lambda: SequenceClassifier(**FEW, tokens=FEATURES).fit(WORDS, Y), WORDS, {}, PROBABILITIES),
    "sequences of tokens": (lambda: SequenceClassifier(**FEW, tokens=5).fit(TOKENS, Y), TOKENS, {}, PROBABILITIES),
    "sequences of columns": (lambda: SequenceClassifier(**FEW, pooling="max").fit(FRAME, Y), FRAME, {}, PROBABILITIES),
    "steps": (lambda: SegmentClassifier(**FEW, class_weight="balanced").fit(X, STEPS), X, {}, PROBABILITIES),
    "steps of words": (lambda: SegmentClassifier(**FEW).fit(WORDS, STEPS), WORDS, {}, PROBABILITIES),
    "segments": (
        lambda: SegmentClassifier(**FEW, ignore=3).fit(X, PAIRS, segments=SEGMENTS), X, {"segments": SEGMENTS}, PROBABILITIES),
    "samples": (lambda: SegmentClassifier(**FEW, class_weight={"no": 2}).fit(X, Y), X, {}, PROBABILITIES),
    "strings": (lambda: TemporalClassifier(**FEW).fit(X, PAIRS), X, {}, PROBABILITIES),
    "strings of characters": (
        lambda: TemporalClassifier(**FEW).fit(["abba", "baba"], ["xy", "y"]), ["abba", "", "zzz"], {}, PROBABILITIES),
    "strings of tokens": (lambda: TemporalClassifier(**FEW, tokens=5).fit(TOKENS, PAIRS), TOKENS, {}, PROBABILITIES),
}  # fmt: skip
KEPT = {}


def fitted(name):
    if name not in KEPT:
        KEPT[name] = FITTED[name][0]()
    return KEPT[name]


@pytest.mark.parametrize("name", FITTED)
def test_what_is_loaded_is_what_was_saved(name, tmp_path):
    estimator, (_, x, options, methods) = fitted(name), FITTED[name]
    estimator.save(tmp_path / "net")
    for loaded in (numbarnn.load(tmp_path / "net"), type(estimator).load(tmp_path / "net")):
        assert type(loaded) is type(estimator)
        assert loaded.get_params() == estimator.get_params() | {"n_threads": None}
        for method in methods:
            expected, found = getattr(estimator, method)(x, **options), getattr(loaded, method)(x, **options)
            for one, other in zip(expected, found, strict=True):
                assert_same_bits(np.asarray(other), np.asarray(one))
        assert loaded.history_.records == estimator.history_.records
        assert (loaded.n_iter_, loaded.seed_) == (estimator.n_iter_, estimator.seed_)
        for attribute in ("n_features_in_", "feature_names_in_", "classes_"):
            assert np.array_equal(getattr(loaded, attribute, None), getattr(estimator, attribute, None))
        loaded.save(tmp_path / "again")
        one, other = io.read(tmp_path / "net")[0], io.read(tmp_path / "again")[0]
        del one["settings"], other["settings"]
        assert one == other


def test_what_is_loaded_still_checks(tmp_path):
    for name, x, message in (
        ("sequences of columns", FRAME[FRAME.columns[::-1]], "The feature names should match"),
        ("sequences of columns", FLAT[:, :5], "X has 5 features, but SequenceClassifier is expecting 6"),
        ("sequences", WORDS, "was fitted to numbers, X has strings"),
        ("sequences of tokens", [np.array([5])], "the vocabulary has 5 tokens"),
        ("segments", X, "pass segments="),
    ):
        fitted(name).save(tmp_path / "net")
        with pytest.raises(ValueError, match=message):
            numbarnn.load(tmp_path / "net").predict(x)


LABELS = {
    "numbers": (3, -5),
    "flags": (True, False),
    "whole floats": (1.0, 2.0),
    "strings": ("n\u00f3 \U0001f600", "\udc80"),
    "tuples": (("a", 1), ("b", (2, None))),
    "mixed": (1, "1"),
    "numpy": (np.int64(7), np.int64(8)),
    "numpy in tuples": ((np.int32(1), np.str_("a")), (np.int32(2), np.str_("b"))),
    "beyond 64 bits": (2**70, 1),
    "beyond signed": (2**63, 1),
}


@pytest.mark.parametrize("name", LABELS)
def test_labels(name, tmp_path):
    y = [LABELS[name][k % 2] for k in range(20)]
    classifier = SequenceClassifier(**FEW).fit(X, y)
    classifier.save(tmp_path / "net")
    loaded = numbarnn.load(tmp_path / "net")
    assert loaded.classes_.dtype == classifier.classes_.dtype
    assert loaded.classes_.tolist() == classifier.classes_.tolist()
    assert loaded.predict(X).tolist() == classifier.predict(X).tolist()
    assert loaded.score(X, y) == classifier.score(X, y)


@pytest.mark.parametrize("label", [b"bytes", frozenset({1}), pd.Timestamp("2020-01-01"), (1, b"x")], ids=repr)
def test_labels_that_no_file_can_hold(label, tmp_path):
    classifier = SequenceClassifier(**FEW).fit(X, [label, 1] * 10)
    with pytest.raises(TypeError, match="a file can store labels that are strings, numbers, True and False"):
        classifier.save(tmp_path / "net")
    assert not list(tmp_path.iterdir())


def test_settings(tmp_path):
    settings = {
        "optimizer": AdamW(weight_decay=0.1),
        "schedule": WarmUp(3, Cosine(9, 0.1)),
        "average": EMA(0.9, final=False),
        "class_weight": {("a", 1): 2, ("b", 2): np.float32(0.5)},
        "hidden_size": np.int64(3),
        "patience": 2,
        "validation": 0.3,
    }
    classifier = SequenceClassifier(**FEW | settings).fit(X, [("a", 1), ("b", 2)] * 10)
    classifier.save(tmp_path / "net")
    assert numbarnn.load(tmp_path / "net").get_params() == classifier.get_params() | {"n_threads": None}
    # A generator is not kept; the seed that it gave is.
    classifier = SequenceClassifier(**FEW | {"random_state": np.random.default_rng(0)}).fit(X, Y)
    classifier.save(tmp_path / "net")
    loaded = numbarnn.load(tmp_path / "net")
    assert loaded.random_state == classifier.seed_
    assert_same_bits(loaded.fit(X, Y).predict_proba(X), classifier.predict_proba(X))

    class Own(ExponentialDecay):
        pass

    classifier.set_params(schedule=Own(0.9))
    with pytest.raises(TypeError, match=r"a file cannot store schedule=.*Own is not registered"):
        classifier.save(tmp_path / "net")
    assert numbarnn.load(tmp_path / "net").schedule is None


def test_training_goes_on_with_a_new_optimizer(tmp_path):
    classifier = SequenceClassifier(**FEW, warm_start=True).fit(X, Y)
    classifier.save(tmp_path / "net")
    loaded = numbarnn.load(tmp_path / "net").partial_fit(X, Y)
    assert loaded.n_iter_ == 3
    assert loaded.history_["epoch"] == [1, 2, 3]
    assert loaded.history_[-1]["loss"] < classifier.history_[0]["loss"]
    with pytest.raises(ValueError, match="does not know: 'maybe'"):
        loaded.fit(X, ["maybe"] * 20)


def test_not_fitted(tmp_path):
    with pytest.raises(NotFittedError):
        TemporalClassifier().save(tmp_path / "net")


# Files that are refused

ABOUT = {
    "later": (lambda d: d.update(version=4), "has version 4, this version of numbarnn reads 1 to 3; update numbarnn"),
    "no version": (lambda d: d.pop("version"), "has version None"),
    "negative epochs": (lambda d: d["settings"].update(epochs=-1), "epochs must be an integer >= 0, got -1"),
    "no schedule": (lambda d: d["settings"].update(schedule="fast"), "schedule must be a"),
    "no cell": (lambda d: d["settings"].update(cell="x"), "cell must be"),
    "no dtype": (lambda d: d["settings"].update(dtype="object"), "dtype 'object' and a model of float32"),
    "no flag": (lambda d: d["settings"].update(bidirectional="no"), "bidirectional must be True or False"),
    "half a label": (lambda d: d.update(labels=[0.5, 1.5]), "0.5"),
    "missing label": (lambda d: d.update(labels=[float("nan"), 1]), "is not a label"),
    "infinite seed": (lambda d: d.update(seed=float("inf")), "seed must be an integer"),
    "no count": (lambda d: d.update(epochs="2"), "epochs must be an integer"),
    "fractions": (lambda d: d.update(features=2.0), "features must be an integer"),
    "flat": (lambda d: d.update(flat=0), "flat must be True or False"),
    "names no names": (lambda d: d.update(names=["a", 1]), "2 names of 2 features"),
    "best": (lambda d: d["history"].update(best=2), "best is record 2 of 2"),
    "end": (lambda d: d["history"].update(stopped="power cut"), "stopped must be one of"),
    "record": (lambda d: d["history"]["records"].append({}), "cannot be understood: KeyError"),
    "no settings": (lambda d: d.pop("settings"), r"cannot be understood: KeyError\('settings'\)"),
    "strange setting": (lambda d: d["settings"].update(colour="red"), "cannot be understood: TypeError"),
    "strange record": (lambda d: d["settings"].update(optimizer={"record": "os.system"}), "cannot be understood: KeyError"),
    "bad record": (
        lambda d: d["settings"].update(optimizer={"record": "adam", "betas": [2.0, 0.9]}),
        "cannot be understood: ValueError",
    ),
    "settings no mapping": (lambda d: d.update(settings=[1]), "cannot be understood"),
    "labels missing": (lambda d: d.update(labels=["no"]), "cannot be understood: ValueError"),
    "labels twice": (lambda d: d.update(labels=["no", "no"]), "not all different"),
    "labels no list": (lambda d: d.update(labels={"a": 1, "b": 2}), "labels that are none"),
    "label no label": (lambda d: d.update(labels=["no", {}]), "cannot be understood: TypeError"),
    "weights": (lambda d: d["loss"].update(class_weight=[1.0]), "1 weights for 2 labels"),
    "no loss": (lambda d: d.update(loss="mse"), "loss must be 'auto', 'softmax_cross_entropy'"),
    "loss of several": (lambda d: d.update(several=True), "where y has several labels"),
    "no method": (lambda d: d.update(scaled="log"), "scaled must be 'standard', 'minmax' or 'robust', got 'log'"),
    "no scales": (lambda d: d.update(scaled="minmax", features=2) or d["settings"].update(scale="log"), "scale must be 'auto'"),
    "other input": (lambda d: d.update(features=3), "3 features and a model of"),
    "tokens for numbers": (lambda d: d.update(tokens=2), "cannot be understood: ValueError"),
    "words for numbers": (
        lambda d: d.update(words={"features": {}, "known": [[0, "a"], [0, "b"]]}), "cannot be understood: ValueError"),
    "words no words": (lambda d: d.update(words=3), "cannot be understood: TypeError"),
    "no features": (lambda d: d.update(features=None), "cannot be understood: ValueError"),
    "names": (lambda d: d.update(names=["a"]), "1 names of 2 features"),
    "history": (lambda d: d.update(history=[]), "cannot be understood: TypeError"),
    "no model": (lambda d: d.pop("model"), "cannot be understood: KeyError"),
    "model no model": (lambda d: d["model"].update(layers=[{"type": "Exec"}]), "has a layer 'Exec'"),
    "model of another size": (lambda d: d["model"].update(input_size=3), "do not match"),
}  # fmt: skip


@pytest.mark.parametrize("name", ABOUT)
def test_made_up_descriptions(name, tmp_path):
    fitted("sequences").save(tmp_path / "net")
    description, arrays = io.read(tmp_path / "net")
    change, message = ABOUT[name]
    description = copy.deepcopy(description)
    change(description)
    rest = {key: value for key, value in description.items() if key not in ("format", "kind")}
    io.write(tmp_path / "net", "sequence_classifier", rest, arrays)
    with pytest.raises(ModelFileError, match=message):
        numbarnn.load(tmp_path / "net")


def test_nets_that_do_not_fit(tmp_path):
    """A file whose parts are each right, but belong to others."""
    for name, other in (("sequences", "steps"), ("steps", "strings"), ("sequences of words", "steps of words")):
        fitted(name).save(tmp_path / "net")
        description, _ = io.read(tmp_path / "net")
        fitted(other).save(tmp_path / "other")
        theirs, arrays = io.read(tmp_path / "other")
        rest = {key: value for key, value in description.items() if key not in ("format", "kind")}
        io.write(tmp_path / "net", description["kind"], rest | {"model": theirs["model"]}, arrays)
        with pytest.raises(ModelFileError, match="cannot be understood"):
            numbarnn.load(tmp_path / "net")
    fitted("regressor").save(tmp_path / "net")
    description, arrays = io.read(tmp_path / "net")
    rest = {key: value for key, value in description.items() if key not in ("format", "kind")}
    for wrong in ({}, {"target.scale": np.ones(2)}, {"target.scale": np.ones(1, np.float32)}):
        changed = {key: value for key, value in arrays.items() if key != "target.scale"} | wrong
        io.write(tmp_path / "net", "sequence_regressor", rest, changed)
        with pytest.raises(ModelFileError, match="cannot be understood"):
            numbarnn.load(tmp_path / "net")


def test_damaged_files(tmp_path):
    path = tmp_path / "net"
    fitted("steps of words").save(path)
    whole = path.read_bytes()
    (size,) = struct.unpack("<Q", whole[:8])
    for cut in (0, 7, 9, size // 2, size + 8, len(whole) - 1):
        path.write_bytes(whole[:cut])
        with pytest.raises(ModelFileError, match="is not a model file, or is cut off or damaged"):
            numbarnn.load(path)
    flipped = bytearray(whole)
    flipped[-2] ^= 1
    path.write_bytes(flipped)
    with pytest.raises(ModelFileError, match="the checksum of its segment_classifier does not match"):
        numbarnn.load(path)
    header = json.loads(whole[8 : 8 + size])
    header["__metadata__"]["numbarnn"] = header["__metadata__"]["numbarnn"][:-80]
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + whole[8 + size :])
    with pytest.raises(ModelFileError, match="not one of numbarnn"):
        numbarnn.load(path)


def test_other_kinds(tmp_path):
    path = tmp_path / "net"
    fitted("sequences").save(path)
    with pytest.raises(ModelFileError, match="contains a sequence_classifier, not a segment_classifier"):
        SegmentClassifier.load(path)
    with pytest.raises(FileNotFoundError, match="there is no model file"):
        SequenceClassifier.load(tmp_path / "none")


def test_a_file_that_cannot_be_written_stays(tmp_path, monkeypatch):
    path = tmp_path / "net"
    fitted("sequences").save(path)
    before = path.read_bytes()

    def full(handle):
        raise OSError("disk full")

    monkeypatch.setattr(io.os, "fsync", full)
    with pytest.raises(OSError, match="disk full"):
        fitted("steps").save(path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]
