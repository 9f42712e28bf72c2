"""Many nets at once: their epochs in turn, each net as if it were alone."""

import contextlib
import math
import pathlib
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

from numbarnn.errors import DivergedError
from numbarnn.training.blocks import make_blocks
from numbarnn.training.fitting import Fitting
from numbarnn.training.interrupts import deferred_interrupt
from numbarnn.training.progress import Progress


def one_each(value: Any, count: int, name: str) -> list[Any]:
    """Return one value for each of `count` nets: those of a list, or the same for all.

    Raises
    ------
    ValueError
        If a list has another length.
    """
    if not isinstance(value, list):
        return [value] * count
    if len(value) != count:
        raise ValueError(
            f"{name} must be one value for all nets, or a list with one for each of {count}, got a list of {len(value)}"
        )
    return list(value)


def fit_trainers(
    trainers: Sequence[Any],
    sources: Sequence[Any],
    epochs: Any = None,
    *,
    validation: Any = None,
    patience: Any = None,
    checkpoint: Any = None,
    checkpoint_every: Any = "5min",
    resume: bool | str = False,
    callbacks: Sequence[Any] | None = None,
    verbose: int = 1,
    name: str | None = "models",
    first: int = 0,
    needed: Sequence[bool] | None = None,
) -> list[Any]:
    """Train the nets of some trainers, each as its `Trainer.fit` would alone, to the bit.

    Parameters
    ----------
    trainers : sequence of Trainer
        Of different models.
    sources : sequence
        One for each net.
    epochs, validation, patience
        As of `Trainer.fit`: one for all nets, or a list with one for each.
    checkpoint : path-like, optional
        Folder with a checkpoint for each net, ``net-000.ckpt`` and so on.
    checkpoint_every, resume : as of `Trainer.fit`
    callbacks : sequence of lists of Callback, optional
        One list for each net.
    verbose : int
        0: silent; 1: one bar, or lines, for all nets; losses are means over the nets.
    name : str, optional
        What errors call the nets: "models" gives ``models[3]``. None: they do not name them, see `of_net`.
    first : int
        Index of the first net in that name.
    needed : sequence of bool, optional
        Whether a net that diverges ends the training of all; where not, the others go on, and its error takes the place of its
        history. None: all are.

    Returns
    -------
    list of History, or DivergedError

    Raises
    ------
    DivergedError
        If the loss of a net becomes NaN or infinite; the message names the net. All nets are whole: this one as of the step before,
        the others as of their last.
    ValueError and others
        As `Trainer.fit`, before any net is trained; the message names the net.

    Notes
    -----
    As of `Trainer.fit`: after an error weights are those of the last whole step, not those of an average or of the best epoch, and
    callbacks see no end of training.
    """
    count = len(trainers)
    each = [one_each(value, count, key) for key, value in (("epochs", epochs), ("validation", validation))]
    each.append(one_each(patience, count, "patience"))
    files = [None] * count
    if checkpoint is not None:
        folder = pathlib.Path(checkpoint)
        folder.mkdir(parents=True, exist_ok=True)
        files = [folder / f"net-{index:03}.ckpt" for index in range(count)]
    fittings = []
    for index, (trainer, source, own_epochs, own_validation, own_patience) in enumerate(
        zip(trainers, sources, *each, strict=True)
    ):
        with of_net(name, first + index):
            fittings.append(
                Fitting(
                    trainer, source, own_epochs, validation=own_validation, patience=own_patience,
                    checkpoint=files[index], checkpoint_every=checkpoint_every, resume=resume,
                    callbacks=() if callbacks is None else callbacks[index],
                )
            )  # fmt: skip
        fittings[-1].needed = needed is None or needed[index]
    if not fittings:
        return []

    def named(fitting):
        return of_net(name, first + fittings.index(fitting))

    blocks, alone = make_blocks(fittings, trainers[0].n_threads)
    progress = _Progress(verbose, fittings)
    try:
        progress.tell_alone(alone)
        progress.tell_resumed()
        with deferred_interrupt(terminated=checkpoint is not None) as interrupted:
            for fitting in fittings:
                fitting.begin()
            while (active := [fitting for fitting in fittings if fitting.active]) and not interrupted():
                _train_round(active, blocks, alone, progress, interrupted, named)
            for fitting in fittings:
                if fitting.active:
                    fitting.run.history.stopped = "interrupted"
    finally:
        progress.close()
    for fitting in fittings:
        if fitting.error is None:
            fitting.end()
    if any(fitting.run.history.stopped == "interrupted" for fitting in fittings):
        steps = [trainer.step for trainer in trainers]
        warnings.warn(
            f"training was interrupted after steps {min(steps)} to {max(steps)} of the nets; the models are as of these steps",
            stacklevel=3,
        )
    return [fitting.error or fitting.run.history for fitting in fittings]


