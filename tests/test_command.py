"""The command line with real files, standard input, pipes and signals; predictions by every kind of model."""

import io
import os
import pathlib
import re
import signal
import subprocess
import sys
import time
import warnings

import numpy as np
import pandas as pd
import pytest
from conftest import interrupt_net
from processes import PACKAGE, run_python

import numbarnn as nr
from numbarnn.cli import main as command
from numbarnn.cli.common import as_options
from numbarnn.cli.main import main
from numbarnn.training.progress import Progress

TEXT = "the cat sat on the mat. the dog sat on the log.\n" * 20
SMALL = "--epochs 1 --cell rnn --hidden-size 4 --num-layers 1 --batch-size 4 --seq-length 20 --quiet".split()
FORECAST = "--lookback 7 --delay 1 --epochs 0 --hidden-size 2 --cell rnn --quiet --threads 1".split()


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def chars(tmp_path_factory):
    path = tmp_path_factory.mktemp("chars") / "chars.st"
    nr.CharLM("rnn", 8, 1, n_threads=1).fit(TEXT, 0, verbose=0).save(path)
    return str(path)


def pipe(monkeypatch, content):
    """Let standard input have a content."""
    content = content if isinstance(content, bytes) else content.encode()
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))


# Words


def options_of(*arguments):
    return command._parser().parse_args(list(arguments))


def test_texts_may_begin_with_a_dash():
    assert options_of("sample", "m", "--prime", "-x", "--stop", "-.", "-n", "3").prime == "-x"
    found = options_of("sample", "m", "--prime", "--chapter", "--seed", "3")
    assert (found.prime, found.seed) == ("--chapter", 3)
    assert options_of("sample", "--unknown", "-", "m").unknown == "-"
    assert options_of("forecast", "a.csv", "--target", "-load").target == ["-load"]
    assert options_of("sample", "m", "--prime=--seed").prime == "--seed"
    assert options_of("sample", "m", "--seed", "-3").seed == -3


@pytest.mark.parametrize("text", ["--prime --seed 3", "--epo 3", "--prim x"])
def test_what_is_no_text(text, capsys):
    with pytest.raises(SystemExit) as stop:
        options_of("sample", "m", *text.split())
    assert stop.value.code == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_messages_name_options():
    said = as_options(
        "pass time=['a', 'b'], unknown=<character>, max_vocabulary or sep=';'",
        ["time", "unknown", "max_vocabulary", "sep"],
    )
    assert said == "pass --time 'a' --time 'b', --unknown <character>, --max-vocabulary or --sep ';'"


@pytest.mark.parametrize(
    ("message", "said"),
    [
        ("LSTM: dropout must be in [0, 1), got 2", "--dropout must be in [0, 1), got 2"),
        ("time[3] must be a name", "--time must be a name"),
        ("epochs must be 1 to 9, or None, got 0", "--epochs must be 1 to 9, got 0"),
        ("sep and time must differ", "--sep and --time must differ"),
        ("give sep or time, not both: they are one", "give --sep or --time, not both: they are one"),
        ("path must end in .so", "--output must end in .so"),
        ('use device="cpu"', 'use --device "cpu"'),
        ("the time must be short, or the dropout high", "the time must be short, or the dropout high"),
        ("Adam: eps must be positive", "Adam: eps must be positive"),
    ],
)
def test_a_word_is_an_option_where_a_message_begins_with_it(message, said):
    names = ["time", "time_format", "sep", "dropout", "epochs", "device"]
    assert as_options(message, names, {"path": "output"}) == said


