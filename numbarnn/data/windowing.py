"""Windows of a time series: from a table to samples (lookback, delay, step, stride, horizon), without copies.

Translations from other programs, with m rows in a window (`tests/test_windows.py` proves them):

* the generator of Chollet, *Deep Learning with Python*, 1st edition, section 6.3, ``generator(data, lookback, delay, ...,
  step)``: sample i has rows i - lookback, i - lookback + step, ... below i and its target is row i + delay, counted from
  the row *after* the window. That is ``make_windows(data, lookback, delay + lookback - (m - 1) * step, step=step)`` with
  m = ceil(lookback / step): the delay is ``delay + step`` where step divides lookback, ``delay + 1`` for step 1;
* Keras' ``timeseries_dataset_from_array(data[:-d], targets[d:], sequence_length=m, sampling_rate=s, sequence_stride=k)``:
  sample i has rows i k, i k + s, ..., i k + (m - 1) s and its target is row i k + d, counted from the window's
  *first* row. That is ``make_windows(data, (m - 1) * s + 1, d - (m - 1) * s, step=s, stride=k)``. With the 2nd
  edition's d = s (m + 24 - 1) the delay is 24 s: 24 hours after the newest row.
"""

from typing import Any

import numpy as np

from numbarnn.checks import COUNTED, check_choice, check_integer
from numbarnn.core.frames import as_pandas, is_pandas
from numbarnn.data import tables
from numbarnn.data.windows import Windows
from numbarnn.errors import ShapeError
from numbarnn.words import suggesting

MISSING = ("error", "drop", "ffill")  # what is done about missing values


@suggesting
def make_windows(
    data: Any,
    lookback: int,
    delay: int = 1,
    *,
    target: Any = None,
    step: int = 1,
    stride: int = 1,
    horizon: int = 1,
    missing: str = "error",
    irregular: str = "error",
) -> Windows:
    """Cut a table into windows and the targets of each.

    With L = lookback, D = delay and m = (L - 1) // step + 1, sample i ends at row e = i * stride + L - 1. Its input is rows
    e - (m - 1) step, ..., e - step, e (the newest row is always seen), and its targets are rows e + D, ..., e + D + horizon - 1.
    There are as many samples as have all their rows in the table: (rows - L - D - horizon + 1) // stride + 1.

    Parameters
    ----------
    data : (rows,) or (rows, columns) array-like, Series or DataFrame
        Values of one series in order of time, all columns being features. A DatetimeIndex, PeriodIndex or TimedeltaIndex must be
        regular, a numeric index must rise or fall. Of a table of several series make windows for each: ``for key, part in
        table.groupby(level=0): make_windows(part.droplevel(0), ...)``.
    lookback : int
        Rows L from the oldest to the newest that a window spans.
    delay : int
        Rows D from the newest row of a window to its first target; 1: the next row; 0: the newest row of the window, which is
        seen, for targets that are not among the features.
    target : name, list of names, array, Series or DataFrame, optional
        What to predict: a column or columns of the data by name (of an array: by index), or separate values, a
        row for every row of the data. None: all columns.
    step : int
        Rows between two rows of a window.
    stride : int
        Rows between two windows.
    horizon : int
        Rows that are predicted from each window.
    missing : {"error", "drop", "ffill"}
        Treatment of NaN. "error": refuse it, with count and first position. "drop": leave out the windows that touch
        one. "ffill": inputs take the last value known before; windows with a missing target, or with rows before the
        first known value, are left out. (The "mask" of `numbarnn.Forecaster` needs a training part, which windows have not.)
    irregular : {"error", "ignore"}
        Treatment of times that are not evenly spaced, and of row numbers that change direction or repeat. "error": raise, naming
        the first such row. "ignore": count rows.

    Returns
    -------
    Windows
        Lazy: X is a view of the data.

    Raises
    ------
    ShapeError
        If the table is too short for one window, or target values have another number of rows.
    KeyError
        If a target column does not exist.
    TypeError, ValueError
        For arguments of a wrong dtype or value, for missing and infinite values, for irregular times, and for a MultiIndex.

    Examples
    --------
    >>> w = make_windows([10, 20, 30, 40, 50, 60, 70, 80, 90], lookback=3, delay=2)
    >>> w.X.shape
    (5, 3, 1)
    >>> w.X[0, :, 0].tolist(), int(w.y[0])
    ([10, 20, 30], 50)
    """
    options = {"lookback": lookback, "delay": delay, "step": step, "stride": stride, "horizon": horizon}
    options = {name: check_integer(value, name, int(name != "delay"), COUNTED) for name, value in options.items()}
    check_choice(missing, "missing", MISSING)
    check_choice(irregular, "irregular", ("error", "ignore"))
    table, target = tables.as_table(data), as_pandas(target, "target")
    tables.check_one_series(table.index)
    targets = _targets(table, target)
    ends = _ends(len(table), **options)
    if irregular == "error":
        tables.check_times(table.index)
    values, dropped = table.values, 0
    bad = tables.bad_rows(table, "data")
    own = isinstance(target, np.ndarray) or is_pandas(target)
    bad_targets = tables.bad_rows(targets, "target") if own or bad is not None else None
    if bad is not None or bad_targets is not None:
        if missing == "error":
            advice = "pass missing='drop' or 'ffill', or clean the data first"
            shown = (table, bad, "data") if bad is not None else (targets, bad_targets, "target")
            tables.refuse_missing(*shown, advice)
        if (
            missing == "ffill" and bad is not None
        ):  # the targets stay those of the data: a filled target would be made up
            values = tables.forward_filled(values)
            bad = np.isnan(values).any(axis=1)
        before = len(ends)
        newest = np.arange(ends.start, ends.stop, ends.step)
        spans = {name: value for name, value in options.items() if name != "stride"}
        good = untouched(newest, bad, bad_targets, **spans)
        ends = ends if good.all() else newest[good]
        dropped = before - len(ends)
        if len(ends) == 0:
            raise ValueError(
                f"every one of {before} windows touches a missing value; clean the data first, or use missing='ffill'"
            )
    return Windows(
        values,
        targets.values[:, 0] if targets.flat else targets.values,
        ends,
        **options,
        index=table.index,
        feature_names=table.names,
        target_names=targets.names,
        dropped=dropped,
    )


