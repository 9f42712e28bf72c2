"""The parts of the time loop and of the way back: entering and leaving a batch, products of a step, the states of ended samples.

All are inlined into the driver (`numbarnn.kernels.cpu.recurrent`), whose letters they use: ``block`` is N * Hp, the size of
the block of one pre-activation, and ``history`` the stride from one state to the next in `states`. Indices of loops over values are
unsigned where that matters, or they do not vectorise (as in `numbarnn.kernels.cpu.losses`).
"""

import numpy as np

from numbarnn.kernels.cpu.matmul import NO_PRODUCT, ONE, ZERO, Extent, Factor, Location, Panels, add, copy, multiply
from numbarnn.kernels.cpu.simd import panel_of
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
def begin(start, lengths, reverse, slots, h, history, block, lo, hi, first, last):
    """Copy the initial states of the units [first, last) to where the first step of each sample reads them."""
    width = start.shape[2]
    for n in range(lo, hi):
        dst = ((lengths[n] if reverse else 0) & slots) * block + n * width
        for s in range(start.shape[0]):
            for j in range(first, last):
                h[dst + s * history + j] = start[s, n, j]


@inlined
def end(final, lengths, reverse, slots, h, history, block, lo, hi, first, last):
    """Copy the states of the units [first, last) after the last step of each sample."""
    width = final.shape[2]
    for n in range(lo, hi):
        at = ((0 if reverse else lengths[n]) & slots) * block + n * width
        for s in range(final.shape[0]):
            for j in range(first, last):
                final[s, n, j] = h[at + s * history + j]


@inlined
def clear_ended(active, t, reverse, h, after, history, states, width, lo, hi):
    """Set the states after step t to zero where a sample has ended; in reverse, slot `length` holds the initial state and stays."""
    ended = running(active, t, lo, hi)
    if reverse:
        ended = max(min(active[t - 1] if t > 0 else hi, hi) - lo, 0)
    for s in range(states):
        at = after + s * history
        for e in range(np.uintp(at + (lo + ended) * width), np.uintp(at + hi * width)):
            h[e] = 0


@inlined
def write_output(h, h_at, width, out, out_at, out_row, hidden, lo, rows, hi):
    """Copy the outputs of a step, `hidden` columns a row, and set those of the samples that have ended to zero."""
    for n in range(lo, lo + rows):
        copy(h, h_at + n * width, out, out_at + n * out_row, hidden)
    for n in range(lo + rows, hi):
        at = out_at + n * out_row
        for j in range(np.uintp(at), np.uintp(at + hidden)):
            out[j] = 0


@inlined
def mask_rows(mask, h, h_at, masked, at, lo, rows):
    """Set ``masked[at:]`` to h times the mask for the first `rows` samples from lo on."""
    width, factors = mask.shape[1], mask.reshape(-1)
    for e in range(lo * width, (lo + rows) * width):
        masked[np.uintp(at + e)] = h[np.uintp(h_at + e)] * factors[np.uintp(e)]


@inlined
def add_masked(mask, scratch, dh, lo, rows):
    """Add the gradient of what entered the masked product to that of h."""
    width, factors = mask.shape[1], mask.reshape(-1)
    for e in range(np.uintp(lo * width), np.uintp((lo + rows) * width)):
        dh[e] += scratch[e] * factors[e]


@inlined
def add_output_gradient(dy, dy_at, dy_row, hidden, width, dh, lo, rows):
    """Add the gradient of the output of a step, whose row of the first sample begins at `dy_at`, to that of h."""
    for n in range(lo, lo + rows):
        add(dy, dy_at + n * dy_row, dh, n * width, hidden)


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
