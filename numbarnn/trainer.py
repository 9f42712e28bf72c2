"""Training: batches in, optimizer steps out. Nothing here knows a layer.

What a step does follows from (seed, epoch, step) and the state of the trainer alone: the order of the samples is
drawn from the seed and the epoch, dropout masks from the seed and the step.
"""

import contextlib
import math
import signal
import threading
import time
import warnings
from collections.abc import Iterable
from typing import Any

import numpy as np

from numbarnn import inputs, parallel
from numbarnn.batch import Arena, Call
from numbarnn.data.batches import TOKEN_UNITS, ArraySource, Batch
from numbarnn.errors import DivergedError, ShapeError
from numbarnn.history import Callback, EarlyStopping, History, Progress, early_stopping
from numbarnn.losses import make_loss
from numbarnn.network import Network, check_seed
from numbarnn.optim import Schedule, clip_by_norm, clip_by_value, make_optimizer, norm


class Trainer:
    """Trains a network.

    Parameters
    ----------
    model : Network
        Changed in place.
    loss : str or Loss
        A name of `numbarnn.losses.LOSSES` or a loss.
    optimizer : str or Optimizer
        A name of `numbarnn.optim.OPTIMIZERS` or an optimizer.
    schedule : Schedule, optional
        Factor of the learning rate over time.
    clip_norm, clip_value : float, optional
        Limit of the gradient's Euclidean norm, or of its entries.
    tbptt : int, optional
        Truncated back-propagation through time: batches are cut into chunks of so many steps; states carry over from
        chunk to chunk, gradients do not, and every chunk is an optimizer step (Williams & Peng 1990 with k1 = k2).
        Needs targets for every step.
    seed : int
        Of the order of samples and of dropout.
    n_threads : int, optional
        Instead of the model's.

    Attributes
    ----------
    epoch, step : int
        Epochs and optimizer steps done.
    arrays : list of arrays
        The optimizer's state.
    state : tuple or None
        States carried into the next batch.
    """

    def __init__(
        self,
        model: Network,
        loss: Any = "softmax_cross_entropy",
        optimizer: Any = "adam",
        *,
        schedule: Schedule | None = None,
        clip_norm: float | None = None,
        clip_value: float | None = None,
        tbptt: int | None = None,
        seed: int = 0,
        n_threads: int | None = None,
    ):
        self.model, self.loss, self.optimizer = model, make_loss(loss), make_optimizer(optimizer)
        self.schedule = Schedule() if schedule is None else schedule
        if not isinstance(self.schedule, Schedule):
            raise TypeError(f"schedule must be a numbarnn.optim.Schedule, got {schedule!r}")
        for name, value in (("clip_norm", clip_norm), ("clip_value", clip_value)):
            if value is not None and not (isinstance(value, (int, float)) and 0 < value < math.inf):
                raise ValueError(f"{name} must be a positive number or None, got {value!r}")
        if tbptt is not None and (isinstance(tbptt, bool) or not isinstance(tbptt, int) or tbptt < 1):
            raise ValueError(f"tbptt must be a positive number of steps or None, got {tbptt!r}")
        self.clip_norm, self.clip_value, self.tbptt = clip_norm, clip_value, tbptt
        self.seed = check_seed(seed)
        self.n_threads = parallel.check_threads(model.n_threads if n_threads is None else n_threads)
        self.epoch = self.step = 0
        size = model.params.flat.size
        self.arrays = [np.zeros(size, model.dtype) for _ in range(self.optimizer.arrays)]
        self.state = None
        self.arena = Arena()
        self._progress = None

    # One batch

    def train_batch(self, batch: Batch) -> tuple[float, float]:
        """Do one optimizer step for a batch, or one for each of its chunks under `tbptt`.

        Returns
        -------
        loss, weight : float
            Mean loss over the valid steps, and their summed weight.

        Raises
        ------
        DivergedError
            If loss or gradient is not finite; the parameters are those of the step before.
        """
        total = weight = 0.0
        for chunk in self._chunks(batch):
            loss, count = self._train_chunk(chunk)
            total += loss * count
            weight += count
        return (total / weight if weight else 0.0), weight

    def _train_chunk(self, batch):
        model = self.model
        self.arena.reset()
        call = Call(
            model.dtype, self.n_threads, keep=True, training=True, seed=self.seed, step=self.step, arena=self.arena
        )
        rows, layout = inputs.to_rows(call, batch.x, model.signals[0], batch.lengths)
        state = self._carried(batch, layout.samples)
        gradient = call.empty((model.params.flat.size,))
        loss, final, weight = model.differentiate(
            call, rows, layout, batch.y, self.loss, state, gradient, "mean", batch.sample_weight
        )
        length = norm(gradient)
        if not (math.isfinite(loss) and math.isfinite(length)):
            raise DivergedError(
                f"loss {loss} and gradient norm {length} at step {self.step + 1} of epoch {self.epoch + 1}: training diverged; try "
                "a smaller learning rate, clip_norm, or scaled inputs (the weights are those before this step)"
            )
        if self.clip_norm is not None:
            clip_by_norm(gradient, self.clip_norm, length)
        if self.clip_value is not None:
            clip_by_value(gradient, self.clip_value)
        with model.params.writing() as flat:
            self.optimizer.update(flat, gradient, self.arrays, self.step + 1, self.learning_rate, self.n_threads)
        self.step += 1
        self.state = final
        return loss, weight

    @property
    def learning_rate(self) -> float:
        """Learning rate of the next step."""
        return self.optimizer.learning_rate * self.schedule.factor(self.epoch, self.step)

    def _carried(self, batch, samples):
        if not batch.keep_state or not self.state:
            return None
        if self.state[0][0].shape[1] != samples:
            raise ShapeError(
                f"a batch with keep_state has {samples} samples, the one before had {self.state[0][0].shape[1]}; states carry "
                "over only between batches of the same samples"
            )
        return self.state

    def _chunks(self, batch):
        """Cut a batch along its steps under `tbptt`."""
        steps = np.shape(batch.x)[1] if np.ndim(batch.x) > 1 else 0
        if self.tbptt is None or steps <= self.tbptt:
            yield batch
            return
        x, y, weight = np.asarray(batch.x), np.asarray(batch.y), batch.sample_weight
        if y.ndim < 2 or y.shape[1] != steps or not self.model.signals[-1].sequence:
            raise ShapeError(f"tbptt needs targets for every one of {steps} steps, got y of shape {y.shape}")
        weight = None if weight is None else np.asarray(weight)
        for first in range(0, steps, self.tbptt):
            part = slice(first, first + self.tbptt)
            lengths = None
            if batch.lengths is not None:
                lengths = np.clip(np.asarray(batch.lengths) - first, 0, min(self.tbptt, steps - first))
            cut = weight[:, part] if weight is not None and weight.ndim == 2 else weight
            yield Batch(x[:, part], y[:, part], lengths, cut, keep_state=batch.keep_state or first > 0)

    # All batches

    def evaluate(self, source) -> float:
        """Return the mean loss over the valid steps of a source, without dropout.

        Parameters
        ----------
        source : source or (x, y) tuple
        """
        call = Call(self.model.dtype, self.n_threads, arena=self.arena)
        total = weight = 0.0
        state = None
        for batch in _batches(make_source(source, shuffle=False), np.random.default_rng(self.seed)):
            self.arena.reset()
            rows, layout = inputs.to_rows(call, batch.x, self.model.signals[0], batch.lengths)
            start = state if batch.keep_state else None
            loss, state, count = self.model.evaluate_rows(
                call, rows, layout, batch.y, self.loss, start, batch.sample_weight
            )
            total += loss * count
            weight += count
        return total / weight if weight else math.nan

    def fit(
        self,
        source,
        epochs: int = 10,
        *,
        validation=None,
        stopping: EarlyStopping | int | None = None,
        seconds: float | None = None,
        callbacks: Iterable[Callback] = (),
        verbose: int = 1,
    ) -> History:
        """Train for some epochs.

        Parameters
        ----------
        source : source or (x, y) tuple
            See `numbarnn.data.batches`; or any iterable of batches that can be iterated once an epoch.
        epochs : int
        validation : source, (x, y) tuple or float, optional
            Evaluated after every epoch; a fraction holds out the last samples of an array source.
        stopping : EarlyStopping or int, optional
            A number is a patience.
        seconds : float, optional
            Training ends with the batch that uses up this time, counted from the end of the first batch (which may have compiled
            kernels).
        callbacks : iterable of Callback
        verbose : int
            0: silent; 1: progress.

        Returns
        -------
        History

        Notes
        -----
        Ctrl-C ends training after the step at hand: the model is that of the last whole step, and the history says
        "interrupted". A second Ctrl-C raises at once.
        """
        if isinstance(epochs, bool) or not isinstance(epochs, (int, np.integer)) or epochs < 0:
            raise ValueError(f"epochs must be a number of epochs, got {epochs!r}")
        source, validation = _with_validation(source, validation)
        for data in (source, validation):
            if hasattr(data, "check"):
                data.check()
        stopping = early_stopping(stopping)
        if stopping is not None and stopping.monitor == "val_loss" and validation is None:
            raise ValueError("early stopping on val_loss needs validation data")
        if seconds is not None and not (isinstance(seconds, (int, float)) and seconds > 0):
            raise ValueError(f"seconds must be a positive number or None, got {seconds!r}")
        callbacks = [*callbacks, _TimeLimit(seconds)] if seconds else list(callbacks)
        history, best = History(), None
        items = getattr(source, "items", None)
        unit = getattr(source, "unit", "batches")
        self._progress = progress = Progress(verbose, items and items * epochs, unit, int(epochs), seconds)
        goal = self.epoch + epochs
        try:
            with _deferred_interrupt() as interrupted:
                for callback in callbacks:
                    callback.on_train_begin(self)
                while self.epoch < goal and history.stopped == "epochs":
                    record, history.stopped = self._epoch(source, callbacks, progress, interrupted, goal - epochs)
                    if validation is not None and history.stopped != "interrupted":
                        record["val_loss"] = self.evaluate(validation)
                    history.records.append(record)
                    if stopping is not None:
                        value = record.get(stopping.monitor, math.nan)
                        if best is None or value < best[0] - stopping.min_delta:
                            best = (value, len(history) - 1, self.model.params.flat.copy())
                        elif len(history) - 1 - best[1] >= stopping.patience:
                            history.stopped = "early stopping"
                    progress.epoch(record)
                    if (
                        _any(callback.on_epoch_end(self, record) for callback in callbacks)
                        and history.stopped == "epochs"
                    ):
                        history.stopped = "callback"
        finally:
            progress.close()
            self._progress = None
        if best is not None:
            history.best = best[1]
            if stopping.restore_best:
                self.model.set_flat(best[2])
        for callback in callbacks:
            callback.on_train_end(self, history)
        if history.stopped == "interrupted":
            warnings.warn(
                f"training was interrupted after step {self.step}; the model is as of that step", stacklevel=2
            )
        return history

    def _epoch(self, source, callbacks, progress, interrupted, before):
        """Train one epoch; return its record, and "epochs" or what ended it early."""
        started = time.perf_counter()
        total = weight = 0.0
        rate, stopped = self.learning_rate, "epochs"
        generator = np.random.default_rng([self.seed, self.epoch])
        for batch in _batches(source, generator):
            loss, count = self.train_batch(batch)
            total += loss * count
            weight += count
            size = np.size(batch.x) if getattr(source, "unit", "") in TOKEN_UNITS else len(batch.x)
            progress.batch(self.epoch - before, size, loss)
            if _any(callback.on_batch_end(self, loss) for callback in callbacks):
                stopped = "callback"
            if interrupted():
                stopped = "interrupted"
            if stopped != "epochs":
                break
        if weight == 0:
            raise ShapeError("the source gave no batches with valid steps")
        record = {
            "epoch": self.epoch + 1,
            "loss": total / weight,
            "learning_rate": rate,
            "seconds": time.perf_counter() - started,
        }
        if stopped == "epochs":
            self.epoch += 1
            self.state = None
        return record, stopped

    def say(self, text: str) -> None:
        """Print a line without disturbing the progress bar of a running `fit`; for callbacks."""
        if self._progress is None:
            print(text, flush=True)
        else:
            self._progress.say(text)


