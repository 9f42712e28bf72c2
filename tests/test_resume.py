"""Checkpoints: a run that was killed, stopped or interrupted goes on to the bit; what does not fit is refused, by name."""

import datetime
import errno
import json
import os
import pathlib
import re
import signal
import sys
import threading

import numpy as np
import pytest
from conftest import assert_same_bits
from processes import run_python

from numbarnn import LSTM, RNN, CharLM, Dense, Model, OneHot, Trainer, io
from numbarnn.cli.main import main
from numbarnn.core import seeds
from numbarnn.data import Batch, TokenStream
from numbarnn.errors import CheckpointError, ModelFileError
from numbarnn.losses import SoftmaxCrossEntropy
from numbarnn.optim import EMA, Adam, Cosine, WarmUp
from numbarnn.training.callbacks import Callback, EarlyStopping
from numbarnn.training.checkpoint import Checkpoint

HERE = pathlib.Path(__file__).parent


def task(samples=40, steps=6, seed=0):
    x = np.random.default_rng(seed).normal(size=(samples, steps, 1))
    return x, (x.cumsum(axis=1)[:, :, 0] > 0).astype(np.int64)


def net(seed=1, **options):
    return Model([LSTM(4, dropout=0.2, num_layers=2, **options), Dense(2)], input_size=1, dtype="float64", seed=seed)


OPTIONS = {"optimizer": Adam(0.02), "epochs": 4, "batch_size": 8, "validation": 0.25, "verbose": 0, "n_threads": 1}


def fit(model, data=None, **options):
    return model.fit(*(task() if data is None else data), **OPTIONS | {"patience": 3} | options)


def rows(history):
    return [{key: value for key, value in record.items() if key != "seconds"} for record in history]


class Stop(Callback):
    """Ends training at a step or an epoch."""

    def __init__(self, step=None, epoch=None):
        self.step, self.epoch = step, epoch

    def on_batch_end(self, trainer, loss):
        return trainer.step == self.step

    def on_epoch_end(self, trainer, record):
        return record["epoch"] == self.epoch


@pytest.fixture
def path(tmp_path):
    return tmp_path / "run.ckpt"


# Going on


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks a process for every kill point")
def test_a_hundred_killed_runs_end_as_if_they_had_not_been(tmp_path):
    cache = os.environ.get("NUMBA_CACHE_DIR")
    code = f"import sys; sys.path.insert(0, {str(HERE)!r}); import killed_runs; killed_runs.main(sys.argv[1], 100, 15)"
    done = run_python(code, tmp_path, cwd=tmp_path, cache=cache, NUMBARNN_NUM_THREADS=1, PYTHONWARNINGS="error")
    *failures, last = done.stdout.splitlines()
    assert not failures, "\n".join(failures[:10])
    report = json.loads(last)
    assert (report["points"], report["failures"]) == (100, 0)
    assert report["resumed"] >= 60  # the others died before their first file, or had ended when the clock struck


@pytest.mark.parametrize(
    "stop", [Stop(step=1), Stop(step=6), Stop(step=8), Stop(epoch=2)], ids=["first", "mid", "last", "epoch"]
)
def test_a_run_that_a_callback_stopped_goes_on(path, stop):
    model, whole = net(), net()
    expected = fit(whole)
    history = fit(model, checkpoint=path, callbacks=[stop])
    assert history.stopped == "callback"
    again = net(seed=5)
    history = fit(again, checkpoint=path, resume=True)
    assert_same_bits(again.params.flat, whole.params.flat)
    assert (rows(history), history.best, history.stopped) == (rows(expected), expected.best, expected.stopped)


