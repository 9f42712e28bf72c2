"""Plots of forecasts."""

from typing import Any

import numpy as np

from numbarnn.checks import brief
from numbarnn.errors import ShapeError
from numbarnn.plots.axes import COLORS, DASHES, make_axes


def plot_forecast(
    backtest: Any, target: Any = None, *, ahead: Any = None, series: Any = None, last: Any = None, ax: Any = None
) -> Any:
    """Draw forecasts against the truth, with their intervals where the backtest has some.

    Parameters
    ----------
    backtest : DataFrame
        Of `numbarnn.Forecaster.backtest`; with `level`, its intervals are drawn as a band.
    target : name, optional
        None: the first target.
    ahead : int, optional
        Rows ahead to draw; None: the most.
    series : hashable, optional
        Which one of many; None: the first.
    last : int, optional
        Draw only the last that many rows.
    ax : matplotlib.axes.Axes, optional

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    KeyError
        If `target` is not a target of the backtest, or `series` none of its series.
    ShapeError
        If `backtest` is not a frame of `numbarnn.Forecaster.backtest`.
    ValueError
        If there are no forecasts `ahead` rows ahead.
    """
    target = _target(backtest, target)
    ahead = backtest["ahead"].max() if ahead is None else ahead
    rows = _of_series(backtest[backtest["ahead"] == ahead], series)
    if rows.empty:
        raise ValueError(f"there are no forecasts {ahead} rows ahead; there are {sorted(set(backtest['ahead']))}")
    rows = rows if last is None else rows.iloc[-last:]
    ax = make_axes(ax)
    times = _times(rows.index, ax)
    ax.plot(times, rows[f"{target} truth"], color="0.35", linewidth=1.2, label="measured")
    label = f"forecast, {_distance(rows, ahead, backtest.attrs.get('row'))} ahead"
    ax.plot(times, rows[target], color=COLORS[1], linewidth=1.2, label=label)
    if f"{target} lower" in rows:
        _band(ax, times, rows[f"{target} lower"], rows[f"{target} upper"], backtest)
    return _finished(ax, target, rows.index)


def plot_prediction(
    prediction: Any,
    past: Any = None,
    target: Any = None,
    *,
    baselines: Any = None,
    series: Any = None,
    last: Any = None,
    ax: Any = None,
) -> Any:
    """Draw what is forecast after the end of the data, with its interval, beside the past and what baselines forecast.

    Parameters
    ----------
    prediction : DataFrame
        Of `numbarnn.Forecaster.predict` or, with a band, of `numbarnn.Forecaster.predict_interval`.
    past : DataFrame or Series, optional
        Rows before it.
    target : name, optional
        None: the first target.
    baselines : DataFrame, optional
        Of `numbarnn.Forecaster.predict_baselines`; ``baselines.loc[:, (slice(None), names)]`` are some of them.
    series : hashable, optional
        Which one of many; None: the first of the prediction.
    last : int, optional
        Draw only the last that many rows of the past.
    ax : matplotlib.axes.Axes, optional

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    KeyError
        If `target` is not a target of the prediction, or no column of the past, or `series` none of the series.
    ShapeError
        If `prediction` is not a frame of `Forecaster.predict` or `predict_interval`, or `baselines` none of `predict_baselines`.
    """
    columns = getattr(prediction, "columns", None)
    if columns is None or list(columns.names)[1:] not in ([], ["bound"]):
        raise ShapeError(
            f"prediction must be a frame of Forecaster.predict or Forecaster.predict_interval, got {brief(prediction)}"
        )
    if baselines is not None and list(getattr(getattr(baselines, "columns", None), "names", [])) != [
        "target",
        "baseline",
    ]:
        raise ShapeError(f"baselines must be a frame of Forecaster.predict_baselines, got {brief(baselines)}")
    bounds = list(columns.names)[1:] == ["bound"]
    names = list(dict.fromkeys(columns.get_level_values(0))) if bounds else list(columns)
    if target is not None and target not in names:
        raise KeyError(f"target {target!r} is not among {names}")
    target = names[0] if target is None else target
    series = prediction.index[0][0] if series is None and prediction.index.nlevels == 2 else series
    prediction = _of_series(prediction, series)
    ax = make_axes(ax)
    if past is not None:
        if getattr(past, "ndim", 1) == 2 and target not in past:
            raise KeyError(f"past has no column {target!r}; it has {list(past.columns)}")
        before = _of_series(past[target] if past.ndim == 2 else past, series)
        before = before if last is None else before.iloc[-last:]
        # Of irregular rows ahead only the number is known, so that those before are numbered too.
        rows = np.arange(1 - len(before), 1) if prediction.index.name == "ahead" else before.index
        ax.plot(_times(rows, ax), before, color="0.35", linewidth=1.2, label="measured")
    times, values = _times(prediction.index, ax), prediction[target]
    marker = "o" if len(times) == 1 else None  # one point makes no line
    if baselines is not None:
        rivals = _of_series(baselines[target], series)
        for k, name in enumerate(rivals.columns):
            color, dashes = BASELINES[k % len(BASELINES)]
            ax.plot(times, rivals[name], color=color, linestyle=dashes, linewidth=1.0, marker=marker, label=name)
    line = values["forecast"] if bounds else values
    ax.plot(times, line, color=COLORS[1], linewidth=1.6, marker=marker, label="forecast")
    if bounds:
        _band(ax, times, values["lower"], values["upper"], prediction)
    _finished(ax, target, prediction.index)
    if prediction.index.name == "ahead":
        ax.set_xlabel("rows ahead")
    return ax


