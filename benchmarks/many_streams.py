"""Many live sequences that advance together: `Model.streams`, ONNX Runtime with states batched by hand, and single streams.

    python benchmarks/many_streams.py [--streams 10000] [--share 0.1] [--cell LSTM] [--inputs 16] [--hidden 32] [--threads 2]

Two cases: all sequences take a step, and a random share of them does, another one at every step. ONNX Runtime gets the states of
those sequences as one array each, (1, rows, hidden), and gives the next ones back; of a share they are taken out and put back by
NumPy (``h[:, rows]``). "stream" is a loop over `Model.stream`. Each engine runs in a process of its own, in turn; its outputs are
compared with `Model.forward` before the clock starts. A row has million steps of sequences a second: the median of calls in the
best round.
"""

import argparse
import json
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

import numpy as np

ENGINES = ("streams", "onnxruntime", "stream")
CHECKED, SECONDS, LEAST = 3, 1.5, 5  # steps that are compared; time of a case, and calls that it has at least


def make_model(options):
    """Return the net of all engines."""
    import numbarnn as nr

    layers = [getattr(nr, options.cell)(options.hidden), nr.Dense(1)]
    return nr.Model(layers, input_size=options.inputs, seed=0, n_threads=options.threads)


def of_streams(model, options):
    """Return a step of some rows, and one of all."""
    streams = model.streams(options.streams)
    streams.open(options.streams)
    return streams.step, streams.step


def of_stream(model, options):
    """Return the same of single streams, one after the other."""
    streams = [model.stream() for _ in range(options.streams)]
    everyone = np.arange(options.streams)

    def step(x, rows):
        y = np.empty((len(rows), 1), np.float32)
        for k, row in enumerate(rows):
            streams[row].step(x[k], out=y[k])
        return y

    return step, lambda x: step(x, everyone)


def of_onnxruntime(model, options):
    """Return the same of ONNX Runtime."""
    import onnxruntime

    from numbarnn.interop import to_onnx

    with tempfile.TemporaryDirectory() as folder:
        path = str(pathlib.Path(folder) / "net.onnx")
        to_onnx(model, path, lengths=False)
        settings = onnxruntime.SessionOptions()
        settings.intra_op_num_threads, settings.inter_op_num_threads = options.threads, 1
        session = onnxruntime.InferenceSession(path, settings, providers=["CPUExecutionProvider"])
    first, *names = [given.name for given in session.get_inputs()]
    results = [given.name for given in session.get_outputs()]
    states = [np.zeros((1, options.streams, options.hidden), np.float32) for _ in names]

    def step(x, rows):
        y, *after = session.run(
            results, {first: x[:, None], **{n: s[:, rows] for n, s in zip(names, states, strict=True)}}
        )
        for state, values in zip(states, after, strict=True):
            state[:, rows] = values
        return y[:, 0]

    def step_all(x):
        y, *states[:] = session.run(results, {first: x[:, None], **dict(zip(names, states, strict=True))})
        return y[:, 0]

    return step, step_all


def measure(engine, options):
    """Return million steps a second of both cases, after a comparison of some steps."""
    model = make_model(options)
    step, step_all = globals()[f"of_{engine}"](model, options)
    generator = np.random.default_rng(0)
    x = generator.standard_normal((CHECKED + 1, options.streams, options.inputs)).astype(np.float32)
    rows = np.arange(options.streams)
    found = [step_all(x[0]).copy(), step(x[1], rows).copy(), step_all(x[2]).copy()]
    expected, _ = model.forward(x[:CHECKED].swapaxes(0, 1))
    np.testing.assert_allclose(np.stack(found, 1), expected, rtol=1e-4, atol=1e-5)
    count = max(1, round(options.share * options.streams))
    shares = [generator.choice(options.streams, count, replace=False) for _ in range(20)]
    few = np.ascontiguousarray(x[CHECKED, :count])
    return {
        "all": options.streams / median(lambda _: step_all(x[CHECKED])) / 1e6,
        "share": count / median(lambda call: step(few, shares[call % len(shares)])) / 1e6,
    }


def median(call):
    """Return the median time of a call in seconds."""
    times, end = [], time.perf_counter() + SECONDS
    while len(times) < LEAST or time.perf_counter() < end:
        started = time.perf_counter()
        call(len(times))
        times.append(time.perf_counter() - started)
    return statistics.median(times)


def main(arguments=None):
    """Measure all engines in turn, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--streams", type=int, default=10_000)
    parser.add_argument("--share", type=float, default=0.1)
    parser.add_argument("--cell", default="LSTM")
    parser.add_argument("--inputs", type=int, default=16)
    parser.add_argument("--hidden", type=int, default=32)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--engines", nargs="+", choices=ENGINES, default=ENGINES)
    parser.add_argument("--child", choices=ENGINES, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.child:
        print(json.dumps(measure(options.child, options)))
        return
    given = sys.argv[1:] if arguments is None else arguments
    best = {engine: {} for engine in options.engines}
    for _ in range(options.rounds):
        for engine in options.engines:
            command = [sys.executable, __file__, *given, "--child", engine]
            found = json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)
            best[engine] = {case: max(value, best[engine].get(case, 0.0)) for case, value in found.items()}
    print(
        f"{options.cell}({options.hidden}), {options.inputs} inputs, {options.streams} sequences, {options.threads} threads"
    )
    print(f"{'million steps a second':24} {'all':>8} {f'{options.share:.0%} of them':>12}")
    for engine, found in best.items():
        print(f"{engine:24} {found['all']:8.2f} {found['share']:12.2f}")


if __name__ == "__main__":
    main()
