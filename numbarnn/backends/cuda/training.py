"""A training run's steps on a device: gradients, optimizer and averages stay there, and so does the loss until it is read."""

import math

import numpy as np

from numbarnn import inputs
from numbarnn.backends.cuda import losses
from numbarnn.backends.cuda.batch import Call
from numbarnn.checks import check_flat
from numbarnn.data.batches import batches_of, make_source
from numbarnn.errors import ShapeError
from numbarnn.kernels.cuda import layout as moves
from numbarnn.kernels.cuda import optim
from numbarnn.kernels.cuda.memory import Arena, Buffer, empty, upload

# Steps between two readings of the loss, which wait for the device. Every reading is one copy.
EVERY = 16
# The status before the first step; see `numbarnn.kernels.cuda.optim.judge`.
START = np.array([1, 1, 0, 0])


class _Pending:
    """`numbarnn.training.average.Accumulator` on a device."""

    def __init__(self, like):
        self._like, self._size, self._dtype = like, like.size, like.dtype
        self.sums = self.total = None
        self.clear()

    def clear(self):
        self.count, self.weight = 0, 0.0

    def add(self, loss: Buffer, gradient: Buffer, weight: float):
        if self.sums is None:
            self.sums, self.total = empty(self._size, self._dtype), empty(1, self._dtype)
        if self.count == 0:
            moves.fill(self.sums, 0.0)
            moves.fill(self.total, 0.0)
        optim.blend(self.sums, gradient, 1.0, weight, self._size)
        optim.blend(self.total, loss, 1.0, weight, 1)
        self.count += 1
        self.weight += weight

    def take(self):
        part = 1.0 / self.weight if self.weight else 0.0
        optim.scale(self.sums, self._size, part)
        optim.scale(self.total, 1, part)
        self.clear()
        return self.total, self.sums

    # As the host sees them, for checkpoints

    @property
    def loss(self) -> float:
        return float(self.total.get()[0]) if self.count else 0.0

    @loss.setter
    def loss(self, value):
        self.total = upload(np.array([value], self._dtype))

    @property
    def gradient(self):
        return None if self.sums is None else self.sums.get()

    @gradient.setter
    def gradient(self, values):
        self.sums = None if values is None else upload(check_flat(values, "gradient", self._like, writable=False))


