"""Word features as tokens: the word itself, prefixes, suffixes and the shape of its writing."""

from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from typing import Any

import numpy as np

from numbarnn.checks import brief, check_flag, to_list

# Of prefixes and suffixes: each length is a feature, and as long a row of tokens for every word.
MOST_LETTERS = 1000


@dataclass(frozen=True)
class WordFeatures:
    """Features of a word that a model sees; each is a token, and `numbarnn.EmbeddingBag` adds up their vectors.

    ========  ============================================  =======================
    feature   of "Unhappier"                                 option
    ========  ============================================  =======================
    word      Unhappier                                      always
    lower     unhappier                                      ``lower=True``
    prefix    u, un, unh (of the word in lower case)         ``prefix=3``
    suffix    r, er, ier (of the word in lower case)         ``suffix=3``
    shape     Xx: capitals X, small letters x, digits 9,     ``shape=True``
              other signs as they are; repetitions once
    ========  ============================================  =======================

    An unknown feature, such as a new word itself, adds nothing; the other features of the word still do.

    Parameters
    ----------
    prefix, suffix : int
        Largest length of prefixes and suffixes.
    shape, lower : bool
    min_count : int
        Features with fewer occurrences in training are unknown. With 2 or more, rare words teach a model how to treat new ones.

    Raises
    ------
    ValueError
        If an option is out of range.
    """

    prefix: int = 0
    suffix: int = 0
    shape: bool = False
    lower: bool = False
    min_count: int = 1

    def __post_init__(self):
        for name, least in (("prefix", 0), ("suffix", 0), ("min_count", 1)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < least:
                raise ValueError(f"WordFeatures: {name} must be an integer >= {least}, got {brief(value)}")
            if value > MOST_LETTERS and name != "min_count":
                raise ValueError(f"WordFeatures: {name} must be at most {MOST_LETTERS}, got {brief(value)}")
        for name in ("shape", "lower"):
            check_flag("WordFeatures", name, getattr(self, name))

    @property
    def bag(self) -> int:
        """Number of features of a word."""
        return 1 + self.prefix + self.suffix + bool(self.shape) + bool(self.lower)

    def of(self, word: str) -> tuple[Any, ...]:
        """Return the features of a word.

        Parameters
        ----------
        word : str

        Returns
        -------
        tuple of (int, str) or None
            Each feature with its index among the `bag` of them; None where the word is too short for one.

        Raises
        ------
        TypeError
            If `word` is not a str.
        """
        if not isinstance(word, str):
            raise TypeError(f"word must be a str, got {brief(word)}")
        low = word.lower()
        found = [word]
        found += [low] if self.lower else []
        found += [low[:n] if len(low) >= n else None for n in range(1, self.prefix + 1)]
        found += [low[-n:] if len(low) >= n else None for n in range(1, self.suffix + 1)]
        found += [word_shape(word)] if self.shape else []
        return tuple(None if feature is None else (index, feature) for index, feature in enumerate(found))

    def learn(self, words: Any) -> "WordTable":
        """Return the table of the features that are frequent enough.

        Parameters
        ----------
        words : iterable of str
            Words of training, with repetitions.

        Returns
        -------
        WordTable

        Raises
        ------
        ValueError
            If no feature occurs `min_count` times.
        """
        counts = Counter()
        words = to_list(words, "words", "words")
        for index, word in enumerate(words):
            if not isinstance(word, str):
                raise TypeError(f"words[{index}] must be a str, got {brief(word)}")
        for word, count in Counter(words).items():
            for feature in self.of(word):
                counts[feature] += count
        counts.pop(None, None)
        known = sorted(feature for feature, count in counts.items() if count >= self.min_count)
        if not known:
            raise ValueError(f"words have no feature that occurs {self.min_count} times; lower min_count")
        return WordTable(self, tuple(known))


def word_shape(word: str) -> str:
    """Return how a word is written: "McDonald-97" is "XxXx-9"."""
    kinds = ("X" if c.isupper() else "x" if c.isalpha() else "9" if c.isdigit() else c for c in word)
    return "".join(kind for kind, _ in groupby(kinds))


@dataclass(frozen=True)
class WordTable:
    """The features that a model knows; a feature's token is its index."""

    features: WordFeatures
    known: tuple

    def __len__(self) -> int:
        return len(self.known)

    @cached_property
    def _tokens(self):
        return {None: -1, **{feature: token for token, feature in enumerate(self.known)}}

    def encode(self, words) -> np.ndarray:
        """Return the tokens of words, (words, bag) int32, -1 for unknown features."""
        words = list(words)
        rows = {word: [self._tokens.get(feature, -1) for feature in self.features.of(word)] for word in set(words)}
        return np.array([rows[word] for word in words], np.int32).reshape(-1, self.features.bag)
