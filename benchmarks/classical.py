"""The classical experiments on long time lags: which net solves them, and after how many sequences.

python benchmarks/classical.py [--trials 3] [--processes 2] [--tasks adding] [--nets LSTM] [--results classical.jsonl]
python benchmarks/classical.py --table-only --results benchmarks/results/classical.jsonl

The tasks of Hochreiter & Schmidhuber (1997) are solved by their criteria:

reber
    Embedded Reber grammar (experiment 1), 256 strings to learn and 256 others: at every step of all of them the allowed symbols
    are the most active outputs (checked after every pass).
long lag
    Noise-free, p = 100 (2a): at the last symbol the error of every output is below 0.25, over 10,000 sequences in a row. What is
    counted are the sequences before those. In the loss the last symbol weighs as much as the 99 others together: with equal weights
    the LSTM learns those first, by outputs of its memory, and no longer finds the first symbol there (0 right in 100,000).
adding
    T = 100 (4): the mean squared error of the last 2,000 sequences is below 0.01, and all of them were right within 0.04.
multiplication
    T = 100 (5): of the last 2,000 sequences fewer than 140 were wrong by 0.04 or more.
order 6a, order 6b
    Temporal order of two and of three symbols (6): the mean error of the last 2,000 sequences is below 0.1, and all probabilities
    were right within 0.3.
copy
    Ten digits are repeated after a delay of 30: the mean cross-entropy of the last 2,000 sequences is below a tenth of 10 ln 8 / 50
    = 0.416, which is the best without a memory. A form and a criterion of later papers (Arjovsky et al. 2016; Bai et al. 2018).

All but the grammar are streams of fresh sequences, each judged before it is learned from. A set-up of today, not of 1997: Adam,
batches of ten sequences, gradients clipped to norm 1, full back-propagation through time, a softmax where there are classes. Nets
that do not solve a task cost its whole limit of sequences, three to six times what the LSTM needs (of the grammar fifteen times).
Every result is a line of the file as soon as it is there; a run that was stopped goes on with what is missing.
"""

import argparse
import json
import multiprocessing
import pathlib
import statistics
import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from numbarnn import Dense, Model, OneHot, Trainer
from numbarnn.backends.cpu import losses
from numbarnn.backends.cpu.batch import from_rows
from numbarnn.data import Batch
from numbarnn.data.datasets import (
    adding_1997,
    copy_memory,
    embedded_reber,
    long_lag,
    multiplication,
    reber_allowed,
    temporal_order,
)
from numbarnn.layers import GRU, LSTM, RNN, IndRNN
from numbarnn.losses import Loss, make_loss
from numbarnn.optim import Adam

# The logarithm of the time that must be bridged, about: with 1, a gradient over 50 steps is 1e-4 of its size at the start.
FORGET = 4.0
# In the order in which they are run.
NETS = {
    "LSTM": lambda hidden, **options: LSTM(hidden, forget_bias=FORGET, **options),
    "RNN": lambda hidden, **options: RNN(hidden, init="orthogonal", **options),
    "LSTM, f = 1": lambda hidden, **options: LSTM(hidden, fix={"forget": 1.0}, **options),
    "LSTM, peepholes": lambda hidden, **options: LSTM(hidden, peepholes=True, forget_bias=FORGET, **options),
    "GRU": lambda hidden, **options: GRU(hidden, **options),
    "GRU, update bias": lambda hidden, **options: GRU(hidden, **options),  # see `remembering`
    "IndRNN": lambda hidden, **options: IndRNN(hidden, num_layers=2, **options),
}
BATCH, BLOCK, TEST = 10, 2000, 2560
DELAY = 30  # of the copy task


def remembering(model, net):
    """Give the update gates of a GRU the bias that the forget gates of the LSTM have, where that is asked for; return the model."""
    if net == "GRU, update bias":
        with model.params.writing() as flat:
            model.params.views(flat)["gru.bias_ih_l0"].reshape(3, -1)[1] = FORGET  # of r, z, n
    return model


