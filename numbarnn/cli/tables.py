"""Tables of files: the options that say how they are written, and what was guessed of them, said."""

import numpy as np

from numbarnn.cli.common import source
from numbarnn.cli.parser import text_option
from numbarnn.data import dialects, readers
from numbarnn.data.encodings import shown


def add_options(parser) -> None:
    """Add the options that say how a CSV file is read."""
    text_option(
        parser, "--time", action="append", metavar="COL",
        help="column of the times; repeat it for columns that make a time together, such as year, month, day and hour "
        "(default: what reads as times)",
    )  # fmt: skip
    text_option(
        parser, "--time-format", metavar="FORMAT",
        help="format of the times, such as %%d/%%m/%%Y (default: the only one by which all read)",
    )  # fmt: skip
    text_option(parser, "--id", metavar="COL", help="column that says which of many series a row belongs to")
    text_option(
        parser, "--sep", type=character, metavar="C",
        help="separator of columns, such as ; or tab, or space for any spaces (default: guessed)",
    )  # fmt: skip
    text_option(parser, "--decimal", type=character, metavar="C", help="decimal point (default: guessed)")
    text_option(
        parser, "--thousands", type=character, metavar="C", help="separator of thousands (default: guessed, mostly none)"
    )  # fmt: skip
    parser.add_argument(
        "--encoding", metavar="NAME", help="of the file, such as latin-1 (default: utf-8, or what its first bytes say)"
    )


def character(text):
    """Return a character of the command line, which has no tabs and loses spaces."""
    return {"tab": "\t", "\\t": "\t", "space": " ", "comma": ",", "semicolon": ";"}.get(text, text)


def read(options, path, note, series=None, given=None):
    """Return the table of a CSV file, indexed by time, or by series and time; say what it is and what was guessed.

    Parameters
    ----------
    options : Namespace
        With those of `add_options`.
    path : Path
    note : callable
        Takes a line.
    series : str, optional
        Column of the series; None: that of the options.
    given : str, optional
        Column of the times where the options name none, if there is such a column.
    """
    file = source(path)
    how, said = dialects.guessed(file, options.sep, options.decimal, options.thousands, options.encoding)
    time = options.time[0] if options.time and len(options.time) == 1 else options.time
    if time is None and given is not None and given in _header(file, how):
        time = given
    series = series or options.id
    frame = readers.read_series(
        file, time, id=series, format=options.time_format, sep=how.sep, decimal=how.decimal, thousands=how.thousands,
        encoding=how.encoding,
    )  # fmt: skip
    note(_about(frame, shown(file).strip("'"), series, time is None, said))
    return frame


def _header(file, how):
    return next((fields for _, fields in how.fields(dialects.lines_of(file, how.encoding, 10))), [])


def _about(frame, name, series, guessed, said):
    """Return a line on a table."""
    index = frame.index if series is None else frame.index.get_level_values(1)
    text = f"{name}: {len(frame):,} row{'s' * (len(frame) != 1)}"
    if series is not None:
        count = frame.index.get_level_values(0).nunique()
        text += f" of {count:,} series ({series})"
    if index.dtype.kind == "M":
        times = "the first column" if index.name is None else index.name
        text += f", times from {times}{' (guessed)' * guessed}: {index.min()} to {index.max()}"
    elif index.name is not None or not guessed:
        text += f", numbered by {index.name}: {index.min()} to {index.max()}"
    else:
        text += ", no column of times, so rows are numbered"
    return f"{text}{f'; guessed: {chr(44).join([chr(32) + part for part in said])[1:]}' if said else ''}."


def numeric(frame, note, keep=()):
    """Return the numeric columns of a table; say which are left out, and why.

    keep : names of columns that stay also where they number the rows.
    """
    chosen = frame.select_dtypes(include=[np.number, "bool"])
    left = [name for name in frame.columns if name not in chosen.columns]
    if left:
        whys = [first_word(frame[name]) for name in left]
        shown_names = (f"{name}{f' ({why})' if why else ''}" for name, why in zip(left, whys, strict=True))
        note(f"Left out, since they are not numeric: {', '.join(shown_names)}.")
    counters = [name for name in chosen.columns if name not in keep and _counts(chosen[name])]
    if counters and len(counters) < chosen.shape[1]:
        note(f"Left out, since they number the rows: {', '.join(map(str, counters))}; --columns takes them in.")
        chosen = chosen.drop(columns=counters)
    return chosen


def first_word(column) -> str:
    """Return what of a column that is mostly numbers is none, and in which row; "" for a column of words."""
    known = column.reset_index(drop=True).dropna().astype(str).str.strip()
    words = ~known.str.fullmatch(r"[+-]?(\d+[.,]?\d*|[.,]\d+)([eE][+-]?\d+)?")
    if not words.any() or words.mean() > 0.5:
        return ""
    return f"{known[words].iloc[0]!r} in row {known.index[words.to_numpy()][0]}"


def _counts(column):
    """Return whether a column is 1, 2, 3, ... or 0, 1, 2, ..., the numbers of rows."""
    values = column.to_numpy()
    if len(values) < 3 or values.dtype.kind not in "iu" or values[0] not in (0, 1):
        return False
    return bool((np.diff(values) == 1).all())
