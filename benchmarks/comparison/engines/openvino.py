"""OpenVINO on the CPU: float32, hint of latency, its own memory for results, bound buffers for streams."""

import numpy as np
import openvino

from comparison import cases
from comparison.engines import Prepared, walk
from comparison.engines.onnx_graph import batch_first, graph


def _compiled(case, model):
    core = openvino.Core()
    # float32 as in the other engines: on processors that have bfloat16 it would take that.
    options = {
        "INFERENCE_NUM_THREADS": case.threads,
        "NUM_STREAMS": 1,
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": "f32",
    }
    return core.compile_model(core.read_model(model), "CPU", options)


def forward(case):
    """Return the forward pass of a batch, its output left in OpenVINO's memory."""
    request = _compiled(case, graph(case)).create_infer_request()
    x = cases.batch(case)[0].swapaxes(0, 1).copy()
    return Prepared(lambda: request.infer([x], share_inputs=True, share_outputs=True)[0], batch_first)


def stream(case):
    """Return a step of two requests that read each other's results."""
    inputs, hidden = case.size[:2]
    compiled = _compiled(case, graph(case, state=True))
    x_own = np.zeros((1, 1, inputs), np.float32)
    count = len(compiled.inputs) - 1
    buffers = [[np.zeros((1, 1, hidden), np.float32) for _ in range(count)] for _ in range(2)]
    requests = []
    for before, after in (buffers, buffers[::-1]):
        request = compiled.create_infer_request()
        for index, array in enumerate([x_own, *before]):
            request.set_input_tensor(index, openvino.Tensor(array, shared_memory=True))
        for index, array in enumerate(after):
            request.set_output_tensor(index, openvino.Tensor(array, shared_memory=True))
        requests.append(request)
    turn = 1

    def step(x):
        nonlocal turn
        turn = 1 - turn
        x_own[0, 0] = x
        requests[turn].infer()
        return buffers[1 - turn][0]

    return Prepared(walk(step, cases.stream_inputs(case)), lambda y: {"outputs": y.reshape(-1)}, each=True)


# The model is compiled from its own format, and what was compiled is cached, as its documentation advises for fast starts.
PROGRAM = """
import os, sys, numpy as np, openvino
core = openvino.Core()
options = {{"INFERENCE_NUM_THREADS": 1, "NUM_STREAMS": 1, "PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}}
core.set_property({{"CACHE_DIR": os.path.join(os.path.dirname(sys.argv[1]), "cache")}})
request = core.compile_model(sys.argv[1], "CPU", options).create_infer_request()
x = np.linspace(-1, 1, {count}, dtype=np.float32).reshape({steps}, 1, {inputs})
print(*request.infer([x])[0][-1, 0, 0])
"""


def startup(case):
    """Return a new process that loads a model and predicts."""
    from comparison.startup import new_process

    def save(path):
        openvino.save_model(openvino.Core().read_model(graph(case)), path, compress_to_fp16=False)

    return new_process(case, PROGRAM, save, "model.xml")
