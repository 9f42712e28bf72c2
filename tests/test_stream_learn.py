"""Streams that learn: exact sensitivities and truncated back-propagation against `Model.loss_and_grad`, and their states."""

import copy
import math
import pickle
from dataclasses import dataclass
from typing import NamedTuple

import numba
import numpy as np
import pytest
from conftest import assert_same_bits, flatten, normal
from hypothesis import given, settings
from hypothesis import strategies as st

from numbarnn import (
    GRU,
    LSTM,
    Activation,
    Dense,
    Dropout,
    Embedding,
    EmbeddingBag,
    IndRNN,
    MinGRU,
    MinLSTM,
    Model,
    OneHot,
    losses,
    optim,
)
from numbarnn.cells.contract import check
from numbarnn.errors import DivergedError, ShapeError, TokenError
from numbarnn.kernels.cpu import online

C, T = 3, 40
# Sums of T terms in another order.
TOLERANCE = {"float64": 1e-12, "float32": 2e-5}
# A model, its loss, and whether its targets are classes: as few kernels as show all that kernels do.
EXACT = {
    "values": (lambda: Model([MinGRU(6), Dense(2)], input_size=C, dtype="float64"), "mse"),
    "deep": (lambda: Model([MinGRU(20), Dense(17, activation="tanh"), Dense(3)], input_size=C, dtype="float64"), "mse"),
    "no-bias": (lambda: Model([MinGRU(8, bias=False), Dense(2, bias=False)], input_size=C, dtype="float64"), "mse"),
    "activated": (
        lambda: Model([Activation("tanh"), Dropout(0.5), MinGRU(5), Activation("tanh")], input_size=C, dtype="float64"),
        "mse",
    ),
    "last": (lambda: Model([MinGRU(6, return_sequences=False), Dense(2)], input_size=C, dtype="float64"), "mse"),
    "tokens": (
        lambda: Model([OneHot(5), MinLSTM(9), Dense(4)], dtype="float64"),
        losses.SoftmaxCrossEntropy((1.0, 2.0, 0.5, 1.5), label_smoothing=0.1),
    ),
    "units": (lambda: Model([IndRNN(33, activation="tanh")], input_size=C), losses.Huber(0.3)),
}


def data(model, loss, steps=T, seed=0):
    """Return inputs and targets of a sequence."""
    generator = np.random.default_rng(seed)
    first, size = model.signals[0], model.signals[-1].size
    bag = (first.bag,) if first.bag else ()
    x = (
        generator.integers(0, first.size, (steps, *bag))
        if first.tokens
        else generator.standard_normal((steps, first.size))
    )
    classes = losses.make_loss(loss).name == "softmax_cross_entropy"
    y = generator.integers(0, size, steps) if classes else generator.standard_normal((steps, size)).astype(model.dtype)
    return x if first.tokens else x.astype(model.dtype), y


def summed(stream, x, y, **options):
    """Return the sums of the losses and, in float64, of the gradients of a stream that learns with fixed weights."""
    total, gradient = 0.0, 0.0
    for x_t, y_t in zip(x, y, strict=True):
        total += stream.learn(x_t, y_t, optimizer="sgd", learning_rate=0.0, **options)
        gradient = gradient + np.concatenate([np.float64(part).ravel() for part in stream.gradients.values()])
    return total, gradient


def flat(gradients):
    """Return gradients by name as one array."""
    return np.concatenate([part.ravel() for part in gradients.values()])


def reference(model, x, y, loss, state=None):
    """Return the summed loss and the flat gradient of a sequence with a target at every step."""
    if model.signals[-1].sequence:
        value, gradients = model.loss_and_grad(x[None], y[None], loss, state=state, reduction="sum")
        return value, flat(gradients)
    prefixes = [
        model.loss_and_grad(x[None, : t + 1], y[t][None], loss, state=state, reduction="sum") for t in range(len(x))
    ]
    return sum(value for value, _ in prefixes), sum(flat(gradients) for _, gradients in prefixes)


def assert_close(found, expected, tolerance):
    """Compare (loss, gradient) relative to the largest entry."""
    assert math.isclose(found[0], expected[0], rel_tol=tolerance)
    assert np.abs(found[1] - expected[1]).max() <= tolerance * np.abs(expected[1]).max()


# The exact gradient


