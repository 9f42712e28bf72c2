"""A source of batches of samples of different lengths."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from numbarnn.checks import brief, counted, not_finite, refuse_mask
from numbarnn.core.arrays import as_array
from numbarnn.core.ragged import Ragged, length_groups
from numbarnn.data.batches import ArraySource, Batch, SampleSource, as_targets, digest
from numbarnn.errors import ShapeError


def as_ragged(data, name: str = "x") -> Ragged | None:
    """Return a list of arrays of different lengths, one for each sample, in one array; None of any other data.

    Parameters
    ----------
    data : any
        A list of arrays (time steps, ...), an array of such objects, or `Ragged`.
    name : str
        Of the argument, for messages.

    Raises
    ------
    ShapeError, TypeError
        If the arrays differ in more than their lengths, are not numeric, or come as a tuple.
    """
    if isinstance(data, Ragged):
        return data
    if isinstance(data, np.ndarray) and data.dtype == object and data.ndim == 1:
        data = list(data)
    if not isinstance(data, (list, tuple)) or not all(_has_steps(item) for item in data):
        return None
    if len({len(item) for item in data}) < 2:
        return None
    if isinstance(data, tuple):
        raise TypeError(
            f"{name} must be a list of arrays, one for each sample, got a tuple of {len(data)}; pass list({name}), or x and y as "
            "two arguments"
        )
    parts = []
    for index, item in enumerate(data):
        refuse_mask(item, f"{name}[{index}]")
        parts.append(as_array(item, f"{name}[{index}]"))
        if parts[-1].dtype.kind not in "fiub":
            raise TypeError(f"{name}[{index}] must be numeric, got dtype {parts[-1].dtype}")
        if parts[-1].shape[1:] != parts[0].shape[1:]:
            rest = ", ".join(["time steps", *map(str, parts[0].shape[1:])])
            raise ShapeError(f"{name}[{index}] must have shape ({rest}), as {name}[0], got {parts[-1].shape}")
    return Ragged.of(np.concatenate(parts), [len(part) for part in parts])


def _has_steps(item):
    """Return whether an item of a list may be a sample: a list, or what has an axis."""
    return isinstance(item, (list, tuple)) or getattr(item, "ndim", 0) > 0


def ragged_source(x: Ragged, y, *, lengths=None, sample_weight=None, **options) -> "RaggedSource":
    """Return a source of samples of different lengths; raise unless targets and weights go with them.

    Parameters
    ----------
    x : Ragged
    y : array-like
        One entry for each sample; a list of sequences is one of targets of every step, or of label sequences of any lengths.
    lengths : None
        Samples have their own.
    sample_weight : array-like, optional
        One for each sample, or a list of sequences with one for each step.
    options
        Of `RaggedSource`.

    Raises
    ------
    ShapeError, TypeError, ValueError
        If an argument has the wrong form.
    """
    if lengths is not None:
        raise ValueError(f"lengths must be left out with a list of samples, which have their own, got {brief(lengths)}")
    parts = {}
    for name, data in (("y", y), ("sample_weight", sample_weight)):
        if data is None:
            parts[name] = None
            continue
        refuse_mask(data, name)
        found = None if isinstance(data, tuple) else as_ragged(data, name)
        parts[name] = found if found is not None else as_targets(data) if name == "y" else as_array(data, name)
        size = len(parts[name]) if found is not None or parts[name].ndim else None
        if size != len(x):
            got = f"shape {parts[name].shape}" if size is None else size
            raise ShapeError(f"{name} must have one entry for each of {len(x)} samples, got {got}")
    weight = parts["sample_weight"]
    if isinstance(weight, Ragged) and (weight.lengths != x.lengths).any():
        sample = int(np.flatnonzero(weight.lengths != x.lengths)[0])
        raise ShapeError(
            f"sample_weight[{sample}] has {weight.lengths[sample]} entries, its sample {x.lengths[sample]} time steps"
        )
    return RaggedSource(x, parts["y"], weight, grouped=False, **options)


class RaggedSource(SampleSource):
    """Batches of samples of different lengths, each as long as its longest sample.

    Parameters
    ----------
    x : Ragged
    y : Ragged or (samples, ...) array
    sample_weight : Ragged or (samples,) array, optional
    batch_size : int
    shuffle : bool or "blocks"
        True: a new random order every epoch; "blocks": as `ArraySource`. False: samples of like lengths together (`length_groups`),
        or as they are.
    grouped : bool
        Which of the two.
    samples : (items,) integers, optional
        Indices of those samples that are the source's; None: all.
    block : int, optional
        Samples of a block of "blocks".
    """

    def __init__(
        self,
        x: Ragged,
        y,
        sample_weight=None,
        *,
        batch_size: int = 32,
        shuffle: bool | str = True,
        samples=None,
        grouped: bool = True,
        block: int | None = None,
    ):
        self.grouped = grouped
        self.samples = np.arange(len(x)) if samples is None else samples
        super().__init__(len(self.samples), batch_size, shuffle, block, x.values.nbytes // max(1, len(x)))
        self.x, self.y, self.sample_weight = x, y, sample_weight

    def check(self) -> None:
        """Raise ValueError with the count and the first index of the values that are NaN or infinite."""
        for name in ("x", "y"):
            data = getattr(self, name)
            values = data.values if isinstance(data, Ragged) else data
            count, index = not_finite(values)
            if count:
                row, *rest = index
                if isinstance(data, Ragged):
                    sample = int(np.searchsorted(data.offsets, row, side="right")) - 1
                    row, rest = sample, [row - int(data.offsets[sample]), *rest]
                index = f"{name}[{row}]" + (f"[{', '.join(map(str, rest))}]" if rest else "")
                raise ValueError(
                    f"{name} has {counted(count, 'NaN or infinite value')}, the first at {index}; fill or drop them before "
                    "fitting"
                )

    def fingerprint(self) -> dict[str, Any]:
        """Return what determines the batches."""
        found = self._order()
        for name in ("x", "y", "sample_weight", "samples"):
            data = getattr(self, name)
            found[name] = digest(name, data.values if isinstance(data, Ragged) else data)
        return {**found, "offsets": digest("offsets", self.x.offsets)}

    def part(self, rows, shuffle: bool) -> "RaggedSource":
        """Return a source of some samples, given by their indices or a slice; the arrays are shared."""
        options = {
            "batch_size": self.batch_size,
            "shuffle": shuffle,
            "samples": self.samples[rows],
            "grouped": self.grouped,
            "block": self.block if shuffle == "blocks" else None,
        }
        return RaggedSource(self.x, self.y, self.sample_weight, **options)

    def as_arrays(self) -> SampleSource:
        """Return a source of arrays with the same batches where samples have one length and no weights; else this one."""
        lengths, y, parts = self.x.lengths[self.samples], self.y, [self.x]
        if isinstance(y, Ragged):
            if not np.array_equal(y.lengths, self.x.lengths):
                return self
            parts.append(y)
        mixed = len(lengths) == 0 or lengths[0] == 0 or (lengths != lengths[0]).any()
        if mixed or self.sample_weight is not None or (self.grouped and not self.shuffle):
            return self
        everything = np.array_equal(self.samples, np.arange(len(self.x)))
        own = slice(None) if everything else self.samples
        if everything:  # views
            found = [part.values.reshape(len(lengths), lengths[0], *part.values.shape[1:]) for part in parts]
        else:
            found = [part.values[part.offsets[own][:, None] + np.arange(lengths[0])] for part in parts]
        x, y = found[0], (found[1] if len(found) > 1 else y[own])
        return ArraySource(x, y, batch_size=self.batch_size, shuffle=self.shuffle)

    def batches(self, generator: np.random.Generator) -> Iterator[Batch]:
        """Yield one epoch."""
        lengths = self.x.lengths
        own = self.shuffle or not self.grouped
        groups = self.orders(generator) if own else length_groups(lengths[self.samples], self.batch_size)
        for group in groups:
            rows = self.samples[group]
            yield Batch(self.x.padded(rows), _rows(self.y, rows, -1), lengths[rows], _rows(self.sample_weight, rows, 0))


def _rows(data, rows, fill):
    if data is None:
        return None
    return data.padded(rows, fill) if isinstance(data, Ragged) else data[rows]
