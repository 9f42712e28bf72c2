"""The character model: a net that reads a text letter by letter and predicts the next one; and a model of words.

    p(text) = prod over t of p(x_{t+1} | x_0, ..., x_t),    E_t = -log o_t[x_{t+1}]: how surprised the net is by what comes

Shows: where a trained net is surprised, that its prediction depends on all letters before, and the vector of probabilities
across the vocabulary for the next word.
Prints: losses, surprises letter by letter, a sample, the next words. With a folder as argument draws surprise.png there.
Takes: about 15 seconds, the first time 40.
"""

# %%
import numpy as np
from shared import check, drawing, save

from numbarnn import CharLM, LanguageModel
from numbarnn.optim import RMSprop

WORDS = ("cat", "dog", "rat", "frog"), ("sat on", "ran to", "lay by"), ("mat", "log", "bog", "hill")


def story(sentences, seed=0):
    """Return sentences such as "the cat ran to the log. ", their words drawn at random."""
    choices = np.random.default_rng(seed).integers(0, 1000, (sentences, 3))
    return "".join(
        "the {} {} the {}. ".format(*(words[c % len(words)] for words, c in zip(WORDS, row, strict=True)))
        for row in choices
    )


model = CharLM("rnn", hidden_size=48, num_layers=1, seed=1)
model.fit(story(400), epochs=8, batch_size=8, seq_length=25, optimizer=RMSprop(0.005), verbose=0)
letters, loss = len(model.vocabulary), model.history["loss"]
print(f"{letters} letters: a uniform prediction costs ln {letters} = {np.log(letters):.3f} nats a letter")
print(f"mean E_t in the first epoch {loss[0]:.3f}, in the last {loss[-1]:.3f}")

# %% [markdown]
# ## Surprise, letter by letter

# %%
text = story(5, seed=1)
tokens = model.vocabulary.encode(text)[None]
o = model.model.predict_proba(tokens[:, :-1])[0]
surprise = -np.log(o[np.arange(len(o)), tokens[0, 1:]])  # E_t, of every letter but the first
shown, e = text[-48:], surprise[-48:]
print("A text it has not seen, and E_t: it knows the rest of a word from its beginning, not which word comes.")
for letter, value in list(zip(shown, e, strict=True))[:24]:
    print(f"  {letter!r}  {value:6.3f}  {'#' * round(12 * value)}")
print(f"sample: {model.sample(60, prime='the ', temperature=0.5, seed=1)!r}")

# %% [markdown]
# ## A distribution, given all letters before
# o_t is a distribution: it sums to one. The probability of a text is the product of the probabilities of its letters, each
# given those before, so log p(text) = -(E_0 + E_1 + ...). And it depends on all of them: one letter changed early changes what
# comes now.

# %%
print(f"o_t sums to {o[-1].sum():.6f}; log p of the text's {len(surprise)} letters: {-surprise.sum():.2f} nats")
for prime in ("the ", "the cat sat on the ", "the cat sat on the mat. the "):  # the same last four letters
    following = model.model.predict_proba(model.vocabulary.encode(prime)[None])[0, -1]
    best = following.argsort()[::-1][:4]
    print(f"  after {prime!r}: " + ", ".join(f"{model.vocabulary.decode([k])!r} {following[k]:.2f}" for k in best))

# %% [markdown]
# ## The next word
# With words as tokens o_t is a vector of probabilities across the vocabulary of words.

# %%
by_word = LanguageModel("rnn", 32, 1, unit="word", seed=1)
by_word.fit(story(400), epochs=8, batch_size=8, seq_length=20, optimizer=RMSprop(0.005), verbose=0)
for prime in ("the cat sat", "the cat sat on", "the cat sat on the", "the dog ran"):
    encoded = by_word.vocabulary.encode(prime)
    following = by_word.model.predict_proba(encoded[None])[0, -1]
    best = [k for k in following.argsort()[::-1] if following[k] > 0.03]
    shown_words = ", ".join(f"{by_word.vocabulary.decode([k])!r} {following[k]:.2f}" for k in best)
    print(f"  {prime!r} -> {shown_words}   ({len(following)} words, sum {following.sum():.4f})")

# %%
if drawing():
    from matplotlib import pyplot

    ax = pyplot.subplots(figsize=(9, 2.8), layout="constrained")[1]
    starts = [i == 0 or shown[i - 1] == " " for i in range(len(shown))]
    for first, color, label in ((True, "#D55E00", "first letter of a word"), (False, "#0072B2", "further letters")):
        own = [i for i, start in enumerate(starts) if start == first]
        ax.bar(own, e[own], color=color, label=label)
    ax.set_xticks(np.arange(len(e)), shown.replace(" ", "_"), family="monospace")
    ax.set_xlabel("letter that came (_: space)")
    ax.set_ylabel("surprise $E_t$ (nats)")
    ax.margins(x=0.01)
    ax.spines[["top", "right"]].set_visible(False)
    ax.legend(frameon=False, loc="lower right", bbox_to_anchor=(1, 1), ncols=2, borderaxespad=0.2)
    save(ax, "surprise.png")

# %% [markdown]
# **Exercise.** Who, verb and where of a sentence are drawn uniformly from 4, 3 and 4; all other letters follow. What is the
# smallest mean E_t that any model of this text can have? (A sentence has 24.5 letters on average, with its full stop and the
# spaces.)

# %% Exercise: entropy of the text
answer = ...  # nats a letter

# %%
length = len(story(4000)) / 4000
print(f"a sentence has {length:.2f} letters on average")
check("entropy of the text", answer, np.log(4 * 3 * 4) / length, tolerance=0.01)
