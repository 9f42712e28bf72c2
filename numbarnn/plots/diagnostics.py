"""Plots of the results of `numbarnn.diagnostics`; color maps are cividis, and of values of both signs PuOr."""

from typing import Any

import numpy as np

from numbarnn.errors import ShapeError
from numbarnn.plots.axes import COLORS, DASHES, make_axes


def _style(index):
    return {"color": COLORS[index % len(COLORS)], "linestyle": DASHES[index % len(DASHES)], "linewidth": 1.8}


def _bare(ax):
    ax.spines[["top", "right"]].set_visible(False)
    return ax


def plot_gradient_flow(flows: Any, state: Any = None, *, ax: Any = None) -> Any:
    """Draw how the gradient changes on its way back: mean ||dE_t/ds_{t-lag}|| by lag, on a logarithmic scale.

    Parameters
    ----------
    flows : GradientFlow, or dict of label -> GradientFlow
        Of `gradient_flow`; several nets are drawn beside each other.
    state : str, optional
        Name of a state; None: the first of each.
    ax : matplotlib.axes.Axes, optional

    Returns
    -------
    matplotlib.axes.Axes
    """
    flows = flows if isinstance(flows, dict) else {"": flows}
    ax = make_axes(ax, 7.0)
    for index, (label, flow) in enumerate(flows.items()):
        values = flow.by_lag[next(iter(flow.by_lag)) if state is None else state]
        rate = flow.decades_per_step(state)
        ax.plot(
            np.where(values > 0, values, np.nan),
            label=f"{label} ({rate:+.3f} decades per step)".strip(),
            **_style(index),
        )
    ax.set_yscale("log")
    ax.set_xlabel("lag $t - k$ (time steps)")
    ax.set_ylabel(r"gradient norm $\|\partial E_t / \partial s_k\|$, mean over $t$")
    ax.legend(frameon=False)
    return _bare(ax)


def plot_contributions(flow: Any, state: Any = None, *, ax: Any = None) -> Any:
    """Draw the matrix of contributions: how much of the loss at step t reaches step k, in decades.

    Parameters
    ----------
    flow : GradientFlow
    state : str, optional
        None: the first.
    ax : matplotlib.axes.Axes, optional

    Returns
    -------
    matplotlib.axes.Axes
    """
    state = next(iter(flow.contributions)) if state is None else state
    values = flow.contributions[state]
    ax = make_axes(ax, 5.6, 4.6)
    with np.errstate(divide="ignore"):
        decades = np.log10(values)
    image = ax.imshow(
        np.ma.masked_invalid(decades), cmap="cividis", origin="lower", interpolation="nearest", aspect="auto"
    )
    ax.set_facecolor("0.9")
    bar = ax.figure.colorbar(image, ax=ax)
    bar.set_label(r"$\log_{10} \|\partial E_t / \partial s_k\|$")
    ax.set_xlabel("time step $k$ of the state")
    ax.set_ylabel("time step $t$ of the loss")
    if len(values) == 1:
        ax.set_yticks([0], ["last"])
    ax.set_title(f"gradient of each loss by the state {state}", fontsize="medium")
    return ax


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
            ax.plot(v[:, unit], label=text, **_style(index))
        if within:
            ax.set_ylim(-0.02, 1.02)
        ax.margins(x=0.01)
        ax.set_ylabel(f"activation of unit {unit}")
        ax.legend(frameon=False, loc="lower left", bbox_to_anchor=(0, 1), ncols=min(len(names), 4))
        _bare(ax)
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


