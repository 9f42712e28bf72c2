"""Online learning: what `Stream.learn` costs beside `Stream.step` and a training step, and how exact its gradients are.

python benchmarks/stream_learn.py [--rounds 7] [--steps 100000] [--only cost|exact|memory] [--layers MinGRU ...]

Times are the medians of rounds in which all ways take turns, in microseconds a call, with float32 and one feature to predict. The
exact gradients of all steps, with fixed weights in float64, are added up and compared with those of `Model.loss_and_grad` over the
whole sequence: the largest difference, relative to the largest entry of a parameter.
"""

import argparse
import itertools
import statistics
import time
import tracemalloc

import numpy as np

import numbarnn as nr
from numbarnn.data.batches import Batch

LAYERS = {"IndRNN": nr.IndRNN, "MinGRU": nr.MinGRU, "MinLSTM": nr.MinLSTM}
FEATURES = 4


def ways(layer, hidden):
    """Return functions of one step by name."""

    def model():
        return nr.Model([layer(hidden), nr.Dense(1)], input_size=FEATURES, n_threads=1)

    x, y = np.random.default_rng(0).standard_normal(FEATURES).astype(np.float32), np.zeros(1, np.float32)
    plain, trainer = model().stream(), nr.Trainer(model(), "mse", "sgd", learning_rate=1e-6, n_threads=1)
    batch = Batch(x[None, None], y[None, None], None, None, keep_state=True)
    found = {"step": lambda: plain.step(x), "training step, T = 1": lambda: trainer.train_batch(batch)}
    for name, target, optimizer, window in (
        ("learn, no target", None, "sgd", None),
        ("learn, sgd", y, "sgd", None),
        ("learn, adam", y, "adam", None),
        ("learn, adam, window=32", y, "adam", 32),
    ):
        stream = model().stream()

        def learn(stream=stream, target=target, optimizer=optimizer, window=window):
            stream.learn(x, target, loss="mse", optimizer=optimizer, learning_rate=1e-6, window=window)

        found[name] = learn
    return found


def seconds(function, calls):
    """Return the seconds that a call takes."""
    start = time.perf_counter()
    for _ in range(calls):
        function()
    return (time.perf_counter() - start) / calls


def cost(rounds, layers):
    """Print a table of times."""
    for name, hidden in itertools.product(layers, (8, 32, 128)):
        functions, times = ways(LAYERS[name], hidden), {}
        calls = {key: 20 if key.startswith("training") or "window" in key else 2000 for key in functions}
        for key, function in functions.items():
            for _ in range(40):
                function()
            times[key] = []
        for _ in range(rounds):
            for key, function in functions.items():
                times[key].append(seconds(function, calls[key]))
        middle = {key: statistics.median(values) * 1e6 for key, values in times.items()}
        row = "  ".join(f"{key} {value:.2f} ({value / middle['step']:.1f})" for key, value in middle.items())
        print(f"{name}({hidden}), {FEATURES} features: {row}", flush=True)


def exact(steps, layers):
    """Print the differences of gradients over a long sequence."""
    for name in layers:
        model = nr.Model([LAYERS[name](16), nr.Dense(2)], input_size=FEATURES, dtype="float64")
        generator = np.random.default_rng(0)
        x, y = generator.standard_normal((steps, FEATURES)), generator.standard_normal((steps, 2))
        stream, total, sums = model.stream(), 0.0, {key: np.zeros_like(value) for key, value in model.params.items()}
        for x_t, y_t in zip(x, y, strict=True):
            total += stream.learn(x_t, y_t, loss="mse", optimizer="sgd", learning_rate=0.0)
            for key, value in stream.gradients.items():
                sums[key] += value
        loss, gradients = model.loss_and_grad(x[None], y[None], "mse", reduction="sum")
        worst = max(np.abs(sums[key] - value).max() / np.abs(value).max() for key, value in gradients.items())
        print(f"{name}, {steps:,} steps: loss {abs(total / loss - 1):.1e}, gradient {worst:.1e}", flush=True)


def memory(steps):
    """Print how much memory Python and NumPy hold after few and after many steps."""
    for window in (None, 32):
        stream = nr.Model([nr.MinGRU(32), nr.Dense(1)], input_size=FEATURES).stream()
        x, y = np.ones(FEATURES, np.float32), np.zeros(1, np.float32)
        count = steps if window is None else steps // 10
        tracemalloc.start()
        for number in range(count):
            stream.learn(x, y, loss="mse", optimizer="adam", learning_rate=1e-6, window=window)
            if number == count // 10:
                first = tracemalloc.get_traced_memory()[0]
        print(
            f"window={window}: {tracemalloc.get_traced_memory()[0] - first} bytes more after {count:,} steps than after a tenth"
        )
        tracemalloc.stop()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--steps", type=int, default=100_000)
    parser.add_argument("--layers", nargs="+", choices=LAYERS, default=list(LAYERS))
    parser.add_argument("--only", choices=("cost", "exact", "memory"))
    arguments = parser.parse_args()
    if arguments.only in (None, "cost"):
        cost(arguments.rounds, arguments.layers)
    if arguments.only in (None, "exact"):
        exact(arguments.steps, arguments.layers)
    if arguments.only in (None, "memory"):
        memory(arguments.steps)
