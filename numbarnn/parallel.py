"""Threads: a pool of sleeping workers that run compiled kernels beside the calling thread.

Kernels release the GIL and are compiled without ``parallel=True``, which costs half the compile time and has no
threading layer that could abort (workqueue under concurrent callers) or die in a forked child (GNU OpenMP). Waking a
worker through a lock and waiting for it takes 25 us (a ThreadPoolExecutor: 130 us); `shares` therefore gives small
work one thread.

* Several Python threads may call: whoever finds the pool taken runs its shares alone, in sequence. Results do not
  depend on the number of threads, so this shows in time only.
* Jobs may wait for each other in compiled code (`numbarnn.kernels.cpu.barrier`). Such jobs run at the same time or not at all:
  where the pool is taken, one job does all the work in their place, and if one raises or cannot start the others are freed. One job
  does it too for a moment after a call whose jobs waited for processors that others had, for then every meeting may cost a slice of
  time (LSTM(128), 90 steps, six other processes on two processors: 7.6 ms together, 0.4 ms alone).
* A forked child starts with an empty pool. A fork waits until no other thread is compiling: the child would inherit
  the compiler's lock without the thread that opens it, and hang where it first needs a kernel. If the handler of a signal forks in
  the middle of a call, that call ends in the child with an error, for the workers are its parent's.
* Ctrl-C during a call takes effect when the workers are done with the caller's arrays; so does any other exception
  that a signal's handler raises.
* Jobs take denormal numbers as zero; the caller's mode is as before when they are done (`numbarnn.kernels.cpu.denormals`).
"""

import contextlib
import functools
import math
import os
import pathlib
import threading
import time
from collections.abc import Iterator

from numba.core.compiler_lock import global_compiler_lock

from numbarnn.checks import brief, check_integer
from numbarnn.kernels.cpu import barrier, denormals
from numbarnn.kernels.interrupts import DeferredInterrupt

# Work that one more thread must have to be worth its waking: about 0.1 ms of one core.
GRAIN = 4_000_000
MOST = 2**16  # threads


# Variables that joblib sets in its workers, Dask in its own and batch systems in a job, so that processes side by side do not have
# more threads than there are processors.
LIMITS = "NUMBA_NUM_THREADS", "OMP_NUM_THREADS"


def default_threads(processes: int = 1) -> int:
    """Return the number of threads used where none is given: NUMBARNN_NUM_THREADS, or what `granted_threads` says.

    Parameters
    ----------
    processes : int
        That share the processors, this one among them.
    """
    setting = os.environ.get("NUMBARNN_NUM_THREADS", "")
    if setting:
        if not setting.isdecimal() or int(setting) < 1:
            raise ValueError(f"NUMBARNN_NUM_THREADS must be a positive integer, got {brief(setting)}")
        return int(setting)
    return granted_threads(processes)[0]


