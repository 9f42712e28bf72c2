"""One step of learning while a sequence arrives: real-time recurrent learning of cells without a recurrent product.

The states of unit j of such a cell depend on its own weights alone, so what an ordinary network keeps n^3 values for takes as many
as there are weights: for every weight w of a unit and each of its states s

    ds_t/dw = sum over states q of (ds_t/dq_{t-1}) dq_{t-1}/dw + (ds_t/dz_t) dz_t/dw,

z being the pre-activations. Both factors are what the cell's `backward` returns for the gradient 1 of s. A loss of step t
then has the gradient (dL/dh_t) dh_t/dw, exactly, whatever has been before, and no step is stored.

R. J. Williams, D. Zipser, "A learning algorithm for continually running fully recurrent neural networks", Neural Computation 1
(1989); M. C. Mozer, "A focused backpropagation algorithm for temporal pattern recognition", Complex Systems 3 (1989), the diagonal
case; K. Irie, A. Gopalakrishnan, J. Schmidhuber, "Exploring the promise and limits of real-time recurrent learning", ICLR 2024.

The step itself is `stream_step`. What else a step reads and writes lies in arrays whose addresses and sizes are at `handle`, in
pairs: the three of `stream_step`, then those of `CHAIN` ... `LOSS`. ``chain``, int64, describes the layers::

    [0, FIRST)      the header: integers at STATUS ... OPERATIONS below
    [FIRST, ...)    of each gate of the cell, whether it takes x and whether it has a bias; then the layers above, from the last to
                    the first: `DenseAbove` or `ActivationAbove`, each after its kind

The weights are learned in an order of their own, in which all loops over units run through memory: *rows* of one weight of every
unit, (G (C + 1) + U, width), those of a gate's inputs, of its bias, and the diagonal ones; then the weights and biases of the
layers above, as the parameters have them. Gradient and moments have that order too, sensitivities (rows, S, width).
"""

import math
from typing import NamedTuple

import numpy as np
from numba.core import types
from numba.extending import overload

from numbarnn.kernels.activation import slope
from numbarnn.kernels.compile import jit
from numbarnn.kernels.cpu import losses, matmul, optim
from numbarnn.kernels.cpu.denormals import FLUSH, exchange
from numbarnn.kernels.cpu.simd import copy_row, panel_of
from numbarnn.kernels.cpu.step import array_at, stream_step
from numbarnn.kernels.cpu.sums import sum_of_squares
from numbarnn.kernels.element import cell_backward, cell_forward, count_of, load, record_class, store
from numbarnn.kernels.records import unpack_records
from numbarnn.kernels.scalar import inlined

# Arrays at the handle: the first integer of each pair. WEIGHTS, GRADIENT and BACKUP are of one size, MOMENTS is the optimizer's
# arrays one after the other, OPTIONS its coefficients. FACTORS: see `_factors`; PREVIOUS: the states before the step, and scratch.
# DELTAS is as long as the state: the gradient of what lies at the same offset there. LOSS, float64: loss of the step, label
# smoothing, the largest norm that the dtype can do with, class weights.
(
    PROGRAM, VALUES, STATE, CHAIN, WEIGHTS, GRADIENT, BACKUP, MOMENTS, OPTIONS, SENSITIVITIES, FACTORS, PREVIOUS, DELTAS, TARGET,
    TERM, LOSS,
) = range(0, 32, 2)  # fmt: skip

# Header of the chain. Offsets of the state: INPUT (-1: a token), STATES, GATES (pre-activations), OUTPUT. Of the weights of a
# program: DIAGONAL, PANELS, BIAS (of tokens: their rows).
(
    STATUS, INPUTS, INPUT, WIDTH, STATES, GATES, DIAGONAL, PANELS, BIAS, OUTPUT, OUTPUTS, OPTIMIZER, OPERATIONS,
) = range(13)  # fmt: skip
FIRST = 16
AFFINE, SLOPE = range(2)
# What a step has done: learned; nothing, for the input or the target is not finite; run without an update, which diverged.
LEARNED, REFUSED, DIVERGED = range(3)
# Length of an operation with its kind; where the offsets of an affine one begin.
AFFINE_LENGTH, SLOPE_LENGTH, AFFINE_OFFSETS = 11, 5, 7
OPTIMIZERS = ("sgd", "rmsprop", "centered_rmsprop", "adam", "amsgrad")


class DenseAbove(NamedTuple):
    """A dense layer: offsets of x and y in the state, of weights in the program, and in ours, as `matmul.pack_forward` has them."""

    x_at: int
    inputs: int
    y_at: int
    outputs: int
    panels_at: int
    packed_bias_at: int
    weight_at: int
    no_product: int
    bias_at: int
    no_bias: int


