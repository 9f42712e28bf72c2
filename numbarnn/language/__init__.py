"""Language models by character, byte or word."""

from numbarnn.language.characters import CharLM
from numbarnn.language.model import CELLS, LanguageModel
from numbarnn.language.score import Score
from numbarnn.words import module_attributes

__all__ = ["CELLS", "CharLM", "LanguageModel", "Score"]

__getattr__ = module_attributes(__name__, __all__)
