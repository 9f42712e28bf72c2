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
    from numbarnn.batch import Arena, Call, Rows
    from numbarnn.inputs import to_rows

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
        _, _, _, tape = model._forward(call, rows, layout, None)
        model._backward(call, tape, Rows(dy, width), gradient, need_dx=True)
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


ENGINES = {"numbarnn": numbarnn_case, "torch": torch_case}


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
        else:
            case = tuple(request["case"])
            if case not in known:
                known.clear()
                known[case] = ENGINES[engine](n_threads, *case)
            answer = measure(known[case], request["seconds"])
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
