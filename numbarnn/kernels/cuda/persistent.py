"""The time loop of small cells in one launch, and its back-propagation through time: blocks that keep their weights.

A block takes a few samples through all steps: thread j makes pre-activation j and keeps the first values of that row of W_hh in its
registers for the whole sequence; the rest of the row it reads at every step, four values at a time, from `pack_rows`. Values of a
product travel through shared memory, a unit's states stay with its thread, which reads what the next step needs while the product
runs. Blocks never wait for each other. The arrays are described in `numbarnn.kernels.cuda.groups`.
"""

from typing import NamedTuple

from numba import cuda

from numbarnn.kernels.cuda.element import added, cell_backward, cell_forward, count_of, load, store
from numbarnn.kernels.cuda.groups import EndStates, RunArrays, RunSizes, Sequences, SpacedRows
from numbarnn.kernels.cuda.launch import SIMULATED, THREADS, Values, blocks_for, device, kernel
from numbarnn.kernels.cuda.quads import ALIGNMENT, load4, pointer_of


class RecurrentRows(NamedTuple):
    """The rows of W_hh that make some adjacent pre-activations, for blocks that run through all steps.

    Attributes
    ----------
    weights : (H' / 4, `columns`, 4) as `pack_rows` makes them
    first : pre-activation of the first rows
    columns : rows, H for each pre-activation
    together : samples that a block takes through all their steps
    padded : H', the next multiple of four
    wide : values of shared memory for what a sample's products read, a multiple of four
    """

    weights: Values
    first: int
    columns: int
    together: int
    padded: int
    wide: int