@pytest.mark.parametrize("columns", [40, 80])
def test_help_fits_the_terminal(columns, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", str(columns))
    for name in ("", "demo", "train", "sample", "score", "forecast", "predict", "info", "warmup", "doctor", "compare"):
        with pytest.raises(SystemExit) as stop:
            main([name, "--help"] if name else ["--help"])
        assert stop.value.code == 0
        shown = capsys.readouterr().out
        assert shown.startswith("usage: numbarnn")
        assert max(map(len, shown.splitlines())) <= columns + 4  # a usage is not broken


# Standard input and output


def test_standard_input(folder, monkeypatch, capsys, chars):
    pipe(monkeypatch, TEXT.replace("\n", "\r\n"))
    assert main(["train", "-", *SMALL]) == 1
    assert "name the model's file with -o MODEL" in capsys.readouterr().err
    assert main(["train", "-", "-o", "in.st", *SMALL]) == 0
    assert nr.load("in.st").vocabulary.characters == "".join(sorted(set(TEXT)))
    pipe(monkeypatch, "\ufeff" + TEXT)
    capsys.readouterr()
    assert main(["score", "in.st", "-"]) == 0
    assert f"over {len(TEXT) - 1} characters" in capsys.readouterr().out
    pipe(monkeypatch, "the ")
    assert main(["sample", chars, "-n", "5", "--prime-file", "-", "--seed", "1"]) == 0
    first = capsys.readouterr().out
    assert main(["sample", chars, "-n", "5", "--prime", "the ", "--seed", "1"]) == 0
    assert capsys.readouterr().out == first
    (folder / "start.txt").write_text("the ")
    assert main(["sample", chars, "-n", "5", "--prime-file", "start.txt", "--seed", "1"]) == 0
    assert capsys.readouterr().out == first
    pipe(monkeypatch, b"f\xfcr")
    assert main(["score", chars, "-"]) == 1
    assert "standard input is not utf-8 text" in capsys.readouterr().err


def test_what_is_left_out_is_said(folder, capsys, chars):
    (folder / "text.txt").write_text(TEXT)
    assert main(["train", "text.txt", "-o", "m.st", "--unit", "word", "--min-count", "30", *SMALL]) == 0
    assert re.search(
        r"4 of 10 words are known to the model; the others, 40.00% of the text",
        capsys.readouterr().out,
    )
    assert main(["sample", chars, "-n", "3", "--prime", "the ##", "--unknown", "skip"]) == 0
    assert capsys.readouterr().err == "numbarnn: 2 characters of the prime are unknown to the model, and left out\n"
    (folder / "other.txt").write_text("the cow")
    assert main(["score", chars, "other.txt", "--unknown", "a"]) == 0
    assert capsys.readouterr().err == "numbarnn: 1 character of the text is unknown to the model, and replaced by 'a'\n"


def run(*arguments, **options):
    environment = os.environ | {"PYTHONPATH": str(PACKAGE.parent)}
    call = [sys.executable, "-m", "numbarnn", *arguments]
    return subprocess.Popen(call, env=environment, stderr=subprocess.PIPE, text=True, **options)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs a device that is full")
def test_outputs_that_take_nothing(chars):
    with open("/dev/full", "w") as full:
        process = run("info", chars, stdout=full)
    error = process.communicate(timeout=60)[1]
    assert (process.returncode, error.count("\n")) == (1, 1)
    assert "No space left on device (standard output" in error
    read, write = os.pipe()
    os.close(read)
    process = run("--help", stdout=write)  # shorter than what is written at once
    os.close(write)
    assert process.communicate(timeout=60)[1] == ""
    assert process.returncode == 0


@pytest.mark.skipif(os.name != "posix", reason="sends SIGTERM")
@pytest.mark.parametrize("background", [False, True])
def test_sigterm_saves_what_was_learned(folder, background):
    (folder / "text.txt").write_text(TEXT)
    ignore = (lambda: signal.signal(signal.SIGINT, signal.SIG_IGN)) if background else None  # as shells do with "&"
    arguments = "train text.txt --epochs 100000 --hidden-size 8 --num-layers 1".split()
    process = run(*arguments, cwd=folder, stdout=subprocess.PIPE, preexec_fn=ignore)
    while "epoch 3/" not in process.stderr.readline():
        assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    out, error = process.communicate(timeout=60)
    assert process.returncode == 143
    assert "training was interrupted" in error
    assert "Traceback" not in error
    assert "saved text.safetensors" in out
    assert nr.load(folder / "text.safetensors").sample(3, prime="the")


@pytest.mark.skipif(os.name != "posix", reason="sends SIGTERM")
def test_sigterm_elsewhere_is_one_line(chars):
    process = run("sample", chars, "-n", "100000000", stdout=subprocess.PIPE)
    assert process.stdout.read(10)
    process.send_signal(signal.SIGTERM)
    error = process.communicate(timeout=60)[1]
    assert (process.returncode, error) == (143, "numbarnn: terminated\n")


def test_signals_are_given_back(chars, capsys):
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
    assert main(["info", chars]) == 0
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)] == before


