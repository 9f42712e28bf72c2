"""Sequence classification is a special case of segment classification, and that one of temporal classification.

Shows: the same data through all three, first as equations (the losses are equal where they should be), then as estimators
that are told less and less: where each tone is and that it is one; where the tones are; neither.
Prints: losses in pairs, and the share of right labels of each.
Takes: about 20 seconds, the first time 40.
"""

# %%
import itertools

import numpy as np
from shared import check

from numbarnn import GRU, Dense, Model, SegmentClassifier, SequenceClassifier, TemporalClassifier
from numbarnn.losses import SegmentCrossEntropy

# %% [markdown]
# | task | targets | what is known of the alignment |
# |---|---|---|
# | temporal classification | a label sequence, not longer than the input | nothing |
# | segment classification | a label for every segment | the segments' first and last steps |
# | sequence classification | one label | one segment, all of the input |
#
# ## The losses
# Segment classification takes the softmax of a segment's mean logits. With one segment over all steps that is a sequence
# classifier with a mean over time. With a segment for every step, prod_t o_t[y_t] is the probability of one path; temporal
# classification sums over all paths, so it can only be larger: knowing the alignment is knowing which term of the sum it is.
# For an input of one step there is one path, and all three are the same.

# %%
x = np.random.default_rng(0).normal(size=(1, 5, 2))
model = Model([GRU(6, init="torch"), Dense(3)], input_size=2, dtype="float64", seed=1)
logits, o = model.forward(x)[0][0], model.predict_proba(x)[0]

whole = np.array([[2 * 1 + 1, 2, 2, 2, 2]])  # one segment of class 1: 2 * class, plus 1 where it begins
segment, _ = model.loss_and_grad(x, whole, SegmentCrossEntropy())
mean = logits.mean(axis=0)
print(
    f"one segment over all steps: {segment:.12f}, -log softmax(mean logits)[1]: {np.log(np.exp(mean).sum()) - mean[1]:.12f}"
)

every = np.array([[1, 1, 0, 2, 2]])  # a label (or 0, the blank) for every step: the alignment of "ab"
segment, _ = model.loss_and_grad(x, every, reduction="sum")
temporal, _ = model.loss_and_grad(x, np.array([[1, 2]]), "ctc", reduction="sum")
print(f"alignment known: p(path | x) = {np.exp(-segment):.6f}, one of the paths in p(ab | x) = {np.exp(-temporal):.6f}")

first = x[:, :1]
losses = [
    model.loss_and_grad(first, np.array([[1]]), reduction="sum")[0],
    model.loss_and_grad(first, np.array([[2 * 1 + 1]]), SegmentCrossEntropy())[0],
    model.loss_and_grad(first, np.array([[1]]), "ctc", reduction="sum")[0],
]
print("an input of one step, as sequence, segment and temporal classification:", ", ".join(f"{e:.12f}" for e in losses))

# %% [markdown]
# ## The same data
# Sequences of noise with two tones, low or high. Each estimator is told less than the one before.

# %%
STEPS = 16


def tones(count, seed):
    """Return sequences (steps, 2), the labels of their two tones, and the tones' first step and step after the last."""
    generator = np.random.default_rng(seed)
    x = generator.normal(0, 0.3, (count, STEPS, 2))
    labels = generator.integers(0, 2, (count, 2))
    begins = np.array([1, 9]) + generator.integers(0, 3, (count, 2))
    for n, k in np.ndindex(count, 2):
        x[n, begins[n, k] : begins[n, k] + 4, labels[n, k]] += 1
    return x, np.array(["low", "high"])[labels], np.stack([begins, begins + 4], axis=2)


def cut(x, segments):
    """Return every segment as a sequence of its own."""
    return np.array([sample[a:b] for sample, own in zip(x, segments, strict=True) for a, b in own])


(x, labels, segments), (new, truth, spans) = tones(300, seed=0), tones(200, seed=1)
options = {"hidden_size": 16, "learning_rate": 0.01, "epochs": 20, "random_state": 0}

sequence = SequenceClassifier("gru", linear=None, **options)
sequence.fit(cut(x, segments), labels.reshape(-1))
right = (sequence.predict(cut(new, spans)) == truth.reshape(-1)).mean()
print(f"sequence: each tone cut out, one label                {right:.1%} right")

segment = SegmentClassifier("gru", **options).fit(list(x), labels.tolist(), segments=list(segments))
right = segment.score(list(new), truth.tolist(), segments=list(spans))
print(f"segment:  whole sequences, the tones' steps given     {right:.1%} right")

temporal = TemporalClassifier("gru", **options).fit(list(x), labels.tolist())
right = np.mean([list(found) == list(own) for found, own in zip(temporal.predict(list(new)), truth, strict=True)])
print(f"temporal: whole sequences, the order of labels alone  {right:.1%} of the label sequences right")

# %% [markdown]
# The special cases, literally: one label for a whole sequence goes through all three. The label says whether the second tone is
# high.

# %%
last, last_truth = labels[:, 1], truth[:, 1]
one = SequenceClassifier("gru", linear=None, **options).fit(x, last)
two = SegmentClassifier("gru", **options).fit(list(x), [[label] for label in last], segments=[[(0, STEPS)]] * len(x))
three = TemporalClassifier("gru", **options).fit(list(x), [[label] for label in last])
answers = {
    "sequence": one.predict(new),
    "segment, one over all steps": [found[0] for found in two.predict(list(new), segments=[[(0, STEPS)]] * len(new))],
    "temporal, sequences of one label": ["/".join(found) for found in three.predict(list(new))],
}
for name, found in answers.items():
    print(f"{name:34}{(np.asarray(found) == last_truth).mean():.1%} right")

# %% [markdown]
# **Exercise.** How many terms has the sum p(l | x) for a label sequence of one label and an input of T steps?
# (The path is blanks, then the label for some steps, then blanks.)


# %% Exercise: paths of one label
def paths_of_one_label(steps):
    """Return how many paths over some steps lead to a sequence of one label."""
    return ...


# %%
counted = sum(
    [symbol for symbol, _ in itertools.groupby(path) if symbol] == [1] for path in itertools.product(range(3), repeat=5)
)
check("paths of one label", paths_of_one_label(5), counted)
