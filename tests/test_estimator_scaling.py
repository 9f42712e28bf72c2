"""Estimators: scales that leave with the model, losses and learning rates by name, and streams of raw rows."""

import pickle

import numpy as np
import pandas as pd
import pytest
from conftest import assert_close, assert_same_bits

import numbarnn
from numbarnn import SegmentClassifier, SequenceClassifier, SequenceRegressor, TemporalClassifier, io, losses
from numbarnn.data import SequenceScaler, WordFeatures
from numbarnn.estimators.samples import BLOCK, Samples
from numbarnn.estimators.scaling import fitted_scaler
from numbarnn.optim import Adam

FEW = {"epochs": 2, "hidden_size": 3, "random_state": 0, "n_threads": 1}
GENERATOR = np.random.default_rng(0)
UNITS, ORIGIN = np.array([100.0, 0.01]), np.array([1000.0, -1.0])
LENGTHS = GENERATOR.integers(3, 7, 24)
X = [ORIGIN + UNITS * GENERATOR.normal(size=(length, 2)) for length in LENGTHS]
WHOLE = ORIGIN + UNITS * GENERATOR.normal(size=(24, 5, 2))
Y = ["yes" if sample[:, 0].mean() > 1000 else "no" for sample in X]
STEPS = [["up" if value > 1000 else "down" for value in sample[:, 0]] for sample in X]
VALUES = np.array([sample[:, 0].sum() for sample in X])

KINDS = {
    "regressor": (SequenceRegressor, VALUES),
    "sequence": (SequenceClassifier, Y),
    "steps": (SegmentClassifier, STEPS),
    "samples": (SegmentClassifier, Y),
    "temporal": (TemporalClassifier, [[label] for label in Y]),
}


def fitted(name, x=X, **options):
    kind, y = KINDS[name]
    return kind(**FEW | {"bidirectional": False} | options).fit(x, y)


def outputs(net, x):
    found = net.predict(x) if isinstance(net, SequenceRegressor) else net.predict_proba(x)
    return np.concatenate(found) if isinstance(found, list) else found


# Scales


@pytest.mark.parametrize("name", KINDS)
def test_a_scale_is_that_of_a_scaler_before(name):
    scaler = SequenceScaler().fit(X)
    inside = fitted(name, scale="standard", dtype="float64")
    before = fitted(name, scaler.transform(X), scale=None, dtype="float64")
    assert before.scaler_ is None
    assert_close(inside.scaler_.center_, scaler.center_, 1e-12)
    assert_close(inside.scaler_.scale_, scaler.scale_, 1e-12)
    assert_close(outputs(inside, X), outputs(before, scaler.transform(X)), 1e-7)


@pytest.mark.parametrize("method", ["standard", "minmax", "robust"])
def test_methods(method):
    scaler = SequenceScaler(method).fit(X)
    net = fitted("sequence", scale=method, epochs=0)
    assert_close(net.scaler_.center_, scaler.center_, 1e-12)
    assert_close(net.scaler_.scale_, scaler.scale_, 1e-12)
    assert net.scaler_.method == method
    assert_close(net.scaler_.transform(X[0]), scaler.transform(X[0]), 1e-9)


def test_units_do_not_matter():
    small = [(sample - ORIGIN) / UNITS for sample in X]
    for name in ("regressor", "sequence"):
        assert_close(outputs(fitted(name, small), small), outputs(fitted(name), X), 1e-4)
    assert not np.allclose(
        outputs(fitted("sequence", small, scale=None, linear=None), small),
        outputs(fitted("sequence", scale=None, linear=None), X),
    )


