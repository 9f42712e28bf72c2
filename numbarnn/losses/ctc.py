"""Connectionist temporal classification: label sequences whose alignment with the steps is unknown."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from numbarnn.checks import check_choice
from numbarnn.core import label_sequences
from numbarnn.core.label_sequences import as_labels, check_blank, too_short
from numbarnn.core.layout import Layout
from numbarnn.errors import ShapeError
from numbarnn.losses.base import Loss, check_reduction, loss


@loss("ctc")
@dataclass(frozen=True)
class CTC(Loss):
    """E = -log sum over alignments of prod_t softmax(logits_t)[symbol at t]: label sequences of unknown alignment.

    An alignment gives every step a label or the blank; equal labels that follow each other merge, then blanks vanish, and the label
    sequence is left. The sum over all of them is taken forward and backward through L + 1 blanks and L labels; the gradient with
    respect to the logits is softmax minus the probability that the alignment is at the class.

    Targets are label sequences: an integer array (samples, longest) filled up with -1, a list of sequences, or a tuple (labels,
    lengths); see `numbarnn.core.label_sequences.as_labels`. Empty sequences are legal, and so are samples of length 0.

    "mean" is torch's: the mean over the samples of the loss divided by max(labels, 1); "sum" adds the losses. Weights are one a
    sample.

    Parameters
    ----------
    blank : int
        Class of the blank, which no label sequence contains.
    infeasible : {"error", "zero", "inf"}
        A sample with fewer steps than labels plus adjacent repeats has no alignment. "error": a ShapeError lists such samples.
        "zero": their loss and gradient are zero, and they count in the mean (torch's `zero_infinity`). "inf": their loss is
        infinite, as torch's is, and their gradient zero; training refuses them as under "error".

    Raises
    ------
    TypeError, ValueError
        If an option is of the wrong type or out of range.

    Notes
    -----
    Probabilities are kept as a mantissa and an integer exponent each (`numbarnn.kernels.cpu.trellis`): nothing underflows, zero is
    zero, and errors are those of one rounding a step. A sample whose loss is above 600,000 is computed again by logarithms in
    float64; on a GPU, logits more than 700,000 below the largest of their step count as so much.
    Where logits of -inf leave no alignment, the loss is infinite (0 under "zero") and the gradient zero.

    A sample is one thread's; scratch memory is O(T L) a thread.

    References
    ----------
    A. Graves, S. Fernandez, F. Gomez, J. Schmidhuber, "Connectionist temporal classification: labelling unsegmented sequence data
    with recurrent neural networks", ICML 2006.
    """

    blank: int = 0
    infeasible: str = "error"

    by_step = False
    per_sample = True
    _advice = "Give them more steps, leave them out, or use CTC(infeasible='zero')"

    def __post_init__(self):
        object.__setattr__(self, "blank", check_blank(self.blank))
        check_choice(self.infeasible, "infeasible", ("error", "zero", "inf"))

    def check(self, source: Any, signal: Any) -> Any:
        labels = as_labels(source.y, len(source.x), "y")
        label_sequences.check_labels(labels, signal.size, self.blank, "y")
        if self.infeasible != "zero" and signal.sequence:
            steps = source.x.shape[1]
            lengths = np.full(len(source.x), steps) if source.lengths is None else source.lengths
            counted = source.sample_weight > 0 if np.ndim(source.sample_weight) == 1 else True
            label_sequences.check_lengths(labels, lengths, self._advice, counted)

    def scales(self, labels: Any, classes: int, layout: Layout, reduction: Any, sample_weight: Any) -> Any:
        """Check a batch, and return the factors of its samples.

        Parameters
        ----------
        labels : Labels
        classes : int
        layout : Layout
        reduction : {"mean", "sum", "none"}
        sample_weight : (samples,) array or None

        Returns
        -------
        scales : (samples,) float64 array
            What the loss of each sorted sample is multiplied by.
        total : float
            Sum of the weights.

        Raises
        ------
        ShapeError, TokenError, ValueError
            If labels are not classes, are the blank or too many for their steps, or weights have the wrong shape or value.
        """
        check_reduction(reduction)
        label_sequences.check_labels(labels, classes, self.blank)
        weights = np.ones(layout.samples)
        if sample_weight is not None:
            weights = np.asarray(sample_weight, np.float64)
            if weights.shape != (layout.samples,):
                raise ShapeError(f"sample_weight of ctc must have shape ({layout.samples},), got {weights.shape}")
            if not np.isfinite(weights).all() or weights.min() < 0:
                raise ValueError("sample_weight must be finite and not negative")
        lengths = layout.unsort(layout.lengths)
        if self.infeasible == "error":
            label_sequences.check_lengths(labels, lengths, self._advice, weights > 0)
        total = float(weights.sum())
        scales = weights if self.infeasible == "inf" else np.where(too_short(labels, lengths), 0.0, weights)
        if reduction == "mean" and total > 0:
            scales = scales / np.maximum(labels.counts, 1) / total
        return np.ascontiguousarray(layout.sort(scales)), total
