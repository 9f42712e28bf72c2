"""Times and memory of the CUDA half beside torch's on the same card: for benchmarks/gpu.py."""

import gc
import statistics
import time

import numpy as np
from steps import brief, note

import numbarnn as nr

# Units of the LSTMs whose passes are timed.
HIDDEN = (64, 128, 256, 512, 1024)

# Times


def wait():
    """Wait for the card, torch's streams included."""
    from numbarnn.kernels.cuda import driver

    driver.wait()


def torch_on_card():
    """Return torch where it is installed for CUDA, and note which; else note what is missing, and return None."""
    try:
        import torch
    except ImportError:
        note(missing="torch is not installed")
        return None
    if not torch.cuda.is_available():
        note(missing=f"torch {torch.__version__} finds no card")
        return None
    note(torch=torch.__version__, cuda=torch.version.cuda, cudnn=torch.backends.cudnn.version())
    return torch


def alternate(makers, rounds=5, seconds=0.1, **case):
    """Note the median time of a step of each engine, with the least and the most of the rounds, in which engines take turns.

    makers : {engine: function that returns (call, steps of a call)}; every call is warmed up twice
    """
    calls, found = {}, {}
    for engine, make in makers.items():
        try:
            call, steps = make()
            call(), call(), wait()
            calls[engine] = call, steps, max(1, round(seconds / _duration(call, 1)))
            found[engine] = []
        except Exception as error:
            if engine == "numbarnn":
                raise
            note(**case, engine=engine, error=brief(error))
    for _ in range(rounds):
        for engine, (call, steps, repeats) in calls.items():
            found[engine].append(_duration(call, repeats) / steps * 1e3)
    ours = statistics.median(found["numbarnn"])
    for engine, times in found.items():
        ms = statistics.median(times)
        compared = {} if engine == "numbarnn" else {"numbarnn_is_times_as_fast": ms / ours}
        if "characters" in case:
            compared["characters_a_second"] = case["characters"] / ms * 1e3
        note(**case, engine=engine, ms=ms, least=min(times), most=max(times), **compared)


def _duration(call, repeats):
    """Return the seconds of a call, the card's work included."""
    started = time.perf_counter()
    for _ in range(repeats):
        call()
    wait()
    return max((time.perf_counter() - started) / repeats, 1e-9)


def torch_makers(torch, make_step):
    """Return makers of torch's engines, ``make_step(graph)`` launch by launch and as a captured graph, with TF32 and without."""

    def maker(graph, tf32):
        def precision():
            torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = tf32

        def make():
            precision()
            step, before = make_step(graph)
            run = step
            if graph:
                stream = torch.cuda.Stream()
                stream.wait_stream(torch.cuda.current_stream())
                with torch.cuda.stream(stream):
                    for _ in range(3):
                        step()
                torch.cuda.current_stream().wait_stream(stream)
                whole = torch.cuda.CUDAGraph()
                with torch.cuda.graph(whole):
                    step()
                run = whole.replay

            def call():
                precision()
                before()
                run()

            return call, 1

        return make

    return {
        f"torch {'graph' if graph else 'eager'}{' TF32' if tf32 else ''}": maker(graph, tf32)
        for graph in (False, True) for tf32 in (False, True)
    }  # fmt: skip


def nothing():
    """Do nothing."""


# The character model of the times: 2 x 128, N = T = 50, V = 65, RMSprop, clipped by value.
UNITS, STREAMS, STEPS, CLASSES, BATCHES = 128, 50, 50, 65, 200


def charlm(_, torch):
    """Time a training step of the character model."""
    ours = {"numbarnn": lambda: (charlm_training(BATCHES), BATCHES)}
    theirs = torch_makers(torch, lambda graph: torch_charlm(torch, graph)) if torch else {}
    alternate(ours | theirs, case="training step")


def charlm_training(batches):
    """Return an epoch of that many batches."""
    tokens = np.random.default_rng(0).integers(0, CLASSES, STREAMS * STEPS * batches + 1)
    source = nr.data.TokenStream(tokens, batch_size=STREAMS, seq_length=STEPS)
    model = nr.Model([nr.OneHot(CLASSES), nr.LSTM(UNITS, 2), nr.Dense(CLASSES)], device="cuda")
    trainer = nr.Trainer(model, optimizer="rmsprop", clip_value=5.0)
    return lambda: trainer.fit(source, 1, verbose=0)


def torch_charlm(torch, graph, device="cuda"):
    """Return a training step of the character model in torch, and what brings the next tokens."""
    from torch import nn

    lstm, dense = nn.LSTM(CLASSES, UNITS, 2).to(device), nn.Linear(UNITS, CLASSES).to(device)
    parameters = [*lstm.parameters(), *dense.parameters()]
    optimizer = torch.optim.RMSprop(parameters, 2e-3, 0.95, **({"capturable": True} if graph else {}))
    batches = torch.randint(CLASSES, (BATCHES, STEPS + 1, STREAMS), device=device)
    tokens, state = batches[0].clone(), [torch.zeros(2, STREAMS, UNITS, device=device) for _ in range(2)]
    number = 0

    def before():
        nonlocal number
        number = (number + 1) % BATCHES
        tokens.copy_(batches[number])

    def step():
        optimizer.zero_grad(set_to_none=not graph)
        y, final = lstm(nn.functional.one_hot(tokens[:-1], CLASSES).float(), tuple(state))
        loss = nn.functional.cross_entropy(dense(y).reshape(-1, CLASSES), tokens[1:].reshape(-1))
        loss.backward()
        nn.utils.clip_grad_value_(parameters, 5.0)
        optimizer.step()
        for kept, new in zip(state, final, strict=True):
            kept.copy_(new.detach())

    return step, before


