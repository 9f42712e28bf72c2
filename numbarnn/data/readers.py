"""Readers of series from CSV files, into DataFrames indexed by time."""

import os
import warnings
from collections.abc import Sequence

import numpy as np

from numbarnn.checks import brief, check_path, to_list
from numbarnn.data.csv_files import line_of, read_csv
from numbarnn.data.dialects import Csv
from numbarnn.data.encodings import shown
from numbarnn.data.times import called_time, like_times, read_times

JENA_TIME = "Date Time"
JENA_WIND = ("wv (m/s)", "max. wv (m/s)")
JENA_MISSING = -9999.0

# Columns that make a time together, most significant first, and how they are written.
PARTS = {
    "year": "{}",
    "month": "-{:0>2}",
    "day": "-{:0>2}",
    "hour": " {:0>2}",
    "minute": ":{:0>2}",
    "second": ":{:0>2}",
}
# A time of day without a date.
CLOCK = r"\d{1,2}:\d{2}(:\d{2}(\.\d+)?)?( ?[AaPp][Mm])?"


def read_jena(path: str | os.PathLike):
    """Read the Jena climate file (Max Planck Institute for Biogeochemistry), as published.

    420,551 rows of 14 quantities every ten minutes from 1 January 2009 to the end of 2016, with a quoted header and times
    dd.mm.yyyy hh:mm:ss. The value -9999 of the two wind speeds means "no measurement" and becomes NaN.

    Some times are missing or repeated in the published file (420,551 rows, where eight years have 420,768 times ten minutes), which
    `make_windows` refuses unless told ``irregular="ignore"``, as published results did; or make them regular:
    ``frame[~frame.index.duplicated()].asfreq("10min")``.

    Chollet's set-ups (*Deep Learning with Python*), temperature 24 hours ahead, with every sixth row::

        frame = read_jena(path)
        # 1st edition: generator(lookback=1440, step=6, delay=144)
        make_windows(frame, 1440, 150, step=6, target="T (degC)", missing=..., irregular="ignore")
        # 2nd edition: sequence_length=120, sampling_rate=6, delay=6 * (120 + 24 - 1)
        make_windows(frame, 715, 144, step=6, target="T (degC)", missing=..., irregular="ignore")

    Parameters
    ----------
    path : path-like
        The CSV file, also compressed (.gz, .zip).

    Returns
    -------
    pandas.DataFrame
        float64, with a DatetimeIndex called "Date Time".

    Raises
    ------
    FileNotFoundError, IsADirectoryError
        If there is no such file, or a folder of that name.
    ValueError
        If its columns are not those of the Jena file, a row has more fields than the header, or a time cannot be read.
    """
    import pandas as pd

    frame = read_csv(path)
    if JENA_TIME not in frame.columns or "T (degC)" not in frame.columns:
        raise ValueError(f"{os.fspath(path)!r} is not the Jena climate file: it has columns {list(frame.columns)[:6]}")
    times = pd.to_datetime(frame.pop(JENA_TIME), format="%d.%m.%Y %H:%M:%S")
    frame = frame.astype(np.float64)
    for name in JENA_WIND:
        if name in frame.columns:
            frame[name] = frame[name].mask(frame[name] == JENA_MISSING)
    # One block of memory: then windows are views of the frame.
    frame = pd.DataFrame(frame.to_numpy(), columns=frame.columns)
    frame.index = pd.DatetimeIndex(times, name=JENA_TIME)
    return frame


def read_beijing(path: str | os.PathLike):
    """Read the Beijing PM2.5 file of the UCI repository (Liang et al. 2015): hourly weather and PM2.5, 2010 to 2014.

    Parameters
    ----------
    path : path-like
        The CSV file with columns year, month, day, hour, pm2.5, DEWP, TEMP, PRES, cbwd, Iws, Is, Ir.

    Returns
    -------
    pandas.DataFrame
        Hourly values; ``cbwd``, the direction of the wind, stays text. Missing PM2.5 is NaN.

    Raises
    ------
    FileNotFoundError, IsADirectoryError
        If there is no such file, or a folder of that name.
    ValueError
        If a column is missing, or a row has more fields than the header.
    """
    import pandas as pd

    frame = read_csv(path)
    parts = ["year", "month", "day", "hour"]
    if not {*parts, "TEMP"} <= set(frame.columns):
        raise ValueError(f"{os.fspath(path)!r} is not the Beijing file: it has columns {list(frame.columns)[:6]}")
    frame.index = pd.DatetimeIndex(pd.to_datetime(frame[parts]), name="time")
    return frame.drop(columns=[*parts, "No"], errors="ignore")


