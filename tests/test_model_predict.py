"""Predictions, evaluation and metadata of models, lists of samples, and the learning rate of `fit`."""

import math

import numpy as np
import pytest

import numbarnn as nr
from numbarnn.errors import ModelFileError, ShapeError

LENGTHS = (3, 6, 4, 5)
G = np.random.default_rng(0)
X = [G.standard_normal((length, 2)) for length in LENGTHS]
Y = [G.integers(0, 3, length) for length in LENGTHS]
PADDED = np.zeros((4, 6, 2))
CLASSES = np.full((4, 6), -100)
for row, (x, y) in enumerate(zip(X, Y, strict=True)):
    PADDED[row, : len(x)], CLASSES[row, : len(y)] = x, y
VALUES = G.standard_normal((4, 6, 3))


@pytest.fixture
def model():
    return nr.Model([nr.RNN(4), nr.Dense(3)], input_size=2, dtype="float64", n_threads=1)


@pytest.fixture
def last():
    """One output vector a sample."""
    return nr.Model([nr.RNN(4, return_sequences=False), nr.Dense(3)], input_size=2, dtype="float64", n_threads=1)


def log_softmax(logits):
    shifted = logits - logits.max(-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))


# Predictions


def test_the_loss_says_what_outputs_mean(model):
    logits, _ = model.forward(PADDED, lengths=LENGTHS)
    running = np.arange(6) < np.array(LENGTHS)[:, None]
    classes = np.where(running, logits.argmax(-1), -1)
    assert np.array_equal(model.predict(PADDED, lengths=LENGTHS), classes)
    assert np.array_equal(model.predict(PADDED, lengths=LENGTHS, loss="ctc"), classes)
    answers = model.predict(PADDED, lengths=LENGTHS, loss="binary_cross_entropy")
    assert np.array_equal(answers, np.where(running[..., None], logits >= 0, -1))
    assert np.array_equal(model.predict(PADDED, lengths=LENGTHS, loss=nr.losses.Huber()), logits)
    probabilities = model.predict_proba(PADDED, lengths=LENGTHS, loss="binary_cross_entropy")
    np.testing.assert_allclose(probabilities[running], 1 / (1 + np.exp(-logits[running])), rtol=1e-12)
    with pytest.raises(
        ValueError, match=r"predict_proba needs a model whose outputs are logits.*loss mse.*use forward"
    ):
        model.predict_proba(PADDED, loss="mse")


def test_fit_and_files_remember_the_loss(model, tmp_path):
    model.fit(PADDED, VALUES, loss="mse", epochs=1, verbose=0)
    model.save(tmp_path / "model")
    loaded = nr.load(tmp_path / "model")
    assert np.array_equal(loaded.predict(PADDED), model.forward(PADDED)[0])
    assert loaded.evaluate(PADDED, VALUES) == model.evaluate(PADDED, VALUES)


def test_one_output_without_a_loss_is_refused():
    model = nr.Model([nr.Dense(1)], input_size=2)
    with pytest.raises(ValueError, match="loss must be given, for example loss='mse'"):
        model.predict(PADDED)
    with pytest.raises(ValueError, match="for a model with one output, got 'ctc'"):
        model.predict(PADDED, loss="ctc")
    assert model.predict(PADDED, loss="mse").shape == (4, 6, 1)


def test_a_call_is_forward(model):
    outputs, state = model(PADDED, lengths=LENGTHS)
    expected, final = model.forward(PADDED, lengths=LENGTHS)
    assert np.array_equal(outputs, expected)
    assert np.array_equal(state[0][0], final[0][0])


# Lists of samples


def test_lists_are_padded_samples_with_lengths(model, last):
    trained = {}
    for name, x, y, options in (("list", X, Y, {}), ("array", PADDED, CLASSES, {"lengths": LENGTHS})):
        trained[name] = model.copy()
        trained[name].fit(x, y, epochs=2, shuffle=False, verbose=0, batch_size=2, **options)
    np.testing.assert_allclose(trained["list"].params.flat, trained["array"].params.flat, rtol=1e-9)
    expected = model.predict(PADDED, lengths=LENGTHS)
    for row, (found, proba, length) in enumerate(zip(model.predict(X), model.predict_proba(X), LENGTHS, strict=True)):
        assert np.array_equal(found, expected[row, :length])
        assert proba.shape == (length, 3)
    assert np.array_equal(last.predict(X), last.predict(PADDED, lengths=LENGTHS))
    assert np.array_equal(last.predict(np.array(X, dtype=object)), last.predict(X))
    history = last.fit(X, [0, 1, 2, 1], epochs=1, validation=0.25, sample_weight=[1.0, 2.0, 1.0, 1.0], verbose=0)
    assert history["val_loss"] == [last.evaluate(X[3:], [1])["loss"]]
    history = model.fit(X, Y, epochs=1, validation=(X[:2], Y[:2]), verbose=0)
    assert history["val_loss"][0] == pytest.approx(model.evaluate(X[:2], Y[:2])["loss"], rel=1e-12)


