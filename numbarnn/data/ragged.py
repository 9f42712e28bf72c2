"""A source of batches of samples of different lengths."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from numbarnn.core.ragged import Ragged
from numbarnn.data.batches import Batch, digest


class RaggedSource:
    """Batches of samples of different lengths, in a new random order every epoch, each as long as its longest sample.

    Parameters
    ----------
    x : Ragged
    y : Ragged or (samples,) array
    sample_weight : Ragged or (samples,) array, optional
    batch_size : int
    shuffle : bool
    """

    unit = "samples"

    def __init__(self, x: Ragged, y, sample_weight=None, *, batch_size: int = 32, shuffle: bool = True):
        if isinstance(batch_size, bool) or not isinstance(batch_size, (int, np.integer)) or batch_size < 1:
            raise ValueError(f"batch_size must be a positive integer, got {batch_size!r}")
        self.x, self.y, self.sample_weight = x, y, sample_weight
        self.batch_size, self.shuffle = int(batch_size), bool(shuffle)
        self.items = len(x)

    def __len__(self) -> int:
        return -(-self.items // self.batch_size)

    def fingerprint(self) -> dict[str, Any]:
        """Return what determines the batches."""
        found = {"batch_size": self.batch_size, "shuffle": self.shuffle}
        for name in ("x", "y", "sample_weight"):
            data = getattr(self, name)
            found[name] = digest(name, data.values if isinstance(data, Ragged) else data)
        return {**found, "offsets": digest("offsets", self.x.offsets)}

    def part(self, rows, shuffle: bool) -> "RaggedSource":
        """Return a source of some samples."""
        y, weight = (
            data.take(rows) if isinstance(data, Ragged) else _rows(data, rows) for data in (self.y, self.sample_weight)
        )
        return RaggedSource(self.x.take(rows), y, weight, batch_size=self.batch_size, shuffle=shuffle)

    def batches(self, generator: np.random.Generator) -> Iterator[Batch]:
        """Yield one epoch."""
        order = generator.permutation(self.items) if self.shuffle else np.arange(self.items)
        for first in range(0, self.items, self.batch_size):
            rows = order[first : first + self.batch_size]
            y = self.y.padded(rows, -1) if isinstance(self.y, Ragged) else self.y[rows]
            weight = self.sample_weight
            weight = weight.padded(rows) if isinstance(weight, Ragged) else _rows(weight, rows)
            yield Batch(self.x.padded(rows), y, self.x.lengths[rows], weight)


def _rows(array, rows):
    return None if array is None else array[rows]