def test_features_of_0_and_1_stay_as_they_are():
    flags = [np.column_stack([sample, sample[:, 0] > 1000, np.ones(len(sample))]) for sample in X]
    auto, standard = fitted("sequence", flags), fitted("sequence", flags, scale="standard")
    assert_same_bits(auto.scaler_.center_[:2], standard.scaler_.center_[:2])
    assert auto.scaler_.center_[2:].tolist() == [0, 0]
    assert auto.scaler_.scale_[2:].tolist() == [1, 1]
    assert 0 < standard.scaler_.center_[2] < 1
    assert standard.scaler_.scale_[3] == 1  # which does not vary
    codes = [sample[:, 2:] for sample in flags]
    one_hot = fitted("sequence", codes)
    assert one_hot.scaler_ is None
    assert_same_bits(one_hot.predict_proba(codes), fitted("sequence", codes, scale=None).predict_proba(codes))


def test_scales_of_all_forms_have_the_same_bits():
    padded = np.full((24, 6, 2), 7.0)
    for row, sample in zip(padded, X, strict=True):
        row[: len(sample)] = sample
    tails = np.where((np.arange(6) < LENGTHS[:, None])[:, :, None], padded, np.nan)
    frames = [pd.DataFrame(sample, columns=["a", "b"]) for sample in X]
    flat, offsets = np.concatenate(X), np.append(0, np.cumsum(LENGTHS))
    expected = fitted("sequence")
    forms = [
        (padded, {"lengths": LENGTHS}), (tails, {}), (frames, {}), (flat, {"offsets": offsets}),
        (np.asfortranarray(tails), {}),
    ]  # fmt: skip
    for data, options in forms:
        net = SequenceClassifier(**FEW, bidirectional=False).fit(data, Y, **options)
        assert_same_bits(net.scaler_.center_, expected.scaler_.center_)
        assert_same_bits(net.scaler_.scale_, expected.scaler_.scale_)
        assert_same_bits(net.predict_proba(data, **options), expected.predict_proba(X))
    whole, listed = (fitted("regressor", data).predict(data) for data in (WHOLE, list(WHOLE)))
    assert_same_bits(whole, listed)
    table = fitted("regressor", WHOLE[:, :, 0])  # columns are time steps of one feature
    assert table.scaler_.center_.shape == (1,)
    assert_close(table.scaler_.center_, [WHOLE[:, :, 0].mean()], 1e-12)


def test_statistics_of_many_blocks():
    rows = 1e6 + np.random.default_rng(0).normal(size=(2 * BLOCK + 77, 3))
    samples = Samples.of([rows[:100], rows[100 : BLOCK + 5], rows[BLOCK + 5 :]], [100, BLOCK - 95, BLOCK + 72])
    scaler = fitted_scaler("standard", samples, None)
    assert_close(scaler.center_, rows.mean(axis=0), 1e-14)
    assert_close(scaler.scale_, rows.std(axis=0), 1e-12)
    values = samples.cast("float64", scaler)
    assert_same_bits(values.values, (rows - scaler.center_) / scaler.scale_)
    mask = np.array([True, False, True])
    part = fitted_scaler("minmax", samples, mask)
    assert_same_bits(part.center_, np.minimum(rows[:100].min(axis=0), rows[BLOCK + 5 :].min(axis=0)))


def test_what_is_held_out_or_has_no_weight_does_not_count():
    wild = [sample if index < 18 else 1e6 * sample for index, sample in enumerate(X)]
    held = {"patience": 2, "validation": 0.25, "epochs": 1}
    for data in (wild, [sample[:3] for sample in wild]):
        net = SequenceRegressor(**FEW | held).fit(data, np.where(np.arange(24) < 18, VALUES, 1e9))
        assert_close(net.scaler_.center_, np.concatenate(data[:18]).mean(axis=0), 1e-12)
        assert_close(net._center, [VALUES[:18].mean()], 1e-12)
    weight = np.arange(24) < 18
    expected = np.concatenate(X[:18]).mean(axis=0)
    for name, (kind, y) in KINDS.items():
        assert_close(kind(**FEW).fit(wild, y, weight).scaler_.center_, expected, 1e-12), name
    mask = [np.full(len(sample), counts) for sample, counts in zip(X, weight, strict=True)]  # steps that are read
    assert_close(
        SegmentClassifier(**FEW).fit(wild, STEPS, mask).scaler_.center_, np.concatenate(wild).mean(axis=0), 1e-12
    )
    plain = SequenceClassifier(**FEW | held | {"random_state": 1})
    net = plain.fit(X, Y)
    kept, _ = net._held_out(24, np.array([label == "yes" for label in Y]))
    assert_close(net.scaler_.center_, np.concatenate([X[row] for row in kept]).mean(axis=0), 1e-12)
    given = SequenceClassifier(**FEW).fit(X[:18], Y[:18], validation=(wild[18:], Y[18:]))
    assert_close(given.scaler_.center_, expected, 1e-12)


