"""The lecture's first character model: an alphabet of four letters, [a d i m], and one word to learn.

A plain recurrent net, s_t = tanh(U x_t + W s_{t-1} + b), o_t = softmax(V s_t + c), reads "mai" and learns to answer "aid", so
that fed with its own answers it spells "maid".

    python examples/four_letters.py

Prints everything it computes, before and after 200 steps of training: one-hot inputs, hidden states, outputs, and the loss. Takes
about 3 seconds, the first time 15 (kernels are compiled).
"""

import numpy as np

import numbarnn

LETTERS = "adim"
WORD = "maid"


def show(model, x):
    """Print the net at every step of the word."""
    s, _ = numbarnn.Model(model.layers[:2]).load_state_dict(recurrent_part(model)).forward(x)
    o = model.predict_proba(x)
    for t, letter in enumerate(WORD[:-1]):
        one_hot = np.eye(len(LETTERS), dtype=int)[LETTERS.index(letter)]
        print(f"  x_{t} = {letter!r} {one_hot}", end="   ")
        print(f"s_{t} = {np.array2string(s[0, t], precision=2, suppress_small=True, sign='+')}", end="   ")
        print(f"o_{t} = {np.array2string(o[0, t], precision=2, suppress_small=True)}", end="   ")
        print(f"-> {LETTERS[o[0, t].argmax()]!r}, should be {WORD[t + 1]!r}")


def recurrent_part(model):
    """Return the parameters of all layers but the last."""
    return {name: values for name, values in model.params.items() if not name.startswith("dense")}


def spell(model):
    """Feed the net its own answers, one step at a time, and return what it spells."""
    word, state = WORD[0], None
    while len(word) < len(WORD):
        logits, state = model.step(np.array([LETTERS.index(word[-1])]), state)
        word += LETTERS[logits[0].argmax()]
    return word


def main():
    """Train the net and show it before and after."""
    model = numbarnn.Model(
        [numbarnn.OneHot(4), numbarnn.RNN(3, init="uniform(0.5)"), numbarnn.Dense(4, init="uniform(0.5)")], seed=1
    )
    tokens = np.array([LETTERS.index(letter) for letter in WORD])
    x, y = tokens[None, :-1], tokens[None, 1:]
    optimizer, rate = numbarnn.optim.SGD(momentum=0.9), 0.1
    velocity = [np.zeros_like(model.params.flat)]

    print(f"Alphabet {list(LETTERS)}, word {WORD!r}. Before training:")
    show(model, x)
    for step in range(1, 201):
        loss, gradients = model.loss_and_grad(x, y, reduction="sum")
        flat = np.concatenate([g.ravel() for g in gradients.values()])
        with model.params.writing() as weights:
            optimizer.update(weights, flat, velocity, step, rate)
        spelt = spell(model)
        if step in (1, 2, 5, 10, 20, 50, 100, 200):
            print(f"step {step:3}: E = sum of E_t = {loss:.4f}, the net spells {spelt!r}")
    print("After training:")
    show(model, x)
    print(f"Fed with its own answers from {WORD[0]!r} on, the net spells {spell(model)!r}.")


if __name__ == "__main__":
    main()
