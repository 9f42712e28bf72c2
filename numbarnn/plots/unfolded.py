"""The plot of a net that is unfolded in time."""

from typing import Any

from numbarnn.errors import ShapeError
from numbarnn.plots.axes import make_axes


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
