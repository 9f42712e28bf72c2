"""The protocol of backends: a backend in plain NumPy passes for a device, and finds what the CPU finds."""

import naive
import numpy as np
import pytest
import reference_backend
from conftest import RECORDS, TOLERANCE, assert_close, flatten, normal, random_state, recurrent_model

import numbarnn as nr
from numbarnn.backends import cpu
from numbarnn.backends.device import register_backend
from numbarnn.data import Batch
from numbarnn.losses import LOSSES, SegmentCrossEntropy, SoftmaxCrossEntropy
from numbarnn.optim import OPTIMIZERS

LENGTHS = {"full": None, "ragged": [3, 0, 4]}
SAMPLES, STEPS, CLASSES = 3, 4, 3
ragged = pytest.mark.parametrize("lengths", LENGTHS.values(), ids=LENGTHS)


@pytest.fixture(autouse=True)
def reference():
    register_backend("reference", reference_backend)
    yield
    register_backend("reference", None)


def on_reference(model):
    """Return the model with the same parameters on the reference backend."""
    other = nr.Model(model.layers, model.input_size, model.dtype, model.seed, device="reference")
    return other.load_state_dict(model.state_dict())


def compare(model, x, lengths=None):
    """Compare outputs, states and all gradients with those of the CPU."""
    state = random_state(model, len(x))
    found, expected = (m.vjp(x, state, lengths) for m in (on_reference(model), model))
    assert_close(found[0], expected[0], TOLERANCE["float64"])
    doutputs = normal(3, *expected[0].shape)
    dfinal = tuple(tuple(normal(4, *array.shape) for array in entry) for entry in expected[1])
    gradients = [pullback(doutputs, dfinal) for pullback in (found[2], expected[2])]
    for name, values in gradients[1].params.items():
        assert_close(gradients[0].params[name], values, TOLERANCE["float64"])
    pairs = [(found[1], expected[1]), (gradients[0].state, gradients[1].state)]
    for one, other in pairs:
        for array, values in zip(flatten(one), flatten(other), strict=True):
            assert_close(array, values, TOLERANCE["float64"])
    if gradients[1].x is not None:
        assert_close(gradients[0].x, gradients[1].x, TOLERANCE["float64"])


@ragged
@pytest.mark.parametrize("record", RECORDS.values(), ids=RECORDS)
def test_cells(record, lengths):
    compare(recurrent_model(record, 2, 3), normal(1, SAMPLES, STEPS, 2), lengths)


LAYERS = {
    "dense": (lambda: [nr.Dense(3), nr.Dense(2, bias=False)], "features"),
    "activations": (
        lambda: [
            nr.Activation("tanh"),
            *(nr.Dense(3, activation=name) for name in naive.ACTIVATIONS),
            nr.Activation("logistic"),
        ],
        "features",
    ),
    "stack": (lambda: [nr.LSTM(3, 2, bidirectional=True), nr.Dense(CLASSES)], "features"),
    "sum": (lambda: [nr.LSTM(3, 2, bidirectional=True, merge="sum"), nr.Dense(CLASSES)], "features"),
    "sum of the last": (lambda: [nr.GRU(2, 2, bidirectional=True, merge="sum", return_sequences=False)], "features"),
    "last": (lambda: [nr.GRU(2, bidirectional=True, return_sequences=False)], "features"),
    "reverse": (lambda: [nr.LSTM(3, 2, reverse=True), nr.GRU(2, reverse=True, return_sequences=False)], "features"),
    "single bias": (lambda: [nr.GRU(2, bias="single", reset_after=False), nr.IndRNN(2, bias=False)], "features"),
    "one-hot": (lambda: [nr.OneHot(5), nr.GRU(2), nr.Dense(2)], "tokens"),
    "one-hot dense": (lambda: [nr.OneHot(5), nr.Dense(2)], "tokens"),
    "embedding": (lambda: [nr.Embedding(5, 2), nr.RNN(2)], "tokens"),
    "bag": (lambda: [nr.EmbeddingBag(5, 2, 3), nr.RNN(2)], "bags"),
    "mean": (lambda: [nr.RNN(2), nr.Pool("mean")], "features"),
    "max": (lambda: [nr.RNN(2), nr.Pool("max"), nr.Dense(2)], "features"),
    "last step": (lambda: [nr.RNN(2), nr.Pool("last")], "features"),
}


@ragged
@pytest.mark.parametrize("name", LAYERS)
def test_layers(name, lengths):
    layers, kind = LAYERS[name]
    generator = np.random.default_rng(1)
    x = {
        "features": normal(1, SAMPLES, STEPS, 2),
        "tokens": generator.integers(0, 5, (SAMPLES, STEPS)),
        "bags": generator.integers(-1, 5, (SAMPLES, STEPS, 3)),
    }[kind]
    compare(nr.Model(layers(), 2 if kind == "features" else None, "float64", n_threads=1), x, lengths)


def test_every_layer_has_passes():
    assert set(reference_backend.LAYERS) == set(cpu.LAYERS)
    # Others enter losses too: benchmarks, whose functions tests call.
    assert set(reference_backend.LOSSES) == {name for name in cpu.losses.LOSSES if hasattr(nr.losses, name)}


