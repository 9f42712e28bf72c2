"""Plots of gates and states over time; the color map is cividis, of values of both signs PuOr."""

from typing import Any

import numpy as np

from numbarnn.plots.axes import bare, line_style, make_axes


def plot_gates(
    trace: Any, names: Any = None, *, sample: Any = 0, unit: Any = None, labels: Any = None, ax: Any = None
) -> Any:
    """Draw gates over a sentence or a series, unit by unit: a heat map with a row for every unit and a column for every time step.

    Parameters
    ----------
    trace : Trace
        Of `numbarnn.diagnostics.trace`.
    names : sequence of str, optional
        Which quantities; None: i, f and o, or r and z, of the first layer that has them, else its hidden state.
    sample : int
    unit : int, optional
        One unit alone, as lines over time.
    labels : sequence of str, optional
        Labels of the steps, such as the characters of a text.
    ax : matplotlib.axes.Axes, optional

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    KeyError, ValueError
        If the trace lacks a name, a quantity has no time steps, or there is no such unit.
    """
    names = _gates_of(trace) if names is None else list(names)
    steps = int(trace.lengths[sample])
    for name in names:
        if trace[name].ndim != 3:
            raise ValueError(f"{name} has one value per sample, no time steps: leave it out of names")
    values = [trace[name][sample, :steps] for name in names]
    shown = [_quantity(trace, name) for name in names]
    layers = sorted({f"{name.partition('.')[0]}, {name.rpartition('_l')[2]}" for name in names})
    if len(layers) > 1:
        shown = [f"{text} ({name})" if text != name else name for text, name in zip(shown, names, strict=True)]
    within = all(v.size == 0 or (v.min() >= 0 and v.max() <= 1) for v in values)  # gates
    if unit is None:
        rows = sum(v.shape[1] for v in values) + len(values) - 1
        ax = _heat_maps(make_axes(ax, 9.0, min(max(3.4, 0.05 * rows + 1.2), 9.0)), values, shown, within)
    else:
        few = min(v.shape[1] for v in values)
        if not 0 <= unit < few:
            raise ValueError(f"unit must be one of {few} units, 0 to {few - 1}, got {unit}")
        ax = make_axes(ax, 9.0, 3.6)
        for index, (v, text) in enumerate(zip(values, shown, strict=True)):
            ax.plot(v[:, unit], label=text, **line_style(index))
        if within:
            ax.set_ylim(-0.02, 1.02)
        ax.margins(x=0.01)
        ax.set_ylabel(f"activation of unit {unit}")
        ax.legend(frameon=False, loc="lower left", bbox_to_anchor=(0, 1), ncols=min(len(names), 4))
        bare(ax)
    if labels is not None:
        ax.set_xticks(np.arange(steps), list(labels)[:steps], family="monospace")
    ax.set_xlabel("time step" if labels is None else "input $x_t$, by time step")
    return ax


def _heat_maps(ax, values, shown, within):
    """Draw (time steps, units) arrays one above the other, with an empty row between them, the first unit of each on top."""
    steps, rows, centers = len(values[0]), [], []
    for v in values:
        if rows:
            rows.append(np.full((1, steps), np.nan))
        before = sum(map(len, rows))
        rows.append(v.T)
        centers.append(before + (v.shape[1] - 1) / 2)
    stacked = np.ma.masked_invalid(np.concatenate(rows))
    limit = 1.0 if within else max(float(np.abs(stacked).max()), np.finfo(np.float32).tiny)
    colors = {"cmap": "cividis", "vmin": 0, "vmax": 1} if within else {"cmap": "PuOr", "vmin": -limit, "vmax": limit}
    image = ax.imshow(stacked, interpolation="nearest", aspect="auto", **colors)
    bar = ax.figure.colorbar(image, ax=ax, pad=0.01)
    bar.set_label("activation (0: closed, 1: open)" if within else "value")
    counts = [v.shape[1] for v in values]
    alike = len(set(counts)) == 1
    names = shown if alike else [f"{text} ({count})" for text, count in zip(shown, counts, strict=True)]
    ax.set_yticks(centers, names, rotation=90, va="center")
    ax.set_ylabel(f"units ({counts[0]} each)" if alike and len(counts) > 1 else "units")
    ax.tick_params(axis="y", length=0)
    ax.spines[:].set_visible(False)
    return ax


# The field's names of the quantities of a cell with these gates and states.
_NAMES = (
    {
        "i": "input gate $i$",
        "f": "forget gate $f$",
        "o": "output gate $o$",
        "g": "candidate $g$",
        "c": "cell state $c$",
    },
    {"r": "reset gate $r$", "z": "update gate $z$", "n": "candidate $n$"},
)


def _quantity(trace, name):
    """Return what a reader calls a quantity of a trace: "forget gate f" of an LSTM's f; its name where the cell is another one."""
    layer, _, own = name.partition(".")
    quantity, _, suffix = own.rpartition("_l")
    for names in _NAMES:
        if quantity in {*names, "h"} and all(f"{layer}.{q}_l{suffix}" in trace for q in names):
            return {**names, "h": "hidden state $h$"}[quantity]
    return name


def _gates_of(trace):
    for suffix in sorted({name.partition("_l")[2] for name in trace if "_l" in name}):
        for gates in ("ifo", "rz", "h"):
            found = [name for name in trace if name.partition(".")[2] in {f"{gate}_l{suffix}" for gate in gates}]
            if len(found) >= len(gates):
                return found[: len(gates)]
    raise ValueError(f"the trace has no gates or hidden states, only {', '.join(trace)}; pass names")
