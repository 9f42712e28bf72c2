"""Products on packed panels: packing, the one multiply under every layer, and the gradient of a product's weights."""

from typing import NamedTuple

import numpy as np

from numbarnn.kernels.compile import bare, jit
from numbarnn.kernels.cpu.simd import add_row, copy_row, lanes_of, panel_of, tile_limits, tiles, transpose_rows
from numbarnn.kernels.groups import Floats1, Integers1, Integers2, Range

# Values of k in one block: a panel's block (16 KiB on AVX2) stays in the first-level cache while all rows pass.
BLOCK = 256
# Rows (t, n) in one block of a weight gradient, where panels of two matrices share the first-level cache.
SPAN = 128
# Rows over which the sums for a bias are spread.
CHAINS = 4
# Rows of a large product that pass over all panels together, so that they stay in the second-level cache.
ROWS = 120
# Rows of a weight matrix that are packed together.
BAND = 64
# A plain 0 or 1 in a call from kernel to kernel is a type of its own to Numba, and would compile the callee once more.
ZERO, ONE = np.intp(0), np.intp(1)


@jit
def copy(a, at, b, dst, columns):
    """Copy part of a row: b[dst : dst + columns] = a[at : at + columns]."""
    w = panel_of(a)
    whole = columns // w * w
    for j in range(0, whole, w):
        copy_row(a, at + j, b, dst + j)
    for j in range(whole, columns):
        b[dst + j] = a[at + j]


@jit
def add(a, at, b, dst, columns):
    """Add part of a row: b[dst : dst + columns] += a[at : at + columns]."""
    w = panel_of(a)
    whole = columns // w * w
    for j in range(0, whole, w):
        add_row(a, at + j, b, dst + j)
    for j in range(whole, columns):
        b[dst + j] += a[at + j]


@jit
def pack_forward(weights, offsets, outputs, inputs, recurrents, packed, bias, first, last):
    """Pack the weights of z[g, j] = x . W_ih[g, j] + h . W_hh[g, j] + b[g, j] for the panels [first, last), biases added up.

    weights  in, 1-D: the flat parameters
    offsets   in, (G, 4): where a gate's rows of W_ih (outputs, inputs) and W_hh (outputs, recurrents) begin in `weights`,
             and its two biases; -1: nowhere
    packed   out: (G * Op / W, inputs + recurrents, W); rows of a product that a gate does not take are left as they are
    bias     out: (G * Op,)
    """
    w = panel_of(packed)
    panels = (outputs + w - 1) // w
    for p in range(first, last):
        g, column = p // panels, (p % panels) * w
        columns = min(w, outputs - column)
        to = p * (inputs + recurrents) * w
        if offsets[g, 0] >= 0:
            _transpose(weights, offsets[g, 0] + column * inputs, inputs, columns, packed, to)
        if offsets[g, 1] >= 0:
            _transpose(weights, offsets[g, 1] + column * recurrents, recurrents, columns, packed, to + inputs * w)
        for j in range(w):
            total = packed.dtype.type(0)
            for side in range(2, 4):
                if j < columns and offsets[g, side] >= 0:
                    total += weights[offsets[g, side] + column + j]
            bias[p * w + j] = total


@jit
def _transpose(weights, at, length, columns, packed, to):
    """Fill one panel with `columns` rows of a matrix of `length` columns, transposed."""
    w, lanes = panel_of(packed), lanes_of(packed)
    k = 0
    if columns == w:
        while k + lanes <= length:
            transpose_rows(weights, at + k, length, packed, to + k * w)
            k += lanes
    for i in range(k, length):
        for j in range(columns):
            packed[to + i * w + j] = weights[at + j * length + i]
        for j in range(columns, w):
            packed[to + i * w + j] = 0


@jit
def pack_backward(weights, offsets, side, outputs, inputs, packed, first, last):
    """Pack the weights of dx[c] = sum over gates g and j of dz[g, j] W[g, j, c] for the panels [first, last) of c.

    offsets : (G, 4) as in `pack_forward`, only those of gates that x enters; side : 0 for W_ih, 1 for W_hh;
    packed : out, (Ip / W, G * outputs, W).
    """
    w = panel_of(packed)
    high = offsets.shape[0] * outputs
    # Some rows for all panels at a time, so that a page of memory is visited once.
    for g in range(offsets.shape[0]):
        for start in range(0, outputs, BAND):
            stop = min(start + BAND, outputs)
            for p in range(first, last):
                at = offsets[g, side] + start * inputs + p * w
                to = (p * high + g * outputs + start) * w
                columns = min(w, inputs - p * w)
                for _ in range(start, stop):
                    if columns == w:
                        copy_row(weights, at, packed, to)
                    else:
                        for j in range(columns):
                            packed[to + j] = weights[at + j]
                        for j in range(columns, w):
                            packed[to + j] = 0
                    at += inputs
                    to += w


