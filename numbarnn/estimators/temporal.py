"""Temporal classification: label sequences at unknown positions, on the contract of `numbarnn.estimators`.

The most general of three tasks. A label for a whole sequence is a label sequence of length one at any position; and
where every step has a label of its own and no two neighbours are equal, the CTC loss is the sum of the steps' cross-entropies, to
rounding.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from numbarnn import decoding, metrics
from numbarnn.checks import naming
from numbarnn.core import label_sequences
from numbarnn.core.label_sequences import Labels
from numbarnn.core.ragged import Ragged
from numbarnn.core.softmax import log_softmax
from numbarnn.estimators.label_forms import label_lists, one_each
from numbarnn.estimators.labelled import LabelEstimator
from numbarnn.estimators.labels import Classes
from numbarnn.estimators.sections import label_estimator
from numbarnn.estimators.weights import weights_of
from numbarnn.losses.ctc import CTC

BLANK = 0  # column of the blank; label k of classes_ has column k + 1


@label_estimator(classes="Labels in order. Column k + 1 of probabilities is label k, column 0 the blank.")
@dataclass(eq=False, repr=False, kw_only=True)
class TemporalClassifier(LabelEstimator):
    """Recurrent net that reads sequences and outputs label sequences, trained without knowing where the labels are.

    Recurrent layers read the sequence, and a dense layer with a softmax gives every step the probabilities of the labels and of a
    blank; the loss is connectionist temporal classification (`numbarnn.losses.CTC`).

    Forms of X are those of `numbarnn.estimators`: numbers, integer tokens, and strings, whose characters (or words, of a
    list of words) are the steps. A label needs a step, and a blank between two equal ones another: where label sequences may be
    longer than samples, repeat the steps. Samples of no steps have the empty sequence.

    Forms of y: a list of label sequences, each a list, tuple, array or `str` (whose characters are the labels), or empty;
    or with `y_lengths` an array (samples, longest) of which the first ones count, or all labels concatenated. Labels are
    hashable values of any kind but None, NaN and fractions.

    Parameters
    ----------
    {net}
        True unless outputs are wanted while the sequence goes on: then a label may not depend on what follows it.
    {input}
    infeasible : {{"error", "zero"}}
        What becomes of samples with fewer steps than labels plus adjacent repeats: refused by index, or without effect.
    {training}

    Attributes
    ----------
    {fitted}

    Examples
    --------
    >>> classifier = TemporalClassifier("lstm", 16, random_state=0)
    >>> X = ["aabb", "bbaa"] * 10  # characters, each with a vector; or arrays (time steps, features)
    >>> classifier = classifier.fit(X, [["A", "B"], ["B", "A"]] * 10)
    >>> len(classifier.predict(["aabb"]))
    1
    >>> found = classifier.decode(["aabb"], beam_width=20, n_best=3)  # label sequences with their log probabilities
    >>> len(found[0])
    3
    """

    KIND = "temporal_classifier"
    BLANKS = 1
    EMPTY = True

    bidirectional: bool = True
    infeasible: str = "error"

    @property
    def _loss(self):
        return CTC(BLANK, self.infeasible)

    # Training

    def fit(
        self,
        X: Any,
        y: Any,
        sample_weight: Any = None,
        *,
        lengths: Any = None,
        offsets: Any = None,
        y_lengths: Any = None,
        validation: Any = None,
    ) -> "TemporalClassifier":
        """Train on samples, from new weights unless `warm_start`. After an error the estimator is as it was.

        Parameters
        ----------
        X, y, lengths, offsets, y_lengths : see the class
        sample_weight : (n,) array-like, optional
        validation : (X, y) or (X, y, options) tuple, optional
            Held-out samples instead of a part of X; options is a dict of their lengths, offsets or y_lengths.

        Returns
        -------
        self

        Raises
        ------
        ShapeError
            If X, y, lengths or offsets contradict each other, or samples have too few steps for their labels.
        ValueError, TypeError
            If X has NaN or infinity, y something that is not a label, or, under `warm_start`, labels that the model does not know.
        """
        return self._fit(X, y, sample_weight, validation, lengths=lengths, offsets=offsets, y_lengths=y_lengths)

    def partial_fit(
        self,
        X: Any,
        y: Any,
        classes: Any = None,
        sample_weight: Any = None,
        *,
        lengths: Any = None,
        offsets: Any = None,
        y_lengths: Any = None,
    ) -> "TemporalClassifier":
        """Train one epoch more, on other samples or the same, from where training stands; the optimizer's state goes on.

        Parameters
        ----------
        X, y, sample_weight, lengths, offsets, y_lengths : as in `fit`
        classes : sequence of labels, optional
            All labels that will ever come, at the first call; None: those of y.

        Returns
        -------
        self

        Raises
        ------
        ShapeError, TypeError, ValueError
            If an argument has the wrong shape, dtype or value, or y has labels that the model does not know.
        """
        return self._partial_fit(X, y, classes, sample_weight, lengths=lengths, offsets=offsets, y_lengths=y_lengths)

    def _encode_targets(self, y, x, sample_weight, options, reset):
        sequences = label_lists(y, options.get("y_lengths"))
        one_each(sequences, len(x))
        if self.classes_ is None:
            self._set_classes(Classes.of(label for sequence in sequences for label in sequence))
        labels = self._columns(sequences)
        if self._loss.infeasible != "zero":
            advice = "Give them more steps (repeat each), leave them out, or set infeasible='zero'"
            label_sequences.check_lengths(labels, x.lengths, advice)
        weight = weights_of(sample_weight, x, one="label sequence")
        return Ragged.of(labels.flat, labels.counts), weight

    def _strata(self, target):
        return None

    def _set_file_loss(self, loss):
        """Do nothing: the loss has no options but `infeasible`."""

    def _layers_before_output(self):
        return {}, []

    # Using

    def predict(self, X: Any, *, lengths: Any = None, offsets: Any = None) -> list[list[Any]]:
        """Return the label sequence of each sample by the best path.

        Parameters
        ----------
        X, lengths, offsets : as in `fit`

        Returns
        -------
        list of lists of labels
            One for each sample.

        Raises
        ------
        NotFittedError
            If `fit` was not called.
        ValueError
            If X has the wrong shape, dtype or values, or not the features of `fit`.
        """
        return self._each(X, lengths, offsets, self._best_path)

    def predict_proba(self, X: Any, *, lengths: Any = None, offsets: Any = None) -> list[np.ndarray]:
        """Return the probabilities of the blank and the labels at every step.

        Parameters
        ----------
        X, lengths, offsets : as in `fit`

        Returns
        -------
        list of (steps, classes + 1) float64 arrays
            One for each sample; column 0 is the blank, column k + 1 the label ``classes_[k]``.

        Raises
        ------
        NotFittedError
            If `fit` was not called.
        ShapeError, TypeError, ValueError
            If X has another form, dtype or number of features than in `fit`.
        """
        return [np.exp(logs) for logs in self.predict_log_proba(X, lengths=lengths, offsets=offsets)]

    def predict_log_proba(self, X: Any, *, lengths: Any = None, offsets: Any = None) -> list[np.ndarray]:
        """Return the logarithms of `predict_proba`, exact where those are zero.

        Parameters
        ----------
        X, lengths, offsets : as in `fit`

        Returns
        -------
        as `predict_proba`

        Raises
        ------
        NotFittedError
            If `fit` was not called.
        ShapeError, TypeError, ValueError
            If X has another form, dtype or number of features than in `fit`.
        """

        def logs(logits, steps, rows):
            return [sample[:count] for sample, count in zip(log_softmax(logits), steps, strict=True)]

        return self._each(X, lengths, offsets, logs)

    def decode(
        self, X: Any, *, beam_width: int = 10, n_best: int = 1, lengths: Any = None, offsets: Any = None
    ) -> list[list[decoding.Hypothesis]]:
        """Return the most probable label sequences of each sample: `numbarnn.decoding.beam_search`.

        Parameters
        ----------
        X, lengths, offsets : as in `fit`
        beam_width : int
            Prefixes that are followed at a time.
        n_best : int
            Hypotheses of each sample, at most.

        Returns
        -------
        list of lists of Hypothesis
            Labels with their log probability, the most probable first.

        Raises
        ------
        NotFittedError
            If `fit` was not called.
        ShapeError, TypeError, ValueError
            If X has another form, dtype or number of features than in `fit`.
        """
        options = {"beam_width": beam_width, "n_best": n_best, "blank": BLANK, "n_threads": self.n_threads}

        def search(logits, steps, rows):
            return [
                [h._replace(labels=tuple(self._labels(h.labels))) for h in hypotheses]
                for hypotheses in decoding.beam_search(logits, steps, **options)
            ]

        return self._each(X, lengths, offsets, search)

    def align(
        self, X: Any, y: Any, *, lengths: Any = None, offsets: Any = None, y_lengths: Any = None
    ) -> list[decoding.Alignment]:
        """Return the steps at which the labels of given sequences are: `numbarnn.decoding.align`.

        Parameters
        ----------
        X, y, lengths, offsets, y_lengths : as in `fit`

        Returns
        -------
        list of Alignment
            One for each sample; its path is in columns of `predict_proba`.

        Raises
        ------
        NotFittedError
            If `fit` was not called.
        ShapeError, TypeError, ValueError
            If X has another form, dtype or number of features than in `fit`, or y has labels that the model does not know
            or more than a sample can have.
        """
        return self._with_labels(decoding.align, X, y, lengths, offsets, y_lengths)

    def occupancy(
        self, X: Any, y: Any, *, lengths: Any = None, offsets: Any = None, y_lengths: Any = None
    ) -> list[np.ndarray]:
        """Return the probability of each position of given sequences at every step: `numbarnn.decoding.occupancy`.

        Parameters
        ----------
        X, y, lengths, offsets, y_lengths : as in `fit`

        Returns
        -------
        list of (steps, 2 labels + 1) float64 arrays
            One for each sample; columns are blank, first label, blank, ..., last label, blank.

        Raises
        ------
        NotFittedError
            If `fit` was not called.
        ShapeError, TypeError, ValueError
            If X has another form, dtype or number of features than in `fit`, or y has labels that the model does not know
            or more than a sample can have.
        """
        return self._with_labels(decoding.occupancy, X, y, lengths, offsets, y_lengths)

    def score(self, X: Any, y: Any, *, lengths: Any = None, offsets: Any = None, y_lengths: Any = None) -> float:
        """Return 1 - label error rate of `predict`, negative where it predicts more wrong labels than there are.

        A label that the model does not know is wrong.

        Parameters
        ----------
        X, y, lengths, offsets, y_lengths : as in `fit`

        Returns
        -------
        float

        Raises
        ------
        NotFittedError
            If `fit` was not called.
        ShapeError, TypeError, ValueError
            If X has another form, dtype or number of features than in `fit`.
        """
        sequences = label_lists(y, y_lengths)
        predicted = self.predict(X, lengths=lengths, offsets=offsets)
        with naming("y", "truth"):
            return 1.0 - metrics.label_errors(sequences, predicted).rate

    def _probabilities(self, logits):
        return np.exp(log_softmax(logits))

    def _stream_prediction(self, outputs, before):
        column = int(outputs.argmax())
        if column == BLANK or (before is not None and before.argmax() == column):
            return None
        return self._classes.listing[column - 1]

    def _with_labels(self, function, X, y, lengths, offsets, y_lengths):
        sequences = label_lists(y, y_lengths)

        def called(logits, steps, rows):
            part = self._columns([sequences[row] for row in rows])
            return function(logits, part, steps, blank=BLANK)

        return self._each(X, lengths, offsets, called, sequences)

    def _best_path(self, logits, steps, rows):
        return [self._labels(sequence) for sequence in decoding.best_path(logits, steps, blank=BLANK)]

    def _each(self, X, lengths, offsets, function, sequences=None) -> list:
        """Return what a function of (logits (samples, steps, classes + 1) float64, lengths, indices) gives for each sample.

        sequences : label sequences, of which there must be one for each sample.
        """
        x = self._input(X, {"lengths": lengths, "offsets": offsets})
        if sequences is not None:
            one_each(sequences, len(x))
            label_sequences.check_lengths(self._columns(sequences), x.lengths, "They have no alignment")
        found = [None] * len(x)
        for rows, outputs, steps in self._parts(x):
            for row, result in zip(rows, function(outputs.astype(np.float64), steps, rows), strict=True):
                found[row] = result
        return found

    def _columns(self, sequences) -> Labels:
        """Return label sequences as columns of probabilities."""
        flat = self._classes.encode([label for sequence in sequences for label in sequence])
        return Labels(flat + 1, np.array([len(sequence) for sequence in sequences], np.int64))

    def _labels(self, sequence):
        return [self._classes.listing[column - 1] for column in sequence]
