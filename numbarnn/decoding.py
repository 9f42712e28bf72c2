"""Decoding and alignment of CTC outputs: label sequences from logits, and the steps at which labels lie.

All functions take logits (samples, time steps, classes) of a model trained with `numbarnn.losses.CTC`, and `lengths`. Steps past a
length do not exist. Everything is computed in float64.
"""

import functools
from typing import Any, NamedTuple

import numpy as np

from numbarnn import parallel
from numbarnn.checks import check_integer, check_lengths, counted, to_array
from numbarnn.core import alignments, label_sequences
from numbarnn.core.label_sequences import Labels, as_labels, check_blank
from numbarnn.core.softmax import log_softmax
from numbarnn.errors import ShapeError
from numbarnn.kernels.cpu import decoding as kernels
from numbarnn.kernels.groups import entry_point
from numbarnn.words import module_attributes

__all__ = [
    "Alignment",
    "Hypothesis",
    "align",
    "beam_search",
    "best_path",
    "collapse",
    "occupancy",
]

__getattr__ = module_attributes(__name__, __all__)


class Hypothesis(NamedTuple):
    """A label sequence and its log probability.

    Attributes
    ----------
    labels : tuple
    log_probability : float
        Sum over the alignments in the beam, in nats: all of them where the beam dropped nothing, else a lower bound.
    """

    labels: tuple[Any, ...]
    log_probability: float


class Alignment(NamedTuple):
    """The most probable alignment of a label sequence.

    Attributes
    ----------
    path : (steps,) int64
        Class of every step, the blank included.
    first, last : (labels,) int64
        First and last step of each label.
    log_probability : float
        Of this alignment, in nats.
    """

    path: np.ndarray
    first: np.ndarray
    last: np.ndarray
    log_probability: float


def best_path(logits: Any, lengths: Any = None, *, blank: int = 0) -> list[np.ndarray]:
    """Return the label sequence of the most probable class of every step, one array per sample (Graves et al. 2006, section 3.2).

    The sequence of the most probable *alignment*, which is not always the most probable sequence: see `beam_search`.

    Parameters
    ----------
    logits : (samples, time steps, classes) array
    lengths : (samples,) integers, optional
        Valid steps of each sample; None: all.
    blank : int
        Class of the blank.

    Returns
    -------
    list of (labels,) arrays of integers

    Raises
    ------
    ShapeError, TypeError, ValueError
        If an argument has the wrong shape, dtype or value.

    Examples
    --------
    >>> logits = np.log([[[0.1, 0.8, 0.1], [0.6, 0.3, 0.1], [0.2, 0.1, 0.7]]])
    >>> best_path(logits)
    [array([1, 2])]
    """
    logits, lengths, blank = _checked(logits, lengths, blank)
    paths = logits.argmax(axis=2)
    return [collapse(path[:count], blank) for path, count in zip(paths, lengths, strict=True)]


def collapse(path: Any, blank: int = 0) -> np.ndarray:
    """Return the label sequence of an alignment: equal neighbours merged, then blanks removed.

    Parameters
    ----------
    path : (steps,) integers
        Class of every step.
    blank : int

    Returns
    -------
    (labels,) array

    Raises
    ------
    ShapeError
        If the path does not have one axis.
    TypeError
        If it does not have integers.

    Examples
    --------
    >>> collapse([0, 1, 1, 0, 1, 2, 2])
    array([1, 1, 2])
    """
    path, blank = to_array(path, "path"), check_blank(blank)
    if path.ndim != 1:
        raise ShapeError(f"path must have shape (steps,), got {path.shape}")
    if path.size and path.dtype.kind not in "iu":
        raise TypeError(f"path must have integers, the classes of the steps, got dtype {path.dtype}")
    fresh = np.ones(len(path), bool)
    fresh[1:] = path[1:] != path[:-1]
    return path[fresh & (path != blank)]