class Extent(NamedTuple):
    """The extent of a result.

    Attributes
    ----------
    rows, panels : of the result
    """

    rows: int
    panels: int


class Location(NamedTuple):
    """Location of a matrix in its array.

    Attributes
    ----------
    at : offset of the first row
    row : distance of two rows; 0: one row for all
    """

    at: int
    row: int


class Factor(NamedTuple):
    """Location and extent of a left matrix in its array.

    Attributes
    ----------
    at, row : offset of the first row, and distance of two
    length : columns of a segment; 0: there is no such product
    segments, stride : number of segments in a row, and distance of two
    """

    at: int
    row: int
    length: int
    segments: int
    stride: int


class Panels(NamedTuple):
    """Location of packed panels in their array.

    Attributes
    ----------
    at, next : offset of the first, and distance of two
    """

    at: int
    next: int


NO_PRODUCT = Factor(ZERO, ZERO, ZERO, ONE, ZERO)


@bare  # or `base`, which names two arrays in turn, would be counted
def multiply(
    table,
    extent: Extent,
    c0,
    start: Location,
    a1,
    first: Factor,
    a2,
    second: Factor,
    b,
    packed: Panels,
    c,
    result: Location,
):
    """Set C = C0 + A1 B1 + A2 B2 for adjacent rows and panels; the arguments are those of `simd.tiles`, A2 has one segment.

    One panel after the other, so B is read once from front to back, and the panel's columns of C stay near while the
    blocks of k are added up (panels inside the blocks of k: 0.62 instead of 0.72 of the FMA limit at 1280 x 4096, 32
    rows). The blocks depend on the extents of k alone, never on the rows: any split of the rows gives the same bits.

    Groups hold numbers only: an array in a group that a kernel makes is counted by reference, at every step of a time loop.
    """
    rows, panels = extent
    c0_at, c0_row = start
    a1_at, a1_row, a1_length, a1_segments, a1_stride = first
    a2_at, a2_row, a2_length, _, _ = second
    b_at, b_next = packed
    c_at, c_row = result
    w = panel_of(c)
    tallest, paired, wide = tile_limits()
    if rows <= 0:
        return
    whole = a1_length * a1_segments + a2_length <= BLOCK + BLOCK // 4
    group = a1_segments if whole else max(1, min(a1_segments, BLOCK // max(1, a1_length)))
    cuts = 1 if whole else (a1_length + BLOCK - 1) // BLOCK
    cuts2 = 0 if whole else (a2_length + BLOCK - 1) // BLOCK
    p = 0
    while p < panels:
        side = 1
        if rows == 1 and p + wide <= panels:
            side = wide
        elif p + 2 <= panels and (rows <= paired or paired == tallest):
            side = 2
        block, pb, to = Extent(rows, side), b_at + p * b_next, Location(c_at + p * w, c_row)
        base, base_at = c0, Location(c0_at + p * w, c0_row)
        segment = 0
        while segment < a1_segments or segment == 0:
            n = min(group, a1_segments - segment)
            for cut in range(cuts):
                k0 = cut * a1_length // cuts
                k1 = (cut + 1) * a1_length // cuts
                _rows(
                    table, block, base, base_at,
                    a1, Factor(a1_at + segment * a1_stride + k0, a1_row, k1 - k0, n, a1_stride),
                    a2, Factor(a2_at, a2_row, a2_length if whole else ZERO, ONE, ZERO),
                    b, Panels(pb + (segment * a1_length + k0) * w, b_next), c, to,
                )  # fmt: skip
                base, base_at = c, to
            segment += max(n, 1)
        for cut in range(cuts2):
            k0 = cut * a2_length // cuts2
            k1 = (cut + 1) * a2_length // cuts2
            _rows(
                table, block, base, base_at,
                a1, Factor(a1_at, a1_row, ZERO, ZERO, ZERO), a2, Factor(a2_at + k0, a2_row, k1 - k0, ONE, ZERO),
                b, Panels(pb + (a1_segments * a1_length + k0) * w, b_next), c, to,
            )  # fmt: skip
            base, base_at = c, to
        p += side


@jit
def _rows(
    table,
    extent: Extent,
    c0,
    start: Location,
    a1,
    first: Factor,
    a2,
    second: Factor,
    b,
    packed: Panels,
    c,
    result: Location,
):
    """Multiply all rows by one block of k of some panels: tiles as tall as possible and as even as possible."""
    rows, side = extent
    c0_at, c0_row = start
    a1_at, a1_row, a1_length, a1_segments, a1_stride = first
    a2_at, a2_row, a2_length, _, _ = second
    b_at, b_next = packed
    c_at, c_row = result
    w = panel_of(c)
    tallest, paired, _ = tile_limits()
    most = paired if side == 2 else tallest
    before = tallest + paired if side > 2 else tallest if side == 2 else 0  # tiles of fewer panels in the table
    count = (rows + most - 1) // most
    height = rows // count
    taller = rows - count * height
    row = taller * (height + 1)
    if taller > 0:
        tiles(
            table, before + height, taller, c0, c0_at, c0_row, w, a1, a1_at, a1_row, 1, a1_length, a1_segments, a1_stride,
            a2, a2_at, a2_row, a2_length, b, b_at, b_next, c, c_at, c_row, w,
        )  # fmt: skip
    tiles(
        table, before + height - 1, count - taller,
        c0, c0_at + row * c0_row, c0_row, w,
        a1, a1_at + row * a1_row, a1_row, 1, a1_length, a1_segments, a1_stride,
        a2, a2_at + row * a2_row, a2_row, a2_length, b, b_at, b_next, c, c_at + row * c_row, c_row, w,
    )  # fmt: skip


@jit
def rows_before(active, t, n, count):
    """Return the (t, n) that lies `count` running rows before (t, n), whose row is not one of them."""
    while count > n:
        count -= n
        t -= ONE
        n = active[t]
    return t, n - count


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
def affine(table, x, x_row, inputs, packed, bias, y, y_row, active, batch, lo, hi):
    """Set y[t, n] = x[t, n] B + bias for the running rows with lo <= n < hi; a dense layer, forward or (bias zero) backward.

    x : (T * N, x_row), in; packed : panels of B (inputs, Yp), in; bias : (Yp,), in; y : (T * N, y_row), out.
    """
    w = panel_of(y)
    for t in range(active.size):
        stop = min(active[t], hi)
        first = lo
        while first < stop:
            rows = min(stop - first, ROWS)
            row = t * batch + first
            multiply(
                table, Extent(rows, y_row // w), bias, Location(ZERO, ZERO),
                x, Factor(row * x_row, x_row, inputs, ONE, ZERO), x, NO_PRODUCT,
                packed, Panels(ZERO, inputs * w), y, Location(row * y_row, y_row),
            )  # fmt: skip
            first += rows


@jit
def _add_rows(a, at, rows, sums, to):
    """Add the rows of a panel to CHAINS rows of sums in turn, which need not wait for each other."""
    w = panel_of(a)
    for i in range(rows):
        add_row(a, at + i * w, sums, to + (i % CHAINS) * w)


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
    sums over the running (t, n) of ``d[t, n, g, j] * x[t, n, c]`` and so on, in blocks of `rows`, each summed from zero. A
    dense layer has one gate and no h.

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
        for i in range(first * high * w, last * high * w):
            sums[i] = 0
    left = rows.last - rows.first
    t, n = row_at(active, rows.last)
    while left > 0:
        k = (left - 1) % SPAN + 1
        t, n = rows_before(active, t, n, k)
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
        for j in range(min(w, outputs - column)):
            row = column + j
            if offsets[g, 0] >= 0:
                for c in range(inputs):
                    gradient[offsets[g, 0] + row * inputs + c] = sums[at + c * w + j]
            if offsets[g, 1] >= 0:
                for c in range(units):
                    gradient[offsets[g, 1] + row * units + c] = sums[at + (x_panels * w + c) * w + j]
            bias = sums[at + (high - CHAINS) * w + j]
            for i in range(1, CHAINS):
                bias += sums[at + (high - CHAINS + i) * w + j]
            if offsets[g, 2] >= 0:
                gradient[offsets[g, 2] + row] = bias
            if offsets[g, 3] >= 0:
                gradient[offsets[g, 3] + row] = bias
