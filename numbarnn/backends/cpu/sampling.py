"""Sampling from language models: a compiled loop for each stream of tokens."""

import numpy as np

from numbarnn import parallel
from numbarnn.backends.cpu.batch import Call
from numbarnn.kernels.compile import kernel_for
from numbarnn.kernels.cpu import sampling as kernels
from numbarnn.kernels.cpu.memory import padded, zeros


def pack(network) -> tuple[np.ndarray, np.ndarray]:
    """Return all weights of a language model in one array, and where each begins, as `Streams` reads them."""
    below, recurrent, dense = network._weights(Call(network.dtype, 1))
    parts, places, at = [], [], 0
    for run in recurrent:
        first = run.token_rows if run.token_rows.size else run.bias
        group = [run.forward, first.reshape(-1), run.diagonal.reshape(-1)]
        places.append([at, at + group[0].size, at + group[0].size + group[1].size])
        parts += group
        at += sum(part.size for part in group)
    parts += [dense.forward, dense.bias]
    end = at + dense.forward.size + dense.bias.size
    places.append([at, at + dense.forward.size, end])
    if below is not None:
        flat, first = below
        embedding = flat[first : first + network.layers[0].size * network.layers[0].features]
        parts.append(embedding)
        end += embedding.size
    weights = zeros((end,), network.dtype)
    np.concatenate(parts, out=weights)
    return weights, np.array(places, np.int64)


class Streams:
    """Streams of tokens that are sampled from a language model, and the state each is in.

    Parameters
    ----------
    network : Network
        `OneHot` or `Embedding`, recurrent layers in one direction, `Dense`.
    packed
        Its weights, of `pack`.
    primes : list of (n,) int32 arrays
        For each stream the tokens that come before: at least one.
    temperature, top_k, top_p : float, int, float
        As the kernel takes them.
    stop, never : (n,) int32 arrays
        Tokens whose coming ends a stream; tokens that are not sampled.
    seeds : list of int
    n_threads : int
    """

    def __init__(self, network, packed, primes, temperature, top_k, top_p, stop, never, seeds, n_threads: int = 1):
        self.layer, dtype, self.classes = network.layers[1], network.dtype, network.layers[2].size
        cell, width = self.layer.cell, padded(self.layer.hidden_size, dtype)
        self.table = Call(dtype, 1).table
        self.features = network.signals[1].size if not network.signals[1].tokens else 0
        self.packed, self.n_threads = packed, n_threads
        self.options, self.stop, self.never = (temperature, top_k, top_p), stop, never
        self.primes, self.seeds, self.positions = primes, seeds, [0] * len(seeds)
        size = self.layer.num_layers, len(cell.states), width
        self.arrays = [
            (
                zeros(size, dtype),
                zeros((len(cell.preactivations), width), dtype),
                zeros((padded(self.classes, dtype),), dtype),
            )
            for _ in seeds
        ]

    def take(self, count: int, first=None) -> list[np.ndarray]:
        """Return the next tokens of each stream, fewer where `stop` came among them.

        first : tokens that streams begin with, one each; they are part of what is returned.
        """
        cell, hidden = self.layer.cell, self.layer.hidden_size
        kernel, recurrents = kernel_for(kernels.generate, cell), hidden if cell.from_hidden else 0
        (x_range, h_range), done = self.layer.ranges(), [None] * len(self.seeds)

        def generate(stream):
            out = np.zeros(count, np.int32)
            written = 0
            if first is not None:
                out[0], written = first[stream], 1
            state, preactivations, logits = self.arrays[stream]
            filled = kernel(
                cell, self.table, x_range, h_range, self.features, hidden, recurrents, *self.packed, self.classes, state,
                preactivations, logits, np.zeros(self.classes, np.int64), self.primes[stream], out, written, *self.options,
                self.seeds[stream], self.positions[stream], self.stop, self.never,
            )  # fmt: skip
            self.primes[stream] = self.primes[stream][:0]
            self.positions[stream] += filled
            done[stream] = out[:filled]

        shares = parallel.shares(len(self.seeds), len(self.seeds) * float(parallel.GRAIN), self.n_threads)
        parallel.run([lambda lo=lo, hi=hi: [generate(stream) for stream in range(lo, hi)] for lo, hi in shares])
        return done
