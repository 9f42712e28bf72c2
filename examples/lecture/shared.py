"""What the lecture's scripts share: the net of four letters, where pictures go, and the check of an exercise's answer."""

import builtins
import pathlib
import sys

import numpy as np

from numbarnn import RNN, Dense, Model, OneHot

NOTEBOOK = hasattr(builtins, "__IPYTHON__")

LETTERS = "adim"
WORD = "maidm"  # "maid" and around again: four inputs, four targets


def net(bias=True):
    """Return the net of the lecture's example, not trained: three hidden units on an alphabet of four letters."""
    layers = [OneHot(4), RNN(3, init="uniform(0.5)", bias=bias), Dense(4, init="uniform(0.5)", bias=bias)]
    return Model(layers, seed=1, dtype="float64")


def spelled():
    """Return the word as tokens, (1, 5)."""
    return np.array([[LETTERS.index(letter) for letter in WORD]])


def drawing():
    """Return whether to draw: in a notebook, or where the script was given a folder."""
    return NOTEBOOK or len(sys.argv) > 1


def save(ax, name):
    """Write a picture into the folder of the command line; a notebook shows it."""
    if not NOTEBOOK:
        folder = pathlib.Path(sys.argv[1])
        folder.mkdir(parents=True, exist_ok=True)
        ax.figure.savefig(folder / name, dpi=150)


def check(exercise, answer, right, tolerance=1e-6):
    """Say whether the answer to an exercise is right, within a tolerance; raise AssertionError where it is not."""
    if answer is ...:
        print(f"Exercise {exercise!r}: not answered yet; put your answer in place of the dots.")
        return
    answer, right = np.asarray(answer), np.asarray(right)
    if answer.shape != right.shape:
        raise AssertionError(f"exercise {exercise!r}: the answer has shape {answer.shape}, it should be {right.shape}")
    if not np.allclose(answer, right, rtol=tolerance, atol=tolerance):
        raise AssertionError(f"exercise {exercise!r}: not right yet, got {answer}")
    print(f"Exercise {exercise!r}: right.")
