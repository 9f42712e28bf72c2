"""One engine in a process of its own: reads requests as lines of JSON and answers with times.

    python -m comparison.worker ENGINE [VARIANT]

In one process the thread pools of two engines disturb each other (torch's GRU took 430 ms instead of 57), so each has its own, and
is stopped while others are measured: idle threads of an engine may go on spinning for work.
"""

import contextlib
import ctypes
import importlib
import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time

import numpy as np

from comparison import memory
from comparison.cases import Case

FOLDER = pathlib.Path(__file__).resolve().parent.parent
STEPS_AHEAD = 70  # of a stream before its outputs are compared: a state that is carried wrongly shows by then


class EngineError(Exception):
    """An engine's process that failed or ended."""


class Process:
    """A worker's process, as its parent sees it."""

    def __init__(self, engine: str, variant: str = ""):
        command = [sys.executable, "-m", "comparison.worker", engine, variant]
        self.name = f"{engine} {variant}".rstrip()
        self.folder = tempfile.TemporaryDirectory(prefix="compare-")  # what the engine leaves behind goes with it
        environment = os.environ | {"TMPDIR": self.folder.name}
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=FOLDER, env=environment
        )

    def _signal(self, name):
        if hasattr(signal, name):
            self.process.send_signal(getattr(signal, name))

    def ask(self, **request) -> dict:
        """Send a request and wait for its answer.

        Raises
        ------
        EngineError
            If the engine raised an error, or its process ended.
        """
        self._signal("SIGCONT")
        try:
            self.process.stdin.write(json.dumps(request) + "\n")
            self.process.stdin.flush()
            line = self.process.stdout.readline()
        except OSError:
            line = ""
        if not line:
            raise EngineError(f"the process of {self.name} ended with status {self.process.wait()}")
        self._signal("SIGSTOP")
        answer = json.loads(line)
        if "error" in answer:
            raise EngineError(f"{self.name}: {answer['error']}")
        return answer

    def close(self) -> None:
        """End the process."""
        self.process.kill()
        self.process.wait()
        with contextlib.suppress(OSError):  # a request that never reached it
            self.process.stdin.close()
        self.process.stdout.close()
        self.folder.cleanup()


# In the worker


class Worker:
    """Answers requests with one engine's module."""

    def __init__(self, engine, variant):
        self.module, self.variant, self.prepared = engine, variant, None

    def limit(self, threads, seconds):
        """Return the processor's limit of multiply-adds at this moment, and the share of it that this process gets."""
        from fma import limit

        return limit(threads, seconds)._asdict()

    def open(self, case, outputs):
        """Prepare a case, write its outputs to a file, and return how long a call takes."""
        self.prepared = None
        memory.reset_peak()
        case = Case(case["scenario"], case["cell"], tuple(case["size"]), case["threads"])
        module = importlib.import_module(f"comparison.engines.{self.module}")
        self.prepared = getattr(module, "_".join(filter(None, (case.scenario, self.variant))))(case)
        result = self.prepared.call()
        for _ in range(STEPS_AHEAD if self.prepared.each else 0):
            result = self.prepared.call()
        np.savez(outputs, **{name: np.asarray(value) for name, value in self.prepared.outputs(result).items()})
        started = time.perf_counter()
        result = self.prepared.call()
        processes = result[2:] if self.prepared.once else ()
        return {"seconds": self._seconds(result, started), "memory": processes[0] if processes else memory.peak_mb()}

    def _seconds(self, result, started):
        return result[0] if self.prepared.once else time.perf_counter() - started

    def time(self, seconds):
        """Return the median time of calls in seconds, over about `seconds`; of a stream's steps the 99th percentile, too."""
        call, clock = self.prepared.call, time.perf_counter
        started = clock()
        first = self._seconds(call(), started)
        if self.prepared.once or first > seconds:
            return {"seconds": first, "calls": 1}
        times, end = [], clock() + seconds
        while clock() < end or len(times) < 3:
            started = clock()
            call()
            times.append(clock() - started)
        answer = {"seconds": float(np.median(times)), "calls": len(times)}
        if self.prepared.each:
            answer["p99"] = float(np.quantile(times, 0.99))
        return answer


def main(arguments) -> None:
    """Answer requests until the input ends; a stopped process ends with its parent, too."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's, which ends this process
    worker, answers = Worker(*arguments), os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what engines print
    for line in sys.stdin:
        request = json.loads(line)
        try:
            answer = getattr(worker, request.pop("do"))(**request)
        except Exception as error:
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
