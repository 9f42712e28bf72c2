"""Batch geometry, activations, and the context of a pass.

Samples are sorted by falling length and laid out time-major here and nowhere else; kernels, layers and losses see rows.
"""

import contextlib
import functools
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from numbarnn import inputs, parallel
from numbarnn.core.layout import Layout
from numbarnn.core.signal import Signal
from numbarnn.kernels.cpu.barrier import Team, new_words
from numbarnn.kernels.cpu.layout import to_sample_major, to_time_major
from numbarnn.kernels.cpu.memory import Arena, padded
from numbarnn.kernels.cpu.simd import tile_table
from numbarnn.kernels.groups import checked


@dataclass(frozen=True)
class Rows:
    """Activations of a batch: a row for every (step, sample).

    Attributes
    ----------
    values : (rows, padded size) float array, or (rows,) or (rows, bag) int32 tokens
    size : int
        Columns that count, or the size of the vocabulary.
    sample_major : bool
        Whether the rows of a sample follow each other, as in the caller's arrays, instead of those of a step.
    """

    values: np.ndarray
    size: int
    sample_major: bool = False

    def strides(self, layout: "Layout") -> tuple[int, int]:
        """Return the distances between the rows of two steps, and of two samples."""
        width = self.values.shape[1]
        return (width, layout.steps * width) if self.sample_major else (layout.samples * width, width)

    @property
    def count(self) -> int:
        """Number of rows."""
        return len(self.values)

    @property
    def tokens(self) -> bool:
        """Whether the rows are tokens."""
        return self.values.dtype.kind == "i"

    @property
    def bag(self) -> int:
        """Tokens of a row; 0: one, without an axis of its own."""
        return self.values.shape[1] if self.tokens and self.values.ndim == 2 else 0


