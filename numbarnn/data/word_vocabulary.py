"""Words as tokens: how a text is cut, and the vocabulary of the pieces."""

import re
import unicodedata
from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from numbarnn.checks import brief, check_integer, to_list
from numbarnn.data.vocabulary import Vocabulary, check_text

UNKNOWN = "<unk>"
_PIECES = r" ?(?:[^\W\d]{word}*(?:['\u2019][^\W\d]{word}*)*|\d+(?:[.,]\d+)*|[^\w\s])|\n|[^\S\n]+(?= \S)|[^\S\n]+"


def split_words(text: str) -> list[str]:
    r"""Cut a text into words, numbers, punctuation and white space; joined, the pieces are the text again.

    A piece is, with one space before it if there is one,

    * a word: a letter or underscore, then letters, digits, underscores and combining marks, and the same again after
      an apostrophe ("don't", "l'été", "__init__", "x1");
    * a number: digits, with points and commas between them ("3.14", "1,000");
    * one sign of punctuation or another symbol;

    or else one line break, or the remaining white space between pieces (an indentation, a tab). So "The cat  sat.\n" becomes
    "The", " cat", " ", " sat", ".", "\n". Case counts, and so does the space: "The" begins a line, " The" does not.
    Scripts without spaces between words (Chinese, Thai) are better read as characters.

    Parameters
    ----------
    text : str

    Returns
    -------
    list of str

    Raises
    ------
    TypeError
        If it is not a string.

    Examples
    --------
    >>> split_words("The cat  sat.")
    ['The', ' cat', ' ', ' sat', '.']
    """
    check_text(text)
    word = r"\w"
    if not text.isascii():
        # Marks are not letters to `re`: words in Hindi, or with a decomposed "é", would be split.
        marks = "".join(c for c in sorted(set(text)) if unicodedata.category(c).startswith("M"))
        word = rf"[\w{marks}]"
    return re.findall(_PIECES.replace("{word}", word), text)


@dataclass(frozen=True)
class WordVocabulary(Vocabulary):
    """The words a model knows, and two tokens for all others: "<unk>", and " <unk>" with a space before it.

    A text is cut as `split_words` says, so ``decode(encode(text)) == text`` if all its words are known; with
    ``unknown="<unk>"`` the others, and only they, are replaced.

    Parameters
    ----------
    words : iterable of str
        Pieces as `split_words` makes them. A word's token is its index plus 2.

    Raises
    ------
    ValueError
        If there are none, one is repeated, or one is not a single piece.

    Examples
    --------
    >>> vocabulary = WordVocabulary(["the", " cat", " sat"])
    >>> vocabulary.decode(vocabulary.encode("the dog sat", unknown="<unk>"))
    'the <unk> sat'
    """

    words: tuple[str, ...]

    unit = "word"
    units = "words"
    replacement = UNKNOWN
    unknown = (0, 1)
    _advice = f"Pass unknown='{UNKNOWN}' to read them as unknown, 'skip' to leave them out, or a word to replace them"

    def __post_init__(self):
        object.__setattr__(self, "words", tuple(to_list(self.words, "words", "words")))
        if not self.words:
            raise ValueError(
                "words must be at least one; a text without words has none, nor has one where min_count is too high"
            )
        for index, word in enumerate(self.words):
            if split_words(check_text(word, f"words[{index}]")) != [word]:
                raise ValueError(f"words[{index}] must be a piece as split_words makes them, got {brief(word)}")
        if len(self._tokens) != len(self.words) + 2:
            raise ValueError("words must differ from each other")

    @classmethod
    def of(cls, text: Any, max_vocabulary: int | None = None, min_count: int = 1) -> "WordVocabulary":
        """Return the vocabulary of a text.

        Parameters
        ----------
        text : str or iterable of str
            A text, or its pieces.
        max_vocabulary : int, optional
            Keep that many words, the most frequent; of equally frequent ones, those that come first in the order of their
            characters.
        min_count : int
            Keep words with at least that many occurrences.

        Returns
        -------
        WordVocabulary

        Raises
        ------
        ValueError
            If `max_vocabulary` or `min_count` is not a positive integer, or no word is left.
        """
        check_integer(1 if max_vocabulary is None else max_vocabulary, "max_vocabulary", 1)
        check_integer(min_count, "min_count", 1)
        pieces = split_words(text) if isinstance(text, str) else to_list(text, "text", "words")
        counts = Counter(check_text(piece, f"text[{index}]") for index, piece in enumerate(pieces))
        kept = sorted((word for word, n in counts.items() if n >= min_count), key=lambda word: (-counts[word], word))
        return cls(tuple(kept[:max_vocabulary]))

    @cached_property
    def _tokens(self):
        return {word: token for token, word in enumerate((UNKNOWN, f" {UNKNOWN}", *self.words))}

    @cached_property
    def _texts(self):
        return tuple(self._tokens)

    @property
    def start(self) -> tuple[int, ...]:
        """A line break, where the vocabulary has one."""
        return (self._tokens["\n"],) if "\n" in self else ()

    def __len__(self) -> int:
        return len(self.words) + 2

    def __contains__(self, word: str) -> bool:
        return word in self._tokens

    def decode(self, tokens: Any) -> str:
        return "".join([self._texts[token] for token in self._check(tokens).tolist()])

    def description(self) -> list[str]:
        return list(self.words)

    @classmethod
    def from_description(cls, description: Any) -> "WordVocabulary":
        return cls(tuple(description))

    def _find(self, text):
        pieces = split_words(text)
        tokens = [self._tokens.get(piece, -2 if piece[0] == " " else -1) for piece in pieces]
        return np.array(tokens, np.int32), np.array([len(piece) for piece in pieces], np.int64)

    def _substitute(self, unit, negative):
        return -1 - negative if unit == UNKNOWN else self._tokens[unit]

    def _describe(self, word):
        other = word[1:] if word[0] == " " else f" {word}"
        return f"{word!r} ({other!r} is known)" if other in self else repr(word)
