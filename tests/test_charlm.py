"""The character model: vocabulary, learning, scoring, writing, files."""

import math

import numpy as np
import pytest
from conftest import assert_same_bits

import numbarnn
from numbarnn import GRU, CharLM
from numbarnn.data import CharVocabulary
from numbarnn.errors import ShapeError, TokenError
from numbarnn.language import CELLS

TEXT = "the cat sat on the mat. the dog sat on the log.\n" * 12
UNICODE = "αβγ — naïve 😀 \U0001d11e\ud800 end. " * 20  # beyond the basic plane, and a lone surrogate


def make(cell="lstm", text=TEXT, epochs=3, **options):
    lm = CharLM(cell, **{"hidden_size": 20, "num_layers": 2, "seed": 3, "init": "keras", **options})
    optimizer = numbarnn.optim.Adam(learning_rate=0.02)
    return lm.fit(text, epochs, batch_size=4, seq_length=10, optimizer=optimizer, verbose=0)


@pytest.fixture(scope="module")
def lm():
    return make()


@pytest.fixture(scope="module")
def rough():
    """A model that has learned nothing: all characters stay about equally likely."""
    return make(epochs=0)


def probabilities(lm, context):
    """What the model says of the character after a context, by `Model.predict_proba`."""
    return lm.model.predict_proba(lm.vocabulary.encode(context)[None])[0, -1].astype(float)


# Vocabulary


@pytest.mark.parametrize("text", [TEXT, UNICODE, "a", "\x00\n"])
def test_vocabulary_round_trip(text):
    vocabulary = CharVocabulary(text)
    assert vocabulary.characters == "".join(sorted(set(text)))
    tokens = vocabulary.encode(text)
    assert tokens.dtype == np.int32
    assert [vocabulary.characters[t] for t in tokens] == list(text)
    assert vocabulary.decode(tokens) == text
    assert all(character in vocabulary for character in text)


def test_unknown_characters():
    vocabulary = CharVocabulary("abc ")
    message = r"3 characters outside the model's vocabulary of 4: 'é' \(U\+00E9 .*ACUTE\), '😀' .* first at position 2"
    with pytest.raises(TokenError, match=message):
        vocabulary.encode("abé😀é")
    assert vocabulary.decode(vocabulary.encode("abécé", "skip")) == "abc"
    assert vocabulary.decode(vocabulary.encode("abécé", " ")) == "ab c "
    for wrong in ("?", "ab", ""):
        with pytest.raises(ValueError, match="unknown must be"):
            vocabulary.encode("é", wrong)


def test_vocabulary_of_nothing():
    with pytest.raises(ValueError, match="characters must be at least one"):
        CharVocabulary("")


# Learning


@pytest.mark.parametrize("cell", CELLS)
def test_every_cell_learns_and_writes(cell):
    model = make(cell, epochs=6)
    assert model.history[-1]["val_loss"] < model.history[0]["val_loss"] < math.log(len(model.vocabulary))
    assert len(model.sample(40, prime="the ")) == 40


def test_sampling_from_a_cell_with_a_second_product(monkeypatch):
    model = CharLM("gru", 8, 1, n_threads=1)
    model.recurrent = GRU(8, reset_after=False)
    model.fit(TEXT, 3, batch_size=2, seq_length=10, verbose=0)
    text = model.sample(30, prime="the ", temperature=0.0)
    assert text == continued(model, "the ", 30)
    assert model.score(TEXT).bits > 0
    monkeypatch.setattr(model.model.backend.sampling, "SECOND_PRODUCT", False)
    with pytest.raises(
        ValueError, match="device='cpu' does not support cells with a second recurrent product, such as ResetBefore"
    ):
        model.sample(5)


def continued(model, text, count):
    """Return the likeliest continuation, by passes over the whole text."""
    found = ""
    for _ in range(count):
        logits, _ = model.model.forward(model.vocabulary.encode(text + found)[None])
        found += model.vocabulary.decode([int(logits[0, -1].argmax())])
    return found


def test_defaults_are_char_rnns():
    model = CharLM()
    assert (model.recurrent.hidden_size, model.recurrent.num_layers) == (128, 2)
    model.fit(TEXT, 0, verbose=0)
    params = model.model.params
    assert all(np.abs(params[name]).max() <= (1.0 if "bias_ih" in name else 0.08) for name in params)
    forget = params["lstm.bias_ih_l1"][128:256] + params["lstm.bias_hh_l1"][128:256]
    assert (forget == 1).all()
    assert np.abs(params["dense.weight"]).max() > 0.07


