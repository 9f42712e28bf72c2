"""One engine in a process of its own: reads cases as JSON lines, answers with times.

    python benchmarks/engines.py ENGINE THREADS

In one process the thread pools of two engines disturb each other (torch's GRU took 430 ms instead of 57), so each has its own.
"""

import json
import sys
import time

import numpy as np

GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}


def operations(cell, inputs, hidden, samples, steps, backward):
    """Return the floating-point operations of the products, by one formula: 2 N T G H (C + H), times 3 with BPTT."""
    return (3 if backward else 1) * 2.0 * samples * steps * GATES[cell] * hidden * (inputs + hidden)


def weights(cell, inputs, hidden):
    """Return the weights of a case by torch's names, the same for every engine."""
    rng, k = np.random.default_rng(0), hidden**-0.5
    rows = GATES[cell] * hidden
    shapes = {
        "weight_ih_l0": (rows, inputs),
        "weight_hh_l0": (rows, hidden),
        "bias_ih_l0": (rows,),
        "bias_hh_l0": (rows,),
    }
    return {name: rng.uniform(-k, k, shape).astype(np.float32) for name, shape in shapes.items()}


def numbarnn_case(n_threads, cell, inputs, hidden, samples, steps, backward):
    """Return one pass: outputs to NumPy, or all gradients from rows, with weights packed anew as in training."""
    import numbarnn
    from numbarnn.backends.cpu.batch import Call, Rows, to_rows
    from numbarnn.kernels.cpu.memory import Arena

    model = numbarnn.Model([getattr(numbarnn, cell)(hidden)], input_size=inputs, n_threads=n_threads)
    model.load_state_dict(weights(cell, inputs, hidden))
    rng = np.random.default_rng(1)
    x = rng.standard_normal((samples, steps, inputs)).astype(np.float32)
    if not backward:
        return lambda: model.forward(x)[0]
    arena = Arena()
    width = model.forward(x[:1, :1])[0].shape[-1]
    dy = rng.standard_normal((steps * samples, width)).astype(np.float32)
    gradient = np.empty(model.params.flat.size, np.float32)

    def step():
        with model.params.writing():
            pass  # as an optimizer does: the weights must be packed again
        arena.reset()
        call = Call(model.dtype, n_threads, keep=True, arena=arena)
        rows, layout = to_rows(call, x, model.signals[0], None)
        packed = model._weights(call)
        _, _, _, tape = model._forward(call, packed, rows, layout, None)
        model._backward(call, packed, tape, Rows(dy, width), gradient, need_dx=True)
        return gradient

    return step


def torch_case(n_threads, cell, inputs, hidden, samples, steps, backward):
    """Return the same pass in torch, time-major as torch likes it best, outputs and gradients left in its own memory."""
    import torch

    torch.set_num_threads(n_threads)
    net = getattr(torch.nn, cell)(inputs, hidden)
    with torch.no_grad():
        for name, values in weights(cell, inputs, hidden).items():
            getattr(net, name).copy_(torch.from_numpy(values))
    x = torch.randn(steps, samples, inputs, requires_grad=backward)
    dy = torch.randn(steps, samples, hidden)

    def forward():
        with torch.inference_mode():
            return net(x)[0]

    def step():
        net.zero_grad(set_to_none=True)
        x.grad = None
        net(x)[0].backward(dy)
        return x.grad

    return step if backward else forward


# ONNX' blocks of rows, from torch's: LSTM i o f c of i f g o, GRU z r h of r z n.
ONNX_ORDER = {"LSTM": (0, 3, 1, 2), "GRU": (1, 0, 2), "RNN": (0,)}


def onnx_model(cell, inputs, hidden, samples, steps, state=False):
    """Return an ONNX model of a case as bytes; with `state` the initial states are inputs and the final ones outputs."""
    from onnx import TensorProto, checker, helper, numpy_helper

    named, rows = weights(cell, inputs, hidden), list(ONNX_ORDER[cell])

    def blocks(name):
        values = named[name]
        return values.reshape(len(rows), hidden, *values.shape[1:])[rows].reshape(values.shape)

    constants = {
        "W": blocks("weight_ih_l0")[None],
        "R": blocks("weight_hh_l0")[None],
        "B": np.concatenate([blocks("bias_ih_l0"), blocks("bias_hh_l0")])[None],
    }

    def tensor(name, *shape):
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)

    letters = ("h", "c") if cell == "LSTM" else ("h",)
    taken, given = [tensor("X", steps, samples, inputs)], [tensor("Y", steps, 1, samples, hidden)]
    arguments, results = ["X", "W", "R", "B"], ["Y"]
    if state:
        taken += [tensor(f"{s}0", 1, samples, hidden) for s in letters]
        given = [tensor(f"{s}1", 1, samples, hidden) for s in letters]
        arguments += ["", *(f"{s}0" for s in letters)]
        results = ["", *(f"{s}1" for s in letters)]
    options = {"linear_before_reset": 1} if cell == "GRU" else {}
    node = helper.make_node(cell, arguments, results, hidden_size=hidden, **options)
    fixed = [numpy_helper.from_array(np.ascontiguousarray(v), name) for name, v in constants.items()]
    graph = helper.make_graph([node], "case", taken, given, fixed)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 14)], ir_version=8)
    checker.check_model(model)
    return model.SerializeToString()


def _onnxruntime_session(n_threads, model):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = n_threads, 1
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def onnxruntime_case(n_threads, cell, inputs, hidden, samples, steps, backward):
    """Return the same forward pass in ONNX Runtime, time-major."""
    session = _onnxruntime_session(n_threads, onnx_model(cell, inputs, hidden, samples, steps))
    x = np.random.default_rng(1).standard_normal((steps, samples, inputs)).astype(np.float32)
    return lambda: session.run(None, {"X": x})[0]


