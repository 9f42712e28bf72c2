"""Language models by character, byte or word."""

from numbarnn.language.model import CELLS, CharLM, LanguageModel, Score
from numbarnn.words import module_attributes

__all__ = ["CELLS", "CharLM", "LanguageModel", "Score"]

__getattr__ = module_attributes(__name__, __all__)
