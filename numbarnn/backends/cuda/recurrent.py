"""Recurrent layers on a device: a stack of runs, each with its products, its time loop and its weight gradients."""

from dataclasses import dataclass

import numpy as np

from numbarnn.backends.cuda.batch import Call, Layout, Rows
from numbarnn.backends.cuda.dropout import drop
from numbarnn.core.signal import Signal
from numbarnn.kernels.cuda import layout as moves
from numbarnn.kernels.cuda import persistent, tokens
from numbarnn.kernels.cuda import recurrent as kernels
from numbarnn.kernels.cuda.launch import THREADS, WARP, blocks_for
from numbarnn.kernels.cuda.layout import grid_of
from numbarnn.kernels.cuda.matmul import column_sums, product
from numbarnn.kernels.cuda.memory import Buffer, upload

# Samples that a block takes through all steps together at most, and the blocks that are wanted before it takes more than one: two
# for each multiprocessor of a large card.
TOGETHER, ENOUGH = 4, 256


@dataclass(frozen=True)
class Block:
    """Planes that lie side by side, and so do the rows of weights that make them.

    Attributes
    ----------
    first, count : int
        Planes.
    offset : int
        Where the weights begin in the flat parameters.
    """

    first: int
    count: int
    offset: int


@dataclass(frozen=True)
class Plan:
    """What is known of a run before any data: one cell through the steps in one direction."""

    index: int  # in the stack
    reverse: bool
    signal: Signal
    column: int
    offsets: Buffer  # (gates, 4), as the kernels of biases take them
    input_offsets: Buffer  # (gates,): where the rows of W_ih for each pre-activation begin
    inputs: tuple[Block, ...]
    recurrent: Block | None
    inner: Block | None
    diagonal: int  # where the diagonal weights begin
    unused: list


@dataclass
class Tape:
    """What a run keeps for its backward pass."""

    x: Rows
    z: Buffer
    states: Buffer
    saved: Buffer
    mask: Buffer | None
    operand: Buffer | None
    inner: Buffer | None
    inner_saved: Buffer | None


def prepare(call: Call, layer, params, prefix: str, signal: Signal, old=None):
    """Return the flat parameters and the plans of all runs of a layer."""
    flat = params.flat
    if old is not None:
        return old
    plans, cell, hidden = [], layer.cell, layer.hidden_size
    for index, run in enumerate(layer.runs(signal)):
        offsets = layer.weight_offsets(params, prefix, run)
        first_inner, last_inner = layer.inner_range()
        inner = range(first_inner, last_inner)
        recurrent = _blocks(offsets[:, 1], hidden * hidden, [p for p in range(len(offsets)) if p not in inner])
        second = _blocks(offsets[:, 1], hidden * hidden, inner)
        diagonal = params.offsets[f"{prefix}weight_{cell.diagonal[0]}{run.suffix}"] if cell.diagonal else 0
        plans.append(
            Plan(
                index,
                run.reverse,
                run.signal,
                run.column,
                upload(offsets),
                upload(np.ascontiguousarray(offsets[:, 0])),
                tuple(_blocks(offsets[:, 0], hidden * run.signal.size, range(len(offsets)))),
                recurrent[0] if recurrent else None,
                second[0] if second else None,
                diagonal,
                layer.unused_offsets(params, prefix, run),
            )
        )
    return flat, plans


def _blocks(offsets, size, gates):
    """Return the `Block`s of some gates, whose weights begin at `offsets` (-1: none) and are `size` values each."""
    found = []
    for gate in gates:
        offset = int(offsets[gate])
        if offset < 0:
            continue
        last = found[-1] if found else None
        if last is not None and last.first + last.count == gate and last.offset + last.count * size == offset:
            found[-1] = Block(last.first, last.count + 1, last.offset)
        else:
            found.append(Block(gate, 1, offset))
    return found


# A layer