@kernel("x n n n n x")
def pack_rows(real):
    """Make the kernel that packs rows of W_hh for the threads that multiply by them."""

    def pack_rows(weights, hidden, columns, padded, back, packed):
        """Set packed[q, j] to the values 4 q to 4 q + 3, zeros past H, that thread j multiplies: of row j, or of its column `back`.

        Thread g * H + u takes column u of the rows g * H to g * H + H - 1 on the way back.
        """
        for e in range(cuda.grid(1), padded * columns, cuda.gridsize(1)):
            j, k = e // 4 % columns, e // (4 * columns) * 4 + e % 4
            at = (j // hidden * hidden + k) * hidden + j % hidden if back else j * hidden + k
            packed[e] = weights[at] if k < hidden else real(0)

    return pack_rows


@device
def keep_row(zero, own, weights, at, distance, stop):
    """Fill `own` with the first `stop` values of a packed row, and zeros; its quads lie `distance` apart."""
    for k in range(0, len(own), 4):
        own[k], own[k + 1], own[k + 2], own[k + 3] = zero, zero, zero, zero
        if k < stop:
            own[k], own[k + 1], own[k + 2], own[k + 3] = load4(weights, at + k // 4 * distance)


@device
def row_product(zero, own, weights, at, distance, values, first, stop):
    """Return the product of a packed row, the first of it in `own`, and the values from `first` to `stop`, quads of both."""
    a0 = a1 = a2 = a3 = zero
    for k in range(0, len(own), 4):
        h0, h1, h2, h3 = load4(values, first + k)
        a0 += own[k] * h0
        a1 += own[k + 1] * h1
        a2 += own[k + 2] * h2
        a3 += own[k + 3] * h3
    k, at = first + len(own), at + len(own) // 4 * distance
    while k < stop:
        h0, h1, h2, h3 = load4(values, k)
        w0, w1, w2, w3 = load4(weights, at)
        a0 += w0 * h0
        a1 += w1 * h1
        a2 += w2 * h2
        a3 += w3 * h3
        k += 4
        at += distance
    return (a0 + a1) + (a2 + a3)


def _forward(resident):
    def make(real):
        """Make the kernel that keeps rows of W_hh in registers."""

        def forward(cell, sizes, batch, arrays, rows, start, out):
            """Run `together` samples a block through all their steps.

            Thread j makes column j of the product for every sample, and the step of one unit of one sample; the block has at
            least `columns` and ``together * H`` threads. Dynamic shared memory: of each sample h as the product sees it, `wide`
            values, then of each sample the products, P * H values.
            """
            hidden, reverse = sizes.hidden, sizes.reverse
            z_count, count, kept_count = (
                count_of(cell, "preactivations"),
                count_of(cell, "states"),
                count_of(cell, "saved"),
            )
            order, lengths, _, samples, steps = batch
            z, states, saved, diagonal, mask, operand, _, _, keep, has_mask, _ = arrays
            weights, first, columns, together, _, wide = rows
            start_values, start_stride, has_start = start
            out_values, out_row, _ = out
            shared = pointer_of(cuda.shared.array(0, real, ALIGNMENT))
            own = cuda.local.array(resident, real)
            j = cuda.threadIdx.x
            n0 = cuda.blockIdx.x * together
            mine = min(together, samples - n0)
            width, products = z_count * hidden, together * wide
            keep_row(real(0), own, weights, 4 * j, 4 * columns, hidden if j < columns else 0)
            for e in range(j, together * (wide + width), cuda.blockDim.x):
                shared[e] = real(0)
            cuda.syncthreads()
            r, u = j // hidden, j % hidden
            n, length = n0 + r, 0
            factor = real(1)
            diagonal_weights = load(cell, "diagonal", diagonal, u, hidden)
            if r < mine:
                length = lengths[n]
                if has_mask:
                    factor = mask[n * hidden + u]
                slot = length if reverse else 0
                for s in range(count):
                    value = start_values[s * start_stride + order[n] * hidden + u] if has_start else real(0)
                    if reverse and slot < steps:
                        states[((steps * samples + n) * count + s) * hidden + u] = real(0)
                    states[((slot * samples + n) * count + s) * hidden + u] = value
                previous = load(cell, "states", states, (slot * samples + n) * count * hidden + u, hidden)
                shared[r * wide + u] = previous[0] * factor
            if length > 0:
                row = ((length - 1) * samples if reverse else 0) + n
                preactivations = load(cell, "preactivations", z, row * width + u, hidden)
            longest = lengths[n0]
            t, step = (longest - 1, -1) if reverse else (0, 1)
            cuda.syncthreads()
            while 0 <= t < longest:
                if j < columns:
                    h, dst = 0, products + first * hidden + j
                    for _ in range(mine):
                        shared[dst] = row_product(real(0), own, weights, 4 * j, 4 * columns, shared, h, h + hidden)
                        h += wide
                        dst += width
                cuda.syncthreads()
                if t < length:
                    row = t * samples + n
                    after = row if reverse else row + samples
                    if has_mask:
                        operand[row * hidden + u] = shared[r * wide + u]
                    # The gates that h does not enter find zeros.
                    product = load(cell, "preactivations", shared, products + r * width + u, hidden)
                    previous, saved_values = cell_forward(
                        cell, added(preactivations, product), previous, diagonal_weights
                    )
                    shared[r * wide + u] = previous[0] * factor
                    ahead = min(max(t + step, 0), length - 1) * samples + n
                    preactivations = load(cell, "preactivations", z, ahead * width + u, hidden)
                    store(cell, "states", states, after * count * hidden + u, hidden, previous)
                    if keep:
                        store(cell, "saved", saved, row * kept_count * hidden + u, hidden, saved_values)
                    out_values[row * out_row + u] = previous[0]
                cuda.syncthreads()
                t += step

        return forward

    make.__name__ = f"persistent_forward_{resident}"
    return make


def _backward(resident):
    def make(real):
        """Make the kernel that keeps columns of W_hh in registers."""

        def backward(cell, sizes, batch, arrays, rows, ends, dy, ddiagonal, dstart):
            """Back-propagate `together` samples a block through all their steps; z becomes the gradient of the pre-activations.

            ends, dstart : gradients of the final and of the initial states; ddiagonal : (N, U, H)

            Thread (g, k) makes what the rows of pre-activation g add to the gradient of h[k], for every sample. Dynamic shared
            memory: of each sample the gradients of the pre-activations, `wide` values; of each sample what their rows add, P * H
            values; of each sample the gradients of the diagonal weights, U * H values.
            """
            hidden, reverse = sizes.hidden, sizes.reverse
            z_count, count, kept_count = (
                count_of(cell, "preactivations"),
                count_of(cell, "states"),
                count_of(cell, "saved"),
            )
            diagonal_count = count_of(cell, "diagonal")
            order, lengths, _, samples, _ = batch
            z, states, saved, diagonal, mask, _, _, _, _, has_mask, _ = arrays
            weights, first, columns, together, padded, wide = rows
            ends_values, ends_stride, has_ends = ends
            dy_values, dy_row, has_dy = dy
            dstart_values, dstart_stride, _ = dstart
            shared = pointer_of(cuda.shared.array(0, real, ALIGNMENT))
            own = cuda.local.array(resident, real)
            j = cuda.threadIdx.x
            n0 = cuda.blockIdx.x * together
            mine = min(together, samples - n0)
            width, products = z_count * hidden, together * wide
            keep_row(real(0), own, weights, 4 * j, 4 * columns, hidden if j < columns else 0)
            sums = together * (wide + width)
            for e in range(j, sums + together * diagonal_count * hidden, cuda.blockDim.x):
                shared[e] = real(0)
            # Unit u of pre-activation r in the products, and of sample r in the steps.
            r, u = j // hidden, j % hidden
            n, length = n0 + r, 0
            factor = real(1)
            diagonal_weights = load(cell, "diagonal", diagonal, u, hidden)
            sums += r * diagonal_count * hidden + u
            if r < mine:
                length = lengths[n]
                if has_mask:
                    factor = mask[n * hidden + u]
                end = order[n] * hidden + u
                for s in range(count):
                    dstart_values[s * dstart_stride + end] = ends_values[s * ends_stride + end] if has_ends else real(0)
                gradients = load(cell, "states", dstart_values, end, dstart_stride)
            if length > 0:
                row = (0 if reverse else (length - 1) * samples) + n
                before, after = (row + samples, row) if reverse else (row, row + samples)
                following = load(cell, "states", states, after * count * hidden + u, hidden)
                previous = load(cell, "states", states, before * count * hidden + u, hidden)
                saved_values = load(cell, "saved", saved, row * kept_count * hidden + u, hidden)
                from_above = dy_values[row * dy_row + u] if has_dy else real(0)
            longest = lengths[n0]
            t, step = (0, 1) if reverse else (longest - 1, -1)
            cuda.syncthreads()
            while 0 <= t < longest:
                if t < length:
                    row = t * samples + n
                    back = real(0)
                    for p in range(z_count):
                        back += shared[products + r * width + p * hidden + u]
                    back = back * factor + from_above
                    dgates, gradients, dweights = cell_backward(
                        cell,
                        saved_values,
                        previous,
                        diagonal_weights,
                        following,
                        (gradients[0] + back,) + gradients[1:],
                    )
                    so_far = load(cell, "diagonal", shared, sums, hidden)
                    store(cell, "diagonal", shared, sums, hidden, added(so_far, dweights))
                    store(cell, "preactivations", shared, r * wide + u, padded, dgates)
                    following = previous
                    ahead = min(max(t + step, 0), length - 1) * samples + n
                    before = ahead + samples if reverse else ahead
                    previous = load(cell, "states", states, before * count * hidden + u, hidden)
                    saved_values = load(cell, "saved", saved, ahead * kept_count * hidden + u, hidden)
                    if has_dy:
                        from_above = dy_values[ahead * dy_row + u]
                    store(cell, "preactivations", z, row * width + u, hidden, dgates)
                cuda.syncthreads()
                if j < columns:
                    d, dst = (first + r) * padded, products + first * hidden + j
                    for _ in range(mine):
                        shared[dst] = row_product(real(0), own, weights, 4 * j, 4 * columns, shared, d, d + hidden)
                        d += wide
                        dst += width
                cuda.syncthreads()
                t += step
            if r < mine:
                back = real(0)
                for p in range(z_count):
                    back += shared[products + r * width + p * hidden + u]
                gradients = (gradients[0] + back * factor,) + gradients[1:]
                store(cell, "states", dstart_values, order[n] * hidden + u, dstart_stride, gradients)
                dweights = load(cell, "diagonal", shared, sums, hidden)
                store(cell, "diagonal", ddiagonal, n * diagonal_count * hidden + u, hidden, dweights)

        return backward

    make.__name__ = f"persistent_backward_{resident}"
    return make


_FORWARD_KINDS = "c", RunSizes, Sequences, RunArrays, RecurrentRows, EndStates, SpacedRows
_BACKWARD_KINDS = "c", RunSizes, Sequences, RunArrays, RecurrentRows, EndStates, SpacedRows, "x", EndStates
# Values of a row of W_hh in the registers of a thread, and the most threads of a block that leave it that many: of float32 and of
# float64 (tests/test_cuda_compile.py finds that nothing is spilled).
RESIDENT = {4: 64} if SIMULATED else {32: 256, 48: 512, 64: 256, 128: 256}
_DOUBLE = RESIDENT if SIMULATED else {32: 256, 64: 256}


def _options(resident):
    if SIMULATED:
        return {}
    dtypes = ("float32", "float64") if resident in _DOUBLE else ("float32",)
    return {"dtypes": dtypes, "launch_bounds": (RESIDENT[resident], 1)}


forward = {resident: kernel(*_FORWARD_KINDS, **_options(resident))(_forward(resident)) for resident in RESIDENT}
backward = {resident: kernel(*_BACKWARD_KINDS, **_options(resident))(_backward(resident)) for resident in RESIDENT}


def resident_for(columns: int, hidden: int, itemsize: int) -> int:
    """Return how many values of a row of W_hh stay in registers of each thread, 0 where steps are to be launched one by one."""
    fits = [resident for resident, most in (RESIDENT if itemsize == 4 else _DOUBLE).items() if columns <= most]
    # What a thread does not keep it reads at every step, through the first cache: up to twice as much again.
    whole = [resident for resident in fits if hidden <= resident]
    part = [resident for resident in fits if hidden <= 3 * resident]
    return min(whole) if whole else max(part, default=0)


def recurrent_rows(arena, weights, sizes, first, columns, together, resident, back):
    """Return the rows, packed for the kernel that keeps `resident` values of each: the forward one, or that of the way `back`.

    Parameters
    ----------
    arena : Arena
        For the packed rows.
    weights : Buffer
        (columns, H): the rows of W_hh.
    """
    padded = -(-sizes.hidden // 4) * 4
    packed = arena.empty(padded * columns, weights.dtype)
    pack_rows(blocks_for(packed.size), THREADS, weights, sizes.hidden, columns, padded, int(back), packed)
    # A thread multiplies all that it keeps, by zeros past H.
    wide = (sizes.z_count - 1 if back else 0) * padded + max(resident, padded)
    return RecurrentRows(packed, first, columns, together, padded, wide)


def shared_values(sizes, rows) -> int:
    """Return how many values of dynamic shared memory a block needs, on the way back; on the way there, no more."""
    return rows.together * (rows.wide + (sizes.z_count + sizes.diagonal_count) * sizes.hidden)
