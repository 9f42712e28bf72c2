"""Threads that share the units of a layer: equal results, and threads that wait for each other without end for nobody."""

import os
import signal
import threading
import time

import numpy as np
import pytest
from conftest import assert_same_bits, flatten, recurrent_model
from processes import run_python

from numbarnn import GRU, LSTM, RNN, Dense, Embedding, Model, Recurrent, cells, parallel
from numbarnn.backends.cpu import recurrent
from numbarnn.data.batches import Batch
from numbarnn.kernels.cpu import barrier, shared_units, steps_ahead
from numbarnn.training.trainer import Trainer

LENGTHS = [7, 2, 5]


@pytest.fixture(autouse=True)
def shared(monkeypatch):
    """Share units wherever there are panels and threads; return a list that gets the number of parties."""
    found = []

    def forced(panels, weights, samples, rows, n_threads):
        found.append(min(n_threads, panels))
        return found[-1]

    monkeypatch.setattr(parallel, "parties", forced)
    monkeypatch.setattr(parallel, "GRAIN", 1)
    monkeypatch.setattr(parallel, "BUSY", 0)
    return found


def everything(model, x, n_threads, lengths=None, masked=False):
    """Return outputs, final states and gradients of a model."""
    model.n_threads = n_threads
    y = np.random.default_rng(1).integers(0, model.signals[-1].size, x.shape[:2])
    if not model.signals[-1].sequence:
        y = y[:, 0]
    out, state = model.forward(x, lengths=lengths)
    loss, gradients = model.loss_and_grad(x, y, lengths=lengths)
    found = [out, *flatten(state), np.asarray(loss), *gradients.values()]
    if masked:
        trainer = Trainer(model.copy(), "softmax_cross_entropy", seed=3, n_threads=n_threads)
        trainer.train_batch(Batch(x, y, lengths))
        found.append(trainer.model.params.flat.copy())
    return found


def assert_all_same(first, *others):
    for other in others:
        for actual, expected in zip(other, first, strict=True):
            assert_same_bits(actual, expected)


def inputs(dtype="float32", samples=3, features=5):
    return np.random.default_rng(0).normal(size=(samples, 7, features)).astype(dtype)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", ["LSTM", "GRU", "RNN", "PeepholeLSTM", "IndRNN"])
def test_any_number_of_threads_gives_the_same_bits(name, dtype, shared):
    for x, lengths in ((inputs(dtype), LENGTHS), (inputs(dtype, 1), None), (inputs(dtype, 1), [4])):
        for reverse in (False, True):
            found = []
            for n_threads in (1, 2, 3):
                model = recurrent_model(getattr(cells, name)(), 5, 44, dtype, reverse=reverse)
                found.append(everything(model, x, n_threads, lengths))
            assert_all_same(*found)
    assert set(shared) == {2, 3}


@pytest.mark.parametrize("cell", [LSTM, GRU])
def test_stacks_directions_masks_and_long_sums(cell):
    """Two levels in both directions with dropout of the state, whose sums are longer than a block."""
    for size, features in ((44, 5), (300, 40)):
        found = []
        for n_threads in (1, 2, 3):
            model = Model(
                [cell(size, num_layers=2, bidirectional=True, recurrent_dropout=0.3), Dense(3)], features, seed=1
            )
            found.append(everything(model, inputs(features=features), n_threads, LENGTHS, masked=True))
        assert_all_same(*found)


@pytest.mark.parametrize("cell", [LSTM, GRU])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_one_sample_whose_products_with_x_are_made_ahead(cell, dtype):
    """Sums that are one chain, several blocks, or would be cut in another way alone; more steps than are made at once."""
    steps = 2 * steps_ahead.AHEAD + 5
    x = np.random.default_rng(0).normal(size=(1, steps, 340)).astype(dtype)
    for size, features in ((44, 5), (200, 120), (60, 261), (44, 340), (260, 70), (280, 10)):
        for lengths, reverse in ((None, False), (None, True), ([steps - 3], True), ([3], False)):
            found = []
            for n_threads in (1, 2, 3):
                model = Model(
                    [cell(size, reverse=reverse), cell(40, bidirectional=True), Dense(3)], features, dtype, seed=1
                )
                own = np.ascontiguousarray(x[:, :, :features])
                found.append(everything(model, own, n_threads, lengths))
            assert_all_same(*found)


def test_tokens_and_summed_directions():
    tokens = np.random.default_rng(0).integers(0, 9, (2, 7))
    for layers in ([LSTM(40), Dense(3)], [Embedding(9, 6), RNN(40, bidirectional=True, merge="sum"), Dense(3)]):
        found = []
        for n_threads in (1, 2):
            model = Model(layers, 9 if len(layers) == 2 else None, seed=1)
            x = np.eye(9, dtype="f4")[tokens] if len(layers) == 2 else tokens
            found.append(everything(model, x, n_threads, [7, 3]))
        assert_all_same(*found)


