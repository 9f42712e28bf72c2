"""Plots of alignments of label sequences."""

from typing import Any

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
