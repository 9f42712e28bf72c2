"""The contract of every registered cell: equations, gradients, lengths, chunks, directions, threads, NaN, machine code."""

import platform
import re
from typing import NamedTuple

import naive
import numba
import numpy as np
import pytest
from conftest import (
    DTYPES,
    GRADIENT_TOLERANCE,
    RECORDS,
    TOLERANCE,
    VARIANTS,
    assert_close,
    assert_same_bits,
    check_gradients,
    flatten,
    naive_options,
    naive_run,
    normal,
    random_state,
    recurrent_model,
)

from numbarnn import GRU, LSTM, RNN, Model, OneHot, Recurrent, cells
from numbarnn.cells import CELLS, register, sigmoid, tanh
from numbarnn.cells.contract import has_inner
from numbarnn.kernels.compile import foreign
from numbarnn.kernels.cpu import recurrent
from numbarnn.kernels.cpu.simd import target

every_cell = pytest.mark.parametrize("record", RECORDS.values(), ids=RECORDS)
every_dtype = pytest.mark.parametrize("dtype", DTYPES)
directions = pytest.mark.parametrize("bidirectional", [False, True], ids=["forward", "bidirectional"])
RAGGED = [4, 6, 0, 1, 6]


@pytest.mark.parametrize("name", CELLS)
def test_naive_equation_exists(name):
    _, states = naive.cell(name)
    assert states == len(CELLS[name].states)


# Equations


@every_cell
@every_dtype
@directions
@pytest.mark.parametrize("lengths", [None, RAGGED], ids=["full", "ragged"])
def test_outputs_and_final_states(record, dtype, bidirectional, lengths):
    model = recurrent_model(record, 5, 19, dtype, num_layers=2, bidirectional=bidirectional)
    x, state = normal(0, 5, 6, 5, dtype=dtype), random_state(model, 5)
    outputs, final = model.forward(x, state, lengths)
    expected_outputs, expected_final = naive_run(model, x, state, lengths)
    assert np.ptp(expected_outputs) > 0.1  # a comparison of constants would prove nothing
    assert_close(outputs, expected_outputs, TOLERANCE[dtype], "outputs")
    for name, array, expected in zip(record.states, final[0], expected_final, strict=True):
        assert_close(array, expected, TOLERANCE[dtype], f"final {name}")


@every_cell
@every_dtype
def test_every_state_at_every_step(record, dtype):
    # The same sample cut off after 0, 1, 2 ... steps: its final states are the states of each step.
    steps = 7
    model = recurrent_model(record, 3, 17, dtype)
    x = np.repeat(normal(1, 1, steps, 3, dtype=dtype), steps + 1, axis=0)
    state = tuple(
        tuple(np.repeat(a[:, :1], steps + 1, axis=1) for a in entry) for entry in random_state(model, steps + 1)
    )
    lengths = np.arange(steps + 1)
    _, final = model.forward(x, state, lengths)
    _, expected = naive_run(model, x, state, lengths)
    for name, array, e in zip(record.states, final[0], expected, strict=True):
        assert_close(array, e, TOLERANCE[dtype], name)


@every_cell
@every_dtype
@pytest.mark.parametrize("bias", [True, "single", False])
def test_biases(record, dtype, bias):
    model = recurrent_model(record, 4, 6, dtype, bias=bias)
    x = normal(2, 3, 4, 4, dtype=dtype)
    assert_close(model.forward(x)[0], naive_run(model, x)[0], TOLERANCE[dtype])


@every_cell
@every_dtype
def test_everything_of_size_one(record, dtype):
    model = recurrent_model(record, 1, 1, dtype)
    x, state = normal(7, 1, 1, 1, dtype=dtype), random_state(model, 1, seed=8)
    outputs, final = model.forward(x, state)
    expected_outputs, expected_final = naive_run(model, x, state)
    assert_close(outputs, expected_outputs, 2 * TOLERANCE[dtype])
    for array, expected in zip(final[0], expected_final, strict=True):
        assert_close(array, expected, 2 * TOLERANCE[dtype])


@every_cell
@every_dtype
def test_wide_inputs_and_states(record, dtype):
    # More than 320 values of k: the products are taken in blocks.
    model = recurrent_model(record, 330, 340, dtype)
    x = normal(9, 2, 3, 330, dtype=dtype)
    assert_close(model.forward(x)[0], naive_run(model, x)[0], TOLERANCE[dtype])


