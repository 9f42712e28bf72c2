"""Strings and integer tokens as the steps of samples, and the vocabularies of files."""

import numpy as np

from numbarnn.checks import check_integer, check_tokens
from numbarnn.core.arrays import as_array
from numbarnn.core.ragged import Ragged
from numbarnn.data.words import WordFeatures, WordTable


def read_words(X, empty: bool) -> tuple[list[str], list[int]]:
    """Return the words of all samples in one list, and the number of each sample's, which may be zero if `empty`."""
    words, lengths = [], []
    for index, sample in enumerate(X):
        sample = list(sample)
        wrong = next((word for word in sample if not isinstance(word, str)), None)
        if wrong is not None or not (sample or empty):
            got = "nothing" if not sample else repr(wrong)
            raise ValueError(f"X[{index}] must be strings{'' if empty else ', at least one'}, got {got}")
        words += sample
        lengths.append(len(sample))
    if not lengths:
        raise ValueError("Found array with 0 sample(s) while a minimum of 1 is required.")
    return words, lengths


def read_tokens(X, size: int, empty: bool) -> Ragged:
    """Return integer tokens by step, of samples that may have none if `empty`."""
    parts = []
    for index, sample in enumerate(X):
        sample = as_array(sample, f"X[{index}]")
        if empty and sample.shape == (0,):
            sample = sample.astype(np.int32)
        if sample.ndim != 1 or sample.dtype.kind not in "iu" or not (sample.size or empty):
            least = "" if empty else ", at least one"
            raise ValueError(
                f"X[{index}] must be integer tokens of shape (time steps,){least}, got {sample.dtype} {sample.shape}"
            )
        check_tokens(sample, size, f"X[{index}]")
        parts.append(sample)
    if not parts:
        raise ValueError("Found array with 0 sample(s) while a minimum of 1 is required.")
    return Ragged.of(np.concatenate(parts, dtype=np.int32, casting="unsafe"), [len(part) for part in parts])


def word_table(features, known) -> WordTable:
    """Return the table of a file; raise unless it is one."""
    features = WordFeatures(**features)
    found = tuple((check_integer(index, "index of a feature", 0), feature) for index, feature in known)
    if len(set(found)) != len(found) or not all(index < features.bag and type(word) is str for index, word in found):
        raise ValueError("features of words that are repeated, unknown or not strings")
    return WordTable(features, found)
