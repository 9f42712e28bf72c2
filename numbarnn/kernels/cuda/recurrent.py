"""Entering and leaving a batch, and time loops that are launched step by step, of every cell and any size.

A step is a product (`matmul.multiply`) and a pointwise kernel (`forward_steps`, `backward_steps`; of a cell with a second recurrent
product, two of each), which also runs through many steps at once for cells without a recurrent product. Where a cell is small,
`persistent` takes samples through all their steps in one launch instead.

The arrays are described in `numbarnn.kernels.cuda.groups`.
"""

from numba import cuda

from numbarnn.kernels.cuda.element import (
    added,
    cell_backward,
    cell_forward,
    cell_inner_backward,
    cell_inner_forward,
    load,
    store,
)
from numbarnn.kernels.cuda.groups import EndStates, RunArrays, RunSizes, Sequences, SpacedRows
from numbarnn.kernels.cuda.launch import kernel

# Entering and leaving a batch


@kernel(RunSizes, Sequences, "x", EndStates)
def begin(real):
    """Make the kernel that puts the initial states where the first step of each sample reads them."""

    def begin(sizes, batch, states, start):
        """Set slot 0, in reverse slot `length` of each sample, to `start` or zeros; the last slot of shorter ones is zero."""
        hidden, _, count, _, _, _, reverse = sizes
        order, lengths, _, samples, steps = batch
        start_values, start_stride, has_start = start
        for e in range(cuda.grid(1), samples * hidden, cuda.gridsize(1)):
            n, u = e // hidden, e % hidden
            slot = lengths[n] if reverse else 0
            for s in range(count):
                value = start_values[s * start_stride + order[n] * hidden + u] if has_start else real(0)
                if reverse and slot < steps:
                    states[((steps * samples + n) * count + s) * hidden + u] = real(0)
                states[((slot * samples + n) * count + s) * hidden + u] = value

    return begin


@kernel(RunSizes, Sequences, "x", EndStates)
def finish(real):
    """Make the kernel that copies the states after the last step of each sample."""

    def finish(sizes, batch, states, final):
        """Set `final` from slot `length`, or in reverse slot 0."""
        hidden, _, count, _, _, _, reverse = sizes
        order, lengths, _, samples, _ = batch
        final_values, final_stride, _ = final
        for e in range(cuda.grid(1), samples * hidden, cuda.gridsize(1)):
            n, u = e // hidden, e % hidden
            slot = 0 if reverse else lengths[n]
            for s in range(count):
                final_values[s * final_stride + order[n] * hidden + u] = states[
                    ((slot * samples + n) * count + s) * hidden + u
                ]

    return finish


@kernel(RunSizes, Sequences, RunArrays, SpacedRows)
def clear_ended(real):
    """Make the kernel that clears what stands past the end of each sample, where nothing else writes."""

    def clear_ended(sizes, batch, arrays, out):
        """Set states, outputs and operands of products to zero past the lengths: a gradient of zero times anything must be zero."""
        hidden, _, count, _, _, _, reverse = sizes
        _, lengths, _, samples, steps = batch
        _, states, _, _, _, operand, inner, _, _, has_mask, has_inner = arrays
        out_values, out_row, _ = out
        for e in range(cuda.grid(1), steps * samples * hidden, cuda.gridsize(1)):
            row, u = e // hidden, e % hidden
            t, n = row // samples, row % samples
            if t >= lengths[n]:
                out_values[row * out_row + u] = real(0)
                if has_mask:
                    operand[e] = real(0)
                if has_inner:
                    inner[e] = real(0)
                # In reverse the slot `length` holds the initial state.
                if not reverse or t > lengths[n]:
                    after = row if reverse else row + samples
                    for s in range(count):
                        states[(after * count + s) * hidden + u] = real(0)

    return clear_ended


@kernel("x n x x n n n")
def mask_rows(real):
    """Make the kernel that masks what enters a product."""

    def mask_rows(values, row, mask, result, result_row, rows, hidden):
        """Set result[n, u] to values[n, u] mask[n, u] for the first rows."""
        for n in range(cuda.blockIdx.y, rows, cuda.gridDim.y):
            for u in range(cuda.grid(1), hidden, cuda.gridsize(1)):
                result[n * result_row + u] = values[n * row + u] * mask[n * hidden + u]

    return mask_rows


@kernel("x x x n n n")
def add_masked(real):
    """Make the kernel that adds what came back through a masked product."""

    def add_masked(product, mask, values, row, rows, hidden):
        """Add product[n, u] mask[n, u] to values[n, u] for the first rows."""
        for n in range(cuda.blockIdx.y, rows, cuda.gridDim.y):
            for u in range(cuda.grid(1), hidden, cuda.gridsize(1)):
                values[n * row + u] += product[n * hidden + u] * mask[n * hidden + u]

    return add_masked


