"""Parts of a table one after another: by shares, rows or times."""

import itertools

import numpy as np

from numbarnn.checks import brief, check_integer, check_real, to_list


def cut_rows(rows_in_all: int, index, *, fractions=None, rows=None, dates=None, empty=False) -> list[int]:
    """Return the first row of each part after the first; arguments and errors are those of `Windows.split`.

    `empty`: whether parts may have no rows, as one series of many may end before the others.
    """
    if sum(cut is not None for cut in (fractions, rows, dates)) != 1:
        raise ValueError("give one of fractions, rows and dates")
    if fractions is not None:
        fractions = to_list(fractions, "fractions", "numbers")
        shares = [check_real(fraction, f"fractions[{k}]") for k, fraction in enumerate(fractions)]
        if not shares or not (min(shares) > 0 and abs(sum(shares) - 1) <= 1e-9):  # NaN is neither
            raise ValueError(f"fractions must be positive and add up to 1, got {brief(fractions)}")
        cuts = [int(rows_in_all * sum(shares[:k]) + 1e-9) for k in range(1, len(shares))]
    elif rows is not None:
        cuts = [check_integer(row, f"rows[{k}]", 0) for k, row in enumerate(to_list(rows, "rows", "row numbers"))]
    else:
        import pandas as pd

        dates = to_list(dates, "dates", "times")
        if isinstance(index, pd.PeriodIndex):
            cuts = [int(index.searchsorted(_as_time(pd.Period, date, k, index.freq))) for k, date in enumerate(dates)]
        elif isinstance(index, pd.DatetimeIndex):
            cuts = [int(index.searchsorted(_time_in(index.tz, date, k))) for k, date in enumerate(dates)]
        else:
            raise ValueError(
                "dates takes times only of data with a DatetimeIndex or PeriodIndex; cut by rows or fractions"
            )
    cuts = [min(cut, rows_in_all) for cut in cuts] if empty else cuts
    edges = [0, *cuts, rows_in_all]
    if any(a > b if empty else a >= b for a, b in itertools.pairwise(edges)):
        what = "fractions" if fractions is not None else "rows" if rows is not None else "dates"
        raise ValueError(
            f"{what} must make parts that have rows and are in order; they would begin at rows {edges[:-1]} of {rows_in_all}"
        )
    return cuts


def _as_time(kind, date, position, *options):
    """Return an entry of `dates` as a Timestamp or Period; raise ValueError unless it is one time."""
    import pandas as pd

    try:
        # A number would be nanoseconds since 1970.
        time = None if isinstance(date, (bool, int, float, np.number, np.bool_)) else kind(date, *options)
    except (TypeError, ValueError, OverflowError):
        time = None
    if time is None or time is pd.NaT:
        raise ValueError(f"dates[{position}] must be a time, such as '2024-12-31' or a datetime, got {brief(date)}")
    return time


def _time_in(zone, date, position):
    """Return a date as a time that can be compared with times in a zone, or None; one without a zone is in that zone."""
    import pandas as pd

    time = _as_time(pd.Timestamp, date, position)
    if zone is None and time.tzinfo is not None:
        raise ValueError(
            f"dates[{position}] is {time}, in the zone {time.tzinfo}; the data have times without a zone (naive): give it without "
            "a zone, as they are"
        )
    return time.tz_localize(zone) if zone is not None and time.tzinfo is None else time
