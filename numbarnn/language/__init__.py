"""Language models by character, byte or word."""

from numbarnn.language.model import CELLS, CharLM, LanguageModel, Score

__all__ = ["CELLS", "CharLM", "LanguageModel", "Score"]