@pytest.mark.parametrize("name", EXACT)
def test_exact_gradients_add_up_to_those_of_the_sequence(name):
    make, loss = EXACT[name]
    model = make()
    x, y = data(model, loss)
    before = model.params.flat.copy()
    assert_close(summed(model.stream(), x, y, loss=loss), reference(model, x, y, loss), TOLERANCE[str(model.dtype)])
    assert_same_bits(model.params.flat, before)
    assert model.loss == losses.make_loss(loss)


def test_exact_gradients_over_many_steps():
    model = EXACT["values"][0]()
    x, y = data(model, "mse", 5000)
    assert_close(summed(model.stream(), x, y, loss="mse"), reference(model, x, y, "mse"), 1e-11)


@settings(max_examples=12, deadline=None)
@given(st.integers(1, 40), st.integers(1, 20), st.integers(1, 20), st.booleans())
def test_exact_gradients_of_any_sizes(hidden, inputs, outputs, bias):
    model = Model([MinGRU(hidden, bias=bias), Dense(outputs, bias=bias)], input_size=inputs, dtype="float64")
    x, y = data(model, "mse", 12)
    assert_close(summed(model.stream(), x, y, loss="mse"), reference(model, x, y, "mse"), 1e-12)


def test_a_window_of_all_steps_has_the_exact_gradient():
    model = EXACT["deep"][0]()
    x, y = data(model, "mse")
    exact, window = model.stream(), model.stream()
    for x_t, y_t in zip(x, y, strict=True):
        losses_ = [s.learn(x_t, y_t, loss="mse", learning_rate=0.0, window=w) for s, w in ((exact, None), (window, T))]
        assert_close((losses_[0], flat(exact.gradients)), (losses_[1], flat(window.gradients)), 1e-12)


class Twice(NamedTuple):
    """Two states, each of which depends on both: c = tanh(z) + a c' + h' / 4, h = b c + h' / 2."""

    gates = preactivations = ("z",)
    from_input = {"z": "z"}
    from_hidden = {}
    states = ("h", "c")
    saved = ("t",)
    diagonal = ("a", "b")

    @staticmethod
    def forward(cell, preactivations, states, diagonal):
        (z,), (h, c), (a, b) = preactivations, states, diagonal
        t = np.tanh(z)
        c = t + a * c + h * 0.25
        return (b * c + h * 0.5, c), (t,)

    @staticmethod
    def backward(cell, saved, states, diagonal, after, gradients):
        (t,), (h, c), (a, b), (dh, dc) = saved, states, diagonal, gradients
        dc = dc + b * dh
        return (
            (dc * (1.0 - t * t),),
            (dh * 0.5 + dc * type(h)(0.25), dc * a),
            (dc * c, dh * after[1]),
        )


@numba.njit(error_model="numpy")
def carry(cell, chain, values, state, previous, factors, carried):
    online._factors(cell, chain, values, state, previous, factors)
    online._carry(cell, chain, state, -1, factors, previous, carried)


def test_sensitivities_of_a_cell_with_two_states():
    check(Twice)
    inputs, width, cell = 2, 3, Twice()
    x, start = normal(0, 7, inputs), normal(1, (inputs + 3) * width)  # weights of each input, biases, a, b

    def run(weights, after=lambda *arrays: None):
        """Return the last states (2, width)."""
        rows, states = weights.reshape(-1, width), np.zeros((2, width))
        for x_t in x:
            z, before = rows[:inputs].T @ x_t + rows[inputs], states
            states = np.array(Twice.forward(cell, (z,), tuple(before), tuple(rows[inputs + 1 :]))[0])
            after(z, x_t, before)
        return states

    chain = np.zeros(online.FIRST, np.int64)
    chain[[online.INPUTS, online.WIDTH, online.INPUT]] = inputs, width, width
    carried, factors = np.zeros((inputs + 3) * 2 * width), np.zeros(2 * (1 + 2 + 2) * width + 4)
    factors[-4:] = 1, 0, 0, 1

    def after(z, x_t, before):
        carry(cell, chain, start[-2 * width :], np.concatenate([z, x_t]), before.reshape(-1).copy(), factors, carried)

    run(start, after)
    central = [(run(start + row) - run(start - row)) / 2e-5 for row in 1e-5 * np.eye(start.size)]
    for (row, unit), slopes in zip(np.ndindex(inputs + 3, width), central, strict=True):
        np.testing.assert_allclose(carried.reshape(-1, 2, width)[row, :, unit], slopes[:, unit], rtol=1e-7, atol=1e-8)


# The window


