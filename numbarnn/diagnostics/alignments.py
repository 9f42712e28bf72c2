"""Posterior alignments of nets trained with CTC."""

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from numbarnn import decoding
from numbarnn.backends.device import host
from numbarnn.core.label_sequences import as_labels, check_blank
from numbarnn.diagnostics import tape
from numbarnn.errors import ShapeError
from numbarnn.network.network import Network

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class PosteriorAlignment:
    """Posterior alignment of one sample's label sequence: at which steps its labels lie, over all alignments.

    ::

        o_t = softmax(logits_t)        p(path | x) = prod over t of o_t[path_t]
        p(l | x) = sum over B(path) = l of p(path | x)
        gamma_t(s) = p(path is at position s of l' at step t | l, x)
        -log p(l | x) = E,     dE / dlogits_t[k] = o_t[k] - sum over the positions s of class k of gamma_t(s)

    l', the extended label sequence, has 2 L + 1 positions for L labels: blank, first label, blank, ..., last label, blank.

    Attributes
    ----------
    labels : (L,) int64
    blank : int
    probabilities : (steps, classes) array
        o_t, the softmax of the outputs, not conditioned on the label sequence.
    occupancy : (steps, 2 L + 1) array
        gamma; rows add up to 1.
    best : numbarnn.decoding.Alignment
        The most probable single alignment (Viterbi).
    log_probability : float
        log p(l | x), in nats: minus the loss of this sample.

    References
    ----------
    A. Graves et al., "Connectionist temporal classification", ICML 2006, section 4.1 and equation 15.
    """

    labels: np.ndarray
    blank: int
    probabilities: np.ndarray
    occupancy: np.ndarray
    best: decoding.Alignment
    log_probability: float

    @property
    def extended_labels(self) -> np.ndarray:
        """Class of every position of the extended label sequence, (2 L + 1,)."""
        classes = np.full(2 * len(self.labels) + 1, self.blank, np.int64)
        classes[1::2] = self.labels
        return classes

    @functools.cached_property
    def by_class(self) -> np.ndarray:
        """Occupancy summed by class, (steps, classes): the targets that the loss pulls the probabilities towards."""
        summed = np.zeros_like(self.probabilities)
        np.add.at(summed, (slice(None), self.extended_labels), self.occupancy)
        return summed

    @property
    def centers(self) -> np.ndarray:
        """Mean step of each label under the occupancy, (L,)."""
        own = self.occupancy[:, 1::2]
        return np.arange(len(own)) @ own / own.sum(axis=0)  # every path is at every label for at least one step

    @property
    def certainty(self) -> float:
        """Probability of the best alignment among all of the label sequence; 1 where there is only one."""
        return float(np.exp(self.best.log_probability - self.log_probability))

    def to_frame(self) -> "pd.DataFrame":
        """Return a tidy `pandas.DataFrame`: columns step, position, label (blanks included), probability."""
        import pandas as pd

        step, position = np.indices(self.occupancy.shape).reshape(2, -1)
        return pd.DataFrame(
            {
                "step": step,
                "position": position,
                "label": self.extended_labels[position],
                "probability": self.occupancy.reshape(-1),
            }
        )

    def __repr__(self) -> str:
        steps, labels = len(self.occupancy), len(self.labels)
        return f"<PosteriorAlignment: {labels} labels, {steps} time steps, log p(l | x) = {self.log_probability:.4g}>"

    def __str__(self) -> str:
        lines = [
            f"log p(l | x) = {self.log_probability:.4g}; the best alignment has {self.certainty:.0%} of it",
            f"{'label':>6} {'steps of the best':>18} {'mean step':>10} {'most probable at':>17}",
        ]
        for k, label in enumerate(self.labels):
            first, last = self.best.first[k], self.best.last[k]
            peak = int(self.occupancy[:, 2 * k + 1].argmax())
            shown = f"{peak} ({self.occupancy[peak, 2 * k + 1]:.2f})"
            lines.append(f"{label:>6} {f'{first} to {last}':>18} {self.centers[k]:>10.1f} {shown:>17}")
        return "\n".join(lines)


def alignment(
    model: Network, x: Any, labels: Any, lengths: Any = None, state: Any = None, *, blank: int = 0
) -> list[PosteriorAlignment]:
    """Return the posterior alignment of each sample's label sequence, of a model trained with CTC, in float64.

    `sensitivity` shows which inputs a label depends on, at the step of the label: with ``found = alignment(model, x,
    labels)[0]``, ``sensitivity(model, x[:1], t=found.best.first[k], output=found.labels[k])``.

    Parameters
    ----------
    model, x, lengths, state : as in `numbarnn.Model.forward`
    labels : array, list or tuple
        Label sequences, in a form of `numbarnn.losses.CTC`.
    blank : int
        Class of the blank.

    Returns
    -------
    list of PosteriorAlignment
        One for each sample.

    Raises
    ------
    ShapeError
        If a sequence has more labels (and blanks between equal ones) than its sample has steps, or the model has one output per
        sample.
    TokenError, TypeError, ValueError
        If an argument has the wrong shape, dtype or value.

    Examples
    --------
    >>> import numpy as np, numbarnn
    >>> model = numbarnn.Model([numbarnn.GRU(4), numbarnn.Dense(3)], input_size=2)  # classes: blank, 1 and 2
    >>> found = numbarnn.diagnostics.alignment(model, np.ones((1, 5, 2)), [[1, 2]])[0]
    >>> found.occupancy.shape  # steps, and blank, 1, blank, 2, blank
    (5, 5)
    """
    blank = check_blank(blank)
    net, x = tape.in_float64(model, x, lengths)
    if not net.signals[-1].sequence:
        raise ShapeError("the model has one output per sample; CTC needs one at every step: return_sequences=True")
    sequences = as_labels(labels, len(x), "labels")
    done = tape.run(net, x, state, lengths)
    logits, given = done.outputs[-1], (sequences.flat, sequences.counts)
    best = decoding.align(logits, given, lengths, blank=blank)  # which checks the sequences too
    occupied = decoding.occupancy(logits, given, lengths, blank=blank)
    losses, _ = host().losses.ctc(done.call, done.rows, sequences, done.layout, blank, np.ones(len(x)), False)
    losses = done.layout.unsort(losses)
    found = []
    for n, sequence in enumerate(sequences.rows()):
        own = logits[n, : done.lengths[n]]
        shares = np.exp(own - own.max(axis=1, keepdims=True))
        shares /= shares.sum(axis=1, keepdims=True)
        found.append(PosteriorAlignment(sequence, blank, shares, occupied[n], best[n], -float(losses[n])))
    return found
