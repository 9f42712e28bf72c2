"""Model files: what comes back, and what damaged, foreign or unwritable ones say."""

import json
import os
import stat
import struct

import numpy as np
import pytest
from conftest import assert_same_bits
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

import numbarnn
from numbarnn import GRU, LSTM, RNN, Dense, Dropout, Embedding, IndRNN, Model, OneHot, Recurrent, cells, io
from numbarnn.errors import ModelFileError

MODELS = {
    "lstm": lambda: Model([LSTM(5, 2, bidirectional=True, dropout=0.1), Dense(3)], input_size=2, seed=3),
    "tokens": lambda: Model([OneHot(7), GRU(4, bias="single"), Dense(7)], dtype="float64"),
    "embedding": lambda: Model([Embedding(7, 3), Dropout(0.2), RNN(4, activation="relu", name="net")], n_threads=1),
    "own": lambda: Model([Recurrent(4, cell=cells.IndRNN(2), return_sequences=False)], input_size=1),
    "peepholes": lambda: Model([LSTM(4, peepholes=True, coupled=True, fix={"o": 1})], input_size=2, seed=3),
    "own-peepholes": lambda: Model([Recurrent(4, cell=cells.PeepholeLSTM(fix_i=0.25))], input_size=2, seed=3),
    "before": lambda: Model([GRU(4, 2, reset_after=False, fix={"update": 0.5})], input_size=2, seed=3),
    "indrnn": lambda: Model([IndRNN(3, forget_bias=None, init="torch")], input_size=1),
}


@pytest.fixture
def saved(tmp_path):
    """A small model and its file."""
    model = MODELS["lstm"]()
    path = tmp_path / "model.safetensors"
    model.save(path)
    return model, path


@pytest.mark.parametrize("name", MODELS)
def test_round_trip(tmp_path, name):
    model = MODELS[name]()
    model.save(tmp_path / "model")
    again = numbarnn.load(tmp_path / "model")
    assert type(again) is Model
    assert again.layers == model.layers
    assert (again.dtype, again.names, again.signals, again.seed) == (
        model.dtype,
        model.names,
        model.signals,
        model.seed,
    )
    assert_same_bits(again.params.flat, model.params.flat)


def test_files_without_the_later_options_load(tmp_path):
    # What LSTM and GRU wrote before they could hold gates.
    model = Model([LSTM(3), GRU(2)], input_size=2)
    model.save(tmp_path / "new")
    with safe_open(tmp_path / "new", "np") as file:
        about = json.loads(file.metadata()["numbarnn"])
    for layer in about["layers"]:
        for option in ("peepholes", "coupled", "fix", "reset_after"):
            layer.pop(option, None)
    assert "fix" not in json.dumps(about)
    save_file(load_file(tmp_path / "new"), tmp_path / "old", metadata={"numbarnn": json.dumps(about)})
    again = numbarnn.load(tmp_path / "old")
    assert again.layers == model.layers
    assert_same_bits(again.params.flat, model.params.flat)


def test_other_programs_read_the_parameters(saved):
    model, path = saved
    tensors = load_file(path)
    assert set(tensors) == set(model.params)
    assert_same_bits(tensors["lstm.weight_hh_l1_reverse"], model.params["lstm.weight_hh_l1_reverse"])


def test_saving_replaces_and_leaves_nothing_behind(saved):
    model, path = saved
    with model.params.writing() as flat:
        flat += 1
    model.save(path)
    assert_same_bits(numbarnn.load(path).params.flat, model.params.flat)
    assert os.listdir(path.parent) == [path.name]


posix = pytest.mark.skipif(os.name != "posix", reason="POSIX permissions")


@posix
@pytest.mark.parametrize("mask", [0o022, 0o002, 0o077])
def test_permissions_are_those_of_a_new_file(saved, mask):
    other, model = saved[1].with_name("other"), saved[1].with_name("model")
    before = os.umask(mask)
    try:
        other.write_text("")
        saved[0].save(model)
    finally:
        os.umask(before)
    assert stat.S_IMODE(model.stat().st_mode) == stat.S_IMODE(other.stat().st_mode) == 0o666 & ~mask


@posix
@pytest.mark.parametrize("mode", [0o600, 0o640, 0o664, 0o400])
def test_a_file_that_is_replaced_keeps_its_permissions(saved, mode, monkeypatch):
    model, path = saved
    path.chmod(mode)
    replace, modes = os.replace, []

    def looked_at(temporary, to):
        modes.append(stat.S_IMODE(os.stat(temporary).st_mode))
        replace(temporary, to)

    monkeypatch.setattr(os, "replace", looked_at)
    # The umask is that of all threads: while it was changed, the files of others were open to everybody.
    monkeypatch.setattr(os, "umask", lambda mask: pytest.fail("the umask was changed"))
    if os.geteuid() == 0:
        os.chown(path, 65534, 65534)
    owner = path.stat().st_uid
    model.save(path)
    assert modes == [mode]
    assert (stat.S_IMODE(path.stat().st_mode), path.stat().st_uid) == (mode, owner)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can act as two users")
