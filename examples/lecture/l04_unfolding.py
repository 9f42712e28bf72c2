"""Unfolding: a recurrent net over four steps is a net of four layers that share U, W and V.

    s_t = tanh(U x_t + W s_{t-1} + b),  o_t = softmax(V s_t + c),  E_t = -log o_t[y_t],  E = sum over t of E_t

With a folder as argument, draws unfolded.png there.
"""

import pathlib
import sys

import numpy as np

from numbarnn import RNN, Dense, Model, OneHot
from numbarnn.diagnostics import unfold

LETTERS = "adim"
WORD = "maidm"  # "maid" and around again: four inputs, four targets


def net():
    """Return the net of this lecture: four letters, three hidden units, not trained."""
    return Model([OneHot(4), RNN(3, init="uniform(0.5)"), Dense(4, init="uniform(0.5)")], seed=1, dtype="float64")


def main(folder=None):
    """Print (and draw) the unfolded net with its numbers."""
    tokens = np.array([[LETTERS.index(letter) for letter in WORD]])
    model = net()
    unfolded = unfold(model, tokens, steps=4)
    print(unfolded)
    b = model.params["rnn.bias_ih_l0"] + model.params["rnn.bias_hh_l0"]
    s = np.tanh(unfolded.U @ unfolded.x[1] + unfolded.W @ unfolded.s[0] + b)
    off = np.abs(s - unfolded.s[1]).max()
    print(f"By hand, s_1 = tanh(U x_1 + W s_0 + b) = {np.array2string(s, precision=3)}, off by {off:.0e}.")
    logarithm = np.log(unfolded.o[3, unfolded.y[3]])
    print(
        f"The lecture writes E_3 without its minus sign: y_3 log y^_3 = {logarithm:.4f} is a loss below zero, and training would"
    )
    print(f"drive it to minus infinity. E_3 = -y_3 log y^_3 = {unfolded.E[3]:.4f} is what training lowers.")
    if folder:
        from numbarnn.plots import plot_unfolded

        plot_unfolded(unfolded).figure.savefig(pathlib.Path(folder) / "unfolded.png", dpi=70)


if __name__ == "__main__":
    main(*sys.argv[1:])
