"""Recurrent layers: a stack of runs, each with its time loop and its weight gradients."""

import functools
from dataclasses import dataclass

import numpy as np

from numbarnn import parallel
from numbarnn.backends.cpu.batch import Call, Rows
from numbarnn.backends.cpu.dense import token_gradient, weight_gradient
from numbarnn.backends.cpu.dropout import drop, first_mask
from numbarnn.backends.cpu.segments import running_sum
from numbarnn.cells import contract
from numbarnn.core.layout import Layout
from numbarnn.core.signal import Signal
from numbarnn.kernels.cpu import matmul, shared_units, steps_ahead, tokens
from numbarnn.kernels.cpu import recurrent as kernels
from numbarnn.kernels.cpu.block_products import with_span
from numbarnn.kernels.cpu.memory import empty, padded, zeros
from numbarnn.kernels.cpu.simd import panel_width
from numbarnn.kernels.cpu.weight_gradient import Blocks, Operand
from numbarnn.kernels.groups import checked, entry_point


@dataclass
class Weights:
    """The weights of one run, packed.

    Attributes
    ----------
    run : numbarnn.layers.recurrent.Run
    forward, backward : groups of `numbarnn.kernels.cpu.recurrent`; the second None where no backward pass follows
    offsets : (G, 4) of the rows of each pre-activation and its biases in the flat parameters, as `matmul.pack_forward` takes them
    diagonal : (U, Hp)
    diagonal_offsets : list
        Of the diagonal weights in the flat parameters.
    unused : list
        (offset, size) of the rows of gates that no pre-activation takes.
    inner : bool
        Whether the cell has a second recurrent product.
    """

    run: object
    forward: kernels.Weights
    backward: kernels.BackwardWeights | None
    offsets: np.ndarray
    diagonal: np.ndarray
    diagonal_offsets: list
    unused: list
    inner: bool


@dataclass
class Tape:
    """What the backward pass of one run reads."""

    x: Rows
    batch: kernels.Batch
    activations: kernels.Activations

    states = property(lambda self: self.activations.states)
    saved = property(lambda self: self.activations.saved)
    inner = property(lambda self: self.activations.inner)
    inner_saved = property(lambda self: self.activations.inner_saved)


def prepare(call: Call, layer, params, prefix: str, signal: Signal, old=None) -> list[Weights]:
    """Return the weights as the kernels read them."""
    runs = layer.runs(signal)
    old = old or [None] * len(runs)
    return [_pack_run(call, layer, params, prefix, run, o) for run, o in zip(runs, old, strict=True)]


def _pack_run(call, layer, params, prefix, run, old):
    """Return the weights of a run, in the memory of `old`, those of earlier values, where there are such."""
    hidden, flat = layer.hidden_size, params.flat
    packed = old or _new_weights(call, layer, params, prefix, run)
    group, offsets = packed.forward, packed.offsets
    own = offsets
    if run.signal.tokens:
        own = offsets.copy()
        own[:, 0] = -1
    call.over(
        group.bias.size // panel_width(call.dtype),
        group.packed.size,
        lambda a, b: matmul.pack_forward(
            flat, own, hidden, group.inputs, group.recurrents, group.packed, group.bias, a, b
        ),
    )
    if run.signal.tokens:
        rows = group.token_rows.reshape(run.signal.size, group.bias.size)
        call.over(
            run.signal.size,
            rows.size,
            lambda a, b: tokens.pack_tokens(flat, offsets, hidden, run.signal.size, group.bias, rows, a, b),
        )
    for row, at in zip(packed.diagonal, packed.diagonal_offsets, strict=True):
        row[:hidden] = flat[at : at + hidden]
    if packed.backward is not None:
        back = packed.backward
        _pack_back(call, hidden, flat, offsets[slice(*back.from_hidden)], 1, hidden, back.packed_h)
        _pack_back(call, hidden, flat, offsets[slice(*back.from_inner)], 1, hidden, back.packed_inner)
        if not run.signal.tokens:
            _pack_back(call, hidden, flat, offsets[offsets[:, 0] >= 0], 0, run.signal.size, back.packed_x)
    return packed


