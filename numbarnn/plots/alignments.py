"""Plots of alignments of label sequences."""

from typing import Any

import numpy as np

from numbarnn.errors import ShapeError
from numbarnn.plots.axes import COLORS, make_axes


def plot_alignment(probabilities: Any, alignment: Any, labels: Any = None, *, blank: Any = 0, ax: Any = None) -> Any:
    """Draw the class probabilities of a net trained with CTC at every step, and below them the alignment of the labels.

    Parameters
    ----------
    probabilities : (steps, classes) array
        One sample of `TemporalClassifier.predict_proba`, or a row of `Model.predict_proba`.
    alignment : Alignment
        Of `TemporalClassifier.align` or `numbarnn.decoding.align`.
    labels : sequence, optional
        Name of every class, the blank included; None: their indices.
    blank : int
        Class of the blank, drawn as a dotted line.
    ax : matplotlib.axes.Axes, optional

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    ShapeError
        If the alignment has another number of steps than `probabilities`, or `labels` another number of names than classes.
    """
    steps, classes = probabilities.shape
    if len(alignment.path) != steps:
        raise ShapeError(f"the alignment has {len(alignment.path)} steps, probabilities have {steps}")
    labels = range(classes) if labels is None else labels
    if len(labels) != classes:
        raise ShapeError(f"labels must name {classes} classes, got {len(labels)}")
    ax = make_axes(ax)
    sequence = [int(alignment.path[first]) for first in alignment.first]
    colors = {label: COLORS[k % 6] for k, label in enumerate(sorted(set(sequence)))}
    for label in range(classes):
        if label != blank and label not in colors:
            ax.plot(probabilities[:, label], color="0.85", linewidth=0.8, zorder=1)
    ax.plot(probabilities[:, blank], color="0.35", linewidth=1.0, linestyle=":", label="blank", zorder=2)
    for label, color in colors.items():
        ax.plot(probabilities[:, label], color=color, linewidth=1.4, zorder=3)
    for label, first, last in zip(sequence, alignment.first, alignment.last, strict=True):
        ax.axvspan(first - 0.5, last + 0.5, color=colors[label], alpha=0.15, linewidth=0)
        ax.text((first + last) / 2, -0.09, str(labels[label]), color=colors[label], ha="center", va="center")
    ax.axhline(0, color="0.35", linewidth=0.6)
    ax.set_xlim(-0.5, steps - 0.5)
    ax.set_ylim(-0.16, 1.04)
    ax.set_yticks([0, 0.25, 0.5, 0.75, 1])
    ax.set_xlabel("step")
    ax.set_ylabel("probability")
    ax.legend(loc="lower right", bbox_to_anchor=(1, 1), borderaxespad=0, frameon=False)
    ax.spines[["top", "right", "bottom"]].set_visible(False)
    return ax


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
