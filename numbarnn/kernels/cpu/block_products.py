"""Products of x, by the step or by the block of steps.

The pre-activations of a step are a product of x and, of most cells, one of h. That of x does not wait for h, so it may be taken
for some steps of a sample at once, which reads its weights once for all of them and fills tiles of several rows. Every element
is the same sum in the same order: bits do not depend on the block (tests/test_block_products.py), as long as a sum that is cut
in two was cut there anyway (`matmul.whole`; `numbarnn.kernels.cpu.steps_ahead` chooses the blocks).

All are inlined into the driver (`numbarnn.kernels.cpu.recurrent`), whose letters they use; ``span`` are the steps of a block, the
slots of the pre-activations: step t has slot t % span.
"""

from numbarnn.kernels.cpu.matmul import NO_PRODUCT, ONE, ZERO, Extent, Factor, Location, Panels, copy, multiply
from numbarnn.kernels.cpu.simd import panel_of
from numbarnn.kernels.scalar import inlined


@inlined
def rows_of_block(lengths, n, first, span):
    """Return how many steps of a block, from `first` on, sample n runs through; not positive: none."""
    return min(lengths[n], first + span) - first


@inlined
def add_products(
    table, from_input, from_hidden, inputs, recurrents,
    x, x_step, x_row, tokens, token_rows, packed, bias, h, h_at,
    lengths, count, batch, width, span, block_done, t, z, lo, rows, hi,
):  # fmt: skip
    """Set the pre-activations of step t to what x, h and the biases make them; return the block whose products of x are done.

    block_done : what this returned before. In a block's first step, the products of x are taken for all of its steps.
    """
    w = panel_of(z)
    block, length = batch * width, inputs + recurrents
    at = t % span * count * block + lo * width
    from_tokens = tokens.size > 0
    if from_tokens:
        for n in range(lo, lo + rows):
            source = tokens[t * batch + n] * count * width
            for g in range(count):
                copy(token_rows, source + g * width, z, g * block + n * width, width)
    # A part is the product of x for some steps of a sample; the last one is that of all samples of step t.
    blocks = span > 1
    # One of two arrays, whatever the part: a choice in each would be counted by reference (LSTM 8, 16, 32, 60: 8 % of forward).
    begun = from_tokens or blocks
    base = z if begun else bias
    parts = hi - lo if blocks and t // span != block_done else ZERO
    first = t // span * span
    for part in range(parts + 1):
        ahead = part < parts
        n = lo + part if ahead else lo
        high = rows_of_block(lengths, n, first, span) if ahead else rows
        dst, row = (n * width, count * block) if ahead else (at, width)
        x_at, x_next = (first * x_step + n * x_row, x_step) if ahead else (t * x_step + lo * x_row, x_row)
        if ahead:
            for i in range(high):
                for g in range(count):
                    copy(bias, g * width, z, dst + i * row + g * block, width)
        g = ZERO
        while g < count:
            has_x = from_input[0] <= g and g < from_input[1]
            has_h = from_hidden[0] <= g and g < from_hidden[1]
            # The preactivations of a single sample lie side by side: those of the same products are one product.
            together = ONE
            if batch == 1:
                while (
                    g + together < count
                    and (from_input[0] <= g + together and g + together < from_input[1]) == has_x
                    and (from_hidden[0] <= g + together and g + together < from_hidden[1]) == has_h
                ):
                    together += 1
            x_length = inputs if has_x and (ahead or not blocks) else ZERO
            h_length = recurrents if has_h and not ahead else ZERO
            if not blocks or x_length + h_length > 0:
                multiply(
                    table, Extent(high, together * width // w),
                    base, Location(dst + g * block if begun else g * width, row if begun else ZERO),
                    x, Factor(x_at, x_next, x_length, ONE, ZERO),
                    h, Factor(h_at + lo * width, width, h_length, ONE, ZERO),
                    packed, Panels(g * width * length + (inputs - x_length) * w, length * w),
                    z, Location(dst + g * block, row),
                )  # fmt: skip
            g += together
    return t // span


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
