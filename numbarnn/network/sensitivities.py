"""The exact gradient of a stream without a window: derivatives of the state that are carried forward, step by step."""

import dataclasses
import functools
import math
from typing import Any

import numba
import numpy as np
from numpy import ndarray

from numbarnn.backends.device import arithmetic_of
from numbarnn.cells.contract import used_hidden_rows
from numbarnn.checks import check_finite, counted
from numbarnn.errors import ShapeError
from numbarnn.kernels.cpu import online as kernels
from numbarnn.kernels.cpu import step
from numbarnn.kernels.cpu.memory import zeros
from numbarnn.layers import Activation, Dense, Recurrent
from numbarnn.losses.cross_entropy import SoftmaxCrossEntropy
from numbarnn.losses.pointwise import PointwiseLoss
from numbarnn.network.online import FINITE, MISSING, Learner
from numbarnn.optim import SGD, Adagrad, Adam, AdamW, RMSprop


def check_exact(model: Any, settings: Any) -> None:
    """Raise ValueError unless the sensitivities of a model are as many as its weights."""
    where = [number for number, layer in enumerate(model.layers) if isinstance(layer, Recurrent)]
    advice = "pass window=32, say, for back-propagation through the last 32 steps"
    if not where:
        raise ValueError("window must be 1 for a model without recurrent layers, whose gradient that is; got None")
    layer = model.layers[where[0]]
    if used_hidden_rows(layer.cell):
        raise ValueError(
            f"window=None, the exact gradient, is for layers without a recurrent product (IndRNN, MinGRU, MinLSTM); in {layer!r} "
            f"every unit depends on the weights of all; {advice}"
        )
    if len(where) > 1 or layer.num_layers > 1:
        raise ValueError(
            "window=None, the exact gradient, is for one recurrent layer: with more every unit of the upper ones depends on "
            f"all weights below; {advice}"
        )
    for name, below, signal in zip(model.names, model.layers[: where[0]], model.signals, strict=False):
        if below.specs(signal):
            kind = type(below).__name__
            instead = "OneHot does what Embedding does before a recurrent layer, or " if "Embedding" in kind else ""
            raise ValueError(
                f"window=None, the exact gradient, needs a recurrent layer that reads the input itself: every unit depends on all "
                f"weights of the {kind} {name!r} below it; {instead}{advice}"
            )
    if arithmetic_of(settings.loss, model.backend.losses.LOSSES) == "value_and_gradient":
        raise ValueError(
            f"window=None, the exact gradient, needs a loss that is compiled, not {settings.loss.name!r}; {advice}"
        )
    base = _base(settings.loss)
    for name in ("weights", "prepare"):
        if getattr(type(settings.loss), name) is not getattr(base, name):
            raise ValueError(
                f"window=None, the exact gradient, needs a loss with the weights and prepare of {base.__name__}, but "
                f"{type(settings.loss).__name__}.{name} is its own; {advice}"
            )
    if settings.optimizer.kernel not in kernels.OPTIMIZERS:
        raise ValueError(
            f"window=None, the exact gradient, is for optimizers of the kernels {', '.join(kernels.OPTIMIZERS)}, got "
            f"{settings.optimizer.kernel!r}; {advice}"
        )


def _base(loss):
    """Return the class whose arithmetic the kernel has for a loss."""
    return PointwiseLoss if isinstance(loss, PointwiseLoss) else SoftmaxCrossEntropy


