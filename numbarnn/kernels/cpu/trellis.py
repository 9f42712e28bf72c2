"""Numbers of unlimited range, and the steps of CTC's trellis on vectors of them.

A number is a pair m 2^e of a mantissa in [1, 2) and an integer exponent as wide as the mantissa; zero is the pair (0, FLOOR). Sums
and products need neither exp nor log, so a step is a dozen vector instructions for each of its sums, and round as in
floating point: relative errors of one rounding a step, where sums of logarithms round log p itself (in float32 and at log p = -3000
that is 1e-4 of p, at every step). Nothing underflows: the exponents reach beyond any product of probabilities in use and stop at
FLOOR.

The trellis has a state for every blank k = 0..L and every label k = 0..L - 1, in two rows of `width` values, ``at + k`` and
``at + width + k``, with at least two zeros after the last of each.
"""

import llvmlite.ir as ir
from numba.core import types
from numba.extending import intrinsic

from numbarnn.kernels.cpu.simd import INDEX, target

# Exponent of zero, and the lowest of all: sums of a few of them stay integers of 32 bits.
FLOOR = -(2**29)


class _Pairs:
    """Vectors of numbers in an array of mantissas and one of exponents."""

    def __init__(self, context, builder, kinds, args):
        self.builder = builder
        bits = kinds[0].dtype.bitwidth
        self.fraction, self.bias = (23, 127) if bits == 32 else (52, 1023)
        self.lanes, self.size = target()[0] * 8 // bits, bits // 8
        self.real, self.whole = (ir.FloatType() if bits == 32 else ir.DoubleType()), ir.IntType(bits)
        self.reals, self.wholes = ir.VectorType(self.real, self.lanes), ir.VectorType(self.whole, self.lanes)
        self.mantissas, self.exponents = (
            context.make_array(kind)(context, builder, arg).data for kind, arg in zip(kinds[:2], args[:2], strict=True)
        )

    def pointer(self, *offsets):
        """Return the sum of offsets."""
        total = offsets[0]
        for offset in offsets[1:]:
            total = self.builder.add(total, offset if isinstance(offset, ir.Value) else INDEX(offset))
        return total

    def _pointers(self, at):
        b = self.builder
        return (
            b.bitcast(b.gep(self.mantissas, [at]), self.reals.as_pointer()),
            b.bitcast(b.gep(self.exponents, [at]), self.wholes.as_pointer()),
        )

    def load(self, at):
        return tuple(self.builder.load(pointer, align=self.size) for pointer in self._pointers(at))

    def store(self, pair, at):
        for value, pointer in zip(pair, self._pointers(at), strict=True):
            self.builder.store(value, pointer, align=self.size)

    def spread(self, value):
        """Return a vector of one number."""
        kind = ir.VectorType(value.type, self.lanes)
        one = self.builder.insert_element(ir.Constant(kind, ir.Undefined), value, ir.IntType(32)(0))
        zeros = ir.Constant(ir.VectorType(ir.IntType(32), self.lanes), [0] * self.lanes)
        return self.builder.shuffle_vector(one, ir.Constant(kind, ir.Undefined), zeros)

    def one(self, at):
        """Return a vector of the number at one offset."""
        b = self.builder
        return self.spread(b.load(b.gep(self.mantissas, [at]))), self.spread(b.load(b.gep(self.exponents, [at])))

    def constant(self, value):
        return ir.Constant(self.wholes, [value] * self.lanes)

    def larger(self, a, b):
        return self.builder.select(self.builder.icmp_signed(">", a, b), a, b)

    def chosen(self, mask, a, b):
        """Return a where the mask is set, else b."""
        return tuple(self.builder.select(mask, x, y) for x, y in zip(a, b, strict=True))

    def mask(self, at):
        """Return where the integers among the exponents are not zero."""
        return self.builder.icmp_signed("!=", self.load(at)[1], self.constant(0))

    def power(self, exponent):
        """Return 2^exponent, with the smallest normal number for all below."""
        b = self.builder
        exponent = self.larger(exponent, self.constant(1 - self.bias))
        bits = b.shl(b.add(exponent, self.constant(self.bias)), self.constant(self.fraction))
        return b.bitcast(bits, self.reals)

    def add(self, a, b):
        top = self.larger(a[1], b[1])
        scaled = (self.builder.fmul(m, self.power(self.builder.sub(e, top))) for m, e in (a, b))
        return self.builder.fadd(*scaled), top

    def times(self, a, b):
        return self.builder.fmul(a[0], b[0]), self.builder.add(a[1], b[1])

    def normal(self, pair):
        """Return a pair with its mantissa in [1, 2) and its exponent not below FLOOR."""
        b, (m, e) = self.builder, pair
        bits = b.bitcast(m, self.wholes)
        empty = b.icmp_signed("==", bits, self.constant(0))
        low = b.and_(bits, self.constant((1 << self.fraction) - 1))
        fresh = b.bitcast(b.or_(low, self.constant(self.bias << self.fraction)), self.reals)
        e = b.add(e, b.sub(b.lshr(bits, self.constant(self.fraction)), self.constant(self.bias)))
        e = self.larger(e, self.constant(FLOOR))
        return b.select(empty, m, fresh), b.select(empty, self.constant(FLOOR), e)