def read_series(
    path: str | os.PathLike,
    time: str | Sequence[str] | None = None,
    *,
    id: str | None = None,
    format: str | None = None,
    sep: str = ",",
    decimal: str = ".",
    thousands: str | None = None,
    encoding: str = "utf-8",
):
    r"""Read a CSV file with a row for every time, of one series or of many.

    Fields that a row lacks are missing values. One empty field too many at the end of the rows, after a trailing comma, is
    not a column; nor is a last column without name and values.

    Parameters
    ----------
    path : path-like or binary file
        A CSV file with a header, also compressed (.gz, .zip); or one that is open and can be read from its beginning again.
    time : str or sequence of str, optional
        Column of the times, or of integer row numbers; several columns make one time, ["date", "time"] or ["year", "month", "day",
        "hour"]. None: the first column of text that reads as times; else the first of integers that are dates (20241231) or, under
        a name such as "year", years or months in order; else columns named "year", "month", and so on down to "second", together;
        else a first column without a name that has integers in order, as `DataFrame.to_csv` writes an index. Without any, rows are
        numbered from 0.
    id : str, optional
        Column that says which series a row belongs to. Integers without leading zeros are integers, all else is text.
    format : str, optional
        Format of the times, as `pandas.to_datetime` takes it. None: ISO 8601; dates with dots, which are read day first; dates with
        slashes or dashes, where only month first or only day first is possible; dates with names of months; integers that are
        years, years and months (202412) or dates (20241231). Where offsets from UTC differ, times are in UTC.
    sep, decimal : str
        Separator of fields, and decimal point: ";" and "," where numbers have decimal commas. A space stands for any spaces and
        tabs.
    thousands : str, optional
        Separator of groups of three digits.
    encoding : str
        Of the text; a byte order mark is not part of it.

    Returns
    -------
    pandas.DataFrame
        The other columns, indexed by time, or with `id` by series and time, in the order of the file. A column of True and False
        with missing values is float64.

    Raises
    ------
    FileNotFoundError, IsADirectoryError
        If there is no such file, or a folder of that name.
    KeyError
        If there is no column `time` or `id`.
    ValueError
        If there are no rows; if the file has another encoding, separator or decimal point, or is damaged; if a row has more fields
        than the header, naming its line; if times cannot be read, naming row, line and value, or can be read in several ways; if a
        row has no series.

    Warns
    -----
    UserWarning
        If rows are numbered though a column has a name such as "date".

    Examples
    --------
    >>> import io
    >>> read_series(io.BytesIO(b"date;load\n2024-01-01;1,5\n2024-01-02;2,5\n"), sep=";", decimal=",")["load"].tolist()
    [1.5, 2.5]
    >>> file = io.BytesIO(b"shop,date,load\na,2024-01-01,1\na,2024-01-02,2\nb,2024-01-01,3\n")
    >>> read_series(file, "date", id="shop").index.names
    FrozenList(['shop', 'date'])
    """
    if not hasattr(path, "read"):
        check_path(path)
    how, parts = Csv(sep, decimal, thousands, encoding), ()
    if time is not None and not isinstance(time, str):
        parts = tuple(to_list(time, "time", "names of columns"))
        if not parts or not all(isinstance(name, str) for name in parts):
            raise TypeError(f"time must be the name of a column or a list of names, got {brief(time)}")
    if id is not None and not isinstance(id, str):
        raise TypeError(f"id must be the name of a column, got {brief(id)}")
    if format is not None and not isinstance(format, str):
        raise TypeError(f"format must be a str that pandas.to_datetime takes, such as '%d.%m.%Y', got {brief(format)}")
    frame = read_csv(path, how, (*parts, *([] if id is None else [id])))
    if len(frame) == 0:
        raise ValueError(f"{shown(path)} has a header and no rows")
    for argument, names in (("time", parts or (() if time is None else (time,))), ("id", () if id is None else (id,))):
        for name in names:
            if name not in frame.columns:
                raise KeyError(
                    f"{argument} must name a column; {shown(path)} has no {name!r}, it has {', '.join(map(str, frame.columns))}"
                )

    def at(row):
        return f"row {row} (line {line_of(path, how, row)} of {shown(path)})"

    keys = None if id is None else _keys(frame.pop(id), at)
    if parts:
        whole = _one_time(frame, parts)
        frame = frame.drop(columns=list(parts))
        frame.index = read_times(whole, at, format)
        return _by_series(frame, keys)
    names = _likely_times(frame, format) if time is None else [time]
    index, refused = None, None
    for name in names:
        try:
            index = read_times(frame[name], at, format)
            break
        except ValueError as error:
            refused = refused or error
    if index is not None:
        frame = frame.drop(columns=[index.name])
        clocks = [name for name in frame.columns if _is_clock(frame[name])]
        if time is None and clocks and not index.is_unique and keys is None:
            raise ValueError(
                f"column {index.name!r} of {shown(path)} has times more than once, and column {clocks[0]!r} times of day; "
                f"pass both, time={[index.name, clocks[0]]}"
            )
        frame.index = index
    elif refused is not None:
        raise refused
    elif format is not None:
        raise ValueError(
            f"no column of {shown(path)} has times of the format {format!r}; pass the one that has (time=)"
        )
    elif (index := _of_parts(frame, at, keys)) is not None:
        frame = frame.drop(columns=index.name.split(" ")).set_axis(index)
    elif (index := _of_index(frame, at, keys)) is not None:
        frame = frame.drop(columns=frame.columns[0]).set_axis(index)
    elif called := [name for name in frame.columns if called_time(frame[name])]:
        parts = [name for part in PARTS for name in frame.columns if name.strip().lower() == part]
        found = parts if len(parts) > 1 else called[0]
        warnings.warn(
            f"no column of {shown(path)} reads as times, so rows are numbered from 0 and {called[0]!r} is a column like any "
            f"other; if it has the times, pass time={found!r}",
            stacklevel=2,
        )
    return _by_series(frame, keys)


