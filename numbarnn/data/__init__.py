"""Data on its way to a model: vocabularies and batches."""

from numbarnn.data.batches import ArraySource, Batch, TokenStream
from numbarnn.data.text import python_reference
from numbarnn.data.vocabularies import ByteVocabulary, CharVocabulary, WordVocabulary, split_words

__all__ = [
    "ArraySource",
    "Batch",
    "ByteVocabulary",
    "CharVocabulary",
    "TokenStream",
    "WordVocabulary",
    "python_reference",
    "split_words",
]
