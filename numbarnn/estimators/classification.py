"""Classifiers of sequences and of their segments, on scikit-learn's contract; `numbarnn.estimators.labelled` lists forms of X.

Each class is a special case of the next:

* `SequenceClassifier`: one label for a sample;
* `SegmentClassifier`: a label for every step, or for given segments. One segment over all of each sample is the task above, and
  ``SequenceClassifier(pooling="mean")`` its net, to rounding;
* label sequences at unknown positions need an alignment too: connectionist temporal classification.
"""

import itertools
import warnings
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from numbarnn import metrics
from numbarnn.checks import brief, check_choice, naming, refuse_mask, to_array, to_list
from numbarnn.core.frames import as_pandas
from numbarnn.core.ragged import Ragged
from numbarnn.core.softmax import log_softmax
from numbarnn.errors import ShapeError
from numbarnn.estimators import indicators
from numbarnn.estimators.labelled import LabelEstimator, label_estimator
from numbarnn.estimators.labels import Classes, check_labels
from numbarnn.estimators.sequence import _weights
from numbarnn.estimators.settings import IGNORED, loss_of_labels, weighted
from numbarnn.layers.pool import KINDS, Pool
from numbarnn.losses import Loss, SoftmaxCrossEntropy
from numbarnn.losses.segments import SegmentCrossEntropy, check_segments, pool_segments, segment_codes
from numbarnn.metrics.labels import flat_labels, missing
from numbarnn.sklearn_api import not_fitted
from numbarnn.training.defaults import MOST_EPOCHS, MOST_EPOCHS_OF_STEPS

try:
    from sklearn.base import ClassifierMixin
    from sklearn.exceptions import DataConversionWarning
except ImportError:
    DataConversionWarning = UserWarning

    class ClassifierMixin:
        """Stands in for scikit-learn's mixin of this name."""


# Kinds of targets: labels of steps, segments or samples.
ANSWERS = ("steps", "segments", "samples")


@dataclass(eq=False, repr=False, kw_only=True)
class CrossEntropyClassifier(ClassifierMixin, LabelEstimator):
    """Base of the classifiers whose samples, segments or steps have one label of several classes, or several labels."""

    bidirectional: bool = True
    loss: str | Loss = "auto"
    class_weight: str | Mapping[Any, Any] | None = None

    def _check_settings(self):
        super()._check_settings()
        loss_of_labels(self.loss)

    @property
    def _loss(self):
        return self._label_loss

    def _set_several(self, several, reset):
        """Note whether y has several labels; raise ValueError where that is new."""
        if not reset and several != self._several:
            kinds = ("one label", "several labels")
            raise ValueError(
                f"this {type(self).__name__} was fitted to {kinds[self._several]} a sample or step, y has {kinds[several]}"
            )
        self._several = several
        loss_of_labels(self.loss, several)

    def _set_label_loss(self, codes):
        """Set the loss of labels by the codes of training that count: classes (n,), or indicators (n, labels)."""
        loss = loss_of_labels(self.loss, self._several)
        if not self._several:
            weights = self._classes.weights(self.class_weight, codes)
            weights = None if weights is None else {"class_weight": weights}
        elif isinstance(self.class_weight, str) and self.class_weight == "balanced":
            weights = indicators.balanced(codes)
        else:
            weights = self._classes.weights(self.class_weight, np.zeros(0, np.int64))
            weights = None if weights is None else {"pos_weight": weights}
        self._label_loss = weighted(loss, weights)

    def _set_file_loss(self, loss):
        self._label_loss = loss_of_labels(loss, self._several)
        for name in ("class_weight", "pos_weight", "weight"):
            weights = getattr(loss, name, None)
            if isinstance(weights, tuple) and len(weights) != len(self.classes_):
                raise ValueError(f"{len(weights)} weights for {len(self.classes_)} labels")

    def _labels_of(self, logits):
        """Return labels, or indicators of several, for logits (n, classes)."""
        return (logits > 0).astype(np.int64) if self._several else self.classes_[logits.argmax(axis=1)]

    def _log_probabilities(self, logits):
        return -np.logaddexp(0, -logits) if self._several else log_softmax(logits)

    def _probabilities(self, logits):
        return np.exp(self._log_probabilities(logits))

    def _stream_prediction(self, outputs, before):
        return self._labels_of(outputs[None])[0]


