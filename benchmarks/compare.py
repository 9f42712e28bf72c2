"""Compare numbarnn with the peers that are installed, in turn within one run, and write JSON and the tables of docs/speed.md.

    python benchmarks/compare.py [--quick] [--threads 2 1] [--shakespeare FILE] [--json results.json] [--page docs/speed.md]

Each engine runs in a process of its own. A round measures the limit of the processor's multiply-adds, then every
engine, one after the other; reported are medians over the rounds and the medians of the rounds' ratios, because the
speed of a shared machine changes from minute to minute and a ratio taken within a second or two does not.
"""

import argparse
import importlib.util
import json
import pathlib
import platform
import signal
import subprocess
import sys

import numpy as np
import startup
import tables
from engines import FORWARD_ONLY, operations

HERE = pathlib.Path(__file__).resolve().parent
PEERS = [name for name in ("torch", "onnxruntime", "openvino") if importlib.util.find_spec(name)]
if not importlib.util.find_spec("onnx"):  # in which their graphs are written
    PEERS = [name for name in PEERS if name not in FORWARD_ONLY]
STREAMS = (16, (32, 128, 256, 512))  # C, and H
SIZES = [  # C, H, N, T
    (8, 16, 32, 60),
    (14, 32, 128, 120),
    (32, 64, 32, 100),
    (65, 128, 50, 50),
    (64, 128, 1, 100),
    (64, 256, 64, 100),
    (64, 512, 64, 50),
    (256, 1024, 64, 25),
]


class Engine:
    """A process that measures one engine, and is stopped while the others do.

    Idle threads of an engine may go on spinning for work, and would take the processors from the one that is measured.
    """

    def __init__(self, name, n_threads):
        command = [sys.executable, str(HERE / "engines.py"), name, str(n_threads)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=HERE)

    def ask(self, **request):
        """Send a request and wait for its answer."""
        self.process.send_signal(signal.SIGCONT)
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError("the process of an engine ended")
        self.process.send_signal(signal.SIGSTOP)
        return json.loads(line)

    def close(self):
        """End the process."""
        self.process.send_signal(signal.SIGCONT)
        self.process.stdin.close()
        self.process.wait()


def compare(n_threads, cells, rounds, seconds, say):
    """Return a list of results, one for each cell, size and pass."""
    engines = {name: Engine(name, n_threads) for name in ("numbarnn", *PEERS)}
    limiter = Engine("numbarnn", n_threads)
    results = []
    for backward in (True, False):
        for cell in cells:
            for size in SIZES:
                times, limits = {name: [] for name in engines if not (backward and name in FORWARD_ONLY)}, []
                for _ in range(rounds):
                    limits.append(limiter.ask(what="limit", seconds=0.02))
                    for name in times:
                        times[name].append(
                            engines[name].ask(what="case", case=[cell, *size, backward], seconds=seconds)
                        )
                    limits.append(limiter.ask(what="limit", seconds=0.02))
                results.append(_result(n_threads, cell, size, backward, times, limits))
                say(tables.line(results[-1]))
    for engine in (*engines.values(), limiter):
        engine.close()
    return results


def compare_streams(cells, rounds, steps, say):
    """Return a list of results of single steps from Python, one thread, one for each cell and number of units."""
    engines = {name: Engine(name, 1) for name in ("numbarnn", *PEERS)}
    inputs, units = STREAMS
    results = []
    for cell in cells:
        for hidden in units:
            found = {name: [] for name in engines}
            for _ in range(rounds):
                for name, engine in engines.items():
                    found[name].append(engine.ask(what="stream", case=[cell, inputs, hidden], steps=steps))
            first = np.array(found["numbarnn"][0][2])
            for name, rows in found.items():
                # Every engine must have computed the same: these steps carry a state, and could be wired wrongly.
                if not np.allclose(rows[0][2], first, atol=1e-5):
                    raise RuntimeError(
                        f"{name} computes another {cell} than numbarnn: {rows[0][2][:3]} and {first[:3]}"
                    )
            own = np.array([row[0] for row in found["numbarnn"]])
            results.append({
                "cell": cell,
                "inputs": inputs,
                "hidden": hidden,
                "us": {name: float(np.median([row[0] for row in rows])) for name, rows in found.items()},
                "p99": {name: float(np.median([row[1] for row in rows])) for name, rows in found.items()},
                "ratio": {
                    name: float(np.median(np.array([row[0] for row in rows]) / own))
                    for name, rows in found.items()
                    if name != "numbarnn"
                },
            })  # fmt: skip
            say(tables.stream_line(results[-1]))
    for engine in engines.values():
        engine.close()
    return results


