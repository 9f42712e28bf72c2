"""The command ``numbarnn forecast``: train a forecaster on a CSV file and compare it with baselines."""

import dataclasses
import pathlib

from numbarnn.backends.device import DEVICES
from numbarnn.checks import brief
from numbarnn.cli import tables
from numbarnn.cli.common import DASH, UserError, check_writable, shown
from numbarnn.cli.forecast_tables import (
    as_text,
    flat_columns,
    long_table,
    note_to,
    split_ahead,
    unknown_ahead,
    write_table,
)
from numbarnn.cli.parser import names, number, positive, text_option
from numbarnn.data.datasets import weather
from numbarnn.data.windowing import MISSING
from numbarnn.forecasting.forecaster import Forecaster
from numbarnn.layers.kinds import recurrent_names
from numbarnn.training.defaults import MOST_EPOCHS, RATE, UPDATES

DEFAULTS = {field.name: field.default for field in dataclasses.fields(Forecaster)}

EXAMPLES = """examples:
  numbarnn forecast load.csv \\
    --target load --lookback 168 \\
    --delay 1 --horizon 24 --save m.st
  numbarnn forecast shops.csv \\
    --id shop --target sales \\
    --future holiday
  numbarnn predict m.st new.csv"""


def add_command(commands) -> None:
    """Add the command to the subparsers of `numbarnn.cli.main`."""
    parser = commands.add_parser(
        "forecast",
        help="train a forecaster on a CSV file and compare it with simple baselines",
        description="Train a recurrent net to forecast a column of a CSV file, print its errors on the last part of the file "
        "beside those of simple baselines on the same windows, forecast the rows after its end, write forecasts, plot and model. "
        "Without a file it runs on a synthetic hourly weather series.",
        epilog=EXAMPLES,
    )
    parser.add_argument(
        "file", type=pathlib.Path, nargs="?", metavar="FILE",
        help="CSV file with a header, one row per time; - for standard input",
    )  # fmt: skip
    group = parser.add_argument_group("columns")
    text_option(
        group, "--target", action="append", metavar="COL", help="column to forecast; may be repeated (default: all)"
    )
    text_option(
        group,
        "--columns",
        type=names,
        metavar="A,B,...",
        help="columns that the net sees (default: all numeric columns)",
    )
    text_option(
        group, "--future", type=names, metavar="A,B,...",
        help="columns that are known ahead, such as holidays; rows at the end of FILE that have no targets give them for the "
        "time after it",
    )  # fmt: skip
    group.add_argument(
        "--future-file", type=pathlib.Path, metavar="FILE", help="CSV file of the rows ahead, with those columns"
    )
    text_option(
        group,
        "--static",
        type=names,
        metavar="A,B,...",
        help="columns that do not change within a series, such as its size",
    )
    group.add_argument(
        "--calendar", type=names, metavar="A,B,...",
        help="of hour, dayofweek, dayofyear, month (without a file: hour,dayofyear)",
    )  # fmt: skip
    text_option(
        group,
        "--categories",
        type=names,
        metavar="A,B,...",
        help="columns of categories, such as words or numbers of shops",
    )
    text_option(group, "--holidays", type=names, metavar="A,B,...", help="dates, such as 2024-12-25,2025-01-01")
    group.add_argument(
        "--irregular", choices=("error", "elapsed"),
        help=f"rows at irregular times: refused, or the elapsed time is an input {_default('irregular')}",
    )  # fmt: skip
    group.add_argument(
        "--missing", choices=(*MISSING, "mask"), help=f"treatment of missing values {_default('missing')}"
    )
    tables.add_options(parser.add_argument_group("how the file is written"))
    group = parser.add_argument_group("what is forecast from what")
    integer, real = number(int), number(float)
    group.add_argument("--lookback", type=integer, default=72, metavar="N", help="rows of a window")
    group.add_argument(
        "--delay", type=integer, default=24, metavar="N", help="rows from the newest row to the first forecast"
    )
    group.add_argument("--horizon", type=integer, default=1, metavar="N", help="rows that are forecast")
    group.add_argument("--step", type=integer, default=1, metavar="N", help="use every N-th row of a window")
    group.add_argument("--season", type=integer, metavar="N", help="rows of a season (default: from the times)")
    group.add_argument("--difference", type=integer, metavar="N", help="see and learn changes over N rows")
    group.add_argument(
        "--relative", type=integer, metavar="N", help="see values, learn the change against N rows before"
    )
    group.add_argument("--recenter", action="store_true", help="see and learn differences from the newest row")
    group.add_argument(
        "--no-change", action="store_true", help="learn the values themselves (default: what the validation part says)"
    )
    group.add_argument("--recursive", action="store_true", help="forecast row after row from its own forecasts")
    group.add_argument("--split", default="0.7,0.15,0.15", metavar="A,B,C", help="training, validation and test part")
    group.add_argument(
        "--straddle", choices=["drop", "keep"], default="drop", help="windows that begin in the part before"
    )
    group = parser.add_argument_group("the net and its training")
    group.add_argument("--linear", choices=["auto", "all", "shared", "none"], help=f"linear path {_default('linear')}")
    cells = list(recurrent_names())
    what = f"recurrent cell: {', '.join(cells)} {_default('cell')}"
    group.add_argument("--cell", choices=cells, metavar="CELL", help=what)
    for option, kind, metavar, what in (
        ("hidden-size", integer, "N", "units in each layer"),
        ("num-layers", integer, "N", "stacked layers"),
        ("dropout", real, "P", "between layers"),
        ("recurrent-dropout", real, "P", "on the recurrence"),
        ("epochs", integer, "N", "passes through the training part"),
        ("patience", integer, "N", "stop after N epochs without improvement"),
        ("batch-size", integer, "N", "windows a training step"),
        ("learning-rate", positive(float), "R", "of Adam"),
        ("ensemble", integer, "N", "nets whose mean is the forecast"),
    ):
        note = _default(option.replace("-", "_"))
        group.add_argument(f"--{option}", type=kind, metavar=metavar, help=f"{what} {note}")
    group.add_argument("--seed", type=integer, default=0, metavar="N", help="of weights, order and dropout")
    group.add_argument("--threads", type=integer, metavar="N", help="default: all processors")
    group.add_argument("--device", choices=DEVICES, default="cpu", help="where to train")
    group = parser.add_argument_group("what is written")
    group.add_argument("--level", type=real, metavar="P", help="add the bounds of intervals of this level, such as 0.9")
    group.add_argument(
        "-o", "--output", type=pathlib.Path, metavar="CSV",
        help="forecasts of the test part; - for standard output (default: NAME-forecast.csv)",
    )  # fmt: skip
    group.add_argument("--plot", type=pathlib.Path, metavar="PNG", help="plot (default: NAME-forecast.png)")
    group.add_argument("--save", type=pathlib.Path, metavar="MODEL", help="write the forecaster to a safetensors file")
    group.add_argument("--quiet", action="store_true", help="no progress")
    parser.set_defaults(run=run)


