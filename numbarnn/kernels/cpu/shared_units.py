"""The time loop of a wide layer by several threads at once, each with some of its *units*, and its way back directly below.

`numbarnn.kernels.cpu.recurrent` shares samples out: of one sample nothing is to be shared there, and of a few every thread reads
all weights at every step. Here a thread reads the weights of its own units alone, and the threads meet once a step: forward before
the states of the step before are read, backward after the gradients of the pre-activations are written. The states after a step lie
in another slot than those before it, so none is overwritten that somebody still reads. Shares are whole panels, so no two threads
write to one cache line, and all sums are those of the other driver: results are equal to the bit.

Of one sample the products with x, which are known for all steps, are made for some steps at once: then W_ih is read once for the
rows of a tile, not for each step. The sums stay as they are (`numbarnn.kernels.cpu.resumed`).

Cells with a second recurrent product are not served: they would meet two times forward and three times backward.
"""

from numbarnn.kernels.compile import jit
from numbarnn.kernels.cpu.barrier import Team, leave, meet
from numbarnn.kernels.cpu.block_products import enters
from numbarnn.kernels.cpu.matmul import (
    NO_PRODUCT,
    ONE,
    ZERO,
    Extent,
    Factor,
    Location,
    Panels,
    copy,
    multiply,
    whole,
)
from numbarnn.kernels.cpu.resumed import resume
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
from numbarnn.kernels.cpu.simd import flat, panel_of, tile_limits
from numbarnn.kernels.cpu.time_loop import (
    add_output_gradient,
    begin,
    cell_step,
    cell_step_back,
    clear_ended,
    end,
    running,
    slots_of,
    write_output,
)
from numbarnn.kernels.scalar import inlined


@inlined
def _share(width, w, number, parties):
    """Return the columns [first, last) of the party `number`: whole panels."""
    panels = width // w
    return number * panels // parties * w, (number + 1) * panels // parties * w


@jit
def forward(
    cell, weights: Weights, batch: Batch, x: Input, out: Columns, activations: Activations, team: Team, number: int
):  # fmt: skip
    """Run the units of the party `number` of a team through all steps; other arguments as of `recurrent.forward`.

    activations.preactivations : of `steps_ahead.block_of_team` steps
    """
    table, from_input, from_hidden, _, inputs, recurrents, hidden, reverse, packed, bias, token_rows = weights
    lengths, active, diagonal, mask = batch
    x_values, x_step, x_row, tokens = x
    out_values, out_at, out_step, out_row = out
    states, saved, operand, _, _, preactivations, start, final = activations
    words, parties = team
    steps, samples, width = active.size, states.shape[2], states.shape[3]
    block = samples * width
    history = states.shape[1] * block
    slots = slots_of(states, steps)
    tape = saved.shape[1] * block if saved.shape[0] > 1 else ZERO
    h, z, saved_values = flat(states), flat(preactivations), flat(saved)
    masked = flat(operand)
    c0, c1 = _share(width, panel_of(z), number, parties)
    ahead, count = preactivations.shape[0], preactivations.shape[1]
    z_at, left = ZERO, ZERO
    arrivals = ZERO
    begin(start, lengths, reverse, slots, h, history, block, ZERO, samples, c0, c1)
    for i in range(steps):
        t = steps - 1 - i if reverse else i
        before = ((t + 1 if reverse else t) & slots) * block
        after = ((t if reverse else t + 1) & slots) * block
        rows = running(active, t, ZERO, samples)
        if slots != ONE:
            clear_ended(active, t, reverse, h, after, history, start.shape[0], width, ZERO, samples, c0, c1)
        if rows > 0:
            h_from, h_at = h, before
            if mask.size > 0:
                h_from, h_at = masked, t * block
                for n in range(rows):
                    for j in range(n * width + c0, n * width + c1):
                        masked[h_at + j] = h[before + j] * mask[n, j - n * width]
            if ahead > ONE:
                z_at += count * width
                if left == 0:
                    z_at, left = ZERO, min(ahead, t + 1 if reverse else lengths[0] - t)
                    _products_ahead(
                        table, from_input, from_hidden, inputs, recurrents,
                        x_values, t * x_step, -x_step if reverse else x_step, packed, bias, h, count, width, z, left, c0, c1,
                    )  # fmt: skip
                left -= 1
            arrivals += parties
            if not meet(words, arrivals):
                return
            if ahead > ONE:
                _add_hidden(
                    table, from_input, from_hidden, inputs, recurrents, packed, bias, h_from, h_at, count, width, z, z_at,
                    c0, c1, i & 1,
                )  # fmt: skip
            else:
                _add_products(
                    table, from_input, from_hidden, inputs, recurrents,
                    x_values, x_step, x_row, tokens, token_rows, packed, bias, h_from, h_at,
                    count, samples, width, t, z, rows, c0, c1, i & 1,
                )  # fmt: skip
            for n in range(rows):
                at = n * width
                cell_step(
                    cell, z, z_at + at, h, before + at, after + at, history, block, diagonal, at, saved_values, t * tape + at,
                    c0, c1,
                )  # fmt: skip
        if out_values.size > 0:
            write_output(
                h, after, width, out_values, out_at + t * out_step, out_row, c0, min(c1, hidden), ZERO, rows, samples
            )
    end(final, lengths, reverse, slots, h, history, block, ZERO, samples, c0, c1)
    if number == 0:
        leave(words, parties)


