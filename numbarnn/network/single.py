"""One step of one sample, past the machinery of batches."""

import numpy as np

from numbarnn.core.signal import Signal
from numbarnn.network.program import Plan


def takes_single(signal: Signal, x_t: np.ndarray) -> bool:
    """Return whether a step is of one sample and valid, and can do without the machinery of batches (60 us of 65)."""
    size = signal.size
    if signal.bag:
        fits = x_t.shape == (1, signal.bag) and x_t.dtype.kind in "iu" and (-1 <= x_t.min() <= x_t.max() < size)
    elif signal.tokens:
        fits = x_t.shape == (1,) and x_t.dtype.kind in "iu" and 0 <= x_t[0] < size
    else:
        fits = x_t.shape == (1, size) and x_t.dtype.kind in "fiub"
    return fits


def single_step(plan: Plan, x_t, state):
    """Return the outputs (1, features) of a step of one sample, and the states after it."""
    array = plan.new_state()
    plan.write(array, state)
    handle, y = plan.handle(array), np.empty((1, plan.outputs), plan.weights.values.dtype)
    one = plan.tokens and not plan.bag
    x_t = int(x_t) if one else np.asarray(x_t, np.int64 if plan.bag else plan.weights.values.dtype)
    plan.enter(plan.weights.cells, handle.ctypes.data, x_t, y[0])
    return y, plan.read(array)