@intrinsic
def forward_states(typingctx, m, e, source, dst, width, emission, blank, skips, k):
    """Set a vector of states after a step from the states before it.

    b'(k) = (b(k) + l(k - 1)) p_blank and l'(k) = (l(k) + b(k) + [label k != label k - 1] l(k - 1)) p(k).

    source, dst : the states; emission : p(k); blank : p_blank, one number; skips : integers among e, zero where labels repeat
    """

    def codegen(context, builder, signature, args):
        pairs = _Pairs(context, builder, signature.args, args)
        source, dst, width, emission, blank, skips, k = args[2:]
        b, l = pairs.load(pairs.pointer(source, k)), pairs.load(pairs.pointer(source, width, k))  # noqa: E741
        before = pairs.load(pairs.pointer(source, width, k, -1))
        both = pairs.add(b, before)
        inner = pairs.add(l, pairs.chosen(pairs.mask(pairs.pointer(skips, k)), both, b))
        pairs.store(pairs.normal(pairs.times(both, pairs.one(blank))), pairs.pointer(dst, k))
        own = pairs.load(pairs.pointer(emission, k))
        pairs.store(pairs.normal(pairs.times(inner, own)), pairs.pointer(dst, width, k))
        return context.get_dummy_value()

    return types.void(m, e, *[types.intp] * 7), codegen


@intrinsic
def weigh_states(typingctx, m, e, source, dst, width, emission, blank, k):
    """Set a vector of products of states and what they emit: b(k) p_blank and l(k) p(k)."""

    def codegen(context, builder, signature, args):
        pairs = _Pairs(context, builder, signature.args, args)
        source, dst, width, emission, blank, k = args[2:]
        b, l = pairs.load(pairs.pointer(source, k)), pairs.load(pairs.pointer(source, width, k))  # noqa: E741
        pairs.store(pairs.times(b, pairs.one(blank)), pairs.pointer(dst, k))
        pairs.store(pairs.times(l, pairs.load(pairs.pointer(emission, k))), pairs.pointer(dst, width, k))
        return context.get_dummy_value()

    return types.void(m, e, *[types.intp] * 6), codegen


@intrinsic
def backward_states(typingctx, m, e, source, dst, width, skips, k):
    """Set a vector of states before a step from the weighed states b, l after it.

    b'(k) = b(k) + l(k) and l'(k) = l(k) + b(k + 1) + [label k + 1 != label k] l(k + 1). After the second row of b and l lies a
    vector of zeros.
    """

    def codegen(context, builder, signature, args):
        pairs = _Pairs(context, builder, signature.args, args)
        source, dst, width, skips, k = args[2:]
        b, l = pairs.load(pairs.pointer(source, k)), pairs.load(pairs.pointer(source, width, k))  # noqa: E741
        blank, label = pairs.load(pairs.pointer(source, k, 1)), pairs.load(pairs.pointer(source, width, k, 1))
        pairs.store(pairs.normal(pairs.add(b, l)), pairs.pointer(dst, k))
        onward = pairs.chosen(pairs.mask(pairs.pointer(skips, k, 1)), pairs.add(blank, label), blank)
        pairs.store(pairs.normal(pairs.add(l, onward)), pairs.pointer(dst, width, k))
        return context.get_dummy_value()

    return types.void(m, e, *[types.intp] * 5), codegen


@intrinsic
def occupy_states(typingctx, m, e, before, after, dst, factor, exponent, k):
    """Set a vector of m to the products of two vectors of states, times factor 2^-exponent, as plain floats."""

    def codegen(context, builder, signature, args):
        pairs = _Pairs(context, builder, signature.args, args)
        before, after, dst, factor, exponent, k = args[2:]
        m, e = pairs.times(pairs.load(pairs.pointer(before, k)), pairs.load(pairs.pointer(after, k)))
        e = builder.sub(e, pairs.spread(exponent))
        # A share of the whole is at most one; values beside the states may be anything, and are not read.
        limit = pairs.constant(4)
        e = builder.select(builder.icmp_signed("<", e, limit), e, limit)
        m = builder.fmul(builder.fmul(m, pairs.spread(factor)), pairs.power(e))
        builder.store(m, pairs._pointers(pairs.pointer(dst, k))[0], align=pairs.size)
        return context.get_dummy_value()

    return types.void(m, e, *[types.intp] * 3, m.dtype, e.dtype, types.intp), codegen
