"""Samples of different lengths without padding: all steps in one array, and the offset of each sample."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from numbarnn.checks import as_int64, brief, counted, refuse_mask, to_array
from numbarnn.errors import ShapeError

# Steps, padding included, of a group of samples that need no certain order or company.
MOST_STEPS = 1 << 15


@dataclass(frozen=True, eq=False, repr=False)
class Ragged:
    """Concatenated samples of different lengths.

    A sequence of arrays, one for each sample, which are views.

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
        refuse_mask(self.values, "values")
        values, offsets = to_array(self.values, "values"), to_array(self.offsets, "offsets")
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
    def of(cls, values: Any, lengths: Any) -> "Ragged":
        """Return the samples of given lengths in an array of all steps.

        Parameters
        ----------
        values : (steps of all samples, ...) array
        lengths : (samples,) integers

        Returns
        -------
        Ragged

        Raises
        ------
        ShapeError, TypeError, ValueError
            If the lengths are not integers, are negative, or do not add up to the steps.
        """
        values, lengths = to_array(values, "values"), to_array(lengths, "lengths")
        if values.ndim == 0:
            raise ShapeError("values must have an axis of steps, got a single value")
        if lengths.ndim != 1 or (lengths.size and lengths.dtype.kind not in "iu"):
            raise TypeError(f"lengths must be integers, one a sample, got {brief(lengths)}")
        if lengths.size and lengths.min() < 0:
            raise ValueError(f"lengths must not be negative, lengths[{lengths.argmin()}] is {lengths.min()}")
        offsets = np.concatenate([[0], np.cumsum(as_int64(lengths, "lengths"))])
        if offsets[-1] != len(values):
            raise ShapeError(f"lengths add up to {offsets[-1]}, values have {len(values)} steps")
        return cls(values, offsets)

    def __repr__(self) -> str:
        return f"<Ragged of {counted(len(self), 'sample')}, values {self.values.shape} {self.values.dtype}>"

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

    def padded(self, samples: Any, fill: Any = 0) -> np.ndarray:
        """Return some samples, given by their indices, as one array of at least one step, `fill` past each length.

        Parameters
        ----------
        samples : sequence of int
        fill : scalar

        Returns
        -------
        (samples, longest, ...) array
            Of a single sample a view.
        """
        starts, ends = self.offsets[:-1][samples], self.offsets[1:][samples]
        longest = max(1, (ends - starts).max(initial=0))
        if len(starts) == 1 and ends[0] - starts[0] == longest:
            return self.values[None, starts[0] : ends[0]]
        array = np.full((len(starts), longest, *self.values.shape[1:]), fill, self.values.dtype)
        for row, start, end in zip(array, starts.tolist(), ends.tolist(), strict=True):
            row[: end - start] = self.values[start:end]
        return array

    def take(self, samples: Any) -> "Ragged":
        """Return some samples, given by their indices.

        Parameters
        ----------
        samples : sequence of int

        Returns
        -------
        Ragged
        """
        parts = [self[sample] for sample in samples]
        return Ragged.of(np.concatenate([self.values[:0], *parts]), self.lengths[samples])


def length_groups(lengths: np.ndarray, samples: int | None = None) -> Iterator[np.ndarray]:
    """Yield the indices of samples by rising length, in groups that are padded to at most `MOST_STEPS` steps.

    samples : most samples of a group; None: any number. A longer sample is a group of its own.
    """
    order = np.argsort(lengths, kind="stable")
    first = 0
    while first < len(order):
        last, end = first + 1, len(order) if samples is None else min(first + samples, len(order))
        while last < end and (last - first + 1) * lengths[order[last]] <= MOST_STEPS:
            last += 1
        yield order[first:last]
        first = last
