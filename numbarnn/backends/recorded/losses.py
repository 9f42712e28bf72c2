"""Losses of rows with their gradients."""

import numpy as np

from numbarnn.backends.cpu.losses import LOSSES
from numbarnn.backends.device import arithmetic_of
from numbarnn.backends.recorded.batch import LOSSES as LOSSES_OF_ROWS
from numbarnn.backends.recorded.batch import TARGETS, Call, Rows, gathered, own
from numbarnn.kernels.cpu import losses as kernels


def known(loss) -> bool:
    """Return whether a loss can be written down: one by rows whose mean divides by their number."""
    found = arithmetic_of(loss, LOSSES)
    return found == "term" or (found == "SoftmaxCrossEntropy" and loss.class_weight is None)


def run(call: Call, loss, outputs: Rows, samples: int, targets: np.ndarray, layout, scale: float) -> Rows:
    """Write down the losses of all rows, and return the gradient of ``scale * losses``.

    Parameters
    ----------
    samples : int
        Of the source.
    targets : array
        Of all samples, as `Loss.targets` returns them.
    """
    rows, row = outputs.values.shape
    columns = targets.size // (samples * layout.steps)
    chosen = gathered(call, TARGETS, samples, columns, targets.dtype, layout)
    losses, gradient = own(LOSSES_OF_ROWS, rows, np.float64), call.empty((rows, row))
    given = outputs.values.flat(), row, outputs.size, chosen
    about = np.zeros(0), scale, losses, gradient.flat()
    if arithmetic_of(loss, LOSSES) == "term":
        call.run(kernels.pointwise, loss.record, *given, loss.options(outputs.size, call.dtype), *about, 0, rows)
    elif targets.dtype.kind == "f":
        call.run(kernels.soft_cross_entropy, *given, *about, 0, rows)
    else:
        call.run(
            kernels.softmax_cross_entropy, *given, *about, np.zeros(0), float(loss.label_smoothing), 0, rows
        )  # fmt: skip
    return Rows(gradient, outputs.size)