LEGEND = 3  # columns
# Colours and dashes of lines beside a forecast.
BASELINES = list(zip((COLORS[0], *COLORS[2:]), (*DASHES[1:6], (0, (6, 2))), strict=True))


def _of_series(frame, series):
    """Return the rows of one of many series, the first for None; all rows of one series."""
    if frame.index.nlevels == 1:
        return frame
    keys = frame.index.get_level_values(0)
    if series is None and len(keys):
        series = keys[0]
    if len(keys) and series not in keys:
        raise KeyError(f"series {series!r} is not among {brief(list(dict.fromkeys(keys)))}")
    found = frame[keys == series].droplevel(0)
    found.attrs = dict(frame.attrs)
    return found


def _times(index, ax):
    """Return an index as matplotlib takes it; its ticks are those of its time zone."""
    times = index.to_timestamp() if hasattr(index, "to_timestamp") else index
    if hasattr(times, "tz"):
        from matplotlib.dates import AutoDateLocator, ConciseDateFormatter

        locator = AutoDateLocator(tz=times.tz)
        ax.xaxis.set_major_locator(locator)
        ax.xaxis.set_major_formatter(ConciseDateFormatter(locator, tz=times.tz))
    return times


def _distance(rows, ahead, row=None):
    """Return how far ahead the forecasts of a backtest are: in time where they are all as far, or by the length of a row."""
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
    count, unit = (ahead, "row") if row is None else (ahead * row[0], row[1])
    return f"{count} {unit}{'s' if count != 1 else ''}"


def _band(ax, times, lower, upper, frame):
    label = f"{100 * frame.attrs['level']:.3g} % interval" if "level" in frame.attrs else "interval"
    ax.fill_between(times, lower, upper, color=COLORS[1], alpha=0.2, linewidth=0, label=label)
    if len(times) == 1:  # a band needs two times
        ax.vlines(times, lower, upper, color=COLORS[1], alpha=0.4)


