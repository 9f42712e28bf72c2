"""Pictures of forecasts and of training, with matplotlib (the extra `plot`). Every function returns the Axes.

Without `ax` a new figure is made by pyplot, which shows it in a notebook and works without a display. Colours are those of Okabe &
Ito, which differ for colour-blind eyes too; lines that cross differ in their dashes as well.
"""

from numbarnn.errors import ShapeError

COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
DASHES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (1, 1)), "-")


def _axes(ax, width=9.0, height=4.0):
    if ax is not None:
        return ax
    try:
        from matplotlib import pyplot
    except ImportError:
        raise ImportError("pictures need matplotlib: pip install 'numbarnn[plot]'") from None
    return pyplot.subplots(figsize=(width, height), layout="constrained")[1]


def plot_forecast(backtest, target=None, *, ahead=None, last=None, ax=None):
    """Draw forecasts against the truth.

    Parameters
    ----------
    backtest : DataFrame
        Of `numbarnn.Forecaster.backtest`.
    target : name, optional
        None: the first target.
    ahead : int, optional
        Which rows ahead to draw; None: the farthest.
    last : int, optional
        Draw only so many rows, the last ones.
    ax : matplotlib.axes.Axes, optional

    Returns
    -------
    matplotlib.axes.Axes
    """
    target = _target(backtest, target)
    ahead = backtest["ahead"].max() if ahead is None else ahead
    rows = backtest[backtest["ahead"] == ahead]
    if rows.empty:
        raise ValueError(f"there are no forecasts {ahead} rows ahead; there are {sorted(set(backtest['ahead']))}")
    rows = rows if last is None else rows.iloc[-last:]
    times = rows.index.to_timestamp() if hasattr(rows.index, "to_timestamp") else rows.index
    ax = _axes(ax)
    ax.plot(times, rows[f"{target} truth"], color="0.35", linewidth=1.2, label="measured")
    ax.plot(times, rows[target], color=COLORS[1], linewidth=1.2, label=f"forecast, {ahead} rows ahead")
    ax.set_ylabel(str(target))
    ax.legend(loc="upper left", frameon=False, ncols=2)
    ax.margins(x=0.01, y=0.15)
    ax.spines[["top", "right"]].set_visible(False)
    if hasattr(times, "tz"):
        from matplotlib.dates import ConciseDateFormatter

        ax.xaxis.set_major_formatter(ConciseDateFormatter(ax.xaxis.get_major_locator(), tz=times.tz))
    return ax


def plot_errors_by_horizon(errors, *, ax=None):
    """Draw the mean absolute error of the net and every baseline by rows ahead.

    Parameters
    ----------
    errors : DataFrame
        Of `numbarnn.Forecaster.errors_by_horizon`.
    ax : matplotlib.axes.Axes, optional

    Returns
    -------
    matplotlib.axes.Axes
    """
    ax = _axes(ax, 6.0)
    others = zip((COLORS[0], *COLORS[2:]), DASHES[1:], strict=True)
    for name in errors.columns:
        color, dashes = (COLORS[1], "-") if name == "net" else next(others, ("0.35", "-"))
        style = {"color": color, "linestyle": dashes, "linewidth": 2 if name == "net" else 1.5}
        ax.plot(errors.index, errors[name], marker="o", markersize=3, label=name, **style)
    ax.xaxis.get_major_locator().set_params(integer=True)
    ax.set_xlabel("rows ahead")
    ax.set_ylabel("mean absolute error")
    ax.set_ylim(bottom=0)
    ax.legend(frameon=False)
    ax.spines[["top", "right"]].set_visible(False)
    return ax


def plot_history(history, *, ax=None):
    """Draw the training and validation loss by epoch, on a logarithmic scale.

    Parameters
    ----------
    history : History
        Of `Model.fit`, or ``history_`` of an estimator or forecaster.
    ax : matplotlib.axes.Axes, optional

    Returns
    -------
    matplotlib.axes.Axes
    """
    if len(history) == 0:
        raise ValueError("the history has no epochs to draw")
    ax = _axes(ax, 6.0)
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


def plot_alignment(probabilities, alignment, labels=None, *, blank=0, ax=None):
    """Draw what a net trained with CTC says at every step, and under it where the labels of a string are.

    Parameters
    ----------
    probabilities : (steps, classes) array
        One sample of `TemporalClassifier.predict_proba`, or a row of `Model.predict_proba`.
    alignment : Alignment
        Of `TemporalClassifier.align` or `numbarnn.decoding.align`.
    labels : sequence, optional
        Name of every class, the blank included; None: their numbers.
    blank : int
        Class of the blank, drawn as a dotted line.
    ax : matplotlib.axes.Axes, optional

    Returns
    -------
    matplotlib.axes.Axes
    """
    steps, classes = probabilities.shape
    if len(alignment.path) != steps:
        raise ShapeError(f"the alignment has {len(alignment.path)} steps, probabilities have {steps}")
    labels = range(classes) if labels is None else labels
    if len(labels) != classes:
        raise ShapeError(f"labels must name {classes} classes, got {len(labels)}")
    ax = _axes(ax)
    string = [int(alignment.path[first]) for first in alignment.first]
    colors = {label: COLORS[place % 6] for place, label in enumerate(sorted(set(string)))}
    for label in range(classes):
        if label != blank and label not in colors:
            ax.plot(probabilities[:, label], color="0.85", linewidth=0.8, zorder=1)
    ax.plot(probabilities[:, blank], color="0.35", linewidth=1.0, linestyle=":", label="blank", zorder=2)
    for label, color in colors.items():
        ax.plot(probabilities[:, label], color=color, linewidth=1.4, zorder=3)
    for label, first, last in zip(string, alignment.first, alignment.last, strict=True):
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


def plot_scatter(backtest, target=None, *, ax=None):
    """Draw forecasts over what was measured, a point each; on the diagonal a forecast is right.

    Parameters
    ----------
    backtest : DataFrame
        Of `numbarnn.Forecaster.backtest`.
    target : name, optional
        None: the first target.
    ax : matplotlib.axes.Axes, optional

    Returns
    -------
    matplotlib.axes.Axes
    """
    target = _target(backtest, target)
    truth, forecast = backtest[f"{target} truth"], backtest[target]
    ax = _axes(ax, 5.0, 5.0)
    ax.scatter(truth, forecast, s=4, alpha=0.3, color=COLORS[1], linewidths=0)
    ends = [min(truth.min(), forecast.min()), max(truth.max(), forecast.max())]
    ax.plot(ends, ends, color="0.35", linewidth=1)
    ax.set_xlabel(f"{target}, measured")
    ax.set_ylabel("forecast")
    ax.spines[["top", "right"]].set_visible(False)
    return ax


def _target(backtest, target):
    """Return the name of a target of a backtest, the first for None."""
    names = [name for name in backtest.columns if f"{name} truth" in backtest.columns]
    if not names:
        raise ShapeError(f"backtest must be a frame of Forecaster.backtest, got columns {list(backtest.columns)}")
    if target is not None and target not in names:
        raise KeyError(f"target {target!r} is not among {names}")
    return names[0] if target is None else target
