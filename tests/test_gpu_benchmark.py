"""The benchmark of CUDA: what it lets pass, how it runs its steps, and all of it once where nothing computes anything."""

import dataclasses
import functools
import json
import math
import os
import pathlib
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import test_cuda_driver
from test_cuda_driver import stub  # noqa: F401 - a fixture

import numbarnn as nr
from numbarnn.backends import cuda

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "benchmarks"))
import gpu
import gpu_checks
import steps
from gpu_checks import deviation, judge, same_bits

del sys.path[:4]  # the program adds three of its own

BENCHMARKS = pathlib.Path(gpu.__file__).parent


def rows_of(text):
    """Return the rows of a text."""
    return [json.loads(line) for line in text.splitlines()]


# What passes


@pytest.mark.parametrize(
    ("found", "right"),
    [
        ([1.0, math.nan], [1.0, 2.0]), ([1.0, math.inf], [1.0, 2.0]), ([1.0, -math.inf], [1.0, -math.inf]), (math.nan, 1.0),
        ([1.0, 2.0], [1.0, math.nan]), ([1.0, 2.0], [[1.0, 2.0]]), ([1.0], [1.0, 2.0]), ([], [1.0]), (1.0, [1.0, 1.0]),
    ],
)  # fmt: skip
def test_nothing_that_is_not_finite_or_has_another_shape_is_near(found, right):
    assert deviation(np.float32(found), right) == math.inf


def test_deviation_is_relative_to_the_largest_value():
    assert deviation([0.0, 0.5], [0.0, 0.5]) == 0.0
    assert deviation([0.25, 4.0], [0.5, -2.0]) == 3.0
    assert deviation(np.zeros(3), np.zeros(3)) == 0.0
    assert deviation(np.zeros((0, 3)), np.zeros((0, 3))) == 0.0
    assert deviation([1e-20], [0.0]) > 1.0


def test_judgements(capsys):
    right = {"a": np.ones(3), "b": np.ones(2)}
    near = {"a": np.ones(3), "b": np.array([1.0, 1 + 9e-6])}
    for found in (
        near | {"b": np.array([1.0, 1 + 2e-5])}, near | {"a": np.array([1, math.nan, 1])}, {"a": np.ones(3)}, near | {"c": 0.0}, {},
    ):  # fmt: skip
        judge(found, right)
    judge({}, {})
    judge(near, right, False)
    assert [row["ok"] for row in rows_of(capsys.readouterr().out)] == [False] * 7
    judge(near, right, N=3)
    (row,) = rows_of(capsys.readouterr().out)
    assert (row["ok"], row["worst"], row["N"]) == (True, "b", 3)


def test_bits():
    values = {"a": np.array([0.0, 1.0])}
    assert same_bits(values, {"a": np.array([0.0, 1.0])})
    assert not same_bits(values, {"a": np.array([-0.0, 1.0])})
    assert not same_bits(values, values | {"b": np.zeros(1)})


def compared(capsys):
    """Return whether a small model passes."""
    x, y, lengths = gpu_checks.batch(3, 4, 2, ragged=True)
    gpu_checks.compare([nr.Dense(5)], 2, x, y, lengths=lengths)
    (row,) = rows_of(capsys.readouterr().out)
    return row["ok"]


def test_what_computes_passes_and_what_was_never_written_does_not(capsys, monkeypatch):
    assert compared(capsys)
    dense = cuda.LAYERS["Dense"]
    plain = dense.forward

    def unwritten(call, *arguments):
        rows, *others = plain(call, *arguments)
        return dataclasses.replace(rows, values=call.empty(rows.values.size)), *others

    monkeypatch.setattr(dense, "forward", unwritten)
    assert not compared(capsys)
    with gpu_checks.poisoned(apart=True):
        buffers = [cuda.batch.Call(np.dtype(np.float32)).empty(n) for n in (1, 5)]
        assert all(np.isnan(buffer.get()).all() for buffer in buffers)


def test_every_loss_has_a_case():
    own = {name for name, loss in nr.losses.LOSSES.items() if loss.__module__.startswith("numbarnn.")}
    assert own <= {name for name, _, _ in gpu_checks.loss_cases(3, 9, np.array([9, 0, 5]))}


# Steps

ROW = 'import sys, time, os, subprocess; print(\'{"ok": true, "n": 1}\', flush=True)\n'


def step(name, *codes, limit=20.0, **how):
    """Return a step of Python programs."""
    jobs = tuple(steps.Job(f"{name}{n}", (sys.executable, "-c", code)) for n, code in enumerate(codes))
    return steps.Step(name, jobs, limit, **how)


