"""Layers in C: their weights, and a function for one row (a step, or a vector of a sample) of each."""

from dataclasses import dataclass, field

import numpy as np

from numbarnn.cells.contract import has_inner
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
            raise ValueError(f"parameter {parameter} must be finite to be written in C, but has NaN or infinity; train the model again")
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
            self.taken.add(f"{name}_inner")
            cell = self.cells[key] = translate_cell(record, self.kind, name, self.functions)
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


def _write_run(out, layer, params, prefix, run):
    cell, units, kind = layer.cell, layer.hidden_size, out.kind
    function, tokens, size = out.cell(cell), run.signal.tokens, run.signal.size
    name, parameter = out.named(f"{prefix}{run.suffix}"), f"{prefix}.{{}}{run.suffix}"
    offsets, flat = layer.weight_offsets(params, f"{prefix}.", run), params.flat
    pre = cell.preactivations
    (x_first, x_last), (h_first, h_last), (i_first, i_last) = *layer.ranges(), layer.inner_range()
    x_columns, hidden = (x_last - x_first) * units, [*range(h_first, h_last), *range(i_first, i_last)]
    h_columns = len(hidden) * units

    def transposed(rows, column, length):
        blocks = [flat[at : at + units * length].reshape(units, length).T for at in offsets[rows, column]]
        return np.concatenate(blocks, axis=1)

    def gates(rows, side):
        return ", ".join(f"{pre[row]} from {side[pre[row]]}" if side[pre[row]] != pre[row] else pre[row] for row in rows)

    w_x = w_h = bias = None
    if x_columns:
        rows = list(range(x_first, x_last))
        about = f"{parameter.format('weight_ih')}, transposed: ({size} {'tokens' if tokens else 'features'}, {x_columns} = {units} units of {gates(rows, cell.from_input)})"
        w_x = out.array(parameter.format("weight_ih"), transposed(rows, 0, size), about)
    if hidden:
        side = {**cell.from_hidden, **getattr(cell, "from_inner", {})}
        about = f"{parameter.format('weight_hh')}, transposed: ({units} units, {h_columns} = {units} units of {gates(hidden, side)})"
        w_h = out.array(parameter.format("weight_hh"), transposed(hidden, 1, units), about)
    if (offsets[:, 2:] >= 0).any():
        total = np.zeros((len(pre), units), flat.dtype)
        for row, at in zip(total, offsets[:, 2:], strict=True):
            for first in at[at >= 0]:
                row += flat[first : first + units]
        about = f"The sums of {parameter.format('bias_ih')} and {parameter.format('bias_hh')}: {units} units of {', '.join(pre)}"
        bias = out.array(parameter.format("bias"), total, about)
    diagonal = [
        out.array(
            parameter.format(f"weight_{own}"),
            flat[params.offsets[parameter.format(f"weight_{own}")] :][:units],
            f"{parameter.format(f'weight_{own}')}: ({units} units)",
        )
        for own in cell.diagonal
    ]
    out.states[name] = len(cell.states) * units, f"{', '.join(cell.states)} of {prefix}{run.suffix}, {units} units each"

    count = len(pre) * units
    z, s, h = out.room("z", count), out.room("s", max(units, _widest(cell, x_first, x_last, h_first, h_last) * units)), f"m->{name}"
    lines = [f"copy({count}, {bias}, {z});" if bias else f"clear({count}, {z});"]
    if tokens and x_columns:
        lines.append(f"add({x_columns}, {w_x} + token * {x_columns}, {_at(z, x_first * units)});")
    for first, together, has_x, has_h in _groups(cell, (x_first, x_last), (h_first, h_last)):
        factors = []
        if has_x and not tokens:
            factors.append(Factor("x", size, _at(w_x, (first - x_first) * units), x_columns))
        if has_h:
            factors.append(Factor(h, units, _at(w_h, (first - h_first) * units), h_columns))
        lines += product(together * units, factors, s, _at(z, first * units))
    arrays = {
        "preactivations": [_at(z, index * units) for index in range(len(pre))],
        "states": [_at(h, index * units) for index in range(len(cell.states))],
        "diagonal": diagonal,
    }
    if has_inner(cell):
        inner = out.room("inner", units)
        arrays["inner"] = [inner]
        lines.append(function.inner.call(units, arrays))
        factor = Factor(inner, units, _at(w_h, (h_last - h_first) * units), h_columns)
        lines += product((i_last - i_first) * units, [factor], s, _at(z, i_first * units))
    lines.append(function.forward.call(units, arrays))
    argument = "size_t token" if tokens else f"const {kind} *x"
    if not x_columns:
        lines.insert(0, "(void)token;" if tokens else "(void)x;")
    about = f"{prefix}, level {run.level}{', from the end' if run.reverse else ''}: one step. Pre-activations {', '.join(pre)} in z, then the cell."
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


def _widest(cell, *ranges):
    inner = len(getattr(cell, "from_inner", {}))
    return max(inner, *(group[1] for group in _groups(cell, ranges[:2], ranges[2:])))


def write_dense(out: Writer, layer, params, prefix: str, signal) -> str:
    """Write one row of a dense layer, f(x or token, state, y), and return its name."""
    values, name, size = params[f"{prefix}.weight"], out.named(prefix), layer.size
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
    w, name, size = write_table(out, layer, params, prefix), out.named(prefix), layer.features
    lines = [
        f"clear({size}, y);",
        f"for (size_t k = 0; k < {layer.bag}; k++) {{",
        "    if (x[k] >= 0) {",
        f"        add({size}, {w} + (size_t)x[k] * {size}, y);",
        "    }",
        "}",
    ]
    out.function(f"{prefix}: y is the sum of the vectors of the tokens, -1 being none.", f"{name}(const int64_t *x, {out.kind} *y)", lines)
    return name


def write_table(out: Writer, layer, params, prefix: str) -> str:
    """Write the vectors of an embedding and return their name."""
    about = f"{prefix}.weight: ({layer.size} tokens, {layer.features} features)"
    return out.array(f"{prefix}.weight", params[f"{prefix}.weight"], about)
