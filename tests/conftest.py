"""Registries as parameters, and the helpers that all tests share."""

import cuda_device  # noqa: F401 - before Numba
import naive
import numpy as np
import pytest
from hypothesis import settings

from numbarnn import Model, Recurrent, parallel
from numbarnn.cells import CELLS
from numbarnn.cells.gate import FREE
from numbarnn.forecasting import training
from numbarnn.kernels.activation import ACTIVATIONS
from numbarnn.kernels.cpu.memory import Arena

# Compilation makes single examples slow; every run draws the same examples.
settings.register_profile("numbarnn", deadline=None, derandomize=True, database=None, max_examples=40)
settings.load_profile("numbarnn")


def pytest_addoption(parser):
    """Say how long the random tests may be."""
    parser.addoption("--files", type=int, default=600, help="files that tests/test_mutated_files.py changes at random")
    parser.addoption(
        "--interrupts", type=int, default=30, help="points at which tests/test_interrupts.py interrupts each work"
    )
    parser.addoption("--exhaustive", action="store_true", help="also test the scalar functions at all float32 numbers")


@pytest.fixture
def exhaustive(request):
    if not request.config.getoption("--exhaustive"):
        pytest.skip("takes minutes: asked for by --exhaustive")


DTYPES = ("float32", "float64")
# Largest deviation from the naive equations, relative to the largest value of the array.
TOLERANCE = {"float32": 2e-6, "float64": 1e-12}
GRADIENT_TOLERANCE = 1e-7  # analytic against central differences, float64

_ACTIVATION_NAMES = {code: name for name, code in ACTIVATIONS.items()}


# Options that change the equations, to be tested like cells of their own.
VARIANTS = {
    "LSTM": {"coupled": {"coupled": 1}, "held": {"fix_f": 0.75, "fix_o": 0.5}},
    "PeepholeLSTM": {"coupled": {"coupled": 1}, "held": {"fix_i": 0.5, "fix_g": -0.25}},
    "GRU": {"held": {"fix_r": 0.25}},
    "ResetBeforeGRU": {"held": {"fix_r": 0.25, "fix_z": 0.5}},
}


def _records():
    """Return every registered cell as {test id: record}, those with an activation once for each."""
    found = {}
    for name, cell in CELLS.items():
        if "activation" in cell._fields:
            found |= {f"{name}-{f}": cell(activation=code) for f, code in ACTIVATIONS.items()}
        else:
            found[name] = cell()
        found |= {f"{name}-{variant}": cell(**options) for variant, options in VARIANTS.get(name, {}).items()}
    return found


RECORDS = _records()


def naive_options(record):
    """Return a record's options as the naive step of its cell takes them."""
    options = record._asdict()
    if "activation" in options:
        options["activation"] = _ACTIVATION_NAMES[options["activation"]]
    fixed = {name: options.pop(name) for name in record._fields if name.startswith("fix_")}
    if fixed:
        options["fix"] = {name.removeprefix("fix_"): value for name, value in fixed.items() if value != FREE}
    return options


def recurrent_model(record, inputs, hidden, dtype="float64", *, seed=1, n_threads=1, **options):
    """Return a model of one recurrent layer of a cell, with biases that are not zero."""
    layer = Recurrent(hidden, cell=record, init="torch", forget_bias=None, **options)
    return Model([layer], input_size=inputs, dtype=dtype, seed=seed, n_threads=n_threads)


def naive_run(model, x, state=None, lengths=None):
    """Return outputs and final states of a `recurrent_model` by the naive equations in float64."""
    (layer,) = model.layers
    params = {name.partition(".")[2]: np.float64(values) for name, values in model.params.items()}
    states = None if state is None else tuple(np.float64(s) for s in state[0])
    return naive.stack(
        type(layer.cell).__name__,
        np.float64(x),
        params,
        layer.hidden_size,
        layer.num_layers,
        layer.bidirectional,
        states,
        lengths,
        **naive_options(layer.cell),
    )


def interrupt_net(monkeypatch, number):
    """Let the training of a net of a forecaster, counted from 1, end as Ctrl-C ends it."""
    train, done = training.train, []

    def counted(trainings):
        for history in (histories := train(trainings)):
            done.append(history)
            if len(done) == number:
                history.stopped = "interrupted"
        return histories

    monkeypatch.setattr(training, "train", counted)


