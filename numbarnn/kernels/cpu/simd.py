"""The SIMD micro-kernel: small tiles of C = C0 + A B in vector registers, emitted as LLVM vector code.

A *panel* is a slice of a matrix B, `panel_width` columns wide, stored row after row: element (k, j) lies at ``k *
width + j``. A tile is a few rows of A times one or several panels. Its accumulators are SSA values through the
k-loop, A is broadcast element by element with two strides (so rows of A and rows of its transpose both serve), B is
loaded a row of its panels at a time. The k-loop starts at zero and C0 is added at its end: long sums taken in blocks round
less than one running sum, and a tile needs no case for the first block.

Every element is one multiply-add after the other in ascending k, whatever the tile: one row alone, a row among six and
any split of the rows over threads give the same bits.

Vector size and fused multiply-add follow the level that this process runs (`numbarnn.kernels.prebuilt`), else *Numba's* target
features, not the host's: with a generic target
(``NUMBA_CPU_NAME=generic``) ``llvm.fma`` becomes a library call (0.9 GF/s against 33), so there the tile multiplies
and adds. Tiles of 4 to 6 rows by 2 vectors reach the FMA limit on AVX2 (measured: 98 to 102 GF/s, float32, one Zen 3
core); 4 x 3 is as fast there but would pad a layer of 32 units to 48 columns. On AVX-512 (Zen 5) 8 to 12 rows by 2
vectors do. NEON is compiled in the tests, and unmeasured.

The tiles are compiled once, by `fill_table`, and called through their addresses: linked into every driver they made
up most of its compilation (LSTM forward 2.0 s instead of 0.8 s). The pointers see no bounds checks. Callers pass
arrays that are arguments of the same call, padded to whole panels.
"""

import functools
from typing import NamedTuple

import llvmlite.ir as ir
import numpy as np
from numba.core import types
from numba.core.errors import TypingError
from numba.extending import intrinsic
from numba.np.arrayobj import populate_array

from numbarnn.kernels.compile import jit
from numbarnn.kernels.cpu.tile import INDEX, Tile, scalar_type
from numbarnn.kernels.prebuilt import chosen, host_target


@functools.cache
def target():
    """Return (bytes in a vector register, fused multiply-add available) of the level that runs, else of Numba's CPU target."""
    level = chosen().level
    if level is not None:
        return level.vector, level.fused
    triple, _, features = host_target()
    if triple.startswith(("aarch64", "arm64")):
        return 16, True
    have = set(features.split(","))
    return (64 if "+avx512f" in have else 32 if "+avx" in have else 16), "+fma" in have


class Geometry(NamedTuple):
    """How the registers of the target are shared out.

    Attributes
    ----------
    vectors : int
        Vectors in one row of a panel.
    tallest, paired : int
        Rows of the tallest tile of one panel, and of two.
    wide : int
        Panels of the tile of one row, which would wait for its own sums if it took one or two.
    """

    vectors: int
    tallest: int
    paired: int
    wide: int


@functools.cache
def geometry():
    """Return the `Geometry` of `target`.

    A panel is one cache line on every target, so packed weights and states are laid out alike for all of them.

    16 registers of 256 bits (AVX2): 6 rows of 2 vectors are 12 sums, 2 vectors of B and 1 of A; of 128 bits (SSE): 3 rows of 4. 32
    registers of AVX-512: 12 rows of 2 panels, each one vector wide; a Zen 5 core broadcasts one number a cycle to 512 bits and
    multiplies two vectors, so a tile of one panel runs at half speed there (135 of 268 GF/s). 32 of NEON: 6 rows of 4 vectors.
    """
    size, fused = target()
    if size == 64:
        return Geometry(1, 12, 12, 8)
    if size == 32:
        return Geometry(2, 6, 3, 4)
    return Geometry(4, 6, 3, 6) if fused else Geometry(4, 3, 1, 3)


def tile_shapes():
    """Return (rows, panels) of every tile, in the order of the table: one panel, two panels, one row."""
    _, tallest, paired, wide = geometry()
    return (*((r, 1) for r in range(1, tallest + 1)), *((r, 2) for r in range(1, paired + 1)), (1, wide))


@functools.cache
def panel_width(dtype):
    """Return the columns of one panel for a NumPy float dtype: what the rows of every kernel's matrices are padded to."""
    return geometry().vectors * target()[0] // np.dtype(dtype).itemsize


@intrinsic
def tile_limits(typingctx):
    """Inside a kernel: (tallest, paired, wide) of `geometry`, as compile-time constants."""

    def codegen(context, builder, signature, args):
        values = [context.get_constant(types.intp, value) for value in geometry()[1:]]
        return context.make_tuple(builder, signature.return_type, values)

    return types.UniTuple(types.intp, 3)(), codegen


