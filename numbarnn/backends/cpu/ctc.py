"""Connectionist temporal classification on rows of logits: what `numbarnn.losses.CTC` and decoding share."""

import functools

import numpy as np

from numbarnn.backends.cpu.batch import Call, Rows
from numbarnn.core.label_sequences import Labels
from numbarnn.core.layout import Layout
from numbarnn.kernels.cpu import ctc as kernels
from numbarnn.kernels.cpu.simd import target as cpu_target
from numbarnn.parallel import GRAIN

# Multiply-adds that a class costs at a step, and a label.
CLASS, LABEL = 12.0, 60.0


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
