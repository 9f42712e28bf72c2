"""Classifier of the steps or segments of sequences, on scikit-learn's contract."""

import itertools
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any

import numpy as np

from numbarnn import metrics
from numbarnn.checks import brief, naming
from numbarnn.core.ragged import Ragged
from numbarnn.estimators import indicators
from numbarnn.estimators.cross_entropy import CrossEntropyClassifier
from numbarnn.estimators.label_forms import ANSWERS, Answers, as_predicted, check_each, column, plain, whole
from numbarnn.estimators.labels import Classes, check_labels
from numbarnn.estimators.sections import label_estimator
from numbarnn.estimators.settings import IGNORED
from numbarnn.estimators.weights import weights_of
from numbarnn.losses import SoftmaxCrossEntropy
from numbarnn.losses.segments import SegmentCrossEntropy, check_segments, pool_segments, segment_codes
from numbarnn.metrics.labels import missing
from numbarnn.sklearn_api import not_fitted


@label_estimator(most="50, of one label a sample 200")
@dataclass(eq=False, repr=False, kw_only=True)
class SegmentClassifier(CrossEntropyClassifier):
    """Recurrent net that labels every step of a sequence, or given segments of it, on scikit-learn's contract.

    Recurrent layers read the sequence, and a dense layer with a softmax turns each of their outputs into probabilities. What is
    learned follows from `fit`:

    * y a list of sequences of labels, one for every step: the loss is the cross-entropy of the steps, all counting alike;
    * `segments` given, y a list of sequences of labels, one for each segment: logits are averaged over the steps of a segment
      before the softmax;
    * y one label a sample: one segment over all of each sample, as `SequenceClassifier` with ``pooling="mean"``;
    * y indicators of the labels of every step, an array (n, time steps, labels) of 0 and 1 or a list of arrays or DataFrames (time
      steps, labels), or lists of sets of labels: each label is a question of its own, as in `SequenceClassifier`.

    Steps (or segments) whose label is None, NaN or `ignore` do not count, nor do those that a mask leaves out: a `sample_weight`
    with a value for every step, such as booleans, where 0 and False are steps that are not scored, whatever their labels.

    Parameters
    ----------
    {net}
        True unless labels are wanted while the sequence goes on (`stream`): then one may not depend on what follows it.
    ignore : label, optional
        Label of what does not count, such as -1.
    {input}
    {class_weight}
    {training}

    Attributes
    ----------
    {fitted}

    Examples
    --------
    >>> from numbarnn.data import WordFeatures
    >>> tagger = SegmentClassifier(bidirectional=True, tokens=WordFeatures(prefix=3, suffix=3, shape=True), random_state=0)
    >>> tagger = tagger.fit([["the", "cat"], ["cats", "sleep", "."]], [["DET", "NOUN"], ["NOUN", "VERB", "PUNCT"]])
    >>> [labels.tolist() for labels in tagger.predict([["cats", "sleep", "."]])]
    [['NOUN', 'VERB', 'PUNCT']]
    """

    KIND = "segment_classifier"

    ignore: Any = None

    @property
    def _label_each_step(self):
        return self._kind != "samples"

    def fit(
        self,
        X: Any,
        y: Any,
        sample_weight: Any = None,
        *,
        lengths: Any = None,
        offsets: Any = None,
        segments: Any = None,
        validation: Any = None,
    ) -> "SegmentClassifier":
        """Train on samples, from new weights unless `warm_start`. After an error the estimator is as it was.

        Parameters
        ----------
        X : array-like or list
            Samples; see `numbarnn.estimators`.
        y : list of sequences of labels, (n, time steps) array, or (n,) labels; or indicators of steps
            A label for every step, for every segment, or for every sample; hashable values of any kind. With `offsets`, labels of
            all steps may be concatenated, as X is.
        sample_weight : (n,) array-like, or a value for every step, optional
            Of steps a list of arrays, an (n, time steps) array or, with `offsets`, one array, as y; True and False make a mask.
            Steps of weight 0 do not count, and their labels are not looked at. A segment's weight is that of its first step.
        lengths : (n,) integers, optional
            Valid steps of padded samples.
        offsets : (n + 1,) integers, optional
            Where each of the concatenated samples begins, and the last ends.
        segments : list of arrays, optional
            For each sample (segments, 2) pairs of first step and step after the last, or the index of the segment that each step
            belongs to, -1 for none.
        validation : (X, y) or (X, y, options) tuple, optional
            Held-out samples instead of a part of X; options is a dict of their lengths, offsets, segments or sample_weight.

        Returns
        -------
        self

        Raises
        ------
        ShapeError, TypeError, ValueError
            If an argument has the wrong shape, dtype or value, naming the sample.
        """
        return self._fit(X, y, sample_weight, validation, lengths=lengths, offsets=offsets, segments=segments)

    def partial_fit(
        self,
        X: Any,
        y: Any,
        classes: Any = None,
        sample_weight: Any = None,
        *,
        lengths: Any = None,
        offsets: Any = None,
        segments: Any = None,
    ) -> "SegmentClassifier":
        """Train one epoch more, on other samples or the same, from where training stands; the optimizer's state goes on.

        Parameters
        ----------
        X, y, sample_weight, lengths, offsets, segments : as in `fit`
        classes : array-like, optional
            All labels that will ever come, at the first call; None: those of y.

        Returns
        -------
        self

        Raises
        ------
        ShapeError, TypeError, ValueError
            If an argument has the wrong shape, dtype or value, or y has labels that the model does not know.
        """
        return self._partial_fit(X, y, classes, sample_weight, lengths=lengths, offsets=offsets, segments=segments)

    def predict(self, X: Any, *, lengths: Any = None, offsets: Any = None, segments: Any = None) -> Any:
        """Return labels.

        Parameters
        ----------
        X, lengths, offsets, segments : as in `fit`

        Returns
        -------
        list of arrays
            One a sample, with a label for every step or, with `segments`, for every segment. With `offsets` one array of the
            labels of all steps, as X comes; after `fit` with one label a sample, an array (n,). Of several labels a step,
            indicators with a last axis of labels.

        Raises
        ------
        NotFittedError
            If `fit` was not called.
        ShapeError, TypeError, ValueError
            If X has another form, dtype or number of features than in `fit`, or the model was fitted to segments and none are
            given.
        """
        return self._given(X, lengths, offsets, segments, self._labels_of)

    def predict_proba(self, X: Any, *, lengths: Any = None, offsets: Any = None, segments: Any = None) -> Any:
        """Return the probability of each class of `classes_`.

        Parameters
        ----------
        X, lengths, offsets, segments : as in `fit`

        Returns
        -------
        as `predict`
            With a last axis of classes, float64.

        Raises
        ------
        NotFittedError
            If `fit` was not called.
        ShapeError, TypeError, ValueError
            If X has another form, dtype or number of features than in `fit`.
        """
        return self._given(X, lengths, offsets, segments, self._probabilities)

    def predict_log_proba(self, X: Any, *, lengths: Any = None, offsets: Any = None, segments: Any = None) -> Any:
        """Return the logarithms of `predict_proba`, exact where those are zero.

        Parameters
        ----------
        X, lengths, offsets, segments : as in `fit`

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
        return self._given(X, lengths, offsets, segments, self._log_probabilities)

    def score(
        self,
        X: Any,
        y: Any,
        sample_weight: Any = None,
        *,
        lengths: Any = None,
        offsets: Any = None,
        segments: Any = None,
    ) -> float:
        """Return the share of labels that are right, of all steps or segments that count; a label that is not known is wrong.

        The arguments are those of `fit`. Of several labels, the share of steps all of whose labels are right.
        """
        if self._several:
            return self._score_several(X, y, sample_weight, lengths, offsets, segments)
        y = plain(y)
        if len(y) == 0:
            raise ValueError("y must have at least one label, it has none")
        x, pairs, logits = self._scored(X, lengths, offsets, segments)
        predicted = self._labels_of(logits)
        by_sample = self._kind == "samples" and segments is None
        weight = weights_of(sample_weight, x, offsets is not None, "label" if by_sample else None)
        if isinstance(weight, Ragged) and pairs is not None:
            weight = Ragged(_at_first(weight, pairs), pairs.offsets)
        if by_sample:
            with naming("y", "truth"):
                return metrics.accuracy(column(y), predicted, weight, ignore=self.ignore)
        predicted = list(Ragged(predicted, x.offsets if pairs is None else pairs.offsets))
        y = as_predicted(y, predicted, offsets if segments is None else None)
        weight = list(weight) if isinstance(weight, Ragged) else weight
        with naming("y", "truth"):
            return metrics.accuracy(y, predicted, weight, ignore=self.ignore)

    def _score_several(self, X, y, sample_weight, lengths, offsets, segments):
        x, _, logits = self._scored(X, lengths, offsets, segments)
        weight = weights_of(sample_weight, x, offsets is not None)
        found = indicators.of_steps(y, x.offsets if offsets is not None else None)
        if found is None:
            raise ValueError(
                f"y must be indicators of every step, (time steps, labels) for each sample, got {brief(y)}"
            )
        truth, counted = self._several_labels(found, x, weight)
        if isinstance(weight, Ragged):
            weight = weight.values[counted]
        elif weight is not None:
            weight = np.repeat(weight, x.lengths)[counted]
        return indicators.subset_accuracy(truth[counted], self._labels_of(logits)[counted], weight)

    def _several_labels(self, found, x, weight):
        """Return indicators of all steps, and which steps count."""
        check_each(found.lengths, len(x))
        if self.classes_ is None:
            self._set_classes(found.classes())
        rows = found.of_lengths(self._classes, x.lengths)
        counted = indicators.steps_that_count(rows, self.ignore)
        if isinstance(weight, Ragged):
            counted &= weight.values > 0
        indicators.check_answers(rows[counted])
        if not counted.any():
            raise ValueError("y has no label that counts")
        return rows, counted

    def _given(self, X, lengths, offsets, segments, function):
        """Return a function of the logits in the form that `predict` says."""
        x, pairs, logits = self._scored(X, lengths, offsets, segments)
        found = function(logits)
        if pairs is not None:
            return found if segments is None else list(Ragged(found, pairs.offsets))
        return found if offsets is not None else list(Ragged(found, x.offsets))

    def _scored(self, X, lengths=None, offsets=None, segments=None):
        """Return the samples, the segments of each or None, and the logits of all steps or segments."""
        if not hasattr(self, "model_"):
            raise not_fitted(self)
        if segments is None and self._kind == "segments":
            raise ValueError(
                "this SegmentClassifier was fitted to segments; pass segments=, for a label of every step pairs (t, t + 1)"
            )
        if segments is not None and self._several:
            raise ValueError("segments have one label each; this SegmentClassifier was fitted to several labels a step")
        x = self._input(X, {"lengths": lengths, "offsets": offsets})
        pairs = None
        if segments is not None:
            pairs = check_segments(segments, x.lengths)
        elif self._kind == "samples":
            pairs = whole(x.lengths)
        logits = self._logits(x)
        return x, pairs, logits if pairs is None else pool_segments(Ragged(logits, x.offsets), pairs)

    def _encode_targets(self, y, x, sample_weight, options, reset):
        self._target_missing(y)
        segments, given = options.get("segments"), options.get("offsets") is not None
        found = indicators.of_steps(y, x.offsets if given else None)
        self._set_several(found is not None, reset)
        if found is not None:
            if segments is not None:
                raise ValueError("segments have one label each, y has several labels a step; leave segments out")
            return self._encoded_several(found, x, weights_of(sample_weight, x, given), reset)
        pairs = None if segments is None else check_segments(segments, x.lengths)
        answers = Answers.of(y, x, pairs, given)
        if not reset and answers.kind != self._kind:
            raise ValueError(
                f"this SegmentClassifier was fitted to labels of {self._kind}, y has labels of {answers.kind}"
            )
        if reset:
            self._kind = answers.kind
        answers.check(x)
        weight = weights_of(sample_weight, x, given, "label" if answers.kind == "samples" else None)
        return self._encoded(answers.labels, x, answers.pairs, weight, reset)

    def _encoded_several(self, found, x, weight, reset):
        """Return indicators of steps and weights, and set what training learns from if `reset`."""
        rows, counted = self._several_labels(found, x, weight)
        if reset:
            self._kind = "steps"
            self._set_label_loss(rows[counted])
        if not counted.all():
            if not isinstance(weight, Ragged):
                weight = Ragged(np.repeat(np.ones(len(x)) if weight is None else weight, x.lengths), x.offsets)
            weight, rows = Ragged(weight.values * counted, x.offsets), np.where(counted[:, None], rows, 0)
        return Ragged(rows.astype(np.float32), x.offsets), weight

    def _encoded(self, labels, x, pairs, weight, reset):
        """Return targets and weights for one label a step or a pair, and set what training learns from if `reset`."""
        if self._kind == "samples" and self.ignore is None:
            check_labels(labels)
        ignored = (missing(label) or (self.ignore is not None and label == self.ignore) for label in labels)
        counted = ~np.fromiter(ignored, bool, len(labels))
        if isinstance(weight, Ragged):
            counted &= (weight.values if pairs is None else _at_first(weight, pairs)) > 0
        there = check_labels(labels if counted.all() else list(itertools.compress(labels, counted)))
        if not there:
            raise ValueError("y has no label that counts")
        if self.classes_ is None:
            self._set_classes(Classes.of(there))
        codes = np.full(len(labels), IGNORED, np.int64)
        codes[counted] = self._classes.encode(there)
        if reset:
            self._set_label_loss(codes[counted])
        return Ragged(codes, x.offsets) if pairs is None else segment_codes(pairs, codes, x.lengths), weight

    @property
    def _loss(self):
        return self._label_loss if self._kind == "steps" else SegmentCrossEntropy(self._label_loss.class_weight)

    def _set_label_loss(self, codes):
        super()._set_label_loss(codes)
        if self._kind != "steps" and self._label_loss != SoftmaxCrossEntropy(self._label_loss.class_weight):
            raise ValueError(
                f"loss must be 'auto' or a SoftmaxCrossEntropy without label_smoothing where labels are of {self._kind}, got "
                f"{brief(self.loss)}"
            )

    def _file_state(self):
        about, arrays = super()._file_state()
        return about | {"answers": self._kind}, arrays

    def _set_file_state(self, about, arrays):
        if about["answers"] not in ANSWERS:
            raise ValueError(f"labels of {about['answers']!r}")
        self._kind = about["answers"]
        if about["several"] and self._kind != "steps":
            raise ValueError(f"several labels of {self._kind}")
        super()._set_file_state(about, arrays)

    def _check_settings(self):
        super()._check_settings()
        if not isinstance(self.ignore, Hashable):
            raise TypeError(f"ignore must be a label, which can be hashed, or None, got {brief(self.ignore)}")

    def _strata(self, target):
        return target.values[target.offsets[:-1]] if self._kind == "samples" else None

    def _stream_pooling(self):
        return "mean" if self._kind == "samples" else None

    def _layers_before_output(self):
        return {}, []


def _at_first(weight, pairs):
    """Return the weight at the first step of each segment."""
    return weight.values[np.repeat(weight.offsets[:-1], pairs.lengths) + pairs.values[:, 0]]
