"""A third backend, in plain NumPy: the protocol of `numbarnn.backends` as a newcomer may read it, and the proof that it is one.

Slow and clear. Rows are one float64 or float32 array (time steps, samples, features), samples sorted by falling length as in
`numbarnn.core.layout.Layout`, without padding. A recurrent layer calls the scalar functions of its cell, unit by unit; optimizers,
dropout masks and random numbers are those of tests/naive.py.

``register_backend("reference", reference_backend)`` makes ``Model(..., device="reference")`` possible.
"""

import contextlib
import inspect
import math
from dataclasses import dataclass, fields
from types import SimpleNamespace

import naive
import numpy as np

from numbarnn import inputs
from numbarnn.cells import contract
from numbarnn.core.label_sequences import as_labels, too_short
from numbarnn.core.layout import Layout
from numbarnn.optim import StepRecord

# Batches


class Arena:
    """Memory of passes: NumPy's."""

    def reset(self):
        """Do nothing: what nobody refers to is gone."""


@dataclass
class Call:
    """One pass: see `numbarnn.backends.cpu.batch.Call`."""

    dtype: np.dtype
    n_threads: int = 1
    keep: bool = False
    training: bool = False
    direct: bool = False
    last: int = -1
    seed: int = 0
    step: int = 0
    arena: Arena | None = None

    def vector(self, size):
        """Return a flat array."""
        return np.empty(size, self.dtype)


@dataclass(frozen=True)
class Rows:
    """Activations (time steps, samples, features), or tokens (time steps, samples[, bag])."""

    values: np.ndarray
    size: int

    @property
    def count(self):
        """Number of rows."""
        return self.values.shape[0] * self.values.shape[1]

    @property
    def tokens(self):
        """Whether the rows are tokens."""
        return self.values.dtype.kind == "i"


def running(layout):
    """Return which rows exist, (time steps, samples)."""
    return np.arange(layout.samples) < layout.active[:, None]


def to_rows(call, x, signal, lengths, name="x"):
    """Check a batch and return it by rows, with its geometry."""
    return as_rows(call, signal, *inputs.check(x, signal, lengths, name))


def as_rows(call, signal, array, layout):
    """Return a checked batch by rows, with its geometry."""
    if signal.tokens:
        return Rows(layout.sort(array).swapaxes(0, 1).astype(np.int32), signal.size), layout
    return feature_rows(call, array, layout), layout


def feature_rows(call, array, layout):
    """Return values (samples, time steps, features) by rows, zero past each length."""
    values = layout.sort(np.asarray(array, call.dtype)).swapaxes(0, 1)
    return Rows(np.where(running(layout)[:, :, None], values, 0), array.shape[2])


def from_rows(call, rows, layout):
    """Return rows as an array (samples, time steps, features) in the caller's order."""
    return np.ascontiguousarray(layout.unsort(rows.values, 1).swapaxes(0, 1))


@contextlib.contextmanager
def lent_arena():
    """Give memory for one call."""
    yield Arena()


def by_sample(losses, layout):
    """Return the losses of rows, or of samples, in the caller's order."""
    return layout.unsort(losses.reshape(-1, layout.samples).T)


batch = SimpleNamespace(
    by_sample=by_sample,
    Arena=Arena, Call=Call, Rows=Rows, to_rows=to_rows, as_rows=as_rows, feature_rows=feature_rows, from_rows=from_rows,
    lent_arena=lent_arena, take_arena=Arena, give_arena=lambda arena: None, parameters=lambda params: params,
    new_vector=lambda size, dtype: np.empty(size, dtype), to_host=lambda values: values, upload_states=lambda state: state,
    download_states=lambda layers, state, samples: state, hold_states=lambda state, old, dtype: state,
)  # fmt: skip


# Layers: prepare returns {parameter name: values} and {parameter name: part of a flat array}


@dataclass
class Weights:
    """The parameters of a layer by their own names, and the function that gives their gradients' views."""

    values: dict
    gradients: object


