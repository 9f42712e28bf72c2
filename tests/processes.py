"""Running Python in a second process, on this package or on a copy of it."""

import os
import pathlib
import shutil
import subprocess
import sys

PACKAGE = pathlib.Path(__file__).resolve().parent.parent / "numbarnn"


def run_python(code, *arguments, cwd, cache=None, path=None, check=True, timeout=300, **environment):
    """Run code in a new Python; return the completed process with its output as text.

    cache : value of NUMBA_CACHE_DIR; path : folder to import the package from instead of the tests' own; timeout : seconds.
    """
    env = {k: v for k, v in os.environ.items() if k not in ("NUMBA_CACHE_DIR", "PYTHONPATH")}
    env["PYTHONPATH"] = str(path or PACKAGE.parent)
    if cache is not None:
        env["NUMBA_CACHE_DIR"] = str(cache)
    env |= {name: str(value) for name, value in environment.items()}
    command = [sys.executable, "-c", code, *map(str, arguments)]
    done = subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, timeout=timeout, check=False)
    if check and done.returncode != 0:
        raise AssertionError(f"exit status {done.returncode}\n{done.stdout}\n{done.stderr}")
    return done


def copy_package(folder):
    """Copy the package's sources below a folder and return that folder."""
    shutil.copytree(PACKAGE, folder / "numbarnn", ignore=shutil.ignore_patterns("__pycache__", "*.nbi", "*.nbc"))
    return folder
