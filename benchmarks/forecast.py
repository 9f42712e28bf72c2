"""A forecaster from the CSV file to the error on the test part, in numbarnn and in torch, each in a process of its own, in turn.

python benchmarks/forecast.py pollution.csv.gz [--epochs 10] [--runs 3]

Beijing, temperature 24 hours ahead from windows of 120 hours of seven quantities, halves and quarters in order of time, LSTM of 32
units and a dense layer, Adam, batches of 128. The time runs from reading the file to the test error; importing the package does not
count, nor does compiling (a first run fills numbarnn's cache).
"""

import argparse
import json
import statistics
import subprocess
import sys
import time

COLUMNS = ["TEMP", "DEWP", "PRES", "Iws", "Is", "Ir", "pm2.5"]
LOOKBACK, DELAY, HIDDEN, BATCH = 120, 24, 32, 128


def numbarnn_run(path, epochs, seed, n_threads):
    """Return the test MAE in degC."""
    from numbarnn import Forecaster
    from numbarnn.data import readers

    frame = readers.read_beijing(path)[COLUMNS]
    forecaster = Forecaster(
        LOOKBACK, DELAY, hidden_size=HIDDEN, epochs=epochs, batch_size=BATCH, missing="ffill", clip_norm=None, seed=seed,
        n_threads=n_threads, change=None, linear=None, learning_rate=1e-3,
    )  # fmt: skip
    forecaster.fit(frame, "TEMP", split=(0.5, 0.25, 0.25), verbose=0)
    back = forecaster.backtest()
    return float((back["TEMP"] - back["TEMP truth"]).abs().mean())


def torch_run(path, epochs, seed, n_threads):
    """Return the same for torch: windows are views of one tensor, batches are gathered by index."""
    import copy

    import pandas as pd
    import torch

    torch.manual_seed(seed)
    torch.set_num_threads(n_threads)
    frame = pd.read_csv(path)[COLUMNS].ffill()
    cuts = [len(frame) // 2, len(frame) * 3 // 4, len(frame)]
    train = frame.iloc[: cuts[0]]
    scaled = torch.tensor(((frame - train.mean()) / train.std(ddof=0)).to_numpy("float32"))
    target = torch.tensor(frame["TEMP"].to_numpy("float32"))
    first = int(frame.notna().all(axis=1).to_numpy().argmax())
    starts = [torch.arange(max(a, first), b - LOOKBACK - DELAY + 1) for a, b in zip([0, *cuts], cuts, strict=False)]
    windows = scaled.unfold(0, LOOKBACK, 1).transpose(1, 2)
    targets = target[starts[0] + LOOKBACK + DELAY - 1]
    mean, std = targets.mean(), targets.std(correction=0)

    class Net(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.lstm = torch.nn.LSTM(len(COLUMNS), HIDDEN, batch_first=True)
            self.dense = torch.nn.Linear(HIDDEN, 1)

        def forward(self, x):
            return self.dense(self.lstm(x)[0][:, -1])[:, 0]

    def outputs(starts):
        with torch.no_grad():
            return torch.cat([net(windows[part]) for part in starts.split(1024)])

    net = Net()
    optimizer = torch.optim.Adam(net.parameters(), 1e-3)
    best = None
    for _ in range(epochs):
        for part in starts[0][torch.randperm(len(starts[0]))].split(BATCH):
            loss = torch.nn.functional.mse_loss(net(windows[part]), (target[part + LOOKBACK + DELAY - 1] - mean) / std)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        truth = (target[starts[1] + LOOKBACK + DELAY - 1] - mean) / std
        error = float(((outputs(starts[1]) - truth) ** 2).mean())
        if best is None or error < best[0]:
            best = (error, copy.deepcopy(net.state_dict()))
    net.load_state_dict(best[1])
    return float((outputs(starts[2]) * std + mean - target[starts[2] + LOOKBACK + DELAY - 1]).abs().mean())


ENGINES = {"numbarnn": numbarnn_run, "torch": torch_run}


def main():
    """Run the engines in turn and print the medians."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--engine", choices=list(ENGINES), help="run this engine once and print its numbers as JSON")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    if options.engine:
        __import__(options.engine)
        started = time.perf_counter()
        error = ENGINES[options.engine](options.file, options.epochs, options.seed, options.threads)
        print(json.dumps({"seconds": time.perf_counter() - started, "mae": error}))
        return
    found = {name: [] for name in ENGINES}
    command = [sys.executable, __file__, options.file, "--threads", str(options.threads)]
    subprocess.run([*command, "--engine", "numbarnn", "--epochs", "1"], check=True, capture_output=True)
    for seed in range(options.runs):
        for name, runs in found.items():
            arguments = ["--engine", name, "--epochs", str(options.epochs), "--seed", str(seed)]
            done = subprocess.run([*command, *arguments], check=True, capture_output=True, text=True)
            runs.append(json.loads(done.stdout.splitlines()[-1]))
            print(
                f"{name:9} seed {seed}: {runs[-1]['seconds']:6.1f} s, test MAE {runs[-1]['mae']:.3f} degC", flush=True
            )
    seconds = {name: statistics.median(run["seconds"] for run in runs) for name, runs in found.items()}
    print(f"numbarnn is {seconds['torch'] / seconds['numbarnn']:.2f} times as fast as torch (medians)")


if __name__ == "__main__":
    main()
