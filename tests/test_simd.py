"""The micro-kernel and the products on panels against NumPy, with red zones around every array.

Most values are small integers, so that sums are exact in any order and results must be equal, not close. Inputs lie in
buffers of NaN, which must not leak into results; outputs lie in buffers of NaN, which must still be NaN after the call.
"""

import numba
import numpy as np
import pytest
from conftest import DTYPES, assert_close, assert_same_bits, normal
from hypothesis import given
from hypothesis import strategies as st

from numbarnn.kernels.cpu import layout, matmul, tokens
from numbarnn.kernels.cpu import weight_gradient as kernels
from numbarnn.kernels.cpu.matmul import Extent, Factor, Location, Panels, multiply
from numbarnn.kernels.cpu.simd import geometry, panel_width, target, tile_shapes, tile_table, tiles

every_dtype = pytest.mark.parametrize("dtype", DTYPES)
MARGIN = 150  # values around an array: more than a row of four panels


@numba.njit
def run_tiles(
    table, place, count, c0, c0_at, c0_row, c0_next, a1, a1_at, a1_row, a1_step, a1_length, a1_segments, a1_stride,
    a2, a2_at, a2_row, a2_length, b, b_at, b_next, c, c_at, c_row, c_next,
):  # fmt: skip
    tiles(
        table, place, count, c0, c0_at, c0_row, c0_next, a1, a1_at, a1_row, a1_step, a1_length, a1_segments, a1_stride,
        a2, a2_at, a2_row, a2_length, b, b_at, b_next, c, c_at, c_row, c_next,
    )  # fmt: skip


class Zone:
    """A 1-D array in the middle of a buffer of NaN: `values` is handed out as a view, or `flat` with the offset `at`."""

    def __init__(self, values):
        values = np.asarray(values).reshape(-1)
        self.flat = np.full(values.size + 2 * MARGIN, np.nan, values.dtype)
        self.at = MARGIN
        self.values = self.flat[MARGIN : MARGIN + values.size]
        self.values[...] = values

    def intact(self):
        """Whether nothing was written around the array."""
        return np.isnan(self.flat[:MARGIN]).all() and np.isnan(self.flat[MARGIN + self.values.size :]).all()


def nan(dtype, *shape):
    return np.full(shape, np.nan, dtype)


def integers(generator, dtype, *shape):
    """Return integers so small that no sum of a test needs rounding."""
    return generator.integers(-4, 5, shape).astype(dtype)


def strided(matrix, gap):
    """Return a (rows, columns) matrix with `gap` NaN after every row."""
    return np.concatenate([matrix, nan(matrix.dtype, len(matrix), gap)], axis=1)


def panels_of(matrix):
    """Return a (k, panels * W) matrix as panels."""
    w = panel_width(matrix.dtype)
    return np.concatenate([matrix[:, at : at + w].reshape(-1) for at in range(0, matrix.shape[1], w)])


