"""Data preparation: vocabularies, scaling, windows of series, readers, and sources of batches."""

from numbarnn.core.axes import from_channels_first
from numbarnn.core.ragged import Ragged
from numbarnn.data.batches import ArraySource, Batch, TokenStream
from numbarnn.data.calendar import calendar_features
from numbarnn.data.differences import Differences
from numbarnn.data.labelled_files import read_conll, read_ts
from numbarnn.data.parquet import ParquetSource
from numbarnn.data.prefetch import Prefetch
from numbarnn.data.scaling import SequenceScaler
from numbarnn.data.text import python_reference
from numbarnn.data.vocabularies import ByteVocabulary, CharVocabulary
from numbarnn.data.windowing import make_windows
from numbarnn.data.windows import Windows
from numbarnn.data.word_vocabulary import WordVocabulary, split_words
from numbarnn.data.words import WordFeatures
from numbarnn.words import module_attributes

__all__ = [
    "ArraySource",
    "Batch",
    "ByteVocabulary",
    "CharVocabulary",
    "Differences",
    "ParquetSource",
    "Prefetch",
    "Ragged",
    "SequenceScaler",
    "TokenStream",
    "Windows",
    "WordFeatures",
    "WordVocabulary",
    "calendar_features",
    "from_channels_first",
    "make_windows",
    "python_reference",
    "read_conll",
    "read_ts",
    "split_words",
]

__getattr__ = module_attributes(__name__, __all__)
