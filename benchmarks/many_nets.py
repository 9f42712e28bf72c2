"""Many small nets at once: ``python benchmarks/many_nets.py [--nets 64] [--quick] [--only 0]``.

An optimizer step of every one of K nets LSTM(H, last output) + Dense(1) on batches (N, T, C), with Adam:

* `fit_many` of numbarnn, on one and on two threads;
* numbarnn, one net after the other (`Trainer.train_batch` as `fit` calls it);
* torch, where it is installed, a loop over the modules, on one and on two threads;
* torch.func: vmap over stacked parameters of a functional call. `torch.nn.LSTM` has no batching rule, so an LSTM of matrix products
  stands in for it; whether `nn.LSTM` itself runs is tried and said.

And an ensemble of 10 nets against the time of one net alone on one thread. Times are the best of some rounds, in which the
participants take turns.
"""

import argparse
import contextlib
import io
import time

import numpy as np

import numbarnn as nr
from numbarnn.data import ArraySource

BATCHES = 32  # steps of an epoch
SIZES = ((8, 16, 32, 50), (8, 16, 32, 60), (8, 32, 32, 50))


def arrays(c, n, t):
    """Return inputs and targets."""
    x = np.random.default_rng(0).standard_normal((n * BATCHES, t, c)).astype(np.float32)
    return x, x[:, :, 0].mean(axis=1)


def models(count, c, h):
    """Return nets of one architecture."""
    layers = [nr.LSTM(h, return_sequences=False), nr.Dense(1)]
    return [nr.Model(layers, input_size=c, seed=seed, n_threads=1) for seed in range(count)]


def together(count, c, h, n, t, n_threads):
    """Return a function that trains all nets for some epochs, and the steps that it takes."""
    source, nets = ArraySource(*arrays(c, n, t), batch_size=n), models(count, c, h)
    return lambda epochs: nr.fit_many(nets, source, loss="mse", epochs=epochs, n_threads=n_threads, verbose=0)


def in_turn(count, c, h, n, t):
    """Return a function that trains one net after the other."""
    source, nets = ArraySource(*arrays(c, n, t), batch_size=n), models(count, c, h)

    def run(epochs):
        for net in nets:
            net.fit(source, loss="mse", epochs=epochs, n_threads=1, verbose=0)

    return run


