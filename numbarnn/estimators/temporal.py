"""Temporal classification: label strings whose places are unknown, on the contract of `numbarnn.estimators`.

The most general of three tasks. A label for a whole sequence is a label string of length one, whose place is not asked for; and
where every step has a label of its own and no two neighbours are equal, the CTC loss is the sum of the steps' cross-entropies, to
rounding.
"""

from dataclasses import dataclass

import numpy as np

from numbarnn import decoding, metrics
from numbarnn.core import label_sequences
from numbarnn.core.label_sequences import Labels
from numbarnn.core.ragged import Ragged
from numbarnn.errors import ShapeError
from numbarnn.estimators.labelled import LabelEstimator, label_estimator
from numbarnn.estimators.labels import Classes, check_labels
from numbarnn.losses.ctc import CTC
from numbarnn.sklearn_api import not_fitted

BLANK = 0  # column of the blank; label k of classes_ has column k + 1


@label_estimator(classes="Labels in order. Column k + 1 of probabilities is label k, column 0 the blank.")
@dataclass(eq=False, repr=False, kw_only=True)
class TemporalClassifier(LabelEstimator):
    """Recurrent net that reads sequences and writes label strings, trained without knowing where the labels are.

    Recurrent layers read the sequence, and a dense layer with a softmax gives every step the probabilities of the labels and of a
    blank; the loss is connectionist temporal classification (`numbarnn.losses.CTC`). X is taken as it is:
    ``make_pipeline(SequenceScaler(), TemporalClassifier())`` scales it.

    Forms of X are those of `numbarnn.estimators.labelled`: numbers, integer tokens, and strings, whose characters (or words, of a
    list of words) are the steps. A label needs a step, and a blank between two equal ones another: where label strings may be
    longer than samples, repeat the steps. Samples of no steps have the empty string.

    Forms of y: a list of label strings, each a list, tuple, array or `str` (whose characters are the labels), empty ones included;
    or with `y_lengths` an array (samples, longest) of which the first ones count, or all labels concatenated. Labels are
    hashable values of any kind but None, NaN and fractions.

    Parameters
    ----------
    {net}
        True unless outputs are wanted while the sequence goes on: then a label may not depend on what follows it.
    {input}
    infeasible : {{"error", "zero"}}
        What becomes of samples with fewer steps than labels plus adjacent repeats: refused by number, or without effect.
    {training}

    Attributes
    ----------
    {fitted}

    Examples
    --------
    >>> classifier = TemporalClassifier("lstm", 64, random_state=0)
    >>> classifier.fit(X, ["yes no", "no"]).predict(X)  # X a list of arrays (time steps, features); characters are the labels
    >>> classifier.decode(X, beam_width=20, n_best=3)  # strings with their log probabilities
    >>> TemporalClassifier().fit(["aabb", "bbaa"], [["A", "B"], ["B", "A"]])  # characters, each with a vector
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

    def fit(self, X, y, sample_weight=None, *, lengths=None, offsets=None, y_lengths=None, validation=None):
        """Train on samples, from new weights unless `warm_start`. Arguments that are refused leave the estimator as it was.

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
            If the shapes of X, y, lengths and offsets do not match, or samples have too few steps for their labels.
        ValueError, TypeError
            If X has NaN or infinity, y something that is not a label, or, under `warm_start`, labels that the model does not know.
        """
        return self._fit(X, y, sample_weight, validation, lengths=lengths, offsets=offsets, y_lengths=y_lengths)

    def partial_fit(
        self, X, y, classes=None, sample_weight=None, *, lengths=None, offsets=None, y_lengths=None
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

    def _answers(self, y, x, sample_weight, options, reset):
        strings = _strings(y, options.get("y_lengths"))
        _one_each(strings, len(x))
        if self.classes_ is None:
            self._know(Classes.of(label for string in strings for label in string))
        labels = self._numbers(strings)
        if self._loss.infeasible == "error":
            advice = "Give them more steps (repeat each), leave them out, or set infeasible='zero'"
            label_sequences.check_lengths(labels, x.lengths, advice)
        weight = self._sample_weight(sample_weight, x)
        if isinstance(weight, Ragged):
            raise ValueError("sample_weight must have one number for each sample")
        return Ragged.of(labels.flat, labels.counts), weight

    def _strata(self, target):
        return None

    def _set_loss(self, weights):
        """Do nothing: the loss has no weights of classes."""

    def _head(self):
        return {}, []

    # Using

    def predict(self, X, *, lengths=None, offsets=None) -> list[list]:
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
        ShapeError, TypeError, ValueError
            If X has another form, dtype or number of features than in `fit`.
        """
        return self._each(X, lengths, offsets, self._best_path)

    def predict_proba(self, X, *, lengths=None, offsets=None) -> list[np.ndarray]:
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

    def predict_log_proba(self, X, *, lengths=None, offsets=None) -> list[np.ndarray]:
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
            shifted = logits - logits.max(axis=2, keepdims=True)
            shifted -= np.log(np.exp(shifted).sum(axis=2, keepdims=True))
            return [sample[:count] for sample, count in zip(shifted, steps, strict=True)]

        return self._each(X, lengths, offsets, logs)

    def decode(
        self, X, *, beam_width: int = 10, n_best: int = 1, lengths=None, offsets=None
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

    def align(self, X, y, *, lengths=None, offsets=None, y_lengths=None) -> list[decoding.Alignment]:
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
        return self._with_strings(decoding.align, X, y, lengths, offsets, y_lengths)

    def occupancy(self, X, y, *, lengths=None, offsets=None, y_lengths=None) -> list[np.ndarray]:
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
        return self._with_strings(decoding.occupancy, X, y, lengths, offsets, y_lengths)

    def score(self, X, y, *, lengths=None, offsets=None, y_lengths=None) -> float:
        """Return 1 - label error rate of `predict`, negative where it writes more wrong labels than there are.

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
        strings = _strings(y, y_lengths)
        return 1.0 - metrics.label_errors(strings, self.predict(X, lengths=lengths, offsets=offsets)).rate

    def _with_strings(self, function, X, y, lengths, offsets, y_lengths):
        strings = _strings(y, y_lengths)

        def called(logits, steps, rows):
            part = self._numbers([strings[row] for row in rows])
            return function(logits, part, steps, blank=BLANK)

        return self._each(X, lengths, offsets, called, strings)

    def _best_path(self, logits, steps, rows):
        return [self._labels(string) for string in decoding.best_path(logits, steps, blank=BLANK)]

    def _each(self, X, lengths, offsets, function, strings=None) -> list:
        """Return what a function of (logits (samples, steps, classes + 1) float64, lengths, places) gives for each sample.

        strings : label strings, of which there must be one for each sample.
        """
        if not hasattr(self, "model_"):
            raise not_fitted(self)
        x = self._read(X, {"lengths": lengths, "offsets": offsets}, reset=False)
        if strings is not None:
            _one_each(strings, len(x))
            label_sequences.check_lengths(self._numbers(strings), x.lengths, "They have no alignment")
        found = [None] * len(x)
        for rows, outputs, steps in self._parts(x):
            for row, result in zip(rows, function(outputs.astype(np.float64), steps, rows), strict=True):
                found[row] = result
        return found

    def _numbers(self, strings) -> Labels:
        """Return label strings as columns of probabilities."""
        flat = self._classes.encode([label for string in strings for label in string])
        return Labels(flat + 1, np.array([len(string) for string in strings], np.int64))

    def _labels(self, string):
        return [self._classes.listing[place - 1] for place in string]


def _strings(y, y_lengths) -> list[list]:
    """Return label strings as lists of hashable labels."""
    if y is None:
        raise ValueError("y must be a list of label strings, one a sample, got None")
    if y_lengths is not None:
        counts, array = np.asarray(y_lengths), np.asarray(y)
        if counts.ndim != 1 or counts.dtype.kind not in "iu" or (counts < 0).any():
            raise TypeError(f"y_lengths must be integers, one a sample and none negative, got {y_lengths!r}")
        if array.ndim == 1:
            if counts.sum() != len(array):
                raise ShapeError(f"y has {len(array)} labels, y_lengths add up to {counts.sum()}")
            y = np.split(array, np.cumsum(counts)[:-1])
        elif array.ndim == 2 and len(array) == len(counts) and counts.max(initial=0) <= array.shape[1]:
            y = [row[:count] for row, count in zip(array, counts, strict=True)]
        else:
            raise ShapeError(
                f"y with y_lengths must be (samples, longest) or (all labels,), got {array.shape} with {len(counts)} lengths up to "
                f"{counts.max(initial=0)}"
            )
    elif isinstance(y, (str, bytes)):
        raise TypeError("y must be a list of label strings, one a sample, got one string")
    strings = []
    for place, string in enumerate(y):
        if not isinstance(string, (str, list, tuple, np.ndarray)) and not hasattr(string, "__array__"):
            raise TypeError(
                f"y[{place}] must be a sequence of labels, got {string!r}; a string of one label is a list of one label"
            )
        labels = [label.item() if isinstance(label, np.generic) else label for label in string]
        strings.append(check_labels(labels, f"y[{place}]"))
    return strings


def _one_each(strings, samples):
    """Raise ShapeError unless there is a label string for each sample."""
    if len(strings) != samples:
        raise ShapeError(f"X has {samples} samples, y has {len(strings)} label strings: there must be one for each")