def test_fit_goes_on_where_it_stopped():
    model = make(epochs=2)
    before = model.score(TEXT).nats
    vocabulary = model.vocabulary
    model.fit(TEXT, 3, batch_size=4, seq_length=10, verbose=0)
    assert model.vocabulary is vocabulary
    assert model.score(TEXT).nats < before
    with pytest.raises(TokenError, match="outside the model's vocabulary"):
        model.fit("Other characters: ÄÖÜ", 1, verbose=0)


def test_held_out_end_of_the_text():
    model = CharLM(hidden_size=8, num_layers=1)
    model.fit(TEXT, 1, batch_size=2, seq_length=10, validation=0.25, verbose=0)
    assert "val_loss" in model.history[0]
    model = CharLM(hidden_size=8, num_layers=1).fit(TEXT, 1, validation=0, verbose=0)
    assert "val_loss" not in model.history[0]


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: CharLM("transformer"), ValueError, "cell must be"),
        (lambda: CharLM(seed=-1), ValueError, "seed"),
        (lambda: CharLM(hidden_size=0), ValueError, "hidden_size"),
        (lambda: CharLM().fit(b"bytes"), TypeError, "decode bytes"),
        (lambda: CharLM().fit(""), ValueError, "empty text"),
        (lambda: CharLM().fit("a"), ShapeError, "at least 2"),
        (lambda: CharLM().fit(TEXT, validation=1.0), ValueError, "validation must be"),
        (lambda: CharLM().sample(3), RuntimeError, "call fit"),
        (lambda: CharLM().score(TEXT), RuntimeError, "call fit"),
        (lambda: CharLM().save("nowhere"), RuntimeError, "call fit"),
    ],
    ids=range(10),
)
def test_bad_calls(call, error, message):
    with pytest.raises(error, match=message):
        call()


# Scoring


def test_score_is_the_mean_negative_log_likelihood(lm):
    text = TEXT[:60]
    expected = -np.mean([np.log(probabilities(lm, text[:i])[lm.vocabulary.encode(text[i])[0]]) for i in range(1, 60)])
    score = lm.score(text)
    assert score.characters == 59
    assert score.nats == pytest.approx(expected, rel=1e-5)
    assert score.bits == pytest.approx(expected / math.log(2), rel=1e-5)
    assert score.perplexity == pytest.approx(math.exp(expected), rel=1e-5)


def test_score_of_a_long_text_carries_the_state(lm):
    text = TEXT * 4
    assert len(text) > 2000  # several pieces of 1000
    once = lm.model.forward(lm.vocabulary.encode(text[:-1])[None])[0][0].astype(float)
    targets = lm.vocabulary.encode(text[1:])
    nats = (
        np.log(np.exp(once - once.max(1, keepdims=True)).sum(1)) + once.max(1) - once[np.arange(len(targets)), targets]
    )
    assert lm.score(text).nats == pytest.approx(nats.mean(), rel=1e-5)


def test_score_needs_two_characters(lm):
    with pytest.raises(ShapeError, match="at least 2"):
        lm.score("t")
    with pytest.raises(TokenError, match="vocabulary"):
        lm.score("the Ω")
    assert lm.score("theΩ", unknown="skip").characters == 2


# Writing


@pytest.mark.parametrize(("cell", "dtype"), [*((cell, "float32") for cell in CELLS), ("lstm", "float64")])
def test_greedy_sample_follows_the_forward_pass(cell, dtype):
    """The compiled loop takes the likeliest character that `forward` gives for all that came before."""
    model = make(cell, epochs=2, dtype=dtype)
    written = model.sample(30, prime="the c", temperature=0)
    context = "the c"
    for character in written:
        assert probabilities(model, context).argmax() == model.vocabulary.encode(character)[0]
        context += character


def frequencies(lm, count=4000, **options):
    """How often each character is the first that is sampled after a prime."""
    seen = [lm.sample(1, prime="the ", seed=seed, **options) for seed in range(count)]
    return np.array([seen.count(c) for c in lm.vocabulary.characters]) / count


