"""Weights of samples, and of steps."""

import numpy as np

from numbarnn.checks import refuse_mask
from numbarnn.core.arrays import as_numeric
from numbarnn.core.ragged import Ragged


def weights_of_samples(sample_weight, samples: int) -> np.ndarray | None:
    """Return weights of samples, float64, or None where there are none."""
    if sample_weight is None:
        return None
    refuse_mask(sample_weight, "sample_weight")
    weight = np.asarray(as_numeric(sample_weight, "sample_weight"), np.float64)
    if weight.ndim == 0:
        weight = np.full(samples, float(weight))
    if weight.shape != (samples,):
        raise ValueError(f"sample_weight must have shape ({samples},), got {weight.shape}")
    if not np.isfinite(weight).all() or weight.min() < 0 or weight.sum() == 0:
        raise ValueError("sample_weight must be finite, not negative, and not zero for all samples")
    return weight


def weights_or_ones(weight: np.ndarray | None, samples: int) -> np.ndarray:
    """Return weights of samples, ones where there are none."""
    return np.ones(samples) if weight is None else weight


def weights_of(sample_weight, x, concatenated: bool = False, one: str | None = None) -> np.ndarray | Ragged | None:
    """Return weights of samples, or of steps as `Ragged`, or None.

    Parameters
    ----------
    sample_weight : array-like, list or None
    x : samples
    concatenated : bool
        Whether weights of steps may be one array.
    one : str, optional
        What y has one of for each sample, so that weights of steps are refused.
    """
    if sample_weight is None:
        return None
    parts = _by_step(sample_weight, x, concatenated)
    if parts is not None:
        if one is not None:
            raise ValueError(f"sample_weight must have one value for each sample, since y has one {one} for each")
        lengths = np.array([len(part) for part in parts])
        if not np.array_equal(lengths, x.lengths):
            raise ValueError(
                f"sample_weight must have one value a sample, or one for each step of each sample: "
                f"{_first_difference(lengths, x.lengths)}"
            )
        values = np.concatenate(parts).astype(np.float64)
        if not np.isfinite(values).all() or values.min() < 0 or values.sum() == 0:
            raise ValueError("sample_weight must be finite, not negative, and not zero for all steps")
        return Ragged.of(values, lengths)
    return weights_of_samples(sample_weight, len(x))


def _by_step(given, x, concatenated):
    """Return the weights of each sample's steps, or None where there is one for each sample."""
    if isinstance(given, Ragged):
        given = list(given)
    if isinstance(given, (list, tuple)) and any(isinstance(item, list) or np.ndim(item) > 0 for item in given):
        return [np.ravel(as_numeric(item, f"sample_weight[{i}]")) for i, item in enumerate(given)]
    given = as_numeric(given, "sample_weight")
    if given.ndim == 2 and len(given) == len(x) and given.shape[1] >= x.lengths.max():
        return [row[:length] for row, length in zip(given, x.lengths, strict=True)]
    return list(Ragged(given, x.offsets)) if concatenated and given.shape == (x.offsets[-1],) else None


def _first_difference(found, expected):
    """Return where numbers of weights and of steps differ, in words."""
    if len(found) != len(expected):
        return f"X has {len(expected)} samples, sample_weight {len(found)}"
    sample = np.flatnonzero(found != expected)[0]
    return f"X[{sample}] has {expected[sample]} steps, sample_weight[{sample}] {found[sample]}"
