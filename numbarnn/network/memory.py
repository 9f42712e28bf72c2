"""What a pass needs of memory, and the segments by which it needs no more than a limit.

Nothing is computed for it: a pass over few samples and steps is made with a call that runs no kernel, and what it has taken of
its arena is counted. It is a sum of four terms, those of the pass, of a sample, of a step and of a row, which four such passes
tell apart.
"""

import itertools
import math
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

import numpy as np

from numbarnn.checks import check_bytes
from numbarnn.core.layout import Layout
from numbarnn.kernels.cpu.weight_gradient import SPAN
from numbarnn.layers import Pool
from numbarnn.network.segments import cut_layers, takes_rows

# Bytes of the loss and the target of a row.
LOSS = 16
# Samples and steps of the counted passes; samples are many enough for memory to be handed out without gaps.
_SAMPLES, _STEPS = (16, 32), (2, 4)
# Steps of those passes whose samples are few: more than a block of `numbarnn.kernels.cpu.block_products`.
_MORE_STEPS = (32, 64)


@dataclass(frozen=True)
class Memory:
    """Bytes that a pass through a model needs; see `numbarnn.Model.memory`.

    Attributes
    ----------
    weights : int
        The parameters, and copies of them as the kernels read them.
    gradient : int
        The gradient of all parameters; 0 without training.
    activations : int
        Everything that grows with the batch: inputs by rows, states, tapes, outputs, losses, gradients of all these.
    segments : int
        By how many segments the pass goes through the steps; 1: in one piece.
    """

    weights: int
    gradient: int
    activations: int
    segments: int = 1

    @property
    def total(self) -> int:
        """The sum of all."""
        return self.weights + self.gradient + self.activations

    def __str__(self) -> str:
        parts = ", ".join(f"{name} {as_text(getattr(self, name))}" for name in ("weights", "gradient", "activations"))
        cut = f", in {self.segments} segments" if self.segments > 1 else ""
        return f"{as_text(self.total)} ({parts}{cut})"


def as_text(size: int) -> str:
    """Return a number of bytes as people write it."""
    for unit, value in (("GB", size / 1e9), ("MB", size / 1e6), ("kB", size / 1e3)):
        if value >= 0.9995:
            return f"{value:.3g} {unit}" if value < 999.5 else f"{value:.0f} {unit}"
    return f"{size} bytes"


@dataclass(frozen=True)
class _Costs:
    """Bytes of the pass, for each sample, each step and each row."""

    whole: float
    sample: float
    step: float
    row: float

    def of(self, samples, steps):
        """Return the bytes of a batch."""
        return self.whole + samples * (self.sample + self.row * steps) + self.step * steps


def checked_limit(network: Any, limit: Any) -> int | None:
    """Return a limit of memory in bytes, or None.

    Raises
    ------
    TypeError, ValueError
        If it is not one, or the network's device has no passes by segments.
    """
    if limit is None:
        return None
    if not network.backend.segments.AVAILABLE:
        raise ValueError(
            f"memory_limit must be None with device={network.device!r}, got {limit!r}: passes by segments run on the CPU; take a "
            "smaller batch_size, or tbptt"
        )
    return check_bytes(limit, "memory_limit")


