"""Language models that are fed their own samples: a block of threads for each stream, from its first token to its last.

Weights are read from memory at every step, more than a block's registers and shared memory hold: transposed copies, in which
neighbouring threads read neighbouring values. Of a product with fewer columns than the block has threads, several threads share
a column.

The choice is that of `numbarnn.kernels.cpu.sampling`, by the same draws, and made in float64 as there.
"""

import math
from typing import NamedTuple

import numpy as np
from numba import cuda

from numbarnn.kernels.cuda.element import cell_forward, count_of, load, store
from numbarnn.kernels.cuda.launch import SIMULATED, Integers32, Integers64, Values, device, kernel, running, types
from numbarnn.kernels.cuda.memory import empty, upload
from numbarnn.kernels.cuda.tokens import HIGH, MOST_TILES, SIDE, pack_tokens, turn
from numbarnn.kernels.random import philox

# Threads of a block, and of them those that add up the chances of all tokens.
BLOCK, ADDERS = (4, 2) if SIMULATED else (256, 64)
# Numbers of a product's inner side in shared memory at a time.
SPAN = 6 if SIMULATED else 512
# Tokens that are put in order all at once; of more, the likeliest are looked for one after the other.
RANKED = 6 if SIMULATED else 1024

# Columns of `offsets`: where a layer's weights of its input and of its recurrent product, its biases (token rows in the first
# layer, unless it has an embedding below) and diagonal weights begin; the last row is the dense layer's, with the embedding at the
# end.
INPUT, RECURRENT, BIAS, DIAGONAL = 0, 1, 2, 3


@device
def add_product(weights, at, columns, inner, source, first, result, dst, staged, partial, zero):
    """Add to ``result[dst + j]`` the sums over k of ``weights[at + k * columns + j] * source[first + k]``; all threads call."""
    thread = running.threadIdx.x
    parts = BLOCK // columns
    part = 0
    if parts > 1:
        part = thread // columns
    for k0 in range(0, inner, SPAN):
        length = min(SPAN, inner - k0)
        for k in range(thread, length, BLOCK):
            staged[k] = source[first + k0 + k]
        running.syncthreads()
        share = length
        if parts > 1:
            share = (length + parts - 1) // parts
        for j in range(thread - part * columns, columns, BLOCK):
            total = zero
            k, stop = part * share, min(length, (part + 1) * share)
            index = at + (k0 + k) * columns + j
            while k + 8 <= stop:
                # Eight loads wait for memory at a time.
                w0, w1, w2, w3 = (
                    weights[index],
                    weights[index + columns],
                    weights[index + 2 * columns],
                    weights[index + 3 * columns],
                )
                index += 4 * columns
                w4, w5, w6, w7 = (
                    weights[index],
                    weights[index + columns],
                    weights[index + 2 * columns],
                    weights[index + 3 * columns],
                )
                index += 4 * columns
                total += w0 * staged[k]
                total += w1 * staged[k + 1]
                total += w2 * staged[k + 2]
                total += w3 * staged[k + 3]
                total += w4 * staged[k + 4]
                total += w5 * staged[k + 5]
                total += w6 * staged[k + 6]
                total += w7 * staged[k + 7]
                k += 8
            while k < stop:
                total += weights[index] * staged[k]
                index += columns
                k += 1
            if parts > 1:
                partial[thread] = total
            else:
                result[dst + j] += total
        if parts > 1:
            running.syncthreads()
            if thread < columns:
                total = zero
                for p in range(parts):
                    total += partial[p * columns + thread]
                result[dst + thread] += total
        running.syncthreads()


@device
def find_next(logits, at, classes, last, values, tokens):
    """Return the likeliest token after token `last` (after none: -1), of equals the smallest; all threads must call."""
    thread = running.threadIdx.x
    best = -1
    for j in range(thread, classes, BLOCK):
        after = last < 0 or logits[at + j] < logits[at + last] or (logits[at + j] == logits[at + last] and j > last)
        if after and (best < 0 or logits[at + j] > logits[at + best]):
            best = j
    tokens[thread] = best
    if best >= 0:
        values[thread] = logits[at + best]
    half = BLOCK // 2
    while half > 0:
        running.syncthreads()
        if thread < half and tokens[thread + half] >= 0:
            mine, other = tokens[thread], tokens[thread + half]
            larger = mine < 0 or values[thread + half] > values[thread]
            if larger or (values[thread + half] == values[thread] and other < mine):
                tokens[thread] = other
                values[thread] = values[thread + half]
        half //= 2
    running.syncthreads()
    found = int(tokens[0])
    running.syncthreads()
    return found