def prepare(call, layer, params, prefix, signal, old=None):
    """Return the weights of any layer."""
    own = [name for name in params if name.startswith(prefix)]
    values = {name.removeprefix(prefix): params[name].copy() for name in own}

    def gradients(flat):
        views = params.views(flat)
        for name in own:
            views[name][...] = 0
        return {name.removeprefix(prefix): views[name] for name in own}

    return Weights(values, gradients)


def _one_hot(x):
    return np.eye(x.size)[x.values] if x.tokens else x.values


class Activation:
    """y = f(x)."""

    prepare = staticmethod(prepare)

    @staticmethod
    def forward(call, layer, weights, x, layout, state, number):
        """Return (output, its layout, final states, tape)."""
        y = activated(call, layer.activation, x, layout)
        return y, layout, (), y

    @staticmethod
    def backward(call, layer, weights, tape, dy, layout, dfinal, gradient, need_dx, number):
        """Return dx = f'(x) dy."""
        return gradient_below(call, layer.activation, tape, dy), ()


def activated(call, activation, x, layout):
    """Return f(x); None: x itself."""
    y = naive.ACTIVATIONS[activation or "identity"](x.values)
    return Rows(np.where(running(layout)[:, :, None], y, 0).astype(call.dtype), x.size)


def gradient_below(call, activation, y, dy):
    """Return the gradient of x from that of y = f(x)."""
    return Rows((dy.values * naive.SLOPES[activation or "identity"](y.values)).astype(call.dtype), dy.size)


class Dense:
    """y = f(W x + b)."""

    prepare = staticmethod(prepare)

    @staticmethod
    def forward(call, layer, weights, x, layout, state, number):
        """Return (output, its layout, final states, tape)."""
        y = _one_hot(x) @ weights.values["weight"].T + weights.values.get("bias", 0)
        y = activated(call, layer.activation, Rows(y, layer.size), layout)
        return y, layout, (), (x, y)

    @staticmethod
    def backward(call, layer, weights, tape, dy, layout, dfinal, gradient, need_dx, number):
        """Write dW = dz x^T and db = dz of z = W x + b; return (dx = W^T dz, no states)."""
        (x, y), parts = tape, weights.gradients(gradient)
        dy = gradient_below(call, layer.activation, y, dy)
        parts["weight"] += np.einsum("tni,tnj->ij", dy.values, _one_hot(x))
        if layer.bias:
            parts["bias"] += dy.values.sum(axis=(0, 1))
        return (None if x.tokens else Rows(dy.values @ weights.values["weight"], x.size)), ()


class OneHot:
    """Tokens as they are; the next layer makes the vectors."""

    prepare = staticmethod(prepare)

    @staticmethod
    def forward(call, layer, weights, x, layout, state, number):
        """Return the tokens."""
        return x, layout, (), None

    @staticmethod
    def backward(call, layer, weights, tape, dy, layout, dfinal, gradient, need_dx, number):
        """Do nothing."""
        return None, ()


class Embedding:
    """y = weight[token], or the sum over a bag, in which -1 is nothing."""

    prepare = staticmethod(prepare)

    @staticmethod
    def forward(call, layer, weights, x, layout, state, number):
        """Return (output, its layout, final states, tape)."""
        tokens = x.values.reshape(*x.values.shape[:2], -1)
        y = np.where((tokens >= 0)[..., None], weights.values["weight"][tokens], 0).sum(axis=2)
        return Rows(np.where(running(layout)[:, :, None], y, 0), layer.features), layout, (), tokens

    @staticmethod
    def backward(call, layer, weights, tape, dy, layout, dfinal, gradient, need_dx, number):
        """Add dy to the rows of its tokens."""
        table = weights.gradients(gradient)["weight"]
        for k in range(tape.shape[2]):
            there = (tape[:, :, k] >= 0) & running(layout)
            np.add.at(table, tape[:, :, k][there], dy.values[there])
        return None, ()


