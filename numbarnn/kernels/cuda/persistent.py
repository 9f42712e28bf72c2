"""The time loop of small cells in one launch, and its back-propagation through time: blocks that keep their weights.

A block takes a few samples through all steps: thread j makes pre-activation j and keeps that row of W_hh in its registers for
the whole sequence; states travel through shared memory; blocks never wait for each other. The arrays are described in
`numbarnn.kernels.cuda.groups`.
"""

from typing import NamedTuple

from numba import cuda

from numbarnn.kernels.cuda.element import added, cell_backward, cell_forward, load, store
from numbarnn.kernels.cuda.groups import EndStates, RunArrays, RunSizes, Sequences, SpacedRows
from numbarnn.kernels.cuda.launch import SIMULATED, Values, kernel


class RecurrentRows(NamedTuple):
    """The rows of W_hh that make some adjacent pre-activations, for blocks that run through all steps.

    Attributes
    ----------
    weights : (`columns`, H) the rows, of `backward`; of `forward` their transpose (H, `columns`)
    first : pre-activation of the first rows
    columns : rows, H for each pre-activation
    together : samples that a block takes through all their steps
    """

    weights: Values
    first: int
    columns: int
    together: int


def _forward(resident):
    def make(real):
        """Make the kernel that keeps rows of W_hh in registers."""

        def forward(cell, sizes, batch, arrays, rows, start, out):
            """Run `together` samples a block through all their steps.

            Thread j makes column j of the product for every sample, and the step of one unit of one sample; the block has at
            least `columns` and ``together * H`` threads. Dynamic shared memory, for each sample: h as the product sees it
            (`resident` values or H, whichever is more), the pre-activations, and the states.
            """
            hidden, z_count, count, kept_count, _, _, reverse = sizes
            order, lengths, _, samples, steps = batch
            z, states, saved, diagonal, mask, operand, _, _, keep, has_mask, _ = arrays
            weights, first, columns, together = rows
            start_values, start_stride, has_start = start
            out_values, out_row, _ = out
            shared = cuda.shared.array(0, real)
            own = cuda.local.array(resident, real)
            j = cuda.threadIdx.x
            n0 = cuda.blockIdx.x * together
            mine = min(together, samples - n0)
            wide = max(resident, hidden)
            z_at, s_at = together * wide, together * (wide + z_count * hidden)
            for k in range(resident):
                own[k] = weights[k * columns + j] if k < hidden and j < columns else real(0)
            for e in range(j, together * wide, cuda.blockDim.x):
                shared[e] = real(0)
            cuda.syncthreads()
            r, u = j // hidden, j % hidden
            n, length = n0 + r, 0
            factor = real(1)
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
                    shared[s_at + (r * count + s) * hidden + u] = value
                    if s == 0:
                        shared[r * wide + u] = value * factor
            diagonal_weights = load(cell, "diagonal", diagonal, u, hidden)
            longest = lengths[n0]
            cuda.syncthreads()
            for i in range(longest):
                t = longest - 1 - i if reverse else i
                for r2 in range(mine):
                    if t < lengths[n0 + r2]:
                        at = (t * samples + n0 + r2) * z_count * hidden
                        dst = z_at + r2 * z_count * hidden
                        if j < columns:
                            before = z[at + first * hidden + j]
                            h = r2 * wide
                            a0, a1, a2, a3 = real(0), real(0), real(0), real(0)
                            for k in range(0, resident, 4):
                                a0 += own[k] * shared[h + k]
                                a1 += own[k + 1] * shared[h + k + 1]
                                a2 += own[k + 2] * shared[h + k + 2]
                                a3 += own[k + 3] * shared[h + k + 3]
                            for k in range(resident, hidden):
                                a0 += weights[k * columns + j] * shared[h + k]
                            shared[dst + first * hidden + j] = before + ((a0 + a1) + (a2 + a3))
                        for c in range(j, z_count * hidden - columns, cuda.blockDim.x):
                            # The gates that h does not enter stand before and after those that it does.
                            c = c if c < first * hidden else c + columns
                            shared[dst + c] = z[at + c]
                cuda.syncthreads()
                if t < length:
                    row = t * samples + n
                    after = row if reverse else row + samples
                    if has_mask:
                        operand[row * hidden + u] = shared[r * wide + u]
                    preactivations = load(cell, "preactivations", shared, z_at + r * z_count * hidden + u, hidden)
                    previous = load(cell, "states", shared, s_at + r * count * hidden + u, hidden)
                    following, saved_values = cell_forward(cell, preactivations, previous, diagonal_weights)
                    store(cell, "states", shared, s_at + r * count * hidden + u, hidden, following)
                    store(cell, "states", states, after * count * hidden + u, hidden, following)
                    if keep:
                        store(cell, "saved", saved, row * kept_count * hidden + u, hidden, saved_values)
                    out_values[row * out_row + u] = following[0]
                    shared[r * wide + u] = following[0] * factor
                cuda.syncthreads()

        return forward

    make.__name__ = f"persistent_forward_{resident}"
    return make