@pytest.mark.skipif(os.name != "posix", reason="sends SIGINT to itself")
@pytest.mark.skipif(threading.current_thread() is not threading.main_thread(), reason="needs the main thread")
def test_an_interrupted_run_goes_on(path):
    class Interrupt(Callback):
        def on_batch_end(self, trainer, loss):
            if trainer.step == 3:
                os.kill(os.getpid(), signal.SIGINT)

    # Within the first batch: 15 chunks are 5 steps, the third step ends in the second batch.
    options = {"tbptt": 1, "accumulate": 2, "average": 0.9, "batch_size": 15, "validation": None, "patience": None}
    model, whole = net(), net()
    fit(whole, **options)
    with pytest.warns(UserWarning, match="interrupted"):
        assert fit(model, checkpoint=path, callbacks=[Interrupt()], **options).stopped == "interrupted"
    assert not np.array_equal(model.params.flat, whole.params.flat)
    fit(model, checkpoint=path, resume="auto", **options)
    assert_same_bits(model.params.flat, whole.params.flat)


TERMINATED = """
import os, signal, sys
sys.path.insert(0, sys.argv[1])
import test_resume
from numbarnn.training.callbacks import Callback

class Terminate(Callback):
    def on_batch_end(self, trainer, loss):
        if trainer.step == 6:
            for _ in range(int(sys.argv[3])):
                os.kill(os.getpid(), signal.SIGTERM)

path = sys.argv[2] if sys.argv[4] == "checkpoint" else None
if sys.argv[4] == "own handler":
    path = sys.argv[2]
    signal.signal(signal.SIGTERM, lambda *_: print("heard", flush=True))
test_resume.fit(test_resume.net(), checkpoint=path, callbacks=[Terminate()])
print("went on")
"""


@pytest.mark.skipif(os.name != "posix", reason="sends SIGTERM")
def test_a_terminated_run_goes_on(path):
    def run(times, how):
        cache = os.environ.get("NUMBA_CACHE_DIR")
        done = run_python(TERMINATED, HERE, path, times, how, cwd=path.parent, cache=cache, check=False)
        assert done.stderr == ""
        return done.returncode, done.stdout

    whole, model = net(), net(seed=5)
    fit(whole)
    assert run(1, "checkpoint") == (-signal.SIGTERM, "")
    assert os.listdir(path.parent) == [path.name]
    assert (
        io.read(path)[0]["trainer"]["step"] == 6
    )  # 30 samples are 4 batches, and files are written after whole epochs
    fit(model, checkpoint=path, resume=True)
    assert_same_bits(model.params.flat, whole.params.flat)
    path.unlink()
    assert run(2, "checkpoint") == (-signal.SIGTERM, "")  # at once
    assert io.read(path)[0]["trainer"]["step"] == 4
    path.unlink()
    assert run(1, "own handler") == (0, "heard\nwent on\n")
    path.unlink()
    assert run(1, "no checkpoint") == (-signal.SIGTERM, "")
    assert not path.exists()


def test_a_run_that_has_ended_gives_its_result_again_and_can_be_prolonged(path):
    model, whole = net(), net()
    fit(model, checkpoint=path, patience=None)
    again = net(seed=3)
    history = fit(again, checkpoint=path, resume=True, patience=None)
    assert len(history) == 4
    assert_same_bits(again.params.flat, model.params.flat)
    expected = fit(whole, epochs=7, patience=None)
    history = fit(again, epochs=7, checkpoint=path, resume=True, patience=None)
    assert rows(history) == rows(expected)
    assert_same_bits(again.params.flat, whole.params.flat)


def test_a_run_ended_by_early_stopping_stays_ended(path):
    options = {"epochs": 30, "patience": EarlyStopping(1, min_delta=0.5)}
    model, again = net(), net(seed=3)
    history = fit(model, checkpoint=path, **options)
    assert history.stopped == "early stopping"
    resumed = fit(again, checkpoint=path, resume=True, **options)
    assert (rows(resumed), resumed.best, resumed.stopped) == (rows(history), history.best, "early stopping")
    assert_same_bits(again.params.flat, model.params.flat)


def test_other_threads_same_bits(path, pieces):
    whole, model = net(), net()
    fit(whole)
    fit(model, checkpoint=path, callbacks=[Stop(step=5)], n_threads=3)
    fit(model, checkpoint=path, resume=True, n_threads=2)
    assert max(pieces) == 3
    assert_same_bits(model.params.flat, whole.params.flat)


