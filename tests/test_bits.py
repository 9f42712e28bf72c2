"""Results to the bit, as hashes: what a change of the code's structure must not change.

Hashes are the same for all processors with fused multiply-add, whatever their vectors, and belong to the C library, whose functions
float64 calls. Where there are none for the target at hand the tests are skipped; ``python tests/test_bits.py`` writes them into
tests/bits.json. Where a change of bits is meant, they are written anew, and the commit says why.
"""

import functools
import hashlib
import json
import pathlib
import platform

import cuda_device  # noqa: F401 - before Numba
import numpy as np
import pytest
from conftest import DTYPES, RECORDS, normal, random_state, recurrent_model

import numbarnn as nr
from numbarnn import decoding, parallel
from numbarnn.kernels.cpu import simd
from numbarnn.losses import LOSSES, SegmentCrossEntropy, SoftmaxCrossEntropy
from numbarnn.optim import OPTIMIZERS

FILE = pathlib.Path(__file__).with_name("bits.json")
LENGTHS = {"full": None, "ragged": [5, 0, 2, 7]}
SAMPLES, STEPS, CLASSES = 4, 7, 5


def target() -> str:
    """Return what the bits of this machine depend on."""
    _, fused = simd.target()
    libc = "-".join(platform.libc_ver()) or platform.system()
    return f"{platform.machine()}, {'fma' if fused else 'no fma'}, {libc}"


def digest(arrays) -> str:
    """Return a hash of dtypes, shapes and bytes."""
    code = hashlib.sha256()
    for array in arrays:
        array = np.ascontiguousarray(array)
        code.update(f"{array.dtype.str} {array.shape}".encode())
        code.update(array.tobytes())
    return code.hexdigest()[:16]


def passes(model, x, lengths):
    """Return outputs, final states, and all gradients of random ones."""
    state = random_state(model, len(x))
    outputs, final, pullback = model.vjp(x, state, lengths)
    found = [outputs, model.forward(x, state, lengths)[0], *(array for entry in final for array in entry)]
    dfinal = tuple(tuple(normal(7, *array.shape) for array in entry) for entry in final)
    gradients = pullback(normal(8, *outputs.shape), dfinal)
    found += [*gradients.params.values(), *(() if gradients.x is None else (gradients.x,))]
    return [*found, *(array for entry in gradients.state for array in entry)]


def features(dtype, size=3):
    return normal(1, SAMPLES, STEPS, size, dtype=dtype)


def tokens():
    return np.random.default_rng(2).integers(0, CLASSES, (SAMPLES, STEPS))


def model_of(layers, inputs=None, dtype="float32", n_threads=1):
    """Return a model with drawn weights: those of orthogonal matrices follow the processor, by LAPACK's kernels."""
    model = nr.Model(layers, inputs, dtype, n_threads=n_threads)
    model.set_flat(0.4 * normal(3, model.params.size, dtype=dtype))
    return model


def of_cell(record, hidden, dtype, lengths, n_threads):
    return passes(recurrent_model(record, 3, hidden, dtype, n_threads=n_threads), features(dtype), lengths)


LAYERS = {
    "dense": (lambda: [nr.Dense(37)], 3),
    "stack": (lambda: [nr.LSTM(9, 2, bidirectional=True), nr.Dense(CLASSES)], 3),
    "tall": (lambda: [nr.GRU(6, 3), nr.RNN(35, return_sequences=False), nr.Dense(2)], 3),
    "single bias": (lambda: [nr.GRU(6, bias="single", reset_after=False), nr.IndRNN(4, bias=False)], 3),
    "fixed gates": (lambda: [nr.LSTM(6, peepholes=True, fix={"forget": 1.0}), nr.GRU(6, fix={"reset": 0.5})], 3),
    "one-hot": (lambda: [nr.OneHot(CLASSES), nr.GRU(6, bidirectional=True), nr.Dense(CLASSES)], None),
    "one-hot dense": (lambda: [nr.OneHot(CLASSES), nr.Dense(9)], None),
    "embedding": (lambda: [nr.Embedding(CLASSES, 4), nr.LSTM(6), nr.Dense(CLASSES)], None),
    "pool mean": (lambda: [nr.RNN(6), nr.Pool("mean"), nr.Dense(2)], 3),
    "pool max": (lambda: [nr.RNN(6), nr.Pool("max"), nr.Dense(2)], 3),
    "pool last": (lambda: [nr.RNN(6, bidirectional=True), nr.Pool("last")], 3),
}


