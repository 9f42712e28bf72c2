"""Temporal classification: a sequence of labels for a sequence of inputs, without known alignment.

A path gives every step a label or the blank; merging what repeats and then dropping blanks, B(path), gives the label
sequence. Its probability is the sum over all paths that lead to it: p(l | x) = sum over B(path) = l of prod_t o_t[path_t].
Training raises p(l | x).

Shows: the sum over paths one by one, that outputs cannot be longer than inputs, and an alignment before and after training,
which nobody has told the net.
Prints: paths, probabilities, the alignment of a new sequence, and on which steps one label depends. With a folder as argument
draws ctc_before.png and ctc_after.png there.
Takes: about 10 seconds, the first time 30.
"""

# %%
import itertools

import numpy as np
from shared import check, drawing, save

from numbarnn import GRU, Dense, Model
from numbarnn.diagnostics import alignment, sensitivity
from numbarnn.optim import Adam

SYMBOLS = "-ab"  # the blank is 0
STEPS = 5


def collapse(path):
    """Return B(path): repeats merged, then blanks dropped."""
    return "".join(symbol for symbol, _ in itertools.groupby(path)).replace("-", "")


for path in ("aa-b-", "-a-bb", "a-a-b"):
    print(f"B({path}) = {collapse(path)}")

# %% [markdown]
# ## All paths of a small net

# %%
model = Model([GRU(6, init="torch"), Dense(3)], input_size=2, dtype="float64", seed=1)
x = np.random.default_rng(0).normal(size=(1, STEPS, 2))
o = model.predict_proba(x)[0]
paths = ["".join(path) for path in itertools.product(SYMBOLS, repeat=STEPS)]
sequences = {}
for path in paths:
    probability = np.prod([o[t, SYMBOLS.index(symbol)] for t, symbol in enumerate(path)])
    sequences[collapse(path)] = sequences.get(collapse(path), 0.0) + probability
leading = [path for path in paths if collapse(path) == "ab"]
print(
    f"{len(paths)} paths over {STEPS} steps, {len(leading)} of them lead to 'ab': p('ab' | x) = {sequences['ab']:.6f}"
)
print(f"{len(sequences)} label sequences are possible, and their probabilities sum to {sum(sequences.values()):.12f}")
loss, _ = model.loss_and_grad(x, np.array([[1, 2]]), "ctc", reduction="sum")
print(f"the CTC loss sums the same paths step by step: {loss:.12f}, -log p = {-np.log(sequences['ab']):.12f}")

# %% [markdown]
# ## Outputs are not longer than inputs
# All that is assumed of label sequences is that they are not longer than the input. With CTC, two equal labels in a row need a
# blank between them, so "aab" needs four steps.

# %%
by_length = [sum(len(sequence) == length for sequence in sequences) for length in range(STEPS + 1)]
print(f"possible label sequences of length 0 to {STEPS}: {by_length}, of {[2**length for length in range(STEPS + 1)]}")
for labels in ([1, 2, 1, 2, 1], [1, 2, 1, 2, 1, 2], [1, 1, 2, 2]):
    shown = "".join(SYMBOLS[k] for k in labels)
    try:
        loss, _ = model.loss_and_grad(x, np.array([labels]), "ctc", reduction="sum")
        print(f"{shown} in {STEPS} steps: p = {np.exp(-loss):.4f} ({sum(collapse(p) == shown for p in paths)} path)")
    except ValueError:
        print(
            f"{shown} in {STEPS} steps: refused, it has no path ({sum(collapse(p) == shown for p in paths)} of {len(paths)})"
        )

# %% [markdown]
# ## Training without an alignment


# %%
def tones(samples, steps=30, seed=0):
    """Return noisy sequences of two channels with three tones of four steps, their labels (1: first channel), and their ends."""
    generator = np.random.default_rng(seed)
    x, labels = generator.normal(0, 0.3, (samples, steps, 2)), generator.integers(1, 3, (samples, 3))
    ends = np.array([6, 15, 24]) + generator.integers(0, 4, (samples, 3))
    for n, k in np.ndindex(samples, 3):
        x[n, ends[n, k] - 3 : ends[n, k] + 1, labels[n, k] - 1] += 1
    return x, labels, ends


x, labels, _ = tones(500)
model = Model([GRU(16), Dense(3)], input_size=2, seed=1)
x_new, sequence, end = (values[:1] for values in tones(1, seed=1))
before = alignment(model, x_new, sequence)[0]
model.fit(x, labels, loss="ctc", optimizer=Adam(0.01), epochs=20, batch_size=20, verbose=0)
after = alignment(model, x_new, sequence)[0]
shown = "".join(SYMBOLS[c] for c in sequence[0])
print(f"A new sequence with tones {shown} that end at steps {', '.join(map(str, end[0]))}, before and after training:")
for name, found in (("before", before), ("after", after)):
    centers = ", ".join(f"{step:.1f}" for step in found.centers)
    path = "".join(SYMBOLS[c] for c in found.best.path)
    print(f"  {name:6}: p({shown} | x) = {np.exp(found.log_probability):.1e}, labels at steps {centers}, path {path}")
step = int(after.occupancy[:, 3].argmax())  # of the second label
strength = np.linalg.norm(sensitivity(model, x_new, step, int(sequence[0, 1]))[0], axis=1)
first = end[0, 1] - 3
share = strength[first : end[0, 1] + 1].sum() / strength.sum()
print(
    f"The second label, most probable at step {step}: {share:.0%} of ||dy/dx|| lies on its tone, steps {first} to {end[0, 1]}"
)
for name, found in (("before", before), ("after", after)):
    dlogits = np.abs(found.probabilities - found.by_class).max()  # o_t - gamma_t summed by class
    print(f"  |dE/dlogits|, {name} training: at most {dlogits:.3f}")

# %%
if drawing():
    from numbarnn.plots import plot_occupancy

    for name, found in (("before", before), ("after", after)):
        save(plot_occupancy(found, SYMBOLS), f"ctc_{name}.png")

# %% [markdown]
# **Exercises.** How many of the 243 paths lead to "aa"? Write the least number of steps that a label sequence needs.

# %% Exercise: paths to aa
answer = ...

# %%
check("paths to aa", answer, sum(collapse(path) == "aa" for path in paths))


# %% Exercise: least steps
def least_steps(labels):
    """Return how many steps a string of labels needs at least."""
    return ...


# %%
needed = {text: min(len(path) for n in range(1, 6) for path in itertools.product(SYMBOLS, repeat=n) if collapse(path) == text)
          for text in ("ab", "aab", "aaa")}  # fmt: skip
answers = [least_steps(text) for text in needed]
check("least steps", ... if ... in answers else answers, list(needed.values()))