@inlined
def _add_products(
    table, from_input, from_hidden, inputs, recurrents,
    x, x_step, x_row, tokens, token_rows, packed, bias, h, h_at,
    count, batch, width, t, z, rows, c0, c1, turn,
):  # fmt: skip
    """Set the pre-activations of some units at step t to what x, h and the biases make them, in the order of the other driver."""
    w = panel_of(z)
    block, length = batch * width, inputs + recurrents
    from_tokens = tokens.size > 0
    if from_tokens:
        for n in range(rows):
            source = tokens[t * batch + n] * count * width + c0
            for g in range(count):
                copy(token_rows, source + g * width, z, g * block + n * width + c0, c1 - c0)
    groups = _groups(c1 - c0, w)
    for i in range(count * groups):
        g, j0, j1 = _group(i, count, groups, w, c0, c1, turn)
        x_length = inputs if enters(from_input, g) else ZERO
        h_length = recurrents if enters(from_hidden, g) else ZERO
        dst = g * block + j0
        multiply(
            table, Extent(rows, (j1 - j0) // w),
            z if from_tokens else bias, Location(dst if from_tokens else g * width + j0, width if from_tokens else ZERO),
            x, Factor(t * x_step, x_row, x_length, ONE, ZERO),
            h, Factor(h_at, width, h_length, ONE, ZERO),
            packed, Panels((g * width + j0) * length + (inputs - x_length) * w, length * w),
            z, Location(dst, width),
        )  # fmt: skip


@inlined
def _groups(columns, w):
    """Return the number of groups of panels of some columns."""
    _, _, wide = tile_limits()
    return (columns // w + wide - 1) // wide


@inlined
def _group(i, count, groups, w, c0, c1, turn):
    """Return gate, first and end column of the i-th group of panels; with `turn` from the last to the first.

    Every second step goes that way, and finds what the step before read last in the second-level cache, where not all fits in.
    """
    _, _, wide = tile_limits()
    at = count * groups - 1 - i if turn else i
    first = c0 + at % groups * wide * w
    return at // groups, first, min(first + wide * w, c1)


@inlined
def _products_ahead(
    table, from_input, from_hidden, inputs, recurrents, x, x_at, x_row, packed, bias, h, count, width, z, steps, c0, c1,
):  # fmt: skip
    """Set the pre-activations of the next steps of one sample to what x makes them, whole where h does not enter."""
    w = panel_of(z)
    length, row = inputs + recurrents, count * width
    for g in range(count):
        if not enters(from_input, g):
            continue
        dst = g * width + c0
        begun = enters(from_hidden, g) and whole(length)  # sums that h goes on with, the bias last
        if begun:
            for i in range(steps):
                for j in range(i * row + dst, i * row + dst + c1 - c0):
                    z[j] = 0
        multiply(
            table, Extent(steps, (c1 - c0) // w), z if begun else bias, Location(dst, row if begun else ZERO),
            x, Factor(x_at, x_row, inputs, ONE, ZERO), h, NO_PRODUCT,
            packed, Panels(dst * length, length * w), z, Location(dst, row),
        )  # fmt: skip


@inlined
def _add_hidden(
    table, from_input, from_hidden, inputs, recurrents, packed, bias, h, h_at, count, width, z, z_at, c0, c1, turn,
):  # fmt: skip
    """Go on with the pre-activations of a step, at `z_at`, that x has begun."""
    w = panel_of(z)
    length, groups = inputs + recurrents, _groups(c1 - c0, w)
    for i in range(count * groups):
        g, j0, j1 = _group(i, count, groups, w, c0, c1, turn)
        from_x, from_h = enters(from_input, g), enters(from_hidden, g)
        if from_x and not from_h:
            continue
        dst, panels = g * width + j0, (j1 - j0) // w
        at = dst * length + inputs * w
        if from_x and whole(length):
            resume(panels, bias, dst, h, h_at, recurrents, packed, at, length * w, z, z_at + dst)
        else:
            multiply(
                table, Extent(ONE, panels),
                z if from_x else bias, Location(z_at + dst if from_x else dst, ZERO),
                h, Factor(h_at, ZERO, recurrents if from_h else ZERO, ONE, ZERO), h, NO_PRODUCT,
                packed, Panels(at, length * w), z, Location(z_at + dst, ZERO),
            )  # fmt: skip


@jit
def backward(
    cell, weights: BackwardWeights, batch: Batch, activations: Activations, dy: Columns, dx: InputGradient,
    gradients: Gradients, team: Team, number: int,
):  # fmt: skip
    """Back-propagate through all steps of the units of the party `number` of a team; other arguments as of `recurrent.backward`.

    A party makes the gradients of its units' states, and of its share of the columns of x.
    """
    table, from_input, from_hidden, _, hidden, reverse, packed_h, packed_x, _, zeros = weights
    lengths, active, diagonal, mask = batch
    states, saved, _, _, _, _, _, _ = activations
    dy_values, dy_at, dy_step, dy_row = dy
    dx_values, dx_row, add_to_dx, _ = dx
    dstates, dpreactivations, ddiagonal, product, _ = gradients
    words, parties = team
    steps, samples, width = states.shape[1] - 1, states.shape[2], states.shape[3]
    block = samples * width
    history, tape, step = states.shape[1] * block, saved.shape[1] * block, dpreactivations.shape[1] * block
    h, saved_values, dz, dh = flat(states), flat(saved), flat(dpreactivations), flat(dstates)
    dw, scratch = flat(ddiagonal), flat(product)
    masks = mask.size > 0
    c0, c1 = _share(width, panel_of(dz), number, parties)
    x0, x1 = _share(dx_row, panel_of(dz), number, parties)
    arrivals = ZERO

    for i in range(steps):
        t = i if reverse else steps - 1 - i
        before = (t + 1 if reverse else t) * block
        after = (t if reverse else t + 1) * block
        rows = running(active, t, ZERO, samples)
        if rows == 0:
            continue

        if dy_values.size > 0:
            add_output_gradient(dy_values, dy_at + t * dy_step, dy_row, width, dh, c0, min(c1, hidden), ZERO, rows)
        for n in range(rows):
            at = n * width
            cell_step_back(
                cell, saved_values, t * tape + at, h, before + at, after + at, history, block, diagonal, dh, dw, at,
                dz, t * step + at, c0, c1,
            )  # fmt: skip
        arrivals += parties
        if not meet(words, arrivals):
            return
        if from_hidden[1] > from_hidden[0]:
            _back_through(
                table, from_hidden, hidden, width, block, dz, t * step, packed_h,
                zeros if masks else dh, ZERO if masks else c0, ZERO if masks else width,
                scratch if masks else dh, c0, width, rows, c0, c1, i & 1,
            )  # fmt: skip
            if masks:
                for n in range(rows):
                    for j in range(c0, c1):
                        dh[n * width + j] += scratch[n * width + j] * mask[n, j]
        if dx_values.size > 0 and samples > ONE:
            dst = t * samples * dx_row + x0
            _back_through(
                table, from_input, hidden, width, block, dz, t * step, packed_x,
                dx_values if add_to_dx else zeros, dst if add_to_dx else ZERO, dx_row if add_to_dx else ZERO,
                dx_values, dst, dx_row, rows, x0, x1, i & 1,
            )  # fmt: skip

    if dx_values.size > 0 and samples == ONE:  # all rows at once: W_ih is read once for six of them
        _back_through(
            table, from_input, hidden, step, block, dz, ZERO, packed_x,
            dx_values if add_to_dx else zeros, x0 if add_to_dx else ZERO, dx_row if add_to_dx else ZERO,
            dx_values, x0, dx_row, lengths[0], x0, x1, ZERO,
        )  # fmt: skip
    if number == 0:
        leave(words, parties)


@inlined
def _back_through(
    table, preactivations, hidden, dz_row, block, dz, dz_at, packed, c0, c0_at, c0_row, c, at, c_row, rows, first, last, turn,
):  # fmt: skip
    """Set the columns [first, last) of C = C0 + the gradients of some preactivations, `dz_row` apart, times the weights' rows."""
    w = panel_of(c)
    count = preactivations[1] - preactivations[0]
    groups = _groups(last - first, w)
    for i in range(groups):
        _, j0, j1 = _group(i, ONE, groups, w, first, last, turn)
        multiply(
            table, Extent(rows, (j1 - j0) // w), c0, Location(c0_at + j0 - first, c0_row),
            dz, Factor(dz_at + preactivations[0] * block, dz_row, hidden, count, block), dz, NO_PRODUCT,
            packed, Panels(j0 * count * hidden, count * hidden * w), c, Location(at + j0 - first, c_row),
        )  # fmt: skip
