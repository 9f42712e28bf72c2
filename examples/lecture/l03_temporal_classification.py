"""Temporal classification: a string of labels for a sequence, and nobody knows which step belongs to which label.

A path gives every step a label or the blank; merging what repeats and then dropping blanks, B(path), leaves the string. The
probability of a string is the sum over all paths that lead to it: p(l | x) = sum over B(path) = l of prod_t o_t[path_t].
"""

import itertools

import numpy as np

from numbarnn import GRU, Dense, Model
from numbarnn.losses import LOSSES

LETTERS = "-ab"  # the blank is 0


def collapse(path):
    """Return B(path): repeats merged, then blanks dropped."""
    return "".join(symbol for symbol, _ in itertools.groupby(path)).replace("-", "")


def main():
    """Sum over all paths of a small net's output."""
    steps = 5
    model = Model([GRU(6, init="torch"), Dense(3)], input_size=2, dtype="float64", seed=1)
    x = np.random.default_rng(0).normal(size=(1, steps, 2))
    o = model.predict_proba(x)[0]
    for path in ("aa-b-", "-a-bb", "a-a-b"):
        print(f"B({path}) = {collapse(path)}")
    paths = ["".join(path) for path in itertools.product(LETTERS, repeat=steps)]
    probability = {path: np.prod([o[t, LETTERS.index(symbol)] for t, symbol in enumerate(path)]) for path in paths}
    strings = {}
    for path in paths:
        strings[collapse(path)] = strings.get(collapse(path), 0.0) + probability[path]
    leading = [path for path in paths if collapse(path) == "ab"]
    print(
        f"{len(paths)} paths over {steps} steps, {len(leading)} of them lead to 'ab': p('ab' | x) = {strings['ab']:.6f}"
    )
    print(f"{len(strings)} strings are possible, and their probabilities sum to {sum(strings.values()):.12f}")
    if "ctc" in LOSSES:
        loss, _ = model.loss_and_grad(x, np.array([[1, 2]]), "ctc", reduction="sum")
        print(f"the CTC loss sums the same paths step by step: {loss:.12f}, -log p = {-np.log(strings['ab']):.12f}")


if __name__ == "__main__":
    main()