def granted_threads(processes: int = 1) -> tuple[int, str]:
    """Return how many threads this process may have beside others, and what says so.

    As many as there are processors for each of the processes that share them, or the least of the variables NUMBA_NUM_THREADS and
    OMP_NUM_THREADS, if that is less. A variable that is not a positive integer, or a list of them, says nothing.
    """
    count, reason = usable_processors()
    found = max(1, count // processes), reason
    for name in LIMITS:
        setting = os.environ.get(name, "").split(",")[0].strip()  # OpenMP's may have a number for each level of nesting
        if setting.isdecimal() and 0 < int(setting) < found[0]:
            found = int(setting), name
    return found


def usable_processors() -> tuple[int, str]:
    """Return the number of processors that this process may use, and what says so.

    It is the number of those it may run on (its affinity), or the quota of its control group, as a container has one, if that is
    less; a quota of 1.5 processors is worth two threads.
    """
    try:
        found = len(os.sched_getaffinity(0)), "affinity of the process"
    except AttributeError:  # not Linux
        found = os.cpu_count() or 1, "processors of the machine"
    quota = _own_quota()
    if quota is not None and math.ceil(quota) < found[0]:
        found = max(1, math.ceil(quota)), f"quota of {quota:g} processors of the control group"
    return found


CONTROLLER = "cpu"  # of version 1, alone or with others: "cpu,cpuacct"


@functools.cache
def _own_quota():
    return cpu_quota()


def cpu_quota(root: str | os.PathLike = "/") -> float | None:
    """Return the processors that Linux control groups grant this process, the least of its group and those above; None: no limit.

    Parameters
    ----------
    root : path-like
        Folder of ``proc`` and ``sys``; for tests.
    """
    root, quotas = pathlib.Path(root), []
    mounts = root / "sys" / "fs" / "cgroup"
    for line in _text(root / "proc" / "self" / "cgroup").splitlines():
        number, controllers, group = (*line.split(":", 2), "", "")[:3]
        if number == "0":  # version 2
            quota = _quota_2
            mount = mounts / "unified" if (mounts / "unified").is_dir() else mounts
        elif CONTROLLER in controllers.split(","):
            quota = _quota_1
            mount = next((mounts / name for name in (controllers, CONTROLLER) if (mounts / name).is_dir()), mounts)
        else:
            continue
        # In a container the group's path may be that of the machine, which is not to be seen: then its mount is the group.
        folder = mount / group.lstrip("/")
        quotas += [quota(group) for group in (folder, *folder.parents) if group == mount or mount in group.parents]
    return min((quota for quota in quotas if quota), default=None)


def _quota_2(folder):
    return _share(_text(folder / "cpu.max").split())


def _quota_1(folder):
    return _share(_text(folder / f"cpu.cfs_{name}_us").strip() for name in ("quota", "period"))


def _share(parts):
    """Return microseconds granted / microseconds of a period, None where they are not numbers ("max") or there is no limit (-1)."""
    try:
        granted, period = map(int, parts)
        return granted / period if granted > 0 and period > 0 else None
    except ValueError:
        return None


def _text(path):
    try:
        return path.read_text()
    except (OSError, ValueError):  # not Linux, not mounted, not readable
        return ""


def check_threads(n_threads) -> int:
    """Return a valid number of threads for an argument `n_threads`; None means `default_threads`."""
    return default_threads() if n_threads is None else check_integer(n_threads, "n_threads", 1, MOST)


def shares(count: int, operations: float, n_threads: int) -> list[tuple[int, int]]:
    """Cut range(count) into one piece a thread, of even size, as many as the operations (multiply-adds) are worth."""
    pieces = max(1, min(n_threads, count, int(operations // GRAIN)))
    return [(i * count // pieces, (i + 1) * count // pieces) for i in range(pieces)]


# Threads share the units of a time loop (`parties`) where that gains with two of them, measured on two Zen 5 cores, LSTM, 16
# inputs: each needs so much work in all (forward, one sample: H = 128, 1.08 times as fast with 50 steps and 1.31 with 100; H = 256,
# 0.99 with 10 and 1.33 with 20; H = 1024, 1.31 with two),
UNITS_GRAIN = 2_500_000
# so much at each step, for they meet once (H = 64: 1.18 with 400 steps, and on a busy machine every meeting costs),
STEP_GRAIN = 16_000
# and so few samples, for with more the rows of a product keep a core as busy (H = 512: 1.78 with 4 samples, 1.30 with 8, 1.07 with
# 16; H = 128: 1.34, 1.14, 0.98).
SHARED_SAMPLES = 4  # for each thread


_uncapped = []


@contextlib.contextmanager
def more_parties_than_processors() -> Iterator[None]:
    """Within the block, do not limit the threads that share units to the processors: for what compiles their kernels ahead."""
    _uncapped.append(None)
    try:
        yield
    finally:
        _uncapped.pop()


def parties(panels: int, weights: int, samples: int, rows: int, n_threads: int) -> int:
    """Return how many threads share the units of a time loop; 1: they share its samples, or there is one thread.

    There are never more than processors: who waits at a barrier for a thread that has none spins, or hands its own to and fro.

    Parameters
    ----------
    panels : int
        Of units: the least share.
    weights : int
        Multiply-adds of a step of one sample.
    samples, rows : int
        Samples, and their steps in all.
    n_threads : int
    """
    found = min(n_threads, panels, samples * weights // STEP_GRAIN, rows * weights // UNITS_GRAIN)
    if found > 1 and not _uncapped:
        found = min(found, usable_processors()[0])
    return found if found > 1 and samples <= SHARED_SAMPLES * found else 1


class _Worker:
    """A thread that waits for a job and runs it; the job is done when `job` is None. `words` are those of its barrier, or None.

    Both locks only wake: an open lock stays open, and whoever is woken checks whether there is work.
    """

    def __init__(self, number):
        self.go, self.done = threading.Lock(), threading.Lock()
        self.go.acquire()
        self.done.acquire()
        self.job = self.words = self.error = None
        threading.Thread(target=self._loop, name=f"numbarnn-{number}", daemon=True).start()

    def _loop(self):
        denormals.mode_entry()(denormals.FLUSH)
        while True:
            self.go.acquire()
            job = self.job
            if job is None:
                continue
            try:
                job()
            except BaseException as error:
                self.error = error
                _free(self.words)
            words, self.job, job = self.words, None, None
            if words is not None:
                barrier.report_done(words)
            _open(self.done)

    def start(self):
        _open(self.go)


def _open(lock):
    if lock.locked():  # each lock is opened by one thread alone
        lock.release()


def _free(words):
    """Free the jobs that wait at a barrier, if there is one."""
    if words is not None:
        barrier.abort(words)


def _wait(workers, error, words):
    """Wait until no worker has a job, whatever interrupts the waiting; return the last exception that did, or `error`."""
    while True:
        try:
            if error is not None:
                _free(words)  # the job that the others wait for may never have begun
                for worker in workers:  # an exception may have come before a worker's start
                    worker.start()
            for worker in workers:
                # Asked again after every wake-up: an exception may come between the lock's opening and the next line.
                while worker.job is not None:
                    worker.done.acquire()
            return error
        except BaseException as problem:
            error = problem


BUSY = 0.1  # seconds for which jobs that would wait for each other are run by one thread, after the processors were crowded
LOST = 1e-3  # seconds that the calling thread must at least have had no processor for them to be that, and a quarter of the call
_crowded = [-math.inf]  # when that was seen
_workers = []
_owner = {}  # 0: an object of the call that has the pool


def _forget():
    for worker in _workers:
        if worker.job is not None:  # and nobody to run it
            worker.error = RuntimeError(
                "the process was forked in the middle of a call, whose threads are its parent's: "
                "fork before or after it, or start the child with multiprocessing's method 'spawn'"
            )
            _free(worker.words)
            worker.job = None
            _open(worker.done)
    _workers.clear()
    _owner.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=global_compiler_lock.acquire,
        after_in_parent=global_compiler_lock.release,
        after_in_child=global_compiler_lock.release,
    )
    os.register_at_fork(after_in_child=_forget)


def run(jobs, words=None, alone=None) -> None:
    """Call every job, the first in this thread and the others in workers, and return when all are done.

    Parameters
    ----------
    jobs : list of callables
    words : int64 array, optional
        Of `barrier.new_words`, where jobs wait for each other: then all run at the same time.
    alone : callable, optional
        With `words`: what is called in place of the jobs where the pool is taken or the processors are crowded.
    """
    mode = denormals.mode_entry()
    before = mode(denormals.KEEP)  # apart from setting it, which an interrupt may follow at once
    try:
        mode(denormals.FLUSH)
        if len(jobs) == 1:
            jobs[0]()
            return
        me = object()
        with DeferredInterrupt():
            try:
                crowded = words is not None and time.monotonic() < _crowded[0] + BUSY
                if not crowded and _owner.setdefault(0, me) is me:
                    started, used = time.monotonic(), time.thread_time()
                    _run_together(jobs, words)
                    took = time.monotonic() - started
                    if words is not None and took - (time.thread_time() - used) > max(LOST, took / 4):
                        _crowded[0] = time.monotonic()
                else:
                    for job in jobs if words is None else (alone,):
                        job()
            finally:
                # Python runs handlers of signals after calls; no call stands between the question and its answer. Whoever has the
                # pool may give it back meanwhile, so the question is one access.
                try:
                    owner = _owner[0]
                except KeyError:
                    owner = None
                if owner is me:
                    del _owner[0]
    finally:
        mode(before)


def _run_together(jobs, words):
    """Run the jobs in all threads of the pool, which is ours."""
    started, error = [], None
    try:
        try:
            while len(_workers) < len(jobs) - 1:
                _workers.append(_Worker(len(_workers) + 1))
            for worker, job in zip(_workers, jobs[1:], strict=False):
                started.append(worker)
                worker.words = words
                worker.job = job
                worker.start()
            jobs[0]()
        except BaseException as problem:
            error = problem
        error = _wait(started, error, words)
    except BaseException as problem:  # it came before the waiting had begun
        error = _wait(started, problem, words)
    for worker in started:
        error, worker.error, worker.words = worker.error or error, None, None
    if error is not None:
        raise error
