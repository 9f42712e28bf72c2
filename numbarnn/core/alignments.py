"""Alignments of label sequences with the steps of a batch, by sums of logarithms in float64: of unlimited range.

A label sequence of L labels has 2 L + 1 states: its labels, with blanks before, between and after them.
"""

import numpy as np

from numbarnn.core.label_sequences import Labels
from numbarnn.core.softmax import log_softmax


def symbols_of(labels: Labels, blank: int) -> np.ndarray:
    """Return the class of every state, (samples, 2 longest + 1); blanks after the last of a shorter sequence."""
    padded, longest = labels.padded(), max(1, int(labels.counts.max(initial=0)))
    symbols = np.full((len(labels.counts), 2 * longest + 1), blank)
    symbols[:, 1::2] = np.where(padded >= 0, padded, blank)
    return symbols


def states_of(logits: np.ndarray, symbols: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the log softmax at every state, (samples, steps, states), and where the blank before a state may be left out."""
    skip = np.zeros(symbols.shape, bool)
    skip[:, 3::2] = symbols[:, 3::2] != symbols[:, 1:-2:2]
    classes = np.broadcast_to(symbols[:, None], (*logits.shape[:2], symbols.shape[1]))
    return np.take_along_axis(log_softmax(logits), classes, axis=2), skip


def ways(values: np.ndarray, skip: np.ndarray) -> np.ndarray:
    """Return the values at the same state, at the one before, and at the one before that where a blank may be left out."""
    return np.stack([values, _shifted(values, 1), np.where(skip, _shifted(values, 2), -np.inf)])


def posteriors(logs, skip, counts, lengths) -> list[tuple[float, np.ndarray]]:
    """Return (log p of the label sequence, probability of every state at every step given the sequence) of each sample.

    A. Graves et al., ICML 2006, equations 5 to 14.

    Parameters
    ----------
    logs, skip : arrays
        As `states_of` returns them.
    counts, lengths : (samples,) integers
        Labels and steps of each sample.

    Returns
    -------
    list of (float, (steps, 2 labels + 1) array)
        Of a sequence without an alignment -inf, and NaN.
    """
    samples, steps, states = logs.shape
    forward = np.full((samples, steps + 1, states), -np.inf)
    forward[:, 0, 0] = 0.0
    for t in range(steps):
        forward[:, t + 1] = np.logaddexp.reduce(ways(forward[:, t], skip)) + logs[:, t]
    backward, joint = np.full((samples, states), -np.inf), np.empty((samples, steps, states))
    rows, onward = np.arange(samples), np.zeros_like(skip)
    onward[:, :-2] = skip[:, 2:]
    for t in range(steps - 1, -1, -1):
        ending = lengths == t + 1
        backward[rows[ending], 2 * counts[ending]] = 0.0
        some = ending & (counts > 0)
        backward[rows[some], 2 * counts[some] - 1] = 0.0
        joint[:, t] = forward[:, t + 1] + backward
        weighed = backward + logs[:, t]
        after = np.stack([weighed, _shifted(weighed, -1), np.where(onward, _shifted(weighed, -2), -np.inf)])
        backward = np.where((t < lengths)[:, None], np.logaddexp.reduce(after), -np.inf)
    return [_normalized(joint[n, : lengths[n], : 2 * count + 1]) for n, count in enumerate(counts)]


def _normalized(joint):
    """Return log p and the posterior of the logarithms of joint probabilities of one sample."""
    if joint.size == 0:
        return 0.0, joint
    # By the largest, and by the sum of what that leaves: the sums themselves may be too large to differ by a factor of two.
    top = joint.max(axis=1, keepdims=True)
    with np.errstate(invalid="ignore"):  # without an alignment, NaN
        shares = np.exp(joint - top)
    whole = shares.sum(axis=1, keepdims=True)
    return float(top[0, 0] + np.log(whole[0, 0])) if top[0, 0] > -np.inf else -np.inf, shares / whole


def _shifted(values, by):
    """Return values shifted along the last axis, filled with -inf."""
    result = np.full_like(values, -np.inf)
    if by > 0:
        result[..., by:] = values[..., :-by]
    else:
        result[..., :by] = values[..., -by:]
    return result
