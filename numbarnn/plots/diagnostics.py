"""Plots of the results of `numbarnn.diagnostics`; color maps are cividis."""

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
    ax.set_xlabel("lag: steps back from the loss")
    ax.set_ylabel(r"mean $\|\partial E_t / \partial s_{t-lag}\|$")
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
    ax.set_xlabel("step k that it reaches")
    ax.set_ylabel("step t of the loss")
    if len(values) == 1:
        ax.set_yticks([0], ["last"])
    ax.set_title(state, fontsize="medium")
    return ax


def plot_gates(
    trace: Any, names: Any = None, *, sample: Any = 0, unit: Any = None, labels: Any = None, ax: Any = None
) -> Any:
    """Draw gates over a sentence or a series: their means over the units; for a single gate also the 10 % to 90 % band.

    Parameters
    ----------
    trace : Trace
        Of `numbarnn.diagnostics.trace`.
    names : sequence of str, optional
        Which quantities; None: i, f and o, or r and z, of the first layer that has them, else its hidden state.
    sample : int
    unit : int, optional
        One unit alone.
    labels : sequence of str, optional
        Labels of the steps, such as the characters of a text.
    ax : matplotlib.axes.Axes, optional

    Returns
    -------
    matplotlib.axes.Axes
    """
    names = _gates_of(trace) if names is None else list(names)
    ax, steps = make_axes(ax, 9.0, 3.6), int(trace.lengths[sample])
    for index, name in enumerate(names):
        values, style = trace[name][sample, :steps], _style(index)
        if unit is not None:
            ax.plot(values[:, unit], label=name, **style)
            continue
        ax.plot(values.mean(axis=1), label=name, **style)
        if len(names) == 1:
            low, high = np.quantile(values, (0.1, 0.9), axis=1)
            ax.fill_between(
                np.arange(steps), low, high, color=style["color"], alpha=0.15, linewidth=0, label="80 % of the units"
            )
    if labels is not None:
        ax.set_xticks(np.arange(steps), list(labels)[:steps], family="monospace")
    ax.set_xlabel("time step" if labels is None else "input")
    ax.set_ylabel("value" if unit is not None else "mean over the units")
    ax.margins(x=0.01)
    ax.legend(frameon=False, loc="lower left", bbox_to_anchor=(0, 1), ncols=min(len(names), 4))
    return _bare(ax)


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
    ax.plot([], [], color="0.6", linewidth=0.6, label="the other singular values")
    ax.plot(lags, seen[:, 0], label="largest: the norm", **_style(0))
    if bounds:
        norms = np.linalg.norm(jacobian.steps, 2, axis=(1, 2))[::-1]
        ax.plot(lags, np.cumprod(norms), label="product of the steps' norms", **_style(1))
        if jacobian.weight_bound is not None:
            ax.plot(lags, jacobian.weight_bound ** (lags / len(lags)), label=r"$(\max f'\ \|W\|)^{lag}$", **_style(2))
    ax.set_yscale("log")
    ax.set_xlabel("lag t - k (steps)")
    ax.set_ylabel(r"singular values of $\partial s_t / \partial s_k$")
    ax.legend(frameon=False)
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
    ax.set_ylabel("norm, or share")
    ax.legend(frameon=False, loc="lower left", bbox_to_anchor=(0, 1), ncols=3, fontsize="small", borderaxespad=0.2)
    return _bare(ax)


