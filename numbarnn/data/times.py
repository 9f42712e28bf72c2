"""Time columns of files: parsed where exactly one format parses every row, never guessed."""

import itertools

import numpy as np

_DAYS = (
    "%d.%m.%Y", "%m/%d/%Y", "%d/%m/%Y", "%m-%d-%Y", "%d-%m-%Y", "%d %b %Y", "%d-%b-%Y", "%b %d %Y", "%b %d, %Y", "%d %B %Y",
    "%B %d %Y", "%B %d, %Y", "%b %Y", "%B %Y", "%Y-%m",
)  # fmt: skip
_CLOCKS = ("", " %H:%M", " %H:%M:%S", " %H:%M:%S.%f", " %I:%M %p", " %I:%M:%S %p")
# What text is tried as. In some, day and month are swapped, so that a text may be read by two.
FORMATS = ("ISO8601", *map("".join, itertools.product(_DAYS, _CLOCKS)))
# What integers are tried as, by their number of digits.
DIGITS = {4: ("%Y",), 6: ("%Y%m", "%y%m%d"), 8: ("%Y%m%d",)}
LAST_YEAR = 2999
# Integers that are all above are not taken for row numbers: they may be seconds since 1970, year and day of the year, ...
LARGEST_NUMBER = 10**6
# Columns with such a name have times, also where that does not show.
NAMES = {"time", "times", "date", "dates", "datetime", "timestamp", "year", "years", "yearmonth"}
# An offset from UTC after a time of day.
OFFSET = r"[T ]\d\d\S*?\s?(Z|[+-]\d\d(?::?\d\d)?)$"
# Number of texts that decide which formats are tried, and of texts that decide whether a column has times.
FIRST, SOME = 10, 1000
ADVICE = (
    "write times as 2024-12-31 23:50, or pass their format, such as format='%d-%b-%y %H:%M'; integers can be years, 202412 or "
    "20241231 (of seconds since 1970 make times: pandas.to_datetime(frame[name], unit='s'))"
)


def read_times(column, at, format: str | None = None):
    """Return a column as an index of times, or of integers where they are row numbers.

    Text is read as ISO 8601, in UTC where offsets from UTC differ; with dots day first; with slashes or dashes month first or day
    first; with names of months; with a time of day of 24 hours, or of 12 hours with AM and PM. Integers are read as years, as years
    and months (202412) or as dates (20241231); others, unless all are above a million, are row numbers.

    Parameters
    ----------
    column : Series
    at : callable
        Returns how messages name a row, given by its position.
    format : str, optional
        Format of all rows, as `pandas.to_datetime` takes it; None: the only one by which every row can be read.

    Returns
    -------
    pandas.Index
        With the name of the column.

    Raises
    ------
    ValueError
        If a row has no time or cannot be read, or all rows can be read in several ways; with the row, the column, the value, and
        what to do.
    """
    import pandas as pd

    def refuse(row, why):
        value = column.iloc[row]
        shown = repr(value) if isinstance(value, str) else str(value)
        raise ValueError(f"{at(row)} of column {column.name!r}, {shown}, {why}")

    missing, numeric = column.isna(), pd.api.types.is_numeric_dtype(column)
    if missing.any():
        raise ValueError(
            f"{at(_first(missing))} of column {column.name!r} has no time; fill it in, or leave out the row"
        )
    texts = _texts(column)
    if texts is None:
        refuse(_first(~_integral(column)), f"cannot be read as a time; {ADVICE}")
    aware = texts.str.extract(OFFSET, expand=False).notna()
    if aware.nunique() > 1:
        refuse(
            _first(aware != aware.iloc[0]),
            "has an offset from UTC and row 0 has none, or the other way round; give one to all rows",
        )
    found = _readings(texts, numeric, format)
    ways = {}
    for how, times in found.items():
        if not times.isna().any() and not any(times.equals(other) for other in ways.values()):
            ways[how] = times
    if len(ways) > 1 or (format is None and "%y%m%d" in ways):
        options = " or ".join(f"{how!r} (row 0 is then {_shown(times.iloc[0])})" for how, times in ways.items())
        raise ValueError(
            f"column {column.name!r} can be read as {options}; pass the one that is right, such as format={next(iter(ways))!r}, "
            "or write the times as 2024-12-31 23:50"
        )
    if ways:
        return pd.DatetimeIndex(next(iter(ways.values())), name=column.name)
    best = max(found, key=lambda how: found[how].notna().sum(), default=None)
    if best is not None and (format is not None or found[best].notna().mean() >= 0.5):
        refuse(
            _first(found[best].isna()),
            f"cannot be read as a time of the format {best!r}; correct it, or leave out the row",
        )
    if numeric and column.abs().min() <= LARGEST_NUMBER:
        return pd.Index(column.astype(np.int64), name=column.name)
    refuse(0 if best is None else _first(found[best].isna()), f"cannot be read as a time; {ADVICE}")


