"""Runs of several ranks; `test_mpi.py` starts this with mpiexec, or imports it for the same runs in one process.

Arguments: name of a function, and its own. The first rank prints what all ranks returned, as JSON.
"""

import hashlib
import json
import os
import pathlib
import signal
import sys

import numpy as np

from numbarnn import LSTM, Dense, Model, OneHot, Trainer
from numbarnn.data import ArraySource, Batch, TokenStream
from numbarnn.optim import EMA, Adam
from numbarnn.training.callbacks import Callback

TOKENS = np.cumsum(np.random.default_rng(0).integers(0, 3, 301)) % 5


def samples(n=21, steps=6, seed=0):
    """Return a source of samples with lengths and weights, whose last batch has fewer samples than there are ranks."""
    generator = np.random.default_rng(seed)
    x = generator.normal(size=(n, steps, 1))
    y, lengths = (x.cumsum(axis=1)[:, :, 0] > 0).astype(np.int64), generator.integers(1, steps + 1, n)
    return ArraySource(x, y, lengths=lengths, sample_weight=generator.uniform(0.5, 2, n), batch_size=5)


def net(dropout=0.0, seed=1):
    return Model([LSTM(4, dropout=dropout, num_layers=2), Dense(2)], input_size=1, dtype="float64", seed=seed)


def text_net(seed=1):
    return Model([OneHot(5), LSTM(6, dropout=0.3, num_layers=2), Dense(5)], dtype="float64", seed=seed)


def outcome(trainer, history):
    """Return what a run ends with."""
    records = [{key: value for key, value in record.items() if key != "seconds"} for record in history]
    weights = hashlib.sha256(trainer.model.params.flat.tobytes()).hexdigest()
    return {
        "weights": weights,
        "records": records,
        "stopped": history.stopped,
        "step": trainer.step,
        "best": history.best,
    }


def fit(comm=None, **options):
    """Train with clipping, an average, accumulation and early stopping."""
    trainer = Trainer(
        net(seed=1 if comm is None else 1 + comm.Get_rank()), "softmax_cross_entropy", Adam(0.02), clip_norm=0.1, average=EMA(0.8),
        accumulate=2, comm=comm, **options,
    )  # fmt: skip
    return outcome(trainer, trainer.fit(samples(), 4, validation=samples(7, seed=1), patience=2, verbose=0))


def chunks(comm=None):
    """Train on chunks, and say what `train_batch` and `evaluate` return."""
    trainer = Trainer(net(), "softmax_cross_entropy", Adam(0.02), tbptt=4, comm=comm)
    batch = next(iter(samples().batches(np.random.default_rng(0))))
    losses = [trainer.train_batch(batch) for _ in range(3)]
    return {"losses": losses, "evaluated": trainer.evaluate(samples(3)), "threads": trainer.n_threads}


class At(Callback):
    """Calls a function after a step, in one rank."""

    def __init__(self, step, function):
        self.step, self.function = step, function

    def on_batch_end(self, trainer, loss):
        if trainer.step == self.step:
            return self.function()


def text(comm=None, path=None, kill=None, rank=1, step=7):
    """Train on a text with carried states and dropout; let something end it in one rank."""

    def end():
        if kill == "raise":
            raise LookupError("nothing to be found")
        os.kill(os.getpid(), getattr(signal, kill))

    own = 0 if comm is None else comm.Get_rank()
    callbacks = [At(int(step), end)] if kill and own == int(rank) else []
    trainer = Trainer(text_net(), optimizer=Adam(0.02), comm=comm)
    history = trainer.fit(
        TokenStream(TOKENS, 5, 10), 3, verbose=1 if kill else 0, callbacks=callbacks, checkpoint=path, checkpoint_every=3,
        resume="auto" if path else False,
    )  # fmt: skip
    return outcome(trainer, history)


def endless(comm, path, begun):
    """Train until something ends it; a file says that it has begun."""
    trainer = Trainer(text_net(), optimizer=Adam(0.02), comm=comm)
    history = trainer.fit(
        TokenStream(TOKENS, 5, 10), 10**6, checkpoint=path, checkpoint_every="1h", verbose=0,
        callbacks=[At(3, pathlib.Path(begun).touch)],
    )  # fmt: skip
    return outcome(trainer, history)


def whole_and_resumed(comm, path):
    """Return the outcome of a run, and that of the run that goes on from a file."""
    return [text(comm), text(comm, path)]


def caught(function, *arguments):
    """Return the error of a call."""
    try:
        function(*arguments)
    except Exception as error:
        return f"{type(error).__name__}: {error}"


def different(comm, what):
    """Train where one rank has something else than the others, and return the error."""
    other = comm.Get_rank() == 1
    try:
        if what == "model":
            model = Model([LSTM(5 if other else 4, num_layers=2), Dense(2)], input_size=1, dtype="float64")
            Trainer(model, comm=comm)
        trainer = Trainer(net(), comm=comm)
        if what == "data":
            trainer.fit(samples(seed=int(other)), 1, verbose=0)
        if what == "batches":
            trainer.fit(samples(20 if other else 21), 1, verbose=0)
        if what == "calls":
            trainer.evaluate(samples()) if other else trainer.fit(samples(), 1, verbose=0)
        if what == "weights":
            change = At(2, lambda: trainer.model.set_flat(trainer.model.params.flat * 2))
            trainer.fit(samples(), 1, callbacks=[change] if other else [], verbose=0)
        if what == "checkpoint":
            trainer.fit(samples(), 1, checkpoint="/no/such/folder/run.ckpt", verbose=0)
        if what == "share":
            x, targets = np.zeros((2, 6, 1)), np.array([[1] * 6, [-1] * 6])
            errors = [caught(trainer.evaluate, [(x, targets)]), caught(trainer.train_batch, Batch(x, targets))]
            trainer.train_batch(Batch(x, abs(targets)))  # all ranks go on
            return errors
        if what == "threads":
            return Trainer(net(), n_threads=1 if other else None, comm=comm).evaluate(samples())
        if what == "carried":
            batches = [Batch(np.zeros((n, 6, 1)), np.ones((n, 6), int), keep_state=True) for n in (1, 2)]
            for batch in batches:
                trainer.train_batch(batch)
        if what == "lists":
            trainer = Trainer(text_net(), tbptt=2, comm=comm)
            return trainer.train_batch(Batch([[1, 2, 3, 4]], [[1, 2, 3, 4]]))
    except Exception as error:
        return f"{type(error).__name__}: {error}"


OWN = "share", "threads", "carried", "lists"


def differences(comm):
    """Return the errors of all kinds of differences."""
    return {
        what: different(comm, what) for what in ("model", "data", "batches", "calls", "weights", "checkpoint", *OWN)
    }


def alike(comm):
    """Return the outcomes of `fit`, twice, and of `chunks`."""
    return [fit(comm), fit(comm), chunks(comm)]


def main(name, *arguments):
    from mpi4py import MPI

    comm = MPI.COMM_WORLD
    found = comm.gather(globals()[name](comm, *arguments), root=0)
    if comm.Get_rank() == 0:
        print(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