class There:
    """What `numbarnn.training.steps.Steps` keeps of a run, on a device.

    Parameters
    ----------
    run : Steps
        Has the settings and the counters.
    engine : Engine
    arrays : list of arrays
        The optimizer's, before the first step.
    """

    def __init__(self, run, engine, arrays):
        self.run, self.engine = run, engine
        self.size, self.dtype = engine.flat.size, engine.dtype
        self._like = np.empty(self.size, self.dtype)
        self._arrays = [upload(array) for array in arrays]
        self._average = None
        self._state, self._other, self._samples = None, None, 0
        self.pending = _Pending(self._like)
        self.arena = Arena()
        # factor, ok, norm, spare; and of each step since the last reading: loss, norm, ok. The second log is of clipped gradients.
        self.status, self.log = empty(4, self.dtype).set(START), empty(3 * EVERY, self.dtype)
        self.status_after, self.log_after = empty(4, self.dtype).set(START), empty(3 * EVERY, self.dtype)
        self.losses, self.ratio = empty(EVERY, self.dtype), empty(2, self.dtype)
        self._weights, self._steps = [], 0

    # The arrays as the host sees them

    @property
    def arrays(self) -> list[np.ndarray]:
        """Copies of the optimizer's arrays."""
        return [array.get() for array in self._arrays]

    @arrays.setter
    def arrays(self, values):
        if len(values) != self.run.optimizer.arrays:
            raise ShapeError(
                f"arrays must be {self.run.optimizer.arrays}, as the optimizer's start returns them, got {len(values)}"
            )
        checked = (check_flat(a, f"arrays[{n}]", self._like, writable=False) for n, a in enumerate(values))
        self._arrays = [upload(array) for array in checked]

    @property
    def average(self) -> np.ndarray | None:
        """A copy of the average of the weights."""
        return None if self._average is None else self._average.get()

    @average.setter
    def average(self, values):
        self._average = None if values is None else upload(check_flat(values, "average", self._like, writable=False))

    @property
    def state(self):
        """Copies of the states carried into the next batch."""
        return None if self._state is None else self.engine.download_states(self._state, self._samples)

    @state.setter
    def state(self, values):
        self._samples = inputs.carried_samples(values)
        self._state = self.engine.upload_states(self.run.model.check_state(values, self._samples))

    # Steps

    def train_chunk(self, batch) -> tuple[float, float]:
        """Do the step of a chunk; return (mean loss, weight) of the chunks that are read now, (0, 0) where none is."""
        run, engine = self.run, self.engine
        self.arena.reset()
        call = Call(self.dtype, keep=True, training=True, seed=run.seed, step=run.passes, arena=self.arena)
        rows, geometry = engine.rows(call, batch.x, batch.lengths)
        state = None
        if batch.keep_state and self._state:
            inputs.check_carried(geometry.samples, self._samples)
            state = self._state
        gradient = call.empty(self.size)
        loss, final, weight = engine.differentiate(
            call, rows, geometry, batch.y, run.loss, state, gradient, "mean", batch.sample_weight
        )
        self.losses.part(len(self._weights), 1).copy(loss)
        self._weights.append(weight)
        if run.accumulate == 1:
            self._step(call, loss, gradient)
        else:
            self.pending.add(loss, gradient, weight)
            if self.pending.count == run.accumulate:
                self.flush()
        run.passes += 1
        # The arena is taken back before the next chunk, which reads these: two sets of buffers take turns.
        self._state, self._other = self._held(final, self._other), self._state
        self._samples = geometry.samples
        return self.settle() if len(self._weights) == EVERY else (0.0, 0.0)

    def _held(self, final, buffers):
        """Return copies of final states, in `buffers` where those fit."""
        if buffers is None or [b.size for b in buffers] != [f.size for f in final]:
            buffers = [empty(f.size, self.dtype) for f in final]
        return [b.copy(f) for b, f in zip(buffers, final, strict=True)]

    def flush(self) -> None:
        """Do the step for what was gathered."""
        if self.pending.count:
            self._step(Call(self.dtype, arena=self.arena), *self.pending.take())

    def _step(self, call, loss, gradient):
        run, engine, slot = self.run, self.engine, self._steps
        squares = optim.sum_of_squares(call.arena, gradient, self.size)
        optim.judge(self.status, self.log, slot, loss, squares, run.clip_norm or 0.0)
        if run.clip_norm is not None or run.clip_value is not None:
            optim.clip(gradient, self.size, self.status, run.clip_value or 0.0)
        if run.clip_value is not None:
            squares = optim.sum_of_squares(call.arena, gradient, self.size)
            optim.judge(self.status_after, self.log_after, slot, loss, squares, 0.0)
        flat = engine.weights()
        old = call.empty(self.size).copy(flat)
        update, numbers = run.optimizer.kernel, run.optimizer.coefficients(run.step + 1, run.learning_rate)
        getattr(optim, update)(flat, gradient, *self._arrays, *numbers, self.size, self.status)
        squares = optim.sum_of_squares(call.arena, flat, self.size)
        optim.undo(flat, old, self.size, squares, self.status, self.log, slot)
        if run.ema is not None:
            if self._average is None:
                self._average = empty(self.size, self.dtype).copy(flat)
            else:
                optim.blend(self._average, flat, run.ema.decay, 1.0 - run.ema.decay, self.size, self.status)
        if slot == 0:
            self.ratio.copy(optim.difference_norms(call.arena, old, flat, self.size))
        engine.changed()
        self._steps += 1
        run.step += 1

    def settle(self) -> tuple[float, float]:
        """Read the losses and norms of the chunks and steps since the last reading; return (mean loss, weight)."""
        run, weights, steps = self.run, self._weights, self._steps
        if not weights and not steps:
            return 0.0, 0.0
        found = self.losses.get()[: len(weights)].astype(np.float64)
        log = self.log.get().reshape(EVERY, 3)[:steps].astype(np.float64)
        after = self.log_after.get().reshape(EVERY, 3)[:steps, 1] if run.clip_value is not None else log[:, 1]
        ratio = self.ratio.get().astype(np.float64) if steps else None
        self._weights, self._steps = [], 0
        for slot, (loss, length, ok) in enumerate(log):
            if not ok:
                run.step -= steps - slot  # the device has not done them
                self.status.set(START)
                self.status_after.set(START)
                raise run.diverged(loss, length)
            clipped = float(after[slot])
            if run.clip_value is None and run.clip_norm is not None:
                clipped = min(length, run.clip_norm)
            size = math.sqrt(ratio[1])
            change = math.sqrt(ratio[0]) / size if size else 0.0
            run.measures.add(float(length), clipped, change if slot == 0 else None)
        weight = float(sum(weights))
        return (float(np.dot(found, weights)) / weight if weight else 0.0), weight

    def evaluate(self, source) -> float:
        """Return the mean loss of a source, without dropout."""
        run, engine = self.run, self.engine
        self.arena.reset()
        sums, whole, state, other, samples = upload(np.zeros(1, self.dtype)), 0.0, None, None, 0
        for batch in batches_of(make_source(source, shuffle=False), np.random.default_rng(run.seed)):
            self.arena.reset()
            call = Call(self.dtype, arena=self.arena)
            rows, geometry = engine.rows(call, batch.x, batch.lengths)
            start = state if batch.keep_state else None
            if start:
                inputs.check_carried(geometry.samples, samples)
            samples = geometry.samples
            out, out_geometry, final, _ = engine.forward(call, engine.weights(), rows, geometry, start)
            loss, _, weight = losses.value_and_gradient(
                call, run.loss, out, batch.y, out_geometry, "mean", batch.sample_weight
            )
            optim.blend(sums, loss, 1.0, weight, 1)
            whole += weight
            state, other = self._held(final, other), state
        return float(sums.get()[0]) / whole if whole else math.nan