def forward(call: Call, layer, weights, x: Rows, layout: Layout, state, number: int):
    """Return (output, its layout, final states, tapes); states are one buffer (states, layers * directions, samples, hidden)."""
    flat, plans = weights
    cell, hidden, samples = layer.cell, layer.hidden_size, layout.samples
    directions, size = layer.directions, hidden * layer.directions
    final = call.empty(len(cell.states) * layer.num_layers * directions * samples * hidden)
    tapes = []
    for level in range(layer.num_layers):
        x = _drop(call, layer, x, layout, number, level) if level > 0 else x
        out = call.empty(layout.rows * size)
        for plan in plans[level * directions : (level + 1) * directions]:
            stream = (number << 8) + 128 + plan.index
            tapes.append(_run_forward(call, layer, plan, flat, x, layout, state, final, stream, out, size))
        x = Rows(out, size, layout.rows)
    if layer.return_sequences:
        return x, layout, final, tapes
    last, begun = call.zeros(samples * size), layout.host.begun  # what has no step has no last output
    for direction in range(directions if begun else 0):
        theirs = final.part(((layer.num_layers - 1) * directions + direction) * samples * hidden)
        moves.move_rows(
            *grid_of(begun, hidden), theirs, layout.order, last.part(direction * hidden), size, begun, hidden, 0, 0
        )
    return Rows(last, size, samples), layout.last(call.arena), final, tapes


def backward(
    call: Call, layer, weights, tapes, dy: Rows, layout: Layout, dfinal, gradient: Buffer, need_dx: bool, number: int
):
    """Write the gradients of the parameters; return (gradient of x or None, of the initial states)."""
    flat, plans = weights
    cell, hidden, samples = layer.cell, layer.hidden_size, layout.samples
    directions, size = layer.directions, hidden * layer.directions
    stack = layer.num_layers * directions * samples * hidden
    dstart = call.empty(len(cell.states) * stack)
    dlast, begun = None if layer.return_sequences else dy, layout.host.begun
    dx = dy if layer.return_sequences else None
    for level in reversed(range(layer.num_layers)):
        dy, dx = dx, None
        if level < layer.num_layers - 1:
            dy = _drop(call, layer, dy, layout, number, level + 1)
        for direction in range(directions):
            index = level * directions + direction
            plan, tape = plans[index], tapes[index]
            ends = None if dfinal is None else dfinal.part(index * samples * hidden)
            stride = stack
            if dlast is not None and begun and level == layer.num_layers - 1:
                mine = call.zeros(len(cell.states) * samples * hidden)
                if ends is not None:
                    for s in range(len(cell.states)):
                        mine.part(s * samples * hidden, samples * hidden).copy(ends.part(s * stack, samples * hidden))
                moves.move_rows(
                    *grid_of(begun, hidden),
                    mine,
                    layout.order,
                    dlast.values.part(plan.column),
                    size,
                    begun,
                    hidden,
                    1,
                    1,
                )
                ends, stride = mine, samples * hidden
            wanted = (need_dx or level > 0) and not plan.signal.tokens
            start = dstart.part(index * samples * hidden)
            dx = _run_backward(
                call, layer, plan, flat, tape, dy, size, layout, ends, stride, start, stack, gradient, wanted, dx
            )
    return dx, dstart


def _drop(call, layer, x, layout, number, level):
    return drop(call, x, layout, layer.dropout, (number << 8) + level) if call.training and layer.dropout else x


# A run, forward


def _run_forward(call, layer, plan, flat, x, layout, state, final, stream, out, out_row):
    cell, hidden = layer.cell, layer.hidden_size
    steps, samples = layout.steps, layout.samples
    stack = layer.num_layers * layer.directions * samples * hidden
    start = None if state is None else state.part(plan.index * samples * hidden)
    z = _pre_activations(call, layer, plan, flat, x, layout)
    states = call.empty((steps + 1) * samples * len(cell.states) * hidden)
    saved = call.empty(steps * samples * len(cell.saved) * hidden if call.keep else 0)
    mask = operand = inner = inner_saved = None
    if call.training and layer.recurrent_dropout:
        ones = call.empty(samples * hidden)
        moves.fill(ones, 1.0)
        mask = drop(call, Rows(ones, hidden, samples), layout.last(call.arena), layer.recurrent_dropout, stream).values
        operand = call.empty(steps * samples * hidden)
    if plan.inner is not None:
        inner = call.empty(steps * samples * hidden)
        inner_saved = call.empty(steps * samples * len(cell.inner_saved) * hidden if call.keep else 0)
    tape = Tape(x, z, states, saved, mask, operand, inner, inner_saved)
    out = out.part(plan.column)
    resident = _resident(plan, hidden, call.dtype)
    if resident:
        _all_steps(call, layer, plan, flat, tape, layout, start, stack, out, out_row, resident)
    else:
        _step_by_step(call, layer, plan, flat, tape, layout, start, stack, out, out_row)
    if not layout.full:
        kernels.clear_ended(
            blocks_for(layout.rows * hidden), THREADS, layout.lengths, states, out, operand, inner, out_row, steps, samples,
            len(cell.states), hidden, int(plan.reverse), int(operand is not None), int(inner is not None),
        )  # fmt: skip
    kernels.finish(
        blocks_for(samples * hidden), THREADS, final.part(plan.index * samples * hidden), stack, layout.order, layout.lengths,
        states, samples, len(cell.states), hidden, int(plan.reverse),
    )  # fmt: skip
    return tape if call.keep else None


