"""One call of `Trainer.fit`: what it was given, where it stands, and what is done around and within an epoch."""

import math
import time
from typing import Any

import numpy as np

from numbarnn.checks import brief, check_real, naming
from numbarnn.core import seeds
from numbarnn.data.batches import TOKEN_UNITS, ArraySource, batches_of, checksum
from numbarnn.data.prefetch import Prefetch
from numbarnn.data.sources import with_validation
from numbarnn.errors import CheckpointError, DivergedError
from numbarnn.training.callbacks import TimeLimit, check_callbacks, early_stopping, one_stops
from numbarnn.training.checkpoint import Checkpoint, Run, run_of, set_state, settings_of, state_of
from numbarnn.training.defaults import check_epochs, epochs_of
from numbarnn.training.history import History, StepStatistics
from numbarnn.training.steps import no_steps


class Fitting:
    """A run of a trainer; the arguments are those of `Trainer.fit`, which says what they mean and what is raised.

    Whoever runs it calls `begin`, then as long as it is `active` `begin_epoch`, something that trains an epoch (`train_epoch`) and
    `end_epoch`, and at last `end`.

    Attributes
    ----------
    trainer : Trainer
    source, validation : sources
    epochs, stop : int
        Number of epochs, and the trainer's epoch after the last.
    callbacks : list of Callback
    file : Checkpoint or None
    run : Run
    needed : bool
        Whether a loss that is not finite is an error; False: others go on without this net, whose `error` it is.
    error : DivergedError or None
    """

    needed, error = True, None

    def __init__(
        self,
        trainer: Any,
        source: Any,
        epochs: int | None = None,
        *,
        validation: Any = None,
        patience: Any = None,
        seconds: float | None = None,
        checkpoint: Any = None,
        checkpoint_every: Any = "5min",
        resume: bool | str = False,
        callbacks: Any = (),
    ):
        check_epochs(epochs)
        self.trainer = trainer
        source, validation = with_validation(source, validation)
        self._check_data(source)
        if epochs is None:
            each_step = trainer.model.signals[-1].sequence and trainer.loss.by_step
            epochs = epochs_of(source, trainer.accumulate, each_step)
        try:
            self._check_data(validation)
        except (TypeError, ValueError) as error:
            error.args = (f"validation: {error}", *error.args[1:])
            raise
        self.stopping = stopping = early_stopping(patience)
        if stopping is not None and stopping.monitor == "val_loss" and validation is None:
            raise ValueError("patience, early stopping on val_loss, needs validation data: pass validation=")
        if trainer.schedule.monitor == "val_loss" and validation is None:
            raise ValueError(f"{trainer.schedule!r} monitors val_loss, which needs validation data")
        if seconds is not None and check_real(seconds, "seconds") <= 0:
            raise ValueError(f"seconds must be positive or None, got {brief(seconds)}")
        self.callbacks = check_callbacks(callbacks)
        if seconds is not None:
            self.callbacks.append(TimeLimit(seconds))
        self.file, self.run = None, Run(trainer.epoch, History())
        if checkpoint is not None:
            settings = settings_of(trainer, {"data": source, "validation": validation}, stopping)
            self.file = Checkpoint(checkpoint, settings, checkpoint_every)
            self.run = self._resumed() if trainer.ranks.once(lambda: self.file.found(resume)) else self.run
            self.write()  # a folder that cannot be written to shows here, not after hours
        elif resume is not False:
            raise ValueError("resume needs checkpoint, the path of the file to resume from")
        self.source, self.validation = source, validation
        self.epochs, self.stop = int(epochs), self.run.begin + epochs

    @property
    def items(self) -> int | None:
        """Items of all epochs, as the source counts them; None where it does not."""
        items = getattr(self.source, "items", None)
        return items and items * self.epochs

    @property
    def unit(self) -> str:
        """What the items are."""
        return getattr(self.source, "unit", "batches")

    @property
    def active(self) -> bool:
        """Whether there is an epoch to come."""
        return self.trainer.epoch < self.stop and self.run.history.stopped == "epochs" and self.error is None

    @property
    def resumed(self) -> bool:
        """Whether a file says what was done before."""
        return self.run.items > 0 or self.run.pieces > 0

    def tell_resumed(self, progress: Any) -> None:
        """Let the progress begin where a file did."""
        if self.resumed:
            trainer, run = self.trainer, self.run
            where = f"in epoch {trainer.epoch - run.begin + 1}" if self.active else "at its end"
            progress.resume(run.items, f"resumed from {self.file.path} {where}, after step {trainer.step}")

    def begin(self) -> None:
        """Do what comes before the first epoch."""
        for callback in self.callbacks:
            callback.on_train_begin(self.trainer)

    def begin_epoch(self) -> None:
        """Do what comes before the batches of an epoch, or of what is left of one."""
        trainer, run = self.trainer, self.run
        trainer.follow(run.history.records)
        if run.pieces == 0:
            trainer.pending.clear()
            trainer.statistics = StepStatistics()
            run.rate = trainer.learning_rate

    def train_epoch(self, progress: Any, interrupted: Any) -> str:
        """Train an epoch from where the run stands; return "epochs" or what ended it early."""
        trainer, run, file = self.trainer, self.run, self.file
        started, stopped, before = time.perf_counter() - run.seconds, "epochs", run.pieces
        for chunk, batch in self._pieces():
            loss, count = trainer._train_chunk(chunk)
            run.add(loss, count)
            if batch is not None:
                size = len(batch.x)
                if getattr(self.source, "unit", "") in TOKEN_UNITS:
                    size = np.size(batch.x) if batch.lengths is None else int(np.sum(batch.lengths))
                loss = run.end_batch(size)
                progress.batch(trainer.epoch - run.begin, size, loss)
                if one_stops(callback.on_batch_end(trainer, loss) for callback in self.callbacks):
                    stopped = "callback"
            if interrupted():
                stopped = "interrupted"
            due = file is not None and trainer.ranks.rank == 0 and file.due(trainer.step)
            stopped, due = trainer.ranks.agree(stopped, due)
            if file is not None and (stopped != "epochs" or due):
                run.count(*trainer.synchronize())
                run.seconds = time.perf_counter() - started
                self.write()
            if stopped != "epochs":
                break
        if stopped == "epochs":
            trainer.flush()
        run.count(*trainer.synchronize())
        if stopped == "epochs":
            self.check_counted(before)
        run.seconds = time.perf_counter() - started
        return stopped

    def check_given(self, given: int, before: int) -> None:
        """Raise CheckpointError where a source gave fewer batches in an epoch than the run had seen before it was resumed."""
        if given < before:
            raise CheckpointError(
                f"the source ended after {given} of {before} batches that the run has seen in this epoch"
            )

    def check_counted(self, before: int) -> None:
        """Raise where an epoch, of which the run had seen some batches before it was resumed, ended without a step that counts."""
        if self.run.weight == 0 and before:
            raise CheckpointError(
                f"the run has seen no valid step in {before} batches of this epoch, and the source gave none after them"
            )
        if self.run.weight == 0:
            raise no_steps()

    def fail(self, error: Exception) -> None:
        """Raise what ended training, or note a loss that is not finite where others go on without this net."""
        if self.needed or not isinstance(error, DivergedError):
            raise error
        self.error = error

    def end_epoch(self, stopped: str, progress: Any, val_loss: float | None = None) -> None:
        """Do what comes after the batches of an epoch, which `stopped` ended early unless it is "epochs".

        The validation loss is computed unless it is given.
        """
        trainer, run, history = self.trainer, self.run, self.run.history
        history.stopped = stopped
        record = self._record()
        if stopped == "epochs":
            trainer.epoch += 1
            trainer.state = None
            run.begin_epoch()
        if self.validation is not None and stopped != "interrupted":
            if val_loss is None:
                with trainer.averaged(), naming("validation", "source"):
                    val_loss = trainer.evaluate(self.validation)
            record["val_loss"] = val_loss
        history.records.append(record)
        whole = stopped == "epochs"
        if self.stopping is not None and self._no_better(record) and whole:
            history.stopped = "early stopping"
        if trainer.ranks.rank == 0:
            progress.epoch(record)
        ended = one_stops(callback.on_epoch_end(trainer, record) for callback in self.callbacks)
        ended = trainer.ranks.end_epoch(trainer.model.params.flat, ended)
        if self.file is not None and whole:
            self.write()
        if ended and history.stopped == "epochs":
            history.stopped = "callback"

    def end(self) -> History:
        """Leave the model with the weights that training ends with, and return the history."""
        trainer, run, history = self.trainer, self.run, self.run.history
        if run.best is not None:
            history.best = run.best[1]
        if run.best is not None and self.stopping.restore_best:
            trainer.model.set_flat(run.best_weights)
        else:
            trainer.model.set_flat(self._result())
        for callback in self.callbacks:
            callback.on_train_end(trainer, history)
        return history

    def write(self) -> None:
        """Write the checkpoint."""
        values, arrays = state_of(self.trainer)
        if self.run.best_weights is not None:
            arrays["best"] = self.run.best_weights
        self.trainer.ranks.once(
            lambda: self.file.write(self.trainer.step, {**values, "run": self.run.values()}, arrays)
        )

    def _resumed(self):
        """Set the trainer from the file and return the run in it."""
        values, arrays = self.trainer.ranks.once(self.file.read)
        run = run_of(self.trainer, values, arrays)
        set_state(self.trainer, values, arrays)
        return run

    def _check_data(self, source):
        """Check what can be checked of a source before the first step; raise what it raises."""
        if isinstance(source, Prefetch):
            self._check_data(source.source)
        elif isinstance(source, ArraySource):
            source.check(self.trainer.model.dtype)
            self.trainer.loss.check(source, self.trainer.model.signals[-1])
        elif hasattr(source, "check"):
            source.check()

    def _pieces(self):
        """Yield what is left of an epoch: (chunk, its batch where it is the last one of it, else None)."""
        trainer, run, source = self.trainer, self.run, self.source
        done, before, seen = 0, run.pieces, 0
        watched = self.file is not None and not hasattr(source, "fingerprint")
        for batch in batches_of(source, seeds.generator(trainer.seed, "order", trainer.epoch)):
            seen = checksum(batch, seen) if watched else 0
            chunks = list(trainer._chunks(batch))
            for index, chunk in enumerate(chunks):
                done += 1
                if done > before:
                    run.seen = seen
                    yield chunk, batch if index == len(chunks) - 1 else None
                elif done == before and seen != run.seen:
                    raise CheckpointError(
                        f"the first {before} batches of epoch {trainer.epoch + 1} are not those that the run has seen; a run can "
                        "be resumed if every epoch of the source depends on its generator alone"
                    )
        self.check_given(done, before)

    def _record(self):
        run = self.run
        loss = run.total / run.weight if run.weight else math.nan
        record = {"epoch": self.trainer.epoch + 1, "loss": loss, "learning_rate": run.rate, "seconds": run.seconds}
        return record | self.trainer.statistics.columns()

    def _no_better(self, record):
        """Note the best weights; return whether it is time to stop."""
        run, stopping = self.run, self.stopping
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
        trainer = self.trainer
        final = trainer.ema is not None and trainer.ema.final and trainer.average is not None
        return (trainer.average if final else trainer.model.params.flat).copy()