def _default(name):
    """Return the words of the help on a default of `Forecaster`."""
    value = DEFAULTS[name]
    if value is None:
        return {
            "epochs": f"(default: as many as make {UPDATES:,} steps, at most {MOST_EPOCHS})",
            "learning_rate": f"(default: {RATE})",
            "patience": "(default: an eighth of the epochs; with --epochs, none)",
        }[name]
    return f"(default: {value})"


def run(options) -> int:
    """Run the command."""
    note = note_to(options)
    if options.level is not None and not 0 < options.level < 1:
        raise UserError(f"--level must be in (0, 1), such as 0.9, got {options.level}")
    frame, ahead, target, name = _data(options, note)
    output = options.output or pathlib.Path(f"{name}-forecast.csv")
    plot = options.plot or pathlib.Path(f"{name}-forecast.png")
    for path in (output, plot, options.save):
        check_writable(path)
    _check_picture(plot)
    forecaster = Forecaster(**_settings(options))
    try:
        split = [float(part) for part in options.split.split(",")]
    except ValueError:
        raise UserError(f"--split must be fractions like 0.7,0.15,0.15, got {brief(options.split)}") from None
    forecaster.fit(frame, target, split=split, straddle=options.straddle, verbose=0 if options.quiet else 1)
    if options.save is not None:  # first: whoever stops the program then has the net
        forecaster.save(options.save)
    dropped = sum(windows.dropped for windows in forecaster._state.evaluation.parts.values())
    if dropped:
        note(f"Left out, since they have missing values: {dropped:,} windows.")
    table, backtest = forecaster.evaluate(), forecaster.backtest(level=options.level)
    times = backtest.index.get_level_values(-1)
    text = [f"\nErrors on the test part, forecasts for {times.min()} to {times.max()}:\n", as_text(table)]
    note("\n".join([*text, f"\n{table.attrs['verdict']}"]))
    write_table(output, backtest, options.id)
    written = [] if output == DASH else [f"forecasts of the test part to {output}"]
    written += [f"a plot to {plot}"] if _draw(forecaster, backtest, plot, note) else []
    written += [] if options.save is None else [f"the forecaster to {options.save}"]
    note(f"\nAfter the end of the data:\n\n{_after(forecaster, options.level, ahead)}")
    if written:
        note(f"\nWrote {', '.join(written)}.")
    return 130 if forecaster._state.interrupted else 0


def _settings(options):
    """Return the arguments of `Forecaster` that the options are."""
    given = {name: getattr(options, name) for name in DEFAULTS if getattr(options, name, None) is not None}
    given.pop("time", None)  # of the file, whose times are the index
    default = ["hour", "dayofyear"] if options.file is None else []
    settings = given | {"calendar": tuple(options.calendar or default), "n_threads": options.threads}
    if options.no_change:
        settings["change"] = None
    if options.linear == "none":
        settings["linear"] = None
    return settings


