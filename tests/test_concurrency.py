"""One model under many threads, forked children, spawned and pooled processes."""

import os
import threading

import numpy as np
import pytest
from conftest import assert_same_bits, normal
from processes import run_python

from numbarnn import LSTM, CharLM, Dense, Model, parallel

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
    held += parallel._busy.locked()
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
