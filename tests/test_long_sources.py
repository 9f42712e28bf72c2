"""Data larger than memory: memory-mapped arrays, shuffling in blocks, batches made by a thread."""

import gc
import os
import threading
import time
import traceback

import numpy as np
import pytest
from conftest import assert_same_bits, normal
from hypothesis import given
from hypothesis import strategies as st
from processes import run_python

from numbarnn import GRU, Dense, Model, Trainer, checks
from numbarnn.data import ArraySource, Batch, Prefetch, Ragged, TokenStream, make_windows
from numbarnn.data.batches import digest
from numbarnn.data.orders import POOL, orders
from numbarnn.data.ragged import RaggedSource
from numbarnn.errors import TokenError
from numbarnn.network import network
from numbarnn.training.callbacks import Callback

CACHE = os.environ.get("NUMBA_CACHE_DIR")


def net(**options):
    return Model([GRU(4, return_sequences=False, **options), Dense(1)], input_size=3, seed=1)


def mapped(path, array, dtype=None):
    """Return an array as a read-only map of a file."""
    np.save(path, array if dtype is None else array.astype(dtype))
    return np.load(path, mmap_mode="r")


@pytest.fixture
def small_blocks(monkeypatch):
    """Let work on whole arrays go by blocks of some rows."""
    monkeypatch.setattr(checks, "BLOCK", 500)


# Memory-mapped arrays


@pytest.mark.parametrize("dtype", ["float64", "float16", ">f4", "int16"])
def test_a_memory_mapped_array_trains_as_one_in_memory(dtype, tmp_path):
    x, y = (normal(0, 90, 5, 3) * 9).astype(dtype), normal(1, 90)
    options = {"loss": "mse", "epochs": 2, "validation": 0.2, "verbose": 0}
    expected = net()
    history = expected.fit(x, y, **options)
    model, file = net(), mapped(tmp_path / "x.npy", x)
    again = model.fit(file, mapped(tmp_path / "y.npy", y), **options)
    assert_same_bits(model.params.flat, expected.params.flat)
    assert again["val_loss"] == history["val_loss"]
    assert_same_bits(model.predict(file), model.predict(x))
    assert model.evaluate(file, y) == model.evaluate(x, y)