def plot_singular_values(jacobian: Any, *, bounds: Any = True, ax: Any = None) -> Any:
    """Draw the singular values of ds_t / ds_{t-lag} against the lag, with their upper bounds.

    Values below 1e-16 of the largest, which are rounding, are left out.

    Parameters
    ----------
    jacobian : Jacobian
    bounds : bool
        Whether to draw the product of the step Jacobians' norms, and the bound by ||W|| where there is one.
    ax : matplotlib.axes.Axes, optional

    Returns
    -------
    matplotlib.axes.Axes
    """
    values, ax = jacobian.by_lag, make_axes(ax, 7.0)
    lags = np.arange(1, len(values) + 1)
    seen = np.where(values > 1e-16 * values[:, :1], values, np.nan)
    ax.plot(lags, seen[:, 1:], color="0.6", linewidth=0.6, alpha=0.6)
    ax.plot([], [], color="0.6", linewidth=0.6, label="other singular values")
    ax.plot(lags, seen[:, 0], label="largest: spectral norm", **_style(0))
    if bounds:
        norms = np.linalg.norm(jacobian.steps, 2, axis=(1, 2))[::-1]
        ax.plot(lags, np.cumprod(norms), label=r"bound: product of the $\|J_j\|$", **_style(1))
        if jacobian.weight_bound is not None:
            ax.plot(
                lags, jacobian.weight_bound ** (lags / len(lags)), label=r"bound: $(\max f'\ \|W\|)^{t-k}$", **_style(2)
            )
    ax.set_yscale("log")
    ax.set_xlabel("lag $t - k$ (time steps)")
    ax.set_ylabel(r"singular values of $\partial s_t / \partial s_k$")
    ax.legend(frameon=False, loc="lower left", bbox_to_anchor=(0, 1), ncols=2, borderaxespad=0.2)
    return _bare(ax)


def plot_updates(history: Any, *, ax: Any = None) -> Any:
    """Draw the columns of gradients and updates: the gradient's norm before and after clipping, and update / weights, by epoch.

    Parameters
    ----------
    history : History
        Of `numbarnn.Model.fit`.
    ax : matplotlib.axes.Axes, optional

    Returns
    -------
    matplotlib.axes.Axes
        The share of clipped steps is in the legend, that of the last epoch.

    Raises
    ------
    ValueError
        If the history has no epochs.
    """
    if len(history) == 0:
        raise ValueError("the history has no epochs to draw")
    ax, clipped = make_axes(ax, 7.0), history["clipped"][-1]
    lines = [("gradient_norm", "gradient norm")]
    if any(value > 0 for value in history["clipped"]):
        lines.append(("clipped_norm", f"after clipping ({clipped:.0%} of the last epoch's steps)"))
    lines.append(("update_ratio", "update / weights"))
    for index, (column, label) in enumerate(lines):
        ax.plot(history["epoch"], history[column], marker="o", markersize=3, label=label, **_style(index))
    ax.axhspan(1e-4, 1e-2, color=_style(len(lines) - 1)["color"], alpha=0.08, linewidth=0)
    ax.annotate(
        "usual for update / weights", (0.99, 1.15e-4), xycoords=("axes fraction", "data"), ha="right", fontsize="small"
    )
    ax.set_yscale("log")
    ax.xaxis.get_major_locator().set_params(integer=True)
    ax.set_xlabel("epoch")
    ax.set_ylabel("norm; ratio of norms")
    ax.legend(frameon=False, loc="lower left", bbox_to_anchor=(0, 1), ncols=3, fontsize="small", borderaxespad=0.2)
    return _bare(ax)


