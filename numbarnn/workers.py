"""Work dealt to the workers of a Dask client: shared data sent once, results in order. Nothing here imports Dask."""

import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from numbarnn.checks import brief


def check_client(client: Any) -> Any:
    """Return an argument `client`; raise TypeError or ValueError unless it is a running `distributed.Client` that waits."""
    if not all(callable(getattr(client, name, None)) for name in ("submit", "cancel", "nthreads")):
        raise TypeError(
            "client must be a dask.distributed.Client, such as Client(n_workers=4, threads_per_worker=1) or "
            f"Client('tcp://scheduler:8786') (pip install 'numbarnn[dask]'), got {brief(client)}"
        )
    if getattr(client, "asynchronous", False):
        raise ValueError("client must be one that waits for its results: make it without asynchronous=True")
    status = getattr(client, "status", "running")
    if status != "running":
        raise ValueError(
            f"client must be connected to its scheduler, got one whose status is {status!r}: make a new Client"
        )
    return client


@dataclass(frozen=True, eq=False)
class _Whole:
    """A value that Dask does not look into for tasks and futures."""

    value: Any


def _same(value):
    return value


def _run(function, *given):
    return function(*(entry.value for entry in given))


def results(client: Any, function: Callable[..., Any], pieces: Sequence[Any], *shared: Any) -> Iterator[Any]:
    """Yield ``function(*shared, piece)`` of every piece, in their order, from the workers of a client.

    A worker that dies has its pieces done by others, as Dask does it. Where the iteration ends early, what is left is cancelled.

    Parameters
    ----------
    client : distributed.Client
    function : callable
        Importable by the workers.
    pieces : sequence
    *shared : objects
        Sent to the workers once.

    Yields
    ------
    object
    """
    # As results of tasks, which are made again where a worker that has them dies; scattered data would be lost with it, and all
    # tasks that need it cancelled. The scheduler keeps what they are made from, of which Dask warns.
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "(?s).*large graph")
        sent = [client.submit(_same, _Whole(value), pure=False) for value in shared]
        futures = [client.submit(_run, function, *sent, _Whole(piece), pure=False) for piece in pieces]
    try:
        for index, future in enumerate(futures):
            yield future.result()
            futures[index] = None  # its result need not stay in the cluster
            del future
    finally:
        client.cancel([future for future in futures if future is not None])


def chunks(count: int, client: Any) -> list[tuple[int, int]]:
    """Cut range(count) into chunks of even size, some for each thread of the workers."""
    # Four each: who is done early takes another, and little is done again where a worker dies.
    # Workers that are still to come are not known: as for 16 threads.
    pieces = max(1, min(count, 4 * (sum(client.nthreads().values()) or 16)))
    return [(piece * count // pieces, (piece + 1) * count // pieces) for piece in range(pieces)]