class ExactLearner(Learner):
    """Real-time recurrent learning of one layer without a recurrent product; see `numbarnn.kernels.cpu.online`."""

    def __init__(self, stream, settings):
        check_exact(stream.model, settings)
        super().__init__(stream, settings)
        model, plan = self._model, stream._plan
        self._params, self._dtype = model.params, model.dtype
        (states,) = plan.states
        self._chain, cell, inputs, self._order, size = _chain(model, plan, states)
        self._chain[kernels.OPTIMIZER] = kernels.OPTIMIZERS.index(settings.optimizer.kernel)
        width, count, gates, diagonal = states.width, states.count, len(cell.preactivations), len(cell.diagonal)
        rows = gates * (inputs + 1) + diagonal
        # Of each weight where it lies among the sensitivities of every state.
        inside = np.flatnonzero(self._order < rows * width)
        row, unit = np.divmod(self._order[inside], width)
        self._inside, self._places = inside, (row * count + np.arange(count)[:, None]) * width + unit
        self._sensitivities = zeros((rows * count * width,), model.dtype)
        at = count * (gates + count + diagonal) * width
        self._factors = zeros((at + count * count,), model.dtype)
        self._factors[at:] = np.eye(count).reshape(-1)
        self._previous, self._deltas = zeros((count * width,), model.dtype), zeros((plan.size,), model.dtype)
        self._weights, self._gradient, self._backup = (zeros((size,), model.dtype) for _ in range(3))
        self._moments = np.concatenate([np.zeros(0, model.dtype), *settings.optimizer.start(size, model.dtype)])
        self._coefficients = np.zeros(len(settings.optimizer.coefficients(1, self._rate)), model.dtype)
        self._known = None
        self._set_loss(settings.loss)
        self._kind = self._kernel = None

    def _set_loss(self, loss):
        """Make what the kernel needs of the loss, and the buffer of targets."""
        dtype = self._dtype
        # Targets of a loss that has checks of its own take the longer way: neither of this shape, nor integers below `_codes`.
        weights, self._classes, self._codes, self._shape = (), False, 0, None
        plain = type(loss).targets is _base(loss).targets
        if isinstance(loss, PointwiseLoss):
            self._term, options = loss.record, loss.options(self._size, dtype)
            count = loss.count_targets(self._size)
            self._shape = (count,) if plain else None
            smoothing = 0.0
        else:
            self._term, options, count = kernels.CrossEntropy(), np.zeros(0, dtype), self._size
            smoothing = float(loss.label_smoothing)
            weights = loss.class_weight or ()
            self._classes, self._codes = True, self._size if plain else 0
        self._target, self._options = np.zeros(count, dtype), options
        self._class, self._value = np.zeros(1, np.int32), np.zeros(1, dtype)
        most = math.sqrt(np.finfo(dtype).max)
        self._doubles = np.array([0.0, smoothing, most, *weights])

    def own(self, plan):
        """Return a plan with weights of the stream's own, which learning changes, and the integers that its steps take."""
        values = zeros(plan.weights.values.shape, self._dtype)
        values[...] = plan.weights.values
        self._weights[self._order] = self._params.flat
        plan = dataclasses.replace(plan, weights=plan.weights._replace(values=values))
        arrays = (
            plan.weights.program, values, self._stream._state, self._chain, self._weights, self._gradient, self._backup,
            self._moments, self._coefficients, self._sensitivities, self._factors, self._previous, self._deltas, self._target,
            self._options, self._doubles,
        )  # fmt: skip
        handle = np.array([value for array in arrays for value in (array.ctypes.data, array.size)], np.int64)
        return plan, handle

    def _take_kind(self, kind):
        """Choose the kernel for a dtype of targets, and say how single steps enter it."""
        plan, term = self._stream._plan, self._term
        x = numba.types.int64
        if plan.bag or not plan.tokens:
            x = numba.types.Array(numba.from_dtype(plan.new_input().dtype), 1, "A", aligned=False)
        cells, dtype = numba.typeof(plan.weights.cells), numba.from_dtype(self._dtype)
        kernel, none = _entry(cells, numba.typeof(term), x, numba.from_dtype(kind), dtype), np.zeros(0, kind)
        self._kind, self._kernel = kind, kernel
        self._stream._enter = lambda cells, handle, x, y: kernel(cells, term, handle, x, none, y)

    def enter(self, cells, handle, x, y) -> None:
        """Run a step without a target."""
        self._take_kind(np.dtype(np.int32) if self._classes else self._dtype)
        self._stream._enter(cells, handle, x, y)

    def restart(self) -> None:
        """Begin anew at a state that no weight has an influence on."""
        self._sensitivities[...] = 0

    def learn(self, x_t, y_t, learning_rate) -> float:
        """Run a step and learn from it; see `Stream.learn`."""
        if learning_rate is not self._given_rate:
            self._take_rate(learning_rate)
            self._known = None
        stream = self._stream
        if y_t.__class__ is not ndarray or y_t.dtype is not self._dtype or y_t.shape != self._shape:
            y_t = self._converted(y_t)
            if y_t is None:
                stream.step(x_t)
                return 0.0
        if y_t.dtype is not self._kind:
            self._take_kind(y_t.dtype)
        now, params = stream._now, self._params
        if now[0] != params.version:
            now = stream._refresh()
        if x_t.__class__ is not ndarray or x_t.dtype is not self._dtype or x_t.shape != stream._shape:
            x_t = stream._converted(x_t)
        if not self._known:
            self._take_coefficients()
        # Before the kernel writes: whatever interrupts what follows, nobody takes the old weights for the new ones.
        params.mark_stale(self._fetch)
        loss = self._kernel(now[1], self._term, now[2], x_t, y_t, stream._y)
        stream._now = params.version, now[1], now[2], now[3]
        if loss != loss:
            self._raise(x_t, y_t)
        self.steps += 1
        return loss

    def _fetch(self):
        """Return the weights as the parameters have them."""
        return self._weights[self._order]

    @property
    def gradient(self):
        """Gradient of the newest step with a target, flat."""
        return self._gradient[self._order]

    def _converted(self, y_t):
        """Return a target as the kernel takes it, None where there is none."""
        if y_t.__class__ is float and self._shape == (1,):
            self._value[0] = y_t
            return self._value
        if y_t.__class__ is int and 0 <= y_t < self._codes and y_t != self.settings.loss.ignore_index:
            self._class[0] = y_t
            return self._class
        _, rows = self._checked_target(y_t)
        count = 1 if self._classes and rows is not None and rows.dtype.kind in "iu" else self._target.size
        if rows is not None and rows.size != count:
            name = type(self.settings.loss).__name__
            raise ShapeError(f"{name}.targets must return {counted(count, 'value')} for one step, got {rows.size}")
        return rows

    def _take_coefficients(self):
        """Set the coefficients of the next step."""
        optimizer, number = self.settings.optimizer, self.steps + 1
        self._coefficients[...] = found = optimizer.coefficients(number, self._rate)
        # Those of most optimizers never change, and Adam's no more after 37,000 steps, when the bias of its moments has gone.
        if number & 1023 == 1 and type(optimizer) in _STEADY:
            self._known = found == optimizer.coefficients(2 * number + 1, self._rate)

    def _raise(self, x_t, y_t):
        """Raise the error of a step that was refused, or diverged."""
        if self._chain[kernels.STATUS] == kernels.REFUSED:
            check_finite(np.asarray(x_t), "x_t", FINITE)
            check_finite(y_t, "y_t", MISSING)
        raise self._diverged(float(self._doubles[0]))

    def dump(self) -> tuple[Any, ...]:
        """Return what another process goes on from, in the order of the parameters."""
        moments = [part[self._order] for part in np.split(self._moments, self.settings.optimizer.arrays)]
        return self.steps, self.gradient, moments, self._sensitivities[self._places]

    def take(self, steps, gradient, moments, sensitivities) -> None:
        """Go on from what another learner has dumped."""
        self.steps, self._gradient[self._order], self._sensitivities[self._places] = steps, gradient, sensitivities
        for own, part in zip(np.split(self._moments, len(moments)), moments, strict=True):
            own[self._order] = part


