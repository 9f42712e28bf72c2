"""Layers in C: their weights, and a function for one row (a step, or a vector of a sample) of each."""

from dataclasses import dataclass, field

import numpy as np

from numbarnn.cells.contract import has_inner, used_hidden_rows
from numbarnn.frozen.c_cells import Cell, translate_cell
from numbarnn.frozen.c_expressions import Expression, print_statements
from numbarnn.frozen.c_math import KNOWN, Functions
from numbarnn.frozen.c_products import Factor, product
from numbarnn.frozen.c_text import array, comment, hexadecimal, identifier
from numbarnn.frozen.c_translate import Translator
from numbarnn.kernels.activation import ACTIVATIONS, activate


@dataclass
class Writer:
    """What of the file is written so far.

    Attributes
    ----------
    name : str
        Prefix of the public functions.
    kind : {"float", "double"}
    taken : set of str
        Names at the level of the file.
    weights, rows : list of str
        Definitions of arrays, and of the functions of layers.
    states : dict
        Vectors of the state that are carried, name -> (values, comment).
    scratch : dict
        Vectors of the state that are not.
    functions : Functions
    """

    name: str
    kind: str
    taken: set[str]
    weights: list[str] = field(default_factory=list)
    rows: list[str] = field(default_factory=list)
    states: dict[str, tuple[int, str]] = field(default_factory=dict)
    scratch: dict[str, int] = field(default_factory=dict)
    functions: Functions = field(default_factory=Functions)
    cells: dict = field(default_factory=dict)
    activations: dict = field(default_factory=dict)

    @property
    def state(self) -> str:
        """The C type of a state."""
        return f"struct {self.name}_state"

    def named(self, text: str) -> str:
        """Return an identifier at the level of the file, which no other thing gets."""
        return identifier(text, self.taken)

    def array(self, parameter: str, values: np.ndarray, about: str) -> str:
        """Define an array of weights and return its name."""
        if not np.isfinite(values).all():
            raise ValueError(
                f"parameter {parameter} must be finite to be written in C, but has NaN or infinity; train the model again"
            )
        name = self.named(parameter.replace(".", "_"))
        self.weights.append(f"{comment(about)}\n{array(self.kind, name, hexadecimal(values))}")
        return name

    def room(self, name: str, values: int) -> str:
        """Reserve scratch memory in the state and return its address; what has one name is one memory."""
        self.scratch[name] = max(values, self.scratch.get(name, 0))
        return f"m->{name}"

    def cell(self, record) -> Cell:
        """Return the functions of a cell, which are defined once."""
        key = type(record), record
        if key not in self.cells:
            name = self.named(f"{type(record).__name__.lower()}_cell")
            inner = self.named(f"{name}_inner") if has_inner(record) else ""
            cell = self.cells[key] = translate_cell(record, self.kind, name, inner, self.functions)
            self.rows += [part.text for part in (cell.inner, cell.forward) if part is not None]
        return self.cells[key]

    def activation(self, activation: str) -> str:
        """Return the function f(size_t n, y) that applies an activation to a vector in place; "" for the identity."""
        if activation == "identity":
            return ""
        if activation not in self.activations:
            x = Expression("y[j]", (), self.kind)
            result = Translator(KNOWN, f"the activation {activation}").call(activate, ACTIVATIONS[activation], x)
            lines, (text,), calls = print_statements([result], {"n", "j", "y"})
            self.functions.need(calls)
            name, body = self.named(f"{activation}_all"), "\n        ".join([*lines, f"y[j] = {text};"])
            self.rows.append(
                f"/* y[j] = {activation}(y[j]). */\nstatic void {name}(size_t n, {self.kind} *y)\n{{\n"
                f"    for (size_t j = 0; j < n; j++) {{\n        {body}\n    }}\n}}"
            )
            self.activations[activation] = name
        return self.activations[activation]

    def function(self, about: str, head: str, lines: list[str]) -> None:
        """Define a function of a layer."""
        body = "\n    ".join(lines)
        self.rows.append(f"{comment(about)}\nstatic void {head}\n{{\n    {body}\n}}")


