"""What it costs training that one could look: history columns, and `numbarnn.diagnostics` imported or used before.

python benchmarks/observers.py [--rounds 7]

Training is timed as

columns off      without the columns of gradients and updates in the history (their bookkeeping is replaced by nothing)
as it is         with them, diagnostics never imported
imported         with `numbarnn.diagnostics` imported
used             after `trace`, `gradient_flow`, `jacobian` and `diagnose` of the same model

each in processes of its own, in turn, so that they meet the same disturbances; the first two also in one process, in turn every
few steps, which is finer. One thread; time is that of the processor, which other programs disturb less. Memory is the peak of what
Python and NumPy have allocated in the training steps (tracemalloc), and the largest resident set of the process (for "used" with
what looking itself takes).
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time
import tracemalloc

import numpy as np

from numbarnn import LSTM, Dense, Model, Trainer
from numbarnn.data import Batch
from numbarnn.optim import Adam
from numbarnn.training.history import StepStatistics

MODES = ("columns off", "as it is", "imported", "used")
# Name -> (hidden, layers, features, classes, samples, steps): one where bookkeeping would show, and char-rnn's.
NETS = {"LSTM 16, batch 10 x 20": (16, 1, 4, 3, 10, 20), "2 x LSTM 128, batch 50 x 50": (128, 2, 65, 65, 50, 50)}


class _Nothing(StepStatistics):
    """Measures that measure nothing."""

    def due(self, waiting=0):
        """Never."""
        return False

    def add(self, norm, clipped_norm, ratio):
        """Leave it."""


def trainer_and_batch(name):
    """Return a trainer and a batch for it."""
    hidden, layers, features, classes, samples, steps = NETS[name]
    model = Model([LSTM(hidden, num_layers=layers), Dense(classes)], features, seed=0, n_threads=1)
    generator = np.random.default_rng(0)
    x = generator.normal(size=(samples, steps, features)).astype(np.float32)
    y = generator.integers(0, classes, (samples, steps))
    return Trainer(model, optimizer=Adam(1e-3), clip_norm=1.0), Batch(x, y)


def rate(trainer, batch, seconds):
    """Return training steps per second of processor time."""
    done, started = 0, time.process_time()
    while (passed := time.process_time() - started) < seconds:
        for _ in range(8):
            trainer.train_batch(batch)
        done += 8
    return done / passed


def look(trainer, batch):
    """Use the observers."""
    from numbarnn import diagnostics

    diagnostics.trace(trainer.model, batch.x)
    diagnostics.gradient_flow(trainer.model, batch.x[:4], batch.y[:4])
    diagnostics.jacobian(trainer.model, batch.x[:1], 10, 5)
    print(diagnostics.diagnose(trainer.model, batch.x, batch.y, samples=4), file=sys.stderr)


def child(mode, name, seconds):
    """Train in one way; print its figures."""
    if mode == "imported":
        import numbarnn.diagnostics  # noqa: F401
    trainer, batch = trainer_and_batch(name)
    for _ in range(32):
        trainer.train_batch(batch)
    if mode == "used":
        look(trainer, batch)
    if mode == "columns off":
        trainer.statistics = _Nothing()
    speed = rate(trainer, batch, seconds)
    largest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    tracemalloc.start()
    for _ in range(32):
        trainer.train_batch(batch)
    peak = tracemalloc.get_traced_memory()[1] / 2**10
    there = "numbarnn.diagnostics" in sys.modules
    if there != (mode in ("imported", "used")):
        raise RuntimeError(f"diagnostics {'are' if there else 'are not'} imported in the mode {mode!r}")
    print(json.dumps({"speed": speed, "peak": peak, "resident": largest}))


def alternate(name, seconds, pieces=40):
    """Return by how much training is slower with the columns, from pieces in turn: median and quartiles of the ratios."""
    trainer, batch = trainer_and_batch(name)
    measures = {"on": StepStatistics(), "off": _Nothing()}
    rate(trainer, batch, 0.5)
    ratios = []
    for piece in range(pieces):
        speeds = {}
        for kind in ("on", "off") if piece % 2 else ("off", "on"):
            trainer.statistics = measures[kind]
            speeds[kind] = rate(trainer, batch, seconds / pieces)
        ratios.append(speeds["off"] / speeds["on"] - 1)
    return np.quantile(ratios, (0.25, 0.5, 0.75))


def main():
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=1.0, help="of training in each round")
    parser.add_argument("--child", nargs=2, metavar=("MODE", "NET"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        child(*options.child, options.seconds)
        return
    print(
        "| net | training | steps a CPU second, median (least to most) | peak of a step, KiB | largest resident set, MiB |"
    )
    print("|---|---|---|---|---|")
    for name in NETS:
        found = {mode: [] for mode in MODES}
        for i in range(options.rounds):
            for mode in MODES if i % 2 else MODES[::-1]:
                command = [sys.executable, __file__, "--child", mode, name, "--seconds", str(options.seconds)]
                done = subprocess.run(command, check=True, capture_output=True, text=True)
                found[mode].append(json.loads(done.stdout))
        for mode in MODES:
            speeds, peaks, resident = ([result[key] for result in found[mode]] for key in ("speed", "peak", "resident"))
            print(
                f"| {name} | {mode} | {statistics.median(speeds):,.0f} ({min(speeds):,.0f} to {max(speeds):,.0f}) | "
                f"{statistics.median(peaks):,.1f} | {statistics.median(resident):.0f} |"
            )
    for name in NETS:
        low, median, high = alternate(name, 8 * options.seconds)
        print(f"{name}: with the columns a step takes {median:+.2%} ({low:+.2%} to {high:+.2%}, quartiles)")


if __name__ == "__main__":
    main()
