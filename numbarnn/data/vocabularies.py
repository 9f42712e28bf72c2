"""Vocabularies: the characters, bytes or words of a language model as integer tokens.

A vocabulary is an immutable record. All have the same methods; `VOCABULARIES` maps the name of a unit to its class.
"""

import codecs
import re
import unicodedata
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from numbarnn.checks import brief, check_integer, to_array, to_list
from numbarnn.errors import ShapeError, TokenError

UNKNOWN = "<unk>"


@dataclass(frozen=True)
class Vocabulary:
    """Base of the vocabularies.

    Attributes
    ----------
    unit, units : str
        Name of the unit of a token, singular and plural.
    replacement : str
        Treatment of unknown units in training and scoring, as the argument `unknown` of `encode`.
    unknown : tuple of int
        Tokens that stand for unknown units.
    start : tuple of int
        Tokens that precede a generated text without a prime.
    """

    unit: ClassVar[str]
    units: ClassVar[str]
    replacement: ClassVar[str] = "error"
    unknown: ClassVar[tuple[int, ...]] = ()
    start = ()

    _advice: ClassVar[str] = ""
    _describe = staticmethod(repr)

    def __len__(self) -> int:
        raise NotImplementedError

    def encode(self, text: Any, unknown: str = "error") -> np.ndarray:
        """Return the tokens of a text as int32.

        Parameters
        ----------
        text : str
            A vocabulary of bytes also takes bytes.
        unknown : str
            Treatment of units outside the vocabulary: "error", "skip", or a unit of the vocabulary that replaces
            them; for words usually "<unk>".

        Raises
        ------
        TokenError
            If there are such units and `unknown` is "error", naming them, their number and the first position.
        ValueError
            If `unknown` is none of the three.
        """
        return self.measure(text, unknown)[0]

    def measure(self, text: Any, unknown: str = "error") -> tuple[np.ndarray, np.ndarray]:
        """Return the tokens of a text, and the number of characters of each."""
        check_text(unknown, "unknown")
        tokens, lengths = self._find(text)
        outside = tokens < 0
        if not outside.any():
            return tokens, lengths
        if unknown == "skip":
            return tokens[~outside], lengths[~outside]
        if unknown != "error" and unknown in self:
            tokens[outside] = self._substitute(unknown, tokens[outside])
            return tokens, lengths
        if unknown != "error":
            raise ValueError(
                f"unknown must be 'error', 'skip' or a {self.unit} of the vocabulary, got {brief(unknown)}"
            )
        indices = np.flatnonzero(outside)
        ends = np.cumsum(lengths)
        names = sorted({text[ends[i] - lengths[i] : ends[i]] for i in indices})
        shown = ", ".join(map(self._describe, names[:5])) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
        kind = self.units if len(indices) > 1 else self.unit
        raise TokenError(
            f"text has {len(indices)} {kind} outside the model's vocabulary of {len(self)}: {shown}; the first at "
            f"position {ends[indices[0]] - lengths[indices[0]]}. {self._advice}"
        )

    def decode(self, tokens: Any) -> str:
        """Return the text of a sequence of tokens."""
        raise NotImplementedError

    def decoder(self) -> Callable[..., str]:
        """Return a function ``decode(tokens, final=False)`` for a text that comes in pieces."""
        return lambda tokens, final=False: self.decode(tokens)

    def description(self) -> Any:
        """Return what a file stores of the vocabulary, as JSON values."""
        raise NotImplementedError

    @classmethod
    def from_description(cls, description: Any) -> "Vocabulary":
        """Return the vocabulary of a `description`."""
        raise NotImplementedError

    def _find(self, text):
        """Return the tokens of a text, negative where unknown, and their lengths in characters."""
        raise NotImplementedError

    def _substitute(self, unit, negative):
        """Return the tokens that replace negative tokens where `unit` is to replace unknown units."""
        raise NotImplementedError

    def _check(self, tokens):
        tokens = to_array(tokens, "tokens")
        if tokens.ndim != 1:
            raise ShapeError(f"tokens must have one axis, got shape {tokens.shape}")
        if tokens.size == 0:
            return tokens.astype(np.int64)
        if tokens.dtype.kind not in "iu":
            raise TypeError(f"tokens must be integers, got dtype {tokens.dtype}")
        if not 0 <= tokens.min() <= tokens.max() < len(self):
            raise TokenError(f"tokens must lie in 0 to {len(self) - 1}, got {tokens.min()} to {tokens.max()}")
        return tokens.astype(np.int64, copy=False)


def check_text(text, name: str = "text") -> str:
    """Return a text; raise TypeError unless it is a str."""
    if not isinstance(text, str):
        advice = "; decode bytes, or use unit='byte'" if isinstance(text, bytes) else ""
        raise TypeError(f"{name} must be a str, got {brief(text)}{advice}")
    return text


