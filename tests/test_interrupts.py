"""Ctrl-C at every point: no hang, no half-done work, and one line where it has to wait."""

import asyncio
import json
import os
import random
import signal
import threading
import time

import pytest
from processes import run_python

from numbarnn import parallel
from numbarnn.kernels import cache
from numbarnn.kernels.compile import jit
from numbarnn.kernels.interrupts import DeferredInterrupt

pytestmark = pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="needs signals that POSIX has")


@pytest.fixture(autouse=True)
def python_handler():
    """Let Ctrl-C raise, whatever runs the tests."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_deferred_until_the_block_ends():
    done = []

    def block():
        with DeferredInterrupt():
            signal.raise_signal(signal.SIGINT)
            done.append("after the signal")

    with pytest.raises(KeyboardInterrupt):
        block()
    assert done == ["after the signal"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_every_signal_reaches_the_handler_of_before():
    heard = []
    signal.signal(signal.SIGINT, lambda *_: heard.append(True))
    with DeferredInterrupt():
        with DeferredInterrupt():
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)
        assert not heard
    assert len(heard) == 2


def test_an_event_loop_hears_one_signal_once():
    heard = []

    async def main():
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGINT, heard.append, True)
        with DeferredInterrupt():
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.05)
        await asyncio.sleep(0.05)
        loop.remove_signal_handler(signal.SIGINT)

    asyncio.run(main())
    assert heard == [True]


def test_an_error_in_the_block_comes_out():
    with pytest.raises(ZeroDivisionError), DeferredInterrupt():
        raise ZeroDivisionError
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.mark.parametrize("handler", [signal.SIG_IGN, signal.SIG_DFL])
def test_what_python_does_not_handle_stays(handler):
    signal.signal(signal.SIGINT, handler)
    with DeferredInterrupt():
        assert signal.getsignal(signal.SIGINT) == handler


def test_other_threads_are_left_alone():
    seen = []

    def block():
        with DeferredInterrupt():
            seen.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=block)
    thread.start()
    thread.join()
    assert seen == [signal.default_int_handler]


@pytest.mark.parametrize("thread", ["caller", "worker"])
def test_a_kernel_is_compiled_before_the_interrupt(monkeypatch, capsys, tmp_path, thread):
    """Twice Ctrl-C while a kernel compiles: one line, and the kernel is there afterwards."""
    parallel.run([lambda: None, lambda: None])  # has kernels of its own

    @jit
    def square(x):
        return x * x

    monkeypatch.setattr(cache, "cache_directories", lambda: [tmp_path])

    def press(_):
        for _ in range(2):
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.05)  # Python's handler runs in the main thread, in a moment

    monkeypatch.setattr(cache, "on_compile", [press])
    jobs = [lambda: square(3)] if thread == "caller" else [lambda: time.sleep(0.1), lambda: square(3)]
    with pytest.raises(KeyboardInterrupt):
        parallel.run(jobs)
    assert len(square.overloads) == 1
    # A worker's compilation is not interrupted anyway: the caller waits for it.
    assert capsys.readouterr().err.count("Ctrl-C was heard") == (thread == "caller")
    parallel.run([lambda: square(3)])
    assert len(square.overloads) == 1


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # see `lost`
@pytest.mark.parametrize("way", ["SIGINT", "SIGALRM"])
def test_interrupts_at_any_point_of_waiting(way):
    """A thousand of them while two threads work, as Ctrl-C or raised by another signal's handler: each ends its run, none hangs."""

    armed = [False]

    def interrupt(*_):
        if armed[0]:
            armed[0] = False
            raise KeyboardInterrupt

    number = getattr(signal, way)
    before = signal.signal(number, interrupt)
    generator, stop = random.Random(0), threading.Event()

    def press():
        while not stop.is_set():
            time.sleep(generator.uniform(0.0002, 0.002))
            os.kill(os.getpid(), number)

    begun, ended = [0, 0], [0, 0]

    def job(which):
        begun[which] += 1
        time.sleep(1e-4)
        ended[which] += 1

    jobs, hits, lost, pressing = [lambda: job(0), lambda: job(1)], 0, 0, threading.Thread(target=press)
    pressing.start()
    while hits + lost < 1000:
        try:
            armed[0] = True
            while armed[0]:
                parallel.run(jobs)
            lost += 1  # Python drops what is raised in finalizers and in callbacks of its garbage collector
        except KeyboardInterrupt:
            hits += 1
    stop.set()
    pressing.join()
    signal.signal(number, before)
    assert lost < 100
    assert not parallel._owner
    assert not [worker for worker in parallel._workers if worker.job is not None]
    assert begun[1] == ended[1]  # nothing is cut off in a worker
    seen = []
    parallel.run([lambda n=n: seen.append((n, threading.get_ident())) for n in range(2)])
    assert len({ident for _, ident in seen}) == 2  # the pool is free


