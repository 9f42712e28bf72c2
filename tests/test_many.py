"""Many nets at once: each is trained as if it were alone, to the bit."""

import signal

import numpy as np
import pytest
from conftest import assert_same_bits

import numbarnn as nr
from numbarnn.data import ArraySource
from numbarnn.errors import CheckpointError, DivergedError
from numbarnn.optim import SGD
from numbarnn.training.callbacks import EarlyStopping

COUNT = 3


def nets(count=COUNT, layers=None, **options):
    layers = layers or [nr.LSTM(5, return_sequences=False), nr.Dense(1)]
    return [nr.Model(layers, **{"input_size": 2, "n_threads": 1, "seed": seed, **options}) for seed in range(count)]


def task(samples=37, steps=6, seed=0):
    x = np.random.default_rng(seed).standard_normal((samples, steps, 2))
    return x, x[:, :, 0].sum(axis=1)


def without_times(history):
    return [{key: value for key, value in record.items() if key != "seconds"} for record in history.records]


def assert_as_alone(models, histories, alone, own):
    for model, history, single, expected in zip(models, histories, alone, own, strict=True):
        assert_same_bits(model.params.flat, single.params.flat)
        np.testing.assert_equal(without_times(history), without_times(expected))
        assert (history.stopped, history.best) == (expected.stopped, expected.best)
        assert model.loss == single.loss


OPTIONS = {
    "plain": {},
    "own data, rates, seeds": {
        "sources": [task(37, 6, 1), task(20, 6, 2), task(41, 7, 3)], "learning_rate": [0.1, 0.01, 0.02], "seeds": [3, 4, 3],
    },
    "early stopping": {"validation": 0.3, "patience": [1, 2, EarlyStopping(1, restore_best=False)], "epochs": 8},
    "average, clipping": {"average": [0.8, None, 0.9], "clip_norm": 0.1, "clip_value": [0.01, None, 1.0], "validation": task(9)},
}  # fmt: skip


@pytest.mark.parametrize("name", OPTIONS)
def test_each_net_learns_what_it_learns_alone(name):
    options = {"epochs": 3, "batch_size": 8, "loss": "mse", **OPTIONS[name]}
    sources = options.pop("sources", task())
    models, alone = nets(), nets()
    histories = nr.fit_many(models, sources, **options, n_threads=2, verbose=0)
    own = []
    for index, model in enumerate(alone):
        given = {key: value[index] if isinstance(value, list) else value for key, value in options.items()}
        given["seed"] = given.pop("seeds", 0)
        x, y = sources[index] if isinstance(sources, list) else sources
        own.append(model.fit(x, y, **given, verbose=0))
    assert_as_alone(models, histories, alone, own)


def test_a_run_goes_on_from_its_folder(tmp_path):
    options = {"loss": "mse", "batch_size": 8, "seeds": [0, 1, 2], "validation": 0.2, "verbose": 0}
    whole, models = nets(), nets()
    expected = nr.fit_many(whole, task(), epochs=4, **options)
    nr.fit_many(nets(), task(), epochs=2, checkpoint=tmp_path / "run", **options)
    histories = nr.fit_many(models, task(), epochs=4, checkpoint=tmp_path / "run", resume=True, **options)
    assert_as_alone(models, histories, whole, expected)
    with pytest.raises(FileExistsError):
        nr.fit_many(nets(), task(), epochs=4, checkpoint=tmp_path / "run", **options)
    with pytest.raises(CheckpointError, match="seed"):
        nr.fit_many(nets(), task(), epochs=4, checkpoint=tmp_path / "run", resume=True, **{**options, "seeds": 7})


def test_one_that_diverges_is_named_and_the_others_are_whole():
    models, y = nets(), task()[1]
    optimizers = [SGD(0.01), SGD(1e30), SGD(0.01)]
    with pytest.raises(DivergedError, match=r"^models\[1\]: loss .* at step "):
        nr.fit_many(models, (task()[0], y * 1e6), loss="mse", optimizer=optimizers, epochs=50, verbose=0)
    assert all(np.isfinite(model.params.flat).all() for model in models)


def test_interrupted_nets_are_whole(monkeypatch):
    models, source, seen = nets(), ArraySource(*task(), batch_size=8), []
    batches = ArraySource.batches

    def interrupting(self, generator):
        for batch in batches(self, generator):
            seen.append(None)
            if len(seen) == 7:
                signal.raise_signal(signal.SIGINT)
            yield batch

    monkeypatch.setattr(ArraySource, "batches", interrupting)
    with pytest.warns(UserWarning, match="interrupted"):
        histories = nr.fit_many(models, source, loss="mse", epochs=9, verbose=0)
    assert {history.stopped for history in histories} == {"interrupted"}
    assert all(np.isfinite(model.params.flat).all() for model in models)


def test_one_line_an_epoch(capsys):
    nr.fit_many(nets(), task(), loss="mse", epochs=2, validation=0.2)
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("epoch")]
    assert len(lines) == 2
    assert lines[1].startswith("epoch 2/2  loss ")
    assert "val_loss" in lines[1]


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"models": []}, ValueError, "models must have at least one model"),
        ({"models": [1, 2]}, TypeError, r"models\[0\] must be a numbarnn.Model, got 1"),
        ({"models": nets(1) + nets(1, [nr.Dense(1)])}, ValueError, r"one architecture: layers of models\[1\] is \[Dense"),
        ({"models": nets(1) * 2}, ValueError, r"models\[1\] is an object that models has before"),
        ({"sources": [task()] * 2}, ValueError, "sources must be one value for all nets, or a list with one for each of 3, got a"),
        ({"seeds": [1]}, ValueError, "seeds must be one value for all nets, or a list"),
        ({"learning_rate": [0.1, -1.0, 0.1]}, ValueError, r"models\[1\]: learning_rate must not be negative"),
        ({"patience": [None, 2, None]}, ValueError, r"models\[1\]: patience, early stopping on val_loss, needs validation data"),
        ({"sources": 3}, TypeError, r"models\[0\]: sources must be arrays"),
    ],
)  # fmt: skip
def test_messages(change, error, message):
    given = {"models": nets(), "sources": task(), "loss": "mse", "epochs": 1, "verbose": 0, **change}
    with pytest.raises(error, match=message):
        nr.fit_many(**given)


def test_predictions_are_those_of_each_net():
    models, x = nets(), task()[0]
    for found, model in zip(nr.predict_many(models, x, kind="forward", n_threads=2), models, strict=True):
        assert_same_bits(found, model.forward(x)[0])
    own = [x[:4], x[4:9], x]
    for found, model, values in zip(nr.predict_many(models, own, loss="mse"), models, own, strict=True):
        assert_same_bits(found, model.predict(values, loss="mse"))
    with pytest.raises(ValueError, match=r"models\[0\]: loss must be given"):
        nr.predict_many(models, x)