def like_times(column, format: str | None = None) -> bool:
    """Return whether a column that the user did not name has times, so that it must be parsed or refused.

    Text does where half of it or more reads as times, of a format if one is given. Integers do where half or more are dates
    (20241231) or of that format; under a name such as "year" also where they are years or months in order.
    """
    import pandas as pd

    column = column.dropna()
    texts = _texts(column.iloc[:: max(1, len(column) // SOME)])
    if texts is None or len(texts) == 0:
        return False
    numeric = pd.api.types.is_numeric_dtype(column)
    worded = numeric or ~texts.str.fullmatch(r"\d+")  # a number among words is a code
    hows = [how for how, times in _readings(texts, numeric, format).items() if (times.notna() & worded).mean() >= 0.5]
    if not numeric or format in hows or "%Y%m%d" in hows:
        return bool(hows)
    ordered = column.is_unique and (column.is_monotonic_increasing or column.is_monotonic_decreasing)
    return bool(hows) and called_time(column) and ordered


def called_time(column) -> bool:
    """Return whether a column has a name like "date"."""
    return str(column.name).strip().lower() in NAMES


def _integral(column):
    """Return which values are integers that float64 represents exactly."""
    return np.zeros(len(column), bool) if column.dtype == bool else (column % 1 == 0) & (column.abs() < 2**53)


def _texts(column):
    """Return a column without missing values as text, integers as their digits; None where it has other numeric values."""
    import pandas as pd

    if not pd.api.types.is_numeric_dtype(column):
        return column.astype(str).str.strip()
    return column.astype(np.int64).astype(str) if np.all(_integral(column)) else None


def _readings(texts, numeric, format):
    """Return {format: times, NaT where a text cannot be parsed} of the formats that are tried."""
    if format is not None:
        try:
            return {format: _parsed(texts, format)}
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"format must be one of pandas.to_datetime, such as '%d.%m.%Y %H:%M', got {format!r}: {error}"
            ) from None
    if numeric:
        digits = texts.str.len()
        formats = DIGITS.get(digits.iloc[0], ()) if digits.nunique() == 1 else ()
        found = {how: _parsed(texts, how) for how in formats}
        return {how: times for how, times in found.items() if not (times.dt.year > LAST_YEAR).any()}
    first, found = texts.iloc[:FIRST], {}
    for how in FORMATS:
        if _parsed(first, how).notna().any():
            found[how] = _parsed(texts, how)
            if how == "ISO8601" and found[how].notna().all():
                break
    return found


def _parsed(texts, format):
    """Return texts as times, NaT where they cannot be read, in UTC where their offsets from it differ."""
    import pandas as pd

    utc = texts.str.extract(OFFSET, expand=False).nunique(dropna=False) > 1
    times = pd.to_datetime(texts, format=format, errors="coerce", utc=utc)
    return times.where(texts.str.contains(r"\d"))  # "now" and "today" would be times


def _first(rows) -> int:
    return int(np.flatnonzero(rows)[0])


def _shown(time) -> str:
    return time.isoformat(sep=" ").removesuffix(" 00:00:00")