def _keys(column, at):
    """Return the series of the rows: integers where all are written as such, else text."""
    missing = column.isna().to_numpy()
    if missing.any():
        row = int(np.flatnonzero(missing)[0])
        raise ValueError(f"{at(row)} has no series in column {column.name!r}; fill it in, or leave out the row")
    column = column.str.strip()
    integers = column.str.fullmatch(r"-?(0|[1-9]\d{0,17})").all()
    return column.astype(np.int64) if integers else column.astype(object)


def _by_series(frame, keys):
    """Return a table indexed by series and time."""
    import pandas as pd

    if keys is None:
        return frame
    times = frame.index
    if type(times) is pd.RangeIndex:  # no times: the rows of each series are numbered
        times = pd.Index(keys.groupby(keys, sort=False).cumcount().to_numpy())
    frame.index = pd.MultiIndex.from_arrays([keys.to_numpy(), times], names=[keys.name, times.name])
    return frame


def _of_parts(frame, at, keys):
    """Return the times of integer columns named year, month, ... together, None where there are none, or times are repeated."""
    import pandas as pd

    found = {name.strip().lower(): name for name in frame.columns if name.strip().lower() in PARTS}
    names = [found[part] for part in list(PARTS)[: len(found)] if part in found]
    if len(names) < 2 or len(names) < len(found) or any(" " in name for name in names):
        return None
    if not all(pd.api.types.is_integer_dtype(frame[name]) for name in names):
        return None
    parts = frame[names].astype(str)
    repeated = parts.duplicated() if keys is None else parts.assign(series=keys).duplicated()
    return None if repeated.any() else read_times(_one_time(parts, names), at)


def _of_index(frame, at, keys):
    """Return the first column as an index where it has no name and integers in order, as pandas writes an index; else None."""
    import pandas as pd

    first = frame.iloc[:, 0]
    if frame.shape[1] < 2 or first.name != "Unnamed: 0" or keys is not None or not pd.api.types.is_integer_dtype(first):
        return None
    if not (first.is_unique and first.is_monotonic_increasing):
        return None
    return read_times(first, at).rename(None)


def _likely_times(frame, format):
    """Return the names of the columns with times, text columns before numeric ones."""
    import pandas as pd

    names = [name for name in frame.columns if like_times(frame[name], format)]
    return sorted(names, key=lambda name: pd.api.types.is_numeric_dtype(frame[name]))


def _one_time(frame, names):
    """Return columns of text that make a time together as one column, missing where one of them is."""
    parts = [(name.strip().lower(), frame[name].str.strip()) for name in names]
    units = list(PARTS)[: len(names)]
    if {part for part, _ in parts} == set(units):
        parts = sorted(parts, key=lambda part: units.index(part[0]))
        texts = [texts.map(PARTS[unit].format, na_action="ignore") for unit, texts in parts]
        texts += [":00"] * (len(parts) == 4)  # an hour alone is not a time of day
        whole = sum(texts[1:], start=texts[0])
    else:
        whole = parts[0][1]
        for part, texts in parts[1:]:
            hour = (
                part == "hour" and texts.str.fullmatch(r"\d{1,2}").all()
            )  # a date, and an hour that is not a time of day
            whole = whole.str.cat(texts.map("{:0>2}:00".format, na_action="ignore") if hour else texts, sep=" ")
    return whole.rename(" ".join(names))


def _is_clock(column) -> bool:
    """Return whether a column has times of day without dates."""
    import pandas as pd

    known = column.dropna()
    return len(known) > 0 and not pd.api.types.is_numeric_dtype(column) and known.astype(str).str.fullmatch(CLOCK).all()