def _dropped(call, x, layout, rate, stream, same_over_time=False):
    if not (call.training and rate):
        return x
    steps = 1 if same_over_time else layout.steps
    factors = naive.dropout_factors(layout.samples, steps, x.size, rate, call.seed, call.step, stream)
    return Rows((x.values * layout.sort(factors).swapaxes(0, 1)).astype(call.dtype), x.size)


class Dropout:
    """Features zeroed with probability `rate`, the others divided by 1 - rate."""

    prepare = staticmethod(prepare)

    @staticmethod
    def forward(call, layer, weights, x, layout, state, number):
        """Return (output, its layout, final states, tape)."""
        return _dropped(call, x, layout, layer.rate, number << 8, layer.same_over_time), layout, (), None

    @staticmethod
    def backward(call, layer, weights, tape, dy, layout, dfinal, gradient, need_dx, number):
        """Mask the gradient as the features."""
        return _dropped(call, dy, layout, layer.rate, number << 8, layer.same_over_time), ()


class Pool:
    """The mean, maximum or last of the valid steps; zeros of none."""

    prepare = staticmethod(prepare)

    @staticmethod
    def forward(call, layer, weights, x, layout, state, number):
        """Return (output, its layout, final states, tape): the share that each step has in each output."""
        share = np.zeros(x.values.shape)
        for n, length in enumerate(layout.lengths):
            if length == 0:
                continue
            if layer.kind == "mean":
                share[:length, n] = 1 / length
            elif layer.kind == "last":
                share[length - 1, n] = 1
            else:
                share[x.values[:length, n].argmax(axis=0), n, np.arange(x.size)] = 1
        y = (share * x.values).sum(axis=0, keepdims=True).astype(call.dtype)
        return Rows(y, x.size), layout.last(), (), share

    @staticmethod
    def backward(call, layer, weights, tape, dy, layout, dfinal, gradient, need_dx, number):
        """Give each step its share of the gradient."""
        return Rows((tape * dy.values).astype(call.dtype), dy.size), ()


class Recurrent:
    """A stack of one cell: s_t = f(U x_t + W s_{t-1}) for whatever f the cell is, and back through time."""

    prepare = staticmethod(prepare)

    @staticmethod
    def forward(call, layer, weights, x, layout, state, number):
        """Return (output, its layout, final states, tape)."""
        final = tuple(np.zeros(layer.state_shape(layout.samples), call.dtype) for _ in layer.cell.states)
        tapes, signal = [], SimpleNamespace(size=x.size, tokens=x.tokens)
        for level in range(layer.num_layers):
            if level:
                x = _dropped(call, x, layout, layer.dropout, (number << 8) + level)
            outputs = []
            for direction in range(layer.directions):
                index = level * layer.directions + direction
                run = layer.runs(signal)[index]
                start = [np.zeros((layout.samples, layer.hidden_size)) if state is None else layout.sort(s[index])
                         for s in (state or layer.cell.states)]  # fmt: skip
                mask = _mask(call, layer, layout, (number << 8) + 128 + index)
                tape = _Steps(layer, run, weights.values, _one_hot(x), layout, start, mask)
                outputs.append(tape.outputs)
                tapes.append(tape)
                for whole, end in zip(final, tape.end, strict=True):
                    whole[index] = layout.unsort(end)
            x = Rows(_merged(layer, outputs, axis=2).astype(call.dtype), layer.output_size)
        if layer.return_sequences:
            return x, layout, final, tapes
        ends = [layout.sort(final[0][index - layer.directions]) for index in range(layer.directions)]
        last = _merged(layer, ends, axis=1) * (layout.lengths > 0)[:, None]
        return Rows(last[None], x.size), layout.last(), final, tapes

    @staticmethod
    def backward(call, layer, weights, tape, dy, layout, dfinal, gradient, need_dx, number):
        """Write the gradients of the parameters; return (gradient of x, of the initial states)."""
        hidden, parts = layer.hidden_size, weights.gradients(gradient)
        dstart = tuple(np.zeros(layer.state_shape(layout.samples), call.dtype) for _ in layer.cell.states)
        dx = dy.values if layer.return_sequences else None
        for level in reversed(range(layer.num_layers)):
            below = 0
            if level < layer.num_layers - 1:
                dx = _dropped(call, Rows(dx, dx.shape[2]), layout, layer.dropout, (number << 8) + level + 1).values
            for direction in range(layer.directions):
                index, first = level * layer.directions + direction, layer.column(direction)
                columns = slice(first, first + hidden)
                dend = [np.zeros((layout.samples, hidden)) if dfinal is None else layout.sort(d[index])
                        for d in (dfinal or layer.cell.states)]  # fmt: skip
                if not layer.return_sequences and level == layer.num_layers - 1:
                    dend[0] = dend[0] + dy.values[0][:, columns] * (layout.lengths > 0)[:, None]
                given = None if dx is None else dx[:, :, columns]
                found, dbegin = tape[index].back(given, dend, parts)
                below = below + found
                for whole, d in zip(dstart, dbegin, strict=True):
                    whole[index] = layout.unsort(d)
            dx = below
        return Rows(dx.astype(call.dtype), dx.shape[2]), dstart


