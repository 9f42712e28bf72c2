"""The time loop of cells whose step has two phases, and its back-propagation through time directly below.

A step of such a cell (`numbarnn.cells`) is a product of h_{t-1}, a pointwise function that makes an inner value of it, a
product of that inner value, and the pointwise function that ends the step. Arguments and contract are those of
`numbarnn.kernels.cpu.recurrent`, with those of the second product behind them. Where recurrent dropout acts, both
products see masked values.
"""

from numbarnn.kernels.compile import jit
from numbarnn.kernels.cpu.matmul import ONE, ZERO, multiply
from numbarnn.kernels.cpu.simd import panel_of
from numbarnn.kernels.cpu.steps import (
    add_output_gradient,
    add_products,
    back_through,
    begin,
    clear_ended,
    end,
    input_gradient,
    mask_rows,
    recurrent_gradient,
    running,
    slots_of,
    write_output,
)
from numbarnn.kernels.element import (
    added,
    cell_backward,
    cell_forward,
    cell_inner_backward,
    cell_inner_forward,
    load,
    store,
)


@jit
def forward(
    cell, table, from_input, from_hidden, inputs, recurrents, reverse,
    x, x_step, x_row, tokens, token_rows,
    packed, bias, diagonal, mask,
    lengths, active, start, states, saved, preactivations, operand, out, out_at, out_step, out_row, hidden, final, lo, hi,
    from_inner, inner, inner_saved,
):  # fmt: skip
    """Run the samples lo <= n < hi through all steps; see `recurrent.forward`.

    from_inner   (first, last) of the pre-activations that the second product enters
    inner          out: (T, N, Hp) what the second product saw, masked; (1, N, Hp) when no tape is kept
    inner_saved    out: (T or 1, K', N, Hp), like `saved`, what the first phase keeps
    """
    w = panel_of(states)
    steps, batch, width = active.size, states.shape[2], states.shape[3]
    plane = batch * width
    history = states.shape[1] * plane
    slots = slots_of(states, steps)
    tape = saved.shape[1] * plane if saved.shape[0] > 1 else ZERO
    inner_step = plane if inner.shape[0] > 1 else ZERO
    inner_tape = inner_saved.shape[1] * inner_step
    h, z, kept_values, inner_kept = (
        states.reshape(-1),
        preactivations.reshape(-1),
        saved.reshape(-1),
        inner_saved.reshape(-1),
    )
    masked, a = operand.reshape(-1), inner.reshape(-1)
    first, length = lo * width, inputs + recurrents
    begin(start, lengths, reverse, slots, h, history, plane, lo, hi)
    for i in range(steps):
        t = steps - 1 - i if reverse else i
        before = ((t + 1 if reverse else t) & slots) * plane
        after = ((t if reverse else t + 1) & slots) * plane
        rows = running(active, t, lo, hi)
        if slots != ONE:
            clear_ended(active, t, reverse, h, after, history, start.shape[0], width, lo, hi)
        if rows == 0:
            if out.size > 0:
                write_output(h, after, width, out, out_at + t * out_step, out_row, hidden, lo, rows, hi)
            continue

        h_from, h_at = h, before
        if mask.size > 0:
            h_from, h_at = masked, t * plane
            mask_rows(mask, h, before, masked, h_at, lo, rows)
        add_products(
            table, from_input, from_hidden, inputs, recurrents,
            x, t * x_step, x_row, tokens, token_rows, packed, bias, h_from, h_at,
            preactivations.shape[0], batch, width, t, z, lo, rows,
        )  # fmt: skip
        inner_at = t * inner_step
        for e in range(rows * width):
            gates = load(cell, "preactivations", z, first, plane, e)
            previous = load(cell, "states", h, before + first, history, e)
            weights = load(cell, "diagonal", diagonal, first, plane, e)
            values, kept = cell_inner_forward(cell, gates, previous, weights)
            store(cell, "inner", a, inner_at + first, plane, e, values)
            store(cell, "inner_saved", inner_kept, t * inner_tape + first, plane, e, kept)
        if mask.size > 0:
            mask_rows(mask, a, inner_at, a, inner_at, lo, rows)
        for g in range(from_inner[0], from_inner[1]):
            to = g * plane + first
            multiply(
                table, z, to, width,
                a, inner_at + first, width, recurrents, ONE, ZERO,
                a, ZERO, ZERO, ZERO,
                rows, width // w,
                packed, g * width * length + inputs * w, length * w,
                z, to, width,
            )  # fmt: skip
        for e in range(rows * width):
            gates = load(cell, "preactivations", z, first, plane, e)
            previous = load(cell, "states", h, before + first, history, e)
            weights = load(cell, "diagonal", diagonal, first, plane, e)
            following, kept = cell_forward(cell, gates, previous, weights)
            store(cell, "states", h, after + first, history, e, following)
            store(cell, "saved", kept_values, t * tape + first, plane, e, kept)
        if out.size > 0:
            write_output(h, after, width, out, out_at + t * out_step, out_row, hidden, lo, rows, hi)

    end(final, lengths, reverse, slots, h, history, plane, lo, hi)


