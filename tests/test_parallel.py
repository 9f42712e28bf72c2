"""The pool of threads."""

import os
import signal
import threading
import time

import numpy as np
import pytest
from processes import run_python

from numbarnn import LSTM, Dense, Model, parallel


@pytest.fixture(autouse=True)
def several(monkeypatch):
    """Make every work worth several threads."""
    monkeypatch.setattr(parallel, "GRAIN", 1)


def test_every_job_runs_once_in_its_own_thread():
    seen, barrier = [], threading.Barrier(3, timeout=10)

    def job(number):
        barrier.wait()  # all three must run at the same time
        seen.append((number, threading.get_ident()))

    parallel.run([lambda n=n: job(n) for n in range(3)])
    assert sorted(number for number, _ in seen) == [0, 1, 2]
    assert len({thread for _, thread in seen}) == 3


@pytest.mark.parametrize("guilty", [0, 1, 2])
def test_an_error_comes_out_after_all_jobs_are_done(guilty):
    done = []

    def job(number):
        if number == guilty:
            raise ZeroDivisionError(str(number))
        time.sleep(0.05)
        done.append(number)

    with pytest.raises(ZeroDivisionError, match=str(guilty)):
        parallel.run([lambda n=n: job(n) for n in range(3)])
    assert sorted(done) == sorted({0, 1, 2} - {guilty})
    parallel.run([lambda n=n: done.append(n) for n in range(3)])  # the pool still works
    assert len(done) == 5


def test_a_taken_pool_is_no_obstacle():
    """A job that runs jobs, and callers in many threads, get their work done."""
    seen = []
    parallel.run([lambda n=n: parallel.run([lambda m=m: seen.append((n, m)) for m in range(3)]) for n in range(3)])
    assert sorted(seen) == [(n, m) for n in range(3) for m in range(3)]


@pytest.mark.parametrize("count", [1, 2, 3, 7, 100])
@pytest.mark.parametrize("n_threads", [1, 2, 3, 8])
def test_shares_cover_everything_once(count, n_threads):
    pieces = parallel.shares(count, 1e9, n_threads)
    assert [i for lo, hi in pieces for i in range(lo, hi)] == list(range(count))
    assert len(pieces) == min(count, n_threads)


def test_small_work_has_one_share(monkeypatch):
    monkeypatch.setattr(parallel, "GRAIN", 1000)
    assert parallel.shares(100, 1999, 8) == [(0, 100)]
    assert len(parallel.shares(100, 2000, 8)) == 2


@pytest.mark.parametrize("setting", ["0", "-1", "two", "1.5"])
def test_bad_setting_in_the_environment(monkeypatch, setting):
    monkeypatch.setenv("NUMBARNN_NUM_THREADS", setting)
    with pytest.raises(ValueError, match="NUMBARNN_NUM_THREADS"):
        parallel.default_threads()


def test_setting_in_the_environment(monkeypatch):
    monkeypatch.setenv("NUMBARNN_NUM_THREADS", "3")
    assert parallel.check_threads(None) == 3


GROUPS = {
    "none": ({}, None),
    "version 2": ({"proc": "0::/", "": "150000 100000"}, 1.5),
    "version 2 without limit": ({"proc": "0::/", "": "max 100000"}, None),
    "version 2, the group above": ({"proc": "0::/a/b", "a": "100000 100000", "a/b": "max 100000"}, 1.0),
    "version 2, the least": ({"proc": "0::/a/b", "": "200000 100000", "a": "300000 100000", "a/b": "250000 100000"}, 2.0),
    "version 2, the machine's path": ({"proc": "0::/docker/123", "": "50000 100000"}, 0.5),
    "version 2, beyond the container": ({"proc": "0::/../other", "": "50000 100000"}, 0.5),
    "version 1": ({"proc": "3:memory:/x\n2:cpu,cpuacct:/x", "cpu,cpuacct/x": (300000, 100000)}, 3.0),
    "version 1, one folder": ({"proc": "2:cpuacct,cpu:/x", "cpu": (400000, 100000)}, 4.0),
    "version 1 without limit": ({"proc": "2:cpu:/", "cpu": (-1, 100000)}, None),
    "both": ({"proc": "1:cpu:/\n0::/", "cpu": (-1, 100000), "unified": "100000 50000"}, 2.0),
    "damaged": ({"proc": "0\n\n0::\n:::", "": "many of them"}, None),
    "cut off": ({"proc": "0::/", "": "100000"}, None),
    "no period": ({"proc": "0::/", "": "100000 0"}, None),
}  # fmt: skip


