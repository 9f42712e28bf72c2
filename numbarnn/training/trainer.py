"""Training: batches in, optimizer steps out, epoch by epoch.

A step depends on the seed and the state of the trainer alone: the order of the samples is drawn from the seed and the epoch,
dropout masks from the seed and the number of passes. So a run can go on from a file of that state
(`numbarnn.training.checkpoint`) as if it had not been stopped.
"""

import math
import os
import time
import warnings
from collections.abc import Iterable
from typing import Any

import numpy as np

from numbarnn.checks import brief, check_real, naming
from numbarnn.core import seeds
from numbarnn.data.batches import TOKEN_UNITS, ArraySource, batches_of, checksum
from numbarnn.data.prefetch import Prefetch
from numbarnn.data.sources import with_validation
from numbarnn.errors import CheckpointError
from numbarnn.training.callbacks import Callback, EarlyStopping, TimeLimit, check_callbacks, early_stopping, one_stops
from numbarnn.training.checkpoint import Checkpoint, Run, run_of, set_state, settings_of, state_of
from numbarnn.training.defaults import check_epochs, epochs_of
from numbarnn.training.history import History, StepStatistics
from numbarnn.training.interrupts import deferred_interrupt
from numbarnn.training.progress import Progress
from numbarnn.training.steps import Steps, no_steps


