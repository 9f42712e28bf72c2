"""A source of batches of samples of different lengths."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from numbarnn.core.ragged import Ragged, length_groups
from numbarnn.data.batches import Batch, SampleSource, digest


class RaggedSource(SampleSource):
    """Batches of samples of different lengths, each as long as its longest sample.

    Parameters
    ----------
    x : Ragged
    y : Ragged or (samples, ...) array
    sample_weight : Ragged or (samples,) array, optional
    batch_size : int
    shuffle : bool
        True: a new random order every epoch. False, for evaluation: samples of like lengths together (`length_groups`).
    samples : (items,) integers, optional
        Indices of those samples that are the source's; None: all.
    """

    def __init__(self, x: Ragged, y, sample_weight=None, *, batch_size: int = 32, shuffle: bool = True, samples=None):
        self.samples = np.arange(len(x)) if samples is None else samples
        super().__init__(len(self.samples), batch_size, shuffle)
        self.x, self.y, self.sample_weight = x, y, sample_weight

    def fingerprint(self) -> dict[str, Any]:
        """Return what determines the batches."""
        found = {"batch_size": self.batch_size, "shuffle": self.shuffle}
        for name in ("x", "y", "sample_weight", "samples"):
            data = getattr(self, name)
            found[name] = digest(name, data.values if isinstance(data, Ragged) else data)
        return {**found, "offsets": digest("offsets", self.x.offsets)}

    def part(self, rows, shuffle: bool) -> "RaggedSource":
        """Return a source of some samples, given by their indices or a slice; the arrays are shared."""
        options = {"batch_size": self.batch_size, "shuffle": shuffle, "samples": self.samples[rows]}
        return RaggedSource(self.x, self.y, self.sample_weight, **options)

    def batches(self, generator: np.random.Generator) -> Iterator[Batch]:
        """Yield one epoch."""
        lengths = self.x.lengths
        groups = self.orders(generator) if self.shuffle else length_groups(lengths[self.samples], self.batch_size)
        for group in groups:
            rows = self.samples[group]
            yield Batch(self.x.padded(rows), _rows(self.y, rows, -1), lengths[rows], _rows(self.sample_weight, rows, 0))


def _rows(data, rows, fill):
    if data is None:
        return None
    return data.padded(rows, fill) if isinstance(data, Ragged) else data[rows]