def plot_sensitivity(
    values: Any, *, output: Any = None, t: Any = None, sample: Any = 0, labels: Any = None, ax: Any = None
) -> Any:
    """Draw how strongly an output depends on the input of every step: ||d y_t / d x_k||, the sequential Jacobian's norms.

    Parameters
    ----------
    values : (samples, time steps, features) array
        Of `sensitivity`.
    output : str or int, optional
        Which output they are of, as the title says it: the name of its class, or its index.
    t : int, optional
        The time step of the output, as given to `sensitivity`; it is marked. Negative steps count from the end.
    sample : int
    labels : sequence of str, optional
        Labels of the steps.
    ax : matplotlib.axes.Axes, optional

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    ValueError
        If there is no step t.

    Examples
    --------
    >>> values = sensitivity(model, x, t=40, output=3)  # doctest: +SKIP
    >>> plot_sensitivity(values, t=40, output="m")  # doctest: +SKIP
    """
    norms = np.linalg.norm(values[sample], axis=1)
    if t is not None and not -len(norms) <= t < len(norms):
        raise ValueError(f"t must be a time step, 0 to {len(norms) - 1}, got {t}")
    ax = make_axes(ax, 9.0, 3.2)
    ax.bar(np.arange(len(norms)), norms, color=COLORS[0])
    if labels is not None:
        ax.set_xticks(np.arange(len(norms)), list(labels)[: len(norms)], family="monospace")
    at = "t" if t is None else t % len(norms)
    if t is not None:
        ax.plot(at, 0, marker="^", markersize=8, color=COLORS[1], clip_on=False, zorder=4, linestyle="none",
                label=f"time step {at} of the output")  # fmt: skip
        ax.legend(frameon=False, loc="lower right", bbox_to_anchor=(1, 1), borderaxespad=0.2)
    if output is not None:
        where = "" if t is None else f" at time step {at}"
        ax.set_title(f"sensitivity of output {output!r}{where}", fontsize="medium", loc="left")
    ax.set_xlabel("time step $k$" if labels is None else "input $x_k$, by time step")
    ax.set_ylabel(rf"$\|\partial y_{{{at}}} / \partial x_k\|$")
    ax.margins(x=0.01)
    return _bare(ax)


def plot_occupancy(alignment: Any, labels: Any = None, *, ax: Any = None) -> Any:
    """Draw a posterior alignment: the probability of every position of the label sequence at every step, and the best path.

    Parameters
    ----------
    alignment : PosteriorAlignment
        One of `numbarnn.diagnostics.alignment`.
    labels : sequence, optional
        Name of every class, the blank included; None: their indices.
    ax : matplotlib.axes.Axes, optional

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    ShapeError
        If `labels` has another number of names than there are classes.
    """
    steps, positions = alignment.occupancy.shape
    classes = alignment.probabilities.shape[1]
    labels = range(classes) if labels is None else labels
    if len(labels) != classes:
        raise ShapeError(f"labels must name {classes} classes, got {len(labels)}")
    from matplotlib.patheffects import withStroke

    ax = make_axes(ax, min(max(5.0, 0.16 * steps + 2), 12.0), min(max(2.4, 0.26 * positions + 1), 9.0))
    image = ax.imshow(
        alignment.occupancy.T, cmap="cividis", vmin=0, vmax=1, origin="upper", interpolation="nearest", aspect="auto"
    )
    bar = ax.figure.colorbar(image, ax=ax)
    bar.set_label(r"posterior probability $\gamma_t(s)$")
    best, path = np.zeros(steps), alignment.best
    for k, (first, last) in enumerate(zip(path.first, path.last, strict=True)):
        best[first : last + 1] = 2 * k + 1
        best[last + 1 :] = 2 * k + 2
    halo = [withStroke(linewidth=3.4, foreground="white")]  # seen on dark and on light
    ax.plot(np.arange(steps), best, color="black", linewidth=1.6, path_effects=halo, label="best alignment")
    ax.set_yticks(
        np.arange(positions),
        ["blank" if k % 2 == 0 else str(labels[c]) for k, c in enumerate(alignment.extended_labels)],
    )
    for k, tick in enumerate(ax.get_yticklabels()):
        tick.set(fontsize="x-small" if k % 2 == 0 else "medium", color="0.45" if k % 2 == 0 else "black")
    ax.xaxis.get_major_locator().set_params(integer=True)
    ax.set_xlabel("time step $t$")
    ax.set_ylabel("position $s$ in the label sequence")
    ax.legend(frameon=False, loc="lower left", bbox_to_anchor=(0, 1), borderaxespad=0.2)
    return ax


