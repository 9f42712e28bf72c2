"""The commands ``numbarnn forecast``, which trains a forecaster on a CSV file and compares it with baselines, and ``predict``."""

import dataclasses
import pathlib
import sys
import warnings

import numpy as np

from numbarnn import io
from numbarnn.checks import brief
from numbarnn.cli.common import AMBIGUOUS, HelpFormatter, UserError, as_options, raised_by_name
from numbarnn.data import readers
from numbarnn.data.datasets import weather
from numbarnn.data.windows import MISSING
from numbarnn.forecasting.forecaster import Forecaster
from numbarnn.forecasting.training import MOST_EPOCHS, RATE, UPDATES
from numbarnn.layers.kinds import recurrent_names

DEFAULTS = {field.name: field.default for field in dataclasses.fields(Forecaster)}


def add_commands(commands) -> None:
    """Add the command to the subparsers of `numbarnn.cli.main`."""
    parser = commands.add_parser(
        "forecast",
        help="train a forecaster on a CSV file and compare it with simple baselines",
        description="Train a recurrent net to forecast a column of a CSV file, print its errors on the last part of the file "
        "beside those of simple baselines on the same windows, forecast the rows after its end, write forecasts, plot and model. "
        "Without a file it runs on a synthetic hourly weather series.",
        formatter_class=HelpFormatter,
    )
    parser.add_argument(
        "file", type=pathlib.Path, nargs="?", metavar="FILE", help="CSV file with a header, one row per time"
    )
    parser.add_argument(
        "--target", action="append", metavar="COL", help="column to forecast; may be repeated (default: all)"
    )
    parser.add_argument("--columns", metavar="A,B,...", help="columns that the net sees (default: all numeric columns)")
    _add_reading(parser)
    parser.add_argument("--lookback", type=int, default=72, metavar="N", help="rows of a window")
    parser.add_argument(
        "--delay", type=int, default=24, metavar="N", help="rows from the newest row to the first forecast"
    )
    parser.add_argument("--horizon", type=int, default=1, metavar="N", help="rows that are forecast")
    parser.add_argument("--step", type=int, default=1, metavar="N", help="use every N-th row of a window")
    parser.add_argument("--season", type=int, metavar="N", help="rows of a season (default: from the times)")
    parser.add_argument("--difference", type=int, metavar="N", help="see and learn changes over N rows")
    parser.add_argument("--relative", type=int, metavar="N", help="see values, learn the change against N rows before")
    parser.add_argument("--recenter", action="store_true", help="see and learn differences from the newest row")
    parser.add_argument(
        "--no-change", action="store_true", help="learn the values themselves (default: what the validation part says)"
    )
    parser.add_argument("--linear", choices=["auto", "all", "shared", "none"], help=f"linear path {_default('linear')}")
    parser.add_argument(
        "--calendar", metavar="A,B", help="of hour, dayofweek, dayofyear, month (without a file: hour,dayofyear)"
    )
    parser.add_argument(
        "--missing", choices=(*MISSING, "mask"), help=f"treatment of missing values {_default('missing')}"
    )
    parser.add_argument("--recursive", action="store_true", help="forecast row after row from its own forecasts")
    parser.add_argument("--cell", choices=list(recurrent_names()), help=f"recurrent cell {_default('cell')}")
    for option, kind, metavar, what in (
        ("hidden-size", int, "N", "units in each layer"),
        ("num-layers", int, "N", "stacked layers"),
        ("dropout", float, "P", "between layers"),
        ("recurrent-dropout", float, "P", "on the recurrence"),
        ("epochs", int, "N", "passes through the training part"),
        ("patience", int, "N", "stop after N epochs without improvement"),
        ("batch-size", int, "N", "windows a training step"),
        ("learning-rate", float, "R", "of Adam"),
        ("ensemble", int, "N", "nets whose mean is the forecast"),
    ):
        note = _default(option.replace("-", "_"))
        parser.add_argument(f"--{option}", type=kind, metavar=metavar, help=f"{what} {note}")
    parser.add_argument("--split", default="0.7,0.15,0.15", metavar="A,B,C", help="training, validation and test part")
    parser.add_argument(
        "--straddle", choices=["drop", "keep"], default="drop", help="windows that begin in the part before"
    )
    parser.add_argument(
        "-o", "--output", type=pathlib.Path, metavar="CSV", help="forecasts (default: NAME-forecast.csv)"
    )
    parser.add_argument("--plot", type=pathlib.Path, metavar="PNG", help="plot (default: NAME-forecast.png)")
    parser.add_argument("--save", type=pathlib.Path, metavar="MODEL", help="write the forecaster to a safetensors file")
    parser.add_argument("--seed", type=int, default=0, help="of weights, order and dropout")
    parser.add_argument("--threads", type=int, metavar="N", help="default: all processors")
    parser.add_argument("--quiet", action="store_true", help="no progress")
    parser.set_defaults(run=run)

    predict = commands.add_parser(
        "predict",
        help="forecast the rows after a CSV file by a saved forecaster",
        description="Forecast the rows after the end of a CSV file by a forecaster that `numbarnn forecast --save` or "
        "Forecaster.save wrote; nothing is trained.",
        formatter_class=HelpFormatter,
    )
    predict.add_argument("model", type=pathlib.Path, metavar="MODEL", help="file of a forecaster")
    predict.add_argument("file", type=pathlib.Path, metavar="FILE", help="CSV file with a header, one row per time")
    predict.add_argument(
        "--level", type=float, metavar="P", help="add the bounds of intervals of this level, such as 0.9"
    )
    predict.add_argument(
        "--future",
        type=pathlib.Path,
        metavar="FILE",
        help="CSV file of the rows ahead, of columns that are known ahead",
    )
    predict.add_argument("-o", "--output", type=pathlib.Path, metavar="CSV", help="write the forecasts here too")
    _add_reading(predict)
    predict.set_defaults(run=run_predict)