def test_training_that_goes_on_keeps_the_scale():
    net = fitted("regressor", warm_start=True)
    center = net.scaler_.center_
    net.fit([sample + 5 for sample in X], VALUES).partial_fit([sample + 9 for sample in X], VALUES)
    assert net.scaler_.center_ is center
    net.set_params(warm_start=False).fit([sample + 5 for sample in X], VALUES)
    assert_close(net.scaler_.center_, center + 5, 1e-12)


def test_scales_that_are_refused():
    for bad in ("log", 1, True, ["standard"]):
        with pytest.raises(ValueError, match="scale must be 'auto', 'standard', 'minmax', 'robust' or None, got"):
            fitted("sequence", scale=bad)
    tokens = [np.arange(3)] * 4
    with pytest.raises(ValueError, match="scale must be 'auto' or None where X has tokens or strings, got 'standard'"):
        SequenceClassifier(**FEW, tokens=3, scale="standard").fit(tokens, [0, 1] * 2)
    assert SequenceClassifier(**FEW, tokens=3).fit(tokens, [0, 1] * 2).scaler_ is None
    huge = [np.array([[1e308], [-1e308]])] * 4
    with pytest.raises(ValueError, match="feature 0 of X has values too large to be scaled"):
        SequenceRegressor(**FEW, dtype="float64").fit(huge, np.arange(4.0))


# Files


@pytest.mark.parametrize("name", KINDS)
def test_scales_are_in_files(name, tmp_path):
    net = fitted(name, scale="robust")
    net.set_params(scale=None)  # of the next fit
    net.save(tmp_path / "net")
    for copy in (numbarnn.load(tmp_path / "net"), pickle.loads(pickle.dumps(net))):
        assert_same_bits(copy.scaler_.center_, net.scaler_.center_)
        assert_same_bits(outputs(copy, X), outputs(net, X))
    description, arrays = io.read(tmp_path / "net")
    rest = {key: value for key, value in description.items() if key not in ("format", "kind")}
    for wrong in (
        {},
        {"inputs.scale": np.zeros(2)},
        {"inputs.scale": np.ones(3)},
        {"inputs.scale": np.ones(2, np.float32)},
    ):
        changed = {key: value for key, value in arrays.items() if key != "inputs.scale"} | wrong
        io.write(tmp_path / "net", description["kind"], rest, changed)
        with pytest.raises(numbarnn.errors.ModelFileError, match="cannot be understood"):
            numbarnn.load(tmp_path / "net")


@pytest.mark.parametrize("name", ["regressor", "steps"])
@pytest.mark.parametrize("optimizer", ["adam", Adam(0.5, betas=(0.8, 0.9))], ids=["name", "object"])
def test_files_from_before_scales(name, optimizer, tmp_path):
    """They had no scale, losses by their kind, and a learning rate that stood in for the optimizer's own."""
    net = fitted(name, scale=None, optimizer=optimizer)
    net.save(tmp_path / "net")
    description, arrays = io.read(tmp_path / "net")
    settings = {key: value for key, value in description["settings"].items() if key not in ("scale", "loss")}
    rest = {
        key: value for key, value in description.items() if key not in ("format", "kind", "scaled", "loss", "several")
    }
    rest |= {"version": 1, "settings": settings | {"learning_rate": 0.01}}
    if name == "steps":
        rest["weights"] = [1.0, 2.0]
    io.write(tmp_path / "net", description["kind"], rest, arrays)
    old = numbarnn.load(tmp_path / "net")
    assert_same_bits(outputs(old, X), outputs(net, X))
    assert (old.scale, old.scaler_) == (None, None)
    assert old.trainer_.optimizer.learning_rate == 0.01
    if name == "steps":
        assert old._loss.class_weight == (1.0, 2.0)
    old.fit(X, KINDS[name][1])  # settings are whole