@pytest.mark.parametrize("temperature", [1.0, 0.5, 2.0])
def test_samples_follow_the_probabilities(lm, temperature):
    expected = probabilities(lm, "the ") ** (1 / temperature)
    expected /= expected.sum()
    assert expected.max() < 0.99
    found = frequencies(lm, temperature=temperature)
    # Five standard deviations of a binomial frequency.
    assert (np.abs(found - expected) <= 5 * np.sqrt(expected * (1 - expected) / 4000) + 1e-9).all()


def allowed(p, top_k=None, top_p=None):
    """Return the probabilities after top-k and then top-p, by sorting."""
    order = np.argsort(-p, kind="stable")
    keep = order if top_k is None else order[:top_k]
    if top_p is not None:
        mass = p[keep] / p[keep].sum()
        keep = keep[: int(np.searchsorted(np.cumsum(mass), top_p - 1e-12)) + 1]
    q = np.zeros_like(p)
    q[keep] = p[keep]
    return q / q.sum()


@pytest.mark.parametrize(
    "options",
    [
        {"top_k": 1},
        {"top_k": 3},
        {"top_k": 500},
        {"top_p": 0.2},
        {"top_p": 0.6},
        {"top_p": 1.0},
        {"top_k": 4, "top_p": 0.5},
    ],
    ids=str,
)
def test_top_k_and_top_p(rough, options):
    expected = allowed(probabilities(rough, "the "), **options)
    found = frequencies(rough, **options)
    assert not found[expected == 0].any()
    assert (np.abs(found - expected) <= 5 * np.sqrt(expected * (1 - expected) / 4000) + 1e-9).all()


def test_seeds(lm):
    assert lm.sample(50, seed=1) == lm.sample(50, seed=1) != lm.sample(50, seed=2)
    assert lm.sample(50) == lm.sample(50, seed=lm.seed)


def test_first_character_without_a_prime_is_any(rough):
    first = [rough.sample(1, seed=seed) for seed in range(2000)]
    counts = np.array([first.count(c) for c in rough.vocabulary.characters])
    share = 1 / len(counts)
    assert (np.abs(counts / 2000 - share) < 5 * np.sqrt(share / 2000)).all()


@pytest.mark.parametrize("prime", ["", "the "])
def test_stop(lm, prime):
    whole = lm.sample(200, prime=prime, seed=4)
    stop = whole[20:23]
    written = lm.sample(200, prime=prime, seed=4, stop=stop)
    assert written == whole[: whole.index(stop) + 3]
    assert "".join(lm.stream(200, prime=prime, seed=4, stop=stop)) == written
    assert lm.sample(200, prime=prime, seed=4, stop=whole[0]) == whole[0]


def test_stream_is_the_sample(lm):
    assert "".join(lm.stream(60, prime="the ", seed=5, top_k=4)) == lm.sample(60, prime="the ", seed=5, top_k=4)
    endless = lm.stream(seed=5)
    assert "".join(next(endless) for _ in range(80)) == lm.sample(80, seed=5)
    assert list(lm.stream(0)) == []
    assert lm.sample(0) == ""


def test_stream_checks_its_arguments_at_once(lm):
    with pytest.raises(ValueError, match="temperature"):
        lm.stream(3, temperature=-1)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"length": -1}, ValueError, "length"),
        ({"length": 2.5}, TypeError, "length"),
        ({"temperature": -0.1}, ValueError, "temperature"),
        ({"temperature": math.nan}, ValueError, "temperature"),
        ({"temperature": "hot"}, TypeError, "temperature"),
        ({"top_k": 0}, ValueError, "top_k"),
        ({"top_p": 0}, ValueError, "top_p"),
        ({"top_p": 1.5}, ValueError, "top_p"),
        ({"prime": "Ω"}, TokenError, "OMEGA"),
        ({"stop": "Ω"}, TokenError, "OMEGA"),
        ({"seed": -1}, ValueError, "seed"),
    ],
    ids=str,
)
def test_bad_sampling(lm, options, error, message):
    with pytest.raises(error, match=message):
        lm.sample(**options)


def test_very_low_temperature_is_greedy(lm):
    assert lm.sample(40, prime="the ", temperature=1e-300) == lm.sample(40, prime="the ", temperature=0)


def test_unknown_characters_of_the_prime(lm):
    assert lm.sample(20, prime="thΩe ", seed=1, unknown="skip") == lm.sample(20, prime="the ", seed=1)
    assert lm.sample(20, prime="thΩe ", seed=1, unknown="a") == lm.sample(20, prime="thae ", seed=1)


