"""Many nets at once: each is trained as if it were alone, to the bit."""

import dataclasses
import signal

import numba
import numpy as np
import pytest
from conftest import assert_same_bits

import numbarnn as nr
from numbarnn.data import ArraySource
from numbarnn.errors import CheckpointError, DivergedError
from numbarnn.kernels.cpu import recurrent
from numbarnn.kernels.cpu.calls import ABSOLUTE, OWN, Library
from numbarnn.kernels.cpu.simd import tile_table
from numbarnn.network.recorded import Programs
from numbarnn.optim import SGD, Adam, ExponentialDecay
from numbarnn.training import blocks
from numbarnn.training.callbacks import Callback, EarlyStopping
from numbarnn.training.fitting import Fitting
from numbarnn.training.steps import Steps
from numbarnn.training.trainer import Trainer

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


def interrupting(function, count):
    """Return a function that raises Ctrl-C before its call of that number."""
    calls = []

    def called(*arguments, **options):
        calls.append(None)
        if len(calls) == count:
            signal.raise_signal(signal.SIGINT)
        return function(*arguments, **options)

    return called


@pytest.mark.parametrize("together", [True, False])
def test_interrupted_nets_are_whole_and_go_on(together, monkeypatch, tmp_path):
    x, y = task()
    source = ArraySource(x, y, batch_size=8, lengths=None if together else np.arange(37) % 6)
    options = {"loss": "mse", "epochs": 3, "validation": (x[:9], y[:9]), "average": 0.9, "verbose": 0}
    whole, models = nets(), nets()
    expected = nr.fit_many(whole, source, **options)
    monkeypatch.setattr(blocks, "SECONDS", 0.0)  # one step a call
    owner, name, count = (Programs, "run", 8) if together else (Steps, "_train_chunk", 18)
    with monkeypatch.context() as patch:
        patch.setattr(owner, name, interrupting(getattr(owner, name), count))
        with pytest.warns(UserWarning, match="interrupted after steps [0-9]+ to [0-9]+"):
            histories = nr.fit_many(models, source, checkpoint=tmp_path, **options)
    assert {history.stopped for history in histories} == {"interrupted"}
    assert all(np.isfinite(model.params.flat).all() for model in models)
    again = nr.fit_many(models, source, checkpoint=tmp_path, resume=True, **options)
    assert_as_alone(models, again, whole, expected)


def test_nets_of_a_block_end_with_the_step_at_hand(monkeypatch):
    monkeypatch.setattr(blocks, "SECONDS", 0.0)
    monkeypatch.setattr(Programs, "run", interrupting(Programs.run, 3))
    models, alone = nets(), nets()
    with pytest.warns(UserWarning, match="interrupted after steps 3 to 3 of the nets"):
        nr.fit_many(models, task(), loss="mse", epochs=3, batch_size=8, verbose=0)

    class AfterThree(Callback):
        def on_batch_end(self, trainer, loss):
            return trainer.step == 3

    for model, single in zip(models, alone, strict=True):
        single.fit(*task(), loss="mse", epochs=3, batch_size=8, callbacks=[AfterThree()], verbose=0)
        assert_same_bits(model.params.flat, single.params.flat)


