"""Model files: what comes back, and what damaged, foreign or unwritable ones say."""

import errno
import itertools
import json
import os
import stat
import struct
import threading
import time
from functools import partial

import numpy as np
import pytest
from conftest import assert_same_bits
from processes import run_python
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

import numbarnn
from numbarnn import (
    GRU,
    LSTM,
    RNN,
    Activation,
    Dense,
    Dropout,
    Embedding,
    IndRNN,
    MinGRU,
    MinLSTM,
    Model,
    OneHot,
    Recurrent,
    cells,
    io,
)
from numbarnn.core import replacing
from numbarnn.data import readers
from numbarnn.errors import ModelFileError

MODELS = {
    "lstm": lambda: Model([LSTM(5, 2, bidirectional=True, dropout=0.1), Dense(3)], input_size=2, seed=3),
    "tokens": lambda: Model([OneHot(7), GRU(4, bias="single"), Dense(7)], dtype="float64"),
    "embedding": lambda: Model([Embedding(7, 3), Dropout(0.2), RNN(4, activation="relu", name="net")], n_threads=1),
    "activations": lambda: Model([Dense(3, activation="sigmoid"), Activation("relu"), Dense(2)], input_size=2),
    "dropout": lambda: Model([Dropout(0.5, same_over_time=True), GRU(2)], input_size=2),
    "own": lambda: Model([Recurrent(4, cell=cells.IndRNN(2), return_sequences=False)], input_size=1),
    "peepholes": lambda: Model([LSTM(4, peepholes=True, coupled=True, fix={"o": 1})], input_size=2, seed=3),
    "own-peepholes": lambda: Model([Recurrent(4, cell=cells.PeepholeLSTM(fix_i=0.25))], input_size=2, seed=3),
    "before": lambda: Model([GRU(4, 2, reset_after=False, fix={"update": 0.5})], input_size=2, seed=3),
    "indrnn": lambda: Model([IndRNN(3, forget_bias=None, init="torch")], input_size=1),
    "minimal": lambda: Model([MinGRU(3, 2), MinLSTM(2, bidirectional=True, forget_bias=2.0)], input_size=1),
}


@pytest.fixture
def saved(tmp_path):
    """A small model and its file."""
    model = MODELS["lstm"]()
    path = tmp_path / "model.safetensors"
    model.save(path)
    return model, path


def write_format_1(path, kind, about, arrays):
    """Write a file as versions before format 2 did: with a hash of the arrays alone, in the description."""
    about = {"format": 1, "kind": kind, "sha256": io._checksum(arrays), **about}
    save_file(arrays, path, metadata={"numbarnn": json.dumps(about)})


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
    # What layers wrote before they had these options.
    model = Model([LSTM(3), GRU(2), Dense(2)], input_size=2)
    about = model.description()
    for layer in about["layers"]:
        for option in ("peepholes", "coupled", "fix", "reset_after", "activation", "merge"):
            layer.pop(option, None)
    assert "fix" not in json.dumps(about)
    write_format_1(tmp_path / "old", "model", about, dict(model.params))
    again = numbarnn.load(tmp_path / "old")
    assert again.layers == model.layers
    assert_same_bits(again.params.flat, model.params.flat)


def test_the_same_model_gives_the_same_bytes(saved, tmp_path):
    saved[0].save(tmp_path / "again")
    assert (tmp_path / "again").read_bytes() == saved[1].read_bytes()


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
    with pytest.raises(FileNotFoundError, match=r"there is no folder '.*no' to write to; make it first: '.*model'"):
        Model([Dense(3)], input_size=1).save(tmp_path / "no" / "model")


def damage(path, change):
    path.write_bytes(change(bytearray(path.read_bytes())))


def flip(content):
    content[-3] ^= 0x10
    return content


def described(path, **changes):
    """Write the file again with another description."""
    about, arrays = io.read(path)
    io.write(path, "model", about | changes, arrays)