def test_a_trainers_second_run_goes_on(path):
    x, y = task()
    whole, model = net(), net()
    for each, file in ((whole, None), (model, path)):
        trainer = Trainer(each, optimizer=Adam(0.02), seed=2)
        trainer.fit((x, y), 2, verbose=0)
        trainer.fit((x, y), 2, verbose=0, checkpoint=file, callbacks=[] if file is None else [Stop(epoch=3)])
    trainer = Trainer(net(seed=9), optimizer=Adam(0.02), seed=2)
    history = trainer.fit((x, y), 2, verbose=0, checkpoint=path, resume=True)
    assert [record["epoch"] for record in history] == [3, 4]
    assert_same_bits(trainer.model.params.flat, whole.params.flat)


def test_progress_says_where_the_run_goes_on(path, capsys):
    fit(net(), checkpoint=path, callbacks=[Stop(step=5)])
    fit(net(), checkpoint=path, resume=True, verbose=1)
    shown = capsys.readouterr().err
    assert f"resumed from {path} in epoch 2, after step 5" in shown
    assert "epoch 4/4" in shown
    fit(net(), checkpoint=path, resume=True, verbose=1)
    assert f"resumed from {path} at its end, after step 16" in capsys.readouterr().err


@pytest.mark.parametrize("every", [2, np.int64(2), "0.00001s", datetime.timedelta(microseconds=1)])
def test_files_are_written_between_the_epochs(path, monkeypatch, every):
    steps, write = [], Checkpoint.write

    def noted(self, step, numbers, arrays):
        steps.append(step)
        write(self, step, numbers, arrays)

    monkeypatch.setattr(Checkpoint, "write", noted)
    fit(net(), checkpoint=path, checkpoint_every=every, epochs=2)
    # 30 samples are 4 batches; before the first step, at the ends of the epochs, and in between.
    assert {0, 4, 8} <= set(steps)
    assert {2, 6} <= set(steps)
    steps.clear()
    path.unlink()
    fit(net(), checkpoint=path, epochs=2)
    assert steps == [0, 4, 8]


def test_what_a_killed_process_left_behind_is_removed(path):
    for name in (".run.ckpt.a1b2c3d4.tmp", ".other.ckpt.a1b2c3d4.tmp"):
        path.with_name(name).write_bytes(b"cut off")
    fit(net(), checkpoint=path, epochs=1)
    assert sorted(os.listdir(path.parent)) == [".other.ckpt.a1b2c3d4.tmp", "run.ckpt"]


def test_a_checkpoint_holds_the_parameters_by_name(path):
    from safetensors.numpy import load_file

    model = net()
    fit(model, checkpoint=path, patience=None)
    tensors = load_file(path)
    for name, values in model.params.items():
        assert_same_bits(tensors[f"model.{name}"], values)


# Loops of one's own


def test_save_and_restore(path):
    tokens = np.random.default_rng(0).integers(0, 5, 200)
    stream = list(TokenStream(tokens, 3, 10).batches())

    def trainer(seed=1):
        model = Model([OneHot(5), LSTM(6, dropout=0.3, num_layers=2), Dense(5)], seed=seed)
        return Trainer(model, optimizer=Adam(0.02), accumulate=2, average=0.9)

    whole, stopped = trainer(), trainer()
    for batch in stream:
        whole.train_batch(batch)
    for batch in stream[:3]:
        stopped.train_batch(batch)
    stopped.save(path)
    again = trainer(seed=4).restore(path)
    assert (again.step, again.passes) == (1, 3)
    for batch in stream[3:]:
        again.train_batch(batch)
    assert_same_bits(again.model.params.flat, whole.model.params.flat)
    assert_same_bits(again.average, whole.average)
    with pytest.raises(CheckpointError, match=r"written by Trainer\.save"):
        trainer().fit(TokenStream(tokens, 3, 10), 1, checkpoint=path, resume=True, verbose=0)
    with pytest.raises(CheckpointError, match=r"average\.decay: 0\.9 in the checkpoint, 0\.8 now"):
        Trainer(trainer().model, optimizer=Adam(0.02), accumulate=2, average=EMA(0.8)).restore(path)