def test_a_file_of_a_group_stays_the_groups(saved):
    """Bob, a member of the team, saves over Alice's file: he cannot give his to her, but to the team."""
    model, path = saved
    alice, bob, team = 20001, 20002, 20003
    path.parent.chmod(0o777)
    for parent in path.parents[1:4]:
        parent.chmod(parent.stat().st_mode | 0o111)
    os.chown(path, alice, team)
    path.chmod(0o660)
    child = os.fork()
    if child == 0:
        try:
            os.setgroups([team])
            os.setgid(bob)
            os.setuid(bob)
            model.save(path)
            os._exit(0)
        except BaseException:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    found = path.stat()
    assert (found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode)) == (bob, team, 0o660)


def test_failed_save_keeps_the_old_file(saved, monkeypatch):
    _, path = saved
    before = path.read_bytes()

    def full(handle):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        Model([Dense(3)], input_size=1).save(path)
    assert path.read_bytes() == before
    assert os.listdir(path.parent) == [path.name]


def test_missing_folder(tmp_path):
    with pytest.raises(FileNotFoundError):
        Model([Dense(3)], input_size=1).save(tmp_path / "no" / "model")


def damage(path, change):
    path.write_bytes(change(bytearray(path.read_bytes())))


def flip(content):
    content[-3] ^= 0x10
    return content


def described(path, **changes):
    """Write the file again with another description."""
    tensors, (about, _) = load_file(path), io.read(path)
    save_file(tensors, path, metadata={"numbarnn": json.dumps(about | changes)})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda p: damage(p, lambda b: b[: len(b) // 2]), "cut off or damaged"),
        (lambda p: damage(p, lambda b: b[:5]), "cut off or damaged"),
        (lambda p: damage(p, lambda b: b""), "cut off or damaged"),
        (lambda p: damage(p, lambda b: struct.pack("<Q", 2**60) + b[8:]), "cut off or damaged"),
        (lambda p: damage(p, flip), "checksum"),
        (lambda p: p.write_text("a text, no model"), "not a model file"),
        (lambda p: save_file({"a": np.zeros(3)}, p), "not one of numbarnn"),
        (lambda p: save_file({"a": np.zeros(3)}, p, metadata={"numbarnn": "{}"}), "not one of numbarnn"),
        (lambda p: save_file({"a": np.zeros(3)}, p, metadata={"numbarnn": "[1"}), "not one of numbarnn"),
        (lambda p: described(p, format=99), "update numbarnn"),
        (lambda p: described(p, kind="poem"), "does not know"),
        (lambda p: described(p, layers=[{"type": "Transformer"}]), "Transformer"),
        (lambda p: described(p, layers=[{"type": "LSTM", "colour": "red"}]), "cannot be understood"),
        (lambda p: described(p, layers=[{"type": "Dense", "size": 3}]), "missing"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_bad_files(saved, change, message):
    _, path = saved
    change(path)
    with pytest.raises((ModelFileError, KeyError), match=message):
        numbarnn.load(path)


def test_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no model file"):
        numbarnn.load(tmp_path / "nothing")


def test_unregistered_cell(saved, monkeypatch):
    _, path = saved
    Model([Recurrent(4, cell=cells.IndRNN())], input_size=1).save(path)
    monkeypatch.delitem(cells.CELLS, "IndRNN")
    with pytest.raises(ValueError, match="'IndRNN' is registered"):
        numbarnn.load(path)


def test_kinds_do_not_mix(saved):
    with pytest.raises(ModelFileError, match="holds a model"):
        numbarnn.CharLM.load(saved[1])


def test_loading_executes_nothing(saved):
    """No pickle anywhere: the reader is safetensors and JSON. (Compiled kernels are pickles: tests/test_cache.py.)"""
    import pathlib

    package = pathlib.Path(numbarnn.__file__).parent
    users = {
        p.name for p in package.rglob("*.py") if "import pickle" in p.read_text() or "pickle.load" in p.read_text()
    }
    assert users == {"cache.py"}


def test_files_of_other_programs(tmp_path):
    """Others' files may hold types that NumPy does not know."""
    header = b'{"a":{"dtype":"BF16","shape":[2],"data_offsets":[0,4]}}'
    path = tmp_path / "other.safetensors"
    path.write_bytes(len(header).to_bytes(8, "little") + header + bytes(4))
    with pytest.raises(ModelFileError, match="is a safetensors file, but not one of numbarnn"):
        numbarnn.load(path)


def test_parameters_that_do_not_fit_the_description(tmp_path):
    model, path = Model([LSTM(4)], input_size=2), tmp_path / "m.safetensors"
    short = {name: values[:1] for name, values in model.params.items()}
    for arrays in ({}, short):
        io.write(path, "model", model.description(), arrays)
        with pytest.raises(ModelFileError, match="the file's parameters do not match its description"):
            numbarnn.load(path)
    io.write(path, ["model"], model.description(), dict(model.params))
    with pytest.raises(ModelFileError, match="which this version of numbarnn does not know"):
        numbarnn.load(path)