@device
def draw_ordered(chances, at, most, whole, summed, top_p, uniform):
    """Return which of the likeliest tokens is drawn; their chances are in falling order; `summed`: `whole` is the sum of all."""
    if not summed:
        whole = 0.0
        for i in range(most):
            whole += chances[at + i]
    nucleus, count = 0.0, 0
    while count < most and (count == 0 or nucleus < top_p * whole):
        nucleus += chances[at + count]
        count += 1
    rest = uniform * nucleus
    for i in range(count):
        rest -= chances[at + i]
        if rest < 0.0:
            return i
    return 0


class Packed(NamedTuple):
    """Weights of a language model as the kernel reads them.

    Attributes
    ----------
    weights : all of them
    offsets : (layers + 1, 4) where each layer's begin, then the dense layer's
    layers, hidden, z_count : layers, H, and pre-activations of a cell
    features : of the embedding of a token; 0: there is none, a token adds its row
    classes : tokens
    input_first, input_count : pre-activations that x enters
    recurrent_first, recurrent_count : pre-activations that h enters
    """

    weights: Values
    offsets: Integers64
    layers: int
    hidden: int
    z_count: int
    features: int
    classes: int
    input_first: int
    input_count: int
    recurrent_first: int
    recurrent_count: int


class StreamState(NamedTuple):
    """What streams keep from token to token, and scratch.

    Attributes
    ----------
    state : (streams, layers, states, H), in and out
    logits : (streams, classes) of the next token, in and out
    preactivations : scratch (streams, z_count, H)
    chances, tokens : scratch (streams, classes) of the likeliest tokens, where there are more than `RANKED` of them
    """

    state: Values
    logits: Values
    preactivations: Values
    chances: Values
    tokens: Integers32


class StreamTokens(NamedTuple):
    """What streams read and write.

    Attributes
    ----------
    prime : the tokens that each stream is fed first, one stream after the other
    prime_starts : (streams + 1,) where those of each stream begin
    out : (streams, room) tokens, out
    room : columns of `out`
    written : (streams,) how far each row of `out` is filled, in and out
    """

    prime: Integers32
    prime_starts: Integers64
    out: Integers32
    room: int
    written: Integers64


class Choice(NamedTuple):
    """How a token is chosen, and when a stream ends.

    Attributes
    ----------
    scale : multiplies the logits; 0 takes the largest
    top_k, top_p : 0 and 1.0 leave all tokens; else the k likeliest, then the fewest of those that have probability p
    seeds, positions : (streams,) choice i of a stream depends on its seed and on position + i alone
    stop, stop_count : tokens whose coming ends a stream; 0: nothing does
    never, never_count : tokens that are not chosen
    """

    scale: float
    top_k: int
    top_p: float
    seeds: Integers64
    positions: Integers64
    stop: Integers32
    stop_count: int
    never: Integers32
    never_count: int


