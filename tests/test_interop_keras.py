"""Keras models and files to models and back: the same outputs, the same weights, or a refusal that says why."""

import importlib.util
import json
import pathlib

import numpy as np
import pytest
from processes import run_python

from numbarnn import GRU, LSTM, RNN, Dense, Dropout, IndRNN, MinLSTM, Model, Pool
from numbarnn.errors import InteropError
from numbarnn.interop import from_keras, to_keras

for package in ("h5py", "keras", "torch"):
    if importlib.util.find_spec(package) is None:
        pytest.skip(
            f"{package} is not installed; Keras, running on torch, is the other side here", allow_module_level=True
        )

HERE = pathlib.Path(__file__).parent
COUNT = 15
CLOSE = {"atol": 3e-6, "rtol": 0}


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """Folder of files, and arrays: Keras chooses what it computes with where it is imported, so in a process of its own."""
    folder = tmp_path_factory.mktemp("keras")
    code = "import runpy, sys; sys.argv = sys.argv[1:]; runpy.run_path(sys.argv[0], run_name='__main__')"
    run_python(code, HERE / "interop_keras.py", folder, cwd=folder, KERAS_BACKEND="torch", KERAS_HOME=folder / "home")
    results = dict(np.load(folder / "results.npz"))
    assert f"{COUNT - 1} y" in results
    assert f"{COUNT} y" not in results
    return folder, results


@pytest.mark.parametrize("number", range(COUNT))
def test_files(written, number):
    folder, results = written
    model = from_keras(folder / f"{number}.keras")
    x, y = results[f"{number} x"], results[f"{number} y"]
    found = model.predict_proba(x) if results[f"{number} name"] == "backwards" else model.forward(x)[0]
    np.testing.assert_allclose(found, y, **CLOSE)
    assert np.array_equal(model.params.flat, results[f"{number} flat"])  # as of the model itself
    np.testing.assert_allclose(results[f"{number} again"], model.forward(x)[0], **CLOSE)
    again = from_keras(folder / f"{number}-again.keras")
    assert np.array_equal(again.params.flat, model.params.flat)


@pytest.mark.parametrize("number", [0, 1, 3, 8, 14])
def test_weights(written, number):
    folder, results = written
    layers = from_keras(folder / f"{number}.keras").layers
    model = from_keras(folder / f"{number}.weights.h5", layers=layers)
    assert np.array_equal(model.params.flat, results[f"{number} flat"])
    with pytest.raises(InteropError, match="has no weights"):
        from_keras(folder / f"{number}.weights.h5", layers=[*layers, Dense(2), Dense(2)])
    with pytest.raises(ValueError, match="layers must be given"):
        from_keras(folder / f"{number}.weights.h5")


def test_masks_are_lengths(written):
    folder, results = written
    x = results["masked x"]
    found, _ = from_keras(folder / "masked.keras").forward(x, lengths=(x != 0).sum(axis=1))
    np.testing.assert_allclose(found, results["masked y"], **CLOSE)


def test_refusals(written):
    reasons = json.loads((written[0] / "reasons.json").read_text())
    words = {
        "two inputs": ["2 inputs"], "shared": ["used 2 times"], "activation": ["hard_sigmoid"],
        "unknown": ["(LayerNormalization)", "(Lambda)", "(Conv1D)"], "backwards": ["from the last step to the first"],
        "softmax within": ["softmax before the last layer"], "half": ["float16"],
        "half within": ["(Bidirectional) computes in mixed_float16", "(TimeDistributed) computes in mixed_float16"],
        "options": ["max_value", "negative_slope", "threshold", "axis=1"], "pooling": ["channels_first"],
        "max of masked": ["maximum of masked steps"], "adapted": ["it has 4 arrays"], "own": ["own class Dense"],
        "own within": ["own class Dense"], "own mask": ["has 2 inputs"], "training": ["training=True"],
        "states": ["return_state=True"], "stateful": ["stateful=True"],
    }  # fmt: skip
    assert reasons.keys() == words.keys()
    for name, parts in words.items():
        assert len(reasons[name]) == len(parts)
        for reason, part in zip(reasons[name], parts, strict=True):
            assert part in reason, name


def test_weights_of_another_model(written):
    folder, _ = written
    layers = from_keras(folder / "0.keras").layers
    with pytest.raises(InteropError, match="no layer takes: dense"):
        from_keras(folder / "0.weights.h5", layers=layers[:1])
    with pytest.raises(InteropError, match="it has 3 arrays"):
        from_keras(folder / "0.weights.h5", layers=[LSTM(5, bias=False), layers[1]])
    for number, other in ((3, False), (6, True)):
        _, dense = from_keras(folder / f"{number}.keras").layers
        with pytest.raises(InteropError, match="other reset_after"):
            from_keras(folder / f"{number}.weights.h5", layers=[GRU(5, reset_after=other), dense])


@pytest.mark.parametrize(("links", "layers"), [(100, 1), (3, 2)])
def test_arrays_given_twice(tmp_path, links, layers):
    import h5py

    with h5py.File(tmp_path / "twice.weights.h5", "w") as file:
        array = file.create_dataset("array", data=np.zeros((100, 400), "float32"))
        for layer in ("lstm", "lstm_1")[:layers]:
            for index in range(links):
                file[f"layers/{layer}/cell/vars/{index}"] = array
    with pytest.raises(InteropError, match="100 arrays" if links == 100 else "larger than the file"):
        from_keras(tmp_path / "twice.weights.h5", layers=[LSTM(100)] * layers)


def test_files_that_are_none(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"^source: there is no file '.*none\.keras'$"):
        from_keras(tmp_path / "none.keras")
    (tmp_path / "text.keras").write_text("no zip")
    with pytest.raises(InteropError, match=r"not a \.keras file"):
        from_keras(tmp_path / "text.keras")
    with pytest.raises(TypeError, match="source must be"):
        from_keras(3)
    with pytest.raises(ValueError, match="layers must be left out"):
        from_keras(tmp_path / "text.keras", layers=[LSTM(3)])


def test_to_keras_refusals(monkeypatch):
    model = Model(
        [LSTM(3, coupled=True), RNN(3, reverse=True), GRU(3, bidirectional=True), Dropout(0.1), Pool("last"), Dense(2)],
        4,
    )
    monkeypatch.setitem(__import__("sys").modules, "keras", object())  # nothing of it is needed to say why not
    with pytest.raises(InteropError) as error:
        to_keras(model)
    assert [reason.partition(" ")[0] for reason in error.value.reasons] == ["lstm", "rnn", "pool"]
    for first, second in (
        (LSTM(3, 2, name="a"), Dense(2, name="a_l0")),
        (GRU(3, 2, dropout=0.1), Dense(2, name="gru_l0_dropout")),
    ):
        with pytest.raises(InteropError, match=f"called '{second.name}'"):
            to_keras(Model([first, second], 4))
    for layer in (IndRNN(3), MinLSTM(3)):
        with pytest.raises(InteropError, match="no counterpart in Keras"):
            to_keras(Model([layer], 4))
    with pytest.raises(ValueError, match=r"must end in \.keras"):
        to_keras(model, "model.h5")
