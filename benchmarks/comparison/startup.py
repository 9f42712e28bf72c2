"""A new process for every measurement: from its start to its first prediction, its memory, and the size of its model's file."""

import os
import pathlib
import subprocess
import sys
import tempfile
import time

import numpy as np

from comparison import memory
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
        command = [sys.executable, "-c", text, str(path)]
        with tempfile.TemporaryFile("w+") as errors:
            started = time.perf_counter()
            process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=errors, text=True)
            with process.stdout as out:
                values = out.read().split()
            peak = memory.wait(process)
            seconds = time.perf_counter() - started
            if process.returncode:
                errors.seek(0)
                raise RuntimeError(
                    f"a new process ended with status {process.returncode}: {errors.read().strip()[-500:]}"
                )
        return seconds, [float(value) for value in values], peak

    def outputs(result):
        return {"outputs": np.array(result[1]), "bytes": np.array(written)}

    return Prepared(call, outputs, once=True)
