"""Clock: the frequency of an index, the labels after its last, the rows of a season, and its form in files."""

import contextlib
import datetime
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from numbarnn.checks import brief
from numbarnn.data import tables

# Rows of a season by the frequency of the rows, for `Forecaster(season="auto")`.
SEASONS = {"h": 24, "D": 7, "B": 5, "C": 5, "W": 52, "M": 12, "MS": 12, "ME": 12, "Q": 4, "QS": 4, "QE": 4}
DAY = 86400  # seconds: a row more often than hourly has a season of a day
UNITS = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}  # of pandas' times, in a second
LARGEST = 2**62  # row number, so that int64 holds those after it too


@dataclass(frozen=True)
class Clock:
    """Frequency of an index: a pandas frequency, or a step between integers; or none, of irregular rows."""

    kind: str  # "times", "periods" or "numbers"
    every: str | int | None  # pandas frequency, or the step between the integers; irregular: that of periods, else None
    zone: str | None = None
    name: str | int | None = None
    weekmask: str | None = None  # of business days with holidays, which the name of their frequency does not tell
    holidays: Sequence[str] = ()
    regular: bool = True

    @classmethod
    def of(cls, index, regular: bool = True) -> "Clock":
        """Return the clock of an index; with `regular` False rows may follow each other at any distance."""
        import pandas as pd

        name = index.name if isinstance(index.name, (str, int, type(None))) else str(index.name)
        if isinstance(index, pd.PeriodIndex):
            return cls("periods", index.freqstr, None, name, regular=regular)
        if isinstance(index, pd.DatetimeIndex):
            if not regular:
                return cls("times", None, _zone_name(index.tz), name, regular=False)
            every = tables.frequency(index) if index.freq is None else index.freq.freqstr
            if every is None and len(index) < 2:
                raise ValueError("the index has one time, which has no frequency; pass more rows")
            if every is None:
                every = pd.tseries.frequencies.to_offset(index[1] - index[0]).freqstr
            return cls("times", every, _zone_name(index.tz), name, *_days(index.freq))
        every = 1
        if index.dtype.kind not in "iu":
            raise TypeError(
                f"the index must be a DatetimeIndex, a PeriodIndex or integers, got {index.dtype}; pandas.to_datetime makes times "
                "of text"
            )
        if not regular:
            return cls("numbers", None, None, name, regular=False)
        if len(index) > 1:
            steps = np.diff(_row_numbers(index))
            every = int(steps[0])
            if not (steps == every).all() or every == 0:
                row = int(np.flatnonzero(steps != steps[0])[0]) + 1 if every else 1
                raise ValueError(
                    f"the index rises by {steps[0]} and then, at row {row}, by {steps[row - 1]}; number the rows evenly, or "
                    "use times"
                )
        return cls("numbers", every, None, name)

    def after(self, index, count):
        """Return the `count` labels after an index; of irregular rows, whose times are not known, how many rows ahead they are."""
        import pandas as pd

        if not self.regular:
            return pd.RangeIndex(1, count + 1, name="ahead")
        last = index[-1]
        if self.kind == "times":
            every = self.every
            if self.weekmask is not None:
                days = pd.tseries.frequencies.to_offset(every).n
                every = pd.offsets.CustomBusinessDay(days, weekmask=self.weekmask, holidays=list(self.holidays))
            return pd.date_range(last, periods=count + 1, freq=every, name=self.name, unit=index.unit)[1:]
        if self.kind == "periods":
            return pd.period_range(last, periods=count + 1, freq=self.every, name=self.name)[1:]
        return pd.Index(int(last) + self.every * np.arange(1, count + 1), name=self.name)

    def next(self, index, label, name="time"):
        """Return the label of the row after irregular ones as an index; raise TypeError or ValueError unless it comes later."""
        import pandas as pd

        kinds = {
            "times": pd.DatetimeIndex,
            "periods": lambda labels: pd.PeriodIndex(labels, freq=self.every),
            "numbers": pd.Index,
        }
        number = isinstance(label, (int, np.integer)) and not isinstance(label, bool)
        if label is None or number != (self.kind == "numbers"):
            raise TypeError(f"{name} must be that of the row, which comes after {index[-1]}, got {brief(label)}")
        try:
            found = self.aligned(kinds[self.kind]([label]), name)
        except (TypeError, ValueError) as error:
            if str(error).startswith(name):
                raise
            raise ValueError(
                f"{name} must be that of the row, which comes after {index[-1]}, got {brief(label)}"
            ) from None
        if found.hasnans or not found[0] > index[-1]:
            raise ValueError(f"{name} must be after the last row, that of {index[-1]}, got {brief(label)}")
        return found

    def aligned(self, index, name="data"):
        """Return an index of this clock's kind with its times converted to this clock's zone.

        Raises
        ------
        ValueError
            If the index is of another kind or period, or has times with a zone and the clock without, or the other way round.
        """
        import pandas as pd

        kinds = {pd.PeriodIndex: "periods", pd.DatetimeIndex: "times"}
        kind = kinds.get(type(index), "numbers")
        if kind != self.kind or (kind == "numbers" and index.dtype.kind not in "iu"):
            raise ValueError(
                f"{name} must have an index of {self.kind}, as the data passed to fit, got {type(index).__name__} of {index.dtype}"
            )
        if kind == "periods" and index.freqstr != self.every:
            raise ValueError(
                f"{name} must have periods of the frequency {self.every!r}, as the data passed to fit, got {brief(index.freqstr)}"
            )
        if kind == "numbers":
            numbers = _row_numbers(index)
            return index if index.dtype == numbers.dtype else pd.Index(numbers, name=index.name)
        if kind != "times":
            return index
        if self.zone is None and index.tz is not None:
            raise ValueError(
                f"{name} has times in the zone {index.tz}, the data passed to fit had times without a zone (naive); convert them "
                f"to that zone and drop it: {name}.tz_convert(ZONE).tz_localize(None)"
            )
        if self.zone is not None and index.tz is None:
            raise ValueError(
                f"{name} has times without a zone (naive), the data passed to fit had times in the zone {self.zone}; localize "
                f"them, such as {name}.tz_localize({self.zone!r})"
            )
        return index if self.zone is None else index.tz_convert(self.zone)

    def check(self, index, name="data"):
        """Raise ValueError unless an `aligned` index has the frequency of this clock, naming the first row that does not.

        Irregular rows are in order already (`tables.check_order`), but numbers that fall are not times.
        """
        if len(index) < 2:
            return
        if not self.regular:
            if index[1] <= index[0]:
                raise ValueError(
                    f"row 1 of {name} has the index {index[1]} after {index[0]}; with irregular='elapsed' it must rise from row to "
                    "row: sort it (sort_index)"
                )
            return
        expected = index[:1].append(self.after(index[:1], len(index) - 1))
        wrong = np.flatnonzero(index != expected)
        if len(wrong):
            row = int(wrong[0])
            every = f"by {self.every}" if self.kind == "numbers" else f"at the frequency {self.every!r}"
            raise ValueError(
                f"{name} must continue {every}, as in the data passed to fit; row {row} is {index[row]}, not {expected[row]}"
            )

    def elapsed(self, index):
        """Return the time between neighbouring rows: seconds, periods, or the differences of numbers, (rows - 1,)."""
        if self.kind == "numbers":
            return np.diff(index.to_numpy()).astype(np.float64)
        steps = np.diff(index.asi8).astype(np.float64)
        return steps if self.kind == "periods" else steps / UNITS[index.unit]

    def season(self):
        """Return the rows of a season, or None where it is unknown."""
        import pandas as pd

        if self.kind == "numbers" or not self.regular:
            return None
        code = self.every.partition("-")[0]
        if code in SEASONS:
            return SEASONS[code]
        try:
            seconds = pd.Timedelta(pd.tseries.frequencies.to_offset(self.every)).total_seconds()
        except ValueError:  # months and years have no one length
            return None
        return round(DAY / seconds) if 0 < seconds < DAY and DAY % seconds == 0 else None

    def to_integers(self, index):
        """Return the labels of an index as integers, for a file; times in the index' own unit."""
        return np.asarray(index if self.kind == "numbers" else index.asi8, np.int64)

    def from_integers(self, values, unit="ns"):
        """Return the index of the integers of a file, times in a unit of pandas: "s", "ms", "us" or "ns"."""
        import pandas as pd

        if self.kind == "times":
            if unit not in ("s", "ms", "us", "ns"):
                raise ValueError(f"times in the unit {unit!r}")
            index = pd.DatetimeIndex(values.astype(f"datetime64[{unit}]"), name=self.name)
            return index if self.zone is None else index.tz_localize("UTC").tz_convert(self.zone)
        if self.kind == "periods":
            periods = pd.arrays.PeriodArray(values, dtype=pd.PeriodDtype(self.every))
            return pd.PeriodIndex(periods, name=self.name)
        return pd.Index(values, name=self.name)