def lstm(hidden, torch):
    """Time forward and BPTT of one LSTM of H inputs and H units, x and the gradient of the output on the card."""
    hidden = int(hidden)
    for samples in (1, 64, 128):
        theirs = {}
        if torch:
            theirs = torch_makers(torch, lambda graph, n=samples: (torch_lstm(torch, hidden, n), nothing))
        ours = {"numbarnn": lambda n=samples: (lstm_step(hidden, n), 1)}
        alternate(ours | theirs, case="forward and BPTT", H=hidden, N=samples, T=256)


def lstm_step(hidden, samples, steps=256):
    """Return the passes, by the backend's protocol, with weights prepared anew as after an optimizer's step."""
    from numbarnn.backends import cuda

    generator, model = np.random.default_rng(0), nr.Model([nr.LSTM(hidden)], hidden, device="cuda")
    held, work = cuda.batch.take_arena(), cuda.batch.take_arena()
    first = cuda.batch.Call(model.dtype, arena=held)
    x, dy = (generator.standard_normal((samples, steps, hidden)).astype(np.float32) for _ in range(2))
    rows, layout = cuda.batch.to_rows(first, x, model.signals[0], None)
    dy = cuda.batch.feature_rows(first, dy, layout)
    gradient = cuda.batch.new_vector(model.params.flat.size, model.dtype)

    def step():
        work.reset()
        call = cuda.batch.Call(model.dtype, keep=True, arena=work)
        model.device_params.changed()
        weights = model._weights(call)
        *_, tape = model._forward(call, weights, rows, layout, None)
        model._backward(call, weights, tape, dy, gradient, need_dx=True)

    return step


def torch_lstm(torch, hidden, samples, steps=256, device="cuda"):
    """Return the same passes in torch, which has cuDNN do them, time-major as it likes best."""
    net = torch.nn.LSTM(hidden, hidden).to(device)
    x = torch.randn(steps, samples, hidden, device=device, requires_grad=True)
    dy = torch.randn(steps, samples, hidden, device=device)

    def step():
        net.zero_grad(set_to_none=True)
        x.grad = None
        net(x)[0].backward(dy)

    return step


def sampling(_, torch):
    """Time a character of 64 streams at once that are sampled from the character model."""
    streams, length = 64, 1000

    def ours():
        lm = nr.CharLM("lstm", UNITS, 2, device="cuda")
        text = "".join(chr(48 + n % CLASSES) for n in range(20 * CLASSES))
        lm.fit(text, 1, batch_size=2, seq_length=10, validation=0, verbose=0)
        return lambda: lm.sample_many(streams, length), length

    theirs = torch_makers(torch, lambda graph: (torch_sampling(torch, streams), nothing)) if torch else {}
    alternate({"numbarnn": ours, **theirs}, case="a character of each stream", characters=streams)


def torch_sampling(torch, streams, device="cuda"):
    """Return a step of sampling in torch."""
    from torch import nn

    lstm, dense = nn.LSTM(CLASSES, UNITS, 2).to(device), nn.Linear(UNITS, CLASSES).to(device)
    tokens = torch.zeros(1, streams, dtype=torch.int64, device=device)
    state = [torch.zeros(2, streams, UNITS, device=device) for _ in range(2)]

    @torch.no_grad()
    def step():
        y, final = lstm(nn.functional.one_hot(tokens, CLASSES).float(), tuple(state))
        chances = dense(y).softmax(-1)
        # The largest of chances over exponential draws: torch.multinomial without its checks, which cannot be captured.
        tokens.copy_((chances / torch.empty_like(chances).exponential_()).argmax(-1))
        for kept, new in zip(state, final, strict=True):
            kept.copy_(new)

    return step


# Memory

# {name: (inputs and units, samples)}; None: a training step of the character model.
MEMORY = {"training": None, "256x64": (256, 64), "1024x128": (1024, 128)}


def memory(job):
    """Note the most memory that steps take, of "engine-case": by the engine's own count, and by the driver's."""
    from numba import cuda

    from numbarnn.kernels.cuda.memory import Arena

    engine, _, case = job.partition("-")
    torch = torch_on_card() if engine == "torch" else None
    if engine == "torch" and torch is None:
        return
    free = [cuda.current_context().get_memory_info().free]
    shape = MEMORY[case]
    if torch:
        step = torch_charlm(torch, False)[0] if shape is None else torch_lstm(torch, *shape)
    else:
        step = charlm_training(1) if shape is None else lstm_step(*shape)
    for _ in range(20):
        step()
        wait()
        free.append(cuda.current_context().get_memory_info().free)
    if torch:
        own = {"peak": torch.cuda.max_memory_allocated(), "reserved": torch.cuda.max_memory_reserved()}
    else:
        arenas = [thing for thing in gc.get_objects() if isinstance(thing, Arena)]
        own = {"peak": sum(max(arena.peak, arena.used) for arena in arenas)}
    note(engine=engine, case=case, **own, of_the_driver=free[0] - min(free), grown=free[2] - free[-1])
