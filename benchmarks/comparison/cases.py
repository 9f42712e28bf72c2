"""What is measured: the cases, and their weights and data, which are the same for every engine.

C is the number of input features, H of hidden units, N of samples in a batch, T of time steps. Weights have torch's names,
shapes and order of gates; arrays are (samples, time steps, features), float32.
"""

import dataclasses

import numpy as np

GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
SIZES = (  # C, H, N, T
    (8, 16, 32, 60),
    (14, 32, 128, 120),
    (32, 64, 32, 100),
    (65, 128, 50, 50),
    (64, 128, 1, 100),
    (64, 256, 64, 100),
    (64, 512, 64, 50),
    (256, 1024, 64, 25),
)
STREAMS = tuple((16, hidden, 1, 1) for hidden in (32, 128, 256, 512))
RAGGED = ((14, 32, 128, 120), (65, 128, 50, 50))
EPOCHS = ((8, 16, 32, 60), (32, 64, 32, 100), (65, 128, 50, 50), (64, 256, 64, 100))
TARGET = (1, 32, 32, 60)
STARTUP = (16, 64, 1, 50)
BATCHES = 8  # in an epoch
CLASSES = 10
LEARNING_RATE = 1e-3

SCENARIOS = {
    "bptt": "forward + back-propagation through time, all gradients of the weights",
    "forward": "forward, a batch",
    "stream": "one step of one sample, with its state carried, one thread",
    "ragged": "forward + back-propagation through time, samples of different lengths",
    "epoch": "an epoch of training, with Adam",
    "target": "training from the same weights until a validation loss is reached",
    "startup": "start of a process to its first prediction by a saved model",
}


@dataclasses.dataclass(frozen=True)
class Case:
    """One row: a scenario, a cell, its size (C, H, N, T) and the number of threads of every engine."""

    scenario: str
    cell: str
    size: tuple[int, int, int, int]
    threads: int

    @property
    def key(self) -> str:
        """Name of the row, by which samples on disk are found again."""
        return f"{self.scenario} {self.cell} {','.join(map(str, self.size))} {self.threads}"

    @property
    def operations(self) -> float:
        """Floating-point operations of the products of one call, by one formula: 2 N T G H (C + H), times 3 with BPTT."""
        inputs, hidden, samples, steps = self.size
        passes = {"forward": 1, "stream": 1, "startup": 1, "epoch": 3 * BATCHES, "target": 3 * 32 * 10}.get(
            self.scenario, 3
        )
        return passes * 2.0 * samples * steps * GATES[self.cell] * hidden * (inputs + hidden)


def cases(threads=(2, 1)) -> list[Case]:
    """Return all rows, those that answer most first: a run that ends early lacks the last ones."""
    first, *others = threads
    found = []
    for cells in (("LSTM",), ("GRU", "RNN")):
        for scenario in ("bptt", "forward"):
            found += [Case(scenario, cell, size, first) for cell in cells for size in SIZES]
        found += [Case("stream", cell, size, 1) for cell in cells for size in STREAMS]
        if "LSTM" in cells:
            found += [Case("ragged", "LSTM", size, first) for size in RAGGED]
            found += [Case("epoch", "LSTM", size, first) for size in EPOCHS]
            found += [Case("target", "LSTM", TARGET, first), Case("startup", "LSTM", STARTUP, 1)]
    for number in others:
        found += [
            Case(scenario, cell, size, number) for cell in GATES for scenario in ("bptt", "forward") for size in SIZES
        ]
    return found


# Weights and data


def _uniform(rng, bound, *shape):
    return rng.uniform(-bound, bound, shape).astype(np.float32)


def weights(case) -> dict[str, np.ndarray]:
    """Return the weights of the recurrent layer by torch's names."""
    inputs, hidden = case.size[:2]
    rng, rows = np.random.default_rng(0), GATES[case.cell] * hidden
    shapes = {
        "weight_ih_l0": (rows, inputs),
        "weight_hh_l0": (rows, hidden),
        "bias_ih_l0": (rows,),
        "bias_hh_l0": (rows,),
    }
    return {name: _uniform(rng, hidden**-0.5, *shape) for name, shape in shapes.items()}


def classes(case) -> int:
    """Return the number of classes of the nets that are trained."""
    return 2 if case.scenario == "target" else CLASSES


def dense_weights(case) -> dict[str, np.ndarray]:
    """Return the weights of the dense layer above, of nets that are trained, as torch's Linear has them."""
    hidden = case.size[1]
    rng = np.random.default_rng(2)
    return {
        "weight": _uniform(rng, hidden**-0.5, classes(case), hidden),
        "bias": _uniform(rng, hidden**-0.5, classes(case)),
    }


def batch(case) -> tuple[np.ndarray, np.ndarray]:
    """Return inputs (N, T, C) and the values (N, T, H) that outputs are compared with."""
    inputs, hidden, samples, steps = case.size
    rng = np.random.default_rng(1)
    shapes = ((samples, steps, inputs), (samples, steps, hidden))
    return tuple(rng.standard_normal(shape, np.float32) for shape in shapes)


def stream_inputs(case) -> np.ndarray:
    """Return the inputs (64, C) that a stream repeats."""
    return np.random.default_rng(1).standard_normal((64, case.size[0]), np.float32)


def lengths(case) -> np.ndarray:
    """Return the lengths of the samples of a ragged batch, T / 8 to T, longest first as torch packs them fastest."""
    samples, steps = case.size[2:]
    found = np.random.default_rng(3).integers(steps // 8, steps + 1, samples)
    found[0] = steps
    return np.sort(found)[::-1].copy()


def epoch(case) -> tuple[np.ndarray, np.ndarray]:
    """Return the inputs and classes of every step of an epoch of `BATCHES` batches."""
    inputs, _, samples, steps = case.size
    rng = np.random.default_rng(1)
    x = rng.standard_normal((BATCHES * samples, steps, inputs), np.float32)
    return x, rng.integers(0, CLASSES, x.shape[:2])


def task(case, seed: int, samples: int) -> tuple[np.ndarray, np.ndarray]:
    """Return samples of the task that is trained to a target: at every step, whether the sum so far is positive."""
    x = np.random.default_rng(seed).standard_normal((samples, case.size[3], 1), np.float32)
    return x, (x[:, :, 0].cumsum(axis=1) > 0).astype(np.int64)


TARGET_SAMPLES, TARGET_LOSS, TARGET_EPOCHS, TARGET_RATE = 1024, 0.12, 60, 3e-3