def test_lists_of_tokens_and_label_sequences():
    model = nr.Model([nr.OneHot(5), nr.RNN(4), nr.Dense(4)], n_threads=1)
    tokens = [[0, 1, 2, 3], [4, 3, 2, 1, 0], [1, 1, 1]]
    labels = [[1, 2], [3], [2]]
    model.fit(tokens, labels, loss="ctc", epochs=1, verbose=0)
    result = model.evaluate(tokens, labels, ["label_error_rate", "sequence_error"])
    decoded = [nr.decoding.best_path(model.forward([row])[0])[0].tolist() for row in tokens]
    assert result["label_error_rate"] == nr.metrics.label_error_rate(labels, decoded)
    assert result["sequence_error"] == nr.metrics.sequence_error(labels, decoded)


@pytest.mark.parametrize(
    ("x", "y", "options", "message"),
    [
        (tuple(X), Y, {}, r"x must be a list of arrays, one for each sample, got a tuple of 4; pass list\(x\)"),
        (X, Y[:3], {}, "y must have one entry for each of 4 samples, got 3"),
        (X, Y, {"lengths": LENGTHS}, "lengths must be left out with a list of samples"),
        (X[:3] + [np.zeros((2, 5))], Y, {}, r"x\[3\] must have shape \(time steps, 2\), as x\[0\], got \(2, 5\)"),
        (X[:3] + [np.array([["a"], ["b"]])], Y, {}, r"x\[3\] must be numeric"),
        (X, Y, {"sample_weight": Y[::-1]}, r"sample_weight\[0\] has 5 entries, its sample 3 time steps"),
        ([X[0], X[1] * np.nan], Y[:2], {}, r"x has 12 NaN or infinite values, the first at x\[1\]\[0, 0\]"),
        (X, [y[:-1] for y in Y], {}, "y"),
    ],
)
def test_wrong_lists_are_refused(model, x, y, options, message):
    with pytest.raises((TypeError, ValueError), match=message):
        model.fit(x, y, epochs=1, verbose=0, **options)


def test_states_do_not_go_with_lists(model):
    with pytest.raises(ValueError, match="state must be left out with a list of samples"):
        model.predict(X, state=model.initial_state(4))


# Evaluation


def test_evaluation_of_classes(model):
    logits = np.concatenate([model.forward(x[None])[0][0] for x in X])
    truth = np.concatenate(Y)
    truth[2] = -100  # ignored
    targets = CLASSES.copy()
    targets[0, 2] = -100
    counts = truth >= 0
    expected = {
        "loss": -log_softmax(logits)[counts, truth[counts]].mean(),
        "accuracy": (logits.argmax(1) == truth)[counts].mean(),
        "wrong": (logits.argmax(1) != truth)[counts].sum(),
    }

    def wrong(truth, predicted):
        return (truth != predicted).sum()

    options = {"metrics": ["accuracy", wrong], "loss": "softmax_cross_entropy", "batch_size": 3}
    assert model.evaluate(PADDED, targets, lengths=LENGTHS, **options) == pytest.approx(expected, rel=1e-12)
    weight = (np.arange(6) != 1) * np.ones((4, 1))
    result = model.evaluate(PADDED, CLASSES, lengths=LENGTHS, sample_weight=weight, **options)
    kept = np.concatenate([np.arange(length) != 1 for length in LENGTHS])
    assert result["accuracy"] == (logits.argmax(1) == np.concatenate(Y))[kept].mean()


def test_evaluation_of_one_label_a_sample(last):
    y = np.array([0, 1, 2, 1])
    logits, _ = last.forward(PADDED)
    result = last.evaluate(PADDED, y, ["accuracy", "f1"], loss="softmax_cross_entropy", batch_size=3)
    assert result["loss"] == pytest.approx(-log_softmax(logits)[np.arange(4), y].mean(), rel=1e-12)
    assert result["accuracy"] == (logits.argmax(1) == y).mean()
    assert result["f1"] == pytest.approx(nr.metrics.f1(y, logits.argmax(1))["F1"].mean())


def test_evaluation_of_values_answers_and_distributions(model):
    outputs, _ = model.forward(PADDED)
    result = model.evaluate(PADDED, VALUES, ["mae", "rmse", "r2"], loss="mse", batch_size=3)
    assert result["loss"] == pytest.approx(((outputs - VALUES) ** 2).mean())
    assert result["mae"] == pytest.approx(np.abs(outputs - VALUES).mean())
    result = model.evaluate(PADDED, VALUES > 0, ["accuracy"], loss="binary_cross_entropy")
    assert result["accuracy"] == ((outputs >= 0) == (VALUES > 0)).mean()
    gaussian = nr.Model([nr.Dense(2)], input_size=2, dtype="float64")
    loss = nr.losses.Gaussian()
    result = gaussian.evaluate(PADDED, VALUES[..., 0], ["mae"], loss=loss)
    mean = loss.mean(gaussian.forward(PADDED)[0])
    assert result["mae"] == pytest.approx(np.abs(mean.reshape(4, 6) - VALUES[..., 0]).mean())