def _add_reading(parser):
    """Add the options that say how a CSV file is read."""
    parser.add_argument(
        "--time",
        action="append",
        metavar="COL",
        help="column of the times; repeat it for columns that make a time together (default: the first that reads as times)",
    )
    parser.add_argument(
        "--time-format",
        metavar="FORMAT",
        help="format of the times, such as %%d/%%m/%%Y (default: the only one by which all read)",
    )
    parser.add_argument(
        "--sep", type=_character, default=",", metavar="C", help="separator of columns, such as ; or tab"
    )
    parser.add_argument("--decimal", type=_character, default=".", metavar="C", help="decimal point")
    parser.add_argument("--encoding", default="utf-8", metavar="NAME", help="of the file")


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


def _character(text):
    """Return a character of the command line, which has no tabs."""
    return {"tab": "\t", "\\t": "\t"}.get(text, text)


def run(options) -> int:
    """Run the command."""
    try:
        return _forecast(options)
    except AMBIGUOUS as error:
        if not raised_by_name(error):
            raise
        raise UserError(as_options(error, vars(options), {"format": "time_format"})) from error


def _forecast(options):
    frame, name = _data(options)
    output = options.output or pathlib.Path(f"{name}-forecast.csv")
    plot = options.plot or pathlib.Path(f"{name}-forecast.png")
    for path in (output, plot, options.save):
        if path is not None and not path.parent.is_dir():
            raise ValueError(f"there is no folder {str(path.parent)!r} to write {path.name!r} to")
    _check_picture(plot)
    calendar = ("hour,dayofyear" if options.file is None else "") if options.calendar is None else options.calendar
    target = options.target or (["temperature"] if options.file is None else None)
    for column in target or ():
        if column not in frame.columns:
            raise ValueError(f"there is no numeric column {column!r}; there is {', '.join(map(str, frame.columns))}")
    given = {name: getattr(options, name) for name in DEFAULTS if getattr(options, name, None) is not None}
    given.pop("time", None)  # of the file, whose times are the index
    settings = given | {"calendar": tuple(part for part in calendar.split(",") if part), "n_threads": options.threads}
    if options.no_change:
        settings["change"] = None
    if options.linear == "none":
        settings["linear"] = None
    forecaster = Forecaster(**settings)
    try:
        split = [float(part) for part in options.split.split(",")]
    except ValueError:
        raise ValueError(f"--split must be fractions like 0.7,0.15,0.15, got {brief(options.split)}") from None
    forecaster.fit(frame, target, split=split, straddle=options.straddle, verbose=0 if options.quiet else 1)
    table, backtest = forecaster.evaluate(), forecaster.backtest()
    print(f"\nErrors on the test part, forecasts for {backtest.index.min()} to {backtest.index.max()}:\n")
    print(table.to_string(float_format=lambda value: f"{value:.4g}"))
    print(f"\n{table.attrs['verdict']}")
    label = "time" if "time" not in backtest.columns else "row"
    io.replace(output, backtest.to_csv(index_label=label).encode())
    written = [f"forecasts of the test part to {output}"]
    written += [f"a plot to {plot}"] if _draw(forecaster, backtest, plot) else []
    if options.save is not None:
        forecaster.save(options.save)
        written.append(f"the forecaster to {options.save}")
    print("\nAfter the end of the data:\n")
    print(forecaster.predict().to_string(float_format=lambda value: f"{value:.4g}"))
    print(f"\nWrote {', '.join(written)}.")
    return 130 if forecaster.history_.stopped == "interrupted" else 0


