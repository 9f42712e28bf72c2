"""The time loop of cells whose step has two phases, and its back-propagation through time directly below.

A step of such a cell (`numbarnn.cells`) is a product of h_{t-1}, a pointwise function that makes an inner value of it, a
product of that inner value, and the pointwise function that ends the step. Arguments and contract are those of
`numbarnn.kernels.cpu.recurrent`, with those of the second product behind them. Where recurrent dropout acts, both
products see masked values.

What both drivers do stands in both: shared functions, which Numba compiles by themselves first, made forward and backward
of an LSTM cost 7.0 instead of 6.1 s of processor time in an empty cache.
"""

from numbarnn.kernels.compile import jit
from numbarnn.kernels.cpu.matmul import ONE, ZERO, multiply
from numbarnn.kernels.cpu.simd import panel_of
from numbarnn.kernels.element import (
    added,
    cell_backward,
    cell_forward,
    cell_inner_backward,
    cell_inner_forward,
    load,
    store,
)


@jit
def forward(
    cell, table, input_planes, recurrent_planes, inputs, hidden, reverse,
    x, x_row, tokens, token_rows,
    packed, bias, units, mask,
    lengths, active, start, states, saved, planes, operand, final, lo, hi,
    inner_planes, inner, inner_saved,
):  # fmt: skip
    """Run the samples lo <= n < hi through all steps; see `recurrent.forward`.

    inner_planes   (first, last) of the planes that the second product enters
    inner          out: (T, N, Hp) what the second product saw, masked; (1, N, Hp) when no tape is kept
    inner_saved    out: (T or 1, K', N, Hp), like `saved`, what the first phase keeps
    """
    w = panel_of(states)
    steps, batch, width = states.shape[1] - 1, states.shape[2], states.shape[3]
    plane = batch * width
    history = states.shape[1] * plane
    tape = saved.shape[1] * plane if saved.shape[0] > 1 else ZERO
    inner_step = plane if inner.shape[0] > 1 else ZERO
    inner_tape = inner_saved.shape[1] * inner_step
    h, z, kept_values, inner_kept = states.reshape(-1), planes.reshape(-1), saved.reshape(-1), inner_saved.reshape(-1)
    masked, a = operand.reshape(-1), inner.reshape(-1)
    count = planes.shape[0]
    rows_of_token = count * width
    first, stop = lo * width, hi * width
    length = inputs + hidden

    for n in range(lo, hi):
        to = (lengths[n] if reverse else 0) * plane + n * width
        for s in range(start.shape[0]):
            for j in range(width):
                h[to + s * history + j] = start[s, n, j]

    for i in range(steps):
        t = steps - 1 - i if reverse else i
        before = (t + 1 if reverse else t) * plane
        after = (t if reverse else t + 1) * plane
        rows = max(min(active[t], hi) - lo, 0)

        # Output past a sample's length is zero. In reverse, slot `length` holds the initial state and stays.
        ended = rows
        if reverse:
            ended = max(min(active[t - 1] if t > 0 else hi, hi) - lo, 0)
        for s in range(start.shape[0]):
            for e in range(first + ended * width, stop):
                h[after + s * history + e] = 0
        if rows == 0:
            continue

        h_from, h_at = h, before
        if mask.size > 0:
            h_from, h_at = masked, t * plane
            for n in range(lo, lo + rows):
                for j in range(width):
                    masked[t * plane + n * width + j] = h[before + n * width + j] * mask[n, j]
        if tokens.size > 0:
            for n in range(lo, lo + rows):
                source = tokens[t * batch + n] * rows_of_token
                for g in range(count):
                    for j in range(width):
                        z[g * plane + n * width + j] = token_rows[source + g * width + j]
        for g in range(count):
            x_length = inputs if input_planes[0] <= g and g < input_planes[1] else ZERO
            h_length = hidden if recurrent_planes[0] <= g and g < recurrent_planes[1] else ZERO
            to = g * plane + first
            from_tokens = tokens.size > 0
            multiply(
                table, z if from_tokens else bias, to if from_tokens else g * width, width if from_tokens else ZERO,
                x, (t * batch + lo) * x_row, x_row, x_length, ONE, ZERO,
                h_from, h_at + first, width, h_length,
                rows, width // w,
                packed, g * width * length + (inputs - x_length) * w, length * w,
                z, to, width,
            )  # fmt: skip
        inner_at = t * inner_step
        for e in range(rows * width):
            gates = load(cell, "planes", z, first, plane, e)
            previous = load(cell, "states", h, before + first, history, e)
            weights = load(cell, "units", units, first, plane, e)
            values, kept = cell_inner_forward(cell, gates, previous, weights)
            store(cell, "inner", a, inner_at + first, plane, e, values)
            store(cell, "inner_saved", inner_kept, t * inner_tape + first, plane, e, kept)
        if mask.size > 0:
            for n in range(lo, lo + rows):
                for j in range(width):
                    a[inner_at + n * width + j] *= mask[n, j]
        for g in range(inner_planes[0], inner_planes[1]):
            to = g * plane + first
            multiply(
                table, z, to, width,
                a, inner_at + first, width, hidden, ONE, ZERO,
                a, ZERO, ZERO, ZERO,
                rows, width // w,
                packed, g * width * length + inputs * w, length * w,
                z, to, width,
            )  # fmt: skip
        for e in range(rows * width):
            gates = load(cell, "planes", z, first, plane, e)
            previous = load(cell, "states", h, before + first, history, e)
            weights = load(cell, "units", units, first, plane, e)
            following, kept = cell_forward(cell, gates, previous, weights)
            store(cell, "states", h, after + first, history, e, following)
            store(cell, "saved", kept_values, t * tape + first, plane, e, kept)

    for n in range(lo, hi):
        at = (0 if reverse else lengths[n]) * plane + n * width
        for s in range(start.shape[0]):
            for j in range(width):
                final[s, n, j] = h[at + s * history + j]