@jit
def backward(
    cell, table, from_input, from_hidden, hidden, reverse,
    packed_h, packed_x, diagonal, mask,
    active, states, saved, dy, dy_at, dy_row, zeros,
    dstates, dpreactivations, product, dx, dx_row, add_to_dx, ddiagonal, lo, hi,
    from_inner, packed_inner, inner_saved, dinner,
):  # fmt: skip
    """Back-propagate through all steps of the samples lo <= n < hi; see `recurrent.backward`.

    from_inner   (first, last) of the pre-activations that the second product enters
    packed_inner   in: panels of the rows of W_hh that make them (columns: the inner value)
    inner_saved    in, from `forward` with a tape
    dinner         scratch (N, Hp)
    """
    steps, batch, width = states.shape[1] - 1, states.shape[2], states.shape[3]
    plane = batch * width
    history, tape, step = states.shape[1] * plane, saved.shape[1] * plane, dpreactivations.shape[1] * plane
    inner_tape = inner_saved.shape[1] * plane
    h, kept_values, dz, dh = states.reshape(-1), saved.reshape(-1), dpreactivations.reshape(-1), dstates.reshape(-1)
    inner_kept, da = inner_saved.reshape(-1), dinner.reshape(-1)
    dw, scratch = ddiagonal.reshape(-1), product.reshape(-1)
    first = lo * width

    for i in range(steps):
        t = i if reverse else steps - 1 - i
        before = (t + 1 if reverse else t) * plane
        after = (t if reverse else t + 1) * plane
        rows = running(active, t, lo, hi)
        if rows == 0:
            continue

        if dy.size > 0:
            add_output_gradient(dy, dy_at, dy_row, hidden, width, t * batch, dh, lo, rows)
        at = t * step + first
        for e in range(rows * width):
            kept = load(cell, "saved", kept_values, t * tape + first, plane, e)
            previous = load(cell, "states", h, before + first, history, e)
            weights = load(cell, "diagonal", diagonal, first, plane, e)
            following = load(cell, "states", h, after + first, history, e)
            gradients = load(cell, "states", dh, first, plane, e)
            so_far = load(cell, "diagonal", dw, first, plane, e)
            dgates, dprevious, dweights = cell_backward(cell, kept, previous, weights, following, gradients)
            store(cell, "preactivations", dz, at, plane, e, dgates)
            store(cell, "states", dh, first, plane, e, dprevious)
            store(cell, "diagonal", dw, first, plane, e, added(so_far, dweights))
        back_through(
            table, from_inner, hidden, width, plane, dz, at, packed_inner,
            zeros, ZERO, ZERO, da, first, width, rows,
        )  # fmt: skip
        if mask.size > 0:
            mask_rows(mask, da, ZERO, da, ZERO, lo, rows)
        for e in range(rows * width):
            kept = load(cell, "inner_saved", inner_kept, t * inner_tape + first, plane, e)
            previous = load(cell, "states", h, before + first, history, e)
            weights = load(cell, "diagonal", diagonal, first, plane, e)
            gradients = load(cell, "inner", da, first, plane, e)
            so_far_z = load(cell, "preactivations", dz, at, plane, e)
            states_so_far = load(cell, "states", dh, first, plane, e)
            so_far = load(cell, "diagonal", dw, first, plane, e)
            dgates, dprevious, dweights = cell_inner_backward(cell, kept, previous, weights, gradients)
            store(cell, "preactivations", dz, at, plane, e, added(so_far_z, dgates))
            store(cell, "states", dh, first, plane, e, added(states_so_far, dprevious))
            store(cell, "diagonal", dw, first, plane, e, added(so_far, dweights))
        if from_hidden[1] > from_hidden[0]:
            recurrent_gradient(
                table, from_hidden, hidden, width, plane, dz, at, packed_h, zeros, mask, scratch, dh, lo, rows
            )
        if dx.size > 0:
            input_gradient(
                table, from_input, hidden, width, plane, dz, at, packed_x, zeros,
                dx, dx_row, add_to_dx, t * batch + lo, rows,
            )  # fmt: skip