def _merged(layer, outputs, axis):
    return np.concatenate(outputs, axis) if layer.merge == "concat" else sum(outputs)


def _mask(call, layer, layout, stream):
    ones = Rows(np.ones((1, layout.samples, layer.hidden_size), call.dtype), layer.hidden_size)
    return _dropped(call, ones, layout.last(), layer.recurrent_dropout, stream).values[0]


class _Steps:
    """One cell through the steps in one direction, and what the way back needs."""

    def __init__(self, layer, run, values, x, layout, start, mask):
        self.cell, self.hidden, self.run, self.x, self.layout, self.mask = (
            layer.cell, layer.hidden_size, run, x, layout, mask,
        )  # fmt: skip
        self.values = {n.removesuffix(run.suffix): v for n, v in values.items() if n.endswith(run.suffix)}
        self.diagonal = [self.values[f"weight_{name}"] for name in self.cell.diagonal]
        self.outputs = np.zeros((*x.shape[:2], self.hidden), x.dtype)
        states, self.records = [np.array(s, np.float64) for s in start], []
        for t in self.order():
            for n in range(layout.active[t]):
                before = [s[n].copy() for s in states]
                record = self.step(x[t, n], before, self.mask[n])
                self.records.append((t, n, *record))
                for s, after in zip(states, record[-1], strict=True):
                    s[n] = after
                self.outputs[t, n] = states[0][n]
        self.end = states

    def order(self):
        """Return the steps in the order of computing."""
        steps = range(self.layout.steps)
        return reversed(steps) if self.run.reverse else steps

    def product(self, side, rows, vector, z):
        """Add the products of the rows of weight_ih or weight_hh, and their biases, to the pre-activations."""
        if f"weight_{side}" not in self.values:
            return
        for name, gate in rows.items():
            part = self.rows(gate)
            p = self.cell.preactivations.index(name)
            z[p] += self.values[f"weight_{side}"][part] @ vector
            if f"bias_{side}" in self.values:
                z[p] += self.values[f"bias_{side}"][part]

    def rows(self, gate):
        """Return where the rows of a gate are."""
        first = self.cell.gates.index(gate) * self.hidden
        return slice(first, first + self.hidden)

    def step(self, x, before, mask):
        """Return (x, states before, saved, inner values, inner saved, states after) of one step of one sample, by unit."""
        cell, units = self.cell, range(self.hidden)
        z = np.zeros((len(cell.preactivations), self.hidden))
        self.product("ih", cell.from_input, x, z)
        self.product("hh", cell.from_hidden, before[0] * mask, z)
        inner = inner_saved = None
        if contract.has_inner(cell):
            found = [
                cell.inner_forward(cell, tuple(z[:, u]), self.at(before, u), self.at(self.diagonal, u)) for u in units
            ]
            inner = np.array([values[0] for values, _ in found])
            inner_saved = [kept for _, kept in found]
            self.product("hh", cell.from_inner, inner, z)
        found = [cell.forward(cell, tuple(z[:, u]), self.at(before, u), self.at(self.diagonal, u)) for u in units]
        after = [np.array([states[s] for states, _ in found]) for s in range(len(cell.states))]
        return x, before, [kept for _, kept in found], inner, inner_saved, after

    @staticmethod
    def at(arrays, unit):
        """Return what one unit has of each array."""
        return tuple(array[unit] for array in arrays)

    def back(self, dy, dend, parts):
        """Add the gradients of the parameters to `parts`; return (gradient of x, of the initial states)."""
        cell, units, own = self.cell, range(self.hidden), self.run.suffix
        parts = {name.removesuffix(own): values for name, values in parts.items() if name.endswith(own)}
        ds = [np.array(d, np.float64) for d in dend]
        dx = np.zeros(self.x.shape)
        for t, n, x, before, saved, inner, inner_saved, after in reversed(self.records):
            if dy is not None:
                ds[0][n] += dy[t, n]
            arguments = self.at(before, slice(None)), self.at(self.diagonal, slice(None))
            found = [
                cell.backward(cell, saved[u], self.at(arguments[0], u), self.at(arguments[1], u), self.at(after, u),
                              tuple(d[n, u] for d in ds))
                for u in units
            ]  # fmt: skip
            dz, dbefore, ddiagonal = (np.array([f[k] for f in found]).T.reshape(-1, self.hidden) for k in range(3))
            masked = before[0] * self.mask[n]
            dmasked = np.zeros(self.hidden)
            if contract.has_inner(cell):
                dinner = self.product_back("hh", cell.from_inner, dz, inner, parts)
                found = [
                    cell.inner_backward(
                        cell, inner_saved[u], self.at(before, u), self.at(self.diagonal, u), (dinner[u],)
                    )
                    for u in units
                ]
                more = (np.array([f[k] for f in found]).T.reshape(-1, self.hidden) for k in range(3))
                dz, dbefore, ddiagonal = (a + b for a, b in zip((dz, dbefore, ddiagonal), more, strict=True))
            dmasked = self.product_back("hh", cell.from_hidden, dz, masked, parts)
            dx[t, n] += self.product_back("ih", cell.from_input, dz, x, parts)
            for s, d in enumerate(ds):
                d[n] = dbefore[s]
            ds[0][n] += dmasked * self.mask[n]
            for name, d in zip(cell.diagonal, ddiagonal, strict=True):
                parts[f"weight_{name}"] += d
        return dx, ds

    def product_back(self, side, rows, dz, vector, parts):
        """Add dz vector^T to the rows of a weight and dz to those of its bias; return W^T dz."""
        d = np.zeros(len(vector))
        if f"weight_{side}" not in self.values:
            return d
        for name, gate in rows.items():
            part, own = self.rows(gate), dz[self.cell.preactivations.index(name)]
            parts[f"weight_{side}"][part] += np.outer(own, vector)
            if f"bias_{side}" in parts:
                parts[f"bias_{side}"][part] += own
            d += self.values[f"weight_{side}"][part].T @ own
        return d