@label_estimator(strata=", of every class its share")
@dataclass(eq=False, repr=False, kw_only=True)
class SequenceClassifier(CrossEntropyClassifier):
    """Recurrent net that gives a whole sequence one label, or several, on scikit-learn's contract.

    Recurrent layers read the sequence, `pooling` makes one vector of their outputs, and a dense layer turns it into probabilities.
    What is learned follows from `fit`:

    * y one label a sample: the probabilities of the classes are a softmax, the loss is the cross-entropy;
    * y indicators (n, labels), 0 and 1 for each label, or a list of sets of labels: each label is a question of its own, with a
      probability of its own; the loss is the binary cross-entropy. `predict` gives indicators, 1 where the probability is above
      0.5; `classes_` are the columns' names of a DataFrame, the labels of the sets, or 0 to labels - 1.

    Parameters
    ----------
    {net}
        True unless labels are wanted while the sequence goes on (`stream`): then one may not depend on what follows it.
    pooling : {{"last", "mean", "max"}}
        The vector of a sample: the output at its last step (of the reverse direction that at its first), or the mean or maximum
        of each feature over its steps.
    {input}
    {class_weight}
    {training}

    Attributes
    ----------
    {fitted}

    Examples
    --------
    >>> import numpy as np
    >>> generator = np.random.default_rng(0)
    >>> X = [generator.standard_normal((length, 2)) for length in (5, 9, 7)]  # (time steps, features) of each sample
    >>> classifier = SequenceClassifier("gru", 8, epochs=2, random_state=0).fit(X, ["a", "b", "a"])
    >>> classifier.predict_proba(X).shape
    (3, 2)

    Several labels a sample:

    >>> tagger = SequenceClassifier("gru", 8, epochs=2, random_state=0).fit(X, [{{"news", "sport"}}, set(), {{"news"}}])
    >>> tagger.classes_.tolist(), tagger.predict(X).shape
    (['news', 'sport'], (3, 2))
    >>> found = [set(tagger.classes_[row == 1].tolist()) for row in tagger.predict(X)]
    """

    KIND = "sequence_classifier"
    EACH_STEP = False

    pooling: str = "last"

    def fit(
        self,
        X: Any,
        y: Any,
        sample_weight: Any = None,
        *,
        lengths: Any = None,
        offsets: Any = None,
        validation: Any = None,
    ) -> "SequenceClassifier":
        """Train on samples, from new weights unless `warm_start`. After an error the estimator is as it was.

        Parameters
        ----------
        X : array-like or list
            Samples; see `numbarnn.estimators.labelled`.
        y : (n,) array-like or list of labels; or (n, labels) array-like of 0 and 1; or list of sets of labels
            Labels are hashable values of any kind but None, NaN and fractions.
        sample_weight : (n,) array-like, optional
        lengths : (n,) integers, optional
            Valid steps of padded samples.
        offsets : (n + 1,) integers, optional
            Where each of the concatenated samples begins, and the last ends.
        validation : (X, y) or (X, y, options) tuple, optional
            Held-out samples instead of a part of X; options is a dict of their lengths, offsets or sample_weight.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If an argument has the wrong shape, dtype or value, or, under `warm_start`, y has labels that the model does not know.
        """
        return self._fit(X, y, sample_weight, validation, lengths=lengths, offsets=offsets)

    def partial_fit(
        self,
        X: Any,
        y: Any,
        classes: Any = None,
        sample_weight: Any = None,
        *,
        lengths: Any = None,
        offsets: Any = None,
    ) -> "SequenceClassifier":
        """Train one epoch more, on other samples or the same, from where training stands; the optimizer's state goes on.

        Parameters
        ----------
        X, y, sample_weight, lengths, offsets : as in `fit`
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
        return self._partial_fit(X, y, classes, sample_weight, lengths=lengths, offsets=offsets)

    def predict(self, X: Any, *, lengths: Any = None, offsets: Any = None) -> np.ndarray:
        """Return the label of each sample, or which labels it has.

        Parameters
        ----------
        X, lengths, offsets : as in `fit`

        Returns
        -------
        (n,) array, or (n, labels) int64 array
            Entries of `classes_`; of several labels indicators, 1 where the probability is above 0.5, else 0.

        Raises
        ------
        NotFittedError
            If `fit` was not called.
        ShapeError, TypeError, ValueError
            If X has another form, dtype or number of features than in `fit`.
        """
        return self._labels_of(self._of_samples(X, lengths, offsets))

    def predict_proba(self, X: Any, *, lengths: Any = None, offsets: Any = None) -> np.ndarray:
        """Return the probability of each class of `classes_`; of several labels those of each label.

        Parameters
        ----------
        X, lengths, offsets : as in `fit`

        Returns
        -------
        (n, classes) float64 array

        Raises
        ------
        NotFittedError
            If `fit` was not called.
        ShapeError, TypeError, ValueError
            If X has another form, dtype or number of features than in `fit`.
        """
        return self._probabilities(self._of_samples(X, lengths, offsets))

    def predict_log_proba(self, X: Any, *, lengths: Any = None, offsets: Any = None) -> np.ndarray:
        """Return the logarithms of `predict_proba`, exact where those are zero.

        Parameters
        ----------
        X, lengths, offsets : as in `fit`

        Returns
        -------
        (n, classes) float64 array

        Raises
        ------
        NotFittedError
            If `fit` was not called.
        ShapeError, TypeError, ValueError
            If X has another form, dtype or number of features than in `fit`.
        """
        return self._log_probabilities(self._of_samples(X, lengths, offsets))

    def score(self, X: Any, y: Any, sample_weight: Any = None, *, lengths: Any = None, offsets: Any = None) -> float:
        """Return the share of samples whose label is right, or all of whose labels are (subset accuracy).

        A label that the model does not know is wrong.
        """
        predicted = self.predict(X, lengths=lengths, offsets=offsets)
        if self._several:
            found = indicators.of_samples(y)
            if found is None:
                raise ValueError(
                    f"y must be indicators (samples, {len(self.classes_)}), as in fit, or a list of sets, got {brief(y)}"
                )
            truth = indicators.check_answers(found.encode(self._classes))
            if len(truth) != len(predicted):
                raise ShapeError(f"y has labels of {len(truth)} samples, X has {len(predicted)}")
            return indicators.subset_accuracy(truth, predicted, _weights(sample_weight, len(truth)))
        with naming("y", "truth"):
            return metrics.accuracy(_column(y), predicted, sample_weight)

    def _of_samples(self, X, lengths, offsets):
        return self._logits(self._input(X, {"lengths": lengths, "offsets": offsets}))

    def _encode_targets(self, y, x, sample_weight, options, reset):
        self._target_missing(y)
        found = indicators.of_samples(y)
        labels = check_labels(_column(y)) if found is None else found.rows
        if len(labels) != len(x):
            raise ValueError(f"y has {len(labels)} labels, X has {len(x)} samples: there must be one for each")
        self._set_several(found is not None, reset)
        if self.classes_ is None:
            self._set_classes(Classes.of(labels) if found is None else found.classes())
        if found is None:
            codes = self._classes.encode(labels)
        else:
            codes = indicators.check_answers(found.encode(self._classes)).astype(np.float32)
        weight = self._sample_weight(sample_weight, x)
        if isinstance(weight, Ragged):
            raise ValueError("sample_weight must have one value for each sample")
        if reset:
            self._set_label_loss(codes)
        return codes, weight

    def _strata(self, target):
        return None if self._several else target

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags

    def _check_settings(self):
        super()._check_settings()
        check_choice(self.pooling, "pooling", KINDS)

    def _stream_pooling(self):
        kinds = [layer.kind for layer in self.model_.layers if isinstance(layer, Pool)]
        return kinds[0] if kinds else None

    def _layers_before_output(self):
        if self.pooling == "last":
            return {"return_sequences": False}, []
        return {}, [Pool(self.pooling)]


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
    def _most_epochs(self):
        return MOST_EPOCHS if self._kind == "samples" else MOST_EPOCHS_OF_STEPS

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
            Samples; see `numbarnn.estimators.labelled`.
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
        y = _labels(y)
        if len(y) == 0:
            raise ValueError("y must have at least one label, it has none")
        x, pairs, logits = self._scored(X, lengths, offsets, segments)
        predicted = self._labels_of(logits)
        by_sample = self._kind == "samples" and segments is None
        weight = self._weight_of(sample_weight, x, by_sample, offsets is not None)
        if isinstance(weight, Ragged) and pairs is not None:
            weight = Ragged(_at_first(weight, pairs), pairs.offsets)
        if by_sample:
            with naming("y", "truth"):
                return metrics.accuracy(_column(y), predicted, weight, ignore=self.ignore)
        predicted = list(Ragged(predicted, x.offsets if pairs is None else pairs.offsets))
        if offsets is not None and segments is None and (len(y) != len(predicted) or _flat_first(y)):
            y = list(Ragged(np.fromiter(y, object, len(y)), offsets))
        if len(y) != len(predicted):
            raise ShapeError(f"y has labels of {len(y)} samples, X has {len(predicted)}")
        if isinstance(y, np.ndarray) and y.ndim == 2:
            y = [row[: len(labels)] for row, labels in zip(y, predicted, strict=True)]
        y = [_listed(labels, index) for index, labels in enumerate(y)]
        weight = list(weight) if isinstance(weight, Ragged) else weight
        with naming("y", "truth"):
            return metrics.accuracy(y, predicted, weight, ignore=self.ignore)

    def _score_several(self, X, y, sample_weight, lengths, offsets, segments):
        x, _, logits = self._scored(X, lengths, offsets, segments)
        weight = self._sample_weight(sample_weight, x, offsets is not None)
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
        if len(found.lengths) != len(x):
            raise ValueError(
                f"y has labels of {len(found.lengths)} samples, X has {len(x)}: there must be some for each"
            )
        if self.classes_ is None:
            self._set_classes(found.classes())
        rows, own = found.encode(self._classes), found.lengths
        if _padded(own, x.lengths):
            rows = np.concatenate([part[:length] for part, length in zip(Ragged.of(rows, own), x.lengths, strict=True)])
            own = x.lengths
        wrong = np.flatnonzero(own != x.lengths)
        if wrong.size:
            sample = wrong[0]
            raise ValueError(
                f"y[{sample}] has labels of {own[sample]} steps, sample {sample} of X has {x.lengths[sample]}"
            )
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

    def _scored(self, X, lengths, offsets, segments):
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
            pairs = _whole(x.lengths)
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
            return self._encoded_several(found, x, self._sample_weight(sample_weight, x, given), reset)
        pairs = None if segments is None else check_segments(segments, x.lengths)
        labels, own = _flat(y, x, given)
        kind = "segments" if pairs is not None else "samples" if own is None else "steps"
        if kind == "samples":
            pairs, own = _whole(x.lengths), np.ones(len(x), np.int64)
        elif own is None:
            raise ValueError("y must be a list of sequences of labels, one for each segment")
        if not reset and kind != self._kind:
            raise ValueError(f"this SegmentClassifier was fitted to labels of {self._kind}, y has labels of {kind}")
        if reset:
            self._kind = kind
        counts = x.lengths if pairs is None else pairs.lengths
        what = "steps" if pairs is None else "segments"
        if kind == "samples" and len(labels) != len(x):
            raise ValueError(
                f"y has {len(labels)} labels, X has {len(x)} samples: pass a list with the labels of each sample, one label for "
                "each sample, or offsets= with the labels of all steps"
            )
        if len(own) != len(x):
            raise ValueError(f"y has labels of {len(own)} samples, X has {len(x)}: there must be some for each")
        wrong = np.flatnonzero(own != counts)
        if wrong.size:
            sample = wrong[0]
            raise ValueError(f"y[{sample}] has {own[sample]} labels, sample {sample} of X has {counts[sample]} {what}")
        return self._encoded(labels, x, pairs, self._weight_of(sample_weight, x, kind == "samples", given), reset)

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

    def _weight_of(self, sample_weight, x, by_sample, concatenated):
        """Return weights of samples, or of steps as `Ragged`, or None; raise where labels are of samples and weights of steps."""
        weight = self._sample_weight(sample_weight, x, concatenated)
        if by_sample and isinstance(weight, Ragged):
            raise ValueError("sample_weight must have one value for each sample, since y has one label for each")
        return weight

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


def _padded(own, lengths):
    """Return whether labels are padded to one length, of at least the longest sample."""
    return len(set(own.tolist())) == 1 and own[0] >= lengths.max()


def _whole(lengths):
    """Return one segment over all of each sample."""
    return Ragged.of(np.stack([np.zeros_like(lengths), lengths], axis=1), np.ones_like(lengths))


def _at_first(weight, pairs):
    """Return the weight at the first step of each segment."""
    return weight.values[np.repeat(weight.offsets[:-1], pairs.lengths) + pairs.values[:, 0]]


def _column(y) -> list:
    """Return one label a sample as a list; a column is taken for its rows, with scikit-learn's warning."""
    y = _labels(y)
    if not isinstance(y, np.ndarray):
        y = list(y)
        if not any(isinstance(label, (list, np.ndarray)) and np.ndim(label) for label in y):
            return flat_labels(y)[0]
        y = to_array(y, "y")
    if y.ndim == 2 and y.shape[1] == 1:
        warnings.warn(
            "A column-vector y was passed when a 1d array was expected. Please change the shape of y to (n_samples,)",
            DataConversionWarning,
            stacklevel=6,
        )
        y = y[:, 0]
    if y.ndim != 1:
        raise ValueError(
            f"y should be a 1d array of one label for each sample, got an array of shape {y.shape} instead."
        )
    return y.tolist()


