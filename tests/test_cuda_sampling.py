"""Sampling on CUDA: the tokens that the CPU's kernel draws from the same model."""

import cuda_device
import numpy as np
import pytest
from conftest import assert_close, assert_same_bits

from numbarnn import Dense, Embedding, LanguageModel, Model, OneHot, Recurrent
from numbarnn.backends.cpu import sampling as cpu_sampling
from numbarnn.cells import CELLS
from numbarnn.cells.contract import has_inner
from numbarnn.core.signal import Signal
from numbarnn.kernels.cuda import sampling
from numbarnn.kernels.cuda.memory import Arena, Staging, upload
from numbarnn.language.sampler import Sampler

NONE = np.zeros(0, np.int32)
H = 130 if cuda_device.REAL else 3
STREAMS = 64 if cuda_device.REAL else 2


def language_model(cell="LSTM", *, layers=2, classes=5, features=0, dtype="float64", seed=1):
    below = Embedding(classes, features) if features else OneHot(classes)
    recurrent = Recurrent(H, cell=CELLS[cell](), num_layers=layers, init="uniform(0.9)")
    return Model([below, recurrent, Dense(classes)], dtype=dtype, seed=seed, n_threads=1)


class OnDevice:
    """What `Sampler` is, for many streams on a device."""

    def __init__(self, model, streams):
        below, layer, dense = model.layers
        params, self.cell = model.params, layer.cell
        classes, hidden = dense.size, layer.hidden_size
        embedded = hasattr(below, "features")
        signal = Signal(below.features) if embedded else Signal(classes, tokens=True)
        runs = list(layer.runs(signal))
        embedding_name, name, dense_name = model.names
        prefix = f"{name}."
        dense_at = params.offsets[f"{dense_name}.weight"], params.offsets[f"{dense_name}.bias"]
        embedding = (params.offsets[f"{embedding_name}.weight"], below.features) if embedded else None
        units = self.cell.diagonal
        self.packed = sampling.pack(
            upload(params.flat), [layer.weight_offsets(params, prefix, run) for run in runs],
            [params.offsets[f"{prefix}weight_{units[0]}{run.suffix}"] if units else 0 for run in runs], len(units),
            *layer.ranges(), hidden, dense_at, classes, embedding,
        )  # fmt: skip
        self.streams = streams
        self.state = upload(np.zeros((streams, len(runs), len(self.cell.states), hidden), model.dtype))
        self.logits = upload(np.zeros((streams, classes), model.dtype))
        self.position = 0

    def take(self, prime, count, temperature=1.0, top_k=0, top_p=1.0, seeds=(3, 4), stop=NONE, never=NONE):
        out = upload(np.full((self.streams, count), -1, np.int32))
        filled = upload(np.zeros(self.streams, np.int64))
        sampling.generate(
            Arena(), Staging(), self.cell, self.packed, self.state, self.logits, prime, out, filled,
            sampling.Sampling(temperature, top_k, top_p, stop, never), seeds, np.full(self.streams, self.position),
        )  # fmt: skip
        self.position += count
        return out.get().reshape(self.streams, count), filled.get()


def compare(model, count, *, temperature=1.0, top_k=None, top_p=None, stop=NONE, never=NONE, again=0):
    """Let the CPU and the device go on from primes of different lengths, and compare tokens, states and logits."""
    primes = [np.arange(n % 3 + 1, dtype=np.int32) for n in range(STREAMS)]
    seeds = np.arange(3, 3 + STREAMS) * (2**40 + 1)  # more than 32 bits
    device = OnDevice(model, STREAMS)
    options = {"temperature": temperature, "stop": stop, "never": never, "seeds": seeds}
    found, filled = device.take(primes, count, top_k=top_k or 0, top_p=top_p or 1.0, **options)
    if again:
        more, _ = device.take([NONE] * STREAMS, again, top_k=top_k or 0, top_p=top_p or 1.0, **options)
    states, logits = device.state.get().reshape(STREAMS, -1), device.logits.get().reshape(STREAMS, -1)
    tolerance = {"float32": 1e-5, "float64": 1e-12}[str(model.dtype)]
    for n, prime in enumerate(primes):
        sampler = Sampler(
            model, cpu_sampling.pack(model), prime, temperature, top_k, top_p, stop, never, [int(seeds[n])]
        )
        expected = sampler.take(count)
        assert found[n, : filled[n]].tolist() == expected.tolist()
        if again:
            assert more[n].tolist() == sampler.take(again).tolist()
        stream = sampler.streams.streams[0]
        expected = np.stack(
            [s[:, 0] for s in sampler.streams.plan.read(stream.state)[0]], axis=1
        )  # by run, then by state
        assert_close(states[n], expected.reshape(-1), tolerance)
        expected = stream.logits
        allowed = np.setdiff1d(np.arange(logits.shape[1]), never)
        assert_close(logits[n, allowed], expected[allowed], tolerance)
    return found, filled


