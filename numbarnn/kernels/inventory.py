"""What lies in the folders of compiled kernels."""

import pathlib
from dataclasses import dataclass

from numbarnn.kernels.cache import ABI, ENDING, distrust, read_entry, stamp
from numbarnn.kernels.prebuilt import kernel_target


@dataclass(frozen=True)
class Inventory:
    """One folder of compiled kernels.

    Attributes
    ----------
    kernels : int
        Compiled from these sources for a target (of `take_inventory`), Python and Numba.
    foreign : int
        Compiled from these sources for another processor, level or Python.
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


def take_inventory(folder: pathlib.Path, target: tuple[str, ...] | None = None) -> Inventory:
    """Count what lies in a folder for a target (None: this process's), nothing where there is none; unpickle nothing."""
    target = kernel_target() if target is None else target
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
        elif entry.target == list(target) and path.name.rsplit(".", 2)[0].endswith(f"-{ABI}"):
            kernels += 1
        else:
            foreign += 1
    return Inventory(kernels, foreign, stale, distrusted, size)