@every_cell
def test_as_python_function(record):
    """A cell's functions, called with NumPy scalars, agree with the naive step and with its own derivative."""
    cell = type(record)
    step, _ = naive.cell(cell.__name__)
    generator = np.random.default_rng(3)
    sizes = {"weight_ih": (len(cell.gates), 1), "weight_hh": (len(cell.gates), 1)}
    sizes |= {"bias_ih": len(cell.gates), "bias_hh": len(cell.gates)} | {f"weight_{unit}": 1 for unit in cell.diagonal}
    for _ in range(20):
        weights = {name: generator.standard_normal(size) for name, size in sizes.items()}
        x, states = generator.standard_normal(), tuple(generator.standard_normal(len(cell.states)))
        preactivations = np.zeros(len(cell.preactivations))

        def enter(side, rows, cell=cell, preactivations=preactivations):
            for plane, gate in side.items():
                preactivations[cell.preactivations.index(plane)] += rows[cell.gates.index(gate)]

        enter(cell.from_input, weights["weight_ih"][:, 0] * x + weights["bias_ih"])
        enter(cell.from_hidden, weights["weight_hh"][:, 0] * states[0] + weights["bias_hh"])
        diagonal = tuple(weights[f"weight_{unit}"][0] for unit in cell.diagonal)
        if has_inner(cell):
            (inner,), kept = cell.inner_forward(record, tuple(preactivations), states, diagonal)
            result = cell.inner_backward(record, kept, states, diagonal, (1.5,))
            arguments = preactivations.copy(), states, diagonal
            assert_derivatives(lambda *parts: 1.5 * cell.inner_forward(record, *parts)[0][0], arguments, result)
            enter(cell.from_inner, weights["weight_hh"][:, 0] * inner + weights["bias_hh"])
        following, saved = cell.forward(record, tuple(preactivations), states, diagonal)
        expected = step(np.array([x]), tuple(np.array([s]) for s in states), weights, **naive_options(record))
        assert_close(following, np.concatenate(expected), 1e-14)

        # The gradient of a weighted sum of the next states, by pre-activations, states (direct paths) and diagonal weights.
        factors = tuple(generator.standard_normal(len(cell.states)))
        results = cell.backward(record, saved, states, diagonal, following, factors)
        assert_derivatives(
            lambda *parts, f=factors: np.dot(cell.forward(record, *parts)[0], f),
            (preactivations, states, diagonal),
            results,
        )


def assert_derivatives(function, arguments, expected):
    """Compare central differences of a scalar function of three tuples of numbers with what a cell returned."""
    cuts = np.cumsum([len(part) for part in arguments])[:-1]
    numeric = naive.central_differences(
        lambda flat: function(*map(tuple, np.split(flat, cuts))), np.concatenate(arguments)
    )
    assert_close(np.concatenate(expected), numeric, GRADIENT_TOLERANCE)


@every_cell
def test_as_python_function_keeps_float32(record):
    cell = type(record)

    def numbers(names):
        return tuple(np.float32(0.3 + 0.1 * i) for i in range(len(names)))

    preactivations, states, diagonal = numbers(cell.preactivations), numbers(cell.states), numbers(cell.diagonal)
    following, saved = cell.forward(record, preactivations, states, diagonal)
    results = cell.backward(record, saved, states, diagonal, following, numbers(cell.states))
    values = [*following, *saved, *(value for part in results for value in part)]
    if has_inner(cell):
        inner, kept = cell.inner_forward(record, preactivations, states, diagonal)
        results = cell.inner_backward(record, kept, states, diagonal, inner)
        values += [*inner, *kept, *(value for part in results for value in part)]
    assert {type(value) for value in values} == {np.float32}


# Gradients


@every_cell
@directions
@pytest.mark.parametrize("lengths", [None, [3, 0, 4]], ids=["full", "ragged"])
def test_gradients(record, bidirectional, lengths):
    model = recurrent_model(record, 2, 3, bidirectional=bidirectional, seed=4)
    check_gradients(model, normal(6, 3, 4, 2), lengths=lengths)


@every_cell
def test_gradients_of_a_stack(record):
    model = recurrent_model(record, 2, 2, num_layers=3, bidirectional=True, seed=4)
    check_gradients(model, normal(6, 2, 3, 2), lengths=[3, 1])


@every_cell
def test_gradients_of_size_one(record):
    check_gradients(recurrent_model(record, 1, 1, seed=4), normal(6, 1, 1, 1))


@every_cell
def test_gradients_with_one_bias(record):
    check_gradients(recurrent_model(record, 2, 3, bias="single", seed=4), normal(6, 2, 3, 2))


@every_cell
@every_dtype
def test_gradients_of_many_rows(record, dtype):
    # The weight gradients sum in blocks of 256 rows; central differences along one random direction are enough here.
    # With these numbers no unit of relu is so near its kink that the differences cross it.
    model = recurrent_model(record, 3, 5, "float64", seed=5)
    x = normal(6, 40, 20, 3)
    lengths = np.random.default_rng(0).integers(0, 21, 40)
    _, _, pullback = model.vjp(x, None, lengths)
    doutputs = normal(7, 40, 20, 5) / 40
    flat, direction = model.params.flat.copy(), normal(8, model.params.flat.size)
    gradient = pullback(doutputs).params

    def value(shift):
        model.set_flat(flat + shift * direction)
        return (model.forward(x, None, lengths)[0] * doutputs).sum()

    expected = naive.central_differences(value, np.array(0.0), eps=1e-5)
    model.set_flat(flat)
    slope = sum((gradient[name] * part).sum() for name, part in model.params.views(direction).items())
    assert_close(slope, expected, GRADIENT_TOLERANCE)
    if dtype == "float32":
        narrow = recurrent_model(record, 3, 5, "float32", seed=4)
        narrow.load_state_dict(model.state_dict())
        found = narrow.vjp(x, None, lengths)[2](doutputs).params
        for name, array in found.items():
            assert_close(array, gradient[name], 2e-5, name)


@every_cell
@directions
def test_pullback_is_linear_and_repeatable(record, bidirectional):
    model = recurrent_model(record, 3, 16, "float32", bidirectional=bidirectional)
    outputs, final, pullback = model.vjp(normal(0, 1, 5, 3))
    ones = np.ones_like(outputs)
    first = pullback(ones)
    # The results belong to the caller: changing them must not change what the pullback keeps.
    outputs *= 0
    for array in flatten(final):
        array *= 0
    again, twice = pullback(ones), pullback(2 * ones)
    for name, array in first.params.items():
        assert_same_bits(again.params[name], array, name)
        assert_close(twice.params[name], 2 * array, 1e-6, name)
    assert_same_bits(again.x, first.x)


