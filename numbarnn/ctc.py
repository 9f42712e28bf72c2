"""Connectionist temporal classification on rows of logits: what `numbarnn.losses.CTC` and decoding share."""

import functools

import numpy as np

from numbarnn.batch import Call, Layout, Rows
from numbarnn.errors import ShapeError, TokenError
from numbarnn.kernels.cpu import ctc as kernels
from numbarnn.kernels.cpu.simd import target as cpu_target
from numbarnn.label_strings import Labels
from numbarnn.parallel import GRAIN

# Multiply-adds that a class costs at a step, and a label.
CLASS, LABEL = 12.0, 60.0


def check_blank(blank) -> int:
    """Return the index of the blank as an int; raise TypeError or ValueError unless it is an integer from 0 on."""
    if isinstance(blank, bool) or not isinstance(blank, (int, np.integer)):
        raise TypeError(f"blank must be an integer, got {blank!r}")
    if blank < 0:
        raise ValueError(f"blank must be the number of a class, from 0 on, got {blank}")
    return int(blank)


def check_labels(labels: Labels, classes: int, blank: int, name: str = "target") -> None:
    """Raise TokenError or ValueError unless all labels are classes and none is the blank."""
    if blank >= classes:
        raise ValueError(f"blank is class {blank}; the model has {classes} classes, 0 to {classes - 1}")
    for wrong, what in (
        ((labels.flat < 0) | (labels.flat >= classes), f"the model has {classes} classes, 0 to {classes - 1}"),
        (labels.flat == blank, f"{blank} is the blank, which no label string may hold"),
    ):
        if wrong.any():
            place = int(wrong.argmax())
            sample = int(np.searchsorted(labels.starts, place, side="right")) - 1
            raise TokenError(f"{name} holds label {labels.flat[place]} in sample {sample}; {what}")


def too_short(labels: Labels, lengths: np.ndarray) -> np.ndarray:
    """Return which samples have fewer steps than their label string needs: a step a label, and one between two equal ones."""
    return lengths < labels.counts + labels.repeats


def check_lengths(labels: Labels, lengths: np.ndarray, advice: str, counted=True) -> None:
    """Raise ShapeError, naming the samples, where a label string does not fit into the steps."""
    rows = np.flatnonzero(too_short(labels, lengths) & counted)
    if rows.size == 0:
        return
    shown = []
    for n in rows[:5]:
        repeats = f" with {labels.repeats[n]} repeats" if labels.repeats[n] else ""
        shown.append(f"sample {n}: {lengths[n]} steps for {labels.counts[n]} labels{repeats}")
    raise ShapeError(
        f"{rows.size} of {len(lengths)} samples have too few steps for their labels (one for each, and a blank between two "
        f"equal ones): {'; '.join(shown)}{'; ...' if rows.size > 5 else ''}. {advice}"
    )


def loss_and_gradient(call: Call, outputs: Rows, labels: Labels, layout: Layout, blank: int, scales, zero: bool):
    """Return the losses (samples,) in sorted order and the gradient of ``sum scales * losses`` as an array like the outputs.

    Parameters
    ----------
    labels : Labels
        In the caller's order, checked.
    scales : (samples,) float64
        In sorted order; samples of scale 0 are not looked at.
    zero : bool
        Whether a sample without any alignment has loss 0 instead of infinity.
    """
    labels = labels if layout.order is None else labels.take(layout.order)
    lanes = cpu_target()[0] // call.dtype.itemsize
    gradient, losses = call.empty(outputs.values.shape), np.empty(layout.samples)
    flat, starts = labels.flat.astype(np.int32), labels.starts
    work = layout.lengths * (outputs.size * CLASS + (labels.counts + lanes) * LABEL)
    pieces = layout.cut(max(1, min(call.n_threads, int(work.sum() // GRAIN))))
    needed = kernels.scratch_of(layout.lengths, labels.counts, lanes)
    jobs = []
    for first, last in pieces:
        scratch = call.empty((2, int(needed[first:last].max())))
        jobs.append(
            functools.partial(
                kernels.ctc, outputs.values.reshape(-1), outputs.values.shape[1], layout.samples, outputs.size,
                layout.lengths, flat, starts, blank, scales, zero, losses, gradient.reshape(-1), scratch[0],
                scratch[1].view(f"i{call.dtype.itemsize}"), first, last,
            )
        )  # fmt: skip
    call.run(jobs)
    return losses, gradient