@intrinsic
def panel_of(typingctx, array):
    """Inside a kernel: `panel_width` of the array's dtype, as a compile-time constant."""

    def codegen(context, builder, signature, args):
        return context.get_constant(types.intp, panel_width(np.dtype(array.dtype.name)))

    return types.intp(array), codegen


@intrinsic
def flat(typingctx, array):
    """Inside a kernel: the values of a C-contiguous array along one axis, as long as that array lives.

    ``reshape`` would look whether they lie so, and count a reference: a tenth of the instructions of LSTM's forward kernel.
    """
    if array.layout != "C":
        raise TypingError(f"flat takes a C-contiguous array, got {array}")
    kind = types.Array(array.dtype, 1, "C")

    def codegen(context, builder, signature, args):
        source, view = context.make_array(array)(context, builder, args[0]), context.make_array(kind)(context, builder)
        sizes = {"shape": [source.nitems], "strides": [source.itemsize], "itemsize": source.itemsize}
        populate_array(view, data=source.data, meminfo=None, **sizes)
        return view._getvalue()

    return kind(array), codegen


@intrinsic
def copy_row(typingctx, a, at, b, to):
    """Copy one row of a panel: b[to : to + W] = a[at : at + W].

    A loop over W values would check for overlapping arrays at every row: 13 ns instead of 2.
    """

    def codegen(context, builder, signature, args):
        row = _Row(context, builder, signature.args, args)
        for v in range(row.vectors):
            builder.store(row.load(row.source, v), row.address(row.dst, v), align=row.size)
        return context.get_dummy_value()

    return types.void(a, types.intp, b, types.intp), codegen


@intrinsic
def add_row(typingctx, a, at, b, to):
    """Add one row of a panel: b[to : to + W] += a[at : at + W]."""

    def codegen(context, builder, signature, args):
        row = _Row(context, builder, signature.args, args)
        for v in range(row.vectors):
            total = builder.fadd(row.load(row.dst, v), row.load(row.source, v))
            builder.store(total, row.address(row.dst, v), align=row.size)
        return context.get_dummy_value()

    return types.void(a, types.intp, b, types.intp), codegen


