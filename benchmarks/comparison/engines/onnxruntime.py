"""ONNX Runtime on the CPU: arrays in and out for batches, and for streams the faster of arrays and bound buffers."""

import time

import numpy as np
import onnxruntime

from comparison import cases
from comparison.engines import Prepared, walk
from comparison.engines.onnx_graph import batch_first, graph


def _session(case, model):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = case.threads, 1
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def forward(case):
    """Return the forward pass of a batch."""
    session, x = _session(case, graph(case)), cases.batch(case)[0].swapaxes(0, 1).copy()
    return Prepared(lambda: session.run(None, {"X": x})[0], batch_first)


def _arrays(session, hidden):
    """Return a step that takes and gives dictionaries of arrays."""
    names = [value.name for value in session.get_inputs()][1:]
    states = [np.zeros((1, 1, hidden), np.float32) for _ in names]

    def step(x):
        nonlocal states
        states = session.run(None, {"X": x.reshape(1, 1, -1), **dict(zip(names, states, strict=True))})
        return states[0]

    return step


def _bound(session, inputs, hidden):
    """Return a step of two bindings that read each other's results."""
    names = [value.name for value in session.get_inputs()][1:]
    value = onnxruntime.OrtValue.ortvalue_from_numpy
    x_value = value(np.zeros((1, 1, inputs), np.float32))
    buffers = [[value(np.zeros((1, 1, hidden), np.float32)) for _ in names] for _ in range(2)]
    bindings = []
    for before, after in (buffers, buffers[::-1]):
        binding = session.io_binding()
        binding.bind_ortvalue_input("X", x_value)
        for name, old, new in zip(names, before, after, strict=True):
            binding.bind_ortvalue_input(name, old)
            binding.bind_ortvalue_output(f"{name[0]}1", new)
        bindings.append(binding)
    results = [after[0].numpy() for after in (buffers[1], buffers[0])]
    turn = 1

    def step(x):
        nonlocal turn
        turn = 1 - turn
        x_value.update_inplace(x.reshape(1, 1, -1))
        session.run_with_iobinding(bindings[turn])
        return results[turn]

    return step


def _seconds(step, x):
    """Return the least time of a hundred steps."""
    found = []
    for _ in range(30):
        started = time.perf_counter()
        for _ in range(100):
            step(x)
        found.append(time.perf_counter() - started)
    return min(found)


def stream(case):
    """Return a step, in the way that is faster here."""
    inputs, hidden = case.size[:2]
    session, x = _session(case, graph(case, state=True)), np.zeros(inputs, np.float32)
    ways = (lambda: _arrays(session, hidden), lambda: _bound(session, inputs, hidden))
    best = min(ways, key=lambda way: _seconds(way(), x))
    return Prepared(walk(best(), cases.stream_inputs(case)), lambda y: {"outputs": y.reshape(-1)}, each=True)


PROGRAM = """
import sys, numpy as np, onnxruntime
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
session = onnxruntime.InferenceSession(sys.argv[1], options, providers=["CPUExecutionProvider"])
y = session.run(None, {{"X": np.linspace(-1, 1, {count}, dtype=np.float32).reshape({steps}, 1, {inputs})}})[0]
print(*y[-1, 0, 0])
"""


def startup(case):
    """Return a new process that loads a model and predicts."""
    from comparison.startup import new_process

    return new_process(case, PROGRAM, lambda path: path.write_bytes(graph(case)), "model.onnx")
