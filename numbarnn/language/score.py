"""Scores of language models: the information of a text under a model."""

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Score:
    """How well a model predicts a text.

    Tokens of different units carry different amounts of information, so models of different units are compared by
    `nats_per_character` or `bits_per_character`. That is fair as long as few words are unknown: "<unk>" is easier to predict than
    the word.

    Attributes
    ----------
    nats : float
        Mean negative log-likelihood of a token given all before it.
    tokens : int
        Tokens predicted: all but the first.
    characters : int
        Characters that these tokens stand for.
    unknown : int
        Tokens among them that stand for unknown words.
    unit : str
        "character", "byte" or "word".
    """

    nats: float
    tokens: int
    characters: int
    unknown: int = 0
    unit: str = "character"

    @property
    def bits(self) -> float:
        """`nats` in bits."""
        return self.nats / math.log(2.0)

    @property
    def perplexity(self) -> float:
        """exp(nats): the average number of equally likely tokens that the model chooses among."""
        return math.exp(self.nats)

    @property
    def nats_per_character(self) -> float:
        """Negative log-likelihood of all tokens divided by the number of characters; NaN where there are none."""
        return self.nats * self.tokens / self.characters if self.characters else math.nan

    @property
    def bits_per_character(self) -> float:
        """`nats_per_character` in bits."""
        return self.nats_per_character / math.log(2.0)

    @property
    def unknown_share(self) -> float:
        """Share of the tokens that stand for unknown words."""
        return self.unknown / self.tokens
