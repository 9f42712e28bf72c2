"""Token input: rows are gathered and summed, never multiplied by one-hot vectors; and the transposes that make rows of weights."""

from numba import cuda
from numba.types import int32

from numbarnn.kernels.cuda.launch import SIMULATED, THREADS, kernel
from numbarnn.kernels.cuda.reduce import shift_for, step_blocks

# Side of the tile that a block turns; a block has a thread for each `HIGH`-th row of it.
SIDE, HIGH = (4, 2) if SIMULATED else (32, 8)
WIDTH = SIDE + 1  # of a row of the tile in shared memory: not a multiple of the banks
# Columns and slots of a block of `token_gradient`; a slot takes every `SLOTS`-th token of the `CHUNK` that the block holds.
LANES, SLOTS = (2, 2) if SIMULATED else (32, 8)
BLOCK = LANES * SLOTS
CHUNK = 4 * BLOCK
MOST_TILES = 2 if SIMULATED else 65535
ENOUGH = 10 if SIMULATED else 4096  # blocks that fill a card


@kernel("x l n n x n x n")
def turn(real):
    """Make the kernel that transposes the weights of some pre-activations."""

    def turn(source, offsets, high, wide, bias, biased, result, result_row):
        """Set result[v, g * high + j] = source[offsets[g] + j * wide + v] + bias[g * high + j], block (x, y, g).

        Where ``offsets[g]`` is below 0 the bias alone is set; `biased` says whether there is a bias.
        """
        tile = cuda.shared.array((SIDE, WIDTH), real)
        across, down = cuda.threadIdx.x % SIDE, cuda.threadIdx.x // SIDE
        block = cuda.blockIdx.z
        at = offsets[block]
        left = cuda.blockIdx.x * SIDE
        for top in range(cuda.blockIdx.y * SIDE, high, cuda.gridDim.y * SIDE):
            for i in range(down, SIDE, HIGH):
                if top + i < high and left + across < wide and at >= 0:
                    tile[i, across] = source[at + (top + i) * wide + left + across]
            cuda.syncthreads()
            for i in range(down, SIDE, HIGH):
                if top + across < high and left + i < wide:
                    value = tile[across, i] if at >= 0 else real(0)
                    if biased:
                        value += bias[block * high + top + across]
                    result[(left + i) * result_row + block * high + top + across] = value
            cuda.syncthreads()

    return turn


@kernel("x n i n x n l n n n n")
def gather_rows(real):
    """Make the kernel of `gather` and `gather_bags`."""

    def gather_rows(table, columns, tokens, bag, y, y_row, active, masked, steps, samples, shift):
        """Set y[t, n] to the sum of the rows of the tokens of 0 on, to zeros past the running samples if `masked`."""
        lanes = 1 << shift
        lane = cuda.threadIdx.x & (lanes - 1)
        n = cuda.blockIdx.x * (THREADS >> shift) + (cuda.threadIdx.x >> shift)
        if n < samples:
            for t in range(cuda.blockIdx.y, steps, cuda.gridDim.y):
                r = t * samples + n
                count = bag
                if masked and n >= active[t]:
                    count = 0
                for j in range(lane, columns, lanes):
                    total = real(0)
                    for k in range(count):
                        token = tokens[r * bag + k]
                        if token >= 0:
                            total += table[token * columns + j]
                    y[r * y_row + j] = total

    return gather_rows