@pytest.mark.parametrize("name", GROUPS)
def test_quota_of_a_control_group(tmp_path, name):
    tree, expected = GROUPS[name]
    for group, content in tree.items():
        if group == "proc":
            path = tmp_path / "proc" / "self" / "cgroup"
            path.parent.mkdir(parents=True)
            path.write_text(content + "\n")
            continue
        folder = tmp_path / "sys" / "fs" / "cgroup" / group
        folder.mkdir(parents=True, exist_ok=True)
        if isinstance(content, str):
            (folder / "cpu.max").write_text(content + "\n")
        else:
            for part, value in zip(("quota", "period"), content, strict=True):
                (folder / f"cpu.cfs_{part}_us").write_text(f"{value}\n")
    assert parallel.cpu_quota(tmp_path) == expected


@pytest.mark.parametrize(
    ("quota", "affinity", "threads", "reason"),
    [
        (None, 3, 3, "affinity"),
        (8.0, 3, 3, "affinity"),
        (1.5, 3, 2, "quota"),
        (0.1, 3, 1, "quota"),
        (3.0, 3, 3, "affinity"),
    ],
)
def test_threads_by_default(monkeypatch, quota, affinity, threads, reason):
    for name in ("NUMBARNN_NUM_THREADS", *parallel.LIMITS):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(parallel, "_own_quota", lambda: quota)
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: range(affinity), raising=False)
    assert parallel.usable_processors()[0] == parallel.default_threads() == threads
    assert reason in parallel.usable_processors()[1]


def test_many_threads_call_one_model():
    model = Model([LSTM(20), Dense(3)], input_size=4, n_threads=2)
    x = np.random.default_rng(0).normal(size=(6, 7, 4))
    expected = model.forward(x)[0]
    wrong = []

    def call():
        for _ in range(30):
            if not np.array_equal(model.forward(x)[0], expected):
                wrong.append(threading.get_ident())

    threads = [threading.Thread(target=call) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
def test_forked_child_after_parallel_use(tmp_path):
    code = """
import os, sys, warnings
import numpy as np
from numbarnn import LSTM, Model, parallel
warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12 warns of every fork beside threads
parallel.GRAIN = 1
model = Model([LSTM(20)], input_size=4, n_threads=2)
x = np.ones((6, 7, 4))
expected = model.forward(x)[0]
assert parallel._workers
for _ in range(3):
    child = os.fork()
    if child == 0:
        assert not parallel._workers
        same = np.array_equal(model.forward(x)[0], expected) and bool(parallel._workers)
        os._exit(0 if same else 1)
    assert os.waitpid(child, 0)[1] == 0
assert np.array_equal(model.forward(x)[0], expected)
"""
    run_python(code, cwd=tmp_path, cache=os.environ.get("NUMBA_CACHE_DIR"))


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs signal.setitimer")
def test_ctrl_c_waits_for_the_workers():
    """An interrupt leaves no worker writing into the caller's arrays, and the pool in order."""
    running = threading.Event()
    finished = []

    def slow():
        running.set()
        time.sleep(0.3)
        finished.append(True)

    def interrupted():
        running.wait()
        time.sleep(5)

    before = signal.signal(signal.SIGALRM, lambda *_: (_ for _ in ()).throw(KeyboardInterrupt()))
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.1)
        with pytest.raises(KeyboardInterrupt):
            parallel.run([interrupted, slow])
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert finished
    seen = []
    parallel.run([lambda n=n: seen.append(n) for n in range(2)])
    assert sorted(seen) == [0, 1]
