"""Metrics of forecasts and of labels."""

from numbarnn.metrics.forecasts import mae, mase, naive_scale, r2, rmse
from numbarnn.metrics.labels import LabelErrors, accuracy, confusion, f1, label_error_rate, label_errors, sequence_error

__all__ = [
    "LabelErrors",
    "accuracy",
    "confusion",
    "f1",
    "label_error_rate",
    "label_errors",
    "mae",
    "mase",
    "naive_scale",
    "r2",
    "rmse",
    "sequence_error",
]
