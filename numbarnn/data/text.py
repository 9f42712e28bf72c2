"""Characters as tokens."""

import unicodedata

import numpy as np

from numbarnn.errors import TokenError


def _codes(text: str) -> np.ndarray:
    """Return the code points of a string, lone surrogates included."""
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.dtype("<u4"))


def describe(character: str) -> str:
    """Return a character as a reader can recognise it: quoted, with code point and name."""
    return f"{character!r} (U+{ord(character):04X} {unicodedata.name(character, 'unnamed')})"


class CharVocabulary:
    """The characters a model knows, in order of their code points; a character is its place.

    Parameters
    ----------
    characters : iterable of str
        Single characters, in any order, repetitions allowed.

    Attributes
    ----------
    characters : str
        The vocabulary in order.

    Raises
    ------
    ValueError
        If there are no characters.
    """

    def __init__(self, characters):
        codes = np.unique(_codes("".join(characters)))
        if codes.size == 0:
            raise ValueError("a vocabulary needs at least one character; the text is empty")
        self._codes = codes
        self.characters = codes.astype("<u4").tobytes().decode("utf-32-le", "surrogatepass")

    def __len__(self) -> int:
        return len(self._codes)

    def __contains__(self, character: str) -> bool:
        return len(character) == 1 and character in self.characters

    def encode(self, text: str, unknown: str = "error") -> np.ndarray:
        """Return the tokens of a text as int32.

        Parameters
        ----------
        text : str
        unknown : str
            What to do with characters outside the vocabulary: "error", "skip", or a character of the vocabulary that
            replaces them.

        Raises
        ------
        TokenError
            If there are such characters and `unknown` is "error", naming them, their number and the first place.
        ValueError
            If `unknown` is none of the three.
        """
        if not isinstance(text, str):
            raise TypeError(f"text must be a string, got {type(text).__name__}")
        codes = _codes(text)
        tokens = np.searchsorted(self._codes, codes).astype(np.int32)
        np.minimum(tokens, len(self) - 1, out=tokens)
        known = self._codes[tokens] == codes
        if known.all():
            return tokens
        if unknown == "skip":
            return tokens[known]
        if unknown in self:
            tokens[~known] = self.characters.index(unknown)
            return tokens
        if unknown != "error":
            raise ValueError(f"unknown must be 'error', 'skip' or a character of the vocabulary, got {unknown!r}")
        first = int(np.flatnonzero(~known)[0])
        strange = sorted({text[i] for i in np.flatnonzero(~known)})
        names = ", ".join(map(describe, strange[:5])) + (f" and {len(strange) - 5} more" if len(strange) > 5 else "")
        count = int((~known).sum())
        raise TokenError(
            f"the text holds {count} character{'s' * (count > 1)} outside the model's vocabulary of {len(self)}: {names}; "
            f"the first at position {first}. Pass unknown='skip' to leave them out, or unknown=<character> to replace them"
        )

    def decode(self, tokens) -> str:
        """Return the text of a sequence of tokens."""
        codes = self._codes[np.asarray(tokens, np.int64)]
        return codes.astype("<u4").tobytes().decode("utf-32-le", "surrogatepass")


def python_reference() -> str:
    """Return a real text of about half a million characters that needs no download: Python's language reference.

    CPython carries it for ``help()``; its length and wording depend on the version of Python.

    Raises
    ------
    FileNotFoundError
        If this Python was packaged without it.
    """
    try:
        from pydoc_data.topics import topics
    except ImportError:
        raise FileNotFoundError(
            "this Python comes without pydoc_data, the text of help(); train on a text file instead: numbarnn train FILE"
        ) from None
    return "\n".join(topics[name] for name in sorted(topics))
