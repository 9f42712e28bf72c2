"""Scales of inputs, by the data of training; `numbarnn.estimators` says what `scale` means.

The statistics are those of `numbarnn.data.SequenceScaler`, over all valid steps of the samples that training learns from: without
those held out for early stopping, and without those of weight 0.
"""

import numpy as np

from numbarnn.data.scaling import METHODS, SequenceScaler
from numbarnn.estimators.samples import Samples, blocks

SCALES = ("auto", *METHODS)


def fitted_scaler(scale: str | None, samples: Samples, counted: np.ndarray | None) -> SequenceScaler | None:
    """Return the scaler that an argument `scale` asks for, of the samples that count; None where all stays as it is.

    Raises
    ------
    ValueError
        If a value is NaN or infinite, or too large to be scaled.
    """
    if scale is None:
        return None
    parts = samples.chosen(counted)
    if not any(len(part) for part in parts):
        return None
    with np.errstate(over="ignore", invalid="ignore"):  # found below
        center, divisor = _statistics(scale, parts)
    wide = ~(np.isfinite(center) & np.isfinite(divisor))
    if wide.any():
        samples.check_finite()
        raise ValueError(
            f"feature {np.flatnonzero(wide)[0]} of X has values too large to be scaled; divide them by a constant, or set "
            "scale=None"
        )
    if not center.any() and (divisor == 1).all():
        return None
    return scaler_of(scale, center, divisor)


def scaler_of(scale: str, center: np.ndarray, divisor: np.ndarray) -> SequenceScaler:
    """Return a scaler with given statistics."""
    scaler = SequenceScaler("standard" if scale == "auto" else scale)
    scaler.center_, scaler.scale_, scaler.n_features_in_ = center, divisor, len(center)
    return scaler


def _statistics(scale, parts):
    """Return what to take away from every feature and what to divide it by, float64."""
    if scale == "robust":
        first, center, third = np.quantile(np.concatenate(parts, dtype=np.float64), [0.25, 0.5, 0.75], axis=0)
        return center, np.where(third > first, third - first, 1.0)
    rows, total, low, high, flags = 0, 0.0, np.inf, -np.inf, True
    for block in blocks(parts):
        rows, total = rows + len(block), total + block.sum(axis=0)
        low, high = np.minimum(low, block.min(axis=0)), np.maximum(high, block.max(axis=0))
        if scale == "auto":
            flags &= ((block == 0) | (block == 1)).all(axis=0)
    if scale == "minmax":
        return low, np.where(high > low, high - low, 1.0)
    center = total / rows
    squares = sum(np.square(block - center).sum(axis=0) for block in blocks(parts))
    divisor = np.where(high > low, np.sqrt(squares / rows), 1.0)  # rounding would leave a little of what does not vary
    if scale == "auto":
        center, divisor = np.where(flags, 0.0, center), np.where(flags, 1.0, divisor)
    return center, divisor
