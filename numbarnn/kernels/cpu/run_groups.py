"""What the time loops of a run read and write, in groups: weights, batch, input, outputs, activations, gradients.

The arrays are described in `numbarnn.kernels`; the loops are `numbarnn.kernels.cpu.recurrent` and `shared_units`.
"""

from typing import NamedTuple

from numbarnn.kernels.groups import Floats1, Floats2, Floats3, Floats4, Integers1, Range, Tokens1


class Weights(NamedTuple):
    """The weights of one run over a layer's input.

    Attributes
    ----------
    table : addresses of the tiles (`simd.tile_table`); of a run that takes blocks of steps, `block_products.table_with_blocks`
    from_input, from_hidden, from_inner : (first, last) of the pre-activations that x enters; that h enters; that the second
        recurrent product enters
    inputs, recurrents : extents of the products: C or 0, and H or 0
    hidden : H
    reverse : whether the run goes from the last step to the first
    packed : (G * Hp / W, inputs + recurrents, W) panels of W_ih above W_hh
    bias : (G * Hp,)
    token_rows : (C, G * Hp) the row that each token adds, bias included; empty: x are not tokens
    """

    table: Integers1
    from_input: Range
    from_hidden: Range
    from_inner: Range
    inputs: int
    recurrents: int
    hidden: int
    reverse: bool
    packed: Floats1
    bias: Floats1
    token_rows: Floats1


class BackwardWeights(NamedTuple):
    """The weights of one run as its back-propagation reads them.

    Attributes
    ----------
    table, from_input, from_hidden, from_inner, hidden, reverse : as in `Weights`
    packed_h, packed_x : panels of W_hh (rows: gates and units, columns: h) and of W_ih (columns: x)
    packed_inner : panels of the rows of W_hh of the second recurrent product (columns: the inner value)
    zeros : (max(Cp, Hp),) zeros
    """

    table: Integers1
    from_input: Range
    from_hidden: Range
    from_inner: Range
    hidden: int
    reverse: bool
    packed_h: Floats1
    packed_x: Floats1
    packed_inner: Floats1
    zeros: Floats1


class Batch(NamedTuple):
    """The samples of a batch, and what acts on each of them at every step.

    Attributes
    ----------
    lengths, active : (N,) falling, and (T,) samples still running
    diagonal : (U, N, Hp) diagonal weights, repeated for every sample
    mask : (N, Hp) factors of h on its way into the recurrent products, or empty
    """

    lengths: Integers1
    active: Integers1
    diagonal: Floats1
    mask: Floats2


class Input(NamedTuple):
    """What a run reads.

    Attributes
    ----------
    values : 1-D: row (t, n) at ``t * step + n * row``, C columns; empty: tokens
    step, row : distances
    tokens : (T * N,) token of every row, or empty
    """

    values: Floats1
    step: int
    row: int
    tokens: Tokens1


class Columns(NamedTuple):
    """Columns of rows that lie apart: outputs, their gradient.

    Attributes
    ----------
    values : 1-D: row (t, n) at ``at + t * step + n * row``; or empty
    at, step, row : offset and distances
    """

    values: Floats1
    at: int
    step: int
    row: int


class InputGradient(NamedTuple):
    """The gradient of the input.

    Attributes
    ----------
    values : 1-D: row (t, n) at ``(t * N + n) * row``; or empty
    row : distance
    add : whether it is added to what is there, the other direction's
    span : steps of a sample that have one product; 1: all samples of a step have
    """

    values: Floats1
    row: int
    add: bool
    span: int


class Activations(NamedTuple):
    """What `forward` writes and `backward` reads, as in `numbarnn.kernels`.

    Attributes
    ----------
    states, saved : without a tape two slots used in turn, and one
    operand : (T, N, Hp) masked h of each step, or empty
    inner : (T, N, Hp) what the second recurrent product saw, masked; (1, N, Hp) without a tape; empty without such a product
    inner_saved : (T or 1, K', N, Hp), like `saved`, what `inner_forward` saves
    preactivations : (B, G, N, Hp) scratch of `forward`; B steps of a sample have one product of x (1: all samples of a step have)
    start, final : (S, N, Hp) states before the first and after the last step of each sample
    """

    states: Floats4
    saved: Floats4
    operand: Floats3
    inner: Floats3
    inner_saved: Floats4
    preactivations: Floats4
    start: Floats3
    final: Floats3


class Gradients(NamedTuple):
    """What `backward` writes.

    Attributes
    ----------
    dstates : in and out: (S, N, Hp) gradient of the final states, then of the initial states
    dpreactivations : (T, G, N, Hp)
    ddiagonal : in and out: (U, N, Hp) gradient of the diagonal weights, summed over the steps of each sample
    product : scratch (N, Hp) under a mask, or empty
    dinner : scratch (N, Hp) of a second recurrent product, or empty
    """

    dstates: Floats3
    dpreactivations: Floats4
    ddiagonal: Floats3
    product: Floats2
    dinner: Floats2
