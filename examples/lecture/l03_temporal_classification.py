"""Temporal classification: a sequence of labels for a sequence of inputs, without known alignment.

A path gives every step a label or the blank; merging what repeats and then dropping blanks, B(path), gives the label
sequence. Its probability is the sum over all paths that lead to it: p(l | x) = sum over B(path) = l of prod_t o_t[path_t].

Training raises p(l | x). Where the labels are, nobody has told the net; the posterior alignment says where it has put them.

With a folder as argument, draws ctc_before.png and ctc_after.png there.
"""

import itertools
import pathlib
import sys

import numpy as np

from numbarnn import GRU, Dense, Model
from numbarnn.diagnostics import alignment, sensitivity
from numbarnn.optim import Adam

LETTERS = "-ab"  # the blank is 0
STEPS = 30


def collapse(path):
    """Return B(path): repeats merged, then blanks dropped."""
    return "".join(symbol for symbol, _ in itertools.groupby(path)).replace("-", "")


def paths():
    """Sum over all paths of a small net's output."""
    steps = 5
    model = Model([GRU(6, init="torch"), Dense(3)], input_size=2, dtype="float64", seed=1)
    x = np.random.default_rng(0).normal(size=(1, steps, 2))
    o = model.predict_proba(x)[0]
    for path in ("aa-b-", "-a-bb", "a-a-b"):
        print(f"B({path}) = {collapse(path)}")
    paths = ["".join(path) for path in itertools.product(LETTERS, repeat=steps)]
    probability = {path: np.prod([o[t, LETTERS.index(symbol)] for t, symbol in enumerate(path)]) for path in paths}
    sequences = {}
    for path in paths:
        sequences[collapse(path)] = sequences.get(collapse(path), 0.0) + probability[path]
    leading = [path for path in paths if collapse(path) == "ab"]
    print(
        f"{len(paths)} paths over {steps} steps, {len(leading)} of them lead to 'ab': p('ab' | x) = {sequences['ab']:.6f}"
    )
    print(
        f"{len(sequences)} label sequences are possible, and their probabilities sum to {sum(sequences.values()):.12f}"
    )
    loss, _ = model.loss_and_grad(x, np.array([[1, 2]]), "ctc", reduction="sum")
    print(f"the CTC loss sums the same paths step by step: {loss:.12f}, -log p = {-np.log(sequences['ab']):.12f}")


def tones(samples, seed=0):
    """Return noisy sequences of two channels with three tones of four steps, their labels (1: first channel), and their ends."""
    generator = np.random.default_rng(seed)
    x, labels = generator.normal(0, 0.3, (samples, STEPS, 2)), generator.integers(1, 3, (samples, 3))
    ends = np.array([6, 15, 24]) + generator.integers(0, 4, (samples, 3))
    for n, k in np.ndindex(samples, 3):
        x[n, ends[n, k] - 3 : ends[n, k] + 1, labels[n, k] - 1] += 1
    return x, labels, ends


def main(folder=None):
    """Sum over paths, then train a net on label sequences alone and show its alignment."""
    paths()
    x, labels, _ = tones(500)
    model = Model([GRU(16), Dense(3)], input_size=2, seed=1)
    x_new, sequence, end = (values[:1] for values in tones(1, seed=1))
    before = alignment(model, x_new, sequence)[0]
    model.fit(x, labels, loss="ctc", optimizer=Adam(0.01), epochs=20, batch_size=20, verbose=0)
    after = alignment(model, x_new, sequence)[0]
    shown = "".join(LETTERS[c] for c in sequence[0])
    print(
        f"A new sequence with tones {shown} that end at steps {', '.join(map(str, end[0]))}, before and after training:"
    )
    for name, found in (("before", before), ("after", after)):
        print(
            f"  {name:6}: p({shown} | x) = {np.exp(found.log_probability):.1e}, labels at steps "
            f"{', '.join(f'{step:.1f}' for step in found.centers)}, path {''.join(LETTERS[c] for c in found.best.path)}"
        )
    step = int(after.occupancy[:, 3].argmax())  # of the second label
    strength = np.linalg.norm(sensitivity(model, x_new, step, int(sequence[0, 1]))[0], axis=1)
    first = end[0, 1] - 3
    share = strength[first : step + 1].sum() / strength.sum()
    print(
        f"The second label, most probable at step {step}, depends on steps {first} to {step}: {share:.0%} of ||dy/dx||"
    )
    if folder:
        from numbarnn.plots import plot_occupancy

        for name, found in (("before", before), ("after", after)):
            figure = plot_occupancy(found, LETTERS).figure
            figure.savefig(pathlib.Path(folder) / f"ctc_{name}.png", dpi=70)


if __name__ == "__main__":
    main(*sys.argv[1:])