def test_a_source_of_a_file_copies_nothing(tmp_path):
    file = mapped(tmp_path / "x.npy", normal(0, 90, 5, 3))
    source = ArraySource(file, np.zeros(90))
    for one in (source, source.split(0.25)[0], source.part(slice(3, 40), True)):
        assert np.shares_memory(one.x, file)
    windows = make_windows(file.reshape(-1, 3), 4)
    assert np.shares_memory(windows.table, file)
    assert np.shares_memory(windows._rows(), file)
    tokens = mapped(tmp_path / "tokens.npy", np.arange(1000) % 7, np.uint16)
    stream = TokenStream(tokens[: 999 // 50 * 50 + 1], 50, 5)  # streams of one length
    assert np.shares_memory(stream.x, tokens)
    assert np.shares_memory(stream.y, tokens)


PEAK = """
import re, sys, threading, time
import numpy as np
import numbarnn as nr
from numbarnn.data import ArraySource, make_windows

def anonymous():
    with open("/proc/self/status") as file:
        return int(re.search(r"RssAnon:\\s+(\\d+)", file.read())[1]) / 1024

file = np.memmap("x.bin", np.float64, "w+", shape=(1280, 100, 300))  # sparse: 307 MB
y = np.zeros(1280)
model = nr.Model([nr.Dense(1, activation="tanh"), nr.Pool("mean")], input_size=300)
model.fit(file[:64], y[:64], loss="mse", epochs=1, batch_size=64, verbose=0)
before, peak, ended = anonymous(), [0.0], threading.Event()

def watch():
    while not ended.wait(0.001):
        peak[0] = max(peak[0], anonymous())

thread = threading.Thread(target=watch)
thread.start()
model.fit(file, y, loss="mse", epochs=1, batch_size=64, shuffle="blocks", checkpoint="run.ckpt", verbose=0)
model.predict(file)
windows = make_windows(file.reshape(-1, 300), 50, stride=50, target=0)
model.fit(windows.source(64, shuffle="blocks"), loss="mse", epochs=1, verbose=0)
ended.set()
thread.join()
print(f"{before:.0f} MB, then {peak[0]:.0f} MB")
assert peak[0] - before < 120, (before, peak[0])
"""


@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="needs Linux's /proc")
def test_a_file_of_300_mb_needs_some_batches_of_memory(tmp_path):
    """Checks, the fingerprint of a checkpoint, batches of another dtype, predictions and windows."""
    run_python(PEAK, cwd=tmp_path, cache=CACHE)


def test_checks_by_blocks_find_what_checks_of_the_whole_find(small_blocks):
    x, y = normal(0, 90, 5, 3), np.zeros(90)
    x[71, 4, 2] = x[80, 0, 0] = np.nan
    with pytest.raises(ValueError, match=r"x has 2 NaN or infinite values, the first at \[71, 4, 2\]"):
        net().fit(x, y, loss="mse", verbose=0)
    lengths = np.full(90, 5)
    lengths[[71, 80]] = 4, 0
    ArraySource(x, y, lengths=lengths).check(np.dtype("float32"))
    lengths[80] = 1
    with pytest.raises(ValueError, match=r"x has 1 NaN or infinite value, the first at \[80, 0, 0\]"):
        ArraySource(x, y, lengths=lengths).check()
    x[80, 0, 0] = 1e300
    with pytest.raises(ValueError, match=r"x\[80, 0, 0\] is infinite in the model's float32"):
        ArraySource(x, y, lengths=lengths).check(np.dtype("float32"))
    classes = np.zeros((90, 5), int)
    classes[77, 3], classes[78] = 3, -2
    model = Model([GRU(4), Dense(3)], input_size=3)
    with pytest.raises(TokenError, match=r"y\[77, 3\] is 3; .* 6 targets wrong"):
        model.fit(np.zeros((90, 5, 3)), classes, verbose=0)
    soft = np.full((90, 5, 4), 0.25)
    soft[60, 1] = 0.5
    with pytest.raises(ValueError, match=r"y\[60, 1\] must be probabilities .* they sum to 2; 1 of 450"):
        Model([GRU(4), Dense(4)], input_size=3).fit(np.zeros((90, 5, 3)), soft, verbose=0)
    ragged = Ragged.of(x.reshape(450, 3), np.full(90, 5))
    with pytest.raises(ValueError, match=r"x has 1 NaN or infinite value, the first at x\[71\]\[4, 2\]"):
        RaggedSource(ragged, y).check()


def test_fingerprints_do_not_depend_on_blocks(monkeypatch):
    arrays = [
        normal(0, 90, 5, 3),
        normal(1, 5, 90, 3).swapaxes(0, 1),
        np.zeros((0, 3)),
        np.float32(2)[None],
        np.array(3),
    ]
    whole = [digest("x", array) for array in arrays]
    monkeypatch.setattr(checks, "BLOCK", 500)
    assert [digest("x", array) for array in arrays] == whole


@pytest.mark.parametrize("lengths", [False, True])
def test_predictions_of_many_samples_are_those_of_one_batch(lengths, monkeypatch):
    model = Model([GRU(4, bidirectional=True), Dense(2)], input_size=3, seed=1)
    x = normal(0, 300, 5, 3)
    own = np.arange(300) % 6 if lengths else None
    expected = model.predict(x, lengths=own), model.predict_proba(x, lengths=own)
    monkeypatch.setattr(network, "MOST_STEPS", 100)
    assert [len(x[rows]) for rows, _ in model._parts(x, own)] == [64, 64, 64, 64, 44]
    assert_same_bits(model.predict(x, lengths=own), expected[0])
    assert_same_bits(model.predict_proba(x, lengths=own), expected[1])
    for wrong in (x[:, :, :2], x[:, :, 0], x.astype(str)):
        with pytest.raises((TypeError, ValueError)) as found:
            model.predict(wrong)
        with pytest.raises(type(found.value)) as direct:
            model.forward(wrong)
        assert str(found.value) == str(direct.value)
    with pytest.raises(ValueError, match=r"lengths must have shape \(300,\)"):
        model.predict(x, lengths=np.ones(64, int))


# Shuffling in blocks


@given(st.integers(1, 200), st.integers(1, 50), st.integers(1, 60))
def test_an_order_in_blocks_is_what_it_says(items, batch_size, block):
    batches = list(orders(items, batch_size, "blocks", block, np.random.default_rng(3)))
    sizes = [batch_size] * (items // batch_size) + [items % batch_size] * (items % batch_size > 0)
    assert [len(batch) for batch in batches] == sizes
    order = np.concatenate(batches)
    assert sorted(order.tolist()) == list(range(items))
    # Eight blocks at a time, all of them before the next eight.
    seen, at = set(), 0
    starts = np.random.default_rng(3).permutation(-(-items // block))
    for first in range(0, len(starts), POOL):
        pool = {
            n for start in starts[first : first + POOL] for n in range(start * block, min(items, (start + 1) * block))
        }
        assert set(order[at : at + len(pool)].tolist()) == pool
        seen, at = seen | pool, at + len(pool)
    again = orders(items, batch_size, "blocks", block, np.random.default_rng(3))
    assert all(np.array_equal(one, other) for one, other in zip(batches, again, strict=True))


def test_sources_shuffle_in_blocks():
    x = np.arange(2000.0).reshape(1000, 2, 1)
    lists = Ragged.of(np.arange(2000.0), np.full(1000, 2))
    windows = make_windows(np.arange(1002.0), 2)
    found = []
    for source in (
        ArraySource(x, x[:, 0], shuffle="blocks", block=20, batch_size=100),
        RaggedSource(lists, x[:, 0], shuffle="blocks", block=20, batch_size=100),
        windows.source(100, shuffle="blocks", block=20),
    ):
        batches = list(source.batches(np.random.default_rng(5)))
        assert len(batches) == len(source) == 10
        scale = 1 if hasattr(source, "windows") else 2
        found.append([(np.asarray(batch.x).reshape(100, 2)[:, 0] // scale).astype(int).tolist() for batch in batches])
    expected = [order.tolist() for order in orders(1000, 100, "blocks", 20, np.random.default_rng(5))]
    assert found == [expected] * 3
    train, held = ArraySource(x, x[:, 0], shuffle="blocks", block=20).split(0.1)
    assert (train.shuffle, train.block, held.shuffle, held.block) == ("blocks", 20, False, None)
    assert ArraySource(x, x[:, 0], shuffle="blocks").block == checks.BLOCK // 16


def test_wrong_orders_are_refused():
    x = np.zeros((4, 2, 1))
    with pytest.raises(TypeError, match="shuffle must be True or False, got 'block'; 'blocks' shuffles in blocks"):
        ArraySource(x, x, shuffle="block")
    with pytest.raises(ValueError, match="block must be left out unless shuffle is 'blocks', got 3"):
        ArraySource(x, x, block=3)
    with pytest.raises(ValueError, match="block must be an integer >= 1, got 0"):
        make_windows(np.arange(9.0), 2).source(shuffle="blocks", block=0)


# Batches made by a thread


def prefetching():
    """Return the names of the threads that make batches."""
    return [thread.name for thread in threading.enumerate() if thread.name == "numbarnn-prefetch"]


class Counting:
    """Yields batches of numbers, and notes how many it made, and whether it was closed."""

    def __init__(self, count, fails_at=None):
        self.count, self.fails_at, self.made, self.closed = count, fails_at, 0, 0

    def batches(self, generator):
        try:
            for number in range(self.count):
                if number == self.fails_at:
                    raise ZeroDivisionError("of the source")
                self.made += 1
                yield Batch(np.full((2, 3, 3), number), np.full((2, 1), generator.random()))
        finally:
            self.closed += 1


def test_what_is_learned_is_equal_to_the_bit(tmp_path):
    x, y = normal(0, 90, 5, 3), normal(1, 90)
    models = net(), net()
    sources = ArraySource(x, y), Prefetch(ArraySource(x, y), batches=3)
    for model, source, name in zip(models, sources, "ab", strict=True):
        model.fit(source, loss="mse", epochs=2, validation=0.2, checkpoint=tmp_path / name, verbose=0)
    assert_same_bits(models[0].params.flat, models[1].params.flat)
    assert (tmp_path / "a").read_bytes()[:200] == (tmp_path / "b").read_bytes()[:200]
    assert not prefetching()
    # A run goes on with or without the thread.
    model = net()
    model.fit(sources[0], loss="mse", epochs=4, validation=0.2, verbose=0)
    for source, name in zip(reversed(sources), "ab", strict=True):
        again = net()
        again.fit(source, loss="mse", epochs=4, validation=0.2, checkpoint=tmp_path / name, resume=True, verbose=0)
        assert_same_bits(again.params.flat, model.params.flat)


def test_a_prefetching_source_is_as_the_one_inside():
    inner = TokenStream(np.arange(40), 2, 5)
    source = Prefetch(inner)
    assert (len(source), source.items, source.unit, source.fingerprint()) == (4, 39, "characters", inner.fingerprint())
    assert not hasattr(source, "check")
    assert [batch.keep_state for batch in source.batches(np.random.default_rng(0))] == [False, True, True, True]
    assert not hasattr(Prefetch(Counting(3)), "items")
    with pytest.raises(ValueError, match="epochs must be given with a source that does not say"):
        net().fit(Prefetch(Counting(3)), loss="mse", verbose=0)
    x = np.full((9, 2, 3), np.nan)
    with pytest.raises(ValueError, match="x has 54 NaN"):
        net().fit(Prefetch(ArraySource(x, np.zeros(9))), loss="mse", verbose=0)
    batches = [Batch(np.zeros((2, 2, 3)), np.zeros(2))] * 3
    assert len(list(Prefetch(batches).batches(np.random.default_rng(0)))) == 3
    with pytest.raises(ValueError, match="data is an iterator"):
        net().fit(Prefetch(iter(batches)), loss="mse", epochs=1, checkpoint="run.ckpt", verbose=0)
    for wrong in (np.zeros((3, 2, 3)), 5, (np.zeros(2), np.zeros(2))):
        with pytest.raises(TypeError, match="source must have batches"):
            Prefetch(wrong)
    with pytest.raises(ValueError, match="batches must be an integer >= 1, got 0"):
        Prefetch(batches, 0)


def test_no_more_batches_are_made_than_asked_for():
    source = Counting(50)
    epoch = Prefetch(source, batches=3).batches(np.random.default_rng(0))
    assert source.made == 0
    for number in range(10):
        assert next(epoch).x[0, 0, 0] == number
        end = time.monotonic() + 10
        while source.made < number + 4 and time.monotonic() < end:
            time.sleep(0.001)
        time.sleep(0.002)
        assert source.made == number + 4
    epoch.close()


def test_an_error_of_the_source_comes_where_its_batch_was_due():
    source = Counting(9, fails_at=4)
    seen, epoch = [], Prefetch(source, batches=9).batches(np.random.default_rng(0))
    with pytest.raises(ZeroDivisionError) as found:
        seen.extend(batch.x[0, 0, 0] for batch in epoch)
    assert seen == [0, 1, 2, 3]
    assert "in batches" in "".join(traceback.format_tb(found.tb))
    assert traceback.extract_tb(found.tb)[-1].line == 'raise ZeroDivisionError("of the source")'
    assert (source.closed, prefetching()) == (1, [])
    with pytest.raises(ZeroDivisionError), np.errstate(all="raise"):
        net().fit(Prefetch(Counting(9, fails_at=4)), loss="mse", epochs=1, verbose=0)
    assert not prefetching()


class Stopping(Callback):
    def on_batch_end(self, trainer, loss):
        raise KeyboardInterrupt


def test_an_abandoned_epoch_ends_its_thread():
    source = Counting(10**9)
    for batch in Prefetch(source).batches(np.random.default_rng(0)):
        assert batch.x[0, 0, 0] == 0
        break
    gc.collect()
    assert (source.closed, prefetching()) == (1, [])
    epoch = Prefetch(source).batches(np.random.default_rng(0))
    next(epoch)
    assert prefetching()
    del epoch
    gc.collect()
    assert (source.closed, prefetching()) == (2, [])
    Prefetch(source).batches(np.random.default_rng(0))  # not begun: nothing to end
    with pytest.raises(KeyboardInterrupt):
        Trainer(net(), "mse").fit(Prefetch(source), 1, callbacks=[Stopping()], verbose=0)
    gc.collect()
    assert (source.closed, prefetching()) == (3, [])


def test_errstate_of_the_reader_counts_in_the_thread():
    class Dividing:
        def batches(self, generator):
            yield Batch(np.ones((1, 1, 1)) / np.zeros(1), np.zeros(1))

    with np.errstate(divide="raise"), pytest.raises(FloatingPointError):
        list(Prefetch(Dividing()).batches(np.random.default_rng(0)))
    with np.errstate(divide="ignore"):
        assert len(list(Prefetch(Dividing()).batches(np.random.default_rng(0)))) == 1


INTERRUPTED = """
import os, signal, threading, time, warnings
import numpy as np
import numbarnn as nr
from numbarnn.training.callbacks import Callback
warnings.simplefilter("ignore")
x = np.zeros((4000, 5, 3))
model = nr.Model([nr.GRU(4, return_sequences=False), nr.Dense(1)], input_size=3)
model.fit(x[:32], np.zeros(32), loss="mse", epochs=1, verbose=0)

class Slow:
    def __init__(self):
        self.source = nr.data.ArraySource(x, np.zeros(4000), batch_size=4)
    def batches(self, generator):
        for batch in self.source.batches(generator):
            time.sleep(0.01)
            yield batch

class Kill(Callback):
    def on_batch_end(self, trainer, loss):
        if trainer.step == 5:
            os.kill(os.getpid(), signal.SIGINT)

history = model.fit(nr.data.Prefetch(Slow()), loss="mse", epochs=1, callbacks=[Kill()], verbose=0)
assert history.stopped == "interrupted"
assert threading.active_count() <= 2, threading.enumerate()  # a worker of the pool

epoch = nr.data.Prefetch(Slow()).batches(np.random.default_rng(0))
next(epoch)
child = os.fork()
if child == 0:
    code = 1
    try:
        next(epoch)
    except RuntimeError as error:
        if "forked within an epoch" in str(error):
            fresh = nr.data.Prefetch(nr.data.ArraySource(x, np.zeros(4000), batch_size=1000))
            code = 0 if len(list(fresh.batches(np.random.default_rng(0)))) == 4 else 2
    os._exit(code)
end = time.monotonic() + 30
while True:
    done, status = os.waitpid(child, os.WNOHANG)
    if done:
        break
    assert time.monotonic() < end, "the child hangs"
    time.sleep(0.01)
assert status == 0, status
next(epoch)  # the process ends with the epoch begun
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
def test_ctrl_c_forks_and_the_end_of_the_process(tmp_path):
    assert run_python(INTERRUPTED, cwd=tmp_path, cache=CACHE).returncode == 0
