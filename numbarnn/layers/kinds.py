"""`RNN`, `LSTM`, `GRU`, `IndRNN`, `MinGRU`, `MinLSTM`: the recurrent layer with one cell each, and their options by name."""

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from numbarnn import cells
from numbarnn.checks import brief, check_choice, check_flag, check_number
from numbarnn.kernels.activation import ACTIVATIONS
from numbarnn.layers.activation import check_activation
from numbarnn.layers.base import LAYERS, layer
from numbarnn.layers.recurrent import Recurrent

# What stands for the parameters of `Recurrent` in the docstrings of its kinds.
_SHARED = "Those of `Recurrent`, but for `cell`, and:"


def _documented(cls):
    """Return a layer whose docstring has the parameters of `Recurrent` in place of a reference to them."""
    if cls.__doc__ is not None:  # python -OO
        _, _, shared = inspect.cleandoc(Recurrent.__doc__).partition("Parameters\n----------\n")
        cls.__doc__ = inspect.cleandoc(cls.__doc__).replace(_SHARED, shared.partition("\ncell : ")[0])
    return cls


@_documented
@layer
@dataclass(frozen=True, repr=False)
class RNN(Recurrent):
    """Plain recurrent layers, as in torch.

    ::

        h_t = f(W_ih x_t + b_ih + W_hh h_{t-1} + b_hh)

    They read (samples, time steps, features) or tokens, and give (samples, time steps, hidden_size), or (samples, hidden_size)
    of the last step.

    Parameters
    ----------
    Those of `Recurrent`, but for `cell`, and:
    activation : {"tanh", "relu", "logistic", "identity"}
        f; "tanh" by default. "sigmoid" is another name of "logistic".

    References
    ----------
    J. L. Elman, "Finding structure in time", Cognitive Science 14 (1990) 179-211.

    Examples
    --------
    >>> import numpy as np, numbarnn as nr
    >>> model = nr.Model([nr.RNN(8), nr.Dense(3)], input_size=2)
    >>> model.forward(np.zeros((4, 10, 2)))[0].shape
    (4, 10, 3)
    """

    cell: tuple[Any, ...] = field(init=False, default=None)
    activation: str = field(default="tanh", kw_only=True)

    def __post_init__(self):
        object.__setattr__(self, "activation", check_activation("RNN", self.activation))
        object.__setattr__(self, "cell", cells.RNN(ACTIVATIONS[self.activation]))
        super().__post_init__()


@_documented
@layer
@dataclass(frozen=True, repr=False)
class LSTM(Recurrent):
    """Long short-term memory layers, as in torch and Keras.

    ::

        i_t = sigmoid(W_i x_t + b_i + R_i h_{t-1} + b'_i)      input gate
        f_t = sigmoid(W_f x_t + b_f + R_f h_{t-1} + b'_f)      forget gate
        o_t = sigmoid(W_o x_t + b_o + R_o h_{t-1} + b'_o)      output gate
        g_t = tanh(W_g x_t + b_g + R_g h_{t-1} + b'_g)         candidate
        c_t = f_t c_{t-1} + i_t g_t                            carry
        h_t = o_t tanh(c_t)

    They read (samples, time steps, features) or tokens, and give (samples, time steps, hidden_size), or (samples, hidden_size)
    of the last step. The states are h and c, each (num_layers * directions, samples, hidden_size).

    Parameters
    ----------
    Those of `Recurrent`, but for `cell`, and:
    peepholes : bool
        Whether the gates see the carry, through one weight per unit: the input and forget gate that of the step before
        (``weight_ci_l0``, ``weight_cf_l0``), the output gate the new one (``weight_co_l0``), each of shape (H,), as in
        ONNX (Gers & Schmidhuber 2000; `numbarnn.cells.PeepholeLSTM`). They begin like biases.
    coupled : bool
        Whether f = 1 - i (Greff et al. 2017; ``input_forget`` of ONNX). The forget gate's weights stay, without effect.
    fix : dict or None
        Gates that are fixed (clamped) at a constant, whatever their weights, which then get a gradient of exactly zero:
        ``{"forget": 1.0}``. Keys are "input", "forget", "output" (values in [0, 1]) and "candidate" ([-1, 1]), or i, f,
        o, g.

    References
    ----------
    S. Hochreiter, J. Schmidhuber, "Long short-term memory", Neural Computation 9 (1997) 1735-1780.
    F. A. Gers, J. Schmidhuber, F. Cummins, "Learning to forget", Neural Computation 12 (2000) 2451-2471.

    Examples
    --------
    >>> import numpy as np, numbarnn as nr
    >>> model = nr.Model([nr.LSTM(8, num_layers=2, return_sequences=False), nr.Dense(1)], input_size=2)
    >>> model.forward(np.zeros((4, 10, 2)))[0].shape
    (4, 1)
    """

    cell: tuple[Any, ...] = field(init=False, default=None)
    peepholes: bool = field(default=False, kw_only=True)
    coupled: bool = field(default=False, kw_only=True)
    fix: dict[str, Any] | None = field(default=None, kw_only=True, hash=False)

    def __post_init__(self):
        check_flag("LSTM", "peepholes", self.peepholes)
        check_flag("LSTM", "coupled", self.coupled)
        names = {"input": "i", "forget": "f", "candidate": "g", "output": "o"}
        fix, options = _fixed("LSTM", self.fix, names)
        if self.coupled and "fix_f" in options:
            raise ValueError("LSTM: coupled gates leave nothing to fix of the forget gate; fix the input gate at 1 - f")
        object.__setattr__(self, "fix", fix)
        cell = cells.PeepholeLSTM if self.peepholes else cells.LSTM
        object.__setattr__(self, "cell", cell(coupled=int(self.coupled), **options))
        super().__post_init__()