def _any(answers):
    """Return whether one of the callbacks, which have all been called, said True."""
    return sum(answer is True for answer in answers) > 0


class _TimeLimit(Callback):
    """Ends training some seconds after the end of the first batch."""

    def __init__(self, seconds):
        self.seconds, self.end = seconds, None

    def on_batch_end(self, trainer, loss):
        self.end = time.monotonic() + self.seconds if self.end is None else self.end
        return time.monotonic() >= self.end


def make_source(source, y=None, **options):
    """Return a source for arguments: a source or iterable of batches as it is, arrays or an (x, y) tuple wrapped.

    Parameters
    ----------
    source : source, iterable, array or (x, y) tuple
    y : array-like, optional
        Targets, where `source` is the array x.
    options
        Of `ArraySource`; "shuffle" alone is ignored where nothing is wrapped.
    """
    if y is not None:
        return ArraySource(source, y, **options)
    if isinstance(source, tuple) and len(source) in (2, 3) and not isinstance(source[0], Batch):
        names = ("x", "y", "lengths")[: len(source)]
        return ArraySource(**dict(zip(names, source, strict=True)), **options)
    if hasattr(source, "batches") or (isinstance(source, Iterable) and not isinstance(source, np.ndarray)):
        return source
    raise TypeError(
        "source must be arrays (x, y), or an object with batches(generator), or an iterable of batches, got "
        f"{type(source).__name__}"
    )


def _batches(source, generator):
    """Iterate over one epoch of `Batch`."""
    for batch in source.batches(generator) if hasattr(source, "batches") else source:
        yield batch if isinstance(batch, Batch) else Batch(*batch)


def _with_validation(source, validation):
    source = make_source(source)
    if isinstance(validation, float):
        if not isinstance(source, ArraySource) or not 0 < validation < 1:
            raise ValueError(f"a validation fraction must lie in (0, 1) and needs arrays, got {validation!r}")
        return source.split(validation)
    if validation is not None:
        validation = make_source(validation, **({"shuffle": False} if isinstance(validation, tuple) else {}))
    return source, validation


@contextlib.contextmanager
def _deferred_interrupt():
    """Let the first Ctrl-C only be noted; give a function that says whether there was one."""
    seen = []
    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return

    def note(number, frame):
        if seen:
            raise KeyboardInterrupt
        seen.append(number)

    before = signal.signal(signal.SIGINT, note)
    try:
        yield lambda: bool(seen)
    finally:
        signal.signal(signal.SIGINT, before)


__all__ = ["History", "Trainer", "make_source"]
