"""A model's layers one after the other in C: one step of all of them, or each of them for all steps of a sample."""

from dataclasses import dataclass

from numbarnn.frozen.c_layers import Writer, write_bag, write_dense, write_runs, write_table
from numbarnn.layers import Activation, Dense, Dropout, Embedding, EmbeddingBag, OneHot, Pool, Recurrent


@dataclass(frozen=True)
class Network:
    """How the functions of the layers are called.

    Attributes
    ----------
    steps : bool
        Whether there is ``advance(x, m)``, which runs one step and returns its outputs.
    rows : bool
        Whether there is ``run(x, length, m, a, b)``, which runs all steps of a sample and returns its outputs: where single steps
        do not give them all.
    width : int
        Values of a row of a and of b.
    """

    steps: bool
    rows: bool
    width: int


def write_network(out: Writer, model, interface) -> Network:
    """Write all layers, then the functions that run them.

    Raises
    ------
    TypeError
        If a layer or a cell cannot be written in C.
    """
    parts = [
        _write_layer(out, layer, model.params, name, signal)
        for layer, name, signal in zip(model.layers, model.names, model.signals, strict=False)
    ]
    layers = list(zip(model.layers, parts, model.signals, model.signals[1:], strict=False))
    by_rows, width = not (interface.step and interface.sequence), 0
    if interface.step:
        _write_advance(out, layers, interface)
    if by_rows:
        width = _write_run(out, layers, interface)
    return Network(interface.step, by_rows, width)


def _write_layer(out, layer, params, name, signal):
    """Write a layer; return what calls it: a name, or runs."""
    if isinstance(layer, Recurrent):
        return write_runs(out, layer, params, name, signal)
    if isinstance(layer, Dense):
        return write_dense(out, layer, params, name, signal)
    if isinstance(layer, EmbeddingBag):
        return write_bag(out, layer, params, name)
    if isinstance(layer, Embedding):
        return write_table(out, layer, params, name)
    if isinstance(layer, Activation):
        return out.activation(layer.activation)
    if isinstance(layer, (Dropout, OneHot, Pool)):
        return None
    raise TypeError(f"{layer!r} cannot be written in C; freeze the model to a shared library, or leave the layer out")


def _input(interface):
    """Return the declaration of the input of a step."""
    if interface.tokens and not interface.bag:
        return "size_t token"
    return f"const {interface.input} *x"


def _write_advance(out, layers, interface):
    """Write one step of all layers."""
    source, owned, lines = "token" if interface.tokens and not interface.bag else "x", False, []
    for number, (layer, part, _, after) in enumerate(layers):
        room = out.named(f"y_{number}")
        if isinstance(layer, Recurrent):
            for run in part:
                lines.append(f"{run.name}({source}, m);")
                source, owned = f"m->{run.name}", False
        elif isinstance(layer, Dense):
            address = out.room(room, layer.size)
            lines.append(f"{part}({source}, m, {address});")
            source, owned = address, True
        elif isinstance(layer, EmbeddingBag):
            address = out.room(room, layer.features)
            lines.append(f"{part}({source}, {address});")
            source, owned = address, True
        elif isinstance(layer, Embedding):
            source = f"{part} + token * {layer.features}"
        elif isinstance(layer, Activation) and part:
            if not owned:
                address = out.room(room, after.size)
                lines.append(f"copy({after.size}, {source}, {address});")
                source, owned = address, True
            lines.append(f"{part}({after.size}, {source});")
    lines.append(f"return {source};")
    body = "\n    ".join(["(void)m;", *lines] if "m->" not in "".join(lines) and ", m" not in "".join(lines) else lines)
    out.rows.append(
        f"/* Run one step of all layers and return its outputs. */\n"
        f"static const {out.kind} *advance({_input(interface)}, {out.state} *m)\n{{\n    {body}\n}}"
    )


class _Rows:
    """The statements of a pass over all steps of a sample, and where the rows lie that they have made so far."""

    def __init__(self, out, interface):
        self.out, self.bag, self.tokens = out, interface.bag, interface.tokens
        self.source, self.size, self.count, self.width, self.lines = "x", interface.inputs, "length", 0, []

    def row(self):
        """Return the address of row i, or its token."""
        if self.tokens:
            return f"x + i * {self.bag}" if self.bag else "(size_t)x[i]"
        return f"{self.source} + i * {self.size}"

    def target(self, size):
        """Return where the next rows go."""
        self.width = max(self.width, size)
        return "b" if self.source == "a" else "a"

    def done(self, target, size):
        self.source, self.size, self.tokens = target, size, False

    def loop(self, *lines, reverse=False):
        head = "size_t i = length; i-- > 0;" if reverse else f"size_t i = 0; i < {self.count}; i++"
        self.lines += [f"for ({head}) {{", *(f"    {line}" for line in lines), "}"]


