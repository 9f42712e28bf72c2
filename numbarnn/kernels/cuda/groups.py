"""Groups of arguments that kernels of several files take; see `numbarnn.kernels.cuda.launch`."""

from typing import NamedTuple

from numbarnn.kernels.cuda.launch import Integers64, Values


class Sequences(NamedTuple):
    """The samples of a batch, the longest first.

    Attributes
    ----------
    order : (N,) the caller's index of each sample
    lengths : (N,) steps of each sample
    active : (T,) samples that run at each step
    samples, steps : N and T
    """

    order: Integers64
    lengths: Integers64
    active: Integers64
    samples: int
    steps: int


class SpacedRows(NamedTuple):
    """Rows of a matrix, as inputs, outputs and the gradients of both.

    Attributes
    ----------
    values : row r at ``r * row``
    row : distance of the rows, not below the columns
    given : whether there are any values
    """

    values: Values
    row: int
    given: bool = True


class RunSizes(NamedTuple):
    """One run over a layer's input: a cell through the steps in one direction.

    Attributes
    ----------
    hidden : H
    z_count : pre-activations, P
    count, kept_count : states, S, and values that the backward step needs, K
    diagonal_count, inner_count : vectors of diagonal weights, U, and values that the backward step of a second product needs, K'
    reverse : whether the run goes from the last step to the first
    """

    hidden: int
    z_count: int
    count: int
    kept_count: int
    diagonal_count: int
    inner_count: int
    reverse: bool


class RunArrays(NamedTuple):
    """The arrays of one run.

    Attributes
    ----------
    z : (T, N, P, H) pre-activations; on the way back their gradients take the same memory
    states : (T + 1, N, S, H) slot t holds the states before step t (forward) or after it (reverse)
    saved : (T, N, K, H) what the backward step needs, where `keep`
    diagonal : (U, H) diagonal weights
    mask : (N, H) factors of h on its way into the recurrent products, where `has_mask`
    operand : (T, N, H) masked h of each step, where `has_mask`
    inner : (T, N, H) what the second recurrent product saw, masked, where `has_inner`
    inner_saved : (T, N, K', H) what the backward step of a second recurrent product needs, where `has_inner` and `keep`
    keep, has_mask, has_inner : whether there is a backward pass, a mask, a second recurrent product
    """

    z: Values
    states: Values
    saved: Values
    diagonal: Values
    mask: Values
    operand: Values
    inner: Values
    inner_saved: Values
    keep: bool
    has_mask: bool
    has_inner: bool


class EndStates(NamedTuple):
    """Initial or final states, or the gradients of either.

    Attributes
    ----------
    values : S arrays (N, H), samples in the caller's order
    stride : distance of the arrays
    given : whether there are any; else they count as zero
    """

    values: Values
    stride: int
    given: bool