def test_restore_reads_a_checkpoint_of_fit(path):
    model = net()
    fit(model, checkpoint=path, patience=None)
    trainer = Trainer(net(seed=4), optimizer=Adam(0.02)).restore(path)
    assert (trainer.epoch, trainer.step) == (4, 16)
    assert_same_bits(trainer.model.params.flat, model.params.flat)


# What is refused


def changed_data():
    x, y = task()
    x[3, 2] += 1e-9
    return x, y


@pytest.mark.parametrize(
    ("model", "options", "message"),
    [
        (lambda: net(bidirectional=True), {}, r"model.layers\[0\].bidirectional: False in the checkpoint, True now"),
        (lambda: Model([RNN(4), Dense(2)], input_size=1), {}, r"model.layers\[0\]: type=LSTM.* now"),
        (lambda: Model([LSTM(4, 2, dropout=0.2), Dense(2)], input_size=1), {}, "model.dtype: float64 in the .*, float32"),
        (net, {"optimizer": Adam(0.03)}, "optimizer.learning_rate: 0.02 in the checkpoint, 0.03 now"),
        (net, {"optimizer": "sgd"}, "optimizer: type=Adam, learning_rate=0.02.* in the checkpoint, type=SGD"),
        (net, {"loss": SoftmaxCrossEntropy(label_smoothing=0.1)}, "loss.label_smoothing: 0.0 in the checkpoint, 0.1 now"),
        (net, {"schedule": WarmUp(3, Cosine(9))}, "schedule: type=Schedule in the checkpoint, type=WarmUp, steps=3, then=type=Cos"),
        (net, {"clip_norm": 1.0}, "clip_norm: None in the checkpoint, 1.0 now"),
        (net, {"tbptt": 2}, "tbptt: None in the checkpoint, 2 now"),
        (net, {"accumulate": 2}, "accumulate: 1 in the checkpoint, 2 now"),
        (net, {"average": 0.9}, "average: None in the checkpoint, type=EMA, decay=0.9, final=True now"),
        (net, {"seed": 1}, "seed: 0 in the checkpoint, 1 now"),
        (net, {"batch_size": 9}, "data.batch_size: 8 in the checkpoint, 9 now"),
        (net, {"shuffle": False}, "data.shuffle: True in the checkpoint, False now"),
        (net, {"data": changed_data()}, r"data.x: float64 \(30, 6, 1\) [0-9a-f]{16} in the checkpoint, float64"),
        (net, {"data": task(41)}, r"data.x: float64 \(30, 6, 1\) .* float64 \(31, 6, 1\)"),
        (net, {"validation": 0.5}, r"validation.x: float64 \(10, 6, 1\)"),
        (net, {"sample_weight": np.ones(40)}, "data.sample_weight: None in the checkpoint, float64"),
        (net, {"patience": 2}, "patience.patience: 3 in the checkpoint, 2 now"),
    ],
    ids=lambda value: next(iter(value), "model") if isinstance(value, dict) else "",
)  # fmt: skip
def test_the_checkpoint_of_another_run_is_refused(path, model, options, message):
    fit(net(), checkpoint=path, epochs=1)
    content, model = path.read_bytes(), model()
    before = model.params.flat.copy()
    with pytest.raises(CheckpointError, match=message):
        fit(model, checkpoint=path, resume="auto", **options)
    assert_same_bits(model.params.flat, before)
    assert path.read_bytes() == content


def test_all_that_differs_is_named(path):
    fit(net(), checkpoint=path, epochs=1)
    with pytest.raises(CheckpointError) as caught:
        fit(net(), checkpoint=path, resume=True, seed=3, clip_value=2.0, optimizer=Adam(0.1, betas=(0.5, 0.999)))
    assert [line.split(":")[0].strip() for line in str(caught.value).splitlines()[1:-1]] == [
        "optimizer.learning_rate", "optimizer.betas[0]", "clip_value", "seed",
    ]  # fmt: skip


