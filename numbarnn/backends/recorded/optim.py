"""The optimizer step after a gradient: checks, clipping, update, average."""

import math

import numpy as np

from numbarnn.backends.recorded import batch
from numbarnn.backends.recorded.batch import Call, own
from numbarnn.kernels.cpu import denormals, whole_steps
from numbarnn.kernels.cpu import optim as kernels
from numbarnn.kernels.cpu.calls import Ref, Value, constant
from numbarnn.kernels.cpu.denormals import FLUSH

MOMENTS = batch.MOMENT, batch.MOMENT_2, batch.MOMENT_3


def step(call: Call, optimizer, losses: int, gradient: Ref, size: int, mode: np.ndarray) -> None:
    """Write down the step for a gradient, in the order of `numbarnn.backends.cpu.optim.Updates`.

    Parameters
    ----------
    losses : int
        Number of rows.
    size : int
        Number of weights.
    mode : (1,) int64 array
        The caller's mode of denormal numbers, in which what is not done by jobs of the pool is done.
    """
    dtype = call.dtype
    most = math.sqrt(np.finfo(dtype).max)
    weights, average = own(batch.WEIGHTS, size, dtype), own(batch.AVERAGE, size, dtype)
    moments = [own(region, size, dtype) for region in MOMENTS[: optimizer.arrays]]
    coefficients = own(batch.COEFFICIENTS, len(optimizer.coefficients(1, 0.0)), dtype)
    numbers = own(batch.NUMBERS, whole_steps.NUMBERS, np.float64)
    record, measure = own(batch.RECORD, whole_steps.FIELDS, np.float64), own(batch.MEASURE, 1, np.int64)
    old, callers = call.empty((size,)), Value(constant(mode))
    call.run(denormals.mode, callers)
    call.run(whole_steps.accept, own(batch.LOSSES, losses, np.float64), gradient, numbers, most, record)
    call.run(whole_steps.assign, old, weights)
    call.run(denormals.mode, FLUSH)
    call.run(getattr(kernels, optimizer.kernel), weights, gradient, *moments, coefficients, 0, size)
    call.run(denormals.mode, callers)
    call.run(whole_steps.settle, weights, old, most, measure, record)
    call.run(denormals.mode, FLUSH)
    call.run(whole_steps.follow, average, weights, numbers)
