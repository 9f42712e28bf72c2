"""Many nets at once: each is trained as if it were alone, to the bit."""

import dataclasses
import signal
import types

import numba
import numpy as np
import pytest
from conftest import assert_same_bits

import numbarnn as nr
from numbarnn.data import ArraySource
from numbarnn.errors import CheckpointError, DivergedError, ShapeError
from numbarnn.kernels.cpu import recurrent
from numbarnn.kernels.cpu.calls import ABSOLUTE, OWN, Library
from numbarnn.kernels.cpu.simd import tile_table
from numbarnn.network.recorded import Programs
from numbarnn.optim import SGD, Adam, ExponentialDecay
from numbarnn.training import blocks
from numbarnn.training.callbacks import Callback, EarlyStopping
from numbarnn.training.fitting import Fitting
from numbarnn.training.many import fit_trainers
from numbarnn.training.progress import Progress
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


class Noted(Callback):
    """Notes how training begins and ends."""

    def __init__(self):
        self.seen = []

    def on_train_begin(self, trainer):
        self.seen.append("begin")

    def on_train_end(self, trainer, history):
        self.seen.append("end")


class Refusing(Noted):
    """Raises where training begins."""

    def on_train_begin(self, trainer):
        raise OSError("no")


def test_after_an_error_nets_are_as_of_their_last_step():
    """As after that of one net: without the average or the best weights in their place, and without an end of training."""
    options = {
        "loss": "mse",
        "epochs": 50,
        "batch_size": 8,
        "average": 0.5,
        "validation": 0.2,
        "patience": 40,
        "verbose": 0,
    }
    models, single, (x, y) = nets(), nets()[1], task()
    with pytest.raises(DivergedError, match=r"step [0-9]{2,}") as together:
        nr.fit_many(models, (x, y), optimizer=[SGD(0.01), SGD(2.0), SGD(0.01)], **options)
    with pytest.raises(DivergedError) as alone:
        single.fit(x, y, optimizer=SGD(2.0), **options)
    assert str(together.value) == f"models[1]: {alone.value}"
    assert_same_bits(models[1].params.flat, single.params.flat)
    trainers = [Trainer(model, "mse") for model in nets(2)]
    callbacks = [[Noted()], [Refusing()]]
    with pytest.raises(OSError, match="no"):
        fit_trainers(trainers, [ArraySource(x, y)] * 2, 1, callbacks=callbacks, verbose=0)
    assert callbacks[0][0].seen == ["begin"]
    assert callbacks[1][0].seen == []


@pytest.mark.parametrize("together", [True, False])
def test_others_go_on_without_a_net_that_is_not_needed(together):
    x, y = task()
    rates, lengths = [0.01, 1e30, 0.01], None if together else 5 + np.arange(37) % 2
    source = ArraySource(x, y, batch_size=8, lengths=lengths)
    trainers, alone = (
        [Trainer(model, "mse", SGD(rate)) for model, rate in zip(nets(), rates, strict=True)] for _ in "ab"
    )
    found = fit_trainers(trainers, [source] * 3, 2, needed=[True, False, True], name=None, verbose=0)
    with pytest.raises(DivergedError) as raised:
        alone[1].fit(source, 2, verbose=0)
    assert (type(found[1]), str(found[1])) == (DivergedError, str(raised.value))
    own = [alone[index].fit(source, 2, verbose=0) for index in (0, 2)]
    models = [[trainer.model for trainer in some[::2]] for some in (trainers, alone)]
    assert_as_alone(models[0], found[::2], models[1], own)
    assert_same_bits(trainers[1].model.params.flat, alone[1].model.params.flat)
    again = [Trainer(model, "mse", SGD(rate)) for model, rate in zip(nets(), rates, strict=True)]
    with pytest.raises(DivergedError, match=r"^loss") as raised:
        fit_trainers(again, [source] * 3, 2, name=None, verbose=0)
    assert raised.value.net == 1


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


def test_nets_whose_epoch_was_whole_are_not_interrupted(monkeypatch):
    monkeypatch.setattr(blocks, "SECONDS", 0.0)
    monkeypatch.setattr(Programs, "run", interrupting(Programs.run, 4))
    sources, models, single = [task(37), task(9), task(37)], nets(), nets()[1]
    options = {"loss": "mse", "epochs": 1, "batch_size": 8, "verbose": 0}
    with pytest.warns(UserWarning, match="interrupted after steps 2 to 4"):
        histories = nr.fit_many(models, sources, validation=task(5), **options)
    assert [history.stopped for history in histories] == ["interrupted", "epochs", "interrupted"]
    assert ["val_loss" in history.records[0] for history in histories] == [False, True, False]
    own = single.fit(*sources[1], validation=task(5), **options)
    assert_as_alone(models[1:2], histories[1:2], [single], [own])


def test_steps_that_were_done_are_counted_whatever_interrupts_them(monkeypatch):
    monkeypatch.setattr(blocks, "SECONDS", 0.0)
    calls, run = [], Programs.run

    def interrupted(*arguments):
        run(*arguments)
        calls.append(None)
        if len(calls) == 2:
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(Programs, "run", interrupted)
    (x, y), single = task(), nets()[0]
    trainers = [Trainer(model, "mse") for model in nets()]
    with pytest.raises(KeyboardInterrupt):
        fit_trainers(trainers, [ArraySource(x, y, batch_size=8)] * 3, 1, verbose=0)
    assert [(trainer.step, trainer.passes) for trainer in trainers] == [(2, 2)] * 3

    class AfterTwo(Callback):
        def on_batch_end(self, trainer, loss):
            return trainer.step == 2

    single.fit(x, y, loss="mse", epochs=1, batch_size=8, callbacks=[AfterTwo()], verbose=0)
    assert_same_bits(trainers[0].model.params.flat, single.params.flat)


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


