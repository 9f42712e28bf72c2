"""Sampling from language models: a compiled loop for each stream of tokens."""

import numpy as np

from numbarnn import parallel
from numbarnn.kernels.cpu import sampling as kernels
from numbarnn.kernels.groups import checked, entry_point

# Whether cells with a second recurrent product can be sampled from.
SECOND_PRODUCT = True


def pack(network):
    """Return the weights of a language model as `Streams` takes them: the program of single steps, which streams share."""
    return network.step_plan()


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
        self.plan, self.n_threads = packed, n_threads  # the plan owns the records and the arrays
        self.primes, self.seeds, self.positions = primes, seeds, [0] * len(seeds)
        weights, dtype = packed.weights, network.dtype
        self.streams, self.options = [], []
        for seed in seeds:
            arrays = np.zeros(packed.outputs, dtype), np.zeros(packed.outputs, np.int64)
            stream = kernels.Stream(weights.program, weights.values, packed.new_state(), *arrays)
            shapes = weights.program.shape, weights.values.shape, (packed.size,), (packed.outputs,), (packed.outputs,)
            self.streams.append(checked(stream, dtype, *shapes))
            options = kernels.Options(
                temperature, top_k, top_p, seed, np.array(stop, np.int32), np.array(never, np.int32)
            )
            self.options.append(checked(options, dtype, stop.shape, never.shape))
        self.kernel = entry_point(kernels.generate, dtype, weights.cells)

    def take(self, count: int, first=None) -> list[np.ndarray]:
        """Return the next tokens of each stream, fewer where `stop` came among them.

        first : tokens that streams begin with, one each; they are part of what is returned.
        """
        cells, done = self.plan.weights.cells, [None] * len(self.seeds)

        def generate(stream):
            out = np.zeros(count, np.int32)
            written = 0
            if first is not None:
                out[0], written = first[stream], 1
            prime = np.array(self.primes[stream], np.int32)
            filled = self.kernel(
                cells, self.streams[stream], self.options[stream], prime, out, written, self.positions[stream]
            )
            self.primes[stream] = self.primes[stream][:0]
            self.positions[stream] += filled
            done[stream] = out[:filled]

        shares = parallel.shares(len(self.seeds), len(self.seeds) * float(parallel.GRAIN), self.n_threads)
        parallel.run([lambda lo=lo, hi=hi: [generate(stream) for stream in range(lo, hi)] for lo, hi in shares])
        return done