def _new_weights(call, layer, params, prefix, run):
    """Return memory for the weights of a run."""
    cell, hidden, dtype = layer.cell, layer.hidden_size, call.dtype
    gates, width, inputs = len(cell.preactivations), padded(hidden, dtype), run.signal.size
    products = 0 if run.signal.tokens else inputs
    recurrents = hidden if contract.used_hidden_rows(cell) else 0
    ranges = (*layer.ranges(), layer.inner_range())
    sizes = gates * width * (products + recurrents), gates * width, inputs * gates * width if run.signal.tokens else 0
    # Zeros where a pre-activation takes x or h alone, so that frozen models depend on the parameters and nothing else.
    arrays = [zeros((size,), dtype) for size in sizes]
    forward = kernels.Weights(call.table, *ranges, products, recurrents, hidden, run.reverse, *arrays)
    backward = None
    if call.keep:
        x_range, h_range, inner_range = ((last - first) * hidden for first, last in ranges)
        back_sizes = h_range * width, x_range * padded(products, dtype), inner_range * width
        arrays = [empty((size,), dtype) for size in back_sizes]
        zero = np.zeros(max(width, padded(inputs, dtype)), dtype)
        backward = kernels.BackwardWeights(call.table, *ranges, hidden, run.reverse, *arrays, zero)
        backward = checked(backward, dtype, call.table.shape, *((size,) for size in back_sizes), zero.shape)
    return Weights(
        run,
        checked(forward, dtype, call.table.shape, *((size,) for size in sizes)),
        backward,
        layer.weight_offsets(params, prefix, run),
        zeros((len(cell.diagonal), width), dtype),
        [params.offsets[f"{prefix}weight_{unit}{run.suffix}"] for unit in cell.diagonal],
        layer.unused_offsets(params, prefix, run),
        contract.has_inner(cell),
    )


def _pack_back(call, hidden, flat, offsets, side, columns, packed):
    if packed.size == 0:
        return
    call.over(
        padded(columns, call.dtype) // panel_width(call.dtype),
        packed.size,
        lambda a, b: matmul.pack_backward(flat, offsets, side, hidden, columns, packed, a, b),
    )


def forward(call: Call, layer, weights, x: Rows, layout: Layout, state, number: int):
    """Return (output, its layout, final states, tape)."""
    shape = layer.state_shape(layout.samples)
    final = tuple(np.empty(shape, call.dtype) for _ in layer.cell.states)
    tapes = []
    for level in range(layer.num_layers):
        x = _drop(call, layer, x, layout, number, level) if level > 0 else x
        written = not call.keep and (layer.return_sequences or level < layer.num_layers - 1)
        out, outputs = None, []
        for index in range(level * layer.directions, (level + 1) * layer.directions):
            if written and (out is None or layer.merge == "sum"):
                out = _output_rows(call, layer, layout, number, level)
            start = None if state is None else [s[index] for s in state]
            stream = (number << 8) + 128 + index
            h, ends, tape = _run_forward(call, layer, weights[index], x, layout, start, stream, out)
            outputs.append(h if call.keep else out)
            tapes.append(tape)
            for whole, end in zip(final, ends, strict=True):
                whole[index] = layout.unsort(end)
        if written and layer.merge == "sum":
            out = _add(*outputs)
        x = _join(call, layer, outputs, layout) if call.keep else out
    if layer.return_sequences:
        return x, layout, final, tapes
    last = call.zeros((layout.samples, padded(layer.output_size, call.dtype)))
    begun = layout.begun  # what has no step has no last output, whatever its initial state
    for direction in range(layer.directions):
        column = layer.column(direction)
        h = layout.sort(final[0][direction - layer.directions])[:begun]
        own = last[:begun, column : column + layer.hidden_size]
        own[...] = own + h if layer.merge == "sum" else h
    return Rows(last, layer.output_size), layout.last(), final, tapes


def backward(call: Call, layer, weights, tapes, dy, layout: Layout, dfinal, gradient, need_dx: bool, number: int):
    """Write the gradients of the parameters into `gradient`; return (gradient of the input or None, of the initial states)."""
    hidden = layer.hidden_size
    shape = layer.state_shape(layout.samples)
    dstart = tuple(np.empty(shape, call.dtype) for _ in layer.cell.states)
    dlast = None if layer.return_sequences else dy
    dx = dy if layer.return_sequences else None
    for level in reversed(range(layer.num_layers)):
        dy, dx = dx, None
        if level < layer.num_layers - 1:
            dy = _drop(call, layer, dy, layout, number, level + 1)
        for direction in range(layer.directions):
            index = level * layer.directions + direction
            run, tape = weights[index].run, tapes[index]
            ends = call.zeros((len(layer.cell.states), layout.samples, padded(hidden, call.dtype)))
            if dfinal is not None:
                for s, whole in enumerate(dfinal):
                    ends[s, :, :hidden] = layout.sort(whole[index])
            if dlast is not None and level == layer.num_layers - 1:
                ends[0, : layout.begun, :hidden] += dlast.values[: layout.begun, run.column : run.column + hidden]
            wanted = (need_dx or level > 0) and not run.signal.tokens
            dx = _run_backward(call, layer, weights[index], tape, dy, layout, ends, gradient, wanted, dx)
            for whole, part in zip(dstart, ends, strict=True):
                whole[index] = layout.unsort(part[:, :hidden])
    return dx, dstart


