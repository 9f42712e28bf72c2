"""Tables: arrays, Series and DataFrames as numeric values with column names and an index, checked once.

pandas is not imported here before a pandas object comes in.
"""

import contextlib
import sys
import warnings
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any

import numpy as np

from numbarnn.checks import brief, counted
from numbarnn.core.arrays import as_numeric
from numbarnn.core.frames import as_pandas, is_pandas
from numbarnn.errors import ShapeError

# Rows that are checked together, so that a check needs no second array of the table's size.
BLOCK = 8192
# Rows whose frequency is taken for that of all, to say where times are missing, and how many such parts are tried.
PART, PARTS = 10, 20


@dataclass(frozen=True, eq=False)
class Table:
    """Values by row, with the column names and the index.

    Attributes
    ----------
    values : (rows, columns) array
        A view of the data where they have one numeric dtype.
    names : tuple
        Of the columns; their indices where the data have no names.
    index : pandas.Index or None
        Of the rows.
    flat : bool
        Whether the data had one axis.
    """

    values: np.ndarray
    names: tuple
    index: Any
    flat: bool

    def __len__(self) -> int:
        return len(self.values)


def as_table(data, name: str = "data") -> Table:
    """Return data as a table.

    Parameters
    ----------
    data : (rows,) or (rows, columns) array-like, Series or DataFrame, also of another package (`numbarnn.core.frames`)
        Integers, floating-point numbers or booleans; NaN, pandas' NA and the mask of a masked array are missing values.
    name : str
        Of the argument, for messages.

    Raises
    ------
    ShapeError
        If there are no rows or columns, more than two axes, or columns of the same name.
    TypeError
        If a value is not numeric, naming the column.
    """
    data = as_pandas(data, name)
    kind = is_pandas(data)
    if kind == "frame":
        names = tuple(data.columns)
        if len(set(names)) < len(names):
            twice = next(n for n in names if names.count(n) > 1)
            raise ShapeError(f"{name} has several columns {twice!r}; give every column a name of its own")
        values = as_numeric(data, name)
        index, flat = data.index, False
    elif kind == "series":
        values = as_numeric(data, name)[:, None]
        names, index, flat = (0 if data.name is None else data.name,), data.index, True
    else:
        values = as_numeric(data, name)
        if values.ndim not in (1, 2):
            raise ShapeError(f"{name} must have shape (rows,) or (rows, columns), got {values.shape}")
        flat = values.ndim == 1
        values = values[:, None] if flat else values
        names, index = tuple(range(values.shape[1])), None
    if 0 in values.shape:
        raise ShapeError(f"{name} must have at least one row and one column, got shape {values.shape}")
    return Table(values, names, index, flat)


def chosen_columns(target, names) -> tuple[list[int], bool]:
    """Return the indices of the columns that an argument `target` names, and whether it is a list; a tuple may be one name.

    Raises
    ------
    KeyError
        If there is no such column.
    ValueError
        If it is an empty list.
    """
    names = list(names)
    listed = isinstance(target, (list, tuple)) and target not in names
    if listed and not target:
        raise ValueError("target must name at least one column, got an empty list")
    indices = []
    for name in target if listed else (target,):
        if not isinstance(name, Hashable):
            raise TypeError(f"target must be a column of data or a list of columns, got {brief(name)}")
        if name not in names:
            known = ", ".join(map(repr, names[:12])) + (", ..." if len(names) > 12 else "")
            raise KeyError(f"target {name!r} is not a column of data, which has {known}")
        indices.append(names.index(name))
    return indices, listed


def position(table: Table, row: int, column: int) -> str:
    """Return a position in a table in words, for messages."""
    at = f"row {row}" if table.index is None else f"row {row} ({table.index[row]})"
    return at if table.flat else f"{at}, column {table.names[column]!r}"


def bad_rows(table: Table, name: str) -> np.ndarray | None:
    """Return a mask of the rows with a missing value (NaN), or None where there are none.

    Raises
    ------
    ValueError
        If a value is infinite; the message gives count and first position.
    """
    if table.values.dtype.kind != "f":
        return None
    rows, infinite, first = None, 0, None
    for at in range(0, len(table), BLOCK):
        block = table.values[at : at + BLOCK]
        if np.isfinite(block).all():
            continue
        wrong = np.isinf(block)
        if first is None and wrong.any():
            first = np.argwhere(wrong)[0] + (at, 0)
        infinite += np.count_nonzero(wrong)
        rows = np.zeros(len(table), bool) if rows is None else rows
        rows[at : at + BLOCK] = np.isnan(block).any(axis=1)
    if infinite:
        raise ValueError(f"{name} has {counted(infinite, 'infinite value')}, the first at {position(table, *first)}")
    return rows


def refuse_missing(table: Table, rows: np.ndarray, name: str, advice: str) -> None:
    """Raise ValueError with the number of missing values and the first position."""
    missing = np.isnan(table.values[rows])
    first = position(table, int(np.flatnonzero(rows)[0]), int(np.argwhere(missing)[0, 1]))
    raise ValueError(
        f"{name} has {counted(np.count_nonzero(missing), 'missing value')}, the first at {first}; {advice}"
    )


def forward_filled(values: np.ndarray) -> np.ndarray:
    """Return a copy of (rows, columns) in which NaN is replaced by the last value above it; leading NaN stays."""
    known = np.where(np.isnan(values), 0, np.arange(len(values))[:, None])
    np.maximum.accumulate(known, axis=0, out=known)
    return np.take_along_axis(values, known, axis=0)