# Optimizers whose coefficients come to rest, if they do, and stay as they are then.
_STEADY = SGD, RMSprop, Adagrad, Adam, AdamW


@functools.cache
def _entry(cells, term, x, target, dtype):
    array = numba.types.Array
    target = array(target, 1, "A", aligned=False)
    return kernels.learn.compile((cells, term, numba.types.int64, x, target, array(dtype, 1, "C")))


def _chain(model, plan, states):
    """Return what `numbarnn.kernels.cpu.online` calls the chain, with what follows from the layers.

    Returns
    -------
    chain : int64 array
    cell : NamedTuple
    inputs : int
        Of the cell.
    order : int64 array
        Of each parameter where it lies among the weights as they are learned.
    size : int
        Of these weights, with their padding.
    """
    program, params, width = plan.weights.program, model.params, states.width
    at, size, above, head, uses = step.FIRST, 0, [], {}, []
    order = np.full(params.size, -1)

    def place(offset, where):
        order[offset : offset + where.size] = where.reshape(-1)

    for name, layer, signal in zip(model.names, model.layers, model.signals, strict=False):
        prefix = f"{name}."
        if isinstance(layer, Recurrent):
            cell, (run,), inputs, hidden = layer.cell, layer.runs(signal), signal.size, layer.hidden_size
            own = step.Cell(*map(int, program[at + 1 : at + 1 + len(step.Cell._fields)]))
            at += 1 + step.GROUPS + 4 * own.groups
            units = np.arange(hidden)
            for gate, (weight, _, bias, _) in enumerate(layer.weight_offsets(params, prefix, run).tolist()):
                row = gate * (inputs + 1)
                uses += [weight >= 0, bias >= 0]
                if weight >= 0:
                    place(weight, units[:, None] + (row + np.arange(inputs)) * width)
                if bias >= 0:
                    place(bias, units + (row + inputs) * width)
            row = len(cell.preactivations) * (inputs + 1)
            for number, unit in enumerate(cell.diagonal):
                place(params.offsets[f"{prefix}weight_{unit}{run.suffix}"], units + (row + number) * width)
            size = (row + len(cell.diagonal)) * width
            head = {
                "INPUTS": inputs, "INPUT": -1 if signal.tokens else own.x_at, "WIDTH": own.width, "STATES": own.h_at,
                "GATES": own.z_at, "DIAGONAL": own.diagonal_at, "PANELS": own.panels_at, "BIAS": own.bias_at,
            }  # fmt: skip
        if isinstance(layer, Dense):
            own = step.Affine(*map(int, program[at + 1 : at + 1 + len(step.Affine._fields)]))
            at += 1 + len(own)
            parts = [params.offsets.get(f"{prefix}{part}", -1) for part in ("weight", "bias")]
            ours = []
            for offset, count in zip(parts, (own.inputs * layer.size, layer.size), strict=True):
                ours.append(size if offset >= 0 else -1)
                if offset >= 0:
                    place(offset, np.arange(size, size + count))
                    size += count
            fields = own.x_at, own.inputs, own.y_at, layer.size, own.panels_at, own.bias_at, ours[0], -1, ours[1], -1
            above.append((kernels.AFFINE, *kernels.DenseAbove(*fields)))
        if isinstance(layer, (Activation, Dense)) and layer.activation is not None:
            own = step.Activate(*map(int, program[at + 1 : at + 1 + len(step.Activate._fields)]))
            at += 1 + len(own)
            if head:
                above.append((kernels.SLOPE, *kernels.ActivationAbove(*own)))
    # Rows of gates that no pre-activation takes.
    unused = np.flatnonzero(order < 0)
    order[unused] = np.arange(size, size + unused.size)
    head |= {"OUTPUT": program[step.OUTPUT], "OUTPUTS": program[step.OUTPUTS], "OPERATIONS": kernels.FIRST + len(uses)}
    chain = [0] * kernels.FIRST
    for field, value in head.items():
        chain[getattr(kernels, field)] = int(value)
    chain += [*uses, *(value for part in reversed(above) for value in part)]
    return np.array(chain, np.int64), cell, inputs, order, size + unused.size