@kernel(RunSizes, Sequences, EndStates, "x n")
def spread_ends(real):
    """Make the kernel that moves gradients of states between the caller's order and that of the batch."""

    def spread_ends(sizes, batch, ends, dstates, back):
        """Set dstates (N, S, H) from `ends`, or with `back` the other way round."""
        hidden, count, order, samples = sizes.hidden, sizes.count, batch.order, batch.samples
        values, stride, _ = ends
        for e in range(cuda.grid(1), samples * hidden, cuda.gridsize(1)):
            n, u = e // hidden, e % hidden
            for s in range(count):
                there, here = s * stride + order[n] * hidden + u, (n * count + s) * hidden + u
                if back:
                    values[there] = dstates[here]
                else:
                    dstates[here] = values[there]

    return spread_ends


# Biases


@kernel("x l n n x")
def pack_bias(real):
    """Make the kernel that adds up the biases of each pre-activation."""

    def pack_bias(weights, offsets, z_count, hidden, bias):
        """Set bias[p, u] to the sum of the biases at ``offsets[p, 2]`` and ``offsets[p, 3]``, where there are any."""
        for e in range(cuda.grid(1), z_count * hidden, cuda.gridsize(1)):
            p, u = e // hidden, e % hidden
            value = real(0)
            for side in range(2, 4):
                if offsets[p * 4 + side] >= 0:
                    value += weights[offsets[p * 4 + side] + u]
            bias[e] = value

    return pack_bias


@kernel("x l n n x")
def spread_bias(real):
    """Make the kernel that gives both biases of a pre-activation its gradient."""

    def spread_bias(sums, offsets, z_count, hidden, gradient):
        """Set the gradients at ``offsets[p, 2]`` and ``offsets[p, 3]`` to sums[p]."""
        for e in range(cuda.grid(1), z_count * hidden, cuda.gridsize(1)):
            p, u = e // hidden, e % hidden
            for side in range(2, 4):
                if offsets[p * 4 + side] >= 0:
                    gradient[offsets[p * 4 + side] + u] = sums[e]

    return spread_bias


# Step by step


@kernel("c", RunSizes, Sequences, RunArrays, SpacedRows, "n n n")
def forward_steps(real):
    """Make the kernel of the pointwise half of some steps."""

    def forward_steps(cell, sizes, batch, arrays, out, first, steps, rows):
        """Run the first `rows` samples through `steps` steps from step `first` on, whose products are in z."""
        hidden, z_count, count, kept_count, _, _, reverse = sizes
        _, lengths, _, samples, _ = batch
        z, states, saved, diagonal, _, _, _, _, keep, _, _ = arrays
        out_values, out_row, _ = out
        for n in range(cuda.blockIdx.y, rows, cuda.gridDim.y):
            for u in range(cuda.grid(1), hidden, cuda.gridsize(1)):
                weights = load(cell, "diagonal", diagonal, u, hidden)
                for i in range(steps):
                    t = first - i if reverse else first + i
                    if t < lengths[n]:
                        row = t * samples + n
                        before, after = (row + samples, row) if reverse else (row, row + samples)
                        preactivations = load(cell, "preactivations", z, row * z_count * hidden + u, hidden)
                        previous = load(cell, "states", states, before * count * hidden + u, hidden)
                        following, saved_values = cell_forward(cell, preactivations, previous, weights)
                        store(cell, "states", states, after * count * hidden + u, hidden, following)
                        if keep:
                            store(cell, "saved", saved, row * kept_count * hidden + u, hidden, saved_values)
                        out_values[row * out_row + u] = following[0]

    return forward_steps


