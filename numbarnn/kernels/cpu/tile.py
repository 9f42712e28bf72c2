"""The LLVM code of one tile of C = C0 + A1 B1 + A2 B2; `numbarnn.kernels.cpu.simd` says which tiles there are, and calls them."""

import llvmlite.ir as ir
from numba.core import cgutils, types

UNROLL = 2  # values of k a round
# How many rows of a panel ahead a tile fetches it. Where the weights lie beyond the second-level cache (256 inputs, 1024 units),
# products of 32 rows then run at 0.88 instead of 0.65 of the FMA limit (AVX-512, Zen 5), at 0.92 instead of 0.74 (AVX2); 32 or 64
# rows ahead are less.
AHEAD = 128
# Sums of a tile, in vectors, from which on it has instructions to spare for that; with fewer it is slower where the weights are
# near (one row of 64 inputs, 64 units: 65 instead of 80 GF/s).
BUSY = 12

INDEX = ir.IntType(64)


def scalar_type(dtype):
    """Return LLVM's type of a Numba float type."""
    return ir.FloatType() if dtype == types.float32 else ir.DoubleType()


class Tile:
    """Writes the LLVM code of one tile; `sums` is the flat list of its accumulators, row after row."""

    def __init__(self, function, scalar, lanes, vectors, size, fused, rows, panels):
        self.function = function
        self.builder = ir.IRBuilder(function.append_basic_block("entry"))
        self.lanes, self.size, self.fused, self.rows, self.panels = lanes, size, fused, rows, panels
        self.vectors = vectors
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
                        for k in range(depth if len(sums) >= BUSY else 0):
                            self.fetch(b_k, panel_at, AHEAD + k)
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

    def fetch(self, b, panel_at, k):
        """Bring row k of every panel near, each one cache line; what is after the last is harmless."""
        byte, number = ir.IntType(8).as_pointer(), ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [byte, number, number, number])
        prefetch = cgutils.get_or_insert_function(self.builder.module, kind, "llvm.prefetch.p0")
        for at in panel_at:
            row = self.builder.gep(b, [self.builder.add(at, INDEX(k * self.vectors * self.lanes))])
            # To be read; into the first-level cache; of data.
            self.builder.call(prefetch, [self.builder.bitcast(row, byte), number(0), number(3), number(1)])

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
