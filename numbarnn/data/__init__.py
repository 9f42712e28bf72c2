"""Data on its way to a model: vocabularies and batches."""

from numbarnn.data.batches import ArraySource, Batch, TokenStream
from numbarnn.data.text import CharVocabulary, python_reference

__all__ = ["ArraySource", "Batch", "CharVocabulary", "TokenStream", "python_reference"]