class ActivationAbove(NamedTuple):
    """An activation."""

    activation: int
    x_at: int
    y_at: int
    columns: int


class CrossEntropy(NamedTuple):
    """Selects softmax cross-entropy, as a record of `numbarnn.kernels.equations.term_record` selects a term."""


@jit
def learn(cells, term, handle, x, target, y):
    """Run a step and learn from its output; return its loss, NaN where the status in the chain is not `LEARNED`.

    x, y : as of `stream_step`; target : 1-D, of the model's dtype, or int32 classes; empty: no target, and nothing is learned.
    """
    chain = array_at(handle, CHAIN, np.int64)
    chain[STATUS] = LEARNED
    if target.size > 0 and not (_finite(x) and _finite(target)):
        chain[STATUS] = REFUSED
        return np.nan
    before = exchange(FLUSH)
    loss = _learn(cells, term, handle, chain, x, target, y)
    exchange(before)
    return loss


@inlined
def _learn(cells, term, handle, chain, x, target, y):
    cell, dtype = unpack_records(cells)[0], y.dtype
    values, state = array_at(handle, VALUES, dtype), array_at(handle, STATE, dtype)
    factors, previous = array_at(handle, FACTORS, dtype), array_at(handle, PREVIOUS, dtype)
    carried = array_at(handle, SENSITIVITIES, dtype)
    own = array_at(handle, TARGET, target.dtype)
    for i in range(target.size):
        own[i] = target[i]
    states_at = np.uintp(chain[STATES])
    for i in range(np.uintp(count_of(cell, "states") * chain[WIDTH])):
        previous[i] = state[states_at + i]
    stream_step(cells, handle, x, y)
    _factors(cell, chain, values, state, previous, factors)
    _carry(cell, chain, state, _token(x), factors, previous, carried)
    if target.size == 0:
        return 0.0
    deltas, weights, gradient = (
        array_at(handle, DELTAS, dtype),
        array_at(handle, WEIGHTS, dtype),
        array_at(handle, GRADIENT, dtype),
    )
    doubles = array_at(handle, LOSS, np.float64)
    out, size = chain[OUTPUT], chain[OUTPUTS]
    options = array_at(handle, TERM, dtype)
    _loss(term, state[out : out + size], own, options, doubles, deltas[out : out + size])
    _descend(chain, weights, state, deltas, gradient)
    _weigh(cell, chain, deltas, carried, gradient)
    most = doubles[2]
    if not (math.isfinite(doubles[0]) and math.sqrt(sum_of_squares(gradient)) <= most):
        chain[STATUS] = DIVERGED
        return np.nan
    backup = array_at(handle, BACKUP, dtype)
    for i in range(np.uintp(weights.size)):
        backup[i] = weights[i]
    _update(chain[OPTIMIZER], weights, gradient, array_at(handle, MOMENTS, dtype), array_at(handle, OPTIONS, dtype))
    if not math.sqrt(sum_of_squares(weights)) <= most:
        for i in range(np.uintp(weights.size)):
            weights[i] = backup[i]
        chain[STATUS] = DIVERGED
        return np.nan
    _pack(cell, chain, weights, values)
    return doubles[0]


def _finite(values):
    """Return whether all values are finite; a token, or classes, are."""


@overload(_finite)
def _finite_values(values):
    if isinstance(values, types.Integer) or not isinstance(values.dtype, types.Float):
        return lambda values: True

    def finite(values):
        whole = values.dtype.type(0)
        for i in range(values.size):
            whole += values[i] - values[i]
        return whole == 0

    return finite


def _token(x):
    """Return the token that a step reads; -1: it reads values."""


@overload(_token, jit_options={"forceinline": True})
def _token_of(x):
    if isinstance(x, types.Integer):
        return lambda x: np.intp(x)
    return lambda x: np.intp(-1)


def _loss(term, outputs, target, options, doubles, slopes):
    """Set doubles[0] to the loss of a row of outputs, and its gradient in `slopes`."""


@overload(_loss)
def _loss_of(term, outputs, target, options, doubles, slopes):
    if record_class(term) is not CrossEntropy:

        def loss(term, outputs, target, options, doubles, slopes):
            none = doubles[:0]
            losses.pointwise(
                term, outputs, outputs.size, outputs.size, target, options, none, 1.0, doubles, slopes, 0, 1
            )
    elif isinstance(target.dtype, types.Integer):

        def loss(term, outputs, target, options, doubles, slopes):
            size = outputs.size
            losses.softmax_cross_entropy(
                outputs, size, size, target, doubles[:0], 1.0, doubles, slopes, doubles[3:], doubles[1], 0, 1
            )
    else:

        def loss(term, outputs, target, options, doubles, slopes):
            losses.soft_cross_entropy(
                outputs, outputs.size, outputs.size, target, doubles[:0], 1.0, doubles, slopes, 0, 1
            )

    return loss