def test_a_checkpoint_of_a_version_that_draws_other_orders_is_refused(path, monkeypatch):
    monkeypatch.setattr(seeds, "VERSION", 1)
    fit(net(), epochs=1, checkpoint=path)
    monkeypatch.undo()
    with pytest.raises(CheckpointError, match="random_streams: 1 in the checkpoint, 2 now"):
        fit(net(), checkpoint=path, resume=True)


def test_another_text_is_refused(path):
    text = "the cat sat on the mat. " * 20
    options = {"epochs": 1, "batch_size": 2, "seq_length": 10, "checkpoint": path, "verbose": 0}
    CharLM(hidden_size=4, num_layers=1).fit(text, **options)
    with pytest.raises(CheckpointError, match=r"data\.tokens"):
        CharLM(hidden_size=4, num_layers=1).fit(text.replace("cat", "mat", 1), resume=True, **options)
    again = CharLM(hidden_size=4, num_layers=1)
    again.fit(text, resume=True, **options)
    assert len(again.history) == 1


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"resume": True}, FileNotFoundError, "no checkpoint .*run.ckpt' to resume from; resume='auto' starts anew"),
        ({"resume": "yes"}, ValueError, "resume must be True, False or 'auto', got 'yes'"),
        ({"resume": True, "checkpoint": None}, ValueError, "resume needs checkpoint"),
        ({"checkpoint_every": 0}, ValueError, "checkpoint_every must be a number of optimizer steps or a time"),
        ({"checkpoint_every": 2.5}, ValueError, "checkpoint_every"),
        ({"checkpoint_every": True}, ValueError, "checkpoint_every"),
        ({"checkpoint_every": "5 days"}, ValueError, "checkpoint_every"),
        ({"checkpoint_every": "0s"}, ValueError, "checkpoint_every"),
    ],
)
def test_bad_options(path, options, error, message):
    with pytest.raises(error, match=message):
        fit(net(), **{"checkpoint": path} | options)
    assert not path.exists()


def test_a_checkpoint_is_not_overwritten_by_a_new_run(path):
    fit(net(), checkpoint=path, epochs=1)
    content = path.read_bytes()
    with pytest.raises(FileExistsError, match="exists already: go on from it with resume=True"):
        fit(net(), checkpoint=path)
    assert path.read_bytes() == content


def test_an_iterator_is_refused(path):
    x, y = task()
    with pytest.raises(ValueError, match="data is an iterator, which can be read only once"):
        Trainer(net()).fit(iter([(x, y)]), 1, checkpoint=path, verbose=0)
    with pytest.raises(ValueError, match="validation is an iterator"):
        Trainer(net()).fit([(x, y)], 1, validation=iter([(x, y)]), checkpoint=path, verbose=0)


class Source:
    """Batches that do not follow from the generator alone: each differs by `shift`, and there are `count`."""

    def __init__(self, shift=0.0, count=4):
        self.shift, self.count = shift, count

    def batches(self, generator):
        x, y = task()
        for first in range(self.count):
            yield Batch(x[first * 8 : first * 8 + 8] + self.shift, y[first * 8 : first * 8 + 8])


def test_a_source_that_gives_other_batches_is_refused(path):
    def run(source, **options):
        return Trainer(net(), optimizer=Adam(0.02)).fit(source, 2, checkpoint=path, verbose=0, **options)

    run(Source(), callbacks=[Stop(step=3)])
    with pytest.raises(CheckpointError, match="the first 3 batches of epoch 1 are not those that the run has seen"):
        run(Source(shift=1.0), resume=True)
    with pytest.raises(CheckpointError, match="the source ended after 2 of 3 batches"):
        run(Source(count=2), resume=True)
    with pytest.raises(CheckpointError, match="data: type=Source in the checkpoint, type=list now"):
        run([task()], resume=True)
    run(Source(), resume=True)


def test_python_objects_are_refused(path):
    x, y = task()
    with pytest.raises(TypeError, match="x must be a numeric array, got dtype object"):
        net().fit(x.astype(object), y, checkpoint=path, verbose=0)


# Files that cannot be written or read


