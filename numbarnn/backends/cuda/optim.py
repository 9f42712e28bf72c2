"""Optimizer steps on a device: gradients, arrays and averages stay there, and so do losses until they are read."""

import math

import numpy as np

from numbarnn.backends.cuda.batch import Call, download_states, hold_states, upload_states
from numbarnn.checks import check_flat
from numbarnn.errors import ShapeError
from numbarnn.kernels.cuda import layout as moves
from numbarnn.kernels.cuda import optim
from numbarnn.kernels.cuda.memory import Buffer, empty, upload
from numbarnn.optim import StepRecord

# Chunks between two readings of losses and norms, which wait for the device. Every reading is one copy.
READ_EVERY = 16
# The status before the first step; see `numbarnn.kernels.cuda.optim.check_step`.
START = np.array([1, 1, 0, 0])


class Pending:
    """`numbarnn.backends.cpu.optim.Pending` on a device."""

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


class Updates:
    """What `numbarnn.backends.cpu.optim.Updates` keeps, on a device."""

    def __init__(
        self, params, dtype, layers, optimizer, clip_norm=None, clip_value=None, average=None, n_threads: int = 1
    ):
        if not hasattr(optim, optimizer.kernel):
            raise ValueError(
                f'{optimizer!r} has no kernel for CUDA ({optimizer.kernel}); use device="cpu", or another optimizer'
            )
        self._params, self._optimizer, self._dtype = params, optimizer, np.dtype(dtype)
        self._clip_norm, self._clip_value, self._ema = clip_norm, clip_value, average
        self._size = params.flat.size
        self._like = np.empty(self._size, dtype)
        self._arrays = [upload(array) for array in optimizer.start(self._size, dtype)]
        self._average = None
        self.carried, self.samples, self._other, self._layers = None, 0, None, layers
        self.pending = Pending(self._like)
        # factor, ok, norm, spare; and of each step since the last reading: loss, norm, ok. The second log is of clipped gradients.
        self._status, self._log = empty(4, dtype).set(START), empty(3 * READ_EVERY, dtype)
        self._status_after, self._log_after = empty(4, dtype).set(START), empty(3 * READ_EVERY, dtype)
        self._losses, self._ratio = empty(READ_EVERY, dtype), empty(2, dtype)
        self._weights, self._steps, self._measured = [], 0, None

    # The arrays as the host sees them

    @property
    def arrays(self) -> list[np.ndarray]:
        """Copies of the optimizer's arrays."""
        return [array.get() for array in self._arrays]

    @arrays.setter
    def arrays(self, values):
        if len(values) != self._optimizer.arrays:
            raise ShapeError(
                f"arrays must be {self._optimizer.arrays}, as the optimizer's start returns them, got {len(values)}"
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
        return None if self.carried is None else download_states(self._layers, self.carried, self.samples)

    def set_state(self, state, samples: int) -> None:
        """Set the carried states from checked ones of the host's."""
        self.carried, self.samples = upload_states(state), samples

    def hold(self, final, samples: int) -> None:
        """Carry the final states of a batch into the next, whose pass reads them: two sets of buffers take turns."""
        self.carried, self._other = hold_states(final, self._other, self._dtype), self.carried
        self.samples = samples

    # Losses and steps

    def note(self, loss: Buffer, weight: float) -> None:
        """Keep the loss of a chunk until `read`."""
        self._losses.part(len(self._weights), 1).copy(loss)
        self._weights.append(weight)

    @property
    def waiting(self) -> tuple[int, int]:
        """Number of chunks and of steps since the last `read`."""
        return len(self._weights), self._steps

    def read(self) -> tuple[list[tuple[float, float]], list[StepRecord]]:
        """Return (loss, weight) of every chunk and the record of every step since the last call."""
        weights, steps = self._weights, self._steps
        if not weights and not steps:
            return [], []
        losses = self._losses.get()[: len(weights)].astype(np.float64)
        log = self._log.get().reshape(READ_EVERY, 3)[:steps].astype(np.float64)
        after = self._log_after.get().reshape(READ_EVERY, 3)[:steps, 1] if self._clip_value is not None else log[:, 1]
        ratio = None if self._measured is None else np.sqrt(self._ratio.get().astype(np.float64))
        records = []
        for slot, (loss, length, ok) in enumerate(log.tolist()):
            clipped = float(after[slot])
            if self._clip_value is None and self._clip_norm is not None:
                clipped = min(length, self._clip_norm)
            measured = None
            if slot == self._measured:
                measured = float(ratio[0] / ratio[1]) if ratio[1] else 0.0
            records.append(StepRecord(loss, length, clipped, bool(ok), measured))
            if not ok:
                self._status.set(START)
                self._status_after.set(START)
        self._weights, self._steps, self._measured = [], 0, None
        return list(zip(losses.tolist(), weights, strict=True)), records

    def add(self, loss: Buffer, gradient: Buffer, weight: float) -> None:
        """Gather the loss and gradient of a chunk."""
        self.pending.add(loss, gradient, weight)

    def flush(self, call: Call, number: int, rate: float, measure: bool) -> None:
        """Do the step for what is pending."""
        self.step(call, *self.pending.take(), number, rate, measure)

    def step(self, call: Call, loss: Buffer, gradient: Buffer, number: int, rate: float, measure: bool) -> None:
        """Do an optimizer step; after one whose loss, gradient or weights are not finite, no step does anything until `read`."""
        slot, flat = self._steps, self._params.flat
        squares = optim.sum_of_squares(call.arena, gradient, self._size)
        optim.check_step(self._status, self._log, slot, loss, squares, self._clip_norm or 0.0)
        if self._clip_norm is not None or self._clip_value is not None:
            optim.clip(gradient, self._size, self._status, self._clip_value or 0.0)
        if self._clip_value is not None:
            squares = optim.sum_of_squares(call.arena, gradient, self._size)
            optim.check_step(self._status_after, self._log_after, slot, loss, squares, 0.0)
        old = call.vector(self._size).copy(flat)
        update, numbers = self._optimizer.kernel, self._optimizer.coefficients(number, rate)
        getattr(optim, update)(flat, gradient, *self._arrays, *numbers, self._size, self._status)
        squares = optim.sum_of_squares(call.arena, flat, self._size)
        optim.undo(flat, old, self._size, squares, self._status, self._log, slot)
        if self._ema is not None:
            if self._average is None:
                self._average = empty(self._size, self._dtype).copy(flat)
            else:
                decay = self._ema.decay
                optim.blend(self._average, flat, decay, 1.0 - decay, self._size, self._status)
        if measure:
            self._ratio.copy(optim.difference_norms(call.arena, old, flat, self._size))
            self._measured = slot
        self._params.changed()
        self._steps += 1


class LossSum:
    """The weighted mean of losses that stay on the device until it is asked for."""

    def __init__(self, dtype):
        self._sum, self._weight = upload(np.zeros(1, dtype)), 0.0

    def add(self, loss: Buffer, weight: float) -> None:
        """Add the mean loss of a batch by its weight."""
        optim.blend(self._sum, loss, 1.0, weight, 1)
        self._weight += weight

    def mean(self) -> float:
        """Return the mean; NaN of nothing."""
        return float(self._sum.get()[0]) / self._weight if self._weight else math.nan