@pytest.mark.parametrize(
    ("package", "content", "message"),
    [
        (
            "numba",
            "raise ImportError('Numba needs NumPy 2.4 or less')",
            "numba cannot be imported .*Numba needs NumPy 2.4 or less",
        ),
        ("numba", "", "the package numba is not installed, or only in part"),
        ("llvmlite", "raise OSError('no shared object')", "llvmlite cannot be imported .*no shared object"),
        ("pandas", "1 / 0", "pandas cannot be imported .*division by zero"),
    ],
)
def test_broken_installs(tmp_path, package, content, message):
    if package == "pandas":
        pytest.importorskip(
            "sklearn", reason="where scikit-learn is not installed, nothing imports pandas at the start"
        )
    (tmp_path / package).mkdir()
    (tmp_path / package / "__init__.py").write_text(content)
    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); from numbarnn.__main__ import main; sys.exit(main(['doctor']))"
    done = run_python(code, cwd=tmp_path, check=False)
    assert done.returncode == 1
    assert re.match(f"numbarnn: {message}.*pip install --force-reinstall {package}\n$", done.stderr), done.stderr


# Tables


def shops(rows=60, ahead=0):
    """Return a long table of two shops; the last rows have no sales."""
    parts = []
    for number, name in enumerate(("north", "south")):
        times = pd.date_range("2024-01-01", periods=rows + 10 * number + ahead)
        holiday = times.day_of_week.to_numpy() // 5
        sales = 100.0 * (number + 1) + 10 * holiday + np.sin(np.arange(len(times)))
        sales[len(times) - ahead :] = np.nan
        parts.append(
            pd.DataFrame({"shop": name, "day": times, "sales": sales, "holiday": holiday, "size": number + 1.0})
        )
    return pd.concat(parts, ignore_index=True)


def test_many_series(folder, capsys):
    shops(ahead=3).sort_values("day").to_csv("shops.csv", index=False)
    columns = "--id shop --target sales --future holiday --static size --horizon 3".split()
    assert (
        main(["forecast", "shops.csv", *columns, *FORECAST, "--save", "f.st", "-o", "out.csv", "--straddle", "keep"])
        == 0
    )
    shown = capsys.readouterr().out
    assert "shops.csv: 136 rows of 2 series (shop), times from day (guessed): 2024-01-01 to 2024-03-13." in shown
    assert "Ahead, since they have no targets: 6 rows at the end." in shown
    assert list(pd.read_csv("out.csv").columns) == ["shop", "time", "origin", "ahead", "sales", "sales truth"]
    f = nr.load("f.st")
    assert (f.id, f.future, f.static) == ("shop", ("holiday",), ("size",))
    known = shops().set_index("day")
    later = shops(ahead=3).groupby("shop").tail(3).set_index("day")[["shop", "holiday"]]
    expected = f.predict(known, future=later)
    assert main(["predict", "f.st", "shops.csv", "-o", "p.csv"]) == 0
    assert "\n       2024-03-13 " in capsys.readouterr().out
    written = pd.read_csv("p.csv", index_col=["shop", "time"], parse_dates=["time"])
    np.testing.assert_allclose(written["sales"].to_numpy(), expected["sales"].to_numpy(), rtol=1e-12)
    known.reset_index().rename(columns={"shop": "where"}).to_csv("past.csv", index=False)
    later.reset_index().rename(columns={"shop": "where"}).to_csv("later.csv", index=False)
    assert main("predict f.st past.csv --future later.csv --id where -o q.csv".split()) == 0
    assert pd.read_csv("q.csv")["sales"].equals(pd.read_csv("p.csv")["sales"])
    capsys.readouterr()
    assert main("predict f.st past.csv --future later.csv --id where -o -".split()) == 0
    shown = capsys.readouterr()
    assert shown.out == pathlib.Path("q.csv").read_text()
    assert "past.csv: 130 rows of 2 series" in shown.err
    assert main(["info", "f.st"]) == 0
    assert "2 series: north, south\nknown ahead: holiday\nstatic: size\n" in capsys.readouterr().out