def renamed(path, change):
    """Write the file again with other text in its metadata."""
    with safe_open(path, "np") as file:
        text = file.metadata()["numbarnn"]
    save_file(load_file(path), path, metadata={"numbarnn": change(text)})


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
        (
            lambda p: described(p, format=3),
            "has format 3, this version of numbarnn reads 2 and earlier; update numbarnn",
        ),
        (lambda p: described(p, format=0), "has format 0"),
        (lambda p: described(p, format="2"), "not one of numbarnn"),
        (lambda p: described(p, kind=["model"]), "not one of numbarnn"),
        (lambda p: renamed(p, lambda m: m.partition("\n")[0]), "checksum"),
        (lambda p: renamed(p, lambda m: m.replace('"seed": 3', '"seed": 4')), "checksum"),
        (lambda p: renamed(p, lambda m: m + " "), "checksum"),
        (lambda p: renamed(p, lambda m: "[" * 100_000), "not one of numbarnn"),
        (lambda p: described(p, kind="poem"), "does not know"),
        (lambda p: described(p, layers=[{"type": "Transformer"}]), "Transformer"),
        (lambda p: described(p, layers=[{"type": "LSTM", "colour": "red"}]), "cannot be understood"),
        (lambda p: described(p, layers=[{"type": "Dense", "size": 3}]), "do not match"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_bad_files(saved, change, message):
    _, path = saved
    change(path)
    with pytest.raises((ModelFileError, KeyError), match=message):
        numbarnn.load(path)


LOADERS = {
    "load": (numbarnn.load, "model", "path: there is no model file"),
    "Model.load": (Model.load, "model", "path: there is no model file"),
    "from_onnx": (numbarnn.interop.from_onnx, "net.onnx", "source: there is no file"),
    "from_keras": (numbarnn.interop.from_keras, "net.keras", "source: there is no file"),
    "from_keras, layers": (partial(numbarnn.interop.from_keras, layers=[LSTM(2)]), "a.weights.h5", "source: there is no file"),
    "from_torch": (partial(numbarnn.interop.from_torch, layers=[LSTM(2)]), "net.safetensors", "source: there is no file"),
    "read_series": (readers.read_series, "a.csv", "path: there is no file"),
    "read_jena": (readers.read_jena, "a.csv", "path: there is no file"),
    "read_beijing": (readers.read_beijing, "a.csv", "path: there is no file"),
    "read_ts": (numbarnn.data.read_ts, "a.ts", "path: there is no file"),
    "read_conll": (numbarnn.data.read_conll, "a.conllu", "path: there is no file"),
}  # fmt: skip


@pytest.mark.parametrize("kind", LOADERS)
def test_missing_files_and_folders_are_named(tmp_path, kind):
    load, name, message = LOADERS[kind]
    path = tmp_path / name
    with pytest.raises(FileNotFoundError) as missing:
        load(path)
    assert str(missing.value) == f"{message} {str(path)!r}"
    path.mkdir()
    with pytest.raises(IsADirectoryError) as folder:
        load(path)
    assert str(folder.value) == f"{message.partition(':')[0]}: {str(path)!r} is a folder, not a file"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes with names")
def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(FileNotFoundError, match="pipe' is not a regular file"):
        numbarnn.load(tmp_path / "pipe")


def test_unregistered_cell(saved, monkeypatch):
    _, path = saved
    Model([Recurrent(4, cell=cells.IndRNN())], input_size=1).save(path)
    monkeypatch.delitem(cells.CELLS, "IndRNN")
    with pytest.raises(ValueError, match="'IndRNN' is registered"):
        numbarnn.load(path)


def test_a_device_that_is_none_is_no_fault_of_the_file(saved):
    with pytest.raises(ValueError, match=r"^device must be one of") as caught:
        numbarnn.load(saved[1], device="tpu")
    assert not isinstance(caught.value, ModelFileError)


def test_kinds_do_not_mix(saved):
    with pytest.raises(ModelFileError, match="contains a model"):
        numbarnn.CharLM.load(saved[1])


def test_loading_executes_nothing(saved):
    """No pickle in files of models: the reader is safetensors and JSON.

    Compiled kernels are pickles (tests/test_cache.py), and so is what a process that freezes a model hands to its own child.
    """
    import pathlib

    package = pathlib.Path(numbarnn.__file__).parent
    users = {
        p.name for p in package.rglob("*.py") if "import pickle" in p.read_text() or "pickle.load" in p.read_text()
    }
    assert users == {"cache.py", "child.py"}


def test_files_of_other_programs(tmp_path):
    """Others' files may have types that NumPy does not know."""
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
    for name, values in (
        ("lstm.bias_ih_l0", np.zeros(16, "f8")),
        ("lstm.bias_ih_l0", np.full(16, np.nan, "f4")),
        ("x", np.zeros(2)),
    ):
        io.write(path, "model", model.description(), dict(model.params) | {name: values})
        with pytest.raises(ModelFileError, match=f"the file's parameters do not match its description: .*{name}"):
            numbarnn.load(path)


# What a file says is checked before it costs anything


@pytest.mark.parametrize("name", ["hidden_size", "num_layers"])
def test_a_small_file_cannot_ask_for_much(tmp_path, name):
    about = Model([LSTM(4)], input_size=2).description()
    about["layers"][0][name] = 2**16
    io.write(tmp_path / "m", "model", about, {})
    started = time.process_time()
    with pytest.raises(ModelFileError, match=r"missing 'lstm.weight_ih_l0'"):
        numbarnn.load(tmp_path / "m")
    assert time.process_time() - started < 0.5  # 65536 layers have 262144 parameters; 65536 units, 64 GB


def test_no_weights_are_drawn_only_to_be_replaced(saved, monkeypatch):
    import copy
    import pickle

    model, path = saved
    monkeypatch.setattr(np.random, "default_rng", lambda *_: pytest.fail("weights were drawn"))
    for again in (numbarnn.load(path), model.copy(), copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert_same_bits(again.params.flat, model.params.flat)
        assert not np.shares_memory(again.params.flat, model.params.flat)
    monkeypatch.undo()
    assert_same_bits(again.forward(np.ones((1, 3, 2)))[0], model.forward(np.ones((1, 3, 2)))[0])


@pytest.mark.parametrize("value", ["nan", 10**30, float("inf"), None, "3"], ids=repr)
def test_options_of_cells_are_checked(tmp_path, value):
    model = Model([Recurrent(4, cell=cells.LSTM())], input_size=1)
    for option in ("coupled", "fix_i"):
        about = model.description()
        about["layers"][0]["cell"][option] = value
        io.write(tmp_path / "m", "model", about, dict(model.params))
        if (option, value) != ("fix_i", 10**30):
            with pytest.raises(ModelFileError, match="cannot be understood"):
                numbarnn.load(tmp_path / "m")


def test_messages_cannot_command_a_terminal(tmp_path):
    escape = "\x1b]0;TITLE\x07\x9b31m\ud800"
    model = Model([Dense(2, name="d" + escape)], input_size=2)
    assert "\x1b" not in model.summary()
    arrays = {name + escape: values for name, values in model.params.items()}
    for kind, about in (
        (escape, {}),
        ("model", model.description()),
        ("model", {"layers": [{"type": "Dense", escape: 1}]}),
    ):
        io.write(tmp_path / "m", kind, about, {name.replace("\ud800", ""): values for name, values in arrays.items()})
        for damaged in (False, True):
            if damaged:
                damage(tmp_path / "m", flip)
            with pytest.raises(ModelFileError) as caught:
                numbarnn.load(tmp_path / "m")
            assert str(caught.value).isprintable()


# What is saved to is not a plain file


def test_links_stay(saved, tmp_path):
    model, path = saved
    (tmp_path / "folder").mkdir()
    for link, target in (("link", path), ("folder/link", "../dangling"), ("folder/second", "link")):
        (tmp_path / link).symlink_to(target)
        model.save(tmp_path / link)
        assert (tmp_path / link).is_symlink()
        assert_same_bits(numbarnn.load(tmp_path / link).params.flat, model.params.flat)
    assert not path.is_symlink()
    assert (tmp_path / "dangling").is_file()
    assert sorted(os.listdir(tmp_path)) == sorted(["dangling", "folder", "link", path.name])
    (tmp_path / "round").symlink_to("round")
    with pytest.raises(OSError, match="symbolic links"):
        model.save(tmp_path / "round")


@posix
def test_devices_and_pipes_are_written_to(saved, tmp_path):
    model, path = saved
    io.replace("/dev/null", b"x")
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)
    pipe, found = tmp_path / "pipe", []
    os.mkfifo(pipe)
    with pytest.raises(OSError, match="no process reads from this pipe") as caught:
        model.save(pipe)
    assert caught.value.errno == errno.ENXIO
    reader = threading.Thread(target=lambda: found.append(pipe.read_bytes()))
    reader.start()
    while not found and reader.is_alive():
        try:
            model.save(pipe)
            break
        except OSError:
            time.sleep(0.01)  # until the reader has opened it
    reader.join()
    assert found == [path.read_bytes()]
    assert stat.S_ISFIFO(pipe.stat().st_mode)
    with pytest.raises(IsADirectoryError):
        model.save(tmp_path)
    assert sorted(os.listdir(tmp_path)) == ["model.safetensors", "pipe"]


@posix
def test_names_as_long_as_a_file_may_have(tmp_path):
    for name in ("n" * 255, "\u00e9" * 127):
        io.replace(tmp_path / name, b"model")
        assert (tmp_path / name).read_bytes() == b"model"
    assert len(os.listdir(tmp_path)) == 2


# What killed saves leave behind

KILLED = """
import os, signal, sys
from numbarnn import io
io.os.fsync = lambda handle: os.kill(os.getpid(), signal.SIGKILL)
io.replace(sys.argv[1], b"x" * 1000)
"""


@posix
@pytest.mark.parametrize("name", ["model", "n" * 255, "a[1]*.b"])
def test_leftovers_of_killed_saves_are_removed(tmp_path, name):
    others = [f".{name}.x.tmp"[-255:], ".other.a1b2c3d4.tmp"]
    for other in others:
        (tmp_path / other).write_bytes(b"")
    (tmp_path / name).write_bytes(b"before")
    assert run_python(KILLED, tmp_path / name, cwd=tmp_path, check=False).returncode == -9
    assert len(os.listdir(tmp_path)) == 4
    assert (tmp_path / name).read_bytes() == b"before"
    io.replace(tmp_path / name, b"after")
    assert sorted(os.listdir(tmp_path)) == sorted([*others, name])


@posix
def test_the_file_of_a_process_that_is_writing_stays(tmp_path, monkeypatch):
    target, fsync, order = tmp_path / "model", os.fsync, itertools.count()

    def slow(handle):
        if next(order) == 0:
            io.replace(target, b"second")  # while the first is being written
            assert len(os.listdir(tmp_path)) == 2
        fsync(handle)

    monkeypatch.setattr(os, "fsync", slow)
    io.replace(target, b"first")
    assert target.read_bytes() == b"first"
    assert os.listdir(tmp_path) == ["model"]


@posix
def test_a_file_that_is_taken_for_a_leftover_is_made_again(tmp_path, monkeypatch):
    flock, left = replacing.fcntl.flock, [2]

    def late(handle, how):
        if left[0] and how == replacing.fcntl.LOCK_EX:
            left[0] -= 1
            replacing._remove_leftovers(tmp_path / "model")  # between the file's creation and its lock
        flock(handle, how)

    monkeypatch.setattr(replacing.fcntl, "flock", late)
    io.replace(tmp_path / "model", b"model")
    assert not left[0]
    assert (tmp_path / "model").read_bytes() == b"model"
    assert os.listdir(tmp_path) == ["model"]
