"""Predictions of many nets at once."""

import functools
from typing import Any

from numbarnn import parallel
from numbarnn.checks import check_choice
from numbarnn.many.chunks import chunk_results
from numbarnn.many.models import check_models
from numbarnn.training.many import of_net, one_each

KINDS = ("predict", "predict_proba", "forward")


def predict_many(
    models: Any,
    x: Any,
    lengths: Any = None,
    *,
    kind: str = "predict",
    loss: Any = None,
    n_threads: int | None = None,
    client: Any = None,
) -> list[Any]:
    """Return the predictions of many nets of one architecture, each net's equal to those of its own method.

    Parameters
    ----------
    models : list of Model
        Of one architecture.
    x : array-like, or a list with one for each net
        Inputs, as of `Model.predict`; anything but a list is used for all nets.
    lengths : (samples,) integers, or a list with one for each net, optional
    kind : {"predict", "predict_proba", "forward"}
        Whose results are returned; of "forward" the outputs.
    loss : str or Loss, optional
        As of `Model.predict`.
    n_threads : int, optional
        Of all nets together, which are dealt to them; None: that of the first model. With `client`, of a chunk of nets; None: 1.
    client : distributed.Client, optional
        Of Dask: its workers run the nets, dealt to them in chunks; an x for all nets is sent to a worker once.

    Returns
    -------
    list
        One entry for each net.

    Raises
    ------
    TypeError, ValueError
        If a list has not one value for each net, or as the method; the message names the net.

    Examples
    --------
    >>> import numpy as np
    >>> import numbarnn as nr
    >>> models = [nr.Model([nr.GRU(4), nr.Dense(2)], input_size=1, seed=seed) for seed in range(3)]
    >>> [labels.shape for labels in nr.predict_many(models, np.zeros((5, 8, 1)))]
    [(5, 8), (5, 8), (5, 8)]
    """
    models = check_models(models)
    check_choice(kind, "kind", KINDS)
    given = {"x": x, "lengths": lengths, "kind": kind, "loss": loss}
    if client is None:
        return _predict(models, given, n_threads)
    for name in ("x", "lengths"):
        one_each(given[name], len(models), name)
    found = chunk_results(client, _predict, models, given, 1 if n_threads is None else n_threads)
    return [entry for _, entries in found for entry in entries]


def _predict(models, given, n_threads, first=0):
    """Return the predictions of some nets, the first of which has the index `first` in messages."""
    count, kind, loss = len(models), given["kind"], given["loss"]
    x, valid = (one_each(given[name], count, name) for name in ("x", "lengths"))
    n_threads = parallel.check_threads(models[0].n_threads if n_threads is None else n_threads)
    found: list[Any] = [None] * count

    def job(low, high):
        for index in range(low, high):
            with of_net("models", first + index):
                if kind == "forward":
                    found[index] = models[index].forward(x[index], lengths=valid[index], n_threads=1)[0]
                else:
                    method = getattr(models[index], kind)
                    found[index] = method(x[index], lengths=valid[index], loss=loss, n_threads=1)

    pieces = min(n_threads, count)
    cuts = [(piece * count // pieces, (piece + 1) * count // pieces) for piece in range(pieces)]
    parallel.run([functools.partial(job, *cut) for cut in cuts])
    return found
