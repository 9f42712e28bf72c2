"""Cells without a recurrent product, beside GRU and torch; and what products of x by the block of steps save.

    python benchmarks/min_cells.py [--rounds 5] [--cells | --blocks]

Cells: forward and back-propagation through time with all gradients (weights, input), two threads, each engine in a process of its
own, in turn: medians of calls, of the best round. torch has no minGRU; it is written here in the two ways there are, the log-space
scan of the paper (all steps at once; the candidate positive, as it must be) and a loop over the steps after one product for all of
them. Both are checked before the clock starts.

Blocks: one sample, one thread, with `numbarnn.kernels.cpu.steps_ahead.FEW` = 0 (a product of x for every step) and as it is.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time

import numpy as np

C, H, N, T, THREADS = 64, 256, 32, 512, 2
ENGINES = ("MinGRU", "MinLSTM", "GRU", "torch scan", "torch loop")
REPEATS = 9
ONE_SAMPLE = (
    ("LSTM", 512, 512),
    ("LSTM", 256, 256),
    ("GRU", 512, 512),
    ("GRU", 256, 256),
    ("MinGRU", 64, 256),
    ("MinGRU", 16, 32),
)


def batch():
    """Return x and the gradient of the outputs."""
    rng = np.random.default_rng(0)
    return rng.normal(size=(N, T, C)).astype("float32"), rng.normal(size=(N, T, H)).astype("float32")


def timed(call, repeats=REPEATS):
    """Return the median of some calls in milliseconds, after two that do not count."""
    times = []
    for n in range(repeats + 2):
        start = time.perf_counter()
        call()
        if n > 1:
            times.append((time.perf_counter() - start) * 1e3)
    return statistics.median(times)


def ours(name):
    """Return (forward, forward + BPTT) of a layer in milliseconds."""
    import numbarnn as nr

    model = nr.Model([getattr(nr, name)(H)], input_size=C, seed=0, n_threads=THREADS)
    x, dy = batch()
    return timed(lambda: model.forward(x)), timed(lambda: model.vjp(x)[2](dy))


def torchs(name):
    """Return the same of a minGRU in torch."""
    import torch
    from torch.nn import functional

    import numbarnn as nr

    torch.set_num_threads(THREADS)
    model = nr.Model([nr.MinGRU(H)], input_size=C, seed=0)
    values, dy = batch()
    linear = torch.nn.Linear(C, 2 * H)
    with torch.no_grad():
        linear.weight.copy_(torch.tensor(model.params["mingru.weight_ih_l0"]))
        linear.bias.copy_(torch.tensor(model.params["mingru.bias_ih_l0"]))
    x, dy = torch.tensor(values, requires_grad=True), torch.tensor(dy)

    def positive(n):  # the paper's g
        return torch.where(n >= 0, n + 0.5, torch.sigmoid(n))

    def scan():
        k, n = linear(x).chunk(2, -1)
        keep = -functional.softplus(k)
        new = torch.where(n >= 0, (functional.relu(n) + 0.5).log(), -functional.softplus(-n)) - functional.softplus(-k)
        passed = keep.cumsum(1)
        return (passed + torch.logcumsumexp(new - passed, 1)).exp()

    def loop(candidate=lambda n: n):
        z, n = linear(x).chunk(2, -1)
        z, n = torch.sigmoid(z).unbind(1), candidate(n).unbind(1)
        h, steps = torch.zeros(N, H), []
        for z_t, n_t in zip(z, n, strict=True):
            h = torch.lerp(h, n_t, z_t)
            steps.append(h)
        return torch.stack(steps, 1)

    with torch.no_grad():
        found, expected = (
            (scan(), loop(positive)) if name == "torch scan" else (loop(), torch.tensor(model.forward(values)[0]))
        )
    if not torch.allclose(found, expected, rtol=1e-3, atol=1e-3):
        sys.exit(f"{name} is wrong by {(found - expected).abs().max()}")
    forward = scan if name == "torch scan" else loop

    def inference():
        with torch.inference_mode():
            forward()

    def training():
        linear.zero_grad()
        x.grad = None
        forward().backward(dy)

    return timed(inference), timed(training)


def cells(rounds):
    """Print the table of cells."""
    found = {engine: [] for engine in ENGINES}
    for _ in range(rounds):
        for engine in ENGINES:
            command = [sys.executable, __file__, "--engine", engine]
            found[engine].append(json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout))
    # What else a machine does makes a process slower, never faster.
    best = {engine: [min(column) for column in zip(*rows, strict=True)] for engine, rows in found.items()}
    print(f"\nC, H, N, T = {C}, {H}, {N}, {T}, {THREADS} threads, float32, ms (and times MinGRU's)\n")
    print("| engine | forward | forward + BPTT |\n|---|---|---|")
    for engine, row in best.items():
        columns = [f"{ms:.1f} ({ms / one:.2f})" for ms, one in zip(row, best["MinGRU"], strict=True)]
        print(f"| {engine} | {' | '.join(columns)} |")


def blocks():
    """Print the table of single samples."""
    import numbarnn as nr
    from numbarnn.kernels.cpu import steps_ahead

    few, steps = steps_ahead.FEW, 100
    print(
        f"\nOne sample, {steps} steps, one thread, float32, ms: a product of x for every step, for a block of steps, ratio\n"
    )
    print("| cell; C, H | forward | forward + BPTT |\n|---|---|---|")
    for name, inputs, hidden in ONE_SAMPLE:
        model = nr.Model([getattr(nr, name)(hidden)], input_size=inputs, seed=0, n_threads=1)
        rng = np.random.default_rng(0)
        x, dy = (rng.normal(size=(1, steps, size)).astype("float32") for size in (inputs, hidden))
        found = {0: [], few: []}
        for samples in (0, few) * 3:
            steps_ahead.FEW = samples
            # Lambdas are called before the names change.
            found[samples].append((timed(lambda: model.forward(x)), timed(lambda: model.vjp(x)[2](dy))))  # noqa: B023
        steps_ahead.FEW = few
        before, after = (
            [statistics.median(column) for column in zip(*found[samples], strict=True)] for samples in (0, few)
        )
        columns = [f"{a:.2f}, {b:.2f}, {a / b:.2f}" for a, b in zip(before, after, strict=True)]
        print(f"| {name}; {inputs}, {hidden} | {' | '.join(columns)} |")


def main():
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--cells", action="store_true", help="only the first table")
    parser.add_argument("--blocks", action="store_true", help="only the second one")
    parser.add_argument("--engine", choices=ENGINES, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.engine:
        name = options.engine
        print(json.dumps(torchs(name) if name.startswith("torch") else ours(name)))
        return
    if not options.blocks:
        cells(options.rounds)
    if not options.cells:
        blocks()


if __name__ == "__main__":
    main()