@dataclass(frozen=True)
class Run:
    """One run of a recurrent layer in C.

    Attributes
    ----------
    name : str
        Of the function of one step, f(x or token, state), and of its states in the state.
    reverse : bool
    column : int
        Where its output begins in that of the layer.
    """

    name: str
    reverse: bool
    column: int


def write_runs(out: Writer, layer, params, prefix: str, signal) -> list[Run]:
    """Write the steps of all runs of a recurrent layer, and return them in the order of the states."""
    return [_write_run(out, layer, params, prefix, run) for run in layer.runs(signal)]


@dataclass(frozen=True)
class _Weights:
    """The arrays of a run: names of x's and h's weights, biases ("" where there are none), and diagonal weights; rows of two."""

    x: str
    h: str
    bias: str
    diagonal: list[str]
    x_row: int
    h_row: int


def _write_weights(out, layer, params, prefix, run):
    """Write the arrays of a run, gates in the order of the pre-activations that their rows enter."""
    cell, units, size, flat, x, h, bias = layer.cell, layer.hidden_size, run.signal.size, params.flat, "", "", ""
    offsets, pre = layer.weight_offsets(params, f"{prefix}.", run), cell.preactivations
    (x_first, x_last), h_range, i_range = *layer.ranges(), layer.inner_range()
    x_rows, h_rows = list(range(x_first, x_last)), [*range(*h_range), *range(*i_range)]

    def transposed(rows, column, length):
        blocks = [flat[at : at + units * length].reshape(units, length).T for at in offsets[rows, column]]
        return np.concatenate(blocks, axis=1)

    def about(name, length, rows, gates):
        entered = (
            f"{pre[row]} from gate {gates[pre[row]]}" if gates[pre[row]] != pre[row] else pre[row] for row in rows
        )
        return f"{name}, transposed: ({length}, {len(rows) * units} = {units} units of each of {', '.join(entered)})"

    name = f"{prefix}.{{}}{run.suffix}"
    if x_rows:
        own, length = name.format("weight_ih"), f"{size} {'tokens' if run.signal.tokens else 'features'}"
        x = out.array(own, transposed(x_rows, 0, size), about(own, length, x_rows, cell.from_input))
    if h_rows:
        own = name.format("weight_hh")
        h = out.array(own, transposed(h_rows, 1, units), about(own, f"{units} units", h_rows, used_hidden_rows(cell)))
    if (offsets[:, 2:] >= 0).any():
        total = np.zeros((len(pre), units), flat.dtype)
        for row, at in zip(total, offsets[:, 2:], strict=True):
            for first in at[at >= 0]:
                row += flat[first : first + units]
        own = f"{name.format('bias_ih')} and, if there is one, {name.format('bias_hh')}"
        bias = out.array(name.format("bias"), total, f"The sums of {own}: {units} units of each of {', '.join(pre)}")
    own = [name.format(f"weight_{unit}") for unit in cell.diagonal]
    diagonal = [out.array(unit, params[unit], f"{unit}: ({units} units)") for unit in own]
    return _Weights(x, h, bias, diagonal, len(x_rows) * units, len(h_rows) * units)


