"""Batch geometry, activations, and the context of a pass, on a device."""

import contextlib
import functools
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from numbarnn import inputs
from numbarnn.core.layout import Layout as HostLayout
from numbarnn.core.signal import Signal
from numbarnn.kernels.cuda import layout as kernels
from numbarnn.kernels.cuda.groups import Sequences
from numbarnn.kernels.cuda.memory import Arena, Buffer, Staging, empty, upload


@dataclass(frozen=True)
class Rows:
    """Activations of a batch: a row for every (step, sample), without padding.

    Attributes
    ----------
    values : Buffer
        (rows, size) values, or (rows,) or (rows, bag) int32 tokens.
    size : int
        Columns, or the size of the vocabulary.
    count : int
        Rows.
    tokens : bool
    bag : int
        Tokens a row; 0: one, without an axis of its own.
    """

    values: Buffer
    size: int
    count: int
    tokens: bool = False
    bag: int = 0


@dataclass(frozen=True)
class Layout:
    """A `numbarnn.core.layout.Layout` with its arrays on the device.

    Lengths, the caller's index of each sample, and the samples running at each step.
    """

    host: HostLayout
    lengths: Buffer
    order: Buffer
    active: Buffer
    one: "Layout | None" = None  # of one row a sample

    @classmethod
    def make(cls, call: "Call", layout: HostLayout) -> "Layout":
        """Return the geometry of a host's layout, to be sent with what a pass needs."""
        one, order = layout.last(), call.stage(layout.indices, np.int64)
        one = cls(one, call.stage(one.lengths), order, call.stage(one.active))
        return cls(layout, call.stage(layout.lengths), order, call.stage(layout.active), one)

    def last(self) -> "Layout":
        """Return the geometry of one row a sample."""
        return self.one or self

    @property
    def steps(self) -> int:
        """Time steps."""
        return self.host.steps

    @property
    def samples(self) -> int:
        """Samples."""
        return self.host.samples

    @property
    def full(self) -> bool:
        """Whether every sample runs through all steps."""
        return self.host.full

    @functools.cached_property
    def sequences(self) -> Sequences:
        """The samples as kernels take them."""
        return Sequences(self.order, self.lengths, self.active, self.samples, self.steps)

    @property
    def ended(self) -> tuple:
        """(active, samples) where rows of ended samples are to become zero, else (None, 0)."""
        return (None, 0) if self.full else (self.active, self.samples)

    @property
    def rows(self) -> int:
        """Rows, those past the lengths included."""
        return self.steps * self.samples


@dataclass
class Call:
    """One pass through a model; see `numbarnn.backends.cpu.batch.Call`.

    `n_threads`, `direct`, `last` and `segment` say nothing here.
    """

    dtype: np.dtype
    n_threads: int = 1
    keep: bool = False
    training: bool = False
    direct: bool = False
    last: int = -1
    seed: int = 0
    step: int = 0
    arena: Arena = field(default_factory=Arena)
    segment: None = None
    staging: Staging = field(default_factory=Staging, init=False)

    def stage(self, values: np.ndarray, dtype=None) -> Buffer:
        """Return a buffer that will have the values of a host's array after `send`."""
        return self.staging.add(values, dtype)

    def send(self) -> None:
        """Copy to the device, in one copy and before the first launch, what a pass needs of the host's."""
        self.staging.send(self.arena)

    def empty(self, size: int, dtype=None) -> Buffer:
        """Return an uninitialised buffer from the arena."""
        return self.arena.empty(size, self.dtype if dtype is None else dtype)

    def vector(self, size: int) -> Buffer:
        """Return an uninitialised buffer of the pass's dtype from the arena."""
        return self.arena.empty(size, self.dtype)

    def zeros(self, size: int) -> Buffer:
        """Return a buffer of zeros from the arena."""
        buffer = self.empty(size)
        kernels.fill(buffer, 0.0)
        return buffer


# Between the host and the device


