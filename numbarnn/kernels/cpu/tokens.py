"""Token input: rows are gathered and scattered, never multiplied by one-hot vectors.

A token's one-hot vector times W_ih is a column of W_ih, so a recurrent or dense layer after `OneHot` reads one row
of a table, and an embedding is the table itself. Indices are checked before they get here.

Of rows they are unsigned, or no loop vectorises (as in `numbarnn.kernels.cpu.losses`).
"""

import numpy as np

from numbarnn.kernels.compile import jit
from numbarnn.kernels.cpu.simd import add_row, panel_of
from numbarnn.kernels.cpu.weight_gradient import Blocks, RowRange, block_before, row_at, running_row
from numbarnn.kernels.groups import Floats1, Integers1, Integers2, Tokens1


@jit
def pack_tokens(weights, offsets, outputs, size, bias, rows, first, last):
    """Make the rows that tokens [first, last) add to the pre-activations: rows[v, g, j] = W_ih[g, j, v] + bias[g, j].

    weights, offsets : as in `matmul.pack_forward`; bias : (preactivations * Op,), in; rows : (size, preactivations * Op), out.
    """
    preactivations = offsets.shape[0]
    width = bias.size // preactivations
    for v in range(first, last):
        for g in range(preactivations):
            for j in range(width):
                value = bias[g * width + j]
                if j < outputs and offsets[g, 0] >= 0:
                    value += weights[offsets[g, 0] + j * size + v]
                rows[v, g * width + j] = value


@jit
def gather(table, row, tokens, active, batch, y, y_row, columns, lo, hi):
    """Set y[t, n, :columns] = table[tokens[t, n]] for the running rows with lo <= n < hi."""
    for t in range(active.size):
        for n in range(lo, min(active[t], hi)):
            source = tokens[t * batch + n] * row
            dst = (t * batch + n) * y_row
            for j in range(columns):
                y[np.uintp(dst + j)] = table[np.uintp(source + j)]


@jit
def token_gradient(
    tokens: Tokens1, size: int, d: Blocks, active: Integers1, batch: int, rows: RowRange, sums: Floats1, gradient: Floats1,
    offsets: Integers2, first: int, last: int,
):  # fmt: skip
    """Write the gradient of W_ih (rows, size) under token input for the panels [first, last); see `weight_gradient`.

    sums : scratch of this thread, (size, W). Rows are added in the order of `rows`; the sum goes on with what is in `gradient`.
    """
    d_values, d_at, d_block, d_step, d_row, outputs = d
    w = panel_of(d_values)
    panels = (outputs + w - 1) // w
    for p in range(first, last):
        g, column = p // panels, (p % panels) * w
        if offsets[g, 0] < 0:
            continue
        for i in range(size * w):
            sums[i] = 0
        if not rows.begins:
            for j in range(min(w, outputs - column)):
                for v in range(size):
                    sums[v * w + j] = gradient[offsets[g, 0] + (column + j) * size + v]
        left = rows.last - rows.first
        t, n = row_at(active, rows.last)
        while left > 0:
            count, t, n = block_before(active, t, n, left)
            step, sample = t, n
            for _ in range(count):
                step, sample = running_row(active, step, sample)
                source = d_at + g * d_block + step * d_step + sample * d_row + column
                add_row(d_values, source, sums, tokens[step * batch + sample] * w)
                sample += 1
            left -= count
        for j in range(min(w, outputs - column)):
            dst = offsets[g, 0] + (column + j) * size
            for v in range(size):
                gradient[dst + v] = sums[v * w + j]


@jit
def embedding_gradient(tokens, d, d_row, columns, active, batch, rows, gradient, at, first, last):
    """Add the rows of d to the rows of an embedding's gradient, columns [first, last).

    rows : (first, last) running rows, added in the order of `weight_gradient.RowRange`.
    """
    left = rows[1] - rows[0]
    t, n = row_at(active, rows[1])
    while left > 0:
        count, t, n = block_before(active, t, n, left)
        step, sample = t, n
        for _ in range(count):
            step, sample = running_row(active, step, sample)
            source = (step * batch + sample) * d_row
            dst = at + tokens[step * batch + sample] * columns
            for j in range(first, last):
                gradient[np.uintp(dst + j)] += d[np.uintp(source + j)]
            sample += 1
        left -= count


@jit
def gather_bags(table, row, tokens, bag, active, batch, y, y_row, columns, lo, hi):
    """Set y[t, n, :columns] to the sum of table[tokens[t, n, k]] over k < bag with tokens >= 0, for the running rows."""
    for t in range(active.size):
        for n in range(lo, min(active[t], hi)):
            at, dst = (t * batch + n) * bag, (t * batch + n) * y_row
            for j in range(columns):
                y[np.uintp(dst + j)] = 0
            for k in range(bag):
                if tokens[at + k] >= 0:
                    source = tokens[at + k] * row
                    for j in range(columns):
                        y[np.uintp(dst + j)] += table[np.uintp(source + j)]


@jit
def bag_gradient(tokens, bag, d, d_row, columns, active, batch, rows, gradient, at, first, last):
    """Add the rows of d to the rows of every token of their bags, columns [first, last); `rows` as in `embedding_gradient`."""
    left = rows[1] - rows[0]
    t, n = row_at(active, rows[1])
    while left > 0:
        count, t, n = block_before(active, t, n, left)
        step, sample = t, n
        for _ in range(count):
            step, sample = running_row(active, step, sample)
            own, source = (step * batch + sample) * bag, (step * batch + sample) * d_row
            for k in range(bag):
                if tokens[own + k] >= 0:
                    dst = at + tokens[own + k] * columns
                    for j in range(first, last):
                        gradient[np.uintp(dst + j)] += d[np.uintp(source + j)]
            sample += 1
        left -= count