# Lengths, chunks, directions


@every_cell
@every_dtype
@directions
def test_length_zero(record, dtype, bidirectional):
    model = recurrent_model(record, 3, 5, dtype, bidirectional=bidirectional)
    x, state = normal(0, 3, 4, 3, dtype=dtype), random_state(model, 3)
    outputs, final, pullback = model.vjp(x, state, [0, 4, 0])
    assert not outputs[[0, 2]].any()
    assert outputs[1].any(axis=1).any()
    dfinal = random_state(model, 3, seed=9)
    gradients = pullback(np.ones_like(outputs), dfinal)
    for start, end, dend, dstart in zip(state[0], final[0], dfinal[0], gradients.state[0], strict=True):
        assert_same_bits(end[:, [0, 2]], start[:, [0, 2]])
        assert_same_bits(dstart[:, [0, 2]], dend[:, [0, 2]])
    assert not gradients.x[[0, 2]].any()


@every_cell
@directions
def test_all_lengths_zero(record, bidirectional):
    model = recurrent_model(record, 3, 5, bidirectional=bidirectional)
    outputs, _, pullback = model.vjp(normal(0, 2, 4, 3), random_state(model, 2), [0, 0])
    gradients = pullback(np.ones_like(outputs))
    assert not outputs.any()
    for name, array in gradients.params.items():
        assert not array.any(), name


@every_cell
@every_dtype
@directions
def test_padding_may_be_anything(record, dtype, bidirectional):
    model = recurrent_model(record, 3, 18, dtype, num_layers=2, bidirectional=bidirectional)
    x = normal(0, 5, 6, 3, dtype=dtype)
    padding = np.arange(6) >= np.array(RAGGED)[:, None]
    results = []
    for fill in (0.0, np.nan):
        x[padding] = fill
        outputs, final, pullback = model.vjp(x, None, RAGGED)
        doutputs = normal(1, *outputs.shape, dtype=dtype)
        doutputs[padding] = fill
        gradients = pullback(doutputs)
        results.append([outputs, *flatten(final), *gradients.params.values(), gradients.x, *flatten(gradients.state)])
    for first, second in zip(*results, strict=True):
        assert np.isfinite(second).all()
        assert_same_bits(second, first)


@every_cell
@every_dtype
def test_chunks_equal_the_whole(record, dtype):
    model = recurrent_model(record, 3, 21, dtype, num_layers=2)
    x, state = normal(0, 4, 9, 3, dtype=dtype), random_state(model, 4)
    whole, final = model.forward(x, state)
    parts = []
    for lo, hi in ((0, 1), (1, 5), (5, 9)):
        y, state = model.forward(x[:, lo:hi], state)
        parts.append(y)
    assert_same_bits(np.concatenate(parts, axis=1), whole)
    for end, expected in zip(flatten(state), flatten(final), strict=True):
        assert_same_bits(end, expected)


@every_cell
@every_dtype
def test_steps_equal_the_whole(record, dtype):
    model = recurrent_model(record, 3, 21, dtype)
    x, state = normal(0, 2, 5, 3, dtype=dtype), None
    whole, final = model.forward(x)
    for t in range(5):
        y, state = model.step(x[:, t], state)
        assert_same_bits(y, whole[:, t])
    for end, expected in zip(flatten(state), flatten(final), strict=True):
        assert_same_bits(end, expected)


@every_cell
@every_dtype
@pytest.mark.parametrize("lengths", [None, RAGGED], ids=["full", "ragged"])
def test_reverse_half_is_forward_on_the_reversed_sequence(record, dtype, lengths):
    both = recurrent_model(record, 3, 10, dtype, bidirectional=True)
    one = recurrent_model(record, 3, 10, dtype)
    one.load_state_dict({name: both.params[f"{name}_reverse"] for name in one.params})
    x, state = normal(0, 5, 6, 3, dtype=dtype), random_state(both, 5)
    outputs, final = both.forward(x, state, lengths)
    ends = RAGGED if lengths else [6] * 5
    turned = x.copy()
    for n, length in enumerate(ends):
        turned[n, :length] = x[n, :length][::-1]
    start = (tuple(array[1:] for array in state[0]),)
    expected, expected_final = one.forward(turned, start, lengths)
    for n, length in enumerate(ends):
        assert_same_bits(outputs[n, :length, 10:], expected[n, :length][::-1])
        assert not outputs[n, length:].any()
    for array, e in zip(final[0], expected_final[0], strict=True):
        assert_same_bits(array[1:], e)


# The same bits, however the work is cut


