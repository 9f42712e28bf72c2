"""Recurrent layers: a stack of runs, each with its time loop and its weight gradients."""

from dataclasses import dataclass

import numpy as np

from numbarnn.backends.cpu.batch import Call, Rows
from numbarnn.backends.cpu.dropout import drop
from numbarnn.cells import contract
from numbarnn.core.layout import Layout
from numbarnn.core.signal import Signal
from numbarnn.kernels.compile import kernel_for
from numbarnn.kernels.cpu import matmul, recurrent, tokens, two_phase
from numbarnn.kernels.cpu.memory import empty, padded, zeros
from numbarnn.kernels.cpu.simd import panel_width


@dataclass
class Weights:
    """The weights of one run as the kernels want them."""

    forward: np.ndarray
    bias: np.ndarray
    places: np.ndarray
    diagonal: np.ndarray
    diagonal_offsets: list
    unused: list
    token_rows: np.ndarray
    back_h: np.ndarray
    back_x: np.ndarray
    back_inner: np.ndarray


@dataclass
class Tape:
    """What one run keeps for its backward pass."""

    x: Rows
    states: np.ndarray
    saved: np.ndarray
    mask: np.ndarray
    operand: np.ndarray
    inner: np.ndarray
    inner_saved: np.ndarray


def prepare(call: Call, layer, params, prefix: str, signal: Signal, old=None) -> list[Weights]:
    """Return the weights as the kernels want them."""
    runs = layer.runs(signal)
    old = old or [None] * len(runs)
    return [_pack_run(call, layer, params, prefix, run, o) for run, o in zip(runs, old, strict=True)]


def _pack_run(call, layer, params, prefix, run, old):
    cell, hidden, dtype = layer.cell, layer.hidden_size, call.dtype
    flat, width = params.flat, padded(hidden, dtype)
    inputs = run.signal.size
    places = old.places if old else layer.weight_offsets(params, prefix, run)
    products = 0 if run.signal.tokens else inputs
    recurrents = hidden if contract.used_hidden_rows(cell) else 0
    forward = old.forward if old else empty((len(cell.preactivations) * width * (products + recurrents),), dtype)
    bias = old.bias if old else empty((len(cell.preactivations) * width,), dtype)
    panels = bias.size // panel_width(dtype)
    own = places.copy()
    if run.signal.tokens:
        own[:, 0] = -1
    call.over(
        panels,
        forward.size,
        lambda a, b: matmul.pack_forward(flat, own, hidden, products, recurrents, forward, bias, a, b),
    )
    none = np.zeros(0, dtype)
    token_rows = none.reshape(0, 0)
    if run.signal.tokens:
        token_rows = old.token_rows if old else empty((inputs, bias.size), dtype)
        call.over(
            inputs,
            token_rows.size,
            lambda a, b: tokens.pack_tokens(flat, places, hidden, inputs, bias, token_rows, a, b),
        )
    diagonal_offsets = [params.offsets[f"{prefix}weight_{unit}{run.suffix}"] for unit in cell.diagonal]
    diagonal = zeros((len(cell.diagonal), width), dtype)
    for row, at in zip(diagonal, diagonal_offsets, strict=True):
        row[:hidden] = flat[at : at + hidden]
    back_h = back_x = back_inner = none
    if call.keep:
        (first, last), (first_inner, last_inner) = layer.ranges()[1], layer.inner_range()
        back_h = _pack_back(call, layer.hidden_size, flat, places[first:last], 1, hidden, old and old.back_h)
        back_inner = _pack_back(
            call, layer.hidden_size, flat, places[first_inner:last_inner], 1, hidden, old and old.back_inner
        )
        if not run.signal.tokens:
            back_x = _pack_back(call, layer.hidden_size, flat, places[places[:, 0] >= 0], 0, inputs, old and old.back_x)
    unused = old.unused if old else layer.unused_offsets(params, prefix, run)
    return Weights(forward, bias, places, diagonal, diagonal_offsets, unused, token_rows, back_h, back_x, back_inner)


def _pack_back(call, hidden, flat, places, side, columns, old):
    packed = old
    if len(places) == 0:
        return np.zeros(0, call.dtype)
    if packed is None:
        packed = empty((padded(columns, call.dtype) * len(places) * hidden,), call.dtype)
    panels = padded(columns, call.dtype) // panel_width(call.dtype)
    call.over(
        panels,
        packed.size,
        lambda a, b: matmul.pack_backward(flat, places, side, hidden, columns, packed, a, b),
    )
    return packed


