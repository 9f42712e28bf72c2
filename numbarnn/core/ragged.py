"""Samples of different lengths without padding: all steps in one array, and where each sample begins."""

from dataclasses import dataclass

import numpy as np

from numbarnn.errors import ShapeError


@dataclass(frozen=True, eq=False)
class Ragged:
    """Samples one after the other.

    A sequence of arrays, one a sample, which are views.

    Parameters
    ----------
    values : (steps of all samples, ...) array
    offsets : (samples + 1,) int64 array
        Sample i is ``values[offsets[i]:offsets[i + 1]]``.

    Raises
    ------
    ShapeError, TypeError, ValueError
        If offsets are not integers that rise from 0 to the number of steps.

    Examples
    --------
    >>> samples = Ragged(np.array([1, 2, 3]), np.array([0, 1, 3]))
    >>> [sample.tolist() for sample in samples]
    [[1], [2, 3]]
    """

    values: np.ndarray
    offsets: np.ndarray

    def __post_init__(self):
        values, offsets = np.asarray(self.values), np.asarray(self.offsets)
        if values.ndim == 0 or offsets.ndim != 1 or offsets.size == 0:
            raise ShapeError(
                f"offsets must have shape (samples + 1,) and values an axis of steps, got {offsets.shape} and {values.shape}"
            )
        if offsets.dtype.kind not in "iu":
            raise TypeError(f"offsets must be integers, got dtype {offsets.dtype}")
        offsets = offsets.astype(np.int64)
        falls = np.flatnonzero(np.diff(offsets) < 0)
        if falls.size:
            at = falls[0]
            raise ValueError(
                f"offsets must rise, offsets[{at}] is {offsets[at]} and offsets[{at + 1}] {offsets[at + 1]}"
            )
        if offsets[0] != 0 or offsets[-1] != len(values):
            raise ValueError(
                f"offsets must run from 0 to the number of steps {len(values)}, they run from {offsets[0]} to {offsets[-1]}"
            )
        object.__setattr__(self, "values", values)
        object.__setattr__(self, "offsets", offsets)

    @classmethod
    def of(cls, values, lengths) -> "Ragged":
        """Return the samples of given lengths in an array of all steps."""
        return cls(values, np.concatenate([[0], np.cumsum(np.asarray(lengths, np.int64))]))

    @property
    def lengths(self) -> np.ndarray:
        """Steps of each sample."""
        return np.diff(self.offsets)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, sample: int) -> np.ndarray:
        if not -len(self) <= sample < len(self):
            raise IndexError(f"there is no sample {sample} among {len(self)}")
        sample %= len(self)
        return self.values[self.offsets[sample] : self.offsets[sample + 1]]

    def steps_of(self, rows) -> tuple[np.ndarray, np.ndarray]:
        """Return where the steps of some samples stand, (samples, longest or 1), and which of these places are theirs."""
        lengths = self.lengths[rows]
        places = np.arange(max(1, lengths.max(initial=0)))
        valid = places < lengths[:, None]
        return np.where(valid, self.offsets[:-1][rows][:, None] + places, 0), valid

    def padded(self, rows, fill=0) -> np.ndarray:
        """Return some samples as one array of at least one step, `fill` past each length."""
        places, valid = self.steps_of(rows)
        array = np.full((*places.shape, *self.values.shape[1:]), fill, self.values.dtype)
        array[valid] = self.values[places[valid]]
        return array

    def take(self, rows) -> "Ragged":
        """Return some samples."""
        places, valid = self.steps_of(rows)
        return Ragged.of(self.values[places[valid]], self.lengths[rows])
