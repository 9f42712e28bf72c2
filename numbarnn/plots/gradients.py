"""Plots of gradients through time, and of the gradients and updates of training; the color map is cividis."""

from typing import Any

import numpy as np

from numbarnn.plots.axes import COLORS, bare, line_style, make_axes


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
            **line_style(index),
        )
    ax.set_yscale("log")
    ax.set_xlabel("lag $t - k$ (time steps)")
    ax.set_ylabel(r"gradient norm $\|\partial E_t / \partial s_k\|$, mean over $t$")
    ax.legend(frameon=False)
    return bare(ax)


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
    ax.plot(lags, seen[:, 0], label="largest: spectral norm", **line_style(0))
    if bounds:
        norms = np.linalg.norm(jacobian.steps, 2, axis=(1, 2))[::-1]
        ax.plot(lags, np.cumprod(norms), label=r"bound: product of the $\|J_j\|$", **line_style(1))
        if jacobian.weight_bound is not None:
            ax.plot(
                lags,
                jacobian.weight_bound ** (lags / len(lags)),
                label=r"bound: $(\max f'\ \|W\|)^{t-k}$",
                **line_style(2),
            )
    ax.set_yscale("log")
    ax.set_xlabel("lag $t - k$ (time steps)")
    ax.set_ylabel(r"singular values of $\partial s_t / \partial s_k$")
    ax.legend(frameon=False, loc="lower left", bbox_to_anchor=(0, 1), ncols=2, borderaxespad=0.2)
    return bare(ax)


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
        ax.plot(history["epoch"], history[column], marker="o", markersize=3, label=label, **line_style(index))
    ax.axhspan(1e-4, 1e-2, color=line_style(len(lines) - 1)["color"], alpha=0.08, linewidth=0)
    ax.annotate(
        "usual for update / weights", (0.99, 1.15e-4), xycoords=("axes fraction", "data"), ha="right", fontsize="small"
    )
    ax.set_yscale("log")
    ax.xaxis.get_major_locator().set_params(integer=True)
    ax.set_xlabel("epoch")
    ax.set_ylabel("norm; ratio of norms")
    ax.legend(frameon=False, loc="lower left", bbox_to_anchor=(0, 1), ncols=3, fontsize="small", borderaxespad=0.2)
    return bare(ax)


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
    return bare(ax)
