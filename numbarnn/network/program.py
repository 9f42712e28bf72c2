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


class States(NamedTuple):
    """The states of one recurrent layer in the state array: (runs, states, width) values, `hidden` of each row counting."""

    at: int
    runs: int
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
    stored : int
        Length of what a state carries from one step to the next, which comes first in it.
    products : int
        Multiply-adds of a step, and what else it does by their measure.
    """

    weights: StepWeights
    size: int
    inputs: int
    outputs: int
    tokens: bool
    bag: int
    states: tuple[States, ...]
    stored: int
    products: int
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
                # Not aligned: whoever reads messages may have made an array of bytes from any address on.
                x = numba.types.Array(numba.from_dtype(self.new_input().dtype), 1, "A", aligned=False)
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
        size = own.runs * own.count * own.width
        return state[own.at : own.at + size].reshape(own.runs, own.count, own.width)


class Builder:
    """Collects weights, parts of the state, operations and cells, layer by layer.

    Attributes
    ----------
    operations : list of tuple
        Kind and fields of every operation, as the program has them.
    states : tuple of States
        Of each recurrent layer; they come first in the state.
    x_at : int
        Where the operations expect the input of a step; -1: it is a token.
    size, used, stored : int
        Length of the state, of the weights' values, and of `states`.
    products : int
        Multiply-adds of a step, and what else it does by their measure.
    """

    def __init__(self, dtype, layers, signal):
        self.dtype, self.line = dtype, ALIGNMENT // dtype.itemsize
        self.parts, self.used, self.size = [], 0, 0
        self.operations, self.cells = [], {}
        self.states = tuple(self._reserve(layer) for layer in layers if isinstance(layer, Recurrent))
        self.stored = self.size
        self.products = 0
        self._next_states = iter(self.states)
        self.signal, self.bag = signal, (0, 0, 0)
        self.x_at = -1 if signal.tokens else self.room(signal.size)

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

    def add(self, layer, signal, packed, at) -> int:
        """Add the operations of a layer that finds its input at `at`, and return where its output is.

        Of a recurrent layer there is one operation for each run, in the order of the states.

        Raises
        ------
        TypeError
            If the layer has no step.
        """
        if isinstance(layer, Recurrent):
            return _add_recurrent(self, layer, packed, at, next(self._next_states))
        if isinstance(layer, Dense):
            at = _add_dense(self, layer, signal, packed, at)
            return at if layer.activation is None else _add_activation(self, layer.activation, layer.size, at)
        if isinstance(layer, Activation):
            return _add_activation(self, layer.activation, signal.size, at)
        if isinstance(layer, EmbeddingBag):
            self.x_at = self.room(padded(layer.features, self.dtype))
            self.bag = layer.bag, self.weights(packed[0]), layer.features
            return self.x_at
        if isinstance(layer, Embedding):
            dst = self.room(padded(layer.features, self.dtype))
            self.operations.append((kernels.GATHER, *Gather(self.weights(packed[0]), layer.features, dst)))
            return dst
        if isinstance(layer, (Dropout, OneHot)):
            return at
        raise without_step(layer)

    def program(self, operations, outputs, y_at, stages=(), buffer_row=0, sample_at=0) -> np.ndarray:
        """Return the program of operations that leave their outputs at `y_at`, followed by stages, in integers."""
        table = tile_table(self.dtype)
        if table.size > kernels.HEADER:
            raise RuntimeError(f"the program has room for {kernels.HEADER} addresses of tiles, not for {table.size}")
        stages_at = kernels.FIRST + sum(map(len, operations))
        program = np.zeros(stages_at + sum(map(len, stages)), np.int64)
        program[: table.size] = table
        sizes = self.size, self.used, program.size, padded(1, self.dtype)
        first = len(operations), self.signal.size, self.x_at, outputs, y_at
        program[kernels.HEADER : kernels.FIRST] = (
            *first, *sizes, *self.bag, len(stages), stages_at if stages else 0, buffer_row, sample_at, self.stored,
        )  # fmt: skip
        program[kernels.FIRST :] = [value for part in (*operations, *stages) for value in part]
        return program

    def plan(self, program) -> Plan:
        """Return the plan of a program."""
        weights = StepWeights(pack_records(record for _, record in self.cells), program, self.values())
        inputs, outputs = (int(program[at]) for at in (kernels.INPUTS, kernels.OUTPUTS))
        sizes = self.size, inputs, outputs
        return Plan(weights, *sizes, self.signal.tokens, self.bag[0], self.states, self.stored, self.products)

    def _reserve(self, layer):
        """Return the offset of a layer's states."""
        runs, count = layer.num_layers * layer.directions, len(layer.cell.states)
        width = padded(layer.hidden_size, self.dtype)
        return States(self.room(runs * count * width), runs, count, width, layer.hidden_size)