@kernel("c", Packed, StreamState, StreamTokens, Choice, **({} if SIMULATED else {"launch_bounds": (BLOCK, 1)}))
def sample_streams(real):
    """Make the kernel of `generate`."""

    def sample_streams(cell, packed, streams, texts, choice):
        """Feed stream n, block n, its prime and then what it draws, until its row of `out` is full or ends with `stop`."""
        (
            weights, offsets, layers, hidden, z_count, features, classes, input_first, input_count, recurrent_first,
            recurrent_count,
        ) = packed  # fmt: skip
        state, logits, scratch, sorted_chances, sorted_tokens = streams
        prime, prime_starts, out, room, written = texts
        scale, top_k, top_p, seeds, positions, stop, stop_count, never, never_count = choice
        staged = cuda.shared.array(SPAN, real)
        partial = cuda.shared.array(BLOCK, real)
        chances = cuda.shared.array(RANKED, real)
        tokens = cuda.shared.array(BLOCK, types.int32)
        ranked = cuda.shared.array(RANKED, types.int32)
        sums = cuda.shared.array(ADDERS, types.float64)
        chosen = cuda.shared.array(2, types.int32)
        zero = real(0)
        thread, n = cuda.threadIdx.x, cuda.blockIdx.x
        states = count_of(cell, "states")
        h, z, at = n * layers * states * hidden, n * z_count * hidden, n * classes
        each = (classes + ADDERS - 1) // ADDERS
        fed, filled = prime_starts[n], written[n]
        while fed < prime_starts[n + 1] or filled < room:
            if fed < prime_starts[n + 1]:
                token = int(prime[fed])
                fed += 1
            else:
                for k in range(thread, never_count, BLOCK):
                    logits[at + never[k]] = -real(math.inf)
                cuda.syncthreads()
                most = top_k if top_k > 0 else classes
                summed = top_k == 0 or top_k >= classes
                ordered = scale > zero and not (top_k == 0 and top_p >= real(1))
                few = classes <= RANKED
                top, whole, nucleus, count, last, searching = zero, 0.0, 0.0, 0, -1, True
                while searching:
                    last = find_next(logits, at, classes, last, partial, tokens)
                    if count == 0:
                        token, top = last, logits[at + last]
                        if scale > zero:
                            if thread < ADDERS:
                                for j in range(thread * each, min(classes, (thread + 1) * each)):
                                    whole += math.exp((logits[at + j] - top) * scale)
                                sums[thread] = whole
                            if ordered and few:
                                # A token's rank is the count of those before it.
                                for j in range(thread, classes, BLOCK):
                                    rank = 0
                                    for i in range(classes):
                                        before = logits[at + i] > logits[at + j] or (
                                            logits[at + i] == logits[at + j] and i < j
                                        )
                                        rank += 1 if before else 0
                                    chances[rank] = math.exp((logits[at + j] - top) * scale)
                                    ranked[rank] = j
                            cuda.syncthreads()
                            whole = 0.0
                            for i in range(ADDERS):
                                whole += sums[i]
                    searching = False
                    if ordered and not few:
                        chance = math.exp((logits[at + last] - top) * scale)
                        if thread == 0:
                            sorted_chances[at + count] = chance
                            sorted_tokens[at + count] = last
                        nucleus += chance
                        count += 1
                        searching = count < most and (not summed or nucleus < top_p * whole)
                if scale > zero:
                    if thread == 0:
                        number, seed = types.uint64(positions[n] + filled), types.uint64(seeds[n])
                        low, half = types.uint64(0xFFFFFFFF), types.uint64(32)
                        bits, more, _, _ = philox(
                            number & low, number >> half, types.uint64(0), types.uint64(0), seed & low, seed >> half
                        )
                        uniform = (float(bits) * 2097152.0 + float(more >> types.uint64(11))) * (
                            1.0 / 9007199254740992.0
                        )
                        if not ordered:
                            rest, adder = uniform * whole, 0
                            while adder < ADDERS - 1 and rest >= sums[adder]:
                                rest -= sums[adder]
                                adder += 1
                            for j in range(adder * each, classes):
                                rest -= math.exp((logits[at + j] - top) * scale)
                                if rest < 0.0:
                                    token = j
                                    break
                        elif few:
                            token = int(ranked[draw_ordered(chances, 0, most, whole, summed, top_p, uniform)])
                        else:
                            index = draw_ordered(sorted_chances, at, count, whole, summed, top_p, uniform)
                            token = int(sorted_tokens[at + index])
                        chosen[0] = token
                    cuda.syncthreads()
                    token = int(chosen[0])
                if thread == 0:
                    out[n * room + filled] = token
                filled += 1
                if stop_count > 0 and filled >= stop_count:
                    if thread == 0:
                        same = 1
                        for k in range(stop_count):
                            if out[n * room + filled - stop_count + k] != stop[k]:
                                same = 0
                        chosen[1] = same
                    cuda.syncthreads()
                    if chosen[1] == 1:
                        break
            # Of each layer the input's product, the recurrent product and the cell; then the dense layer's product.
            for stage in range(2 * layers + 1):
                layer, recurrent = stage // 2, stage % 2
                own = h + layer * states * hidden
                source, first, inner, columns = state, own - states * hidden, hidden, classes
                result, dst = logits, at
                if layer < layers:
                    result, dst = scratch, z + input_first * hidden
                    columns = input_count * hidden
                    if recurrent:
                        first, dst, columns = own, z + recurrent_first * hidden, recurrent_count * hidden
                    elif layer == 0:
                        source, first, inner = weights, offsets[layers * 4 + DIAGONAL] + token * features, features
                if not recurrent:
                    row = offsets[layer * 4 + BIAS]
                    if layer == 0 and features == 0:
                        row += token * z_count * hidden
                    for j in range(thread, z_count * hidden if layer < layers else classes, BLOCK):
                        if layer < layers:
                            scratch[z + j] = weights[row + j]
                        else:
                            logits[at + j] = weights[row + j]
                    cuda.syncthreads()
                if columns > 0:
                    add_product(
                        weights,
                        offsets[layer * 4 + recurrent],
                        columns,
                        inner,
                        source,
                        first,
                        result,
                        dst,
                        staged,
                        partial,
                        zero,
                    )
                if recurrent:
                    for e in range(thread, hidden, BLOCK):
                        following, _ = cell_forward(
                            cell,
                            load(cell, "preactivations", scratch, z + e, hidden),
                            load(cell, "states", state, own + e, hidden),
                            load(cell, "diagonal", weights, offsets[layer * 4 + DIAGONAL] + e, hidden),
                        )
                        store(cell, "states", state, own + e, hidden, following)
                    cuda.syncthreads()
        if thread == 0:
            written[n] = filled

    return sample_streams


