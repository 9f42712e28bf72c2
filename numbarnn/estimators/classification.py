"""Classifier of whole sequences, on scikit-learn's contract."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from numbarnn import metrics
from numbarnn.checks import brief, check_choice, naming
from numbarnn.errors import ShapeError
from numbarnn.estimators import indicators
from numbarnn.estimators.cross_entropy import CrossEntropyClassifier
from numbarnn.estimators.label_forms import column
from numbarnn.estimators.labels import Classes, check_labels
from numbarnn.estimators.linear import fit_labels, label_losses
from numbarnn.estimators.path import PathMixin
from numbarnn.estimators.sections import label_estimator
from numbarnn.estimators.weights import weights_of, weights_of_samples, weights_or_ones
from numbarnn.layers.pool import KINDS, Pool


@label_estimator(strata=", of every class its share")
@dataclass(eq=False, repr=False, kw_only=True)
class SequenceClassifier(PathMixin, CrossEntropyClassifier):
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
    {linear}
    {input}
    {class_weight}
    {training}

    Attributes
    ----------
    {fitted}
    {path}

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
    linear: str | None = "auto"

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
            Samples; see `numbarnn.estimators`.
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
            return indicators.subset_accuracy(truth, predicted, weights_of_samples(sample_weight, len(truth)))
        with naming("y", "truth"):
            return metrics.accuracy(column(y), predicted, sample_weight)

    def _of_samples(self, X, lengths, offsets):
        return self._scored(X, lengths, offsets)[-1]

    def _scored(self, X, lengths=None, offsets=None):
        """Return the samples, and the logits of each."""
        x = self._input(X, {"lengths": lengths, "offsets": offsets})
        return x, self._logits(x)

    def _encode_targets(self, y, x, sample_weight, options, reset):
        self._target_missing(y)
        found = indicators.of_samples(y)
        labels = check_labels(column(y)) if found is None else found.rows
        if len(labels) != len(x):
            raise ValueError(f"y has {len(labels)} labels, X has {len(x)} samples: there must be one for each")
        self._set_several(found is not None, reset)
        if self.classes_ is None:
            self._set_classes(Classes.of(labels) if found is None else found.classes())
        if found is None:
            codes = self._classes.encode(labels)
        else:
            codes = indicators.check_answers(found.encode(self._classes)).astype(np.float32)
        weight = weights_of(sample_weight, x, one="label")
        if reset:
            self._set_label_loss(codes)
        return codes, weight

    def _strata(self, target):
        return None if self._several else target

    def _path_targets(self, source):
        weight, loss = weights_or_ones(source.sample_weight, len(source.y)), self._label_loss
        if self._several:
            return None if loss.pos_weight is not None or loss.weight is not None else (source.y, weight)
        if loss.class_weight is not None:
            weight = weight * np.array(loss.class_weight)[source.y]
        return np.eye(len(self.classes_))[source.y], weight

    def _fitted_path(self, rows, target, weight):
        return fit_labels(rows, target, weight, self._several)

    def _losses(self, outputs, target):
        return label_losses(outputs, target, self._several)

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