# Multiply-adds in whose time a step makes something of one pre-activation (LSTM(32) in `streams`, AVX-512).
CURVES = 16
_STEPPED = (Activation, Dense, Dropout, Embedding, EmbeddingBag, OneHot)


@functools.cache  # which has no lock that a forked child could inherit shut, as a cached property has before Python 3.12
def _enter(cells, x, dtype):
    return kernels.stream_step.compile((cells, numba.types.int64, x, numba.types.Array(dtype, 1, "C")))


def has_step(layers) -> bool:
    """Return whether `make_plan` takes all layers."""
    return all(layer.causal if isinstance(layer, Recurrent) else isinstance(layer, _STEPPED) for layer in layers)


def reads_itself(layers, signals) -> bool:
    """Return whether a model can read its own samples: a token in, as many outputs as tokens, step by step."""
    first, last = signals[0], signals[-1]
    return has_step(layers) and last.sequence and first.tokens and not first.bag and first.size == last.size


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
    build = Builder(dtype, layers, signals[0])
    at = build.x_at
    for layer, signal, weights in zip(layers, signals, packed, strict=False):
        at = build.add(layer, signal, weights, at)
    return build.plan(build.program(build.operations, signals[-1].size, at))


def _add_recurrent(build, layer, packed, x_at, states):
    cell, width = layer.cell, states.width
    recurrents = layer.hidden_size if used_hidden_rows(cell) else 0
    z_at = build.room(len(cell.preactivations) * width)
    inner_at = build.room(width) if has_inner(cell) else 0
    inner = [cell.preactivations.index(name) for name in inner_rows(cell)]
    for index, weights in enumerate(packed):
        tokens = weights.run.signal.tokens
        inputs = 0 if tokens else weights.run.signal.size
        h_at = states.at + index * states.count * width
        groups = _groups(cell, inputs, recurrents)
        operation = Cell(
            cell=build.cell(cell), x_at=max(x_at, 0), inputs=inputs, h_at=h_at, recurrents=recurrents, width=width,
            panels_at=build.weights(weights.forward.packed),
            bias_at=build.weights(weights.forward.token_rows if tokens else weights.forward.bias),
            token_row=weights.forward.bias.size if tokens else 0,
            diagonal_at=build.weights(weights.diagonal), z_at=z_at, groups=len(groups),
        )  # fmt: skip
        build.products += weights.forward.packed.size + CURVES * width * len(cell.preactivations)
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
        build.products += signal.size * width
        offsets = build.weights(packed.forward), build.weights(packed.bias)
        operation = (kernels.AFFINE, *Affine(x_at, signal.size, *offsets, y_at, panels))
    build.operations.append(operation)
    return y_at


def _add_activation(build, activation, size, x_at):
    y_at = build.room(padded(size, build.dtype))
    build.operations.append((kernels.ACTIVATE, *Activate(ACTIVATIONS[activation], x_at, y_at, size)))
    return y_at
