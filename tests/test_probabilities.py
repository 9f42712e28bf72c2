"""`predict_proba` follows the loss that a model was trained with, in the process and in files."""

import json
import pickle
from dataclasses import dataclass

import numpy as np
import pytest
from conftest import DTYPES, assert_close, assert_same_bits, normal

import numbarnn
from numbarnn import GRU, Dense, Model, Trainer, io
from numbarnn.errors import ModelFileError
from numbarnn.losses import (
    CTC,
    LOSSES,
    BinaryCrossEntropy,
    Huber,
    NegativeBinomial,
    Quantile,
    SegmentCrossEntropy,
    SoftmaxCrossEntropy,
    loss,
)

X = normal(0, 8, 5, 2)
TARGETS = {
    "softmax_cross_entropy": np.zeros((8, 5), int),
    "binary_cross_entropy": np.ones((8, 5, 3)),
    "ctc": [[1, 2]] * 8,
    "segment_cross_entropy": np.ones((8, 5), int),
}


def trained(loss, dtype="float64"):
    each = LOSSES[loss]().outputs_per_target if isinstance(loss, str) else loss.outputs_per_target
    model = Model([GRU(4), Dense(3 * each)], input_size=2, dtype=dtype, seed=1)
    name = loss if isinstance(loss, str) else loss.name
    model.fit(X, TARGETS.get(name, np.zeros((8, 5, 3))), loss=loss, epochs=1, verbose=0)
    return model


def sigmoid(y):
    return np.exp(-np.logaddexp(0, -np.float64(y)))


