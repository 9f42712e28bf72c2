"""The time loop of every pointwise cell, and its back-propagation through time directly below.

One driver serves all cells: it makes the pre-activations of a step by products (`matmul.multiply`), then calls the
cell's scalar function for every element of one flat loop over samples and units, which LLVM vectorises (a test counts
packed divisions). A shard is a range of samples; it runs through all steps alone. The arrays are described in
`numbarnn.kernels`.
"""

from numbarnn.kernels.compile import jit
from numbarnn.kernels.cpu.matmul import ONE, ZERO
from numbarnn.kernels.cpu.steps import (
    add_output_gradient,
    add_products,
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
from numbarnn.kernels.element import added, cell_backward, cell_forward, load, store


@jit
def forward(
    cell, table, from_input, from_hidden, inputs, recurrents, reverse,
    x, x_step, x_row, tokens, token_rows,
    packed, bias, diagonal, mask,
    lengths, active, start, states, saved, preactivations, operand, out, out_at, out_step, out_row, hidden, final, lo, hi,
):  # fmt: skip
    """Run the samples lo <= n < hi through all steps.

    cell                  record; selects the scalar functions
    from_input          (first, last) of the pre-activations that x enters; `from_hidden`: that h enters
    inputs, recurrents    extents of the two products: C or 0, and H or 0
    x, x_step, x_row      in, 1-D: row (t, n) at ``t * x_step + n * x_row``, `inputs` columns; or else
    tokens, token_rows    in: (T * N,) token of every row, and (C, G * Hp) the row that each adds, bias included (empty: no tokens)
    packed                in: (G * Hp / W, inputs + recurrents, W) panels of W_ih above W_hh
    bias                  in: (G * Hp,)
    diagonal              in: (U, N, Hp) diagonal weights, repeated for every sample
    mask                  in: (N, Hp) factors of h on its way into the recurrent product, or empty
    lengths, active       in: (N,) falling, and (T,) samples still running
    start, final          in and out: (S, N, Hp) states before the first and after the last step of each sample
    states, saved         out, see `numbarnn.kernels`; without a tape two slots used in turn, and one
    preactivations        scratch (G, N, Hp)
    operand               out: (T, N, Hp) masked h of each step, or empty
    out                   out, 1-D: `hidden` columns of row (t, n) at ``out_at + t * out_step + n * out_row``, zero past the
                          sample's length; or empty
    """
    steps, batch, width = active.size, states.shape[2], states.shape[3]
    plane = batch * width
    history = states.shape[1] * plane
    slots = slots_of(states, steps)
    tape = saved.shape[1] * plane if saved.shape[0] > 1 else ZERO
    h, z, kept_values = states.reshape(-1), preactivations.reshape(-1), saved.reshape(-1)
    masked = operand.reshape(-1)
    first = lo * width
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
):  # fmt: skip
    """Back-propagate through all steps of the samples lo <= n < hi.

    packed_h, packed_x    in: panels of W_hh (rows: gates and units, columns: h) and of W_ih (columns: x)
    diagonal, mask        in, as in `forward`
    active, states, saved in, from `forward` with a tape
    dy, dy_at, dy_row     in, 1-D: gradient of the output, row (t, n) at ``dy_at + (t * N + n) * dy_row``, or empty
    zeros                 in: (Cp,) zeros
    dstates               in and out: (S, N, Hp) gradient of the final states, then of the initial states
    dpreactivations       out: (T, G, N, Hp)
    product               scratch (N, Hp) under a mask, or empty
    dx, dx_row            out, 1-D: (T * N, dx_row), or empty; `add_to_dx`: added to what is there (the other direction's)
    ddiagonal                in and out: (U, N, Hp) gradient of the diagonal weights, summed over the steps of each sample
    """
    steps, batch, width = states.shape[1] - 1, states.shape[2], states.shape[3]
    plane = batch * width
    history, tape, step = states.shape[1] * plane, saved.shape[1] * plane, dpreactivations.shape[1] * plane
    h, kept_values, dz, dh = states.reshape(-1), saved.reshape(-1), dpreactivations.reshape(-1), dstates.reshape(-1)
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
        for e in range(rows * width):
            kept = load(cell, "saved", kept_values, t * tape + first, plane, e)
            previous = load(cell, "states", h, before + first, history, e)
            weights = load(cell, "diagonal", diagonal, first, plane, e)
            following = load(cell, "states", h, after + first, history, e)
            gradients = load(cell, "states", dh, first, plane, e)
            so_far = load(cell, "diagonal", dw, first, plane, e)
            dgates, dprevious, dweights = cell_backward(cell, kept, previous, weights, following, gradients)
            store(cell, "preactivations", dz, t * step + first, plane, e, dgates)
            store(cell, "states", dh, first, plane, e, dprevious)
            store(cell, "diagonal", dw, first, plane, e, added(so_far, dweights))

        at = t * step + first
        if from_hidden[1] > from_hidden[0]:
            recurrent_gradient(
                table, from_hidden, hidden, width, plane, dz, at, packed_h, zeros, mask, scratch, dh, lo, rows
            )
        if dx.size > 0:
            input_gradient(
                table, from_input, hidden, width, plane, dz, at, packed_x, zeros,
                dx, dx_row, add_to_dx, t * batch + lo, rows,
            )  # fmt: skip
