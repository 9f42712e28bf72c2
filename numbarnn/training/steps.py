"""One batch in, one optimizer step out: what a trainer does between the loops over data. Nothing here knows a layer."""

import contextlib
from typing import Any

import numpy as np

from numbarnn import inputs
from numbarnn.checks import brief, check_integer, check_lengths, check_real, check_seed, naming
from numbarnn.core import seeds
from numbarnn.data.batches import Batch, batches_of
from numbarnn.data.sources import make_source
from numbarnn.errors import DivergedError, ShapeError
from numbarnn.losses.base import make_loss
from numbarnn.network.memory import checked_limit
from numbarnn.network.network import Network
from numbarnn.optim import Optimizer, Schedule, make_average, optimizer_with
from numbarnn.training.defaults import default_rate
from numbarnn.training.history import StepStatistics
from numbarnn.training.ranks import ranks_of
from numbarnn.words import Suggesting


def _of_updates(name):
    """Return a property of what the backend stores of the run: on a device it reads a copy, and writes there."""
    return property(lambda run: getattr(run.updates, name), lambda run, value: setattr(run.updates, name, value))


class Steps(Suggesting):
    """The steps of a training run and the state they leave; documented as `numbarnn.Trainer`."""

    arrays, average, pending = map(_of_updates, ("arrays", "average", "pending"))

    def __init__(
        self,
        model: Network,
        loss: Any = "softmax_cross_entropy",
        optimizer: Any = "adam",
        *,
        learning_rate: float | None = None,
        schedule: Schedule | None = None,
        clip_norm: float | None = None,
        clip_value: float | None = None,
        tbptt: int | None = None,
        memory_limit: int | str | None = None,
        accumulate: int = 1,
        average: Any = None,
        seed: int = 0,
        n_threads: int | None = None,
        comm: Any = None,
    ):
        if not isinstance(model, Network):
            raise TypeError(f"model must be a numbarnn.Model, got {brief(model)}")
        self.ranks = ranks_of(comm, model)
        self.model, self.loss = model, make_loss(loss)
        self.optimizer = _optimizer(optimizer, learning_rate)
        self.schedule = Schedule() if schedule is None else schedule
        if not isinstance(self.schedule, Schedule):
            raise TypeError(f"schedule must be a numbarnn.optim.Schedule, got {brief(schedule)}")
        self.follow([])
        for name, value in (("clip_norm", clip_norm), ("clip_value", clip_value)):
            if value is not None and check_real(value, name) <= 0:
                raise ValueError(f"{name} must be positive or None, got {brief(value)}")
        if tbptt is not None:
            check_integer(tbptt, "tbptt", 1)
        if tbptt is not None and not self.loss.by_step:
            raise ValueError(
                f"tbptt cuts sequences into chunks, and the loss {self.loss.name} is that of a whole sequence"
            )
        if tbptt is not None and not all(getattr(layer, "causal", True) for layer in model.layers):
            raise ValueError(
                "tbptt cuts sequences into chunks, and the reverse direction of a layer would begin anew at the end of each; leave "
                "tbptt out, or use layers without bidirectional=True and reverse=True"
            )
        self.memory_limit = checked_limit(model, memory_limit)
        check_integer(accumulate, "accumulate", 1)
        # Python's own types, which a checkpoint can store.
        limits = (value.item() if isinstance(value, np.generic) else value for value in (clip_norm, clip_value, tbptt))
        (self.clip_norm, self.clip_value, self.tbptt), self.accumulate = limits, int(accumulate)
        self.ema = make_average(average)
        self.seed = check_seed(seed)
        n_threads = model.n_threads if n_threads is None else n_threads
        self.n_threads = self.ranks.threads(n_threads)
        self.epoch = self.step = self.passes = 0
        self._whole = 0  # samples of the batch of which a rank carries its states
        self.statistics = StepStatistics()
        backend = model.backend
        self.arena = backend.batch.Arena()
        self.updates = backend.optim.Updates(
            model.device_params,
            model.dtype,
            model.recurrent_layers,
            self.optimizer,
            self.clip_norm,
            self.clip_value,
            self.ema,
            self.n_threads,
        )
        self.ranks.begin(self)

    @property
    def state(self) -> Any:
        """States carried into the next batch."""
        return self.updates.state

    @state.setter
    def state(self, state: Any) -> Any:
        samples, self._whole = inputs.carried_samples(state), 0
        self.updates.set_state(self.model.check_state(state, samples), samples)

    # One batch

    def train_batch(self, batch: Batch) -> tuple[float, float]:
        """Do one optimizer step for a batch, or one for each of its chunks under `tbptt`.

        With `accumulate` a step is done after that many batches or chunks; `flush` does one for the rest.

        Returns
        -------
        loss, weight : float
            Mean loss over the valid steps, and their summed weight.

        Raises
        ------
        DivergedError
            If loss, gradient or new weights are not finite; the weights are those of the step before. (Where the new weights were
            not, the optimizer's arrays have seen the gradient.)
        """
        total = weight = 0.0
        for chunk in self._chunks(batch):
            loss, count = self._train_chunk(chunk)
            total += loss * count
            weight += count
        loss, count = self.synchronize()
        total += loss * count
        weight += count
        return (total / weight if weight else 0.0), weight

    def synchronize(self) -> tuple[float, float]:
        """Return mean loss and weight of the chunks that are done and that no return value has told yet.

        Raises
        ------
        DivergedError
            If one of them diverged.
        """
        losses, records = self.updates.read()
        for done, record in enumerate(records):
            if not record.ok:
                self.step -= len(records) - done  # they have changed nothing
                raise self.diverged(record.loss, record.norm)
            self.statistics.add(record.norm, record.clipped, record.ratio)
        if len(losses) == 1:
            return losses[0]
        weight = sum(weight for _, weight in losses)
        return (sum(loss * part for loss, part in losses) / weight if weight else 0.0), weight

    def _train_chunk(self, batch):
        """Return (mean loss, weight) of the chunks that were read since the last call, (0, 0) where none was."""
        model, backend = self.model, self.model.backend
        model.loss = self.loss
        # Every pass of every rank has dropout masks of its own.
        call = self._call(
            keep=True, training=True, seed=self.seed, step=self.passes * self.ranks.size + self.ranks.rank
        )
        gradient = call.vector(model.params.size)
        with self.ranks.own_work():
            if len(batch.x) or self.ranks.size == 1:
                array, layout = inputs.check(batch.x, model.signals[0], batch.lengths)
                state, samples = (
                    self._going_on(self.updates.carried, self.updates.samples, batch, layout.samples),
                    layout.samples,
                )
                with naming("y", "target"):
                    loss, final, weight = model.differentiate(
                        call,
                        array,
                        layout,
                        batch.y,
                        self.loss,
                        state,
                        gradient,
                        "mean",
                        batch.sample_weight,
                        self.memory_limit,
                    )
            else:  # fewer samples than ranks
                gradient[...], loss, final, weight, samples = 0, 0.0, None, 0.0, 0
        loss, weight = self.ranks.reduce(loss, gradient, weight)
        self.updates.note(loss, weight)
        if self.accumulate == 1:
            self.updates.step(call, loss, gradient, self.step + 1, self.learning_rate, self._due)
            self.step += 1
        else:
            self.updates.add(loss, gradient, weight)
            if self.pending.count == self.accumulate:
                self.flush(call)
        self.passes += 1
        self.updates.hold(final, samples)
        return self.synchronize() if self.updates.waiting[0] == backend.optim.READ_EVERY else (0.0, 0.0)

    def _call(self, **options):
        self.arena.reset()
        model = self.model
        return model.backend.batch.Call(model.dtype, self.n_threads, arena=self.arena, **options)

    @property
    def _due(self):
        """Whether the update of the next step is to be measured."""
        return self.statistics.due(self.updates.waiting[1])

    def flush(self, call: Any = None) -> None:
        """Do the optimizer step for the batches that `accumulate` has gathered, if there are any."""
        if self.pending.count:
            self.updates.flush(call or self._call(), self.step + 1, self.learning_rate, self._due)
            self.step += 1

    def diverged(self, loss: Any, length: Any) -> DivergedError:
        """Return the error that the next step raises, with its loss and the norm of its gradient."""
        return DivergedError(
            f"loss {loss} and gradient norm {length} at step {self.step + 1} of epoch {self.epoch + 1}, learning rate "
            f"{self.learning_rate:g}: training diverged; try a smaller learning rate, clip_norm, or scaled inputs (the weights are "
            "those before this step)"
        )

    @contextlib.contextmanager
    def averaged(self) -> Any:
        """Set the model to the average of the weights within a block, and back after it, whatever ends it.

        Without an average the model stays as it is.
        """
        if self.average is None:
            yield
            return
        weights = self.model.params.flat.copy()
        try:
            self.model.set_flat(self.average)
            yield
        finally:
            self.model.set_flat(weights)

    def follow(self, records: Any) -> None:
        """Let the schedule see the records of the history so far."""
        self._schedule = self.schedule.given(records)

    @property
    def learning_rate(self) -> float:
        """Learning rate of the next step."""
        return self.rate_at(self.step)

    def rate_at(self, step: int) -> float:
        """Return the learning rate of the step after `step` others, in this epoch.

        Parameters
        ----------
        step : int

        Returns
        -------
        float
        """
        return self.optimizer.learning_rate * self._schedule.factor(self.epoch, step)

    @staticmethod
    def _going_on(state, before, batch, samples):
        """Return the state in which a batch begins: that after the batch before it, of `before` samples, or None."""
        if not batch.keep_state or not state:
            return None
        inputs.check_carried(samples, before)
        return state

    def _chunks(self, batch):
        """Return a batch, of which a rank has its share, cut along its steps under `tbptt`."""
        with self.ranks.own_work():
            share = self.ranks.share(batch)
            if (
                self.ranks.size > 1
            ):  # whose shares can be as large as before, or without states, where the batch is another
                before, self._whole = self._whole or len(batch.x), len(batch.x)
                self._going_on(self.updates.carried, before, batch, len(batch.x))
            return list(self._cut(share))

    def _cut(self, batch):
        steps = np.shape(batch.x)[1] if np.ndim(batch.x) > 1 else 0
        if self.tbptt is None or steps <= self.tbptt:
            yield batch
            return
        x, y, weight = np.asarray(batch.x), np.asarray(batch.y), batch.sample_weight
        whole = check_lengths(batch.lengths, len(x), steps)
        if y.ndim < 2 or y.shape[1] != steps or not self.model.signals[-1].sequence:
            raise ShapeError(f"tbptt needs targets for every one of {steps} steps, got y of shape {y.shape}")
        weight = None if weight is None else np.asarray(weight)
        for first in range(0, steps, self.tbptt):
            part = slice(first, first + self.tbptt)
            lengths = None if whole is None else np.clip(whole - first, 0, min(self.tbptt, steps - first))
            cut = weight[:, part] if weight is not None and weight.ndim == 2 else weight
            yield Batch(x[:, part], y[:, part], lengths, cut, keep_state=batch.keep_state or first > 0)

    def evaluate(self, source: Any) -> float:
        """Return the mean loss over the valid steps of a source, without dropout.

        Parameters
        ----------
        source : source or (x, y) tuple

        Raises
        ------
        ShapeError
            If no step counts.
        """
        model, backend = self.model, self.model.backend
        losses, state, other, before, counted = backend.optim.LossSum(model.dtype), None, None, 0, 0.0
        with self.ranks.own_work():
            for whole in batches_of(make_source(source, shuffle=False), seeds.generator(self.seed, "evaluation")):
                call, batch = self._call(), self.ranks.share(whole)
                if self.ranks.size > 1 and len(batch.x) == 0:
                    continue
                array, layout = inputs.check(batch.x, model.signals[0], batch.lengths)
                start = self._going_on(state, before, batch, len(whole.x))
                with naming("y", "target"):
                    loss, final, weight = model.evaluate_rows(
                        call, array, layout, batch.y, self.loss, start, batch.sample_weight, self.memory_limit
                    )
                losses.add(loss, weight)
                counted += weight
                state, other, before = backend.batch.hold_states(final, other, model.dtype), state, len(whole.x)
        mean, counted = self.ranks.mean(losses.mean() if counted else 0.0, counted)
        if not counted:
            raise no_steps()
        return mean


def _optimizer(optimizer, learning_rate):
    """Return an optimizer for the arguments; raise ValueError for a learning rate beside an object, which has its own."""
    if learning_rate is not None and isinstance(optimizer, Optimizer):
        raise ValueError(
            f"learning_rate must be left out with an optimizer object, which has its own: {type(optimizer).__name__}"
            f"(learning_rate={brief(learning_rate)}); or pass optimizer by name, {type(optimizer).__name__.lower()!r}"
        )
    if learning_rate is not None and check_real(learning_rate, "learning_rate") < 0:
        raise ValueError(f"learning_rate must not be negative, got {brief(learning_rate)}")
    return optimizer_with(optimizer, default_rate(optimizer, learning_rate))


def no_steps() -> ShapeError:
    """Return the error of a source from which nothing can be learned or told."""
    return ShapeError(
        "source has no steps that count: it has no batches, or in all of them targets are ignored, lengths 0 or weights 0"
    )
