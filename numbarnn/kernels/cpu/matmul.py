"""Products on packed panels: packing, and the one multiply under every layer."""

from typing import NamedTuple

import numpy as np

from numbarnn.kernels.compile import bare, jit
from numbarnn.kernels.cpu.simd import add_row, copy_row, lanes_of, panel_of, tile_limits, tiles, transpose_rows
from numbarnn.kernels.scalar import inlined

# Values of k in one block: a panel's block (16 KiB on AVX2) stays in the first-level cache while all rows pass.
BLOCK = 256
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


@inlined
def whole(length):
    """Return whether a sum over k of this length is taken in one piece, not in blocks."""
    return length <= BLOCK + BLOCK // 4


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
    at_once = whole(a1_length * a1_segments + a2_length)
    group = a1_segments if at_once else max(1, min(a1_segments, BLOCK // max(1, a1_length)))
    cuts = 1 if at_once else (a1_length + BLOCK - 1) // BLOCK
    cuts2 = 0 if at_once else (a2_length + BLOCK - 1) // BLOCK
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
                    a2, Factor(a2_at, a2_row, a2_length if at_once else ZERO, ONE, ZERO),
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
