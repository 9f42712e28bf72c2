"""The time loop of every cell, and its back-propagation through time directly below.

One driver serves all cells: it makes the pre-activations of a step by products (`matmul.multiply`), then calls the
cell's scalar function for every element of one flat loop over samples and units, which LLVM vectorises (a test counts
packed divisions). Where a cell has a second recurrent product, a first loop makes the inner value that it sees, between the
two products; of other cells that compiles to nothing. A shard is a range of samples; it runs through all steps alone. The
arrays are described in `numbarnn.kernels`.
"""

from typing import NamedTuple

from numba.extending import overload

from numbarnn.kernels.compile import jit
from numbarnn.kernels.cpu.block_products import add_products, input_gradient
from numbarnn.kernels.cpu.matmul import NO_PRODUCT, ONE, ZERO, Extent, Factor, Location, Panels, multiply
from numbarnn.kernels.cpu.simd import panel_of
from numbarnn.kernels.cpu.time_loop import (
    add_output_gradient,
    back_through,
    begin,
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
    cell_backward,
    cell_forward,
    cell_inner_backward,
    cell_inner_forward,
    has_second_product,
    load,
    store,
)
from numbarnn.kernels.groups import Floats1, Floats2, Floats3, Floats4, Integers1, Range, Tokens1


class Weights(NamedTuple):
    """The weights of one run over a layer's input.

    Attributes
    ----------
    table : addresses of the tiles (`simd.tile_table`)
    from_input, from_hidden, from_inner : (first, last) of the pre-activations that x enters; that h enters; that the second
        recurrent product enters
    inputs, recurrents : extents of the products: C or 0, and H or 0
    hidden : H
    reverse : whether the run goes from the last step to the first
    packed : (G * Hp / W, inputs + recurrents, W) panels of W_ih above W_hh
    bias : (G * Hp,)
    token_rows : (C, G * Hp) the row that each token adds, bias included; empty: x are not tokens
    """

    table: Integers1
    from_input: Range
    from_hidden: Range
    from_inner: Range
    inputs: int
    recurrents: int
    hidden: int
    reverse: bool
    packed: Floats1
    bias: Floats1
    token_rows: Floats1


class BackwardWeights(NamedTuple):
    """The weights of one run as its back-propagation reads them.

    Attributes
    ----------
    table, from_input, from_hidden, from_inner, hidden, reverse : as in `Weights`
    packed_h, packed_x : panels of W_hh (rows: gates and units, columns: h) and of W_ih (columns: x)
    packed_inner : panels of the rows of W_hh of the second recurrent product (columns: the inner value)
    zeros : (max(Cp, Hp),) zeros
    """

    table: Integers1
    from_input: Range
    from_hidden: Range
    from_inner: Range
    hidden: int
    reverse: bool
    packed_h: Floats1
    packed_x: Floats1
    packed_inner: Floats1
    zeros: Floats1


class Batch(NamedTuple):
    """The samples of a batch, and what acts on each of them at every step.

    Attributes
    ----------
    lengths, active : (N,) falling, and (T,) samples still running
    diagonal : (U, N, Hp) diagonal weights, repeated for every sample
    mask : (N, Hp) factors of h on its way into the recurrent products, or empty
    """

    lengths: Integers1
    active: Integers1
    diagonal: Floats1
    mask: Floats2


class Input(NamedTuple):
    """What a run reads.

    Attributes
    ----------
    values : 1-D: row (t, n) at ``t * step + n * row``, C columns; empty: tokens
    step, row : distances
    tokens : (T * N,) token of every row, or empty
    """

    values: Floats1
    step: int
    row: int
    tokens: Tokens1


class Columns(NamedTuple):
    """Columns of rows that lie apart: outputs, their gradient.

    Attributes
    ----------
    values : 1-D: row (t, n) at ``at + t * step + n * row``; or empty
    at, step, row : offset and distances
    """

    values: Floats1
    at: int
    step: int
    row: int


class InputGradient(NamedTuple):
    """The gradient of the input.

    Attributes
    ----------
    values : 1-D: row (t, n) at ``(t * N + n) * row``; or empty
    row : distance
    add : whether it is added to what is there, the other direction's
    span : steps of a sample that have one product; 1: all samples of a step have
    """

    values: Floats1
    row: int
    add: bool
    span: int


class Activations(NamedTuple):
    """What `forward` writes and `backward` reads, as in `numbarnn.kernels`.

    Attributes
    ----------
    states, saved : without a tape two slots used in turn, and one
    operand : (T, N, Hp) masked h of each step, or empty
    inner : (T, N, Hp) what the second recurrent product saw, masked; (1, N, Hp) without a tape; empty without such a product
    inner_saved : (T or 1, K', N, Hp), like `saved`, what `inner_forward` saves
    preactivations : (B, G, N, Hp) scratch of `forward`; B steps of a sample have one product of x (1: all samples of a step have)
    start, final : (S, N, Hp) states before the first and after the last step of each sample
    """

    states: Floats4
    saved: Floats4
    operand: Floats3
    inner: Floats3
    inner_saved: Floats4
    preactivations: Floats4
    start: Floats3
    final: Floats3


