"""Passes by segments: results equal to the bit to those in one piece, memory as predicted, and limits that cannot be kept."""

import itertools
import tracemalloc

import numpy as np
import pytest
from conftest import DTYPES, RECORDS, assert_same_bits, normal, random_state
from hypothesis import given
from hypothesis import strategies as st

import numbarnn as nr
from numbarnn import inputs, parallel
from numbarnn.backends.cpu.segments import Segment, over_blocks, sum_of
from numbarnn.cells.contract import used_hidden_rows
from numbarnn.checks import check_bytes
from numbarnn.core.layout import Layout
from numbarnn.kernels.cpu.memory import Arena
from numbarnn.kernels.cpu.weight_gradient import SPAN
from numbarnn.losses import SoftmaxCrossEntropy
from numbarnn.losses.base import make_loss
from numbarnn.network import segments

CLASSES = 4
NETS = {
    "stack": lambda: [nr.Dense(5, activation="tanh"), nr.GRU(7, 2, dropout=0.3, recurrent_dropout=0.2), nr.Dense(4)],
    "dropout": lambda: [nr.Dropout(0.4), nr.LSTM(6), nr.Dropout(0.4, same_over_time=True), nr.Dense(4)],
    "one hot": lambda: [nr.OneHot(6), nr.LSTM(9), nr.Dense(4)],
    "dense of tokens": lambda: [nr.OneHot(6), nr.Dense(5), nr.RNN(4), nr.Dense(4)],
    "embedding": lambda: [nr.Embedding(6, 4), nr.GRU(9, reset_after=False), nr.Dense(4)],
    "bag": lambda: [nr.EmbeddingBag(6, 4, 2), nr.IndRNN(9), nr.Activation("relu"), nr.Dense(4)],
    "last": lambda: [nr.LSTM(5, 2, dropout=0.2), nr.RNN(4, return_sequences=False), nr.Dense(4)],
    "last of stack": lambda: [nr.LSTM(4, 2, return_sequences=False)],
    "pool": lambda: [nr.LSTM(5), nr.Pool("max"), nr.Dense(4)],
    "both directions above": lambda: [nr.LSTM(5), nr.GRU(6, bidirectional=True), nr.Dense(4)],
    "no states": lambda: [nr.Dense(7), nr.Dense(4)],
}
TOKENS = {"one hot", "dense of tokens", "embedding", "bag"}


def batch_of(name, samples, steps, dtype="float32"):
    """Return an input and targets for a net."""
    generator = np.random.default_rng(samples * steps)
    x = normal(1, samples, steps, 3, dtype=dtype)
    if name in TOKENS:
        x = generator.integers(
            -1 if name == "bag" else 0, 6, (samples, steps, 2) if name == "bag" else (samples, steps)
        )
    one = name.startswith(("last", "pool"))
    return x, generator.integers(0, CLASSES, samples if one else (samples, steps))


def net_of(name, dtype="float32", n_threads=1):
    return nr.Model(NETS[name](), None if name in TOKENS else 3, dtype, seed=1, n_threads=n_threads)


def differentiate(model, x, target, loss, length, lengths=None, state=None, reduction="mean", weight=None, keep=True):
    """Return losses, weight, gradient and final states of a training pass by segments of a length, or in one piece (None)."""
    backend, loss = model.backend.batch, make_loss(loss)
    with backend.lent_arena() as arena:
        call = model._call(keep=keep, training=True, arena=arena, seed=7, step=3)
        array, layout = inputs.check(x, model.signals[0], lengths)
        gradient = np.full(model.params.size, np.nan, model.dtype) if keep else None
        given = call, array, layout, target, loss, model._start(state, layout.samples), gradient, reduction, weight
        value, final, total = (
            model.differentiate(*given) if length is None else segments.differentiate(model, *given, length)
        )
        states = [array.copy() for entry in final for array in entry]
        return [np.array(value), np.array(total), *([gradient] if keep else []), *states]


