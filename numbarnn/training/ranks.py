"""Ranks: processes that train one net together, each with its share of every batch.

Nothing here imports MPI: a communicator is the caller's, and without one there is `OneRank`, which changes nothing.

All that a rank decides by follows from sums over the ranks, which every rank has to the same bits: gradients and losses are summed
in the order of the ranks, never by MPI's own sum, whose order may change. So all ranks end with the same weights, and a number of
ranks always gives the same bits.
"""

import contextlib
import os
import platform
import sys
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np

from numbarnn import parallel
from numbarnn.checks import brief
from numbarnn.core.label_sequences import as_labels
from numbarnn.data.batches import Batch
from numbarnn.network.network import Network
from numbarnn.training.checkpoint import differences, settings_of

# How an epoch ends; where ranks differ, the last one counts.
ENDS = "epochs", "callback", "interrupted"
# What ranks do together, for messages: those that do different things would wait for each other for ever.
POINTS = (
    "the gradient of a batch",
    "the end of a batch",
    "the end of an epoch",
    "the loss of validation data",
    "a checkpoint",
    "carried states",
    "a new trainer",
)
GRADIENT, BATCH, EPOCH, LOSS, FILE, STATES, BEGIN = range(len(POINTS))


class OneRank:
    """A process by itself: it has the whole of every batch, and nobody to agree with.

    Attributes
    ----------
    rank, size : int
    """

    rank, size = 0, 1

    def begin(self, trainer: Any) -> None:
        """Let all ranks start with the same trainer."""

    def threads(self, n_threads: int | None) -> int:
        """Return a valid number of threads for an argument `n_threads`, None or a number."""
        return parallel.check_threads(n_threads)

    def own_work(self) -> contextlib.AbstractContextManager[Any]:
        """Let an error within a block, where ranks do not exchange anything, be one of all ranks."""
        return contextlib.nullcontext()

    def share(self, batch: Batch) -> Batch:
        """Return the rank's samples of a batch."""
        return batch

    def reduce(self, loss: Any, gradient: Any, weight: float) -> tuple[Any, float]:
        """Set the gradient of the mean loss to that of the whole batch; return (mean loss, weight) of that."""
        return loss, weight

    def mean(self, loss: float, weight: float) -> tuple[float, float]:
        """Return mean and weight of a loss over all ranks."""
        return loss, weight

    def agree(self, stopped: str, due: bool) -> tuple[str, bool]:
        """Return how the epoch ends, one of `ENDS`, and whether a checkpoint is due, if one rank says so."""
        return stopped, due

    def end_epoch(self, weights: np.ndarray, ended: bool) -> bool:
        """Check that all ranks have the same weights; return whether training ends, if one says so."""
        return ended

    def once(self, function: Callable[[], Any]) -> Any:
        """Call a function in the first rank alone; return its result, or raise its exception, in all."""
        return function()

    def joined(self, state: Any) -> Any:
        """Return carried states of the whole batch, in the first rank, by those of the ranks."""
        return state

    def own(self, state: Any) -> Any:
        """Return the rank's part of carried states of the whole batch."""
        return state