def _targets(table, target) -> tables.Table:
    """Return the targets as a table with the rows of `table`."""
    if target is None:
        return table
    if isinstance(target, np.ndarray) or is_pandas(target):
        own = tables.as_table(target, "target")
        tables.check_one_series(own.index, "target")
        if len(own) != len(table):
            raise ShapeError(f"target has {len(own)} rows, data has {len(table)}; they must have a row for every time")
        if own.index is not None and table.index is not None and not own.index.equals(table.index):
            raise ValueError("target and data have different indexes; align them first: target.reindex(data.index)")
        return own
    columns, listed = tables.chosen_columns(target, table.names)
    values = table.values[:, columns[0] : columns[0] + 1] if len(columns) == 1 else table.values[:, columns]
    return tables.Table(values, tuple(table.names[column] for column in columns), table.index, flat=not listed)


def _ends(rows, *, lookback, delay, step, stride, horizon) -> range:
    """Return the newest rows of all windows."""
    past = rows - delay - horizon + 1
    if past < lookback:
        raise ShapeError(
            f"data has {rows} rows; lookback {lookback}, delay {delay} and horizon {horizon} need at least "
            f"{lookback + delay + horizon - 1}"
        )
    return range(lookback - 1, past, stride)


def untouched(newest, bad, bad_targets, *, lookback, delay, step, horizon) -> np.ndarray:
    """Return of windows with some newest rows the mask of those none of whose rows, or rows of targets, is bad (None: none is)."""
    good = np.ones(len(newest), bool)
    if bad is not None:
        width = (lookback - 1) // step + 1
        good &= _counts(bad, width, step)[newest] == 0
    if bad_targets is not None:
        good &= _counts(bad_targets, horizon, 1)[newest + delay + horizon - 1] == 0
    return good


def _counts(bad, width, step):
    """Return for every row r how many of the rows r, r - step, ..., r - (width - 1) step are bad."""
    padded = np.zeros((-(-len(bad) // step) + width, step), np.int64)
    padded[width:].reshape(-1)[: len(bad)] = bad
    running = padded.cumsum(axis=0)
    return (running[width:] - running[:-width]).reshape(-1)[: len(bad)]