def _openvino_request(n_threads, model):
    import openvino

    core = openvino.Core()
    # float32 as in the other engines: on processors that have bfloat16 it would take that.
    options = {
        "INFERENCE_NUM_THREADS": n_threads,
        "NUM_STREAMS": 1,
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": "f32",
    }
    return core.compile_model(core.read_model(model), "CPU", options)


def openvino_case(n_threads, cell, inputs, hidden, samples, steps, backward):
    """Return the same forward pass in OpenVINO, time-major, its output left in its own memory."""
    request = _openvino_request(n_threads, onnx_model(cell, inputs, hidden, samples, steps)).create_infer_request()
    x = np.random.default_rng(1).standard_normal((steps, samples, inputs)).astype(np.float32)
    return lambda: request.infer([x], share_inputs=True, share_outputs=True)[0]


# A step of one sample from Python, with the state carried: functions of x, a float32 array (C,).


def numbarnn_stream(cell, inputs, hidden):
    """Return the step of `Model.stream`."""
    import numbarnn

    model = numbarnn.Model([getattr(numbarnn, cell)(hidden)], input_size=inputs, n_threads=1)
    model.load_state_dict(weights(cell, inputs, hidden))
    return model.stream().step


def torch_stream(cell, inputs, hidden):
    """Return a step of torch's cell."""
    import torch

    torch.set_num_threads(1)
    net = getattr(torch.nn, f"{cell}Cell")(inputs, hidden)
    with torch.no_grad():
        for name, values in weights(cell, inputs, hidden).items():
            getattr(net, name.removesuffix("_l0")).copy_(torch.from_numpy(values))
    states = torch.zeros(1, hidden)
    states = (states, states) if cell == "LSTM" else states

    def step(x):
        nonlocal states
        with torch.inference_mode():
            states = net(torch.from_numpy(x)[None], states)
        return (states[0] if cell == "LSTM" else states)[0]

    return step


def onnxruntime_stream(cell, inputs, hidden):
    """Return a step of ONNX Runtime: a dictionary of arrays, or two bindings that read each other's results, as is faster."""
    import onnxruntime

    session = _onnxruntime_session(1, onnx_model(cell, inputs, hidden, 1, 1, state=True))
    names = [value.name for value in session.get_inputs()][1:]
    states = [np.zeros((1, 1, hidden), np.float32) for _ in names]

    def plain(x):
        nonlocal states
        states = session.run(None, {"X": x.reshape(1, 1, -1), **dict(zip(names, states, strict=True))})
        return states[0]

    value = onnxruntime.OrtValue.ortvalue_from_numpy
    x_value = value(np.zeros((1, 1, inputs), np.float32))
    buffers = [[value(array) for array in states] for _ in range(2)]
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

    def bound(x):
        nonlocal turn
        turn = 1 - turn
        x_value.update_inplace(x.reshape(1, 1, -1))
        session.run_with_iobinding(bindings[turn])
        return results[turn]

    x = np.zeros(inputs, np.float32)
    return min((plain, bound), key=lambda step: measure(lambda: [step(x) for _ in range(100)], 0.3))


def openvino_stream(cell, inputs, hidden):
    """Return a step of OpenVINO: two requests that read each other's results."""
    import openvino

    compiled = _openvino_request(1, onnx_model(cell, inputs, hidden, 1, 1, state=True))
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

    return step


STREAMS = {
    "numbarnn": numbarnn_stream,
    "torch": torch_stream,
    "onnxruntime": onnxruntime_stream,
    "openvino": openvino_stream,
}
FORWARD_ONLY = ("onnxruntime", "openvino")


def stream_times(step, inputs, steps):
    """Return (median, 99th percentile) of the time of a step in us, and its last output, over one stream."""
    xs = np.random.default_rng(1).standard_normal((64, inputs)).astype(np.float32)
    times = np.empty(steps)
    clock = time.perf_counter
    for t in range(-200, steps):
        x = xs[t % 64]
        started = clock()
        y = step(x)
        times[t] = clock() - started
    return float(np.median(times)) * 1e6, float(np.quantile(times, 0.99)) * 1e6, np.asarray(y).reshape(-1).tolist()


ENGINES = {"numbarnn": numbarnn_case, "torch": torch_case, "onnxruntime": onnxruntime_case, "openvino": openvino_case}


def measure(function, seconds):
    """Return the median time of a call in ms, over about `seconds`."""
    function()
    times, end = [], time.perf_counter() + seconds
    while time.perf_counter() < end or len(times) < 3:
        started = time.perf_counter()
        function()
        times.append(time.perf_counter() - started)
    return float(np.median(times)) * 1e3


def main():
    """Answer requests until the input ends."""
    engine, n_threads = sys.argv[1], int(sys.argv[2])
    known = {}
    for line in sys.stdin:
        request = json.loads(line)
        if request["what"] == "limit":
            from fma import limit

            answer = limit(n_threads, request["seconds"])
        elif request["what"] == "stream":
            case = tuple(request["case"])
            if known.get("stream") != case:
                known.clear()
                known["stream"], known["step"] = case, STREAMS[engine](*case)
            answer = stream_times(known["step"], case[1], request["steps"])
        else:
            case = tuple(request["case"])
            if case not in known:
                known.clear()
                known[case] = ENGINES[engine](n_threads, *case)
            answer = measure(known[case], request["seconds"])
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
