"""The parts of the time loop and of the way back: entering and leaving a batch, the cell's step, the states of ended samples.

All are inlined into the drivers (`numbarnn.kernels.cpu.recurrent`, `shared_units`), whose letters they use: ``block`` is N * Hp,
the size of the block of one pre-activation, and ``history`` the stride from one state to the next in `states`. Indices of loops
over values are unsigned where that matters, or they do not vectorise (as in `numbarnn.kernels.cpu.losses`).
"""

import numpy as np

from numbarnn.kernels.cpu.matmul import NO_PRODUCT, ONE, ZERO, Extent, Factor, Location, Panels, add, copy, multiply
from numbarnn.kernels.cpu.simd import copy_row, flat, panel_of
from numbarnn.kernels.element import added, cell_backward, cell_forward, load, store
from numbarnn.kernels.scalar import inlined


@inlined
def running(active, t, lo, hi):
    """Return how many of the samples lo <= n < hi run at step t."""
    return max(min(active[t], hi) - lo, 0)


@inlined
def slots_of(states, steps):
    """Return what the slot of a step is and-ed with: slot t lies at t & slots, two are used in turn where no tape is kept."""
    return np.intp(-1) if states.shape[1] == steps + 1 else ONE


@inlined
def _copy_panels(a, at, b, dst, columns):
    """Copy whole panels of a row: b[dst : dst + columns] = a[at : at + columns]."""
    for j in range(0, columns, panel_of(b)):
        copy_row(a, at + j, b, dst + j)


@inlined
def begin(start, lengths, reverse, slots, h, history, block, lo, hi, first, last):
    """Copy the initial states of the units [first, last), whole panels, to where the first step of each sample reads them."""
    initial, width = flat(start), start.shape[2]
    for n in range(lo, hi):
        dst = ((lengths[n] if reverse else 0) & slots) * block + n * width + first
        for s in range(start.shape[0]):
            _copy_panels(initial, s * block + n * width + first, h, dst + s * history, last - first)


@inlined
def end(final, lengths, reverse, slots, h, history, block, lo, hi, first, last):
    """Copy the states of the units [first, last), whole panels, after the last step of each sample."""
    ends, width = flat(final), final.shape[2]
    for n in range(lo, hi):
        at = ((0 if reverse else lengths[n]) & slots) * block + n * width + first
        for s in range(final.shape[0]):
            _copy_panels(h, at + s * history, ends, s * block + n * width + first, last - first)


@inlined
def clear_ended(active, t, reverse, h, after, history, states, width, lo, hi, first, last):
    """Set the states of the units [first, last) after step t to zero where a sample has ended.

    In reverse, slot `length` holds the initial state and stays.
    """
    ended = running(active, t, lo, hi)
    if reverse:
        ended = max(min(active[t - 1] if t > 0 else hi, hi) - lo, 0)
    for s in range(states):
        for n in range(lo + ended, hi):
            at = after + s * history + n * width
            for e in range(np.uintp(at + first), np.uintp(at + last)):
                h[e] = 0


@inlined
def write_output(h, h_at, width, out, out_at, out_row, first, last, lo, rows, hi):
    """Copy the columns [first, last) of the outputs of a step, and set those of the samples that have ended to zero."""
    for n in range(lo, lo + rows):
        copy(h, h_at + n * width + first, out, out_at + n * out_row + first, last - first)
    for n in range(lo + rows, hi):
        at = out_at + n * out_row
        for j in range(np.uintp(at + first), np.uintp(at + last)):
            out[j] = 0


@inlined
def cell_step(
    cell, z, z_at, h, before, after, history, block, diagonal, diagonal_at, saved, saved_at, first, last,
):  # fmt: skip
    """Run the cell for the elements [first, last) counted from these offsets."""
    for e in range(first, last):
        gates = load(cell, "preactivations", z, z_at, block, e)
        previous = load(cell, "states", h, before, history, e)
        own_weights = load(cell, "diagonal", diagonal, diagonal_at, block, e)
        following, own = cell_forward(cell, gates, previous, own_weights)
        store(cell, "states", h, after, history, e, following)
        store(cell, "saved", saved, saved_at, block, e, own)


@inlined
def cell_step_back(
    cell, saved, saved_at, h, before, after, history, block, diagonal, dh, dw, at, dz, dz_at, first, last,
):  # fmt: skip
    """Go back through the cell for the elements [first, last) counted from these offsets."""
    for e in range(first, last):
        own = load(cell, "saved", saved, saved_at, block, e)
        previous = load(cell, "states", h, before, history, e)
        own_weights = load(cell, "diagonal", diagonal, at, block, e)
        following = load(cell, "states", h, after, history, e)
        dafter = load(cell, "states", dh, at, block, e)
        so_far = load(cell, "diagonal", dw, at, block, e)
        dgates, dprevious, dweights = cell_backward(cell, own, previous, own_weights, following, dafter)
        store(cell, "preactivations", dz, dz_at, block, e, dgates)
        store(cell, "states", dh, at, block, e, dprevious)
        store(cell, "diagonal", dw, at, block, e, added(so_far, dweights))


@inlined
def mask_rows(mask, h, h_at, masked, at, lo, rows):
    """Set ``masked[at:]`` to h times the mask for the first `rows` samples from lo on."""
    width, factors = mask.shape[1], flat(mask)
    for e in range(lo * width, (lo + rows) * width):
        masked[np.uintp(at + e)] = h[np.uintp(h_at + e)] * factors[np.uintp(e)]


@inlined
def add_masked(mask, scratch, dh, lo, rows):
    """Add the gradient of what entered the masked product to that of h."""
    width, factors = mask.shape[1], flat(mask)
    for e in range(np.uintp(lo * width), np.uintp((lo + rows) * width)):
        dh[e] += scratch[e] * factors[e]


@inlined
def add_output_gradient(dy, dy_at, dy_row, width, dh, first, last, lo, rows):
    """Add the columns [first, last) of the gradient of the output of a step, whose first row begins at `dy_at`, to that of h."""
    for n in range(lo, lo + rows):
        add(dy, dy_at + n * dy_row + first, dh, n * width + first, last - first)


@inlined
def back_through(
    table, preactivations, hidden, width, block, dz, dz_at, packed, c0, c0_at, c0_row, c, at, c_row, rows,
):  # fmt: skip
    """Set C = C0 + the gradients of some preactivations times the rows of weights that made them."""
    w = panel_of(c)
    count = preactivations[1] - preactivations[0]
    multiply(
        table, Extent(rows, c_row // w), c0, Location(c0_at, c0_row),
        dz, Factor(dz_at + preactivations[0] * block, width, hidden, count, block), dz, NO_PRODUCT,
        packed, Panels(ZERO, count * hidden * w), c, Location(at, c_row),
    )  # fmt: skip


@inlined
def recurrent_gradient(
    table, from_hidden, hidden, width, block, dz, dz_at, packed_h, zeros, mask, scratch, dh, lo, rows
):
    """Add to the gradient of h what passes through the recurrent product."""
    first = lo * width
    masks = mask.size > 0
    back_through(
        table, from_hidden, hidden, width, block, dz, dz_at, packed_h,
        zeros if masks else dh, ZERO if masks else first, ZERO if masks else width,
        scratch if masks else dh, first, width, rows,
    )  # fmt: skip
    if masks:
        add_masked(mask, scratch, dh, lo, rows)