def _result(n_threads, cell, size, backward, times, limits):
    own = np.array(times["numbarnn"])
    flops = operations(cell, *size, backward)
    limit = np.array(limits).reshape(-1, 2).mean(axis=1)
    return {
        "threads": n_threads,
        "cell": cell,
        "size": size,
        "pass": "forward + BPTT" if backward else "forward",
        "ms": {name: float(np.median(values)) for name, values in times.items()},
        "ratio": {name: float(np.median(np.array(times[name]) / own)) for name in times if name != "numbarnn"},
        "gflops": float(np.median(flops / own / 1e6)),
        "limit": float(np.median(limit)),
        "share": float(np.median(flops / own / 1e6 / limit)),
    }


def main():
    """Measure, write, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer and shorter rounds")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument(
        "--threads",
        type=int,
        nargs="*",
        default=[2, 1],
        help="figures of other numbers of threads in the JSON file stay",
    )
    parser.add_argument("--cells", nargs="+", default=["LSTM", "GRU", "RNN"])
    parser.add_argument("--no-streams", action="store_true", help="leave single steps out")
    parser.add_argument("--no-startup", action="store_true", help="leave the start-up figures out")
    parser.add_argument(
        "--shakespeare", type=pathlib.Path, metavar="FILE", help="also train char-rnn's model on this text"
    )
    parser.add_argument("--json", type=pathlib.Path, default=HERE / "results.json")
    parser.add_argument("--page", type=pathlib.Path, help="write the tables between the marks of this file")
    options = parser.parse_args()
    say = lambda text: print(text, flush=True)  # noqa: E731
    results = json.loads(options.json.read_text()) if options.json.exists() else {}
    results["machine"] = machine()
    say(f"{results['machine']}")
    for n_threads in options.threads:
        rounds, seconds = (3, 0.05) if options.quick else (options.rounds, 0.25)
        found = compare(n_threads, options.cells, rounds, seconds, say)
        results["passes"] = [r for r in results.get("passes", ()) if r["threads"] != n_threads] + found
        say(tables.summary(found))
    if not options.no_streams:
        rounds, steps = (3, 5000) if options.quick else (options.rounds, 100_000 // options.rounds)
        results["streams"] = compare_streams(options.cells, rounds, steps, say)
    if not options.no_startup:
        results["startup"] = startup.measure(say)
    if options.shakespeare:
        import shakespeare

        results["shakespeare"] = shakespeare.compare(
            options.shakespeare, [p for p in PEERS if p not in FORWARD_ONLY], say
        )
    options.json.write_text(json.dumps(results, indent=1) + "\n")
    if options.page:
        tables.write(options.page, results)


def machine():
    """Return what the figures were measured on."""
    import numba

    cpu = platform.processor() or platform.machine()
    info = pathlib.Path("/proc/cpuinfo")
    if info.exists():
        names = [
            line.partition(":")[2].strip() for line in info.read_text().splitlines() if line.startswith("model name")
        ]
        cpu = names[0] if names else cpu
    versions = {"python": platform.python_version(), "numpy": np.__version__, "numba": numba.__version__}
    for peer in PEERS:
        versions[peer] = importlib.metadata.version(peer)
    return {
        "cpu": cpu,
        "llvm target": numba.core.registry.cpu_target.target_context.codegen().magic_tuple()[1],
        **versions,
    }


if __name__ == "__main__":
    main()
