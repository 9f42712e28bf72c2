"""A model as `numbarnn.kernels.cpu.step` runs it: one array of weights, one of state, and a program."""

import functools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

import numba
import numpy as np

from numbarnn.cells.contract import has_inner, inner_rows, used_hidden_rows
from numbarnn.kernels.activation import ACTIVATIONS
from numbarnn.kernels.cpu import step as kernels
from numbarnn.kernels.cpu.memory import ALIGNMENT, padded, zeros
from numbarnn.kernels.cpu.simd import tile_table
from numbarnn.kernels.cpu.step import Activate, Affine, Cell, Gather, SecondProduct, StepWeights
from numbarnn.kernels.records import pack_records
from numbarnn.layers import Activation, Dense, Dropout, Embedding, EmbeddingBag, OneHot, Recurrent


class _States(NamedTuple):
    """The states of one recurrent layer in the state array: (levels, states, width) values, `hidden` of each row counting."""

    at: int
    levels: int
    count: int
    width: int
    hidden: int


@dataclass(frozen=True)
class Plan:
    """The weights of a model for steps, and what belongs to them.

    Attributes
    ----------
    weights : StepWeights
    size : int
        Length of a state.
    inputs, outputs : int
        Features (or size of the vocabulary), and outputs of a step.
    tokens : bool
        Whether the model reads tokens.
    bag : int
        Tokens of a step along an axis of their own; 0: one, without such an axis.
    states : tuple
        Offset and shape of the states of each recurrent layer.
    """

    weights: StepWeights
    size: int
    inputs: int
    outputs: int
    tokens: bool
    bag: int
    states: tuple[_States, ...]
    _entry: Callable | None = field(default=None, init=False, repr=False)

    @property
    def enter(self):
        """``enter(cells, handle, x, y)``: the kernel `stream_step` for a token, or an array as `new_input` returns them.

        It is called without the dispatcher, which would spend more time on the types of its arguments (0.9 us) than a
        small net on the step; callers see to the types.
        """
        if self._entry is None:  # once: Numba takes 60 us to find the type of the records
            x = numba.types.int64
            if self.bag or not self.tokens:
                x = numba.types.Array(numba.from_dtype(self.new_input().dtype), 1, "A")
            entry = _enter(numba.typeof(self.weights.cells), x, numba.from_dtype(self.weights.values.dtype))
            object.__setattr__(self, "_entry", entry)
        return self._entry

    def new_input(self) -> np.ndarray:
        """Return zeros for the input of a step: (features,) of the model's dtype, or (bag,) int64; a token is none of these."""
        return np.zeros(self.bag, np.int64) if self.tokens else np.zeros(self.inputs, self.weights.values.dtype)

    def handle(self, state: np.ndarray) -> np.ndarray:
        """Return the integers whose address `enter` takes."""
        arrays = self.weights.program, self.weights.values, state
        return np.array([value for array in arrays for value in (array.ctypes.data, array.size)], np.int64)

    def new_state(self) -> np.ndarray:
        """Return the state before the first step."""
        return zeros((self.size,), self.weights.values.dtype)

    def write(self, state: np.ndarray, values) -> None:
        """Set a state from one in the form of `Model.forward`, of one sample; None: zeros."""
        state[...] = 0
        for own, entry in zip(self.states, values or (), strict=False):
            rows = self._rows(state, own)
            for s, array in enumerate(entry):
                rows[:, s, : own.hidden] = array[:, 0]

    def read(self, state: np.ndarray) -> tuple:
        """Return a copy of a state in the form of `Model.forward`."""
        return tuple(
            tuple(self._rows(state, own)[:, s, None, : own.hidden].copy() for s in range(own.count))
            for own in self.states
        )

    @staticmethod
    def _rows(state, own):
        size = own.levels * own.count * own.width
        return state[own.at : own.at + size].reshape(own.levels, own.count, own.width)


