"""Sources of batches: anything with a method ``batches(generator)`` that yields one epoch of `Batch`.

A source may also have ``__len__`` (batches per epoch) and ``items`` (samples or tokens per epoch) for the progress bar,
``unit`` (their name; of tokens one of `TOKEN_UNITS`), ``check()``, which raises where its data cannot be trained on,
and ``fingerprint()``, a dict that identifies what it yields, by which a checkpoint recognises its data. An epoch must be
determined by the generator alone: a run that resumes within an epoch draws its batches again and skips those that it has seen.
"""

import hashlib
import math
import zlib
from collections.abc import Iterator
from dataclasses import astuple, dataclass
from typing import Any

import numpy as np

from numbarnn.checks import (
    brief,
    check_finite,
    check_integer,
    check_lengths,
    counted,
    past_lengths,
    refuse_mask,
    row_blocks,
)
from numbarnn.core.arrays import as_array
from numbarnn.core.label_sequences import as_labels
from numbarnn.data.orders import block_size, check_shuffle, orders
from numbarnn.errors import ShapeError

# Units of which a batch has one for every step of every sample, not one for each sample.
TOKEN_UNITS = ("characters", "bytes", "words")


@dataclass(frozen=True)
class Batch:
    """One batch: the input, targets, lengths and weights of a training step.

    Attributes
    ----------
    x, y : arrays, samples first
    lengths : (samples,) integers or None
    sample_weight : (samples,) or (samples, time steps) array or None
    keep_state : bool
        Whether the batch continues the one before, so that the final states of that one are its initial states.
    """

    x: Any
    y: Any
    lengths: Any = None
    sample_weight: Any = None
    keep_state: bool = False


