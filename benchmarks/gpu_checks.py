"""What the CUDA half computes, judged by the CPU: for benchmarks/gpu.py."""

import contextlib
import functools
import math
import tempfile
from pathlib import Path

import numpy as np
from steps import note

import numbarnn as nr
from numbarnn.cells import CELLS

# Judgements

# Largest deviation from the CPU in float64 that passes, relative to the largest value of an array.
LIMIT = 1e-5


def deviation(found, right) -> float:
    """Return the largest deviation, relative to the largest value; infinity of another shape or of anything not finite.

    ``max(0.0, nan)`` is 0.0 in Python, so a maximum over deviations passes what was never computed.
    """
    found, right = np.asarray(found, np.float64), np.asarray(right, np.float64)
    if found.shape != right.shape or not (np.isfinite(found).all() and np.isfinite(right).all()):
        return math.inf
    return float(np.abs(found - right).max(initial=0.0) / max(np.abs(right).max(initial=0.0), 1e-30))


def judge(found, right, passed=True, **row):
    """Note the worst deviation of named arrays, and whether it passes; every name of either side must be on both."""
    deviations = {
        name: deviation(found[name], right[name]) if name in found and name in right else math.inf
        for name in {**right, **found}
    } or {"nothing": math.inf}
    worst = max(deviations, key=deviations.get)
    note(**row, worst=worst, deviation=deviations[worst], limit=LIMIT, ok=bool(passed and deviations[worst] <= LIMIT))


def same_bits(results, others) -> bool:
    """Return whether named arrays are equal, bit for bit."""
    return results.keys() == others.keys() and all(
        np.asarray(values).tobytes() == np.asarray(others[name]).tobytes() for name, values in results.items()
    )


@contextlib.contextmanager
def poisoned(apart=False):
    """Fill all memory that is handed out on the card with NaN (-1 among integers), so that what no kernel writes is seen.

    With `apart`, every buffer is an allocation of its own, so that a sanitizer sees what leaves it.
    """
    from numbarnn.kernels.cuda.memory import Arena, Buffer

    new, lend = Buffer.new, Arena.empty

    def poison(buffer):
        return buffer.set(np.full(buffer.size * buffer.dtype.itemsize, 0xFF, np.uint8).view(buffer.dtype))

    def empty(arena, size, dtype):
        if not apart:
            return poison(lend(arena, size, dtype))
        arena.spare.append(Buffer.new(size, dtype))
        return arena.spare[-1]

    Buffer.new, Arena.empty = staticmethod(lambda size, dtype: poison(new(size, dtype))), empty
    try:
        if not np.isnan(Arena().empty(3, np.float32).get()).all():
            raise RuntimeError("memory was not poisoned")
        yield
    finally:
        Buffer.new, Arena.empty = new, lend


# Checks


def models(layers, size, seed=1):
    """Return a model on the CPU in float64 and one on the card in float32, of the same weights."""
    here = nr.Model(layers, size, "float64", seed, n_threads=1)
    there = nr.Model(layers, size, "float32", seed, device="cuda")
    weights = here.params.flat.astype(np.float32)
    here.set_flat(weights.astype(np.float64))
    there.set_flat(weights)
    return here, there


def results(model, x, y, loss="softmax_cross_entropy", lengths=None):
    """Return outputs, final states, loss and all gradients of a batch, by name."""
    outputs, final, pull = model.vjp(x, lengths=lengths)
    doutputs = np.random.default_rng(1).standard_normal(outputs.shape).astype(np.float32)
    pulled, (value, gradients) = pull(doutputs), model.loss_and_grad(x, y, loss, lengths)
    found = {"outputs": outputs, "loss": value}
    for kind, states in (("final", final), ("gradient of the initial", pulled.state)):
        found |= {f"{kind} state {n}, {m}": array for n, entry in enumerate(states) for m, array in enumerate(entry)}
    if pulled.x is not None:
        found["gradient of x"] = pulled.x
    found |= {f"vjp of {name}": array for name, array in pulled.params.items()}
    return found | {f"gradient of {name}": array for name, array in gradients.items()}


