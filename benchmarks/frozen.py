"""Frozen models: start, memory and disk beside NumPy and ONNX Runtime, and single steps from C, through ctypes and by streams.

    python benchmarks/frozen.py [--rounds 20] [--steps 20000] [--json FILE]

Prints a row for each measurement. ONNX Runtime is measured where it is installed, C where there is a gcc.
"""

import argparse
import importlib
import importlib.util
import json
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

import numpy as np

import numbarnn as nr

INPUTS, OUTPUTS = 4, 3

# What a new process prints: seconds after NumPy's import, and resident bytes above it.
START = """
import resource, sys, time
import numpy as np

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize()

x = np.ones((1, 50, {inputs}), np.float32)
before, started = resident(), time.perf_counter()
{code}
print(time.perf_counter() - started, resident() - before)
"""
NUMPY = "pass"
FROZEN = """
sys.path.insert(0, {folder!r})
import {name}
{name}.load().forward(x)
"""
RUNTIME = """
import onnxruntime
session = onnxruntime.InferenceSession({path!r}, providers=["CPUExecutionProvider"])
session.run(None, {{session.get_inputs()[0].name: x}})
"""

PROGRAM = """
#define _POSIX_C_SOURCE 199309L
#include "{name}.h"
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

int main(int argc, char **argv) {{
    long steps = atol(argv[1]);
    float x[{inputs}] = {{0.1f, 0.2f, 0.3f, 0.4f}}, y[{outputs}];
    void *state = aligned_alloc(64, ({name}_state_bytes() + 63) / 64 * 64);
    struct timespec a, b;
    double best = 1e30;
    for (size_t i = 0; i < {name}_state_bytes(); i++) ((char *)state)[i] = 0;
    for (int round = 0; round < 7; round++) {{
        clock_gettime(CLOCK_MONOTONIC, &a);
        for (long i = 0; i < steps; i++) if ({name}_step(x, state, y)) return 1;
        clock_gettime(CLOCK_MONOTONIC, &b);
        double seconds = (b.tv_sec - a.tv_sec) + 1e-9 * (b.tv_nsec - a.tv_nsec);
        if (seconds < best) best = seconds;
    }}
    printf("%.9g\\n", best / steps);
    return argc != 2;
}}
"""


def best_of(steps, run, *given):
    """Return the seconds of a step: the least of 7 rounds."""
    found = []
    for _ in range(7):
        started = time.perf_counter()
        for _ in range(steps):
            run(*given)
        found.append(time.perf_counter() - started)
    return min(found) / steps


def start(code):
    """Return (seconds, bytes) of code in a new process."""
    done = subprocess.run(
        [sys.executable, "-c", START.format(inputs=INPUTS, code=code)], capture_output=True, text=True, check=True
    )
    return tuple(map(float, done.stdout.split()))


def size_of(folder):
    """Return the bytes of all files in a folder."""
    return sum(path.stat().st_size for path in pathlib.Path(folder).rglob("*") if path.is_file())


def from_c(folder, name, steps):
    """Return the seconds of a step from C."""
    own = pathlib.Path(folder, name)
    source, program = own / "time.c", own / "time"
    source.write_text(PROGRAM.format(name=name, inputs=INPUTS, outputs=OUTPUTS))
    command = ["gcc", "-std=c11", "-O2", str(source), str(own / f"{name}.so"), "-o", str(program), f"-I{own}"]
    subprocess.run(command, check=True)
    done = subprocess.run(
        [str(program), str(steps)],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"LD_LIBRARY_PATH": str(own)},
    )
    return float(done.stdout)


def runtime_step(path, hidden, steps):
    """Return the seconds of a step of ONNX Runtime with bound inputs and outputs, states included."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    binding = session.io_binding()
    kept = []
    for given in session.get_inputs():
        shape = [1 if not isinstance(n, int) else n for n in given.shape]
        value = np.ones(shape, np.int64 if "int64" in given.type else np.int32 if "int32" in given.type else np.float32)
        kept.append(onnxruntime.OrtValue.ortvalue_from_numpy(value))
        binding.bind_ortvalue_input(given.name, kept[-1])
    for result in session.get_outputs():
        binding.bind_output(result.name)
    return best_of(steps, session.run_with_iobinding, binding)


def main():
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=20, help="processes of each kind, in turn")
    parser.add_argument("--steps", type=int, default=20_000, help="steps of a round")
    parser.add_argument("--json", type=pathlib.Path, help="file for the rows")
    options = parser.parse_args()
    rows, has_runtime = [], importlib.util.find_spec("onnxruntime") and importlib.util.find_spec("onnx")

    def note(what, **values):
        rows.append({"what": what, **values})
        print(
            what,
            *(f"{key}={value:.6g}" if isinstance(value, float) else f"{key}={value}" for key, value in values.items()),
        )

    with tempfile.TemporaryDirectory() as scratch:
        for hidden in (32, 256):
            model = nr.Model([nr.LSTM(hidden), nr.Dense(OUTPUTS)], input_size=INPUTS, seed=0, n_threads=1)
            name = f"net{hidden}"
            folder, path = f"{scratch}/{name}", f"{scratch}/{name}.onnx"
            started = time.perf_counter()
            nr.freeze(model, folder, name=name)
            weights = model.params.size * 4
            note("freeze", hidden=hidden, seconds=time.perf_counter() - started)
            note("disk above weights", hidden=hidden, megabytes=(size_of(folder) - weights) / 1e6)
            kinds = {"numpy": NUMPY, "frozen": FROZEN.format(folder=folder, name=name)}
            if has_runtime:
                nr.interop.to_onnx(model, path, states=False, lengths=False)
                kinds["onnxruntime"] = RUNTIME.format(path=path)
            found = {kind: [] for kind in kinds}
            for _ in range(options.rounds):
                for kind, code in kinds.items():
                    found[kind].append(start(code))
            for kind, values in found.items():
                seconds, memory = (statistics.median(column) for column in zip(*values, strict=True))
                note(
                    f"start of {kind}",
                    hidden=hidden,
                    milliseconds=1e3 * seconds,
                    megabytes=memory / 1e6,
                    weights=weights / 1e6,
                )
            steps = max(1, options.steps * 32 // hidden)
            x_t, stream = np.ones(INPUTS, np.float32), model.stream()
            note("step of stream", hidden=hidden, microseconds=1e6 * best_of(steps, stream.step, x_t))
            sys.path.insert(0, folder)
            net, state = importlib.import_module(name).load(), None
            _, state = net.step(x_t)
            note("step by ctypes", hidden=hidden, microseconds=1e6 * best_of(steps, net.step, x_t, state))
            if shutil.which("gcc"):
                note("step from C", hidden=hidden, microseconds=1e6 * from_c(folder, name, steps))
            if has_runtime:
                nr.interop.to_onnx(model, path, lengths=False)
                note("step of onnxruntime", hidden=hidden, microseconds=1e6 * runtime_step(path, hidden, steps // 4))
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
