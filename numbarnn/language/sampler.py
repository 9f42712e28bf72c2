"""Sampling from a language model, piece by piece, for one stream or many."""

import math

import numpy as np

from numbarnn.cells.contract import has_inner
from numbarnn.checks import brief, check_integer, check_real, check_seed
from numbarnn.core.seeds import generator


class Sampler:
    """Streams of tokens with the same options, which can be taken from piece by piece.

    Parameters
    ----------
    model : Model
        `OneHot` or `Embedding`, recurrent layers in one direction, `Dense`.
    packed
        Its weights, of the backend's ``sampling.pack``.
    prime : (n,) int32
        Tokens that precede the sample; none: the first token is drawn uniformly.
    temperature, top_k, top_p
        As in `LanguageModel.sample`.
    stop : (n,) int32
        Sequence of tokens that ends the sample; empty: none.
    excluded : (n,) int32
        Tokens of probability zero.
    seeds : list of int
        One for each stream.
    n_threads : int

    Raises
    ------
    ValueError
        If an option is out of its range.
    """

    def __init__(self, model, packed, prime, temperature, top_k, top_p, stop, excluded, seeds, n_threads: int = 1):
        options = check_options(model, temperature, top_k, top_p)
        seeds = [check_seed(seed) for seed in seeds]
        self.stop, self.first, primes = stop, None, [prime] * len(seeds)
        if not prime.size:
            self.first = np.array([first_token(model.layers[2].size, excluded, seed) for seed in seeds], np.int32)
            primes = [token.reshape(1) for token in self.first]
        self.streams = model.backend.sampling.Streams(model, packed, primes, *options, stop, excluded, seeds, n_threads)

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
    check_real(temperature, "temperature", 0.0)
    if top_p is not None and not 0 < check_real(top_p, "top_p") <= 1:
        raise ValueError(f"top_p must be in (0, 1], got {brief(top_p)}")
    if top_k is not None:
        check_integer(top_k, "top_k", 1, math.inf)
    if has_inner(model.layers[1].cell) and not model.backend.sampling.SECOND_PRODUCT:
        raise ValueError(
            f"sampling with device={model.device!r} does not support cells with a second recurrent product, such as "
            f"{type(model.layers[1].cell).__name__}; copy the parameters to a model with device='cpu'"
        )
    return float(temperature), min(int(top_k or 0), model.layers[2].size), float(top_p or 1.0)


def first_token(classes, excluded, seed):
    """Return a token drawn uniformly from all that are allowed, since there is nothing to predict it from."""
    allowed = np.setdiff1d(np.arange(classes), excluded)
    return allowed[generator(seed, "prime").integers(len(allowed))]
