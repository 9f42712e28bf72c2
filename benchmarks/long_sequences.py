"""Long sequences under a limit of memory: what gradients cost in time and memory, and a million steps.

    python benchmarks/long_sequences.py            # both tables, about a minute
    python benchmarks/long_sequences.py --only limit

*limit*: `loss_and_grad` in one piece and under a tenth of what that needs, in turn; the medians of their times, and whether
loss and gradients are equal to the bit. *million*: `fit` on one sample of a million steps with a loss at every step, in a
process of its own; the peak of its resident memory above that of the process with data, model and compiled kernels.
"""

import argparse
import multiprocessing
import resource
import statistics
import time

import numpy as np

import numbarnn as nr

LIMIT_NETS = [("LSTM", 1, 20_000), ("LSTM", 32, 1_000), ("GRU", 32, 1_000), ("IndRNN", 32, 1_000), ("RNN", 1, 50_000)]
HIDDEN, CLASSES, FEATURES = 128, 4, 4


def task(samples, steps):
    """Return inputs and classes of every step."""
    generator = np.random.default_rng(0)
    x = generator.normal(size=(samples, steps, FEATURES)).astype(np.float32)
    return x, generator.integers(0, CLASSES, (samples, steps))


def net(cell):
    """Return a model with a dense layer above a cell."""
    return nr.Model([getattr(nr, cell)(HIDDEN), nr.Dense(CLASSES)], FEATURES, seed=1)


def compare(cell, samples, steps, rounds):
    """Return (bytes in one piece, bytes under the limit, segments, seconds of both, whether the bits are equal)."""
    model, (x, target) = net(cell), task(samples, steps)
    whole = model.memory(samples, steps).activations
    limited = model.memory(samples, steps, memory_limit=whole // 10)
    times, found = {None: [], whole // 10: []}, {}
    for turn in range(rounds + 1):
        for limit, own in times.items():
            start = time.perf_counter()
            found[limit] = model.loss_and_grad(x, target, memory_limit=limit)
            if turn:
                own.append(time.perf_counter() - start)
    (value, gradients), (other, others) = found.values()
    same = value == other and all(np.array_equal(gradients[name], others[name]) for name in gradients)
    return whole, limited.activations, limited.segments, *map(statistics.median, times.values()), same


def million(cell, steps, limit, queue):
    """Put seconds of an epoch and bytes above the data into a queue."""
    model, (x, target) = net(cell), task(1, steps)
    model.fit(x[:, :500], target[:, :500], epochs=1, memory_limit="3 MB", verbose=0)  # compiles
    with open("/proc/self/statm") as file:
        before = int(file.read().split()[1]) * resource.getpagesize()
    start = time.perf_counter()
    model.fit(x, target, epochs=1, memory_limit=limit, verbose=0)
    seconds = time.perf_counter() - start
    queue.put(
        (seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - before, model.memory(1, steps), limit)
    )


def main():
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", choices=["limit", "million"])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--steps", type=int, default=1_000_000)
    parser.add_argument("--memory-limit", default="150 MB")
    options = parser.parse_args()
    if options.only != "million":
        print(
            f"net, H = {HIDDEN} | samples | steps | MB whole | MB limited | segments | s whole | s limited | ratio | same bits"
        )
        for cell, samples, steps in LIMIT_NETS:
            whole, limited, count, one, other, same = compare(cell, samples, steps, options.rounds)
            sizes = f"{whole / 1e6:.1f} | {limited / 1e6:.1f} | {count}"
            print(
                f"{cell} | {samples} | {steps} | {sizes} | {one:.4f} | {other:.4f} | {other / one:.2f} | {same}",
                flush=True,
            )
    if options.only != "limit":
        print("net | steps | MB whole | limit | s an epoch | MB of peak RSS above the data")
        context = multiprocessing.get_context("spawn")
        for cell in ("LSTM", "GRU"):
            queue = context.Queue()
            process = context.Process(target=million, args=(cell, options.steps, options.memory_limit, queue))
            process.start()
            seconds, above, needed, limit = queue.get()
            process.join()
            size = f"{needed.activations / 1e6:.0f} | {limit}"
            print(f"{cell}({HIDDEN}) | {options.steps} | {size} | {seconds:.1f} | {above / 1e6:.0f}", flush=True)


if __name__ == "__main__":
    main()
