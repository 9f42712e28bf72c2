"""Kernels that others call by their address, so that they are compiled where a run needs them, not wherever the caller is."""

from numba.core import cgutils, types
from numba.core.errors import TypingError
from numba.extending import intrinsic

from numbarnn.kernels.groups import argument_types


def address_of(kernel, dtype) -> int:
    """Return the address of a kernel for a dtype, compiled or loaded first; its parameters have annotations."""
    kinds = argument_types(kernel, dtype)
    kernel.compile(kinds)
    compiled = kernel.overloads[kinds]
    return compiled.library.get_pointer_to_function(compiled.fndesc.llvm_func_name)


def by_address(kernel):
    """Return ``call(address, like, arguments)``, which calls the kernel for the dtype of the array `like`, inside another."""

    @intrinsic
    def call(typingctx, address, like, arguments):
        expected = argument_types(kernel, like.dtype.name)
        if tuple(arguments.types) != expected:
            raise TypingError(f"{kernel.py_func.__name__} takes {expected}, got {tuple(arguments.types)}")

        def codegen(context, builder, signature, args):
            kind = context.call_conv.get_function_type(types.none, expected)
            function = builder.inttoptr(args[0], kind.as_pointer())
            values = cgutils.unpack_tuple(builder, args[2])
            status, _ = context.call_conv.call_function(builder, function, types.none, expected, values)
            with cgutils.if_unlikely(builder, status.is_error):
                context.call_conv.return_status_propagate(builder, status)
            return context.get_dummy_value()

        return types.none(types.intp, like, arguments), codegen

    return call