LAYERS = {
    "Activation": Activation, "Dense": Dense, "Dropout": Dropout, "Embedding": Embedding, "EmbeddingBag": Embedding,
    "OneHot": OneHot, "Pool": Pool,
    "Recurrent": Recurrent,
}  # fmt: skip

# Losses


def value_and_gradient(call, loss, outputs, target, layout, reduction="mean", sample_weight=None):
    """Return (loss, gradient of the outputs, weight of all rows)."""
    if loss.term is not None:
        return _by_rows(_pointwise)(call, loss, outputs, target, layout, reduction, sample_weight)
    for cls in type(loss).__mro__:
        if cls.__name__ in LOSSES:
            return LOSSES[cls.__name__](call, loss, outputs, target, layout, reduction, sample_weight)
    raise TypeError(f"{type(loss).__name__} has no passes in the reference backend")


def prepare(call, loss, size, target, layout, reduction="mean", sample_weight=None):
    """Return ``run(outputs)``, which computes a loss; nothing needs to be anywhere before."""
    return lambda outputs: value_and_gradient(call, loss, outputs, target, layout, reduction, sample_weight)


def _by_rows(term):
    """Return the function of a loss from ``term(loss, y, t) -> (losses, gradient)`` of rows."""

    def run(call, loss, outputs, target, layout, reduction, sample_weight):
        count = outputs.count
        targets, weights, total, scale = loss.prepare(
            outputs.size, count, target, layout, call.dtype, reduction, sample_weight
        )
        y = outputs.values.reshape(count, outputs.size).astype(np.float64)
        values, gradient = term(loss, y, targets.reshape(count, -1))
        weights = scale * (weights if weights.size else np.ones(count))
        gradient = np.where(weights[:, None] > 0, gradient * weights[:, None], 0).astype(call.dtype)
        values = np.where(weights > 0, values, 0)
        value = values * weights if reduction == "none" else float(np.dot(values, weights))
        return value, Rows(gradient.reshape(outputs.values.shape), outputs.size), total

    return run