def test_cells_with_a_second_product_share_samples(shared, monkeypatch):
    monkeypatch.setattr(shared_units, "forward", None)
    model = Model([Recurrent(40, cell=cells.ResetBeforeGRU()), Dense(3)], 5, seed=1)
    assert_all_same(everything(model, inputs(), 1), everything(model, inputs(), 2))
    assert not shared


def test_a_stream_is_forward():
    model = Model([LSTM(40), Dense(3)], 5, seed=1, n_threads=2)
    x = inputs(samples=1)
    stream = model.stream()
    assert_same_bits(model.forward(x)[0][0], np.array([stream.step(row).copy() for row in x[0]]))


def test_a_taken_pool():
    """Whoever finds the pool taken works alone; two callers of two parties on two processors end."""
    model = Model([LSTM(40), Dense(3)], 5, seed=1, n_threads=2)
    x, wrong = inputs(samples=2), []
    expected = model.forward(x)[0]
    seen = []
    parallel.run([lambda: seen.append(model.forward(x)[0]) for _ in range(2)])
    for other in seen:
        assert_same_bits(other, expected)

    def call():
        for _ in range(50):
            if not np.array_equal(model.forward(x)[0], expected):
                wrong.append(1)

    threads = [threading.Thread(target=call) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not wrong
    assert not any(thread.is_alive() for thread in threads)


def test_crowded_processors(monkeypatch):
    """After a call whose thread had no processor for a good part of it, one thread does the work for a while."""
    monkeypatch.setattr(parallel, "_crowded", [-np.inf])
    monkeypatch.setattr(parallel, "BUSY", 0.3)
    monkeypatch.setattr(parallel, "LOST", 0.02)
    words, seen = barrier.new_words(), []

    def run(seconds=0.0):
        seen.clear()
        parallel.run(
            [lambda: (time.sleep(seconds), seen.append(1)), lambda: seen.append(2)], words, lambda: seen.append(0)
        )
        return sorted(seen)

    assert run() == [1, 2]
    assert run(0.05) == [1, 2]
    assert run() == [0]
    time.sleep(0.35)
    assert run() == [1, 2]


@pytest.mark.parametrize("case", [
    ((8, 64 * 512, 1, 99, 2), 1), ((8, 80 * 512, 1, 122, 2), 1), ((8, 80 * 512, 1, 123, 2), 2), ((8, 80 * 512, 1, 500, 3), 2),
    ((64, 2**22, 1, 20, 8), 8), ((3, 2**22, 1, 20, 8), 3), ((64, 2**22, 8, 80, 2), 2), ((64, 2**22, 9, 90, 2), 1),
    ((1, 2**22, 1, 20, 2), 1), ((64, 2**22, 1, 1, 4), 1), ((64, 2**22, 1, 20, 1), 1), ((64, 2**22, 1, 20, 99), 8),
    ((64, 2**22, 32, 640, 99), 8), ((64, 2**22, 33, 660, 99), 1),
])  # fmt: skip
def test_when_units_are_shared(case, monkeypatch):
    monkeypatch.undo()
    monkeypatch.setattr(parallel, "usable_processors", lambda: (8, "a test"))
    arguments, expected = case
    assert parallel.parties(*arguments) == expected


def test_more_parties_than_processors_compile_ahead_alone(monkeypatch):
    monkeypatch.undo()
    monkeypatch.setattr(parallel, "usable_processors", lambda: (1, "a test"))
    with parallel.more_parties_than_processors():
        assert parallel.parties(64, 2**22, 1, 20, 2) == 2
    assert parallel.parties(64, 2**22, 1, 20, 2) == 1


@pytest.mark.parametrize("guilty", [0, 1, 2])
def test_an_error_frees_the_others(guilty, monkeypatch):
    """A party that raises before its kernel begins does not let the others wait."""
    model = Model([LSTM(60), Dense(3)], 5, seed=1, n_threads=3)
    x = inputs(samples=1)
    expected = model.forward(x)[0]

    with monkeypatch.context() as patch:
        original = recurrent.entry_point

        def entry_point(kernel, dtype, record=None):
            found = original(kernel, dtype, record)
            if kernel is not shared_units.forward:
                return found

            def run(*arguments):
                if arguments[-1] == guilty:
                    raise ZeroDivisionError(str(guilty))
                found(*arguments)

            return run

        patch.setattr(recurrent, "entry_point", entry_point)
        with pytest.raises(ZeroDivisionError, match=str(guilty)):
            model.forward(x)
    assert_same_bits(model.forward(x)[0], expected)


LINES = """
import faulthandler, sys
import numpy as np
from numbarnn import LSTM, Model, parallel
faulthandler.dump_traceback_later(200, exit=True)
parallel.GRAIN, parallel.BUSY = 1, 0
parallel.parties = lambda panels, weights, samples, rows, n_threads: min(n_threads, panels)
model = Model([LSTM(60)], 5, seed=1, n_threads=3)
x = np.ones((1, 7, 5), np.float32)
expected = model.forward(x)[0]
NAMES = {"_run_together", "_wait", "start", "_open"}

def interrupted(number):
    lines = [0]
    def local(frame, event, argument):
        if event == "line":
            lines[0] += 1
            if lines[0] == number:
                raise KeyboardInterrupt
        return local
    def trace(frame, event, argument):
        code = frame.f_code
        return local if code.co_filename == parallel.__file__ and code.co_name in NAMES else None
    sys.settrace(trace)
    try:
        model.forward(x)
        return False
    except KeyboardInterrupt:
        return True
    finally:
        sys.settrace(None)

number = 1
while interrupted(number):
    assert not parallel._owner, number
    assert not [worker for worker in parallel._workers if worker.job is not None], number
    assert np.array_equal(model.forward(x)[0], expected), number
    number += 1
assert number > 15, number
print("lines", number - 1)
"""


def test_an_interrupt_at_every_line_of_the_hand_over(tmp_path):
    done = run_python(LINES, cwd=tmp_path, cache=os.environ.get("NUMBA_CACHE_DIR"))
    assert "lines" in done.stdout


FORK = """
import faulthandler, os, signal, threading, time, warnings
import numpy as np
from numbarnn import LSTM, Model, parallel
from numbarnn.backends.cpu import recurrent
warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12 warns of every fork beside threads
faulthandler.dump_traceback_later(200, exit=True)
parallel.GRAIN, parallel.BUSY = 1, 0
parallel.parties = lambda panels, weights, samples, rows, n_threads: min(n_threads, panels)
model = Model([LSTM(60)], 5, seed=1, n_threads=2)
x = np.ones((1, 7, 5), np.float32)
expected = model.forward(x)[0]

# In the middle of a call, as the handler of a signal would: before the kernel of the calling thread begins.
original, children = recurrent.entry_point, []
def entry_point(kernel, dtype, record=None):
    found = original(kernel, dtype, record)
    def run(*arguments):
        if threading.current_thread() is threading.main_thread():
            children.append(os.fork())
        found(*arguments)
    return run
recurrent.entry_point = entry_point
try:
    same = np.array_equal(model.forward(x)[0], expected)
except RuntimeError as error:
    same = children == [0] and "forked" in str(error)
recurrent.entry_point = original
if children == [0]:
    os._exit(0 if same and np.array_equal(model.forward(x)[0], expected) else 1)
assert same
assert os.waitpid(children[0], 0)[1] == 0

# While another thread is in the kernel.
stop = threading.Event()
def busy():
    while not stop.is_set():
        model.forward(x)
thread = threading.Thread(target=busy)
thread.start()
for _ in range(10):
    child = os.fork()
    if child == 0:
        os._exit(0 if np.array_equal(model.forward(x)[0], expected) else 1)
    assert os.waitpid(child, 0)[1] == 0
stop.set()
thread.join()
assert np.array_equal(model.forward(x)[0], expected)
print("parent and children have the same bits")
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
def test_a_fork_in_the_middle(tmp_path):
    done = run_python(FORK, cwd=tmp_path, cache=os.environ.get("NUMBA_CACHE_DIR"))
    assert done.stdout == "parent and children have the same bits\n"


ONE_PROCESSOR = """
import faulthandler, os
import numpy as np
os.sched_setaffinity(0, list(os.sched_getaffinity(0))[:1])
from numbarnn import LSTM, Model, parallel
faulthandler.dump_traceback_later(200, exit=True)
assert parallel.default_threads() == 1
parallel.GRAIN, parallel.BUSY = 1, 0
parallel.parties = lambda panels, weights, samples, rows, n_threads: min(n_threads, panels)
model = Model([LSTM(60)], 5, seed=1)
x = np.ones((1, 100, 5), np.float32)
expected = model.forward(x)[0]
print(sum(np.array_equal(model.forward(x, n_threads=3)[0], expected) for _ in range(3)))
"""


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="needs os.sched_setaffinity")
def test_more_parties_than_processors(tmp_path):
    """With one processor for three parties work goes on, as it does where a quota grants one, and ends in the same bits."""
    done = run_python(ONE_PROCESSOR, cwd=tmp_path, cache=os.environ.get("NUMBA_CACHE_DIR"))
    assert done.stdout == "3\n"


# Where the alarm rings in a destructor, Python prints what its handler raises, and goes on.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs signal.setitimer")
def test_signals_at_any_moment():
    """An alarm whose handler raises ends a call, and the next one is right."""
    model = Model([LSTM(60), Dense(3)], 5, seed=1, n_threads=2)
    x = inputs(samples=1)
    expected = model.forward(x)[0]
    armed, hits = [False], 0

    def alarm(*_):
        if armed[0]:
            armed[0] = False
            raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, alarm)
    generator = np.random.default_rng(0)
    try:
        end = time.monotonic() + 20
        while hits < 100 and time.monotonic() < end:
            try:
                armed[0] = True
                signal.setitimer(signal.ITIMER_REAL, generator.uniform(1e-4, 2e-3))
                while armed[0]:
                    model.forward(x)
            except KeyboardInterrupt:
                hits += 1
            assert_same_bits(model.forward(x)[0], expected)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert hits > 10
    assert not parallel._owner