def test_a_full_disk_leaves_the_last_checkpoint_and_the_last_step(path, monkeypatch):
    whole, model, seen = net(), net(), []
    fit(whole)

    class Fill(Callback):
        def on_batch_end(self, trainer, loss):
            seen.append(trainer.model.params.flat.copy())
            if trainer.step == 5:
                monkeypatch.setattr(os, "fsync", full)

    def full(handle):
        raise OSError(errno.ENOSPC, "No space left on device")

    message = (
        r"the checkpoint of step 6 could not be written \(No space left on device\); the checkpoint of step 4 is still there. The "
        r"model is as of step 6. Make room"
    )
    with pytest.raises(OSError, match=message) as caught:
        fit(model, checkpoint=path, checkpoint_every=2, callbacks=[Fill()])
    assert caught.value.errno == errno.ENOSPC
    assert caught.value.filename == str(path)
    assert len(seen) == 6
    assert_same_bits(model.params.flat, seen[-1])
    assert os.listdir(path.parent) == [path.name]
    monkeypatch.undo()
    again = net(seed=3)
    fit(again, checkpoint=path, resume=True)
    assert_same_bits(again.params.flat, whole.params.flat)


@pytest.mark.skipif(sys.platform == "win32", reason="needs the limits of POSIX")
def test_a_disk_that_is_really_full(tmp_path):
    code = """
import resource, signal, numpy as np
from numbarnn import LSTM, Dense, Model
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
x = np.zeros((8, 5, 1)); y = np.zeros((8, 5), int)
model = Model([LSTM(64), Dense(2)], input_size=1)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))
try:
    model.fit(x, y, epochs=1, checkpoint="run.ckpt", verbose=0)
except OSError as error:
    print(error)
"""
    done = run_python(code, cwd=tmp_path, NUMBARNN_NUM_THREADS=1)
    assert re.search(
        r"the checkpoint of step 0 could not be written \(File too large\)\. The model is as of step 0", done.stdout
    )
    assert os.listdir(tmp_path) == []


def test_a_folder_that_is_not_there_shows_before_the_first_step(path):
    model = net()
    before = model.params.flat.copy()
    with pytest.raises(FileNotFoundError, match="the checkpoint of step 0 could not be written"):
        fit(model, checkpoint=path / "run.ckpt")
    assert_same_bits(model.params.flat, before)


@pytest.mark.skipif(not hasattr(os, "setuid"), reason="needs POSIX permissions")
def test_a_folder_that_is_read_only(path):
    fit(net(), checkpoint=path, epochs=1)
    content = path.read_bytes()
    # An administrator may write everywhere, so another user looks.
    code = """
import os, sys; sys.path.insert(0, sys.argv[1]); import test_resume, safetensors.numpy, tempfile
if os.geteuid() == 0:
    os.setuid(65534)
for resume in (True, False):
    try:
        test_resume.fit(test_resume.net(), checkpoint="run.ckpt" if resume else "new.ckpt", resume=resume)
    except PermissionError as error:
        print(error)
"""
    path.parent.chmod(0o555)
    try:
        shown = run_python(code, HERE, cwd=path.parent).stdout.splitlines()
    finally:
        path.parent.chmod(0o755)
    assert "the checkpoint of step 4 could not be written (Permission denied). The model is as of step 4" in shown[0]
    assert "the checkpoint of step 0 could not be written (Permission denied)" in shown[1]
    assert path.read_bytes() == content
    assert os.listdir(path.parent) == [path.name]


