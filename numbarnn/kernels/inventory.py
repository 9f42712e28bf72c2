"""What lies in the folders of compiled kernels."""

import os
import pathlib
import sys
from dataclasses import dataclass

from numba.core.registry import cpu_target

from numbarnn.kernels.compile import _IndexFile, source_stamp


@dataclass(frozen=True)
class Inventory:
    """One folder of compiled kernels.

    Attributes
    ----------
    kernels : int
        Compiled from these sources for this processor, Python and Numba: what this process would load.
    foreign : int
        Compiled from these sources for another processor or Python.
    stale : int
        Compiled from other sources or by another Numba, or cut off; never read, and safe to delete.
    size : int
        Bytes of all files.
    """

    kernels: int
    foreign: int
    stale: int
    size: int


def take_inventory(place: pathlib.Path) -> Inventory:
    """Count what lies in a folder; one that does not exist is empty."""
    target = cpu_target.target_context.codegen().magic_tuple()
    abi = f"-py{sys.version_info[0]}{sys.version_info[1]}{getattr(sys, 'abiflags', '')}"
    kernels, foreign, known, size = 0, 0, set(), 0
    try:
        files = sorted(path for path in place.iterdir() if path.suffix in (".nbi", ".nbc"))
    except OSError:
        files = []
    names = {path.name for path in files if path.suffix == ".nbc"}
    for path in files:
        size += path.stat().st_size
        if path.suffix != ".nbi":
            continue
        index = _IndexFile(os.fspath(place), path.stem, source_stamp())._load_index()
        for (_, compiled_for, _), name in index.items():
            if name not in names:
                continue
            known.add(name)
            if compiled_for == target and path.stem.endswith(abi):
                kernels += 1
            else:
                foreign += 1
    return Inventory(kernels, foreign, len(names - known), size)