def beam_search(
    logits: Any,
    lengths: Any = None,
    *,
    beam_width: int = 10,
    n_best: int = 1,
    blank: int = 0,
    n_threads: int | None = None,
) -> list[list[Hypothesis]]:
    """Return the most probable label sequences of each sample, the best first, by prefix beam search.

    Parameters
    ----------
    logits, lengths : arrays
        See `numbarnn.decoding`.
    beam_width : int
        Prefixes kept at every step. With a beam as wide as there are prefixes the result is exact.
    n_best : int
        At most that many sequences, up to `beam_width`; fewer where fewer have positive probability.
    blank : int
    n_threads : int, optional
        Results do not depend on it.

    Returns
    -------
    list of lists of Hypothesis
        One list a sample.

    Raises
    ------
    ShapeError, TypeError, ValueError
        If an argument has the wrong shape, dtype or value.

    References
    ----------
    A. Graves et al., ICML 2006, section 3.2; A. Hannun et al., "First-pass large vocabulary continuous speech recognition using
    bi-directional recurrent DNNs", arXiv:1408.2873 (2014), algorithm 1, without its language model.

    Examples
    --------
    >>> logits = np.log([[[0.1, 0.8, 0.1], [0.6, 0.3, 0.1], [0.2, 0.1, 0.7]]])
    >>> best = beam_search(logits)[0][0]
    >>> best.labels, round(best.log_probability, 3)
    ((1, 2), -0.516)
    """
    logits, lengths, blank = _checked(logits, lengths, blank)
    beam_width, n_best = check_integer(beam_width, "beam_width", 1, 2**20), check_integer(n_best, "n_best", 1)
    if n_best > beam_width:
        raise ValueError(f"n_best is {n_best}, but a beam of {beam_width} keeps no more sequences than that")
    samples, steps, classes = logits.shape
    logs = log_softmax(logits).reshape(-1)
    labels = np.zeros((samples, n_best, steps), np.int32)
    counts, scores = np.empty((samples, n_best), np.int64), np.empty((samples, n_best))
    found, kernel = kernels.Found(labels, counts, scores), entry_point(kernels.beam_search, logs.dtype)
    operations = float(lengths.sum()) * beam_width * (classes + beam_width) * 4
    jobs = []
    for first, last in parallel.shares(samples, operations, parallel.check_threads(n_threads)):
        beam = kernels.Beam(
            np.empty((4, steps * beam_width + 1), np.int64),
            np.empty((4, beam_width), np.int64),
            np.empty((5, beam_width)),
            np.empty(classes, np.int64),
        )
        jobs.append(
            functools.partial(
                kernel, logs, steps, classes, lengths, blank, int(beam_width), int(n_best), beam, found, first, last
            )
        )
    parallel.run(jobs)
    return [
        [
            Hypothesis(tuple(sequence[:count].tolist()), float(score))
            for sequence, count, score in zip(labels[n], counts[n], scores[n], strict=True)
            if count >= 0
        ]
        for n in range(samples)
    ]


def align(logits: Any, labels: Any, lengths: Any = None, *, blank: int = 0) -> list[Alignment]:
    """Return the most probable alignment of each sample's label sequence (Viterbi).

    Parameters
    ----------
    logits : (samples, time steps, classes) array
    labels : array, list or tuple
        Label sequences, in a form of `numbarnn.core.label_sequences.as_labels`.
    lengths : (samples,) integers, optional
        Valid steps of each sample; None: all.
    blank : int
        Class of the blank.

    Returns
    -------
    list of Alignment
        One a sample.

    Raises
    ------
    ShapeError
        If a sequence has more labels (and blanks between equal ones) than its sample has steps.
    ShapeError, TypeError, TokenError, ValueError
        If an argument has the wrong shape, dtype or value.

    Examples
    --------
    >>> logits = np.log([[[0.1, 0.8, 0.1], [0.6, 0.3, 0.1], [0.2, 0.1, 0.7]]])
    >>> align(logits, [[1, 2]])[0].path
    array([1, 0, 2])
    """
    logits, lengths, blank = _checked(logits, lengths, blank)
    logs, labels, skip = _states(logits, labels, lengths, blank)
    samples, steps, states = logs.shape
    best = np.full((samples, states), -np.inf)
    best[:, 0] = 0.0
    came = np.zeros((samples, steps, states), np.int8)
    for t in range(steps):
        ways = alignments.ways(best, skip)
        came[:, t] = ways.argmax(axis=0)
        running = (t < lengths)[:, None]
        best = np.where(running, ways.max(axis=0) + logs[:, t], best)
    found = []
    for n, sequence in enumerate(labels.rows()):
        state = 2 * len(sequence)
        if len(sequence) and best[n, state - 1] > best[n, state]:
            state -= 1
        score, visited = float(best[n, state]), np.empty(lengths[n], np.int64)
        if score == -np.inf:
            raise ValueError(f"the label sequence of sample {n} has probability zero: it has no alignment")
        for t in range(lengths[n] - 1, -1, -1):
            visited[t] = state
            state -= came[n, t, state]
        symbols = np.full(2 * len(sequence) + 1, blank)
        symbols[1::2] = sequence
        steps_of = [np.flatnonzero(visited == 2 * k + 1) for k in range(len(sequence))]
        first, last = (np.array([found_steps[edge] for found_steps in steps_of], np.int64) for edge in (0, -1))
        found.append(Alignment(symbols[visited], first, last, score))
    return found


