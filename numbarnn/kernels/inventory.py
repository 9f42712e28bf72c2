"""What lies in the folders of compiled kernels."""

import pathlib
import sys
from dataclasses import dataclass

from numba.core.registry import cpu_target

from numbarnn.kernels.cache import ENDING, distrust, read_entry, stamp


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
        Compiled from other sources, by another Numba or with other settings of it, or damaged; never loaded, and safe to delete.
    distrusted : str
        Why kernels here, or some of them, are not loaded: somebody else may have written them. Empty where there are none such.
    size : int
        Bytes of all files.
    """

    kernels: int
    foreign: int
    stale: int
    distrusted: str
    size: int


def take_inventory(folder: pathlib.Path) -> Inventory:
    """Count what lies in a folder; one that does not exist is empty. Nothing is unpickled."""
    target = list(cpu_target.target_context.codegen().magic_tuple())
    abi = f"-py{sys.version_info[0]}{sys.version_info[1]}{getattr(sys, 'abiflags', '')}"
    kernels = foreign = stale = size = 0
    distrusted = distrust(folder)
    try:
        files = sorted(path for path in folder.iterdir() if path.suffix in (ENDING, ".nbi"))
    except OSError:
        files = []
    for path in files:
        size += path.stat().st_size
        if reason := distrust(folder) or distrust(path):
            distrusted = distrusted or reason
            continue
        entry = read_entry(path)
        if entry is None or entry.stamp != stamp():
            stale += 1
        elif entry.target == target and path.name.rsplit(".", 2)[0].endswith(abi):
            kernels += 1
        else:
            foreign += 1
    return Inventory(kernels, foreign, stale, distrusted, size)