class Parameters:
    """The parameters on the device, copied there where the host's are newer.

    Attributes
    ----------
    offsets : dict
        Where each begins in `flat`, by name.
    """

    def __init__(self, params):
        self._host, self.offsets = params, params.offsets
        self._flat, self._version = empty(params.flat.size, params.flat.dtype), None
        self._lock = threading.Lock()

    def __contains__(self, name):
        return name in self.offsets

    @property
    def version(self):
        """Rises with every change, on either side."""
        return self._host.version

    @property
    def flat(self) -> Buffer:
        """All values, up to date."""
        with self._lock:
            if self._version != self._host.version:
                self._flat.set(self._host.flat)
                self._version = self._host.version
            return self._flat

    def changed(self) -> None:
        """Note that the device's values are newer than the host's, which are copied when somebody looks."""
        self._host.mark_stale(self._flat.get)
        self._version = self._host.version


def parameters(params) -> Parameters:
    """Return the parameters as `prepare` takes them, with the attributes flat, offsets and version."""
    return Parameters(params)


# One call at a time: its memory is used again, and so is the stream of the device.
_arena, _lock = Arena(), threading.Lock()


def take_arena() -> Arena:
    """Return memory for a tape that outlives its call."""
    return Arena()


def give_arena(arena: Arena) -> None:
    """Take back memory of `take_arena`, which goes when nobody holds it."""


@contextlib.contextmanager
def lent_arena() -> Iterator[Arena]:
    """Give memory for the length of one call, whose results are copies; other calls wait."""
    with _lock:
        _arena.reset()
        yield _arena


def new_vector(size: int, dtype) -> Buffer:
    """Return uninitialised memory of its own for a flat array, such as a gradient that is returned."""
    return empty(size, dtype)


def to_host(values: Buffer):
    """Return a flat array, or a loss, as the host has it."""
    found = values.get()
    return float(found[0]) if found.size == 1 else found


def by_sample(losses: Buffer, layout: HostLayout) -> np.ndarray:
    """Return the losses of rows, or of samples, as the host has them: (samples, steps) or (samples, 1) in the caller's order."""
    return layout.unsort(losses.get().reshape(-1, layout.samples).T)


def to_rows(call: Call, x, signal: Signal, lengths, name: str = "x") -> tuple[Rows, Layout]:
    """Check a batch and return it by rows, with its geometry; see `numbarnn.backends.cpu.batch.to_rows`."""
    return as_rows(call, signal, *inputs.check(x, signal, lengths, name))


def as_rows(call: Call, signal: Signal, array: np.ndarray, layout: HostLayout) -> tuple[Rows, Layout]:
    """Return a checked batch by rows, with its geometry; what was staged for the pass is sent with it."""
    device = Layout.make(call, layout)
    if not signal.tokens:
        return feature_rows(call, array, device), device
    tokens = call.stage(inputs.token_rows(array, layout))
    call.send()
    return Rows(tokens, signal.size, device.rows, tokens=True, bag=signal.bag), device


def feature_rows(call: Call, array: np.ndarray, layout: Layout) -> Rows:
    """Return values (samples, time steps, features) by rows."""
    size = array.shape[2]
    given, rows = call.stage(array, call.dtype), call.empty(array.size)
    call.send()
    grid, steps, samples = kernels.grid_of(layout.rows, size), layout.steps, layout.samples
    kernels.to_time_major(*grid, given, layout.order, layout.lengths, rows, steps, samples, size)
    return Rows(rows, size, layout.rows)


def from_rows(call: Call, rows: Rows, layout: Layout) -> np.ndarray:
    """Return rows as a new array (samples, time steps, size) of the host's, in the caller's order."""
    values = rows.values.get().reshape(layout.steps, layout.samples, rows.size)
    return np.ascontiguousarray(layout.host.unsort(values, 1).transpose(1, 0, 2))


# States: one buffer for each recurrent layer, (states, layers * directions, samples, hidden)


def upload_states(state) -> list[Buffer] | None:
    """Return checked states of the host's as passes take them."""
    return None if state is None else [upload(np.stack(entry)) for entry in state]


def download_states(layers, state, samples: int) -> tuple:
    """Return states of recurrent layers as the host has them."""
    return tuple(
        tuple(buffer.get().reshape(len(layer.state_names), *layer.state_shape(samples)))
        for layer, buffer in zip(layers, state, strict=True)
    )


def hold_states(state, old, dtype) -> list[Buffer]:
    """Return final states so that they outlive their pass; `old` is what this returned two passes ago."""
    if old is None or [b.size for b in old] != [b.size for b in state]:
        old = [empty(b.size, dtype) for b in state]
    return [buffer.copy(values) for buffer, values in zip(old, state, strict=True)]
