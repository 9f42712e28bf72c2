"""Language models of bytes and words; what they share with models of characters is tested in test_charlm.py."""

import math

import numpy as np
import pytest
from conftest import assert_same_bits
from hypothesis import given
from hypothesis import strategies as st

import numbarnn
from numbarnn import LSTM, Dense, LanguageModel, Model, OneHot
from numbarnn.data import ByteVocabulary, CharVocabulary, WordVocabulary, split_words
from numbarnn.data.vocabularies import VOCABULARIES
from numbarnn.errors import ModelFileError, ShapeError, TokenError

TEXT = "The cat sat on the mat. The dog, who can't sit, stood by the log!\n" * 12
NAIVE = "Ein Käse für 3,50 €, naïve 😀.\n" * 20
UNITS = tuple(VOCABULARIES)


def make(unit="word", text=TEXT, epochs=3, **options):
    lm = LanguageModel(
        "gru", **{"hidden_size": 16, "num_layers": 1, "seed": 3, "init": "keras", "unit": unit, **options}
    )
    optimizer = numbarnn.optim.Adam(learning_rate=0.02)
    return lm.fit(text, epochs, batch_size=4, seq_length=10, optimizer=optimizer, verbose=0)


@pytest.fixture(scope="module")
def lm():
    """A model of words that knows the ten most frequent."""
    return make(max_vocabulary=10)


@pytest.fixture(scope="module")
def of_bytes():
    return make("byte", NAIVE, epochs=8)


def probabilities(lm, tokens):
    """What the model says of the token after some, by `Model.predict_proba`."""
    return lm.model.predict_proba(np.asarray(tokens)[None])[0, -1].astype(float)


# Words


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("The cat  sat.\n", ["The", " cat", " ", " sat", ".", "\n"]),
        ("don't l\u2019été 'tis", ["don't", " l\u2019été", " '", "tis"]),
        ("x1 = __init__(3.14, 1,000)", ["x1", " =", " __init__", "(", "3.14", ",", " 1,000", ")"]),
        ("\n\n    def f:\t# ok \n", ["\n", "\n", "   ", " def", " f", ":", "\t", "#", " ok", " ", "\n"]),
        ("cafe\u0301s हिन्दी", ["cafe\u0301s", " हिन्दी"]),
        ("a\r\nb\u2028c", ["a", "\r", "\n", "b", "\u2028", "c"]),
        ("3rd ½ well-known", ["3", "rd", " ½", " well", "-", "known"]),
        ("", []),
    ],
)
def test_pieces(text, pieces):
    assert split_words(text) == pieces


@given(st.text(alphabet=st.one_of(st.characters(), st.sampled_from(" \n\t.,'_1a\u0301")), max_size=40))
def test_pieces_are_the_text(text):
    pieces = split_words(text)
    assert "".join(pieces) == text
    # A piece alone is cut as it was in the text, so a file's vocabulary can be checked.
    assert all(split_words(piece) == [piece] for piece in pieces)
    if pieces:
        vocabulary = WordVocabulary.of(text)
        assert vocabulary.decode(vocabulary.encode(text)) == text


def test_most_frequent_words():
    text = "b b b a a c c d"  # "b" stands at the beginning, without its space
    assert WordVocabulary.of(text).words == (" a", " b", " c", " d", "b")
    assert WordVocabulary.of(text, max_vocabulary=2).words == (" a", " b")
    assert WordVocabulary.of(text, min_count=2).words == (" a", " b", " c")
    assert WordVocabulary.of(text, 5) == WordVocabulary.of("b b c b a c a d", 5)


def test_unknown_words():
    vocabulary = WordVocabulary((" cat", "The", "."))
    text = "The zebra cat. Zebra cat"
    tokens = vocabulary.encode(text, "<unk>")
    assert tokens.tolist() == [3, 1, 2, 4, 1, 2]
    assert tokens.dtype == np.int32
    assert vocabulary.decode(tokens) == "The <unk> cat. <unk> cat"
    assert vocabulary.encode("zebra", "<unk>").tolist() == [0]
    assert vocabulary.decode(vocabulary.encode(text, "skip")) == "The cat. cat"
    assert vocabulary.decode(vocabulary.encode(text, "The")) == "TheThe cat.The cat"
    message = (
        r"3 words outside the model's vocabulary of 5: ' Zebra', ' zebra', 'cat' \(' cat' is known\); the first at "
        r"position 3\. Pass unknown='<unk>'"
    )
    with pytest.raises(TokenError, match=message):
        vocabulary.encode("The zebra Zebra.cat")
    with pytest.raises(ValueError, match="unknown must be 'error', 'skip' or a word"):
        vocabulary.encode(text, "lion")
    # The text's own "<unk>" is three pieces, never the token.
    assert len(vocabulary.encode("<unk>", "<unk>")) == 3


