"""Segment classification: a label for every step, o_t = softmax(V s_t).

What comes later may matter for it; a net in both directions sees that.

A series rises and falls; the label says whether the value two steps ahead is larger than that of two steps ago.
"""

import numpy as np

from numbarnn import GRU, Dense, Model
from numbarnn.optim import Adam


def samples(count, steps=40, seed=0):
    """Return random series and, for every step, whether x_{t+2} > x_{t-2} (steps beyond the ends count as 0)."""
    x = np.random.default_rng(seed).normal(size=(count, steps))
    wide = np.pad(x, ((0, 0), (2, 2)))
    return x[:, :, None], (wide[:, 4:] > wide[:, :-4]).astype(int)


def main():
    """Train both nets on the same series."""
    (x, y), (test, truth) = samples(400), samples(200, seed=1)
    for bidirectional in (False, True):
        model = Model([GRU(24, bidirectional=bidirectional), Dense(2)], input_size=1, seed=1)
        model.fit(x, y, epochs=20, optimizer=Adam(0.01), verbose=0)
        outputs = model.forward(test)[0]
        name = "both directions" if bidirectional else "forward only"
        print(f"{name}: x {test.shape} -> logits {outputs.shape}, accuracy {(outputs.argmax(2) == truth).mean():.1%}")
    print(
        "Forward only, half of what decides is not seen yet: of two random numbers it knows one, and can be right in 3 of 4 cases."
    )


if __name__ == "__main__":
    main()