@inlined
def _factors(cell, chain, values, state, previous, factors):
    """Set how each state s changes with pre-activations, states and diagonal weights: (S, G, width), (S, S, width), (S, U, width).

    The unit gradients (S, S) lie after them.
    """
    width, states = chain[WIDTH], count_of(cell, "states")
    gates, diagonal = count_of(cell, "preactivations"), count_of(cell, "diagonal")
    back_at = states * gates * width
    diagonal_at = back_at + states * states * width
    units_at = diagonal_at + states * diagonal * width
    z_at, own_at = chain[GATES], chain[DIAGONAL]
    for s in range(states):
        unit = load(
            cell, "states", factors, units_at + s * states, 1, 0
        )  # inside the loop it keeps this from vectorising
        for e in range(width):
            z = load(cell, "preactivations", state, z_at, width, e)
            before = load(cell, "states", previous, 0, width, e)
            own = load(cell, "diagonal", values, own_at, width, e)
            following, saved = cell_forward(cell, z, before, own)
            dz, dbefore, down = cell_backward(cell, saved, before, own, following, unit)
            store(cell, "preactivations", factors, s * gates * width, width, e, dz)
            store(cell, "states", factors, back_at + s * states * width, width, e, dbefore)
            store(cell, "diagonal", factors, diagonal_at + s * diagonal * width, width, e, down)


@inlined
def _carry(cell, chain, state, token, factors, previous, carried):
    """Bring the sensitivities from the step before to this one."""
    width, inputs, states = chain[WIDTH], chain[INPUTS], count_of(cell, "states")
    gates, diagonal = count_of(cell, "preactivations"), count_of(cell, "diagonal")
    zero, one = state.dtype.type(0), state.dtype.type(1)
    diagonal_at = states * (gates + states) * width
    row = states * width
    for g in range(gates):
        at = g * (inputs + 1) * row
        for c in range(inputs):
            x = (one if c == token else zero) if token >= 0 else state[chain[INPUT] + c]
            _carry_row(cell, chain, x, g * width, gates * width, factors, previous, carried, at + c * row)
        _carry_row(cell, chain, one, g * width, gates * width, factors, previous, carried, at + inputs * row)
    for u in range(diagonal):
        at = (gates * (inputs + 1) + u) * row
        direct = diagonal_at + u * width
        _carry_row(cell, chain, one, direct, diagonal * width, factors, previous, carried, at)


@jit
def _carry_row(cell, chain, x, direct_at, step, factors, previous, carried, at):
    """Bring the sensitivities (S, width) to one weight of every unit to the next step, the weight being multiplied by x."""
    width, states, gates = chain[WIDTH], count_of(cell, "states"), count_of(cell, "preactivations")
    back_at = states * gates * width
    if states == 1:
        first, back, direct = np.uintp(at), np.uintp(back_at), np.uintp(direct_at)
        for e in range(np.uintp(width)):
            carried[first + e] = factors[back + e] * carried[first + e] + factors[direct + e] * x
        return
    first = np.uintp(at)
    for i in range(np.uintp(states * width)):  # of all states, for each is read after another is written
        previous[i] = carried[first + i]
    for s in range(states):
        first, direct = np.uintp(at + s * width), np.uintp(direct_at + s * step)
        for e in range(np.uintp(width)):
            carried[first + e] = factors[direct + e] * x
        for q in range(states):
            back, copy = np.uintp(back_at + (s * states + q) * width), np.uintp(q * width)
            for e in range(np.uintp(width)):
                carried[first + e] += factors[back + e] * previous[copy + e]


@inlined
def _descend(chain, weights, state, deltas, gradient):
    """Go back through the layers above the cell, from the last to the first."""
    at = chain[OPERATIONS]
    while at < chain.size:
        if chain[at] == SLOPE:
            code, x_at, y_at = chain[at + 1], np.uintp(chain[at + 2]), np.uintp(chain[at + 3])
            for j in range(np.uintp(chain[at + 4])):
                deltas[x_at + j] = deltas[y_at + j] * slope(code, state[y_at + j])
            at += SLOPE_LENGTH
            continue
        x_at, inputs, y_at = np.uintp(chain[at + 1]), chain[at + 2], np.uintp(chain[at + 3])
        outputs, weight_at, bias_at = chain[at + 4], chain[at + AFFINE_OFFSETS], chain[at + AFFINE_OFFSETS + 2]
        for c in range(np.uintp(inputs)):
            deltas[x_at + c] = 0
        for j in range(outputs):
            row, dy = np.uintp(weight_at + j * inputs), deltas[y_at + np.uintp(j)]
            for c in range(np.uintp(inputs)):
                deltas[x_at + c] += dy * weights[row + c]
            for c in range(np.uintp(inputs)):
                gradient[row + c] = dy * state[x_at + c]
            if bias_at >= 0:
                gradient[bias_at + j] = dy
        at += AFFINE_LENGTH


