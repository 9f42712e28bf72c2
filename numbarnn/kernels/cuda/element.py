"""Tuples of a cell's values from memory and back: `numbarnn.kernels.element` for pointers.

The stand-ins `cell_forward` and so on are the CPU's; Numba learns in `numbarnn.kernels.cuda.typing` what they are on CUDA. The
functions here are what the simulator runs.
"""

from numbarnn.kernels.element import (
    added,
    cell_backward,
    cell_forward,
    cell_inner_backward,
    cell_inner_forward,
    count_of,
    scaled,
)

__all__ = [
    "added", "cell_backward", "cell_forward", "cell_inner_backward", "cell_inner_forward", "count_of", "load", "scaled", "store",
]  # fmt: skip


def load(cell, role, values, at, stride):
    """Return the tuple of ``values[at + i * stride]`` for the record's `role`: its gates, states ..."""
    return tuple(values[at + i * stride] for i in range(len(getattr(cell, role))))


def store(cell, role, values, at, stride, entries):
    """Store a tuple as `load` would read it."""
    for i, entry in enumerate(entries):
        values[at + i * stride] = entry