@pytest.mark.parametrize("cell", [name for name, cell in CELLS.items() if not has_inner(cell())])
def test_every_cell(cell):
    compare(language_model(cell), 4)


def test_with_an_embedding_and_float32():
    compare(language_model("GRU", features=2, dtype="float32"), 3, temperature=0.0)
    compare(language_model("LSTM", features=3), 3)


@pytest.mark.parametrize("classes", [5, 9] + [65, 1500] * cuda_device.REAL)
@pytest.mark.parametrize(
    ("temperature", "top_k", "top_p"),
    [(0.0, None, None), (1.3, None, None), (1.0, 3, None), (0.7, None, 0.8), (1.5, 4, 0.9)],
)
def test_choices(classes, temperature, top_k, top_p):
    """As many tokens as are ranked at once, and more than are."""
    model = language_model("RNN", layers=1, classes=classes)
    found, _ = compare(model, 6, temperature=temperature, top_k=top_k, top_p=top_p, never=np.array([1], np.int32))
    assert not (found == 1).any()


def test_a_second_piece_goes_on_where_the_first_ended():
    compare(language_model("LSTM", layers=1), 3, again=3)


def test_stop_ends_a_stream():
    model = language_model("RNN", layers=1, classes=3)
    _, filled = compare(model, 12, stop=np.array([0, 2], np.int32), temperature=2.0)
    assert filled.min() < 12


def test_equal_logits_and_repeats():
    """Of equal logits the first is the largest; and a second run gives the same bits."""
    model = language_model("RNN", layers=1, classes=9)
    model.set_flat(np.zeros_like(model.params.flat))
    found, _ = compare(model, 3, temperature=1.0, top_k=4)
    assert found.max() <= 3
    assert (compare(model, 2, temperature=0.0)[0] == 0).all()
    model = language_model("LSTM")
    first = compare(model, 3)[0]
    for _ in range(200 if cuda_device.REAL else 1):
        assert_same_bits(compare(model, 3)[0], first)


# Language models


def trained(device, **options):
    lm = LanguageModel("gru", 3, 2, device=device, dtype="float64", **options)
    return lm.fit("abcab cab bac " * 6, 1, batch_size=2, seq_length=8, verbose=0, validation=0)


@pytest.mark.parametrize("options", [{}, {"embedding_size": 2}, {"unit": "word"}])
def test_language_models_sample_the_same_everywhere(options):
    here, there = trained("cpu", **options), trained("cuda", **options)
    asked = {"temperature": 0.9, "seed": 5}
    assert there.sample(6, prime="abcab", **asked) == here.sample(6, prime="abcab", **asked)
    texts = here.sample_many(3, 5, **asked)
    assert texts == there.sample_many(3, 5, **asked) == [here.sample(5, temperature=0.9, seed=5 + i) for i in range(3)]
    assert there.sample_many(2, 4, "abcab", top_k=2, stop="c") == here.sample_many(2, 4, "abcab", top_k=2, stop="c")
    assert there.sample_many(0) == here.sample_many(0) == []
    assert "".join(there.stream(3, "abcab", seed=7)) == here.sample(3, "abcab", seed=7)
    with pytest.raises(ValueError, match="count must be an integer >= 0"):
        there.sample_many(-1)
