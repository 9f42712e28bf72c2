"""Steps of a benchmark: processes with limits, whose rows are kept as they come, within a budget.

A job is a process. What it prints is its rows, a JSON object on each line; one with "ok" is a judgement, which true alone passes.
Whatever happens to a process costs the rows that it has not printed, and nothing else.
"""

import contextlib
import json
import math
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

# In a job


def own_output():
    """Let rows alone go to standard output, and what anything else prints to standard error, the log."""
    sys.stdout.flush()
    _Rows.file = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)


def note(**row):
    """Print a row; numbers that JSON has not got become text."""
    row = {k: str(v) if isinstance(v, float) and not math.isfinite(v) else v for k, v in row.items()}
    print(json.dumps(row, allow_nan=False), file=_Rows.file, flush=True)


class _Rows:
    file = None  # standard output


def brief(error) -> str:
    """Return an exception in a line."""
    return f"{type(error).__name__}: {' '.join(str(error).split())}"[:300]


# Around jobs


@dataclass(frozen=True)
class Job:
    """A process of a step.

    Attributes
    ----------
    name : str
    command : tuple of str
    """

    name: str
    command: tuple[str, ...]


@dataclass(frozen=True)
class Step:
    """Jobs that belong together.

    Attributes
    ----------
    name : str
    jobs : tuple of Job
    limit : float
        Seconds that each of them may take.
    side_by_side : bool
        Whether as many run at once as there are workers; otherwise one after another.
    required : bool
        Whether a run without it is incomplete. A job that starts must end well in any case.
    judged : bool
        Whether a job without a judgement counts as failed.
    """

    name: str
    jobs: tuple[Job, ...]
    limit: float
    side_by_side: bool = False
    required: bool = True
    judged: bool = False


class Runner:
    """Runs steps one after another until the budget is used up.

    Parameters
    ----------
    folder : Path
        For ``results.jsonl``, to which every row is written as it comes, and ``logs``, what the jobs print to standard error.
    budget : float
        Seconds, from now on.
    workers : int
        Processes side by side.
    show : callable
        Called with every row.
    least : float
        Seconds without which a job is not worth starting.

    Attributes
    ----------
    wrong : int
        Judgements that were not "ok".
    incomplete : int
        Jobs that failed, ran out of time or, where their step is required, were dropped.
    """

    def __init__(
        self, folder: Path, budget: float, workers: int, show: Callable[[dict], None] = print, least: float = 5.0
    ):
        self._logs = folder / "logs"
        self._logs.mkdir(parents=True, exist_ok=True)
        self._file = open(folder / "results.jsonl", "a", encoding="utf-8")  # noqa: SIM115 - rows come until the end
        self._started, self._budget, self._workers = time.monotonic(), budget, workers
        self._show, self._least = show, least
        self._lock, self._running = threading.Lock(), set()
        self.wrong = self.incomplete = 0

    @property
    def seconds(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self._started

    @property
    def left(self) -> float:
        """Seconds of the budget that are left."""
        return self._budget - self.seconds

    def note(self, **row) -> None:
        """Write a row to the file, and show it."""
        row = {"at": round(self.seconds, 1), **row}
        with self._lock:
            self.wrong += "ok" in row and row["ok"] is not True
            self._file.write(json.dumps(row) + "\n")
            self._file.flush()
            self._show(row)

    def run(self, steps: Iterable[Step]) -> None:
        """Run steps; see to it that no process is left, whatever ends this."""
        for step in steps:
            workers = self._workers if step.side_by_side else 1
            with ThreadPoolExecutor(workers) as pool:
                try:
                    list(pool.map(lambda job, step=step: self._run(step, job), step.jobs))
                except BaseException:
                    with self._lock:
                        self._budget = 0.0  # for the jobs that have not begun
                        for process in self._running:
                            _kill(process)
                    raise

    def _run(self, step, job):
        """Run a job and note how it ended."""
        names, judged = {"step": step.name, "job": job.name}, []
        log = self._logs / f"{step.name}.{job.name}.txt"
        with open(log, "wb") as errors:
            began = time.monotonic()
            with self._lock:  # where a run ends early, nothing starts after the others were killed
                limit = min(step.limit, self.left)
                process = self._start(job, errors) if limit >= self._least else None
            if process is None:
                self.incomplete += step.required
                self.note(**names, status="dropped", required=step.required, error="the budget is used up")
                return
            reader = threading.Thread(target=self._read, args=(process.stdout, errors, names, judged), daemon=True)
            reader.start()
            try:
                ended = _ends(process, limit)
            finally:
                with self._lock:
                    _kill(process)  # and its children, which hold the pipe open
                    self._running.discard(process)
                code = process.wait()
                reader.join(self._least)
        took = round(time.monotonic() - began, 1)
        if ended and code == 0 and (judged or not step.judged):
            self.note(**names, status="done", seconds=took)
            return
        cut = not ended and limit < step.limit
        self.incomplete += step.required or not cut
        if not ended:
            status = {"status": "out of time", "error": f"killed after {limit:.0f} s" + ", when the budget ended" * cut}
        elif code == 0:
            status = {"status": "failed", "error": "it judged nothing"}
        else:
            status = {"status": "failed", "code": code, "error": _last_line(log) or f"exit status {code}"}
        self.note(**names, **status, seconds=took, log=str(log))

    def _start(self, job, errors):
        process = subprocess.Popen(
            job.command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors, start_new_session=True
        )
        self._running.add(process)
        return process

    def _read(self, pipe, log, names, judged):
        """Note the rows of a job; what is none goes to its log."""
        with pipe:
            for line in pipe:
                row = None
                with contextlib.suppress(ValueError):
                    row = json.loads(line)
                if not isinstance(row, dict):
                    log.write(line)
                    continue
                if "ok" in row:
                    judged.append(row["ok"])
                self.note(**{**names, **row, **names})

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def _ends(process, limit):
    """Return whether a process ends in time; it is not waited for, so that its number stays that of its group."""
    end = time.monotonic() + limit
    while os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT | os.WNOHANG) is None:
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


def _kill(process):
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)


def _last_line(path):
    """Return the last line of a log that says something."""
    lines = path.read_text(errors="replace").strip().splitlines()
    return lines[-1].strip()[:300] if lines else ""
