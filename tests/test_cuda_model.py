"""Models on a device against the same models on the CPU, which the naive equations judge, and against those equations."""

import importlib.util
import pickle

import cuda_device
import numpy as np
import pytest
from conftest import RECORDS, assert_close, assert_same_bits, flatten, naive_run, normal, random_state, recurrent_model

import numbarnn as nr
from numbarnn import optim
from numbarnn.backends import device as devices
from numbarnn.backends.cuda import batch
from numbarnn.backends.cuda import optim as updates
from numbarnn.backends.cuda import recurrent as passes
from numbarnn.cells import CELLS
from numbarnn.data import Batch
from numbarnn.data.batches import ArraySource
from numbarnn.errors import DeviceError, DivergedError, ShapeError
from numbarnn.kernels.cuda import driver, memory, persistent, quads
from numbarnn.kernels.cuda.groups import RunSizes
from numbarnn.kernels.cuda.memory import Copies

# Largest deviation from the CPU, relative to the largest value of the array.
TOLERANCE = {"float32": 1e-5, "float64": 1e-12}
LENGTHS = [4, 0, 2]


def on_device(model):
    """Return a copy of a model on the device."""
    twin = type(model)(model.layers, model.input_size, model.dtype, model.seed, device="cuda")
    twin.set_flat(model.params.flat)
    return twin


def compare_passes(model, x, lengths=None):
    """Compare outputs, states, and all gradients of `Model.vjp`."""
    twin, tolerance = on_device(model), TOLERANCE[model.dtype.name]
    state = random_state(model, len(x))
    (outputs, final, pull), (found, ends, pull_twin) = (m.vjp(x, state, lengths) for m in (model, twin))
    assert_close(found, outputs, tolerance, "outputs")
    for index, (end, expected) in enumerate(zip(flatten(ends), flatten(final), strict=True)):
        assert_close(end, expected, tolerance, f"final state {index}")
    doutputs = normal(11, *outputs.shape, dtype=model.dtype)
    dfinal = tuple(tuple(normal(12, *array.shape, dtype=model.dtype) for array in entry) for entry in final)
    gradients, of_twin = pull(doutputs, dfinal), pull_twin(doutputs, dfinal)
    for name, expected in gradients.params.items():
        assert_close(of_twin.params[name], expected, tolerance, name)
    if gradients.x is not None:
        assert_close(of_twin.x, gradients.x, tolerance, "x")
    for index, (start, expected) in enumerate(zip(flatten(of_twin.state), flatten(gradients.state), strict=True)):
        assert_close(start, expected, tolerance, f"initial state {index}")


# Passes


@pytest.mark.parametrize("record", RECORDS.values(), ids=RECORDS)
def test_every_cell_equals_the_cpu(record):
    compare_passes(recurrent_model(record, 2, 3), normal(1, 3, 4, 2), LENGTHS)


@pytest.mark.parametrize("name", CELLS)
def test_cells_in_float32_equal_the_naive_equations(name):
    model = recurrent_model(CELLS[name](), 2, 3, "float32")
    x = normal(1, 2, 5, 2, dtype="float32")
    expected, _ = naive_run(model, x)
    outputs, _ = on_device(model).forward(x)
    assert_close(outputs, expected, TOLERANCE["float32"])
    compare_passes(model, x)


@pytest.mark.parametrize("path", ["in registers", "partly in registers", "several samples a block", "step by step"])
@pytest.mark.parametrize("name", ["LSTM", "GRU", "PeepholeLSTM"])
def test_all_paths_of_the_time_loop(name, path, monkeypatch):
    if path == "several samples a block":
        monkeypatch.setattr(passes, "ENOUGH", 1)
    if path == "step by step":
        monkeypatch.setattr(persistent, "resident_for", lambda *sizes: 0)
    hidden = 6 if path == "partly in registers" else 3
    if not cuda_device.REAL:
        held = persistent.resident_for(len(CELLS[name].gates) * hidden, hidden, 8)
        assert held == (0 if path == "step by step" else 4)
    compare_passes(recurrent_model(CELLS[name](), 2, hidden), normal(1, 4, 3, 2), [1, 3, 3, 2])


