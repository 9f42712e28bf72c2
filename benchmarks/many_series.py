"""One epoch of a forecaster over many series, beside torch on the same windows in the same batches, each in a process of its own.

    python benchmarks/many_series.py [--series 1000] [--rows 1000] [--runs 3]

LSTM of 32 units, 24 rows to the next one, batches of 256, Adam, two threads. numbarnn's time is that of `fit`, from the table
(MultiIndex) to the weights, and of the epoch in it; torch's is that of an epoch on windows that lie ready in one tensor, and with a
DataLoader that makes them. Memory: the peak of the process less that before the data. Importing and compiling do not count.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time

import numpy as np
import pandas as pd

LOOKBACK, HIDDEN, BATCH, THREADS = 24, 32, 256, 2


def panel(series, rows):
    """Return sines of random phase with noise, as a Series with a MultiIndex (series, time)."""
    generator = np.random.default_rng(0)
    phase = generator.uniform(0, 2 * np.pi, (series, 1))
    values = np.sin(np.arange(rows) / 4 + phase) + 0.1 * generator.normal(size=(series, rows))
    times = pd.date_range("2024", periods=rows, freq="h")
    return pd.Series(values.reshape(-1), pd.MultiIndex.from_product([range(series), times]), name="y")


def peak():
    """Return the most memory that the process has had, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def numbarnn_run(table, split):
    """Return the seconds of `fit` and of the epoch in it."""
    from numbarnn import Forecaster

    def fit(data):
        forecaster = Forecaster(
            LOOKBACK, hidden_size=HIDDEN, batch_size=BATCH, epochs=1, change=None, linear=None, clip_norm=None, n_threads=THREADS
        )  # fmt: skip
        return forecaster.fit(data, split=split, verbose=0)

    fit(table.loc[:20])
    before, started = peak(), time.perf_counter()
    forecaster = fit(table)
    seconds = time.perf_counter() - started
    return {"fit": seconds, "epoch": forecaster.history_[0]["seconds"], "MB": peak() - before}


def torch_run(table, split, loader):
    """Return the seconds of an epoch."""
    import torch

    torch.manual_seed(0)
    torch.set_num_threads(THREADS)
    count = table.index.levshape[0]
    values = table.to_numpy(np.float32).reshape(count, -1)
    train = values[:, : int(split[0] * values.shape[1])]
    rows = torch.tensor(train)
    windows = rows.unfold(1, LOOKBACK + 1, 1).reshape(-1, LOOKBACK + 1)  # one copy: they lie ready

    class Net(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.lstm = torch.nn.LSTM(1, HIDDEN, batch_first=True)
            self.dense = torch.nn.Linear(HIDDEN, 1)

        def forward(self, x):
            return self.dense(self.lstm(x)[0][:, -1])

    class Windows(torch.utils.data.Dataset):
        def __len__(self):
            return len(windows)

        def __getitem__(self, index):
            return windows[index]

    net = Net()
    optimizer = torch.optim.Adam(net.parameters(), 3e-3)

    def step(batch):
        optimizer.zero_grad()
        loss = torch.nn.functional.mse_loss(net(batch[:, :-1, None]), batch[:, -1:])
        loss.backward()
        optimizer.step()

    for _ in range(3):
        step(windows[:BATCH])
    batches = torch.utils.data.DataLoader(Windows(), BATCH, shuffle=True) if loader else None
    started = time.perf_counter()
    for batch in batches if loader else (windows[part] for part in torch.randperm(len(windows)).split(BATCH)):
        step(batch)
    return {"epoch": time.perf_counter() - started, "MB": peak()}


ENGINES = {
    "numbarnn": numbarnn_run,
    "torch": lambda table, split: torch_run(table, split, False),
    "torch, DataLoader": lambda table, split: torch_run(table, split, True),
}


def main():
    """Run the engines in turn and print medians."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--series", type=int, default=1000)
    parser.add_argument("--rows", type=int, default=1000)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--engine", choices=list(ENGINES), help="run this engine once and print its numbers as JSON")
    options = parser.parse_args()
    split = (0.7, 0.3)
    if options.engine:
        print(json.dumps(ENGINES[options.engine](panel(options.series, options.rows), split)))
        return
    found = {name: [] for name in ENGINES}
    for _ in range(options.runs):
        for name, runs in found.items():
            command = [
                sys.executable,
                __file__,
                "--series",
                str(options.series),
                "--rows",
                str(options.rows),
                "--engine",
                name,
            ]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            runs.append(json.loads(done.stdout.splitlines()[-1]))
            print(name, {key: round(value, 2) for key, value in runs[-1].items()}, flush=True)
    medians = {name: statistics.median(run["epoch"] for run in runs) for name, runs in found.items()}
    whole = statistics.median(run["fit"] for run in found["numbarnn"])
    for name in list(ENGINES)[1:]:
        print(
            f"{name}: {medians[name] / medians['numbarnn']:.2f} times numbarnn's epoch, "
            f"{medians[name] / whole:.2f} times its whole fit (medians)"
        )


if __name__ == "__main__":
    main()