def _data(options, note):
    """Return the table that the net sees, that of the rows ahead or None, the targets or None, and a name for files."""
    future, static, categories = options.future or [], options.static or [], options.categories or []
    if options.file is None:
        if options.id or future or static or categories or options.future_file:
            raise UserError(
                "--id, --future, --future-file, --static and --categories need FILE, a CSV file with such columns"
            )
        note("No file: a synthetic hourly weather series of three years (numbarnn.data.datasets.weather).")
        return weather(), None, options.target or ["temperature"], "weather"
    if options.future_file is not None and not future:
        raise UserError("--future-file needs --future, the columns that are known ahead")
    frame = tables.read(options, options.file, note)
    if options.calendar and tables.times_of(frame).dtype.kind != "M":
        raise UserError(f"--calendar needs times, and the rows of {shown(options.file)} are numbered; leave it out")
    inputs = (*future, *static)
    words = {
        name: word
        for name in (*(options.target or ()), *inputs)
        if name in frame and (word := tables.first_word(frame[name]))
    }
    texts = {name for name in inputs if name in frame and name not in words}  # where they are not numbers, words
    if options.columns:
        wanted = list(dict.fromkeys([*options.columns, *future, *static, *categories]))
        unknown = [name for name in wanted if name not in frame.columns]
        if unknown:
            raise UserError(f"there is no column {unknown[0]!r}; there is {', '.join(map(str, frame.columns))}")
        frame = frame[wanted]
    else:
        kept = (*(options.target or ()), *future, *static, *categories)
        frame = tables.numeric(frame, note, keep=kept, categories=categories)
    for column in (*(options.target or ()), *future, *static, *categories):
        if column not in frame.columns:
            why = f": {words[column]} is not a number" if column in words else ""
            why = ": it has words; name it in --categories too" if column in texts else why
            raise UserError(
                f"there is no numeric column {column!r}{why}; there is {', '.join(map(str, frame.columns)) or 'none'}"
            )
    if frame.shape[1] == 0:
        raise UserError(f"{shown(options.file)} has no numeric columns, so there is nothing to forecast")
    target = options.target
    if target is None and (future or static or categories):
        target = [name for name in frame.columns if name not in (*future, *static, *categories)]
        if not target:
            raise UserError("all columns are known ahead, static or categories; name one to forecast, --target COL")
    frame, ahead = split_ahead(frame, target, future, note)
    if options.future_file is not None:
        ahead = tables.read(options, options.future_file, note)
        ahead = ahead[[name for name in future if name in ahead.columns]]
    missing = frame.isna().sum()
    if options.missing in ("ffill", "drop") and missing.any():
        what = "filled from the rows before" if options.missing == "ffill" else "whose windows are left out"
        columns = ", ".join(f"{count:,} in {name}" for name, count in missing[missing > 0].items())
        note(f"Missing values, {what}: {columns}.")
    name = "stdin" if options.file == DASH else options.file.name.partition(".")[0]
    return long_table(frame), None if ahead is None else long_table(ahead), target, name


def _after(forecaster, level, ahead):
    """Return the forecasts after the end of the data as text, or why there are none."""
    if forecaster.future and ahead is None:
        return f"no forecast, since {unknown_ahead(forecaster)}, or pass --future-file FILE"
    found = forecaster.predict(future=ahead) if level is None else forecaster.predict_interval(level, future=ahead)
    return as_text(flat_columns(found))


def _check_picture(path):
    """Raise where matplotlib knows no such picture: before training rather than after it."""
    try:
        from matplotlib.backend_bases import FigureCanvasBase
    except ImportError:  # `_draw` says that there is no plot
        return
    known = FigureCanvasBase.get_supported_filetypes()
    if path.suffix and path.suffix[1:].lower() not in known:
        raise UserError(
            f"--plot must end in one of {', '.join(f'.{name}' for name in sorted(known))}, got {path.name!r}"
        )


def _draw(forecaster, backtest, path, note) -> bool:
    """Write a plot, of the first of many series; return whether matplotlib is installed."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        note("\nNo plot: matplotlib is not installed (pip install 'numbarnn[plot]').")
        return False
    from numbarnn import plots

    if backtest.index.nlevels > 1:
        key, attributes = backtest.index[0][0], backtest.attrs
        backtest = backtest.xs(key, level=0)
        backtest.attrs = attributes
        note(f"\nThe plot has the series {key}, the first of the test part.")
    figure = Figure(figsize=(10, 8), layout="constrained")
    rows = figure.subplot_mosaic("AA;BC")
    plots.plot_forecast(backtest, last=500, ax=rows["A"])
    if len(forecaster.history_):
        plots.plot_history(forecaster.history_, ax=rows["C"])
    if forecaster.horizon > 1:
        plots.plot_errors_by_horizon(forecaster.errors_by_horizon(), ax=rows["B"])
    else:
        plots.plot_scatter(backtest, ax=rows["B"])
    figure.savefig(path, dpi=120)
    return True