def compare(model, *arguments, length, **options):
    whole = differentiate(model, *arguments, None, **options)
    for expected, found in zip(whole, differentiate(model, *arguments, length, **options), strict=True):
        assert_same_bits(found, expected)


@pytest.fixture
def rough(monkeypatch):
    """Cut work among threads, however little there is."""
    monkeypatch.setattr(parallel, "GRAIN", 1)


@pytest.mark.parametrize("lengths", [None, [40, 0, 7, 33, 39]], ids=["full", "ragged"])
@pytest.mark.parametrize("name", NETS)
def test_same_bits(name, lengths, rough):
    model, (x, target) = net_of(name, n_threads=2), batch_of(name, 5, 40)
    for length in (1, 7, 20, 39):
        compare(model, x, target, "softmax_cross_entropy", length=length, lengths=lengths)
    state = random_state(model, 5)
    compare(model, x, target, "softmax_cross_entropy", length=13, lengths=lengths, state=state, reduction="none")
    compare(model, x, target, "softmax_cross_entropy", length=13, lengths=lengths, state=state, keep=False)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("record", RECORDS.values(), ids=RECORDS)
def test_same_bits_for_every_cell(record, dtype):
    rate = 0.2 if used_hidden_rows(record) else 0.0
    model = nr.Model([nr.Recurrent(5, cell=record, recurrent_dropout=rate), nr.Dense(4)], 3, dtype, seed=2)
    x, target = batch_of("stack", 3, 70, dtype)
    compare(model, x, target, "softmax_cross_entropy", length=16, lengths=[70, 41, 12])


SEGMENT_CODES = 2 * np.repeat(np.arange(30).reshape(3, 10) % 4, 5, axis=1) + (np.arange(50) % 5 == 0)
LOSSES = {
    "weights": lambda: (
        SoftmaxCrossEntropy((1.0, 2.0, 0.5, 1.0), label_smoothing=0.1),
        np.arange(150).reshape(3, 50) % 4,
    ),
    "soft": lambda: ("softmax_cross_entropy", np.random.default_rng(0).dirichlet(np.ones(4), (3, 50))),
    "values": lambda: ("huber", normal(4, 3, 50, 4)),
    "distribution": lambda: ("gaussian", normal(4, 3, 50, 2)),
    "ctc": lambda: ("ctc", [[1, 2], [3], []]),
    "segments": lambda: (nr.losses.SegmentCrossEntropy(), SEGMENT_CODES),
}


@pytest.mark.parametrize("name", LOSSES)
def test_same_bits_for_every_kind_of_loss(name):
    loss, target = LOSSES[name]()
    model, weight = net_of("stack"), np.array([1.0, 0.0, 0.5])
    for reduction in ("mean", "sum", "none"):
        options = {"lengths": [50, 20, 33], "reduction": reduction, "weight": weight}
        compare(model, batch_of("stack", 3, 50)[0], target, loss, length=11, **options)


@given(
    samples=st.integers(1, 140), steps=st.integers(1, 40), length=st.integers(1, 40), ragged=st.booleans(),
    name=st.sampled_from(["stack", "one hot", "embedding"]), seed=st.integers(0, 99),
)  # fmt: skip
def test_same_bits_for_all_shapes(samples, steps, length, ragged, name, seed):
    lengths = np.random.default_rng(seed).integers(0, steps + 1, samples) if ragged else None
    compare(net_of(name), *batch_of(name, samples, steps), "softmax_cross_entropy", length=length, lengths=lengths)


