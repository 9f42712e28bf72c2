"""Cells: one file is one cell, an immutable record with its options and two scalar functions.

A cell is a `typing.NamedTuple`. Its fields are numeric options; its class attributes name what the time loop must
provide:

=================  =======================================================================================================
gates              row blocks of ``weight_ih`` and ``weight_hh``, in the order of the parameters (torch's)
preactivations     what `forward` receives, in order
from_input         dict: pre-activation -> gate whose rows of ``weight_ih`` the input product adds to it; adjacent ones
from_hidden        dict: pre-activation -> gate whose rows of ``weight_hh`` the recurrent product adds to it; adjacent ones
states             what is carried from step to step; the first is the output, and what the recurrent product sees
saved              values that `forward` keeps for `backward`
diagonal           diagonal weights (IndRNN's u, peepholes): vectors of shape (H,), one weight for each hidden unit
diagonal_init      optional: the kind of weights that `numbarnn.core.initializers` draws `diagonal` like; "unit" or "bias"
=================  =======================================================================================================

and two static functions of scalars, `forward` directly above `backward`:

``forward(cell, preactivations, states, diagonal) -> (next_states, saved)``
    preactivations, states, diagonal : tuples of scalars, one entry for each name.

``backward(cell, saved, states, diagonal, after, gradients) -> (dpreactivations, dstates, ddiagonal)``
    saved, states, diagonal as above; after : the next states; gradients : dL/d(next states). dstates has only the
    direct paths to the previous states: what passes through the recurrent product, the time loop adds.

They are compiled, so: no arrays, no Python objects, no names but modules' constants and functions (`tanh`, `sigmoid`
from here), and constants in the type of an argument, ``one = type(h)(1)``, since 1.0 would turn float32 into float64.
Called from Python, on NumPy scalars, they compute the same (`tests/` and `register` do). Options are numeric: one that
changes the pre-activations is another cell. A method `check_options(cell)`, where there is one, is called when a layer is
made, and raises ValueError for options that the cell cannot have.

Second recurrent product
------------------------
Where the recurrent product must see something other than h_{t-1}, as in the GRU with the reset before the product, a
step has two products: one of h_{t-1}, then one of an *inner* value that is computed from the first. A cell that has
`inner` is such a cell, and declares in addition:

=================  =======================================================================================================
inner              the name of the inner value, a tuple of one
from_inner         dict: pre-activation -> gate whose rows of ``weight_hh`` the second product adds to it; adjacent ones,
                   none of them in `from_hidden`, nor their gates
inner_saved        values that `inner_forward` keeps for `inner_backward`
=================  =======================================================================================================

``inner_forward(cell, preactivations, states, diagonal) -> (inner, inner_saved)``
    preactivations : their values after the first product. `forward` then sees them after the second.

``inner_backward(cell, inner_saved, states, diagonal, dinner) -> (dpreactivations, dstates, ddiagonal)``
    The time loop adds what it returns to what `backward` returned.
"""

from numbarnn.cells.contract import CELLS, register
from numbarnn.cells.gru import GRU
from numbarnn.cells.gru_before import ResetBeforeGRU
from numbarnn.cells.indrnn import IndRNN
from numbarnn.cells.lstm import LSTM
from numbarnn.cells.min_gru import MinGRU
from numbarnn.cells.min_lstm import MinLSTM
from numbarnn.cells.peephole import PeepholeLSTM
from numbarnn.cells.rnn import RNN
from numbarnn.kernels.scalar import sigmoid, tanh
from numbarnn.words import module_attributes

__all__ = [
    "CELLS",
    "GRU",
    "LSTM",
    "RNN",
    "IndRNN",
    "MinGRU",
    "MinLSTM",
    "PeepholeLSTM",
    "ResetBeforeGRU",
    "register",
    "sigmoid",
    "tanh",
]

for _cell in (RNN, LSTM, PeepholeLSTM, GRU, ResetBeforeGRU, IndRNN, MinGRU, MinLSTM):
    register(_cell)

__getattr__ = module_attributes(__name__, __all__)
