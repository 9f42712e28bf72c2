"""Checked samples of numbers, in the dtype they came in."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from numbarnn.checks import check_finite
from numbarnn.core.arrays import in_dtype
from numbarnn.core.ragged import Ragged
from numbarnn.data.scaling import SequenceScaler

# Steps that are scaled at once. Sums are over as many, so that they have the same bits in whatever parts samples come.
BLOCK = 1 << 13


@dataclass(frozen=True, eq=False)
class Samples:
    """Samples of numbers, in the dtype they came in.

    Attributes
    ----------
    parts : list of (steps, features) arrays
        All steps: one array a sample, or one of all samples.
    offsets : (samples + 1,) int64 array
        Where each sample begins, and the last ends.
    steps : int or None
        Time steps of every sample, where they came as one array without padding; then `part` is the only one.
    """

    parts: list[np.ndarray]
    offsets: np.ndarray
    steps: int | None = None

    @classmethod
    def of(cls, parts, lengths, steps=None) -> "Samples":
        """Return the samples of some lengths."""
        return cls(parts, np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)]), steps)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def lengths(self) -> np.ndarray:
        """Steps of each sample."""
        return np.diff(self.offsets)

    @property
    def features(self) -> int:
        """Features of a step."""
        return self.parts[0].shape[1]

    def chosen(self, mask) -> list[np.ndarray]:
        """Return the steps of the samples that a mask chooses, in parts."""
        if mask is None or mask.all():
            return self.parts
        if len(self.parts) == len(self):
            return [part for part, taken in zip(self.parts, mask, strict=True) if taken]
        return [self.parts[0][np.repeat(mask, self.lengths)]]

    def cast(self, dtype, scaler: SequenceScaler | None) -> np.ndarray | Ragged:
        """Return the samples scaled, in a dtype: an array (samples, time steps, features), or `Ragged`.

        Raises
        ------
        ValueError
            If a value is NaN or infinite, or beyond the dtype once scaled.
        """
        shape = int(self.offsets[-1]), self.features
        if scaler is not None:
            values, at = np.empty(shape, dtype), 0
            with np.errstate(over="ignore", invalid="ignore"):  # found below
                for block in blocks(self.parts):
                    values[at : at + len(block)] = (block - scaler.center_) / scaler.scale_
                    at += len(block)
        elif self.steps is not None:
            values = in_dtype(self.parts[0], dtype)
        else:
            with np.errstate(over="ignore"):  # found below
                values = np.concatenate(self.parts, dtype=dtype, casting="unsafe")
        if not np.isfinite(values).all():
            self.check_finite()
            scaled, advice = "", "set scale='standard', or dtype='float64'"
            if scaler is not None:
                scaled, advice = (
                    ", scaled as in fit,",
                    "it is far beyond the data of fit: correct it, or set dtype='float64'",
                )
            where = values.reshape(len(self), self.steps, -1) if self.steps is not None else values
            check_finite(where, f"X{scaled} in {values.dtype}", advice)
        if self.steps is not None:
            return values.reshape(len(self), self.steps, shape[1])
        return Ragged(values, self.offsets)

    def check_finite(self) -> None:
        """Raise ValueError where a value is NaN or infinite, naming it."""
        if self.steps is not None:
            _check_finite(self.parts[0].reshape(len(self), self.steps, -1), "X")
            return
        for sample in range(len(self)):
            _check_finite(self._sample(sample), f"X[{sample}]")

    def _sample(self, sample):
        if len(self.parts) == len(self):
            return self.parts[sample]
        return self.parts[0][self.offsets[sample] : self.offsets[sample + 1]]


def _check_finite(array, name):
    try:
        check_finite(array, name)
    except ValueError as error:
        what = "NaN" if np.isnan(array).any() else "infinity"
        raise ValueError(
            f"Input X contains {what}: {error} (NaN at the end of a sample, in all features, is padding)"
        ) from None


def blocks(parts) -> Iterator[np.ndarray]:
    """Yield all rows of arrays (rows, features) as float64 arrays of `BLOCK` rows, the last one of what is left."""
    pieces, free = [], BLOCK
    for part in parts:
        first = 0
        while first < len(part):
            pieces.append(part[first : first + free])
            first += len(pieces[-1])
            free -= len(pieces[-1])
            if free == 0:
                yield _block(pieces)
                pieces, free = [], BLOCK
    if pieces:
        yield _block(pieces)


def _block(pieces):
    """Return pieces as one array in C order, since sums over rows have other bits in another order."""
    return np.ascontiguousarray(np.concatenate(pieces, dtype=np.float64))
