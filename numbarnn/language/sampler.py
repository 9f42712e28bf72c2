"""Samplers: packed weights and carried state of a language model's sampling kernels."""

import math

import numpy as np

from numbarnn import parallel
from numbarnn.backends.cpu.batch import Call
from numbarnn.cells.contract import has_inner
from numbarnn.checks import check_seed
from numbarnn.kernels.compile import kernel_for
from numbarnn.kernels.cpu import sampling
from numbarnn.kernels.cpu.memory import padded, zeros
from numbarnn.model import Model


def packed_weights(model: Model) -> tuple[np.ndarray, np.ndarray]:
    """Return all weights of a language model in one array, and their offsets, as `sampling.generate` reads them."""
    below, recurrent, dense = model._weights(Call(model.dtype, 1))
    parts, offsets, at = [], [], 0
    for run in recurrent:
        first = run.token_rows if run.token_rows.size else run.bias
        group = [run.forward, first.reshape(-1), run.diagonal.reshape(-1)]
        offsets.append([at, at + group[0].size, at + group[0].size + group[1].size])
        parts += group
        at += sum(part.size for part in group)
    parts += [dense.forward, dense.bias]
    end = at + dense.forward.size + dense.bias.size
    offsets.append([at, at + dense.forward.size, end])
    if below is not None:
        flat, first = below
        embedding = flat[first : first + model.layers[0].size * model.layers[0].features]
        parts.append(embedding)
        end += embedding.size
    weights = zeros((end,), model.dtype)
    np.concatenate(parts, out=weights)
    return weights, np.array(offsets, np.int64)


class Sampler:
    """One run of the sampling kernel on the CPU, from which tokens are taken piece by piece.

    Parameters
    ----------
    model : Model
        `OneHot` or `Embedding`, recurrent layers in one direction, `Dense`.
    weights, offsets : arrays
        Of `packed_weights`.
    prime : (n,) int32
        Tokens that precede the sample; none: the first token is drawn uniformly.
    temperature, top_k, top_p
        As in `LanguageModel.sample`.
    stop : (n,) int32
        Sequence of tokens that ends the sample; empty: none.
    excluded : (n,) int32
        Tokens of probability zero.
    seed : int

    Raises
    ------
    ValueError
        If an option is out of its range.
    """

    def __init__(self, model, weights, offsets, prime, temperature, top_k, top_p, stop, excluded, seed):
        self.options = check_options(model, temperature, top_k, top_p)
        self.seed = check_seed(seed)
        self.layer, dtype, classes = model.layers[1], model.dtype, model.layers[2].size
        width = padded(self.layer.hidden_size, dtype)
        self.table = Call(dtype, 1).table
        self.features = getattr(model.layers[0], "features", 0)
        self.weights, self.offsets, self.classes = weights, offsets, classes
        self.state = zeros((self.layer.num_layers, len(self.layer.cell.states), width), dtype)
        self.preactivations = zeros((len(self.layer.cell.preactivations), width), dtype)
        self.logits = zeros((padded(classes, dtype),), dtype)
        self.likely = np.zeros(classes, np.int64)
        self.stop, self.excluded, self.prime = stop, excluded, prime
        self.first = None if prime.size else first_token(classes, excluded, self.seed)
        self.position = 0

    def take(self, count: int) -> np.ndarray:
        """Return the next tokens, fewer if `stop` is among them."""
        out = np.zeros(count, np.int32)
        prime, self.prime = self.prime, self.prime[:0]
        generated = 0
        if self.first is not None and count > 0:
            out[0], self.first, generated = self.first, None, 1
            prime = out[:1].copy()
            if self.stop.size == 1 and out[0] == self.stop[0]:
                return out[:1]
        temperature, top_k, top_p = self.options
        x_range, h_range = self.layer._ranges()
        hidden, cell = self.layer.hidden_size, self.layer.cell
        kernel = kernel_for(sampling.generate, cell)
        results = []

        def job():
            results.append(
                kernel(
                    cell, self.table, x_range, h_range, self.features, hidden, hidden if cell.from_hidden else 0,
                    self.weights, self.offsets, self.classes, self.state, self.preactivations, self.logits, self.likely, prime, out,
                    generated, temperature, top_k, top_p, self.seed, self.position, self.stop, self.excluded,
                )
            )  # fmt: skip

        parallel.run([job])  # in the arithmetic mode of a layer's pass
        (generated,) = results
        self.position += generated
        return out[:generated]


class DeviceSampler:
    """`Sampler` on a device, for one stream or many with the same options.

    Parameters
    ----------
    model : Model
    packed
        Of `numbarnn.backends.cuda.sampling.pack`.
    prime, temperature, top_k, top_p, stop, excluded
        As in `Sampler`.
    seeds : list of int
        One for each stream.
    """

    def __init__(self, model, packed, prime, temperature, top_k, top_p, stop, excluded, seeds):
        from numbarnn.backends.cuda.sampling import Streams

        options = check_options(model, temperature, top_k, top_p)
        seeds = [check_seed(seed) for seed in seeds]
        self.stop, self.first, primes = stop, None, [prime] * len(seeds)
        if not prime.size:
            self.first = np.array([first_token(model.layers[2].size, excluded, seed) for seed in seeds], np.int32)
            primes = [token.reshape(1) for token in self.first]
        self.streams = Streams(model, packed, primes, *options, stop, excluded, seeds)

    def take_all(self, count: int) -> list[np.ndarray]:
        """Return the next tokens of each stream, fewer where `stop` is among them."""
        if count == 0:
            return [np.zeros(0, np.int32) for _ in self.streams.seeds]
        first, self.first = self.first, None
        found = self.streams.take(count, first)
        if first is not None and self.stop.size == 1:
            found = [row[:1] if token == self.stop[0] else row for row, token in zip(found, first, strict=True)]
        return found

    def take(self, count: int) -> np.ndarray:
        """Return the next tokens of the first stream."""
        return self.take_all(count)[0]


def check_options(model, temperature, top_k, top_p) -> tuple[float, int, float]:
    """Return options as the kernels take them; raise ValueError if one is out of its range."""
    if not (isinstance(temperature, (int, float, np.number)) and 0 <= temperature < math.inf):
        raise ValueError(f"temperature must be a number >= 0, got {temperature!r}")
    if top_p is not None and not 0 < top_p <= 1:
        raise ValueError(f"top_p must be in (0, 1], got {top_p!r}")
    if top_k is not None and check_count("top_k", top_k) < 1:
        raise ValueError(f"top_k must be a positive integer, got {top_k!r}")
    if has_inner(model.layers[1].cell):
        raise ValueError(
            f"sampling does not support cells with a second recurrent product, such as {type(model.layers[1].cell).__name__}"
        )
    return float(temperature), min(int(top_k or 0), model.layers[2].size), float(top_p or 1.0)


def first_token(classes, excluded, seed):
    """Return a token drawn uniformly from all that are allowed, since there is nothing to predict it from."""
    allowed = np.setdiff1d(np.arange(classes), excluded)
    return allowed[np.random.default_rng(seed).integers(len(allowed))]


def check_count(name: str, value) -> int:
    """Return a count as an int; raise ValueError unless it is an integer >= 0."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 0:
        raise ValueError(f"{name} must be an integer >= 0, got {value!r}")
    return int(value)