@jit
def backward(
    cell, table, input_planes, recurrent_planes, hidden, reverse,
    packed_h, packed_x, units, mask,
    active, states, saved, dy, dy_at, dy_row, zeros,
    dstates, dplanes, product, dx, dx_row, add_to_dx, dunits, lo, hi,
    inner_planes, packed_inner, inner_saved, dinner,
):  # fmt: skip
    """Back-propagate through all steps of the samples lo <= n < hi; see `recurrent.backward`.

    inner_planes   (first, last) of the planes that the second product enters
    packed_inner   in: panels of the rows of W_hh that make them (columns: the inner value)
    inner_saved    in, from `forward` with a tape
    dinner         scratch (N, Hp)
    """
    w = panel_of(states)
    steps, batch, width = states.shape[1] - 1, states.shape[2], states.shape[3]
    plane = batch * width
    history, tape, step = states.shape[1] * plane, saved.shape[1] * plane, dplanes.shape[1] * plane
    inner_tape = inner_saved.shape[1] * plane
    h, kept_values, dz, dh = states.reshape(-1), saved.reshape(-1), dplanes.reshape(-1), dstates.reshape(-1)
    inner_kept, da = inner_saved.reshape(-1), dinner.reshape(-1)
    dw, scratch = dunits.reshape(-1), product.reshape(-1)
    first = lo * width
    x_planes, h_planes = input_planes[1] - input_planes[0], recurrent_planes[1] - recurrent_planes[0]
    second_planes = inner_planes[1] - inner_planes[0]

    for i in range(steps):
        t = i if reverse else steps - 1 - i
        before = (t + 1 if reverse else t) * plane
        after = (t if reverse else t + 1) * plane
        rows = max(min(active[t], hi) - lo, 0)
        if rows == 0:
            continue

        if dy.size > 0:
            for n in range(lo, lo + rows):
                source = dy_at + (t * batch + n) * dy_row
                for j in range(hidden):
                    dh[n * width + j] += dy[source + j]
        at = t * step + first
        for e in range(rows * width):
            kept = load(cell, "saved", kept_values, t * tape + first, plane, e)
            previous = load(cell, "states", h, before + first, history, e)
            weights = load(cell, "units", units, first, plane, e)
            following = load(cell, "states", h, after + first, history, e)
            gradients = load(cell, "states", dh, first, plane, e)
            so_far = load(cell, "units", dw, first, plane, e)
            dgates, dprevious, dweights = cell_backward(cell, kept, previous, weights, following, gradients)
            store(cell, "planes", dz, at, plane, e, dgates)
            store(cell, "states", dh, first, plane, e, dprevious)
            store(cell, "units", dw, first, plane, e, added(so_far, dweights))
        multiply(
            table, zeros, ZERO, ZERO,
            dz, at + inner_planes[0] * plane, width, hidden, second_planes, plane,
            dz, ZERO, ZERO, ZERO,
            rows, width // w, packed_inner, ZERO, second_planes * hidden * w,
            da, first, width,
        )  # fmt: skip
        if mask.size > 0:
            for n in range(lo, lo + rows):
                for j in range(width):
                    da[n * width + j] *= mask[n, j]
        for e in range(rows * width):
            kept = load(cell, "inner_saved", inner_kept, t * inner_tape + first, plane, e)
            previous = load(cell, "states", h, before + first, history, e)
            weights = load(cell, "units", units, first, plane, e)
            gradients = load(cell, "inner", da, first, plane, e)
            gates_so_far = load(cell, "planes", dz, at, plane, e)
            states_so_far = load(cell, "states", dh, first, plane, e)
            so_far = load(cell, "units", dw, first, plane, e)
            dgates, dprevious, dweights = cell_inner_backward(cell, kept, previous, weights, gradients)
            store(cell, "planes", dz, at, plane, e, added(gates_so_far, dgates))
            store(cell, "states", dh, first, plane, e, added(states_so_far, dprevious))
            store(cell, "units", dw, first, plane, e, added(so_far, dweights))
        masks = mask.size > 0 and h_planes > 0
        if h_planes > 0:
            multiply(
                table, zeros if masks else dh, ZERO if masks else first, ZERO if masks else width,
                dz, at + recurrent_planes[0] * plane, width, hidden, h_planes, plane,
                dz, ZERO, ZERO, ZERO,
                rows, width // w, packed_h, ZERO, h_planes * hidden * w,
                scratch if masks else dh, first, width,
            )  # fmt: skip
        if masks:
            for n in range(lo, lo + rows):
                for j in range(width):
                    dh[n * width + j] += scratch[n * width + j] * mask[n, j]
        if dx.size > 0:
            to = (t * batch + lo) * dx_row
            multiply(
                table, dx if add_to_dx else zeros, to if add_to_dx else ZERO, dx_row if add_to_dx else ZERO,
                dz, at + input_planes[0] * plane, width, hidden, x_planes, plane,
                dz, ZERO, ZERO, ZERO,
                rows, dx_row // w, packed_x, ZERO, x_planes * hidden * w,
                dx, to, dx_row,
            )  # fmt: skip