def _output_rows(call, layer, layout, number, level):
    """Return the rows that the runs of a level write their outputs to where no tape holds them."""
    size, rows = layer.output_size, layout.steps * layout.samples
    if not (call.direct and layout.full):
        return Rows(call.empty((rows, padded(size, call.dtype))), size)
    last = number == call.last and level == layer.num_layers - 1
    return Rows(np.empty((rows, size), call.dtype) if last else call.empty((rows, size)), size, sample_major=True)


def _run_forward(call, layer, packed, x, layout, start, stream, out):
    cell, hidden, dtype = layer.cell, layer.hidden_size, call.dtype
    width, steps, samples = padded(hidden, dtype), layout.steps, layout.samples
    block, slots = samples * width, steps if call.keep else 1
    weights, span = with_span(packed.forward, samples, steps, dtype, _parties(call, packed, layout))
    initial = call.zeros((len(cell.states), samples, width))
    if start is not None:
        for s, values in enumerate(start):
            initial[s, :, :hidden] = layout.sort(values)
    _, mask, operand, inner_saved = _nothing(dtype)
    inner = operand
    if call.training and layer.recurrent_dropout:
        mask = first_mask(call, hidden, width, layout, layer.recurrent_dropout, stream)
        operand = call.empty((steps, samples, width))
    if packed.inner:
        inner, inner_saved = (
            call.empty((slots, samples, width)),
            call.empty((slots, len(cell.inner_saved), samples, width)),
        )
    batch = kernels.Batch(layout.lengths, layout.active, _repeated(packed.diagonal, samples), mask)
    batch = checked(batch, dtype, (samples,), (steps,), (packed.diagonal.shape[0] * block,), mask.shape)
    activations = kernels.Activations(
        states=call.empty((len(cell.states), steps + 1 if call.keep else 2, samples, width)),
        saved=call.empty((slots, len(cell.saved), samples, width)),
        operand=operand,
        inner=inner,
        inner_saved=inner_saved,
        preactivations=call.empty((span, len(cell.preactivations), samples, width)),
        start=initial,
        final=call.empty(initial.shape),
    )
    source, target = _input(call, x, layout), _columns(call, out, packed.run.column, layout)
    _over(call, "forward", packed, layout, cell, weights, batch, source, target, activations)
    final = activations.final[:, :, :hidden]
    if not call.keep:
        return None, final, None
    h = activations.states[0, :-1] if packed.run.reverse else activations.states[0, 1:]
    return Rows(h.reshape(steps * samples, width), hidden), final, Tape(x, batch, activations)


def _parties(call, packed, layout):
    """Return how many threads share the units of a run; 1: they share the samples, or there is one."""
    if call.n_threads == 1 or packed.inner:
        return 1
    panels = padded(packed.forward.hidden, call.dtype) // panel_width(call.dtype)
    return parallel.parties(panels, packed.forward.packed.size, layout.samples, layout.running, call.n_threads)


def _over(call, name, packed, layout, cell, *groups):
    """Run a time loop, by threads that share its samples or its units."""
    if (parties := _parties(call, packed, layout)) > 1:
        team_kernel = entry_point(getattr(shared_units, name), call.dtype, cell)
        call.over_team(parties, lambda team, number: team_kernel(cell, *groups, team, number))
        return
    kernel, weights = entry_point(getattr(kernels, name), call.dtype, cell), packed.forward
    operations = layout.running * (weights.packed.size + 16 * padded(weights.hidden, call.dtype))
    call.over_samples(layout, operations, lambda lo, hi: kernel(cell, *groups, lo, hi))


def _input(call, x, layout):
    """Return x as the time loop reads it."""
    if x.tokens:
        group = kernels.Input(_nothing(call.dtype)[0], 0, 0, x.values)
        return checked(group, call.dtype, (0,), (layout.steps * layout.samples,))
    group = kernels.Input(x.values.reshape(-1), *x.strides(layout), _NO_TOKENS)
    return checked(group, call.dtype, (x.values.size,), (0,))


def _columns(call, rows, column, layout):
    """Return the columns of rows from `column` on as the time loop takes them; None: no rows."""
    if rows is None:
        return kernels.Columns(_nothing(call.dtype)[0], 0, 0, 0)
    group = kernels.Columns(rows.values.reshape(-1), column, *rows.strides(layout))
    return checked(group, call.dtype, (layout.steps * layout.samples * rows.values.shape[1],))


