"""Tables of the layers of a network, their outputs and parameter counts."""

HEADER = ("layer", "output", "parameters")


def layer_rows(network) -> list[tuple[str, str, str]]:
    """Return name, output and number of parameters of every layer, and the totals."""
    rows = []
    names = [name if name.isprintable() else repr(name) for name in network.names]
    for name, layer, before, after in zip(names, network.layers, network.signals, network.signals[1:], strict=False):
        count = sum(spec.size for spec in layer.specs(before))
        rows.append((f"{name} ({type(layer).__name__})", str(after), f"{count:,}"))
    return [*rows, ("total", f"input {network.signals[0]}", f"{network.params.size:,}")]


def as_text(rows) -> str:
    """Return rows of `layer_rows` as a table of text."""
    rows = [HEADER, *rows]
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    lines = [f"{a:<{widths[0]}}  {b:<{widths[1]}}  {c:>{widths[2]}}" for a, b, c in rows]
    rule = "-" * len(lines[0])
    return "\n".join([lines[0], rule, *lines[1:-1], rule, lines[-1]])
