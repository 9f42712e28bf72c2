"""Child processes of `numbarnn warmup`: kernels of a level for other machines; native ones beside prebuilt ones, and their gain."""

import json
import os
import pathlib
import subprocess
import sys

from numbarnn.cli.common import UserError
from numbarnn.kernels import cache, levels, prebuilt
from numbarnn.kernels.inventory import take_inventory

# A child has the paths of its parent, whatever folder it is started in.
START = "import json, sys; given = json.loads(sys.argv[1]); sys.path[:] = given['path']; "
COMPILE = START + "from numbarnn.cli import prebuild; prebuild.compile_in(**given['options'])"
MEASURE = START + "from numbarnn.cli import prebuild; print(*prebuild.measure(**given['options']))"


def _run(code, environment, options, **how):
    given = json.dumps({"path": levels.import_path(), "options": options})
    # What this process has printed already comes before what the child prints.
    sys.stdout.flush()
    return subprocess.run([sys.executable, "-P", "-c", code, given], env=os.environ | environment, check=False, **how)


def fill(
    output: pathlib.Path, names: list[str], model: pathlib.Path | None, dtype: str | None, only: list[str] | None
) -> None:
    """Compile the kernels of levels into a folder.

    Raises
    ------
    UserError
        If this processor lacks what a level has, the folder cannot be used, or a child process failed.
    """
    for name in names:
        level = levels.LEVELS[name]
        if not levels.runs_here(level):
            lacking = ", ".join(sorted(set(level.features) - levels.host_features()))
            raise UserError(f"kernels of {name} are compiled where they can run, and this processor lacks {lacking}")
    # As a process finds it by NUMBARNN_PREBUILT, which need not be started in this folder.
    output = output.resolve()
    for name in names:
        folder = output / name
        try:
            output.parent.mkdir(parents=True, exist_ok=True)
            for path in (output, folder):  # not writable by a group, whatever the umask is
                path.mkdir(mode=0o755, exist_ok=True)
        except OSError as error:
            raise UserError(f"{folder} cannot be made: {error.strerror}") from error
        for path in (output, folder):
            if reason := cache.distrust(path):
                raise UserError(f"kernels in {path} would not be used: {reason}. {cache.ADVICE.rpartition(',')[0]}")
        print(f"{name}:")
        options = {"model": model and os.fspath(model), "dtype": dtype, "only": only}
        done = _run(COMPILE, levels.environment(levels.LEVELS[name]), options | {"folder": os.fspath(folder)})
        if done.returncode != 0:
            raise UserError(f"compiling for {name} ended with status {done.returncode}")
        found = take_inventory(folder, prebuilt.level_target(levels.LEVELS[name]))
        print(f"{found.kernels} kernels of {name} are in {folder}, whose files have {found.size / 1e6:.1f} MB")
    print(f"{prebuilt.FOLDER}={output} lets other machines run them")


def add_native(level: levels.Level, dtype: str | None) -> None:
    """Compile all native kernels where prebuilt ones of a level run, and say what is gained.

    Raises
    ------
    UserError
        If the child process failed.
    """
    print(f"prebuilt kernels of {level.name} run in this environment; compiling those for this processor")
    native = {prebuilt.LEVEL: prebuilt.NATIVE}
    done = _run(COMPILE, native, {"model": None, "dtype": dtype, "only": None})
    if done.returncode != 0:
        raise UserError(f"compiling ended with status {done.returncode}")
    print(gain(level, dtype or "float32"))
    if os.environ.get(prebuilt.LEVEL):
        print(
            f"{prebuilt.LEVEL} is set to {os.environ[prebuilt.LEVEL]}: unset it, and later processes run what was compiled"
        )


def gain(level: levels.Level, dtype: str) -> str:
    """Return what native kernels gain over those of a level, as a line."""
    found = []
    for name in (level.name, prebuilt.NATIVE):
        done = _run(MEASURE, {prebuilt.LEVEL: name}, {"dtype": dtype}, capture_output=True, text=True)
        if done.returncode != 0:
            last = (done.stderr or "").strip().rpartition("\n")[2]
            return f"what native kernels gain is unknown: a trial ended with status {done.returncode}: {last}"
        found.append([float(value) for value in done.stdout.split()])
    parts = (
        f"{what} {before * 1e3:.2f} ms before, {after * 1e3:.2f} ms now ({before / after:.2f} times as fast)"
        for what, before, after in zip(("forward", "training step"), *found, strict=True)
    )
    return f"LSTM(64), 32 samples of 50 steps, {dtype}, one thread: {'; '.join(parts)}"


# What runs in the children


def compile_in(model: str | None, dtype: str | None, only: list[str] | None, folder: str | None = None) -> None:
    """Compile as `numbarnn warmup` does, all or into one folder, and say so there; a mistake of the user's ends the process."""
    from numbarnn.cli.machine import compile_all

    try:
        if folder is not None:
            cache.use_only(pathlib.Path(folder))
            prebuilt.withdraw(pathlib.Path(folder))
        compile_all(None if model is None else pathlib.Path(model), dtype, only)
        if folder is not None:
            prebuilt.mark_ready(pathlib.Path(folder), _filled(model, dtype or "float32", only))
        elif (written := cache.writable_directory()) is not None:
            prebuilt.mark_native(written)
    except UserError as error:
        print(f"numbarnn: {error}", file=sys.stderr)
        sys.exit(1)


def _filled(model, dtype, only):
    """Return what `numbarnn.kernels.prebuilt.mark_ready` is told."""
    if model is not None:
        return [f"model {pathlib.Path(model).name}"]
    return [dtype] if only is None else [f"{step} in {dtype}" for step in only]


def measure(dtype: str, hidden: int = 64, times: int = 30) -> tuple[float, float]:
    """Return the least seconds that a forward pass and a training step of a small LSTM take in this process."""
    import time

    import numpy as np

    from numbarnn import LSTM, Dense, Model
    from numbarnn.data.batches import Batch
    from numbarnn.training.trainer import Trainer

    model = Model([LSTM(hidden), Dense(4)], 8, dtype, seed=0, n_threads=1)
    x = np.random.default_rng(0).normal(size=(32, 50, 8)).astype(dtype)
    batch = Batch(x, np.zeros((32, 50), int))
    trainer = Trainer(model.copy(), "softmax_cross_entropy", n_threads=1)
    found = []
    for work in (lambda: model.forward(x), lambda: trainer.train_batch(batch)):
        seconds = []
        for _ in range(times):
            started = time.perf_counter()
            work()
            seconds.append(time.perf_counter() - started)
        found.append(min(seconds))
    return found[0], found[1]