def _pre_activations(call, layer, plan, flat, x, layout):
    """Return z: what x and the biases make of the pre-activations of all steps."""
    cell, hidden, rows = layer.cell, layer.hidden_size, layout.rows
    z_count = len(cell.preactivations)
    width = z_count * hidden
    z, bias = call.empty(rows * width), call.empty(width)
    kernels.pack_bias(blocks_for(width), THREADS, flat, plan.offsets, z_count, hidden, bias)
    if x.tokens:
        table = call.empty(x.size * width)
        tokens.pack_tokens(flat, plan.input_offsets, hidden, x.size, bias, table)
        tokens.gather(table, width, x.values, z, width, rows, *layout.ended)
        return z
    if sum(block.count for block in plan.inputs) < z_count:
        moves.fill_rows(*grid_of(rows, width), bias, z, width, rows, width, 1)
    for block in plan.inputs:
        product(
            call.arena, x.values, (x.size, 1), flat.part(block.offset), (1, x.size), z.part(block.first * hidden), width,
            (rows, block.count * hidden, x.size), bias=bias.part(block.first * hidden),
        )  # fmt: skip
    return z


def _resident(plan, hidden, dtype):
    """Return how many weights a thread is to keep where one block can run through all steps, else 0."""
    if plan.recurrent is None or plan.inner is not None:
        return 0
    return persistent.resident_for(plan.recurrent.count * hidden, hidden, dtype.itemsize)