def _backward(resident):
    def make(real):
        """Make the kernel that keeps columns of W_hh in registers."""

        def backward(cell, sizes, batch, arrays, rows, ends, dy, ddiagonal, dstart):
            """Back-propagate `together` samples a block through all their steps; z becomes the gradient of the pre-activations.

            ends, dstart : gradients of the final and of the initial states; ddiagonal : (N, U, H)

            Thread (g, k) makes what block g adds to the gradient of h[k], for every sample. Dynamic shared memory, for each
            sample: gradients of the pre-activations, what each block adds, and gradients of the states.
            """
            hidden, z_count, count, kept_count, diagonal_count, _, reverse = sizes
            order, lengths, _, samples, _ = batch
            z, states, saved, diagonal, mask, _, _, _, _, has_mask, _ = arrays
            weights, first, columns, together = rows
            ends_values, ends_stride, has_ends = ends
            dy_values, dy_row, has_dy = dy
            dstart_values, dstart_stride, _ = dstart
            shared = cuda.shared.array(0, real)
            own = cuda.local.array(resident, real)
            j = cuda.threadIdx.x
            n0 = cuda.blockIdx.x * together
            mine = min(together, samples - n0)
            wide = max(z_count * hidden, (z_count - 1) * hidden + resident)
            p_at, s_at = together * wide, together * (wide + columns)
            g, column = j // hidden, j % hidden
            for k in range(resident):
                own[k] = weights[(g * hidden + k) * hidden + column] if k < hidden and j < columns else real(0)
            for e in range(j, s_at, cuda.blockDim.x):
                shared[e] = real(0)
            r, u = g, column
            n, length = n0 + r, 0
            factor = real(1)
            own_states = s_at + r * count * hidden + u
            if r < mine:
                length = lengths[n]
                if has_mask:
                    factor = mask[n * hidden + u]
                for s in range(count):
                    shared[own_states + s * hidden] = (
                        ends_values[s * ends_stride + order[n] * hidden + u] if has_ends else real(0)
                    )
            diagonal_weights = load(cell, "diagonal", diagonal, u, hidden)
            longest = lengths[n0]
            cuda.syncthreads()
            for i in range(longest):
                t = i if reverse else longest - 1 - i
                if t < length:
                    row = t * samples + n
                    before, after = (row + samples, row) if reverse else (row, row + samples)
                    back = real(0)
                    for p in range(r * columns + u, (r + 1) * columns, hidden):
                        back += shared[p_at + p]
                    back *= factor
                    if has_dy:
                        back += dy_values[row * dy_row + u]
                    shared[own_states] += back
                    saved_values = load(cell, "saved", saved, row * kept_count * hidden + u, hidden)
                    previous = load(cell, "states", states, before * count * hidden + u, hidden)
                    following = load(cell, "states", states, after * count * hidden + u, hidden)
                    gradients = load(cell, "states", shared, own_states, hidden)
                    so_far = load(cell, "diagonal", ddiagonal, n * diagonal_count * hidden + u, hidden)
                    dgates, dprevious, dweights = cell_backward(
                        cell, saved_values, previous, diagonal_weights, following, gradients
                    )
                    store(cell, "preactivations", z, row * z_count * hidden + u, hidden, dgates)
                    store(cell, "preactivations", shared, r * wide + u, hidden, dgates)
                    store(cell, "states", shared, own_states, hidden, dprevious)
                    store(cell, "diagonal", ddiagonal, n * diagonal_count * hidden + u, hidden, added(so_far, dweights))
                cuda.syncthreads()
                for r2 in range(mine):
                    if t < lengths[n0 + r2] and j < columns:
                        d = r2 * wide + (first + g) * hidden
                        a0, a1, a2, a3 = real(0), real(0), real(0), real(0)
                        for k in range(0, resident, 4):
                            a0 += own[k] * shared[d + k]
                            a1 += own[k + 1] * shared[d + k + 1]
                            a2 += own[k + 2] * shared[d + k + 2]
                            a3 += own[k + 3] * shared[d + k + 3]
                        for k in range(resident, hidden):
                            a0 += weights[(g * hidden + k) * hidden + column] * shared[d + k]
                        shared[p_at + r2 * columns + j] = (a0 + a1) + (a2 + a3)
                cuda.syncthreads()
            if r < mine:
                back = real(0)
                for p in range(r * columns + u, (r + 1) * columns, hidden):
                    back += shared[p_at + p]
                shared[own_states] += back * factor
                for s in range(count):
                    dstart_values[s * dstart_stride + order[n] * hidden + u] = shared[own_states + s * hidden]

        return backward

    make.__name__ = f"persistent_backward_{resident}"
    return make


_FORWARD_KINDS = "c", RunSizes, Sequences, RunArrays, RecurrentRows, EndStates, SpacedRows
_BACKWARD_KINDS = "c", RunSizes, Sequences, RunArrays, RecurrentRows, EndStates, SpacedRows, "x", EndStates
# Values of a row of W_hh in the registers of a thread, and the most threads of a block that leave it that many: of float32 and of
# float64 (tests/test_cuda_compile.py finds that nothing is spilled).
RESIDENT = {4: 64} if SIMULATED else {32: 256, 48: 512, 64: 256, 112: 256}
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