def test_evaluation_of_a_source_carries_states():
    model = nr.Model([nr.OneHot(7), nr.RNN(4), nr.Dense(7)], dtype="float64", n_threads=1)
    tokens = np.arange(30) * 3 % 7
    source = nr.data.TokenStream(tokens, 1, 5)
    logits = model.forward(tokens[None, :-1])[0][0]
    result = model.evaluate(source, metrics=["accuracy"], loss="softmax_cross_entropy")
    assert result["accuracy"] == (logits.argmax(1) == tokens[1:]).mean()
    assert result["loss"] == pytest.approx(-log_softmax(logits)[np.arange(29), tokens[1:]].mean())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "loss must be given"),
        ({"loss": "mse", "metrics": "mae"}, "metrics must be a list"),
        ({"loss": "mse", "metrics": ["accuracy"]}, "metrics must be among mae, rmse, r2 under the loss mse"),
        ({"loss": "mse", "metrics": [max, max]}, r"metrics\[1\] must have a name of its own"),
        ({"loss": "mse", "metrics": [lambda t, p: t]}, "<lambda> must return a number"),
    ],
)
def test_wrong_evaluations_are_refused(model, options, message):
    with pytest.raises((TypeError, ValueError), match=message):
        model.evaluate(PADDED, VALUES, **options)


# The learning rate


def test_learning_rate_of_fit(model):
    trained = [model.copy() for _ in range(3)]
    settings = ({"learning_rate": 0.5, "optimizer": "sgd"}, {"optimizer": nr.optim.SGD(0.5)}, {"optimizer": "sgd"})
    for copy, setting in zip(trained, settings, strict=True):
        copy.fit(PADDED, VALUES, loss="mse", epochs=1, verbose=0, **setting)
    assert np.array_equal(trained[0].params.flat, trained[1].params.flat)
    assert not np.array_equal(trained[0].params.flat, trained[2].params.flat)
    with pytest.raises(
        ValueError, match=r"learning_rate must be left out with an optimizer object.*SGD\(learning_rate=0.1\)"
    ):
        model.fit(PADDED, VALUES, loss="mse", optimizer=nr.optim.SGD(), learning_rate=0.1)
    with pytest.raises(ValueError, match="learning_rate"):
        nr.Trainer(model, learning_rate=-1.0)


def test_language_models_take_a_learning_rate_and_a_text_to_validate_by():
    text, other = "the cat sat on the mat. " * 10, "the mat sat. "
    lm = nr.CharLM("rnn", 4, 1, n_threads=1).fit(text, 2, learning_rate=0.01, validation=other, verbose=0)
    assert lm.history[0]["learning_rate"] == 0.01
    assert lm.history[-1]["val_loss"] == pytest.approx(lm.score(other).nats, rel=1e-5)
    with pytest.raises(ShapeError, match="validation must have at least 2 characters, got 1"):
        lm.fit(text, 1, validation="t", verbose=0)
    with pytest.raises(ValueError, match="validation"):
        lm.fit(text, 1, validation="XYZ", verbose=0)
    with pytest.raises(ValueError, match="learning_rate must be left out"):
        lm.fit(text, 1, optimizer=nr.optim.SGD(0.1), learning_rate=0.1)


# Metadata


def test_metadata_come_back(model, tmp_path):
    metadata = {"classes": ("sit", "walk"), "rate": np.float64(0.5), "nested": {"a": [None, True]}, "ü": "ö"}
    model.save(tmp_path / "model", metadata=metadata)
    stored = {"classes": ["sit", "walk"], "rate": 0.5, "nested": {"a": [None, True]}, "ü": "ö"}
    loaded = nr.load(tmp_path / "model")
    assert loaded.metadata == model.metadata == stored
    loaded.save(tmp_path / "again")
    assert nr.Model.load(tmp_path / "again").metadata == stored
    copied = loaded.copy()
    copied.metadata["nested"]["a"] = 1
    assert loaded.metadata == stored
    lm = nr.CharLM("rnn", 2, 1).fit("abab" * 5, 0, verbose=0)
    lm.save(tmp_path / "lm", metadata={"corpus": "abab"})
    assert nr.load(tmp_path / "lm").metadata == {"corpus": "abab"}


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ([1], "metadata must be a dict"),
        ({1: 2}, "names of type str, got 1"),
        ({"a": {1, 2}}, r"metadata\['a'\] must be values of JSON"),
        ({"a": math.nan}, r"metadata\['a'\] must be values of JSON: str, finite numbers"),
        ({"a": "x" * (1 << 20)}, "metadata must be at most 1,048,576 bytes"),
    ],
)
def test_wrong_metadata_are_refused(model, tmp_path, metadata, message):
    with pytest.raises((TypeError, ValueError), match=message):
        model.save(tmp_path / "model", metadata=metadata)
    assert not (tmp_path / "model").exists()


def test_files_with_wrong_metadata_are_refused(model, tmp_path):
    description = model.description() | {"metadata": [1]}
    nr.io.write(tmp_path / "model", "model", description, model.params.for_file())
    with pytest.raises(ModelFileError, match="metadata"):
        nr.load(tmp_path / "model")