@pytest.mark.parametrize("sequence", [True, False])
def test_window_gradients_are_those_of_the_window(sequence):
    layers = [Dropout(0.5), GRU(4), LSTM(5, num_layers=2, return_sequences=sequence), Dense(2)]
    model, window = Model(layers, input_size=C, dtype="float64"), 4
    x, y = data(model, "mse", 9)
    stream, plain, states = model.stream(), model.stream(), []
    for t in range(len(x)):
        states.append(stream.snapshot())
        plain.restore(states[-1])
        output, before = plain.step(x[t]).copy(), model.copy()
        loss = stream.learn(x[t], y[t], loss="mse", optimizer="sgd", learning_rate=0.1, window=window)
        assert math.isclose(loss, np.mean((output - y[t]) ** 2), rel_tol=1e-14)
        assert_same_bits(stream.outputs, output)
        first = max(0, t - window + 1)
        weight, target = np.zeros((1, t - first + 1)), y[None, first : t + 1]
        weight[0, -1] = 1
        options = {"sample_weight": weight} if sequence else {}
        target = target if sequence else target[:, -1]
        given = x[None, first : t + 1], target, "mse"
        _, expected = before.loss_and_grad(*given, state=states[first], reduction="sum", **options)
        assert_same_bits(flat(stream.gradients), flat(expected))
        assert_same_bits(model.params.flat, before.params.flat - 0.1 * flat(expected))


@pytest.mark.parametrize("first", [Embedding(5, 3), EmbeddingBag(5, 3, bag=2)])
def test_window_of_tokens(first):
    model = Model([first, MinGRU(6, num_layers=2), Dense(4)], dtype="float64")
    x, y = data(model, "softmax_cross_entropy", 6)
    total, gradient = summed(model.stream(), x, y, loss="softmax_cross_entropy", window=6)
    assert_close((total, gradient), reference(model, x, y, "softmax_cross_entropy"), 1e-12)


@dataclass(frozen=True)
class Own(losses.Loss):
    """Squared error, in NumPy."""

    output_activation = None

    def value_and_gradient(self, outputs, target):
        d = outputs - np.asarray(target)
        return (d * d).mean(axis=2), 2 * d / d.shape[2]


def test_window_with_a_loss_in_numpy():
    model = Model([LSTM(4), Dense(2)], input_size=C, dtype="float64")
    x, y = data(model, "mse", 5)
    found = summed(model.stream(), x, y, loss=Own(), window=5)
    assert_close(found, reference(model, x, y, "mse"), 1e-13)


# Optimizers, states, copies


OPTIMIZERS = {
    "sgd": "sgd",
    "momentum": optim.SGD(momentum=0.9, nesterov=True, weight_decay=0.1),
    "rmsprop": "RMSprop",
    "centered": optim.RMSprop(centered=True),
    "adagrad": optim.Adagrad(lr_decay=0.1),
    "adam": "adam",
    "amsgrad": optim.Adam(amsgrad=True),
    "adamw": optim.AdamW(betas=(0.8, 0.9)),
}


@pytest.mark.parametrize("window", [None, 3])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_updates_are_those_of_the_optimizer(name, window):
    model = EXACT["deep"][0]()
    x, y = data(model, "mse", 6)
    optimizer, stream = optim.make_optimizer(OPTIMIZERS[name]), model.stream()
    weights, arrays = model.params.flat.copy(), optimizer.start(model.params.size, model.dtype)
    for t, rate in enumerate((None, 0.1, 0.1, 0.01, None, 0.2)):
        plain = model.stream()
        plain.restore(stream.snapshot())
        expected = plain.step(x[t]).copy()
        stream.learn(x[t], y[t], loss="mse", optimizer=OPTIMIZERS[name], learning_rate=rate, window=window)
        assert_same_bits(stream.outputs, expected)
        optimizer.update(
            weights, flat(stream.gradients), arrays, t + 1, optimizer.learning_rate if rate is None else rate
        )
        assert_same_bits(model.params.flat, weights, f"weights after step {t + 1}")
        if t == 3:  # a copy goes on as the stream would
            stream = pickle.loads(pickle.dumps(stream))
            model = stream.model


def test_coefficients_that_come_to_rest():
    model = EXACT["values"][0]()
    x, y = data(model, "mse", 2)
    stream = model.stream()
    stream.learn(x[0], y[0], loss="mse")
    stream._learner.steps = 40960  # as after so many steps: the next one finds that the coefficients stay as they are
    for _ in range(2):
        stream.learn(x[0], y[0], loss="mse")
        expected = optim.Adam().coefficients(stream._learner.steps, 0.001)
        assert_same_bits(stream._learner._coefficients, np.array(expected))
    assert stream._learner._known
    stream.learn(x[0], y[0], loss="mse", learning_rate=0.5)
    assert_same_bits(stream._learner._coefficients, np.array(optim.Adam().coefficients(40964, 0.5)))


