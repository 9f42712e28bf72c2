"""What denormal numbers cost: passes over states and moments that decay into them, with the flush and without.

    python benchmarks/denormals.py

Without is measured in the same process with `numbarnn.kernels.cpu.denormals.FLUSH` made a no-op; the normal time is
that of the same pass over numbers of ordinary size.
"""

import time

import numba
import numpy as np

import numbarnn as nr
from numbarnn.kernels.cpu import denormals
from numbarnn.optim import Adam

SAMPLES, STEPS, HIDDEN, ROUNDS = 32, 100, 128, 9


def case(cell, denormal):
    """Return {what: call} for one cell; where `denormal`, states and gradients are denormal from the first step on."""
    model = nr.Model([getattr(nr, cell)(HIDDEN), nr.Dense(4)], input_size=8, n_threads=1)
    rng = np.random.default_rng(0)
    scale = 1e-39 if denormal else 1.0
    x = (rng.normal(size=(SAMPLES, STEPS, 8)) * scale).astype(np.float32)
    model.set_flat(rng.normal(size=model.params.flat.size) * (1e-3 if denormal else 0.1))
    for name in model.params if denormal else ():
        if "bias" in name:
            model.load_state_dict({**model.state_dict(), name: np.zeros_like(model.params[name])})
    state = tuple(
        tuple((rng.uniform(0.5, 1, a.shape) * scale).astype(np.float32) for a in entry)
        for entry in model.initial_state(SAMPLES)
    )
    outputs, _, pullback = model.vjp(x, state)
    doutputs = (rng.normal(size=outputs.shape) * scale).astype(np.float32)
    return {
        "forward": lambda: model.forward(x, state),
        "BPTT": lambda: pullback(doutputs),
    }


def adam(denormal):
    """Return one update of a million weights by Adam, whose moments have decayed."""
    scale = np.float32(1e-39 if denormal else 1e-3)
    rng = np.random.default_rng(0)
    weights = rng.normal(size=1_000_000).astype(np.float32)
    arrays = [rng.uniform(1, 2, weights.size).astype(np.float32) * scale for _ in range(2)]
    gradient = np.zeros_like(weights)

    def update():
        for array, start in zip(arrays, starts, strict=True):
            array[...] = start
        Adam(1e-3).update(weights, gradient, arrays, 1, 1e-3)

    starts = [array.copy() for array in arrays]
    return update


@numba.njit
def chain(a, b, n):
    """Multiply n numbers by b in a chain that stays where it is."""
    for _ in range(n):
        a = a * b
    return a


def median(call):
    """Return the median time of a call in ms."""
    call()
    times = []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        call()
        times.append(time.perf_counter() - started)
    return float(np.median(times)) * 1e3


def without(call):
    """Return `median` without the flush."""
    flush, denormals.FLUSH = denormals.FLUSH, denormals.KEEP
    try:
        return median(call)
    finally:
        denormals.FLUSH = flush


def measure(say):
    """Return {what: (normal, denormal with the flush, denormal without)} in ms."""
    one = np.float32(1)
    chains = [median(lambda s=s: chain(np.float32(s), one, 1_000_000)) for s in (1.0, 1e-39)]
    say(f"this processor: a product of a denormal number takes {chains[1] / chains[0]:.2f} times that of a normal one")
    calls = {}
    for cell in ("LSTM", "GRU", "RNN"):
        normal, tiny = case(cell, False), case(cell, True)
        calls |= {f"{cell} {what}": (normal[what], tiny[what]) for what in normal}
    calls["Adam"] = adam(False), adam(True)
    found = {}
    for name, (normal, tiny) in calls.items():
        found[name] = times = median(normal), median(tiny), without(tiny)
        say(
            f"{name:12} normal {times[0]:.2f} ms, denormal {times[1]:.2f} ms ({times[1] / times[0]:.2f}), without the flush "
            f"{times[2]:.2f} ms ({times[2] / times[0]:.2f})"
        )
    return found


if __name__ == "__main__":
    measure(print)