@pytest.fixture
def run(tmp_path):
    """Return a function that runs steps and gives (rows, the runner)."""

    def run(*wanted, budget=60.0, workers=2):
        runner = steps.Runner(tmp_path, budget, workers, lambda row: None, least=0.2)
        runner.run(wanted)
        runner.close()
        return rows_of((tmp_path / "results.jsonl").read_text()), runner

    return run


def ends(rows):
    """Return {job: (status, error)}."""
    return {row["job"]: (row["status"], row.get("error")) for row in rows if "status" in row}


def test_a_fault_costs_its_job_alone(run, tmp_path):
    rows, runner = run(
        step("raises", ROW + "raise ValueError('no such\\nkernel')"),
        step("dies", ROW + "os.kill(os.getpid(), 9)"),
        step("works", ROW + "print('talk'); print('[1]'); print('{\"n\": NaN}')", judged=True),
        step("judges nothing", "print('{}')", judged=True),
    )
    assert ends(rows) == {
        "raises0": ("failed", "kernel"), "dies0": ("failed", "exit status -9"), "works0": ("done", None),
        "judges nothing0": ("failed", "it judged nothing"),
    }  # fmt: skip
    assert [row["job"] for row in rows if row.get("n") == 1] == ["raises0", "dies0", "works0"]
    assert (tmp_path / "logs" / "works.works0.txt").read_text().split() == ["talk", "[1]"]
    assert (runner.wrong, runner.incomplete) == (0, 3)


def is_running(number):
    """Return whether a process is there; one that nobody has waited for is not."""
    try:
        return pathlib.Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


CHILD = """
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(100)"])
print('{"child": %d}' % child.pid, flush=True)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks into /proc")
@pytest.mark.parametrize("after", ["time.sleep(100)", ""])
def test_a_job_that_hangs_or_leaves_children_is_killed_with_them(run, after):
    started = time.monotonic()
    rows, runner = run(step("hangs", ROW + CHILD + after, limit=2.0), step("next", ROW))
    assert time.monotonic() - started < 15
    assert ends(rows)["hangs0"] == (("out of time", "killed after 2 s") if after else ("done", None))
    assert ends(rows)["next0"] == ("done", None)
    (child,) = [row["child"] for row in rows if "child" in row]
    assert not is_running(child)
    assert runner.incomplete == bool(after)


def test_the_budget_is_kept_by_dropping_what_comes_later(run):
    started = time.monotonic()
    slow = ROW + "time.sleep(100)"
    rows, runner = run(
        step("first", ROW), step("cut", slow, required=False), step("later", ROW, ROW), step("last", ROW, required=False),
        budget=3.0,
    )  # fmt: skip
    assert time.monotonic() - started < 6
    assert {job: status for job, (status, _) in ends(rows).items()} == {
        "first0": "done", "cut0": "out of time", "later0": "dropped", "later1": "dropped", "last0": "dropped",
    }  # fmt: skip
    assert "when the budget ended" in ends(rows)["cut0"][1]
    assert runner.incomplete == 2  # the required ones


def test_jobs_side_by_side(run, tmp_path):
    # Each waits for the other's file.
    code = ROW + f"os.chdir({str(tmp_path)!r}); open(%r, 'w')\nwhile not os.path.exists(%r): time.sleep(0.01)"
    rows, _ = run(step("pair", code % ("a", "b"), code % ("b", "a"), side_by_side=True))
    assert set(ends(rows).values()) == {("done", None)}
    rows, _ = run(step("turns", code % ("c", "d"), code % ("d", "c"), limit=1.5))
    assert ends(rows)["turns0"][0] == "out of time"


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks into /proc")
def test_what_ends_the_program_ends_its_jobs(tmp_path):
    code = f"""