def torch_loop(torch, count, c, h, n, t, n_threads):
    """Return a function that trains modules of torch, one after the other."""

    class Net(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.lstm, self.dense = torch.nn.LSTM(c, h, batch_first=True), torch.nn.Linear(h, 1)

        def forward(self, x):
            return self.dense(self.lstm(x)[0][:, -1])[:, 0]

    x, y = map(torch.from_numpy, arrays(c, n, t))
    nets = [Net() for _ in range(count)]
    optimizers = [torch.optim.Adam(net.parameters(), 3e-3) for net in nets]

    def run(epochs):
        torch.set_num_threads(n_threads)
        for _ in range(epochs):
            order = torch.randperm(len(x)).split(n)
            for rows in order:
                own_x, own_y = x[rows], y[rows]
                for net, optimizer in zip(nets, optimizers, strict=True):
                    optimizer.zero_grad()
                    torch.nn.functional.mse_loss(net(own_x), own_y).backward()
                    optimizer.step()

    return run


def torch_vmap(torch, count, c, h, n, t, n_threads):
    """Return a function that trains stacked parameters of torch: vmap over an LSTM of matrix products."""
    x, y = map(torch.from_numpy, arrays(c, n, t))
    bound = h**-0.5
    shapes = {"w": (4 * h, c), "u": (4 * h, h), "b": (4 * h,), "v": (1, h), "d": (1,)}
    stacked = {name: torch.empty(count, *shape).uniform_(-bound, bound) for name, shape in shapes.items()}
    leaves = [value.requires_grad_() for value in stacked.values()]
    optimizer = torch.optim.Adam(leaves, 3e-3)

    def loss(own, x, y):
        projected = torch.nn.functional.linear(x, own["w"], own["b"])
        state = cell = x.new_zeros(len(x), h)
        for step in range(t):
            i, f, g, o = (projected[:, step] + state @ own["u"].T).chunk(4, 1)
            cell = torch.sigmoid(f) * cell + torch.sigmoid(i) * torch.tanh(g)
            state = torch.sigmoid(o) * torch.tanh(cell)
        return torch.nn.functional.mse_loss((state @ own["v"].T + own["d"])[:, 0], y)

    losses = torch.func.vmap(loss, in_dims=(0, None, None))

    def run(epochs):
        torch.set_num_threads(n_threads)
        for _ in range(epochs):
            for rows in torch.randperm(len(x)).split(n):
                optimizer.zero_grad()
                losses(stacked, x[rows], y[rows]).sum().backward()
                optimizer.step()

    return run


def lstm_under_vmap(torch):
    """Return what happens to `torch.nn.LSTM` under vmap of a functional call."""
    nets = [torch.nn.LSTM(2, 3, batch_first=True) for _ in range(2)]
    parameters, buffers = torch.func.stack_module_state(nets)

    def outputs(own, kept, x):
        return torch.func.functional_call(nets[0], (own, kept), (x,))[0]

    try:
        with contextlib.redirect_stderr(io.StringIO()):
            torch.func.vmap(outputs, in_dims=(0, 0, None))(parameters, buffers, torch.zeros(4, 5, 2))
    except Exception as error:  # whatever torch raises is the answer
        return f"does not run: {type(error).__name__}: {str(error).splitlines()[0][:140]}"
    return "runs"


def measure(runs, epochs, rounds):
    """Return the best time of a step of each participant, in ms."""
    for run in runs.values():
        run(1)
    best = dict.fromkeys(runs, float("inf"))
    for _ in range(rounds):
        for name, run in runs.items():
            started = time.perf_counter()
            run(epochs)
            best[name] = min(best[name], (time.perf_counter() - started) / (epochs * BATCHES) * 1e3)
    return best


def main():
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--nets", type=int, default=64)
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="the first size alone, without vmap")
    parser.add_argument("--only", type=int, choices=range(len(SIZES)), help="this size alone")
    given = parser.parse_args()
    try:
        import torch
    except ImportError:
        torch = None
    for size in SIZES[:1] if given.quick else SIZES if given.only is None else SIZES[given.only :][:1]:
        runs = {f"fit_many, {n} thread{'s' * (n > 1)}": together(given.nets, *size, n) for n in (1, 2)}
        runs["numbarnn, net by net"] = in_turn(given.nets, *size)
        if torch is not None:
            runs |= {f"torch, loop, {n} thread{'s' * (n > 1)}": torch_loop(torch, given.nets, *size, n) for n in (1, 2)}
            if not given.quick:
                runs["torch, vmap of products, 2 threads"] = torch_vmap(torch, given.nets, *size, 2)
        found = measure(runs, given.epochs, given.rounds)
        print("C {}, H {}, N {}, T {}: a step of {} nets".format(*size, given.nets))
        for name, value in found.items():
            print(f"  {name:36s} {value:9.2f} ms")
    c, h, n, t = 8, 32, 32, 50
    runs = {"10 nets, 2 threads": together(10, c, h, n, t, 2), "1 net, 1 thread": in_turn(1, c, h, n, t)}
    found = measure(runs, 4 * given.epochs, given.rounds)
    ten, one = found.values()
    print(
        f"ensemble, C {c}, H {h}, N {n}, T {t}: 10 nets on 2 threads {ten:.2f} ms, one alone on one {one:.3f} ms: {ten / one:.2f} x"
    )
    if torch is not None:
        print(f"torch {torch.__version__}: nn.LSTM under torch.func.vmap and functional_call {lstm_under_vmap(torch)}")


if __name__ == "__main__":
    main()
