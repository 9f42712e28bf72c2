"""Orders of the samples of an epoch: as they are, shuffled, or shuffled in blocks."""

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from numbarnn.checks import BLOCK, COUNTED, brief, check_integer

POOL = 8  # blocks whose samples are mixed


def check_shuffle(owner: str, shuffle: Any) -> bool | str:
    """Return an argument `shuffle`; raise TypeError unless it is True, False or "blocks"."""
    if isinstance(shuffle, (bool, np.bool_)):
        return bool(shuffle)
    if not isinstance(shuffle, str) or shuffle != "blocks":
        raise TypeError(f"{owner}: shuffle must be True or False, got {brief(shuffle)}; 'blocks' shuffles in blocks")
    return shuffle


def block_size(block: Any, shuffle: bool | str, width: int) -> int | None:
    """Return the samples of a block for an argument `block`, None where there are no blocks; `width`: bytes of a sample."""
    if shuffle != "blocks":
        if block is not None:
            raise ValueError(f"block must be left out unless shuffle is 'blocks', got {brief(block)}")
        return None
    return max(1, BLOCK // max(1, width)) if block is None else check_integer(block, "block", 1, COUNTED)


def orders(
    items: int, batch_size: int, shuffle: bool | str, block: int | None, generator: np.random.Generator
) -> Iterator[np.ndarray]:
    """Yield the indices of the samples of every batch of an epoch.

    In memory are one index a sample if `shuffle` is True, else those of a batch, or of `POOL` blocks.
    """
    if shuffle == "blocks":
        yield from _batched(_pools(items, block, generator), batch_size)
        return
    order = generator.permutation(items) if shuffle else None
    for first in range(0, items, batch_size):
        last = min(first + batch_size, items)
        yield np.arange(first, last) if order is None else order[first:last]


def _pools(items: int, block: int, generator: np.random.Generator) -> Iterator[np.ndarray]:
    """Yield the indices of the samples of `POOL` blocks in random order, blocks being in random order too."""
    starts = generator.permutation(-(-items // block)) * block
    for first in range(0, len(starts), POOL):
        own = [np.arange(start, min(start + block, items)) for start in starts[first : first + POOL].tolist()]
        yield generator.permutation(np.concatenate(own))


def _batched(pools: Iterable[np.ndarray], size: int) -> Iterator[np.ndarray]:
    """Yield runs of indices as batches of one size, the last one of what is left."""
    pieces, count = [], 0
    for pool in pools:
        pieces.append(pool)
        count += len(pool)
        if count >= size:
            joined = np.concatenate(pieces)
            whole = count // size * size
            for first in range(0, whole, size):
                yield joined[first : first + size]
            pieces, count = [joined[whole:]], count - whole
    if count:
        yield np.concatenate(pieces)