@pytest.mark.parametrize("window", [None, 3])
def test_copies_go_on_and_leave_the_original_alone(window):
    model = EXACT["values"][0]()
    x, y = data(model, "mse", 8)
    stream = model.stream()
    for t in range(4):
        stream.learn(x[t], y[t], loss="mse", window=window)
    other = copy.deepcopy(stream)
    assert other.model is not model
    for t in range(4, 8):
        assert stream.learn(x[t], y[t], loss="mse", window=window) == other.learn(x[t], y[t], loss="mse", window=window)
    assert_same_bits(other.model.params.flat, model.params.flat)
    assert_same_bits(flat(other.gradients), flat(stream.gradients))


@pytest.mark.parametrize("window", [None, 5])
def test_gradients_end_at_a_state_that_was_restored(window):
    model = EXACT["values"][0]()
    x, y = data(model, "mse", 10)
    stream = model.stream()
    summed(stream, x[:5], y[:5], loss="mse", window=window)
    state = stream.snapshot()
    stream.restore(state)
    assert_close(
        summed(stream, x[5:], y[5:], loss="mse", window=window), reference(model, x[5:], y[5:], "mse", state), 1e-12
    )
    stream.reset()
    assert_close(summed(stream, x[:5], y[:5], loss="mse", window=window), reference(model, x[:5], y[:5], "mse"), 1e-12)


@pytest.mark.parametrize("window", [None, 5])
def test_steps_without_a_target_count_in_later_gradients(window):
    model = EXACT["values"][0]()
    x, y = data(model, "mse", 5)
    stream, before = model.stream(), model.params.version
    options = {"loss": "mse", "optimizer": "sgd", "learning_rate": 0.0, "window": window}
    for call in (stream.step, lambda x_t: stream.learn(x_t, y[0], **options)):
        call(x[0])
    stream.reset()
    assert stream.learn(x[0], None, **options) == 0.0
    stream.step(x[1])
    assert model.params.version == before + 1  # the one step with a target
    found = summed(stream, x[2:], y[2:], loss="mse", window=window)
    weight = np.ones((1, 5))
    weight[0, :2] = 0
    value, gradients = model.loss_and_grad(x[None], y[None], "mse", reduction="sum", sample_weight=weight)
    assert_close(found, (value, flat(gradients)), 1e-12)


@pytest.mark.parametrize("window", [None, 3])
def test_targets_that_are_ignored_change_nothing(window):
    model = EXACT["tokens"][0]()
    stream, loss = model.stream(), losses.SoftmaxCrossEntropy(ignore_index=2)
    stream.learn(1, 0, loss=loss, window=window)
    before, plain = model.params.flat.copy(), model.stream()
    plain.restore(stream.snapshot())
    assert stream.learn(4, 2, loss=loss, window=window) == 0.0
    assert_same_bits(stream.outputs, plain.step(4))
    assert_same_bits(model.params.flat, before)


@pytest.mark.parametrize("window", [None, 3])
def test_probabilities_as_targets(window):
    model = EXACT["tokens"][0]()
    stream, target = model.stream(), np.array([0.1, 0.2, 0.3, 0.4])
    for expected in (target, np.array(3), target):  # between classes
        value, gradients = model.loss_and_grad(
            np.array([[2]]), expected[None, None], "softmax_cross_entropy", reduction="sum", state=stream.snapshot()
        )
        stream.restore(stream.snapshot())
        found = stream.learn(2, expected, loss="softmax_cross_entropy", learning_rate=0.1, window=window)
        assert_close((found, flat(stream.gradients)), (value, flat(gradients)), 1e-12)


@pytest.mark.parametrize("window", [None, 3])
def test_all_see_the_weights_and_changes_from_outside_are_learned_on(window):
    model = EXACT["values"][0]()
    x, y = data(model, "mse", 4)
    stream, other = model.stream(), model.stream()
    for t in range(4):
        other.restore(stream.snapshot())
        expected = other.step(x[t]).copy()
        stream.learn(x[t], y[t], loss="mse", learning_rate=0.1, window=window)
        assert_same_bits(stream.outputs, expected)
        outputs, state = model.forward(x[None, t : t + 1], other.snapshot())
        assert_same_bits(other.step(x[t]), outputs[0, 0])
        assert_same_bits(flatten(state)[0], flatten(other.snapshot())[0])
        if t == 1:
            model.set_flat(model.params.flat * 0.5)
        if t == 2:
            model.stream().learn(x[0], y[0], loss="mse", learning_rate=0.1)
    fresh = model.copy()
    assert_same_bits(fresh.params.flat, model.params.flat)