class Ranks(OneRank):
    """The ranks of an MPI communicator.

    Parameters
    ----------
    comm : mpi4py.MPI.Comm
    """

    def __init__(self, comm: Any):
        self.rank, self.size, self._comm = comm.Get_rank(), comm.Get_size(), comm
        self._seen = 0  # checksum of the batches that this rank was given
        _abort_on_error(comm)

    def _exchange(self, point: int, *values: float, error: Exception | None = None) -> np.ndarray:
        """Return values of all ranks, (ranks, values) float64.

        Raises
        ------
        RuntimeError
            If they are not at the same point, or another one has come with an error; `error`, where that is given.
        """
        own, table = np.zeros(5), np.empty((self.size, 5))
        own[: 3 + len(values)] = error is not None, point, self._seen, *values
        self._comm.Allgather(own, table)
        if table[:, 0].any():  # in every rank, wherever it stands
            failed = self._comm.allgather(None if error is None else f"{type(error).__name__}: {error}")
            if error is not None:
                raise error
            rank = int(np.flatnonzero(table[:, 0])[0])
            raise RuntimeError(f"rank {rank} failed: {failed[rank]}")
        table = table[:, 1:]
        for index, what in enumerate(("point", "data")):
            other = np.flatnonzero(table[:, index] != table[0, index])
            if not other.size:
                continue
            rank = int(other[0])
            if what == "data":
                raise RuntimeError(
                    f"rank {rank} was given another batch than rank 0: give every rank the same source, with the same samples in "
                    "the same order, of which it takes its share"
                )
            here, there = (POINTS[int(table[r, 0])] for r in (0, rank))
            raise RuntimeError(
                f"rank 0 has come to {here}, rank {rank} to {there}: all ranks must make the same calls with the same arguments, "
                "and be given sources with as many batches"
            )
        return table[:, 2 : 2 + len(values)]

    def begin(self, trainer: Any) -> None:
        self._exchange(BEGIN)
        settings = self._comm.allgather(settings_of(trainer))
        for rank, other in enumerate(settings):
            lines = [line for name in other for line in differences(settings[0].get(name), other[name], name)]
            if lines:
                text = "\n  ".join(lines).replace("in the checkpoint", "in rank 0").replace(" now", f" in rank {rank}")
                raise ValueError(f"all ranks must make the same trainer, and rank {rank} has another:\n  {text}")
        weights = trainer.model.params.flat.copy()
        self._comm.Bcast(weights, root=0)
        trainer.model.set_flat(weights)

    def threads(self, n_threads: int | None) -> int:
        given = None if n_threads is None else parallel.check_threads(n_threads)
        self._exchange(BEGIN)  # by all ranks, also where some are given a number
        # Of a machine; where every rank is bound to processors of its own, nobody shares them.
        own = platform.node(), sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None
        sharing = self._comm.allgather(own).count(own)
        return parallel.default_threads(sharing) if given is None else given

    @contextlib.contextmanager
    def own_work(self) -> Any:
        try:
            yield
        except Exception as error:
            self._exchange(BEGIN, error=error)

    def share(self, batch: Batch) -> Batch:
        # Lists lose their shape where nothing is left of them.
        given = (batch.x, batch.y, batch.lengths, batch.sample_weight)
        x, y, *others = (np.asarray(value) if isinstance(value, list) else value for value in given)
        samples = len(x)
        self._seen = zlib.crc32(np.ascontiguousarray(x[:1]), zlib.crc32(str(np.shape(x)).encode(), self._seen))
        rows = slice(self.rank, None, self.size)
        if isinstance(y, tuple):  # label sequences and their lengths
            y = as_labels(y, samples, "y").padded()
        cut = (None if value is None else value[rows] for value in (x, y, *others))
        return Batch(*cut, keep_state=batch.keep_state)

    def reduce(self, loss: Any, gradient: Any, weight: float) -> tuple[Any, float]:
        losses, weights = self._exchange(GRADIENT, loss, weight).T
        total = float(weights.sum())
        # Each rank sums one piece of all gradients and sends it to the others: no rank sends or receives more than two gradients,
        # however many ranks there are.
        edges = np.arange(self.size + 1) * gradient.size // self.size
        counts, own = np.diff(edges), int(edges[self.rank + 1] - edges[self.rank])
        parts = np.empty((self.size, own), gradient.dtype)
        self._comm.Alltoallv([gradient, (counts, edges[:-1])], [parts, (own, None)])
        with np.errstate(over="ignore", invalid="ignore"):  # what is not finite is found by its norm
            summed = parts[0] * gradient.dtype.type(weights[0] / total if total else 0.0)
            for rank in range(1, self.size):
                parts[rank] *= gradient.dtype.type(weights[rank] / total if total else 0.0)
                summed += parts[rank]
        self._comm.Allgatherv(summed, [gradient, (counts, edges[:-1])])
        return (float((losses * weights).sum() / total) if total else 0.0), total

    def mean(self, loss: float, weight: float) -> tuple[float, float]:
        losses, weights = self._exchange(LOSS, loss, weight).T
        total = float(weights.sum())
        return (float((losses * weights).sum() / total) if total else 0.0), total

    def agree(self, stopped: str, due: bool) -> tuple[str, bool]:
        ends, files = self._exchange(BATCH, ENDS.index(stopped), due).T
        return ENDS[int(ends.max())], bool(files.any())

    def end_epoch(self, weights: np.ndarray, ended: bool) -> bool:
        codes, ends = self._exchange(EPOCH, zlib.crc32(weights), ended).T
        other = np.flatnonzero(codes != codes[0])
        if other.size:
            raise RuntimeError(
                f"rank {other[0]} has other weights than rank 0 after this epoch: a callback changed them in some ranks alone, or "
                "the processors are of different kinds and round differently; then set NUMBA_CPU_NAME and NUMBA_CPU_FEATURES to "
                "what all of them have, the same for every rank"
            )
        return bool(ends.any())

    def once(self, function: Callable[[], Any]) -> Any:
        self._exchange(FILE)
        found = error = None
        if self.rank == 0:
            try:
                found = function()
            except Exception as problem:
                error = problem
        found, other = self._comm.bcast((found, error), root=0)
        if other is not None:
            raise error or other
        return found

    def joined(self, state: Any) -> Any:
        self._exchange(STATES)
        parts = [part for part in self._comm.gather(state, root=0) or () if part]
        return (
            tuple(tuple(map(_interleaved, zip(*entries, strict=True))) for entries in zip(*parts, strict=True)) or None
        )

    def own(self, state: Any) -> Any:
        if state is None:
            return None
        rows = slice(self.rank, None, self.size)
        cut = tuple(tuple(np.ascontiguousarray(array[:, rows]) for array in entry) for entry in state)
        return cut if cut and cut[0][0].shape[1] else None