def test_a_word_called_error():
    vocabulary = WordVocabulary(("error", " x"))
    with pytest.raises(TokenError, match="outside"):
        vocabulary.encode("y", "error")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: WordVocabulary(()), "words must be at least one"),
        (lambda: WordVocabulary.of("a b", min_count=2), "min_count is too high"),
        (lambda: WordVocabulary(("a", "a")), "differ"),
        (lambda: WordVocabulary(("a b",)), "a piece as split_words makes them, got 'a b'"),
        (lambda: WordVocabulary(("",)), "a piece"),
        (lambda: WordVocabulary(("<unk>",)), "a piece"),
        (lambda: WordVocabulary.of("a", max_vocabulary=0), "max_vocabulary must be an integer >= 1"),
        (lambda: WordVocabulary.of("a", min_count=0), "min_count must be an integer >= 1"),
        (lambda: WordVocabulary(("a",)).decode([3]), "tokens must lie in 0 to 2, got 3 to 3"),
        (lambda: CharVocabulary("ab").decode([-1]), "tokens must lie in 0 to 1"),
        (lambda: ByteVocabulary().decode([256]), "tokens must lie in 0 to 255"),
        (lambda: ByteVocabulary().encode("\ud800"), r"has a lone surrogate, '\\ud800' at position 0"),
    ],
    ids=range(12),
)
def test_bad_vocabularies(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_vocabularies_are_immutable_values():
    for vocabulary in (CharVocabulary("abc"), ByteVocabulary(), WordVocabulary.of(TEXT)):
        again = type(vocabulary).from_description(vocabulary.description())
        assert again == vocabulary
        assert hash(again) == hash(vocabulary)
        with pytest.raises(AttributeError):
            vocabulary.characters = "x"


# Bytes


def test_bytes_are_any_file():
    vocabulary = ByteVocabulary()
    whole = bytes(range(256))
    assert vocabulary.encode(whole).tolist() == list(range(256))
    assert vocabulary.decode(vocabulary.encode(NAIVE)) == NAIVE
    assert vocabulary.decode(vocabulary.encode(b"a\xff\xe2\x82")) == "a\ufffd\ufffd"
    with pytest.raises(TypeError, match="str or bytes, got list"):
        vocabulary.encode([1, 2])


def test_bytes_in_pieces_give_whole_characters():
    decode = ByteVocabulary().decoder()
    assert [decode([byte]) for byte in "€a😀".encode()] == ["", "", "€", "a", "", "", "", "😀"]
    assert decode([0xE2]) == ""
    assert decode((), True) == "\ufffd"


# Models


@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize("embedding_size", [None, 5])
def test_greedy_sample_follows_the_forward_pass(unit, embedding_size):
    """The compiled loop takes the likeliest token that `forward` gives for all that came before, unknown words left out."""
    model = make(unit, epochs=2, embedding_size=embedding_size, num_layers=2)
    assert model.model.names[0] == ("onehot" if embedding_size is None else "embedding")
    vocabulary = model.vocabulary
    context = list(vocabulary.encode("The cat"))
    expected = len(context)
    for _ in range(15):
        p = probabilities(model, context)
        p[list(vocabulary.unknown)] = 0
        context.append(int(p.argmax()))
    assert model.sample(15, prime="The cat", temperature=0) == vocabulary.decode(context[expected:])


@pytest.mark.parametrize("unit", UNITS)
def test_every_unit_learns(unit):
    model = make(unit, epochs=12)
    assert model.history[-1]["val_loss"] < 0.5 * math.log(len(model.vocabulary))


@pytest.mark.parametrize("options", [{}, {"top_k": 6}, {"top_p": 0.9}, {"top_k": 500}], ids=str)
def test_unknown_words_are_not_written(options):
    model = make(max_vocabulary=4, epochs=2)
    tokens = model.vocabulary.encode("The", "<unk>")
    p = probabilities(model, tokens)
    assert p[:2].sum() > 0.2  # it has learned where they occur
    assert "<unk>" not in model.sample(300, prime="The", seed=1, unknown="<unk>", **options)
    allowed = model.sample(300, prime="The", seed=1, unknown="<unk>", allow_unknown=True, **options)
    assert allowed.count("<unk>") > 30


def test_without_unknown_words_the_rest_keeps_its_odds():
    model = make(max_vocabulary=4, epochs=2)
    p = probabilities(model, model.vocabulary.encode(" the"))
    assert p[:2].sum() > 0.1
    p[:2] = 0
    p /= p.sum()
    written = [model.sample(1, prime=" the", seed=seed) for seed in range(2000)]
    found = np.array([0, 0, *(written.count(word) / 2000 for word in model.vocabulary.words)])
    assert (np.abs(found - p) <= 5 * np.sqrt(p * (1 - p) / 2000) + 1e-9).all()


def test_words_begin_after_a_line_break(lm):
    assert "\n" in lm.vocabulary
    assert lm.sample(20, seed=1) == lm.sample(20, prime="\n", seed=1)
    without = make(text=TEXT.replace("\n", " "))
    firsts = {without.sample(1, seed=seed) for seed in range(300)}
    assert firsts == set(without.vocabulary.words)


@pytest.mark.parametrize("unit", UNITS)
def test_stream_is_the_sample(unit):
    model = make(unit, NAIVE, epochs=4)
    for options in ({"seed": 5}, {"seed": 6, "temperature": 2.0, "prime": "\n"}):
        whole = model.sample(70, **options)
        pieces = list(model.stream(70, **options))
        assert "".join(pieces) == whole
        assert all(pieces)
    endless = model.stream(seed=5)
    assert model.sample(300, seed=5).startswith("".join(next(endless) for _ in range(30)))


@pytest.mark.parametrize("stop", [".", " the", "log", "og!\n"])
def test_stop_of_words(stop):
    model = make(epochs=12)
    whole = model.sample(100, prime="The", seed=4)
    assert stop in whole
    pieces, written = split_words(whole), ""
    while stop not in written:
        written += pieces.pop(0)
    assert model.sample(100, prime="The", seed=4, stop=stop) == written
    assert "".join(model.stream(100, prime="The", seed=4, stop=stop)) == written


def test_stop_of_bytes(of_bytes):
    whole = of_bytes.sample(200, seed=4)
    stop = next(c for c in whole if ord(c) > 127 and c != "\ufffd")
    written = of_bytes.sample(200, seed=4, stop=stop)
    assert written == whole[: whole.index(stop) + 1] == "".join(of_bytes.stream(200, seed=4, stop=stop))


def test_score_of_words_is_the_mean_negative_log_likelihood(lm):
    text = TEXT[:100]
    tokens = lm.vocabulary.encode(text, "<unk>")
    expected = -np.mean([np.log(probabilities(lm, tokens[:i])[tokens[i]]) for i in range(1, len(tokens))])
    score = lm.score(text)
    assert (score.unit, score.tokens, score.characters) == ("word", len(tokens) - 1, 97)
    assert score.nats == pytest.approx(expected, rel=1e-5)
    assert score.perplexity == pytest.approx(math.exp(expected), rel=1e-5)
    assert score.nats_per_character == pytest.approx(expected * score.tokens / 97, rel=1e-5)
    assert score.bits_per_character == pytest.approx(score.nats_per_character / math.log(2), rel=1e-9)
    assert score.unknown == np.isin(tokens[1:], (0, 1)).sum() > 3
    assert score.unknown_share == score.unknown / score.tokens
    known = lm.score(text, unknown="skip")
    assert (known.unknown, known.tokens) == (0, score.tokens - score.unknown)
    assert known.characters == len(lm.vocabulary.decode(lm.vocabulary.encode(text, "skip"))) - 3
    with pytest.raises(TokenError, match="outside"):
        lm.score(text, unknown="error")


def test_score_of_bytes_counts_characters(of_bytes):
    score = of_bytes.score("Käse €!")
    assert (score.unit, score.tokens, score.characters) == ("byte", 9, 6)
    assert score.nats_per_character == pytest.approx(score.nats * 1.5)
    assert math.isnan(of_bytes.score(b"\x80\x80").nats_per_character)
    score = make("character", epochs=1).score("The cat")
    assert (score.unit, score.tokens, score.characters, score.unknown_share) == ("character", 6, 6, 0)


def test_parts_that_were_replaced_are_checked_before_sampling():
    """The kernel checks nothing: a longer vocabulary read past the weights."""
    lm = numbarnn.CharLM("rnn", 6, 1).fit("abc " * 20, 1, verbose=0)
    text = lm.sample(9, seed=1)
    other = numbarnn.CharLM("rnn", 6, 1).fit("abcdefgh " * 20, 1, verbose=0)
    for name, value in (("vocabulary", other.vocabulary), ("model", other.model)):
        before = getattr(lm, name)
        setattr(lm, name, value)
        for call in (lm.sample, lambda count: next(lm.stream()), lambda count: lm.sample_many(2, count)):
            with pytest.raises(
                ValueError, match=r"the model has [49] input and [49] output tokens, but the vocabulary has [49]"
            ):
                call(9)
        setattr(lm, name, before)
    lm.model = Model([OneHot(4), LSTM(6), Dense(4)])
    with pytest.raises(ValueError, match="the model must have OneHot or Embedding, RNN and Dense"):
        lm.sample(9)
    lm.model = (
        numbarnn.CharLM("rnn", 6, 1, seed=5).fit("abc " * 20, 1, verbose=0).model
    )  # as often changed: same version
    assert lm.sample(9, seed=1, temperature=1e-3) != text


def test_vocabulary_of_words_is_learned_without_the_held_out_part():
    text = "a b c\n" * 30 + "x y z\n" * 10
    model = LanguageModel("rnn", 4, 1, unit="word").fit(text, 1, batch_size=2, validation=0.25, verbose=0)
    assert set(model.vocabulary.words) == {"a", " b", " c", "\n"}
    before = model.vocabulary
    model.fit("a x b\n" * 20, 1, batch_size=2, verbose=0)  # another text: its other words are unknown ones
    assert model.vocabulary is before


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: LanguageModel(unit="syllable"), ValueError, "unit must be 'character', 'byte' or 'word'"),
        (lambda: LanguageModel(max_vocabulary=10), ValueError, "go with unit='word'"),
        (lambda: LanguageModel(unit="byte", min_count=2), ValueError, "go with unit='word'"),
        (lambda: LanguageModel(unit="word", max_vocabulary=0), ValueError, "max_vocabulary must be an integer >= 1"),
        (lambda: LanguageModel(unit="word", min_count=0), ValueError, "min_count must be an integer >= 1"),
        (lambda: LanguageModel(embedding_size=-1), ValueError, "embedding_size must be an integer >= 1"),
        (lambda: LanguageModel(unit="word").fit(""), ValueError, "words must be at least one"),
        (lambda: LanguageModel(unit="word").fit(b"a b"), TypeError, "got b'a b'; decode bytes"),
        (lambda: LanguageModel(unit="word").fit("word"), ShapeError, "text has 1 words"),
        (lambda: LanguageModel(unit="byte").fit(""), ShapeError, "text has 0 bytes"),
        (lambda: LanguageModel(unit="word").sample(), RuntimeError, "this LanguageModel is not fitted"),
    ],
    ids=range(11),
)
def test_bad_calls(call, error, message):
    with pytest.raises(error, match=message):
        call()