def softmax(y):
    e = np.exp(np.float64(y) - np.float64(y).max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


EXPECTED = {"softmax": softmax, "sigmoid": sigmoid}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", LOSSES)
def test_probabilities_are_those_of_the_loss(name, dtype, tmp_path):
    model = trained(name, dtype)
    assert model.loss == LOSSES[name]()
    model.save(tmp_path / "model")
    outputs = model.forward(X)[0]
    for other in (model, numbarnn.load(tmp_path / "model"), model.copy(), pickle.loads(pickle.dumps(model))):
        assert other.loss == model.loss
        if LOSSES[name].output_activation is None:
            with pytest.raises(
                ValueError, match=f"trained with the loss {name}, and its outputs are values: use forward"
            ):
                other.predict_proba(X)
            continue
        expected = EXPECTED[LOSSES[name].output_activation](outputs)
        assert_close(other.predict_proba(X), expected, 1e-6 if dtype == "float32" else 1e-14)


@pytest.mark.parametrize("dtype", DTYPES)
def test_probabilities_of_large_logits(dtype):
    model = Model([Dense(3)], input_size=3, dtype=dtype)
    model.load_state_dict({"weight": np.eye(3), "bias": np.zeros(3)})
    model.loss = BinaryCrossEntropy()
    x = np.array([[[-1e30, 0.0, 1e30], [-80.0, 0.0, 80.0], [np.nan, 0.0, 0.0]]])
    found = model.predict_proba(x)[0]
    assert found[0].tolist() == [0.0, 0.5, 1.0]
    assert np.isnan(found[2]).all()
    assert_close(found[1, [0, 2]], sigmoid([-80, 80]), 1e-6)
    assert found[1, 0] == pytest.approx(np.exp(-80), rel=1e-5)  # small ones are not lost beside one


@pytest.mark.parametrize("name", LOSSES)
def test_predictions_are_those_of_the_loss(name, tmp_path):
    model = trained(name)
    model.save(tmp_path / "model")
    outputs = model.forward(X)[0]
    expected = {
        "softmax": outputs.argmax(axis=2),
        "sigmoid": (sigmoid(outputs) > 0.5).astype(int),
        None: outputs,
    }[LOSSES[name].output_activation]
    for other in (model, numbarnn.load(tmp_path / "model"), model.copy()):
        found = other.predict(X)
        assert found.dtype == expected.dtype
        assert np.array_equal(found, expected)


@pytest.mark.parametrize(("name", "padding"), [("softmax_cross_entropy", -1), ("binary_cross_entropy", -1), ("mse", 0)])
def test_predictions_past_each_length(name, padding):
    model, lengths = trained(name), [5, 2, 0, 5, 5, 5, 5, 5]
    found, expected = model.predict(X, lengths=lengths), model.predict(X)
    past = np.arange(5) >= np.array(lengths)[:, None]
    assert (found[past] == padding).all()
    assert np.array_equal(found[~past], expected[~past])


def test_predictions_of_samples_and_with_a_state():
    model = Model([GRU(4, return_sequences=False), Dense(3)], input_size=2, seed=1)
    outputs, state = model.forward(X, lengths=[5, 2, 0, 5, 5, 5, 5, 5])
    found = model.predict(X, lengths=[5, 2, 0, 5, 5, 5, 5, 5])
    assert found.tolist() == outputs.argmax(axis=1).tolist()
    assert model.predict(X, state, n_threads=1).tolist() == model.forward(X, state)[0].argmax(axis=1).tolist()


def test_a_probability_of_one_half_is_yes():
    model = Model([Dense(2)], input_size=1)
    model.load_state_dict({"weight": np.zeros((2, 1)), "bias": [0.0, -1e-30]})
    model.loss = BinaryCrossEntropy()
    assert model.predict(np.zeros((1, 1, 1))).tolist() == [[[1, 0]]]


def test_padding_stays_zero():
    model = trained("binary_cross_entropy")
    found = model.predict_proba(X, lengths=[5, 2, 0, 5, 5, 5, 5, 5])
    assert not found[1, 2:].any()
    assert not found[2].any()
    assert (found[1, :2] > 0).all()


def test_a_model_that_was_not_trained_has_the_softmax():
    model = Model([GRU(4), Dense(3)], input_size=2)
    assert model.loss is None
    assert_close(model.predict_proba(X), softmax(model.forward(X)[0]), 1e-6)


def test_the_last_training_counts():
    model = trained("binary_cross_entropy")
    model.fit(X, TARGETS["softmax_cross_entropy"], epochs=1, verbose=0)
    assert isinstance(model.loss, SoftmaxCrossEntropy)
    trainer = Trainer(model, "binary_cross_entropy")
    trainer.evaluate((X, TARGETS["binary_cross_entropy"]))
    assert isinstance(model.loss, SoftmaxCrossEntropy)
    trainer.train_batch(numbarnn.data.Batch(X, TARGETS["binary_cross_entropy"]))
    assert isinstance(model.loss, BinaryCrossEntropy)


def test_a_checkpoint_brings_its_loss(tmp_path):
    trainer = Trainer(trained("binary_cross_entropy"), "binary_cross_entropy")
    trainer.save(tmp_path / "checkpoint")
    model = Model([GRU(4), Dense(3)], input_size=2, seed=1)
    other = Trainer(Model([GRU(4), Dense(3)], input_size=2, dtype="float64", seed=1), "binary_cross_entropy")
    assert other.model.loss is model.loss is None
    assert other.restore(tmp_path / "checkpoint").model.loss == BinaryCrossEntropy()


@pytest.mark.parametrize(
    "loss",
    [
        SoftmaxCrossEntropy((1.0, 2.0, 0.5), -1, 0.1),
        BinaryCrossEntropy(2.0),
        BinaryCrossEntropy((1.0, np.float32(2.0), 0.5)),
        Huber(0.5),
        CTC(blank=np.int64(0), infeasible="zero"),
        Quantile([0.2, 0.8]),
        NegativeBinomial((1.0, 2, 0.5)),
    ],
    ids=str,
)
def test_options_come_back(loss, tmp_path):
    trained(loss).save(tmp_path / "model")
    assert numbarnn.load(tmp_path / "model").loss == loss


def test_a_loss_of_the_users_own(tmp_path, monkeypatch):
    """A file cannot store it, but what it makes of the outputs; where it is registered, a file finds it by name."""

    @dataclass(frozen=True)
    class Own(BinaryCrossEntropy):
        name = "own"

    TARGETS["own"] = TARGETS["binary_cross_entropy"]
    for own in (Own(), SegmentCrossEntropy()):
        model = trained(own)
        model.save(tmp_path / "model")
        again = numbarnn.load(tmp_path / "model")
        assert again.loss is None
        assert_same_bits(again.predict_proba(X), model.predict_proba(X))
        again.save(tmp_path / "again")  # and is not forgotten by the next file
        assert_same_bits(numbarnn.load(tmp_path / "again").predict_proba(X), model.predict_proba(X))
    monkeypatch.setattr("numbarnn.losses.LOSSES", LOSSES.copy())
    monkeypatch.setitem(LOSSES, "own", None)  # to be taken away again
    loss("own")(Own)
    trained(Own(3.0)).save(tmp_path / "model")
    assert numbarnn.load(tmp_path / "model").loss == Own(3.0)


def test_models_trained_with_any_loss_are_pickled_and_saved(tmp_path):
    """A class local to a function cannot be pickled, and an array is not JSON; what they make of the outputs is kept."""

    @dataclass(frozen=True)
    class Local(BinaryCrossEntropy):
        pass

    @dataclass(frozen=True)
    class Odd(BinaryCrossEntropy):
        name = "odd"
        table: np.ndarray | None = None

    LOSSES["odd"] = Odd
    try:
        for own in (Local(), Odd(table=np.ones(2))):
            TARGETS.setdefault(own.name, TARGETS["binary_cross_entropy"])
            model = trained(own)
            model.save(tmp_path / "model")
            for other in (pickle.loads(pickle.dumps(model)), numbarnn.load(tmp_path / "model")):
                assert_same_bits(other.predict_proba(X), model.predict_proba(X))
            assert model.copy().loss is own
    finally:
        del LOSSES["odd"]


def described(tmp_path, **changes):
    """Return the path of a file whose description differs."""
    model = trained("binary_cross_entropy")
    about = {name: value for name, value in (model.description() | changes).items() if value != "left out"}
    io.write(tmp_path / "model", "model", json.loads(json.dumps(about)), dict(model.params))
    return tmp_path / "model"


def test_files_of_before_load(tmp_path):
    model = numbarnn.load(described(tmp_path, loss="left out", output_activation="left out"))
    assert model.loss is None
    assert_close(model.predict_proba(X), softmax(model.forward(X)[0]), 1e-14)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"loss": {"type": "huber", "delta": -1}},
            "description of the loss cannot be understood.*delta must be positive",
        ),
        ({"loss": {"type": "huber", "beta": 1}}, "description of the loss cannot be understood.*beta"),
        ({"loss": {}}, "description of the loss"),
        ({"loss": 5}, "description of the loss"),
        ({"loss": [1, 2]}, "description of the loss"),
        ({"loss": {"type": []}}, "description of the loss"),
        ({"output_activation": "tanh"}, "output_activation is 'tanh'"),
        ({"output_activation": {}}, "output_activation is {}"),
    ],
)
def test_descriptions_that_cannot_be(changes, message, tmp_path):
    with pytest.raises(ModelFileError, match=message):
        numbarnn.load(described(tmp_path, **changes))