def _cross_entropy(loss, y, t):
    classes = y.shape[1]
    v = np.ones(classes) if loss.class_weight is None else np.array(loss.class_weight)
    if t.dtype.kind == "f":
        q = t
    else:
        q = (1 - loss.label_smoothing) * v * (np.arange(classes) == t) + loss.label_smoothing * v / classes
    return -(q * np.log(naive.softmax(y))).sum(axis=1), naive.softmax(y) * q.sum(axis=1, keepdims=True) - q


def _pointwise(loss, y, t):
    """The mean over the features of the target of the loss's term, called for one value after another."""
    count, each = t.shape[1], loss.outputs_per_target
    options = loss.options(y.shape[1], np.float64).reshape(-1, count)
    values, slopes = np.zeros(t.shape), np.zeros(y.shape)
    for r, j in np.ndindex(t.shape):
        own = slice(j * each, (j + 1) * each)
        values[r, j], slopes[r, own] = loss.record.term(tuple(y[r, own]), t[r, j], *options[:, j])
    return values.mean(axis=1), slopes / count


def _ctc(call, loss, outputs, target, layout, reduction, sample_weight):
    """The loss and its gradient by enumerating all alignments: for samples of a few steps."""
    labels = as_labels(target, layout.samples)
    scales, total = loss.scales(labels, outputs.size, layout, reduction, sample_weight)
    labels = labels.take(layout.indices)
    gradient, values = np.zeros(outputs.values.shape), np.zeros(layout.samples)
    short = too_short(labels, layout.lengths)
    for n, scale in enumerate(scales):
        if scale > 0 and short[n]:
            values[n] = math.inf
        elif scale > 0:
            string = labels.flat[labels.starts[n] : labels.starts[n + 1]]
            logits = np.float64(outputs.values[: layout.lengths[n], n])
            loss_n, d = naive.ctc(logits, tuple(string), loss.blank)
            values[n] = scale * loss_n
            gradient[: layout.lengths[n], n] = scale * d
    value = values if reduction == "none" else float(values.sum())
    return value, Rows(gradient.astype(call.dtype), outputs.size), total