def _run_backward(call, layer, packed, tape, dy, layout, ends, gradient, need_dx, dx):
    cell, hidden, dtype = layer.cell, layer.hidden_size, call.dtype
    width, steps, samples = padded(hidden, dtype), layout.steps, layout.samples
    add = dx is not None
    if need_dx and not add:
        shape = (steps * samples, padded(tape.x.size, dtype))
        dx = Rows(call.empty(shape) if layout.full else call.zeros(shape), tape.x.size)
    given = kernels.InputGradient(_nothing(dtype)[0], 0, False, 1)
    if need_dx:
        span = steps_ahead.block_of_steps(samples, steps)
        given = kernels.InputGradient(dx.values.reshape(-1), dx.values.shape[1], add, span)
    gradients = kernels.Gradients(
        dstates=ends,
        dpreactivations=call.empty((steps, len(cell.preactivations), samples, width)),
        ddiagonal=running_sum(call, (len(cell.diagonal), samples, width)),
        product=call.empty((samples, width) if tape.batch.mask.size else (0, 0)),
        dinner=call.empty((samples, width) if packed.inner else (0, 0)),
    )
    given = checked(given, dtype, (steps * samples * given.row,))
    weights, dout = packed.backward, _columns(call, dy, packed.run.column, layout)
    _over(call, "backward", packed, layout, cell, weights, tape.batch, tape.activations, dout, given, gradients)
    for at, size in packed.unused:
        gradient[at : at + size] = 0
    for unit, at in enumerate(packed.diagonal_offsets):
        gradient[at : at + hidden] = gradients.ddiagonal[unit, :, :hidden].sum(axis=0)
    _weight_gradients(call, layer, packed, tape, layout, gradients.dpreactivations, gradient)
    return dx


def _weight_gradients(call, layer, packed, tape, layout, dpreactivations, gradient):
    cell, hidden, dtype = layer.cell, layer.hidden_size, call.dtype
    width, samples, x = padded(hidden, dtype), layout.samples, tape.x
    block, count = samples * width, len(cell.preactivations)
    offsets, ranges = packed.offsets.copy(), packed.forward
    d = Blocks(dpreactivations.reshape(-1), 0, block, count * block, width, hidden)
    none = Operand(_nothing(dtype)[0], 0, 0, 0, (0, 0))
    left = none
    if x.tokens:
        token_gradient(call, layout, x, d, count * width, gradient, offsets)
        offsets[:, 0] = -1
    else:
        left = Operand(x.values.reshape(-1), 0, x.values.shape[1], x.size, ranges.from_input)
    activations = tape.activations
    h, at = activations.operand, 0
    if not h.size:
        h, at = activations.states, block if packed.run.reverse else 0
    right = Operand(h.reshape(-1), at, width, hidden if cell.from_hidden else 0, ranges.from_hidden)
    if packed.inner:
        first, last = ranges.from_inner
        own = np.full((last - first, 4), -1, np.int64)
        own[:, 1], offsets[first:last, 1] = offsets[first:last, 1], -1
        inner = Operand(activations.inner.reshape(-1), 0, width, hidden, (0, last - first))
        weight_gradient(call, layout, none, inner, d._replace(at=first * block), gradient, own)
    weight_gradient(call, layout, left, right, d, gradient, offsets)


def _join(call, layer, outputs, layout):
    """Return the outputs of all directions side by side, or their sum."""
    if len(outputs) == 1 and not (layer.reverse and not layout.full):
        return outputs[0]
    size = layer.output_size
    joined = call.zeros((len(outputs[0].values), padded(size, call.dtype)))
    for direction, rows in enumerate(outputs):
        if direction > 0 and layer.merge == "sum":
            _add(Rows(joined, size), rows)
            continue
        column = layer.column(direction)
        joined[:, column : column + layer.hidden_size] = rows.values[:, : layer.hidden_size]
    if not layout.full and not layer.causal:
        # In the reverse direction the initial state is in the row after the last of each sample.
        ended = np.flatnonzero(layout.lengths < layout.steps)
        joined[layout.lengths[ended] * layout.samples + ended, layer.column(layer.directions - 1) :] = 0
    return Rows(joined, size)


def _add(x, y):
    """Add rows to others, in place, and return these."""
    columns = x.values[:, : x.size]
    with np.errstate(over="ignore", invalid="ignore"):  # as kernels do
        np.add(columns, y.values[:, : y.size], out=columns)
    return x


def _drop(call, layer, x, layout, number, level):
    """Return x after the dropout below layer `level` of the stack; on a gradient, the gradient before it."""
    if not (call.training and layer.dropout):
        return x
    return drop(call, x, layout, layer.dropout, (number << 8) + level)


def _repeated(diagonal, samples):
    """Return diagonal weights (U, Hp) as (U, N, Hp), flat."""
    if len(diagonal) == 0:
        return _nothing(diagonal.dtype)[0]
    return np.repeat(diagonal[:, None, :], samples, axis=1).reshape(-1)  # always a copy, which a kernel could write to


_NO_TOKENS = np.zeros(0, np.int32)


@functools.cache
def _nothing(dtype):
    """Return empty arrays of one, two, three and four axes."""
    return tuple(np.zeros((0,) * axes, dtype) for axes in range(1, 5))
