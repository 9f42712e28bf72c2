"""One model under many threads, forked children, spawned and pooled processes."""

import copy
import os
import pickle
import threading

import numpy as np
import pytest
from conftest import assert_same_bits, normal
from processes import run_python

from numbarnn import LSTM, CharLM, Dense, Model, losses, parallel, step_function
from numbarnn.backends.cpu import batch
from numbarnn.kernels.cpu import step as step_kernels

CACHE = os.environ.get("NUMBA_CACHE_DIR")
forks = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")

# What second processes do first. Work of every size is cut for two threads there too.
SETUP = """
import os, sys, threading, time, warnings
import numpy as np
import numbarnn as nr
from numbarnn import parallel
warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12 warns of every fork beside threads
parallel.GRAIN = 1
model = nr.Model([nr.LSTM(20, num_layers=2), nr.Dense(3)], input_size=4, n_threads=2)
x = np.random.default_rng(0).normal(size=(6, 7, 4))
target = np.zeros((6, 7), int)

def results():
    loss, gradients = model.loss_and_grad(x, target)
    stream = model.stream()
    return [model.forward(x)[0], model.step(x[:, 0])[0], model.predict_proba(x), stream.step(x[0, 0]).copy(), *gradients.values()]

def equal(a, b):
    return all(np.array_equal(one, other) for one, other in zip(a, b, strict=True))

def wait(children):
    end = time.monotonic() + 60
    for child in children:
        while True:
            done, status = os.waitpid(child, os.WNOHANG)
            if done:
                assert status == 0, status
                break
            assert time.monotonic() < end, "a child hangs"
            time.sleep(0.01)

expected = results()
"""


@pytest.fixture(autouse=True)
def several(monkeypatch):
    """Make every work worth several threads."""
    monkeypatch.setattr(parallel, "GRAIN", 1)


