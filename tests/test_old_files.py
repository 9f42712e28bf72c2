"""Files that earlier versions wrote load, and give what they gave then."""

import importlib
import pathlib

import numpy as np
import pytest
from conftest import assert_close

import numbarnn

FILES = pathlib.Path(__file__).with_name("files")
X = np.random.default_rng(0).normal(size=(12, 6, 3))  # what they were trained on


def test_model():
    model = numbarnn.load(FILES / "model.safetensors")
    assert [type(layer).__name__ for layer in model.layers] == ["LSTM", "GRU", "Recurrent", "Dropout", "Dense"]
    assert_close(model.forward(X[:2])[0], np.load(FILES / "model.npy"), 1e-6)
    assert model.predict_proba(X[:2]).sum(axis=2).round(5).tolist() == [[1.0] * 6] * 2


def test_language_model():
    lm = numbarnn.load(FILES / "language.safetensors")
    assert lm.sample(8, prime="the cat", seed=1) == (FILES / "language.txt").read_text()


def test_classifier():
    net = numbarnn.load(FILES / "classifier.safetensors")
    assert_close(net.predict_proba(X[:3]), np.load(FILES / "classifier.npy"), 1e-6)
    assert net.optimizer == numbarnn.optim.Adam(0.01, (0.8, 0.9), 1e-7, 0.01)
    assert (net.patience, net.average.decay, net.schedule.steps, net.class_weight) == (3, 0.5, 2, {"a": 2.0})
    assert net.validation == 0.2
    net.fit(X, ["a", "b"] * 6)  # settings are whole


def test_forecaster():
    forecaster = numbarnn.load(FILES / "forecaster.safetensors")
    found = forecaster.predict()
    assert_close(found.to_numpy(), np.load(FILES / "forecaster.npy"), 1e-6)
    assert str(found.index[0]) == "2024-01-06 01:00:00+01:00"


@pytest.mark.parametrize(
    "path",
    [
        "data.datasets.Samples", "forecasting.forecaster.Forecaster", "language.characters.CharLM", "language.model.LanguageModel",
        "losses.cross_entropy.SoftmaxCrossEntropy", "losses.distributions.Gaussian", "losses.distributions.NegativeBinomial",
        "losses.distributions.Quantile", "losses.regression.Huber", "optim.averages.EMA", "optim.optimizers.Adam",
        "optim.optimizers.RMSprop", "optim.optimizers.SGD", "optim.optimizers.StepRecord", "optim.schedules.Cosine",
        "training.callbacks.EarlyStopping", "training.history.History",
    ],
)  # fmt: skip
def test_classes_that_pickles_name(path):
    """Pickles name modules, which files of `save` do not: what users pickle with estimators and models stays where it was."""
    module, _, name = path.rpartition(".")
    assert getattr(importlib.import_module(f"numbarnn.{module}"), name).__name__ == name