def occupancy(logits: Any, labels: Any, lengths: Any = None, *, blank: int = 0) -> list[np.ndarray]:
    """Return the probability of each position of the label sequence, blanks included, at each step, given the sequence.

    Parameters
    ----------
    logits, labels, lengths, blank
        As for `align`.

    Returns
    -------
    list of (steps, 2 labels + 1) arrays
        Columns: blank, first label, blank, ..., last label, blank. Rows add up to 1. Summed by class they are what the gradient of
        the loss subtracts from the softmax.

    Raises
    ------
    ShapeError, TypeError, TokenError, ValueError
        As `align`.

    References
    ----------
    A. Graves et al., "Connectionist temporal classification: labelling unsegmented sequence data with recurrent neural networks",
    ICML 2006, section 4.1.

    Examples
    --------
    >>> logits = np.log([[[0.1, 0.8, 0.1], [0.6, 0.3, 0.1], [0.2, 0.1, 0.7]]])
    >>> occupancy(logits, [[1, 2]])[0].round(2)[:, 1]
    array([0.96, 0.32, 0.  ])
    """
    logits, lengths, blank = _checked(logits, lengths, blank)
    logs, labels, skip = _states(logits, labels, lengths, blank)
    found = []
    for n, (log_p, shares) in enumerate(alignments.posteriors(logs, skip, labels.counts, lengths)):
        if log_p == -np.inf:
            raise ValueError(f"the label sequence of sample {n} has probability zero: it has no alignment")
        found.append(shares)
    return found


def _checked(logits, lengths, blank):
    array = to_array(logits, "logits")
    if array.ndim != 3 or 0 in array.shape:
        raise ShapeError(f"logits must have shape (samples, time steps, classes), got {array.shape}")
    if array.dtype.kind not in "fiu":
        raise TypeError(f"logits must be numeric, got dtype {array.dtype}")
    lengths = check_lengths(lengths, *array.shape[:2])
    lengths = np.full(len(array), array.shape[1], np.int64) if lengths is None else lengths
    blank = check_blank(blank)
    if blank >= array.shape[2]:
        raise ValueError(f"blank is class {blank}; logits have {array.shape[2]} classes, 0 to {array.shape[2] - 1}")
    running = np.arange(array.shape[1]) < lengths[:, None]
    array = np.where(running[:, :, None], array, 0).astype(np.float64)
    bad = np.isnan(array) | np.isposinf(array) | np.isneginf(array).all(axis=2, keepdims=True)
    if bad.any():
        index = ", ".join(map(str, np.argwhere(bad)[0]))
        raise ValueError(
            f"logits have {counted(np.count_nonzero(bad), 'value')} NaN or inf, or -inf for all classes, the first at [{index}]"
        )
    return array, lengths, blank


def _states(logits, labels, lengths, blank) -> tuple[np.ndarray, Labels, np.ndarray]:
    """Return the log softmax (samples, steps, 2 longest + 1) by state of the label sequences, the sequences, and the skips."""
    samples, _, classes = logits.shape
    labels = as_labels(labels, samples, "labels")
    label_sequences.check_labels(labels, classes, blank, "labels")
    label_sequences.check_lengths(labels, lengths, "Such sequences have no alignment")
    logs, skip = alignments.states_of(logits, alignments.symbols_of(labels, blank))
    return logs, labels, skip
