"""Saved forecasters on the command line: forecasts of a CSV file by one, and its description."""

from numbarnn.cli import tables
from numbarnn.cli.common import DASH, UserError, shown
from numbarnn.cli.forecast_tables import as_text, flat_columns, long_table, split_ahead, unknown_ahead, write_table
from numbarnn.forecasting import Forecaster


def predict(forecaster: Forecaster, options, note) -> int:
    """Forecast the rows after the end of a table by a saved forecaster."""
    many = None not in forecaster._state.rows.tails
    own = forecaster.id if isinstance(forecaster.id, str) else None
    series = options.id or own
    if many and series is None:
        raise UserError(
            "the forecaster was fitted to many series: name the column that says which one a row belongs to, --id COL"
        )
    clock = forecaster._state.preparation.clock
    time, numbered = forecaster.time or clock.name, clock.kind == "numbers"
    frame = tables.read(options, options.file, note, series, time, numbered)
    ahead = None
    if options.future is not None:
        ahead = tables.read(options, options.future, note, series, time, numbered)
    elif forecaster.future and all(name in frame for name in forecaster.target_names_):
        frame, ahead = split_ahead(frame, forecaster.target_names_, forecaster.future, note)
    frame = _columns_of(forecaster, frame, options.file, note)
    frame, ahead = (None if table is None else _with_levels(forecaster, table) for table in (frame, ahead))
    if forecaster.future and ahead is None:
        raise UserError(f"there is no forecast, since {unknown_ahead(forecaster)}, or pass --future FILE")
    if ahead is not None:
        ahead = ahead[[name for name in forecaster.future if name in ahead.columns]]
    if series is not None and not many:  # one net for each of them, as if it came alone
        found = _each(forecaster, frame, ahead, options)
    else:
        if many:
            new = [
                str(key)
                for key in dict.fromkeys(frame.index.get_level_values(0))
                if key not in forecaster._state.rows.tails
            ]
            if new:
                note(f"Series that were not there in training, scaled by their rows here: {', '.join(new)}.")
        if many and forecaster.id is not None:
            frame, ahead = (None if table is None else long_table(table, forecaster.id) for table in (frame, ahead))
        if forecaster.time is not None and frame.index.nlevels == 1:
            frame.index.name = forecaster.time
        found = _forecast(forecaster, frame, ahead, options)
    found = flat_columns(found)
    if options.output is not None:
        write_table(options.output, found, series)
    if options.output != DASH:
        print(as_text(found))
    return 0


def _forecast(forecaster, frame, ahead, options):
    if options.level is None:
        return forecaster.predict(frame, future=ahead)
    return forecaster.predict_interval(options.level, frame, future=ahead)


def _each(forecaster, frame, ahead, options):
    """Return forecasts of every series by a forecaster of one."""
    import pandas as pd

    found = {}
    for key, part in frame.groupby(level=0, sort=False):
        mine = None if ahead is None else ahead.xs(key, level=0)
        found[key] = _forecast(forecaster, part.droplevel(0), mine, options)
    return pd.concat(found, names=["series"])


def _columns_of(forecaster, frame, path, note):
    """Return the columns that a forecaster was fitted to; those that are not are said."""
    wanted = forecaster.feature_names_
    missing = [name for name in wanted if name not in frame.columns]
    if missing == wanted and len(wanted) == frame.shape[1] == 1:  # a series of another name
        note(f"The column {frame.columns[0]} is taken for {wanted[0]}.")
        return frame.set_axis(wanted, axis=1)
    if missing:
        raise UserError(
            f"{shown(path).strip(chr(39))} lacks columns {missing}; the forecaster was fitted to {', '.join(map(str, wanted))}"
        )
    left = [str(name) for name in frame.columns if name not in wanted]
    if left:
        note(f"Left out, since the forecaster does not know them: {', '.join(left)}.")
    words = {
        name: word
        for name in wanted
        if name not in forecaster.categories
        and frame[name].dtype.kind not in "iufb"
        and (word := tables.first_word(frame[name]))
    }
    for name, word in words.items():
        raise UserError(f"column {name!r} has {word}, which is not a number; correct it, or leave it empty")
    return frame[wanted]


def _with_levels(forecaster, table):
    """Return a table whose categories are strings where those of training were: of fewer rows, all may read as numbers."""
    levels = forecaster._state.preparation.encoding.categories
    texts = [name for name, known in levels.items() if name in table and isinstance(known[0], str)]
    return table.assign(**{name: table[name].astype(object).map(_text, na_action="ignore") for name in texts})


def _text(value):
    """Return a value as the file has it; integers beside missing values are read as floats."""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def describe(forecaster: Forecaster):
    """Print targets, features and windows of a saved forecaster; return its model."""
    targets, features = (", ".join(map(str, names)) for names in (forecaster.target_names_, forecaster.feature_names_))
    print(
        f"forecaster of {targets} from {features}: lookback {forecaster.lookback}, "
        f"delay {forecaster.delay}, horizon {forecaster.horizon}, step {forecaster.step}"
    )
    keys = [str(key) for key in forecaster._state.rows.tails if key is not None]
    if keys:
        print(f"{len(keys):,} series: {', '.join(keys[:10])}{', ...' if len(keys) > 10 else ''}")
    for what, columns in (("known ahead", forecaster.future), ("static", forecaster.static)):
        if columns:
            print(f"{what}: {', '.join(map(str, columns))}")
    return forecaster.model_
