"""Base of the classifiers whose loss is the cross-entropy: one label of several classes, or several labels."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from numbarnn.core.softmax import log_softmax
from numbarnn.estimators import indicators
from numbarnn.estimators.labelled import LabelEstimator
from numbarnn.estimators.scikit import ClassifierMixin
from numbarnn.estimators.settings import loss_of_labels, weighted
from numbarnn.losses import Loss


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