def rewritten(path, change):
    """Write a file again with other numbers or arrays, and a checksum that fits."""
    about, arrays = io.read(path)
    change(about, arrays)
    io.write(path, about.pop("kind"), {k: v for k, v in about.items() if k != "format"}, arrays)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda about, arrays: arrays.pop("optimizer.1"), "optimizer.1"),
        (lambda about, arrays: arrays.update({"optimizer.0": arrays["optimizer.0"][:-1].copy()}), "optimizer.0: expected float64"),
        (lambda about, arrays: arrays.update({"best": arrays["best"].astype("f4")}), "best: expected float64"),
        (lambda about, arrays: arrays.update({"state.0.0": np.zeros(3)}), "cannot be understood"),
        (lambda about, arrays: arrays.pop("model.dense.bias"), "dense.bias"),
        (lambda about, arrays: about["trainer"].pop("passes"), "passes"),
        (lambda about, arrays: about["run"].update(history=3), "cannot be understood"),
        (lambda about, arrays: about["run"].update(begin=-5), "begin must be an integer >= 0, got -5"),
        (lambda about, arrays: about["run"].update(seen="3"), "seen must be an integer"),
        (lambda about, arrays: about["run"].update(total=float("nan")), "total must be finite"),
        (lambda about, arrays: about["run"].update(best=[0.5, 7]), "best is record 7 of 1"),
        (lambda about, arrays: about["run"]["history"]["records"].clear(), "best is record 0 of 0"),
        (lambda about, arrays: about["trainer"].update(epoch=2), "1 records of the epochs from 0 to 2"),
        (lambda about, arrays: about["trainer"].update(step=2**70), "step must be"),
        (lambda about, arrays: about["trainer"]["measures"].update(norm=float("inf")), "norm must be finite"),
        (lambda about, arrays: arrays["optimizer.0"].fill(np.nan), "optimizer.0 has NaN or inf"),
        (lambda about, arrays: arrays.update({"state.0.0": np.zeros((2, 0, 4))}), "samples of the states must be"),
        (lambda about, arrays: about.pop("settings"), "no settings"),
        (lambda about, arrays: about.update(kind="model"), "contains a model, not a checkpoint"),
    ],
)  # fmt: skip
def test_files_that_do_not_fit(path, change, message):
    fit(net(), checkpoint=path, epochs=1)
    rewritten(path, change)
    with pytest.raises(ModelFileError, match=message):
        fit(net(), checkpoint=path, resume=True)


def test_a_damaged_file(path):
    fit(net(), checkpoint=path, epochs=1)
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(content)
    with pytest.raises(ModelFileError, match="checksum"):
        fit(net(), checkpoint=path, resume="auto")


# The command line


def test_command_line(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    pathlib.Path("text.txt").write_text("the cat sat on the mat. " * 20)
    command = "train text.txt --hidden-size 4 --num-layers 1 --batch-size 2 --seq-length 10 --quiet --threads 1".split()
    assert main([*command, "--epochs", "3", "-o", "whole"]) == 0
    assert main([*command, "--epochs", "2", "--checkpoint", "run.ckpt"]) == 0
    assert main([*command, "--epochs", "3", "--checkpoint", "run.ckpt"]) == 1
    assert "exists already: go on" in capsys.readouterr().err
    assert main([*command, "--epochs", "3", "--checkpoint", "run.ckpt", "--resume", "-o", "resumed"]) == 0
    first, second = (CharLM.load(name).model.params.flat for name in ("whole", "resumed"))
    assert_same_bits(second, first)
    assert main([*command, "--resume"]) == 1
    assert "--resume needs --checkpoint" in capsys.readouterr().err


def test_fingerprints_of_texts_tell_their_lengths():
    """One that divides evenly has the fingerprint of versions before, whose texts all did."""
    even = TokenStream(np.zeros(61, np.int32), 2, 10).fingerprint()
    assert {name for name, value in even.items() if value is not None} == {"tokens", "last", "seq_length"}
    assert len({str(TokenStream(np.zeros(size, np.int32), 3, 10).fingerprint()) for size in (60, 61, 62, 63)}) == 4


def test_a_run_resumes_in_a_text_with_a_rest(path):
    tokens = np.random.default_rng(0).integers(0, 5, 77)  # streams of 26, 25 and 25

    def run(epochs, **options):
        model = Model([OneHot(5), LSTM(6, dropout=0.3, num_layers=2), Dense(5)], seed=1)
        stream = TokenStream(tokens, 3, 10)
        trainer = Trainer(model, optimizer=Adam(0.02))
        trainer.fit(stream, epochs, verbose=0, **options)
        return model.params.flat

    run(1, checkpoint=path)
    assert_same_bits(run(3, checkpoint=path, resume=True), run(3))
