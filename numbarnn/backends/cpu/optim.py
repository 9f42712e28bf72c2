"""Optimizer steps: what a training run keeps beside the parameters, and how it changes them."""

import math

import numpy as np

from numbarnn.optim import StepRecord, blend, clip_by_norm, clip_by_value, norm

# Chunks between two readings of losses and norms.
READ_EVERY = 1


class Pending:
    """Losses and gradients of several batches, which become those of the one batch that they are parts of.

    Attributes
    ----------
    count : int
        Batches added.
    loss, weight : float
        Sums of the loss times its weight, and of the weight.
    gradient : array or None
        Sum of the gradients times their weights.
    """

    def __init__(self):
        self.gradient = None
        self.clear()

    def clear(self) -> None:
        """Forget what was added."""
        self.count, self.loss, self.weight = 0, 0.0, 0.0

    def add(self, loss: float, gradient: np.ndarray, weight: float, n_threads: int = 1) -> None:
        """Add a batch by its mean loss, the gradient of that, and the weight that the mean was divided by."""
        if self.gradient is None:
            self.gradient = np.zeros_like(gradient)
        if self.count == 0:
            self.gradient[...] = 0
        blend(self.gradient, gradient, 1.0, weight, n_threads)
        self.count += 1
        self.loss += loss * weight
        self.weight += weight

    def take(self, n_threads: int = 1) -> tuple[float, np.ndarray]:
        """Return the mean loss of all that was added, and its gradient, which the next `add` overwrites; forget them."""
        part = 1.0 / self.weight if self.weight else 0.0
        blend(self.gradient, self.gradient, part, 0.0, n_threads)
        loss = self.loss * part
        self.clear()
        return loss, self.gradient


class Updates:
    """The optimizer's arrays, the average of the weights, gathered gradients and carried states of a run; its steps.

    Parameters
    ----------
    params : Params
    dtype : dtype
    layers : list of Layer
        Those with states.
    optimizer : numbarnn.optim.Optimizer
    clip_norm, clip_value : float or None
    average : EMA or None
    n_threads : int

    Attributes
    ----------
    arrays : list of arrays
        The optimizer's.
    average : array or None
        The average of the weights.
    state : tuple or None
        States carried into the next batch.
    pending : Pending
    """

    def __init__(
        self, params, dtype, layers, optimizer, clip_norm=None, clip_value=None, average=None, n_threads: int = 1
    ):
        self._params, self._optimizer, self._n_threads = params, optimizer, n_threads
        self._clip_norm, self._clip_value, self._ema = clip_norm, clip_value, average
        self.arrays, self.average = optimizer.start(params.flat.size, dtype), None
        self.carried, self.samples, self.pending = None, 0, Pending()
        # What has a larger norm overflows in the squares of a moment.
        self._most = math.sqrt(np.finfo(dtype).max)
        self._losses, self._records = [], []

    @property
    def state(self):
        """States carried into the next batch, as the host has them."""
        return self.carried

    def set_state(self, state, samples: int) -> None:
        """Set the carried states from checked ones of the host's, of that many samples."""
        self.carried, self.samples = state, samples

    def hold(self, final, samples: int) -> None:
        """Carry the final states of a batch into the next."""
        self.carried, self.samples = final, samples

    def note(self, loss: float, weight: float) -> None:
        """Keep the loss of a chunk until `read`."""
        self._losses.append((loss, weight))

    @property
    def waiting(self) -> tuple[int, int]:
        """Number of chunks and of steps since the last `read`."""
        return len(self._losses), len(self._records)

    def read(self) -> tuple[list[tuple[float, float]], list[StepRecord]]:
        """Return (loss, weight) of every chunk and the record of every step since the last call."""
        found = self._losses, self._records
        self._losses, self._records = [], []
        return found

    def flush(self, call, number: int, rate: float, measure: bool) -> None:
        """Do the step for what is pending."""
        self.step(call, *self.pending.take(self._n_threads), number, rate, measure)

    def add(self, loss: float, gradient: np.ndarray, weight: float) -> None:
        """Gather the loss and gradient of a chunk."""
        self.pending.add(loss, gradient, weight, self._n_threads)

    def step(self, call, loss: float, gradient: np.ndarray, number: int, rate: float, measure: bool) -> None:
        """Do an optimizer step and keep its record; one whose loss, gradient or weights are not finite changes no weight.

        Parameters
        ----------
        number : int
            1 for the first step.
        rate : float
            Learning rate.
        measure : bool
            Whether to measure the update against the weights.
        """
        length = clipped = norm(gradient)
        if math.isfinite(loss) and math.isfinite(length):
            clipped = self._clip(gradient, length)
            ok, ratio = self._update(gradient, number, rate, measure) if clipped <= self._most else (False, None)
        else:
            ok, ratio = False, None
        self._records.append(StepRecord(loss, length, clipped, ok, ratio))

    def _clip(self, gradient, length):
        """Clip the gradient and return its norm."""
        clipped = length
        if self._clip_norm is not None:
            clip_by_norm(gradient, self._clip_norm, length)
            clipped = min(length, self._clip_norm)
        if self._clip_value is not None:
            before = norm(gradient)
            clip_by_value(gradient, self._clip_value)
            after = norm(gradient)
            clipped = after if after != before else clipped
        return clipped

    def _update(self, gradient, number, rate, measure):
        """Change the weights; return (whether they are finite, norm of the update / norm of the weights or None)."""
        # Copy and norm cost 5 % of an update, which costs 8 % of a step of a 2 x 128 LSTM.
        old = self._params.flat.copy()
        with self._params.writing() as flat:
            self._optimizer.update(flat, gradient, self.arrays, number, rate, self._n_threads)
            if not norm(flat) <= self._most:
                flat[...] = old
                return False, None
            if self._ema is not None:
                if self.average is None:
                    self.average = flat.copy()
                else:
                    blend(self.average, flat, self._ema.decay, 1.0 - self._ema.decay, self._n_threads)
        return True, _update_ratio(old, self._params.flat) if measure else None


def _update_ratio(old, new):
    """Return the norm of new - old over that of old, 0 where all weights were zero; `old` is overwritten."""
    size = norm(old)
    with np.errstate(over="ignore", invalid="ignore"):  # weights that diverge are found by their loss
        np.subtract(new, old, out=old)
    return norm(old) / size if size else 0.0


class LossSum:
    """The weighted mean of losses."""

    def __init__(self, dtype):
        self._sum = self._weight = 0.0

    def add(self, loss: float, weight: float) -> None:
        """Add the mean loss of a batch by its weight."""
        self._sum += loss * weight
        self._weight += weight

    def mean(self) -> float:
        """Return the mean; NaN of nothing."""
        return self._sum / self._weight if self._weight else math.nan
