"""Plots of training runs."""

from typing import Any

from numbarnn.plots.axes import COLORS, make_axes


def plot_history(history: Any, *, ax: Any = None) -> Any:
    """Draw the training and validation loss by epoch, on a logarithmic scale.

    Parameters
    ----------
    history : History
        Of `Model.fit`, or ``history_`` of an estimator or forecaster.
    ax : matplotlib.axes.Axes, optional

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    ValueError
        If the history has no epochs.
    """
    if len(history) == 0:
        raise ValueError("the history has no epochs to draw")
    ax = make_axes(ax, 6.0)
    epochs = history["epoch"]
    ax.plot(epochs, history["loss"], marker="o", markersize=3, color="0.35", linestyle="--", label="training")
    if "val_loss" in history[0]:
        ax.plot(epochs, history["val_loss"], marker="o", markersize=3, color=COLORS[1], label="validation")
    if history.best is not None:
        ax.axvline(epochs[history.best], color=COLORS[1], linewidth=0.8, linestyle=":", label="best epoch")
    ax.set_yscale("log")
    ax.xaxis.get_major_locator().set_params(integer=True)
    ax.set_xlabel("epoch")
    ax.set_ylabel("loss")
    ax.legend(frameon=False)
    ax.spines[["top", "right"]].set_visible(False)
    return ax
