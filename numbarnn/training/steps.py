"""One batch in, one optimizer step out: what a trainer does between the loops over data. Nothing here knows a layer."""

import contextlib
import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from numbarnn import inputs, parallel
from numbarnn.backends.cpu.batch import Call, to_rows
from numbarnn.checks import check_lengths, check_seed
from numbarnn.data.batches import Batch, batches_of, make_source
from numbarnn.errors import DivergedError, ShapeError
from numbarnn.kernels.cpu.memory import Arena
from numbarnn.losses.base import make_loss
from numbarnn.network.network import Network
from numbarnn.optim import Schedule, clip_by_norm, clip_by_value, make_optimizer, norm
from numbarnn.training.average import Accumulator, blend, make_average
from numbarnn.training.history import Measures


@dataclass
class _Here:
    """A training run's arrays in the host's memory; `numbarnn.backends.cuda.training.There` has the same on a device."""

    arrays: list
    average: np.ndarray | None = None
    state: tuple | None = None
    pending: Accumulator = field(default_factory=Accumulator)


def _kept(name):
    """Return a property for an array of the run: on a device, a copy of it is read, and it is written there."""
    return property(lambda run: getattr(run.kept, name), lambda run, value: setattr(run.kept, name, value))


class Steps:
    """The steps of a training run and the state they leave; documented as `numbarnn.Trainer`."""

    arrays, average, state, pending = map(_kept, ("arrays", "average", "state", "pending"))

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
        accumulate: int = 1,
        average: Any = None,
        seed: int = 0,
        n_threads: int | None = None,
    ):
        self.model, self.loss, self.optimizer = model, make_loss(loss), make_optimizer(optimizer)
        self.schedule = Schedule() if schedule is None else schedule
        if not isinstance(self.schedule, Schedule):
            raise TypeError(f"schedule must be a numbarnn.optim.Schedule, got {schedule!r}")
        for name, value in (("clip_norm", clip_norm), ("clip_value", clip_value)):
            if value is not None and not (isinstance(value, (int, float, np.number)) and 0 < value < math.inf):
                raise ValueError(f"{name} must be a positive number or None, got {value!r}")
        if tbptt is not None and (isinstance(tbptt, bool) or not isinstance(tbptt, (int, np.integer)) or tbptt < 1):
            raise ValueError(f"tbptt must be a positive number of steps or None, got {tbptt!r}")
        if tbptt is not None and not self.loss.by_step:
            raise ValueError(
                f"tbptt cuts sequences into chunks, and the loss {self.loss.name} is that of a whole sequence"
            )
        if tbptt is not None and any(getattr(layer, "bidirectional", False) for layer in model.layers):
            raise ValueError(
                "tbptt cuts sequences into chunks, and the reverse direction of a bidirectional layer would begin anew at the end "
                "of each; leave tbptt out, or use layers of one direction"
            )
        if isinstance(accumulate, bool) or not isinstance(accumulate, (int, np.integer)) or accumulate < 1:
            raise ValueError(f"accumulate must be a positive number of batches, got {accumulate!r}")
        # Python's numbers, which a checkpoint holds.
        limits = (value.item() if isinstance(value, np.generic) else value for value in (clip_norm, clip_value, tbptt))
        (self.clip_norm, self.clip_value, self.tbptt), self.accumulate = limits, int(accumulate)
        self.ema = make_average(average)
        self.seed = check_seed(seed)
        self.n_threads = parallel.check_threads(model.n_threads if n_threads is None else n_threads)
        self.epoch = self.step = self.passes = 0
        self.measures = Measures()
        self.arena = Arena()
        # What has a larger norm overflows in the squares of a moment.
        self._most = math.sqrt(np.finfo(model.dtype).max)
        arrays = self.optimizer.start(model.params.flat.size, model.dtype)
        if model.engine is None:
            self.there, self.kept = None, _Here(arrays)
        else:
            from numbarnn.backends.cuda.training import There

            self.there = self.kept = There(self, model.engine, arrays)

    # One batch

    def train_batch(self, batch: Batch) -> tuple[float, float]:
        """Do one optimizer step for a batch, or one for each of its chunks under `tbptt`.

        With `accumulate` the steps come when so many batches or chunks have been seen; `flush` does one for the rest.

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
        loss, count = self.settle()
        total += loss * count
        weight += count
        return (total / weight if weight else 0.0), weight

    def settle(self) -> tuple[float, float]:
        """Return mean loss and weight of the chunks that a device has done and that no return value has told yet.

        Raises
        ------
        DivergedError
            If one of them diverged.
        """
        return (0.0, 0.0) if self.there is None else self.there.settle()

    def _train_chunk(self, batch):
        """Return (mean loss, weight) of a chunk; on a device, of those that were read since, (0, 0) where none was."""
        self.model.loss = self.loss
        if self.there is not None:
            return self.there.train_chunk(batch)
        model = self.model
        self.arena.reset()
        call = Call(
            model.dtype, self.n_threads, keep=True, training=True, seed=self.seed, step=self.passes, arena=self.arena
        )
        rows, layout = to_rows(call, batch.x, model.signals[0], batch.lengths)
        state = self._carried(batch, layout.samples)
        gradient = call.empty((model.params.flat.size,))
        loss, final, weight = model.differentiate(
            call, rows, layout, batch.y, self.loss, state, gradient, "mean", batch.sample_weight
        )
        if self.accumulate == 1:
            self._step(loss, gradient)
        else:
            self.pending.add(loss, gradient, weight, self.n_threads)
            if self.pending.count == self.accumulate:
                self.flush()
        self.passes += 1
        self.state = final
        return loss, weight

    def flush(self) -> None:
        """Do the optimizer step for the batches that `accumulate` has gathered, if there are any."""
        if self.there is not None:
            self.there.flush()
        elif self.pending.count:
            self._step(*self.pending.take(self.n_threads))

    def _step(self, loss, gradient):
        length = norm(gradient)
        if not (math.isfinite(loss) and math.isfinite(length)):
            raise self.diverged(loss, length)
        clipped = length
        if self.clip_norm is not None:
            clip_by_norm(gradient, self.clip_norm, length)
            clipped = min(length, self.clip_norm)
        if self.clip_value is not None:
            before = norm(gradient)
            clip_by_value(gradient, self.clip_value)
            after = norm(gradient)
            clipped = after if after != before else clipped
        if clipped > self._most:
            raise self.diverged(loss, length)
        # Copy and norm cost 5 % of an update, which costs 8 % of a step of a 2 x 128 LSTM.
        old = self.model.params.flat.copy()
        with self.model.params.writing() as flat:
            self.optimizer.update(flat, gradient, self.arrays, self.step + 1, self.learning_rate, self.n_threads)
            if not norm(flat) <= self._most:
                flat[...] = old
                raise self.diverged(loss, length)
            if self.ema is not None:
                if self.average is None:
                    self.average = flat.copy()
                else:
                    blend(self.average, flat, self.ema.decay, 1.0 - self.ema.decay, self.n_threads)
        ratio = _update_ratio(old, self.model.params.flat) if self.measures.due else None
        self.measures.add(length, clipped, ratio)
        self.step += 1

    def diverged(self, loss, length) -> DivergedError:
        """Return the error for the next step."""
        return DivergedError(
            f"loss {loss} and gradient norm {length} at step {self.step + 1} of epoch {self.epoch + 1}, learning rate "
            f"{self.learning_rate:g}: training diverged; try a smaller learning rate, clip_norm, or scaled inputs (the weights are "
            "those before this step)"
        )

    @contextlib.contextmanager
    def averaged(self):
        """Hold the average of the weights in the model for the length of a block, whatever ends it.

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

    @property
    def learning_rate(self) -> float:
        """Learning rate of the next step."""
        return self.optimizer.learning_rate * self.schedule.factor(self.epoch, self.step)

    def _carried(self, batch, samples):
        return self._going_on(self.state, batch, samples)

    def _going_on(self, state, batch, samples):
        """Return the state in which a batch begins: what the batch before it left, or None."""
        if not batch.keep_state or not state:
            return None
        inputs.check_carried(samples, inputs.carried_samples(state))
        return self.model.check_state(state, samples)

    def _chunks(self, batch):
        """Cut a batch along its steps under `tbptt`."""
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

    def evaluate(self, source) -> float:
        """Return the mean loss over the valid steps of a source, without dropout.

        Parameters
        ----------
        source : source or (x, y) tuple
        """
        if self.there is not None:
            return self.there.evaluate(source)
        call = Call(self.model.dtype, self.n_threads, arena=self.arena)
        total = weight = 0.0
        state = None
        for batch in batches_of(make_source(source, shuffle=False), np.random.default_rng(self.seed)):
            self.arena.reset()
            rows, layout = to_rows(call, batch.x, self.model.signals[0], batch.lengths)
            start = self._going_on(state, batch, layout.samples)
            loss, state, count = self.model.evaluate_rows(
                call, rows, layout, batch.y, self.loss, start, batch.sample_weight
            )
            total += loss * count
            weight += count
        return total / weight if weight else math.nan


def _update_ratio(old, new):
    """Return the norm of new - old over that of old, 0 where all weights were zero; `old` is overwritten."""
    size = norm(old)
    with np.errstate(over="ignore", invalid="ignore"):  # weights that diverge are found by their loss
        np.subtract(new, old, out=old)
    return norm(old) / size if size else 0.0
