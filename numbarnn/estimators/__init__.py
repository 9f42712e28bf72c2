"""Estimators on the contract of scikit-learn, which is imported here where it is installed; none of it is needed."""

from numbarnn.estimators.classification import SegmentClassifier, SequenceClassifier
from numbarnn.estimators.sequence import SequenceEstimator, SequenceRegressor
from numbarnn.estimators.temporal import TemporalClassifier

__all__ = ["SegmentClassifier", "SequenceClassifier", "SequenceEstimator", "SequenceRegressor", "TemporalClassifier"]
