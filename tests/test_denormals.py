"""Denormal numbers are zero inside the kernels, and nowhere else."""

import threading

import llvmlite.binding as llvm
import llvmlite.ir as ir
import numba
import numpy as np
import pytest
from conftest import assert_same_bits, flatten, normal

import numbarnn
from numbarnn import GRU, LSTM, Dense, Model, parallel
from numbarnn.kernels.cpu import denormals
from numbarnn.kernels.cpu.denormals import FLUSH, KEEP, mode
from numbarnn.kernels.cpu.simd import target

TINY = np.float32(1e-39)
known = pytest.mark.skipif(
    not denormals.bits_of(llvm.get_process_triple()), reason="this processor's mode for denormals is not known"
)


def denormal(*arrays):
    """Return how many numbers are denormal."""
    return sum(np.count_nonzero((a != 0) & (abs(a) < np.finfo(a.dtype).tiny)) for a in arrays)


def kept():
    """Return whether arithmetic of this thread keeps denormal results and operands."""
    smallest = np.array([np.finfo(np.float32).tiny, TINY], np.float32)
    return bool((smallest * np.array([0.5, 1], np.float32) != 0).all())


def decaying(samples=4, n_threads=1):
    """Return a model whose states halve at every step, and states that become denormal soon."""
    model = Model([LSTM(24), Dense(3, bias=False)], input_size=2, n_threads=n_threads)
    model.set_flat(np.zeros(model.params.flat.size, np.float32))
    model.load_state_dict({**model.state_dict(), "dense.weight": np.ones((3, 24))})
    state = tuple(
        tuple(np.full(array.shape, 1e-36, np.float32) for array in entry) for entry in model.initial_state(samples)
    )
    return model, state


@known
def test_the_mode_is_exchanged():
    assert kept()
    before = mode(FLUSH)
    try:
        assert before == 0
        assert not kept()
        assert mode(KEEP) == mode(FLUSH) != 0  # nested: as it was
    finally:
        mode(before)
    assert kept()
    assert mode(KEEP) == 0


@known
def test_a_mode_that_was_on_stays_on():
    before = mode(FLUSH)
    try:
        parallel.run([lambda: None])
        assert not kept()
    finally:
        mode(before)


@known
def test_jobs_flush_and_the_caller_does_not(monkeypatch):
    monkeypatch.setattr(parallel, "GRAIN", 1)
    inside = []
    parallel.run([lambda: inside.append(kept()) for _ in range(3)])
    parallel.run([lambda: inside.append(kept())])
    assert inside == [False] * 4
    assert kept()
    with pytest.raises(ZeroDivisionError):
        parallel.run([lambda: 1 // 0])
    assert kept()


@known
def test_denormal_states_are_zero():
    model, state = decaying()
    x = np.zeros((4, 40, 2), np.float32)
    outputs, final = model.forward(x, state)
    assert np.count_nonzero(outputs[:, 0]) == 12  # they began as normal numbers
    assert denormal(outputs, *flatten(final)) == 0
    gradients = model.vjp(x, state)[2](np.full(outputs.shape, 1e-36, np.float32), final)
    assert denormal(*gradients.params.values(), gradients.x) == 0
    assert kept()


@known
def test_steps_flush_too_and_restore():
    model, state = decaying()
    one = tuple(tuple(array[:, :1].copy() for array in entry) for entry in state)
    x = np.zeros(2, np.float32)
    expected = model.forward(np.zeros((1, 40, 2)), one)[0][0]
    stream = model.stream()
    stream.restore(one)
    assert_same_bits(np.array([stream.step(x).copy() for _ in range(40)]), expected)
    assert denormal(*flatten(stream.snapshot())) == 0
    assert kept()

    @numba.njit
    def mine(weights, state, x, y, small, half):
        before = small * half
        numbarnn.step(weights, x, state, y)
        after = small * half
        return before, after

    _, weights, array = numbarnn.step_function(model, one)
    small, half = np.finfo(np.float32).tiny, np.float32(0.5)
    for _ in range(40):
        before, after = mine(weights, array, x, np.zeros(3, np.float32), small, half)
        assert before == after == small / 2 != 0
    # An error inside a step must not leave the mode on either.
    with pytest.raises(ValueError, match="y has the wrong size"):
        mine(weights, array, x, np.zeros(2, np.float32), small, half)
    assert kept()


@known
def test_threads_flush_alike(pieces):
    rng = np.random.default_rng(0)
    model, _ = decaying(8)
    model.set_flat(rng.normal(size=model.params.flat.size).astype(np.float32) * np.float32(1e-19))
    x = normal(1, 8, 12, 2, dtype="float32") * np.float32(1e-19)
    one = model.forward(x, n_threads=1)[0]
    assert_same_bits(model.forward(x, n_threads=3)[0], one)
    assert max(pieces) == 3


@known
def test_the_mode_belongs_to_a_thread():
    seen = []
    before = mode(FLUSH)
    try:
        thread = threading.Thread(target=lambda: seen.append(mode(KEEP)))
        thread.start()
        thread.join()
    finally:
        mode(before)
    assert len(seen) == 1
    model = Model([GRU(5)], input_size=2)
    thread = threading.Thread(target=lambda: (model.forward(np.zeros((1, 3, 2))), seen.append(kept())))
    thread.start()
    thread.join()
    assert seen[1]


@pytest.mark.parametrize(
    ("triple", "set_mode", "read_mode"),
    [("x86_64-unknown-linux-gnu", "ldmxcsr", "stmxcsr"), ("aarch64-unknown-linux-gnu", "msr\tFPCR", "mrs\t")],
)
def test_code_for_other_processors(triple, set_mode, read_mode):
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    bits = denormals.bits_of(triple)
    module = ir.Module("test")
    module.triple = triple
    long = ir.IntType(64)
    function = ir.Function(module, ir.FunctionType(long, [long]), "exchange")
    builder = ir.IRBuilder(function.append_basic_block("entry"))
    builder.ret(denormals.write_exchange(builder, bits, function.args[0]))
    parsed = llvm.parse_assembly(str(module))
    parsed.verify()
    code = llvm.Target.from_triple(triple).create_target_machine().emit_assembly(parsed)
    assert set_mode.lower() in code.lower()
    assert read_mode.lower() in code.lower()


def test_unknown_processors_are_left_alone():
    assert denormals.bits_of("riscv64-unknown-linux-gnu") == 0
    assert target()