def compare(layers, size, x, y, loss="softmax_cross_entropy", lengths=None, **row):
    """Judge `results` of the card in poisoned memory, and that they are the same bits in memory as it is."""
    here, there = models(layers, size)
    right = results(here, x, y, loss, lengths)
    with poisoned():
        found = results(there, x, y, loss, lengths)
    same = same_bits(found, results(there, x, y, loss, lengths))
    judge(found, right, same, **row, same_bits=same)


def batch(samples, steps, size, classes=5, ragged=False):
    """Return x, classes and lengths, one of them whole and one zero where there are that many."""
    generator = np.random.default_rng(samples * steps)
    x = generator.standard_normal((samples, steps, size)).astype(np.float32)
    y, lengths = generator.integers(0, classes, (samples, steps)), None
    if ragged:
        lengths = generator.integers(0, steps + 1, samples)
        lengths[:2] = (steps, 0)[: len(lengths)]
    return x, y, lengths


def _smoke_memory():
    from numbarnn.backends import cuda
    from numbarnn.core.signal import Signal

    for samples, steps, size in ((1, 1, 1), (3, 5, 7), (70, 33, 65)):
        x, _, lengths = batch(samples, steps, size, ragged=True)
        with poisoned():
            call = cuda.batch.Call(np.dtype(np.float32), arena=cuda.batch.take_arena())
            there = cuda.batch.new_vector(x.size, np.float32).set(x)
            rows = cuda.batch.from_rows(call, *cuda.batch.to_rows(call, x, Signal(size), lengths))
            found = {"copies": there.get(), "zeros": call.zeros(x.size).get(), "rows": rows}
        inside = np.arange(steps) < lengths[:, None]
        right = {"copies": x.ravel(), "zeros": np.zeros(x.size), "rows": np.where(inside[..., None], x, 0.0)}
        judge(found, right, N=samples, T=steps, size=size)


def _smoke_dense():
    for rows, wide, inner in (
        (1, 1, 1), (3, 5, 7), (64, 64, 16), (130, 257, 100), (50, 512, 128), (65, 128, 2500), (2500, 512, 128),
    ):  # fmt: skip
        x, y, _ = batch(rows, 1, inner, wide)
        compare([nr.Dense(wide)], inner, x, y, rows=rows, columns=wide, inner=inner)


def _smoke_tokens():
    generator = np.random.default_rng(0)
    tokens, bags = generator.integers(0, 65, (37, 20)), generator.integers(-1, 65, (37, 20, 3))
    y, lengths = generator.integers(0, 5, (37, 20)), generator.integers(0, 21, 37)
    for name, below, x in (
        ("OneHot", nr.OneHot(65), tokens), ("Embedding", nr.Embedding(65, 33), tokens),
        ("EmbeddingBag", nr.EmbeddingBag(65, 33, 3), bags),
    ):  # fmt: skip
        for ragged in (None, lengths):
            compare([below, nr.RNN(40), nr.Dense(5)], None, x, y, lengths=ragged, layer=name, ragged=ragged is not None)


def _smoke_layers():
    x, y, lengths = batch(9, 13, 6, ragged=True)
    for function in ("tanh", "relu", "logistic"):
        compare([nr.Activation(function), nr.Dense(5)], 6, x, y, lengths=lengths, layer=f"Activation {function}")
    for kind in ("mean", "max", "last"):
        compare([nr.Pool(kind), nr.Dense(5)], 6, x, y[:, 0], lengths=lengths, layer=f"Pool {kind}")
    for name, layer, target in (
        ("in reverse", nr.RNN(3, reverse=True), y), ("last outputs", nr.LSTM(3, return_sequences=False), y[:, 0]),
        ("sum of both directions", nr.GRU(4, bidirectional=True, merge="sum"), y),
    ):  # fmt: skip
        compare([layer, nr.Dense(5)], 6, x, target, lengths=lengths, layer=name)