def normal(seed, *shape, dtype="float64"):
    """Return standard normal numbers."""
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def random_state(model, samples, seed=5):
    """Return states that are not zero, in the form that `forward` takes."""
    generator = np.random.default_rng(seed)
    return tuple(
        tuple(0.5 * generator.standard_normal(array.shape).astype(model.dtype) for array in entry)
        for entry in model.initial_state(samples)
    )


def relative_error(actual, expected):
    """Return max |actual - expected| / max |expected|, absolute where all that is expected is zero."""
    actual, expected = np.asarray(actual, np.float64), np.asarray(expected, np.float64)
    if actual.shape != expected.shape:
        raise AssertionError(f"shapes differ: got {actual.shape}, expected {expected.shape}")
    if actual.size == 0:
        raise AssertionError("nothing to compare: the arrays are empty")
    largest = np.abs(expected).max()
    return np.abs(actual - expected).max() / (largest if largest > 0 else 1.0)


def assert_close(actual, expected, tolerance, what="array"):
    """Compare the largest deviation with the largest value; NaN anywhere fails."""
    error = relative_error(actual, expected)
    assert error <= tolerance, f"{what}: relative error {error:.3g} is above {tolerance:.3g}"


def assert_same_bits(actual, expected, what="array"):
    """Compare two arrays bit for bit."""
    actual, expected = np.ascontiguousarray(actual), np.ascontiguousarray(expected)
    assert (actual.shape, actual.dtype) == (expected.shape, expected.dtype), what
    if actual.tobytes() != expected.tobytes():
        different = np.count_nonzero(actual != expected)
        raise AssertionError(f"{what}: {different} of {actual.size} values differ")


def flatten(state):
    """Return all arrays of a state in one list."""
    return [array for entry in state for array in entry]


def check_gradients(model, x, state=None, lengths=None, tolerance=GRADIENT_TOLERANCE):
    """Compare `Model.vjp` with central differences: every parameter, x (unless tokens) and every initial state."""
    start = model.params.flat.copy()
    state = random_state(model, len(x)) if state is None else state
    outputs, final, pullback = model.vjp(x, state, lengths)
    doutputs = normal(11, *outputs.shape)
    dfinal = tuple(tuple(normal(12 + i, *array.shape) for i, array in enumerate(entry)) for entry in final)
    gradients = pullback(doutputs, dfinal)

    def value(x, state):
        outputs, final = model.forward(x, state, lengths)
        pairs = zip(flatten(final), flatten(dfinal), strict=True)
        return (outputs * doutputs).sum() + sum((array * d).sum() for array, d in pairs)

    def of_parameters(flat):
        model.set_flat(flat)
        return value(x, state)

    expected = model.params.views(naive.central_differences(of_parameters, start))
    model.set_flat(start)
    for name, gradient in gradients.params.items():
        assert_close(gradient, expected[name], tolerance, name)
    if gradients.x is not None:
        assert_close(gradients.x, naive.central_differences(lambda x: value(x, state), x), tolerance, "x")
    for index, entry in enumerate(state):
        for s, array in enumerate(entry):

            def of_state(array, index=index, s=s):
                changed = [list(entry) for entry in state]
                changed[index][s] = array
                return value(x, changed)

            found = gradients.state[index][s]
            assert_close(found, naive.central_differences(of_state, array), tolerance, f"state {index}, {s}")


@pytest.fixture
def pieces(monkeypatch):
    """Let small work count as large, so that it is cut for threads; return a list that gets the pieces of every cut."""
    counts, run = [], parallel.run

    def recorded(jobs, *barrier):
        counts.append(len(jobs))
        run(jobs, *barrier)

    monkeypatch.setattr(parallel, "GRAIN", 1)
    monkeypatch.setattr(parallel, "run", recorded)
    return counts


@pytest.fixture
def poisoned(monkeypatch):
    """Return a function after whose call all memory that NumPy and arenas leave uninitialised fixed NaN."""

    def poisoning(empty):
        def filled(*args, **kwargs):
            array = empty(*args, **kwargs)
            array.reshape(-1).view(np.uint8)[...] = 0xFF
            return array

        return filled

    def poison():
        monkeypatch.setattr(np, "empty", poisoning(np.empty))
        monkeypatch.setattr(Arena, "empty", poisoning(Arena.empty))

    return poison