def check_one_series(index, name: str = "data") -> None:
    """Raise ValueError for a MultiIndex: its rows are of several series, which must not be joined."""
    pd = sys.modules.get("pandas")
    if pd is None or not isinstance(index, pd.MultiIndex):
        return
    times = (pd.DatetimeIndex, pd.PeriodIndex, pd.TimedeltaIndex)
    series = [n for n, level in enumerate(index.levels) if not isinstance(level, times)]
    one = "" if len(series) < index.nlevels else (
        "If all rows are of one series, make one index of its times, or number the rows (reset_index(drop=True)); of several, "
    )  # fmt: skip
    levels = [n if index.names[n] is None else index.names[n] for n in (series if one == "" and series else [0])]
    level = levels[0] if len(levels) == 1 else levels
    raise ValueError(
        f"{name} has a MultiIndex of {index.nlevels} levels: rows of several series would be taken for one series. "
        f"{one}{'take' if one else 'Take'} one series at a time: for key, part in {name}.groupby(level={level!r}), with "
        f"part.droplevel({level!r})"
    )


def check_times(index, name: str = "data", otherwise: str = "pass irregular='ignore'") -> None:
    """Raise ValueError unless times are evenly spaced, naming the first row that does not.

    A DatetimeIndex, PeriodIndex or TimedeltaIndex is checked. Times of one *calendar* frequency, such as the first day of every
    month, are regular, and so is an index that has a frequency, such as business days with holidays. Numbers must rise or fall from
    row to row, by any step; any other index is a set of labels.

    otherwise : what else the caller's user may do, for the message.
    """
    check_order(index, name)
    pd = sys.modules.get("pandas")
    if pd is None or not isinstance(index, (pd.DatetimeIndex, pd.PeriodIndex, pd.TimedeltaIndex)) or len(index) < 2:
        return
    steps = np.diff(index.asi8)
    periods = isinstance(index, pd.PeriodIndex)  # which have a frequency and may have gaps
    if (steps == steps[0]).all() or (not periods and (index.freq is not None or frequency(index) is not None)):
        return
    advice = (
        "a window would count rows, not time. Make the times regular (data.asfreq, data.resample) and treat what is then missing"
        f", or {otherwise}"
    )
    every, expected = (None, None) if periods else _by_calendar(index)
    if every is not None:
        row = int(np.flatnonzero(index != expected)[0])
        holidays = "; holidays: data.asfreq(pandas.offsets.CustomBusinessDay(holidays=[...]))" if every == "B" else ""
        raise ValueError(
            f"row {row} of {name}, {index[row]}, comes where {expected[row]} would at the frequency {every!r} of the rows: "
            f"{advice}{holidays}"
        )
    values, counts = np.unique(steps, return_counts=True)
    usual = values[counts.argmax()]
    row = int(np.flatnonzero(steps != usual)[0]) + 1
    count = int(np.count_nonzero(steps != usual))
    distance = index[row] - index[row - 1]
    first_usual = int(np.flatnonzero(steps == usual)[0])
    expected = index[first_usual + 1] - index[first_usual]
    raise ValueError(
        f"row {row} of {name}, {index[row]}, comes {distance} after the row above, where {expected} is usual ({count} such "
        f"rows): {advice}"
    )


def check_order(index, name: str = "data") -> None:
    """Raise ValueError unless times rise from row to row, and numbers rise or fall, naming the first row that does not."""
    pd = sys.modules.get("pandas")
    if pd is None or not isinstance(index, pd.Index) or len(index) < 2:
        return
    if not isinstance(index, (pd.DatetimeIndex, pd.PeriodIndex, pd.TimedeltaIndex)):
        _check_numbered(index, name)
        return
    if index.hasnans:
        row = int(np.flatnonzero(index.isna())[0])
        raise ValueError(f"{name} has no time in row {row} (NaT); drop such rows or correct the index")
    steps = np.diff(index.asi8)
    for wrong, what, advice in (
        (steps == 0, "has the same time as the row above", "drop or average duplicates"),
        (
            steps < 0,
            "is earlier than the row above",
            "sort by time (sort_index); of several series, take one at a time",
        ),
    ):
        if wrong.any():
            row = int(np.flatnonzero(wrong)[0]) + 1
            count = int(np.count_nonzero(wrong))
            more = f" ({count} rows in all)" if count > 1 else ""
            raise ValueError(f"row {row} of {name}, {index[row]}, {what}{more}; {advice}")


def _check_numbered(index, name):
    """Raise ValueError for row numbers that change direction or repeat, as those of concatenated or shuffled tables do."""
    if getattr(index.dtype, "kind", "O") not in "iuf":
        return
    labels = as_numeric(index, f"the index of {name}")
    rising = labels[1:] > labels[:-1]
    wrong = ~rising if rising[0] else ~(labels[1:] < labels[:-1])
    if wrong.any():
        row = int(np.flatnonzero(wrong)[0]) + 1
        raise ValueError(
            f"row {row} of {name} has the index {index[row]} after {index[row - 1]}: rows are not in order of time, or of several "
            "series. Sort them (sort_index) and take one series at a time; number rows that are in order, reset_index(drop=True)"
        )


def frequency(index) -> str | None:
    """Return the frequency that pandas infers of times, such as months, or None."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pandas 3 warns that the answer's type will change
        every = index.inferred_freq if len(index) > 2 else None
    return every if every is None or isinstance(every, str) else every.freqstr


def _by_calendar(index):
    """Return the calendar frequency of a part of some times, such as business days, and its times from the first on, or Nones."""
    import pandas as pd

    for first in np.unique(np.linspace(0, max(0, len(index) - PART), PARTS).astype(int)):
        part = index[first : first + PART]
        every = frequency(part)
        if every is None or len(set(np.diff(part.asi8))) == 1:
            continue
        with contextlib.suppress(ValueError, OverflowError):  # times beyond what pandas has
            return every, pd.date_range(index[0], periods=len(index), freq=every, unit=index.unit)
    return None, None
