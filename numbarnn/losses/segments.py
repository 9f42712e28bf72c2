"""Segments: runs of steps whose first and last steps are known and that have one label each.

The distribution of a segment is the softmax of the mean of its steps' logits: the geometric mean of the steps' own distributions,
scaled to sum to one. A segment of one step is a labelled step, and one segment over all of a sample makes a sequence classifier
with a mean over the steps, since a dense layer and a mean commute.
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from numbarnn.checks import as_int64, brief, refuse_mask
from numbarnn.core.arrays import as_array
from numbarnn.core.layout import Layout
from numbarnn.core.ragged import Ragged
from numbarnn.errors import ShapeError, TokenError
from numbarnn.losses.base import Loss
from numbarnn.losses.cross_entropy import SoftmaxCrossEntropy

NO_SEGMENT = -1


@dataclass(frozen=True)
class SegmentCrossEntropy(Loss):
    """E = -log softmax(mean of the logits of a segment)[class], in nats; the mean is over segments, as `reduction` says.

    Targets are integers (samples, time steps): at every step of a segment ``2 * class``, plus 1 at its first; -1 at steps of none.
    A segment has no gaps and lies in one sample. The weight of a segment is that of its sample, or of its first step.

    Parameters
    ----------
    class_weight : sequence of float, optional
        As in `SoftmaxCrossEntropy`, which does the rest.
    """

    class_weight: tuple[float, ...] | None = None
    pooled: SoftmaxCrossEntropy = field(init=False, repr=False, compare=False)  # the loss of mean logits

    name = "segment_cross_entropy"
    by_step = False

    def __post_init__(self):
        object.__setattr__(self, "pooled", SoftmaxCrossEntropy(self.class_weight))

    def check(self, source: Any, signal: Any) -> Any:
        samples, steps = len(source.x), source.x.shape[1] if signal.sequence else 1
        lengths = source.lengths if signal.sequence and source.lengths is not None else np.full(samples, steps)
        codes = _check_codes(source.y, (samples, steps), lengths, "y")
        unknown = np.argwhere(codes // 2 >= signal.size)
        if unknown.size:
            sample, step = unknown[0]
            raise TokenError(
                f"y[{sample}, {step}] is {codes[sample, step]}: a segment of class {codes[sample, step] // 2}; the model has "
                f"{signal.size} classes, 0 to {signal.size - 1}"
            )

    def segments(self, target: Any, layout: Layout, sample_weight: Any) -> Any:
        """Check a batch, and return its segments.

        Parameters
        ----------
        target : (samples, time steps) integers
        layout : Layout
        sample_weight : (samples,) or (samples, time steps) array, optional

        Returns
        -------
        starts : tuple of arrays
            Sorted sample and first step of each segment.
        counts, classes : arrays
            Steps and class of each.
        weight : array or None

        Raises
        ------
        ShapeError, TypeError, ValueError
            If the target is not one of segments, or the weights have another shape.
        """
        shape = (layout.samples, layout.steps)
        codes = layout.sort(_check_codes(target, shape, layout.unsort(layout.lengths), "target"))
        inside = codes >= 0
        first = inside & (codes % 2 == 1)
        counts = np.bincount(np.cumsum(first)[inside.reshape(-1)] - 1, minlength=np.count_nonzero(first))
        samples, steps = np.nonzero(first)
        weight = None
        if sample_weight is not None:
            weight = np.asarray(sample_weight, np.float64)
            if weight.shape not in (shape[:1], shape):
                raise ShapeError(f"sample_weight must have shape {shape[:1]} or {shape}, got {weight.shape}")
            weight = layout.sort(weight)
            weight = weight[samples] if weight.ndim == 1 else weight[samples, steps]
        return (samples, steps), counts, codes[samples, steps] // 2, weight


def _check_codes(target, shape, lengths, name):
    """Return targets of `SegmentCrossEntropy`, `NO_SEGMENT` past each length; raise unless every segment has a beginning."""
    codes = np.asarray(target)
    if codes.dtype.kind not in "iu":
        raise TypeError(f"{name} must be integers, got dtype {codes.dtype}")
    if codes.shape != shape:
        raise ShapeError(f"{name} must have shape {shape}: (samples, time steps), got {codes.shape}")
    codes = np.where(np.arange(shape[1]) < lengths[:, None], as_int64(codes, name), NO_SEGMENT)
    before = np.full(shape, NO_SEGMENT)
    before[:, 1:] = codes[:, :-1]
    # The kernels count a segment's steps from its first on, so a step without one would count for a segment elsewhere.
    lost = (codes >= 0) & (codes % 2 == 0) & (before // 2 != codes // 2)
    wrong = lost | (codes < NO_SEGMENT)
    if wrong.any():
        sample, step = np.argwhere(wrong)[0]
        code = codes[sample, step]
        what = f"a segment of class {code // 2} goes on, but none has begun" if lost[sample, step] else "not a code"
        raise ValueError(
            f"{name}[{sample}, {step}] is {code}: {what}; a segment is 2 * class + 1 at its first step and 2 * class at those that "
            "follow without a gap, and -1 stands where there is none"
        )
    return codes


def check_segments(segments, lengths: np.ndarray) -> Ragged:
    """Return the segments of all samples as pairs (first step, step after the last).

    Parameters
    ----------
    segments : list of arrays
        For each sample (segments, 2) such pairs in order, or the number of the segment that each step belongs to: 0, 1, 2, ... in
        order, -1 for none. Steps may belong to no segment, but not to two.
    lengths : (samples,)

    Raises
    ------
    ShapeError, TypeError, ValueError
        If they overlap, are out of order or beyond the steps of their sample, which is named.
    """
    if not hasattr(segments, "__iter__"):
        raise TypeError(f"segments must be a list with an entry for each sample, got {brief(segments)}")
    segments = list(segments)
    if len(segments) != len(lengths):
        raise ShapeError(f"segments must have one entry for each of {len(lengths)} samples, got {len(segments)}")
    found = []
    for sample, (given, length) in enumerate(zip(segments, lengths, strict=True)):
        refuse_mask(given, f"segments[{sample}]", "-1 stands for steps of no segment")
        pairs = as_array(given, f"segments[{sample}]")
        if pairs.size == 0:
            found.append(np.zeros((0, 2), np.int64))
            continue
        if pairs.dtype.kind not in "iu":
            raise TypeError(f"segments[{sample}] must be integers, -1 for steps of no segment, got dtype {pairs.dtype}")
        pairs = as_int64(pairs, f"segments[{sample}]")  # differences of unsigned integers are never negative
        if pairs.ndim == 1:
            pairs = _pairs(pairs, length, sample)
        if pairs.ndim != 2 or pairs.shape[1] != 2:
            raise ShapeError(
                f"segments[{sample}] must be (segments, 2) pairs of first step and step after the last, or one number for each of "
                f"{length} steps, got shape {pairs.shape}"
            )
        edges = np.concatenate([[0], pairs.reshape(-1), [length]])
        if (pairs[:, 0] >= pairs[:, 1]).any() or (np.diff(edges) < 0).any():
            raise ValueError(
                f"segments[{sample}] must be in order, not overlap, have at least one step each and lie within {length} steps, got "
                f"{pairs[:4].tolist()}{' ...' if len(pairs) > 4 else ''}"
            )
        found.append(pairs)
    return Ragged.of(np.concatenate(found), [len(pairs) for pairs in found])


def _pairs(numbers, length, sample):
    """Return pairs for the number of the segment of every step."""
    if len(numbers) != length:
        raise ShapeError(f"segments[{sample}] has {len(numbers)} numbers for {length} steps")
    edges = np.flatnonzero(np.diff(numbers, prepend=-1, append=-1))
    starts = [edge for edge in edges if edge < length and numbers[edge] >= 0]
    if [int(numbers[start]) for start in starts] != list(range(len(starts))):
        raise ValueError(
            f"segments[{sample}] must number the segments 0, 1, 2, ... in order, each in one piece, -1 for none, got "
            f"{numbers[:8].tolist()}{' ...' if length > 8 else ''}"
        )
    ends = [edges[np.searchsorted(edges, start, side="right")] for start in starts]
    return np.array([starts, ends], np.int64).T.reshape(-1, 2)


def segment_codes(pairs: Ragged, classes: np.ndarray, lengths: np.ndarray) -> Ragged:
    """Return targets of `SegmentCrossEntropy` for segments with classes, -1 for those that do not count."""
    steps = Ragged.of(np.full(int(lengths.sum()), NO_SEGMENT, np.int64), lengths)
    offsets = np.repeat(steps.offsets[:-1], pairs.lengths)
    for (first, last), at, number in zip(pairs.values.tolist(), offsets.tolist(), classes.tolist(), strict=True):
        if number >= 0:
            steps.values[at + first : at + last] = 2 * number
            steps.values[at + first] += 1
    return steps


def pool_segments(logits: Ragged, pairs: Ragged) -> np.ndarray:
    """Return the mean logits of segments, (segments, classes) float64."""
    at = np.repeat(logits.offsets[:-1], pairs.lengths)
    sums = np.concatenate([np.zeros((1, logits.values.shape[1])), np.cumsum(logits.values, axis=0, dtype=np.float64)])
    counts = pairs.values[:, 1] - pairs.values[:, 0]
    return (sums[at + pairs.values[:, 1]] - sums[at + pairs.values[:, 0]]) / counts[:, None]
