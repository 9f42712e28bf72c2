"""Sequence classification: one label for the whole sequence, y = softmax(V s_T), from the state after the last step.

Shows: the order of two symbols X and Y, far apart among distractors, makes four classes; the net has to remember the first
until the end.
Prints: shapes, the loss before and after training, the accuracy on new sequences.
Takes: about 5 seconds, the first time 20 (kernels are compiled).
"""

# %%
import numpy as np
from shared import check

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


x, y = samples(1000)
test, truth = samples(500, seed=1)
print("A sequence and its class:", "".join("abcXY"[k] for k in x[0].argmax(axis=1)), "->", y[0])

# %%
model = Model([LSTM(24, return_sequences=False), Dense(4)], input_size=5, seed=1)
history = model.fit(x, y, epochs=25, optimizer=Adam(0.01), verbose=0)
outputs = model.forward(test)[0]
print(f"x {test.shape} (samples, time steps, features) -> one row of logits a sequence {outputs.shape}")
print(f"loss {history[0]['loss']:.3f} in the first epoch (ln 4 = {np.log(4):.3f}: a uniform prediction) -> "
      f"{history[-1]['loss']:.3f}")  # fmt: skip
print(f"accuracy on new sequences: {(outputs.argmax(1) == truth).mean():.1%}")

# %% [markdown]
# **Exercise.** A net without memory sees only what comes near the end. Say it knows the second symbol and nothing of the first:
# what is the smallest cross-entropy, in nats, that it can have on average?

# %% Exercise: half of the order
answer = ...

# %%
check("half of the order", answer, -np.log([0.5, 0.5]).mean())
