"""The time loop of every cell, and its back-propagation through time directly below.

One driver serves all cells: it makes the pre-activations of a step by products (`matmul.multiply`), then calls the
cell's scalar function for every element of one flat loop over samples and units, which LLVM vectorises (a test counts
packed divisions). Where a cell has a second recurrent product, a first loop makes the inner value that it sees, between the
two products; of other cells that compiles to nothing. A shard is a range of samples; it runs through all steps alone. The
arrays are described in `numbarnn.kernels`.
"""

from numba.extending import overload

from numbarnn.kernels.compile import jit
from numbarnn.kernels.cpu.block_products import add_products, call_products_of_block, input_gradient, takes_blocks
from numbarnn.kernels.cpu.matmul import NO_PRODUCT, ONE, ZERO, Extent, Factor, Location, Panels, multiply
from numbarnn.kernels.cpu.run_groups import (
    Activations,
    BackwardWeights,
    Batch,
    Columns,
    Gradients,
    Input,
    InputGradient,
    Weights,
)
from numbarnn.kernels.cpu.simd import flat, panel_of
from numbarnn.kernels.cpu.time_loop import (
    add_output_gradient,
    back_through,
    begin,
    cell_step,
    cell_step_back,
    clear_ended,
    end,
    mask_rows,
    recurrent_gradient,
    running,
    slots_of,
    write_output,
)
from numbarnn.kernels.element import (
    added,
    cell_inner_backward,
    cell_inner_forward,
    has_second_product,
    load,
    store,
)
from numbarnn.kernels.linked import INLINE


@jit
def forward(
    cell, weights: Weights, batch: Batch, x: Input, out: Columns, activations: Activations, lo: int, hi: int
):  # fmt: skip
    """Run the samples lo <= n < hi through all steps.

    cell : record; selects the scalar functions. out : H columns of each row, zero past the sample's length; or empty
    """
    table, from_input, from_hidden, from_inner, inputs, recurrents, hidden, reverse, packed, bias, token_rows = weights
    lengths, active, diagonal, mask = batch
    x_values, x_step, x_row, tokens = x
    out_values, out_at, out_step, out_row = out
    states, saved, operand, inner, inner_saved, preactivations, start, final = activations
    steps, samples, width = active.size, states.shape[2], states.shape[3]
    block = samples * width
    history = states.shape[1] * block
    slots = slots_of(states, steps)
    tape = saved.shape[1] * block if saved.shape[0] > 1 else ZERO
    h, z, saved_values = flat(states), flat(preactivations), flat(saved)
    masked = flat(operand)
    first = lo * width
    ahead, count = takes_blocks(table), preactivations.shape[1]
    span = preactivations.shape[0] if ahead else ONE
    block_done = -ONE  # of whose steps the products of x are taken
    begin(start, lengths, reverse, slots, h, history, block, lo, hi, ZERO, width)
    for i in range(steps):
        t = steps - 1 - i if reverse else i
        before = ((t + 1 if reverse else t) & slots) * block
        after = ((t if reverse else t + 1) & slots) * block
        rows = running(active, t, lo, hi)
        if slots != ONE:
            clear_ended(active, t, reverse, h, after, history, start.shape[0], width, lo, hi, ZERO, width)
        if rows == 0:
            if out_values.size > 0:
                write_output(h, after, width, out_values, out_at + t * out_step, out_row, ZERO, hidden, lo, rows, hi)
            continue

        h_from, h_at = h, before
        if mask.size > 0:
            h_from, h_at = masked, t * block
            mask_rows(mask, h, before, masked, h_at, lo, rows)
        z_at = t % span * count * block + first
        if ahead and t // span != block_done:
            block_done = t // span
            call_products_of_block(
                table[table.size - 1], z, (weights, batch, x, preactivations, block_done * span, lo, hi)
            )
        add_products(
            table, from_input, from_hidden, inputs, recurrents,
            x_values, t * x_step + lo * x_row, x_row, tokens, token_rows, packed, bias, h_from, h_at + first,
            count, samples, width, ahead, t, z, z_at, lo, rows,
        )  # fmt: skip
        second_product(
            cell, table, from_inner, inputs, recurrents, packed, diagonal, mask, inner, inner_saved,
            h, before, history, z, z_at, t, lo, rows,
        )  # fmt: skip
        cell_step(
            cell, z, z_at, h, before + first, after + first, history, block, diagonal, first, saved_values, t * tape + first,
            ZERO, rows * width,
        )  # fmt: skip
        if out_values.size > 0:
            write_output(h, after, width, out_values, out_at + t * out_step, out_row, ZERO, hidden, lo, rows, hi)

    end(final, lengths, reverse, slots, h, history, block, lo, hi, ZERO, width)


