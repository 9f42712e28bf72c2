"""A learned correction inside a compiled Runge-Kutta loop.

A mass hangs on a spring, x'' = -x + force, and a friction holds it that follows the velocity with a delay. We can write down
the spring, not the friction. A small GRU learns the missing force from measured motions, with its state as a memory
of the past, and then runs inside the compiled loop that integrates the equation of motion. (A force without a memory would take
a plain net, ``nr.Model([nr.Dense(16, activation="tanh"), nr.Dense(1)], input_size=2)``, in the same loop.)

    python examples/learned_correction.py

Prints the error of the learned force, and how far the position is off with the spring alone and with the net. Takes about 20
seconds, the first time 40 (kernels are compiled).
"""

import numba
import numpy as np

import numbarnn as nr
from numbarnn import step  # a global, so that Numba can cache `integrate` on disk
from numbarnn.optim import Adam, ExponentialDecay

DT, DELAY = 0.1, 0.5


@numba.njit(cache=True)
def measure(motion, force):
    """Fill motion (steps + 1, 2), whose first row is given, and the mean force of each step, by many small Euler steps."""
    position, velocity = motion[0]
    lagging = 0.0
    for t in range(len(force)):
        force[t] = 0.0
        for _ in range(100):
            lagging += (velocity - lagging) / DELAY * (DT / 100)
            friction = -1.5 * np.tanh(lagging)
            velocity += (friction - position) * (DT / 100)
            position += velocity * (DT / 100)
            force[t] += friction / 100
        motion[t + 1] = position, velocity


@numba.njit(cache=True)
def integrate(motion, weights, state, force, learned):
    """Fill motion by the classical Runge-Kutta method; the net says the force of each step from where the step begins."""
    for t in range(len(motion) - 1):
        x, v = motion[t]
        force[0] = 0.0
        if learned:
            step(weights, motion[t], state, force)
        f = force[0]
        x1, v1 = v, f - x
        x2, v2 = v + DT / 2 * v1, f - (x + DT / 2 * x1)
        x3, v3 = v + DT / 2 * v2, f - (x + DT / 2 * x2)
        x4, v4 = v + DT * v3, f - (x + DT * x3)
        motion[t + 1, 0] = x + DT / 6 * (x1 + 2 * x2 + 2 * x3 + x4)
        motion[t + 1, 1] = v + DT / 6 * (v1 + 2 * v2 + 2 * v3 + v4)


def main():
    """Learn the force, then integrate a motion that was not seen, with it and without it."""
    samples, steps = 200, 60
    motions, forces = np.empty((samples, steps + 1, 2)), np.empty((samples, steps))
    motions[:, 0] = np.random.default_rng(0).uniform(-2, 2, (samples, 2))
    for motion, force in zip(motions, forces, strict=True):
        measure(motion, force)

    model = nr.Model([nr.GRU(16), nr.Dense(1)], input_size=2, n_threads=1)
    history = model.fit(
        motions[:, :-1],
        forces[:, :, None],
        loss="mse",
        epochs=100,
        optimizer=Adam(5e-3),
        schedule=ExponentialDecay(0.98),
        validation=0.1,
        verbose=0,
    )
    print(f"mean squared error of the force, on held-out motions: {history['val_loss'][-1]:.2g}")

    true = np.empty((steps + 1, 2))
    true[0] = 1.5, -0.5
    measure(true, np.empty(steps))
    for name, learned in (("spring alone", False), ("spring and net", True)):
        _, weights, state = nr.step_function(model)
        motion = np.empty_like(true)
        motion[0] = true[0]
        integrate(motion, weights, state, np.zeros(1), learned)
        error = np.sqrt(np.mean((motion[:, 0] - true[:, 0]) ** 2))
        print(f"{name:14}: the position is off by {error:.3f} (root mean square over {steps} steps)")


if __name__ == "__main__":
    main()
