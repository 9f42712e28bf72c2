"""Check, time and compare the CUDA half of numbarnn with torch on the same GPU, in one command of under ten minutes.

    python benchmarks/gpu.py [--json cuda.json] [--sections check launch recurrent charlm sampling memory] [--no-torch]
    python benchmarks/gpu.py --dry-run          # our side with tiny sizes in Numba's simulator, where there is no GPU

Prints Markdown tables. torch runs eagerly and under a captured graph, with TF32 and without; all times are medians, in turn, after
a warm-up that compiles. Without a GPU it says so and exits with 2.
"""

import argparse
import json
import os
import pathlib
import statistics
import sys
import time

SECTIONS = ("check", "launch", "recurrent", "charlm", "sampling", "memory")


def parse():
    """Return the options; the simulator must be chosen before anything imports Numba."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=pathlib.Path, help="write all figures to this file too")
    parser.add_argument("--sections", nargs="+", choices=SECTIONS, default=list(SECTIONS))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--no-torch", action="store_true", help="leave torch out")
    parser.add_argument("--dry-run", action="store_true", help="tiny sizes in the simulator, without torch")
    return parser.parse_args()


options = parse()
if options.dry_run:
    os.environ["NUMBA_ENABLE_CUDASIM"] = "1"

import numpy as np  # noqa: E402

import numbarnn as nr  # noqa: E402
from numbarnn.backends.device import check_device  # noqa: E402
from numbarnn.cells import CELLS  # noqa: E402
from numbarnn.errors import DeviceError  # noqa: E402

TINY = options.dry_run


def torch_on_gpu():
    """Return torch where it is installed with CUDA, or None."""
    if options.no_torch or TINY:
        return None
    try:
        import torch
    except ImportError:
        return None
    return torch if torch.cuda.is_available() else None


def milliseconds(job, wait, repeats):
    """Return the time of a call, the device's work included."""
    job()
    wait()
    started = time.perf_counter()
    for _ in range(repeats):
        job()
    wait()
    return (time.perf_counter() - started) / repeats * 1e3


def in_turn(jobs, wait, repeats):
    """Return {name: median ms} of jobs that are timed in turn."""
    found = {name: [] for name in jobs}
    for _ in range(1 if TINY else options.rounds):
        for name, job in jobs.items():
            found[name].append(milliseconds(job, wait, 1 if TINY else repeats))
    return {name: statistics.median(times) for name, times in found.items()}


def wait():
    """Wait for the device."""
    from numbarnn.kernels.cuda import driver

    driver.wait()


def table(title, rows):
    """Print rows, dicts of the same keys, as Markdown."""
    print(f"\n### {title}\n")
    if not rows:
        print("nothing measured")
        return
    print("| " + " | ".join(rows[0]) + " |")
    print("|" + "---|" * len(rows[0]))
    for row in rows:
        print("| " + " | ".join(f"{v:.4g}" if isinstance(v, float) else str(v) for v in row.values()) + " |")
    sys.stdout.flush()


# Sections


def versions():
    """Return what the figures belong to."""
    import numba

    found = {"numbarnn": nr.__version__, "numba": numba.__version__, "numpy": np.__version__}
    if TINY:
        return found | {"card": "simulator"}
    import importlib.metadata

    from numba import cuda

    card = cuda.get_current_device()
    found |= {"numba-cuda": importlib.metadata.version("numba-cuda"), "card": str(card.name)}
    found["compute capability"] = ".".join(map(str, card.compute_capability))
    torch = torch_on_gpu()
    return found | ({"torch": torch.__version__, "cuDNN": torch.backends.cudnn.version()} if torch else {})