@jit
def backward(
    cell, weights: BackwardWeights, batch: Batch, activations: Activations, dy: Columns, dx: InputGradient,
    gradients: Gradients, lo: int, hi: int,
):  # fmt: skip
    """Back-propagate through all steps of the samples lo <= n < hi.

    dy : gradient of the output, or empty. Activations are those of `forward` with a tape.
    """
    table, from_input, from_hidden, from_inner, hidden, reverse, packed_h, packed_x, packed_inner, zeros = weights
    lengths, active, diagonal, mask = batch
    states, saved, _, _, inner_saved, _, _, _ = activations
    dy_values, dy_at, dy_step, dy_row = dy
    dx_values, dx_row, add_to_dx, span = dx
    dstates, dpreactivations, ddiagonal, product, dinner = gradients
    steps, samples, width = states.shape[1] - 1, states.shape[2], states.shape[3]
    block = samples * width
    history, tape, step = states.shape[1] * block, saved.shape[1] * block, dpreactivations.shape[1] * block
    h, saved_values, dz, dh = flat(states), flat(saved), flat(dpreactivations), flat(dstates)
    dw, scratch = flat(ddiagonal), flat(product)
    first = lo * width

    for i in range(steps):
        t = i if reverse else steps - 1 - i
        before = (t + 1 if reverse else t) * block
        after = (t if reverse else t + 1) * block
        rows = running(active, t, lo, hi)
        if rows == 0:
            continue

        if dy_values.size > 0:
            add_output_gradient(dy_values, dy_at + t * dy_step, dy_row, width, dh, ZERO, hidden, lo, rows)
        at = t * step + first
        cell_step_back(
            cell, saved_values, t * tape + first, h, before + first, after + first, history, block, diagonal, dh, dw, first,
            dz, at, ZERO, rows * width,
        )  # fmt: skip
        second_gradient(
            cell, table, from_inner, hidden, packed_inner, zeros, diagonal, mask, inner_saved,
            h, before, history, dz, at, dinner, dh, dw, t, lo, rows,
        )  # fmt: skip
        if from_hidden[1] > from_hidden[0]:
            recurrent_gradient(
                table, from_hidden, hidden, width, block, dz, at, packed_h, zeros, mask, scratch, dh, lo, rows
            )
        if dx_values.size > 0:
            input_gradient(
                table, from_input, hidden, width, block, dz, step, packed_x, zeros, dx_values, dx_row, add_to_dx,
                lengths, reverse, samples, span, t, lo, rows, hi,
            )  # fmt: skip


# The stand-ins below see the cell's type; where it has no second recurrent product, they compile to nothing.


def second_product(
    cell, table, from_inner, inputs, recurrents, packed, diagonal, mask, inner, inner_saved,
    h, before, history, z, z_at, t, lo, rows,
):  # fmt: skip
    """Make the inner value of step t, and add its product to the pre-activations that it enters."""