def _write_run(out, layers, interface):
    """Write all steps of all layers; return the values of the widest row between them."""
    rows = _Rows(out, interface)
    for layer, part, before, after in layers:
        if isinstance(layer, Recurrent):
            _recurrent_rows(rows, layer, part)
        elif isinstance(layer, Dense):
            target = rows.target(layer.size)
            rows.loop(f"{part}({rows.row()}, m, {target} + i * {layer.size});")
            rows.done(target, layer.size)
        elif isinstance(layer, EmbeddingBag):
            target = rows.target(layer.features)
            rows.loop(f"{part}({rows.row()}, {target} + i * {layer.features});")
            rows.done(target, layer.features)
        elif isinstance(layer, Embedding):
            target, size = rows.target(layer.features), layer.features
            rows.loop(f"copy({size}, {part} + {rows.row()} * {size}, {target} + i * {size});")
            rows.done(target, size)
        elif isinstance(layer, Activation) and part:
            if rows.source == "x":
                target = rows.target(before.size)
                rows.lines.append(f"copy({rows.count} * {before.size}, x, {target});")
                rows.done(target, before.size)
            rows.lines.append(f"{part}({rows.count} * {before.size}, {rows.source});")
        elif isinstance(layer, Pool):
            _pool_rows(rows, layer, after.size)
    text = "\n    ".join(["(void)m;\n    (void)a;\n    (void)b;", *rows.lines, f"return {rows.source};"])
    out.rows.append(
        "/* Run all steps of a sample and return its outputs; a, b: memory for the rows between layers. */\n"
        f"static const {out.kind} *run(const {interface.input} *x, size_t length, {out.state} *m, {out.kind} *a, {out.kind} *b)\n"
        f"{{\n    {text}\n}}"
    )
    return rows.width


def _recurrent_rows(rows, layer, runs):
    units, size = layer.hidden_size, layer.output_size
    for level in range(layer.num_layers):
        own = runs[level * layer.directions : (level + 1) * layer.directions]
        written = layer.return_sequences or level < layer.num_layers - 1
        target = rows.target(size)
        for number, run in enumerate(own):
            lines = [f"{run.name}({rows.row()}, m);"]
            to = f"{target} + i * {size}" + (f" + {run.column}" if run.column else "")
            if written and number and layer.merge == "sum":
                lines.append(f"add({units}, m->{run.name}, {to});")
            elif written:
                lines.append(f"copy({units}, m->{run.name}, {to});")
            rows.loop(*lines, reverse=run.reverse)
        if not written:
            added = [
                f"    add({units}, m->{run.name}, {target}{f' + {run.column}' if run.column else ''});" for run in own
            ]
            rows.lines += [f"clear({size}, {target});", "if (length > 0) {", *added, "}"]
            rows.count = "1"
        rows.done(target, size)


def _pool_rows(rows, layer, size):
    """Pool the rows of a sample: the kinds are those of `numbarnn.kernels.cpu.pooling.pool`."""
    kind, source, target = rows.out.kind, rows.source, rows.target(size)
    rows.lines.append(f"clear({size}, {target});")
    if layer.kind == "mean":
        rows.loop(f"add({size}, {rows.row()}, {target});")
        rows.lines += [
            f"for (size_t j = 0; length > 0 && j < {size}; j++) {{",
            f"    {target}[j] *= 1 / ({kind})length;",
            "}",
        ]
    elif layer.kind == "max":
        rows.loop(
            f"for (size_t j = 0; j < {size}; j++) {{",
            f"    const {kind} value = {source}[i * {size} + j], best = {target}[j];",
            "    if (i == 0 || value > best || (value != value && best == best)) {",
            f"        {target}[j] = value;",
            "    }",
            "}",
        )
    else:
        last = f"copy({size}, {source} + (length - 1) * {size}, {target});"
        rows.lines += ["if (length > 0) {", f"    {last}", "}"]
    rows.done(target, size)
    rows.count = "1"