def plot_unfolded(unfolded: Any, labels: Any = None, *, ax: Any = None) -> Any:
    """Draw the unfolded net with its values: inputs below, hidden states, outputs and losses above, weights on the arrows.

    The values of U, W, b, V and c are shown below where they have at most 12 rows and 8 columns.

    Parameters
    ----------
    unfolded : Unfolded
        Of `unfold`; up to about six steps are legible.
    labels : sequence, optional
        Name of every class, for the targets; None: their indices.
    ax : matplotlib.axes.Axes, optional

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    ShapeError
        If `labels` has another number of names than there are classes.
    """
    steps, classes = len(unfolded.x), unfolded.o.shape[1]
    labels = range(classes) if labels is None else labels
    if len(labels) != classes:
        raise ShapeError(f"labels must name {classes} classes, got {len(labels)}")
    weights = {name: values.reshape(len(values), -1) for name, values in unfolded.parameters.items()}
    small = all(values.shape[0] <= 12 and values.shape[1] <= 8 for values in weights.values())
    rows = 2 + max(len(values) for values in weights.values()) if small else 0
    width = 1.85 * steps + 1.6
    ax = make_axes(ax, width, 4.6 + 0.17 * rows)
    colors = {"x": "#E8E8E8", "s": "#BFE0F2", "o": "#FBE3B8", "E": "#F6CDB8"}
    arrow = {"arrowstyle": "-|>", "color": "0.25", "shrinkA": 0, "shrinkB": 0}

    def box(t, y, key, text):
        box_style = {"boxstyle": "round", "fc": colors[key], "ec": "0.4"}
        ax.text(t, y, f"${key}_{{{t}}}$" + text, ha="center", va="center", fontsize=9, bbox=box_style)

    box(-1, 1, "s", f"\n{_column(unfolded.s_before[0])}")
    for t in range(steps):
        box(t, 0, "x", f"\n{_column(unfolded.x[t])}")
        box(t, 1, "s", f"\n{_column(unfolded.s[t])}")
        box(t, 2, "o", f"\n{_column(unfolded.o[t])}")
        box(t, 2.86, "E", f" = {unfolded.E[t]:.3f}\ntarget {labels[unfolded.y[t]]!r}")
        for low, high, name in ((0.27, 0.73, "U"), (1.27, 1.73, "V"), (2.27, 2.66, "")):
            ax.annotate("", (t, high), (t, low), arrowprops=arrow)
            ax.text(t + 0.05, (low + high) / 2, name, fontsize=11, va="center", style="italic")
        ax.annotate("", (t - 0.33, 1), (t - 0.67, 1), arrowprops=arrow)
        ax.text(t - 0.5, 1.07, "W", fontsize=11, ha="center", style="italic")
    character = (steps + 0.95) / width * 8.5 * 0.62 / 72  # width of one, in units of the axis
    at = -1.35
    for name, values in weights.items() if small else ():
        lines = [f"{name} ="] + ["  ".join(f"{value:+.2f}" for value in row) for row in values]
        ax.text(at, -0.5, "\n".join(lines), family="monospace", fontsize=8.5, va="top", linespacing=1.15)
        at += character * (max(map(len, lines)) + 5)
    absent = [name for name in "bc" if name not in weights]
    if small and absent:
        ax.text(at, -0.5, f"no {' and no '.join(absent)}", fontsize=8.5, va="top", color="0.35")
    ax.set_xlim(-1.4, steps - 0.45)
    ax.set_ylim(-0.4 - 0.115 * rows, 3.12)
    ax.set_axis_off()
    return ax


def _column(values):
    """Return values as text, two in a row, six at most."""
    shown = [f"{value:+.2f}" for value in values[:6]] + (["..."] if len(values) > 6 else [])
    return "\n".join("  ".join(shown[i : i + 2]) for i in range(0, len(shown), 2))