X, VALUES = task()[0], task()[0].cumsum(axis=1)
TOKENS = np.random.default_rng(2).integers(0, 7, X.shape[:2])
CLASSES = np.random.default_rng(1).integers(0, 3, X.shape[:2])
CASES = {
    "stack, dropout": (
        [nr.LSTM(5, num_layers=2, dropout=0.3, recurrent_dropout=0.2), nr.Dense(3)], CLASSES,
        {"loss": "softmax_cross_entropy", "optimizer": Adam(0.01, amsgrad=True)},
    ),
    "both directions": (
        [
            nr.LSTM(4, bidirectional=True), nr.LSTM(3, bidirectional=True, merge="sum", return_sequences=False),
            nr.Dropout(0.3), nr.Dense(3),
        ],
        np.eye(3)[CLASSES[:, 0]],
        {"loss": "softmax_cross_entropy", "optimizer": "adamw", "clip_norm": 0.1, "average": 0.9, "validation": 0.2},
    ),
    "second product": (
        [nr.GRU(6, reset_after=False, recurrent_dropout=0.3), nr.Activation("tanh"), nr.Dense(2, activation="relu", bias=False)],
        VALUES, {"loss": "huber", "optimizer": "rmsprop", "clip_value": 1e-3},
    ),
    "tokens": (
        [nr.OneHot(7), nr.LSTM(5, bidirectional=True), nr.Dense(3)], CLASSES,
        {"loss": "softmax_cross_entropy", "validation": 0.3},
    ),
    "embedding": ([nr.Embedding(7, 3), nr.LSTM(5), nr.Dense(2)], VALUES, {"loss": "mse", "clip_norm": 0.5}),
    "dense layer of tokens": ([nr.OneHot(7), nr.Dense(2)], VALUES, {"loss": "mse", "optimizer": "sgd"}),
    "diagonal weights": (
        [nr.Dropout(0.2, same_over_time=True), nr.IndRNN(6, reverse=True), nr.Dense(2)], VALUES,
        {"loss": "mse", "optimizer": SGD(0.1, momentum=0.9), "schedule": ExponentialDecay(0.7)},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_steps_without_python_are_those_with_it(name, monkeypatch):
    layers, y, options = CASES[name]
    options = {"epochs": 2, "batch_size": 8, **options}
    of_tokens = isinstance(layers[0], (nr.OneHot, nr.Embedding))
    x, size = (TOKENS, {"input_size": None}) if of_tokens else (X, {})
    models, alone = nets(layers=layers, **size), nets(layers=layers, **size)
    own = [model.fit(x, y, seed=index, **options, verbose=0) for index, model in enumerate(alone)]
    monkeypatch.setattr(Steps, "_train_chunk", None)  # there are no others
    monkeypatch.setattr(Steps, "evaluate", None)
    histories = nr.fit_many(models, (x, y), seeds=[0, 1, 2], **options, n_threads=2, verbose=0)
    assert_as_alone(models, histories, alone, own)


@pytest.mark.parametrize("rest", [1, 2, 3, 4])
def test_few_samples_of_a_cell_without_a_recurrent_product(rest, monkeypatch):
    """Products of x are then taken for some steps at once, by a kernel whose address is in a table of its own."""
    options = {"loss": "mse", "epochs": 1, "batch_size": 8, "validation": task(rest), "verbose": 0}
    models, alone = (nets(2, [nr.IndRNN(4, return_sequences=False), nr.Dense(1)]) for _ in "ab")
    own, found, call = [model.fit(*task(8 + rest), **options) for model in alone], [], Library.call

    def spying(library, kernel, *arguments):
        if kernel is recurrent.forward:
            _, weights, _, _, _, activations, *_ = arguments
            known = weights.table.size > tile_table(np.dtype(np.float32)).size
            found.append((activations.preactivations.shape[0] > 1, known))
        return call(library, kernel, *arguments)

    monkeypatch.setattr(Library, "call", spying)
    assert_as_alone(models, nr.fit_many(models, task(8 + rest), **options), alone, own)
    assert found == [(False, False), (True, True), (True, True)]


@pytest.mark.parametrize("change", [lambda x: x[:-1], lambda x: x.astype(float), lambda x: x[:, ::-1]])
def test_memory_that_is_not_what_a_program_reads_is_refused(change, monkeypatch):
    def other(*arguments):
        samples, weights = made(*arguments)
        return dataclasses.replace(samples, inputs=change(samples.inputs)), weights

    made, models = blocks.samples_of, nets()
    monkeypatch.setattr(blocks, "samples_of", other)
    with pytest.raises(RuntimeError, match="region 7 of the program of net 0 is 1776 bytes of float32, got"):
        nr.fit_many(models, task(), loss="mse", epochs=1, verbose=0)
    for model, single in zip(models, nets(), strict=True):
        assert_same_bits(model.params.flat, single.params.flat)


def test_what_a_kernel_raises_arises():
    @numba.njit(nogil=True, error_model="numpy")
    def refuse(values, limit):
        if values[0] > limit:
            raise IndexError("too large")

    library, values = Library(), np.array([1.0])
    words = library.call(refuse, values, 2.0)
    assert words[3:] == [ABSOLUTE, values.ctypes.data, 1, -1, np.array(2.0).view(np.int64)]
    entry, program, starts = library.entry(), np.array([1, *words]), np.zeros((1, 1), np.int64)
    table, strides, bases = np.zeros((1, OWN), np.int64), np.zeros(OWN, np.int64), np.zeros(OWN, np.int64)
    given = library.arguments, program, starts, table, strides, bases
    entry(*given, np.zeros(1, np.int64))
    values[0] = 3.0
    with pytest.raises(IndexError, match="too large"):
        entry(*given, np.zeros(1, np.int64))
    with pytest.raises(TypeError, match=r"must be a bool, int or float, got .* of type float32"):
        library.call(refuse, values, np.float32(2))
    with pytest.raises(ValueError, match=r"C-contiguous, aligned array, got strides \(-8,\)"):
        library.call(refuse, np.zeros(3)[::-1], 2.0)


def test_nets_that_are_trained_one_after_the_other_are_told(capsys):
    x, y = task()
    sources = [ArraySource(x, y, batch_size=8), ArraySource(x, y, lengths=np.arange(37) % 7, batch_size=8), (x, y)]
    models, alone = nets(), nets()
    histories = nr.fit_many(models, sources, loss="mse", epochs=2, batch_size=8)
    own = [
        model.fit(source, loss="mse", epochs=2, verbose=0) for model, source in zip(alone[:2], sources, strict=False)
    ]
    own.append(alone[2].fit(x, y, loss="mse", epochs=2, batch_size=8, verbose=0))
    assert_as_alone(models, histories, alone, own)
    assert "1 of 3 nets are trained one after the other, because of lengths\n" in capsys.readouterr().err


def test_few_large_nets_on_many_threads_are_trained_one_after_the_other():
    layers = [nr.LSTM(64), nr.Dense(2)]
    x = np.zeros((64, 100, 2))
    fittings = [Fitting(Trainer(model, "mse"), ArraySource(x, x), 1) for model in nets(2, layers)]
    together, alone = blocks.make_blocks(fittings, 3)
    assert [block.fittings for block in together] == [fittings]
    assert not alone
    assert blocks.make_blocks(fittings, 4)[0] == []
    small = [Fitting(Trainer(model, "mse"), ArraySource(x[:4, :5], x[:4, :5]), 1) for model in nets(2, layers)]
    assert len(blocks.make_blocks(small, 4)[0]) == 1


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
        ({"learning_rate": [0.1, -1.0, 0.1]}, ValueError, r"learning_rate must not be negative, got -1.0 \(models\[1\]\)"),
        ({"patience": [None, 2, None]}, ValueError, r"patience, early stopping .* \(models\[1\]\)"),
        ({"sources": 3}, TypeError, r"sources must be arrays .* \(models\[0\]\)"),
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
    with pytest.raises(ValueError, match=r"loss must be given, .* \(models\[0\]\)"):
        nr.predict_many(models, x)