class _Builder:
    """Collects weights, parts of the state, operations and cells."""

    def __init__(self, dtype):
        self.dtype, self.line = dtype, ALIGNMENT // dtype.itemsize
        self.parts, self.used, self.size = [], 0, 0
        self.operations, self.cells = [], {}

    def weights(self, array) -> int:
        """Add an array of weights and return its offset."""
        at = self.used
        self.parts.append((at, array.reshape(-1)))
        self.used += -(-array.size // self.line) * self.line
        return at

    def room(self, count) -> int:
        """Reserve that many values of the state and return their offset."""
        at = self.size
        self.size += -(-count // self.line) * self.line
        return at

    def cell(self, record) -> int:
        """Return the index of a record among the cells."""
        return self.cells.setdefault((type(record), record), len(self.cells))

    def values(self):
        """Return all weights in one array."""
        values = zeros((self.used,), self.dtype)
        for at, part in self.parts:
            values[at : at + part.size] = part
        return values


_STEPPED = (Activation, Dense, Dropout, Embedding, EmbeddingBag, OneHot)


@functools.cache  # which has no lock that a forked child could inherit shut, as a cached property has before Python 3.12
def _enter(cells, x, dtype):
    return kernels.stream_step.compile((cells, numba.types.int64, x, numba.types.Array(dtype, 1, "C")))


def has_step(layers) -> bool:
    """Return whether `make_plan` takes all layers."""
    return all(layer.causal if isinstance(layer, Recurrent) else isinstance(layer, _STEPPED) for layer in layers)


def without_step(layer) -> TypeError:
    """Return the error of a layer that cannot be run step by step."""
    return TypeError(f"{layer!r} has no step: recurrent layers and {', '.join(c.__name__ for c in _STEPPED)} have")


def make_plan(layers, signals, packed, dtype) -> Plan:
    """Return the plan of a model's layers, given their packed weights.

    Raises
    ------
    ValueError
        If a layer reads the sequence from its end.
    TypeError
        If a layer or cell has no step.
    """
    for layer in layers:
        if isinstance(layer, Recurrent) and not layer.causal:
            what = "bidirectional" if layer.bidirectional else "reverse"
            raise ValueError(
                f"{layer!r} is {what}: it reads the sequence from its end, so it cannot be run step by step; "
                "use forward on whole sequences"
            )
    build = _Builder(dtype)
    states = _reserve_states(build, layers)
    tokens, inputs, bag = signals[0].tokens, signals[0].size, (0, 0, 0)
    x_at = -1 if tokens else build.room(inputs)
    at, state = x_at, iter(states)
    for layer, signal, weights in zip(layers, signals, packed, strict=False):
        if isinstance(layer, Recurrent):
            at = _add_recurrent(build, layer, signal, weights, at, next(state))
        elif isinstance(layer, Dense):
            at = _add_dense(build, layer, signal, weights, at)
            if layer.activation is not None:
                at = _add_activation(build, layer.activation, layer.size, at)
        elif isinstance(layer, Activation):
            at = _add_activation(build, layer.activation, signal.size, at)
        elif isinstance(layer, EmbeddingBag):
            at = x_at = build.room(padded(layer.features, dtype))
            bag = layer.bag, build.weights(weights[0]), layer.features
        elif isinstance(layer, Embedding):
            dst = build.room(padded(layer.features, dtype))
            build.operations.append((kernels.GATHER, *Gather(build.weights(weights[0]), layer.features, dst)))
            at = dst
        elif not isinstance(layer, (Dropout, OneHot)):
            raise without_step(layer)
    table = tile_table(dtype)
    if table.size > kernels.HEADER:
        raise RuntimeError(f"the program has room for {kernels.HEADER} addresses of tiles, not for {table.size}")
    program = np.zeros(kernels.FIRST + sum(map(len, build.operations)), np.int64)
    program[: table.size] = table
    sizes = build.size, build.used, program.size, padded(1, dtype)
    program[kernels.HEADER : kernels.FIRST] = len(build.operations), inputs, x_at, signals[-1].size, at, *sizes, *bag
    program[kernels.FIRST :] = [value for operation in build.operations for value in operation]
    weights = StepWeights(pack_records(record for _, record in build.cells), program, build.values())
    return Plan(weights, build.size, inputs, signals[-1].size, tokens, bag[0], states)


def _reserve_states(build, layers):
    """Return the offsets of all states; they come first in the array."""
    found = []
    for layer in layers:
        if isinstance(layer, Recurrent):
            levels, count, width = layer.num_layers, len(layer.cell.states), padded(layer.hidden_size, build.dtype)
            found.append(_States(build.room(levels * count * width), levels, count, width, layer.hidden_size))
    return tuple(found)


def _add_recurrent(build, layer, signal, packed, x_at, states):
    cell, width = layer.cell, states.width
    recurrents = layer.hidden_size if used_hidden_rows(cell) else 0
    z_at = build.room(len(cell.preactivations) * width)
    inner_at = build.room(width) if has_inner(cell) else 0
    inner = [cell.preactivations.index(name) for name in inner_rows(cell)]
    for level, weights in enumerate(packed):
        tokens = signal.tokens and level == 0
        inputs = 0 if tokens else signal.size if level == 0 else layer.hidden_size
        h_at = states.at + level * states.count * width
        groups = _groups(cell, inputs, recurrents)
        operation = Cell(
            cell=build.cell(cell), x_at=max(x_at, 0), inputs=inputs, h_at=h_at, recurrents=recurrents, width=width,
            panels_at=build.weights(weights.forward.packed),
            bias_at=build.weights(weights.forward.token_rows if tokens else weights.forward.bias),
            token_row=weights.forward.bias.size if tokens else 0,
            diagonal_at=build.weights(weights.diagonal), z_at=z_at, groups=len(groups),
        )  # fmt: skip
        second = SecondProduct(inner_at, min(inner, default=0), len(inner))
        build.operations.append((kernels.CELL, *operation, *second, *(value for group in groups for value in group)))
        x_at = h_at
    return x_at


def _groups(cell, inputs, recurrents):
    """Return (first, count, values of x, values of h) of the runs of pre-activations that take the same operands."""
    groups = []
    for index, name in enumerate(cell.preactivations):
        operands = (inputs if name in cell.from_input else 0, recurrents if name in cell.from_hidden else 0)
        if groups and groups[-1][2:] == operands:
            first, count = groups[-1][:2]
            groups[-1] = (first, count + 1, *operands)
        else:
            groups.append((index, 1, *operands))
    return groups


def _add_dense(build, layer, signal, packed, x_at):
    width = padded(layer.size, build.dtype)
    y_at = build.room(width)
    if signal.tokens:
        operation = (kernels.GATHER, *Gather(build.weights(packed.token_rows), width, y_at))
    else:
        panels = width // padded(1, build.dtype)
        offsets = build.weights(packed.forward), build.weights(packed.bias)
        operation = (kernels.AFFINE, *Affine(x_at, signal.size, *offsets, y_at, panels))
    build.operations.append(operation)
    return y_at


def _add_activation(build, activation, size, x_at):
    y_at = build.room(padded(size, build.dtype))
    build.operations.append((kernels.ACTIVATE, *Activate(ACTIVATIONS[activation], x_at, y_at, size)))
    return y_at
