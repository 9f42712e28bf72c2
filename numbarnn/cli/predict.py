"""The command ``numbarnn predict``: what a saved model of any kind makes of a file."""

import io as memory
import pathlib
import zipfile

import numpy as np

from numbarnn.backends.device import DEVICES
from numbarnn.cli import language, saved_forecaster, tables
from numbarnn.cli.common import DASH, UserError, check_writable, load_model, raw_output, shown, source
from numbarnn.cli.forecast_tables import note_to
from numbarnn.cli.parser import number
from numbarnn.core.replacing import replace
from numbarnn.data.encodings import read_lines
from numbarnn.data.labelled_files import read_conll, read_ts
from numbarnn.estimators import SegmentClassifier, SequenceRegressor, TemporalClassifier
from numbarnn.forecasting.forecaster import Forecaster
from numbarnn.language import LanguageModel
from numbarnn.model import Model

EXAMPLES = """examples:
  numbarnn predict load.st new.csv \\
    --level 0.9 -o forecasts.csv
  numbarnn predict vowels.st test.ts
  numbarnn predict net.st x.npy -o y.npy"""

# Options of one kind of model.
ONLY = {"level": "a forecaster", "future": "a forecaster"}


def add_command(commands) -> None:
    """Add the command to the subparsers of `numbarnn.cli.main`."""
    parser = commands.add_parser(
        "predict",
        help="predict with a saved model: forecasts, labels, values",
        description="Predict with a model that `save` or `numbarnn forecast --save` wrote; nothing is trained. A forecaster takes "
        "a CSV file and forecasts the rows after its end. Estimators and plain models take a CSV file (one sequence; one for each "
        "value of --id; or one a row, as they were fitted), an array x of NumPy (.npy, .npz), or a .ts file; those of texts a text "
        "file with a sample on each line, or .conllu. A language model scores the text of FILE.",
        epilog=EXAMPLES,
    )
    parser.add_argument("model", type=pathlib.Path, metavar="MODEL", help="file of a model")
    parser.add_argument("file", type=pathlib.Path, metavar="FILE", help="what to predict from; - for standard input")
    parser.add_argument(
        "-o", "--output", type=pathlib.Path, metavar="FILE",
        help="write the predictions here too, as CSV, or as an array where it ends in .npy; - for standard output",
    )  # fmt: skip
    parser.add_argument("--proba", action="store_true", help="of a model of labels: their probabilities")
    parser.add_argument("--device", choices=DEVICES, default="cpu", help="where to compute")
    group = parser.add_argument_group("of forecasters")
    group.add_argument(
        "--level", type=number(float), metavar="P", help="add the bounds of intervals of this level, such as 0.9"
    )
    group.add_argument(
        "--future", type=pathlib.Path, metavar="FILE",
        help="CSV file of the rows ahead, of columns that are known ahead (default: rows at the end of FILE without targets)",
    )  # fmt: skip
    tables.add_options(parser.add_argument_group("how a CSV file is written"))
    parser.set_defaults(run=run)


def run(options) -> int:
    """Run the command."""
    model = load_model(options.model, options.device)
    check_writable(options.output)
    note = note_to(options)
    if isinstance(model, Forecaster):
        if options.proba:
            raise UserError("--proba goes with models of labels, this is a forecaster; --level 0.9 adds intervals")
        return saved_forecaster.predict(model, options, note)
    for option, kind in ONLY.items():
        if getattr(options, option) is not None:
            raise UserError(f"--{option} goes with {kind}; {str(options.model)!r} contains a {type(model).__name__}")
    if isinstance(model, LanguageModel):
        return _language(model, options)
    x, samples = _inputs(model, options, note)
    truth = None
    if isinstance(x, tuple):
        x, truth = x
    table, array = _predictions(model, x, options)
    if truth is not None:
        _say_score(model, x, truth, note)
    _put(table, array, samples, options, note)
    return 0


def _language(lm, options):
    """Score the text of a file: what a language model predicts is the next token of a text."""
    if options.output is not None or options.proba:
        raise UserError(
            f"a language model predicts the next {lm.unit} of a text, and its score is printed; to have it continue the text, "
            f"numbarnn sample {options.model} --prime-file {options.file}"
        )
    language.print_score(lm, language.read_text(options.file, options.encoding or "utf-8", lm.unit))
    print(f"To continue the text: numbarnn sample {options.model} --prime-file {options.file}")
    return 0


# Inputs


def _inputs(model, options, note):
    """Return the input of a model from a file, with truth in a pair where the file has some, and names of samples or None."""
    path, kind = options.file, _kind(options.file)
    texts = getattr(model, "_table", None)
    if texts is not None:
        return _texts(model, options, kind)
    if kind in (".txt", ".conll", ".conllu"):
        raise UserError(f"{shown(path)} is a text, and {_name(model)} takes numbers: CSV, .npy, .npz or .ts")
    if kind in (".npy", ".npz"):
        return _arrays(path, kind, options), None
    if kind == ".ts":
        samples, labels = read_ts(path, encoding=options.encoding or "utf-8")
        return (samples, labels) if labels is not None else samples, None
    return _rows(model, options, note)