def _interleaved(parts):
    """Return states (directions, samples, units) of a batch whose samples were dealt one after the other, by those of the parts."""
    first = parts[0]
    array = np.empty((first.shape[0], sum(part.shape[1] for part in parts), *first.shape[2:]), first.dtype)
    for rank, part in enumerate(parts):
        array[:, rank :: len(parts)] = part
    return array


def ranks_of(comm: Any, model: Network) -> OneRank:
    """Return the ranks of an argument `comm`, None or a communicator, for a trainer of a model.

    Raises
    ------
    TypeError, ValueError
        If it is not a communicator, or the model is not on the CPU.
    """
    if comm is None:
        return OneRank()
    if not all(callable(getattr(comm, name, None)) for name in ("Allgather", "Alltoallv", "bcast", "Get_rank")):
        raise TypeError(
            f"comm must be a communicator of mpi4py, such as MPI.COMM_WORLD (pip install 'numbarnn[mpi]'), got {brief(comm)}"
        )
    if model.device != "cpu":
        raise ValueError(f"comm needs a model on the device 'cpu', got {model.device!r}")
    return Ranks(comm) if comm.Get_size() > 1 else OneRank()


_hooks: list[Any] = []
_watched: list[Any] = []


def _abort_on_error(comm):
    """Let an exception that nobody handles end all ranks, which would wait for this one for ever."""
    _watched[:] = [other for other in _watched if other and other is not comm] + [comm]
    before = sys.excepthook
    if before in _hooks:
        return

    def hook(kind, error, trace):
        before(kind, error, trace)
        sys.stdout.flush()
        sys.stderr.flush()
        for known in _watched:
            if known:  # not one that was freed, which cannot end anything
                known.Abort(1)

    _hooks.append(hook)
    sys.excepthook = hook