@kernel("i n n x n n x n n n")
def sum_tokens(real):
    """Make the kernel of `token_gradient` and `bag_gradient`."""

    def sum_tokens(tokens, bag, rows, d, d_row, columns, gradient, offset, v_stride, j_stride):
        """Set the gradient of token v, columns ``range(y * LANES, columns, Y * LANES)`` and their neighbours, block (v, y).

        The rows of a chunk that have the token are added by slots, then the slots to each other: an order that the rows decide.
        """
        zero = real(0)
        staged = cuda.shared.array(CHUNK, int32)
        sums = cuda.shared.array(BLOCK, real)
        v = cuda.blockIdx.x
        thread = cuda.threadIdx.x
        lane, slot = thread % LANES, thread // LANES
        seen, first = 0, 1
        for left in range(cuda.blockIdx.y * LANES, columns, cuda.gridDim.y * LANES):
            j = left + lane
            total = zero
            # A token that the first columns did not meet is in no row.
            for top in range(0, rows if first or seen else 0, CHUNK):
                for k in range(bag):
                    mine = 0
                    for i in range(thread, CHUNK, BLOCK):
                        token = int32(-1)
                        if top + i < rows:
                            token = tokens[(top + i) * bag + k]
                        staged[i] = token
                        if token == v:
                            mine = 1
                    if cuda.syncthreads_or(mine):
                        seen = 1
                        if j < columns:
                            # Four loads wait for memory at a time.
                            for i in range(slot, CHUNK, 4 * SLOTS):
                                at = (top + i) * d_row + j
                                one = d[at] if staged[i] == v else zero
                                two = d[at + SLOTS * d_row] if staged[i + SLOTS] == v else zero
                                three = d[at + 2 * SLOTS * d_row] if staged[i + 2 * SLOTS] == v else zero
                                four = d[at + 3 * SLOTS * d_row] if staged[i + 3 * SLOTS] == v else zero
                                total += (one + two) + (three + four)
                    cuda.syncthreads()
            first = 0
            sums[thread] = total
            cuda.syncthreads()
            if slot == 0 and j < columns:
                for s in range(1, SLOTS):
                    total += sums[s * LANES + lane]
                gradient[offset + v * v_stride + j * j_stride] = total
            cuda.syncthreads()

    return sum_tokens


def pack_tokens(weights, offsets, hidden, size, bias, rows):
    """Make the rows that tokens add to the pre-activations: rows[v, g * H + j] = W_ih[g, j, v] + bias[g * H + j].

    Parameters
    ----------
    weights : Buffer
        The flat parameters: W_ih[g, j, v] at ``offsets[g] + j * size + v``.
    offsets : Buffer
        (gates,) int64; a pre-activation at -1 gets the bias alone.
    bias : Buffer
        (gates * H,)
    rows : Buffer
        (size, gates * H), out.
    """
    blocks = -(-size // SIDE), min(-(-hidden // SIDE), MOST_TILES), offsets.size
    turn(blocks, SIDE * HIGH, weights, offsets, hidden, size, bias, 1, rows, offsets.size * hidden)


def gather(table, columns, tokens, y, y_row, rows, active=None, samples=0):
    """Set y[r, :columns] = table[tokens[r]] for all rows.

    Parameters
    ----------
    table : Buffer
        (size, columns)
    tokens : Buffer
        (rows,) int32.
    y : Buffer
        Row r at ``r * y_row``.
    active : Buffer or None
        (rows / samples,) int64: row ``t * samples + n`` becomes zero where n is not below ``active[t]``, and its token may be
        anything. None for rows that are all looked up.
    """
    gather_bags(table, columns, tokens, 1, y, y_row, rows, active, samples)


def gather_bags(table, columns, tokens, bag, y, y_row, rows, active=None, samples=0):
    """Set y[r, :columns] to the sum of table[tokens[r, k]] over k < bag with tokens of 0 on; otherwise `gather`."""
    steps = rows // samples if active is not None and samples else 1
    if active is None:
        samples = rows
    shift = shift_for(columns)
    gather_rows(
        step_blocks(steps, samples, shift), THREADS, table, columns, tokens, bag, y, y_row, active, int(active is not None), steps,
        samples, shift,
    )  # fmt: skip


def token_gradient(tokens, size, d, d_row, columns, rows, gradient, offset, v_stride, j_stride):
    """Set gradient[offset + v * v_stride + j * j_stride] to the sum of d[r, j] over the rows r with tokens[r] = v, for v < size.

    That is the gradient of an embedding's table (strides columns and 1) as well as of W_ih under token input (1 and size). Rows
    past a sample's length hold zeros in d, and any token.

    Parameters
    ----------
    tokens : Buffer
        (rows,) int32.
    d : Buffer
        Row r at ``r * d_row``.
    """
    bag_gradient(tokens, 1, size, d, d_row, columns, rows, gradient, offset, v_stride, j_stride)


def bag_gradient(tokens, bag, size, d, d_row, columns, rows, gradient, offset, v_stride, j_stride):
    """Set the sums of the rows of d over all (r, k) with tokens[r, k] = v; otherwise `token_gradient`. Tokens are (rows, bag)."""
    blocks = size, max(1, min(-(-columns // LANES), -(-ENOUGH // max(size, 1))))
    sum_tokens(blocks, BLOCK, tokens, bag, rows, d, d_row, columns, gradient, offset, v_stride, j_stride)