# Losses and learning rates


def test_losses_of_values():
    x = [np.ones((3, 1))] * 40  # what is learned is a number alone
    y = np.append(np.zeros(30), np.full(10, 8.0))
    options = {
        "hidden_size": 2,
        "epochs": 200,
        "batch_size": 40,
        "learning_rate": 0.05,
        "random_state": 0,
        "n_threads": 1,
    }

    def predicted(loss, **asked):
        return SequenceRegressor(**options, loss=loss).fit(x, y).predict(x[:1], **asked)[0]

    assert_close(predicted("mse"), 2.0, 0.05)
    assert abs(predicted("mae")) < 0.3
    assert abs(predicted(losses.Huber(0.01))) < 0.5
    assert_close(predicted("gaussian"), 2.0, 0.1)
    low, high = predicted("gaussian", quantiles=(0.1, 0.9))
    assert_close((high - low) / 2, 1.2816 * np.std(y), 0.15)
    assert_close(predicted("negative_binomial"), 2.0, 0.15)
    assert abs(predicted(losses.Quantile((0.5, 0.9)), quantiles=0.9) - 8) < 1
    assert abs(predicted("quantile")) < 0.5


def test_forms_of_quantiles(tmp_path):
    two = np.column_stack([VALUES, -VALUES])
    net = SequenceRegressor(**FEW, loss=losses.Gaussian(0.01)).fit(X, two)
    assert net.predict(X).shape == (24, 2)
    assert net.predict(X, quantiles=0.5).shape == (24, 2)
    found = net.predict(X, quantiles=[0.1, 0.5, 0.9])
    assert found.shape == (24, 2, 3)
    assert (np.diff(found) > 0).all()
    assert_close(found[:, :, 1], net.predict(X), 1e-9)
    net.save(tmp_path / "net")
    loaded = numbarnn.load(tmp_path / "net")
    assert (loaded.loss, loaded._loss) == (net.loss, net._loss)
    assert_same_bits(loaded.predict(X, quantiles=[0.1, 0.5, 0.9]), found)
    one = SequenceRegressor(**FEW, loss="negative_binomial").fit(X, np.arange(24))
    assert one._loss.scale == (11.5,)
    assert one.predict(X, quantiles=(0.1, 0.9)).shape == (24, 2)
    one.save(tmp_path / "net")
    assert_same_bits(numbarnn.load(tmp_path / "net").predict(X), one.predict(X))


