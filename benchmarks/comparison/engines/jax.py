"""JAX: torch's equations under `jax.jit`, the input product of all steps at once, `jax.lax.scan` over time.

XLA takes as many threads as the process may use processors, so the process is restricted to those before JAX is imported.
"""

from comparison import cases
from comparison.engines import Prepared, walk
from comparison.engines.processors import hold_to

UNROLL = 4  # steps in one iteration of the scan


def _import(case):
    hold_to(case.threads)
    import jax

    jax.config.update("jax_platforms", "cpu")
    return jax


def _cell(jax, name):
    """Return a function (input product with its bias, h W^T + b, states) -> states, by torch's equations."""
    jnp, sigmoid = jax.numpy, jax.nn.sigmoid

    def lstm(zx, zh, states):
        i, f, g, o = jnp.split(zx + zh, 4, axis=-1)
        c = sigmoid(f) * states[1] + sigmoid(i) * jnp.tanh(g)
        return sigmoid(o) * jnp.tanh(c), c

    def gru(zx, zh, states):
        (r, z, n), (r_h, z_h, n_h) = jnp.split(zx, 3, axis=-1), jnp.split(zh, 3, axis=-1)
        z = sigmoid(z + z_h)
        return ((1 - z) * jnp.tanh(n + sigmoid(r + r_h) * n_h) + z * states[0],)

    def rnn(zx, zh, states):
        return (jnp.tanh(zx + zh),)

    return {"LSTM": lstm, "GRU": gru, "RNN": rnn}[name]


def _run(jax, case):
    """Return a function (weights, x (T, N, C)) -> outputs (T, N, H)."""
    cell, hidden = _cell(jax, case.cell), case.size[1]

    def run(w, x):
        zx = x @ w["weight_ih_l0"].T + w["bias_ih_l0"]
        zero = jax.numpy.zeros((x.shape[1], hidden), x.dtype)

        def step(states, z):
            states = cell(z, states[0] @ w["weight_hh_l0"].T + w["bias_hh_l0"], states)
            return states, states[0]

        start = (zero,) * (2 if case.cell == "LSTM" else 1)
        return jax.lax.scan(step, start, zx, unroll=UNROLL)[1]

    return run


def _on_device(jax, case):
    weights = {name: jax.device_put(value) for name, value in cases.weights(case).items()}
    return weights, [jax.device_put(array.swapaxes(0, 1).copy()) for array in cases.batch(case)]


def _numpy(value):
    import numpy as np

    return np.asarray(value)


def forward(case):
    """Return the forward pass of a batch, outputs in JAX's own memory."""
    jax = _import(case)
    run, (weights, (x, _)) = jax.jit(_run(jax, case)), _on_device(jax, case)
    return Prepared(lambda: run(weights, x).block_until_ready(), lambda y: {"outputs": _numpy(y).swapaxes(0, 1)})


def bptt(case):
    """Return a pass with the gradients of all weights; the squared error is the loss."""
    jax = _import(case)
    run, (weights, (x, y)) = _run(jax, case), _on_device(jax, case)
    both = jax.jit(jax.value_and_grad(lambda w, x, y: jax.numpy.mean((run(w, x) - y) ** 2)))

    def outputs(result):
        return {"loss": _numpy(result[0]), **{name: _numpy(value) for name, value in result[1].items()}}

    return Prepared(lambda: jax.block_until_ready(both(weights, x, y)), outputs)


def stream(case):
    """Return a compiled step whose states are given back to it."""
    jax = _import(case)
    cell, zero = _cell(jax, case.cell), jax.numpy.zeros((1, case.size[1]), "float32")
    weights = {name: jax.device_put(value) for name, value in cases.weights(case).items()}

    def step(w, x, states):
        zx = x[None] @ w["weight_ih_l0"].T + w["bias_ih_l0"]
        return cell(zx, states[0] @ w["weight_hh_l0"].T + w["bias_hh_l0"], states)

    compiled, states = jax.jit(step), (zero,) * (2 if case.cell == "LSTM" else 1)

    def one(x):
        nonlocal states
        states = compiled(weights, x, states)
        return states[0].block_until_ready()

    return Prepared(walk(one, cases.stream_inputs(case)), lambda y: {"outputs": _numpy(y)[0]}, each=True)