# Characters


def _codes(text: str) -> np.ndarray:
    """Return the code points of a string, lone surrogates included."""
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.dtype("<u4"))


@dataclass(frozen=True)
class CharVocabulary(Vocabulary):
    """The characters a model knows, in order of their code points; a character's token is its index.

    Parameters
    ----------
    characters : str or iterable of str
        Single characters, in any order, repetitions allowed. The attribute is a str, in order.

    Raises
    ------
    ValueError
        If there are no characters.

    Examples
    --------
    >>> vocabulary = CharVocabulary("banana")
    >>> vocabulary.characters
    'abn'
    >>> vocabulary.encode("nab").tolist()
    [2, 0, 1]
    """

    characters: str

    unit = "character"
    units = "characters"
    _advice = "Pass unknown='skip' to leave them out, or unknown=<character> to replace them"

    def __post_init__(self):
        codes = np.unique(_codes(check_text(self.characters, "characters")))
        if codes.size == 0:
            raise ValueError("characters must be at least one; a vocabulary of an empty text has none")
        text = codes.astype("<u4").tobytes().decode("utf-32-le", "surrogatepass")
        object.__setattr__(self, "characters", text)

    @classmethod
    def of(cls, text: str) -> "CharVocabulary":
        """Return the vocabulary of a text.

        Parameters
        ----------
        text : str

        Returns
        -------
        CharVocabulary

        Raises
        ------
        TypeError, ValueError
            If the text is not a str, or is empty.
        """
        return cls(check_text(text))

    def __len__(self) -> int:
        return len(self.characters)

    def __contains__(self, character: str) -> bool:
        return len(character) == 1 and character in self.characters

    def decode(self, tokens: Any) -> str:
        codes = self._known[self._check(tokens)]
        return codes.astype("<u4").tobytes().decode("utf-32-le", "surrogatepass")

    def description(self) -> list[int]:
        return [ord(character) for character in self.characters]

    @classmethod
    def from_description(cls, description: Any) -> "CharVocabulary":
        return cls("".join(map(chr, description)))

    @cached_property
    def _known(self):
        return _codes(self.characters)

    def _find(self, text):
        codes = _codes(check_text(text))
        tokens = np.searchsorted(self._known, codes).astype(np.int32)
        np.minimum(tokens, len(self) - 1, out=tokens)
        tokens[self._known[tokens] != codes] = -1
        return tokens, np.ones(len(tokens), np.int64)

    def _substitute(self, unit, negative):
        return self.characters.index(unit)

    def _describe(self, character):
        return f"{character!r} (U+{ord(character):04X} {unicodedata.name(character, 'unnamed')})"


# Bytes


@dataclass(frozen=True)
class ByteVocabulary(Vocabulary):
    """The 256 bytes: any file and any language, without unknown units. Text is UTF-8.

    Generated bytes may not be valid UTF-8: as everywhere in Python under ``errors="replace"``, invalid bytes are decoded
    as U+FFFD.

    Examples
    --------
    >>> ByteVocabulary().encode("é").tolist()
    [195, 169]
    """

    unit = "byte"
    units = "bytes"
    start = (10,)  # a line break

    @classmethod
    def of(cls, text: Any) -> "ByteVocabulary":
        """Return the vocabulary, which does not depend on the text.

        Parameters
        ----------
        text : str or bytes

        Returns
        -------
        ByteVocabulary
        """
        return cls()

    def __len__(self) -> int:
        return 256

    def __contains__(self, byte) -> bool:
        return isinstance(byte, bytes) and len(byte) == 1

    def decode(self, tokens: Any) -> str:
        return self.decoder()(tokens, final=True)

    def decoder(self) -> Callable[..., str]:
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        return lambda tokens, final=False: decoder.decode(self._check(tokens).astype(np.uint8).tobytes(), final)

    def description(self) -> None:
        return None

    @classmethod
    def from_description(cls, description: Any) -> "ByteVocabulary":
        return cls()

    def _find(self, text):
        if isinstance(text, str):
            try:
                text = text.encode()
            except UnicodeEncodeError as error:
                raise TokenError(
                    f"the text has a lone surrogate, {text[error.start]!r} at position {error.start}, which UTF-8 does not have; "
                    "pass bytes, such as text.encode(errors='surrogatepass')"
                ) from None
        elif not isinstance(text, (bytes, bytearray, memoryview)):
            raise TypeError(f"text must be a str or bytes, got {type(text).__name__}")
        tokens = np.frombuffer(text, np.uint8).astype(np.int32)
        # A character counts at its first byte; its other bytes are 10xxxxxx.
        return tokens, ((tokens & 0xC0) != 0x80).astype(np.int64)


# Words

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


VOCABULARIES = {kind.unit: kind for kind in (CharVocabulary, ByteVocabulary, WordVocabulary)}