ANYWHERE = """
import faulthandler, json, signal, sys, time, warnings
import numpy as np, pandas as pd
import numbarnn as nr
from numbarnn import parallel
parallel.GRAIN = 1000  # two threads, also for little work
faulthandler.dump_traceback_later(280, exit=True)
warnings.simplefilter("ignore")

x = np.random.default_rng(0).normal(size=(32, 20, 3))
model = nr.Model([nr.LSTM(16), nr.Dense(2)], 3, n_threads=2)
text = "the quick brown fox jumps over the lazy dog. " * 20
lm = nr.CharLM("lstm", 16, 1, n_threads=2).fit(text, 1, batch_size=8, verbose=0)
frame = pd.DataFrame({"a": np.sin(np.arange(400) / 5)}, pd.date_range("2024", periods=400, freq="h"))
forecaster = nr.Forecaster(12, horizon=3, hidden_size=8, epochs=1, recursive=True, n_threads=2).fit(frame, verbose=0)

def fit():
    model.fit(x, (x[:, :, 0] > 0).astype(int), epochs=2, batch_size=8, validation=0.25, verbose=0)

works = {
    "fit": (fit, lambda: bool((model.forward(x)[0] == model.copy().forward(x)[0]).all())),
    "sample": (lambda: lm.sample(2000, seed=1), lambda: lm.sample(50, seed=2)),
    "score": (lambda: lm.score(text), lambda: lm.score(text[:99]).nats),
    "forecast": (lambda: forecaster.backtest(frame), lambda: forecaster.predict().to_numpy().tolist()),
}
signal.signal(signal.SIGINT, signal.default_int_handler)
armed = [False]  # a signal may come after the work, also one that was sent before the timer was stopped

def alarm(*_):
    if armed[0]:
        signal.raise_signal(signal.SIGINT)

signal.signal(signal.SIGALRM, alarm)
points, counts = int(sys.argv[1]), {}
for name, (work, check) in works.items():
    work(), check()
    started = time.perf_counter()
    work()
    seconds, expected, heard = time.perf_counter() - started, check(), 0
    for point in range(points):
        try:
            armed[0] = True
            signal.setitimer(signal.ITIMER_REAL, max(1e-6, seconds * point / points))
            work()
            armed[0] = False
        except KeyboardInterrupt:
            heard += 1
        signal.setitimer(signal.ITIMER_REAL, 0)
        if signal.getsignal(signal.SIGINT) is not signal.default_int_handler or check() != expected:
            sys.exit(f"{name}, point {point} of {points}")
    counts[name] = heard
print(json.dumps(counts))
"""


def test_interrupts_at_any_point_of_work(tmp_path, request):
    """Training, sampling, scoring and forecasts go on afterwards as if nothing had been."""
    points = request.config.getoption("--interrupts")
    done = run_python(ANYWHERE, points, cwd=tmp_path, cache=os.environ.get("NUMBA_CACHE_DIR"), check=False)
    assert done.returncode == 0, done.stderr
    counts = json.loads(done.stdout)
    assert counts.pop("fit") < points  # ended after a step, without an exception
    assert min(counts.values()) > points / 4, counts


AWKWARD = """
import faulthandler, time
from numbarnn import parallel
faulthandler.dump_traceback_later(30, exit=True)
jobs = [lambda: None, lambda: time.sleep(0.05)]
parallel.run(jobs)
(worker,) = parallel._workers

class Lock:
    left, lock = 3, worker.done

    def acquire(self):
        self.lock.acquire()
        if self.left:
            self.left -= 1
            raise KeyboardInterrupt

    def release(self):
        self.lock.release()

    def locked(self):
        return self.lock.locked()

worker.done = Lock()
for _ in range(3):
    try:
        parallel.run(jobs)
    except KeyboardInterrupt:
        print("interrupted", worker.job)
parallel.run(jobs)
"""


def test_an_interrupt_right_after_a_worker_was_done(tmp_path):
    """The lock is taken, and the next line never reached."""
    done = run_python(AWKWARD, cwd=tmp_path, cache=os.environ.get("NUMBA_CACHE_DIR"))
    assert done.stdout == 3 * "interrupted None\n"


IMPORT = """
import os, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)

class Press:
    def find_spec(name, path=None, target=None):
        if name == sys.argv[1]:
            os.kill(os.getpid(), signal.SIGINT)

sys.meta_path.insert(0, Press)
if sys.argv[2] == "command":
    from numbarnn.__main__ import main
    sys.exit(main(["doctor"]))
import numbarnn
try:
    numbarnn.Model
except KeyboardInterrupt:
    print("interrupted", sys.argv[1] in sys.modules, numbarnn.Model.__name__)
"""


@pytest.mark.parametrize("module", ["numbarnn.model", "numba.core.types", "numpy.linalg"])
def test_an_interrupt_while_modules_are_imported(tmp_path, module):
    """Modules are imported whole, and then the interrupt comes: no traceback of the command, and nothing that is half there."""
    cache = os.environ.get("NUMBA_CACHE_DIR")
    done = run_python(IMPORT, module, "command", cwd=tmp_path, cache=cache, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "numbarnn: interrupted\n")
    done = run_python(IMPORT, module, "module", cwd=tmp_path, cache=cache)
    assert done.stdout == "interrupted True Model\n"


TRAIN = """
import os, signal, sys, threading, time
from numbarnn import parallel
from numbarnn.cli.main import main
parallel.GRAIN = 1

def press():
    ready.wait()
    for _ in range(2):
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.02)

ready, run = threading.Event(), parallel.run

def noted(jobs):
    count[0] += 1
    if count[0] == int(sys.argv[2]):
        ready.set()
    run(jobs)

count, parallel.run = [0], noted
threading.Thread(target=press, daemon=True).start()
signal.signal(signal.SIGINT, signal.default_int_handler)
sys.exit(main(["train", sys.argv[1], "--hidden-size", "16", "--epochs", "500"]))
"""


@pytest.mark.parametrize("run", [1, 400])
def test_two_interrupts_end_the_training_command(tmp_path, run):
    """While kernels compile, and in the middle of training: it ends, with the file written or with Ctrl-C's exit status."""
    text = tmp_path / "text"
    text.write_text("the quick brown fox jumps over the lazy dog. " * 60)
    done = run_python(TRAIN, text, run, cwd=tmp_path, cache=os.environ.get("NUMBA_CACHE_DIR"), check=False)
    assert done.returncode in (0, 130), done.stderr
    assert "Traceback" not in done.stderr