def test_series_of_a_forecaster_of_one(folder, capsys):
    one = shops().query("shop == 'north'").set_index("day")[["sales"]]
    f = nr.Forecaster(5, hidden_size=2, cell="rnn", epochs=0, n_threads=1).fit(one, verbose=0)
    f.save("f.st")
    shops().drop(columns=["holiday", "size"]).to_csv("shops.csv", index=False)
    assert main("predict f.st shops.csv --id shop -o p.csv".split()) == 0
    written = pd.read_csv("p.csv", index_col="shop")
    assert written.loc["north", "sales"] == pytest.approx(f.predict(one)["sales"].iloc[0])
    assert main("predict f.st shops.csv".split()) == 1
    assert "--id COL" in capsys.readouterr().err


def test_files_as_people_write_them(folder, capsys):
    """Year, month, day and hour; a counter; words; decimal commas; UTF-16; what of it is guessed is said."""
    times = pd.date_range("2024-01-01", periods=90, freq="h")
    values = [f"{1000 + np.sin(n):.2f}".replace(".", ",") for n in range(90)]
    lines = [
        f"{n + 1};{t.year};{t.month};{t.day};{t.hour};{v};calm"
        for n, (t, v) in enumerate(zip(times, values, strict=True))
    ]
    pathlib.Path("a.csv").write_text("\n".join(["No;year;month;day;hour;load;wind", *lines]), "utf-16")
    assert main(["forecast", "a.csv", *FORECAST, "--save", "f.st"]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith(
        "a.csv: 90 rows, times from year month day hour (guessed): 2024-01-01 00:00:00 to 2024-01-04 17:00:00; guessed: encoding "
        "utf-16, separator ';', decimal point ','.\nLeft out, since they are not numeric: wind.\nLeft out, since they number the "
        "rows: No; --columns takes them in.\n"
    )
    assert nr.load("f.st").feature_names_ == ["load"]
    assert "2024-01-04 18:00:00" in shown


def test_a_forecaster_knows_its_column_of_times(folder, capsys):
    load = np.sin(np.arange(60.0))
    pd.DataFrame({"x": load, "number": np.arange(1, 61)}).to_csv("a.csv", index=False)
    assert main(["forecast", "a.csv", "--time", "number", *FORECAST, "--save", "f.st"]) == 0
    capsys.readouterr()
    assert main(["predict", "f.st", "a.csv"]) == 0
    assert "\n61 " in capsys.readouterr().out
    times = pd.date_range("2024-01-01", periods=60, freq="h")
    parts = {"Tag": times.strftime("%d.%m.%Y"), "Zeit": times.strftime("%H:%M"), "x": load}
    pd.DataFrame(parts).to_csv("b.csv", index=False)
    assert main(["forecast", "b.csv", "--time", "Tag", "--time", "Zeit", *FORECAST, "--save", "f.st"]) == 0
    capsys.readouterr()
    assert main(["predict", "f.st", "b.csv"]) == 0
    assert "2024-01-03 12:00:00" in capsys.readouterr().out


def test_irregular_times_can_be_numbers(folder, capsys):
    times = pd.date_range("2024-01-01", periods=90).delete(40)
    pd.DataFrame({"a": np.sin(np.arange(89.0))}, index=times).to_csv("a.csv", index_label="t")
    assert main(["forecast", "a.csv", *FORECAST]) == 1
    assert "number the rows: --number-rows" in capsys.readouterr().err
    assert main(["forecast", "a.csv", *FORECAST, "--number-rows", "--save", "f.st"]) == 0
    capsys.readouterr()
    assert main(["predict", "f.st", "a.csv"]) == 0  # a forecaster of numbered rows has its rows numbered
    assert "\n89 " in capsys.readouterr().out


def test_categories_and_elapsed_times(folder, capsys):
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"shop": rng.choice(["red", "blue"], 90)}, index=pd.date_range("2024-01-01", periods=90))
    frame["load"] = np.where(frame["shop"] == "red", 1.0, -1.0) + 0.1 * rng.standard_normal(90)
    frame.to_csv("shops.csv", index_label="time")
    told = ["--categories", "shop", "--future", "shop", "--holidays", "2024-01-06,2024-12-25", "--linear", "all"]
    assert main(["forecast", "shops.csv", *FORECAST, *told, "--save", "shops.st"]) == 0
    table = capsys.readouterr().out
    assert "Left out" not in table
    assert float(re.search(r"net +(\S+)", table)[1]) < 0.3  # the last value is off by 1
    frame.index.name = "time"
    frame[rng.random(90) > 0.3][["load"]].to_csv("gaps.csv")
    assert main(["forecast", "gaps.csv", *FORECAST]) == 1
    assert "--irregular 'elapsed'" in capsys.readouterr().err
    assert main(["forecast", "gaps.csv", *FORECAST, "--irregular", "elapsed", "--save", "gaps.st"]) == 0
    assert main(["predict", "gaps.st", "gaps.csv"]) == 0
    assert "ahead" in capsys.readouterr().out