def pack(flat, offsets, diagonal, diagonal_count, inputs, recurrents, hidden, dense, classes, embedding=None) -> Packed:
    """Return a packed copy of a language model's weights.

    Parameters
    ----------
    flat : Buffer
        The flat parameters.
    offsets : list of (gates, 4) integers
        For each layer, where in `flat` the rows of W_ih and W_hh of a pre-activation and its two biases begin, -1 for none.
    diagonal, diagonal_count : list of int, int
        Where the diagonal weights of each layer begin, and how many vectors of them there are.
    inputs, recurrents : (first, last)
        Pre-activations that x and that h enters.
    dense : (weight, bias)
        Offsets of the dense layer's parameters, the bias -1 for none.
    embedding : (offset, features), optional
        Else tokens add columns of the first layer's W_ih.
    """
    z_count, features = len(offsets[0]), 0 if embedding is None else embedding[1]
    (in_first, in_last), (h_first, h_last) = inputs, recurrents
    found, size = np.zeros((len(offsets) + 1, 4), np.int64), 0

    def room(row, column, count):
        nonlocal size
        found[row, column] = size
        size += count

    for layer in range(len(offsets)):
        width = hidden if layer else features
        room(layer, INPUT, width * (in_last - in_first) * hidden)
        room(layer, RECURRENT, hidden * (h_last - h_first) * hidden)
        room(layer, BIAS, (1 if layer or features else classes) * z_count * hidden)
        room(layer, DIAGONAL, diagonal_count * hidden)
    room(-1, INPUT, hidden * classes)
    room(-1, BIAS, classes)
    room(-1, DIAGONAL, classes * features)
    weights = empty(size, flat.dtype)
    host = flat.get()
    for layer, (own, at) in enumerate(zip(offsets, found[:-1], strict=True)):
        bias = np.zeros((z_count, hidden), flat.dtype)
        for block in range(z_count):
            for index in own[block, 2:]:
                if index >= 0:
                    bias[block] += host[index : index + hidden]
        width = hidden if layer else features
        if width:
            _transpose(flat, own[in_first:in_last, 0], hidden, width, weights.part(int(at[INPUT])))
            weights.part(int(at[BIAS]), bias.size).set(bias)
        else:
            bias = upload(bias)
            pack_tokens(
                flat, upload(np.ascontiguousarray(own[:, 0])), hidden, classes, bias, weights.part(int(at[BIAS]))
            )
        _transpose(flat, own[h_first:h_last, 1], hidden, hidden, weights.part(int(at[RECURRENT])))
        weights.part(int(at[DIAGONAL]), diagonal_count * hidden).copy(
            flat.part(diagonal[layer], diagonal_count * hidden)
        )
    at = found[-1]
    _transpose(flat, np.array([dense[0]]), classes, hidden, weights.part(int(at[INPUT])))
    bias = weights.part(int(at[BIAS]), classes)
    if dense[1] >= 0:
        bias.copy(flat.part(dense[1], classes))
    else:
        bias.set(np.zeros(classes))
    if features:
        weights.part(int(at[DIAGONAL]), classes * features).copy(flat.part(embedding[0], classes * features))
    return Packed(
        weights, upload(found.reshape(-1)), len(offsets), hidden, z_count, features, classes, in_first, in_last - in_first,
        h_first, h_last - h_first,
    )  # fmt: skip


