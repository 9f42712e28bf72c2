"""Recurrent layers on a device: a stack of runs, each with its products, its time loop and its weight gradients."""

from dataclasses import dataclass

import numpy as np

from numbarnn.backends.cuda.batch import Call, Layout, Rows
from numbarnn.backends.cuda.dropout import drop
from numbarnn.core.signal import Signal
from numbarnn.kernels.cuda import layout as moves
from numbarnn.kernels.cuda import persistent, tokens
from numbarnn.kernels.cuda import recurrent as kernels
from numbarnn.kernels.cuda.groups import EndStates, RunArrays, RunSizes, SpacedRows
from numbarnn.kernels.cuda.launch import THREADS, WARP, blocks_for
from numbarnn.kernels.cuda.layout import grid_of
from numbarnn.kernels.cuda.matmul import column_sums, product
from numbarnn.kernels.cuda.memory import Buffer, upload
from numbarnn.kernels.cuda.optim import add

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
    sizes: RunSizes
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
    arrays: RunArrays


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
        sizes = RunSizes(
            hidden, len(cell.preactivations), len(cell.states), len(cell.saved), len(cell.diagonal),
            len(cell.inner_saved) if len(inner) else 0, run.reverse,
        )  # fmt: skip
        plans.append(
            Plan(
                index,
                sizes,
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
    directions, size = layer.directions, layer.output_size
    final = call.empty(len(cell.states) * layer.num_layers * directions * samples * hidden)
    tapes = []
    for level in range(layer.num_layers):
        x = _drop(call, layer, x, layout, number, level) if level > 0 else x
        out = call.empty(layout.rows * size)
        for direction, plan in enumerate(plans[level * directions : (level + 1) * directions]):
            added = direction > 0 and layer.merge == "sum"
            own = call.empty(layout.rows * size) if added else out
            stream = (number << 8) + 128 + plan.index
            tapes.append(_run_forward(call, layer, plan, flat, x, layout, state, final, stream, own, size))
            if added:
                add(out, own, layout.rows * size)
        x = Rows(out, size, layout.rows)
    if layer.return_sequences:
        return x, layout, final, tapes
    last, begun = call.zeros(samples * size), layout.host.begun  # what has no step has no last output
    for direction in range(directions if begun else 0):
        theirs = final.part(((layer.num_layers - 1) * directions + direction) * samples * hidden)
        column, added = layer.column(direction), int(layer.merge == "sum")
        moves.move_rows(*grid_of(begun, hidden), theirs, layout.order, last.part(column), size, begun, hidden, 0, added)
    return Rows(last, size, samples), layout.last(), final, tapes


def backward(
    call: Call, layer, weights, tapes, dy: Rows, layout: Layout, dfinal, gradient: Buffer, need_dx: bool, number: int
):
    """Write the gradients of the parameters; return (gradient of x or None, of the initial states)."""
    flat, plans = weights
    cell, hidden, samples = layer.cell, layer.hidden_size, layout.samples
    directions, size = layer.directions, layer.output_size
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
            ends = _part_of(dfinal, index * samples * hidden, stack)
            if dlast is not None and begun and level == layer.num_layers - 1:
                mine = call.zeros(len(cell.states) * samples * hidden)
                if ends.given:
                    for s in range(len(cell.states)):
                        mine.part(s * samples * hidden, samples * hidden).copy(
                            ends.values.part(s * stack, samples * hidden)
                        )
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
                ends = EndStates(mine, samples * hidden, True)
            wanted = (need_dx or level > 0) and not plan.signal.tokens
            start = _part_of(dstart, index * samples * hidden, stack)
            dx = _run_backward(call, layer, plan, flat, tape, dy, layout, ends, start, gradient, wanted, dx)
    return dx, dstart


def _part_of(states, first, stack):
    """Return the states of a run from those of a layer, one buffer or None; `stack` is the distance of two states."""
    return EndStates(None if states is None else states.part(first), stack, states is not None)


def _drop(call, layer, x, layout, number, level):
    return drop(call, x, layout, layer.dropout, (number << 8) + level) if call.training and layer.dropout else x


# A run, forward


def _run_forward(call, layer, plan, flat, x, layout, state, final, stream, out, out_row):
    cell, sizes = layer.cell, plan.sizes
    hidden, steps, samples = sizes.hidden, layout.steps, layout.samples
    stack = layer.num_layers * layer.directions * samples * hidden
    z = _pre_activations(call, layer, plan, flat, x, layout)
    states = call.empty((steps + 1) * samples * sizes.count * hidden)
    saved = call.empty(steps * samples * sizes.kept_count * hidden if call.keep else 0)
    mask = operand = inner = inner_saved = None
    if call.training and layer.recurrent_dropout:
        ones = call.empty(samples * hidden)
        moves.fill(ones, 1.0)
        mask = drop(call, Rows(ones, hidden, samples), layout.last(), layer.recurrent_dropout, stream).values
        operand = call.empty(steps * samples * hidden)
    if plan.inner is not None:
        inner = call.empty(steps * samples * hidden)
        inner_saved = call.empty(steps * samples * sizes.inner_count * hidden if call.keep else 0)
    arrays = RunArrays(
        z, states, saved, flat.part(plan.diagonal), mask, operand, inner, inner_saved, call.keep, mask is not None,
        inner is not None,
    )  # fmt: skip
    run = sizes, layout.sequences, arrays
    start = _part_of(state, plan.index * samples * hidden, stack)
    out = SpacedRows(out.part(plan.column), out_row)
    resident = _resident(plan, call.dtype)
    if resident:
        _all_steps(call, cell, plan, flat, run, start, out, resident)
    else:
        _step_by_step(call, cell, plan, flat, run, layout.host.active, start, out)
    if not layout.full:
        kernels.clear_ended(blocks_for(layout.rows * hidden), THREADS, *run, out)
    final = _part_of(final, plan.index * samples * hidden, stack)
    kernels.finish(blocks_for(samples * hidden), THREADS, sizes, layout.sequences, states, final)
    return Tape(x, arrays) if call.keep else None


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


def _resident(plan, dtype):
    """Return how many weights a thread is to keep where one block can run through all steps, else 0."""
    if plan.recurrent is None or plan.inner is not None:
        return 0
    hidden = plan.sizes.hidden
    return persistent.resident_for(plan.recurrent.count * hidden, hidden, dtype.itemsize)


def _grid(call, plan, flat, samples, resident, *, back):
    """Return (blocks, threads, rows) of the kernels that run through all steps."""
    block, sizes = plan.recurrent, plan.sizes
    columns = block.count * sizes.hidden
    together = max(1, min(TOGETHER, block.count, -(-samples // ENOUGH)))
    weights = flat.part(block.offset)
    rows = persistent.recurrent_rows(call.arena, weights, sizes, block.first, columns, together, resident, back)
    return -(-samples // together), -(-columns // WARP) * WARP, rows


def _all_steps(call, cell, plan, flat, run, start, out, resident):
    sizes, batch, _ = run
    with call.arena.lent():
        blocks, threads, rows = _grid(call, plan, flat, batch.samples, resident, back=False)
        dynamic = persistent.shared_values(sizes, rows)
        persistent.forward[resident](blocks, threads, cell, *run, rows, start, out, dynamic=dynamic)


def _step_by_step(call, cell, plan, flat, run, active, start, out):
    sizes, batch, arrays = run
    hidden, count, steps, samples = sizes.hidden, sizes.count, batch.steps, batch.samples
    slot, width = samples * count * hidden, sizes.z_count * hidden
    kernels.begin(blocks_for(samples * hidden), THREADS, sizes, batch, arrays.states, start)

    def pointwise(first, number, rows):
        kernels.forward_steps(*grid_of(rows, hidden), cell, *run, out, first, number, rows)

    if plan.recurrent is None:
        pointwise(steps - 1 if sizes.reverse else 0, steps, samples)
        return
    for t in reversed(range(steps)) if sizes.reverse else range(steps):
        rows = int(active[t])
        if rows == 0:
            continue
        before = arrays.states.part((t + 1 if sizes.reverse else t) * slot)
        h, row = before, count * hidden
        if arrays.has_mask:
            h, row = arrays.operand.part(t * samples * hidden), hidden
            kernels.mask_rows(*grid_of(rows, hidden), before, count * hidden, arrays.mask, h, hidden, rows, hidden)
        z = arrays.z.part(t * samples * width)
        _add_product(call, h, row, flat, plan.recurrent, z, width, rows, hidden)
        if arrays.has_inner:
            kernels.inner_forward(*grid_of(rows, hidden), cell, *run, t, rows)
            inner = arrays.inner.part(t * samples * hidden)
            if arrays.has_mask:
                kernels.mask_rows(*grid_of(rows, hidden), inner, hidden, arrays.mask, inner, hidden, rows, hidden)
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


def _run_backward(call, layer, plan, flat, tape, dy, layout, ends, dstart, gradient, need_dx, dx):
    cell, sizes, arrays = layer.cell, plan.sizes, tape.arrays
    hidden, samples, rows = sizes.hidden, layout.samples, layout.rows
    run = sizes, layout.sequences, arrays
    ddiagonal = call.zeros(samples * sizes.diagonal_count * hidden)
    dy = SpacedRows(None, 0, False) if dy is None else SpacedRows(dy.values.part(plan.column), dy.size)
    resident = _resident(plan, call.dtype)
    if resident:
        _all_steps_back(call, cell, plan, flat, run, ends, dy, ddiagonal, dstart, resident)
    else:
        _step_by_step_back(call, cell, plan, flat, run, layout.host.active, ends, dy, ddiagonal, dstart)
    dz, width = arrays.z, sizes.z_count * hidden
    if not layout.full:
        moves.clear_rows(*grid_of(samples, width), layout.lengths, dz, layout.steps, samples, width)
    _weight_gradients(call, plan, tape, layout, dz, ddiagonal, gradient)
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


def _all_steps_back(call, cell, plan, flat, run, ends, dy, ddiagonal, dstart, resident):
    sizes, batch, _ = run
    with call.arena.lent():
        blocks, threads, rows = _grid(call, plan, flat, batch.samples, resident, back=True)
        dynamic = persistent.shared_values(sizes, rows)
        persistent.backward[resident](blocks, threads, cell, *run, rows, ends, dy, ddiagonal, dstart, dynamic=dynamic)


def _step_by_step_back(call, cell, plan, flat, run, active, ends, dy, ddiagonal, dstart):
    sizes, batch, arrays = run
    hidden, count, steps, samples = sizes.hidden, sizes.count, batch.steps, batch.samples
    width = sizes.z_count * hidden
    dstates = call.zeros(samples * count * hidden)
    both = blocks_for(samples * hidden), THREADS
    if ends.given:
        kernels.spread_ends(*both, sizes, batch, ends, dstates, 0)

    def pointwise(first, number, rows):
        kernels.backward_steps(*grid_of(rows, hidden), cell, *run, dy, dstates, ddiagonal, first, number, rows)

    if plan.recurrent is None:
        pointwise(0 if sizes.reverse else steps - 1, steps, samples)
    else:
        scratch = call.empty(samples * hidden)
        for t in range(steps) if sizes.reverse else reversed(range(steps)):
            rows = int(active[t])
            if rows == 0:
                continue
            pointwise(t, 1, rows)
            z = arrays.z.part(t * samples * width)
            if arrays.has_inner:
                _product_back(call, z, width, flat, plan.inner, scratch, hidden, rows, hidden, add=False)
                if arrays.has_mask:
                    kernels.mask_rows(
                        *grid_of(rows, hidden), scratch, hidden, arrays.mask, scratch, hidden, rows, hidden
                    )
                kernels.inner_backward(*grid_of(rows, hidden), cell, *run, scratch, dstates, ddiagonal, t, rows)
            if not arrays.has_mask:
                _product_back(call, z, width, flat, plan.recurrent, dstates, count * hidden, rows, hidden, add=True)
            else:
                _product_back(call, z, width, flat, plan.recurrent, scratch, hidden, rows, hidden, add=False)
                kernels.add_masked(*grid_of(rows, hidden), scratch, arrays.mask, dstates, count * hidden, rows, hidden)
    kernels.spread_ends(*both, sizes, batch, dstart, dstates, 1)


def _product_back(call, z, width, flat, block, result, result_row, rows, hidden, *, add):
    """Set `result` to dz W of the gates of a block, or add it."""
    with call.arena.lent():
        product(
            call.arena, z.part(block.first * hidden), (width, 1), flat.part(block.offset), (hidden, 1), result, result_row,
            (rows, hidden, block.count * hidden), add=add,
        )  # fmt: skip


def _weight_gradients(call, plan, tape, layout, dz, ddiagonal, gradient):
    sizes, x, arrays, rows, samples = plan.sizes, tape.x, tape.arrays, layout.rows, layout.samples
    hidden, width = sizes.hidden, sizes.z_count * sizes.hidden

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
        row = sizes.count * hidden
        if arrays.has_mask:
            of_block(plan.recurrent, arrays.operand, hidden, hidden)
        else:
            of_block(plan.recurrent, arrays.states.part(samples * row if sizes.reverse else 0), row, hidden)
    if plan.inner is not None:
        of_block(plan.inner, arrays.inner, hidden, hidden)
    sums = column_sums(call.arena, dz, width, rows, width)
    kernels.spread_bias(blocks_for(width), THREADS, sums, plan.offsets, sizes.z_count, hidden, gradient)
    if sizes.diagonal_count:
        count = sizes.diagonal_count * hidden
        column_sums(call.arena, ddiagonal, count, samples, count, result=gradient.part(plan.diagonal, count))
    for at, size in plan.unused:
        moves.fill(gradient.part(at, size), 0.0)