def _driver(layer):
    """Return the module with the time loops of the cell: `recurrent`, or `two_phase` with the same arguments and more."""
    return two_phase if contract.has_inner(layer.cell) else recurrent


def forward(call: Call, layer, weights, x: Rows, layout: Layout, state, number: int):
    """Return (output, its layout, final states, tape)."""
    final = tuple(np.empty(layer.state_shape(layout.samples), call.dtype) for _ in layer.cell.states)
    signal = Signal(x.size, tokens=x.tokens)
    tapes = []
    for level in range(layer.num_layers):
        x = _drop(call, layer, x, layout, number, level) if level > 0 else x
        out = None
        if not call.keep and (layer.return_sequences or level < layer.num_layers - 1):
            out = _output_rows(call, layer, layout, number, level)
        outputs = []
        for place, run in list(enumerate(layer.runs(signal)))[
            level * layer.directions : (level + 1) * layer.directions
        ]:
            start = None if state is None else [s[place] for s in state]
            stream = (number << 8) + 128 + place
            h, ends, tape = _run_forward(call, layer, run, weights[place], x, layout, start, stream, out)
            outputs.append(h)
            tapes.append(tape)
            for whole, end in zip(final, ends, strict=True):
                whole[place] = layout.unsort(end)
        x = _join(call, layer, outputs, layout) if call.keep else out
    if layer.return_sequences:
        return x, layout, final, tapes
    last = call.zeros((layout.samples, padded(layer.hidden_size * layer.directions, call.dtype)))
    for direction in range(layer.directions):
        column = direction * layer.hidden_size
        h = final[0][direction - layer.directions]
        last[:, column : column + layer.hidden_size] = layout.sort(h)
    return Rows(last, layer.hidden_size * layer.directions), layout.last(), final, tapes


def backward(call: Call, layer, weights, tapes, dy, layout: Layout, dfinal, gradient, need_dx: bool, number: int):
    """Write the gradients of the parameters into `gradient`; return (gradient of the input or None, of the initial states)."""
    hidden = layer.hidden_size
    dstart = tuple(np.empty(layer.state_shape(layout.samples), call.dtype) for _ in layer.cell.states)
    runs = layer.runs(Signal(tapes[0].x.size, tokens=tapes[0].x.tokens))
    dlast = None if layer.return_sequences else dy
    dx = dy if layer.return_sequences else None
    for level in reversed(range(layer.num_layers)):
        dy, dx = dx, None
        if level < layer.num_layers - 1:
            dy = _drop(call, layer, dy, layout, number, level + 1)
        for direction in range(layer.directions):
            place = level * layer.directions + direction
            run, tape = runs[place], tapes[place]
            ends = call.zeros((len(layer.cell.states), layout.samples, padded(hidden, call.dtype)))
            if dfinal is not None:
                for s, whole in enumerate(dfinal):
                    ends[s, :, :hidden] = layout.sort(whole[place])
            if dlast is not None and level == layer.num_layers - 1:
                ends[0, :, :hidden] += dlast.values[:, run.column : run.column + hidden]
            wanted = (need_dx or level > 0) and not run.signal.tokens
            dx = _run_backward(call, layer, run, weights[place], tape, dy, layout, ends, gradient, wanted, dx)
            for whole, part in zip(dstart, ends, strict=True):
                whole[place] = layout.unsort(part[:, :hidden])
    return dx, dstart


def _output_rows(call, layer, layout, number, level):
    """Return the rows that the runs of a level write their outputs to where no tape holds them."""
    size, rows = layer.hidden_size * layer.directions, layout.steps * layout.samples
    if not (call.direct and layout.full):
        return Rows(call.empty((rows, padded(size, call.dtype))), size)
    last = number == call.last and level == layer.num_layers - 1
    return Rows(np.empty((rows, size), call.dtype) if last else call.empty((rows, size)), size, sample_major=True)


