"""Four values at a time: reads of 16 bytes, and shared memory behind a pointer.

A kernel passes `ALIGNMENT` where it asks for shared memory, and reads and writes quads at multiples of four: 16 bytes at any other
address are a fault. The simulator runs the functions of its branch. Kernels take these names from their modules: the cache's key
does not see an intrinsic that a kernel closes over.
"""

from numbarnn.kernels.cuda.launch import SIMULATED

if SIMULATED:
    import inspect
    import sys

    import numpy as np
    from numba.cuda.simulator.kernelapi import FakeCUDAShared
    from numba.np.numpy_support import as_dtype

    ALIGNMENT = None  # numba-cuda's simulator refuses another

    def _shared_array(self, shape, dtype, alignment=None):
        """Return the array of the line that asks for it, of every thread of the block the same."""
        dtype = np.dtype(as_dtype(dtype) if hasattr(dtype, "bitwidth") else dtype)
        if shape == 0:
            return np.frombuffer(self._dynshared.data, dtype, self._dynshared_size // dtype.itemsize)
        frame = sys._getframe(1)
        line = frame.f_code.co_filename, frame.f_lineno
        found = self._allocations.get(line)
        if found is None:
            found = self._allocations[line] = np.empty(shape, dtype)
        return found

    if "alignment" not in inspect.signature(FakeCUDAShared.array).parameters:  # the simulator of Numba itself
        FakeCUDAShared.array = _shared_array

    def pointer_of(shared):
        """Return what reads and writes an array."""
        return shared

    def load4(values, at):
        """Return four adjacent values."""
        if at % 4:
            raise ValueError(f"a read of four values at {at}, no multiple of 4")
        return values[at], values[at + 1], values[at + 2], values[at + 3]

    def store4(values, at, quad):
        """Store four adjacent values."""
        if at % 4:
            raise ValueError(f"four values written at {at}, no multiple of 4")
        for i in range(4):
            values[at + i] = quad[i]

else:
    from llvmlite import ir
    from numba.cuda import types
    from numba.cuda.extending import intrinsic

    ALIGNMENT = 16  # bytes

    @intrinsic
    def pointer_of(typingctx, shared):
        """Return the pointer to an array's first value: its index is an offset, where that of an array may count from the end."""

        def codegen(context, builder, signature, args):
            return context.make_array(signature.args[0])(context, builder, args[0]).data

        return types.CPointer(shared.dtype)(shared), codegen

    def _vectors(builder, values, pointer, at):
        """Return pointers to the 16-byte vectors that hold four values, and how many values each has."""
        width = ALIGNMENT * 8 // values.dtype.bitwidth
        vector = ir.VectorType(pointer.type.pointee, width)
        first = builder.bitcast(builder.gep(pointer, [at]), vector.as_pointer())
        return [builder.gep(first, [ir.IntType(32)(i)]) for i in range(4 // width)], width

    @intrinsic
    def load4(typingctx, values, at):
        """Return four adjacent values: in one read of float32, in two of float64."""

        def codegen(context, builder, signature, args):
            pointers, width = _vectors(builder, values, *args)
            vectors = [builder.load(pointer, align=ALIGNMENT) for pointer in pointers]
            quad = [builder.extract_element(v, ir.IntType(32)(i)) for v in vectors for i in range(width)]
            return context.make_tuple(builder, signature.return_type, quad)

        return types.UniTuple(values.dtype, 4)(values, types.int64), codegen

    @intrinsic
    def store4(typingctx, values, at, quad):
        """Store four adjacent values: in one write of float32, in two of float64."""

        def codegen(context, builder, signature, args):
            pointers, width = _vectors(builder, values, *args[:2])
            for n, pointer in enumerate(pointers):
                vector = pointer.type.pointee(ir.Undefined)
                for i in range(width):
                    value = builder.extract_value(args[2], n * width + i)
                    vector = builder.insert_element(vector, value, ir.IntType(32)(i))
                builder.store(vector, pointer, align=ALIGNMENT)
            return context.get_dummy_value()

        return types.void(values, types.int64, types.UniTuple(values.dtype, 4)), codegen
