"""The examples do what they say."""

import os
import pathlib
import re
import subprocess
import sys

import pytest

EXAMPLES = pathlib.Path(__file__).resolve().parent.parent / "examples"


def run(name, *arguments, cwd=None):
    environment = os.environ | {"PYTHONPATH": str(EXAMPLES.parent)}
    command = [sys.executable, str(EXAMPLES / name), *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False, cwd=cwd)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_four_letters():
    shown = run("four_letters.py")
    losses = [float(loss) for loss in re.findall(r"E = sum of E_t = ([\d.]+)", shown)]
    assert losses == sorted(losses, reverse=True)
    assert losses[-1] < 0.05 * losses[0]
    assert "x_0 = 'm' [0 0 0 1]" in shown
    assert shown.strip().endswith("spells 'maid'.")


def test_learned_correction():
    shown = run("learned_correction.py")
    alone, learned = map(float, re.findall(r"off by ([\d.]+)", shown))
    assert learned < 0.02 < 0.5 < alone


def test_adaptive_solver():
    pytest.importorskip("scipy")
    shown = run("adaptive_solver.py")
    alone, learned = map(float, re.findall(r"off by ([\d.]+)", shown))
    assert learned < 0.1 < 0.5 < alone


def test_custom_cell():
    shown = run("custom_cell.py")
    exact, difference = map(float, re.search(r"gradient (\S+), central difference (\S+)", shown).groups())
    assert exact == pytest.approx(difference, rel=1e-6)
    assert float(re.search(r"accuracy ([\d.]+)%", shown)[1]) > 95
    assert len((EXAMPLES / "custom_cell.py").read_text().splitlines()) < 80


def test_char_model(tmp_path):
    (tmp_path / "text.txt").write_text("the cat sat on the mat. the dog sat on the log.\n" * 400)
    shown = run("char_model.py", str(tmp_path / "text.txt"), "--epochs", "10", "--hidden-size", "24")
    assert "it generates the same: True" in shown
    assert float(re.search(r"([\d.]+) nats", shown)[1]) < 1.0


def test_forecast_weather(tmp_path):
    shown = run("forecast_weather.py", "--hours", "1500", "--epochs", "2", cwd=tmp_path)
    assert re.search(r"\nnet( +[\d.]+){5}\n", shown)
    assert "The forecaster is" in shown
    assert "Read from its file it says the same: True" in shown


def test_next_word():
    shown = run("next_word.py", "--epochs", "3", "--characters", "200000")
    perplexity, alone = map(float, re.search(r"perplexity ([\d.]+) \(from .* alone: ([\d.]+)\)", shown).groups())
    assert 10 < perplexity < 0.4 * alone
    assert re.search(r"([\d.]+)% are unknown", shown)
    assert shown.count(" -> ") == 6
    assert "<unk>" not in shown.partition("Generated text:")[2]


def test_temporal_classification():
    shown = run("temporal_classification.py")
    for name in ("best path", "beam search"):
        assert float(re.search(rf"{name}: label error ([\d.]+)%", shown)[1]) < 5
    said, heard = re.search(r"said: ([\d ]+)\n +heard with log probability +-[\d.]+: ([\d ]+)\n", shown).groups()
    assert said == heard
    assert len(re.findall(r"at steps \d+ to \d+", shown)) == len(said.split())


def test_sequence_classification(tmp_path):
    shown = run("sequence_classification.py")
    assert float(re.search(r"right: ([\d.]+) %", shown)[1]) > 85
    assert re.search(r"\nrobin +\d+ +\d+ +\d+ +\d+\n", shown)
    (tmp_path / "own.ts").write_text("@classLabel true a b\n@data\n" + "1,2,3:a\n3,2,1:b\n" * 30)
    assert "2 classes" in run("sequence_classification.py", "--train", str(tmp_path / "own.ts"), "--epochs", "3")


def test_segment_classification(tmp_path):
    shown = run("segment_classification.py")
    net, alone = map(float, re.search(r"right: ([\d.]+) % .* ([\d.]+) %\)", shown).groups())
    assert net > 95 > 85 > alone
    assert float(re.search(r"pairs of words, right: ([\d.]+) %", shown)[1]) > 95
    (tmp_path / "own.tsv").write_text("the\tDET\ncat\tNOUN\n\n" * 30)
    assert "30 sentences" in run("segment_classification.py", "--train", str(tmp_path / "own.tsv"), "--epochs", "1")


def test_every_example_is_tested():
    named = {f"test_{path.stem}" for path in EXAMPLES.glob("*.py")}
    assert named <= set(globals())