class Outcome(NamedTuple):
    """What became of a trial.

    Attributes
    ----------
    needed : int or None
        Sequences until the task was solved.
    right : float
        Share of the test sequences that are right at the end.
    error : float
        Mean error of the test sequences at the end, as the task measures it.
    """

    needed: int | None
    right: float
    error: float


class Stream(NamedTuple):
    """A task of fresh sequences.

    Attributes
    ----------
    draw : callable
        (samples, seed) -> `Samples`.
    model : callable
        (net, seed) -> `Model`.
    loss : str
    judge : callable
        (outputs, y) -> error of every sequence, and whether it is wrong.
    solved : callable
        (errors, wrong) of the last `window` sequences -> whether the task is solved.
    window : int
    learning_rate : float
    weight : callable or None
        y -> weight of every step of it in the loss.
    """

    draw: Callable
    model: Callable
    loss: str
    judge: Callable
    solved: Callable
    window: int = 2000
    learning_rate: float = 1e-3
    weight: Callable | None = None

    def run(self, net, seed, limit):
        """Train on fresh sequences until the last ones show that the task is solved."""
        watched = Watched(make_loss(self.loss))
        model = remembering(self.model(net, seed), net)
        trainer = Trainer(model, watched, Adam(self.learning_rate), clip_norm=1.0, seed=seed, n_threads=1)
        errors, wrong, needed = np.full(self.window, np.inf), np.ones(self.window, bool), None
        for done in range(0, limit, BLOCK):
            x, y, lengths = self.draw(BLOCK, 10**7 * (seed + 1) + done)
            for first in range(0, BLOCK, BATCH):
                part = slice(first, first + BATCH)
                weight = None if self.weight is None else self.weight(y[part])
                trainer.train_batch(Batch(x[part], y[part], None if lengths is None else lengths[part], weight))
                start = (done + first) % self.window
                ring = slice(start, start + BATCH)
                errors[ring], wrong[ring] = self.judge(watched.outputs, y[part])
                if self.solved(errors, wrong):
                    needed = done + first + BATCH
                    break
            if needed is not None:
                break
        x, y, lengths = self.draw(TEST, 10**9 + seed)
        outputs, _ = model.forward(x, lengths=lengths, n_threads=1)
        error, wrong = self.judge(outputs, y)
        return Outcome(needed, 1 - float(np.mean(wrong)), float(np.mean(error)))


class Watched(Loss):
    """A loss that keeps the outputs it saw, so that a batch is judged by the pass that it is learned from."""

    def __init__(self, loss):
        object.__setattr__(self, "loss", loss)


def watch(call, loss, size, target, layout, reduction, sample_weight):
    """Prepare a `Watched`, which keeps what it sees as its `outputs`."""
    run = losses.prepare(call, loss.loss, size, target, layout, reduction, sample_weight)

    def watched(outputs):
        seen = from_rows(call, outputs, layout)
        object.__setattr__(loss, "outputs", seen[:, 0] if layout.steps == 1 else seen)
        return run(outputs)

    return watched


losses.LOSSES["Watched"] = watch


def reber(net, seed, limit):
    """Learn 256 strings until they and 256 others are right."""
    learned, test = embedded_reber(256, seed=2 * seed), embedded_reber(256, seed=2 * seed + 1)
    model = remembering(Model([OneHot(7), NETS[net](16), Dense(7)], seed=seed), net)
    trainer = Trainer(model, "softmax_cross_entropy", Adam(0.01), clip_norm=1.0, seed=seed, n_threads=1)
    allowed = [reber_allowed(samples.x, samples.lengths) for samples in (learned, test)]

    def right(samples, allowed):
        """Return for each string whether the least active allowed output beats the most active other one at every step."""
        logits, _ = model.forward(samples.x, lengths=samples.lengths, n_threads=1)
        worst = np.where(allowed, logits, np.inf).min(axis=2)
        best = np.where(allowed, -np.inf, logits).max(axis=2)
        past = np.arange(samples.x.shape[1]) >= samples.lengths[:, None]
        return ((worst > best) | past).all(axis=1)

    generator, done = np.random.default_rng(seed), 0
    while done < limit:
        order = generator.permutation(256)
        for first in range(0, 256, BATCH):
            rows = order[first : first + BATCH]
            trainer.train_batch(Batch(learned.x[rows], learned.y[rows], learned.lengths[rows]))
        done += 256
        good = right(test, allowed[1])
        if good.all() and right(learned, allowed[0]).all():
            return Outcome(done, 1.0, 0.0)
    return Outcome(None, float(good.mean()), 1 - float(good.mean()))