@inlined
def _weigh(cell, chain, deltas, carried, gradient):
    """Set the gradients of the cell's weights: that of the output times its sensitivities."""
    width, inputs, states, dh = chain[WIDTH], chain[INPUTS], count_of(cell, "states"), np.uintp(chain[STATES])
    gates, row = count_of(cell, "preactivations"), 0
    for g in range(gates):
        for c in range(inputs + 1):
            if chain[FIRST + 2 * g + (1 if c == inputs else 0)]:
                _weigh_row(deltas, dh, carried, row * states * width, gradient, row * width, width)
            row += 1
    for _ in range(count_of(cell, "diagonal")):
        _weigh_row(deltas, dh, carried, row * states * width, gradient, row * width, width)
        row += 1


@jit
def _weigh_row(deltas, dh, carried, first, gradient, at, width):
    source, dst = np.uintp(first), np.uintp(at)
    for j in range(np.uintp(width)):
        gradient[dst + j] = deltas[dh + j] * carried[source + j]


@jit
def _update(optimizer, weights, gradient, moments, options):
    """Do the step of an optimizer, one of `OPTIMIZERS`."""
    n = weights.size
    if optimizer == 0:
        optim.sgd(weights, gradient, moments[:n], options, 0, n)
    elif optimizer == 1:
        optim.rmsprop(weights, gradient, moments[:n], options, 0, n)
    elif optimizer == 2:
        optim.centered_rmsprop(weights, gradient, moments[:n], moments[n : 2 * n], options, 0, n)
    elif optimizer == 3:
        optim.adam(weights, gradient, moments[:n], moments[n : 2 * n], options, 0, n)
    else:
        optim.amsgrad(weights, gradient, moments[:n], moments[n : 2 * n], moments[2 * n : 3 * n], options, 0, n)


@inlined
def _pack(cell, chain, weights, values):
    """Write the new weights to those that steps read."""
    width, inputs, w, bias_at = chain[WIDTH], chain[INPUTS], panel_of(values), chain[BIAS]
    gates, tokens = count_of(cell, "preactivations"), chain[INPUT] < 0
    panels, of_bias = width // w, inputs * width
    for g in range(gates):
        at = g * (inputs + 1) * width
        for p in range(panels):
            source, to = at + p * w, g * width + p * w
            if tokens:
                for c in range(inputs):
                    _add_row(weights, source + of_bias, source + c * width, values, bias_at + c * gates * width + to, w)
                continue
            copy_row(weights, source + of_bias, values, bias_at + to)
            for c in range(inputs):
                copy_row(weights, source + c * width, values, chain[PANELS] + to * inputs + c * w)
    at = gates * (inputs + 1) * width
    for i in range(np.uintp(count_of(cell, "diagonal") * width)):
        values[np.uintp(chain[DIAGONAL]) + i] = weights[np.uintp(at) + i]
    at = chain[OPERATIONS]
    while at < chain.size:
        if chain[at] == SLOPE:
            at += SLOPE_LENGTH
            continue
        inputs, outputs, panels_at, bias_at = chain[at + 2], chain[at + 4], chain[at + 5], chain[at + 6]
        if (
            outputs < w
        ):  # one panel, whose padding stays zero: `pack_forward` writes it, which takes longer than all else here
            row, bias = chain[at + AFFINE_OFFSETS], chain[at + AFFINE_OFFSETS + 2]
            for j in range(outputs):
                for c in range(np.uintp(inputs)):
                    values[np.uintp(panels_at + j) + c * np.uintp(w)] = weights[np.uintp(row + j * inputs) + c]
                if bias >= 0:
                    values[bias_at + j] = weights[bias + j]
        else:
            columns, table = (outputs + w - 1) // w * w, chain[at + AFFINE_OFFSETS : at + AFFINE_LENGTH].reshape((1, 4))
            matmul.pack_forward(
                weights, table, outputs, inputs, 0, values[panels_at : panels_at + columns * inputs],
                values[bias_at : bias_at + columns], 0, columns // w,
            )  # fmt: skip
        at += AFFINE_LENGTH


@inlined
def _add_row(weights, bias, at, values, to, w):
    """Set the pre-activations of a token: its weights and the biases."""
    for j in range(np.uintp(w)):
        values[np.uintp(to) + j] = weights[np.uintp(bias) + j] + weights[np.uintp(at) + j]