@every_cell
@every_dtype
@pytest.mark.parametrize("hidden", [5, 40])
@pytest.mark.parametrize("lengths", [None, [5, 2, 0, 5, 4, 1, 3]], ids=["full", "ragged"])
def test_threads(record, dtype, hidden, lengths, pieces):
    results = []
    for n_threads in (1, 2, 3, 5):
        options = {"num_layers": 2, "bidirectional": True, "n_threads": n_threads}
        # A model keeps its packed weights: a new one each time.
        model = recurrent_model(record, 18, hidden, dtype, **options)
        x, state = normal(0, 7, 5, 18, dtype=dtype), random_state(model, 7)
        pieces.clear()
        outputs, final, pullback = model.vjp(x, state, lengths)
        gradients = pullback(normal(1, *outputs.shape, dtype=dtype), random_state(model, 7, seed=6))
        assert max(pieces) >= min(n_threads, 4)  # uneven lengths may leave a thread without work
        assert hidden < 40 or n_threads == 1 or sorted(pieces)[len(pieces) // 4] > 1  # nearly every kernel was cut
        results.append([outputs, *flatten(final), *gradients.params.values(), gradients.x, *flatten(gradients.state)])
    for other in results[1:]:
        for array, expected in zip(other, results[0], strict=True):
            assert_same_bits(array, expected)


@every_cell
@every_dtype
@pytest.mark.parametrize("hidden", [5, 70])
def test_samples_are_independent(record, dtype, hidden):
    # 70 units are more than four panels: one and two rows have tiles of their own.
    model = recurrent_model(record, 4, hidden, dtype, bidirectional=True)
    samples, lengths = 14, np.array([5, 3, 5, 1, 0, 2, 5, 4, 4, 5, 3, 2, 1, 5])
    x, state = normal(0, samples, 5, 4, dtype=dtype), random_state(model, samples)
    dfinal = random_state(model, samples, seed=6)

    def results(chosen):
        def some(state):
            return tuple(tuple(array[:, chosen] for array in entry) for entry in state)

        outputs, final, pullback = model.vjp(x[chosen], some(state), lengths[chosen])
        gradients = pullback(np.ones_like(outputs), some(dfinal))
        return [outputs.swapaxes(0, 1), gradients.x.swapaxes(0, 1), *flatten(final), *flatten(gradients.state)]

    together = results(np.arange(samples))
    for chosen in ([0], [3], [4], [13], [1, 12], [9, 2, 7], np.arange(3, 12)):
        for array, whole in zip(results(np.array(chosen)), together, strict=True):
            assert_same_bits(array, whole[:, chosen], f"samples {chosen}")


@every_cell
@every_dtype
@directions
def test_no_uninitialised_memory(record, dtype, bidirectional, poisoned):
    model = recurrent_model(record, 3, 18, dtype, num_layers=2, bidirectional=bidirectional)
    x, state = normal(0, 5, 6, 3, dtype=dtype), random_state(model, 5)

    def results():
        outputs, final, pullback = model.copy().vjp(x, state, RAGGED)
        gradients = pullback(np.ones_like(outputs))
        return [outputs, *flatten(final), *gradients.params.values(), gradients.x, *flatten(gradients.state)]

    expected = results()
    poisoned()
    for array, e in zip(results(), expected, strict=True):
        assert_same_bits(array, e)


# NaN


@every_cell
@every_dtype
def test_nan_stays_in_its_sample_and_its_future(record, dtype):
    model = recurrent_model(record, 3, 20, dtype, bidirectional=True)
    x = normal(0, 4, 6, 3, dtype=dtype)
    clean, clean_final = model.forward(x)
    x[2, 3, 1] = np.nan
    outputs, final = model.forward(x)
    others = [0, 1, 3]
    assert_same_bits(outputs[others], clean[others])
    assert_same_bits(outputs[2, :3, :20], clean[2, :3, :20], "forward, before the NaN")
    assert_same_bits(outputs[2, 4:, 20:], clean[2, 4:, 20:], "reverse, after the NaN")
    assert np.isnan(outputs[2, 3:, :20]).all()
    assert np.isnan(outputs[2, :4, 20:]).all()
    for array, expected in zip(final[0], clean_final[0], strict=True):
        assert np.isnan(array[:, 2]).all()
        assert_same_bits(array[:, others], expected[:, others])


# Machine code

# Packed divisions that the equations need: one for each tanh or logistic function. Backward takes most of them from what forward
# saved or gave out; only LSTM computes one again, tanh(c_t).
DIVISIONS = {
    "RNN": (1, 0),
    "LSTM": (5, 1),
    "PeepholeLSTM": (5, 1),
    "GRU": (3, 0),
    "ResetBeforeGRU": (3, 0),
    "IndRNN": (1, 0),
    "MinGRU": (1, 0),
    "MinLSTM": (3, 1),
}


@pytest.fixture(scope="module")
def x86():
    if platform.machine().lower() not in ("x86_64", "amd64"):
        pytest.skip(f"counts x86 instructions; this machine is {platform.machine()}")


@pytest.fixture(scope="module")
def assembly(x86):
    """Return a function that compiles a float32 driver of a cell anew and returns its x86 code; what lies in a cache has none."""

    def compile_driver(cell, driver):
        model = recurrent_model(cell(), 4, 20, "float32")
        outputs, _, pullback = model.vjp(normal(0, 2, 3, 4, dtype="float32"))
        pullback(outputs)
        signature = versions(driver, cell, "float32")[0]
        twin = numba.njit(nogil=True, error_model="numpy")(driver.py_func)
        twin.compile(signature)
        return twin.inspect_asm(signature)

    return compile_driver


def versions(driver, cell, dtype):
    """Return the signatures that a driver was compiled for with a cell and a dtype."""
    # The options of the record are float64 always; its weights have the dtype.
    return [s for s in driver.signatures if s[0].instance_class is cell and str(s[1].types[-1].dtype) == dtype]


def packed(assembly, instructions):
    """Count instructions on the widest registers of the target; a pair or quad of scalars in a narrow one is not a vector loop."""
    register = "%xmm" if target()[0] == 16 else "%[yz]mm"
    return len(re.findall(rf"^\s+v?(?:{instructions})\s.*{register}", assembly, re.MULTILINE))


@pytest.mark.parametrize("name", CELLS)
def test_forward_is_vectorised(name, assembly):
    assert name in DIVISIONS, f"add the packed divisions of {name} to DIVISIONS"
    if "activation" in CELLS[name]._fields and target()[0] == 16:
        pytest.skip("of the choice between two curves LLVM makes no vector loop for registers of 16 bytes")
    assert packed(assembly(CELLS[name], recurrent.forward), "divps") >= DIVISIONS[name][0]


@pytest.mark.parametrize("name", CELLS)
def test_backward_is_vectorised(name, assembly):
    assert name in DIVISIONS, f"add the packed divisions of {name} to DIVISIONS"
    code = assembly(CELLS[name], recurrent.backward)
    assert packed(code, "divps") >= DIVISIONS[name][1]
    # Every cell's backward step has a 1 - y or 1 - y^2, and nothing else in the driver subtracts numbers.
    assert packed(code, r"subps|fnmadd\d+ps") >= 1


class OnlyFirst(NamedTuple):
    """Divides and subtracts in the first phase alone, which h enters without a product."""

    gates = preactivations = ("r", "n")
    from_input = {"r": "r", "n": "n"}
    from_hidden = {}
    from_inner = {"n": "n"}
    states = ("h",)
    inner = ("rh",)
    inner_saved = ("r",)
    saved = diagonal = ()

    @staticmethod
    def inner_forward(cell, preactivations, states, diagonal):
        r = sigmoid(preactivations[0])
        return (r * states[0],), (r,)

    @staticmethod
    def inner_backward(cell, inner_saved, states, diagonal, dinner):
        (r,) = inner_saved
        da = dinner[0] * r
        return (da * states[0] * (type(r)(1) - r), r * type(r)(0)), (da,), ()

    @staticmethod
    def forward(cell, preactivations, states, diagonal):
        return (preactivations[1] + states[0],), ()

    @staticmethod
    def backward(cell, saved, states, diagonal, after, gradients):
        return (gradients[0] * type(gradients[0])(0), gradients[0]), gradients, ()


def test_first_phase_is_vectorised_and_needs_no_product(x86, monkeypatch):
    monkeypatch.setitem(CELLS, "OnlyFirst", OnlyFirst)
    register(OnlyFirst)
    model = recurrent_model(OnlyFirst(), 4, 20, "float32")
    outputs, _, pullback = model.vjp(normal(0, 2, 3, 4, dtype="float32"))
    pullback(outputs)
    for driver, instruction in ((recurrent.forward, "divps"), (recurrent.backward, r"subps|fnmadd\d+ps")):
        (signature,) = versions(driver, OnlyFirst, "float32")
        assert packed(driver.inspect_asm(signature), instruction) >= 1
    for options in ({}, {"bidirectional": True}):
        check_gradients(recurrent_model(OnlyFirst(), 2, 3, seed=4, **options), normal(6, 3, 4, 2), lengths=[3, 0, 4])


@every_dtype
@pytest.mark.parametrize("name", CELLS)
def test_one_compiled_version_serves_all(name, dtype):
    # Each version costs seconds; an array that is read-only or not contiguous in one case would make another.
    cell = CELLS[name]
    for samples, options in ((1, {}), (2, {"bidirectional": True}), (3, {"num_layers": 2, "bias": False})):
        model = recurrent_model(cell(), 2, 3, dtype, **options)
        outputs, _, pullback = model.vjp(normal(0, samples, 4, 2), None, [4, 3, 0][:samples])
        pullback(outputs)
    # Options are values: none of them, given as an integer or a number, makes another version.
    for options in ({}, *({option: 1} for option in cell._fields), *VARIANTS.get(name, {}).values()):
        model = Model([OneHot(5), Recurrent(3, cell=cell(**options))], dtype=dtype, n_threads=1)
        outputs, _, pullback = model.vjp([[1, 2], [4, 0]])
        pullback(outputs)
    for driver in (recurrent.forward, recurrent.backward):
        assert len(versions(driver, cell, dtype)) == 1


# Gates held, coupled, peeping: what follows from the equations


def outputs_of(layer, x, state=None, like=None, **changes):
    """Return outputs and final states of one layer in float64, with the parameters of the model `like`, some changed."""
    model = Model([layer], input_size=x.shape[2], dtype="float64", n_threads=1)
    if like is not None:
        own = {name.partition(".")[2]: values for name, values in like.state_dict().items()}
        model.load_state_dict({f"{model.names[0]}.{name}": values for name, values in (own | changes).items()})
    outputs, final = model.forward(x, state)
    return outputs, final[0]


def weights_of(model):
    return {name.partition(".")[2]: values for name, values in model.state_dict().items()}


def test_lstm_without_memory_is_a_plain_net():
    # f = 0, i = o = 1: h = tanh(tanh(W x + R h + b)).
    layer = LSTM(4, fix={"forget": 0.0, "input": 1.0, "output": 1.0}, init="torch")
    model = Model([layer], input_size=3, dtype="float64")
    x, h = normal(0, 2, 6, 3), np.zeros((2, 4))
    w = {name: np.split(values, 4)[2] for name, values in weights_of(model).items()}
    outputs, _ = model.forward(x)
    for t in range(6):
        h = np.tanh(
            np.tanh(x[:, t] @ w["weight_ih_l0"].T + h @ w["weight_hh_l0"].T + w["bias_ih_l0"] + w["bias_hh_l0"])
        )
        assert_close(outputs[:, t], h, 1e-14)


@every_dtype
@pytest.mark.parametrize("peepholes", [False, True])
def test_carry_is_constant_or_counts(dtype, peepholes):
    # f = 1 and i = 0 keep the carry for ever; f = i = g = 1 count steps, f = 0.5 and i = 0 halve it. To the bit.
    options = {"peepholes": peepholes, "init": "torch"}
    x, start = normal(0, 2, 40, 3, dtype=dtype), np.array([[[0.5, -2.0, 0.0, 1.25]] * 2], dtype)

    def carry(**fix):
        model = Model([LSTM(4, fix=fix, **options)], input_size=3, dtype=dtype, n_threads=1)
        return model.forward(x, ((np.zeros_like(start), start),))[1][0][1]

    assert np.array_equal(carry(forget=1, input=0), start)
    assert np.array_equal(carry(f=1.0, i=1.0, candidate=1.0), start + 40)
    assert np.array_equal(carry(f=0.5, i=0.0), start / 2**40)


def test_gru_with_held_gates():
    x, start = normal(0, 2, 6, 3), normal(1, 1, 2, 4)
    model = Model([GRU(4, init="torch")], input_size=3, dtype="float64")
    candidate = {name: np.split(values, 3)[2] for name, values in weights_of(model).items()}
    plain = Model([RNN(4)], input_size=3, dtype="float64")
    plain.load_state_dict(candidate)
    expected, _ = plain.forward(x, ((start,),))
    for reset_after in (True, False):
        # r = 1, z = 0: tanh(W x + R h + b). z = 1: the state stays.
        outputs, _ = outputs_of(
            GRU(4, reset_after=reset_after, fix={"reset": 1, "update": 0}), x, ((start,),), like=model
        )
        assert_close(outputs, expected, 1e-14)
        outputs, _ = outputs_of(GRU(4, reset_after=reset_after, fix={"z": 1.0}), x, ((start,),), like=model)
        assert_close(outputs, np.repeat(start[0][:, None], 6, axis=1), 1e-15)


def test_placement_of_the_reset_does_not_matter_to_a_diagonal_matrix():
    # R (r h) = r (R h), where the second bias of the candidate is zero.
    x, start = normal(0, 3, 7, 2), ((normal(1, 1, 3, 5),),)
    model = Model([GRU(5, bias="single")], input_size=2, dtype="float64")
    weights = weights_of(model)
    weights["weight_hh_l0"][10:] = np.diag(normal(2, 5))
    after, _ = outputs_of(GRU(5, bias="single"), x, start, like=model, **weights)
    before, _ = outputs_of(GRU(5, bias="single", reset_after=False), x, start, like=model, **weights)
    assert_close(before, after, 1e-14)
    weights["weight_hh_l0"][10:] = normal(2, 5, 5)
    after, _ = outputs_of(GRU(5, bias="single"), x, start, like=model, **weights)
    before, _ = outputs_of(GRU(5, bias="single", reset_after=False), x, start, like=model, **weights)
    assert np.abs(after - before).max() > 0.01


@every_dtype
def test_gates_of_min_lstm_that_are_both_shut(dtype):
    model = recurrent_model(CELLS["MinLSTM"](), 1, 2, dtype)
    weights = {"weight_ih_l0": np.ones((6, 1)), "bias_ih_l0": np.zeros(6)}
    model.load_state_dict({f"recurrent.{name}": values for name, values in weights.items()})
    x = np.array([[[-70.0], [-1000.0], [1000.0]]], dtype)
    outputs, _, pullback = model.vjp(x)  # each gate is a half, whatever both of them are
    assert_close(outputs[0, :, 0], [-35.0, -517.5, 241.25], 1e-6)
    for array in pullback(np.ones_like(outputs)).params.values():
        assert np.isfinite(array).all()


@every_dtype
@pytest.mark.parametrize("value", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("kind", ["LSTM", "PeepholeLSTM", "GRU", "ResetBeforeGRU"])
def test_held_gates_have_no_gradient(kind, value, dtype):
    cell = CELLS[kind]
    for index, gate in enumerate(cell.gates):
        model = recurrent_model(cell(**{f"fix_{gate}": value}), 3, 5, dtype, bidirectional=True)
        outputs, _, pullback = model.vjp(normal(0, 3, 6, 3, dtype=dtype), None, [6, 0, 4])
        for name, array in pullback(normal(1, *outputs.shape, dtype=dtype)).params.items():
            if f"weight_c{gate}" in name:
                assert not array.any(), name
            elif "weight_c" not in name:
                rows = np.split(array, len(cell.gates))
                assert not rows[index].any(), (gate, name)
                # 0 and 1 cut the paths to other gates, and a reset acts through the candidate alone.
                if value == 0.3 and gate != "n":
                    assert all(part.any() for other, part in enumerate(rows) if other != index), (gate, name)


@pytest.mark.parametrize("peepholes", [False, True])
def test_coupled_gates_are_tied_weights(peepholes):
    # 1 - sigmoid(a) = sigmoid(-a): the forget gate's weights are the input gate's with the other sign.
    x, start = normal(0, 3, 7, 2), ((normal(1, 1, 3, 4), normal(2, 1, 3, 4)),)
    model = Model([LSTM(4, coupled=True, peepholes=peepholes, init="uniform(0.9)")], input_size=2, dtype="float64")
    tied = weights_of(model)
    for name, values in tied.items():
        if "weight_c" not in name:
            values[4:8] = -values[:4]
    if peepholes:
        tied["weight_cf_l0"] = -tied["weight_ci_l0"]
    expected, ends = outputs_of(LSTM(4, peepholes=peepholes), x, start, like=model, **tied)
    outputs, final = model.forward(x, start)
    assert_close(outputs, expected, 1e-14)
    assert_close(final[0][1], ends[1], 1e-14)
    gradients = model.vjp(x, start)[2](np.ones_like(outputs)).params
    for name, array in gradients.items():
        part = array if "weight_cf" in name else array[4:8] if "weight_c" not in name else np.zeros(1)
        assert not part.any(), name


def test_coupled_gates_begin_open_to_the_past():
    # A bias of -1 of the input gate is one of 1 of a forget gate f = 1 - i.
    weights = weights_of(Model([LSTM(3, coupled=True)], input_size=2))
    assert np.array_equal(weights["bias_ih_l0"], [-1] * 3 + [0] * 9)
    assert not weights["bias_hh_l0"].any()


@every_dtype
def test_closed_peepholes_are_an_lstm(dtype):
    x = normal(0, 3, 7, 2, dtype=dtype)
    model = Model([LSTM(4)], input_size=2, dtype=dtype, n_threads=1)
    peeping = Model([LSTM(4, peepholes=True)], input_size=2, dtype=dtype, n_threads=1)
    names = {f"weight_c{gate}_l0": np.zeros(4, dtype) for gate in "ifo"}
    assert {name: values.shape for name, values in weights_of(peeping).items() if "weight_c" in name} == dict.fromkeys(
        names, (4,)
    )
    assert not any(weights_of(peeping)[name].any() for name in names)  # as biases begin
    peeping.load_state_dict(weights_of(model) | names)
    assert_same_bits(peeping.forward(x)[0], model.forward(x)[0])


def test_held_at_the_users_face():
    assert LSTM(3, fix={"forget": 1, "g": np.float32(-0.5)}).fix == {"forget": 1.0, "candidate": -0.5}
    assert LSTM(3, fix={"f": 1}).cell == LSTM(3, fix={"forget": 1.0}).cell == cells.LSTM(fix_f=1.0)
    assert LSTM(3, fix={"input": 0.0, "output": 1.0}).cell == cells.LSTM(fix_i=0.0, fix_o=1.0)
    assert GRU(3, fix={"reset": 1, "update": 0, "candidate": 0}).cell == cells.GRU(fix_r=1, fix_z=0, fix_n=0)
    assert GRU(3, fix={"r": 0.5}, reset_after=False).cell == cells.ResetBeforeGRU(fix_r=0.5)
    assert LSTM(3, peepholes=True, coupled=True).cell == cells.PeepholeLSTM(coupled=1)
    mine = {"forget": 1.0}
    layer = LSTM(3, fix=mine)
    mine["forget"] = 0.0
    assert layer.fix == {"forget": 1.0}
    assert hash(layer) == hash(LSTM(3, fix={"f": 1.0}))


# A cell of one's own


class Leaky(NamedTuple):
    """Two states, an option, a diagonal weight, and a gate that only x enters."""

    rate: float = 0.25

    gates = ("a", "k")
    preactivations = ("a", "k")
    from_input = {"a": "a", "k": "k"}
    from_hidden = {"a": "a"}
    states = ("h", "m")
    saved = ("a", "k")
    diagonal = ("u",)

    @staticmethod
    def forward(cell, preactivations, states, diagonal):
        h, m = states
        rate = type(h)(cell.rate)
        a, k = tanh(preactivations[0]), sigmoid(preactivations[1])
        return (h + rate * (a * k - h) + diagonal[0] * m, rate * m + a), (a, k)

    @staticmethod
    def backward(cell, saved, states, diagonal, after, gradients):
        a, k = saved
        h, m = states
        dh, dm = gradients
        one, rate = type(h)(1), type(h)(cell.rate)
        da, dk = dh * rate * k + dm, dh * rate * a
        return (da * (one - a * a), dk * k * (one - k)), (dh * (one - rate), dh * diagonal[0] + dm * rate), (dh * m,)


def leaky_step(x, states, weights, rate):
    h, m = states
    a, k = np.split(naive.input_product(x, weights), 2, axis=-1)
    a = np.tanh(a + np.split(naive.recurrent_product(h, weights), 2, axis=-1)[0])
    k = naive.logistic(k)
    return (1 - rate) * h + rate * a * k + weights["weight_u"] * m, rate * m + a


class Delta(NamedTuple):
    """A second recurrent product, diagonal weights in both halves, two states, an option; x, h and m enter the inner value."""

    rate: float = 0.5

    gates = ("k", "v", "q")
    preactivations = ("v", "k", "q")
    from_input = {"v": "v", "k": "k"}
    from_hidden = {"v": "v", "k": "k"}
    from_inner = {"q": "q"}
    states = ("h", "m")
    inner = ("a",)
    inner_saved = ("a", "k")
    saved = ("q", "v")
    diagonal = ("u",)

    @staticmethod
    def inner_forward(cell, preactivations, states, diagonal):
        k = sigmoid(preactivations[1])
        a = k * tanh(states[0] + diagonal[0] * states[1])
        return (a + preactivations[0],), (a, k)

    @staticmethod
    def inner_backward(cell, inner_saved, states, diagonal, dinner):
        a, k = inner_saved
        one = type(k)(1)
        curved = tanh(states[0] + diagonal[0] * states[1])
        dsum = dinner[0] * k * (one - curved * curved)
        return (
            (dinner[0], dinner[0] * a * (one - k), dinner[0] * type(k)(0)),
            (dsum, dsum * diagonal[0]),
            (dsum * states[1],),
        )

    @staticmethod
    def forward(cell, preactivations, states, diagonal):
        rate = type(preactivations[0])(cell.rate)
        q = tanh(preactivations[2])
        return (q + rate * states[1] * preactivations[0], q * diagonal[0] + rate * states[0]), (q, preactivations[0])

    @staticmethod
    def backward(cell, saved, states, diagonal, after, gradients):
        q, v = saved
        dh, dm = gradients
        one, rate = type(q)(1), type(q)(cell.rate)
        dv = dh * rate * states[1]
        dq = (dh + dm * diagonal[0]) * (one - q * q)
        return (dv, dv * type(q)(0), dq), (dm * rate, dh * rate * v), (dm * q,)


def delta_step(x, states, weights, rate):
    h, m = states
    k, v, _ = np.split(naive.input_product(x, weights) + naive.recurrent_product(h, weights), 3, axis=-1)
    inner = naive.logistic(k) * np.tanh(h + weights["weight_u"] * m) + v
    q = np.tanh(np.split(naive.recurrent_product(inner, weights), 3, axis=-1)[2])
    return q + rate * m * v, q * weights["weight_u"] + rate * h


OWN = {"Leaky": (Leaky, leaky_step, 0.4), "Delta": (Delta, delta_step, 0.3)}


@pytest.fixture(params=OWN)
def own_cell(request, monkeypatch):
    cell, step, rate = OWN[request.param]
    monkeypatch.setitem(naive.CELLS, request.param, (step, 2))
    yield register(cell)(rate=rate)
    del CELLS[request.param]


@pytest.mark.parametrize("bias", [True, "single"])
def test_own_cell(own_cell, bias):
    model = recurrent_model(own_cell, 2, 3, bidirectional=True, bias=bias)
    x, state = normal(0, 3, 4, 2), random_state(model, 3)
    outputs, final = model.forward(x, state, [4, 0, 2])
    expected_outputs, expected_final = naive_run(model, x, state, [4, 0, 2])
    assert_close(outputs, expected_outputs, TOLERANCE["float64"])
    for array, expected in zip(final[0], expected_final, strict=True):
        assert_close(array, expected, TOLERANCE["float64"])
    # Its type must not get into the files of the package's kernels, which processes without it could not read then.
    (signature,) = versions(recurrent.forward, type(own_cell), "float64")
    assert foreign(signature)
    assert not foreign(versions(recurrent.forward, cells.RNN, "float64")[0])


def test_a_class_that_is_defined_again_is_another_cell(monkeypatch):
    """As in a notebook, whose cells are run again and again: entry points hang on the class, not on its name."""

    def define(factor):
        class Gain(NamedTuple):
            gates = preactivations = ("h",)
            from_input = {"h": "h"}
            from_hidden = {}
            states = ("h",)
            saved = diagonal = ()

            @staticmethod
            def forward(cell, preactivations, states, diagonal):
                return (preactivations[0] * type(states[0])(factor),), ()

            @staticmethod
            def backward(cell, saved, states, diagonal, after, gradients):
                zero = type(states[0])(0)
                return (gradients[0] * type(states[0])(factor),), (gradients[0] * zero,), ()

        return register(Gain)

    monkeypatch.delitem(CELLS, "Gain", raising=False)
    x, found = normal(0, 2, 3, 2), []
    for factor in (1, 2):
        model = Model([Recurrent(3, cell=define(factor)())], input_size=2, dtype="float64")
        outputs, _, pullback = model.vjp(x)
        found.append((outputs, model.forward(x)[0], pullback(np.ones_like(outputs)).x))
    for one, two in zip(*found, strict=True):
        assert_close(two, 2 * one, 1e-14)
    del CELLS["Gain"]


def test_gradients_of_own_cell(own_cell):
    model = recurrent_model(own_cell, 2, 3, seed=4)
    x = normal(6, 3, 4, 2)
    check_gradients(model, x, lengths=[3, 0, 4])


def test_weights_that_no_preactivation_takes_have_no_gradient(own_cell, poisoned):
    model = recurrent_model(own_cell, 2, 3)
    x = normal(6, 3, 4, 2)
    outputs, _, pullback = model.vjp(x)
    pullback(np.ones_like(outputs))
    poisoned()
    gradients = pullback(np.ones_like(outputs)).params
    # Leaky's second gate takes nothing from h, Delta's third nothing from x: zero, and not what memory held.
    side, rows = ("hh", slice(3, 6)) if isinstance(own_cell, Leaky) else ("ih", slice(6, 9))
    for kind in ("weight", "bias"):
        array = gradients[f"recurrent.{kind}_{side}_l0"]
        assert not array[rows].any()
        assert np.delete(array, np.r_[rows], axis=0).all()
