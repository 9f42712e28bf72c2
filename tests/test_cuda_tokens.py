"""Dropout, token input and pooling on CUDA, against the naive equations and the CPU."""

import cuda_device
import naive
import numpy as np
import pytest
from conftest import DTYPES, assert_close, assert_same_bits, normal

from numbarnn.backends.cpu import batch as batches
from numbarnn.backends.cpu.dropout import drop
from numbarnn.core.layout import Layout
from numbarnn.kernels.cpu import pooling as cpu_pooling
from numbarnn.kernels.cpu import tokens as cpu_tokens
from numbarnn.kernels.cuda import pooling, tokens
from numbarnn.kernels.cuda.dropout import dropout
from numbarnn.kernels.cuda.groups import Sequences, SpacedRows
from numbarnn.kernels.cuda.memory import upload

TOLERANCE = {"float32": 1e-5, "float64": 1e-12}
T, N = 5, 4
LENGTHS = np.array([3, 0, 5, 4])  # of the caller's samples, which the layout sorts
POISON = 77.0
every_dtype = pytest.mark.parametrize("dtype", DTYPES)
ragged = pytest.mark.parametrize("lengths", [None, LENGTHS], ids=["full", "ragged"])
# One thread a row, several, a whole block; on a card also columns that are not a multiple of anything.
WIDTHS = [1, 5, 9, *([130, 1500] if cuda_device.REAL else [])]
every_width = pytest.mark.parametrize("columns", WIDTHS)


def poisoned(size, dtype):
    return upload(np.full(size, POISON, dtype))


def spaced(values, gap=2):
    """Return the rows of an array with poison between them, flat."""
    rows = np.full((len(values), values.shape[1] + gap), POISON, values.dtype)
    rows[:, :-gap] = values
    return rows.reshape(-1)


def taken(buffer, rows, columns, gap=2):
    """Return the rows of a buffer that are `gap` apart, between which there must be poison still."""
    values = buffer.get().reshape(rows, columns + gap)
    assert (values[:, columns:] == POISON).all()
    return values[:, :columns]


def running(layout):
    """Return which of the (t, n) rows are steps of samples that run."""
    return (np.arange(layout.samples) < layout.active[:, None]).reshape(-1)


# Dropout


@every_dtype
@every_width
@ragged
@pytest.mark.parametrize("same", [False, True], ids=["each step", "same over time"])
def test_dropout(dtype, columns, lengths, same):
    layout, x = Layout.make(T, N, lengths), normal(0, T * N, columns, dtype=dtype)
    seed, step, stream = 2**40 + 17, 2**33 + 5, 3 << 8
    y = poisoned(T * N * (columns + 2), dtype)
    batch = Sequences(upload(layout.indices), upload(layout.lengths), upload(layout.active), N, T)
    dropout(SpacedRows(upload(x), columns), SpacedRows(y, columns + 2), columns, batch, 0.4, seed, step, stream, same)
    found = taken(y, T * N, columns)
    factors = naive.dropout_factors(N, 1 if same else T, columns, 0.4, seed, step, stream)[layout.indices]
    factors = np.broadcast_to(factors, (N, T, columns))
    expected = np.where(running(layout)[:, None], x * factors.transpose(1, 0, 2).reshape(T * N, columns), 0)
    assert_close(found, expected, TOLERANCE[dtype])
    # To the bit what the CPU has, in place as well.
    call = batches.Call(np.dtype(dtype), training=True, seed=seed, step=step)
    on_cpu = drop(call, batches.Rows(x, columns), layout, 0.4, stream, same).values
    assert_same_bits(found, on_cpu)
    both = SpacedRows(upload(x), columns)
    dropout(both, both, columns, batch, 0.4, seed, step, stream, same)
    assert_same_bits(both.values.get().reshape(found.shape), on_cpu)


# Tables


@every_dtype
@pytest.mark.parametrize(("hidden", "size"), [(1, 1), (3, 5), (9, 6)])
def test_pack_tokens(dtype, hidden, size):
    area = hidden * size
    weights, bias = normal(0, 2 + 3 * area, dtype=dtype), normal(1, 3 * hidden, dtype=dtype)
    places = np.array([2 + 2 * area, -1, 2], np.int64)
    rows = poisoned(size * 3 * hidden, dtype)
    tokens.pack_tokens(upload(weights), upload(places), hidden, size, upload(bias), rows)
    expected = np.empty((size, 3 * hidden), dtype)
    wide = np.full((3, 4), -1)
    wide[:, 0] = places
    cpu_tokens.pack_tokens(weights, wide, hidden, size, bias, expected, 0, size)
    assert_same_bits(rows.get().reshape(expected.shape), expected)


# Rows of tokens


