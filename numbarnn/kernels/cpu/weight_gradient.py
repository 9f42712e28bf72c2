"""The gradient of the weights of products, in blocks of rows that are gathered into panels."""

from typing import NamedTuple

import numpy as np

from numbarnn.kernels.compile import jit
from numbarnn.kernels.cpu.matmul import ONE, ZERO
from numbarnn.kernels.cpu.simd import add_row, copy_row, lanes_of, panel_of, spread_rows, tile_limits, tiles
from numbarnn.kernels.groups import Floats1, Integers1, Integers2, Range
from numbarnn.kernels.scalar import inlined

# Rows (t, n) in one block of a weight gradient, where panels of two matrices share the first-level cache.
SPAN = 128
# Rows over which the sums for a bias are spread.
CHAINS = 4


class Operand(NamedTuple):
    """The left matrix of a product.

    Attributes
    ----------
    values : in, 1-D: row (t, n) at ``at + (t * N + n) * row``
    at, row : offset and distance
    columns : C or H; 0: there is no such product (of tokens see `tokens.token_gradient`)
    gates : (first, last) of the gates that it enters
    """

    values: Floats1
    at: int
    row: int
    columns: int
    gates: Range


class Blocks(NamedTuple):
    """Gradients of pre-activations, a block for each gate.

    Attributes
    ----------
    values : in, 1-D: gate g of row (t, n) at ``at + g * block + t * step + n * row``, `outputs` columns
    at, block, step, row : offset and distances
    outputs : columns
    """

    values: Floats1
    at: int
    block: int
    step: int
    row: int
    outputs: int


class RowRange(NamedTuple):
    """The running rows, in the order of (t, n), that a sum of gradients is over.

    Blocks of SPAN rows are counted from the first and added from the last block to the first, the order in which
    back-propagation comes upon them: so a pass that goes through a batch by segments makes the same sum.

    Attributes
    ----------
    first, last : rows
    begins : whether the sum begins with zero, instead of what is there
    ends : whether the gradient is written, where the sum is made elsewhere
    """

    first: int
    last: int
    begins: bool
    ends: bool


class WeightGradient(NamedTuple):
    """Where the gradients of a product's weights are summed and written.

    Attributes
    ----------
    values : out, 1-D: the flat gradient of all parameters, with W_ih and W_hh as (rows, columns)
    offsets : (G, 4) of a gate's rows of W_ih and W_hh in `values`, and of its two biases; -1: nowhere
    sums : scratch shared by the threads, (panels, Cp + Hp + CHAINS, W)
    """

    values: Floats1
    offsets: Integers2
    sums: Floats1


@jit
def weight_gradient(
    table: Integers1, x: Operand, h: Operand, d: Blocks, active: Integers1, batch: int, rows: RowRange, gathered: Floats1,
    result: WeightGradient, first: int, last: int,
):  # fmt: skip
    """Write the gradients of the weights of one or two products, and of their biases, for the panels [first, last).

    The products are ``z[t, n, g, j] = x[t, n] . W_ih[g, j] + h[t, n] . W_hh[g, j] + b[g, j]``; the gradients are the
    sums over the running (t, n) of ``d[t, n, g, j] * x[t, n, c]`` and so on, in blocks of SPAN of `rows`, each summed from
    zero and added to `result.sums`. A dense layer has one gate and no h.

    table : addresses of the tiles; active : (T,) running rows of each step, of `batch`; gathered : scratch of this thread,
    (Cp + Hp + 2 W) * SPAN.
    """
    x_values, x_at, x_row, inputs, from_input = x
    h_values, h_at, h_row, units, from_hidden = h
    d_values, d_at, d_block, d_step, d_row, outputs = d
    gradient, offsets, sums = result
    w = panel_of(d_values)
    tallest, paired, _ = tile_limits()
    panels = (outputs + w - 1) // w
    x_panels, h_panels = (inputs + w - 1) // w, (units + w - 1) // w
    h_dst = x_panels * SPAN * w
    d_dst = h_dst + h_panels * SPAN * w
    high = (x_panels + h_panels) * w + CHAINS
    if rows.begins:
        # Unsigned, or the loop does not vectorise.
        for i in range(np.uintp(first * high * w), np.uintp(last * high * w)):
            sums[i] = 0
    left = rows.last - rows.first
    t, n = row_at(active, rows.last)
    while left > 0:
        k, t, n = block_before(active, t, n, left)
        _gather(x_values, x_at, x_row, batch * x_row, x_panels, active, t, n, k, gathered, ZERO)
        _gather(h_values, h_at, h_row, batch * h_row, h_panels, active, t, n, k, gathered, h_dst)
        p = first
        while p < last:
            g, column = p // panels, (p % panels) * w
            side = 2 if paired == tallest and p + 1 < last and column + w < panels * w else 1
            _gather(d_values, d_at + g * d_block + column, d_row, d_step, side, active, t, n, k, gathered, d_dst)
            dst = p * high * w
            if from_input[0] <= g and g < from_input[1]:
                _transposed_product(table, side, gathered, ZERO, inputs, k, gathered, d_dst, sums, dst, high * w)
            if from_hidden[0] <= g and g < from_hidden[1]:
                at = dst + x_panels * w * w
                _transposed_product(table, side, gathered, h_dst, units, k, gathered, d_dst, sums, at, high * w)
            for i in range(side):
                _add_rows(gathered, d_dst + i * SPAN * w, k, sums, dst + ((i + 1) * high - CHAINS) * w)
            p += side
        left -= k
    if not rows.ends:
        return
    for p in range(first, last):
        g, column = p // panels, (p % panels) * w
        at = p * high * w
        columns = min(w, outputs - column)
        if offsets[g, 0] >= 0:
            _unpack(sums, at, columns, inputs, gradient, offsets[g, 0] + column * inputs)
        if offsets[g, 1] >= 0:
            _unpack(sums, at + x_panels * w * w, columns, units, gradient, offsets[g, 1] + column * units)
        for j in range(columns):
            row = column + j
            bias = sums[at + (high - CHAINS) * w + j]
            for i in range(1, CHAINS):
                bias += sums[at + (high - CHAINS + i) * w + j]
            if offsets[g, 2] >= 0:
                gradient[offsets[g, 2] + row] = bias
            if offsets[g, 3] >= 0:
                gradient[offsets[g, 3] + row] = bias