@intrinsic
def lanes_of(typingctx, array):
    """Inside a kernel: values in one vector register, as a compile-time constant."""

    def codegen(context, builder, signature, args):
        return context.get_constant(types.intp, target()[0] * 8 // array.dtype.bitwidth)

    return types.intp(array), codegen


@intrinsic
def transpose_rows(typingctx, a, at, row, b, to):
    """Transpose W rows of as many values as a vector has: b[to + k * W + j] = a[at + j * row + k]."""

    def codegen(context, builder, signature, args):
        arrays = _Row(context, builder, (signature.args[0], None, signature.args[3], None), (*args[:2], *args[3:]))
        lanes = arrays.lanes
        for v in range(arrays.vectors):
            first = builder.mul(args[2], INDEX(v * lanes))
            rows = [
                arrays.load(builder.gep(arrays.source, [builder.add(first, builder.mul(args[2], INDEX(j)))]), 0)
                for j in range(lanes)
            ]
            for k, column in enumerate(_transposed(builder, rows)):
                dst = builder.gep(arrays.dst, [INDEX(k * arrays.vectors * lanes)])
                builder.store(column, arrays.address(dst, v), align=arrays.size)
        return context.get_dummy_value()

    return types.void(a, types.intp, types.intp, b, types.intp), codegen


@intrinsic
def spread_rows(typingctx, a, at, b, to, row):
    """Undo `transpose_rows`, for as many rows of a panel as a vector has values: b[to + j * row + k] = a[at + k * W + j]."""

    def codegen(context, builder, signature, args):
        arrays = _Row(context, builder, signature.args, args)
        lanes = arrays.lanes
        for v in range(arrays.vectors):
            rows = [arrays.load(arrays.source, k * arrays.vectors + v) for k in range(lanes)]
            for j, column in enumerate(_transposed(builder, rows)):
                dst = builder.gep(arrays.dst, [builder.mul(args[4], INDEX(v * lanes + j))])
                builder.store(column, arrays.address(dst, 0), align=arrays.size)
        return context.get_dummy_value()

    return types.void(a, types.intp, b, types.intp, types.intp), codegen


def _transposed(builder, rows):
    """Return the columns of a square block of vectors, by exchanging its off-diagonal quarters, quarters of quarters ..."""
    lanes, rows = len(rows), list(rows)
    distance = lanes // 2
    while distance:
        low = [j if not j & distance else lanes + j - distance for j in range(lanes)]
        high = [j + distance if not j & distance else lanes + j for j in range(lanes)]
        for i in range(lanes):
            if not i & distance:
                a, b = rows[i], rows[i + distance]
                rows[i] = builder.shuffle_vector(a, b, _mask(low))
                rows[i + distance] = builder.shuffle_vector(a, b, _mask(high))
        distance //= 2
    return rows


def _mask(indices):
    return ir.Constant(ir.VectorType(ir.IntType(32), len(indices)), indices)


class _Row:
    """Vector access to two arrays, of which one is read and one written; their types and values are (a, at, b, to)."""

    def __init__(self, context, builder, kinds, args):
        self.builder = builder
        dtype = kinds[0].dtype
        self.size, self.lanes = dtype.bitwidth // 8, target()[0] * 8 // dtype.bitwidth
        self.vectors = geometry().vectors
        self.vector = ir.VectorType(scalar_type(dtype), self.lanes)
        source = context.make_array(kinds[0])(context, builder, args[0]).data
        dst = context.make_array(kinds[2])(context, builder, args[2]).data
        self.source, self.dst = builder.gep(source, [args[1]]), builder.gep(dst, [args[3]])

    def address(self, pointer, v):
        return self.builder.bitcast(self.builder.gep(pointer, [INDEX(v * self.lanes)]), self.vector.as_pointer())

    def load(self, pointer, v):
        return self.builder.load(self.address(pointer, v), align=self.size)


@functools.cache
def tile_table(dtype):
    """Return the addresses of the compiled tiles for a NumPy float dtype, in the order of `tile_shapes`."""
    table = np.zeros(len(tile_shapes()), np.intp)
    fill_table(table, np.zeros(1, dtype))
    table.setflags(write=False)
    return table.copy()


@jit
def fill_table(table, like):
    """Write the addresses of the tiles for the dtype of `like`."""
    _fill_table(table, like)


@intrinsic
def _fill_table(typingctx, table, like):
    def codegen(context, builder, signature, args):
        data = context.make_array(signature.args[0])(context, builder, args[0]).data
        for index, (rows, panels) in enumerate(tile_shapes()):
            function = _tile_function(builder.module, like.dtype, rows, panels)
            builder.store(builder.ptrtoint(function, INDEX), builder.gep(data, [INDEX(index)]))
        return context.get_dummy_value()

    return types.void(table, like), codegen


@intrinsic
def tiles(
    typingctx, table, shape, count,
    c0, c0_at, c0_row, c0_next,
    a1, a1_at, a1_row, a1_step, a1_length, a1_segments, a1_stride,
    a2, a2_at, a2_row, a2_length,
    b, b_at, b_next,
    c, c_at, c_row, c_next,
):  # fmt: skip
    """Set C = C0 + A1 B1 + A2 B2 for `count` tiles below each other, of the extents ``tile_shapes()[shape]``.

    All arrays are one-dimensional; offsets (`at`) and strides count elements.

    ================================================  ==================================================================
    ``table, shape, count``                           the addresses, which tile, how many below each other
    ``c0, at, row, next``                             what to add: row stride 0 repeats one row, as a bias; distance of two panels
    ``a1, at, row, step, length, segments, stride``   first operand: row stride, k stride, k extent of one segment,
                                                      number of segments and the distance from one to the next
    ``a2, at, row, length``                           second operand, of the same k stride, its rows of B below the first's
    ``b, at, next``                                   panels of B and the distance from one to the next
    ``c, at, row, next``                              the result, may be c0
    ================================================  ==================================================================
    """
    given = (
        table, shape, count, c0, c0_at, c0_row, c0_next, a1, a1_at, a1_row, a1_step, a1_length, a1_segments, a1_stride,
        a2, a2_at, a2_row, a2_length, b, b_at, b_next, c, c_at, c_row, c_next,
    )  # fmt: skip
    signature = types.void(*(t if isinstance(t, types.Array) else types.intp for t in given))

    def codegen(context, builder, signature, args):
        def data(n):
            return context.make_array(signature.args[n])(context, builder, args[n]).data

        address = builder.load(builder.gep(data(0), [args[1]]))
        values, n = [args[2]], 3
        while n < len(args):
            if isinstance(signature.args[n], types.Array):
                values.append(builder.gep(data(n), [args[n + 1]]))
                n += 2
            else:
                values.append(args[n])
                n += 1
        builder.call(builder.inttoptr(address, _tile_type(c.dtype).as_pointer()), values)
        return context.get_dummy_value()

    return signature, codegen


def _tile_type(dtype):
    p, i = scalar_type(dtype).as_pointer(), INDEX
    return ir.FunctionType(ir.VoidType(), [i, p, i, i, p, i, i, i, i, i, p, i, i, p, i, p, i, i])


def _tile_function(module, dtype, rows, panels):
    """Return the LLVM function of one tile; it is called as ``tile(count, c0, c0_row, a1, a1_row, ...)``."""
    size, fused = target()
    function = ir.Function(module, _tile_type(dtype), f"numbarnn.tile.{rows}x{panels}.{dtype}")
    function.linkage = "private"
    function.attributes.add("nounwind")
    lanes, vectors = size * 8 // dtype.bitwidth, geometry().vectors
    Tile(function, scalar_type(dtype), lanes, vectors, dtype.bitwidth // 8, fused, rows, panels).write()
    return function
