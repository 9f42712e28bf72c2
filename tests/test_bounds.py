"""Indices that leave their arrays: what would catch one, and that none does.

With ``NUMBA_BOUNDSCHECK=1`` compiled code raises IndexError, and all tests of kernels run so, too (`.ci/run`). The micro-kernel and
`load` / `store` of the cells use raw pointers, which no check sees: those meet arrays at the edge of memory (tests/guarded.py).
"""

import os
import pathlib
import signal
import sys

import pytest
from processes import run_python

GUARDED = pathlib.Path(__file__).with_name("guarded.py")

INDEX = """
import numpy as np
from numbarnn.kernels.cpu.optim import clamp, scale, sgd
w, g = np.ones(5), np.ones(3)
try:
    sgd(w, g, w, np.array([0.1, 0.0, 0.0, 0.0]), 0, 5)
except IndexError as error:
    print("caught", error)
"""


def test_a_wrong_index_is_caught_where_bounds_are_checked(tmp_path):
    done = run_python(INDEX, cwd=tmp_path, cache=os.environ.get("NUMBA_CACHE_DIR"), NUMBA_BOUNDSCHECK=1)
    assert done.stdout.startswith("caught")


def guarded(tmp_path, *arguments):
    code = "import runpy, sys; sys.argv = sys.argv[1:]; runpy.run_path(sys.argv[0], run_name='__main__')"
    path = f"{GUARDED.parent.parent}{os.pathsep}{GUARDED.parent}"
    cache = os.environ.get("NUMBA_CACHE_DIR")
    return run_python(code, GUARDED, *arguments, cwd=tmp_path, path=path, cache=cache, check=False)


posix = pytest.mark.skipif(not hasattr(signal, "SIGSEGV") or sys.platform == "win32", reason="needs mprotect")


@posix
@pytest.mark.parametrize("side", ["inside", "after", "before"])
@pytest.mark.parametrize("kernel", ["copy", "multiply"])
def test_a_raw_pointer_that_leaves_its_array_is_caught(tmp_path, kernel, side):
    done = guarded(tmp_path, "violate", side, kernel)
    if side == "inside":
        assert (done.returncode, done.stdout) == (0, "done\n"), done.stderr
    else:
        assert done.returncode in (-signal.SIGSEGV, -signal.SIGBUS), done.stderr


@posix
@pytest.mark.parametrize("side", ["after", "before"])
def test_no_kernel_leaves_its_arrays(tmp_path, side):
    done = guarded(tmp_path, "run", side)
    assert (done.returncode, done.stdout) == (0, "done\n"), done.stderr
