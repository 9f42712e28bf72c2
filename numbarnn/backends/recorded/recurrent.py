"""Recurrent layers: a stack of runs, each with its time loop and its weight gradients."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from numbarnn.backends.cpu import batch as host
from numbarnn.backends.cpu import recurrent as of_host
from numbarnn.backends.recorded.batch import WEIGHTS, Call, Rows, own
from numbarnn.backends.recorded.dense import token_gradient, weight_gradient
from numbarnn.backends.recorded.dropout import drop, first_mask
from numbarnn.kernels.cpu import matmul, steps_ahead, tokens, whole_steps
from numbarnn.kernels.cpu import recurrent as kernels
from numbarnn.kernels.cpu.block_products import with_span
from numbarnn.kernels.cpu.calls import Ref
from numbarnn.kernels.cpu.memory import padded
from numbarnn.kernels.cpu.simd import panel_width
from numbarnn.kernels.cpu.weight_gradient import Blocks, Operand


@dataclass
class Tape:
    """What the way back of one run reads."""

    x: Rows
    batch: kernels.Batch
    activations: kernels.Activations


def prepare(call: Call, layer, params, prefix: str, signal, old=None) -> list[Any]:
    """Return the weights as the kernels read them: those of the host, with memory of the thread instead."""
    packed = of_host.prepare(host.Call(call.dtype, keep=True), layer, params, prefix, signal)
    return [_pack_run(call, layer, params, weights) for weights in packed]


def _pack_run(call, layer, params, weights):
    hidden, flat = layer.hidden_size, own(WEIGHTS, params.size, call.dtype, readonly=True)
    lanes, run, offsets = panel_width(call.dtype), weights.run, weights.offsets
    group, back = weights.forward, weights.backward
    names = "packed", "bias", "token_rows"
    group = group._replace(**{name: call.empty(getattr(group, name).shape) for name in names})
    panels, given = group.bias.size // lanes, offsets
    if run.signal.tokens:
        given = offsets.copy()
        given[:, 0] = -1
    call.run(
        matmul.pack_forward, flat, given, hidden, group.inputs, group.recurrents, group.packed, group.bias, 0, panels
    )  # fmt: skip
    if run.signal.tokens:
        rows = group.token_rows.part(0, run.signal.size, group.bias.size)
        call.run(tokens.pack_tokens, flat, offsets, hidden, run.signal.size, group.bias, rows, 0, run.signal.size)
    names = "packed_h", "packed_x", "packed_inner"
    back = back._replace(**{name: call.empty(getattr(back, name).shape) for name in names})
    used = offsets[offsets[:, 0] >= 0].copy()
    for own_offsets, side, columns, packed in (
        (offsets[slice(*back.from_hidden)], 1, hidden, back.packed_h),
        (offsets[slice(*back.from_inner)], 1, hidden, back.packed_inner),
        (used, 0, run.signal.size, back.packed_x),
    ):
        if packed.size:
            given = own_offsets.copy(), side, hidden, columns, packed, 0, padded(columns, call.dtype) // lanes
            call.run(matmul.pack_backward, flat, *given)
    return of_host.Weights(
        run, group, back, offsets, weights.diagonal, weights.diagonal_offsets, weights.unused, weights.inner
    )


def forward(call: Call, layer, weights, x: Rows, layout, state, number: int):
    """Return (output, its layout, final states, tape)."""
    tapes = []
    for level in range(layer.num_layers):
        x = _drop(call, layer, x, layout, number, level) if level > 0 else x
        outputs = []
        for index in range(level * layer.directions, (level + 1) * layer.directions):
            h, tape = _run_forward(call, layer, weights[index], x, layout, (number << 8) + 128 + index)
            outputs.append(h)
            tapes.append(tape)
        x = _join(call, layer, outputs, layout)
    if layer.return_sequences:
        return x, layout, (), tapes
    row, width = padded(layer.output_size, call.dtype), padded(layer.hidden_size, call.dtype)
    last = call.zeros((layout.samples, row))
    for direction in range(layer.directions):
        final = tapes[direction - layer.directions].activations.final.flat()
        given = layer.column(direction), row, layout.samples, layer.hidden_size, layer.merge == "sum"
        call.run(whole_steps.put_columns, final, width, last.flat(), *given)
    return Rows(last, layer.output_size), layout.last(), (), tapes


def backward(call: Call, layer, weights, tapes, dy, layout, dfinal, gradient, need_dx: bool, number: int):
    """Write down the gradients of the parameters; return (gradient of the input or None, of the initial states)."""
    hidden, width = layer.hidden_size, padded(layer.hidden_size, call.dtype)
    dlast = None if layer.return_sequences else dy
    dx = dy if layer.return_sequences else None
    for level in reversed(range(layer.num_layers)):
        dy, dx = dx, None
        if level < layer.num_layers - 1:
            dy = _drop(call, layer, dy, layout, number, level + 1)
        for direction in range(layer.directions):
            index = level * layer.directions + direction
            run, tape = weights[index].run, tapes[index]
            ends = call.zeros((len(layer.cell.states), layout.samples, width))
            if dlast is not None and level == layer.num_layers - 1:
                given = dlast.values.flat(), run.column, dlast.values.shape[1], ends.flat(), width
                call.run(whole_steps.take_columns, *given, layout.samples, hidden)
            wanted = (need_dx or level > 0) and not run.signal.tokens
            dx = _run_backward(call, layer, weights[index], tape, dy, layout, ends, gradient, wanted, dx)
    return dx, ()


def _run_forward(call, layer, packed, x, layout, stream):
    cell, hidden, dtype = layer.cell, layer.hidden_size, call.dtype
    width, steps, samples = padded(hidden, dtype), layout.steps, layout.samples
    block = samples * width
    group, span = with_span(packed.forward, samples, steps, dtype)
    initial = call.zeros((len(cell.states), samples, width))
    mask, operand, inner_saved = _nothing(dtype, 2), _nothing(dtype, 3), _nothing(dtype, 4)
    inner = operand
    if call.training and layer.recurrent_dropout:
        mask = first_mask(call, hidden, width, layout, layer.recurrent_dropout, stream)
        operand = call.empty((steps, samples, width))
    if packed.inner:
        inner = call.empty((steps, samples, width))
        inner_saved = call.empty((steps, len(cell.inner_saved), samples, width))
    diagonal = _nothing(dtype, 1)
    if packed.diagonal_offsets:
        diagonal = call.empty((len(packed.diagonal_offsets) * block,))
        flat = own(WEIGHTS, call.parameters, dtype, readonly=True)
        for unit, at in enumerate(packed.diagonal_offsets):
            call.run(whole_steps.repeat, flat, at, hidden, samples, width, diagonal.part(unit * block, block))
    batch = kernels.Batch(layout.lengths, layout.active, diagonal, mask)
    activations = kernels.Activations(
        states=call.empty((len(cell.states), steps + 1, samples, width)),
        saved=call.empty((steps, len(cell.saved), samples, width)),
        operand=operand,
        inner=inner,
        inner_saved=inner_saved,
        preactivations=call.empty((span, len(cell.preactivations), samples, width)),
        start=initial,
        final=call.empty(initial.shape),
    )
    if x.tokens:
        source = kernels.Input(_nothing(dtype, 1), 0, 0, x.values)
    else:
        row = x.values.shape[1]
        source = kernels.Input(x.values.flat(), samples * row, row, np.zeros(0, np.int32))
    target = kernels.Columns(_nothing(dtype, 1), 0, 0, 0)
    call.run(kernels.forward, cell, group, batch, source, target, activations, 0, samples)
    h = activations.states.part(0 if packed.run.reverse else block, steps * samples, width)
    return Rows(h, hidden), Tape(x, batch, activations)


def _run_backward(call, layer, packed, tape, dy, layout, ends, gradient, need_dx, dx):
    cell, hidden, dtype = layer.cell, layer.hidden_size, call.dtype
    width, steps, samples = padded(hidden, dtype), layout.steps, layout.samples
    add = dx is not None
    if need_dx and not add:
        dx = Rows(call.empty((steps * samples, padded(tape.x.size, dtype))), tape.x.size)
    given = kernels.InputGradient(_nothing(dtype, 1), 0, False, 1)
    if need_dx:
        span = steps_ahead.block_of_steps(samples, steps)
        given = kernels.InputGradient(dx.values.flat(), dx.values.shape[1], add, span)
    masked = bool(layer.recurrent_dropout)
    gradients = kernels.Gradients(
        dstates=ends,
        dpreactivations=call.empty((steps, len(cell.preactivations), samples, width)),
        ddiagonal=call.zeros((len(cell.diagonal), samples, width)),
        product=call.empty((samples, width) if masked else (0, 0)),
        dinner=call.empty((samples, width) if packed.inner else (0, 0)),
    )
    dout = kernels.Columns(_nothing(dtype, 1), 0, 0, 0)
    if dy is not None:
        row = dy.values.shape[1]
        dout = kernels.Columns(dy.values.flat(), packed.run.column, samples * row, row)
    groups = packed.backward, tape.batch, tape.activations, dout, given, gradients
    call.run(kernels.backward, cell, *groups, 0, samples)
    for at, size in packed.unused:
        call.fill(gradient.part(at, size), 0.0)
    for unit, at in enumerate(packed.diagonal_offsets):
        rows = gradients.ddiagonal.part(unit * samples * width, samples * width)
        call.run(whole_steps.sum_samples, rows, samples, width, hidden, gradient, at)
    _weight_gradients(call, layer, packed, tape, layout, gradients.dpreactivations, gradient)
    return dx


def _weight_gradients(call, layer, packed, tape, layout, dpreactivations, gradient):
    cell, hidden, dtype = layer.cell, layer.hidden_size, call.dtype
    width, samples, x = padded(hidden, dtype), layout.samples, tape.x
    block, count = samples * width, len(cell.preactivations)
    offsets, ranges, activations = packed.offsets.copy(), packed.forward, tape.activations
    d = Blocks(dpreactivations.flat(), 0, block, count * block, width, hidden)
    none = Operand(_nothing(dtype, 1), 0, 0, 0, (0, 0))
    if x.tokens:
        token_gradient(call, layout, x, d, count * width, gradient, offsets)
        offsets[:, 0], left = -1, none
    else:
        left = Operand(x.values.flat(), 0, x.values.shape[1], x.size, ranges.from_input)
    h, at = activations.operand, 0
    if not h.size:
        h, at = activations.states, block if packed.run.reverse else 0
    right = Operand(_flat(h), at, width, hidden if cell.from_hidden else 0, ranges.from_hidden)
    if packed.inner:
        first, last = ranges.from_inner
        own_offsets = np.full((last - first, 4), -1, np.int64)
        own_offsets[:, 1], offsets[first:last, 1] = offsets[first:last, 1], -1
        inner = Operand(_flat(activations.inner), 0, width, hidden, (0, last - first))
        weight_gradient(call, layout, none, inner, d._replace(at=first * block), gradient, own_offsets)
    weight_gradient(call, layout, left, right, d, gradient, offsets)


def _join(call, layer, outputs, layout):
    """Return the outputs of all directions side by side, or their sum."""
    if len(outputs) == 1:
        return outputs[0]
    size, rows = layer.output_size, layout.steps * layout.samples
    row = padded(size, call.dtype)
    joined = call.zeros((rows, row))
    for direction, h in enumerate(outputs):
        given = layer.column(direction), row, rows, layer.hidden_size, direction > 0 and layer.merge == "sum"
        call.run(whole_steps.put_columns, h.values.flat(), h.values.shape[1], joined.flat(), *given)
    return Rows(joined, size)


def _drop(call, layer, x, layout, number, level):
    """Return x after the dropout below layer `level` of the stack; on a gradient, the gradient before it."""
    if not (call.training and layer.dropout):
        return x
    return drop(call, x, layout, layer.dropout, (number << 8) + level)


def _flat(array):
    return array.flat() if isinstance(array, Ref) else array.reshape(-1)


def _nothing(dtype, axes):
    return np.zeros((0,) * axes, dtype)
