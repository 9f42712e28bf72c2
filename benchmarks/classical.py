"""The experiments of Hochreiter & Schmidhuber (1997): who solves them, and after how many sequences.

python benchmarks/classical.py [--trials 3] [--processes 2] [--results classical.jsonl]

reber
    Embedded Reber grammar, 256 strings to learn and 256 others: at every step of all of them the allowed symbols are the most
    active outputs (checked after every pass).
adding
    The adding problem of 1997, T = 100: the mean squared error of the last 2,000 sequences is below 0.01, and all of them were
    right within 0.04.
temporal order
    Task 6a: the mean error of the last 2,000 sequences is below 0.1, and all probabilities were right within 0.3.

Sequences of the last two are fresh, and judged before they are learned from. A set-up of today, not of 1997: Adam, batches of ten
sequences, gradients clipped to norm 1, full back-propagation through time, a softmax where there are classes. Every result is a
line of the file as soon as it is there; a run that was stopped goes on with what is missing.
"""

import argparse
import json
import multiprocessing
import pathlib
import statistics
import time

import numpy as np

from numbarnn import Dense, Model, OneHot, Trainer
from numbarnn.data import Batch
from numbarnn.data.datasets import adding_1997, embedded_reber, reber_allowed, temporal_order
from numbarnn.layers import GRU, LSTM, RNN, IndRNN
from numbarnn.optim import Adam

# The logarithm of the time that must be bridged, about: with 1, a gradient over 50 steps is 1e-4 of its size at the start.
FORGET = 4.0
NETS = {
    "RNN": lambda hidden, **options: RNN(hidden, init="orthogonal", **options),
    "LSTM": lambda hidden, **options: LSTM(hidden, forget_bias=FORGET, **options),
    "LSTM, f = 1": lambda hidden, **options: LSTM(hidden, hold={"forget": 1.0}, **options),
    "LSTM, peepholes": lambda hidden, **options: LSTM(hidden, peepholes=True, forget_bias=FORGET, **options),
    "GRU": lambda hidden, **options: GRU(hidden, **options),
    "IndRNN": lambda hidden, **options: IndRNN(hidden, num_layers=2, **options),
}
# The best or only figures of the paper, LSTM without forget gates: sequences needed.
PUBLISHED = {"reber": "8,440", "adding": "74,000", "temporal order": "31,390"}
BATCH, RECENT = 10, 2000


def reber(net, seed, limit):
    """Return (sequences needed or None, share of the test strings that are right at the end)."""
    learned, test = embedded_reber(256, seed=2 * seed), embedded_reber(256, seed=2 * seed + 1)
    model = Model([OneHot(7), NETS[net](16), Dense(7)], seed=seed)
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
        if right(learned, allowed[0]).all() and right(test, allowed[1]).all():
            return done, 1.0
    return None, float(right(test, allowed[1]).mean())


def adding(net, seed, limit):
    """Return (sequences needed or None, share of 2,560 fresh sequences that are right)."""
    model = Model([NETS[net](32, return_sequences=False), Dense(1)], input_size=2, seed=seed)

    def errors(outputs, y):
        return np.abs(outputs[:, 0] - y)

    def draw(count, number):
        return adding_1997(count, 100, seed=number)

    return _stream(model, "mse", draw, errors, 0.04, lambda e: np.square(e).mean() < 0.01, seed, limit)


def order(net, seed, limit):
    """Return (sequences needed or None, share of 2,560 fresh sequences that are right)."""
    model = Model([OneHot(8), NETS[net](32, return_sequences=False), Dense(4)], seed=seed)

    def errors(logits, y):
        p = np.exp(logits - logits.max(axis=1, keepdims=True))
        return np.abs(p / p.sum(axis=1, keepdims=True) - np.eye(4)[y]).max(axis=1)

    def draw(count, number):
        return temporal_order(count, 2, seed=number)

    return _stream(model, "softmax_cross_entropy", draw, errors, 0.3, lambda e: e.mean() < 0.1, seed, limit)


def _stream(model, loss, draw, errors, tolerance, small, seed, limit):
    """Train on fresh sequences until the last `RECENT` are all right and their errors small."""
    trainer = Trainer(model, loss, Adam(1e-3), clip_norm=1.0, seed=seed, n_threads=1)
    recent, needed = np.full(RECENT, np.inf), None
    for done in range(0, limit, RECENT):
        x, y, lengths = draw(RECENT, 10**7 * (seed + 1) + done)
        for first in range(0, RECENT, BATCH):
            part = slice(first, first + BATCH)
            outputs, _ = model.forward(x[part], lengths=lengths[part], n_threads=1)
            recent[part] = errors(outputs, y[part])  # a ring: those of the round before stand behind
            trainer.train_batch(Batch(x[part], y[part], lengths[part]))
            if recent.max() < tolerance and small(recent):
                needed = done + first + BATCH
                break
        if needed is not None:
            break
    x, y, lengths = draw(2560, 10**9 + seed)
    outputs, _ = model.forward(x, lengths=lengths, n_threads=1)
    return needed, float((errors(outputs, y) < tolerance).mean())


TASKS = {"reber": (reber, 50_000), "adding": (adding, 200_000), "temporal order": (order, 100_000)}


def work(job):
    """Return the result of one trial."""
    task, net, trial, limit = job
    started = time.perf_counter()
    needed, right = TASKS[task][0](net, trial, limit)
    seconds = time.perf_counter() - started
    return {
        "task": task,
        "net": net,
        "trial": trial,
        "limit": limit,
        "needed": needed,
        "right": right,
        "seconds": seconds,
    }


def table(results):
    """Return the results as a Markdown table."""
    lines = [
        "| task | net | solved | sequences needed, median | right in the test, median | published (LSTM, 1997) |",
        "|---|---|---|---|---|---|",
    ]
    for task in TASKS:
        for net in NETS:
            found = [r for r in results if (r["task"], r["net"]) == (task, net)]
            if not found:
                continue
            needed = [r["needed"] for r in found if r["needed"] is not None]
            median = f"{statistics.median(needed):,.0f}" if needed else f"not in {found[0]['limit']:,}"
            right = statistics.median(r["right"] for r in found)
            lines.append(
                f"| {task} | {net} | {len(needed)} of {len(found)} | {median} | {right:.1%} | {PUBLISHED[task]} |"
            )
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
    parser.add_argument("--trials", type=int, default=3)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--tasks", nargs="+", choices=list(TASKS), default=list(TASKS))
    parser.add_argument("--nets", nargs="+", choices=list(NETS), default=list(NETS))
    parser.add_argument("--limit", type=int, help="sequences at most, instead of the task's own limit")
    parser.add_argument("--results", type=pathlib.Path, default=pathlib.Path("classical.jsonl"))
    options = parser.parse_args()
    results = read(options.results)
    there = {(r["task"], r["net"], r["trial"], r["limit"]) for r in results}
    jobs = [
        (task, net, trial, options.limit or TASKS[task][1])
        for trial in range(options.trials)
        for task in options.tasks
        for net in options.nets
    ]
    jobs = [job for job in jobs if job not in there]
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
