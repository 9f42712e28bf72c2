"""Four values at a time: reads of 16 bytes, and shared memory behind a pointer.

A kernel passes `ALIGNMENT` where it asks for shared memory and reads quads at multiples of four: a read of 16 bytes from any other
address is a fault. The simulator runs the functions of its branch. Kernels take these names from their modules: the cache's key does
not see an intrinsic that a kernel closes over.
"""

from numbarnn.kernels.cuda.launch import SIMULATED

if SIMULATED:
    ALIGNMENT = None  # the simulator refuses another

    def pointer_of(shared):
        """Return what reads and writes an array."""
        return shared

    def load4(values, at):
        """Return four adjacent values."""
        if at % 4:
            raise ValueError(f"a read of four values at {at}, no multiple of 4")
        return values[at], values[at + 1], values[at + 2], values[at + 3]

else:
    from llvmlite import ir
    from numba.cuda import types
    from numba.cuda.extending import intrinsic

    ALIGNMENT = 16  # bytes

    @intrinsic
    def pointer_of(typingctx, shared):
        """Return the pointer to an array's first value: an index into it is added as it is, where an array's may count from the end."""

        def codegen(context, builder, signature, args):
            return context.make_array(signature.args[0])(context, builder, args[0]).data

        return types.CPointer(shared.dtype)(shared), codegen

    @intrinsic
    def load4(typingctx, values, at):
        """Return four adjacent values: in one read of float32, in two of float64."""

        def codegen(context, builder, signature, args):
            pointer = builder.gep(args[0], [args[1]])
            width = ALIGNMENT * 8 // values.dtype.bitwidth
            vector = ir.VectorType(pointer.type.pointee, width)
            pointer = builder.bitcast(pointer, vector.as_pointer())
            found = []
            for first in range(0, 4, width):
                quad = builder.load(builder.gep(pointer, [ir.IntType(32)(first // width)]), align=ALIGNMENT)
                found += [builder.extract_element(quad, ir.IntType(32)(i)) for i in range(width)]
            return context.make_tuple(builder, signature.return_type, found)

        return types.UniTuple(values.dtype, 4)(values, types.int64), codegen
