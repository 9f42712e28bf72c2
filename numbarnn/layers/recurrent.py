"""Recurrent layers: stacks of one cell, in one or both directions."""

from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np

from numbarnn import cells
from numbarnn.cells import contract
from numbarnn.checks import brief, check_choice, check_flag, check_number
from numbarnn.core import initializers
from numbarnn.core.params import Params, ParamSpec
from numbarnn.core.signal import Signal
from numbarnn.errors import ShapeError
from numbarnn.layers.base import Layer, layer

MERGES = ("concat", "sum")
PROJECTION = (
    "h has hidden_size features, and no projection of torch's; put Dense(n, bias=False) after the layer for n outputs"
)


@dataclass(frozen=True)
class Run:
    """One cell running through the steps in one direction: layer `level` of the stack, `reverse` or not."""

    level: int
    reverse: bool
    signal: Signal
    column: int  # offset of its output in that of the layer

    @property
    def suffix(self) -> str:
        return f"_l{self.level}" + ("_reverse" if self.reverse else "")


@layer
@dataclass(frozen=True, repr=False)
class Recurrent(Layer):
    """A stack of recurrent layers of one cell.

    `RNN`, `LSTM`, `GRU`, `IndRNN`, `MinGRU` and `MinLSTM` are this layer with their cell; use `Recurrent` itself for a cell of your
    own.

    Parameters
    ----------
    hidden_size : int
        Units H of each layer and direction.
    num_layers : int
        Layers above each other; each reads the outputs of the one below.
    bidirectional : bool
        Whether a second set of weights reads the sequence from its end.
    dropout : float
        Probability of zeroing an output on its way to the next layer of the stack, in training (none after the last).
    recurrent_dropout : float
        Probability of zeroing a unit of h on its way into the recurrent product, in training: one mask a sample, the
        same at all steps (Gal & Ghahramani 2016), a new one for every chunk.
    return_sequences : bool
        True: outputs of all steps, (samples, time steps, features). False: the last valid output, (samples,
        features), zero of a sample of length 0; of the reverse direction that of step 0.
    bias : {True, False, "single"}
        True: two bias vectors, ``bias_ih`` and ``bias_hh``, as in torch; "single": ``bias_ih`` alone; False: none.
    init : str
        Scheme of `numbarnn.core.initializers`: "keras" (default), "torch", "orthogonal", "uniform(a)".
    forget_bias : float or None
        Initial bias of a gate called "f" (``bias_hh`` is zero there); None leaves it to `init`. Where f = 1 - i, the input
        gate gets it with the other sign.
    name : str or None
        Prefix of the parameters' names; None: the class name in lower case, numbered where it repeats.
    reverse : bool
        Whether the one direction there is reads the sequence from its end. Not together with `bidirectional`; the names of its
        parameters end as those of a reverse direction do.
    merge : {"concat", "sum"}
        What the two directions of a bidirectional layer become, at each level of the stack: side by side, 2 H features (as in
        torch), or their sum, H features (``merge_mode`` of Keras' ``Bidirectional``).
    cell : NamedTuple
        Record of `numbarnn.cells`, or a class of your own registered there.

    Notes
    -----
    Parameters have torch's names and shapes: ``weight_ih_l0`` (gates * H, C), ``weight_hh_l0`` (gates * H, H),
    ``bias_ih_l0`` and ``bias_hh_l0`` (gates * H,), ``..._l0_reverse`` for the other direction; diagonal weights are
    ``weight_u_l0`` (H,) of IndRNN, and ``weight_ci_l0``, ``weight_cf_l0``, ``weight_co_l0`` (H,) of an LSTM with peepholes.

    Attributes
    ----------
    directions : int
        1 or 2.
    output_size : int
        Features of the outputs of a level: H, or 2 H.
    causal : bool
        Whether outputs depend on no later step.
    state_names : tuple of str
        Names of the states, in the order in which `Model.forward` takes and returns them.

    Raises
    ------
    TypeError, ValueError
        If an option is of the wrong type or out of range, or is torch's ``proj_size``, which there is not: a `Dense` layer after
        this one makes fewer outputs, though not fewer features of h.

    Examples
    --------
    >>> import numpy as np
    >>> from numbarnn import Model, Recurrent, cells
    >>> model = Model([Recurrent(8, bidirectional=True, cell=cells.IndRNN())], input_size=3)
    >>> model.forward(np.ones((4, 10, 3)))[0].shape
    (4, 10, 16)
    """

    hidden_size: int
    num_layers: int = 1
    bidirectional: bool = False
    dropout: float = 0.0
    recurrent_dropout: float = 0.0
    return_sequences: bool = True
    bias: bool | str = True
    init: str = "keras"
    forget_bias: float | None = 1.0
    name: str | None = None
    reverse: bool = field(default=False, kw_only=True)
    merge: str = field(default="concat", kw_only=True)
    cell: tuple[Any, ...] | None = field(default=None, kw_only=True)
    refused = {"proj_size": PROJECTION}

    def __post_init__(self):
        super().__post_init__()
        owner = type(self).__name__
        check_number(owner, "hidden_size", self.hidden_size, 1, 2**24, kind=int)
        check_number(owner, "num_layers", self.num_layers, 1, 2**16, kind=int)
        check_flag(owner, "bidirectional", self.bidirectional)
        check_flag(owner, "return_sequences", self.return_sequences)
        check_flag(owner, "reverse", self.reverse)
        if self.reverse and self.bidirectional:
            raise ValueError(
                f"{owner}: reverse must be False with bidirectional=True, which has a reverse direction already"
            )
        check_choice(self.merge, f"{owner}: merge", MERGES)
        if self.merge != "concat" and not self.bidirectional:
            raise ValueError(f"{owner}: merge must be 'concat' without bidirectional=True, got {self.merge!r}")
        check_number(owner, "dropout", self.dropout, 0, 1, include_high=False)
        check_number(owner, "recurrent_dropout", self.recurrent_dropout, 0, 1, include_high=False)
        if not (isinstance(self.bias, bool) or (isinstance(self.bias, str) and self.bias == "single")):
            raise ValueError(f"{owner}: bias must be True, False or 'single', got {brief(self.bias)}")
        if self.forget_bias is not None:
            check_number(owner, "forget_bias", self.forget_bias, -1e6, 1e6)
        initializers.scheme(self.init, self.hidden_size)
        if self.cell is None:
            raise TypeError(f"{owner}: cell must be given, for example cell=numbarnn.cells.LSTM()")
        if cells.CELLS.get(type(self.cell).__name__) is not type(self.cell):
            raise TypeError(
                f"{owner}: cell must be a registered cell, got {brief(self.cell)}; decorate its class with numbarnn.cells.register"
            )
        object.__setattr__(self, "cell", contract.typed(self.cell))
        object.__setattr__(self, "directions", 2 if self.bidirectional else 1)
        side_by_side = self.directions if self.merge == "concat" else 1
        object.__setattr__(self, "output_size", self.hidden_size * side_by_side)
        object.__setattr__(self, "causal", not (self.bidirectional or self.reverse))
        object.__setattr__(self, "state_names", self.cell.states)
        if self.recurrent_dropout and not contract.used_hidden_rows(self.cell):
            raise ValueError(f"{owner}: recurrent_dropout needs a recurrent product, which this cell does not have")

    # Static description

    def state_shape(self, samples: int) -> tuple[int, int, int]:
        """Return the shape of each state, as in torch.

        Parameters
        ----------
        samples : int

        Returns
        -------
        (num_layers * directions, samples, hidden_size)
        """
        return self.num_layers * self.directions, samples, self.hidden_size

    def output(self, signal: Signal) -> Signal:
        if not signal.sequence:
            raise ShapeError(
                f"{type(self).__name__} needs a sequence, got {signal}; does a layer before it have return_sequences=False?"
            )
        return Signal(self.output_size, sequence=self.return_sequences)

    def runs(self, signal: Signal) -> list[Run]:
        """Return the runs of the stack: one for each level and direction.

        Parameters
        ----------
        signal : Signal
            The layer's input.

        Returns
        -------
        list of Run
            In the order of the states.
        """
        return list(self._runs(signal))

    def _runs(self, signal):
        for level in range(self.num_layers):
            below = signal if level == 0 else Signal(self.output_size)
            for direction in range(self.directions):
                yield Run(level, self.reverse or direction == 1, below, self.column(direction))

    def column(self, direction: int) -> int:
        """Return where the outputs of a direction begin in those of the layer.

        Parameters
        ----------
        direction : int
            0: forward, 1: reverse.

        Returns
        -------
        int
        """
        return direction * self.hidden_size if self.merge == "concat" else 0

    def specs(self, signal: Signal) -> Iterator[ParamSpec]:
        # One by one: a file may claim more layers than it has parameters for.
        cell, hidden = self.cell, self.hidden_size
        gates = len(cell.gates)
        scheme = initializers.scheme(self.init, hidden, gates)
        for run in self._runs(signal):
            s = run.suffix
            yield ParamSpec(f"weight_ih{s}", (gates * hidden, run.signal.size), scheme.input)
            if contract.used_hidden_rows(cell):
                yield ParamSpec(f"weight_hh{s}", (gates * hidden, hidden), scheme.recurrent)
            if self.bias:
                yield ParamSpec(f"bias_ih{s}", (gates * hidden,), self._bias_init(scheme, self.forget_bias))
            if self.bias is True and contract.used_hidden_rows(cell):
                rest = None if self.forget_bias is None else 0.0
                yield ParamSpec(f"bias_hh{s}", (gates * hidden,), self._bias_init(scheme, rest))
            diagonal_init = getattr(scheme, getattr(cell, "diagonal_init", "unit"))
            for unit in cell.diagonal:
                yield ParamSpec(f"weight_{unit}{s}", (hidden,), diagonal_init)

    def _bias_init(self, scheme, forget):
        if forget is None or "f" not in self.cell.gates:
            return scheme.bias
        coupled = isinstance(self.cell, (cells.LSTM, cells.PeepholeLSTM)) and self.cell.coupled
        gate, forget = ("i", 0.0 - forget) if coupled else ("f", forget)
        first = self.cell.gates.index(gate) * self.hidden_size

        def init(generator, shape):
            bias = scheme.bias(generator, shape)
            bias[first : first + self.hidden_size] = forget
            return bias

        return init

    def config(self) -> dict[str, Any]:
        options = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "cell"}
        if type(self) is Recurrent:
            options["cell"] = {"type": type(self.cell).__name__, **self.cell._asdict()}
        return options

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "Recurrent":
        if isinstance(config.get("cell"), dict):
            config = {**config, "cell": contract.cell_record(config["cell"])}
        return cls(**config)

    # Offsets of the weights in the flat parameters

    def weight_offsets(self, params: Params, prefix: str, run: Run) -> np.ndarray:
        """Return the offsets of the rows of each pre-activation in the flat parameters.

        Parameters
        ----------
        params : Params
        prefix : str
            Of the layer's parameters, with its dot: ``"lstm."``.
        run : Run
            One of `runs`.

        Returns
        -------
        (pre-activations, 4) int64
            Offsets of the rows of ``weight_ih`` and ``weight_hh`` and of the entries of ``bias_ih`` and ``bias_hh``; -1 where
            there are none.
        """
        cell, hidden = self.cell, self.hidden_size
        offsets = np.full((len(cell.preactivations), 4), -1, np.int64)
        products = (("ih", cell.from_input, run.signal.size), ("hh", contract.used_hidden_rows(cell), hidden))
        for column, (side, preactivations, size) in enumerate(products):
            for preactivation, gate in preactivations.items():
                row, first = cell.preactivations.index(preactivation), cell.gates.index(gate) * hidden
                offsets[row, column] = params.offsets[f"{prefix}weight_{side}{run.suffix}"] + first * size
                bias = f"{prefix}bias_{side}{run.suffix}"
                if bias in params.offsets:
                    offsets[row, 2 + column] = params.offsets[bias] + first
        return offsets

    def unused_offsets(self, params: Params, prefix: str, run: Run) -> list[tuple[int, int]]:
        """Return the rows of gates that no pre-activation takes, whose gradient is zero.

        Parameters
        ----------
        params, prefix, run
            As of `weight_offsets`.

        Returns
        -------
        list of (offset, size)
            Of each row block in the flat parameters.
        """
        cell, hidden, found = self.cell, self.hidden_size, []
        for side, preactivations, size in (
            ("ih", cell.from_input, run.signal.size),
            ("hh", contract.used_hidden_rows(cell), hidden),
        ):
            for first, gate in enumerate(cell.gates):
                for kind, columns in (("weight", size), ("bias", 1)):
                    name = f"{prefix}{kind}_{side}{run.suffix}"
                    if gate not in preactivations.values() and name in params.offsets:
                        found.append((params.offsets[name] + first * hidden * columns, hidden * columns))
        return found

    def ranges(self) -> Any:
        """Return the ranges (first, one past the last) of the pre-activations that x and that h enter."""
        return self._span(self.cell.from_input), self._span(self.cell.from_hidden)

    def inner_range(self) -> Any:
        """Return the range (first, one past the last) of the pre-activations that the second recurrent product enters."""
        return self._span(contract.inner_rows(self.cell))

    def _span(self, preactivations):
        indices = [self.cell.preactivations.index(name) for name in preactivations]
        return (min(indices), max(indices) + 1) if indices else (0, 0)
