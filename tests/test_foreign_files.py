"""Foreign files that are damaged or made up, by the thousand (`--files 100000`): refused by InteropError, or they work."""

import json
import os
import pathlib

import numpy as np
import pytest
from processes import run_python
from safetensors.numpy import save_file

from numbarnn import GRU, LSTM, RNN, Dense, Embedding, EmbeddingBag, Model, Pool, Recurrent
from numbarnn.cells import CELLS, contract, curves
from numbarnn.interop import to_onnx

pytest.importorskip("resource", reason="measures memory as POSIX does")
pytest.importorskip("onnx", reason="onnx is not installed, which reads and writes graphs")
h5py = pytest.importorskip("h5py", reason="h5py is not installed, which reads Keras files")

from mutated_foreign import LAYERS  # noqa: E402 - it needs what is asked for above

HERE = pathlib.Path(__file__).parent


def keras_file(path):
    """Write a small file as Keras writes it."""
    import io
    import zipfile

    recurrent = {
        "name": "lstm", "units": 3, "activation": "tanh", "recurrent_activation": "sigmoid", "use_bias": True,
        "return_sequences": True, "go_backwards": False, "dropout": 0.1,
    }  # fmt: skip
    layers = [
        {"class_name": "InputLayer", "config": {"name": "input", "batch_shape": [None, None, 2]}},
        {"class_name": "LSTM", "config": recurrent},
        {"class_name": "Dense", "config": {"name": "dense", "units": 2, "activation": "softmax", "use_bias": True}},
    ]
    layers = [layer | {"module": "keras.layers", "registered_name": None} for layer in layers]
    model = {"class_name": "Sequential", "module": "keras", "config": {"name": "s", "layers": layers}}
    written = io.BytesIO()
    with h5py.File(written, "w") as file:
        for name, shape in (
            ("lstm/cell/vars/0", (2, 12)), ("lstm/cell/vars/1", (3, 12)), ("lstm/cell/vars/2", (12,)), ("dense/vars/0", (3, 2)),
            ("dense/vars/1", (2,)),
        ):  # fmt: skip
            file[f"layers/{name}"] = np.ones(shape, np.float32)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("config.json", json.dumps(model))
        archive.writestr("model.weights.h5", written.getvalue())


def write_sources(folder):
    """Write the files that are changed."""
    to_onnx(Model([LSTM(3, 2, bidirectional=True), Pool("mean"), Dense(2)], 2), folder / "a.onnx")
    to_onnx(Model([Embedding(5, 3), GRU(3, return_sequences=False), Dense(2)]), folder / "b.onnx", lengths=False)
    to_onnx(Model([EmbeddingBag(5, 3, 2), LSTM(3, peepholes=True), Dense(2, activation="tanh")]), folder / "c.onnx")
    to_onnx(
        Model([RNN(3, activation="identity", reverse=True, return_sequences=False)], 2), folder / "d.onnx", opset=21
    )
    cell = contract.cell_record(
        {"type": "OnnxLSTM", "f": curves.HARD_SIGMOID, "f_alpha": 0.2, "f_beta": 0.5, "clip": 0.5}
    )
    to_onnx(Model([Recurrent(3, cell=cell)], 2), folder / "h.onnx")
    del CELLS["OnnxLSTM"]  # for tests that go through the registry
    keras_file(folder / "e.keras")
    model = Model(LAYERS, 2)
    save_file(dict(model.params), folder / "f.safetensors")
    with h5py.File(folder / "g.weights.h5", "w") as file:
        for name, shapes in {
            "bidirectional/forward_layer/cell": ((2, 12), (3, 12), (12,)), "gru/cell": ((6, 6), (2, 6), (2, 6)),
            "bidirectional/backward_layer/cell": ((2, 12), (3, 12), (12,)), "dense": ((2, 2), (2,)),
        }.items():  # fmt: skip
            for index, shape in enumerate(shapes):
                file[f"layers/{name}/vars/{index}"] = np.ones(shape, np.float32)


def test_mutated_files(tmp_path, request):
    count = request.config.getoption("--files")
    write_sources(tmp_path)
    code = "import runpy, sys; sys.argv = sys.argv[1:]; runpy.run_path(sys.argv[0], run_name='__main__')"
    cache = os.environ.get("NUMBA_CACHE_DIR")
    done = run_python(code, HERE / "mutated_foreign.py", tmp_path, count, 0, cwd=tmp_path, cache=cache, timeout=36_000)
    *failures, last = done.stdout.splitlines()
    assert not failures, "\n".join(failures[:20])
    found = json.loads(last)
    assert found["refused"] > 0.3 * count
    assert found["used"] > 0.02 * count  # what is changed must not always matter, or what is loaded is never used
