"""Metrics of forecasts, of probabilistic forecasts, and of labels."""

from numbarnn.metrics.forecasts import mae, mase, naive_scale, r2, rmse
from numbarnn.metrics.labels import LabelErrors, accuracy, confusion, f1, label_error_rate, label_errors, sequence_error
from numbarnn.metrics.probabilistic import (
    crps_from_quantiles,
    crps_from_samples,
    crps_gaussian,
    interval_coverage,
    interval_score,
    interval_width,
    pinball_loss,
)
from numbarnn.words import module_attributes

__all__ = [
    "LabelErrors",
    "accuracy",
    "confusion",
    "crps_from_quantiles",
    "crps_from_samples",
    "crps_gaussian",
    "f1",
    "interval_coverage",
    "interval_score",
    "interval_width",
    "label_error_rate",
    "label_errors",
    "mae",
    "mase",
    "naive_scale",
    "pinball_loss",
    "r2",
    "rmse",
    "sequence_error",
]

__getattr__ = module_attributes(__name__, __all__)