def test_forms_of_one_value():
    model = Model([MinGRU(6), Dense(1)], input_size=1, dtype="float64")
    found = []
    for x_t, y_t in ((0.5, 2.0), (np.array([0.5]), np.array([2.0])), ([0.5], [2]), (np.float32(0.5), np.float32(2.0))):
        found.append(model.stream().learn(x_t, y_t, loss="mse", learning_rate=0.0))
    column = np.array([[2.0, 1.0], [3.0, 1.0]])[:, 0]
    found.append(model.stream().learn(0.5, column[:1], loss="mse", learning_rate=0.0))
    assert len(set(found)) == 1
    assert isinstance(found[0], float)


def test_the_loss_of_the_last_fit_is_the_default():
    model = EXACT["values"][0]()
    x, y = data(model, "mse", 5)
    with pytest.raises(ValueError, match="loss must be given"):
        model.stream().learn(x[0], y[0])
    model.fit(x[None], y[None], loss="mae", epochs=1, verbose=0)
    expected = np.mean(np.abs(model.stream().step(x[0]) - y[0]))
    assert math.isclose(model.stream().learn(x[0], y[0]), expected, rel_tol=1e-14)


# Errors


def assert_refused(layers, message, loss="mse", **options):
    model = Model(layers, input_size=None if hasattr(layers[0], "features") else C, dtype="float64")
    stream = model.stream()
    x, y = data(model, loss, 1)
    with pytest.raises(ValueError, match=message):
        stream.learn(x[0], y[0], loss=loss, **options)


@pytest.mark.parametrize("window", [None, 3])
@pytest.mark.parametrize("target", [3, np.int64(3), None])
def test_weights_of_other_classes_are_refused(target, window):
    model = EXACT["tokens"][0]()
    with pytest.raises(ShapeError, match="class_weight must name 4 classes, got 2"):
        model.stream().learn(1, target, loss=losses.SoftmaxCrossEntropy((1.0, 2.0)), window=window)
    assert model.loss is None


class Following(losses.SoftmaxCrossEntropy):
    """Cross-entropy whose targets are the classes after those that are given."""

    def targets(self, target, size, layout, dtype):
        return super().targets((np.asarray(target) + 1) % size, size, layout, dtype)


class Doubled(Following):
    def weights(self, rows, layout, sample_weight):
        return np.full(rows.size, 2.0)


class Repeated(Following):
    def targets(self, *given):
        return np.repeat(super().targets(*given), 2)


@pytest.mark.parametrize("window", [None, 3])
@pytest.mark.parametrize("form", [int, np.int64])
def test_targets_of_a_loss_of_ones_own(form, window):
    make = EXACT["tokens"][0]
    expected = make().stream().learn(1, 3, loss="softmax_cross_entropy", window=window)
    assert make().stream().learn(1, form(2), loss=Following(), window=window) == expected


def test_losses_of_ones_own_that_are_not_exact_are_refused():
    stream = EXACT["tokens"][0]().stream()
    with pytest.raises(ValueError, match=r"Doubled\.weights is its own; pass window=32"):
        stream.learn(1, 2, loss=Doubled())
    with pytest.raises(ShapeError, match=r"Repeated\.targets must return 1 value for one step, got 2"):
        stream.learn(1, 2, loss=Repeated())


@pytest.mark.parametrize("window", [None, 3])
def test_a_target_that_another_thread_refills_is_the_one_that_was_checked(window):
    target = np.array(1)

    class Refilled(losses.SoftmaxCrossEntropy):
        def targets(self, *given):
            target[...] = 3
            return super().targets(*given)

    make = EXACT["tokens"][0]
    expected = make().stream().learn(1, 1, loss="softmax_cross_entropy", window=window)
    assert make().stream().learn(1, target, loss=Refilled(), window=window) == expected


def test_inputs_and_targets_at_odd_addresses():
    model = EXACT["values"][0]()
    x, y = data(model, "mse", 1)
    odd = [np.frombuffer(b"." + array.tobytes(), model.dtype, offset=1) for array in (x[0], y[0])]
    assert not any(array.flags.aligned for array in odd)
    expected = model.copy().stream().learn(x[0], y[0], loss="mse")
    assert model.stream().learn(*odd, loss="mse") == expected