def _grid(plan, hidden, samples):
    """Return (blocks, threads, samples a block) of the kernels that run through all steps."""
    columns = plan.recurrent.count * hidden
    together = max(1, min(TOGETHER, plan.recurrent.count, -(-samples // ENOUGH)))
    return -(-samples // together), -(-columns // WARP) * WARP, together


def _all_steps(call, layer, plan, flat, tape, layout, start, stack, out, out_row, resident):
    cell, hidden = layer.cell, layer.hidden_size
    z_count, columns, samples = len(cell.preactivations), plan.recurrent.count * hidden, layout.samples
    weights = call.empty(columns * hidden)
    tokens.transpose(flat.part(plan.recurrent.offset), columns, hidden, weights)
    blocks, threads, together = _grid(plan, hidden, samples)
    persistent.forward[resident](
        blocks, threads, cell, tape.z, weights, start, stack, layout.order, layout.lengths, tape.states, tape.saved,
        flat.part(plan.diagonal), tape.mask, tape.operand, out, out_row, samples, layout.steps, hidden, z_count,
        plan.recurrent.first, columns, len(cell.states), len(cell.saved), together, int(plan.reverse), int(start is not None),
        int(tape.mask is not None), int(call.keep),
        dynamic=together * (max(resident, hidden) + (z_count + len(cell.states)) * hidden),
    )  # fmt: skip


def _step_by_step(call, layer, plan, flat, tape, layout, start, stack, out, out_row):
    cell, hidden = layer.cell, layer.hidden_size
    steps, samples, z_count, count = layout.steps, layout.samples, len(cell.preactivations), len(cell.states)
    diagonal, reverse, keep = flat.part(plan.diagonal), int(plan.reverse), int(call.keep)
    slot, width = samples * count * hidden, z_count * hidden
    kernels.begin(
        blocks_for(samples * hidden), THREADS, start, stack, layout.order, layout.lengths, tape.states, samples, steps, count,
        hidden, reverse, int(start is not None),
    )  # fmt: skip

    def pointwise(first, number, rows):
        kernels.forward_steps(
            *grid_of(rows, hidden), cell, tape.z, tape.states, tape.saved, diagonal, out, out_row, layout.lengths, samples,
            hidden, z_count, count, len(cell.saved), first, number, reverse, rows, keep,
        )  # fmt: skip

    if plan.recurrent is None:
        pointwise(steps - 1 if plan.reverse else 0, steps, samples)
        return
    for t in reversed(range(steps)) if plan.reverse else range(steps):
        rows = int(layout.host.active[t])
        if rows == 0:
            continue
        before = tape.states.part((t + 1 if plan.reverse else t) * slot)
        h, row = before, count * hidden
        if tape.mask is not None:
            h, row = tape.operand.part(t * samples * hidden), hidden
            kernels.mask_rows(*grid_of(rows, hidden), before, count * hidden, tape.mask, h, hidden, rows, hidden)
        z = tape.z.part(t * samples * width)
        _add_product(call, h, row, flat, plan.recurrent, z, width, rows, hidden)
        if plan.inner is not None:
            kernels.inner_forward(
                *grid_of(rows, hidden), cell, tape.z, tape.states, tape.inner, tape.inner_saved, diagonal, t, samples, hidden,
                z_count, count, len(cell.inner_saved), reverse, rows, keep,
            )  # fmt: skip
            inner = tape.inner.part(t * samples * hidden)
            if tape.mask is not None:
                kernels.mask_rows(*grid_of(rows, hidden), inner, hidden, tape.mask, inner, hidden, rows, hidden)
            _add_product(call, inner, hidden, flat, plan.inner, z, width, rows, hidden)
        pointwise(t, 1, rows)


def _add_product(call, h, row, flat, block, z, width, rows, hidden):
    """Add h W^T to the gates of a block."""
    with call.arena.lent():
        product(
            call.arena, h, (row, 1), flat.part(block.offset), (1, hidden), z.part(block.first * hidden), width,
            (rows, block.count * hidden, hidden), add=True,
        )  # fmt: skip


# A run, back through time


def _run_backward(
    call, layer, plan, flat, tape, dy, dy_row, layout, ends, ends_stride, dstart, stack, gradient, need_dx, dx
):
    cell, hidden = layer.cell, layer.hidden_size
    samples, rows = layout.samples, layout.rows
    ddiagonal = call.zeros(samples * len(cell.diagonal) * hidden)
    dy = None if dy is None else dy.values.part(plan.column)
    arguments = call, layer, plan, flat, tape, dy, dy_row, layout, ends, ends_stride, ddiagonal, dstart, stack
    resident = _resident(plan, hidden, call.dtype)
    if resident:
        _all_steps_back(*arguments, resident)
    else:
        _step_by_step_back(*arguments)
    dz, width = tape.z, len(cell.preactivations) * hidden
    if not layout.full:
        moves.clear_rows(*grid_of(samples, width), layout.lengths, dz, layout.steps, samples, width)
    _weight_gradients(call, layer, plan, tape, layout, dz, ddiagonal, gradient)
    if not need_dx:
        return dx
    add = dx is not None
    dx = dx if add else Rows(call.empty(rows * tape.x.size), tape.x.size, rows)
    for block in plan.inputs:
        product(
            call.arena, dz.part(block.first * hidden), (width, 1), flat.part(block.offset), (dx.size, 1), dx.values, dx.size,
            (rows, dx.size, block.count * hidden), add=add,
        )  # fmt: skip
        add = True
    return dx


def _all_steps_back(
    call, layer, plan, flat, tape, dy, dy_row, layout, ends, ends_stride, ddiagonal, dstart, stack, resident
):
    cell, hidden = layer.cell, layer.hidden_size
    z_count, columns, samples = len(cell.preactivations), plan.recurrent.count * hidden, layout.samples
    blocks, threads, together = _grid(plan, hidden, samples)
    wide = max(z_count * hidden, (z_count - 1) * hidden + resident)
    persistent.backward[resident](
        blocks, threads, cell, tape.z, flat.part(plan.recurrent.offset), ends, ends_stride, layout.order, layout.lengths,
        tape.states, tape.saved, flat.part(plan.diagonal), tape.mask, dy, dy_row, ddiagonal, dstart, stack, samples, layout.steps,
        hidden, z_count, plan.recurrent.first, columns, len(cell.states), len(cell.saved), len(cell.diagonal), together,
        int(plan.reverse), int(ends is not None), int(tape.mask is not None), int(dy is not None),
        dynamic=together * (wide + columns + len(cell.states) * hidden),
    )  # fmt: skip


def _step_by_step_back(call, layer, plan, flat, tape, dy, dy_row, layout, ends, ends_stride, ddiagonal, dstart, stack):
    cell, hidden = layer.cell, layer.hidden_size
    steps, samples, z_count, count = layout.steps, layout.samples, len(cell.preactivations), len(cell.states)
    diagonal, reverse = flat.part(plan.diagonal), int(plan.reverse)
    width = z_count * hidden
    dstates = call.zeros(samples * count * hidden)
    both = blocks_for(samples * hidden), THREADS
    if ends is not None:
        kernels.spread_ends(*both, ends, ends_stride, layout.order, dstates, samples, count, hidden, 0)

    def pointwise(first, number, rows):
        kernels.backward_steps(
            *grid_of(rows, hidden), cell, tape.z, tape.states, tape.saved, diagonal, dy, dy_row, dstates, ddiagonal,
            layout.lengths, samples, hidden, z_count, count, len(cell.saved), len(cell.diagonal), first,
            number, reverse, rows, int(dy is not None),
        )  # fmt: skip

    if plan.recurrent is None:
        pointwise(0 if plan.reverse else steps - 1, steps, samples)
    else:
        scratch = call.empty(samples * hidden)
        for t in range(steps) if plan.reverse else reversed(range(steps)):
            rows = int(layout.host.active[t])
            if rows == 0:
                continue
            pointwise(t, 1, rows)
            z = tape.z.part(t * samples * width)
            if plan.inner is not None:
                _product_back(call, z, width, flat, plan.inner, scratch, hidden, rows, hidden, add=False)
                if tape.mask is not None:
                    kernels.mask_rows(*grid_of(rows, hidden), scratch, hidden, tape.mask, scratch, hidden, rows, hidden)
                kernels.inner_backward(
                    *grid_of(rows, hidden), cell, tape.z, tape.states, tape.inner_saved, diagonal, scratch, dstates, ddiagonal, t,
                    samples, hidden, z_count, count, len(cell.inner_saved), len(cell.diagonal), reverse, rows,
                )  # fmt: skip
            if tape.mask is None:
                _product_back(call, z, width, flat, plan.recurrent, dstates, count * hidden, rows, hidden, add=True)
            else:
                _product_back(call, z, width, flat, plan.recurrent, scratch, hidden, rows, hidden, add=False)
                kernels.add_masked(*grid_of(rows, hidden), scratch, tape.mask, dstates, count * hidden, rows, hidden)
    kernels.spread_ends(*both, dstart, stack, layout.order, dstates, samples, count, hidden, 1)


def _product_back(call, z, width, flat, block, result, result_row, rows, hidden, *, add):
    """Set `result` to dz W of the gates of a block, or add it."""
    with call.arena.lent():
        product(
            call.arena, z.part(block.first * hidden), (width, 1), flat.part(block.offset), (hidden, 1), result, result_row,
            (rows, hidden, block.count * hidden), add=add,
        )  # fmt: skip


def _weight_gradients(call, layer, plan, tape, layout, dz, ddiagonal, gradient):
    cell, hidden, rows, x = layer.cell, layer.hidden_size, layout.rows, tape.x
    z_count, samples = len(cell.preactivations), layout.samples
    width = z_count * hidden

    def of_block(block, values, row, columns):
        product(
            call.arena, dz.part(block.first * hidden), (1, width), values, (row, 1), gradient.part(block.offset), columns,
            (block.count * hidden, columns, rows),
        )  # fmt: skip

    for block in plan.inputs:
        if x.tokens:
            tokens.token_gradient(
                x.values,
                x.size,
                dz.part(block.first * hidden),
                width,
                block.count * hidden,
                rows,
                gradient,
                block.offset,
                1,
                x.size,
            )
        else:
            of_block(block, x.values, x.size, x.size)
    if plan.recurrent is not None:
        slot = samples * len(cell.states) * hidden
        if tape.operand is not None:
            of_block(plan.recurrent, tape.operand, hidden, hidden)
        else:
            of_block(plan.recurrent, tape.states.part(slot if plan.reverse else 0), len(cell.states) * hidden, hidden)
    if plan.inner is not None:
        of_block(plan.inner, tape.inner, hidden, hidden)
    sums = column_sums(call.arena, dz, width, rows, width)
    kernels.spread_bias(blocks_for(width), THREADS, sums, plan.offsets, z_count, hidden, gradient)
    if cell.diagonal:
        count = len(cell.diagonal) * hidden
        column_sums(call.arena, ddiagonal, count, samples, count, result=gradient.part(plan.diagonal, count))
    for at, size in plan.unused:
        moves.fill(gradient.part(at, size), 0.0)
