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
from numba.core import cgutils, types
from numba.extending import intrinsic

from numbarnn.kernels.compile import jit
from numbarnn.kernels.prebuilt import chosen, host_target

UNROLL = 2  # values of k a round

INDEX = ir.IntType(64)


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
def copy_row(typingctx, a, at, b, to):
    """Copy one row of a panel: b[to : to + W] = a[at : at + W].

    A loop over W numbers would check for overlapping arrays at every row: 13 ns instead of 2.
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
    """Inside a kernel: numbers in one vector register, as a compile-time constant."""

    def codegen(context, builder, signature, args):
        return context.get_constant(types.intp, target()[0] * 8 // array.dtype.bitwidth)

    return types.intp(array), codegen


@intrinsic
def transpose_rows(typingctx, a, at, row, b, to):
    """Transpose W rows of as many numbers as a vector has: b[to + k * W + j] = a[at + j * row + k]."""

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


def scalar_type(dtype):
    """Return LLVM's type of a Numba float type."""
    return ir.FloatType() if dtype == types.float32 else ir.DoubleType()


def _tile_type(dtype):
    p, i = scalar_type(dtype).as_pointer(), INDEX
    return ir.FunctionType(ir.VoidType(), [i, p, i, i, p, i, i, i, i, i, p, i, i, p, i, p, i, i])


