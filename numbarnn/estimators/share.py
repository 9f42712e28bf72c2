"""The share of the linear path in the outputs of an estimator, chosen by samples that neither it nor the net has seen."""

import math
from collections.abc import Callable

import numpy as np

# Shares that are tried, and the one where held-out samples are too few to say anything.
SHARES, HALF, LEAST_HELD_OUT = np.linspace(0.0, 1.0, 21), 0.5, 8
# Samples are held out in folds of a quarter, one after another until there are that many, or all: of 270 samples the losses of one
# fold gave the net all of it where a half and more was right.
FOLDS, ENOUGH = 4, 250


def folds(samples: int, strata: np.ndarray | None, generator: np.random.Generator) -> list[np.ndarray]:
    """Return the samples of each fold that is held out in turn, at random, of every class its share.

    Parameters
    ----------
    samples : int
    strata : (samples,) array, optional
        Classes.
    generator : numpy.random.Generator
    """
    order = generator.permutation(samples)
    if strata is not None:
        order = order[np.argsort(strata[order], kind="stable")]
    count = min(FOLDS, max(1, math.ceil(ENOUGH * FOLDS / samples)))
    return [np.sort(order[fold::FOLDS]) for fold in range(count)]


def mixed_losses(net: np.ndarray, line: np.ndarray, losses: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """Return the loss (shares, n) of n samples under every one of `SHARES`.

    Parameters
    ----------
    net, line : (n, outputs) arrays
        Outputs of the net and of the linear path.
    losses : function of outputs to the loss of each sample (n,)
    """
    with np.errstate(over="ignore", invalid="ignore"):  # of nets that overflow on samples they have not seen
        return np.array([losses((1 - share) * net + share * line) for share in SHARES])


def best_share(found: np.ndarray) -> float:
    """Return the largest share whose loss is not above the least by more than a standard error of the difference.

    The one-standard-error rule (Breiman, Friedman, Olshen & Stone 1984, "Classification and Regression Trees", section 3.4.3), of
    which the line is the simplest model. On test parts of 3 sets of `benchmarks/label_defaults.py`, 4 to 8 seeds each, it made
    errors of .093, .674 and .0095, where the least loss made .104, .671 and .0122, and a half .101, .699 and .0135.

    Parameters
    ----------
    found : (shares, n) array
        Losses of n held-out samples; those with a loss that is not finite do not count. A half where fewer than 8 are left.
    """
    found = found[:, np.isfinite(found).all(axis=0)]
    count = found.shape[1]
    if count < LEAST_HELD_OUT:
        return HALF
    excess = found - found[found.mean(axis=1).argmin()]
    fits = excess.mean(axis=1) <= excess.std(axis=1, ddof=1) / math.sqrt(count)
    return float(SHARES[np.flatnonzero(fits)[-1]])
