"""Mistakes on the command line: each is answered by one line that says what to do, and by the right exit status."""

import os
import pathlib
import re
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

import numbarnn as nr
from numbarnn.cli.main import main

TEXT = "the cat sat on the mat. the dog sat on the log.\n" * 20


def series(rows=80, start="2024-01-01"):
    times = pd.date_range(start, periods=rows)
    return pd.DataFrame({"load": np.sin(np.arange(rows) / 3), "holiday": np.arange(rows) % 7 // 5}, index=times)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with files of all kinds, right and wrong, and a small model of each kind, hardly trained."""
    folder = tmp_path_factory.mktemp("mistakes")
    texts = {
        "text.txt": TEXT, "empty.txt": "", "greek.txt": "Ωmega", "words.txt": "a dog\n\nthe cat\n", "empty.csv": "",
        "head.csv": "time,load\n", "semicolons.csv": "a;b\n1;2\n3;4\n", "short.csv": "time,load\n2024-01-01,1\n2024-01-02,2\n",
        "badtime.csv": "time,load\n2024-01-01,1\n2024-01-02,2\n2024-13-03,3\n", "long.csv": "time,load\n2024-01-01,1,5\n",
        "either.csv": "time,load\n01/02/2024,1\n02/03/2024,2\n", "thousands.csv": "load;x\n1,234;1\n2,345;2\n",
        "parts.csv": "year,month,day,load\n2024,1,1,1\n2024,1,2,2\n2024,2,30,3\n",
        "twice.csv": "shop,time,load\n" + "".join(f"{s},2024-01-{d:02d},{d}\n" for d in range(1, 9) for s in "ab"),
        "word.csv": "time,load\n" + "".join(f"2024-01-{d:02d},{'oops' if d == 9 else d}\n" for d in range(1, 31)),
        "noid.csv": "shop,load\n,1\nb,2\n", "broken.csv.gz": "no archive", "broken.npy": "no array", "bad.ts": "no header\n",
        "names.csv": "time,text\n2024-01-01,a\n2024-01-02,b\n",
    }  # fmt: skip
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")
    (folder / "latin.txt").write_bytes("für".encode("latin-1"))
    (folder / "latin.csv").write_bytes("time,größe\n2024-01-01,1\n".encode("latin-1"))
    (folder / "folder").mkdir()
    series().to_csv(folder / "load.csv", index_label="time")
    gap = series().drop(index="2024-01-20")
    gap.to_csv(folder / "gap.csv", index_label="time")
    series().assign(load=np.where(np.arange(80) == 50, np.nan, 1.0)).to_csv(folder / "missing.csv", index_label="time")
    np.save(folder / "x.npy", np.zeros((2, 3, 2), np.float32))
    np.savez(folder / "other.npz", a=np.zeros(3), b=np.zeros(3))
    options = {"lookback": 3, "hidden_size": 2, "cell": "rnn", "epochs": 0, "n_threads": 1}
    nr.Forecaster(**options).fit(series()[["load"]], verbose=0).save(folder / "forecaster")
    nr.Forecaster(**options, future=["holiday"]).fit(series(), "load", verbose=0).save(folder / "planned")
    many = {"a": series()[["load"]], "b": series()[["load"]]}
    nr.Forecaster(**options).fit(many, verbose=0).save(folder / "many")
    nr.CharLM("rnn", 4, 1, n_threads=1).fit(TEXT, 0, verbose=0).save(folder / "chars")
    nr.LanguageModel("rnn", 4, 1, unit="word", n_threads=1).fit(TEXT, 0, verbose=0).save(folder / "wordmodel")
    nr.SequenceClassifier("rnn", 2, epochs=0, n_threads=1).fit([["a", "dog"], ["the"]], ["x", "y"]).save(
        folder / "labels"
    )
    nr.SequenceRegressor("rnn", 2, epochs=0, n_threads=1).fit(np.zeros((3, 4, 2)), [1.0, 2.0, 3.0]).save(
        folder / "values"
    )
    nr.Model([nr.RNN(2), nr.Dense(2)], input_size=2, n_threads=1).save(folder / "plain")
    return folder


FORECAST = "--lookback 3 --delay 1 --epochs 0 --hidden-size 2 --cell rnn --quiet --threads 1"

# Command, exit status, what the line says.
MISTAKES = [
    # Words of the command line
    ("trian text.txt", 2, "there is no command 'trian'; did you mean train?"),
    ("generate chars", 2, "there is no command 'generate'; did you mean sample?"),
    ("help", 2, "there is no command 'help'; did you mean --help?"),
    (
        "fly",
        2,
        "there is no command 'fly'; there is demo, train, sample, score, forecast, predict, convert, freeze, info, warmup, doctor, "
        "compare",
    ),
    ("--verison", 2, "there is no option --verison; did you mean --version?"),
    ("train text.txt --hiden-size 8", 2, "there is no option --hiden-size; did you mean --hidden-size?"),
    ("train text.txt --lr 0.1", 2, "there is no option --lr; did you mean --learning-rate?"),
    ("train text.txt --epoch 1", 2, "there is no option --epoch; did you mean --epochs?"),
    ("train text.txt --gpu", 2, "there is no option --gpu; did you mean --device?"),
    ("train text.txt --zzz", 2, r"there is no option --zzz \(numbarnn train --help\)"),
    ("forecast load.csv --delimiter ;", 2, "there is no option --delimiter; did you mean --sep?"),
    ("sample chars -x", 2, "there is no option -x"),
    ("train text.txt more.txt", 2, "one argument too many: 'more.txt'"),
    ("train", 2, "the following arguments are required: FILE"),
    ("predict forecaster", 2, "the following arguments are required: FILE"),
    ("train text.txt --epochs", 2, "argument --epochs: expected one argument"),
    ("train text.txt --epochs many", 2, "argument --epochs: must be an integer, got 'many'"),
    ("train text.txt --epochs 0", 2, "argument --epochs: must be positive, got 0"),
    ("forecast load.csv --learning-rate 0", 2, "argument --learning-rate: must be positive, got 0"),
    ("train text.txt --dropout high", 2, "argument --dropout: must be a number, such as 0.5, got 'high'"),
    (
        "train text.txt --cell gur",
        2,
        "argument --cell: did you mean gru[?] must be one of gru, indrnn, lstm, mingru, minlstm, rnn, got 'gur'",
    ),
    ("train text.txt --unit chars", 2, "argument --unit: .*must be one of character, byte, word, got 'chars'"),
    ("sample chars --prime a --prime-file text.txt", 2, "argument --prime-file: not allowed with argument --prime"),
    (
        "forecast load.csv --calendar hour,,month",
        2,
        "argument --calendar: must be names with commas between them, such as a,b",
    ),
    ("train text.txt --device tpu", 2, "argument --device: must be one of cpu, cuda, got 'tpu'"),
    # Conversions
    ("convert none.onnx out", 1, "^numbarnn: there is no file 'none.onnx'$"),
    ("convert folder out", 1, "^numbarnn: 'folder' is a folder, not a file$"),
    ("convert plain out.onnx --opset 3", 1, "--opset must be"),
    ("convert text.txt out.onnx", 1, "'text.txt' is not a (model|file)"),
    (
        "convert net.pt out",
        1,
        "'net.pt' is a pickle, which may run code when it is read; in Python, where you trust it: .*from_torch",
    ),
    ("convert net.weights.h5 out", 1, r"'net.weights.h5' has weights and no description; in Python: .*layers=\[...\]"),
    ("convert plain out.pt", 1, "'out.pt': such files are not written; in Python, .*to_torch"),
    ("convert plain out --no-states", 1, "--opset, --no-states and --no-lengths are of ONNX: OUT must end in .onnx"),
    # Frozen models
    ("freeze chars -o a.dll", 1, "--output must end in .so or .c, or name a folder, got 'a.dll'"),
    ("freeze plain -o x.so/", 1, "--output must name a folder that does not end in .so"),
    ("freeze chars -o a.so --levels x86-64-v2,avx", 1, "--levels must be some of .*, got"),
    ("freeze chars -o a.so --levels ,", 2, "argument --levels: must be names with commas between them"),
    ("freeze chars -o a.c --levels x86-64-v3", 1, "--levels goes with libraries: C source is compiled"),
    ("freeze chars -o a.so --name 1a", 1, "--name must be an identifier"),
    ("freeze chars -o text.txt", 1, "'text.txt' exists and was not written by numbarnn.freeze"),
    ("freeze none -o a.so", 1, "there is no model file 'none'"),
    # Files of texts
    ("train none.txt", 1, "there is no file 'none.txt'"),
    ("train folder", 1, "'folder' is a folder, not a file"),
    ("train empty.txt", 1, "'empty.txt' is empty: there is no text to read"),
    ("train latin.txt", 1, "'latin.txt' is not utf-8 text .*; pass --encoding, such as --encoding 'latin-1'"),
    ("train text.txt --encoding klingon", 1, "there is no encoding 'klingon'"),
    ("train text.txt -o no/model", 1, "there is no folder 'no' to write 'model' to; make it first"),
    ("train text.txt -o folder", 1, "'folder' is a folder; name a file in it"),
    ("train text.txt -o text.txt", 1, "the model would replace the text 'text.txt'; name another file with -o"),
    ("train text.txt --resume", 1, "--resume needs --checkpoint, the file to resume from"),
    ("train text.txt --validation 2", 1, r"^numbarnn: --validation must be in \[0, 1\).*, got 2.0"),
    ("train text.txt --dropout 2", 1, r"^numbarnn: --dropout must be in \[0, 1\), got 2.0"),
    ("train text.txt --patience 3 --validation 0", 1, "^numbarnn: --patience, .*: pass --validation"),
    ("train text.txt --resume-from folder", 1, "'folder' is a folder, not a file"),
    ("train text.txt --max-vocabulary 9", 1, "--max-vocabulary and --min-count go with --unit 'word'"),
    ("train text.txt --unit word --min-count 9999", 1, "(words|vocabulary|min-count|word)"),
    ("sample none", 1, "there is no model file 'none'"),
    ("sample text.txt", 1, "'text.txt' is not a model file, or is cut off or damaged"),
    (
        "sample forecaster",
        1,
        "'forecaster' is not a language model, but a forecaster: numbarnn predict forecaster FILE",
    ),
    (
        "score values text.txt",
        1,
        "'values' is not a language model, but a SequenceRegressor: numbarnn predict values FILE",
    ),
    ("sample chars --prime Ω", 1, "1 character outside the model's vocabulary of 15: 'Ω'.*Pass --unknown 'skip'"),
    ("sample chars --prime-file none.txt", 1, "there is no file 'none.txt'"),
    ("sample chars --temperature -1", 1, "^numbarnn: --temperature must be"),
    ("sample chars --prime Q --unknown foo", 1, "^numbarnn: --unknown must be 'error', 'skip' or a character"),
    ("sample folder", 1, "'folder' is a folder, not a file"),
    ("score chars greek.txt --unknown foo", 1, "^numbarnn: --unknown must be 'error', 'skip' or a character"),
    ("score chars greek.txt", 1, "outside the model's vocabulary.*Pass --unknown 'skip'"),
    ("warmup chars --dtype float64", 1, "--dtype cannot be combined with MODEL: a saved model has its own"),
    # Tables
    ("forecast none.csv", 1, "there is no (file )?'none.csv'"),
    ("forecast empty.csv", 1, "'empty.csv' is empty"),
    ("forecast head.csv", 1, "'head.csv' has a header and no rows"),
    ("forecast folder", 1, "'folder' is a folder, not a file"),
    ("forecast broken.csv.gz", 1, "'broken.csv.gz' is not a compressed file, or is cut off or damaged"),
    ("forecast latin.csv", 1, "'latin.csv' is not utf-8 text .*pass --encoding, such as --encoding 'latin-1'"),
    ("forecast semicolons.csv --sep ,", 1, "has ';' in it; if that separates columns, pass --sep ';'"),
    ("forecast load.csv --sep ab", 1, "^numbarnn: --sep must be one character, got 'ab'"),
    ("forecast load.csv --sep , --decimal ,", 1, "^numbarnn: --sep and --decimal must differ"),
    ("forecast load.csv --calendar noon", 1, "^numbarnn: --calendar must be 'hour', .* got 'noon'"),
    ("forecast load.csv --calendar hour --number-rows", 1, "--calendar needs times, and the rows of 'load.csv' are"),
    ("forecast load.csv --difference 1 --relative 1", 1, "^numbarnn: give --difference or --relative, not both"),
    ("forecast load.csv --lookback 3 --delay 1 --difference 70", 1, "^numbarnn: --difference is 70; the training"),
    ("forecast load.csv --lookback 3 --delay 1 --epochs -1", 1, "--epochs must be .* 1,000,000,000, got -1"),
    ("forecast load.csv --lookback 300 --patience -1", 1, "^numbarnn: --patience must be .* got -1"),
    ("forecast load.csv --lookback 300 --hidden-size 0", 1, "^numbarnn: --hidden-size must be .* got 0"),
    (
        "forecast load.csv --lookback 30 --delay 1",
        1,
        "Make that part larger, or --lookback, --delay or --horizon smaller, or pass --straddle 'keep'",
    ),
    ("forecast load.csv --level 2", 1, r"^numbarnn: --level must be in \(0, 1\), such as 0.9, got 2.0"),
    ("forecast thousands.csv", 1, "has values with commas, such as '1,234'; pass --decimal ',' .*, or --thousands ','"),
    ("forecast long.csv", 1, "line 2 of 'long.csv' has 3 fields, the header has 2"),
    (
        "forecast badtime.csv",
        1,
        r"row 2 \(line 4 of 'badtime.csv'\) of column 'time', '2024-13-03', cannot be read as a time",
    ),
    (
        "forecast parts.csv",
        1,
        r"row 2 \(line 4 of 'parts.csv'\) of column 'year month day', '2024-02-30', cannot be read",
    ),
    ("forecast either.csv", 1, "can be read as .* pass the one that is right, such as --time-format '%m/%d/%Y'"),
    (
        "forecast load.csv --time when",
        1,
        "^numbarnn: --time must name a column; 'load.csv' has no 'when', it has time, load, holiday",
    ),
    ("forecast load.csv --id shop", 1, "--id must name a column; 'load.csv' has no 'shop', it has time, load, holiday"),
    ("forecast noid.csv --id shop", 1, r"row 0 \(line 2 of 'noid.csv'\) has no series in column 'shop'; fill it in"),
    ("forecast twice.csv", 1, "has the time 2024-01-01 00:00:00 more than once, again in row 1; .*--id COL"),
    ("forecast gap.csv", 1, "row 19 of data, 2024-01-21 00:00:00, comes 2 days.* number the rows: --number-rows"),
    (f"forecast missing.csv {FORECAST}", 1, "set --missing 'drop', 'ffill' or 'mask'"),
    ("forecast load.csv --target weight", 1, "there is no numeric column 'weight'; there is load, holiday"),
    ("forecast word.csv --target load", 1, "there is no numeric column 'load': 'oops' in row 8 is not a number"),
    ("forecast names.csv", 1, "'names.csv' has no numeric columns"),
    ("forecast load.csv --columns load,sun", 1, "there is no column 'sun'; there is load, holiday"),
    ("forecast load.csv --split a,b", 1, "--split must be fractions like 0.7,0.15,0.15, got 'a,b'"),
    ("forecast load.csv --plot a.xyz", 1, "--plot must end in one of .*, got 'a.xyz'"),
    ("forecast load.csv --output no/a.csv", 1, "there is no folder 'no' to write 'a.csv' to"),
    ("forecast load.csv --lookback 900", 1, "data has 80 rows; lookback 900"),
    ("forecast load.csv --future-file load.csv", 1, "--future-file needs --future, the columns that are known ahead"),
    ("forecast --id shop", 1, "--id, --future, --future-file, --static and --categories need FILE"),
    ("forecast load.csv --target load --future load", 1, "future 'load' is a target"),
    # Predictions
    ("predict none load.csv", 1, "there is no model file 'none'"),
    ("predict forecaster none.csv", 1, "none.csv"),
    ("predict forecaster head.csv", 1, "'head.csv' has a header and no rows"),
    ("predict forecaster short.csv", 1, "data has 2 rows; a forecast looks at the last 3"),
    ("predict forecaster load.csv --level 2", 1, r"^numbarnn: --level must be in \(0, 1\)"),
    ("predict folder load.csv", 1, "'folder' is a folder, not a file"),
    ("predict planned load.csv --future folder", 1, "'folder' is a folder, not a file"),
    ("predict forecaster load.csv --proba", 1, "--proba goes with models of labels, this is a forecaster"),
    ("predict planned load.csv", 1, "holiday of the 1 row.* must be known: add these rows to the file.* --future FILE"),
    (
        "predict many load.csv",
        1,
        "fitted to many series: name the column that says which one a row belongs to, --id COL",
    ),
    (
        "predict values text.txt",
        1,
        "'text.txt' is a text, and a SequenceRegressor takes numbers: CSV, .npy, .npz or .ts",
    ),
    ("predict values x.npy --level 0.9", 1, "--level goes with a forecaster; 'values' contains a SequenceRegressor"),
    ("predict values broken.npy", 1, "'broken.npy' is not a file of arrays of NumPy"),
    ("predict values other.npz", 1, "'other.npz' must have an array x; it has a, b"),
    ("predict values bad.ts", 1, "line 1 of 'bad.ts' comes before @data"),
    ("predict values short.csv", 1, "X has 1 features, but SequenceRegressor is expecting 2"),
    ("predict labels x.npy", 1, "fitted to texts; give it a text file with a sample on each line, not .npy"),
    ("predict labels words.txt", 1, "line 2 of 'words.txt' is empty; every line is a sample, and needs a step"),
    (
        "predict chars text.txt -o out.csv",
        1,
        "its score is printed; to have it continue the text, numbarnn sample chars",
    ),
    ("predict plain text.txt", 1, "'text.txt' is a text, and this model takes numbers"),
    ("info none", 1, "there is no model file 'none'"),
    ("info text.txt", 1, "'text.txt' is not a model file, or is cut off or damaged"),
]


def test_there_are_enough():
    assert len({command for command, _, _ in MISTAKES}) == len(MISTAKES) >= 60


@pytest.mark.parametrize(("command", "status", "message"), MISTAKES, ids=[command for command, _, _ in MISTAKES])
def test_mistake(folder, monkeypatch, capsys, command, status, message):
    if "--plot" in command:
        pytest.importorskip("matplotlib", reason="matplotlib is not installed, which knows the kinds of pictures")
    monkeypatch.chdir(folder)
    before = {path.name for path in folder.iterdir()}
    try:
        found = main(command.split())
    except SystemExit as stop:
        found = stop.code
    error = capsys.readouterr().err
    assert found == status, error
    assert error.count("\n") == 1, error
    assert re.match(r"numbarnn( \w+)?: ", error), error
    assert re.search(message, error), error
    assert {path.name for path in folder.iterdir()} == before
    if status == 2:
        assert "error: " in error
        assert error.rstrip().endswith("--help)")


@pytest.mark.parametrize(
    "row",
    [
        ("train text.txt --hiden-size 8", 2, "did you mean --hidden-size?"),
        ("sample none", 1, "there is no model file 'none'"),
        ("forecast empty.csv", 1, "'empty.csv' is empty"),
    ],
    ids=lambda row: row[0],
)
def test_mistake_in_a_process_of_its_own(folder, row):
    command, status, message = row
    call = [sys.executable, "-m", "numbarnn", *command.split()]
    path = {"PYTHONPATH": str(pathlib.Path(nr.__file__).parent.parent)}
    done = subprocess.run(call, cwd=folder, env=os.environ | path, capture_output=True, text=True, check=False)
    assert done.returncode == status
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
    assert done.stdout == ""
