"""Products of x, by the step or by the block of steps.

The pre-activations of a step are a product of x and, of most cells, one of h. That of x does not wait for h, so it may be taken
for some steps of a sample at once, which reads its weights once for all of them and fills tiles of several rows. Every element
is the same sum in the same order: bits do not depend on the block (tests/test_block_products.py), as long as a sum that is cut
in two was cut there anyway (`matmul.whole`; `numbarnn.kernels.cpu.steps_ahead` chooses the blocks).

``span`` are the steps of a block, the slots of the pre-activations: step t has slot t % span. Few nets have blocks in their forward
pass, so `products_of_block` is a kernel of its own, which the driver (`numbarnn.kernels.cpu.recurrent`) calls by its address:
inlined, it made the driver of every net a quarter larger. All else is inlined into the driver, whose letters it uses.
"""

import functools

import numpy as np

from numbarnn.kernels.compile import jit
from numbarnn.kernels.cpu import steps_ahead
from numbarnn.kernels.cpu.by_address import address_of, by_address
from numbarnn.kernels.cpu.matmul import NO_PRODUCT, ONE, ZERO, Extent, Factor, Location, Panels, copy, multiply
from numbarnn.kernels.cpu.run_groups import Batch, Input, Weights
from numbarnn.kernels.cpu.simd import flat, panel_of, tile_limits, tile_table
from numbarnn.kernels.groups import Floats4
from numbarnn.kernels.scalar import inlined


@inlined
def enters(preactivations, g):
    """Return whether an operand enters the pre-activation g, given (first, last) of those it enters."""
    return preactivations[0] <= g and g < preactivations[1]


@inlined
def rows_of_block(lengths, n, first, span):
    """Return how many steps of a block, from `first` on, sample n runs through; not positive: none."""
    return min(lengths[n], first + span) - first


@inlined
def add_products(
    table, from_input, from_hidden, inputs, recurrents,
    x, x_at, x_row, tokens, token_rows, packed, bias, h, h_at, count, batch, width, ahead, t, z, z_at, lo, rows,
):  # fmt: skip
    """Set the pre-activations of step t to what x, h and the biases make them.

    ahead : whether x and the biases have been added for the whole block; x_at : row of the first sample
    """
    w = panel_of(z)
    block, length = batch * width, inputs + recurrents
    from_tokens = tokens.size > 0
    if from_tokens:
        for n in range(lo, lo + rows):
            source = tokens[t * batch + n] * count * width
            for g in range(count):
                copy(token_rows, source + g * width, z, g * block + n * width, width)
    # One of two arrays, whatever the gate: a choice in each would be counted by reference (LSTM 8, 16, 32, 60: 8 % of forward).
    begun = from_tokens or ahead
    base = z if begun else bias
    g = ZERO
    while g < count:
        has_x, has_h = enters(from_input, g), enters(from_hidden, g)
        # The preactivations of a single sample lie side by side: those of the same products are one product.
        together = ONE
        if batch == 1:
            while (
                g + together < count
                and enters(from_input, g + together) == has_x
                and enters(from_hidden, g + together) == has_h
            ):
                together += 1
        x_length = inputs if has_x and not ahead else ZERO
        h_length = recurrents if has_h else ZERO
        if not ahead or h_length > 0:
            dst = z_at + g * block
            multiply(
                table, Extent(rows, together * width // w), base, Location(dst if begun else g * width, width if begun else ZERO),
                x, Factor(x_at, x_row, x_length, ONE, ZERO), h, Factor(h_at, width, h_length, ONE, ZERO),
                packed, Panels(g * width * length + (inputs - x_length) * w, length * w), z, Location(dst, width),
            )  # fmt: skip
        g += together


@jit
def products_of_block(weights: Weights, batch: Batch, x: Input, preactivations: Floats4, first: int, lo: int, hi: int):
    """Set the pre-activations of the steps of a block, from `first` on, to what x and the biases make them, sample by sample."""
    table, from_input, _, _, inputs, recurrents, _, _, packed, bias, _ = weights
    x_values, x_step, x_row, _ = x
    span, count, samples, width = preactivations.shape
    z = flat(preactivations)
    w = panel_of(z)
    block, length = samples * width, inputs + recurrents
    row = count * block
    for n in range(lo, hi):
        steps = rows_of_block(batch.lengths, n, first, span)
        for i in range(steps):
            for g in range(count):
                copy(bias, g * width, z, i * row + g * block + n * width, width)
        gates = from_input[1] - from_input[0]
        together = gates if samples == 1 else ONE  # side by side, as in `add_products`
        for g in range(from_input[0], from_input[1], max(together, ONE)):
            dst = g * block + n * width
            multiply(
                table, Extent(steps, together * width // w), z, Location(dst, row),
                x_values, Factor(first * x_step + n * x_row, x_step, inputs, ONE, ZERO), z, NO_PRODUCT,
                packed, Panels(g * width * length, length * w), z, Location(dst, row),
            )  # fmt: skip


call_products_of_block = by_address(products_of_block)


@functools.cache
def table_with_blocks(dtype):
    """Return `simd.tile_table` with the address of `products_of_block` at its end: the table of a run that takes blocks."""
    return np.append(tile_table(dtype), np.intp(address_of(products_of_block, dtype)))


def with_span(weights, samples: int, steps: int, dtype, parties: int = 1):
    """Return the weights of a run with the table that its time loop needs, and for how many steps that takes products of x at once.

    `parties` threads share the units of the run; 1: none do.
    """
    if parties > 1:
        return weights, steps_ahead.block_of_team(samples, weights.inputs, weights.recurrents)
    if not steps_ahead.cut_anyway(weights.inputs, weights.recurrents):
        return weights, 1
    span = steps_ahead.block_of_steps(samples, steps)
    return (weights._replace(table=table_with_blocks(dtype)) if span > 1 else weights), span


@inlined
def takes_blocks(table):
    """Return whether a table is one of `table_with_blocks`; without, the driver goes step by step, however many slots there are."""
    tallest, paired, _ = tile_limits()
    return table.size > tallest + paired + 1


@inlined
def input_gradient(
    table, from_input, hidden, width, block, dz, step, packed_x, zeros, dx, dx_row, add_to_dx,
    lengths, reverse, batch, span, t, lo, rows, hi,
):  # fmt: skip
    """Set the gradient of x at step t, or add to it; of a block of steps, in the last of them that is visited."""
    w = panel_of(dx)
    gates = from_input[1] - from_input[0]
    blocks = span > 1
    last = t == lengths[lo] - 1 or t % span == span - 1 if reverse else t % span == 0
    first = t // span * span
    parts = (hi - lo if last else ZERO) if blocks else ONE
    for part in range(parts):
        n = lo + part
        high = rows_of_block(lengths, n, first, span) if blocks else rows
        next_row = batch * dx_row if blocks else dx_row
        dst = (first * batch + n) * dx_row
        multiply(
            table, Extent(high, dx_row // w),
            dx if add_to_dx else zeros, Location(dst if add_to_dx else ZERO, next_row if add_to_dx else ZERO),
            dz, Factor(first * step + from_input[0] * block + n * width, step if blocks else width, hidden, gates, block),
            dz, NO_PRODUCT,
            packed_x, Panels(ZERO, gates * hidden * w), dx, Location(dst, next_row),
        )  # fmt: skip