def test_categories_of_words_and_numbers(folder, capsys):
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"kind": rng.choice(["1", "2", "A2"], 90, p=[0.4, 0.4, 0.2])})
    frame["load"] = np.arange(90) % 7 + 0.1 * rng.standard_normal(90)
    frame.index = pd.date_range("2024-01-01", periods=90, name="time")
    frame.to_csv("kinds.csv")
    assert main(["forecast", "kinds.csv", *FORECAST, "--target", "load", "--static", "kind"]) == 1
    assert "no numeric column 'kind': 'A2' in row" in capsys.readouterr().err
    told = [*FORECAST, "--categories", "kind", "--missing", "ffill"]
    assert main(["forecast", "kinds.csv", *told, "--save", "kinds.st"]) == 0
    assert main(["predict", "kinds.st", "kinds.csv", "-o", "words.csv"]) == 0
    frame.iloc[-40:].assign(kind=[*"12" * 19, "", "2"]).to_csv("numbers.csv")  # read as floats and NaN
    assert main(["predict", "kinds.st", "numbers.csv", "-o", "found.csv"]) == 0
    frame.iloc[-40:].assign(kind=[*"12" * 19, "2", "2"]).to_csv("filled.csv")
    assert main(["predict", "kinds.st", "filled.csv", "-o", "expected.csv"]) == 0
    assert pathlib.Path("found.csv").read_text() == pathlib.Path("expected.csv").read_text()


def test_words_are_categories(folder, capsys):
    frame = pd.DataFrame({"load": np.arange(90.0) % 7, "kind": "red"}, index=pd.date_range("2024-01-01", periods=90))
    frame.to_csv("a.csv", index_label="time")
    assert main(["forecast", "a.csv", *FORECAST, "--target", "load", "--static", "kind"]) == 1
    assert "no numeric column 'kind': it has words; name it in --categories too" in capsys.readouterr().err


def test_an_interrupt_in_a_later_net_of_an_ensemble(folder, monkeypatch):
    frame = pd.DataFrame({"load": np.arange(90.0) % 7}, index=pd.date_range("2024-01-01", periods=90))
    frame.to_csv("a.csv", index_label="time")
    interrupt_net(monkeypatch, 2)
    assert main(["forecast", "a.csv", *FORECAST, "--ensemble", "2"]) == 130


def test_rows_are_sorted_by_time(folder, capsys):
    shops().drop(columns=["holiday", "size"]).iloc[::-1].to_csv("a.csv", index=False)
    assert main(["forecast", "a.csv", "--id", "shop", *FORECAST, "-o", "a-out.csv"]) == 0
    assert "Sorted by time, since the rows were not." in capsys.readouterr().out
    shops().drop(columns=["holiday", "size"]).sort_values("shop", ascending=False, kind="stable").to_csv(
        "b.csv", index=False
    )
    assert main(["forecast", "b.csv", "--id", "shop", *FORECAST, "-o", "b-out.csv"]) == 0
    assert "Sorted" not in capsys.readouterr().out
    assert pathlib.Path("a-out.csv").read_text() == pathlib.Path("b-out.csv").read_text()


