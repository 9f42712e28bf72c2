"""The data of a forecaster as frames of pandas: their columns, times and parts."""

from collections.abc import Hashable

import numpy as np

from numbarnn.checks import brief, naming, to_array, to_list
from numbarnn.core.frames import as_pandas, is_pandas
from numbarnn.data import tables
from numbarnn.data.clock import Clock
from numbarnn.data.cuts import cut_rows
from numbarnn.errors import ShapeError

PARTS = ("train", "validation", "test")


def names_of(given, argument) -> tuple:
    """Return the names of columns as a tuple; raise TypeError unless it is one name or a list of them; ValueError of one twice."""
    names = [given] if isinstance(given, str) else to_list(given, argument, "names of columns")
    found = set()
    for name in names:
        if not isinstance(name, Hashable):
            raise TypeError(f"{argument} must be names of columns, got {brief(name)}")
        if name in found:
            raise ValueError(f"{argument} must name each column once, got {name!r} twice")
        found.add(name)
    return tuple(names)


def place_of(name, key) -> str:
    """Return what messages call an argument, or the rows of one of its series; None is the key of a single series."""
    return name if key is None else f"{name} of {key!r}"


def aligned_frames(keys, found, categories=(), regular=True) -> tuple[list, Clock]:
    """Return the tables of the data of `fit` as frames of the same columns, their times regular where asked, and their clock."""
    frames = []
    for key, table in zip(keys or [None], found, strict=True):
        where = place_of("data", key)
        frame = as_frame(table, where, categories)
        if regular:
            otherwise = "set irregular='elapsed', or number the rows: data.reset_index(drop=True)"
            tables.check_times(frame.index, where, otherwise=otherwise)
        else:
            tables.check_order(frame.index, where)
        if frames and list(frame.columns) != list(frames[0].columns):
            names = list(frames[0].columns)
            if set(frame.columns) != set(names):
                raise ValueError(
                    f"{where} has the columns {brief(list(frame.columns))}, that of {keys[0]!r} has {brief(names)}"
                )
            frame = frame[names]
        frames.append(frame)
    clock = Clock.of(max(frames, key=len).index, regular)
    for number, frame in enumerate(frames):
        where = "data" if keys is None else f"data of {keys[number]!r}"
        frames[number] = frame = frame.set_axis(
            clock.aligned(frame.index, where)
        )  # the zone as later data and files have it
        clock.check(frame.index, where)
    return frames, clock


def as_frame(data, name="data", categories=()):
    """Return the rows of one series as a DataFrame of numbers of one type, missing ones NaN, the columns of an array numbered.

    The columns of `categories` are as they come.
    """
    import pandas as pd

    data = as_pandas(data, name)
    if categories and is_pandas(data) is None and to_array(data, name).ndim == 2:
        data = pd.DataFrame(to_array(data, name))
    found = [column for column in categories if column in data.columns] if is_pandas(data) == "frame" else []
    if found and not data.columns.is_unique:
        twice = data.columns[data.columns.duplicated()][0]
        raise ShapeError(f"{name} has several columns {twice!r}; give every column a name of its own")
    numbers = data.drop(columns=found) if found else data
    if found and numbers.shape[1] == 0:
        frame = pd.DataFrame(index=data.index)
    else:
        table = _numeric(numbers, name)
        columns = numbers.columns if is_pandas(numbers) == "frame" else list(table.names)
        frame = pd.DataFrame(table.values, index=table.index, columns=columns, copy=False)
    tables.check_one_series(frame.index, name)
    for column in found:
        frame[column] = data[column]
    return frame[list(data.columns)] if found else frame


def _numeric(data, name):
    """Return data as a table of numbers."""
    try:
        return tables.as_table(data, name)
    except TypeError as error:
        if is_pandas(data) == "frame" and all(dtype.kind != "M" for dtype in data.dtypes):
            error.args = (f"{error}; columns of categories are named in categories",)
        raise


def cuts_of(split, index, empty=False):
    """Return the first rows of the parts after the first, which are `empty` where they may have no rows."""
    split = to_list(split, "split", "fractions, such as (0.7, 0.15, 0.15), rows or times")
    if split and all(isinstance(part, float) for part in split):
        with naming("split", "fractions"):
            cuts = cut_rows(len(index), index, fractions=split, empty=empty)
    elif all(isinstance(part, (int, np.integer)) for part in split):
        with naming("split", "rows"):
            cuts = cut_rows(len(index), index, rows=split, empty=empty)
    else:
        with naming("split", "dates"):
            cuts = cut_rows(len(index), index, dates=split, empty=empty)
    if len(cuts) not in (1, 2):
        raise ValueError(f"split must make two or three parts (training, validation, test), got {split}")
    return cuts


def part_names(cuts) -> tuple[str, ...]:
    """Return the names of the parts that cuts make."""
    return PARTS if len(cuts) == 2 else ("train", "test")
