"""Learning while a sequence arrives: what a stream that learns keeps beside its state, and truncated back-propagation."""

import collections
import math
from typing import Any, NamedTuple

import numpy as np

from numbarnn import inputs
from numbarnn.backends.device import arithmetic_of
from numbarnn.checks import brief, check_finite, check_integer, check_real, naming, refuse_mask
from numbarnn.core.arrays import as_array
from numbarnn.core.layout import Layout
from numbarnn.errors import DivergedError, ShapeError
from numbarnn.losses.base import Loss, make_loss
from numbarnn.losses.cross_entropy import SoftmaxCrossEntropy
from numbarnn.losses.pointwise import PointwiseLoss
from numbarnn.optim import Optimizer, make_optimizer, norm

ONE = Layout.make(1, 1)
MISSING = "of a step without a target pass y_t=None"
FINITE = "advance without a target, y_t=None, or by step"


class Settings(NamedTuple):
    """What cannot change while a stream learns."""

    loss: Loss
    optimizer: Optimizer
    window: int | None


def checked_settings(model: Any, loss: Any, optimizer: Any, window: Any) -> Settings:
    """Return the settings of `Stream.learn`; raise unless the model can be trained with them step by step."""
    if model.device != "cpu":
        raise ValueError(
            f"learn is for models with device='cpu', got device={model.device!r}; save and load the model for the CPU"
        )
    if not model.params.size:
        raise ValueError("learn needs a model with parameters, this one has none")
    if loss is None and model.loss is None:
        raise ValueError("loss must be given, for example loss='mse': the model was not trained here, so none is known")
    loss = make_loss(model.loss if loss is None else loss)
    if not loss.by_step or loss.per_sample:
        raise ValueError(
            f"loss must be one of single steps, such as 'mse', got {loss.name!r}, which is that of a whole sequence"
        )
    if arithmetic_of(loss, model.backend.losses.LOSSES) is None:
        raise TypeError(f"{type(loss).__name__} has no arithmetic: derive it from a loss of numbarnn.losses")
    if isinstance(loss, PointwiseLoss):
        loss.count_targets(model.signals[-1].size)
    if isinstance(loss, SoftmaxCrossEntropy):
        loss._check_class_weight(model.signals[-1].size)
    optimizer = make_optimizer(optimizer)
    return Settings(loss, optimizer, None if window is None else check_integer(window, "window", 1, 10**6))


def check_same(before: Settings, now: Settings) -> None:
    """Raise ValueError where settings differ from those a stream learns with."""
    for name, old, new in zip(Settings._fields, before, now, strict=True):
        if old != new:
            raise ValueError(
                f"{name} must be that of the first call, {brief(old)}, got {brief(new)}; for another one begin a new stream, and "
                "restore the snapshot of this one"
            )


class Learner:
    """What all that learn have in common.

    Parameters
    ----------
    stream : numbarnn.network.stream.Stream
    settings : Settings

    Attributes
    ----------
    given : tuple
        The loss, optimizer and window that the stream's `learn` was called with last; the very same need no check.
    gradient : array
        Of the newest step with a target, flat.
    steps : int
        Optimizer steps.
    """

    def __init__(self, stream, settings):
        self._stream, self.settings, self.given = stream, settings, (self,) * 3  # no arguments are this
        model = self._model = stream.model
        self._size, self._sequence = model.signals[-1].size, model.signals[-1].sequence
        self.steps = 0
        self._given_rate, self._rate = None, settings.optimizer.learning_rate
        model.loss = settings.loss

    def _take_rate(self, learning_rate):
        """Take the learning rate of a call; None: the optimizer's."""
        rate = self.settings.optimizer.learning_rate
        if learning_rate is not None:
            rate = check_real(learning_rate, "learning_rate", 0.0)
            most = float(np.finfo(self._model.dtype).max)
            if rate > most:
                raise ValueError(
                    f"learning_rate must be at most {most:g}, the largest {self._model.dtype}, got {brief(rate)}"
                )
        self._given_rate, self._rate = learning_rate, rate

    def _checked_target(self, y_t):
        """Return the target of a step as an array and as kernels read it, (None, None) where there is none."""
        if y_t is None:
            return None, None
        refuse_mask(y_t, "y_t")
        # A copy: compiled code trusts what is checked, and another thread may refill the caller's.
        loss, array = self.settings.loss, as_array(y_t, "y_t").copy()
        expected = None
        if isinstance(loss, PointwiseLoss):
            count = loss.count_targets(self._size)
            expected = (
                f"({count},), one value per target" if array.shape != (count,) and (array.ndim or count > 1) else None
            )
        elif arithmetic_of(loss, self._model.backend.losses.LOSSES) == "SoftmaxCrossEntropy":
            shape = (self._size,) if array.dtype.kind == "f" else ()
            expected = (
                None if array.shape == shape else f"{shape}: a class, or floats, probabilities of {self._size} classes"
            )
        if expected:
            hint = "; take y_t[0]: a stream reads one sample" if array.shape[:1] == (1,) and array.ndim < 3 else ""
            raise ShapeError(f"y_t must have shape {expected}, got {array.shape}{hint}")
        if array.dtype.kind == "f":
            check_finite(array, "y_t", MISSING)
        with naming("y_t", "target"):
            rows, weights, _, _ = loss.prepare(self._size, 1, self._batch(array), ONE, self._model.dtype, "sum", None)
        return (array, rows) if not weights.size or weights[0] > 0 else (None, None)

    def _batch(self, array):
        """Return what belongs to one step as that of one sample, of one step where there are outputs of every step."""
        return array[None, None] if self._sequence else array[None]

    def _diverged(self, loss):
        """Return the error of a step that diverged."""
        return DivergedError(
            f"loss {loss} and gradient norm {norm(self.gradient)} after {self.steps} steps, learning rate {self._rate:g}: learning "
            "diverged; try a smaller learning_rate, or scaled inputs (the weights are those before this step, the state is that "
            "after it: reset the stream, or restore a snapshot)"
        )


