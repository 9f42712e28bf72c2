"""Data on its way to a model: vocabularies, series, windows and batches."""

from numbarnn.data.batches import ArraySource, Batch, TokenStream
from numbarnn.data.scaling import Differences, SequenceScaler, calendar_features
from numbarnn.data.text import python_reference
from numbarnn.data.vocabularies import ByteVocabulary, CharVocabulary, WordVocabulary, split_words
from numbarnn.data.windows import Windows, make_windows

__all__ = [
    "ArraySource",
    "Batch",
    "ByteVocabulary",
    "CharVocabulary",
    "Differences",
    "SequenceScaler",
    "TokenStream",
    "Windows",
    "WordVocabulary",
    "calendar_features",
    "make_windows",
    "python_reference",
    "split_words",
]
