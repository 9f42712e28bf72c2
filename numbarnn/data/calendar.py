"""Calendar features of series: the time of day, week or year, and holidays."""

import datetime
from collections.abc import Hashable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from numbarnn.checks import brief, check_choice, to_list

if TYPE_CHECKING:
    import pandas as pd

CALENDAR = ("hour", "dayofweek", "dayofyear", "month")


def calendar_features(
    index: Any, features: Sequence[str] = ("hour", "dayofyear"), holidays: Any = ()
) -> "pd.DataFrame":
    """Return the time of day, week or year as sine and cosine, and holidays as 0 and 1, in the time zone of the index.

    Parameters
    ----------
    index : DatetimeIndex, PeriodIndex, or a Series or DataFrame that has one
    features : sequence of {"hour", "dayofweek", "dayofyear", "month"}
        Cycles: "hour" of a day (minutes count), "dayofweek" of a week from Monday, "dayofyear" of a year from
        1 January, "month" of a year in twelve steps.
    holidays : list of dates, or mapping of names to lists of dates
        Dates are strings such as "2024-12-25", or objects of datetime, pandas or NumPy. A row is on a holiday if the date of its
        time, in the zone of the index, is one of them; that of a period is the date of its beginning.

    Returns
    -------
    pandas.DataFrame
        Columns ``hour_sin``, ``hour_cos`` and so on: sin and cos of 2 pi times the share of the cycle that has passed. For each
        name of holidays a column of 0 and 1; that of a list is ``holiday``.

    Raises
    ------
    TypeError, ValueError
        If the index has no times, a feature is none of the four, or a holiday is not a date.

    Examples
    --------
    >>> import pandas as pd
    >>> times = pd.date_range("2024-01-01 06:00", periods=2, freq="12h")
    >>> calendar_features(times, ["hour"])["hour_sin"].round(3).tolist()
    [1.0, -1.0]
    >>> days = pd.date_range("2024-12-24", periods=3)
    >>> calendar_features(days, [], holidays=["2024-12-25"])["holiday"].tolist()
    [0.0, 1.0, 0.0]
    """
    import pandas as pd

    index = index.index if isinstance(index, (pd.Series, pd.DataFrame)) else index
    if isinstance(index, pd.PeriodIndex):
        times = index.to_timestamp()
    elif isinstance(index, pd.DatetimeIndex):
        times = index
    else:
        raise TypeError(f"index must be a DatetimeIndex or PeriodIndex, or of data that have one, got {brief(index)}")
    features, holidays = check_features(features), check_holidays(holidays)
    day = (times.hour * 3600 + times.minute * 60 + times.second).to_numpy() / 86400
    columns = {}
    for name in features:
        if name == "hour":
            turn = day
        elif name == "dayofweek":
            turn = (times.day_of_week.to_numpy() + day) / 7
        elif name == "dayofyear":
            turn = (times.day_of_year.to_numpy() - 1 + day) / np.where(times.is_leap_year, 366, 365)
        else:
            turn = (times.month.to_numpy() - 1) / 12
        columns[f"{name}_sin"] = np.sin(2 * np.pi * turn)
        columns[f"{name}_cos"] = np.cos(2 * np.pi * turn)
    dates = times.tz_localize(None).normalize()
    for name, days in holidays.items():
        columns[name] = dates.isin(pd.DatetimeIndex(days)).astype(np.float64)
    return pd.DataFrame(columns, index=index)


def check_features(features) -> list[str]:
    """Return names of calendar features as a list; raise TypeError or ValueError unless all are some of the four."""
    found = [features] if isinstance(features, str) else to_list(features, "features", "names")
    for position, name in enumerate(found):
        check_choice(name, f"features[{position}]", CALENDAR)
    return found


def check_holidays(holidays) -> dict[Hashable, list[str]]:
    """Return holidays as ISO dates by name; raise TypeError or ValueError unless they are dates, or lists of dates by name."""
    named = holidays if isinstance(holidays, Mapping) else {"holiday": _dates(holidays, "holidays")}
    if named == {"holiday": []}:
        return {}
    for name in named:
        if not isinstance(name, str):
            raise TypeError(f"holidays must have names that are strings, got {brief(name)}")
    return {
        name: sorted({_date(day, name) for day in _dates(days, f"holidays[{name!r}]")}) for name, days in named.items()
    }


def _dates(days, name):
    return to_list(days, name, "dates, such as ['2024-12-25']")


def _date(day, name) -> str:
    """Return a date in ISO form."""
    import pandas as pd

    wrong = f"holidays must be dates, such as '2024-12-25', got {brief(day)} in {name!r}"
    if not isinstance(day, (str, datetime.date, np.datetime64)):  # a number would be nanoseconds since 1970
        raise TypeError(wrong)
    try:
        time = pd.Timestamp(day)
    except (ValueError, OverflowError):
        raise ValueError(wrong) from None
    if time is pd.NaT or time != time.normalize() or time.tzinfo is not None:
        raise ValueError(f"{wrong}; give the day alone, in the time zone of the data")
    return str(time.date())