def _row_numbers(index) -> np.ndarray:
    """Return an index of integers as int64; raise ValueError for those that leave no room for the rows after them."""
    if len(index) and not -LARGEST <= int(index.min()) <= int(index.max()) <= LARGEST:
        raise ValueError("the index has integers beyond 2**62; number the rows from 0: data.reset_index(drop=True)")
    return index.to_numpy().astype(np.int64)


def _days(offset):
    """Return weekmask and holidays of an offset of business days that its name does not tell; None and () for others.

    Raises
    ------
    ValueError
        If neither the name nor these tell what the frequency is.
    """
    import pandas as pd

    with contextlib.suppress(ValueError):  # a name that pandas does not read
        if offset is None or pd.tseries.frequencies.to_offset(offset.freqstr) == offset:
            return None, ()
    if type(offset) is pd.offsets.CustomBusinessDay and not offset.offset:
        return offset.weekmask, tuple(str(np.datetime64(day, "D")) for day in offset.holidays)
    raise ValueError(
        f"the index has the frequency {offset!r}, which its name {offset.freqstr!r} does not tell; give it another, such as "
        "data.asfreq('B')"
    )


def _zone_name(zone):
    """Return the name of a time zone by which pandas finds it again, on any machine; None for None."""
    import pandas as pd

    if zone is None:
        return None
    offset = zone.utcoffset(None)  # None where the offset depends on the time
    # A fixed offset may bear the name of a zone with summer time, such as "CET"; "tzlocal()" is another zone elsewhere.
    name = str(zone) if offset is None else str(datetime.timezone(offset))
    with contextlib.suppress(KeyError, ValueError, OSError):  # of pandas, for a name that it cannot find
        if name != "tzlocal()" and pd.Timestamp(0, tz=name).tz is not None:
            return name
    raise ValueError(
        f"the time zone {zone!r} of the index has no name that pandas knows on every machine; convert the index to one that has, "
        "such as data.tz_convert('Europe/Berlin')"
    )
