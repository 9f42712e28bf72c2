"""A custom cell: the update-gate RNN of Collins et al. (2017), as one record with two scalar functions.

    g   = sigmoid(W_g x_t + R_g h_{t-1} + b_g)          how much is kept
    c   = tanh(W_c x_t + R_c h_{t-1} + b_c)             candidate
    h_t = g h_{t-1} + (1 - g) c

Nothing else is needed: the time loop, back-propagation, threads, lengths, both directions, files and training come with it.

J. Collins, J. Sohl-Dickstein, D. Sussillo, "Capacity and trainability in recurrent neural networks", ICLR 2017, section 2.1.

Prints a gradient beside its central difference, and the accuracy of a net of such cells. Takes 10 seconds, the first time 20.
"""

from typing import NamedTuple

import numpy as np

import numbarnn
from numbarnn.cells import register, sigmoid, tanh


@register
class UpdateGateRNN(NamedTuple):
    """One gate that mixes the old state with a candidate."""

    gates = ("g", "c")
    preactivations = ("g", "c")
    from_input = {"g": "g", "c": "c"}
    from_hidden = {"g": "g", "c": "c"}
    states = ("h",)
    saved = ("g", "c")
    diagonal = ()

    @staticmethod
    def forward(cell, preactivations, states, diagonal):
        g, c = sigmoid(preactivations[0]), tanh(preactivations[1])
        return (g * states[0] + (type(g)(1) - g) * c,), (g, c)

    @staticmethod
    def backward(cell, saved, states, diagonal, after, gradients):
        (g, c), (h,), (dh,) = saved, states, gradients
        one = type(g)(1)
        dg = dh * (h - c) * g * (one - g)
        dc = dh * (one - g) * (one - c * c)
        return (dg, dc), (dh * g,), ()


def check_gradient():
    """Compare the gradient of one weight with a central difference."""
    layers = [numbarnn.Recurrent(7, cell=UpdateGateRNN(), forget_bias=None), numbarnn.Dense(2)]
    model = numbarnn.Model(layers, input_size=3, dtype="float64")
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(4, 9, 3)), rng.integers(0, 2, (4, 9))
    _, gradients = model.loss_and_grad(x, y)
    flat, index, step = model.params.flat.copy(), 40, 1e-6
    losses = []
    for sign in (1, -1):
        moved = flat.copy()
        moved[index] += sign * step
        model.set_flat(moved)
        losses.append(model.loss_and_grad(x, y)[0])
    exact = np.concatenate([g.ravel() for g in gradients.values()])[index]
    print(f"One weight: gradient {exact:.9f}, central difference {(losses[0] - losses[1]) / (2 * step):.9f}")


def train():
    """Learn whether the sum of the inputs so far is positive."""
    rng = np.random.default_rng(1)
    x = rng.normal(size=(2000, 30, 1))
    y = (x.cumsum(axis=1)[:, :, 0] > 0).astype(int)
    model = numbarnn.Model([numbarnn.Recurrent(16, cell=UpdateGateRNN()), numbarnn.Dense(2)], input_size=1)
    history = model.fit(x, y, epochs=12, optimizer=numbarnn.optim.Adam(learning_rate=0.01), validation=0.2, verbose=0)
    accuracy = (model.forward(x[-400:])[0].argmax(-1) == y[-400:]).mean()
    print(f"Trained: loss {history[0]['val_loss']:.3f} -> {history[-1]['val_loss']:.3f}, accuracy {accuracy:.1%}")


if __name__ == "__main__":
    check_gradient()
    train()
