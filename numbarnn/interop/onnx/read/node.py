"""One node of a graph, and the kinds of values that it may ask for."""

from dataclasses import dataclass

import numpy as np

from numbarnn.errors import ShapeError
from numbarnn.interop.onnx.values import Constant, Sizes


@dataclass
class Node:
    """A node of a graph.

    Attributes
    ----------
    kind : str
        Name of the operator.
    where : str
        The node, in messages.
    inputs : list
        Values; None where an input is left out.
    outputs : list of str
        Names.
    attributes : dict
    """

    kind: str
    where: str
    inputs: list
    outputs: list
    attributes: dict

    def get(self, name: str, default=None):
        """Return an attribute."""
        return self.attributes.get(name, default)

    def axes(self) -> list[int] | None:
        """Return the axes that a node names, in an attribute or, of later versions, in its second input."""
        return self.get("axes") or self.optional(1)

    def optional(self, index: int) -> list[int] | None:
        """Return the integers of an input, if there is one."""
        return integers(self.inputs[index]) if len(self.inputs) > index and self.inputs[index] is not None else None


def integers(value) -> list[int]:
    """Return the integers of a constant or of known sizes."""
    if isinstance(value, Sizes):
        if not all(isinstance(size, int) for size in value.items):
            raise ShapeError("it depends on the sizes of the batch")
        return list(value.items)
    if not isinstance(value, Constant) or value.array.dtype.kind not in "iu" or value.array.size > 64:
        raise ShapeError("its axes, indices or sizes are not constant integers")
    return [int(size) for size in value.array.reshape(-1)]


def sizes(value) -> list:
    """Return sizes, those of the batch by name."""
    return list(value.items) if isinstance(value, Sizes) else integers(value)


def weights(value, name: str) -> np.ndarray:
    """Return the array of an input that must be constant."""
    if not isinstance(value, Constant) or value.array.dtype.kind != "f":
        raise ShapeError(f"{name} is not a constant array of numbers")
    return value.array


def from_first(axes, count: int) -> list[int]:
    """Return axes counted from the first; raise ShapeError if there is none such."""
    wrong = [axis for axis in axes if not -count <= axis < count]
    if wrong:
        raise ShapeError(f"it has an axis {wrong[0]} of {count}")
    return [axis % count for axis in axes]