def test_what_is_not_exact_is_refused():
    assert_refused([LSTM(4)], r"without a recurrent product .*window=32")
    assert_refused([MinGRU(4), MinGRU(4)], "for one recurrent layer")
    assert_refused([MinGRU(4, num_layers=2)], "for one recurrent layer")
    assert_refused([Dense(4), MinGRU(4)], "weights of the Dense 'dense' below it; pass window")
    assert_refused([Embedding(5, 4), MinGRU(4)], "OneHot does what Embedding does")
    assert_refused([Dense(4)], "window must be 1")
    assert_refused([MinGRU(4)], "needs a loss that is compiled", loss=Own())
    assert_refused([MinGRU(4)], "loss must be one of single steps", loss="ctc", window=2)
    assert_refused([MinGRU(4)], "the model has 4 outputs?", loss=losses.Quantile((0.1, 0.5, 0.9)))
    assert_refused([MinGRU(4)], "window must be", window=0)
    assert_refused([MinGRU(4)], "learning_rate must", learning_rate=-1)
    assert_refused([MinGRU(4)], "optimizer must be one of", optimizer="adan")


@pytest.mark.parametrize("window", [None, 3])
def test_arguments_that_are_wrong_leave_all_as_it_was(window):
    model = EXACT["values"][0]()
    x, y = data(model, "mse", 3)
    stream = model.stream()
    with pytest.raises(ValueError, match="gradients are those of learn"):
        _ = stream.gradients
    options = {"loss": "mse", "optimizer": "sgd", "window": window}
    stream.learn(x[0], y[0], **options)
    state, before = stream.snapshot(), model.params.flat.copy()
    wrong = [
        (x[1], np.array([1.0, np.nan]), {}, ValueError, "y_t has 1 NaN.*y_t=None"),
        (np.array([1.0, np.inf, 0.0]), y[1], {}, ValueError, "x_t has 1 NaN"),
        (x[1], y[1][None], {}, ShapeError, r"y_t must have shape \(2,\).*take y_t\[0\]"),
        (x[1], "abc", {}, (TypeError, ShapeError), "y_t"),
        (x[1][None], y[1], {}, ShapeError, "x_t must have shape"),
        (x[1], y[1], {"optimizer": "adam"}, ValueError, "optimizer must be that of the first call"),
        (x[1], y[1], {"loss": "mae"}, ValueError, "loss must be that of the first call"),
        (x[1], y[1], {"window": 7}, ValueError, "window must be that of the first call"),
        (x[1], y[1], {"learning_rate": np.inf}, ValueError, "learning_rate must"),
    ]
    for x_t, y_t, others, kind, message in wrong:
        with pytest.raises(kind, match=message):
            stream.learn(x_t, y_t, **(options | others))
        assert_same_bits(flatten(stream.snapshot())[0], flatten(state)[0])
        assert_same_bits(model.params.flat, before)
    stream.learn(x[1], y[1], loss=losses.make_loss("mse"), optimizer=optim.SGD(), window=window)  # the same by object


def test_tokens_and_classes_that_are_unknown():
    stream, options = EXACT["tokens"][0]().stream(), {"loss": "softmax_cross_entropy"}
    for x_t, y_t, name in ((5, 0, "x_t"), (0, 4, "y_t"), (0, -1, "y_t")):
        with pytest.raises(TokenError, match=name):
            stream.learn(x_t, y_t, **options)


@pytest.mark.parametrize("window", [None, 3])
@pytest.mark.parametrize("scale", [1e200, 1.0])
def test_divergence_leaves_the_weights(scale, window):
    model = EXACT["values"][0]()
    x, y = data(model, "mse", 2)
    stream = model.stream()
    stream.learn(x[0], y[0], loss="mse", optimizer="sgd", window=window)
    before, expected = model.params.flat.copy(), model.stream()
    expected.restore(stream.snapshot())
    with pytest.raises(DivergedError, match="smaller learning_rate"):
        stream.learn(x[1], y[1] * scale, loss="mse", optimizer="sgd", learning_rate=1e300, window=window)
    assert_same_bits(model.params.flat, before)
    assert_same_bits(stream.outputs, expected.step(x[1]))
    stream.reset()
    assert math.isfinite(stream.learn(x[1], y[1], loss="mse", optimizer="sgd", window=window))