def _of_numbers(draw, solved, **options):
    """Return the stream of a task whose answer is a number, right within 0.04."""

    def judge(outputs, y):
        off = np.abs(outputs[:, 0] - y)
        return np.square(off), off >= 0.04

    return Stream(
        draw=lambda count, seed: draw(count, 100, seed=seed),
        model=lambda net, seed: Model([NETS[net](32, return_sequences=False), Dense(1)], input_size=2, seed=seed),
        loss="mse",
        judge=judge,
        solved=solved,
        **options,
    )


def _softmax(logits):
    p = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return p / p.sum(axis=-1, keepdims=True)


def _order(symbols, published, limit, trials):
    classes = 2**symbols

    def judge(logits, y):
        errors = np.abs(_softmax(logits) - np.eye(classes)[y]).max(axis=1)
        return errors, errors >= 0.3

    return Task(
        Stream(
            draw=lambda count, seed: temporal_order(count, symbols, seed=seed),
            model=lambda net, seed: Model(
                [OneHot(8), NETS[net](32, return_sequences=False), Dense(classes)], seed=seed
            ),
            loss="softmax_cross_entropy",
            judge=judge,
            solved=lambda errors, wrong: not wrong.any() and errors.mean() < 0.1,
        ).run,
        published,
        limit,
        trials,
        1 - 1 / classes,
    )


def _judge_last(logits, y):
    errors = np.abs(_softmax(logits[:, -1]) - np.eye(logits.shape[2])[y[:, -1]]).max(axis=1)
    return errors, errors >= 0.25


def _judge_copy(logits, y):
    shifted = logits - logits.max(axis=2, keepdims=True)
    wanted = np.take_along_axis(shifted, y[:, :, None], axis=2)[:, :, 0]
    errors = np.log(np.exp(shifted).sum(axis=2)) - wanted
    return errors.mean(axis=1), (logits[:, -10:].argmax(axis=2) != y[:, -10:]).any(axis=1)


class Task(NamedTuple):
    """A task.

    Attributes
    ----------
    run : callable
        (net, seed, limit) -> `Outcome`.
    published : str
        Sequences that the LSTM of 1997 needed, the best or only figure.
    limit : int
        Sequences at most.
    trials : int
    forgetful : float
        Mean error of the best answers without a memory, as the task measures it; of the grammar NaN.
    """

    run: Callable
    published: str
    limit: int
    trials: int
    forgetful: float


TASKS = {
    "reber": Task(reber, published="8,440", limit=50_000, trials=10, forgetful=np.nan),
    "adding": Task(
        _of_numbers(adding_1997, lambda errors, wrong: not wrong.any() and errors.mean() < 0.01).run,
        published="74,000",
        limit=500_000,
        trials=10,
        forgetful=(0.9 + 1) / 3 / 16,
    ),
    "order 6a": _order(2, "31,390", 100_000, 10),
    "long lag": Task(
        Stream(
            draw=lambda count, seed: long_lag(count, 100, seed=seed),
            model=lambda net, seed: Model([OneHot(101), NETS[net](32), Dense(101)], seed=seed),
            loss="softmax_cross_entropy",
            judge=_judge_last,
            solved=lambda errors, wrong: not wrong.any(),
            window=10_000,
            weight=lambda y: np.where(np.arange(100) < 99, 1 / 99, 1.0) * np.ones((len(y), 1)),
        ).run,
        published="5,040",
        limit=100_000,
        trials=3,
        forgetful=0.5,
    ),
    "multiplication": Task(
        _of_numbers(multiplication, lambda errors, wrong: wrong.sum() < 140, learning_rate=3e-3).run,
        published="482,000",
        limit=1_500_000,
        trials=3,
        forgetful=0.1 / 3 + 0.9 / 9 - 0.275**2,
    ),
    "order 6b": _order(3, "571,100", 150_000, 3),
    "copy": Task(
        Stream(
            draw=lambda count, seed: copy_memory(count, DELAY, seed=seed),
            model=lambda net, seed: Model([OneHot(10), NETS[net](64), Dense(10)], seed=seed),
            loss="softmax_cross_entropy",
            judge=_judge_copy,
            solved=lambda errors, wrong: errors.mean() < np.log(8) / (DELAY + 20),
            learning_rate=3e-3,
        ).run,
        published="-",
        limit=1_000_000,
        trials=3,
        forgetful=10 * np.log(8) / (DELAY + 20),
    ),
}


