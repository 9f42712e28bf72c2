"""Runs that are killed and resumed; `test_resume.py` starts this in a process of its own, because it forks.

For every kill point one child trains and kills itself with SIGKILL at that moment, and another one resumes from the file and
reports all that it ended with. A moment is a call of `tick`: before and after every optimizer step, in the middle of it, around
every write and renaming of a file, in validation. Some children are killed by the parent's clock instead.

Arguments: folder, number of kill points, number of those by the clock. Prints a line for every failure, then "done" and counts.
"""

import hashlib
import json
import os
import pathlib
import random
import signal
import sys
import time

import numpy as np

from numbarnn import GRU, LSTM, RNN, CharLM, Dense, Model, Trainer, io, optim
from numbarnn.data import Batch
from numbarnn.optim import EMA, SGD, Adagrad, Adam, Cosine, RMSprop
from numbarnn.training.callbacks import EarlyStopping

TEXT = "the cat sat on the mat. the dog sat on the log. " * 6


def task(samples=33, steps=6, seed=0):
    x = np.random.default_rng(seed).normal(size=(samples, steps, 1)).astype(np.float32)
    return x, (x.cumsum(axis=1)[:, :, 0] > 0).astype(np.int64)


class Own:
    """A source without a fingerprint, whose batches follow from the generator."""

    def batches(self, generator):
        x, y = task()
        for _ in range(5):
            rows = generator.integers(0, len(x), 6)
            yield Batch(x[rows], y[rows])


def dropout(**run):
    """Dropout and early stopping with the best weights, the last batch smaller than the others."""
    model = Model([LSTM(5, 2, dropout=0.3, recurrent_dropout=0.2), Dense(2)], input_size=1, seed=1)
    x, y = task()
    stopping = EarlyStopping(patience=1, min_delta=0.02)
    history = model.fit(
        x, y, epochs=9, batch_size=8, optimizer=Adam(0.05), validation=0.25, patience=stopping, seed=3, verbose=0, **run
    )
    return model, history


def stream(**run):
    """A character model: carried states, a schedule, clipping, validation."""
    lm = CharLM("gru", 6, 1, dropout=0.1)
    lm.fit(TEXT, 3, batch_size=4, seq_length=10, optimizer=RMSprop(0.01), validation=0.2, verbose=0, **run)
    return lm.model, lm.history


def chunks(**run):
    """Truncated back-propagation within batches, accumulated, with an average that validation sees."""
    model = Model([GRU(4, dropout=0.2, num_layers=2), Dense(2)], input_size=1, dtype="float64")
    x, y = task(20, 11)
    lengths = np.arange(20) % 12
    history = model.fit(
        x, y, lengths=lengths, epochs=3, batch_size=7, tbptt=4, accumulate=3, average=EMA(0.8), optimizer=Adagrad(0.1),
        validation=task(9, 11, seed=1), schedule=Cosine(30), clip_norm=0.5, verbose=0, **run,
    )  # fmt: skip
    return model, history


def own(**run):
    """An own source, Nesterov's momentum, an average beside the weights."""
    model = Model([RNN(4), Dense(2)], input_size=1)
    trainer = Trainer(model, optimizer=SGD(0.1, 0.9, nesterov=True), average=EMA(0.5, final=False), accumulate=2)
    return model, trainer.fit(Own(), 4, validation=task(7), patience=3, verbose=0, **run)


SCENARIOS = {run.__name__: run for run in (dropout, stream, chunks, own)}
# A file after every chunk, also amid the batches of a step; or after some steps.
EVERY = {"dropout": 3, "stream": 2, "chunks": "0.00001s", "own": 4}


def outcome(name, **run):
    """Return all that a run ends with, as a text."""
    model, history = SCENARIOS[name](**run)
    records = [{key: value for key, value in record.items() if key != "seconds"} for record in history]
    weights = hashlib.sha256(model.params.flat.tobytes()).hexdigest()
    return json.dumps([weights, history.stopped, history.best, records])


class Moments:
    """Counts the moments of a run, and kills the process at one of them."""

    def __init__(self, goal):
        self.goal, self.count = goal, 0
        io.os.fsync = lambda handle: (
            None
        )  # what a killed process has written is not lost; waiting for the disk would take a minute
        for owner, attribute in (
            (Trainer, "_train_chunk"),
            (optim.Optimizer, "update"),
            (Trainer, "evaluate"),
            (io.os, "open"),
            (io.os, "fsync"),
            (io.os, "replace"),
        ):
            setattr(owner, attribute, self.around(getattr(owner, attribute)))

    def around(self, function):
        def ticking(*arguments, **options):
            self.tick()
            result = function(*arguments, **options)
            self.tick()
            return result

        return ticking

    def tick(self):
        self.count += 1
        if self.count == self.goal:
            os.kill(os.getpid(), signal.SIGKILL)


def forked(work):
    """Run a function in a child; return its process and the reading end of a pipe that carries its text."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        try:
            text = work()
        except BaseException as error:
            text = f"{type(error).__name__}: {error}"
        os.write(writing, text.encode())
        os._exit(0)
    os.close(writing)
    return child, reading


def result(child, reading):
    """Return a child's text and the signal that ended it."""
    with os.fdopen(reading) as pipe:
        text = pipe.read()
    _, status = os.waitpid(child, 0)
    return text, os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0


def main(folder, points, by_clock):
    generator, failures = random.Random(1), 0
    path = pathlib.Path(folder) / "run.ckpt"
    expected, moments, seconds = {}, {}, {}
    for name in SCENARIOS:
        expected[name] = outcome(name)  # compiles

        def counted(name=name):
            watch = Moments(None)
            found = outcome(name, checkpoint=path, checkpoint_every=EVERY[name])
            return f"{watch.count} {found == expected[name]}"

        started = time.perf_counter()
        count, same = result(*forked(counted))[0].split()
        seconds[name] = time.perf_counter() - started
        path.unlink()
        moments[name] = int(count)
        if same != "True":
            failures += 1
            print(f"{name}: another result with checkpoints than without")

    kinds = dict.fromkeys(("resumed", "from the beginning", "after its end"), 0)
    for point in range(points):
        name = list(SCENARIOS)[point % len(SCENARIOS)]
        options = {"checkpoint": path, "checkpoint_every": EVERY[name], "resume": "auto"}
        clock, goal = point < by_clock, generator.randint(1, moments[name])

        def killed(name=name, options=options, goal=None if clock else goal):
            Moments(goal)
            return outcome(name, **options)

        child, reading = forked(killed)
        if clock:
            time.sleep(generator.uniform(0, seconds[name]))
            os.kill(child, signal.SIGKILL)
        text, ended = result(child, reading)
        where = f"{name}, {'by the clock' if clock else f'moment {goal} of {moments[name]}'}"
        if not clock and ended != signal.SIGKILL:
            failures += 1
            print(f"{where}: the run was not killed: {text}")
        kinds["after its end" if text else "resumed" if path.exists() else "from the beginning"] += 1
        text, ended = result(*forked(lambda: outcome(name, **options)))  # noqa: B023 (called at once)
        if text != expected[name] or ended:
            failures += 1
            print(f"{where}: expected {expected[name]}, got {text} (signal {ended})")
        left = [other.name for other in path.parent.iterdir()]
        if left != [path.name]:
            failures += 1
            print(f"{where}: files left behind: {left}")
        path.unlink()
    print(json.dumps({"points": points, "failures": failures, "moments": moments, **kinds}))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
