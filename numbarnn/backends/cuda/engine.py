"""A network's passes on a device: its parameters there, and what `numbarnn.network.network` asks of them."""

import threading
from typing import Any

import numpy as np

from numbarnn import inputs
from numbarnn.backends.cuda import dense, losses, recurrent
from numbarnn.backends.cuda.batch import Call, Geometry, Rows
from numbarnn.kernels.cuda import layout as moves
from numbarnn.kernels.cuda.layout import grid_of
from numbarnn.kernels.cuda.memory import Arena, Buffer, empty, upload
from numbarnn.layers import Dense, Dropout, Embedding, EmbeddingBag, OneHot, Pool, Recurrent

# What runs each layer: an object with prepare, forward and backward.
PASSES = {
    Recurrent: recurrent, Dense: dense.Dense, OneHot: dense.OneHot, Embedding: dense.Embedding, EmbeddingBag: dense.Embedding,
    Dropout: dense.Dropout, Pool: dense.Pool,
}  # fmt: skip


def passes_of(layer):
    """Return what runs a layer; raise TypeError for one that has no passes on a device."""
    for cls in type(layer).__mro__:
        if cls in PASSES:
            return PASSES[cls]
    raise TypeError(f'{type(layer).__name__} has no passes on a device; use device="cpu"')