def test_new_weights_are_sampled_from(lm):
    model = make()
    before = model.sample(60, seed=1)
    with model.model.params.writing() as flat:
        flat[...] = np.random.default_rng(0).normal(size=flat.size)
    assert model.sample(60, seed=1) != before


# Files


@pytest.mark.parametrize("text", [TEXT, UNICODE], ids=["ascii", "unicode"])
def test_round_trip(tmp_path, text):
    model = make("gru", text, epochs=1, dtype="float64")
    model.save(tmp_path / "model")
    again = numbarnn.load(tmp_path / "model")
    assert type(again) is CharLM
    assert again.vocabulary.characters == model.vocabulary.characters
    assert_same_bits(again.model.params.flat, model.model.params.flat)
    assert again.sample(50, seed=2) == model.sample(50, seed=2)
    assert again.cell == "gru"
    again.fit(text, 1, batch_size=4, seq_length=10, verbose=0)


def test_files_keep_their_form(tmp_path):
    """Files of the first version name a kind, a cell, code points, a seed and the model; they must stay readable."""
    model = make(epochs=0)
    codes = sorted({ord(c) for c in TEXT})
    about = {"cell": "lstm", "vocabulary": codes, "seed": 3, "model": model.model.description()}
    numbarnn.io.write(tmp_path / "old", "charlm", about, dict(model.model.params))
    again = numbarnn.load(tmp_path / "old")
    assert type(again) is CharLM
    assert again.sample(40, seed=1) == model.sample(40, seed=1)
    model.save(tmp_path / "new")
    description = numbarnn.io.read(tmp_path / "new")[0]
    assert {name: description[name] for name in about} == about
    assert set(description) == {*about, "format", "kind"}


@pytest.mark.parametrize(
    "change", [lambda v: v[::-1], lambda v: [v[0], *v[:-1]], lambda v: "".join(map(chr, v)), lambda v: v[1:]]
)
def test_a_vocabulary_that_is_none_of_a_model(tmp_path, change):
    model = make(epochs=0)
    about = {
        "cell": "lstm",
        "vocabulary": change(model.vocabulary.description()),
        "seed": 3,
        "model": model.model.description(),
    }
    numbarnn.io.write(tmp_path / "m", "charlm", about, dict(model.model.params))
    with pytest.raises(numbarnn.errors.ModelFileError, match=r"vocabulary|cannot be understood"):
        numbarnn.load(tmp_path / "m")


def test_plain_model_is_no_character_model(tmp_path):
    numbarnn.Model([numbarnn.Dense(2)], input_size=1).save(tmp_path / "model")
    with pytest.raises(numbarnn.errors.ModelFileError, match="contains a model"):
        CharLM.load(tmp_path / "model")


def test_reference_text():
    text = numbarnn.data.python_reference()
    assert len(text) > 100_000
    assert "the" in text


def test_sampling_takes_numbers_of_numpy_and_any_top_k():
    lm = CharLM(hidden_size=8, num_layers=1).fit("abc abd " * 40, epochs=1, verbose=0)
    text = lm.sample(30, temperature=0.5)
    for number in (np.float32(0.5), np.float64(0.5), np.float16(0.5)):
        assert lm.sample(30, temperature=number) == text
    assert lm.sample(30, temperature=np.int64(1)) == lm.sample(30)
    assert lm.sample(30, top_k=10**30) == lm.sample(30, top_k=5)


def test_all_of_a_text_is_learned_from():
    """Texts that differ in the last character alone, after the last whole batch."""
    weights = []
    for last in "ab":
        lm = CharLM("lstm", hidden_size=20, num_layers=2, seed=3)
        lm.fit("ab" * 101 + "a" + last, 1, batch_size=4, seq_length=10, validation=0, verbose=0)
        weights.append(lm.model.params.flat)
    assert not np.array_equal(*weights)


def test_tokens_are_not_rounded():
    vocabulary = CharVocabulary("abc")
    assert vocabulary.decode([]) == ""
    assert vocabulary.decode(np.array([2, 0], np.uint64)) == "ca"
    for wrong in ([0.9, True], [True, False], np.array([1.0])):
        with pytest.raises(TypeError, match="tokens must be integers, got dtype"):
            vocabulary.decode(wrong)
    with pytest.raises(TokenError, match="tokens must lie in 0 to 2, got 18446744073709551615"):
        vocabulary.decode(np.array([2**64 - 1], np.uint64))
