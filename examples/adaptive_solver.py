"""A learned force with a memory inside an adaptive solver: scipy.integrate.solve_ivp.

The mass on a spring of `learned_correction.py`, x'' = -x + force, with a friction that follows the velocity with a delay. There the
solver had steps of one length; here it chooses them, calls the right-hand side at trial points, and rejects steps whose error is
too large. A net with a state must not remember what was only tried: the right-hand side reads a *copy* of the state, and the
state itself advances where a point is known. How much time has passed since the last such point is an input of the net, which
was trained with steps of all lengths up to the longest.

    pip install 'numbarnn[sklearn]'      # has SciPy
    python examples/adaptive_solver.py
"""

import numba
import numpy as np

import numbarnn as nr
from numbarnn.optim import Adam, ExponentialDecay

LONGEST, DELAY = 0.2, 0.5


@numba.njit(cache=True)
def measure(motion, force, steps):
    """Fill motion (n, 2), whose first row is given, and the force at its rows, which are `steps` apart in time."""
    position, velocity = motion[0]
    lagging = 0.0
    for t in range(len(motion)):
        if t > 0:
            for _ in range(100):
                lagging += (velocity - lagging) / DELAY * (steps[t] / 100)
                velocity += (-1.5 * np.tanh(lagging) - position) * (steps[t] / 100)
                position += velocity * (steps[t] / 100)
        motion[t] = position, velocity
        force[t] = -1.5 * np.tanh(lagging)


def train(samples=300, points=80, epochs=150):
    """Return a net that reads position, velocity and the time since the point before, and gives the force."""
    generator = np.random.default_rng(0)
    steps = generator.uniform(0, LONGEST, (samples, points))
    steps[:, 0] = 0.0
    motions, forces = np.empty((samples, points, 2)), np.empty((samples, points))
    motions[:, 0] = generator.uniform(-2, 2, (samples, 2))
    for sample in range(samples):
        measure(motions[sample], forces[sample], steps[sample])
    model = nr.Model([nr.GRU(16), nr.Dense(1)], input_size=3, dtype="float64", n_threads=1)
    history = model.fit(
        np.concatenate([motions, steps[:, :, None]], axis=2),
        forces[:, :, None],
        loss="mse",
        epochs=epochs,
        optimizer=Adam(1e-2),
        schedule=ExponentialDecay(0.98),
        validation=0.1,
        verbose=0,
    )
    return model, history["val_loss"][-1]


def simulate(model, start, points, learned=True):
    """Return the motion at times LONGEST apart, and how often the right-hand side was called."""
    from scipy.integrate import solve_ivp

    _, weights, state = nr.step_function(model)
    force, calls = np.zeros(1), 0
    motion = np.empty((points, 2))
    motion[0] = start

    def slope(t, y):
        nonlocal calls
        calls += 1
        if learned:
            trial = state.copy()  # what the solver tries and rejects leaves no trace
            nr.step(weights, np.array([y[0], y[1], t]), trial, force)
        return [y[1], force[0] - y[0]]

    elapsed = 0.0
    for k in range(points - 1):
        nr.step(weights, np.array([*motion[k], elapsed]), state, force)  # a point that is known: the memory advances
        force[0] *= learned
        motion[k + 1] = solve_ivp(slope, (0.0, LONGEST), motion[k], rtol=1e-6).y[:, -1]
        elapsed = LONGEST
    return motion, calls


def main(**options):
    """Learn the force, then integrate a motion that was not seen, with it and without it; return the errors."""
    model, loss = train(**options)
    print(f"mean squared error of the force, on held-out motions: {loss:.2g}")
    true = np.empty((40, 2))
    true[0] = 1.5, -0.5
    measure(true, np.empty(40), np.full(40, LONGEST))
    errors = []
    for name, learned in (("spring alone", False), ("spring and net", True)):
        motion, calls = simulate(model, true[0], 40, learned)
        errors.append(np.sqrt(np.mean((motion[:, 0] - true[:, 0]) ** 2)))
        print(
            f"{name:14}: the position is off by {errors[-1]:.3f} (root mean square), {calls} calls of the right-hand side"
        )
    return errors


if __name__ == "__main__":
    main()