def of_layers(layers, inputs, dtype, lengths, n_threads):
    model = model_of(layers(), inputs, dtype, n_threads)
    return passes(model, tokens() if inputs is None else features(dtype), lengths)


def of_bags(dtype, lengths, n_threads):
    x = np.random.default_rng(2).integers(-1, CLASSES, (SAMPLES, STEPS, 2))
    return passes(model_of([nr.EmbeddingBag(CLASSES, 4, 2), nr.GRU(3)], None, dtype, n_threads), x, lengths)


OPTIONS = {
    "softmax_cross_entropy": [{}, {"class_weight": (1.0, 2.0, 0.5, 1.0, 3.0), "label_smoothing": 0.1}],
    "binary_cross_entropy": [{}, {"pos_weight": 3.0}],
    "huber": [{"delta": 0.3}],
}
TARGETS = {
    "softmax_cross_entropy": tokens,
    "ctc": lambda: [[1, 2], [], [3], [4, 4, 1]],
    "binary_cross_entropy": lambda: tokens()[..., None] > np.arange(CLASSES),
    "negative_binomial": lambda: np.random.default_rng(5).poisson(3, (SAMPLES, STEPS, CLASSES)),
}


def of_loss(name, dtype, lengths, n_threads):
    model = model_of([nr.GRU(6), nr.Dense(CLASSES * LOSSES[name]().outputs_per_target)], 3, dtype, n_threads)
    target = TARGETS.get(name, lambda: normal(5, SAMPLES, STEPS, CLASSES))()
    found = []
    for options in OPTIONS.get(name, [{}]):
        for reduction in ("mean", "sum"):
            for weight in (None, np.array([1.0, 2.0, 0.5, 0.0])):
                loss = LOSSES[name](**options)
                given = model.loss_and_grad(
                    features(dtype), target, loss, lengths, reduction=reduction, sample_weight=weight
                )
                found += [given[0], *given[1].values()]
    return found


def of_segments(dtype, lengths, n_threads):
    model = model_of([nr.GRU(6), nr.Dense(CLASSES)], 3, dtype, n_threads)
    codes = np.tile([3, 2, -1, 9, 8, 8, 1], (SAMPLES, 1))
    value, gradients = model.loss_and_grad(features(dtype), codes, SegmentCrossEntropy(), lengths)
    return [value, *gradients.values()]


def of_optimizer(name, dtype, lengths, n_threads):
    """Train with everything that changes a step."""
    found = []
    for options in ({}, {"clip_norm": 0.1, "clip_value": 0.05, "accumulate": 2}, {"average": 0.5, "tbptt": 3}):
        layers = [nr.LSTM(6, 2, dropout=0.3, recurrent_dropout=0.2), nr.Dropout(0.2), nr.Dense(CLASSES)]
        model = model_of(layers, 3, dtype, n_threads)
        given = {"lengths": lengths, "optimizer": name, "batch_size": 2, "epochs": 3, "verbose": 0, "seed": 4}
        given["learning_rate"] = OPTIMIZERS[name]().learning_rate
        history = model.fit(features(dtype), tokens(), **given, **options)
        found += [model.params.flat, history["loss"], history["gradient_norm"], history["update_ratio"]]
    return found


TEXT = "the quick brown fox jumps over the lazy dog. " * 8


def of_language(cell, dtype, lengths, n_threads):
    lm = nr.CharLM(cell, 12, 2, dtype=dtype, n_threads=n_threads).fit(TEXT, 2, verbose=0)
    text = (
        lm.sample(60, prime="the ", temperature=0.7, seed=1) + lm.sample(40, top_k=3, seed=2) + lm.sample(40, top_p=0.8)
    )
    return [lm.model.params.flat, np.frombuffer(text.encode(), np.uint8), lm.score(TEXT[:99]).bits]