def _tile_function(module, dtype, rows, panels):
    """Return the LLVM function of one tile; it is called as ``tile(count, c0, c0_row, a1, a1_row, ...)``."""
    size, fused = target()
    function = ir.Function(module, _tile_type(dtype), f"numbarnn.tile.{rows}x{panels}.{dtype}")
    function.linkage = "private"
    function.attributes.add("nounwind")
    _Tile(function, scalar_type(dtype), size * 8 // dtype.bitwidth, dtype.bitwidth // 8, fused, rows, panels).write()
    return function


class _Tile:
    """Writes the LLVM code of one tile; `sums` is the flat list of its accumulators, row after row."""

    def __init__(self, function, scalar, lanes, size, fused, rows, panels):
        self.function = function
        self.builder = ir.IRBuilder(function.append_basic_block("entry"))
        self.lanes, self.size, self.fused, self.rows, self.panels = lanes, size, fused, rows, panels
        self.vectors = geometry().vectors
        self.vector = ir.VectorType(scalar, lanes)
        self.zero = ir.Constant(self.vector, [0.0] * lanes)
        if fused:
            kind = ir.FunctionType(self.vector, [self.vector] * 3)
            name = f"llvm.fma.v{lanes}f{size * 8}"
            self.fma = cgutils.get_or_insert_function(self.builder.module, kind, name)

    def write(self):
        """Loop over the tiles below each other: the products of both operands, then C0 is added and C stored."""
        builder = self.builder
        (
            count, c0, c0_row, c0_next, a1, a1_row, step, a1_length, segments, stride, a2, a2_row, a2_length,
            b, b_next, c, c_row, c_next,
        ) = self.function.args  # fmt: skip
        panel_at = [builder.mul(b_next, INDEX(p)) for p in range(self.panels)]

        def one_tile(carried):
            c0_now, a1_now, a2_now, c_now = carried

            # The second operand is one more segment of the first, so the code of the k-loop stands here once.
            def one_segment(carried):
                left, a_now, b_now, *sums = carried
                own = builder.icmp_signed(">", left, INDEX(0))
                start = builder.select(own, a_now, a2_now)
                row = builder.select(own, a1_row, a2_row)
                length = builder.select(own, a1_length, a2_length)
                row_at = [builder.mul(row, INDEX(r)) for r in range(self.rows)]

                def products(depth):
                    def body(carried):
                        a_k, b_k, *sums = carried
                        for k in range(depth):
                            columns = [
                                self.load(builder.gep(b_k, [at]), (k * self.vectors + v) * self.lanes)
                                for at in panel_at
                                for v in range(self.vectors)
                            ]
                            values = [self.broadcast(builder.gep(a_k, [at])) for at in row_at]
                            factors = [(x, y) for x in values for y in columns]
                            sums = [self.multiply_add(x, y, total) for (x, y), total in zip(factors, sums, strict=True)]
                            a_k = builder.gep(a_k, [step])
                        return [a_k, builder.gep(b_k, [INDEX(depth * self.vectors * self.lanes)]), *sums]

                    return body

                rounds = builder.ashr(length, INDEX(UNROLL.bit_length() - 1))
                rest = builder.and_(length, INDEX(UNROLL - 1))
                state = self.loop(rounds, [start, b_now, *sums], products(UNROLL))
                _, b_now, *sums = self.loop(rest, state, products(1))
                return [builder.sub(left, INDEX(1)), builder.gep(a_now, [stride]), b_now, *sums]

            sums = self.begin(c_now, c_row, c_next)
            _, _, _, *sums = self.loop(builder.add(segments, INDEX(1)), [segments, a1_now, b, *sums], one_segment)
            self.finish(sums, c0_now, c0_row, c0_next, c_now, c_row, c_next)
            pairs = ((c0_now, c0_row), (a1_now, a1_row), (a2_now, a2_row), (c_now, c_row))
            return [builder.gep(now, [builder.mul(row, INDEX(self.rows))]) for now, row in pairs]

        self.loop(count, [c0, a1, a2, c], one_tile)
        builder.ret_void()

    def begin(self, c, c_row, c_next):
        """Return what the sums begin with."""
        return [self.zero] * (self.rows * self.panels * self.vectors)

    def finish(self, sums, c0, c0_row, c0_next, c, c_row, c_next):
        """Store C0 + sums."""
        builder, sums = self.builder, iter(sums)
        for r in range(self.rows):
            for p in range(self.panels):
                source, dst = (
                    builder.gep(base, [builder.add(builder.mul(row, INDEX(r)), builder.mul(following, INDEX(p)))])
                    for base, row, following in ((c0, c0_row, c0_next), (c, c_row, c_next))
                )
                for v in range(self.vectors):
                    value = builder.fadd(self.load(source, v * self.lanes), next(sums))
                    builder.store(value, self.address(dst, v * self.lanes), align=self.size)

    def address(self, pointer, offset):
        return self.builder.bitcast(self.builder.gep(pointer, [INDEX(offset)]), self.vector.as_pointer())

    def load(self, pointer, offset):
        return self.builder.load(self.address(pointer, offset), align=self.size)

    def broadcast(self, pointer):
        undefined = ir.Constant(self.vector, ir.Undefined)
        lane = self.builder.insert_element(undefined, self.builder.load(pointer, align=self.size), ir.IntType(32)(0))
        first = ir.Constant(ir.VectorType(ir.IntType(32), self.lanes), [0] * self.lanes)
        return self.builder.shuffle_vector(lane, undefined, first)

    def multiply_add(self, x, y, total):
        if self.fused:
            return self.builder.call(self.fma, [x, y, total])
        return self.builder.fadd(self.builder.fmul(x, y), total)

    def loop(self, count, carried, body):
        """Emit ``for _ in range(count): carried = body(carried)``; return the last `carried`."""
        builder = self.builder
        before = builder.block
        inside, after = builder.append_basic_block("loop"), builder.append_basic_block("done")
        builder.cbranch(builder.icmp_signed(">", count, INDEX(0)), inside, after)
        builder.position_at_end(inside)
        left = builder.phi(INDEX)
        left.add_incoming(count, before)
        now = [builder.phi(value.type) for value in carried]
        for phi, value in zip(now, carried, strict=True):
            phi.add_incoming(value, before)
        updated = body(now)
        rest = builder.sub(left, INDEX(1))
        last = builder.block
        left.add_incoming(rest, last)
        for phi, value in zip(now, updated, strict=True):
            phi.add_incoming(value, last)
        builder.cbranch(builder.icmp_signed(">", rest, INDEX(0)), inside, after)
        builder.position_at_end(after)
        results = [builder.phi(value.type) for value in carried]
        for phi, old, new in zip(results, carried, updated, strict=True):
            phi.add_incoming(old, before)
            phi.add_incoming(new, last)
        return results