class WindowLearner(Learner):
    """Truncated back-propagation through the last steps: BPTT(h; 1) of Williams and Peng."""

    def __init__(self, stream, settings):
        super().__init__(stream, settings)
        self._plain = stream._plan.enter
        model = self._model
        self._updates = model.backend.optim.Updates(
            model.device_params, model.dtype, model.recurrent_layers, settings.optimizer
        )
        self.gradient = None
        self._kept = sum(own.runs * own.count * own.width for own in stream._plan.states)
        self.restart()

    def restart(self) -> None:
        """Forget the steps: the state is that of a beginning."""
        # Of each step its input, and the states before it.
        self._past = collections.deque(maxlen=self.settings.window)

    def own(self, plan):
        """Return the plan that the stream's steps take."""
        return plan, plan.handle(self._stream._state)

    def enter(self, cells, handle, x, y) -> None:
        """Run a step, and remember it."""
        self._past.append((np.array(x), self._stream._state[: self._kept].copy()))
        self._plain(cells, handle, x, y)

    def learn(self, x_t, y_t, learning_rate) -> float:
        """Run a step and learn from it; see `Stream.learn`."""
        if learning_rate is not self._given_rate:
            self._take_rate(learning_rate)
        target, _ = self._checked_target(y_t)
        if target is not None and not self._model.signals[0].tokens:
            x_t = self._stream._converted(x_t)
            check_finite(x_t, "x_t", FINITE)
        y = self._stream.step(x_t)
        if target is None:
            return 0.0
        model, loss = self._model, self.settings.loss
        backend, states = model.backend.batch, self._stream._plan.read(self._past[0][1])
        x = np.stack([x for x, _ in self._past])[None]
        steps, weight, targets = x.shape[1], None, self._batch(target)
        if self._sequence:  # the newest counts
            weight = np.zeros((1, steps))
            weight[0, -1] = 1
            targets = np.zeros((1, steps, *target.shape), target.dtype)
            targets[0, -1] = target
        gradient = backend.new_vector(model.params.size, model.dtype)
        with backend.lent_arena() as arena:
            call = model._call(keep=True, arena=arena)
            array, layout = inputs.check(x, model.signals[0], None)
            value, _, _ = model.differentiate(call, array, layout, targets, loss, states, gradient, "sum", weight)
            if steps > 1:  # with weights of before the state has gone another way than the window
                outputs = backend.feature_rows(call, y.reshape(1, 1, -1), ONE)
                run = model.backend.losses.prepare(call, loss, self._size, self._batch(target), ONE, "sum", None)
                own = float(run(outputs)[0])
            else:
                own = float(value)
            self.gradient, self.steps = gradient, self.steps + 1
            self._updates.step(call, value, gradient, self.steps, self._rate, False)
        if not self._updates.read()[1][0].ok or not math.isfinite(own):
            self.steps -= 1
            raise self._diverged(own)
        return own

    def dump(self) -> tuple[Any, ...]:
        """Return what another process goes on from."""
        return self.steps, self.gradient, self._updates.arrays, list(self._past)

    def take(self, steps, gradient, arrays, kept) -> None:
        """Go on from what another learner has dumped."""
        self.steps, self.gradient, self._updates.arrays = steps, gradient, [array.copy() for array in arrays]
        self._past.extend(kept)