def of_steps(record, dtype, lengths, n_threads):
    model = recurrent_model(record, 3, 6, dtype, n_threads=n_threads)
    x, stream = features(dtype)[0], model.stream()
    step, weights, state = nr.step_function(model)
    found = []
    for x_t in x:
        y = np.zeros(6, dtype)
        step(weights, x_t, state, y)
        found += [stream.step(x_t).copy(), y]
    return [*found, *(array for entry in stream.snapshot() for array in entry)]


def of_probabilities(dtype, lengths, n_threads):
    model = model_of([nr.GRU(6), nr.Dense(CLASSES)], 3, dtype, n_threads)
    softmax = model.predict_proba(features(dtype), lengths=lengths)
    model.loss = LOSSES["binary_cross_entropy"]()
    return [softmax, model.predict_proba(features(dtype), lengths=lengths), SoftmaxCrossEntropy.name.encode()]


def of_decoding(dtype, lengths, n_threads):
    """Return label sequences, alignments and probabilities; rounded: NumPy's exp and log follow the processor."""
    logits = normal(6, SAMPLES, STEPS, CLASSES, dtype=dtype)
    beams = decoding.beam_search(logits, lengths, beam_width=4, n_best=2, n_threads=n_threads)
    strings = [[1], [], [2], [3, 3]]
    found = [np.array([*hypothesis.labels, hypothesis.log_probability]) for beam in beams for hypothesis in beam]
    found += decoding.occupancy(logits, strings, lengths)
    return [*(values.round(9) for values in found), *(a.path for a in decoding.align(logits, strings, lengths))]


# {name: function of (dtype, lengths, n_threads)}
CASES = {f"cell {name}, H = {hidden}": functools.partial(of_cell, record, hidden)
         for name, record in RECORDS.items() for hidden in (5, 33)}  # fmt: skip
CASES |= {f"layers {name}": functools.partial(of_layers, *arguments) for name, arguments in LAYERS.items()}
CASES |= {f"loss {name}": functools.partial(of_loss, name) for name in LOSSES}
CASES |= {f"optimizer {name}": functools.partial(of_optimizer, name) for name in OPTIMIZERS}
CASES |= {f"language {name}": functools.partial(of_language, name) for name in nr.language.CELLS}
CASES |= {f"steps {name}": functools.partial(of_steps, record) for name, record in RECORDS.items()}
CASES |= {"bags": of_bags, "segments": of_segments, "probabilities": of_probabilities, "decoding": of_decoding}


def found(name, dtype) -> str:
    """Return the hash of a case; the number of threads must not show."""
    codes = []
    for n_threads in (1, 2):
        codes.append(digest(array for lengths in LENGTHS.values() for array in CASES[name](dtype, lengths, n_threads)))
    assert codes[0] == codes[1], "the bits depend on the number of threads"
    return codes[0]


@pytest.fixture(scope="module")
def pinned():
    known = json.loads(FILE.read_text())
    if target() not in known:
        pytest.skip(f"no hashes for the target {target()}; python tests/test_bits.py writes them")
    return known[target()]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", CASES)
def test_bits(name, dtype, pinned, monkeypatch):
    monkeypatch.setattr(parallel, "GRAIN", 1)
    assert found(name, dtype) == pinned[name][dtype]


def test_hashes_are_of_the_cases(pinned):
    assert set(pinned) == set(CASES)


if __name__ == "__main__":
    parallel.GRAIN = 1
    known = json.loads(FILE.read_text()) if FILE.exists() else {}
    known[target()] = {name: {dtype: found(name, dtype) for dtype in DTYPES} for name in CASES}
    FILE.write_text(json.dumps(known, indent=0, sort_keys=True) + "\n")
    print(f"{len(CASES)} cases of {target()} written to {FILE}")