@dataclasses.dataclass(frozen=True)
class Scaled(nr.losses.PointwiseLoss):
    """A loss whose option neither its repr nor == tell."""

    q: float | list[float] = dataclasses.field(default=0.5, repr=False, compare=False)

    @staticmethod
    def term(y, t, q):
        d = y - t
        return q * d * d, (q + q) * d


def test_losses_are_told_apart_by_all_that_they_have():
    losses = [Scaled(1.0), Scaled(100.0), Scaled([3.0]), Scaled(1.0), Scaled(100.0)]
    assert losses[0] == losses[1]
    assert repr(losses[0]) == repr(losses[1])
    options = {"epochs": 1, "batch_size": 16, "verbose": 0}
    models, alone = nets(5), nets(5)
    own = [model.fit(*task(), loss=loss, **options) for model, loss in zip(alone, losses, strict=True)]
    assert_as_alone(models, nr.fit_many(models, task(), loss=losses, **options), alone, own)


@dataclasses.dataclass(frozen=True)
class Damped(SGD):
    """An optimizer with a factor that == does not tell."""

    factor: float = dataclasses.field(default=1.0, compare=False)

    def coefficients(self, step, learning_rate):
        return super().coefficients(step, self.factor * learning_rate)


def test_optimizers_are_told_apart_by_all_that_they_have():
    optimizers, options = (
        [Damped(0.1, factor=factor) for factor in (1.0, 0.1)],
        {"loss": "mse", "epochs": 1, "verbose": 0},
    )
    models, alone = nets(2), nets(2)
    own = [model.fit(*task(), optimizer=each, **options) for model, each in zip(alone, optimizers, strict=True)]
    assert_as_alone(models, nr.fit_many(models, task(), optimizer=optimizers, **options), alone, own)


def test_nets_of_other_outputs_do_not_share_targets():
    layers = [[nr.LSTM(5, return_sequences=False), nr.Dense(size)] for size in (1, 1, 2, 2)]
    models = [nr.Model(own, input_size=2, seed=0) for own in layers]
    trainers, source = [Trainer(model, "mse") for model in models], ArraySource(*task())
    with pytest.raises(ShapeError, match=r"y must have shape \(32, 2\) .*, got \(32,\) \(net\[2\]\)"):
        fit_trainers(trainers, [source] * 4, 1, name="net", verbose=0)


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


@pytest.mark.parametrize(("pieces", "message"), [(99, "after 5 of 99 batches"), (5, "no valid step in 5 batches")])
def test_epochs_that_end_without_a_step_are_refused_as_of_one_net(pieces, message):
    fittings = [Fitting(Trainer(model, "mse"), ArraySource(*task(), batch_size=8), 1) for model in nets(2)]
    (block,), _ = blocks.make_blocks(fittings, 1)
    fittings[0].run.pieces = pieces
    progress = Progress(0, None, "samples", 1)
    _, failed = block.train_epoch(fittings, progress, lambda: False)
    assert list(failed) == fittings[:1]
    with pytest.raises(CheckpointError, match=message) as raised:
        fittings[0].train_epoch(progress, lambda: False)
    assert (type(failed[fittings[0]]), str(failed[fittings[0]])) == (CheckpointError, str(raised.value))


def test_ranks_train_alone():
    fitting = Fitting(Trainer(nets(1)[0], "mse"), ArraySource(*task()), 1)
    assert blocks.reason_alone(fitting) is None
    fitting.trainer.ranks = types.SimpleNamespace(size=2)
    assert blocks.reason_alone(fitting) == "comm"


def test_memory_has_no_copy_of_mapped_arrays(tmp_path, capsys):
    (x, y), reasons, of_tokens = task(), {}, [nr.OneHot(7), nr.LSTM(3, return_sequences=False), nr.Dense(1)]
    cases = (
        (x.astype(np.float32), y, None),
        (x, y, None),
        (np.asfortranarray(x, np.float32), y, None),
        (x.astype(np.float32), x.copy(), [nr.LSTM(3), nr.Dense(2)]),
        (TOKENS, y, of_tokens),
    )
    for number, (data, targets, layers) in enumerate(cases):
        np.save(tmp_path / f"x{number}.npy", data)
        np.save(tmp_path / f"y{number}.npy", targets)
        source = ArraySource(*(np.load(tmp_path / f"{key}{number}.npy", mmap_mode="r")[3:] for key in "xy"))
        (model,) = nets(1, layers, input_size=None if data is TOKENS else 2)
        reasons[number] = blocks.reason_alone(Fitting(Trainer(model, "mse"), source, 1))
    assert reasons[0] is None
    of_x = "a memory-mapped x that is not a C-contiguous array of float32, of which memory would have a copy"
    assert [reasons[number] for number in (1, 2, 4)] == [of_x] * 3
    assert reasons[3] == "a memory-mapped y of every step, of which memory would have a copy"
    source = ArraySource(np.load(tmp_path / "x1.npy", mmap_mode="r"), y)
    nr.fit_many(nets(2), source, loss="mse", epochs=1)
    assert f"2 of 2 nets are trained one after the other, because of {of_x}\n" in capsys.readouterr().err


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