REFUSED = {
    "loss of labels": (lambda: fitted("regressor", loss="softmax_cross_entropy"), ValueError, "loss must be one of values, such"),
    "no loss": (lambda: fitted("regressor", loss="msee"), ValueError, "loss must be one of values, such as .* got 'msee'"),
    "loss of values": (lambda: fitted("sequence", loss="mse"), ValueError, "loss must be 'auto', 'softmax_cross_entropy'"),
    "loss that is not one": (lambda: fitted("steps", loss=3), ValueError, "loss must be 'auto', .* got 3"),
    "loss of several": (lambda: fitted("steps", loss="binary_cross_entropy"), ValueError,
        "loss must be 'auto' or 'softmax_cross_entropy' where y has one label, got 'binary_cross_entropy'"),
    "smoothing of samples": (lambda: fitted("samples", loss=losses.SoftmaxCrossEntropy(label_smoothing=0.1)), ValueError,
        "loss must be 'auto' or a SoftmaxCrossEntropy without label_smoothing where labels are of samples"),
    "weights twice": (lambda: fitted("sequence", class_weight="balanced", loss=losses.SoftmaxCrossEntropy((1, 2))), ValueError,
        "class_weight must be None where the loss has class_weight, got both"),
    "ignored by its code": (lambda: fitted("sequence", loss=losses.SoftmaxCrossEntropy(ignore_index=-1)), ValueError,
        "loss must not have an ignore_index"),
    "counts": (lambda: fitted("regressor", loss="negative_binomial"), ValueError, "y must be counts, integers >= 0, under"),
    "quantiles of none": (lambda: fitted("regressor").predict(X, quantiles=0.5), TypeError, "quantiles needs a loss such as"),
    "levels": (lambda: fitted("regressor", loss="gaussian").predict(X, quantiles=1.5), ValueError, r"quantiles\[0\] must be in"),
    "another loss": (lambda: fitted("regressor").set_params(loss="gaussian").partial_fit(X, VALUES), ValueError,
        "loss is 'gaussian', but the model was made for 'mse'"),
    "rate twice": (lambda: fitted("regressor", optimizer=Adam(), learning_rate=0.1), ValueError,
        r"learning_rate must be None where optimizer is an object, .* \(0.001\), got 0.1"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name):
    call, error, message = REFUSED[name]
    with pytest.raises(error, match=message):
        call()


def test_losses_of_labels(tmp_path):
    options = {"epochs": 40, "learning_rate": 0.05, "linear": None}
    plain = fitted("sequence", **options)
    smooth = fitted("sequence", loss=losses.SoftmaxCrossEntropy(label_smoothing=0.4), **options)
    assert smooth.predict_proba(X).max(axis=1).mean() < plain.predict_proba(X).max(axis=1).mean() - 0.05
    weighted = fitted("steps", loss=losses.SoftmaxCrossEntropy(label_smoothing=0.1), class_weight={"up": 3})
    assert weighted._loss == losses.SoftmaxCrossEntropy((1.0, 3.0), label_smoothing=0.1)
    weighted.save(tmp_path / "net")
    loaded = numbarnn.load(tmp_path / "net")
    assert (loaded._loss, loaded.loss) == (weighted._loss, weighted.loss)
    named = fitted("steps", loss="softmax_cross_entropy")
    assert_same_bits(outputs(named, X), outputs(fitted("steps"), X))


def test_learning_rates():
    rates = {"adam": 0.003, "Adam": 0.003, "sgd": 0.01, Adam(0.5): 0.5}
    for optimizer, rate in rates.items():
        assert fitted("regressor", optimizer=optimizer).history_["learning_rate"] == [rate, rate]
    assert fitted("regressor", optimizer="sgd", learning_rate=0.1).history_["learning_rate"] == [0.1, 0.1]


def test_epochs_are_those_of_3000_steps():
    net = SequenceClassifier("rnn", 2, batch_size=1, random_state=0, n_threads=1)
    assert net.fit(X, Y).n_iter_ == 125  # of 24 steps
    assert net.set_params(batch_size=24).fit(X, Y).n_iter_ == 200
    assert net.set_params(epochs=0).fit(X, Y).n_iter_ == 0
    tagger = SegmentClassifier("rnn", 2, batch_size=24, random_state=0, n_threads=1)
    assert tagger.fit(X, STEPS).n_iter_ == 50
    assert tagger.fit(X, Y).n_iter_ == 200


# Streams


@pytest.mark.parametrize("name", KINDS)
def test_a_stream_predicts_as_the_estimator_does(name):
    net = fitted(name, cell="gru", **({"linear": None} if name in ("regressor", "sequence") else {}))
    stream = net.stream()
    for sample in X[:3]:
        stream.reset()
        emitted = []
        for count, row in enumerate(sample, 1):
            found, so_far = stream.step(row), sample[:count]
            if name == "regressor":
                assert isinstance(found, float)
                assert_same_bits(np.array([found]), net.predict([so_far]))
            elif name == "temporal":
                emitted += [] if found is None else [found]
                assert emitted == net.predict([so_far])[0]
                assert_close(stream.probabilities, net.predict_proba([so_far])[0][-1], 1e-12)
            else:
                steps = name == "steps"
                assert found == (net.predict([so_far])[0][-1] if steps else net.predict([so_far])[0])
                probabilities = net.predict_proba([so_far])[0]
                assert_close(stream.probabilities, probabilities[-1] if steps else probabilities, 1e-6)
        assert stream.steps == len(sample)


@pytest.mark.parametrize("pooling", ["last", "mean", "max"])
def test_streams_of_pooled_outputs(pooling):
    net = SequenceClassifier(**FEW, bidirectional=False, pooling=pooling, num_layers=2, dropout=0.2).fit(X, Y)
    stream = net.stream()
    for count, row in enumerate(X[0], 1):
        label = stream.step(row)
        assert_close(stream.probabilities, net.predict_proba([X[0][:count]])[0], 1e-6)
        assert label == net.predict([X[0][:count]])[0]


def test_streams_of_targets_words_and_tables():
    two = SequenceRegressor(**FEW).fit(X, np.column_stack([VALUES, VALUES]))
    assert two.stream().step(X[0][0]).shape == (2,)
    words = [["no", "yes"] if k % 2 else ["yes"] for k in range(8)]
    one_way = FEW | {"bidirectional": False}
    tagger = SequenceClassifier(**one_way, tokens=WordFeatures(suffix=1)).fit(words, [0, 1] * 4)
    stream = tagger.stream()
    for word in ("yes", "unknown"):
        stream.step(word)
    assert_close(stream.probabilities, tagger.predict_proba([["yes", "unknown"]])[0], 1e-6)
    with pytest.raises(TypeError, match="row must be a str, as X had, got 3"):
        stream.step(3)
    tokens = SequenceClassifier(**one_way, tokens=3).fit([np.arange(3)] * 4, [0, 1] * 2).stream()
    assert tokens.step(2) in (0, 1)
    table = fitted("regressor", WHOLE[:, :, 0])
    stream = table.stream()
    found = [stream.step(value) for value in WHOLE[0, :, 0]]
    assert_same_bits(np.array(found[-1:]), table.predict(WHOLE[:1, :, 0]))
    frames = [pd.DataFrame(sample, columns=["a", "b"]) for sample in X]
    named, plain = fitted("sequence", frames), fitted("sequence")
    one, other, third = named.stream(), plain.stream(), named.stream()
    for row in X[0]:
        other.step(row)
        one.step({"b": row[1], "a": row[0]})
        third.step(pd.Series(row[::-1], index=["b", "a"]))
    assert_same_bits(one.probabilities, other.probabilities)
    assert_same_bits(third.probabilities, other.probabilities)
    for row, error, message in (
        ({"a": 1.0}, ValueError, r"row lacks \['b'\]; this SequenceClassifier was fitted to \['a', 'b'\]"),
        ([1.0], ValueError, r"row must have shape \(2,\), one value for each feature, got \(1,\)"),
        ([1.0, np.nan], ValueError, r"row has 1 NaN or infinite value, the first at \[1\]; streams have no missing"),
        (["a", "b"], TypeError, "row must be numeric"),
        ([1.0, 1e300], ValueError, "row in float32 has 1 NaN or infinite value"),
    ):
        with pytest.raises(error, match=message):
            one.step(row)
    assert_same_bits(one.probabilities, other.probabilities)
    assert one.steps == len(X[0])
    assert repr(one) == f"{named!r}.stream()"
    with pytest.raises(ValueError, match="row must be values in the order of the features"):
        other.step({"a": 1.0, "b": 2.0})


def test_streams_that_are_refused():
    with pytest.raises(ValueError, match="not fitted yet"):
        SequenceClassifier().stream()
    with pytest.raises(
        ValueError, match=r"this TemporalClassifier is bidirectional: .* Train one with bidirectional=False"
    ):
        fitted("temporal", bidirectional=True).stream()
    with pytest.raises(AttributeError, match="a SequenceRegressor predicts values"):
        _ = fitted("regressor").stream().probabilities
    with pytest.raises(ValueError, match="probabilities are those after a step"):
        _ = fitted("sequence").stream().probabilities