def _kind(path):
    """Return the ending of a file that says its form."""
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if suffixes and suffixes[-1] in (".gz", ".zip", ".bz2", ".xz"):
        suffixes.pop()
    return suffixes[-1] if suffixes else ""


def _name(model):
    return f"a {type(model).__name__}" if not isinstance(model, Model) else "this model"


def _texts(model, options, kind):
    """Return samples of characters or words, one a line, or the sentences of a CoNLL file."""
    if kind in (".npy", ".npz", ".ts"):
        raise UserError(
            f"{_name(model)} was fitted to texts; give it a text file with a sample on each line, not {kind}"
        )
    encoding = options.encoding or "utf-8"
    if kind in (".conll", ".conllu"):
        (samples,) = read_conll(options.file, ["form" if kind == ".conllu" else 0], encoding=encoding)
        return samples, None
    if options.file == DASH:
        lines = language.read_text(options.file, encoding, "character").splitlines()
    else:
        lines = [line.rstrip("\r\n") for line in read_lines(options.file, encoding)]
    characters = all(len(word) == 1 for index, word in model._table.known if index == 0)
    samples = [line if characters else line.split() for line in lines]
    if not any(samples):
        raise UserError(f"{shown(options.file)} has no text; it must have a sample on each line")
    empty = [row for row, sample in enumerate(samples) if not sample]
    if empty and not model.EMPTY:
        raise UserError(
            f"line {empty[0] + 1} of {shown(options.file)} is empty; every line is a sample, and needs a step"
        )
    return samples, None


def _arrays(path, kind, options):
    """Return the array of a .npy file; of a .npz file x, or with its lengths or offsets as a list of samples."""
    try:
        with np.errstate(all="ignore"):
            found = np.load(source(path) if path == DASH else path, allow_pickle=False)
            found = dict(found) if kind == ".npz" else {"x": found}
    except (ValueError, EOFError, zipfile.BadZipFile, KeyError) as error:
        raise UserError(f"{shown(path)} is not a file of arrays of NumPy: {error}") from None
    known = {name.lower(): array for name, array in found.items()}
    lengths, offsets = known.pop("lengths", None), known.pop("offsets", None)
    x = known.pop("x", None)
    if x is None and len(known) == 1:
        x = known.popitem()[1]
    if x is None:
        raise UserError(f"{shown(path)} must have an array x; it has {', '.join(found) or 'none'}")
    for name, array in (("lengths", lengths), ("offsets", offsets)):
        if array is not None and (array.ndim != 1 or array.dtype.kind not in "iu"):
            raise UserError(f"{name} of {shown(path)} must be integers of shape (n,), got {array.dtype} {array.shape}")
    if lengths is not None:
        if len(lengths) != len(x) or not 0 <= lengths.min(initial=0) <= lengths.max(initial=0) <= (x.shape + (0,))[1]:
            raise UserError(f"lengths of {shown(path)} must be one a sample, at most {(x.shape + (0,))[1]}")
        return [sample[:length] for sample, length in zip(x, lengths, strict=True)]
    if offsets is not None:
        if len(offsets) < 2 or offsets[0] != 0 or offsets[-1] != len(x) or (np.diff(offsets) < 0).any():
            raise UserError(f"offsets of {shown(path)} must rise from 0 to the {len(x)} rows of x")
        return np.split(x, offsets[1:-1])
    return x


def _rows(model, options, note):
    """Return the samples of a CSV file and their names."""
    frame = tables.read(options, options.file, note, timed=False)
    known = getattr(model, "feature_names_in_", None)
    if known is not None:
        missing = [name for name in known if name not in frame.columns]
        if missing:
            raise UserError(
                f"{shown(options.file)} lacks columns {missing}; the model was fitted to {', '.join(known)}"
            )
        left = [str(name) for name in frame.columns if name not in set(known)]
        if left:
            note(f"Left out, since the model does not know them: {', '.join(left)}.")
        frame = frame[list(known)]
    else:
        frame = tables.numeric(frame, note, keep=frame.columns)
    if frame.shape[1] == 0:
        raise UserError(f"{shown(options.file)} has no numeric columns")
    if getattr(model, "_flat", False):
        if options.id is not None:
            raise UserError("the model was fitted to a table with one sample a row; leave out --id")
        return frame, None
    tokens = (
        model.signals[0].tokens
        if isinstance(model, Model)
        else model._size is not None
        if hasattr(model, "_size")
        else False
    )
    if tokens and frame.shape[1] != 1:
        raise UserError(f"the model takes tokens, one column of integers; {shown(options.file)} has {frame.shape[1]}")

    def values(part):
        array = part.to_numpy()
        return array[:, 0] if tokens else array

    if frame.index.nlevels == 1:
        note("The file is one sequence (--id COL: one for each value of a column).")
        return [values(frame)], None
    groups = list(frame.groupby(level=0, sort=False))
    return [values(part) for _, part in groups], [key for key, _ in groups]


