"""Categories: the levels of columns, and 0 and 1 for each."""

import numpy as np

from numbarnn.checks import brief

SERIES = "series"  # what `static` calls the series themselves where no column of the data has their names
LEVELS = (str, int, bool)  # types of levels, as files store them


def levels_of(parts, column) -> list:
    """Return the levels of a column of the training parts (Series) in order, missing values left out.

    Raises
    ------
    TypeError, ValueError
        If they are not strings, integers or booleans of one type, or there are none.
    """
    found = {level for part in parts for level in _coded(part, column)[1]}
    kinds = sorted({type(level).__name__ for level in found})
    if len(kinds) > 1:
        raise TypeError(
            f"categories: the column {column!r} has levels of the types {', '.join(kinds)}; make them one type"
        )
    if not found:
        raise ValueError(f"categories: the column {column!r} has no value in the training part; leave it out")
    return sorted(found)


def one_hot(values, levels, column, name="data", ignore=False) -> np.ndarray:
    """Return 0 and 1 for every row and level (rows, levels) of a Series; NaN where the value is missing.

    Raises
    ------
    TypeError, ValueError
        If there is another level and `ignore` is False, naming it.
    """
    codes, found = _coded(values, column)
    known = {(type(level), level): index for index, level in enumerate(levels)}
    index = np.array([known.get((type(level), level), -1) for level in found] + [-2])[codes]
    if (index == -1).any() and not ignore:
        row = int(np.flatnonzero(index == -1)[0])
        raise ValueError(
            f"{name} has the level {brief(found[codes[row]])} in row {row} ({values.index[row]}), column {column!r}, which the "
            f"training part did not have: it had {brief(levels)}; handle_unknown='ignore' makes 0 of every level"
        )
    block = (index[:, None] == np.arange(len(levels))).astype(np.float64)
    block[index == -2] = np.nan
    return block


def _coded(values, column) -> tuple[np.ndarray, list]:
    """Return the indices of the levels of a Series, -1 where it is missing, and the levels as values of Python."""
    import pandas as pd

    codes, found = pd.factorize(values)
    levels = []
    for level in list(found):
        level = level.item() if isinstance(level, np.generic) else level
        if type(level) is float and level.is_integer():  # integers beside missing values
            level = int(level)
        if type(level) not in LEVELS:
            raise TypeError(
                f"categories: the column {column!r} must have strings, integers or booleans, got {brief(level)}; convert it with "
                "astype(str)"
            )
        levels.append(level)
    return codes, levels