@pytest.mark.parametrize("name", ["LSTM", "GRU"])
def test_rows_past_the_registers_in_both_directions_under_a_mask(name, monkeypatch):
    """Rows that end within four values, several samples a block, ended ones among them, and dropout on the way into the product."""
    monkeypatch.setattr(passes, "ENOUGH", 1)
    hidden = 85 if cuda_device.REAL else 6
    assert persistent.resident_for(3 * hidden, hidden, 8) == (64 if cuda_device.REAL else 4)
    layer = getattr(nr, name)(hidden, bidirectional=True, recurrent_dropout=0.5)
    x, y, lengths = normal(1, 5, 3, 2), normal(2, 5, 3, 2), [1, 3, 0, 3, 2]
    models = [nr.Model([layer, nr.Dense(2)], 2, "float64", 1, device=device) for device in ("cpu", "cuda")]
    losses = [m.fit(x, y, loss="mse", epochs=2, lengths=lengths, batch_size=5, verbose=0)["loss"] for m in models]
    assert_close(models[1].params.flat, models[0].params.flat, TOLERANCE["float64"])
    assert_close(losses[1], losses[0], TOLERANCE["float64"])


@pytest.mark.parametrize("hidden", [1, 4, 6])
@pytest.mark.parametrize("back", [False, True])
def test_rows_are_packed_by_fours(hidden, back):
    """Thread j multiplies row j, on the way back column j % H of its gate."""
    weights = normal(1, 3, hidden, hidden)
    sizes = RunSizes(hidden, 4, 2, 4, 0, 0, False)
    rows = persistent.recurrent_rows(memory.Arena(), memory.upload(weights), sizes, 1, 3 * hidden, 2, 4, back)
    padded = -(-hidden // 4) * 4
    expected = np.zeros((3 * hidden, padded))
    expected[:, :hidden] = (weights.swapaxes(1, 2) if back else weights).reshape(3 * hidden, hidden)
    found = rows.weights.get().reshape(padded // 4, 3 * hidden, 4)
    assert_same_bits(found.swapaxes(0, 1).reshape(3 * hidden, padded), expected)
    # Of what the products read, every sample and every gate begins at a multiple of four values.
    assert rows[1:] == (1, 3 * hidden, 2, padded, padded * (4 if back else 1))
    assert persistent.shared_values(sizes, rows) == 2 * (rows.wide + 4 * hidden)


@pytest.mark.skipif(cuda_device.REAL, reason="a fault on a GPU")
def test_a_read_of_four_values_between_quads_is_found():
    with pytest.raises(ValueError, match="no multiple of 4"):
        quads.load4(np.zeros(8), 2)
    with pytest.raises(ValueError, match="no multiple of 4"):
        quads.store4(np.zeros(8), 3, (0.0, 0.0, 0.0, 0.0))


@pytest.mark.parametrize("lengths", [None, LENGTHS])
@pytest.mark.parametrize("merge", ["concat", "sum"])
def test_stacks_in_both_directions(lengths, merge):
    model = recurrent_model(CELLS["GRU"](), 2, 3, num_layers=2, bidirectional=True, merge=merge)
    compare_passes(model, normal(1, 3, 4, 2), lengths)


@pytest.mark.parametrize("merge", ["concat", "sum"])
def test_last_outputs_and_bias_options(merge):
    layer = nr.LSTM(3, bidirectional=True, return_sequences=False, bias="single", merge=merge)
    compare_passes(nr.Model([layer, nr.Dense(2, bias=False)], 2, "float64"), normal(1, 3, 4, 2), LENGTHS)


@pytest.mark.parametrize("lengths", [None, LENGTHS])
def test_activations(lengths):
    layers = [nr.Activation("tanh"), nr.Dense(3, activation="relu"), nr.Dense(2, activation="logistic")]
    compare_passes(nr.Model([*layers, nr.Activation("logistic")], 2, "float64"), normal(1, 3, 4, 2), lengths)


def test_reverse_layers():
    layers = [nr.GRU(3, reverse=True), nr.LSTM(2, reverse=True, return_sequences=False)]
    compare_passes(nr.Model(layers, 2, "float64"), normal(1, 3, 4, 2), LENGTHS)


@pytest.mark.skipif(not cuda_device.REAL, reason="sizes for a GPU")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    ("samples", "steps", "hidden"), [(1, 2000, 3), (5, 1, 100), (5, 20, 100), (130, 7, 257), (64, 50, 128), (3, 9, 1)]
)
@pytest.mark.parametrize("name", CELLS)
def test_odd_sizes(name, samples, steps, hidden, dtype):
    compare_passes(recurrent_model(CELLS[name](), 5, hidden, dtype), normal(1, samples, steps, 5, dtype=dtype))


def test_repeats_give_the_same_bits():
    model = on_device(recurrent_model(CELLS["LSTM"](), 3, 5, "float32", num_layers=2))
    x, target = normal(1, 4, 3, 3, dtype="float32"), normal(2, 4, 3, 5, dtype="float32")
    first = model.loss_and_grad(x, target, "mse")
    for _ in range(200 if cuda_device.REAL else 1):
        again = model.loss_and_grad(x, target, "mse")
        assert again[0] == first[0]
        for name, gradient in first[1].items():
            assert_same_bits(again[1][name], gradient, name)


def test_what_was_in_memory_before_does_not_matter():
    model = on_device(recurrent_model(CELLS["LSTM"](), 2, 3, "float32"))
    x, target = normal(1, 3, 4, 2), normal(2, 3, 4, 3)
    first = model.loss_and_grad(x, target, "mse", LENGTHS)
    arena = batch._arena
    arena.reset()
    arena.block.copy_to_device(np.full(arena.nbytes, 0xFF, np.uint8))  # NaN in every dtype
    again = model.loss_and_grad(x, target, "mse", LENGTHS)
    assert again[0] == first[0]
    for name, gradient in first[1].items():
        assert_same_bits(again[1][name], gradient, name)


# Training

TOKENS = np.random.default_rng(3).integers(0, 5, (6, 4))
NUMBERS, CLASSES = normal(4, 6, 4, 2), np.random.default_rng(5).integers(0, 3, (6, 4))
SOME = [4, 3, 0, 1, 4, 2]
RUNS = {
    "tokens, clipped by norm": (
        [nr.OneHot(5), nr.LSTM(3), nr.Dense(5)], None, TOKENS, TOKENS, {"clip_norm": 0.1, "optimizer": "rmsprop"},
    ),
    "embedding, dropout everywhere, average": (
        [
            nr.Embedding(5, 2), nr.Dropout(0.3, same_over_time=True),
            nr.GRU(3, 2, dropout=0.4, recurrent_dropout=0.3, return_sequences=False), nr.Dropout(0.3), nr.Dense(5),
        ],
        None, TOKENS, TOKENS[:, 0], {"clip_value": 0.01, "average": 0.9},
    ),
    "lengths, accumulated": (
        [nr.LSTM(3, bidirectional=True, recurrent_dropout=0.5), nr.Pool("mean"), nr.Dense(1, activation="tanh")], 2,
        NUMBERS, NUMBERS[:, 0, 0],
        {"loss": "mse", "lengths": SOME, "accumulate": 2, "optimizer": nr.optim.SGD(0.1, momentum=0.9, nesterov=True)},
    ),
    "chunks of two phases": (
        [nr.GRU(3, reset_after=False, recurrent_dropout=0.5), nr.Dense(2)], 2, NUMBERS, NUMBERS,
        {"loss": "huber", "tbptt": 2, "optimizer": "adagrad"},
    ),
    "without a product": (
        [nr.IndRNN(3), nr.Pool("max"), nr.Dense(2)], 2, NUMBERS, NUMBERS[:, 0] > 0,
        {"loss": "binary_cross_entropy", "optimizer": "adamw"},
    ),
    "label strings": (
        [nr.RNN(3), nr.Dense(4)], 2, NUMBERS, [[1, 2], [3], [], [2], [1, 1], [3]], {"loss": "ctc", "lengths": SOME},
    ),
    "bags, weights of classes and samples": (
        [nr.EmbeddingBag(5, 2, bag=2), nr.RNN(3), nr.Dense(3)], None, np.stack([TOKENS, TOKENS - 1], axis=2), CLASSES,
        {
            "loss": nr.losses.SoftmaxCrossEntropy(class_weight=(1.0, 2.0, 0.5), label_smoothing=0.1),
            "sample_weight": np.arange(6) / 4,
        },
    ),
}  # fmt: skip


@pytest.mark.parametrize("run", RUNS.values(), ids=RUNS)
def test_training_equals_the_cpu(run):
    layers, size, x, y, options = run
    models = [nr.Model(layers, size, "float64", 1, device=device) for device in ("cpu", "cuda")]
    held = (x[:2], y[:2], options["lengths"][:2]) if "lengths" in options else (x[:2], y[:2])
    histories = [m.fit(x, y, epochs=2, batch_size=3, validation=held, verbose=0, **options) for m in models]
    assert_close(models[1].params.flat, models[0].params.flat, TOLERANCE["float64"])
    for column in ("loss", "val_loss", "gradient_norm", "clipped_norm", "clipped", "update_ratio", "learning_rate"):
        assert_close(histories[1][column], histories[0][column], TOLERANCE["float64"], column)


def test_states_carry_over_on_the_device():
    trainers = [
        nr.Trainer(nr.Model([nr.OneHot(5), nr.GRU(3), nr.Dense(5)], dtype="float64", device=device))
        for device in ("cpu", "cuda")
    ]
    tokens = np.random.default_rng(1).integers(0, 5, (3, 9))
    for first in (0, 4):
        batch = Batch(tokens[:, first : first + 4], tokens[:, first + 1 : first + 5], keep_state=True)
        losses = [trainer.train_batch(batch) for trainer in trainers]
        assert_close(losses[1], losses[0], TOLERANCE["float64"])
        trainers[1].state = trainers[1].state  # through the host and back
    for found, expected in zip(flatten(trainers[1].state), flatten(trainers[0].state), strict=True):
        assert_close(found, expected, TOLERANCE["float64"])


def test_nothing_but_losses_comes_back(monkeypatch):
    monkeypatch.setattr(updates, "READ_EVERY", 4)
    model = nr.Model([nr.OneHot(5), nr.LSTM(3), nr.Dense(5)], device="cuda")
    trainer = nr.Trainer(model)
    source = nr.data.TokenStream(np.arange(4 * 6 + 1) % 5, batch_size=1, seq_length=4)
    trainer.fit(source, 1, verbose=0)
    copies, memory = Copies.to_host, trainer.arena.nbytes
    trainer.fit(source, 1, verbose=0)
    # 6 steps: two readings, of losses and norms; the ratio of an update; and the weights at the end.
    assert Copies.to_host - copies == 2 * 2 + 1 + 1
    assert trainer.arena.nbytes == memory


@pytest.mark.filterwarnings("ignore:.*overflow")
def test_divergence_leaves_the_weights_of_the_step_before():
    x, y = np.ones((12, 2, 1)), np.zeros((12, 2, 1))
    y[7] = 1e30  # its square is beyond float32
    model = nr.Model([nr.RNN(2), nr.Dense(1)], 1, device="cuda")
    trainer = nr.Trainer(model, "mse")
    twin = nr.Trainer(nr.Model([nr.RNN(2), nr.Dense(1)], 1), "mse")
    with pytest.raises(DivergedError, match="step 8 of epoch 1"):
        trainer.fit(ArraySource(x, y, batch_size=1, shuffle=False), 1, verbose=0)
    assert trainer.step == 7
    twin.fit(ArraySource(x[:7], y[:7], batch_size=1, shuffle=False), 1, verbose=0)
    assert_close(model.params.flat, twin.model.params.flat, TOLERANCE["float32"])


class Leap(optim.Schedule):
    """A rate of 1, and at the sixth step one that makes the weights infinite."""

    def factor(self, epoch, step):
        return 1e30 if step == 5 else 1.0


@pytest.mark.filterwarnings("ignore:.*overflow")
def test_a_step_to_infinity_is_undone():
    x, y = np.ones((12, 2, 1)), np.zeros((12, 2, 1))
    model, twin = (nr.Model([nr.RNN(2), nr.Dense(1)], 1, device=device) for device in ("cuda", "cpu"))
    source = ArraySource(x, y, batch_size=1, shuffle=False)
    for net in (model, twin):
        trainer = nr.Trainer(net, "mse", optim.Adam(1e-3), schedule=Leap(), average=0.5)
        with pytest.raises(DivergedError, match=r"step 6 of epoch 1, learning rate 1e\+27"):
            trainer.fit(source, 1, verbose=0)
        assert trainer.step == 5
    assert_close(model.params.flat, twin.params.flat, TOLERANCE["float32"])
    assert np.isfinite(trainer.average).all()


def test_what_a_run_is_given_is_checked():
    """The kernels take addresses: a short array would be read past its end."""
    model = nr.Model([nr.RNN(2), nr.Dense(1)], 1, device="cuda")
    trainer = nr.Trainer(model, "mse", average=0.5, accumulate=2)
    x, y = np.ones((3, 2, 1)), np.zeros((3, 2, 1))
    trainer.train_batch(Batch(x, y))
    n = model.params.flat.size
    for name, value, message in (
        ("arrays", [np.zeros(n - 1, np.float32)] * 2, r"arrays\[0\] must have shape"),
        ("arrays", [np.zeros(n)] * 2, r"arrays\[0\] must have dtype float32"),
        ("arrays", [np.zeros(n, np.float32)], "arrays must be 2"),
        ("average", np.zeros(n + 1, np.float32), "average must have shape"),
        ("state", ((np.zeros((1, 3, 5), np.float32),),), r"expected .* = \(1, 3, 2\), got \(1, 3, 5\)"),
        ("state", (np.zeros(3),), r"state\[0\] must be a tuple"),
    ):
        with pytest.raises((ShapeError, TypeError), match=message):
            setattr(trainer, name, value)
    with pytest.raises(ShapeError, match="gradient must have shape"):
        trainer.pending.gradient = np.zeros(n - 1, np.float32)
    with pytest.raises(ShapeError, match="has 3 samples, the batch before had 1"):
        trainer.evaluate([Batch(x[:1], y[:1]), Batch(x, y, keep_state=True)])


def test_a_run_goes_on_from_its_checkpoint(tmp_path):
    def model():
        return nr.Model([nr.OneHot(5), nr.LSTM(3), nr.Dense(5)], seed=2, device="cuda")

    options = {"batch_size": 2, "verbose": 0, "average": 0.5, "accumulate": 2, "checkpoint_every": 1}
    whole = model()
    expected = whole.fit(TOKENS, TOKENS, epochs=2, **options, checkpoint=tmp_path / "a")
    part = model()
    part.fit(TOKENS, TOKENS, epochs=1, **options, checkpoint=tmp_path / "b")
    rest = model()
    found = rest.fit(TOKENS, TOKENS, epochs=2, **options, checkpoint=tmp_path / "b", resume=True)
    assert_same_bits(rest.params.flat, whole.params.flat)
    assert found["loss"] == expected["loss"]


# Models


def test_files_and_copies_know_no_device(tmp_path):
    model = nr.Model([nr.OneHot(5), nr.LSTM(3), nr.Dense(5)], device="cuda")
    model.fit(TOKENS, TOKENS, epochs=1, verbose=0)
    model.save(tmp_path / "m.safetensors")
    here = nr.load(tmp_path / "m.safetensors")
    assert here.device == "cpu"
    assert_close(here.forward(TOKENS)[0], model.forward(TOKENS)[0], TOLERANCE["float32"])
    there = nr.Model.load(tmp_path / "m.safetensors", device="cuda")
    for other in (there, model.copy(), pickle.loads(pickle.dumps(model))):
        assert other.device == "cuda"
        assert_same_bits(other.params.flat, model.params.flat)
    y, state = model.step(TOKENS[:1, 0])
    assert_close(y, here.step(TOKENS[:1, 0])[0], TOLERANCE["float32"])
    assert len(state) == 1


def test_bad_input_is_refused_as_on_the_cpu():
    model = nr.Model([nr.LSTM(2)], 3, device="cuda")
    for arguments in ((np.zeros((2, 3, 4)),), (np.zeros((2, 3)),), (np.zeros((2, 3, 3)), None, [1])):
        with pytest.raises(ShapeError):
            model.forward(*arguments)
    with pytest.raises(ShapeError, match="state"):
        model.forward(np.zeros((2, 3, 3)), model.initial_state(1))


def test_out_of_memory_says_what_to_do(monkeypatch):
    model = nr.Model([nr.LSTM(2)], 3, device="cuda")
    if not cuda_device.REAL:

        def refuse(nbytes):
            raise driver.fault(f"allocation of {nbytes} bytes", "CUDA_ERROR_OUT_OF_MEMORY")

        monkeypatch.setattr(memory, "_allocate", refuse)
    for kind in (DeviceError, MemoryError):
        with pytest.raises(kind, match=f"allocation of {2**52} bytes failed.*use a smaller batch_size"):
            memory.empty(2**50, np.float32)
    monkeypatch.undo()
    assert model.forward(np.zeros((1, 2, 3)))[0].shape == (1, 2, 2)  # and go on


@pytest.mark.filterwarnings("ignore:.*(invalid value|overflow)")
def test_a_trainer_goes_on_after_divergence():
    x, y = np.ones((2, 2, 1)), np.zeros((2, 2, 1))
    trainer = nr.Trainer(nr.Model([nr.RNN(2), nr.Dense(1)], 1, device="cuda"), "mse")
    with pytest.raises(DivergedError):
        trainer.train_batch(Batch(x, np.full_like(y, np.inf)))
    before = trainer.model.params.flat.copy()
    loss, _ = trainer.train_batch(Batch(x, y))
    assert np.isfinite(loss)
    assert (trainer.model.params.flat != before).any()


@pytest.mark.parametrize("device", ["gpu", "cuda:1", None])
def test_unknown_devices(device):
    with pytest.raises(ValueError, match="device must be one of 'cpu', 'cuda'"):
        nr.Model([nr.LSTM(2)], 3, device=device)


def test_a_device_that_is_not_there(monkeypatch):
    monkeypatch.delenv("NUMBA_ENABLE_CUDASIM", raising=False)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(DeviceError, match=r"numba-cuda is not installed.*numbarnn\[cuda13\]"):
        nr.Model([nr.LSTM(2)], 3, device="cuda")
    assert devices.check_device("cpu") == "cpu"


# What most users touch


def test_language_models_learn_and_are_scored_there():
    text = "abcab" * 8
    models = [nr.CharLM("gru", 3, 1, device=device, dtype="float64") for device in ("cpu", "cuda")]
    for lm in models:
        lm.fit(text, 1, batch_size=2, seq_length=5, verbose=0)
    assert_close(models[1].history["val_loss"], models[0].history["val_loss"], TOLERANCE["float64"])
    assert models[1].score("cabcab").nats == pytest.approx(models[0].score("cabcab").nats, rel=1e-12)


@pytest.mark.parametrize(
    "kind", [nr.SequenceRegressor, nr.SequenceClassifier, nr.SegmentClassifier, nr.TemporalClassifier]
)
def test_estimators_take_a_device(kind, tmp_path):
    x = normal(7, 6, 4, 2)
    y = {
        nr.SequenceRegressor: x[:, 0, 0], nr.SequenceClassifier: list("ababab"),
        nr.SegmentClassifier: [list("abab")] * 6, nr.TemporalClassifier: ["ab", "a", "b", "ba", "", "a"],
    }[kind]  # fmt: skip
    nets = [kind("rnn", 3, epochs=1, random_state=1, device=device, dtype="float64") for device in ("cpu", "cuda")]
    for net in nets:
        net.fit(list(x), y)
    assert nets[1].model_.device == "cuda"
    assert_close(nets[1].model_.params.flat, nets[0].model_.params.flat, TOLERANCE["float64"])
    expected = nets[0].predict(list(x))
    nets[1].save(tmp_path / "net")
    for net in (nets[1], pickle.loads(pickle.dumps(nets[1])), nr.load(tmp_path / "net", device="cuda")):
        assert net.model_.device == "cuda"
        if kind is nr.SequenceRegressor:
            assert_close(net.predict(list(x)), expected, TOLERANCE["float64"])
        else:
            assert [list(p) for p in net.predict(list(x))] == [list(p) for p in expected]
    assert nr.load(tmp_path / "net").model_.device == "cpu"


@pytest.mark.parametrize(
    ("y", "segments"),
    [(list("ababab"), None), ([["a", "b"], ["b"], [], ["a"], ["b", "a"], ["a"]], [[0, 0, 1, 1], [-1, 0, 0, 0], [-1] * 4,
     [0] * 4, [0, 1, 1, 1], [-1, -1, -1, 0]])],
    ids=["samples", "segments"],
)  # fmt: skip
def test_segments_are_classified_there(y, segments):
    """Labels of samples and of segments: a loss of means over steps, and its gradient."""
    x, nets = list(normal(8, 6, 4, 2)), []
    for device in ("cpu", "cuda"):
        net = nr.SegmentClassifier("rnn", 3, epochs=2, batch_size=4, random_state=1, device=device, dtype="float64")
        nets.append(net.fit(x, y, segments=segments))
    assert_close(nets[1].model_.params.flat, nets[0].model_.params.flat, TOLERANCE["float64"])
    found, expected = (net.predict(x, segments=segments) for net in reversed(nets))
    assert [list(labels) for labels in found] == [list(labels) for labels in expected]