# Predictions by other models


def test_predictions_of_values(folder, capsys):
    x = np.random.default_rng(0).normal(size=(6, 4, 2)).astype(np.float32)
    model = nr.SequenceRegressor("rnn", 3, epochs=0, n_threads=1, random_state=0).fit(x, x.sum(axis=(1, 2)))
    model.save("m.st")
    np.save("x.npy", x)
    np.savez("x.npz", x=x, lengths=[4, 3, 2, 1, 4, 4])
    frames = [
        pd.DataFrame(sample, columns=["u", "v"]).assign(who=name) for sample, name in zip(x, "fedcba", strict=True)
    ]
    pd.concat(frames).to_csv("x.csv", index=False)
    expected = model.predict(x)
    for arguments in ("x.npy", "x.csv --id who"):
        assert main(f"predict m.st {arguments} -o y.csv".split()) == 0
        np.testing.assert_allclose(pd.read_csv("y.csv")["value"].to_numpy(), expected, rtol=1e-6)
    assert pd.read_csv("y.csv")["sample"].tolist() == list("fedcba")
    assert "Wrote 6 rows of predictions for 6 samples to y.csv." in capsys.readouterr().out
    assert main("predict m.st x.npz -o y.npy".split()) == 0
    lengths = [4, 3, 2, 1, 4, 4]
    short = model.predict([sample[:n] for sample, n in zip(x, lengths, strict=True)])
    np.testing.assert_allclose(np.load("y.npy"), short, rtol=1e-6)
    assert main("predict m.st x.npy --proba".split()) == 1


def test_predictions_of_labels(folder, capsys):
    words, tags = [["the", "dog"], ["a", "cat", "sat"]], [["D", "N"], ["D", "N", "V"]]
    model = nr.SegmentClassifier("rnn", 3, epochs=0, n_threads=1, random_state=0).fit(words, tags)
    model.save("tags.st")
    pathlib.Path("w.txt").write_text("the dog\na cat sat\n")
    assert main("predict tags.st w.txt -o y.csv".split()) == 0
    assert pd.read_csv("y.csv")["label"].tolist() == [tag for sentence in model.predict(words) for tag in sentence]
    assert main("predict tags.st w.txt --proba -o y.csv".split()) == 0
    found = pd.read_csv("y.csv")
    assert list(found.columns) == ["sample", "step", "D", "N", "V"]
    assert found["step"].tolist() == [0, 1, 0, 1, 2]
    sounds = nr.TemporalClassifier("rnn", 3, epochs=0, n_threads=1, random_state=0).fit(["aab", "bba"], ["XY", "YX"])
    sounds.save("sounds.st")
    pathlib.Path("s.txt").write_text("aab\nbba\n")
    assert main("predict sounds.st s.txt -o y.csv".split()) == 0
    written = pd.read_csv("y.csv", keep_default_na=False)["labels"].tolist()
    assert written == ["".join(labels) for labels in sounds.predict(["aab", "bba"])]
    table = pd.DataFrame(np.random.default_rng(0).normal(size=(8, 3)), columns=["a", "b", "c"])
    flat = nr.SequenceClassifier("rnn", 3, epochs=0, n_threads=1, random_state=0).fit(table, ["x", "y"] * 4)
    flat.save("flat.st")
    table.assign(z="word").to_csv("t.csv", index=False)
    capsys.readouterr()
    assert main("predict flat.st t.csv".split()) == 0
    shown = capsys.readouterr().out
    assert "Left out, since the model does not know them: z." in shown
    assert shown.split()[-1] == flat.predict(table)[-1]
    pathlib.Path("x.ts").write_text("@classLabel true x y\n@data\n1,2,3:x\n3,2,1:y\n")
    steps = nr.SequenceClassifier("rnn", 3, epochs=0, n_threads=1, random_state=0).fit(np.zeros((2, 3, 1)), ["x", "y"])
    steps.save("steps.st")
    assert main("predict steps.st x.ts".split()) == 0
    assert re.search(r"Accuracy by the labels of the file: [01]\.[05]000\.", capsys.readouterr().out)