def _run_forward(call, layer, run, packed, x, layout, start, stream, out):
    cell, hidden, dtype = layer.cell, layer.hidden_size, call.dtype
    width, steps, samples = padded(hidden, dtype), layout.steps, layout.samples
    none = np.zeros(0, dtype)
    first = call.zeros((len(cell.states), samples, width))
    if start is not None:
        for s, values in enumerate(start):
            first[s, :, :hidden] = layout.sort(values)
    final = call.empty(first.shape)
    states = call.empty((len(cell.states), steps + 1 if call.keep else 2, samples, width))
    saved = call.empty((steps if call.keep else 1, len(cell.saved), samples, width))
    preactivations = call.empty((len(cell.preactivations), samples, width))
    mask, operand = none.reshape(0, 0), none.reshape(0, 0, 0)
    if call.training and layer.recurrent_dropout:
        mask, operand = _mask(call, layer, layout, stream), call.empty((steps, samples, width))
    diagonal = _repeated(packed.diagonal, samples)
    inner, inner_saved, second = none.reshape(0, 0, 0), none.reshape(0, 0, 0, 0), ()
    if contract.has_inner(cell):
        kept = steps if call.keep else 1
        inner = call.empty((kept, samples, width))
        inner_saved = call.empty((kept, len(cell.inner_saved), samples, width))
        second = (layer.inner_range(), inner, inner_saved)
    kernel = kernel_for(_driver(layer).forward, cell)
    x_range, h_range = layer.ranges()
    values, x_strides = (none, (0, 0)) if x.tokens else (x.values.reshape(-1), x.strides(layout))
    out_values, out_strides = (none, (0, 0)) if out is None else (out.values.reshape(-1), out.strides(layout))
    token = x.values if x.tokens else np.zeros(0, np.int32)
    work = layout.running * (packed.forward.size + 16 * width)
    call.over_samples(
        layout,
        work,
        lambda lo, hi: kernel(
            cell, call.table, x_range, h_range, 0 if x.tokens else x.size, hidden if contract.used_hidden_rows(cell) else 0,
            run.reverse, values, *x_strides, token, packed.token_rows.reshape(-1),
            packed.forward, packed.bias, diagonal.reshape(-1), mask,
            layout.lengths, layout.active, first, states, saved, preactivations, operand,
            out_values, run.column, *out_strides, hidden, final, lo, hi, *second,
        ),
    )  # fmt: skip
    if not call.keep:
        return None, final[:, :, :hidden], None
    h = states[0, :-1] if run.reverse else states[0, 1:]
    h = Rows(h.reshape(steps * samples, width), hidden)
    return h, final[:, :, :hidden], Tape(x, states, saved, mask, operand, inner, inner_saved)


def _run_backward(call, layer, run, packed, tape, dy, layout, ends, gradient, need_dx, dx):
    cell, hidden, dtype = layer.cell, layer.hidden_size, call.dtype
    width, steps, samples = padded(hidden, dtype), layout.steps, layout.samples
    none = np.zeros(0, dtype)
    x_range, h_range = layer.ranges()
    dpreactivations = call.empty((steps, len(cell.preactivations), samples, width))
    product = call.empty((samples, width) if tape.mask.size else (0, 0))
    ddiagonal = call.zeros((len(cell.diagonal), samples, width))
    diagonal = _repeated(packed.diagonal, samples)
    add = dx is not None
    if need_dx and not add:
        shape = (steps * samples, padded(tape.x.size, dtype))
        dx = Rows(call.empty(shape) if layout.full else call.zeros(shape), tape.x.size)
    dx_values, dx_row = (dx.values.reshape(-1), dx.values.shape[1]) if need_dx else (none, 0)
    dy_values, dy_row = (none, 0) if dy is None else (dy.values.reshape(-1), dy.values.shape[1])
    second = ()
    if contract.has_inner(cell):
        second = (layer.inner_range(), packed.back_inner, tape.inner_saved, call.empty((samples, width)))
    kernel = kernel_for(_driver(layer).backward, cell)
    blank = np.zeros(max(width, dx_row), dtype)
    work = layout.running * (packed.forward.size + 16 * width)
    call.over_samples(
        layout,
        work,
        lambda lo, hi: kernel(
            cell, call.table, x_range, h_range, hidden, run.reverse,
            packed.back_h, packed.back_x, diagonal.reshape(-1), tape.mask,
            layout.active, tape.states, tape.saved, dy_values, run.column, dy_row, blank,
            ends, dpreactivations, product, dx_values, dx_row, add, ddiagonal, lo, hi, *second,
        ),
    )  # fmt: skip
    for at, size in packed.unused:
        gradient[at : at + size] = 0
    for unit, at in enumerate(packed.diagonal_offsets):
        gradient[at : at + hidden] = ddiagonal[unit, :, :hidden].sum(axis=0)
    _weight_gradients(call, layer, run, packed, tape, layout, dpreactivations, gradient)
    return dx


