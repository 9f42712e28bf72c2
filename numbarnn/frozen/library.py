"""Shared libraries of models: code for each level of processors, made in child processes, beside one copy of the weights."""

import concurrent.futures
import json
import os
import pathlib
import platform
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numba import cloudpickle

from numbarnn import parallel
from numbarnn.checks import brief
from numbarnn.errors import FreezeError
from numbarnn.frozen.check import check_sequence
from numbarnn.frozen.child import CELLS, KERNELS, VALUES, Request
from numbarnn.frozen.dispatch import CHECK_X, CHECK_Y, Sizes, write_dispatch
from numbarnn.frozen.interface import Interface
from numbarnn.frozen.linker import check_system, find_linker, link
from numbarnn.kernels.cpu.simd import target
from numbarnn.kernels.levels import LEVELS, environment, import_path, runs_here
from numbarnn.kernels.records import OWN, _name
from numbarnn.layers import Recurrent
from numbarnn.network.walk import make_walk

# The one level of ARM: all 64-bit processors have NEON, and fuse.
NEON = "neon"
_NEON = {"NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": "+neon", "NUMBARNN_LEVEL": "native"}
# Intel's library of mathematics and checks of indices, which a user may have, would call what a frozen library has not.
_PLAIN = {"NUMBA_DISABLE_INTEL_SVML": "1"}
_CHECKS = "NUMBA_BOUNDSCHECK"
_CHILD = "import json, sys; sys.path[:] = json.loads(sys.argv.pop(1)); from numbarnn.frozen.child import main; main()"


@dataclass(frozen=True)
class Parts:
    """What a library is linked from.

    Attributes
    ----------
    interface : Interface
    objects : dict of str to bytes
        Object file by level, from the least to the highest.
    constants : dict of str to array
        By name.
    sizes : tuple of int
        Bytes of a state, of scratch memory, and of what a step adds to it.
    own : tuple of str
        Names of the user's own cells.
    """

    interface: Interface
    objects: dict[str, bytes]
    constants: dict[str, np.ndarray]
    sizes: tuple[int, int, int]
    own: tuple[str, ...]

    def runs_here(self) -> bool:
        """Return whether the processor at hand has a level of the library."""
        return any(level == NEON or runs_here(LEVELS[level]) for level in self.objects)


def check_levels(levels: Any) -> tuple[str, ...]:
    """Return levels from the least to the highest; None: all of this machine's kind of processor."""
    known = (NEON,) if platform.machine() in ("aarch64", "arm64") else tuple(LEVELS)
    if levels is None:
        return known
    given = (levels,) if isinstance(levels, str) else tuple(levels) if hasattr(levels, "__iter__") else (levels,)
    if not given or any(not isinstance(level, str) or level not in known for level in given):
        raise ValueError(f"levels must be some of {', '.join(map(repr, known))}, or None for all, got {brief(levels)}")
    return tuple(level for level in known if level in given)


def make_parts(model: Any, interface: Interface, levels: Sequence[str]) -> Parts:
    """Compile a model for some levels, from the least to the highest.

    Raises
    ------
    FreezeError
        If there is no linker, or the code of a cell cannot be compiled in another process.
    ValueError
        If the model's parameters or outputs are not finite.
    """
    check_system()
    find_linker()  # before the work, not after it
    walk = make_walk(model)
    x, y = check_sequence(model)
    functions = tuple(name for name in KERNELS if name in interface.signatures())
    request = Request(
        interface.name,
        functions,
        "",
        walk.cells,
        walk.program,
        walk.values.size,
        walk.dtype,
        {"columns": interface.outputs, "single": int(interface.activation == "sigmoid")},
        _own_classes(model),
    )
    with concurrent.futures.ThreadPoolExecutor(min(len(levels), parallel.default_threads())) as pool:
        objects = dict(
            zip(levels, pool.map(lambda level: _compile(replace(request, level=level)), levels), strict=True)
        )
    item = walk.dtype.itemsize
    step = (walk.work_size(1, 2) - walk.work_size(1, 1)) * item
    sizes = walk.state_bytes, walk.work_size(1, 1) * item - step, step
    own = tuple(kind.__name__ for kind in request.classes.values())
    return Parts(interface, objects, {VALUES: walk.values, CELLS: walk.cells, CHECK_X: x, CHECK_Y: y}, sizes, own)