def _finished(ax, target, index):
    zone = getattr(index, "tz", None)
    label = (
        index.name if index.name is not None else "row" if index.dtype.kind in "iu" else "" if zone is None else "time"
    )
    ax.set_xlabel(f"{label} ({zone})" if zone is not None else str(label))
    ax.set_ylabel(str(target))
    lines = -(-len(ax.get_legend_handles_labels()[1]) // LEGEND)
    ax.margins(x=0.01, y=0.15)
    low, high = ax.get_ylim()
    ax.set_ylim(low, high + (high - low) * 0.08 * (lines - 1))  # room for the legend
    ax.legend(loc="upper left", frameon=False, ncols=LEGEND)
    ax.spines[["top", "right"]].set_visible(False)
    return ax


def plot_errors_by_horizon(errors: Any, *, ax: Any = None) -> Any:
    """Draw the mean absolute error of the net and every baseline by how far ahead they forecast.

    Parameters
    ----------
    errors : DataFrame
        Of `numbarnn.Forecaster.errors_by_horizon`. The axis is in the time that rows take, such as hours, where they are at regular
        times, and else in rows.
    ax : matplotlib.axes.Axes, optional

    Returns
    -------
    matplotlib.axes.Axes
    """
    ax = make_axes(ax, 6.0)
    others = zip((COLORS[0], *COLORS[2:]), DASHES[1:], strict=True)
    ahead, unit = _ahead(errors.index.to_numpy(), errors.attrs.get("row"))
    for name in errors.columns:
        color, dashes = (COLORS[1], "-") if name == "net" else next(others, ("0.35", "-"))
        # The net is wide, so that it is seen beneath a baseline that it equals.
        style = {"color": color, "linestyle": dashes, "linewidth": 3.5 if name == "net" else 1.2}
        ax.plot(ahead, errors[name], marker="o", markersize=3, label=name, **style)
    if unit.startswith("hour") and ahead[-1] - ahead[0] >= 12:  # parts of days
        ax.xaxis.get_major_locator().set_params(integer=True, steps=[1, 1.2, 2.4, 4.8, 6, 10])
    else:
        ax.xaxis.get_major_locator().set_params(integer=True)
    ax.set_xlabel(f"{unit} ahead")
    target = errors.attrs.get("target")
    ax.set_ylabel("mean absolute error" if target is None else f"mean absolute error of {target}")
    ax.set_ylim(bottom=0)
    ax.legend(frameon=False)
    ax.spines[["top", "right"]].set_visible(False)
    return ax


def _ahead(rows, row):
    """Return rows ahead in a unit of time that suits them, and its name."""
    if row is None:
        return rows, "rows"
    values, unit = rows * row[0], row[1]
    for shorter, longer, length in (("second", "minute", 60), ("minute", "hour", 60), ("hour", "day", 24)):
        if unit == shorter and values[-1] >= (10 if longer == "day" else 3) * length:
            values, unit = values / length, longer
    return values, f"{unit}s"


def plot_coverage(intervals: Any, target: Any = None, *, ax: Any = None) -> Any:
    """Draw how often intervals contain the truth against how often they should.

    On the diagonal intervals are right; below it they are too narrow, above it too wide. The band about it has 95 % of the shares
    of hits that right intervals have by chance, if hits of windows without a common row ahead are independent (binomial
    distribution).

    Parameters
    ----------
    intervals : DataFrame or dict of DataFrame
        Of `numbarnn.Forecaster.evaluate_intervals`, with several levels, such as ``np.arange(0.1, 1, 0.1)``; or some of these by
        name, such as calibrated and adaptive ones.
    target : name, optional
        None: the first target.
    ax : matplotlib.axes.Axes, optional

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    KeyError
        If `target` is not a target.
    ShapeError
        If `intervals` is not a frame of `numbarnn.Forecaster.evaluate_intervals`, nor a dict of these.
    """
    named = intervals if isinstance(intervals, dict) else {"intervals": intervals}
    found = {}
    for name, frame in named.items():
        if "coverage" not in getattr(frame, "columns", ()) or frame.index.names[-1] != "level":
            raise ShapeError(
                f"intervals must be a frame of Forecaster.evaluate_intervals, or a dict of these, got {brief(frame)}"
            )
        found[name] = _coverage(frame, target).sort_index()
    if not found:
        raise ShapeError("intervals must have a frame of Forecaster.evaluate_intervals, got an empty dict")
    ax = make_axes(ax, 5.0, 5.0)
    windows = min(frame.attrs.get("windows", 0) for frame in named.values())
    if windows:
        levels = np.linspace(0, 1, 101)
        low, high = np.array([_binomial_bounds(windows, level) for level in levels]).T
        label = f"95 % by chance, {windows:,} windows"
        ax.fill_between(levels, low, high, color="0.88", linewidth=0, label=label)
    ax.plot([0, 1], [0, 1], color="0.35", linewidth=1)
    others = zip(COLORS[1:], DASHES, strict=False)
    for name, values in found.items():
        color, dashes = next(others, ("0.35", "-"))
        label = name if len(found) > 1 else None
        ax.plot(
            values.index, values, color=color, linestyle=dashes, marker="o", markersize=4, linewidth=1.5, label=label
        )
    ax.set(xlim=(0, 1), ylim=(0, 1), aspect="equal", xlabel="level", ylabel="share of the truth in the intervals")
    if windows or len(found) > 1:
        ax.legend(loc="upper left", frameon=False)
    ax.spines[["top", "right"]].set_visible(False)
    return ax


def _coverage(frame, target):
    """Return the coverage of a target by level."""
    if frame.index.nlevels == 1:
        return frame["coverage"]
    names = list(dict.fromkeys(frame.index.get_level_values("target")))
    if target is not None and target not in names:
        raise KeyError(f"target {target!r} is not among {names}")
    return frame["coverage"].loc[names[0] if target is None else target]


def _binomial_bounds(count, share, inside=0.95):
    """Return the shares of hits between which `inside` of the binomial distribution lies."""
    if share in (0, 1):
        return share, share
    hits = np.arange(count + 1)
    terms = np.concatenate([[0.0], np.cumsum(np.log(np.arange(count, 0, -1)) - np.log(np.arange(1, count + 1)))])
    below = np.cumsum(np.exp(terms + hits * np.log(share) + (count - hits) * np.log1p(-share)))
    low, high = np.searchsorted(below, [(1 - inside) / 2, (1 + inside) / 2])
    return low / count, min(high, count) / count


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
