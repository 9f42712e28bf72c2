"""CTC loss and its gradient with respect to logits, beside torch: separate processes, in turn, medians.

python benchmarks/ctc.py [--threads 2] [--rounds 7] [--seconds 0.3]
"""

import argparse
import importlib.util
import json
import subprocess
import sys
import time

import numpy as np

SIZES = [(100, 32, 40, 20), (250, 64, 11, 7), (500, 16, 1000, 60)]  # T, N, V, L


def case(steps, samples, classes, labels):
    """Return logits (T, N, V), labels (N, L), lengths and label lengths; a quarter of the samples is shorter."""
    rng = np.random.default_rng(0)
    logits = rng.standard_normal((steps, samples, classes)).astype(np.float32)
    targets = rng.integers(1, classes, (samples, labels))
    lengths = np.full(samples, steps)
    counts = np.full(samples, labels)
    lengths[::4], counts[::4] = int(0.8 * steps), int(0.8 * labels)
    return logits, targets, lengths, counts


def numbarnn_case(n_threads, size):
    """Return one evaluation from rows of logits, as a model's backward pass calls it."""
    from numbarnn.backends.cpu.batch import Call, to_rows
    from numbarnn.backends.cpu.losses import value_and_gradient
    from numbarnn.core.signal import Signal
    from numbarnn.kernels.cpu.memory import Arena
    from numbarnn.losses import CTC

    logits, targets, lengths, counts = case(*size)
    call = Call(np.dtype("float32"), n_threads)
    rows, layout = to_rows(call, np.ascontiguousarray(logits.transpose(1, 0, 2)), Signal(size[2]), lengths)
    loss, arena = CTC(), Arena()

    def evaluate():
        arena.reset()
        call = Call(np.dtype("float32"), n_threads, arena=arena)
        return value_and_gradient(call, loss, rows, (targets, counts), layout)[0]

    return evaluate


def torch_case(n_threads, size):
    """Return the same in torch, time-major and with the softmax, gradient left in its own memory."""
    import torch

    torch.set_num_threads(n_threads)
    logits, targets, lengths, counts = case(*size)
    x = torch.tensor(logits, requires_grad=True)
    arguments = [torch.tensor(array) for array in (targets, lengths, counts)]

    def evaluate():
        x.grad = None
        loss = torch.nn.functional.ctc_loss(x.log_softmax(2), *arguments)
        loss.backward()
        return loss.item()

    return evaluate


def serve(engine, n_threads):
    """Answer sizes, read as lines of JSON, with the median time and the loss."""
    cases = {}
    for line in sys.stdin:
        size, seconds = json.loads(line)
        key = tuple(size)
        if key not in cases:
            cases[key] = {"numbarnn": numbarnn_case, "torch": torch_case}[engine](n_threads, key)
            cases[key]()
        times, end = [], time.perf_counter() + seconds
        while len(times) < 3 or time.perf_counter() < end:
            start = time.perf_counter()
            value = cases[key]()
            times.append(time.perf_counter() - start)
        print(json.dumps([float(np.median(times)) * 1e3, value]), flush=True)


def main():
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=0.3)
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve(options.serve, options.threads)
        return
    engines = {}
    for name in ("numbarnn", "torch"):
        if importlib.util.find_spec(name):
            command = [sys.executable, __file__, "--serve", name, "--threads", str(options.threads)]
            engines[name] = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    print(
        f"{options.threads} threads, float32, ms; ratio: median over {options.rounds} rounds, above 1 numbarnn is faster"
    )
    for size in SIZES:
        times, values = {name: [] for name in engines}, {}
        for _ in range(options.rounds):
            for name, process in engines.items():
                process.stdin.write(json.dumps([size, options.seconds]) + "\n")
                process.stdin.flush()
                milliseconds, values[name] = json.loads(process.stdout.readline())
                times[name].append(milliseconds)
        shown = "  ".join(f"{name} {np.median(values):9.3f}" for name, values in times.items())
        ratio = ""
        if "torch" in times:
            ratio = f"  ratio {np.median(np.array(times['torch']) / np.array(times['numbarnn'])):.2f}"
        losses = ", ".join(f"{value:.6f}" for value in values.values())
        print(f"(T, N, V, L) = {size!s:<22} {shown}{ratio}  losses {losses}", flush=True)
    for process in engines.values():
        process.stdin.close()
        process.wait()


if __name__ == "__main__":
    main()