def _flat(y, x, given_offsets):
    """Return labels of all steps (or segments) in one list and how many each sample has; None where each has one label."""
    y = _labels(y)
    if given_offsets and not isinstance(y, Ragged) and len(y) == x.offsets[-1] and _flat_first(y):
        return _column(y), x.lengths
    if isinstance(y, Ragged):
        y = list(y)
    longest = int(x.lengths.max())
    if isinstance(y, np.ndarray) and y.ndim == 2 and not (y.shape[1] == 1 and longest > 1):
        if len(y) == len(x) and y.shape[1] >= longest:
            y = [row[:length] for row, length in zip(y, x.lengths, strict=True)]
        else:
            y = list(y)
    if not isinstance(y, np.ndarray):
        y = list(y)
        if y and all(isinstance(item, (list, tuple)) or (hasattr(item, "__array__") and np.ndim(item)) for item in y):
            labels = [label for index, item in enumerate(y) for label in _listed(item, index)]
            return labels, np.array([len(item) for item in y], np.int64)
    return _column(y), None


def _labels(y):
    """Return labels as an array where they come as one, or in a table; lists as they are."""
    y = as_pandas(y, "y")
    refuse_mask(y, "y")
    if hasattr(y, "__array__"):  # of pandas and torch, too
        y = np.asarray(y)
        if y.ndim == 0:
            raise TypeError(f"y must be a list of labels, got {brief(y)}")
        return y
    return y if isinstance(y, Ragged) else to_list(y, "y", "labels")


def _listed(labels, sample: int) -> list:
    """Return the labels of a sample as a list, masked ones as None."""
    if not isinstance(labels, (list, tuple)) and np.ndim(labels) == 0:
        raise TypeError(f"y[{sample}] must be a sequence of labels, got {brief(labels)}")
    return labels.tolist() if hasattr(labels, "tolist") else list(labels)


def _flat_first(y) -> bool:
    """Return whether the first entry of y is a label, not a sequence of labels."""
    return len(y) > 0 and np.ndim(y[0]) == 0
