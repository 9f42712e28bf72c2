"""Recurrent layers: stacks of one cell, in one or both directions."""

from dataclasses import dataclass, field, fields

import numpy as np

from numbarnn import cells
from numbarnn.backends.cpu.batch import Call, Rows
from numbarnn.cells import contract
from numbarnn.checks import check_flag, check_number
from numbarnn.core import initializers
from numbarnn.core.layout import Layout
from numbarnn.core.params import ParamSpec
from numbarnn.core.signal import Signal
from numbarnn.errors import ShapeError
from numbarnn.kernels.compile import kernel_for
from numbarnn.kernels.cpu import matmul, recurrent, tokens, two_phase
from numbarnn.kernels.cpu.memory import empty, padded, zeros
from numbarnn.kernels.cpu.simd import panel_width
from numbarnn.layers.base import Layer, layer
from numbarnn.layers.dropout import drop


@dataclass(frozen=True)
class _Run:
    """One cell running through the steps in one direction: layer `level` of the stack, `reverse` or not."""

    level: int
    reverse: bool
    signal: Signal
    column: int  # where its output begins in the layer's

    @property
    def suffix(self) -> str:
        return f"_l{self.level}" + ("_reverse" if self.reverse else "")


@dataclass
class _Packed:
    """The weights of one run as the kernels want them."""

    forward: np.ndarray
    bias: np.ndarray
    places: np.ndarray
    diagonal: np.ndarray
    diagonal_offsets: list
    unused: list
    token_rows: np.ndarray
    back_h: np.ndarray
    back_x: np.ndarray
    back_inner: np.ndarray


@dataclass
class _Tape:
    """What one run keeps for its backward pass."""

    x: Rows
    states: np.ndarray
    saved: np.ndarray
    mask: np.ndarray
    operand: np.ndarray
    inner: np.ndarray
    inner_saved: np.ndarray


