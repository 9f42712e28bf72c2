"""Ranks that train one net: what one process finds, the same bits in all of them, and what happens when one dies."""

import json
import math
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import time

import mpi_runs
import pytest

from numbarnn import Trainer
from numbarnn.training import ranks as training_ranks
from numbarnn.training.ranks import OneRank

HERE = pathlib.Path(__file__).parent
FOLDERS = os.pathsep.join([str(pathlib.Path(sys.executable).parent), os.environ.get("PATH", "")])
MPIEXEC = shutil.which("mpiexec", path=FOLDERS)

pytestmark = pytest.mark.slow  # ranks are processes that start, import and compile


@pytest.fixture
def mpi():
    pytest.importorskip("mpi4py", reason="needs mpi4py: pip install numbarnn[mpi]")
    if MPIEXEC is None:
        pytest.skip("needs mpiexec: pip install mpich, or that of the system")


def command(count, name, *arguments):
    return [MPIEXEC, "-n", str(count), sys.executable, str(HERE / "mpi_runs.py"), name, *map(str, arguments)]


def environment():
    return os.environ | {"PYTHONPATH": os.pathsep.join([str(HERE.parent), str(HERE)])}


def start(count, name, *arguments):
    pipe = subprocess.PIPE
    return subprocess.Popen(command(count, name, *arguments), env=environment(), stdout=pipe, stderr=pipe, text=True)


def ended(process):
    """Return (exit status, stdout, stderr) of a run; one that hangs fails."""
    try:
        out, error = process.communicate(timeout=120)
    except subprocess.TimeoutExpired:
        process.kill()
        pytest.fail("the ranks wait for each other")
    return process.returncode, out, error


def ranks(count, name, *arguments):
    """Return what every rank returned."""
    status, out, error = ended(start(count, name, *arguments))
    assert status == 0, out + error
    return json.loads(out)


def assert_near(found, expected, relative=1e-12):
    """Compare nested values: floats up to rounding, all else exactly."""
    if isinstance(expected, float):
        assert math.isclose(found, expected, rel_tol=relative), (found, expected)
    elif isinstance(expected, dict):
        assert found.keys() == expected.keys()
        for name in expected.keys() - {"weights"}:
            assert_near(found[name], expected[name], relative)
    elif isinstance(expected, (list, tuple)):
        assert len(found) == len(expected)
        for one, other in zip(found, expected, strict=True):
            assert_near(one, other, relative)
    else:
        assert found == expected