def run_predict(options) -> int:
    """Run the command that forecasts by a saved forecaster."""
    try:
        forecaster = Forecaster.load(options.model)
        frame = _columns_of(forecaster, _read(options, options.file), options.file)
        future = None
        if options.future is not None:
            ahead = _read(options, options.future)
            future = ahead[[name for name in forecaster.future if name in ahead.columns]]
        if options.level is None:
            found = forecaster.predict(frame, future=future)
        else:
            found = forecaster.predict_interval(options.level, frame, future=future)
            found.columns = [
                " ".join(map(str, (name, *([] if side == "forecast" else [side])))) for name, side in found
            ]
        if options.output is not None:
            io.replace(options.output, found.to_csv(index_label="time").encode())
    except AMBIGUOUS as error:
        if not raised_by_name(error):
            raise
        raise UserError(as_options(error, vars(options), {"format": "time_format"})) from error
    print(found.to_string(float_format=lambda value: f"{value:.4g}"))
    return 0


def _columns_of(forecaster, frame, path):
    """Return the columns that a forecaster was fitted to; those that are not are said."""
    names = forecaster.feature_names_
    missing = [name for name in names if name not in frame.columns]
    if missing == names and len(names) == frame.shape[1] == 1:  # a series of another name
        return frame.set_axis(names, axis=1)
    if missing:
        raise ValueError(f"{path} lacks columns {missing}; the forecaster was fitted to {', '.join(map(str, names))}")
    left = [str(name) for name in frame.columns if name not in names]
    if left:
        print(f"Left out, since the forecaster does not know them: {', '.join(left)}.", flush=True)
    return frame[names]


def describe(forecaster):
    """Print targets, features and windows of a saved forecaster; return its model."""
    targets, features = (", ".join(map(str, names)) for names in (forecaster.target_names_, forecaster.feature_names_))
    print(
        f"forecaster of {targets} from {features}: lookback {forecaster.lookback}, "
        f"delay {forecaster.delay}, horizon {forecaster.horizon}, step {forecaster.step}"
    )
    return forecaster.model_


def _data(options):
    """Return the table that the net sees, and a name for files."""
    if options.file is None:
        print("No file: a synthetic hourly weather series of three years (numbarnn.data.datasets.weather).", flush=True)
        return weather(), "weather"
    frame = _read(options, options.file)
    if options.columns:
        names = options.columns.split(",")
        unknown = [name for name in names if name not in frame.columns]
        if unknown:
            raise ValueError(f"there is no column {unknown[0]!r}; there is {', '.join(map(str, frame.columns))}")
        frame = frame[names]
    else:
        numeric = frame.select_dtypes(include=[np.number, "bool"])
        left = [str(name) for name in frame.columns if name not in numeric.columns]
        if left:
            print(f"Left out, since they are not numeric: {', '.join(left)}.", flush=True)
        frame = numeric
    return frame, options.file.name.partition(".")[0]


def _read(options, path):
    """Return the table of a CSV file, warnings said."""
    time = options.time[0] if options.time and len(options.time) == 1 else options.time
    form = {"sep": options.sep, "decimal": options.decimal, "encoding": options.encoding}
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        frame = readers.read_series(path, time, format=options.time_format, **form)
    for warning in told:
        print(f"numbarnn: {as_options(warning.message, vars(options))}", file=sys.stderr)
    return frame


def _check_picture(path):
    """Raise ValueError where matplotlib knows no such picture: before training rather than after it."""
    try:
        from matplotlib.backend_bases import FigureCanvasBase
    except ImportError:  # `_draw` says that there is no plot
        return
    known = FigureCanvasBase.get_supported_filetypes()
    if path.suffix and path.suffix[1:].lower() not in known:
        raise ValueError(
            f"--plot must end in one of {', '.join(f'.{name}' for name in sorted(known))}, got {path.name!r}"
        )


def _draw(forecaster, backtest, path) -> bool:
    """Write a plot; return whether matplotlib is installed."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        print("\nNo plot: matplotlib is not installed (pip install 'numbarnn[plot]').")
        return False
    from numbarnn import plots

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
