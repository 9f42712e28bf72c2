"""Arrays at the edge of memory: one step past their end, or before their beginning, ends the process.

Run as a program it patches what arrays come from, and runs every kernel of the CPU on such arrays; see tests/test_bounds.py.
"""

import ctypes
import math
import mmap
import sys

import numpy as np

PAGE = mmap.PAGESIZE


def guarded(shape, dtype, side):
    """Return an array of zeros whose last byte (side "after") or first ("before") has a page without rights beside it."""
    shape, dtype = tuple(np.atleast_1d(shape)), np.dtype(dtype)
    size = int(math.prod(map(int, shape))) * dtype.itemsize
    pages = -(-size // PAGE)
    memory = mmap.mmap(-1, (pages + 1) * PAGE)
    offset = pages * PAGE - size if side == "after" else PAGE
    array = np.ndarray(shape, dtype, memory, offset)  # keeps the memory
    page = array.ctypes.data - offset + (pages * PAGE if side == "after" else 0)
    if ctypes.CDLL(None, use_errno=True).mprotect(ctypes.c_void_p(int(page)), ctypes.c_size_t(PAGE), 0) != 0:
        raise OSError(ctypes.get_errno(), "mprotect")
    return array


def patch(side):
    """Let all arrays that the package allocates be guarded; return a function that copies an array to one."""
    from numbarnn import parallel
    from numbarnn.kernels.cpu import memory

    def empty(shape, dtype=float, *rest, **options):
        return guarded(shape, dtype, side)

    def copied(array):
        array = np.asarray(array)
        copy = guarded(array.shape, array.dtype, side)
        copy[...] = array
        return copy

    plain = {id(memory.empty): empty, id(memory.zeros): empty}
    for name, module in list(sys.modules.items()):
        if name.startswith("numbarnn"):
            for attribute, value in list(vars(module).items()):
                if id(value) in plain:
                    setattr(module, attribute, empty)
    memory.Arena.empty = lambda arena, shape, dtype: empty(shape, dtype)
    np.empty = np.zeros = empty
    np.empty_like = lambda array, dtype=None: empty(array.shape, dtype or array.dtype)
    parallel.GRAIN = 1
    return copied


def run(side):
    """Run every kernel."""
    from conftest import RECORDS, recurrent_model

    import numbarnn as nr
    from numbarnn import decoding
    from numbarnn.losses import LOSSES, SegmentCrossEntropy
    from numbarnn.optim import OPTIMIZERS

    copied = patch(side)
    rng = np.random.default_rng(0)
    lengths, tokens = [5, 0, 2], copied(rng.integers(0, 7, (3, 5)))

    def both_ways(model, x):
        for given in (None, lengths):
            outputs, final, pullback = model.vjp(x, lengths=given)
            pullback(copied(outputs), final)
            model.forward(x, final, given)
            model.predict_proba(x, lengths=given)

    for dtype in ("float32", "float64"):
        x = copied(rng.normal(size=(3, 5, 4)).astype(dtype))
        for record in RECORDS.values():
            for hidden in (5, 33):
                both_ways(recurrent_model(record, 4, hidden, dtype, n_threads=2), x)
        wide = copied(rng.normal(size=(3, 5, 330)).astype(dtype))  # products of x for blocks of steps
        for layer in (nr.LSTM(5), nr.GRU(33, reset_after=False)):
            both_ways(nr.Model([layer], 330, dtype, n_threads=2), wide)
        for cell in (nr.RNN, nr.LSTM, nr.GRU, nr.IndRNN):
            masked = {} if cell is nr.IndRNN else {"recurrent_dropout": 0.5}
            layer = cell(9, 2, bidirectional=True, dropout=0.5, **masked)
            model = nr.Model([layer, nr.Dropout(0.5), nr.Dense(7)], 4, dtype, n_threads=2)
            both_ways(model, x)
            for first in (nr.OneHot(7), nr.Embedding(7, 3)):
                net = nr.Model([first, cell(6), nr.Dense(7)], dtype=dtype, n_threads=2)
                both_ways(net, tokens)
                net.fit(tokens, tokens, epochs=1, verbose=0, tbptt=2)
                stream, (step, weights, state) = net.stream(), nr.step_function(net)
                stream.step(3)
                step(weights, 3, copied(state), copied(np.full(7, 0, dtype)))
            model.fit(x, tokens, epochs=1, verbose=0)
            last = nr.Model([cell(5, return_sequences=False), nr.Dense(2)], 4, dtype, n_threads=2)
            both_ways(last, x)
            last.stream().step(x[0, 0])
        streams = nr.Model([nr.LSTM(9, peepholes=True), nr.Dense(7)], 4, dtype, n_threads=2).streams(9)
        streams.open(9)
        streams.step(copied(x[:, 0]), [8, 0, 3])
        for kind in ("mean", "max", "last"):
            bags = copied(rng.integers(-1, 7, (3, 5, 2)))
            both_ways(nr.Model([nr.EmbeddingBag(7, 3, 2), nr.Pool(kind), nr.Dense(7)], dtype=dtype, n_threads=2), bags)
        numbers, strings = copied(rng.random((3, 5, 7)).astype(dtype)), [[1, 2], [], [3]]
        targets = {"softmax_cross_entropy": tokens, "ctc": strings, "negative_binomial": copied(np.floor(9 * numbers))}
        for name in LOSSES:
            net = nr.Model([nr.GRU(6), nr.Dense(7 * LOSSES[name]().outputs_per_target)], 4, dtype, n_threads=2)
            for given in (None, lengths):
                net.loss_and_grad(x, targets.get(name, numbers), name, given)
                net.fit(x, targets.get(name, numbers), loss=name, lengths=given, epochs=1, verbose=0, batch_size=2)
        net = nr.Model([nr.GRU(6), nr.Dense(7)], 4, dtype, n_threads=2)
        net.loss_and_grad(x, copied(2 * tokens + 1), SegmentCrossEntropy(), lengths)
        net.loss_and_grad(x, copied(numbers / numbers.sum(axis=2, keepdims=True)), lengths=lengths)
        for name in OPTIMIZERS:
            options = {"clip_norm": 0.1, "clip_value": 0.1, "average": 0.5, "accumulate": 2}
            net.fit(x, tokens, optimizer=name, epochs=1, verbose=0, batch_size=1, **options)
        logits = net.forward(x)[0]
        decoding.beam_search(copied(logits), lengths, beam_width=3, n_best=2, n_threads=2)
        for cell in nr.language.CELLS:
            lm = nr.LanguageModel(cell, 9, 2, dtype=dtype, n_threads=2).fit(
                "the cat sat on the mat. " * 9, 1, verbose=0
            )
            lm.sample(20, prime="the", top_k=3, top_p=0.9)
            lm.sample_many(3, 5)
            lm.score("the cat")
    print("done")


def violate(side, kernel):
    """Let a kernel of raw pointers take one step outside of a guarded array: `copy` by one number, `multiply` by one row of B."""
    from numbarnn.kernels.cpu.matmul import NO_PRODUCT, Extent, Factor, Location, Panels, copy, multiply
    from numbarnn.kernels.cpu.simd import panel_width, tile_table

    width, length = panel_width(np.float32), 8
    outside = side if side != "inside" else "after"
    step = {"after": 1, "before": -1, "inside": 0}[side]
    a, b, c, zero = (guarded(n, np.float32, outside) for n in (width + length, width * length, width, width))
    if kernel == "copy":
        copy(a, length + step if step > 0 else step, c, 0, width)
    else:
        multiply(
            tile_table(np.float32), Extent(1, 1), zero, Location(0, 0), a, Factor(0, 0, length, 1, 0), a, NO_PRODUCT,
            b, Panels(step * width, 0), c, Location(0, 0),
        )  # fmt: skip
    print("done")


if __name__ == "__main__":
    {"run": run, "violate": violate}[sys.argv[1]](*sys.argv[2:])