def _transpose(flat, offsets, high, wide, result):
    """Set result[k, p * high + j] = flat[offsets[p] + j * wide + k]."""
    if len(offsets):
        blocks = -(-wide // SIDE), min(-(-high // SIDE), MOST_TILES), len(offsets)
        there = upload(np.ascontiguousarray(offsets, np.int64))
        turn(blocks, SIDE * HIGH, flat, there, high, wide, None, 0, result, len(offsets) * high)


class Sampling(NamedTuple):
    """How tokens are chosen from the logits, on the host.

    Attributes
    ----------
    temperature : float
        Divides the logits; 0 takes the largest.
    top_k, top_p : int, float
        As in `Choice`.
    stop, never : integer arrays
        Tokens whose coming ends a stream; tokens that are not chosen.
    """

    temperature: float
    top_k: int
    top_p: float
    stop: np.ndarray
    never: np.ndarray


def generate(arena, staging, cell, packed, state, logits, prime, out, written, options, seeds, positions):
    """Feed streams their primes, then sample into rows of `out` from `written` on, until they are full or end with `stop`.

    Parameters
    ----------
    arena : Arena
    staging : Staging
        Sent with all that the streams need of the host's; `out` and `written` may be in it.
    packed : Packed
    state : Buffer
        (streams, layers, states, H), in and out.
    logits : Buffer
        (streams, classes), in and out: what the model says of the next token; a stream without a prime begins with it.
    prime : list of integer arrays
        For each stream, the tokens to be fed first.
    out : Buffer
        (streams, room) int32.
    written : Buffer
        (streams,) int64, in and out: how far each row is filled.
    options : Sampling
    seeds, positions : integer arrays
        (streams,), on the host: choice i of a stream depends on its seed and on position + i alone.
    """
    temperature, top_k, top_p, stop, never = options
    streams, dtype = written.size, logits.dtype
    if streams == 0:
        return
    starts = np.concatenate([[0], np.cumsum([len(tokens) for tokens in prime])])
    ordered = 1 if packed.classes <= RANKED else streams * packed.classes
    scale = 0.0 if temperature == 0 else min(1.0 / temperature, 1e30)
    kept = StreamState(
        state, logits, arena.empty(streams * packed.z_count * packed.hidden, dtype), arena.empty(ordered, dtype),
        arena.empty(ordered, np.int32),
    )  # fmt: skip
    fed, starts = staging.add(np.concatenate(prime), np.int32), staging.add(starts, np.int64)
    texts = StreamTokens(fed, starts, out, out.size // streams, written)
    seeds, positions = (staging.add(values, np.int64) for values in (seeds, positions))
    stop, never = (staging.add(tokens, np.int32) for tokens in (stop, never))
    choice = Choice(scale, top_k, top_p, seeds, positions, stop, stop.size, never, never.size)
    staging.send(arena)
    sample_streams(streams, BLOCK, cell, packed, kept, texts, choice)