@_documented
@layer
@dataclass(frozen=True, repr=False)
class GRU(Recurrent):
    """Gated recurrent layers, as in torch and Keras.

    ::

        r_t = sigmoid(W_r x_t + b_r + R_r h_{t-1} + b'_r)            reset gate
        z_t = sigmoid(W_z x_t + b_z + R_z h_{t-1} + b'_z)            update gate
        n_t = tanh(W_n x_t + b_n + r_t (R_n h_{t-1} + b'_n))         candidate
        h_t = (1 - z_t) n_t + z_t h_{t-1}

    They read (samples, time steps, features) or tokens, and give (samples, time steps, hidden_size), or (samples, hidden_size)
    of the last step.

    Parameters
    ----------
    Those of `Recurrent`, but for `cell`, and:
    reset_after : bool
        True: the reset gate acts after the recurrent product, ``n = tanh(W x + b + r (R h + b'))``, as in torch and Keras
        and as ``linear_before_reset=1`` of ONNX. False: before it, ``n = tanh(W x + b + R (r h) + b')``, as in the
        paper (Cho et al. 2014), Keras' ``reset_after=False`` and ONNX' default.
    fix : dict or None
        Gates that are fixed (clamped) at a constant, whatever their weights, which then get a gradient of exactly zero:
        ``{"reset": 1.0}``. Keys are "reset", "update" (values in [0, 1]) and "candidate" ([-1, 1]), or r, z, n.

    References
    ----------
    K. Cho et al., "Learning phrase representations using RNN encoder-decoder for statistical machine translation", EMNLP 2014.

    Examples
    --------
    >>> import numpy as np, numbarnn as nr
    >>> model = nr.Model([nr.GRU(8, bidirectional=True), nr.Dense(3)], input_size=2)
    >>> model.forward(np.zeros((4, 10, 2)))[0].shape
    (4, 10, 3)
    """

    cell: tuple[Any, ...] = field(init=False, default=None)
    reset_after: bool = field(default=True, kw_only=True)
    fix: dict[str, Any] | None = field(default=None, kw_only=True, hash=False)

    def __post_init__(self):
        check_flag("GRU", "reset_after", self.reset_after)
        fix, options = _fixed("GRU", self.fix, {"reset": "r", "update": "z", "candidate": "n"})
        object.__setattr__(self, "fix", fix)
        object.__setattr__(self, "cell", (cells.GRU if self.reset_after else cells.ResetBeforeGRU)(**options))
        super().__post_init__()


def _fixed(owner, fix, names):
    """Return `fix` with gates by their long names, and as options of a cell; `names` are the gates it has."""
    if fix is None:
        return None, {}
    if not isinstance(fix, Mapping):
        raise TypeError(
            f'{owner}: fix must be a dict of gate -> value, such as {{"{next(iter(names))}": 1.0}}, got {brief(fix)}'
        )
    long = {short: name for name, short in names.items()}
    found = {}
    for key, value in fix.items():
        name = long.get(key, key)
        if name not in names:
            raise ValueError(
                f"{owner}: fix must name gates among {', '.join(names)} or {', '.join(long)}, got {brief(key)}"
            )
        if name in found:
            raise ValueError(f"{owner}: fix names the {name} gate twice, got {brief(fix)}")
        check_number(owner, f"fix[{key!r}]", value, -1 if name == "candidate" else 0, 1)
        found[name] = float(value)
    return found, {f"fix_{names[name]}": value for name, value in found.items()}