@layer
@dataclass(frozen=True)
class Recurrent(Layer):
    """A stack of recurrent layers of one cell.

    `RNN`, `LSTM`, `GRU` and `IndRNN` are this layer with their cell; use `Recurrent` itself for a cell of your own.

    Parameters
    ----------
    hidden_size : int
        Units H of each layer and direction.
    num_layers : int
        Layers above each other; each reads the outputs of the one below.
    bidirectional : bool
        Whether a second set of weights reads the sequence from its end; outputs are concatenated to 2 H features.
    dropout : float
        Probability of zeroing an output on its way to the next layer of the stack, in training (none after the last).
    recurrent_dropout : float
        Probability of zeroing a unit of h on its way into the recurrent product, in training: one mask a sample, the
        same at all steps (Gal & Ghahramani 2016), a new one for every chunk.
    return_sequences : bool
        True: outputs of all steps, (samples, time steps, features). False: the last valid output, (samples,
        features); of the reverse direction that of step 0.
    bias : {True, False, "single"}
        True: two bias vectors, ``bias_ih`` and ``bias_hh``, as in torch; "single": ``bias_ih`` alone; False: none.
    init : str
        Scheme of `numbarnn.core.initializers`: "keras" (default), "torch", "orthogonal", "uniform(a)".
    forget_bias : float or None
        Initial bias of a gate called "f" (``bias_hh`` is zero there); None leaves it to `init`. Where f = 1 - i, the input
        gate gets it with the other sign.
    name : str or None
        Prefix of the parameters' names; None: the class name in lower case, numbered where it repeats.
    cell : NamedTuple
        Record of `numbarnn.cells`, or a class of your own registered there.

    Notes
    -----
    Parameters have torch's names and shapes: ``weight_ih_l0`` (gates * H, C), ``weight_hh_l0`` (gates * H, H),
    ``bias_ih_l0`` and ``bias_hh_l0`` (gates * H,), ``..._l0_reverse`` for the other direction; diagonal weights are
    ``weight_u_l0`` (H,) of IndRNN, and ``weight_ci_l0``, ``weight_cf_l0``, ``weight_co_l0`` (H,) of an LSTM with peepholes.

    Raises
    ------
    TypeError, ValueError
        If an option is of the wrong type or out of range.
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
    cell: tuple | None = field(default=None, kw_only=True)

    def __post_init__(self):
        owner = type(self).__name__
        check_number(owner, "hidden_size", self.hidden_size, 1, 2**24, kind=int)
        check_number(owner, "num_layers", self.num_layers, 1, 2**16, kind=int)
        check_flag(owner, "bidirectional", self.bidirectional)
        check_flag(owner, "return_sequences", self.return_sequences)
        check_number(owner, "dropout", self.dropout, 0, 1, include_high=False)
        check_number(owner, "recurrent_dropout", self.recurrent_dropout, 0, 1, include_high=False)
        if not (isinstance(self.bias, bool) or self.bias == "single"):
            raise ValueError(f"{owner}: bias must be True, False or 'single', got {self.bias!r}")
        if self.forget_bias is not None:
            check_number(owner, "forget_bias", self.forget_bias, -1e6, 1e6)
        initializers.scheme(self.init, self.hidden_size)
        if self.cell is None:
            raise TypeError(f"{owner} needs a cell, for example cell=numbarnn.cells.LSTM()")
        if cells.CELLS.get(type(self.cell).__name__) is not type(self.cell):
            raise TypeError(
                f"{owner}: {self.cell!r} is no registered cell; decorate its class with numbarnn.cells.register"
            )
        object.__setattr__(self, "cell", contract.typed(self.cell))
        if self.recurrent_dropout and not contract.used_hidden_rows(self.cell):
            raise ValueError(f"{owner}: recurrent_dropout needs a recurrent product, which this cell does not have")

    # Static description

    @property
    def directions(self) -> int:
        """Number of directions, 1 or 2."""
        return 2 if self.bidirectional else 1

    @property
    def state_names(self) -> tuple[str, ...]:
        """Names of the states, in the order in which `forward` takes and returns them."""
        return self.cell.states

    def state_shape(self, samples: int) -> tuple[int, int, int]:
        """Return the shape of each state: (num_layers * directions, samples, hidden_size), as in torch."""
        return self.num_layers * self.directions, samples, self.hidden_size

    def output(self, signal: Signal) -> Signal:
        if not signal.sequence:
            raise ShapeError(
                f"{type(self).__name__} needs a sequence, got {signal}; does a layer before it have return_sequences=False?"
            )
        return Signal(self.hidden_size * self.directions, sequence=self.return_sequences)

    def runs(self, signal: Signal) -> list[_Run]:
        """Return the runs of the stack, in the order of the states."""
        found = []
        for level in range(self.num_layers):
            below = signal if level == 0 else Signal(self.hidden_size * self.directions)
            for direction in range(self.directions):
                found.append(_Run(level, direction == 1, below, direction * self.hidden_size))
        return found

    def specs(self, signal: Signal) -> list[ParamSpec]:
        cell, hidden = self.cell, self.hidden_size
        gates = len(cell.gates)
        scheme = initializers.scheme(self.init, hidden, gates)
        specs = []
        for run in self.runs(signal):
            s = run.suffix
            specs.append(ParamSpec(f"weight_ih{s}", (gates * hidden, run.signal.size), scheme.input))
            if contract.used_hidden_rows(cell):
                specs.append(ParamSpec(f"weight_hh{s}", (gates * hidden, hidden), scheme.recurrent))
            if self.bias:
                specs.append(ParamSpec(f"bias_ih{s}", (gates * hidden,), self._bias_init(scheme, self.forget_bias)))
            if self.bias is True and contract.used_hidden_rows(cell):
                rest = None if self.forget_bias is None else 0.0
                specs.append(ParamSpec(f"bias_hh{s}", (gates * hidden,), self._bias_init(scheme, rest)))
            diagonal_init = getattr(scheme, getattr(cell, "diagonal_init", "unit"))
            specs += [ParamSpec(f"weight_{unit}{s}", (hidden,), diagonal_init) for unit in cell.diagonal]
        return specs

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

    def config(self) -> dict:
        options = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "cell"}
        if type(self) is Recurrent:
            options["cell"] = {"type": type(self.cell).__name__, **self.cell._asdict()}
        return options

    @classmethod
    def from_config(cls, config: dict) -> "Recurrent":
        if isinstance(config.get("cell"), dict):
            config = {**config, "cell": contract.cell_record(config["cell"])}
        return cls(**config)

    # Weights as the kernels want them

    def pack(self, call: Call, params, prefix: str, signal: Signal, backward: bool, old=None) -> list[_Packed]:
        runs = self.runs(signal)
        old = old or [None] * len(runs)
        return [self._pack_run(call, params, prefix, run, backward, o) for run, o in zip(runs, old, strict=True)]

    def _pack_run(self, call, params, prefix, run, backward, old):
        cell, hidden, dtype = self.cell, self.hidden_size, call.dtype
        flat, width = params.flat, padded(hidden, dtype)
        inputs = run.signal.size
        places = old.places if old else self.places(params, prefix, run)
        products = 0 if run.signal.tokens else inputs
        recurrents = hidden if contract.used_hidden_rows(cell) else 0
        forward = old.forward if old else empty((len(cell.preactivations) * width * (products + recurrents),), dtype)
        bias = old.bias if old else empty((len(cell.preactivations) * width,), dtype)
        panels = bias.size // panel_width(dtype)
        own = places.copy()
        if run.signal.tokens:
            own[:, 0] = -1
        call.over(
            panels,
            forward.size,
            lambda a, b: matmul.pack_forward(flat, own, hidden, products, recurrents, forward, bias, a, b),
        )
        none = np.zeros(0, dtype)
        token_rows = none.reshape(0, 0)
        if run.signal.tokens:
            token_rows = old.token_rows if old else empty((inputs, bias.size), dtype)
            call.over(
                inputs,
                token_rows.size,
                lambda a, b: tokens.pack_tokens(flat, places, hidden, inputs, bias, token_rows, a, b),
            )
        diagonal_offsets = [params.offsets[f"{prefix}weight_{unit}{run.suffix}"] for unit in cell.diagonal]
        diagonal = zeros((len(cell.diagonal), width), dtype)
        for row, at in zip(diagonal, diagonal_offsets, strict=True):
            row[:hidden] = flat[at : at + hidden]
        back_h = back_x = back_inner = none
        if backward:
            (first, last), (first_inner, last_inner) = self._ranges()[1], self.inner_range()
            back_h = self._pack_back(call, flat, places[first:last], 1, hidden, old and old.back_h)
            back_inner = self._pack_back(call, flat, places[first_inner:last_inner], 1, hidden, old and old.back_inner)
            if not run.signal.tokens:
                back_x = self._pack_back(call, flat, places[places[:, 0] >= 0], 0, inputs, old and old.back_x)
        unused = old.unused if old else self.unused(params, prefix, run)
        return _Packed(
            forward, bias, places, diagonal, diagonal_offsets, unused, token_rows, back_h, back_x, back_inner
        )

    def _pack_back(self, call, flat, places, side, columns, old):
        packed = old
        if len(places) == 0:
            return np.zeros(0, call.dtype)
        if packed is None:
            packed = empty((padded(columns, call.dtype) * len(places) * self.hidden_size,), call.dtype)
        panels = padded(columns, call.dtype) // panel_width(call.dtype)
        call.over(
            panels,
            packed.size,
            lambda a, b: matmul.pack_backward(flat, places, side, self.hidden_size, columns, packed, a, b),
        )
        return packed

    def places(self, params, prefix, run):
        """Return (G, 4): where the rows of each pre-activation in of weight_ih and weight_hh and its biases begin."""
        cell, hidden = self.cell, self.hidden_size
        places = np.full((len(cell.preactivations), 4), -1, np.int64)
        products = (("ih", cell.from_input, run.signal.size), ("hh", contract.used_hidden_rows(cell), hidden))
        for column, (side, preactivations, size) in enumerate(products):
            for plane, gate in preactivations.items():
                row, first = cell.preactivations.index(plane), cell.gates.index(gate) * hidden
                places[row, column] = params.offsets[f"{prefix}weight_{side}{run.suffix}"] + first * size
                bias = f"{prefix}bias_{side}{run.suffix}"
                if bias in params:
                    places[row, 2 + column] = params.offsets[bias] + first
        return places

    def unused(self, params, prefix, run):
        """Return (place, size) in the flat parameters of the rows of gates that no plane takes: their gradient is zero."""
        cell, hidden, found = self.cell, self.hidden_size, []
        for side, preactivations, size in (
            ("ih", cell.from_input, run.signal.size),
            ("hh", contract.used_hidden_rows(cell), hidden),
        ):
            for first, gate in enumerate(cell.gates):
                for kind, columns in (("weight", size), ("bias", 1)):
                    name = f"{prefix}{kind}_{side}{run.suffix}"
                    if gate not in preactivations.values() and name in params:
                        found.append((params.offsets[name] + first * hidden * columns, hidden * columns))
        return found

    def _ranges(self):
        """Return the (first, last) preactivations that x and that h enters."""
        return self._span(self.cell.from_input), self._span(self.cell.from_hidden)

    def inner_range(self):
        """Return the (first, last) preactivations that the second product of a cell of two phases enters."""
        return self._span(contract.inner_rows(self.cell))

    def _span(self, preactivations):
        places = [self.cell.preactivations.index(plane) for plane in preactivations]
        return (min(places), max(places) + 1) if places else (0, 0)

    @property
    def _driver(self):
        """The module with the time loops of the cell: `recurrent`, or `two_phase` with the same arguments and some behind."""
        return two_phase if contract.has_inner(self.cell) else recurrent

    # Passes

    def forward(self, call: Call, packed, x: Rows, layout: Layout, state, number: int):
        """Return (output, its layout, final states, tape)."""
        final = tuple(np.empty(self.state_shape(layout.samples), call.dtype) for _ in self.cell.states)
        signal = Signal(x.size, tokens=x.tokens)
        tapes = []
        for level in range(self.num_layers):
            x = self._drop(call, x, layout, number, level) if level > 0 else x
            out = None
            if not call.keep and (self.return_sequences or level < self.num_layers - 1):
                out = self._output_rows(call, layout, number, level)
            outputs = []
            for place, run in list(enumerate(self.runs(signal)))[
                level * self.directions : (level + 1) * self.directions
            ]:
                start = None if state is None else [s[place] for s in state]
                stream = (number << 8) + 128 + place
                h, ends, tape = self._run_forward(call, run, packed[place], x, layout, start, stream, out)
                outputs.append(h)
                tapes.append(tape)
                for whole, end in zip(final, ends, strict=True):
                    whole[place] = layout.unsort(end)
            x = self._join(call, outputs, layout) if call.keep else out
        if self.return_sequences:
            return x, layout, final, tapes
        last = call.zeros((layout.samples, padded(self.hidden_size * self.directions, call.dtype)))
        for direction in range(self.directions):
            column = direction * self.hidden_size
            h = final[0][direction - self.directions]
            last[:, column : column + self.hidden_size] = layout.sort(h)
        return Rows(last, self.hidden_size * self.directions), layout.last(), final, tapes

    def backward(self, call: Call, packed, tapes, dy, layout: Layout, dfinal, gradient, need_dx: bool, number: int):
        """Write the gradients of the parameters into `gradient`; return (gradient of the input or None, of the initial states)."""
        hidden = self.hidden_size
        dstart = tuple(np.empty(self.state_shape(layout.samples), call.dtype) for _ in self.cell.states)
        runs = self.runs(Signal(tapes[0].x.size, tokens=tapes[0].x.tokens))
        dlast = None if self.return_sequences else dy
        dx = dy if self.return_sequences else None
        for level in reversed(range(self.num_layers)):
            dy, dx = dx, None
            if level < self.num_layers - 1:
                dy = self._drop(call, dy, layout, number, level + 1)
            for direction in range(self.directions):
                place = level * self.directions + direction
                run, tape = runs[place], tapes[place]
                ends = call.zeros((len(self.cell.states), layout.samples, padded(hidden, call.dtype)))
                if dfinal is not None:
                    for s, whole in enumerate(dfinal):
                        ends[s, :, :hidden] = layout.sort(whole[place])
                if dlast is not None and level == self.num_layers - 1:
                    ends[0, :, :hidden] += dlast.values[:, run.column : run.column + hidden]
                wanted = (need_dx or level > 0) and not run.signal.tokens
                dx = self._run_backward(call, run, packed[place], tape, dy, layout, ends, gradient, wanted, dx)
                for whole, part in zip(dstart, ends, strict=True):
                    whole[place] = layout.unsort(part[:, :hidden])
        return dx, dstart

    def _output_rows(self, call, layout, number, level):
        """Return the rows that the runs of a level write their outputs to where no tape holds them."""
        size, rows = self.hidden_size * self.directions, layout.steps * layout.samples
        if not (call.direct and layout.full):
            return Rows(call.empty((rows, padded(size, call.dtype))), size)
        last = number == call.last and level == self.num_layers - 1
        return Rows(np.empty((rows, size), call.dtype) if last else call.empty((rows, size)), size, sample_major=True)

    def _run_forward(self, call, run, packed, x, layout, start, stream, out):
        cell, hidden, dtype = self.cell, self.hidden_size, call.dtype
        width, steps, samples = padded(hidden, dtype), layout.steps, layout.samples
        none = np.zeros(0, dtype)
        first = call.zeros((len(cell.states), samples, width))
        if start is not None:
            for s, values in enumerate(start):
                first[s, :, :hidden] = layout.sort(values)
        final = call.empty(first.shape)
        states = call.empty((len(cell.states), steps + 1 if call.keep else 2, samples, width))
        saved = call.empty((steps if call.keep else 1, len(cell.saved), samples, width))
        preactivations = call.empty((len(cell.preactivations), samples, width))
        mask, operand = none.reshape(0, 0), none.reshape(0, 0, 0)
        if call.training and self.recurrent_dropout:
            mask, operand = self._mask(call, layout, stream), call.empty((steps, samples, width))
        diagonal = _repeated(packed.diagonal, samples)
        inner, inner_saved, second = none.reshape(0, 0, 0), none.reshape(0, 0, 0, 0), ()
        if contract.has_inner(cell):
            kept = steps if call.keep else 1
            inner = call.empty((kept, samples, width))
            inner_saved = call.empty((kept, len(cell.inner_saved), samples, width))
            second = (self.inner_range(), inner, inner_saved)
        kernel = kernel_for(self._driver.forward, cell)
        x_range, h_range = self._ranges()
        values, x_strides = (none, (0, 0)) if x.tokens else (x.values.reshape(-1), x.strides(layout))
        out_values, out_strides = (none, (0, 0)) if out is None else (out.values.reshape(-1), out.strides(layout))
        token = x.values if x.tokens else np.zeros(0, np.int32)
        work = layout.running * (packed.forward.size + 16 * width)
        call.over_samples(
            layout,
            work,
            lambda lo, hi: kernel(
                cell, call.table, x_range, h_range, 0 if x.tokens else x.size, hidden if contract.used_hidden_rows(cell) else 0,
                run.reverse, values, *x_strides, token, packed.token_rows.reshape(-1),
                packed.forward, packed.bias, diagonal.reshape(-1), mask,
                layout.lengths, layout.active, first, states, saved, preactivations, operand,
                out_values, run.column, *out_strides, hidden, final, lo, hi, *second,
            ),
        )  # fmt: skip
        if not call.keep:
            return None, final[:, :, :hidden], None
        h = states[0, :-1] if run.reverse else states[0, 1:]
        h = Rows(h.reshape(steps * samples, width), hidden)
        return h, final[:, :, :hidden], _Tape(x, states, saved, mask, operand, inner, inner_saved)

    def _run_backward(self, call, run, packed, tape, dy, layout, ends, gradient, need_dx, dx):
        cell, hidden, dtype = self.cell, self.hidden_size, call.dtype
        width, steps, samples = padded(hidden, dtype), layout.steps, layout.samples
        none = np.zeros(0, dtype)
        x_range, h_range = self._ranges()
        dpreactivations = call.empty((steps, len(cell.preactivations), samples, width))
        product = call.empty((samples, width) if tape.mask.size else (0, 0))
        ddiagonal = call.zeros((len(cell.diagonal), samples, width))
        diagonal = _repeated(packed.diagonal, samples)
        add = dx is not None
        if need_dx and not add:
            shape = (steps * samples, padded(tape.x.size, dtype))
            dx = Rows(call.empty(shape) if layout.full else call.zeros(shape), tape.x.size)
        dx_values, dx_row = (dx.values.reshape(-1), dx.values.shape[1]) if need_dx else (none, 0)
        dy_values, dy_row = (none, 0) if dy is None else (dy.values.reshape(-1), dy.values.shape[1])
        second = ()
        if contract.has_inner(cell):
            second = (self.inner_range(), packed.back_inner, tape.inner_saved, call.empty((samples, width)))
        kernel = kernel_for(self._driver.backward, cell)
        blank = np.zeros(max(width, dx_row), dtype)
        work = layout.running * (packed.forward.size + 16 * width)
        call.over_samples(
            layout,
            work,
            lambda lo, hi: kernel(
                cell, call.table, x_range, h_range, hidden, run.reverse,
                packed.back_h, packed.back_x, diagonal.reshape(-1), tape.mask,
                layout.active, tape.states, tape.saved, dy_values, run.column, dy_row, blank,
                ends, dpreactivations, product, dx_values, dx_row, add, ddiagonal, lo, hi, *second,
            ),
        )  # fmt: skip
        for at, size in packed.unused:
            gradient[at : at + size] = 0
        for unit, at in enumerate(packed.diagonal_offsets):
            gradient[at : at + hidden] = ddiagonal[unit, :, :hidden].sum(axis=0)
        self._weight_gradients(call, run, packed, tape, layout, dpreactivations, gradient)
        return dx

    def _weight_gradients(self, call, run, packed, tape, layout, dpreactivations, gradient):
        cell, hidden, dtype = self.cell, self.hidden_size, call.dtype
        width, samples = padded(hidden, dtype), layout.samples
        x_range, h_range = self._ranges()
        places, flat = packed.places.copy(), dpreactivations.reshape(-1)
        plane, step = samples * width, len(cell.preactivations) * samples * width
        x = tape.x
        if x.tokens:
            lanes = panel_width(dtype)
            call.over(
                len(cell.preactivations) * width // lanes,
                layout.running * len(cell.preactivations) * width * 14.0,  # additions that wait for memory
                lambda a, b, scratch: tokens.token_gradient(
                    x.values, x.size, flat, plane, width, step, hidden, layout.active, samples, scratch, gradient, places, a, b
                ),
                scratch=x.size * lanes,
            )  # fmt: skip
            places[:, 0] = -1
        none = np.zeros(0, dtype), 0, 0, (0, 0)
        left = none if x.tokens else (x.values.reshape(-1), x.values.shape[1], x.size, x_range)
        if tape.operand.size:
            h, h_at = tape.operand.reshape(-1), 0
        else:
            h, h_at = tape.states.reshape(-1), plane if run.reverse else 0
        right = h, h_at, width, hidden if cell.from_hidden else 0, h_range
        if contract.has_inner(cell):
            first, last = self.inner_range()
            own = np.full((last - first, 4), -1, np.int64)
            own[:, 1], places[first:last, 1] = places[first:last, 1], -1
            inner = tape.inner.reshape(-1), 0, width, hidden, (0, last - first)
            self._product_gradient(call, layout, none, inner, flat[first * plane :], step, own, gradient)
        self._product_gradient(call, layout, left, right, flat, step, places, gradient)

    def _product_gradient(self, call, layout, left, right, dpreactivations, step, places, gradient):
        """Write the gradients of the weights of one or two products and of their biases.

        left : x as (values, row, columns, range); right : h as (values, offset, row, columns, range), as in `matmul`.
        """
        dtype, width = call.dtype, padded(self.hidden_size, call.dtype)
        lanes = panel_width(dtype)
        panels = len(places) * width // lanes
        columns, recurrents = left[2], right[3]
        rows = padded(columns, dtype) + padded(recurrents, dtype)
        sums = call.empty((panels * (rows + matmul.CHAINS) * lanes,))
        call.over(
            panels,
            layout.running * len(places) * width * (columns + recurrents + 8),
            lambda a, b, scratch: matmul.weight_gradient(
                call.table, *left, *right, dpreactivations, layout.samples * width, width, step, self.hidden_size,
                layout.active, layout.samples, scratch, sums, gradient, places, a, b,
            ),
            scratch=(rows + 2 * lanes) * matmul.SPAN,
        )  # fmt: skip

    def _join(self, call, outputs, layout):
        """Return the outputs of all directions side by side."""
        if len(outputs) == 1:
            return outputs[0]
        size = self.hidden_size * len(outputs)
        joined = call.zeros((len(outputs[0].values), padded(size, call.dtype)))
        for direction, rows in enumerate(outputs):
            column = direction * self.hidden_size
            joined[:, column : column + self.hidden_size] = rows.values[:, : self.hidden_size]
        if not layout.full and len(outputs) == 2:
            # In the reverse direction the initial state stands in the row behind the last of each sample.
            ended = np.flatnonzero(layout.lengths < layout.steps)
            joined[layout.lengths[ended] * layout.samples + ended, self.hidden_size :] = 0
        return Rows(joined, size)

    def _drop(self, call, x, layout, number, level):
        """Return x after the dropout below layer `level` of the stack; on a gradient, the gradient before it."""
        if not (call.training and self.dropout):
            return x
        return drop(call, x, layout, self.dropout, (number << 8) + level)

    def _mask(self, call, layout, stream):
        ones = Rows(np.ones((layout.samples, padded(self.hidden_size, call.dtype)), call.dtype), self.hidden_size)
        return drop(call, ones, layout.last(), self.recurrent_dropout, stream).values


def _repeated(diagonal, samples):
    """Return diagonal weights (U, Hp) as (U, N, Hp)."""
    return np.repeat(diagonal[:, None, :], samples, axis=1)  # always a copy: a view would be another type to the kernel