class Engine:
    """The device's half of a network.

    Attributes
    ----------
    flat : Buffer
        The parameters, in the order of ``network.params``; `weights` brings them up to date.
    arena : Arena
        Memory of passes whose results are copied to the host.
    """

    def __init__(self, network):
        self.layers, self.signals, self.dtype = network.layers, network.signals, network.dtype
        self._learning_below, self.params = network._learning_below, network.params
        self.passes = [passes_of(layer) for layer in self.layers]
        described = zip(self.passes, self.layers, network.names, self.signals, strict=False)
        self.plans = [p.prepare(layer, self.params, f"{name}.", signal) for p, layer, name, signal in described]
        self.flat = empty(self.params.flat.size, self.dtype)
        self.version = None
        self.arena, self._lock = Arena(), threading.Lock()

    # Parameters

    def weights(self) -> Buffer:
        """Return the parameters on the device, copied there where the host's are newer."""
        if self.version != self.params.version:
            self.flat.set(self.params.flat)
            self.version = self.params.version
        return self.flat

    def changed(self) -> None:
        """Note that the device's parameters are newer than the host's, which are copied when somebody looks."""
        self.params.mark_stale(self.flat.get)
        self.version = self.params.version

    # Batches

    def rows(self, call: Call, x, lengths) -> tuple[Rows, Geometry]:
        """Check a batch and return it by rows on the device, with its geometry."""
        signal = self.signals[0]
        array, layout = inputs.check(x, signal, lengths)
        geometry = Geometry.make(layout, call.arena)
        if signal.tokens:
            tokens = call.empty(array.size, np.int32).set(inputs.token_rows(array, layout))
            return Rows(tokens, signal.size, geometry.rows, tokens=True, bag=signal.bag), geometry
        return self.feature_rows(call, array, geometry), geometry

    def feature_rows(self, call: Call, array: np.ndarray, geometry: Geometry) -> Rows:
        """Return numbers (samples, time steps, features) by rows."""
        size = array.shape[2]
        theirs = call.empty(array.size).set(array)
        rows = call.empty(array.size)
        grid, steps, samples = grid_of(geometry.rows, size), geometry.steps, geometry.samples
        moves.to_time_major(*grid, theirs, geometry.order, geometry.lengths, rows, steps, samples, size)
        return Rows(rows, size, geometry.rows)

    def outputs(self, rows: Rows, geometry: Geometry) -> np.ndarray:
        """Return rows as an array of the host's, in the caller's order."""
        values = _sequence(rows, geometry)
        return values if self.signals[-1].sequence else values[:, 0]

    # States: one buffer a recurrent layer, (states, layers * directions, samples, hidden)

    def upload_states(self, state) -> list[Buffer | None] | None:
        """Return states of the host's on the device."""
        return None if state is None else [upload(np.stack(entry)) for entry in state]

    def download_states(self, buffers, samples: int) -> tuple:
        """Return states as the host has them."""
        layers = [layer for layer in self.layers if layer.state_names]
        found = []
        for layer, buffer in zip(layers, buffers, strict=True):
            whole = buffer.get().reshape(len(layer.state_names), *layer.state_shape(samples))
            found.append(tuple(whole))
        return tuple(found)

    # Passes

    def forward(self, call: Call, flat: Buffer, rows: Rows, geometry: Geometry, state):
        """Return (outputs, their geometry, final states, tape) with the parameters `flat`."""
        final, tape, state = [], [], iter(state or ())
        for number, (layer, run, plan) in enumerate(zip(self.layers, self.passes, self.plans, strict=True)):
            start = next(state, None) if layer.state_names else None
            before = geometry
            rows, geometry, end, kept = run.forward(call, layer, plan, flat, rows, geometry, start, number)
            if layer.state_names:
                final.append(end)
            tape.append((kept, before))
        return rows, geometry, final, tape

    def backward(self, call: Call, flat: Buffer, tape, dy: Rows, gradient: Buffer, dfinal=None, need_dx: bool = False):
        """Write the gradients of the parameters; return (gradient of the input or None, of the initial states)."""
        dfinal, dstart = list(dfinal or ()), []
        for number in reversed(range(len(self.layers))):
            layer, (kept, geometry) = self.layers[number], tape[number]
            ends = dfinal.pop() if layer.state_names and dfinal else None
            wanted = need_dx or self._learning_below[number]
            dy, start = self.passes[number].backward(
                call, layer, self.plans[number], flat, kept, dy, geometry, ends, gradient, wanted, number
            )
            if layer.state_names:
                dstart.append(start)
        return dy, list(reversed(dstart))

    def differentiate(self, call, rows, geometry, target, loss, state, gradient, reduction="mean", sample_weight=None):
        """Write the flat gradient of a batch; return (loss as a buffer of one, final states, weight of the rows)."""
        flat = self.weights()
        out, out_geometry, final, tape = self.forward(call, flat, rows, geometry, state)
        value, dy, total = losses.value_and_gradient(call, loss, out, target, out_geometry, reduction, sample_weight)
        self.backward(call, flat, tape, dy, gradient)
        return value, final, total

    # What a network's methods do where it is on a device

    def run(self, x, state, lengths) -> tuple[np.ndarray, tuple]:
        """Return what `Network.forward` returns; `state` is checked."""
        with self._lock:  # a model may be called from many threads
            self.arena.reset()
            call = Call(self.dtype, arena=self.arena)
            rows, geometry = self.rows(call, x, lengths)
            out, out_geometry, final, _ = self.forward(call, self.weights(), rows, geometry, self.upload_states(state))
            return self.outputs(out, out_geometry), self.download_states(final, geometry.samples)

    def loss_and_gradient(self, x, target, loss, lengths, state, reduction, sample_weight) -> tuple[float, np.ndarray]:
        """Return a loss and its flat gradient."""
        with self._lock:
            self.arena.reset()
            call = Call(self.dtype, keep=True, arena=self.arena)
            rows, geometry = self.rows(call, x, lengths)
            gradient = call.empty(self.flat.size)
            value, _, _ = self.differentiate(
                call, rows, geometry, target, loss, self.upload_states(state), gradient, reduction, sample_weight
            )
            return float(value.get()[0]), gradient.get()

    def pullback(self, x, state, lengths) -> tuple[np.ndarray, tuple, Any]:
        """Return (outputs, final states, a function of gradients by rows): the halves of `Network.vjp`."""
        call = Call(self.dtype, keep=True)  # its memory is the tape's
        rows, geometry = self.rows(call, x, lengths)
        flat = upload(self.weights().get())  # the tape outlives changes of the parameters
        out, out_geometry, final, tape = self.forward(call, flat, rows, geometry, self.upload_states(state))
        outputs = self.outputs(out, out_geometry)

        def pull(doutputs, dfinal):
            inner = Call(self.dtype, keep=True)
            shape = out_geometry.samples, out_geometry.steps, out.size
            dy = self.feature_rows(inner, doutputs.reshape(shape), out_geometry)
            gradient = inner.empty(flat.size)
            dfinal = self.upload_states(dfinal)
            dx, dstart = self.backward(inner, flat, tape, dy, gradient, dfinal, need_dx=not rows.tokens)
            dx = None if rows.tokens else _sequence(dx, geometry)
            return gradient.get(), dx, self.download_states(dstart, geometry.samples)

        return outputs, self.download_states(final, geometry.samples), pull


def _sequence(rows, geometry):
    """Return rows as an array (samples, time steps, size) of the host's, in the caller's order."""
    values = rows.values.get().reshape(geometry.steps, geometry.samples, rows.size)
    return np.ascontiguousarray(geometry.host.unsort(values, 1).transpose(1, 0, 2))
