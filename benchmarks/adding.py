"""The adding problem: count the steps until the mean squared error of fresh samples is below 0.01.

python benchmarks/adding.py [--steps 100] [--seeds 3] [--limit 20000]

Always answering 1 has 0.167. Every batch is fresh; after every 100 batches 2,000 samples that were never trained on are measured.
"""

import argparse
import time

import numpy as np

from numbarnn import Dense, Model, Trainer
from numbarnn.data import Batch
from numbarnn.data.datasets import adding
from numbarnn.layers import GRU, LSTM, IndRNN
from numbarnn.optim import Adam

NETS = {
    "LSTM": lambda: [LSTM(64, return_sequences=False), Dense(1)],
    "GRU": lambda: [GRU(64, return_sequences=False), Dense(1)],
    "IndRNN": lambda: [IndRNN(64, num_layers=2, return_sequences=False), Dense(1)],
}
RATES = {"LSTM": 5e-3, "GRU": 5e-3, "IndRNN": 2e-3}
EVERY, BATCH, THRESHOLD = 100, 50, 0.01


def run(name, steps, seed, limit):
    """Return optimizer steps until the threshold (None: not reached), the last error, and seconds."""
    model = Model(NETS[name](), input_size=2, seed=seed)
    trainer = Trainer(model, "mse", Adam(RATES[name]), clip_norm=1.0, seed=seed)
    test = adding(2000, steps, seed=10**6 + seed)
    started = time.perf_counter()
    for done in range(EVERY, limit + 1, EVERY):
        x, y, _ = adding(EVERY * BATCH, steps, seed=seed * 10**5 + done)
        for first in range(0, len(x), BATCH):
            trainer.train_batch(Batch(x[first : first + BATCH], y[first : first + BATCH]))
        error = float(np.square(model.forward(test.x)[0][:, 0] - test.y).mean())
        if error < THRESHOLD:
            return done, error, time.perf_counter() - started
    return None, error, time.perf_counter() - started


def main():
    """Print a line for each cell and seed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=100, help="length T of the sequences")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--limit", type=int, default=20_000, help="optimizer steps at most")
    parser.add_argument("--cells", nargs="+", choices=list(NETS), default=list(NETS))
    options = parser.parse_args()
    print(
        f"Adding problem, T = {options.steps}, batches of {BATCH}, until the error of 2,000 fresh samples is below {THRESHOLD}:"
    )
    for name in options.cells:
        for seed in range(options.seeds):
            steps, error, seconds = run(name, options.steps, seed, options.limit)
            reached = f"after {steps:6,} steps" if steps else f"not in {options.limit:,} steps"
            print(f"{name:7} seed {seed}: {reached}, error {error:.4f}, {seconds:.0f} s", flush=True)


if __name__ == "__main__":
    main()