def test_eight_threads_do_everything_on_one_model():
    model = Model([LSTM(20, num_layers=2), Dense(3)], input_size=4, n_threads=2)
    x, target = normal(0, 6, 7, 4), np.zeros((6, 7), int)
    lm = CharLM(hidden_size=8, num_layers=1, n_threads=2).fit("abc abd " * 40, epochs=1, verbose=0)
    stream = model.stream()
    outputs = model.forward(x)[0]
    expected = {
        "forward": outputs,
        "step": model.step(x[:, 0])[0],
        "single": model.step(x[:1, 0])[0],
        "proba": model.predict_proba(x),
        "sample": lm.sample(60, prime="a", seed=3),
        "gradient": model.loss_and_grad(x, target)[1]["lstm.weight_hh_l1"],
        "stream": [stream.step(x_t).copy() for x_t in x[0]],
    }
    # Nothing is packed yet that the threads could share: they do that at the same time too.
    twin = model.copy()
    again = CharLM.from_description(
        {"cell": lm.cell, "vocabulary": [ord(c) for c in lm.vocabulary.characters], "seed": lm.seed,
         "model": lm.model.description()}, dict(lm.model.params),
    )  # fmt: skip
    barrier, wrong, runs = threading.Barrier(8, timeout=60), [], 15

    def call(number):
        own = twin.stream()
        found = {
            "forward": lambda: twin.forward(x)[0],
            "step": lambda: twin.step(x[:, 0])[0],
            "single": lambda: twin.step(x[:1, 0])[0],
            "proba": lambda: twin.predict_proba(x),
            "sample": lambda: again.sample(60, prime="a", seed=3),
            "gradient": lambda: twin.loss_and_grad(x, target)[1]["lstm.weight_hh_l1"],
            "stream": lambda: own.reset() or [own.step(x_t).copy() for x_t in x[0]],
        }
        names = list(found)
        try:
            barrier.wait()
            for i in range(runs * len(names)):
                name = names[(i + number) % len(names)]
                if not np.array_equal(found[name](), expected[name]):
                    wrong.append(name)
        except BaseException as error:
            wrong.append(error)

    threads = [threading.Thread(target=call, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def in_threads(count, function):
    """Call ``function(number)`` in threads at the same time; return what the calls returned, raise what one raised."""
    barrier, found = threading.Barrier(count, timeout=60), [None] * count

    def call(number):
        try:
            barrier.wait()
            found[number] = function(number)
        except BaseException as error:
            found[number] = error

    threads = [threading.Thread(target=call, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for one in found:
        if isinstance(one, BaseException):
            raise one
    return found


def test_weights_change_between_the_calls_of_many_threads():
    """Whoever comes first packs the new weights, some into memory that was used before."""
    model, x, target = Model([LSTM(20), Dense(3)], input_size=4), normal(0, 6, 7, 4), np.zeros((6, 7), int)

    def results(net):
        loss, gradients = net.loss_and_grad(x, target)
        return [loss, *gradients.values(), net.forward(x)[0], net.step(x[:1, 0])[0]]

    for change in range(20):
        model.set_flat(normal(change, model.params.size) / 4)
        expected = results(model.copy())
        for found in in_threads(6, lambda number: results(model)):
            for one, other in zip(found, expected, strict=True):
                assert_same_bits(one, other)


def test_two_threads_do_not_pack_into_the_same_memory(monkeypatch):
    model, x, target = Model([LSTM(20), Dense(3)], input_size=4), normal(0, 6, 7, 4), np.zeros((6, 7), int)
    model.loss_and_grad(x, target)
    model.set_flat(model.params.flat / 2)
    together, packed, prepare = threading.Barrier(2, timeout=60), [], model._prepare

    def slow(call, params, old=None):
        packed.append(old)
        together.wait()  # both are here
        return prepare(call, params, old)

    monkeypatch.setattr(model, "_prepare", slow)
    in_threads(2, lambda number: model.loss_and_grad(x, target))
    assert sorted(old is None for old in packed) == [False, True]


def test_parameters_that_a_device_has_newer_are_new_to_every_thread():
    params = Model([Dense(3)], input_size=4).params
    new, together = params.flat + 1, threading.Barrier(2, timeout=60)

    def fetch():
        together.wait()  # a second thread reads while the first one fetches
        return new

    params.mark_stale(fetch)
    for found in in_threads(2, lambda number: params.flat.copy()):
        assert_same_bits(found, new)
    assert_same_bits(params.flat, new)  # nothing is fetched again: the barrier would wait
    params.mark_stale(lambda: 1 / 0)
    for _ in range(2):  # what could not be fetched is still to come
        with pytest.raises(ZeroDivisionError):
            params["dense.weight"]


@forks
def test_four_children_after_parallel_use(tmp_path):
    code = f"""{SETUP}
assert parallel._workers
children = []
for _ in range(4):
    child = os.fork()
    if child == 0:
        os._exit(0 if equal(results(), expected) and parallel._workers else 1)
    children.append(child)
wait(children)
assert equal(results(), expected)
"""
    run_python(code, cwd=tmp_path, cache=CACHE)


@forks
def test_children_of_a_process_whose_threads_are_busy(tmp_path):
    """The pool, its lock, the arenas and the packed weights may be in any state when the fork comes."""
    code = f"""{SETUP}
stop, wrong = threading.Event(), []

def busy():
    while not stop.is_set():
        if not equal(results(), expected):
            wrong.append(True)

threads = [threading.Thread(target=busy) for _ in range(4)]
for thread in threads:
    thread.start()
held, children = 0, []
for _ in range(40):
    held += bool(parallel._owner)
    child = os.fork()
    if child == 0:
        os._exit(0 if equal(results(), expected) else 1)
    children.append(child)
    if len(children) == 4:
        wait(children)
        children = []
stop.set()
for thread in threads:
    thread.join()
assert not wrong
assert held > 0, "no fork came while the pool was taken"
"""
    run_python(code, cwd=tmp_path, cache=CACHE)


@forks
def test_a_fork_waits_for_the_compiler(tmp_path):
    """Without that the child hangs: it inherits the compiler's lock, but not the thread that would open it."""
    code = f"""{SETUP}
import numba
from numba.core.compiler_lock import global_compiler_lock
holds, forked = threading.Event(), []

def compiling():
    with global_compiler_lock:
        holds.set()
        time.sleep(0.5)
        forked.append(time.monotonic())

thread = threading.Thread(target=compiling)
thread.start()
holds.wait()
child = os.fork()
if child == 0:
    os._exit(0 if numba.njit(lambda a: a + 1)(1) == 2 and equal(results(), expected) else 1)
assert time.monotonic() >= forked[0]
wait([child])
with global_compiler_lock:
    pass
"""
    run_python(code, cwd=tmp_path, cache=CACHE)


WORK = """
import numpy as np

def work(model_file, x):
    import numbarnn
    from numbarnn import parallel
    parallel.GRAIN = 1
    model = numbarnn.load(model_file)
    return model.forward(x, n_threads=2)[0], model.stream().step(x[0, 0]).copy()
"""


@pytest.mark.parametrize("kind", ["spawn", "loky"])
def test_other_processes(kind, tmp_path):
    if kind == "loky":
        pytest.importorskip("joblib")
    model = Model([LSTM(20), Dense(3)], input_size=4)
    model.save(tmp_path / "model.safetensors")
    x = normal(0, 6, 7, 4)
    np.save(tmp_path / "x.npy", x)
    (tmp_path / "work.py").write_text(WORK)
    start = {
        "spawn": """
    import multiprocessing
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        found = pool.starmap(work, [("model.safetensors", x)] * 4)
""",
        "loky": """
    from joblib import Parallel, delayed
    found = Parallel(2, backend="loky")(delayed(work)("model.safetensors", x) for _ in range(4))
""",
    }[kind]
    (tmp_path / "main.py").write_text(f"""
import numpy as np
from work import work

if __name__ == "__main__":
    x = np.load("x.npy")
{start}
    np.savez("found.npz", outputs=[f[0] for f in found], steps=[f[1] for f in found])
""")
    code = "import runpy, sys; sys.path.insert(0, '.'); runpy.run_path('main.py', run_name='__main__')"
    if kind == "spawn":
        code = "import subprocess, sys; sys.exit(subprocess.call([sys.executable, 'main.py'], timeout=200))"
    run_python(code, cwd=tmp_path, cache=CACHE)
    found = np.load(tmp_path / "found.npz")
    expected = model.forward(x)[0]
    for outputs, step in zip(found["outputs"], found["steps"], strict=True):
        assert_same_bits(outputs, expected)
        assert_same_bits(step, expected[0, 0])


UNPICKLE = """
import pickle, sys
import numpy as np
import numbarnn as nr
with open(sys.argv[1], "rb") as file:
    model, stream, weights, state, lm = pickle.load(file)
x = np.random.default_rng(0).normal(size=(6, 7, 4)).astype(np.float32)
y = np.zeros(3, np.float32)
nr.step(weights, x[0, 1], state, y)
results = [model.forward(x)[0], model.step(x[:1, 0])[0], stream.step(x[0, 1]), y]
np.savez(sys.argv[2], *results, text=lm.sample(20))
"""


def test_what_was_used_is_pickled_to_another_process(tmp_path):
    """Packed weights hold addresses of compiled code; another process has it elsewhere."""
    model = Model([LSTM(20, num_layers=2), Dense(3)], input_size=4)
    x = np.random.default_rng(0).normal(size=(6, 7, 4)).astype(np.float32)
    expected = [model.forward(x)[0], model.step(x[:1, 0])[0]]
    stream, y = model.stream(), np.zeros(3, np.float32)
    stream.step(x[0, 0])
    step, weights, state = step_function(model)
    step(weights, x[0, 0], state, y)
    lm = CharLM(hidden_size=8, num_layers=1).fit("abc abd " * 40, epochs=1, verbose=0)
    text = lm.sample(20)
    content = pickle.dumps((model, stream, weights, state, lm))
    expected += [stream.step(x[0, 1]).copy()] * 2
    (tmp_path / "all.pickle").write_bytes(content)
    run_python(UNPICKLE, tmp_path / "all.pickle", tmp_path / "results.npz", cwd=tmp_path, cache=CACHE)
    with np.load(tmp_path / "results.npz") as results:
        for index, one in enumerate(expected):
            assert_same_bits(results[f"arr_{index}"], one)
        assert str(results["text"]) == text


def test_step_weights_of_another_processor_are_refused(monkeypatch):
    _, weights, _ = step_function(Model([LSTM(4)], input_size=2))
    content = pickle.dumps(weights)
    monkeypatch.setattr(step_kernels, "panel_width", lambda dtype: 4096)
    with pytest.raises(RuntimeError, match="packed for another processor"):
        pickle.loads(content)


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
def test_copies_stand_alone(copied):
    x, target = normal(0, 6, 7, 4), np.zeros((6, 7), int)
    model = Model([LSTM(5), Dense(3)], input_size=4, seed=3)
    model.fit(x, target, epochs=1, verbose=0)
    before, outputs = model.params.flat.copy(), model.forward(x)[0]
    twin = copied(model)
    assert_same_bits(twin.forward(x)[0], outputs)
    twin.fit(x, target, epochs=2, verbose=0)
    assert not np.array_equal(twin.forward(x)[0], outputs)
    assert not twin.params.flat.flags.writeable
    assert_same_bits(model.params.flat, before)
    model.fit(x, target, epochs=1, verbose=0)
    stream = model.stream()
    stream.step(x[0, 0])
    other = copied(stream)
    first = stream.step(x[0, 1]).copy()
    assert_same_bits(other.step(x[0, 1]), first)
    del stream
    other.step(x[0, 2])
    assert_same_bits(other.snapshot()[0][0], model.forward(x[:1, :3])[1][0][0])


def test_pullbacks_do_not_hoard_memory(monkeypatch):
    """A Jacobian is a pullback for each of its rows; the memory of one serves the next."""
    monkeypatch.setattr(batch, "_arenas", [])
    model, x = Model([LSTM(20)], input_size=4), normal(0, 6, 7, 4)

    def memory(pullbacks):
        outputs, _, pullback = model.vjp(x)
        for _ in range(pullbacks):
            pullback(outputs)
        del pullback
        model.forward(x)
        return sum(arena.block.size + arena.used for arena in batch._arenas)

    once = memory(1)
    assert memory(100) <= 2 * once


class Between(losses.Loss):
    """Squared error, in NumPy; something else happens between the way forward and the way back."""

    output_activation = None
    happens = staticmethod(lambda: None)

    def value_and_gradient(self, outputs, target):
        self.happens()
        d = outputs - np.asarray(target)
        return (d * d).mean(axis=2), 2 * d / d.shape[2]


@pytest.mark.parametrize("by_segments", [False, True])
def test_a_pass_keeps_its_weights_while_another_trains(by_segments):
    model = Model([LSTM(4), Dense(2)], input_size=3, dtype="float64")
    x, y, before = normal(0, 2, 400, 3), normal(1, 2, 400, 2), model.params.flat.copy()
    memory_limit = model.memory(2, 400, loss=Between()).total * 3 // 4 if by_segments else None
    expected = model.loss_and_grad(x, y, Between(), memory_limit=memory_limit)

    def train():  # as another thread would
        model.set_flat(before * 0.5)
        model.loss_and_grad(x, y, Between())
        model.set_flat(before)

    loss = Between()
    object.__setattr__(loss, "happens", train)
    found = model.loss_and_grad(x, y, loss, memory_limit=memory_limit)
    assert found[0] == expected[0]
    for name, gradient in expected[1].items():
        assert_same_bits(found[1][name], gradient)
    assert len(model._packed["backward"]) == 2  # as many as were in use at once