def _write_run(out, layer, params, prefix, run):
    cell, units, tokens, size = layer.cell, layer.hidden_size, run.signal.tokens, run.signal.size
    function, weights, name = (
        out.cell(cell),
        _write_weights(out, layer, params, prefix, run),
        out.named(f"{prefix}{run.suffix}"),
    )
    (x_range, h_range), (i_first, i_last), pre = layer.ranges(), layer.inner_range(), cell.preactivations
    groups, count = _groups(cell, x_range, h_range), len(pre) * units
    widest = max(i_last - i_first, *(group[1] for group in groups), 1)
    z, s, h = out.room("z", count), out.room("s", widest * units), f"m->{name}"
    out.states[name] = len(cell.states) * units, f"{', '.join(cell.states)} of {prefix}{run.suffix}, {units} units each"

    lines = [f"copy({count}, {weights.bias}, {z});" if weights.bias else f"clear({count}, {z});"]
    if not weights.x:
        lines.insert(0, "(void)token;" if tokens else "(void)x;")
    elif tokens:
        lines.append(f"add({weights.x_row}, {weights.x} + token * {weights.x_row}, {_at(z, x_range[0] * units)});")
    for first, together, has_x, has_h in groups:
        factors = []
        if has_x and not tokens:
            factors.append(Factor("x", size, _at(weights.x, (first - x_range[0]) * units), weights.x_row))
        if has_h:
            factors.append(Factor(h, units, _at(weights.h, (first - h_range[0]) * units), weights.h_row))
        lines += product(together * units, factors, s, _at(z, first * units))
    arrays = {
        "preactivations": [_at(z, index * units) for index in range(len(pre))],
        "states": [_at(h, index * units) for index in range(len(cell.states))],
        "diagonal": weights.diagonal,
    }
    if function.inner is not None:
        inner = out.room("inner", units)
        arrays["inner"] = [inner]
        lines.append(function.inner.call(units, arrays))
        factor = Factor(inner, units, _at(weights.h, (h_range[1] - h_range[0]) * units), weights.h_row)
        lines += product((i_last - i_first) * units, [factor], s, _at(z, i_first * units))
    lines.append(function.forward.call(units, arrays))
    level = f"level {run.level}{', from the end' if run.reverse else ''}"
    argument = "size_t token" if tokens else f"const {out.kind} *x"
    about = f"{prefix}, {level}: one step. Pre-activations {', '.join(pre)} in z, then the cell."
    out.function(about, f"{name}({argument}, {out.state} *m)", lines)
    return Run(name, run.reverse, run.column)


def _at(array, offset):
    return f"{array} + {offset}" if offset else array


def _groups(cell, x_range, h_range):
    """Return (first, count, x enters, h enters) of the runs of pre-activations that take the same operands."""
    groups = []
    for index in range(len(cell.preactivations)):
        operands = tuple(first <= index < last for first, last in (x_range, h_range))
        if groups and groups[-1][2:] == operands:
            groups[-1] = (groups[-1][0], groups[-1][1] + 1, *operands)
        else:
            groups.append((index, 1, *operands))
    return groups


def write_dense(out: Writer, layer, params, prefix: str, signal) -> str:
    """Write one row of a dense layer, f(x or token, state, y), and return its name."""
    values, name, size = params[f"{prefix}.weight"], out.named(f"{prefix}_row"), layer.size
    tokens = signal.tokens
    about = f"{prefix}.weight, transposed: ({signal.size} {'tokens' if tokens else 'features'}, {size} outputs)"
    w = out.array(f"{prefix}.weight", values.T, about)
    lines = [f"clear({size}, y);"]
    if layer.bias:
        b = out.array(f"{prefix}.bias", params[f"{prefix}.bias"], f"{prefix}.bias: ({size} outputs)")
        lines = [f"copy({size}, {b}, y);"]
    if tokens:
        lines.append(f"add({size}, {w} + token * {size}, y);")
        lines.insert(0, "(void)m;")
    else:
        lines += product(size, [Factor("x", signal.size, w, size)], out.room("s", size), "y")
    activation = out.activation(layer.activation) if layer.activation else ""
    if activation:
        lines.append(f"{activation}({size}, y);")
    argument = "size_t token" if tokens else f"const {out.kind} *x"
    after = f", then {layer.activation}" if activation else ""
    out.function(f"{prefix}: y = W x + b{after}.", f"{name}({argument}, {out.state} *m, {out.kind} *y)", lines)
    return name


def write_bag(out: Writer, layer, params, prefix: str) -> str:
    """Write one step of a bag of tokens, f(tokens, y), and return its name."""
    w, name, size = write_table(out, layer, params, prefix), out.named(f"{prefix}_row"), layer.features
    lines = [
        f"clear({size}, y);",
        f"for (size_t k = 0; k < {layer.bag}; k++) {{",
        "    if (x[k] >= 0) {",
        f"        add({size}, {w} + (size_t)x[k] * {size}, y);",
        "    }",
        "}",
    ]
    out.function(
        f"{prefix}: y is the sum of the vectors of the tokens, -1 being none.",
        f"{name}(const int64_t *x, {out.kind} *y)",
        lines,
    )
    return name


def write_table(out: Writer, layer, params, prefix: str) -> str:
    """Write the vectors of an embedding and return their name."""
    about = f"{prefix}.weight: ({layer.size} tokens, {layer.features} features)"
    return out.array(f"{prefix}.weight", params[f"{prefix}.weight"], about)