def _segments(call, loss, outputs, target, layout, reduction, sample_weight):
    """The cross-entropy of the mean logits of each segment."""
    (samples, first), counts, classes, weight = loss.segments(target, layout, sample_weight)
    gradient = np.zeros(outputs.values.shape, call.dtype)
    if not counts.size:
        return np.zeros(outputs.count) if reduction == "none" else 0.0, Rows(gradient, outputs.size), 0.0
    spans = [(slice(t, t + count), n) for t, count, n in zip(first, counts, samples, strict=True)]
    means = np.array([[outputs.values[span].mean(axis=0) for span in spans]], call.dtype)
    value, dmeans, total = value_and_gradient(
        call, loss.pooled, Rows(means, outputs.size), classes, Layout.make(1, len(counts)), reduction, weight
    )
    for span, count, d in zip(spans, counts, dmeans.values[0], strict=True):
        gradient[span] = d / count
    if reduction == "none":
        losses = np.zeros((layout.steps, layout.samples))
        losses[first, samples] = value
        value = losses
    return value, Rows(gradient, outputs.size), total


LOSSES = {"SoftmaxCrossEntropy": _by_rows(_cross_entropy), "CTC": _ctc, "SegmentCrossEntropy": _segments}
losses = SimpleNamespace(value_and_gradient=value_and_gradient, prepare=prepare, LOSSES=LOSSES)

# Optimizer steps


class Pending:
    """Sums of losses and gradients of several batches."""

    def __init__(self):
        self.gradient = None
        self.clear()

    def clear(self):
        """Forget what was added."""
        self.count, self.loss, self.weight = 0, 0.0, 0.0

    def add(self, loss, gradient, weight):
        """Add a batch by its weight."""
        self.gradient = weight * gradient + (self.gradient if self.count else 0)
        self.count, self.loss, self.weight = self.count + 1, self.loss + loss * weight, self.weight + weight

    def take(self):
        """Return the means, and forget them."""
        found = self.loss / self.weight, self.gradient / self.weight
        self.clear()
        return found


class Updates:
    """Optimizer steps by tests/naive.py; see `numbarnn.backends.cpu.optim.Updates`."""

    def __init__(self, params, dtype, layers, optimizer, clip_norm=None, clip_value=None, average=None, n_threads=1):
        self.params, self.optimizer, self.clip_norm, self.clip_value = params, optimizer, clip_norm, clip_value
        self.ema, self.average, self.pending = average, None, Pending()
        self.arrays = optimizer.start(params.flat.size, dtype)
        self.carried, self.samples, self.chunks, self.records = None, 0, [], []

    @property
    def state(self):
        """States carried into the next batch."""
        return self.carried

    def set_state(self, state, samples):
        """Set the carried states."""
        self.carried, self.samples = state, samples

    hold = set_state

    def note(self, loss, weight):
        """Keep the loss of a chunk until `read`."""
        self.chunks.append((loss, weight))

    @property
    def waiting(self):
        """Number of chunks and of steps since the last `read`."""
        return len(self.chunks), len(self.records)

    def read(self):
        """Return the losses of the chunks and the records of the steps since the last call."""
        found, self.chunks, self.records = (self.chunks, self.records), [], []
        return found

    def add(self, loss, gradient, weight):
        """Gather the loss and gradient of a chunk."""
        self.pending.add(loss, gradient, weight)

    def flush(self, call, number, rate, measure):
        """Do the step for what is pending."""
        self.step(call, *self.pending.take(), number, rate, measure)

    def step(self, call, loss, gradient, number, rate, measure):
        """Do an optimizer step and keep its record."""
        length = clipped = float(np.linalg.norm(gradient))
        if self.clip_norm is not None:
            gradient, clipped = gradient * min(1, self.clip_norm / (length + 1e-6)), min(length, self.clip_norm)
        if self.clip_value is not None:
            gradient = np.clip(gradient, -self.clip_value, self.clip_value)
            clipped = float(np.linalg.norm(gradient))
        old = self.params.flat.copy()
        update, _ = naive.OPTIMIZERS[type(self.optimizer).__name__.lower()]
        known = inspect.signature(update).parameters
        options = {f.name: getattr(self.optimizer, f.name) for f in fields(self.optimizer) if f.name in known}
        options["learning_rate"] = rate
        new, arrays = update(np.float64(old), np.float64(gradient), self.arrays, number, **options)
        ok = bool(math.isfinite(loss) and np.isfinite(new).all())
        if ok:
            self.arrays = list(arrays)
            with self.params.writing() as flat:
                flat[...] = new
            if self.ema is not None:
                before = new if self.average is None else self.average
                self.average = self.ema.decay * before + (1 - self.ema.decay) * new
        ratio = float(np.linalg.norm(new - old) / np.linalg.norm(old)) if measure and ok else None
        self.records.append(StepRecord(loss, length, clipped, ok, ratio))


