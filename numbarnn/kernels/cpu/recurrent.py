"""The time loop of every pointwise cell, and its back-propagation through time directly below.

One driver serves all cells: it makes the pre-activations of a step by products (`matmul.multiply`), then calls the
cell's scalar function for every element of one flat loop over samples and units, which LLVM vectorises (a test counts
packed divisions). A shard is a range of samples; it runs through all steps alone. The arrays are described in
`numbarnn.kernels`.
"""

from numbarnn.kernels.compile import jit
from numbarnn.kernels.cpu.matmul import ONE, ZERO, multiply
from numbarnn.kernels.cpu.simd import panel_of
from numbarnn.kernels.element import added, cell_backward, cell_forward, load, store


@jit
def forward(
    cell, table, input_planes, recurrent_planes, inputs, hidden, reverse,
    x, x_row, tokens, token_rows,
    packed, bias, units, mask,
    lengths, active, start, states, saved, planes, operand, final, lo, hi,
):  # fmt: skip
    """Run the samples lo <= n < hi through all steps.

    cell                  record; selects the scalar functions
    input_planes          (first, last) of the planes that x enters; `recurrent_planes`: that h enters
    x, x_row              in, 1-D: (T * N, x_row), the first `inputs` columns count; or else
    tokens, token_rows    in: (T * N,) token of every row, and (C, G * Hp) the row that each adds, bias included (empty: no tokens)
    packed                in: (G * Hp / W, inputs + H, W) panels of W_ih above W_hh
    bias                  in: (G * Hp,)
    units                 in: (U, N, Hp) per-unit weights, repeated for every sample
    mask                  in: (N, Hp) factors of h on its way into the recurrent product, or empty
    lengths, active       in: (N,) falling, and (T,) samples still running
    start, final          in and out: (S, N, Hp) states before the first and after the last step of each sample
    states, saved         out, see `numbarnn.kernels`; saved is (1, ...) when no tape is kept
    planes                scratch (G, N, Hp)
    operand               out: (T, N, Hp) masked h of each step, or empty
    """
    w = panel_of(states)
    steps, batch, width = states.shape[1] - 1, states.shape[2], states.shape[3]
    plane = batch * width
    history = states.shape[1] * plane
    tape = saved.shape[1] * plane if saved.shape[0] > 1 else ZERO
    count = planes.shape[0]
    rows_of_token = count * width
    h, z, kept_values = states.reshape(-1), planes.reshape(-1), saved.reshape(-1)
    masked = operand.reshape(-1)
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
):  # fmt: skip
    """Back-propagate through all steps of the samples lo <= n < hi.

    packed_h, packed_x    in: panels of W_hh (rows: planes and units, columns: h) and of W_ih (columns: x)
    units, mask           in, as in `forward`
    active, states, saved in, from `forward` with a tape
    dy, dy_at, dy_row     in, 1-D: gradient of the output, row (t, n) at ``dy_at + (t * N + n) * dy_row``, or empty
    zeros                 in: (Cp,) zeros
    dstates               in and out: (S, N, Hp) gradient of the final states, then of the initial states
    dplanes               out: (T, G, N, Hp)
    product               scratch (N, Hp) under a mask, or empty
    dx, dx_row            out, 1-D: (T * N, dx_row), or empty; `add_to_dx`: added to what is there (the other direction's)
    dunits                in and out: (U, N, Hp) gradient of the per-unit weights, summed over the steps of each sample
    """
    w = panel_of(states)
    steps, batch, width = states.shape[1] - 1, states.shape[2], states.shape[3]
    plane = batch * width
    history, tape, step = states.shape[1] * plane, saved.shape[1] * plane, dplanes.shape[1] * plane
    h, kept_values, dz, dh = states.reshape(-1), saved.reshape(-1), dplanes.reshape(-1), dstates.reshape(-1)
    dw, scratch = dunits.reshape(-1), product.reshape(-1)
    first = lo * width
    x_planes, h_planes = input_planes[1] - input_planes[0], recurrent_planes[1] - recurrent_planes[0]

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
        for e in range(rows * width):
            kept = load(cell, "saved", kept_values, t * tape + first, plane, e)
            previous = load(cell, "states", h, before + first, history, e)
            weights = load(cell, "units", units, first, plane, e)
            following = load(cell, "states", h, after + first, history, e)
            gradients = load(cell, "states", dh, first, plane, e)
            so_far = load(cell, "units", dw, first, plane, e)
            dgates, dprevious, dweights = cell_backward(cell, kept, previous, weights, following, gradients)
            store(cell, "planes", dz, t * step + first, plane, e, dgates)
            store(cell, "states", dh, first, plane, e, dprevious)
            store(cell, "units", dw, first, plane, e, added(so_far, dweights))

        at = t * step + first
        masks = mask.size > 0
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
