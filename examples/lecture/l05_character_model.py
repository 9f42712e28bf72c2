"""The character model: a net that reads a text letter by letter and predicts the next one.

    E_t = -log o_t[x_{t+1}]: how surprised the net is by the letter that comes; a net that knows nothing has ln(letters).

With a folder as argument, draws surprise.png there.
"""

import pathlib
import sys

import numpy as np

from numbarnn import CharLM
from numbarnn.optim import RMSprop

WORDS = ("cat", "dog", "rat", "frog"), ("sat on", "ran to", "lay by"), ("mat", "log", "bog", "hill")


def story(sentences, seed=0):
    """Return sentences such as "the cat ran to the log. ", their words drawn at random."""
    choices = np.random.default_rng(seed).integers(0, 1000, (sentences, 3))
    return "".join(
        "the {} {} the {}. ".format(*(words[c % len(words)] for words, c in zip(WORDS, row, strict=True)))
        for row in choices
    )


def surprise(model, text):
    """Return E_t for every letter of a text but the first."""
    tokens = model.vocabulary.encode(text)[None]
    o = model.model.predict_proba(tokens[:, :-1])[0]
    return -np.log(o[np.arange(len(o)), tokens[0, 1:]])


def main(folder=None):
    """Train, and show where the net is surprised."""
    model = CharLM("rnn", hidden_size=48, num_layers=1, seed=1)
    model.fit(story(400), epochs=8, batch_size=8, seq_length=25, optimizer=RMSprop(0.005), verbose=0)
    letters = len(model.vocabulary)
    loss = model.history["loss"]
    print(f"{letters} letters: knowing nothing costs ln {letters} = {np.log(letters):.3f} nats a letter")
    print(f"mean E_t in the first epoch {loss[0]:.3f}, in the last {loss[-1]:.3f}")
    text = story(5, seed=1)
    shown, e = text[-48:], surprise(model, text)[-48:]
    print("A text it has not seen, and E_t: it knows the rest of a word from its beginning, not which word comes.")
    for letter, value in list(zip(shown, e, strict=True))[:24]:
        print(f"  {letter!r}  {value:6.3f}  {'#' * round(12 * value)}")
    print(f"sample: {model.sample(60, prime='the ', temperature=0.5, seed=1)!r}")
    if folder:
        from matplotlib import pyplot

        ax = pyplot.subplots(figsize=(9, 2.6), layout="constrained")[1]
        ax.bar(np.arange(len(e)), e, color="#0072B2")
        ax.set_xticks(np.arange(len(e)), shown, family="monospace")
        ax.set_xlabel("letter that came")
        ax.set_ylabel("surprise $E_t$ (nats)")
        ax.margins(x=0.01)
        ax.spines[["top", "right"]].set_visible(False)
        ax.figure.savefig(pathlib.Path(folder) / "surprise.png", dpi=70)


if __name__ == "__main__":
    main(*sys.argv[1:])
