"""What a user waits for: imports, the first prediction and the first training step with an empty and with a full cache, kernels.

``--imports`` measures imports alone.
"""

import importlib.util
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

import numbarnn

ROOT = pathlib.Path(__file__).resolve().parent.parent

FIRST_STEP = """
import time
started = time.perf_counter()
import numpy as np
import numbarnn
from numbarnn.kernels import cache
compiled = []
cache.on_compile.append(compiled.append)
model = numbarnn.Model([numbarnn.{cell}(32), numbarnn.Dense(3)], input_size=4, n_threads=1)
x, y = np.ones((8, 20, 4)), np.zeros((8, 20), int)
model.fit(x, y, epochs=1, verbose=0)
print(time.perf_counter() - started, len(compiled))
"""


# From the start of the process, so the interpreter is in it.
FIRST_PREDICTION = """
import os, time
import numpy as np
import numbarnn
from numbarnn.kernels import cache
compiled = []
cache.on_compile.append(compiled.append)
model = numbarnn.load(os.environ["MODEL"])
model.predict_proba(np.ones((1, 50, 4), np.float32))
print(time.time() - float(os.environ["STARTED"]), len(compiled))
"""
FIRST_SAMPLE = """
import os, time
import numbarnn
from numbarnn.kernels import cache
compiled = []
cache.on_compile.append(compiled.append)
numbarnn.load(os.environ["MODEL"]).sample(20)
print(time.time() - float(os.environ["STARTED"]), len(compiled))
"""
IMPORT_TORCH = "import os, time, torch; print(time.time() - float(os.environ['STARTED']))"


def run(code, cache, **settings):
    """Run code in a new Python; return the numbers it prints, and the seconds it took."""
    environment = os.environ | {"NUMBA_CACHE_DIR": cache, "PYTHONPATH": str(ROOT)} | settings
    environment["STARTED"] = repr(time.time())
    started = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    return [float(v) for v in done.stdout.split()], time.perf_counter() - started


def first_use():
    """Return what a service waits for: start to the first prediction, to the first text, and `import torch` in the same run."""
    model = numbarnn.Model([numbarnn.LSTM(64), numbarnn.Dense(3)], input_size=4)
    lm = numbarnn.CharLM("lstm", 64, 1).fit("the cat sat on the mat. " * 20, 0, verbose=0)
    figures = {}
    with tempfile.TemporaryDirectory() as folder:
        saved = {name: f"{folder}/{name}" for name in ("prediction", "text")}
        model.save(saved["prediction"])
        lm.save(saved["text"])
        code = {"prediction": FIRST_PREDICTION, "text": FIRST_SAMPLE}
        found = {"prediction": [], "text": [], "torch": []}
        cold = {name: run(code[name], folder, MODEL=path)[0] for name, path in saved.items()}
        for _ in range(7):
            for name, path in saved.items():
                found[name].append(run(code[name], folder, MODEL=path)[0])
            if importlib.util.find_spec("torch") is not None:
                found["torch"].append(run(IMPORT_TORCH, folder)[0])
    for name in saved:
        seconds, compiled = (statistics.median(values) for values in zip(*found[name], strict=True))
        figures[f"saved LSTM, second process: start to the first {name}"] = (
            f"{seconds:.2f} s, {compiled:.0f} compiled (first process: {cold[name][0]:.1f} s, {cold[name][1]:.0f} compiled)"
        )
    if found["torch"]:
        figures["start to the end of `import torch`"] = f"{statistics.median(t for (t,) in found['torch']):.2f} s"
    return figures


IMPORTS = (
    "import numba",
    "import numbarnn",
    "from numbarnn import Model, LSTM, Dense",
    "from numbarnn import Forecaster",
)


def import_times(times=10):
    """Return the seconds that imports take as {statement: (wall clock, processor)}, each a list of one value a process, in turn.

    Bytecode is kept, as it is where the package is installed: the first process of each, which may compile it, is not counted.
    """
    found = {statement: ([], []) for statement in IMPORTS}
    with tempfile.TemporaryDirectory() as folder:
        settings = {"PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": f"{folder}/bytecode"}
        for number in range(times + 1):
            for statement, lists in found.items():
                clocks = "w, p = time.perf_counter(), time.process_time()"
                code = f"import time; {clocks}; {statement}; print(time.perf_counter() - w, time.process_time() - p)"
                (values, _) = run(code, folder, **settings)
                if number > 0:
                    for kept, value in zip(lists, values, strict=True):
                        kept.append(value)
    return found


def import_figures(times=10):
    """Return the medians of `import_times`, their quartiles, and their ratios to `import numba`, as {what: text}."""
    found = import_times(times)
    base = [statistics.median(values) for values in found["import numba"]]
    figures = {}
    for statement, lists in found.items():
        parts = []
        for clock, values, numba in zip(("wall", "processor"), lists, base, strict=True):
            low, middle, high = statistics.quantiles(values, n=4)
            parts.append(f"{clock} {middle:.3f} s ({low:.3f} to {high:.3f}), {middle / numba:.2f} x numba")
        figures[f"`{statement}`"] = "; ".join(parts)
    return figures


def measure(say):
    """Return the start-up figures as {what: text}."""
    figures = import_figures() | first_use()
    for cell in ("LSTM", "GRU", "RNN"):
        with tempfile.TemporaryDirectory() as empty:
            (seconds, compiled), _ = run(FIRST_STEP.format(cell=cell), empty)
            again = [run(FIRST_STEP.format(cell=cell), empty) for _ in range(3)]
            files = [f for f in pathlib.Path(empty).rglob("*") if f.suffix == ".nbc"]
            size = sum(f.stat().st_size for f in pathlib.Path(empty).rglob("*") if f.is_file())
        warm, recompiled = statistics.median(a[0][0] for a in again), max(a[0][1] for a in again)
        figures[f"{cell}, empty cache: start to the first training step"] = (
            f"{seconds:.1f} s, {compiled:.0f} kernels compiled"
        )
        figures[f"{cell}, second process: start to the first training step"] = (
            f"{warm:.2f} s, {recompiled:.0f} compiled"
        )
        figures[f"{cell}: kernels in the cache, its size"] = f"{len(files)}, {size / 1e6:.1f} MB"
    for name, value in figures.items():
        say(f"{name}: {value}")
    return figures


if __name__ == "__main__":
    if "--imports" in sys.argv[1:]:
        for what, figure in import_figures().items():
            print(f"{what}: {figure}")
    else:
        measure(print)