def cell_layers(cell, hidden, levels, both):
    """Return a recurrent layer of a cell and a dense one."""
    layer = nr.Recurrent(hidden, cell=CELLS[cell](), init="torch", num_layers=levels, bidirectional=both)
    return [layer, nr.Dense(5)]


# N, T, H, layers, both directions, ragged: a thread, a block, several blocks of samples, step by step; many steps
SIZES = (
    (4, 1, 1, 1, True, False), (2, 7, 3, 2, True, True), (1, 1000, 3, 1, False, False), (5, 60, 64, 2, True, True),
    (5, 60, 100, 1, True, False), (300, 5, 32, 2, False, True), (64, 100, 128, 1, False, False), (64, 50, 128, 2, False, True),
    (130, 7, 257, 1, True, True),
)  # fmt: skip


def _check_cell(cell):
    for samples, steps, hidden, levels, both, ragged in SIZES:
        x, y, lengths = batch(samples, steps, 4, ragged=ragged)
        sizes = {"N": samples, "T": steps, "H": hidden, "num_layers": levels, "bidirectional": both, "ragged": ragged}
        compare(cell_layers(cell, hidden, levels, both), 4, x, y, lengths=lengths, **sizes)


def loss_cases(samples, steps, lengths):
    """Return (name, loss, target) of every loss, for six outputs."""
    generator = np.random.default_rng(2)
    classes, values = generator.integers(0, 6, (samples, steps)), generator.standard_normal((samples, steps, 6))
    labels = [generator.integers(1, 6, length // 3) for length in lengths]
    segments = 2 * (np.arange(steps) // 4 % 6) + (np.arange(steps) % 4 == 0)
    segments = np.where(np.arange(steps) < lengths[:, None], segments, -1)
    soft = np.exp(values) / np.exp(values).sum(-1, keepdims=True)
    weighted = nr.losses.SoftmaxCrossEntropy(class_weight=(1.0, 2.0, 0.5, 1.0, 1.0, 3.0), label_smoothing=0.1)
    return [
        ("softmax_cross_entropy", "softmax_cross_entropy", classes), ("weights and smoothing", weighted, classes),
        ("soft targets", "softmax_cross_entropy", soft), ("binary_cross_entropy", "binary_cross_entropy", (values > 0) * 1.0),
        ("mse", "mse", values), ("mae", "mae", values), ("huber", "huber", values), ("ctc", "ctc", labels),
        ("segments", nr.losses.SegmentCrossEntropy(), segments),
        # With several outputs a target.
        ("quantile", nr.losses.Quantile((0.1, 0.5, 0.9)), values[..., :2]), ("gaussian", "gaussian", values[..., :3]),
        ("negative_binomial", "negative_binomial", np.floor(3 * np.abs(values[..., :3]))),
    ]  # fmt: skip


def _check_losses():
    for samples, steps in ((3, 9), (40, 130)):
        x, _, lengths = batch(samples, steps, 4, ragged=True)
        for name, loss, y in loss_cases(samples, steps, lengths):
            compare([nr.Dense(6)], 4, x, y, loss, lengths, case=name, N=samples, T=steps)


def _check_optimizers():
    tokens = np.random.default_rng(3).integers(0, 5, (12, 20))
    layers = [nr.OneHot(5), nr.LSTM(32, 2), nr.Dense(5)]
    dropped = [
        nr.Embedding(5, 8), nr.Dropout(0.3, same_over_time=True), nr.GRU(32, 2, dropout=0.4, recurrent_dropout=0.3),
        nr.Dropout(0.3), nr.Dense(5),
    ]  # fmt: skip
    cases = []
    for name, kind in nr.optim.OPTIMIZERS.items():
        # With a small eps, the first step of Adam is the sign of each gradient, rounding and all.
        options = {"eps": 0.01} if hasattr(kind, "eps") else {}
        cases.append((name, layers, {"optimizer": kind(learning_rate=1.0 if name == "sgd" else 0.1, **options)}))
    plain = {"optimizer": nr.optim.SGD(1.0, momentum=0.9, nesterov=True, weight_decay=0.01)}
    cases += [
        ("clip_norm", layers, plain | {"clip_norm": 0.05}), ("clip_value", layers, plain | {"clip_value": 0.002}),
        ("average", layers, plain | {"average": 0.5}), ("accumulate", layers, plain | {"accumulate": 2}),
        ("dropout", dropped, plain),
    ]  # fmt: skip
    for name, own, options in cases:
        changes = []
        for model in models(own, None):
            before = model.params.flat.astype(np.float64)
            with poisoned():
                history = model.fit(tokens, tokens, epochs=2, batch_size=4, verbose=0, n_threads=1, **options)
            changes.append({"change of the weights": model.params.flat - before, "losses": history["loss"]})
        judge(*changes[::-1], case=name)


def _check_sampling():
    text = "".join(map(chr, 48 + np.random.default_rng(5).integers(0, 65, 1300)))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model"
        lm = nr.CharLM("lstm", 128, 2, init="uniform(0.5)", n_threads=1)
        lm.fit(text, 1, batch_size=2, seq_length=10, validation=0, verbose=0)
        lm.save(path)
        here, there = nr.CharLM.load(path), nr.CharLM.load(path, device="cuda")
        for options in ({}, {"temperature": 0.5, "top_k": 5}, {"top_p": 0.8}):
            with poisoned():
                right, found = (model.sample_many(64, 40, "12", seed=3, **options) for model in (here, there))
            # Chances differ in the last bits, which may turn a draw in a million, and with it the rest of a text.
            equal = sum(map(str.__eq__, found, right))
            note(texts=len(right), equal=equal, **options, ok=equal >= 62)
        scores = [{"nats": model.score(text[:500]).nats_per_character} for model in (there, here)]
        judge(*scores, case="score")


def step_results(model, x, y):
    """Return loss and gradients of a batch, by name."""
    loss, gradients = model.loss_and_grad(x, y)
    return {"loss": loss, **gradients}


def _check_repeats():
    tokens = np.random.default_rng(4).integers(0, 65, (50, 51))
    here, there = models([nr.OneHot(65), nr.LSTM(128), nr.Dense(65)], None)
    right, first, *others = [step_results(model, tokens[:, :-1], tokens[:, 1:]) for model in [here, *[there] * 201]]
    equal = sum(same_bits(first, other) for other in others)
    judge(first, right, equal == 200, repeats=200, equal=equal)


def compile_host(number, parts):
    """Have the CPU compute a part of what the checks compare with, so that its kernels are in the cache: a minute of work."""
    x, classes, lengths = batch(3, 9, 4, ragged=True)
    cases = [(cell_layers(cell, 2, 2, True), "softmax_cross_entropy", classes) for cell in CELLS]
    cases += [([nr.Dense(6)], loss, y) for _, loss, y in loss_cases(3, 9, lengths)]
    for layers, loss, y in cases[number::parts]:
        model = nr.Model(layers, 4, "float64", n_threads=1)
        for some in (None, lengths):
            results(model, x, y, loss, some)


# The jobs

SMOKE = {"memory": _smoke_memory, "dense": _smoke_dense, "tokens": _smoke_tokens, "layers": _smoke_layers}
CHECKS = {cell: functools.partial(_check_cell, cell) for cell in CELLS} | {
    "losses": _check_losses, "optimizers": _check_optimizers, "sampling": _check_sampling, "repeats": _check_repeats,
}  # fmt: skip


def smoke(job):
    """Judge what everything else stands on, in small and odd sizes."""
    SMOKE[job]()


def check(job):
    """Judge a cell, or the losses, the optimizers, sampling, or the bits of repeats."""
    CHECKS[job]()
