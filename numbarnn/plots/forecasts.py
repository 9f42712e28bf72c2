"""Plots of forecasts."""

from numbarnn.errors import ShapeError
from numbarnn.plots.axes import COLORS, DASHES, make_axes


def plot_forecast(backtest, target=None, *, ahead=None, last=None, ax=None):
    """Draw forecasts against the truth.

    Parameters
    ----------
    backtest : DataFrame
        Of `numbarnn.Forecaster.backtest`.
    target : name, optional
        None: the first target.
    ahead : int, optional
        Rows ahead to draw; None: the most.
    last : int, optional
        Draw only the last that many rows.
    ax : matplotlib.axes.Axes, optional

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    KeyError
        If `target` is not a target of the backtest.
    ShapeError
        If `backtest` is not a frame of `numbarnn.Forecaster.backtest`.
    ValueError
        If there are no forecasts `ahead` rows ahead.
    """
    target = _target(backtest, target)
    ahead = backtest["ahead"].max() if ahead is None else ahead
    rows = backtest[backtest["ahead"] == ahead]
    if rows.empty:
        raise ValueError(f"there are no forecasts {ahead} rows ahead; there are {sorted(set(backtest['ahead']))}")
    rows = rows if last is None else rows.iloc[-last:]
    times = rows.index.to_timestamp() if hasattr(rows.index, "to_timestamp") else rows.index
    ax = make_axes(ax)
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
    ax = make_axes(ax, 6.0)
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


def plot_scatter(backtest, target=None, *, ax=None):
    """Draw forecasts against measured values, one point each; on the diagonal a forecast is exact.

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
    ax = make_axes(ax, 5.0, 5.0)
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