import pathlib, signal, sys
sys.path.insert(0, {str(BENCHMARKS)!r})
import steps
signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
runner = steps.Runner(pathlib.Path({str(tmp_path)!r}), 60, 1, lambda row: print(row.get("child"), flush=True))
jobs = [steps.Job(name, (sys.executable, "-c", {ROW + CHILD + "time.sleep(100)"!r})) for name in "ab"]
runner.run([steps.Step("hangs", tuple(jobs), 50)])
"""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as program:
        try:
            child = next(line for line in program.stdout if line.strip() != "None")
            program.terminate()
            assert program.wait(20) == 143
        finally:
            program.kill()
    assert not is_running(int(child))


@pytest.mark.parametrize(
    ("first", "then", "status"),
    [
        ("", ROW, 0), ("", ROW.replace("true", "false"), 1), ("", ROW.replace("true", "false") + "raise ValueError", 1),
        ("", ROW + "raise ValueError", 3), ("raise SystemExit('no card')", ROW, 2),
    ],
)  # fmt: skip
def test_exit_status(first, then, status, tmp_path, monkeypatch, capsys):
    plain = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr(gpu, "plan", lambda *_: [step("probe", first), step("then", then)])
    try:
        assert gpu.main(["--out", str(tmp_path)]) == status
    finally:
        signal.signal(signal.SIGTERM, plain)
    *_, last = rows_of((tmp_path / "results.jsonl").read_text())
    assert (last["step"], last["status"]) == ("end", status)
    shown = capsys.readouterr().out
    assert ("WRONG" in shown) == (status == 1)
    assert ("no card" in shown) == (status == 2)


def test_steps_can_be_chosen(capsys):
    chosen = gpu.plan(3, True, ["probe", "check:GRU", "memory"])
    assert [[job.name for job in one.jobs] for one in chosen] == [
        ["card"], ["GRU"], ["numbarnn-training", "numbarnn-256x64", "numbarnn-1024x128"],
    ]  # fmt: skip
    assert gpu.main(["--list"]) == 0
    assert "LSTM" in capsys.readouterr().out
    for wrong in (["--only", "chekc"], ["--workers", "0"]):
        with pytest.raises(SystemExit, match="2"):
            gpu.main(wrong)


# All of it


def program(folder, *arguments, **environment):
    """Run the benchmark from another folder; return (the completed process, its rows)."""
    env = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "OUT")} | environment
    command = [sys.executable, str(BENCHMARKS / "gpu.py"), "--out", str(folder / "out"), *arguments]
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=600)
    return done, rows_of((folder / "out" / "results.jsonl").read_text())


@pytest.mark.parametrize("simulated", ["0", "1"])
def test_without_a_card_it_says_so(tmp_path, simulated):
    done, rows = program(tmp_path, "--only", "smoke", CUDA_VISIBLE_DEVICES="", NUMBA_ENABLE_CUDASIM=simulated)
    assert done.returncode == 2
    *_, probe, end = rows
    assert (probe["step"], probe["status"], end["status"]) == ("probe", "failed", 2)
    assert ("simulator" if simulated == "1" else 'device="cuda" cannot be used') in probe["error"]
    assert [row["missing"] for row in rows if "missing" in row]


def on_stub(test):
    """Skip a test where there is no stand-in for the driver."""
    return functools.reduce(lambda marked, mark: mark(marked), test_cuda_driver.pytestmark, test)


# What passes its program on to the end, and finds nothing.
SANITIZER = """#!/bin/sh
while [ "$1" != 20 ]; do shift; done
shift
"$@" || exit 1
echo "========= ERROR SUMMARY: 0 errors"
"""


@on_stub
def test_where_nothing_computes_every_check_fails(stub, tmp_path):  # noqa: F811
    (tmp_path / "sitecustomize.py").write_text(test_cuda_driver.KERNELS)  # kernels that do nothing, in every process
    (tmp_path / "compute-sanitizer").write_text(SANITIZER)
    (tmp_path / "compute-sanitizer").chmod(0o755)
    wanted = [
        "build:5of6", "smoke:memory", "smoke:dense", "check:LSTM", "check:optimizers", "check:repeats", "charlm", "lstm:64",
        "sampling", "sanitize:memcheck", "memory:numbarnn-training",
    ]  # fmt: skip
    done, rows = program(
        tmp_path, "--workers", "6", "--no-torch", "--only", *wanted, NUMBA_ENABLE_CUDASIM="0", LD_LIBRARY_PATH=str(stub),
        PYTHONPATH=f"{tmp_path}:{BENCHMARKS.parent}", PATH=f"{tmp_path}:{os.environ['PATH']}",
    )  # fmt: skip
    assert done.returncode == 1, done.stdout + done.stderr
    assert {status for status, _ in ends(rows[:-1]).values()} == {"done"}, done.stdout
    (sanitized,) = [row for row in rows if "tool" in row]
    assert (sanitized["ok"], sanitized["summary"]) == (True, "ERROR SUMMARY: 0 errors")
    judged = [row for row in rows if "ok" in row and row is not sanitized]
    assert len(judged) >= 30
    assert not [row for row in judged if row["ok"]]
    assert {row["job"] for row in judged} == {"memory", "dense", "LSTM", "optimizers", "repeats"}
    timed = [row["case"] for row in rows if row.get("engine") == "numbarnn" and row.get("ms", 0) > 0]
    assert timed == ["training step", *["forward and BPTT"] * 3, "a character of each stream"]
