"""Calendar features of series: the time of day, week or year."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from numbarnn.checks import brief, check_choice, to_list

if TYPE_CHECKING:
    import pandas as pd

CALENDAR = ("hour", "dayofweek", "dayofyear", "month")


def calendar_features(index: Any, features: Sequence[str] = ("hour", "dayofyear")) -> "pd.DataFrame":
    """Return the time of day, week or year as sine and cosine, in the time zone of the index if it has one.

    Parameters
    ----------
    index : DatetimeIndex, PeriodIndex, or a Series or DataFrame that has one
    features : sequence of {"hour", "dayofweek", "dayofyear", "month"}
        Cycles: "hour" of a day (minutes count), "dayofweek" of a week from Monday, "dayofyear" of a year from
        1 January, "month" of a year in twelve steps.

    Returns
    -------
    pandas.DataFrame
        Columns ``hour_sin``, ``hour_cos`` and so on: sin and cos of 2 pi times the share of the cycle that has passed.

    Raises
    ------
    TypeError, ValueError
        If the index has no times, or a feature is none of the four.

    Examples
    --------
    >>> import pandas as pd
    >>> times = pd.date_range("2024-01-01 06:00", periods=2, freq="12h")
    >>> calendar_features(times, ["hour"])["hour_sin"].round(3).tolist()
    [1.0, -1.0]
    """
    import pandas as pd

    index = index.index if isinstance(index, (pd.Series, pd.DataFrame)) else index
    if isinstance(index, pd.PeriodIndex):
        times = index.to_timestamp()
    elif isinstance(index, pd.DatetimeIndex):
        times = index
    else:
        raise TypeError(f"index must be a DatetimeIndex or PeriodIndex, or of data that have one, got {brief(index)}")
    features = check_features(features)
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
    return pd.DataFrame(columns, index=index)


def check_features(features) -> list[str]:
    """Return names of calendar features as a list; raise TypeError or ValueError unless all are some of the four."""
    found = [features] if isinstance(features, str) else to_list(features, "features", "names")
    for position, name in enumerate(found):
        check_choice(name, f"features[{position}]", CALENDAR)
    return found
