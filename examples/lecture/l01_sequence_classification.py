"""Sequence classification: one label for the whole sequence, y = softmax(V s_T), from the state after the last step.

The order of two symbols X and Y, far apart among distractors, makes four classes: the net has to keep the first until the end.
"""

import numpy as np

from numbarnn import LSTM, Dense, Model
from numbarnn.optim import Adam


def samples(count, steps=20, seed=0):
    """Return one-hot sequences of a, b, c, X, Y, and the class 2 [first is Y] + [second is Y]."""
    generator = np.random.default_rng(seed)
    symbols = generator.integers(0, 3, (count, steps))
    first, second = generator.integers(0, 2, (2, count))
    rows = np.arange(count)
    symbols[rows, generator.integers(0, 5, count)] = 3 + first
    symbols[rows, generator.integers(8, 13, count)] = 3 + second
    return np.eye(5)[symbols], 2 * first + second


def main():
    """Train on 1,000 sequences, test on 500 others."""
    model = Model([LSTM(24, return_sequences=False), Dense(4)], input_size=5, seed=1)
    x, y = samples(1000)
    history = model.fit(x, y, epochs=25, optimizer=Adam(0.01), verbose=0)
    test, truth = samples(500, seed=1)
    print(f"x {test.shape} -> one row of logits a sequence {model.forward(test)[0].shape}")
    print(f"loss {history[0]['loss']:.3f} (ln 4 = {np.log(4):.3f} knows nothing) -> {history[-1]['loss']:.3f}")
    print(f"accuracy on new sequences: {(model.forward(test)[0].argmax(1) == truth).mean():.1%}")


if __name__ == "__main__":
    main()