# Predictions


def _predictions(model, x, options):
    """Return predictions as (columns by name, counts of steps or None), and as an array or None."""
    if isinstance(model, Model):
        return _of_model(model, x, options.proba)
    if isinstance(model, SequenceRegressor):
        if options.proba:
            raise UserError("--proba goes with models of labels; a SequenceRegressor predicts values")
        values = model.predict(x)
        columns = {"value": values} if values.ndim == 1 else {f"value {k}": v for k, v in enumerate(values.T)}
        return (columns, None), values
    labels = [str(label) for label in model.classes_.tolist()]
    if isinstance(model, SegmentClassifier) and model._kind == "segments":
        raise UserError(
            "this SegmentClassifier was fitted to segments, which no file of this command says; in Python: "
            "numbarnn.load(MODEL).predict(X, segments=...)"
        )
    found = model.predict_proba(x) if options.proba else model.predict(x)
    if isinstance(model, TemporalClassifier):
        if options.proba:
            return _of_steps(found, ["blank", *labels])
        single = all(len(label) == 1 for label in labels)
        return ({"labels": [("" if single else " ").join(map(str, row)) for row in found]}, None), None
    if isinstance(found, list):
        return _of_steps(found, labels if options.proba else ["label"])
    return (dict(zip(labels, found.T, strict=True)) if options.proba else {"label": found}, None), found


def _of_steps(found, names):
    """Return results with a row for every step of every sample."""
    counts, flat = [len(sample) for sample in found], np.concatenate(found) if found else np.zeros(0)
    columns = dict(zip(names, flat.T, strict=True)) if flat.ndim == 2 else {names[0]: flat}
    return (columns, counts), flat


def _of_model(model, x, proba):
    lengths = None
    if isinstance(x, list):
        sample = np.asarray(x[0])
        lengths = np.array([len(part) for part in x])
        padded = np.zeros((len(x), int(lengths.max(initial=0)), *sample.shape[1:]), sample.dtype)
        for row, part in zip(padded, x, strict=True):
            if part.shape[1:] != sample.shape[1:]:
                raise UserError(f"samples must have the same features, got {sample.shape[1:]} and {part.shape[1:]}")
            row[: len(part)] = part
        x, lengths = padded, None if (lengths == lengths.max(initial=0)).all() else lengths
    signal = model.signals[0]
    if not signal.tokens and x.ndim == 2 and signal.size == 1:
        x = x[:, :, None]
    found = model.predict_proba(x, lengths=lengths) if proba else model.predict(x, lengths=lengths)
    values = found.dtype.kind == "f"
    if not model.signals[-1].sequence:
        columns = {f"output {k}": column for k, column in enumerate(found.T)} if found.ndim == 2 else {"label": found}
        return (columns, None), found
    counts = [found.shape[1]] * len(found) if lengths is None else lengths.tolist()
    steps = [sample[:count] for sample, count in zip(found, counts, strict=True)]
    names = [f"output {k}" for k in range(found.shape[-1])] if values or found.ndim == 3 else ["label"]
    return _of_steps(steps, names)[0], found


def _say_score(model, x, truth, note):
    """Say the score by the labels of the file, where the model's are of their kind."""
    classes = getattr(model, "classes_", None)
    if isinstance(model, (Model, TemporalClassifier)) or (
        classes is not None and classes.dtype.kind != truth.dtype.kind
    ):
        note("The labels of the file are not used.")
        return
    what = "Accuracy" if classes is not None else "Coefficient of determination"
    note(f"{what} by the labels of the file: {model.score(x, truth):.4f}.")


# Output


def _put(found, array, samples, options, note):
    """Print predictions, and write them to a file."""
    import pandas as pd

    columns, counts = found
    rows = len(next(iter(columns.values()))) if counts is None else len(counts)
    samples = list(range(rows)) if samples is None else samples
    table = pd.DataFrame(columns)
    if counts is None:
        table.insert(0, "sample", samples)
    else:
        table.insert(0, "sample", np.repeat(np.array(samples, object), counts))
        table.insert(1, "step", np.concatenate([np.arange(count) for count in counts]) if counts else [])
    path = options.output
    if path is not None and path.suffix == ".npy":
        if array is None:
            raise UserError("label sequences of different lengths make no array; write CSV, such as -o labels.csv")
        file = memory.BytesIO()
        np.save(file, array.astype(str) if array.dtype == object else array, allow_pickle=False)
        replace(path, file.getvalue())
    elif path == DASH:
        raw_output().write(table.to_csv(index=False))
    elif path is not None:
        replace(path, table.to_csv(index=False).encode())
    if path is None:
        print(table.to_string(index=False, float_format=lambda value: f"{value:.6g}"))
    elif path != DASH:
        note(f"Wrote {len(table):,} rows of predictions for {rows:,} sample{'s' * (rows != 1)} to {path}.")