# Files


@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize("embedding_size", [None, 5])
def test_round_trip(tmp_path, unit, embedding_size):
    options = {"max_vocabulary": 9, "min_count": 2} if unit == "word" else {}
    model = make(unit, epochs=1, embedding_size=embedding_size, **options)
    model.save(tmp_path / "model")
    again = numbarnn.load(tmp_path / "model")
    assert type(again) is LanguageModel
    names = ("unit", "vocabulary", "cell", "seed", "embedding_size", "max_vocabulary", "min_count")
    assert all(getattr(again, name) == getattr(model, name) for name in names)
    assert_same_bits(again.model.params.flat, model.model.params.flat)
    assert again.sample(50, seed=2) == model.sample(50, seed=2)
    again.fit(TEXT, 1, batch_size=4, seq_length=10, verbose=0)
    with pytest.raises(ModelFileError, match="contains a language_model"):
        numbarnn.CharLM.load(tmp_path / "model")


@pytest.mark.parametrize(
    "layers",
    [
        [numbarnn.OneHot(17), numbarnn.GRU(4, bidirectional=True), numbarnn.Dense(17)],
        [numbarnn.OneHot(17), numbarnn.GRU(4, return_sequences=False), numbarnn.Dense(17)],
        [numbarnn.OneHot(17), numbarnn.GRU(4), numbarnn.Dense(18)],
        [numbarnn.OneHot(18), numbarnn.GRU(4), numbarnn.Dense(17)],
        [numbarnn.OneHot(17), numbarnn.LSTM(4), numbarnn.Dense(17)],
        [numbarnn.OneHot(17), numbarnn.GRU(4), numbarnn.Dense(17), numbarnn.Dense(17)],
        [numbarnn.OneHot(17), numbarnn.GRU(4)],
    ],
    ids=range(7),
)
def test_files_of_other_nets_are_refused(layers):
    """The sampling kernel checks nothing."""
    lm = make("word", epochs=0, max_vocabulary=15)
    about = {"cell": "gru", "vocabulary": lm.vocabulary.description(), "seed": 0, **lm._about()}
    model = numbarnn.Model(layers)
    with pytest.raises(ModelFileError, match="the file is not that of a language model: the model"):
        LanguageModel.from_description(about | {"model": model.description()}, dict(model.params))
    good = about | {"model": lm.model.description()}
    assert LanguageModel.from_description(good, dict(lm.model.params)).vocabulary == lm.vocabulary
    with pytest.raises(ModelFileError, match="cannot be understood"):
        LanguageModel.from_description({**good, "unit": "syllable"}, dict(lm.model.params))
