"""Training of many nets at once."""

import os
from typing import Any

from numbarnn.checks import naming
from numbarnn.data.sources import make_source
from numbarnn.many.chunks import chunk_results
from numbarnn.many.models import check_models
from numbarnn.training.history import History
from numbarnn.training.many import fit_trainers, of_net, one_each
from numbarnn.training.trainer import Trainer
from numbarnn.workers import check_client

# Of a `Trainer`, each one value for all nets or a list with one for each.
OF_TRAINERS = "loss", "optimizer", "learning_rate", "schedule", "clip_norm", "clip_value", "average"


def fit_many(
    models: Any,
    sources: Any,
    *,
    loss: Any = "softmax_cross_entropy",
    optimizer: Any = "adam",
    learning_rate: Any = None,
    epochs: Any = None,
    batch_size: Any = 32,
    shuffle: Any = True,
    validation: Any = None,
    patience: Any = None,
    schedule: Any = None,
    clip_norm: Any = None,
    clip_value: Any = None,
    average: Any = None,
    seeds: Any = 0,
    checkpoint: str | os.PathLike[str] | None = None,
    checkpoint_every: Any = "5min",
    resume: bool | str = False,
    n_threads: int | None = None,
    client: Any = None,
    verbose: int = 1,
) -> list[History]:
    """Train many nets of one architecture at once, each exactly as `Model.fit` would alone.

    Weights and histories (durations aside) are equal to the bit to those of ``model.fit(x, y, ...)`` with the same arguments, net
    by net, whatever the number of threads. Threads have nets of their own.

    Parameters
    ----------
    models : list of Model
        Of one architecture (layers, input size, dtype, device), each an object of its own. Trained in place.
    sources : source or (x, y) tuple, or a list with one for each net
        What the nets learn from, as of `Trainer.fit`; arrays (x, y) are cut into batches as `batch_size` and `shuffle` say. One
        that is not a list is for all nets.
    loss, optimizer, learning_rate, epochs, batch_size, shuffle, validation, patience, schedule, clip_norm, clip_value, average
        As of `Model.fit`, each one value for all nets, or a list with one for each. Every net has its own early stopping and ends
        with its own best weights.
    seeds : int or list of int
        Of the order of samples and of dropout, `seed` of `Model.fit`.
    checkpoint : path-like, optional
        Folder of the checkpoints, a file for each net, from which a run that was stopped or killed resumes to the bit.
    checkpoint_every, resume
        As of `Model.fit`.
    n_threads : int, optional
        Of all nets together; None: that of the first model. With `client`, of a chunk of nets; None: 1.
    client : distributed.Client, optional
        Of Dask (extra ``dask``): its workers train the nets, dealt to them in chunks, with results equal to the
        bit. What is one value for all nets, such as the source, is sent to a worker once. See the page on clusters.
    verbose : int
        0: silent; 1: one progress bar, or lines, for all nets, with the means of their losses; with `client`, of the chunks done.

    Returns
    -------
    list of History
        One for each net.

    Raises
    ------
    TypeError, ValueError
        If a list has not one value for each net, the architectures differ, `client` is given with `checkpoint`, or as `Model.fit`;
        the message names the net.
    DivergedError
        If the loss of a net becomes NaN or infinite; the message names the net. All models are whole, as of their last good step.

    Notes
    -----
    Ctrl-C ends the training of all nets after the steps at hand; the models are whole, and histories say "interrupted". With
    `client` it raises KeyboardInterrupt; it and any error cancel the remaining chunks: nets whose chunks had returned are trained,
    the others are unchanged.

    Examples
    --------
    >>> import numpy as np
    >>> import numbarnn as nr
    >>> x = np.random.default_rng(0).normal(size=(60, 8, 1))
    >>> y = x.cumsum(axis=1)[:, -1]
    >>> layers = [nr.LSTM(4, return_sequences=False), nr.Dense(1)]
    >>> models = [nr.Model(layers, input_size=1, seed=seed) for seed in range(3)]
    >>> histories = nr.fit_many(models, (x, y), loss="mse", epochs=2, seeds=[0, 1, 2], verbose=0)
    >>> [len(history) for history in histories]
    [2, 2, 2]
    """
    models = check_models(models)
    given = {
        "sources": sources, "loss": loss, "optimizer": optimizer, "learning_rate": learning_rate, "epochs": epochs,
        "batch_size": batch_size, "shuffle": shuffle, "validation": validation, "patience": patience, "schedule": schedule,
        "clip_norm": clip_norm, "clip_value": clip_value, "average": average, "seeds": seeds,
    }  # fmt: skip
    if client is None:
        stored = {"checkpoint": checkpoint, "checkpoint_every": checkpoint_every, "resume": resume}
        return _fit(models, given, n_threads, **stored, verbose=verbose)
    if checkpoint is not None or resume is not False:
        raise ValueError(
            "checkpoint and resume must be left out with client: a chunk of nets whose worker dies is trained again by another"
        )
    check_client(client)
    trainers, _ = _trainers(models, given, n_threads)  # what is wrong shows here, before the workers begin
    histories = []
    for cut, (weights, own) in chunk_results(
        client, _fit_chunk, models, given, 1 if n_threads is None else n_threads, verbose
    ):
        for trainer, flat in zip(trainers[cut], weights, strict=True):
            trainer.model.set_flat(flat)
            trainer.model.loss = trainer.loss
        histories += own
    return histories


def _trainers(models, given, n_threads, first=0):
    """Return the trainers of some nets, the first of which has the index `first` in messages, and their sources."""
    count = len(models)
    options = {key: one_each(given[key], count, key) for key in OF_TRAINERS}
    options["seed"] = one_each(given["seeds"], count, "seeds")
    sources, sizes, shuffles = (one_each(given[key], count, key) for key in ("sources", "batch_size", "shuffle"))
    made, trainers = [], []
    for index, (model, source, size, shuffled) in enumerate(zip(models, sources, sizes, shuffles, strict=True)):
        with of_net("models", first + index):
            with naming("sources", "source"):
                cut = {"batch_size": size, "shuffle": shuffled} if isinstance(source, tuple) else {}
                made.append(make_source(source, **cut))
            own = {key: values[index] for key, values in options.items()}
            trainers.append(Trainer(model, **own, n_threads=n_threads))
    return trainers, made


def _fit(models, given, n_threads, first=0, **options):
    """Train some nets in this process, and return their histories."""
    trainers, made = _trainers(models, given, n_threads, first)
    asked = {"validation": given["validation"], "patience": given["patience"]}
    return fit_trainers(trainers, made, given["epochs"], **asked, **options, first=first)


def _fit_chunk(models, given, n_threads, first):
    """Train a chunk of nets in a worker, and return their weights and histories."""
    histories = _fit(models, given, n_threads, first, verbose=0)
    return [model.params.flat for model in models], histories