def test_predictions_of_a_plain_model(folder, capsys):
    model = nr.Model([nr.RNN(3), nr.Dense(2)], input_size=2, n_threads=1)
    model.save("m.st")
    x = np.random.default_rng(0).normal(size=(2, 4, 2)).astype(np.float32)
    np.save("x.npy", x)
    np.savez("x.npz", x.reshape(8, 2), offsets=[0, 3, 8])
    assert main("predict m.st x.npy -o y.npy".split()) == 0
    assert (np.load("y.npy") == model.predict(x)).all()
    assert main("predict m.st x.npz -o y.csv".split()) == 0
    rows = x.reshape(8, 2)
    expected = np.concatenate([model.predict(rows[None, :3])[0], model.predict(rows[None, 3:])[0]])
    found = pd.read_csv("y.csv")
    assert found["label"].tolist() == expected.tolist()
    assert found["step"].tolist() == [0, 1, 2, 0, 1, 2, 3, 4]
    assert main("predict m.st x.npy --proba".split()) == 0
    assert "output 1" in capsys.readouterr().out


def test_predictions_of_a_language_model(folder, capsys, chars):
    (folder / "text.txt").write_text(TEXT)
    assert main(["score", chars, "text.txt"]) == 0
    score = capsys.readouterr().out
    assert main(["predict", chars, "text.txt"]) == 0
    assert capsys.readouterr().out == f"{score}To continue the text: numbarnn sample {chars} --prime-file text.txt\n"


# Progress


def test_the_first_batch_does_not_count_in_the_time_left(capsys, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # tqdm.auto on a missing widget library
        progress = Progress(1, 1000, "characters", 1)
    time.sleep(1)  # kernels that are compiled
    for _ in range(20):
        progress.batch(0, 10, 1.0)
        time.sleep(0.01)
    about = progress.bar.format_dict
    progress.close()
    capsys.readouterr()
    rate = (about["n"] - about["initial"]) / about["elapsed"]
    assert about["n"] == 200
    assert (about["total"] - about["n"]) / rate < 3  # 4 s and more with the first batch


def test_kernels_are_counted(capsys, monkeypatch):
    from numbarnn.training import progress as module

    monkeypatch.setattr(module, "LINE_EVERY", -1.0)
    shown = module.Progress(1, 1000, "characters", 1)
    for _ in range(3):
        shown._compiling("folder")
    shown.batch(0, 10, 1.0)
    shown.close()
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "compiling kernels for this processor, which are stored in folder for the next time"
    assert re.fullmatch(rf"compiling kernel 3 of about {module.FIRST_KERNELS}, 0 s", lines[3])
    assert re.fullmatch(r"3 kernels compiled in 0\.\d s", lines[4])


@pytest.mark.parametrize("logged", [False, True])
def test_lines_inside_an_epoch_wait_for_their_time(logged, capsys, monkeypatch):
    """Time counts from the first batch, which may have compiled for long, and from what was shown last, a log record too."""
    from numbarnn.training import progress as module

    clock = [0.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(module, "_logged_here", lambda: logged)
    shown = module.Progress(1, 1000, "characters", 9)

    def lines(at, call, *arguments):
        clock[0] = at
        call(*arguments)
        return len(capsys.readouterr().err.splitlines())

    record = {"epoch": 1, "loss": 1.0, "seconds": 1.0}
    assert lines(60, shown.batch, 0, 10, 1.0) == 0
    assert lines(69, shown.batch, 0, 10, 1.0) == 0
    assert lines(69, shown.epoch, record) == (not logged)
    assert lines(78, shown.batch, 1, 10, 1.0) == 0
    assert lines(80, shown.batch, 1, 10, 1.0) == 1
    assert lines(81, shown.batch, 1, 10, 1.0) == 0
    shown.close()
