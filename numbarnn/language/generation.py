"""Generation of text: the sampler of a language model, and the pieces of text that its tokens make."""

import numpy as np

from numbarnn import parallel
from numbarnn.checks import brief, check_flag, naming
from numbarnn.data.vocabulary import check_text
from numbarnn.language.sampler import Sampler
from numbarnn.layers import Dense


def sampler_of(lm, prime, temperature, top_k, top_p, stop, seed, unknown, allow_unknown) -> Sampler:
    """Return the sampler of a fitted `LanguageModel` for the arguments of its `sample`; raise what that raises."""
    model, vocabulary = lm._fitted(), lm.vocabulary
    check_flag(type(lm).__name__, "allow_unknown", allow_unknown)
    check_parts(lm)
    with naming("prime", "text"):
        tokens = vocabulary.encode(prime, unknown)
    if stop is not None:
        with naming("stop", "text"):
            check_text(stop)
    if not tokens.size:
        tokens = np.array(vocabulary.start, np.int32)
    end = np.zeros(0, np.int32)
    if stop and lm.unit != "word":
        with naming("stop", "text"):
            end = vocabulary.encode(stop)
    excluded = np.array(() if allow_unknown else vocabulary.unknown, np.int32)
    seed = lm.seed if seed is None else seed
    options = tokens, temperature, top_k, top_p, end, excluded, seed if isinstance(seed, range) else [seed]
    return Sampler(model, lm._pack(), *options, parallel.check_threads(lm.n_threads))


def pieces_of(run, vocabulary, left, stop):
    """Yield the text of a sampler of one stream token by token: of that many tokens, or up to a text that ends it."""
    decode, recent, done = vocabulary.decoder(), "", 0
    while done < left:
        piece = decode(run.take(1))
        done += 1
        if not piece:
            continue
        yield piece
        if stop:
            recent = (recent + piece)[1 - len(stop) - len(piece) :]
            if stop in recent:
                return
    if rest := decode((), True):
        yield rest


def check_parts(lm):
    """Raise ValueError unless model and vocabulary have the form that the sampling kernel, which checks nothing, relies on."""
    layers, signals, size = lm.model.layers, lm.model.signals, len(lm.vocabulary)
    if (
        [type(layer) for layer in layers[1:]] != [type(lm.recurrent), Dense]
        or not signals[0].tokens
        or signals[0].bag
        or layers[-1].activation is not None
    ):
        raise ValueError(
            f"the model must have OneHot or Embedding, {type(lm.recurrent).__name__} and Dense without activation, "
            f"got {brief(lm.model)}"
        )
    if not layers[1].causal or not signals[2].sequence:
        raise ValueError("the model must read in one direction and give outputs at every step")
    if (signals[0].size, signals[-1].size) != (size, size):
        raise ValueError(
            f"the model has {signals[0].size} input and {signals[-1].size} output tokens, but the vocabulary has {size}"
        )
