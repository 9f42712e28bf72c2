"""One compiled loop that feeds a language model its own samples: token, layers, softmax, choice, next token."""

import numpy as np

from numbarnn.kernels.compile import jit
from numbarnn.kernels.cpu.matmul import ONE, ZERO, multiply
from numbarnn.kernels.cpu.simd import panel_of
from numbarnn.kernels.element import cell_forward, load, store
from numbarnn.kernels.random import philox
from numbarnn.kernels.scalar import exp

# Columns of `places`: where a layer's panels, biases (token rows in the first layer, unless it has an embedding below) and
# diagonal weights begin. Of the dense layer, whose row is the last, the third entry is where the embedding begins.
PANELS, BIAS, DIAGONAL = 0, 1, 2


@jit
def generate(
    cell, table, from_input, from_hidden, features, hidden, recurrents, weights, places, classes,
    state, preactivations, logits, likely, prime, out, written, temperature, top_k, top_p, seed, position, stop, never,
):  # fmt: skip
    """Feed the tokens of `prime`, then sample into `out[written:]` until it is full or ends with `stop`.

    Returns how far `out` is filled.

    The operations and their order are those of the layers' forward pass, so the logits are too.

    features      of the embedding of a token; 0: there is none, a token adds its row
    weights       in, 1-D: packed weights of all layers and of the dense layer, and the embedding (classes, features)
    places        in, (layers + 1, 3): where each begins, see above; the last row is the dense layer's
    state         in and out: (layers, S, Hp)
    preactivations        scratch (G, Hp); likely : scratch (classes,) int64
    logits        in and out: (Vp,) what the model says of the next token; where `prime` is empty, it stems from the call before
    temperature   divides the logits; 0 takes the largest
    top_k, top_p  0 and 1.0 leave all tokens; else the k likeliest, then the fewest of those that have probability p
    never         in: tokens that are not chosen
    seed          of the choices; choice number `position` + i depends on seed and that number alone
    """
    layers, width = state.shape[0], state.shape[2]
    w = panel_of(weights)
    plane = state.shape[1] * width
    h, z = state.reshape(-1), preactivations.reshape(-1)
    first = written
    for i in range(prime.size + out.size - first):
        if i < prime.size:
            token = prime[i]
        else:
            for k in range(never.size):
                logits[never[k]] = -np.inf
            token = _choose(logits, classes, likely, temperature, top_k, top_p, seed, position + written)
            out[written] = token
            written += 1
            if stop.size > 0 and written >= stop.size:
                same = True
                for k in range(stop.size):
                    same = same and out[written - stop.size + k] == stop[k]
                if same:
                    return written
        for layer in range(layers):
            inputs, x, x_at, start = hidden, h, (layer - 1) * plane, places[layer, BIAS]
            if layer == 0:
                inputs, x, x_at = features, weights, places[layers, DIAGONAL] + token * features
                if features == 0:
                    start += token * preactivations.size
            for g in range(preactivations.shape[0]):
                x_length = inputs if from_input[0] <= g and g < from_input[1] else ZERO
                h_length = recurrents if from_hidden[0] <= g and g < from_hidden[1] else ZERO
                multiply(
                    table, weights, start + g * width, ZERO,
                    x, x_at, ZERO, x_length, ONE, ZERO,
                    h, layer * plane, ZERO, h_length,
                    ONE, width // w,
                    weights, places[layer, PANELS] + g * width * (inputs + recurrents) + (inputs - x_length) * w,
                    (inputs + recurrents) * w,
                    z, g * width, ZERO,
                )  # fmt: skip
            for e in range(width):
                gates = load(cell, "preactivations", z, 0, width, e)
                previous = load(cell, "states", h, layer * plane, width, e)
                own = load(cell, "diagonal", weights, places[layer, DIAGONAL], width, e)
                following, _ = cell_forward(cell, gates, previous, own)
                store(cell, "states", h, layer * plane, width, e, following)
        multiply(
            table, weights, places[layers, BIAS], ZERO, h, (layers - 1) * plane, ZERO, hidden, ONE, ZERO,
            h, ZERO, ZERO, ZERO, ONE, logits.size // w,
            weights, places[layers, PANELS], hidden * w, logits, ZERO, ZERO,
        )  # fmt: skip
    return written


@jit
def _choose(logits, classes, likely, temperature, top_k, top_p, seed, number):
    """Return a token drawn from softmax(logits / temperature), restricted to the likeliest."""
    best = 0
    for j in range(1, classes):
        if logits[j] > logits[best]:
            best = j
    if temperature == 0.0:
        return best
    bits = philox(
        np.uint64(number) & np.uint64(0xFFFFFFFF), np.uint64(number) >> np.uint64(32), np.uint64(0), np.uint64(0),
        np.uint64(seed) & np.uint64(0xFFFFFFFF), np.uint64(seed) >> np.uint64(32),
    )  # fmt: skip
    uniform = (float(bits[0]) * 2097152.0 + float(bits[1] >> np.uint64(11))) * (1.0 / 9007199254740992.0)
    scale = logits.dtype.type(min(1.0 / temperature, 1e30))
    top = logits[best]
    if top_k == 0 and top_p >= 1.0:
        total = 0.0
        for j in range(classes):
            total += exp((logits[j] - top) * scale)
        goal = uniform * total
        for j in range(classes):
            goal -= exp((logits[j] - top) * scale)
            if goal < 0.0:
                return j
        return best

    # A heap gives the tokens from the likeliest on; only as many as are kept are taken from it.
    total = 0.0
    for j in range(classes):
        likely[j] = j
        total += exp((logits[j] - top) * scale)
    for root in range(classes // 2 - 1, -1, -1):
        _sink(likely, logits, root, classes)
    size = classes
    most = top_k if top_k > 0 else classes
    if 0 < top_k < classes:
        total = 0.0
        for _ in range(most):
            total += exp((logits[likely[0]] - top) * scale)
            size -= 1
            likely[0], likely[size] = likely[size], likely[0]
            _sink(likely, logits, 0, size)
        first = size
    else:
        first = classes
    # The tokens taken lie behind the heap, the likeliest last.
    kept = 0.0
    count = 0
    while count < most and count < classes and (count == 0 or kept < top_p * total):
        if classes - 1 - count < first:
            size -= 1
            likely[0], likely[size] = likely[size], likely[0]
            _sink(likely, logits, 0, size)
        kept += exp((logits[likely[classes - 1 - count]] - top) * scale)
        count += 1
    goal = uniform * kept
    for i in range(count):
        token = likely[classes - 1 - i]
        goal -= exp((logits[token] - top) * scale)
        if goal < 0.0:
            return token
    return likely[classes - 1]


@jit
def _sink(heap, values, root, size):
    """Let an entry sink until the heap's parents are no smaller than their children; equal values: the smaller index first."""
    while 2 * root + 1 < size:
        child = 2 * root + 1
        if child + 1 < size and _before(values, heap[child + 1], heap[child]):
            child += 1
        if not _before(values, heap[child], heap[root]):
            return
        heap[root], heap[child] = heap[child], heap[root]
        root = child


@jit
def _before(values, a, b):
    return values[a] > values[b] or (values[a] == values[b] and a < b)