class Trainer(Steps):
    """Trains a network.

    Parameters
    ----------
    model : Network
        Trained in place.
    loss : str or Loss
        A name of `numbarnn.losses.LOSSES` or a loss.
    optimizer : str or Optimizer
        A name of `numbarnn.optim.OPTIMIZERS` or an optimizer.
    learning_rate : float, optional
        Of an optimizer given by name; an optimizer object has its own. None: 0.003 for "adam" and "adamw", for others
        their default.
    schedule : Schedule, optional
        Factor of the learning rate over time.
    clip_norm, clip_value : float, optional
        Limit of the gradient's Euclidean norm, or of its entries.
    tbptt : int, optional
        Truncated back-propagation through time: batches are cut into chunks of that many steps; states carry over from
        chunk to chunk, gradients do not, and every chunk is an optimizer step (Williams & Peng 1990 with k1 = k2).
        Needs targets for every step, and layers of one direction.
    memory_limit : int or str, optional
        Bytes that the activations of a batch (a chunk under `tbptt`) may take, or a str such as "300 MB"; see
        `Model.loss_and_grad`. What is learned is equal to the bit.
    accumulate : int
        Batches (chunks under `tbptt`) whose gradients make one optimizer step: the step of the batch that they are parts of, up
        to rounding, with every part weighted by its valid steps. What is left at the end of an epoch makes a step too.
    average : EMA or float, optional
        Exponential moving average of the weights (a number is its decay): validation scores the average, and training ends
        with it in the model unless ``EMA(final=False)``.
    seed : int
        Of the order of samples and of dropout.
    n_threads : int, optional
        Instead of the model's.

    Attributes
    ----------
    epoch, step, passes : int
        Epochs, optimizer steps, and batches or chunks done.
    arrays : list of arrays
        The optimizer's state.
    average : array or None
        The average of the weights, from the first step on.
    pending : Pending
        What `accumulate` has gathered for the next step.
    statistics : StepStatistics
        Norms of gradients and updates in this epoch.
    state : tuple or None
        States carried into the next batch.

    Examples
    --------
    >>> import numpy as np
    >>> from numbarnn import LSTM, Dense, Model, Trainer
    >>> from numbarnn.data import ArraySource
    >>> x = np.random.default_rng(0).normal(size=(60, 8, 1))
    >>> trainer = Trainer(Model([LSTM(4), Dense(1)], input_size=1), "mse", "adam", clip_norm=1.0)
    >>> history = trainer.fit(ArraySource(x, x.cumsum(axis=1)), epochs=2, verbose=0)
    >>> history = trainer.fit(ArraySource(x, x.cumsum(axis=1)), epochs=1, verbose=0)  # one more, from there
    >>> trainer.epoch
    3
    """

    _progress = None

    def fit(
        self,
        source: Any,
        epochs: int | None = None,
        *,
        validation: Any = None,
        patience: EarlyStopping | int | None = None,
        seconds: float | None = None,
        checkpoint: str | os.PathLike[str] | None = None,
        checkpoint_every: Any = "5min",
        resume: bool | str = False,
        callbacks: Iterable[Callback] = (),
        verbose: int = 1,
    ) -> History:
        """Train for some epochs.

        Parameters
        ----------
        source : source or (x, y) tuple
            See `numbarnn.data.batches`; or any iterable of batches that can be iterated once an epoch.
        epochs : int, optional
            None: as many as make 3,000 optimizer steps, at most 200; at most 50 where every step has a target. Under `tbptt` a
            batch counts as one step. A source must have a length for it.
        validation : source, (x, y) tuple or float, optional
            Evaluated after every epoch; a fraction holds out the last samples of an array source.
        patience : int or EarlyStopping, optional
            Epochs without a better validation loss after which training ends, with the weights of the best epoch.
        seconds : float, optional
            Training ends with the batch that uses up this time, counted from the end of the first batch (which may have compiled
            kernels).
        checkpoint : path-like, optional
            File of all that training depends on: written before the first step, at the end of every epoch, in between as
            `checkpoint_every` says, and where training is interrupted.
        checkpoint_every : int, str or timedelta
            Optimizer steps, or a time: "30s", "5min", "1h".
        resume : bool or "auto"
            True: go on from the checkpoint; False: start a new run, and refuse to overwrite a checkpoint; "auto": go on where
            there is one.
        callbacks : iterable of Callback
        verbose : int
            0: silent; 1: progress.

        Returns
        -------
        History

        Raises
        ------
        CheckpointError
            If the checkpoint is that of another model, optimizer, other data or settings; the message names what differs.
        FileExistsError, FileNotFoundError, ModelFileError
            If there is a checkpoint and `resume` is False, if there is none, or if it is damaged.
        OSError
            If the checkpoint cannot be written (before the first step, if its folder cannot be). The last one stays, training
            stops, and the model is as of the last step.
        ValueError
            If `memory_limit` is too small for a batch; the first one that does not fit raises.

        Notes
        -----
        Ctrl-C ends training after the step at hand: the model is that of the last whole step, and the history says
        "interrupted". A second Ctrl-C raises at once. With a checkpoint, SIGTERM too ends training after the step at hand; when the
        file is written, the process ends as it would have (where the program has a handler of its own for SIGTERM, that remains).

        A resumed run ends in the weights and the history (durations aside) of the run that was not stopped, to the bit, wherever
        it was killed and whatever the number of threads. Pass what the run was begun with; `epochs` counts from its beginning,
        and may be larger than before. `seconds` counts from the resumption, and callbacks start anew. Within an epoch, the batches
        that were done are drawn again and left out: what a source yields must depend on its generator alone, which is
        checked, and an iterator that can be read only once is refused.
        """
        check_epochs(epochs)
        source, validation = with_validation(source, validation)
        self._check_data(source)
        if epochs is None:
            each_step = self.model.signals[-1].sequence and self.loss.by_step
            epochs = epochs_of(source, self.accumulate, each_step)
        try:
            self._check_data(validation)
        except (TypeError, ValueError) as error:
            error.args = (f"validation: {error}", *error.args[1:])
            raise
        stopping = early_stopping(patience)
        if stopping is not None and stopping.monitor == "val_loss" and validation is None:
            raise ValueError("patience, early stopping on val_loss, needs validation data: pass validation=")
        if self.schedule.monitor == "val_loss" and validation is None:
            raise ValueError(f"{self.schedule!r} monitors val_loss, which needs validation data")
        if seconds is not None and check_real(seconds, "seconds") <= 0:
            raise ValueError(f"seconds must be positive or None, got {brief(seconds)}")
        callbacks = check_callbacks(callbacks)
        if seconds is not None:
            callbacks.append(TimeLimit(seconds))
        file, run = None, Run(self.epoch, History())
        if checkpoint is not None:
            file = Checkpoint(
                checkpoint,
                settings_of(self, {"data": source, "validation": validation}, stopping),
                checkpoint_every,
            )
            run = self._resumed(file) if file.found(resume) else run
            self._write(file, run)  # a folder that cannot be written to shows here, not after hours
        elif resume is not False:
            raise ValueError("resume needs checkpoint, the path of the file to resume from")
        history, end_epoch = run.history, run.begin + epochs
        items = getattr(source, "items", None)
        unit = getattr(source, "unit", "batches")
        self._progress = progress = Progress(verbose, items and items * epochs, unit, int(epochs), seconds)
        try:
            if run.items or run.pieces:
                ended = history.stopped != "epochs" or self.epoch >= end_epoch
                where = "at its end" if ended else f"in epoch {self.epoch - run.begin + 1}"
                progress.resume(run.items, f"resumed from {file.path} {where}, after step {self.step}")
            with deferred_interrupt(terminated=file is not None) as interrupted:
                for callback in callbacks:
                    callback.on_train_begin(self)
                while self.epoch < end_epoch and history.stopped == "epochs":
                    self.follow(history.records)
                    history.stopped = self._epoch(source, run, file, callbacks, progress, interrupted)
                    record = self._record(run)
                    if history.stopped == "epochs":
                        self.epoch += 1
                        self.state = None
                        run.begin_epoch()
                    if validation is not None and history.stopped != "interrupted":
                        with self.averaged(), naming("validation", "source"):
                            record["val_loss"] = self.evaluate(validation)
                    history.records.append(record)
                    whole = history.stopped == "epochs"
                    if stopping is not None and self._no_better(run, record, stopping) and whole:
                        history.stopped = "early stopping"
                    progress.epoch(record)
                    ended = one_stops(callback.on_epoch_end(self, record) for callback in callbacks)
                    if file is not None and whole:
                        self._write(file, run)
                    if ended and history.stopped == "epochs":
                        history.stopped = "callback"
        finally:
            progress.close()
            self._progress = None
        if run.best is not None:
            history.best = run.best[1]
        if run.best is not None and stopping.restore_best:
            self.model.set_flat(run.best_weights)
        else:
            self.model.set_flat(self._result())
        for callback in callbacks:
            callback.on_train_end(self, history)
        if history.stopped == "interrupted":
            warnings.warn(
                f"training was interrupted after step {self.step}; the model is as of that step", stacklevel=3
            )
        return history

    def __repr__(self) -> str:
        return f"<Trainer of {self.model!r}, {self.loss.name}, {self.optimizer!r}, after step {self.step}>"

    def _epoch(self, source, run, file, callbacks, progress, interrupted):
        """Train an epoch from where `run` stands; return "epochs" or what ended it early."""
        started, stopped, before = time.perf_counter() - run.seconds, "epochs", run.pieces
        if run.pieces == 0:
            self.pending.clear()
            self.statistics = StepStatistics()
            run.rate = self.learning_rate
        for chunk, batch in self._pieces(source, run, watched=file is not None):
            loss, count = self._train_chunk(chunk)
            run.add(loss, count)
            if batch is not None:
                size = len(batch.x)
                if getattr(source, "unit", "") in TOKEN_UNITS:
                    size = np.size(batch.x) if batch.lengths is None else int(np.sum(batch.lengths))
                loss = run.end_batch(size)
                progress.batch(self.epoch - run.begin, size, loss)
                if one_stops(callback.on_batch_end(self, loss) for callback in callbacks):
                    stopped = "callback"
            if interrupted():
                stopped = "interrupted"
            if file is not None and (stopped != "epochs" or file.due(self.step)):
                run.count(*self.synchronize())
                run.seconds = time.perf_counter() - started
                self._write(file, run)
            if stopped != "epochs":
                break
        if stopped == "epochs":
            self.flush()
        run.count(*self.synchronize())
        if run.weight == 0 and stopped == "epochs" and before:
            raise CheckpointError(
                f"the run has seen no valid step in {before} batches of this epoch, and the source gave none after them"
            )
        if run.weight == 0 and stopped == "epochs":
            raise no_steps()
        run.seconds = time.perf_counter() - started
        return stopped

    def _check_data(self, source):
        """Check what can be checked of a source before the first step; raise what it raises."""
        if isinstance(source, Prefetch):
            self._check_data(source.source)
        elif isinstance(source, ArraySource):
            source.check(self.model.dtype)
            self.loss.check(source, self.model.signals[-1])
        elif hasattr(source, "check"):
            source.check()

    def _pieces(self, source, run, watched):
        """Yield what is left of an epoch: (chunk, its batch where it is the last one of it, else None)."""
        done, before, seen = 0, run.pieces, 0
        watched = watched and not hasattr(source, "fingerprint")
        for batch in batches_of(source, seeds.generator(self.seed, "order", self.epoch)):
            seen = checksum(batch, seen) if watched else 0
            chunks = list(self._chunks(batch))
            for index, chunk in enumerate(chunks):
                done += 1
                if done > before:
                    run.seen = seen
                    yield chunk, batch if index == len(chunks) - 1 else None
                elif done == before and seen != run.seen:
                    raise CheckpointError(
                        f"the first {before} batches of epoch {self.epoch + 1} are not those that the run has seen; a run can be "
                        "resumed if every epoch of the source depends on its generator alone"
                    )
        if done < before:
            raise CheckpointError(
                f"the source ended after {done} of {before} batches that the run has seen in this epoch"
            )

    def _record(self, run):
        loss = run.total / run.weight if run.weight else math.nan
        record = {"epoch": self.epoch + 1, "loss": loss, "learning_rate": run.rate, "seconds": run.seconds}
        return record | self.statistics.columns()

    def _no_better(self, run, record, stopping):
        """Note the best weights; return whether it is time to stop."""
        whole = run.history.stopped == "epochs"  # what ended early may lack a validation
        if whole and stopping.monitor not in record:
            raise ValueError(
                f"EarlyStopping: monitor must be an entry of the history, {', '.join(record)}, got {brief(stopping.monitor)}"
            )
        value, index = record.get(stopping.monitor, math.nan), len(run.history) - 1
        if run.best is None or math.isnan(run.best[0]) or value < run.best[0] - stopping.min_delta:
            run.best, run.best_weights = (value, index), self._result()
            return False
        return index - run.best[1] >= stopping.patience

    def _result(self):
        """Return a copy of the weights that training ends with."""
        final = self.ema is not None and self.ema.final and self.average is not None
        return (self.average if final else self.model.params.flat).copy()

    # Files

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the trainer's state and the weights to a file, for loops of your own around `train_batch`.

        `fit` writes its own checkpoints, which store its position in the data too.

        Parameters
        ----------
        path : path-like

        Raises
        ------
        OSError
            If the file cannot be written; one that was there stays.
        """
        Checkpoint(path, settings_of(self)).write(self.step, *state_of(self))

    def restore(self, path: str | os.PathLike[str]) -> "Trainer":
        """Set weights and state from a file of `save` or a checkpoint of `fit`, and return the trainer.

        Parameters
        ----------
        path : path-like

        Raises
        ------
        CheckpointError
            If the file is that of another model, optimizer or other settings; the message names what differs.
        FileNotFoundError, ModelFileError
            If there is no file, or it is not a checkpoint or is damaged.
        """
        set_state(self, *Checkpoint(path, settings_of(self)).read())
        return self

    def _write(self, file, run):
        values, arrays = state_of(self)
        if run.best_weights is not None:
            arrays["best"] = run.best_weights
        file.write(self.step, {**values, "run": run.values()}, arrays)

    def _resumed(self, file):
        """Set the trainer from a file and return the run in it."""
        values, arrays = file.read()
        run = run_of(self, values, arrays)
        set_state(self, values, arrays)
        return run

    def say(self, text: str) -> None:
        """Print a line without disturbing the progress bar of a running `fit`; for callbacks.

        Parameters
        ----------
        text : str
        """
        if self._progress is None:
            print(text, flush=True)
        else:
            self._progress.say(text)