@overload(second_product, jit_options=INLINE)
def _second_product(
    cell, table, from_inner, inputs, recurrents, packed, diagonal, mask, inner, inner_saved,
    h, before, history, z, z_at, t, lo, rows,
):  # fmt: skip
    def none(
        cell, table, from_inner, inputs, recurrents, packed, diagonal, mask, inner, inner_saved,
        h, before, history, z, z_at, t, lo, rows,
    ):  # fmt: skip
        return None

    def run(
        cell, table, from_inner, inputs, recurrents, packed, diagonal, mask, inner, inner_saved,
        h, before, history, z, z_at, t, lo, rows,
    ):  # fmt: skip
        w = panel_of(z)
        batch, width = inner.shape[1], inner.shape[2]
        block, first, length = batch * width, lo * width, inputs + recurrents
        step = block if inner.shape[0] > 1 else ZERO
        tape = inner_saved.shape[1] * step
        a, values_saved = flat(inner), flat(inner_saved)
        at = t * step
        for e in range(rows * width):
            gates = load(cell, "preactivations", z, z_at, block, e)
            previous = load(cell, "states", h, before + first, history, e)
            weights = load(cell, "diagonal", diagonal, first, block, e)
            values, own = cell_inner_forward(cell, gates, previous, weights)
            store(cell, "inner", a, at + first, block, e, values)
            store(cell, "inner_saved", values_saved, t * tape + first, block, e, own)
        if mask.size > 0:
            mask_rows(mask, a, at, a, at, lo, rows)
        for g in range(from_inner[0], from_inner[1]):
            dst = g * block + z_at
            multiply(
                table, Extent(rows, width // w), z, Location(dst, width),
                a, Factor(at + first, width, recurrents, ONE, ZERO), a, NO_PRODUCT,
                packed, Panels(g * width * length + inputs * w, length * w), z, Location(dst, width),
            )  # fmt: skip

    return run if has_second_product(cell) else none


def second_gradient(
    cell, table, from_inner, hidden, packed_inner, zeros, diagonal, mask, inner_saved,
    h, before, history, dz, at, dinner, dh, dw, t, lo, rows,
):  # fmt: skip
    """Add what passes through the second product of step t to the gradients of its pre-activations, states and weights."""


@overload(second_gradient, jit_options=INLINE)
def _second_gradient(
    cell, table, from_inner, hidden, packed_inner, zeros, diagonal, mask, inner_saved,
    h, before, history, dz, at, dinner, dh, dw, t, lo, rows,
):  # fmt: skip
    def none(
        cell, table, from_inner, hidden, packed_inner, zeros, diagonal, mask, inner_saved,
        h, before, history, dz, at, dinner, dh, dw, t, lo, rows,
    ):  # fmt: skip
        return None

    def run(
        cell, table, from_inner, hidden, packed_inner, zeros, diagonal, mask, inner_saved,
        h, before, history, dz, at, dinner, dh, dw, t, lo, rows,
    ):  # fmt: skip
        batch, width = dinner.shape
        block, first = batch * width, lo * width
        tape = inner_saved.shape[1] * block
        values_saved, da = flat(inner_saved), flat(dinner)
        back_through(
            table, from_inner, hidden, width, block, dz, at, packed_inner,
            zeros, ZERO, ZERO, da, first, width, rows,
        )  # fmt: skip
        if mask.size > 0:
            mask_rows(mask, da, ZERO, da, ZERO, lo, rows)
        for e in range(rows * width):
            own = load(cell, "inner_saved", values_saved, t * tape + first, block, e)
            previous = load(cell, "states", h, before + first, history, e)
            weights = load(cell, "diagonal", diagonal, first, block, e)
            gradients = load(cell, "inner", da, first, block, e)
            so_far_z = load(cell, "preactivations", dz, at, block, e)
            states_so_far = load(cell, "states", dh, first, block, e)
            so_far = load(cell, "diagonal", dw, first, block, e)
            dgates, dprevious, dweights = cell_inner_backward(cell, own, previous, weights, gradients)
            store(cell, "preactivations", dz, at, block, e, added(so_far_z, dgates))
            store(cell, "states", dh, first, block, e, added(states_so_far, dprevious))
            store(cell, "diagonal", dw, first, block, e, added(so_far, dweights))

    return run if has_second_product(cell) else none
