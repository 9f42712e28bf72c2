"""Tiles of one row that go on with sums that were begun earlier: C = C0 + (C + A B).

The product of a step with x and h is one sum where both are short (`matmul.multiply`). Of one sample, whose x are known for all
steps, its first half is made for several steps at once, and the second half goes on from there: the same sums in the same order.
"""

import llvmlite.ir as ir
from numba.core import types
from numba.extending import intrinsic

from numbarnn.kernels.compile import jit
from numbarnn.kernels.cpu.simd import _tile_type, geometry, panel_of, target, tile_limits
from numbarnn.kernels.cpu.tile import INDEX, Tile, scalar_type


class _ResumedTile(Tile):
    """A tile of one row whose sums begin with what the result's memory has."""

    def begin(self, c, c_row, c_next):
        """Return the sums."""
        ends = [self.builder.gep(c, [self.builder.mul(c_next, INDEX(p))]) for p in range(self.panels)]
        return [self.load(end, v * self.lanes) for end in ends for v in range(self.vectors)]


def _tile_of(panels):
    """Return an intrinsic that runs the tile of one row and as many panels as `panels()` says."""

    def codegen(context, builder, signature, args):
        def at(n):
            data = context.make_array(signature.args[n])(context, builder, args[n]).data
            return builder.gep(data, [args[n + 1]])

        dtype, width = signature.args[0].dtype, panels()
        name = f"numbarnn.resumed.{width}.{dtype}"
        function = builder.module.globals.get(name)
        if function is None:
            size, fused = target()
            function = ir.Function(builder.module, _tile_type(dtype), name)
            function.linkage = "private"
            function.attributes.add("nounwind")
            lanes, item = size * 8 // dtype.bitwidth, dtype.bitwidth // 8
            _ResumedTile(function, scalar_type(dtype), lanes, geometry().vectors, item, fused, 1, width).write()
        c0, a, b, c = at(0), at(2), at(5), at(8)
        row = INDEX(geometry().vectors * target()[0] * 8 // dtype.bitwidth)
        none, one = INDEX(0), INDEX(1)
        builder.call(
            function,
            [one, c0, none, row, a, none, one, args[4], one, none, a, none, none, b, args[7], c, none, row],
        )
        return context.get_dummy_value()

    @intrinsic
    def tile(typingctx, c0, c0_at, a, a_at, length, b, b_at, b_next, c, c_at):
        signature = types.void(
            c0, types.intp, a, types.intp, types.intp, b, types.intp, types.intp, c, types.intp
        )  # fmt: skip
        return signature, codegen

    return tile


def _half():
    """Return the panels of a tile that is half as wide: with AVX-512 the share of one of two threads of a gate of 128 units.

    Its four sums in turn keep up with the second-level cache, two do not.
    """
    return max(geometry().wide // 2, 2)


_wide_tile, _half_tile, _pair_tile, _single_tile = map(_tile_of, (lambda: geometry().wide, _half, lambda: 2, lambda: 1))


@jit
def resume(panels, c0, c0_at, a, a_at, length, b, b_at, b_next, c, c_at):
    """Set C = C0 + (C + A B) for one row: A has `length` columns; the panels of B lie `b_next` apart."""
    w = panel_of(c)
    _, _, wide = tile_limits()
    half = max(wide // 2, 2)
    p = 0
    while p < panels:
        c0_now, b_now, c_now = c0_at + p * w, b_at + p * b_next, c_at + p * w
        if p + wide <= panels:
            _wide_tile(c0, c0_now, a, a_at, length, b, b_now, b_next, c, c_now)
            p += wide
        elif p + half <= panels:
            _half_tile(c0, c0_now, a, a_at, length, b, b_now, b_next, c, c_now)
            p += half
        elif p + 2 <= panels:
            _pair_tile(c0, c0_now, a, a_at, length, b, b_now, b_next, c, c_now)
            p += 2
        else:
            _single_tile(c0, c0_now, a, a_at, length, b, b_now, b_next, c, c_now)
            p += 1