@jit
def block_before(active, t, n, left):
    """Return the rows of the last block of `left` rows before (t, n), whose row is not one of them, and where it begins."""
    size = (left - 1) % SPAN + 1
    count = size
    while count > n:
        count -= n
        t -= ONE
        n = active[t]
    return size, t, n - count


@inlined
def running_row(active, t, n):
    """Return the (t, n) of a running row: itself, or the first one of a later step where step t has no row n."""
    while n == active[t]:
        t += 1
        n = 0
    return t, n


@jit
def row_at(active, row):
    """Return the (t, n) after the first `row` running rows: the last step that has one of them, and how many it has."""
    t = ZERO
    while row > active[t]:
        row -= active[t]
        t += ONE
    return t, row


@jit
def _gather(a, at, row, step, panels, active, t, n, rows, gathered, to):
    """Copy `rows` running rows of a matrix, from (t, n) on, into panels of SPAN rows."""
    w = panel_of(gathered)
    for q in range(panels):
        k = ZERO
        step_now, n_now = t, n
        while k < rows:
            count = min(rows - k, active[step_now] - n_now)
            source = at + step_now * step + n_now * row + q * w
            dst = to + (q * SPAN + k) * w
            for _ in range(count):
                copy_row(a, source, gathered, dst)
                source += row
                dst += w
            k += max(count, 0)
            step_now += 1
            n_now = 0


@jit
def _transposed_product(table, side, a, a_at, columns, k, b, b_at, c, c_at, c_next):
    """Add A^T B for `side` gathered panels of B: `columns` columns of gathered panels of A become rows of C."""
    w = panel_of(c)
    tallest, paired, _ = tile_limits()
    most, before = (paired, tallest) if side == 2 else (tallest, 0)
    for q in range((columns + w - 1) // w):
        rows = min(w, columns - q * w)
        count = (rows + most - 1) // most
        height = rows // count
        taller = rows - count * height
        at, to = a_at + q * SPAN * w, c_at + q * w * w
        if taller > 0:
            tiles(
                table, before + height, taller, c, to, w, c_next, a, at, 1, w, k, 1, 0, a, 0, 0, 0,
                b, b_at, SPAN * w, c, to, w, c_next,
            )  # fmt: skip
        done = taller * (height + 1)
        at, to = at + done, to + done * w
        tiles(
            table, before + height - 1, count - taller, c, to, w, c_next, a, at, 1, w, k, 1, 0, a, 0, 0, 0,
            b, b_at, SPAN * w, c, to, w, c_next,
        )  # fmt: skip


@jit
def _add_rows(a, at, rows, sums, to):
    """Add the rows of a panel to CHAINS rows of sums in turn, which need not wait for each other."""
    w = panel_of(a)
    for i in range(rows):
        add_row(a, at + i * w, sums, to + (i % CHAINS) * w)


@jit
def _unpack(panel, at, columns, length, matrix, to):
    """Write `columns` columns of a panel of `length` rows as rows of a matrix, the inverse of `matmul._transpose`."""
    w, lanes = panel_of(panel), lanes_of(panel)
    k = 0
    if columns == w:
        while k + lanes <= length:
            spread_rows(panel, at + k * w, matrix, to + k, length)
            k += lanes
    for i in range(k, length):
        for j in range(columns):
            matrix[to + j * length + i] = panel[at + i * w + j]
