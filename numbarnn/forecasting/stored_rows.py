"""Last rows of a forecaster's series, their times and their clock, as its file has them."""

import numpy as np

from numbarnn.checks import brief, check_integer
from numbarnn.data.clock import UNITS, Clock
from numbarnn.forecasting.rows import SeenRows
from numbarnn.forecasting.stored import names_in


def rows_out(rows: SeenRows, clock: Clock) -> tuple[dict, dict]:
    """Return the description and the arrays of the last rows of every series."""
    unit = None
    if clock.kind == "times":  # the finest, in which those of all series can be told
        unit = max((index.unit for _, index in rows.tails.values()), key=list(UNITS).index)

    def times(indexes):
        return np.concatenate([clock.to_integers(index if unit is None else index.as_unit(unit)) for index in indexes])

    about = {"unit": unit, "rows": [len(tail) for tail, _ in rows.tails.values()]}
    arrays = {
        "tail": np.concatenate([tail for tail, _ in rows.tails.values()]),
        "tail.times": times(index for _, index in rows.tails.values()),
    }
    if any(len(recent[0]) > len(rows.tails[key][0]) for key, recent in rows.recent.items()):
        values, indexes, measured = zip(*(rows.recent[key] for key in rows.tails), strict=True)
        about["seen"] = [len(index) for index in indexes]
        arrays |= {
            "seen": np.concatenate(values),
            "seen.measured": np.concatenate(measured),
            "seen.times": times(indexes),
        }
    return about, arrays


def tails_of(forecaster, description, arrays, width):
    """Return the last rows of every series and their index, by key, and the clock."""
    keys, clock = description.get("series"), Clock(**description["clock"])
    if keys is None:
        return {None: _tail(forecaster, description, arrays["tail"], arrays["tail.times"], clock, width)}, clock
    keys, counts = names_in(keys, "series"), description["rows"]
    if len(counts) != len(keys) or not all(type(count) is int and count > 0 for count in counts):
        raise ValueError(f"{len(keys)} series of {brief(counts)} rows")
    stops = np.cumsum(counts)
    if stops[-1] != len(arrays["tail"]) or stops[-1] != len(arrays["tail.times"]):
        raise ValueError(f"series of {stops[-1]} rows in all, and {len(arrays['tail'])} rows")
    found = {}
    for key, stop, count in zip(keys, stops, counts, strict=True):
        rows = slice(stop - count, stop)
        found[key] = _tail(forecaster, description, arrays["tail"][rows], arrays["tail.times"][rows], clock, width, 1)
    return found, clock


def recent_of(forecaster, description, arrays, tails, clock, encoding, most):
    """Return the rows that adaptive levels follow, by series; those of the tails where a file has no others."""
    numbers = len(encoding.numbers)
    if "seen" not in description:
        return {key: (values, index, values[:, :numbers]) for key, (values, index) in tails.items()}
    counts, found, first = description["seen"], {}, 0
    total = len(arrays["seen"])
    if (
        not isinstance(counts, list)
        or len(counts) != len(tails)
        or not all(type(count) is int and 0 < count <= most for count in counts)
        or {len(arrays[f"seen{part}"]) for part in ("", ".times", ".measured")} != {sum(counts)}
    ):
        raise ValueError(f"{len(tails)} series with {brief(counts)} of {total} rows since fit")
    for (key, (tail, end)), count in zip(tails.items(), counts, strict=True):
        rows = slice(first, first + count)
        times = arrays["seen.times"][rows]
        values, index = _tail(forecaster, description, arrays["seen"][rows], times, clock, encoding.width, 1)
        measured = arrays["seen.measured"][rows]
        if measured.dtype != np.float64 or measured.shape != (count, numbers) or np.isinf(measured).any():
            raise ValueError(f"measured rows since fit of {measured.dtype} {measured.shape}")
        if not (np.array_equal(values[-len(tail) :], tail, equal_nan=True) and index[-len(end) :].equals(end)):
            raise ValueError("rows since fit that do not end with the last rows")
        found[key], first = (values, index, measured), first + count
    return found


def _tail(forecaster, description, tail, times, clock, width, least=None):
    """Return the last rows of a series and their index."""
    if tail.dtype != np.float64 or tail.ndim != 2 or tail.shape[1] != width or np.isinf(tail).any():
        raise ValueError(
            f"the last rows must be finite, float64 and have {width} columns, got {tail.dtype} {tail.shape}"
        )
    if forecaster.missing == "error" and np.isnan(tail).any():
        raise ValueError("the last rows have missing values, which missing='error' excludes")
    if times.dtype != np.int64 or times.shape != tail.shape[:1]:
        raise ValueError(f"{len(tail)} rows with times {times.dtype} {times.shape}")
    # Before rows are counted one by one.
    if least is None and (forecaster.lookback - 1) // forecaster.step * forecaster.step >= len(tail):
        raise ValueError(f"the last {len(tail)} rows for lookback={forecaster.lookback} in steps of {forecaster.step}")
    _check_clock(clock, forecaster.irregular == "error")
    try:
        index = clock.from_integers(times, description.get("unit", "ns"))
    except OSError as error:  # the name of a folder of time zones
        raise ValueError(f"the time zone {clock.zone!r}: {error}") from None
    if index.hasnans or not index.is_unique or not (index.is_monotonic_increasing or index.is_monotonic_decreasing):
        raise ValueError("the times of the last rows are not in order")
    return tail, index


def _check_clock(clock, regular):
    """Raise TypeError or ValueError unless a clock is one that `Clock.of` makes."""
    import pandas as pd

    if type(clock.name) not in (type(None), str, int):
        raise TypeError(f"the name of the index must be a string or an integer, got {brief(clock.name)}")
    if clock.regular is not regular:
        raise ValueError(
            f"a clock of {'regular' if clock.regular is True else 'irregular'} rows, got {brief(clock.regular)}"
        )
    if not regular and clock.kind in ("times", "numbers"):
        if clock.every is not None:
            raise ValueError(f"irregular rows at the frequency {brief(clock.every)}")
        _check_zone(clock)
        return
    if clock.kind == "numbers":
        if abs(check_integer(clock.every, "the step of the index", -(2**40))) > 2**40 or clock.every == 0:
            raise ValueError(f"the index rises by {clock.every}")
        return
    if clock.kind not in ("times", "periods") or not isinstance(clock.every, str):
        raise ValueError(f"an index of {clock.kind!r} at the frequency {clock.every!r}")
    if clock.kind == "times" and pd.tseries.frequencies.to_offset(clock.every).n < 1:
        raise ValueError(f"the frequency {clock.every!r} does not go forward")
    _check_zone(clock)


def _check_zone(clock):
    # pandas reads any file after "dateutil/".
    if clock.zone is not None and (not isinstance(clock.zone, str) or clock.zone.startswith("dateutil/")):
        raise ValueError(f"no time zone is {clock.zone!r}")