def memory(network: Any, samples: int, steps: int, training: bool, loss: Any, limit: int | None) -> Memory:
    """Return what a pass needs, under a limit of the activations if there is one."""
    if not network.backend.segments.AVAILABLE:
        raise ValueError(f"memory is that of models with device='cpu', got device={network.device!r}")
    if limit is not None and not training:
        raise ValueError("memory_limit goes with training=True: a forward pass has no tape")
    call = _counting(network, training, network.n_threads)
    weights = network.params.flat.nbytes + _size_of(network._prepare(call, network.params), network.params.flat, set())
    gradient = network.params.flat.nbytes if training else 0
    if limit is None:
        return Memory(weights, gradient, _in_one_piece(network, samples, steps, training, network.n_threads))
    activations, length = _plan(network, samples, steps, loss, limit, True, network.n_threads)
    return Memory(weights, gradient, activations, -(-steps // length))


def segment_length(network: Any, layout: Layout, loss: Any, limit: int, training: bool, n_threads: int) -> int | None:
    """Return the steps of a segment by which a pass, with its gradient if `training`, meets a limit; None: it needs no segments.

    Raises
    ------
    ValueError
        If no segments are short enough.
    """
    length = _plan(network, layout.samples, layout.steps, loss, limit, training, n_threads)[1]
    return length if length < layout.steps else None


def _plan(network, samples, steps, loss, limit, training, n_threads):
    """Return (bytes of the activations, steps of a segment)."""
    whole = _in_one_piece(network, samples, steps, training, n_threads)
    if not training:  # the loss and the gradient of the outputs, which are made all the same
        ends = samples * steps if network.signals[-1].sequence else samples
        whole += LOSS * ends + _rows_size(network, network.signals[-1], ends)
    if whole <= limit:
        return whole, steps
    cut, rowwise = cut_layers(network.layers), takes_rows(network, loss)
    least, rows = whole, samples * steps
    if cut:
        part, signal = _costs(network, 0, cut, training, n_threads, samples), network.signals[cut]
        layers = [layer for layer in network.layers[:cut] if layer.state_names]
        states = sum(math.prod(layer.state_shape(samples)) * len(layer.state_names) for layer in layers)
        states *= network.dtype.itemsize
        # The rows of unfinished blocks, and a copy of them, are less than half of what rows take, and fewer than 2 SPAN.
        fixed = part.of(samples, 0) + LOSS * rows + SPAN * part.row
        if not rowwise:
            rest = _costs(network, cut, len(network.layers), training, n_threads, samples)
            fixed += rest.of(samples, steps if signal.sequence else 1)
            fixed += _rows_size(network, signal, samples * steps if signal.sequence else samples)
        step = part.step + samples * part.row
        # Shorter segments than those of the least cost need more for their states than they save.
        counts = np.arange(1, min(steps, int(np.sqrt(steps * step / max(states, 1)) + 1)) + 1)
        lengths = -(-steps // counts)
        sizes = fixed + lengths * step + (-(-steps // lengths) + 1) * states
        fitting = np.flatnonzero(sizes <= limit)
        if fitting.size:
            return int(sizes[fitting[0]]), int(lengths[fitting[0]])
        least = min(least, int(sizes.min()))
    whole_layer = "" if cut else f" ({network.layers[0]!r} needs all steps at once)"
    raise ValueError(
        f"memory_limit must be at least {least} bytes ({as_text(least)}) for {samples} x {steps} steps{whole_layer}, got "
        f"{as_text(limit)}; take a smaller batch_size, shorter sequences, or tbptt"
    )


def _in_one_piece(network, samples, steps, training, n_threads):
    """Return the bytes of the activations of a pass in one piece."""
    size = _costs(network, 0, len(network.layers), training, n_threads, samples).of(samples, steps)
    ends = samples * steps if network.signals[-1].sequence else samples
    outputs = 0 if training else _rows_size(network, network.signals[-1], ends, padded=False)
    return int(size) + (LOSS * ends if training else outputs)


def _rows_size(network, signal, rows, padded=True):
    width = network.backend.batch.padded(signal.size, network.dtype) if padded else signal.size
    return rows * width * network.dtype.itemsize


def _costs(network, first, last, training, n_threads, samples):
    """Return what the layers [first, last) cost, there and back if it is training."""
    few = (
        samples if samples < _SAMPLES[0] else None
    )  # which have products of x for blocks of steps, and a cost of their own
    key = first, last, training, n_threads, few
    if key not in network._costs and few:
        a, b = (_count(network, first, last, training, n_threads, few, steps) for steps in _MORE_STEPS)
        row = (b - a) / (few * (_MORE_STEPS[1] - _MORE_STEPS[0]))
        network._costs[key] = _Costs(a - row * few * _MORE_STEPS[0], 0.0, 0.0, row)
    elif key not in network._costs:
        sizes = itertools.product(_SAMPLES, _STEPS)
        found = [_count(network, first, last, training, n_threads, *size) for size in sizes]
        (a, b), (c, d) = np.reshape(found, (2, 2))
        (n, m), (t, u) = _SAMPLES, _STEPS
        row = (d - c - b + a) / ((m - n) * (u - t))
        sample, step = (c - a) / (m - n) - row * t, (b - a) / (u - t) - row * n
        network._costs[key] = _Costs(a - n * (sample + row * t) - step * t, sample, step, row)
    return network._costs[key]


def _count(network, first, last, training, n_threads, samples, steps):
    """Return the bytes of a pass through some layers."""
    call, batch, signal = _counting(network, training, n_threads), network.backend.batch, network.signals[first]
    weights = network._prepare(call, network.params)
    layout = Layout.make(steps if signal.sequence else 1, samples)
    apart = 0
    if first:
        rows = batch.Rows(call.empty((layout.steps * samples, batch.padded(signal.size, call.dtype))), signal.size)
        call.arena.reset()  # it is made by the layers before
    else:
        shape = samples, steps, *([signal.bag] if signal.bag else [] if signal.tokens else [signal.size])
        rows, _ = batch.as_rows(call, signal, np.zeros(shape, np.int32 if signal.tokens else call.dtype), layout)
        apart += rows.values.nbytes if signal.tokens else 0
    with np.errstate(all="ignore"):
        out, _, final, tape = network._forward(call, weights, rows, layout, None, first, last)
        if training:
            dy = batch.Rows(call.empty(out.values.shape), out.size)
            gradient = np.empty(network.params.size, call.dtype)
            network._backward(call, weights, tape, dy, gradient, need_dx=first > 0, first=first)
    # What passes take beside their arena: states and their gradients, winners of pooling.
    apart += (1 + training) * sum(array.nbytes for entry in final for array in entry)
    for layer, own in zip(network.layers[first:last], network.signals[first:last], strict=True):
        if isinstance(layer, Pool) and layer.kind == "max":
            apart += 8 * samples * own.size
    return call.arena.used + apart


def _counting(network, training, n_threads):
    """Return a call whose arena counts, and that runs nothing."""
    options = {"keep": training, "training": training, "direct": not training, "last": len(network.layers) - 1}
    call = network._call(n_threads, arena=network.backend.batch.Arena(), **options)

    def over(count, operations, job, scratch=0):
        for _ in range(call.n_threads):
            call.empty((scratch,))

    call.over, call.over_samples = over, lambda layout, operations, job: None
    call.over_team = lambda parties, job: None
    return call


def _size_of(value, params, seen):
    """Return the bytes of all arrays in packed weights that are not the parameters themselves."""
    if isinstance(value, np.ndarray):
        if id(value) in seen or np.may_share_memory(value, params):
            return 0
        seen.add(id(value))
        return value.nbytes
    if is_dataclass(value):
        value = [getattr(value, field.name) for field in fields(value)]
    return sum(_size_of(item, params, seen) for item in value) if isinstance(value, (tuple, list)) else 0