@pytest.mark.parametrize("count", [2, 3])
def test_ranks_learn_what_one_process_learns(mpi, count):
    """Lengths, weights, clipping, averages, chunks, parts of steps, and a batch with fewer samples than ranks."""
    found = ranks(count, "alike")
    (first, second, parts), *others = found
    assert all(other == found[0] for other in others)  # to the bit, the weights by their hash
    assert first == second
    expected = mpi_runs.fit(), mpi_runs.chunks()
    assert_near(first, expected[0])
    assert first["weights"] != expected[0]["weights"]  # the sums are others, so the equality above says something
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    assert parts.pop("threads") <= max(1, usable // count)  # the ranks share the processors of one machine
    expected[1].pop("threads")
    assert_near(parts, json.loads(json.dumps(expected[1])))


@pytest.mark.parametrize("kill", ["SIGKILL", "raise"])
def test_a_rank_that_dies_ends_the_run_and_the_checkpoint_goes_on(mpi, kill, tmp_path):
    """It dies within the second epoch, after a file that was written amid the chunks of a text, with states of all ranks in it."""
    path = tmp_path / "run.ckpt"
    status, out, error = ended(start(2, "text", path, kill, 1, 11))
    assert status != 0
    assert "records" not in out
    assert ("LookupError: nothing to be found" in error) == (kill == "raise")
    assert path.is_file()
    if kill == "raise":
        return  # the file is what it is for the other
    (whole, resumed), (other, again) = ranks(2, "whole_and_resumed", path)
    assert (whole, resumed) == (other, again)
    assert resumed == whole
    assert whole["step"] > 11


def test_what_stops_one_rank_stops_all_after_the_same_step(mpi, tmp_path):
    path = tmp_path / "run.ckpt"
    status, out, error = ended(start(2, "text", path, "SIGINT"))
    assert status == 0, error
    one, other = json.loads(out)
    assert one == other
    assert (one["step"], one["stopped"]) == (7, "interrupted")
    assert error.count("UserWarning: training was interrupted after step 7") == 1
    assert len(re.findall(r"^epoch 1/3 ", error, re.MULTILINE)) == 1  # of the first rank
    resumed = mpi_runs.text(
        None, path
    )  # by one process: it goes on from there, in another order of sums and other dropout
    assert (resumed["stopped"], resumed["records"][0]) == ("epochs", one["records"][0])


def test_ctrl_c_reaches_all_ranks(mpi, tmp_path):
    path, begun = tmp_path / "run.ckpt", tmp_path / "begun"
    process = start(2, "endless", path, begun)
    limit = time.monotonic() + 100
    while not begun.exists() and time.monotonic() < limit:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    status, out, error = ended(process)
    assert path.is_file()
    if "records" not in out:
        assert status != 0  # a launcher that sends SIGTERM, with which the ranks end when the file is written
        return
    one, other = json.loads(out.splitlines()[-1])  # after what the launcher says
    assert one == other
    assert one["stopped"] == "interrupted"
    assert error.count("UserWarning: training was interrupted") == 1


def test_differences_between_ranks_are_errors_in_all_of_them(mpi):
    both = ranks(2, "differences")
    for here, there in zip(both[0]["share"], both[1]["share"], strict=True):
        assert there.startswith("TokenError: ")
        assert here == f"RuntimeError: rank 1 failed: {there}"
    assert both[0]["threads"] == both[1]["threads"]
    assert both[0]["lists"] == both[1]["lists"]
    assert both[0]["lists"][1] == 4
    refused = "ShapeError: a batch with keep_state has 2 samples, the batch before had 1"
    assert both[0]["carried"].startswith(refused)
    assert both[1]["carried"].startswith(f"RuntimeError: rank 0 failed: {refused}")
    for found in both:
        assert "rank 1 has another:\n  model.layers[0].hidden_size: 4 in rank 0, 5 in rank 1" in found["model"]
        for what in ("data", "batches"):
            assert (
                "RuntimeError: rank 1 was given another batch than rank 0: give every rank the same source"
                in found[what]
            )
        assert (
            "RuntimeError: rank 0 has come to the gradient of a batch, rank 1 to the loss of validation data"
            in found["calls"]
        )
        assert "rank 1 has other weights than rank 0 after this epoch" in found["weights"]
        assert "FileNotFoundError: [Errno 2] the checkpoint of step 0 could not be written" in found["checkpoint"]


def test_the_script_of_the_documentation(mpi, tmp_path):
    page = (HERE.parent / "docs" / "clusters.md").read_text()
    code = re.search(r"^```py\n(.*?)^```", page, re.M | re.S)[1]
    run = [MPIEXEC, "-n", "2", sys.executable, "-c", code]
    done = subprocess.run(
        run, cwd=tmp_path, env=environment(), capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    assert {path.name for path in tmp_path.iterdir()} == {"run.ckpt", "net.safetensors"}


def test_an_unhandled_error_aborts_the_communicators_that_are_left(monkeypatch):
    class Comm:
        """A communicator, freed or not."""

        def __init__(self, alive):
            self.alive, self.status = alive, None

        def __bool__(self):
            return self.alive

        def abort(self, status):
            self.status = status

        Abort = abort

    monkeypatch.setattr(sys, "excepthook", lambda *_: None)
    freed, other = Comm(True), Comm(True)
    for comm in (freed, other):
        training_ranks._abort_on_error(comm)
    freed.alive = False
    sys.excepthook(ValueError, ValueError(), None)
    assert (freed.status, other.status) == (None, 1)
    other.alive = False


def test_a_communicator_is_asked_for():
    with pytest.raises(
        TypeError,
        match=r"comm must be a communicator of mpi4py, such as MPI.COMM_WORLD \(pip install 'numbarnn\[mpi\]'\), got 2",
    ):
        Trainer(mpi_runs.net(), comm=2)
    assert type(Trainer(mpi_runs.net()).ranks) is OneRank


def test_one_rank_changes_nothing():
    class One:
        """A communicator of one process, with which nobody talks."""

        Get_size = staticmethod(lambda: 1)
        Allgather = Alltoallv = bcast = Get_rank = staticmethod(lambda *_: pytest.fail("there is nobody else"))

    assert type(Trainer(mpi_runs.net(), comm=One).ranks) is OneRank