def check():
    """Compare outputs and all gradients with the CPU's, float32, for every cell and the losses."""
    rows, generator = [], np.random.default_rng(0)
    sizes = [(2, 3, 3)] if TINY else [(1, 2000, 3), (5, 60, 100), (130, 20, 257), (64, 256, 128)]
    for name, cell in CELLS.items():
        worst = 0.0
        for samples, steps, hidden in sizes:
            layer = nr.Recurrent(hidden, cell=cell(), init="torch", bidirectional=hidden < 200)
            here, there = (nr.Model([layer, nr.Dense(5)], 4, device=device) for device in ("cpu", "cuda"))
            x = generator.standard_normal((samples, steps, 4)).astype(np.float32)
            y = generator.integers(0, 5, (samples, steps))
            lengths = generator.integers(0, steps + 1, samples)
            results = [model.loss_and_grad(x, y, lengths=lengths) for model in (here, there)]
            errors = [
                np.abs(results[1][1][k] - g).max() / max(np.abs(g).max(), 1e-30) for k, g in results[0][1].items()
            ]
            worst = max(worst, *errors, abs(results[1][0] / results[0][0] - 1) if results[0][0] else 0.0)
        rows.append({"cell": name, "largest relative deviation from the CPU": worst, "asked": 1e-5})
    samples, steps = (2, 5) if TINY else (32, 100)
    here, there = (nr.Model([nr.LSTM(4 if TINY else 64), nr.Dense(40)], 4, device=device) for device in ("cpu", "cuda"))
    x = generator.standard_normal((samples, steps, 4)).astype(np.float32)
    y = [generator.integers(1, 40, steps // 5) for _ in range(samples)]
    results = [model.loss_and_grad(x, y, "ctc") for model in (here, there)]
    worst = max(np.abs(results[1][1][k] - g).max() / np.abs(g).max() for k, g in results[0][1].items())
    rows.append({"cell": "CTC", "largest relative deviation from the CPU": float(worst), "asked": 1e-5})
    return rows


def launch():
    """Time launches without work: what a step costs the host."""
    from numbarnn.kernels.cuda import layout
    from numbarnn.kernels.cuda.memory import upload

    small = upload(np.zeros(4, np.float32))
    repeats = 2 if TINY else 2000
    times = in_turn({"fill of 4 numbers": lambda: layout.fill(small, 0.0)}, wait, repeats)
    return [{"launch": name, "us": ms * 1e3} for name, ms in times.items()]


def recurrent():
    """Time forward + BPTT of one layer, x and the gradient of the output on the device."""
    torch, rows = torch_on_gpu(), []
    steps = 4 if TINY else 256
    for name in ("LSTM", "GRU"):
        for hidden in (3,) if TINY else (64, 128):
            for samples in (2,) if TINY else (1, 16, 64, 128):
                jobs = {"numbarnn": _ours(name, hidden, samples, steps)}
                if torch is not None:
                    for tf32 in (False, True):
                        for graph in (False, True):
                            label = f"torch {'graph' if graph else 'eager'}{' TF32' if tf32 else ''}"
                            jobs[label] = _theirs(torch, name, hidden, samples, steps, tf32, graph)
                times = in_turn(jobs, wait, 10)
                row = {"layer": name, "H": hidden, "N": samples, "T": steps}
                row |= {f"{engine}, ms": ms for engine, ms in times.items()}
                if len(times) > 1:
                    fastest = min(ms for engine, ms in times.items() if engine != "numbarnn")
                    row |= {
                        "of torch eager": times["torch eager"] / times["numbarnn"],
                        "of the fastest": fastest / times["numbarnn"],
                    }
                rows.append(row)
    return rows


def _ours(name, hidden, samples, steps):
    from numbarnn.backends.cuda.batch import Call, feature_rows, to_rows
    from numbarnn.kernels.cuda.memory import Arena, empty

    generator = np.random.default_rng(0)
    model = nr.Model([getattr(nr, name)(hidden)], hidden, device="cuda")
    held, work = Arena(), Arena()
    first = Call(model.dtype, arena=held)
    x, dy = (generator.standard_normal((samples, steps, hidden)).astype(np.float32) for _ in range(2))
    rows, layout = to_rows(first, x, model.signals[0], None)
    dy, gradient = feature_rows(first, dy, layout), empty(model.params.flat.size, model.dtype)

    def job():
        work.reset()
        call = Call(model.dtype, keep=True, arena=work)
        weights = model._weights(call)
        *_, tape = model._forward(call, weights, rows, layout, None)
        model._backward(call, weights, tape, dy, gradient, need_dx=True)

    return job


def _theirs(torch, name, hidden, samples, steps, tf32, graph):
    net = getattr(torch.nn, name)(hidden, hidden).cuda()
    x = torch.randn(steps, samples, hidden, device="cuda", requires_grad=True)
    dy = torch.randn(steps, samples, hidden, device="cuda")

    def step():
        net.zero_grad(set_to_none=True)
        x.grad = None
        net(x)[0].backward(dy)

    return _captured(torch, step, tf32, graph)


def _captured(torch, step, tf32, graph):
    """Return a job that does a step with the asked precision, launch by launch or as a captured graph."""

    def precision():
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = tf32

    precision()
    if not graph:

        def job():
            precision()
            step()

        return job
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        for _ in range(3):
            step()
    torch.cuda.current_stream().wait_stream(stream)
    whole = torch.cuda.CUDAGraph()
    with torch.cuda.graph(whole):
        step()
    return whole.replay


def charlm():
    """Time a training step of a character model: 2 x 128, N = 50, T = 50, V = 65, RMSprop, clipped by value."""
    hidden, samples, steps, classes = (3, 2, 4, 5) if TINY else (128, 50, 50, 65)
    count = 4 if TINY else 200
    tokens = np.random.default_rng(0).integers(0, classes, samples * steps * count + 1)
    model = nr.Model([nr.OneHot(classes), nr.LSTM(hidden, 2), nr.Dense(classes)], device="cuda")
    trainer = nr.Trainer(model, optimizer="rmsprop", clip_value=5.0)
    source = nr.data.TokenStream(tokens, batch_size=samples, seq_length=steps)

    def epoch():
        trainer.fit(source, 1, verbose=0)

    epoch()
    times = {"numbarnn": []}
    torch = torch_on_gpu()
    jobs = {}
    if torch is not None:
        for tf32 in (False, True):
            for graph in (False, True):
                label = f"torch {'graph' if graph else 'eager'}{' TF32' if tf32 else ''}"
                jobs[label] = _torch_charlm(torch, hidden, samples, steps, classes, tf32, graph)
                times[label] = []
    for _ in range(1 if TINY else options.rounds):
        started = time.perf_counter()
        epoch()
        wait()
        times["numbarnn"].append((time.perf_counter() - started) / count * 1e3)
        for label, job in jobs.items():
            times[label].append(milliseconds(job, wait, count))
    medians = {engine: statistics.median(found) for engine, found in times.items()}
    return [
        {"engine": engine, "ms per step": ms, "numbarnn is that many times as fast": ms / medians["numbarnn"]}
        for engine, ms in medians.items()
    ]


def _torch_charlm(torch, hidden, samples, steps, classes, tf32, graph):
    from torch import nn

    lstm, dense = nn.LSTM(classes, hidden, 2).cuda(), nn.Linear(hidden, classes).cuda()
    parameters = [*lstm.parameters(), *dense.parameters()]
    optimizer = torch.optim.RMSprop(parameters, 2e-3, 0.95, capturable=graph)
    tokens = torch.randint(classes, (steps + 1, samples), device="cuda")
    state = [torch.zeros(2, samples, hidden, device="cuda") for _ in range(2)]

    def step():
        optimizer.zero_grad(set_to_none=False)
        x = nn.functional.one_hot(tokens[:-1], classes).float()
        y, final = lstm(x, tuple(state))
        loss = nn.functional.cross_entropy(dense(y).reshape(-1, classes), tokens[1:].reshape(-1))
        loss.backward()
        nn.utils.clip_grad_value_(parameters, 5.0)
        optimizer.step()
        for kept, new in zip(state, final, strict=True):
            kept.copy_(new.detach())

    return _captured(torch, step, tf32, graph)


def sampling():
    """Count characters a second: one stream, and 64 side by side."""
    hidden, length = (3, 4) if TINY else (128, 2000)
    lm = nr.CharLM("lstm", hidden, 2, device="cuda")
    text = "the quick brown fox jumps over the lazy dog. " * (1 if TINY else 40)
    lm.fit(text, 1, batch_size=2, seq_length=10, validation=0, verbose=0)
    rows = []
    for streams in (1, 2) if TINY else (1, 64):
        lm.sample_many(streams, 2)
        times = []
        for _ in range(1 if TINY else options.rounds):
            started = time.perf_counter()
            texts = lm.sample_many(streams, length)
            times.append(time.perf_counter() - started)
        rows.append({"streams": streams, "characters a second": sum(map(len, texts)) / statistics.median(times)})
    return rows


def memory():
    """Train 1,000 steps and see what stays: memory of the device, and copies to the host."""
    from numbarnn.backends.cuda import optim
    from numbarnn.kernels.cuda.memory import Copies

    steps = 8 if TINY else 1000
    model = nr.Model([nr.OneHot(5), nr.LSTM(3 if TINY else 64), nr.Dense(5)], device="cuda")
    trainer = nr.Trainer(model)
    source = nr.data.TokenStream(np.arange(2 * 4 * steps + 1) % 5, batch_size=2, seq_length=4)
    trainer.fit(source, 1, verbose=0)
    before, copies = _free(), Copies.to_host
    trainer.fit(source, 1, verbose=0)
    readings = -(-steps // optim.READ_EVERY)
    return [
        {
            "steps": steps, "bytes taken meanwhile": before - _free(), "copies to the host": Copies.to_host - copies,
            "of losses, norms and update ratios": 3 * readings, "of the weights at the end": 1,
        }
    ]  # fmt: skip


def _free():
    if TINY:
        return 0
    from numba import cuda

    return int(cuda.current_context().get_memory_info().free)


def main():
    """Run the sections and print their tables."""
    try:
        check_device("cuda")
    except DeviceError as error:
        print(f"{error}\nNothing was measured; --dry-run exercises this script in the simulator.", file=sys.stderr)
        return 2
    found = {"versions": versions()}
    table("Versions", [found["versions"]])
    for name in options.sections:
        started = time.perf_counter()
        found[name] = globals()[name]()
        table(globals()[name].__doc__.partition("\n")[0], found[name])
        print(f"\n({time.perf_counter() - started:.0f} s)", flush=True)
    if options.json:
        options.json.write_text(json.dumps(found, indent=1, default=float))
    return 0


if __name__ == "__main__":
    sys.exit(main())
