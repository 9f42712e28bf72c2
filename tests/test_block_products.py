"""Products of x for a block of steps: the bits of those for every step, whatever the block, lengths, direction and threads."""

import numpy as np
import pytest
from conftest import DTYPES, assert_same_bits, flatten, normal, random_state

from numbarnn import GRU, LSTM, RNN, Dense, IndRNN, MinGRU, MinLSTM, Model
from numbarnn.kernels.cpu import block_products, matmul, steps_ahead
from numbarnn.kernels.cpu.block_products import table_with_blocks
from numbarnn.kernels.cpu.simd import tile_shapes, tile_table

# The sums of the cells with a recurrent product are long enough to be cut between x and h.
WIDE = 330
STACKS = {
    "MinGRU": (lambda **o: MinGRU(20, **o), 3),
    "MinLSTM": (lambda **o: MinLSTM(5, **o), 18),
    "IndRNN": (lambda **o: IndRNN(18, **o), 3),
    "RNN": (lambda **o: RNN(20, **o), WIDE),
    "LSTM": (lambda **o: LSTM(20, **o), WIDE),
    "GRU": (lambda **o: GRU(5, **o), WIDE),
    "reset before": (lambda **o: GRU(20, reset_after=False, **o), WIDE),
    "wide units": (lambda **o: GRU(WIDE, **o), 3),
}


def results(layers, inputs, dtype, lengths, n_threads, spans):
    """Return all outputs and gradients of a model."""
    model = Model(layers, inputs, dtype, seed=1, n_threads=n_threads)
    x = normal(0, 4, 11, inputs, dtype=dtype)
    state = random_state(model, 4)
    seen = len(spans)
    outputs, final, pullback = model.vjp(x, state, lengths)
    gradients = pullback(normal(1, *outputs.shape, dtype=dtype), random_state(model, 4, seed=6))
    alone, _ = model.forward(x, state, lengths)
    assert_same_bits(alone, outputs)
    return [outputs, *flatten(final), *gradients.params.values(), gradients.x, *flatten(gradients.state)], spans[seen:]


@pytest.fixture
def spans(monkeypatch):
    """Return the blocks that passes ask for, which the test chooses by `steps_ahead.AHEAD`."""
    found, chosen = [], steps_ahead.block_of_steps
    monkeypatch.setattr(steps_ahead, "block_of_steps", lambda *size: found.append(chosen(*size)) or found[-1])
    return found


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("lengths", [None, [11, 3, 0, 8], [2, 6, 7, 7]], ids=["full", "ragged", "short"])
@pytest.mark.parametrize("name", STACKS)
def test_blocks_have_the_bits_of_steps(name, lengths, dtype, spans, pieces, monkeypatch):
    make, inputs = STACKS[name]
    for options in ({"bidirectional": True}, {"num_layers": 2}, {"reverse": True, "bias": "single"}):
        expected = None
        for few, span, n_threads in ((0, 24, 1), (4, 4, 1), (4, 24, 3)):
            monkeypatch.setattr(steps_ahead, "FEW", few)
            monkeypatch.setattr(steps_ahead, "AHEAD", span)
            found, asked = results([make(**options)], inputs, dtype, lengths, n_threads, spans)
            assert set(asked) == {1 if few == 0 else min(span, 11)}
            expected = expected or found
            for array, other in zip(found, expected, strict=True):
                assert_same_bits(array, other, f"{options}, {few}, {span}, {n_threads}")


def test_blocks_under_recurrent_dropout(monkeypatch):
    found = []
    for few in (0, 4):
        monkeypatch.setattr(steps_ahead, "FEW", few)
        model = Model([LSTM(20, 2, recurrent_dropout=0.5), Dense(3)], WIDE, seed=1)
        model.fit(normal(0, 4, 11, WIDE), np.zeros((4, 11), int), epochs=2, batch_size=2, verbose=0)
        found.append(model.params.flat)
    assert_same_bits(*found)


def test_blocks_stream_as_forward():
    for layer, inputs in (
        (MinGRU(20), 3),
        (MinLSTM(20), 3),
        (LSTM(20), WIDE),
        (GRU(20), WIDE),
        (GRU(20, reset_after=False), WIDE),
    ):
        model = Model([layer, Dense(2)], inputs, seed=1)
        x = normal(0, 1, 60, inputs, dtype="float32")
        outputs, _ = model.forward(x)
        stream = model.stream()
        assert_same_bits(np.array([stream.step(x_t).copy() for x_t in x[0]]), outputs[0])
        assert_same_bits(model.forward(np.repeat(x, 9, axis=0))[0][8], outputs[0])


def test_without_the_address_a_run_goes_step_by_step(monkeypatch):
    model = Model([MinGRU(20)], 3, seed=1)
    x = normal(0, 2, 11, 3, dtype="float32")
    expected, called = model.forward(x)[0], []
    monkeypatch.setattr(block_products, "table_with_blocks", lambda dtype: called.append(dtype) or tile_table(dtype))
    assert_same_bits(model.forward(x)[0], expected)
    assert called


def test_where_there_are_blocks():
    assert table_with_blocks(np.dtype("f4")).size == len(tile_shapes()) + 1
    block, few = steps_ahead.block_of_steps, steps_ahead.FEW
    assert (block(1, 100), block(few, 5)) == (steps_ahead.AHEAD, 5)
    assert block(few + 1, 100) == block(1, 0) == 1


@pytest.mark.parametrize(
    ("inputs", "recurrents", "cut"),
    [
        (3, 0, True), (300, 0, True), (0, 0, False), (0, 400, False), (3, 5, False), (160, 160, False), (200, 200, True),
        (256, 256, True), (257, 256, False), (320, 8, False), (8, 300, False), (321, 321, True), (512, 512, True),
    ],
)  # fmt: skip
def test_a_sum_is_cut_only_where_it_was(inputs, recurrents, cut):
    assert steps_ahead.cut_anyway(inputs, recurrents) is cut
    if inputs and recurrents:  # what `multiply` does: one piece, or blocks of x, then blocks of h
        whole, pieces = matmul.whole, lambda size: 1 if matmul.whole(size) else -(-size // matmul.BLOCK)
        blocks = [-(-size // matmul.BLOCK) for size in (inputs, recurrents)]
        assert cut is (not whole(inputs + recurrents) and [pieces(inputs), pieces(recurrents)] == blocks)
