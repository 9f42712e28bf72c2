"""Tables of the commands that forecast: rows ahead, forms of many series, results as text and as CSV."""

import sys

from numbarnn.cli.common import DASH, raw_output
from numbarnn.core.replacing import replace
from numbarnn.errors import printable


def note_to(options):
    """Return what takes lines about a file: standard output, or standard error where the results go there."""
    file = sys.stderr if options.output == DASH else sys.stdout
    return lambda line: print(printable(line), file=file, flush=True)


def long_table(frame, name=None):
    """Return a table of many series as a long one, and one of a single series as it is.

    name : of the column of the series; None: that of the index.
    """
    if frame.index.nlevels == 1:
        return frame
    name = name or frame.index.names[0]
    frame = frame.rename_axis(index=[name, *frame.index.names[1:]])
    return frame.reset_index(level=0)


def split_ahead(frame, targets, future, note):
    """Return the rows up to the last with a target, and the columns known ahead of those after it, None without."""
    if not future:
        return frame, None
    empty = frame[targets].isna().all(axis=1).astype(int)[::-1]
    below = empty.groupby(level=0, sort=False).cummin() if frame.index.nlevels > 1 else empty.cummin()
    tail = below[::-1].to_numpy(bool)
    if not tail.any():
        return frame, None
    note(f"Ahead, since they have no targets: {tail.sum():,} rows at the end.")
    return frame[~tail], frame.loc[tail, list(future)]


def unknown_ahead(forecaster) -> str:
    """Return in words what must be known of the rows ahead."""
    rows = forecaster.delay + forecaster.horizon - 1
    known = ", ".join(map(str, forecaster.future))
    return f"{known} of the {rows} rows after the data must be known: add these rows to the file, their targets empty"


def flat_columns(found):
    """Return forecasts with names of one level: the target, "target lower", "target upper"."""
    if found.columns.nlevels > 1:
        found = found.copy()
        found.columns = [" ".join(map(str, (name, *([] if s == "forecast" else [s])))) for name, s in found.columns]
    return found


def as_text(table) -> str:
    """Return a table of results as text."""
    return table.to_string(float_format=lambda value: f"{value:.4g}")


def write_table(path, table, series=None):
    """Write a table of results as CSV, to standard output for ``-``."""
    label = "time" if "time" not in table.columns else "row"
    text = table.to_csv(index_label=label if table.index.nlevels == 1 else [series or "series", label])
    if path == DASH:
        raw_output().write(text)
    else:
        replace(path, text.encode())
