"""Plots of forecasts."""

from typing import Any

from numbarnn.checks import brief
from numbarnn.errors import ShapeError
from numbarnn.plots.axes import COLORS, DASHES, make_axes


def plot_forecast(backtest: Any, target: Any = None, *, ahead: Any = None, last: Any = None, ax: Any = None) -> Any:
    """Draw forecasts against the truth, with their intervals where the backtest has some.

    Parameters
    ----------
    backtest : DataFrame
        Of `numbarnn.Forecaster.backtest`; with `level`, its intervals are drawn as a band.
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
    ax = make_axes(ax)
    times = _times(rows.index, ax)
    ax.plot(times, rows[f"{target} truth"], color="0.35", linewidth=1.2, label="measured")
    ax.plot(times, rows[target], color=COLORS[1], linewidth=1.2, label=f"forecast, {_distance(rows, ahead)} ahead")
    if f"{target} lower" in rows:
        _band(ax, times, rows[f"{target} lower"], rows[f"{target} upper"], backtest)
    return _finished(ax, target)


def plot_prediction(prediction: Any, past: Any = None, target: Any = None, *, last: Any = None, ax: Any = None) -> Any:
    """Draw what is forecast after the end of the data, with its interval, beside the past.

    Parameters
    ----------
    prediction : DataFrame
        Of `numbarnn.Forecaster.predict` or, with a band, of `numbarnn.Forecaster.predict_interval`.
    past : DataFrame or Series, optional
        Rows before it.
    target : name, optional
        None: the first target.
    last : int, optional
        Draw only the last that many rows of the past.
    ax : matplotlib.axes.Axes, optional

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    KeyError
        If `target` is not a target of the prediction, or no column of the past.
    ShapeError
        If `prediction` is not a frame of `Forecaster.predict` or `predict_interval`.
    """
    columns = getattr(prediction, "columns", None)
    if columns is None or list(columns.names)[1:] not in ([], ["bound"]):
        raise ShapeError(
            f"prediction must be a frame of Forecaster.predict or Forecaster.predict_interval, got {brief(prediction)}"
        )
    bounds = list(columns.names)[1:] == ["bound"]
    names = list(dict.fromkeys(columns.get_level_values(0))) if bounds else list(columns)
    if target is not None and target not in names:
        raise KeyError(f"target {target!r} is not among {names}")
    target = names[0] if target is None else target
    ax = make_axes(ax)
    if past is not None:
        if getattr(past, "ndim", 1) == 2 and target not in past:
            raise KeyError(f"past has no column {target!r}; it has {list(past.columns)}")
        before = past[target] if past.ndim == 2 else past
        before = before if last is None else before.iloc[-last:]
        ax.plot(_times(before.index, ax), before, color="0.35", linewidth=1.2, label="measured")
    times, values = _times(prediction.index, ax), prediction[target]
    line = values["forecast"] if bounds else values
    marker = "o" if len(line) == 1 else None  # one point makes no line
    ax.plot(times, line, color=COLORS[1], linewidth=1.2, marker=marker, label="forecast")
    if bounds:
        _band(ax, times, values["lower"], values["upper"], prediction)
    return _finished(ax, target)


def _times(index, ax):
    """Return an index as matplotlib takes it; its ticks are those of its time zone."""
    times = index.to_timestamp() if hasattr(index, "to_timestamp") else index
    if hasattr(times, "tz"):
        from matplotlib.dates import AutoDateLocator, ConciseDateFormatter

        locator = AutoDateLocator(tz=times.tz)
        ax.xaxis.set_major_locator(locator)
        ax.xaxis.set_major_formatter(ConciseDateFormatter(locator, tz=times.tz))
    return times


def _distance(rows, ahead):
    """Return how far ahead the forecasts of a backtest are, in time where they are all as far."""
    import pandas as pd

    if isinstance(rows.index, pd.DatetimeIndex):
        origin = pd.DatetimeIndex(rows["origin"])
        distances = (rows.index - origin).unique() if (origin.tz is None) == (rows.index.tz is None) else ()
        if len(distances) == 1:
            seconds = distances[0].total_seconds()
            for unit, length in (("day", 86400), ("hour", 3600), ("minute", 60), ("second", 1)):
                count = seconds / length
                if count == int(count) and (count > 1 or unit == "second" or seconds == length):
                    if unit == "day" and count < 3:
                        continue  # hours say how a day passes
                    return f"{int(count)} {unit}{'s' if count != 1 else ''}"
    return f"{ahead} row{'s' if ahead != 1 else ''}"


def _band(ax, times, lower, upper, frame):
    label = f"{100 * frame.attrs['level']:.3g} % interval" if "level" in frame.attrs else "interval"
    ax.fill_between(times, lower, upper, color=COLORS[1], alpha=0.2, linewidth=0, label=label)
    if len(times) == 1:  # a band needs two times
        ax.vlines(times, lower, upper, color=COLORS[1], alpha=0.4)


def _finished(ax, target):
    ax.set_ylabel(str(target))
    ax.legend(loc="upper left", frameon=False, ncols=3)
    ax.margins(x=0.01, y=0.15)
    ax.spines[["top", "right"]].set_visible(False)
    return ax


def plot_errors_by_horizon(errors: Any, *, ax: Any = None) -> Any:
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


def plot_scatter(backtest: Any, target: Any = None, *, ax: Any = None) -> Any:
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
