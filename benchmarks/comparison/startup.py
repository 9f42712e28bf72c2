"""A new process for every measurement: from its start to its first prediction, its memory, and the size of its model's file."""

import os
import pathlib
import resource
import subprocess
import sys
import tempfile
import time

import numpy as np

from comparison.engines import Prepared

# Bytecode is kept, as it is where a package is installed, and threads are one for every engine.
SETTINGS = {"OMP_NUM_THREADS": "1", "NUMBARNN_NUM_THREADS": "1"}


def new_process(case, program: str, save, name: str) -> Prepared:
    """Return a call that runs a program in a new Python.

    Parameters
    ----------
    case : Case
    program : str
        Takes the model's file as its argument and prints the last output; ``{steps}``, ``{inputs}`` and ``{count}`` are filled in.
    save : callable
        Writes the model to a path.
    name : str
        Of the model's file.
    """
    folder = pathlib.Path(tempfile.mkdtemp(prefix="compare-"))
    path = folder / name
    save(path)
    inputs, _, _, steps = case.size
    text = program.format(steps=steps, inputs=inputs, count=steps * inputs, hidden=case.size[1], cell=case.cell)
    environment = os.environ | SETTINGS | {"PYTHONPYCACHEPREFIX": str(folder / "bytecode"), "TMPDIR": str(folder)}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    written = sum(file.stat().st_size for file in folder.iterdir() if file.is_file())

    def call():
        started = time.perf_counter()
        process = subprocess.Popen(
            [sys.executable, "-c", text, str(path)],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        out, error = process.communicate()
        seconds = time.perf_counter() - started
        if process.returncode:
            raise RuntimeError(f"a new process ended with status {process.returncode}: {error.strip()[-500:]}")
        return seconds, [float(value) for value in out.split()]

    def outputs(result):
        return {"outputs": np.array(result[1]), "bytes": np.array(written)}

    return Prepared(call, outputs, once=True)


def children_mb() -> float:
    """Return the largest resident memory of the processes that this one has started and awaited, in MB."""
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