@given(
    active=st.lists(st.integers(0, 300), min_size=1, max_size=30), cuts=st.sets(st.integers(1, 29)), full=st.booleans()
)
def test_blocks_are_those_of_the_batch(active, cuts, full):
    """Every row is in one block, blocks are whole, and the last comes first, wherever the batch is cut."""
    steps, samples = len(active), max(max(active), 1)
    lengths = None if full else np.array([sum(n < a for a in sorted(active)[::-1]) for n in range(samples)])
    layout = Layout.make(steps, samples, lengths)
    index = np.full((steps, samples), -1)
    index.T[np.arange(steps) < layout.lengths[:, None]] = 0
    index[index == 0] = np.arange(layout.running)
    edges, segment, blocks, ended = sorted({0, steps} | {cut for cut in cuts if cut < steps}), Segment(), [], []

    class Pass:
        arena = Arena()

    Pass.segment = segment
    before = np.concatenate([[0], np.cumsum(layout.active)])
    for first, last in reversed(list(itertools.pairwise(edges))):
        segment.enter(first, int(before[first]))
        part, own = layout.part(first, last), index[first:last]

        def run(taken, active, samples, rows, own=own):
            values = own[own >= 0] if taken is None else taken[0]
            values = values[rows.first : rows.last]
            assert rows.begins == (not blocks and not ended)
            ended.append(rows.ends)
            for at in reversed(range(0, len(values), SPAN)):
                blocks.append(values[at : at + SPAN])

        over_blocks(Pass, part, sum_of(Pass), lambda t, n, own=own: (own[t, n],), run)
    assert ended[-1]
    assert not any(ended[:-1])
    expected = [np.arange(at, min(at + SPAN, layout.running)) for at in reversed(range(0, layout.running, SPAN))]
    assert [block.tolist() for block in blocks] == [block.tolist() for block in expected]


# What a user calls


