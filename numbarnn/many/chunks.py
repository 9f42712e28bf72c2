"""Chunks of nets, dealt to the workers of a Dask client."""

import functools
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from numbarnn import workers
from numbarnn.training.many import one_each
from numbarnn.training.progress import counted


def chunk_results(
    client: Any,
    function: Callable[..., Any],
    models: list[Any],
    given: Mapping[str, Any],
    n_threads: int,
    verbose: int = 0,
) -> Iterator[tuple[slice, Any]]:
    """Yield what a function returns of every chunk of nets, with the indices of these, in order.

    Parameters
    ----------
    client : distributed.Client
    function : callable
        Takes (models, given, n_threads, index of the first model).
    models : list of Model
    given : dict
        Of each net: lists have one value for each, what else there is goes for all and is sent once.
    n_threads : int
    verbose : int
        1: show how many chunks are done.

    Yields
    ------
    (slice, object)

    Raises
    ------
    RuntimeError
        If every worker dies that is given a chunk; the message names its nets.
    """
    workers.check_client(client)
    count = len(models)
    each = {key: one_each(value, count, key) for key, value in given.items() if isinstance(value, list)}
    shared = {key: value for key, value in given.items() if key not in each}
    cuts = workers.chunks(count, client)
    pieces = [
        (models[low:high], {key: values[low:high] for key, values in each.items()}, n_threads, low)
        for low, high in cuts
    ]
    results = workers.results(client, functools.partial(_call, function), pieces, shared)
    for low, high in counted(cuts, verbose, "chunk"):
        try:
            yield slice(low, high), next(results)
        except Exception as error:
            if type(error).__name__ != "KilledWorker":
                raise
            raise RuntimeError(
                f"models[{low}] to models[{high - 1}] were not done: every worker that was given them died. Look for what ended "
                "the workers (often memory: dask.distributed's nanny ends those that take too much of it)"
            ) from error


def _call(function, shared, piece):
    models, each, n_threads, first = piece
    return function(models, {**shared, **each}, n_threads, first)
