"""The command line, as a user types it."""

import os
import re
import subprocess
import sys
import types

import pytest
from processes import PACKAGE

import numbarnn
from numbarnn.cli import language
from numbarnn.cli.main import main

TEXT = "the cat sat on the mat. the dog sat on the log.\n" * 20


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text.txt").write_text(TEXT)
    return tmp_path


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A file with a small trained model."""
    folder = tmp_path_factory.mktemp("model")
    (folder / "text.txt").write_text(TEXT)
    path = folder / "model.safetensors"
    arguments = "--hidden-size 16 --num-layers 1 --epochs 3 --batch-size 4 --seq-length 20 --quiet --threads 1".split()
    assert main(["train", str(folder / "text.txt"), "-o", str(path), *arguments]) == 0
    return str(path)


FAULTS = {
    KeyError: lambda *_, **__: {}["lookback"],
    TypeError: lambda *_, **__: len(3),
    ValueError: lambda *_, **__: int("x"),
    ZeroDivisionError: lambda *_, **__: 1 / 0,
}


@pytest.mark.parametrize("error", FAULTS)
def test_faults_of_the_program_are_not_taken_for_errors_of_the_user(folder, model, monkeypatch, error):
    fault = types.FunctionType(
        FAULTS[error].__code__, {"__name__": "numbarnn.model"}
    )  # as if a module of the package had it
    monkeypatch.setattr(numbarnn.LanguageModel, "score", fault)
    with pytest.raises(error):
        main(["score", model, "text.txt"])
    (folder / "a.csv").write_text("load\n" + "1\n2\n" * 20)
    monkeypatch.setattr(numbarnn.Forecaster, "fit", fault)
    with pytest.raises(error):
        main(["forecast", "a.csv", "--quiet"])


def test_train_writes_a_model(folder, capsys):
    arguments = (
        "train text.txt --cell gru --hidden-size 8 --num-layers 1 --epochs 2 --batch-size 4 --seq-length 20".split()
    )
    assert main(arguments) == 0
    shown = capsys.readouterr()
    assert re.search(r"saved text.safetensors; loss \d\.\d{4}, held out \d\.\d{4} nats per character", shown.out)
    assert "epoch 2/2" in shown.err
    assert numbarnn.load("text.safetensors").cell == "gru"
    assert main([*arguments[:2], "--resume-from", "text.safetensors", "--epochs", "1", "--quiet"]) == 0


def test_sample(model, capsys):
    arguments = ["sample", model, "--length", "30", "--prime", "the ", "--seed", "3"]
    assert main(arguments) == 0
    first = capsys.readouterr().out
    assert first.startswith("the ")
    assert len(first) == 4 + 30 + 1
    assert main(arguments) == 0
    assert capsys.readouterr().out == first
    assert main([*arguments, "--temperature", "0", "--top-k", "2", "--top-p", "0.9", "--stop", "."]) == 0


def test_score(model, folder, capsys):
    assert main(["score", model, "text.txt"]) == 0
    shown = capsys.readouterr().out
    found = re.fullmatch(
        r"(\d\.\d+) nats per character, (\d\.\d+) bits, perplexity \d+\.\d+, over (\d+) characters\n", shown
    )
    score = numbarnn.load(model).score(TEXT)
    assert (float(found[1]), float(found[2])) == pytest.approx((score.nats, score.bits), abs=1e-4)
    assert int(found[3]) == len(TEXT) - 1


def test_info(model, folder, capsys):
    assert main(["info", model]) == 0
    shown = capsys.readouterr().out
    assert "character model (lstm), 15 characters" in shown
    assert "lstm (LSTM)" in shown
    numbarnn.Model([numbarnn.GRU(3)], input_size=2).save("plain")
    assert main(["info", "plain"]) == 0
    assert "gru (GRU)" in capsys.readouterr().out
    estimator = numbarnn.TemporalClassifier("rnn", 3, epochs=1, n_threads=1).fit(["abc"], ["xy"])
    estimator.save("labels")
    assert main(["info", "labels"]) == 0
    shown = capsys.readouterr().out
    assert "TemporalClassifier(cell='rnn', " in shown
    assert "2 labels: 'x', 'y'" in shown
    assert "rnn (RNN)" in shown


def train(path, text, *arguments):
    """Train a small model of a text by the command line; return the arguments that name it."""
    (path / "text.txt").write_bytes(text)
    small = "--cell rnn --hidden-size 16 --num-layers 1 --epochs 2 --batch-size 4 --seq-length 20 --quiet".split()
    assert main(["train", str(path / "text.txt"), *small, *arguments]) == 0
    return str(path / "text.safetensors")


def test_words(tmp_path, capsys):
    model = train(tmp_path, TEXT.encode(), *"--unit word --max-vocabulary 8 --min-count 2 --embedding-size 5".split())
    assert re.search(r"held out \d\.\d+ nats per word\n", capsys.readouterr().out)
    lm = numbarnn.load(model)
    assert (lm.unit, len(lm.vocabulary), lm.min_count, lm.embedding_size) == ("word", 10, 2, 5)
    assert main(["info", model]) == 0
    shown = capsys.readouterr().out
    assert re.match(r"word model \(rnn\), 10 words including the unknown ones, first ' (sat|on|the)'", shown)
    assert "embedding (Embedding)" in shown
    assert main(["sample", model, "-n", "6", "--prime", "the cat", "--unknown", "<unk>", "--seed", "1"]) == 0
    shown = capsys.readouterr().out
    assert len(numbarnn.data.split_words(shown[:-1])) == 2 + 6
    assert "<unk>" not in shown
    assert main(["sample", model, "-n", "200", "--prime", " sat", "--allow-unknown", "--temperature", "3"]) == 0
    assert "<unk>" in capsys.readouterr().out
    assert main(["score", model, str(tmp_path / "text.txt")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert re.fullmatch(r"\d\.\d+ nats per word, \d\.\d+ bits, perplexity \d+\.\d+, over 299 words", lines[0])
    assert re.fullmatch(r"0\.\d+ nats per character, 0?\.?\d*\.?\d+ bits", lines[1])
    assert re.fullmatch(r"\d+\.\d\d% of the words are unknown to the model", lines[2])
    assert main(["sample", model, "--prime", "zebra"]) == 1
    assert "1 word outside the model's vocabulary of 10: 'zebra'" in capsys.readouterr().err


def test_bytes(tmp_path, capsys):
    latin = "für die Käse\n".encode("latin-1") * 40
    model = train(tmp_path, latin, "--unit", "byte")  # not UTF-8, and nobody minds
    assert "nats per byte" in capsys.readouterr().out
    assert main(["score", model, str(tmp_path / "text.txt")]) == 0
    assert f"over {len(latin) - 1} bytes\n" in capsys.readouterr().out
    assert main(["info", model]) == 0
    assert "byte model (rnn), 256 bytes\n" in capsys.readouterr().out
    assert main(["sample", model, "-n", "20", "--prime", "die "]) == 0
    assert capsys.readouterr().out.startswith("die ")
    assert main(["train", str(tmp_path / "text.txt"), "--unit", "byte", "--max-vocabulary", "9"]) == 1
    assert "--max-vocabulary and --min-count go with --unit 'word'" in capsys.readouterr().err


ESCAPES = "\x1b]0;TITLE\x07\x9b31m\r\x7f"


def test_what_files_say_cannot_command_a_terminal(folder, capsys, monkeypatch):
    layer = numbarnn.Dense(2, name=f"d{ESCAPES}")
    numbarnn.Model([layer], input_size=2).save("named")
    labels = numbarnn.SequenceClassifier("rnn", 2, epochs=1, n_threads=1).fit([[1.0], [2.0]], [f"a{ESCAPES}", "b"])
    labels.save("labelled")
    for name in ("named", "labelled", f"missing{ESCAPES}"):
        assert main(["info", name]) == ("missing" in name)
        shown = capsys.readouterr()
        assert "\\x1b]0;TITLE\\x07\\x9b31m\\r\\x7f" in shown.out + shown.err
        assert (shown.out + shown.err).replace("\n", "").isprintable()
    text = train(folder, (ESCAPES.replace("\r", "") * 40).encode(), "--validation", "0")
    command = ["sample", text, "-n", "60", "--seed", "1"]
    capsys.readouterr()
    assert main(command) == 0
    raw = capsys.readouterr().out  # for a file or another program, as it is
    assert set(raw) <= set(ESCAPES + "\n")
    assert "\x1b" in raw
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    assert main(command) == 0
    shown = capsys.readouterr().out
    assert shown == numbarnn.errors.printable(raw)
    assert shown[:-1].isprintable()


def test_texts_that_the_output_cannot_encode(tmp_path):
    text = "h\u00e9llo \u4f60\u597d \ud800" * 40
    numbarnn.CharLM("rnn", 8, 1, n_threads=1).fit(text, epochs=1, verbose=0, batch_size=4, seq_length=10).save(
        tmp_path / "m"
    )
    code = "import sys; from numbarnn.__main__ import main; sys.exit(main(sys.argv[1:]))"
    commands = (["sample", "m", "-n", "60", "--seed", "1"], ["info", "m"], ["sample", "m", "--prime", "\u4f60\u4f61"])
    for encoding in ("ascii", "cp1252", "utf-8"):
        environment = os.environ | {"PYTHONIOENCODING": encoding, "PYTHONPATH": str(PACKAGE.parent)}
        for command in commands:
            call = [sys.executable, "-c", code, *command]
            done = subprocess.run(call, cwd=tmp_path, env=environment, capture_output=True, check=False)
            shown = (done.stdout + done.stderr).decode(encoding)
            if command is commands[-1]:
                assert done.returncode == 1
                assert "outside the model's vocabulary" in shown
                assert ("\u4f61" if encoding == "utf-8" else "\\u4f61") in shown
                continue
            assert done.returncode == 0, shown
            assert ("\\xe9" if encoding == "ascii" else "\xe9") in shown
            assert ("\u4f60" if encoding == "utf-8" else "\\u4f60") in shown
            assert "\\ud800" in shown


def test_demo(folder, capsys):
    assert main(["demo", "--seconds", "2", "--output", "demo.safetensors"]) == 0
    shown = capsys.readouterr()
    assert shown.out.count("steps, loss") >= 2
    assert "numbarnn sample demo.safetensors" in shown.out
    assert "epoch 1" in shown.err
    assert numbarnn.load("demo.safetensors").sample(5, prime="The ")


@pytest.mark.parametrize(
    "arguments", [[], ["--help"], ["train", "--help"], ["sample", "--help"], ["--version"]], ids=" ".join
)
def test_help(arguments, capsys):
    try:
        status = main(arguments)
    except SystemExit as stop:
        status = stop.code
    shown = capsys.readouterr().out
    assert status == (0 if arguments else 2)
    assert "numbarnn" in shown


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "missing.txt"], "there is no file .missing.txt"),
        (["train", "empty.txt"], "is empty"),
        (["train", "latin.txt"], "is not utf-8 text"),
        (["train", "text.txt", "--encoding", "klingon"], "no encoding 'klingon'"),
        (["train", "text.txt", "-o", "no/model"], "no folder 'no'"),
        (["train", "text.txt", "-o", "."], "is a folder"),
        (["train", "text.txt", "--dropout", "1.5"], "dropout must be in"),
        (["train", "text.txt", "--seed", "-3"], "seed must be"),
        (["train", "text.txt", "--validation", "2"], "validation must be"),
        (["sample", "missing.safetensors"], "no model file"),
        (["sample", "text.txt"], "not a model file, or is cut off"),
        (["sample", "MODEL", "--prime", "Ω"], "outside the model's vocabulary"),
        (["sample", "MODEL", "--temperature", "-1"], "temperature must be"),
        (["score", "MODEL", "unknown.txt"], "outside the model's vocabulary"),
        (["score", "plain", "text.txt"], "not a language model"),
        (["info", "text.txt"], "not a model file, or is cut off"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_mistakes(model, folder, capsys, arguments, message):
    (folder / "empty.txt").write_text("")
    (folder / "latin.txt").write_bytes("für".encode("latin-1"))
    (folder / "unknown.txt").write_text("Ωmega", encoding="utf-8")
    numbarnn.Model([numbarnn.GRU(3)], input_size=2).save("plain")
    assert main([model if a == "MODEL" else a for a in arguments]) == 1
    shown = capsys.readouterr()
    assert re.search(message, shown.err), shown.err
    assert shown.err.startswith("numbarnn: ")
    assert "Traceback" not in shown.err


@pytest.mark.parametrize(
    "arguments", ["train", "train text.txt --epochs 0", "train text.txt --cell cow", "fly", "sample m -n x"]
)
def test_wrong_arguments(folder, capsys, arguments):
    with pytest.raises(SystemExit) as stop:
        main(arguments.split())
    assert stop.value.code == 2
    assert "error: " in capsys.readouterr().err


def run(*arguments, **options):
    environment = os.environ | {"PYTHONPATH": str(PACKAGE.parent)}
    return subprocess.Popen(
        [sys.executable, "-m", "numbarnn", *arguments], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True, **options,
    )  # fmt: skip


def test_a_reader_that_closes_the_pipe(model):
    process = run("sample", model, "-n", "2000000")
    assert process.stdout.read(10)
    process.stdout.close()
    error = process.stderr.read()
    assert process.wait(60) == 0
    assert error == ""
    process.stderr.close()


@pytest.mark.skipif(os.name != "posix", reason="sends SIGINT")
def test_ctrl_c_in_training_saves_what_was_learned(folder):
    import signal

    process = run("train", "text.txt", "--epochs", "100000", "--hidden-size", "8", "--num-layers", "1", cwd=folder)
    while "epoch 3/" not in process.stderr.readline():
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    out, error = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "interrupted" in error
    assert "Traceback" not in error
    assert "saved text.safetensors" in out
    assert numbarnn.load(folder / "text.safetensors").sample(3, prime="the")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-16-le"])
def test_a_byte_order_mark_is_no_character(tmp_path, encoding):
    path = tmp_path / "text.txt"
    path.write_bytes(("" if encoding == "utf-16" else "\ufeff").encode(encoding) + "für\r\ndie\n".encode(encoding))
    assert language.read_text(path, encoding, "character") == "für\ndie\n"
    assert language.read_text(path, encoding, "byte") == path.read_bytes()