@kernel("c", RunSizes, Sequences, RunArrays, SpacedRows, "x x n n n")
def backward_steps(real):
    """Make the kernel of the pointwise half of some steps back through time."""

    def backward_steps(cell, sizes, batch, arrays, dy, dstates, ddiagonal, first, steps, rows):
        """Set z to the gradients of the pre-activations for the first `rows` samples, `steps` steps from step `first` on backwards.

        dstates (N, S, H) : gradient of the states after step `first` on entry, but for that of the output, `dy`;
        ddiagonal (N, U, H)
        """
        hidden, z_count, count, kept_count, diagonal_count, _, reverse = sizes
        _, lengths, _, samples, _ = batch
        z, states, saved, diagonal, _, _, _, _, _, _, _ = arrays
        dy_values, dy_row, has_dy = dy
        for n in range(cuda.blockIdx.y, rows, cuda.gridDim.y):
            for u in range(cuda.grid(1), hidden, cuda.gridsize(1)):
                weights = load(cell, "diagonal", diagonal, u, hidden)
                at = n * count * hidden + u
                for i in range(steps):
                    t = first + i if reverse else first - i
                    if t < lengths[n]:
                        row = t * samples + n
                        before, after = (row + samples, row) if reverse else (row, row + samples)
                        if has_dy:
                            dstates[at] += dy_values[row * dy_row + u]
                        saved_values = load(cell, "saved", saved, row * kept_count * hidden + u, hidden)
                        previous = load(cell, "states", states, before * count * hidden + u, hidden)
                        following = load(cell, "states", states, after * count * hidden + u, hidden)
                        gradients = load(cell, "states", dstates, at, hidden)
                        so_far = load(cell, "diagonal", ddiagonal, n * diagonal_count * hidden + u, hidden)
                        dgates, dprevious, dweights = cell_backward(
                            cell, saved_values, previous, weights, following, gradients
                        )
                        store(cell, "preactivations", z, row * z_count * hidden + u, hidden, dgates)
                        store(cell, "states", dstates, at, hidden, dprevious)
                        store(
                            cell,
                            "diagonal",
                            ddiagonal,
                            n * diagonal_count * hidden + u,
                            hidden,
                            added(so_far, dweights),
                        )

    return backward_steps


# The first phase of a cell of two: what the second product sees


@kernel("c", RunSizes, Sequences, RunArrays, "n n")
def inner_forward(real):
    """Make the kernel of the inner values of one step."""

    def inner_forward(cell, sizes, batch, arrays, t, rows):
        """Set inner (N, H) of step t for the first `rows` samples, from z after the first product."""
        hidden, z_count, count, _, _, inner_count, reverse = sizes
        samples = batch.samples
        z, states, _, diagonal, _, _, inner, inner_saved, keep, _, _ = arrays
        for n in range(cuda.blockIdx.y, rows, cuda.gridDim.y):
            for u in range(cuda.grid(1), hidden, cuda.gridsize(1)):
                row = t * samples + n
                before = row + samples if reverse else row
                weights = load(cell, "diagonal", diagonal, u, hidden)
                preactivations = load(cell, "preactivations", z, row * z_count * hidden + u, hidden)
                previous = load(cell, "states", states, before * count * hidden + u, hidden)
                values, saved = cell_inner_forward(cell, preactivations, previous, weights)
                store(cell, "inner", inner, row * hidden + u, hidden, values)
                if keep:
                    store(cell, "inner_saved", inner_saved, row * inner_count * hidden + u, hidden, saved)

    return inner_forward


@kernel("c", RunSizes, Sequences, RunArrays, "x x x n n")
def inner_backward(real):
    """Make the kernel of the gradients through the inner values of one step."""

    def inner_backward(cell, sizes, batch, arrays, dinner, dstates, ddiagonal, t, rows):
        """Add to the gradients of step t what comes back through the inner values, for the first `rows` samples."""
        hidden, z_count, count, _, diagonal_count, inner_count, reverse = sizes
        samples = batch.samples
        z, states, _, diagonal, _, _, _, inner_saved, _, _, _ = arrays
        for n in range(cuda.blockIdx.y, rows, cuda.gridDim.y):
            for u in range(cuda.grid(1), hidden, cuda.gridsize(1)):
                row = t * samples + n
                before = row + samples if reverse else row
                at, own = n * count * hidden + u, n * diagonal_count * hidden + u
                weights = load(cell, "diagonal", diagonal, u, hidden)
                saved = load(cell, "inner_saved", inner_saved, row * inner_count * hidden + u, hidden)
                previous = load(cell, "states", states, before * count * hidden + u, hidden)
                gradient = load(cell, "inner", dinner, n * hidden + u, hidden)
                dz, before_gradients, weight_gradients = cell_inner_backward(cell, saved, previous, weights, gradient)
                so_far = load(cell, "preactivations", z, row * z_count * hidden + u, hidden)
                store(cell, "preactivations", z, row * z_count * hidden + u, hidden, added(so_far, dz))
                so_far = load(cell, "states", dstates, at, hidden)
                store(cell, "states", dstates, at, hidden, added(so_far, before_gradients))
                so_far = load(cell, "diagonal", ddiagonal, own, hidden)
                store(cell, "diagonal", ddiagonal, own, hidden, added(so_far, weight_gradients))

    return inner_backward