class SampleSource:
    """What sources of samples in arrays share: their order, and parts, which ``part(rows, shuffle)`` of a subclass returns."""

    unit = "samples"

    def __init__(self, items: Any, batch_size: Any, shuffle: Any, block: Any, width: int):
        check_integer(batch_size, "batch_size", 1, math.inf)
        self.items, self.batch_size = items, int(batch_size)
        self.shuffle = check_shuffle(type(self).__name__, shuffle)
        self.block = block_size(block, self.shuffle, width)

    def __len__(self) -> int:
        return -(-self.items // self.batch_size)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self.items} {self.unit} in {counted(len(self), 'batch', 'batches')}>"

    def split(self, fraction: float) -> tuple["SampleSource", "SampleSource"]:
        """Return the source without its last `fraction` of samples, and those, in their order."""
        last = max(1, round(self.items * fraction))
        if last >= self.items:
            raise ValueError(f"a validation fraction of {fraction} leaves none of {self.items} samples to train on")
        return self.part(slice(0, self.items - last), self.shuffle), self.part(slice(self.items - last, None), False)

    def orders(self, generator: np.random.Generator) -> Iterator[np.ndarray]:
        """Yield the indices of the samples of every batch of an epoch."""
        return orders(self.items, self.batch_size, self.shuffle, self.block, generator)

    def _order(self):
        """Return what determines the order of the samples, for a fingerprint."""
        found = {"batch_size": self.batch_size, "shuffle": self.shuffle}
        return found | ({"block": self.block} if self.block is not None else {})


class ArraySource(SampleSource):
    """Batches of samples from arrays, in a new random order every epoch.

    Arrays may be larger than memory: `numpy.memmap`, ``numpy.load(path, mmap_mode="r")``, of any numeric dtype. A batch is read,
    and cast to the model's dtype, when it is needed; checks and fingerprints read everything once, block by block.

    Parameters
    ----------
    x, y : array-like
        Samples along the first axis. y may also be label sequences of different lengths, a list of integer sequences or a tuple of
        arrays (labels, lengths), which are stored as an array padded with -1 (`numbarnn.core.label_sequences`).
    lengths : (samples,) integers, optional
    sample_weight : (samples,) or (samples, time steps) array, optional
    batch_size : int
    shuffle : bool or "blocks"
        True: all samples in random order. False: as they are. "blocks", for arrays on a disk, which is slow to read at random: the
        samples are cut into blocks of `block` consecutive ones; every epoch takes the blocks in random order, eight at a time, and
        the samples of these eight in random order. Batches go on from eight blocks to the next eight.
    block : int, optional
        Samples of a block of "blocks"; None: as many as are about 4 MiB of x.

    Raises
    ------
    ShapeError
        If the numbers of samples differ, or there are none.
    TypeError, ValueError
        If lengths are not integers from 0 to the number of time steps, or an argument has masked values or a wrong type or value.

    Examples
    --------
    >>> import numpy as np
    >>> x = np.lib.format.open_memmap("x.npy", "w+", np.float16, (300, 20, 4))
    >>> source = ArraySource(x, np.zeros(300, int), batch_size=100, shuffle="blocks", block=30)
    >>> [batch.x.shape for batch in source.batches(np.random.default_rng(0))]
    [(100, 20, 4), (100, 20, 4), (100, 20, 4)]
    """

    def __init__(
        self,
        x: Any,
        y: Any,
        *,
        lengths: Any = None,
        sample_weight: Any = None,
        batch_size: int = 32,
        shuffle: bool | str = True,
        block: int | None = None,
    ):
        for name, data in (("x", x), ("y", y), ("sample_weight", sample_weight)):
            refuse_mask(data, name)
        self.x, self.y = as_array(x, "x"), as_targets(y)
        self.sample_weight = None if sample_weight is None else as_array(sample_weight, "sample_weight")
        super().__init__(
            len(self.x) if self.x.ndim else 0, batch_size, shuffle, block, self.x[:1].nbytes if self.x.ndim else 0
        )
        if self.x.ndim < 2 or len(self.x) == 0:
            raise ShapeError(f"x must have samples and time steps, got shape {self.x.shape}")
        self.lengths = check_lengths(lengths, *self.x.shape[:2])
        for name in ("y", "sample_weight"):
            array = getattr(self, name)
            if array is not None and (array.ndim == 0 or len(array) != len(self.x)):
                raise ShapeError(
                    f"{name} must have one entry for each of {len(self.x)} samples, got shape {array.shape}"
                )

    def check(self, dtype: Any = None) -> None:
        """Check the data before training.

        Parameters
        ----------
        dtype : numpy.dtype, optional
            Of the model.

        Raises
        ------
        ValueError
            If x or y has NaN or infinity within the valid steps, or values that are infinite in the model's dtype.
        """
        if self.sample_weight is not None and not self.sample_weight.any():
            raise ValueError("sample_weight must not be 0 for all samples and steps")
        for name in ("x", "y"):
            array = getattr(self, name)
            steps = array.ndim >= 2 and array.shape[1] == self.x.shape[1]
            lengths = self.lengths if steps else None
            check_finite(array, name, lengths=lengths)
            if dtype is not None and array.dtype.kind == "f" and np.finfo(array.dtype).max > np.finfo(dtype).max:
                _check_range(array, name, dtype, lengths)

    def fingerprint(self) -> dict[str, Any]:
        """Return what determines the batches: shape, dtype and hash of the arrays, size and order of the batches."""
        arrays = {name: digest(name, getattr(self, name)) for name in ("x", "y", "lengths", "sample_weight")}
        return {**arrays, **self._order()}

    def part(self, rows: Any, shuffle: bool) -> "ArraySource":
        """Return a source of some of the samples.

        Parameters
        ----------
        rows : integer array or slice
            Indices of the samples.
        shuffle : bool or "blocks"
            The order of the samples of an epoch.

        Returns
        -------
        ArraySource
        """
        return ArraySource(
            self.x[rows],
            self.y[rows],
            lengths=None if self.lengths is None else self.lengths[rows],
            sample_weight=None if self.sample_weight is None else self.sample_weight[rows],
            batch_size=self.batch_size,
            shuffle=shuffle,
            block=self.block if shuffle == "blocks" else None,
        )

    def batches(self, generator: np.random.Generator) -> Iterator[Batch]:
        """Yield one epoch.

        Parameters
        ----------
        generator : numpy.random.Generator
            Draws the order of the samples.

        Yields
        ------
        Batch
        """
        for rows in self.orders(generator):
            yield Batch(
                self.x[rows],
                self.y[rows],
                None if self.lengths is None else self.lengths[rows],
                None if self.sample_weight is None else self.sample_weight[rows],
            )


def _check_range(array, name, dtype, lengths):
    """Raise ValueError where a value within the lengths is infinite in the model's dtype."""
    limit = np.finfo(dtype).max
    for first, block in row_blocks(array):
        with np.errstate(invalid="ignore"):  # NaN in padding
            if max(block.max(initial=0), -block.min(initial=0)) <= limit:
                continue
            wide = np.abs(block) > limit
        if lengths is not None:
            wide &= ~past_lengths(block.shape, lengths[first : first + len(block)])
        if wide.any():
            row, *rest = np.argwhere(wide)[0].tolist()
            raise ValueError(
                f"{name}[{', '.join(map(str, (row + first, *rest)))}] is infinite in the model's {dtype}; scale {name} "
                "(numbarnn.data.SequenceScaler), or make the model with dtype='float64'"
            )


def as_targets(y) -> np.ndarray:
    """Return targets as one array: label sequences of different lengths padded with -1, anything else as it is."""
    pair = isinstance(y, tuple) and len(y) == 2 and all(isinstance(part, np.ndarray) for part in y)
    if pair and y[1].ndim == 1 and y[1].dtype.kind in "iu" and (y[0].ndim == 2 or y[1].sum() == len(y[0])):
        return as_labels(y, name="y").padded()
    if isinstance(y, list) and len({np.shape(item) for item in y if np.ndim(item) == 1}) > 1:
        return as_labels(y, name="y").padded()
    return as_array(y, "y")


class TokenStream:
    """One long sequence of tokens as parallel streams cut into chunks, each chunk predicting the next token of every step.

    The sequence is cut into `batch_size` streams, and these into chunks, both as equal as possible and without a rest: streams
    differ by at most one token, which the last chunk has as `lengths`, and chunks by at most one step. A chunk continues the one
    before it in every stream, so states carry over; the state is reset where an epoch begins (char-rnn). A sequence too short for
    one chunk of `seq_length` in each stream gets fewer streams.

    Parameters
    ----------
    tokens : (n,) integers
        At least 2.
    batch_size, seq_length : int
        Most streams, and most steps of a chunk.
    unit : str
        What the tokens are, for the progress bar: one of `TOKEN_UNITS`.

    Attributes
    ----------
    x, y : (streams, steps) arrays
        Tokens, and the one after each; 0 past the length of a stream.
    lengths : (streams,) int64 array or None
        Of the streams; None where all are equal.
    items : int
        Tokens an epoch: all but the first are predicted.

    Raises
    ------
    ShapeError
        If there are fewer than two tokens.
    TypeError, ValueError
        If tokens are not integers, or a size is not a positive integer.
    """

    def __init__(self, tokens: Any, batch_size: int = 50, seq_length: int = 50, *, unit: str = "characters"):
        if not isinstance(unit, str):
            raise TypeError(f"unit must be a word for the tokens, such as 'characters', got {brief(unit)}")
        self.unit = unit
        tokens = as_array(tokens, "tokens")
        if tokens.ndim != 1 or tokens.size < 2:
            raise ShapeError(f"tokens must be a sequence of at least 2, got shape {tokens.shape}")
        if tokens.dtype.kind not in "iu":
            raise TypeError(f"tokens must be integers, got dtype {tokens.dtype}")
        check_integer(batch_size, "batch_size", 1, math.inf)
        check_integer(seq_length, "seq_length", 1, math.inf)
        self.items = tokens.size - 1
        streams = int(max(1, min(batch_size, self.items // seq_length)))
        steps, longer = divmod(self.items, streams)  # the first streams have a token more
        self.lengths = np.repeat([steps + 1, steps], [longer, streams - longer]) if longer else None
        self.x, self.y = (_streams(tokens[first:], streams, steps, longer) for first in (0, 1))
        self.seq_length = int(min(seq_length, self.x.shape[1]))

    def __len__(self) -> int:
        return -(-self.x.shape[1] // self.seq_length)

    def __repr__(self) -> str:
        return f"<TokenStream of {self.items} {self.unit} in {counted(len(self), 'batch', 'batches')}>"

    def fingerprint(self) -> dict[str, Any]:
        """Return what determines the chunks: number and hash of the tokens, streams and steps."""
        return {
            "tokens": digest("tokens", self.x),
            "last": digest("tokens", self.y[:, -1]),
            "seq_length": self.seq_length,
            "lengths": digest("lengths", self.lengths),
        }

    def batches(self, generator: np.random.Generator | None = None) -> Iterator[Batch]:
        """Yield the chunks in order.

        Parameters
        ----------
        generator : numpy.random.Generator, optional
            Not used: the order is that of the text.

        Yields
        ------
        Batch
        """
        steps, chunks = self.x.shape[1], len(self)
        for chunk in range(chunks):
            first, last = steps * chunk // chunks, steps * (chunk + 1) // chunks
            lengths = None if last < steps or self.lengths is None else self.lengths - first
            yield Batch(self.x[:, first:last], self.y[:, first:last], lengths, keep_state=chunk > 0)


def _streams(tokens, streams, steps, longer) -> np.ndarray:
    """Return tokens as streams, of which the first `longer` have steps + 1 tokens and the others `steps`."""
    if not longer:
        return np.ascontiguousarray(tokens[: streams * steps].reshape(streams, steps))
    cut = longer * (steps + 1)
    array = np.zeros((streams, steps + 1), tokens.dtype)
    array[:longer] = tokens[:cut].reshape(longer, steps + 1)
    array[longer:, :steps] = tokens[cut : cut + (streams - longer) * steps].reshape(streams - longer, steps)
    return array


def digest(name: str, array: np.ndarray | None) -> str | None:
    """Return dtype, shape and hash of an array; raise TypeError for Python objects."""
    if array is None:
        return None
    if array.dtype.hasobject:
        raise TypeError(f"{name} must be a numeric array, got dtype {array.dtype}")
    code = hashlib.sha256()
    for _, block in row_blocks(array):
        code.update(np.ascontiguousarray(block).reshape(-1).view(np.uint8))
    return f"{array.dtype.name} {array.shape} {code.hexdigest()[:16]}"


def checksum(batch: Batch, before: int) -> int:
    """Return a checksum of a batch that continues the one of the batches before it."""
    for value in astuple(batch)[:4]:
        array = np.ascontiguousarray(value) if value is not None else np.zeros(0)
        before = zlib.crc32(f"{array.dtype} {np.shape(value)}".encode(), before)
        if not array.dtype.hasobject:  # which training refuses
            before = zlib.crc32(array.reshape(-1).view(np.uint8), before)
    return before


def batches_of(source, generator: np.random.Generator) -> Iterator[Batch]:
    """Iterate over one epoch of a source."""
    for batch in source.batches(generator) if hasattr(source, "batches") else source:
        if not isinstance(batch, Batch):
            if not isinstance(batch, (tuple, list)) or not 2 <= len(batch) <= 5:
                raise TypeError(
                    f"source must yield numbarnn.data.Batch or tuples (x, y, ...), got {type(batch).__name__}; arrays are "
                    "passed as a tuple (x, y)"
                )
            batch = Batch(*batch)
        yield batch