def _weight_gradients(call, layer, run, packed, tape, layout, dpreactivations, gradient):
    cell, hidden, dtype = layer.cell, layer.hidden_size, call.dtype
    width, samples = padded(hidden, dtype), layout.samples
    x_range, h_range = layer.ranges()
    places, flat = packed.places.copy(), dpreactivations.reshape(-1)
    plane, step = samples * width, len(cell.preactivations) * samples * width
    x = tape.x
    if x.tokens:
        lanes = panel_width(dtype)
        call.over(
            len(cell.preactivations) * width // lanes,
            layout.running * len(cell.preactivations) * width * 14.0,  # additions that wait for memory
            lambda a, b, scratch: tokens.token_gradient(
                x.values, x.size, flat, plane, width, step, hidden, layout.active, samples, scratch, gradient, places, a, b
            ),
            scratch=x.size * lanes,
        )  # fmt: skip
        places[:, 0] = -1
    none = np.zeros(0, dtype), 0, 0, (0, 0)
    left = none if x.tokens else (x.values.reshape(-1), x.values.shape[1], x.size, x_range)
    if tape.operand.size:
        h, h_at = tape.operand.reshape(-1), 0
    else:
        h, h_at = tape.states.reshape(-1), plane if run.reverse else 0
    right = h, h_at, width, hidden if cell.from_hidden else 0, h_range
    if contract.has_inner(cell):
        first, last = layer.inner_range()
        own = np.full((last - first, 4), -1, np.int64)
        own[:, 1], places[first:last, 1] = places[first:last, 1], -1
        inner = tape.inner.reshape(-1), 0, width, hidden, (0, last - first)
        _product_gradient(call, layer, layout, none, inner, flat[first * plane :], step, own, gradient)
    _product_gradient(call, layer, layout, left, right, flat, step, places, gradient)


def _product_gradient(call, layer, layout, left, right, dpreactivations, step, places, gradient):
    """Write the gradients of the weights of one or two products and of their biases.

    left : x as (values, row, columns, range); right : h as (values, offset, row, columns, range), as in `matmul`.
    """
    dtype, width = call.dtype, padded(layer.hidden_size, call.dtype)
    lanes = panel_width(dtype)
    panels = len(places) * width // lanes
    columns, recurrents = left[2], right[3]
    rows = padded(columns, dtype) + padded(recurrents, dtype)
    sums = call.empty((panels * (rows + matmul.CHAINS) * lanes,))
    call.over(
        panels,
        layout.running * len(places) * width * (columns + recurrents + 8),
        lambda a, b, scratch: matmul.weight_gradient(
            call.table, *left, *right, dpreactivations, layout.samples * width, width, step, layer.hidden_size,
            layout.active, layout.samples, scratch, sums, gradient, places, a, b,
        ),
        scratch=(rows + 2 * lanes) * matmul.SPAN,
    )  # fmt: skip


def _join(call, layer, outputs, layout):
    """Return the outputs of all directions side by side."""
    if len(outputs) == 1:
        return outputs[0]
    size = layer.hidden_size * len(outputs)
    joined = call.zeros((len(outputs[0].values), padded(size, call.dtype)))
    for direction, rows in enumerate(outputs):
        column = direction * layer.hidden_size
        joined[:, column : column + layer.hidden_size] = rows.values[:, : layer.hidden_size]
    if not layout.full and len(outputs) == 2:
        # In the reverse direction the initial state stands in the row behind the last of each sample.
        ended = np.flatnonzero(layout.lengths < layout.steps)
        joined[layout.lengths[ended] * layout.samples + ended, layer.hidden_size :] = 0
    return Rows(joined, size)


def _drop(call, layer, x, layout, number, level):
    """Return x after the dropout below layer `level` of the stack; on a gradient, the gradient before it."""
    if not (call.training and layer.dropout):
        return x
    return drop(call, x, layout, layer.dropout, (number << 8) + level)


def _mask(call, layer, layout, stream):
    ones = Rows(np.ones((layout.samples, padded(layer.hidden_size, call.dtype)), call.dtype), layer.hidden_size)
    return drop(call, ones, layout.last(), layer.recurrent_dropout, stream).values


def _repeated(diagonal, samples):
    """Return diagonal weights (U, Hp) as (U, N, Hp)."""
    return np.repeat(diagonal[:, None, :], samples, axis=1)  # always a copy: a view would be another type to the kernel