def plot_sensitivity(values: Any, *, sample: Any = 0, labels: Any = None, ax: Any = None) -> Any:
    """Draw how strongly an output depends on the input of every step: ||d output / d x_t||.

    Parameters
    ----------
    values : (samples, time steps, features) array
        Of `sensitivity`.
    sample : int
    labels : sequence of str, optional
        Labels of the steps.
    ax : matplotlib.axes.Axes, optional

    Returns
    -------
    matplotlib.axes.Axes
    """
    norms = np.linalg.norm(values[sample], axis=1)
    ax = make_axes(ax, 9.0, 3.2)
    ax.bar(np.arange(len(norms)), norms, color=COLORS[0])
    if labels is not None:
        ax.set_xticks(np.arange(len(norms)), list(labels)[: len(norms)], family="monospace")
    ax.set_xlabel("time step" if labels is None else "input")
    ax.set_ylabel(r"$\|\partial y / \partial x_t\|$")
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
    bar.set_label("probability, given the labels")
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
    ax.set_xlabel("step")
    ax.set_ylabel("position in the label sequence")
    ax.legend(frameon=False, loc="lower left", bbox_to_anchor=(0, 1), borderaxespad=0.2)
    return ax


def plot_unfolded(unfolded: Any, *, ax: Any = None) -> Any:
    """Draw the unfolded net with its values: inputs below, hidden states, outputs and losses above, weights on the arrows.

    The values of U, W and V are shown below where they have at most 12 rows and 8 columns.

    Parameters
    ----------
    unfolded : Unfolded
        Of `unfold`; up to about six steps are legible.
    ax : matplotlib.axes.Axes, optional

    Returns
    -------
    matplotlib.axes.Axes
    """
    steps = len(unfolded.x)
    weights = {name: getattr(unfolded, name) for name in "UWV"}
    small = all(values.shape[0] <= 12 and values.shape[1] <= 8 for values in weights.values())
    rows = 1 + max(len(values) for values in weights.values()) if small else 0
    ax = make_axes(ax, 2.3 * steps + 2.4, 5.0 + 0.17 * rows)
    colors = {"x": "#E8E8E8", "s": "#BFE0F2", "o": "#FBE3B8", "E": "#F6CDB8"}
    arrow = {"arrowstyle": "-|>", "color": "0.25", "shrinkA": 0, "shrinkB": 0}

    def box(t, y, key, text):
        label = f"${key}_{{{t}}}$" + text
        ax.text(
            t,
            y,
            label,
            ha="center",
            va="center",
            fontsize=8.5,
            bbox={"boxstyle": "round", "fc": colors[key], "ec": "0.4"},
        )

    box(-1, 1, "s", f"\n{_column(unfolded.s_before[0])}")
    for t in range(steps):
        box(t, 0, "x", f"\n{_column(unfolded.x[t])}")
        box(t, 1, "s", f"\n{_column(unfolded.s[t])}")
        box(t, 2, "o", f"\n{_column(unfolded.o[t])}")
        box(t, 2.8, "E", f" = {unfolded.E[t]:.3f}   (target {unfolded.y[t]})")
        for low, high, name in ((0.24, 0.76, "U"), (1.24, 1.76, "V"), (2.24, 2.68, "")):
            ax.annotate("", (t, high), (t, low), arrowprops=arrow)
            ax.text(t + 0.05, (low + high) / 2, name, fontsize=10, va="center", style="italic")
        ax.annotate("", (t - 0.32, 1), (t - 0.68, 1), arrowprops=arrow)
        ax.text(t - 0.5, 1.07, "W", fontsize=10, ha="center", style="italic")
    for index, (name, values) in enumerate(weights.items() if small else ()):
        lines = [f"{name} ="] + ["  ".join(f"{value:+.2f}" for value in row) for row in values]
        at = -1.3 + (steps + 0.85) * index / 3
        ax.text(at, -0.5, "\n".join(lines), family="monospace", fontsize=8.5, va="top", linespacing=1.15)
    ax.set_xlim(-1.4, steps - 0.45)
    ax.set_ylim(-0.4 - 0.12 * rows, 3.1)
    ax.set_axis_off()
    return ax


def _column(values):
    """Return values as text, two in a row, six at most."""
    shown = [f"{value:+.2f}" for value in values[:6]] + (["..."] if len(values) > 6 else [])
    return "\n".join("  ".join(shown[i : i + 2]) for i in range(0, len(shown), 2))
