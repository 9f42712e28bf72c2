"""The command line converts model files from and to those of other packages."""

import numpy as np
import pytest

import numbarnn as nr
from numbarnn.cli.main import main

X = np.random.default_rng(0).normal(size=(2, 5, 3))


@pytest.fixture
def path(tmp_path):
    nr.Model([nr.LSTM(4, bidirectional=True), nr.Dense(2)], input_size=3, seed=1, n_threads=1).save(tmp_path / "net.st")
    return tmp_path / "net.st"


def test_onnx(path, capsys):
    pytest.importorskip("onnx", reason="onnx is not installed, which writes graphs")
    graph, again = path.with_suffix(".onnx"), path.with_name("again.safetensors")
    assert main(["convert", str(path), str(graph), "--opset", "18"]) == 0
    assert main(["info", str(graph)]) == 0
    assert main(["convert", str(graph), str(again)]) == 0
    printed = capsys.readouterr().out
    assert printed.count("lstm (LSTM)") == 3
    assert f"Wrote {again}." in printed
    before, after = nr.load(path), nr.load(again)
    assert np.array_equal(before.params.flat, after.params.flat)
    assert np.array_equal(before.forward(X)[0], after.forward(X)[0])


def test_the_net_of_a_language_model(path, capsys):
    pytest.importorskip("onnx", reason="onnx is not installed, which writes graphs")
    lm = nr.CharLM("rnn", 4, 1, n_threads=1).fit("ab" * 20, 0, verbose=0)
    lm.save(path)
    assert main(["convert", str(path), str(path.with_suffix(".onnx"))]) == 0
    assert capsys.readouterr().err.startswith("numbarnn: the net alone is converted: vocabulary, ")


def test_nothing_is_converted_where_a_command_ends_with_an_error(path, capsys):
    """Nor said to be; what is said of a net alone comes after the file is written."""
    lm = nr.CharLM("rnn", 4, 1, n_threads=1).fit("ab" * 20, 0, verbose=0)
    lm.save(path)
    for command in ("convert {} {}/out.onnx --opset 3", "freeze {} -o {}/out.dll", "freeze {} -o {}/out.so --name 1"):
        assert main(command.format(path, path.parent).split()) == 1
        said = capsys.readouterr()
        assert said.err.count("\n") == 1
        assert "must" in said.err
        assert said.out == ""
    assert main(["freeze", str(path), "-o", str(path.with_suffix(".c"))]) == 0
    assert capsys.readouterr().err.startswith("numbarnn: the net alone is frozen: vocabulary, ")


def test_reasons_in_a_line(path, capsys):
    pytest.importorskip("onnx", reason="onnx is not installed, which writes graphs")
    own = nr.cells.CELLS["RNN"]
    nr.Model([nr.Recurrent(2, cell=own()), nr.Recurrent(2, cell=own())], input_size=3, n_threads=1).save(path)
    assert main(["convert", str(path), str(path.with_suffix(".onnx"))]) == 1
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert said.count("has no counterpart in ONNX") == 2
    assert not path.with_suffix(".onnx").exists()