@pytest.mark.parametrize("name", ["stack", "one hot", "last"])
def test_loss_and_grad(name):
    model, (x, target) = net_of(name), batch_of(name, 4, 300)
    needed = model.memory(4, 300).activations
    value, gradients = model.loss_and_grad(x, target)
    limited, found = model.loss_and_grad(x, target, memory_limit=needed // 4)
    assert limited == value
    for key, array in gradients.items():
        assert_same_bits(found[key], array, key)


@pytest.mark.parametrize("options", [{}, {"tbptt": 750}, {"accumulate": 2}], ids=str)
def test_training(options):
    x, target = batch_of("stack", 6, 1500)
    models = []
    for limit in (None, "1 MB"):
        model = net_of("stack")
        history = model.fit(x, target, epochs=2, batch_size=3, validation=0.3, verbose=0, memory_limit=limit, **options)
        models.append((model, history))
    assert models[1][0].memory(3, 750, memory_limit="1 MB").segments > 1
    assert_same_bits(models[1][0].params.flat, models[0][0].params.flat)
    assert models[1][1]["val_loss"] == models[0][1]["val_loss"]


def test_language_models_estimators_and_forecasters():
    """Each passes its limit on to training, where it changes no bit; files have none."""
    generator = np.random.default_rng(0)
    series, x = np.cumsum(generator.normal(size=(800, 1)), axis=0), generator.normal(size=(8, 200, 1))
    text = "".join(generator.choice(list("abc "), 1700))

    def nets(limit):
        lm = nr.CharLM("gru", 4, 1, n_threads=1)
        lm.fit(text, 1, batch_size=4, seq_length=200, validation=0, memory_limit=limit, verbose=0)
        options = {"hidden_size": 4, "epochs": 1, "n_threads": 1, "memory_limit": limit, "linear": None}
        regressor = nr.SequenceRegressor("gru", random_state=0, **options).fit(x, x[:, -1, 0])
        forecaster = nr.Forecaster(100, cell="gru", batch_size=8, **options).fit(series, verbose=0)
        return lm.model, regressor.model_, forecaster.model_

    for net, limited in zip(nets(None), nets("300 kB"), strict=True):
        assert_same_bits(limited.params.flat, net.params.flat)
        samples, steps = (4, 200) if net.signals[0].tokens else (8, 100)
        assert net.memory(samples, steps, memory_limit="300 kB").segments > 1
    for fit in (
        lambda: nr.CharLM().fit(text, memory_limit=100, verbose=0),
        lambda: nr.SequenceRegressor(memory_limit=100).fit(x, x[:, -1, 0]),
        lambda: nr.Forecaster(100, memory_limit=100).fit(series, verbose=0),
    ):
        with pytest.raises(ValueError, match="memory_limit must be at least"):
            fit()


@pytest.mark.parametrize(
    ("written", "expected"),
    [(12, 12), (np.int64(7), 7), ("300 MB", 300_000_000), ("1.5GiB", 3 * 2**29), ("2kb", 2000), (" 64 B ", 64)],
)
def test_sizes(written, expected):
    assert check_bytes(written, "memory_limit") == expected


@pytest.mark.parametrize(
    "written", [0, -3, "300", "MB", "3 iB", "-1 MB", "1e3 MB", "", True, 1.5, None, "0 MB", "3 parsecs"]
)
def test_sizes_that_are_none(written):
    with pytest.raises((TypeError, ValueError), match="memory_limit"):
        check_bytes(written, "memory_limit")


def test_units_of_sizes():
    for unit in ("B", "kB", "MB", "GB", "TB", "KiB", "MiB", "GiB", "TiB"):
        assert check_bytes(f"1 {unit}", "memory_limit") > 0
        with pytest.raises(ValueError, match=rf"memory_limit must be .*\b{unit}\b.*, got '3 parsecs'"):
            check_bytes("3 parsecs", "memory_limit")


def test_limits_that_cannot_be_kept():
    model, (x, target) = net_of("stack"), batch_of("stack", 4, 300)
    with pytest.raises(
        ValueError, match=r"memory_limit must be at least \d+ bytes \(.* kB\) for 4 x 300 steps"
    ) as error:
        model.loss_and_grad(x, target, memory_limit=1000)
    least = int(str(error.value).split("at least ")[1].split()[0])
    value, _ = model.loss_and_grad(x, target, memory_limit=least)
    assert value == model.loss_and_grad(x, target)[0]
    with pytest.raises(ValueError, match="tbptt"):
        model.memory(4, 300, memory_limit=least - 1)
    backwards = nr.Model([nr.LSTM(5, bidirectional=True), nr.Dense(4)], 3)
    with pytest.raises(ValueError, match="needs all steps at once"):
        backwards.loss_and_grad(x, target, memory_limit=1000)


def test_other_devices_refuse(monkeypatch):
    model, (x, target) = net_of("stack"), batch_of("stack", 2, 5)
    monkeypatch.setattr(model.backend.segments, "AVAILABLE", False)
    with pytest.raises(ValueError, match="memory_limit must be None with device='cpu'"):
        model.loss_and_grad(x, target, memory_limit="1 GB")
    with pytest.raises(ValueError, match="memory_limit must be None"):
        nr.Trainer(model, memory_limit="1 GB")


# Predictions


def peak(model, work):
    """Return the most memory that Python's allocators have given during the second of two calls, and the first's arenas."""
    work()
    model.backend.batch._arenas.clear()
    tracemalloc.start()
    try:
        work()
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


SIZED = {
    "stack": lambda: [nr.Dense(48, activation="tanh"), nr.GRU(64, 2), nr.Dense(4)],
    "dropout": lambda: [
        nr.Dropout(0.4),
        nr.LSTM(64, recurrent_dropout=0.1),
        nr.Dropout(0.4, same_over_time=True),
        nr.Dense(4),
    ],
    "one hot": lambda: [nr.OneHot(6), nr.LSTM(64), nr.Dense(4)],
    "embedding": lambda: [nr.Embedding(6, 20), nr.GRU(64, reset_after=False), nr.Dense(4)],
    "bag": lambda: [nr.EmbeddingBag(6, 20, 2), nr.IndRNN(64), nr.Activation("relu"), nr.Dense(4)],
    "last": lambda: [nr.LSTM(64, 2), nr.RNN(64, return_sequences=False), nr.Dense(4)],
    "pool": lambda: [nr.LSTM(64), nr.Pool("max"), nr.Dense(4)],
    "both directions": lambda: [
        nr.LSTM(64, bidirectional=True),
        nr.GRU(64, bidirectional=True, merge="sum"),
        nr.Dense(4),
    ],
    "no states": lambda: [nr.Dense(64), nr.Dense(4)],
}


@pytest.mark.parametrize("name", SIZED)
def test_memory_is_as_predicted(name):
    samples, steps = 8, 1200
    model = nr.Model(SIZED[name](), None if name in TOKENS else 3, seed=1, n_threads=2)
    x, target = batch_of(name, samples, steps)
    x = x.astype(np.int32 if name in TOKENS else np.float32)
    needed = model.memory(samples, steps)
    assert needed.total == needed.weights + needed.gradient + needed.activations
    trainer = nr.Trainer(model, optimizer="sgd", n_threads=2)
    for _ in range(2):
        trainer.train_batch(nr.data.Batch(x, target))
    assert abs(trainer.arena.used - needed.activations) < 0.1 * needed.activations
    if name != "dropout":  # which does not act there
        found = peak(model, lambda: model.loss_and_grad(x, target)) - needed.gradient
        assert abs(found - needed.activations) < 0.1 * needed.activations
    found = peak(model, lambda: model.forward(x))
    assert abs(found / model.memory(samples, steps, training=False).activations - 1) < 0.1


@pytest.mark.parametrize("name", ["stack", "one hot", "embedding", "last"])
@pytest.mark.parametrize("share", [3, 10])
def test_limits_are_kept(name, share):
    samples, steps = 8, 2400
    model = nr.Model(SIZED[name](), None if name in TOKENS else 3, seed=1, n_threads=2)
    x, target = batch_of(name, samples, steps)
    x = x.astype(np.int32 if name in TOKENS else np.float32)
    limit = model.memory(samples, steps).activations // share
    needed = model.memory(samples, steps, memory_limit=limit)
    assert needed.activations <= limit
    assert needed.segments >= share
    found = peak(model, lambda: model.loss_and_grad(x, target, memory_limit=limit)) - needed.gradient
    assert found < 1.1 * limit
    assert found > 0.75 * needed.activations


# What memory says


@pytest.mark.parametrize("samples", [1, 2, 4, 5])
def test_few_samples_are_counted_as_they_are(samples):
    """They have products of x for blocks of steps, and scratch for them."""
    model = nr.Model([nr.LSTM(40), nr.Dense(2)], 330, n_threads=1)
    x, target = np.zeros((samples, 30, 330), np.float32), np.zeros((samples, 30), int)
    said = model.memory(samples, 30)
    found = peak(model, lambda: model.loss_and_grad(x, target)) - said.gradient
    assert found == pytest.approx(said.activations, rel=0.1, abs=30_000)


def test_nothing_runs_where_memory_is_counted(monkeypatch):
    """Not the teams that share units either, of which 16 samples have one from four threads on."""
    monkeypatch.setattr(parallel, "run", lambda *_: pytest.fail("something ran"))
    model = nr.Model([nr.LSTM(512), nr.Dense(2)], 16, n_threads=4)
    assert model.memory(16, 100).activations > 0


def test_a_forward_pass_needs_no_tape():
    """A validation batch that fits without a tape is neither cut nor refused."""
    model = nr.Model([nr.LSTM(64, bidirectional=True), nr.Dense(2)], 4, n_threads=1, seed=0)
    x, y = normal(0, 40, 100, 4), np.zeros((40, 100), int)
    long, labels = normal(1, 16, 300, 4), np.zeros((16, 300), int)
    limit = int(1.05 * model.memory(32, 100).activations)
    assert model.memory(16, 300).activations > limit
    history = model.fit(x, y, epochs=1, validation=(long, labels), memory_limit=limit, verbose=0)
    assert np.isfinite(history.records[0]["val_loss"])
    with pytest.raises(ValueError, match="memory_limit goes with training=True"):
        model.memory(2, 3, training=False, memory_limit="1 MB")
