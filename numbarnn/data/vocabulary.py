"""The base of the vocabularies: texts as integer tokens, and units that are not known."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from numbarnn.checks import brief, to_array
from numbarnn.errors import ShapeError, TokenError


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