def padded(size, dtype):
    w = panel_width(dtype)
    return -(-size // w) * w


def test_panel_is_whole_registers():
    assert panel_width(np.float32) * 4 == panel_width(np.float64) * 8 == geometry().vectors * target()[0]


# The tiles


@every_dtype
@pytest.mark.parametrize("place", range(len(tile_shapes())), ids=[f"{rows}x{panels}" for rows, panels in tile_shapes()])
@pytest.mark.parametrize("transposed", [False, True], ids=["rows", "columns"])
def test_tiles(dtype, place, transposed):
    generator = np.random.default_rng(place)
    table, w = tile_table(np.dtype(dtype)), panel_width(dtype)
    rows, panels = tile_shapes()[place]
    for count, k1, segments, k2 in [(1, 1, 1, 0), (1, 0, 1, 1), (1, 0, 0, 0), (2, 5, 1, 4), (3, 3, 4, 7), (0, 3, 1, 3)]:
        n, width = rows * count, panels * w
        a1, a2 = integers(generator, dtype, segments, n, k1), integers(generator, dtype, n, k2)
        b, c0 = integers(generator, dtype, segments * k1 + k2, width), integers(generator, dtype, n, width)
        expected = c0 + sum(a1[s] @ b[s * k1 : (s + 1) * k1] for s in range(segments)) + a2 @ b[segments * k1 :]
        # Rows of A lie one after the other with a gap, or its columns do; a2 has the k stride of a1.
        row, step = (1, n + 3) if transposed else (k1 + 2, 1)
        row2 = 1 if transposed else k2 + 2
        stride = (k1 * (n + 3) if transposed else n * (k1 + 2)) + 5
        first = nan(dtype, segments, stride)
        for s in range(segments):
            values = strided(a1[s].T, 3) if transposed else strided(a1[s], 2)
            first[s, : values.size] = values.reshape(-1)
        first = Zone(first)
        second = Zone(strided(a2.T, 3) if transposed else strided(a2, 2))
        # The panels of C lie in blocks of their own, those of C0 side by side.
        product, base = Zone(nan(dtype, panels, n, w + 4)), Zone(strided(c0, 1))
        b = Zone(panels_of(b))
        run_tiles(
            table, place, count, base.flat, base.at, width + 1, w, first.flat, first.at, row, step, k1, segments, stride,
            second.flat, second.at, row2, k2, b.flat, b.at, (segments * k1 + k2) * w, product.flat, product.at, w + 4,
            n * (w + 4),
        )  # fmt: skip
        found = product.values.reshape(panels, n, w + 4)
        assert np.array_equal(np.concatenate(list(found[..., :w]), axis=-1), expected)
        assert np.isnan(found[..., w:]).all()
        assert product.intact()


# multiply


class Product:
    """Operands of one `matmul.multiply` with red zones, and what it must give."""

    def __init__(self, values, dtype, rows, panels, k1, segments, k2, repeat=False):
        self.dtype, self.rows, self.panels = np.dtype(dtype), rows, panels
        self.k1, self.segments, self.k2, self.repeat = k1, segments, k2, repeat
        self.width = panels * panel_width(dtype)
        self.a1, self.a2 = values(segments, rows, k1), values(rows, k2)
        self.b, self.c0 = values(segments * k1 + k2, self.width), values(1 if repeat else rows, self.width)

    def expected(self):
        a1, a2, b = np.float64(self.a1), np.float64(self.a2), np.float64(self.b)
        k = self.k1
        return self.c0 + sum(a1[s] @ b[s * k : (s + 1) * k] for s in range(self.segments)) + a2 @ b[self.segments * k :]

    def run(self, rows=slice(None), in_place=False):
        """Return C for some of the rows; check that nothing else was written."""
        a1, a2 = self.a1[:, rows], self.a2[rows]
        c0 = self.c0 if self.repeat else self.c0[rows]
        count = a1.shape[1] if self.segments else len(a2)
        first = Zone(np.concatenate([strided(a, 3) for a in a1]) if self.segments else nan(self.dtype, 1))
        second, b = Zone(strided(a2, 1)), Zone(panels_of(self.b))
        c_row = self.width + 2
        c = Zone(strided(c0, 2) if in_place else nan(self.dtype, count, c_row))
        base = c if in_place else Zone(strided(c0, 2))
        k = self.segments * self.k1 + self.k2
        multiply(
            tile_table(self.dtype), Extent(count, self.panels), base.flat, Location(base.at, 0 if self.repeat else c_row),
            first.flat, Factor(first.at, self.k1 + 3, self.k1, self.segments, count * (self.k1 + 3)),
            second.flat, Factor(second.at, self.k2 + 1, self.k2, 1, 0),
            b.flat, Panels(b.at, k * panel_width(self.dtype)), c.flat, Location(c.at, c_row),
        )  # fmt: skip
        found = c.values.reshape(count, c_row)
        assert np.isnan(found[:, self.width :]).all()
        assert c.intact()
        return found[:, : self.width]


@every_dtype
@given(
    rows=st.integers(1, 15),
    panels=st.integers(1, 6),
    k1=st.integers(0, 9),
    segments=st.integers(0, 4),
    k2=st.integers(0, 9),
    repeat=st.booleans(),
    in_place=st.booleans(),
    seed=st.integers(0, 99),
)
def test_multiply_small(dtype, rows, panels, k1, segments, k2, repeat, in_place, seed):
    generator = np.random.default_rng(seed)
    product = Product(lambda *shape: integers(generator, dtype, *shape), dtype, rows, panels, k1, segments, k2, repeat)
    assert np.array_equal(product.run(in_place=in_place and not repeat), product.expected())


LARGE = [
    # k1, segments, k2: 320 values of k are still one block
    (320, 1, 0),
    (321, 1, 0),
    (0, 1, 321),
    (200, 1, 130),
    (64, 4, 0),
    (90, 4, 0),
    (90, 4, 330),
    (300, 3, 0),
    (700, 2, 601),
    (1, 400, 1),
]


@every_dtype
@pytest.mark.parametrize(("k1", "segments", "k2"), LARGE)
@pytest.mark.parametrize("rows", [1, 2, 31])
@pytest.mark.parametrize("in_place", [False, True], ids=["apart", "in-place"])
def test_multiply_in_blocks(dtype, k1, segments, k2, rows, in_place):
    generator = np.random.default_rng(k1 + rows)
    product = Product(lambda *shape: integers(generator, dtype, *shape), dtype, rows, 5, k1, segments, k2)
    assert np.array_equal(product.run(in_place=in_place), product.expected())


@every_dtype
@pytest.mark.parametrize(("k1", "segments", "k2"), [(7, 1, 5), *LARGE])
def test_multiply_rounds_little(dtype, k1, segments, k2):
    product = Product(lambda *shape: normal(k1, *shape, dtype=dtype), dtype, 7, 2, k1, segments, k2)
    # A running sum of n values rounds by about sqrt(n) eps; blocks of 256 keep n below 320 + the number of blocks.
    k = segments * k1 + k2
    assert_close(product.run(), product.expected(), np.sqrt(min(k, 330)) * np.finfo(dtype).eps)


@every_dtype
@pytest.mark.parametrize(("k1", "segments", "k2"), [(7, 1, 5), (330, 1, 100), (90, 4, 0)])
@pytest.mark.parametrize("panels", [1, 2, 3, 5, 9])
def test_rows_do_not_depend_on_their_neighbours(dtype, k1, segments, k2, panels):
    product = Product(lambda *shape: normal(panels, *shape, dtype=dtype), dtype, 13, panels, k1, segments, k2)
    alone = [product.run(slice(r, r + 1))[0] for r in range(13)]
    for rows in range(1, 14):
        assert_same_bits(product.run(slice(0, rows)), np.stack(alone[:rows]), f"{rows} rows")


@every_dtype
def test_nan_of_one_row_stays_there(dtype):
    product = Product(lambda *shape: normal(1, *shape, dtype=dtype), dtype, 13, 3, 10, 1, 4)
    clean = product.run()
    product.a1[0, 5, 3] = np.nan
    found = product.run()
    assert np.isnan(found[5]).all()
    assert_same_bits(np.delete(found, 5, axis=0), np.delete(clean, 5, axis=0))


@every_dtype
def test_no_rows(dtype):
    product = Product(lambda *shape: normal(1, *shape, dtype=dtype), dtype, 3, 2, 4, 1, 4)
    assert product.run(slice(0, 0)).size == 0


# Packing


class Weights:
    """Parameters of `preactivations` preactivations somewhere in a flat array, in the layout that the packing functions take."""

    def __init__(self, generator, dtype, outputs, inputs, recurrents, takes):
        """takes : for each plane, which of (W_ih, W_hh, b_ih, b_hh) it has."""
        sizes = (outputs * inputs, outputs * recurrents, outputs, outputs)
        self.places = np.full((len(takes), 4), -1, np.int64)
        self.parts, at, pieces = {}, 3, [nan(dtype, 3)]
        for g, sides in enumerate(takes):
            for side in range(4):
                if sides[side]:
                    values = integers(generator, dtype, sizes[side])
                    self.places[g, side] = at
                    self.parts[g, side] = values
                    pieces += [values, nan(dtype, 1)]
                    at += values.size + 1
        self.flat = np.concatenate(pieces)
        self.flat.flags.writeable = False  # as the parameters of a model: one compiled version
        self.extents = (inputs, recurrents)
        self.outputs = outputs

    def matrix(self, g, side):
        """Return W_ih or W_hh of a plane, (outputs, columns)."""
        return self.parts[g, side].reshape(self.outputs, self.extents[side])

    def gradient(self):
        return Zone(nan(self.flat.dtype, self.flat.size))

    def found(self, zone, expected):
        """Compare a flat gradient with the expected parts; the values between them must be untouched."""
        rest = np.ones(self.flat.size, bool)
        for (g, side), values in expected.items():
            at = self.places[g, side]
            part = slice(at, at + values.size)
            assert np.array_equal(zone.values[part], values.reshape(-1)), (g, side)
            rest[part] = False
        assert np.isnan(zone.values[rest]).all()
        assert zone.intact()


GATES = [
    [(True, True, True, True)],
    [(True, False, True, False)],
    [(True, True, False, False)] * 4,
    [(True, False, True, False), (True, True, True, True), (True, True, True, True), (False, True, False, True)],
]
sizes = {
    "outputs": st.integers(1, 40),
    "inputs": st.integers(1, 40),
    "recurrents": st.integers(1, 40),
    "takes": st.sampled_from(GATES),
    "seed": st.integers(0, 99),
}


@every_dtype
@given(**sizes)
def test_pack_forward(dtype, outputs, inputs, recurrents, takes, seed):
    weights = Weights(np.random.default_rng(seed), dtype, outputs, inputs, recurrents, takes)
    w, width, count = panel_width(dtype), padded(outputs, dtype), len(takes)
    packed, bias = Zone(nan(dtype, count, width // w, inputs + recurrents, w)), Zone(nan(dtype, count * width))
    expected, expected_bias = nan(dtype, count, inputs + recurrents, width), np.zeros((count, width), dtype)
    for g, sides in enumerate(takes):
        for side, part in enumerate((slice(0, inputs), slice(inputs, None))):
            if sides[side]:
                expected[g, part] = 0
                expected[g, part, :outputs] = weights.matrix(g, side).T
        expected_bias[g, :outputs] = sum(weights.parts[g, side] for side in (2, 3) if sides[side])
    expected = np.concatenate([panels_of(plane) for plane in expected])
    # In two pieces, as two threads would; the first must leave the second's panels alone.
    panels, half = count * width // w, count * width // w // 2
    arguments = (weights.flat, weights.places, outputs, inputs, recurrents, packed.values, bias.values)
    matmul.pack_forward(*arguments, 0, half)
    assert np.isnan(packed.values[half * (inputs + recurrents) * w :]).all()
    assert np.isnan(bias.values[half * w :]).all()
    matmul.pack_forward(*arguments, half, panels)
    assert np.array_equal(packed.values, expected, equal_nan=True)
    assert np.array_equal(bias.values, expected_bias.reshape(-1))
    assert packed.intact()
    assert bias.intact()


@every_dtype
@given(**sizes, side=st.sampled_from([0, 1]))
def test_pack_backward(dtype, outputs, inputs, recurrents, takes, seed, side):
    weights = Weights(np.random.default_rng(seed), dtype, outputs, inputs, recurrents, takes)
    own = [g for g, sides in enumerate(takes) if sides[side]]
    columns, w = weights.extents[side], panel_width(dtype)
    width = padded(columns, dtype)
    expected = np.zeros((len(own) * outputs, width), dtype)
    if own:
        expected[:, :columns] = np.concatenate([weights.matrix(g, side) for g in own])
    packed = Zone(nan(dtype, expected.size))
    panels, half = width // w, width // w // 2
    arguments = (weights.flat, weights.places[own], side, outputs, columns, packed.values)
    matmul.pack_backward(*arguments, 0, half)
    assert np.isnan(packed.values[half * len(expected) * w :]).all()
    matmul.pack_backward(*arguments, half, panels)
    assert np.array_equal(packed.values, panels_of(expected))
    assert packed.intact()


# Layers' products


def running(active, batch):
    """Return (T, N) True where a row is running."""
    return np.arange(batch) < np.asarray(active)[:, None]


def ragged(generator, steps, batch):
    """Return active (T,) of a batch: falling, the first not above `batch`."""
    return np.ascontiguousarray(np.sort(generator.integers(0, batch + 1, steps))[::-1])


@every_dtype
@given(
    steps=st.integers(1, 4),
    batch=st.sampled_from([1, 2, 3, 7, 130, 250]),
    inputs=st.integers(0, 20),
    outputs=st.integers(1, 40),
    seed=st.integers(0, 99),
)
def test_affine(dtype, steps, batch, inputs, outputs, seed):
    generator = np.random.default_rng(seed)
    width, x_row = padded(outputs, dtype), padded(inputs, dtype)
    active = ragged(generator, steps, batch)
    x = nan(dtype, steps, batch, x_row)
    x[running(active, batch), :inputs] = integers(generator, dtype, active.sum(), inputs)
    b, bias = integers(generator, dtype, inputs, width), integers(generator, dtype, width)
    x_zone, y, packed = Zone(x), Zone(nan(dtype, steps, batch, width)), Zone(panels_of(b))
    lo, hi = sorted(generator.integers(0, batch + 1, 2))
    rows = running(active, batch) & (np.arange(batch) >= lo) & (np.arange(batch) < hi)
    matmul.affine(
        tile_table(np.dtype(dtype)), x_zone.values, x_row, inputs, packed.values, Zone(bias).values, y.values, width,
        active, batch, int(lo), int(hi),
    )  # fmt: skip
    found = y.values.reshape(steps, batch, width)
    assert np.array_equal(found[rows], x[rows][:, :inputs] @ b + bias)
    assert np.isnan(found[~rows]).all()
    assert y.intact()


def check_weight_gradient(dtype, steps, batch, outputs, inputs, recurrents, takes, seed):
    generator = np.random.default_rng(seed)
    weights = Weights(generator, dtype, outputs, inputs, recurrents, takes)
    w, width, count = panel_width(dtype), padded(outputs, dtype), len(takes)
    x_row, h_row = padded(inputs, dtype), padded(recurrents, dtype)
    active = ragged(generator, steps, batch)
    rows = running(active, batch)
    # Rows that do not run hold NaN; padded columns hold numbers, which must not count.
    x, h, d = nan(dtype, steps, batch, x_row), nan(dtype, steps, batch, h_row), nan(dtype, steps, count, batch, width)
    x[rows], h[rows] = integers(generator, dtype, rows.sum(), x_row), integers(generator, dtype, rows.sum(), h_row)
    d.transpose(0, 2, 1, 3)[rows] = integers(generator, dtype, rows.sum(), count, width)
    expected = {}
    for g, side in weights.parts:
        dz = d[:, g][rows][:, :outputs]
        if side > 1:
            expected[g, side] = dz.sum(axis=0)
        else:
            operand, columns = (x, inputs) if side == 0 else (h, recurrents)
            expected[g, side] = dz.T @ operand[rows][:, :columns]

    def span(side):
        own = [g for g, sides in enumerate(takes) if sides[side]]
        return (min(own), max(own) + 1) if own else (0, 0)

    panels = count * width // w
    x, h, d = Zone(x), Zone(h), Zone(d)
    sums, gradient = Zone(nan(dtype, panels * (x_row + h_row + kernels.CHAINS) * w)), weights.gradient()
    for first, last in ((0, panels // 2), (panels // 2, panels)):
        gathered = Zone(nan(dtype, (x_row + h_row + 2 * w) * kernels.SPAN))
        kernels.weight_gradient(
            tile_table(np.dtype(dtype)), kernels.Operand(x.values, 0, x_row, inputs, span(0)),
            kernels.Operand(h.flat, h.at, h_row, recurrents, span(1)),
            kernels.Blocks(d.values, 0, batch * width, count * batch * width, width, outputs), active, batch,
            kernels.RowRange(0, int(active.sum()), True, True), gathered.values,
            kernels.WeightGradient(gradient.values, weights.places, sums.values), first, last,
        )  # fmt: skip
        assert gathered.intact()
    weights.found(gradient, expected)
    assert sums.intact()


@every_dtype
@given(**sizes, steps=st.integers(1, 6), batch=st.integers(1, 9))
def test_weight_gradient(dtype, steps, batch, outputs, inputs, recurrents, takes, seed):
    check_weight_gradient(dtype, steps, batch, outputs, inputs, recurrents, takes, seed)


@every_dtype
@pytest.mark.parametrize(("steps", "batch"), [(1, 256), (1, 257), (40, 50), (700, 2), (3, 300)])
def test_weight_gradient_of_many_rows(dtype, steps, batch):
    check_weight_gradient(dtype, steps, batch, 18, 21, 18, GATES[3], seed=steps)


# Sample-major, time-major


@every_dtype
@given(
    steps=st.integers(1, 6),
    batch=st.integers(1, 40),
    columns=st.integers(1, 40),
    seed=st.integers(0, 99),
)
def test_time_major_and_back(dtype, steps, batch, columns, seed):
    generator = np.random.default_rng(seed)
    gap = padded(columns, dtype) - columns
    order, lengths = generator.permutation(batch), generator.integers(0, steps + 1, batch)
    x = integers(generator, dtype, batch, steps, columns)
    source, rows = Zone(x), Zone(nan(dtype, steps, batch, columns + gap))
    layout.to_time_major(source.values, batch, steps, columns, order, rows.values, columns + gap, 0, batch)
    found = rows.values.reshape(steps, batch, columns + gap)
    assert np.array_equal(found[:, :, :columns], x[order].transpose(1, 0, 2))
    assert np.isfinite(found).all()
    assert rows.intact()
    back, expected = Zone(nan(dtype, batch, steps, columns)), x.copy()
    for i in range(batch):
        found[lengths[i] :, i] = np.nan
        expected[order[i], lengths[i] :] = 0
    layout.to_sample_major(rows.values, columns + gap, batch, steps, columns, order, lengths, back.values, 0, batch)
    assert np.array_equal(back.values, expected.reshape(-1))
    assert back.intact()


# Tokens


@every_dtype
@given(**sizes)
def test_pack_tokens(dtype, outputs, inputs, recurrents, takes, seed):
    generator = np.random.default_rng(seed)
    weights = Weights(generator, dtype, outputs, inputs, recurrents, takes)
    width, count = padded(outputs, dtype), len(takes)
    bias = integers(generator, dtype, count, width)
    expected = np.repeat(bias[None], inputs, axis=0)
    for g, sides in enumerate(takes):
        if sides[0]:
            expected[:, g, :outputs] += weights.matrix(g, 0).T
    rows = Zone(nan(dtype, inputs * count * width))
    table = rows.values.reshape(inputs, count * width)
    half = inputs // 2
    arguments = (weights.flat, weights.places, outputs, inputs, bias.reshape(-1), table)
    tokens.pack_tokens(*arguments, 0, half)
    assert np.isnan(table[half:]).all()
    tokens.pack_tokens(*arguments, half, inputs)
    assert np.array_equal(table, expected.reshape(inputs, -1))
    assert rows.intact()


token_batches = {
    "steps": st.integers(1, 5),
    "batch": st.integers(1, 7),
    "vocabulary": st.integers(1, 12),
    "columns": st.integers(1, 40),
    "seed": st.integers(0, 99),
}


def random_tokens(generator, vocabulary, active, batch):
    """Return tokens (T * N,) with rubbish where no row is running."""
    chosen = np.where(running(active, batch), generator.integers(0, vocabulary, (len(active), batch)), -(2**30))
    return chosen.astype(np.int32).reshape(-1)


@every_dtype
@given(**token_batches)
def test_gather(dtype, steps, batch, vocabulary, columns, seed):
    generator = np.random.default_rng(seed)
    active, width = ragged(generator, steps, batch), columns + 3
    table = integers(generator, dtype, vocabulary, columns)
    chosen = random_tokens(generator, vocabulary, active, batch)
    lo, hi = sorted(generator.integers(0, batch + 1, 2))
    rows = running(active, batch) & (np.arange(batch) >= lo) & (np.arange(batch) < hi)
    source, y = Zone(strided(table, 2)), Zone(nan(dtype, steps, batch, width))
    source.values.flags.writeable = False  # as in the layers
    tokens.gather(source.values, columns + 2, chosen, active, batch, y.values, width, columns, int(lo), int(hi))
    found = y.values.reshape(steps, batch, width)
    assert np.array_equal(found[rows][:, :columns], table[chosen.reshape(steps, batch)[rows]])
    assert np.isnan(found[~rows]).all()
    assert np.isnan(found[..., columns:]).all()
    assert y.intact()


@every_dtype
@given(**token_batches, takes=st.sampled_from(GATES))
def test_token_gradient(dtype, steps, batch, vocabulary, columns, seed, takes):
    generator = np.random.default_rng(seed)
    weights = Weights(generator, dtype, columns, vocabulary, 1, takes)
    w, width, count = panel_width(dtype), padded(columns, dtype), len(takes)
    active = ragged(generator, steps, batch)
    rows, chosen = running(active, batch), random_tokens(generator, vocabulary, active, batch)
    d = nan(dtype, steps, count, batch, width)
    d.transpose(0, 2, 1, 3)[rows] = integers(generator, dtype, rows.sum(), count, width)
    expected = {}
    for g, sides in enumerate(takes):
        if sides[0]:
            total = np.zeros((vocabulary, columns), dtype)
            np.add.at(total, chosen.reshape(steps, batch)[rows], d[:, g][rows][:, :columns])
            expected[g, 0] = total.T
    gradient, panels, d = weights.gradient(), count * width // w, Zone(d)
    for first, last in ((0, panels // 2), (panels // 2, panels)):
        sums = Zone(nan(dtype, vocabulary * w))
        tokens.token_gradient(
            chosen, vocabulary, kernels.Blocks(d.values, 0, batch * width, count * batch * width, width, columns),
            active, batch, kernels.RowRange(0, int(active.sum()), True, True), sums.values, gradient.values, weights.places,
            first, last,
        )  # fmt: skip
        assert sums.intact()
    weights.found(gradient, expected)


@every_dtype
@given(**token_batches)
def test_embedding_gradient(dtype, steps, batch, vocabulary, columns, seed):
    generator = np.random.default_rng(seed)
    active, width = ragged(generator, steps, batch), columns + 3
    rows, chosen = running(active, batch), random_tokens(generator, vocabulary, active, batch)
    d = nan(dtype, steps, batch, width)
    d[rows, :columns] = integers(generator, dtype, rows.sum(), columns)
    expected = np.zeros((vocabulary, columns), dtype)
    np.add.at(expected, chosen.reshape(steps, batch)[rows], d[rows][:, :columns])
    gradient, d = Zone(nan(dtype, 5 + vocabulary * columns + 4)), Zone(d)
    gradient.values[5:-4] = 0
    both = 0, int(active.sum())
    for first, last in ((0, columns // 2), (columns // 2, columns)):
        tokens.embedding_gradient(
            chosen, d.values, width, columns, active, batch, both, gradient.values, 5, first, last
        )
    assert np.array_equal(gradient.values[5:-4], expected.reshape(-1))
    assert np.isnan(gradient.values[[0, 1, 2, 3, 4, -4, -3, -2, -1]]).all()
    assert gradient.intact()
