"""Shared libraries of models: code for each level of processors, made in child processes, beside one copy of the weights."""

import concurrent.futures
import json
import os
import pathlib
import pickle
import platform
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import cloudpickle

from numbarnn import parallel
from numbarnn.checks import brief
from numbarnn.errors import FreezeError
from numbarnn.frozen.dispatch import write_dispatch
from numbarnn.frozen.entries import CHECK_STEPS, CHECK_X, CHECK_Y, VALUES, Frozen
from numbarnn.frozen.interface import Interface
from numbarnn.frozen.linker import check_system, find_linker, link
from numbarnn.kernels.cpu.simd import target
from numbarnn.kernels.levels import LEVELS, environment, runs_here
from numbarnn.layers import Recurrent

# The one level of ARM: all 64-bit processors have NEON, and fuse.
NEON = "neon"
# The functions that every level has, and how C calls them; see `write_dispatch`.
FUNCTIONS = {"check": "ii", "workspace_bytes": "iis", "forward": "iiiiiiiii", "step": "iiii"}

_CHILD = (
    "import json, sys; sys.path[:] = json.loads(sys.argv.pop(1)); from numbarnn.frozen.child import main; main()"
)


@dataclass(frozen=True)
class Parts:
    """What a library is linked from.

    Attributes
    ----------
    frozen : Frozen
    objects : dict of str to bytes
        Object file by level, from the least to the highest.
    constants : dict of str to array
        By name.
    libm : bool
        Whether the code calls the mathematics of the C library.
    """

    frozen: Frozen
    objects: dict[str, bytes]
    constants: dict[str, np.ndarray]
    libm: bool


    def runs_here(self) -> bool:
        """Return whether the processor at hand has a level of the library."""
        return any(level == NEON or runs_here(LEVELS[level]) for level in self.objects)


def check_levels(levels: Any) -> tuple[str, ...]:
    """Return levels from the least to the highest; None: all of this machine's kind of processor."""
    known = (NEON,) if platform.machine() in ("aarch64", "arm64") else tuple(LEVELS)
    if levels is None:
        return known
    given = (levels,) if isinstance(levels, str) else tuple(levels) if hasattr(levels, "__iter__") else (levels,)
    if not given or any(level not in known for level in given):
        raise ValueError(f"levels must be some of {', '.join(map(repr, known))}, or None for all, got {brief(levels)}")
    return tuple(level for level in known if level in given)


def make_parts(model: Any, interface: Interface, levels: Sequence[str]) -> Parts:
    """Compile a model for some levels, from the least to the highest."""
    check_system()
    find_linker()  # before the work, not after it
    plan = model.step_plan()
    x, y = _check_vector(model)
    records = tuple({(type(layer.cell), layer.cell): layer.cell for layer in model.layers if isinstance(layer, Recurrent)}.values())
    values = plan.weights.values
    frozen = Frozen(interface, records, plan.weights.program, values.size, plan.size, exact=target()[1])
    with concurrent.futures.ThreadPoolExecutor(min(len(levels), parallel.default_threads())) as pool:
        objects = dict(zip(levels, pool.map(lambda level: _compile(frozen, level), levels), strict=True))
    return Parts(frozen, objects, {VALUES: values, CHECK_X: x, CHECK_Y: y}, model.dtype == np.float64)


def _check_vector(model):
    """Return some steps of one sequence, as the library reads them, and the model's outputs."""
    first, rng = model.signals[0], np.random.default_rng(0)
    if first.tokens:
        shape = (CHECK_STEPS, first.bag) if first.bag else (CHECK_STEPS,)
        x = rng.integers(0, first.size, shape)
    else:
        x = rng.normal(size=(CHECK_STEPS, first.size)).astype(model.dtype)
    return x, np.ascontiguousarray(model.forward(x[None])[0][0])


def _compile(frozen, level):
    """Return the object file of a level, made in a process of its own."""
    with tempfile.TemporaryDirectory(prefix="numbarnn-") as folder:
        out = pathlib.Path(folder, "level.o")
        try:
            request = {"frozen": cloudpickle.dumps(frozen), "level": level}
        except Exception as error:
            raise FreezeError(f"the model's cells cannot be handed to the process that compiles them: {error}") from error
        names = {} if level == NEON else environment(LEVELS[level])
        done = subprocess.run(
            [sys.executable, "-c", _CHILD, json.dumps([entry or os.getcwd() for entry in sys.path]), str(out)],
            input=pickle.dumps(request), capture_output=True, env={**os.environ, **names},
        )  # fmt: skip
        if done.returncode or not out.exists():
            raise FreezeError(_failure(frozen, level, done))
        return out.read_bytes()


def _failure(frozen, level, done):
    own = [type(record).__name__ for record in frozen.records if type(record).__module__.partition(".")[0] != "numbarnn"]
    advice = ""
    if own:
        advice = (
            f" The code of {', '.join(own)} is compiled in a process of its own, which must be able to import what it uses: put "
            "the cell and its helpers into a module, not into a script or a notebook."
        )
    said = done.stderr.decode(errors="replace").strip()[-3000:]
    return f"the model cannot be compiled for {level}: the process ended with status {done.returncode}.{advice}\n{said}"


def link_parts(parts: Parts, out: pathlib.Path, levels: Sequence[str] | None = None) -> None:
    """Link a library of some levels, or of all."""
    levels = tuple(parts.objects if levels is None else levels)
    folder = out.parent
    data, objects, sizes = folder / "constants", [], {}
    with open(data, "wb") as file:
        for name, array in parts.constants.items():
            content = np.ascontiguousarray(array)
            sizes[name] = content.nbytes
            file.write(content.data if content.size else b"")
    interface = parts.frozen.interface
    functions = {key: kinds for key, kinds in FUNCTIONS.items() if key in interface.signatures()}
    triple = f"{platform.machine()}-unknown-linux-gnu"
    state_bytes = parts.frozen.state * np.dtype(interface.dtype).itemsize
    made = {"dispatch": write_dispatch(interface, levels, functions, state_bytes, triple, data, sizes)}
    for key, content in (made | {level: parts.objects[level] for level in levels}).items():
        objects.append(folder / f"{key}.o")
        objects[-1].write_bytes(content)
    link(objects, out, parts.libm)
