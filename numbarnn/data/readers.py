"""Readers of series from CSV files, into DataFrames indexed by time."""

import csv
import itertools
import os
import warnings

import numpy as np

from numbarnn.data.times import called_time, like_times, read_times

JENA_TIME = "Date Time"
JENA_WIND = ("wv (m/s)", "max. wv (m/s)")
JENA_MISSING = -9999.0


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
    FileNotFoundError
        If there is no such file.
    ValueError
        If its columns are not those of the Jena file, a row has more fields than the header, or a time cannot be read.
    """
    import pandas as pd

    frame = _read_csv(path)
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
    FileNotFoundError
        If there is no such file.
    ValueError
        If a column is missing, or a row has more fields than the header.
    """
    import pandas as pd

    frame = _read_csv(path)
    parts = ["year", "month", "day", "hour"]
    if not {*parts, "TEMP"} <= set(frame.columns):
        raise ValueError(f"{os.fspath(path)!r} is not the Beijing file: it has columns {list(frame.columns)[:6]}")
    frame.index = pd.DatetimeIndex(pd.to_datetime(frame[parts]), name="time")
    return frame.drop(columns=[*parts, "No"], errors="ignore")


def read_series(path: str | os.PathLike, time: str | None = None, *, format: str | None = None):
    """Read a CSV file with a row for every time.

    Fields that a row lacks are missing values. One empty field too many at the end of the rows, after a trailing comma, is
    not a column; nor is a last column without name and values.

    Parameters
    ----------
    path : path-like
        A CSV file with a header, also compressed (.gz, .zip).
    time : str, optional
        Column of the times, or of integer row numbers. None: the first column of text that reads as times, else the first
        of integers that are dates (20241231) or, under a name such as "year", years or months in order; without one, rows are
        numbered from 0.
    format : str, optional
        Format of the times, as `pandas.to_datetime` takes it. None: ISO 8601; dates with dots, which are read day first; dates with
        slashes or dashes, where only month first or only day first is possible; dates with names of months; integers that are
        years, years and months (202412) or dates (20241231). Where offsets from UTC differ, times are in UTC.

    Returns
    -------
    pandas.DataFrame
        The other columns, indexed by time, in the order of the file. A column of True and False with missing values is float64.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    KeyError
        If there is no column `time`.
    ValueError
        If there are no rows; if a row has more fields than the header, naming its line; if times cannot be read, naming row, line
        and value, or can be read in several ways.

    Warns
    -----
    UserWarning
        If rows are numbered though a column has a name such as "date".
    """
    frame = _read_csv(path)
    if len(frame) == 0:
        raise ValueError(f"{os.fspath(path)!r} has a header and no rows")
    if time is not None and time not in frame.columns:
        raise KeyError(f"{os.fspath(path)!r} has no column {time!r}; it has {', '.join(map(str, frame.columns))}")

    def at(row):
        return f"row {row} (line {_line(path, row)} of {os.fspath(path)!r})"

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
        frame.index = index
    elif refused is not None:
        raise refused
    elif format is not None:
        raise ValueError(
            f"no column of {os.fspath(path)!r} has times of the format {format!r}; pass the one that has (time=)"
        )
    elif called := [name for name in frame.columns if called_time(frame[name])]:
        warnings.warn(
            f"no column of {os.fspath(path)!r} reads as times, so rows are numbered from 0 and {called[0]!r} is a column like any "
            f"other; if it has the times, pass time={called[0]!r}",
            stacklevel=2,
        )
    return frame


def _likely_times(frame, format):
    """Return the names of the columns that hold times, text columns before numeric ones."""
    import pandas as pd

    names = [name for name in frame.columns if like_times(frame[name], format)]
    return sorted(names, key=lambda name: pd.api.types.is_numeric_dtype(frame[name]))


def _read_csv(path):
    """Return a CSV file as a DataFrame; refuse rows with more fields than the header, which pandas would shift or cut."""
    import pandas as pd

    with warnings.catch_warnings():
        warnings.simplefilter("error", pd.errors.ParserWarning)
        try:
            # False: the first column is a column also where rows have a field too many.
            frame = pd.read_csv(path, index_col=False, low_memory=False)
        except pd.errors.EmptyDataError:
            raise ValueError(f"{os.fspath(path)!r} is empty") from None
        except (pd.errors.ParserError, pd.errors.ParserWarning) as error:
            raise ValueError(_too_many_fields(path) or f"{os.fspath(path)!r} cannot be read as CSV: {error}") from None
    last = frame.columns[-1]
    if last == f"Unnamed: {frame.shape[1] - 1}" and frame[last].isna().all():
        frame = frame.drop(columns=[last])
    for name in frame.columns:
        known = frame[name].dropna() if frame[name].dtype == object else ()
        if len(known) and all(isinstance(value, bool) for value in known):
            frame[name] = frame[name].astype("boolean").astype("float64")
    return frame


def _too_many_fields(path):
    """Return what is wrong with the first row that has more fields than the header, or None."""
    (_, header), *rows = _records(path)
    long = [(line, fields) for line, fields in rows if len(fields) > len(header)]
    if not long:
        return None
    # A row that would lose values is reported before one whose extra fields are empty.
    line, fields = next((row for row in long if any(map(str.strip, row[1][len(header) :]))), long[0])
    return (
        f"line {line} of {os.fspath(path)!r} has {len(fields)} fields, the header has {len(header)}; every column needs a name in "
        "the header, and a value with a comma quotes"
    )


def _line(path, row):
    """Return the line of the file on which a row ends."""
    return next(itertools.islice(_records(path), row + 1, None))[0]


def _records(path):
    """Yield (line, fields) of the header and the rows of a CSV file, for messages: pandas does not say on which line a row is."""
    import pandas as pd

    # With a separator that no text has, pandas opens and decodes the file as it does for the table, and gives whole lines.
    whole = {"sep": "\x01", "names": ["line"], "index_col": False, "quoting": csv.QUOTE_NONE, "skip_blank_lines": False}
    lines = pd.read_csv(path, dtype=str, na_filter=False, **whole)["line"]
    reader = csv.reader(line + "\n" for line in lines)
    for fields in reader:
        if len(fields) > 1 or (fields and fields[0].strip()):
            yield reader.line_num, fields
