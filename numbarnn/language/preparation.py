"""Preparation of a text for training: its vocabulary, and the streams of tokens for training and validation."""

from numbarnn.checks import brief, check_real, naming
from numbarnn.data.batches import TokenStream
from numbarnn.data.vocabularies import VOCABULARIES
from numbarnn.data.vocabulary import Vocabulary
from numbarnn.data.word_vocabulary import WordVocabulary, split_words
from numbarnn.errors import ShapeError


def sources_of(lm, text, validation, batch_size, seq_length) -> tuple[Vocabulary, TokenStream, TokenStream | None]:
    """Return vocabulary, source, and source of validation or None for arguments of `LanguageModel.fit`; raise what it raises."""
    other = isinstance(validation, (str, bytes))  # a text, not a share of this one
    if not other and not 0 <= check_real(validation, "validation") < 1:
        raise ValueError(f"validation must be in [0, 1), or a text, got {brief(validation)}")
    share = 0.0 if other else validation
    vocabulary = _vocabulary_of(lm, text, share) if lm.vocabulary is None else lm.vocabulary
    tokens = vocabulary.encode(text, vocabulary.replacement)
    units = vocabulary.units
    held_out = int(len(tokens) * share)
    held_out = held_out if held_out > 1 else 0  # of a single token nothing is to be predicted
    if len(tokens) - held_out < 2:
        raise ShapeError(f"text has {len(tokens)} {units}; at least 2 are needed for training")
    training, rest = tokens[: len(tokens) - held_out], tokens[len(tokens) - held_out :]
    source = TokenStream(training, batch_size, seq_length, unit=units)
    if other:
        with naming("validation", "text"):
            rest = vocabulary.encode(validation, vocabulary.replacement)
        if len(rest) < 2:
            raise ShapeError(f"validation must have at least 2 {units}, got {len(rest)}")
    held_out_source = TokenStream(rest, batch_size, seq_length, unit=units) if len(rest) else None
    return vocabulary, source, held_out_source


def _vocabulary_of(lm, text, held_out):
    if lm.unit != "word":
        return VOCABULARIES[lm.unit].of(text)
    pieces = split_words(text)
    training = pieces[: len(pieces) - int(len(pieces) * held_out)]
    return WordVocabulary.of(training, lm.max_vocabulary, lm.min_count)
