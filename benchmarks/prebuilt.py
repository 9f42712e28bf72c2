"""What prebuilt kernels save and cost: start of a fresh environment from a platform wheel, and speed of a level against native.

    python benchmarks/prebuilt.py [--wheel FILE] [--levels x86-64-v3 x86-64-v4] [--times 7] [--rounds 5] [--threads 1]

Without ``--wheel`` one is built (minutes a level). It is installed into a new virtual environment, with its requirements from where
pip finds them. Starts are counted from the start of the process, with bytecode in place; every start of the wheel has an empty
cache. Speeds are the least of several calls in a process of each level, in turn; reported are medians of the rounds' ratios.
"""

import argparse
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

import numpy as np
from comparison.cases import SIZES
from startup import FIRST_PREDICTION, ROOT

FIRST_TRAINING_STEP = """
import os, time
import numpy as np
import numbarnn
from numbarnn.kernels import cache
compiled = []
cache.on_compile.append(compiled.append)
model = numbarnn.Model([numbarnn.LSTM(64), numbarnn.Dense(3)], input_size=4, n_threads=1)
x, y = np.ones((8, 20, 4)), np.zeros((8, 20), int)
model.fit(x, y, epochs=1, verbose=0)
print(time.time() - float(os.environ["STARTED"]), len(compiled))
"""
SAVE = "import sys, numbarnn; numbarnn.Model([numbarnn.LSTM(64), numbarnn.Dense(3)], input_size=4).save(sys.argv[1])"
SPEED = """
import sys, time
import numpy as np
import numbarnn
from numbarnn.data.batches import Batch
from numbarnn.training.trainer import Trainer

def least(work):
    work()
    seconds, until = [], time.perf_counter() + 0.4
    while len(seconds) < 5 or time.perf_counter() < until:
        started = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - started)
    return min(seconds)

threads = int(sys.argv[1])
for size in sys.argv[2:]:
    inputs, hidden, samples, steps = map(int, size.split(","))
    model = numbarnn.Model([numbarnn.LSTM(hidden), numbarnn.Dense(8)], inputs, seed=0, n_threads=threads)
    x = np.random.default_rng(0).normal(size=(samples, steps, inputs)).astype("float32")
    trainer, batch = Trainer(model.copy(), n_threads=threads), Batch(x, np.zeros((samples, steps), int))
    print(least(lambda: model.forward(x)), least(lambda: trainer.train_batch(batch)))
"""


def run(python, code, *arguments, **settings):
    """Run code in a new process of a Python; return the numbers it prints."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("NUMBA", "PYTHON"))}
    environment = kept | {name: str(value) for name, value in settings.items()} | {"STARTED": repr(time.time())}
    command = [python, "-c", code, *map(str, arguments)]
    done = subprocess.run(command, env=environment, cwd="/", capture_output=True, text=True, check=True)
    return [float(value) for value in done.stdout.split()]


def install(wheel, levels, work):
    """Return the Python of a new environment with a platform wheel, and the wheel, which is built where there is none."""
    if wheel is None:
        command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", str(work), str(ROOT)]
        subprocess.run([*command, "--config-settings", f"prebuilt={','.join(levels)}"], check=True)
        (wheel,) = work.glob("numbarnn-*.whl")
    subprocess.run([sys.executable, "-m", "venv", str(work / "fresh")], check=True)
    python = work / "fresh" / ("Scripts" if os.name == "nt" else "bin") / "python"
    subprocess.run([str(python), "-m", "pip", "install", "-q", str(wheel)], check=True)
    return str(python), wheel


def starts(python, work, times):
    """Return seconds from the start of a process to the first prediction and training step: from the wheel, warm, compiling."""
    model = work / "model"
    run(python, SAVE, model)
    figures = {}
    for name, code in (("prediction", FIRST_PREDICTION), ("training step", FIRST_TRAINING_STEP)):
        # A cache for each, or the second would find the kernels of the first.
        native = {"MODEL": model, "NUMBARNN_LEVEL": "native", "NUMBA_CACHE_DIR": work / f"warm {name}"}
        compiling = run(python, code, **native)
        found = {"wheel": [], "warm": []}
        for number in range(times):
            empty = work / f"empty {name} {number}"
            found["wheel"].append(run(python, code, MODEL=model, NUMBA_CACHE_DIR=empty))
            found["warm"].append(run(python, code, **native))
        (wheel, compiled), (kept, _) = (map(statistics.median, zip(*found[which], strict=True)) for which in found)
        figures[f"platform wheel, empty cache: start to the first {name}"] = (
            f"{wheel:.2f} s, {compiled:.0f} compiled; {wheel / kept:.2f} times the start with native kernels at hand "
            f"({kept:.2f} s); compiling: {compiling[0]:.1f} s, {compiling[1]:.0f} compiled"
        )
    return figures


def speeds(python, levels, work, rounds, threads):
    """Return, by level, rows of a size and how many times as long forward and training take as with native kernels."""
    sizes = [",".join(map(str, size)) for size in SIZES]
    found = {name: [] for name in ("native", *levels)}
    for _ in range(rounds):
        for name, values in found.items():
            given = {"NUMBARNN_LEVEL": name, "NUMBA_CACHE_DIR": work / "warm"}
            values.append(np.reshape(run(python, SPEED, threads, *sizes, **given), (len(SIZES), 2)))
    native = np.array(found["native"])
    return {name: np.median(np.array(found[name]) / native, axis=0) for name in levels}


def main():
    """Measure, and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--wheel", type=pathlib.Path)
    parser.add_argument("--levels", nargs="+", default=["x86-64-v3", "x86-64-v4"])
    parser.add_argument("--times", type=int, default=7)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        work = pathlib.Path(folder)
        python, wheel = install(options.wheel, options.levels, work)
        print(f"{wheel.name}: {wheel.stat().st_size / 1e6:.1f} MB")
        for what, figure in starts(python, work, options.times).items():
            print(f"{what}: {figure}")
        ratios = speeds(python, options.levels, work, options.rounds, options.threads)
        print("| C, H, N, T | " + " | ".join(f"{name}: forward | training" for name in ratios) + " |")
        print("|---|" + "---|---|" * len(ratios))
        for index, size in enumerate(SIZES):
            cells = [f"{forward:.2f} | {training:.2f}" for forward, training in (r[index] for r in ratios.values())]
            print(f"| {', '.join(map(str, size))} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
