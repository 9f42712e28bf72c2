"""Endurance: threads and forked children that do everything at once, and memory over many streamed steps and calls.

python benchmarks/soak.py [--seconds 60]
"""

import argparse
import os
import sys
import threading
import time

import numpy as np

import numbarnn as nr


def resident():
    """Return the memory that this process has now, in MB."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def make():
    """Return a model, a language model, and {what: call} of everything that both do, with the results wanted."""
    model = nr.Model([nr.LSTM(64, num_layers=2), nr.Dense(3)], input_size=4, n_threads=2)
    lm = nr.CharLM(hidden_size=16, num_layers=1).fit("abc abd acd " * 60, epochs=1, verbose=0)
    x = np.random.default_rng(0).normal(size=(64, 30, 4)).astype(np.float32)
    stream = threading.local()

    def streamed():
        if not hasattr(stream, "own"):
            stream.own = model.stream()
        stream.own.reset()
        return [stream.own.step(x_t).copy() for x_t in x[0]]

    calls = {
        "forward": lambda: model.forward(x)[0],
        "step": lambda: model.step(x[:, 0])[0],
        "predict_proba": lambda: model.predict_proba(x),
        "sample": lambda: lm.sample(100, prime="a", seed=1),
        "stream": streamed,
    }
    return model, x, calls, {name: call() for name, call in calls.items()}


def work(calls, wanted, end, first, counts):
    """Call everything in turn until the end; count calls and wrong results."""
    names = list(calls)
    while time.monotonic() < end:
        name = names[first % len(names)]
        first += 1
        counts[0] += 1
        counts[1] += not np.array_equal(calls[name](), wanted[name])


def together(calls, wanted, seconds, n_threads, n_children):
    """Run threads, and one after the other forked children that run threads themselves; return (calls, wrong, children, failed)."""
    end = time.monotonic() + seconds
    counts = [[0, 0] for _ in range(n_threads)]
    threads = [threading.Thread(target=work, args=(calls, wanted, end, n, counts[n])) for n in range(n_threads)]
    for thread in threads:
        thread.start()
    time.sleep(1)  # they are in the middle of things when the forks come
    children, failed, forked = [], 0, 0
    while time.monotonic() < end - 8:
        while len(children) < n_children:
            child = os.fork()
            if child == 0:
                own = [[0, 0], [0, 0]]
                inside = [
                    threading.Thread(target=work, args=(calls, wanted, time.monotonic() + 5, n, own[n]))
                    for n in range(2)
                ]
                for thread in inside:
                    thread.start()
                for thread in inside:
                    thread.join()
                os._exit(0 if all(made > 0 and wrong == 0 for made, wrong in own) else 1)
            children.append(child)
            forked += 1
        failed += _ended(children)
        time.sleep(0.05)
    for thread in threads:
        thread.join()
    late = time.monotonic() + 60
    while children and time.monotonic() < late:
        failed += _ended(children)
        time.sleep(0.05)
    return sum(c[0] for c in counts), sum(c[1] for c in counts), forked, failed + len(children)


def _ended(children):
    """Take the children that have ended off the list; return how many failed."""
    failed = 0
    for child in list(children):
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            children.remove(child)
            failed += status != 0
    return failed


def memory(model, x):
    """Return {what: resident MB after each tenth} of 10^6 streamed steps and 10^4 calls of forward."""
    stream, xs = model.stream(), x[0]
    found = {"10^6 streamed steps": [], "10^4 calls of forward": []}
    for _ in range(10):
        for i in range(100_000):
            stream.step(xs[i % 30])
        found["10^6 streamed steps"].append(resident())
    for _ in range(10):
        for _ in range(1000):
            model.forward(x)
        found["10^4 calls of forward"].append(resident())
    return found


def main():
    """Soak, then watch the memory."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--threads", type=int, default=8)
    parser.add_argument("--children", type=int, default=4)
    options = parser.parse_args()
    model, x, calls, wanted = make()
    for what, values in memory(model, x).items():
        print(f"memory after each tenth of {what}, MB:", " ".join(f"{v:.1f}" for v in values), flush=True)
    made, wrong, forked, failed = together(calls, wanted, options.seconds, options.threads, options.children)
    print(
        f"{options.threads} threads, {options.children} children at a time, {options.seconds:.0f} s: {made} calls, "
        f"{wrong} wrong; {forked} children, {failed} of them failed or hung"
    )
    return 1 if wrong or failed else 0


if __name__ == "__main__":
    sys.exit(main())
