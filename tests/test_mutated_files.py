"""Files that are damaged or made up, by the thousand (`--files 100000`): refused by the documented error, or they work."""

import json
import os
import pathlib

import pytest
from processes import run_python

HERE = pathlib.Path(__file__).parent
pytest.importorskip("resource", reason="measures memory as POSIX does")


def run(tmp_path, mode, count):
    cache = os.environ.get("NUMBA_CACHE_DIR")
    arguments = HERE / "mutated_files.py", tmp_path, mode, count, 0
    code = "import runpy, sys; sys.argv = sys.argv[1:]; runpy.run_path(sys.argv[0], run_name='__main__')"
    done = run_python(code, *arguments, cwd=tmp_path, cache=cache, timeout=36_000)
    *failures, last = done.stdout.splitlines()
    assert not failures, "\n".join(failures[:20])
    return json.loads(last)


def test_mutated_files(tmp_path, request):
    count = request.config.getoption("--files")
    found = run(tmp_path, "mutations", count)
    assert found["refused"] > 0.5 * count
    assert (
        found["used"] > 0.02 * count
    )  # what is changed must not always matter, or the use of what is loaded is not tested


def test_flipped_bits(tmp_path, request):
    count = request.config.getoption("--files")
    found = run(tmp_path, "flips", count)
    assert found["refused"] > 0.9 * count