def targets(name):
    """Return a target that fits a loss."""
    generator = np.random.default_rng(2)
    if name == "softmax_cross_entropy":
        return generator.integers(0, CLASSES, (SAMPLES, STEPS))
    if name == "soft":
        return generator.dirichlet(np.ones(CLASSES), (SAMPLES, STEPS))
    if name == "ctc":
        return [[1], [], [2, 1]]
    if name == "segment_cross_entropy":
        return np.array([[1, 0, 5, -1], [-1, 3, 2, 2], [5, 4, 4, 4]])
    if name == "negative_binomial":
        return generator.poisson(2, (SAMPLES, STEPS, CLASSES))
    return generator.random((SAMPLES, STEPS, CLASSES))


@ragged
@pytest.mark.parametrize("name", [*LOSSES, "segment_cross_entropy", "soft"])
def test_losses(name, lengths):
    others = {
        "segment_cross_entropy": SegmentCrossEntropy(),
        "soft": SoftmaxCrossEntropy((1.0, 2.0, 0.5), label_smoothing=0.1),
    }
    loss = others[name] if name in others else LOSSES[name]()
    model = nr.Model([nr.RNN(2), nr.Dense(CLASSES * loss.outputs_per_target)], 2, "float64", n_threads=1)
    x, tolerance = normal(1, SAMPLES, STEPS, 2), 1e-9 if name == "ctc" else TOLERANCE["float64"]
    weight = np.array([0.5, 2.0, 1.0])
    for reduction in ("mean", "sum", "none"):
        found, expected = (
            m.loss_and_grad(x, targets(name), loss, lengths, reduction=reduction, sample_weight=weight)
            for m in (on_reference(model), model)
        )
        assert_close(found[0], expected[0], tolerance)
        for key, values in expected[1].items():
            assert_close(found[1][key], values, tolerance)


@pytest.mark.parametrize("accumulate", [1, 2])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_training(name, accumulate):
    layers = [nr.LSTM(2, 2, dropout=0.3, recurrent_dropout=0.2), nr.Dropout(0.3), nr.Dense(2)]
    model = nr.Model([nr.Dropout(0.2, same_over_time=True), *layers], 2, "float64")
    options = {"clip_norm": 0.1, "clip_value": 0.05, "average": 0.5, "accumulate": accumulate, "tbptt": 2, "seed": 3}
    trainers = [nr.Trainer(m, "mse", name, **options) for m in (on_reference(model), model)]
    for k in range(3):
        batch = Batch(normal(k, SAMPLES, STEPS, 2), normal(k + 9, SAMPLES, STEPS, 2), LENGTHS["ragged"])
        losses = [trainer.train_batch(batch) for trainer in trainers]
        assert_close(losses[0], losses[1], 1e-9)
    for trainer in trainers:
        trainer.flush()
    assert_close(trainers[0].model.params.flat, trainers[1].model.params.flat, 1e-9)
    assert_close(trainers[0].average, trainers[1].average, 1e-9)
    source = [Batch(normal(5, SAMPLES, STEPS, 2), normal(6, SAMPLES, STEPS, 2), keep_state=True)] * 2
    assert_close(trainers[0].evaluate(source), trainers[1].evaluate(source), 1e-9)


def test_sampling():
    texts = {}
    for device in ("cpu", "reference"):
        lm = nr.CharLM("gru", 4, dtype="float64", device=device).fit(
            "abcd" * 30, 1, batch_size=2, seq_length=10, verbose=0
        )
        texts[device] = [
            lm.sample(20, temperature=0),
            lm.sample(20, "ab", temperature=0.8, seed=1),
            lm.sample(20, top_k=2, seed=2),
            lm.sample(20, top_p=0.7, seed=3),
            lm.sample(20, stop="c", seed=4),
            *lm.sample_many(2, 5),
        ]
    assert texts["reference"] == texts["cpu"]


def test_predictions_and_files(tmp_path):
    model = nr.Model([nr.GRU(2), nr.Dense(2)], 2, "float64")
    x, other = normal(1, SAMPLES, STEPS, 2), on_reference(model)
    assert_close(
        other.predict_proba(x, lengths=LENGTHS["ragged"]), model.predict_proba(x, lengths=LENGTHS["ragged"]), 1e-12
    )
    assert_close(other.predict_proba(x), naive.softmax(model.forward(x)[0]), 1e-12)
    other.save(tmp_path / "model.safetensors")
    for device in ("cpu", "reference"):
        assert_close(nr.load(tmp_path / "model.safetensors", device).forward(x)[0], model.forward(x)[0], 1e-12)


def test_what_a_backend_lacks_is_named(monkeypatch):
    monkeypatch.delitem(reference_backend.LAYERS, "Recurrent")
    with pytest.raises(TypeError, match=r"LSTM has no passes in .*; it has those of Activation, Dense"):
        nr.Model([nr.LSTM(2)], 2, device="reference")
    with pytest.raises(ValueError, match="device must be one of 'cpu', 'cuda', got 'tpu'"):
        nr.Model([nr.Dense(2)], 2, device="tpu")
    with pytest.raises(ValueError, match="'cpu' is a device of this package"):
        register_backend("cpu", reference_backend)
