"""Tables of files: the options that say how they are written, and what was guessed of them, said."""

import numpy as np

from numbarnn.cli.common import UserError, source
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
    parser.add_argument("--number-rows", action="store_true", help="number the rows, whatever times they have")
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


def read(options, path, note, series=None, given=None, numbered=False, timed=True):
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
        Column of the times, or columns with spaces between their names, where the options name none and these are there.
    numbered : bool
        Whether rows are numbered, whatever times they have; the options may ask for it too.
    timed : bool
        Whether times matter.
    """
    file = source(path)
    how, said = dialects.guessed(file, options.sep, options.decimal, options.thousands, options.encoding)
    time = options.time[0] if options.time and len(options.time) == 1 else options.time
    if time is None and isinstance(given, str):
        header = _header(file, how)
        if given in header:
            time = given
        elif len(parts := given.split(" ")) > 1 and set(parts) <= set(header):
            time = parts
    series = series or options.id
    frame = readers.read_series(
        file, time, id=series, format=options.time_format, sep=how.sep, decimal=how.decimal, thousands=how.thousands,
        encoding=how.encoding,
    )  # fmt: skip
    name = shown(file).strip("'")
    note(_about(frame, name, series, time is None, said, timed))
    if frame.index.nlevels == 1 and not options.number_rows and frame.index.has_duplicates:
        row = int(np.flatnonzero(frame.index.duplicated())[0])
        raise UserError(
            f"{name} has the time {frame.index[row]} more than once, again in row {row}; name all columns that make a time, "
            "--time A --time B, or the column that says which of many series a row belongs to, --id COL"
        )
    if not options.number_rows and times_of(frame).dtype.kind == "M" and not _in_order(frame):
        note("Sorted by time, since the rows were not.")
        frame = frame.sort_index(level=frame.index.nlevels - 1, kind="stable", sort_remaining=False)
    return _numbered(frame) if options.number_rows or (numbered and times_of(frame).dtype.kind not in "iu") else frame


def times_of(frame):
    """Return the times of a table's rows, or their numbers."""
    return frame.index if frame.index.nlevels == 1 else frame.index.get_level_values(1)


def _in_order(frame):
    """Return whether times rise, those of each series."""
    if frame.index.nlevels == 1:
        return frame.index.is_monotonic_increasing
    times = times_of(frame).to_series(index=frame.index.get_level_values(0))
    return bool(times.groupby(level=0, sort=False).is_monotonic_increasing.all())


def _numbered(frame):
    """Return a table with rows that are numbered, those of each series."""
    if frame.index.nlevels == 1:
        return frame.reset_index(drop=True)
    keys = frame.index.get_level_values(0).to_frame(index=False).iloc[:, 0]
    numbers = keys.groupby(keys, sort=False).cumcount()
    return frame.set_axis(frame.index.from_arrays([keys, numbers], names=[frame.index.names[0], None]))


def _header(file, how):
    return next((fields for _, fields in how.fields(dialects.lines_of(file, how.encoding, 10))), [])


def _about(frame, name, series, guessed, said, timed):
    """Return a line on a table."""
    index = times_of(frame)
    text = f"{name}: {len(frame):,} row{'s' * (len(frame) != 1)}"
    if series is not None:
        count = frame.index.get_level_values(0).nunique()
        text += f" of {count:,} series ({series})"
    if index.dtype.kind == "M":
        times = "the first column" if index.name is None else index.name
        days = (index == index.normalize()).all()
        first, last = (f"{time:%Y-%m-%d}" if days else str(time) for time in (index.min(), index.max()))
        text += f", times from {times}{' (guessed)' * guessed}: {first} to {last}"
    elif index.name is not None or not guessed:
        text += f", numbered by {index.name}: {index.min()} to {index.max()}"
    elif timed:
        text += ", no column of times, so rows are numbered"
    return f"{text}; guessed: {', '.join(said)}." if said else f"{text}."


def numeric(frame, note, keep=(), categories=()):
    """Return the numeric columns of a table, and those of categories; say which are left out, and why.

    keep : names of columns that stay also where they number the rows.
    """
    numbers = set(frame.select_dtypes(include=[np.number, "bool"]).columns)
    chosen = frame[[name for name in frame.columns if name in numbers or name in categories]]
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