def _own_classes(model):
    """Return the classes of the user's own cells by the names that packed records have."""
    found = {_name(type(layer.cell)): type(layer.cell) for layer in model.layers if isinstance(layer, Recurrent)}
    return {name: kind for name, kind in found.items() if name.startswith(OWN)}


def _compile(request):
    """Return the object file of a level, made in a process of its own."""
    with tempfile.TemporaryDirectory(prefix="numbarnn-") as folder:
        out = pathlib.Path(folder, "level.o")
        try:
            sent = cloudpickle.dumps(request)
        except Exception as error:
            raise FreezeError(
                f"the model's cells cannot be handed to the process that compiles them: {error}"
            ) from error
        done = subprocess.run(
            [sys.executable, "-P", "-c", _CHILD, json.dumps(import_path()), str(out)],
            input=sent, capture_output=True, env=_environment(request.level),
        )  # fmt: skip
        if done.returncode or not out.exists():
            raise FreezeError(_failure(request, done))
        return out.read_bytes()


def _environment(level):
    """Return the environment of the process that compiles for a level."""
    # The checks are left out, not set to 0: kernels of another setting are stale to every other process (`cache.stamp`).
    own = {name: value for name, value in os.environ.items() if name != _CHECKS}
    return own | (_NEON if level == NEON else environment(LEVELS[level])) | _PLAIN


def _failure(request, done):
    own = [kind.__name__ for kind in request.classes.values()]
    advice = ""
    if own:
        advice = (
            f" The code of {', '.join(own)} is compiled in a process of its own, which must be able to import what it uses: put "
            "the cell and its helpers into a module, not into a script or a notebook."
        )
    said = done.stderr.decode(errors="replace").strip()[-3000:]
    return f"the model cannot be compiled for {request.level}: the process ended with status {done.returncode}.{advice}\n{said}"


def link_parts(parts: Parts, out: pathlib.Path, levels: Sequence[str] | None = None) -> None:
    """Link a library of some levels, or of all."""
    levels = tuple(parts.objects if levels is None else levels)
    folder = out.parent
    data, objects, sizes = folder / "constants", [], {}
    with open(data, "wb") as file:
        for name, array in parts.constants.items():
            content = np.ascontiguousarray(array)
            sizes[name] = content.nbytes
            file.write(content.tobytes())
    interface = parts.interface
    functions = [name for name in KERNELS if name in interface.signatures()]
    triple = f"{platform.machine()}-unknown-linux-gnu"
    fused = [level == NEON or LEVELS[level].fused for level in levels]
    # The mathematics of float64, and what cells of users call, are those of the C library where the code runs.
    same = target()[1] and any(fused) and interface.dtype == "float32" and not parts.own
    inexact = fused.index(True) if same else len(levels)
    made = {"dispatch": write_dispatch(interface, levels, functions, Sizes(*parts.sizes, inexact), triple, data, sizes)}
    for key, content in (made | {level: parts.objects[level] for level in levels}).items():
        objects.append(folder / f"{key}.o")
        objects[-1].write_bytes(content)
    try:
        link(objects, out, libm=interface.dtype == "float64")
    except FreezeError as error:
        missing = sorted(set(re.findall(r"undefined (?:reference to |symbol: )[`']?(\w+)", str(error))))
        if not (missing and parts.own):
            raise
        raise FreezeError(
            f"the code of {', '.join(parts.own)} calls {', '.join(missing)}, which the C library's mathematics does not have: "
            "write its equations with the functions of numbarnn.cells and those of math that C has too (exp, log, sin, erf ...), "
            "or freeze the model to C source (path='model.c')"
        ) from error
