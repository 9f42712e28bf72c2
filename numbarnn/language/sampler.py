"""One run of a language model's sampling kernel: what it reads, packed, and the state it carries."""

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
    """Return all weights of a language model in one array, and where each begins, as `sampling.generate` reads them."""
    below, recurrent, dense = model._weights(Call(model.dtype, 1))
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
        embedding = flat[first : first + model.layers[0].size * model.layers[0].features]
        parts.append(embedding)
        end += embedding.size
    weights = zeros((end,), model.dtype)
    np.concatenate(parts, out=weights)
    return weights, np.array(places, np.int64)


class Sampler:
    """The arrays of one run of the sampling kernel, which can be taken from piece by piece.

    Parameters
    ----------
    model : Model
        `OneHot` or `Embedding`, recurrent layers in one direction, `Dense`.
    weights, places : arrays
        Of `packed_weights`.
    prime : (n,) int32
        Tokens that come before; none: the first token is drawn from all with equal probability.
    temperature, top_k, top_p
        As in `LanguageModel.sample`.
    stop : (n,) int32
        Tokens whose coming ends a piece; none: nothing does.
    never : (n,) int32
        Tokens that are not written.
    seed : int

    Raises
    ------
    ValueError
        If an option is out of its range.
    """

    def __init__(self, model, weights, places, prime, temperature, top_k, top_p, stop, never, seed):
        self.options = check_options(model, temperature, top_k, top_p)
        self.seed = check_seed(seed)
        self.layer, dtype, classes = model.layers[1], model.dtype, model.layers[2].size
        width = padded(self.layer.hidden_size, dtype)
        self.table = Call(dtype, 1).table
        self.features = getattr(model.layers[0], "features", 0)
        self.weights, self.places, self.classes = weights, places, classes
        self.state = zeros((self.layer.num_layers, len(self.layer.cell.states), width), dtype)
        self.preactivations = zeros((len(self.layer.cell.preactivations), width), dtype)
        self.logits = zeros((padded(classes, dtype),), dtype)
        self.likely = np.zeros(classes, np.int64)
        self.stop, self.never, self.prime = stop, never, prime
        self.first = None if prime.size else first_token(classes, never, self.seed)
        self.position = 0

    def take(self, count: int) -> np.ndarray:
        """Return the next tokens, fewer if `stop` comes among them."""
        out = np.zeros(count, np.int32)
        prime, self.prime = self.prime, self.prime[:0]
        written = 0
        if self.first is not None and count > 0:
            out[0], self.first, written = self.first, None, 1
            prime = out[:1].copy()
            if self.stop.size == 1 and out[0] == self.stop[0]:
                return out[:1]
        temperature, top_k, top_p = self.options
        x_range, h_range = self.layer._ranges()
        hidden, cell = self.layer.hidden_size, self.layer.cell
        kernel = kernel_for(sampling.generate, cell)
        filled = []

        def job():
            filled.append(
                kernel(
                    cell, self.table, x_range, h_range, self.features, hidden, hidden if cell.from_hidden else 0,
                    self.weights, self.places, self.classes, self.state, self.preactivations, self.logits, self.likely, prime, out,
                    written, temperature, top_k, top_p, self.seed, self.position, self.stop, self.never,
                )
            )  # fmt: skip

        parallel.run([job])  # as a layer's pass, whose arithmetic this is
        (written,) = filled
        self.position += written
        return out[:written]


class DeviceSampler:
    """`Sampler` on a device, for one stream or many with the same options.

    Parameters
    ----------
    model : Model
    packed
        Of `numbarnn.backends.cuda.sampling.pack`.
    prime, temperature, top_k, top_p, stop, never
        As of `Sampler`.
    seeds : list of int
        One a stream.
    """

    def __init__(self, model, packed, prime, temperature, top_k, top_p, stop, never, seeds):
        from numbarnn.backends.cuda.sampling import Streams

        options = check_options(model, temperature, top_k, top_p)
        seeds = [check_seed(seed) for seed in seeds]
        self.stop, self.first, primes = stop, None, [prime] * len(seeds)
        if not prime.size:
            self.first = np.array([first_token(model.layers[2].size, never, seed) for seed in seeds], np.int32)
            primes = [token.reshape(1) for token in self.first]
        self.streams = Streams(model, packed, primes, *options, stop, never, seeds)

    def take_all(self, count: int) -> list[np.ndarray]:
        """Return the next tokens of each stream, fewer where `stop` came among them."""
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
            f"sampling does not know cells of two phases, and {type(model.layers[1].cell).__name__} is one"
        )
    return float(temperature), min(int(top_k or 0), model.layers[2].size), float(top_p or 1.0)


def first_token(classes, never, seed):
    """Return a token drawn from all that are allowed: there is nothing to predict it from, so all are as likely."""
    allowed = np.setdiff1d(np.arange(classes), never)
    return allowed[np.random.default_rng(seed).integers(len(allowed))]


def check_count(name: str, value) -> int:
    """Return a number of things as an int; raise ValueError unless it is one."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 0:
        raise ValueError(f"{name} must be a whole number >= 0, got {value!r}")
    return int(value)