@_documented
@layer
@dataclass(frozen=True, repr=False)
class IndRNN(Recurrent):
    """Independently recurrent layers: every unit sees its own past alone.

    ::

        h_t = f(W_ih x_t + b_ih + u * h_{t-1})

    They read (samples, time steps, features) or tokens, and give (samples, time steps, hidden_size), or (samples, hidden_size)
    of the last step.

    Parameters
    ----------
    Those of `Recurrent`, but for `cell`, and:
    activation : {"tanh", "relu", "logistic", "identity"}
        f; "relu" by default, as in the paper. "sigmoid" is another name of "logistic".

    References
    ----------
    S. Li, W. Li, C. Cook, C. Zhu, Y. Gao, "Independently recurrent neural network (IndRNN): building a longer and deeper RNN",
    CVPR 2018.

    Examples
    --------
    >>> import numpy as np, numbarnn as nr
    >>> model = nr.Model([nr.IndRNN(8, num_layers=3), nr.Dense(3)], input_size=2)
    >>> model.forward(np.zeros((4, 10, 2)))[0].shape
    (4, 10, 3)
    """

    cell: tuple[Any, ...] = field(init=False, default=None)
    activation: str = field(default="relu", kw_only=True)

    def __post_init__(self):
        object.__setattr__(self, "activation", check_activation("IndRNN", self.activation))
        object.__setattr__(self, "cell", cells.IndRNN(ACTIVATIONS[self.activation]))
        super().__post_init__()


@_documented
@layer
@dataclass(frozen=True, repr=False)
class MinGRU(Recurrent):
    """Minimal gated recurrent layers: gate and candidate see the input alone.

    ::

        z_t = sigmoid(W_z x_t + b_z)             update gate
        n_t = W_n x_t + b_n                      candidate
        h_t = (1 - z_t) h_{t-1} + z_t n_t

    They read (samples, time steps, features) or tokens, and give (samples, time steps, hidden_size), or (samples, hidden_size)
    of the last step. A step has no recurrent product, so they are several times as fast as `GRU`; what one layer cannot tell
    of its own past, a stack (``num_layers=2`` and more) can. z is the share of what is new, as in the paper; that of `GRU` is
    the share of what stays.

    Parameters
    ----------
    Those of `Recurrent`, but for `cell`, and:

    References
    ----------
    L. Feng, F. Tung, M. O. Ahmed, Y. Bengio, H. Hajimirsadeghi, "Were RNNs all we needed?", arXiv:2410.01201 (2024), section
    3.1.

    Examples
    --------
    >>> import numpy as np, numbarnn as nr
    >>> model = nr.Model([nr.MinGRU(8, num_layers=2), nr.Dense(3)], input_size=2)
    >>> model.forward(np.zeros((4, 10, 2)))[0].shape
    (4, 10, 3)
    """

    cell: tuple[Any, ...] = field(init=False, default=None)

    def __post_init__(self):
        object.__setattr__(self, "cell", cells.MinGRU())
        super().__post_init__()


@_documented
@layer
@dataclass(frozen=True, repr=False)
class MinLSTM(Recurrent):
    """Minimal long short-term memory layers: gates that see the input alone and add up to 1, and no carry beside h.

    ::

        i_t = sigmoid(W_i x_t + b_i)                           input gate
        f_t = sigmoid(W_f x_t + b_f)                           forget gate
        g_t = W_g x_t + b_g                                    candidate
        h_t = (f_t h_{t-1} + i_t g_t) / (f_t + i_t)

    They read (samples, time steps, features) or tokens, and give (samples, time steps, hidden_size), or (samples, hidden_size)
    of the last step. The one state is h. A step has no recurrent product, so they are several times as fast as `LSTM`; what one
    layer cannot tell of its own past, a stack (``num_layers=2`` and more) can.

    Parameters
    ----------
    Those of `Recurrent`, but for `cell`, and:

    References
    ----------
    L. Feng, F. Tung, M. O. Ahmed, Y. Bengio, H. Hajimirsadeghi, "Were RNNs all we needed?", arXiv:2410.01201 (2024), section
    3.2.

    Examples
    --------
    >>> import numpy as np, numbarnn as nr
    >>> model = nr.Model([nr.MinLSTM(8, num_layers=2), nr.Dense(3)], input_size=2)
    >>> model.forward(np.zeros((4, 10, 2)))[0].shape
    (4, 10, 3)
    """

    cell: tuple[Any, ...] = field(init=False, default=None)

    def __post_init__(self):
        object.__setattr__(self, "cell", cells.MinLSTM())
        super().__post_init__()


def recurrent_names() -> dict[str, type]:
    """Return the layers that have a cell of their own, by class name in lower case."""
    found = {name.lower(): cls for name, cls in LAYERS.items() if issubclass(cls, Recurrent) and cls is not Recurrent}
    return dict(sorted(found.items()))


def recurrent(cell: str, hidden_size: int, **options) -> Recurrent:
    """Return recurrent layers of a cell given by name: a layer class in lower case ("lstm"), or a registered cell.

    Raises
    ------
    ValueError
        If there is no such cell.
    """
    layers = recurrent_names()
    if isinstance(cell, str) and cell.lower() in layers:
        return layers[cell.lower()](hidden_size, **options)
    check_choice(cell, "cell", [*layers, *cells.CELLS])
    return Recurrent(hidden_size, cell=cells.CELLS[cell](), **options)