@every_dtype
@every_width
@pytest.mark.parametrize(
    ("masked", "lengths"), [(False, None), (True, None), (True, LENGTHS)], ids=["all", "full", "ragged"]
)
@pytest.mark.parametrize("bag", [0, 3], ids=["tokens", "bags"])
def test_gather(dtype, columns, masked, lengths, bag):
    generator, size = np.random.default_rng(0), 6
    table = normal(0, size, columns, dtype=dtype)
    indices = generator.integers(-1 if bag else 0, size, (T * N, max(bag, 1))).astype(np.int32)
    expected = naive.embedding_bag(indices[None], np.float64(table))[0]
    mask = ()
    if masked:
        layout = Layout.make(T, N, lengths)
        mask, past = (upload(layout.active), N), ~running(layout)
        expected[past], indices[past] = 0, 10**9  # which must not be looked up
    y = poisoned(T * N * (columns + 2), dtype)
    if bag:
        tokens.gather_bags(upload(table), columns, upload(indices), bag, y, columns + 2, T * N, *mask)
    else:
        tokens.gather(upload(table), columns, upload(indices), y, columns + 2, T * N, *mask)
    assert_close(taken(y, T * N, columns), expected, TOLERANCE[dtype])


@every_dtype
@pytest.mark.parametrize(("rows", "columns"), [(1, 1), (tokens.CHUNK + 3, 2 * tokens.LANES + 1)])
@pytest.mark.parametrize(("bag", "layout"), [(0, "table"), (0, "weights"), (2, "table")])
def test_gradients(dtype, columns, rows, bag, layout):
    generator, size = np.random.default_rng(rows), 5
    indices = generator.integers(-1 if bag else 0, size, (rows, max(bag, 1))).astype(np.int32)
    indices[indices == 3] = 1  # a token that is nowhere
    d = normal(1, rows, columns, dtype=dtype)
    expected = np.zeros((size, columns))
    for r, k in np.argwhere(indices >= 0):
        expected[indices[r, k]] += d[r]
    strides = (columns, 1) if layout == "table" else (1, size)
    found = []
    for _ in range(2):
        gradient = poisoned(size * columns + 5, dtype)
        tail = upload(spaced(d)), columns + 2, columns, rows, gradient, 3, *strides
        if bag:
            tokens.bag_gradient(upload(indices), bag, size, *tail)
        else:
            tokens.token_gradient(upload(indices), size, *tail)
        found.append(gradient.get())
    assert (found[0][[0, 1, 2, -1, -2]] == POISON).all()
    assert_same_bits(found[0], found[1])
    inner = found[0][3:-2]
    inner = inner.reshape(size, columns) if layout == "table" else inner.reshape(columns, size).T
    assert_close(inner, expected, TOLERANCE[dtype])


# Pooling

KINDS = {"mean": pooling.MEAN, "max": pooling.MAX, "last": pooling.LAST}
every_kind = pytest.mark.parametrize("kind", KINDS)


@every_kind
@every_dtype
@every_width
@ragged
def test_pooling(kind, dtype, columns, lengths):
    layout = Layout.make(T, N, lengths)
    x = normal(0, T * N, columns, dtype=dtype)
    x[~running(layout)] = np.nan  # which nothing reads
    x[N] = x[0]  # equal maxima
    dy = normal(1, N, columns, dtype=dtype)
    y, dx = poisoned(N * (columns + 2), dtype), poisoned(T * N * (columns + 2), dtype)
    places = upload(np.full(N * columns, -1)) if kind == "max" else None
    code, batch = KINDS[kind], Sequences(None, upload(layout.lengths), None, N, T)
    runs = pooling.all_steps(upload(spaced(x)), columns + 2, batch)
    pooling.pool(runs, columns, code, SpacedRows(y, columns + 2), places)
    found = taken(y, N, columns)
    steps = np.float64(x).reshape(T, N, columns).transpose(1, 0, 2)
    assert_close(found, naive.pool(steps, kind, layout.lengths), TOLERANCE[dtype])
    pooling.spread(SpacedRows(upload(spaced(dy)), columns + 2), T, runs._replace(values=dx), columns, code, places)

    starts, same = np.arange(N) * columns, np.zeros((N, columns), dtype)
    spread, steps_of = np.zeros((T * N, columns), dtype), np.zeros(N * columns if kind == "max" else 0, np.int64)
    runs = starts, N * columns, layout.lengths, columns, code
    cpu_pooling.pool(x.reshape(-1), *runs, same.reshape(-1), columns, steps_of, 0, N)
    cpu_pooling.spread(dy.reshape(-1), columns, *runs, steps_of, spread.reshape(-1), 0, N)
    assert_close(found, same, TOLERANCE[dtype])
    assert_close(taken(dx, T * N, columns), spread, TOLERANCE[dtype])


def test_pooled_nan_is_above_all_numbers():
    x = np.array([[1, np.nan, 3], [np.nan, 2, np.nan], [5, np.nan, 4]])
    y, places = poisoned(3, "float64"), upload(np.zeros(3, np.int64))
    steps = pooling.all_steps(upload(x), 3, Sequences(None, upload(np.array([3])), None, 1, 3))
    pooling.pool(steps, 3, pooling.MAX, SpacedRows(y, 3), places)
    assert np.isnan(y.get()).all()
    assert places.get().tolist() == [1, 0, 1]
