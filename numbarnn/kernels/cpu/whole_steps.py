"""What stands between the kernels of a training step, for steps that run without Python (`calls.execute`).

Each does what `numbarnn.backends.cpu` and `numbarnn.training` do with NumPy, in the same order of sums.
"""

import math

import numpy as np

from numbarnn.kernels.compile import jit
from numbarnn.kernels.cpu import optim

# Fields of a record of a step: norm of the gradient before and after clipping, whether the weights were changed, norm of the
# update / norm of the weights (NaN: not measured).
NORM, CLIPPED, OK, RATIO, FIELDS = range(5)
# Numbers of a net: limits of clipping (negative: none), decay of the average (negative: none) and whether it has begun; whether the
# update of a step is measured.
CLIP_NORM, CLIP_VALUE, DECAY, BEGUN, NUMBERS = range(5)


@jit
def gather_rows(rows, samples, columns, order, steps, chosen):
    """Set chosen[t, i] = rows[t, order[i]], rows of `columns` values: (steps, samples or order.size, columns) as 1-D."""
    for t in range(steps):
        for i in range(order.size):
            source, dst = (t * samples + order[i]) * columns, (t * order.size + i) * columns
            for j in range(columns):
                chosen[np.uintp(dst + j)] = rows[np.uintp(source + j)]


@jit
def fill(values, value):
    """Set all values to one."""
    for i in range(np.uintp(values.size)):
        values[i] = value


@jit
def assign(values, others):
    """Set values = others."""
    for i in range(np.uintp(values.size)):
        values[i] = others[i]


@jit
def put_columns(x, x_row, y, y_at, y_row, rows, columns, add):
    """Set columns of the rows of y, from `y_at` on, to the first columns of x, or add these."""
    for n in range(rows):
        source, dst = n * x_row, y_at + n * y_row
        for j in range(columns):
            before = y[np.uintp(dst + j)] if add else y.dtype.type(0)
            y[np.uintp(dst + j)] = before + x[np.uintp(source + j)] if add else x[np.uintp(source + j)]


@jit
def take_columns(x, x_at, x_row, y, y_row, rows, columns):
    """Add columns of the rows of x, from `x_at` on, to the first columns of y."""
    for n in range(rows):
        source, dst = x_at + n * x_row, n * y_row
        for j in range(columns):
            y[np.uintp(dst + j)] += x[np.uintp(source + j)]


@jit
def repeat(weights, at, hidden, samples, width, repeated):
    """Set every row of `repeated`, (samples, width) as 1-D, to `hidden` weights from `at` on, and zeros."""
    for n in range(samples):
        for j in range(width):
            repeated[n * width + j] = weights[at + j] if j < hidden else repeated.dtype.type(0)


@jit
def sum_samples(values, samples, width, hidden, gradient, at):
    """Set gradient[at : at + hidden] to the sum of the rows of `values`, (samples, width) as 1-D."""
    for j in range(hidden):
        gradient[at + j] = values[j]
    for n in range(1, samples):
        for j in range(hidden):
            gradient[at + j] += values[n * width + j]


@jit
def accept(losses, gradient, numbers, most, record):
    """Clip a gradient; return whether it and the losses are finite, and fill the record of the step.

    most : the norm beyond which a gradient is refused
    """
    length = math.sqrt(optim.sum_of_squares(gradient))
    clipped = length
    good = math.isfinite(length)
    for i in range(losses.size):
        good = good and math.isfinite(losses[i])
    if good:
        limit = numbers[CLIP_NORM]
        if limit >= 0:
            factor = limit / (length + 1e-6)
            if factor < 1.0:
                optim.scale(gradient, gradient.dtype.type(factor))
            clipped = min(length, limit)
        limit = numbers[CLIP_VALUE]
        if limit >= 0:
            before = math.sqrt(optim.sum_of_squares(gradient))
            optim.clamp(gradient, gradient.dtype.type(limit))
            after = math.sqrt(optim.sum_of_squares(gradient))
            clipped = after if after != before else clipped
        good = clipped <= most
    record[NORM], record[CLIPPED], record[OK], record[RATIO] = length, clipped, 0.0, math.nan
    return good


@jit
def settle(weights, old, most, measure, record):
    """Restore weights that are not finite and return False; else note it, and measure the update. `old` is overwritten."""
    if not math.sqrt(optim.sum_of_squares(weights)) <= most:
        for i in range(np.uintp(weights.size)):
            weights[i] = old[i]
        return False
    record[OK] = 1.0
    if measure[0] != 0:
        size = math.sqrt(optim.sum_of_squares(old))
        for i in range(np.uintp(weights.size)):
            old[i] = weights[i] - old[i]
        record[RATIO] = math.sqrt(optim.sum_of_squares(old)) / size if size != 0 else 0.0
    return True


@jit
def follow(average, weights, numbers):
    """Let the average of the weights follow them, if there is one."""
    if numbers[DECAY] >= 0:
        if numbers[BEGUN] == 0:
            for i in range(np.uintp(weights.size)):
                average[i] = weights[i]
            numbers[BEGUN] = 1.0
        else:
            keep, add = average.dtype.type(numbers[DECAY]), average.dtype.type(1.0 - numbers[DECAY])
            optim.blend(average, weights, keep, add, 0, weights.size)