class LossSum:
    """The weighted mean of losses."""

    def __init__(self, dtype):
        self.parts = []

    def add(self, loss, weight):
        """Add the mean loss of a batch by its weight."""
        self.parts.append((loss, weight))

    def mean(self):
        """Return the mean."""
        values, weights = zip(*self.parts, strict=True)
        return float(np.average(values, weights=weights))


optim = SimpleNamespace(READ_EVERY=1, Updates=Updates, LossSum=LossSum)

# Sampling


class Streams:
    """Tokens sampled one by one from softmax(logits / temperature), restricted to the likeliest."""

    def __init__(self, model, packed, primes, temperature, top_k, top_p, stop, never, seeds, n_threads=1):
        self.model, self.primes, self.options, self.stop, self.never = (
            model,
            primes,
            (temperature, top_k, top_p),
            stop,
            never,
        )
        self.seeds, self.positions = seeds, [0] * len(seeds)
        self.states, self.logits = [None] * len(seeds), [None] * len(seeds)

    def take(self, count, first=None):
        """Return the next tokens of each stream, fewer where `stop` came among them."""
        return [self.generate(stream, count, first) for stream in range(len(self.seeds))]

    def generate(self, stream, count, first):
        """Return the next tokens of one stream."""
        found = [] if first is None else [int(first[stream])]
        for token in self.primes[stream]:
            self.read(stream, token)
        self.primes[stream] = []
        while len(found) < count:
            token = self.choose(stream, self.positions[stream] + len(found))
            self.read(stream, token)
            found.append(token)
            if self.ends(found):
                break
        self.positions[stream] += len(found)
        return np.array(found, np.int32)

    def read(self, stream, token):
        """Take a step."""
        y, self.states[stream] = self.model.forward([[token]], self.states[stream])
        self.logits[stream] = np.float64(y[0, 0])

    def ends(self, found):
        """Return whether the text ends here."""
        size = len(self.stop)
        return size > 0 and len(found) >= size and found[-size:] == list(self.stop)

    def choose(self, stream, number):
        """Return a token for a counter of random numbers."""
        temperature, top_k, top_p = self.options
        logits = self.logits[stream].copy()
        logits[list(self.never)] = -np.inf
        order = np.argsort(-logits, kind="stable")
        if temperature == 0:
            return int(order[0])
        seed = self.seeds[stream]
        bits = naive.philox((number % 2**32, number >> 32, 0, 0), (seed % 2**32, seed >> 32))
        uniform = (bits[0] * 2097152 + (bits[1] >> 11)) / 2**53
        p = np.exp((logits - logits.max()) / temperature)
        if not top_k and top_p >= 1:
            return int(np.searchsorted(np.cumsum(p), uniform * p.sum(), side="right"))
        p, order = (p[order], order) if not top_k else (p[order][:top_k], order[:top_k])
        most = int(np.searchsorted(np.cumsum(p), top_p * p.sum(), side="left")) + 1
        p = p[:most]
        return int(order[np.searchsorted(np.cumsum(p), uniform * p.sum(), side="right")])


sampling = SimpleNamespace(pack=lambda model: None, Streams=Streams, SECOND_PRODUCT=True)


# A batch is gone through in one piece.
segments = SimpleNamespace(AVAILABLE=False)
