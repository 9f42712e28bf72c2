"""What the values of an ONNX graph are while it is read: constants, sizes, zeros, and the output of a layer by its axes.

No batch runs. An axis is a product of factors, so that a reshape, which regroups the factors, can be followed whatever the sizes
of the batch are.
"""

import math
from dataclasses import dataclass, field, replace

import numpy as np

from numbarnn.errors import ShapeError

Size = int | str  # a number, or the name of a size that a batch decides about


@dataclass(frozen=True)
class Factor:
    """A factor of an axis.

    Attributes
    ----------
    tag : str
        "samples", "steps", "directions", "features", or the name of an axis of the input that is not known yet.
    size : int or str
    """

    tag: str
    size: Size


Axis = tuple  # of Factor


@dataclass(frozen=True)
class Constant:
    """An array of the file."""

    array: np.ndarray


@dataclass(frozen=True)
class Sizes:
    """A vector of sizes, or one of them."""

    items: tuple
    scalar: bool = False


@dataclass(frozen=True)
class Zeros:
    """Zeros of any shape: initial states of nothing."""


def is_zero(value) -> bool:
    """Return whether a value is known to be zero."""
    return isinstance(value, Zeros) or (isinstance(value, Constant) and not value.array.any())


@dataclass(frozen=True)
class Input:
    """An input of the graph that is not the sequence: initial states, lengths.

    Attributes
    ----------
    name : str
    rows : (first, last) or None
        Of an initial state, the rows of its first axis, `last` not among them; None: all.
    """

    name: str
    rows: tuple | None = None


@dataclass(frozen=True)
class Derived:
    """What is computed of lengths, or of tokens, as an expression: masks, counts and indices.

    Attributes
    ----------
    expression : str
    axes : tuple of Axis
        Of tokens; what is computed of others has none.
    """

    expression: str
    axes: tuple = field(default=(), compare=False)


@dataclass(frozen=True)
class Output:
    """The output of a layer, by its axes.

    Attributes
    ----------
    axes : tuple of Axis
    version : int
        Of the chain when it was made: of the newest value, that of now.
    tokens : str or None
        Of integers, the name of the input.
    final : int or None
        Index of the recurrent layer of which it is a final state.
    cell : bool
        Whether that is the state c of an LSTM, which no layer gives.
    ended : bool
        Whether it is a softmax, after which nothing comes.
    direction : int or None
        Of a value of one of two directions, which.
    masked : str or None
        Of a value on its way to a sum or maximum of what is valid: "zero", "low" (padding is 0, or -inf), "sum" (not yet divided
        by the lengths), "rows", "bag" (vectors of the tokens of a bag, not yet summed).
    """

    axes: tuple
    version: int
    tokens: str | None = None
    final: int | None = None
    cell: bool = False
    ended: bool = False
    direction: int | None = None
    masked: str | None = None

    def transposed(self, perm) -> "Output":
        """Return the value with its axes in another order."""
        if sorted(perm) != list(range(len(self.axes))):
            raise ShapeError(f"perm {list(perm)} is not one of {len(self.axes)} axes")
        return replace(self, axes=tuple(self.axes[index] for index in perm))

    def without(self, axes) -> "Output":
        """Return the value without axes of size 1."""
        wrong = [axis for axis in axes if size_of(self.axes[axis]) != 1]
        if wrong:
            raise ShapeError(f"axis {wrong[0]} is not of size 1")
        return replace(self, axes=tuple(axis for index, axis in enumerate(self.axes) if index not in axes))

    def with_one_index(self, axis: int, keep: bool) -> "Output":
        """Return the value at one index of an axis, which stays as an axis of size 1, or goes."""
        return replace(self, axes=(*self.axes[:axis], *([()] if keep else []), *self.axes[axis + 1 :]))

    def reshaped(self, shape) -> "Output":
        """Return the value in another shape, in which no axis is divided but where it was joined before."""
        factors = [factor for axis in self.axes for factor in axis if factor.size != 1]
        wanted = [size_of(self.axes[index]) if size == 0 else size for index, size in enumerate(shape)]
        if wanted.count(-1) > 1:
            raise ShapeError("it has two unknown sizes")
        cut = wanted.index(-1) if -1 in wanted else len(wanted)
        front, back = [], []
        for size in wanted[:cut]:
            front.append(_taken(factors, size, first=True))
        for size in reversed(wanted[cut + 1 :]):
            back.insert(0, _taken(factors, size, first=False))
        if -1 in wanted:
            front.append(tuple(factors))
        elif factors:
            raise ShapeError(f"the shape {list(shape)} has another size than the value")
        return replace(self, axes=(*front, *back))


@dataclass(frozen=True)
class States:
    """Final states of layers, one after another along the first axis."""

    parts: tuple = field(default=())


def size_of(axis: Axis) -> Size:
    """Return the size of an axis."""
    sizes = [factor.size for factor in axis]
    named = [size for size in sizes if isinstance(size, str)]
    return "*".join(map(str, sizes)) if named and len(sizes) > 1 else named[0] if named else math.prod(sizes)


def _taken(factors, size, first):
    """Take factors of a size from an end of a list; raise ShapeError if there are none of that size."""
    if size == 1:
        return ()
    taken = []
    while factors:
        taken.insert(0 if not first else len(taken), factors.pop(0 if first else -1))
        found = size_of(tuple(taken))
        if found == size:
            return tuple(taken)
        if isinstance(size, int) and isinstance(found, int) and found > size:
            break
    raise ShapeError(f"a size {size} is not that of axes side by side")
