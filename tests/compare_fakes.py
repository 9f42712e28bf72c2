"""Engines that compute nothing, for tests of the comparison: their outputs, times and the machine's limit are what a test says."""

import pathlib
import sys
import time

import numpy as np

BENCHMARKS = str(pathlib.Path(__file__).resolve().parent.parent / "benchmarks")
if BENCHMARKS not in sys.path:
    sys.path.insert(0, BENCHMARKS)

import compare  # noqa: E402
from comparison import cases  # noqa: E402
from comparison.engines import participants  # noqa: E402
from comparison.rows import Engines, Settings  # noqa: E402
from comparison.store import Store  # noqa: E402

ABOUT = {
    "cpu": "Fake 9000", "cores": 2, "clock_mhz": 3000, "vectors": ["avx2"], "memory_gb": 4.0, "system": "Linux x86_64",
    "numba_cpu": "znver3", "numba_vector_bits": 256, "numbarnn": "0", "sources": "0", "versions": {"torch": "2"},
}  # fmt: skip
SETTINGS = Settings(rounds=11, seconds=0.01)
CASES = [(case, participants(case.scenario, ["torch"])) for case in cases.cases((2,)) if case.scenario == "bptt"][:6]


class World:
    """What the engines of a test do.

    Parameters
    ----------
    slower : dict
        How many times longer than numbarnn a participant takes, by label; 2 for those that are not named.
    outputs : dict
        What a participant computes, by label; the same for all that are not named.
    limit : callable
        (number of the case, counted from its first opening) -> GFLOP/s.
    """

    def __init__(self, slower=(), outputs=(), limit=lambda number: 100.0, seed=0):
        self.slower, self.outputs, self.limit = dict(slower), dict(outputs), limit
        self.share = 1.0  # of the processors that other processes leave
        self.rng, self.opened, self.asked = np.random.default_rng(seed), [], []

    def engines(self):
        """Return engines as `compare.compare` takes them."""
        return Engines(lambda participant: Fake(self, participant))

    def begin(self, case):
        """Take note of a case that is opened for the first time in a row."""
        self.opened.append(tuple(case["size"]) + (case["cell"],))


class Fake:
    """A stand-in for a participant's process."""

    def __init__(self, world, participant):
        self.world, self.label, self.closed = world, participant.label, False

    def ask(self, do, **request):
        """Answer as a worker does."""
        return getattr(self, do)(**request)

    def limit(self, threads, seconds):
        """Return the limit of the world."""
        return {"gflops": self.world.limit(len(self.world.opened)), "share": self.world.share}

    def open(self, case, outputs):
        """Write the outputs of the world."""
        if self.label == "numbarnn":
            self.world.begin(case)
        np.savez(outputs, outputs=self.world.outputs.get(self.label, np.arange(4.0)))
        return {"seconds": 1e-3, "memory": 50.0}

    def time(self, seconds):
        """Return a time with 2 % of noise."""
        self.world.asked.append(self.label)
        factor = 1.0 if self.label.startswith("numbarnn") else self.world.slower.get(self.label, 2.0)
        return {"seconds": 1e-3 * factor * float(np.exp(0.02 * self.world.rng.standard_normal())), "calls": 3}

    def close(self):
        """End nothing."""
        self.closed = True


def run(path, world, todo=CASES, **options):
    """Return the rows of a run that writes to a path, and the lines that it has said."""
    lines = []
    options = {"say": lines.append} | options
    rows = compare.compare(todo, Store(pathlib.Path(path), ABOUT, {"rounds": 11}), world.engines(), SETTINGS, **options)
    return rows, lines


class Stuck(World):
    """A world whose third case never ends."""

    def begin(self, case):
        """Wait for the test to end this process."""
        super().begin(case)
        if len(self.opened) == 3:
            time.sleep(600)


if __name__ == "__main__":
    run(sys.argv[1], Stuck(), say=lambda line: None)