def work(job):
    """Return the result of one trial."""
    task, net, trial, limit = job
    started = time.perf_counter()
    outcome = TASKS[task].run(net, trial, limit)
    seconds = round(time.perf_counter() - started, 1)
    return {"task": task, "net": net, "trial": trial, "limit": limit, **outcome._asdict(), "seconds": seconds}


def table(results):
    """Return the results as a Markdown table."""
    lines = [
        "| task | net | solved | sequences needed, median (least to most) | limit | right in the test | error in the test | "
        "without memory | published (LSTM, 1997) |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for name, task in TASKS.items():
        for net in NETS:
            found = [r for r in results if (r["task"], r["net"]) == (name, net)]
            if not found:
                continue
            needed = [r["needed"] for r in found if r["needed"] is not None]
            text = "-"
            if needed:
                text = f"{statistics.median(needed):,.0f} ({min(needed):,} to {max(needed):,})"
            right, error = (statistics.median(r[key] for r in found) for key in ("right", "error"))
            errors = f"{error:.2g} | {task.forgetful:.2g}" if task.forgetful > 0 else "- | -"
            cells = [
                name,
                net,
                f"{len(needed)} of {len(found)}",
                text,
                f"{found[0]['limit']:,}",
                f"{right:.1%}",
                errors,
            ]
            lines.append("| " + " | ".join([*cells, task.published]) + " |")
    return "\n".join(lines)


def read(path):
    """Return the results of a file; a line that a kill cut off is dropped from it."""
    lines = path.read_text().splitlines(keepends=True) if path.exists() else []
    whole = [line for line in lines if line.endswith("\n")]
    if len(whole) < len(lines):
        path.write_text("".join(whole))
    return [json.loads(line) for line in whole]


def main():
    """Run what is missing, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, help="instead of the task's own number")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--tasks", nargs="+", choices=list(TASKS), default=list(TASKS))
    parser.add_argument("--nets", nargs="+", choices=list(NETS), default=list(NETS))
    parser.add_argument("--limit", type=int, help="sequences at most, instead of the task's own limit")
    parser.add_argument("--results", type=pathlib.Path, default=pathlib.Path("classical.jsonl"))
    parser.add_argument("--table-only", action="store_true", help="run nothing")
    options = parser.parse_args()
    results = read(options.results)
    there = {(r["task"], r["net"], r["trial"], r["limit"]) for r in results}
    jobs = [
        (task, net, trial, options.limit or TASKS[task].limit)
        for net in NETS
        for task in TASKS
        for trial in range(options.trials or TASKS[task].trials)
        if net in options.nets and task in options.tasks and not options.table_only
    ]
    jobs = [job for job in jobs if job not in there]
    if jobs:
        with multiprocessing.get_context("spawn").Pool(options.processes) as pool, options.results.open("a") as file:
            for result in pool.imap_unordered(work, jobs):
                results.append(result)
                file.write(json.dumps(result) + "\n")
                file.flush()
                solved = f"after {result['needed']:,}" if result["needed"] else "not solved"
                print(
                    f"{result['task']}, {result['net']}, trial {result['trial']}: {solved}, {result['seconds']:.0f} s",
                    flush=True,
                )
    print(table(results))


if __name__ == "__main__":
    main()
