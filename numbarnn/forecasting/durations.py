"""How long the rows of a table are, in words."""

from numbarnn.data.clock import Clock

# By the frequencies of pandas without their anchors, of times and of periods.
UNITS = {
    "s": "second", "min": "minute", "h": "hour", "D": "day", "B": "business day", "C": "business day", "W": "week", "M": "month",
    "MS": "month", "ME": "month", "Q": "quarter", "QS": "quarter", "QE": "quarter", "Y": "year", "YS": "year", "YE": "year",
}  # fmt: skip


def row_length(clock: Clock) -> tuple[int, str] | None:
    """Return how many of a unit, such as (15, "minute"), a row of a clock takes; None where rows are numbered, or have no name."""
    if clock.kind == "numbers" or not clock.regular:
        return None
    code = clock.every.partition("-")[0]
    unit = UNITS.get(code.lstrip("0123456789"))
    digits = code[: len(code) - len(code.lstrip("0123456789"))]
    return None if unit is None else (int(digits or 1), unit)