def _train_round(active, blocks, alone, progress, interrupted, named):
    """Train an epoch of every net that has one to come: of blocks together, of the others one after the other."""
    for block in blocks:
        together = [fitting for fitting in block.fittings if fitting.active]
        if not together or interrupted():
            continue
        for fitting in together:
            fitting.begin_epoch()
        stopped, failed = block.train_epoch(together, progress, interrupted)
        for fitting, error in failed.items():
            with named(fitting):
                fitting.fail(error)
        losses = block.evaluate([fitting for fitting, why in stopped.items() if why == "epochs"])
        for fitting, why in stopped.items():
            with named(fitting):
                fitting.end_epoch(why, progress, losses.get(fitting))
    for fitting in active:
        if fitting in alone and not interrupted():
            with named(fitting):
                fitting.begin_epoch()
                try:
                    why = fitting.train_epoch(progress, interrupted)
                except DivergedError as error:
                    fitting.fail(error)
                else:
                    fitting.end_epoch(why, progress)
    progress.end_round(active)


@contextlib.contextmanager
def of_net(name: str | None, index: int) -> Iterator[None]:
    """Name the net in the message of an error, unless there is no name: that of an argument begins with its name.

    The error's attribute `net` is the index.
    """
    try:
        yield
    except (DivergedError, TypeError, ValueError) as error:
        error.net = index  # type: ignore[union-attr]
        if name is not None and error.args and isinstance(error.args[0], str):
            net, text = f"{name}[{index}]", error.args[0]
            named = f"{net}: {text}" if isinstance(error, DivergedError) else f"{text} ({net})"
            error.args = (named, *error.args[1:])
        raise


class _Progress:
    """The progress of all nets as one: items of all, means of the losses."""

    def __init__(self, verbose, fittings):
        self.fittings = fittings
        items = [fitting.items for fitting in fittings]
        total = sum(items) if all(items) else None
        epochs = max(fitting.epochs for fitting in fittings)
        self.all = Progress(verbose, total, fittings[0].unit, epochs)

    def tell_resumed(self):
        done = [fitting for fitting in self.fittings if fitting.resumed]
        if done:
            folder = done[0].file.path.parent
            text = f"{len(done)} of {len(self.fittings)} nets resumed from {folder}"
            self.all.resume(sum(fitting.run.items for fitting in done), text)

    def tell_alone(self, alone):
        """Say which nets are trained one after the other, and why."""
        for reason in sorted(set(alone.values())):
            count = sum(own == reason for own in alone.values())
            self.all.write(f"{count} of {len(self.fittings)} nets are trained one after the other, because of {reason}")

    def batch(self, epoch, items, loss):
        self.all.batch(epoch, items, loss)

    def epoch(self, record):
        """Show nothing: the round of all nets is shown."""

    def end_round(self, active):
        histories = [fitting.run.history for fitting in active if fitting.error is None]
        records = [history.records[-1] for history in histories if history.records]
        if not records:
            return
        shown = {"epoch": max(record["epoch"] for record in records)}
        for key in ("loss", "val_loss"):
            values = [record[key] for record in records if key in record]
            if values:
                shown[key] = math.fsum(values) / len(values) if all(map(math.isfinite, values)) else math.nan
        self.all.epoch({**shown, "seconds": math.fsum(record["seconds"] for record in records)})

    def close(self):
        self.all.close()
