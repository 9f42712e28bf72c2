"""Sampling from language models on a device: all streams in one launch, whose loop runs from token to token without the host."""

import numpy as np

from numbarnn.kernels.cuda import sampling as kernels
from numbarnn.kernels.cuda.memory import Arena, Staging, upload

# Whether cells with a second recurrent product can be sampled from.
SECOND_PRODUCT = False


def pack(network) -> kernels.Packed:
    """Return the weights of a language model as the kernel reads them, from a network on a device."""
    below, layer, dense = network.layers
    below_name, name, dense_name = network.names
    params, cell = network.params, layer.cell
    runs = layer.runs(network.signals[1])
    diagonal = [params.offsets[f"{name}.weight_{cell.diagonal[0]}{run.suffix}"] if cell.diagonal else 0 for run in runs]
    embedding = None
    if not network.signals[1].tokens:
        embedding = params.offsets[f"{below_name}.weight"], below.features
    return kernels.pack(
        network.device_params.flat, [layer.weight_offsets(params, f"{name}.", run) for run in runs], diagonal, len(cell.diagonal),
        *layer.ranges(), layer.hidden_size,
        (params.offsets[f"{dense_name}.weight"], params.offsets.get(f"{dense_name}.bias", -1)), dense.size, embedding,
    )  # fmt: skip


class Streams:
    """Streams of tokens that are sampled from a language model; `numbarnn.backends.cpu.sampling.Streams`.

    Parameters
    ----------
    network : Network
        On a device: `OneHot` or `Embedding`, recurrent layers in one direction, `Dense`.
    packed : Packed
        Its weights.
    primes : list of (n,) int32 arrays
        For each stream the tokens that come before: at least one.
    temperature, top_k, top_p : float, int, float
        As the kernel takes them.
    stop, never : (n,) int32 arrays
        Tokens whose coming ends a stream; tokens that are not written.
    seeds : list of int
    """

    def __init__(self, network, packed, primes, temperature, top_k, top_p, stop, never, seeds, n_threads: int = 1):
        layer, classes = network.layers[1], network.layers[2].size
        self.cell, self.packed, self.primes = layer.cell, packed, primes
        self.options = kernels.Sampling(temperature, top_k, top_p, stop, never)
        self.seeds = np.array(seeds, np.int64)
        self.positions = np.zeros(len(seeds), np.int64)
        size = len(seeds) * layer.num_layers * len(self.cell.states) * layer.hidden_size
        self.state = upload(np.zeros(size, network.dtype))
        self.logits = upload(np.zeros(len(seeds) * classes, network.dtype))
        self.arena = Arena()

    def take(self, count: int, first=None) -> list[np.ndarray]:
        """Return the next tokens of each stream, fewer where `stop` came among them.

        first : tokens that streams begin with, one each; they are part of what is returned.
        """
        streams = len(self.seeds)
        out = np.zeros((streams, count), np.int32)
        done = np.zeros(streams, np.int64)
        if first is not None:
            out[:, 0], done[:] = first, 1
        staging = Staging()
        there, written = staging.add(out), staging.add(done)
        primes, self.primes = self.primes, [tokens[:0] for tokens in self.primes]
        self.arena.reset()
        kernels.generate(
            self.arena, staging, self.cell, self.packed, self.state, self.logits, primes, there, written, self.options, self.seeds,
            self.positions,
        )  # fmt: skip
        filled = written.get()
        self.positions += filled
        return [row[:n] for row, n in zip(there.get().reshape(streams, count), filled, strict=True)]