class Gradients(NamedTuple):
    """What `backward` writes.

    Attributes
    ----------
    dstates : in and out: (S, N, Hp) gradient of the final states, then of the initial states
    dpreactivations : (T, G, N, Hp)
    ddiagonal : in and out: (U, N, Hp) gradient of the diagonal weights, summed over the steps of each sample
    product : scratch (N, Hp) under a mask, or empty
    dinner : scratch (N, Hp) of a second recurrent product, or empty
    """

    dstates: Floats3
    dpreactivations: Floats4
    ddiagonal: Floats3
    product: Floats2
    dinner: Floats2


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
    h, z, saved_values = states.reshape(-1), preactivations.reshape(-1), saved.reshape(-1)
    masked = operand.reshape(-1)
    first = lo * width
    span, count = preactivations.shape[0], preactivations.shape[1]
    block_done = -ONE
    begin(start, lengths, reverse, slots, h, history, block, lo, hi)
    for i in range(steps):
        t = steps - 1 - i if reverse else i
        before = ((t + 1 if reverse else t) & slots) * block
        after = ((t if reverse else t + 1) & slots) * block
        rows = running(active, t, lo, hi)
        if slots != ONE:
            clear_ended(active, t, reverse, h, after, history, start.shape[0], width, lo, hi)
        if rows == 0:
            if out_values.size > 0:
                write_output(h, after, width, out_values, out_at + t * out_step, out_row, hidden, lo, rows, hi)
            continue

        h_from, h_at = h, before
        if mask.size > 0:
            h_from, h_at = masked, t * block
            mask_rows(mask, h, before, masked, h_at, lo, rows)
        block_done = add_products(
            table, from_input, from_hidden, inputs, recurrents,
            x_values, x_step, x_row, tokens, token_rows, packed, bias, h_from, h_at,
            lengths, count, samples, width, span, block_done, t, z, lo, rows, hi,
        )  # fmt: skip
        z_at = t % span * count * block + first
        second_product(
            cell, table, from_inner, inputs, recurrents, packed, diagonal, mask, inner, inner_saved,
            h, before, history, z, z_at, t, lo, rows,
        )  # fmt: skip
        for e in range(rows * width):
            gates = load(cell, "preactivations", z, z_at, block, e)
            previous = load(cell, "states", h, before + first, history, e)
            own_weights = load(cell, "diagonal", diagonal, first, block, e)
            following, own = cell_forward(cell, gates, previous, own_weights)
            store(cell, "states", h, after + first, history, e, following)
            store(cell, "saved", saved_values, t * tape + first, block, e, own)
        if out_values.size > 0:
            write_output(h, after, width, out_values, out_at + t * out_step, out_row, hidden, lo, rows, hi)

    end(final, lengths, reverse, slots, h, history, block, lo, hi)


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
    h, saved_values, dz, dh = states.reshape(-1), saved.reshape(-1), dpreactivations.reshape(-1), dstates.reshape(-1)
    dw, scratch = ddiagonal.reshape(-1), product.reshape(-1)
    first = lo * width

    for i in range(steps):
        t = i if reverse else steps - 1 - i
        before = (t + 1 if reverse else t) * block
        after = (t if reverse else t + 1) * block
        rows = running(active, t, lo, hi)
        if rows == 0:
            continue

        if dy_values.size > 0:
            add_output_gradient(dy_values, dy_at + t * dy_step, dy_row, hidden, width, dh, lo, rows)
        for e in range(rows * width):
            own = load(cell, "saved", saved_values, t * tape + first, block, e)
            previous = load(cell, "states", h, before + first, history, e)
            own_weights = load(cell, "diagonal", diagonal, first, block, e)
            following = load(cell, "states", h, after + first, history, e)
            dafter = load(cell, "states", dh, first, block, e)
            so_far = load(cell, "diagonal", dw, first, block, e)
            dgates, dprevious, dweights = cell_backward(cell, own, previous, own_weights, following, dafter)
            store(cell, "preactivations", dz, t * step + first, block, e, dgates)
            store(cell, "states", dh, first, block, e, dprevious)
            store(cell, "diagonal", dw, first, block, e, added(so_far, dweights))

        at = t * step + first
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


@overload(second_product, jit_options={"forceinline": True})
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
        a, values_saved = inner.reshape(-1), inner_saved.reshape(-1)
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


@overload(second_gradient, jit_options={"forceinline": True})
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
        values_saved, da = inner_saved.reshape(-1), dinner.reshape(-1)
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