@dataclass
class Call:
    """One pass through a model: how, and the integers that randomness is keyed by.

    Attributes
    ----------
    dtype : numpy.dtype
    n_threads : int
    keep : bool
        Whether a backward pass follows, which needs tapes.
    training : bool
        Whether dropout acts.
    direct : bool
        Whether rows may be the caller's own arrays, sample-major: in passes that keep nothing and return outputs.
    last : int
        Index of the model's last layer, whose output a direct pass returns.
    seed, step : int
        Key of the dropout masks.
    arena : Arena
        Memory for everything that the pass needs and does not return.
    segment : numbarnn.backends.cpu.segments.Segment or None
        Where the pass is, if it goes through the steps of a batch by segments.
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
    segment: Any = None
    table: np.ndarray = field(init=False)

    def __post_init__(self):
        self.table = tile_table(self.dtype)
        # ``empty(shape)`` returns an uninitialised array from the arena.
        self.empty = functools.partial(self.arena.empty, dtype=self.dtype)

    def zeros(self, shape) -> np.ndarray:
        """Return an array of zeros from the arena."""
        array = self.arena.empty(shape, self.dtype)
        array[...] = 0
        return array

    def vector(self, size: int) -> np.ndarray:
        """Return an uninitialised flat array from the arena."""
        return self.arena.empty((size,), self.dtype)

    def over(self, count: int, operations: float, job, scratch: int = 0) -> None:
        """Run ``job(first, last)`` over range(count) in as many threads as the operations are worth.

        With `scratch` it is ``job(first, last, array)``, an uninitialised array of that many values for each thread.
        """
        pieces = ((0, count),)
        if self.n_threads > 1 and operations >= 2 * parallel.GRAIN:
            pieces = parallel.shares(count, operations, self.n_threads)
        jobs = []
        for piece in pieces:
            own = (self.empty((scratch,)),) if scratch else ()
            jobs.append(functools.partial(job, *piece, *own))
        parallel.run(jobs)

    def over_samples(self, layout: Layout, operations: float, job) -> None:
        """Run ``job(lo, hi)`` over the samples of a layout, cut by work."""
        pieces = ((0, layout.samples),)
        if self.n_threads > 1 and operations >= 2 * parallel.GRAIN:
            pieces = layout.cut(min(self.n_threads, int(operations // parallel.GRAIN)))
        jobs = []
        for lo, hi in pieces:
            jobs.append(functools.partial(job, lo, hi))
        parallel.run(jobs)

    def over_team(self, parties: int, job) -> None:
        """Run ``job(team, number)`` for the parties of a team at the same time, in a thread each, or as a team of one."""
        words, jobs = new_words(), []

        def team(count):
            return checked(Team(words, count), self.dtype, words.shape)

        together = team(parties)
        for number in range(parties):
            jobs.append(functools.partial(job, together, number))
        parallel.run(jobs, words, lambda: job(team(1), 0))


# What copying a number from array to array costs in multiply-adds, about.
COPY = 8.0


def to_rows(call: Call, x, signal: Signal, lengths, name: str = "x") -> tuple[Rows, Layout]:
    """Return a batch by rows, with its geometry.

    Parameters
    ----------
    call : Call
        Whose memory the rows take.
    x : array-like
        (samples, time steps, features) values, or (samples, time steps) or (samples, time steps, bag) integer tokens, as `signal`
        says.
    signal : Signal
        What the model takes.
    lengths : array-like or None
        Valid steps of each sample.
    name : str
        Of the argument, for messages.

    Raises
    ------
    ShapeError, TypeError, TokenError, ValueError
        If x or lengths have the wrong shape, dtype or value.
    """
    return as_rows(call, signal, *inputs.check(x, signal, lengths, name))


def as_rows(call: Call, signal: Signal, array: np.ndarray, layout: Layout) -> tuple[Rows, Layout]:
    """Return a checked batch (`numbarnn.inputs.check`) by rows, with its geometry as passes take it.

    Where a pass has a loss, that is prepared first: on a device both go there together.
    """
    if signal.tokens:
        return Rows(inputs.token_rows(array, layout), signal.size), layout
    if call.direct and layout.full:
        # A read-only or unaligned array would be another type, and compile the kernel once more; it is copied.
        rows = np.require(array, call.dtype, ["C", "W", "A"]).reshape(layout.samples * layout.steps, signal.size)
        return Rows(rows, signal.size, sample_major=True), layout
    return feature_rows(call, array, layout), layout


def feature_rows(call: Call, array: np.ndarray, layout: Layout) -> Rows:
    """Return values (samples, time steps, features) by rows."""
    size = array.shape[2]
    values = call.empty((layout.steps * layout.samples, padded(size, call.dtype)))
    array = np.require(array, call.dtype, ["C", "W", "A"])
    call.over(
        layout.samples,
        values.size * COPY,
        lambda lo, hi: to_time_major(
            array.reshape(-1), layout.samples, layout.steps, size, layout.indices, values.reshape(-1), values.shape[1],
            lo, hi,
        ),
    )  # fmt: skip
    return Rows(values, size)


def from_rows(call: Call, rows: Rows, layout: Layout) -> np.ndarray:
    """Return rows as a new array (samples, time steps, size) in the caller's order, zero past each length."""
    if rows.sample_major:
        values = rows.values if rows.values.flags.owndata else rows.values[:, : rows.size].copy()
        return values.reshape(layout.samples, layout.steps, rows.size)
    x = np.empty((layout.samples, layout.steps, rows.size), rows.values.dtype)
    call.over(
        layout.samples,
        x.size * COPY,
        lambda lo, hi: to_sample_major(
            rows.values.reshape(-1), rows.values.shape[1], layout.samples, layout.steps, rows.size, layout.indices,
            layout.lengths, x.reshape(-1), lo, hi,
        ),
    )  # fmt: skip
    return x


# Memory: as many arenas exist as there were calls at one time.
_arenas: list[Arena] = []


def take_arena() -> Arena:
    """Return an arena with nothing in it; whoever takes it gives it back (`give_arena`)."""
    try:
        arena = _arenas.pop()
    except IndexError:
        return Arena()
    arena.reset()
    return arena


def give_arena(arena: Arena) -> None:
    """Take back an arena of `take_arena`."""
    _arenas.append(arena)


@contextlib.contextmanager
def lent_arena() -> Iterator[Arena]:
    """Give an arena for the length of one call, whose results are copies."""
    arena = take_arena()
    try:
        yield arena
    finally:
        _arenas.append(arena)


# Between the host and the device: here they are one.


def parameters(params):
    """Return the parameters as `prepare` takes them, with the attributes flat, offsets and version."""
    return params


def new_vector(size: int, dtype) -> np.ndarray:
    """Return uninitialised memory of its own for a flat array, such as a gradient that is returned."""
    return np.empty(size, dtype)


def to_host(values):
    """Return a flat array, or a loss, as the host has it."""
    return values


def by_sample(losses, layout: Layout) -> np.ndarray:
    """Return the losses of rows, or of samples, as the host has them: (samples, steps) or (samples, 1) in the caller's order."""
    return layout.unsort(losses.reshape(-1, layout.samples).T)


def upload_states(state):
    """Return checked states of the host's as passes take them."""
    return state


def download_states(layers, state, samples: int) -> tuple:
    """Return states of recurrent layers as the host has them."""
    return state


def hold_states(state, old, dtype):
    """Return final states so that they outlive their pass; `old` is what this returned two passes ago."""
    return state
